//! Who is connected: caps on sessions, and the end of them all when the daemon stops.
//!
//! Every session holds a [`Ticket`] for its life; dropping it gives its place back. A stop wakes
//! the sessions that wait for a command (their sockets' reading side is shut down) and lets the
//! others come to their next wait, so that a content or an update under way is finished.
//!
//! The lock is held for a look-up in a map, never over a system call (NET-7).

use std::collections::HashMap;
use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex};

/// How many sessions there may be at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// In all.
    pub total: usize,
    /// From one loopback address.
    pub per_loopback_address: usize,
    /// From one other address.
    pub per_address: usize,
}

/// Why a client gets no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The total is reached.
    TooMany,
    /// The client's address has its share.
    TooManyFromAddress,
    /// The daemon is stopping.
    ShuttingDown,
}

/// All sessions of the daemon.
#[derive(Debug)]
pub struct Registry {
    caps: Caps,
    draining: AtomicBool,
    sessions: Mutex<Sessions>,
    emptied: Condvar,
}

#[derive(Debug, Default)]
struct Sessions {
    next_id: u64,
    open: HashMap<u64, Open>,
    per_address: HashMap<IpAddr, usize>,
}

#[derive(Debug)]
struct Open {
    stream: Arc<TcpStream>,
    waiting: Arc<AtomicBool>,
}

/// A session's place; it is given back when this is dropped.
#[derive(Debug)]
pub(super) struct Ticket {
    registry: Arc<Registry>,
    id: u64,
    peer: IpAddr,
    waiting: Arc<AtomicBool>,
}

impl Registry {
    /// A registry without sessions.
    pub fn new(caps: Caps) -> Self {
        Self {
            caps,
            draining: AtomicBool::new(false),
            sessions: Mutex::default(),
            emptied: Condvar::new(),
        }
    }

    /// Gives a place to a client at `peer`.
    pub(super) fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        stream: &Arc<TcpStream>,
    ) -> Result<Ticket, Refusal> {
        if self.is_draining() {
            return Err(Refusal::ShuttingDown);
        }
        let peer = peer.to_canonical();
        let per_address = if peer.is_loopback() {
            self.caps.per_loopback_address
        } else {
            self.caps.per_address
        };
        let waiting = Arc::new(AtomicBool::new(false));
        let open = Open {
            stream: Arc::clone(stream),
            waiting: Arc::clone(&waiting),
        };
        let id = self
            .sessions
            .lock()
            .add(peer, open, self.caps.total, per_address)?;
        Ok(Ticket {
            registry: Arc::clone(self),
            id,
            peer,
            waiting,
        })
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Ends the sessions that wait for a command; the others end at their next wait.
    pub fn stop(&self) {
        self.draining.store(true, Ordering::SeqCst);
        let waiting = self.sessions.lock().waiting();
        for stream in waiting {
            // A session that has just ended needs no waking.
            drop(stream.shutdown(Shutdown::Read));
        }
    }

    /// Waits until no session is left, or until `deadline`; gives the number that is left.
    pub fn wait_until_empty(&self, deadline: Instant) -> usize {
        let mut sessions = self.sessions.lock();
        let mut timed_out = false;
        while !sessions.open.is_empty() && !timed_out {
            timed_out = self.emptied.wait_until(&mut sessions, deadline).timed_out();
        }
        sessions.open.len()
    }
}

impl Sessions {
    /// The sockets of the sessions that wait for a command.
    fn waiting(&self) -> Vec<Arc<TcpStream>> {
        let open = self.open.values();
        let waiting = open.filter(|open| open.waiting.load(Ordering::SeqCst));
        waiting.map(|open| Arc::clone(&open.stream)).collect()
    }

    fn add(
        &mut self,
        peer: IpAddr,
        open: Open,
        total: usize,
        per_address: usize,
    ) -> Result<u64, Refusal> {
        if self.open.len() >= total {
            return Err(Refusal::TooMany);
        }
        let from_peer = self.per_address.entry(peer).or_default();
        if *from_peer >= per_address {
            return Err(Refusal::TooManyFromAddress);
        }
        *from_peer = from_peer.saturating_add(1);
        self.next_id = self.next_id.saturating_add(1);
        self.open.insert(self.next_id, open);
        Ok(self.next_id)
    }

    fn remove(&mut self, id: u64, peer: IpAddr) {
        self.open.remove(&id);
        if let Some(from_peer) = self.per_address.get_mut(&peer) {
            *from_peer = from_peer.saturating_sub(1);
            if *from_peer == 0 {
                self.per_address.remove(&peer);
            }
        }
    }
}

impl Ticket {
    /// The number of the session, unique within this run of the daemon.
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Says that the session waits for a command and may be ended; false when it is to end now.
    ///
    /// Both sides write their flag before they read the other's, in one total order: either the
    /// stop sees the waiting session, or the session sees the stop.
    pub(super) fn begin_wait(&self) -> bool {
        self.waiting.store(true, Ordering::SeqCst);
        !self.registry.is_draining()
    }

    /// Says that the session is at work and is to be left alone.
    pub(super) fn end_wait(&self) {
        self.waiting.store(false, Ordering::SeqCst);
    }

    /// Whether the daemon is stopping.
    pub(super) fn is_draining(&self) -> bool {
        self.registry.is_draining()
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut sessions = self.registry.sessions.lock();
        sessions.remove(self.id, self.peer);
        let empty = sessions.open.is_empty();
        drop(sessions);
        if empty {
            self.registry.emptied.notify_all();
        }
    }
}
