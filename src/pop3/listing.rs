//! The maildrop as one session sees it: a snapshot of its messages, and the marks of DELE.
//!
//! Numbers and sizes are fixed when the maildrop is opened and never change (RFC 1939 §4); DELE and
//! RSET change only marks. Nothing here removes a message: [`Listing::marked`] returns the messages
//! that the client asked to remove, and the session decides whether that happens.
//!
//! Three terms: the *message-number* counts from 1 and is what the client sends; the *position*
//! counts from 0 and is the place in the snapshot; the *visible* messages are those without a mark,
//! which STAT, LIST and UIDL show.
//!
//! Invariants: `visible` is the count and the total octets of the messages without a mark. The
//! snapshot and the marks are each one shared block, so that a response can continue to list them
//! while the session goes on, without copying either.

use std::{fmt, num::NonZeroUsize, sync::Arc};

use crate::mail::{Summaries, UniqueId};

/// The number of a message in a session: 1 for the first one of the snapshot (RFC 1939 §4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageNumber(NonZeroUsize);

impl MessageNumber {
    /// Parses decimal digits as a message-number; `None` for anything else and for zero.
    ///
    /// A number that is too large becomes the largest possible one, which no maildrop has.
    pub fn parse(text: &str) -> Option<Self> {
        let number = parse_decimal(text)?;
        NonZeroUsize::new(usize::try_from(number).unwrap_or(usize::MAX)).map(Self)
    }

    /// The number of the message at `position`, counted from 0.
    pub fn at(position: usize) -> Self {
        Self(NonZeroUsize::MIN.saturating_add(position))
    }

    /// The number itself, from 1.
    pub fn get(self) -> usize {
        self.0.get()
    }

    /// The position of the message in the snapshot from [`Outcome::MaildropOpened`], counted from
    /// 0.
    ///
    /// [`Outcome::MaildropOpened`]: super::Outcome::MaildropOpened
    pub fn position(self) -> usize {
        self.0.get().saturating_sub(1)
    }
}

impl fmt::Display for MessageNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Parses one or more decimal digits; a number that is too large becomes the largest possible one.
pub(super) fn parse_decimal(text: &str) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.chars().try_fold(0_u64, |number, character| {
        let digit = character.to_digit(10)?;
        Some(number.saturating_mul(10).saturating_add(u64::from(digit)))
    })
}

/// The answer to STAT: how many messages are not marked as deleted, and their octets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DropListing {
    pub(super) messages: usize,
    pub(super) octets: u64,
}

impl DropListing {
    /// All of these messages.
    fn of(messages: &dyn Summaries) -> Self {
        Self {
            messages: messages.len(),
            octets: messages.total_octets(),
        }
    }
}

impl fmt::Display for DropListing {
    /// Writes `2 messages (320 octets)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages = if self.messages == 1 {
            "message"
        } else {
            "messages"
        };
        let octets = if self.octets == 1 { "octet" } else { "octets" };
        write!(f, "{} {messages} ({} {octets})", self.messages, self.octets)
    }
}

/// Why a message-number does not lead to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoMessage {
    /// The snapshot has fewer messages.
    Absent {
        /// How many it has, including marked ones.
        messages: usize,
    },
    /// DELE has marked the message.
    Marked(MessageNumber),
}

/// The snapshot and the marks.
#[derive(Clone, Debug)]
pub(super) struct Listing {
    messages: Arc<dyn Summaries>,
    marks: Arc<Marks>,
    visible: DropListing,
}

impl Listing {
    /// A listing of `messages` without marks.
    pub(super) fn new(messages: Arc<dyn Summaries>) -> Self {
        let visible = DropListing::of(&*messages);
        Self {
            messages,
            marks: Arc::default(),
            visible,
        }
    }

    /// The messages that are not marked: how many, and their octets.
    pub(super) fn visible(&self) -> DropListing {
        self.visible
    }

    /// The octets of the message with `number`.
    ///
    /// # Errors
    /// [`NoMessage`] if there is none or it is marked: report it to the client.
    pub(super) fn octets(&self, number: MessageNumber) -> Result<u64, NoMessage> {
        self.visible_one(number, self.messages.octets(number.position()))
    }

    /// The unique-id of the message with `number`.
    ///
    /// # Errors
    /// As [`octets`](Self::octets).
    pub(super) fn unique_id(&self, number: MessageNumber) -> Result<UniqueId<'_>, NoMessage> {
        self.visible_one(number, self.messages.unique_id(number.position()))
    }

    /// Returns `value`, unless the message with `number` does not exist or is marked.
    fn visible_one<T>(&self, number: MessageNumber, value: Option<T>) -> Result<T, NoMessage> {
        if self.marks.contains(number.position()) {
            return Err(NoMessage::Marked(number));
        }
        value.ok_or_else(|| NoMessage::Absent {
            messages: self.messages.len(),
        })
    }

    /// Marks the message with `number` as deleted.
    ///
    /// # Errors
    /// [`NoMessage`] if there is none or it is already marked: report it to the client; nothing
    /// changed.
    pub(super) fn mark(&mut self, number: MessageNumber) -> Result<(), NoMessage> {
        let octets = self.octets(number)?;
        // The marks are copied only while a response that lists them is still being sent.
        Arc::make_mut(&mut self.marks).insert(number.position());
        self.visible.messages = self.visible.messages.saturating_sub(1);
        self.visible.octets = self.visible.octets.saturating_sub(octets);
        Ok(())
    }

    /// Removes all marks.
    pub(super) fn unmark_all(&mut self) {
        self.marks = Arc::default();
        self.visible = DropListing::of(&*self.messages);
    }

    /// The marked messages in ascending order.
    pub(super) fn marked(&self) -> Vec<MessageNumber> {
        (0..self.messages.len())
            .filter(|position| self.marks.contains(*position))
            .map(MessageNumber::at)
            .collect()
    }

    /// A cursor over the messages that are visible now; later marks do not change it.
    pub(super) fn cursor(&self) -> Cursor {
        Cursor {
            messages: Arc::clone(&self.messages),
            marks: Arc::clone(&self.marks),
            next_position: 0,
        }
    }
}

/// Iterates over the visible messages of a [`Listing`], with constant memory.
#[derive(Clone, Debug)]
pub(super) struct Cursor {
    messages: Arc<dyn Summaries>,
    marks: Arc<Marks>,
    next_position: usize,
}

impl Cursor {
    /// The next visible message, or `None` after the last one.
    pub(super) fn next(&mut self) -> Option<MessageNumber> {
        while self.marks.contains(self.next_position) {
            self.next_position = self.next_position.saturating_add(1);
        }
        let position = self.next_position;
        if position >= self.messages.len() {
            return None;
        }
        self.next_position = position.saturating_add(1);
        Some(MessageNumber::at(position))
    }

    /// All messages, visible or not.
    pub(super) fn messages(&self) -> &dyn Summaries {
        &*self.messages
    }
}

/// A bitmap of positions. It has no words until the first mark, so a session that marks nothing
/// needs no memory for it.
#[derive(Clone, Debug, Default)]
struct Marks {
    words: Vec<u64>,
}

impl Marks {
    const BITS: usize = 64;

    fn contains(&self, position: usize) -> bool {
        self.words
            .get(position / Self::BITS)
            .is_some_and(|word| word & Self::bit(position) != 0)
    }

    fn insert(&mut self, position: usize) {
        let index = position / Self::BITS;
        if self.words.len() <= index {
            self.words.resize(index.saturating_add(1), 0);
        }
        if let Some(word) = self.words.get_mut(index) {
            *word |= Self::bit(position);
        }
    }

    fn bit(position: usize) -> u64 {
        // The remainder is below 64, so it always fits.
        1_u64.wrapping_shl(u32::try_from(position % Self::BITS).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;
    use crate::mail::MessageSummary;

    fn messages(octets: &[u64]) -> Arc<Vec<MessageSummary>> {
        let summary = |(position, octets): (usize, &u64)| MessageSummary {
            octets: *octets,
            unique_id: UniqueId::parse(format!("u{position}")).unwrap(),
        };
        Arc::new(octets.iter().enumerate().map(summary).collect())
    }

    fn numbers(mut cursor: Cursor) -> Vec<usize> {
        let mut numbers = Vec::new();
        while let Some(number) = cursor.next() {
            numbers.push(number.position());
        }
        numbers
    }

    #[test]
    fn message_numbers_are_decimal_and_begin_at_1() {
        for (text, position) in [
            ("1", Some(0)),
            ("2", Some(1)),
            ("007", Some(6)),
            ("99999999999999999999999999", Some(usize::MAX - 1)),
            ("0", None),
            ("000", None),
            ("", None),
            ("-1", None),
            ("+1", None),
            ("1.0", None),
            ("0x1", None),
            ("1a", None),
            ("\u{0661}", None),
        ] {
            assert_eq!(
                MessageNumber::parse(text).map(MessageNumber::position),
                position,
                "{text}"
            );
        }
    }

    #[test]
    fn a_mark_hides_a_message_until_all_are_removed() {
        let mut listing = Listing::new(messages(&[120, 200]));
        let second = MessageNumber::at(1);
        assert_eq!(listing.mark(second), Ok(()));
        assert_eq!(listing.mark(second), Err(NoMessage::Marked(second)));
        assert_eq!(
            listing.octets(second).unwrap_err(),
            NoMessage::Marked(second)
        );
        assert_eq!(
            listing.unique_id(second).unwrap_err(),
            NoMessage::Marked(second)
        );
        assert_eq!(
            listing.visible(),
            DropListing {
                messages: 1,
                octets: 120
            }
        );
        assert_eq!(listing.marked(), [second]);
        listing.unmark_all();
        assert_eq!(
            listing.visible(),
            DropListing {
                messages: 2,
                octets: 320
            }
        );
        assert_eq!(listing.marked(), []);
    }

    #[test]
    fn a_number_beyond_the_snapshot_is_absent() {
        let mut listing = Listing::new(messages(&[120, 200]));
        let absent = Err(NoMessage::Absent { messages: 2 });
        assert_eq!(listing.mark(MessageNumber::at(2)), absent);
        assert_eq!(listing.mark(MessageNumber::at(usize::MAX)), absent);
        assert!(listing.octets(MessageNumber::at(2)).is_err());
    }

    #[test]
    fn a_cursor_keeps_the_marks_it_began_with() {
        let mut listing = Listing::new(messages(&[1, 2, 3]));
        let before = listing.cursor();
        listing.mark(MessageNumber::at(1)).unwrap();
        assert_eq!(numbers(before), [0, 1, 2]);
        assert_eq!(numbers(listing.cursor()), [0, 2]);
    }

    #[test]
    fn sizes_with_an_overflowing_sum_do_not_wrap() {
        let mut listing = Listing::new(messages(&[u64::MAX, u64::MAX]));
        assert_eq!(listing.visible().octets, u64::MAX);
        listing.mark(MessageNumber::at(0)).unwrap();
        assert_eq!(listing.visible().messages, 1);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// The naive model: one flag per message, with everything counted from scratch each time.
        #[test]
        fn a_listing_equals_a_vector_of_flags(
            octets in vec(0_u64..1_000_000, 0..200),
            marks in vec((any::<bool>(), 0_usize..210), 0..60),
        ) {
            let mut listing = Listing::new(messages(&octets));
            let mut flags = vec![false; octets.len()];
            for (rarely, position) in marks {
                if rarely && position % 20 == 0 {
                    listing.unmark_all();
                    flags.fill(false);
                    continue;
                }
                let marked = listing.mark(MessageNumber::at(position)).is_ok();
                prop_assert_eq!(marked, flags.get(position) == Some(&false));
                if let Some(flag) = flags.get_mut(position) {
                    *flag = true;
                }
                let visible: Vec<usize> = (0..flags.len()).filter(|p| !flags[*p]).collect();
                let hidden: Vec<usize> = (0..flags.len()).filter(|p| flags[*p]).collect();
                let sum = visible.iter().map(|position| octets[*position]).sum();
                prop_assert_eq!(
                    listing.visible(),
                    DropListing { messages: visible.len(), octets: sum }
                );
                prop_assert_eq!(numbers(listing.cursor()), visible);
                let marked = listing.marked();
                prop_assert!(marked.iter().map(|number| number.position()).eq(hidden));
            }
        }
    }
}
