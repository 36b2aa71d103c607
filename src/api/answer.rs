//! What a call returns to the driver.

use serde::Serialize;

use crate::{
    http::{Response, Status},
    inbox::Content,
};

use super::{events::Events, letter::Letter, reply, wait::Wait};

/// The answer to a request.
#[derive(Debug)]
pub enum Answer {
    /// A response with its whole body, or without one.
    Response(Box<Response>),
    /// A response whose body the driver sends piece by piece.
    Content {
        /// The head; its body is a stream, or open.
        response: Box<Response>,
        /// The body.
        content: Box<Content>,
    },
    /// A response whose body never ends: take [turns](Events::turn) while the client stays.
    Events {
        /// The head; its body is open.
        response: Box<Response>,
        /// The body.
        events: Box<Events>,
    },
    /// A message to be delivered, as SMTP delivers one.
    Letter(Box<Letter>),
    /// The counters of this server, which the driver knows.
    Counters,
    /// The response comes later: take [turns](Wait::turn) until there is one.
    Wait(Box<Wait>),
}

/// `ok`, as Mailpit says it.
pub(super) fn ok() -> Answer {
    Answer::Response(Box::new(Response::text(Status::Ok, "ok")))
}

/// 200 without a body.
pub(super) fn nothing() -> Answer {
    Answer::Response(Box::new(Response::new(Status::Ok)))
}

/// A response with JSON.
pub(super) fn json(value: &impl Serialize) -> Answer {
    Answer::Response(Box::new(reply::json(value)))
}
