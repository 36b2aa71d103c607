//! The steps: what servers, the failover manager, clients and facteur can do in a state, and what
//! can fail.

use crate::state::{
    ALL, Call, Caller, Delivery, Failure, Look, NAMES, Phase, Record, S1, S2, SERVERS, Server, Set,
    State,
};
use crate::world::{Deviation, Standbys, World};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    // Statements.
    /// It is sent to a server, which runs it.
    Run {
        caller: Caller,
        at: u8,
    },
    /// It is sent, and the connection is lost before it arrives. It may still arrive.
    Strand {
        caller: Caller,
        at: u8,
    },
    /// It arrives.
    RunStray {
        caller: Caller,
        at: u8,
        name: u8,
    },
    /// Only with a planted bug: it begins, looks at the leases, and waits.
    Begin {
        session: u8,
        at: u8,
    },
    /// The connection is lost after the statement has run.
    Cut {
        caller: Caller,
    },
    /// The standbys have confirmed enough.
    Prove {
        caller: Caller,
    },
    /// Only with a planted bug: the proof goes on at another server.
    ProveAt {
        caller: Caller,
        at: u8,
    },
    // Sessions.
    Look {
        at: u8,
    },
    ProveLook,
    // Nodes.
    /// The node frees what its sessions claimed that are over.
    Sweep {
        at: u8,
        session: u8,
    },
    LeaseOver {
        node: u8,
    },
    Renew {
        node: u8,
    },
    Freeze {
        node: u8,
    },
    Thaw {
        node: u8,
    },
    // Servers.
    Receive {
        standby: u8,
    },
    End {
        at: u8,
        position: u8,
    },
    Cancel {
        at: u8,
        position: u8,
    },
    Notice {
        at: u8,
    },
    Restart {
        at: u8,
    },
    /// What the failover manager or the operator does.
    Manage(Act),
}

/// What the failover manager or the operator does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    /// The names of the leader are emptied, and set again.
    Empty,
    Refill,
    /// Both others are named, and both must confirm.
    NameBoth,
    /// S2 is named in the place of S1, which may not be promoted any longer.
    NameOther,
    /// A standby that has everything may be promoted from now on.
    Trust {
        standby: u8,
    },
    /// The leader is not touched: it may live on.
    Promote {
        standby: u8,
        next: u8,
    },
    /// An old primary becomes a standby of the leader, with the log that it has.
    Return {
        at: u8,
    },
    /// A standby follows the leader from now on.
    Follow {
        standby: u8,
    },
    /// The leader is set back to a backup.
    Restore {
        len: u8,
    },
}

impl World<'_> {
    pub(crate) fn possible(&self, state: &State, steps: &mut Vec<Step>) {
        for message in 0..self.messages {
            self.of_message(state, message, steps);
        }
        for session in self.session_ids() {
            self.of_session(state, session, steps);
        }
        if self.looks {
            self.of_look(state, steps);
        }
        self.of_nodes(state, steps);
        for at in SERVERS {
            of_server(state, at, steps);
        }
        self.of_manager(state, steps);
    }

    fn of_message(&self, state: &State, id: u8, steps: &mut Vec<Step>) {
        let caller = Caller::Message(id);
        let message = &state.messages[usize::from(id)];
        match message.delivery {
            // The messages are alike, so the first is the first.
            Delivery::Idle if id > 0 && state.messages[0].delivery == Delivery::Idle => {}
            Delivery::Idle | Delivery::Unknown => self.of_statement(state, caller, steps),
            Delivery::Calling(call) => self.of_call(state, caller, call, steps),
            Delivery::Acknowledged | Delivery::Refused => {}
        }
        for stray in message.strays.members() {
            let (at, name) = (stray % 3, id * NAMES + stray / 3);
            if may_run(state, caller, at, name) {
                steps.push(Step::RunStray { caller, at, name });
            }
        }
    }

    fn of_session(&self, state: &State, id: u8, steps: &mut Vec<Step>) {
        let session = &state.sessions[usize::from(id)];
        let node = self.node(id);
        for stray in session.strays.members() {
            let caller = if stray < 3 {
                Caller::Opening(id)
            } else {
                Caller::Quit(id)
            };
            let at = stray % 3;
            if may_run(state, caller, at, 0) {
                steps.push(Step::RunStray {
                    caller,
                    at,
                    name: 0,
                });
            }
        }
        let (opening, quit) = (Caller::Opening(id), Caller::Quit(id));
        match session.phase {
            Phase::Opening(call) => self.of_call(state, opening, call, steps),
            Phase::Quitting(call) => self.of_call(state, quit, call, steps),
            _ if state.frozen.has(node) => {}
            // The sessions are alike, so the first is the first.
            Phase::None if id > 0 && state.sessions[0].phase == Phase::None => {}
            Phase::None if !self.is_busy(state, node) && !state.over.has(node) => {
                self.of_statement(state, opening, steps);
            }
            Phase::Open | Phase::Leaving | Phase::QuitUnknown => {
                self.of_statement(state, quit, steps);
            }
            Phase::None | Phase::Over => {}
        }
    }

    /// What can become of a statement that is sent now.
    fn of_statement(&self, state: &State, caller: Caller, steps: &mut Vec<Step>) {
        for at in primaries(state) {
            match caller {
                Caller::Opening(session) if self.has(Deviation::ClaimInOneStatement) => {
                    steps.push(Step::Begin { session, at });
                }
                Caller::Message(_) | Caller::Opening(_) | Caller::Quit(_) => {
                    if may_run(state, caller, at, self.next_name(state, caller)) {
                        steps.push(Step::Run { caller, at });
                    }
                }
            }
            if state.left.have(Failure::Cut) {
                steps.push(Step::Strand { caller, at });
            }
        }
    }

    fn of_call(&self, state: &State, caller: Caller, call: Call, steps: &mut Vec<Step>) {
        if state.left.have(Failure::Cut) {
            steps.push(Step::Cut { caller });
        }
        match call {
            Call::Begun { at, .. } => {
                if may_run(state, caller, at, 0) {
                    steps.push(Step::Run { caller, at });
                }
            }
            Call::Committing { .. } => {}
            Call::Proving { at, lsn, needed } => {
                let is_frozen = match caller {
                    Caller::Message(_) => false,
                    Caller::Opening(id) | Caller::Quit(id) => state.frozen.has(self.node(id)),
                };
                if !is_frozen && self.is_proved(state.server(at), lsn, needed) {
                    steps.push(Step::Prove { caller });
                }
                if self.has(Deviation::ProofElsewhere) && state.left.have(Failure::Cut) {
                    let others = primaries(state).filter(|other| *other != at);
                    steps.extend(others.map(|at| Step::ProveAt { caller, at }));
                }
            }
        }
    }

    fn is_proved(&self, server: &Server, lsn: u8, needed: u8) -> bool {
        let now = if self.has(Deviation::NamesReadBefore) {
            needed
        } else {
            server.needed
        };
        let standbys = if self.has(Deviation::FlushAlone) {
            ALL
        } else {
            // Nothing of this log was sent to the others.
            ALL.without(server.strangers)
        };
        server.is_confirmed(standbys, lsn, now)
            || server.is_emptied && self.has(Deviation::EmptyNamesProve)
    }

    fn of_look(&self, state: &State, steps: &mut Vec<Step>) {
        match state.look {
            Look::Idle => steps.extend(primaries(state).map(|at| Step::Look { at })),
            Look::Proving { at, lsn, .. } => {
                let server = state.server(at);
                if self.is_proved(server, lsn, server.needed) {
                    steps.push(Step::ProveLook);
                }
            }
            Look::Over => {}
        }
    }

    fn of_nodes(&self, state: &State, steps: &mut Vec<Step>) {
        if self.sessions.len() < 2 {
            return;
        }
        for node in 0..2 {
            let may_end = state.frozen.has(node)
                || state.unsure.has(node)
                || !self.is_busy(state, node)
                || self.has(Deviation::NodeClock);
            // Otherwise nobody asks.
            let is_holder = self.has(Deviation::ClaimInOneStatement)
                || primaries(state).any(|at| {
                    let claim = state.server(at).claim();
                    claim.is_some_and(|it| it.is_held && self.node(it.session) == node)
                });
            if !state.frozen.has(node) && !self.has(Deviation::NoSweep) {
                steps.extend(primaries(state).filter_map(|at| {
                    let session = self.abandoned(state, at, node)?;
                    let is_blocked = state.server(at).is_mailbox_locked();
                    (!is_blocked).then_some(Step::Sweep { at, session })
                }));
            }
            if may_end && is_holder && !state.over.has(node) {
                steps.push(Step::LeaseOver { node });
            }
            if state.frozen.has(node) {
                steps.push(Step::Thaw { node });
            } else {
                let is_done = self.session_ids().all(|id| {
                    let phase = state.sessions[usize::from(id)].phase;
                    self.node(id) != node || phase == Phase::Over
                });
                if !is_done && state.over.with(state.unsure).has(node) {
                    steps.push(Step::Renew { node });
                }
                if state.left.have(Failure::Freeze) && self.is_busy(state, node) {
                    steps.push(Step::Freeze { node });
                }
            }
        }
    }

    /// The session of this node that holds the mailbox although it is over.
    pub(crate) fn abandoned(&self, state: &State, at: u8, node: u8) -> Option<u8> {
        let claim = state.server(at).claim()?;
        let session = &state.sessions[usize::from(claim.session)];
        let is_over = session.phase == Phase::Over && self.node(claim.session) == node;
        (claim.is_held && is_over).then_some(claim.session)
    }

    fn of_manager(&self, state: &State, steps: &mut Vec<Step>) {
        let leader = state.server(state.leader);
        if leader.is_emptied {
            steps.push(Step::Manage(Act::Refill));
        } else if state.left.have(Failure::Empty) {
            steps.push(Step::Manage(Act::Empty));
        }
        if state.left.renames > 0 {
            steps.extend([Step::Manage(Act::NameBoth), Step::Manage(Act::NameOther)]);
        }
        if state.left.returns > 0 {
            let old = primaries(state).filter(|at| *at != state.leader);
            steps.extend(old.map(|at| Step::Manage(Act::Return { at })));
        }
        for standby in SERVERS {
            let it = state.server(standby);
            let is_stranger = leader.strangers.has(standby);
            let follows = !it.is_primary && it.upstream == state.leader && !is_stranger;
            let has_all = leader.confirmed[usize::from(standby)] == leader.wal.len;
            let is_named = leader.names.has(standby) && !leader.is_emptied && leader.waits;
            let may_be = state.left.promotions > 0;
            if may_be && follows && has_all && is_named && !state.candidates.has(standby) {
                steps.push(Step::Manage(Act::Trust { standby }));
            }
            if state.left.promotions == 0 || it.is_primary || !self.may_promote(state, standby) {
                continue;
            }
            let next = match standby {
                // The old primary, or the other standby.
                S1 if state.left.returns > 0 => state.leader,
                S2 => S1,
                _ => S2,
            };
            steps.push(Step::Manage(Act::Promote { standby, next }));
        }
        if state.left.have(Failure::Restore) {
            steps.extend((0..leader.wal.len).map(|len| Step::Manage(Act::Restore { len })));
        }
    }

    fn may_promote(&self, state: &State, standby: u8) -> bool {
        let len = state.server(standby).wal.len;
        let mut others = state.candidates.without(Set::of(standby)).members();
        state.candidates.has(standby)
            && match self.standbys {
                Standbys::Named | Standbys::AnyTwoOfTwo => true,
                // The manager has asked both.
                Standbys::AnyOneOfTwo | Standbys::AnyOneOfTwoDetached => {
                    others.all(|other| state.server(other).wal.len <= len)
                }
            }
    }
}

fn primaries(state: &State) -> impl Iterator<Item = u8> {
    SERVERS
        .into_iter()
        .filter(|id| state.server(*id).is_primary)
}

/// Whether nothing blocks the statement.
fn may_run(state: &State, caller: Caller, at: u8, name: u8) -> bool {
    let server = state.server(at);
    server.is_primary
        && match caller {
            // An insert waits for a transaction that inserts the same name.
            Caller::Message(_) => (0..server.wal.len).all(|position| {
                server.has_ended(position) || server.wal.at(position) != Record::Deliver(name)
            }),
            Caller::Opening(_) | Caller::Quit(_) => !server.is_mailbox_locked(),
        }
}

fn of_server(state: &State, at: u8, steps: &mut Vec<Step>) {
    let server = state.server(at);
    if !server.is_primary {
        let upstream = state.server(server.upstream);
        let is_named = upstream.names.has(at);
        let is_stranger = upstream.strangers.has(at);
        if is_stranger && server.upstream == state.leader {
            // It is rewound at last.
            steps.push(Step::Manage(Act::Follow { standby: at }));
        }
        let is_behind = upstream.wal.len > server.wal.len && !is_stranger;
        if is_named && upstream.is_primary && is_behind {
            steps.push(Step::Receive { standby: at });
        }
        let is_named = is_named || state.server(state.leader).names.has(at);
        if is_named && server.upstream != state.leader {
            steps.push(Step::Manage(Act::Follow { standby: at }));
        }
        return;
    }
    if server.waits == server.is_emptied {
        steps.push(Step::Notice { at });
    }
    if state.left.have(Failure::Restart) {
        steps.push(Step::Restart { at });
    }
    for position in 0..server.wal.len {
        if server.has_ended(position) {
            continue;
        }
        if server.is_confirmed(ALL, position + 1, server.needed) {
            steps.push(Step::End { at, position });
        }
        if state.left.have(Failure::Cancel) {
            steps.push(Step::Cancel { at, position });
        }
    }
}
