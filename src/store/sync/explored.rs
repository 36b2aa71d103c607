//! The version of `sync` for tests that explore interleavings: the interface of `parking_lot` on
//! top of the locks of `shuttle`. It also counts the locks that a thread holds.
//!
//! # Theory of operation
//! `shuttle` runs all threads of a test on one thread. At each use of its locks, condition
//! variables and atomic numbers it chooses which of them continues. It has no notion of time. So a
//! wait with a timeout can end at any moment, by chance, and then moves the clock of the test by
//! that timeout.
//!
//! # Known limits
//! Atomic operations are sequentially consistent, whatever ordering is requested.

use std::{
    cell::{Cell, RefCell},
    fmt, io,
    ops::{Deref, DerefMut},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use shuttle::rand::{Rng as _, RngCore as _, thread_rng};

use crate::clock::Hands;

pub(in crate::store) use shuttle::sync::atomic;

/// A thread that waits with a timeout stops waiting at one in so many checks.
const LOOKS_PER_TIMEOUT: u32 = 4;

/// Longer than any test: a longer wait ends only when it is notified, so that a lost wake-up is
/// found.
const FOREVER: Duration = Duration::from_hours(1_000_000);

shuttle::thread_local! {
    /// How many locks the thread holds.
    static N_HELD: Cell<usize> = Cell::new(0);
}

std::thread_local! {
    /// The clock of the test that this thread runs.
    static HANDS: RefCell<Option<Arc<Hands>>> = const { RefCell::new(None) };
    /// Whether a thread has taken a lock while it held another.
    static HAS_NESTED: Cell<bool> = const { Cell::new(false) };
}

/// Sets the clock that waits with a timeout move.
pub(in crate::store) fn set_hands(hands: Option<Arc<Hands>>) {
    HANDS.set(hands);
}

/// How many locks the current thread holds (L1).
pub(in crate::store) fn n_held() -> usize {
    N_HELD.with(Cell::get)
}

/// Whether any thread has held two locks since the last call (L3).
pub(in crate::store) fn take_nested() -> bool {
    HAS_NESTED.take()
}

/// Fills `octets` with numbers that are part of the schedule, so that it can be repeated.
#[expect(clippy::unnecessary_wraps, reason = "the real one can fail")]
pub(in crate::store) fn fill_random(octets: &mut [u8]) -> io::Result<()> {
    thread_rng().fill_bytes(octets);
    Ok(())
}

/// A lock with the interface of `parking_lot`.
#[derive(Default)]
pub(in crate::store) struct Mutex<T> {
    inner: shuttle::sync::Mutex<T>,
    is_locked: AtomicBool,
}

impl<T> Mutex<T> {
    pub(in crate::store) fn new(value: T) -> Self {
        Self {
            inner: shuttle::sync::Mutex::new(value),
            is_locked: AtomicBool::new(false),
        }
    }

    pub(in crate::store) fn lock(&self) -> MutexGuard<'_, T> {
        if n_held() > 0 {
            HAS_NESTED.set(true);
        }
        let inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let mut guard = MutexGuard {
            mutex: self,
            inner: None,
        };
        guard.enter(inner);
        guard
    }

    pub(in crate::store) fn is_locked(&self) -> bool {
        self.is_locked.load(Ordering::SeqCst)
    }
}

impl<T> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mutex").finish_non_exhaustive()
    }
}

/// Access to what a lock guards, until it is dropped.
pub(in crate::store) struct MutexGuard<'a, T> {
    mutex: &'a Mutex<T>,
    /// `None` while the lock is released in [`unlocked`](Self::unlocked) or by a wait.
    inner: Option<shuttle::sync::MutexGuard<'a, T>>,
}

impl<'a, T> MutexGuard<'a, T> {
    fn enter(&mut self, inner: shuttle::sync::MutexGuard<'a, T>) {
        self.inner = Some(inner);
        self.mutex.is_locked.store(true, Ordering::SeqCst);
        N_HELD.with(|n_held| n_held.set(n_held.get().saturating_add(1)));
    }

    fn leave(&mut self) -> Option<shuttle::sync::MutexGuard<'a, T>> {
        let inner = self.inner.take()?;
        self.mutex.is_locked.store(false, Ordering::SeqCst);
        N_HELD.with(|n_held| n_held.set(n_held.get().saturating_sub(1)));
        Some(inner)
    }

    /// Releases the lock while `work` runs.
    pub(in crate::store) fn unlocked<R>(guard: &mut Self, work: impl FnOnce() -> R) -> R {
        /// Locks it again, even after a panic.
        struct Again<'g, 'a, T>(&'g mut MutexGuard<'a, T>);

        impl<T> Drop for Again<'_, '_, T> {
            fn drop(&mut self) {
                let inner = self.0.mutex.inner.lock();
                self.0.enter(inner.unwrap_or_else(PoisonError::into_inner));
            }
        }

        drop(guard.leave());
        let _again = Again(guard);
        work()
    }
}

impl<T> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner.as_deref().expect("the lock is held")
    }
}

impl<T> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_deref_mut().expect("the lock is held")
    }
}

impl<T> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        drop(self.leave());
    }
}

/// A condition variable with the interface of `parking_lot`.
#[derive(Default)]
pub(in crate::store) struct Condvar {
    inner: shuttle::sync::Condvar,
    /// How many threads wait without a timeout.
    n_waiting: AtomicUsize,
    /// Threads that wait with a timeout. Never locked while another thread can run.
    timed: parking_lot::Mutex<Vec<Arc<AtomicBool>>>,
}

impl Condvar {
    pub(in crate::store) fn new() -> Self {
        Self::default()
    }

    pub(in crate::store) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
        let Some(inner) = guard.leave() else { return };
        self.n_waiting.fetch_add(1, Ordering::SeqCst);
        let inner = self.inner.wait(inner);
        self.n_waiting.fetch_sub(1, Ordering::SeqCst);
        guard.enter(inner.unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until it is notified, or for at most `timeout`.
    pub(in crate::store) fn wait_for<T>(&self, guard: &mut MutexGuard<'_, T>, timeout: Duration) {
        if timeout > FOREVER {
            return self.wait(guard);
        }
        let is_notified = Arc::new(AtomicBool::new(false));
        self.timed.lock().push(Arc::clone(&is_notified));
        MutexGuard::unlocked(guard, || {
            while !is_notified.load(Ordering::SeqCst) {
                if thread_rng().gen_ratio(1, LOOKS_PER_TIMEOUT) {
                    HANDS.with_borrow(|hands| hands.iter().for_each(|hands| hands.pass(timeout)));
                    break;
                }
                shuttle::thread::yield_now();
            }
        });
        let mut timed = self.timed.lock();
        timed.retain(|other| !Arc::ptr_eq(other, &is_notified));
    }

    pub(in crate::store) fn notify_one(&self) {
        let others = self.n_waiting.load(Ordering::SeqCst);
        let n_timed = self.timed.lock().len();
        let chosen = match others.saturating_add(n_timed) {
            0 => 0,
            n => thread_rng().gen_range(0..n),
        };
        if chosen < n_timed {
            let notified = self.timed.lock().swap_remove(chosen);
            notified.store(true, Ordering::SeqCst);
        } else {
            self.inner.notify_one();
        }
    }

    pub(in crate::store) fn notify_all(&self) {
        for notified in self.timed.lock().drain(..) {
            notified.store(true, Ordering::SeqCst);
        }
        self.inner.notify_all();
    }
}

impl fmt::Debug for Condvar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Condvar").finish_non_exhaustive()
    }
}

/// The threads of the standard library, as far as the store uses them.
pub(in crate::store) mod thread {
    use std::io;

    pub(in crate::store) use shuttle::thread::{
        JoinHandle, Scope, ScopedJoinHandle, Thread, ThreadId, current, park, scope,
    };

    /// Starts a thread.
    #[derive(Debug, Default)]
    pub(in crate::store) struct Builder(shuttle::thread::Builder);

    impl Builder {
        pub(in crate::store) fn new() -> Self {
            Self::default()
        }

        pub(in crate::store) fn name(self, name: String) -> Self {
            Self(self.0.name(name))
        }

        pub(in crate::store) fn spawn<T: Send + 'static>(
            self,
            work: impl FnOnce() -> T + Send + 'static,
        ) -> io::Result<JoinHandle<T>> {
            self.0.spawn(work)
        }

        /// The name is lost: `shuttle` does not support one here.
        #[expect(
            clippy::unnecessary_wraps,
            clippy::unused_self,
            reason = "the real one can fail, and uses the name"
        )]
        pub(in crate::store) fn spawn_scoped<'scope, T: Send + 'scope>(
            self,
            scope: &'scope Scope<'scope, '_>,
            work: impl FnOnce() -> T + Send + 'scope,
        ) -> io::Result<ScopedJoinHandle<'scope, T>> {
            Ok(scope.spawn(work))
        }
    }
}
