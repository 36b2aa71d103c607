//! Listings of maildrops, kept in memory from one login to the next.
//!
//! Reading a directory of 100,000 entries, sorting them and making their unique-ids takes a hundred
//! times as long as checking that nothing has changed. This file remembers listings and decides
//! when one can be used again. Its only system calls read the times. It does not deal with
//! durability, which is settled before a listing is remembered.
//!
//! # Theory of operation
//! The system changes the times of a directory whenever it adds or removes an entry. So a directory
//! that still has the times from before it was read also has the entries that were read. There are
//! two exceptions, and in both of them the listing is not used:
//!
//! - *A change in the same tick as the reading.* Times are coarse: milliseconds at best, whole
//!   seconds on some file systems. A change after the reading, but in the same tick as the change
//!   before it, leaves the same time. So a listing is remembered only if the directories had not
//!   changed for [`INDEX_QUIET`] before they were read: every later change then falls into a later
//!   tick.
//! - *A clock that is set back.* A later change can then have an earlier time, or even the same
//!   time. The monotonic clock reveals this: if it and the wall clock differ by more than
//!   [`INDEX_CLOCK_TOLERANCE`] about how long ago the reading was, the listing is forgotten.
//!   `INDEX_QUIET` includes that tolerance.
//!
//! Both times of an inode are compared, because programs that copy directories set the modification
//! time. The inode number is compared too, because the directory may have been replaced.
//!
//! On FUSE and network file systems the times do not come from this machine's kernel (`trust.rs`),
//! and nothing is remembered. A delivery by this daemon always makes it forget the listing of that
//! mailbox, and a listing that is being read at that moment is not remembered.
//!
//! Facts that do not show in the times are not remembered:
//! - a size that was counted because the name has no `W=`: the file can be rewritten in place
//!   without a change to the directory. Such a maildrop is read again at each login.
//! - that a message was hidden while it was being committed (I4): showing it later is a change in
//!   this daemon, not in the directory. A listing from which anything was left out is not kept.
//!
//! The opposite case needs no check: a message that was shown has been acknowledged or was found at
//! a start, and never becomes hidden. A mailbox that was removed has no directories, or different
//! ones.
//!
//! A login has the maildrop to itself. It takes the listing out of the index, and puts it back if
//! it is still valid. So the order of insertion is the order of use, and when there is no more room
//! the least recently used mailbox is dropped. Only logins insert listings: mail that nobody
//! fetches uses no memory.
//!
//! # Invariants
//! - A listing that [`Remembered::still_holds`] equals what a new reading would give.
//! - The remembered listings together never use more memory than the index has room for.
//!
//! # Failures
//! None: if the times cannot be read, nothing is remembered.
//!
//! # Known limits
//! If the clock is set back and forth between two logins to a mailbox, another program's change is
//! missed when its time equals, to the nanosecond, the time of an earlier change.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    clock::Clock,
    fs::{Fs, Kind, Stamp},
    mail::MailboxName,
    store::limits::{INDEX_CLOCK_TOLERANCE, INDEX_MAILBOX_OCTETS, INDEX_QUIET},
};

use super::{
    layout::Maildir,
    listing::{Listing, Side},
    times::{self, Shows},
};

/// The state of a maildrop just before it was read or checked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    /// Every later change is recorded with this time or a later one.
    file_time: Duration,
    unix_time: Duration,
    instant: Instant,
    new: Stamp,
    cur: Stamp,
}

impl Sight {
    /// Reads the times of the directories of `maildir`. `None` when one of them is missing, is not
    /// a directory, or cannot be examined.
    pub(super) fn of(maildir: &Maildir, fs: &dyn Fs, clock: &Clock) -> Option<Self> {
        let file_time = clock.file_time();
        let (unix_time, instant) = (clock.unix_time(), clock.now());
        let stamp = |side| match fs.metadata(&maildir.side(side)) {
            Ok(metadata) if metadata.kind == Kind::Directory => Some(metadata.stamp),
            Ok(_) | Err(_) => None,
        };
        Some(Self {
            file_time,
            unix_time,
            instant,
            new: stamp(Side::New)?,
            cur: stamp(Side::Cur)?,
        })
    }

    /// The identity and the times of the directory `side`.
    pub(super) fn stamp(&self, side: Side) -> Stamp {
        match side {
            Side::Cur => self.cur,
            Side::New => self.new,
        }
    }

    /// Whether every change to the directory `side` after this moment shows in its times, or shows
    /// only from the next tick on, or nobody knows.
    pub(super) fn shows_changes(&self, side: Side) -> Shows {
        times::shows_changes(&self.stamp(side), self.file_time)
    }

    /// Whether every change after this moment will show in the times.
    fn is_quiet(&self) -> bool {
        let quiet_since = self.unix_time.checked_sub(INDEX_QUIET);
        let quiet_since = quiet_since.and_then(|time| i128::try_from(time.as_nanos()).ok());
        let times = [self.new, self.cur].map(|stamp| stamp.modified.max(stamp.changed));
        quiet_since.is_some_and(|quiet_since| times.iter().all(|time| *time < quiet_since))
    }

    /// Whether the directories are unchanged since `earlier`, provided that it was quiet.
    fn equals(&self, earlier: &Self) -> bool {
        let elapsed = self.instant.checked_duration_since(earlier.instant);
        let was_set = elapsed
            .zip(self.unix_time.checked_sub(earlier.unix_time))
            .is_none_or(|(true_elapsed, elapsed)| {
                true_elapsed.abs_diff(elapsed) > INDEX_CLOCK_TOLERANCE
            });
        !was_set && (self.new, self.cur) == (earlier.new, earlier.cur)
    }
}

/// A listing and the state just before it was read.
#[derive(Debug)]
pub(super) struct Remembered {
    listing: Arc<Listing>,
    sight: Sight,
}

impl Remembered {
    /// Makes `listing` ready to be remembered. It must be complete, without counted sizes, and read
    /// after `sight`. `None` when a change could go unnoticed.
    pub(super) fn new(listing: &Arc<Listing>, sight: Sight) -> Option<Self> {
        sight.is_quiet().then(|| Self {
            listing: Arc::clone(listing),
            sight,
        })
    }

    /// The listing, if it still describes the maildrop as it is at `now`.
    pub(super) fn still_holds(&self, now: &Sight) -> Option<Arc<Listing>> {
        now.equals(&self.sight).then(|| Arc::clone(&self.listing))
    }

    /// Its share of the memory of the index.
    fn held_octets(&self) -> usize {
        self.listing
            .held_octets()
            .saturating_add(INDEX_MAILBOX_OCTETS)
    }
}

/// The listings that are remembered. Drop what its methods return only after unlocking the index:
/// freeing so much memory is a system call (L1).
#[derive(Debug)]
pub(super) struct Index {
    listings: HashMap<MailboxName, (u64, Remembered)>,
    /// The mailboxes by the number of their insertion.
    order: BTreeMap<u64, MailboxName>,
    next_number: u64,
    held_octets: usize,
    octets_max: usize,
}

impl Index {
    /// An index that uses at most `octets_max`.
    pub(super) fn with_room(octets_max: usize) -> Self {
        Self {
            listings: HashMap::new(),
            order: BTreeMap::new(),
            next_number: 0,
            held_octets: 0,
            octets_max,
        }
    }

    /// What is remembered of `mailbox`.
    pub(super) fn look(&self, mailbox: &MailboxName) -> Option<&Remembered> {
        self.listings.get(mailbox).map(|(_, remembered)| remembered)
    }

    /// Takes out what is remembered of `mailbox`.
    pub(super) fn take(&mut self, mailbox: &MailboxName) -> Option<Remembered> {
        let (number, remembered) = self.listings.remove(mailbox)?;
        self.order.remove(&number);
        self.held_octets = self.held_octets.saturating_sub(remembered.held_octets());
        Some(remembered)
    }

    /// Remembers the maildrop of `mailbox` as the most recently used. Returns what had to be
    /// dropped for it, which is `remembered` itself when it is too large.
    pub(super) fn enter(
        &mut self,
        mailbox: &MailboxName,
        remembered: Remembered,
    ) -> Vec<Remembered> {
        let mut gone: Vec<Remembered> = self.take(mailbox).into_iter().collect();
        let octets = remembered.held_octets();
        if octets > self.octets_max {
            gone.push(remembered);
            return gone;
        }
        while self.held_octets.saturating_add(octets) > self.octets_max {
            let Some((_, oldest)) = self.order.first_key_value() else {
                break;
            };
            let oldest = oldest.clone();
            gone.extend(self.take(&oldest));
        }
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        self.order.insert(number, mailbox.clone());
        self.listings.insert(mailbox.clone(), (number, remembered));
        self.held_octets = self.held_octets.saturating_add(octets);
        gone
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Hands, fs::Identity, store::maildir::listing::Names};

    const SEC: Duration = Duration::from_secs(1);
    const LONG: Duration = Duration::from_hours(1);

    fn mailbox(number: usize) -> MailboxName {
        MailboxName::from_canonical(&format!("user{number}"), "example.org").unwrap()
    }

    fn stamp(changed: Duration) -> Stamp {
        let changed = i128::try_from(changed.as_nanos()).unwrap();
        Stamp {
            identity: Identity {
                device: 1,
                inode: 2,
            },
            modified: 0,
            changed,
        }
    }

    /// Directories that were changed `age` ago.
    fn sight(clock: &Clock, age: Duration) -> Sight {
        let new = stamp(clock.unix_time().saturating_sub(age));
        Sight {
            file_time: clock.file_time(),
            unix_time: clock.unix_time(),
            instant: clock.now(),
            new,
            cur: stamp(Duration::ZERO),
        }
    }

    fn listing(n_messages: usize) -> Arc<Listing> {
        let mut names = Names::default();
        for number in 0..n_messages {
            names.add(Side::New, format!("{number:02}.x.host,S=1,W=1").as_ref());
        }
        Arc::new(names.sort())
    }

    /// The memory for a remembered listing of so many messages.
    fn octets_of(n_messages: usize) -> usize {
        remembered(n_messages).held_octets()
    }

    fn remembered(n_messages: usize) -> Remembered {
        Remembered::new(&listing(n_messages), sight(&Clock::system(), LONG)).unwrap()
    }

    #[test]
    fn only_directories_left_alone_for_a_while_are_remembered() {
        let clock = Clock::turned_by(Arc::new(Hands::new()));
        for (age, fits) in [
            (Duration::ZERO, false),
            (INDEX_QUIET, false),
            (INDEX_QUIET + Duration::from_nanos(1), true),
            (LONG, true),
        ] {
            let new = sight(&clock, age);
            assert_eq!(Remembered::new(&listing(1), new).is_some(), fits, "{age:?}");
            // The same for the other directory, and for the other time.
            let cur = Sight {
                new: new.cur,
                cur: new.new,
                ..new
            };
            assert_eq!(Remembered::new(&listing(1), cur).is_some(), fits, "{age:?}");
            let mut modified = new;
            modified.new.modified = new.new.changed;
            modified.new.changed = 0;
            assert_eq!(modified.is_quiet(), fits, "{age:?}");
        }
    }

    #[test]
    fn a_listing_is_valid_until_the_directories_or_the_clock_change() {
        type Change = fn(&mut Sight, &Hands);
        let cases: [(Change, bool); 10] = [
            (|_, _| {}, true),
            (|_, hands| hands.pass(LONG), true),
            (|sight, _| sight.new.modified += 1, false),
            (|sight, _| sight.new.changed -= 1, false),
            (|sight, _| sight.cur.changed += 1, false),
            (|sight, _| sight.new.identity.inode += 1, false),
            (|sight, _| sight.cur.identity.device += 1, false),
            (|_, hands| hands.set_back(SEC), false),
            (|_, hands| hands.set_forward(SEC), false),
            (|_, hands| hands.set_back(INDEX_CLOCK_TOLERANCE), true),
        ];
        for (case, (change, holds)) in cases.into_iter().enumerate() {
            let hands = Arc::new(Hands::new());
            let clock = Clock::turned_by(Arc::clone(&hands));
            let before = sight(&clock, LONG);
            let remembered = Remembered::new(&listing(1), before).unwrap();
            hands.pass(SEC);
            let mut now = before;
            change(&mut now, &hands);
            (now.unix_time, now.instant) = (clock.unix_time(), clock.now());
            assert_eq!(remembered.still_holds(&now).is_some(), holds, "{case}");
        }
    }

    #[test]
    fn the_least_recently_used_maildrop_is_dropped() {
        let mut index = Index::with_room(3 * octets_of(10));
        for number in 0..3 {
            assert!(index.enter(&mailbox(number), remembered(10)).is_empty());
        }
        // Used again.
        let first = index.take(&mailbox(0)).unwrap();
        assert!(index.enter(&mailbox(0), first).is_empty());
        assert_eq!(index.enter(&mailbox(3), remembered(11)).len(), 2);
        let left: Vec<bool> = (0..4)
            .map(|it| index.take(&mailbox(it)).is_some())
            .collect();
        assert_eq!(left, [true, false, false, true]);
        assert_eq!(
            (index.held_octets, index.order.len(), index.listings.len()),
            (0, 0, 0)
        );
    }

    #[test]
    fn a_maildrop_larger_than_the_index_displaces_nothing() {
        let mut index = Index::with_room(octets_of(17));
        assert!(index.enter(&mailbox(0), remembered(5)).is_empty());
        let gone = index.enter(&mailbox(1), remembered(18));
        assert_eq!(gone.len(), 1);
        assert!(index.take(&mailbox(1)).is_none());
        assert!(index.take(&mailbox(0)).is_some());
    }

    #[test]
    fn no_order_of_use_exceeds_the_memory_of_the_index() {
        let mut rng = crate::testing::rng::Rng::new(1);
        let room = octets_of(85);
        let mut index = Index::with_room(room);
        for _ in 0..2_000 {
            let number = mailbox(rng.below(30));
            if rng.chance(30) {
                drop(index.take(&number));
            } else {
                drop(index.enter(&number, remembered(rng.below(40))));
            }
            let octets = index.listings.values().map(|(_, it)| it.held_octets());
            assert_eq!(index.held_octets, octets.sum::<usize>());
            assert!(index.held_octets <= room && index.order.len() == index.listings.len());
        }
    }
}
