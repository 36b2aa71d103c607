//! The mail log: one function for each event, so that all lines of a kind look alike.
//!
//! Each function describes its event once, as a name and fields. A text log shows the protocol and
//! the number of the session (`smtp-17`), the name, the fields as `key=value`, and last, after a
//! colon, the reason. A JSON log gets the same fields under the same names. Users rely on these
//! names.
//!
//! Text from the network is cut here, and escaped by the format that shows it (SEC-7); secrets
//! never reach this module. Nothing is formatted unless the log wants it.

use std::fmt::{self, Write};
use std::net::IpAddr;

use log::Level;
use log::kv::{self, Key, Source, VisitSource};

use crate::mail::{MailboxName, Service};

use super::intake::Delivered;
use super::limits::{DIALOGUE_OCTETS_MAX, TEXT_OCTETS_MAX};
use super::session::{SessionEnd, SessionId};
use super::with_sources::WithSources;

/// Why a login was refused. It gives no further detail (SEC-11).
pub(super) const WRONG_PASSWORD: &str = "wrong user name or password";

/// Why a login was refused without verifying its password.
pub(super) const BUSY: &str = "too many passwords are being verified, or there is no memory";

/// Why a login was refused without being checked.
pub(super) const TOO_MANY_DELAYED: &str =
    "too many refused logins from this address or network are already being delayed";

/// Text from a client. In a text log, control characters, quotes, backslashes and everything that
/// is not ASCII are escaped. Text over the limit is cut, at the same place in a text and in a
/// field.
#[derive(Clone, Copy)]
struct Theirs<'a>(&'a dyn fmt::Display);

impl Theirs<'_> {
    /// Appends it to `out`; true if it was cut.
    fn cut(self, escapes: Escapes, out: &mut dyn Write) -> Result<bool, fmt::Error> {
        let mut cut = Cut {
            out,
            escapes,
            room: Some(TEXT_OCTETS_MAX),
        };
        write!(cut, "{}", self.0)?;
        Ok(cut.room.is_none())
    }
}

/// The value of a field: unescaped, because the format has to escape it.
impl fmt::Display for Theirs<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.cut(Escapes::Nothing, f)? {
            f.write_char('…')?;
        }
        Ok(())
    }
}

/// Which characters of a text are escaped.
#[derive(Clone, Copy)]
enum Escapes {
    /// None: the format has its own rules.
    Nothing,
    /// Those that could control a terminal, and the backslash that escapes.
    Unprintable,
    /// Also quotes.
    Quoted,
}

impl Escapes {
    fn spares(self, character: char) -> bool {
        match self {
            Self::Nothing => true,
            Self::Unprintable => matches!(character, ' '..='~') && character != '\\',
            Self::Quoted => false,
        }
    }
}

/// Passes on as much as there is room for.
struct Cut<'a> {
    out: &'a mut dyn Write,
    escapes: Escapes,
    /// `None` once something did not fit.
    room: Option<usize>,
}

impl Write for Cut<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Most text needs no escape, and is passed on in one piece.
        if let Some(room) = self.room.and_then(|room| room.checked_sub(text.len()))
            && text.bytes().all(stays_as_it_is)
        {
            self.room = Some(room);
            return self.out.write_str(text);
        }
        for character in text.chars() {
            let escaped = character.escape_default();
            self.room = self.room.and_then(|room| room.checked_sub(escaped.len()));
            if self.room.is_none() {
                return Ok(());
            }
            if self.escapes.spares(character) {
                self.out.write_char(character)?;
            } else {
                write!(self.out, "{escaped}")?;
            }
        }
        Ok(())
    }
}

/// Whether [`char::escape_default`] leaves `octet` unchanged.
fn stays_as_it_is(octet: u8) -> bool {
    matches!(octet, b' '..=b'~') && !matches!(octet, b'\'' | b'"' | b'\\')
}

/// The value of a field.
#[derive(Clone, Copy)]
enum Value<'a> {
    /// A word of facteur's own.
    Ours(&'a dyn fmt::Display),
    /// Text from a client.
    Theirs(Theirs<'a>),
    /// The same, if there is any.
    Perhaps(Option<Theirs<'a>>),
    /// A number.
    Count(u64),
    /// The number of similar lines that were not written before this one, if any.
    Unlogged(u64),
    /// The total number of items, of which the previous field shows the first.
    InAll(u64),
}

impl<'a> Value<'a> {
    fn theirs(text: &'a dyn fmt::Display) -> Self {
        Self::Theirs(Theirs(text))
    }

    fn mailbox(mailbox: Option<&'a MailboxName>) -> Self {
        Self::Perhaps(mailbox.map(|mailbox| Theirs(mailbox)))
    }
}

fn count(things: usize) -> u64 {
    u64::try_from(things).unwrap_or(u64::MAX)
}

/// The subject of an event.
#[derive(Clone, Copy)]
enum Subject {
    Session(SessionId),
    Service(Service),
}

/// Room for the text of most events.
const EVENT_OCTETS: usize = 256;

/// One event. It displays itself as text, and passes its fields to formats with a place for them.
struct Notice<'a> {
    subject: Subject,
    name: &'static str,
    fields: &'a [(&'static str, Value<'a>)],
    /// The last field, which a text shows after a colon.
    reason: Option<&'a dyn fmt::Display>,
}

impl Notice<'_> {
    fn write_to(&self, f: &mut dyn Write) -> fmt::Result {
        match self.subject {
            Subject::Session(id) => write!(f, "{id} {}", self.name)?,
            Subject::Service(service) => write!(f, "{service} {}", self.name)?,
        }
        for (name, value) in self.fields {
            match value {
                Value::Ours(word) => write!(f, " {name}={word}")?,
                Value::Theirs(text) | Value::Perhaps(Some(text)) => {
                    write!(f, " {name}=\"")?;
                    let is_cut = text.cut(Escapes::Quoted, f)?;
                    f.write_str(if is_cut { "\"…" } else { "\"" })?;
                }
                Value::InAll(0 | 1) | Value::Perhaps(None) | Value::Unlogged(0) => {}
                Value::Count(n) | Value::Unlogged(n) => write!(f, " {name}={n}")?,
                Value::InAll(n) => write!(f, " and {} more", n.saturating_sub(1))?,
            }
        }
        match self.reason {
            Some(reason) => write!(f, ": {reason}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Notice<'_> {
    /// Writes in one piece: a log that inspects its input does much work for each piece.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(EVENT_OCTETS);
        self.write_to(&mut text)?;
        f.write_str(&text)
    }
}

impl Source for Notice<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        let mut pair = |name, value| visitor.visit_pair(Key::from_str(name), value);
        match &self.subject {
            Subject::Session(id) => pair("session", kv::Value::from_display(id))?,
            Subject::Service(service) => pair("service", kv::Value::from_display(service))?,
        }
        pair("event", kv::Value::from(self.name))?;
        for (name, value) in self.fields {
            let value = match value {
                Value::Ours(word) => kv::Value::from_display(word),
                Value::Theirs(text) | Value::Perhaps(Some(text)) => kv::Value::from_display(text),
                Value::Perhaps(None) | Value::Unlogged(0) => continue,
                Value::Count(n) | Value::InAll(n) | Value::Unlogged(n) => kv::Value::from(*n),
            };
            pair(name, value)?;
        }
        match &self.reason {
            Some(reason) => pair("reason", kv::Value::from_display(reason)),
            None => Ok(()),
        }
    }
}

impl Notice<'_> {
    fn log(&self, level: Level) {
        if level > log::max_level() {
            return;
        }
        log::logger().log(
            &log::Record::builder()
                .level(level)
                .target(module_path!())
                .args(format_args!("{self}"))
                .key_values(self)
                .build(),
        );
    }
}

/// A session begins. Not inlined, to keep as little as possible on the stack of a session (NET-1).
#[inline(never)]
pub(super) fn session_began(id: SessionId, peer: IpAddr) {
    Notice {
        subject: Subject::Session(id),
        name: "begins",
        fields: &[("client", Value::Ours(&peer))],
        reason: None,
    }
    .log(Level::Debug);
}

/// A proxy has named the client of a session.
pub(super) fn proxied(id: SessionId, proxy: IpAddr, client: IpAddr) {
    Notice {
        subject: Subject::Session(id),
        name: "proxied",
        fields: &[
            ("client", Value::Ours(&client)),
            ("proxy", Value::Ours(&proxy)),
        ],
        reason: None,
    }
    .log(Level::Debug);
}

/// The connection of a session is encrypted.
pub(super) fn tls_began(id: SessionId, peer: IpAddr, (version, suite): (&str, &str)) {
    Notice {
        subject: Subject::Session(id),
        name: "tls",
        fields: &[
            ("version", Value::Ours(&version)),
            ("cipher", Value::Ours(&suite)),
            ("client", Value::Ours(&peer)),
        ],
        reason: None,
    }
    .log(Level::Debug);
}

/// A session has ended; `unlogged` is the number of its client's other sessions without a log line.
/// Not inlined, for the same reason.
#[inline(never)]
pub(super) fn session_ended(
    level: Level,
    id: SessionId,
    peer: IpAddr,
    unlogged: u64,
    end: &SessionEnd,
) {
    Notice {
        subject: Subject::Session(id),
        name: "ended",
        fields: &[
            ("client", Value::Ours(&peer)),
            ("omitted", Value::Unlogged(unlogged)),
        ],
        reason: Some(end),
    }
    .log(level);
}

/// A command that was refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused<'a> {
    /// As much of it as may be shown.
    pub(super) command: &'a str,
    /// The code, or the status indicator, of the reply.
    pub(super) code: &'a str,
    /// Its text.
    pub(super) text: &'a str,
}

/// A command was refused; `unlogged` is the number of its client's other refusals without a log
/// line.
pub(super) fn refused(id: SessionId, peer: IpAddr, unlogged: u64, refused: Refused<'_>) {
    Notice {
        subject: Subject::Session(id),
        name: "refused",
        fields: &[
            ("command", Value::theirs(&refused.command)),
            ("code", Value::Ours(&refused.code)),
            ("client", Value::Ours(&peer)),
            ("omitted", Value::Unlogged(unlogged)),
        ],
        reason: Some(&refused.text),
    }
    .log(Level::Info);
}

/// A message is durable in every recipient's mailbox. `account` is the account that sent it, if
/// there are accounts.
pub(super) fn accepted(
    id: SessionId,
    peer: IpAddr,
    account: Option<&MailboxName>,
    message: &Delivered,
) {
    let envelope = &message.envelope;
    let (path, mailbox) = (&envelope.first_forward_path, envelope.recipients.first());
    let first = fmt::from_fn(|f| match (path, mailbox) {
        (Some(path), _) => write!(f, "{path}"),
        (None, Some(mailbox)) => write!(f, "<{mailbox}>"),
        // There is no delivery without a recipient.
        (None, None) => Ok(()),
    });
    Notice {
        subject: Subject::Session(id),
        name: "accepted",
        fields: &[
            ("id", Value::Ours(&message.name)),
            ("from", Value::theirs(&envelope.reverse_path)),
            ("to", Value::theirs(&first)),
            ("recipients", Value::InAll(count(envelope.recipients.len()))),
            ("octets", Value::Count(message.octets)),
            ("account", Value::mailbox(account)),
            ("client", Value::Ours(&peer)),
        ],
        reason: None,
    }
    .log(Level::Info);
}

/// A client has logged in to send. `mailbox` is its account, if there are accounts.
pub(super) fn may_send(
    id: SessionId,
    peer: IpAddr,
    mechanism: &'static str,
    mailbox: Option<&MailboxName>,
) {
    Notice {
        subject: Subject::Session(id),
        name: "login",
        fields: &[
            ("mailbox", Value::mailbox(mailbox)),
            ("client", Value::Ours(&peer)),
            ("mechanism", Value::Ours(&mechanism)),
        ],
        reason: None,
    }
    .log(Level::Info);
}

/// A client ended lines of a message with a bare LF, and they were accepted.
pub(super) fn bare_line_feeds(id: SessionId, peer: IpAddr) {
    let reason = "the client ended lines with a bare LF, which other servers refuse: it should \
                  send CRLF (curl: --crlf); bare_lf = \"refuse\" makes this server refuse it too";
    Notice {
        subject: Subject::Session(id),
        name: "bare line feeds",
        fields: &[("client", Value::Ours(&peer))],
        reason: Some(&reason),
    }
    .log(Level::Warn);
}

/// The store could not do what was asked, and the client got a transient failure; `unlogged` is the
/// number of other failures of its client without a log line.
pub(super) fn store_failed(id: SessionId, unlogged: u64, error: &crate::store::Error) {
    Notice {
        subject: Subject::Session(id),
        name: "store",
        fields: &[("omitted", Value::Unlogged(unlogged))],
        reason: Some(&WithSources(error)),
    }
    .log(Level::Error);
}

/// A maildrop is open.
pub(super) fn logged_in(id: SessionId, peer: IpAddr, mailbox: &MailboxName, messages: usize) {
    Notice {
        subject: Subject::Session(id),
        name: "login",
        fields: &[
            ("mailbox", Value::theirs(mailbox)),
            ("messages", Value::Count(count(messages))),
            ("client", Value::Ours(&peer)),
        ],
        reason: None,
    }
    .log(Level::Info);
}

/// Messages were removed at the end of a session.
pub(super) fn removed(id: SessionId, peer: IpAddr, messages: usize) {
    Notice {
        subject: Subject::Session(id),
        name: "removed",
        fields: &[
            ("messages", Value::Count(count(messages))),
            ("client", Value::Ours(&peer)),
        ],
        reason: None,
    }
    .log(Level::Info);
}

/// A login attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    pub(super) id: SessionId,
    /// The name of the SASL mechanism, or USER.
    pub(super) mechanism: &'static str,
    /// The name that was given, if any.
    pub(super) user: &'a str,
}

/// A login was refused or abandoned; `unlogged` is the number of its client's others without a log
/// line.
pub(super) fn login_refused(
    attempt: Attempt<'_>,
    peer: IpAddr,
    unlogged: u64,
    why: &dyn fmt::Display,
) {
    Notice {
        subject: Subject::Session(attempt.id),
        name: "login refused",
        fields: &[
            ("user", Value::theirs(&attempt.user)),
            ("client", Value::Ours(&peer)),
            ("mechanism", Value::Ours(&attempt.mechanism)),
            ("omitted", Value::Unlogged(unlogged)),
        ],
        reason: Some(why),
    }
    .log(Level::Warn);
}

/// An earlier login is no longer valid.
pub(super) fn revoked(id: SessionId, peer: IpAddr, mailbox: Option<&MailboxName>) {
    let shown = mailbox.map_or_else(String::new, MailboxName::to_string);
    Notice {
        subject: Subject::Session(id),
        name: "login revoked",
        fields: &[
            ("mailbox", Value::theirs(&shown)),
            ("client", Value::Ours(&peer)),
        ],
        reason: Some(&"the account was removed or its password changed"),
    }
    .log(Level::Info);
}

/// A client was turned away before it had a session; `unlogged` is the number of others of its
/// address without a log line.
pub(super) fn turned_away(service: Service, peer: IpAddr, unlogged: u64, why: &dyn fmt::Display) {
    Notice {
        subject: Subject::Service(service),
        name: "turned away",
        fields: &[
            ("client", Value::Ours(&peer)),
            ("omitted", Value::Unlogged(unlogged)),
        ],
        reason: Some(why),
    }
    .log(Level::Warn);
}

/// A listener could not accept a client, and pauses.
pub(super) fn accept_failed(service: Service, error: &std::io::Error) {
    Notice {
        subject: Subject::Service(service),
        name: "cannot accept a connection, pausing",
        fields: &[],
        reason: Some(error),
    }
    .log(Level::Error);
}

/// Which side sends a line of a dialogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Speaker {
    Client,
    Server,
}

/// What one side sends.
#[derive(Clone, Copy)]
pub(super) enum Said<'a> {
    /// A line, as much of it as may be shown.
    Line(Bounded<'a>),
    /// This many octets that are not shown.
    Octets(u64),
}

/// Whether the log wants dialogues. Code with work to do for a line checks this first.
pub(super) fn wants_dialogues() -> bool {
    Level::Debug <= log::max_level()
}

/// Whether the log wants refused commands.
pub(super) fn wants_refusals() -> bool {
    Level::Info <= log::max_level()
}

/// Whether the log wants refused logins.
pub(super) fn wants_logins() -> bool {
    Level::Warn <= log::max_level()
}

/// One side sent something to the other.
pub(super) fn said(id: SessionId, speaker: Speaker, said: Said<'_>) {
    let line = DialogueLine { id, speaker, said };
    log::logger().log(
        &log::Record::builder()
            .level(Level::Debug)
            .target(module_path!())
            .args(format_args!("{line}"))
            .key_values(&line)
            .build(),
    );
}

/// One line of a dialogue. As text it is an arrow and what was sent, as on the wire except for what
/// could control a terminal; a JSON object names the sender.
struct DialogueLine<'a> {
    id: SessionId,
    speaker: Speaker,
    said: Said<'a>,
}

impl<'a> Said<'a> {
    /// A line, as much of it as may be shown.
    pub(super) fn line(shown: &'a dyn fmt::Display) -> Self {
        Self::Line(Bounded(shown, DIALOGUE_OCTETS_MAX))
    }
}

impl fmt::Display for DialogueLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let arrow = match self.speaker {
            Speaker::Client => '>',
            Speaker::Server => '<',
        };
        write!(f, "{} {arrow} ", self.id)?;
        match self.said {
            Said::Octets(octets) => write!(f, "<{octets} octets>"),
            Said::Line(line) => line.write(Escapes::Unprintable, f),
        }
    }
}

impl Source for DialogueLine<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        let mut pair = |name, value| visitor.visit_pair(Key::from_str(name), value);
        pair("session", kv::Value::from_display(&self.id))?;
        pair("event", kv::Value::from("said"))?;
        pair(
            "by",
            kv::Value::from(match self.speaker {
                Speaker::Client => "client",
                Speaker::Server => "server",
            }),
        )?;
        match &self.said {
            Said::Octets(octets) => pair("octets", kv::Value::from(*octets)),
            Said::Line(line) => pair("line", kv::Value::from_display(line)),
        }
    }
}

/// Stores in `kept` as much of a command as is needed until it is answered: a little more than a
/// log line shows, so that the log line shows where the command was cut.
pub(super) fn keep_bounded(text: &dyn fmt::Display, kept: &mut String) {
    kept.clear();
    let mut cut = Cut {
        out: kept,
        escapes: Escapes::Nothing,
        room: Some(TEXT_OCTETS_MAX.saturating_mul(2)),
    };
    // Writing to a string does not fail.
    write!(cut, "{text}").ok();
}

/// A text that is cut after a number of octets; unescaped, because the format has to escape it.
#[derive(Clone, Copy)]
pub(super) struct Bounded<'a>(&'a dyn fmt::Display, usize);

impl Bounded<'_> {
    fn write(self, escapes: Escapes, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut cut = Cut {
            out: f,
            escapes,
            room: Some(self.1),
        };
        write!(cut, "{}", self.0)?;
        if cut.room.is_none() {
            f.write_char('…')?;
        }
        Ok(())
    }
}

impl fmt::Display for Bounded<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(Escapes::Nothing, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event<'a>(fields: &'a [(&'static str, Value<'a>)]) -> Notice<'a> {
        Notice {
            subject: Subject::Session(SessionId {
                service: Service::Smtp,
                number: 17,
            }),
            name: "login refused",
            fields,
            reason: Some(&"why"),
        }
    }

    /// SEC-7.
    #[test]
    fn text_of_a_client_is_escaped_and_cut() {
        for (text, expected, field) in [
            ("bob", "\"bob\"", "bob"),
            (
                "a\r\nsmtp-1 accepted",
                "\"a\\r\\nsmtp-1 accepted\"",
                "a\r\nsmtp-1 accepted",
            ),
            (
                "\u{1b}[2J\"\\é",
                "\"\\u{1b}[2J\\\"\\\\\\u{e9}\"",
                "\u{1b}[2J\"\\é",
            ),
            (
                &"x".repeat(300),
                &format!("\"{}\"…", "x".repeat(256)),
                &("x".repeat(256) + "…"),
            ),
            // After a character that does not fit, nothing more is shown, even if it would fit.
            (
                &("x".repeat(254) + "éx"),
                &format!("\"{}\"…", "x".repeat(254)),
                &("x".repeat(254) + "…"),
            ),
        ] {
            let fields = [("user", Value::theirs(&text))];
            let event = event(&fields);
            let shown = format!("smtp-17 login refused user={expected}: why");
            assert_eq!(event.to_string(), shown);
            let user = event.get(Key::from_str("user")).unwrap();
            assert_eq!(user.to_string(), field);
        }
    }

    #[test]
    fn a_text_and_the_fields_say_the_same() {
        let peer = IpAddr::from([127, 0, 0, 1]);
        let mut fields = [
            ("to", Value::theirs(&"<bob>")),
            ("recipients", Value::InAll(3)),
            ("octets", Value::Count(207)),
            ("account", Value::mailbox(None)),
            ("client", Value::Ours(&peer)),
        ];
        let several = event(&fields);
        assert_eq!(
            several.to_string(),
            "smtp-17 login refused to=\"<bob>\" and 2 more octets=207 client=127.0.0.1: why"
        );
        for (key, value) in [
            ("session", "smtp-17"),
            ("event", "login refused"),
            ("to", "<bob>"),
            ("recipients", "3"),
            ("octets", "207"),
            ("client", "127.0.0.1"),
            ("reason", "why"),
        ] {
            let found = several.get(Key::from_str(key)).unwrap();
            assert_eq!(found.to_string(), value, "{key}");
        }
        assert_eq!(several.count(), 7);
        let bob = MailboxName::from_canonical("bob", "example.com");
        fields[3] = ("account", Value::mailbox(bob.as_ref()));
        let sent = event(&fields).to_string();
        assert!(
            sent.contains(" octets=207 account=\"bob@example.com\" client="),
            "{sent}"
        );
        fields[1] = ("recipients", Value::InAll(1));
        let one = event(&fields).to_string();
        assert!(one.contains(" to=\"<bob>\" octets=207 "), "{one}");
    }
}
