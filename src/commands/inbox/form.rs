//! What `show` and `wait` print of a message: an overview, a part, a link or a code.

use crate::{
    cli::Form,
    mime::{extract, html_to_text},
};

use super::{
    client::{Client, Document, path_of},
    error::{Reason, quoted},
    limits,
    message::{Message, Person},
    save,
    screen::{Screen, printable, printable_json, printable_lines},
};

/// Prints a message in the form that was asked for.
pub(super) fn print(
    message: &Message,
    form: &Form,
    client: &mut Client<'_>,
    screen: &mut Screen<'_>,
) -> Result<(), Reason> {
    let id = &message.summary.id;
    if form.raw {
        return raw(id, client, screen);
    }
    if form.headers {
        return headers(id, client, screen);
    }
    if let Some(directory) = &form.save {
        return save::attachments(message, directory, client, screen);
    }
    let is_overview = !form.text && !form.html && form.link.is_none() && form.code.is_none();
    if is_overview {
        let overview = overview(message, client);
        return Ok(screen.print(&overview)?);
    }
    if message.too_complex {
        return Err(Reason::TooComplex(message.summary.described()));
    }
    let text = if form.text {
        readable(message)
    } else if form.html {
        html(message)?.to_owned()
    } else if let Some(part) = &form.link {
        link(message, part)?
    } else {
        code(message, form.code.flatten())?
    };
    Ok(screen.print_theirs(&text.replace("\r\n", "\n"))?)
}

/// Prints JSON as the daemon has sent it.
pub(super) fn json(document: &Document, screen: &mut Screen<'_>) -> Result<(), Reason> {
    let json = printable_json(document.text.trim_end());
    screen.print(&json)?;
    Ok(screen.print("\n")?)
}

/// Prints a whole message.
pub(super) fn raw(
    id: &str,
    client: &mut Client<'_>,
    screen: &mut Screen<'_>,
) -> Result<(), Reason> {
    let response = client.get(&path_of(id, &["raw"]))?;
    response.each_piece(&mut |piece| {
        screen.write(piece)?;
        Ok(true)
    })
}

/// Prints the header section of a message, in its order and with the folding of its lines.
pub(super) fn headers(
    id: &str,
    client: &mut Client<'_>,
    screen: &mut Screen<'_>,
) -> Result<(), Reason> {
    let response = client.get(&path_of(id, &["raw"]))?;
    let mut octets = Vec::new();
    let mut end = None;
    response.each_piece(&mut |piece| {
        // The end may have begun in the piece before.
        let begin = octets.len().saturating_sub(3);
        octets.extend_from_slice(piece);
        end = end_of_headers(&octets, begin);
        Ok(end.is_none() && octets.len() < limits::HEADER_OCTETS_MAX)
    })?;
    octets.truncate(end.unwrap_or(limits::HEADER_OCTETS_MAX));
    let text = String::from_utf8_lossy(&octets).replace("\r\n", "\n");
    Ok(screen.print_theirs(&text)?)
}

/// The length of a header section with the ending of its last line; what is before `begin` has no
/// empty line.
fn end_of_headers(octets: &[u8], begin: usize) -> Option<usize> {
    if octets.starts_with(b"\r\n") || octets.starts_with(b"\n") {
        return Some(0);
    }
    let rest = octets.get(begin..)?;
    let mut ends = memchr::memchr_iter(b'\n', rest);
    let end = ends.find(|&at| {
        let after = rest.get(at.saturating_add(1)..).unwrap_or_default();
        after.starts_with(b"\n") || after.starts_with(b"\r\n")
    })?;
    Some(begin.saturating_add(end).saturating_add(1))
}

/// The text of a message, or else that of its HTML.
fn readable(message: &Message) -> String {
    if message.text.trim().is_empty() {
        html_to_text(&message.html)
    } else {
        message.text.clone()
    }
}

fn html(message: &Message) -> Result<&str, Reason> {
    if message.html.is_empty() {
        return Err(Reason::Without {
            what: "HTML".to_owned(),
            looked_at: format!(
                "{}; print its text with --text",
                message.summary.described()
            ),
        });
    }
    Ok(&message.html)
}

/// The first link that contains `part`: in the text, or else in the HTML.
fn link(message: &Message, part: &str) -> Result<String, Reason> {
    // What a link shows is often not where it leads.
    let has_text = message.has_text.unwrap_or(true);
    let text = if has_text { message.text.as_str() } else { "" };
    let in_text = extract::links(text);
    let in_html = extract::links_in_html(&message.html);
    let mut all = in_text.iter().chain(&in_html);
    if let Some(link) = all.find(|link| link.contains(part)) {
        return Ok(link.clone());
    }
    let mut seen = Vec::new();
    for link in in_text.iter().chain(&in_html) {
        if !seen.contains(&link) && seen.len() < limits::NAMED_MAX {
            seen.push(link);
        }
    }
    let seen: Vec<String> = seen.into_iter().map(|link| quoted(link)).collect();
    let what = match part {
        "" => "link is".to_owned(),
        part => format!("link that contains \"{}\" is", quoted(part)),
    };
    let counts = format!(
        "{} of the text and {} of the HTML were looked at",
        counted(u64::try_from(in_text.len()).unwrap_or(u64::MAX), "link"),
        in_html.len()
    );
    let seen = match seen.as_slice() {
        [] => String::new(),
        some => format!(", such as {}", some.join(", ")),
    };
    Err(Reason::Without {
        what,
        looked_at: format!("{}: {counts}{seen}", message.searched()),
    })
}

/// The first code: in the text, or else in that of the HTML.
fn code(message: &Message, n_digits: Option<usize>) -> Result<String, Reason> {
    let of_html = html_to_text(&message.html);
    let texts = [message.text.as_str(), of_html.as_str()];
    let mut codes = texts.iter().flat_map(|text| extract::codes(text, n_digits));
    if let Some(code) = codes.next() {
        return Ok(code.to_owned());
    }
    let what = match n_digits {
        Some(n_digits) => format!("code of {n_digits} digits is"),
        None => "code of 4 to 8 digits is".to_owned(),
    };
    let [in_text, in_html] = texts.map(|text| {
        let characters = text.chars().count();
        u64::try_from(characters).unwrap_or(u64::MAX)
    });
    let in_text = counted(in_text, "character");
    Err(Reason::Without {
        what,
        looked_at: format!(
            "{}: {in_text} of text and {in_html} of HTML were looked at",
            message.searched()
        ),
    })
}

/// The most important fields, the text and the attachments, printable.
fn overview(message: &Message, client: &Client<'_>) -> String {
    let summary = &message.summary;
    let all = |persons: &[Person]| {
        let persons: Vec<String> = persons.iter().map(Person::full).collect();
        persons.join(", ")
    };
    let date = client.clock.local(&message.date);
    let date = date.map_or_else(
        || message.date.clone(),
        |date| date.strftime("%a, %d %b %Y %H:%M:%S %z").to_string(),
    );
    let mut overview = String::new();
    for (name, value) in [
        ("From", summary.from.full()),
        ("To", all(&summary.to)),
        ("Cc", all(&message.cc)),
        ("Date", date),
        ("Subject", summary.subject.clone()),
    ] {
        if !value.is_empty() {
            overview.extend([name, ": ", &printable(&value), "\n"]);
        }
    }
    overview.push('\n');
    if message.too_complex {
        overview.push_str("This message is too complex to show: print it with --raw.\n");
        return overview;
    }
    let text = printable_lines(&readable(message));
    overview.push_str(&text);
    if !text.is_empty() && !text.ends_with('\n') {
        overview.push('\n');
    }
    if message.truncated {
        overview.push_str("\nThe text goes on: print all of it with --raw.\n");
    }
    if !message.attachments.is_empty() {
        overview.push_str("\nAttachments:\n");
    }
    for attachment in &message.attachments {
        let name = match attachment.file_name.as_str() {
            "" => "(no name)",
            name => name,
        };
        let (name, kind) = (printable(name), printable(&attachment.content_type));
        let size = counted(attachment.size, "octet");
        overview.extend([format!("  {name}  {kind}  {size}\n")]);
    }
    overview
}

/// So many of these things.
fn counted(number: u64, thing: &str) -> String {
    match number {
        1 => format!("1 {thing}"),
        _ => format!("{number} {thing}s"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn message(text: &str, html: &str) -> Message {
        Message {
            text: text.to_owned(),
            html: html.to_owned(),
            ..Message::default()
        }
    }

    #[test]
    fn the_first_link_of_the_text_counts_and_then_those_of_the_html() {
        let message = message(
            "See http://a.test/1 or https://b.test/verify?t=1.",
            "<a href='https://c.test/verify'>x</a> <a href=\"https://c.test/reset\">y</a>",
        );
        for (part, expect) in [
            ("", "http://a.test/1"),
            ("verify", "https://b.test/verify?t=1"),
            ("reset", "https://c.test/reset"),
        ] {
            assert_eq!(link(&message, part).unwrap(), expect);
        }
        let error = crate::commands::inbox::Error::from(link(&message, "none").unwrap_err());
        let text = error.to_string();
        assert!(
            text.starts_with("no link that contains \"none\" is in "),
            "{text}"
        );
        let end = ": 2 links of the text and 2 of the HTML were looked at, such as \
                   http://a.test/1, https://b.test/verify?t=1, https://c.test/verify";
        assert!(text.ends_with(end), "{text}");
    }

    #[test]
    fn the_first_code_of_the_text_counts_and_then_those_of_the_html() {
        let both = message("Your code: 123456", "<p>Your <b>code</b>: 9876</p>");
        let html_only = message("", "<p>Your <b>code</b>: 9876</p>");
        assert_eq!(code(&both, None).unwrap(), "123456");
        assert_eq!(code(&both, Some(4)).unwrap(), "9876");
        assert_eq!(code(&html_only, None).unwrap(), "9876");
        let error = crate::commands::inbox::Error::from(code(&both, Some(5)).unwrap_err());
        let text = error.to_string();
        assert!(text.starts_with("no code of 5 digits is in "), "{text}");
        assert!(
            text.contains("17 characters of text and 16 of HTML"),
            "{text}"
        );
    }

    #[test]
    fn the_text_of_the_html_replaces_one_that_is_missing() {
        assert_eq!(readable(&message("a", "<p>b")), "a");
        assert_eq!(readable(&message(" \r\n", "<p>b")), "b");
        assert!(html(&message("a", "")).is_err());
    }

    #[test]
    fn a_header_section_ends_before_an_empty_line() {
        for (text, expect) in [
            ("A: b\r\n\r\nc", Some(6)),
            ("A: b\n\nc", Some(5)),
            ("A: b\n\r\nc", Some(5)),
            ("\r\nc", Some(0)),
            ("A: b\r\n c\r\n", None),
            ("", None),
        ] {
            assert_eq!(end_of_headers(text.as_bytes(), 0), expect, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn an_end_that_is_split_is_found(text in "[a\r\n]{0,12}", at in 0_usize..12) {
            let octets = text.as_bytes();
            let whole = end_of_headers(octets, 0);
            let first = octets.get(..at).unwrap_or(octets);
            let found = end_of_headers(first, 0)
                .or_else(|| end_of_headers(octets, first.len().saturating_sub(3)));
            prop_assert_eq!(found, whole);
        }
    }
}
