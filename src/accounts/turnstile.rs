//! The turnstile before the verification of passwords: a bounded number inside, and a bounded wait.
//!
//! A verification takes much memory and much of a core. Without a bound a storm of logins would use
//! up both, and deliveries would starve (SEC-9, SEC-11). Waiting logins are let in by turns of
//! their networks, so that a network at full speed does not make others wait: see [`Turns`].
//!
//! # Failures
//! A login that does not get through in time, or that is one too many, is refused, and its client
//! is asked to try again later.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::mail::Network;

use super::turns::{Standing, Turns};

/// Lets a limited number through at the same time.
#[derive(Debug)]
pub(super) struct Turnstile {
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    inside_max: NonZeroUsize,
    inside: usize,
    next_id: u64,
    turns: Turns,
    /// The waiting logins, and what wakes each when its wait is over.
    signals: HashMap<u64, Arc<Condvar>>,
    /// Those that were let in and have not noticed it yet; they count as inside.
    called: HashSet<u64>,
}

/// The holder is inside; dropping it makes room.
#[derive(Debug)]
pub(super) struct Pass<'a>(&'a Turnstile);

impl Turnstile {
    /// A waiting login gives up after `patience`.
    pub(super) fn new(inside_max: NonZeroUsize, patience: Duration) -> Self {
        let state = State {
            inside_max,
            inside: 0,
            next_id: 0,
            turns: Turns::default(),
            signals: HashMap::new(),
            called: HashSet::new(),
        };
        Self {
            patience,
            state: Mutex::new(state),
        }
    }

    /// Lets this many through from now on. Those already inside stay.
    pub(super) fn set_max(&self, inside_max: NonZeroUsize) {
        let mut state = self.state.lock();
        state.inside_max = inside_max;
        while state.inside < inside_max.get()
            && let Some(next) = state.turns.next()
        {
            state.inside = state.inside.saturating_add(1);
            state.let_in(next);
        }
        drop(state);
    }

    /// Waits for a turn for a client from `address`; `None` if there was none in time, or if too
    /// many wait.
    pub(super) fn enter(&self, address: Network, standing: Standing) -> Option<Pass<'_>> {
        let mut state = self.state.lock();
        if state.inside < state.inside_max.get() {
            // Nobody waits: a login that leaves always lets the next one in.
            state.inside = state.inside.saturating_add(1);
            return Some(Pass(self));
        }
        let (id, signal) = state.join(address, standing)?;
        let still_waits = |state: &mut State| state.signals.contains_key(&id);
        signal.wait_while_for(&mut state, still_waits, self.patience);
        state.has_turn(id).then(|| Pass(self))
    }
}

impl State {
    /// Starts waiting; `None` if too many wait already.
    fn join(&mut self, address: Network, standing: Standing) -> Option<(u64, Arc<Condvar>)> {
        self.next_id = self.next_id.saturating_add(1);
        let id = self.next_id;
        let leaves = self.turns.join(id, address, standing);
        if leaves == Some(id) {
            return None;
        }
        if let Some(leaves) = leaves {
            self.wake(leaves);
        }
        let signal = Arc::new(Condvar::new());
        self.signals.insert(id, Arc::clone(&signal));
        Some((id, signal))
    }

    /// Stops waiting; whether it was let in.
    fn has_turn(&mut self, id: u64) -> bool {
        if self.signals.remove(&id).is_some() {
            self.turns.leave(id);
        }
        self.called.remove(&id)
    }

    /// One leaves, and the next one comes in.
    fn pass_on(&mut self) {
        // There might be more inside than allowed by now.
        let has_room = self.inside <= self.inside_max.get();
        match has_room.then(|| self.turns.next()).flatten() {
            Some(next) => self.let_in(next),
            None => self.inside = self.inside.saturating_sub(1),
        }
    }

    /// A waiting login comes in, and counts as inside.
    fn let_in(&mut self, id: u64) {
        self.called.insert(id);
        self.wake(id);
    }

    fn wake(&mut self, id: u64) {
        if let Some(signal) = self.signals.remove(&id) {
            signal.notify_one();
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.state.lock().pass_on();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    const HERE: Network = Network::LOOPBACK;

    fn turnstile(inside_max: usize, patience: Duration) -> Turnstile {
        Turnstile::new(NonZeroUsize::new(inside_max).unwrap(), patience)
    }

    /// SEC-11.
    #[test]
    fn no_more_than_the_bound_are_inside_and_all_get_through() {
        const THREADS: usize = 8;
        const TIMES: usize = 200;
        let turnstile = turnstile(3, Duration::from_mins(1));
        let (inside, most, through) = (
            AtomicUsize::new(0),
            AtomicUsize::new(0),
            AtomicUsize::new(0),
        );
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    for _ in 0..TIMES {
                        let pass = turnstile.enter(HERE, Standing::Stranger).unwrap();
                        let now = inside.fetch_add(1, Ordering::SeqCst) + 1;
                        most.fetch_max(now, Ordering::SeqCst);
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        through.fetch_add(1, Ordering::SeqCst);
                        drop(pass);
                    }
                });
            }
        });
        assert!((1..=3).contains(&most.into_inner()));
        assert_eq!(through.into_inner(), THREADS * TIMES);
        let state = turnstile.state.into_inner();
        assert_eq!(state.inside, 0);
        assert!(state.called.is_empty() && state.signals.is_empty());
    }

    /// SEC-11: as after SIGHUP, with more expensive or cheaper hashes.
    #[test]
    fn the_bound_changes_for_those_inside_and_those_who_wait() {
        let turnstile = turnstile(2, Duration::from_millis(1));
        let enter = || turnstile.enter(HERE, Standing::Stranger);
        let (first, second) = (enter().unwrap(), enter().unwrap());
        turnstile.set_max(NonZeroUsize::MIN);
        drop(first);
        assert!(enter().is_none(), "one is inside");
        drop(second);
        let only = enter().unwrap();
        assert!(enter().is_none());
        turnstile.set_max(NonZeroUsize::new(3).unwrap());
        let (second, third) = (enter().unwrap(), enter().unwrap());
        assert!(enter().is_none());
        drop((only, second, third));
        assert_eq!(turnstile.state.into_inner().inside, 0);
    }

    #[test]
    fn waiting_logins_come_in_when_the_bound_is_raised() {
        let turnstile = turnstile(1, Duration::from_mins(1));
        let first = turnstile.enter(HERE, Standing::Stranger).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| turnstile.enter(HERE, Standing::Stranger).is_some());
            while turnstile.state.lock().signals.is_empty() {
                std::thread::yield_now();
            }
            turnstile.set_max(NonZeroUsize::new(2).unwrap());
            assert!(waiting.join().unwrap());
        });
        drop(first);
        assert_eq!(turnstile.state.into_inner().inside, 0);
    }

    #[test]
    fn a_login_that_does_not_get_through_in_time_gives_up() {
        let turnstile = turnstile(1, Duration::from_millis(1));
        let pass = turnstile.enter(HERE, Standing::Stranger);
        assert!(pass.is_some());
        assert!(turnstile.enter(HERE, Standing::Stranger).is_none());
        drop(pass);
        assert!(turnstile.enter(HERE, Standing::Stranger).is_some());
    }

    /// SEC-11: waiting logins are let in by turns of the networks, not in the order in which they
    /// came.
    #[test]
    fn waiting_logins_are_let_in_by_turns() {
        let turnstile = turnstile(1, Duration::from_mins(1));
        let (entered, order) = std::sync::mpsc::channel();
        let first = turnstile.enter(HERE, Standing::Stranger).unwrap();
        std::thread::scope(|scope| {
            for (n, text) in ["10.0.0.1", "10.0.0.1", "10.0.0.1", "192.0.2.1"]
                .into_iter()
                .enumerate()
            {
                let (turnstile, entered) = (&turnstile, entered.clone());
                scope.spawn(move || {
                    let address = Network::of(text.parse().unwrap());
                    let pass = turnstile.enter(address, Standing::Stranger).unwrap();
                    entered.send(text).unwrap();
                    drop(pass);
                });
                while turnstile.state.lock().signals.len() <= n {
                    std::thread::yield_now();
                }
            }
            drop((first, entered));
        });
        let order: Vec<&str> = order.iter().collect();
        assert_eq!(order, ["10.0.0.1", "192.0.2.1", "10.0.0.1", "10.0.0.1"]);
    }

    #[test]
    fn a_panic_inside_makes_room() {
        let turnstile = turnstile(1, Duration::from_millis(1));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _pass = turnstile.enter(HERE, Standing::Stranger);
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert!(turnstile.enter(HERE, Standing::Stranger).is_some());
    }
}
