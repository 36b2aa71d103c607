//! The end of the threads that run all the time, and work for the housekeeping.

use std::{io, sync::Arc, time::Duration};

use crate::store::sync::{Condvar, Mutex, thread};

use super::limits::CLOSE_TIMEOUT;

/// Tells threads to end, and whether they have; and wakes the one that waits for work.
#[derive(Debug, Default)]
pub(super) struct End {
    state: Mutex<State>,
    is_changed: Condvar,
    /// There is work, or it is the end.
    is_work: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_asked: bool,
    /// Whether there is work that nobody has begun.
    has_work: bool,
    n_threads: usize,
}

impl End {
    /// Starts a thread that has to end when this is asked.
    ///
    /// # Errors
    /// The system cannot start it.
    pub(super) fn begin(
        self: &Arc<Self>,
        name: &str,
        run: impl FnOnce(&Self) + Send + 'static,
    ) -> io::Result<()> {
        let end = Arc::clone(self);
        let mut state = self.state.lock();
        state.n_threads = state.n_threads.saturating_add(1);
        drop(state);
        let begun = thread::Builder::new().name(name.to_owned()).spawn(move || {
            run(&end);
            end.leave();
        });
        if begun.is_err() {
            self.leave();
        }
        begun.map(drop)
    }

    fn leave(&self) {
        let mut state = self.state.lock();
        state.n_threads = state.n_threads.saturating_sub(1);
        drop(state);
        self.is_changed.notify_all();
    }

    /// Waits for this time, or until the end. Returns whether it is the end.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.is_asked {
            self.is_changed.wait_for(&mut state, time);
        }
        state.is_asked
    }

    /// Says that there is work.
    pub(super) fn call(&self) {
        let had_work = std::mem::replace(&mut self.state.lock().has_work, true);
        if !had_work {
            self.is_work.notify_all();
        }
    }

    /// Waits until there is work, but not longer than this time, or until the end. Returns whether
    /// it is the end.
    pub(super) fn wait_for_work(&self, time: Duration) -> bool {
        let mut state = self.state.lock();
        if !state.is_asked && !state.has_work {
            self.is_work.wait_for(&mut state, time);
        }
        state.has_work = false;
        state.is_asked
    }

    /// Whether it is the end.
    pub(super) fn is_asked(&self) -> bool {
        self.state.lock().is_asked
    }

    /// Asks the threads to end, and waits for that, but not for long.
    pub(super) fn ask(&self) {
        let mut state = self.state.lock();
        state.is_asked = true;
        self.is_changed.notify_all();
        self.is_work.notify_all();
        while state.n_threads > 0 {
            if self
                .is_changed
                .wait_for(&mut state, CLOSE_TIMEOUT)
                .timed_out()
            {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_the_end_wake_whoever_waits() {
        let end = Arc::new(End::default());
        // Work that comes before anybody waits is not lost, and is begun once.
        end.call();
        end.call();
        assert!(!end.wait_for_work(Duration::MAX));
        assert!(!end.wait_for_work(Duration::ZERO));
        let done = Arc::new(Mutex::new(0));
        let count = Arc::clone(&done);
        let run = move |end: &End| {
            while !end.wait_for_work(Duration::MAX) {
                *count.lock() += 1;
            }
        };
        end.begin("test", run).unwrap();
        end.call();
        while *done.lock() == 0 {
            crate::clock::look_again();
        }
        end.ask();
        assert!(end.wait(Duration::MAX) && end.wait_for_work(Duration::MAX));
    }
}
