//! Messages as the daemon describes them: the fields of Mailpit's JSON that the commands use.
//!
//! A field that is missing or null is empty.

use serde::{Deserialize, Deserializer};

use super::error::quoted;

/// An address with a name.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Person {
    #[serde(deserialize_with = "or_empty")]
    pub(super) name: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) address: String,
}

/// A message in a list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Summary {
    #[serde(rename = "ID")]
    pub(super) id: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) from: Person,
    #[serde(deserialize_with = "or_empty")]
    pub(super) to: Vec<Person>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) subject: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) created: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) mailboxes: Vec<String>,
}

/// A part of a list.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct List {
    /// The number of all messages.
    pub(super) total: usize,
    /// The number of messages that were asked for, of which some are here.
    pub(super) messages_count: usize,
    #[serde(deserialize_with = "or_empty")]
    pub(super) messages: Vec<Summary>,
    /// Whether some mailboxes could not be read.
    #[serde(deserialize_with = "or_empty")]
    pub(super) partial: bool,
}

/// An attachment.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Attachment {
    #[serde(rename = "PartID")]
    pub(super) part_id: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) file_name: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) content_type: String,
    pub(super) size: u64,
}

/// A whole message.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct Message {
    /// What a list has of it, too.
    #[serde(flatten)]
    pub(super) summary: Summary,
    #[serde(deserialize_with = "or_empty")]
    pub(super) cc: Vec<Person>,
    #[serde(deserialize_with = "or_empty")]
    pub(super) date: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) text: String,
    #[serde(rename = "HTML", deserialize_with = "or_empty")]
    pub(super) html: String,
    #[serde(deserialize_with = "or_empty")]
    pub(super) attachments: Vec<Attachment>,
    /// Whether it can only be downloaded.
    #[serde(deserialize_with = "or_empty")]
    pub(super) too_complex: bool,
    /// Whether the text or the HTML is not complete.
    #[serde(deserialize_with = "or_empty")]
    pub(super) truncated: bool,
    /// Whether the text is a part of the message, and not made from the HTML; `None` if the daemon
    /// does not say.
    pub(super) has_text: Option<bool>,
}

/// Several whole messages.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Messages {
    pub(super) messages: Vec<Message>,
}

/// The place behind the newest change.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct CursorAnswer {
    pub(super) cursor: String,
}

fn or_empty<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

impl Person {
    /// `Name <address>`, or what there is of it.
    pub(super) fn full(&self) -> String {
        match (self.name.as_str(), self.address.as_str()) {
            ("", address) => address.to_owned(),
            (name, "") => name.to_owned(),
            (name, address) => format!("{name} <{address}>"),
        }
    }
}

impl Message {
    /// The message in an error about what is not in it, printable.
    pub(super) fn searched(&self) -> String {
        let described = self.summary.described();
        if self.truncated {
            format!("the beginning of {described}")
        } else {
            described
        }
    }
}

impl Summary {
    /// The first recipient, and how many others there are; the mailbox, if the message names none.
    pub(super) fn recipient(&self) -> (&str, usize) {
        let mut named = self.to.iter().map(|person| person.address.as_str());
        let first = named.next();
        let first = first.or_else(|| self.mailboxes.first().map(String::as_str));
        (first.unwrap_or_default(), named.count())
    }

    /// Whom it is to, and its subject, printable.
    pub(super) fn brief(&self) -> String {
        let (recipient, _) = self.recipient();
        format!("to {} \"{}\"", quoted(recipient), quoted(&self.subject))
    }

    /// The message in an error, printable.
    pub(super) fn described(&self) -> String {
        let from = quoted(&self.from.address);
        format!("{} from {from} {}", quoted(&self.id), self.brief())
    }
}
