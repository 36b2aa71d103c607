//! Every limit of the POP3 room, each with its reason.

/// Longest command line in octets, its ending included. RFC 2449 §4 asks for 255 octets; long
/// passwords and user names get more, and a session's input buffer stays one page.
pub const COMMAND_LINE_OCTETS_MAX: usize = 4_096;

/// Longest response line (RFC 1939 §3, RFC 2449 §4).
pub const RESPONSE_LINE_OCTETS_MAX: usize = 512;

/// Wrong commands of one session where nothing is configured: a person at a terminal makes a few, a
/// program that speaks another protocol makes them without end.
pub const ERRORS_MAX: u32 = 10;
