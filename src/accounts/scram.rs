//! SCRAM-SHA-256: its stored secrets, and the check of a client's proof (RFC 5802, RFC 7677).
//!
//! With the secrets stored here, an attacker can pretend to be the server and can guess passwords,
//! but cannot log in. The protocol rooms have the messages of the exchange; this file has only the
//! arithmetic of RFC 5802 §3.
//!
//! The text form is `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, in base64 with
//! padding, as `PostgreSQL` writes it.
//!
//! # Invariants
//! `Debug` shows only the number of iterations. Proofs are compared in a time that does not depend
//! on where they differ.
//!
//! # Known limits
//! Passwords are not prepared by `SASLprep` (RFC 4013). It would not change printable ASCII, and
//! [`hash_password`](super::hash_password) creates SCRAM secrets only for such passwords.

use std::fmt;
use std::num::NonZeroU32;

use base64::{Engine, engine::general_purpose::STANDARD};
use ring::{digest, hmac, pbkdf2};

use super::limits;
use super::secret::{SecretError, is_equal, number};
use crate::mail::Secret;

/// The beginning of a SCRAM secret.
const SCRAM: &str = "SCRAM-SHA-256$";

/// Octets of a key, of a proof and of a signature.
pub const KEY_OCTETS: usize = 32;

/// A key, a proof or a signature.
pub type Key = [u8; KEY_OCTETS];

/// What is stored of a password for SCRAM-SHA-256.
#[derive(Clone, PartialEq, Eq)]
pub struct ScramSecret {
    iterations: u32,
    salt: Vec<u8>,
    stored_key: Key,
    server_key: Key,
}

impl ScramSecret {
    /// Creates the secret of `password`.
    pub fn create(password: &Secret, iterations: NonZeroU32, salt: &[u8]) -> Self {
        let mut salted: Key = [0; KEY_OCTETS];
        let password = password.expose().as_bytes();
        pbkdf2::derive(
            pbkdf2::PBKDF2_HMAC_SHA256,
            iterations,
            salt,
            password,
            &mut salted,
        );
        Self {
            iterations: iterations.get(),
            salt: salt.to_vec(),
            stored_key: hash(&sign(&salted, b"Client Key")),
            server_key: sign(&salted, b"Server Key"),
        }
    }

    /// The secret of a user who does not exist: in the same form as `like`, and always the same for
    /// one `name` as long as `like` does not change.
    pub(super) fn dummy(like: &Self, name: &str) -> Self {
        let key = sign(&like.server_key, b"facteur: users who do not exist");
        let mut salt = sign(&key, name.as_bytes()).to_vec();
        salt.truncate(like.salt.len());
        Self {
            iterations: like.iterations,
            salt,
            stored_key: sign(&key, b"StoredKey"),
            server_key: sign(&key, b"ServerKey"),
        }
    }

    /// A number below `choices`, always the same for one `name` as long as this secret does not
    /// change.
    pub(super) fn choice(&self, name: &str, choices: usize) -> usize {
        let key = sign(
            &self.server_key,
            b"facteur: domains of users who do not exist",
        );
        let [a, b, c, d, ..] = sign(&key, name.as_bytes());
        let number = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or_default();
        number.checked_rem(choices).unwrap_or_default()
    }

    /// Whether `text` is meant to be a SCRAM secret.
    pub(super) fn is_meant_by(text: &str) -> bool {
        text.starts_with(SCRAM)
    }

    /// Parses the text form.
    ///
    /// # Errors
    /// [`SecretError`].
    pub fn parse(text: &str) -> Result<Self, SecretError> {
        let incomplete = SecretError::Incomplete {
            kind: "SCRAM-SHA-256",
        };
        let secret = Self::read(text).ok_or(incomplete)?;
        let (least, most) = (limits::SCRAM_ITERATIONS_MIN, limits::SCRAM_ITERATIONS_MAX);
        if !(least..=most).contains(&secret.iterations) {
            let name = "the iterations of SCRAM-SHA-256, ";
            return Err(SecretError::OutOfBounds { name, least, most });
        }
        Ok(secret)
    }

    fn read(text: &str) -> Option<Self> {
        let (parameters, keys) = text.strip_prefix(SCRAM)?.split_once('$')?;
        let (iterations, salt) = parameters.split_once(':')?;
        let (stored_key, server_key) = keys.split_once(':')?;
        let key = |text: &str| Key::try_from(STANDARD.decode(text).ok()?).ok();
        let salt = STANDARD.decode(salt).ok()?;
        let lengths = limits::SALT_OCTETS_MIN..=limits::SCRAM_SALT_OCTETS_MAX;
        lengths.contains(&salt.len()).then_some(Self {
            iterations: number(iterations)?,
            salt,
            stored_key: key(stored_key)?,
            server_key: key(server_key)?,
        })
    }

    /// The text form, which is only for the configuration.
    pub(super) fn to_text(&self) -> String {
        format!(
            "{SCRAM}{}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key)
        )
    }

    /// What the server sends to the client first: the salt and the number of iterations.
    pub fn parameters(&self) -> (Vec<u8>, u32) {
        (self.salt.clone(), self.iterations)
    }

    /// Whether `proof` proves that the client knows the password, and the signature by which the
    /// server proves that it knows this secret. The signature is only for a client whose proof is
    /// right; it is always computed so that every check takes the same time.
    pub fn check(&self, auth_message: &[u8], proof: &Key) -> (bool, Key) {
        let client_signature = sign(&self.stored_key, auth_message);
        let mut client_key = *proof;
        for (octet, mask) in client_key.iter_mut().zip(client_signature) {
            *octet ^= mask;
        }
        let is_right = is_equal(&hash(&client_key), &self.stored_key);
        (is_right, sign(&self.server_key, auth_message))
    }
}

impl fmt::Debug for ScramSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ScramSecret")
            .field("iterations", &self.iterations)
            .finish_non_exhaustive()
    }
}

/// HMAC-SHA-256: RFC 5802 §2.2, `HMAC(key, str)`.
fn sign(key: &[u8], text: &[u8]) -> Key {
    #[cfg(test)]
    tests::SIGNED.with(|signed| signed.set(signed.get().saturating_add(1)));
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    to_key(hmac::sign(&key, text).as_ref())
}

/// SHA-256: RFC 5802 §2.2, `H(str)`.
fn hash(key: &Key) -> Key {
    to_key(digest::digest(&digest::SHA256, key).as_ref())
}

/// The octets of a SHA-256 value, which has as many as a key.
fn to_key(octets: &[u8]) -> Key {
    let mut key: Key = [0; KEY_OCTETS];
    for (place, octet) in key.iter_mut().zip(octets) {
        *place = *octet;
    }
    key
}

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;
    use std::sync::LazyLock;

    use proptest::prelude::*;

    use super::*;

    thread_local! {
        /// How many HMACs this thread has computed, except those of PBKDF2.
        pub(in crate::accounts) static SIGNED: Cell<u32> = const { Cell::new(0) };
    }

    fn create(password: &str, salt: &[u8]) -> ScramSecret {
        let iterations = NonZeroU32::new(limits::SCRAM_ITERATIONS_MIN).unwrap();
        ScramSecret::create(&Secret::new(password.to_owned()), iterations, salt)
    }

    /// What the two sides send in RFC 7677 §3.
    pub(in crate::accounts) const AUTH_MESSAGE: &str = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
        r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
        c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";

    pub(in crate::accounts) fn key(text: &str) -> Key {
        Key::try_from(STANDARD.decode(text).unwrap()).unwrap()
    }

    /// The secret of user "user" with password "pencil" in RFC 7677 §3.
    pub(in crate::accounts) fn pencil() -> ScramSecret {
        static PENCIL: LazyLock<ScramSecret> = LazyLock::new(|| {
            let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
            create("pencil", &salt)
        });
        PENCIL.clone()
    }

    #[test]
    fn rfc7677_3_example() {
        let proof = key("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
        let signature = key("6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
        let secret = pencil();
        assert_eq!(
            secret.check(AUTH_MESSAGE.as_bytes(), &proof),
            (true, signature)
        );
        let (right, _) = secret.check(b"another message", &proof);
        assert!(!right);
        for bit in 0..256 {
            let mut wrong = proof;
            wrong[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !secret.check(AUTH_MESSAGE.as_bytes(), &wrong).0,
                "bit {bit}"
            );
        }
    }

    #[test]
    fn the_text_form_is_strict() {
        let text = pencil().to_text();
        assert!(
            text.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"),
            "{text}"
        );
        assert_eq!(ScramSecret::parse(&text), Ok(pencil()));
        for (from, to) in [
            ("4096", "4095"),
            ("4096", "1000001"),
            ("4096", "+4096"),
            ("4096:", ""),
            ("gQ==", "gQ"),
            ("W22ZaJ0SNY7soEsUEjb6gQ==", "W22ZaJ0="),
            ("$4096", "4096"),
            ("SCRAM-SHA-256", "SCRAM-SHA-1"),
        ] {
            let wrong = text.replace(from, to);
            assert_ne!(wrong, text);
            assert!(ScramSecret::parse(&wrong).is_err(), "{wrong}");
        }
        let (whole, _) = text.rsplit_once(':').unwrap();
        assert!(ScramSecret::parse(whole).is_err());
        assert!(ScramSecret::parse(&format!("{text}:AAAA")).is_err());
    }

    #[test]
    fn a_dummy_looks_like_a_secret_and_stays_the_same() {
        let dummy = ScramSecret::dummy(&pencil(), "eve@example.com");
        assert_eq!(dummy, ScramSecret::dummy(&pencil(), "eve@example.com"));
        let (salt, iterations) = dummy.parameters();
        let (real_salt, real_iterations) = pencil().parameters();
        assert_eq!((salt.len(), iterations), (real_salt.len(), real_iterations));
        let other = ScramSecret::dummy(&pencil(), "mallory@example.com");
        assert_ne!(other.parameters().0, salt);
        let changed = ScramSecret::dummy(&create("pen", &real_salt), "eve@example.com");
        assert_ne!(
            changed.parameters().0,
            salt,
            "without the file nobody can compute it"
        );
    }

    #[test]
    fn debug_shows_no_key() {
        let secret = pencil();
        let shown = format!("{secret:?}");
        for octets in [&secret.salt[..], &secret.stored_key, &secret.server_key] {
            let octets = format!("{octets:?}");
            assert!(!shown.contains(octets.trim_matches(['[', ']'])), "{shown}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "(SCRAM-SHA-256\\$)?[0-9:$=a-zA-Z+/]{0,120}") {
            drop(ScramSecret::parse(&text));
        }

        #[test]
        fn a_proof_of_another_password_is_wrong(octets: [u8; 32]) {
            prop_assert!(!pencil().check(AUTH_MESSAGE.as_bytes(), &octets).0);
        }
    }
}
