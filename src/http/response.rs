//! Responses, and the only place that writes the head of one (RFC 9112 §4, §6, RFC 9110 §15).
//!
//! # Invariants
//! - No value is written with a control character, so none can begin another field or end the head.
//!   Names come from [`Name`], which has none of those that say where a response ends.
//! - Content-Length is that of the body that is sent, or of the one that a HEAD asks about. A
//!   response without a body by its status has neither.
//! - After a response that does not tell its own end, the connection is closed.

use std::borrow::Cow;
use std::fmt;

use super::entity_tag::EntityTag;
use super::head::Version;
use super::name::Name;
use super::policy::Kind;
use super::refusal::Refusal;
use super::status::Status;

/// A response to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: Status,
    fields: Vec<(Name, Cow<'static, str>)>,
    body: Body,
    closes: bool,
}

/// The body of a response. Its [`Debug`](fmt::Debug) form shows only its kind and length.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// These octets.
    Octets(Cow<'static, [u8]>),
    /// As many octets as this; the driver sends them.
    Stream {
        /// How many.
        octets: u64,
    },
    /// Any number of octets; the driver sends them until it has no more.
    Open,
}

/// How the body of a response is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sending {
    /// The reply has it already, or there is none.
    InReply,
    /// So many octets, no more and no fewer.
    Octets(u64),
    /// In chunks (RFC 9112 §7.1): each piece through [`Sending::frame`], and then
    /// [`Sending::end`].
    Chunks,
    /// As it is, until the connection is closed.
    UntilClose,
}

/// What the head of a response depends on besides the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Circumstances {
    /// The version that the client speaks.
    pub(super) version: Version,
    /// Whether the client has asked for the head alone.
    pub(super) is_head: bool,
    /// Whether the connection can stay open, as far as the request and the session go.
    pub(super) persists: bool,
}

impl Circumstances {
    /// What is known before a head has arrived as a whole.
    pub(super) const UNKNOWN: Self = Self {
        version: Version::V1_1,
        is_head: false,
        persists: false,
    };
}

impl Response {
    /// A response without a body.
    pub fn new(status: Status) -> Self {
        Self {
            status,
            fields: Vec::new(),
            body: Body::Octets(Cow::Borrowed(&[])),
            closes: false,
        }
    }

    /// A response with a body of this media type, and with the fields that a browser needs for its
    /// kind.
    pub fn with_body(status: Status, kind: Kind, media_type: &'static str, body: Body) -> Self {
        let mut response = Self::new(status).field(Name::ContentType, media_type);
        for (name, value) in kind.fields() {
            response.fields.push((*name, Cow::Borrowed(value)));
        }
        response.body = body;
        response
    }

    /// A response with a text, such as `ok`.
    pub fn text(status: Status, text: impl Into<Cow<'static, str>>) -> Self {
        let octets = match text.into() {
            Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
            Cow::Owned(text) => Cow::Owned(text.into_bytes()),
        };
        let media_type = "text/plain; charset=utf-8";
        Self::with_body(status, Kind::Api, media_type, Body::Octets(octets))
    }

    /// The same response with one more field. A character of the value that is not printable ASCII
    /// is sent as an underscore.
    #[must_use]
    pub fn field(mut self, name: Name, value: impl Into<Cow<'static, str>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The same response, marked with the version of its body; 304 without the body if the client
    /// has that version.
    #[must_use]
    pub fn tagged(self, tag: &EntityTag, is_held: bool) -> Self {
        let mut response = self.field(Name::ETag, tag.as_str().to_owned());
        if is_held {
            response.status = Status::NotModified;
            response.body = Body::Octets(Cow::Borrowed(&[]));
        }
        response
    }

    /// The same response, after which the connection is closed.
    #[must_use]
    pub fn and_close(mut self) -> Self {
        self.closes = true;
        self
    }

    /// The status.
    pub fn status(&self) -> Status {
        self.status
    }

    /// The body.
    pub fn body(&self) -> &Body {
        &self.body
    }

    /// The values of the fields with this name, in their order.
    pub fn values(&self, name: Name) -> impl Iterator<Item = &str> {
        let fields = self.fields.iter().filter(move |(it, _)| *it == name);
        fields.map(|(_, value)| value.as_ref())
    }

    /// How many octets the body has that are held in memory.
    pub fn held_octets(&self) -> usize {
        match &self.body {
            Body::Octets(Cow::Owned(octets)) => octets.capacity(),
            Body::Octets(Cow::Borrowed(_)) | Body::Stream { .. } | Body::Open => 0,
        }
    }

    /// How the body is sent.
    pub(super) fn sending(&self, circumstances: Circumstances) -> Sending {
        if circumstances.is_head || self.status.has_no_body() {
            return Sending::InReply;
        }
        match (&self.body, circumstances.version) {
            (Body::Octets(_), _) => Sending::InReply,
            (Body::Stream { octets }, _) => Sending::Octets(*octets),
            (Body::Open, Version::V1_1) => Sending::Chunks,
            (Body::Open, Version::V1_0) => Sending::UntilClose,
        }
    }

    /// Whether the connection stays open after the response.
    pub(super) fn persists(&self, circumstances: Circumstances) -> bool {
        let has_end = self.sending(circumstances) != Sending::UntilClose;
        circumstances.persists && !self.closes && has_end
    }

    /// Appends the head and, if it is known, the body. `date` is the current time in the form of
    /// RFC 9110 §5.6.7 (see [`super::date()`]).
    pub(super) fn render(&self, circumstances: Circumstances, date: &str, out: &mut Vec<u8>) {
        // The version is always our own (RFC 9110 §6.2).
        for part in ["HTTP/1.1 ", self.status.line(), "\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        line("Date", date, out);
        let length = match &self.body {
            Body::Octets(octets) => Some(count(octets)),
            Body::Stream { octets } => Some(*octets),
            Body::Open => None,
        };
        if let Some(length) = length.filter(|_| !self.status.has_no_body()) {
            line("Content-Length", &length.to_string(), out);
        }
        let sending = self.sending(circumstances);
        if sending == Sending::Chunks {
            line("Transfer-Encoding", "chunked", out);
        }
        match (self.persists(circumstances), circumstances.version) {
            (false, _) => line("Connection", "close", out),
            (true, Version::V1_0) => line("Connection", "keep-alive", out),
            (true, Version::V1_1) => {}
        }
        for (name, value) in &self.fields {
            line(name.as_str(), value, out);
        }
        out.extend_from_slice(b"\r\n");
        let has_body = !circumstances.is_head && !self.status.has_no_body();
        if let (Body::Octets(octets), true) = (&self.body, has_body) {
            out.extend_from_slice(octets);
        }
    }
}

impl From<Refusal> for Response {
    fn from(refusal: Refusal) -> Self {
        let text = match refusal.text {
            Cow::Borrowed(text) => format!("{text}\n"),
            Cow::Owned(text) => text + "\n",
        };
        let mut response = Self::text(refusal.status, text);
        for (name, value) in refusal.fields {
            response = response.field(name, value);
        }
        response.closes = refusal.closes;
        response
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Octets(octets) => write!(f, "Octets({})", octets.len()),
            Self::Stream { octets } => write!(f, "Stream({octets})"),
            Self::Open => f.write_str("Open"),
        }
    }
}

impl Sending {
    /// Appends the next piece of the body.
    pub fn frame(self, piece: &[u8], out: &mut Vec<u8>) {
        match self {
            // An empty chunk would be the last one.
            Self::Chunks if piece.is_empty() => {}
            Self::Chunks => {
                let size = format!("{:x}\r\n", piece.len());
                for part in [size.as_bytes(), piece, b"\r\n"] {
                    out.extend_from_slice(part);
                }
            }
            Self::InReply | Self::Octets(_) | Self::UntilClose => out.extend_from_slice(piece),
        }
    }

    /// Appends what tells the client that the body is complete. A body that was not completed must
    /// end without it.
    pub fn end(self, out: &mut Vec<u8>) {
        if self == Self::Chunks {
            out.extend_from_slice(b"0\r\n\r\n");
        }
    }
}

/// Appends one field. Nothing of its value can end it: a character that is not printable ASCII
/// becomes an underscore.
fn line(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let octet = |c: char| {
        u8::try_from(c)
            .ok()
            .filter(|octet| matches!(octet, b' '..=b'~'))
    };
    out.extend(value.chars().map(|c| octet(c).unwrap_or(b'_')));
    out.extend_from_slice(b"\r\n");
}

fn count(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}
