//! Every limit of the accounts, in one place, each with its reason.

use std::time::Duration;

use crate::mail::{Breadth, Network};

/// Memory of a new hash in KiB, its passes and its lanes: what OWASP recommends for argon2id. One
/// verification takes some 20 ms of one core and 19 MiB.
pub const HASH_MEMORY_KIB: u32 = 19_456;
/// See [`HASH_MEMORY_KIB`].
pub const HASH_PASSES: u32 = 2;
/// See [`HASH_MEMORY_KIB`].
pub const HASH_LANES: u32 = 1;

/// Blocks of 1 KiB that room is asked for at least: more than 32 MiB, from which on the C library
/// takes every piece from the system and gives it back. Smaller ones it would keep after the first
/// few logins, for each of up to eight threads a core.
pub const HASH_BLOCKS_RESERVED: usize = 33 * 1_024;

/// Memory times passes, in KiB, below which the user is warned of a hash: the least of the choices
/// that OWASP gives for argon2id.
pub const HASH_WORK_WEAK: u64 = 35_840;

/// Memory times passes, in KiB, above which the user is warned of a hash: about a second of a core,
/// at the 20 ms of a new one. Logins of users who do not exist take as long (SEC-11).
pub const HASH_WORK_SLOW: u64 = 2_000_000;

/// Most memory that one verification may take, in KiB: a configured hash must not be able to drive
/// the daemon out of memory, and there are as many verifications at once as cores.
pub const HASH_MEMORY_KIB_MAX: u32 = 256 * 1_024;

/// Most passes of a configured hash: with the most memory that is a few seconds of one core, and
/// nobody waits longer for a login.
pub const HASH_PASSES_MAX: u32 = 32;

/// Most lanes of a configured hash. They are computed one after the other, so more of them make
/// nothing faster; other programs write up to this many.
pub const HASH_LANES_MAX: u32 = 16;

/// Least octets of a salt: RFC 9106 §3.1.
pub const SALT_OCTETS_MIN: usize = 8;
/// Octets of a new salt: RFC 9106 §3.1 recommends 16 for passwords.
pub const SALT_OCTETS: usize = 16;
/// Most octets of the salt of an argon2id hash: four times what is recommended.
pub const HASH_SALT_OCTETS_MAX: usize = 64;
/// Most octets of the salt of a SCRAM secret: the salts of users that do not exist are made of one
/// HMAC-SHA-256, and must be able to look like it.
pub const SCRAM_SALT_OCTETS_MAX: usize = 32;

/// Least octets of the output of a hash: 128 bits, which nobody guesses.
pub const HASH_OCTETS_MIN: usize = 16;
/// Octets of the output of a new hash, and the most of SCRAM's keys: RFC 9106 §4.
pub const HASH_OCTETS: usize = 32;
/// Most octets of the output of a hash: twice what is recommended.
pub const HASH_OCTETS_MAX: usize = 64;

/// Least iterations of a SCRAM secret: RFC 7677 §4.
pub const SCRAM_ITERATIONS_MIN: u32 = 4_096;
/// Iterations of a new SCRAM secret. They are the client's work at every login, also that of a
/// telephone: some 15 ms on a fast machine. Guessing from a stolen file costs as much per guess,
/// which is why a SCRAM secret is made only when it is asked for. No more than Cyrus SASL accepts.
pub const SCRAM_ITERATIONS: u32 = SCRAM_ITERATIONS_CYRUS_MAX;
/// Most iterations that Cyrus SASL accepts from a server, and so every client that is built on it:
/// Postfix as a client and others do not try another mechanism then. More are warned of.
pub const SCRAM_ITERATIONS_CYRUS_MAX: u32 = 65_536;
/// Most iterations of a SCRAM secret: clients refuse a server that asks for much more, because it
/// could keep them busy for ever.
pub const SCRAM_ITERATIONS_MAX: u32 = 1_000_000;

/// Characters of a generated password, each one of 32: 100 bits, which nobody guesses even from a
/// stolen hash.
pub const GENERATED_CHARACTERS: usize = 20;
/// Characters of it between two hyphens, for people who type it.
pub const GENERATED_GROUP: usize = 5;

/// Longest wait for a turn to verify a password. A storm of logins is told to come again after as
/// long as a person waits, and half of the time that a stopping daemon gives its sessions.
pub const VERIFICATION_PATIENCE: Duration = Duration::from_secs(5);

/// Most logins that wait for a turn: about as many as four cores verify while one waits.
pub const TURNS_WAITING_MAX: usize = 512;

/// Delay before the first refusal of a client's address is told, when nothing else is configured
/// (SEC-11): a person who mistyped hardly notices.
pub const FAILURE_DELAY: Duration = Duration::from_secs(1);

/// Longest such delay (SEC-11): a client is not kept until its own patience ends.
pub const FAILURE_DELAY_MAX: Duration = Duration::from_secs(15);

/// Longest delay before an unknown recipient is told (SEC-12). A client waits five minutes for this
/// answer (RFC 5321 §4.5.3.2.3).
pub const UNKNOWN_RECIPIENT_DELAY_MAX: Duration = Duration::from_secs(30);

/// How long a refusal is remembered at least; at most it is twice as long. At the longest delay
/// somebody who guesses without pause stays remembered, and a person who comes back after a coffee
/// begins anew.
pub const FAILURE_MEMORY: Duration = Duration::from_secs(150);

/// Refused logins of an account, from wherever, that do not slow down strangers (SEC-11): a program
/// with an old password on a telephone and two computers.
pub const ACCOUNT_FAILURES_FREE: u32 = 10;

/// How many refused logins of a network change nothing; `None` is any number (SEC-11). Those of a
/// wide one come from many households or companies, some of whose programs have old passwords.
pub fn refused_logins_free(breadth: Breadth) -> Option<u32> {
    match breadth {
        Breadth::Address | Breadth::Customer => Some(0),
        Breadth::Site => Some(16),
        Breadth::Organisation | Breadth::Loopback => Some(64),
        Breadth::Block => Some(256),
        Breadth::Everything => None,
    }
}

/// The same of recipients who do not exist (SEC-12): a person mistypes a few, a list has old
/// addresses. A large provider sends from one /24, or from several of a /16.
pub fn unknown_recipients_free(breadth: Breadth) -> Option<u32> {
    match breadth {
        Breadth::Address | Breadth::Customer => Some(5),
        Breadth::Site => Some(50),
        Breadth::Organisation => Some(200),
        Breadth::Block | Breadth::Loopback | Breadth::Everything => None,
    }
}

/// Refused logins of a network that may wait to be told; as long as there are so many, it is asked
/// to come again (SEC-11). With the longest delay a /16 has four guesses a second.
pub fn untold_refusals_max(network: Network) -> Option<usize> {
    match network.breadth() {
        // Tests of this machine log in wrong on purpose, several at once.
        Breadth::Address if network.is_loopback() => Some(16),
        Breadth::Address | Breadth::Customer => Some(4),
        Breadth::Site => Some(16),
        Breadth::Organisation | Breadth::Loopback => Some(64),
        Breadth::Block | Breadth::Everything => None,
    }
}

/// Networks that are known for an account: a home, an office, a telephone, and some holidays.
pub const KNOWN_NETWORKS_MAX: usize = 8;

/// Names of accounts for which networks are known. Each account has two names at most, so this is
/// far more than there are.
pub const KNOWN_ACCOUNTS_MAX: usize = 65_536;

/// Rows of counters that refusals are counted in: the number of a thing is wrong only where it
/// meets others in all of them.
pub const SKETCH_ROWS: usize = 4;

/// Counters of a row. Two generations of four rows are 256 KiB; a thousand refusals, each counted
/// in six places, hardly meet.
pub const SKETCH_COUNTERS: usize = 16_384;
