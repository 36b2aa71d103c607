//! Content-Disposition: the name under which a browser saves what it downloads (RFC 6266).
//!
//! The name comes from a mail, so it is hostile. What a browser or a file system could take for a
//! path, for another type or for another text is replaced: separators, control characters,
//! characters that change the direction of a text, dots and spaces at the ends. A mail's HTML that
//! is saved does not become a program: the last extension is the last that was sent.

use super::limits::FILE_NAME_OCTETS_MAX;

/// The name of what has none.
const DEFAULT_NAME: &str = "attachment";

/// The value of Content-Disposition for a body that is to be saved as `file_name`. A name that is
/// not ASCII is also sent in the form of RFC 8187, which all browsers prefer.
pub fn attachment(file_name: &str) -> String {
    let name = harmless(file_name);
    let ascii: String = name
        .chars()
        .map(|c| if c.is_ascii() { c } else { '_' })
        .collect();
    if ascii == name {
        return format!("attachment; filename=\"{ascii}\"");
    }
    let mut extended = String::new();
    for octet in name.bytes() {
        // The attr-char of RFC 8187 §3.2.1, without some that need not be there.
        if octet.is_ascii_alphanumeric() || b"-._".contains(&octet) {
            extended.push(char::from(octet));
        } else {
            extended.push('%');
            let digits = [octet >> 4, octet & 0xf].map(|it| char::from_digit(it.into(), 16));
            extended.extend(
                digits
                    .into_iter()
                    .flatten()
                    .map(|it| it.to_ascii_uppercase()),
            );
        }
    }
    format!("attachment; filename=\"{ascii}\"; filename*=UTF-8''{extended}")
}

/// The same name as a file name that is nothing else, on any system.
fn harmless(file_name: &str) -> String {
    let replaced = |c: char| if is_harmless(c) { c } else { '_' };
    let name: String = file_name.chars().map(replaced).collect();
    let is_end = |c: char| c == '.' || c.is_whitespace();
    let name = shortened(name.trim_matches(is_end));
    let name = name.trim_matches(is_end);
    let name = if name.is_empty() { DEFAULT_NAME } else { name };
    name.to_owned()
}

/// Whether a character means nothing to a shell's quoting, a file system or a browser. A percent
/// sign is decoded by some browsers.
fn is_harmless(c: char) -> bool {
    let is_separator = "/\\:*?\"<>|%;".contains(c);
    // Invisible characters, those that change the direction, and those that are not assigned.
    let is_odd = matches!(
        c,
        '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{e000}'..='\u{f8ff}' | '\u{feff}'
            | '\u{fff0}'..='\u{ffff}' | '\u{e0000}'..='\u{10ffff}'
    );
    !c.is_control() && !is_separator && !is_odd
}

/// At most [`FILE_NAME_OCTETS_MAX`] octets of a name; its extension is kept.
fn shortened(name: &str) -> String {
    if name.len() <= FILE_NAME_OCTETS_MAX {
        return name.to_owned();
    }
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) if extension.len() <= FILE_NAME_OCTETS_MAX / 4 => (stem, extension),
        _ => (name, ""),
    };
    let mut short = String::new();
    let room = FILE_NAME_OCTETS_MAX.saturating_sub(extension.len().saturating_add(1));
    for c in stem.chars() {
        if short.len().saturating_add(c.len_utf8()) > room {
            break;
        }
        short.push(c);
    }
    if !extension.is_empty() {
        short.push('.');
        short.push_str(extension);
    }
    short
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hostile_name_becomes_a_file_name() {
        for (name, expect) in [
            ("report.pdf", "filename=\"report.pdf\""),
            ("my report (1).pdf", "filename=\"my report (1).pdf\""),
            ("", "filename=\"attachment\""),
            (" . ", "filename=\"attachment\""),
            ("../../etc/passwd", "filename=\"_.._etc_passwd\""),
            ("C:\\Windows\\a.exe", "filename=\"C__Windows_a.exe\""),
            (".bashrc", "filename=\"bashrc\""),
            ("a.exe. .", "filename=\"a.exe\""),
            ("a\"; filename=\"b.exe", "filename=\"a__ filename=_b.exe\""),
            ("a\r\nSet-Cookie: b=c", "filename=\"a__Set-Cookie_ b=c\""),
            ("a\0b", "filename=\"a_b\""),
            ("100%41.txt", "filename=\"100_41.txt\""),
            ("gpj\u{202e}exe.scr", "filename=\"gpj_exe.scr\""),
            (
                "\u{20ac} rates",
                "filename=\"_ rates\"; filename*=UTF-8''%E2%82%AC%20rates",
            ),
            (
                "na\u{ef}ve.txt",
                "filename=\"na_ve.txt\"; filename*=UTF-8''na%C3%AFve.txt",
            ),
        ] {
            assert_eq!(
                attachment(name),
                format!("attachment; {expect}"),
                "{name:?}"
            );
        }
    }

    #[test]
    fn a_long_name_keeps_its_extension() {
        let long = harmless(&("\u{e4}".repeat(300) + ".jpeg"));
        assert!(
            long.len() <= FILE_NAME_OCTETS_MAX && long.ends_with("\u{e4}.jpeg"),
            "{long}"
        );
        let long = harmless(&("a.".to_owned() + &"b".repeat(300)));
        assert_eq!(long.len(), FILE_NAME_OCTETS_MAX - 1);
    }

    proptest! {
        #[test]
        fn every_name_makes_one_value(name: String) {
            let value = attachment(&name);
            prop_assert!(value.bytes().all(|octet| (b' '..=b'~').contains(&octet)), "{}", value);
            prop_assert!(value.len() <= FILE_NAME_OCTETS_MAX * 4 + 64);
            // Two quotes, and at most the parameters that belong there.
            prop_assert_eq!(value.matches('"').count(), 2);
            prop_assert!(value.matches(';').count() <= 2);
            let name = value.split('"').nth(1).unwrap();
            prop_assert!(!name.contains(['/', '\\']) && !name.starts_with('.'), "{}", name);
        }
    }
}
