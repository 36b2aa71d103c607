//! What a session asks of its driver: to send a reply, and to perform an action.
//!
//! Values only. Each action lists the outcomes that can follow it; `Ended` can follow any action.

use std::time::Duration;

use crate::mail::Closing;

use super::admission::Way;
use super::head::Distance;
use super::limits::{HEAD_TIMEOUT, IDLE_TIMEOUT};
use super::name::Name;
use super::refusal::Refusal;
use super::request::Request;
use super::response::{Body, Circumstances, Response, Sending};
use super::status::Status;

/// What a session needs to know about its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Client {
    /// How its requests come.
    pub way: Way,
    /// Where it is; on the control socket it is always near.
    pub distance: Distance,
}

/// A reply, if there is one, and the action after it.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Sent before the action is performed. It can stay in a buffer while more input is waiting,
    /// but not before `ReadBody`, because the client may wait for it.
    pub reply: Option<Reply>,
    /// Performed next; its result is the next outcome.
    pub action: Action,
}

/// What is sent to the client.
#[derive(Debug, PartialEq, Eq)]
pub enum Reply {
    /// 100: the client shall send the body of its request (RFC 9110 §15.2.1).
    Continue,
    /// A response.
    Response(Box<Rendering>),
}

/// A response, and what its head depends on.
#[derive(Debug, PartialEq, Eq)]
pub struct Rendering {
    pub(super) response: Response,
    pub(super) circumstances: Circumstances,
}

/// What the driver is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Read octets of a request's head: `Octets`. If they do not come in time, it is `Ended` with
    /// `IdleTimeout`.
    ReadHead {
        /// How many, at most.
        octets_max: usize,
        /// How long to wait.
        patience: Patience,
    },
    /// Read octets of a request's body: `Octets`; or `NoMemory`, before the first of them. A body
    /// that is too slow is `Ended` with `TooSlow`.
    ReadBody {
        /// How many, at most: those that are missing.
        octets_max: usize,
        /// The length of the whole body.
        octets: u64,
    },
    /// Answer a request: `Response`.
    Answer(Box<Request>),
    /// Send the body of the response: `BodySent` or `BodyFailed`.
    SendBody(Sending),
    /// Send what is waiting and close; no outcome is expected. `Quit`: everything was answered.
    Close(Closing),
}

/// How long a head may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Nothing of a request has arrived: until its first octet.
    Idle,
    /// A part of it has arrived: from its first octet to its last.
    Head,
}

impl Reply {
    /// The reply to a client that gets no session, or whose session broke; `is_lasting` if trying
    /// again later does not help. The connection is then closed.
    pub fn unavailable(why: &'static str, is_lasting: bool) -> Self {
        let refusal = if is_lasting {
            Refusal::new(Status::Forbidden, why)
        } else {
            Refusal::busy(why)
        };
        Self::Response(Box::new(Rendering {
            response: refusal.and_close().into(),
            circumstances: Circumstances::UNKNOWN,
        }))
    }

    /// The status code, with its text.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Continue => "100 Continue",
            Self::Response(it) => it.response.status().line(),
        }
    }

    /// Why the request is refused, if it is, except with a challenge that any first request gets.
    pub fn refusal(&self) -> Option<&str> {
        let Self::Response(it) = self else {
            return None;
        };
        let status = it.response.status();
        if status.code() < 400 || status == Status::Unauthorized {
            return None;
        }
        let is_text = |it: &str| it.starts_with("text/plain");
        match it.response.body() {
            Body::Octets(text) if it.response.values(Name::ContentType).any(is_text) => {
                str::from_utf8(text).ok().map(str::trim_ascii_end)
            }
            // A page says it in its own way.
            Body::Octets(_) | Body::Stream { .. } | Body::Open => Some("a page says why"),
        }
    }

    /// Appends what is sent: the head, and the body if the response has it. `date` is the current
    /// time (see [`super::date()`]).
    pub fn render(&self, date: &str, out: &mut Vec<u8>) {
        match self {
            Self::Continue => out.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n"),
            Self::Response(it) => it.response.render(it.circumstances, date, out),
        }
    }
}

impl Patience {
    /// How long it lasts.
    pub fn timeout(self) -> Duration {
        match self {
            Self::Idle => IDLE_TIMEOUT,
            Self::Head => HEAD_TIMEOUT,
        }
    }
}
