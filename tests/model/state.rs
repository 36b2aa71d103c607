//! What the model knows of the servers, of the messages on their way, and of the sessions.

/// The servers, and how many there are: the primary at the beginning, and its standbys.
pub(crate) const P: u8 = 0;
pub(crate) const S1: u8 = 1;
pub(crate) const S2: u8 = 2;
pub(crate) const ALL: Set = Set(0b111);
pub(crate) const SERVERS: [u8; 3] = [P, S1, S2];

/// How many attempts to deliver one message have names of their own.
pub(crate) const NAMES: u8 = 2;

/// A small set of small numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Set(pub(crate) u8);

impl Set {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) const fn of(member: u8) -> Self {
        Self(1 << member)
    }

    pub(crate) const fn has(self, member: u8) -> bool {
        self.0 & 1 << member != 0
    }

    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn members(self) -> impl Iterator<Item = u8> {
        (0..8).filter(move |member| self.has(*member))
    }
}

/// A transaction that changed something, as the write-ahead log has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Record {
    /// The content of this name, and its row in the mailbox.
    Deliver(u8),
    /// Its row in the mailbox alone: the content was there already. Only a planted bug does that.
    Again(u8),
    /// The mailbox's token and its holder, for this session.
    Claim(u8),
    /// What this session's QUIT removes, and the end of its claim.
    Quit(u8),
    /// The end of a claim whose session is over, without a removal.
    Free(u8),
    /// Nothing but a position in the log.
    Mark,
}

/// The write-ahead log of a server: each record that is durable there, 4 bits each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Wal {
    records: u64,
    pub(crate) len: u8,
}

impl Wal {
    /// More than any scenario has.
    const LEN_MAX: u8 = 16;

    pub(crate) fn at(self, position: u8) -> Record {
        let code = u8::try_from(self.records >> (4 * position) & 15).unwrap();
        match code {
            0..4 => Record::Deliver(code),
            4..8 => Record::Again(code - 4),
            8..10 => Record::Claim(code - 8),
            10..12 => Record::Quit(code - 10),
            12..14 => Record::Free(code - 12),
            _ => Record::Mark,
        }
    }

    pub(crate) fn push(&mut self, record: Record) {
        let code = match record {
            Record::Deliver(name) => name,
            Record::Again(name) => 4 + name,
            Record::Claim(session) => 8 + session,
            Record::Quit(session) => 10 + session,
            Record::Free(session) => 12 + session,
            Record::Mark => 14,
        };
        assert!(self.len < Self::LEN_MAX, "the scenario is too large");
        self.records |= u64::from(code) << (4 * self.len);
        self.len += 1;
    }

    pub(crate) fn truncate(&mut self, len: u8) {
        if len < self.len {
            self.records &= (1 << (4 * len)) - 1;
            self.len = len;
        }
    }

    pub(crate) fn records(self) -> impl DoubleEndedIterator<Item = Record> {
        (0..self.len).map(move |position| self.at(position))
    }

    /// How many records both have before they differ.
    pub(crate) fn common(self, other: Self) -> u8 {
        let len = self.len.min(other.len);
        (0..len)
            .find(|it| self.at(*it) != other.at(*it))
            .unwrap_or(len)
    }
}

/// One PostgreSQL server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Server {
    pub(crate) is_primary: bool,
    /// What a standby follows.
    pub(crate) upstream: u8,
    pub(crate) wal: Wal,
    /// The records whose transactions have ended: others see them, and they hold no lock.
    pub(crate) ended: u16,
    /// How much of this primary's log each standby has said that it has. This stays when a standby
    /// goes.
    pub(crate) confirmed: [u8; 3],
    /// Standbys with another history: what they confirm is their own log, and not this one.
    pub(crate) strangers: Set,
    /// The members of `synchronous_standby_names`, and how many of them must confirm.
    pub(crate) names: Set,
    pub(crate) needed: u8,
    /// The names are empty for now.
    pub(crate) is_emptied: bool,
    /// Commits wait for standbys. The checkpointer changes this, some time after the names change.
    pub(crate) waits: bool,
}

impl Server {
    pub(crate) fn has_ended(&self, position: u8) -> bool {
        self.ended & 1 << position != 0
    }

    pub(crate) fn end(&mut self, position: u8) {
        self.ended |= 1 << position;
    }

    pub(crate) fn end_all(&mut self) {
        self.ended = (1 << self.wal.len) - 1;
    }

    /// Whether as many of these standbys as `needed` say that they have the log up to `lsn`, and
    /// are named.
    pub(crate) fn is_confirmed(&self, standbys: Set, lsn: u8, needed: u8) -> bool {
        let have = |standby: &u8| self.confirmed[usize::from(*standby)] >= lsn;
        let n = self.names.and(standbys).members().filter(have).count();
        !self.is_emptied && n >= usize::from(needed)
    }

    /// The transactions that others see.
    pub(crate) fn visible(&self) -> impl Iterator<Item = Record> {
        let ended = (0..self.wal.len).filter(|it| self.has_ended(*it));
        ended.map(|position| self.wal.at(position))
    }

    /// Whether a transaction that has not ended holds the row of the mailbox.
    pub(crate) fn is_mailbox_locked(&self) -> bool {
        let is_holding = |position: &u8| match self.wal.at(*position) {
            Record::Claim(_) | Record::Quit(_) | Record::Free(_) => !self.has_ended(*position),
            Record::Deliver(_) | Record::Again(_) | Record::Mark => false,
        };
        (0..self.wal.len).any(|position| is_holding(&position))
    }

    /// The last claim, whether it has ended, and its token.
    pub(crate) fn claim(&self) -> Option<Claim> {
        let mut last: Option<Claim> = None;
        for record in self.wal.records() {
            match record {
                Record::Claim(session) => {
                    let token = last.map_or(1, |claim| claim.token + 1);
                    last = Some(Claim {
                        session,
                        token,
                        is_held: true,
                    });
                }
                Record::Quit(_) | Record::Free(_) => {
                    last = last.map(|claim| Claim {
                        is_held: false,
                        ..claim
                    });
                }
                Record::Deliver(_) | Record::Again(_) | Record::Mark => {}
            }
        }
        last
    }
}

/// The mailbox's token, session and holder.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Claim {
    pub(crate) session: u8,
    pub(crate) token: u8,
    pub(crate) is_held: bool,
}

/// A transaction on a connection: from the statement to the proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Call {
    /// Only with a planted bug: the statement has begun, and saw the leases as they were.
    Begun { at: u8, over: Set },
    /// The commit waits, or its answer is on the way. `needed`: how many standbys the names asked
    /// for when the statement read them.
    Committing { at: u8, position: u8, needed: u8 },
    /// The commit was answered; the log up to `lsn` must be confirmed.
    Proving { at: u8, lsn: u8, needed: u8 },
}

impl Call {
    pub(crate) fn server(self) -> u8 {
        match self {
            Self::Begun { at, .. } | Self::Committing { at, .. } | Self::Proving { at, .. } => at,
        }
    }
}

/// One message, from the end of its data to the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Delivery {
    Idle,
    Calling(Call),
    /// The outcome is unknown, and the statement is to be repeated.
    Unknown,
    /// 250.
    Acknowledged,
    /// 451.
    Refused,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Message {
    pub(crate) delivery: Delivery,
    /// The name of the present attempt.
    pub(crate) name: u8,
    /// Statements whose connection is lost, and that may still arrive: the server, and 3 more for
    /// the second name.
    pub(crate) strays: Set,
}

/// One POP3 session with the mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Phase {
    None,
    Opening(Call),
    /// Its listing was shown.
    Open,
    /// Its node stood still after QUIT, and has not sent the statement.
    Leaving,
    Quitting(Call),
    /// The outcome of QUIT is unknown, and the statement is to be repeated.
    QuitUnknown,
    /// It has ended.
    Over,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Session {
    pub(crate) phase: Phase,
    pub(crate) token: u8,
    /// The names that it lists, and that its QUIT removes.
    pub(crate) listed: Set,
    /// Its lease was over although its node ran, as it can be after a failover, or its node was
    /// frozen: another may have the mailbox.
    pub(crate) is_robbed: bool,
    /// Statements whose connection is lost, and that may still arrive: openings by server, and
    /// QUITs by server and 3 more.
    pub(crate) strays: Set,
}

impl Session {
    pub(crate) const NONE: Self = Self {
        phase: Phase::None,
        token: 0,
        listed: Set::NONE,
        is_robbed: false,
        strays: Set::NONE,
    };

    pub(crate) fn is_live(&self) -> bool {
        !matches!(self.phase, Phase::None | Phase::Over)
    }

    /// Whether it has the mailbox, and has not given it back.
    pub(crate) fn has_mailbox(&self) -> bool {
        matches!(self.phase, Phase::Open | Phase::Leaving)
    }
}

/// A reading without a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Look {
    Idle,
    /// It has listed these names. Before that, these were acknowledged, and these were gone.
    Proving {
        at: u8,
        lsn: u8,
        listed: Set,
        acknowledged: Set,
        gone: Set,
    },
    Over,
}

/// How often each failure may still happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Failures {
    /// All together, but for failovers.
    pub(crate) all: u8,
    /// Connections of facteur that are lost after a statement was sent.
    pub(crate) cuts: u8,
    /// Crashes of a primary that starts again.
    pub(crate) restarts: u8,
    /// Waiting commits that are cancelled.
    pub(crate) cancels: u8,
    /// The names are emptied.
    pub(crate) empties: u8,
    /// Failovers.
    pub(crate) promotions: u8,
    /// The failover manager names other standbys, in its careful way.
    pub(crate) renames: u8,
    /// A facteur stands still.
    pub(crate) freezes: u8,
    /// The leader is restored from a backup.
    pub(crate) restores: u8,
    /// An old primary returns as a standby, and keeps the log that it has.
    pub(crate) returns: u8,
}

/// One failure, or one change of the names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    Cut,
    Restart,
    Cancel,
    Empty,
    Freeze,
    Restore,
}

impl Failures {
    /// One of each, and as many as `all` together.
    pub(crate) const fn any(all: u8) -> Self {
        let (cuts, restarts, cancels, empties) = (all, 1, 1, 1);
        let (promotions, renames, freezes, restores, returns) = (1, 0, 0, 0, 0);
        Self {
            all,
            cuts,
            restarts,
            cancels,
            empties,
            promotions,
            renames,
            freezes,
            restores,
            returns,
        }
    }

    fn count(&mut self, failure: Failure) -> &mut u8 {
        match failure {
            Failure::Cut => &mut self.cuts,
            Failure::Restart => &mut self.restarts,
            Failure::Cancel => &mut self.cancels,
            Failure::Empty => &mut self.empties,
            Failure::Freeze => &mut self.freezes,
            Failure::Restore => &mut self.restores,
        }
    }

    pub(crate) fn have(mut self, failure: Failure) -> bool {
        self.all > 0 && *self.count(failure) > 0
    }

    pub(crate) fn spend(&mut self, failure: Failure) {
        self.all -= 1;
        *self.count(failure) -= 1;
        if self.all == 0 {
            // So that states that differ in nothing that can still happen are equal.
            let (promotions, renames, returns) = (self.promotions, self.renames, self.returns);
            *self = Self {
                promotions,
                renames,
                returns,
                ..Self::default()
            };
        }
    }
}

/// Who has a statement at a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Caller {
    Message(u8),
    Opening(u8),
    Quit(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) servers: [Server; 3],
    /// The primary that the failover manager has named last. Its log is what survives.
    pub(crate) leader: u8,
    /// What the failover manager may promote.
    pub(crate) candidates: Set,
    pub(crate) messages: [Message; 2],
    /// Each slot is one session of one node.
    pub(crate) sessions: [Session; 2],
    pub(crate) look: Look,
    /// Nodes whose lease is over.
    pub(crate) over: Set,
    /// Nodes that have not renewed their lease since a failover: the clock of the new primary may
    /// differ, and the last renewals may be lost.
    pub(crate) unsure: Set,
    pub(crate) frozen: Set,
    pub(crate) left: Failures,
    pub(crate) seen: Seen,
}

/// What clients have seen, which the promises are about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Seen {
    /// Messages with 250.
    pub(crate) acknowledged: Set,
    /// Names that a listing has shown.
    pub(crate) shown: Set,
    /// Names that a QUIT was to remove.
    pub(crate) asked: Set,
    /// Names that a QUIT with `+OK` has removed.
    pub(crate) gone: Set,
    /// A look did not show a message that was acknowledged before it began.
    pub(crate) has_missed: bool,
    /// A look showed a message whose removal was acknowledged before it began.
    pub(crate) has_revived: bool,
    /// Messages that no standby had when they were acknowledged.
    pub(crate) alone: Set,
    /// A backup was restored, so that mail may be missing or return.
    pub(crate) is_restored: bool,
}

impl State {
    pub(crate) fn server(&self, id: u8) -> &Server {
        &self.servers[usize::from(id)]
    }

    pub(crate) fn server_mut(&mut self, id: u8) -> &mut Server {
        &mut self.servers[usize::from(id)]
    }

    /// The names whose message is in the mailbox.
    pub(crate) fn present(&self, records: impl Iterator<Item = Record>) -> Set {
        records.fold(Set::NONE, |present, record| match record {
            Record::Deliver(name) | Record::Again(name) => present.with(Set::of(name)),
            Record::Quit(id) => present.without(self.sessions[usize::from(id)].listed),
            Record::Claim(_) | Record::Free(_) | Record::Mark => present,
        })
    }

    /// Its statement, if it has one at a server.
    pub(crate) fn call(&self, caller: Caller) -> Option<Call> {
        match caller {
            Caller::Message(id) => match self.messages[usize::from(id)].delivery {
                Delivery::Calling(call) => Some(call),
                Delivery::Idle | Delivery::Unknown | Delivery::Acknowledged | Delivery::Refused => {
                    None
                }
            },
            Caller::Opening(id) => match self.sessions[usize::from(id)].phase {
                Phase::Opening(call) => Some(call),
                Phase::None
                | Phase::Open
                | Phase::Leaving
                | Phase::Quitting(_)
                | Phase::QuitUnknown
                | Phase::Over => None,
            },
            Caller::Quit(id) => match self.sessions[usize::from(id)].phase {
                Phase::Quitting(call) => Some(call),
                Phase::None
                | Phase::Opening(_)
                | Phase::Open
                | Phase::Leaving
                | Phase::QuitUnknown
                | Phase::Over => None,
            },
        }
    }
}
