//! Tells watches of messages that come although their delivery has failed.
//!
//! # Theory of operation
//! The housekeeping looks for them (`doubts.rs`) as long as they may come. A look asks which of
//! them are in their mailboxes, and then where the log ends. The next one first asks whether the
//! standbys have the log to that place. Then what was there is told. What was missing then was
//! missing on a server that waits for no standby, and does not come if that happens again and
//! again: a commit that is in the log to that place waits no longer.
//!
//! # Invariants
//! - A message is told of once: here, or by its delivery, never by both.
//! - What a look has seen counts on its connection only, so on one server that was not started
//!   again.
//!
//! # Known limits
//! What comes after [`DOUBT_LOOKS`](super::limits::DOUBT_LOOKS) such looks is not told, and neither
//! is what comes after this node has ended. Whoever lists the mailbox finds it.

use crate::store::Change;

use super::{
    connection::{Connection, Failure},
    doubts::Doubt,
    hints::{Hint, which_are_there},
    lanes::after,
    limits::HOUSE_TIMEOUT,
    open::OpenStore,
    proof::{has_log, log_end},
};

/// What a look has seen.
#[derive(Debug)]
pub(super) struct Seen {
    there: Vec<Doubt>,
    missing: Vec<Doubt>,
    /// Where the log ended then.
    place: i64,
}

impl Seen {
    /// Takes back what was seen on a connection that was lost.
    pub(super) fn undo(self, store: &OpenStore) {
        store.doubts.give_back(self.there);
        store.doubts.give_back(self.missing);
    }
}

/// Tells watches of what has come according to `seen`, and looks again. Waits for no standby.
///
/// # Errors
/// [`Failure`].
pub(super) fn look(
    store: &OpenStore,
    connection: &mut Connection,
    seen: &mut Option<Seen>,
) -> Result<(), Failure> {
    let deadline = after(&store.clock, HOUSE_TIMEOUT);
    if let Some(before) = seen
        && !has_log(connection, before.place, store.copies, deadline)?
    {
        return Ok(());
    }
    if let Some(before) = seen.take() {
        for doubt in before.there {
            store.tell(Change::Arrived, &doubt.mailbox, &doubt.name, doubt.id);
        }
        store.doubts.give_back_missing(before.missing);
        if store.doubts.take_forgotten() {
            store.hub.skip();
            store.hints.forget();
        }
    }
    let doubts = store.doubts.take();
    if doubts.is_empty() {
        return Ok(());
    }
    let (is_there, place) = match find(store, connection, &doubts) {
        Ok(found) => found,
        Err(failure) => {
            store.doubts.give_back(doubts);
            return Err(failure);
        }
    };
    let mut is_there = is_there.into_iter();
    let (there, missing) = doubts
        .into_iter()
        .partition(|_| is_there.next() == Some(true));
    *seen = Some(Seen {
        there,
        missing,
        place,
    });
    Ok(())
}

/// Which of these messages are there, in their order, and where the log ends then.
fn find(
    store: &OpenStore,
    connection: &mut Connection,
    doubts: &[Doubt],
) -> Result<(Vec<bool>, i64), Failure> {
    let hints = doubts.iter().map(|doubt| Hint {
        domain: doubt.mailbox.domain(),
        local_part: doubt.mailbox.local_part(),
        name: &doubt.name,
    });
    let hints: Vec<Hint<'_>> = hints.collect();
    let deadline = after(&store.clock, HOUSE_TIMEOUT);
    let is_there = which_are_there(connection, &hints, deadline)?;
    Ok((is_there, log_end(connection, deadline)?))
}
