//! Which messages somebody has read. It is kept in memory only: after a restart all are unread.

use std::collections::{BTreeMap, HashMap};

use crate::mail::EntryId;

use super::limits::READ_MARKS_MAX;

/// The messages that were read.
#[derive(Debug, Default)]
pub struct Marks {
    /// Each with the number of its mark.
    read: HashMap<EntryId, u64>,
    /// The same by that number: the oldest mark comes first.
    order: BTreeMap<u64, EntryId>,
    next: u64,
}

impl Marks {
    /// Whether the message was read.
    pub fn is_read(&self, id: EntryId) -> bool {
        self.read.contains_key(&id)
    }

    /// Marks the message as read, or as not read.
    pub fn set(&mut self, id: EntryId, is_read: bool) {
        if let Some(number) = self.read.remove(&id) {
            self.order.remove(&number);
        }
        if !is_read {
            return;
        }
        self.next = self.next.saturating_add(1);
        self.read.insert(id, self.next);
        self.order.insert(self.next, id);
        if self.read.len() > READ_MARKS_MAX
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.read.remove(&oldest);
        }
    }
}
