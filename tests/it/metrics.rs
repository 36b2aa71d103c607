//! The counters over HTTP, in the text format of Prometheus.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::support::program::Program;
use crate::support::{Client, HASH, Service};

const METRICS: &str = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n";

/// The numbers by their names with labels. Fails at whatever a strict reader of the format would
/// refuse: each family has HELP, then TYPE, once, and after them all of its numbers, each once.
fn parse(text: &str) -> BTreeMap<String, f64> {
    let is_name = |name: &str| {
        let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
        name.starts_with(is_letter) && name.chars().all(|c| is_letter(c) || c.is_ascii_digit())
    };
    assert!(text.ends_with('\n'), "{text}");
    let (mut families, mut numbers) = (BTreeSet::new(), BTreeMap::new());
    let (mut family, mut kind) = (String::new(), String::new());
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match [(); 4].map(|()| words.next().unwrap_or_default()) {
            ["#", "HELP", name, help] => {
                assert!(
                    is_name(name) && !help.is_empty() && !help.contains('\\'),
                    "{line}"
                );
                assert!(families.insert(name.to_owned()), "twice: {line}");
                name.clone_into(&mut family);
                kind.clear();
            }
            ["#", "TYPE", name, what] => {
                assert!(name == family && kind.is_empty(), "{line}");
                assert!(["counter", "gauge"].contains(&what), "{line}");
                what.clone_into(&mut kind);
            }
            [number, value, "", ""] => {
                let (name, labels) = number.split_once('{').unwrap_or((number, "}"));
                assert!(name == family && !kind.is_empty(), "{line}");
                assert_eq!(name.ends_with("_total"), kind == "counter", "{line}");
                let labels = labels.strip_suffix('}').unwrap();
                for label in labels.split(',').filter(|label| !label.is_empty()) {
                    let (name, value) = label.split_once('=').unwrap();
                    let value = value.strip_prefix('"').and_then(|it| it.strip_suffix('"'));
                    assert!(
                        is_name(name) && !value.unwrap().contains(['"', '\\']),
                        "{line}"
                    );
                }
                let value = value.parse().unwrap();
                assert_eq!(
                    numbers.insert(number.to_owned(), value),
                    None,
                    "twice: {line}"
                );
            }
            _ => panic!("{line}"),
        }
    }
    numbers
}

/// The status line, the fields and the body of the answer.
fn ask(client: &mut Client, fields: &str) -> (String, String) {
    client.send(format!("{METRICS}{fields}\r\n").as_bytes());
    let mut head = String::new();
    loop {
        let line = client.line();
        if line.is_empty() {
            break;
        }
        head += &line.to_lowercase();
        head.push('\n');
    }
    let (_, length) = head.split_once("content-length: ").unwrap();
    let length = length.lines().next().unwrap().parse().unwrap();
    (head, String::from_utf8(client.octets(length)).unwrap())
}

#[test]
fn prometheus_reads_the_counters() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), "http = [\"127.0.0.1:0\"]\n");
    program.deliver("bob@example.com", "Subject: x\r\n\r\nx\r\n");
    program.deliver("eve@example.com", "Subject: x\r\n\r\nx\r\n");
    let (head, text) = ask(&mut Client::connect(program.http()), "");
    assert!(head.starts_with("http/1.1 200 ok\n"), "{head}");
    let media_type = "content-type: text/plain; version=0.0.4; charset=utf-8\n";
    assert!(head.contains(media_type), "{head}");
    let numbers = parse(&text);
    let number = |name: &str| numbers[&format!("facteur_{name}")].to_string();
    assert_eq!(number("accepted_messages_total"), "2");
    assert_eq!(number("sessions_total{service=\"smtp\"}"), "2");
    assert_eq!(number("sessions_total{service=\"http\"}"), "1");
    assert_ne!(number("sessions"), "0");
    assert!(!text.contains("example"), "{text}");
}

#[test]
fn with_accounts_it_needs_a_login_but_not_on_the_control_socket() {
    let directory = tempfile::tempdir().unwrap();
    let accounts = format!("[[accounts]]\naddress = \"bob@example.com\"\npassword = [{HASH:?}]\n");
    let program = Program::start_with(
        directory.path(),
        &format!("http = [\"127.0.0.1:0\"]\n{accounts}"),
    );
    let (head, _) = ask(&mut Client::connect(program.http()), "");
    assert!(head.starts_with("http/1.1 401 "), "{head}");
    let token = STANDARD.encode("bob@example.com:password");
    let login = format!("Authorization: Basic {token}\r\n");
    let (head, text) = ask(&mut Client::connect(program.http()), &login);
    assert!(head.starts_with("http/1.1 200 "), "{head}");
    assert!(parse(&text).len() > 80, "{text}");
    let mut control = UnixStream::connect(directory.path().join("mail/.facteur/control")).unwrap();
    control
        .write_all(format!("{METRICS}\r\n").as_bytes())
        .unwrap();
    let mut answer = String::new();
    control.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}
