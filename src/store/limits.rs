//! The limits of the store, each with its reason.
//!
//! Nothing is checked here; the places that do are named with each limit.

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
