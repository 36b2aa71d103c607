//! Every limit of the accounts, each with its reason.

use std::time::Duration;

use crate::mail::{Breadth, Network};

/// Memory of a new hash in KiB, its passes and its lanes: the OWASP recommendation for argon2id.
/// One verification takes some 20 ms of one core and 19 MiB.
pub const HASH_MEMORY_KIB: u32 = 19_456;
/// See [`HASH_MEMORY_KIB`].
pub const HASH_PASSES: u32 = 2;
/// See [`HASH_MEMORY_KIB`].
pub const HASH_LANES: u32 = 1;

/// Least number of 1 KiB blocks to allocate: more than 32 MiB, where the C library starts to get
/// each allocation from the system and give it back. It would keep smaller ones after the first few
/// logins, for each of up to eight threads per core.
pub const HASH_BLOCKS_RESERVED: usize = 33 * 1_024;

/// Memory times passes, in KiB, below which a hash causes a warning: the least of the OWASP choices
/// for argon2id.
pub const HASH_WORK_WEAK: u64 = 35_840;

/// Memory times passes, in KiB, above which a hash causes a warning: about a second of a core, at
/// the 20 ms of a new one. Logins of users who do not exist take as long (SEC-11).
pub const HASH_WORK_SLOW: u64 = 2_000_000;

/// Most memory that one verification may use, in KiB: a configured hash must not exhaust the
/// daemon's memory, and there are as many parallel verifications as cores.
pub const HASH_MEMORY_KIB_MAX: u32 = 256 * 1_024;

/// Most passes of a configured hash: with the most memory that is a few seconds of one core, and
/// nobody wants to wait longer for a login.
pub const HASH_PASSES_MAX: u32 = 32;

/// Most lanes of a configured hash. They are computed one after the other, so more of them are not
/// faster; other programs write up to this many.
pub const HASH_LANES_MAX: u32 = 16;

/// Least octets of a salt: RFC 9106 §3.1.
pub const SALT_OCTETS_MIN: usize = 8;
/// Octets of a new salt: RFC 9106 §3.1 recommends 16 for passwords.
pub const SALT_OCTETS: usize = 16;
/// Most octets of the salt of an argon2id hash: four times what is recommended.
pub const HASH_SALT_OCTETS_MAX: usize = 64;
/// Most octets of the salt of a SCRAM secret: the salts of users who do not exist are one
/// HMAC-SHA-256, and must look like those of the others.
pub const SCRAM_SALT_OCTETS_MAX: usize = 32;

/// Least octets of the output of a hash: 128 bits, which nobody can guess.
pub const HASH_OCTETS_MIN: usize = 16;
/// Octets of the output of a new hash, and the most of SCRAM's keys: RFC 9106 §4.
pub const HASH_OCTETS: usize = 32;
/// Most octets of the output of a hash: twice what is recommended.
pub const HASH_OCTETS_MAX: usize = 64;

/// Least iterations of a SCRAM secret: RFC 7677 §4.
pub const SCRAM_ITERATIONS_MIN: u32 = 4_096;
/// Iterations of a new SCRAM secret. The client, perhaps a telephone, computes them at every login:
/// some 15 ms on a fast machine. Guessing from a stolen file costs the same per guess, which is why
/// `--no-scram` exists. No more than Cyrus SASL accepts.
pub const SCRAM_ITERATIONS: u32 = SCRAM_ITERATIONS_CYRUS_MAX;
/// Most iterations that Cyrus SASL accepts from a server. So does every client that uses it:
/// Postfix as a client and others do not try another mechanism then. More iterations cause a
/// warning.
pub const SCRAM_ITERATIONS_CYRUS_MAX: u32 = 65_536;
/// Most iterations of a SCRAM secret: clients refuse a server that asks for many more, because it
/// could keep them busy forever.
pub const SCRAM_ITERATIONS_MAX: u32 = 1_000_000;

/// Characters of a generated password, each one of 32: 100 bits, which nobody can guess even from a
/// stolen hash.
pub const GENERATED_CHARACTERS: usize = 20;
/// Its characters between two hyphens, which help people to type it.
pub const GENERATED_GROUP: usize = 5;

/// Longest wait for a turn to verify a password. In a storm of logins, clients are asked to try
/// again later after as long as a person would wait, and half of the time that a stopping daemon
/// gives its sessions.
pub const VERIFICATION_PATIENCE: Duration = Duration::from_secs(5);

/// Most logins that wait for a turn: about as many as four cores verify during the longest wait.
pub const TURNS_WAITING_MAX: usize = 512;

/// Default delay of the first refusal for a client's address (SEC-11): a person who mistyped hardly
/// notices it.
pub const FAILURE_DELAY: Duration = Duration::from_secs(1);

/// Longest such delay (SEC-11): shorter than the timeout of clients.
pub const FAILURE_DELAY_MAX: Duration = Duration::from_secs(15);

/// Longest delay before the reply to an unknown recipient (SEC-12). A client waits five minutes for
/// it (RFC 5321 §4.5.3.2.3).
pub const UNKNOWN_RECIPIENT_DELAY_MAX: Duration = Duration::from_secs(30);

/// How long a refusal is remembered at least; at most it is twice as long. Even at the longest
/// delay a client that guesses constantly stays remembered, and a person who comes back after a
/// coffee starts over.
pub const FAILURE_MEMORY: Duration = Duration::from_secs(150);

/// Refused logins of an account, from anywhere, that do not slow down strangers (SEC-11): a program
/// with an old password on a telephone and two computers.
pub const ACCOUNT_FAILURES_FREE: u32 = 10;

/// The free refused logins of a network; `None` means any number (SEC-11). A wide network has many
/// households or companies, some of whose programs have old passwords.
pub fn refused_logins_free(breadth: Breadth) -> Option<u32> {
    match breadth {
        Breadth::Address | Breadth::Customer => Some(0),
        Breadth::Site => Some(16),
        Breadth::Organisation | Breadth::Loopback => Some(64),
        Breadth::Block => Some(256),
        Breadth::Everything => None,
    }
}

/// The free unknown recipients of a network (SEC-12): a person mistypes a few, and a list has old
/// addresses. A large provider sends from one /24, or from several of a /16.
pub fn unknown_recipients_free(breadth: Breadth) -> Option<u32> {
    match breadth {
        Breadth::Address | Breadth::Customer => Some(5),
        Breadth::Site => Some(50),
        Breadth::Organisation => Some(200),
        Breadth::Block | Breadth::Loopback | Breadth::Everything => None,
    }
}

/// Most refusals of a network that can be delayed at the same time; while it is at this limit, its
/// clients are asked to try again later (SEC-11). With the longest delay a /16 has four guesses a
/// second.
pub fn delayed_refusals_max(network: Network) -> Option<usize> {
    match network.breadth() {
        // Tests on this machine send wrong logins on purpose, several at the same time.
        Breadth::Address if network.is_loopback() => Some(16),
        Breadth::Address | Breadth::Customer => Some(4),
        Breadth::Site => Some(16),
        Breadth::Organisation | Breadth::Loopback => Some(64),
        Breadth::Block | Breadth::Everything => None,
    }
}

/// Known networks of an account: a home, an office, a telephone, and some holidays.
pub const KNOWN_NETWORKS_MAX: usize = 8;

/// Names of accounts that can have known networks. Each account has at most two names, so this is
/// far more than there are.
pub const KNOWN_ACCOUNTS_MAX: usize = 65_536;

/// Rows of counters for refusals: a count is wrong only if its key shares a counter with others in
/// all rows.
pub const SKETCH_ROWS: usize = 4;

/// Counters per row. Two generations of four rows are 256 KiB; a thousand refusals, each counted in
/// six places, rarely collide.
pub const SKETCH_COUNTERS: usize = 16_384;
