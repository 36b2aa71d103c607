//! Mailboxes whose directories are known to survive a power cut.
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
