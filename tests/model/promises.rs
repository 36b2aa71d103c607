//! The promises: what must be true in every state.

use crate::state::{NAMES, Record, Set, State};
use crate::world::{Deviation, World};

impl World<'_> {
    /// The promise that is broken. What survives is the log of the leader.
    pub(crate) fn broken_promise(&self, state: &State) -> Option<&'static str> {
        let wal = state.server(state.leader).wal;
        if removes_without_claim(state) {
            return Some("a session without the mailbox removes nothing");
        }
        if state.seen.is_restored {
            return None;
        }
        if !state.seen.alone.is_empty() {
            return Some("I1: what is acknowledged is on a standby, too");
        }
        let with_mailbox = state
            .sessions
            .iter()
            .filter(|it| it.has_mailbox() && !it.is_robbed);
        if with_mailbox.count() > 1 {
            return Some("one session at a time has the mailbox");
        }
        if self.has(Deviation::NoSweep) && self.is_held_for_nothing(state) {
            return Some("a claim ends with its session");
        }
        let may_be_old = self.has(Deviation::OldLooksAllowed);
        if state.seen.has_missed && !may_be_old {
            return Some("a look shows what was acknowledged before");
        }
        if state.seen.has_revived && !may_be_old {
            return Some("a look does not show what was removed before");
        }
        let there = state.present(wal.records());
        let (shown, asked, gone) = (state.seen.shown, state.seen.asked, state.seen.gone);
        for id in state.seen.acknowledged.members() {
            if names_of(id).and(there.with(asked)).is_empty() {
                return Some("I1: acknowledged mail is there until it is removed");
            }
        }
        if !gone.and(there).is_empty() {
            return Some("I2: after +OK to QUIT nothing comes back");
        }
        if !shown.without(there).without(asked).is_empty() {
            return Some("I4: what a listing has shown does not vanish");
        }
        let mut delivered = Set::NONE;
        for record in wal.records() {
            if let Record::Deliver(name) | Record::Again(name) = record {
                if delivered.has(name) {
                    return Some("I6: no name is used twice");
                }
                if !names_of(name / NAMES).and(delivered).is_empty() {
                    return Some("I5: no message is delivered twice");
                }
                delivered = delivered.with(Set::of(name));
            }
        }
        None
    }

    /// Whether a session that is over has the mailbox, while its node runs and renews its lease,
    /// and nothing is under way that would end that.
    fn is_held_for_nothing(&self, state: &State) -> bool {
        (0..2).filter(|node| !state.frozen.has(*node)).any(|node| {
            self.abandoned(state, state.leader, node)
                .is_some_and(|session| {
                    state.sessions[usize::from(session)].strays.is_empty()
                        && !state.server(state.leader).is_mailbox_locked()
                })
        })
    }
}

fn names_of(message: u8) -> Set {
    Set::of(message * NAMES).with(Set::of(message * NAMES + 1))
}

/// Whether a QUIT comes after the claim of another session.
fn removes_without_claim(state: &State) -> bool {
    let mut holder = None;
    state
        .server(state.leader)
        .wal
        .records()
        .any(|record| match record {
            Record::Claim(session) => {
                holder = Some(session);
                false
            }
            Record::Quit(session) => holder != Some(session),
            Record::Deliver(_) | Record::Again(_) | Record::Free(_) | Record::Mark => false,
        })
}
