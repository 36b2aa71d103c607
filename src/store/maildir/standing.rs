//! Checks that the directory and the lock of the store, which are held open, still have their
//! names.
//!
//! # Theory of operation
//! Everything in the store is reached by its path, except what makes an acknowledgement reliable:
//! the lock and the segments of the journal are held open. People who restore a backup may move the
//! directory of a running daemon away and put another one in its place, or overwrite its contents.
//! From then on a message would go into the journal of one directory and the Maildirs of another,
//! and the next start would find half of it.
//!
//! So before anything is acknowledged, the directory and the lock at their paths are compared with
//! those that are held, by device and inode. As long as they are open, nothing else can have these
//! numbers. The journal does the same with its own files (`ring.rs`). A store that is no longer
//! ours is not written to, and accepts no mail until the daemon is restarted.
//!
//! The checks have different purposes. The directory and the lock show that no other daemon can be
//! there. They are checked when a delivery begins and before a batch is written, by the times of
//! the directory `.facteur` where those can be trusted. The files of the journal show that a start
//! would find what was written. They are checked when the batch is durable.
//!
//! A directory that is gone, together with its lock, is a different case: people do that to remove
//! all mail. It is made again, empty, unless the sandbox forbids
//! that. If the lock still has a name somewhere else, it was moved,
//! and nothing was removed.
//!
//! The directory is locked as well as the file in it, because people remove lock files. The file
//! contains the process number of its holder, so that a second daemon can name that process.
//!
//! # Invariants
//! - I11: two daemons never serve one store, whatever was done to the lock file.
//!
//! # Failures
//! [`Error::Replaced`].
//!
//! # Known limits
//! Where a lock only works within one machine (network file systems), the lock of the directory
//! keeps out only daemons on this machine. A directory that is replaced between the check and the
//! acknowledgement no longer belongs to the store, but the message is in it: it was durable before
//! the directory was moved away.

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

/// The file that the daemon locks.
const LOCK_NAME: &str = "store.lock";

/// The size of a process number in decimal digits, with a line ending.
const SIGNATURE_OCTETS_MAX: usize = 11;

/// The directory and the lock of an open store.
#[derive(Debug)]
pub(super) struct Place {
    /// The locked file.
    lock_path: PathBuf,
    held: Mutex<HeldPlace>,
}

/// The open handles on both.
#[derive(Debug)]
pub(super) struct HeldPlace {
    root: Handle,
    lock: Handle,
    /// The stamp of the store's own directory at the last full check, if a change would show.
    found: Option<Stamp>,
    /// The time of that check.
    found_at: Option<Instant>,
}

impl HeldPlace {
    /// The device number of the file system of the directory.
    pub(super) fn device(&self) -> u64 {
        self.root.identity.device
    }
}

/// A file or directory that is locked and held open.
#[derive(Debug)]
struct Handle {
    held: Arc<dyn fs::Held>,
    identity: Identity,
}

/// The result of checking the place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// As it was opened.
    Ours,
    /// Removed: it has to be made again.
    Removed,
}

impl Standing {
    /// Fails unless the place is still ours.
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

/// The process number in the lock file of the store of `root`. If the store is in use, that process
/// is using it.
fn signature(fs: &dyn Fs, root: &Path) -> Option<u32> {
    let mut file = fs.open(&lock_of(root)).ok()?;
    let mut number = [0; SIGNATURE_OCTETS_MAX];
    let octets = file.read(&mut number).ok()?;
    let number = str::from_utf8(number.get(..octets)?).ok()?;
    number.trim_end().parse().ok()
}

/// The process that serves the store of `root`, according to its lock; `None` when there is none.
pub(in crate::store) fn process_that_serves(root: &Path) -> Option<u32> {
    match RealFs.lock_dir(root) {
        Ok(None) => signature(&RealFs, root),
        // The lock is released immediately.
        Ok(Some(_)) | Err(_) => None,
    }
}

/// Makes and checks the store's own directories and takes its locks. Returns the open handles.
pub(super) fn settle(fs: &dyn Fs, root: &Path) -> Result<HeldPlace, Error> {
    prepare_root(fs, root)?;
    Ok(HeldPlace {
        root: Handle::of(fs, root, fs.lock_dir(root), root)?,
        lock: settle_within(fs, root)?,
        found: None,
        found_at: None,
    })
}

/// The same in a directory that is already locked.
fn settle_within(fs: &dyn Fs, root: &Path) -> Result<Handle, Error> {
    let own = root.join(OWN_DIRECTORY);
    prepare(fs, &own, root)?;
    let lock_path = lock_of(root);
    let lock = Handle::of(fs, root, fs.lock(&lock_path), &lock_path)?;
    // The daemon can serve without it.
    drop(lock.held.sign());
    prepare(fs, &own.join(SPOOL_DIRECTORY), &own)?;
    Ok(lock)
}

/// The lock file of the daemon that serves the store in `root`.
pub fn lock_of(root: &Path) -> PathBuf {
    root.join(OWN_DIRECTORY).join(LOCK_NAME)
}

impl Place {
    /// The place `root` with its open handles.
    pub(super) fn of(held: HeldPlace, root: &Path) -> Self {
        Self {
            lock_path: lock_of(root),
            held: Mutex::new(held),
        }
    }

    /// Checks the place of the store.
    ///
    /// # Errors
    /// [`Error::Replaced`] when something else is there now, [`Error::Io`] when it cannot be
    /// checked.
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
            // It was moved, with everything that belongs to it.
            return Err(replaced());
        }
        let is_empty = match root_now {
            None => true,
            Some(now) if now == root => lock_now.is_none(),
            // Another directory. If it has no store in it, ours can start there empty.
            Some(_) => identity_at(fs, &disk.own)?.is_none(),
        };
        is_empty.then_some(Standing::Removed).ok_or_else(replaced)
    }

    /// The same, but looks only at the store's own directory if its times show every change since
    /// the last full check. They also change when the directory is moved, and when the lock is
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

    /// The same, but accepts a result from a moment ago. For callers that are about to begin
    /// something, and check again before they acknowledge it.
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

    /// Fails unless the place of the store is the one that is held. Called before anything is
    /// acknowledged.
    ///
    /// # Errors
    /// [`Error::Replaced`], also when it was removed; [`Error::Io`].
    pub(super) fn check_place(&self, disk: &Disk) -> Result<(), Error> {
        self.standing(disk)?.check(disk)
    }

    /// Fails if another daemon could be where this one is about to write. Makes as few calls as
    /// possible.
    ///
    /// # Errors
    /// As [`check_place`](Self::check_place).
    pub(super) fn check_lock(&self, disk: &Disk) -> Result<(), Error> {
        self.standing_by_times(disk)?.check(disk)
    }

    /// Makes the directories again if somebody removed them from under the running daemon, for
    /// example to remove all mail. Returns whether they were gone: then nothing that was known of
    /// them is valid any more.
    ///
    /// # Errors
    /// As at the start of the daemon. [`Error::StoreInUse`] can also mean that another delivery is
    /// doing this at the same time.
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
        // Closed only after the Mutex is unlocked (L1).
        drop(former);
        Ok(true)
    }

    /// Whether the lock is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.held.is_locked()
    }
}
