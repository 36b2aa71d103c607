//! Which messages there are, newest first.
//!
//! # Theory of operation
//! Each mailbox is put in as a look has shown it, and replaced as a whole when it has changed. A
//! message that was delivered to several mailboxes has the same ID in each of them, and is one
//! [`Item`]. The list of all items is made when it is next asked for; those who got an older list
//! keep it, so that a long search does not see messages move.
//!
//! Messages are ordered by their time of arrival in seconds. Within a second those that this store
//! delivered come in the order of their deliveries, behind them those of other programs, and those
//! of one mailbox in the order in which the store lists them.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::mail::{EntryId, MailboxName};

use super::limits::{INDEX_MAILBOX_OCTETS, INDEX_MESSAGE_OCTETS};

/// One message of one mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The same in every mailbox that has it.
    pub id: EntryId,
    /// When it arrived, in seconds since 1970.
    pub arrived: u64,
    /// What RETR would send.
    pub octets: u64,
}

/// One message, whatever number of mailboxes have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// See [`Seen`].
    pub seen: Seen,
    /// The mailboxes that have it, in order.
    pub mailboxes: Arc<[MailboxName]>,
}

/// See the module.
#[derive(Debug)]
pub struct Index {
    mailboxes: BTreeMap<MailboxName, Vec<Seen>>,
    octets: u64,
    octets_max: u64,
    /// All messages, unless something has changed since they were put together.
    merged: Option<Merged>,
}

/// The messages of all mailboxes.
#[derive(Debug)]
struct Merged {
    /// Newest first.
    items: Arc<[Item]>,
    /// Their positions, in the order of their IDs.
    by_id: Box<[usize]>,
}

impl Index {
    /// No messages yet; later, as many as this much memory is enough for.
    pub fn within(octets: u64) -> Self {
        Self {
            mailboxes: BTreeMap::new(),
            octets: 0,
            octets_max: octets,
            merged: None,
        }
    }

    /// The messages of a mailbox, oldest first. Returns whether there was room; if not, the mailbox
    /// is left out.
    pub fn put(&mut self, mailbox: MailboxName, messages: Vec<Seen>) -> bool {
        self.remove(&mailbox);
        let octets = octets_of(&messages);
        let sum = self.octets.saturating_add(octets);
        let fits = sum <= self.octets_max;
        if fits {
            self.octets = sum;
            self.mailboxes.insert(mailbox, messages);
            self.merged = None;
        }
        fits
    }

    /// The mailbox is gone.
    pub fn remove(&mut self, mailbox: &MailboxName) {
        if let Some(messages) = self.mailboxes.remove(mailbox) {
            self.octets = self.octets.saturating_sub(octets_of(&messages));
            self.merged = None;
        }
    }

    /// The mailboxes, each with its messages.
    pub fn mailboxes(&self) -> &BTreeMap<MailboxName, Vec<Seen>> {
        &self.mailboxes
    }

    /// All messages, newest first.
    pub fn items(&mut self) -> Arc<[Item]> {
        Arc::clone(&self.merged().items)
    }

    /// The message with this ID.
    pub fn item(&mut self, id: EntryId) -> Option<Item> {
        self.merged().item(id).cloned()
    }

    fn merged(&mut self) -> &Merged {
        let mailboxes = &self.mailboxes;
        self.merged.get_or_insert_with(|| Merged::of(mailboxes))
    }
}

impl Merged {
    fn of(mailboxes: &BTreeMap<MailboxName, Vec<Seen>>) -> Self {
        let items = merged(mailboxes);
        let mut by_id: Box<[usize]> = (0..items.len()).collect();
        by_id.sort_unstable_by_key(|position| items.get(*position).map(|item| item.seen.id));
        Self { items, by_id }
    }

    fn item(&self, id: EntryId) -> Option<&Item> {
        let id_at = |position: &usize| self.items.get(*position).map(|item| item.seen.id);
        let found = self.by_id.binary_search_by_key(&Some(id), id_at).ok()?;
        self.items.get(*self.by_id.get(found)?)
    }
}

/// What a mailbox with these messages uses.
fn octets_of(messages: &[Seen]) -> u64 {
    let n_messages = u64::try_from(messages.len()).unwrap_or(u64::MAX);
    n_messages
        .saturating_mul(INDEX_MESSAGE_OCTETS)
        .saturating_add(INDEX_MAILBOX_OCTETS)
}

/// One item for each ID.
fn merged(mailboxes: &BTreeMap<MailboxName, Vec<Seen>>) -> Arc<[Item]> {
    let n_seen = mailboxes.values().map(Vec::len).sum();
    let mut positions: HashMap<EntryId, usize> = HashMap::with_capacity(n_seen);
    let mut items: Vec<(usize, Item)> = Vec::with_capacity(n_seen);
    for (mailbox, messages) in mailboxes {
        // Most messages are in one mailbox, and share this.
        let alone: Arc<[MailboxName]> = Arc::new([mailbox.clone()]);
        for (place, seen) in messages.iter().enumerate() {
            let known = positions.get(&seen.id).and_then(|at| items.get_mut(*at));
            if let Some((_, item)) = known {
                let all = item.mailboxes.iter().chain([mailbox]);
                item.mailboxes = all.cloned().collect();
            } else {
                positions.insert(seen.id, items.len());
                let mailboxes = Arc::clone(&alone);
                items.push((
                    place,
                    Item {
                        seen: *seen,
                        mailboxes,
                    },
                ));
            }
        }
    }
    items.sort_by_key(|(place, Item { seen, .. })| {
        std::cmp::Reverse((seen.arrived, seen.id.counter(), *place))
    });
    items.into_iter().map(|(_, item)| item).collect()
}
