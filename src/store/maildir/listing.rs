//! A listing: the names of all messages of a maildrop, and what those names say.
//!
//! A maildrop can have a million messages. So all names are stored back to back in one block, and
//! each message is a record of 24 octets that points into it. A name that does not give the size of
//! its file has 24 more, in a table. This module does no disk access.
//!
//! # Theory of operation
//! Names are added in the order in which the directories return them, and each is parsed once.
//! [`Names::sort`] then puts the messages in order of arrival: first by the seconds at the start of
//! the base, then by the identity. Nearly all names of one second start with the same octets, the
//! nonce of the daemon. Comparing them from the start would read the same octets again and again,
//! in memory that is far apart. So the names of one second are sorted by a number instead: the
//! eight octets after their common prefix. Whole names are compared only where these numbers are
//! equal.
//!
//! The names themselves are also put in that order, because UIDL reads all of them, and reading
//! them from scattered memory takes five times as long.
//!
//! Names with the same identity (`name/mod.rs`) are the same message. The first of them is its
//! record, and the others are its twins. Twins are so rare that they have a table of their own.
//!
//! The sizes that names do not give are counted in the files (`view.rs`), and a later listing takes
//! them over ([`Listing::take_sizes`]). Both listings have the same order, so that they are only
//! walked through side by side.
//!
//! # Invariants
//! - The messages are sorted by arrival, then identity; no two have the same identity.
//! - Every record refers to octets that exist, and its name starts with its identity and its
//!   unique-id. If the name does not give the size, the record refers to an entry of the table.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    hash::{DefaultHasher, Hash as _, Hasher as _},
    num::NonZeroU8,
    os::unix::ffi::OsStrExt as _,
    sync::{Arc, OnceLock},
};

use crate::{
    mail::{Summaries, UniqueId, added_octets},
    store::{
        limits::{LISTED_MESSAGE_OCTETS, LISTED_OCTETS_FREE},
        name::{self, Identity, Parsed},
        quota::{Quota, Taken},
    },
};

/// The two directories of a Maildir that hold messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    /// `cur`: messages that a program has seen.
    Cur,
    /// `new`: messages that no program has seen.
    New,
}

impl Side {
    /// The name of the directory.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cur => "cur",
            Self::New => "new",
        }
    }
}

/// One name of a message: where it is in the block of names, and what it says.
#[derive(Clone, Copy, Debug)]
struct Record {
    start: usize,
    /// The octets that RETR sends if the name gives them, or else the position of the size in its
    /// table.
    octets: u64,
    name_octets: u16,
    identity_octets: u16,
    unique_id_octets: Option<NonZeroU8>,
    is_own: bool,
    /// Whether the name gives the size.
    says_octets: bool,
    side: Side,
}

/// The size of a file whose name does not give it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    /// Octets that RETR sends, before dot-stuffing.
    pub(super) sent_octets: u64,
    /// Octets on disk.
    pub(super) stored_octets: u64,
    /// The number of the inode in which they were counted, or zero if the file may still be
    /// growing; until then, the number that the directory gives.
    pub(super) inode: u64,
}

impl Size {
    /// Whether it is the size of the same file as `other`, if both have the same message.
    fn is_of_same_file(&self, other: &Self) -> bool {
        planted!(SizesOutliveFiles, return true);
        self.inode == other.inode && self.inode != 0
    }
}

/// One name of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place<'a> {
    /// The directory.
    pub(super) side: Side,
    /// The file name in the directory, including flags.
    pub(super) file_name: &'a OsStr,
}

/// One message of a listing, with its names.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found<'a> {
    listing: &'a Listing,
    record: &'a Record,
}

impl<'a> Found<'a> {
    /// The part that never changes in its file names.
    pub(super) fn identity(&self) -> Identity<'a> {
        identity(&self.listing.text, self.record)
    }

    /// The name to try first: the one in `cur` if there is one, because messages move that way.
    pub(super) fn place(&self) -> Place<'a> {
        self.listing.place(self.record)
    }

    /// The size that was counted because the name does not give it.
    pub(super) fn counted(&self) -> Option<Size> {
        self.listing.size(self.record)
    }

    /// All names of the message.
    pub(super) fn places(&self) -> impl Iterator<Item = Place<'a>> + use<'a> {
        let listing = self.listing;
        let twins = listing.twins.get(&self.record.start);
        std::iter::once(self.record)
            .chain(twins.into_iter().flatten())
            .map(|record| listing.place(record))
    }
}

/// A listing's share of the memory for all listings (SEC-9). Dropping it returns the share.
#[derive(Debug)]
pub(super) struct Listed(Taken);

impl Listed {
    /// A share of zero octets.
    pub(super) fn nothing(of_all: &Arc<Quota>) -> Self {
        Self(Taken::nothing(of_all))
    }

    /// Changes the share to `octets`, of which a small amount is free. Returns false when that is
    /// too much, and the share then stays the same.
    fn set(&mut self, octets: usize) -> bool {
        let octets = octets.saturating_sub(LISTED_OCTETS_FREE);
        self.0.set(u64::try_from(octets).unwrap_or(u64::MAX))
    }

    /// Makes the share cover reading and sorting `names`, with half as much again in reserve if
    /// possible. Returns false when that is too much.
    pub(super) fn covers_reading(&mut self, names: &Names) -> bool {
        let wanted = names.sorting_octets();
        let covered = usize::try_from(self.0.octets()).unwrap_or(usize::MAX);
        let covered = covered.saturating_add(LISTED_OCTETS_FREE);
        wanted <= covered || self.set(wanted.saturating_add(wanted / 2)) || self.set(wanted)
    }

    /// Makes the share cover `listing` from now on. Returns false when that is too much.
    pub(super) fn covers(&mut self, listing: &Listing) -> bool {
        let of_messages = listing.len().saturating_mul(LISTED_MESSAGE_OCTETS);
        self.set(listing.held_octets().saturating_add(of_messages))
    }
}

/// The names of a maildrop while it is being read.
#[derive(Debug, Default)]
pub(super) struct Names {
    text: Vec<u8>,
    records: Vec<(u64, Record)>,
    sizes: Vec<Size>,
}

impl Names {
    /// Adds a name of a message, and the number of the inode that the directory gives.
    pub(super) fn add(&mut self, side: Side, file_name: &OsStr, inode: u64) {
        let file_name = file_name.as_bytes();
        let parsed = Parsed::of(file_name);
        let identity_octets = parsed.identity.octets().len();
        let lengths = (
            u16::try_from(file_name.len()),
            u16::try_from(identity_octets),
        );
        // No file system has longer names.
        let (Ok(name_octets), Ok(identity_octets)) = lengths else {
            return;
        };
        let octets = parsed.sent_octets.unwrap_or_else(|| {
            self.sizes.push(Size {
                inode,
                ..Size::default()
            });
            u64::try_from(self.sizes.len().saturating_sub(1)).unwrap_or(u64::MAX)
        });
        let record = Record {
            start: self.text.len(),
            octets,
            name_octets,
            identity_octets,
            unique_id_octets: parsed.unique_id_octets,
            is_own: parsed.identity.is_own(),
            says_octets: parsed.sent_octets.is_some(),
            side,
        };
        self.text.extend_from_slice(file_name);
        self.records.push((parsed.arrival_secs, record));
    }

    /// The memory needed to sort them: the names in both orders, the records with and without their
    /// key, and the fingerprints of an earlier reading.
    fn sorting_octets(&self) -> usize {
        let of_each = size_of::<(u64, Record)>().saturating_add(size_of::<Record>());
        let of_each = of_each.saturating_add(size_of::<u64>());
        let of_records = self.records.len().saturating_mul(of_each);
        let of_sizes = self.sizes.len().saturating_mul(size_of::<Size>());
        let of_text = self.text.len().saturating_mul(2);
        of_text.saturating_add(of_records).saturating_add(of_sizes)
    }

    /// The messages with these names, in order of arrival.
    pub(super) fn sort(self) -> Listing {
        let Self {
            text,
            mut records,
            mut sizes,
        } = self;
        records.sort_unstable_by_key(|(secs, _)| *secs);
        let mut sorted = Vec::with_capacity(text.len());
        for of_one_second in records.chunk_by_mut(|(left, _), (right, _)| left == right) {
            sort_by_name(&text, of_one_second);
            // Reordered now, while these records are in the processor's cache.
            for (_, record) in of_one_second {
                let name = octets(&text, record.start, record.name_octets);
                record.start = sorted.len();
                sorted.extend_from_slice(name);
            }
        }
        let text = sorted;
        let mut twins: BTreeMap<usize, Vec<Record>> = BTreeMap::new();
        let mut previous: Option<(u64, Record)> = None;
        records.retain(|&(key, record)| {
            if let Some((previous_key, first)) = previous
                && key == previous_key
                && identity(&text, &first) == identity(&text, &record)
            {
                twins.entry(first.start).or_default().push(record);
                return false;
            }
            previous = Some((key, record));
            true
        });
        let mut messages: Vec<Record> = records.into_iter().map(|(_, record)| record).collect();
        messages.shrink_to_fit();
        sizes.shrink_to_fit();
        Listing {
            text,
            messages,
            twins,
            sizes,
            total_octets: OnceLock::new(),
        }
    }
}

/// Sorts the names of one second. Replaces the second with a number that is equal for names with
/// the same identity.
fn sort_by_name(text: &[u8], records: &mut [(u64, Record)]) {
    let Some(((_, first), others @ [_, ..])) = records.split_first() else {
        return;
    };
    let octets_of = |record: &Record| identity(text, record).octets();
    let first = octets_of(first);
    let n_common = others.iter().fold(first.len(), |n_common, (_, other)| {
        let common = first.get(..n_common).unwrap_or(first);
        n_equal(common, octets_of(other))
    });
    for (key, record) in &mut *records {
        *key = eight_octets(octets_of(record).get(n_common..).unwrap_or_default());
    }
    let in_full = |record: &Record| {
        (
            identity(text, record),
            record.side,
            octets(text, record.start, record.name_octets),
        )
    };
    records.sort_unstable_by(|(left_key, left), (right_key, right)| {
        left_key
            .cmp(right_key)
            .then_with(|| in_full(left).cmp(&in_full(right)))
    });
}

/// The length of the common prefix.
fn n_equal(left: &[u8], right: &[u8]) -> usize {
    let is_equal = |(left, right): &(&u8, &u8)| left == right;
    // Nearly always the shorter one is a prefix of the longer, and comparing whole slices is fast.
    match right.get(..left.len()) {
        Some(right) if left == right => left.len(),
        _ => left.iter().zip(right).take_while(is_equal).count(),
    }
}

/// The first eight octets as a number that sorts in the same order. A shorter text sorts first,
/// because no name contains a NUL.
fn eight_octets(text: &[u8]) -> u64 {
    if let Some(octets) = text.first_chunk() {
        return u64::from_be_bytes(*octets);
    }
    let mut octets = [0; 8];
    for (octet, of_text) in octets.iter_mut().zip(text) {
        *octet = *of_text;
    }
    u64::from_be_bytes(octets)
}

/// The octets that a record refers to.
fn octets(text: &[u8], start: usize, octets: u16) -> &[u8] {
    let end = start.saturating_add(octets.into());
    text.get(start..end).unwrap_or_default()
}

/// The position in the table of sizes, if the name of `record` does not give the size.
fn place_of_size(record: &Record) -> Option<usize> {
    let place = usize::try_from(record.octets).ok();
    place.filter(|_| !record.says_octets)
}

/// The part of the name of `record` that never changes.
fn identity<'a>(text: &'a [u8], record: &Record) -> Identity<'a> {
    let octets = octets(text, record.start, record.identity_octets);
    Identity::new(octets, record.is_own)
}

/// The messages of a maildrop, in order of arrival.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// All names, in the order of the messages.
    text: Vec<u8>,
    messages: Vec<Record>,
    /// Further names of messages, by the start of the first one. This is not a hash map: for its
    /// first hash map a thread asks the system for random numbers, and this table is nearly always
    /// empty.
    twins: BTreeMap<usize, Vec<Record>>,
    /// The sizes that names do not give.
    sizes: Vec<Size>,
    /// The octets of all messages, once somebody has asked for them: each login to a maildrop that
    /// has not changed does.
    total_octets: OnceLock<u64>,
}

impl Listing {
    /// The message at `position`, from 0.
    pub(super) fn get(&self, position: usize) -> Option<Found<'_>> {
        let record = self.messages.get(position)?;
        Some(Found {
            listing: self,
            record,
        })
    }

    /// All messages.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = Found<'_>> {
        self.messages.iter().map(|record| Found {
            listing: self,
            record,
        })
    }

    /// Removes the messages that are not to be kept.
    pub(super) fn retain(&mut self, mut is_kept: impl FnMut(Identity<'_>) -> bool) {
        self.total_octets.take();
        let text = &self.text;
        self.messages
            .retain(|record| is_kept(identity(text, record)));
    }

    /// Sets the size of the message at `position`, whose name does not give it.
    pub(super) fn set_size(&mut self, position: usize, size: Size) {
        let place = self.messages.get(position).and_then(place_of_size);
        if let Some(place) = place.and_then(|place| self.sizes.get_mut(place)) {
            *place = size;
            self.total_octets.take();
        }
    }

    /// Whether any size had to be counted.
    pub(super) fn has_counted(&self) -> bool {
        !self.sizes.is_empty()
    }

    /// Takes over the sizes that `earlier` has counted, of all messages that still have the same
    /// file. Returns the positions of those whose size is unknown.
    pub(super) fn take_sizes(&mut self, earlier: &Self) -> Vec<usize> {
        self.total_octets.take();
        let mut unknown = Vec::new();
        let mut others = earlier.messages.iter().peekable();
        for (position, record) in self.messages.iter().enumerate() {
            let Some(place) = place_of_size(record) else {
                continue;
            };
            let wanted = identity(&self.text, record);
            let comes_before = |other: &&Record| {
                let other = identity(&earlier.text, other);
                other != wanted && (other.arrival_secs(), other) < (wanted.arrival_secs(), wanted)
            };
            while others.next_if(comes_before).is_some() {}
            let other = others.next_if(|other| identity(&earlier.text, other) == wanted);
            let taken = other.and_then(|other| earlier.size(other));
            match self.sizes.get_mut(place).zip(taken) {
                Some((size, taken)) if size.is_of_same_file(&taken) => *size = taken,
                Some(_) | None => unknown.push(position),
            }
        }
        unknown
    }

    /// The size of the file of `record`, if its name does not give it.
    fn size(&self, record: &Record) -> Option<Size> {
        self.sizes.get(place_of_size(record)?).copied()
    }

    /// Removes the messages at `positions`.
    pub(super) fn leave_out(&mut self, positions: &BTreeSet<usize>) {
        self.total_octets.take();
        let mut position = 0_usize..;
        self.messages
            .retain(|_| !position.next().is_some_and(|it| positions.contains(&it)));
    }

    /// Fingerprints, to tell whether another reading finds the same names.
    pub(super) fn fingerprints(&self) -> Fingerprints {
        let twins = self.twins.values().flatten();
        let names = self.messages.iter().chain(twins).map(|record| {
            let mut hasher = DefaultHasher::new();
            let name = octets(&self.text, record.start, record.name_octets);
            (record.side == Side::New, name).hash(&mut hasher);
            hasher.finish()
        });
        let mut fingerprints: Vec<u64> = names.collect();
        fingerprints.sort_unstable();
        Fingerprints(fingerprints)
    }

    /// The memory that it uses, in octets.
    pub(super) fn held_octets(&self) -> usize {
        let of_records = |n_records: usize| n_records.saturating_mul(size_of::<Record>());
        let n_twins = self.twins.values().map(Vec::capacity);
        let of_twins = n_twins.map(|n_twins| of_records(n_twins).saturating_add(TWIN_OCTETS));
        let of_sizes = self.sizes.capacity().saturating_mul(size_of::<Size>());
        let of_tables = of_records(self.messages.capacity()).saturating_add(of_sizes);
        of_twins.fold(
            self.text.capacity().saturating_add(of_tables),
            usize::saturating_add,
        )
    }

    fn place(&self, record: &Record) -> Place<'_> {
        Place {
            side: record.side,
            file_name: OsStr::from_bytes(octets(&self.text, record.start, record.name_octets)),
        }
    }
}

/// The names of a reading as numbers, which nearly always differ for different names. Keeping the
/// names themselves would take as much memory as another listing.
#[derive(Debug)]
pub(super) struct Fingerprints(Vec<u64>);

impl Fingerprints {
    /// Whether every name is also in `later`.
    pub(super) fn are_all_in(&self, later: &Self) -> bool {
        let mut later = later.0.iter();
        self.0.iter().all(|name| later.any(|it| it == name))
    }
}

/// Memory for a message with twins in their table: about twice the size of an entry.
const TWIN_OCTETS: usize = 2 * size_of::<(usize, Vec<Record>)>();

impl Summaries for Listing {
    fn len(&self) -> usize {
        self.messages.len()
    }

    fn octets(&self, position: usize) -> Option<u64> {
        let record = self.messages.get(position)?;
        let counted = self.size(record).map(|size| size.sent_octets);
        Some(counted.unwrap_or(record.octets))
    }

    fn total_octets(&self) -> u64 {
        *self.total_octets.get_or_init(|| added_octets(self))
    }

    fn unique_id(&self, position: usize) -> Option<UniqueId<'_>> {
        let record = self.messages.get(position)?;
        name::unique_id(identity(&self.text, record), record.unique_id_octets)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message in the naive model: its names in the order in which they are tried.
    type Model = Vec<(Side, String)>;

    /// Sorts whole names and compares each with the one before it.
    fn naive_listing(names: &[(Side, String)]) -> Vec<Model> {
        let mut names = names.to_vec();
        names.sort_by(|left, right| {
            let key = |(side, name): &(Side, String)| {
                let parsed = Parsed::of(name.as_bytes());
                let identity = parsed.identity.octets().to_vec();
                let is_own = parsed.identity.is_own();
                (parsed.arrival_secs, identity, is_own, *side, name.clone())
            };
            key(left).cmp(&key(right))
        });
        let mut messages: Vec<Model> = Vec::new();
        for name in names {
            match messages.last_mut() {
                Some(last) if of(last) == Identity::of(name.1.as_bytes()) => last.push(name),
                _ => messages.push(vec![name]),
            }
        }
        messages
    }

    /// The identity of the message.
    fn of(message: &Model) -> Identity<'_> {
        Identity::of(message[0].1.as_bytes())
    }

    fn listing(names: &[(Side, String)]) -> Listing {
        let mut gathered = Names::default();
        for (side, name) in names {
            gathered.add(*side, name.as_ref(), 1);
        }
        gathered.sort()
    }

    fn model_of(found: Found<'_>) -> Model {
        let owned = |place: Place<'_>| (place.side, place.file_name.to_str().unwrap().to_owned());
        found.places().map(owned).collect()
    }

    /// Names that differ early, late, not at all, or only in their flags.
    fn any_name() -> impl Strategy<Value = (Side, String)> {
        let side = prop_oneof![Just(Side::New), Just(Side::Cur)];
        let name = prop_oneof![
            "[12]{1,2}[.]0123456789abcdef_0000000[0-9a-f][.]host,S=[12],W=[12](:2,S?)?",
            "1[.]0123456789abcdef_0000000[0-3]([.](host(,S=1)?(,U=[12])?)?)?(:2,S?)?",
            "0?[1-3][.][a-c]{0,2}(,W=[0-9]{0,2})?(:2,[FS]{0,2})?",
            "[a-b]{1,12}(:2,[FS]?)?",
            "1[.]aaaaaaaaaaaaaaaaaaaa[ab]{0,9}",
        ];
        (side, name)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn a_listing_equals_names_sorted_whole(
            names in proptest::collection::vec(any_name(), 0..40)
        ) {
            let (listing, expect) = (listing(&names), naive_listing(&names));
            let found: Vec<Model> = listing.iter().map(model_of).collect();
            prop_assert_eq!(&found, &expect);
            for (position, names) in expect.iter().enumerate() {
                let found = listing.get(position).unwrap();
                let parsed = Parsed::of(names[0].1.as_bytes());
                prop_assert_eq!(found.identity(), parsed.identity);
                prop_assert_eq!(&model_of(found), names);
                prop_assert_eq!(found.place(), found.places().next().unwrap());
                prop_assert_eq!(listing.octets(position), Some(parsed.sent_octets.unwrap_or(0)));
                prop_assert_eq!(
                    listing.unique_id(position),
                    name::unique_id(parsed.identity, parsed.unique_id_octets)
                );
            }
            prop_assert_eq!(listing.len(), expect.len());
            prop_assert!(listing.get(expect.len()).is_none());
        }

        #[test]
        fn leaving_messages_out_does_not_change_the_others(
            names in proptest::collection::vec(any_name(), 0..40), left_out in "[0-9a-c]",
        ) {
            let is_kept = |it: Identity<'_>| !it.octets().contains(&left_out.as_bytes()[0]);
            let sum = |listing: &Listing| {
                let octets = (0..listing.len()).filter_map(|position| listing.octets(position));
                octets.fold(0, u64::saturating_add)
            };
            let mut listing = listing(&names);
            prop_assert_eq!(listing.total_octets(), sum(&listing));
            listing.retain(is_kept);
            prop_assert_eq!(listing.total_octets(), sum(&listing));
            let mut expect = naive_listing(&names);
            expect.retain(|names| is_kept(of(names)));
            let found: Vec<Model> = listing.iter().map(model_of).collect();
            prop_assert_eq!(&found, &expect);
            // Sizes are counted only where no name gives them.
            let unknown = |names: &Model| {
                Parsed::of(names[0].1.as_bytes()).sent_octets.is_none()
            };
            let uncounted = listing.take_sizes(&Listing::default());
            let uncounted: BTreeSet<usize> = uncounted.into_iter().collect();
            for (position, names) in expect.iter().enumerate() {
                prop_assert_eq!(uncounted.contains(&position), unknown(names));
                let before = listing.octets(position);
                listing.set_size(position, Size { sent_octets: 7, ..Size::default() });
                let after = if unknown(names) { Some(7) } else { before };
                prop_assert_eq!(listing.octets(position), after);
                prop_assert_eq!(listing.total_octets(), sum(&listing));
            }
            listing.leave_out(&uncounted);
            prop_assert_eq!(listing.total_octets(), sum(&listing));
            expect.retain(|names| !unknown(names));
            let found: Vec<Model> = listing.iter().map(model_of).collect();
            prop_assert_eq!(&found, &expect);
        }

        /// A size is taken over if the message had the same file, and only if the name still does
        /// not give it.
        #[test]
        fn sizes_are_taken_over_by_message_and_inode(
            earlier in proptest::collection::vec((any_name(), 1..3_u64), 0..30),
            now in proptest::collection::vec((any_name(), 1..3_u64), 0..30),
            kept in proptest::collection::vec(any::<bool>(), 30),
        ) {
            let listing = |files: &[((Side, String), u64)]| {
                let mut names = Names::default();
                for ((side, name), inode) in files {
                    names.add(*side, name.as_ref(), *inode);
                }
                names.sort()
            };
            // Some files are in both.
            let both = earlier.iter().zip(&kept).filter(|(_, is_kept)| **is_kept);
            let now: Vec<_> = both.map(|(file, _)| file.clone()).chain(now).collect();
            let (mut earlier, mut now) = (listing(&earlier), listing(&now));
            now.total_octets();
            for (number, position) in (1..).zip(earlier.take_sizes(&Listing::default())) {
                let inode = earlier.get(position).unwrap().counted().unwrap().inode;
                let size = Size { sent_octets: number, stored_octets: number, inode };
                earlier.set_size(position, size);
            }
            let all: Vec<usize> = now.take_sizes(&Listing::default());
            let unknown: BTreeSet<usize> = now.take_sizes(&earlier).into_iter().collect();
            for position in 0..now.len() {
                let message = now.get(position).unwrap();
                let Some(size) = message.counted() else {
                    prop_assert!(!unknown.contains(&position));
                    continue;
                };
                prop_assert!(all.contains(&position));
                let other = earlier.iter().find(|it| it.identity() == message.identity());
                let other = other.and_then(|it| it.counted());
                let taken = other.filter(|other| other.inode == size.inode);
                prop_assert_eq!(unknown.contains(&position), taken.is_none());
                prop_assert_eq!(size.sent_octets, taken.map_or(0, |it| it.sent_octets));
            }
            let octets = (0..now.len()).filter_map(|position| now.octets(position));
            prop_assert_eq!(now.total_octets(), octets.fold(0, u64::saturating_add));
        }

        #[test]
        fn fingerprints_tell_whether_a_name_is_missing(
            names in proptest::collection::btree_set(any_name(), 0..20),
            others in proptest::collection::btree_set(any_name(), 0..5),
        ) {
            let of = |names: &BTreeSet<(Side, String)>| {
                listing(&names.iter().cloned().collect::<Vec<_>>()).fingerprints()
            };
            let all: BTreeSet<_> = names.union(&others).cloned().collect();
            prop_assert!(of(&names).are_all_in(&of(&all)));
            prop_assert_eq!(of(&all).are_all_in(&of(&names)), others.is_subset(&names));
        }
    }

    #[test]
    fn a_message_takes_its_name_and_24_octets_and_as_many_for_a_size_it_does_not_give() {
        for (sizes, octets) in [(",S=1,W=1", 24), (",S=1", 48)] {
            let names: Vec<(Side, String)> = (0..1_000)
                .map(|number| {
                    let name = format!("1.0123456789abcdef_{number:08x}.localhost{sizes}");
                    (Side::New, name)
                })
                .collect();
            let text: usize = names.iter().map(|(_, name)| name.len()).sum();
            assert_eq!(listing(&names).held_octets(), text + octets * 1_000);
        }
    }

    /// SEC-9: reading a directory stops as soon as the names read so far take too much memory.
    #[test]
    fn memory_for_names_is_reserved_before_they_are_sorted() {
        const OCTETS_MAX: u64 = 100_000;
        let quota = Quota::new(OCTETS_MAX);
        let mut listed = Listed::nothing(&quota);
        let mut names = Names::default();
        let octets_max = usize::try_from(OCTETS_MAX).unwrap() + LISTED_OCTETS_FREE;
        while names.sorting_octets() <= octets_max {
            assert!(listed.covers_reading(&names));
            let wanted = names.sorting_octets().saturating_sub(LISTED_OCTETS_FREE);
            assert!(u64::try_from(wanted).unwrap() <= quota.octets());
            names.add(Side::New, "1.a.localhost,S=1,W=1".as_ref(), 1);
            names.add(Side::Cur, "1.a.localhost".as_ref(), 1);
        }
        assert!(!listed.covers_reading(&names));
        drop(listed);
        assert_eq!(quota.octets(), 0);
    }
}
