//! Limits of the exchanges in this room, each with its reason.
//!
//! The limits of an address are those of RFC 5321 §4.5.3.1 and are in the address parser.

/// Longest user name in a SASL message: the longest possible address. A session keeps the name
/// until it ends, so the name must not grow to a whole message of 12 KiB.
pub const USER_NAME_OCTETS_MAX: usize = 512;

/// Longest nonce of a SCRAM client: clients send 18 to 64 octets. The server's first message
/// contains it, and has to fit into the line of a response.
pub const SCRAM_NONCE_OCTETS_MAX: usize = 256;

/// Longest first message of a SCRAM server: in base64 it has 504 octets, so that with `334 ` or `+
/// ` and CRLF it fits into a line of SMTP (RFC 5321 §4.5.3.1.5) and of POP3 (RFC 2449 §4), which
/// have 512. With the longest client nonce it leaves room for 32 octets of the server's own nonce
/// and 32 of salt.
pub const SCRAM_FIRST_OCTETS_MAX: usize = 378;

/// Fewest iterations that the server may send to a client (RFC 7677 §4): fewer would make it easy
/// to find the password from a recorded exchange.
pub const SCRAM_ITERATIONS_MIN: u32 = 4_096;

/// Longest line of an AUTH exchange in octets, including its ending: RFC 4954 §4 finds this
/// sufficient for the mechanisms in use. RFC 5034 §4 requires no more for POP3.
pub const AUTH_LINE_OCTETS_MAX: usize = 12_288;

/// Longest header of version 1 of the PROXY protocol, in octets: its specification says so, for two
/// addresses of IPv6 at their longest.
pub const PROXY_V1_OCTETS_MAX: usize = 107;

/// The same for version 2: 16 octets, two addresses at their longest, those of Unix sockets, and
/// what is more than proxies put behind them. The specification recommends to accept this many,
/// because they fit into the first packet of every connection.
pub const PROXY_V2_OCTETS_MAX: usize = 536;

/// Refused logins of one session: enough for a mistyped password. To guess further, a client has to
/// reconnect, and attempts are counted by address.
pub const PASSWORD_FAILURES_MAX: u32 = 3;
