//! Finds the end of a head in octets that arrive in pieces.
//!
//! Only CRLF ends a line. Other servers and proxies also accept a bare LF, or ignore a bare CR, and
//! where two of them disagree on what a line is, a request can be hidden in another one ("request
//! smuggling"). So nothing is repaired here: the first wrong octet ends the connection.
//!
//! A scan remembers how far it has looked, so that its cost is linear however slowly octets arrive,
//! and finds the same at every split: what it finds is determined by the first octet that is wrong
//! or that completes the head.

use memchr::memchr2;

use super::limits::{HEAD_OCTETS_MAX, REQUEST_LINE_OCTETS_MAX};
use super::refusal::Refusal;
use super::status::Status;

/// A scan for the end of one head.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HeadScan {
    /// How many octets were looked at.
    looked_at: usize,
    /// Where the current line begins.
    line_begin: usize,
    /// Whether the request line is complete.
    has_request_line: bool,
}

impl HeadScan {
    /// Looks at `octets`, which are the same as last time and perhaps more. Returns where the head
    /// ends, behind its empty line; `None` if it has not arrived as a whole.
    ///
    /// One empty line in front of the request line belongs to the head (RFC 9112 §2.2).
    ///
    /// # Errors
    /// A line has another ending, begins with white space, or is missing; or the head is too long.
    /// The connection has to be closed.
    pub(super) fn advance(&mut self, octets: &[u8]) -> Result<Option<usize>, Refusal> {
        if octets.first().is_some_and(|first| !may_begin(*first)) {
            return Err(malformed("This is not an HTTP request"));
        }
        loop {
            let rest = octets.get(self.looked_at..).unwrap_or_default();
            let Some(at) = memchr2(b'\r', b'\n', rest) else {
                self.looked_at = octets.len();
                return self.limit(octets.len(), None);
            };
            let cr = self.looked_at.saturating_add(at);
            let next = cr.saturating_add(1);
            self.looked_at = cr;
            match (octets.get(cr), octets.get(next)) {
                (Some(b'\r'), Some(b'\n')) => {}
                (Some(b'\r'), None) => return self.limit(octets.len(), None),
                _ => {
                    self.limit(next, None)?;
                    return Err(malformed("A line of the head does not end in CRLF"));
                }
            }
            let end = next.saturating_add(1);
            self.limit(end, None)?;
            if let Some(end) = self.line(octets, cr, end)? {
                return Ok(Some(end));
            }
        }
    }

    /// Whether nothing of a request has arrived.
    pub(super) fn is_idle(octets: &[u8]) -> bool {
        octets.is_empty() || b"\r\n".starts_with(octets)
    }

    /// A line ends at `cr`, and with its ending at `end`. Returns `end` if it ends the head.
    fn line(&mut self, octets: &[u8], cr: usize, end: usize) -> Result<Option<usize>, Refusal> {
        let line = octets.get(self.line_begin..cr).unwrap_or_default();
        let is_first = self.line_begin == 0;
        self.looked_at = end;
        self.line_begin = end;
        match (line.first(), self.has_request_line) {
            (None, true) => return Ok(Some(end)),
            (None, false) if is_first => {}
            (None, false) => return Err(malformed("There is no request line")),
            (Some(b' ' | b'\t'), _) => {
                return Err(malformed("A line of the head begins with white space"));
            }
            (Some(_), _) => self.has_request_line = true,
        }
        Ok(None)
    }

    /// Whether a head of which `octets` have arrived, and that is not complete, may go on.
    fn limit(&self, octets: usize, found: Option<usize>) -> Result<Option<usize>, Refusal> {
        let line = octets.saturating_sub(self.line_begin);
        if !self.has_request_line && line > REQUEST_LINE_OCTETS_MAX {
            return Err(Refusal::closing(
                Status::UriTooLong,
                "The request line is too long; send what is long in a body",
            ));
        }
        if octets > HEAD_OCTETS_MAX {
            return Err(Refusal::closing(
                Status::HeaderFieldsTooLarge,
                "The head of the request is too long; perhaps there are too many cookies for this \
                 host",
            ));
        }
        Ok(found)
    }
}

/// Whether a head can begin with this octet: that of a token, or of an empty line.
fn may_begin(octet: u8) -> bool {
    octet == b'\r' || octet == b'\n' || is_token_octet(octet)
}

/// Whether `octet` can be in a token (RFC 9110 §5.6.2).
pub(super) fn is_token_octet(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet)
}

/// The request is not HTTP/1.1; where the next one begins is not known.
pub(super) fn malformed(text: &'static str) -> Refusal {
    Refusal::closing(Status::BadRequest, text)
}
