//! Hears what other nodes tell of changes, and tells it to the watches of this node.
//!
//! One thread listens on a connection of its own. When that is lost, something may have been missed
//! until there is another one: then all watches begin again.

use crate::{mail::MailboxName, store::Change};

use super::{
    connection::{Connection, Failure},
    end::End,
    hints::{Hint, parse, which_are_there},
    house::{self, node_text},
    lanes::after,
    limits::{BATCH_LETTERS_MAX, HOUSE_TIMEOUT, RETRY_PAUSE_MAX},
    listing::entry,
    open::OpenStore,
    statements::TIMELINE,
};

/// A connection that listens, and the timeline of its server.
#[derive(Debug)]
pub(super) struct Listening {
    connection: Connection,
    timeline: Option<String>,
}

/// Connects and listens.
///
/// # Errors
/// [`Failure`].
pub(super) fn connect(store: &OpenStore) -> Result<Listening, Failure> {
    let deadline = after(&store.clock, HOUSE_TIMEOUT);
    let mut connection = house::connect(store, deadline)?;
    connection.query("listen facteur", deadline)?;
    let answer = connection.ask(&TIMELINE, &[], deadline)?;
    let timeline = answer.row(0).and_then(|row| row.text(0)).map(str::to_owned);
    Ok(Listening {
        connection,
        timeline,
    })
}

/// Listens until the end.
pub(super) fn listen(store: &OpenStore, first: Listening, end: &End) {
    let node = node_text(&store.lease.node);
    let mut timeline = first.timeline;
    let mut connection = Some(first.connection);
    while !end.is_asked() {
        let heard = match &mut connection {
            Some(connection) => hear(store, connection, &node),
            None => connect(store).map(|made| {
                connection = Some(made.connection);
                if made.timeline != timeline {
                    store.counters.failovers.increment();
                    timeline = made.timeline;
                }
                store.hub.skip();
            }),
        };
        if heard.is_err() {
            connection = None;
            end.wait(RETRY_PAUSE_MAX);
        }
    }
}

/// Waits a moment for hints, and looks at what they name.
fn hear(store: &OpenStore, connection: &mut Connection, node: &str) -> Result<(), Failure> {
    let Some(told) = connection.notifications()? else {
        store.hub.skip();
        return Ok(());
    };
    for notification in &told {
        match parse(&notification.text, node) {
            Some(hints) => {
                for hints in hints.chunks(BATCH_LETTERS_MAX) {
                    look(store, connection, hints)?;
                }
            }
            None => store.hub.skip(),
        }
    }
    Ok(())
}

/// Tells watches whether the messages that hints name are there.
fn look(store: &OpenStore, connection: &mut Connection, hints: &[Hint<'_>]) -> Result<(), Failure> {
    if hints.is_empty() || !store.hub.is_recording() {
        return Ok(());
    }
    let deadline = after(&store.clock, HOUSE_TIMEOUT);
    let are_there = which_are_there(connection, hints, deadline)?;
    for (hint, is_there) in hints.iter().zip(are_there) {
        let mailbox = MailboxName::from_canonical(hint.local_part, hint.domain);
        let (Some(mailbox), Some(entry)) = (mailbox, entry(hint.name, 0)) else {
            continue;
        };
        let change = if is_there {
            Change::Arrived
        } else {
            Change::Removed
        };
        store.hub.tell(change, &mailbox, entry.id());
    }
    Ok(())
}
