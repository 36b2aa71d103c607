//! Messages that are durable in the journal on their way into the Maildirs.
//!
//! # Theory of operation
//! Whoever delivered a message applies it, right after its batch is durable and before it is
//! acknowledged: the content is written to `.facteur/tmp`, linked into the mailboxes and renamed
//! into the last one. Nothing is synced; a crash undoes any part of it and the journal does it
//! again. So a message is in its mailboxes, for maildrops and other programs, when its sender
//! hears of it, and what other clients wait for is never this.
//!
//! A message that one mailbox cannot take is set aside for it (`waiting.rs`), and is applied.
//!
//! A message that cannot be applied (the disk has no room for files, descriptors are short) is
//! acknowledged all the same: it is durable. It is *kept* in memory and tried again by every
//! delivery that begins, every login and every checkpoint. As long as one is kept no delivery
//! begins, so there are never more of them than there were sessions.
//!
//! # Invariants
//! - I4: nothing is applied before it is durable, and no reader sees a part of it.
//! - A mailbox gets each message once, however often it is tried: what was done is remembered,
//!   since the message may be removed again meanwhile.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use crate::{
    fs::File,
    mail::MailboxName,
    store::{Error, Event},
};

use super::{
    delivery::Held,
    mailboxes::{Made, Target},
    name::Serial,
    open::OpenStore,
    place::{self, Former},
    sync::{Condvar, Mutex},
    touched::Applied,
    waiting::Purpose,
};

/// A message that is durable.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) serial: Serial,
    pub(super) file_name: String,
    /// Without repetition.
    pub(super) mailboxes: Vec<MailboxName>,
    pub(super) content: Held,
    /// How many of the mailboxes have it.
    pub(super) n_applied: usize,
    /// Those that were broken before it was put into the journal: it is set aside for them.
    pub(super) broken: Vec<(MailboxName, Error)>,
    /// Those for which it is durable already: it was copied there, or set aside.
    pub(super) settled: Vec<MailboxName>,
}

/// Messages that are durable and could not be applied.
#[derive(Debug, Default)]
pub(super) struct Kept {
    shelf: Mutex<Shelf>,
    is_free: Condvar,
}

#[derive(Debug, Default)]
struct Shelf {
    /// With the numbers of their batches.
    letters: Vec<(u64, Letter)>,
    /// Whether somebody has taken them to try again.
    is_taken: bool,
}

impl Kept {
    fn add(&self, number: u64, letter: Letter) {
        self.shelf.lock().letters.push((number, letter));
    }

    /// Takes all of them, after others have given theirs back: who looks into a mailbox then finds
    /// what could be put there.
    fn take(&self) -> Vec<(u64, Letter)> {
        let mut found = self.shelf.lock();
        while found.is_taken {
            self.is_free.wait(&mut found);
        }
        let letters = std::mem::take(&mut found.letters);
        found.is_taken = !letters.is_empty();
        drop(found);
        letters
    }

    fn give_back(&self, letters: Vec<(u64, Letter)>) {
        let mut found = self.shelf.lock();
        found.letters.extend(letters);
        found.is_taken = false;
        drop(found);
        self.is_free.notify_all();
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.shelf.lock().letters.len()
    }

    /// Whether the lock is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.shelf.is_locked()
    }
}

/// A file in the spool with all its octets.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spooled<'a> {
    /// Where it is.
    pub(super) path: &'a Path,
    /// What it is called in mailboxes.
    pub(super) file_name: &'a str,
}

/// How a spooled file gets into a mailbox.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// By a further name: other recipients come behind.
    Link,
    /// By giving up the name in the spool.
    Rename,
}

/// How it got there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// As a copy, which is durable.
    Copied,
    /// By a further name, or it was there.
    Linked,
    /// By giving up the name in the spool.
    Renamed,
}

/// Why a message could not be put into a mailbox.
#[derive(Debug)]
pub(super) struct Misplaced {
    pub(super) error: Error,
    /// Whether it had to be copied there, so that a full disk is not that of the store.
    is_copy: bool,
}

impl Misplaced {
    /// Whether the reason lies in the mailbox alone.
    pub(super) fn is_of_mailbox(&self) -> bool {
        self.is_copy || self.error.is_of_place()
    }
}

impl From<Error> for Misplaced {
    fn from(error: Error) -> Self {
        Self {
            error,
            is_copy: false,
        }
    }
}

impl From<Misplaced> for Error {
    fn from(misplaced: Misplaced) -> Self {
        misplaced.error
    }
}

impl OpenStore {
    /// Puts the message of batch `number` into its mailboxes, or keeps it.
    pub(super) fn apply_or_keep(&self, mut letter: Letter, number: u64) {
        // A fault of the program must not lose a durable message either (SEC-17).
        let applied = catch_unwind(AssertUnwindSafe(|| self.apply(&mut letter)));
        match applied {
            Ok(Ok(())) => self.applied(letter, number),
            Ok(Err(error)) => {
                self.kept.add(number, letter);
                self.observer.tell(&Event::NotDelivered { error: &error });
            }
            Err(panic) => {
                self.kept.add(number, letter);
                resume_unwind(panic);
            }
        }
    }

    /// Tries again what is kept.
    ///
    /// # Errors
    /// Why one of them still cannot be applied.
    pub(super) fn retry_kept(&self) -> Result<(), Error> {
        let letters = self.kept.take();
        if letters.is_empty() {
            return Ok(());
        }
        let (mut left, mut result) = (Vec::new(), Ok(()));
        for (number, mut letter) in letters {
            // After a fault of the program it is kept like after any other.
            let applied = catch_unwind(AssertUnwindSafe(|| self.apply(&mut letter)));
            match applied {
                Ok(Ok(())) => self.applied(letter, number),
                Ok(Err(error)) => {
                    result = Err(error);
                    left.push((number, letter));
                }
                Err(_panic) => {
                    let error = io::Error::other("a fault of the program");
                    result = Err(Error::io("deliver into", &self.root)(error));
                    left.push((number, letter));
                }
            }
        }
        self.kept.give_back(left);
        result
    }

    fn applied(&self, letter: Letter, number: u64) {
        let Some(journal) = &self.journal else { return };
        let mut mailboxes = letter.mailboxes;
        mailboxes.retain(|mailbox| !letter.settled.contains(mailbox));
        let message = Applied {
            number,
            counter: letter.serial.counter,
            file_name: letter.file_name,
            mailboxes,
        };
        // Before the batch counts as applied: who makes a checkpoint of it has to know.
        if self.touched.note(message) {
            self.checkpoints.hurry();
        }
        journal.applied(number);
    }

    fn apply(&self, letter: &mut Letter) -> Result<(), Error> {
        let spool_path = self.spool.join(letter.serial.render());
        drop(self.spool(&spool_path, letter.content.octets())?);
        let mut made = Made::default();
        let mark = self.sync_mark();
        let mut is_spooled = true;
        let mut result = Ok(());
        while let Some(mailbox) = letter.mailboxes.get(letter.n_applied).cloned() {
            let n_applied = letter.n_applied.saturating_add(1);
            let step = if n_applied == letter.mailboxes.len() {
                Step::Rename
            } else {
                Step::Link
            };
            let spooled = Spooled {
                path: &spool_path,
                file_name: &letter.file_name,
            };
            let broken = letter.broken.iter().find(|(broken, _)| *broken == mailbox);
            let broken = broken.map(|(_, error)| error);
            match self.place_or_keep_waiting(spooled, (&mailbox, broken), step, &mut made) {
                Ok(Some(Placed::Linked)) => {}
                Ok(Some(Placed::Renamed)) => is_spooled = false,
                Ok(Some(Placed::Copied) | None) => letter.settled.push(mailbox),
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
            letter.n_applied = n_applied;
        }
        if is_spooled {
            // What stays is removed at the next start.
            self.fs.unlink(&spool_path).unwrap_or_default();
        }
        if result.is_err() {
            self.undo(&made, mark);
        }
        result
    }

    /// Puts the message into a mailbox or, when that cannot be done or is known to be `broken`,
    /// sets it aside for it: `None`.
    fn place_or_keep_waiting(
        &self,
        spooled: Spooled<'_>,
        (mailbox, broken): (&MailboxName, Option<&Error>),
        step: Step,
        made: &mut Made,
    ) -> Result<Option<Placed>, Error> {
        let maildir = self.maildir(mailbox)?;
        let target = Target { mailbox, maildir };
        let placed = match broken {
            Some(error) => Err(error.clone().into()),
            None => self.place(spooled, &target, step, made),
        };
        match placed {
            Ok(placed) => Ok(Some(placed)),
            // If the store as a whole is in order it can be set aside, whatever the reason is.
            Err(Misplaced { error, .. }) => self
                .keep_waiting(&target, spooled, Purpose::Delivery, &error)
                .map(|()| None)
                .map_err(|_not_even_there| error),
        }
    }

    /// Writes a file into the spool, in the place of one that an earlier attempt left.
    pub(super) fn spool(&self, path: &Path, content: &[u8]) -> Result<Box<dyn File>, Error> {
        let created = match self.fs.create_new(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                self.fs.unlink(path).map_err(Error::io("remove", path))?;
                self.fs.create_new(path)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.settle_anew()?;
                self.fs.create_new(path)
            }
            other => other,
        };
        let mut file = created.map_err(Error::io("make", path))?;
        match file.append(content) {
            Ok(()) => Ok(file),
            Err(error) => {
                // What stays is removed at the next start.
                self.fs.unlink(path).unwrap_or_default();
                Err(Error::io("write", path)(error))
            }
        }
    }

    /// Gives the file its name in the mailbox of `target`, which is made again if somebody removed
    /// it. A name that is there already is that of this message.
    pub(super) fn place(
        &self,
        spooled: Spooled<'_>,
        target: &Target<'_>,
        step: Step,
        made: &mut Made,
    ) -> Result<Placed, Misplaced> {
        let path = target.maildir.in_new(spooled.file_name);
        let give_name = || match step {
            Step::Link => self.fs.hard_link(spooled.path, &path),
            Step::Rename => self.fs.rename(spooled.path, &path),
        };
        let placed = match give_name() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // Somebody removed the mailbox since we met it.
                self.forget(target.mailbox);
                let mark = self.sync_mark();
                self.make_mailboxes(std::slice::from_ref(target), made)?;
                self.check_syncs(mark)?;
                give_name()
            }
            other => other,
        };
        // Whatever came of it: nobody need believe the times of the directory.
        self.forget_listing(target.mailbox);
        match placed {
            Ok(()) => Ok(match step {
                Step::Link => Placed::Linked,
                Step::Rename => Placed::Renamed,
            }),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Placed::Linked),
            Err(_) if matches!(step, Step::Rename) && self.is_renamed(spooled, &path) => {
                Ok(Placed::Renamed)
            }
            Err(error) if place::takes_a_copy(&error) => {
                let scratches = place::scratches(Some(&target.maildir), &path);
                let copied = self.copy(spooled.path, &path, &scratches, Former::Replaced);
                copied.map_err(|error| Misplaced {
                    error,
                    is_copy: true,
                })?;
                self.forget_listing(target.mailbox);
                Ok(Placed::Copied)
            }
            Err(error) => Err(Error::io("deliver to", &path)(error).into()),
        }
    }

    /// Whether the file has its name `path`, although the call that gave it has failed: to repeat
    /// it would bring back what somebody moves or removes from now on.
    fn is_renamed(&self, spooled: Spooled<'_>, path: &Path) -> bool {
        let spool = self.fs.metadata(spooled.path);
        let is_given_up = spool.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        is_given_up && self.fs.metadata(path).is_ok()
    }
}
