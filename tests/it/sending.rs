//! Messages that are sent over HTTP: delivered by the rules of SMTP, and durable before the answer.

use std::net::SocketAddr;

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::support::program::{Program, report};
use crate::support::{Client, HASH, Service};

const HTTP: &str = "http = [\"127.0.0.1:0\"]\n";

/// The status and the body of the answer to a request with these fields and this body.
fn ask(address: SocketAddr, head: &str, body: &str) -> (u16, String) {
    let mut client = Client::connect(address);
    let length = body.len();
    let head =
        format!("{head}Host: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n");
    client.send(format!("{head}\r\n{body}").as_bytes());
    let line = client.expect_prefix("HTTP/1.1 ");
    let status = line.split(' ').nth(1).unwrap().parse().unwrap();
    let mut octets = 0;
    loop {
        let line = client.line().to_lowercase();
        if let Some(length) = line.strip_prefix("content-length: ") {
            octets = length.parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let body = String::from_utf8(client.octets(octets)).unwrap();
    client.expect_end();
    (status, body)
}

fn send(program: &Program, fields: &str, letter: &Value) -> (u16, String) {
    let head = format!("POST /api/v1/send HTTP/1.1\r\n{fields}");
    ask(program.http(), &head, &letter.to_string())
}

fn to(recipients: &[&str]) -> Value {
    let to: Vec<Value> = recipients.iter().map(|it| json!({ "Email": it })).collect();
    json!({
        "From": {"Email": "ann@example.com", "Name": "Ann"},
        "To": to, "Subject": "Gr\u{fc}\u{df}e", "Text": "hello\n.\nworld\n",
    })
}

#[test]
fn a_message_is_sent_and_read_by_its_id() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), HTTP);
    let letter = to(&["bob+run@example.com"]);
    let (status, body) = send(&program, "", &letter);
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    let id = answer["ID"].as_str().unwrap();
    let get = format!("GET /api/v1/message/{id} HTTP/1.1\r\n");
    let (status, body) = ask(program.http(), &get, "");
    assert_eq!(status, 200, "{body}");
    let message: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(message["Subject"], "Gr\u{fc}\u{df}e");
    assert_eq!(message["Text"], "hello\n.\nworld\n");
    assert_eq!(
        message["From"],
        json!({"Name": "Ann", "Address": "ann@example.com"})
    );
    assert_eq!(message["ReturnPath"], "ann@example.com");
    assert_eq!(message["Mailboxes"], json!(["bob@example.com"]));
    // POP3 has it, with the trace header that every message has.
    let mut client = program.pop3_client();
    client.log_in("bob@example.com");
    let content = client.retrieve(1);
    assert!(
        content.contains("from [127.0.0.1] ([127.0.0.1])"),
        "{content}"
    );
    assert!(content.contains(" with HTTP id "), "{content}");
    assert!(content.contains("for <bob+run@example.com>;"), "{content}");
    program.expect_log("accepted id=");
    program.signal("USR1");
    assert_eq!(report(&program)["accepted_messages"], 1);
}

#[test]
fn the_limits_of_smtp_apply_and_nothing_is_delivered() {
    let directory = tempfile::tempdir().unwrap();
    let lines = format!(
        "{HTTP}domains = [\"example.com\"]\nlimits.message_octets = 20000\nlimits.recipients = 2\n"
    );
    let program = Program::start_with(directory.path(), &lines);
    let mut large = to(&["bob@example.com"]);
    large["Text"] = json!("x".repeat(30_000));
    let three = to(&["a@example.com", "b@example.com", "c@example.com"]);
    let away = to(&["bob@example.com", "bob@elsewhere.example"]);
    for (letter, status, text) in [
        (large, 413, "larger than this server accepts"),
        (three, 400, "more than 2 recipients"),
        (
            away,
            400,
            "To[1].Email: This server does not accept mail for that domain",
        ),
        (json!({"From": 1}), 400, "From is not an object"),
    ] {
        let (found, body) = send(&program, "", &letter);
        assert_eq!(found, status, "{body}");
        assert!(body.contains(text) && body.ends_with('\n'), "{body}");
    }
    assert_eq!(program.contents("bob@example.com"), Vec::<String>::new());
    program.signal("USR1");
    let counts = report(&program);
    assert_eq!(
        (counts["accepted_messages"], counts["refused_not_local"]),
        (0, 1)
    );
}

#[test]
fn with_accounts_the_sender_is_the_own_one() {
    let directory = tempfile::tempdir().unwrap();
    let account = |name: &str| {
        format!("[[accounts]]\naddress = \"{name}@example.com\"\npassword = [{HASH:?}]\n")
    };
    let accounts = account("ann") + &account("bob");
    std::fs::write(directory.path().join("accounts.toml"), accounts).unwrap();
    let lines = format!("{HTTP}accounts = \"accounts.toml\"\nlimits.refused_login_seconds = 0\n");
    let program = Program::start_with(directory.path(), &lines);
    let login = |user: &str| {
        let token = STANDARD.encode(format!("{user}@example.com:password"));
        format!("Authorization: Basic {token}\r\n")
    };
    let letter = to(&["bob@example.com"]);
    for (login, letter, status, text) in [
        (String::new(), letter.clone(), 401, "Log in"),
        (
            login("bob"),
            letter.clone(),
            403,
            "From.Email is not an address of your account",
        ),
        (
            login("ann"),
            to(&["bob@example.com", "eve@example.com"]),
            400,
            "To[1].Email: No such mailbox here",
        ),
        (login("ann"), letter, 200, "ID"),
    ] {
        let (found, body) = send(&program, &login, &letter);
        assert_eq!(found, status, "{body}");
        assert!(body.contains(text), "{body}");
    }
    program.expect_log("account=\"ann@example.com\"");
}

/// A test that runs beside others waits for its own sub-address, also if it is in no field.
#[test]
fn a_wait_finds_the_subaddress_of_one_recipient_among_several() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), HTTP);
    let mut client = program.extended_client();
    for (command, reply) in [
        ("MAIL FROM:<ann@example.com>", "250 "),
        ("RCPT TO:<carl@example.com>", "250 "),
        ("RCPT TO:<Bob+Run1@example.com>", "250 "),
        ("DATA", "354 "),
        ("Subject: over SMTP\r\n\r\nx\r\n.", "250 "),
    ] {
        client.say(command);
        client.expect_prefix(reply);
    }
    let mut letter = to(&["carl@example.com"]);
    letter["Bcc"] = json!(["bob+run2@example.com"]);
    assert_eq!(send(&program, "", &letter).0, 200);
    for (address, subject) in [
        ("bob%2Brun1", Some("over SMTP")),
        ("bob%2Brun2", Some("Gr\u{fc}\u{df}e")),
        ("bob%2Brun3", None),
        ("bob%2Brun", None),
        ("carl%2Brun1", None),
    ] {
        let get = format!("GET /api/wait?to={address}@example.com&timeout=0s HTTP/1.1\r\n");
        let (status, body) = ask(program.http(), &get, "");
        assert_eq!(
            status,
            if subject.is_some() { 200 } else { 204 },
            "{address}"
        );
        let message: Value = serde_json::from_str(&body).unwrap_or_default();
        assert_eq!(message["Subject"].as_str(), subject, "{address}");
    }
}
