//! AUTH (RFC 4954): when it may be said, and what the exchange of `mail::sasl` is told and tells.

use crate::mail::sasl::{self, Fault, Mechanism, Progress};
use crate::mail::{Secret, Tls};
use crate::smtp::limits::PASSWORD_FAILURES_MAX;
use crate::smtp::reply::{self, Reply};
use crate::smtp::step::{Action, Step};

use super::{Phase, Session, Waiting};

impl Session {
    // Not inlined: see `answered`.
    #[inline(never)]
    pub(super) fn authenticate(&mut self, name: &str, initial_response: Option<&Secret>) -> Step {
        if let Some(refusal) = self.why_not_now() {
            return self.refuse(refusal);
        }
        let offered = |mechanism: &Mechanism| self.mechanisms().contains(mechanism);
        let Some(mechanism) = Mechanism::parse(name).filter(offered) else {
            return self.refuse(reply::AUTH_MECHANISM);
        };
        self.mechanism = mechanism.name();
        let initial_response = initial_response.map(Secret::expose);
        self.advance(sasl::begin(mechanism, &self.link, initial_response))
    }

    /// What may be used at this moment, and so what EHLO lists.
    pub(super) fn mechanisms(&self) -> &'static [Mechanism] {
        if self.settings.authentication {
            sasl::offered(&self.link, self.settings.scram)
        } else {
            &[]
        }
    }

    /// RFC 4954 §4: outside a transaction, once; and where nobody reads along (SEC-2).
    ///
    /// Not only after EHLO: the RFC leaves that open, and programs that know from their
    /// configuration that they have to log in say HELO, or nothing. Postfix serves them too, and
    /// Exim does not. Nothing is lost by it, since what may be used does not depend on the
    /// greeting; and MAIL asks for one all the same.
    fn why_not_now(&self) -> Option<Reply> {
        if !self.settings.authentication {
            Some(reply::AUTH_NOT_OFFERED)
        } else if !self.link.is_private() {
            Some(match self.link.tls {
                Tls::Offered => reply::AUTH_NEEDS_TLS,
                Tls::NotOffered | Tls::Active(_) => reply::AUTH_NOT_OFFERED,
            })
        } else if self.user.is_some() {
            Some(reply::AUTH_ALREADY)
        } else if !matches!(self.phase, Phase::Idle | Phase::MailRefused) {
            Some(reply::AUTH_IN_TRANSACTION)
        } else {
            None
        }
    }

    /// Goes on with an exchange that has come so far.
    // Not inlined: see `answered`.
    #[inline(never)]
    pub(super) fn advance(&mut self, progress: Result<Progress, Fault>) -> Step {
        match progress {
            Ok(Progress::Challenge(exchange, challenge)) => {
                self.exchange = Some(exchange);
                self.say(Reply::challenge(challenge))
            }
            Ok(Progress::CheckPassword(credentials)) => {
                self.waiting = Waiting::Password(credentials.user.clone());
                Step {
                    reply: None,
                    action: Action::CheckPassword(credentials),
                }
            }
            Ok(Progress::BeginScram(first)) => {
                let user = first.user().to_owned();
                self.waiting = Waiting::Scram(first);
                Step {
                    reply: None,
                    action: Action::BeginScram { user },
                }
            }
            Ok(Progress::CheckProof(attempt)) => {
                self.waiting = Waiting::Proof(attempt.user.clone());
                Step {
                    reply: None,
                    action: Action::CheckProof(attempt),
                }
            }
            Ok(Progress::Authenticated(user)) => self.authenticated(user),
            // To change one's mind is no error, and what fails here is none of the client's.
            Err(fault @ (Fault::Cancelled | Fault::Unavailable)) => self.say(fault.into()),
            Err(fault) => self.refuse(fault.into()),
        }
    }

    pub(super) fn authenticated(&mut self, user: String) -> Step {
        self.user = Some(user);
        self.say(reply::AUTHENTICATED)
    }

    pub(super) fn password_refused(&mut self) -> Step {
        self.password_failures = self.password_failures.saturating_add(1);
        if self.password_failures >= PASSWORD_FAILURES_MAX {
            return self.close(reply::AUTH_FAILED_TOO_OFTEN);
        }
        self.say(reply::AUTH_REFUSED)
    }
}
