//! Mailboxes whose directories are known to survive a power cut, and which state of their `cur` was
//! last synced.
//!
//! # Invariants
//! - No system call is made while the Mutex is held, and nothing else is locked meanwhile (L1, L3).

use std::{collections::HashMap, time::Instant};

use crate::{
    clock::Clock,
    fs::{Identity, Stamp},
    mail::MailboxName,
    store::{
        limits::{KNOWN_MAILBOXES_MAX, PLACE_BELIEVED},
        sync::Mutex,
    },
};

use super::{disk::Disk, layout::Maildir, listing::Side};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct KnownMailboxes(Mutex<HashMap<MailboxName, Known>>);

/// What is known about a mailbox.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Its `new`: the mailbox is known as long as that is this directory.
    new: Identity,
    /// When it was last seen to accept entries.
    taking_at: Instant,
    /// The state of its `cur` before the last sync of that, if every later change shows.
    synced_cur: Option<State>,
}

/// The state of a directory: which it is, and when it was last changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct State {
    identity: Identity,
    changed: i64,
}

impl State {
    /// `None` for a time that no clock shows.
    fn of(stamp: &Stamp) -> Option<Self> {
        Some(Self {
            identity: stamp.identity,
            changed: i64::try_from(stamp.changed).ok()?,
        })
    }
}

impl KnownMailboxes {
    /// Whether the directories of `mailbox` are known to survive a power cut.
    pub(super) fn is_known(&self, mailbox: &MailboxName) -> bool {
        self.0.lock().contains_key(mailbox)
    }

    /// Whether `mailbox` is known, and was recently seen to accept entries.
    pub(super) fn was_taking_lately(&self, clock: &Clock, mailbox: &MailboxName) -> bool {
        let known = self.0.lock().get(mailbox).copied();
        let age = known.map(|it| clock.now().saturating_duration_since(it.taking_at));
        age.is_some_and(|age| age < PLACE_BELIEVED)
    }

    /// Notes that `mailbox` accepts entries, if it is known.
    pub(super) fn note_taking(&self, clock: &Clock, mailbox: &MailboxName) {
        let now = clock.now();
        if let Some(known) = self.0.lock().get_mut(mailbox) {
            known.taking_at = now;
        }
    }

    /// Notes that `cur` of `mailbox` was synced after it was in the state `cur`, and that every
    /// later change shows.
    pub(super) fn note_synced_cur(&self, mailbox: &MailboxName, cur: &Stamp) {
        if let Some(known) = self.0.lock().get_mut(mailbox) {
            known.synced_cur = State::of(cur);
        }
    }

    /// Whether a sync of `cur` of `mailbox`, which is in the state `cur` now, would save nothing.
    pub(super) fn is_cur_synced(&self, mailbox: &MailboxName, cur: &Stamp) -> bool {
        let known = self.0.lock().get(mailbox).copied();
        let synced = known.and_then(|known| known.synced_cur);
        planted!(SyncedDirectoriesStaySynced, return synced.is_some());
        synced.is_some() && synced == State::of(cur)
    }

    /// Remembers that the directories of `mailboxes` survive a power cut.
    pub(super) fn remember<'a>(
        &self,
        disk: &Disk,
        mailboxes: impl IntoIterator<Item = &'a MailboxName>,
    ) {
        for mailbox in mailboxes {
            if self.is_known(mailbox) {
                continue;
            }
            let new = disk.maildir(mailbox).map(|maildir| maildir.side(Side::New));
            // A directory that cannot be examined is met again.
            let Some(Ok(metadata)) = new.ok().map(|new| disk.fs.metadata(&new)) else {
                continue;
            };
            let known = Known {
                new: metadata.stamp.identity,
                taking_at: disk.clock.now(),
                synced_cur: None,
            };
            let mut table = self.0.lock();
            if table.len() >= KNOWN_MAILBOXES_MAX {
                table.clear();
            }
            table.insert(mailbox.clone(), known);
        }
    }

    /// Forgets `mailbox` when its `new` is no longer the directory that is known to survive a power
    /// cut, because somebody has replaced it. Returns whether it was forgotten.
    pub(super) fn forget_replaced(&self, mailbox: &MailboxName, new: &Stamp) -> bool {
        let mut table = self.0.lock();
        let known = table.get(mailbox);
        let is_replaced = known.is_some_and(|known| known.new != new.identity);
        if is_replaced {
            table.remove(mailbox);
        }
        is_replaced
    }

    /// Whether `new` of `mailbox` is the directory that is known to survive a power cut.
    pub(super) fn is_still_known(
        &self,
        disk: &Disk,
        mailbox: &MailboxName,
        maildir: &Maildir,
    ) -> bool {
        let found = disk.fs.metadata(&maildir.side(Side::New));
        found.is_ok_and(|found| !self.forget_replaced(mailbox, &found.stamp))
            && self.is_known(mailbox)
    }

    /// Forgets all mailboxes, because somebody removed everything.
    pub(super) fn forget_all(&self) {
        self.0.lock().clear();
    }

    /// Forgets `mailbox`, because somebody removed its directories.
    pub(super) fn forget(&self, mailbox: &MailboxName) {
        self.0.lock().remove(mailbox);
    }

    /// Whether the lock is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.0.is_locked()
    }
}
