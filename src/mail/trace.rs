//! Trace headers: the lines added at the top of every message at its delivery (RFC 5321 §4.4).
//!
//! [`render`] writes them, and [`is_internationalized`] reads one fact back from a stored message.
//! The message itself is neither read nor changed, and the date comes from the caller.
//!
//! # Invariants
//! - The output is exactly two header fields, `Return-Path` and `Received`, whatever name the
//!   client gave (SEC-7): characters that could end a line, open a comment or look like another
//!   clause are replaced by `?`.
//! - No line is longer than 998 octets, and a line is longer than 78 only if it has a single word
//!   that is (RFC 5322 §2.1.1). `Return-Path` is never folded: programs that read Maildirs look for
//!   the path after the colon.
//!
//! # Failures
//! None: every value is converted to a form that can be written.

use std::{borrow::Cow, fmt::Display, net::IpAddr};

use super::{
    address::{self, ForwardPath, ReversePath},
    envelope::Protocol,
};

/// Octets from the start of a stored message that are enough for [`is_internationalized`].
pub const HEAD_OCTETS: usize = 2048;

/// Octets of the two fields, enough for most messages.
pub const FIELDS_OCTETS: usize = 512;

/// The comment that identifies our own field.
const OWN_COMMENT: &str = "(facteur)";

/// Longest text from one value, in octets: that of a domain (RFC 5321 §4.5.3.1.2).
const WORD_OCTETS_MAX: usize = 255;

/// Preferred maximum length of a line, in octets without the line ending.
const LINE_OCTETS_PREFERRED: usize = 78;

/// The contents of the `Received` field.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The client's name from HELO or EHLO, unchecked.
    pub client_name: &'a str,
    /// The address that it connected from.
    pub client_address: IpAddr,
    /// The name of this host.
    pub hostname: &'a str,
    /// How the message was received.
    pub protocol: Protocol,
    /// The name of the message in the log and the store.
    pub id: &'a str,
    /// The recipient if there is exactly one: several in one field would reveal them to each other
    /// (RFC 5321 §7.2).
    pub forward_path: Option<&'a ForwardPath>,
    /// The date and time in the form of RFC 5322 §3.3.
    pub date: &'a str,
}

/// Appends the two trace header fields to `out`, every line ended by LF.
pub fn render(reverse_path: &ReversePath, received: &Received<'_>, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("Return-Path: {reverse_path}\n").as_bytes());

    let utf8 = received.protocol.utf8;
    let mut field = FoldedField::start("Received:", out);
    field.word("from");
    field.word(client_name(received.client_name, utf8));
    field.word(client_address(received.client_address));
    field.fold();
    field.word("by");
    field.word(atoms(received.hostname, false));
    field.word(OWN_COMMENT);
    field.word("with");
    field.word(received.protocol);
    field.word("id");
    match received.forward_path {
        Some(forward_path) => {
            field.word(atoms(received.id, false));
            field.fold();
            field.word("for");
            field.word(format_args!("{forward_path};"));
        }
        None => field.word(format_args!("{};", atoms(received.id, false))),
    }
    field.word(date(received.date));
    field.end();
}

/// Whether a stored message was sent with SMTPUTF8 (RFC 6531), so that its header can contain
/// UTF-8: whether our own trace header at its top says `with UTF8SMTP`, `with UTF8LMTP`,
/// `with UTF8HTTP` or a longer keyword of these families.
///
/// `head` is the start of the message: [`HEAD_OCTETS`] of it or all, with LF or CRLF line endings.
/// Trace headers of other programs do not count, because they cannot be trusted.
pub fn is_internationalized(head: &[u8]) -> bool {
    let mut lines = head.split(|octet| *octet == b'\n');
    let return_path = lines.next().unwrap_or_default();
    let received = lines.next().unwrap_or_default();
    if !return_path.starts_with(b"Return-Path: <") || !received.starts_with(b"Received: from") {
        return false;
    }
    let folded = lines.take_while(|line| line.starts_with(b"\t"));
    let mut words = [received]
        .into_iter()
        .chain(folded)
        .flat_map(|line| line.split(u8::is_ascii_whitespace))
        .filter(|word| !word.is_empty());
    // The client controls what comes before our comment, but `client_name` cannot produce a
    // comment; what comes after the keyword is not examined.
    words.any(|word| word == OWN_COMMENT.as_bytes())
        && words.next() == Some(b"with")
        && words.next().is_some_and(|keyword| {
            let families: [&[u8]; 3] = [b"UTF8SMTP", b"UTF8LMTP", b"UTF8HTTP"];
            families.iter().any(|family| keyword.starts_with(family))
        })
}

/// Whether a POP3 client has to ask for UTF-8 mode before it may get a stored message
/// (RFC 6856 §2.1): it was sent with SMTPUTF8, and its header section is not all ASCII.
///
/// `head` is as for [`is_internationalized`]; if it does not contain the whole header section, the
/// part that it contains counts. RFC 6856 means every message with UTF-8 in its header. But a
/// message with octets outside ASCII that was sent without SMTPUTF8 never claimed to be UTF-8: it
/// is returned as it came, as servers did before there was such a mode.
pub fn needs_utf8(head: &[u8]) -> bool {
    let mut lines = head.split(|octet| *octet == b'\n');
    is_internationalized(head)
        && lines
            .by_ref()
            .take_while(|line| !matches!(*line, b"" | b"\r"))
            .any(|line| !line.is_ascii())
}

/// A header field being written: words separated by single spaces or folds (RFC 5322 §2.2.3).
struct FoldedField<'a> {
    out: &'a mut Vec<u8>,
    /// Octets in the current line.
    column: usize,
}

impl<'a> FoldedField<'a> {
    /// Starts a field with its name and colon.
    fn start(name: &str, out: &'a mut Vec<u8>) -> Self {
        out.extend_from_slice(name.as_bytes());
        Self {
            out,
            column: name.len(),
        }
    }

    /// Appends a word, in a new line if it does not fit into the current one. A word is never
    /// broken, and an empty one is left out: a line must not be all white space (RFC 5322 §3.2.2).
    fn word(&mut self, word: impl Display) {
        let word = word.to_string();
        if word.is_empty() {
            return;
        }
        let column = self.column.saturating_add(1).saturating_add(word.len());
        // A fold leaves the column at 1, where the word already follows the tab.
        if self.column > 1 && column > LINE_OCTETS_PREFERRED {
            self.fold();
        }
        if self.column > 1 {
            self.out.push(b' ');
            self.column = self.column.saturating_add(1);
        }
        self.out.extend_from_slice(word.as_bytes());
        self.column = self.column.saturating_add(word.len());
    }

    /// Continues in a new line.
    fn fold(&mut self) {
        self.out.extend_from_slice(b"\n\t");
        self.column = 1;
    }

    /// Ends the field.
    fn end(self) {
        self.out.push(b'\n');
    }
}

/// The client's name as a domain or, if it is in brackets, an address literal.
fn client_name(name: &str, utf8: bool) -> Cow<'_, str> {
    match name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
    {
        Some(literal) => Cow::Owned(format!(
            "[{}]",
            replace(literal, |c| c == ':' || is_atom(c))
        )),
        None if name.is_empty() => Cow::Borrowed("unknown"),
        None => atoms(name, utf8),
    }
}

/// The client's address as TCP-info.
fn client_address(address: IpAddr) -> String {
    match address.to_canonical() {
        IpAddr::V4(address) => format!("([{address}])"),
        IpAddr::V6(address) => format!("([IPv6:{address}])"),
    }
}

/// The date without anything that could end a line.
fn date(text: &str) -> Cow<'_, str> {
    replace(text.trim_ascii(), |character| {
        character == ' ' || character.is_ascii_graphic()
    })
}

/// The start of `text`, with `?` for each character that is not allowed in dot-separated atoms.
fn atoms(text: &str, utf8: bool) -> Cow<'_, str> {
    let is_utf8 = |character: char| {
        utf8 && !character.is_ascii() && !character.is_whitespace() && address::is_atext(character)
    };
    replace(text, |character| is_atom(character) || is_utf8(character))
}

/// Whether a character is ASCII and allowed in dot-separated atoms.
fn is_atom(character: char) -> bool {
    character == '.' || (character.is_ascii() && address::is_atext(character))
}

/// Truncates `text` and writes `?` for each character that is not `allowed`.
fn replace(text: &str, allowed: impl Fn(char) -> bool) -> Cow<'_, str> {
    if text.len() <= WORD_OCTETS_MAX && text.chars().all(&allowed) {
        return Cow::Borrowed(text);
    }
    let mut replaced = String::new();
    for character in text.chars() {
        let character = if allowed(character) { character } else { '?' };
        if replaced.len().saturating_add(character.len_utf8()) > WORD_OCTETS_MAX {
            break;
        }
        replaced.push(character);
    }
    Cow::Owned(replaced)
}
