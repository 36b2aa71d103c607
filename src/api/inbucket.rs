//! The API of inbucket, version 1: one mailbox at a time, oldest message first.
//!
//! A mailbox is named by its address or, as in POP3, by its local part alone.
//!
//! # Known limits
//! The list has no pages, so it has only the newest messages of a large mailbox.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    inbox::Item,
    mail::{EntryId, MailboxName},
    mime::{Part, Person, Summary},
};

use super::{
    answer::{Answer, json},
    asker::Asker,
    call::Call,
    failure::{Failure, gone},
    limits::PAGE_MAX,
    removal::remove,
    sending, times,
};

/// What the list shows.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Header {
    mailbox: String,
    id: String,
    from: String,
    to: Vec<String>,
    subject: String,
    date: String,
    posix_millis: i64,
    size: u64,
    seen: bool,
}

/// A whole message.
#[derive(Debug, Serialize)]
struct Message {
    #[serde(flatten)]
    header: Header,
    body: Body,
    /// The fields by their names.
    #[serde(rename = "header")]
    fields: BTreeMap<String, Vec<String>>,
    attachments: Vec<Attachment>,
}

#[derive(Debug, Serialize)]
struct Body {
    text: String,
    html: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Attachment {
    filename: String,
    content_type: String,
    download_link: String,
    view_link: String,
}

/// The messages of a mailbox. One that does not exist has none.
pub(super) fn list(call: &Call<'_>) -> Result<Answer, Failure> {
    let Some(mailbox) = mailbox(call)? else {
        return Ok(json(&[(); 0]));
    };
    let mut headers = Vec::new();
    let reading = call.api.inbox.reading();
    let mut items = items(call, &mailbox)?;
    items.truncate(PAGE_MAX);
    for item in items.iter().rev() {
        if let Some(summary) = reading.summary(item)? {
            headers.push(Header::of(call, &mailbox, item, &summary));
        }
    }
    Ok(json(&headers))
}

/// A message.
pub(super) fn show(call: &Call<'_>) -> Result<Answer, Failure> {
    let (mailbox, item) = message(call)?;
    let inbox = &call.api.inbox;
    let summary = inbox.summary(&item)?.ok_or_else(gone)?;
    let opened = inbox.open(&item)?.ok_or_else(gone)?;
    let bodies = inbox.body(&opened)?;
    let mut fields: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut attachments = Vec::new();
    if let Ok(outline) = &opened.outline {
        for field in outline.fields() {
            fields.entry(field.name).or_default().push(field.value);
        }
        let parts = outline.attachments().into_iter();
        attachments.extend(parts.map(|part| Attachment::of(&item, part)));
    }
    Ok(json(&Message {
        header: Header::of(call, &mailbox, &item, &summary),
        body: Body {
            text: bodies.readable(),
            html: bodies.html,
        },
        fields,
        attachments,
    }))
}

/// A message as it is.
pub(super) fn source(call: &Call<'_>) -> Result<Answer, Failure> {
    let (_, item) = message(call)?;
    sending::source(&call.api.inbox, &item)
}

/// Removes a message from the mailbox.
pub(super) fn delete(call: &Call<'_>) -> Result<Answer, Failure> {
    let (_, item) = message(call)?;
    remove(call, &[item])?;
    Ok(json(&"OK"))
}

/// Removes all messages of the mailbox.
pub(super) fn purge(call: &Call<'_>) -> Result<Answer, Failure> {
    if let Some(mailbox) = mailbox(call)? {
        remove(call, &items(call, &mailbox)?)?;
    }
    Ok(json(&"OK"))
}

/// The mailbox that the path names, unless it is of others or can have no mail.
fn mailbox(call: &Call<'_>) -> Result<Option<MailboxName>, Failure> {
    let mailbox = call.api.mailbox_of(call.parameter(0))?;
    Ok(mailbox.filter(|mailbox| call.asker.sees(mailbox)))
}

/// The messages of a mailbox, newest first, as if no other mailbox had them.
fn items(call: &Call<'_>, mailbox: &MailboxName) -> Result<Vec<Item>, Failure> {
    let owner = Asker::Owner(mailbox.clone());
    let list = call.api.inbox.list()?;
    let items = list.items.iter().filter_map(|item| owner.view(item));
    Ok(items.collect())
}

/// The mailbox, and the message of it that the path names by its ID, or as `latest`.
fn message(call: &Call<'_>) -> Result<(MailboxName, Item), Failure> {
    let mailbox = mailbox(call)?.ok_or_else(gone)?;
    let item = match call.parameter(1) {
        "latest" => items(call, &mailbox)?.into_iter().next(),
        id => {
            let item = EntryId::parse(id).map(|id| call.api.inbox.item(id));
            let item = item.transpose()?.flatten();
            item.and_then(|item| Asker::Owner(mailbox.clone()).view(&item))
        }
    };
    Ok((mailbox, item.ok_or_else(gone)?))
}

impl Header {
    fn of(call: &Call<'_>, mailbox: &MailboxName, item: &Item, summary: &Summary) -> Self {
        let arrived = times::signed(item.seen.arrived);
        Self {
            mailbox: mailbox.to_string(),
            id: item.seen.id.to_string(),
            from: summary.from.first().map(written).unwrap_or_default(),
            to: summary.to.iter().map(written).collect(),
            subject: summary.subject.clone(),
            date: times::rfc3339(arrived),
            posix_millis: arrived.saturating_mul(1_000),
            size: item.seen.octets,
            seen: call.api.inbox.is_read(call.asker.reader(), item.seen.id),
        }
    }
}

impl Attachment {
    fn of(item: &Item, part: &Part) -> Self {
        let link = format!("/api/v1/message/{}/part/{}", item.seen.id, part.id);
        Self {
            filename: part.file_name.clone().unwrap_or_default(),
            content_type: part.content_type.clone(),
            download_link: link.clone(),
            view_link: link,
        }
    }
}

/// A person as in a field.
fn written(person: &Person) -> String {
    if person.name.is_empty() {
        return format!("<{}>", person.address);
    }
    format!("\"{}\" <{}>", person.name.replace('"', ""), person.address)
}
