//! TLS handshakes: the identity that they use, and the few threads that compute them.
//!
//! # Theory of operation
//! A handshake goes deep into the stack and uses many small pieces of memory, and whatever memory a
//! thread has once used stays with it as long as its client is connected. So the thread of a
//! session does not compute its handshake (NET-1). It only waits for the client; when octets have
//! arrived, it hands its [`Tunnel`] over for one step, and gets it back advanced.
//!
//! The jobs are computed by workers, which are started before any client is served. A client that
//! falls silent in the middle of a handshake occupies only the thread of its session (NET-4).
//!
//! # Invariants
//! - A worker never waits for a client: it reads what is there and writes what the socket accepts
//!   immediately, and the session waits for the rest.
//! - A session has at most one job with the workers: no more jobs wait than there are sessions.
//!
//! # Failures
//! A panic ends the session whose job it was; the worker continues (SEC-17).

use std::any::Any;
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use parking_lot::{Condvar, Mutex};
use rustix::net::{RecvFlags, SendFlags, recv, send};
use socket2::Socket;

use super::current::Current;
use super::limits;
use super::tls::{Identity, Tunnel};

/// The identity for TLS, and the workers that compute handshakes. They end when this is dropped.
#[derive(Debug)]
pub struct Handshakes {
    identity: Arc<Current<Identity>>,
    jobs: Arc<Jobs>,
}

/// A tunnel to be advanced, and the channel on which its session waits.
#[derive(Debug)]
struct Job {
    tunnel: Box<Tunnel>,
    stream: Arc<Socket>,
    advanced: SyncSender<Advanced>,
}

/// The result of a step: see [`Tunnel::advance`].
pub(super) enum Advance {
    Done(io::Result<bool>),
    /// It broke an invariant in facteur.
    Panicked(Box<dyn Any + Send>),
}

/// A tunnel after a step.
pub(super) type Advanced = (Box<Tunnel>, Advance);

impl Handshakes {
    /// Starts `n_workers` workers.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(identity: Arc<Current<Identity>>, n_workers: NonZeroUsize) -> io::Result<Self> {
        let jobs = Arc::new(Jobs::default());
        // If a thread cannot be started, dropping this ends the others.
        let handshakes = Self { identity, jobs };
        for number in 1..=n_workers.get() {
            let jobs = Arc::clone(&handshakes.jobs);
            thread::Builder::new()
                .name(format!("handshake-{number}"))
                .stack_size(limits::STACK_OCTETS)
                .spawn(move || jobs.work())?;
        }
        Ok(handshakes)
    }

    /// The identity for handshakes, which can be replaced.
    pub fn identity(&self) -> &Current<Identity> {
        &self.identity
    }

    /// Has the tunnel advanced over `stream`, as far as that is possible without waiting; `None` if
    /// it was lost.
    pub(super) fn advance(&self, tunnel: Box<Tunnel>, stream: &Arc<Socket>) -> Option<Advanced> {
        let (advanced, result) = sync_channel(1);
        self.jobs.add(Job {
            tunnel,
            stream: Arc::clone(stream),
            advanced,
        });
        result.recv().ok()
    }
}

impl Drop for Handshakes {
    fn drop(&mut self) {
        self.jobs.end();
    }
}

/// The jobs that wait for a worker, first come, first served.
#[derive(Debug, Default)]
struct Jobs {
    queue: Mutex<Queue>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    jobs: VecDeque<Job>,
    /// Whether no more will be added.
    is_over: bool,
}

impl Jobs {
    fn add(&self, job: Job) {
        self.queue.lock().jobs.push_back(job);
        self.changed.notify_one();
    }

    fn end(&self) {
        self.queue.lock().is_over = true;
        self.changed.notify_all();
    }

    /// Waits for the next job; `None` if there will be no more.
    fn next(&self) -> Option<Job> {
        let mut queue = self.queue.lock();
        while queue.jobs.is_empty() && !queue.is_over {
            self.changed.wait(&mut queue);
        }
        queue.jobs.pop_front()
    }

    /// The loop of a worker.
    fn work(&self) {
        while let Some(job) = self.next() {
            job.take();
        }
    }
}

impl Job {
    fn take(self) {
        let Self {
            mut tunnel,
            stream,
            advanced,
        } = self;
        // The panic ends the session, so the state of the tunnel does not matter.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let result = tunnel.advance(NonBlocking(&stream), limits::READ_OCTETS_MIN);
            // Allocated and freed by the same thread.
            tunnel.release();
            result
        }));
        let result = result.map_or_else(Advance::Panicked, Advance::Done);
        // The session is waiting for it.
        advanced.send((tunnel, result)).ok();
    }
}

/// A socket that is read and written only as far as possible without waiting, whatever its
/// timeouts.
#[derive(Clone, Copy, Debug)]
struct NonBlocking<'a>(&'a Socket);

impl Read for NonBlocking<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (_, octets) = recv(self.0, into, RecvFlags::DONTWAIT)?;
        Ok(octets)
    }
}

impl Write for NonBlocking<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        Ok(send(
            self.0,
            octets,
            SendFlags::DONTWAIT | SendFlags::NOSIGNAL,
        )?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
