//! AUTH (RFC 4954): when it is allowed, and its link to the exchange of `mail::sasl`.

use crate::mail::limits::PASSWORD_FAILURES_MAX;
use crate::mail::sasl::{self, Exchange, Fault, Mechanism, Progress};
use crate::mail::{Secret, Tls};
use crate::smtp::reply::{self, Reply};
use crate::smtp::step::Action;

use super::client::Client;
use super::turn::{Turn, Waiting};

/// The state of AUTH in this session.
#[derive(Debug)]
pub(super) struct Authentication {
    /// Whether SCRAM is offered.
    offers_scram: bool,
    /// The exchange in progress: the next line belongs to it.
    exchange: Option<Exchange>,
    /// The mechanism of the last login attempt.
    mechanism: &'static str,
    failures: u32,
}

impl Authentication {
    pub(super) fn new(offers_scram: bool) -> Self {
        Self {
            offers_scram,
            exchange: None,
            mechanism: "",
            failures: 0,
        }
    }

    /// The login whose exchange is in progress.
    pub(super) fn login(&self) -> Option<sasl::Login<'_>> {
        self.exchange.as_ref().map(|exchange| sasl::Login {
            mechanism: self.mechanism,
            user: exchange.user(),
        })
    }

    /// Takes the exchange in progress.
    pub(super) fn take_exchange(&mut self) -> Option<Exchange> {
        self.exchange.take()
    }

    /// AUTH was received, in a mail transaction or outside of one.
    // Not inlined: see `Session::answered`.
    #[inline(never)]
    pub(super) fn begin(
        &mut self,
        client: &mut Client,
        (name, initial_response): (&str, Option<&Secret>),
        in_transaction: bool,
    ) -> Turn {
        if let Some(refusal) = why_not_now(client, in_transaction) {
            return Turn::Refuse(refusal);
        }
        let offered = |mechanism: &Mechanism| self.mechanisms(client).contains(mechanism);
        let Some(mechanism) = Mechanism::parse(name).filter(offered) else {
            return Turn::Refuse(reply::AUTH_MECHANISM);
        };
        self.mechanism = mechanism.name();
        let initial_response = initial_response.map(Secret::expose);
        let progress = sasl::begin(mechanism, &client.link, initial_response);
        self.advance(client, progress)
    }

    /// The mechanisms that can be used now, which EHLO lists.
    pub(super) fn mechanisms(&self, client: &Client) -> &'static [Mechanism] {
        sasl::offered(&client.link, self.offers_scram)
    }

    /// Continues an exchange after this progress.
    // Not inlined: see `Session::answered`.
    #[inline(never)]
    pub(super) fn advance(
        &mut self,
        client: &mut Client,
        progress: Result<Progress, Fault>,
    ) -> Turn {
        let mechanism = self.mechanism;
        match progress {
            Ok(Progress::Challenge(exchange, challenge)) => {
                self.exchange = Some(exchange);
                Turn::Say(Reply::challenge(challenge))
            }
            Ok(Progress::CheckPassword(credentials)) => {
                let action = Action::CheckPassword {
                    mechanism,
                    credentials,
                };
                Turn::ask(action, Waiting::Password)
            }
            Ok(Progress::BeginScram(first)) => {
                let user = first.user().to_owned();
                Turn::ask(Action::BeginScram { user }, Waiting::Scram(first))
            }
            Ok(Progress::CheckProof(attempt)) => {
                let user = attempt.user.clone();
                let action = Action::CheckProof { mechanism, attempt };
                Turn::ask(action, Waiting::Proof(user))
            }
            Ok(Progress::Authenticated(_)) => authenticated(client),
            // Cancelling is not an error, and an unavailable check is not the client's fault.
            Err(fault @ (Fault::Cancelled | Fault::Unavailable)) => Turn::Say(fault.into()),
            Err(fault) => Turn::Refuse(fault.into()),
        }
    }

    pub(super) fn password_refused(&mut self) -> Turn {
        self.failures = self.failures.saturating_add(1);
        if self.failures >= PASSWORD_FAILURES_MAX {
            return Turn::give_up(reply::AUTH_FAILED_TOO_OFTEN);
        }
        Turn::Say(reply::AUTH_REFUSED)
    }
}

pub(super) fn authenticated(client: &mut Client) -> Turn {
    client.is_authenticated = true;
    Turn::Say(reply::AUTHENTICATED)
}

/// RFC 4954 §4: outside a transaction, once; and only where nobody can eavesdrop (SEC-2).
///
/// EHLO is not required: the RFC leaves that open, and programs that know from their configuration
/// that they have to log in send HELO, or nothing. Postfix serves them too, and Exim does not.
/// Nothing is lost by it: the mechanisms do not depend on the greeting, and MAIL still requires
/// one.
fn why_not_now(client: &Client, in_transaction: bool) -> Option<Reply> {
    if !client.link.is_private() {
        Some(match client.link.tls {
            Tls::Offered => reply::AUTH_NEEDS_TLS,
            Tls::NotOffered | Tls::Active(_) => reply::AUTH_NOT_OFFERED,
        })
    } else if client.is_authenticated {
        Some(reply::AUTH_ALREADY)
    } else if in_transaction {
        Some(reply::AUTH_IN_TRANSACTION)
    } else {
        None
    }
}
