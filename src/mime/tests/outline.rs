//! What is the body, and what is attached.

use super::outline;
use crate::mime::Part;

/// A multipart with this subtype and boundary.
fn multipart(subtype: &str, boundary: &str, parts: &[String]) -> String {
    let begin = format!("Content-Type: multipart/{subtype}; boundary={boundary}\n\n");
    let text = parts.iter().fold(begin, |text, part| {
        text + &format!("--{boundary}\n{part}\n")
    });
    text + &format!("--{boundary}--\n")
}

fn part(content_type: &str, more: &str) -> String {
    format!("Content-Type: {content_type}\n{more}\nx")
}

/// Checks the ids of the text, the HTML, the attachments and the inline parts.
fn check(message: &str, expected: [&str; 4]) {
    let outline = outline(message.as_bytes());
    let ids = |parts: Vec<&Part>| {
        let ids: Vec<&str> = parts.iter().map(|part| part.id.as_str()).collect();
        ids.join(" ")
    };
    let found = [
        outline.text(),
        outline.html(),
        outline.attachments(),
        outline.inline(),
    ];
    assert_eq!(found.map(ids), expected, "{message}");
    for part in outline.parts() {
        assert_eq!(outline.part(&part.id), Some(part));
    }
}

const ATTACHED: &str = "Content-Disposition: attachment; filename=a\n";
const INLINE: &str = "Content-Disposition: inline\n";

#[test]
fn single_parts_are_bodies_or_attachments() {
    check("\nx", ["0", "", "", ""]);
    check(&part("text/html", ""), ["", "0", "", ""]);
    check(&part("text/html", INLINE), ["", "0", "", ""]);
    check(&part("text/html", ATTACHED), ["", "", "0", ""]);
    check(&part("application/pdf", ""), ["", "", "0", ""]);
    check(&part("image/png", INLINE), ["", "", "", "0"]);
    check(&part("message/rfc822", ""), ["", "", "0", ""]);
}

#[test]
fn alternatives_show_the_last_of_each_type() {
    let (text, html) = (part("text/plain", ""), part("text/html", ""));
    let calendar = part("text/calendar", "");
    let both = multipart("alternative", "b", &[text.clone(), html.clone()]);
    check(&both, ["1", "2", "", ""]);
    let parts = [
        text.clone(),
        text.clone(),
        html.clone(),
        html.clone(),
        calendar,
    ];
    check(&multipart("alternative", "b", &parts), ["2", "4", "", "5"]);
    let picture = part("image/png", "Content-ID: <a>\n");
    let related = multipart("related", "c", &[html.clone(), picture]);
    let message = multipart("alternative", "b", &[text.clone(), related]);
    check(&message, ["1", "2.1", "", "2.2"]);
    // A footer in an alternative is no alternative.
    let mixed = multipart("mixed", "c", &[html, text.clone(), part("a/b", ATTACHED)]);
    check(
        &multipart("alternative", "b", &[text.clone(), mixed]),
        ["1", "2.1", "2.3", ""],
    );
    let attached = part("application/octet-stream", "");
    let message = multipart("mixed", "a", &[both, attached, text]);
    check(&message, ["1.1 3", "1.2", "2", ""]);
}

#[test]
fn mixed_parts_are_sorted_by_disposition_and_type() {
    let parts = [
        part("text/plain", ""),
        part("text/plain", "Content-Disposition: inline; filename=n\n"),
        part("text/plain", ATTACHED),
        part("image/png", ""),
        part("image/png", ATTACHED),
        part("message/rfc822", ""),
        part("application/octet-stream", INLINE),
        multipart("mixed", "c", &[part("a/b", ATTACHED), part("a/b", "")]),
        part("a/b", ATTACHED),
    ];
    let expected = ["1 2", "", "3 5 6 7 9 8.1", "2 4 8.2"];
    check(&multipart("mixed", "b", &parts), expected);
}
