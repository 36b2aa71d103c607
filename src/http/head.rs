//! The head of a request: its method, target, version and fields (RFC 9112 §2, §3, §5, §6).
//!
//! The scan finds where a head ends, `httparse` splits it, and everything on which two programs
//! could disagree is refused here.
//!
//! # Failures
//! A [`Refusal`] with the status to answer. It always [closes](Refusal::closes) the connection: of
//! a head that was not understood it is not certain where the next one begins.
//!
//! # Attacks handled here
//! Request smuggling: a body has a length in exactly one field of digits, or there is none. Any
//! Transfer-Encoding is refused, whatever it says, because chunked bodies are never needed here.

use super::fields::{Fields, Several};
use super::host::Host;
use super::limits::{BODY_OCTETS_MAX, FIELDS_MAX};
use super::name::Name;
use super::refusal::{METHODS, Refusal};
use super::scan::{HeadScan, malformed};
use super::status::Status;
use super::target::Target;

/// A request without its body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// What to do.
    pub method: Method,
    /// With what.
    pub target: Target,
    /// The version that the client speaks.
    pub version: Version,
    /// Whom the request is meant for; with HTTP/1.0 it may be missing.
    pub host: Option<Host>,
    /// All fields, also those that this type shows in another form.
    pub fields: Fields,
    /// The length of the body in octets, which is at most [`BODY_OCTETS_MAX`].
    pub body_octets: u64,
    /// Whether the client waits for 100 before it sends the body (RFC 9110 §10.1.1).
    pub expects_continue: bool,
    /// Whether the client wants to send another request on this connection (RFC 9112 §9.3).
    pub persists: bool,
}

/// The methods of this server (RFC 9110 §9.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Reads.
    Get,
    /// Reads, and wants to know only the head of the response.
    Head,
    /// Does something.
    Post,
    /// Replaces.
    Put,
    /// Removes.
    Delete,
    /// Asks what is allowed.
    Options,
}

impl Method {
    /// Its name, as it is sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

/// The version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// HTTP/1.0.
    V1_0,
    /// HTTP/1.1.
    V1_1,
}

/// Where a client is, as far as it matters to a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// On this machine, or counts as if it were: HTTP/1.0 may leave out Host.
    Near,
    /// Elsewhere.
    Far,
}

/// How far the head has arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Not as a whole.
    NeedsMore,
    /// As a whole.
    Complete {
        /// The head.
        head: Box<Head>,
        /// Its length; the octets after it are the body, or the next request.
        octets_used: usize,
    },
}

impl Head {
    /// Parses the head at the beginning of `octets`, if it has arrived as a whole.
    ///
    /// # Errors
    /// The head is malformed, too long, or asks for what this server does not do: answer with the
    /// refusal, and close the connection.
    pub fn parse(octets: &[u8], distance: Distance) -> Result<Progress, Refusal> {
        let Some(octets_used) = HeadScan::default().advance(octets)? else {
            return Ok(Progress::NeedsMore);
        };
        let head = octets.get(..octets_used).unwrap_or_default();
        Ok(Progress::Complete {
            head: Box::new(Self::parse_whole(head, distance)?),
            octets_used,
        })
    }

    /// Parses a whole head, which the scan has found.
    ///
    /// # Errors
    /// Like [`Self::parse`].
    pub(super) fn parse_whole(head: &[u8], distance: Distance) -> Result<Self, Refusal> {
        let head = head.strip_prefix(b"\r\n").unwrap_or(head);
        let line_end = memchr::memchr(b'\r', head).unwrap_or_default();
        let version = Version::of_line(head.get(..line_end).unwrap_or_default())?;
        let mut parsed = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut parsed);
        match request.parse(head) {
            Ok(httparse::Status::Complete(octets)) if octets == head.len() => {}
            Err(httparse::Error::TooManyHeaders) => {
                return Err(Refusal::closing(
                    Status::HeaderFieldsTooLarge,
                    "The request has too many fields",
                ));
            }
            Ok(_) | Err(_) => return Err(malformed("The head of the request is malformed")),
        }
        let mut fields = Fields::default();
        for field in request.headers.iter() {
            fields.push(field.name, field.value);
        }
        let target = Target::parse(request.path.unwrap_or_default());
        Ok(Self {
            body_octets: body_octets(&fields)?,
            host: host(&fields, version, distance)?,
            method: Method::parse(request.method.unwrap_or_default())?,
            target: target.map_err(Refusal::and_close)?,
            version,
            expects_continue: expects_continue(&fields, version)?,
            persists: persists(&fields, version),
            fields,
        })
    }
}

impl Method {
    /// Parses a method, which is case-sensitive.
    fn parse(text: &str) -> Result<Self, Refusal> {
        match text {
            "GET" => Ok(Self::Get),
            "HEAD" => Ok(Self::Head),
            "POST" => Ok(Self::Post),
            "PUT" => Ok(Self::Put),
            "DELETE" => Ok(Self::Delete),
            "OPTIONS" => Ok(Self::Options),
            _ => Err(Refusal::closing(
                Status::NotImplemented,
                "This server does not know that method",
            )
            .with(Name::Allow, METHODS)),
        }
    }
}

impl Version {
    /// The version at the end of a request line.
    fn of_line(line: &[u8]) -> Result<Self, Refusal> {
        match line.rsplit(|octet| *octet == b' ').next() {
            Some(b"HTTP/1.1") => Ok(Self::V1_1),
            Some(b"HTTP/1.0") => Ok(Self::V1_0),
            Some([b'H', b'T', b'T', b'P', b'/', major, b'.', minor])
                if major.is_ascii_digit() && minor.is_ascii_digit() =>
            {
                Err(Refusal::closing(
                    Status::VersionNotSupported,
                    "This server speaks HTTP/1.1",
                ))
            }
            _ => Err(malformed("This is not an HTTP/1.1 request")),
        }
    }
}

/// The length of the body (RFC 9112 §6.3).
fn body_octets(fields: &Fields) -> Result<u64, Refusal> {
    let has_encoding = fields.all("transfer-encoding").next().is_some();
    let lengths = fields.single("content-length");
    match (lengths, has_encoding) {
        (Err(Several), _) => Err(malformed("The request has more than one Content-Length")),
        (Ok(Some(_)), true) => Err(malformed(
            "The request has both Content-Length and Transfer-Encoding",
        )),
        (Ok(None), true) => Err(Refusal::closing(
            Status::NotImplemented,
            "Transfer-Encoding is not understood here; send the body with Content-Length",
        )),
        (Ok(None), false) => Ok(0),
        (Ok(Some(length)), false) => {
            let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
            let length = str::from_utf8(length).ok().filter(|_| is_number);
            let length = length.ok_or_else(|| malformed("Content-Length is not a number"))?;
            // What does not fit is too large, too.
            let octets = length.parse().unwrap_or(u64::MAX);
            if octets > BODY_OCTETS_MAX {
                return Err(Refusal::closing(
                    Status::ContentTooLarge,
                    "The body of the request is too large; at most 1 MiB is accepted",
                ));
            }
            Ok(octets)
        }
    }
}

/// The host (RFC 9112 §3.2, RFC 9110 §7.2).
fn host(fields: &Fields, version: Version, distance: Distance) -> Result<Option<Host>, Refusal> {
    let may_lack = version == Version::V1_0 && distance == Distance::Near;
    match fields.single("host") {
        Err(Several) => Err(malformed("The request has more than one Host")),
        Ok(None) if may_lack => Ok(None),
        Ok(None) => Err(malformed("The request has no Host")),
        Ok(Some(value)) => {
            let host = str::from_utf8(value).ok().and_then(Host::parse);
            host.map(Some)
                .ok_or_else(|| malformed("Host is not a host and a port"))
        }
    }
}

/// Whether the client waits for 100; HTTP/1.0 does not know it (RFC 9110 §10.1.1).
fn expects_continue(fields: &Fields, version: Version) -> Result<bool, Refusal> {
    let mut expects = false;
    for expectation in fields.list("expect") {
        if !expectation.eq_ignore_ascii_case(b"100-continue") {
            return Err(Refusal::closing(
                Status::ExpectationFailed,
                "Only the expectation 100-continue is understood here",
            ));
        }
        expects = version == Version::V1_1;
    }
    Ok(expects)
}

/// Whether the connection may stay open (RFC 9112 §9.3).
fn persists(fields: &Fields, version: Version) -> bool {
    let has = |option: &[u8]| {
        fields
            .list("connection")
            .any(|it| it.eq_ignore_ascii_case(option))
    };
    !has(b"close") && (version == Version::V1_1 || has(b"keep-alive"))
}
