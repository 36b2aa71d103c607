//! The threads that serve clients, and how one of them serves a client after another.
//!
//! To begin and to end a thread takes a third of the time of a short session. So a thread whose
//! session has ended waits a moment for another client, and only a client that finds none of these
//! spare threads gets a new one. Whoever is served has a thread of its own, as before. A spare
//! thread holds nothing but its stack, and it takes no place from a client: clients of all
//! protocols get it before a new one is started.

use std::collections::VecDeque;
use std::ffi::CStr;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::limits;

/// What a thread does for one client. Returns whether the thread can serve another.
pub(super) type Work = Box<dyn FnOnce() -> bool + Send>;

/// The spare threads of all listeners.
#[derive(Debug)]
pub struct Spares {
    /// How long a thread waits.
    time: Duration,
    waiting: Mutex<Waiting>,
    given: Condvar,
}

#[derive(Default)]
struct Waiting {
    /// Threads that wait, or have been given work that they have not yet taken.
    n_threads: usize,
    /// At most one for each of them.
    given: VecDeque<Work>,
}

impl Spares {
    /// No threads yet.
    pub fn new() -> Arc<Self> {
        Self::that_wait(limits::SPARE_TIME)
    }

    fn that_wait(time: Duration) -> Arc<Self> {
        Arc::new(Self {
            time,
            waiting: Mutex::default(),
            given: Condvar::new(),
        })
    }

    /// Whether a thread waits.
    pub(super) fn has_any(&self) -> bool {
        self.waiting.lock().has_any()
    }

    /// Lets a spare thread, or a new one, do `work`.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub(super) fn begin(self: &Arc<Self>, work: Work) -> io::Result<()> {
        let mut waiting = self.waiting.lock();
        if waiting.has_any() {
            waiting.given.push_back(work);
            drop(waiting);
            self.given.notify_one();
            return Ok(());
        }
        drop(waiting);
        let spares = Arc::clone(self);
        // Each session gives the thread its own name.
        thread::Builder::new()
            .name("session".to_owned())
            .stack_size(limits::STACK_OCTETS)
            .spawn(move || spares.run(work))
            .map(drop)
    }

    /// The whole run of a thread.
    fn run(&self, work: Work) {
        let mut next = Some(work);
        while let Some(work) = next {
            let is_fit = work();
            next = None;
            if is_fit {
                name_thread(c"spare");
                next = self.wait();
            }
        }
    }

    /// Waits for more work, unless enough threads do; `None` if there was none.
    fn wait(&self) -> Option<Work> {
        let mut waiting = self.waiting.lock();
        if waiting.n_threads >= limits::SPARES_MAX {
            return None;
        }
        waiting.n_threads = waiting.n_threads.saturating_add(1);
        let has_none = |waiting: &mut Waiting| waiting.given.is_empty();
        self.given.wait_while_for(&mut waiting, has_none, self.time);
        waiting.n_threads = waiting.n_threads.saturating_sub(1);
        // Work that was given at the end of the time has to be done too.
        waiting.given.pop_front()
    }
}

/// Names the thread, for whoever looks at the threads of the process. Not inlined: its parts would
/// stay on the stack of an idle session (NET-1).
#[inline(never)]
pub(super) fn name_thread(name: &CStr) {
    // A thread with another name serves as well.
    rustix::thread::set_name(name).ok();
}

impl Waiting {
    /// Whether a thread waits that has not been given anything.
    fn has_any(&self) -> bool {
        self.given.len() < self.n_threads
    }
}

impl fmt::Debug for Waiting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Waiting")
            .field("n_threads", &self.n_threads)
            .field("n_given", &self.given.len())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::thread::ThreadId;

    use crate::clock::{Clock, look_again};

    use super::*;

    /// Longest wait of a test: only a hang reaches it.
    const DEADLINE: Duration = Duration::from_mins(5);

    fn until(what: &str, is_so: impl Fn() -> bool) {
        let begin = Clock::system().now();
        while !is_so() {
            assert!(begin.elapsed() < DEADLINE, "{what}");
            look_again();
        }
    }

    fn n_waiting(spares: &Spares) -> usize {
        spares.waiting.lock().n_threads
    }

    /// Work that says which thread does it, and ends when the returned sender is dropped.
    fn work(is_fit: bool, done_by: &Sender<ThreadId>) -> (Sender<()>, Work) {
        let (go_on, held): (_, Receiver<()>) = channel();
        let done_by = done_by.clone();
        let work = Box::new(move || {
            done_by.send(thread::current().id()).unwrap();
            assert!(held.recv_timeout(DEADLINE).is_err());
            is_fit
        });
        (go_on, work)
    }

    #[test]
    fn a_client_gets_the_thread_of_one_that_has_left_unless_that_must_end() {
        let spares = Spares::that_wait(DEADLINE);
        let (done_by, threads) = channel();
        let begin = |is_fit| {
            let (held, work) = work(is_fit, &done_by);
            spares.begin(work).unwrap();
            let thread = threads.recv_timeout(DEADLINE).unwrap();
            (held, thread)
        };
        let (first_client, first) = begin(true);
        let (other_client, other) = begin(true);
        assert!(first != other && !spares.has_any());
        drop(first_client);
        until("the first thread waits", || spares.has_any());
        let (last_client, again) = begin(false);
        assert!(again == first && !spares.has_any());
        drop(last_client);
        // This test and the other thread hold it.
        until("the first thread ends", || Arc::strong_count(&spares) == 2);
        drop(other_client);
        until("the other thread waits", || spares.has_any());
        let (client, again) = begin(false);
        assert_eq!(again, other);
        drop(client);
        until("no thread is left", || Arc::strong_count(&spares) == 1);
    }

    /// SEC-8.
    #[test]
    fn a_few_threads_wait_and_the_others_end() {
        let spares = Spares::that_wait(DEADLINE);
        let (done_by, threads) = channel();
        let crowd = |is_fit| {
            let (held, works): (Vec<_>, Vec<_>) = (0..limits::SPARES_MAX + 5)
                .map(|_| work(is_fit, &done_by))
                .unzip();
            for work in works {
                spares.begin(work).unwrap();
            }
            let mut different: Vec<ThreadId> = Vec::new();
            for _ in 0..held.len() {
                let thread = threads.recv_timeout(DEADLINE).unwrap();
                assert!(!different.contains(&thread), "it serves two at once");
                different.push(thread);
            }
            drop(held);
        };
        crowd(true);
        until("the others end", || {
            Arc::strong_count(&spares) == 1 + limits::SPARES_MAX
        });
        assert_eq!(n_waiting(&spares), limits::SPARES_MAX);
        crowd(false);
        until("all end", || Arc::strong_count(&spares) == 1);
        assert_eq!(n_waiting(&spares), 0);
    }

    /// A thread that has waited long enough ends, but not if it was given work at that moment.
    #[test]
    fn what_is_given_at_the_end_of_the_time_is_done() {
        let time = Duration::from_millis(50);
        let spares = Spares::that_wait(time);
        let (done_by, threads) = channel();
        let next_thread = || threads.recv_timeout(DEADLINE).unwrap();
        let (held, first) = work(true, &done_by);
        spares.begin(first).unwrap();
        let thread = next_thread();
        drop(held);
        until("the thread waits or has ended", || {
            let mut waiting = spares.waiting.lock();
            if !waiting.has_any() {
                return Arc::strong_count(&spares) == 1;
            }
            // Its time passes, and the lock keeps it from ending.
            let begin = Clock::system().now();
            while begin.elapsed() < 2 * time {
                look_again();
            }
            let (held, last) = work(false, &done_by);
            waiting.given.push_back(last);
            drop(waiting);
            spares.given.notify_one();
            assert_eq!(next_thread(), thread);
            drop(held);
            true
        });
        until("the thread ends", || Arc::strong_count(&spares) == 1);
    }
}
