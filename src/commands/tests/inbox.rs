//! The commands for messages, against a daemon that gives prepared answers.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};

use proptest::prelude::*;

use crate::clock::Hands;
use crate::fs::Fs as _;

use super::*;

/// A mail directory with a daemon that gives one answer after another.
struct Stub {
    mail: tempfile::TempDir,
    /// The requests: method, target and body.
    asked: mpsc::Receiver<String>,
}

/// An answer with a body.
fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

fn ok(body: &str) -> String {
    answer("200 OK", body)
}

/// An answer whose body is sent in these chunks.
fn in_chunks(chunks: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}")
}

fn nothing() -> String {
    "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n".to_owned()
}

/// Reads a request, in one line.
fn request(stream: &mut UnixStream) -> String {
    let mut octets = Vec::new();
    loop {
        let mut octet = [0];
        stream.read_exact(&mut octet).unwrap();
        octets.push(octet[0]);
        if octets.ends_with(b"\r\n\r\n") {
            break;
        }
    }
    let head = String::from_utf8(octets).unwrap();
    assert!(head.contains("\r\nHost: "), "{head}");
    let length = head.split("Content-Length: ").nth(1).unwrap();
    let length: usize = length.split('\r').next().unwrap().parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).unwrap();
    let line = head.strip_suffix("\r\n\r\n").unwrap().lines().next();
    let line = line.unwrap().strip_suffix(" HTTP/1.1").unwrap();
    let body = String::from_utf8(body).unwrap();
    format!("{line} {body}").trim_end().to_owned()
}

impl Stub {
    fn new(answers: Vec<String>) -> Self {
        let mail = tempfile::tempdir().unwrap();
        let own = mail.path().join(".facteur");
        std::fs::DirBuilder::new().create(&own).unwrap();
        let listener = RealFs.bind_socket(&own, "control").unwrap();
        let (tell, asked) = mpsc::channel();
        let serve = move || {
            for answer in answers {
                let (mut stream, _) = listener.accept().unwrap();
                tell.send(request(&mut stream)).unwrap();
                // The client may not want all of it.
                drop(stream.write_all(answer.as_bytes()));
            }
        };
        std::thread::Builder::new().spawn(serve).unwrap();
        Self { mail, asked }
    }

    /// Runs a command, and returns what it printed, or its exit code and its error.
    fn run(&self, arguments: &[&str]) -> Result<String, (u8, String)> {
        let mail = self.mail.path().to_str().unwrap();
        let all = ["facteur", "--mail", mail].into_iter();
        let all = all.chain(arguments.iter().copied());
        let arguments = Arguments::try_parse_from(all).unwrap();
        let command = arguments.command.clone().unwrap();
        let clock = Clock::turned_by(Arc::new(Hands::new()));
        let mut output = Vec::new();
        let done = run(&command, &arguments, &clock, &mut output);
        done.map_err(|error| (error.exit_code(), error.to_string()))?;
        Ok(String::from_utf8(output).unwrap())
    }

    /// The requests so far.
    fn asked(&self) -> Vec<String> {
        self.asked.try_iter().collect()
    }
}

/// Runs a command with these answers: what it printed or its failure, and its requests.
fn ask(arguments: &[&str], answers: &[String]) -> (Result<String, (u8, String)>, Vec<String>) {
    let stub = Stub::new(answers.to_vec());
    let done = stub.run(arguments);
    (done, stub.asked())
}

const LIST: &str = r#"{"total":3,"unread":1,"count":1,"messages_count":2,"start":0,"tags":[],
    "messages":[{"ID":"9f00-1","From":{"Name":"A","Address":"alice@example.com"},
    "To":[{"Name":"","Address":"bob@example.com"}],"Subject":"Hello \u001b","Created":
    "2026-11-30T09:00:00Z","Mailboxes":["bob@example.com"]}],"partial":false,"cursor":"c-1"}"#;

const MESSAGE: &str = r#"{"ID":"9f00-1","MessageID":"x@y",
    "From":{"Name":"Alice","Address":"alice@example.com"},
    "To":[{"Name":"","Address":"bob@example.com"},{"Name":"Carol","Address":"carol@example.com"}],
    "Cc":null,"Subject":"Your \u001b[1mcode","Date":"2026-11-30T08:59:59Z",
    "Text":"Code: 123456\r\nhttps://shop.test/verify?t=1\r\n","HTML":"<p>Code: <b>123456</b>",
    "Attachments":[{"PartID":"2","FileName":"../a.pdf","ContentType":"application/pdf","Size":4},
    {"PartID":"3","FileName":"a.pdf","ContentType":"application/pdf","Size":4}],
    "Created":"2026-11-30T09:00:00Z","Cursor":"0000000000000001-7"}"#;

#[test]
fn a_list_is_asked_for_by_mailbox_and_by_words() {
    let table = "ID      WHEN                 FROM               TO               SUBJECT\n\
                 9f00-1  2026-11-30 09:00:00  alice@example.com  bob@example.com  Hello \\u{1b}\n";
    for (arguments, target) in [
        (&["list"][..], "/api/v1/messages?limit=50"),
        (
            &["list", "--mailbox", "bob+a@example.com", "--limit", "7"],
            "/api/mailboxes/bob%2Ba%40example.com?limit=7",
        ),
        (
            &["list", "from:alice", "code é"],
            "/api/v1/search?query=from%3Aalice%20code%20%C3%A9&limit=50",
        ),
        (
            &["list", "--mailbox", "bob@example.com", "--", "-hello"],
            "/api/v1/search?query=-hello%20mailbox%3A%22bob%40example.com%22&limit=50",
        ),
    ] {
        let (printed, asked) = ask(arguments, &[ok(LIST)]);
        assert_eq!(asked, [format!("GET {target}")]);
        assert_eq!(printed.unwrap(), table);
    }
    let (printed, _) = ask(&["list", "--json"], &[ok(LIST)]);
    assert_eq!(printed.unwrap(), format!("{LIST}\n"));
}

#[test]
fn a_cursor_is_printed() {
    let (printed, asked) = ask(&["cursor"], &[ok(r#"{"cursor":"0000000000000001-7"}"#)]);
    assert_eq!(printed.unwrap(), "0000000000000001-7\n");
    assert_eq!(asked, ["GET /api/cursor"]);
}

const OVERVIEW: &str = "\
From: Alice <alice@example.com>
To: bob@example.com, Carol <carol@example.com>
Date: Mon, 30 Nov 2026 08:59:59 +0000
Subject: Your \\u{1b}[1mcode

Code: 123456
https://shop.test/verify?t=1

Attachments:
  ../a.pdf  application/pdf  4 octets
  a.pdf  application/pdf  4 octets
";

#[test]
fn a_message_is_shown_in_each_form() {
    for (option, expect) in [
        (None, OVERVIEW),
        (Some("--json"), &format!("{MESSAGE}\n")),
        (
            Some("--text"),
            "Code: 123456\nhttps://shop.test/verify?t=1\n",
        ),
        (Some("--html"), "<p>Code: <b>123456</b>\n"),
        (Some("--link"), "https://shop.test/verify?t=1\n"),
        (Some("--link=verify"), "https://shop.test/verify?t=1\n"),
        (Some("--code"), "123456\n"),
        (Some("--code=6"), "123456\n"),
    ] {
        let arguments: Vec<&str> = ["show", "latest"].into_iter().chain(option).collect();
        let (printed, asked) = ask(&arguments, &[ok(MESSAGE)]);
        assert_eq!(printed.unwrap(), expect, "{option:?}");
        assert_eq!(asked, ["GET /api/v1/message/latest"]);
    }
    let raw = "Subject: a\r\n b\r\nTo: c\r\n\r\nbody\u{1b}\r\n";
    for (option, expect) in [("--raw", raw), ("--headers", "Subject: a\n b\nTo: c\n")] {
        let (printed, asked) = ask(&["show", "9f00-1", option], &[ok(raw)]);
        assert_eq!(printed.unwrap(), expect);
        assert_eq!(asked, ["GET /api/v1/message/9f00-1/raw"]);
    }
    let chunks = in_chunks("5\r\nFrom:\r\n6\r\n x\r\n\r\n\r\n0\r\n\r\n");
    let (printed, _) = ask(&["show", "1", "--raw"], &[chunks]);
    assert_eq!(printed.unwrap(), "From: x\r\n\r\n");
}

#[test]
fn what_a_message_does_not_have_is_a_failure_that_says_what_was_looked_at() {
    let plain = r#"{"ID":"1","Text":"no","To":[{"Address":"b@x"}],"Subject":"s"}"#;
    let complex = r#"{"ID":"1","TooComplex":true}"#;
    for (option, message, expect) in [
        (
            "--link=reset",
            MESSAGE,
            "no link that contains \"reset\" is in 9f00-1 from",
        ),
        (
            "--link",
            plain,
            "0 links of the text and 0 of the HTML were looked at",
        ),
        ("--code=4", MESSAGE, "no code of 4 digits is in 9f00-1"),
        (
            "--code",
            plain,
            "2 characters of text and 0 of HTML were looked at",
        ),
        ("--html", plain, "print its text with --text"),
        ("--text", complex, "print it with --raw"),
        ("--save=x", plain, "no attachment is in 1 from"),
    ] {
        let (failure, _) = ask(&["show", "1", option], &[ok(message)]);
        let (code, text) = failure.unwrap_err();
        assert!(code == 1 && text.contains(expect), "{code} {text}");
        assert!(
            text.lines().count() == 1 && !text.contains('\u{1b}'),
            "{text}"
        );
    }
}

#[test]
fn attachments_are_saved_under_names_that_are_free() {
    let stub = Stub::new(vec![ok(MESSAGE), ok("one"), ok("two")]);
    let directory = stub.mail.path().join("saved");
    let option = format!("--save={}", directory.display());
    let printed = stub.run(&["show", "latest", &option]).unwrap();
    let (first, second) = (directory.join("a.pdf"), directory.join("a-2.pdf"));
    assert_eq!(
        printed,
        format!("{}\n{}\n", first.display(), second.display())
    );
    assert_eq!(std::fs::read(first).unwrap(), b"one");
    assert_eq!(std::fs::read(second).unwrap(), b"two");
    let expect = [
        "GET /api/v1/message/latest",
        "GET /api/v1/message/9f00-1/part/2",
        "GET /api/v1/message/9f00-1/part/3",
    ];
    assert_eq!(stub.asked(), expect);
}

#[test]
fn an_attachment_that_is_cut_off_leaves_no_file() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf".to_owned();
    let stub = Stub::new(vec![ok(MESSAGE), cut]);
    let directory = stub.mail.path().join("saved");
    let failure = stub.run(&["show", "1", "--save", directory.to_str().unwrap()]);
    let (code, text) = failure.unwrap_err();
    assert!(
        code == 1 && text.contains("connection to the daemon was lost"),
        "{text}"
    );
    assert_eq!(std::fs::read_dir(&directory).unwrap().count(), 0);
}

#[test]
fn messages_are_removed_and_counted() {
    let found = ok(r#"{"total":9,"messages_count":2,"messages":[]}"#);
    let done = ok("ok");
    for (arguments, answers, printed, requests) in [
        (
            &["remove", "b", "a", "b"][..],
            vec![ok("{}"), ok("{}"), done.clone()],
            "removed 2 messages\n",
            &[
                "GET /api/v1/message/a/raw",
                "GET /api/v1/message/b/raw",
                "DELETE /api/v1/messages {\"IDs\":[\"a\",\"b\"]}",
            ][..],
        ),
        (
            &["remove", "--all"],
            vec![found.clone(), done.clone()],
            "removed 9 messages\n",
            &["GET /api/v1/messages?limit=1", "DELETE /api/v1/messages"],
        ),
        (
            &["remove", "--match", "from:alice"],
            vec![found.clone(), done.clone()],
            "removed 2 messages\n",
            &[
                "GET /api/v1/search?query=from%3Aalice&limit=1",
                "DELETE /api/v1/search?query=from%3Aalice",
            ],
        ),
        (
            &["remove", "--mailbox", "bob@example.com"],
            vec![found.clone(), done.clone()],
            "removed 2 messages\n",
            &[
                "GET /api/mailboxes/bob%40example.com?limit=1",
                "DELETE /api/mailboxes/bob%40example.com",
            ],
        ),
        (
            &["remove", "--match", "x"],
            vec![ok(r#"{"total":9,"messages_count":0}"#)],
            "removed 0 messages\n",
            &["GET /api/v1/search?query=x&limit=1"],
        ),
    ] {
        let (done, asked) = ask(arguments, &answers);
        assert_eq!(done.unwrap(), printed);
        assert_eq!(asked, requests);
    }
}

#[test]
fn the_exit_code_says_what_kind_of_failure_it_is() {
    let busy = "bob@example.com is open in a POP3 session: try again later\n";
    let found = ok(r#"{"total":1}"#);
    for (arguments, answers, code, text) in [
        (
            &["remove", "--all"][..],
            vec![found, answer("409 Conflict", busy)],
            75,
            "bob@example.com is open in a POP3 session: try again later",
        ),
        (
            &["list", "tag:x"],
            vec![answer(
                "400 Bad Request",
                "no tags here; \u{1b}leave it out",
            )],
            2,
            "no tags here; \\u{1b}leave it out",
        ),
        (
            &["show", "1"],
            vec![answer("404 Not Found", "no message has this ID")],
            1,
            "no message has this ID",
        ),
        (
            &["wait"],
            vec![answer("409 Conflict", "there are more than 16384 messages")],
            1,
            "there are more than",
        ),
        (
            &[
                "wait",
                "--since",
                "9f00000000000001-184467440737-1700000000",
            ],
            vec![answer("410 Gone", "")],
            1,
            "the cursor is of an earlier run of the daemon",
        ),
    ] {
        let (failure, _) = ask(arguments, &answers);
        let (found, message) = failure.unwrap_err();
        assert_eq!(found, code, "{message}");
        assert!(
            message.contains(text) && message.lines().count() == 1,
            "{message}"
        );
    }
}

#[test]
fn what_is_no_answer_is_reported() {
    for (arguments, answers, code, text) in [
        (
            &["cursor"][..],
            vec![answer("500 Internal Server Error", "")],
            1,
            "with status 500",
        ),
        (
            &["cursor"],
            vec![ok("{}")],
            1,
            "is not a facteur of this version",
        ),
        (
            &["cursor"],
            vec!["220 mail ESMTP\r\n".to_owned()],
            1,
            "does not speak HTTP",
        ),
        (
            &["cursor"],
            vec!["HTTP/1.1 200".to_owned()],
            1,
            "connection to the daemon was lost",
        ),
        (
            &["list"],
            vec!["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}".to_owned()],
            1,
            "was lost",
        ),
        (
            &["show", "1", "--raw"],
            vec![in_chunks("4\r\nhalf\r\n")],
            1,
            "was lost",
        ),
        (
            &["show", "1", "--raw"],
            vec![in_chunks("x\r\n")],
            1,
            "does not send what it announces",
        ),
        (
            &["list"],
            vec![in_chunks("0\r\n\r\n").replace("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\n")],
            1,
            "sends a length and chunks",
        ),
    ] {
        let (failure, _) = ask(arguments, &answers);
        let (found, message) = failure.unwrap_err();
        assert_eq!(found, code, "{message}");
        assert!(message.contains(text), "{message}");
    }
}

/// Whether the request or the answer is faster.
#[test]
fn an_answer_that_comes_before_the_request_counts() {
    let mail = tempfile::tempdir().unwrap();
    let own = mail.path().join(".facteur");
    std::fs::DirBuilder::new().create(&own).unwrap();
    let listener = RealFs.bind_socket(&own, "control").unwrap();
    let serve = move || {
        for _ in 0..20 {
            let (mut stream, _) = listener.accept().unwrap();
            let busy = answer("503 Service Unavailable", "there is no place");
            stream.write_all(busy.as_bytes()).unwrap();
        }
    };
    std::thread::Builder::new().spawn(serve).unwrap();
    for _ in 0..20 {
        let error = run_with(&["--mail", mail.path().to_str().unwrap(), "cursor"]).unwrap_err();
        assert_eq!(error.to_string(), "there is no place");
    }
}

#[test]
fn messages_are_not_removed_at_another_daemon_than_the_one_that_was_named() {
    let own = tempfile::tempdir().unwrap();
    let mail = own.path().to_str().unwrap();
    let error = run_with(&["--mail", mail, "remove", "--all"]).unwrap_err();
    let text = error.to_string();
    assert!(text.contains(mail) && !text.contains("65480"), "{text}");
    assert_eq!(error.exit_code(), 1);
    assert!(!error.is_usage());
}

#[test]
fn a_wait_asks_for_what_is_wanted_and_prints_it_as_show_does() {
    let age = "since=1699999400&timeout=10s";
    for (arguments, printed, query) in [
        (&["wait"][..], OVERVIEW, age.to_owned()),
        (
            &[
                "wait",
                "--to",
                "bob+1@example.com",
                "--subject",
                "a b",
                "--match",
                "x:y",
                "--code",
            ],
            "123456\n",
            format!("{age}&to=bob%2B1%40example.com&subject=a%20b&match=x%3Ay"),
        ),
        (
            &[
                "wait",
                "--since",
                "00ab-7",
                "--timeout",
                "3m",
                "--link=verify",
            ],
            "https://shop.test/verify?t=1\n",
            "since=00ab-7&timeout=60s".to_owned(),
        ),
        (
            &["wait", "--since", "1700000000", "--timeout", "0s", "--text"],
            "Code: 123456\nhttps://shop.test/verify?t=1\n",
            "since=1700000000&timeout=0s".to_owned(),
        ),
    ] {
        let (done, asked) = ask(arguments, &[ok(MESSAGE)]);
        assert_eq!(asked, [format!("GET /api/wait?{query}")]);
        assert_eq!(done.unwrap(), printed);
    }
}

#[test]
fn several_messages_are_printed_the_oldest_first() {
    let both = ok(&format!(
        "{{\"cursor\":\"c\",\"messages\":[{MESSAGE},{MESSAGE}]}}"
    ));
    let (done, asked) = ask(&["wait", "--count", "2"], std::slice::from_ref(&both));
    assert_eq!(
        asked,
        ["GET /api/wait?since=1699999400&timeout=10s&count=2"]
    );
    assert_eq!(done.unwrap(), format!("{OVERVIEW}\n----\n\n{OVERVIEW}"));
    let (done, _) = ask(&["wait", "--count", "2", "--code"], &[both]);
    assert_eq!(done.unwrap(), "123456\n123456\n");
}

/// The time passes only when the command pauses.
#[test]
fn a_wait_ends_with_its_time_and_says_what_did_come() {
    let list = r#"{"messages_count":4,"messages":[{"To":[{"Address":"a@x"}],"Subject":"1"},
        {"To":[{"Address":"b@x"}],"Subject":"2\u001b"}]}"#;
    let busy = answer("503 Service Unavailable", "too many wait");
    let arguments = ["wait", "--to", "c@x", "--timeout", "1s"];
    let (done, asked) = ask(&arguments, &[nothing(), busy, nothing(), ok(list)]);
    let expect = "the time is over, and no message to c@x came in 1s; 4 messages came since \
                  2023-11-14T22:03:20Z, the newest: to a@x \"1\", to b@x \"2\\u{1b}\"";
    assert_eq!(done.unwrap_err(), (124, expect.to_owned()));
    let wait = |timeout| format!("GET /api/wait?since=1699999400&timeout={timeout}&to=c%40x");
    let search = "GET /api/v1/search?query=after%3A2023-11-14T22%3A03%3A20Z&limit=3";
    assert_eq!(
        asked,
        [wait("1s"), wait("500ms"), wait("0s"), search.to_owned()]
    );

    let arguments = ["wait", "--none", "--timeout", "250ms"];
    let (done, asked) = ask(&arguments, &[nothing(), nothing()]);
    assert_eq!(done.unwrap(), "");
    assert!(asked[0].ends_with("&timeout=250ms"), "{asked:?}");

    let arguments = ["wait", "--since", "00ab-7", "--timeout", "0s"];
    for (answers, expect) in [
        (vec![nothing(), nothing()], "no other message came either"),
        (
            vec![nothing(), ok(MESSAGE)],
            "the newest that came since the cursor is to bob@ex",
        ),
        (
            vec![nothing(), answer("410 Gone", "")],
            "the daemon does not say what came",
        ),
    ] {
        let (code, text) = ask(&arguments, &answers).0.unwrap_err();
        assert!(code == 124 && text.contains(expect), "{code} {text}");
    }
}

#[test]
fn a_wait_for_nothing_fails_if_a_message_comes() {
    let arguments = ["wait", "--none", "--timeout", "0s"];
    let (done, asked) = ask(&arguments, &[nothing()]);
    assert_eq!((done.unwrap().as_str(), asked.len()), ("", 1));
    let (code, text) = ask(&arguments, &[ok(MESSAGE)]).0.unwrap_err();
    assert_eq!(code, 1);
    let expect = "a message came: 9f00-1 from alice@example.com to bob@example.com \"Your ";
    assert!(text.starts_with(expect), "{text}");
}

#[test]
fn wrong_usage_is_refused_before_anything_is_asked() {
    for arguments in [
        &["show"][..],
        &["show", "1", "--json", "--raw"],
        &["show", "1", "--code=0"],
        &["show", "1", "--code=33"],
        &["wait", "--to", ""],
        &["wait", "--none", "--count", "2"],
        &["wait", "--none", "--json"],
        &["wait", "--count", "0"],
        &["wait", "--since", "yesterday"],
        &["wait", "--since", "-"],
        &["wait", "--timeout", "10"],
        &["wait", "--timeout", "8d"],
        &["wait", "--timeout", "+1s"],
        &["wait", "bob@example.com"],
        &["list", "--limit", "0"],
        &["list", "--limit", "1001"],
        &["list", "--mailbox", "bob"],
        &["remove"],
        &["remove", "1", "--all"],
        &["remove", "--match", "x", "--mailbox", "bob@example.com"],
    ] {
        let all = std::iter::once(&"facteur").chain(arguments);
        let error = Arguments::try_parse_from(all).unwrap_err();
        assert!(error.use_stderr(), "{arguments:?}");
        let text = crate::cli::usage_error(&error);
        assert_eq!(text.lines().count(), 1, "{text}");
    }
}

proptest! {
    /// Whatever answers, a command ends without a panic, and nothing controls the terminal.
    #[test]
    fn no_answer_is_too_strange(
        head in prop_oneof![
            Just("HTTP/1.1 200 OK\r\n\r\n".to_owned()),
            Just("HTTP/1.0 404 x\r\nContent-Length: 20\r\n\r\n".to_owned()),
            "HTTP/1.[01] [0-9]{3} \r\n([A-Za-z-]{1,4}: [ -~]{0,9}\r\n){0,3}\r\n",
            Just(String::new()),
        ],
        body in prop_oneof![Just(LIST.to_owned()), Just(MESSAGE.to_owned()), any::<String>()],
        command in 0_usize..4,
        cut in 0_usize..400,
    ) {
        let answer = head + &body;
        let answer = answer.get(..cut).unwrap_or(&answer).to_owned();
        let arguments: [&[&str]; 4] =
            [&["list"], &["show", "1"], &["wait", "--count", "1"], &["cursor"]];
        let (Ok(text) | Err((_, text))) = ask(arguments[command], &[answer]).0;
        let controls = |c: char| c.is_control() && c != '\n' && c != '\t';
        prop_assert!(!text.contains(controls), "{}", text);
    }
}

/// SEC-8: an answer that never ends is not read for ever.
#[test]
fn an_answer_has_limits() {
    for endless in ["X-Field: a\r\n", "x", "\r"] {
        let (done, _) = ask(
            &["cursor"],
            &[["HTTP/1.1 200 OK\r\n", &endless.repeat(40_000)].concat()],
        );
        let (code, text) = done.unwrap_err();
        assert!(code == 1 && text.contains("is not a facteur"), "{text}");
    }
    let long = answer("500 Internal Server Error", &"long ".repeat(40_000));
    let (code, text) = ask(&["cursor"], &[long]).0.unwrap_err();
    assert!(code == 1 && text.len() < 300, "{text}");
}
