//! How many answers with whole messages are made at the same time.
//!
//! Such an answer needs much more memory than it has octets, before anybody can know how much. So
//! only a few are made at once, and the others wait: each takes milliseconds.

use parking_lot::{Condvar, Mutex};

use super::limits::MAKERS_MAX;

/// See the module.
#[derive(Debug)]
pub(super) struct Makers {
    free: Mutex<usize>,
    freed: Condvar,
}

/// The turn of one maker. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Making<'a>(&'a Makers);

impl Makers {
    /// Waits until there is a free turn.
    pub(super) fn begin(&self) -> Making<'_> {
        let mut free = self.free.lock();
        self.freed.wait_while(&mut free, |free| *free == 0);
        *free = free.saturating_sub(1);
        drop(free);
        Making(self)
    }
}

impl Default for Makers {
    fn default() -> Self {
        Self {
            free: Mutex::new(MAKERS_MAX),
            freed: Condvar::new(),
        }
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        let mut free = self.0.free.lock();
        *free = free.saturating_add(1);
        drop(free);
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn no_more_than_a_few_are_at_work() {
        let (makers, working) = (Makers::default(), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..16 {
                std::thread::Builder::new()
                    .spawn_scoped(scope, || {
                        for _ in 0..100 {
                            let _making = makers.begin();
                            let before = working.fetch_add(1, Ordering::SeqCst);
                            assert!(before < MAKERS_MAX);
                            std::thread::yield_now();
                            working.fetch_sub(1, Ordering::SeqCst);
                        }
                    })
                    .unwrap();
            }
        });
        assert_eq!(*makers.free.lock(), MAKERS_MAX);
    }
}
