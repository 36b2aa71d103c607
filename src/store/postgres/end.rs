//! The end of the threads that run all the time.

use std::{io, sync::Arc, time::Duration};

use crate::store::sync::{Condvar, Mutex, thread};

use super::limits::CLOSE_TIMEOUT;

/// Tells a thread to end, and whether it has.
#[derive(Debug, Default)]
pub(super) struct End {
    state: Mutex<State>,
    is_changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_asked: bool,
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

    /// Whether it is the end.
    pub(super) fn is_asked(&self) -> bool {
        self.state.lock().is_asked
    }

    /// Asks the threads to end, and waits for that, but not for long.
    pub(super) fn ask(&self) {
        let mut state = self.state.lock();
        state.is_asked = true;
        self.is_changed.notify_all();
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
