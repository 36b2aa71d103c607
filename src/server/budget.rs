//! The memory that all sessions together may hold in flight (SEC-9).
//!
//! Each session may hold a little without asking: 64 KiB with its stack, and 96 KiB with TLS, where
//! a whole record must be held both encrypted and decrypted. Everything else comes out of one
//! [`Budget`]. A session that gets nothing continues with what it has: its buffers stay small,
//! which costs it more system calls but costs others no memory.
//!
//! # The most that a session holds
//!
//! | phase | without asking | out of the budget |
//! |---|---|---|
//! | waiting | stack and values, 11 to 13 KiB | – |
//! | commands | + 12 KiB of a line, 8 KiB read, 8 KiB of replies | a larger read |
//! | recipients | + 16 KiB | what more of them need, also at the commit |
//! | message content | + 8 KiB read, 16 KiB decoded | a larger read, and twice as much decoded |
//! | a retrieval | + 4 KiB of the file, 16 KiB of output | a larger piece, counted four times |
//! | a long response | + 8 KiB | 64 KiB of it |
//!
//! With TLS, input and output exist twice, and count twice. The rest belongs to the store: content
//! that deliveries hold before it is durable has its own budget, and goes to files when that is
//! used up. So do the listings of open maildrops; a login without room for its listing is asked to
//! try again later.
//!
//! # Theory of operation
//!
//! A client has larger buffers only as long as it keeps them busy: a read grows if the previous one
//! was full, and a client that is silent for [`BUFFERED_WAIT`](super::limits::BUFFERED_WAIT) gives
//! everything back; what it has of a message goes to the store. So clients that send slowly hold
//! nothing. However, recipients stay, and so does output that a client does not read: these two may
//! use only the first half of the budget, and cannot keep mail from being received.
//!
//! A message is admitted while there is room for it with buffers of full size. Without room, DATA
//! waits until memory is given back, and is refused after a time.
//!
//! # Invariants
//! - The sum of all shares never exceeds the budget, and a share that is dropped gives everything
//!   back.
//! - Taking and giving back are each one atomic operation; the lock is taken only to wake waiting
//!   sessions, and nothing else is done under it (NET-7).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

use crate::clock::Clock;
use crate::counters::Counter;
use crate::mail::MailboxName;

use super::limits;

/// What the memory is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Receiving input: it is given back when nothing arrives.
    Receiving,
    /// Holding what a client can make facteur keep for as long as it likes.
    Keeping,
}

/// The octets that all sessions together may hold besides what each has of its own.
#[derive(Debug)]
pub(super) struct Budget {
    octets_max: u64,
    octets: AtomicU64,
    peak_octets: AtomicU64,
    /// How many sessions wait for room.
    n_waiting: AtomicUsize,
    door: Mutex<()>,
    given_back: Condvar,
    /// How often memory was denied, and its session continued with less.
    denied: Counter,
    /// How often DATA waited.
    waits: Counter,
    /// How often DATA waited in vain.
    refused: Counter,
}

impl Budget {
    /// A budget of `octets_max`, all of it available.
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
        // In one total order: a waiting session was counted before it looked, or sees what was
        // given back.
        if self.n_waiting.load(Ordering::SeqCst) > 0 {
            self.wake();
        }
    }

    /// Whether one more content could have all the memory that it may want.
    pub(super) fn has_room(&self) -> bool {
        let octets = self.octets.load(Ordering::SeqCst);
        octets.saturating_add(limits::CONTENT_ROOM_OCTETS) <= self.octets_max
    }

    /// Waits until there is room for a message. False if there is none by `deadline`, or if the
    /// wait `is_over` for another reason, which is followed by a call of [`wake`](Self::wake).
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
                // The loop checks whether this was in time.
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

    /// Lets all waiting sessions look again.
    pub(super) fn wake(&self) {
        // A session that looked before this holds the lock until it can be woken.
        drop(self.door.lock());
        self.given_back.notify_all();
    }

    /// Its counters, for the report.
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

/// The part of a budget that one holder has; dropping it gives it back.
#[derive(Debug)]
pub(super) struct Share {
    budget: Arc<Budget>,
    octets: u64,
}

impl Share {
    /// An empty share.
    pub(super) fn of(budget: &Arc<Budget>) -> Self {
        Self {
            budget: Arc::clone(budget),
            octets: 0,
        }
    }

    /// All of a budget except `left`.
    #[cfg(test)]
    pub(super) fn all_but(budget: &Arc<Budget>, left: u64) -> Self {
        let mut share = Self::of(budget);
        let octets = usize::try_from(budget.octets_max.saturating_sub(left)).unwrap();
        assert!(share.grow_to(octets, Purpose::Receiving));
        share
    }

    /// Another, empty share of the same budget.
    pub(super) fn another(&self) -> Self {
        Self::of(&self.budget)
    }

    /// Whether the share is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.octets == 0
    }

    /// Makes it `octets` large if it is smaller. False if that is too much; it then stays as it
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

    /// Gives the whole share back.
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

/// The memory of a transaction's recipients, until it is over.
#[derive(Debug)]
pub(super) struct Recipients {
    octets: usize,
    /// The sub-addresses that were named for some of them.
    subaddresses: Vec<MailboxName>,
    share: Share,
}

impl Recipients {
    /// No recipients yet.
    pub(super) fn none(share: Share) -> Self {
        Self {
            octets: 0,
            subaddresses: Vec::new(),
            share,
        }
    }

    /// Counts one more; false if there is no memory for it, and it is not counted.
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

    /// Keeps a sub-address that was named for one of them, if there is memory for it.
    pub(super) fn add_subaddress(&mut self, subaddress: MailboxName) {
        if self.add(&subaddress) {
            self.subaddresses.push(subaddress);
        }
    }

    /// Hands over the sub-addresses.
    pub(super) fn take_subaddresses(&mut self) -> Vec<MailboxName> {
        std::mem::take(&mut self.subaddresses)
    }

    /// Hands over the memory of the recipients, and starts again with none.
    pub(super) fn take(&mut self) -> Self {
        let none = Self::none(self.share.another());
        std::mem::replace(self, none)
    }

    /// Forgets all recipients.
    pub(super) fn clear(&mut self) {
        if self.octets > 0 {
            self.octets = 0;
            self.subaddresses = Vec::new();
            self.share.give_back();
        }
    }
}

/// The memory of a recipient: its name, twice in memory when the message is committed, the path of
/// its directory, and its places in the tables.
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

    /// What a test can do with one of a few shares.
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

    /// SEC-9: also when all threads take and give back at the same time.
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

    /// SEC-9: a client that keeps memory cannot keep mail from being received.
    #[test]
    fn kept_memory_leaves_room_for_a_message() {
        let budget = budget(limits::IN_FLIGHT_OCTETS_MIN / 2);
        let mut share = Share::of(&budget);
        let half = usize::try_from(budget.octets_max / 2).unwrap();
        assert!(!share.grow_to(half + 1, Purpose::Keeping));
        assert!(share.grow_to(half, Purpose::Keeping));
        assert!(budget.has_room());
    }

    #[test]
    fn a_waiting_session_is_woken_when_room_is_given_back() {
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
        assert!(
            recipients.add(&mailbox),
            "the others belong to a message now"
        );
        assert!(octets(&budget) > 450_000);
        drop(taken);
        assert_eq!(octets(&budget), 0);
        while recipients.add(&mailbox) {}
        recipients.clear();
        assert_eq!((recipients.octets, octets(&budget)), (0, 0));
    }
}
