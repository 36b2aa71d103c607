//! What deliveries and moves write in the same way: mailboxes, contents, and large messages in
//! parts.

use std::time::Instant;

use crate::{mail::MailboxName, store::sent_size::SentSize};

use super::{
    connection::{Ask, Connection, Failure, Value},
    limits::{MAILBOXES_AT_ONCE, PART_OCTETS},
    open::OpenStore,
    proof::{certain, unexpected},
    statements::{ADD_PARTS, COMPLETE, LOCK_TIMEOUT, MAKE_MAILBOX},
};

/// A transaction that begins with this waits for each lock for two seconds at most. facteur itself
/// has no lock that keeps messages out of a mailbox, but somebody who works with the tables may.
pub(super) const PATIENCE: Ask<'static> = Ask {
    statement: &LOCK_TIMEOUT,
    values: &[],
};

/// Contents as the columns of a statement.
#[derive(Debug, Default)]
pub(super) struct Contents<'a> {
    pub(super) names: Vec<&'a str>,
    /// Octets as they are stored.
    pub(super) stored: Vec<i64>,
    /// Octets that RETR sends.
    pub(super) sent: Vec<i64>,
    pub(super) bodies: Vec<&'a [u8]>,
}

impl<'a> Contents<'a> {
    /// Adds a content, of which RETR sends so many octets.
    pub(super) fn add(&mut self, name: &'a str, body: &'a [u8], sent_octets: u64) {
        self.names.push(name);
        self.stored
            .push(i64::try_from(body.len()).unwrap_or(i64::MAX));
        self.sent.push(signed(sent_octets));
        self.bodies.push(body);
    }
}

/// A size as the database has it.
fn signed(octets: u64) -> i64 {
    i64::try_from(octets).unwrap_or(i64::MAX)
}

/// How many parts a content of so many octets has.
pub(super) fn n_parts(octets: usize) -> i32 {
    i32::try_from(octets.div_ceil(PART_OCTETS)).unwrap_or(i32::MAX)
}

/// Makes the mailboxes that are missing, in order, each as a transaction of its own: otherwise two
/// batches could wait for each other.
pub(super) fn make_mailboxes(
    connection: &mut Connection,
    mailboxes: &[&MailboxName],
    deadline: Instant,
) -> Result<(), Failure> {
    for mailboxes in mailboxes.chunks(MAILBOXES_AT_ONCE) {
        let values = mailboxes.iter().map(|mailbox| {
            [
                Value::Text(mailbox.domain()),
                Value::Text(mailbox.local_part()),
            ]
        });
        let values: Vec<[Value<'_>; 2]> = values.collect();
        let statement = &MAKE_MAILBOX;
        let asks = values.iter().map(|values| [Ask { statement, values }]);
        let asks: Vec<[Ask<'_>; 1]> = asks.collect();
        let groups: Vec<&[Ask<'_>]> = asks.iter().map(|ask| &ask[..]).collect();
        connection.send(&groups, deadline)?;
        let mut made = Ok(());
        for _ in &groups {
            // Every group has an answer, and that must be read.
            match connection.answer(deadline) {
                Ok(_) => {}
                Err(Failure::Waiting) => return Err(Failure::Waiting),
                Err(failure) if connection.is_broken() => return Err(failure),
                Err(failure) => made = Err(failure),
            }
        }
        made?;
    }
    Ok(())
}

/// Adds `octets` to a large message, as parts from the number `first` on.
pub(super) fn add_parts(
    connection: &mut Connection,
    name: &str,
    (first, octets): (i32, &[u8]),
    deadline: Instant,
) -> Result<(), Failure> {
    let numbers: Vec<i32> = (first..first.saturating_add(n_parts(octets.len()))).collect();
    let parts: Vec<&[u8]> = octets.chunks(PART_OCTETS).collect();
    let values = [
        Value::Text(name),
        Value::Shorts(&numbers),
        Value::Blobs(&parts),
    ];
    connection.ask(&ADD_PARTS, &values, deadline).map(drop)
}

/// Declares a large message complete, if every octet is there, and puts it into its mailboxes.
pub(super) fn complete(
    store: &OpenStore,
    connection: &mut Connection,
    (name, size, mailboxes): (&str, SentSize, &[MailboxName]),
    deadline: Instant,
) -> Result<(), Failure> {
    let domains: Vec<&str> = mailboxes.iter().map(MailboxName::domain).collect();
    let locals: Vec<&str> = mailboxes.iter().map(MailboxName::local_part).collect();
    let ask = Ask {
        statement: &COMPLETE,
        values: &[
            store.single(),
            Value::Text(name),
            Value::Int(signed(size.stored_octets())),
            Value::Int(signed(size.octets())),
            Value::Texts(&domains),
            Value::Texts(&locals),
        ],
    };
    let terms = store.terms(deadline, (1, 4));
    let answer = certain(connection, &[PATIENCE, ask], terms, &mut |_, _| true)?;
    let row = answer.row(1).ok_or_else(unexpected)?;
    check_whole(store, row.bool(2))?;
    if row.bool(3) != Some(true) {
        return Err(Failure::unknown("parts of the message are missing"));
    }
    Ok(())
}

/// Makes sure that what a statement says about its mailboxes is good: that all exist.
pub(super) fn check_whole(store: &OpenStore, is_whole: Option<bool>) -> Result<(), Failure> {
    if is_whole == Some(true) {
        return Ok(());
    }
    // Made on a server that has lost them since.
    store.known.clear();
    Err(Failure::unknown("a mailbox has just disappeared"))
}
