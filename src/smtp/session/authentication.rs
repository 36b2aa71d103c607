//! AUTH: PLAIN and LOGIN (RFC 4954, RFC 4616, draft-murchison-sasl-login).

use crate::mail::{Credentials, Secret, sasl};
use crate::smtp::limits::PASSWORD_FAILURES_MAX;
use crate::smtp::reply::{self, Reply};
use crate::smtp::step::{Action, Step};

use super::{Phase, Session, Waiting};

/// An exchange whose next line is awaited.
#[derive(Debug)]
pub(super) enum Exchange {
    /// PLAIN: the one message of the client.
    Plain,
    /// LOGIN: the user name.
    LoginUser,
    /// LOGIN: the password of this user.
    LoginPassword(String),
}

impl Session {
    pub(super) fn authenticate(&mut self, mechanism: &str, response: Option<&str>) -> Step {
        if let Some(refusal) = self.why_not_now() {
            return self.refuse(refusal);
        }
        let exchange = if mechanism.eq_ignore_ascii_case("PLAIN") {
            Exchange::Plain
        } else if mechanism.eq_ignore_ascii_case("LOGIN") {
            Exchange::LoginUser
        } else {
            return self.refuse(reply::AUTH_MECHANISM);
        };
        match (response, &exchange) {
            (Some(response), _) => self.authentication_line(exchange, response.as_bytes()),
            (None, Exchange::Plain) => self.ask(exchange, reply::AUTH_CONTINUE),
            (None, Exchange::LoginUser | Exchange::LoginPassword(_)) => {
                self.ask(exchange, reply::AUTH_USER_NAME)
            }
        }
    }

    /// RFC 4954 §4: after EHLO, outside a transaction, once.
    fn why_not_now(&self) -> Option<Reply> {
        if !self.settings.authentication {
            Some(reply::AUTH_NOT_OFFERED)
        } else if !self.is_extended() {
            Some(reply::AUTH_NEEDS_EHLO)
        } else if self.authenticated {
            Some(reply::AUTH_ALREADY)
        } else if !matches!(self.phase, Phase::Idle | Phase::MailRefused) {
            Some(reply::AUTH_IN_TRANSACTION)
        } else {
            None
        }
    }

    pub(super) fn authentication_line(&mut self, exchange: Exchange, line: &[u8]) -> Step {
        if line == b"*" {
            return self.refuse(reply::AUTH_CANCELLED);
        }
        let Some(message) = sasl::decode_base64(line) else {
            return self.refuse(reply::AUTH_NOT_BASE64);
        };
        match exchange {
            Exchange::Plain => match sasl::parse_plain(&message) {
                Some(credentials) => self.check(credentials),
                None => self.refuse(reply::AUTH_NOT_BASE64),
            },
            Exchange::LoginUser => match String::from_utf8(message) {
                Ok(user) => self.ask(Exchange::LoginPassword(user), reply::AUTH_PASSWORD),
                Err(_) => self.refuse(reply::AUTH_NOT_BASE64),
            },
            Exchange::LoginPassword(user) => match String::from_utf8(message) {
                Ok(password) => self.check(Credentials {
                    user,
                    password: Secret::new(password),
                }),
                Err(_) => self.refuse(reply::AUTH_NOT_BASE64),
            },
        }
    }

    fn ask(&mut self, exchange: Exchange, prompt: Reply) -> Step {
        self.exchange = Some(exchange);
        self.say(prompt)
    }

    fn check(&mut self, credentials: Credentials) -> Step {
        self.waiting = Waiting::Password;
        Step {
            reply: None,
            action: Action::CheckPassword(credentials),
        }
    }

    pub(super) fn password_accepted(&mut self) -> Step {
        self.authenticated = true;
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
