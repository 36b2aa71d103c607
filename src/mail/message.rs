//! What a maildrop tells about a message before it is opened.
//!
//! The store makes these values at login and they do not change while the session lasts.

use std::fmt;

/// The unique-id of a message: 1 to 70 octets of 0x21–0x7E, never changed, never reused
/// (RFC 1939 §7, UIDL).
///
/// The form is checked here; that it stays with its message is the promise of the store.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UniqueId(Box<str>);

impl UniqueId {
    /// Takes `text` as a unique-id when it has the form that RFC 1939 §7 allows.
    pub fn parse(text: &str) -> Option<Self> {
        let fits = (1..=70).contains(&text.len());
        (fits && text.bytes().all(|octet| octet.is_ascii_graphic())).then(|| Self(text.into()))
    }

    /// The unique-id as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UniqueId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One message of a maildrop: all that LIST and UIDL say of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageSummary {
    /// Octets that RETR sends before dot-stuffing, every line ending counted as CRLF.
    pub octets: u64,
    /// The name that outlives the session.
    pub unique_id: UniqueId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unique_id_has_1_to_70_printable_octets() {
        for (text, fits) in [
            ("a", true),
            ("!~", true),
            ("", false),
            ("a b", false),
            ("a\u{7f}", false),
            ("é", false),
            (&"x".repeat(70), true),
            (&"x".repeat(71), false),
        ] {
            assert_eq!(UniqueId::parse(text).is_some(), fits, "{text:?}");
        }
    }
}
