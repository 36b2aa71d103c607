//! The name of a message in the inbox.

use std::fmt;

/// Identifies a message in the inbox: copies of a message in several mailboxes have the same one,
/// as long as this store delivered them. It never changes and is never reused.
///
/// As text it has letters, digits and `-` only: `<run>-<counter>`, both hexadecimal, for a message
/// that this store delivered, and `f-<hash>` for any other. No text of an id is a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntryId(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Kind {
    Own { run: u64, counter: u64 },
    Foreign { hash: u128 },
}

/// The length of the run of an own message in digits.
const RUN_OCTETS: usize = 16;

impl EntryId {
    /// The id of the message that this store delivered as number `counter` of `run`, the random
    /// number of a run of the daemon.
    pub fn own(run: u64, counter: u64) -> Self {
        Self(Kind::Own { run, counter })
    }

    /// The id of a message of another program, by a hash of its mailbox and its name.
    pub fn foreign(hash: u128) -> Self {
        Self(Kind::Foreign { hash })
    }

    /// Whether this store delivered the message.
    pub fn is_own(&self) -> bool {
        matches!(self.0, Kind::Own { .. })
    }

    /// The run of the daemon that delivered the message, if this store did.
    pub fn run(&self) -> Option<u64> {
        match self.0 {
            Kind::Own { run, .. } => Some(run),
            Kind::Foreign { .. } => None,
        }
    }

    /// Which delivery of its run this was, if this store delivered the message.
    pub fn counter(&self) -> Option<u64> {
        match self.0 {
            Kind::Own { counter, .. } => Some(counter),
            Kind::Foreign { .. } => None,
        }
    }

    /// Parses the text of an id, exactly as it is displayed.
    pub fn parse(text: &str) -> Option<Self> {
        let (first, second) = text.split_once('-')?;
        let id = if first == "f" {
            Self::foreign(u128::from_str_radix(second, 16).ok()?)
        } else if first.len() == RUN_OCTETS {
            let run = u64::from_str_radix(first, 16).ok()?;
            Self::own(run, u64::from_str_radix(second, 16).ok()?)
        } else {
            return None;
        };
        // Each has only one text.
        (id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for EntryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Kind::Own { run, counter } => write!(f, "{run:016x}-{counter:08x}"),
            Kind::Foreign { hash } => write!(f, "f-{hash:032x}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_text_of_an_id_is_parsed() {
        let foreign = "f-000000000000000000000000000000ff";
        for (text, expect) in [
            (
                "9f00000000000001-0000002a",
                Some(EntryId::own(0x9f00_0000_0000_0001, 0x2a)),
            ),
            (
                "9f00000000000001-100000000",
                Some(EntryId::own(0x9f00_0000_0000_0001, 1 << 32)),
            ),
            (foreign, Some(EntryId::foreign(0xff))),
            ("9F00000000000001-0000002a", None),
            ("9f00000000000001-2a", None),
            ("9f00000000000001-00000002a", None),
            ("9f00000000000001_0000002a", None),
            ("9f00000000000001.0000002a", None),
            ("+f00000000000001-0000002a", None),
            ("9f00000000000001-", None),
            ("f-ff", None),
            ("f-", None),
            ("f", None),
            ("latest", None),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(EntryId::parse(text), expect, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_id_is_parsed_from_its_text(run: u64, counter: u64, hash: u128) {
            for id in [EntryId::own(run, counter), EntryId::foreign(hash)] {
                let text = id.to_string();
                prop_assert_eq!(EntryId::parse(&text), Some(id));
                let is_plain = |octet: u8| octet.is_ascii_alphanumeric() || octet == b'-';
                prop_assert!(text.bytes().all(is_plain));
            }
        }

        #[test]
        fn no_text_is_too_strange(text in "[-0-9a-f\u{e9}]{0,40}") {
            let id = EntryId::parse(&text);
            prop_assert!(id.is_none_or(|id| id.to_string() == text));
        }
    }
}
