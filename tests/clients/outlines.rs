//! How facteur reads mail for display, compared with Python's email package.

use std::fmt::Write as _;

use facteur::mime::{Disposition, Encoding, Outline, Part, Walk, decode, to_text};

use crate::support::{command, run};

/// How many messages are generated.
const MESSAGES: usize = 400;

fn shown(text: Option<&[u8]>) -> String {
    let Some(octets) = text else {
        return "-".to_owned();
    };
    let mut shown = "=".to_owned();
    for octet in octets {
        write!(shown, "{octet:02x}").unwrap();
    }
    shown
}

fn octets(shown: &str) -> Vec<u8> {
    let digits = shown.as_bytes().chunks(2);
    let octet = |pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.map(octet).collect()
}

/// The line that the script writes for a part.
fn line(part: &Part, message: &[u8]) -> String {
    let text = |text: &Option<String>| shown(text.as_deref().map(str::as_bytes));
    let begin = usize::try_from(part.body.offset).unwrap();
    let end = begin + usize::try_from(part.body.octets).unwrap();
    let is_leaf = ["text/", "image/", "application/"]
        .iter()
        .any(|kind| part.content_type.starts_with(kind));
    let body = decode(&message[begin..end], part.encoding);
    let readable = to_text(&body, part.charset.as_deref());
    let readable = part.content_type.starts_with("text/").then_some(readable);
    let disposition = part.disposition.map(|it| match it {
        Disposition::Attachment => "attachment".to_owned(),
        Disposition::Inline => "inline".to_owned(),
    });
    let encoding = match part.encoding {
        Encoding::Base64 => "base64",
        Encoding::QuotedPrintable => "quoted-printable",
        Encoding::Identity => "identity",
    };
    [
        "part".to_owned(),
        part.depth.to_string(),
        shown(Some(part.content_type.as_bytes())),
        text(&part.charset),
        text(&disposition),
        text(&part.file_name),
        text(&part.content_id),
        encoding.to_owned(),
        shown(is_leaf.then_some(&body)),
        text(&readable),
    ]
    .join(" ")
}

/// The outline of `message`, pushed in pieces of this length.
fn walked(message: &[u8], piece: usize) -> Outline {
    let mut walk = Walk::new();
    for octets in message.chunks(piece) {
        walk.push(octets);
    }
    walk.finish().unwrap()
}

#[test]
#[ignore = "needs python3 installed; .ci/run installs it"]
fn email_reads_the_same_parts_and_texts() {
    let script = include_str!("python/outlines.py");
    let (mut n_messages, mut n_parts) = (0, 0);
    let mut python = command("python3", ["-X", "utf8", "-c", script]);
    python.args(["1", &MESSAGES.to_string()]);
    let output = run(&mut python, "").succeeded();
    let (mut message, mut expected) = (Vec::new(), Vec::new());
    for text in output.lines().chain(["message "]) {
        let Some(next) = text.strip_prefix("message ") else {
            expected.push(text);
            n_parts += 1;
            continue;
        };
        for piece in [1, 7, 100, 1_000_000] {
            let outline = walked(&message, piece);
            let parts = outline.parts().iter();
            let found: Vec<String> = parts.map(|part| line(part, &message)).collect();
            if !expected.is_empty() {
                let message = String::from_utf8_lossy(&message);
                assert_eq!(found, expected, "of {message}");
            }
        }
        n_messages += 1;
        message = octets(next);
        expected.clear();
    }
    assert!(n_messages > MESSAGES && n_parts > 2 * MESSAGES);
}
