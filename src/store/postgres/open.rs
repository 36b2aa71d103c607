//! What the parts of an open store share.

use std::{collections::HashSet, path::PathBuf, sync::Arc, time::Instant};

use crate::{
    clock::Clock,
    counters::{Counter, Sizes, Times},
    mail::{EntryId, MailboxName},
    store::{
        Change, Error, Observer,
        hub::Hub,
        name::{self, Serial},
        quota::Quota,
        sync::{
            Mutex,
            atomic::{AtomicU64, Ordering},
        },
    },
};

use super::{
    connection::{Access, Failure, Value},
    doubts::Doubts,
    end::End,
    hints::Hints,
    lanes::Lanes,
    lease::Lease,
    limits::KNOWN_MAILBOXES_MAX,
    outbox::Outbox,
    proof::{Copies, Terms},
    sessions::Sessions,
};

/// An open store.
#[derive(Debug)]
pub(super) struct OpenStore {
    /// What the database is called in errors.
    pub(super) place: PathBuf,
    pub(super) access: Arc<Access>,
    pub(super) copies: Copies,
    pub(super) clock: Clock,
    pub(super) lanes: Lanes,
    pub(super) outbox: Outbox,
    pub(super) lease: Lease,
    pub(super) sessions: Sessions,
    pub(super) hints: Hints,
    pub(super) doubts: Doubts,
    /// Of the housekeeping, which tells hints and ends claims, and of the listener.
    pub(super) end: Arc<End>,
    pub(super) hub: Arc<Hub>,
    pub(super) known: Known,
    /// Random, one for each run.
    pub(super) nonce: u64,
    pub(super) n_deliveries: AtomicU64,
    /// Memory of contents, of the listings of sessions, and of the listings of others.
    pub(super) held: Arc<Quota>,
    pub(super) listed: Arc<Quota>,
    pub(super) looked: Arc<Quota>,
    pub(super) observer: Observer,
    pub(super) counters: Counters,
}

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Messages that were delivered as one row.
    pub(super) whole: Counter,
    /// Messages that were delivered in parts.
    pub(super) in_parts: Counter,
    /// Messages of each batch.
    pub(super) batches: Sizes,
    /// How long each batch took.
    pub(super) commits: Times,
    pub(super) commit_failures: Counter,
    /// Batches that were sent more than once.
    pub(super) repeats: Counter,
    /// Removals that were refused because another session may have the mailbox.
    pub(super) fences: Counter,
    /// Other servers that have become the primary.
    pub(super) failovers: Counter,
}

/// Mailboxes that exist.
#[derive(Debug, Default)]
pub(super) struct Known(Mutex<HashSet<MailboxName>>);

impl Known {
    /// Those of `mailboxes` that may not exist, in order and without repetition.
    pub(super) fn unknown<'a>(
        &self,
        mailboxes: impl Iterator<Item = &'a MailboxName>,
    ) -> Vec<&'a MailboxName> {
        let known = self.0.lock();
        let mut unknown: Vec<_> = mailboxes.filter(|it| !known.contains(*it)).collect();
        drop(known);
        unknown.sort_unstable();
        unknown.dedup();
        unknown
    }

    pub(super) fn add(&self, mailboxes: &[&MailboxName]) {
        let mailboxes: Vec<MailboxName> = mailboxes.iter().map(|it| (*it).clone()).collect();
        let mut known = self.0.lock();
        if known.len().saturating_add(mailboxes.len()) > KNOWN_MAILBOXES_MAX {
            known.clear();
        }
        known.extend(mailboxes);
    }

    /// Forgets all: another server may not have them.
    pub(super) fn clear(&self) {
        self.0.lock().clear();
    }
}

impl OpenStore {
    /// The serial of the next message.
    pub(super) fn next_serial(&self) -> Serial {
        Serial {
            nonce: self.nonce,
            counter: self.n_deliveries.fetch_add(1, Ordering::Relaxed),
        }
    }

    /// The name in the database of the message with this serial that is delivered now.
    pub(super) fn name_of(&self, serial: Serial) -> String {
        format!("{}.{}", self.clock.unix_time().as_secs(), serial.render())
    }

    /// Tells watches, of this node and of others, of a change that was proved.
    pub(super) fn tell(&self, change: Change, mailbox: &MailboxName, name: &str, id: EntryId) {
        if self.hub.is_recording() {
            self.hub.tell(change, mailbox, id);
        }
        self.hints.add(mailbox, name);
        self.end.call();
    }

    /// Ends the session of `mailbox`, as [`Sessions::end`].
    pub(super) fn end_session(&self, mailbox: &MailboxName, epoch: u64, claim: Option<i64>) {
        self.sessions.end(mailbox, epoch, claim);
        self.end.call();
    }

    /// The first parameter of statements that must know whether one server is enough.
    pub(super) fn single(&self) -> Value<'static> {
        planted!(StandbysAreReadBefore, return Value::Bool(true));
        Value::Bool(self.copies == Copies::Single)
    }

    /// Whether messages cannot be stored now.
    pub(super) fn is_degraded(&self) -> bool {
        self.lanes.is_stuck() || self.lease.epoch(&self.clock).is_none()
    }

    /// What the proof of a change needs to know; `names` as in [`Terms`].
    pub(super) fn terms(&self, deadline: Instant, names: (usize, usize)) -> Terms<'_> {
        Terms {
            copies: self.copies,
            clock: &self.clock,
            deadline,
            names,
        }
    }

    /// The error that `operation` on the database has failed.
    pub(super) fn failed(&self, operation: &'static str, failure: Failure) -> Error {
        let path = self.place.clone();
        if let Failure::Refused(refusal) = &failure
            && refusal.is_full()
        {
            return Error::Full {
                operation,
                path,
                room: None,
                source: Some(Arc::new(std::io::Error::other(failure))),
            };
        }
        Error::other(operation, path, failure)
    }

    /// Where a message would be, for errors.
    pub(super) fn path_of(&self, mailbox: &MailboxName) -> PathBuf {
        self.place.join(mailbox.to_string())
    }
}

/// Checks that a mailbox can exist. The limit is that of Maildirs, so that mail can be moved there.
///
/// # Errors
/// [`Error::NameTooLong`].
pub(super) fn check_name(mailbox: &MailboxName) -> Result<(), Error> {
    let fits = [mailbox.domain(), mailbox.local_part()]
        .iter()
        .all(|text| name::encode_directory(text).is_some());
    let mailbox = mailbox.clone();
    if fits {
        Ok(())
    } else {
        Err(Error::NameTooLong { mailbox })
    }
}
