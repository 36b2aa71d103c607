//! A simulated file system whose power can be cut at any operation.
//!
//! For every file and directory it keeps what a program sees and what a power cut would leave. It
//! is harsher than any real file system that follows the rules of POSIX. Symbolic links and owners
//! are not simulated, and of permissions only that a directory refuses entries.
//!
//! # Theory of operation
//! - A file has *seen* and *durable* content and a set of dirty blocks of 4 KiB. A sync copies the
//!   dirty blocks. A failed sync marks them clean without copying them, as Linux does: the content
//!   can still be read, but no later sync will save it. A handle that was open at that time
//!   reports the loss at its next sync ([`Losses`]).
//! - A directory has seen and durable entries and the list of changes between them, with the same
//!   rules. A rename is two changes, and a crash can keep only one of them.
//! - [`SimFs::power_cut`] gives the disk as it is found after one: it keeps an arbitrary part of
//!   what is not durable, with the dirty blocks torn at 512 octets.
//! - A directory has a modification time, in ticks of the clock that [`SimFs::clock`] gives to the
//!   store ([`Times`]); every operation takes some time, from less than a tick to many.
//! - A directory is read entry by entry, in an order that depends on the names, and other
//!   programs can act in between ([`SimFs::watched`]): an entry that they rename is listed under
//!   either name or both, or not at all.
//! - Files below [`SimFs::split_at`] are on a second device: nothing is linked or renamed between
//!   the two devices, and a sync of the whole file system only syncs the first.
//! - [`SimFs::kill`] ends the process but not the machine: nothing is lost yet.
//!
//! Every call counts as one operation. At a chosen operation the power fails, or the call reports
//! an error, with or without taking effect. [`Defect`] makes the whole file system break a promise,
//! to check that the tests notice.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    fmt, io,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};

use crate::{
    clock::{Clock, Hands},
    fs::{Entry, File, FileSystem, Fs, Held, Identity, Kind, Metadata, Segment, Stamp, Volume},
};

use super::rng::Rng;

const BLOCK_OCTETS: usize = 4096;
const SECTOR_OCTETS: usize = 512;

/// The error number of a failing disk.
const EIO: i32 = rustix::io::Errno::IO.raw_os_error();

/// The granularity of directory times, in seconds.
const TICK_SECS: u64 = 1;

/// How many entries of a directory are listed before it is looked at again: this many, or this
/// fraction of them.
const VISITED_AT_ONCE: usize = 2;
const VISITED_PART: usize = 8;

/// The modification times of directories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    /// In whole seconds.
    Coarse,
    /// In ticks of the clock.
    Fine,
    /// They never change, and nobody trusts them, as on some FUSE and network file systems.
    Still,
}

/// How long the operations take, in turn, in milliseconds.
const PACE: [u64; 7] = [0, 1, 4_000, 300, 0, 1_200, 30];

/// A promise that the file system breaks, like a store with a missing line would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// `sync` of a file does nothing.
    FilesAreNotSynced,
    /// `sync` of a file saves it only together with the next directory, as if names were added
    /// before the content is durable.
    FilesAreSyncedLate,
    /// `sync` of a file saves everything except its last block.
    LastBlockIsNotSynced,
    /// `sync_dir` does nothing.
    DirectoriesAreNotSynced,
    /// `sync_dir` does nothing to directories that hold no messages.
    ParentsAreNotSynced,
    /// `sync_dir` saves new entries but no removals.
    RemovalsAreNotSynced,
    /// A failed sync reports success.
    FailedSyncsPass,
    /// `sync_data` of a segment does nothing.
    SegmentsAreNotSynced,
    /// `sync` of the whole file system does nothing.
    VolumeIsNotSynced,
    /// A name that was added and removed since the last sync of the whole file system may be back
    /// after a power cut, with an empty file, although the directory was synced. Btrfs has done
    /// this.
    RemovedNamesComeBackEmpty,
    /// Changes do not update the time of the directory, although that is trusted.
    TimesStandStill,
    /// The times are much coarser than the store believes.
    TimesAreCoarse,
}

/// An error that one operation reports.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    /// The operation, counted from 1.
    pub(crate) at: u64,
    /// The error number, as the system would return it.
    pub(crate) errno: rustix::io::Errno,
    /// Whether the operation takes effect nevertheless.
    pub(crate) is_done: bool,
}

/// A handle on the simulated file system, for one life of a process.
#[derive(Clone)]
pub(crate) struct SimFs {
    disk: Arc<Mutex<Disk>>,
    life: u64,
    watcher: Option<Watcher>,
}

/// Called before every operation.
type Watcher = Arc<dyn Fn() + Send + Sync>;

#[derive(Clone, Debug)]
struct Disk {
    /// By number; the first is the root directory. Numbers are never reused.
    nodes: Vec<Node>,
    locked: BTreeSet<usize>,
    life: u64,
    /// The seed of the power cut that produced this disk.
    seed: u64,
    n_operations: u64,
    n_directories_read: u64,
    cut_at: Option<u64>,
    faults: Vec<Fault>,
    defect: Option<Defect>,
    file_system: FileSystem,
    free_octets: u64,
    total_octets: u64,
    /// Whether the disk is full for files that are appended to.
    refuses_files: bool,
    hands: Arc<Hands>,
    times: Times,
    /// Whether operations take no time.
    is_timeless: bool,
    /// Blocks of files that cannot be read.
    bad_blocks: BTreeSet<(usize, usize)>,
    /// Files that cannot be opened.
    bad_files: BTreeSet<usize>,
    n_whole_syncs: u64,
    n_directory_syncs: u64,
    /// The minimum duration of that sync, and of the sync of a file.
    whole_sync_takes: Duration,
    file_sync_takes: Duration,
    /// For [`Defect::FilesAreSyncedLate`].
    late: Vec<usize>,
    /// Files below this path are on the second device.
    second_device: Option<PathBuf>,
    /// The nodes on the second device.
    on_second_device: BTreeSet<usize>,
    /// Directories that refuse every change of their entries.
    refusing: BTreeSet<usize>,
    /// Whether two names can be exchanged.
    lacks_exchange: bool,
}

#[derive(Clone, Debug)]
enum Node {
    Directory(Directory),
    Content(Content),
}

#[derive(Clone, Debug, Default)]
struct Directory {
    seen: BTreeMap<OsString, usize>,
    durable: BTreeMap<OsString, usize>,
    unsynced: Vec<Change>,
    /// In nanoseconds since 1970.
    changed: i128,
    /// Names that were added since the last sync of the whole file system, and those of them that
    /// `unlink` removed again.
    fresh: BTreeSet<OsString>,
    unlinked: BTreeSet<OsString>,
    losses: Losses,
}

#[derive(Clone, Debug, Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
    dirty_blocks: BTreeSet<usize>,
    losses: Losses,
    /// When it was made or appended to: no test needs the time of other changes.
    modified: i128,
}

/// How often a failed sync has lost changes of a file or directory. A handle that was open then
/// reports the last loss once, at its next sync; so does a handle that is opened later, if none has
/// reported it yet.
#[derive(Clone, Copy, Debug, Default)]
struct Losses {
    count: u64,
    was_told: bool,
    /// Whether one of the changes was that a name was removed.
    has_removal: bool,
}

impl Losses {
    fn note(&mut self) {
        self.count += 1;
        self.was_told = false;
    }

    /// How many losses a handle that is opened now counts as reported.
    fn told_at_opening(self) -> u64 {
        if self.was_told {
            self.count
        } else {
            self.count.saturating_sub(1)
        }
    }

    /// Reports the last loss to a handle that has reported `told`.
    fn tell(&mut self, told: &mut u64) -> io::Result<()> {
        if *told == self.count {
            return Ok(());
        }
        *told = self.count;
        self.was_told = true;
        Err(rustix::io::Errno::IO.into())
    }
}

#[derive(Clone, Debug)]
enum Change {
    Added(OsString, usize),
    Removed(OsString),
}

impl Change {
    fn apply(&self, entries: &mut BTreeMap<OsString, usize>) {
        match self {
            Self::Added(name, node) => entries.insert(name.clone(), *node),
            Self::Removed(name) => entries.remove(name),
        };
    }
}

impl Directory {
    fn change(&mut self, change: Change, tick: i128) {
        if let Change::Added(name, _) = &change {
            self.unlinked.remove(name);
            self.fresh.insert(name.clone());
        }
        change.apply(&mut self.seen);
        self.unsynced.push(change);
        self.changed = tick;
    }

    /// Syncs, or marks as clean what could not be written.
    fn sync_or_lose(&mut self, is_saved: bool, defect: Option<Defect>) {
        if !is_saved {
            self.note_loss();
        }
        for change in std::mem::take(&mut self.unsynced) {
            let is_removal = matches!(change, Change::Removed(_));
            if is_removal && defect == Some(Defect::RemovalsAreNotSynced) {
                self.unsynced.push(change);
            } else if is_saved {
                change.apply(&mut self.durable);
            }
        }
    }

    /// Notes that what is not synced will be lost.
    fn note_loss(&mut self) {
        if self.unsynced.is_empty() {
            return;
        }
        self.losses.note();
        let mut changes = self.unsynced.iter();
        self.losses.has_removal |= changes.any(|change| matches!(change, Change::Removed(_)));
    }

    fn after_power_cut(&self, keep_percent: usize, rng: &mut Rng) -> Self {
        let mut entries = self.durable.clone();
        for change in &self.unsynced {
            if rng.chance(keep_percent) {
                change.apply(&mut entries);
            }
        }
        Self {
            seen: entries.clone(),
            durable: entries,
            changed: self.changed,
            ..Self::default()
        }
    }

    /// The names that come back after a power cut for [`Defect::RemovedNamesComeBackEmpty`].
    fn returning(&self, rng: &mut Rng) -> Vec<OsString> {
        let names = self.unlinked.iter().filter(|_| rng.chance(30));
        names.cloned().collect()
    }
}

impl Content {
    fn append(&mut self, octets: &[u8]) {
        self.write_at(self.seen.len(), octets);
    }

    fn write_at(&mut self, start: usize, octets: &[u8]) {
        let end = start + octets.len();
        if self.seen.len() < end {
            self.seen.resize(end, 0);
        }
        self.seen[start..end].copy_from_slice(octets);
        self.dirty_blocks
            .extend(start / BLOCK_OCTETS..end.div_ceil(BLOCK_OCTETS));
    }

    /// Copies the octets from `start` to `end`, as far as they exist.
    fn save(&mut self, start: usize, end: usize) {
        let end = end.min(self.seen.len());
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        if start < end {
            self.durable[start..end].copy_from_slice(&self.seen[start..end]);
        }
    }

    fn sync(&mut self, defect: Option<Defect>) {
        for block in std::mem::take(&mut self.dirty_blocks) {
            let (start, end) = (block * BLOCK_OCTETS, (block + 1) * BLOCK_OCTETS);
            let is_last = end >= self.seen.len();
            if !(is_last && defect == Some(Defect::LastBlockIsNotSynced)) {
                self.save(start, end);
            }
        }
        // The size is saved with every sync, whatever happened to the blocks.
        self.durable.resize(self.seen.len(), 0);
    }

    /// Syncs, or marks as clean what could not be written.
    fn sync_or_lose(&mut self, is_saved: bool, defect: Option<Defect>) {
        if is_saved {
            self.sync(defect);
        } else if !self.dirty_blocks.is_empty() {
            self.dirty_blocks.clear();
            self.losses.note();
        }
    }

    fn after_power_cut(&self, keep_percent: usize, rng: &mut Rng) -> Self {
        let mut found = self.clone();
        for block in std::mem::take(&mut found.dirty_blocks) {
            let is_torn = rng.chance(25);
            let is_kept = rng.chance(keep_percent);
            for sector in 0..BLOCK_OCTETS / SECTOR_OCTETS {
                let start = block * BLOCK_OCTETS + sector * SECTOR_OCTETS;
                if if is_torn {
                    rng.chance(keep_percent)
                } else {
                    is_kept
                } {
                    found.save(start, start + SECTOR_OCTETS);
                }
            }
        }
        if !self.dirty_blocks.is_empty() && rng.chance(keep_percent) {
            // The size survived, perhaps without the data.
            found.durable.resize(self.seen.len(), 0);
        }
        Self {
            seen: found.durable.clone(),
            durable: found.durable,
            ..Self::default()
        }
    }
}

impl Disk {
    /// Reads octets of a file from `offset` on.
    fn read_at(&mut self, node: usize, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let offset = usize::try_from(offset).unwrap();
        let blocks =
            offset / BLOCK_OCTETS..offset.saturating_add(buffer.len()).div_ceil(BLOCK_OCTETS);
        let is_bad = |block| self.bad_blocks.contains(&(node, block));
        if blocks.into_iter().any(is_bad) {
            return Err(rustix::io::Errno::IO.into());
        }
        let seen = &self.content(node)?.seen;
        let rest = seen.get(offset..).unwrap_or_default();
        let n_read = rest.len().min(buffer.len());
        buffer[..n_read].copy_from_slice(&rest[..n_read]);
        Ok(n_read)
    }

    fn new(nodes: Vec<Node>, hands: Arc<Hands>) -> Self {
        Self {
            nodes,
            locked: BTreeSet::new(),
            life: 0,
            seed: 0,
            n_operations: 0,
            n_directories_read: 0,
            cut_at: None,
            faults: Vec::new(),
            defect: None,
            file_system: FileSystem::EXT,
            free_octets: u64::MAX,
            total_octets: u64::MAX,
            refuses_files: false,
            hands,
            times: Times::Coarse,
            is_timeless: false,
            bad_blocks: BTreeSet::new(),
            bad_files: BTreeSet::new(),
            n_whole_syncs: 0,
            n_directory_syncs: 0,
            whole_sync_takes: Duration::ZERO,
            file_sync_takes: Duration::ZERO,
            late: Vec::new(),
            second_device: None,
            on_second_device: BTreeSet::new(),
            refusing: BTreeSet::new(),
            lacks_exchange: false,
        }
    }

    /// Checks that `node` is on the same device as the directory of `path`.
    fn check_device(&self, node: usize, path: &Path) -> io::Result<()> {
        let directory = self.find(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        let is_second = |node| self.on_second_device.contains(&node);
        if is_second(node) == is_second(directory) {
            Ok(())
        } else {
            Err(rustix::io::Errno::XDEV.into())
        }
    }

    /// Checks that the file `node` can be opened; returns it.
    fn check_file(&self, node: usize) -> io::Result<usize> {
        if self.bad_files.contains(&node) {
            return Err(rustix::io::Errno::IO.into());
        }
        Ok(node)
    }

    /// The time of a change that happens now.
    fn tick(&self) -> i128 {
        let tick_secs = match (self.defect, self.times) {
            (Some(Defect::TimesStandStill), _) | (_, Times::Still) => return 0,
            (Some(Defect::TimesAreCoarse), _) => 60,
            (_, Times::Coarse) => TICK_SECS,
            (_, Times::Fine) => {
                return i128::try_from(self.hands.file_time().as_nanos()).unwrap();
            }
        };
        let secs = self.hands.unix_time().as_secs();
        i128::from(secs - secs % tick_secs) * 1_000_000_000
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        let mut found = 0;
        for component in path.components() {
            if let Component::Normal(name) = component {
                let entries = &self.directory(found)?.seen;
                found = *entries.get(name).ok_or(io::ErrorKind::NotFound)?;
            }
        }
        Ok(found)
    }

    fn directory(&self, node: usize) -> io::Result<&Directory> {
        match &self.nodes[node] {
            Node::Directory(directory) => Ok(directory),
            Node::Content(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn content(&mut self, node: usize) -> io::Result<&mut Content> {
        match &mut self.nodes[node] {
            Node::Content(content) => Ok(content),
            Node::Directory(_) => Err(io::ErrorKind::InvalidInput.into()),
        }
    }

    /// The directory that holds `path`.
    fn parent(&mut self, path: &Path) -> io::Result<&mut Directory> {
        let node = self.find(path.parent().ok_or(io::ErrorKind::InvalidInput)?)?;
        if self.refusing.contains(&node) {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        match &mut self.nodes[node] {
            Node::Directory(directory) => Ok(directory),
            Node::Content(_) => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    fn add(&mut self, path: &Path, node: usize) -> io::Result<()> {
        let tick = self.tick();
        self.parent(path)?
            .change(Change::Added(name_of(path)?, node), tick);
        Ok(())
    }

    /// Gives the file `node` the additional name `path`.
    fn link(&mut self, node: usize, path: &Path) -> io::Result<()> {
        if self.find(path).is_ok() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.check_device(node, path)?;
        self.add(path, node)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        let tick = self.tick();
        self.parent(path)?
            .change(Change::Removed(name_of(path)?), tick);
        Ok(())
    }

    /// Creates a node and gives it the name `path`, unless that is taken.
    fn make(&mut self, path: &Path, mut node: Node) -> io::Result<usize> {
        let name = name_of(path)?;
        if self.parent(path)?.seen.contains_key(&name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        match &mut node {
            Node::Directory(directory) => directory.changed = self.tick(),
            Node::Content(content) => content.modified = self.tick(),
        }
        self.nodes.push(node);
        let number = self.nodes.len() - 1;
        let second_device = self.second_device.as_ref();
        if second_device.is_some_and(|second_device| path.starts_with(second_device)) {
            self.on_second_device.insert(number);
        }
        self.add(path, number)?;
        Ok(number)
    }

    /// Syncs everything, or marks as clean what could not be written.
    fn sync_all(&mut self, is_saved: bool) {
        for (number, node) in self.nodes.iter_mut().enumerate() {
            if self.on_second_device.contains(&number) {
                continue;
            }
            match node {
                Node::Content(content) => {
                    content.sync_or_lose(is_saved, None);
                    content.losses.was_told |= is_saved;
                }
                Node::Directory(directory) => {
                    directory.sync_or_lose(is_saved, None);
                    directory.losses.was_told |= is_saved;
                    if is_saved {
                        directory.fresh.clear();
                        directory.unlinked.clear();
                    }
                }
            }
        }
    }

    /// Whether `node` has a name.
    fn is_linked(&self, node: usize) -> bool {
        self.nodes.iter().any(|other| match other {
            Node::Directory(directory) => directory.seen.values().any(|it| *it == node),
            Node::Content(_) => false,
        })
    }

    fn is_fuse(&self) -> bool {
        self.file_system == FileSystem::FUSE
    }

    /// Syncs the entries of all directories.
    fn sync_names(&mut self) {
        for node in &mut self.nodes {
            if let Node::Directory(directory) = node {
                directory.sync_or_lose(true, None);
            }
        }
    }

    fn sync_dir(&mut self, path: &Path, is_saved: bool) -> io::Result<()> {
        self.n_directory_syncs += 1;
        for node in std::mem::take(&mut self.late) {
            self.content(node)?.sync(None);
        }
        let node = self.find(path)?;
        let defect = self.defect;
        let Node::Directory(directory) = &mut self.nodes[node] else {
            return Err(io::ErrorKind::NotADirectory.into());
        };
        let is_parent = !path.ends_with("new") && !path.ends_with("cur");
        if self.file_system == FileSystem::FUSE
            || defect == Some(Defect::DirectoriesAreNotSynced)
            || (defect == Some(Defect::ParentsAreNotSynced) && is_parent)
        {
            return Ok(());
        }
        let mut told = directory.losses.told_at_opening();
        directory.sync_or_lose(is_saved, defect);
        directory.losses.tell(&mut told)
    }

    /// How many losses of the file `node` a handle that is opened now counts as reported.
    fn told_at_opening(&mut self, node: usize) -> u64 {
        let content = self.content(node);
        content.map_or(0, |content| content.losses.told_at_opening())
    }
}

/// The position of this name among a directory's entries, as in a hashed directory.
fn order(name: &OsStr) -> u64 {
    let octets = name.as_encoded_bytes().iter();
    octets.fold(0, |hash: u64, octet| {
        let hash = hash ^ u64::from(*octet);
        hash.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(23)
    })
}

fn kind(disk: &Disk, node: usize) -> Kind {
    match disk.nodes[node] {
        Node::Directory(_) => Kind::Directory,
        Node::Content(_) => Kind::File,
    }
}

/// The last component of `path`.
fn name_of(path: &Path) -> io::Result<OsString> {
    Ok(path
        .file_name()
        .ok_or(io::ErrorKind::InvalidInput)?
        .to_owned())
}

impl SimFs {
    /// An empty disk.
    pub(crate) fn new() -> Self {
        let nodes = vec![Node::Directory(Directory::default())];
        let disk = Disk::new(nodes, Arc::new(Hands::new()));
        Self {
            disk: Arc::new(Mutex::new(disk)),
            life: 0,
            watcher: None,
        }
    }

    /// Cuts the power when operation `at` is called, counted from 1.
    pub(crate) fn cut_at(&self, at: u64) {
        self.disk.lock().cut_at = Some(at);
    }

    /// Makes one more operation report an error.
    pub(crate) fn fail(&self, fault: Fault) {
        self.disk.lock().faults.push(fault);
    }

    /// Forgets the errors that have not been reported yet.
    pub(crate) fn heal(&self) {
        self.disk.lock().faults.clear();
    }

    /// Makes the file system break a promise.
    pub(crate) fn plant(&self, defect: Defect) {
        self.disk.lock().defect = Some(defect);
    }

    /// Makes it a file system in user space, which passes a sync of only a file on to the one
    /// below; that one then writes down all name changes so far.
    pub(crate) fn be_fuse(&self) {
        self.disk.lock().file_system = FileSystem::FUSE;
    }

    /// Sets what the times of directories are like.
    pub(crate) fn set_times(&self, times: Times) {
        let mut disk = self.disk.lock();
        disk.times = times;
        disk.file_system = match times {
            Times::Coarse | Times::Fine => FileSystem::EXT,
            Times::Still => FileSystem::FUSE,
        };
    }

    /// Sets what `total_octets` says.
    pub(crate) fn set_total_octets(&self, octets: u64) {
        self.disk.lock().total_octets = octets;
    }

    /// Sets what `free_octets` says.
    pub(crate) fn set_free_octets(&self, octets: u64) {
        self.disk.lock().free_octets = octets;
    }

    /// Makes a block of a file one that cannot be read.
    pub(crate) fn spoil(&self, path: &Path, block: usize) {
        let mut disk = self.disk.lock();
        let node = disk.find(path).unwrap();
        disk.bad_blocks.insert((node, block));
    }

    /// Makes a file one that the disk cannot open.
    pub(crate) fn spoil_file(&self, path: &Path) {
        let mut disk = self.disk.lock();
        let node = disk.find(path).unwrap();
        disk.bad_files.insert(node);
    }

    /// Makes every append fail, as on a full disk.
    pub(crate) fn refuse_files(&self, refuses: bool) {
        self.disk.lock().refuses_files = refuses;
    }

    /// Puts files at `path` and below it on another device.
    pub(crate) fn split_at(&self, path: &Path) {
        self.disk.lock().second_device = Some(path.to_owned());
    }

    /// Makes the directory `path` refuse every change of its entries, or accept them again. Returns
    /// whether the directory exists.
    pub(crate) fn refuse_entries(&self, path: &Path, refuses: bool) -> bool {
        let mut disk = self.disk.lock();
        let Ok(node) = disk.find(path) else {
            return false;
        };
        if refuses {
            disk.refusing.insert(node)
        } else {
            disk.refusing.remove(&node)
        }
    }

    /// Lets every directory accept entries again.
    pub(crate) fn accept_entries(&self) {
        self.disk.lock().refusing.clear();
    }

    /// Makes the file system unable to exchange two names.
    pub(crate) fn refuse_exchange(&self) {
        self.disk.lock().lacks_exchange = true;
    }

    /// The clock by which this file system counts its times.
    pub(crate) fn clock(&self) -> Clock {
        Clock::turned_by(self.hands())
    }

    /// The hands of that clock.
    pub(crate) fn hands(&self) -> Arc<Hands> {
        Arc::clone(&self.disk.lock().hands)
    }

    /// Makes operations take no time: time passes only when the hands are moved.
    pub(crate) fn make_timeless(&self) {
        self.disk.lock().is_timeless = true;
    }

    /// Sets how long a sync of the whole file system takes, as if other programs wrote much, and
    /// how long that of one file takes.
    pub(crate) fn slow_syncs(&self, whole: Duration, file: Duration) {
        let mut disk = self.disk.lock();
        disk.whole_sync_takes = whole;
        disk.file_sync_takes = file;
    }

    /// How often the whole file system was synced.
    pub(crate) fn n_whole_syncs(&self) -> u64 {
        self.disk.lock().n_whole_syncs
    }

    /// How often a directory was synced.
    pub(crate) fn n_directory_syncs(&self) -> u64 {
        self.disk.lock().n_directory_syncs
    }

    /// Whether a program in user space serves it.
    pub(crate) fn is_fuse(&self) -> bool {
        self.disk.lock().is_fuse()
    }

    /// Whether a failed sync has lost the removal of a name: after a power cut that name may be
    /// back, whatever is synced.
    #[cfg(shuttle)]
    pub(crate) fn has_lost_removal(&self) -> bool {
        let has_lost = |node: &Node| matches!(node, Node::Directory(it) if it.losses.has_removal);
        self.disk.lock().nodes.iter().any(has_lost)
    }

    /// Whether the file system breaks a promise in this way.
    pub(crate) fn has(&self, defect: Defect) -> bool {
        self.disk.lock().defect == Some(defect)
    }

    /// Whether the power is on and no error is pending.
    pub(crate) fn is_well(&self) -> bool {
        let disk = self.disk.lock();
        let is_on = disk.cut_at.is_none_or(|at| at > disk.n_operations);
        is_on && disk.faults.is_empty()
    }

    /// How many operations there were.
    pub(crate) fn n_operations(&self) -> u64 {
        self.disk.lock().n_operations
    }

    /// The seed of the power cut after which this disk was found, or 0.
    pub(crate) fn seed(&self) -> u64 {
        self.disk.lock().seed
    }

    /// How many directories were read.
    pub(crate) fn n_directories_read(&self) -> u64 {
        self.disk.lock().n_directories_read
    }

    /// The same file system, with `watcher` called before every operation, and between the entries
    /// of a directory that is being read.
    pub(crate) fn watched(&self, watcher: impl Fn() + Send + Sync + 'static) -> Self {
        Self {
            watcher: Some(Arc::new(watcher)),
            ..self.clone()
        }
    }

    /// The disk as it is found after a power cut. `seed` decides how much of what was not durable
    /// is kept: nothing for 0, everything for 1, an arbitrary part for others.
    #[expect(
        clippy::significant_drop_tightening,
        reason = "cloning the disk would cost more"
    )]
    pub(crate) fn power_cut(&self, seed: u64) -> Self {
        let before = self.disk.lock();
        let mut rng = Rng::new(seed);
        let keep_percent = match seed {
            0 => 0,
            1 => 100,
            _ => [20, 50, 80][rng.below(3)],
        };
        let mut nodes = Vec::with_capacity(before.nodes.len());
        for node in &before.nodes {
            nodes.push(match node {
                Node::Directory(it) => Node::Directory(it.after_power_cut(keep_percent, &mut rng)),
                Node::Content(it) => Node::Content(it.after_power_cut(keep_percent, &mut rng)),
            });
        }
        if before.defect == Some(Defect::RemovedNamesComeBackEmpty) {
            for (number, node) in before.nodes.iter().enumerate() {
                let Node::Directory(directory) = node else {
                    continue;
                };
                for name in directory.returning(&mut rng) {
                    let empty = nodes.len();
                    nodes.push(Node::Content(Content::default()));
                    if let Node::Directory(found) = &mut nodes[number] {
                        found.seen.entry(name.clone()).or_insert(empty);
                        found.durable.entry(name).or_insert(empty);
                    }
                }
            }
        }
        let disk = Disk {
            seed,
            defect: before.defect,
            file_system: before.file_system,
            free_octets: before.free_octets,
            total_octets: before.total_octets,
            times: before.times,
            is_timeless: before.is_timeless,
            whole_sync_takes: before.whole_sync_takes,
            file_sync_takes: before.file_sync_takes,
            second_device: before.second_device.clone(),
            on_second_device: before.on_second_device.clone(),
            refusing: before.refusing.clone(),
            lacks_exchange: before.lacks_exchange,
            ..Disk::new(nodes, Arc::clone(&before.hands))
        };
        Self {
            disk: Arc::new(Mutex::new(disk)),
            life: 0,
            watcher: None,
        }
    }

    /// Ends the life of the process: old handles fail, the new one sees what they saw.
    pub(crate) fn kill(&self) -> Self {
        let mut disk = self.disk.lock();
        disk.life += 1;
        disk.locked.clear();
        disk.cut_at = None;
        disk.faults.clear();
        Self {
            disk: Arc::clone(&self.disk),
            life: disk.life,
            watcher: None,
        }
    }

    /// Counts an operation; returns the fault that it has to report.
    fn begin(&self) -> io::Result<(MutexGuard<'_, Disk>, Option<Fault>)> {
        if let Some(watcher) = &self.watcher {
            watcher();
        }
        let mut disk = self.disk.lock();
        if self.life != disk.life {
            return Err(io::Error::other("the process was killed"));
        }
        disk.n_operations += 1;
        let now = disk.n_operations;
        if !disk.is_timeless {
            let taken = PACE[usize::try_from(now).unwrap() % PACE.len()];
            disk.hands.pass(Duration::from_millis(taken));
        }
        if disk.cut_at.is_some_and(|at| at <= now) {
            return Err(io::Error::other("the power is off"));
        }
        let fault = disk.faults.iter().copied().find(|fault| fault.at == now);
        Ok((disk, fault))
    }

    /// The next entries of the directory `node` after `last`; none at the end.
    fn entries_behind(
        &self,
        node: usize,
        last: Option<&(u64, OsString)>,
    ) -> io::Result<Vec<((u64, OsString), usize)>> {
        let disk = self.disk.lock();
        if self.life != disk.life {
            return Err(io::Error::other("the process was killed"));
        }
        let entries = disk.directory(node)?.seen.iter();
        let placed = entries.map(|(name, &node)| ((order(name), name.clone()), node));
        let mut behind: Vec<_> = placed
            .filter(|(it, _)| last.is_none_or(|last| it > last))
            .collect();
        drop(disk);
        behind.sort_unstable_by(|left, right| left.0.cmp(&right.0));
        behind.truncate(VISITED_AT_ONCE.max(behind.len() / VISITED_PART));
        Ok(behind)
    }

    /// Performs an operation on the disk, or fails as planned.
    fn perform<T>(&self, operation: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        let (mut disk, fault) = self.begin()?;
        match fault {
            None => operation(&mut disk),
            Some(fault) => {
                if fault.is_done {
                    operation(&mut disk)?;
                }
                Err(fault.errno.into())
            }
        }
    }

    /// Performs a sync; `sync` learns whether the changes are saved or lost.
    fn perform_sync(&self, sync: impl FnOnce(&mut Disk, bool) -> io::Result<()>) -> io::Result<()> {
        let (mut disk, fault) = self.begin()?;
        let synced = sync(&mut disk, fault.is_none());
        let passes = disk.defect == Some(Defect::FailedSyncsPass);
        match (synced, fault) {
            (Err(error), _) if error.raw_os_error() != Some(EIO) => Err(error),
            _ if passes => Ok(()),
            (_, Some(fault)) => Err(fault.errno.into()),
            (synced, None) => synced,
        }
    }

    fn held(&self, node: usize) -> Box<dyn Held> {
        Box::new(SimLock {
            fs: self.clone(),
            node,
        })
    }

    fn file(&self, node: usize) -> Box<dyn File> {
        Box::new(SimFile {
            fs: self.clone(),
            node,
            offset: 0,
            told: self.disk.lock().told_at_opening(node),
        })
    }
}

impl fmt::Debug for SimFs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimFs")
            .field("life", &self.life)
            .finish_non_exhaustive()
    }
}

impl Fs for SimFs {
    fn check_entries(&self, path: &Path) -> io::Result<()> {
        self.perform(|disk| {
            let node = disk.find(path)?;
            disk.directory(node)?;
            if disk.refusing.contains(&node) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
            Ok(())
        })
    }

    fn confirm(&self, path: &Path) -> io::Result<()> {
        self.perform(|disk| disk.find(path).map(|_| ()))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.perform(|disk| {
            disk.make(path, Node::Directory(Directory::default()))
                .map(|_| ())
        })
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let node = self.perform(|disk| disk.make(path, Node::Content(Content::default())))?;
        Ok(self.file(node))
    }

    fn create_unnamed(&self, directory: &Path) -> io::Result<Box<dyn File>> {
        let node = self.perform(|disk| {
            let directory = disk.find(directory)?;
            disk.directory(directory)?;
            if disk.is_fuse() {
                return Err(io::ErrorKind::Unsupported.into());
            }
            let modified = disk.tick();
            disk.nodes.push(Node::Content(Content {
                modified,
                ..Content::default()
            }));
            let node = disk.nodes.len() - 1;
            if disk.on_second_device.contains(&directory) {
                disk.on_second_device.insert(node);
            }
            Ok(node)
        })?;
        Ok(self.file(node))
    }

    fn exchange(&self, left: &Path, right: &Path) -> io::Result<()> {
        self.perform(|disk| {
            let (left_node, right_node) = (disk.find(left)?, disk.find(right)?);
            if disk.lacks_exchange {
                return Err(rustix::io::Errno::INVAL.into());
            }
            disk.check_device(left_node, right)?;
            disk.parent(left)?;
            disk.parent(right)?;
            disk.add(left, right_node)?;
            disk.add(right, left_node)
        })
    }

    fn file_system(&self, _path: &Path) -> io::Result<FileSystem> {
        self.perform(|disk| Ok(disk.file_system))
    }

    fn free_octets(&self, _path: &Path) -> io::Result<u64> {
        self.perform(|disk| Ok(disk.free_octets))
    }

    fn total_octets(&self, _path: &Path) -> io::Result<u64> {
        // Not an operation of its own: it cannot fail.
        Ok(self.disk.lock().total_octets)
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.perform(|disk| {
            let node = disk.find(from)?;
            disk.link(node, to)
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        let node = self.perform(|disk| {
            let node = match disk.find(path) {
                Ok(node) => node,
                Err(_) => disk.make(path, Node::Content(Content::default()))?,
            };
            Ok(disk.locked.insert(node).then_some(node))
        })?;
        Ok(node.map(|node| self.held(node)))
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        let node = self.perform(|disk| {
            let node = disk.find(path)?;
            disk.directory(node)?;
            Ok(disk.locked.insert(node).then_some(node))
        })?;
        Ok(node.map(|node| self.held(node)))
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        self.perform(|disk| {
            let node = disk.find(path)?;
            let (kind, mode, changed) = match &disk.nodes[node] {
                Node::Directory(it) => (Kind::Directory, 0o700, it.changed),
                Node::Content(it) => (Kind::File, 0o600, it.modified),
            };
            let stamp = Stamp {
                identity: identity(node),
                modified: changed,
                changed,
            };
            Ok(Metadata {
                kind,
                owner: self.user(),
                mode,
                stamp,
            })
        })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let node = self.perform(|disk| {
            let node = disk.find(path)?;
            disk.content(node)?;
            disk.check_file(node)
        })?;
        Ok(self.file(node))
    }

    fn open_segment(&self, path: &Path) -> io::Result<Box<dyn Segment>> {
        let node = self.perform(|disk| match disk.find(path) {
            Ok(node) => disk.check_file(node),
            Err(_) => disk.make(path, Node::Content(Content::default())),
        })?;
        let told = Mutex::new(self.disk.lock().told_at_opening(node));
        Ok(Box::new(SimSegment {
            fs: self.clone(),
            node,
            told,
        }))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        self.perform(|disk| {
            disk.n_directories_read += 1;
            let node = disk.find(path)?;
            let entries = disk.directory(node)?.seen.iter();
            Ok(entries
                .map(|(name, &node)| Entry {
                    name: name.clone(),
                    kind: kind(disk, node),
                    inode: identity(node).inode,
                })
                .collect())
        })
    }

    fn visit_dir(&self, path: &Path, visit: &mut dyn FnMut(Entry<&OsStr>)) -> io::Result<()> {
        let node = self.perform(|disk| {
            disk.n_directories_read += 1;
            let node = disk.find(path)?;
            disk.directory(node)?;
            Ok(node)
        })?;
        let mut last = None;
        loop {
            let entries = self.entries_behind(node, last.as_ref())?;
            for ((_, name), node) in &entries {
                let (name, kind) = (name.as_os_str(), kind(&self.disk.lock(), *node));
                let inode = identity(*node).inode;
                visit(Entry { name, kind, inode });
            }
            let Some((place, _)) = entries.into_iter().next_back() else {
                return Ok(());
            };
            last = Some(place);
            if let Some(watcher) = &self.watcher {
                watcher();
            }
        }
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.perform(|disk| {
            let node = disk.find(path)?;
            if !disk.directory(node)?.seen.is_empty() {
                return Err(io::ErrorKind::DirectoryNotEmpty.into());
            }
            disk.remove(path)
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.perform(|disk| {
            let node = disk.find(from)?;
            disk.check_device(node, to)?;
            disk.parent(to)?;
            disk.remove(from)?;
            disk.add(to, node)?;
            let tick = disk.tick();
            if let Node::Directory(moved) = &mut disk.nodes[node] {
                moved.changed = tick;
            }
            Ok(())
        })
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.perform_sync(|disk, is_saved| disk.sync_dir(path, is_saved))
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        self.perform(|disk| {
            let node = disk.find(path)?;
            disk.content(node)?;
            disk.remove(path)?;
            let directory = disk.parent(path)?;
            let name = name_of(path)?;
            if directory.fresh.contains(&name) {
                directory.unlinked.insert(name);
            }
            Ok(())
        })
    }

    fn volume(&self, _path: &Path) -> io::Result<Box<dyn Volume>> {
        self.perform(|_| Ok(()))?;
        Ok(Box::new(self.clone()))
    }
}

impl Volume for SimFs {
    fn sync_whole(&self) -> io::Result<()> {
        self.perform_sync(|disk, is_saved| {
            disk.n_whole_syncs += 1;
            disk.hands.pass(disk.whole_sync_takes);
            if disk.defect != Some(Defect::VolumeIsNotSynced) && !disk.is_fuse() {
                disk.sync_all(is_saved);
            }
            Ok(())
        })
    }
}

/// A segment of the simulated file system.
#[derive(Debug)]
struct SimSegment {
    fs: SimFs,
    node: usize,
    /// See [`Losses`].
    told: Mutex<u64>,
}

impl Held for SimSegment {
    fn identity(&self) -> io::Result<Identity> {
        Ok(identity(self.node))
    }

    fn is_linked(&self) -> io::Result<bool> {
        // Not an operation of its own: it cannot fail, and a power cut in it makes no difference.
        Ok(self.fs.disk.lock().is_linked(self.node))
    }

    fn sign(&self) -> io::Result<()> {
        // As above.
        Ok(())
    }
}

impl Segment for SimSegment {
    fn octets(&self) -> io::Result<u64> {
        let node = self.node;
        self.fs
            .perform(|disk| Ok(u64::try_from(disk.content(node)?.seen.len()).unwrap()))
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fs
            .perform(|disk| disk.read_at(self.node, buffer, offset))
    }

    fn sync_data(&self) -> io::Result<()> {
        let node = self.node;
        self.fs.perform_sync(|disk, is_saved| {
            if disk.defect == Some(Defect::SegmentsAreNotSynced) {
                return Ok(());
            }
            let content = disk.content(node)?;
            let has_grown = content.durable.len() < content.seen.len();
            content.sync_or_lose(is_saved, None);
            let told = content.losses.tell(&mut self.told.lock());
            // Otherwise only its octets need to be written.
            if disk.is_fuse() && is_saved && has_grown {
                disk.sync_names();
            }
            told
        })
    }

    fn write_at(&self, octets: &[u8], offset: u64) -> io::Result<()> {
        let (mut disk, fault) = self.fs.begin()?;
        let (content, start) = (disk.content(self.node)?, usize::try_from(offset).unwrap());
        match fault {
            None => content.write_at(start, octets),
            Some(fault) => {
                // A part of it is written.
                content.write_at(start, &octets[..octets.len() / 2]);
                return Err(fault.errno.into());
            }
        }
        Ok(())
    }
}

/// A lock on a file or directory of the simulated file system.
#[derive(Debug)]
struct SimLock {
    fs: SimFs,
    node: usize,
}

impl Held for SimLock {
    fn identity(&self) -> io::Result<Identity> {
        Ok(identity(self.node))
    }

    fn is_linked(&self) -> io::Result<bool> {
        Ok(self.fs.disk.lock().is_linked(self.node))
    }

    fn sign(&self) -> io::Result<()> {
        // Nothing depends on it.
        Ok(())
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        let mut disk = self.fs.disk.lock();
        if disk.life == self.fs.life {
            disk.locked.remove(&self.node);
        }
    }
}

/// The identity of the file or directory `node`.
fn identity(node: usize) -> Identity {
    Identity {
        device: 0,
        inode: u64::try_from(node).unwrap(),
    }
}

/// An open file of the simulated file system.
#[derive(Debug)]
struct SimFile {
    fs: SimFs,
    node: usize,
    offset: usize,
    /// See [`Losses`].
    told: u64,
}

impl File for SimFile {
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        let (mut disk, fault) = self.fs.begin()?;
        if disk.refuses_files {
            return Err(rustix::io::Errno::NOSPC.into());
        }
        let tick = disk.tick();
        let content = disk.content(self.node)?;
        content.modified = tick;
        match fault {
            None => content.append(octets),
            Some(fault) => {
                // A part of it is written.
                content.append(&octets[..octets.len() / 2]);
                return Err(fault.errno.into());
            }
        }
        Ok(())
    }

    fn give_name(&self, path: &Path) -> io::Result<()> {
        self.fs.perform(|disk| disk.link(self.node, path))
    }

    fn stamp_when_opened(&self) -> Option<Stamp> {
        // It cannot fail, and the power cannot fail in it.
        let mut disk = self.fs.disk.lock();
        let modified = disk.content(self.node).ok()?.modified;
        drop(disk);
        Some(Stamp {
            identity: identity(self.node),
            modified,
            changed: modified,
        })
    }

    fn octets_when_opened(&self) -> Option<u64> {
        // It cannot fail, and the power cannot fail in it.
        let content = |disk: &mut Disk| disk.content(self.node).ok().map(|it| it.seen.len());
        let octets = content(&mut self.fs.disk.lock())?;
        u64::try_from(octets).ok()
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (node, offset) = (self.node, self.offset);
        let n_read = self.fs.perform(|disk| {
            if disk.bad_blocks.contains(&(node, offset / BLOCK_OCTETS)) {
                return Err(rustix::io::Errno::IO.into());
            }
            let rest = &disk.content(node)?.seen[offset..];
            let n_read = rest.len().min(buffer.len());
            buffer[..n_read].copy_from_slice(&rest[..n_read]);
            Ok(n_read)
        })?;
        self.offset += n_read;
        Ok(n_read)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.fs
            .perform(|disk| disk.read_at(self.node, buffer, offset))
    }

    fn sync(&mut self) -> io::Result<()> {
        let node = self.node;
        self.fs.perform_sync(|disk, is_saved| {
            disk.hands.pass(disk.file_sync_takes);
            let defect = disk.defect;
            if defect == Some(Defect::FilesAreNotSynced) {
                return Ok(());
            }
            if defect == Some(Defect::FilesAreSyncedLate) {
                disk.late.push(node);
                return Ok(());
            }
            let content = disk.content(node)?;
            content.sync_or_lose(is_saved, defect);
            let told = content.losses.tell(&mut self.told);
            if disk.is_fuse() && is_saved {
                disk.sync_names();
            }
            told
        })
    }
}
