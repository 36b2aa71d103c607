//! Encoded words in header fields (RFC 2047).
//!
//! Accepted beyond the RFC: encoded words anywhere in a text, spaces in them, and characters that
//! are cut in two where one word of a charset ends and the next begins.

use memchr::memmem;

use super::{
    charset::to_text,
    limits,
    transfer::{self, Encoding},
};

/// An encoded word, `=?charset?q?text?=`.
struct Word<'a> {
    charset: &'a [u8],
    octets: Vec<u8>,
}

/// `field`, an unfolded value, with its encoded words decoded. Other octets are UTF-8 or Latin-1.
pub(super) fn decode(field: &[u8]) -> String {
    let mut text = String::new();
    // Words of one charset that follow each other are decoded together.
    let (mut charset, mut octets): (&[u8], Vec<u8>) = (b"", Vec::new());
    let (mut plain, mut rest) = (field, field);
    // No word begins behind the last end of one. Looking for its end again and again would take the
    // square of the time.
    let last = memmem::rfind(field, b"?=").map_or(0, |at| field.len().saturating_sub(at));
    while let Some(at) = memmem::find(rest, b"=?") {
        if rest.len().saturating_sub(at) <= last {
            break;
        }
        let (before, begin) = rest.split_at(at);
        let Some((word, after)) = parse(begin) else {
            rest = begin.get(2..).unwrap_or_default();
            continue;
        };
        let skipped = plain.len().saturating_sub(begin.len());
        let between = plain.get(..skipped).unwrap_or(before);
        let is_adjacent = !charset.is_empty() && between.iter().all(u8::is_ascii_whitespace);
        if !is_adjacent || !charset.eq_ignore_ascii_case(word.charset) {
            flush(&mut text, charset, &mut octets);
        }
        if !is_adjacent {
            text.push_str(&to_text(between, None));
        }
        charset = word.charset;
        octets.extend(word.octets);
        (plain, rest) = (after, after);
    }
    flush(&mut text, charset, &mut octets);
    text.push_str(&to_text(plain, None));
    text
}

fn flush(text: &mut String, charset: &[u8], octets: &mut Vec<u8>) {
    let charset = String::from_utf8_lossy(charset);
    text.push_str(&to_text(octets, Some(&charset)));
    octets.clear();
}

/// The encoded word at the beginning of `octets`, and what follows it.
fn parse(octets: &[u8]) -> Option<(Word<'_>, &[u8])> {
    let octets = octets.strip_prefix(b"=?")?;
    let name = octets.iter().take(limits::WORD_OCTETS_MAX);
    let (charset, rest) = octets.split_at(name.copied().position(|octet| octet == b'?')?);
    let [b'?', encoding, b'?', rest @ ..] = rest else {
        return None;
    };
    // RFC 2231 §5: a language may follow the charset.
    let charset = charset.split(|octet| *octet == b'*').next()?;
    if charset.is_empty() || !charset.iter().all(u8::is_ascii_graphic) {
        return None;
    }
    let is_base64 = encoding.eq_ignore_ascii_case(&b'b');
    if !is_base64 && !encoding.eq_ignore_ascii_case(&b'q') {
        return None;
    }
    let (text, rest) = rest.split_at_checked(memmem::find(rest, b"?=")?)?;
    let octets = if is_base64 {
        transfer::decode(text, Encoding::Base64)
    } else {
        unquote(text)
    };
    Some((Word { charset, octets }, rest.get(2..).unwrap_or_default()))
}

/// `field` with a space in each `=?` that begins no valid word, for a parser that looks for the end
/// of every such word in all of the field.
pub(super) fn disarmed(field: &[u8]) -> Vec<u8> {
    let mut octets = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some(at) = memmem::find(rest, b"=?") {
        let (before, begin) = rest.split_at(at);
        octets.extend_from_slice(before);
        let length = valid_word(begin);
        octets.extend_from_slice(
            length.map_or(b"= ?", |length| begin.get(..length).unwrap_or_default()),
        );
        rest = begin.get(length.unwrap_or(2)..).unwrap_or_default();
    }
    octets.extend_from_slice(rest);
    octets
}

/// The length of the word at the beginning of `octets` if it is one without any fault.
fn valid_word(octets: &[u8]) -> Option<usize> {
    let mut sections = octets.split(|octet| *octet == b'?');
    let (Some(b"="), Some(charset), Some(encoding)) =
        (sections.next(), sections.next(), sections.next())
    else {
        return None;
    };
    let (text, end) = (sections.next()?, sections.next()?);
    let is_valid = match encoding {
        b"q" | b"Q" => {
            let mut digits = text.split(|octet| *octet == b'=').skip(1);
            digits.all(|it| it.get(..2).and_then(transfer::hex).is_some())
        }
        b"b" | b"B" => {
            let is_base64 = |octet: &u8| octet.is_ascii_alphanumeric() || b"+/=".contains(octet);
            text.iter().all(is_base64)
        }
        _ => false,
    };
    let is_named = (2..=limits::WORD_OCTETS_MAX).contains(&charset.len())
        && charset.iter().all(u8::is_ascii_graphic);
    let sections = [charset, encoding, text];
    let length = sections
        .iter()
        .map(|it| it.len().saturating_add(1))
        .sum::<usize>();
    (is_valid && is_named && end.starts_with(b"=")).then(|| length.saturating_add(3))
}

/// The octets of a word in the encoding Q (RFC 2047 §4.2).
fn unquote(mut text: &[u8]) -> Vec<u8> {
    let mut octets = Vec::new();
    while let Some((octet, rest)) = text.split_first() {
        text = rest;
        let digits = text.get(..2).and_then(transfer::hex);
        match (octet, digits) {
            (b'=', Some(decoded)) => {
                octets.push(decoded);
                text = text.get(2..).unwrap_or_default();
            }
            (b'_', _) => octets.push(b' '),
            _ => octets.push(*octet),
        }
    }
    octets
}
