//! The defaults of the configuration and the limits on reading it, each with its reason.
//!
//! `config.example.toml` has all defaults too; a test proves that they are equal.

// Limits of other rooms, which are also the defaults of the keys that change them.
pub(super) use crate::{
    accounts::limits::FAILURE_DELAY,
    server::limits::IN_FLIGHT_OCTETS,
    smtp::limits::{ERRORS_MAX, MESSAGE_OCTETS_MAX, RECIPIENTS_MAX},
    store::limits::{SEGMENT_OCTETS, SEGMENTS},
};

/// The default port of SMTP: no other program uses it, and it needs no privileges.
pub const SMTP_PORT: u16 = 65_434;

/// The default port of POP3.
pub const POP3_PORT: u16 = 65_433;

/// The default port of HTTP.
pub const HTTP_PORT: u16 = 65_480;

/// How long an SMTP session may be idle, in seconds: RFC 5321 §4.5.3.2.7 asks for five minutes.
pub(super) const SMTP_IDLE_SECONDS: u32 = 300;

/// How long a POP3 session may be idle, in seconds: RFC 1939 §3 asks for ten minutes.
pub(super) const POP3_IDLE_SECONDS: u32 = 600;

/// How long a session may last, in seconds: no client needs an hour, and a session held forever is
/// lost to others.
pub(super) const SESSION_SECONDS: u64 = 3_600;

/// Largest file that is read, in octets: a configuration with several thousand accounts, or a
/// hundred times a usual certificate and key. A wrong path must not fill the memory.
pub(super) const FILE_OCTETS_MAX: u64 = 4 * 1024 * 1024;

/// Most networks of `open_to` and of `proxy_from`: each client's address is compared with all of
/// them.
pub(super) const NETWORKS_MAX: usize = 64;

/// Most names in `http_names` and most origins in `http_origins`: each request is compared with all
/// of them.
pub(super) const HTTP_NAMES_MAX: usize = 64;

/// Most mistakes reported for one file, and most unknown environment variables: more than anybody
/// fixes before trying again.
pub(super) const MISTAKES_MAX: usize = 20;

/// Most changes between a word and the one that was probably meant.
pub(super) const CHANGES_MAX: usize = 2;

/// Longest word that is compared, in characters: no key or fixed value is longer.
pub(super) const CHARACTERS_MAX: usize = 32;

/// Most directories above a file that are checked: more than real paths have.
pub(super) const DEPTH_MAX: usize = 128;
