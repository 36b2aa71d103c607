//! The SMTP session: what may come when, and what each command does (RFC 5321 §4.1.4).
//!
//! Pure: a [`Session`] is told an [`Outcome`] and gives a [`Step`]. It does not know what a socket
//! or a file is; failures reach it in the words of the protocol.
//!
//! # Theory of operation
//!
//! Two things make up the state. The *client*: unknown until HELO or EHLO, authenticated or not.
//! The *phase* of the mail transaction:
//!
//! ```text
//!            MAIL              RCPT…         DATA (→ 354)
//!   Idle ──────────▶ Envelope ───────┐  ┌──────────────────▶ Content ──┐
//!    ▲                   ▲───────────┘  │                              │ end of data
//!    │                   └──────────────┤ BDAT                         │
//!    │                                  └────▶ Chunks ⟲ BDAT ──────────┤ BDAT LAST
//!    │                                            │ a chunk failed     │
//!    │◀──────── RSET, EHLO, HELO ─────────── ChunksFailed ⟲ BDAT       │
//!    └◀────────────────────────────────────────────────────────────────┘
//! ```
//!
//! - RSET, HELO, EHLO and the end of data drop the transaction whole; nothing is cleared by hand.
//! - The driver holds a delivery exactly while [`Session::has_delivery`]: from the outcome
//!   `DeliveryBegun` until the transaction ends or fails.
//! - What is asked of the driver is remembered in `Waiting`; an outcome that does not answer it is
//!   a fault of the driver and ends the session with 421.
//! - `MailRefused` is `Idle` after a MAIL that was understood but not taken: what a client has
//!   pipelined behind it is refused too, but is no error of the client's (RFC 2920 §3.1).
//! - After `ChunksFailed` every further chunk is consumed and refused (RFC 3030 §2), so that
//!   pipelined chunks are never taken for commands.
//!
//! # Who may send
//!
//! On a listener for incoming mail, anybody. Where the setting [`Senders`](super::Senders) asks for
//! authentication, MAIL and what depends on it get 530 until AUTH has succeeded (RFC 4954 §6), and
//! on a listener for submission the driver is asked whether the reverse-path is the user's own
//! (RFC 6409 §6.1). AUTH itself can be had only where nobody reads along: within this machine or
//! within TLS (SEC-2).
//!
//! # Attacks met here
//!
//! A session that begins with an HTTP verb, with no letter at all or with an overlong line is
//! closed before anything is executed (SEC-13). Line endings that are not the session's own end it
//! (SEC-1; the octets are judged in `wire`, the consequence is drawn here). Errors are counted and
//! bounded (SEC-8).

mod authentication;
mod transaction;

use std::borrow::Cow;
use std::sync::Arc;

use crate::mail::sasl::{self, Exchange, scram::ClientFirst};
use crate::mail::{
    ChannelBindings, Charset, Disclosure, Dots, Envelope, Foreign, ForwardPath, Link, Protocol, Tls,
};

use super::command::{self, Command, Context, SyntaxError};
use super::limits;
use super::outcome::Outcome;
use super::reply::{self, Reply};
use super::step::{Action, Framing, Settings, Step};

/// Who is at the other end.
#[derive(Debug)]
enum Client {
    /// Has not said HELO or EHLO.
    Unknown,
    /// Has said HELO.
    Plain(String),
    /// Has said EHLO.
    Extended(String),
}

/// The mail transaction: see the theory of operation.
#[derive(Debug)]
enum Phase {
    Idle,
    MailRefused,
    Envelope(Envelope),
    Content,
    Chunks { octets: u64 },
    ChunksFailed,
}

/// The outcome that the last action asked for.
#[derive(Debug)]
enum Waiting {
    Line,
    Recipient(ForwardPath),
    /// The verdict on the password of this user.
    Password(String),
    /// What SCRAM needs to know of a user.
    Scram(ClientFirst),
    /// The verdict on the proof of this user.
    Proof(String),
    /// The verdict on the sender of this transaction.
    Sender(Box<Envelope>),
    Delivery(Framing),
    Content(Framing),
    Discard(Refusal),
    Tls,
    Nothing,
}

/// What to say once a refused chunk has been read.
#[derive(Debug)]
enum Refusal {
    /// The client made an error, which counts.
    Error(Reply),
    /// It did not, or could not know yet.
    NoError(Reply),
}

/// One SMTP session.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    link: Link,
    client: Client,
    exchange: Option<Exchange>,
    /// How the client tried to authenticate last.
    mechanism: &'static str,
    /// Who has authenticated, by the name that was given.
    user: Option<String>,
    password_failures: u32,
    unknown_recipients: u32,
    phase: Phase,
    waiting: Waiting,
    errors: u32,
    first_line: bool,
    /// What the client speaks instead of SMTP.
    foreign: Option<Foreign>,
}

impl Session {
    /// A session on a fresh connection, which may be encrypted already.
    pub fn new(settings: Arc<Settings>, link: Link) -> Self {
        Self {
            settings,
            link,
            client: Client::Unknown,
            exchange: None,
            mechanism: "",
            user: None,
            password_failures: 0,
            unknown_recipients: 0,
            phase: Phase::Idle,
            waiting: Waiting::Nothing,
            errors: 0,
            first_line: true,
            foreign: None,
        }
    }

    /// The first step: the greeting.
    pub fn greet(&mut self) -> Step {
        let greeting = Reply::greeting(&self.hostname());
        self.say(greeting)
    }

    /// Tells the session what happened; gives what to do next.
    pub fn resume(&mut self, outcome: Outcome<'_>) -> Step {
        match (
            std::mem::replace(&mut self.waiting, Waiting::Nothing),
            outcome,
        ) {
            (Waiting::Line, Outcome::Line(line)) => self.line(line),
            (waiting, outcome) => self.answered(waiting, outcome),
        }
    }

    /// What is not a line has come. This and the larger commands are not inlined: their frames
    /// would be on the stack of every session that waits, thousands of times (NET-1).
    #[inline(never)]
    fn answered(&mut self, waiting: Waiting, outcome: Outcome<'_>) -> Step {
        match (waiting, outcome) {
            (Waiting::Line, Outcome::LineTooLong) => self.line_too_long(),
            (Waiting::Line, Outcome::ForeignProtocol) => self.close(reply::NOT_SMTP),
            (Waiting::Line, Outcome::LineEndingFault(found)) => {
                self.close(Reply::command_line_ending(found))
            }
            (Waiting::Recipient(path), Outcome::Recipient(verdict)) => {
                self.recipient_looked_up(path, verdict)
            }
            (Waiting::Password(user), Outcome::PasswordAccepted) => self.authenticated(user),
            (Waiting::Scram(first), Outcome::ScramBegun(parameters)) => {
                self.advance(first.answer(&parameters))
            }
            (Waiting::Proof(user), Outcome::ProofAccepted { signature }) => {
                self.advance(Ok(sasl::confirm(user, &signature)))
            }
            (Waiting::Password(_) | Waiting::Proof(_), Outcome::PasswordRefused) => {
                self.password_refused()
            }
            (
                Waiting::Password(_) | Waiting::Scram(_) | Waiting::Proof(_),
                Outcome::CheckFailed,
            ) => self.say(reply::AUTH_UNAVAILABLE),
            (
                Waiting::Sender(envelope),
                verdict @ (Outcome::SenderPermitted
                | Outcome::SenderNotPermitted
                | Outcome::CheckFailed),
            ) => self.sender_checked(*envelope, &verdict),
            (Waiting::Delivery(framing), Outcome::DeliveryBegun) => self.delivery_begun(framing),
            (Waiting::Delivery(framing), Outcome::DeliveryFailed(failure)) => {
                self.delivery_refused(framing, failure.into())
            }
            (Waiting::Content(framing), Outcome::Content(end)) => self.content_ended(framing, end),
            (Waiting::Discard(Refusal::Error(reply)), Outcome::ChunkDiscarded) => {
                self.refuse(reply)
            }
            (Waiting::Discard(Refusal::NoError(reply)), Outcome::ChunkDiscarded) => self.say(reply),
            (Waiting::Tls, Outcome::TlsStarted(bindings)) => self.tls_started(bindings),
            (_, outcome) => self.interrupted(&outcome),
        }
    }

    /// Whether the client was told of enhanced status codes: how replies are rendered.
    pub fn is_extended(&self) -> bool {
        matches!(self.client, Client::Extended(_))
    }

    /// Who has authenticated, by the name that was given; for the log, which must escape it.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// What of `line`, which comes next, may be shown.
    pub fn disclose<'a>(&self, line: &'a [u8]) -> Disclosure<'a> {
        if self.exchange.is_some() {
            sasl::disclose_response(line)
        } else {
            command::disclose(line)
        }
    }

    /// The login whose exchange is under way; the next line is a part of it.
    pub fn login(&self) -> Option<sasl::Login<'_>> {
        self.exchange.as_ref().map(|exchange| sasl::Login {
            mechanism: self.mechanism,
            user: exchange.user(),
        })
    }

    /// The name of the mechanism by which the client tried to authenticate last.
    pub fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// What the client speaks instead of SMTP, where its first line showed that.
    pub fn foreign(&self) -> Option<Foreign> {
        self.foreign
    }

    /// Whether the driver has to keep its open delivery; where it is false, an open one is
    /// abandoned.
    pub fn has_delivery(&self) -> bool {
        matches!(self.phase, Phase::Content | Phase::Chunks { .. })
    }

    /// Whether there are recipients, or may be, of a transaction whose content has not begun.
    pub fn has_envelope(&self) -> bool {
        matches!(self.phase, Phase::Envelope(_))
    }

    /// Longest line that may come next, in octets with its ending.
    pub fn line_octets_max(&self) -> usize {
        if self.exchange.is_some() {
            limits::AUTH_LINE_OCTETS_MAX
        } else {
            limits::COMMAND_LINE_OCTETS_MAX
        }
    }

    fn line(&mut self, line: &[u8]) -> Step {
        if std::mem::take(&mut self.first_line) {
            self.foreign = Foreign::of_line(line);
            if self.foreign.is_some() {
                return self.close(reply::NOT_SMTP);
            }
        }
        if let Some(exchange) = self.exchange.take() {
            return self.advance(exchange.respond(line));
        }
        // A clone of the handle: the context borrows from it while the session changes.
        let settings = Arc::clone(&self.settings);
        let context = Context {
            default_domain: &settings.hostname,
            charset: self.charset(),
            dots: self.dots(),
        };
        match Command::parse(line, &context) {
            Ok(command) => self.command(command),
            // How many octets follow is not known: whatever comes next could be content.
            Err(error @ SyntaxError::ChunkSize) => self.close(error.into()),
            Err(error) => self.refuse(error.into()),
        }
    }

    fn command(&mut self, command: Command<'_>) -> Step {
        match command {
            Command::Ehlo(name) => self.ehlo(name),
            Command::Helo(name) => {
                self.begin(Client::Plain(name.to_owned()));
                self.say(reply::HELO_OK)
            }
            Command::Mail(reverse_path, parameters) => self.mail(reverse_path, parameters),
            Command::Rcpt(forward_path) => self.rcpt(forward_path),
            Command::Data => self.data(),
            Command::Bdat { octets, last } => self.bdat(octets, last),
            Command::Rset => {
                self.phase = Phase::Idle;
                self.say(reply::RESET)
            }
            Command::Vrfy => self.say(reply::CANNOT_VERIFY),
            Command::Expn => self.say(reply::NO_LISTS),
            Command::Help => self.say(reply::HELP),
            Command::Noop => self.say(reply::NOOP),
            Command::Quit => self.close(reply::GOODBYE),
            Command::StartTls => self.start_tls(),
            Command::Auth {
                mechanism,
                initial_response,
            } => self.authenticate(mechanism, initial_response.as_ref()),
        }
    }

    /// Not inlined, as `answered`.
    #[inline(never)]
    fn ehlo(&mut self, name: &str) -> Step {
        self.begin(Client::Extended(name.to_owned()));
        let settings = &self.settings;
        let fixed = [
            "PIPELINING",
            "8BITMIME",
            "SMTPUTF8",
            "CHUNKING",
            "ENHANCEDSTATUSCODES",
        ];
        let mut keywords: Vec<Cow<'static, str>> = Vec::with_capacity(10);
        keywords.extend(fixed.map(Cow::Borrowed));
        // RFC 1870 §4: 0 says that there is no fixed limit.
        let size = settings.message_octets_max.unwrap_or(0);
        keywords.push(format!("SIZE {size}").into());
        // RFC 9422 §4: only limits that exist are listed. The number of transactions has none, so
        // MAILMAX does not appear.
        if let Some(recipients_max) = settings.recipients_max {
            keywords.push(format!("LIMITS RCPTMAX={recipients_max}").into());
        }
        if self.link.tls == Tls::Offered {
            keywords.push("STARTTLS".into());
        }
        let mechanisms = self.mechanisms();
        if !mechanisms.is_empty() && self.user.is_none() {
            keywords.push(format!("AUTH{}", sasl::names(mechanisms)).into());
        }
        keywords.push("HELP".into());
        let reply = Reply::ehlo(&self.hostname(), &keywords);
        self.say(reply)
    }

    /// HELO and EHLO also do what RSET does (RFC 5321 §4.1.4).
    fn begin(&mut self, client: Client) {
        self.client = client;
        self.phase = Phase::Idle;
    }

    fn start_tls(&mut self) -> Step {
        match self.link.tls {
            Tls::NotOffered => self.refuse(reply::NO_TLS),
            Tls::Active(_) => self.refuse(reply::TLS_ALREADY),
            Tls::Offered => {
                self.waiting = Waiting::Tls;
                Step {
                    reply: Some(reply::READY_FOR_TLS),
                    action: Action::StartTls,
                }
            }
        }
    }

    /// RFC 3207 §4.2, SEC-2: all that was learnt before the handshake is forgotten. Only the counts
    /// of errors and of refused passwords stay, or TLS would be a way to reset them.
    fn tls_started(&mut self, bindings: ChannelBindings) -> Step {
        self.link.tls = Tls::Active(bindings);
        self.client = Client::Unknown;
        self.phase = Phase::Idle;
        self.user = None;
        self.first_line = true;
        self.read_line()
    }

    fn line_too_long(&mut self) -> Step {
        // No client of SMTP begins so, but an HTTP request with a long path does (SEC-13).
        if std::mem::take(&mut self.first_line) {
            self.foreign = Some(Foreign::Other);
            return self.close(reply::NOT_SMTP);
        }
        if self.exchange.take().is_some() {
            self.refuse(reply::AUTH_LINE_TOO_LONG)
        } else {
            self.refuse(reply::LINE_TOO_LONG)
        }
    }

    /// What can come instead of any result.
    fn interrupted(&mut self, outcome: &Outcome<'_>) -> Step {
        match outcome {
            Outcome::IdleTimeout => self.close(reply::IDLE_TIMEOUT),
            Outcome::ContentTooSlow => self.close(reply::TOO_SLOW),
            Outcome::SessionTimeout => self.close(reply::SESSION_TIMEOUT),
            Outcome::ShuttingDown => self.close(reply::SHUTTING_DOWN),
            Outcome::Displaced => self.close(reply::DISPLACED),
            Outcome::Revoked => self.close(reply::REVOKED),
            Outcome::ConnectionLost => self.end(None),
            Outcome::Line(_)
            | Outcome::LineTooLong
            | Outcome::LineEndingFault(_)
            | Outcome::ForeignProtocol
            | Outcome::Recipient(_)
            | Outcome::PasswordAccepted
            | Outcome::PasswordRefused
            | Outcome::CheckFailed
            | Outcome::ScramBegun(_)
            | Outcome::ProofAccepted { .. }
            | Outcome::SenderPermitted
            | Outcome::SenderNotPermitted
            | Outcome::DeliveryBegun
            | Outcome::DeliveryFailed(_)
            | Outcome::Content(_)
            | Outcome::ChunkDiscarded
            | Outcome::TlsStarted(_) => self.close(reply::OUT_OF_STEP),
        }
    }

    fn charset(&self) -> Charset {
        match &self.phase {
            Phase::Envelope(envelope) if envelope.protocol.utf8 => Charset::Utf8,
            Phase::Idle
            | Phase::MailRefused
            | Phase::Envelope(_)
            | Phase::Content
            | Phase::Chunks { .. }
            | Phase::ChunksFailed => Charset::Ascii,
        }
    }

    /// Other servers refuse what only the clients of this machine may write.
    fn dots(&self) -> Dots {
        if self.link.is_local {
            self.settings.local_dots
        } else {
            Dots::BetweenAtoms
        }
    }

    /// The name of this host as replies have it, which is ASCII (RFC 6531 §3.7.1).
    fn hostname(&self) -> Cow<'_, str> {
        let hostname = &self.settings.hostname;
        match hostname.to_a_label() {
            Ok(a_label) if !hostname.as_str().is_ascii() => Cow::Owned(a_label),
            Ok(_) | Err(_) => Cow::Borrowed(hostname.as_str()),
        }
    }

    fn client_name(&self) -> Option<&str> {
        match &self.client {
            Client::Unknown => None,
            Client::Plain(name) | Client::Extended(name) => Some(name),
        }
    }

    fn protocol(&self, utf8: bool) -> Protocol {
        Protocol {
            extended: self.is_extended(),
            tls: self.link.is_encrypted(),
            authenticated: self.user.is_some(),
            utf8,
        }
    }

    /// Replies and reads the next command.
    fn say(&mut self, reply: Reply) -> Step {
        Step {
            reply: Some(reply),
            ..self.read_line()
        }
    }

    /// Replies to a syntax or sequence error; the one that is too many ends the session.
    fn refuse(&mut self, reply: Reply) -> Step {
        self.errors = self.errors.saturating_add(1);
        if self
            .settings
            .errors_max
            .is_some_and(|errors_max| self.errors > errors_max)
        {
            return self.close(reply::TOO_MANY_ERRORS);
        }
        self.say(reply)
    }

    fn read_line(&mut self) -> Step {
        self.waiting = Waiting::Line;
        Step {
            reply: None,
            action: Action::ReadLine,
        }
    }

    fn close(&mut self, reply: Reply) -> Step {
        self.end(Some(reply))
    }

    fn end(&mut self, reply: Option<Reply>) -> Step {
        self.phase = Phase::Idle;
        self.waiting = Waiting::Nothing;
        Step {
            reply,
            action: Action::Close,
        }
    }
}

#[cfg(test)]
mod tests;
