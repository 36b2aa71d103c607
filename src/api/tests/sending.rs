//! What is to be sent, in the shape of Mailpit.

use proptest::{collection::vec, prelude::*};
use serde_json::{Value, json};

use crate::{api::Letter, mail::Dots};

/// The letter of a request, or why it is refused.
fn letter(body: &str) -> Result<Letter, String> {
    Letter::parse(body.as_bytes(), Dots::BetweenAtoms).map_err(|refusal| {
        assert_eq!(refusal.status.code(), 400, "{refusal:?}");
        refusal.text.into_owned()
    })
}

fn content(letter: &Letter) -> String {
    let date = "Mon, 30 Nov 2026 10:00:00 +0100";
    String::from_utf8(letter.content(date, "1@host.example")).unwrap()
}

#[test]
fn a_request_of_mailpit_becomes_a_message() {
    let body = json!({
        "From": {"Email": "ann@a.example", "Name": "Ann"},
        "To": [{"Email": "bob+run@a.example"}, {"Email": "Carl@c.example", "Name": "Carl"}],
        "Cc": [{"Email": "dora@a.example", "Name": "D\u{f6}ra"}],
        "Bcc": ["eve@a.example"],
        "ReplyTo": [{"Email": "reply@a.example"}],
        "Subject": "Hello",
        "Text": "See https://a.example/",
        "HTML": "<img src=\"cid:logo\">",
        "Headers": {"X-Run": "42"},
        "Attachments": [
            {"Content": "cG\nly", "Filename": "logo.png", "ContentID": "logo"},
            {"Content": "AA==", "Filename": "a.bin", "ContentType": "application/x-a"},
        ],
        "Tags": ["run-42"],
    });
    let letter = letter(&body.to_string()).unwrap();
    assert_eq!(letter.sender.to_string(), "ann@a.example");
    let recipients: Vec<(String, String)> = letter
        .recipients
        .iter()
        .map(|it| (it.place.clone(), it.path.to_string()))
        .collect();
    let expected = [
        ("To[0].Email", "<bob+run@a.example>"),
        ("To[1].Email", "<Carl@c.example>"),
        ("Cc[0].Email", "<dora@a.example>"),
        ("Bcc[0]", "<eve@a.example>"),
    ];
    let expected = expected.map(|(place, path)| (place.to_owned(), path.to_owned()));
    assert_eq!(recipients, expected);
    let message = content(&letter);
    for line in [
        "From: Ann <ann@a.example>",
        "To: <bob+run@a.example>, Carl <Carl@c.example>",
        "Cc: =?utf-8?B?RMO2cmE=?= <dora@a.example>",
        "Reply-To: <reply@a.example>",
        "Subject: Hello",
        "X-Run: 42",
        "Content-Type: image/png",
        "Content-ID: <logo>",
        "Content-Type: application/x-a",
        "Content-Disposition: attachment; filename=\"a.bin\"",
    ] {
        assert!(
            message.contains(&format!("\n{line}\n")),
            "{line}: {message}"
        );
    }
    assert!(!message.contains("eve@"), "{message}");
    assert!(!letter.is_internationalized);
}

#[test]
fn little_is_enough() {
    for body in [
        r#"{"From":{"Email":"a@x"},"To":[{"Email":"b@x"}]}"#,
        r#"{"from":{"email":"a@x","Name":null},"BCC":["b@x"],"To":null,"Subject":null}"#,
    ] {
        let letter = letter(body).unwrap();
        assert_eq!(letter.recipients.len(), 1, "{body}");
        assert!(content(&letter).contains("From: <a@x>\n"), "{body}");
    }
    let utf8 = r#"{"From":{"Email":"a@x"},"Bcc":["jürg@x"]}"#;
    assert!(letter(utf8).unwrap().is_internationalized);
}

/// A request that would be fine without `more`.
fn with(more: &str) -> String {
    format!(r#"{{"From":{{"Email":"a@x"}},"To":[{{"Email":"b@x"}}],{more}}}"#)
}

fn check(body: &str, advice: &str) {
    let text = letter(body).unwrap_err();
    assert!(text.contains(advice), "{body}: {text}");
    assert!(!text.contains('\n'), "{text}");
}

#[test]
fn what_is_wrong_with_the_people_is_refused_by_its_place() {
    for (body, advice) in [
        (String::new(), "The body is empty"),
        ("{".to_owned(), "The body is not JSON in line 1, column 1"),
        ("[]".to_owned(), "The body is not an object"),
        ("{}".to_owned(), "From is missing"),
        (r#"{"From":"a@x"}"#.to_owned(), "From is not an object"),
        (r#"{"From":{}}"#.to_owned(), "From has no Email"),
        (
            r#"{"From":{"Email":"a@x"}}"#.to_owned(),
            "name no recipient",
        ),
        (
            r#"{"From":{"Email":"ann"}}"#.to_owned(),
            "From.Email is not an address: the domain",
        ),
        (
            with(r#""to":[{"Email":"c@x"}]"#),
            "The body has the same name twice",
        ),
        (
            with(r#""Cc":[{"Email":"b@x","Email":"c@x"}]"#),
            "Cc[0] has the same name twice",
        ),
        (
            with(r#""Cc":[{"Email":"=?utf-8?q?b?=@x"}]"#),
            "Cc[0].Email looks like an encoded word",
        ),
        (
            with(&format!(
                r#""Cc":[{}]"#,
                vec![r#"{"Email":"b@x","Name":"Somebody With A Name That Is Long"}"#; 1_500]
                    .join(",")
            )),
            "The header section is longer than mail programs read",
        ),
        (
            with(r#""Attachment":[]"#),
            "The body has a field that is not known",
        ),
        (
            with(r#""Cc":[{"Email":"b@x","Mail":""}]"#),
            "Cc[0] has a field that is not known",
        ),
        (with(r#""Cc":{}"#), "Cc is not a list"),
        (
            with(r#""Cc":[{"Email":"b@x"},{"Email":"b"}]"#),
            "Cc[1].Email is not an address",
        ),
        (with(r#""Bcc":[{"Email":"b@x"}]"#), "Bcc[0] is not a text"),
        (
            with(r#""Bcc":["b@x\r\nRCPT TO:<c@x>"]"#),
            "Bcc[0] is not an address",
        ),
        (
            with(r#""ReplyTo":[{"Email":"b@x>"}]"#),
            "ReplyTo[0].Email is not an address",
        ),
        (
            with(r#""Cc":[{"Email":"b@x","Name":"a\nb"}]"#),
            "Cc[0].Name has a line ending",
        ),
    ] {
        check(&body, advice);
    }
}

#[test]
fn what_is_wrong_in_the_content_is_refused_by_its_place() {
    for (body, advice) in [
        (
            with(r#""Subject":"a\nBcc: c@x""#),
            "Subject has a line ending",
        ),
        (with(r#""Subject":1"#), "Subject is not a text"),
        (with(r#""Text":["a"]"#), "Text is not a text"),
        (with(r#""HTML":"\ud800""#), "HTML is not a text"),
        (with(r#""Headers":[]"#), "Headers is not an object"),
        (with(r#""Headers":{"X:":"a"}"#), "Headers has a name"),
        (with(r#""Headers":{"":"a"}"#), "Headers has a name"),
        (with(r#""Headers":{"X Y":"a"}"#), "Headers has a name"),
        (with(r#""Headers":{"X\n":"a"}"#), "Headers has a name"),
        (with(r#""Headers":{"bcc":"c@x"}"#), "Headers has a name"),
        (
            with(r#""Headers":{"Content-type":"a/b"}"#),
            "Headers has a name",
        ),
        (
            with(r#""Headers":{"X":"a\r\nY: b"}"#),
            "Headers[0] has a line ending",
        ),
        (with(r#""Headers":{"X":{}}"#), "Headers[0] is not a text"),
        (with(r#""Tags":"a""#), "Tags is not a list"),
        (
            with(r#""Attachments":[{}]"#),
            "Attachments[0] has no Content",
        ),
        (
            with(r#""Attachments":[{"Content":"?"}]"#),
            "Attachments[0].Content is not base64",
        ),
        (
            with(r#""Attachments":[{"Content":"","ContentType":"png"}]"#),
            "Attachments[0].ContentType is not the type of a file",
        ),
        (
            with(r#""Attachments":[{"Content":"","ContentType":"message/rfc822"}]"#),
            "Attachments[0].ContentType is not the type of a file",
        ),
        (
            with(r#""Attachments":[{"Content":"","ContentType":"a/b; name=\"x\""}]"#),
            "Attachments[0].ContentType is not the type of a file",
        ),
        (
            with(r#""Attachments":[{"Content":"","ContentID":"a b"}]"#),
            "Attachments[0].ContentID is not a name",
        ),
        (
            with(r#""Attachments":[{"Content":"","Filename":"a\u0000"}]"#),
            "Attachments[0].Filename has a line ending",
        ),
        (
            with(&format!(
                r#""Attachments":[{{"Content":"","Filename":"{}"}}]"#,
                "x".repeat(256)
            )),
            "Attachments[0].Filename has more than 255 octets",
        ),
        (
            with(&format!(r#""Attachments":[{}null]"#, "null,".repeat(200))),
            "Attachments is a list of more than 200",
        ),
    ] {
        check(&body, advice);
    }
}

#[test]
fn what_would_be_too_much_or_read_otherwise_is_refused() {
    let fields: Vec<String> = (0..=200).map(|it| format!(r#""X-{it}":"""#)).collect();
    let fields = fields.join(",");
    for (body, advice) in [
        (
            with(r#""Headers":{"X-A":"a","x-a":"b"}"#),
            "Headers has the same name twice",
        ),
        (
            with(&format!(r#""Headers":{{{fields}}}"#)),
            "Headers has more than 200 fields",
        ),
        (
            with(r#""Headers":{"Sender":"Zo\u00eb <z@x>"}"#),
            "Headers[0] is for a field with addresses",
        ),
        (
            with(&format!(r#""Tags":[{}1]"#, "1,".repeat(1_000))),
            "Tags is a list of more than 1000",
        ),
    ] {
        check(&body, advice);
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u8>().prop_map(Value::from),
        ".{0,9}".prop_map(Value::from),
        Just(json!("a@x")),
        Just(json!({"Email": "b@x"})),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        let key = prop_oneof![
            Just("Email".to_owned()),
            Just("Content".to_owned()),
            "\\PC{0,4}"
        ];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((key, inner), 0..4).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn no_body_panics_and_no_text_leaves_its_field(
        values in vec((0_usize..11, any_json()), 0..5),
        junk in "\\PC{0,30}",
    ) {
        let names = [
            "From", "To", "Cc", "Bcc", "ReplyTo", "Subject", "Text", "HTML", "Headers",
            "Attachments", "Tags",
        ];
        let mut body = json!({"From": {"Email": "a@x"}, "Bcc": ["b@x"]});
        for (index, value) in values {
            body[names[index]] = value;
        }
        for body in [body.to_string(), junk] {
            match letter(&body) {
                Ok(letter) => {
                    let message = content(&letter);
                    let (head, _) = message.split_once("\n\n").unwrap();
                    prop_assert!(!head.contains('\r'));
                }
                Err(text) => prop_assert!(!text.contains('\n') && text.len() < 300, "{}", text),
            }
        }
    }
}
