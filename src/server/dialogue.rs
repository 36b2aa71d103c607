//! Logs the dialogue of a session: its refusals, and at level `debug` every line.
//!
//! A driver reports here what its client sent and what the answer was. The command is kept, as far
//! as it may be shown, until its answer is known; a refusal becomes one log line with both. The
//! session decides what may be shown: see [`Disclosure`]. [`Muffler`] decides how often.
//!
//! [`Muffler`]: super::muffler::Muffler

use std::fmt;

use log::Level;

use crate::mail::{Disclosure, Foreign, Service, sasl};
use crate::store;

use super::connection::{Connection, LineRead};
use super::limits::DIALOGUE_LINES_MAX;
use super::maillog::{self, Attempt, Refused, Said, Speaker};
use super::muffler::Kind;
use super::session::{Interruption, SessionEnd, SessionId};

/// The dialogue of one session.
#[derive(Debug)]
pub(super) struct Dialogue {
    id: SessionId,
    /// What is waiting for its answer.
    open: Open,
    /// The text of that. Reused, so that each command does not allocate memory.
    text: String,
    /// Octets of message content that arrived since the last line.
    content: u64,
}

/// What is waiting for its answer.
#[derive(Debug)]
enum Open {
    Nothing,
    /// A command: the text is as much of it as may be shown.
    Command,
    /// A line of an exchange by this mechanism: the text is the user who logs in.
    Exchange(&'static str),
}

/// A refusal: its code or status indicator, and its text.
type Refusal<'a> = (&'a str, &'a str);

impl Dialogue {
    pub(super) fn new(id: SessionId) -> Self {
        Self {
            id,
            open: Open::Nothing,
            text: String::new(),
            content: 0,
        }
    }

    /// The client sent a line, or something that cannot be one. `disclose` returns what may be
    /// shown of a line, and `login` is the exchange that it belongs to. Not inlined, to keep as
    /// little as possible on the stack of a waiting session (NET-1).
    #[inline(never)]
    pub(super) fn heard<'a>(
        &mut self,
        connection: &'a Connection,
        read: &LineRead,
        disclose: impl FnOnce(&'a [u8]) -> Disclosure<'a>,
        login: Option<sasl::Login<'_>>,
    ) {
        match read {
            LineRead::Line => self.heard_line(&disclose(connection.line()), login),
            LineRead::TooLong => self.hear(&"<a line that is too long>"),
            LineRead::Fault(found) => self.hear(&format_args!("<a line with {found}>")),
            LineRead::Foreign => {
                self.heard_content(connection.unread().len());
                self.content_ended();
            }
        }
    }

    fn heard_line(&mut self, line: &Disclosure<'_>, login: Option<sasl::Login<'_>>) {
        self.hear(line);
        if let Some(login) = login
            && maillog::wants_logins()
        {
            maillog::keep_bounded(&login.user.unwrap_or_default(), &mut self.text);
            self.open = Open::Exchange(login.mechanism);
        }
    }

    /// The client sent something, and `line` may be shown of it.
    fn hear(&mut self, line: &dyn fmt::Display) {
        if maillog::wants_dialogues() {
            maillog::said(self.id, Speaker::Client, Said::line(line));
        }
        self.open = Open::Nothing;
        if maillog::wants_refusals() {
            maillog::keep_bounded(line, &mut self.text);
            self.open = Open::Command;
        }
    }

    /// This many octets of message content arrived.
    pub(super) fn heard_content(&mut self, octets: usize) {
        let octets = u64::try_from(octets).unwrap_or(u64::MAX);
        self.content = self.content.saturating_add(octets);
    }

    /// Logs the content that arrived; there is no more for now.
    pub(super) fn content_ended(&mut self) {
        let octets = std::mem::take(&mut self.content);
        if octets > 0 && maillog::wants_dialogues() {
            maillog::said(self.id, Speaker::Client, Said::Octets(octets));
        }
    }

    /// This many octets of message content were sent.
    pub(super) fn said_content(&self, octets: usize) {
        if maillog::wants_dialogues() {
            let octets = u64::try_from(octets).unwrap_or(u64::MAX);
            maillog::said(self.id, Speaker::Server, Said::Octets(octets));
        }
    }

    /// The result of the command has already been logged.
    pub(super) fn logged(&mut self) {
        self.open = Open::Nothing;
    }

    /// Returns `outcome`, which has already been logged.
    pub(super) fn already_logged<T>(&mut self, outcome: T) -> T {
        self.logged();
        outcome
    }

    /// The client was answered, perhaps by a refusal.
    pub(super) fn answered(&mut self, connection: &Connection, refusal: Option<Refusal<'_>>) {
        let open = std::mem::replace(&mut self.open, Open::Nothing);
        let Some((code, text)) = refusal else {
            return;
        };
        match open {
            Open::Nothing => {}
            Open::Command => {
                if let Some(unlogged) = connection.lets_through(Kind::Refused) {
                    let command = self.text.as_str();
                    let refused = Refused {
                        command,
                        code,
                        text,
                    };
                    maillog::refused(self.id, connection.peer(), unlogged, refused);
                }
            }
            Open::Exchange(mechanism) => {
                let attempt = Attempt {
                    id: self.id,
                    mechanism,
                    user: &self.text,
                };
                login_refused(connection, attempt, &format_args!("{code} {text}"));
            }
        }
    }

    /// The session is interrupted, perhaps in the middle of an exchange. Not inlined, for the same
    /// reason.
    #[inline(never)]
    pub(super) fn interrupted(
        &mut self,
        connection: &Connection,
        login: Option<sasl::Login<'_>>,
        why: &Interruption,
    ) {
        self.content_ended();
        // The next response does not answer a command.
        self.logged();
        if let Some(login) = login {
            let attempt = Attempt {
                id: self.id,
                mechanism: login.mechanism,
                user: login.user.unwrap_or_default(),
            };
            login_refused(connection, attempt, why);
        }
    }

    /// These octets were sent: whole lines, with their endings.
    pub(super) fn said(&self, lines: &[u8], is_challenge: bool) {
        if !maillog::wants_dialogues() {
            return;
        }
        let mut rest = lines;
        for _ in 0..DIALOGUE_LINES_MAX {
            let Some(end) = memchr::memchr(b'\n', rest) else {
                break;
            };
            let (line, behind) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = behind.get(1..).unwrap_or_default();
            let line = line.trim_ascii_end();
            let shown = if is_challenge {
                let status = line.split(|octet| *octet == b' ').next();
                Disclosure::beginning(line, status.unwrap_or_default().len())
            } else {
                Disclosure::whole(line)
            };
            maillog::said(self.id, Speaker::Server, Said::line(&shown));
        }
        if !rest.is_empty() {
            self.said_content(rest.len());
        }
    }
}

/// A login was refused or abandoned.
pub(super) fn login_refused(connection: &Connection, attempt: Attempt<'_>, why: &dyn fmt::Display) {
    if let Some(unlogged) = connection.lets_through(Kind::Login) {
        maillog::login_refused(attempt, connection.peer(), unlogged, why);
    }
}

/// The store could not do what was asked: counts and logs that.
pub(super) fn store_failed(connection: &Connection, id: SessionId, error: &store::Error) {
    connection.counters().store.failures.increment();
    if let Some(unlogged) = connection.lets_through(Kind::Store) {
        maillog::store_failed(id, unlogged, error);
    }
}

/// A session has ended. A client that connected and left without sending anything is logged only at
/// `debug`: monitors do that to check whether a service is listening. A client that achieved
/// nothing is logged unless there is a flood of them.
pub(super) fn session_ended(connection: &Connection, id: SessionId, end: &SessionEnd) {
    let peer = connection.peer();
    let tell = |level, unlogged| maillog::session_ended(level, id, peer, unlogged, end);
    match end {
        SessionEnd::Panicked => tell(Level::Error, 0),
        // A program that tests mail makes a connection for each question.
        _ if id.service == Service::Http => tell(Level::Debug, 0),
        _ if connection.has_achieved() => tell(Level::Info, 0),
        SessionEnd::Broken(Interruption::Lost(_)) if !connection.has_spoken() => {
            tell(Level::Debug, 0);
        }
        SessionEnd::Broken(Interruption::NoProxyHeader { .. }) => {
            if let Some(unlogged) = connection.lets_through(Kind::Ended) {
                tell(Level::Warn, unlogged);
            }
        }
        SessionEnd::Foreign {
            what: Foreign::Proxy,
            ..
        } if connection.is_local() => {
            if let Some(unlogged) = connection.lets_through(Kind::Ended) {
                tell(Level::Warn, unlogged);
            }
        }
        SessionEnd::Quit
        | SessionEnd::Closed { .. }
        | SessionEnd::Foreign { .. }
        | SessionEnd::Broken(_) => {
            if let Some(unlogged) = connection.lets_through(Kind::Ended) {
                tell(Level::Info, unlogged);
            }
        }
    }
}
