//! To which sub-addresses messages were sent: for a while, and in memory only.
//!
//! A message for one recipient has its path in its trace header. With several recipients it has
//! none, because that would reveal them to each other (RFC 5321 §7.2). A test that runs in parallel
//! with others waits for its own sub-address, which may be in no other field: so the paths that
//! differ from the addresses of their mailboxes are kept here.
//!
//! What delivers a message keeps its paths before it is in a mailbox, so that nobody sees one
//! without the other. Nothing is written, and after a restart nothing is known.

use std::collections::{HashMap, VecDeque};

use parking_lot::Mutex;

use crate::mail::{EntryId, MailboxName};

use super::limits::{PATHS_MESSAGE_OCTETS, PATHS_MESSAGES_MAX, PATHS_OCTETS_MAX};

/// See the module.
#[derive(Debug, Default)]
pub struct Paths(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The names that mailboxes with exactly these addresses would have.
    by_id: HashMap<EntryId, Box<[MailboxName]>>,
    /// The oldest first.
    order: VecDeque<EntryId>,
    octets: usize,
}

impl Paths {
    /// Keeps the sub-addresses of a message. Beyond the limits the oldest are forgotten.
    pub fn keep(&self, id: EntryId, subaddresses: Vec<MailboxName>) {
        let octets = octets_of(&subaddresses);
        if !subaddresses.is_empty() && octets <= PATHS_OCTETS_MAX {
            self.0.lock().keep(id, subaddresses.into(), octets);
        }
    }

    /// Whether the message was sent to this address, as far as that is known here.
    pub fn has(&self, id: EntryId, subaddress: &MailboxName) -> bool {
        self.0.lock().has(id, subaddress)
    }
}

impl Kept {
    fn keep(&mut self, id: EntryId, subaddresses: Box<[MailboxName]>, octets: usize) {
        self.octets = self.octets.saturating_add(octets);
        self.order.push_back(id);
        self.by_id.insert(id, subaddresses);
        while self.order.len() > PATHS_MESSAGES_MAX || self.octets > PATHS_OCTETS_MAX {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            let forgotten = self.by_id.remove(&oldest).unwrap_or_default();
            self.octets = self.octets.saturating_sub(octets_of(&forgotten));
        }
    }

    fn has(&self, id: EntryId, subaddress: &MailboxName) -> bool {
        let subaddresses = self.by_id.get(&id);
        subaddresses.is_some_and(|it| it.contains(subaddress))
    }
}

/// The memory of one message here.
fn octets_of(subaddresses: &[MailboxName]) -> usize {
    let octets = subaddresses.iter().map(|it| {
        let text = it.local_part().len().saturating_add(it.domain().len());
        text.saturating_add(PATHS_MESSAGE_OCTETS)
    });
    octets.fold(PATHS_MESSAGE_OCTETS, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn name(local_part: &str) -> MailboxName {
        MailboxName::from_canonical(local_part, "a.example").unwrap()
    }

    #[test]
    fn the_newest_are_kept() {
        let paths = Paths::default();
        let n_messages = u64::try_from(PATHS_MESSAGES_MAX).unwrap();
        for counter in 0..=n_messages {
            paths.keep(EntryId::own(1, counter), vec![name("b+1"), name("b+2")]);
        }
        let has = |counter, local_part| paths.has(EntryId::own(1, counter), &name(local_part));
        assert!(!has(0, "b+1") && has(1, "b+1") && has(n_messages, "b+2"));
        assert!(!has(1, "b") && !has(1, "b+3"));
        assert!(paths.0.lock().octets <= PATHS_OCTETS_MAX);
    }

    #[test]
    fn a_message_with_too_many_is_not_kept() {
        let paths = Paths::default();
        paths.keep(EntryId::own(1, 1), vec![name("b+1")]);
        let many = vec![name(&"x".repeat(200)); PATHS_OCTETS_MAX / 200];
        paths.keep(EntryId::own(1, 2), many);
        assert!(paths.has(EntryId::own(1, 1), &name("b+1")));
        assert_eq!(paths.0.lock().by_id.len(), 1);
    }

    proptest! {
        #[test]
        fn memory_is_bounded(sizes in vec(0_usize..2_000, 0..20)) {
            let paths = Paths::default();
            for (index, size) in sizes.iter().enumerate() {
                let id = EntryId::own(1, u64::try_from(index).unwrap());
                paths.keep(id, vec![name(&"x".repeat(200)); *size]);
                let kept = paths.0.lock();
                let naive: usize = kept.by_id.values().map(|it| octets_of(it)).sum();
                let lengths = (kept.order.len(), kept.by_id.len());
                let octets = kept.octets;
                drop(kept);
                prop_assert_eq!(octets, naive);
                prop_assert!(naive <= PATHS_OCTETS_MAX);
                prop_assert_eq!(lengths.0, lengths.1);
            }
        }
    }
}
