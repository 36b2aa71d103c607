//! The disk of an open store: its directories, the syncs of them, and what a failed one leaves in
//! doubt.
//!
//! # Theory of operation
//! When a sync fails, the system may forget the entries that it could not write while it still
//! shows them, and the next sync succeeds without them (I9). So every failure is counted, and what
//! rests on several syncs compares that count before and after with [`Disk::check_syncs`]. What is
//! being made at that moment is *doubtful* from then on: others may have met it already.
//!
//! # Invariants
//! - A directory is synced only through [`Disk::sync_directory`], which counts the failures, also
//!   those of others who sync it at the same time (`syncing.rs`): the kernel reports a failure to
//!   one caller only.
//! - No system call is made while the Mutex is held, and nothing else is locked meanwhile (L1, L3).

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
    /// The directory that is the store's own. Nobody minds its times.
    pub(super) own: PathBuf,
    /// Content on its way into a mailbox.
    pub(super) spool: PathBuf,
    /// What the file system is relied on for.
    trust: Trust,
    /// Its number: as long as the checkpoints hold its volume no other one can have it.
    pub(super) device: u64,
    /// Whether anything is synced at all.
    pub(super) syncs: bool,
    /// Directories that are being synced.
    syncing: Syncing,
    doubts: Mutex<Doubts>,
}

/// What failed, and what that makes doubtful.
#[derive(Debug, Default)]
struct Doubts {
    /// How often a directory could not be synced.
    n_failed_syncs: u64,
    /// Directories that the disk may have lost although they can be seen.
    doubtful: HashSet<PathBuf>,
    /// Directories that are being made, until somebody knows that they are durable, with the
    /// numbers of those who make them.
    in_making: HashMap<PathBuf, Vec<u64>>,
    n_makers: u64,
}

/// What a delivery found when it began to be committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SyncMark(u64);

/// What was made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Synced {
    /// All of it.
    All,
    /// Perhaps not all of it: something is not where it was put.
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

    /// Whether the times of `directory`, which is on the file system with the number `device` if
    /// that is known, tell that it was changed. Where they do not, nothing that was read of it may
    /// be remembered. (A mailbox may lie on another file system than the store.)
    pub(super) fn trusts_times(&self, directory: &Path, device: Option<u64>) -> bool {
        if device == Some(self.device) {
            return self.trust.times;
        }
        let file_system = self.fs.file_system(directory);
        file_system.is_ok_and(|it| it.trust().times)
    }

    /// Whether a sync of the whole file system makes durable what was written. Where it does not,
    /// everything is synced file by file.
    pub(super) fn trusts_whole_sync(&self) -> bool {
        planted!(WholeSyncsAreTrusted, return true);
        self.trust.whole_sync
    }

    /// Whether a sync of a directory makes its entries durable. Where it does not, that of a file
    /// does it whose name was given or taken.
    pub(super) fn trusts_directory_syncs(&self) -> bool {
        planted!(DirectorySyncsAreTrusted, return true);
        self.trust.directory_sync
    }

    /// Where the Maildir of `mailbox` is.
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

    /// As [`Disk::sync_directory`]; one that somebody removed has nothing that could come back.
    ///
    /// # Errors
    /// As there, except that it is missing.
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
            // was not synced and has not forgotten any: it is one mailbox that is broken.
            if !is_unopened(&error) {
                self.count_failed_sync();
            }
            Error::io("make durable", path)(error)
        })
    }

    /// Makes the file `path`, in the place of one that an earlier attempt left.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn create_anew(&self, path: &Path) -> Result<Box<dyn File>, Error> {
        let created = unless_there(self.fs.create_new(path)).map_err(Error::io("make", path))?;
        if let Some(file) = created {
            return Ok(file);
        }
        self.fs.unlink(path).map_err(Error::io("remove", path))?;
        self.fs.create_new(path).map_err(Error::io("make", path))
    }

    /// Syncs the file at `path`, if it is there.
    pub(super) fn sync_file(&self, path: &Path) -> Result<Synced, Error> {
        let mut file = match self.fs.open(path) {
            Ok(file) => file,
            Err(error) => return self.not_all(error, "open", path),
        };
        let synced = file.sync();
        planted!(FailedFileSyncsAreTrusted, return Ok(Synced::All));
        synced
            .inspect_err(|_| self.count_failed_sync())
            .map_err(Error::io("make durable", path))?;
        Ok(Synced::All)
    }

    /// Syncs the file at `path` once more, now that it has this name, where a sync of its directory
    /// does not make the name durable.
    ///
    /// # Errors
    /// As for any sync.
    pub(super) fn sync_name(&self, path: &Path) -> Result<(), Error> {
        if self.syncs && !self.trusts_directory_syncs() {
            // One that is gone has no name to lose.
            self.sync_file(path)?;
        }
        Ok(())
    }

    /// Unlinks the file at `path`, durably where a sync of its directory does not see to that;
    /// whether it was there.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn unlink(&self, path: &Path) -> Result<bool, Error> {
        let mut held = if !self.syncs || self.trusts_directory_syncs() {
            None
        } else {
            // Nothing else would make it durable that the name is gone.
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
            .map_err(Error::io("make durable", path))?;
        Ok(true)
    }

    /// Judges an error of something other than a sync. Something is not where it was, or that
    /// cannot be known; a sync of the whole file system makes up for it where there is one.
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

    /// Notes that a sync has failed whose effects others may rest on.
    pub(super) fn count_failed_sync(&self) {
        let doubts = &mut *self.doubts.lock();
        doubts.n_failed_syncs = doubts.n_failed_syncs.wrapping_add(1);
        // At the same moment: whoever meets one of them after this failure must not take it for
        // durable, and whoever met it before asks whether a sync has failed since.
        doubts.doubtful.extend(doubts.in_making.keys().cloned());
    }

    /// The number of one who may make directories, and how matters stand before.
    pub(super) fn new_maker(&self) -> (u64, SyncMark) {
        let mut doubts = self.doubts.lock();
        doubts.n_makers = doubts.n_makers.wrapping_add(1);
        (doubts.n_makers, SyncMark(doubts.n_failed_syncs))
    }

    /// Notes that `maker` is about to make `directory`.
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

    /// Notes that `directories`, which were there after `mark`, are durable, whoever made them,
    /// unless a sync has failed since.
    pub(super) fn confirm(&self, directories: &[PathBuf], mark: SyncMark) {
        let mut doubts = self.doubts.lock();
        if doubts.n_failed_syncs == mark.0 {
            for directory in directories {
                doubts.in_making.remove(directory);
            }
        }
    }

    /// How matters stand before the first entry is made.
    pub(super) fn sync_mark(&self) -> SyncMark {
        SyncMark(self.doubts.lock().n_failed_syncs)
    }

    /// Whether a sync of any directory failed since `mark`.
    pub(super) fn has_failed_since(&self, mark: SyncMark) -> bool {
        self.doubts.lock().n_failed_syncs != mark.0
    }

    /// Makes sure that no sync of any directory failed since `mark`: it might have been ours.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn check_syncs(&self, mark: SyncMark) -> Result<(), Error> {
        if self.has_failed_since(mark) {
            let reason = "the disk failed for somebody else at the same time";
            return Err(Error::other("make durable", &self.root, reason));
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

    /// Takes the mark from a directory that is no longer there.
    pub(super) fn no_longer_doubtful(&self, directory: &Path) {
        self.doubts.lock().doubtful.remove(directory);
    }

    /// Whether a lock of this file is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.doubts.is_locked() || self.syncing.is_locked()
    }
}

/// Whether the directory could not even be opened: it is gone, or no longer ours.
pub(super) fn is_unopened(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
    )
}
