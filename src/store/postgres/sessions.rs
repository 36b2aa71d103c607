//! Which mailboxes have a session on this node, and which claims have to be ended.
//!
//! Sessions of one node exclude each other here, without the database. So a claim in the database
//! that says that this node has a mailbox, although no session here has it, is an old one, and the
//! next session here takes it over. For the sake of other nodes it is also ended, a moment after
//! its session, as often as it takes (`house.rs`).

use std::{collections::HashSet, time::Duration};

use crate::{
    clock::Clock,
    mail::MailboxName,
    store::sync::{Condvar, Mutex},
};

use super::{lanes::after, limits::RELEASES_MAX};

/// A claim in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// The number of the mailbox.
    pub(super) mailbox: i64,
    pub(super) token: i64,
    /// A random number: another server may give out a token again that this one had given.
    pub(super) session: i64,
}

/// A session that has ended, by its mailbox and its random number.
pub(super) type Ended = (MailboxName, i64);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Sessions {
    state: Mutex<State>,
    is_free: Condvar,
}

#[derive(Debug, Default)]
struct State {
    open: HashSet<MailboxName>,
    ended: Vec<Ended>,
}

impl Sessions {
    /// Takes `mailbox` for a session; waits for another one for `patience` at most.
    pub(super) fn begin(&self, mailbox: &MailboxName, clock: &Clock, patience: Duration) -> bool {
        let end = after(clock, patience);
        let key = mailbox.clone();
        let mut state = self.state.lock();
        while state.open.contains(&key) {
            let left = end.saturating_duration_since(clock.now());
            if left.is_zero() || self.is_free.wait_for(&mut state, left).timed_out() {
                return false;
            }
        }
        let is_new = state.open.insert(key);
        drop(state);
        is_new
    }

    /// Ends the session of `mailbox`, and notes that its claim has to be ended: that of the session
    /// with this random number, if there may be one.
    pub(super) fn end(&self, mailbox: &MailboxName, claim: Option<i64>) {
        let claim = claim.map(|session| (mailbox.clone(), session));
        let mut state = self.state.lock();
        let gone = state.open.take(mailbox);
        if state.ended.len() < RELEASES_MAX {
            state.ended.extend(claim);
        }
        drop(state);
        self.is_free.notify_all();
        drop(gone);
    }

    /// Takes the sessions whose claims have to be ended.
    pub(super) fn take_ended(&self) -> Vec<Ended> {
        std::mem::take(&mut self.state.lock().ended)
    }

    /// Gives them back, because they could not be ended.
    pub(super) fn give_back(&self, ended: Vec<Ended>) {
        self.state.lock().ended.extend(ended);
    }
}
