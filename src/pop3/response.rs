//! Responses: a status indicator, perhaps a response code, a text, perhaps further lines.
//!
//! A [`Response`] is rendered piece by piece into a buffer of the caller, so the listing of a
//! hundred thousand messages needs no more memory than that of one. Errors of the parser, of the
//! listing and of a SASL exchange become responses here and nowhere else, in one exhaustive match
//! each.
//!
//! Invariants:
//! - A line has at most 512 octets with its CRLF (RFC 1939 §3), printable ASCII only: the texts are
//!   the server's own, so that nothing outside ASCII can reach a client that did not ask for it
//!   (RFC 6856 §2.1). What does not fit is cut, what is not printable becomes `?`.
//! - A text begins with `[` only when that is a response code (RFC 2449 §6.4).
//! - No line of a multi-line response begins with a dot, so none needs dot-stuffing: capabilities
//!   and languages begin with a letter, listings with a digit.
//!
//! Messages are not rendered here: the driver sends their content itself.

use std::{borrow::Cow, vec};

use super::{
    command::SyntaxError,
    limits::RESPONSE_LINE_OCTETS_MAX,
    listing::{Cursor, Listing, NoMessage},
};
use crate::mail::{Summaries, sasl::Fault};

/// Room for a text beside the longest status indicator, the longest response code and CRLF.
const TEXT_OCTETS_MAX: usize = RESPONSE_LINE_OCTETS_MAX - "-ERR [SYS/TEMP] \r\n".len();

/// What stands at the beginning of the first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// `+`: the server waits for a SASL response (RFC 5034 §4).
    Continue,
    Err,
    Ok,
}

/// A response code: RFC 2449 §8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    /// The credentials are wrong (RFC 3206 §5).
    Auth,
    /// Another session has the maildrop (RFC 2449 §8.1.2).
    InUse,
    /// A failure of the system that will not go away by itself (RFC 3206 §4).
    SysPerm,
    /// A failure of the system that may go away (RFC 3206 §4).
    SysTemp,
    /// The message needs UTF-8 mode (RFC 6856 §5).
    Utf8,
}

impl Code {
    fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "[AUTH]",
            Self::InUse => "[IN-USE]",
            Self::SysPerm => "[SYS/PERM]",
            Self::SysTemp => "[SYS/TEMP]",
            Self::Utf8 => "[UTF8]",
        }
    }

    /// The code of a failure of the system.
    pub(super) fn system(transient: bool) -> Self {
        if transient {
            Self::SysTemp
        } else {
            Self::SysPerm
        }
    }
}

/// What a listing says of each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    /// The scan listing: octets.
    Octets,
    /// The unique-id listing.
    UniqueId,
}

/// The first line of a response.
#[derive(Clone, Debug)]
struct FirstLine {
    status: Status,
    code: Option<Code>,
    text: Cow<'static, str>,
}

impl FirstLine {
    fn render(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self.status {
            // The space stays when nothing follows: RFC 5034 §4 has it in an empty challenge.
            Status::Continue => b"+ ",
            Status::Err => b"-ERR",
            Status::Ok => b"+OK",
        });
        if let Some(code) = self.code {
            out.push(b' ');
            out.extend_from_slice(code.as_str().as_bytes());
        }
        if !self.text.is_empty() {
            if self.status != Status::Continue {
                out.push(b' ');
            }
            out.extend_from_slice(self.text.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The lines after the first one.
#[derive(Clone, Debug)]
enum Body {
    /// A single-line response, or one that is rendered to its end.
    None,
    Lines(vec::IntoIter<Cow<'static, str>>),
    Listing(Cursor, Column),
}

/// One response, and how far it has been rendered.
#[derive(Clone, Debug)]
pub struct Response {
    first_line: Option<FirstLine>,
    body: Body,
}

impl Response {
    /// `-ERR [SYS/TEMP] text`: what a driver says when there is no session to say it.
    pub fn unavailable(text: &'static str) -> Self {
        Self::err_with(Code::SysTemp, text)
    }

    /// Whether the status indicator is not `-ERR`.
    pub fn is_positive(&self) -> bool {
        self.first_line
            .as_ref()
            .is_none_or(|line| line.status != Status::Err)
    }

    /// The response code, if there is one, and the text, where it refuses something.
    pub fn refusal(&self) -> Option<(Option<&'static str>, &str)> {
        let line = self.first_line.as_ref()?;
        let is_refusal = line.status == Status::Err;
        is_refusal.then(|| (line.code.map(Code::as_str), line.text.as_ref()))
    }

    /// Whether it is a challenge of a SASL exchange. One of SCRAM is enough to try passwords
    /// against, together with what else is in the log.
    pub fn is_challenge(&self) -> bool {
        let line = self.first_line.as_ref();
        line.is_some_and(|line| line.status == Status::Continue)
    }

    /// `+OK text`.
    pub(super) fn ok(text: impl Into<Cow<'static, str>>) -> Self {
        Self::single(Status::Ok, None, text.into())
    }

    /// `-ERR text`.
    pub(super) fn err(text: impl Into<Cow<'static, str>>) -> Self {
        Self::single(Status::Err, None, text.into())
    }

    /// `-ERR [code] text`.
    pub(super) fn err_with(code: Code, text: &'static str) -> Self {
        Self::single(Status::Err, Some(code), text.into())
    }

    /// `+ base64`, a challenge of a SASL exchange. It is printable and fits a line, and is never
    /// cut: half of it would be another.
    pub(super) fn challenge(base64: String) -> Self {
        let first_line = FirstLine {
            status: Status::Continue,
            code: None,
            text: base64.into(),
        };
        Self {
            first_line: Some(first_line),
            body: Body::None,
        }
    }

    /// `+OK text`, the `lines`, and the final dot.
    pub(super) fn lines<Line: Into<Cow<'static, str>>>(
        text: &'static str,
        lines: impl IntoIterator<Item = Line>,
    ) -> Self {
        let lines: Vec<_> = lines
            .into_iter()
            .map(|line| printable(line.into()))
            .collect();
        Self {
            body: Body::Lines(lines.into_iter()),
            ..Self::ok(text)
        }
    }

    /// `+OK text`, one line for each visible message of `listing`, and the final dot.
    pub(super) fn listing(
        text: impl Into<Cow<'static, str>>,
        listing: &Listing,
        column: Column,
    ) -> Self {
        Self {
            body: Body::Listing(listing.cursor(), column),
            ..Self::ok(text)
        }
    }

    fn single(status: Status, code: Option<Code>, text: Cow<'static, str>) -> Self {
        let first_line = FirstLine {
            status,
            code,
            text: printable(text),
        };
        Self {
            first_line: Some(first_line),
            body: Body::None,
        }
    }

    /// Appends the next lines to `out`; returns whether the response is complete.
    ///
    /// Whole lines only, with CRLF, a multi-line response to its final dot. At least one line is
    /// appended; a further one only while `out`, with what it held before, is sure not to grow
    /// beyond `octets_max`. On `false` the caller empties `out` and calls again; a complete
    /// response appends nothing more.
    pub fn render(&mut self, out: &mut Vec<u8>, octets_max: usize) -> bool {
        let last_start = octets_max.saturating_sub(RESPONSE_LINE_OCTETS_MAX);
        loop {
            if self.render_line(out) {
                return true;
            }
            if out.len() > last_start {
                return false;
            }
        }
    }

    /// Appends one line; returns whether it was the last one.
    fn render_line(&mut self, out: &mut Vec<u8>) -> bool {
        if let Some(first_line) = self.first_line.take() {
            first_line.render(out);
            return matches!(self.body, Body::None);
        }
        match &mut self.body {
            Body::None => return true,
            Body::Lines(lines) => {
                if let Some(line) = lines.next() {
                    out.extend_from_slice(line.as_bytes());
                    out.extend_from_slice(b"\r\n");
                    return false;
                }
            }
            Body::Listing(cursor, column) => {
                if let Some(number) = cursor.next() {
                    // The number of a thing in memory fits 64 bits.
                    push_decimal(out, u64::try_from(number.get()).unwrap_or(u64::MAX));
                    out.push(b' ');
                    push_column(out, cursor.messages(), number.position(), *column);
                    out.extend_from_slice(b"\r\n");
                    return false;
                }
            }
        }
        out.extend_from_slice(b".\r\n");
        self.body = Body::None;
        true
    }
}

impl From<SyntaxError> for Response {
    fn from(error: SyntaxError) -> Self {
        Self::err(match error {
            SyntaxError::Arguments(verb) => verb.usage(),
            SyntaxError::ControlCharacter => "Control character in command",
            SyntaxError::Empty => "Empty line, send a command",
            SyntaxError::Encoding => "Command is not UTF-8",
            SyntaxError::LineCount => "Number of lines must be decimal digits",
            SyntaxError::LineTooLong => "Line too long",
            SyntaxError::MessageNumber => {
                "Message-numbers are decimal digits and begin at 1, LIST shows them"
            }
            SyntaxError::UnknownCommand => "Unknown command, CAPA shows what is available",
        })
    }
}

impl From<Fault> for Response {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Base64 => Self::err("Response is not base64"),
            Fault::Cancelled => Self::err("Authentication cancelled"),
            // Another password would not help, so there is no [AUTH].
            Fault::ChannelBinding => {
                Self::err("Authentication failed: it is not bound to this connection")
            }
            Fault::Downgrade => Self::err(
                "Authentication failed: somebody hides SCRAM-SHA-256-PLUS from the client",
            ),
            Fault::Message => Self::err("Response is not what this mechanism asks for"),
            Fault::OtherIdentity => {
                Self::err_with(Code::Auth, "Nobody can act for another user here")
            }
            Fault::Unavailable => Self::err_with(
                Code::SysTemp,
                "Password cannot be checked now, try again later",
            ),
        }
    }
}

impl From<NoMessage> for Response {
    fn from(reason: NoMessage) -> Self {
        match reason {
            NoMessage::Absent { messages: 0 } => Self::err("No such message, maildrop is empty"),
            NoMessage::Absent { messages: 1 } => {
                Self::err("No such message, only 1 message in maildrop")
            }
            NoMessage::Absent { messages } => Self::err(format!(
                "No such message, only {messages} messages in maildrop"
            )),
            NoMessage::Marked(number) => Self::err(format!(
                "Message {number} is marked as deleted, RSET unmarks it"
            )),
        }
    }
}

/// Appends what `column` says of the message at `position`, which exists.
fn push_column(out: &mut Vec<u8>, messages: &dyn Summaries, position: usize, column: Column) {
    match column {
        Column::Octets => push_decimal(out, messages.octets(position).unwrap_or_default()),
        Column::UniqueId => {
            if let Some(unique_id) = messages.unique_id(position) {
                out.extend_from_slice(unique_id.as_str().as_bytes());
            }
        }
    }
}

/// Appends `number` in decimal without allocating; recurs once for each of at most 20 digits.
fn push_decimal(out: &mut Vec<u8>, number: u64) {
    if number >= 10 {
        push_decimal(out, number / 10);
    }
    // A digit always fits an octet.
    out.push(b'0'.saturating_add(u8::try_from(number % 10).unwrap_or_default()));
}

/// Makes `text` fit for a response line; a text that fits, as nearly all do, is left as it is.
fn printable(text: Cow<'static, str>) -> Cow<'static, str> {
    let fits = |character: char| matches!(character, ' '..='~');
    if text.len() <= TEXT_OCTETS_MAX && text.chars().all(fits) {
        return text;
    }
    let replaced = text
        .chars()
        .map(|character| if fits(character) { character } else { '?' });
    Cow::Owned(replaced.take(TEXT_OCTETS_MAX).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        mail::{MessageSummary, UniqueId},
        pop3::{Verb, listing::MessageNumber},
    };

    fn rendered(mut response: Response, octets_max: usize) -> String {
        let mut sent = Vec::new();
        loop {
            let mut piece = Vec::new();
            let complete = response.render(&mut piece, octets_max);
            assert!(
                !piece.is_empty(),
                "a call without progress after {} octets",
                sent.len()
            );
            assert!(piece.ends_with(b"\r\n"));
            sent.extend_from_slice(&piece);
            if complete {
                return String::from_utf8(sent).unwrap();
            }
        }
    }

    #[track_caller]
    fn check(response: &Response, expected: &str) {
        for octets_max in [0, 1, 513, 1_024, usize::MAX] {
            assert_eq!(rendered(response.clone(), octets_max), expected);
        }
    }

    fn listing(messages: usize) -> Listing {
        let summary = |number: usize| MessageSummary {
            octets: u64::try_from(number).unwrap().saturating_mul(100),
            unique_id: UniqueId::parse(format!("{}{number}", "u".repeat(60))).unwrap(),
        };
        let messages: Vec<MessageSummary> = (1..=messages).map(summary).collect();
        Listing::new(std::sync::Arc::new(messages))
    }

    #[test]
    fn responses_have_a_status_a_code_and_a_text() {
        check(&Response::ok(""), "+OK\r\n");
        check(&Response::ok("2 320"), "+OK 2 320\r\n");
        check(&Response::err("Usage: NOOP"), "-ERR Usage: NOOP\r\n");
        check(
            &Response::err_with(Code::InUse, "Busy"),
            "-ERR [IN-USE] Busy\r\n",
        );
        check(
            &Response::err_with(Code::system(true), "x"),
            "-ERR [SYS/TEMP] x\r\n",
        );
        check(
            &Response::err_with(Code::system(false), "x"),
            "-ERR [SYS/PERM] x\r\n",
        );
        check(&Response::challenge(String::new()), "+ \r\n");
        check(
            &Response::challenge("VXNlcm5hbWU6".to_owned()),
            "+ VXNlcm5hbWU6\r\n",
        );
    }

    #[test]
    fn a_multi_line_response_ends_in_a_dot() {
        check(
            &Response::lines("Two", ["one", "two"]),
            "+OK Two\r\none\r\ntwo\r\n.\r\n",
        );
        check(&Response::lines::<&str>("None", []), "+OK None\r\n.\r\n");
        check(
            &Response::listing("None", &listing(0), Column::Octets),
            "+OK None\r\n.\r\n",
        );
    }

    #[test]
    fn a_listing_shows_what_is_not_marked() {
        let mut listing = listing(3);
        listing.mark(MessageNumber::at(1)).unwrap();
        check(
            &Response::listing("x", &listing, Column::Octets),
            "+OK x\r\n1 100\r\n3 300\r\n.\r\n",
        );
        let u = "u".repeat(60);
        check(
            &Response::listing("x", &listing, Column::UniqueId),
            &format!("+OK x\r\n1 {u}1\r\n3 {u}3\r\n.\r\n"),
        );
    }

    #[test]
    fn a_text_is_cut_and_made_printable() {
        let cut = rendered(Response::err("y".repeat(600)), 0);
        assert!(cut.len() <= RESPONSE_LINE_OCTETS_MAX && cut.ends_with("yy\r\n"));
        check(
            &Response::ok("a\r\n.\r\nb\0é".to_owned()),
            "+OK a??.??b??\r\n",
        );
    }

    #[test]
    fn every_syntax_error_has_a_text_of_one_line() {
        for error in [
            SyntaxError::Arguments(Verb::Top),
            SyntaxError::ControlCharacter,
            SyntaxError::Empty,
            SyntaxError::Encoding,
            SyntaxError::LineCount,
            SyntaxError::LineTooLong,
            SyntaxError::MessageNumber,
            SyntaxError::UnknownCommand,
        ] {
            let line = rendered(error.into(), 0);
            assert!(
                line.starts_with("-ERR ") && !line.starts_with("-ERR ["),
                "{line}"
            );
            assert!(!line.contains('?'), "{line}");
        }
    }

    #[test]
    fn a_hundred_thousand_messages_are_listed_in_a_small_buffer() {
        const BUFFER_OCTETS: usize = 8_192;
        let listing = listing(100_000);
        for column in [Column::Octets, Column::UniqueId] {
            let mut response = Response::listing("x", &listing, column);
            let mut out = Vec::with_capacity(BUFFER_OCTETS);
            let mut lines = 0_usize;
            loop {
                out.clear();
                let complete = response.render(&mut out, BUFFER_OCTETS);
                assert_eq!(out.capacity(), BUFFER_OCTETS, "the buffer was made larger");
                assert!(complete || out.len() > BUFFER_OCTETS - RESPONSE_LINE_OCTETS_MAX);
                lines = lines.saturating_add(out.split_inclusive(|octet| *octet == b'\n').count());
                if complete {
                    break;
                }
            }
            assert_eq!(lines, 100_002);
            assert!(
                response.render(&mut out, 0),
                "complete once, complete for ever"
            );
        }
    }

    #[test]
    fn what_the_buffer_held_before_counts() {
        let mut out = vec![b'x'; 10_000];
        let mut response = Response::lines("Two", ["one", "two"]);
        assert!(!response.render(&mut out, 8_192));
        assert_eq!(&out[10_000..], b"+OK Two\r\n");
    }
}
