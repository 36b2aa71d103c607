//! Records what was put into Maildirs and not synced since: the names that a file-by-file
//! checkpoint (`piecemeal.rs`) has to make durable.
//!
//! It tracks messages. It does not deal with files or syncs, or whether they succeed.
//!
//! # Theory of operation
//! After a message is applied, and before its batch counts as applied, its name and its mailboxes
//! are recorded here. A checkpoint takes all messages of the batches that it covers. The record is
//! kept whatever kind of checkpoint is used: once a checkpoint turns out to be slow, it is too late
//! to find out what was written in the meantime.
//!
//! A message that is not found any more was either removed over POP3, or changed by another
//! program. To tell these apart, each POP3 removal is noted once the message has been unlinked.
//! (Not before: until then the message may be there under another name, and if the removal fails it
//! stays.) The note is kept until the second checkpoint after it, because the first may already be
//! running, or may not yet cover the batch. A checkpoint that looks for the message between the
//! unlink and the note does not see the note, and takes longer.
//!
//! # Invariants
//! - What [`Touched::take`] returns is complete: every name of the batches up to `applied` that was
//!   not checkpointed before.
//! - There are never more than [`TOUCHED_NAMES_MAX`] names and as many removals for each of two
//!   checkpoints, and none of them when a store has been idle.
//!
//! # Failures
//! If a name does not fit, it is left out, and the record knows that it is incomplete. Then, and
//! when an earlier checkpoint took names and failed, [`Touched::take`] returns `None`, and
//! everything has to be synced.

use std::collections::HashMap;

use crate::{
    mail::MailboxName,
    store::{limits::TOUCHED_NAMES_MAX, sync::Mutex},
};

/// What is recorded of a message when it is in its mailboxes.
#[derive(Debug)]
pub(super) struct Applied {
    /// The number of its batch.
    pub(super) number: u64,
    /// The counter of its serial.
    pub(super) counter: u64,
    pub(super) file_name: String,
    pub(super) mailboxes: Vec<MailboxName>,
}

/// The names that are not yet durable. See the module.
#[derive(Debug, Default)]
pub(super) struct Touched(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    messages: Vec<Applied>,
    /// The number of their names, in all mailboxes.
    n_names: usize,
    /// Batches after this one have all their names here.
    lost: u64,
    /// Whether checkpoints use this record, and should therefore come before it is full.
    is_in_use: bool,
    removed: Removed,
    /// What was removed before the last checkpoint began.
    removed_before: Removed,
}

/// Messages that were removed over POP3, by their counters.
#[derive(Debug, Default)]
struct Removed {
    /// By mailbox and counter: whether the message has been unlinked.
    messages: HashMap<MailboxName, HashMap<u64, bool>>,
    n_messages: usize,
}

impl Removed {
    fn add(&mut self, mailbox: &MailboxName, counters: &[u64], is_unlinked: bool) {
        let n_messages = self.n_messages.saturating_add(counters.len());
        // Without the note the absence of the message cannot be explained, which only costs time.
        if n_messages <= TOUCHED_NAMES_MAX {
            self.n_messages = n_messages;
            let noted = self.messages.entry(mailbox.clone()).or_default();
            noted.extend(counters.iter().map(|&counter| (counter, is_unlinked)));
        }
    }

    /// `None` if the message is not noted; otherwise whether it is noted as unlinked.
    fn find(&self, mailbox: &MailboxName, counter: u64) -> Option<bool> {
        self.messages.get(mailbox)?.get(&counter).copied()
    }
}

impl Record {
    fn add(&mut self, message: Applied) {
        let n_names = self.n_names.saturating_add(message.mailboxes.len());
        if n_names > TOUCHED_NAMES_MAX {
            self.lost = self.lost.max(message.number);
        } else {
            self.n_names = n_names;
            self.messages.push(message);
        }
    }
}

impl Touched {
    /// Whether the lock is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.0.is_locked()
    }

    /// Sets whether checkpoints use this record from now on.
    pub(super) fn set_in_use(&self, is_in_use: bool) {
        self.0.lock().is_in_use = is_in_use;
    }

    /// Notes that a message is in its mailboxes. True when it is time for a checkpoint, before the
    /// record becomes too full.
    pub(super) fn note(&self, message: Applied) -> bool {
        let mut record = self.0.lock();
        let before = record.n_names;
        record.add(message);
        let half = TOUCHED_NAMES_MAX / 2;
        record.is_in_use && before < half && record.n_names >= half
    }

    /// Notes that messages of this run of the daemon are about to be removed from `mailbox`.
    pub(super) fn announce_removal(&self, mailbox: &MailboxName, counters: &[u64]) {
        self.0.lock().removed.add(mailbox, counters, false);
    }

    /// Notes that messages of this run of the daemon were unlinked from `mailbox`.
    pub(super) fn note_removal(&self, mailbox: &MailboxName, counters: &[u64]) {
        self.0.lock().removed.add(mailbox, counters, true);
    }

    /// Whether the message is being removed from `mailbox`, or was removed.
    pub(super) fn is_being_removed(&self, mailbox: &MailboxName, counter: u64) -> bool {
        self.noted(mailbox, counter).iter().any(Option::is_some)
    }

    /// Whether the message was unlinked from `mailbox`, perhaps not yet durably.
    pub(super) fn was_removed(&self, mailbox: &MailboxName, counter: u64) -> bool {
        self.noted(mailbox, counter).contains(&Some(true))
    }

    /// What was noted about the message after and before the start of the last checkpoint.
    fn noted(&self, mailbox: &MailboxName, counter: u64) -> [Option<bool>; 2] {
        let record = self.0.lock();
        [&record.removed, &record.removed_before].map(|it| it.find(mailbox, counter))
    }

    /// Takes the messages of the batches up to `applied`; `None` when some that were not yet
    /// `checkpointed` are missing. They count as missing until `applied` is checkpointed.
    pub(super) fn take(&self, applied: u64, checkpointed: u64) -> Option<Vec<Applied>> {
        let mut record = self.0.lock();
        let is_complete = record.lost <= checkpointed;
        record.lost = record.lost.max(applied);
        record.n_names = 0;
        let messages = std::mem::take(&mut record.messages);
        let removed = std::mem::take(&mut record.removed);
        let forgotten = std::mem::replace(&mut record.removed_before, removed);
        drop(record);
        drop(forgotten);
        let (taken, left): (Vec<_>, Vec<_>) = messages
            .into_iter()
            .partition(|message| message.number <= applied);
        if !left.is_empty() {
            let mut record = self.0.lock();
            for message in left {
                record.add(message);
            }
        }
        is_complete.then_some(taken)
    }

    /// Forgets the removals if no messages are left that could be missed.
    pub(super) fn settle(&self) {
        let mut record = self.0.lock();
        let forgotten = record.messages.is_empty().then(|| {
            let removed = std::mem::take(&mut record.removed);
            (removed, std::mem::take(&mut record.removed_before))
        });
        drop(record);
        drop(forgotten);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mailbox() -> MailboxName {
        MailboxName::from_canonical("bob", "example.org").unwrap()
    }

    /// A message of batch `number`.
    fn message(number: u64) -> Applied {
        Applied {
            number,
            counter: number,
            file_name: format!("{number}.name"),
            mailboxes: vec![mailbox()],
        }
    }

    fn numbers(taken: Option<Vec<Applied>>) -> Option<Vec<u64>> {
        let numbers = |taken: Vec<Applied>| taken.iter().map(|it| it.number).collect();
        taken.map(numbers)
    }

    #[test]
    fn a_checkpoint_takes_what_it_covers() {
        let touched = Touched::default();
        for number in [1, 3, 2, 4] {
            assert!(!touched.note(message(number)));
        }
        assert_eq!(numbers(touched.take(2, 0)), Some(vec![1, 2]));
        assert_eq!(numbers(touched.take(4, 2)), Some(vec![3, 4]));
        assert_eq!(numbers(touched.take(4, 4)), Some(vec![]));
    }

    #[test]
    fn messages_taken_by_a_failed_checkpoint_count_as_missing() {
        let touched = Touched::default();
        touched.note(message(1));
        assert_eq!(numbers(touched.take(1, 0)), Some(vec![1]));
        touched.note(message(2));
        assert_eq!(numbers(touched.take(2, 0)), None);
        touched.note(message(3));
        assert_eq!(numbers(touched.take(3, 2)), Some(vec![3]));
    }

    #[test]
    fn messages_that_do_not_fit_are_missing_until_they_are_checkpointed() {
        let touched = Touched::default();
        for _ in 0..=TOUCHED_NAMES_MAX {
            touched.note(message(1));
        }
        touched.note(message(2));
        assert_eq!(numbers(touched.take(1, 0)), None);
        touched.note(message(3));
        assert_eq!(numbers(touched.take(3, 1)), None, "2 is missing");
        touched.note(message(4));
        assert_eq!(numbers(touched.take(4, 3)), Some(vec![4]));
    }

    #[test]
    fn a_half_full_record_is_reported_once_and_only_if_it_is_in_use() {
        for is_in_use in [false, true] {
            let touched = Touched::default();
            touched.set_in_use(is_in_use);
            let due = (0..TOUCHED_NAMES_MAX).filter(|_| touched.note(message(1)));
            assert_eq!(due.count(), usize::from(is_in_use));
        }
    }

    #[test]
    fn removals_are_remembered_for_two_checkpoints() {
        let touched = Touched::default();
        let bob = mailbox();
        touched.note_removal(&bob, &[7, 8]);
        assert!(touched.was_removed(&bob, 7));
        assert!(!touched.was_removed(&bob, 9));
        touched.note(message(1));
        touched.take(0, 0);
        touched.settle();
        assert!(touched.was_removed(&bob, 8));
        touched.take(0, 0);
        touched.settle();
        assert!(!touched.was_removed(&bob, 8));
        touched.note_removal(&bob, &[7, 8]);
        touched.take(1, 0);
        touched.settle();
        assert!(
            !touched.was_removed(&bob, 8),
            "nothing is left to be missed"
        );
    }
}
