//! What the session knows about its client.

use crate::mail::{Family, Link, Protocol, Tls};
use crate::smtp::reply::{self, Reply};
use crate::smtp::step::{Dialect, Senders};

/// The client.
#[derive(Debug)]
pub(super) struct Client {
    /// Its connection.
    pub(super) link: Link,
    pub(super) greeting: Greeting,
    /// Whether it has logged in.
    pub(super) is_authenticated: bool,
}

/// The client's name, and the command that it came with.
#[derive(Debug)]
pub(super) enum Greeting {
    /// The client has sent neither HELO nor EHLO.
    None,
    Helo(String),
    /// Or LHLO, which means the same.
    Ehlo(String),
}

impl Client {
    /// A client that has sent nothing.
    pub(super) fn new(link: Link) -> Self {
        Self {
            link,
            greeting: Greeting::None,
            is_authenticated: false,
        }
    }

    /// Whether EHLO announced enhanced status codes to the client.
    pub(super) fn is_extended(&self) -> bool {
        matches!(self.greeting, Greeting::Ehlo(_))
    }

    pub(super) fn name(&self) -> Option<&str> {
        match &self.greeting {
            Greeting::None => None,
            Greeting::Helo(name) | Greeting::Ehlo(name) => Some(name),
        }
    }

    pub(super) fn protocol(&self, dialect: Dialect, utf8: bool) -> Protocol {
        Protocol {
            family: match dialect {
                Dialect::Smtp => Family::Smtp,
                Dialect::Lmtp => Family::Lmtp,
            },
            extended: self.is_extended(),
            tls: self.link.is_encrypted(),
            authenticated: self.is_authenticated,
            utf8,
        }
    }

    /// RFC 4954 §6: the refusal if mail is accepted only after AUTH, and there was none.
    pub(super) fn missing_authentication(&self, senders: Senders) -> Option<Reply> {
        match senders {
            Senders::Authenticated if !self.is_authenticated => Some(match self.link.tls {
                Tls::Offered if !self.link.is_private() => reply::TLS_AND_AUTH_REQUIRED,
                Tls::NotOffered | Tls::Offered | Tls::Active(_) => reply::AUTH_REQUIRED,
            }),
            Senders::Anybody | Senders::Authenticated => None,
        }
    }
}
