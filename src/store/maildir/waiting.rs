//! Mailboxes that take no mail, and what waits for them: one that is broken harms nobody else.
//!
//! # Theory of operation
//! A mailbox is *ailing* when something that is its own stands in the way: its directories belong
//! to another user or may not be written, a file or a symbolic link is in their place, its quota or
//! the small file system that it lies on is full. That is found out
//!
//! - when it is named as a recipient (`cure.rs`): whether it is known to be
//!   ailing, and, unless it was seen a moment ago to take entries, a look at `new`, one system
//!   call. Its senders are asked to come again, and those of others are not;
//! - at the commit. A message that has no other recipient is refused. One that has is taken, and
//!   waits for this mailbox;
//! - behind the journal, or in a replay. There the message is acknowledged and waits.
//!
//! What waits is in a directory of the store's own for each mailbox,
//! `.facteur/waiting/<domain>/<local part>`, under the name that it will have, and durable there:
//! so its batch of the journal counts as applied. It is delivered when the mailbox is *cured*: that
//! is tried whenever somebody sends to it or logs in, at every start, and every
//! [`CURE_PACE`].
//!
//! What waits is put into the mailbox durably before it is gone from here, and one who removes it
//! over POP3 in between removes it here too, so a crash neither loses it nor brings it back. A name
//! that the mailbox has already, in `new` or moved to `cur`, is that of the same message.
//!
//! A message that is in its mailbox and would have to be written anew there (`replay.rs`) waits
//! under a name that begins with `anew-`: it is put in the place of the one that is there, and of
//! none when somebody removed that. From the next start on it waits to be delivered like any other:
//! if the one in the mailbox is missing then, the disk may have lost it.
//!
//! # Bounds
//! Nothing is accepted for a mailbox that is ailing. So what waits for it was on its way when that
//! was found out: no more than there were sessions, or than the journal held at a start.
//!
//! # Invariants
//! - What is set aside is durable when `keep_waiting` (`aside.rs`) is `Ok`.
//! - One at a time sets aside or delivers what waits for a mailbox.
//!
//! # Failures
//! When a message cannot be set aside either, that is a failure of the store as a whole.
//!
//! # Known limits
//! A message that another program removes in the moment between its delivery from here and its
//! removal from here comes back after a power cut.

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

/// Mailboxes that take no mail, and who is at work on which.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) table: Mutex<Table>,
    is_free: Condvar,
}

#[derive(Debug, Default)]
pub(super) struct Table {
    ailing: HashMap<MailboxName, Ailing>,
    /// In the hands of one who sets aside or delivers.
    taken: HashSet<MailboxName>,
    n_messages: usize,
    pub(super) tried_at: Option<Instant>,
}

/// A mailbox that takes no mail.
#[derive(Debug)]
struct Ailing {
    error: Error,
    /// How many messages wait for it.
    n_messages: usize,
    /// When that was told last.
    told_at: Option<Instant>,
    /// How many were told of then.
    n_told: usize,
}

/// One mailbox in the hands of one; given back when this is dropped.
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
    /// It is to be delivered.
    Delivery,
    /// It is to take the place of a file that the disk may have lost.
    Anew,
}

impl Table {
    /// Whether more can wait for the mailbox.
    pub(super) fn has_room(&mut self, mailbox: &MailboxName) -> bool {
        if self.ailing.len() >= AILING_MAILBOXES_MAX {
            // Those for which nothing waits are found out again.
            self.ailing.retain(|_, found| found.n_messages > 0);
        }
        self.ailing.len() < AILING_MAILBOXES_MAX || self.ailing.contains_key(mailbox)
    }

    /// How many messages wait for the mailbox.
    pub(super) fn count_for(&self, mailbox: &MailboxName) -> usize {
        let ailing = self.ailing.get(mailbox);
        ailing.map_or(0, |found| found.n_messages)
    }

    /// Notes what is wrong with the mailbox and, where that is known, how many messages wait for
    /// it. Gives how many do when it is time to tell that.
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
        // That something waits for it is news.
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

    /// Those for which another number of messages waits than was told; from now on it is.
    pub(super) fn untold(&mut self) -> Vec<(MailboxName, usize, Error)> {
        let ailing = self.ailing.iter_mut();
        let untold = ailing.filter(|(_, found)| found.n_messages != found.n_told);
        untold
            .map(|(mailbox, found)| {
                found.n_told = found.n_messages;
                (mailbox.clone(), found.n_messages, found.error.clone())
            })
            .collect()
    }

    /// Forgets that the mailbox is ailing; whether it was.
    pub(super) fn note_cure(&mut self, mailbox: &MailboxName) -> bool {
        let n_messages = self.count_for(mailbox);
        self.n_messages = self.n_messages.saturating_sub(n_messages);
        self.ailing.remove(mailbox).is_some()
    }
}

impl Waiting {
    /// Takes the mailbox, after whoever has it.
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

    /// Takes the mailbox, unless somebody has it.
    pub(super) fn try_take<'a>(&'a self, mailbox: &'a MailboxName) -> Option<AtWork<'a>> {
        let is_free = self.table.lock().taken.insert(mailbox.clone());
        is_free.then_some(AtWork {
            waiting: self,
            mailbox,
        })
    }

    /// What is wrong with the mailbox, if that is known.
    pub(super) fn ailment(&self, mailbox: &MailboxName) -> Option<Error> {
        let table = self.table.lock();
        table.ailing.get(mailbox).map(|found| found.error.clone())
    }

    /// Whether something waits for the mailbox, or may do so in a moment.
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

    /// How long until all are to be tried again; `None` when none is ailing.
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
