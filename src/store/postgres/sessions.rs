//! Which mailboxes have a session on this node, and which claims have to be ended.
//!
//! Sessions of one node exclude each other here, without the database. So a claim in the database
//! that says that this node has a mailbox, although no session here has it, is an old one, and the
//! next session here takes it over. For the sake of other nodes it is also ended, a moment after
//! its session, as often as it takes (`house.rs`).
//!
//! A session whose lease was lost counts no longer, even if its client stays: others may begin.
//! Its claim, and any that nobody here knows of, such as one whose release a failover has undone,
//! is found in the database with each renewal of the lease.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

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
    open: HashMap<MailboxName, Open>,
    ended: Vec<Ended>,
}

/// The session that has a mailbox.
#[derive(Debug)]
struct Open {
    /// The lease in which it began.
    epoch: u64,
    /// Its random number, before that is sent to the database.
    session: Option<i64>,
}

impl Sessions {
    /// Takes `mailbox` for a session of the lease `epoch`; waits for another one of it for
    /// `patience` at most.
    pub(super) fn begin(
        &self,
        mailbox: &MailboxName,
        epoch: u64,
        clock: &Clock,
        patience: Duration,
    ) -> bool {
        let end = after(clock, patience);
        let key = mailbox.clone();
        let mut state = self.state.lock();
        while state.open.get(&key).is_some_and(|open| open.epoch >= epoch) {
            let left = end.saturating_duration_since(clock.now());
            if left.is_zero() || self.is_free.wait_for(&mut state, left).timed_out() {
                return false;
            }
        }
        let session = None;
        state.open.insert(key, Open { epoch, session });
        true
    }

    /// Notes the random number of a session that is about to claim `mailbox`.
    pub(super) fn claims(&self, mailbox: &MailboxName, epoch: u64, session: i64) {
        let mut state = self.state.lock();
        if let Some(open) = state.open.get_mut(mailbox)
            && open.epoch == epoch
        {
            open.session = Some(session);
        }
        drop(state);
    }

    /// Ends the session of `mailbox`, and notes that its claim has to be ended: that of the session
    /// with this random number, if there may be one.
    pub(super) fn end(&self, mailbox: &MailboxName, epoch: u64, claim: Option<i64>) {
        let claim = claim.map(|session| (mailbox.clone(), session));
        let mut state = self.state.lock();
        // It may be that of a later session.
        let is_its_own = state.open.get(mailbox).is_some_and(|it| it.epoch == epoch);
        let gone = is_its_own.then(|| state.open.remove_entry(mailbox));
        if state.ended.len() < RELEASES_MAX {
            state.ended.extend(claim);
        }
        drop(state);
        self.is_free.notify_all();
        drop(gone);
    }

    /// The random numbers of the sessions of the lease `epoch`.
    pub(super) fn of_lease(&self, epoch: u64) -> HashSet<i64> {
        let state = self.state.lock();
        let open = state.open.values();
        let sessions = open.filter_map(|open| open.session.filter(|_| open.epoch == epoch));
        let sessions = sessions.collect();
        drop(state);
        sessions
    }

    /// Takes the sessions whose claims have to be ended.
    pub(super) fn take_ended(&self) -> Vec<Ended> {
        let mut ended = std::mem::take(&mut self.state.lock().ended);
        // A claim that waits to be ended is found in the database again.
        ended.sort_unstable();
        ended.dedup();
        ended
    }

    /// Gives them back, because they could not be ended.
    pub(super) fn give_back(&self, ended: Vec<Ended>) {
        self.state.lock().ended.extend(ended);
    }
}
