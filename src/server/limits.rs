//! Every limit of the server room, each with its reason.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// Size of a read of commands in octets: a command (RFC 5321 §4.5.3.1.4), or a small group of them,
/// in one read. It must fit on a small stack, and with TLS, where it is a buffer, thousands of idle
/// sessions must fit (NET-1). More than 1,032, because the allocator would keep smaller freed
/// buffers for the thread.
pub const COMMAND_READ_OCTETS: usize = 1_152;

/// Smallest read of message content in octets: a small message in one read.
pub const READ_OCTETS_MIN: usize = 4 * 1_024;

/// Largest read in octets, reached while a large message streams in. Larger reads would save hardly
/// any system calls and would hold more memory for each session.
pub const READ_OCTETS_MAX: usize = 64 * 1_024;

/// Largest read in octets for which a session need not ask (SEC-9): a small message still arrives
/// in one or two.
pub const READ_OCTETS_FREE: usize = 8 * 1_024;

/// First size of a session's output buffer in octets: the reply to EHLO, the longest common one.
pub const REPLY_OCTETS: usize = 256;

/// Replies or content waiting to be sent, in octets, above which they are sent even if more input
/// is waiting. This limits the memory of a client that pipelines without end (SEC-9). Some hundred
/// replies.
pub const WRITE_OCTETS_FREE: usize = 8 * 1_024;

/// The same while something long is sent and there is memory for it.
pub const WRITE_OCTETS_MAX: usize = 64 * 1_024;

/// The same while a large message is sent: fewer and larger packets take less of both processors'
/// time.
pub const CONTENT_WRITE_OCTETS: usize = 128 * 1_024;

/// Most octets of a stored message that are encoded at once, so that they fit into the memory that
/// was asked for, even if each octet becomes two.
pub const CONTENT_ENCODED_OCTETS: usize = 32 * 1_024;

/// Octets waiting in the kernel to be sent to a client, besides those in flight to it. Without this
/// limit, it would be up to 4 MiB for each client that does not read. As much as is written at a
/// time; a client that reads gets more in time.
pub const UNSENT_OCTETS_MAX: u32 = 64 * 1_024;

/// Largest piece of a retrieved message, in octets, for which a session need not ask (SEC-9). In
/// the worst case, only dots and line feeds, twice as much is sent.
pub const RETRIEVED_OCTETS_FREE: usize = 4 * 1_024;

/// Decoded content in octets that is collected before it goes to the store, in one write call.
pub const CONTENT_OCTETS_MAX: usize = 64 * 1_024;

/// How many times its own memory the body of a request to send a message takes: itself, what was
/// read of it, and the message, whose quoted-printable may have three octets for one, in a buffer
/// that may be twice as large.
pub const LETTER_FACTOR: usize = 8;

/// The same for a message without a larger share of the memory (SEC-9).
pub const CONTENT_OCTETS_FREE: usize = 8 * 1_024;

/// Memory in octets of a message with buffers of full size and TLS: what is read, both encrypted
/// and decrypted, and what is collected, which can exceed its limit by a whole read. DATA waits
/// while the budget has less than that left.
pub const CONTENT_ROOM_OCTETS: u64 = 4 * 64 * 1_024;

/// Default for the octets that all sessions and deliveries together may hold in flight (SEC-9). One
/// half is for the sessions and the other for the store, so that neither can starve the other.
pub const IN_FLIGHT_OCTETS: u64 = 256 * 1_024 * 1_024;

/// Smallest value that can be configured. The sessions' half of it has room for a message with
/// buffers of full size besides the same amount kept for others: a single message is always
/// accepted.
pub const IN_FLIGHT_OCTETS_MIN: u64 = 1_024 * 1_024;

/// How long DATA waits for memory before it is refused. Messages end within seconds. A client
/// allows the server two minutes (RFC 5321 §4.5.3.2.4), and should not spend them without an
/// answer.
pub const ADMISSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Memory in octets of a transaction's recipients for which a session need not ask (SEC-9): some
/// fifty recipients. For more of them, a session asks for this much at a time.
pub const RECIPIENTS_OCTETS_FREE: usize = 16 * 1_024;

/// Memory in octets of each copy of a recipient's name, besides its text.
pub const RECIPIENT_OCTETS: usize = 64;

/// Larger buffers are freed when their session waits for the next command. The buffer for small
/// messages is kept, as long as the client continues.
pub const KEEP_OCTETS_MAX: usize = READ_OCTETS_MIN;

/// Longest single wait for octets from a client, and the time over which the rate of a message is
/// averaged. A longer wait consists of several, so that the socket's timeout is set only once.
pub const WAIT_SLICE: Duration = Duration::from_mins(1);

/// Longest wait without a look at the clock where the number of system calls does not matter: until
/// a client reads more, until a refusal can be sent, until sessions have ended.
pub const CLOCK_SLICE: Duration = Duration::from_secs(1);

/// How long a wait for a client's octets keeps a buffer ready. A busy client answers within that
/// time. After it, the wait continues without a buffer, which costs two more system calls. While
/// waiting for the first octet of a session, no buffer is ready.
pub const BUFFERED_WAIT: Duration = Duration::from_secs(1);

/// Slowest content in octets per second from another machine, averaged over [`WAIT_SLICE`]: far
/// below any modem, and a session that trickles cannot hold its thread for long.
pub const CONTENT_OCTETS_PER_SECOND_MIN: u64 = 500;

/// Most threads that compute TLS handshakes. There is one per core, because they do nothing but
/// compute. This many do some ten thousand handshakes a second, more than ever arrive.
pub const HANDSHAKE_WORKERS_MAX: usize = 8;

/// Longest wait for the whole header of a proxy: it sends the header as soon as it has connected.
pub const PROXY_HEADER_TIMEOUT: Duration = Duration::from_secs(10);

/// Longest TLS handshake: a few round trips, on the worst of lines.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time for a client to read [`CONTENT_WRITE_OCTETS`]: some two kibioctets a second are
/// enough.
pub const WRITE_TIMEOUT: Duration = Duration::from_mins(1);

/// Longest time that a closing connection waits for the client to close too. Without the wait, the
/// system would answer octets that are still on their way with a reset, and the last reply could be
/// lost with it.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Most octets that are read and discarded while a connection closes.
pub const LINGER_OCTETS_MAX: usize = 1_024 * 1_024;

/// How long sessions may continue after a stop was requested, to finish a message or an update.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the sessions that are left after [`DRAIN_TIMEOUT`] have to send their last reply.
pub const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Stack of a session's thread in octets: the deepest session uses a fraction of it, and thousands
/// of threads must fit. Without optimisation, frames are larger.
pub const STACK_OCTETS: usize = if cfg!(debug_assertions) {
    512 * 1_024
} else {
    256 * 1_024
};

/// Most threads that wait for another client after their session, at a stack of some ten kibioctets
/// each: as many as clients that come and go at the same time on most machines.
pub const SPARES_MAX: usize = 16;

/// How long they wait: a client that is part of a burst comes within that time, and an idle daemon
/// has no such threads.
pub const SPARE_TIME: Duration = Duration::from_secs(1);

/// Connections that the system completes before they are accepted: a burst of clients waits
/// instead of being refused.
pub const BACKLOG: i32 = 1_024;

/// Clients that are accepted from one socket before the listener looks at its other sockets again.
pub const ACCEPTS_MAX: usize = 64;

/// First and longest pause of an accept loop when the system is out of descriptors or threads.
pub const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Time between the lines of one kind that the log has for an address in the long run. It is enough
/// to see what the address does, and a flood does not fill a disk. The networks around the address
/// have up to 16 times as many lines.
pub const LOG_LINE_PERIOD: Duration = Duration::from_millis(100);

/// How far an address may be ahead of [`LOG_LINE_PERIOD`]: 100 lines in a burst, so that a test
/// suite with many refusals sees each of them.
pub const LOG_LINES_AHEAD_MAX: Duration = Duration::from_secs(10);

/// Networks whose lines are counted at the same time, at some hundred octets each: as many as can
/// have lines within [`LOG_LINES_AHEAD_MAX`], because all of them together have 1,600 and 160 a
/// second.
pub const LOG_NETWORKS_MAX: usize = 8 * 1_024;

/// Shortest time between two searches for networks to forget, if there are too many: an attacker
/// must not be able to make every line search through all of them.
pub const LOG_PRUNE_PERIOD: Duration = Duration::from_secs(1);

/// Longest text from a client in a line of the log, in octets as written (SEC-7): a path of RFC
/// 5321 §4.5.3.1.3 fits.
pub const TEXT_OCTETS_MAX: usize = 256;

/// Longest line of a dialogue in the log, in octets as written: a command line of RFC 5321
/// §4.5.3.1.4 fits.
pub const DIALOGUE_OCTETS_MAX: usize = 512;

/// Lines of one response that the log of a dialogue shows: all of the answers to EHLO and CAPA, and
/// the beginning of a long listing.
pub const DIALOGUE_LINES_MAX: usize = 32;

/// Default for the most simultaneous sessions from one loopback address: test suites open many.
pub const PER_LOOPBACK_ADDRESS: usize = 1_000;

/// Default for the most simultaneous sessions from one other address, or one /64 of IPv6.
pub const PER_ADDRESS: usize = 20;

/// The share of all places, as a fraction, that one loopback address can have (NET-5): a test suite
/// runs beside other programs of this machine.
pub const LOOPBACK_ADDRESS_SHARE: (usize, usize) = (1, 2);

/// The share of this machine (NET-5): the rest is for others.
pub const LOOPBACK_SHARE: (usize, usize) = (3, 4);

/// The share of one other address, or one /64 of IPv6 (NET-5). Each wider network can have twice as
/// much as those in it, so it takes several of them to fill it.
pub const ADDRESS_SHARE: (usize, usize) = (1, 16);

/// The share of one /24, or one /56 of IPv6 (NET-5).
pub const SITE_SHARE: (usize, usize) = (1, 8);

/// The share of one /16, or one /48 of IPv6 (NET-5).
pub const ORGANISATION_SHARE: (usize, usize) = (1, 4);

/// The share of one /8, or one /32 of IPv6 (NET-5).
pub const BLOCK_SHARE: (usize, usize) = (1, 2);

/// Smallest share of a network (NET-5): a mail program opens two sessions, one to send and one to
/// fetch.
pub const SHARE_MIN: usize = 2;

/// The part of all places for sessions that were displaced by a client of another block of
/// addresses, until they have ended (NET-5): a 16th. They end within a second or two, so on a usual
/// system some hundred new clients a second can displace others.
pub const DISPLACED_PART: usize = 16;

/// The same for sessions that were displaced by a neighbour: a 32nd within this machine, and as
/// much within all blocks of others. Displacement within a network does not use the places that are
/// for new clients of other networks.
pub const DISPLACED_BY_NEIGHBOURS_PART: usize = 32;

/// The part of all places for networks that hold none (NET-5): an eighth.
pub const NEWCOMERS_PART: usize = 8;

/// The part of all places that only clients of this machine can have (NET-5): a 32nd. However many
/// networks connect, a user of this machine can still read and send mail and see what is going on.
pub const LOOPBACK_PART: usize = 32;

/// Fewest places that are divided into shares (NET-5). If there are fewer, any network may have all
/// of them: whoever allows three sessions wants three, and an eighth of eight is one.
pub const SHARED_TOTAL_MIN: usize = 8;

/// Sessions of one address that are examined, oldest first, for the one that can be ended with the
/// least harm. So the lock is not held for long, and among so many, one is nearly always just
/// waiting.
pub const DISPLACEMENT_LOOKS_MAX: usize = 64;

/// Random octets in the server's part of a SCRAM nonce: as many as in a key that cannot be guessed.
pub const SCRAM_NONCE_OCTETS: usize = 16;

/// How long a password that was right is remembered for HTTP: a page asks for many things in a row,
/// and its reader comes back within minutes.
pub const REMEMBERED_TIME: Duration = Duration::from_mins(5);

/// Most passwords that are remembered, at some hundred octets each: more than there are people with
/// an inbox open.
pub const REMEMBERED_MAX: usize = 1_000;

/// How long a login with a form lasts: a working day, with its breaks. The browser forgets it when
/// it ends.
pub const SIGN_IN_TIME: Duration = Duration::from_hours(12);

/// Most logins with a form, at some hundred octets each: more than there are people with an inbox
/// open.
pub const SIGN_INS_MAX: usize = 1_000;

/// Most of them of one account: a person has a few browsers, and tests that run in parallel log in
/// anew for each case.
pub const SIGN_INS_PER_ACCOUNT_MAX: usize = 100;

/// The address that clients of the control socket count as: one of this machine that nobody uses,
/// so that they have a share of their own.
pub const CONTROL_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 255, 255, 254));

/// The same for clients of HTTP on this machine.
pub const HTTP_ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 255, 255, 253));

/// The part of all places that sessions which wait for mail may have: a quarter over TCP, and the
/// same over the control socket.
pub const WAITERS_PART: usize = 4;

/// Most sessions of one address that wait for mail over TCP: a test that runs in parallel has a few
/// of them for each core, and each browser has one.
pub const WAITERS_PER_ADDRESS_MAX: usize = 64;

/// By how much the thread of an HTTP session gives way to others: where the processors are busy, it
/// gets about a tenth of what the thread of an SMTP or POP3 session gets.
pub const HTTP_NICE: i32 = 10;

/// How long a wait for mail goes on without a look at its client: one that has left should not keep
/// its place.
pub const WAIT_TURN: Duration = CLOCK_SLICE;
