//! The words of a search.
//!
//! A message is found if every word applies to it. A word is
//!
//! | Word | Applies to a message |
//! |---|---|
//! | `hello`, `"hello world"` | with this text in its From, To or Subject, or in its text |
//! | `from:` `to:` `cc:` `bcc:` `reply-to:` `subject:` `message-id:` | with this text there |
//! | `addressed:` | with this text in any of From, To, Cc, Bcc and Reply-To |
//! | `mailbox:` | in a mailbox with this text in its address |
//! | `after:` `before:` | that arrived then: `2026-01-31`, `2026-01-31T12:00Z`, or `2h` ago |
//! | `larger:` `smaller:` | of that size in octets: `1000`, `20k`, `3M` |
//! | `has:attachment`, `is:read`, `is:unread` | that has one, or was or was not read |
//!
//! `-` or `!` in front negates a word. Upper and lower case are the same. A colon means nothing in
//! any other word, such as `12:30`. Words for what this program does not have, such as `tag:`, are
//! errors: they would find everything or nothing. So is what looks like one of the words above with
//! a mistake in it: `!form:bob` would find the mail that `!from:bob` does not, and somebody may
//! remove what is found. In quotation marks each of these is text.

use std::{borrow::Cow, error::Error as StdError, fmt};

use jiff::{Timestamp, civil, tz::TimeZone};

use super::limits::{KEY_OCTETS, SEARCH_OCTETS_MAX, WORDS_MAX};

/// A part of a message in which text is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// The author.
    From,
    /// The recipients in To.
    To,
    /// The recipients in Cc.
    Cc,
    /// The mailboxes that no header field names.
    Bcc,
    /// Where replies go.
    ReplyTo,
    /// All of the above.
    Addressed,
    /// The subject.
    Subject,
    /// The Message-ID.
    MessageId,
    /// The mailboxes that have the message.
    Mailbox,
}

/// The words that begin with a field.
const FIELDS: [(&str, Field); 9] = [
    ("from", Field::From),
    ("to", Field::To),
    ("cc", Field::Cc),
    ("bcc", Field::Bcc),
    ("reply-to", Field::ReplyTo),
    ("addressed", Field::Addressed),
    ("subject", Field::Subject),
    ("message-id", Field::MessageId),
    ("mailbox", Field::Mailbox),
];

/// What a word asks of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Criterion {
    /// This text, in lower case, anywhere.
    Text(String),
    /// This text, in lower case, in a field.
    In(Field, String),
    /// It arrived at this time or later, in seconds since 1970.
    After(i64),
    /// It arrived before this time, in seconds since 1970.
    Before(i64),
    /// It has more octets.
    Larger(u64),
    /// It has fewer octets.
    Smaller(u64),
    /// It has an attachment.
    HasAttachment,
    /// Somebody has read it, or nobody has.
    IsRead(bool),
}

/// One word of a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Word {
    /// What it asks.
    pub criterion: Criterion,
    /// Whether it must not apply.
    pub is_negated: bool,
}

/// A search: a message is found if every word applies to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Words(Vec<Word>);

/// What words are compared with.
pub trait Searched {
    /// Whether `text`, in lower case, is in `field`.
    fn has_in(&self, field: Field, text: &str) -> bool;

    /// Whether `text`, in lower case, is in From, To or Subject, or in the readable text. The last
    /// is expensive, so it is asked last.
    fn has_text(&self, text: &str) -> bool;

    /// When it arrived, in seconds since 1970.
    fn arrived(&self) -> i64;

    /// Its size.
    fn octets(&self) -> u64;

    /// Whether it has an attachment.
    fn has_attachment(&self) -> bool;

    /// Whether somebody has read it.
    fn is_read(&self) -> bool;
}

/// The present, for words that count from it.
#[derive(Clone, Debug)]
pub struct Present {
    /// Seconds since 1970.
    pub unix_seconds: i64,
    /// The zone of days that are named without one.
    pub zone: TimeZone,
}

/// A word that cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WordError {
    word: String,
    why: Why,
}

/// Why a word cannot be understood, and what to write.
type Why = Cow<'static, str>;

impl fmt::Display for WordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { word, why } = self;
        write!(f, "the search {word:?} is not possible: {why}")
    }
}

impl StdError for WordError {}

impl Words {
    /// Reads a search as a person types it. No words find every message.
    ///
    /// # Errors
    /// [`WordError`]: tell the person.
    pub fn parse(text: &str, present: &Present) -> Result<Self, WordError> {
        let fail = |word: &str, why| WordError {
            word: word.chars().take(80).collect(),
            why,
        };
        if text.len() > SEARCH_OCTETS_MAX {
            return Err(fail(text, "it is too long; shorten it".into()));
        }
        let mut words = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let (word, after) = split(rest);
            rest = after.trim_start();
            if words.len() >= WORDS_MAX {
                return Err(fail(text, "it has too many words; leave some out".into()));
            }
            let parsed = Word::parse(word, present).map_err(|why| fail(word, why))?;
            words.extend(parsed);
        }
        // What is expensive to check comes last.
        words.sort_by_key(|word: &Word| matches!(word.criterion, Criterion::Text(_)));
        Ok(Self(words))
    }

    /// Whether every word applies to `message`.
    pub fn find(&self, message: &impl Searched) -> bool {
        let mut words = self.0.iter();
        words.all(|word| word.applies_to(message) != word.is_negated)
    }

    /// The words.
    pub fn as_slice(&self) -> &[Word] {
        &self.0
    }
}

/// The first word of `text` and the rest. Quotation marks keep spaces within a word.
fn split(text: &str) -> (&str, &str) {
    let mut is_quoted = false;
    let end = text.find(|character: char| {
        is_quoted ^= character == '"';
        !is_quoted && character.is_whitespace()
    });
    text.split_at(end.unwrap_or(text.len()))
}

impl Word {
    /// Reads one word; `None` if there is nothing in it.
    fn parse(text: &str, present: &Present) -> Result<Option<Self>, Why> {
        let stripped = text.strip_prefix(['-', '!']);
        let is_negated = stripped.is_some();
        let text = stripped.unwrap_or(text);
        let keyword = text.split_once(':').map(|(key, value)| {
            let value = unquoted(value);
            (key.to_ascii_lowercase(), value)
        });
        let keyword = match &keyword {
            Some((key, value)) => match criterion(key, value, present)? {
                None if is_mistaken(key, is_negated) => return Err(not_a_word(key)),
                found => found,
            },
            None => None,
        };
        let criterion = match keyword {
            Some(criterion) => criterion,
            None => Criterion::Text(unquoted(text)),
        };
        let is_empty = matches!(&criterion, Criterion::Text(text) if text.is_empty());
        Ok((!is_empty).then_some(Self {
            criterion,
            is_negated,
        }))
    }

    fn applies_to(&self, message: &impl Searched) -> bool {
        match &self.criterion {
            Criterion::Text(text) => message.has_text(text),
            Criterion::In(field, text) => message.has_in(*field, text),
            Criterion::After(time) => message.arrived() >= *time,
            Criterion::Before(time) => message.arrived() < *time,
            Criterion::Larger(octets) => message.octets() > *octets,
            Criterion::Smaller(octets) => message.octets() < *octets,
            Criterion::HasAttachment => message.has_attachment(),
            Criterion::IsRead(wanted) => message.is_read() == *wanted,
        }
    }
}

/// Lower case, without quotation marks.
fn unquoted(text: &str) -> String {
    text.replace('"', "").to_lowercase()
}

/// The keys of all words that have one.
fn keys() -> impl Iterator<Item = &'static str> {
    let others = ["after", "before", "larger", "smaller", "has", "is"];
    FIELDS.into_iter().map(|(key, _)| key).chain(others)
}

/// The key that is nearly `key`, if it is long enough to tell.
fn meant(key: &str) -> Option<&'static str> {
    let is_near = |it: &&str| strsim::osa_distance(it, key) == 1;
    keys().filter(|_| key.len() >= KEY_OCTETS).find(is_near)
}

/// Whether `key:`, which is no key of a word, is a mistake. A negated word with a mistake finds
/// nearly everything, so there any key with letters is one, unless the colon is in quotation marks.
fn is_mistaken(key: &str, is_negated: bool) -> bool {
    let is_quoted = key.matches('"').count() % 2 == 1;
    let has_letters = key.contains(char::is_alphabetic);
    !is_quoted && has_letters && (is_negated || meant(key).is_some())
}

fn not_a_word(key: &str) -> Why {
    let advice = match meant(key) {
        Some(meant) => format!("write {meant}: if you mean that"),
        None => format!("there is no {key:?} to search in"),
    };
    Why::from(format!(
        "{advice}; put the word in quotation marks to search for it as text"
    ))
}

/// The meaning of `key:value`; `None` if the colon means nothing.
fn criterion(key: &str, value: &str, present: &Present) -> Result<Option<Criterion>, Why> {
    const SIZE: &str = "write a size as in larger:1000, larger:20k or larger:3M";
    const TIME: &str = "write a day or an age, as in after:2026-01-31 or after:2h";
    if let Some((_, field)) = FIELDS.iter().find(|(name, _)| *name == key) {
        if value.is_empty() {
            return Err("nothing follows the colon; write for instance subject:hello".into());
        }
        return Ok(Some(Criterion::In(*field, value.to_owned())));
    }
    Ok(Some(match (key, value) {
        ("after", _) => Criterion::After(moment(value, present).ok_or(TIME)?),
        ("before", _) => Criterion::Before(moment(value, present).ok_or(TIME)?),
        ("larger", _) => Criterion::Larger(octets(value).ok_or(SIZE)?),
        ("smaller", _) => Criterion::Smaller(octets(value).ok_or(SIZE)?),
        ("has", "attachment" | "attachments") => Criterion::HasAttachment,
        ("is", "read") => Criterion::IsRead(true),
        ("is", "unread") => Criterion::IsRead(false),
        ("is", "tagged") | ("tag", _) => {
            return Err("messages have no tags here; leave it out".into());
        }
        ("has", _) => return Err("write has:attachment".into()),
        ("is", _) => return Err("write is:read or is:unread".into()),
        _ => return Ok(None),
    }))
}

/// A size with an optional unit of 1,024 or 1,048,576 octets.
fn octets(text: &str) -> Option<u64> {
    let text = text.strip_suffix('b').unwrap_or(text);
    let (digits, unit) = match text.strip_suffix('k') {
        Some(digits) => (digits, 1_024),
        None => match text.strip_suffix('m') {
            Some(digits) => (digits, 1_048_576),
            None => (text, 1),
        },
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

/// A day, a moment, or an age, such as `2026-01-31`, `2026-01-31T12:00Z` or `10m`; in seconds since
/// 1970.
pub fn moment(text: &str, present: &Present) -> Option<i64> {
    let text = text.to_uppercase();
    if let Ok(moment) = text.parse::<Timestamp>() {
        return Some(moment.as_second());
    }
    if let Ok(day) = text.parse::<civil::Date>() {
        let midnight = day.to_zoned(present.zone.clone()).ok()?;
        return Some(midnight.timestamp().as_second());
    }
    let seconds = age(&text)?;
    present.unix_seconds.checked_sub(seconds)
}

/// A number of seconds, minutes, hours or days.
fn age(text: &str) -> Option<i64> {
    const UNITS: [(char, u32); 4] = [('S', 1), ('M', 60), ('H', 3_600), ('D', 86_400)];
    let of = |(unit, seconds): (char, u32)| Some((text.strip_suffix(unit)?, seconds));
    let (digits, seconds) = UNITS.into_iter().find_map(of)?;
    digits
        .parse::<u32>()
        .ok()
        .map(i64::from)?
        .checked_mul(i64::from(seconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<Vec<Word>, String> {
        let present = Present {
            unix_seconds: 1_800_000_000,
            zone: TimeZone::fixed(jiff::tz::offset(1)),
        };
        let words = Words::parse(text, &present).map_err(|error| error.to_string())?;
        Ok(words.as_slice().to_vec())
    }

    fn one(text: &str) -> Criterion {
        let words = parse(text).unwrap();
        let [word] = words.as_slice() else {
            panic!("{text}: {words:?}")
        };
        assert!(!word.is_negated, "{text}");
        word.criterion.clone()
    }

    #[test]
    fn each_keyword_has_its_meaning() {
        let text = |text: &str| Criterion::Text(text.to_owned());
        let within = |field, text: &str| Criterion::In(field, text.to_owned());
        for (word, criterion) in [
            ("Hello", text("hello")),
            ("\"Hello  World\"", text("hello  world")),
            ("12:30", text("12:30")),
            ("Re:", text("re:")),
            ("\"from:bob\"", text("from:bob")),
            ("from:Bob", within(Field::From, "bob")),
            ("TO:\"Bob B.\"", within(Field::To, "bob b.")),
            ("reply-to:x", within(Field::ReplyTo, "x")),
            ("addressed:x", within(Field::Addressed, "x")),
            ("subject:a:b", within(Field::Subject, "a:b")),
            ("message-id:<1@x>", within(Field::MessageId, "<1@x>")),
            ("mailbox:bob@x", within(Field::Mailbox, "bob@x")),
            ("after:1970-01-02", Criterion::After(86_400 - 3_600)),
            ("before:1970-01-01t00:01z", Criterion::Before(60)),
            ("after:2h", Criterion::After(1_800_000_000 - 7_200)),
            ("larger:3", Criterion::Larger(3)),
            ("larger:20K", Criterion::Larger(20_480)),
            ("smaller:3mb", Criterion::Smaller(3_145_728)),
            ("has:attachments", Criterion::HasAttachment),
            ("is:read", Criterion::IsRead(true)),
            ("is:unread", Criterion::IsRead(false)),
            ("\"is:late\"", text("is:late")),
            ("\"form:bob\"", text("form:bob")),
            ("https://a.example", text("https://a.example")),
            ("id:7", text("id:7")),
        ] {
            assert_eq!(one(word), criterion, "{word}");
        }
    }

    #[test]
    fn a_search_has_any_number_of_words_and_the_costly_ones_come_last() {
        assert_eq!(parse("  "), Ok(Vec::new()));
        assert_eq!(parse("- \"\""), Ok(Vec::new()));
        let words = parse("one -subject:\"a b\" !two -12:30 -\"a:b\"").unwrap();
        let found: Vec<_> = words
            .iter()
            .map(|word| (format!("{:?}", word.criterion), word.is_negated))
            .collect();
        let expected = [
            ("In(Subject, \"a b\")", true),
            ("Text(\"one\")", false),
            ("Text(\"two\")", true),
            ("Text(\"12:30\")", true),
            ("Text(\"a:b\")", true),
        ];
        assert_eq!(found, expected.map(|(text, is)| (text.to_owned(), is)));
    }

    #[test]
    fn what_cannot_be_searched_for_is_refused_with_advice() {
        for (text, advice) in [
            ("tag:x", "no tags here"),
            ("is:tagged", "no tags here"),
            ("has:inline", "write has:attachment"),
            ("is:flagged", "write is:read or is:unread"),
            ("form:bob", "write from: if you mean that"),
            ("-mailbx:bob", "write mailbox: if you mean that"),
            (
                "!sender:bob",
                "there is no \"sender\" to search in; put the word in quot",
            ),
            ("!https://a", "put the word in quotation marks"),
            ("-from_:bob", "write from: if you mean that"),
            ("-\"fro\"m:bob", "put the word in quotation marks"),
            ("-\u{fc}ber:x", "put the word in quotation marks"),
            ("from:", "nothing follows the colon"),
            ("after:yesterday", "after:2026-01-31"),
            ("after:99999999999d", "after:2026-01-31"),
            ("larger:big", "larger:20k"),
            ("larger:99999999999999999999", "larger:20k"),
            (&"x ".repeat(WORDS_MAX + 1), "too many words"),
            (&"x".repeat(SEARCH_OCTETS_MAX + 1), "too long"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(advice) && error.len() < 300, "{error}");
        }
    }

    /// A message for the tests: its text, when it arrived, and whether it was read.
    #[derive(Debug)]
    struct Sample(String, i64, bool);

    impl Searched for Sample {
        fn has_in(&self, field: Field, text: &str) -> bool {
            field == Field::Subject && self.0.contains(text)
        }
        fn has_text(&self, text: &str) -> bool {
            self.0.contains(text)
        }
        fn arrived(&self) -> i64 {
            self.1
        }
        fn octets(&self) -> u64 {
            u64::try_from(self.0.len()).unwrap()
        }
        fn has_attachment(&self) -> bool {
            self.0.contains('@')
        }
        fn is_read(&self) -> bool {
            self.2
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,60}") {
            drop(parse(&text));
        }

        #[test]
        fn a_message_is_found_if_every_word_applies(
            words in proptest::collection::vec(0_usize..6, 0..4),
            negated in proptest::collection::vec(any::<bool>(), 4),
            text in "[ab@]{0,4}",
            is_read: bool,
        ) {
            let sample = Sample(text.clone(), 50, is_read);
            let naive: [(&str, bool); 6] = [
                ("a", text.contains('a')),
                ("subject:b", text.contains('b')),
                ("has:attachment", text.contains('@')),
                ("is:unread", !is_read),
                ("larger:2", text.len() > 2),
                ("to:a", false),
            ];
            let mut search = String::new();
            let mut expected = true;
            for (word, is_negated) in words.into_iter().zip(negated) {
                let (word, applies) = naive[word];
                search.push_str(if is_negated { " -" } else { " " });
                search.push_str(word);
                expected &= applies != is_negated;
            }
            let present = Present { unix_seconds: 100, zone: TimeZone::UTC };
            let words = Words::parse(&search, &present).unwrap();
            prop_assert_eq!(words.find(&sample), expected, "{}", search);
        }
    }
}
