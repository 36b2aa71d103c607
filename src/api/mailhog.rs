//! The API of `MailHog`: version 2, and of version 1 what has the same paths.
//!
//! Its messages have their whole bodies, encoded as they were sent, also in lists. So a list ends
//! early when they are large, and clients ask for the rest with `start`. Nested parts are in one
//! list, because clients look for text in the first level only. Its deletions answer nothing: its
//! client for Node takes everything else for JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    inbox::{Item, Opened, Reading},
    mail::MailboxName,
    mime::{Encoding, Field, Part, Summary, to_text},
};

use super::{
    answer::{Answer, json, nothing},
    call::Call,
    failure::{Failure, gone, wrong},
    limits::{LISTED_OCTETS_MAX, PART_HEADER_OCTETS_MAX},
    listing::Page,
    removal::remove,
    search::{Found, search},
    times,
};

/// One page of a list.
#[derive(Debug, Serialize)]
struct Messages {
    total: usize,
    count: usize,
    start: usize,
    items: Vec<Message>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Message {
    #[serde(rename = "ID")]
    id: String,
    from: Path,
    to: Vec<Path>,
    content: Content,
    created: String,
    #[serde(rename = "MIME")]
    mime: Option<Parts>,
    raw: Raw,
}

/// An address of the envelope.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Path {
    relays: Option<Vec<String>>,
    mailbox: String,
    domain: String,
    params: String,
}

/// A message or a part of it, encoded as it was sent.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    headers: BTreeMap<String, Vec<String>>,
    body: String,
    size: u64,
    #[serde(rename = "MIME")]
    mime: Option<Parts>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Parts {
    parts: Vec<Content>,
}

/// The envelope.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Raw {
    from: String,
    to: Vec<String>,
    helo: String,
}

/// All messages.
pub(super) fn messages(call: &Call<'_>) -> Result<Answer, Failure> {
    let list = call.list()?;
    page(call, &list.items)
}

/// The messages with a text in From, with one in To or with one anywhere.
pub(super) fn searched(call: &Call<'_>) -> Result<Answer, Failure> {
    let text = call.query("query").unwrap_or_default().replace('"', " ");
    let keys: &[&str] = match call.query("kind") {
        _ if text.trim().is_empty() => return Err(wrong("The query is empty").into()),
        Some("from") => &["from:"],
        // The recipients of the envelope are the mailboxes.
        Some("to") => &["to:", "mailbox:"],
        Some("containing") => &[""],
        _ => return Err(wrong("kind is not from, to or containing").into()),
    };
    let searches = keys
        .iter()
        .map(|key| call.words(&format!("{key}\"{text}\"")));
    let searches = searches.collect::<Result<Vec<_>, _>>()?;
    let Found { items, .. } = search(call, &call.list()?, &searches);
    page(call, &items)
}

/// A message.
pub(super) fn message(call: &Call<'_>) -> Result<Answer, Failure> {
    let item = call.item(call.parameter(0))?;
    let mut room = LISTED_OCTETS_MAX;
    let _making = call.api.makers.begin();
    let reading = call.api.inbox.reading();
    let message = read(call, (&reading, &item), &mut room)?;
    Ok(json(&message.ok_or_else(gone)?))
}

/// Removes a message.
pub(super) fn delete(call: &Call<'_>) -> Result<Answer, Failure> {
    let item = call.item(call.parameter(0))?;
    remove(call, &[item])?;
    Ok(nothing())
}

/// The page of `items` that the request asks for.
fn page(call: &Call<'_>, items: &[Item]) -> Result<Answer, Failure> {
    let page = Page::of(call)?;
    let _making = call.api.makers.begin();
    let mut room = LISTED_OCTETS_MAX;
    let mut messages = Vec::new();
    let reading = call.api.inbox.reading();
    for item in items.get(page.range(items.len())).unwrap_or_default() {
        let octets = usize::try_from(item.seen.octets).unwrap_or(usize::MAX);
        if octets > room && !messages.is_empty() {
            break;
        }
        messages.extend(read(call, (&reading, item), &mut room)?);
    }
    Ok(json(&Messages {
        total: items.len(),
        count: messages.len(),
        start: page.start,
        items: messages,
    }))
}

/// A message, with at most `room` octets of bodies and of the headers of its parts; `None` if it is
/// gone.
fn read(
    call: &Call<'_>,
    (reading, item): (&Reading<'_>, &Item),
    room: &mut usize,
) -> Result<Option<Message>, Failure> {
    let (Some(summary), Some(opened)) = (reading.summary(item)?, reading.open(item)?) else {
        return Ok(None);
    };
    let (content, mime) = contents(call, &opened, room)?;
    let from = sender(&summary);
    let to = item.mailboxes.iter();
    Ok(Some(Message {
        id: item.seen.id.to_string(),
        from: Path::of(&from),
        to: to.clone().map(Path::of_mailbox).collect(),
        content,
        created: times::rfc3339(times::signed(item.seen.arrived)),
        mime,
        raw: Raw {
            from,
            to: to.map(ToString::to_string).collect(),
            helo: String::new(),
        },
    }))
}

/// The message, and its parts if it has any.
fn contents(
    call: &Call<'_>,
    opened: &Opened,
    room: &mut usize,
) -> Result<(Content, Option<Parts>), Failure> {
    let Ok(outline) = &opened.outline else {
        return Ok((Content::empty(), None));
    };
    let Some((message, parts)) = outline.parts().split_first() else {
        return Ok((Content::empty(), None));
    };
    let whole = content(call, (opened, message, &outline.fields()), room)?;
    if message.is_leaf() {
        return Ok((whole, None));
    }
    let leaves = parts.iter().filter(|part| part.is_leaf());
    let parts = leaves.map(|part| {
        let inbox = &call.api.inbox;
        let octets_max = PART_HEADER_OCTETS_MAX.min(*room);
        let section = inbox.octets(opened, part.header, octets_max)?;
        *room = room.saturating_sub(section.len());
        content(call, (opened, part, &Field::all_in(&section)), room)
    });
    let parts = parts.collect::<Result<Vec<_>, _>>()?;
    Ok((whole, Some(Parts { parts })))
}

fn content(
    call: &Call<'_>,
    (opened, part, fields): (&Opened, &Part, &[Field]),
    room: &mut usize,
) -> Result<Content, Failure> {
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for field in fields {
        let values = headers.entry(field.name.clone()).or_default();
        values.push(field.unfolded());
    }
    let octets = call.api.inbox.octets(opened, part.body, *room)?;
    *room = room.saturating_sub(octets.len());
    // What is encoded is ASCII.
    let charset = part
        .charset
        .as_deref()
        .filter(|_| part.encoding == Encoding::Identity);
    let body = to_text(&octets, charset);
    Ok(Content {
        headers,
        body: body.replace("\r\n", "\n").replace('\n', "\r\n"),
        size: part.body.octets,
        mime: None,
    })
}

/// The sender of the envelope, or else the author.
fn sender(summary: &Summary) -> String {
    let author = || summary.from.first().map(|one| one.address.clone());
    let path = Some(summary.return_path.clone()).filter(|path| !path.is_empty());
    path.or_else(author).unwrap_or_default()
}

impl Content {
    fn empty() -> Self {
        Self {
            headers: BTreeMap::new(),
            body: String::new(),
            size: 0,
            mime: None,
        }
    }
}

impl Path {
    fn of(address: &str) -> Self {
        let (mailbox, domain) = address.rsplit_once('@').unwrap_or((address, ""));
        Self {
            relays: None,
            mailbox: mailbox.to_owned(),
            domain: domain.to_owned(),
            params: String::new(),
        }
    }

    fn of_mailbox(mailbox: &MailboxName) -> Self {
        Self::of(&mailbox.to_string())
    }
}
