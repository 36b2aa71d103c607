//! The keys that an environment variable can set: one row for each key that is not a table.
//!
//! A new key needs a row here. A test compares the rows with the fields of [`Config`].

use std::str::FromStr as _;

use super::{keys::Config, text::reason};

/// What the names of all variables begin with.
pub(super) const PREFIX: &str = "FACTEUR_";

/// A key, and the environment variable that sets it.
#[derive(Debug)]
pub(super) struct Variable {
    /// The key, with its table: `limits.errors`.
    pub(super) key: &'static str,
    /// The variable: `FACTEUR_LIMITS_ERRORS`.
    pub(super) name: &'static str,
    form: Form,
    /// When a change of the key takes effect.
    pub(super) effect: Effect,
    /// Whether two configurations have the same value.
    pub(super) is_same: fn(&Config, &Config) -> bool,
    /// Moves the value from the second configuration into the first.
    pub(super) put: fn(&mut Config, Config),
}

/// When a change of a key takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// At the next start.
    Start,
    /// At a reload (SIGHUP).
    Reload,
}

/// How the text of a variable becomes a value in TOML.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// It is a string.
    Text,
    /// It is a number or a boolean if TOML reads it as one, else a string.
    Bare,
    /// It is a list of strings with commas between them.
    List,
    /// It is a list of addresses, or the word `off`.
    Addresses,
}

macro_rules! variable {
    ($name:literal, $form:ident, $effect:ident, $first:ident $(. $rest:ident)?) => {
        Variable {
            key: concat!(stringify!($first) $(, ".", stringify!($rest))?),
            name: $name,
            form: Form::$form,
            effect: Effect::$effect,
            is_same: |one, other| one.$first$(.$rest)? == other.$first$(.$rest)?,
            put: |config, read| config.$first$(.$rest)? = read.$first$(.$rest)?,
        }
    };
}

/// Every variable, in the order of `config.example.toml`.
#[rustfmt::skip]
pub(super) static VARIABLES: &[Variable] = &[
    variable!("FACTEUR_HOSTNAME", Text, Start, hostname),
    variable!("FACTEUR_MAIL", Text, Start, mail),
    variable!("FACTEUR_SMTP", Addresses, Start, smtp),
    variable!("FACTEUR_POP3", Addresses, Start, pop3),
    variable!("FACTEUR_HTTP", Addresses, Start, http),
    variable!("FACTEUR_SMTPS", Addresses, Start, smtps),
    variable!("FACTEUR_POP3S", Addresses, Start, pop3s),
    variable!("FACTEUR_HTTPS", Addresses, Start, https),
    variable!("FACTEUR_STARTTLS", Text, Start, starttls),
    variable!("FACTEUR_SUBMISSION", Addresses, Start, submission),
    variable!("FACTEUR_LMTP", Addresses, Start, lmtp),
    variable!("FACTEUR_REQUIRE_AUTH", Bare, Start, require_auth),
    variable!("FACTEUR_OPEN_TO", List, Reload, open_to),
    variable!("FACTEUR_PROXY_FROM", List, Start, proxy_from),
    variable!("FACTEUR_HTTP_NAMES", List, Start, http_names),
    variable!("FACTEUR_HTTP_ORIGINS", List, Start, http_origins),
    variable!("FACTEUR_BARE_LF", Text, Start, bare_lf),
    variable!("FACTEUR_POP3_UTF8", Bare, Start, pop3_utf8),
    variable!("FACTEUR_SCRAM_PLUS", Bare, Reload, scram_plus),
    variable!("FACTEUR_DOMAINS", List, Start, domains),
    variable!("FACTEUR_SUBADDRESS", Text, Start, subaddress),
    variable!("FACTEUR_ACCOUNTS", Text, Reload, accounts),
    variable!("FACTEUR_POSTMASTER", Text, Reload, postmaster),
    variable!("FACTEUR_ABUSE", Text, Reload, abuse),
    variable!("FACTEUR_DURABILITY", Text, Start, durability),
    variable!("FACTEUR_LOG_LEVEL", Text, Start, log_level),
    variable!("FACTEUR_LOG_FORMAT", Text, Start, log_format),
    variable!("FACTEUR_USER", Text, Start, user),
    variable!("FACTEUR_SANDBOX", Text, Start, sandbox),
    Variable {
        key: "tls.certificate",
        name: "FACTEUR_TLS_CERTIFICATE",
        form: Form::Text,
        effect: Effect::Reload,
        is_same: |one, other| one.tls == other.tls,
        put: |config, read| match (&mut config.tls, read.tls) {
            (Some(files), Some(read)) => files.certificate = read.certificate,
            (None, read) => config.tls = read,
            (Some(_), None) => {}
        },
    },
    Variable {
        key: "tls.key",
        name: "FACTEUR_TLS_KEY",
        form: Form::Text,
        effect: Effect::Reload,
        is_same: |one, other| one.tls == other.tls,
        put: |config, read| match (&mut config.tls, read.tls) {
            (Some(files), Some(read)) => files.key = read.key,
            (None, read) => config.tls = read,
            (Some(_), None) => {}
        },
    },
    variable!("FACTEUR_JOURNAL_SEGMENT_OCTETS", Bare, Start, journal.segment_octets),
    variable!("FACTEUR_JOURNAL_SEGMENTS", Bare, Start, journal.segments),
    variable!("FACTEUR_STORE_POSTGRES", Text, Start, store.postgres),
    variable!("FACTEUR_STORE_SINGLE", Bare, Start, store.single),
    variable!("FACTEUR_STORE_PASSWORD_FILE", Text, Start, store.password_file),
    variable!("FACTEUR_STORE_CA", Text, Start, store.ca),
    variable!("FACTEUR_STORE_CERTIFICATE", Text, Start, store.certificate),
    variable!("FACTEUR_STORE_KEY", Text, Start, store.key),
    variable!("FACTEUR_LIMITS_MESSAGE_OCTETS", Bare, Start, limits.message_octets),
    variable!("FACTEUR_LIMITS_RECIPIENTS", Bare, Start, limits.recipients),
    variable!("FACTEUR_LIMITS_ERRORS", Bare, Start, limits.errors),
    variable!("FACTEUR_LIMITS_IN_FLIGHT_OCTETS", Bare, Start, limits.in_flight_octets),
    variable!("FACTEUR_LIMITS_CONNECTIONS", Bare, Start, limits.connections),
    variable!(
        "FACTEUR_LIMITS_CONNECTIONS_PER_ADDRESS", Bare, Start, limits.connections_per_address
    ),
    variable!("FACTEUR_LIMITS_SMTP_IDLE_SECONDS", Bare, Start, limits.smtp_idle_seconds),
    variable!("FACTEUR_LIMITS_POP3_IDLE_SECONDS", Bare, Start, limits.pop3_idle_seconds),
    variable!("FACTEUR_LIMITS_SESSION_SECONDS", Bare, Start, limits.session_seconds),
    variable!("FACTEUR_LIMITS_REFUSED_LOGIN_SECONDS", Bare, Start, limits.refused_login_seconds),
];

impl Form {
    /// `text` as a value in TOML.
    fn value(self, text: &str) -> toml_edit::Value {
        match self {
            Self::Text => text.into(),
            Self::Bare => match toml_edit::Value::from_str(text.trim()) {
                Ok(value) if value.is_integer() || value.is_float() || value.is_bool() => value,
                Ok(_) | Err(_) => text.into(),
            },
            Self::Addresses if text.trim() == "off" => text.trim().into(),
            Self::List | Self::Addresses => {
                // As in TOML, a comma can follow the last element.
                let list = text.trim_end();
                let list = list.strip_suffix(',').unwrap_or(list);
                let elements = list.split(',').map(str::trim);
                elements.collect::<toml_edit::Array>().into()
            }
        }
    }
}

impl Variable {
    /// The configuration that has only this key, with the value that `text` means.
    ///
    /// # Errors
    /// What is wrong, in the words for the same value in a file.
    pub(super) fn read(&self, text: &str) -> Result<Config, String> {
        let value = self.form.value(text);
        let document = match self.key.split_once('.') {
            // This table must have both keys; only one of them is used.
            Some(("tls", _)) => format!("[tls]\ncertificate = {value}\nkey = {value}\n"),
            Some((table, key)) => format!("[{table}]\n{key} = {value}\n"),
            None => format!("{} = {value}\n", self.key),
        };
        toml::from_str(&document).map_err(|error| reason(error.message()))
    }
}
