//! What the sessions of the protocols share, and the settings of each protocol.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::accounts::Accounts;
use crate::api::Api;
use crate::clock::Clock;
use crate::config::{Config, Endpoint};
use crate::http::Rules;
use crate::inbox::{self, Paths};
use crate::mail::{Door, Dots, Service};
use crate::server::{self, Handshakes, Logins, Remembered, Sessions, SignIns, Waiters};
use crate::store::MessageStore;
use crate::{pop3, smtp};

/// What the sessions of all protocols share.
pub(super) struct Shared<'a> {
    pub(super) config: &'a Config,
    pub(super) store: &'a Arc<MessageStore>,
    pub(super) clock: &'a Clock,
    /// Who receives mail, and who may log in.
    pub(super) accounts: &'a Arc<Accounts>,
    /// Verifies passwords.
    pub(super) logins: Arc<Logins>,
    /// How TLS begins, if there is a certificate.
    pub(super) handshakes: Option<Arc<Handshakes>>,
    /// The sub-addresses of messages.
    pub(super) paths: Arc<Paths>,
    /// How much memory the inbox may use.
    pub(super) inbox: inbox::Memory,
    /// What listens where.
    pub(super) addresses: &'a [(&'static Endpoint, SocketAddr)],
}

impl Shared<'_> {
    /// What SMTP sessions need.
    pub(super) fn smtp(&self) -> Sessions {
        Sessions::Smtp(server::smtp::Environment {
            store: Arc::clone(self.store),
            accounts: Arc::clone(self.accounts),
            clock: self.clock.clone(),
            logins: Arc::clone(&self.logins),
            handshakes: self.handshakes.clone(),
            settings: Arc::new(self.smtp_settings()),
            starttls: self.config.starttls.0,
            paths: Arc::clone(&self.paths),
            bare_octets: self.config.bare_lf.0,
        })
    }

    /// What POP3 sessions need.
    pub(super) fn pop3(&self) -> Sessions {
        Sessions::Pop3(server::pop3::Environment {
            store: Arc::clone(self.store),
            accounts: Arc::clone(self.accounts),
            logins: Arc::clone(&self.logins),
            handshakes: self.handshakes.clone(),
            starttls: self.config.starttls.0,
            settings: self.pop3_settings(),
        })
    }

    /// What HTTP sessions need, in a server with this many places for sessions.
    pub(super) fn http(&self, places: usize) -> Sessions {
        let (store, accounts) = (self.store, self.accounts);
        let clock = self.clock.clone();
        let api = Api::new(Arc::clone(store), Arc::clone(accounts), clock, self.inbox);
        let api = api.receiving_at(self.receiving_at());
        let api = api.knowing(Arc::clone(&self.paths));
        Sessions::Http(server::http::Environment {
            api: Arc::new(api),
            store: Arc::clone(store),
            accounts: Arc::clone(accounts),
            logins: Arc::clone(&self.logins),
            remembered: Arc::new(Remembered::nothing(self.clock.clone())),
            sign_ins: Arc::new(SignIns::none(self.clock.clone())),
            handshakes: self.handshakes.clone(),
            rules: Arc::new(self.rules()),
            waiters: Waiters::of(places),
            smtp: Arc::new(self.smtp_settings()),
            paths: Arc::clone(&self.paths),
            clock: self.clock.clone(),
        })
    }

    fn smtp_settings(&self) -> smtp::Settings {
        let config = self.config;
        smtp::Settings {
            hostname: config.hostname.0.clone(),
            message_octets_max: config.limits.message_octets.0,
            recipients_max: Some(config.limits.recipients.0),
            errors_max: self.errors_max(),
            scram: false,
            senders: if config.require_auth {
                smtp::Senders::Authenticated
            } else {
                smtp::Senders::Anybody
            },
            // A developer's own server accepts what programs send. A server with accounts accepts
            // only what other servers do.
            local_dots: if config.table.is_none() {
                Dots::Anywhere
            } else {
                Dots::BetweenAtoms
            },
            // A listener may speak another.
            dialect: smtp::Dialect::Smtp,
            http_port: self.http_port(),
        }
    }

    fn pop3_settings(&self) -> pop3::Settings {
        pop3::Settings {
            hostname: self.config.hostname.0.as_str().to_owned(),
            errors_max: self.errors_max(),
            scram: false,
            utf8: self.config.pop3_utf8,
            http_port: self.http_port(),
        }
    }

    /// How many mistakes a session of either protocol may make.
    fn errors_max(&self) -> Option<u32> {
        let errors = self.config.limits.errors.0;
        errors.map(|errors| u32::try_from(errors).unwrap_or(u32::MAX))
    }

    fn http_port(&self) -> Option<u16> {
        let http = self.addresses_of(Service::Http);
        http.map(SocketAddr::port).next()
    }

    /// Whose HTTP requests are answered.
    fn rules(&self) -> Rules {
        let config = self.config;
        Rules {
            hostname: config.hostname.0.to_string().to_ascii_lowercase(),
            http_names: config.http_names.clone(),
            http_origins: config.http_origins.clone(),
            ports: self
                .addresses_of(Service::Http)
                .map(SocketAddr::port)
                .collect(),
        }
    }

    /// Where SMTP listens without TLS.
    fn receiving_at(&self) -> Vec<SocketAddr> {
        let plain = |(endpoint, _): &&(&Endpoint, _)| {
            (endpoint.service, endpoint.door) == (Service::Smtp, Door::Plain)
        };
        let plain = self.addresses.iter().filter(plain);
        plain.map(|(_, address)| *address).collect()
    }

    /// Where a protocol listens.
    fn addresses_of(&self, service: Service) -> impl Iterator<Item = &SocketAddr> {
        let addresses = self.addresses.iter();
        let addresses = addresses.filter(move |(endpoint, _)| endpoint.service == service);
        addresses.map(|(_, address)| address)
    }
}
