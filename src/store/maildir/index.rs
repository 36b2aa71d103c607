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
//!   changed for `INDEX_QUIET` before they were read: every later change then falls into a later
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
//! and no listing is used again. When this daemon adds a message or removes one, the listing of
//! that mailbox is out of date in any case, also one that is being read at that moment.
//!
//! That a message was hidden while it was being committed (I4) does not show in the times: showing
//! it later is a change in this daemon, not in the directory. So a listing from which anything was
//! left out is not used again. The opposite case needs no check: a message that was shown has been
//! acknowledged or was found at a start, and never becomes hidden. A mailbox that was removed has
//! no directories, or different ones.
//!
//! # Sizes that are counted
//! A name without `W=` does not give the size of its message, so the file is opened and counted.
//! That takes ten times as long as reading the name. By the rules of Maildir a file never changes
//! while it has its name, and no other file ever gets that name. So the size is remembered with the
//! listing, and stays useful when the listing is out of date: the next one takes over the sizes of
//! the messages that are still there, and only the others are counted.
//!
//! A program may break those rules. A size is taken over only if the message still has the same
//! inode, which the directory gives with each name: a file that was written elsewhere and renamed
//! over the old one is counted. A file that was edited in place, or that has the inode of one that
//! was there before, is listed with the old size: after a second such rename, or after the file was
//! removed, file systems often give the same inode. Nothing short of looking at each file would
//! tell, which takes as long as reading the directory several times. But opening the message
//! compares the length of the file with the one that was counted (`view.rs`): RETR sends it whole
//! and announces its true size, and the sizes of that mailbox are counted again for the next
//! listing.
//!
//! Scripts copy files directly into `new`, where they can be counted while they grow. So a file
//! that has been modified within `INDEX_QUIET` is counted again the next time, and the listing is
//! not used again.
//!
//! # Who uses it
//! Sessions and looks use the listings and enter them. A listing that a look has entered is dropped
//! before any that a session has used, however old: a page that goes through all mailboxes takes
//! only the room that sessions leave. Otherwise the least recently used listing of sessions, or the
//! one that looks have entered first, is dropped when there is no more room. Mail that nobody reads
//! uses no memory.
//!
//! # Invariants
//! - A listing that [`Remembered::still_holds`] equals what a new reading would give, except for
//!   the sizes of files whose programs break the rules.
//! - The remembered listings together never use more memory than the index has room for.
//!
//! # Failures
//! None: if the times cannot be read, only sizes are remembered.
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
    store::limits::{INDEX_CLOCK_TOLERANCE, INDEX_MAILBOX_OCTETS},
};

use super::{
    layout::Maildir,
    listing::{Listing, Side},
    times::{self, Shows},
};

/// How a mailbox is read. The listings of the first kind are dropped first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Access {
    /// Possibly at the same time as a session.
    Shared,
    /// By its only session.
    Exclusive,
}

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
        let times = [self.new, self.cur].map(|stamp| stamp.modified.max(stamp.changed));
        times
            .iter()
            .all(|time| times::is_quiet(*time, self.unix_time))
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
#[derive(Clone, Debug)]
pub(super) struct Remembered {
    listing: Arc<Listing>,
    /// `None` if only the counted sizes can be used.
    sight: Option<Sight>,
}

impl Remembered {
    /// Makes `listing` ready to be remembered. It must have been read after `sight`, if that is
    /// given, and be complete. `None` when it would be useless: a change could go unnoticed, and no
    /// size was counted.
    pub(super) fn new(listing: &Arc<Listing>, sight: Option<Sight>) -> Option<Self> {
        let sight = sight.filter(Sight::is_quiet);
        let is_useful = sight.is_some() || listing.has_counted();
        is_useful.then(|| Self {
            listing: Arc::clone(listing),
            sight,
        })
    }

    /// The listing, if it still describes the maildrop as it is at `now`.
    pub(super) fn still_holds(&self, now: &Sight) -> Option<Arc<Listing>> {
        let holds = self.sight.is_some_and(|sight| now.equals(&sight));
        holds.then(|| Arc::clone(&self.listing))
    }

    /// The listing, of which only the counted sizes may be used.
    pub(super) fn earlier(&self) -> &Listing {
        &self.listing
    }

    /// Its share of the memory of the index.
    fn held_octets(&self) -> usize {
        self.listing
            .held_octets()
            .saturating_add(INDEX_MAILBOX_OCTETS)
    }
}

/// Who has used a listing last, and a number that increases with each insertion.
type Rank = (Access, u64);

/// The listings that are remembered. Drop what its methods return only after unlocking the index:
/// freeing so much memory is a system call (L1).
#[derive(Debug)]
pub(super) struct Index {
    listings: HashMap<MailboxName, (Rank, Remembered)>,
    /// The mailboxes in the order in which they are dropped.
    order: BTreeMap<Rank, MailboxName>,
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
        let (rank, remembered) = self.listings.remove(mailbox)?;
        self.order.remove(&rank);
        self.held_octets = self.held_octets.saturating_sub(remembered.held_octets());
        Some(remembered)
    }

    /// Notes that what is remembered of `mailbox` does not describe it any more. Returns what had
    /// to be dropped: all of it, unless sizes were counted.
    pub(super) fn outdate(&mut self, mailbox: &MailboxName) -> Option<Remembered> {
        let (_, remembered) = self.listings.get_mut(mailbox)?;
        remembered.sight = None;
        let is_useless = !remembered.listing.has_counted();
        is_useless.then(|| self.take(mailbox)).flatten()
    }

    /// Notes that a session has used what is remembered of `mailbox`.
    pub(super) fn use_again(&mut self, mailbox: &MailboxName) {
        let rank = self.next_rank(Access::Exclusive);
        if let Some((former, _)) = self.listings.get_mut(mailbox) {
            self.order.remove(former);
            *former = rank;
            self.order.insert(rank, mailbox.clone());
        }
    }

    /// Remembers the maildrop of `mailbox`, as used by a session if one has used it before. Returns
    /// what had to be dropped for it, which is `remembered` itself when there is no room for it.
    pub(super) fn enter(
        &mut self,
        mailbox: &MailboxName,
        remembered: Remembered,
        access: Access,
    ) -> Vec<Remembered> {
        let former = self.listings.get(mailbox).map(|(rank, _)| *rank);
        let rank = former
            .filter(|(of_former, _)| *of_former > access)
            .unwrap_or_else(|| self.next_rank(access));
        let mut gone: Vec<Remembered> = self.take(mailbox).into_iter().collect();
        let octets = remembered.held_octets();
        if octets > self.octets_max {
            gone.push(remembered);
            return gone;
        }
        while self.held_octets.saturating_add(octets) > self.octets_max {
            let first = self.order.first_key_value();
            let Some((_, dropped)) = first.filter(|(first, _)| first.0 <= rank.0) else {
                gone.push(remembered);
                return gone;
            };
            let dropped = dropped.clone();
            gone.extend(self.take(&dropped));
        }
        self.order.insert(rank, mailbox.clone());
        self.listings.insert(mailbox.clone(), (rank, remembered));
        self.held_octets = self.held_octets.saturating_add(octets);
        gone
    }

    fn next_rank(&mut self, access: Access) -> Rank {
        let number = self.next_number;
        self.next_number = number.wrapping_add(1);
        (access, number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Hands,
        fs::Identity,
        store::{limits::INDEX_QUIET, maildir::listing::Names},
    };

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
        listing_of(n_messages, ",S=1,W=1")
    }

    fn listing_of(n_messages: usize, sizes: &str) -> Arc<Listing> {
        let mut names = Names::default();
        for number in 0..n_messages {
            let name = format!("{number:02}.x.host{sizes}");
            names.add(Side::New, name.as_ref(), 1);
        }
        Arc::new(names.sort())
    }

    /// The memory for a remembered listing of so many messages.
    fn octets_of(n_messages: usize) -> usize {
        remembered(n_messages).held_octets()
    }

    fn remembered(n_messages: usize) -> Remembered {
        let sight = sight(&Clock::system(), LONG);
        Remembered::new(&listing(n_messages), Some(sight)).unwrap()
    }

    /// Which of the first mailboxes are remembered. Forgets them.
    fn left(index: &mut Index, n_mailboxes: usize) -> Vec<bool> {
        let left = (0..n_mailboxes).map(|it| index.take(&mailbox(it)).is_some());
        let left = left.collect();
        assert_eq!(
            (index.held_octets, index.order.len(), index.listings.len()),
            (0, 0, 0)
        );
        left
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
            let is_remembered = |sight| Remembered::new(&listing(1), Some(sight)).is_some();
            assert_eq!(is_remembered(new), fits, "{age:?}");
            // The same for the other directory, and for the other time.
            let cur = Sight {
                new: new.cur,
                cur: new.new,
                ..new
            };
            assert_eq!(is_remembered(cur), fits, "{age:?}");
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
            let remembered = Remembered::new(&listing(1), Some(before)).unwrap();
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
            let gone = index.enter(&mailbox(number), remembered(10), Access::Exclusive);
            assert!(gone.is_empty());
        }
        index.use_again(&mailbox(0));
        index.use_again(&mailbox(7));
        let gone = index.enter(&mailbox(3), remembered(11), Access::Exclusive);
        assert_eq!(gone.len(), 2);
        assert_eq!(left(&mut index, 4), [true, false, false, true]);
    }

    /// However many mailboxes a page goes through, sessions find their listings.
    #[test]
    fn looks_drop_only_what_no_session_has_used() {
        use Access::{Exclusive, Shared};
        let mut index = Index::with_room(3 * octets_of(10));
        let mut enter = |number, access| {
            let gone = index.enter(&mailbox(number), remembered(10), access);
            gone.len()
        };
        assert_eq!(
            (enter(0, Exclusive), enter(1, Shared), enter(2, Shared)),
            (0, 0, 0)
        );
        assert_eq!(enter(3, Shared), 1, "the first of the looks");
        // A look at a mailbox of a session: what it enters is still that of a session.
        assert_eq!(enter(0, Shared), 1);
        assert_eq!(enter(4, Exclusive), 1, "a look");
        index.use_again(&mailbox(3));
        let gone = index.enter(&mailbox(5), remembered(10), Shared);
        assert_eq!(gone.len(), 1, "itself");
        assert_eq!(left(&mut index, 6), [true, false, false, true, true, false]);
    }

    #[test]
    fn of_a_listing_that_is_out_of_date_only_counted_sizes_are_kept() {
        let now = sight(&Clock::system(), LONG);
        let (named, counted) = (listing(10), listing_of(10, ""));
        let mut index = Index::with_room(1_000_000);
        let is_entered = |index: &mut Index, listing, sight| {
            let remembered = Remembered::new(listing, sight);
            remembered.is_some_and(|it| {
                assert!(index.enter(&mailbox(0), it, Access::Exclusive).is_empty());
                true
            })
        };
        let holds = |index: &Index| index.look(&mailbox(0)).unwrap().still_holds(&now).is_some();
        assert!(is_entered(&mut index, &named, Some(now)) && holds(&index));
        assert!(index.outdate(&mailbox(0)).is_some());
        assert!(index.look(&mailbox(0)).is_none());
        assert!(is_entered(&mut index, &counted, Some(now)) && holds(&index));
        assert!(index.outdate(&mailbox(0)).is_none());
        assert!(!holds(&index));
        assert!(!is_entered(&mut index, &named, None));
        assert!(index.take(&mailbox(0)).is_some());
        assert!(is_entered(&mut index, &counted, None) && !holds(&index));
    }

    #[test]
    fn a_maildrop_larger_than_the_index_displaces_nothing() {
        let mut index = Index::with_room(octets_of(17));
        let access = Access::Exclusive;
        assert!(index.enter(&mailbox(0), remembered(5), access).is_empty());
        let gone = index.enter(&mailbox(1), remembered(18), access);
        assert_eq!(gone.len(), 1);
        assert_eq!(left(&mut index, 2), [true, false]);
    }

    #[test]
    fn no_order_of_use_exceeds_the_memory_of_the_index() {
        let mut rng = crate::testing::rng::Rng::new(1);
        let room = octets_of(85);
        let mut index = Index::with_room(room);
        for _ in 0..2_000 {
            let number = mailbox(rng.below(30));
            let access = if rng.chance(50) {
                Access::Exclusive
            } else {
                Access::Shared
            };
            match rng.below(10) {
                0..3 => drop(index.take(&number)),
                3 => index.use_again(&number),
                _ => drop(index.enter(&number, remembered(rng.below(40)), access)),
            }
            let octets = index.listings.values().map(|(_, it)| it.held_octets());
            assert_eq!(index.held_octets, octets.sum::<usize>());
            assert!(index.held_octets <= room && index.order.len() == index.listings.len());
        }
    }
}
