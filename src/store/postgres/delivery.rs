//! A message being received and delivered.
//!
//! Content of up to 256 KiB is held in memory, and goes into the database together with other
//! messages, as one statement and one transaction. More is sent in parts of that size while it
//! comes in, without waiting for a standby: what is written later proves all of it, because the log
//! is one sequence. The last transaction declares it complete, if every octet is there, and puts it
//! into the mailboxes.
//!
//! # Invariants
//! - `Ok` only after the proof of `proof.rs` (I1).
//! - If the outcome of a statement is not known, the same statement is sent again with the same
//!   names. Content that is there already is not delivered again, so a message that was fetched and
//!   removed meanwhile does not come back (I2), and none is delivered twice.
//! - What is not acknowledged is in every mailbox or in none (I5).
//! - A mailbox that somebody has locked in the database holds up its own messages only: a delivery
//!   waits two seconds for it, and then fails alone.
//!
//! # Known limits
//! After an error the message may have been delivered, if the database did not say so in time, or
//! be delivered later (`doubts.rs`).

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Instant,
};

use crate::{
    mail::{EntryId, MailboxName},
    store::{Change, Error, name::Serial, quota::Taken, sent_size::SentSize},
};

use super::{
    connection::{Ask, Connection, Failure, Value},
    lanes::{Lane, Purpose, Slot, after},
    limits::{BATCH_OCTETS_MAX, DELIVERY_TIMEOUT, PART_OCTETS},
    open::{OpenStore, check_name},
    outbox::Letter,
    proof::{certain, unexpected},
    statements,
    writing::{self, Contents, PATIENCE},
};

/// What was being done when a delivery failed.
const STORE: &str = "store a message in";

/// A message being received.
#[derive(Debug)]
pub(in crate::store) struct Delivery {
    store: Arc<OpenStore>,
    serial: Serial,
    /// The text of the serial.
    name: String,
    /// Content that was not sent yet.
    content: Vec<u8>,
    taken: Taken,
    size: SentSize,
    /// If it is sent in parts.
    parts: Option<Parts>,
    /// Whether an append has failed.
    is_lost: bool,
}

/// What was sent of a message in parts.
#[derive(Debug)]
struct Parts {
    /// The name of the message in the database.
    name: String,
    /// How many parts.
    n_sent: i32,
}

impl Delivery {
    pub(super) fn begin(store: &Arc<OpenStore>) -> Result<Self, Error> {
        if store.lanes.is_stuck() || store.lease.is_long_lost(&store.clock) {
            return Err(store.failed(STORE, Failure::Waiting));
        }
        let serial = store.next_serial();
        Ok(Self {
            store: Arc::clone(store),
            serial,
            name: serial.render(),
            content: Vec::new(),
            taken: Taken::nothing(&store.held),
            size: SentSize::default(),
            parts: None,
            is_lost: false,
        })
    }

    pub(in crate::store) fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::store) fn id(&self) -> EntryId {
        EntryId::own(self.serial.nonce, self.serial.counter)
    }

    pub(in crate::store) fn octets(&self) -> u64 {
        self.size.stored_octets()
    }

    pub(in crate::store) fn append(&mut self, octets: &[u8]) -> Result<(), Error> {
        if self.is_lost {
            return Err(self.given_up());
        }
        let taken = self.take(octets);
        self.is_lost = taken.is_err();
        taken
    }

    fn take(&mut self, octets: &[u8]) -> Result<(), Error> {
        for piece in octets.chunks(PART_OCTETS) {
            let after = self.content.len().saturating_add(piece.len());
            if after > BATCH_OCTETS_MAX || !self.fits(after) {
                self.send_parts()?;
                let after = self.content.len().saturating_add(piece.len());
                if !self.fits(after) {
                    return Err(Error::Full {
                        operation: "hold the content of another message for",
                        path: self.store.place.clone(),
                        room: None,
                        source: None,
                    });
                }
            }
            self.content.extend_from_slice(piece);
            self.size.add(piece);
        }
        Ok(())
    }

    /// Takes memory for so many octets. False if there is too little.
    fn fits(&mut self, octets: usize) -> bool {
        self.taken.set(u64::try_from(octets).unwrap_or(u64::MAX))
    }

    /// Sends the whole parts of the content.
    fn send_parts(&mut self) -> Result<(), Error> {
        let n_whole = self.content.len() / PART_OCTETS;
        let rest = self.content.split_off(n_whole.saturating_mul(PART_OCTETS));
        let whole = std::mem::replace(&mut self.content, rest);
        let sent = self.send(whole);
        self.fits(self.content.len());
        sent
    }

    /// Sends `content` as the next parts.
    fn send(&mut self, content: Vec<u8>) -> Result<(), Error> {
        if content.is_empty() {
            return Ok(());
        }
        let store = Arc::clone(&self.store);
        let parts = self.parts.get_or_insert_with(|| Parts {
            name: store.name_of(self.serial),
            n_sent: 0,
        });
        let (name, first) = (parts.name.clone(), parts.n_sent);
        parts.n_sent = first.saturating_add(writing::n_parts(content.len()));
        let deadline = after(&store.clock, DELIVERY_TIMEOUT);
        let sent = store
            .lanes
            .run(Purpose::Write, deadline, move |connection| {
                writing::add_parts(connection, &name, (first, &content), deadline)
            });
        sent.map_err(|failure| self.store.failed(STORE, failure))
    }

    pub(in crate::store) fn commit(mut self, recipients: &[MailboxName]) -> Result<(), Error> {
        if self.is_lost {
            return Err(self.given_up());
        }
        let mut seen = HashSet::with_capacity(recipients.len());
        let mut mailboxes = Vec::with_capacity(recipients.len());
        for mailbox in recipients.iter().filter(|mailbox| seen.insert(*mailbox)) {
            check_name(mailbox)?;
            mailboxes.push(mailbox.clone());
        }
        if mailboxes.is_empty() {
            return Ok(());
        }
        if self.parts.is_some() || self.content.len() > PART_OCTETS {
            let rest = std::mem::take(&mut self.content);
            self.send(rest)?;
            return self.complete(mailboxes);
        }
        self.post(mailboxes)
    }

    /// Delivers a message that is held in memory.
    fn post(self, mailboxes: Vec<MailboxName>) -> Result<(), Error> {
        let store = self.store;
        let deadline = after(&store.clock, DELIVERY_TIMEOUT);
        let slot = Slot::new();
        store.outbox.add(Letter {
            name: store.name_of(self.serial),
            serial: self.serial,
            content: self.content,
            sent_octets: self.size.octets(),
            mailboxes,
            deadline,
            slot: Arc::clone(&slot),
            _taken: self.taken,
        });
        let of_task = Arc::clone(&store);
        let submitted = store
            .lanes
            .submit(Purpose::Write, move |lane| deliver_batch(&of_task, lane));
        submitted
            .and_then(|()| slot.wait(&store.clock, deadline))
            .inspect_err(|_| store.outbox.discard(&slot))
            .map_err(|failure| store.failed(STORE, failure))
    }

    /// Delivers a message that was sent in parts.
    fn complete(self, mailboxes: Vec<MailboxName>) -> Result<(), Error> {
        let (store, size, serial) = (Arc::clone(&self.store), self.size, self.serial);
        let Some(Parts { name, .. }) = self.parts else {
            return Err(self.given_up());
        };
        let deadline = after(&store.clock, DELIVERY_TIMEOUT);
        let of_task = Arc::clone(&store);
        let done = store
            .lanes
            .run_in_lane(Purpose::Write, deadline, move |lane| {
                let mut is_open = false;
                let done = lane.attempt(deadline, &mut |connection| {
                    make_mailboxes(&of_task, connection, mailboxes.iter(), deadline)?;
                    let message = (&*name, size, &*mailboxes);
                    writing::complete(&of_task, connection, message, deadline)
                        .map_err(|failure| noted(failure, &mut is_open))
                });
                let id = EntryId::own(serial.nonce, serial.counter);
                conclude(&of_task, (done.is_ok(), is_open), (&name, id, &mailboxes));
                done
            });
        done.map_err(|failure| store.failed(STORE, failure))?;
        store.counters.in_parts.increment();
        Ok(())
    }

    fn given_up(&self) -> Error {
        Error::other(STORE, &self.store.place, "an earlier write failed")
    }
}

/// Makes the mailboxes that are not known to exist.
fn make_mailboxes<'a>(
    store: &OpenStore,
    connection: &mut Connection,
    mailboxes: impl Iterator<Item = &'a MailboxName>,
    deadline: Instant,
) -> Result<(), Failure> {
    let unknown = store.known.unknown(mailboxes);
    writing::make_mailboxes(connection, &unknown, deadline)?;
    store.known.add(&unknown);
    Ok(())
}

/// Tells watches of a message that was delivered, or notes that it may still come: if the outcome
/// of any attempt is open, whatever has become of the later ones.
fn conclude(
    store: &OpenStore,
    (is_delivered, is_open): (bool, bool),
    (name, id, mailboxes): (&str, EntryId, &[MailboxName]),
) {
    if is_delivered {
        for mailbox in mailboxes {
            store.tell(Change::Arrived, mailbox, name, id);
        }
    } else if is_open {
        store.doubts.add(name, id, mailboxes);
    }
}

/// Delivers the messages that wait.
fn deliver_batch(store: &OpenStore, lane: &mut Lane) {
    let mut letters = store.outbox.take();
    if letters.is_empty() {
        return;
    }
    let (delivered, is_open) = attempt(store, lane, &mut letters);
    if letters.len() > 1 && is_locked(&delivered) {
        return deliver_each(store, lane, letters);
    }
    for letter in letters {
        settle(store, &letter, &delivered, is_open);
    }
}

/// Delivers messages one after another, of which at least one is for a mailbox that somebody has
/// locked, so that the others do not fail with it.
fn deliver_each(store: &OpenStore, lane: &mut Lane, letters: Vec<Letter>) {
    let mut locked: HashMap<MailboxName, Failure> = HashMap::new();
    for mut letter in letters {
        let known = letter.mailboxes.iter().find_map(|it| locked.get(it));
        let (delivered, is_open) = match known {
            Some(failure) => (Err(failure.clone()), false),
            None => attempt(store, lane, std::slice::from_mut(&mut letter)),
        };
        if let (Err(failure), [mailbox]) = (&delivered, &*letter.mailboxes)
            && is_locked(&delivered)
        {
            locked.insert(mailbox.clone(), failure.clone());
        }
        settle(store, &letter, &delivered, is_open);
    }
}

/// Whether nothing was delivered because somebody has locked a mailbox.
fn is_locked(delivered: &Result<(), Failure>) -> bool {
    matches!(delivered, Err(Failure::Refused(refusal)) if refusal.is_locked())
}

/// Tells everybody what has become of a message.
fn settle(store: &OpenStore, letter: &Letter, delivered: &Result<(), Failure>, is_open: bool) {
    let message = (&*letter.name, letter.id(), &*letter.mailboxes);
    conclude(store, (delivered.is_ok(), is_open), message);
    letter.slot.put(delivered.clone());
}

/// Notes whether a failed attempt leaves the outcome open.
fn noted(failure: Failure, is_open: &mut bool) -> Failure {
    *is_open |= failure.leaves_open();
    match failure {
        // An earlier attempt may have the lock, and may yet succeed: try again.
        Failure::Refused(refusal) if *is_open && refusal.is_locked() => {
            Failure::unknown(refusal.to_string())
        }
        Failure::NotSent(_) | Failure::Refused(_) | Failure::Unknown(_) | Failure::Waiting => {
            failure
        }
    }
}

/// Tries to deliver `letters` until it is done or fails. Also returns whether the outcome is open.
fn attempt(
    store: &OpenStore,
    lane: &mut Lane,
    letters: &mut [Letter],
) -> (Result<(), Failure>, bool) {
    let begin = lane.clock().now();
    // Whoever has sent an older one does not wait for so long.
    let deadline = letters.iter().map(|letter| letter.deadline).max();
    let deadline = deadline.unwrap_or(begin);
    let (mut n_attempts, mut is_open) = (0_u32, false);
    let delivered = lane.attempt(deadline, &mut |connection| {
        n_attempts = n_attempts.saturating_add(1);
        planted!(RepeatsGetNewNames, {
            for letter in letters.iter_mut().filter(|_| n_attempts > 1) {
                letter.serial = store.next_serial();
                letter.name = store.name_of(letter.serial);
            }
        });
        put(store, connection, letters, deadline).map_err(|failure| noted(failure, &mut is_open))
    });
    let took = lane.clock().now().saturating_duration_since(begin);
    if n_attempts > 1 {
        store.counters.repeats.increment();
    }
    match &delivered {
        Ok(()) => {
            let n_letters = u32::try_from(letters.len()).unwrap_or(u32::MAX);
            store.counters.whole.add_many(letters.len());
            store.counters.batches.note(n_letters);
            store.counters.commits.note(took);
        }
        Err(_) => store.counters.commit_failures.increment(),
    }
    (delivered, is_open)
}

/// Puts messages into their mailboxes.
fn put(
    store: &OpenStore,
    connection: &mut Connection,
    letters: &[Letter],
    deadline: Instant,
) -> Result<(), Failure> {
    let mailboxes = letters.iter().flat_map(|letter| &letter.mailboxes);
    make_mailboxes(store, connection, mailboxes, deadline)?;
    let mut contents = Contents::default();
    let (mut domains, mut locals, mut of_message) = (Vec::new(), Vec::new(), Vec::new());
    for letter in letters {
        contents.add(&letter.name, &letter.content, letter.sent_octets);
        for mailbox in &letter.mailboxes {
            domains.push(mailbox.domain());
            locals.push(mailbox.local_part());
            of_message.push(&*letter.name);
        }
    }
    let ask = Ask {
        statement: statements::deliver(),
        values: &[
            store.single(),
            Value::Texts(&contents.names),
            Value::Ints(&contents.stored),
            Value::Ints(&contents.sent),
            Value::Blobs(&contents.bodies),
            Value::Texts(&domains),
            Value::Texts(&locals),
            Value::Texts(&of_message),
        ],
    };
    let terms = store.terms(deadline, (1, 3));
    let answer = certain(connection, &[PATIENCE, ask], terms, &mut |_, _| true)?;
    let row = answer.row(1).ok_or_else(unexpected)?;
    writing::check_whole(store, row.bool(2))
}
