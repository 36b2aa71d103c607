//! Messages that are moved here from a Maildir.
//!
//! Each keeps its unique-id, so it gets the name that `../label.rs` gives it, and no new one. Small
//! messages go into the database many at a time, each with the mailbox as one transaction; large
//! ones in parts, like those that are delivered. Everything can be done again: what is there is
//! compared, and never replaced.
//!
//! # Invariants
//! - Content that has a name already is used only if it is the same, octet for octet. If a copy of
//!   a message differs from the others (another program has edited it), it keeps the name of its
//!   file, and has a content of its own.
//! - `Ok` from [`Intake::finish`] means that everything is durable, as for a delivery.

use std::{collections::HashMap, sync::Arc};

use crate::{
    mail::MailboxName,
    store::{
        Error,
        label::{Label, Source},
        sent_size::SentSize,
    },
};

use super::{
    connection::{Ask, Connection, Failure, Value},
    lanes::{Purpose, after},
    limits::{ANSWER_TIMEOUT, BATCH_LETTERS_MAX, BATCH_OCTETS_MAX, DELIVERY_TIMEOUT, PART_OCTETS},
    message::Message,
    open::{OpenStore, check_name},
    proof::{certain, unexpected},
    statements::{BRING, CONTENTS, DROP_PARTS, OTHER_NODES},
    writing::{self, Contents},
};

/// What was being done when it failed.
const MOVE: &str = "move messages into";

/// A small message that waits for its batch.
#[derive(Clone, Debug)]
struct Incoming {
    /// Its name as it was delivered, or that with the name of its file.
    name: String,
    /// The name with the name of its file, if it may still get that.
    other_name: Option<String>,
    content: Vec<u8>,
    sent_octets: u64,
    /// Whether the database has this content under this name.
    is_there: bool,
}

/// Messages on their way into one mailbox.
#[derive(Debug)]
pub(in crate::store) struct Intake {
    store: Arc<OpenStore>,
    mailbox: MailboxName,
    waiting: Vec<Incoming>,
    waiting_octets: usize,
}

/// Content that has the name of a message that is to be moved here.
#[derive(Debug)]
struct Present {
    is_complete: bool,
    octets: u64,
    /// `None` if it is in parts.
    body: Option<Vec<u8>>,
}

/// Checks that no other node serves the mailboxes.
///
/// # Errors
/// [`Error::Served`] if one does, [`Error::Io`] if it cannot be determined.
pub(super) fn check_alone(store: &Arc<OpenStore>) -> Result<(), Error> {
    let deadline = after(&store.clock, ANSWER_TIMEOUT);
    let node = store.lease.node;
    let others = store
        .lanes
        .run(Purpose::Write, deadline, move |connection| {
            let answer = connection.ask(&OTHER_NODES, &[Value::Uuid(node)], deadline)?;
            let row = answer.row(0).ok_or_else(unexpected)?;
            row.bool(0).ok_or_else(unexpected)
        });
    if others.map_err(|failure| store.failed(MOVE, failure))? {
        let path = store.place.clone();
        return Err(Error::Served { path });
    }
    Ok(())
}

impl Intake {
    /// Makes the mailbox, and begins.
    ///
    /// # Errors
    /// [`Error::NameTooLong`], [`Error::Io`].
    pub(super) fn begin(store: &Arc<OpenStore>, mailbox: &MailboxName) -> Result<Self, Error> {
        check_name(mailbox)?;
        let deadline = after(&store.clock, ANSWER_TIMEOUT);
        let name = mailbox.clone();
        let made = store
            .lanes
            .run(Purpose::Write, deadline, move |connection| {
                writing::make_mailboxes(connection, &[&name], deadline)
            });
        made.map_err(|failure| store.failed(MOVE, failure))?;
        Ok(Self {
            store: Arc::clone(store),
            mailbox: mailbox.clone(),
            waiting: Vec::new(),
            waiting_octets: 0,
        })
    }

    /// Adds a message.
    ///
    /// # Errors
    /// Any [`Error`]: some of the messages may have been moved.
    pub(in crate::store) fn add(
        &mut self,
        label: &Label,
        message: &dyn Source,
    ) -> Result<(), Error> {
        let too_long = || Error::NameTooLong {
            mailbox: self.mailbox.clone(),
        };
        let other_name = label.name_in(&self.mailbox).ok_or_else(too_long)?;
        let content = beginning(message)?;
        if content.len() > PART_OCTETS {
            let own_name = message.octets().and_then(|it| label.own_name(it));
            return self.add_large((own_name, other_name), message);
        }
        let mut size = SentSize::default();
        size.add(&content);
        let own_name = label.own_name(size.stored_octets());
        let is_own = own_name.is_some();
        let incoming = Incoming {
            name: own_name.unwrap_or_else(|| other_name.clone()),
            other_name: is_own.then_some(other_name),
            sent_octets: size.octets(),
            content,
            is_there: false,
        };
        let after = self.waiting_octets.saturating_add(incoming.content.len());
        if after > BATCH_OCTETS_MAX || self.waiting.len() >= BATCH_LETTERS_MAX {
            self.flush()?;
        }
        self.waiting_octets = self.waiting_octets.saturating_add(incoming.content.len());
        self.waiting.push(incoming);
        Ok(())
    }

    /// Moves what waits.
    ///
    /// # Errors
    /// As [`add`](Self::add).
    pub(in crate::store) fn finish(mut self) -> Result<(), Error> {
        self.flush()
    }

    fn flush(&mut self) -> Result<(), Error> {
        let mut batch = std::mem::take(&mut self.waiting);
        self.waiting_octets = 0;
        if batch.is_empty() {
            return Ok(());
        }
        // Twice: a message that gets its other name may have been moved before under that name.
        for _ in 0..2 {
            let new = batch.iter().filter(|it| !it.is_there);
            let present = self.contents(new.map(|it| it.name.clone()).collect())?;
            for incoming in batch.iter_mut().filter(|it| !it.is_there) {
                let Some(present) = present.get(&incoming.name) else {
                    continue;
                };
                let is_same = present.body.as_ref() == Some(&incoming.content);
                planted!(NamesAreTrusted, incoming.is_there = true);
                if present.is_complete && is_same {
                    incoming.is_there = true;
                } else if !incoming.is_there {
                    let name = incoming.other_name.take();
                    incoming.name = name.ok_or_else(|| self.differs(&incoming.name))?;
                }
            }
        }
        let messages = batch.iter().map(|it| it.name.clone()).collect();
        batch.retain(|it| !it.is_there);
        self.bring(batch, messages)
    }

    /// The error that other content has this name.
    fn differs(&self, name: &str) -> Error {
        let path = self.store.path_of(&self.mailbox).join(name);
        let reason = "the database has other content under this name";
        Error::other("move a message to", path, reason)
    }

    /// The contents with these names that are there.
    fn contents(&self, names: Vec<String>) -> Result<HashMap<String, Present>, Error> {
        let deadline = after(&self.store.clock, ANSWER_TIMEOUT);
        let read = self
            .store
            .lanes
            .run(Purpose::Write, deadline, move |connection| {
                let names: Vec<&str> = names.iter().map(String::as_str).collect();
                let answer = connection.ask(&CONTENTS, &[Value::Texts(&names)], deadline)?;
                let rows = answer.returned.iter().flat_map(|returned| &returned.rows);
                let present = rows.map(|row| {
                    let name = row.text(0).ok_or_else(unexpected)?.to_owned();
                    let present = Present {
                        is_complete: row.bool(1).ok_or_else(unexpected)?,
                        octets: row.count(2).ok_or_else(unexpected)?,
                        body: row.octets(3).map(<[u8]>::to_vec),
                    };
                    Ok((name, present))
                });
                present.collect::<Result<HashMap<_, _>, Failure>>()
            });
        read.map_err(|failure| self.store.failed(MOVE, failure))
    }

    /// Puts contents into the database, and `messages` into the mailbox.
    fn bring(&self, contents: Vec<Incoming>, messages: Vec<String>) -> Result<(), Error> {
        interruption!();
        let store = Arc::clone(&self.store);
        let mailbox = self.mailbox.clone();
        let deadline = after(&store.clock, DELIVERY_TIMEOUT);
        let done = self
            .store
            .lanes
            .run(Purpose::Write, deadline, move |connection| {
                let mut columns = Contents::default();
                for it in &contents {
                    columns.add(&it.name, &it.content, it.sent_octets);
                }
                let of_mailbox: Vec<&str> = messages.iter().map(String::as_str).collect();
                let ask = Ask {
                    statement: &BRING,
                    values: &[
                        store.single(),
                        Value::Texts(&columns.names),
                        Value::Ints(&columns.stored),
                        Value::Ints(&columns.sent),
                        Value::Blobs(&columns.bodies),
                        Value::Text(mailbox.domain()),
                        Value::Text(mailbox.local_part()),
                        Value::Texts(&of_mailbox),
                    ],
                };
                let terms = store.terms(deadline, (0, 3));
                let answer = certain(connection, &[ask], terms, &mut |_, _| true)?;
                writing::check_whole(&store, answer.row(0).and_then(|row| row.bool(2)))
            });
        done.map_err(|failure| self.store.failed(MOVE, failure))
    }

    /// Moves a message that is larger than a part. Its first octets have been read already.
    fn add_large(
        &mut self,
        (own_name, other_name): (Option<String>, String),
        message: &dyn Source,
    ) -> Result<(), Error> {
        for name in own_name.into_iter().chain([other_name.clone()]) {
            let mut present = self.contents(vec![name.clone()])?;
            let Some(present) = present.remove(&name).filter(|it| it.is_complete) else {
                return self.send_large(name, message);
            };
            let there = Message::found(&self.store, &name, (present.octets, present.body));
            if is_same(message, &there)? {
                return self.bring(Vec::new(), vec![name]);
            }
        }
        Err(self.differs(&other_name))
    }

    /// Sends a message in parts.
    fn send_large(&self, name: String, message: &dyn Source) -> Result<(), Error> {
        let text = name.clone();
        self.work(move |connection, deadline| {
            let values = [Value::Text(&text)];
            connection.ask(&DROP_PARTS, &values, deadline).map(drop)
        })?;
        let mut size = SentSize::default();
        let mut n_sent = 0_i32;
        loop {
            let mut octets = vec![0; BATCH_OCTETS_MAX];
            let n_read = message.read_at(size.stored_octets(), &mut octets)?;
            octets.truncate(n_read);
            if octets.is_empty() {
                break;
            }
            size.add(&octets);
            let first = n_sent;
            n_sent = first.saturating_add(writing::n_parts(octets.len()));
            let text = name.clone();
            self.work(move |connection, deadline| {
                writing::add_parts(connection, &text, (first, &octets), deadline)
            })?;
        }
        let (store, mailbox) = (Arc::clone(&self.store), self.mailbox.clone());
        self.work(move |connection, deadline| {
            let message = (&*name, size, std::slice::from_ref(&mailbox));
            writing::complete(&store, connection, message, deadline)
        })
    }

    /// Carries out a statement.
    fn work(
        &self,
        mut work: impl FnMut(&mut Connection, std::time::Instant) -> Result<(), Failure>
        + Send
        + 'static,
    ) -> Result<(), Error> {
        interruption!();
        let deadline = after(&self.store.clock, DELIVERY_TIMEOUT);
        let done = self
            .store
            .lanes
            .run(Purpose::Write, deadline, move |connection| {
                work(connection, deadline)
            });
        done.map_err(|failure| self.store.failed(MOVE, failure))
    }
}

/// The octets of a message, or, if they are more than a part, those and one more.
fn beginning(message: &dyn Source) -> Result<Vec<u8>, Error> {
    let octets = message.octets().map(usize::try_from);
    let octets = octets.and_then(Result::ok).unwrap_or(PART_OCTETS);
    // One more shows whether the file has grown.
    let mut content = vec![0; octets.min(PART_OCTETS).saturating_add(1)];
    let n_read = message.read_at(0, &mut content)?;
    content.truncate(n_read);
    if content.len() > octets {
        return Err(message.cut_short());
    }
    Ok(content)
}

/// Whether two messages have the same octets.
fn is_same(left: &dyn Source, right: &Message) -> Result<bool, Error> {
    let (mut of_left, mut of_right) = (vec![0; PART_OCTETS], vec![0; PART_OCTETS]);
    let mut offset = 0_u64;
    loop {
        let n_left = left.read_at(offset, &mut of_left)?;
        let n_right = right.read_at(offset, &mut of_right)?;
        if of_left.get(..n_left) != of_right.get(..n_right) {
            return Ok(false);
        }
        if n_left == 0 {
            return Ok(true);
        }
        offset = offset.saturating_add(u64::try_from(n_left).unwrap_or(u64::MAX));
    }
}
