//! AUTHORIZATION: who the client is, and whether it gets the maildrop (RFC 1939 §4, RFC 5034).
//!
//! The commands of this state, and the results of checking a password, opening the maildrop and
//! starting TLS. Nothing here sees a message.
//!
//! A refused login gets `[AUTH]` and one fixed text, whether the user exists or not (SEC-11). A
//! system failure gets `[SYS/...]`, so that a client does not ask its user for another password
//! (RFC 3206 §3).

use crate::mail::limits::PASSWORD_FAILURES_MAX;
use crate::mail::sasl::{self, Fault, Mechanism, Progress};
use crate::mail::{ChannelBindings, Credentials, Link, Secret, Tls};
use crate::pop3::command::{LogIn, Prepare};
use crate::pop3::response::{self, Response};
use crate::pop3::step::Action;

use super::turn::{State, Turn};

/// What is known about a client before login, and remains known after it.
#[derive(Debug)]
pub(super) struct Authorization {
    link: Link,
    /// Whether SCRAM is offered.
    offers_scram: bool,
    /// Whether UTF8 is announced.
    offers_utf8: bool,
    /// Whether UTF8 was received (RFC 6856 §2.1).
    utf8: bool,
    /// The mechanism of the last login attempt.
    mechanism: &'static str,
    failures: u32,
}

impl Authorization {
    pub(super) fn new(link: Link, offers_scram: bool, offers_utf8: bool) -> Self {
        Self {
            link,
            offers_scram,
            offers_utf8,
            utf8: false,
            mechanism: "",
            failures: 0,
        }
    }

    /// Whether the client is on this machine, or counts as one that is.
    pub(super) fn is_local(&self) -> bool {
        self.link.is_local
    }

    /// The mechanism of the last login attempt, or USER.
    pub(super) fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// Whether a message must be withheld from the client because it is `internationalized`.
    pub(super) fn withholds(&self, internationalized: bool) -> bool {
        internationalized && self.offers_utf8 && !self.utf8
    }

    /// Part of a login was received; `name` is that of USER, if it was the last command.
    // Not inlined: see `Session::answered`.
    #[inline(never)]
    pub(super) fn log_in(&mut self, name: Option<String>, command: LogIn) -> Turn {
        let again = State::before_login();
        match command {
            LogIn::Apop => Turn::Refuse(again, response::APOP_NOT_OFFERED),
            // SEC-2: no password in clear off loopback.
            LogIn::Auth { .. } | LogIn::Pass(_) | LogIn::User(_) if !self.link.is_private() => {
                Turn::Refuse(again, self.not_in_clear())
            }
            LogIn::Auth {
                mechanism,
                initial_response,
            } => self.begin(&mechanism, initial_response.as_ref()),
            LogIn::Pass(password) => match name {
                Some(user) => {
                    self.mechanism = "USER";
                    self.check(Credentials { user, password })
                }
                None => Turn::Refuse(again, response::USER_FIRST),
            },
            LogIn::User(name) => {
                let name = Some(name);
                Turn::Say(State::Authorization { name }, response::SEND_PASSWORD)
            }
        }
    }

    fn not_in_clear(&self) -> Response {
        match self.link.tls {
            Tls::Offered => response::LOGIN_NEEDS_TLS,
            Tls::NotOffered | Tls::Active(_) => response::LOGIN_NOT_OFFERED,
        }
    }

    /// Handles a request to change the connection.
    pub(super) fn prepare(&mut self, command: Prepare) -> Turn {
        let again = State::before_login();
        match command {
            Prepare::Stls => {
                let refusal = match self.link.tls {
                    Tls::Active(_) => response::TLS_ALREADY,
                    Tls::NotOffered => response::NO_TLS,
                    // RFC 6856 §2.1.
                    Tls::Offered if self.utf8 => response::NO_TLS_AFTER_UTF8,
                    Tls::Offered => {
                        let response = Some(response::READY_FOR_TLS);
                        return Turn::Ask(State::StartingTls, response, Action::StartTls);
                    }
                };
                Turn::Refuse(again, refusal)
            }
            Prepare::Utf8 if self.offers_utf8 => {
                self.utf8 = true;
                Turn::Say(again, response::UTF8_ENABLED)
            }
            Prepare::Utf8 => Turn::Refuse(again, response::UTF8_NOT_OFFERED),
        }
    }

    /// The answer to CAPA before or after login, when STLS is no longer permitted (RFC 2595 §4).
    pub(super) fn capabilities(&self, is_before_login: bool) -> Response {
        let stls = is_before_login && self.link.tls == Tls::Offered && !self.utf8;
        Response::capabilities(stls, self.mechanisms(), self.offers_utf8)
    }

    /// Starts over as if the client had just connected (RFC 2595 §4): an attacker on the network
    /// path might have inserted what came before. Only the counts stay, or TLS would be a way to
    /// reset them.
    pub(super) fn tls_started(&mut self, bindings: ChannelBindings) -> Turn {
        self.link.tls = Tls::Active(bindings);
        self.utf8 = false;
        Turn::Listen(State::before_login())
    }

    fn begin(&mut self, name: &str, initial_response: Option<&Secret>) -> Turn {
        let offered = |mechanism: &Mechanism| self.mechanisms().contains(mechanism);
        let Some(mechanism) = Mechanism::parse(name).filter(offered) else {
            return Turn::Refuse(State::before_login(), response::AUTH_MECHANISM);
        };
        self.mechanism = mechanism.name();
        let initial_response = initial_response.map(Secret::expose);
        self.advance(sasl::begin(mechanism, &self.link, initial_response))
    }

    /// The mechanisms that can be used now, which CAPA lists.
    fn mechanisms(&self) -> &'static [Mechanism] {
        sasl::offered(&self.link, self.offers_scram)
    }

    /// Continues a SASL exchange after this progress.
    pub(super) fn advance(&self, progress: Result<Progress, Fault>) -> Turn {
        let again = State::before_login();
        match progress {
            Ok(Progress::Challenge(exchange, challenge)) => {
                Turn::Say(State::Exchange(exchange), Response::challenge(challenge))
            }
            Ok(Progress::CheckPassword(credentials)) => self.check(credentials),
            Ok(Progress::BeginScram(first)) => {
                let user = first.user().to_owned();
                Turn::ask(State::BeginningScram(first), Action::BeginScram { user })
            }
            Ok(Progress::CheckProof(attempt)) => {
                let (user, mechanism) = (attempt.user.clone(), self.mechanism);
                let action = Action::CheckProof { mechanism, attempt };
                Turn::ask(State::CheckingProof { user }, action)
            }
            Ok(Progress::Authenticated(_)) => authenticated(),
            // Cancelling is not an error, and an unavailable check is not the client's fault.
            Err(fault @ (Fault::Cancelled | Fault::Unavailable)) => Turn::Say(again, fault.into()),
            Err(fault) => Turn::Refuse(again, fault.into()),
        }
    }

    fn check(&self, credentials: Credentials) -> Turn {
        let action = Action::CheckPassword {
            mechanism: self.mechanism,
            credentials,
        };
        Turn::ask(State::Checking, action)
    }

    /// The login does not lead to a maildrop, and must not be tried endlessly.
    pub(super) fn refuse_login(&mut self, response: Response) -> Turn {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= PASSWORD_FAILURES_MAX {
            return Turn::give_up(response);
        }
        Turn::Say(State::before_login(), response)
    }
}

/// The login was right.
pub(super) fn authenticated() -> Turn {
    Turn::ask(State::Opening, Action::OpenMaildrop)
}
