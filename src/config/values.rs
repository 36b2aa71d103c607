//! The types of the configuration's values, and how each is parsed.

use std::{fmt, marker::PhantomData, net::SocketAddr, path::PathBuf, time::Duration};

use ipnet::IpNet;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};

use crate::{
    http::{Origin, Rules},
    mail::{Charset, Domain},
    server::limits as server_limits,
    store::limits as store_limits,
    wire::BareOctets,
};

use super::{
    hints,
    limits::{HTTP_NAMES_MAX, NETWORKS_MAX},
    open_to::{OpenTo, ProxyFrom},
};

/// Implements parsing of a type from its words, for the file and for the command line.
macro_rules! words {
    ($type:ty: $($word:literal => $value:expr),+ $(,)?) => {
        impl std::str::FromStr for $type {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($word => Ok($value),)+
                    _ => Err(hints::none_of(text, &[$($word),+])),
                }
            }
        }

        impl TryFrom<String> for $type {
            type Error = String;

            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }
    };
}

/// The domain name of this host, or a domain that it accepts mail for.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct HostName(pub Domain);

impl HostName {
    pub(super) fn localhost() -> Self {
        Self(Domain::localhost())
    }
}

impl TryFrom<String> for HostName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        // Kept in A-label form, which can be sent to every client.
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
    /// Address and port; port 0 means any free port.
    pub address: SocketAddr,
}

impl Listen {
    /// This port on both loopback addresses.
    pub(super) fn loopback(port: u16) -> Vec<Self> {
        let addresses: [SocketAddr; 2] = [
            ([127, 0, 0, 1], port).into(),
            (std::net::Ipv6Addr::LOCALHOST, port).into(),
        ];
        addresses
            .into_iter()
            .map(|address| Self { address })
            .collect()
    }

    /// Whether only this machine can reach it.
    pub fn is_loopback(&self) -> bool {
        self.address.ip().to_canonical().is_loopback()
    }

    /// Parses an address with a port, or a port of this machine (`2525`, `:2525`,
    /// `localhost:2525`), which means both loopback addresses.
    ///
    /// # Errors
    /// What is wrong, and what would be valid.
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
             nor a port on this machine such as \"65434\""
        ))
    }
}

/// The port of SMTP (RFC 5321 §4.5.4.2).
const SMTP_PORT: u16 = 25;

/// Where a listener is that can also be reached through the file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Places {
    /// Its addresses.
    pub addresses: Vec<Listen>,
    /// The paths of its sockets.
    pub sockets: Vec<PathBuf>,
}

impl Places {
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.sockets.is_empty()
    }

    /// Adds what [`Listen::parse`] accepts, or an absolute path.
    ///
    /// # Errors
    /// What is wrong, and what would be valid.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        let Some(name) = text.strip_prefix('/') else {
            let listens = Listen::parse(text);
            let listens = listens.map_err(|error| format!("{error}, nor an absolute path"))?;
            // RFC 2033 §5: other servers would believe that it is SMTP.
            if listens.iter().any(|it| it.address.port() == SMTP_PORT) {
                return Err(format!(
                    "{text:?} has port 25, which is for SMTP alone (RFC 2033)"
                ));
            }
            self.addresses.extend(listens);
            return Ok(());
        };
        if name.is_empty() || name.ends_with('/') {
            return Err(format!("{text:?} is not the path of a socket"));
        }
        self.sockets.push(PathBuf::from(text));
        Ok(())
    }
}

/// One element of a list of addresses; it may mean two addresses.
pub(super) struct Listens(Vec<Listen>);

impl<'de> Deserialize<'de> for Listens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Listen::parse(&text).map(Self).map_err(de::Error::custom)
    }
}

/// A name by which HTTP is reached, in lower case.
#[derive(serde::Deserialize)]
#[serde(try_from = "String")]
struct HttpName(String);

impl TryFrom<String> for HttpName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let name = text.to_ascii_lowercase();
        if Rules::is_name(&name) {
            Ok(Self(name))
        } else {
            Err(format!(
                "{text:?} is not the name of a host such as mail.example.com, without a port"
            ))
        }
    }
}

/// The origin of pages that may use HTTP.
#[derive(serde::Deserialize)]
#[serde(try_from = "String")]
struct HttpOrigin(Origin);

impl TryFrom<String> for HttpOrigin {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Origin::parse(&text).map(Self).ok_or_else(|| {
            format!("{text:?} is not an origin such as http://localhost:3000, without a path")
        })
    }
}

/// The separator of sub-addresses; an empty string or `"off"` means none.
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
                "{text:?} is neither a single punctuation mark such as \"+\" nor \"off\""
            )),
        }
    }
}

/// Whether listeners that begin in clear offer TLS if there is a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct StartTls(pub bool);

words! { StartTls:
    "on" => StartTls(true),
    "off" => StartTls(false),
}

/// How content with bare LFs or CRs from a client on this machine is handled in open mode; from all
/// other clients it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct BareLf(pub BareOctets);

words! { BareLf:
    "accept" => BareLf(BareOctets::Accept),
    "refuse" => BareLf(BareOctets::Refuse),
}

/// How messages are made durable before they are acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum Durability {
    /// `"journal"`: in a journal, many messages with one sync.
    Journal,
    /// `"maildir"`: in the Maildirs, each message with its own syncs.
    Maildir,
    /// `"none"`: not at all.
    None,
}

words! { Durability:
    "journal" => Durability::Journal,
    "maildir" => Durability::Maildir,
    "none" => Durability::None,
}

/// The size of one segment of the journal, in octets.
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

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum LogFormat {
    /// `"text"`: for people.
    Text,
    /// `"json"`: one object per line, for programs.
    Json,
}

words! { LogFormat:
    "text" => LogFormat::Text,
    "json" => LogFormat::Json,
}

/// Whether the kernel is asked to confine the daemon to what it needs (SEC-16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum Sandbox {
    /// `"on"`: as far as this kernel supports it.
    On,
    /// `"require"`: the daemon does not start without it.
    Required,
    /// `"off"`: not at all.
    Off,
}

words! { Sandbox:
    "on" => Sandbox::On,
    "require" => Sandbox::Required,
    "off" => Sandbox::Off,
}

/// Octets that all sessions together may hold in flight (SEC-9).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(try_from = "Octets")]
pub struct InFlightOctets(pub u64);

impl InFlightOctets {
    /// This many, or the minimum if that is more.
    pub fn or_the_fewest(octets: u64) -> Self {
        Self(octets.max(server_limits::IN_FLIGHT_OCTETS_MIN))
    }

    /// The share for content that the store holds in memory.
    pub fn of_deliveries(self) -> u64 {
        self.0 / 2
    }

    /// The share for the buffers and envelopes of sessions.
    pub fn of_sessions(self) -> u64 {
        self.0.saturating_sub(self.of_deliveries())
    }
}

impl TryFrom<Octets> for InFlightOctets {
    type Error = String;

    fn try_from(Octets(octets): Octets) -> Result<Self, String> {
        const MIN: u64 = server_limits::IN_FLIGHT_OCTETS_MIN;
        if octets < MIN {
            return Err(format!("{octets} is too small: use at least {MIN}"));
        }
        Ok(Self(octets))
    }
}

/// A number of octets: a number, or a string with a unit such as `"50 MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Octets(u64);

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

    /// Reads a number with a unit; a unit of a single letter is a power of 1024.
    pub(super) fn parse(text: &str) -> Option<u64> {
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
pub(super) fn octets_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Limit, D::Error> {
    let number = deserializer.deserialize_any(NumberOrWord::octets(&["off"]))?;
    Ok(Limit(number.ok().filter(|&value| value != 0)))
}

/// A limit that 0 or `"off"` switches off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(pub Option<u64>);

/// A number of at least 1: a limit that cannot be switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count(pub u32);

impl Count {
    /// This many seconds.
    pub fn as_seconds(self) -> Duration {
        Duration::from_secs(u64::from(self.0))
    }
}

/// Simultaneous sessions from one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerAddress {
    /// `"auto"`: many from this machine, few from any other address.
    Auto,
    /// 0 or `"off"`: no limit.
    Off,
    /// At most this many from each address.
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
                "0 is too small: this limit cannot be switched off",
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

/// Reads the path of a directory; an empty path would mean whatever directory the daemon runs in.
pub(super) fn directory<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        Err(de::Error::custom(
            "\"\" is not a directory: use \".\" for the current one",
        ))
    } else {
        Ok(PathBuf::from(text))
    }
}

/// Reads the path of a file.
pub(super) fn file<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PathBuf, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        Err(de::Error::custom(
            "\"\" is not the name of a file: name one, or remove the table [tls]",
        ))
    } else {
        Ok(PathBuf::from(text))
    }
}

/// Reads the addresses to listen on.
pub(super) fn listeners<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Listen>, D::Error> {
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

/// Reads where a listener is that can also have sockets in the file system.
pub(super) fn places<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Places, D::Error> {
    let texts: Vec<String> = deserializer.deserialize_any(ListOrOff {
        expected: "a list of addresses and paths such as [\"127.0.0.1:65424\"], or \"off\"",
        off: Some("off"),
        element: PhantomData,
    })?;
    let mut places = Places::default();
    for text in texts {
        places.add(&text).map_err(de::Error::custom)?;
    }
    Ok(places)
}

/// Reads the networks that are served without accounts.
pub(super) fn open_to<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let elements: Vec<OpenTo> = deserializer.deserialize_any(ListOrOff {
        expected: "a list of private networks such as [\"172.16.0.0/12\"]",
        off: None,
        element: PhantomData,
    })?;
    few_networks(elements.into_iter().flat_map(|OpenTo(networks)| networks))
}

/// Reads the networks of the proxies that name their clients.
pub(super) fn proxy_from<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<IpNet>, D::Error> {
    let elements: Vec<ProxyFrom> = deserializer.deserialize_any(ListOrOff {
        expected: "a list of networks such as [\"10.0.0.0/8\"]",
        off: None,
        element: PhantomData,
    })?;
    few_networks(elements.into_iter().map(|ProxyFrom(network)| network))
}

/// Collects at most [`NETWORKS_MAX`] networks, each once.
fn few_networks<E: de::Error>(all: impl Iterator<Item = IpNet>) -> Result<Vec<IpNet>, E> {
    let mut networks = Vec::new();
    for network in all {
        if !networks.contains(&network) {
            networks.push(network);
        }
    }
    if networks.len() > NETWORKS_MAX {
        let reason = format!("there are more than {NETWORKS_MAX} networks: name wider ones");
        return Err(E::custom(reason));
    }
    Ok(networks)
}

/// Reads the local domains.
pub(super) fn domains<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<HostName>, D::Error> {
    deserializer.deserialize_any(ListOrOff {
        expected: "a list of domains such as [\"example.com\"]",
        off: None,
        element: PhantomData,
    })
}

/// Reads the names by which HTTP is reached.
pub(super) fn http_names<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<String>, D::Error> {
    let names: Vec<HttpName> = deserializer.deserialize_any(ListOrOff {
        expected: "a list of names such as [\"mail.example.com\"]",
        off: None,
        element: PhantomData,
    })?;
    not_too_many(names.into_iter().map(|HttpName(name)| name), "names")
}

/// Reads the origins whose pages may use HTTP.
pub(super) fn http_origins<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Origin>, D::Error> {
    let origins: Vec<HttpOrigin> = deserializer.deserialize_any(ListOrOff {
        expected: "a list of origins such as [\"http://localhost:3000\"]",
        off: None,
        element: PhantomData,
    })?;
    let origins = origins.into_iter().map(|HttpOrigin(origin)| origin);
    not_too_many(origins, "origins")
}

/// Collects at most [`HTTP_NAMES_MAX`] values.
fn not_too_many<T, E: de::Error>(
    values: impl ExactSizeIterator<Item = T>,
    what: &str,
) -> Result<Vec<T>, E> {
    if values.len() > HTTP_NAMES_MAX {
        let reason = format!("there are more than {HTTP_NAMES_MAX} {what}");
        return Err(E::custom(reason));
    }
    Ok(values.collect())
}

/// Reads a number that fits into 32 bits.
pub(super) fn number<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    let number = deserializer.deserialize_any(NumberOrWord::plain(&[]))?;
    let number = number.unwrap_or_default();
    u32::try_from(number).map_err(|_too_large| de::Error::custom(format!("{number} is too large")))
}

/// Reads a list, or a word that means an empty list.
pub(super) struct ListOrOff<T> {
    /// What the user should have written.
    pub(super) expected: &'static str,
    /// The word, if there is one.
    pub(super) off: Option<&'static str>,
    pub(super) element: PhantomData<T>,
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

/// Reads a non-negative number (`Ok`) or one of a few words (`Err`).
pub(super) struct NumberOrWord {
    words: &'static [&'static str],
    /// Whether it is a number of octets, which may also be a string with a unit.
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
            "a number of octets, or a string such as \"50 MiB\""
        } else {
            "a non-negative integer"
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
