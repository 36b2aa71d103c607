//! What a node does all the time: it renews its lease, ends claims, tells the other nodes of
//! changes, and removes content that no mailbox has.
//!
//! One thread does all of it, on a connection of its own that does not wait for standbys. What
//! fails is done again; nobody waits for it.

use std::{
    fmt::Write as _,
    io,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::store::{
    Error, Event,
    sync::{Condvar, Mutex, thread},
};

use super::{
    connection::{Connection, Failure, UUID_OCTETS, Value},
    lanes::{self, after},
    limits::{
        CLOSE_TIMEOUT, GARBAGE_INTERVAL, HINT_PAUSE, HOUSE_TIMEOUT, RENEW_INTERVAL, RETRY_PAUSE_MAX,
    },
    open::OpenStore,
    statements::{FIND_ORPHANS, FORGET_NODES, LEAVE, ORPHANS, RELEASE, REMOVE_ORPHAN, RENEW, TELL},
};

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

/// The number of a node as text.
pub(super) fn node_text(node: &[u8; UUID_OCTETS]) -> String {
    node.iter().fold(String::new(), |mut text, octet| {
        // Writing to a String cannot fail.
        write!(text, "{octet:02x}").unwrap_or_default();
        text
    })
}

/// Connects for the housekeeping.
///
/// # Errors
/// [`Failure`].
pub(super) fn connect(store: &OpenStore, deadline: Instant) -> Result<Connection, Failure> {
    let mut connection = lanes::open(&store.access, &store.clock, deadline)?;
    connection.query("set synchronous_commit = local", deadline)?;
    Ok(connection)
}

/// Renews the lease of this node.
///
/// # Errors
/// [`Failure`].
pub(super) fn renew(store: &OpenStore, connection: &mut Connection) -> Result<(), Failure> {
    let begin = store.clock.now();
    let lease = &store.lease;
    let values = [Value::Uuid(lease.node), Value::Text(&lease.name)];
    connection.ask(&RENEW, &values, after(&store.clock, HOUSE_TIMEOUT))?;
    lease.renewed(begin);
    Ok(())
}

/// Does the housekeeping until the end.
pub(super) fn keep(store: &OpenStore, first: Connection, end: &End) {
    let node = node_text(&store.lease.node);
    let mut connection = Some(first);
    let mut renewal = after(&store.clock, RENEW_INTERVAL);
    let mut garbage = store.clock.now();
    let mut is_failing = false;
    while !end.wait(HINT_PAUSE) {
        let now = store.clock.now();
        let made = match connection.take() {
            Some(connection) => Ok(connection),
            None => connect(store, after(&store.clock, HOUSE_TIMEOUT)),
        };
        let done = made.and_then(|mut made| {
            if now >= renewal {
                renew(store, &mut made)?;
                renewal = after(&store.clock, RENEW_INTERVAL);
            }
            release(store, &mut made)?;
            tell(store, &mut made, &node)?;
            if now >= garbage {
                garbage = after(&store.clock, GARBAGE_INTERVAL);
                remove_garbage(store, &mut made)?;
            }
            Ok(made)
        });
        let failed = done.as_ref().err().map(ToString::to_string);
        note(store, &mut is_failing, failed);
        connection = done.ok();
        if connection.is_none() {
            renewal = store.clock.now();
            end.wait(RETRY_PAUSE_MAX);
        }
    }
    if let Some(mut connection) = connection {
        let deadline = after(&store.clock, CLOSE_TIMEOUT);
        let left = connection.ask(&LEAVE, &[Value::Uuid(store.lease.node)], deadline);
        // Otherwise the lease ends by itself.
        left.map(drop).unwrap_or_default();
    }
}

/// Tells the observer when the database cannot be used, once the lease is lost, and when it can be
/// again.
fn note(store: &OpenStore, is_failing: &mut bool, failed: Option<String>) {
    let is_lost = store.lease.epoch(&store.clock).is_none();
    match failed {
        Some(reason) if is_lost && !*is_failing => {
            *is_failing = true;
            let error = Error::other("use", &store.place, reason);
            store.observer.tell(&Event::DatabaseLost { error: &error });
        }
        None if *is_failing => {
            *is_failing = false;
            store.observer.tell(&Event::DatabaseFound);
        }
        Some(_) | None => {}
    }
}

/// Ends the claims of sessions that have ended.
fn release(store: &OpenStore, connection: &mut Connection) -> Result<(), Failure> {
    let claims = store.sessions.take_ended();
    if claims.is_empty() {
        return Ok(());
    }
    let mailboxes: Vec<i64> = claims.iter().map(|claim| claim.mailbox).collect();
    let tokens: Vec<i64> = claims.iter().map(|claim| claim.token).collect();
    let sessions: Vec<i64> = claims.iter().map(|claim| claim.session).collect();
    let values = [
        Value::Ints(&mailboxes),
        Value::Ints(&tokens),
        Value::Ints(&sessions),
    ];
    let released = connection.ask(&RELEASE, &values, after(&store.clock, HOUSE_TIMEOUT));
    released
        .map(drop)
        .inspect_err(|_| store.sessions.give_back(&claims))
}

/// Tells the other nodes of changes.
fn tell(store: &OpenStore, connection: &mut Connection, node: &str) -> Result<(), Failure> {
    while let Some(text) = store.hints.take(node) {
        let deadline = after(&store.clock, HOUSE_TIMEOUT);
        let told = connection.ask(&TELL, &[Value::Text(&text)], deadline);
        told.map(drop).inspect_err(|_| store.hints.forget())?;
    }
    Ok(())
}

/// Removes content that no mailbox has had for an hour, some of it at a time.
fn remove_garbage(store: &OpenStore, connection: &mut Connection) -> Result<(), Failure> {
    let deadline = || after(&store.clock, HOUSE_TIMEOUT);
    connection.ask(&FORGET_NODES, &[], deadline())?;
    connection.ask(&FIND_ORPHANS, &[], deadline())?;
    let answer = connection.ask(&ORPHANS, &[], deadline())?;
    let rows = answer.returned.iter().flat_map(|returned| &returned.rows);
    for name in rows.filter_map(|row| row.text(0)) {
        match connection.ask(&REMOVE_ORPHAN, &[Value::Text(name)], deadline()) {
            Ok(_) => {}
            // A message refers to it after all.
            Err(Failure::Refused(refusal)) if refusal.is_referred_to() => {}
            Err(failure) => return Err(failure),
        }
    }
    Ok(())
}
