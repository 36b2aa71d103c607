//! Responses: a status indicator, an optional response code, a text, and optional further lines.
//!
//! A [`Response`] is rendered piece by piece into a buffer of the caller, so the listing of a
//! hundred thousand messages needs no more memory than that of one. Errors of the parser, of the
//! listing and of a SASL exchange become responses only here, each in one exhaustive match.
//!
//! Invariants:
//! - A line has at most 512 octets with its CRLF (RFC 1939 §3), all printable ASCII: the texts are
//!   the server's own, so that nothing outside ASCII can reach a client that did not ask for it
//!   (RFC 6856 §2.1). A text that is too long is cut, and an octet that is not printable becomes
//!   `?`.
//! - A text begins with `[` only if that is a response code (RFC 2449 §6.4).
//! - No line of a multi-line response begins with a dot, so none needs dot-stuffing: capabilities
//!   and languages begin with a letter, listings with a digit.
//!
//! Messages are not rendered here: the driver sends their content.

use std::borrow::Cow;
use std::{fmt, vec};

use super::command::SyntaxError;
use super::limits::RESPONSE_LINE_OCTETS_MAX;
use super::listing::{Cursor, DropListing, Listing, MessageNumber, NoMessage};
use crate::mail::sasl::{self, Fault, Mechanism};
use crate::mail::{Ending, Summaries};

pub(super) const GREETING: Response = ok("facteur POP3 server ready");
pub(super) const NOOP: Response = ok("");
pub(super) const HELP_BEFORE_LOGIN: Response =
    ok("USER name and PASS password, or AUTH mechanism; STLS, CAPA, QUIT");
pub(super) const HELP_AFTER_LOGIN: Response = ok(
    "STAT, LIST [n], RETR n, TOP n lines, UIDL [n], DELE n, RSET, NOOP, CAPA, QUIT; \
     only QUIT removes what is marked",
);

pub(super) const LOG_IN_FIRST: Response = err("Log in first, with USER and PASS or AUTH");
pub(super) const LOGGED_IN_ALREADY: Response =
    err("You are already logged in; QUIT ends the session");
pub(super) const BEFORE_LOGIN_ONLY: Response = err("Permitted only before login");

pub(super) const SEND_PASSWORD: Response = ok("Send your password with PASS");
pub(super) const USER_FIRST: Response = err("Send USER right before PASS");
pub(super) const APOP_NOT_OFFERED: Response =
    err("APOP is not available; use USER and PASS or AUTH");
pub(super) const AUTH_MECHANISM: Response =
    err("Mechanism is not offered; CAPA lists those that are");
pub(super) const LOGIN_NEEDS_TLS: Response = err("Encryption is required; send STLS first");
pub(super) const LOGIN_NOT_OFFERED: Response = err("Passwords are not accepted without encryption");
pub(super) const LOGIN_REFUSED: Response = err_with(Code::Auth, "Wrong user name or password");
pub(super) const MAILBOX_AMBIGUOUS: Response = err_with(
    Code::Auth,
    "Use your full address as user name, such as name@example.com",
);
pub(super) const MAILDROP_IN_USE: Response = err_with(
    Code::InUse,
    "Maildrop is in use by another session; try again when it has ended",
);

pub(super) const READY_FOR_TLS: Response = ok("Begin TLS negotiation");
pub(super) const TLS_ALREADY: Response = err("TLS is already active");
pub(super) const NO_TLS: Response = err("TLS is not available");
pub(super) const NO_TLS_AFTER_UTF8: Response = err("STLS is not permitted after UTF8");

pub(super) const UTF8_ENABLED: Response = ok("UTF-8 mode enabled");
pub(super) const UTF8_NOT_OFFERED: Response =
    err("UTF8 is not offered; messages are sent as received");
pub(super) const LANG_ENGLISH: Response = ok("en Language is English");
pub(super) const LANG_DEFAULT: Response = ok("i-default Language is English");
pub(super) const LANG_UNKNOWN: Response = err("No such language; LANG shows what is available");

pub(super) const TOP_FOLLOWS: Response = ok("Top of message follows");
pub(super) const NEEDS_UTF8: Response = err_with(
    Code::Utf8,
    "Message needs UTF-8 mode; send UTF8 before you log in",
);
pub(super) const MESSAGE_GONE: Response = err_with(
    Code::SysPerm,
    "Message was removed by another program; connect again for a new listing",
);
pub(super) const REMOVE_FAILED: Response = err_with(
    Code::SysTemp,
    "Some deleted messages were not removed; connect again and delete them again",
);

pub(super) const TOO_MANY_ERRORS: Response = err("Too many errors; closing connection");
pub(super) const LINE_ENDING: Response =
    err("Bare CR or bare LF; end every line with CRLF; closing connection");
pub(super) const NOT_POP3: Response = err("This is a POP3 server; closing connection");
pub(super) const SESSION_TIMEOUT: Response = err_with(
    Code::SysTemp,
    "Session has lasted too long; nothing was removed; connect again",
);
pub(super) const SHUTTING_DOWN: Response = err_with(
    Code::SysTemp,
    "Server is shutting down; nothing was removed; connect again later",
);
pub(super) const DISPLACED: Response = err_with(
    Code::SysTemp,
    "Too many connections from your network; nothing was removed; connect again later",
);
pub(super) const NOT_OPEN: Response = err_with(
    Code::SysPerm,
    "This server is no longer open to your network; nothing was removed",
);
/// RFC 3206 §5 has the code for failed authentication commands. It fits here because the login
/// becomes invalid, and clients ask for the new password.
pub(super) const REVOKED: Response = err_with(
    Code::Auth,
    "The account was removed or its password changed; no mail was removed; log in again",
);
pub(super) const MAILDROP_LOST: Response = err_with(
    Code::SysTemp,
    "Another session may have the maildrop by now; nothing was removed; log in again",
);
pub(super) const OUT_OF_STEP: Response =
    err_with(Code::SysTemp, "Internal error; closing connection");

/// The capabilities that CAPA always lists (RFC 2449 §6, RFC 3206 §6, RFC 6856 §2 and §3).
/// Capabilities of either state are listed in both: clients ask once (RFC 2449 §5). UTF8 follows
/// them if it is announced.
const CAPABILITIES: &[&str] = &[
    "TOP",
    "UIDL",
    "RESP-CODES",
    "AUTH-RESP-CODE",
    "PIPELINING",
    "EXPIRE NEVER",
    "LANG",
    "IMPLEMENTATION facteur",
];

/// The languages that LANG lists: English, which i-default also means (RFC 6856 §3.2,
/// RFC 2277 §4.5).
const LANGUAGES: &[&str] = &["en English", "i-default Default language"];

const fn ok(text: &'static str) -> Response {
    Response::fixed(Status::Ok, None, text)
}

const fn err(text: &'static str) -> Response {
    Response::fixed(Status::Err, None, text)
}

const fn err_with(code: Code, text: &'static str) -> Response {
    Response::fixed(Status::Err, Some(code), text)
}

/// Room for a text in a line with the longest status indicator, the longest response code and CRLF.
const TEXT_OCTETS_MAX: usize = RESPONSE_LINE_OCTETS_MAX - "-ERR [SYS/TEMP] \r\n".len();

/// The beginning of the first line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Status {
    /// `+`: the server waits for a SASL response (RFC 5034 §4).
    Continue,
    Err,
    Ok,
}

impl Status {
    fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "+",
            Self::Err => "-ERR",
            Self::Ok => "+OK",
        }
    }
}

/// A response code: RFC 2449 §8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Code {
    /// The credentials are wrong (RFC 3206 §5).
    Auth,
    /// Another session has the maildrop (RFC 2449 §8.1.2).
    InUse,
    /// A system failure that will not go away by itself (RFC 3206 §4).
    SysPerm,
    /// A system failure that might go away (RFC 3206 §4).
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

    /// The code of a system failure.
    fn system(transient: bool) -> Self {
        if transient {
            Self::SysTemp
        } else {
            Self::SysPerm
        }
    }
}

/// What a listing shows of each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Column {
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
        out.extend_from_slice(self.status.as_str().as_bytes());
        if let Some(code) = self.code {
            out.push(b' ');
            out.extend_from_slice(code.as_str().as_bytes());
        }
        // The space stays if nothing follows: RFC 5034 §4 has it in an empty challenge.
        if !self.text.is_empty() || self.status == Status::Continue {
            out.push(b' ');
            out.extend_from_slice(self.text.as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// The lines after the first one.
#[derive(Clone, Debug)]
enum Body {
    /// A single-line response, or one that is completely rendered.
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
    /// `-ERR [SYS/TEMP] text`, or `[SYS/PERM]` if trying again later does not help: the response of
    /// a driver that has no session.
    pub fn unavailable(text: &'static str, is_lasting: bool) -> Self {
        let code = if is_lasting {
            Code::SysPerm
        } else {
            Code::SysTemp
        };
        err_with(code, text)
    }

    /// What is said last when the session has to end: nothing at an autologout, where it could be
    /// taken for the response to the next command (RFC 1939 §3).
    pub(super) fn ended(ending: Ending) -> Option<Self> {
        match ending {
            Ending::IdleTimeout | Ending::TooSlow => None,
            Ending::SessionTimeout => Some(SESSION_TIMEOUT),
            Ending::ShuttingDown => Some(SHUTTING_DOWN),
            Ending::Displaced => Some(DISPLACED),
            Ending::NotOpen => Some(NOT_OPEN),
            Ending::Revoked => Some(REVOKED),
            Ending::MaildropLost => Some(MAILDROP_LOST),
        }
    }

    /// The status indicator, until it is rendered.
    pub fn status(&self) -> &'static str {
        let line = self.first_line.as_ref();
        line.map_or("", |line| line.status.as_str())
    }

    /// The response code, if there is one, and the text, if the response refuses something.
    pub fn refusal(&self) -> Option<(Option<&'static str>, &str)> {
        let line = self.first_line.as_ref()?;
        let is_refusal = line.status == Status::Err;
        is_refusal.then(|| (line.code.map(Code::as_str), line.text.as_ref()))
    }

    /// Whether it is a challenge of a SASL exchange. A SCRAM challenge, together with the rest of
    /// the log, is enough to guess passwords offline.
    pub fn is_challenge(&self) -> bool {
        let line = self.first_line.as_ref();
        line.is_some_and(|line| line.status == Status::Continue)
    }

    /// The end of a session before login.
    pub(super) fn goodbye(hostname: &str) -> Self {
        Self::ok(format!("{hostname} POP3 server signing off"))
    }

    /// The end of a session that leaves this many messages in the maildrop.
    pub(super) fn goodbye_from_maildrop(hostname: &str, left: usize) -> Self {
        let remainder = match left {
            0 => "maildrop empty".to_owned(),
            1 => "1 message left".to_owned(),
            _ => format!("{left} messages left"),
        };
        Self::ok(format!("{hostname} POP3 server signing off ({remainder})"))
    }

    /// The answer to CAPA: STLS if it is permitted (RFC 2595 §4), USER and SASL (RFC 5034 §3) only
    /// if passwords are accepted.
    pub(super) fn capabilities(stls: bool, mechanisms: &[Mechanism], utf8: bool) -> Self {
        let mut lines: Vec<Cow<'static, str>> = Vec::new();
        if stls {
            lines.push("STLS".into());
        }
        if !mechanisms.is_empty() {
            lines.push("USER".into());
            // Without `format!`, which would use more stack than most sessions do (NET-1).
            lines.push(["SASL", &sasl::names(mechanisms)].concat().into());
        }
        lines.extend(CAPABILITIES.iter().copied().map(Cow::Borrowed));
        if utf8 {
            lines.push("UTF8".into());
        }
        Self::lines("Capability list follows", lines)
    }

    /// The answer to LANG.
    pub(super) fn languages() -> Self {
        Self::lines("Language listing follows", LANGUAGES.iter().copied())
    }

    /// The maildrop cannot be opened.
    pub(super) fn maildrop_failed(transient: bool) -> Self {
        let text = if transient {
            "Maildrop cannot be opened now, try again later"
        } else {
            "Maildrop cannot be opened, ask the administrator of this server"
        };
        err_with(Code::system(transient), text)
    }

    /// A message cannot be read.
    pub(super) fn message_failed(transient: bool) -> Self {
        let text = if transient {
            "Message cannot be read now, try again later"
        } else {
            "Message cannot be read, ask the administrator of this server"
        };
        err_with(Code::system(transient), text)
    }

    /// The contents of the maildrop, in words.
    pub(super) fn maildrop(visible: DropListing) -> Self {
        Self::ok(format!("Maildrop has {visible}"))
    }

    /// The same in numbers: the answer to STAT.
    pub(super) fn drop_listing(visible: DropListing) -> Self {
        Self::ok(format!("{} {}", visible.messages, visible.octets))
    }

    /// The answer to DELE.
    pub(super) fn marked(number: MessageNumber) -> Self {
        Self::ok(format!("Message {number} marked as deleted"))
    }

    /// The octets of the message that follows.
    pub(super) fn content_follows(octets: u64) -> Self {
        Self::ok(format!("{octets} octets"))
    }

    /// The answer to LIST or UIDL for one message.
    pub(super) fn message(number: MessageNumber, column: impl fmt::Display) -> Self {
        Self::ok(format!("{number} {column}"))
    }

    /// The answer to LIST for all messages.
    pub(super) fn scan_listing(listing: &Listing) -> Self {
        let text = listing.visible().to_string();
        Self::listing(text, listing, Column::Octets)
    }

    /// The answer to UIDL for all messages.
    pub(super) fn unique_id_listing(listing: &Listing) -> Self {
        Self::listing("Unique-id listing follows", listing, Column::UniqueId)
    }

    /// A response of one line with a text that is printable and fits.
    const fn fixed(status: Status, code: Option<Code>, text: &'static str) -> Self {
        let first_line = FirstLine {
            status,
            code,
            text: Cow::Borrowed(text),
        };
        Self {
            first_line: Some(first_line),
            body: Body::None,
        }
    }

    /// The response to a client that speaks HTTP, which has a port of its own.
    pub(super) fn http_is_at(port: u16) -> Self {
        let text = format!("This port speaks POP3; HTTP is at port {port}; closing connection");
        Self::single(Status::Err, None, text.into())
    }

    /// `+OK text`.
    fn ok(text: impl Into<Cow<'static, str>>) -> Self {
        Self::single(Status::Ok, None, text.into())
    }

    /// `-ERR text`.
    fn err(text: impl Into<Cow<'static, str>>) -> Self {
        Self::single(Status::Err, None, text.into())
    }

    /// `+ base64`, a challenge of a SASL exchange. It is printable and fits into a line. It is
    /// never cut, because half of it would be a different challenge.
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
    fn lines<Line: Into<Cow<'static, str>>>(
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
    fn listing(text: impl Into<Cow<'static, str>>, listing: &Listing, column: Column) -> Self {
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
    /// Only whole lines are appended, with CRLF; a multi-line response ends with its final dot. At
    /// least one line is appended, and further lines only while `out`, including its earlier
    /// contents, cannot grow beyond `octets_max`. On `false` the caller empties `out` and calls
    /// again; a complete response appends nothing more.
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
                    // The number of something in memory fits 64 bits.
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
            SyntaxError::Arguments { usage } => usage,
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
            Fault::Downgrade => {
                Self::err("Authentication failed: SCRAM-SHA-256-PLUS was hidden from the client")
            }
            Fault::Message => Self::err("Response is not valid for this mechanism"),
            Fault::OtherIdentity => err_with(Code::Auth, "Users cannot act for other users here"),
            Fault::Unavailable => err_with(
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

/// Appends the `column` of the message at `position`, which exists.
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

/// Appends `number` in decimal without allocating; recurses once for each of at most 20 digits.
fn push_decimal(out: &mut Vec<u8>, number: u64) {
    if number >= 10 {
        push_decimal(out, number / 10);
    }
    // A digit always fits an octet.
    out.push(b'0'.saturating_add(u8::try_from(number % 10).unwrap_or_default()));
}

/// Makes `text` fit into a response line; a text that fits already, as almost all do, is not
/// changed.
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
    use crate::mail::{MessageSummary, UniqueId};

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
        check(&err_with(Code::InUse, "Busy"), "-ERR [IN-USE] Busy\r\n");
        check(&err_with(Code::system(true), "x"), "-ERR [SYS/TEMP] x\r\n");
        check(&err_with(Code::system(false), "x"), "-ERR [SYS/PERM] x\r\n");
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
    fn a_text_is_truncated_and_made_printable() {
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
            SyntaxError::Arguments {
                usage: "Usage: TOP message-number lines",
            },
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
                "once complete, always complete"
            );
        }
    }

    #[test]
    fn the_earlier_contents_of_the_buffer_count() {
        let mut out = vec![b'x'; 10_000];
        let mut response = Response::lines("Two", ["one", "two"]);
        assert!(!response.render(&mut out, 8_192));
        assert_eq!(&out[10_000..], b"+OK Two\r\n");
    }
}
