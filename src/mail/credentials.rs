//! The credentials with which a client proves its identity.
//!
//! # Invariants
//! A password never appears in the output of `Debug`, has no `Display`, and is compared in a time
//! that does not depend on where two passwords differ.

use std::fmt;

/// A password in memory. Its [`Debug`](fmt::Debug) form never shows it.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password.
    pub fn new(password: String) -> Self {
        Self(password)
    }

    /// Returns the password to the code that verifies it; never log or print it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl PartialEq for Secret {
    /// Compares without an early exit, so the time reveals only the lengths.
    fn eq(&self, other: &Self) -> bool {
        let difference = self
            .0
            .bytes()
            .zip(other.0.bytes())
            .fold(0, |difference, (a, b)| difference | (a ^ b));
        self.0.len() == other.0.len() && difference == 0
    }
}

impl Eq for Secret {}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(\u{2026})")
    }
}

/// A user name and a password, as the client sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The name: a full address, or only a local part.
    pub user: String,
    /// The password.
    pub password: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        let credentials = Credentials {
            user: "bob".to_owned(),
            password: Secret::new("hunter2".to_owned()),
        };
        let shown = format!("{credentials:?}");
        assert!(
            shown.contains("bob") && !shown.contains("hunter2"),
            "{shown}"
        );
    }

    #[test]
    fn secrets_are_equal_if_all_octets_are() {
        for (a, b, equal) in [
            ("", "", true),
            ("hunter2", "hunter2", true),
            ("hunter2", "hunter3", false),
            ("hunter2", "hunter", false),
            ("", "hunter2", false),
        ] {
            let (a, b) = (Secret::new(a.to_owned()), Secret::new(b.to_owned()));
            assert_eq!(a == b, equal, "{} {}", a.expose(), b.expose());
        }
    }
}
