//! The calls that only facteur has.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    http::{Body, Kind, Response, Status},
    mail::MailboxName,
};

use super::{
    addressee::whole_mailbox,
    answer::{Answer, json, ok},
    call::Call,
    events::Events,
    failure::Failure,
    listing::page,
    removal::{check_whole, remove_from},
    search::Found,
    times,
    wait::{Since, Wait},
};

#[derive(Serialize)]
struct CursorBody {
    cursor: String,
}

#[derive(Serialize)]
struct MailboxesBody {
    /// By address.
    mailboxes: Vec<MailboxBody>,
    partial: bool,
}

/// A mailbox that has messages.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct MailboxBody {
    address: String,
    messages: usize,
    unread: usize,
    /// When the newest message arrived.
    newest: String,
}

/// The place behind the newest change.
#[expect(clippy::unnecessary_wraps, reason = "all calls return the same")]
pub(super) fn cursor(call: &Call<'_>) -> Result<Answer, Failure> {
    let cursor = Since::now(call.api).to_string();
    Ok(json(&CursorBody { cursor }))
}

/// Waits for a message.
pub(super) fn wait(call: &Call<'_>) -> Result<Answer, Failure> {
    Wait::begin(call).map(|wait| Answer::Wait(Box::new(wait)))
}

/// Reports changes as they happen.
pub(super) fn events(call: &Call<'_>) -> Result<Answer, Failure> {
    let events = Box::new(Events::begin(call)?);
    let media_type = "text/event-stream";
    let response = Response::with_body(Status::Ok, Kind::Events, media_type, Body::Open);
    Ok(Answer::Events {
        response: Box::new(response),
        events,
    })
}

/// The counters of this server: numbers only, and those of everybody.
#[expect(clippy::unnecessary_wraps, reason = "all calls return the same")]
pub(super) fn metrics(_: &Call<'_>) -> Result<Answer, Failure> {
    Ok(Answer::Counters)
}

/// The mailboxes that have messages.
pub(super) fn mailboxes(call: &Call<'_>) -> Result<Answer, Failure> {
    let list = call.list()?;
    let reader = call.asker.reader();
    let mut mailboxes: BTreeMap<&MailboxName, MailboxBody> = BTreeMap::new();
    for item in list.items.iter() {
        let is_unread = !call.api.inbox.is_read(reader, item.seen.id);
        for mailbox in item.mailboxes.iter() {
            let body = mailboxes.entry(mailbox).or_insert_with(|| MailboxBody {
                address: mailbox.to_string(),
                messages: 0,
                unread: 0,
                // The newest comes first.
                newest: times::rfc3339(times::signed(item.seen.arrived)),
            });
            body.messages = body.messages.saturating_add(1);
            body.unread = body.unread.saturating_add(usize::from(is_unread));
        }
    }
    Ok(json(&MailboxesBody {
        mailboxes: mailboxes.into_values().collect(),
        partial: list.is_partial,
    }))
}

/// The messages of one mailbox: none if there is no such mailbox.
pub(super) fn mailbox(call: &Call<'_>) -> Result<Answer, Failure> {
    let list = call.list()?;
    let mailbox = call.api.mailbox_of(call.parameter(0))?;
    let items = match &mailbox {
        Some(mailbox) => list.within(Some(mailbox)).items.to_vec(),
        None => Vec::new(),
    };
    let found = Found {
        items,
        is_partial: list.is_partial,
    };
    Ok(json(&page(call, &list, &found)?))
}

/// Removes all messages of one mailbox; copies in other mailboxes stay.
pub(super) fn purge(call: &Call<'_>) -> Result<Answer, Failure> {
    call.only(&[])?;
    let mailbox = whole_mailbox(call, call.parameter(0))?;
    let list = call.list()?.within(Some(&mailbox));
    remove_from(call, &mailbox, &list.items)?;
    check_whole(list.is_partial)?;
    Ok(ok())
}
