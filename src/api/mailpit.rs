//! The API of Mailpit, version 1.
//!
//! Its deletions without any ID mean all messages, so a field of a body that is not known is
//! refused: a name with another spelling would remove everything.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    http::{Refusal, Status},
    inbox::Item,
    mail::{Dots, EntryId},
};

use super::{
    addressee::limit_to_whole_mailbox,
    answer::{Answer, json, nothing, ok},
    call::Call,
    failure::{Failure, gone, wrong},
    letter::Letter,
    listing::page,
    removal::{check_whole, remove, remove_from, remove_where_free},
    search::{Found, search},
    sending,
    whole::whole,
};

/// Which messages are meant: those with these IDs, or all.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Chosen {
    #[serde(default, rename = "IDs", alias = "ids", alias = "Ids")]
    ids: Option<Vec<String>>,
}

/// Which messages are meant, and whether they are read.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReadMark {
    #[serde(default, rename = "IDs", alias = "ids", alias = "Ids")]
    ids: Option<Vec<String>>,
    #[serde(default, rename = "Search", alias = "search")]
    search: Option<String>,
    #[serde(default, rename = "Read", alias = "read")]
    read: bool,
}

/// What there is. Fields of Mailpit that mean nothing here, such as its database, are left out.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Info {
    version: &'static str,
    messages: usize,
    unread: usize,
    tags: BTreeMap<String, usize>,
    /// Only facteur has it: where mail can be sent to.
    smtp_addresses: Vec<String>,
}

/// All messages.
pub(super) fn messages(call: &Call<'_>) -> Result<Answer, Failure> {
    let mailbox = call.limit_to_mailbox()?;
    let list = call.list()?;
    let found = Found {
        items: list.within(mailbox.as_ref()).items.to_vec(),
        is_partial: list.is_partial,
    };
    Ok(json(&page(call, &list, &found)?))
}

/// The messages that a search finds.
pub(super) fn searched(call: &Call<'_>) -> Result<Answer, Failure> {
    let words = call.words(call.query("query").unwrap_or_default())?;
    let mailbox = call.limit_to_mailbox()?;
    let list = call.list()?;
    let found = search(call, &list.within(mailbox.as_ref()), &[words]);
    Ok(json(&page(call, &list, &found)?))
}

/// A message, which is read then.
pub(super) fn message(call: &Call<'_>) -> Result<Answer, Failure> {
    let item = call.item(call.parameter(0))?;
    let inbox = &call.api.inbox;
    inbox.mark(call.asker.reader(), item.seen.id, true);
    let _making = call.api.makers.begin();
    let whole = whole(call.api, call.asker, &item)?;
    Ok(json(&whole.ok_or_else(gone)?))
}

/// The fields of a message by their names, in the spelling of Go.
pub(super) fn headers(call: &Call<'_>) -> Result<Answer, Failure> {
    let item = call.item(call.parameter(0))?;
    let opened = call.api.inbox.open(&item)?.ok_or_else(gone)?;
    let Ok(outline) = opened.outline else {
        let text = "The message is too complex to show; download it, with /raw";
        return Err(Refusal::new(Status::NotImplemented, text).into());
    };
    let mut headers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for field in outline.fields() {
        let values = headers.entry(canonical(&field.name)).or_default();
        values.push(field.unfolded());
    }
    Ok(json(&headers))
}

/// A message as it is.
pub(super) fn raw(call: &Call<'_>) -> Result<Answer, Failure> {
    let item = call.item(call.parameter(0))?;
    sending::source(&call.api.inbox, &item)
}

/// A part of a message.
pub(super) fn part(call: &Call<'_>) -> Result<Answer, Failure> {
    let item = call.item(call.parameter(0))?;
    sending::part(&call.api.inbox, &item, call.parameter(1))
}

/// Removes messages.
pub(super) fn delete(call: &Call<'_>) -> Result<Answer, Failure> {
    let chosen: Chosen = call.json()?;
    if let Some(items) = by_id(call, chosen.ids)? {
        remove(call, &items)?;
    } else {
        let list = call.list()?;
        remove_where_free(call, &list.items)?;
        check_whole(list.is_partial)?;
    }
    // The client of MailHog for Node says of no answer that it accepts it, and takes text for JSON.
    let request = call.request;
    let is_mailhog = request.body.is_empty() && request.fields.text("accept").is_none();
    Ok(if is_mailhog { nothing() } else { ok() })
}

/// Removes the messages that a search finds; of a search in one mailbox, the copies there.
pub(super) fn delete_searched(call: &Call<'_>) -> Result<Answer, Failure> {
    call.only(&["query", "tz", "mailbox"])?;
    let words = call.words(call.query("query").unwrap_or_default())?;
    if words.as_slice().is_empty() {
        return Err(wrong("The query is empty; say what to remove").into());
    }
    let mailbox = limit_to_whole_mailbox(call)?;
    let list = call.list()?.within(mailbox.as_ref());
    let found = search(call, &list, &[words]);
    match mailbox {
        Some(mailbox) => remove_from(call, &mailbox, &found.items)?,
        None => remove(call, &found.items)?,
    }
    check_whole(found.is_partial)?;
    Ok(ok())
}

/// Marks messages as read, or as not read.
pub(super) fn mark(call: &Call<'_>) -> Result<Answer, Failure> {
    let mark: ReadMark = call.json()?;
    let search_text = mark.search.filter(|text| !text.trim().is_empty());
    let items = match (by_id(call, mark.ids)?, search_text) {
        (Some(_), Some(_)) => return Err(wrong("Send IDs or Search, not both").into()),
        (Some(items), None) => items,
        (None, Some(text)) => {
            let words = call.words(&text)?;
            search(call, &call.list()?, &[words]).items
        }
        (None, None) => call.list()?.items.to_vec(),
    };
    // The newest are marked last, so that their marks are kept longest.
    for item in items.iter().rev() {
        let reader = call.asker.reader();
        call.api.inbox.mark(reader, item.seen.id, mark.read);
    }
    Ok(ok())
}

/// A message to be delivered.
pub(super) fn send(call: &Call<'_>) -> Result<Answer, Failure> {
    // As for SMTP: a developer's own server accepts what programs send.
    let dots = if call.api.accounts.is_open() {
        Dots::Anywhere
    } else {
        Dots::BetweenAtoms
    };
    let _making = call.api.makers.begin();
    let letter = Letter::parse(&call.request.body, dots)?;
    Ok(Answer::Letter(Box::new(letter)))
}

/// What there is.
pub(super) fn info(call: &Call<'_>) -> Result<Answer, Failure> {
    let list = call.list()?;
    let unread = call.api.inbox.n_unread(call.asker.reader(), &list.items);
    let addresses = call.api.receiving_at.iter();
    Ok(json(&Info {
        version: env!("CARGO_PKG_VERSION"),
        messages: list.items.len(),
        unread,
        tags: BTreeMap::new(),
        smtp_addresses: addresses.map(ToString::to_string).collect(),
    }))
}

/// Whether the server runs.
#[expect(clippy::unnecessary_wraps, reason = "all calls return the same")]
pub(super) fn live(_: &Call<'_>) -> Result<Answer, Failure> {
    Ok(ok())
}

/// Whether mail can be listed.
pub(super) fn ready(call: &Call<'_>) -> Result<Answer, Failure> {
    call.api.inbox.check_ready()?;
    call.api.inbox.list()?;
    Ok(ok())
}

/// The messages with these IDs that the asker sees; `None` if there are no IDs, which means all.
fn by_id(call: &Call<'_>, ids: Option<Vec<String>>) -> Result<Option<Vec<Item>>, Failure> {
    let ids = ids.unwrap_or_default();
    if ids.is_empty() {
        return Ok(None);
    }
    let mut items = Vec::new();
    for id in ids {
        let Some(id) = EntryId::parse(&id) else {
            return Err(wrong("IDs has a text that is no ID of a message").into());
        };
        let item = call.api.inbox.item(id)?;
        items.extend(item.and_then(|item| call.asker.view(&item)));
    }
    Ok(Some(items))
}

/// The name of a field as Go writes it: `Message-Id`.
fn canonical(name: &str) -> String {
    let words = name.split('-').map(|word| {
        let first = word.chars().next().map(|c| c.to_ascii_uppercase());
        let rest = word.chars().skip(1).map(|c| c.to_ascii_lowercase());
        first.into_iter().chain(rest).collect::<String>()
    });
    words.collect::<Vec<_>>().join("-")
}
