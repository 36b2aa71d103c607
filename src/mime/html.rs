//! HTML, as far as it has to be understood to find its text and its links.
//!
//! Nothing here is a judgement of what is safe to show: HTML is isolated, not cleaned.

use super::{guarded, limits};

/// A piece of an HTML text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// Text between tags, with references to characters.
    Text(&'a str),
    /// The beginning of an element: its name as it was written, and its attributes.
    Begin(&'a str, &'a str),
    /// The end of an element.
    End(&'a str),
}

/// The text and the tags in `html`, in order, without comments and what is in scripts and styles.
///
/// What has no end, such as a comment or a tag, extends to the end of the text, as in browsers;
/// that keeps the time linear, too.
pub(super) fn tokens(html: &str) -> impl Iterator<Item = Token<'_>> {
    let mut rest = html;
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let (token, after) = next(rest);
            rest = after;
            if let Some(Token::Begin(name, _)) = token
                && ["script", "style", "title"]
                    .iter()
                    .any(|raw| name.eq_ignore_ascii_case(raw))
            {
                rest = behind(rest, name);
            }
            if token.is_some() {
                return token;
            }
        }
        None
    })
}

/// The token at the beginning of `html`, `None` for a comment, and what follows it.
fn next(html: &str) -> (Option<Token<'_>>, &str) {
    let end_of = |end: &str| html.find(end).map(|at| at.saturating_add(end.len()));
    let split = |end: Option<usize>| split(html, end.unwrap_or(html.len()));
    match html.as_bytes() {
        [b'<', b'!', b'-', b'-', ..] => (None, split(end_of("-->")).1),
        [b'<', b'!' | b'?', ..] => (None, split(end_of(">")).1),
        [b'<', b'/', first, ..] if first.is_ascii_alphabetic() => {
            let (tag, after) = split(end_of(">"));
            let (name, _) = name(tag.get(2..).unwrap_or_default());
            (Some(Token::End(name)), after)
        }
        [b'<', first, ..] if first.is_ascii_alphabetic() => {
            let Some(end) = end_of_tag(html) else {
                return (None, "");
            };
            let (tag, after) = split(Some(end));
            let tag = tag.strip_suffix('>').unwrap_or(tag);
            let (name, attributes) = name(tag.get(1..).unwrap_or_default());
            (Some(Token::Begin(name, attributes)), after)
        }
        _ => {
            let end = html.bytes().skip(1).position(|octet| octet == b'<');
            let (text, after) = split(end.map(|at| at.saturating_add(1)));
            (Some(Token::Text(text)), after)
        }
    }
}

/// What follows the end of the element `name`, whose content is not HTML.
fn behind<'a>(html: &'a str, name: &str) -> &'a str {
    let is_end = |at: &usize| {
        let tag = html.as_bytes().get(*at..).unwrap_or_default();
        let begin = tag.strip_prefix(b"</").and_then(|it| it.get(..name.len()));
        begin.is_some_and(|it| it.eq_ignore_ascii_case(name.as_bytes()))
    };
    let end = memchr::memchr_iter(b'<', html.as_bytes()).find(is_end);
    split(html, end.unwrap_or(html.len())).1
}

/// The length of the tag at the beginning of `html`, with its `>`. One in quotes does not count.
fn end_of_tag(html: &str) -> Option<usize> {
    let (mut quote, mut may_quote) = (None, false);
    for (at, octet) in html.bytes().enumerate() {
        match (quote, octet) {
            (Some(quoted), _) if quoted == octet => (quote, may_quote) = (None, false),
            (Some(_), _) => {}
            (None, b'>') => return Some(at.saturating_add(1)),
            (None, b'"' | b'\'') if may_quote => quote = Some(octet),
            (None, b'=') => may_quote = true,
            (None, _) => may_quote = may_quote && octet.is_ascii_whitespace(),
        }
    }
    None
}

/// The name at the beginning of a tag, and its attributes.
fn name(tag: &str) -> (&str, &str) {
    let is_end = |c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>');
    split(tag, tag.find(is_end).unwrap_or(tag.len()))
}

/// The value of the first attribute with this name, with references to characters.
pub(super) fn attribute<'a>(attributes: &'a str, wanted: &str) -> Option<&'a str> {
    let is_between = |c: char| c.is_ascii_whitespace() || c == '/';
    let mut rest = attributes;
    loop {
        rest = rest.trim_start_matches(is_between);
        if rest.is_empty() {
            return None;
        }
        let is_end = |c: char| is_between(c) || c == '=';
        // A name may begin with an equals sign, so something is always taken.
        let begin = rest.chars().next().map_or(0, char::len_utf8);
        let end = rest.get(begin..).and_then(|it| it.find(is_end));
        let end = end.map_or(rest.len(), |end| end.saturating_add(begin));
        let (name, after) = split(rest, end);
        let Some(value) = after.trim_ascii_start().strip_prefix('=') else {
            rest = after;
            continue;
        };
        let value = value.trim_ascii_start();
        let (value, after) = if let Some(quote @ ('"' | '\'')) = value.chars().next() {
            let value = value.strip_prefix(quote).unwrap_or_default();
            let (value, after) = split(value, value.find(quote).unwrap_or(value.len()));
            (value, after.strip_prefix(quote).unwrap_or(after))
        } else {
            let end = value.find(|c: char| c.is_ascii_whitespace());
            split(value, end.unwrap_or(value.len()))
        };
        if name.eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = after;
    }
}

/// `text` with references such as `&amp;` and `&#38;` replaced by their characters.
pub(super) fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, begin) = split(rest, at);
        plain.push_str(before);
        let octets = begin.bytes().take(limits::REFERENCE_OCTETS_MAX);
        let end = octets.skip(1).position(|octet| !is_reference(octet));
        let end = end.map_or(begin.len(), |end| end.saturating_add(1));
        let (name, after) = split(begin, end);
        if let Some(after) = after.strip_prefix(';') {
            guarded::reference(&[name, ";"].concat(), &mut plain);
            rest = after;
        } else {
            plain.push_str(name);
            rest = after;
        }
    }
    plain.push_str(rest);
    plain
}

fn is_reference(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || octet == b'#'
}

/// The readable text of `html`: without tags, styles, scripts and the title, with white space
/// folded, and with a line for each paragraph, line break, row of a table or item of a list.
pub fn html_to_text(html: &str) -> String {
    let mut text = String::new();
    let mut is_space_due = false;
    for token in tokens(html) {
        match token {
            Token::Text(piece) => {
                for c in unescape(piece).chars() {
                    if c.is_whitespace() {
                        is_space_due = true;
                        continue;
                    }
                    if is_space_due && !text.is_empty() && !text.ends_with('\n') {
                        text.push(' ');
                    }
                    is_space_due = false;
                    text.push(c);
                }
            }
            Token::Begin(name, _) | Token::End(name) if is_block(name) => {
                if !text.is_empty() && !text.ends_with('\n') {
                    text.push('\n');
                }
                is_space_due = false;
            }
            Token::Begin(name, _)
                if ["td", "th"].iter().any(|it| it.eq_ignore_ascii_case(name)) =>
            {
                is_space_due = true;
            }
            Token::Begin(..) | Token::End(_) => {}
        }
    }
    text
}

/// Whether an element begins a line.
fn is_block(name: &str) -> bool {
    const BLOCKS: [&str; 18] = [
        "blockquote",
        "body",
        "br",
        "div",
        "dd",
        "dt",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "hr",
        "li",
        "p",
        "pre",
        "table",
        "tr",
    ];
    BLOCKS.iter().any(|block| name.eq_ignore_ascii_case(block))
}

/// `text` in two at `at`; all of it before if that is no boundary of characters.
fn split(text: &str, at: usize) -> (&str, &str) {
    text.split_at_checked(at).unwrap_or((text, ""))
}
