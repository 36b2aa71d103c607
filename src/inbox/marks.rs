//! Which messages somebody has read. It is kept in memory only: after a restart all are unread.
//!
//! The owner of an account has marks of its own, because a copy of the message may be in mailboxes
//! of others, who learn nothing of it. Whoever sees all mail shares the marks of the others who do.

use std::collections::{BTreeMap, HashMap};

use crate::mail::{EntryId, MailboxName};

use super::limits::READ_MARKS_MAX;

/// The messages that were read, each with the number of its mark.
type Read = HashMap<EntryId, u64>;

/// The messages that were read.
#[derive(Debug, Default)]
pub struct Marks {
    /// Those of everybody who sees all mail.
    common: Read,
    owned: HashMap<MailboxName, Read>,
    /// All of them by their number: the oldest mark comes first.
    order: BTreeMap<u64, (Option<MailboxName>, EntryId)>,
    next: u64,
}

impl Marks {
    /// Whether this reader has read the message: the owner of a mailbox, or else somebody who sees
    /// all mail.
    pub fn is_read(&self, reader: Option<&MailboxName>, id: EntryId) -> bool {
        let read = match reader {
            None => Some(&self.common),
            Some(owner) => self.owned.get(owner),
        };
        read.is_some_and(|read| read.contains_key(&id))
    }

    /// Marks the message as read, or as not read.
    pub fn set(&mut self, reader: Option<&MailboxName>, id: EntryId, is_read: bool) {
        self.remove(reader, id);
        if !is_read {
            return;
        }
        self.next = self.next.saturating_add(1);
        let read = match reader {
            None => &mut self.common,
            Some(owner) => self.owned.entry(owner.clone()).or_default(),
        };
        read.insert(id, self.next);
        self.order.insert(self.next, (reader.cloned(), id));
        if self.order.len() > READ_MARKS_MAX
            && let Some((_, (reader, oldest))) = self.order.pop_first()
        {
            self.remove(reader.as_ref(), oldest);
        }
    }

    fn remove(&mut self, reader: Option<&MailboxName>, id: EntryId) {
        let number = match reader {
            None => self.common.remove(&id),
            Some(owner) => {
                let read = self.owned.get_mut(owner);
                let number = read.and_then(|read| read.remove(&id));
                if self.owned.get(owner).is_some_and(HashMap::is_empty) {
                    self.owned.remove(owner);
                }
                number
            }
        };
        if let Some(number) = number {
            self.order.remove(&number);
        }
    }
}
