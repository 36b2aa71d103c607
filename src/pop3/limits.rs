//! Every limit of the POP3 room, each with its reason.

/// Longest command line in octets, including its ending. RFC 2449 §4 asks for 255 octets; long
/// passwords and user names need more, and a session's input buffer is still one page.
pub const COMMAND_LINE_OCTETS_MAX: usize = 4_096;

/// Longest response line (RFC 1939 §3, RFC 2449 §4).
pub const RESPONSE_LINE_OCTETS_MAX: usize = 512;

/// Default for the wrong commands of one session: a person at a terminal makes a few mistakes, a
/// program that speaks another protocol makes them endlessly.
pub const ERRORS_MAX: u32 = 10;
