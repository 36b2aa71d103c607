//! The limits of the store, each with its reason.
//!
//! Nothing is checked here; the places that do are named with each limit.

use std::time::Duration;

/// Free space below which no delivery is begun, in octets.
///
/// A full disk harms everybody on the machine, and a store without room cannot even record what is
/// deleted from it. The reserve also covers what was admitted but is not yet written: admission
/// looks at the free space of the moment, so several deliveries may count on the same octets.
pub(super) const FREE_OCTETS_RESERVE: u64 = 32 * 1024 * 1024;

/// Longest name of a directory made from an address, in octets.
///
/// File systems end at 255; the rest is left to programs that add something to the name. A local
/// part of 64 octets fits even when each of them is encoded (RFC 5321 §4.5.3.1.1).
pub(super) const DIRECTORY_NAME_OCTETS_MAX: usize = 240;

/// Longest host name in the name of a message file, in octets.
///
/// With the longest numbers a file name then has 201 octets, which leaves room for the flags of
/// other programs.
pub(super) const HOST_OCTETS_MAX: usize = 100;

/// Mailboxes remembered as durable, so that a delivery to them costs no extra system call.
///
/// About 200 octets each. When the limit is reached all are forgotten, which costs each mailbox in
/// use one more look.
pub(super) const KNOWN_MAILBOXES_MAX: usize = 16_384;

/// Octets read at once from a file whose size has to be counted.
pub(super) const COUNT_OCTETS: usize = 64 * 1024;

/// Times a message that another program keeps renaming is looked for again.
pub(super) const FIND_ATTEMPTS_MAX: usize = 3;

/// Messages remembered in listings of all maildrops together.
///
/// About 230 octets each with names of our own, so 60 MiB at most; enough for two maildrops of
/// 100,000 messages or for thousands of ordinary ones. What does not fit is read from the disk at
/// each login, as a maildrop that is larger alone always is.
pub(super) const INDEX_MESSAGES_MAX: usize = 262_144;

/// What a remembered maildrop costs beside its messages, counted in messages: its name, the times
/// of its directories and its places in the tables, about 600 octets.
pub(super) const INDEX_MAILBOX_COST: usize = 3;

/// How long a directory must have been left alone before it was read, for its listing to be
/// remembered.
///
/// The coarsest times of any file system have steps of 2 s (FAT); the clock behind them is some
/// milliseconds late, and may be set back by [`INDEX_CLOCK_TOLERANCE`] unnoticed. A shorter time
/// would gain nothing: who polls every few seconds is served by the second poll after a change.
pub(super) const INDEX_QUIET: Duration = Duration::from_secs(3);

/// How far the wall clock and the monotonic clock may differ about the age of a listing.
///
/// The two are not read at once, so there has to be some tolerance. Clocks that are corrected
/// slowly are corrected together.
pub(super) const INDEX_CLOCK_TOLERANCE: Duration = Duration::from_millis(500);
