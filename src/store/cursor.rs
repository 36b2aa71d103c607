//! A place in the sequence of all changes of a store.

use std::fmt;

/// A place between two changes of a store. A [`Watch`](super::Watch) that begins there reports
/// every change behind it. Those of one run of the daemon are ordered by time.
///
/// Its text is short, has letters, digits and `-` only, and means nothing to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// The run of the daemon, by its random number.
    run: u64,
    /// The number of the first change behind it.
    number: u64,
}

/// The length of the number of a run in its text.
const RUN_OCTETS: usize = 16;

impl Cursor {
    /// The place in front of the change `number` of `run`.
    pub(super) fn new(run: u64, number: u64) -> Self {
        Self { run, number }
    }

    /// Parses the text of a cursor, exactly as it is displayed.
    pub fn parse(text: &str) -> Option<Self> {
        let (run, number) = text.split_once('-')?;
        if run.len() != RUN_OCTETS {
            return None;
        }
        let cursor = Self {
            run: u64::from_str_radix(run, 16).ok()?,
            number: number.parse().ok()?,
        };
        // Each has only one text.
        (cursor.to_string() == text).then_some(cursor)
    }

    /// How many changes are between `earlier`, of the same run, and this.
    pub fn changes_since(self, earlier: Self) -> u64 {
        self.number.saturating_sub(earlier.number)
    }

    /// The number of the first change behind it, if it belongs to `run`.
    pub(super) fn number_in(self, run: u64) -> Option<u64> {
        (self.run == run).then_some(self.number)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{}", self.run, self.number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn only_the_text_of_a_cursor_is_parsed() {
        let cursor = Cursor::new(0xab, 7);
        for (text, expect) in [
            ("00000000000000ab-7", Some(cursor)),
            ("00000000000000AB-7", None),
            ("00000000000000ab-07", None),
            ("00000000000000ab-+7", None),
            ("+0000000000000ab-7", None),
            ("ab-7", None),
            ("00000000000000ab-", None),
            ("00000000000000ab", None),
            ("00000000000000ab-18446744073709551616", None),
            ("00000000000000ab-7 ", None),
            ("", None),
            ("-", None),
        ] {
            assert_eq!(Cursor::parse(text), expect, "{text:?}");
        }
        assert_eq!(cursor.to_string(), "00000000000000ab-7");
    }

    #[test]
    fn changes_between_two_cursors_are_counted() {
        let [earlier, later] = [3, 10].map(|number| Cursor::new(7, number));
        assert_eq!(later.changes_since(earlier), 7);
        assert_eq!(earlier.changes_since(later), 0);
    }

    proptest! {
        #[test]
        fn a_cursor_is_parsed_from_its_text(run: u64, number: u64) {
            let cursor = Cursor::new(run, number);
            prop_assert_eq!(Cursor::parse(&cursor.to_string()), Some(cursor));
        }

        #[test]
        fn no_text_is_too_strange(text in "[-0-9a-f\u{e9}]{0,24}") {
            let cursor = Cursor::parse(&text);
            prop_assert!(cursor.is_none_or(|cursor| cursor.to_string() == text));
        }
    }
}
