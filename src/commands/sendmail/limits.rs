//! Limits of `facteur sendmail`, each with its reason.
//!
//! The daemon limits the size of a message, and announces the limit after EHLO; a message that
//! exceeds it is not sent to its end.

use std::time::Duration;

/// Octets from the start of a message that are held in memory: the header section must end within
/// them. A long list of recipients takes some 100 KiB. The size of a message that fits into this
/// limit is known before it is sent.
pub(super) const BEGINNING_OCTETS_MAX: usize = 1024 * 1024;

/// Octets that are read from standard input at a time.
pub(super) const PIECE_OCTETS: usize = 64 * 1024;

/// Recipients of a message: far more than the daemon accepts by default. The list is in memory.
pub(super) const RECIPIENTS_MAX: usize = 10_000;

/// Octets of a full name in a From field: quoted or encoded, it is a few lines of a header.
pub(super) const FULL_NAME_OCTETS_MAX: usize = 256;

/// Characters of an encoded word in a list of addresses: RFC 2047 §2. The search for its end stops
/// there, so that it takes no time that depends on the length of the list.
pub(super) const ENCODED_WORD_CHARACTERS_MAX: usize = 75;

/// Octets of one reply: RFC 5321 §4.5.3.1.5 allows 512 for each line, and EHLO gets a dozen.
pub(super) const REPLY_OCTETS_MAX: usize = 16 * 1024;

/// Characters of an address or a reply that are quoted in an error, so that it remains readable.
pub(super) const QUOTED_CHARACTERS_MAX: usize = 200;

/// Refused recipients that an error names; it only counts the others.
pub(super) const NAMED_RECIPIENTS_MAX: usize = 10;

/// Time to connect: long for a daemon on this machine.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for the reply to a command, and for the daemon to take a piece of the message: RFC 5321
/// §4.5.3.2 asks clients to wait this long.
pub(super) const REPLY_TIMEOUT: Duration = Duration::from_mins(5);

/// Time for QUIT and for its reply: the daemon has the message already, and whoever started this
/// program waits.
pub(super) const QUIT_TIMEOUT: Duration = Duration::from_secs(1);

/// Time for the reply to a message: RFC 5321 §4.5.3.2.6.
pub(super) const MESSAGE_TIMEOUT: Duration = Duration::from_mins(10);
