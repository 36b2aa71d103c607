//! What is searched: how the servers are set up, what happens, which failures may come, and where
//! facteur deviates from its rules.

use crate::state::{
    Caller, Delivery, Failures, Look, Message, NAMES, P, Seen, Server, Session, Set, State,
};

/// How the standbys are named, and what the failover manager makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standbys {
    /// `FIRST 1 (S1)`: S1 alone may be promoted. S2 is asynchronous.
    Named,
    /// `ANY 2 (S1, S2)`: both have everything, either may be promoted.
    AnyTwoOfTwo,
    /// `ANY 1 (S1, S2)`: the one that has more is promoted, while the other still follows P.
    AnyOneOfTwo,
    /// The same, and no standby follows P any longer when the two are compared.
    AnyOneOfTwoDetached,
}

/// A rule that is broken on purpose, or left out to see whether it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deviation {
    /// The proof asks what standbys have flushed, and not what was sent to them.
    FlushAlone,
    /// An answer to the commit without a warning is enough.
    NoProof,
    /// The proof asks for as many standbys as the names asked for when the statement began.
    NamesReadBefore,
    /// When the names are empty, the proof asks for no standby, and so has what it wants.
    EmptyNamesProve,
    /// A commit that was answered with a warning counts as durable.
    WarningIgnored,
    /// A commit that was answered with a warning is proved like any other.
    WarningLeftToProof,
    /// The statement does its work also while the names are empty.
    EmptyNamesLeftToProof,
    /// A repeat inserts the message row also if the content was there.
    RowWithoutContentTest,
    /// A repeat has a new name.
    NewNames,
    /// The proof goes on at another server, with the position from the first.
    ProofElsewhere,
    /// A listing is shown without a proof.
    ListBeforeProof,
    /// A look proves the log as it is, and writes nothing of its own to it.
    LookWithoutMark,
    /// A claim looks at the leases when it begins, and then waits for the row.
    ClaimInOneStatement,
    /// QUIT compares the token, and not the session.
    TokenAlone,
    /// A look may miss what was acknowledged, and show what was removed.
    OldLooksAllowed,
    /// Nodes do not free claims whose session is over.
    NoSweep,
    /// Leases are compared with the clock of the node that wants the mailbox.
    NodeClock,
}

/// One scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct World<'a> {
    pub(crate) standbys: Standbys,
    pub(crate) messages: u8,
    /// The node of each session.
    pub(crate) sessions: &'a [u8],
    pub(crate) looks: bool,
    pub(crate) failures: Failures,
    pub(crate) deviations: &'a [Deviation],
}

impl World<'_> {
    pub(crate) fn has(&self, deviation: Deviation) -> bool {
        self.deviations.contains(&deviation)
    }

    /// The names of the standbys at the beginning, and how many must confirm.
    pub(crate) fn names(&self) -> (Set, u8) {
        match self.standbys {
            Standbys::Named => (Set(0b010), 1),
            Standbys::AnyTwoOfTwo => (Set(0b110), 2),
            Standbys::AnyOneOfTwo | Standbys::AnyOneOfTwoDetached => (Set(0b110), 1),
        }
    }

    pub(crate) fn first(&self) -> State {
        let (names, needed) = self.names();
        let primary = Server {
            is_primary: true,
            names,
            needed,
            waits: true,
            ..Server::default()
        };
        let message = |name| Message {
            delivery: Delivery::Idle,
            name,
            strays: Set::NONE,
        };
        State {
            servers: [primary, Server::default(), Server::default()],
            leader: P,
            candidates: names,
            messages: [message(0), message(NAMES)],
            sessions: [Session::NONE; 2],
            look: Look::Idle,
            over: Set::NONE,
            unsure: Set::NONE,
            frozen: Set::NONE,
            left: self.failures,
            seen: Seen::default(),
        }
    }

    pub(crate) fn node(&self, session: u8) -> u8 {
        self.sessions[usize::from(session)]
    }

    pub(crate) fn session_ids(&self) -> impl Iterator<Item = u8> + use<'_> {
        (0..2).zip(self.sessions).map(|(session, _)| session)
    }

    /// Whether a session of this node is not over.
    pub(crate) fn is_busy(&self, state: &State, node: u8) -> bool {
        self.session_ids().any(|session| {
            self.node(session) == node && state.sessions[usize::from(session)].is_live()
        })
    }

    /// The name that a message has when it is sent now.
    pub(crate) fn next_name(&self, state: &State, caller: Caller) -> u8 {
        match caller {
            Caller::Message(id) => {
                let message = &state.messages[usize::from(id)];
                let is_repeat = message.delivery == Delivery::Unknown;
                id * NAMES + u8::from(is_repeat && self.has(Deviation::NewNames))
            }
            Caller::Opening(_) | Caller::Quit(_) => 0,
        }
    }
}
