//! A listing: the messages of a mailbox in the order of their arrival.
//!
//! Nearly all are known by numbers. Those that were moved here from a Maildir with the names of
//! their files are known by these, and take more memory.

use crate::{
    mail::{EntryId, Summaries, UniqueId},
    store::{
        label::Label,
        limits::{LISTED_MESSAGE_OCTETS, LISTED_OCTETS_FREE},
        name::{Identity, Serial},
        quota::Taken,
    },
};

use super::connection::Row;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    who: Who,
    /// Octets that RETR sends.
    sent_octets: u64,
}

/// Which message it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    /// One that a store has delivered.
    Own { secs: u64, nonce: u64, counter: u64 },
    /// One that has kept the name of its file: its name in the database.
    Filed(Box<str>),
}

/// The messages, and their share of the memory.
#[derive(Debug)]
pub(super) struct Listing {
    entries: Vec<Entry>,
    /// Octets of the names of messages that have kept those of their files.
    held_octets: usize,
    taken: Taken,
    is_too_large: bool,
    /// A name that is none.
    strange: Option<String>,
}

/// What a message with this name is; `None` if no store has given that name.
pub(super) fn entry(name: &str, sent_octets: u64) -> Option<Entry> {
    let identity = Identity::new(name.as_bytes(), true);
    let own = identity.delivered_secs().zip(identity.serial());
    let who = match own {
        Some((secs, Serial { nonce, counter })) => Who::Own {
            secs,
            nonce,
            counter,
        },
        None => Label::parse(name).map(|_| Who::Filed(name.into()))?,
    };
    let entry = Entry { who, sent_octets };
    (entry.name() == name).then_some(entry)
}

impl Entry {
    /// Its name in the database.
    pub(super) fn name(&self) -> String {
        match &self.who {
            Who::Own {
                secs,
                nonce,
                counter,
            } => {
                let (nonce, counter) = (*nonce, *counter);
                format!("{secs}.{}", Serial { nonce, counter }.render())
            }
            Who::Filed(name) => name.to_string(),
        }
    }

    pub(super) fn id(&self) -> EntryId {
        match &self.who {
            Who::Own { nonce, counter, .. } => EntryId::own(*nonce, *counter),
            Who::Filed(name) => {
                let label = Label::parse(name);
                let id = label.map(|(mailbox, label)| label.entry_id(&mailbox));
                // It was parsed before.
                id.unwrap_or_else(|| EntryId::foreign(0))
            }
        }
    }

    fn unique_id(&self) -> Option<UniqueId<'static>> {
        match &self.who {
            Who::Own { .. } => UniqueId::parse(self.name()),
            Who::Filed(name) => Label::parse(name)?.1.unique_id(),
        }
    }

    /// When it came, in seconds since 1970.
    pub(super) fn secs(&self) -> u64 {
        let own = || self.label().map(|label| label.arrived_secs);
        match &self.who {
            Who::Own { secs, .. } => *secs,
            Who::Filed(_) => own().unwrap_or(0),
        }
    }

    /// What its file was called, if it has kept that name.
    pub(super) fn label(&self) -> Option<Label> {
        match &self.who {
            Who::Own { .. } => None,
            Who::Filed(name) => Some(Label::parse(name)?.1),
        }
    }

    /// Where it is listed: as in a Maildir.
    fn place(&self) -> (u64, Vec<u8>) {
        match &self.who {
            Who::Own { secs, .. } => (*secs, self.name().into_bytes()),
            Who::Filed(_) => {
                let label = self.label();
                let place = label.map(|label| {
                    let parsed = label.parsed();
                    (parsed.arrival_secs, parsed.identity.octets().to_vec())
                });
                place.unwrap_or_default()
            }
        }
    }

    /// The memory that it needs elsewhere.
    fn held_octets(&self) -> usize {
        match &self.who {
            Who::Own { .. } => 0,
            // Twice, while they are sorted.
            Who::Filed(name) => name.len().saturating_mul(2),
        }
    }
}

impl Listing {
    /// A listing without messages, whose memory counts in `taken`.
    pub(super) fn new(taken: Taken) -> Self {
        Self {
            entries: Vec::new(),
            held_octets: 0,
            taken,
            is_too_large: false,
            strange: None,
        }
    }

    /// Adds the message of a row.
    pub(super) fn add(&mut self, row: &Row) {
        if self.is_too_large {
            return;
        }
        let name = row.text(0).unwrap_or_default();
        let Some(entry) = row.count(2).and_then(|octets| entry(name, octets)) else {
            self.strange = Some(name.to_owned());
            return;
        };
        let held_octets = self.held_octets.saturating_add(entry.held_octets());
        if self.entries.len() == self.entries.capacity() || held_octets > self.held_octets {
            self.held_octets = held_octets;
            // As the vector grows: twice as much, and what it has while it is copied.
            let n_entries = self.entries.len().max(self.entries.capacity() / 2);
            let after = n_entries.saturating_mul(3).max(64);
            let of_each = size_of::<Entry>().saturating_add(LISTED_MESSAGE_OCTETS);
            let octets = after
                .saturating_mul(of_each)
                .saturating_add(held_octets)
                .saturating_sub(LISTED_OCTETS_FREE);
            if !self.taken.set(u64::try_from(octets).unwrap_or(u64::MAX)) {
                self.is_too_large = true;
                return;
            }
        }
        self.entries.push(entry);
    }

    /// Puts the messages in order. False if there was too little memory for all.
    pub(super) fn finish(&mut self) -> bool {
        let is_filed = |entry: &Entry| matches!(entry.who, Who::Filed(_));
        if self.entries.iter().any(is_filed) {
            self.entries.sort_by_cached_key(Entry::place);
        } else {
            self.entries
                .sort_unstable_by(|left, right| left.who.cmp(&right.who));
        }
        !self.is_too_large
    }

    /// A name that this program has not given.
    pub(super) fn strange(&self) -> Option<&str> {
        self.strange.as_deref()
    }

    pub(super) fn get(&self, index: usize) -> Option<&Entry> {
        self.entries.get(index)
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

impl Summaries for Listing {
    fn len(&self) -> usize {
        self.entries.len()
    }

    fn octets(&self, position: usize) -> Option<u64> {
        Some(self.get(position)?.sent_octets)
    }

    fn unique_id(&self, position: usize) -> Option<UniqueId<'_>> {
        self.get(position)?.unique_id()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::quota::Quota;

    #[test]
    fn only_names_of_a_store_are_messages() {
        for (name, fits) in [
            ("1700000000.0123456789abcdef_00000001", true),
            ("1700000000.0123456789abcdef_100000000", true),
            ("1700000000.0123456789abcdef_0100000000", false),
            ("01700000000.0123456789abcdef_00000001", false),
            ("1700000000.0123456789ABCDEF_00000001", false),
            ("1700000000.0123456789abcdef_00000001.host", false),
            ("", false),
        ] {
            assert_eq!(entry(name, 1).is_some(), fits, "{name}");
        }
    }

    #[test]
    fn messages_are_in_the_order_of_their_arrival() {
        let mut listing = Listing::new(Taken::nothing(&Quota::new(0)));
        let names = [
            "1700000000.0123456789abcdef_00000001",
            "1700000000.0123456789abcdef_00000002",
            "1700000001.0000000000000000_00000000",
        ];
        for name in [2, 0, 1].map(|index: usize| names[index]) {
            listing.entries.push(entry(name, 7).unwrap());
        }
        assert!(listing.finish());
        let ids = (0..3).map(|position| listing.unique_id(position).unwrap().to_string());
        assert!(ids.eq(names));
        assert_eq!((listing.octets(1), listing.octets(3)), (Some(7), None));
    }
}
