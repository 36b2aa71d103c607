//! Why the database has not answered as it should, sorted by what is known of the statement.

use std::{fmt, io, sync::Arc};

use super::super::limits::TEXT_CHARACTERS_MAX;

/// What is known of a statement that has no good answer.
#[derive(Clone, Debug)]
pub(in crate::store::postgres) enum Failure {
    /// It was not sent: it has done nothing.
    NotSent(Arc<io::Error>),
    /// The server has refused it: it has done nothing.
    Refused(Refusal),
    /// It was sent, and may have been carried out or not.
    Unknown(Arc<str>),
    /// The deadline has passed, and the server has not answered yet. The connection must not be
    /// used for anything else before it has.
    Waiting,
}

/// The error of a server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store::postgres) struct Refusal {
    /// The SQLSTATE: five letters and digits.
    pub(in crate::store::postgres) code: String,
    /// What it says.
    pub(in crate::store::postgres) message: String,
}

/// The text of a server in one line of the log, and not too long for one (SEC-7).
fn in_one_line(text: &str) -> String {
    let mut line = String::new();
    for char in text.chars().take(TEXT_CHARACTERS_MAX) {
        if char.is_control() {
            line.extend(char.escape_default());
        } else {
            line.push(char);
        }
    }
    line
}

impl Refusal {
    /// The error with this code and this text.
    pub(super) fn new(code: &str, message: &str) -> Self {
        Self {
            code: in_one_line(code),
            message: in_one_line(message),
        }
    }

    /// Whether it leaves open whether the statement was carried out: the connection has an error
    /// (class 08), the server was stopped (57P01, 57P02), or it does not know itself (40003).
    pub(super) fn is_outcome_unknown(&self) -> bool {
        self.code.starts_with("08") || ["57P01", "57P02", "40003"].contains(&&*self.code)
    }

    /// Whether the server is not a primary, or not yet, and another one may be.
    pub(in crate::store::postgres) fn is_of_server(&self) -> bool {
        ["25006", "57P03", "53300"].contains(&&*self.code)
    }

    /// Whether the same statement may succeed immediately: it was sacrificed to another (40P01,
    /// 40001).
    pub(in crate::store::postgres) fn is_passing(&self) -> bool {
        ["40P01", "40001"].contains(&&*self.code)
    }

    /// Whether a lock was not free in time.
    pub(in crate::store::postgres) fn is_locked(&self) -> bool {
        self.code == "55P03"
    }

    /// Whether the disk of the server is full, or its memory.
    pub(in crate::store::postgres) fn is_full(&self) -> bool {
        self.code.starts_with("531") || self.code == "53200"
    }

    /// What is wrong with the database and what to do, as the end of a sentence, if facteur cannot
    /// enter it, or cannot make or use the tables.
    pub(in crate::store::postgres) fn remedy(&self) -> Option<&'static str> {
        match &*self.code {
            "25006" => Some(
                "is read-only for its user: set default_transaction_read_only to off for that user",
            ),
            "28P01" => Some(
                "does not accept the password of its user: correct the file store.password_file",
            ),
            "3D000" => Some("does not exist: create it, or correct dbname in store.postgres"),
            "3F000" => Some(
                "has no schema for the tables: make one, and name it in search_path for its user",
            ),
            "42501" => Some(
                "does not let its user make or use the tables: make that user the owner of the \
                 database, and of the tables if they are there",
            ),
            _ => None,
        }
    }

    /// Whether a row with this key is there already.
    pub(in crate::store::postgres) fn is_there_already(&self) -> bool {
        self.code == "23505"
    }

    /// Whether a row refers to one that does not exist, or another refers to it.
    pub(in crate::store::postgres) fn is_referred_to(&self) -> bool {
        self.code == "23503"
    }
}

impl Failure {
    /// The failure of a statement of which this is known after its answer.
    pub(in crate::store::postgres) fn unknown(reason: impl AsRef<str>) -> Self {
        Self::Unknown(Arc::from(reason.as_ref()))
    }

    /// Whether the statement may have been carried out, or may still be.
    pub(in crate::store::postgres) fn leaves_open(&self) -> bool {
        match self {
            Self::Unknown(_) | Self::Waiting => true,
            Self::NotSent(_) | Self::Refused(_) => false,
        }
    }

    pub(super) fn not_sent(error: io::Error) -> Self {
        Self::NotSent(Arc::new(error))
    }

    pub(super) fn of(refusal: Refusal) -> Self {
        if refusal.is_outcome_unknown() {
            return Self::unknown(refusal.to_string());
        }
        Self::Refused(refusal)
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { code, message } = self;
        write!(f, "the database says: {message} (SQLSTATE {code})")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(error) => write!(f, "the database cannot be reached: {error}"),
            Self::Refused(refusal) => refusal.fmt(f),
            Self::Unknown(reason) => {
                write!(
                    f,
                    "it is not known whether the database has done it: {reason}"
                )
            }
            Self::Waiting => f.write_str(
                "the database has not answered in time: it may wait for a standby, or for a lock",
            ),
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_server_is_one_line() {
        let text = "no\nsuch \u{7}table".to_owned() + &"x".repeat(1_000);
        let refusal = Refusal::new("42P01", &text).to_string();
        assert!(refusal.contains("no\\nsuch \\u{7}tablexx"), "{refusal}");
        assert!(refusal.len() < 400, "{refusal}");
    }

    #[test]
    fn only_some_errors_of_the_server_leave_the_outcome_open() {
        for (code, is_unknown) in [
            ("08006", true),
            ("57P01", true),
            ("57P02", true),
            ("40003", true),
            ("57014", false),
            ("40001", false),
            ("25006", false),
            ("23503", false),
        ] {
            let refusal = Refusal {
                code: code.to_owned(),
                message: String::new(),
            };
            let failure = Failure::of(refusal);
            assert_eq!(matches!(failure, Failure::Unknown(_)), is_unknown, "{code}");
        }
    }
}
