//! Every limit of the accounts, in one place, each with its reason.

use std::time::Duration;

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
/// telephone: some 20 ms on a fast machine. Guessing from a stolen file costs as much per guess,
/// which is why a SCRAM secret is made only when it is asked for.
pub const SCRAM_ITERATIONS: u32 = 100_000;
/// Most iterations of a SCRAM secret: clients refuse a server that asks for much more, because it
/// could keep them busy for ever.
pub const SCRAM_ITERATIONS_MAX: u32 = 1_000_000;

/// Longest wait for a turn to verify a password. A storm of logins is told to come again after as
/// long as a person waits, and half of the time that a stopping daemon gives its sessions.
pub const VERIFICATION_PATIENCE: Duration = Duration::from_secs(5);

/// Delay before the first refusal of a client's address is told, when nothing else is configured
/// (SEC-11): a person who mistyped hardly notices.
pub const FAILURE_DELAY: Duration = Duration::from_secs(1);

/// Longest such delay (SEC-11): a client is not kept until its own patience ends.
pub const FAILURE_DELAY_MAX: Duration = Duration::from_secs(15);

/// How long a refusal is remembered: at the longest delay somebody who guesses without pause stays
/// remembered, and a person who comes back after a coffee begins anew.
pub const FAILURE_MEMORY: Duration = Duration::from_mins(5);

/// How many addresses with refusals are remembered: some 200 KiB. The one that was refused longest
/// ago makes room, so somebody with more addresses than this has no delays, but also three guesses
/// per session only.
pub const FAILURE_ADDRESSES_MAX: usize = 4_096;
