//! The standing of the store: its directory and its lock, held open, and whether they are still
//! what is found under their names.
//!
//! # Theory of operation
//! Everything in the store is reached by its path, but what makes an acknowledgement worth
//! something is reached by what is open: the lock and the segments of the journal. People who
//! restore a backup move the directory of a running daemon away and put another one in its place,
//! or write over what is in it. From then on a message would be put into the journal of one
//! directory and the Maildirs of another, and the next start would find half of it.
//!
//! So whoever is about to acknowledge something asks first whether the directory and the lock are
//! those that are held, by device and inode: as long as they are open nothing else can have these
//! numbers. The journal asks the same of its own files (`ring.rs`). What is no longer ours is not
//! written to, and takes no mail until the daemon is started again.
//!
//! The checks have different purposes. The directory and the lock show that no other daemon can be
//! there: they are checked when a delivery begins and before a batch is written, by the times of
//! the directory `.facteur` where those can be trusted. That the files of the journal are what
//! their paths stand for shows that a start would find what was written: this is checked when the
//! batch is durable.
//!
//! A directory that is gone, with the lock removed, is another matter: people who want all mail
//! gone do that. It is made again, empty. If the lock no longer has its name but still has another
//! one somewhere, it was moved; then nothing was removed.
//!
//! The directory is locked as well as the file in it, because people remove lock files. The file
//! has the number of the process that holds it, so that a second daemon can name that process.
//!
//! # Invariants
//! - I11: two daemons never serve one store, whatever was done to the lock file.
//!
//! # Failures
//! [`Error::Replaced`].
//!
//! # Known limits
//! Where a lock is only as good as this machine (network file systems), that of the directory keeps
//! out the daemons of this machine alone. A directory that is replaced in the moment between the
//! question and the acknowledgement no longer belongs to the store, but the message is in it: it
//! was durable before it was moved away.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

use crate::{
    fs::{self, Fs, Identity, RealFs, Stamp},
    store::{Error, limits::PLACE_BELIEVED, sync::Mutex},
};

use super::{
    disk::Disk,
    private::{OWN_DIRECTORY, SPOOL_DIRECTORY, prepare, prepare_root},
    times::{self, Shows, identity_at, stamp_at},
};

/// The file that one daemon holds a lock on.
const LOCK_NAME: &str = "store.lock";

/// Octets of a process number as decimal digits, with a line ending.
const SIGNATURE_OCTETS_MAX: usize = 11;

/// The directory and the lock of an open store.
#[derive(Debug)]
pub(super) struct Place {
    /// The file that is locked.
    lock_path: PathBuf,
    held: Mutex<HeldPlace>,
}

/// What is held of them.
#[derive(Debug)]
pub(super) struct HeldPlace {
    root: Handle,
    lock: Handle,
    /// The directory that is the store's own when all was last found, if a change would show.
    found: Option<Stamp>,
    /// When that was.
    found_at: Option<Instant>,
}

impl HeldPlace {
    /// The number of the file system that the directory is on.
    pub(super) fn device(&self) -> u64 {
        self.root.identity.device
    }
}

/// What is locked and held.
#[derive(Debug)]
struct Handle {
    held: Arc<dyn fs::Held>,
    identity: Identity,
}

/// How the place is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// As it was opened.
    Ours,
    /// Removed: it is to be made again.
    Removed,
}

impl Standing {
    /// Makes sure that it is still ours.
    fn check(self, disk: &Disk) -> Result<(), Error> {
        match self {
            Self::Ours => Ok(()),
            Self::Removed => Err(Error::replaced(&disk.root)),
        }
    }
}

impl Handle {
    /// Holds what was locked at `path` in the store of `root`.
    fn of(
        fs: &dyn Fs,
        root: &Path,
        locked: io::Result<Option<Box<dyn fs::Held>>>,
        path: &Path,
    ) -> Result<Self, Error> {
        let locked = locked.map_err(|source| Error::CannotLock {
            path: path.to_owned(),
            source: source.into(),
        })?;
        let held = locked.ok_or_else(|| Error::StoreInUse {
            path: path.to_owned(),
            process: signature(fs, root),
        })?;
        let identity = held.identity().map_err(Error::io("look at", path))?;
        Ok(Self {
            held: held.into(),
            identity,
        })
    }
}

/// Which process has written its number into the lock of the store of `root`. When the store is in
/// use that is the one that uses it.
fn signature(fs: &dyn Fs, root: &Path) -> Option<u32> {
    let mut file = fs.open(&lock_of(root)).ok()?;
    let mut number = [0; SIGNATURE_OCTETS_MAX];
    let octets = file.read(&mut number).ok()?;
    let number = str::from_utf8(number.get(..octets)?).ok()?;
    number.trim_end().parse().ok()
}

/// Which process serves the store of `root`, as far as its lock tells; `None` when none does.
pub(in crate::store) fn process_that_serves(root: &Path) -> Option<u32> {
    match RealFs.lock_dir(root) {
        Ok(None) => signature(&RealFs, root),
        // It is given back at once.
        Ok(Some(_)) | Err(_) => None,
    }
}

/// Makes and checks the directories that are the store's own and takes its locks; gives what is
/// held.
pub(super) fn settle(fs: &dyn Fs, root: &Path) -> Result<HeldPlace, Error> {
    prepare_root(fs, root)?;
    Ok(HeldPlace {
        root: Handle::of(fs, root, fs.lock_dir(root), root)?,
        lock: settle_within(fs, root)?,
        found: None,
        found_at: None,
    })
}

/// The same in a directory that is locked already.
fn settle_within(fs: &dyn Fs, root: &Path) -> Result<Handle, Error> {
    let own = root.join(OWN_DIRECTORY);
    prepare(fs, &own, root)?;
    let lock_path = lock_of(root);
    let lock = Handle::of(fs, root, fs.lock(&lock_path), &lock_path)?;
    // Without it the daemon serves as well.
    drop(lock.held.sign());
    prepare(fs, &own.join(SPOOL_DIRECTORY), &own)?;
    Ok(lock)
}

/// The file that the daemon which serves the store in `root` holds a lock on.
pub fn lock_of(root: &Path) -> PathBuf {
    root.join(OWN_DIRECTORY).join(LOCK_NAME)
}

impl Place {
    /// The place `root`, of which this is held.
    pub(super) fn of(held: HeldPlace, root: &Path) -> Self {
        Self {
            lock_path: lock_of(root),
            held: Mutex::new(held),
        }
    }

    /// How the place of the store is found.
    ///
    /// # Errors
    /// [`Error::Replaced`] when something else is there now, [`Error::Io`] when that cannot be
    /// told.
    pub(super) fn standing(&self, disk: &Disk) -> Result<Standing, Error> {
        let fs = &*disk.fs;
        let (root, lock) = {
            let place = self.held.lock();
            (place.root.identity, place.lock.identity)
        };
        let root_now = identity_at(fs, &disk.root)?;
        let lock_now = identity_at(fs, &self.lock_path)?;
        if root_now == Some(root) && lock_now == Some(lock) {
            return Ok(Standing::Ours);
        }
        planted!(ReplacedPlacesAreTrusted, return Ok(Standing::Ours));
        let replaced = || Error::replaced(&disk.root);
        if self.is_lock_linked(disk)? {
            // It was moved, with all that it stands for.
            return Err(replaced());
        }
        let is_empty = match root_now {
            None => true,
            Some(now) if now == root => lock_now.is_none(),
            // Another directory. If it has no store, ours may start there from nothing.
            Some(_) => identity_at(fs, &disk.own)?.is_none(),
        };
        is_empty.then_some(Standing::Removed).ok_or_else(replaced)
    }

    /// The same, with one look at the directory that is the store's own, if its times tell of every
    /// change since all was last found: they change when it is moved, too, and when the lock is
    /// removed or replaced.
    ///
    /// # Errors
    /// As [`standing`](Self::standing).
    fn standing_by_times(&self, disk: &Disk) -> Result<Standing, Error> {
        let file_time = disk.clock.file_time();
        let own = stamp_at(&*disk.fs, &disk.own)?;
        let is_as_found = own.is_some() && self.held.lock().found == own;
        if !is_as_found {
            let standing = self.standing(disk)?;
            if standing == Standing::Removed {
                return Ok(standing);
            }
        }
        let shows_all = own.filter(|own| {
            is_as_found
                || times::shows_changes(own, file_time) == Shows::All
                    && disk.trusts_times(&disk.own, Some(own.identity.device))
        });
        let now = disk.clock.now();
        let mut place = self.held.lock();
        place.found = shows_all;
        place.found_at = Some(now);
        drop(place);
        Ok(Standing::Ours)
    }

    /// The same, and what was found a moment ago is believed. For callers that are about to begin
    /// something, and that check again before they acknowledge it.
    ///
    /// # Errors
    /// As [`standing`](Self::standing).
    pub(super) fn standing_lately(&self, disk: &Disk) -> Result<Standing, Error> {
        let found_at = self.held.lock().found_at;
        let age = found_at.map(|it| disk.clock.now().saturating_duration_since(it));
        if age.is_some_and(|age| age < PLACE_BELIEVED) {
            return Ok(Standing::Ours);
        }
        self.standing_by_times(disk)
    }

    /// Whether the lock that is held still has a name somewhere.
    fn is_lock_linked(&self, disk: &Disk) -> Result<bool, Error> {
        let held = Arc::clone(&self.held.lock().lock.held);
        held.is_linked().map_err(Error::io("look at", &disk.own))
    }

    /// Makes sure that the place of the store is the one that is held: asked before anything is
    /// acknowledged.
    ///
    /// # Errors
    /// [`Error::Replaced`], also when it was removed; [`Error::Io`].
    pub(super) fn check_place(&self, disk: &Disk) -> Result<(), Error> {
        self.standing(disk)?.check(disk)
    }

    /// Makes sure that no other daemon can be where this one is about to write, with as few calls
    /// as that takes.
    ///
    /// # Errors
    /// As [`check_place`](Self::check_place).
    pub(super) fn check_lock(&self, disk: &Disk) -> Result<(), Error> {
        self.standing_by_times(disk)?.check(disk)
    }

    /// Makes the directories again where somebody removed them under the running daemon, as people
    /// who want all mail gone do. Whether they were gone: then nothing in them is known any more.
    ///
    /// # Errors
    /// As at the start of the daemon. [`Error::StoreInUse`] may also mean that another delivery is
    /// at it in this moment.
    pub(super) fn settle_anew(&self, disk: &Disk) -> Result<bool, Error> {
        if self.standing(disk)? == Standing::Ours {
            // Only the rest is missing.
            return prepare(&*disk.fs, &disk.spool, &disk.own)
                .inspect_err(|_| disk.count_failed_sync())
                .map(|()| false);
        }
        let root = self.held.lock().root.identity;
        let former = if identity_at(&*disk.fs, &disk.root)? == Some(root) {
            let settled = settle_within(&*disk.fs, &disk.root);
            let lock = settled.inspect_err(|_| disk.count_failed_sync())?;
            let mut place = self.held.lock();
            (place.found, place.found_at) = (None, None);
            (None, std::mem::replace(&mut place.lock, lock))
        } else {
            let settled = settle(&*disk.fs, &disk.root);
            let place = settled.inspect_err(|_| disk.count_failed_sync())?;
            let former = std::mem::replace(&mut *self.held.lock(), place);
            (Some(former.root), former.lock)
        };
        // Closed when the Mutex is free again (L1).
        drop(former);
        Ok(true)
    }

    /// Whether the lock is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.held.is_locked()
    }
}
