//! Every limit of the vocabulary's exchanges, each with its reason.
//!
//! The limits of an address are those of RFC 5321 §4.5.3.1 and stand where addresses are parsed.

/// Longest user name in a SASL message: the longest address that there can be. A session keeps the
/// name for as long as it lasts, so a message of 12 KiB must not fill it.
pub const USER_NAME_OCTETS_MAX: usize = 512;

/// Longest nonce of a SCRAM client: clients send 18 to 64 octets. What the server says first holds
/// it, and has to fit the line of a response.
pub const SCRAM_NONCE_OCTETS_MAX: usize = 256;

/// Longest first message of a SCRAM server: in base64 it has 504 octets, so that with `334 ` or
/// `+ ` and CRLF it fits a line of SMTP (RFC 5321 §4.5.3.1.5) and of POP3 (RFC 2449 §4), which
/// have 512. Beside the longest nonce of a client it leaves room for 32 octets of the server's own
/// nonce and 32 of salt.
pub const SCRAM_FIRST_OCTETS_MAX: usize = 378;

/// Fewest iterations that a client may be told (RFC 7677 §4): fewer would make the password easy
/// to find for who has recorded the exchange.
pub const SCRAM_ITERATIONS_MIN: u32 = 4_096;

/// Longest line of an AUTH exchange in octets, its ending included: what RFC 4954 §4 finds
/// sufficient for the mechanisms in use. RFC 5034 §4 wants no more for POP3.
pub const AUTH_LINE_OCTETS_MAX: usize = 12_288;

/// Refused logins of one session: enough for a mistyped password; whoever guesses has to connect
/// anew, where attempts are counted by address.
pub const PASSWORD_FAILURES_MAX: u32 = 3;
