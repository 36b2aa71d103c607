//! A maildrop: the messages of one mailbox as they were when its session began, and nobody else's.
//!
//! *Opening* is one transaction: the row of the mailbox is locked; a second statement claims it,
//! unless another node has it whose lease is valid; a third lists the messages. The list is shown
//! only after the proof, because a message that is visible on a server may vanish with it.
//!
//! *Removing* names the claim: the mailbox, its token, and the random number of the session. If
//! another session has claimed the mailbox since, nothing is removed, however late the statement
//! comes. The token alone would not do: a server that takes over may not know a claim, and gives
//! the same token out again.
//!
//! # Invariants
//! - Only [`Maildrop::remove`] removes messages (I3), and `Ok` means that this was proved (I2).
//! - Two sessions never remove messages of one mailbox at the same time.
//!
//! # Known limits
//! While the database is away for longer than a lease, or when another server takes over or the
//! clock of the server is set, two nodes may have the same mailbox open for a moment. Only one of
//! them can remove anything.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    mail::{EntryId, MailboxName, Summaries},
    store::{Change, Error, quota::Taken, sync::fill_random},
};

use super::{
    connection::{Ask, Connection, Failure, Value},
    lanes::{Purpose, after},
    limits::{ANSWER_TIMEOUT, CLAIM_PAUSE},
    listing::{Entry, Listing},
    message::Message,
    open::{OpenStore, check_name},
    proof::{certain, unexpected},
    sessions::Claim,
    statements::{self, LIST_CLAIMED, LOCK_MAILBOX},
    writing::PATIENCE,
};

/// What was being done when a maildrop could not be opened.
const OPEN: &str = "open the maildrop of a mailbox in";

/// What was being done when messages could not be removed.
const REMOVE: &str = "remove messages from";

/// See the module.
#[derive(Debug)]
pub(in crate::store) struct Maildrop {
    store: Arc<OpenStore>,
    mailbox: MailboxName,
    /// `None` if the mailbox does not exist.
    claim: Option<Claim>,
    /// Whether the claim was ended.
    is_ended: AtomicBool,
    /// The lease in which it was claimed.
    epoch: u64,
    listing: Arc<Listing>,
}

/// How an attempt to open a maildrop has ended.
#[derive(Debug)]
enum Opened {
    /// The mailbox is claimed.
    Claimed(Claim),
    /// It does not exist.
    Missing,
    /// Another node has it.
    InUse,
}

/// The session of a mailbox on this node, until it is dropped.
struct Begun<'a> {
    store: &'a OpenStore,
    mailbox: &'a MailboxName,
    epoch: u64,
    /// The number of the session whose claim there may be.
    session: Option<i64>,
    is_kept: bool,
}

impl Drop for Begun<'_> {
    fn drop(&mut self) {
        if !self.is_kept {
            self.store
                .end_session(self.mailbox, self.epoch, self.session);
        }
    }
}

impl Maildrop {
    /// Opens the maildrop of `mailbox`; waits for another session for `patience` at most.
    pub(super) fn open(
        store: &Arc<OpenStore>,
        mailbox: &MailboxName,
        patience: Duration,
    ) -> Result<Self, Error> {
        check_name(mailbox)?;
        let in_use = || Error::InUse {
            mailbox: mailbox.clone(),
        };
        let end = after(&store.clock, patience);
        let left = || end.saturating_duration_since(store.clock.now());
        let epoch = loop {
            if let Some(epoch) = store.lease.epoch(&store.clock) {
                break epoch;
            }
            // A node that was frozen renews its lease at once.
            if left().is_zero() {
                return Err(store.failed(OPEN, Failure::Waiting));
            }
            store.clock.pause(CLAIM_PAUSE.min(left()));
        };
        let is_ours = store.sessions.begin(mailbox, epoch, &store.clock, left());
        if !is_ours {
            return Err(in_use());
        }
        let mut begun = Begun {
            store,
            mailbox,
            epoch,
            session: None,
            is_kept: false,
        };
        loop {
            let mut session = [0; 8];
            fill_random(&mut session).map_err(Error::io(OPEN, &store.place))?;
            let session = i64::from_ne_bytes(session);
            begun.session = Some(session);
            store.sessions.claims(mailbox, epoch, session);
            let (opened, listing) = try_open(store, mailbox, session)?;
            begun.session = None;
            let claim = match opened {
                Opened::Claimed(claim) => Some(claim),
                Opened::Missing => None,
                Opened::InUse => {
                    if left().is_zero() {
                        return Err(in_use());
                    }
                    store.clock.pause(CLAIM_PAUSE.min(left()));
                    continue;
                }
            };
            begun.is_kept = true;
            return Ok(Self {
                store: Arc::clone(store),
                mailbox: mailbox.clone(),
                claim,
                is_ended: AtomicBool::new(false),
                epoch,
                listing: Arc::new(listing),
            });
        }
    }

    pub(in crate::store) fn messages(&self) -> Arc<dyn Summaries> {
        self.listing.clone()
    }

    /// Checks that no other node may have the mailbox by now.
    pub(in crate::store) fn check_is_ours(&self) -> Result<(), Error> {
        self.check_lease("keep the maildrop of")
    }

    /// Checks that this node has not lost its lease since the maildrop was opened.
    fn check_lease(&self, operation: &'static str) -> Result<(), Error> {
        if self.store.lease.epoch(&self.store.clock) == Some(self.epoch) {
            return Ok(());
        }
        let reason = "this node could not renew its lease, so another may have the mailbox now";
        let path = self.store.path_of(&self.mailbox);
        Err(Error::other(operation, path, reason))
    }

    pub(in crate::store) fn open_message(&self, index: usize) -> Result<Message, Error> {
        self.check_lease("read messages of")?;
        let entry = self.listing.get(index);
        let Some(entry) = entry else {
            let path = self.store.path_of(&self.mailbox);
            return Err(Error::MessageGone { path });
        };
        Message::open(&self.store, &self.mailbox, &entry.name())
    }

    /// The indexes of the messages with one of `ids`.
    pub(super) fn indexes(&self, ids: &HashSet<EntryId>) -> Vec<usize> {
        let entries = self.listing.entries().iter().enumerate();
        let wanted = entries.filter(|(_, entry)| ids.contains(&entry.id()));
        wanted.map(|(index, _)| index).collect()
    }

    pub(in crate::store) fn remove(&self, indexes: &[usize]) -> Result<(), Error> {
        let (store, mailbox) = (&self.store, &self.mailbox);
        let entries = indexes.iter().filter_map(|&index| self.listing.get(index));
        let entries: Vec<Entry> = entries.cloned().collect();
        let Some(claim) = self.claim.filter(|_| !entries.is_empty()) else {
            return Ok(());
        };
        let fenced = || store.counters.fences.increment();
        self.check_lease(REMOVE).inspect_err(|_| fenced())?;
        let deadline = after(&store.clock, ANSWER_TIMEOUT);
        let (of_task, mailbox_of_task) = (Arc::clone(store), mailbox.clone());
        let removed = store
            .lanes
            .run(Purpose::Write, deadline, move |connection| {
                let is_ours = take_away(&of_task, connection, claim, (&entries, deadline))?;
                for entry in entries.iter().filter(|_| is_ours) {
                    of_task.tell(Change::Removed, &mailbox_of_task, &entry.name(), entry.id());
                }
                Ok(is_ours)
            });
        let path = store.path_of(mailbox);
        match removed {
            Ok(true) => {
                self.is_ended.store(true, Ordering::Relaxed);
                Ok(())
            }
            Ok(false) => {
                fenced();
                let reason = "another session has the mailbox now";
                Err(Error::other(REMOVE, path, reason))
            }
            Err(failure) => Err(store.failed(REMOVE, failure)),
        }
    }
}

impl Drop for Maildrop {
    fn drop(&mut self) {
        let claim = self.claim.filter(|_| !*self.is_ended.get_mut());
        let session = claim.map(|claim| claim.session);
        self.store.end_session(&self.mailbox, self.epoch, session);
    }
}

/// Removes messages. Returns whether the mailbox was still claimed by that session.
fn take_away(
    store: &OpenStore,
    connection: &mut Connection,
    claim: Claim,
    (entries, deadline): (&[Entry], Instant),
) -> Result<bool, Failure> {
    let names: Vec<String> = entries.iter().map(Entry::name).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ask = Ask {
        statement: statements::remove(),
        values: &[
            store.single(),
            Value::Int(claim.mailbox),
            Value::Int(claim.token),
            Value::Int(claim.session),
            Value::Texts(&names),
        ],
    };
    let terms = store.terms(deadline, (0, 2));
    let answer = certain(connection, &[ask], terms, &mut |_, _| true)?;
    let row = answer.row(0).ok_or_else(unexpected)?;
    Ok(row.count(0).ok_or_else(unexpected)? > 0)
}

/// Tries once to claim and to list a mailbox.
fn try_open(
    store: &Arc<OpenStore>,
    mailbox: &MailboxName,
    session: i64,
) -> Result<(Opened, Listing), Error> {
    let deadline = after(&store.clock, ANSWER_TIMEOUT);
    let (of_task, mailbox_of_task) = (Arc::clone(store), mailbox.clone());
    let opened = store
        .lanes
        .run(Purpose::Write, deadline, move |connection| {
            let mut listing = Listing::new(Taken::nothing(&of_task.listed));
            let of_claim = (&mailbox_of_task, session, deadline);
            let opened = claim(&of_task, connection, of_claim, &mut listing)?;
            Ok((opened, listing))
        });
    let (opened, listing) = match opened {
        Ok(opened) => opened,
        Err(Failure::Refused(refusal)) if refusal.is_locked() => {
            (Opened::InUse, Listing::new(Taken::nothing(&store.listed)))
        }
        Err(failure) => return Err(store.failed(OPEN, failure)),
    };
    checked(store, mailbox, listing).map(|listing| (opened, listing))
}

/// A listing with all messages, in order.
///
/// # Errors
/// [`Error::ListingTooLarge`]; [`Error::Io`] if a message has another's name.
pub(super) fn checked(
    store: &OpenStore,
    mailbox: &MailboxName,
    mut listing: Listing,
) -> Result<Listing, Error> {
    let path = store.path_of(mailbox);
    if !listing.finish() {
        return Err(Error::ListingTooLarge { path });
    }
    if let Some(name) = listing.strange() {
        let reason = format!("a message has a name or a size that no facteur gives: {name:?}");
        return Err(Error::other("list the messages of", path, reason));
    }
    Ok(listing)
}

/// How many statements are left out: none, without a planted bug.
fn n_left_out() -> usize {
    planted!(ClaimsAreOneStatement, return 2);
    0
}

/// Claims and lists a mailbox as one transaction, and proves it.
fn claim(
    store: &OpenStore,
    connection: &mut Connection,
    (mailbox, session, deadline): (&MailboxName, i64, Instant),
    listing: &mut Listing,
) -> Result<Opened, Failure> {
    let domain = Value::Text(mailbox.domain());
    let local = Value::Text(mailbox.local_part());
    let (node, session_value) = (Value::Uuid(store.lease.node), Value::Int(session));
    let values = [store.single(), domain, local, node, session_value];
    #[cfg(test)]
    let by_node = [
        store.single(),
        domain,
        local,
        node,
        session_value,
        Value::Int(i64::try_from(store.clock.unix_time().as_micros()).unwrap_or(i64::MAX)),
    ];
    #[cfg(test)]
    let values: &[Value<'_>] =
        if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::LeasesGoByTheNodesClock) {
            &by_node
        } else {
            &values
        };
    let asks = [
        PATIENCE,
        Ask {
            statement: &LOCK_MAILBOX,
            values: &[domain, local],
        },
        Ask {
            statement: statements::claim(),
            #[cfg(test)]
            values,
            #[cfg(not(test))]
            values: &values,
        },
        Ask {
            statement: &LIST_CLAIMED,
            values: &[domain, local, node, session_value],
        },
    ];
    let asks = asks.get(n_left_out()..).unwrap_or_default();
    let of_claim = asks.len().saturating_sub(2);
    let terms = store.terms(deadline, (of_claim, 3));
    let answer = certain(connection, asks, terms, &mut |statement, row| {
        if statement > of_claim {
            listing.add(row);
        }
        statement == of_claim
    })?;
    let Some(row) = answer.row(of_claim) else {
        return Ok(Opened::Missing);
    };
    let (number, token) = row.int(0).zip(row.int(1)).ok_or_else(unexpected)?;
    if row.bool(2) != Some(true) {
        return Ok(Opened::InUse);
    }
    Ok(Opened::Claimed(Claim {
        mailbox: number,
        token,
        session,
    }))
}
