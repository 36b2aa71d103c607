//! Makes durable what was applied, file by file and directory by directory: for checkpoints that
//! must not wait for what other programs have written.
//!
//! # Theory of operation
//! `touched.rs` knows each message by its mailboxes and its name there. First the system is asked
//! to begin writing all the files, so that the disk has much to do at once. Then each is opened
//! anew and synced, by several threads where there are many, since each sync waits for the disk:
//! the first one makes a journaled file system write down the changes of all, and the others find
//! little left to do. Then the directories are synced in which the names are.
//!
//! A file that is not in `new` any more was removed or moved. Who unlinks one over POP3 says so;
//! both directories are synced then, since it may not have come to that yet. What another program
//! has moved to `cur`, or given other flags or fields, is looked for and synced where it is, and
//! `cur` before the directory that it left. What is not found like that may be anywhere: only a
//! sync of the whole file system covers it.
//!
//! # Invariants
//! - [`Synced::All`] means: each message is durable in each of its mailboxes, or was durably
//!   removed over POP3.
//! - I9: a sync that failed is counted, so that everything is in doubt, and not repeated.
//!
//! # Failures
//! [`Error`] when a sync failed. Everything else that goes wrong, a lack of descriptors for
//! instance, is no reason to fail: then it was not all.
//!
//! # Known limits
//! A file that is opened hears of a failure to write it, also of one that happened before, but not
//! when another program synced the same file and heard of it first, nor when the system needed the
//! memory and forgot the file in between, all of it being written or given up. A sync of the whole
//! file system has no such gap, for it is asked with a handle that was open all the time. Handles
//! for all the files would close it and are too many. The gap is between the moment when the system
//! begins to write a file, mostly because it is asked to here, and its sync, some tenths of a
//! second; and it takes a disk that fails just then, with the journal on it going on to work.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ffi::OsString,
    io,
    panic::resume_unwind,
    path::{Path, PathBuf},
};

use crate::mail::MailboxName;

use super::{
    error::Error,
    limits::{FIND_ATTEMPTS_MAX, SYNC_THREAD_NAMES_MIN, SYNC_THREADS_MAX},
    maildir::{Maildir, Side},
    name::Identity,
    shared::Shared,
    sync::thread,
    touched::Applied,
};

/// What was made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Synced {
    /// All of it.
    All,
    /// Perhaps not all of it: something is not where it was put.
    Some,
}

/// A message in one of its mailboxes.
#[derive(Clone, Copy, Debug)]
struct Name<'a> {
    message: &'a Applied,
    mailbox: &'a MailboxName,
}

impl Shared {
    /// Makes `messages` durable in their mailboxes.
    ///
    /// # Errors
    /// See the module; everything is in doubt then.
    pub(super) fn sync_piecemeal(&self, messages: &[Applied]) -> Result<Synced, Error> {
        let names = messages.iter().flat_map(|message| {
            let mailboxes = message.mailboxes.iter();
            mailboxes.map(move |mailbox| Name { message, mailbox })
        });
        #[cfg(test)]
        let names = names.skip(usize::from(crate::testing::bugs::is_planted(
            crate::testing::bugs::Bug::TouchedFilesAreMissed,
        )));
        let names: Vec<Name<'_>> = names.collect();
        let (mut new, mut cur) = (BTreeSet::new(), BTreeSet::new());
        for mailbox in names.iter().map(|name| name.mailbox) {
            let maildir = self.maildir(mailbox)?;
            if new.insert(maildir.side(Side::New)) && !self.is_still_known(mailbox, &maildir) {
                // The directories that these lie in have to be synced, too.
                return Ok(Synced::Some);
            }
        }
        if names.len() > 1 {
            in_shares(&names, |share| self.begin_syncs(share));
        }
        let mut missing: BTreeMap<&MailboxName, Vec<Name<'_>>> = BTreeMap::new();
        for result in in_shares(&names, |share| self.sync_files(share)) {
            for name in result? {
                missing.entry(name.mailbox).or_default().push(name);
            }
        }
        for (mailbox, names) in &missing {
            let maildir = self.maildir(mailbox)?;
            if self.sync_moved(&maildir, names, &mut cur)? == Synced::Some {
                return Ok(Synced::Some);
            }
        }
        // `cur` first: no name shall be durably gone before the one that took its place is there.
        for directories in [cur, new] {
            let directories: Vec<PathBuf> = directories.into_iter().collect();
            for result in in_shares(&directories, |share| self.sync_directories(share)) {
                if result? == Synced::Some {
                    return Ok(Synced::Some);
                }
            }
        }
        Ok(Synced::All)
    }

    fn new_path(&self, name: &Name<'_>) -> Result<PathBuf, Error> {
        let new = self.maildir(name.mailbox)?.side(Side::New);
        Ok(new.join(&name.message.file_name))
    }

    /// Lets the system begin to write the files.
    fn begin_syncs(&self, names: &[Name<'_>]) {
        for name in names {
            let opened = self.new_path(name).map(|path| self.fs.open(&path));
            // Whoever syncs it meets the same failure.
            if let Ok(Ok(mut file)) = opened {
                file.begin_sync(0);
            }
        }
    }

    /// Syncs the files; gives those that cannot be opened where they were put.
    fn sync_files<'a>(&self, names: &[Name<'a>]) -> Result<Vec<Name<'a>>, Error> {
        let mut missing = Vec::new();
        for name in names {
            if self.sync_file(&self.new_path(name)?)? == Synced::Some {
                missing.push(*name);
            }
        }
        Ok(missing)
    }

    /// Syncs the file at `path`, if it can be opened.
    pub(super) fn sync_file(&self, path: &Path) -> Result<Synced, Error> {
        let Ok(mut file) = self.fs.open(path) else {
            return Ok(Synced::Some);
        };
        let synced = file.sync();
        #[cfg(test)]
        if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::FailedFileSyncsAreTrusted) {
            return Ok(Synced::All);
        }
        synced
            .inspect_err(|_| self.count_failed_sync())
            .map_err(Error::io("make durable", path))?;
        Ok(Synced::All)
    }

    /// Syncs those of `names`, all in one mailbox, that were moved to `cur`, and adds that to
    /// `directories`.
    fn sync_moved(
        &self,
        maildir: &Maildir,
        names: &[Name<'_>],
        directories: &mut BTreeSet<PathBuf>,
    ) -> Result<Synced, Error> {
        let mut missing = HashSet::new();
        for name in names {
            if self.touched.was_removed(name.mailbox, name.message.counter) {
                // From whichever directory: without that it could come back there.
                directories.insert(maildir.side(Side::Cur));
            } else {
                missing.insert(Identity::of(name.message.file_name.as_bytes()));
            }
        }
        #[cfg(test)]
        if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::MovedFilesAreMissed) {
            return Ok(Synced::All);
        }
        for _ in 0..FIND_ATTEMPTS_MAX {
            if missing.is_empty() {
                return Ok(Synced::All);
            }
            let mut found: Vec<(Side, OsString)> = Vec::new();
            for side in [Side::New, Side::Cur] {
                let visited = self.fs.visit_dir(&maildir.side(side), &mut |file_name, _| {
                    if missing.contains(&Identity::of(file_name.as_encoded_bytes())) {
                        found.push((side, file_name.to_owned()));
                    }
                });
                if visited.is_err() {
                    return Ok(Synced::Some);
                }
            }
            for (side, file_name) in &found {
                let directory = maildir.side(*side);
                // One that is not there was renamed once more in this moment.
                if self.sync_file(&directory.join(file_name))? == Synced::All {
                    let synced = Identity::of(file_name.as_encoded_bytes());
                    missing.retain(|it| *it != synced);
                    directories.insert(directory);
                }
            }
        }
        Ok(if missing.is_empty() {
            Synced::All
        } else {
            Synced::Some
        })
    }

    fn sync_directories(&self, directories: &[PathBuf]) -> Result<Synced, Error> {
        #[cfg(test)]
        if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::TouchedDirectoriesAreMissed)
        {
            return Ok(Synced::All);
        }
        for directory in directories {
            match self.sync_directory(directory) {
                Err(Error::Io { source, .. }) if is_unopened(&source) => {
                    return Ok(Synced::Some);
                }
                other => other?,
            }
        }
        Ok(Synced::All)
    }
}

/// Whether the directory could not even be opened: it is gone, or no longer ours.
fn is_unopened(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::PermissionDenied
    )
}

/// Has `work` done for all of `items`, in shares for several threads where there are many.
fn in_shares<T: Sync, R: Send>(items: &[T], work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    let n_threads = items.len() / SYNC_THREAD_NAMES_MIN;
    let n_threads = n_threads.clamp(1, SYNC_THREADS_MAX);
    let mut shares = items.chunks(items.len().div_ceil(n_threads).max(1));
    let Some(own) = shares.next() else {
        return Vec::new();
    };
    let work = &work;
    thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|share| {
                let thread = thread::Builder::new().name("sync".to_owned());
                (share, thread.spawn_scoped(scope, move || work(share)))
            })
            .collect();
        let mut results = vec![work(own)];
        for (share, thread) in others {
            results.push(match thread.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(result)) => result,
                Ok(Err(panic)) => resume_unwind(panic),
                // The system has no more threads: what it would have done is done here.
                Err(_) => work(share),
            });
        }
        results
    })
}
