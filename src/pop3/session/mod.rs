//! The session: the state machine of RFC 1939 §3 to §6.
//!
//! [`Session::greet`] gives the first [`Step`], [`Session::resume`] every further one. The session
//! does nothing itself: it opens, sends and removes by asking the driver for an [`Action`].
//!
//! # Theory of operation
//!
//! There is one state per thing that can be waited for. An arrow is the outcome that leads on; the
//! action that is under way stands in brackets.
//!
//! ```text
//! Connected ─greet→ Authorization
//!
//! Authorization [ReadLine]
//!   USER, PASS → Checking [CheckPassword] ─accepted→ Opening [OpenMaildrop] ─opened→ Transaction
//!   AUTH → Exchange [ReadLine] → Checking            (refused, in use, failed → Authorization)
//!   AUTH → Exchange [ReadLine] → BeginningScram [BeginScram] → Exchange [ReadLine]
//!        → CheckingProof [CheckProof] ─accepted→ Exchange [ReadLine] → Opening
//!   STLS → StartingTls [StartTls] ─started→ Authorization, all forgotten
//!   QUIT → Closed
//!
//! Transaction [ReadLine]
//!   RETR, TOP → Retrieving [OpenMessage] ─opened→ Sending [SendContent] ─sent→ Transaction
//!   QUIT, no marks → Closed
//!   QUIT, marks → Update [RemoveMarked] ─removed, failed→ Closed
//!
//! any state ─connection lost, timeout, end of the daemon, too many errors→ Closed
//! ```
//!
//! AUTHORIZATION of the RFC is all that comes before `Transaction`. Only `Transaction` and what
//! follows it owns a [`Listing`], and only the arrow to `Update` reads its marks as a removal
//! (I3): in every other way to `Closed` the listing is dropped with its marks.
//!
//! What fails: wrong commands are answered with `-ERR` and counted, up to
//! [`Settings::errors_max`], and the next one closes the connection; an outcome that does not fit
//! the state is a fault of the driver and closes the connection, with nothing removed.

mod authorization;
mod step;
#[cfg(test)]
mod tests;
mod transaction;

use std::{mem, sync::Arc};

pub use self::step::{Action, Extent, Outcome, Settings, Step};
use self::transaction::Retrieval;
use super::{
    Command, Response, SyntaxError, command,
    limits::{COMMAND_LINE_OCTETS_MAX, SASL_LINE_OCTETS_MAX},
    listing::Listing,
    response::Code,
};
use crate::mail::{
    Disclosure, Foreign, Link, Summaries,
    sasl::{self, Exchange, scram::ClientFirst},
};

/// The life of one connection.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    link: Link,
    state: State,
    /// Who has logged in.
    user: Option<String>,
    /// Whether UTF8 was given (RFC 6856 §2.1).
    utf8: bool,
    /// Whether no line has been read yet (SEC-13).
    at_first_line: bool,
    /// What the client speaks instead of POP3.
    foreign: Option<Foreign>,
    /// How the client tried to log in last.
    mechanism: &'static str,
    errors: u32,
    password_failures: u32,
}

/// What the session waits for. See the theory of operation above.
#[derive(Debug)]
enum State {
    /// Nothing is said yet.
    Connected,
    /// A command, before login.
    Authorization {
        /// The name of a USER command, when that was the last command: PASS must follow it at once
        /// (RFC 1939 §7).
        name: Option<String>,
    },
    /// A response of a SASL exchange.
    Exchange(Exchange),
    /// The verdict on a password.
    Checking {
        /// Whose it is.
        user: String,
    },
    /// What SCRAM needs to know of a user.
    BeginningScram(ClientFirst),
    /// The verdict on a proof.
    CheckingProof {
        /// Whose it is.
        user: String,
    },
    /// The maildrop.
    Opening,
    /// TLS.
    StartingTls,
    /// A command, after login.
    Transaction(Listing),
    /// A message, for RETR or TOP.
    Retrieving(Listing, Retrieval),
    /// The end of its content.
    Sending(Listing),
    /// The removal of the marked messages.
    Update {
        /// How many messages are not marked.
        left: usize,
    },
    /// Nothing any more.
    Closed,
}

impl Session {
    /// A session that has said nothing yet, on a connection that may be encrypted already.
    pub fn new(settings: Settings, link: Link) -> Self {
        Self {
            settings,
            link,
            state: State::Connected,
            user: None,
            utf8: false,
            at_first_line: true,
            foreign: None,
            mechanism: "",
            errors: 0,
            password_failures: 0,
        }
    }

    /// Begins the session with a greeting (RFC 1939 §4), without the timestamp that would offer
    /// APOP.
    pub fn greet(&mut self) -> Step {
        if !matches!(
            mem::replace(&mut self.state, State::Closed),
            State::Connected
        ) {
            return Self::out_of_step();
        }
        self.reply(
            State::Authorization { name: None },
            Response::ok("facteur POP3 server ready"),
        )
    }

    /// The user who has logged in, by the name that was given; for the log, which must escape it.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// What of `line`, which comes next, may be shown.
    pub fn disclose<'a>(&self, line: &'a [u8]) -> Disclosure<'a> {
        if matches!(self.state, State::Exchange(_)) {
            sasl::disclose_response(line)
        } else {
            command::disclose(line)
        }
    }

    /// The login whose exchange is under way; the next line is a part of it.
    pub fn login(&self) -> Option<sasl::Login<'_>> {
        let State::Exchange(exchange) = &self.state else {
            return None;
        };
        Some(sasl::Login {
            mechanism: self.mechanism,
            user: exchange.user(),
        })
    }

    /// The name of the mechanism by which the client tried to log in last, USER for that command.
    pub fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// What the client speaks instead of POP3, where its first line showed that.
    pub fn foreign(&self) -> Option<Foreign> {
        self.foreign
    }

    /// How long a line may be now, in octets with its line ending: in a SASL exchange longer than
    /// else.
    pub fn line_octets_max(&self) -> usize {
        if matches!(self.state, State::Exchange(_)) {
            SASL_LINE_OCTETS_MAX
        } else {
            COMMAND_LINE_OCTETS_MAX
        }
    }

    /// Goes on with what came of the last action.
    pub fn resume(&mut self, outcome: Outcome<'_>) -> Step {
        if let Outcome::Line(line) = &outcome
            && mem::take(&mut self.at_first_line)
        {
            self.foreign = Foreign::of_line(line);
            if self.foreign.is_some() {
                return self.resume(Outcome::ForeignProtocol);
            }
        }
        // A handler that ends the session need not set a state: it is closed unless one is set.
        let state = mem::replace(&mut self.state, State::Closed);
        match (state, outcome) {
            (State::Authorization { name }, Outcome::Line(line)) => match Command::parse(line) {
                Ok(command) => self.authorization(name, command),
                Err(error) => self.fault(State::Authorization { name: None }, error.into()),
            },
            (State::Transaction(listing), Outcome::Line(line)) => match Command::parse(line) {
                Ok(command) => self.transaction(listing, command),
                Err(error) => self.fault(State::Transaction(listing), error.into()),
            },
            (state, outcome) => self.answered(state, outcome),
        }
    }

    /// What is no command has come. Not inlined: the frames of all this would be on the stack of
    /// every session, thousands of times (NET-1).
    #[inline(never)]
    fn answered(&mut self, state: State, outcome: Outcome<'_>) -> Step {
        match (state, outcome) {
            (State::Exchange(exchange), Outcome::Line(line)) => {
                self.advance(exchange.respond(line))
            }
            (State::Authorization { .. } | State::Exchange(_), Outcome::LineTooLong) => {
                self.line_too_long(State::Authorization { name: None })
            }
            (State::Transaction(listing), Outcome::LineTooLong) => {
                self.line_too_long(State::Transaction(listing))
            }

            (State::Checking { user }, Outcome::PasswordAccepted) => self.authenticated(user),
            (State::BeginningScram(first), Outcome::ScramBegun(parameters)) => {
                self.advance(first.answer(&parameters))
            }
            (State::CheckingProof { user }, Outcome::ProofAccepted { signature }) => {
                self.advance(Ok(sasl::confirm(user, &signature)))
            }
            (State::Checking { .. } | State::CheckingProof { .. }, Outcome::PasswordRefused) => {
                self.password_refused()
            }
            (State::Checking { .. } | State::CheckingProof { .. }, Outcome::MailboxAmbiguous) => {
                self.mailbox_ambiguous()
            }
            (
                State::Checking { .. } | State::BeginningScram(_) | State::CheckingProof { .. },
                Outcome::CheckFailed,
            ) => self.check_failed(),
            (State::Opening, Outcome::MaildropOpened(messages)) => self.maildrop_opened(messages),
            (State::Opening, Outcome::MaildropInUse) => self.maildrop_in_use(),
            (State::Opening, Outcome::MaildropFailed { transient }) => {
                self.maildrop_failed(transient)
            }
            (State::StartingTls, Outcome::TlsStarted(bindings)) => self.tls_started(bindings),

            (
                State::Retrieving(listing, retrieval),
                Outcome::MessageOpened {
                    internationalized,
                    edited_octets,
                },
            ) => {
                let retrieval = retrieval.edited(edited_octets);
                self.message_opened(listing, retrieval, internationalized)
            }
            (State::Retrieving(listing, _), Outcome::MessageGone) => self.message_gone(listing),
            (State::Retrieving(listing, _), Outcome::MessageFailed { transient }) => {
                self.message_failed(listing, transient)
            }
            (State::Sending(listing), Outcome::ContentSent) => {
                self.act(State::Transaction(listing), None, Action::ReadLine)
            }
            (State::Update { left }, Outcome::Removed) => self.sign_off(left),
            (State::Update { .. }, Outcome::RemoveFailed) => Self::remove_failed(),

            (state, outcome) => Self::end(&state, &outcome),
        }
    }

    /// Answers the outcomes that end the session in any state.
    fn end(state: &State, outcome: &Outcome<'_>) -> Step {
        match (state, outcome) {
            // Nothing may be said in the middle of a content, nor at an autologout, where it could
            // be taken for the response to the next command (RFC 1939 §3).
            (State::Closed | State::Sending(_), _)
            | (_, Outcome::ConnectionLost | Outcome::IdleTimeout) => Self::close(None),
            // Some of the messages may be removed by now: no other text would be true.
            (State::Update { .. }, _) => Self::remove_failed(),
            (_, Outcome::SessionTimeout) => Self::close(Some(Response::err_with(
                Code::SysTemp,
                "Session has lasted too long, nothing is removed, connect again",
            ))),
            (_, Outcome::ShuttingDown) => Self::close(Some(Response::err_with(
                Code::SysTemp,
                "Server is shutting down, nothing is removed, connect again later",
            ))),
            (_, Outcome::Displaced) => Self::close(Some(Response::err_with(
                Code::SysTemp,
                "Too many connections from your network, nothing is removed, connect again later",
            ))),
            // RFC 3206 §5 has the code for failed authentication commands; that is what becomes of
            // the login here, and clients ask for the new password.
            (_, Outcome::Revoked) => Self::close(Some(Response::err_with(
                Code::Auth,
                "The account was removed or its password changed, no mail is removed, log in again",
            ))),
            (_, Outcome::LineEndingFault) => Self::close(Some(Response::err(
                "Bare CR or bare LF, end every line with CRLF, closing connection",
            ))),
            (_, Outcome::ForeignProtocol) => Self::close(Some(Response::err(
                "This is a POP3 server, closing connection",
            ))),
            _ => Self::out_of_step(),
        }
    }

    fn line_too_long(&mut self, state: State) -> Step {
        let response = Response::from(SyntaxError::LineTooLong);
        // No client begins with such a line: it is another protocol, whose further lines must not
        // be executed (SEC-13).
        if mem::take(&mut self.at_first_line) {
            self.foreign = Some(Foreign::Other);
            return Self::close(Some(response));
        }
        self.fault(state, response)
    }

    /// Counts a wrong command, and goes on in `state` or closes the connection.
    fn fault(&mut self, state: State, response: Response) -> Step {
        self.errors = self.errors.saturating_add(1);
        if self.settings.errors_max != 0 && self.errors > self.settings.errors_max {
            return Self::close(Some(Response::err("Too many errors, closing connection")));
        }
        self.reply(state, response)
    }

    fn reply(&mut self, state: State, response: Response) -> Step {
        self.act(state, Some(response), Action::ReadLine)
    }

    fn act(&mut self, state: State, response: Option<Response>, action: Action) -> Step {
        self.state = state;
        Step { response, action }
    }

    fn close(response: Option<Response>) -> Step {
        Step {
            response,
            action: Action::Close,
        }
    }

    /// Answers an outcome that does not belong to the action that was asked for.
    fn out_of_step() -> Step {
        Self::close(Some(Response::err_with(
            Code::SysTemp,
            "Internal error, closing connection",
        )))
    }

    fn maildrop_opened(&mut self, messages: Arc<dyn Summaries>) -> Step {
        let listing = Listing::new(messages);
        let response = Response::ok(format!("Maildrop has {}", listing.visible()));
        self.reply(State::Transaction(listing), response)
    }
}
