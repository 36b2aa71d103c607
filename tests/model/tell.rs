//! The steps in words, for counterexamples.

use crate::search::Model;
use crate::state::{Caller, NAMES, P, Record, S1, Set, State};
use crate::steps::{Act, Step};
use crate::world::World;

impl Model for World<'_> {
    type State = State;
    type Step = Step;

    fn begin(&self) -> State {
        self.first()
    }

    fn steps(&self, state: &State, steps: &mut Vec<Step>) {
        self.possible(state, steps);
    }

    fn after(&self, state: &State, step: Step) -> State {
        self.take(state, step)
    }

    fn broken(&self, state: &State) -> Option<&'static str> {
        self.broken_promise(state)
    }

    fn tell(&self, state: &State, step: Step) -> String {
        let mut words = self.words(state, step);
        let after = self.take(state, step);
        let new = |before: Set, after: Set| after.without(before);
        let (was, is) = (state.seen, after.seen);
        for message in new(was.acknowledged, is.acknowledged).members() {
            words += &format!("; message {message} is acknowledged (250)");
        }
        if was.shown != is.shown {
            words += &format!("; shown: {}", names(is.shown));
        }
        if was.gone != is.gone {
            words += "; QUIT is answered with +OK";
        }
        words
    }
}

impl World<'_> {
    fn words(&self, state: &State, step: Step) -> String {
        match step {
            Step::Run { caller, at } => self.ran(state, step, caller, at),
            Step::Strand { caller, at } => {
                format!(
                    "{} is sent to {}; the connection is lost",
                    who(caller),
                    name(at)
                )
            }
            Step::Begin { session, at } => {
                format!("the claim of session {session} begins at {}", name(at))
            }
            Step::RunStray { caller, at, .. } => {
                self.ran(state, step, caller, at) + ", late: its connection is lost"
            }
            Step::Cut { caller } => format!("{} loses its connection", who(caller)),
            Step::Prove { caller } => {
                format!("the standbys have confirmed what {} needs", who(caller))
            }
            Step::ProveAt { caller, at } => {
                format!("{} goes on with its proof at {}", who(caller), name(at))
            }
            Step::Look { at } => format!("a look at {} lists the mailbox", name(at)),
            Step::ProveLook => "the look is proved, and shown".into(),
            Step::Sweep { at, session } => {
                format!(
                    "at {}, the claim of session {session} is freed: it is over",
                    name(at)
                )
            }
            Step::LeaseOver { node } => format!("the lease of {} is over", facteur(node)),
            Step::Renew { node } => format!("{} renews its lease", facteur(node)),
            Step::Freeze { node } => format!("{} stands still", facteur(node)),
            Step::Thaw { node } => format!("{} goes on", facteur(node)),
            Step::Receive { standby } => {
                let upstream = state.server(standby).upstream;
                let record = state.server(upstream).wal.at(state.server(standby).wal.len);
                format!(
                    "{} receives {} from {}",
                    name(standby),
                    what(record),
                    name(upstream)
                )
            }
            Step::End { at, position } => {
                let record = state.server(at).wal.at(position);
                format!(
                    "the wait of {} at {} ends: standbys have it",
                    what(record),
                    name(at)
                )
            }
            Step::Cancel { at, position } => {
                let record = state.server(at).wal.at(position);
                format!(
                    "the wait of {} at {} is cancelled, with a warning",
                    what(record),
                    name(at)
                )
            }
            Step::Notice { at } => {
                format!(
                    "the checkpointer of {} notices the names; what waits may end",
                    name(at)
                )
            }
            Step::Restart { at } => format!("{} crashes and starts again", name(at)),
            Step::Manage(act) => managed(state, act),
        }
    }

    /// What a statement did.
    fn ran(&self, state: &State, step: Step, caller: Caller, at: u8) -> String {
        let (before, after) = (state.server(at).wal, self.take(state, step).server(at).wal);
        let (who, at) = (who(caller), name(at));
        if after.len > before.len {
            format!("{who} runs at {at}, and its record is written")
        } else {
            format!("{who} runs at {at}, and writes nothing")
        }
    }
}

fn managed(state: &State, act: Act) -> String {
    let leader = name(state.leader);
    match act {
        Act::Empty => format!("the names at {leader} are emptied"),
        Act::Refill => format!("the names at {leader} are set again"),
        Act::NameBoth => format!("the names at {leader} become ANY 2 of both others"),
        Act::NameOther => format!("the names at {leader} become the other standby"),
        Act::Trust { standby } => format!("{} may be promoted from now on", name(standby)),
        Act::Promote { standby, next } => {
            let (standby, next) = (name(standby), name(next));
            format!("{standby} is promoted, with {next} as its standby; {leader} lives on")
        }
        Act::Return { at } => {
            format!(
                "{} returns as a standby of {leader}, with its own log",
                name(at)
            )
        }
        Act::Follow { standby } => format!("{} follows {leader}", name(standby)),
        Act::Restore { len } => format!("{leader} is restored as of record {len}"),
    }
}

fn name(server: u8) -> &'static str {
    match server {
        P => "P",
        S1 => "S1",
        _ => "S2",
    }
}

fn facteur(node: u8) -> &'static str {
    if node == 0 { "facteur A" } else { "facteur B" }
}

fn who(caller: Caller) -> String {
    match caller {
        Caller::Message(id) => format!("message {id}"),
        Caller::Opening(id) => format!("the claim of session {id}"),
        Caller::Quit(id) => format!("the QUIT of session {id}"),
    }
}

fn names(set: Set) -> String {
    let names = set.members().map(|name| match name % NAMES {
        0 => format!("message {}", name / NAMES),
        _ => format!("message {} again", name / NAMES),
    });
    names.collect::<Vec<_>>().join(", ")
}

fn what(record: Record) -> String {
    match record {
        Record::Deliver(name) => format!("message {}", name / NAMES),
        Record::Again(name) => format!("message {} again", name / NAMES),
        Record::Claim(session) => format!("the claim of session {session}"),
        Record::Quit(session) => format!("the QUIT of session {session}"),
        Record::Free(session) => format!("the end of the claim of session {session}"),
        Record::Mark => "a mark".into(),
    }
}
