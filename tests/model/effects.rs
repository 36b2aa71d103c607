//! What each step does.

use crate::state::{
    Call, Caller, Delivery, Failure, Look, NAMES, Phase, Record, S1, S2, SERVERS, Server, Set,
    State,
};
use crate::steps::{Act, Step};
use crate::world::{Deviation, Standbys, World};

/// A statement at a server.
#[derive(Clone, Copy)]
struct Statement {
    caller: Caller,
    at: u8,
    /// The message's.
    name: u8,
    /// The leases that are over, as it sees them.
    over: Set,
}

/// The answer to a commit.
#[derive(Clone, Copy)]
struct Answer {
    at: u8,
    /// How many standbys the names asked for when the statement read them.
    needed: u8,
    warned: bool,
}

/// What a statement did.
enum Done {
    /// Nothing, by its own rules.
    Nothing,
    /// It has seen that all is done already.
    Before,
    /// It wrote this record.
    Wrote(u8),
}

impl World<'_> {
    pub(crate) fn take(&self, before: &State, step: Step) -> State {
        let mut state = *before;
        let it = &mut state;
        match step {
            Step::Run { caller, at } => self.run(it, caller, at),
            Step::Strand { caller, at } => {
                it.left.spend(Failure::Cut);
                let name = self.send(it, caller);
                *strays(it, caller) = strays(it, caller).with(stray(caller, at, name));
                lose(it, caller);
            }
            Step::Begin { session, at } => {
                set_call(
                    it,
                    Caller::Opening(session),
                    Call::Begun { at, over: it.over },
                );
            }
            Step::RunStray { caller, at, name } => {
                *strays(it, caller) = strays(it, caller).without(stray(caller, at, name));
                let over = it.over;
                let statement = Statement {
                    caller,
                    at,
                    name,
                    over,
                };
                self.execute(it, statement);
            }
            Step::Cut { caller } => {
                it.left.spend(Failure::Cut);
                lose(it, caller);
            }
            Step::Prove { caller } => finish(it, caller),
            Step::ProveAt { caller, at } => {
                it.left.spend(Failure::Cut);
                if let Some(Call::Proving { lsn, needed, .. }) = it.call(caller) {
                    set_call(it, caller, Call::Proving { at, lsn, needed });
                }
            }
            Step::Look { at } => self.look(it, at),
            Step::ProveLook => prove_look(it),
            Step::Sweep { at, session } => write(it.server_mut(at), Record::Free(session)),
            Step::LeaseOver { node } => self.end_lease(it, node),
            Step::Renew { node } => {
                it.over = it.over.without(Set::of(node));
                it.unsure = it.unsure.without(Set::of(node));
            }
            Step::Freeze { node } => self.freeze(it, node),
            Step::Thaw { node } => self.thaw(it, node),
            Step::Receive { standby } => receive(it, standby),
            Step::End { at, position } => self.end(it, at, position, false),
            Step::Cancel { at, position } => {
                it.left.spend(Failure::Cancel);
                self.end(it, at, position, true);
            }
            Step::Notice { at } => self.notice(it, at),
            Step::Restart { at } => {
                it.left.spend(Failure::Restart);
                disconnect(it, at);
                it.server_mut(at).end_all();
            }
            Step::Manage(act) => self.manage(it, act),
        }
        state
    }

    /// The name that the statement has, if it is a delivery.
    fn send(&self, state: &mut State, caller: Caller) -> u8 {
        let name = self.next_name(state, caller);
        match caller {
            Caller::Message(id) => state.messages[usize::from(id)].name = name,
            Caller::Opening(_) => {}
            Caller::Quit(id) => {
                state.seen.asked = state
                    .seen
                    .asked
                    .with(state.sessions[usize::from(id)].listed);
            }
        }
        name
    }

    fn run(&self, state: &mut State, caller: Caller, at: u8) {
        let over = match state.call(caller) {
            Some(Call::Begun { over, .. }) => over,
            Some(Call::Committing { .. } | Call::Proving { .. }) | None => state.over,
        };
        let name = self.send(state, caller);
        let needed = if self.has(Deviation::NamesReadBefore) {
            state.server(at).needed
        } else {
            0
        };
        if let Caller::Opening(id) = caller {
            // It is live from now on.
            state.sessions[usize::from(id)].phase = Phase::Opening(Call::Begun { at, over });
        }
        let statement = Statement {
            caller,
            at,
            name,
            over,
        };
        let answer = Answer {
            at,
            needed,
            warned: false,
        };
        match self.execute(state, statement) {
            Done::Nothing => refuse(state, caller),
            Done::Before => self.answer(state, caller, answer),
            Done::Wrote(position) => {
                set_call(
                    state,
                    caller,
                    Call::Committing {
                        at,
                        position,
                        needed,
                    },
                );
                if state.server(at).has_ended(position) {
                    self.answer(state, caller, answer);
                }
            }
        }
    }

    /// Runs a statement, to the wait of its commit.
    fn execute(&self, state: &mut State, statement: Statement) -> Done {
        let Statement {
            caller,
            at,
            name,
            over,
        } = statement;
        let server = *state.server(at);
        let record = match caller {
            Caller::Message(_) | Caller::Quit(_)
                if server.is_emptied && !self.has(Deviation::EmptyNamesLeftToProof) =>
            {
                return Done::Nothing;
            }
            Caller::Message(_) => {
                let has_content = server.visible().any(|it| it == Record::Deliver(name));
                let has_row = state.present(server.visible()).has(name);
                match (
                    has_content,
                    self.has(Deviation::RowWithoutContentTest) && !has_row,
                ) {
                    (false, _) => Record::Deliver(name),
                    (true, true) => Record::Again(name),
                    (true, false) => return Done::Before,
                }
            }
            Caller::Opening(id) => {
                let claim = server.claim();
                let is_free =
                    claim.is_none_or(|claim| !claim.is_held || over.has(self.node(claim.session)));
                if !is_free {
                    return Done::Nothing;
                }
                let listed = state.present(server.visible());
                let token = claim.map_or(1, |claim| claim.token + 1);
                let session = &mut state.sessions[usize::from(id)];
                // A stray opening claims for a session that is over, whose listing nobody saw.
                if session.is_live() {
                    (session.listed, session.token) = (listed, token);
                }
                Record::Claim(id)
            }
            Caller::Quit(id) => {
                let token = state.sessions[usize::from(id)].token;
                let is_mine = server.claim().is_some_and(|claim| {
                    claim.token == token && (claim.session == id || self.has(Deviation::TokenAlone))
                });
                if !is_mine {
                    return Done::Nothing;
                }
                Record::Quit(id)
            }
        };
        let position = server.wal.len;
        write(state.server_mut(at), record);
        Done::Wrote(position)
    }

    /// The commit is answered.
    fn answer(&self, state: &mut State, caller: Caller, answer: Answer) {
        let Answer { at, needed, warned } = answer;
        let is_opening = matches!(caller, Caller::Opening(_));
        if warned && self.has(Deviation::WarningIgnored) {
            finish(state, caller);
        } else if warned && !self.has(Deviation::WarningLeftToProof) {
            lose(state, caller);
        } else if self.has(Deviation::NoProof) || is_opening && self.has(Deviation::ListBeforeProof)
        {
            finish(state, caller);
        } else {
            let lsn = state.server(at).wal.len;
            set_call(state, caller, Call::Proving { at, lsn, needed });
        }
    }

    /// A waiting transaction ends, and its client is answered if it is still there.
    fn end(&self, state: &mut State, at: u8, position: u8, warned: bool) {
        state.server_mut(at).end(position);
        let callers = [0, 1]
            .into_iter()
            .flat_map(|id| [Caller::Message(id), Caller::Opening(id), Caller::Quit(id)]);
        for caller in callers {
            if let Some(Call::Committing {
                at: here,
                position: its,
                needed,
            }) = state.call(caller)
                && (here, its) == (at, position)
            {
                self.answer(state, caller, Answer { at, needed, warned });
            }
        }
    }

    fn notice(&self, state: &mut State, at: u8) {
        let server = state.server_mut(at);
        server.waits = !server.is_emptied;
        if server.waits {
            return;
        }
        for position in 0..state.server(at).wal.len {
            if !state.server(at).has_ended(position) {
                self.end(state, at, position, false);
            }
        }
    }

    fn look(&self, state: &mut State, at: u8) {
        let listed = state.present(state.server(at).visible());
        let server = state.server_mut(at);
        if !self.has(Deviation::LookWithoutMark) && !self.has(Deviation::ListBeforeProof) {
            server.wal.push(Record::Mark);
            server.end(server.wal.len - 1);
        }
        let (acknowledged, gone) = (state.seen.acknowledged, state.seen.gone);
        let lsn = state.server(at).wal.len;
        state.look = Look::Proving {
            at,
            lsn,
            listed,
            acknowledged,
            gone,
        };
        if self.has(Deviation::ListBeforeProof) {
            prove_look(state);
        }
    }

    fn end_lease(&self, state: &mut State, node: u8) {
        let is_due = state.frozen.has(node) || state.unsure.has(node);
        state.over = state.over.with(Set::of(node));
        for id in self.session_ids() {
            let session = &mut state.sessions[usize::from(id)];
            if self.node(id) == node && session.is_live() && is_due {
                session.is_robbed = true;
            }
        }
    }

    /// Its sessions go on where they are. One whose client has said QUIT sends the statement as
    /// soon as its node goes on; others end then, since the node looks at its clock first.
    fn freeze(&self, state: &mut State, node: u8) {
        state.left.spend(Failure::Freeze);
        state.frozen = state.frozen.with(Set::of(node));
        for id in self.session_ids() {
            let session = &mut state.sessions[usize::from(id)];
            if self.node(id) == node && session.phase == Phase::Open {
                session.phase = Phase::Leaving;
            }
        }
    }

    fn thaw(&self, state: &mut State, node: u8) {
        state.frozen = state.frozen.without(Set::of(node));
        for id in self.session_ids() {
            let caller = Caller::Opening(id);
            if self.node(id) == node && state.call(caller).is_some() {
                lose(state, caller);
            }
        }
    }

    fn manage(&self, state: &mut State, act: Act) {
        match act {
            Act::Empty => {
                state.left.spend(Failure::Empty);
                state.server_mut(state.leader).is_emptied = true;
            }
            Act::Refill => state.server_mut(state.leader).is_emptied = false,
            Act::NameBoth => {
                state.left.renames -= 1;
                let others = SERVERS.into_iter().filter(|other| *other != state.leader);
                let names = others.fold(Set::NONE, |set, it| set.with(Set::of(it)));
                let leader = state.server_mut(state.leader);
                (leader.names, leader.needed) = (names, 2);
            }
            Act::NameOther => {
                state.left.renames -= 1;
                state.candidates = Set::NONE;
                let other = if state.leader == S2 { S1 } else { S2 };
                let leader = state.server_mut(state.leader);
                (leader.names, leader.needed) = (Set::of(other), 1);
            }
            Act::Trust { standby } => {
                state.candidates = state.candidates.with(Set::of(standby));
            }
            Act::Promote { standby, next } => self.promote(state, standby, next),
            Act::Return { at } => {
                state.left.returns -= 1;
                disconnect(state, at);
                let wal = state.server(at).wal;
                let upstream = state.leader;
                *state.server_mut(at) = Server {
                    upstream,
                    wal,
                    ..Server::default()
                };
                let leader = state.server_mut(upstream);
                leader.confirmed[usize::from(at)] = wal.len;
                if leader.wal.common(wal) < wal.len {
                    leader.strangers = leader.strangers.with(Set::of(at));
                }
            }
            Act::Follow { standby } => follow(state, standby),
            Act::Restore { len } => restore(state, len),
        }
    }

    fn promote(&self, state: &mut State, standby: u8, next: u8) {
        state.left.promotions -= 1;
        let wal = state.server(standby).wal;
        // Commits do not wait before the names are noticed.
        let mut server = Server {
            is_primary: true,
            wal,
            names: Set::of(next),
            needed: 1,
            ..Server::default()
        };
        server.end_all();
        *state.server_mut(standby) = server;
        state.leader = standby;
        state.candidates = Set::NONE;
        if self.sessions.len() > 1 {
            state.unsure = Set(0b11);
        }
        for other in SERVERS {
            let is_detached = self.standbys == Standbys::AnyOneOfTwoDetached;
            let it = state.server(other);
            let is_named = state.server(it.upstream).names.has(other);
            if !it.is_primary && (is_detached || !is_named) {
                follow(state, other);
            }
        }
    }
}

/// A transaction writes its commit record, and waits if commits wait.
fn write(server: &mut Server, record: Record) {
    let position = server.wal.len;
    server.wal.push(record);
    if !server.waits {
        server.end(position);
    }
}

fn set_call(state: &mut State, caller: Caller, call: Call) {
    match caller {
        Caller::Message(id) => {
            state.messages[usize::from(id)].delivery = Delivery::Calling(call);
        }
        Caller::Opening(id) => state.sessions[usize::from(id)].phase = Phase::Opening(call),
        Caller::Quit(id) => state.sessions[usize::from(id)].phase = Phase::Quitting(call),
    }
}

fn strays(state: &mut State, caller: Caller) -> &mut Set {
    match caller {
        Caller::Message(id) => &mut state.messages[usize::from(id)].strays,
        Caller::Opening(id) | Caller::Quit(id) => &mut state.sessions[usize::from(id)].strays,
    }
}

/// The number of a statement whose connection is lost.
fn stray(caller: Caller, at: u8, name: u8) -> Set {
    Set::of(match caller {
        Caller::Message(_) => at + 3 * (name % NAMES),
        Caller::Opening(_) => at,
        Caller::Quit(_) => at + 3,
    })
}

/// The connection of a statement is lost.
fn lose(state: &mut State, caller: Caller) {
    match caller {
        Caller::Message(id) => state.messages[usize::from(id)].delivery = Delivery::Unknown,
        Caller::Opening(id) => over(state, id),
        Caller::Quit(id) => state.sessions[usize::from(id)].phase = Phase::QuitUnknown,
    }
}

fn over(state: &mut State, id: u8) {
    let session = &mut state.sessions[usize::from(id)];
    session.phase = Phase::Over;
    session.is_robbed = false;
}

/// All connections to a server are lost, and statements on their way to it too.
fn disconnect(state: &mut State, at: u8) {
    for id in 0..2 {
        for caller in [Caller::Message(id), Caller::Opening(id), Caller::Quit(id)] {
            if state.call(caller).is_some_and(|call| call.server() == at) {
                lose(state, caller);
            }
        }
        for name in 0..NAMES {
            let here = stray(Caller::Message(id), at, name);
            let message = &mut state.messages[usize::from(id)];
            message.strays = message.strays.without(here);
        }
        let here = Set::of(at).with(Set::of(at + 3));
        let session = &mut state.sessions[usize::from(id)];
        session.strays = session.strays.without(here);
    }
    if matches!(state.look, Look::Proving { at: there, .. } if there == at) {
        state.look = Look::Over;
    }
}

/// The statement did nothing: 451, `-ERR`.
fn refuse(state: &mut State, caller: Caller) {
    match caller {
        Caller::Message(id) => state.messages[usize::from(id)].delivery = Delivery::Refused,
        Caller::Opening(id) | Caller::Quit(id) => over(state, id),
    }
}

/// The proof is there: 250, a listing, `+OK`.
fn finish(state: &mut State, caller: Caller) {
    match caller {
        Caller::Message(id) => {
            state.messages[usize::from(id)].delivery = Delivery::Acknowledged;
            let has_it = |it: &&Server| it.wal.records().any(|it| is_of(id, it));
            if state.servers.iter().filter(has_it).count() < 2 {
                state.seen.alone = state.seen.alone.with(Set::of(id));
            }
            state.seen.acknowledged = state.seen.acknowledged.with(Set::of(id));
        }
        Caller::Opening(id) => {
            let session = &mut state.sessions[usize::from(id)];
            session.phase = Phase::Open;
            state.seen.shown = state.seen.shown.with(session.listed);
        }
        Caller::Quit(id) => {
            let listed = state.sessions[usize::from(id)].listed;
            state.seen.gone = state.seen.gone.with(listed);
            over(state, id);
        }
    }
}

fn is_of(message: u8, record: Record) -> bool {
    matches!(record, Record::Deliver(name) if name / NAMES == message)
}

fn prove_look(state: &mut State) {
    let Look::Proving {
        listed,
        acknowledged,
        gone,
        ..
    } = state.look
    else {
        return;
    };
    state.seen.shown = state.seen.shown.with(listed);
    let misses = acknowledged.members().any(|id| {
        let names = Set::of(id * NAMES).with(Set::of(id * NAMES + 1));
        names.and(listed.with(state.seen.asked)).is_empty()
    });
    state.seen.has_missed |= misses;
    state.seen.has_revived |= !listed.and(gone).is_empty();
    state.look = Look::Over;
}

fn receive(state: &mut State, standby: u8) {
    let upstream = state.server(standby).upstream;
    let position = state.server(standby).wal.len;
    let record = state.server(upstream).wal.at(position);
    let server = state.server_mut(standby);
    server.wal.push(record);
    let len = server.wal.len;
    state.server_mut(upstream).confirmed[usize::from(standby)] = len;
}

fn follow(state: &mut State, standby: u8) {
    let leader = state.leader;
    let common = state.server(leader).wal.common(state.server(standby).wal);
    let server = state.server_mut(standby);
    server.wal.truncate(common);
    server.upstream = leader;
    let leader = state.server_mut(leader);
    leader.confirmed[usize::from(standby)] = common;
    leader.strangers = leader.strangers.without(Set::of(standby));
}

/// The leader is set back to an older state of its log, and the others follow it.
fn restore(state: &mut State, len: u8) {
    for at in SERVERS {
        disconnect(state, at);
    }
    let leader = state.leader;
    let server = state.server_mut(leader);
    server.wal.truncate(len);
    server.end_all();
    server.confirmed = [0; 3];
    for other in SERVERS.into_iter().filter(|other| *other != leader) {
        let wal = state.server(other).wal;
        *state.server_mut(other) = Server {
            wal,
            ..Server::default()
        };
        follow(state, other);
    }
    state.left.spend(Failure::Restore);
    state.seen.is_restored = true;
}
