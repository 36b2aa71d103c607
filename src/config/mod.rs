//! The configuration: a TOML file, overridden by the command line, turned into each room's
//! settings.
//!
//! Every value is checked while it is read, so an error always knows its file, its line and its
//! key. A key that is not known is an error. Where nothing is said the defaults of
//! `config.example.toml` hold; a test proves that the two are equal.
//!
//! Nothing of the file is kept once the rooms have their settings.

mod accounts;
mod hints;
mod permissions;
mod tls;

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, Read as _};
use std::marker::PhantomData;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use toml::Spanned;

use crate::accounts::{Table, limits as account_limits};
use crate::mail::{Charset, Domain};
use crate::server::{IdentityError, limits as server_limits};
use crate::smtp::limits as smtp_limits;
use crate::store::limits as store_limits;
use crate::wire::BareOctets;

pub use accounts::{Accounts, Book, BookError, CatchAlls, Role};

/// Where SMTP listens when nothing is said.
pub const SMTP_PORT: u16 = 65_434;
/// Where POP3 listens when nothing is said.
pub const POP3_PORT: u16 = 65_433;

/// The whole configuration.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The name of this host.
    pub hostname: HostName,
    /// The directory of the mail.
    #[serde(deserialize_with = "directory")]
    pub mail: PathBuf,
    /// Where SMTP listens; empty is nowhere.
    #[serde(deserialize_with = "listeners")]
    pub smtp: Vec<Listen>,
    /// Where POP3 listens; empty is nowhere.
    #[serde(deserialize_with = "listeners")]
    pub pop3: Vec<Listen>,
    /// Where SMTP listens with TLS from the first octet on; empty is nowhere.
    #[serde(deserialize_with = "listeners")]
    pub smtps: Vec<Listen>,
    /// Where POP3 listens with TLS from the first octet on; empty is nowhere.
    #[serde(deserialize_with = "listeners")]
    pub pop3s: Vec<Listen>,
    /// Where SMTP listens for the mail of those who log in (RFC 6409); empty is nowhere.
    #[serde(deserialize_with = "listeners")]
    pub submission: Vec<Listen>,
    /// Whether SMTP takes no mail from clients that have not logged in.
    pub require_auth: bool,
    /// What becomes of bare CRs and LFs that clients of this machine send in open mode.
    pub bare_lf: BareLf,
    /// Whether POP3 announces UTF8, and gives internationalised messages to clients alone that
    /// ask for it (RFC 6856).
    pub pop3_utf8: bool,
    /// Whether SCRAM-SHA-256-PLUS is offered.
    pub scram_plus: bool,
    /// The local domains; empty is all.
    #[serde(deserialize_with = "domains")]
    pub domains: Vec<HostName>,
    /// What separates a mailbox from its sub-address.
    pub subaddress: Subaddress,
    /// Who has an account: a file of accounts, a list of them, or nobody, which is open mode.
    pub accounts: Accounts,
    /// Which account has mail for the postmaster of every local domain.
    pub postmaster: Spanned<Role>,
    /// Which account has mail for abuse at every local domain.
    pub abuse: Spanned<Role>,
    /// Which account has mail that no other address takes, by domain.
    pub catch_all: CatchAlls,
    /// What `accounts` and the three keys after it amount to; none is open mode.
    #[serde(skip)]
    pub table: Option<Table>,
    /// What the user should be warned of when the daemon starts.
    #[serde(skip)]
    pub warnings: Vec<String>,
    /// The file that it was read from.
    #[serde(skip)]
    pub path: Option<PathBuf>,
    /// How messages are made durable.
    pub durability: Durability,
    /// What the log shows.
    pub log_level: LogLevel,
    /// What a line of the log looks like.
    pub log_format: LogFormat,
    /// Whether the kernel is asked to keep the daemon to what it needs.
    pub sandbox: Sandbox,
    /// As which user root goes on once the sockets are open; empty is the one who started.
    pub user: String,
    /// The certificate; `None` is no TLS.
    pub tls: Option<TlsFiles>,
    /// Whether listeners that begin in clear offer TLS, but for the one for submission.
    pub starttls: StartTls,
    /// The journal.
    pub journal: Journal,
    /// The limits.
    pub limits: Limits,
}

/// The table `[tls]`: where the certificate is. A relative path starts at the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate and those between it and its authority, PEM.
    #[serde(deserialize_with = "file")]
    pub certificate: PathBuf,
    /// The private key, PEM.
    #[serde(deserialize_with = "file")]
    pub key: PathBuf,
    /// On which lines of the configuration they are named; 0 is unknown.
    #[serde(skip)]
    pub lines: [usize; 2],
}

/// Where `[tls]` names its files.
#[derive(serde::Deserialize)]
struct TlsPlaces {
    tls: TlsPlacesOfFiles,
}

#[derive(serde::Deserialize)]
struct TlsPlacesOfFiles {
    certificate: Spanned<de::IgnoredAny>,
    key: Spanned<de::IgnoredAny>,
}

/// The lines of the two files in `text`.
fn tls_lines(text: &str) -> [usize; 2] {
    toml::from_str::<TlsPlaces>(text).map_or([0, 0], |places| {
        let TlsPlacesOfFiles { certificate, key } = places.tls;
        [certificate.span(), key.span()].map(|place| line_at(text, place.start))
    })
}

/// The table `[journal]`: how large the journal is, where there is one.
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
    /// Sessions at once; 0 is as many as the system allows.
    #[serde(deserialize_with = "number")]
    pub connections: u32,
    /// Sessions at once from one address.
    pub connections_per_address: PerAddress,
    /// Longest wait for a whole SMTP command.
    pub smtp_idle_seconds: Count,
    /// Longest wait for a whole POP3 command.
    pub pop3_idle_seconds: Count,
    /// Longest session.
    pub session_seconds: Limit,
    /// How long the first refused login of an address waits for its answer.
    pub refused_login_seconds: Limit,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hostname: HostName::localhost(),
            mail: PathBuf::from("./mail"),
            smtp: Listen::loopback(SMTP_PORT),
            pop3: Listen::loopback(POP3_PORT),
            smtps: Vec::new(),
            pop3s: Vec::new(),
            submission: Vec::new(),
            require_auth: false,
            bare_lf: BareLf(BareOctets::Accept),
            pop3_utf8: false,
            scram_plus: false,
            domains: Vec::new(),
            subaddress: Subaddress(Some('+')),
            accounts: Accounts::Off,
            postmaster: Role::auto(),
            abuse: Role::auto(),
            catch_all: CatchAlls::new(),
            table: None,
            warnings: Vec::new(),
            path: None,
            durability: Durability::Journal,
            log_level: LogLevel(log::LevelFilter::Info),
            log_format: LogFormat::Text,
            sandbox: Sandbox::On,
            user: String::new(),
            tls: None,
            starttls: StartTls(true),
            journal: Journal::default(),
            limits: Limits::default(),
        }
    }
}

impl Default for Journal {
    fn default() -> Self {
        Self {
            segment_octets: SegmentOctets(store_limits::SEGMENT_OCTETS),
            segments: Segments(store_limits::SEGMENTS),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            message_octets: Limit(Some(smtp_limits::MESSAGE_OCTETS_MAX)),
            recipients: Count(smtp_limits::RECIPIENTS_MAX),
            errors: Limit(Some(u64::from(smtp_limits::ERRORS_MAX))),
            in_flight_octets: InFlightOctets(server_limits::IN_FLIGHT_OCTETS),
            connections: 0,
            connections_per_address: PerAddress::Auto,
            smtp_idle_seconds: Count(300),
            pop3_idle_seconds: Count(600),
            session_seconds: Limit(Some(3_600)),
            refused_login_seconds: Limit(Some(account_limits::FAILURE_DELAY.as_secs())),
        }
    }
}

/// A domain that names this host or one that it takes mail for.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct HostName(pub Domain);

impl HostName {
    fn localhost() -> Self {
        Self(Domain::localhost())
    }
}

impl TryFrom<String> for HostName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // Kept as it is sent to clients of every kind: in A-label form.
        let domain = Domain::parse(&text, Charset::Utf8).and_then(|domain| domain.to_a_label());
        let domain = domain.and_then(|a_label| Domain::parse(&a_label, Charset::Ascii));
        domain
            .map(Self)
            .map_err(|_wrong| format!("{text:?} is not a domain name such as mail.example.com"))
    }
}

/// One address to listen on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listen {
    /// Address and port; port 0 is any free one.
    pub address: SocketAddr,
}

impl Listen {
    fn loopback(port: u16) -> Vec<Self> {
        let addresses: [SocketAddr; 2] = [
            ([127, 0, 0, 1], port).into(),
            (std::net::Ipv6Addr::LOCALHOST, port).into(),
        ];
        addresses
            .into_iter()
            .map(|address| Self { address })
            .collect()
    }
}

impl Listen {
    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }
}

impl Listen {
    /// The addresses that a text means: an address with a port, or a port of this machine, which
    /// has two: `2525`, `:2525`, `localhost:2525`.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn parse(text: &str) -> Result<Vec<Self>, String> {
        if let Ok(address) = text.parse() {
            return Ok(vec![Self { address }]);
        }
        let port = text.strip_prefix("localhost").unwrap_or(text);
        let is_bare = port.len() == text.len();
        let digits = match port.strip_prefix(':') {
            Some(digits) => digits,
            None if is_bare => port,
            None => "",
        };
        let is_number = !digits.is_empty() && digits.bytes().all(|octet| octet.is_ascii_digit());
        if is_number && let Ok(port) = digits.parse() {
            return Ok(Self::loopback(port));
        }
        Err(format!(
            "{text:?} is not an address and port such as \"127.0.0.1:65434\" or \"[::1]:65434\", \
             nor a port of this machine such as \"65434\""
        ))
    }
}

/// One element of a list of addresses: it may mean two.
struct Listens(Vec<Listen>);

impl<'de> Deserialize<'de> for Listens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Listen::parse(&text).map(Self).map_err(de::Error::custom)
    }
}

/// The separator of sub-addresses; an empty text or `"off"` is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Subaddress(pub Option<char>);

impl TryFrom<String> for Subaddress {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let mut characters = text.chars();
        match (characters.next(), characters.next()) {
            (None, None) => Ok(Self(None)),
            (Some(separator), None) if separator.is_ascii_punctuation() && separator != '@' => {
                Ok(Self(Some(separator)))
            }
            _ if text == "off" => Ok(Self(None)),
            _ => Err(format!(
                "{text:?} is not one punctuation mark such as \"+\", nor \"off\""
            )),
        }
    }
}

/// Whether listeners that begin in clear offer TLS where there is a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct StartTls(pub bool);

impl TryFrom<String> for StartTls {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "on" => Ok(Self(true)),
            "off" => Ok(Self(false)),
            _ => Err(hints::none_of(&text, &["on", "off"])),
        }
    }
}

/// What becomes of a content with bare LFs or CRs that a client of this machine sends in open mode;
/// from all others it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct BareLf(pub BareOctets);

impl TryFrom<String> for BareLf {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "accept" => Ok(Self(BareOctets::Accept)),
            "refuse" => Ok(Self(BareOctets::Refuse)),
            _ => Err(hints::none_of(&text, &["accept", "refuse"])),
        }
    }
}

/// How messages are made durable before they are acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum Durability {
    /// `"journal"`: in a journal, many with one sync.
    Journal,
    /// `"maildir"`: in the Maildirs, each with syncs of its own.
    Maildir,
    /// `"none"`: not at all.
    None,
}

impl TryFrom<String> for Durability {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "journal" => Ok(Self::Journal),
            "maildir" => Ok(Self::Maildir),
            "none" => Ok(Self::None),
            _ => Err(hints::none_of(&text, &["journal", "maildir", "none"])),
        }
    }
}

impl std::str::FromStr for Durability {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

/// Octets of one segment of the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "Octets")]
pub struct SegmentOctets(pub u64);

impl TryFrom<Octets> for SegmentOctets {
    type Error = String;

    fn try_from(Octets(octets): Octets) -> Result<Self, String> {
        const MIN: u64 = store_limits::SEGMENT_OCTETS_MIN;
        const MAX: u64 = store_limits::SEGMENT_OCTETS_MAX;
        if octets.is_multiple_of(4_096) && (MIN..=MAX).contains(&octets) {
            return Ok(Self(octets));
        }
        Err(format!(
            "{octets} is not a multiple of 4096 from {MIN} to {MAX}"
        ))
    }
}

/// How many segments the journal has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "u64")]
pub struct Segments(pub usize);

impl TryFrom<u64> for Segments {
    type Error = String;

    fn try_from(count: u64) -> Result<Self, String> {
        const MAX: usize = store_limits::SEGMENTS_MAX;
        let segments = usize::try_from(count).unwrap_or(usize::MAX);
        if (store_limits::SEGMENTS_MIN..=MAX).contains(&segments) {
            return Ok(Self(segments));
        }
        Err(format!("{count} is not a number from 2 to {MAX}"))
    }
}

/// How much the log shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct LogLevel(pub log::LevelFilter);

impl TryFrom<String> for LogLevel {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
        let wrong = |_not_a_level| hints::none_of(&text, &LEVELS);
        text.parse().map(Self).map_err(wrong)
    }
}

impl std::str::FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::try_from(text.to_owned())
    }
}

/// What a line of the log looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum LogFormat {
    /// `"text"`: for people.
    Text,
    /// `"json"`: an object for programs.
    Json,
}

impl TryFrom<String> for LogFormat {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err(hints::none_of(&text, &["text", "json"])),
        }
    }
}

/// Whether the kernel is asked to keep the daemon to what it needs (SEC-16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum Sandbox {
    /// `"on"`: as far as this kernel can.
    On,
    /// `"require"`: and without that the daemon does not start.
    Required,
    /// `"off"`: not at all.
    Off,
}

impl TryFrom<String> for Sandbox {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "on" => Ok(Self::On),
            "require" => Ok(Self::Required),
            "off" => Ok(Self::Off),
            _ => Err(hints::none_of(&text, &["on", "require", "off"])),
        }
    }
}

/// Octets that all sessions together may hold in flight (SEC-9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(try_from = "Octets")]
pub struct InFlightOctets(pub u64);

impl InFlightOctets {
    /// So many, or the fewest that there may be.
    pub fn or_the_fewest(octets: u64) -> Self {
        Self(octets.max(server_limits::IN_FLIGHT_OCTETS_MIN))
    }

    /// What is for content that the store holds in memory.
    pub fn of_deliveries(self) -> u64 {
        self.0 / 2
    }

    /// What is for the buffers and envelopes of sessions.
    pub fn of_sessions(self) -> u64 {
        self.0.saturating_sub(self.of_deliveries())
    }
}

impl TryFrom<Octets> for InFlightOctets {
    type Error = String;

    fn try_from(Octets(octets): Octets) -> Result<Self, String> {
        const MIN: u64 = server_limits::IN_FLIGHT_OCTETS_MIN;
        if octets < MIN {
            return Err(format!("{octets} is too small: at least {MIN}"));
        }
        Ok(Self(octets))
    }
}

/// A number of octets: a number, or a text with a unit such as `"50 MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Octets(u64);

impl Octets {
    const UNITS: [(&str, u64); 7] = [
        ("", 1),
        ("kib", 1 << 10),
        ("mib", 1 << 20),
        ("gib", 1 << 30),
        ("kb", 1_000),
        ("mb", 1_000_000),
        ("gb", 1_000_000_000),
    ];

    /// Reads a number with a unit; one of a letter alone is that of 1024.
    fn parse(text: &str) -> Option<u64> {
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '_');
        let (number, unit) = text.split_at_checked(end.unwrap_or(text.len()))?;
        let number: u64 = number.replace('_', "").parse().ok()?;
        let unit = unit.trim().to_ascii_lowercase();
        let unit = match unit.as_str() {
            "b" | "octets" => "",
            "k" => "kib",
            "m" => "mib",
            "g" => "gib",
            other => other,
        };
        let (_, factor) = Self::UNITS.into_iter().find(|(name, _)| *name == unit)?;
        number.checked_mul(factor)
    }
}

impl<'de> Deserialize<'de> for Octets {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(NumberOrWord::octets(&[]))?;
        Ok(Self(number.unwrap_or_default()))
    }
}

/// Reads a limit in octets.
fn octets_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limit, D::Error> {
    let number = deserializer.deserialize_any(NumberOrWord::octets(&["off"]))?;
    Ok(Limit(number.ok().filter(|&value| value != 0)))
}

/// A limit that may be switched off with 0 or `"off"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<u64>);

/// A number from 1 on: a limit that cannot be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u32);

impl Count {
    /// As a duration in seconds.
    pub fn as_seconds(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }
}

/// Sessions at once from one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerAddress {
    /// `"auto"`: many from this machine, few from another.
    Auto,
    /// 0 or `"off"`: no limit.
    Off,
    /// So many from every address.
    AtMost(u64),
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(NumberOrWord::plain(&["off"]))?;
        Ok(Self(number.ok().filter(|&value| value != 0)))
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match number(deserializer)? {
            0 => Err(de::Error::custom(
                "0 is too small: this limit cannot be off",
            )),
            count => Ok(Self(count)),
        }
    }
}

impl<'de> Deserialize<'de> for PerAddress {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(
            match deserializer.deserialize_any(NumberOrWord::plain(&["auto", "off"]))? {
                Ok(0) | Err("off") => Self::Off,
                Ok(number) => Self::AtMost(number),
                Err(_) => Self::Auto,
            },
        )
    }
}

/// Reads a path; an empty one would mean the directory that the daemon happens to run in.
fn directory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        Err(de::Error::custom(
            "\"\" is not a directory; \".\" is this one",
        ))
    } else {
        Ok(PathBuf::from(text))
    }
}

/// Reads the path of a file.
fn file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        Err(de::Error::custom("\"\" is not the name of a file"))
    } else {
        Ok(PathBuf::from(text))
    }
}

/// Reads the addresses to listen on.
fn listeners<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Listen>, D::Error> {
    let lists: Vec<Listens> = deserializer.deserialize_any(ListOrOff {
        expected: "a list of addresses such as [\"127.0.0.1:65434\"], or \"off\"",
        off: Some("off"),
        element: PhantomData,
    })?;
    Ok(lists
        .into_iter()
        .flat_map(|Listens(listens)| listens)
        .collect())
}

/// Reads the local domains.
fn domains<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<HostName>, D::Error> {
    deserializer.deserialize_any(ListOrOff {
        expected: "a list of domains such as [\"example.com\"]",
        off: None,
        element: PhantomData,
    })
}

/// Reads a number that fits into 32 bits.
fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = deserializer.deserialize_any(NumberOrWord::plain(&[]))?;
    let number = number.unwrap_or_default();
    u32::try_from(number).map_err(|_too_large| de::Error::custom(format!("{number} is too large")))
}

/// Reads a list, or the word that stands for an empty one.
struct ListOrOff<T> {
    /// What the user should have written.
    expected: &'static str,
    /// The word, where there is one.
    off: Option<&'static str>,
    element: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListOrOff<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = elements.next_element()? {
            list.push(element);
        }
        Ok(list)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        if self.off == Some(value) {
            Ok(Vec::new())
        } else {
            Err(E::invalid_value(de::Unexpected::Str(value), &self))
        }
    }
}

/// Reads a number that is not negative (`Ok`) or one of a few words (`Err`).
struct NumberOrWord {
    words: &'static [&'static str],
    /// Whether it is a number of octets, which may also be a text with a unit.
    is_octets: bool,
}

impl NumberOrWord {
    fn plain(words: &'static [&'static str]) -> Self {
        Self {
            words,
            is_octets: false,
        }
    }

    fn octets(words: &'static [&'static str]) -> Self {
        Self {
            words,
            is_octets: true,
        }
    }
}

impl Visitor<'_> for NumberOrWord {
    type Value = Result<u64, &'static str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_octets {
            "a number of octets, or a text such as \"50 MiB\""
        } else {
            "a number from 0 on"
        })?;
        self.words
            .iter()
            .try_for_each(|word| write!(f, " or {word:?}"))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Self::Value, E> {
        let negative = |_| E::invalid_value(de::Unexpected::Signed(value), &self);
        u64::try_from(value).map(Ok).map_err(negative)
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Ok(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        let word = self.words.iter().find(|&&word| word == value);
        let octets = || Octets::parse(value).filter(|_| self.is_octets);
        word.map(|&word| Err(word))
            .or_else(|| octets().map(Ok))
            .ok_or_else(|| E::invalid_value(de::Unexpected::Str(value), &self))
    }
}

/// What a listener lacks that other machines can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// There are no accounts: any password opens every mailbox.
    Accounts,
    /// There is no certificate: passwords would go over the network in clear.
    Certificate,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accounts => {
                "anyone there could read all mail, since any password opens a mailbox: listen on \
                 127.0.0.1 or [::1] instead, or configure accounts (facteur account add) and TLS \
                 (facteur cert)"
            }
            Self::Certificate => {
                "passwords would go there unencrypted: name a certificate in [tls] (facteur cert \
                 makes one), listen on 127.0.0.1 or [::1] instead, or remove the listener"
            }
        })
    }
}

/// What is wrong with a configuration.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read: name another or mend its permissions.
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line of the file is wrong.
    Value {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, where there is one.
        key: Option<String>,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A file that the configuration names cannot be used.
    Named {
        /// The configuration.
        path: PathBuf,
        /// The line, from 1; 0 is unknown.
        line: usize,
        /// The key that names it.
        key: &'static str,
        /// What is wrong.
        error: Box<Self>,
    },
    /// Several lines are wrong.
    Several(Vec<Self>),
    /// The certificate and its key cannot be used.
    Tls {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
        /// Why.
        error: IdentityError,
    },
    /// Nothing listens.
    NoListener,
    /// Two listeners have the same address.
    Duplicate {
        /// The keys.
        keys: [&'static str; 2],
        /// The address of the second.
        address: SocketAddr,
    },
    /// Something is to listen with TLS, and there is no certificate.
    NoCertificate {
        /// The key of the listener.
        key: &'static str,
    },
    /// Other machines could reach a listener, and what would keep strangers out is missing.
    Exposed {
        /// The key of the listener.
        key: &'static str,
        /// Where it is to listen.
        address: SocketAddr,
        /// What is missing first.
        lack: Lack,
    },
    /// What a file says does not go together, with what was typed in its place.
    Whole {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: Box<Self>,
    },
    /// A flag says both that nothing listens and where: remove one of the two.
    OffAndOn {
        /// The flag.
        flag: &'static str,
    },
}

/// A path as it is shown: a line break in it must not make two lines of an error.
struct OneLine<'a>(&'a Path);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.to_string_lossy().chars() {
            if char.is_control() {
                write!(f, "{}", char.escape_default())?;
            } else {
                f.write_char(char)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, .. } => write!(f, "cannot read {}", OneLine(path)),
            Self::Value {
                path,
                line,
                key: Some(key),
                reason,
            } => {
                write!(f, "{}:{line}: {key}: {reason}", OneLine(path))
            }
            Self::Value {
                path,
                line,
                key: None,
                reason,
            } => {
                write!(f, "{}:{line}: {reason}", OneLine(path))
            }
            Self::Named {
                path,
                line,
                key,
                error,
            } => write!(f, "{}:{line}: {key}: {error}", OneLine(path)),
            Self::Several(errors) => {
                for (position, error) in errors.iter().enumerate() {
                    let separator = if position == 0 { "" } else { "\n" };
                    write!(f, "{separator}{error}")?;
                }
                Ok(())
            }
            Self::Exposed { key, address, lack } => {
                write!(f, "{key}: other machines can reach {address}, and {lack}")
            }
            Self::Whole { path, error } => write!(f, "{}: {error}", OneLine(path)),
            Self::OffAndOn { flag } => {
                write!(
                    f,
                    "{flag} off was given with another {flag}: remove one of the two"
                )
            }
            Self::Duplicate {
                keys: [one, other],
                address,
            } if one == other => write!(f, "{one} names {address} twice: remove one of the two"),
            Self::Duplicate {
                keys: [one, other],
                address,
            } => write!(
                f,
                "{one} and {other} would both listen on {address}: give one of them another port"
            ),
            Self::NoListener => f.write_str("smtp and pop3 are both off: nothing to serve"),
            Self::Tls {
                certificate,
                key,
                error,
            } => {
                let (certificate, key) = (OneLine(certificate), OneLine(key));
                match error {
                    IdentityError::Certificate(_) => write!(f, "{certificate}: {error}"),
                    IdentityError::Key(_) => write!(f, "{key}: {error}"),
                    IdentityError::Pair(_) => write!(f, "{certificate} and {key}: {error}"),
                }
            }
            Self::NoCertificate { key } => write!(
                f,
                "{key} needs TLS, and there is no certificate: name one in [tls], or remove {key}"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Named { error, .. } => error.source(),
            Self::Value { .. }
            | Self::Several(_)
            | Self::Tls { .. }
            | Self::NoListener
            | Self::Duplicate { .. }
            | Self::NoCertificate { .. }
            | Self::Exposed { .. }
            | Self::Whole { .. }
            | Self::OffAndOn { .. } => None,
        }
    }
}

impl Config {
    /// Reads the file at `path`.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Value`]: tell the user and do not start.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let source = |source| Error::Read {
            path: path.to_owned(),
            source,
        };
        let text = read_text(path).map_err(source)?;
        let config = Self::parse(path, &text)?;
        Ok(Self {
            path: Some(path.to_owned()),
            ..config
        })
    }

    /// What others could do to the files that are relied on, as they are now.
    pub fn exposure(&self) -> Vec<String> {
        permissions::warnings(self)
    }

    /// Parses `text`, the content of the file at `path`, and reads the file of accounts that it
    /// names, which is looked for beside `path`.
    ///
    /// # Errors
    /// [`Error::Value`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, Error> {
        Self::parse_with(path, text, &read_text)
    }

    /// The same, with the file of accounts read by `read`.
    fn parse_with(path: &Path, text: &str, read: &Read<'_>) -> Result<Self, Error> {
        let mut config: Self =
            toml::from_str(text).map_err(|error| mistakes::<Self>(path, text, error))?;
        if let Some(tls) = &mut config.tls {
            tls.lines = tls_lines(text);
            for file in [&mut tls.certificate, &mut tls.key] {
                *file = beside(path, file);
            }
        }
        if let Some((table, warnings)) = accounts::table(&config, (path, text), read)? {
            config.table = Some(table);
            config.warnings = warnings;
        }
        Ok(config)
    }

    /// The files that this was read from, the first of which is `path`, or will be read with it.
    pub fn files(&self, path: Option<&Path>) -> Vec<PathBuf> {
        let mut files: Vec<PathBuf> = path.map(Path::to_owned).into_iter().collect();
        if let (Some(path), Accounts::File(accounts)) = (path, &self.accounts) {
            files.push(beside(path, accounts.get_ref()));
        }
        if let Some(tls) = &self.tls {
            files.extend([tls.certificate.clone(), tls.key.clone()]);
        }
        files
    }

    /// The keys that are not the same in `other`, but for accounts and certificates, which are read
    /// anew by a daemon that runs.
    pub fn changes(&self, other: &Self) -> Vec<&'static str> {
        let listeners = self.listeners();
        let listeners = listeners.iter().zip(other.listeners());
        let listeners = listeners.map(|(own, other)| (own.0, own.1 == other.1));
        let same = [
            ("hostname", self.hostname == other.hostname),
            ("mail", self.mail == other.mail),
            ("require_auth", self.require_auth == other.require_auth),
            ("bare_lf", self.bare_lf == other.bare_lf),
            ("pop3_utf8", self.pop3_utf8 == other.pop3_utf8),
            ("domains", self.domains == other.domains),
            ("starttls", self.starttls == other.starttls),
            ("subaddress", self.subaddress == other.subaddress),
            ("durability", self.durability == other.durability),
            ("log_level", self.log_level == other.log_level),
            ("log_format", self.log_format == other.log_format),
            ("sandbox", self.sandbox == other.sandbox),
            ("user", self.user == other.user),
            ("journal", self.journal == other.journal),
            ("limits", self.limits == other.limits),
        ];
        let same = listeners.chain(same);
        same.filter_map(|(key, is_same)| (!is_same).then_some(key))
            .collect()
    }

    /// All addresses to listen on, with the keys that name them.
    pub fn listeners(&self) -> [(&'static str, &[Listen]); 5] {
        [
            ("smtp", &self.smtp),
            ("smtps", &self.smtps),
            ("submission", &self.submission),
            ("pop3", &self.pop3),
            ("pop3s", &self.pop3s),
        ]
    }

    /// Checks what no single value can show.
    ///
    /// # Errors
    /// [`Error::NoListener`], [`Error::Duplicate`], [`Error::NoCertificate`], [`Error::Exposed`].
    pub fn check(&self) -> Result<(), Error> {
        let listeners = self.listeners();
        if listeners.iter().all(|(_, listens)| listens.is_empty()) {
            return Err(Error::NoListener);
        }
        self.check_duplicates()?;
        let needs_tls = listeners
            .iter()
            .find(|(key, listens)| ["smtps", "pop3s"].contains(key) && !listens.is_empty());
        match needs_tls {
            Some((key, _)) if self.tls.is_none() => Err(Error::NoCertificate { key }),
            Some(_) | None => self.check_exposure(),
        }
    }

    /// The system would say of the second one only that the address is in use.
    fn check_duplicates(&self) -> Result<(), Error> {
        let mut seen: Vec<(&'static str, SocketAddr)> = Vec::new();
        for (key, listens) in self.listeners() {
            for &Listen { address } in listens {
                let is_same = |(_, other): &&(&str, SocketAddr)| overlap(*other, address);
                if let Some((other, _)) = seen.iter().find(is_same) {
                    let keys = [*other, key];
                    return Err(Error::Duplicate { keys, address });
                }
                seen.push((key, address));
            }
        }
        Ok(())
    }

    /// SEC-14: without accounts and TLS only this machine may reach the mail.
    fn check_exposure(&self) -> Result<(), Error> {
        let lack = match (&self.table, &self.tls) {
            (Some(_), Some(_)) => return Ok(()),
            (None, _) => Lack::Accounts,
            (Some(_), None) => Lack::Certificate,
        };
        for (key, listens) in self.listeners() {
            let exposed = listens.iter().find(|listen| !listen.is_loopback());
            if let Some(&Listen { address }) = exposed {
                return Err(Error::Exposed { key, address, lack });
            }
        }
        Ok(())
    }
}

/// Whether two sockets cannot listen there at the same time. Any free port is another one each
/// time.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    let is_one_family = one.is_ipv4() == other.is_ipv4();
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || (is_any && is_one_family))
}

/// Largest file that is read, in octets: a configuration with some thousand accounts, or a hundred
/// times what a certificate and a key usually have. A wrong path must not fill the memory.
const FILE_OCTETS_MAX: u64 = 4 * 1024 * 1024;

/// The content of a file that has a bound.
fn read_octets(path: &Path) -> io::Result<Vec<u8>> {
    let mut octets = Vec::new();
    let mut file = File::open(path)?.take(FILE_OCTETS_MAX);
    file.read_to_end(&mut octets)?;
    if file.limit() == 0 {
        let reason = format!("it is larger than {FILE_OCTETS_MAX} octets");
        return Err(io::Error::other(reason));
    }
    Ok(octets)
}

/// Gives the content of a file.
type Read<'a> = dyn Fn(&Path) -> io::Result<String> + 'a;

fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read_octets(path)?).map_err(|error| io::Error::other(error.utf8_error()))
}

/// The place of `file`, which the file at `path` names.
fn beside(path: &Path, file: &Path) -> PathBuf {
    path.parent().unwrap_or(path).join(file)
}

/// The directory that `file` lies in.
fn directory_of(file: &Path) -> &Path {
    // A name alone is one in the directory where we are.
    let is_named = |directory: &&Path| !directory.as_os_str().is_empty();
    file.parent().filter(is_named).unwrap_or(Path::new("."))
}

/// What is wrong with `text`, the content of the file at `path`.
fn value_error(path: &Path, text: &str, error: &toml::de::Error) -> Error {
    let position = error.span().map_or(0, |place| place.start);
    Error::Value {
        path: path.to_owned(),
        line: line_at(text, position),
        key: key_at(text, position),
        reason: reason(error.message()),
    }
}

/// How many mistakes of one file are reported at most: more than anybody mends before trying again.
const MISTAKES_MAX: usize = 20;

/// All that is wrong with `text`, the content of the file at `path`, of which `first` is what was
/// found first: each mistake is taken out of the text, and the rest is read again.
fn mistakes<T: de::DeserializeOwned>(path: &Path, text: &str, first: toml::de::Error) -> Error {
    let mut rest = text.to_owned();
    let mut error = first;
    let mut errors = vec![value_error(path, &rest, &error)];
    while errors.len() < MISTAKES_MAX {
        let shorter = error.span().and_then(|place| without(&rest, &place));
        // A part of a value may have gone, or what the parser cannot get over is still there.
        let Some(shorter) = shorter.filter(|it| toml::from_str::<toml::Table>(it).is_ok()) else {
            break;
        };
        rest = shorter;
        match toml::from_str::<T>(&rest) {
            // It follows from what was taken out.
            Err(next) if next.message().contains("missing field") => break,
            Err(next) => error = next,
            Ok(_) => break,
        }
        errors.push(value_error(path, &rest, &error));
    }
    if errors.len() == 1 {
        return value_error(path, text, &error);
    }
    errors.sort_by_key(|error| {
        if let Error::Value { line, .. } = error {
            *line
        } else {
            0
        }
    });
    Error::Several(errors)
}

/// A text without the lines of a mistake, which stay as empty ones; with a table that is not known
/// all of it goes. `None` when nothing would change.
fn without(text: &str, place: &std::ops::Range<usize>) -> Option<String> {
    let first = line_at(text, place.start);
    let last = line_at(text, place.end.saturating_sub(1).max(place.start));
    let is_table = |line: &str| table_header(line).is_some();
    let mut is_inside = false;
    let mut shorter = String::with_capacity(text.len());
    for (number, line) in (1..).zip(text.split('\n')) {
        if number == first {
            is_inside = is_table(line);
        } else if number > last && is_table(line) {
            is_inside = false;
        }
        let goes = (first..=last).contains(&number) || (number > last && is_inside);
        if !goes {
            shorter.push_str(line);
        }
        shorter.push('\n');
    }
    (shorter.trim_end() != text.trim_end()).then_some(shorter)
}

/// What the parser says, with what may have been meant: a key that is near, or a text in quotes.
fn reason(message: &str) -> String {
    let message = message.replace('\n', " ");
    let unknown = message.strip_prefix("unknown field `");
    if let Some((key, rest)) = unknown.and_then(|rest| rest.split_once('`')) {
        let keys = rest.split('`').skip(1).step_by(2);
        if let Some(meant) = hints::nearest(key, keys) {
            return format!("unknown field `{key}`, did you mean `{meant}`?");
        }
    }
    if message.starts_with("string values must be quoted") || message.contains("invalid number") {
        return format!("{message}; write a number with a unit in quotes, as in \"50 MiB\"");
    }
    message
}

/// The number of the line that holds the octet at `position`.
fn line_at(text: &str, position: usize) -> usize {
    let before = text.as_bytes().get(..position).unwrap_or_default();
    memchr::memchr_iter(b'\n', before).count().saturating_add(1)
}

/// The key on the line that holds the octet at `position`, with the table that it is in and, in
/// that of an account, its address; the table alone where the line is its header. On any other line
/// without a key something else is wrong than a value, or the value goes on over several lines: of
/// an account at least the address is told.
fn key_at(text: &str, position: usize) -> Option<String> {
    let lines_above = line_at(text, position).saturating_sub(1);
    let line = text.lines().nth(lines_above)?;
    let own_table = table_header(line);
    let above: Vec<&str> = text.lines().take(lines_above).collect();
    let table = own_table.or_else(|| above.into_iter().rev().find_map(table_header));
    let key = match own_table {
        Some(_) => None,
        None => key_of(line),
    };
    let account = match table {
        Some("accounts") if key != Some("address") => address_near(text, lines_above),
        Some(_) | None => None,
    };
    let name = match (table, key) {
        (Some(table), Some(key)) => format!("{table}.{key}"),
        (Some(table), None) if own_table.is_some() || account.is_some() => table.to_owned(),
        (None, Some(key)) => key.to_owned(),
        (_, None) => return None,
    };
    Some(match account {
        Some(account) => format!("{name} of {account}"),
        None => name,
    })
}

/// The name in a line such as `[limits]` or `[[accounts]]`.
fn table_header(line: &str) -> Option<&str> {
    let after = line.trim_start().strip_prefix('[')?;
    let (name, _) = after.strip_prefix('[').unwrap_or(after).split_once(']')?;
    Some(name.trim())
}

/// The key of a line. What does not look like one may be a part of a value, and a value may be
/// secret.
fn key_of(line: &str) -> Option<&str> {
    let (key, _) = line.split_once('=')?;
    let key = key.trim();
    let quoted = |mark| key.len() > 1 && key.starts_with(mark) && key.ends_with(mark);
    let is_bare = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ');
    (key.chars().all(is_bare) || quoted('"') || quoted('\'')).then_some(key)
}

/// The value of `address` in the table that has the line after `lines_above` lines.
fn address_near(text: &str, lines_above: usize) -> Option<&str> {
    let lines: Vec<&str> = text.lines().collect();
    let (above, below) = lines.split_at_checked(lines_above)?;
    let is_inside = |line: &&&str| table_header(line).is_none();
    // The line itself may be the header.
    let (own, below) = below.split_first()?;
    let above = match table_header(own) {
        Some(_) => &[],
        None => above,
    };
    let inside = above.iter().rev().take_while(is_inside);
    let inside = inside.chain(std::iter::once(own));
    let mut inside = inside.chain(below.iter().take_while(is_inside));
    inside.find_map(|line| {
        let value = line.trim_start().strip_prefix("address")?.trim_start();
        let value = value.strip_prefix('=')?.trim_start();
        value.strip_prefix('"')?.split('"').next()
    })
}

#[cfg(test)]
mod tests;
