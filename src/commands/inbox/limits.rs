//! Limits of the commands for messages, each with its reason.
//!
//! What answers at the default port may be another program, so nothing that it sends is trusted.

use std::{
    net::{Ipv4Addr, SocketAddr, SocketAddrV4},
    time::Duration,
};

/// Where a daemon answers HTTP by default: asked if no control socket is found.
pub(super) const DEFAULT_ADDRESS: SocketAddr =
    SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, 65480));

/// Octets of the head of a response: a daemon sends less than 1 KiB.
pub(super) const HEAD_OCTETS_MAX: usize = 16 * 1024;

/// Fields of that head: a daemon sends about ten.
pub(super) const FIELDS_MAX: usize = 100;

/// Octets of a line with the size of a chunk, or behind the last one: a daemon sends a dozen.
pub(super) const CHUNK_LINE_OCTETS_MAX: usize = 4 * 1024;

/// Octets of an answer that has to be in memory: whole messages with their texts, as many as a
/// command asks for.
pub(super) const DOCUMENT_OCTETS_MAX: usize = 64 * 1024 * 1024;

/// Octets of an error that are read: the daemon sends one line.
pub(super) const REFUSAL_OCTETS_MAX: usize = 4 * 1024;

/// Octets of a header section that is printed: far more than any mail server accepts.
pub(super) const HEADER_OCTETS_MAX: usize = 16 * 1024 * 1024;

/// Octets that are read at a time.
pub(super) const PIECE_OCTETS: usize = 64 * 1024;

/// Characters of a text by others that are quoted in an error, so that it remains readable.
pub(super) const QUOTED_CHARACTERS_MAX: usize = 200;

/// Links and messages that an error names; it only counts the others.
pub(super) const NAMED_MAX: usize = 3;

/// Time to connect: long for a daemon on this machine.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for an answer, or for the next part of a message: a search takes 2 seconds at most, and a
/// removal waits as long for sessions to end, and then for the disk.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// The longest wait of one request, in seconds: the daemon allows no more.
pub(super) const WAIT_SECONDS_MAX: u64 = 60;

/// Time before a wait is continued that the daemon has ended early, because it is busy or stops.
pub(super) const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// IDs in one request: some 300 KiB, and a daemon accepts 1 MiB.
pub(super) const IDS_MAX: usize = 10_000;

/// Octets of a file name that is written: file systems allow 255, and a number may be added.
pub(super) const FILE_NAME_OCTETS_MAX: usize = 200;

/// Numbers that are tried after a file name that exists.
pub(super) const FILE_NUMBERS_MAX: u32 = 1_000;

/// Columns of a name in a table: at a terminal there may be fewer.
pub(super) const NAME_COLUMNS_MAX: usize = 32;

/// Columns of a name in a table at a narrow terminal.
pub(super) const NAME_COLUMNS_MIN: usize = 8;
