//! Mailboxes that accept no mail, and the messages that wait for them. A broken mailbox does not
//! affect others.
//!
//! # Theory of operation
//! A mailbox is *ailing* if something of its own prevents deliveries: its directories belong to
//! another user or cannot be written, a file or a symbolic link is in their place, or its quota or
//! the small file system that it is on is full. This is detected
//!
//! - when it is named as a recipient (`cure.rs`), if it is known to be ailing or if a look at `new`
//!   shows it. The look costs one system call, and is skipped if the mailbox accepted entries a
//!   moment ago. Senders to this mailbox are asked to try again later; senders to others are not;
//! - at the commit. A message with no other recipient is refused. One with others is accepted, and
//!   waits for this mailbox;
//! - after the journal, or in a replay. There the message is already acknowledged, and waits.
//!
//! Waiting messages are in one of the store's own directories for each mailbox,
//! `.facteur/waiting/<domain>/<local part>`, under the name that they will have, and durable there:
//! so their batch of the journal counts as applied. They are delivered when the mailbox is *cured*.
//! That is tried whenever somebody sends to it or logs in, at every start, and every [`CURE_PACE`].
//!
//! A waiting message is durable in the mailbox before it is removed from here, and a removal over
//! POP3 in between removes it here too. So a crash neither loses it nor brings it back. If the
//! mailbox already has its name, in `new` or moved to `cur`, that is the same message.
//!
//! A message that is in its mailbox but has to be written anew there (`replay.rs`) waits under a
//! name that begins with `anew-`: it replaces the file in the mailbox, and is not delivered if
//! somebody has removed that. After the next start it waits to be delivered like any other: if the
//! file in the mailbox is missing then, the disk may have lost it.
//!
//! # Bounds
//! Nothing is accepted for an ailing mailbox. So the messages that wait for it were on their way
//! when that was detected: no more than there were sessions, or than the journal held at a start.
//!
//! # Invariants
//! - A message that is set aside is durable when `keep_waiting` (`aside.rs`) returns `Ok`.
//! - For each mailbox, one thread at a time sets messages aside or delivers them.
//!
//! # Failures
//! If a message cannot be set aside either, the store as a whole has failed.
//!
//! # Known limits
//! A message that another program removes between its delivery to the mailbox and its removal from
//! here comes back after a power cut.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use crate::{
    mail::MailboxName,
    store::{
        Error,
        limits::{AILING_MAILBOXES_MAX, AILING_REMINDER, CURE_PACE},
        sync::{Condvar, Mutex},
    },
};

/// Mailboxes that accept no mail, and which of them are being worked on.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) table: Mutex<Table>,
    is_free: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    ailing: HashMap<MailboxName, Ailing>,
    /// Mailboxes for which a thread is setting messages aside or delivering them.
    taken: HashSet<MailboxName>,
    n_messages: usize,
    pub(super) tried_at: Option<Instant>,
}

/// A mailbox that accepts no mail.
#[derive(Debug)]
struct Ailing {
    error: Error,
    /// How many messages wait for it.
    n_messages: usize,
    /// When that was last reported.
    told_at: Option<Instant>,
    /// How many were reported then.
    n_told: usize,
}

/// The exclusive right to work on one mailbox; given back when this is dropped.
#[derive(Debug)]
pub(super) struct AtWork<'a> {
    waiting: &'a Waiting,
    pub(super) mailbox: &'a MailboxName,
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        self.waiting.table.lock().taken.remove(self.mailbox);
        self.waiting.is_free.notify_all();
    }
}

/// Why a message waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be delivered.
    Delivery,
    /// To replace a file that the disk may have lost.
    Anew,
}

impl Table {
    /// Whether more can wait for the mailbox.
    pub(super) fn has_room(&mut self, mailbox: &MailboxName) -> bool {
        if self.ailing.len() >= AILING_MAILBOXES_MAX {
            // Those for which nothing waits will be detected again.
            self.ailing.retain(|_, found| found.n_messages > 0);
        }
        self.ailing.len() < AILING_MAILBOXES_MAX || self.ailing.contains_key(mailbox)
    }

    /// How many messages wait for the mailbox.
    pub(super) fn count_for(&self, mailbox: &MailboxName) -> usize {
        let ailing = self.ailing.get(mailbox);
        ailing.map_or(0, |found| found.n_messages)
    }

    /// Notes what is wrong with the mailbox and, if known, how many messages wait for it. Returns
    /// how many do if it is time to report that.
    pub(super) fn note(
        &mut self,
        mailbox: &MailboxName,
        error: &Error,
        n_messages: Option<usize>,
        now: Instant,
    ) -> Option<usize> {
        let before = self.count_for(mailbox);
        let after = n_messages.unwrap_or(before);
        if after == 0 && !self.has_room(mailbox) {
            return None;
        }
        let found = self
            .ailing
            .entry(mailbox.clone())
            .or_insert_with(|| Ailing {
                error: error.clone(),
                n_messages: 0,
                told_at: None,
                n_told: 0,
            });
        found.error = error.clone();
        found.n_messages = after;
        // The first waiting message is news.
        let is_news = before == 0 && after > 0;
        let is_to_be_told = is_news
            || found
                .told_at
                .is_none_or(|told_at| now.saturating_duration_since(told_at) >= AILING_REMINDER);
        if is_to_be_told {
            (found.told_at, found.n_told) = (Some(now), after);
        }
        self.n_messages = self.n_messages.saturating_sub(before).saturating_add(after);
        is_to_be_told.then_some(after)
    }

    /// The mailboxes whose number of waiting messages differs from the one reported; marks it as
    /// reported.
    pub(super) fn unreported(&mut self) -> Vec<(MailboxName, usize, Error)> {
        let ailing = self.ailing.iter_mut();
        let unreported = ailing.filter(|(_, found)| found.n_messages != found.n_told);
        unreported
            .map(|(mailbox, found)| {
                found.n_told = found.n_messages;
                (mailbox.clone(), found.n_messages, found.error.clone())
            })
            .collect()
    }

    /// Forgets that the mailbox is ailing; returns whether it was.
    pub(super) fn note_cure(&mut self, mailbox: &MailboxName) -> bool {
        let n_messages = self.count_for(mailbox);
        self.n_messages = self.n_messages.saturating_sub(n_messages);
        self.ailing.remove(mailbox).is_some()
    }
}

impl Waiting {
    /// Takes the mailbox, after waiting for whoever has it.
    pub(super) fn take<'a>(&'a self, mailbox: &'a MailboxName) -> AtWork<'a> {
        let mut table = self.table.lock();
        while !table.taken.insert(mailbox.clone()) {
            self.is_free.wait(&mut table);
        }
        drop(table);
        AtWork {
            waiting: self,
            mailbox,
        }
    }

    /// Takes the mailbox, unless somebody else has it.
    pub(super) fn try_take<'a>(&'a self, mailbox: &'a MailboxName) -> Option<AtWork<'a>> {
        let is_free = self.table.lock().taken.insert(mailbox.clone());
        is_free.then_some(AtWork {
            waiting: self,
            mailbox,
        })
    }

    /// What is known to be wrong with the mailbox.
    pub(super) fn ailment(&self, mailbox: &MailboxName) -> Option<Error> {
        let table = self.table.lock();
        table.ailing.get(mailbox).map(|found| found.error.clone())
    }

    /// Whether a message waits for the mailbox, or may do so in a moment.
    pub(super) fn concerns(&self, mailbox: &MailboxName) -> bool {
        let table = self.table.lock();
        let ailing = table.ailing.get(mailbox);
        table.taken.contains(mailbox) || ailing.is_some_and(|found| found.n_messages > 0)
    }

    /// How many messages wait.
    pub(super) fn count(&self) -> usize {
        self.table.lock().n_messages
    }

    pub(super) fn mailboxes(&self) -> Vec<MailboxName> {
        self.table.lock().ailing.keys().cloned().collect()
    }

    /// How long until all are tried again; `None` if none is ailing.
    pub(super) fn until_due(&self, now: Instant) -> Option<Duration> {
        let mut table = self.table.lock();
        if table.ailing.is_empty() {
            table.tried_at = None;
            return None;
        }
        let tried_at = *table.tried_at.get_or_insert(now);
        drop(table);
        Some(CURE_PACE.saturating_sub(now.saturating_duration_since(tried_at)))
    }

    /// Whether the lock is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.table.is_locked()
    }
}
