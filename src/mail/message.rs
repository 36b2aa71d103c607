//! What a maildrop tells about its messages before they are opened.
//!
//! The store makes these values at login and they do not change while the session lasts. There may
//! be a million of them, so they are asked for one by one and need not exist before.

use std::{borrow::Cow, fmt};

/// The unique-id of a message: 1 to 70 octets of 0x21–0x7E, never changed, never reused
/// (RFC 1939 §7, UIDL).
///
/// The form is checked here; that it stays with its message is the promise of the store. Borrowed
/// from what the store remembers, where that holds it as it is sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UniqueId<'a>(Cow<'a, str>);

impl<'a> UniqueId<'a> {
    /// Octets of the longest one (RFC 1939 §7).
    pub const OCTETS_MAX: usize = 70;

    /// Takes `text` as a unique-id when it has the form that RFC 1939 §7 allows.
    pub fn parse(text: impl Into<Cow<'a, str>>) -> Option<Self> {
        let text = text.into();
        let fits = (1..=Self::OCTETS_MAX).contains(&text.len());
        // All octets, whatever the first ones are: so they are looked at many at a time.
        let is_graphic = |so_far, octet: u8| so_far & octet.is_ascii_graphic();
        (fits && text.bytes().fold(true, is_graphic)).then_some(Self(text))
    }

    /// The unique-id as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same, borrowed from nobody.
    pub fn into_owned(self) -> UniqueId<'static> {
        UniqueId(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for UniqueId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// All that LIST and UIDL say of the messages of one maildrop, by their positions, counted from 0.
///
/// What is said never changes, and there is something for every position below the length.
pub trait Summaries: fmt::Debug + Send + Sync {
    /// How many messages there are.
    fn len(&self) -> usize;

    /// Octets that RETR sends before dot-stuffing, every line ending counted as CRLF; `None` when
    /// there is no such message.
    fn octets(&self, position: usize) -> Option<u64>;

    /// The name of a message that outlives the session; `None` when there is no such message.
    fn unique_id(&self, position: usize) -> Option<UniqueId<'_>>;

    /// Whether there are no messages.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One message of a maildrop: a list of these is a maildrop too, a small one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageSummary {
    /// See [`Summaries::octets`].
    pub octets: u64,
    /// See [`Summaries::unique_id`].
    pub unique_id: UniqueId<'static>,
}

impl Summaries for Vec<MessageSummary> {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn octets(&self, position: usize) -> Option<u64> {
        self.get(position).map(|message| message.octets)
    }

    fn unique_id(&self, position: usize) -> Option<UniqueId<'_>> {
        self.get(position).map(|message| message.unique_id.clone())
    }
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
            ("x".repeat(70).as_str(), true),
            ("x".repeat(71).as_str(), false),
        ] {
            assert_eq!(UniqueId::parse(text).is_some(), fits, "{text:?}");
        }
    }

    #[test]
    fn a_list_of_messages_is_a_maildrop() {
        let message = |octets, unique_id| MessageSummary {
            octets,
            unique_id: UniqueId::parse(unique_id).unwrap(),
        };
        let list = vec![message(7, "first"), message(0, "second")];
        let maildrop: &dyn Summaries = &list;
        assert_eq!((maildrop.len(), maildrop.is_empty()), (2, false));
        assert_eq!(
            [0, 1, 2].map(|n| maildrop.octets(n)),
            [Some(7), Some(0), None]
        );
        let unique_id = |n| maildrop.unique_id(n).map(|it| it.as_str().to_owned());
        let expected = [Some("first".to_owned()), Some("second".to_owned()), None];
        assert_eq!([0, 1, 2].map(unique_id), expected);
        let empty: &dyn Summaries = &Vec::new();
        assert_eq!((empty.len(), empty.is_empty()), (0, true));
    }
}
