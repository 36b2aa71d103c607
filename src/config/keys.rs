//! The keys of the configuration, their defaults, and reading them from a file.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use toml::Spanned;

use crate::accounts::Table;
use crate::http::Origin;
use crate::server::{Identity, IdentityError};
#[cfg(feature = "postgres")]
use crate::store::Database;
use crate::wire::BareOctets;

use super::{
    accounts::{self, Accounts, CatchAlls, Role},
    database::Store,
    error::Error,
    limits::{
        self, ERRORS_MAX, FAILURE_DELAY, HTTP_PORT, IN_FLIGHT_OCTETS, MESSAGE_OCTETS_MAX,
        POP3_PORT, RECIPIENTS_MAX, SEGMENT_OCTETS, SEGMENTS, SMTP_PORT,
    },
    text::{Read, beside, mistakes, read_text},
    tls::{TlsFiles, tls_lines},
    values::{
        BareLf, Count, Durability, HostName, InFlightOctets, Limit, Listen, LogFormat, LogLevel,
        PerAddress, Places, Sandbox, SegmentOctets, Segments, StartTls, Subaddress, directory,
        domains, http_names, http_origins, listeners, number, octets_limit, open_to, places,
        proxy_from,
    },
};

/// Overrides values of a configuration.
pub(super) type Change<'a> = dyn Fn(&mut Config) -> Result<(), Error> + 'a;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name of this host.
    pub hostname: HostName,
    /// The directory of the mail.
    #[serde(deserialize_with = "directory")]
    pub mail: PathBuf,
    /// Where SMTP listens; empty means nowhere.
    #[serde(deserialize_with = "listeners")]
    pub smtp: Vec<Listen>,
    /// Where POP3 listens; empty means nowhere.
    #[serde(deserialize_with = "listeners")]
    pub pop3: Vec<Listen>,
    /// Where HTTP listens; empty means nowhere.
    #[serde(deserialize_with = "listeners")]
    pub http: Vec<Listen>,
    /// Where SMTP listens with immediate TLS; empty means nowhere.
    #[serde(deserialize_with = "listeners")]
    pub smtps: Vec<Listen>,
    /// Where POP3 listens with immediate TLS; empty means nowhere.
    #[serde(deserialize_with = "listeners")]
    pub pop3s: Vec<Listen>,
    /// Where HTTP listens with TLS; empty means nowhere.
    #[serde(deserialize_with = "listeners")]
    pub https: Vec<Listen>,
    /// Where SMTP listens for mail from clients that log in (RFC 6409); empty means nowhere.
    #[serde(deserialize_with = "listeners")]
    pub submission: Vec<Listen>,
    /// Where LMTP listens, for mail servers that hand in mail (RFC 2033); empty means nowhere.
    #[serde(deserialize_with = "places")]
    pub lmtp: Places,
    /// Whether SMTP accepts mail only from clients that have logged in.
    pub require_auth: bool,
    /// How bare CRs and LFs from clients on this machine are handled in open mode.
    pub bare_lf: BareLf,
    /// Whether POP3 announces UTF8, and serves internationalised messages only to clients that
    /// request it (RFC 6856).
    pub pop3_utf8: bool,
    /// Whether SCRAM-SHA-256-PLUS is offered.
    pub scram_plus: bool,
    /// The networks that are served like this machine while there are no accounts.
    #[serde(deserialize_with = "open_to")]
    pub open_to: Vec<IpNet>,
    /// The networks of the proxies that name their clients with the PROXY protocol.
    #[serde(deserialize_with = "proxy_from")]
    pub proxy_from: Vec<IpNet>,
    /// More names by which HTTP is reached, in lower case.
    #[serde(deserialize_with = "http_names")]
    pub http_names: Vec<String>,
    /// The origins of other pages that may use HTTP.
    #[serde(deserialize_with = "http_origins")]
    pub http_origins: Vec<Origin>,
    /// The local domains; empty means all.
    #[serde(deserialize_with = "domains")]
    pub domains: Vec<HostName>,
    /// What separates a mailbox from its sub-address.
    pub subaddress: Subaddress,
    /// The accounts: a file, a list, or none, which is open mode.
    pub accounts: Accounts,
    /// The account that receives mail for the postmaster of every local domain.
    pub postmaster: Spanned<Role>,
    /// The account that receives mail for abuse at every local domain.
    pub abuse: Spanned<Role>,
    /// The account that receives mail for unknown addresses, by domain.
    pub catch_all: CatchAlls,
    /// The table made from `accounts` and the three keys after it; `None` is open mode.
    #[serde(skip)]
    pub table: Option<Table>,
    /// Warnings for the user when the daemon starts.
    #[serde(skip)]
    pub warnings: Vec<String>,
    /// The file that the configuration was read from.
    #[serde(skip)]
    pub path: Option<PathBuf>,
    /// The keys that environment variables have set, with the names of the variables.
    #[serde(skip)]
    pub variables: BTreeMap<&'static str, &'static str>,
    /// How messages are made durable.
    pub durability: Durability,
    /// How much the log shows.
    pub log_level: LogLevel,
    /// What a line of the log looks like.
    pub log_format: LogFormat,
    /// Whether the kernel is asked to confine the daemon to what it needs.
    pub sandbox: Sandbox,
    /// The user that root becomes once the sockets are open; empty means no change.
    pub user: String,
    /// The certificate; `None` means no TLS.
    pub tls: Option<TlsFiles>,
    /// Whether listeners that begin in clear, except submission, offer TLS.
    pub starttls: StartTls,
    /// The journal.
    pub journal: Journal,
    /// The database that has the mail instead.
    pub store: Store,
    /// The limits.
    pub limits: Limits,
}

/// The table `[journal]`: the size of the journal.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Journal {
    /// Octets of one segment.
    pub segment_octets: SegmentOctets,
    /// How many segments there are.
    pub segments: Segments,
}

/// The table `[limits]`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Octets of one message.
    #[serde(deserialize_with = "octets_limit")]
    pub message_octets: Limit,
    /// Recipients of one transaction.
    pub recipients: Count,
    /// Syntax and sequence errors of one session.
    pub errors: Limit,
    /// Octets that all sessions together may hold in flight.
    pub in_flight_octets: InFlightOctets,
    /// Simultaneous sessions; 0 means as many as the system allows.
    #[serde(deserialize_with = "number")]
    pub connections: u32,
    /// Simultaneous sessions from one address.
    pub connections_per_address: PerAddress,
    /// Longest wait for a whole SMTP command.
    pub smtp_idle_seconds: Count,
    /// Longest wait for a whole POP3 command.
    pub pop3_idle_seconds: Count,
    /// Longest session.
    pub session_seconds: Limit,
    /// How long the reply to the first refused login of an address is delayed.
    pub refused_login_seconds: Limit,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: HostName::localhost(),
            mail: PathBuf::from("./mail"),
            smtp: Listen::loopback(SMTP_PORT),
            pop3: Listen::loopback(POP3_PORT),
            http: Listen::loopback(HTTP_PORT),
            smtps: Vec::new(),
            pop3s: Vec::new(),
            https: Vec::new(),
            submission: Vec::new(),
            lmtp: Places::default(),
            require_auth: false,
            bare_lf: BareLf(BareOctets::Accept),
            pop3_utf8: false,
            scram_plus: false,
            open_to: Vec::new(),
            proxy_from: Vec::new(),
            http_names: Vec::new(),
            http_origins: Vec::new(),
            domains: Vec::new(),
            subaddress: Subaddress(Some('+')),
            accounts: Accounts::Off,
            postmaster: Role::auto(),
            abuse: Role::auto(),
            catch_all: CatchAlls::new(),
            table: None,
            warnings: Vec::new(),
            path: None,
            variables: BTreeMap::new(),
            durability: Durability::Journal,
            log_level: LogLevel(log::LevelFilter::Info),
            log_format: LogFormat::Text,
            sandbox: Sandbox::On,
            user: String::new(),
            tls: None,
            starttls: StartTls(true),
            journal: Journal::default(),
            store: Store::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            segment_octets: SegmentOctets(SEGMENT_OCTETS),
            segments: Segments(SEGMENTS),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_octets: Limit(Some(MESSAGE_OCTETS_MAX)),
            recipients: Count(RECIPIENTS_MAX),
            errors: Limit(Some(u64::from(ERRORS_MAX))),
            in_flight_octets: InFlightOctets(IN_FLIGHT_OCTETS),
            connections: 0,
            connections_per_address: PerAddress::Auto,
            smtp_idle_seconds: Count(limits::SMTP_IDLE_SECONDS),
            pop3_idle_seconds: Count(limits::POP3_IDLE_SECONDS),
            session_seconds: Limit(Some(limits::SESSION_SECONDS)),
            refused_login_seconds: Limit(Some(FAILURE_DELAY.as_secs())),
        }
    }
}

impl Config {
    fn account_keys(&self) -> accounts::Keys<'_> {
        accounts::Keys {
            accounts: &self.accounts,
            postmaster: &self.postmaster,
            abuse: &self.abuse,
            catch_all: &self.catch_all,
        }
    }

    /// Reads the certificate and its key, if they are configured.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Tls`]: do not start, or keep the current identity.
    pub fn identity(&self) -> Result<Option<Identity>, Error> {
        let identity = self.tls.as_ref().map(TlsFiles::identity).transpose();
        let identity = identity.map_err(|error| self.named(error))?;
        Ok(identity.map(|identity| identity.with_channel_binding(self.scram_plus)))
    }

    /// The database, if there is one: reads its files, and resolves the names of its servers.
    ///
    /// # Errors
    /// [`Error::NamedBy`] and [`Error::Variable`]: do not start.
    #[cfg(feature = "postgres")]
    pub fn database(&self) -> Result<Option<Database>, Error> {
        self.store.database(&|key| self.name_of(key))
    }

    /// Adds to an error the place in the configuration that names the file.
    fn named(&self, error: Error) -> Error {
        let Some(tls) = &self.tls else {
            return error;
        };
        let is_of_key = if let Error::Read { path, .. } = &error {
            *path == tls.key
        } else if let Error::Tls { error, .. } = &error {
            !matches!(error, IdentityError::Certificate(_))
        } else {
            return error;
        };
        let [certificate_line, key_line] = tls.lines;
        let (key, line) = if is_of_key {
            ("tls.key", key_line)
        } else {
            ("tls.certificate", certificate_line)
        };
        let error = Box::new(error);
        match (self.variables.get(key), &self.path) {
            (Some(name), _) => Error::NamedBy { name, error },
            (None, Some(path)) => Error::Named {
                path: path.clone(),
                line,
                key,
                error,
            },
            (None, None) => *error,
        }
    }

    /// The environment variable that has set `key`, or else the key.
    pub(super) fn name_of(&self, key: &'static str) -> &'static str {
        self.variables.get(key).copied().unwrap_or(key)
    }

    /// The same error, about the environment variable if one has set the key.
    fn of_variable(&self, path: &Path, error: Error) -> Error {
        let place = if let Error::Value {
            path: at,
            key: Some(key),
            reason,
            ..
        } = &error
        {
            (at == path).then_some((key, reason))
        } else {
            None
        };
        let named = place.and_then(|(key, reason)| Some((self.variables.get(&**key)?, reason)));
        match named {
            Some((name, reason)) => Error::Variable {
                name: (*name).to_owned(),
                reason: reason.clone(),
            },
            None => error,
        }
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Value`]: report it to the user and do not start.
    pub fn read(path: &Path) -> Result<Self, Error> {
        Self::read_with(Some(path), &|_unchanged| Ok(()))
    }

    /// Reads the file at `path`, or takes the defaults, and lets `change` override values before
    /// the accounts file is read.
    ///
    /// # Errors
    /// Those of [`read`](Self::read) and of `change`.
    pub(super) fn read_with(path: Option<&Path>, change: &Change<'_>) -> Result<Self, Error> {
        let Some(path) = path else {
            return Self::parse_with(Path::new(""), "", &read_text, change);
        };
        let source = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let text = read_text(path).map_err(source)?;
        let config = Self::parse_with(path, &text, &read_text, change)?;
        Ok(Self {
            path: Some(path.to_owned()),
            ..config
        })
    }

    /// Parses `text`, the content of the file at `path`, and reads the accounts file that it names,
    /// relative to `path`.
    ///
    /// # Errors
    /// [`Error::Value`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        Self::parse_with(path, text, &read_text, &|_unchanged| Ok(()))
    }

    /// The same, with `read` to read the accounts file, after `change` has overridden values.
    pub(super) fn parse_with(
        path: &Path,
        text: &str,
        read: &Read<'_>,
        change: &Change<'_>,
    ) -> Result<Self, Error> {
        let mut config: Self =
            toml::from_str(text).map_err(|error| mistakes::<Self>(path, text, error))?;
        if let Some(tls) = &mut config.tls {
            tls.lines = tls_lines(text);
            for file in [&mut tls.certificate, &mut tls.key] {
                *file = beside(path, file);
            }
        }
        for file in config.store.files_mut() {
            *file = beside(path, file);
        }
        change(&mut config)?;
        let table = accounts::table(config.account_keys(), (path, text), read);
        if let Some((table, warnings)) = table.map_err(|error| config.of_variable(path, error))? {
            config.table = Some(table);
            config.warnings = warnings;
        }
        Ok(config)
    }

    /// All files of this configuration: `path` first, then the files that it names.
    pub fn files(&self, path: Option<&Path>) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = path.map(Path::to_owned).into_iter().collect();
        if let Accounts::File(accounts) = &self.accounts {
            files.push(beside(path.unwrap_or(Path::new("")), accounts.get_ref()));
        }
        if let Some(tls) = &self.tls {
            files.extend([tls.certificate.clone(), tls.key.clone()]);
        }
        files
    }
}
