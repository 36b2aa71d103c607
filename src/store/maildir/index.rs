//! Listings of maildrops, kept in memory from one login to the next.
//!
//! To read a directory of 100,000 entries, sort them and make unique-ids of them takes a hundred
//! times as long as to see that nothing changed since the last time. This file remembers listings
//! and says when one may be used again. It makes no system call but to ask for the times, and knows
//! nothing of what is durable: that is settled before a listing is remembered.
//!
//! # Theory of operation
//! The system changes the times of a directory whenever it adds or removes an entry. So when a
//! directory has the times that it had before it was read, it has the entries that were read. There
//! are two gaps in that, and both are closed by not using the listing:
//!
//! - *A change in the same tick as the reading.* Times are coarse: milliseconds at best, whole
//!   seconds on some file systems. What changes after the reading but in the tick of the change
//!   before it leaves the same time behind. So a listing is remembered only when the directories,
//!   before they were read, had been left alone for [`INDEX_QUIET`]: every later change comes in a
//!   later tick.
//! - *A clock that is set back.* Then a later change may have an earlier time, even the same one.
//!   The monotonic clock tells: when it and the wall clock do not agree about how long ago the
//!   reading was, to [`INDEX_CLOCK_TOLERANCE`], the listing is forgotten. The tolerance is part of
//!   what `INDEX_QUIET` covers.
//!
//! Both times of an inode are compared, since programs that copy directories set the first one, and
//! its number too, since somebody may put another directory in its place.
//!
//! Where times do not come from this machine's kernel, on FUSE and on network file systems
//! (`trust.rs`), nothing is remembered. What this daemon puts into a mailbox makes it forget the
//! listing in any case, and one that is being read meanwhile is not remembered.
//!
//! What the times do not tell is not remembered:
//! - a size that was counted, because its file has no `W=` in its name: the file may be rewritten
//!   in its place without a change to the directory. Such a maildrop is read anew each time.
//! - that a message was hidden while it was being committed (I4): it is shown later by a change in
//!   this daemon, not in the directory. A listing from which anything was left out is not kept.
//!
//! The other way round nothing is to be checked: a message that was shown is acknowledged or was
//! found at a start, and never becomes hidden. A mailbox that was removed has no directories, or
//! other ones.
//!
//! A listing is taken out of the index by the login that looks at it, which has the maildrop to
//! itself, and put back when it still holds. So the order of entering is the order of use, and when
//! there is no more room the mailbox that was not used for the longest time goes. Only logins enter
//! listings: mail that nobody fetches takes no memory.
//!
//! # Invariants
//! - A listing that [`Remembered::still_holds`] equals what a reading would give.
//! - The listings remembered take no more in all than the index has room for.
//!
//! # Failures
//! None: when the times cannot be told, nothing is remembered.
//!
//! # Known limits
//! A clock that is set back and forth between two logins to a mailbox hides a change of another
//! program that falls, to the nanosecond, on the time of an earlier one.

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

/// The moment before a maildrop was read, or looked at.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    /// Every change from now on is written down with this time or a later one.
    file_time: Duration,
    unix_time: Duration,
    instant: Instant,
    new: Stamp,
    cur: Stamp,
}

impl Sight {
    /// Looks at the directories of `maildir`; `None` when one of them is missing, is something
    /// else, or cannot be looked at.
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

    /// Which directory `side` was and when it was changed.
    pub(super) fn stamp(&self, side: Side) -> Stamp {
        match side {
            Side::Cur => self.cur,
            Side::New => self.new,
        }
    }

    /// Whether every change after this moment to the directory `side` will show in its times, or
    /// would show at the next tick, or nobody can tell.
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

    /// Whether the directories are as they were at `earlier`, provided that it was quiet.
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

/// A listing and the moment before it was read.
#[derive(Debug)]
pub(super) struct Remembered {
    listing: Arc<Listing>,
    sight: Sight,
}

impl Remembered {
    /// What may be remembered of `listing`, complete, with no size counted, and read after `sight`;
    /// `None` when a change could go unnoticed.
    pub(super) fn new(listing: &Arc<Listing>, sight: Sight) -> Option<Self> {
        sight.is_quiet().then(|| Self {
            listing: Arc::clone(listing),
            sight,
        })
    }

    /// The listing if it is still that of the maildrop as it is at `now`.
    pub(super) fn still_holds(&self, now: &Sight) -> Option<Arc<Listing>> {
        now.equals(&self.sight).then(|| Arc::clone(&self.listing))
    }

    /// What it takes of the room of the index.
    fn held_octets(&self) -> usize {
        self.listing
            .held_octets()
            .saturating_add(INDEX_MAILBOX_OCTETS)
    }
}

/// The listings that are remembered. Whatever its methods give back is to be dropped after the lock
/// on the index has been given back: to free so much memory is a system call (L1).
#[derive(Debug)]
pub(super) struct Index {
    listings: HashMap<MailboxName, (u64, Remembered)>,
    /// The mailboxes by the number that they were entered with.
    order: BTreeMap<u64, MailboxName>,
    next_number: u64,
    held_octets: usize,
    octets_max: usize,
}

impl Index {
    /// An index that takes `octets_max` at most.
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

    /// Remembers the maildrop of `mailbox` as the one used last; gives back what had to go for it,
    /// which is `remembered` itself when it is too large.
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

    /// A look at directories that were changed some time ago.
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

    /// What a remembered listing of so many messages takes.
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
    fn a_listing_holds_as_long_as_directories_and_clock_go_on_as_they_were() {
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
    fn the_maildrop_used_longest_ago_makes_room() {
        let mut index = Index::with_room(3 * octets_of(10));
        for number in 0..3 {
            assert!(index.enter(&mailbox(number), remembered(10)).is_empty());
        }
        // Used once more.
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
    fn a_maildrop_larger_than_all_room_pushes_nobody_out() {
        let mut index = Index::with_room(octets_of(17));
        assert!(index.enter(&mailbox(0), remembered(5)).is_empty());
        let gone = index.enter(&mailbox(1), remembered(18));
        assert_eq!(gone.len(), 1);
        assert!(index.take(&mailbox(1)).is_none());
        assert!(index.take(&mailbox(0)).is_some());
    }

    #[test]
    fn no_order_of_use_takes_more_than_the_room() {
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
