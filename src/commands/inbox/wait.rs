//! `facteur wait`: waits until a message comes, or that none comes.
//!
//! # Theory of operation
//! The daemon waits a minute at most, so this command asks again until the time is over. Each
//! request begins at the same moment or cursor, so a message that comes between two of them is not
//! missed.

use std::time::Duration;

use jiff::Timestamp;

use crate::cli::{Since, WaitArguments};

use super::{
    client::{Client, Document, target},
    error::{Reason, quoted},
    form, limits,
    message::{List, Message, Messages, Summary},
    screen::Screen,
};

/// The path of a wait.
const PATH: [&str; 2] = ["api", "wait"];

pub(super) fn run(
    asked: &WaitArguments,
    client: &mut Client<'_>,
    screen: &mut Screen<'_>,
) -> Result<(), Reason> {
    let since = Moment::of(&asked.since, client.clock.unix_time());
    let answer = answer(asked, &since, client)?;
    match answer {
        None if asked.none => Ok(()),
        None => Err(Reason::TimeOver {
            asked: what_did_not_come(asked),
            // What is told about others does not change the failure.
            meanwhile: meanwhile(&since, client)
                .unwrap_or_else(|_| "the daemon does not say what came".to_owned()),
        }),
        Some(document) if asked.none => {
            let message: Message = document.read()?;
            Err(Reason::Came(message.summary.described()))
        }
        Some(document) if asked.form.json => form::json(&document, screen),
        Some(document) if asked.count.is_some() => {
            let found: Messages = document.read()?;
            for (index, message) in found.messages.iter().enumerate() {
                if index > 0 && is_overview(asked) {
                    screen.print(SEPARATOR)?;
                }
                form::print(message, &asked.form, client, screen)?;
            }
            Ok(())
        }
        Some(document) => form::print(&document.read()?, &asked.form, client, screen),
    }
}

/// What is between two overviews.
const SEPARATOR: &str = "\n----\n\n";

fn is_overview(asked: &WaitArguments) -> bool {
    let form = &asked.form;
    let is_other = form.raw || form.text || form.html || form.headers || form.save.is_some();
    !is_other && form.link.is_none() && form.code.is_none()
}

/// Where a wait begins, as the daemon understands it.
#[derive(Debug)]
enum Moment {
    Cursor(String),
    UnixSeconds(i64),
}

impl Moment {
    /// What was typed, at this time since 1970.
    fn of(since: &Since, now: Duration) -> Self {
        match since {
            Since::Age(age) => {
                let seconds = now.saturating_sub(*age).as_secs();
                Self::UnixSeconds(i64::try_from(seconds).unwrap_or(i64::MAX))
            }
            Since::Place(place) => match place.parse() {
                Ok(seconds) => Self::UnixSeconds(seconds),
                Err(_) => Self::Cursor(place.clone()),
            },
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Cursor(cursor) => cursor.clone(),
            Self::UnixSeconds(seconds) => seconds.to_string(),
        }
    }
}

/// The answer of the daemon; `None` when the time is over.
fn answer(
    asked: &WaitArguments,
    since: &Moment,
    client: &mut Client<'_>,
) -> Result<Option<Document>, Reason> {
    let clock = client.clock;
    let began = clock.now();
    let left = || {
        asked
            .timeout
            .saturating_sub(clock.now().saturating_duration_since(began))
    };
    let count = asked.count.map(|count| count.to_string());
    let since = since.text();
    loop {
        let before = left();
        let time = before.min(Duration::from_secs(limits::WAIT_SECONDS_MAX));
        let timeout = written(time);
        let mut query = vec![("since", since.as_str()), ("timeout", &timeout)];
        query.extend(asked.to.as_deref().map(|to| ("to", to)));
        query.extend(asked.subject.as_deref().map(|subject| ("subject", subject)));
        query.extend(asked.words.as_deref().map(|words| ("match", words)));
        query.extend(count.as_deref().map(|count| ("count", count)));
        match client.wait(&target(&PATH, &query), time) {
            Ok(response) if response.has_content() => return response.document().map(Some),
            Ok(_) if left().is_zero() => return Ok(None),
            Ok(_) => {}
            // Too many wait already.
            Err(Reason::Refused { status: 503, .. }) if !left().is_zero() => {}
            Err(reason) => return Err(reason),
        }
        let waited = before.saturating_sub(left());
        if waited < limits::RETRY_PAUSE {
            clock.pause(limits::RETRY_PAUSE.min(left()));
        }
    }
}

/// What was waited for, in an error.
fn what_did_not_come(asked: &WaitArguments) -> String {
    let mut wanted = match asked.count {
        None => "no message".to_owned(),
        Some(count) => format!("fewer than {count} messages"),
    };
    for (before, text) in [
        (" to ", &asked.to),
        (" with this subject: ", &asked.subject),
        (" with these words: ", &asked.words),
    ] {
        if let Some(text) = text {
            wanted.push_str(before);
            wanted.push_str(&quoted(text));
        }
    }
    format!("{wanted} came in {}", written(asked.timeout))
}

/// A time as the daemon reads it, in whole seconds, or else in milliseconds, rounded up.
fn written(time: Duration) -> String {
    let milliseconds = time.as_micros().div_ceil(1_000);
    match (milliseconds / 1_000, milliseconds % 1_000) {
        (seconds, 0) => format!("{seconds}s"),
        _ => format!("{milliseconds}ms"),
    }
}

/// What came since then, whether it was waited for or not.
fn meanwhile(since: &Moment, client: &mut Client<'_>) -> Result<String, Reason> {
    let nothing = "no other message came either";
    let seconds = match since {
        // A list cannot begin at a cursor.
        Moment::Cursor(cursor) => {
            let path = target(&PATH, &[("since", cursor), ("timeout", "0s")]);
            let response = client.wait(&path, Duration::ZERO)?;
            if !response.has_content() {
                return Ok(nothing.to_owned());
            }
            let message: Message = response.document()?.read()?;
            let brief = message.summary.brief();
            return Ok(format!("the newest that came since the cursor is {brief}"));
        }
        Moment::UnixSeconds(seconds) => *seconds,
    };
    let from = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    let (words, limit) = (format!("after:{from}"), limits::NAMED_MAX.to_string());
    let path = target(
        &["api", "v1", "search"],
        &[("query", &words), ("limit", &limit)],
    );
    let list: List = client.get(&path)?.document()?.read()?;
    let newest = list.messages.iter().take(limits::NAMED_MAX);
    let newest: Vec<String> = newest.map(Summary::brief).collect();
    let newest = newest.join(", ");
    Ok(match list.messages_count {
        0 => nothing.to_owned(),
        1 => format!("1 message came since {from}: {newest}"),
        n_came => format!("{n_came} messages came since {from}, the newest: {newest}"),
    })
}
