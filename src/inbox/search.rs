//! One message, compared with the words of a search.
//!
//! What the words need is read when the first of them needs it: most words need the summary only,
//! which is kept.

use std::{
    cell::{Cell, OnceCell},
    sync::Arc,
};

use crate::{
    mail::MailboxName,
    mime::{Person, Summary},
    store::Error,
};

use super::{
    index::Item,
    words::{Field, Searched, Words},
};

/// The mailboxes that have the message, and that none of its fields names.
pub type Hidden<'a> = &'a dyn Fn(&Item, &Summary) -> Vec<MailboxName>;

/// Reads the readable text of the message; `None` if no mailbox has it any more.
pub(super) type Read<'a> = &'a dyn Fn() -> Result<Option<String>, Error>;

/// See the module.
pub(super) struct Candidate<'a> {
    pub(super) item: &'a Item,
    pub(super) summary: Arc<Summary>,
    pub(super) is_read: bool,
    pub(super) hidden: Hidden<'a>,
    pub(super) read: Read<'a>,
}

/// A candidate with what was read of it.
struct Reading<'a> {
    of: Candidate<'a>,
    /// The readable text in lower case; empty if it could not be read.
    text: OnceCell<String>,
    failed: Cell<Option<Unread>>,
}

/// Why the text of a message was not read.
enum Unread {
    /// No mailbox has it any more.
    Gone,
    Failed(Error),
}

impl Candidate<'_> {
    /// Whether every word applies; `None` if the message is gone.
    ///
    /// # Errors
    /// Every error of reading the message.
    pub(super) fn compare(self, words: &Words) -> Result<Option<bool>, Error> {
        let reading = Reading {
            of: self,
            text: OnceCell::new(),
            failed: Cell::new(None),
        };
        let is_found = words.find(&reading);
        match reading.failed.into_inner() {
            None => Ok(Some(is_found)),
            Some(Unread::Gone) => Ok(None),
            Some(Unread::Failed(error)) => Err(error),
        }
    }
}

impl Reading<'_> {
    fn text(&self) -> &str {
        self.text.get_or_init(|| match (self.of.read)() {
            Ok(Some(text)) => text.to_lowercase(),
            Ok(None) => self.fail(Unread::Gone),
            Err(error) => self.fail(Unread::Failed(error)),
        })
    }

    fn fail(&self, why: Unread) -> String {
        self.failed.set(Some(why));
        String::new()
    }
}

impl Searched for Reading<'_> {
    fn has_in(&self, field: Field, text: &str) -> bool {
        let has = |value: &str| value.to_lowercase().contains(text);
        let have = |people: &[Person]| people.iter().any(|it| has(&it.name) || has(&it.address));
        let summary = &self.of.summary;
        match field {
            Field::From => have(&summary.from),
            Field::To => have(&summary.to),
            Field::Cc => have(&summary.cc),
            Field::Bcc => {
                let mut hidden = (self.of.hidden)(self.of.item, summary).into_iter();
                have(&summary.bcc) || hidden.any(|mailbox| has(&mailbox.to_string()))
            }
            Field::ReplyTo => have(&summary.reply_to),
            Field::Addressed => {
                let fields = [
                    Field::From,
                    Field::To,
                    Field::Cc,
                    Field::ReplyTo,
                    Field::Bcc,
                ];
                fields.into_iter().any(|field| self.has_in(field, text))
            }
            Field::Subject => has(&summary.subject),
            Field::MessageId => {
                let is_around = |c| matches!(c, '<' | '>');
                let text = text.trim_matches(is_around);
                summary.message_id.to_lowercase().contains(text)
            }
            Field::Mailbox => {
                let mut mailboxes = self.of.item.mailboxes.iter();
                mailboxes.any(|mailbox| has(&mailbox.to_string()))
            }
        }
    }

    fn has_text(&self, text: &str) -> bool {
        let fields = [Field::Subject, Field::From, Field::To];
        let has_in = |field| self.has_in(field, text);
        fields.into_iter().any(has_in) || self.text().contains(text)
    }

    fn arrived(&self) -> i64 {
        i64::try_from(self.of.item.seen.arrived).unwrap_or(i64::MAX)
    }

    fn octets(&self) -> u64 {
        self.of.item.seen.octets
    }

    fn has_attachment(&self) -> bool {
        self.of.summary.attachments > 0
    }

    fn is_read(&self) -> bool {
        self.of.is_read
    }
}
