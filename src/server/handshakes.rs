//! The handshakes of TLS: what they begin with, and the few threads that compute them.
//!
//! # Theory of operation
//! A handshake goes deep into the stack and uses many small pieces of memory, and what a thread has
//! once used stays with it as long as its client is there. So the thread of a session does not
//! compute its handshake (NET-1). It only waits for the client; when octets have come it gives its
//! [`Tunnel`] away for one step, and gets it back advanced.
//!
//! The steps are computed by workers, which are started before anybody is served. A client that
//! falls silent in the middle of a handshake has the thread of its session and no other (NET-4).
//!
//! # Invariants
//! - A worker never waits for a client: it reads what is there and writes what the socket takes at
//!   once, and the session waits for the rest.
//! - A session has one step at most with the workers: no more steps wait than there are sessions.
//!
//! # Failures
//! A panic ends the session whose step it was; the worker goes on (SEC-17).

use std::any::Any;
use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::num::NonZeroUsize;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SendError, Sender, SyncSender, channel, sync_channel};
use std::thread;

use parking_lot::Mutex;
use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::current::Current;
use super::limits;
use super::tls::{Identity, Tunnel};

/// What TLS begins with, and who computes it. The workers end when this is dropped.
#[derive(Debug)]
pub struct Handshakes {
    identity: Arc<Current<Identity>>,
    steps: Sender<Step>,
}

/// A tunnel that is to be advanced, and where it is waited for.
#[derive(Debug)]
struct Step {
    tunnel: Box<Tunnel>,
    stream: Arc<TcpStream>,
    advanced: SyncSender<Advanced>,
}

/// A tunnel after a step, and what came of that: see [`Tunnel::advance`]. The outer error is a
/// panic.
pub(super) type Advanced = (Box<Tunnel>, Result<io::Result<bool>, Box<dyn Any + Send>>);

impl Handshakes {
    /// Starts so many workers.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(identity: Arc<Current<Identity>>, n_workers: NonZeroUsize) -> io::Result<Self> {
        let (steps, waiting) = channel();
        let waiting = Arc::new(Mutex::new(waiting));
        for number in 1..=n_workers.get() {
            let waiting = Arc::clone(&waiting);
            thread::Builder::new()
                .name(format!("handshake-{number}"))
                .stack_size(limits::STACK_OCTETS)
                .spawn(move || work(&waiting))?;
        }
        Ok(Self { identity, steps })
    }

    /// What handshakes begin with, which may be replaced.
    pub fn identity(&self) -> &Current<Identity> {
        &self.identity
    }

    /// Has the tunnel advanced over `stream`, as far as that goes without a wait; `None` when it
    /// was lost.
    pub(super) fn advance(&self, tunnel: Box<Tunnel>, stream: &Arc<TcpStream>) -> Option<Advanced> {
        let (advanced, result) = sync_channel(1);
        let step = Step {
            tunnel,
            stream: Arc::clone(stream),
            advanced,
        };
        if let Err(SendError(step)) = self.steps.send(step) {
            // No worker is left.
            step.take();
        }
        result.recv().ok()
    }
}

/// The life of a worker.
fn work(waiting: &Mutex<Receiver<Step>>) {
    loop {
        // One worker waits for the next step, and the others for the lock.
        let next = waiting.lock().recv();
        match next {
            Ok(step) => step.take(),
            Err(_) => return,
        }
    }
}

impl Step {
    fn take(self) {
        let Self {
            mut tunnel,
            stream,
            advanced,
        } = self;
        // The session ends in the panic, so what the tunnel is like then does not matter.
        let result = catch_unwind(AssertUnwindSafe(|| {
            let result = tunnel.advance(AtOnce(&stream), limits::READ_OCTETS_MIN);
            // Made and given back by the same thread.
            tunnel.release();
            result
        }));
        // The session waits for it.
        drop(advanced.send((tunnel, result)));
    }
}

/// A socket that is read and written as far as that goes without a wait, whatever its timeouts.
#[derive(Clone, Copy, Debug)]
struct AtOnce<'a>(&'a TcpStream);

impl Read for AtOnce<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (_, octets) = recv(self.0, into, RecvFlags::DONTWAIT)?;
        Ok(octets)
    }
}

impl Write for AtOnce<'_> {
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
