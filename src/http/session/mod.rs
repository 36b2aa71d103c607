//! The session of one connection: what is read when, and whether the connection stays open
//! (RFC 9112 §9).
//!
//! Pure: a [`Session`] receives an [`Outcome`] and returns a [`Step`]. It knows nothing of sockets
//! and files, nor of any path: what a request means is decided by the driver.
//!
//! # Theory of operation
//!
//! ```text
//!          ┌────────────── the connection stays open ───────────────┐
//!          ▼                    100                                 │
//!   Head ⟲ ReadHead ──head──┬────────▶ Body ⟲ ReadBody ──┐          │
//!          │                │ no body                    │ whole    │
//!          │                └────────────────────────────┴▶ Answer ─┴▶ SendBody ─▶ Close
//!          │ malformed, not admitted                        ▲
//!          └────────────────────────────────────────────────┘ answered by the session
//! ```
//!
//! - Nothing of a request is handed out before all of it has arrived and it was admitted
//!   ([`admit`]). A request that is not admitted, and its body, are never seen by the driver.
//! - Octets that a client sends before it has its response ("pipelining", RFC 9112 §9.3.2) stay in
//!   the buffer, which is never longer than a head can be: the driver reads no more than it is
//!   asked for, and the rest waits in the kernel.
//! - A reply is always followed by its `SendBody`, so that each step has one reply at most.
//! - `Waiting` remembers what the driver was asked for. An outcome that does not answer it is a
//!   fault of the driver and ends the session with 500.
//!
//! # Failures
//! A request whose end is not known ends the connection: a malformed one, one whose body is not
//! read, and the one during which the session had to end. On a connection that is idle there is
//! nobody to answer: it is closed silently.

#[cfg(test)]
mod tests;

use std::fmt;
use std::mem;
use std::sync::Arc;

use crate::mail::{Closing, Ending, Foreign};

use super::admission::{Admission, Rules, Way, admit};
use super::head::{Head, Method};
use super::limits::{BODY_OCTETS_MAX, HEAD_OCTETS_MAX, PREFLIGHT_SECONDS, REQUESTS_MAX};
use super::name::Name;
use super::outcome::Outcome;
use super::refusal::{METHODS, Refusal};
use super::request::Request;
use super::response::{Circumstances, Response};
use super::scan::{HeadScan, malformed};
use super::status::Status;
use super::step::{Action, Client, Patience, Rendering, Reply, Step};

/// The first octet of TLS, and of no request.
const TLS_HANDSHAKE: u8 = 0x16;

/// The session of one connection. Its [`Debug`](fmt::Debug) form shows nothing of what was read.
pub struct Session {
    rules: Arc<Rules>,
    client: Client,
    /// What has arrived and belongs to no request yet.
    buffer: Vec<u8>,
    scan: HeadScan,
    waiting: Waiting,
    /// How many heads were complete.
    requests: u32,
    is_draining: bool,
}

/// The outcome that the last action asked for.
enum Waiting {
    Head,
    Body(Box<Unfinished>),
    Response(Asked),
    /// The end of a body, and whether the connection then stays open.
    Sent {
        persists: bool,
    },
    Nothing,
}

/// A request whose body has not arrived as a whole.
struct Unfinished {
    request: Request,
    asked: Asked,
    octets: u64,
}

/// What the response to a request depends on.
struct Asked {
    circumstances: Circumstances,
    /// The origin whose pages may read the response.
    origin: Option<String>,
}

impl Session {
    /// A session on a new connection.
    pub fn new(rules: Arc<Rules>, client: Client) -> Self {
        Self {
            rules,
            client,
            buffer: Vec::new(),
            scan: HeadScan::default(),
            waiting: Waiting::Nothing,
            requests: 0,
            is_draining: false,
        }
    }

    /// The first step: in HTTP the client speaks first.
    pub fn greet(&mut self) -> Step {
        self.read_head()
    }

    /// From now on each response is the last one: the daemon is stopping, or wants the place of
    /// this session. The driver ends a connection that is idle.
    pub fn drain(&mut self) {
        self.is_draining = true;
    }

    /// How many octets the session holds in its buffers.
    pub fn held_octets(&self) -> usize {
        let body = match &self.waiting {
            Waiting::Body(it) => it.request.body.capacity(),
            Waiting::Head | Waiting::Response(_) | Waiting::Sent { .. } | Waiting::Nothing => 0,
        };
        self.buffer.capacity().saturating_add(body)
    }

    /// Reports what happened to the session; returns what to do next.
    pub fn resume(&mut self, outcome: Outcome<'_>) -> Step {
        let waiting = mem::replace(&mut self.waiting, Waiting::Nothing);
        match (waiting, outcome) {
            (Waiting::Head, Outcome::Octets(octets)) if octets.len() <= self.head_octets_max() => {
                self.buffer.extend_from_slice(octets);
                self.read_head()
            }
            (Waiting::Body(unfinished), Outcome::Octets(octets))
                if octets.len() <= unfinished.missing() =>
            {
                self.body(unfinished, octets, None)
            }
            (Waiting::Body(unfinished), Outcome::NoMemory) => {
                let refusal = Refusal::busy(
                    "There is no memory for the body of the request now; try again later",
                );
                self.answer(refusal.and_close().into(), &unfinished.asked)
            }
            (Waiting::Response(asked), Outcome::Response(response)) => {
                self.answer(*response, &asked)
            }
            (Waiting::Sent { persists: true }, Outcome::BodySent) => self.read_head(),
            (Waiting::Sent { persists: false }, Outcome::BodySent) => close(Closing::Quit),
            (waiting, Outcome::Ended(ending)) => self.ended(&waiting, ending),
            // A part of the response was sent, so no other can be.
            (Waiting::Sent { .. }, _) => close(Closing::Refused),
            _ => self.refuse(Refusal::closing(
                Status::InternalServerError,
                "Internal error, closing",
            )),
        }
    }

    /// How many octets of a head may still come.
    fn head_octets_max(&self) -> usize {
        // One more than the limit shows that a head is too long.
        let octets_max = HEAD_OCTETS_MAX.saturating_add(1);
        octets_max.saturating_sub(self.buffer.len())
    }

    /// Takes the next head out of the buffer, or asks for more of it.
    fn read_head(&mut self) -> Step {
        let is_tls = self.buffer.first() == Some(&TLS_HANDSHAKE);
        if is_tls && self.requests == 0 && self.client.way == Way::Plain {
            let text = "This port does not speak TLS; use http:// instead of https://";
            return Step {
                action: Action::Close(Closing::Foreign(Foreign::Tls)),
                ..self.refuse(malformed(text))
            };
        }
        let scanned = self.scan.advance(&self.buffer);
        let end = match scanned {
            Ok(Some(end)) => end,
            Ok(None) => return self.ask_for_head(),
            Err(refusal) => return self.refuse(refusal),
        };
        let rest = self.buffer.split_off(end.min(self.buffer.len()));
        let head = mem::replace(&mut self.buffer, rest);
        self.scan = HeadScan::default();
        self.requests = self.requests.saturating_add(1);
        match Head::parse_whole(&head, self.client.distance) {
            Ok(head) => self.head(head),
            Err(refusal) => self.refuse(refusal),
        }
    }

    fn ask_for_head(&mut self) -> Step {
        let is_idle = self.is_idle();
        if is_idle && self.is_draining {
            return close(Closing::Quit);
        }
        self.waiting = Waiting::Head;
        Step {
            reply: None,
            action: Action::ReadHead {
                octets_max: self.head_octets_max(),
                patience: if is_idle {
                    Patience::Idle
                } else {
                    Patience::Head
                },
            },
        }
    }

    fn is_idle(&self) -> bool {
        HeadScan::is_idle(&self.buffer)
    }

    /// A whole head has arrived.
    fn head(&mut self, head: Head) -> Step {
        let circumstances = Circumstances {
            version: head.version,
            is_head: head.method == Method::Head,
            persists: head.persists && self.requests < REQUESTS_MAX,
        };
        let has_body = head.body_octets > 0;
        let Admission { scope, origin } = match admit(&head, &self.rules, self.client.way) {
            Ok(admission) => admission,
            Err(refusal) => {
                let asked = Asked {
                    circumstances,
                    origin: None,
                };
                let refusal = if has_body {
                    refusal.and_close()
                } else {
                    refusal
                };
                return self.answer(refusal.into(), &asked);
            }
        };
        let asked = Asked {
            circumstances,
            origin,
        };
        if head.method == Method::Options {
            let response = options(&head, &asked);
            let response = if has_body {
                response.and_close()
            } else {
                response
            };
            return self.answer(response, &asked);
        }
        let unfinished = Box::new(Unfinished {
            request: Request {
                method: head.method,
                target: head.target,
                fields: head.fields,
                body: Vec::new(),
                scope,
                way: self.client.way,
            },
            asked,
            octets: head.body_octets,
        });
        let reply = (has_body && head.expects_continue).then_some(Reply::Continue);
        let octets = unfinished.missing().min(self.buffer.len());
        let rest = self.buffer.split_off(octets);
        let begin = mem::replace(&mut self.buffer, rest);
        self.body(unfinished, &begin, reply)
    }

    /// More of a body has arrived, which is no more than is missing.
    fn body(&mut self, mut it: Box<Unfinished>, octets: &[u8], reply: Option<Reply>) -> Step {
        let missing = it.missing();
        let body = &mut it.request.body;
        // The length is only what the client says, so it is not reserved at once.
        let room = missing.min(octets.len().max(body.len()));
        if body.capacity().saturating_sub(body.len()) < octets.len() {
            body.reserve_exact(room);
        }
        body.extend_from_slice(octets);
        let octets_max = it.missing();
        if octets_max == 0 {
            self.waiting = Waiting::Response(it.asked);
            return Step {
                reply,
                action: Action::Answer(Box::new(it.request)),
            };
        }
        let octets = it.octets;
        self.waiting = Waiting::Body(it);
        Step {
            reply,
            action: Action::ReadBody { octets_max, octets },
        }
    }

    /// Answers a request.
    fn answer(&mut self, response: Response, asked: &Asked) -> Step {
        let mut response = response;
        if let Some(origin) = &asked.origin {
            response = response
                .field(Name::AccessControlAllowOrigin, origin.clone())
                .field(Name::Vary, "Origin");
        }
        let mut circumstances = asked.circumstances;
        circumstances.persists &= !self.is_draining;
        let persists = response.persists(circumstances);
        let sending = response.sending(circumstances);
        self.waiting = Waiting::Sent { persists };
        Step {
            reply: Some(Reply::Response(Box::new(Rendering {
                response,
                circumstances,
            }))),
            action: Action::SendBody(sending),
        }
    }

    /// Answers what is not a request, and closes.
    fn refuse(&mut self, refusal: Refusal) -> Step {
        self.last(refusal, Circumstances::UNKNOWN)
    }

    /// Answers and closes.
    fn last(&mut self, refusal: Refusal, circumstances: Circumstances) -> Step {
        self.buffer = Vec::new();
        self.waiting = Waiting::Nothing;
        Step {
            reply: Some(Reply::Response(Box::new(Rendering {
                response: refusal.and_close().into(),
                circumstances,
            }))),
            action: Action::Close(Closing::Refused),
        }
    }

    /// The session has to end, whatever it was doing.
    fn ended(&mut self, waiting: &Waiting, ending: Ending) -> Step {
        match waiting {
            Waiting::Head if self.is_idle() => close(Closing::Quit),
            Waiting::Sent { .. } => close(Closing::Refused),
            Waiting::Body(it) => self.last(why(ending), it.asked.circumstances),
            Waiting::Response(asked) => self.last(why(ending), asked.circumstances),
            Waiting::Head | Waiting::Nothing => self.refuse(why(ending)),
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session")
            .field("client", &self.client)
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

impl Unfinished {
    /// How many octets of the body have not arrived.
    fn missing(&self) -> usize {
        let octets = self.octets.min(BODY_OCTETS_MAX);
        let octets = usize::try_from(octets).unwrap_or(usize::MAX);
        octets.saturating_sub(self.request.body.len())
    }
}

fn close(closing: Closing) -> Step {
    Step {
        reply: None,
        action: Action::Close(closing),
    }
}

/// The response to OPTIONS (RFC 9110 §9.3.7). For pages of `http_origins` it allows what they ask
/// for in a preflight (Fetch §4.8); no other page gets here.
fn options(head: &Head, asked: &Asked) -> Response {
    let response = Response::new(Status::NoContent).field(Name::Allow, METHODS);
    let is_preflight = head
        .fields
        .all("access-control-request-method")
        .next()
        .is_some();
    if asked.origin.is_none() || !is_preflight {
        return response;
    }
    response
        .field(Name::AccessControlAllowMethods, METHODS)
        .field(
            Name::AccessControlAllowHeaders,
            "Authorization, Content-Type, Last-Event-ID",
        )
        .field(Name::AccessControlMaxAge, PREFLIGHT_SECONDS)
}

/// What a client is told when a session has to end.
fn why(ending: Ending) -> Refusal {
    match ending {
        Ending::IdleTimeout | Ending::TooSlow | Ending::SessionTimeout => Refusal::closing(
            Status::RequestTimeout,
            "The request has not arrived in time, closing",
        ),
        Ending::ShuttingDown => Refusal::busy("The service is shutting down; try again later"),
        Ending::Displaced => {
            Refusal::busy("There are too many connections from your network; try again later")
        }
        Ending::NotOpen => Refusal::closing(
            Status::Forbidden,
            "This server is no longer open to your network",
        ),
        Ending::Revoked => Refusal::login_required(),
        // Only sessions of POP3 have a maildrop.
        Ending::MaildropLost => Refusal::busy("Try again later"),
    }
}
