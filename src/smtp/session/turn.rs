//! How a part of the session answers, and what the session then waits for.

use crate::mail::sasl::scram::ClientFirst;
use crate::mail::{Closing, Envelope, ForwardPath};
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
    /// Reply, and end the session.
    Close(Reply, Closing),
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
}
