//! The SMTP session: which command is allowed when, and what it does (RFC 5321 §4.1.4).
//!
//! Pure: a [`Session`] receives an [`Outcome`] and returns a [`Step`]. It knows nothing of sockets
//! and files; failures reach it in protocol terms.
//!
//! # Theory of operation
//!
//! The state has two parts. The *client*: unknown until HELO or EHLO, authenticated or not. The
//! *phase* of the mail transaction:
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
//! - RSET, HELO, EHLO and the end of data drop the whole transaction; nothing is cleared by hand.
//! - The driver holds a delivery from the outcome `DeliveryBegun` until the message ends, or until
//!   an action drops it.
//! - `Waiting` remembers what the driver was asked for. An outcome that does not answer it is a
//!   fault of the driver and ends the session with 421.
//! - `MailRefused` is `Idle` after a valid MAIL that was refused: the commands that a client has
//!   pipelined after it are refused too, but do not count as errors of the client (RFC 2920 §3.1).
//! - After `ChunksFailed` every further chunk is read and refused (RFC 3030 §2), so that pipelined
//!   chunks are never taken for commands.
//!
//! # Who may send
//!
//! On a listener for incoming mail, anybody may send. If the setting [`Senders`](super::Senders)
//! requires authentication, MAIL and the commands that depend on it get 530 until AUTH has
//! succeeded (RFC 4954 §6). For a user who has logged in, the driver is asked whether the
//! reverse-path is the user's own (RFC 6409 §6.1). AUTH is available only within
//! TLS, from this machine, and from the networks of `open_to` (SEC-2).
//!
//! # LMTP
//!
//! With the setting [`Dialect::Lmtp`] the client begins with LHLO, and the end of a message is
//! answered once for each accepted recipient, in the order of the RCPT commands (RFC 2033 §4.2,
//! §4.3): so is every BDAT LAST, and no other chunk. A step has one reply, so the driver is asked
//! to `Continue` between them. Everything else is the same.
//!
//! # Attacks handled here
//!
//! A session whose first line is an HTTP request, does not begin with a letter, or is overlong, is
//! closed before anything is executed (SEC-13). Line endings other than the session's own end it
//! (SEC-1; `wire` judges the octets, and this module acts on it). Errors are counted and bounded
//! (SEC-8).

mod authentication;
mod client;
mod transaction;
mod turn;

use std::borrow::Cow;
use std::mem;
use std::sync::Arc;

use crate::mail::limits::AUTH_LINE_OCTETS_MAX;
use crate::mail::{ChannelBindings, Closing, Disclosure, Dots, Foreign, Link, Tls, sasl};

use super::command::{self, Command, Context, SyntaxError};
use super::limits::COMMAND_LINE_OCTETS_MAX;
use super::outcome::Outcome;
use super::reply::{self, Reply};
use super::step::{Action, Dialect, Settings, Step};

use authentication::{Authentication, authenticated};
use client::{Client, Greeting};
use transaction::Transaction;
use turn::{Rejection, Replies, Turn, Waiting};

/// One SMTP session.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    client: Client,
    authentication: Authentication,
    transaction: Transaction,
    waiting: Waiting,
    errors: u32,
    /// Whether no line has been read yet (SEC-13).
    at_first_line: bool,
}

impl Session {
    /// A session on a new connection, which might already be encrypted.
    pub fn new(settings: Arc<Settings>, link: Link) -> Self {
        Self {
            client: Client::new(link),
            authentication: Authentication::new(settings.scram),
            transaction: Transaction::new(Arc::clone(&settings)),
            settings,
            waiting: Waiting::Nothing,
            errors: 0,
            at_first_line: true,
        }
    }

    /// The first step: the greeting.
    pub fn greet(&mut self) -> Step {
        let greeting = Reply::greeting(
            &self.hostname(),
            match self.settings.dialect {
                Dialect::Smtp => "ESMTP",
                Dialect::Lmtp => "LMTP",
            },
        );
        self.step(Turn::Say(greeting))
    }

    /// Reports what happened to the session; returns what to do next.
    pub fn resume(&mut self, outcome: Outcome<'_>) -> Step {
        let waiting = mem::replace(&mut self.waiting, Waiting::Nothing);
        let turn = match (waiting, outcome) {
            (Waiting::Line, Outcome::Line(line)) => self.line(line),
            (waiting, outcome) => self.answered(waiting, outcome),
        };
        self.step(turn)
    }

    /// Something other than a line was received. This and the larger commands are not inlined:
    /// their frames would be on the stack of every session that waits, thousands of times (NET-1).
    #[inline(never)]
    fn answered(&mut self, waiting: Waiting, outcome: Outcome<'_>) -> Turn {
        match (waiting, outcome) {
            (Waiting::Line, Outcome::LineTooLong) => self.line_too_long(),
            (Waiting::Line, Outcome::ForeignProtocol(foreign)) => self.not_smtp(foreign),
            (Waiting::Line, Outcome::LineEndingFault(found)) => {
                Turn::give_up(Reply::command_line_ending(found))
            }
            (Waiting::Recipient(path), Outcome::Recipient(verdict)) => {
                self.transaction.recipient_looked_up(path, verdict)
            }
            (Waiting::Password, Outcome::PasswordAccepted) => authenticated(&mut self.client),
            (Waiting::Scram(first), Outcome::ScramBegun(parameters)) => self
                .authentication
                .advance(&mut self.client, sasl::answer(first, &parameters)),
            (Waiting::Proof(user), Outcome::ProofAccepted { signature }) => {
                let progress = Ok(sasl::confirm(user, &signature));
                self.authentication.advance(&mut self.client, progress)
            }
            (Waiting::Password | Waiting::Proof(_), Outcome::PasswordRefused) => {
                self.authentication.password_refused()
            }
            (Waiting::Password | Waiting::Scram(_) | Waiting::Proof(_), Outcome::CheckFailed) => {
                Turn::Say(reply::AUTH_UNAVAILABLE)
            }
            (
                Waiting::Sender(envelope),
                verdict @ (Outcome::SenderPermitted
                | Outcome::SenderNotPermitted
                | Outcome::CheckFailed),
            ) => self.transaction.sender_checked(*envelope, &verdict),
            (Waiting::Delivery(framing), Outcome::DeliveryBegun) => {
                Transaction::delivery_begun(framing)
            }
            (Waiting::Delivery(framing), Outcome::DeliveryFailed(failure)) => {
                self.transaction.delivery_refused(framing, failure.into())
            }
            (Waiting::Content(framing), Outcome::Content(end)) => {
                self.transaction.content_ended(framing, end)
            }
            (Waiting::Discard(Rejection::Error(reply)), Outcome::ChunkDiscarded) => {
                Turn::Refuse(reply)
            }
            (Waiting::Discard(Rejection::OfMessage(replies)), Outcome::ChunkDiscarded)
            | (Waiting::Replies(replies), Outcome::Continued) => Turn::SayEach(replies),
            (Waiting::Discard(Rejection::NoError(reply)), Outcome::ChunkDiscarded)
            | (Waiting::Abandoned(reply), Outcome::TransactionAbandoned) => Turn::Say(reply),
            (Waiting::Tls, Outcome::TlsStarted(bindings)) => self.tls_started(bindings),
            (_, outcome) => Self::interrupted(&outcome),
        }
    }

    /// The part of `line`, the next line, that may be shown.
    pub fn disclose<'a>(&self, line: &'a [u8]) -> Disclosure<'a> {
        if self.login().is_some() {
            sasl::disclose_response(line)
        } else {
            command::disclose(line)
        }
    }

    /// The login whose exchange is in progress; the next line belongs to it.
    pub fn login(&self) -> Option<sasl::Login<'_>> {
        self.authentication.login()
    }

    fn line(&mut self, line: &[u8]) -> Turn {
        if mem::take(&mut self.at_first_line)
            && let Some(foreign) = Foreign::of_line(line)
        {
            return self.not_smtp(foreign);
        }
        if let Some(exchange) = self.authentication.take_exchange() {
            let progress = exchange.respond(line);
            return self.authentication.advance(&mut self.client, progress);
        }
        // A clone of the `Arc`: the context borrows from it while the session changes.
        let settings = Arc::clone(&self.settings);
        let context = Context {
            default_domain: &settings.hostname,
            charset: self.transaction.charset(),
            dots: self.dots(),
        };
        match Command::parse(line, &context) {
            Ok(command) => self.command(command),
            // How many octets follow is unknown, so the next octets could be content.
            Err(error @ SyntaxError::ChunkSize) => Turn::give_up(error.into()),
            Err(error) => Turn::Refuse(error.into()),
        }
    }

    fn command(&mut self, command: Command<'_>) -> Turn {
        match command {
            Command::Ehlo(_) | Command::Helo(_) | Command::Lhlo(_) => self.hello(&command),
            Command::Mail(reverse_path, parameters) => {
                self.transaction
                    .mail(&self.client, reverse_path, parameters)
            }
            Command::Rcpt(forward_path) => self.transaction.rcpt(&self.client, forward_path),
            Command::Data => self.transaction.data(&self.client),
            Command::Bdat { octets, last } => self.transaction.bdat(&self.client, octets, last),
            Command::Rset => self.transaction.abandon(reply::RESET),
            Command::Vrfy => Turn::Say(reply::CANNOT_VERIFY),
            Command::Expn => Turn::Say(reply::NO_LISTS),
            Command::Help => Turn::Say(match self.settings.dialect {
                Dialect::Smtp => reply::HELP,
                Dialect::Lmtp => reply::LMTP_HELP,
            }),
            Command::Noop => Turn::Say(reply::NOOP),
            Command::Quit => Turn::Close(reply::GOODBYE, Closing::Quit),
            Command::StartTls => self.start_tls(),
            Command::Auth {
                mechanism,
                initial_response,
            } => {
                let auth = (mechanism, initial_response.as_ref());
                let in_transaction = self.transaction.is_open();
                self.authentication
                    .begin(&mut self.client, auth, in_transaction)
            }
        }
    }

    /// The command that names the client. Each protocol refuses that of the other (RFC 2033 §4.1).
    fn hello(&mut self, command: &Command<'_>) -> Turn {
        match (self.settings.dialect, command) {
            (Dialect::Smtp, Command::Ehlo(name)) | (Dialect::Lmtp, Command::Lhlo(name)) => {
                self.ehlo(name)
            }
            (Dialect::Smtp, Command::Helo(name)) => {
                self.begin(Greeting::Helo((*name).to_owned()), reply::HELO_OK)
            }
            (Dialect::Smtp, _) => Turn::Refuse(reply::NOT_LMTP),
            (Dialect::Lmtp, _) => Turn::Refuse(reply::LHLO_ONLY),
        }
    }

    /// Not inlined, like `answered`.
    #[inline(never)]
    fn ehlo(&mut self, name: &str) -> Turn {
        let greeting = Greeting::Ehlo(name.to_owned());
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
        // RFC 1870 §4: 0 means that there is no fixed limit.
        let size = settings.message_octets_max.unwrap_or(0);
        keywords.push(format!("SIZE {size}").into());
        // RFC 9422 §4: only limits that exist are listed. The number of transactions is not
        // limited, so MAILMAX is not listed.
        if let Some(recipients_max) = settings.recipients_max {
            keywords.push(format!("LIMITS RCPTMAX={recipients_max}").into());
        }
        if self.client.link.tls == Tls::Offered {
            keywords.push("STARTTLS".into());
        }
        let mechanisms = self.authentication.mechanisms(&self.client);
        if !mechanisms.is_empty() && !self.client.is_authenticated {
            keywords.push(format!("AUTH{}", sasl::names(mechanisms)).into());
        }
        keywords.push("HELP".into());
        let reply = Reply::ehlo(&self.hostname(), &keywords);
        self.begin(greeting, reply)
    }

    /// HELO and EHLO also do what RSET does (RFC 5321 §4.1.4).
    fn begin(&mut self, greeting: Greeting, reply: Reply) -> Turn {
        self.client.greeting = greeting;
        self.transaction.abandon(reply)
    }

    fn start_tls(&self) -> Turn {
        match self.client.link.tls {
            Tls::NotOffered => Turn::Refuse(reply::NO_TLS),
            Tls::Active(_) => Turn::Refuse(reply::TLS_ALREADY),
            Tls::Offered => Turn::Ask(Some(reply::READY_FOR_TLS), Action::StartTls, Waiting::Tls),
        }
    }

    /// RFC 3207 §4.2, SEC-2: everything learnt before the handshake is forgotten. Only the counts
    /// of errors and of refused passwords stay, or TLS would be a way to reset them.
    fn tls_started(&mut self, bindings: ChannelBindings) -> Turn {
        self.client = Client::new(Link {
            tls: Tls::Active(bindings),
            ..self.client.link
        });
        self.transaction.end();
        self.at_first_line = true;
        Turn::Listen
    }

    fn not_smtp(&self, foreign: Foreign) -> Turn {
        let port = self.settings.http_port;
        let port = port.filter(|_| foreign == Foreign::Http && self.client.link.is_local);
        let reply = port.map_or(reply::NOT_SMTP, Reply::http_is_at);
        Turn::Close(reply, Closing::Foreign(foreign))
    }

    fn line_too_long(&mut self) -> Turn {
        // No SMTP client begins like this, but an HTTP request with a long path does (SEC-13).
        if mem::take(&mut self.at_first_line) {
            return self.not_smtp(Foreign::Other);
        }
        Turn::Refuse(if self.authentication.take_exchange().is_some() {
            reply::AUTH_LINE_TOO_LONG
        } else {
            reply::LINE_TOO_LONG
        })
    }

    /// Handles an outcome that can come instead of any result.
    fn interrupted(outcome: &Outcome<'_>) -> Turn {
        match outcome {
            Outcome::Ended(ending) => Turn::give_up(Reply::ended(*ending)),
            Outcome::Line(_)
            | Outcome::LineTooLong
            | Outcome::LineEndingFault(_)
            | Outcome::ForeignProtocol(_)
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
            | Outcome::Continued
            | Outcome::TransactionAbandoned
            | Outcome::TlsStarted(_) => Turn::give_up(reply::OUT_OF_STEP),
        }
    }

    /// Other servers refuse dots that only clients on this machine may write.
    fn dots(&self) -> Dots {
        if self.client.link.is_local {
            self.settings.local_dots
        } else {
            Dots::BetweenAtoms
        }
    }

    /// The name of this host in replies, which is ASCII (RFC 6531 §3.7.1).
    fn hostname(&self) -> Cow<'_, str> {
        let hostname = &self.settings.hostname;
        match hostname.to_a_label() {
            Ok(a_label) if !hostname.as_str().is_ascii() => Cow::Owned(a_label),
            Ok(_) | Err(_) => Cow::Borrowed(hostname.as_str()),
        }
    }

    /// Turns the result of an outcome into a step.
    fn step(&mut self, turn: Turn) -> Step {
        let mut step = match turn {
            Turn::Say(reply) => self.read_line(Some(reply)),
            Turn::Refuse(reply) => self.refuse(reply),
            Turn::Listen => self.read_line(None),
            Turn::Ask(reply, action, waiting) => {
                self.waiting = waiting;
                Step { reply, action }
            }
            Turn::SayEach(replies) => self.say_next(replies),
            Turn::Close(reply, closing) => self.close(reply, closing),
        };
        if let Some(reply) = &mut step.reply
            && !self.client.is_extended()
        {
            reply.drop_enhanced_code();
        }
        step
    }

    /// Says the next of several replies.
    fn say_next(&mut self, mut replies: Replies) -> Step {
        let reply = replies.next();
        if !replies.are_said() {
            self.waiting = Waiting::Replies(replies);
            let action = Action::Continue;
            return Step { reply, action };
        }
        match reply {
            Some(reply) if replies.is_end => self.close(reply, Closing::Refused),
            reply => self.read_line(reply),
        }
    }

    /// Replies to a syntax or sequence error; the first one over the limit ends the session.
    fn refuse(&mut self, reply: Reply) -> Step {
        self.errors = self.errors.saturating_add(1);
        let errors_max = self.settings.errors_max;
        if errors_max.is_some_and(|errors_max| self.errors > errors_max) {
            return self.close(reply::TOO_MANY_ERRORS, Closing::Refused);
        }
        self.read_line(Some(reply))
    }

    fn read_line(&mut self, reply: Option<Reply>) -> Step {
        self.waiting = Waiting::Line;
        let octets_max = if self.login().is_some() {
            AUTH_LINE_OCTETS_MAX
        } else {
            COMMAND_LINE_OCTETS_MAX
        };
        let action = Action::ReadLine { octets_max };
        Step { reply, action }
    }

    fn close(&mut self, reply: Reply, closing: Closing) -> Step {
        self.transaction.end();
        Step {
            reply: Some(reply),
            action: Action::Close(closing),
        }
    }
}

#[cfg(test)]
mod tests;
