//! A message that is to be sent, in the shape of Mailpit: `POST /api/v1/send`.
//!
//! Here the request becomes a [`Letter`]: its paths, and a draft of the message. Whether the sender
//! may send, and whether the recipients are accepted, is a matter of the driver, as for SMTP.
//!
//! A field that is wrong is refused by its place, and so is a field that is not known: a client
//! that misspells `Attachments` would wait for a message that never has them. The tags of Mailpit
//! are accepted and forgotten.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    http::Refusal,
    mail::{Address, Charset, Dots, ForwardPath, Grammar},
    mime::{Attachment, Draft, Person},
};

use super::{
    body::{Object, Value},
    failure::wrong,
    limits::{
        ATTACHMENTS_MAX, CONTENT_ID_OCTETS_MAX, FIELD_NAME_OCTETS_MAX, FIELDS_MAX,
        FILE_NAME_OCTETS_MAX, RECIPIENTS_MAX, TAGS_MAX,
    },
};

/// The types of files by the ends of their names.
const TYPES: [(&str, &str); 16] = [
    ("csv", "text/csv"),
    ("gif", "image/gif"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("ics", "text/calendar"),
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("json", "application/json"),
    ("pdf", "application/pdf"),
    ("png", "image/png"),
    ("svg", "image/svg+xml"),
    ("txt", "text/plain"),
    ("vcf", "text/vcard"),
    ("webp", "image/webp"),
    ("xml", "application/xml"),
    ("zip", "application/zip"),
];

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Whose message it is.
    pub sender: Address,
    /// Whom it is for: at least one.
    pub recipients: Vec<Recipient>,
    /// Whether an address has characters outside ASCII.
    pub is_internationalized: bool,
    draft: Draft,
}

/// A recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// Where the request names it, such as `To[2].Email`.
    pub place: String,
    /// Its path.
    pub path: ForwardPath,
}

/// Reads the parts of a request.
struct Reader {
    grammar: Grammar,
    recipients: Vec<Recipient>,
    is_internationalized: bool,
}

impl Letter {
    /// The letter that the body of a request describes.
    ///
    /// # Errors
    /// 400 with the place of what is wrong.
    pub fn parse(body: &[u8], dots: Dots) -> Result<Self, Refusal> {
        let mut object = Value::parse(body)?.object()?;
        let mut reader = Reader {
            grammar: Grammar {
                charset: Charset::Utf8,
                dots,
            },
            recipients: Vec::new(),
            is_internationalized: false,
        };
        let from = object
            .take("From")
            .ok_or_else(|| wrong("From is missing"))?;
        let (from, sender) = reader.person(&from)?;
        let draft = Draft {
            from,
            to: reader.recipients(object.take("To"))?,
            cc: reader.recipients(object.take("Cc"))?,
            reply_to: reader.people(object.take("ReplyTo"))?,
            subject: object.take_line("Subject")?,
            fields: fields(object.take("Headers"))?,
            text: text(object.take("Text"))?,
            html: text(object.take("HTML"))?,
            attachments: attachments(object.take("Attachments"))?,
        };
        reader.blind(object.take("Bcc"))?;
        if let Some(tags) = object.take("Tags") {
            for tag in tags.list(TAGS_MAX)? {
                tag.text()?;
            }
        }
        object.finish()?;
        if reader.recipients.is_empty() {
            return Err(wrong("To, Cc and Bcc name no recipient"));
        }
        if draft.has_long_header() {
            return Err(wrong(
                "The header section is longer than mail programs read; name recipients in Bcc, or \
                 send several messages",
            ));
        }
        Ok(Self {
            sender,
            recipients: reader.recipients,
            is_internationalized: reader.is_internationalized,
            draft,
        })
    }

    /// The message, with LF line endings, without trace headers.
    pub fn content(&self, date: &str, message_id: &str) -> Vec<u8> {
        self.draft.render(date, message_id)
    }
}

impl Reader {
    /// A person, and the address.
    fn person(&mut self, value: &Value<'_>) -> Result<(Person, Address), Refusal> {
        let mut object = value.object()?;
        let name = object.take_line("Name")?;
        let email = object.take("Email");
        let email = email.ok_or_else(|| value.wrong("has no Email"))?;
        object.finish()?;
        let address = self.address(&email)?;
        let person = Person {
            name,
            address: address.to_string(),
        };
        Ok((person, address))
    }

    fn address(&mut self, value: &Value<'_>) -> Result<Address, Refusal> {
        let text = value.text()?;
        let address = Address::parse(text.trim(), self.grammar);
        let address =
            address.map_err(|error| value.wrong(&format!("is not an address: {error}")))?;
        let written = address.to_string();
        if written.contains("=?") {
            return Err(value.wrong("looks like an encoded word (RFC 2047), and would be read so"));
        }
        self.is_internationalized |= !written.is_ascii();
        Ok(address)
    }

    /// People who are not recipients by that.
    fn people(&mut self, list: Option<Value<'_>>) -> Result<Vec<Person>, Refusal> {
        let mut people = Vec::new();
        for value in values(list, RECIPIENTS_MAX)? {
            people.push(self.person(&value)?.0);
        }
        Ok(people)
    }

    /// Recipients whom the message names.
    fn recipients(&mut self, list: Option<Value<'_>>) -> Result<Vec<Person>, Refusal> {
        let mut people = Vec::new();
        for value in values(list, RECIPIENTS_MAX)? {
            let (person, address) = self.person(&value)?;
            let place = format!("{}.Email", value.place());
            self.add(place, address)?;
            people.push(person);
        }
        Ok(people)
    }

    /// Recipients whom it does not name.
    fn blind(&mut self, list: Option<Value<'_>>) -> Result<(), Refusal> {
        for value in values(list, RECIPIENTS_MAX)? {
            let address = self.address(&value)?;
            self.add(value.place().to_owned(), address)?;
        }
        Ok(())
    }

    fn add(&mut self, place: String, address: Address) -> Result<(), Refusal> {
        if self.recipients.len() >= RECIPIENTS_MAX {
            return Err(wrong(format!("{place} is one recipient too many")));
        }
        let path = ForwardPath::Address(address);
        self.recipients.push(Recipient { place, path });
        Ok(())
    }
}

/// The values of a list, which may be missing.
fn values(list: Option<Value<'_>>, length_max: usize) -> Result<Vec<Value<'_>>, Refusal> {
    list.map_or_else(|| Ok(Vec::new()), |list| list.list(length_max))
}

fn text(value: Option<Value<'_>>) -> Result<String, Refusal> {
    value.map_or_else(|| Ok(String::new()), |value| value.text())
}

/// The further fields of the message.
fn fields(value: Option<Value<'_>>) -> Result<Vec<(String, String)>, Refusal> {
    let Some(value) = value else {
        return Ok(Vec::new());
    };
    let mut fields = Vec::new();
    for (name, text) in value.object()?.rest() {
        if name.len() > FIELD_NAME_OCTETS_MAX || !Draft::may_have_field(&name) {
            return Err(value.wrong(
                "has a name that no field has, or that of a field which is written from the rest \
                 of the request, such as Subject",
            ));
        }
        if fields.len() >= FIELDS_MAX {
            return Err(value.wrong(&format!("has more than {FIELDS_MAX} fields")));
        }
        let line = text.line()?;
        if !line.is_ascii() && is_structured(&name) {
            return Err(text.wrong(
                "is for a field with addresses, IDs or links, and has to be ASCII (RFC 2047 §5)",
            ));
        }
        fields.push((name, line));
    }
    Ok(fields)
}

/// Whether the field of this name has a structure, in which not every word may be encoded.
fn is_structured(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let is_known = [
        "date",
        "disposition-notification-to",
        "errors-to",
        "in-reply-to",
        "message-id",
        "references",
        "return-receipt-to",
        "sender",
    ]
    .contains(&name.as_str());
    is_known || ["list-", "resent-"].iter().any(|it| name.starts_with(it))
}

fn attachments(list: Option<Value<'_>>) -> Result<Vec<Attachment>, Refusal> {
    let values = values(list, ATTACHMENTS_MAX)?;
    values.iter().map(attachment).collect()
}

fn attachment(value: &Value<'_>) -> Result<Attachment, Refusal> {
    let mut object = value.object()?;
    let content = object.take("Content");
    let content = content.ok_or_else(|| value.wrong("has no Content"))?;
    let mut encoded = content.text()?;
    encoded.retain(|c| !c.is_ascii_whitespace());
    let octets = STANDARD.decode(&encoded).ok();
    let file_name = bounded(&mut object, "Filename", FILE_NAME_OCTETS_MAX)?;
    let kind = object.take("ContentType");
    let content_type = match kind.as_ref().map(|kind| media_type(kind)).transpose()? {
        Some(kind) if !kind.is_empty() => kind,
        Some(_) | None => type_of(&file_name).to_owned(),
    };
    let id = object.take("ContentID");
    let content_id = id.as_ref().map(|id| content_id(id)).transpose()?;
    object.finish()?;
    Ok(Attachment {
        file_name,
        content_type,
        content_id: content_id.unwrap_or_default(),
        content: octets.ok_or_else(|| content.wrong("is not base64"))?,
    })
}

/// A text on one line that is not too long; empty if there is none.
fn bounded(object: &mut Object<'_>, name: &str, octets_max: usize) -> Result<String, Refusal> {
    let Some(value) = object.take(name) else {
        return Ok(String::new());
    };
    let text = value.line()?;
    if text.len() > octets_max {
        return Err(value.wrong(&format!("has more than {octets_max} octets")));
    }
    Ok(text)
}

fn media_type(value: &Value<'_>) -> Result<String, Refusal> {
    let text = value.line()?;
    if !text.is_empty() && !Attachment::may_have_type(&text) {
        return Err(value.wrong(
            "is not the type of a file, such as image/png or text/plain; charset=utf-8; send a \
             message as application/octet-stream",
        ));
    }
    Ok(text)
}

fn content_id(value: &Value<'_>) -> Result<String, Refusal> {
    let text = value.line()?;
    let id = text.trim().trim_start_matches('<').trim_end_matches('>');
    let is_part = |octet: u8| octet.is_ascii_graphic() && !b"<>\"".contains(&octet);
    if id.len() > CONTENT_ID_OCTETS_MAX || !id.bytes().all(is_part) {
        return Err(value.wrong("is not a name such as logo or logo@example.com"));
    }
    Ok(id.to_owned())
}

/// The type of a file with this name.
fn type_of(file_name: &str) -> &'static str {
    let end = file_name
        .rsplit_once('.')
        .map(|(_, end)| end.to_ascii_lowercase());
    let known = TYPES.iter().find(|(name, _)| end.as_deref() == Some(*name));
    known.map_or("application/octet-stream", |(_, kind)| kind)
}
