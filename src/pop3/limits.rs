//! Every limit of a POP3 session, in one place, each with its reason.
//!
//! Times, connection counts and sizes of buffers belong to the driver; here is only what the
//! protocol's own code needs. A line's limit includes its line ending.

/// Longest command line. RFC 2449 §4 asks for 255 octets; long passwords and user names get more,
/// and a session's input buffer stays one page.
pub const COMMAND_LINE_OCTETS_MAX: usize = 4_096;

/// Longest line of a SASL exchange: what RFC 4954 §4 finds sufficient for the mechanisms in use.
/// An initial response on the AUTH line itself is part of a command line; RFC 5034 §4 has it
/// shorter still.
pub const SASL_LINE_OCTETS_MAX: usize = 12_288;

/// Longest response line (RFC 1939 §3, RFC 2449 §4).
pub const RESPONSE_LINE_OCTETS_MAX: usize = 512;

/// Default for [`Settings::errors_max`](super::Settings::errors_max): a person who mistypes stays
/// far below it, a program that speaks another protocol is gone soon.
pub const ERRORS_MAX: u32 = 10;

/// Default for [`Settings::password_failures_max`](super::Settings::password_failures_max): enough
/// for a mistyped password; whoever guesses has to connect anew, where attempts can be counted by
/// address.
pub const PASSWORD_FAILURES_MAX: u32 = 3;
