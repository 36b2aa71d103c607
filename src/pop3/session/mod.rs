//! The session: the state machine of RFC 1939 §3 to §6.
//!
//! [`Session::greet`] returns the first [`Step`], [`Session::resume`] every later one. The session
//! does nothing itself: it opens, sends and removes by asking the driver for an [`Action`].
//!
//! # Theory of operation
//!
//! There is one state for each thing that the session can wait for. An arrow is labelled with the
//! outcome that leads on; the action in progress is in brackets.
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
//! any state ─timeout, end of the daemon, too many errors→ Closed
//! ```
//!
//! AUTHORIZATION in the RFC is everything before `Transaction`. Only `Transaction` and the states
//! after it own a [`Listing`], and only the arrow to `Update` reads its marks as a removal (I3): on
//! every other way to `Closed` the listing is dropped with its marks.
//!
//! Failures: wrong commands are answered with `-ERR` and counted, up to [`Settings::errors_max`],
//! and the next one closes the connection. An outcome that does not fit the state is a fault of the
//! driver and closes the connection without removing anything.

mod authorization;
#[cfg(test)]
mod tests;
mod transaction;
mod turn;

use std::mem;

use crate::mail::limits::AUTH_LINE_OCTETS_MAX;
use crate::mail::{Closing, Disclosure, Ending, Foreign, Link, sasl};

use super::command::{self, Always, Command, SyntaxError};
use super::limits::COMMAND_LINE_OCTETS_MAX;
use super::listing::Listing;
use super::outcome::Outcome;
use super::response::{self, Response};
use super::step::{Action, Settings, Step};

use authorization::{Authorization, authenticated};
use turn::{State, Turn};

/// One POP3 session.
#[derive(Debug)]
pub struct Session {
    settings: Settings,
    authorization: Authorization,
    state: State,
    errors: u32,
    /// Whether no line has been read yet (SEC-13).
    at_first_line: bool,
}

impl Session {
    /// A session on a new connection, which might already be encrypted.
    pub fn new(settings: Settings, link: Link) -> Self {
        Self {
            authorization: Authorization::new(link, settings.scram, settings.utf8),
            settings,
            state: State::Connected,
            errors: 0,
            at_first_line: true,
        }
    }

    /// The first step: the greeting (RFC 1939 §4), without the timestamp that would offer APOP.
    pub fn greet(&mut self) -> Step {
        let state = mem::replace(&mut self.state, State::Closed);
        let turn = if matches!(state, State::Connected) {
            Turn::Say(State::before_login(), response::GREETING)
        } else {
            Turn::give_up(response::OUT_OF_STEP)
        };
        self.step(turn)
    }

    /// Reports what happened to the session; returns what to do next.
    pub fn resume(&mut self, outcome: Outcome<'_>) -> Step {
        // The session is closed unless a handler sets a state, so a handler that ends it need not
        // set one.
        let state = mem::replace(&mut self.state, State::Closed);
        let turn = match (state, outcome) {
            (
                state @ (State::Authorization { .. } | State::Transaction(_)),
                Outcome::Line(line),
            ) => self.line(state, line),
            (state, outcome) => self.answered(state, outcome),
        };
        self.step(turn)
    }

    /// The part of `line`, the next line, that may be shown.
    pub fn disclose<'a>(&self, line: &'a [u8]) -> Disclosure<'a> {
        if matches!(self.state, State::Exchange(_)) {
            sasl::disclose_response(line)
        } else {
            command::disclose(line)
        }
    }

    /// The login whose exchange is in progress; the next line belongs to it.
    pub fn login(&self) -> Option<sasl::Login<'_>> {
        let State::Exchange(exchange) = &self.state else {
            return None;
        };
        Some(sasl::Login {
            mechanism: self.authorization.mechanism(),
            user: exchange.user(),
        })
    }

    fn line(&mut self, state: State, line: &[u8]) -> Turn {
        if mem::take(&mut self.at_first_line)
            && let Some(foreign) = Foreign::of_line(line)
        {
            return self.not_pop3(foreign);
        }
        match (Command::parse(line), state) {
            (Ok(Command::Always(command)), state) => self.command(state, command),
            (Ok(Command::LogIn(command)), State::Authorization { name }) => {
                self.authorization.log_in(name, command)
            }
            (Ok(Command::Prepare(command)), State::Authorization { .. }) => {
                self.authorization.prepare(command)
            }
            (Ok(Command::Maildrop(command)), State::Transaction(listing)) => {
                transaction::command(listing, command)
            }
            (Ok(Command::LogIn(_)), state) => Turn::Refuse(state, response::LOGGED_IN_ALREADY),
            (Ok(Command::Prepare(_)), state) => Turn::Refuse(state, response::BEFORE_LOGIN_ONLY),
            (Ok(Command::Maildrop(_)), state) => {
                Turn::Refuse(state.without_name(), response::LOG_IN_FIRST)
            }
            (Err(error), state) => Turn::Refuse(state.without_name(), error.into()),
        }
    }

    /// A command of both states was received. Not inlined, like `answered`.
    #[inline(never)]
    fn command(&self, state: State, command: Always) -> Turn {
        let state = state.without_name();
        let hostname = &self.settings.hostname;
        match (command, state) {
            (Always::Capa, state) => {
                let is_before_login = matches!(state, State::Authorization { .. });
                let response = self.authorization.capabilities(is_before_login);
                Turn::Say(state, response)
            }
            (Always::Help, state @ State::Transaction(_)) => {
                Turn::Say(state, response::HELP_AFTER_LOGIN)
            }
            (Always::Help, state) => Turn::Say(state, response::HELP_BEFORE_LOGIN),
            (Always::Lang(range), state) => lang(state, range.as_deref()),
            (Always::Quit, State::Transaction(listing)) => transaction::quit(hostname, &listing),
            (Always::Quit, _) => Turn::Close(Some(Response::goodbye(hostname)), Closing::Quit),
        }
    }

    /// Something other than a line was received. Not inlined: its frames would be on the stack of
    /// every session, thousands of times (NET-1).
    #[inline(never)]
    fn answered(&mut self, state: State, outcome: Outcome<'_>) -> Turn {
        match (state, outcome) {
            (State::Exchange(exchange), Outcome::Line(line)) => {
                self.authorization.advance(exchange.respond(line))
            }
            (State::Authorization { .. } | State::Exchange(_), Outcome::LineTooLong) => {
                self.line_too_long(State::before_login())
            }
            (state @ State::Transaction(_), Outcome::LineTooLong) => self.line_too_long(state),

            (State::Checking, Outcome::PasswordAccepted) => authenticated(),
            (State::BeginningScram(first), Outcome::ScramBegun(parameters)) => {
                self.authorization.advance(sasl::answer(first, &parameters))
            }
            (State::CheckingProof { user }, Outcome::ProofAccepted { signature }) => {
                let progress = sasl::confirm(user, &signature);
                self.authorization.advance(Ok(progress))
            }
            (State::Checking | State::CheckingProof { .. }, Outcome::PasswordRefused) => {
                self.authorization.refuse_login(response::LOGIN_REFUSED)
            }
            (State::Checking | State::CheckingProof { .. }, Outcome::MailboxAmbiguous) => {
                self.authorization.refuse_login(response::MAILBOX_AMBIGUOUS)
            }
            (
                State::Checking | State::BeginningScram(_) | State::CheckingProof { .. },
                Outcome::CheckFailed,
            ) => Turn::Say(State::before_login(), sasl::Fault::Unavailable.into()),
            (State::Opening, Outcome::MaildropOpened(messages)) => {
                let listing = Listing::new(messages);
                let response = Response::maildrop(listing.visible());
                Turn::Say(State::Transaction(listing), response)
            }
            // The password was right, but there is no maildrop for it (RFC 1939 §4).
            (State::Opening, Outcome::MaildropInUse) => {
                Turn::Say(State::before_login(), response::MAILDROP_IN_USE)
            }
            (State::Opening, Outcome::MaildropFailed { transient }) => {
                Turn::Say(State::before_login(), Response::maildrop_failed(transient))
            }
            (State::StartingTls, Outcome::TlsStarted(bindings)) => {
                self.at_first_line = true;
                self.authorization.tls_started(bindings)
            }

            (
                State::Retrieving(listing, retrieval),
                Outcome::MessageOpened {
                    internationalized,
                    edited_octets,
                },
            ) => {
                let withheld = self.authorization.withholds(internationalized);
                transaction::message_opened(listing, retrieval.edited(edited_octets), withheld)
            }
            (State::Retrieving(listing, _), Outcome::MessageGone) => {
                Turn::Say(State::Transaction(listing), response::MESSAGE_GONE)
            }
            (State::Retrieving(listing, _), Outcome::MessageFailed { transient }) => {
                let response = Response::message_failed(transient);
                Turn::Say(State::Transaction(listing), response)
            }
            (State::Sending(listing), Outcome::ContentSent) => {
                Turn::Listen(State::Transaction(listing))
            }
            (State::Update { left }, Outcome::Removed) => {
                transaction::sign_off(&self.settings.hostname, left)
            }

            (state, outcome) => self.interrupted(&state, &outcome),
        }
    }

    /// Handles an outcome that can come instead of any result.
    fn interrupted(&self, state: &State, outcome: &Outcome<'_>) -> Turn {
        match (state, outcome) {
            // Nothing may be sent in the middle of a content, nor at an autologout.
            (State::Closed | State::Sending(_), _)
            | (_, Outcome::Ended(Ending::IdleTimeout | Ending::TooSlow)) => {
                Turn::Close(None, Closing::Refused)
            }
            // Some of the messages might be removed by now: no other text would be true.
            (State::Update { .. }, _) => Turn::give_up(response::REMOVE_FAILED),
            (_, Outcome::Ended(ending)) => Turn::Close(Response::ended(*ending), Closing::Refused),
            (_, Outcome::LineEndingFault(_)) => Turn::give_up(response::LINE_ENDING),
            (_, Outcome::ForeignProtocol(foreign)) => self.not_pop3(*foreign),
            _ => Turn::give_up(response::OUT_OF_STEP),
        }
    }

    fn not_pop3(&self, foreign: Foreign) -> Turn {
        let port = self.settings.http_port;
        let port = port.filter(|_| foreign == Foreign::Http && self.authorization.is_local());
        let response = port.map_or(response::NOT_POP3, Response::http_is_at);
        Turn::Close(Some(response), Closing::Foreign(foreign))
    }

    fn line_too_long(&mut self, state: State) -> Turn {
        let response = Response::from(SyntaxError::LineTooLong);
        // No client begins with such a line: it is another protocol, whose further lines must not
        // be executed (SEC-13).
        if mem::take(&mut self.at_first_line) {
            return Turn::Close(Some(response), Closing::Foreign(Foreign::Other));
        }
        Turn::Refuse(state, response)
    }

    /// Turns the result of an outcome into a step.
    fn step(&mut self, turn: Turn) -> Step {
        match turn {
            Turn::Say(state, response) => self.read_line(state, Some(response)),
            Turn::Refuse(state, response) => self.refuse(state, response),
            Turn::Listen(state) => self.read_line(state, None),
            Turn::Ask(state, response, action) => {
                self.state = state;
                Step { response, action }
            }
            Turn::Close(response, closing) => Step {
                response,
                action: Action::Close(closing),
            },
        }
    }

    /// Responds to a wrong command; the first one over the limit ends the session.
    fn refuse(&mut self, state: State, response: Response) -> Step {
        self.errors = self.errors.saturating_add(1);
        let errors_max = self.settings.errors_max;
        if errors_max.is_some_and(|errors_max| self.errors > errors_max) {
            return Step {
                response: Some(response::TOO_MANY_ERRORS),
                action: Action::Close(Closing::Refused),
            };
        }
        self.read_line(state, Some(response))
    }

    fn read_line(&mut self, state: State, response: Option<Response>) -> Step {
        let octets_max = if matches!(state, State::Exchange(_)) {
            AUTH_LINE_OCTETS_MAX
        } else {
            COMMAND_LINE_OCTETS_MAX
        };
        self.state = state;
        let action = Action::ReadLine { octets_max };
        Step { response, action }
    }
}

/// Lists the languages or chooses the only one.
///
/// A range that names a region (`en-GB`) gets the language, as in the lookup of RFC 4647 §3.4:
/// RFC 6856 §3.2 requires one language for a range.
fn lang(state: State, range: Option<&str>) -> Turn {
    let Some(range) = range else {
        return Turn::Say(state, Response::languages());
    };
    let primary = range.split('-').next().unwrap_or(range);
    if range.eq_ignore_ascii_case("i-default") {
        Turn::Say(state, response::LANG_DEFAULT)
    } else if range == "*" || primary.eq_ignore_ascii_case("en") {
        Turn::Say(state, response::LANG_ENGLISH)
    } else {
        Turn::Say(state, response::LANG_UNKNOWN)
    }
}
