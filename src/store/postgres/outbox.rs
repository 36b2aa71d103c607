//! Messages that wait for a batch.
//!
//! Each message also submits a task. Whichever task comes first takes all messages that are there,
//! up to the size of a batch, and the others find nothing to do. So while every connection is busy,
//! batches form by themselves.

use std::{collections::VecDeque, sync::Arc, time::Instant};

use crate::{
    mail::{EntryId, MailboxName},
    store::{name::Serial, quota::Taken, sync::Mutex},
};

use super::{
    lanes::Slot,
    limits::{BATCH_LETTERS_MAX, BATCH_OCTETS_MAX},
};

/// A message with its recipients.
#[derive(Debug)]
pub(super) struct Letter {
    /// Its name in the database.
    pub(super) name: String,
    pub(super) serial: Serial,
    pub(super) content: Vec<u8>,
    /// Octets that RETR sends.
    pub(super) sent_octets: u64,
    /// Without repetition.
    pub(super) mailboxes: Vec<MailboxName>,
    pub(super) deadline: Instant,
    /// Where its result is awaited.
    pub(super) slot: Arc<Slot<()>>,
    /// The content's share of the memory.
    pub(super) _taken: Taken,
}

impl Letter {
    /// Its id in the inbox.
    pub(super) fn id(&self) -> EntryId {
        EntryId::own(self.serial.nonce, self.serial.counter)
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Outbox(Mutex<VecDeque<Letter>>);

impl Outbox {
    pub(super) fn add(&self, letter: Letter) {
        self.0.lock().push_back(letter);
    }

    /// Removes the message whose result was to be put into `slot`, if it is still there.
    pub(super) fn discard(&self, slot: &Arc<Slot<()>>) {
        let mut letters = self.0.lock();
        let position = letters.iter().position(|it| Arc::ptr_eq(&it.slot, slot));
        let gone = position.and_then(|position| letters.remove(position));
        drop(letters);
        drop(gone);
    }

    /// How many messages wait.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Takes the next batch, without those that nobody waits for any more.
    pub(super) fn take(&self) -> Vec<Letter> {
        let mut batch: Vec<Letter> = Vec::new();
        let (mut octets, mut n_messages) = (0_usize, 0_usize);
        let mut letters = self.0.lock();
        while let Some(letter) = letters.pop_front() {
            octets = octets.saturating_add(letter.content.len());
            n_messages = n_messages.saturating_add(letter.mailboxes.len());
            let is_full = octets > BATCH_OCTETS_MAX || n_messages > BATCH_LETTERS_MAX;
            if is_full && !batch.is_empty() {
                letters.push_front(letter);
                break;
            }
            batch.push(letter);
        }
        drop(letters);
        batch.retain(|letter| letter.slot.take());
        batch
    }
}
