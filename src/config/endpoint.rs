//! All possible listeners: one row for each key that names addresses.
//!
//! A new one also needs its field in [`Config`], a row in `variables.rs`, and a line in
//! `config.example.toml` and the manual.

use std::{fmt, path::PathBuf};

use super::{keys::Config, limits::HTTP_PORT, values::Listen};
use crate::mail::{Door, Service};

/// A key of the configuration that says where facteur listens.
#[derive(Debug)]
pub struct Endpoint {
    /// The key, which is also the name of an inherited socket.
    pub key: &'static str,
    /// The protocol spoken there.
    pub service: Service,
    /// How connections there begin.
    pub door: Door,
    /// Its name in the banner.
    pub title: &'static str,
    /// The flag that overrides the key, if there is one.
    pub flag: Option<&'static str>,
    /// The usual ports of the protocol.
    pub usual_ports: &'static [u16],
    /// How the server's first line begins, if the server speaks first.
    pub greeting: Option<&'static str>,
    listens: fn(&Config) -> &[Listen],
    listens_mut: fn(&mut Config) -> &mut Vec<Listen>,
}

/// Every endpoint, in the order of `config.example.toml`.
pub static ENDPOINTS: [Endpoint; 8] = [
    Endpoint {
        key: "smtp",
        service: Service::Smtp,
        door: Door::Plain,
        title: "SMTP",
        flag: Some("--smtp"),
        // 2525 is common where 25 is not allowed.
        usual_ports: &[25, 2_525],
        greeting: Some("220 "),
        listens: |config| &config.smtp,
        listens_mut: |config| &mut config.smtp,
    },
    Endpoint {
        key: "pop3",
        service: Service::Pop3,
        door: Door::Plain,
        title: "POP3",
        flag: Some("--pop3"),
        usual_ports: &[110],
        greeting: Some("+OK"),
        listens: |config| &config.pop3,
        listens_mut: |config| &mut config.pop3,
    },
    Endpoint {
        key: "http",
        service: Service::Http,
        door: Door::Plain,
        title: "HTTP",
        flag: Some("--http"),
        // 8025 is common for catchers of mail.
        usual_ports: &[80, 8_025],
        greeting: None,
        listens: |config| &config.http,
        listens_mut: |config| &mut config.http,
    },
    Endpoint {
        key: "smtps",
        service: Service::Smtp,
        door: Door::Tls,
        title: "SMTP with TLS",
        flag: None,
        usual_ports: &[465],
        greeting: None,
        listens: |config| &config.smtps,
        listens_mut: |config| &mut config.smtps,
    },
    Endpoint {
        key: "pop3s",
        service: Service::Pop3,
        door: Door::Tls,
        title: "POP3 with TLS",
        flag: None,
        usual_ports: &[995],
        greeting: None,
        listens: |config| &config.pop3s,
        listens_mut: |config| &mut config.pop3s,
    },
    Endpoint {
        key: "https",
        service: Service::Http,
        door: Door::Tls,
        title: "HTTP with TLS",
        flag: None,
        usual_ports: &[443],
        greeting: None,
        listens: |config| &config.https,
        listens_mut: |config| &mut config.https,
    },
    Endpoint {
        key: "submission",
        service: Service::Smtp,
        door: Door::Submission,
        title: "submission",
        flag: None,
        usual_ports: &[587],
        greeting: Some("220 "),
        listens: |config| &config.submission,
        listens_mut: |config| &mut config.submission,
    },
    Endpoint {
        key: "lmtp",
        service: Service::Smtp,
        door: Door::Lmtp,
        title: "LMTP",
        flag: Some("--lmtp"),
        // It must not be 25 (RFC 2033 §5); 24 is for private mail systems, and used for it.
        usual_ports: &[24],
        greeting: Some("220 "),
        listens: |config| &config.lmtp.addresses,
        listens_mut: |config| &mut config.lmtp.addresses,
    },
];

impl Endpoint {
    /// The endpoint with this key.
    pub fn of_key(key: &str) -> Option<&'static Self> {
        ENDPOINTS.iter().find(|endpoint| endpoint.key == key)
    }

    /// Its addresses in `config`.
    pub fn listens<'a>(&self, config: &'a Config) -> &'a [Listen] {
        (self.listens)(config)
    }

    /// The same, to be modified.
    pub fn listens_mut<'a>(&self, config: &'a mut Config) -> &'a mut Vec<Listen> {
        (self.listens_mut)(config)
    }

    /// Its sockets in the file system.
    pub fn sockets<'a>(&self, config: &'a Config) -> &'a [PathBuf] {
        if self.door == Door::Lmtp {
            &config.lmtp.sockets
        } else {
            &[]
        }
    }

    /// Whether it is open without any configuration.
    pub fn is_usual(&self) -> bool {
        self.door == Door::Plain
    }

    /// Whether it is left out if its port is in use: HTTP at its default addresses, which nobody
    /// has asked for.
    pub fn is_optional(&self, config: &Config) -> bool {
        self.key == "http" && config.http == Listen::loopback(HTTP_PORT)
    }

    /// All keys, as a list in a sentence.
    pub fn keys() -> impl fmt::Display {
        fmt::from_fn(|f| {
            let [first, others @ .., last] = &ENDPOINTS;
            f.write_str(first.key)?;
            for endpoint in others {
                write!(f, ", {}", endpoint.key)?;
            }
            write!(f, " or {}", last.key)
        })
    }
}
