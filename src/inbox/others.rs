//! Which changes other programs have made.
//!
//! # Theory of operation
//! The messages of a mailbox are compared with those of the listing before. A change of a message
//! of another program is a change by others. One of a message of ours is the store's, which reports
//! it: before the listing shows it, or a moment later. What is not reported by the next but one
//! whole look at all mailboxes was done by others, who may remove messages of ours and move them.
//! So was the removal of a message that is reported and that no listing shows.

use std::collections::{HashMap, HashSet};

use crate::{
    mail::{EntryId, MailboxName},
    store::{Change, News},
};

use super::limits::UNREPORTED_MAX;

/// A change of one message.
pub(super) type Step = (EntryId, Change);

/// What the store has reported of each mailbox, and no listing has shown yet.
pub(super) type Reported = HashMap<MailboxName, HashSet<Step>>;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// How often others have changed each mailbox.
    changes: HashMap<MailboxName, u64>,
    /// The same of all mailboxes, of those that are gone too.
    sum: u64,
    /// Changes of messages of ours that the store has not reported: since the last whole look, and
    /// since the one before it.
    unreported: HashSet<(MailboxName, Step)>,
    overdue: HashSet<(MailboxName, Step)>,
}

impl Others {
    /// How often others have changed the mailbox, or any.
    pub(super) fn changes(&self, of: Option<&MailboxName>) -> u64 {
        match of {
            None => self.sum,
            Some(of) => self.changes.get(of).copied().unwrap_or(0),
        }
    }

    /// Notes that others have changed a mailbox.
    pub(super) fn changed(&mut self, mailbox: &MailboxName) {
        self.sum = self.sum.saturating_add(1);
        let changes = self.changes.entry(mailbox.clone()).or_default();
        *changes = changes.saturating_add(1);
    }

    /// Notes that a mailbox is gone.
    pub(super) fn gone(&mut self, mailbox: &MailboxName) {
        self.sum = self.sum.saturating_add(1);
        self.changes.remove(mailbox);
    }

    /// Notes what the store reports. Returns what no listing has shown yet.
    pub(super) fn reported(&mut self, news: Vec<News>) -> Reported {
        let mut unseen = Reported::new();
        for news in news {
            let key = (news.mailbox, (news.id, news.change));
            if !self.unreported.remove(&key) && !self.overdue.remove(&key) {
                let (mailbox, step) = key;
                unseen.entry(mailbox).or_default().insert(step);
            }
        }
        unseen
    }

    /// Notes what a listing shows that the one before it has not, and the other way round.
    pub(super) fn shown(&mut self, mailbox: &MailboxName, steps: Vec<Step>, reported: &Reported) {
        let none = HashSet::new();
        let reported = reported.get(mailbox).unwrap_or(&none);
        let steps: HashSet<_> = steps.into_iter().collect();
        let is_missing = |(id, change): &Step| {
            *change == Change::Arrived
                && !steps.contains(&(*id, Change::Arrived))
                && !reported.contains(&(*id, Change::Removed))
        };
        let mut by_others = reported.iter().any(is_missing);
        for step in steps.difference(reported) {
            let (id, _) = step;
            if id.is_own() && self.unreported.len() < UNREPORTED_MAX {
                self.unreported.insert((mailbox.clone(), *step));
            } else {
                by_others = true;
            }
        }
        if by_others {
            self.changed(mailbox);
        }
    }

    /// Notes that all mailboxes are looked at.
    pub(super) fn whole_look(&mut self) {
        let next = std::mem::take(&mut self.unreported);
        let overdue = std::mem::replace(&mut self.overdue, next);
        for (mailbox, ..) in overdue {
            self.changed(&mailbox);
        }
    }
}
