//! The file system as facteur sees it: five traits and their real form.
//!
//! The only file of the crate that may touch the disk. [`Fs`] has exactly the operations that a
//! durable Maildir with a journal needs, so that tests can put a simulated disk in its place, cut
//! the power at any operation and look at what is left. It decides nothing: names, order and the
//! reaction to failures belong to those who call it.
//!
//! # Invariants
//! - The last component of a path is never followed when it is a symbolic link (SEC-6).
//! - Files are made with mode 0600 and directories with 0700, whatever the umask allows (SEC-6).
//! - A call that returns `Ok` did all of it: short writes and interrupted calls are continued here.
//!
//! # Failures
//! Each method returns what the system said. A failed `sync` must never be repeated: the kernel
//! forgets the data that it could not write, and the next call succeeds without it (I9).
//!
//! # Known limits
//! Symbolic links in front of the last component are followed. The store checks those that lie
//! inside it when it first meets a mailbox.

mod trust;

use std::{
    ffi::{CStr, OsStr, OsString},
    fmt::Debug,
    fs,
    io::{self, Read as _, Write as _},
    os::unix::{
        ffi::OsStrExt as _,
        fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _},
    },
    path::Path,
};

use rustix::{
    fs::{
        Access, Advice, AtFlags, CWD, FileType, Mode, OFlags, RawDir, RenameFlags, Timespec,
        Timestamps, UTIME_NOW,
    },
    fs::{Gid, Uid},
    io::Errno,
};

pub use trust::{FileSystem, Trust};

/// Octets of a directory read with one call.
///
/// About 350 names of our own. More gains nothing that can be measured, and a maildrop of a few
/// messages does not touch what it does not need.
const DIRECTORY_OCTETS: usize = 32 * 1024;

/// What the store asks of a file system.
///
/// The errors are those of the system calls named with each method.
pub trait Fs: Debug + Send + Sync {
    /// Whether this process may put entries into the directory `path`, as far as the system can
    /// tell beforehand (faccessat). A file system that does not know says that it may.
    ///
    /// # Errors
    /// Whatever faccessat says.
    fn check_entries(&self, _path: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Makes a change to the file `path` that means nothing: sets its times (utimensat).
    ///
    /// Asked after a sync. A journaled file system whose journal has failed tells so to one caller;
    /// the syncs of all others succeed from then on, and save nothing, but no change can be begun.
    ///
    /// # Errors
    /// Whatever utimensat says: then the sync before is to be taken for one that failed.
    fn confirm(&self, path: &Path) -> io::Result<()>;

    /// Makes a directory of mode 0700 (mkdir). `AlreadyExists` when anything has the name.
    ///
    /// # Errors
    /// Whatever mkdir says.
    fn create_dir(&self, path: &Path) -> io::Result<()>;

    /// Makes a file of mode 0600 that was not there, for appending (open, `O_EXCL`).
    ///
    /// # Errors
    /// Whatever open says; `AlreadyExists` also for a symbolic link.
    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Gives each of two files the other one's name, in one step (renameat2, `RENAME_EXCHANGE`).
    ///
    /// # Errors
    /// Whatever renameat2 says; `NotFound` when one of them is not there, and then nothing is
    /// changed.
    fn exchange(&self, left: &Path, right: &Path) -> io::Result<()>;

    /// The kind of the file system of `path` (statfs).
    ///
    /// # Errors
    /// Whatever statfs says.
    fn file_system(&self, path: &Path) -> io::Result<FileSystem>;

    /// The octets that we may still write to the file system of `path` (statvfs).
    ///
    /// # Errors
    /// Whatever statvfs says.
    fn free_octets(&self, path: &Path) -> io::Result<u64>;

    /// All octets of the file system of `path` (statvfs).
    ///
    /// # Errors
    /// Whatever statvfs says.
    fn total_octets(&self, path: &Path) -> io::Result<u64>;

    /// Gives the file `from` the further name `to` (link).
    ///
    /// # Errors
    /// Whatever link says.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Takes an exclusive lock on the file `path`, made if missing; dropping the result ends it.
    /// `None` when another process or another call holds it.
    ///
    /// # Errors
    /// Whatever open and flock say.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>>;

    /// Takes an exclusive lock on the directory `path`; otherwise like [`lock`](Self::lock).
    ///
    /// # Errors
    /// Whatever open and flock say.
    fn lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>>;

    /// What has the name `path`; a symbolic link is reported, not followed (lstat).
    ///
    /// # Errors
    /// Whatever lstat says.
    fn metadata(&self, path: &Path) -> io::Result<Metadata>;

    /// Opens a regular file for reading, and to sync what others wrote. Anything else, a symbolic
    /// link or a fifo, is refused as `InvalidInput`, without waiting.
    ///
    /// # Errors
    /// Whatever open says.
    fn open(&self, path: &Path) -> io::Result<Box<dyn File>>;

    /// Opens a file for writing in its place, made with mode 0600 if missing (open).
    ///
    /// # Errors
    /// Whatever open says.
    fn open_segment(&self, path: &Path) -> io::Result<Box<dyn Segment>>;

    /// The entries of a directory in no order, without `.` and `..` (getdents).
    ///
    /// An entry that is renamed meanwhile may be missing or come twice.
    ///
    /// # Errors
    /// Whatever open and getdents say.
    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>>;

    /// Calls `visit` for each entry of a directory, as [`read_dir`](Self::read_dir) gives them; for
    /// directories that may have a million.
    ///
    /// # Errors
    /// Whatever open and getdents say; some entries may have been visited then.
    fn visit_dir(&self, path: &Path, visit: &mut dyn FnMut(&OsStr, Kind)) -> io::Result<()> {
        for entry in self.read_dir(path)? {
            visit(&entry.name, entry.kind);
        }
        Ok(())
    }

    /// Removes an empty directory (rmdir).
    ///
    /// # Errors
    /// Whatever rmdir says.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;

    /// Gives a file another name, in one step (rename).
    ///
    /// # Errors
    /// Whatever rename says.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Returns when the entries of a directory will survive a power cut (fsync).
    ///
    /// # Errors
    /// Whatever open and fsync say. Never repeat the call (I9).
    fn sync_dir(&self, path: &Path) -> io::Result<()>;

    /// Gives the file `path`, which this process has made, the owner and the group of `like`, and,
    /// where root owns that and its group, another one than root's, may read it, lets the group
    /// read the file (chown, chmod). Who may not give files away keeps it.
    ///
    /// # Errors
    /// Whatever lstat and chmod say.
    fn take_after(&self, _path: &Path, _like: &Path) -> io::Result<()> {
        Ok(())
    }

    /// Takes a name from a file (unlink).
    ///
    /// # Errors
    /// Whatever unlink says.
    fn unlink(&self, path: &Path) -> io::Result<()>;

    /// The effective user of this process, to compare with [`Metadata::owner`] (geteuid).
    fn user(&self) -> u32 {
        rustix::process::geteuid().as_raw()
    }

    /// The file system of `path`, to be synced as a whole. A failure to write anything of it is
    /// told to those who asked for it before.
    ///
    /// # Errors
    /// Whatever open says.
    fn volume(&self, path: &Path) -> io::Result<Box<dyn Volume>>;
}

/// An open file: written from the start to the end or read from the start to the end.
pub trait File: Debug + Send + Sync {
    /// Writes all of `octets` behind what was written before.
    ///
    /// # Errors
    /// Whatever write says; any part of `octets` may then be in the file.
    fn append(&mut self, octets: &[u8]) -> io::Result<()>;

    /// Lets the system begin to write what was written from octet `start` on, so that a sync finds
    /// less to do (fadvise). Only an advice: it may do nothing, and it cannot fail.
    fn begin_sync(&mut self, _start: u64) {}

    /// How long a file that was opened for reading was then; `None` when that is not known without
    /// another call.
    fn octets_when_opened(&self) -> Option<u64> {
        None
    }

    /// Reads the next octets into `buffer`; 0 at the end.
    ///
    /// # Errors
    /// Whatever read says.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Returns when what was written will survive a power cut (fsync).
    ///
    /// # Errors
    /// Whatever fsync says. Never repeat the call (I9).
    fn sync(&mut self) -> io::Result<()>;
}

/// A file or directory that is held open: as long as it is, nothing else has its identity.
pub trait Held: Debug + Send + Sync {
    /// Which it is (fstat).
    ///
    /// # Errors
    /// Whatever fstat says.
    fn identity(&self) -> io::Result<Identity>;

    /// Whether it still has a name (fstat). Some file systems say so of any directory.
    ///
    /// # Errors
    /// Whatever fstat says.
    fn is_linked(&self) -> io::Result<bool>;

    /// Writes the number of this process, and nothing else, into this lock file: for people who
    /// look for the process that holds it.
    ///
    /// # Errors
    /// Whatever ftruncate and write say. Nothing depends on it.
    fn sign(&self) -> io::Result<()>;
}

/// An open file that is written in its place, again and again.
pub trait Segment: Held {
    /// Its size (fstat).
    ///
    /// # Errors
    /// Whatever fstat says.
    fn octets(&self) -> io::Result<u64>;

    /// Reads octets from `offset` on; fewer than `buffer` has room for only at the end of the file
    /// (pread).
    ///
    /// # Errors
    /// Whatever pread says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// Returns when what was written will survive a power cut, with the size that it needs
    /// (fdatasync).
    ///
    /// # Errors
    /// Whatever fdatasync says. Never repeat the call (I9).
    fn sync_data(&self) -> io::Result<()>;

    /// Writes all of `octets` from `offset` on (pwrite).
    ///
    /// # Errors
    /// Whatever pwrite says; any part of `octets` may then be in the file.
    fn write_at(&self, octets: &[u8], offset: u64) -> io::Result<()>;
}

/// A file system as a whole.
pub trait Volume: Debug + Send + Sync {
    /// Returns when all that was written and named before the call will survive a power cut
    /// (syncfs).
    ///
    /// # Errors
    /// Whatever syncfs says. Anything that was not durable may be lost then, and the next call need
    /// not tell (I9).
    fn sync_whole(&self) -> io::Result<()>;
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its name, without the path.
    pub name: OsString,
    /// What it is.
    pub kind: Kind,
}

/// What a name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A symbolic link, a fifo, a device: nothing that belongs into a Maildir.
    Other,
}

/// What lstat tells, as far as the store wants to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metadata {
    /// What the name stands for.
    pub kind: Kind,
    /// The user that it belongs to.
    pub owner: u32,
    /// The permission bits.
    pub mode: u32,
    /// Which it is, and when it was changed.
    pub stamp: Stamp,
}

/// Which file or directory it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The number of the file system.
    pub device: u64,
    /// The number of the inode in it.
    pub inode: u64,
}

/// Which file or directory it is and when it was changed, by the clock of the file system.
///
/// Whoever adds an entry to a directory or takes one away changes both times; a program can set the
/// first one as it likes, the second only by setting the clock. How fine they are is the file
/// system's business: some count in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Which it is.
    pub identity: Identity,
    /// When the content was last changed: nanoseconds since 1970 (mtime).
    pub modified: i128,
    /// When the inode was last changed: nanoseconds since 1970 (ctime).
    pub changed: i128,
}

/// What an operation gave; nothing where it found nothing of the name.
///
/// # Errors
/// Whatever else it said.
pub fn if_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// What an operation gave; nothing where something had the name already.
///
/// # Errors
/// Whatever else it said.
pub fn unless_there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        other => other.map(Some),
    }
}

/// The file system of the machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFs;

impl RealFs {
    /// Opens `path` without following a symbolic link in its last component.
    fn open_with(path: &Path, flags: OFlags) -> io::Result<fs::File> {
        let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let descriptor = rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, mode))?;
        Ok(fs::File::from(descriptor))
    }

    fn lock_opened(file: fs::File) -> io::Result<Option<Box<dyn Held>>> {
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(RealFile(file)))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the file that touches the disk"
)]
impl Fs for RealFs {
    fn check_entries(&self, path: &Path) -> io::Result<()> {
        let wanted = Access::WRITE_OK | Access::EXEC_OK;
        match rustix::fs::accessat(CWD, path, wanted, AtFlags::EACCESS) {
            // An old kernel that cannot tell it for this process.
            Err(Errno::NOSYS) => Ok(()),
            other => Ok(other?),
        }
    }

    fn confirm(&self, path: &Path) -> io::Result<()> {
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_NOW,
        };
        let times = Timestamps {
            last_access: now,
            last_modification: now,
        };
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::utimensat(CWD, path, &times, flags)?)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        fs::DirBuilder::new().mode(0o700).create(path)
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn File>> {
        let file = Self::open_with(path, OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL)?;
        Ok(Box::new(RealFile(file)))
    }

    fn exchange(&self, left: &Path, right: &Path) -> io::Result<()> {
        let flags = RenameFlags::EXCHANGE;
        Ok(rustix::fs::renameat_with(CWD, left, CWD, right, flags)?)
    }

    fn file_system(&self, path: &Path) -> io::Result<FileSystem> {
        // Its width and its sign depend on the machine; the number has 32 bits.
        let number = i128::from(rustix::fs::statfs(path)?.f_type) & 0xFFFF_FFFF;
        Ok(FileSystem(u32::try_from(number).unwrap_or_default()))
    }

    fn free_octets(&self, path: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(path)?;
        if found.f_blocks == 0 {
            // Some network and pseudo file systems do not say; a write will.
            return Ok(u64::MAX);
        }
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    fn total_octets(&self, path: &Path) -> io::Result<u64> {
        let found = rustix::fs::statvfs(path)?;
        Ok(match found.f_blocks.saturating_mul(found.f_frsize) {
            0 => u64::MAX,
            octets => octets,
        })
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::hard_link(from, to)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        Self::lock_opened(Self::open_with(path, OFlags::RDWR | OFlags::CREATE)?)
    }

    fn lock_dir(&self, path: &Path) -> io::Result<Option<Box<dyn Held>>> {
        Self::lock_opened(Self::open_with(path, OFlags::RDONLY | OFlags::DIRECTORY)?)
    }

    fn metadata(&self, path: &Path) -> io::Result<Metadata> {
        let found = fs::symlink_metadata(path)?;
        let kind = if found.is_dir() {
            Kind::Directory
        } else if found.is_file() {
            Kind::File
        } else {
            Kind::Other
        };
        Ok(Metadata {
            kind,
            owner: found.uid(),
            mode: found.mode() & 0o7777,
            stamp: Stamp {
                identity: identity_of(&found),
                modified: nanoseconds(found.mtime(), found.mtime_nsec()),
                changed: nanoseconds(found.ctime(), found.ctime_nsec()),
            },
        })
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn File>> {
        // NONBLOCK: opening a fifo must not wait for a writer.
        let opened = Self::open_with(path, OFlags::RDONLY | OFlags::NONBLOCK);
        let file = match opened {
            Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
                return Err(io::ErrorKind::InvalidInput.into());
            }
            other => other?,
        };
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // A file system that does not know the size of a file says 0.
        let octets = Some(metadata.len()).filter(|octets| *octets > 0);
        Ok(Box::new(Opened {
            file: RealFile(file),
            octets: metadata.len(),
            octets_left: octets.unwrap_or(u64::MAX),
        }))
    }

    fn open_segment(&self, path: &Path) -> io::Result<Box<dyn Segment>> {
        let file = Self::open_with(path, OFlags::RDWR | OFlags::CREATE)?;
        Ok(Box::new(RealFile(file)))
    }

    fn read_dir(&self, path: &Path) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        self.visit_dir(path, &mut |name, kind| {
            let name = name.to_owned();
            entries.push(Entry { name, kind });
        })?;
        Ok(entries)
    }

    fn visit_dir(&self, path: &Path, visit: &mut dyn FnMut(&OsStr, Kind)) -> io::Result<()> {
        let directory = Self::open_with(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        let mut buffer = Vec::with_capacity(DIRECTORY_OCTETS);
        let mut entries = RawDir::new(&directory, buffer.spare_capacity_mut());
        while let Some(found) = entries.next() {
            match found {
                Ok(found) => visit_entry(&directory, found.file_name(), found.file_type(), visit)?,
                Err(Errno::INTR) => {}
                // Somebody removed the directory: it has no entries any more.
                Err(Errno::NOENT) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        Self::open_with(path, OFlags::RDONLY | OFlags::DIRECTORY)?.sync_all()
    }

    fn take_after(&self, path: &Path, like: &Path) -> io::Result<()> {
        let like = fs::metadata(like)?;
        let file = Self::open_with(path, OFlags::WRONLY)?;
        let own = file.metadata()?;
        if (own.uid(), own.gid()) != (like.uid(), like.gid()) {
            let owner = Some(Uid::from_raw(like.uid()));
            let group = Some(Gid::from_raw(like.gid()));
            if rustix::fs::fchown(&file, owner, group).is_err() {
                return Ok(());
            }
        }
        let is_for_group = like.uid() == 0 && like.gid() != 0;
        let group_may_read = is_for_group && like.mode() & 0o040 != 0;
        if group_may_read {
            rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR | Mode::RGRP)?;
        }
        Ok(())
    }

    fn unlink(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn volume(&self, path: &Path) -> io::Result<Box<dyn Volume>> {
        let directory = Self::open_with(path, OFlags::RDONLY | OFlags::DIRECTORY)?;
        Ok(Box::new(RealFile(directory)))
    }
}

/// Calls `visit` for one entry of `directory`, unless it stands for the directory or its parent or
/// has gone.
fn visit_entry(
    directory: &fs::File,
    name: &CStr,
    mut file_type: FileType,
    visit: &mut dyn FnMut(&OsStr, Kind),
) -> io::Result<()> {
    if matches!(name.to_bytes(), b"." | b"..") {
        return Ok(());
    }
    if file_type == FileType::Unknown {
        match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => file_type = FileType::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
    let kind = match file_type {
        FileType::Directory => Kind::Directory,
        FileType::RegularFile => Kind::File,
        FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => Kind::Other,
    };
    visit(OsStr::from_bytes(name.to_bytes()), kind);
    Ok(())
}

/// Which file or directory it is that the system describes.
fn identity_of(metadata: &fs::Metadata) -> Identity {
    Identity {
        device: metadata.dev(),
        inode: metadata.ino(),
    }
}

/// A time of the system as nanoseconds since 1970.
fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds)
        .saturating_mul(1_000_000_000)
        .saturating_add(nanoseconds.into())
}

/// A file of the machine that was opened for reading, as long as it was then: so its end is known
/// without another call.
#[derive(Debug)]
struct Opened {
    file: RealFile,
    octets: u64,
    octets_left: u64,
}

impl File for Opened {
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file.append(octets)
    }

    fn octets_when_opened(&self) -> Option<u64> {
        Some(self.octets)
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.octets_left == 0 {
            return Ok(0);
        }
        let n_read = self.file.read(buffer)?;
        let octets = u64::try_from(n_read).unwrap_or(u64::MAX);
        self.octets_left = self.octets_left.saturating_sub(octets);
        Ok(n_read)
    }

    fn begin_sync(&mut self, start: u64) {
        self.file.begin_sync(start);
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

/// An open file of the machine.
#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.0.write_all(octets)
    }

    fn begin_sync(&mut self, start: u64) {
        // What is not needed any more is written at once, and dropped only if it is written
        // already: not what was appended a moment ago.
        rustix::fs::fadvise(&self.0, start, None, Advice::DontNeed).unwrap_or_default();
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        // Not fdatasync: it would also write the size, which is needed to read the data back, and
        // may leave out only the times of the inode. But this file is new, its inode has to be
        // written for the size and the blocks anyway, so there is nothing to save.
        self.0.sync_all()
    }
}

impl Held for RealFile {
    fn identity(&self) -> io::Result<Identity> {
        Ok(identity_of(&self.0.metadata()?))
    }

    fn is_linked(&self) -> io::Result<bool> {
        Ok(self.0.metadata()?.nlink() > 0)
    }

    fn sign(&self) -> io::Result<()> {
        let number = format!("{}\n", std::process::id());
        self.0.set_len(0)?;
        self.0.write_all_at(number.as_bytes(), 0)
    }
}

impl Segment for RealFile {
    fn octets(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while let Some(room) = buffer.get_mut(filled..).filter(|room| !room.is_empty()) {
            let done = u64::try_from(filled).unwrap_or(u64::MAX);
            match self.0.read_at(room, offset.saturating_add(done)) {
                Ok(0) => break,
                Ok(n_read) => filled = filled.saturating_add(n_read),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn sync_data(&self) -> io::Result<()> {
        // fdatasync: a segment has its size already, so only its octets have to be written and no
        // journal of the file system has to be waited for.
        self.0.sync_data()
    }

    fn write_at(&self, octets: &[u8], offset: u64) -> io::Result<()> {
        self.0.write_all_at(octets, offset)
    }
}

impl Volume for RealFile {
    fn sync_whole(&self) -> io::Result<()> {
        rustix::fs::syncfs(&self.0)?;
        // Not every file system asks the disk for what is in its own memory then (ext2), but each
        // does when a file or a directory is synced.
        self.0.sync_all()
    }
}
