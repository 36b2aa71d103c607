//! How a part of the session answers, and what the session then waits for.

use std::vec;

use crate::mail::sasl::scram::ClientFirst;
use crate::mail::{Closing, Envelope, ForwardPath};
use crate::smtp::outcome::MailboxFailure;
use crate::smtp::reply::Reply;
use crate::smtp::step::{Action, Framing};

/// The result of a command or an outcome. The session turns it into a step.
#[derive(Debug)]
pub(super) enum Turn {
    /// Reply, and read the next line.
    Say(Reply),
    /// Reply to a syntax or sequence error, which is counted, and read the next line.
    Refuse(Reply),
    /// Read the next line without a reply.
    Listen,
    /// Ask the driver for something, and wait for it. The reply, if there is one, is sent first.
    Ask(Option<Reply>, Action, Waiting),
    /// Reply once for each recipient, and go on as they say.
    SayEach(Replies),
    /// Reply, and end the session.
    Close(Reply, Closing),
}

/// The replies to a message: one over SMTP, and one for each recipient over LMTP (RFC 2033 §4.2).
#[derive(Debug)]
pub(super) struct Replies {
    /// What each recipient gets for which nothing else is said.
    usual: Reply,
    /// How many are still to be sent.
    left: usize,
    /// What is said otherwise: one for each of those that are left, or none at all.
    failures: vec::IntoIter<Option<MailboxFailure>>,
    /// Whether the session ends after them.
    pub(super) is_end: bool,
}

impl Replies {
    /// The same for this many recipients; once if there are none.
    pub(super) fn all(reply: Reply, recipients: usize) -> Self {
        Self {
            usual: reply,
            left: recipients.max(1),
            failures: Vec::new().into_iter(),
            is_end: false,
        }
    }

    /// `reply` for each recipient whose mailbox did not fail.
    pub(super) fn each(reply: Reply, failures: Vec<Option<MailboxFailure>>) -> Self {
        Self {
            usual: reply,
            left: failures.len(),
            failures: failures.into_iter(),
            is_end: false,
        }
    }

    /// The same as the last replies of the session.
    pub(super) fn at_end(self) -> Self {
        Self {
            is_end: true,
            ..self
        }
    }

    /// The next one; `None` if there are no more.
    pub(super) fn next(&mut self) -> Option<Reply> {
        self.left = self.left.checked_sub(1)?;
        let failure = self.failures.next().flatten();
        Some(failure.map_or_else(|| self.usual.clone(), Reply::from))
    }

    /// Whether there are no more.
    pub(super) fn are_said(&self) -> bool {
        self.left == 0
    }
}

impl Turn {
    /// Asks the driver for something, without a reply.
    pub(super) fn ask(action: Action, waiting: Waiting) -> Self {
        Self::Ask(None, action, waiting)
    }

    /// Ends the session because it cannot go on.
    pub(super) fn give_up(reply: Reply) -> Self {
        Self::Close(reply, Closing::Refused)
    }
}

/// The outcome that the last action asked for.
#[derive(Debug)]
pub(super) enum Waiting {
    Line,
    Recipient(ForwardPath),
    /// The verdict on a password.
    Password,
    /// What SCRAM needs to know of a user.
    Scram(ClientFirst),
    /// The verdict on the proof of this user.
    Proof(String),
    /// The verdict on the sender of this transaction.
    Sender(Box<Envelope>),
    Delivery(Framing),
    Content(Framing),
    Discard(Rejection),
    /// The turn of the next of several replies.
    Replies(Replies),
    /// The end of a transaction, before this reply.
    Abandoned(Reply),
    Tls,
    Nothing,
}

/// The reply after a refused chunk has been read.
#[derive(Debug)]
pub(super) enum Rejection {
    /// The client made an error, which is counted.
    Error(Reply),
    /// The client made no error, or could not know yet.
    NoError(Reply),
    /// The same, for each recipient of the message that the chunk would have ended.
    OfMessage(Replies),
}
