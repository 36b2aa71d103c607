//! Which messages can be shown to whom, and which listings are remembered.
//!
//! # Invariants
//! - A maildrop is open in one session at most (RFC 1939 §4).
//! - A message that is not durable yet, or was withdrawn, is in no listing (I4).
//! - No system call is made while the Mutex is held, and nothing else is locked meanwhile (L1, L3).

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use crate::{
    clock::Clock,
    mail::MailboxName,
    store::sync::{Condvar, Mutex},
};

use super::{
    index::{Index, Remembered, Sight},
    listing::Listing,
    name::{Identity, Serial},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Visibility {
    state: Mutex<State>,
    /// Wakes threads that are waiting for a maildrop.
    claim_ended: Condvar,
    /// The nonce of the serials of this run of the daemon. All other messages are durable.
    nonce: u64,
}

#[derive(Debug)]
struct State {
    /// Mailboxes whose maildrop is open, and whether a message was put into them since.
    open_maildrops: HashMap<MailboxName, bool>,
    /// How many readers have no claim.
    n_readers: usize,
    /// Messages that may be found on disk and must not be shown, by their counter (I4).
    invisible: HashMap<u64, Invisible>,
    /// Listings of earlier sessions.
    index: Index,
}

/// Why a message must not be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Invisible {
    /// It is not durable yet.
    Committing,
    /// Its delivery failed and it could not be unlinked.
    Stuck,
    /// Its delivery failed and it was unlinked, perhaps after somebody read the directory.
    Withdrawn,
}

impl State {
    /// Whether anybody could be reading a directory.
    fn is_read(&self) -> bool {
        planted!(ReadersDoNotCount, return !self.open_maildrops.is_empty());
        !self.open_maildrops.is_empty() || self.n_readers > 0
    }

    /// Forgets the messages that were withdrawn, if nobody can have seen them.
    fn forget_withdrawn(&mut self) {
        if !self.is_read() {
            self.invisible.retain(|_, why| *why != Invisible::Withdrawn);
        }
    }
}

impl Visibility {
    /// Nothing is open or hidden yet. Remembered listings can use up to `octets_max`.
    pub(super) fn remembering(octets_max: u64, nonce: u64) -> Self {
        Self {
            state: Mutex::new(State {
                open_maildrops: HashMap::default(),
                n_readers: 0,
                invisible: HashMap::default(),
                index: Index::with_room(usize::try_from(octets_max).unwrap_or(usize::MAX)),
            }),
            claim_ended: Condvar::new(),
            nonce,
        }
    }

    /// Opens the maildrop of `mailbox`. If another session has it, waits at most `patience` for
    /// that session to end. Returns whether it was opened.
    pub(super) fn open(&self, mailbox: &MailboxName, patience: Duration, clock: &Clock) -> bool {
        let mut since = None;
        let mut state = self.state.lock();
        while state.open_maildrops.contains_key(mailbox) {
            let now = clock.now();
            let waited = now.duration_since(*since.get_or_insert(now));
            let left = patience.saturating_sub(waited);
            if left.is_zero() {
                return false;
            }
            self.claim_ended.wait_for(&mut state, left);
        }
        state.open_maildrops.insert(mailbox.clone(), false);
        true
    }

    /// Ends the session that has the maildrop of `mailbox`.
    pub(super) fn end(&self, mailbox: &MailboxName) {
        let mut state = self.state.lock();
        state.open_maildrops.remove(mailbox);
        state.forget_withdrawn();
        drop(state);
        // They may be waiting for different maildrops.
        self.claim_ended.notify_all();
    }

    /// Notes that a reader without a claim starts.
    pub(super) fn begin_reading(&self) {
        let mut state = self.state.lock();
        state.n_readers = state.n_readers.saturating_add(1);
    }

    /// Notes that a reader without a claim has finished.
    pub(super) fn end_reading(&self) {
        let mut state = self.state.lock();
        state.n_readers = state.n_readers.saturating_sub(1);
        state.forget_withdrawn();
    }

    /// Keeps the message out of every listing until it is shown or withdrawn.
    pub(super) fn hide(&self, serial: Serial) {
        self.state
            .lock()
            .invisible
            .insert(serial.counter, Invisible::Committing);
    }

    /// Makes the message visible. It is durable now.
    pub(super) fn show(&self, serial: Serial) {
        self.state.lock().invisible.remove(&serial.counter);
    }

    /// Forgets the message of a failed delivery as far as possible.
    pub(super) fn withdraw(&self, serial: Serial, is_stuck: bool) {
        let mut state = self.state.lock();
        if is_stuck {
            state.invisible.insert(serial.counter, Invisible::Stuck);
        } else if !state.is_read() {
            state.invisible.remove(&serial.counter);
        } else {
            state.invisible.insert(serial.counter, Invisible::Withdrawn);
        }
    }

    /// Returns a function that tells whether a message can be shown. Call this after reading the
    /// disk.
    pub(super) fn filter(&self) -> impl Fn(Identity<'_>) -> bool + use<> {
        let invisible: BTreeSet<u64> = self.state.lock().invisible.keys().copied().collect();
        let nonce = self.nonce;
        move |identity| {
            invisible.is_empty()
                || !identity.serial().is_some_and(|serial| {
                    serial.nonce == nonce && invisible.contains(&serial.counter)
                })
        }
    }

    /// Takes the remembered listing of `mailbox` out of the index. The caller has the maildrop to
    /// itself.
    pub(super) fn take_listing(&self, mailbox: &MailboxName) -> Option<Remembered> {
        self.state.lock().index.take(mailbox)
    }

    /// The remembered listing of `mailbox`, if it still describes the mailbox at `now`. It stays in
    /// the index.
    pub(super) fn borrow_listing(
        &self,
        mailbox: &MailboxName,
        now: &Sight,
    ) -> Option<Arc<Listing>> {
        self.state.lock().index.look(mailbox)?.still_holds(now)
    }

    /// Remembers the listing of `mailbox`, whose maildrop is open, unless a message was put there
    /// since it was opened.
    pub(super) fn enter_listing(&self, mailbox: &MailboxName, remembered: Remembered) {
        let mut state = self.state.lock();
        let has_changed = state.open_maildrops.get(mailbox) == Some(&true);
        let gone = if has_changed {
            vec![remembered]
        } else {
            state.index.enter(mailbox, remembered)
        };
        drop(state);
        // Only after the lock is released (L1).
        drop(gone);
    }

    /// Forgets the listing of `mailbox`, because a message was put there. The times of the
    /// directory should show this, but on some disks they do not.
    pub(super) fn forget_listing(&self, mailbox: &MailboxName) {
        let mut state = self.state.lock();
        if let Some(has_changed) = state.open_maildrops.get_mut(mailbox) {
            *has_changed = true;
        }
        let gone = state.index.take(mailbox);
        drop(state);
        // Only after the lock is released (L1).
        drop(gone);
    }

    /// Whether the lock is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.state.is_locked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        store::maildir::name::OwnName,
        testing::bugs::{self, Bug},
    };

    /// I4: a reader that may have read a directory before a delivery failed never shows its
    /// message, with or without a claim.
    #[test]
    fn a_withdrawn_message_is_hidden_while_any_reader_may_have_seen_it() {
        let serial = Serial {
            nonce: 7,
            counter: 1,
        };
        let name = OwnName {
            secs: 1,
            serial,
            host: "localhost",
            stored_octets: Some(1),
            sent_octets: Some(1),
        };
        let name = name.render();
        let bob = MailboxName::from_canonical("bob", "example.org").unwrap();
        let is_shown = |visibility: &Visibility| {
            let filter = visibility.filter();
            filter(Identity::of(name.as_bytes()))
        };
        let withdrawn = || {
            let visibility = Visibility::remembering(0, 7);
            assert!(visibility.open(&bob, Duration::ZERO, &Clock::system()));
            visibility.begin_reading();
            visibility.hide(serial);
            visibility.withdraw(serial, false);
            assert!(!is_shown(&visibility));
            visibility
        };
        let visibility = withdrawn();
        visibility.end(&bob);
        assert!(!is_shown(&visibility), "there is still a reader");
        visibility.end_reading();
        assert!(is_shown(&visibility), "its number is forgotten");
        let visibility = withdrawn();
        visibility.end_reading();
        assert!(!is_shown(&visibility), "a session has the maildrop");
        visibility.end(&bob);
        assert!(is_shown(&visibility));
        bugs::plant(Some(Bug::ReadersDoNotCount));
        let visibility = withdrawn();
        visibility.end(&bob);
        assert!(is_shown(&visibility), "the bug is not found");
        bugs::plant(None);
    }
}
