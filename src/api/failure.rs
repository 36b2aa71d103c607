//! Why a call has no answer.

use std::borrow::Cow;

use serde_json::error::Category;

use crate::{
    http::{Refusal, Status},
    store,
};

/// Why a call has no answer.
#[derive(Debug)]
pub enum Failure {
    /// The client is refused.
    Refused(Box<Refusal>),
    /// The store failed; its text is for the log.
    Store(Box<store::Error>),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::Store(Box::new(error))
    }
}

impl Failure {
    /// What the client is told: nothing of the directories of this machine.
    pub fn into_refusal(self) -> Refusal {
        let error = match self {
            Self::Refused(refusal) => return *refusal,
            Self::Store(error) => error,
        };
        match *error {
            store::Error::Busy { mailboxes } => {
                let mailboxes: Vec<_> = mailboxes.iter().map(ToString::to_string).collect();
                let text = format!(
                    "These mailboxes are open in other sessions, so nothing was removed; try \
                     again later: {}",
                    mailboxes.join(", ")
                );
                Refusal::new(Status::Conflict, text)
            }
            store::Error::MessageGone { .. } | store::Error::NameTooLong { .. } => gone(),
            store::Error::CannotLock { .. }
            | store::Error::Full { .. }
            | store::Error::InUse { .. }
            | store::Error::Io { .. }
            | store::Error::ListingTooLarge { .. }
            | store::Error::NoDirectory { .. }
            | store::Error::OutOfOrder { .. }
            | store::Error::Replaced { .. }
            | store::Error::Served { .. }
            | store::Error::StoreInUse { .. }
            | store::Error::Unsafe { .. } => {
                Refusal::busy("The mail cannot be used now; the log of the server says why")
            }
        }
    }
}

/// The message is not there.
pub(super) fn gone() -> Refusal {
    Refusal::new(
        Status::NotFound,
        "There is no message with this ID; it may have been removed",
    )
}

/// 400: a body is not JSON, or is other JSON than it should be.
pub(super) fn no_json(error: &serde_json::Error) -> Refusal {
    // The error tells line and column, and at most a name of a field that is ours.
    let (line, column) = (error.line(), error.column());
    let what = match error.classify() {
        Category::Data => "has an unexpected value",
        Category::Io | Category::Syntax | Category::Eof => "is not JSON",
    };
    wrong(format!("The body {what} in line {line}, column {column}"))
}

/// 400 with a text.
pub(super) fn wrong(text: impl Into<Cow<'static, str>>) -> Refusal {
    Refusal::new(Status::BadRequest, text)
}
