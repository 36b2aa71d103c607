//! Every limit of the SMTP room, each with its reason.

/// Longest command line in octets, its ending included. RFC 5321 §4.5.3.1.4 asks for 512, RFC 6531
/// and the other extensions add their parameters; 4,096 holds all of them at their longest.
pub const COMMAND_LINE_OCTETS_MAX: usize = 4_096;

/// Recipients of one transaction where nothing is configured: ten times the 100 that RFC 5321
/// §4.5.3.1.8 asks for, and what one envelope may hold in memory.
pub const RECIPIENTS_MAX: u32 = 1_000;

/// Size of one message in octets where nothing is configured: more than the large mail services
/// let through.
pub const MESSAGE_OCTETS_MAX: u64 = 50 * 1_024 * 1_024;

/// Syntax and sequence errors of one session where nothing is configured: a person at a terminal
/// makes a few, a program that talks something else makes them without end.
pub const ERRORS_MAX: u32 = 10;

/// Recipients of one session who do not exist (SEC-12): a person mistypes a few, a list has old
/// addresses; who tries names from a dictionary has to reconnect.
pub const UNKNOWN_RECIPIENTS_MAX: u32 = 10;

/// How many times the size limit a client may send before it is cut off: the content of a message
/// that is too large is read to its end so that nothing of it is taken for a command, but not
/// without end.
pub const OVERRUN_FACTOR: u64 = 2;

/// Longest argument of HELO and EHLO in octets: a domain (RFC 5321 §4.5.3.1.2).
pub const CLIENT_NAME_OCTETS_MAX: usize = 255;
