//! Every limit of the HTTP room, each with its reason.

use std::time::Duration;

/// Longest head of a request in octets, with its empty line. Browsers send about 1 KiB, and all
/// cookies that other programs have set for this host: a browser does not tell ports apart.
pub const HEAD_OCTETS_MAX: usize = 16 * 1_024;

/// Longest request line in octets, with its ending: the 8,000 that RFC 9112 §3 recommends at least.
pub const REQUEST_LINE_OCTETS_MAX: usize = 8 * 1_024;

/// Most fields of one head: browsers send about twenty.
pub const FIELDS_MAX: usize = 100;

/// Largest body of a request in octets. The largest is a message for delivery by the API, or the
/// identifiers of some ten thousand messages.
pub const BODY_OCTETS_MAX: u64 = 1_024 * 1_024;

/// Most requests of one connection. A client with more of them connects again, so that no place is
/// taken for ever.
pub const REQUESTS_MAX: u32 = 100;

/// How long a head may take after its first octet: it fits into a few packets.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection may be idle before or after a request. Browsers keep connections for
/// minutes if they may.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Most segments of a path: the longest path of the API has six.
pub const PATH_SEGMENTS_MAX: usize = 16;

/// Longest segment of a path in octets, decoded: a mailbox (RFC 5321 §4.5.3.1) in any form.
pub const PATH_SEGMENT_OCTETS_MAX: usize = 1_024;

/// Most pairs of a query or of a form: the largest form has fewer than ten, and a checkbox for each
/// message of one page.
pub const PAIRS_MAX: usize = 256;

/// Longest name or value of a pair in octets, decoded: a long search.
pub const PAIR_TEXT_OCTETS_MAX: usize = 4 * 1_024;

/// Octets of the token in a cookie: nobody guesses 256 random bits.
pub const TOKEN_OCTETS: usize = 32;

/// Longest file name in octets that is offered for a download. File systems allow 255, and programs
/// append to it.
pub const FILE_NAME_OCTETS_MAX: usize = 150;

/// Longest host in octets, with its port: a domain (RFC 1035 §2.3.4), its last dot, and a port.
pub const HOST_OCTETS_MAX: usize = 255 + 1 + 6;

/// Entity tags of one If-None-Match that are compared: a browser sends the one that it has.
pub const ENTITY_TAGS_MAX: usize = 16;

/// How many seconds a browser may remember the answer to a preflight: changes of `http_origins`
/// should be visible soon.
pub const PREFLIGHT_SECONDS: &str = "60";

/// How many seconds a client should wait before it tries again when the server is busy.
pub const RETRY_SECONDS: &str = "1";
