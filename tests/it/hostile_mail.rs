//! Hostile mails through everything that HTTP says about them, on the stack and in the memory of a
//! session.

use std::path::Path;

use crate::support::program::Program;
use crate::support::{Client, Service, place};

/// A mail, by the local part of its mailbox.
type Mail = (&'static str, Vec<u8>);

/// The head of a mail with parts.
const MIXED: &str = "Content-Type: multipart/mixed; boundary=b";

fn mails() -> Vec<Mail> {
    [of_parts(), of_bodies(), of_charsets(), of_fields()].concat()
}

fn every_octet() -> Vec<u8> {
    (0..=u8::MAX).cycle().take(100_000).collect()
}

fn with_body(head: &str, body: &[u8]) -> Vec<u8> {
    [head.as_bytes(), b"\n\n", body].concat()
}

fn with_field(field: &str) -> Vec<u8> {
    format!("Subject: x\n{field}\n\ntext\n").into_bytes()
}

/// Parts that are many, deep or none.
fn of_parts() -> Vec<Mail> {
    vec![
        (
            "nested-parts",
            "Content-Type: multipart/x; boundary=b\n\n--b\n"
                .repeat(1_000_000)
                .into_bytes(),
        ),
        (
            "empty-parts",
            with_body(MIXED, "--b\n\n".repeat(10_000).as_bytes()),
        ),
        (
            "nested-messages",
            "Content-Type: message/rfc822\n\n"
                .repeat(4_000)
                .into_bytes(),
        ),
        (
            "nested-in-parts",
            format!("{MIXED}\n\n--b\nContent-Type: message/rfc822\n\n")
                .repeat(1_500)
                .into_bytes(),
        ),
        (
            "boundary",
            with_body(
                &format!("{MIXED}{}", "b".repeat(100_000)),
                &b"--b\n".repeat(50_000),
            ),
        ),
    ]
}

/// Bodies that are empty or large.
fn of_bodies() -> Vec<Mail> {
    vec![
        ("empty", Vec::new()),
        ("no-header", b"\nonly text\n".to_vec()),
        ("only-nul", vec![0; 100_000]),
        ("every-octet", every_octet()),
        (
            "large-text",
            with_body("Subject: x", &b"a line of a large text\n".repeat(1_460_000)),
        ),
        ("one-line", with_body("Subject: x", &vec![b'x'; 32 << 20])),
        (
            "large-html",
            with_body(
                "Content-Type: text/html",
                "<div>".repeat(400_000).as_bytes(),
            ),
        ),
        (
            "pictures",
            with_body(
                "Content-Type: text/html",
                "<img src=cid:a>".repeat(200_000).as_bytes(),
            ),
        ),
    ]
}

/// Encodings and charsets that are not what they say.
fn of_charsets() -> Vec<Mail> {
    vec![
        (
            "broken-base64",
            with_body("Content-Transfer-Encoding: base64", &every_octet()),
        ),
        (
            "broken-quotes",
            with_body(
                "Content-Transfer-Encoding: quoted-printable",
                &b"=4=\n==\n=".repeat(100_000),
            ),
        ),
        (
            "broken-charset",
            with_body(
                "Content-Type: text/html; charset=iso-2022-jp",
                &every_octet(),
            ),
        ),
        (
            "unknown-charset",
            with_body(
                "Content-Type: text/plain; charset=\"\u{1}no such\"",
                &every_octet(),
            ),
        ),
        (
            "utf-7",
            with_body(
                "Content-Type: text/html; charset=utf-7",
                &b"+ADw-".repeat(100_000),
            ),
        ),
    ]
}

/// A file name in many pieces (RFC 2231 §3).
fn continued() -> String {
    let mut field = "Content-Disposition: attachment".to_owned();
    for piece in 0..50_000 {
        field.push_str(&format!("; filename*{piece}*=%41"));
    }
    field
}

/// Header sections that are long.
fn of_fields() -> Vec<Mail> {
    vec![
        ("many-fields", with_field(&"X: y\n".repeat(200_000))),
        (
            "long-field",
            with_field(&format!("Subject: {}", "x".repeat(8 << 20))),
        ),
        (
            "long-name",
            with_field(&format!("{}: x", "x".repeat(1 << 20))),
        ),
        (
            "folded",
            with_field(&format!("To: a@b{}", "\n ,a@b".repeat(200_000))),
        ),
        (
            "encoded-words",
            with_field(&format!("To:{}", " =?utf-8?b?QUJD?=".repeat(100_000))),
        ),
        (
            "comments",
            with_field(&format!("From: {}a@b", "(".repeat(200_000))),
        ),
        (
            "groups",
            with_field(&format!("To: {}", "a:".repeat(200_000))),
        ),
        (
            "angles",
            with_field(&format!("To: {}", "<".repeat(200_000))),
        ),
        (
            "parameters",
            with_field(&format!(
                "Content-Type: text/plain{}",
                "; a=b".repeat(100_000)
            )),
        ),
        ("continuations", with_field(&continued())),
    ]
}

/// Everything that can be asked of a mail; `ID` stands for its ID and `NAME` for its mailbox.
const TARGETS: &[&str] = &[
    "/?mailbox=NAME@example.com",
    "/m/ID",
    "/m/ID/html",
    "/m/ID/html?remote=1",
    "/m/ID/raw",
    "/m/ID/part/1",
    "/view/ID.html",
    "/view/ID.txt",
    "/api/mailboxes/NAME@example.com",
    "/api/wait?to=NAME@example.com&since=0&timeout=0s",
    "/api/v1/message/ID",
    "/api/v1/message/ID/headers",
    "/api/v1/message/ID/raw",
    "/api/v1/message/ID/part/1",
    "/api/v1/message/ID/part/1.1",
    "/api/v1/messages/ID",
    "/api/v1/mailbox/NAME",
    "/api/v1/mailbox/NAME/ID",
    "/api/v1/mailbox/NAME/ID/source",
];

/// Everything that can be asked of all mails together.
const TARGETS_OF_ALL: &[&str] = &[
    "/",
    "/?plain=1&q=no-such-text",
    "/api/mailboxes",
    "/api/v1/info",
    "/api/v1/messages",
    "/api/v1/search?query=no-such-text%20has:attachment",
    "/api/v2/messages",
    "/api/v2/search?kind=containing&query=no-such-text",
];

/// The status and the octets behind the head; the answer must be whole.
fn ask(program: &Program, target: &str) -> (u16, Vec<u8>) {
    let mut client = Client::connect(program.http());
    let fields = "Host: localhost\r\nConnection: close\r\n";
    client.send(format!("GET {target} HTTP/1.1\r\n{fields}\r\n").as_bytes());
    let mut octets = Vec::new();
    client.read_octets_to_end(&mut octets);
    let end = octets.windows(4).position(|it| it == b"\r\n\r\n");
    let body = octets.split_off(end.unwrap_or_else(|| panic!("{target}: no head")) + 4);
    let head = String::from_utf8(octets).unwrap();
    let field = |name: &str| head.lines().find_map(|line| line.strip_prefix(name));
    match field("Content-Length: ") {
        Some(length) => assert_eq!(length, body.len().to_string(), "{target}"),
        None => assert!(
            body.ends_with(b"0\r\n\r\n"),
            "{target}: it ends early: {head}"
        ),
    }
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, body)
}

fn start(directory: &Path) -> Program {
    let program = Program::start_with(directory, "http = [\"127.0.0.1:0\"]\n");
    let mail = directory.join("mail");
    for (name, content) in mails() {
        place(&mail, &format!("{name}@example.com"), 1, content);
    }
    program
}

/// SEC-9, SEC-17: whatever a mail contains, each answer is a clear one, and no session breaks.
#[test]
fn hostile_mails_have_clear_answers_and_harm_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path());
    // The first answer comes before anything is known of the mails.
    for target in TARGETS_OF_ALL {
        let (status, body) = ask(&program, target);
        assert_eq!(status, 200, "{target}: {}", String::from_utf8_lossy(&body));
    }
    for (name, content) in mails() {
        let list = format!("/api/mailboxes/{name}@example.com");
        let (_, list) = ask(&program, &list);
        let list = String::from_utf8(list).unwrap();
        let id = list
            .split("\"ID\":\"")
            .nth(1)
            .unwrap_or_else(|| panic!("{name}: {list}"));
        let id = id.split('"').next().unwrap();
        for target in TARGETS {
            let asked = target.replace("ID", id).replace("NAME", name);
            let (status, body) = ask(&program, &asked);
            let begin = String::from_utf8_lossy(&body[..body.len().min(200)]);
            let expected = match status {
                200 => true,
                404 => target.contains("part") || target.contains("html"),
                501 => target.contains("ID") && begin.contains("too complex to show"),
                _ => false,
            };
            assert!(expected, "{name} {target}: {status} {begin}");
            if target.ends_with("raw") {
                assert!(body.len() >= content.len(), "{name}: {}", body.len());
            }
        }
    }
    program.deliver("bob@example.com", "afterwards\r\n");
    assert_eq!(program.contents("bob@example.com"), ["afterwards\r\n"]);
    let log = program.stop();
    let broken = |line: &&String| line.contains("panicked at") || line.contains("ERROR");
    assert_eq!(log.iter().find(broken), None);
}
