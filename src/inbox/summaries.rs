//! The summaries of the messages that were shown last.
//!
//! A summary costs one pass through its message, so it is kept as long as there is memory. A
//! message never changes, so neither does its summary.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use crate::{mail::EntryId, mime::Summary};

/// What an entry takes beside its summary.
const ENTRY_OCTETS: usize = 200;

#[derive(Debug)]
struct Kept {
    summary: Arc<Summary>,
    octets: usize,
    /// When it was last asked for, as a number that grows.
    used: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Summaries {
    kept: HashMap<EntryId, Kept>,
    /// The same in the order of their use.
    order: BTreeMap<u64, EntryId>,
    octets: usize,
    octets_max: usize,
    next: u64,
}

impl Summaries {
    /// None yet; later, as many as this much memory is enough for.
    pub fn within(octets: u64) -> Self {
        Self {
            kept: HashMap::new(),
            order: BTreeMap::new(),
            octets: 0,
            octets_max: usize::try_from(octets).unwrap_or(usize::MAX),
            next: 0,
        }
    }

    /// The summary of a message, if it is kept.
    pub fn get(&mut self, id: EntryId) -> Option<Arc<Summary>> {
        let next = self.number();
        let kept = self.kept.get_mut(&id)?;
        self.order.remove(&kept.used);
        self.order.insert(next, id);
        kept.used = next;
        Some(Arc::clone(&kept.summary))
    }

    /// Keeps the summary of a message, and forgets those that were not used for longest.
    pub fn put(&mut self, id: EntryId, summary: Arc<Summary>) {
        self.forget(id);
        let octets = summary.held_octets().saturating_add(ENTRY_OCTETS);
        let used = self.number();
        self.octets = self.octets.saturating_add(octets);
        self.order.insert(used, id);
        let kept = Kept {
            summary,
            octets,
            used,
        };
        self.kept.insert(id, kept);
        while self.octets > self.octets_max
            && let Some((_, oldest)) = self.order.first_key_value()
        {
            self.forget(*oldest);
        }
    }

    fn forget(&mut self, id: EntryId) {
        if let Some(kept) = self.kept.remove(&id) {
            self.order.remove(&kept.used);
            self.octets = self.octets.saturating_sub(kept.octets);
        }
    }

    fn number(&mut self) -> u64 {
        self.next = self.next.saturating_add(1);
        self.next
    }
}
