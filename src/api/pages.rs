//! The pages for people, and what belongs to them. What they say is a matter of
//! [`page`](crate::page).
//!
//! Nothing here changes anything, not even what counts as read: a browser opens pages to show them
//! in advance, too.

use crate::{
    http::{Body, EntityTag, Kind, Name, Refusal, Response, Status, attachment},
    inbox::{Content, Item, Opened, Section},
    mail::MailboxName,
    mime::{Part, Person, Summary},
    page::{Asset, Document, File, Listed, Markup, Picture, Piece, Row, Shown, asset, shell},
};

use super::{
    answer::Answer,
    call::Call,
    failure::{Failure, gone, wrong},
    limits::{PAGE_DEFAULT, PICTURES_MAX},
    search::{Found, search},
    sending, times,
};

pub(super) const HTML: &str = "text/html; charset=utf-8";

/// The list.
pub(super) fn list(call: &Call<'_>) -> Result<Answer, Failure> {
    let text = |name| call.query(name).unwrap_or_default().to_owned();
    let mut listed = Listed {
        mailbox: text("mailbox"),
        words: text("q"),
        start: call.number("start")?.unwrap_or(0),
        ..Listed::default()
    };
    let mut status = Status::Ok;
    match found(call, &listed) {
        Ok(Some(found)) => {
            listed.total = found.items.len();
            listed.start = listed.start.min(listed.total);
            listed.rows = rows(call, &found, listed.start);
            if found.is_partial {
                "Some messages could not be looked at: this is not all."
                    .clone_into(&mut listed.note);
            }
        }
        Ok(None) => "Press Search to see what is found.".clone_into(&mut listed.note),
        Err(Failure::Refused(refusal)) => {
            status = refusal.status;
            listed.note = refusal.text.into_owned();
        }
        Err(failure) => return Err(failure),
    }
    Ok(page(call, (status, ""), &listed.view()))
}

/// What the list shows; `None` for a search that was not asked for by the button of the view: the
/// scripts search for themselves, and would wait for this one, too.
fn found(call: &Call<'_>, listed: &Listed) -> Result<Option<Found>, Failure> {
    let list = call.list()?;
    let mut found = Found {
        items: list.items.to_vec(),
        is_partial: list.is_partial,
    };
    if !listed.words.is_empty() {
        let words = call.words(&listed.words)?;
        if call.query("plain").is_none() {
            return Ok(None);
        }
        found = search(call, &list, &[words]);
    }
    if !listed.mailbox.is_empty() {
        let mailbox = call.api.mailbox_of(&listed.mailbox)?;
        let is_of = |mailbox: &MailboxName, item: &Item| item.mailboxes.contains(mailbox);
        let keeps = |item: &Item| mailbox.as_ref().is_some_and(|it| is_of(it, item));
        found.items.retain(keeps);
    }
    Ok(Some(found))
}

/// The messages of one page of the list. One that cannot be read has no subject.
fn rows(call: &Call<'_>, found: &Found, start: usize) -> Vec<Row> {
    let inbox = &call.api.inbox;
    let items = found.items.iter().skip(start).take(PAGE_DEFAULT);
    let row = |item: &Item| {
        let summary = inbox.summary(item).ok().flatten().unwrap_or_default();
        Row {
            id: item.seen.id.to_string(),
            from: summary.from.first().map(short).unwrap_or_default(),
            subject: summary.subject.clone(),
            arrived: arrived(item),
            octets: item.seen.octets,
            is_unread: !inbox.is_read(call.asker.reader(), item.seen.id),
        }
    };
    items.map(row).collect()
}

/// A message.
pub(super) fn message(call: &Call<'_>) -> Result<Answer, Failure> {
    let gone = || page(call, (Status::NotFound, "../"), &Shown::gone());
    let item = match call.item(call.parameter(0)) {
        Err(Failure::Refused(refusal)) if refusal.status == Status::NotFound => return Ok(gone()),
        item => item?,
    };
    let inbox = &call.api.inbox;
    let (Some(summary), Some(opened)) = (inbox.summary(&item)?, inbox.open(&item)?) else {
        return Ok(gone());
    };
    let bodies = inbox.body(&opened)?;
    let shown = Shown {
        id: item.seen.id.to_string(),
        subject: summary.subject.clone(),
        fields: fields(&item, &summary),
        arrived: arrived(&item),
        text: bodies.readable(),
        has_html: !bodies.html.is_empty(),
        is_too_complex: opened.outline.is_err(),
        files: files(call, &opened)?,
    };
    Ok(page(call, (Status::Ok, "../"), &shown.view()))
}

/// What is known about a message.
fn fields(item: &Item, summary: &Summary) -> Vec<(&'static str, String)> {
    let all = |people: &[Person]| people.iter().map(full).collect::<Vec<_>>().join(", ");
    let mailboxes: Vec<_> = item.mailboxes.iter().map(ToString::to_string).collect();
    let fields = [
        ("From", all(&summary.from)),
        ("To", all(&summary.to)),
        ("Cc", all(&summary.cc)),
        ("Reply-To", all(&summary.reply_to)),
        ("Mailboxes", mailboxes.join(", ")),
    ];
    let fields = fields.into_iter().filter(|(_, value)| !value.is_empty());
    fields.collect()
}

fn files(call: &Call<'_>, opened: &Opened) -> Result<Vec<File>, Failure> {
    let Ok(outline) = &opened.outline else {
        return Ok(Vec::new());
    };
    let parts = [outline.attachments(), outline.inline()].concat();
    let octets = call.api.inbox.part_octets(opened, &parts)?;
    let file = |(part, octets): (&Part, u64)| File {
        id: part.id.clone(),
        name: part.file_name.clone().unwrap_or_default(),
        content_type: part.content_type.clone(),
        octets,
    };
    Ok(parts.into_iter().zip(octets).map(file).collect())
}

/// A file that belongs to the pages.
pub(super) fn file(call: &Call<'_>) -> Result<Answer, Failure> {
    let Some(asset) = asset(call.parameter(0)) else {
        return Err(Refusal::new(Status::NotFound, "There is no such file").into());
    };
    let Asset {
        media_type, octets, ..
    } = *asset;
    let tag = EntityTag::new(asset.version());
    let body = Body::Octets(octets.into());
    let response = Response::with_body(Status::Ok, Kind::Asset, media_type, body);
    let is_held = tag.is_held(&call.request.fields);
    Ok(Answer::Response(Box::new(response.tagged(&tag, is_held))))
}

/// The HTML of a message, as a document of its own.
pub(super) fn html(call: &Call<'_>) -> Result<Answer, Failure> {
    let item = call.item(call.parameter(0))?;
    let kind = match call.query("remote") {
        Some("1") => Kind::MailDocumentWithRemote,
        _ => Kind::MailDocument,
    };
    document(call, &item, kind)
}

fn document(call: &Call<'_>, item: &Item, kind: Kind) -> Result<Answer, Failure> {
    let inbox = &call.api.inbox;
    let opened = inbox.open(item)?.ok_or_else(gone)?;
    let Ok(outline) = &opened.outline else {
        let text = "The message is too complex to show; download it, with /raw";
        return Err(Refusal::new(Status::NotImplemented, text).into());
    };
    let html = outline.html();
    let Some(part) = html.first() else {
        let text = "The message has no HTML; its text is in /view/{id}.txt";
        return Err(Refusal::new(Status::NotFound, text).into());
    };
    let octets = inbox.part(&opened, part)?;
    let parts = outline.parts().iter();
    // Only their types are looked at here.
    let may_be = |part: &&Part| {
        let id = part.content_id.as_deref();
        id.is_some_and(|id| Picture::of(id, &part.content_type, 0).is_some())
    };
    let parts: Vec<&Part> = parts.filter(may_be).take(PICTURES_MAX).collect();
    let sizes = inbox.part_octets(&opened, &parts)?;
    let pictures = parts.iter().zip(sizes).filter_map(|(part, octets)| {
        let id = part.content_id.as_deref()?;
        let picture = Picture::of(id, &part.content_type, octets)?;
        Some((picture, Section::Base64((*part).clone())))
    });
    let (pictures, sections): (Vec<_>, Vec<_>) = pictures.unzip();
    let document = Document::of(&octets, part.charset.as_deref(), &pictures);
    let pieces = document.pieces.into_iter().filter_map(|piece| match piece {
        Piece::Octets(octets) => Some(Section::Octets(octets)),
        Piece::Picture(index) => sections.get(index).cloned(),
    });
    let pieces = pieces.collect();
    let response = Response::with_body(Status::Ok, kind, document.media_type, Body::Open);
    Ok(Answer::Content {
        response: Box::new(response),
        content: Box::new(Content::of(opened.message, pieces)),
    })
}

/// The whole message, to be saved.
pub(super) fn raw(call: &Call<'_>) -> Result<Answer, Failure> {
    let item = call.item(call.parameter(0))?;
    let inbox = &call.api.inbox;
    let summary = inbox.summary(&item)?.ok_or_else(gone)?;
    let message = inbox.message(&item)?.ok_or_else(gone)?;
    let stem = match summary.subject.as_str() {
        "" => item.seen.id.to_string(),
        subject => subject.to_owned(),
    };
    let response = Response::with_body(Status::Ok, Kind::Attachment, "message/rfc822", Body::Open);
    let name = attachment(&(stem + ".eml"));
    Ok(Answer::Content {
        response: Box::new(response.field(Name::ContentDisposition, name)),
        content: Box::new(Content::whole(message)),
    })
}

/// A part of a message, to be saved.
pub(super) fn part(call: &Call<'_>) -> Result<Answer, Failure> {
    let item = call.item(call.parameter(0))?;
    sending::part(&call.api.inbox, &item, call.parameter(1))
}

/// The HTML or the text of a message, as Mailpit has them: `{id}.html` and `{id}.txt`.
pub(super) fn view(call: &Call<'_>) -> Result<Answer, Failure> {
    let name = call.parameter(0);
    if let Some(id) = name.strip_suffix(".html") {
        return document(call, &call.item(id)?, Kind::MailDocument);
    }
    let Some(id) = name.strip_suffix(".txt") else {
        return Err(wrong("The path ends in .html or .txt").into());
    };
    let item = call.item(id)?;
    let inbox = &call.api.inbox;
    let opened = inbox.open(&item)?.ok_or_else(gone)?;
    let text = inbox.body(&opened)?.readable();
    Ok(Answer::Response(Box::new(Response::text(Status::Ok, text))))
}

/// A page at a place from which `base` leads to the list.
fn page(call: &Call<'_>, (status, base): (Status, &'static str), plain: &Markup) -> Answer {
    let shell = shell(base, plain, call.log_out());
    let body = Body::Octets(shell.into_bytes().into());
    Answer::Response(Box::new(Response::with_body(
        status,
        Kind::Page,
        HTML,
        body,
    )))
}

fn arrived(item: &Item) -> String {
    times::rfc3339(times::signed(item.seen.arrived))
}

/// Whom people know by this.
fn short(person: &Person) -> String {
    let texts = [&person.name, &person.address];
    let text = texts.into_iter().find(|text| !text.is_empty());
    text.cloned().unwrap_or_default()
}

fn full(person: &Person) -> String {
    match (person.name.as_str(), person.address.as_str()) {
        ("", address) => address.to_owned(),
        (name, "") => name.to_owned(),
        (name, address) => format!("{name} <{address}>"),
    }
}
