//! What a client presents to prove who it is.

use std::fmt;

/// A password in memory. Its [`Debug`](fmt::Debug) form never shows it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a password.
    pub fn new(password: String) -> Self {
        Self(password)
    }

    /// Gives the password to the code that verifies it; never log or print what this returns.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// A user name and a password, as the client sent them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credentials {
    /// The name: a full address, or a local part alone.
    pub user: String,
    /// The password.
    pub password: Secret,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_shown_by_debug() {
        let credentials =
            Credentials { user: "bob".to_owned(), password: Secret::new("hunter2".to_owned()) };
        let shown = format!("{credentials:?}");
        assert!(shown.contains("bob") && !shown.contains("hunter2"), "{shown}");
    }
}
