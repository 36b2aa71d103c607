//! The turnstile before the verification of passwords: so many at once, and a bounded wait.
//!
//! A verification takes much memory and much of a core. Without a bound a storm of logins would
//! take all of both, and deliveries would starve (SEC-9, SEC-11).
//!
//! # Failures
//! Who does not get through in time is told so, and asks the client to come again.

use std::num::NonZeroUsize;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Lets through as many at once as it was made for.
#[derive(Debug)]
pub(super) struct Turnstile {
    inside_max: NonZeroUsize,
    patience: Duration,
    inside: Mutex<usize>,
    left: Condvar,
}

/// Who holds it is through; who drops it makes room.
#[derive(Debug)]
pub(super) struct Pass<'a>(&'a Turnstile);

impl Turnstile {
    /// Who waits gives up after `patience`.
    pub(super) fn new(inside_max: NonZeroUsize, patience: Duration) -> Self {
        Self {
            inside_max,
            patience,
            inside: Mutex::new(0),
            left: Condvar::new(),
        }
    }

    /// Waits for a place; `None` when there was none in time.
    pub(super) fn enter(&self) -> Option<Pass<'_>> {
        let most = self.inside_max.get();
        let is_full = |inside: &mut usize| *inside >= most;
        let mut inside = self.inside.lock();
        let wait = self
            .left
            .wait_while_for(&mut inside, is_full, self.patience);
        if wait.timed_out() && is_full(&mut inside) {
            return None;
        }
        *inside = inside.saturating_add(1);
        drop(inside);
        Some(Pass(self))
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        let mut inside = self.0.inside.lock();
        *inside = inside.saturating_sub(1);
        drop(inside);
        self.0.left.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

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
                        let pass = turnstile.enter().unwrap();
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
        assert_eq!(*turnstile.inside.lock(), 0);
    }

    #[test]
    fn who_does_not_get_through_in_time_is_told() {
        let turnstile = turnstile(1, Duration::from_millis(1));
        let pass = turnstile.enter();
        assert!(pass.is_some());
        assert!(turnstile.enter().is_none());
        drop(pass);
        assert!(turnstile.enter().is_some());
    }

    #[test]
    fn a_panic_inside_makes_room() {
        let turnstile = turnstile(1, Duration::from_millis(1));
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _pass = turnstile.enter();
            panic!("on purpose");
        }));
        assert!(panicked.is_err());
        assert!(turnstile.enter().is_some());
    }
}
