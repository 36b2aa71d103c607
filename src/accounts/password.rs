//! Stored passwords: argon2id hashes in their text form, created and verified.
//!
//! The text form is `$argon2id$v=19$m=<KiB>,t=<passes>,p=<lanes>$<salt>$<hash>`, with salt and hash
//! in base64 without padding, as other programs that use argon2 print it. An account has one hash,
//! and can also have a [`ScramSecret`].
//!
//! # Invariants
//! - `Debug` shows no hash, and no error contains any part of the text that it refuses, which might
//!   be the password itself.
//! - A verification takes the same work for every password, and the hashes are compared in a time
//!   that does not depend on where they differ.
//!
//! # Known limits
//! Passwords are compared octet by octet; different Unicode forms of one letter are different
//! passwords.

use std::fmt;

use argon2::{Algorithm, Argon2, Block, Params, Version};
use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};

use super::limits;
use super::scram::ScramSecret;
use super::secret::{SecretError, is_equal, number};
use crate::mail::Secret;

/// The beginning of an argon2id hash.
const ARGON2ID: &str = "$argon2id$";

/// What the configuration stores of a password: never the password itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPassword {
    /// For mechanisms that send the password.
    pub hash: PasswordHash,
    /// For SCRAM-SHA-256, if it was created.
    pub scram: Option<ScramSecret>,
}

impl StoredPassword {
    /// Parses the texts of a password: one argon2id hash, and at most one SCRAM secret.
    ///
    /// # Errors
    /// [`SecretError`]: report it and do not start.
    pub fn parse<T: AsRef<str>>(texts: &[T]) -> Result<Self, SecretError> {
        let mut hash = None;
        let mut scram = None;
        for text in texts {
            let text = text.as_ref();
            let twice = if ScramSecret::is_meant_by(text) {
                scram.replace(ScramSecret::parse(text)?).is_some()
            } else {
                hash.replace(PasswordHash::parse(text)?).is_some()
            };
            if twice {
                return Err(SecretError::Twice);
            }
        }
        let hash = hash.ok_or(SecretError::NoHash)?;
        Ok(Self { hash, scram })
    }
}

/// The cost of a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cost {
    /// Memory in KiB.
    pub memory_kib: u32,
    /// Passes over the memory.
    pub passes: u32,
    /// Lanes of the memory.
    pub lanes: u32,
}

impl Default for Cost {
    fn default() -> Self {
        Self {
            memory_kib: limits::HASH_MEMORY_KIB,
            passes: limits::HASH_PASSES,
            lanes: limits::HASH_LANES,
        }
    }
}

impl Cost {
    /// The work of one verification, in KiB.
    pub fn work(self) -> u64 {
        u64::from(self.memory_kib).saturating_mul(u64::from(self.passes))
    }

    /// Parses `m=…,t=…,p=…`, in this order.
    fn parse(text: &str) -> Option<Self> {
        let mut values = text.split(',');
        let mut next = |name| number(values.next()?.strip_prefix(name)?);
        let cost = Self {
            memory_kib: next("m=")?,
            passes: next("t=")?,
            lanes: next("p=")?,
        };
        values.next().is_none().then_some(cost)
    }

    fn check(self) -> Result<Self, SecretError> {
        use limits::{HASH_LANES_MAX, HASH_MEMORY_KIB_MAX, HASH_PASSES_MAX};
        let check = |name, value, least, most| {
            if value < least || value > most {
                Err(SecretError::OutOfBounds { name, least, most })
            } else {
                Ok(())
            }
        };
        check("p", self.lanes, 1, HASH_LANES_MAX)?;
        check("t", self.passes, 1, HASH_PASSES_MAX)?;
        let memory_min = self.lanes.saturating_mul(8);
        check("m", self.memory_kib, memory_min, HASH_MEMORY_KIB_MAX)?;
        Ok(self)
    }
}

/// An argon2id hash of a password, with its salt.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash {
    cost: Cost,
    salt: Vec<u8>,
    hash: Vec<u8>,
}

/// There is currently no memory for a verification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfMemory;

impl PasswordHash {
    /// Hashes `password` with `salt`, which must have at least 8 octets and must never have been
    /// used before.
    ///
    /// # Errors
    /// [`OutOfMemory`], also if a cost or a salt is impossible.
    pub fn create(password: &Secret, cost: Cost, salt: &[u8]) -> Result<Self, OutOfMemory> {
        let hash = compute(password, cost, salt, limits::HASH_OCTETS)?;
        let salt = salt.to_vec();
        Ok(Self { cost, salt, hash })
    }

    /// A hash without a known password, with the same verification cost as `like` (SEC-11).
    pub(super) fn dummy(like: Option<&Self>) -> Self {
        Self {
            cost: like.map_or_else(Cost::default, |like| like.cost),
            salt: vec![0; limits::SALT_OCTETS],
            hash: vec![0; like.map_or(limits::HASH_OCTETS, |like| like.hash.len())],
        }
    }

    /// Parses the text form.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let Some(rest) = text.strip_prefix(ARGON2ID) else {
            return Err(SecretError::of_no_hash(text));
        };
        let Some(rest) = rest.strip_prefix("v=19$") else {
            return Err(SecretError::Version);
        };
        let incomplete = SecretError::Incomplete { kind: "argon2id" };
        let mut parts = rest.split('$');
        let (Some(cost), Some(salt), Some(hash), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(incomplete);
        };
        let cost = Cost::parse(cost).ok_or(incomplete)?;
        let decode = |text: &str, least, most| {
            let octets = STANDARD_NO_PAD.decode(text).ok()?;
            (least..=most).contains(&octets.len()).then_some(octets)
        };
        let (least, most) = (limits::SALT_OCTETS_MIN, limits::HASH_SALT_OCTETS_MAX);
        let salt = decode(salt, least, most).ok_or(incomplete)?;
        let (least, most) = (limits::HASH_OCTETS_MIN, limits::HASH_OCTETS_MAX);
        let hash = decode(hash, least, most).ok_or(incomplete)?;
        let cost = cost.check()?;
        Ok(Self { cost, salt, hash })
    }

    /// The cost of a verification.
    pub fn cost(&self) -> Cost {
        self.cost
    }

    /// Whether `password` has this hash. Uses as much memory as [`cost`](Self::cost) says.
    ///
    /// # Errors
    /// [`OutOfMemory`]: ask the client to try again later.
    pub fn verify(&self, password: &Secret) -> Result<bool, OutOfMemory> {
        let hash = compute(password, self.cost, &self.salt, self.hash.len())?;
        Ok(is_equal(&hash, &self.hash))
    }

    /// The text form, which is only for the configuration.
    pub(super) fn to_text(&self) -> String {
        let Cost {
            memory_kib,
            passes,
            lanes,
        } = self.cost;
        let salt = STANDARD_NO_PAD.encode(&self.salt);
        let hash = STANDARD_NO_PAD.encode(&self.hash);
        format!("{ARGON2ID}v=19$m={memory_kib},t={passes},p={lanes}${salt}${hash}")
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PasswordHash")
            .field("cost", &self.cost)
            .finish_non_exhaustive()
    }
}

/// The only place that computes argon2id.
fn compute(
    password: &Secret,
    cost: Cost,
    salt: &[u8],
    octets: usize,
) -> Result<Vec<u8>, OutOfMemory> {
    #[cfg(test)]
    tests::COMPUTED.with(|computed| computed.borrow_mut().push(cost));
    let params = Params::new(cost.memory_kib, cost.passes, cost.lanes, Some(octets));
    // The bounds were checked when the hash was parsed, so only memory can be missing.
    let params = params.map_err(|_impossible| OutOfMemory)?;
    let mut blocks = blocks(params.block_count())?;
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    let mut hash = vec![0; octets];
    argon2
        .hash_password_into_with_memory(
            password.expose().as_bytes(),
            salt,
            &mut hash,
            blocks.as_mut_slice(),
        )
        .map_err(|_impossible| OutOfMemory)?;
    Ok(hash)
}

/// The memory of one computation, which returns to the system with it: the allocation is so large
/// that no allocator keeps it for the thread, and its unused part is never touched.
fn blocks(count: usize) -> Result<Vec<Block>, OutOfMemory> {
    let mut blocks = Vec::new();
    let room = count.max(limits::HASH_BLOCKS_RESERVED);
    blocks
        .try_reserve_exact(room)
        .map_err(|_no_memory| OutOfMemory)?;
    blocks.resize(count, Block::new());
    Ok(blocks)
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::RefCell;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        /// The cost of every hash that this thread has computed.
        pub(in crate::accounts) static COMPUTED: RefCell<Vec<Cost>> =
            const { RefCell::new(Vec::new()) };
    }

    /// The lowest possible cost.
    pub(in crate::accounts) const CHEAP: Cost = Cost {
        memory_kib: 8,
        passes: 1,
        lanes: 1,
    };

    pub(in crate::accounts) fn cheap(password: &str) -> PasswordHash {
        PasswordHash::create(&secret(password), CHEAP, b"somesalt").unwrap()
    }

    pub(in crate::accounts) fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    /// A test vector of the reference implementation.
    const VECTOR: &str =
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";

    #[test]
    fn a_hash_of_the_reference_implementation_is_verified() {
        let hash = PasswordHash::parse(VECTOR).unwrap();
        assert_eq!(hash.verify(&secret("password")), Ok(true));
        assert_eq!(hash.verify(&secret("Password")), Ok(false));
        assert_eq!(hash.verify(&secret("")), Ok(false));
        assert_eq!(hash.to_text(), VECTOR);
    }

    #[test]
    fn other_texts_than_argon2id_hashes_are_refused_with_a_reason() {
        use SecretError::{Incomplete, NoHash, OtherKind, OutOfBounds, PlainText, Twice, Version};
        let bounds = |name, least, most| OutOfBounds { name, least, most };
        let incomplete = Incomplete { kind: "argon2id" };
        let changed = |from: &str, to: &str| VECTOR.replace(from, to);
        for (text, expected) in [
            ("hunter2".to_owned(), PlainText),
            (String::new(), PlainText),
            ("$money$".to_owned(), PlainText),
            ("$2b$12$abcdefghijklmnopqrstuv".to_owned(), OtherKind),
            ("{SSHA}abcdef".to_owned(), OtherKind),
            (changed("argon2id", "argon2i"), OtherKind),
            (changed("v=19$", ""), Version),
            (changed("v=19", "v=16"), Version),
            (changed("m=256,t=2", "t=2,m=256"), incomplete),
            (changed("m=256", "m=+256"), incomplete),
            (changed("m=256", "m=0256"), incomplete),
            (changed("p=1", "p=1,keyid=a"), incomplete),
            (changed("c29tZXNhbHQ", "c29tZXM"), incomplete), // a short salt
            (changed("c29tZXNhbHQ", "c29tZXNhbHQ="), incomplete),
            (changed("/4", ""), incomplete),
            (changed("/4", "/4$x"), incomplete),
            (
                changed("nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4", "nf65"),
                incomplete,
            ),
            (changed("m=256", "m=7"), bounds("m", 8, 262_144)),
            (changed("m=256", "m=262145"), bounds("m", 8, 262_144)),
            (
                changed("m=256,t=2,p=1", "m=16,t=2,p=3"),
                bounds("m", 24, 262_144),
            ),
            (changed("t=2", "t=0"), bounds("t", 1, 32)),
            (changed("t=2", "t=33"), bounds("t", 1, 32)),
            (changed("p=1", "p=17"), bounds("p", 1, 16)),
            (changed("p=1", "p=0"), bounds("p", 1, 16)),
        ] {
            let error = StoredPassword::parse(&[&text]).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(text.is_empty() || !error.to_string().contains(&text));
        }
        assert_eq!(StoredPassword::parse::<&str>(&[]), Err(NoHash));
        assert_eq!(StoredPassword::parse(&[VECTOR, VECTOR]), Err(Twice));
    }

    #[test]
    fn the_dummy_takes_as_much_work_and_has_no_password() {
        let dummy = PasswordHash::dummy(Some(&cheap("hunter2")));
        assert_eq!(dummy.cost(), CHEAP);
        assert_eq!(dummy.verify(&secret("hunter2")), Ok(false));
        assert_eq!(PasswordHash::dummy(None).cost(), Cost::default());
    }

    #[test]
    fn debug_shows_no_hash() {
        let hash = PasswordHash::parse(VECTOR).unwrap();
        let shown = format!("{hash:?}");
        assert!(shown.contains("256") && !shown.contains("nf65"), "{shown}");
        let octets = format!("{:?}", hash.hash);
        assert!(!shown.contains(octets.trim_matches(['[', ']'])), "{shown}");
    }

    proptest! {
        #[test]
        fn a_written_hash_can_be_parsed(password in "\\PC{1,20}", salt: [u8; 16]) {
            let hash = PasswordHash::create(&secret(&password), CHEAP, &salt).unwrap();
            prop_assert_eq!(PasswordHash::parse(&hash.to_text()), Ok(hash.clone()));
            prop_assert_eq!(hash.verify(&secret(&password)), Ok(true));
            prop_assert_eq!(hash.verify(&secret(&(password + "x"))), Ok(false));
        }

        #[test]
        fn no_text_panics(text in "(\\$argon2id\\$v=19\\$)?[mtp=,$0-9a-z]{0,60}|\\PC{0,40}") {
            drop(StoredPassword::parse(&[text]));
        }
    }
}
