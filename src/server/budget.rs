//! The memory that all sessions together may hold in flight (SEC-9).
//!
//! Each session may hold a little without asking: 64 KiB with its stack, and with TLS 96 KiB, for
//! there a whole record has to be held as it came and as it was opened. Whatever more it wants
//! comes out of one [`Budget`], and a session that gets nothing goes on with what it has: its
//! buffers stay small, which costs it more system calls and nobody else any memory.
//!
//! # What a session holds at most
//!
//! | phase | without asking | out of the budget |
//! |---|---|---|
//! | it waits | stack and values, 11 to 13 KiB | – |
//! | commands | + 12 KiB of a line, 8 KiB read, 8 KiB of replies | a larger read |
//! | recipients | + 16 KiB | what more of them take, also at the commit |
//! | a content | + 8 KiB read, 16 KiB decoded | a larger read, and twice as much decoded |
//! | a retrieval | + 4 KiB of the file, 16 KiB of output | four times a larger piece of the file |
//! | a long response | + 8 KiB | 64 KiB of it |
//!
//! With TLS what is read and what is sent is there twice, and counts twice. What is behind this is
//! the store's: content that deliveries hold before it is durable has a budget of its own, and goes
//! to files when that is used up; and so have the listings of open maildrops, where a login without
//! room is asked to come again.
//!
//! # Theory of operation
//!
//! A client gets larger buffers only as long as it keeps them busy: a read grows when the one
//! before was full, and who is silent for [`BUFFERED_WAIT`](super::limits::BUFFERED_WAIT) gives
//! everything back, a content that has begun to the store. So those who send slowly hold nothing.
//! Recipients stay, however, and so does what a client does not read: these two may use the first
//! half of the budget only, and cannot keep mail from coming in.
//!
//! A content is let in while there is room for one at its full size. Without room DATA waits until
//! something is given back, and is refused after a time.
//!
//! # Invariants
//! - The shares never have more than the budget in sum, and a share that is dropped has given
//!   everything back.
//! - To take and to give back is one atomic operation; a lock is taken only to wake who waits, and
//!   nothing else is done under it (NET-7).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::clock::Clock;
use crate::counters::Counter;
use crate::mail::MailboxName;

use super::limits;

/// What memory is wanted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To take what comes: it is given back when nothing comes.
    Receiving,
    /// What a client may make us keep for as long as it likes.
    Keeping,
}

/// The octets that all sessions together may hold beyond what each has of its own.
#[derive(Debug)]
pub(super) struct Budget {
    octets_max: u64,
    octets: AtomicU64,
    peak_octets: AtomicU64,
    /// How many wait for room.
    n_waiting: AtomicUsize,
    door: Mutex<()>,
    given_back: Condvar,
    /// How often something was not granted, and its holder went on with less.
    denied: Counter,
    /// How often DATA waited.
    waits: Counter,
    /// How often it did so in vain.
    refused: Counter,
}

impl Budget {
    /// A budget of `octets_max`, all of it to be had.
    pub(super) fn new(octets_max: u64) -> Self {
        Self {
            octets_max,
            octets: AtomicU64::new(0),
            peak_octets: AtomicU64::new(0),
            n_waiting: AtomicUsize::new(0),
            door: Mutex::new(()),
            given_back: Condvar::new(),
            waits: Counter::default(),
            refused: Counter::default(),
            denied: Counter::default(),
        }
    }

    /// Takes `octets`, or nothing.
    fn take(&self, octets: u64, purpose: Purpose) -> bool {
        let octets_max = match purpose {
            Purpose::Receiving => self.octets_max,
            Purpose::Keeping => self.octets_max / 2,
        };
        let taken = self
            .octets
            .fetch_update(Ordering::SeqCst, Ordering::Relaxed, |before| {
                let after = before.checked_add(octets)?;
                (after <= octets_max).then_some(after)
            });
        if let Ok(before) = taken {
            let after = before.saturating_add(octets);
            if after > self.peak_octets.load(Ordering::Relaxed) {
                self.peak_octets.fetch_max(after, Ordering::Relaxed);
            }
        } else {
            self.denied.increment();
        }
        taken.is_ok()
    }

    fn give_back(&self, octets: u64) {
        self.octets.fetch_sub(octets, Ordering::SeqCst);
        // In one total order: who waits was counted before it looked, or sees what was given back.
        if self.n_waiting.load(Ordering::SeqCst) > 0 {
            self.wake();
        }
    }

    /// Whether one more content could have all that it may want.
    pub(super) fn has_room(&self) -> bool {
        let octets = self.octets.load(Ordering::SeqCst);
        octets.saturating_add(limits::CONTENT_ROOM_OCTETS) <= self.octets_max
    }

    /// Waits until there is room for a content; false when that did not come by `deadline`, or
    /// when the wait `is_over` for another reason, about which [`wake`](Self::wake) tells.
    pub(super) fn wait_for_room(
        &self,
        clock: &Clock,
        deadline: Option<Instant>,
        is_over: impl Fn() -> bool,
    ) -> bool {
        self.waits.increment();
        let mut door = self.door.lock();
        self.n_waiting.fetch_add(1, Ordering::SeqCst);
        let has_room = loop {
            if self.has_room() {
                break true;
            }
            if is_over() || deadline.is_none_or(|deadline| deadline <= clock.now()) {
                break false;
            }
            if let Some(deadline) = deadline {
                // In time or not: the loop looks.
                let _woken = self.given_back.wait_until(&mut door, deadline);
            }
        };
        self.n_waiting.fetch_sub(1, Ordering::SeqCst);
        drop(door);
        if !has_room {
            self.refused.increment();
        }
        has_room
    }

    /// Lets everybody who waits look again.
    pub(super) fn wake(&self) {
        // Who looked before this has the lock until it can be woken.
        drop(self.door.lock());
        self.given_back.notify_all();
    }

    /// What there is to report of it.
    pub(super) fn values(&self) -> [(&'static str, u64); 5] {
        [
            ("octets_now", self.octets.load(Ordering::Relaxed)),
            ("octets_peak", self.peak_octets.load(Ordering::Relaxed)),
            ("denied", self.denied.value()),
            ("waits", self.waits.value()),
            ("refused", self.refused.value()),
        ]
    }
}

/// What one holder has of a budget; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    octets: u64,
}

impl Share {
    /// A share of nothing.
    pub(super) fn of(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            octets: 0,
        }
    }

    /// All of a budget but for `left`.
    #[cfg(test)]
    pub(super) fn all_but(budget: &Arc<Budget>, left: u64) -> Self {
        let mut share = Self::of(budget);
        let octets = usize::try_from(budget.octets_max.saturating_sub(left)).unwrap();
        assert!(share.grow_to(octets, Purpose::Receiving));
        share
    }

    /// A share of nothing of the same budget.
    pub(super) fn another(&self) -> Self {
        Self::of(&self.budget)
    }

    /// Whether there is nothing of it.
    pub(super) fn is_empty(&self) -> bool {
        self.octets == 0
    }

    /// Makes it `octets` large if it is smaller; false when that is too much, and it stays as it
    /// was.
    pub(super) fn grow_to(&mut self, octets: usize, purpose: Purpose) -> bool {
        let octets = u64::try_from(octets).unwrap_or(u64::MAX);
        let more = octets.saturating_sub(self.octets);
        if more == 0 {
            return true;
        }
        let is_granted = self.budget.take(more, purpose);
        if is_granted {
            self.octets = octets;
        }
        is_granted
    }

    /// Gives all of it back.
    pub(super) fn give_back(&mut self) {
        let octets = std::mem::take(&mut self.octets);
        if octets > 0 {
            self.budget.give_back(octets);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// What the recipients of a transaction take, until it is over.
#[derive(Debug)]
pub(super) struct Recipients {
    octets: usize,
    share: Share,
}

impl Recipients {
    /// None yet.
    pub(super) fn none(share: Share) -> Self {
        Self { octets: 0, share }
    }

    /// Counts one more; false when there is no memory for it, and it is not counted.
    pub(super) fn add(&mut self, mailbox: &MailboxName) -> bool {
        let octets = self.octets.saturating_add(octets_of(mailbox));
        let beyond = octets.saturating_sub(limits::RECIPIENTS_OCTETS_FREE);
        let wanted = beyond.next_multiple_of(limits::RECIPIENTS_OCTETS_FREE);
        let is_granted = self.share.grow_to(wanted, Purpose::Keeping);
        if is_granted {
            self.octets = octets;
        }
        is_granted
    }

    /// Gives away what they take, and begins anew.
    pub(super) fn take(&mut self) -> Self {
        let none = Self::none(self.share.another());
        std::mem::replace(self, none)
    }

    /// Forgets them all.
    pub(super) fn clear(&mut self) {
        if self.octets > 0 {
            self.octets = 0;
            self.share.give_back();
        }
    }
}

/// What a recipient takes: its name, twice in memory when the message is committed, the path of its
/// directory, and its places in the tables.
fn octets_of(mailbox: &MailboxName) -> usize {
    let text = mailbox.local_part().len();
    let text = text.saturating_add(mailbox.domain().len());
    text.saturating_add(limits::RECIPIENT_OCTETS)
        .saturating_mul(4)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::clock::Hands;

    const ROOM: u64 = limits::CONTENT_ROOM_OCTETS;

    fn budget(octets_max: u64) -> Arc<Budget> {
        Arc::new(Budget::new(octets_max))
    }

    fn octets(budget: &Budget) -> u64 {
        budget.octets.load(Ordering::SeqCst)
    }

    /// What may be done with one of a few shares.
    #[derive(Clone, Debug)]
    enum Step {
        Grow(usize, usize, Purpose),
        GiveBack(usize),
        Replace(usize),
    }

    fn any_step() -> impl Strategy<Value = Step> {
        let purpose = prop_oneof![Just(Purpose::Receiving), Just(Purpose::Keeping)];
        prop_oneof![
            4 => (0..4_usize, 0..600_usize, purpose)
                .prop_map(|(share, octets, purpose)| Step::Grow(share, octets, purpose)),
            1 => (0..4_usize).prop_map(Step::GiveBack),
            1 => (0..4_usize).prop_map(Step::Replace),
        ]
    }

    proptest! {
        /// SEC-9.
        #[test]
        fn shares_are_a_sum_that_never_exceeds_the_budget(
            steps in proptest::collection::vec(any_step(), 0..60)
        ) {
            const MAX: usize = 1_000;
            let budget = budget(1_000);
            let mut shares: Vec<Share> = (0..4).map(|_| Share::of(&budget)).collect();
            let mut naive = [0_usize; 4];
            let mut peak = 0;
            for step in steps {
                match step {
                    Step::Grow(share, to, purpose) => {
                        let sum: usize = naive.iter().sum();
                        let after = sum.saturating_add(to.saturating_sub(naive[share]));
                        let max = if purpose == Purpose::Receiving { MAX } else { MAX / 2 };
                        let fits = to <= naive[share] || after <= max;
                        prop_assert_eq!(shares[share].grow_to(to, purpose), fits);
                        if fits {
                            naive[share] = naive[share].max(to);
                        }
                    }
                    Step::GiveBack(share) => {
                        shares[share].give_back();
                        naive[share] = 0;
                    }
                    Step::Replace(share) => {
                        shares[share] = shares[share].another();
                        naive[share] = 0;
                    }
                }
                let sum = naive.iter().sum::<usize>();
                peak = peak.max(sum);
                prop_assert_eq!(octets(&budget), u64::try_from(sum).unwrap());
                prop_assert!(shares.iter().zip(naive).all(|(it, n)| it.is_empty() == (n == 0)));
            }
            let peak_octets = budget.peak_octets.load(Ordering::SeqCst);
            prop_assert_eq!(peak_octets, u64::try_from(peak).unwrap());
            drop(shares);
            prop_assert_eq!(octets(&budget), 0);
        }
    }

    /// SEC-9: also when all take and give at the same moment.
    #[test]
    fn threads_that_take_and_give_never_exceed_the_budget() {
        let budget = budget(1_000);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let worker = || {
                    let mut share = Share::of(&budget);
                    for round in 0..20_000_usize {
                        share.grow_to(round % 700, Purpose::Receiving);
                        if round % 3 == 0 {
                            share.give_back();
                        }
                    }
                };
                std::thread::Builder::new()
                    .spawn_scoped(scope, worker)
                    .unwrap();
            }
        });
        assert_eq!(octets(&budget), 0);
        assert!(budget.peak_octets.load(Ordering::SeqCst) <= 1_000);
        assert!(budget.peak_octets.load(Ordering::SeqCst) > 0);
    }

    /// SEC-9: who keeps memory cannot keep mail from coming in.
    #[test]
    fn what_is_kept_leaves_room_for_a_content() {
        let budget = budget(limits::IN_FLIGHT_OCTETS_MIN / 2);
        let mut share = Share::of(&budget);
        let half = usize::try_from(budget.octets_max / 2).unwrap();
        assert!(!share.grow_to(half + 1, Purpose::Keeping));
        assert!(share.grow_to(half, Purpose::Keeping));
        assert!(budget.has_room());
    }

    #[test]
    fn who_waits_is_woken_by_the_room_that_is_given_back() {
        let budget = budget(2 * ROOM);
        let share = Share::all_but(&budget, ROOM - 1);
        let clock = Clock::system();
        let far = clock.now().checked_add(Duration::from_hours(1));
        std::thread::scope(|scope| {
            let wait = || budget.wait_for_room(&clock, far, || false);
            let waiting = std::thread::Builder::new()
                .spawn_scoped(scope, wait)
                .unwrap();
            while budget.n_waiting.load(Ordering::SeqCst) == 0 {
                crate::clock::look_again();
            }
            drop(share);
            assert!(waiting.join().unwrap());
        });
        assert_eq!((budget.waits.value(), budget.refused.value()), (1, 0));
        assert_eq!(budget.n_waiting.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_wait_ends_in_time_or_for_another_reason() {
        let budget = budget(2 * ROOM);
        let _share = Share::all_but(&budget, ROOM - 1);
        let hands = Arc::new(Hands::new());
        let clock = Clock::turned_by(Arc::clone(&hands));
        let deadline = clock.now().checked_add(Duration::from_hours(1));
        assert!(!budget.wait_for_room(&clock, deadline, || true));
        hands.pass(Duration::from_hours(1));
        assert!(!budget.wait_for_room(&clock, deadline, || false));
        assert_eq!((budget.waits.value(), budget.refused.value()), (2, 2));
    }

    /// SEC-9.
    #[test]
    fn recipients_are_free_at_first_and_then_out_of_the_budget() {
        let budget = budget(1_000_000);
        let mut recipients = Recipients::none(Share::of(&budget));
        let mailbox = MailboxName::from_canonical("bob", "example.com").unwrap();
        let each = octets_of(&mailbox);
        let mut n_taken = 0;
        while recipients.add(&mailbox) {
            n_taken += 1;
            let asked_for = n_taken * each > limits::RECIPIENTS_OCTETS_FREE;
            assert_eq!(octets(&budget) > 0, asked_for, "{n_taken}");
            let held = octets(&budget) + u64::try_from(limits::RECIPIENTS_OCTETS_FREE).unwrap();
            assert!(u64::try_from(n_taken * each).unwrap() <= held);
        }
        assert!(octets(&budget) <= 500_000 && octets(&budget) > 450_000);
        let taken = recipients.take();
        assert!(recipients.add(&mailbox), "those are with a message now");
        assert!(octets(&budget) > 450_000);
        drop(taken);
        assert_eq!(octets(&budget), 0);
        while recipients.add(&mailbox) {}
        recipients.clear();
        assert_eq!((recipients.octets, octets(&budget)), (0, 0));
    }
}
