//! The tables of the database, made and changed in numbered steps, and what its servers must be
//! able to promise.
//!
//! A start does the steps that are missing, each as a transaction of its own, under a lock that
//! keeps other starts waiting. It refuses a database whose tables are from a newer program.
//!
//! Both foreign keys of `message` are needed: they keep content from being removed while a message
//! refers to it.

use std::time::Instant;

use super::{
    connection::{Access, Answer, Connection, Failure, Row},
    limits::RETRY_PAUSE_MAX,
};
use crate::clock::Clock;

/// Takes the lock until the end of the transaction. The number means nothing.
const LOCK: &str = "select pg_advisory_xact_lock(7310868735422656114)";

/// The table of the steps that were done.
const TABLE_OF_STEPS: &str = "create table if not exists facteur_schema (step int primary key)";

/// The steps. Never change one that was released: add another.
const STEPS: &[&str] = &[r#"
create table node (
    id uuid primary key,
    name text not null,
    lease_until timestamptz not null);
create table mailbox (
    id bigint generated always as identity primary key,
    domain text collate "C" not null,
    local text collate "C" not null,
    token bigint not null default 0,
    holder uuid,
    session bigint,
    unique (domain, local));
create index mailbox_local on mailbox (local);
create index mailbox_holder on mailbox (holder) where holder is not null;
create table content (
    name text collate "C" primary key,
    octets bigint not null,
    wire_octets bigint not null,
    complete boolean not null,
    orphan_since timestamptz,
    body bytea);
alter table content alter column body set storage external;
create index content_orphan on content (orphan_since) where orphan_since is not null;
create table part (
    name text collate "C" not null,
    n int not null,
    octets bytea not null,
    primary key (name, n));
alter table part alter column octets set storage external;
create table message (
    mailbox bigint not null references mailbox,
    name text collate "C" not null references content,
    primary key (mailbox, name));
create index message_name on message (name);
"#];

/// What a server must be able to promise.
const PROMISES: &str = "select current_setting('server_version_num'),
    current_setting('fsync'), current_setting('full_page_writes'),
    current_setting('synchronous_standby_names'),
    pg_has_role(current_user, 'pg_read_all_stats', 'usage')::text,
    current_setting('server_encoding'), pg_is_in_recovery()::text";

/// The oldest version that is supported.
const VERSION_MIN: u32 = 150_000;

/// Why a database cannot be used.
#[derive(Debug)]
pub(super) enum Unusable {
    /// It cannot be asked.
    Failed(Failure),
    /// It does not promise enough: what is wrong and what to do, as the end of a sentence.
    Unsafe(&'static str),
}

impl From<Failure> for Unusable {
    fn from(failure: Failure) -> Self {
        let remedy = match &failure {
            Failure::Refused(refusal) => refusal.remedy(),
            Failure::NotSent(_) | Failure::Unknown(_) | Failure::Waiting => None,
        };
        remedy.map_or(Self::Failed(failure), Self::Unsafe)
    }
}

/// Makes the tables, or changes them, and checks what the primary promises. Returns the names of
/// its synchronous standbys.
///
/// # Errors
/// [`Unusable`]: do not start.
pub(super) fn prepare(
    access: &Access,
    clock: &Clock,
    is_single: bool,
    deadline: Instant,
) -> Result<String, Unusable> {
    let mut connection = open(access, clock, deadline)?;
    let answer = connection.query(PROMISES, deadline)?;
    let names = answer
        .row(0)
        .and_then(|row| row.text(3))
        .unwrap_or_default();
    let names = names.to_owned();
    if let Some(reason) = shortcoming(&answer, is_single) {
        return Err(Unusable::Unsafe(reason));
    }
    let begin = format!(
        "{LOCK}; {TABLE_OF_STEPS}; select coalesce(max(step), 0)::text from facteur_schema"
    );
    let answer = connection.query(&begin, deadline)?;
    let row = answer.row(2);
    let done = row
        .and_then(|row| row.text(0))
        .and_then(|text| text.parse().ok());
    let done: usize = done.ok_or_else(|| Failure::unknown("the schema has no number"))?;
    if done > STEPS.len() {
        return Err(Unusable::Unsafe(
            "has tables of a newer facteur: start that one, or use another database",
        ));
    }
    for (n_before, step) in STEPS.iter().enumerate().skip(done) {
        let number = n_before.saturating_add(1);
        // The number fails if another start was faster.
        let text = format!("{LOCK}; insert into facteur_schema values ({number}); {step}");
        match connection.query(&text, deadline) {
            Ok(_) => {}
            Err(Failure::Refused(refusal)) if refusal.is_there_already() => {}
            Err(failure) => return Err(failure.into()),
        }
    }
    Ok(names)
}

/// Connects to the primary. It may be starting, and so may what resolves its name.
fn open(access: &Access, clock: &Clock, deadline: Instant) -> Result<Connection, Failure> {
    let mut last = None;
    loop {
        let failure = match Connection::open(access, clock, deadline) {
            Ok(connection) => return Ok(connection),
            // The time is over: what was wrong before says more.
            Err(failure) if clock.now() >= deadline => return Err(last.unwrap_or(failure)),
            Err(failure) => failure,
        };
        let may_come = match &failure {
            Failure::Refused(refusal) => refusal.is_of_server(),
            Failure::NotSent(_) | Failure::Unknown(_) | Failure::Waiting => true,
        };
        if !may_come {
            return Err(failure);
        }
        last = Some(failure);
        clock.pause(RETRY_PAUSE_MAX);
        // After a power cut, the names may come last.
        access.resolve();
    }
}

/// What is missing from the promises of a server, if anything is.
fn shortcoming(answer: &Answer, is_single: bool) -> Option<&'static str> {
    let row = answer.row(0);
    let text = |column: usize| {
        row.and_then(|row: &Row| row.text(column))
            .unwrap_or_default()
    };
    let version = text(0).parse().unwrap_or(0_u32);
    if version < VERSION_MIN {
        return Some("is on a PostgreSQL that is too old: 15 is needed");
    }
    if text(6) == "true" {
        return Some("is on a standby: name the primary too");
    }
    if text(1) != "on" {
        return Some("has fsync = off, so a power cut loses mail: set it to on");
    }
    if text(2) != "on" {
        return Some("has full_page_writes = off, so a power cut loses mail: set it to on");
    }
    if text(5) != "UTF8" {
        return Some("uses an encoding other than UTF8: create one with encoding UTF8");
    }
    if text(4) != "true" {
        return Some(
            "does not let its user see the standbys: grant pg_read_all_stats to that user",
        );
    }
    if text(3).is_empty() && !is_single {
        return Some(
            "has no synchronous standby: set synchronous_standby_names, or single = true if mail \
             may be lost with that one server",
        );
    }
    None
}
