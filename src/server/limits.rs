//! Every limit of the server room, each with its reason.

use std::time::Duration;

/// First size of a session's input buffer in octets, while commands are read: a command (RFC 5321
/// §4.5.3.1.4), or a small group of them, in one read. Thousands of idle sessions have to fit
/// (NET-1). More than 1,032, which the allocator would keep for the thread when it is given back.
pub const COMMAND_READ_OCTETS: usize = 1_152;

/// Smallest read of a content in octets: a small message at once.
pub const READ_OCTETS_MIN: usize = 4 * 1_024;

/// Largest read in octets, reached while a large content streams in: beyond it fewer system calls
/// gain nothing and more memory is held for each session.
pub const READ_OCTETS_MAX: usize = 64 * 1_024;

/// Largest read in octets that a session need not ask for (SEC-9): a small message still comes in
/// one or two.
pub const READ_OCTETS_FREE: usize = 8 * 1_024;

/// First size of a session's output buffer in octets: the reply to EHLO, the longest of the usual.
pub const REPLY_OCTETS: usize = 256;

/// Replies or content waiting to be sent, in octets, from which on they are sent even though more
/// input waits: bounds the memory of a client that pipelines without end (SEC-9). Some hundred
/// replies.
pub const WRITE_OCTETS_FREE: usize = 8 * 1_024;

/// The same while something long is sent and there is memory for it.
pub const WRITE_OCTETS_MAX: usize = 64 * 1_024;

/// Octets that wait in the kernel to be sent to a client, beyond what is on its way to it: without
/// the limit up to 4 MiB for each that does not read. As much as is written at once; a client that
/// reads is fed in time.
pub const UNSENT_OCTETS_MAX: u32 = 64 * 1_024;

/// Largest piece in octets of a message being retrieved that a session need not ask for (SEC-9). At
/// worst, when all of it are dots and line feeds, twice as much is sent.
pub const RETRIEVED_OCTETS_FREE: usize = 4 * 1_024;

/// Decoded content in octets that is collected before it goes to the store: one write call each.
pub const CONTENT_OCTETS_MAX: usize = 64 * 1_024;

/// The same for a content that has no larger share of the memory (SEC-9).
pub const CONTENT_OCTETS_FREE: usize = 8 * 1_024;

/// Memory in octets that a content takes at its full size, with TLS: what is read, as it came and
/// opened, and what is collected, to which a whole read may be added. DATA waits while the budget
/// has less than that left.
pub const CONTENT_ROOM_OCTETS: u64 = 4 * 64 * 1_024;

/// Octets that sessions and deliveries may hold in flight, all together, where nothing is
/// configured (SEC-9). One half is the sessions', the other the store's: neither can starve the
/// other.
pub const IN_FLIGHT_OCTETS: u64 = 256 * 1_024 * 1_024;

/// Fewest that may be configured. Half of it, the sessions', has room for a content at its full
/// size beside as much again that is kept for others: a single message is always let in.
pub const IN_FLIGHT_OCTETS_MIN: u64 = 1_024 * 1_024;

/// How long DATA waits for memory before it is refused. Contents end within seconds, and a client
/// gives the server two minutes (RFC 5321 §4.5.3.2.4) that it shall not spend without an answer.
pub const ADMISSION_TIMEOUT: Duration = Duration::from_secs(10);

/// Memory in octets of the recipients of a transaction that need not be asked for (SEC-9): some
/// fifty. More of them ask for as much at a time.
pub const RECIPIENTS_OCTETS_FREE: usize = 16 * 1_024;

/// What the name of a recipient takes in octets each time that it is held, beside its text.
pub const RECIPIENT_OCTETS: usize = 64;

/// Buffers larger than this are given back when their session waits for the next command: the one
/// for small messages is not, as long as the client goes on.
pub const KEEP_OCTETS_MAX: usize = READ_OCTETS_MIN;

/// Longest single wait for octets from a client, and the time over which the rate of a content is
/// averaged. A longer wait is made of several, so that the socket's timeout is set only once.
pub const WAIT_SLICE: Duration = Duration::from_mins(1);

/// Longest wait that does not look at the clock where nobody counts the system calls: until a
/// client takes more of what is sent, until a refusal may be told, until sessions have ended.
pub const CLOCK_SLICE: Duration = Duration::from_secs(1);

/// How long a wait for a client's octets has a buffer ready for them. A busy client answers within
/// that time; who does not is waited for without one, at the price of two more system calls. For
/// the first octet of all no buffer is ready.
pub const BUFFERED_WAIT: Duration = Duration::from_secs(1);

/// Slowest content in octets per second from another machine, averaged over [`WAIT_SLICE`]: far
/// below any modem, and a session that trickles cannot hold its thread for long.
pub const CONTENT_OCTETS_PER_SECOND_MIN: u64 = 500;

/// Most threads that compute handshakes of TLS, of which there is one for each core: they do
/// nothing but compute. So many make some ten thousand handshakes a second, more than come.
pub const HANDSHAKE_WORKERS_MAX: usize = 8;

/// Longest handshake of TLS: a few round trips, on the worst of lines.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest time in which a client may take what [`WRITE_OCTETS_MAX`] holds: one kibioctet a second
/// is enough.
pub const WRITE_TIMEOUT: Duration = Duration::from_mins(1);

/// Longest time that a closing connection waits for the client to close too. Without the wait the
/// system would answer octets that are still under way with a reset, and the last reply could be
/// lost with it.
pub const LINGER_TIMEOUT: Duration = Duration::from_secs(2);

/// Most octets that are read and thrown away while a connection closes.
pub const LINGER_OCTETS_MAX: usize = 1_024 * 1_024;

/// How long sessions may go on after a stop was asked for, to end a content or an update.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the sessions that are left after [`DRAIN_TIMEOUT`] have to say that they end.
pub const FAREWELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Stack of a session's thread in octets: the deepest session uses a fraction of it, and thousands
/// of threads must fit. Without optimisation frames are larger.
pub const STACK_OCTETS: usize = if cfg!(debug_assertions) {
    512 * 1_024
} else {
    256 * 1_024
};

/// Connections that the system completes before they are accepted: a burst of clients waits
/// instead of being refused.
pub const BACKLOG: i32 = 1_024;

/// Clients that are accepted at one socket before the listener looks at its others again.
pub const ACCEPTS_MAX: usize = 64;

/// First and longest pause of an accept loop after the system had no descriptor or thread to give.
pub const BACK_OFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(1));

/// Lines of one kind that the log has of an address for ever: one in so much time. Enough to see
/// what it does, and a flood does not fill a disk. The networks around it have up to 16 times as
/// many.
pub const TOLD_PERIOD: Duration = Duration::from_millis(100);

/// How much of [`TOLD_PERIOD`] an address may have ahead: 100 lines at once, so that a test suite
/// that has refusals in plenty sees each of them.
pub const TOLD_AHEAD_MAX: Duration = Duration::from_secs(10);

/// Networks whose lines are counted at once, at some hundred octets each: as many as can have lines
/// within [`TOLD_AHEAD_MAX`], for all of them together have 1,600 and 160 a second.
pub const TOLD_NETWORKS_MAX: usize = 8 * 1_024;

/// How often networks are forgotten at most where there are too many of them: to look at all of
/// them for each line would be work for an attacker to ask for.
pub const TOLD_PRUNE_PERIOD: Duration = Duration::from_secs(1);

/// Longest text of a client in a line of the log, in octets as they are written (SEC-7): a path of
/// RFC 5321 §4.5.3.1.3 fits.
pub const TEXT_OCTETS_MAX: usize = 256;

/// Longest line of a dialogue in the log, in octets as they are written: a command line of RFC 5321
/// §4.5.3.1.4 fits.
pub const DIALOGUE_OCTETS_MAX: usize = 512;

/// Lines of one response that the log of a dialogue shows: what EHLO and CAPA are answered with,
/// and the beginning of a long listing.
pub const DIALOGUE_LINES_MAX: usize = 32;

/// Most sessions at once from one loopback address where nothing is configured: test suites open
/// many.
pub const PER_LOOPBACK_ADDRESS: usize = 1_000;

/// Most sessions at once from one other address, or one /64 of IPv6, where nothing is configured.
pub const PER_ADDRESS: usize = 20;

/// Smallest share of a network (NET-5): a mail program opens two sessions, one to send and one to
/// fetch.
pub const SHARE_MIN: usize = 2;

/// The part of all places that is for sessions which were displaced for another block of
/// addresses, until they have ended (NET-5): a 16th. They end within a second or two, so some
/// hundred newcomers a second displace others on a usual system.
pub const DISPLACED_PART: usize = 16;

/// The same for those that were displaced for a neighbour: a 32nd within this machine, and as much
/// within all blocks of others. What goes on within a network leaves the places alone that are for
/// newcomers of other networks.
pub const DISPLACED_BY_NEIGHBOURS_PART: usize = 32;

/// The part of all places that is for networks which hold none (NET-5): an eighth.
pub const NEWCOMERS_PART: usize = 8;

/// The part of all places that only clients of this machine ever take (NET-5): a 32nd. However many
/// networks come, whoever sits at the machine can still read and send mail and see what goes on.
pub const LOOPBACK_PART: usize = 32;

/// Fewest places that are divided into shares (NET-5). Of fewer each may have all: whoever allows
/// three sessions wants three, and of eight one is an eighth.
pub const SHARED_TOTAL_MIN: usize = 8;

/// Sessions of one address that are looked at for the one whose end does the least harm, the oldest
/// first: the lock is not held for long, and of so many one nearly always just waits.
pub const DISPLACEMENT_LOOKS_MAX: usize = 64;

/// Random octets in the server's part of a nonce of SCRAM: as many as of a key that nobody guesses.
pub const SCRAM_NONCE_OCTETS: usize = 16;
