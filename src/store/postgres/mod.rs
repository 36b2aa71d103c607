//! Mailboxes in a PostgreSQL database, which several daemons can serve together.
//!
//! The promises I1 to I12 are the same as those of Maildirs. What only this machine has is not
//! acknowledged: a change counts when it is proved that a synchronous standby has it (`proof.rs`),
//! unless the store is declared to have one server only.
//!
//! # Theory of operation
//! Every statement is in `statements.rs`, and the tables are in `schema.rs`. A few connections
//! (`connection/`) have a thread each, and carry out the tasks of sessions (`lanes.rs`). Messages
//! that come at the same time are delivered as one batch (`delivery.rs`, `outbox.rs`). A session
//! claims its mailbox (`maildrop.rs`) for as long as this node has a lease (`lease.rs`), which is
//! renewed by the housekeeping (`house.rs`). Watches hear of the changes of this node, also of
//! those that it has given up (`doubts.rs`, `late.rs`), and of those of others (`hints.rs`,
//! `listener.rs`).
//!
//! Nothing of a message is on the disk of this machine. The mail directory has only the lock of
//! this daemon and its control socket.
//!
//! # Invariants
//! - No lock is held while the database is asked, except that of a listing that is being made,
//!   which nobody else waits for.
//! - Content and names are never changed: a name is given once, and so is a unique-id (I6).
//!
//! # Known limits
//! Mail is as safe as the servers: `fsync` and `full_page_writes` are checked at the start only,
//! and whoever runs the servers makes sure that only one standby takes over. If the synchronous
//! standbys are any of several, a primary that was replaced without noticing may acknowledge mail
//! that is lost. What only reads may be old on a primary that was replaced and is cut off together
//! with this node: see `look.rs`.

mod connection;
mod delivery;
mod doubts;
mod end;
mod hints;
mod house;
mod intake;
mod lanes;
mod late;
mod lease;
mod limits;
mod listener;
mod listing;
mod look;
mod maildrop;
mod message;
mod open;
mod outbox;
mod proof;
mod removal;
mod schema;
mod sessions;
mod statements;
mod writing;

#[cfg(test)]
mod tests;

use std::{
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use crate::{
    clock::Clock,
    counters::Report,
    fs::Fs,
    mail::{EntryId, MailboxName},
    store::{
        Cursor, Database, Error, Event, Missed, Observer, Room, Settings, Watch, hub::Hub,
        maildir::Corner, quota::Quota, sync::fill_random,
    },
};

pub use connection::{Access, AccessError, Secrets};
pub(super) use delivery::Delivery;
pub(super) use intake::Intake;
pub(super) use look::{Look, Stamp};
pub(super) use maildrop::Maildrop;
pub(super) use message::Message;

use connection::{Failure, Row, UUID_OCTETS, Value};
use lanes::{Lanes, Purpose, after};
use lease::Lease;
use limits::{ANSWER_TIMEOUT, LOOK_TIMEOUT, NAMES_INTERVAL, READY_TIMEOUT, START_TIMEOUT};
use open::{OpenStore, check_name};
use proof::{Copies, certain, n_members, n_standbys, unexpected};
use schema::Unusable;
use statements::{HAS_MAILBOX, MAILBOXES, WITH_LOCAL_PART};

/// A [`MessageStore`](super::MessageStore) in a database; see there for what its methods promise.
#[derive(Debug)]
pub(super) struct PostgresStore {
    open: Arc<OpenStore>,
    /// None if nobody but this process uses the database.
    corner: Option<Corner>,
}

/// What was being done when the mailboxes could not be found.
const FIND: &str = "find mailboxes in";

impl PostgresStore {
    /// Opens the store: makes or changes its tables, checks what the servers promise, and makes
    /// this node known.
    pub(super) fn open(
        fs: Arc<dyn Fs>,
        settings: Settings,
        database: &Database,
        clock: Clock,
    ) -> Result<Self, Error> {
        let corner = Corner::open(fs, &settings.root, &clock)?;
        Self::open_with(Some(corner), settings, database, clock)
    }

    /// Opens the store without a mail directory, if no other node serves it: to move messages.
    pub(super) fn open_alone(
        settings: Settings,
        database: &Database,
        clock: Clock,
    ) -> Result<Self, Error> {
        let store = Self::open_with(None, settings, database, clock)?;
        intake::check_alone(&store.open)?;
        Ok(store)
    }

    fn open_with(
        corner: Option<Corner>,
        settings: Settings,
        database: &Database,
        clock: Clock,
    ) -> Result<Self, Error> {
        let place = PathBuf::from(format!("the database {}", database.access.database()));
        let failed = |failure: Failure| Error::other("open", &place, failure);
        let access = Arc::new(database.access.clone());
        let deadline = after(&clock, START_TIMEOUT);
        let names =
            schema::prepare(&access, &clock, database.is_single, deadline).map_err(|unusable| {
                match unusable {
                    Unusable::Failed(failure) => failed(failure),
                    Unusable::Unsafe(reason) => Error::not_safe(&place, reason),
                }
            })?;
        let are_more = u64::try_from(n_members(&names)).is_ok_and(|n| n > n_standbys(&names));
        if are_more {
            let event = Event::StandbysDiffer { names: &names };
            settings.observer.tell(&event);
        }
        let (mut nonce, mut node) = ([0; 8], [0; UUID_OCTETS]);
        for octets in [&mut nonce[..], &mut node[..]] {
            fill_random(octets).map_err(Error::io("get random numbers for", &place))?;
        }
        let nonce = u64::from_ne_bytes(nonce);
        let memory = settings.memory;
        let lanes =
            Lanes::start(&access, &clock).map_err(Error::io("start threads for", &place))?;
        let open = Arc::new(OpenStore {
            place: place.clone(),
            access,
            copies: if database.is_single {
                Copies::Single
            } else {
                Copies::Named
            },
            lanes,
            outbox: outbox::Outbox::default(),
            lease: Lease::new(node, &settings.hostname, clock.now()),
            sessions: sessions::Sessions::default(),
            hints: hints::Hints::default(),
            doubts: doubts::Doubts::default(),
            end: Arc::default(),
            hub: Arc::new(Hub::new(nonce, clock.clone())),
            known: open::Known::default(),
            nonce,
            n_deliveries: AtomicU64::new(0),
            held: Quota::new(memory.held),
            listed: Quota::new(memory.listed),
            looked: Quota::new(memory.looked),
            observer: settings.observer,
            counters: open::Counters::default(),
            clock,
        });
        let store = Self { open, corner };
        store.begin().map_err(failed)?;
        Ok(store)
    }

    /// Starts the threads that run all the time.
    fn begin(&self) -> Result<(), Failure> {
        let store = &self.open;
        let deadline = after(&store.clock, START_TIMEOUT);
        let mut keeping = house::connect(store, deadline)?;
        house::renew(store, &mut keeping)?;
        let listening = listener::connect(store)?;
        let not_begun = |error| Failure::NotSent(Arc::new(error));
        let (of_house, of_listener) = (Arc::clone(store), Arc::clone(store));
        store
            .end
            .begin("house", move |end| house::keep(&of_house, keeping, end))
            .map_err(not_begun)?;
        store
            .end
            .begin("listener", move |end| {
                listener::listen(&of_listener, listening, end);
            })
            .map_err(not_begun)?;
        if !store.access.has_names() {
            return Ok(());
        }
        let of_names = Arc::clone(store);
        store
            .end
            .begin("names", move |end| {
                while !end.wait(NAMES_INTERVAL) {
                    of_names.access.resolve();
                }
            })
            .map_err(not_begun)
    }

    pub(super) fn close(&self) {
        if let Some(corner) = &self.corner {
            corner.close();
        }
        self.open.lanes.close();
        self.open.end.ask();
    }

    pub(super) fn control(&self) -> Result<UnixListener, Error> {
        match &self.corner {
            Some(corner) => corner.control(),
            None => Err(Error::other("listen in", "no directory", "there is none")),
        }
    }

    /// Begins to move messages to `mailbox`.
    pub(super) fn intake(&self, mailbox: &MailboxName) -> Result<Intake, Error> {
        Intake::begin(&self.open, mailbox)
    }

    /// Checks that a commit would count: that the standbys have all of the log.
    pub(super) fn check_ready(&self) -> Result<(), Error> {
        let store = Arc::clone(&self.open);
        let failed = |failure| self.open.failed("store messages in", failure);
        if store.is_degraded() {
            return Err(failed(Failure::Waiting));
        }
        let deadline = after(&store.clock, READY_TIMEOUT);
        let checked = self
            .open
            .lanes
            .run(Purpose::Read, deadline, move |connection| {
                // No statement: only the proof.
                let terms = store.terms(deadline, (0, 0));
                certain(connection, &[], terms, &mut |_, _| true).map(drop)
            });
        checked.map_err(failed)
    }

    pub(super) fn report(&self, report: &mut Report) {
        let store = &self.open;
        let counters = &store.counters;
        report.add(
            "store",
            [
                ("degraded", u64::from(store.is_degraded())),
                ("whole", counters.whole.value()),
                ("in_parts", counters.in_parts.value()),
                ("repeats", counters.repeats.value()),
                (
                    "waiting_connections",
                    u64::try_from(store.lanes.n_stuck()).unwrap_or(u64::MAX),
                ),
                ("fences", counters.fences.value()),
                ("failovers", counters.failovers.value()),
            ],
        );
        let failures = [("failures", counters.commit_failures.value())];
        let commits = counters.commits.values().into_iter().chain(failures);
        report.add("commits", commits);
        report.add("batches", counters.batches.values());
    }

    #[expect(
        clippy::unused_self,
        reason = "other kinds of stores look at the mailbox"
    )]
    pub(super) fn check_recipient(&self, mailbox: &MailboxName) -> Result<(), Error> {
        check_name(mailbox)
    }

    /// Carries out a statement that only reads, and turns its rows into what they say.
    fn read<T: Send + 'static>(
        &self,
        statement: &'static connection::Statement,
        words: Vec<String>,
        patience: Duration,
        says: impl Fn(&Row) -> Option<T> + Send + 'static,
    ) -> Result<Vec<T>, Error> {
        let deadline = after(&self.open.clock, patience);
        let read = self
            .open
            .lanes
            .run(Purpose::Read, deadline, move |connection| {
                let values: Vec<Value<'_>> = words.iter().map(|word| Value::Text(word)).collect();
                let answer = connection.ask(statement, &values, deadline)?;
                let rows = answer.returned.iter().flat_map(|returned| &returned.rows);
                rows.map(|row| says(row).ok_or_else(unexpected)).collect()
            });
        read.map_err(|failure| self.open.failed(FIND, failure))
    }

    pub(super) fn has_mailbox(&self, mailbox: &MailboxName) -> Result<bool, Error> {
        check_name(mailbox)?;
        let words = [mailbox.domain(), mailbox.local_part()].map(str::to_owned);
        let found = self.read(&HAS_MAILBOX, words.to_vec(), ANSWER_TIMEOUT, |row| {
            row.bool(0)
        })?;
        Ok(found.contains(&true))
    }

    /// The mailboxes with this local part, two at most.
    pub(super) fn mailboxes_with_local_part(
        &self,
        local_part: &str,
    ) -> Result<Vec<MailboxName>, Error> {
        let local_part = local_part.to_ascii_lowercase();
        let text = |row: &Row| row.text(0).map(str::to_owned);
        let domains = self.read(
            &WITH_LOCAL_PART,
            vec![local_part.clone()],
            ANSWER_TIMEOUT,
            text,
        )?;
        let mailboxes = domains.iter();
        let mailboxes =
            mailboxes.filter_map(|domain| MailboxName::from_canonical(&local_part, domain));
        Ok(mailboxes.collect())
    }

    pub(super) fn observer(&self) -> &Observer {
        &self.open.observer
    }

    pub(super) fn each_mailbox(
        &self,
        visit: &mut dyn FnMut(MailboxName),
    ) -> Result<Option<Error>, Error> {
        let mut last = [String::new(), String::new()];
        loop {
            let texts = |row: &Row| Some([row.text(0)?.to_owned(), row.text(1)?.to_owned()]);
            let found = self.read(&MAILBOXES, last.to_vec(), LOOK_TIMEOUT, texts)?;
            let Some(end) = found.last() else {
                return Ok(None);
            };
            last.clone_from(end);
            for [domain, local_part] in &found {
                MailboxName::from_canonical(local_part, domain)
                    .into_iter()
                    .for_each(&mut *visit);
            }
        }
    }

    pub(super) fn look(&self, mailbox: &MailboxName) -> Result<Look, Error> {
        Look::of(&self.open, mailbox)
    }

    pub(super) fn stamp(&self, mailbox: &MailboxName) -> Result<Stamp, Error> {
        Stamp::of(&self.open, mailbox)
    }

    /// Removes messages from several mailboxes; waits for `patience` at most for other sessions
    /// that have them open.
    pub(super) fn remove_everywhere(
        &self,
        messages: &[(MailboxName, EntryId)],
        patience: Duration,
    ) -> Result<(), Error> {
        removal::remove_everywhere(&self.open, messages, patience)
    }

    pub(super) fn cursor(&self) -> Cursor {
        self.open.hub.cursor()
    }

    pub(super) fn watch(&self, of: Option<&MailboxName>, since: Cursor) -> Result<Watch, Missed> {
        self.open.hub.watch(of, since)
    }

    pub(super) fn reports(&self, id: EntryId) -> bool {
        id.run() == Some(self.open.nonce)
    }

    pub(super) fn begin_delivery(&self) -> Result<Delivery, Error> {
        Delivery::begin(&self.open)
    }

    /// What the disks of servers have left is not known. A server that is full refuses mail.
    #[expect(clippy::unused_self, reason = "other kinds of stores have a disk")]
    pub(super) fn room(&self) -> Room {
        Room {
            free: u64::MAX,
            needed: 0,
        }
    }

    /// Opens the maildrop of `mailbox`; waits for `patience` at most for another session that has
    /// it open.
    pub(super) fn open_maildrop(
        &self,
        mailbox: &MailboxName,
        patience: Duration,
    ) -> Result<Maildrop, Error> {
        Maildrop::open(&self.open, mailbox, patience)
    }
}

impl Drop for PostgresStore {
    fn drop(&mut self) {
        self.close();
    }
}
