//! What the two kinds of stored secrets have in common: the errors of their text forms, the parsing
//! of numbers, and the comparison of secrets.

use std::fmt;

/// Why a text is not a stored password.
///
/// The `Display` form contains no part of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SecretError {
    /// Not a hash: perhaps the password itself.
    PlainText,
    /// A hash, but not an argon2id one.
    OtherKind,
    /// An argon2id hash of a version other than 19.
    Version,
    /// A part is missing, or cannot be decoded.
    Incomplete {
        /// What it should be.
        kind: &'static str,
    },
    /// A number of the hash is too small or too large.
    OutOfBounds {
        /// The name of the number.
        name: &'static str,
        /// Its minimum.
        least: u32,
        /// Its maximum.
        most: u32,
    },
    /// There is a SCRAM secret, or nothing, but no argon2id hash.
    NoHash,
    /// Two of one kind.
    Twice,
}

impl SecretError {
    /// The error of a text that is not an argon2id hash.
    pub(super) fn of_no_hash(text: &str) -> Self {
        // `$2b$`, `$6$`, `$argon2i$`, `{SSHA}`: the hashes of other programs.
        let is_other = text.starts_with('$') && text.matches('$').count() > 2;
        if is_other || (text.starts_with('{') && text.contains('}')) {
            Self::OtherKind
        } else {
            Self::PlainText
        }
    }
}

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MAKE: &str = "run `facteur hash-password` and paste the line that it prints";
        match self {
            Self::PlainText => write!(
                f,
                "not an argon2id hash, perhaps the password itself, which must not be here; \
                 {MAKE}"
            ),
            Self::OtherKind => write!(f, "a hash of a kind other than argon2id; {MAKE}"),
            Self::Version => write!(f, "an argon2id hash without v=19; {MAKE}"),
            Self::Incomplete { kind } => write!(
                f,
                "begins like {kind}, but is incomplete or invalid; {MAKE}"
            ),
            Self::OutOfBounds { name, least, most } => {
                write!(f, "{name}= must be from {least} to {most}; {MAKE}")
            }
            Self::NoHash => write!(f, "an argon2id hash is missing; {MAKE}"),
            Self::Twice => f.write_str(
                "more than one argon2id hash, or more than one SCRAM secret: leave one of each",
            ),
        }
    }
}

impl std::error::Error for SecretError {}

/// Parses a decimal number without sign or leading zeros.
pub(super) fn number(text: &str) -> Option<u32> {
    let is_plain = text.bytes().all(|octet| octet.is_ascii_digit());
    (is_plain && (text == "0" || !text.starts_with('0')))
        .then(|| text.parse().ok())
        .flatten()
}

/// Compares secrets without an early exit.
pub(super) fn is_equal(a: &[u8], b: &[u8]) -> bool {
    let pairs = a.iter().zip(b);
    let difference = pairs.fold(0, |difference, (a, b)| {
        std::hint::black_box(difference | (a ^ b))
    });
    a.len() == b.len() && difference == 0
}
