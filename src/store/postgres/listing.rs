//! A listing: the messages of a mailbox in the order of their arrival.

use crate::{
    mail::{EntryId, Summaries, UniqueId},
    store::{
        limits::{LISTED_MESSAGE_OCTETS, LISTED_OCTETS_FREE},
        name::{Identity, Serial},
        quota::Taken,
    },
};

use super::connection::Row;

/// One message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    secs: u64,
    nonce: u64,
    counter: u64,
    /// Octets that RETR sends.
    sent_octets: u64,
}

/// The messages, and their share of the memory.
#[derive(Debug)]
pub(super) struct Listing {
    entries: Vec<Entry>,
    taken: Taken,
    is_too_large: bool,
    /// A name that is none.
    strange: Option<String>,
}

/// What a message with this name is; `None` if no store has given that name.
pub(super) fn entry(name: &str, sent_octets: u64) -> Option<Entry> {
    let identity = Identity::new(name.as_bytes(), true);
    let (secs, serial) = (identity.delivered_secs()?, identity.serial()?);
    let entry = Entry {
        secs,
        nonce: serial.nonce,
        counter: serial.counter,
        sent_octets,
    };
    (entry.name() == name).then_some(entry)
}

impl Entry {
    /// Its name in the database, which is its unique-id too.
    pub(super) fn name(&self) -> String {
        let serial = Serial {
            nonce: self.nonce,
            counter: self.counter,
        };
        format!("{}.{}", self.secs, serial.render())
    }

    pub(super) fn id(&self) -> EntryId {
        EntryId::own(self.nonce, self.counter)
    }

    /// When it was delivered, in seconds since 1970.
    pub(super) fn secs(&self) -> u64 {
        self.secs
    }
}

impl Listing {
    /// A listing without messages, whose memory counts in `taken`.
    pub(super) fn new(taken: Taken) -> Self {
        Self {
            entries: Vec::new(),
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
        if self.entries.len() == self.entries.capacity() {
            // As the vector grows: twice as much, and what it has while it is copied.
            let after = self.entries.len().saturating_mul(3).max(64);
            let of_each = size_of::<Entry>().saturating_add(LISTED_MESSAGE_OCTETS);
            let octets = after
                .saturating_mul(of_each)
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
        self.entries.sort_unstable();
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
        UniqueId::parse(self.get(position)?.name())
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
