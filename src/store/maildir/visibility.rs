//! Which messages can be shown to whom, and which listings are remembered.
//!
//! # Invariants
//! - A maildrop is open in one session at most (RFC 1939 §4).
//! - A message that is not durable yet, or was withdrawn, is in no listing (I4).
//! - No system call is made while the Mutex is held, and nothing else is locked meanwhile (L1, L3).

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use crate::{
    clock::Clock,
    mail::MailboxName,
    store::{
        name::{Identity, Serial},
        sync::{Condvar, Mutex},
    },
};

use super::index::{Access, Index, Remembered};

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
    /// The mailboxes that somebody reads.
    readers: HashMap<MailboxName, Readers>,
    /// Messages that may be found on disk and must not be shown, by their counter (I4).
    invisible: HashMap<u64, Invisible>,
    /// Listings of earlier readers.
    index: Index,
}

/// Who reads a mailbox.
#[derive(Clone, Copy, Debug, Default)]
struct Readers {
    /// Whether its maildrop is open.
    has_session: bool,
    /// How many readers have no claim.
    n_looks: usize,
    /// How often this daemon has changed the mailbox since the first of them began.
    n_changes: u64,
}

/// The state of a mailbox before it is read, to tell whether this daemon has changed it since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(Option<u64>);

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
        planted!(
            ReadersDoNotCount,
            return self.readers.values().any(|it| it.has_session)
        );
        !self.readers.is_empty()
    }

    /// Changes the readers of `mailbox`, of whom one begins.
    fn begin_reader(&mut self, mailbox: &MailboxName, change: impl FnOnce(&mut Readers)) {
        change(self.readers.entry(mailbox.clone()).or_default());
    }

    /// Changes the readers of `mailbox`, of whom one ends.
    fn end_reader(&mut self, mailbox: &MailboxName, change: impl FnOnce(&mut Readers)) {
        if let Some(readers) = self.readers.get_mut(mailbox) {
            change(readers);
            if !readers.has_session && readers.n_looks == 0 {
                self.readers.remove(mailbox);
            }
        }
        self.forget_withdrawn();
    }

    /// What tells later whether this daemon has changed `mailbox` since.
    fn mark(&self, mailbox: &MailboxName) -> Mark {
        planted!(ChangesWhileReadingAreMissed, return Mark(None));
        Mark(self.readers.get(mailbox).map(|it| it.n_changes))
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
                readers: HashMap::default(),
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
        let is_open = |state: &State| state.readers.get(mailbox).is_some_and(|it| it.has_session);
        while is_open(&state) {
            let now = clock.now();
            let waited = now.duration_since(*since.get_or_insert(now));
            let left = patience.saturating_sub(waited);
            if left.is_zero() {
                return false;
            }
            self.claim_ended.wait_for(&mut state, left);
        }
        state.begin_reader(mailbox, |readers| readers.has_session = true);
        true
    }

    /// Ends the session that has the maildrop of `mailbox`.
    pub(super) fn end(&self, mailbox: &MailboxName) {
        let mut state = self.state.lock();
        state.end_reader(mailbox, |readers| readers.has_session = false);
        drop(state);
        // They may be waiting for different maildrops.
        self.claim_ended.notify_all();
    }

    /// Notes that a reader of `mailbox` without a claim starts.
    pub(super) fn begin_reading(&self, mailbox: &MailboxName) {
        let one_more = |readers: &mut Readers| readers.n_looks = readers.n_looks.saturating_add(1);
        self.state.lock().begin_reader(mailbox, one_more);
    }

    /// Notes that a reader of `mailbox` without a claim has finished.
    pub(super) fn end_reading(&self, mailbox: &MailboxName) {
        let one_less = |readers: &mut Readers| readers.n_looks = readers.n_looks.saturating_sub(1);
        self.state.lock().end_reader(mailbox, one_less);
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

    /// What is remembered of `mailbox`, which the caller reads, and what tells later whether this
    /// daemon has changed the mailbox since.
    pub(super) fn recall(&self, mailbox: &MailboxName) -> (Option<Remembered>, Mark) {
        let state = self.state.lock();
        (state.index.look(mailbox).cloned(), state.mark(mailbox))
    }

    /// Notes that a reader of `mailbox` has used the remembered listing.
    pub(super) fn use_listing(&self, mailbox: &MailboxName, access: Access) {
        if access == Access::Exclusive {
            self.state.lock().index.use_again(mailbox);
        }
    }

    /// Remembers what a reader has made of `mailbox`, or nothing. If this daemon has changed the
    /// mailbox since `mark`, only the sizes are remembered.
    pub(super) fn enter_listing(
        &self,
        mailbox: &MailboxName,
        remembered: Option<Remembered>,
        access: Access,
        mark: Mark,
    ) {
        let mut state = self.state.lock();
        let has_changed = state.mark(mailbox) != mark;
        let mut gone = match remembered {
            Some(remembered) => state.index.enter(mailbox, remembered, access),
            None => state.index.take(mailbox).into_iter().collect(),
        };
        if has_changed {
            gone.extend(state.index.outdate(mailbox));
        }
        drop(state);
        // Only after the lock is released (L1).
        drop(gone);
    }

    /// Forgets the listing of `mailbox` except for the sizes, because it has been found not to
    /// describe the mailbox any more. A clock that is set back could make it seem to do so again.
    pub(super) fn outdate_listing(&self, mailbox: &MailboxName) {
        let gone = self.state.lock().index.outdate(mailbox);
        // Only after the lock is released (L1).
        drop(gone);
    }

    /// The same, because this daemon has put a message there or removed one. The times of the
    /// directory should show this, but on some disks they do not. Call it afterwards.
    pub(super) fn forget_listing(&self, mailbox: &MailboxName) {
        let mut state = self.state.lock();
        if let Some(readers) = state.readers.get_mut(mailbox) {
            readers.n_changes = readers.n_changes.wrapping_add(1);
        }
        let gone = state.index.outdate(mailbox);
        drop(state);
        // Only after the lock is released (L1).
        drop(gone);
    }

    /// Forgets everything about the messages of `mailbox`, because a size that was counted is
    /// wrong.
    pub(super) fn forget_sizes(&self, mailbox: &MailboxName) {
        let gone = self.state.lock().index.take(mailbox);
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
        store::name::OwnName,
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
            visibility.begin_reading(&bob);
            visibility.hide(serial);
            visibility.withdraw(serial, false);
            assert!(!is_shown(&visibility));
            visibility
        };
        let visibility = withdrawn();
        visibility.end(&bob);
        assert!(!is_shown(&visibility), "there is still a reader");
        visibility.end_reading(&bob);
        assert!(is_shown(&visibility), "its number is forgotten");
        let visibility = withdrawn();
        visibility.end_reading(&bob);
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
