//! A whole message as JSON, in the shape of Mailpit.

use serde::Serialize;

use crate::{
    inbox::{Bodies, Inbox, Item, Opened},
    mail::MailboxName,
    mime::{Part, Summary},
    store::Error,
};

use super::{
    asker::Asker,
    base::Api,
    bcc::Bcc,
    failure::Failure,
    person::{PersonBody, people},
    times,
};

/// What `GET /api/v1/message/{id}` and `GET /api/wait` answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the fields of the API, which are independent of each other"
)]
pub(super) struct Whole {
    #[serde(rename = "ID")]
    id: String,
    #[serde(rename = "MessageID")]
    message_id: String,
    from: Option<PersonBody>,
    to: Vec<PersonBody>,
    cc: Vec<PersonBody>,
    bcc: Vec<PersonBody>,
    reply_to: Vec<PersonBody>,
    return_path: String,
    subject: String,
    list_unsubscribe: ListUnsubscribe,
    /// When it was sent, or else when it arrived.
    date: String,
    tags: [String; 0],
    username: String,
    text: String,
    #[serde(rename = "HTML")]
    html: String,
    size: u64,
    inline: Vec<PartBody>,
    attachments: Vec<PartBody>,
    // What follows only facteur has.
    mailboxes: Vec<String>,
    read: bool,
    /// When it arrived.
    created: String,
    /// It can only be downloaded.
    too_complex: bool,
    /// Text or HTML are not complete.
    truncated: bool,
    /// Text is a part of the message; otherwise it was made from the HTML.
    has_text: bool,
}

/// The fields about ending a subscription (RFC 2369, RFC 8058).
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ListUnsubscribe {
    header: String,
    /// One address and one page at most.
    links: Vec<String>,
    errors: String,
    header_post: String,
}

/// A part that is not the body.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PartBody {
    #[serde(rename = "PartID")]
    part_id: String,
    file_name: String,
    content_type: String,
    #[serde(rename = "ContentID")]
    content_id: String,
    size: u64,
}

impl Whole {
    /// How many octets its text and its HTML have.
    pub(super) fn octets(&self) -> usize {
        self.text.len().saturating_add(self.html.len())
    }
}

/// A message as the asker sees it; `None` if it is gone, or was never there for the asker.
pub(super) fn whole(api: &Api, asker: &Asker, item: &Item) -> Result<Option<Whole>, Failure> {
    let Some(item) = asker.view(item) else {
        return Ok(None);
    };
    let inbox = &api.inbox;
    let (Some(summary), Some(opened)) = (inbox.summary(&item)?, inbox.open(&item)?) else {
        return Ok(None);
    };
    let bodies = inbox.body(&opened)?;
    let hidden = Bcc::of(api).hidden(&item, &summary);
    let parts = Parts::of(inbox, &opened)?;
    Ok(Some(Whole {
        read: inbox.is_read(asker.reader(), item.seen.id),
        too_complex: opened.outline.is_err(),
        ..Whole::of(&item, &summary, (bodies, parts, hidden))
    }))
}

/// The parts that are not the body.
#[derive(Debug, Default)]
struct Parts {
    inline: Vec<PartBody>,
    attachments: Vec<PartBody>,
}

impl Parts {
    fn of(inbox: &Inbox, opened: &Opened) -> Result<Self, Error> {
        let Ok(outline) = &opened.outline else {
            return Ok(Self::default());
        };
        let bodies = |parts: Vec<&Part>| -> Result<Vec<PartBody>, Error> {
            let octets = inbox.part_octets(opened, &parts)?;
            let bodies = parts.into_iter().zip(octets);
            Ok(bodies
                .map(|(part, size)| PartBody::of(part, size))
                .collect())
        };
        Ok(Self {
            inline: bodies(outline.inline())?,
            attachments: bodies(outline.attachments())?,
        })
    }
}

impl PartBody {
    fn of(part: &Part, size: u64) -> Self {
        Self {
            part_id: part.id.clone(),
            file_name: part.file_name.clone().unwrap_or_default(),
            content_type: part.content_type.clone(),
            content_id: part.content_id.clone().unwrap_or_default(),
            size,
        }
    }
}

impl Whole {
    fn of(
        item: &Item,
        summary: &Summary,
        (bodies, parts, hidden): (Bodies, Parts, Vec<MailboxName>),
    ) -> Self {
        let created = times::rfc3339(times::signed(item.seen.arrived));
        Self {
            id: item.seen.id.to_string(),
            message_id: summary.message_id.clone(),
            from: summary.from.first().map(PersonBody::of),
            to: people(&summary.to),
            cc: people(&summary.cc),
            bcc: PersonBody::bcc(summary, &hidden),
            reply_to: people(&summary.reply_to),
            return_path: summary.return_path.clone(),
            subject: summary.subject.clone(),
            list_unsubscribe: ListUnsubscribe::of(summary),
            date: summary.date.map_or_else(|| created.clone(), times::rfc3339),
            tags: [],
            username: String::new(),
            has_text: !bodies.text.is_empty(),
            text: bodies.readable(),
            html: bodies.html,
            size: item.seen.octets,
            inline: parts.inline,
            attachments: parts.attachments,
            mailboxes: item.mailboxes.iter().map(ToString::to_string).collect(),
            read: false,
            created,
            too_complex: false,
            truncated: bodies.is_cut,
        }
    }
}

impl ListUnsubscribe {
    fn of(summary: &Summary) -> Self {
        let header = &summary.list_unsubscribe;
        let pieces = header.split('<').skip(1);
        let links = pieces.filter_map(|piece| piece.split_once('>').map(|(link, _)| link.trim()));
        let links: Vec<&str> = links.collect();
        let begins = |link: &&&str, scheme: &str| {
            let begin = link.get(..scheme.len());
            begin.is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
        };
        let address = links.iter().find(|link| begins(link, "mailto:"));
        let page = |link: &&&str| begins(link, "http:") || begins(link, "https:");
        let page = links.iter().find(page);
        let links: Vec<String> = address
            .into_iter()
            .chain(page)
            .map(ToString::to_string)
            .collect();
        let has_none = !header.is_empty() && links.is_empty();
        Self {
            header: header.clone(),
            errors: if has_none { "it has no link" } else { "" }.to_owned(),
            header_post: summary.list_unsubscribe_post.clone(),
            links,
        }
    }
}
