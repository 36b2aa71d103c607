//! Answers whose body is a message or a part of it.

use crate::{
    http::{Body, Kind, Name, Refusal, Response, Status, attachment},
    inbox::{Content, Inbox, Item},
    mime::Part,
};

use super::{
    answer::Answer,
    failure::{Failure, gone},
};

/// The types that a browser is told; every other part is `application/octet-stream`, so that no
/// part is opened by a program that its sender has chosen.
const TYPES: [&str; 14] = [
    "application/json",
    "application/pdf",
    "application/zip",
    "audio/mpeg",
    "image/gif",
    "image/jpeg",
    "image/png",
    "image/webp",
    "message/rfc822",
    "text/calendar",
    "text/csv",
    "text/plain",
    "text/vcard",
    "video/mp4",
];

/// The whole message as text, with CRLF line endings.
pub(super) fn source(inbox: &Inbox, item: &Item) -> Result<Answer, Failure> {
    let message = inbox.message(item)?.ok_or_else(gone)?;
    let media_type = "text/plain; charset=utf-8";
    let response = Response::with_body(Status::Ok, Kind::Api, media_type, Body::Open);
    Ok(Answer::Content {
        response: Box::new(response),
        content: Box::new(Content::whole(message)),
    })
}

/// A part of the message, without its transfer encoding, to be saved.
pub(super) fn part(inbox: &Inbox, item: &Item, id: &str) -> Result<Answer, Failure> {
    let opened = inbox.open(item)?.ok_or_else(gone)?;
    let outline = opened.outline.as_ref().ok();
    let part = outline.and_then(|outline| outline.part(id));
    let Some(part) = part.filter(|part| part.is_leaf()) else {
        let text = "The message has no such part; get the message for the list of its parts";
        return Err(Refusal::new(Status::NotFound, text).into());
    };
    let name = attachment(part.file_name.as_deref().unwrap_or_default());
    let response = Response::with_body(Status::Ok, Kind::Attachment, media_type(part), Body::Open)
        .field(Name::ContentDisposition, name);
    let part = part.clone();
    Ok(Answer::Content {
        response: Box::new(response),
        content: Box::new(Content::part(opened.message, &part)),
    })
}

fn media_type(part: &Part) -> &'static str {
    let known = TYPES.into_iter().find(|it| *it == part.content_type);
    known.unwrap_or("application/octet-stream")
}
