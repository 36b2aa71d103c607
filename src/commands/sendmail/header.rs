//! The header section of a message that a program submits: its recipients, and what is added.
//!
//! Nothing changes except this: `-t` removes Bcc fields, missing From, Date and Message-ID fields
//! are added at the end, and lines of a mailbox file (`From alice …`) in front of the header are
//! removed. Postfix does the same.
//!
//! # Theory of operation
//! The section ends at an empty line, or at a line that is neither a field nor a continuation: a
//! program that writes no header begins with the body. An empty line is then inserted. Line endings
//! are not changed here.

use std::ops::Range;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::mail::{Address, Domain};

use super::{
    address_list::{self, Fault, Reason},
    limits,
};

/// A field of a header section.
#[derive(Debug)]
struct Field<'a> {
    name: &'a str,
    /// Everything after the colon, with the line endings.
    body: &'a [u8],
    /// The whole field in the section.
    range: Range<usize>,
}

impl Field<'_> {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// Whether the field is for one of the resent blocks of RFC 5322 §3.6.6.
    fn is_resent(&self) -> bool {
        let begin = self.name.get(..RESENT.len());
        begin.is_some_and(|begin| begin.eq_ignore_ascii_case(RESENT))
    }
}

const RESENT: &str = "Resent-";

/// The beginning of a message, by its parts.
#[derive(Debug)]
pub(super) struct Header<'a> {
    text: &'a [u8],
    fields: Vec<Field<'a>>,
    /// Where the section ends: at an empty line, at the body, or at the end of the text.
    end: usize,
    /// The octets of the empty line.
    separator: usize,
}

/// The fields that are added if they are missing.
#[derive(Clone, Debug)]
pub(super) struct Additions {
    /// The author's address.
    pub(super) address: Address,
    /// The author's name.
    pub(super) name: Option<String>,
    /// The date, in the form of RFC 5322.
    pub(super) date: String,
    /// The Message-ID, without its angle brackets.
    pub(super) message_id: String,
}

impl<'a> Header<'a> {
    /// Finds the fields in the beginning of a message.
    pub(super) fn parse(text: &'a [u8]) -> Self {
        let mut fields: Vec<Field<'a>> = Vec::new();
        let mut at: usize = 0;
        loop {
            let rest = text.get(at..).unwrap_or_default();
            let octets = line_octets(rest);
            let line = rest.get(..octets).unwrap_or_default();
            let end = at.saturating_add(octets);
            let is_empty = matches!(line, b"\n" | b"\r\n");
            if line.is_empty() || is_empty {
                let separator = if is_empty { octets } else { 0 };
                return Self {
                    text,
                    fields,
                    end: at,
                    separator,
                };
            }
            if line.starts_with(b" ") || line.starts_with(b"\t") {
                let Some(field) = fields.last_mut() else {
                    return Self {
                        text,
                        fields,
                        end: at,
                        separator: 0,
                    };
                };
                field.range.end = end;
                let begin = end.saturating_sub(field.body.len()).saturating_sub(octets);
                field.body = text.get(begin..end).unwrap_or_default();
            } else if let Some((name, body)) = name_and_body(line) {
                fields.push(Field {
                    name,
                    body,
                    range: at..end,
                });
            } else if !fields.is_empty() || !is_of_mailbox_file(line) {
                return Self {
                    text,
                    fields,
                    end: at,
                    separator: 0,
                };
            }
            at = end;
        }
    }

    /// Whether the section ends in the text, and does not only stop with it.
    pub(super) fn is_ended(&self) -> bool {
        self.separator > 0 || self.end < self.text.len()
    }

    /// Whether the section has a CR that ends no line: some programs end a line there, so that a
    /// field with recipients could be behind it.
    pub(super) fn has_bare_cr(&self) -> bool {
        let section = self.text.get(..self.end).unwrap_or_default();
        memchr::memchr_iter(b'\r', section)
            .any(|at| section.get(at.saturating_add(1)) != Some(&b'\n'))
    }

    /// The text between a line that is not a field and the next empty line, or the end. Its first
    /// lines may be meant as fields.
    fn block(&self) -> &'a [u8] {
        let text = self.text.get(self.end..).unwrap_or_default();
        let mut octets: usize = 0;
        if self.separator > 0 {
            return &[];
        }
        for line in text.split_inclusive(|&octet| octet == b'\n') {
            if matches!(line, b"\n" | b"\r\n") {
                break;
            }
            octets = octets.saturating_add(line.len());
        }
        text.get(..octets).unwrap_or_default()
    }

    /// Whether an empty line ends the section, or the block of the line that ends it.
    pub(super) fn has_empty_line(&self) -> bool {
        self.end.saturating_add(self.block().len()) < self.text.len()
    }

    /// Whether a line that is not a field hides a Bcc field, which would be sent as a part of the
    /// body.
    pub(super) fn hides_bcc(&self) -> bool {
        self.block()
            .split(|octet| b"\r\n".contains(octet))
            .filter_map(name_and_body)
            .any(|(name, _)| BCC.iter().any(|bcc| name.eq_ignore_ascii_case(bcc)))
    }

    /// The octets of the section, without the empty line.
    pub(super) fn octets(&self) -> usize {
        self.end
    }

    /// The recipients in the header: those of To, Cc and Bcc, or if the message was resent, those
    /// of Resent-To, Resent-Cc and Resent-Bcc.
    pub(super) fn recipients(&self, default_domain: &Domain) -> Vec<Result<Address, Fault>> {
        let is_resent = self.fields.iter().any(Field::is_resent);
        let names = if is_resent {
            ["Resent-To", "Resent-Cc", BCC[1]]
        } else {
            ["To", "Cc", BCC[0]]
        };
        let mut recipients = Vec::new();
        for field in &self.fields {
            if !names.iter().any(|name| field.is(name)) {
                continue;
            }
            match str::from_utf8(field.body) {
                Ok(list) => recipients.extend(address_list::parse(list, default_domain)),
                Err(_) => recipients.push(Err(Fault {
                    text: field.name.to_owned(),
                    reason: Reason::NotUtf8,
                })),
            }
        }
        recipients
    }

    /// The beginning of the message as it is sent: the fields, the additions, the empty line, and
    /// the rest of the text.
    pub(super) fn rewritten(&self, removes_bcc: bool, additions: &Additions) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.text.len());
        for field in &self.fields {
            if removes_bcc && BCC.iter().any(|name| field.is(name)) {
                continue;
            }
            out.extend(self.text.get(field.range.clone()).unwrap_or_default());
        }
        if !out.is_empty() && !out.ends_with(b"\n") {
            out.push(b'\n');
        }
        let mut add = |name: &str, body: &str| {
            if !self.fields.iter().any(|field| field.is(name)) {
                out.extend(format!("{name}: {body}\n").bytes());
            }
        };
        add("From", &additions.author());
        add("Date", &additions.date);
        add("Message-ID", &format!("<{}>", additions.message_id));
        if self.separator == 0 && self.is_ended() {
            out.push(b'\n');
        }
        out.extend(self.text.get(self.end..).unwrap_or_default());
        out
    }
}

const BCC: [&str; 2] = ["Bcc", "Resent-Bcc"];

impl Additions {
    /// The body of a From field.
    fn author(&self) -> String {
        let name = self.name.as_deref().map(phrase).unwrap_or_default();
        if name.is_empty() {
            return self.address.to_string();
        }
        format!("{name} <{}>", self.address)
    }
}

/// A name as it is in a header field: words, a quoted string, or encoded words (RFC 2047).
fn phrase(name: &str) -> String {
    let mut clean = String::new();
    for character in name.chars() {
        let character = if character.is_control() {
            ' '
        } else {
            character
        };
        if clean.len().saturating_add(character.len_utf8()) > limits::FULL_NAME_OCTETS_MAX {
            break;
        }
        clean.push(character);
    }
    let clean = clean.trim();
    let is_atom = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~ ".contains(c);
    if clean.is_ascii() && !clean.contains("=?") {
        if clean.chars().all(is_atom) {
            return clean.to_owned();
        }
        return format!("\"{}\"", clean.replace('\\', "\\\\").replace('"', "\\\""));
    }
    // Pieces of at most 45 octets: an encoded word has at most 75 (RFC 2047 §2).
    let mut pieces = vec![String::new()];
    for character in clean.chars() {
        let is_full = |piece: &String| piece.len().saturating_add(character.len_utf8()) > 45;
        if pieces.last().is_some_and(is_full) {
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push(character);
        }
    }
    let encoded = pieces
        .iter()
        .map(|piece| format!("=?UTF-8?B?{}?=", STANDARD.encode(piece)));
    encoded.collect::<Vec<_>>().join("\n ")
}

/// The octets of the first line, including its ending.
fn line_octets(text: &[u8]) -> usize {
    memchr::memchr(b'\n', text).map_or(text.len(), |at| at.saturating_add(1))
}

/// Splits the first line of a field at its colon (RFC 5322 §2.2). Blanks before it are obsolete.
fn name_and_body(line: &[u8]) -> Option<(&str, &[u8])> {
    let colon = memchr::memchr(b':', line)?;
    let name = str::from_utf8(line.get(..colon)?)
        .ok()?
        .trim_end_matches([' ', '\t']);
    let is_name = !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic());
    let body = line.get(colon.checked_add(1)?..)?;
    is_name.then_some((name, body))
}

/// Whether a line is the separator of messages in an mbox file.
fn is_of_mailbox_file(line: &[u8]) -> bool {
    line.starts_with(b"From ") || line.starts_with(b">From ")
}

/// The octets of `text` as lines with CRLF, before dots are added (RFC 1870 §4).
pub(super) fn size(text: &[u8]) -> u64 {
    let mut size: u64 = 0;
    let mut last = b'\n';
    for &octet in text {
        let is_bare_lf = octet == b'\n' && last != b'\r';
        size = size.saturating_add(if is_bare_lf { 2 } else { 1 });
        last = octet;
    }
    size.saturating_add(if last == b'\n' { 0 } else { 2 })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use crate::mail::Charset;

    use super::*;

    fn additions() -> Additions {
        Additions {
            address: Address::parse("al@x", Charset::Utf8).unwrap(),
            name: Some("Al".to_owned()),
            date: "D".to_owned(),
            message_id: "1@x".to_owned(),
        }
    }

    /// Rewrites with `-t`.
    fn check(text: &str, expect: &str) {
        let rewritten = Header::parse(text.as_bytes()).rewritten(true, &additions());
        assert_eq!(String::from_utf8(rewritten).unwrap(), expect, "{text:?}");
    }

    #[test]
    fn only_what_is_missing_is_added_and_only_bcc_is_removed() {
        let all = "From: Al <al@x>\nDate: D\nMessage-ID: <1@x>\n";
        let whole = "from: b@x\r\nDATE : now\r\nmessage-id: <2@x>\r\nX:\r\n\r\nbody\r\n.\r\n";
        check(whole, whole);
        check("To: b@x\n\nbody\n", &format!("To: b@x\n{all}\nbody\n"));
        check("", all);
        check("\nbody", &format!("{all}\nbody"));
        check("To: b@x", &format!("To: b@x\n{all}"));
        check(
            "Hello Bob\nTo: b@x\n",
            &format!("{all}\nHello Bob\nTo: b@x\n"),
        );
        check("X: 1\nHello\n", &format!("X: 1\n{all}\nHello\n"));
        check(" body\n", &format!("{all}\n body\n"));
        check(
            "Bcc: a@x,\n b@x\nX: 1\nRESENT-BCC: c@x\nBcc2: d@x\n\nBcc: e@x\n",
            &format!("X: 1\nBcc2: d@x\n{all}\nBcc: e@x\n"),
        );
        check("Bcc: a@x\n", all);
        check("From al Mon\n>From b\nX: 1\n\n", &format!("X: 1\n{all}\n"));
        check(
            "X: 1\nFrom al Mon\n",
            &format!("X: 1\n{all}\nFrom al Mon\n"),
        );
        let text = b"Bcc: a@x\n\n";
        let kept = Header::parse(text).rewritten(false, &additions());
        assert!(kept.starts_with(b"Bcc: a@x\n"));
    }

    #[test]
    fn recipients_are_those_of_to_cc_and_bcc() {
        let found = |text: &str| -> Vec<String> {
            let found = Header::parse(text.as_bytes()).recipients(&Domain::localhost());
            found
                .iter()
                .map(|it| it.as_ref().unwrap().to_string())
                .collect()
        };
        let text = "To: a@x,\r\n\tB\r\n <b@x>\r\nSubject: To: no@x\r\nCC: c@x\r\nbcc : d\r\n\
                    From: no@x\r\n\r\nTo: no@x\r\n";
        assert_eq!(found(text), ["a@x", "b@x", "c@x", "d@localhost"]);
        let resent = "To: a@x\nResent-From: b@x\nResent-To: c@x\nResent-Bcc: d@x\nBcc: e@x\n";
        assert_eq!(found(resent), ["c@x", "d@x"]);
        assert!(found("To: friends:;\n").is_empty());
        let latin_1 = Header::parse(b"To: b\xe9@x\n").recipients(&Domain::localhost());
        assert_eq!(latin_1[0].as_ref().unwrap_err().reason, Reason::NotUtf8);
    }

    #[test]
    fn a_bcc_field_behind_another_line_is_found() {
        for (text, is_hidden) in [
            ("To: a@x\njunk\nBCC : b@x\n\n", true),
            ("junk\r\n\tb\r\nresent-bcc:b@x", true),
            ("junk\rBcc: b@x\n", true),
            ("Bcc: b@x\njunk\n\nBcc: b@x\n", false),
            ("To: a@x\r\n\r\nBcc: b@x\r\n", false),
            ("junk\nBcc b@x\n Bcc: b@x\nX-Bcc: b@x\n", false),
            ("", false),
        ] {
            let header = Header::parse(text.as_bytes());
            assert_eq!(header.hides_bcc(), is_hidden, "{text:?}");
        }
        for (text, is_bare) in [
            ("To: a@x\r\n\r\n\r", false),
            ("To: a@x\rTo: b@x\n", true),
            ("To: a@x\r\r\n", true),
            ("To: a@x\r", true),
        ] {
            let header = Header::parse(text.as_bytes());
            assert_eq!(header.has_bare_cr(), is_bare, "{text:?}");
        }
        for (text, is_there) in [("X:\n\n", true), ("X:\na\n\nb", true), ("a\nb\n", false)] {
            assert_eq!(Header::parse(text.as_bytes()).has_empty_line(), is_there);
        }
    }

    #[test]
    fn names_cannot_end_a_field_or_a_quoted_string() {
        for (name, expect) in [
            ("Bob Builder", "Bob Builder"),
            ("Bob (x)", "\"Bob (x)\""),
            ("a \"b\" \\", "\"a \\\"b\\\" \\\\\""),
            ("a\r\nBcc: b@x", "\"a  Bcc: b@x\""),
            ("Müller", "=?UTF-8?B?TcO8bGxlcg==?="),
            ("=?x?=", "=?UTF-8?B?PT94Pz0=?="),
            (" ", ""),
        ] {
            assert_eq!(phrase(name), expect, "{name:?}");
        }
        let long = phrase(&"é".repeat(1_000));
        assert!(long.lines().all(|line| line.len() <= 76), "{long}");
        assert_eq!(long.lines().count(), 6);
        let nameless = Additions {
            name: None,
            ..additions()
        };
        assert_eq!(nameless.author(), "al@x");
    }

    #[test]
    fn the_size_is_that_of_the_content_with_crlf() {
        for (text, expect) in [
            ("", 0),
            ("a", 3),
            ("a\n", 3),
            ("a\r\n.\n", 6),
            ("\r\r\n", 3),
        ] {
            assert_eq!(size(text.as_bytes()), expect, "{text:?}");
        }
    }

    proptest! {
        /// Without `-t`, and with nothing missing, any header and body stay as they are.
        #[test]
        fn a_complete_message_does_not_change(
            lines in proptest::collection::vec("(X: a|Bcc: b@x| b|[a-z .:]{0,9})\r?\n", 0..9),
        ) {
            let text = format!("From: a@x\nDate: D\nMessage-ID: <1@x>\n{}", lines.concat());
            let header = Header::parse(text.as_bytes());
            let rewritten = header.rewritten(false, &additions());
            let rewritten = String::from_utf8(rewritten).unwrap();
            let (begin, end) = text.split_at(header.end);
            prop_assert!(rewritten.starts_with(begin) && rewritten.ends_with(end));
            let inserted = rewritten.len().saturating_sub(text.len());
            prop_assert!(inserted == 0 || (inserted == 1 && header.separator == 0));
        }

        #[test]
        fn no_octets_make_it_panic(text in proptest::collection::vec(0_u8.., 0..200)) {
            let header = Header::parse(&text);
            header.recipients(&Domain::localhost());
            header.rewritten(true, &additions());
            size(&text);
        }
    }
}
