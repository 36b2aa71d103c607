//! Address lists, as they are in the To, Cc and Bcc fields of a message (RFC 5322 §3.4) and on the
//! command line.
//!
//! The scanner finds the addresses of a list between display names, comments, groups and folded
//! lines. It does not decode anything: an encoded word (RFC 2047) is part of a display name. Only
//! [`Address::parse`] decides what is an address.
//!
//! # Invariants
//! - Every entry of a list is in the result, as an address or as a [`Fault`]: no recipient is lost
//!   without a report.
//! - The time is proportional to the length of the text, and the memory too.
//!
//! # Known limits
//! - A `;` outside a group separates addresses like a comma: Outlook writes such lists.
//! - A group without its `;` ends with the list.
//! - Words before an angle bracket are a name, even those that look like an address: many programs
//!   write `a@example.com <a@example.com>`.

use std::fmt;

use crate::mail::{Address, AddressError, Domain, Grammar};

use super::limits;

/// An entry of a list that is not an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The text of the entry.
    pub(super) text: String,
    /// What is wrong.
    pub(super) reason: Reason,
}

/// Why an entry of a list is not an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// The text where the address should be is not one.
    Address(AddressError),
    /// A comment, quoted string, address literal or angle bracket is not closed.
    Open,
    /// There is a name, but no address in angle brackets.
    NameOnly,
    /// There is something else after the angle bracket, or between two addresses.
    NoComma,
    /// It begins with a hyphen, on the command line.
    Option,
    /// The field is not UTF-8.
    NotUtf8,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is not an address: ", quoted(&self.text))?;
        match self.reason {
            Reason::Address(error) => error.fmt(f),
            Reason::Open => f.write_str("a bracket, parenthesis or quotation mark is not closed"),
            Reason::NameOnly => f.write_str("put the address in angle brackets after the name"),
            Reason::NoComma => f.write_str("put a comma between two addresses"),
            Reason::Option => f.write_str("put options before the first recipient"),
            Reason::NotUtf8 => f.write_str("the field is not UTF-8"),
        }
    }
}

/// Text from a message or a reply, on one line and not too long.
pub(super) fn quoted(text: &str) -> String {
    let short: String = text.chars().take(limits::QUOTED_CHARACTERS_MAX).collect();
    short.escape_debug().to_string()
}

/// The addresses of a list; those without a domain get `default_domain`.
pub(super) fn parse(text: &str, default_domain: &Domain) -> Vec<Result<Address, Fault>> {
    let mut scanner = Scanner::new(text);
    scanner.run();
    let parse = |entry: Entry<'_>| {
        let fault = |reason| Fault {
            text: entry.text.trim().to_owned(),
            reason,
        };
        let mut spec = entry.spec.map_err(fault)?;
        if !has_domain(&spec) {
            spec = format!("{spec}@{default_domain}");
        }
        Address::parse(&spec, Grammar::WIDEST).map_err(|error| fault(Reason::Address(error)))
    };
    scanner.entries.into_iter().map(parse).collect()
}

/// Whether there is an `@` outside a quoted string.
fn has_domain(spec: &str) -> bool {
    let (mut is_quoted, mut is_escaped) = (false, false);
    for character in spec.chars() {
        match character {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = is_quoted,
            '"' => is_quoted = !is_quoted,
            '@' if !is_quoted => return true,
            _ => {}
        }
    }
    false
}

/// An entry of a list: its text, and the address in it without comments and blanks.
#[derive(Debug)]
struct Entry<'a> {
    text: &'a str,
    spec: Result<String, Reason>,
}

/// Words outside or inside angle brackets.
#[derive(Debug, Default)]
struct Words {
    /// The words, without the blanks and comments between them.
    joined: String,
    /// A blank or a comment follows the last word.
    has_gap: bool,
    /// Two words are beside each other, so they are a name and not an address.
    is_phrase: bool,
    /// There is an `@` outside quoted strings and encoded words, so they are not a name.
    has_at: bool,
}

impl Words {
    /// Adds a word, or one of the characters that join words in an address or a source route.
    fn push(&mut self, word: &str) {
        let joins = [".", "@", ","].contains(&word);
        let is_joined = joins || self.joined.is_empty() || self.joined.ends_with(['.', '@', ',']);
        self.has_at |= word == "@";
        if self.has_gap && !is_joined {
            self.is_phrase = true;
        }
        self.has_gap = false;
        self.joined.push_str(word);
    }
}

/// The state of a scan.
#[derive(Debug)]
struct Scanner<'a> {
    /// The text from the current entry on.
    entry: &'a str,
    /// The text that is not scanned yet.
    rest: &'a str,
    outside: Words,
    /// The words in angle brackets, if there are such brackets in this entry.
    inside: Option<Words>,
    is_inside: bool,
    fault: Option<Reason>,
    entries: Vec<Entry<'a>>,
}

impl<'a> Scanner<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            entry: text,
            rest: text,
            outside: Words::default(),
            inside: None,
            is_inside: false,
            fault: None,
            entries: Vec::new(),
        }
    }

    fn run(&mut self) {
        while let Some(character) = self.rest.chars().next() {
            match character {
                ' ' | '\t' | '\r' | '\n' => {
                    self.take(1);
                    self.words().has_gap = true;
                }
                '(' => {
                    let octets = comment(self.rest);
                    self.take_closed(octets);
                    self.words().has_gap = true;
                }
                '"' => {
                    let octets = quoted_string(self.rest);
                    let word = self.take_closed(octets);
                    self.push(word);
                }
                '[' if self.words().joined.ends_with('@') => {
                    let octets = literal(self.rest);
                    if octets.is_none() {
                        self.fault.get_or_insert(Reason::Open);
                    }
                    let word = self.take(octets.unwrap_or(1));
                    self.push(word);
                }
                '<' => {
                    self.take(1);
                    if self.inside.is_some() {
                        self.fault.get_or_insert(Reason::NoComma);
                    }
                    self.inside = Some(Words::default());
                    self.is_inside = true;
                }
                '>' => {
                    self.take(1);
                    if !self.is_inside {
                        self.fault.get_or_insert(Reason::Open);
                    }
                    self.is_inside = false;
                }
                ':' => self.colon(),
                ',' if self.is_in_route() => {
                    let comma = self.take(1);
                    self.push(comma);
                }
                ',' | ';' => self.end_entry(1),
                _ => {
                    let octets = encoded_word(self.rest);
                    let is_encoded = octets.is_some();
                    let word = self.take(octets.unwrap_or_else(|| word(self.rest)));
                    self.push(word);
                    // By itself it is not an address either.
                    self.words().is_phrase |= is_encoded;
                }
            }
        }
        self.end_entry(0);
    }

    /// Takes octets from the start of the rest.
    fn take(&mut self, octets: usize) -> &'a str {
        let (taken, rest) = self
            .rest
            .split_at_checked(octets)
            .unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }

    /// Takes a comment or a string, or everything if it is not closed.
    fn take_closed(&mut self, octets: Option<usize>) -> &'a str {
        if octets.is_none() {
            self.fault.get_or_insert(Reason::Open);
        }
        self.take(octets.unwrap_or(self.rest.len()))
    }

    fn words(&mut self) -> &mut Words {
        match &mut self.inside {
            Some(inside) if self.is_inside => inside,
            Some(_) | None => &mut self.outside,
        }
    }

    fn push(&mut self, word: &str) {
        if self.inside.is_some() && !self.is_inside {
            self.fault.get_or_insert(Reason::NoComma);
        }
        self.words().push(word);
    }

    /// Whether the words in angle brackets begin a source route, which has commas.
    fn is_in_route(&self) -> bool {
        let inside = self.inside.as_ref().filter(|_| self.is_inside);
        inside.is_some_and(|words| words.joined.starts_with('@'))
    }

    /// A colon ends the name of a group, or a source route.
    fn colon(&mut self) {
        if self.is_in_route() {
            self.take(1);
            let route = self.inside.replace(Words::default());
            if !route.is_some_and(|route| is_route(&route)) {
                self.fault.get_or_insert(Reason::NoComma);
            }
        } else if self.is_inside || self.inside.is_some() {
            self.take(1);
            self.push(":");
        } else if self.outside.has_at || self.fault.is_some() {
            // It is not the name of a group, but perhaps meant as an address.
            self.fault.get_or_insert(Reason::NoComma);
            self.end_entry(1);
        } else {
            self.take(1);
            self.outside = Words::default();
            self.entry = self.rest;
        }
    }

    /// Ends an entry before a separator of this length.
    fn end_entry(&mut self, separator: usize) {
        let octets = self.entry.len().saturating_sub(self.rest.len());
        let text = self.entry.get(..octets).unwrap_or_default();
        self.take(separator);
        self.entry = self.rest;
        let outside = std::mem::take(&mut self.outside);
        let inside = self.inside.take();
        if std::mem::take(&mut self.is_inside) {
            self.fault.get_or_insert(Reason::Open);
        }
        let fault = self.fault.take();
        let spec = match (fault, inside) {
            (Some(reason), _) => Err(reason),
            (None, Some(inside)) if inside.is_phrase => Err(Reason::NoComma),
            (None, Some(inside)) => Ok(inside.joined),
            // An empty entry: `a@example.com,,`.
            (None, None) if outside.joined.is_empty() => return,
            (None, None) if outside.is_phrase && outside.joined.contains('@') => {
                Err(Reason::NoComma)
            }
            (None, None) if outside.is_phrase => Err(Reason::NameOnly),
            (None, None) => Ok(outside.joined),
        };
        self.entries.push(Entry { text, spec });
    }
}

/// Whether these words are a source route (RFC 5322 §4.4), and not addresses with commas.
fn is_route(words: &Words) -> bool {
    let is_domain = |hop: &str| {
        let domain = hop.strip_prefix('@');
        hop.is_empty() || domain.is_some_and(|domain| !domain.contains(['@', '"']))
    };
    !words.is_phrase && words.joined.split(',').all(is_domain)
}

/// The octets of the domain literal at the start of `text` (RFC 5322 §3.4.1).
fn literal(text: &str) -> Option<usize> {
    let inner = text.get(1..)?;
    let end = inner.find(['[', ']', '\\'])?;
    let is_closed = inner.get(end..)?.starts_with(']');
    is_closed.then_some(end.saturating_add(2))
}

/// The octets of the comment at the start of `text`; comments can be nested.
fn comment(text: &str) -> Option<usize> {
    let mut depth: usize = 0;
    let mut is_escaped = false;
    for (at, octet) in text.bytes().enumerate() {
        match octet {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'(' => depth = depth.saturating_add(1),
            b')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at.checked_add(1);
                }
            }
            _ => {}
        }
    }
    None
}

/// The octets of the quoted string at the start of `text`.
fn quoted_string(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    for (at, octet) in text.bytes().enumerate().skip(1) {
        match octet {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at.checked_add(1),
            _ => {}
        }
    }
    None
}

/// The octets of the encoded word (RFC 2047 §2) at the start of `text`. Some programs write commas
/// and other special characters in it.
fn encoded_word(text: &str) -> Option<usize> {
    let mut characters = text.char_indices();
    let end = characters.nth(limits::ENCODED_WORD_CHARACTERS_MAX);
    let text = text.get(..end.map_or(text.len(), |(at, _)| at))?;
    let inner = text.strip_prefix("=?")?;
    let end = inner.find([' ', '\t', '\r', '\n']).unwrap_or(inner.len());
    let inner = inner.get(..end)?;
    let (charset, inner) = inner.split_once('?')?;
    let (encoding, inner) = inner.split_once('?')?;
    let octets = inner.find("?=")?;
    let parts = [2, charset.len(), 1, encoding.len(), 1, octets, 2];
    Some(parts.iter().sum())
}

/// The octets of the word at the start of `text`: an atom, or one character that joins atoms.
fn word(text: &str) -> usize {
    let ends = [
        ' ', '\t', '\r', '\n', '(', ')', '"', '[', '<', '>', ':', ',', ';', '.', '@',
    ];
    match text.find(ends) {
        Some(0) => 1,
        Some(octets) => octets,
        None => text.len(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> Vec<Result<Address, Fault>> {
        parse(text, &Domain::localhost())
    }

    /// The addresses of a list without faults.
    fn check(text: &str, expect: &[&str]) {
        let found: Result<Vec<String>, Fault> = parsed(text)
            .into_iter()
            .map(|entry| entry.map(|address| address.to_string()))
            .collect();
        let expect: Vec<String> = expect.iter().map(|&it| it.to_owned()).collect();
        assert_eq!(found, Ok(expect), "{text:?}");
    }

    #[test]
    fn addresses_are_found_in_lists() {
        for (text, expect) in [
            ("", &[][..]),
            (" \r\n ,, ", &[]),
            ("bob@example.com", &["bob@example.com"]),
            ("bob", &["bob@localhost"]),
            ("<bob>", &["bob@localhost"]),
            ("a@x, b@y ,c@z", &["a@x", "b@y", "c@z"]),
            ("a@x; b@y", &["a@x", "b@y"]),
            ("Bob Builder <bob@x>, eve@y", &["bob@x", "eve@y"]),
            ("\"Builder, Bob\" <bob@x>", &["bob@x"]),
            ("\"a \\\" <no@x>,\" <bob@x>", &["bob@x"]),
            ("Bob\r\n\t<bob@x>,\r\n eve@y", &["bob@x", "eve@y"]),
            ("bob@x (Bob, the (great) \\) builder)", &["bob@x"]),
            ("(a) bob (b) @ (c) x (d) . (e) y", &["bob@x.y"]),
            ("< bob @ x >", &["bob@x"]),
            ("Friends: a@x, B <b@y>;, c@z", &["a@x", "b@y", "c@z"]),
            ("undisclosed-recipients:;", &[]),
            ("\"quoted name\": a@x;", &["a@x"]),
            ("<@relay,@other:bob@x>", &["bob@x"]),
            ("\"a b\"@x", &["\"a b\"@x"]),
            ("\"a@b\"", &["\"a@b\"@localhost"]),
            ("\"bob\"@x", &["bob@x"]),
            (
                "bob@[127.0.0.1], a@[IPv6:::1]",
                &["bob@[127.0.0.1]", "a@[IPv6:::1]"],
            ),
            ("=?utf-8?Q?M=C3=BCller?= <m@x>", &["m@x"]),
            ("=?utf-8?Q?M=C3=BCller,_<Bob>?= <m@x>", &["m@x"]),
            ("=?utf-8?B?TcO8?= =?utf-8?B?bGxlcg==?= <m@x>", &["m@x"]),
            ("Müller <müller@bücher.example>", &["müller@bücher.example"]),
            ("a..b@x", &["\"a..b\"@x"]),
            ("=?@x", &["=?@x"]),
            ("Bob [dev] <bob@x>, eve@y", &["bob@x", "eve@y"]),
            ("Bob [dev <a@x>, Eve [y] <b@x>", &["a@x", "b@x"]),
            ("=?utf-8?Q?a@b?=: a@x;, \"c@d\": b@x;", &["a@x", "b@x"]),
            ("<@a , @b.c,,@[127.0.0.1] : bob@x>", &["bob@x"]),
        ] {
            check(text, expect);
        }
    }

    #[test]
    fn what_is_not_an_address_is_reported_and_the_others_are_found() {
        for (text, reason) in [
            ("Bob Builder", Reason::NameOnly),
            ("=?utf-8?Q?Bob?=", Reason::NameOnly),
            ("<>", Reason::Address(AddressError::LocalPart)),
            ("Bob <>", Reason::Address(AddressError::LocalPart)),
            ("@x", Reason::Address(AddressError::LocalPart)),
            ("bob@", Reason::Address(AddressError::Domain)),
            ("bob@x y", Reason::NoComma),
            ("bob@x eve@y", Reason::NoComma),
            ("<bob@x> <eve@y>", Reason::NoComma),
            ("<bob@x> eve@y", Reason::NoComma),
            ("<bob@x eve@y>", Reason::NoComma),
            ("<@a b@x, c@x, d@x:e@x>", Reason::NoComma),
            ("<@a, b@x:e@x>", Reason::NoComma),
            ("<@a, b@x>", Reason::Address(AddressError::LocalPart)),
            ("bob@[x", Reason::Open),
            ("bob@[x\\]", Reason::Open),
            ("bob@x>", Reason::Open),
            ("<bob@x", Reason::Open),
            ("a\u{7}b@x", Reason::Address(AddressError::LocalPart)),
            ("bob@[1.2.3.4.5]", Reason::Address(AddressError::Literal)),
        ] {
            let found = parsed(&format!("a@x, {text}, c@z"));
            assert_eq!(found.len(), 3, "{text:?}: {found:?}");
            let fault = found[1].as_ref().unwrap_err();
            assert_eq!((fault.text.as_str(), fault.reason), (text, reason));
            assert_eq!(fault.to_string().lines().count(), 1, "{fault}");
            assert!(found[0].is_ok() && found[2].is_ok(), "{found:?}");
        }
        // What is not closed takes the rest of the list with it.
        for text in ["(bob@x, c@z", "\"bob@x, c@z"] {
            let found = parsed(&format!("a@x, {text}"));
            let fault = found[1].as_ref().unwrap_err();
            assert_eq!((found.len(), fault.reason), (2, Reason::Open), "{text}");
        }
    }

    #[test]
    fn an_address_is_not_the_name_of_a_group() {
        for (text, fault) in [
            ("b@y: c@z", "b@y"),
            ("B b@y: c@z;", "B b@y"),
            ("b>: c@z", "b>"),
        ] {
            let found = parsed(&format!("a@x, {text}"));
            assert_eq!(found.len(), 3, "{text:?}: {found:?}");
            assert_eq!(found[1].as_ref().unwrap_err().text.trim(), fault);
            assert!(found[0].is_ok() && found[2].is_ok(), "{found:?}");
        }
    }

    /// If the time were not proportional to the length, this would take hours.
    #[test]
    fn a_long_list_of_anything_is_scanned_in_one_go() {
        for piece in [
            "=?a?,", "=?", "=?a?b?", "[", "@[", "@[a\\", "(", "\"", "<@", "<@a:", ":", "a@", "@,",
            "\r", "é",
        ] {
            let text = piece.repeat(300_000_usize.div_euclid(piece.len()));
            let found = parsed(&text);
            assert!(found.len() <= text.len(), "{piece}");
        }
    }

    proptest! {
        /// SEC-19: no list makes it panic, every address can be written into a command, and no
        /// entry disappears.
        #[test]
        fn every_entry_is_an_address_or_a_fault(
            text in "([a-zé@.<>()\\[\\]:;,\"\\\\ \r\n\t?=]|=\\?u\\?Q\\?|a@x|\u{0}){0,40}",
        ) {
            let found = parsed(&text);
            for address in found.iter().flatten() {
                let written = address.to_string();
                prop_assert_eq!(&Address::parse(&written, Grammar::WIDEST).unwrap(), address);
                prop_assert!(!written.contains(['\r', '\n', '\0']));
            }
            let appended = parsed(&format!("{text},zed@x"));
            if found.iter().all(Result::is_ok) {
                prop_assert_eq!(appended.len(), found.len().saturating_add(1), "{:?}", text);
            }
        }

        /// Every address is in the result, except one in the place of a name before a bracket.
        #[test]
        fn no_address_is_lost(
            pieces in proptest::collection::vec("[ ,;:>\\[\\].\r]|,<|,<@r[:,]|Bob|@r|A|A|A", 0..20),
        ) {
            let mut text = String::new();
            for (n, piece) in pieces.iter().enumerate() {
                text.push_str(&piece.replace('A', &format!("a{n}z@x")));
            }
            let found: Vec<String> = parsed(&text)
                .into_iter()
                .map(|entry| entry.map_or_else(|fault| fault.text, |it| it.to_string()))
                .collect();
            let addresses = pieces.iter().enumerate().filter(|(_, piece)| *piece == "A");
            for (n, _) in addresses {
                let address = format!("a{n}z");
                let is_found = found.iter().any(|entry| entry.contains(&address));
                prop_assert!(is_found, "{} in {:?}: {:?}", address, text, found);
            }
        }

        /// What is written as a list is found again.
        #[test]
        fn written_lists_are_read_again(
            names in proptest::collection::vec("[a-z]{1,5}", 1..8),
            style in 0..4_usize,
        ) {
            let written = |name: &String| match style {
                0 => format!("{name}@x"),
                1 => format!("\"{name}, <b> (c)\" <{name}@x>"),
                2 => format!("{name} (a, comment) @x\r\n "),
                _ => format!("g: {name}@x;"),
            };
            let list: Vec<String> = names.iter().map(written).collect();
            let expect: Vec<String> = names.iter().map(|name| format!("{name}@x")).collect();
            let found: Vec<String> = parsed(&list.join(","))
                .into_iter()
                .map(|entry| entry.unwrap().to_string())
                .collect();
            prop_assert_eq!(found, expect);
        }
    }
}
