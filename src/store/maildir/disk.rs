//! The disk of an open store: its directories, their syncs, and what a failed sync leaves in doubt.
//!
//! # Theory of operation
//! When a sync fails, the system may forget the entries that it could not write while it still
//! shows them, and the next sync succeeds without them (I9). So every failure is counted, and code
//! that relies on several syncs compares that count before and after with [`Disk::check_syncs`].
//! Directories that are being created at that moment are *doubtful* from then on, because others
//! may have found them already.
//!
//! # Invariants
//! - A directory is synced only through [`Disk::sync_directory`], which counts the failures,
//!   including those of others that sync it at the same time (`syncing.rs`): the kernel reports a
//!   failure to only one caller.
//! - While the Mutex is held, no system call is made and nothing else is locked (L1, L3).

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    clock::Clock,
    fs::{File, Fs, Trust, if_there, unless_there},
    mail::MailboxName,
    store::{Error, sync::Mutex},
};

use super::{
    layout::Maildir,
    private::{OWN_DIRECTORY, SPOOL_DIRECTORY},
    syncing::Syncing,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Disk {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) clock: Clock,
    /// The directory of all mail.
    pub(super) root: PathBuf,
    /// The store's own directory. Its times do not matter to anybody.
    pub(super) own: PathBuf,
    /// Content on its way into a mailbox.
    pub(super) spool: PathBuf,
    /// What the file system is relied on for.
    trust: Trust,
    /// The number of the file system. No other can have it while the checkpoints hold the volume.
    pub(super) device: u64,
    /// Whether anything is synced at all.
    pub(super) syncs: bool,
    /// Directories that are being synced.
    syncing: Syncing,
    doubts: Mutex<Doubts>,
}

/// The syncs that failed, and what they make doubtful.
#[derive(Debug, Default)]
struct Doubts {
    /// How often a directory could not be synced.
    n_failed_syncs: u64,
    /// Directories that the disk may have lost although they are still visible.
    doubtful: HashSet<PathBuf>,
    /// Directories that are being created, until they are known to be durable, with the numbers of
    /// their makers.
    in_making: HashMap<PathBuf, Vec<u64>>,
    n_makers: u64,
}

/// The number of failed syncs at one moment, to compare with later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SyncMark(u64);

/// How much was made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Synced {
    /// All of it.
    All,
    /// Perhaps not all of it: something is no longer where it was put.
    Some,
}

impl Disk {
    /// The disk of the store in `root`, on the file system with the number `device`.
    pub(super) fn of(
        fs: Arc<dyn Fs>,
        clock: Clock,
        root: PathBuf,
        (device, trust): (u64, Trust),
    ) -> Self {
        let own = root.join(OWN_DIRECTORY);
        Self {
            fs,
            clock,
            root,
            spool: own.join(SPOOL_DIRECTORY),
            own,
            trust,
            device,
            syncs: true,
            syncing: Syncing::default(),
            doubts: Mutex::default(),
        }
    }

    /// Whether the times of `directory` show that it was changed; `device` is the number of its
    /// file system, if known. If they do not, nothing read from it may be remembered. (A mailbox
    /// can be on a different file system from the store.)
    pub(super) fn trusts_times(&self, directory: &Path, device: Option<u64>) -> bool {
        if device == Some(self.device) {
            return self.trust.times;
        }
        let file_system = self.fs.file_system(directory);
        file_system.is_ok_and(|it| it.trust().times)
    }

    /// Whether a sync of the whole file system makes everything written durable. If it does not,
    /// everything is synced file by file.
    pub(super) fn trusts_whole_sync(&self) -> bool {
        planted!(WholeSyncsAreTrusted, return true);
        self.trust.whole_sync
    }

    /// Whether a sync of a directory makes its entries durable. If it does not, a sync of the file
    /// whose name was added or removed does.
    pub(super) fn trusts_directory_syncs(&self) -> bool {
        planted!(DirectorySyncsAreTrusted, return true);
        self.trust.directory_sync
    }

    /// The Maildir of `mailbox`.
    ///
    /// # Errors
    /// [`Error::NameTooLong`].
    pub(super) fn maildir(&self, mailbox: &MailboxName) -> Result<Maildir, Error> {
        Maildir::of(&self.root, mailbox).ok_or_else(|| Error::NameTooLong {
            mailbox: mailbox.clone(),
        })
    }

    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Full`]; the call must not be repeated for the same entries.
    pub(super) fn sync_directory(&self, path: &Path) -> Result<(), Error> {
        if !self.syncs {
            return Ok(());
        }
        self.syncing
            .perform(path, || self.sync_directory_counted(path))
    }

    /// Like [`Disk::sync_directory`], but succeeds if the directory is missing: it has nothing that
    /// could come back.
    ///
    /// # Errors
    /// As there, except for a missing directory.
    pub(super) fn sync_directory_if_there(&self, path: &Path) -> Result<(), Error> {
        match self.sync_directory(path) {
            Err(error) if error.is_not_found() => Ok(()),
            other => other,
        }
    }

    fn sync_directory_counted(&self, path: &Path) -> Result<(), Error> {
        let synced = self.fs.sync_dir(path);
        let synced = synced.and_then(|()| self.fs.confirm(&self.own));
        synced.map_err(|error| {
            // A directory that does not exist has no entries to lose. One that may not be opened
            // was not synced, and has not lost any entries: only one mailbox is broken.
            if !is_unopened(&error) {
                self.count_failed_sync();
            }
            Error::io("sync", path)(error)
        })
    }

    /// Creates the file `path`, replacing one that an earlier attempt left.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn create_anew(&self, path: &Path) -> Result<Box<dyn File>, Error> {
        let created = unless_there(self.fs.create_new(path)).map_err(Error::io("make", path))?;
        if let Some(file) = created {
            return Ok(file);
        }
        self.fs.unlink(path).map_err(Error::io("remove", path))?;
        self.fs.create_new(path).map_err(Error::io("make", path))
    }

    /// Syncs the file at `path`, if it exists.
    pub(super) fn sync_file(&self, path: &Path) -> Result<Synced, Error> {
        let mut file = match self.fs.open(path) {
            Ok(file) => file,
            Err(error) => return self.not_all(error, "open", path),
        };
        let synced = file.sync();
        planted!(FailedFileSyncsAreTrusted, return Ok(Synced::All));
        synced
            .inspect_err(|_| self.count_failed_sync())
            .map_err(Error::io("sync", path))?;
        Ok(Synced::All)
    }

    /// Syncs the file at `path` again, now that it has this name, if a sync of its directory does
    /// not make the name durable.
    ///
    /// # Errors
    /// As for any sync.
    pub(super) fn sync_name(&self, path: &Path) -> Result<(), Error> {
        if self.syncs && !self.trusts_directory_syncs() {
            // A missing file has no name to lose.
            self.sync_file(path)?;
        }
        Ok(())
    }

    /// Unlinks the file at `path`, durably if a sync of its directory would not make it so; returns
    /// whether it existed.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn unlink(&self, path: &Path) -> Result<bool, Error> {
        let mut held = if !self.syncs || self.trusts_directory_syncs() {
            None
        } else {
            // Nothing else would make the removal of the name durable.
            let opened = if_there(self.fs.open(path)).map_err(Error::io("open", path))?;
            if opened.is_none() {
                return Ok(false);
            }
            opened
        };
        let unlinked = if_there(self.fs.unlink(path)).map_err(Error::io("remove", path))?;
        if unlinked.is_none() {
            return Ok(false);
        }
        let synced = held.as_mut().map_or(Ok(()), |file| file.sync());
        synced
            .inspect_err(|_| self.count_failed_sync())
            .map_err(Error::io("sync", path))?;
        Ok(true)
    }

    /// Handles an error of an operation other than a sync: something is not where it was, or this
    /// is unknown. A sync of the whole file system makes up for it if there is one.
    pub(super) fn not_all(
        &self,
        error: io::Error,
        operation: &'static str,
        path: &Path,
    ) -> Result<Synced, Error> {
        let is_gone = matches!(
            error.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidInput
        );
        if is_gone || self.trusts_whole_sync() {
            Ok(Synced::Some)
        } else {
            Err(Error::io(operation, path)(error))
        }
    }

    /// Notes that a sync has failed that others may rely on.
    pub(super) fn count_failed_sync(&self) {
        let doubts = &mut *self.doubts.lock();
        doubts.n_failed_syncs = doubts.n_failed_syncs.wrapping_add(1);
        // Under the same lock: whoever finds one of these directories after this failure must not
        // take it for durable, and whoever found it earlier checks whether a sync has failed since.
        doubts.doubtful.extend(doubts.in_making.keys().cloned());
    }

    /// A number for a caller that may create directories, and the mark before it does.
    pub(super) fn new_maker(&self) -> (u64, SyncMark) {
        let mut doubts = self.doubts.lock();
        doubts.n_makers = doubts.n_makers.wrapping_add(1);
        (doubts.n_makers, SyncMark(doubts.n_failed_syncs))
    }

    /// Notes that `maker` is about to create `directory`.
    pub(super) fn begin_making(&self, directory: &Path, maker: u64) {
        let directory = directory.to_owned();
        let in_making = &mut self.doubts.lock().in_making;
        in_making.entry(directory).or_default().push(maker);
    }

    /// Notes that `maker` has made `directories` durable, or has failed.
    pub(super) fn end_making(&self, directories: &[PathBuf], maker: u64) {
        let in_making = &mut self.doubts.lock().in_making;
        for directory in directories {
            if let Some(makers) = in_making.get_mut(directory) {
                makers.retain(|it| *it != maker);
                if makers.is_empty() {
                    in_making.remove(directory);
                }
            }
        }
    }

    /// Notes that `directories`, which existed after `mark`, are durable, no matter who created
    /// them, unless a sync has failed since.
    pub(super) fn confirm(&self, directories: &[PathBuf], mark: SyncMark) {
        let mut doubts = self.doubts.lock();
        if doubts.n_failed_syncs == mark.0 {
            for directory in directories {
                doubts.in_making.remove(directory);
            }
        }
    }

    /// The mark before the first entry is made.
    pub(super) fn sync_mark(&self) -> SyncMark {
        SyncMark(self.doubts.lock().n_failed_syncs)
    }

    /// Whether a sync of any directory failed since `mark`.
    pub(super) fn has_failed_since(&self, mark: SyncMark) -> bool {
        self.doubts.lock().n_failed_syncs != mark.0
    }

    /// Makes sure that no sync of any directory has failed since `mark`: it might have been ours.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn check_syncs(&self, mark: SyncMark) -> Result<(), Error> {
        if self.has_failed_since(mark) {
            let reason = "another sync failed at the same time";
            return Err(Error::other("sync", &self.root, reason));
        }
        Ok(())
    }

    /// Whether there is any directory that the disk may have lost.
    pub(super) fn has_doubts(&self) -> bool {
        !self.doubts.lock().doubtful.is_empty()
    }

    /// The first of `directories` that the disk may have lost.
    pub(super) fn find_doubtful<'a>(&self, directories: &'a [PathBuf]) -> Option<&'a PathBuf> {
        let doubtful = &self.doubts.lock().doubtful;
        directories.iter().find(|path| doubtful.contains(*path))
    }

    /// Forgets the doubt about a directory that no longer exists.
    pub(super) fn no_longer_doubtful(&self, directory: &Path) {
        self.doubts.lock().doubtful.remove(directory);
    }

    /// Whether a lock of this file is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.doubts.is_locked() || self.syncing.is_locked()
    }
}

/// Whether the directory could not even be opened, because it is gone or no longer ours.
pub(super) fn is_unopened(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
    )
}
