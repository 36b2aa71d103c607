//! Values that represent messages on their way into mailboxes.

use std::{path::Path, sync::Arc};

use crate::{
    mail::MailboxName,
    store::{
        Error,
        limits::JOURNALED_OCTETS_MAX,
        name::Serial,
        quota::{Quota, Taken},
        sync::{Condvar, Mutex},
    },
};

/// Content in memory, counted against the limit for all deliveries while it exists.
#[derive(Debug)]
pub(super) struct Held {
    octets: Vec<u8>,
    taken: Taken,
}

impl Held {
    pub(super) fn within(quota: &Arc<Quota>) -> Self {
        Self {
            octets: Vec::new(),
            taken: Taken::nothing(quota),
        }
    }

    /// Adds `octets` if that exceeds neither the limit of one message nor that of all together.
    pub(super) fn take(&mut self, octets: &[u8]) -> bool {
        let after = self.octets.len().saturating_add(octets.len());
        let fits = after <= JOURNALED_OCTETS_MAX
            && self.taken.set(u64::try_from(after).unwrap_or(u64::MAX));
        if fits {
            // No more memory than is counted.
            self.octets.reserve_exact(octets.len());
            self.octets.extend_from_slice(octets);
        }
        fits
    }

    /// The content so far.
    pub(super) fn octets(&self) -> &[u8] {
        &self.octets
    }
}

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
    /// Mailboxes that were broken before it was put into the journal: it is set aside for them.
    pub(super) broken: Vec<(MailboxName, Error)>,
    /// Mailboxes for which it is durable already: it was copied there, or set aside.
    pub(super) settled: Vec<MailboxName>,
}

/// Messages that are durable but could not be applied.
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
    pub(super) fn add(&self, number: u64, letter: Letter) {
        self.shelf.lock().letters.push((number, letter));
    }

    /// Takes all of them, after any other thread has given them back. So a caller that then looks
    /// into a mailbox finds every message that could be put there.
    pub(super) fn take(&self) -> Vec<(u64, Letter)> {
        let mut found = self.shelf.lock();
        while found.is_taken {
            self.is_free.wait(&mut found);
        }
        let letters = std::mem::take(&mut found.letters);
        found.is_taken = !letters.is_empty();
        drop(found);
        letters
    }

    pub(super) fn give_back(&self, letters: Vec<(u64, Letter)>) {
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
    /// Its file name in mailboxes.
    pub(super) file_name: &'a str,
}

/// How a spooled file gets into a mailbox.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    /// By an additional name, because other recipients follow.
    Link,
    /// By a rename, which gives up the name in the spool.
    Rename,
}

/// How it got there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Placed {
    /// As a copy, which is durable.
    Copied,
    /// By an additional name, or it was already there.
    Linked,
    /// By a rename, which gives up the name in the spool.
    Renamed,
}

/// Why a message could not be put into a mailbox.
#[derive(Debug)]
pub(super) struct Misplaced {
    pub(super) error: Error,
    /// Whether it had to be copied there; then a full disk is not the store's.
    pub(super) is_copy: bool,
}

impl Misplaced {
    /// Whether the cause is only in the mailbox.
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
