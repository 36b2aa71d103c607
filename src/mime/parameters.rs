//! Fields that consist of a value and parameters: Content-Type (RFC 2045 §5.1) and
//! Content-Disposition (RFC 2183), with continued and encoded parameters (RFC 2231).
//!
//! Accepted beyond the RFCs: encoded words in parameters, which many programs send, and any octets
//! in a value that is not quoted.

use std::borrow::Cow;

use memchr::memmem;

use super::{charset::to_text, limits, transfer, words};

/// A field, parsed.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    /// What precedes the parameters, in lower case.
    pub(super) value: String,
    entries: Vec<Entry>,
}

/// A parameter, or one section of it: `name*section*=value`.
#[derive(Debug)]
struct Entry {
    /// In lower case.
    name: Vec<u8>,
    /// `None` for a parameter that is not continued.
    section: Option<u32>,
    is_encoded: bool,
    value: Vec<u8>,
}

impl Parameters {
    /// Parses `field`, an unfolded value of a field.
    pub(super) fn parse(field: &[u8]) -> Self {
        let (value, mut rest) = token(field);
        let value = String::from_utf8_lossy(&value).to_ascii_lowercase();
        let mut entries = Vec::new();
        while let [b';', next @ ..] = rest {
            if entries.len() >= limits::PARAMETERS_MAX {
                break;
            }
            let (entry, after) = Entry::parse(next);
            entries.extend(entry);
            rest = after;
        }
        Self { value, entries }
    }

    /// The octets of a parameter, not decoded, and not continued.
    pub(super) fn octets(&self, name: &str) -> Option<&[u8]> {
        let mut entries = self.named(name);
        let entry = entries.find(|entry| entry.section.is_none() && !entry.is_encoded)?;
        Some(&entry.value)
    }

    /// The text of a parameter; one that is encoded is preferred to one that is not.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        let is_extended = |entry: &&Entry| entry.is_encoded || entry.section.is_some();
        let mut sections: Vec<&Entry> = self.named(name).filter(is_extended).collect();
        sections.sort_by_key(|entry| entry.section);
        let Some(first) = sections.first() else {
            return self.octets(name).map(words::decode);
        };
        let (charset, language_and_value) = match split_at_quote(&first.value) {
            Some((charset, rest)) if first.is_encoded => (Some(charset), rest),
            _ => (None, first.value.as_slice()),
        };
        let value = match split_at_quote(language_and_value) {
            Some((_, value)) if charset.is_some() => value,
            _ => language_and_value,
        };
        let mut octets = first.decode(value).into_owned();
        for entry in sections.iter().skip(1) {
            octets.extend_from_slice(&entry.decode(&entry.value));
        }
        let Some(charset) = charset else {
            return Some(words::decode(&octets));
        };
        Some(to_text(&octets, Some(&String::from_utf8_lossy(charset))))
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Entry> {
        let entries = self.entries.iter();
        entries.filter(move |entry| entry.name == name.as_bytes())
    }
}

impl Entry {
    /// The parameter at the beginning of `octets`, and what follows it: the rest of the field from
    /// its next semicolon.
    fn parse(octets: &[u8]) -> (Option<Self>, &[u8]) {
        let is_end = |octet: &u8| matches!(octet, b'=' | b';');
        let end = octets.iter().position(is_end).unwrap_or(octets.len());
        let (name, rest) = octets.split_at(end);
        let [b'=', rest @ ..] = rest else {
            return (None, rest);
        };
        let (value, rest) = match rest.trim_ascii_start() {
            [b'"', quoted @ ..] => quoted_string(quoted),
            _ => token(rest),
        };
        let name = name.trim_ascii().to_ascii_lowercase();
        let (name, is_encoded) = match name.strip_suffix(b"*") {
            Some(name) => (name, true),
            None => (name.as_slice(), false),
        };
        let star = name.iter().position(|octet| *octet == b'*');
        let (name, section) = match star.and_then(|star| name.split_at_checked(star)) {
            Some((name, [_, digits @ ..])) => {
                let section = str::from_utf8(digits).ok().and_then(|it| it.parse().ok());
                (name, Some(section))
            }
            _ => (name, None),
        };
        // A section without a number is none.
        let entry = (section != Some(None)).then(|| Self {
            name: name.to_vec(),
            section: section.flatten(),
            is_encoded,
            value,
        });
        (entry, rest)
    }

    /// `value`, all or a part of the value of this section, with `%` and two digits decoded where
    /// the section is encoded.
    fn decode<'a>(&self, value: &'a [u8]) -> Cow<'a, [u8]> {
        if !self.is_encoded {
            return value.into();
        }
        let (mut octets, mut rest) = (Vec::new(), value);
        while let Some((octet, after)) = rest.split_first() {
            rest = after;
            match rest.get(..2).and_then(transfer::hex) {
                Some(decoded) if *octet == b'%' => {
                    octets.push(decoded);
                    rest = rest.get(2..).unwrap_or_default();
                }
                _ => octets.push(*octet),
            }
        }
        octets.into()
    }
}

/// The octets before the first apostrophe, and those behind it.
fn split_at_quote(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = octets.iter().position(|octet| *octet == b'\'')?;
    let (before, after) = octets.split_at(at);
    Some((before, after.get(1..).unwrap_or_default()))
}

/// The octets up to the next semicolon, without a comment behind them and white space around them.
fn token(octets: &[u8]) -> (Vec<u8>, &[u8]) {
    let end = octets.iter().position(|octet| *octet == b';');
    let (token, rest) = octets.split_at(end.unwrap_or(octets.len()));
    let token = token.trim_ascii();
    // A file name without quotes may contain parentheses.
    let comment = memmem::find(token, b" (").filter(|_| token.ends_with(b")"));
    let token = comment.and_then(|at| token.get(..at)).unwrap_or(token);
    (token.trim_ascii().to_vec(), rest)
}

/// The content of a quoted string whose first quote was read, and the rest of the field from its
/// next semicolon. Without a second quote it extends to the end.
fn quoted_string(octets: &[u8]) -> (Vec<u8>, &[u8]) {
    let (mut content, mut rest) = (Vec::new(), octets);
    while let Some((octet, after)) = rest.split_first() {
        rest = after;
        match (octet, rest) {
            (b'"', _) => break,
            (b'\\', [escaped @ (b'"' | b'\\'), after @ ..]) => {
                content.push(*escaped);
                rest = after;
            }
            _ => content.push(*octet),
        }
    }
    let end = rest.iter().position(|octet| *octet == b';');
    (content, rest.split_at(end.unwrap_or(rest.len())).1)
}
