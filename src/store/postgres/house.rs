//! What a node does all the time: it renews its lease, ends claims, tells the other nodes of
//! changes, looks for messages that come late, and removes content that no mailbox has.
//!
//! One thread does all of it, on a connection of its own that does not wait for standbys. It sleeps
//! until somebody has work for it, and looks every [`WAIT_SLICE`] what is due. What fails is done
//! again; nobody waits for it.

use std::{fmt::Write as _, time::Instant};

use crate::{
    mail::MailboxName,
    store::{Error, Event},
};

use super::{
    connection::{Connection, Failure, UUID_OCTETS, Value},
    end::End,
    lanes::{self, Purpose, after},
    late,
    limits::{
        ANSWER_TIMEOUT, CLOSE_TIMEOUT, DOUBT_INTERVAL, GARBAGE_INTERVAL, HINT_PAUSE, HOUSE_TIMEOUT,
        RENEW_INTERVAL, RETRY_PAUSE_MAX, SEARCH_INTERVAL, WAIT_SLICE,
    },
    open::OpenStore,
    statements::{CLAIMS, FIND_ORPHANS, FORGET_NODES, LEAVE, RELEASE, REMOVE_ORPHANS, RENEW, TELL},
};

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
    connection.query(
        "set synchronous_commit = local; set lock_timeout = '1s'",
        deadline,
    )?;
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
    let mut search = after(&store.clock, SEARCH_INTERVAL);
    let (mut doubt, mut seen) = (store.clock.now(), None);
    let mut is_failing = false;
    while !end.wait_for_work(WAIT_SLICE) {
        let now = store.clock.now();
        let made = match connection.take() {
            Some(connection) => Ok(connection),
            None => connect(store, after(&store.clock, HOUSE_TIMEOUT)),
        };
        let done = made.and_then(|mut made| {
            if now >= renewal {
                renew(store, &mut made)?;
                renewal = after(&store.clock, RENEW_INTERVAL);
                find_old_claims(store, &mut made)?;
            }
            release(store, &mut made)?;
            if now >= doubt {
                doubt = after(&store.clock, DOUBT_INTERVAL);
                late::look(store, &mut made, &mut seen)?;
            }
            tell(store, &mut made, &node)?;
            if now >= search {
                search = after(&store.clock, SEARCH_INTERVAL);
                find_orphans(store)?;
            }
            if now >= garbage {
                if remove_garbage(store, &mut made)? {
                    end.call();
                } else {
                    garbage = after(&store.clock, GARBAGE_INTERVAL);
                }
            }
            Ok(made)
        });
        let failed = done.as_ref().err().map(ToString::to_string);
        note(store, &mut is_failing, failed);
        connection = done.ok();
        if connection.is_none() {
            if let Some(seen) = seen.take() {
                seen.undo(store);
            }
            renewal = store.clock.now();
            end.wait(RETRY_PAUSE_MAX);
        }
        // What comes meanwhile is done together.
        end.wait(HINT_PAUSE);
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

/// Notes the claims of this node whose sessions it does not have: those of a lease that was lost,
/// and those whose release was lost, or never noted.
fn find_old_claims(store: &OpenStore, connection: &mut Connection) -> Result<(), Failure> {
    let Some(epoch) = store.lease.epoch(&store.clock) else {
        return Ok(());
    };
    let sessions: Vec<i64> = store.sessions.of_lease(epoch).into_iter().collect();
    let values = [Value::Uuid(store.lease.node), Value::Ints(&sessions)];
    let answer = connection.ask(&CLAIMS, &values, after(&store.clock, HOUSE_TIMEOUT))?;
    // Again after the answer: a session is known here before it sends its claim, so that a claim
    // that was seen has a session now, or its session has ended.
    let sessions = store.sessions.of_lease(epoch);
    let rows = answer.returned.iter().flat_map(|returned| &returned.rows);
    let claims = rows.filter_map(|row| {
        let mailbox = MailboxName::from_canonical(row.text(1)?, row.text(0)?)?;
        Some((mailbox, row.int(2)?))
    });
    let old = claims.filter(|(_, session)| !sessions.contains(session));
    store.sessions.give_back(old.collect());
    Ok(())
}

/// Ends the claims of sessions that have ended.
fn release(store: &OpenStore, connection: &mut Connection) -> Result<(), Failure> {
    let ended = store.sessions.take_ended();
    if ended.is_empty() {
        return Ok(());
    }
    let domains: Vec<&str> = ended.iter().map(|(mailbox, _)| mailbox.domain()).collect();
    let locals: Vec<&str> = ended
        .iter()
        .map(|(mailbox, _)| mailbox.local_part())
        .collect();
    let sessions: Vec<i64> = ended.iter().map(|(_, session)| *session).collect();
    let values = [
        Value::Uuid(store.lease.node),
        Value::Texts(&domains),
        Value::Texts(&locals),
        Value::Ints(&sessions),
    ];
    let released = connection.ask(&RELEASE, &values, after(&store.clock, HOUSE_TIMEOUT));
    let answer = match released {
        Ok(answer) => answer,
        Err(failure) => {
            store.sessions.give_back(ended);
            return Err(failure);
        }
    };
    let rows = answer.returned.iter().flat_map(|returned| &returned.rows);
    let left = rows.filter_map(|row| {
        let mailbox = MailboxName::from_canonical(row.text(1)?, row.text(0)?)?;
        Some((mailbox, row.int(2)?))
    });
    store.sessions.give_back(left.collect());
    Ok(())
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

/// Begins to search content that no mailbox has, on another connection: all content is read, and
/// the lease has to be renewed meanwhile. Nobody waits for it.
fn find_orphans(store: &OpenStore) -> Result<(), Failure> {
    let deadline = after(&store.clock, ANSWER_TIMEOUT);
    store.lanes.submit(Purpose::Write, move |lane| {
        let found = lane.attempt(deadline, &mut |connection| {
            connection.ask(&FIND_ORPHANS, &[], deadline).map(drop)
        });
        // What was not found now is found the next time.
        found.unwrap_or_default();
    })
}

/// Removes content that no mailbox has had for an hour, some of it at a time. Returns whether there
/// may be more.
fn remove_garbage(store: &OpenStore, connection: &mut Connection) -> Result<bool, Failure> {
    let deadline = || after(&store.clock, HOUSE_TIMEOUT);
    connection.ask(&FORGET_NODES, &[], deadline())?;
    match connection.ask(&REMOVE_ORPHANS, &[], deadline()) {
        Ok(answer) => Ok(answer
            .row(0)
            .and_then(|row| row.count(0))
            .is_some_and(|n| n > 0)),
        // A message refers to some of it after all, and next time it is left out.
        Err(Failure::Refused(refusal)) if refusal.is_referred_to() => Ok(true),
        Err(failure) => Err(failure),
    }
}
