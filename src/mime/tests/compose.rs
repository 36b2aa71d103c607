//! Messages that are written, and what is read of them.

use proptest::{collection::vec, option, prelude::*};

use crate::mime::{
    Attachment, Draft, Outline, Part, Person, Summary, decode, limits::COMPOSED_WORD_OCTETS_MAX,
    to_text,
};

use super::outline;

const DATE: &str = "Mon, 30 Nov 2026 10:00:00 +0100";

fn person(name: &str, address: &str) -> Person {
    Person {
        name: name.to_owned(),
        address: address.to_owned(),
    }
}

fn rendered(draft: &Draft) -> String {
    String::from_utf8(draft.render(DATE, "1@host.example")).unwrap()
}

/// The octets of a part of a message.
fn octets(message: &[u8], part: &Part) -> Vec<u8> {
    let begin = usize::try_from(part.body.offset).unwrap();
    let end = begin + usize::try_from(part.body.octets).unwrap();
    decode(&message[begin..end], part.encoding)
}

/// The texts of a message, without the line ending at their ends.
fn texts(message: &[u8], parts: &[&Part]) -> String {
    let text = |part: &&Part| to_text(&octets(message, part), part.charset.as_deref());
    let texts: Vec<String> = parts.iter().map(text).collect();
    texts.concat().trim_end_matches('\n').to_owned()
}

#[test]
fn a_short_message_is_written_as_people_would() {
    let draft = Draft {
        from: person("Ann", "ann@a.example"),
        to: vec![
            person("", "bob@a.example"),
            person("B. \"x\" C", "c@a.example"),
        ],
        cc: vec![person("J\u{fc}rg", "j@a.example")],
        subject: "Your code".to_owned(),
        fields: vec![("X-Run".to_owned(), "42".to_owned())],
        text: "It is 4711:\r\nhttps://a.example/?t=1".to_owned(),
        ..Draft::default()
    };
    assert_eq!(
        rendered(&draft),
        "Date: Mon, 30 Nov 2026 10:00:00 +0100\n\
         Message-ID: <1@host.example>\n\
         From: Ann <ann@a.example>\n\
         To: <bob@a.example>, \"B. \\\"x\\\" C\" <c@a.example>\n\
         Cc: =?utf-8?B?SsO8cmc=?= <j@a.example>\n\
         Subject: Your code\n\
         X-Run: 42\n\
         MIME-Version: 1.0\n\
         Content-Type: text/plain; charset=utf-8\n\
         Content-Transfer-Encoding: 7bit\n\
         \n\
         It is 4711:\n\
         https://a.example/?t=1\n"
    );
}

#[test]
fn a_message_has_no_more_multiparts_than_it_needs() {
    let file = |id: &str| Attachment {
        file_name: "a\u{fc}.png".to_owned(),
        content_type: "image/png".to_owned(),
        content_id: id.to_owned(),
        content: b"png".to_vec(),
    };
    for (text, html, files, kinds) in [
        ("", "", vec![], "text/plain"),
        ("t", "", vec![], "text/plain"),
        ("", "h", vec![], "text/html"),
        (
            "t",
            "h",
            vec![],
            "multipart/alternative text/plain text/html",
        ),
        (
            "",
            "h",
            vec![file("1")],
            "multipart/related text/html image/png",
        ),
        (
            "t",
            "",
            vec![file("1")],
            "multipart/mixed text/plain image/png",
        ),
        ("", "", vec![file("")], "multipart/mixed image/png"),
        (
            "t",
            "h",
            vec![file(""), file("1")],
            "multipart/mixed multipart/alternative text/plain multipart/related text/html \
             image/png image/png",
        ),
    ] {
        let draft = Draft {
            text: text.to_owned(),
            html: html.to_owned(),
            attachments: files,
            ..Draft::default()
        };
        let outline = outline(rendered(&draft).as_bytes());
        let found = outline
            .parts()
            .iter()
            .map(|part| part.content_type.as_str());
        assert_eq!(found.collect::<Vec<_>>().join(" "), kinds);
    }
}

#[test]
fn fields_of_the_draft_replace_our_own() {
    let field = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let draft = Draft {
        fields: [("date", "today"), ("Message-Id", "<2@x>")]
            .map(field)
            .to_vec(),
        ..Draft::default()
    };
    let message = rendered(&draft);
    assert!(
        message.contains("date: today\nMessage-Id: <2@x>\nMIME"),
        "{message}"
    );
    assert!(
        !message.contains("Date:") && !message.contains("1@host"),
        "{message}"
    );
}

#[test]
fn a_field_with_a_structure_stays_as_it_is_but_for_its_blanks() {
    let field = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    let draft = Draft {
        fields: [
            ("In-Reply-To", "<a@b>  <c@d>"),
            ("List-Unsubscribe", " <https://x.example/> "),
            ("X-Note", "gr\u{fc}n"),
            ("X-Word", "=?utf-8?q?a?="),
        ]
        .map(field)
        .to_vec(),
        ..Draft::default()
    };
    let message = rendered(&draft);
    assert!(
        message.contains("In-Reply-To: <a@b> <c@d>\nList-Unsubscribe: <https://x.example/>\n"),
        "{message}"
    );
    let is_encoded = |field: &&str| field.starts_with("X-") && field.contains(": =?utf-8?B?");
    assert_eq!(message.lines().filter(is_encoded).count(), 2, "{message}");
}

/// SEC-7: however hostile a text is, it is part of its own field.
#[test]
fn no_text_begins_a_field() {
    let hostile = "a\r\nBcc: <eve@x>\n\nb\0\u{b}c";
    let name = person(hostile, "a@a.example");
    let draft = Draft {
        from: name.clone(),
        to: vec![name],
        subject: hostile.to_owned(),
        fields: vec![("X-Run".to_owned(), hostile.to_owned())],
        attachments: vec![Attachment {
            file_name: hostile.to_owned(),
            content_type: hostile.to_owned(),
            content_id: hostile.to_owned(),
            content: Vec::new(),
        }],
        ..Draft::default()
    };
    let message = rendered(&draft);
    let outline = outline(message.as_bytes());
    let fields = outline.fields();
    let names: Vec<&str> = fields.iter().map(|field| field.name.as_str()).collect();
    let expected = [
        "Date",
        "Message-ID",
        "From",
        "To",
        "Subject",
        "X-Run",
        "MIME-Version",
        "Content-Type",
    ];
    assert_eq!(names, expected, "{message}");
    assert!(!message.contains("\nBcc"), "{message}");
}

/// Texts that look like what a message is made of.
fn any_text() -> impl Strategy<Value = String> {
    let pieces = prop_oneof![
        "[ -~]{0,20}",
        "\\PC{0,30}",
        "[ab=?]{0,6}",
        Just("=?utf-8?Q?=41?=".to_owned()),
        Just("\u{e9}\u{20ac}\u{1f600}".repeat(9)),
        Just("x".repeat(100)),
    ];
    vec(pieces, 0..4).prop_map(|pieces| pieces.concat())
}

/// Bodies: also with line endings and control characters.
fn any_body() -> impl Strategy<Value = String> {
    let line = prop_oneof![
        any_text(),
        "[\\x00-\\x20=.-]{0,10}",
        Just("--=_mixed".to_owned()),
        Just("From x".to_owned()),
        Just(".".to_owned()),
        Just(" \t".repeat(60)),
    ];
    vec(line, 0..5).prop_map(|lines| lines.join("\n"))
}

fn any_file() -> impl Strategy<Value = Attachment> {
    let content = vec(any::<u8>(), 0..200);
    (any_text(), "[a-z0-9.]{0,9}", content).prop_map(|(name, id, content)| Attachment {
        file_name: name.chars().take(COMPOSED_WORD_OCTETS_MAX / 13).collect(),
        content_type: "application/x-any".to_owned(),
        content_id: id,
        content,
    })
}

fn read_back(draft: &Draft, message: &[u8], outline: &Outline) {
    let summary = Summary::of(outline);
    assert_eq!(summary.subject.trim(), draft.subject.trim());
    let people = |people: &[Person]| -> Vec<Person> {
        let people = people.iter();
        people
            .map(|it| person(it.name.trim(), &it.address))
            .collect()
    };
    assert_eq!(summary.from, people(std::slice::from_ref(&draft.from)));
    assert_eq!(summary.to, people(&draft.to));
    // A line that ends in CRLF ends as the others.
    let body = |text: &str| {
        let text = text.replace("\r\n", "\n");
        text.trim_end_matches('\n').to_owned()
    };
    assert_eq!(texts(message, &outline.text()), body(&draft.text));
    assert_eq!(texts(message, &outline.html()), body(&draft.html));
    let leaves = outline
        .parts()
        .iter()
        .filter(|it| it.content_type == "application/x-any");
    let mut found: Vec<_> = leaves
        .map(|part| {
            let name = part.file_name.clone().unwrap_or_default();
            let id = part.content_id.clone().unwrap_or_default();
            (name, id, octets(message, part))
        })
        .collect();
    let mut sent: Vec<_> = draft
        .attachments
        .iter()
        .map(|it| {
            let name = it.file_name.trim().to_owned();
            (name, it.content_id.clone(), it.content.clone())
        })
        .collect();
    found.sort();
    sent.sort();
    assert_eq!(found, sent);
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(
        names in (any_text(), any_text()),
        subject in any_text(),
        text in option::of(any_body()),
        html in option::of(any_body()),
        attachments in vec(any_file(), 0..3),
    ) {
        let draft = Draft {
            from: person(&names.0, "ann@a.example"),
            to: vec![person(&names.1, "bob@a.example"), person(&names.0, "\"a b\"@a.example")],
            subject,
            text: text.unwrap_or_default(),
            html: html.unwrap_or_default(),
            attachments,
            ..Draft::default()
        };
        let message = draft.render(DATE, "1@host.example");
        prop_assert!(message.is_ascii());
        for line in message.split(|octet| *octet == b'\n') {
            prop_assert!(line.len() <= 998 && !line.contains(&b'\r'));
        }
        let outline = outline(&message);
        read_back(&draft, &message, &outline);
    }
}
