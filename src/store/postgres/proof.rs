//! When a change of the database counts as durable.
//!
//! A commit that has waited for a standby says so with its command tag. But so does one that has
//! not: when the wait is cancelled, the server commits locally and only warns; and while no standby
//! is named, or the server has not yet noticed that one is, it does not even warn. So a change
//! counts only if
//! (a) every statement and the commit succeeded,
//! (b) no warning came with them,
//! (c) a standby was named in that statement, and
//! (d) afterwards, as many standbys as the names then ask for have flushed the log to the place L
//!     where it ended after the commit, and were sent it, on a server that was not started again in
//!     between. (A standby that has another log than this server, because it was the primary once,
//!     says that it has flushed what nobody has sent to it.)
//!
//! (d) alone would do; (a) to (c) are early and cheap.

use std::time::Instant;

use crate::clock::Clock;

use super::{
    connection::{Answer, Ask, Connection, Failure, Returned, Row, Value},
    limits::{PROOF_PAUSE_MAX, PROOF_PAUSE_MIN},
    statements::PROOF,
};

/// Whether one server is enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copies {
    /// As many standbys as are named, and at least one.
    Named,
    /// Only those that are named; none, if none is.
    Single,
}

/// What a change has to be proved against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Demand {
    /// How many standbys must have it.
    standbys: u64,
    /// When the server was started; `None` for a reading.
    started: Option<i64>,
}

/// How many standbys `synchronous_standby_names` asks for: `FIRST 2 (a, b, c)`, `ANY 1 (a, b)`,
/// `2 (a, b)`, or a list, which asks for one.
pub(super) fn n_standbys(names: &str) -> u64 {
    let names = names.trim();
    if names.is_empty() {
        return 0;
    }
    let Some((method, _)) = names.split_once('(') else {
        return 1;
    };
    let number = method.split_whitespace().last().unwrap_or_default();
    // A server accepts no other form.
    number.parse().unwrap_or(u64::MAX)
}

/// How many members `synchronous_standby_names` has. A member `*` is any number of standbys.
pub(super) fn n_members(names: &str) -> usize {
    let list = names.split_once('(').map_or(names, |(_, list)| list);
    let members = list.trim().trim_end_matches(')').split(',');
    let members = members.map(|name| name.trim().trim_matches('"'));
    let members: Vec<&str> = members.filter(|name| !name.is_empty()).collect();
    if members.contains(&"*") {
        return usize::MAX;
    }
    members.len()
}

impl Demand {
    fn of(names: &str, started: Option<i64>, copies: Copies) -> Result<Self, Failure> {
        let standbys = n_standbys(names);
        if standbys == 0 && copies == Copies::Named {
            return Err(Failure::unknown("no synchronous standby is named"));
        }
        Ok(Self { standbys, started })
    }
}

/// How far the standbys are: what [`PROOF`] returns.
#[derive(Clone, Copy, Debug)]
struct Standing<'a> {
    /// The place in the log.
    place: i64,
    /// How many standbys have the log to there.
    standbys: u64,
    names: &'a str,
    started: Option<i64>,
}

impl<'a> Standing<'a> {
    fn of(proved: &'a Answer) -> Result<Self, Failure> {
        let row = proved.row(0).ok_or_else(unexpected)?;
        Ok(Self {
            place: row.int(0).ok_or_else(unexpected)?,
            standbys: row.count(1).ok_or_else(unexpected)?,
            names: row.text(2).ok_or_else(unexpected)?,
            started: row.int(3),
        })
    }

    /// What the names ask for now.
    fn demand(self, copies: Copies) -> Result<Demand, Failure> {
        Demand::of(self.names, self.started, copies)
    }
}

/// What a proof needs to know.
#[derive(Clone, Copy, Debug)]
pub(super) struct Terms<'a> {
    pub(super) copies: Copies,
    pub(super) clock: &'a Clock,
    pub(super) deadline: Instant,
    /// Where the names and the start are: the index of the statement, which returns one row, and
    /// the column of the names, before that of the start. If there is no such row, nothing was
    /// changed, and the proof is that of a reading.
    pub(super) names: (usize, usize),
}

/// Carries out the statements `asks` as one transaction, and proves it. Rows that `keeps` does not
/// want are not in the answer.
///
/// # Errors
/// [`Failure`]; [`Failure::Unknown`] also if it could not be proved.
pub(super) fn certain(
    connection: &mut Connection,
    asks: &[Ask<'_>],
    terms: Terms<'_>,
    keeps: &mut dyn FnMut(usize, &Row) -> bool,
) -> Result<Answer, Failure> {
    let deadline = terms.deadline;
    let proof = Ask {
        statement: &PROOF,
        values: &[Value::Int(0)],
    };
    connection.send(&[asks, &[proof]], deadline)?;
    let answer = connection.answer_with(deadline, keeps);
    if matches!(answer, Err(Failure::Waiting)) {
        return answer;
    }
    let proved = connection.answer(deadline);
    let answer = answer?;
    if let Some(warning) = warning_of(&answer) {
        return Err(Failure::unknown(warning));
    }
    let is_done = |returned: &Returned| !returned.tag.is_empty();
    if answer.returned.len() != asks.len() || !answer.returned.iter().all(is_done) {
        return Err(unexpected());
    }
    planted!(ChangesAreNotProved, return Ok(answer));
    let demand = answer.row(terms.names.0).map(|row| {
        let column = terms.names.1;
        let names = row.text(column).ok_or_else(unexpected)?;
        let started = row.int(column.saturating_add(1)).ok_or_else(unexpected)?;
        planted!(
            StandbysAreReadBefore,
            return Demand::of("read before", None, terms.copies)
        );
        Demand::of(names, Some(started), terms.copies)
    });
    planted!(
        ListingsAreNotProved,
        if demand.is_none() {
            return Ok(answer);
        }
    );
    await_proof(
        connection,
        proved.map_err(doubted)?,
        demand.transpose()?,
        terms,
    )?;
    Ok(answer)
}

/// Waits until the place in the log that `proved` names is on as many standbys as are named at that
/// time. Those that were named in the statement (`demand`) are not enough: if more are named
/// meanwhile, one that has the least of the log may take over.
fn await_proof(
    connection: &mut Connection,
    mut proved: Answer,
    demand: Option<Demand>,
    terms: Terms<'_>,
) -> Result<(), Failure> {
    let mut pause = PROOF_PAUSE_MIN;
    let mut demand = demand;
    loop {
        let standing = Standing::of(&proved)?;
        let (place, now) = (standing.place, standing.demand(terms.copies)?);
        if demand.get_or_insert(now).started != now.started {
            return Err(Failure::unknown("the server was started again"));
        }
        if standing.standbys >= now.standbys {
            return Ok(());
        }
        let left = terms.deadline.saturating_duration_since(terms.clock.now());
        if left <= pause {
            let names = standing.names;
            return Err(Failure::unknown(format!(
                "the standbys ({names}) do not have it"
            )));
        }
        terms.clock.pause(pause);
        pause = pause.saturating_mul(2).min(PROOF_PAUSE_MAX);
        let asked = connection.ask(&PROOF, &[Value::Int(place)], terms.deadline);
        proved = asked.map_err(doubted)?;
    }
}

/// Where the log of the server ends.
///
/// # Errors
/// [`Failure`].
pub(super) fn log_end(connection: &mut Connection, deadline: Instant) -> Result<i64, Failure> {
    let answer = connection.ask(&PROOF, &[Value::Int(0)], deadline)?;
    Standing::of(&answer).map(|standing| standing.place)
}

/// Whether as many standbys as are named now have the log to `place`. Waits for none.
///
/// # Errors
/// [`Failure`].
pub(super) fn has_log(
    connection: &mut Connection,
    place: i64,
    copies: Copies,
    deadline: Instant,
) -> Result<bool, Failure> {
    let answer = connection.ask(&PROOF, &[Value::Int(place)], deadline)?;
    let standing = Standing::of(&answer)?;
    // Not while none is named.
    let demand = standing.demand(copies);
    Ok(demand.is_ok_and(|demand| standing.standbys >= demand.standbys))
}

/// The warning that came with an answer.
fn warning_of(answer: &Answer) -> Option<&str> {
    planted!(WarningsAreIgnored, return None);
    answer.warning.as_deref()
}

/// The failure of a proof, as that of what was to be proved.
fn doubted(failure: Failure) -> Failure {
    match failure {
        Failure::Waiting | Failure::Unknown(_) => failure,
        Failure::NotSent(_) | Failure::Refused(_) => Failure::unknown(failure.to_string()),
    }
}

/// The failure of a statement that has returned something else.
pub(super) fn unexpected() -> Failure {
    Failure::unknown("the database has returned something unexpected")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_say_how_many_standbys_are_needed() {
        for (names, needed, members) in [
            ("", 0, 0),
            ("a", 1, 1),
            ("a, b", 1, 2),
            ("*", 1, usize::MAX),
            ("ANY 2 (\"*\")", 2, usize::MAX),
            ("2 (a, b, c)", 2, 3),
            ("FIRST 2 (a, b)", 2, 2),
            ("first 1(a)", 1, 1),
            ("ANY 3 (a, \"b c\", d)", 3, 3),
        ] {
            assert_eq!(n_standbys(names), needed, "{names:?}");
            assert_eq!(n_members(names), members, "{names:?}");
        }
    }
}
