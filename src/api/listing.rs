//! A list of messages as JSON, in the shape of Mailpit.

use std::ops::Range;

use serde::Serialize;

use crate::{
    http::Refusal,
    inbox::{Item, List},
    mime::Summary,
};

use super::{
    bcc::Bcc,
    call::Call,
    failure::wrong,
    limits::{PAGE_DEFAULT, PAGE_MAX},
    person::{PersonBody, people},
    search::Found,
    times,
    wait::Since,
};

/// One page of a list.
#[derive(Debug, Serialize)]
pub(super) struct PageBody {
    /// The number of all messages that the asker sees.
    total: usize,
    unread: usize,
    /// The number of messages on this page.
    count: usize,
    /// The number of messages that were asked for.
    messages_count: usize,
    messages_unread: usize,
    start: usize,
    tags: [String; 0],
    messages: Vec<ItemBody>,
    // What follows only facteur has.
    partial: bool,
    cursor: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ItemBody {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "MessageID")]
    message_id: String,
    read: bool,
    from: Option<PersonBody>,
    to: Vec<PersonBody>,
    cc: Vec<PersonBody>,
    bcc: Vec<PersonBody>,
    reply_to: Vec<PersonBody>,
    subject: String,
    created: String,
    username: String,
    tags: [String; 0],
    size: u64,
    attachments: usize,
    snippet: String,
    /// Only facteur has it.
    mailboxes: Vec<String>,
}

/// Which messages of a list a request asks for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page {
    pub(super) start: usize,
    limit: usize,
}

impl Page {
    /// The page that the query names as `start` and `limit`.
    ///
    /// # Errors
    /// 400: one of them is no number, or the page would be empty.
    pub(super) fn of(call: &Call<'_>) -> Result<Self, Refusal> {
        let limit = call.number("limit")?.unwrap_or(PAGE_DEFAULT);
        if limit == 0 {
            return Err(wrong("limit is 0; ask for one message at least"));
        }
        Ok(Self {
            start: call.number("start")?.unwrap_or(0),
            limit: limit.min(PAGE_MAX),
        })
    }

    /// The part of a list of `count` messages that is on the page.
    pub(super) fn range(self, count: usize) -> Range<usize> {
        let start = self.start.min(count);
        start..start.saturating_add(self.limit).min(count)
    }
}

/// The page that a request asks for, of what was found in `list`, which are all messages that the
/// asker sees. A message that cannot be read is left out.
pub(super) fn page(call: &Call<'_>, list: &List, found: &Found) -> Result<PageBody, Refusal> {
    let page = Page::of(call)?;
    let inbox = &call.api.inbox;
    let (reading, bcc) = (inbox.reading(), Bcc::of(call.api));
    let mut partial = found.is_partial;
    let mut messages = Vec::new();
    let items = found.items.get(page.range(found.items.len()));
    for item in items.unwrap_or_default() {
        match reading.summary(item) {
            Ok(Some(summary)) => {
                let read = inbox.is_read(call.asker.reader(), item.seen.id);
                messages.push(ItemBody::of(item, &summary, read, &bcc));
            }
            Ok(None) => {}
            Err(_) => partial = true,
        }
    }
    let reader = call.asker.reader();
    Ok(PageBody {
        total: list.items.len(),
        unread: inbox.n_unread(reader, &list.items),
        count: messages.len(),
        messages_count: found.items.len(),
        messages_unread: inbox.n_unread(reader, &found.items),
        start: page.start,
        tags: [],
        messages,
        partial,
        cursor: Since::behind(list).to_string(),
    })
}

impl ItemBody {
    fn of(item: &Item, summary: &Summary, read: bool, bcc: &Bcc<'_>) -> Self {
        Self {
            id: item.seen.id.to_string(),
            message_id: summary.message_id.clone(),
            read,
            from: summary.from.first().map(PersonBody::of),
            to: people(&summary.to),
            cc: people(&summary.cc),
            bcc: PersonBody::bcc(summary, &bcc.hidden(item, summary)),
            reply_to: people(&summary.reply_to),
            subject: summary.subject.clone(),
            created: times::rfc3339(times::signed(item.seen.arrived)),
            username: String::new(),
            tags: [],
            size: item.seen.octets,
            attachments: summary.attachments,
            snippet: summary.snippet.clone(),
            mailboxes: item.mailboxes.iter().map(ToString::to_string).collect(),
        }
    }
}
