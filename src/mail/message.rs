//! What a maildrop reports about its messages before they are opened.
//!
//! The store creates these values at login and they do not change during the session. There can be
//! a million of them, so they are requested one by one and need not exist before that.

use std::{borrow::Cow, fmt};

/// The unique-id of a message: 1 to 70 octets of 0x21–0x7E, never changed, never reused
/// (RFC 1939 §7, UIDL).
///
/// The form is checked here; the store promises that the unique-id stays with its message. It is
/// borrowed from the store if the store has it in the form in which it is sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UniqueId<'a>(Cow<'a, str>);

impl<'a> UniqueId<'a> {
    /// The length of the longest one in octets (RFC 1939 §7).
    pub const OCTETS_MAX: usize = 70;

    /// Parses `text` as a unique-id if it has the form that RFC 1939 §7 allows.
    pub fn parse(text: impl Into<Cow<'a, str>>) -> Option<Self> {
        let text = text.into();
        let fits = (1..=Self::OCTETS_MAX).contains(&text.len());
        // Without an early exit, so that many octets are checked at a time.
        let is_graphic = |so_far, octet: u8| so_far & octet.is_ascii_graphic();
        (fits && text.bytes().fold(true, is_graphic)).then_some(Self(text))
    }

    /// The unique-id as it is sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The same with its own copy of the text.
    pub fn into_owned(self) -> UniqueId<'static> {
        UniqueId(Cow::Owned(self.0.into_owned()))
    }
}

impl fmt::Display for UniqueId<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What LIST and UIDL show about the messages of one maildrop, by position, counted from 0.
///
/// The answers never change, and there is one for every position below the length.
pub trait Summaries: fmt::Debug + Send + Sync {
    /// How many messages there are.
    fn len(&self) -> usize;

    /// Octets that RETR sends before dot-stuffing, with every line ending counted as CRLF; `None`
    /// if there is no such message.
    fn octets(&self, position: usize) -> Option<u64>;

    /// The octets of all messages: what [`octets`](Self::octets) gives for each, added up.
    fn total_octets(&self) -> u64 {
        added_octets(self)
    }

    /// The name of a message beyond the session; `None` if there is no such message.
    fn unique_id(&self, position: usize) -> Option<UniqueId<'_>>;

    /// Whether there are no messages.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The octets of all messages, added up.
pub fn added_octets(messages: &(impl Summaries + ?Sized)) -> u64 {
    let octets = (0..messages.len()).filter_map(|position| messages.octets(position));
    octets.fold(0, u64::saturating_add)
}

/// One message of a maildrop. A list of these is a small maildrop.
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
        assert_eq!(maildrop.total_octets(), 7);
        let unique_id = |n| maildrop.unique_id(n).map(|it| it.as_str().to_owned());
        let expected = [Some("first".to_owned()), Some("second".to_owned()), None];
        assert_eq!([0, 1, 2].map(unique_id), expected);
        let empty: &dyn Summaries = &Vec::new();
        assert_eq!((empty.len(), empty.is_empty()), (0, true));
    }
}
