//! What holds where a configuration says nothing, and its own limits, each with its reason.
//!
//! The defaults of other rooms stand in the `limits.rs` of those rooms. `config.example.toml` has
//! all of them; a test proves that they are equal.

/// Where SMTP listens when nothing is said: no port that another program uses, and no right needed.
pub const SMTP_PORT: u16 = 65_434;

/// Where POP3 listens when nothing is said.
pub const POP3_PORT: u16 = 65_433;

/// How long an SMTP session may be idle, in seconds: RFC 5321 §4.5.3.2.7 asks for five minutes.
pub(super) const SMTP_IDLE_SECONDS: u32 = 300;

/// How long a POP3 session may be idle, in seconds: RFC 1939 §3 asks for ten minutes.
pub(super) const POP3_IDLE_SECONDS: u32 = 600;

/// How long a session may last, in seconds: nobody needs an hour, and a place that is held for ever
/// is lost to others.
pub(super) const SESSION_SECONDS: u64 = 3_600;

/// Largest file that is read, in octets: a configuration with some thousand accounts, or a hundred
/// times what a certificate and a key usually have. A wrong path must not fill the memory.
pub(super) const FILE_OCTETS_MAX: u64 = 4 * 1024 * 1024;

/// How many mistakes of one file are reported at most: more than anybody mends before trying again.
pub(super) const MISTAKES_MAX: usize = 20;

/// How many changes at most make one word a probable typing mistake for another.
pub(super) const CHANGES_MAX: usize = 2;

/// Characters of a word that are looked at: no key and no value is longer, and a bound.
pub(super) const CHARACTERS_MAX: usize = 32;

/// Most directories above a file that are looked at: more than paths have, and a bound.
pub(super) const DEPTH_MAX: usize = 128;
