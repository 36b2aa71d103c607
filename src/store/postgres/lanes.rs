//! The connections, each with a thread, and the tasks that sessions give them.
//!
//! A session waits until its task is done, or its deadline has passed. A task that no thread has
//! taken by then is never carried out.
//!
//! If a server does not answer by the deadline of a task, the connection goes on waiting, because
//! the server does: a commit that waits for a standby is not ended by a client that leaves. Others
//! use the other connections meanwhile; when all wait, the store is degraded ([`Lanes::is_stuck`]).
//!
//! # Invariants
//! - A statement is sent again only while its task has time left, with the same values, and only if
//!   it was not carried out or that is not known. Statements are made so that this does no harm.
//! - A connection that owes an answer is used for nothing else.

use std::{
    collections::VecDeque,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    clock::Clock,
    store::sync::{
        Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
        thread,
    },
};

#[cfg(test)]
use crate::testing::bugs;

use super::{
    connection::{Access, Connection, Failure},
    limits::{CLOSE_TIMEOUT, GRACE, READERS, RETRY_PAUSE_MAX, RETRY_PAUSE_MIN, TASKS_MAX, WRITERS},
    statements,
};

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Changes, and readings that have to be proved.
    Write,
    /// Readings of what was proved before.
    Read,
}

/// What a thread does with its connection.
type Task = Box<dyn FnOnce(&mut Lane) + Send>;

/// The threads and what they have to do.
pub(super) struct Lanes {
    clock: Clock,
    writers: Arc<Road>,
    readers: Arc<Road>,
}

impl fmt::Debug for Lanes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lanes")
    }
}

/// The tasks for the connections of one purpose.
struct Road {
    queue: Mutex<Queue>,
    /// There is a task, or the end.
    is_work: Condvar,
    /// A thread has ended.
    is_end: Condvar,
    is_closed: AtomicBool,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    n_threads: usize,
    /// Connections that wait for a server although nobody waits for them any more.
    n_stuck: usize,
}

/// A connection, and the thread that uses it.
pub(super) struct Lane {
    access: Arc<Access>,
    clock: Clock,
    road: Arc<Road>,
    connection: Option<Connection>,
}

/// The place where the result of a task is put.
#[derive(Debug)]
pub(super) struct Slot<T> {
    state: Mutex<State<T>>,
    is_done: Condvar,
}

#[derive(Debug)]
enum State<T> {
    /// No thread has taken the task.
    Queued,
    /// A thread is carrying it out.
    Taken,
    Done(Result<T, Failure>),
    /// Nobody waits for it any more.
    GivenUp,
}

impl<T> Slot<T> {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State::Queued),
            is_done: Condvar::new(),
        })
    }

    /// Takes the task. False if nobody waits for it any more.
    pub(super) fn take(&self) -> bool {
        let mut state = self.state.lock();
        let is_wanted = matches!(*state, State::Queued);
        if is_wanted {
            *state = State::Taken;
        }
        is_wanted
    }

    pub(super) fn put(&self, result: Result<T, Failure>) {
        *self.state.lock() = State::Done(result);
        self.is_done.notify_all();
    }

    /// Waits for the result until `deadline`, or a little longer if a thread has the task.
    pub(super) fn wait(&self, clock: &Clock, deadline: Instant) -> Result<T, Failure> {
        let mut state = self.state.lock();
        let result = loop {
            let last = match std::mem::replace(&mut *state, State::GivenUp) {
                State::Done(result) => break result,
                State::Taken => {
                    *state = State::Taken;
                    deadline.checked_add(GRACE).unwrap_or(deadline)
                }
                State::Queued => {
                    *state = State::Queued;
                    deadline
                }
                State::GivenUp => deadline,
            };
            let left = last.saturating_duration_since(clock.now());
            if left.is_zero() {
                *state = State::GivenUp;
                break Err(Failure::Waiting);
            }
            self.is_done.wait_for(&mut state, left);
        };
        drop(state);
        result
    }
}

impl Lanes {
    /// Starts the threads. They connect when they have something to do.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub(super) fn start(access: &Arc<Access>, clock: &Clock) -> io::Result<Self> {
        let road = |count: usize| {
            let road = Arc::new(Road {
                queue: Mutex::default(),
                is_work: Condvar::new(),
                is_end: Condvar::new(),
                is_closed: AtomicBool::new(false),
            });
            (0..count).try_for_each(|_| begin(&road, access, clock))?;
            Ok::<_, io::Error>(road)
        };
        Ok(Self {
            clock: clock.clone(),
            writers: road(WRITERS)?,
            readers: road(READERS)?,
        })
    }

    fn road(&self, purpose: Purpose) -> &Arc<Road> {
        match purpose {
            Purpose::Write => &self.writers,
            Purpose::Read => &self.readers,
        }
    }

    /// Gives a task to the next free thread.
    ///
    /// # Errors
    /// [`Failure::NotSent`]: there are too many, or the store is closed.
    pub(super) fn submit(
        &self,
        purpose: Purpose,
        task: impl FnOnce(&mut Lane) + Send + 'static,
    ) -> Result<(), Failure> {
        let road = self.road(purpose);
        let mut queue = road.queue.lock();
        if road.is_closed.load(Ordering::Acquire) || queue.tasks.len() >= TASKS_MAX {
            return Err(out_of_service());
        }
        queue.tasks.push_back(Box::new(task));
        drop(queue);
        road.is_work.notify_one();
        Ok(())
    }

    /// Carries out `work` on a connection, again if that is needed and harmless, until `deadline`.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn run<T: Send + 'static>(
        &self,
        purpose: Purpose,
        deadline: Instant,
        mut work: impl FnMut(&mut Connection) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        self.run_in_lane(purpose, deadline, move |lane| {
            lane.attempt(deadline, &mut work)
        })
    }

    /// Carries out `work` once, unless `deadline` is over before a thread is free.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn run_in_lane<T: Send + 'static>(
        &self,
        purpose: Purpose,
        deadline: Instant,
        work: impl FnOnce(&mut Lane) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let slot = Slot::new();
        let taken = Arc::clone(&slot);
        self.submit(purpose, move |lane| {
            if taken.take() {
                taken.put(work(lane));
            }
        })?;
        slot.wait(&self.clock, deadline)
    }

    /// Whether every writer waits for a server that does not answer.
    pub(super) fn is_stuck(&self) -> bool {
        let queue = self.writers.queue.lock();
        // At the end there are no writers.
        queue.n_stuck > 0 && queue.n_stuck >= queue.n_threads
    }

    /// How many writers wait for a server that does not answer, although nobody waits for them any
    /// more.
    pub(super) fn n_stuck(&self) -> usize {
        self.writers.queue.lock().n_stuck
    }

    /// Ends the threads.
    pub(super) fn close(&self) {
        for road in [&self.writers, &self.readers] {
            road.is_closed.store(true, Ordering::Release);
            road.queue.lock().tasks.clear();
            road.is_work.notify_all();
        }
        for road in [&self.writers, &self.readers] {
            let mut queue = road.queue.lock();
            while queue.n_threads > 0 {
                if road.is_end.wait_for(&mut queue, CLOSE_TIMEOUT).timed_out() {
                    break;
                }
            }
        }
    }
}

/// The failure of a task that cannot be taken.
fn out_of_service() -> Failure {
    let reason = "the store is closed, or has too much to do";
    Failure::NotSent(Arc::new(io::Error::other(reason)))
}

/// Starts a thread.
fn begin(road: &Arc<Road>, access: &Arc<Access>, clock: &Clock) -> io::Result<()> {
    let mut lane = Lane {
        access: Arc::clone(access),
        clock: clock.clone(),
        road: Arc::clone(road),
        connection: None,
    };
    #[cfg(test)]
    let planted = bugs::planted();
    let run = move || {
        #[cfg(test)]
        bugs::plant(planted);
        lane.serve();
        let mut queue = lane.road.queue.lock();
        queue.n_threads = queue.n_threads.saturating_sub(1);
        drop(queue);
        lane.road.is_end.notify_all();
    };
    let mut queue = road.queue.lock();
    queue.n_threads = queue.n_threads.saturating_add(1);
    drop(queue);
    thread::Builder::new()
        .name("database".to_owned())
        .spawn(run)?;
    Ok(())
}

impl Lane {
    /// Carries out tasks until the end.
    fn serve(&mut self) {
        while let Some(task) = self.next() {
            if catch_unwind(AssertUnwindSafe(|| task(self))).is_err() {
                // The panic is in the log. Whoever waits gets an error at the deadline.
                self.connection = None;
            }
            self.settle();
        }
    }

    fn next(&self) -> Option<Task> {
        let mut queue = self.road.queue.lock();
        while !self.is_closed() {
            let task = queue.tasks.pop_front();
            if task.is_some() {
                return task;
            }
            self.road.is_work.wait(&mut queue);
        }
        drop(queue);
        None
    }

    fn is_closed(&self) -> bool {
        self.road.is_closed.load(Ordering::Acquire)
    }

    /// The clock of the store.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Waits until the server has answered what nobody waits for any more.
    fn settle(&mut self) {
        let Some(connection) = self.connection.as_mut().filter(|it| it.is_waiting()) else {
            return;
        };
        let count = |change: fn(usize, usize) -> usize| {
            let mut queue = self.road.queue.lock();
            queue.n_stuck = change(queue.n_stuck, 1);
        };
        count(usize::saturating_add);
        loop {
            match connection.settle() {
                // A server that another has replaced may never answer.
                Ok(false)
                    if !self.road.is_closed.load(Ordering::Acquire)
                        && !connection.is_of_the_past(&self.access) => {}
                Ok(true) => break,
                Ok(false) | Err(_) => {
                    self.connection = None;
                    break;
                }
            }
        }
        count(usize::saturating_sub);
    }

    /// Calls `work` with the connection until it succeeds or fails for good, or `deadline` has
    /// passed.
    ///
    /// # Errors
    /// [`Failure`]: the last one.
    pub(super) fn attempt<T>(
        &mut self,
        deadline: Instant,
        work: &mut dyn FnMut(&mut Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let failure = match self.connected(deadline).and_then(&mut *work) {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            let keeps = match &failure {
                Failure::Refused(refusal) if refusal.is_passing() => true,
                Failure::Refused(refusal) if refusal.is_of_server() => false,
                Failure::Refused(_) | Failure::Waiting => return Err(failure),
                Failure::NotSent(_) | Failure::Unknown(_) => {
                    self.connection.as_ref().is_some_and(|it| !it.is_broken())
                }
            };
            if !keeps {
                self.connection = None;
            }
            let left = deadline.saturating_duration_since(self.clock.now());
            if left.is_zero() || self.is_closed() {
                return Err(failure);
            }
            self.clock.pause(pause.min(left));
            pause = pause.saturating_mul(2).min(RETRY_PAUSE_MAX);
        }
    }

    fn connected(&mut self, deadline: Instant) -> Result<&mut Connection, Failure> {
        let usable = self
            .connection
            .take()
            .filter(|it| !it.is_broken() && !it.is_waiting());
        let connection = match usable {
            Some(connection) => connection,
            None => open(&self.access, &self.clock, deadline)?,
        };
        Ok(self.connection.insert(connection))
    }
}

/// Connects, and prepares all statements.
///
/// # Errors
/// [`Failure`]; nothing was done.
pub(super) fn open(
    access: &Access,
    clock: &Clock,
    deadline: Instant,
) -> Result<Connection, Failure> {
    let mut connection = Connection::open(access, clock, deadline)?;
    let prepared = connection.prepare(statements::ALL, deadline);
    match prepared {
        Ok(()) => Ok(connection),
        // What the statement would do has not been sent.
        Err(Failure::Waiting | Failure::Unknown(_)) => Err(Failure::NotSent(Arc::new(
            io::Error::other("the server does not answer"),
        ))),
        Err(other @ (Failure::NotSent(_) | Failure::Refused(_))) => Err(other),
    }
}

/// The moment after this time.
pub(super) fn after(clock: &Clock, time: Duration) -> Instant {
    let now = clock.now();
    now.checked_add(time).unwrap_or(now)
}
