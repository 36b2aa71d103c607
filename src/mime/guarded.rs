//! What is taken from `mail-parser`: the only file that names that crate.
//!
//! Its parser of messages is not used: nested messages overflow the stack of a session, in parsing
//! and in being dropped, which no caller can catch. Used are its parsers of one field, which do not
//! recurse, and its tables of charsets and of characters in HTML. What they are given has a limit
//! of its own, a header section or one text. A panic in them is caught: the field or the text then
//! counts as one that cannot be read.

use std::panic;

use mail_parser::{
    HeaderValue,
    decoders::{charsets::map::charset_decoder, html::add_html_token},
    parsers::MessageStream,
};

use super::{limits, person::Person};

/// The addresses in `field`, an unfolded value of a field such as To, in order. Members of groups
/// (RFC 5322 §3.4) are among the others.
///
/// The field must not contain a `=?` without a word: the time would become the square of its
/// length.
pub(super) fn people(field: &[u8]) -> Vec<Person> {
    let people = panic::catch_unwind(|| {
        let line = [field, b"\n"].concat();
        let HeaderValue::Address(list) = MessageStream::new(&line).parse_address() else {
            return Vec::new();
        };
        let text = |text: Option<&str>| text.unwrap_or_default().trim().to_owned();
        let people = list.iter().map(|one| Person {
            name: text(one.name()),
            address: text(one.address()),
        });
        let people = people.filter(|one| !one.name.is_empty() || !one.address.is_empty());
        people.take(limits::PERSONS_MAX).collect()
    });
    people.unwrap_or_default()
}

/// The time in `field`, an unfolded Date, in seconds since 1970 (UTC); `None` if it is no valid
/// date.
pub(super) fn date(field: &[u8]) -> Option<i64> {
    let date = panic::catch_unwind(|| {
        let line = [field, b"\n"].concat();
        let HeaderValue::DateTime(date) = MessageStream::new(&line).parse_date() else {
            return None;
        };
        date.is_valid().then(|| date.to_timestamp())
    });
    date.ok().flatten()
}

/// `octets` in the charset of this name; `None` if the charset is unknown.
///
/// For a moment it takes memory of up to four times `octets`.
pub(super) fn charset(octets: &[u8], name: &str) -> Option<String> {
    let decode = charset_decoder(name.as_bytes())?;
    panic::catch_unwind(|| decode(octets)).ok()
}

/// Appends the character that `reference`, such as `&eacute;`, stands for, or `reference` itself.
pub(super) fn reference(reference: &str, text: &mut String) {
    let character = panic::catch_unwind(|| {
        let mut character = String::new();
        add_html_token(&mut character, reference.as_bytes(), false);
        character
    });
    text.push_str(character.as_deref().unwrap_or(reference));
}
