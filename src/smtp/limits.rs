//! Every limit of the SMTP room, each with its reason.

/// Longest command line in octets, including its ending. RFC 5321 §4.5.3.1.4 asks for 512, and
/// RFC 6531 and the other extensions add their parameters; 4,096 is enough for all of them at their
/// longest.
pub const COMMAND_LINE_OCTETS_MAX: usize = 4_096;

/// Default for the recipients of one transaction: ten times the 100 that RFC 5321 §4.5.3.1.8 asks
/// for, and a reasonable amount of memory for one envelope.
pub const RECIPIENTS_MAX: u32 = 1_000;

/// Default for the size of one message in octets: more than the large mail services accept.
pub const MESSAGE_OCTETS_MAX: u64 = 50 * 1_024 * 1_024;

/// Default for the syntax and sequence errors of one session: a person at a terminal makes a few, a
/// program that speaks another protocol makes them endlessly.
pub const ERRORS_MAX: u32 = 10;

/// Unknown recipients of one session (SEC-12): a person mistypes a few, and a list has old
/// addresses. A client that tries names from a dictionary has to reconnect.
pub const UNKNOWN_RECIPIENTS_MAX: u32 = 10;

/// How many times the size limit a client can send before the connection is closed: the content of
/// a message that is too large is read to its end, so that nothing of it is taken for a command,
/// but not endlessly.
pub const OVERRUN_FACTOR: u64 = 2;

/// Longest argument of HELO and EHLO in octets: a domain (RFC 5321 §4.5.3.1.2).
pub const CLIENT_NAME_OCTETS_MAX: usize = 255;
