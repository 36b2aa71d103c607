//! `facteur sendmail`: the program as cron, PHP and mail programs run it, beside a daemon.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crate::support::program::{Ended, Program};
use crate::support::{DEADLINE, Server, Service};

/// The fields that nothing is added to.
const COMPLETE: &str = "From: al@x\nDate: Thu, 1 Jan 2026 00:00:00 +0000\nMessage-ID: <1@x>\n";

/// Runs a program with octets on its standard input.
fn run_program(program: &Path, arguments: &[&str], input: &[u8]) -> Ended {
    let mut child = Command::new(program)
        .args(arguments)
        .env_remove("NAME")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that fails early does not read its input.
    drop(child.stdin.take().unwrap().write_all(input));
    let output = child.wait_with_output().unwrap();
    Ended {
        status: output.status.code(),
        output: String::from_utf8(output.stdout).unwrap(),
        errors: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs `facteur sendmail` for a daemon that listens here, with these arguments.
fn sendmail(address: SocketAddr, arguments: &[&str], input: &str) -> Ended {
    let address = address.to_string();
    let arguments = [&["--smtp", &address, "sendmail"], arguments].concat();
    let program = Path::new(env!("CARGO_BIN_EXE_facteur"));
    run_program(program, &arguments, input.as_bytes())
}

/// The same, which must succeed without any output.
fn send(server: &Server, arguments: &[&str], input: &str) {
    let ended = sendmail(server.smtp(), arguments, input);
    assert_eq!(ended.status, Some(0), "{arguments:?}: {}", ended.errors);
    assert_eq!((ended.output, ended.errors), (String::new(), String::new()));
}

/// Asserts an exit code, and an error of one line that has this in it.
fn refused(ended: &Ended, status: i32, part: &str) {
    assert_eq!(ended.status, Some(status), "{}", ended.errors);
    assert_eq!(ended.errors.lines().count(), 1, "{}", ended.errors);
    assert!(ended.errors.starts_with("facteur: "), "{}", ended.errors);
    assert!(ended.errors.contains(part), "{part}: {}", ended.errors);
    assert_eq!(ended.output, "");
}

/// The only message of `user`, as it was sent.
fn only(server: &Server, user: &str) -> String {
    let mut contents = server.contents(user);
    assert_eq!(contents.len(), 1, "{user}");
    contents.remove(0)
}

fn with_crlf(text: &str) -> String {
    text.replace('\n', "\r\n")
}

#[test]
fn a_message_arrives_as_it_was_given() {
    let body = "\n.\n..\n.dot\nFrom me\n  blanks  \n\nlast";
    let complete = format!("{COMPLETE}Subject: 1\n{body}");
    // The last line gets an ending.
    let expect = with_crlf(&complete) + "\r\n";
    for (arguments, input) in [
        (&["-i", "b@x"][..], complete.clone()),
        (&["-oi", "-f", "al@x", "b@x"], complete.clone()),
        (&["-oem", "-oi", "-fal@x", "--", "b@x"], complete.clone()),
        (&["-i", "b@x"], with_crlf(&complete)),
    ] {
        let server = Server::start();
        send(&server, arguments, &input);
        assert_eq!(only(&server, "b@x"), expect, "{arguments:?}");
    }
}

#[test]
fn a_lone_dot_ends_the_message_without_i() {
    for ending in ["\n", "\r\n"] {
        let server = Server::start();
        let input = format!("{COMPLETE}\na\n.\nb\n").replace('\n', ending);
        send(&server, &["b@x"], &input);
        assert_eq!(only(&server, "b@x"), with_crlf(&format!("{COMPLETE}\na\n")));
        send(&server, &["-i", "c@x"], &input);
        assert_eq!(
            only(&server, "c@x"),
            with_crlf(&format!("{COMPLETE}\na\n.\nb\n"))
        );
    }
}

#[test]
fn recipients_are_read_from_the_header_and_bcc_is_removed() {
    let server = Server::start();
    let input = format!(
        "{COMPLETE}To: \"Builder, Bob\" <bob@x>,\n\tEve (a, b) <eve@x>\nCC: Friends: f1@x,\n \
         =?utf-8?Q?F,_2?= <f2@x>;, local\nBcc: secret@x,\n bob@x\nSubject: 1\n\nTo: no@x\n"
    );
    let (before, rest) = input.split_once("Bcc:").unwrap();
    let (_, after) = rest.split_once(" bob@x\n").unwrap();
    send(&server, &["-t", "more@x,again@x"], &input);
    let expect = with_crlf(&format!("{before}{after}"));
    for user in [
        "bob@x",
        "eve@x",
        "f1@x",
        "f2@x",
        "local@localhost",
        "secret@x",
        "more@x",
        "again@x",
    ] {
        assert_eq!(only(&server, user), expect, "{user}");
    }
    assert!(server.contents("no@x").is_empty());
    // Without -t, the header is only text.
    send(&server, &["other@x"], &input);
    assert_eq!(only(&server, "other@x"), with_crlf(&input));
    assert_eq!(server.contents("secret@x").len(), 1);
}

#[test]
fn missing_fields_are_added() {
    let server = Server::start();
    send(
        &server,
        &["-FCron: Daemon", "-f", "cron@x", "b@x"],
        "hello\n",
    );
    let message = only(&server, "b@x");
    let lines: Vec<&str> = message.split("\r\n").collect();
    assert_eq!(lines[0], "From: \"Cron: Daemon\" <cron@x>");
    let date = lines[1].strip_prefix("Date: ").unwrap();
    jiff::fmt::rfc2822::parse(date).unwrap();
    let id = lines[2].strip_prefix("Message-ID: <").unwrap();
    assert!(id.ends_with("@localhost>"), "{id}");
    assert_eq!(lines[3..], ["", "hello", ""]);

    send(&server, &["-f", "", "c@x"], "Subject: 1\n\nhello\n");
    let message = only(&server, "c@x");
    assert!(message.starts_with("Subject: 1\r\nFrom: "), "{message}");
    assert!(message.contains("@localhost"), "{message}");
    let mut client = server.maildrop("c@x");
    let whole = client.retrieve(1);
    assert!(whole.starts_with("Return-Path: <>\r\n"), "{whole}");

    send(&server, &["-f", "Al <al>", "d@x"], "\n");
    let whole = server.maildrop("d@x").retrieve(1);
    assert!(
        whole.starts_with("Return-Path: <al@localhost>\r\n"),
        "{whole}"
    );
}

#[test]
fn non_ascii_headers_and_addresses_are_sent_with_smtputf8() {
    let server = Server::start();
    let input = format!("{COMPLETE}To: Müller <müller@bücher.example>\n\nbücher\n");
    send(&server, &["-t"], &input);
    assert_eq!(only(&server, "müller@bücher.example"), with_crlf(&input));
    let verbose = sendmail(server.smtp(), &["-tv"], &input);
    assert_eq!(verbose.status, Some(0), "{}", verbose.errors);
    let mail = verbose
        .output
        .lines()
        .find(|line| line.starts_with(">>> MAIL"));
    let mail = mail.unwrap();
    assert!(mail.contains(" SIZE="), "{mail}");
    assert!(mail.ends_with(" BODY=8BITMIME SMTPUTF8"), "{mail}");
    assert!(
        verbose.output.ends_with("221 2.0.0 Fermeture connexion\n"),
        "{}",
        verbose.output
    );

    // An ASCII message needs none of them.
    let plain = sendmail(server.smtp(), &["-v", "b@x"], COMPLETE);
    let mail = plain
        .output
        .lines()
        .find(|line| line.starts_with(">>> MAIL"));
    let size = with_crlf(COMPLETE).len();
    assert!(
        mail.unwrap().ends_with(&format!(" SIZE={size}")),
        "{}",
        plain.output
    );
    let eight = sendmail(server.smtp(), &["-vB8BITMIME", "b@x"], COMPLETE);
    assert!(
        eight.output.contains(" BODY=8BITMIME\n"),
        "{}",
        eight.output
    );
}

#[test]
fn a_program_with_the_name_sendmail_is_sendmail() {
    let server = Server::start();
    let own = tempfile::tempdir().unwrap();
    let link = own.path().join("sendmail");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_facteur"), &link).unwrap();
    let configuration = own.path().join("small.toml");
    let text = format!(
        "hostname = \"box.example\"\nsmtp = [\"{}\"]\n",
        server.smtp()
    );
    std::fs::write(&configuration, text).unwrap();
    let configuration = configuration.to_str().unwrap();
    for (n, arguments) in [
        &["-C", configuration, "-i", "--", "bob"][..],
        &["--config", configuration, "bob"],
    ]
    .into_iter()
    .enumerate()
    {
        let ended = run_program(&link, arguments, COMPLETE.as_bytes());
        assert_eq!(ended.status, Some(0), "{}", ended.errors);
        let contents = server.contents("bob@box.example");
        assert_eq!(contents.len(), n + 1);
        assert_eq!(contents[n], with_crlf(COMPLETE));
    }
    // An option behind -- is a recipient, also of the command.
    let text = "\"-t\" is not an address";
    refused(&run_program(&link, &["--", "-t"], b""), 65, text);
    refused(&sendmail(server.smtp(), &["--", "-t"], ""), 65, text);
    let help = run_program(&link, &["--help"], b"");
    assert_eq!(help.status, Some(0));
    assert!(help.output.contains("-F NAME"), "{}", help.output);
    let facteur = Path::new(env!("CARGO_BIN_EXE_facteur"));
    let same = run_program(facteur, &["sendmail", "--help"], b"");
    assert_eq!(same.output, help.output);
    // The hop count of Sendmail, and not the help.
    let ended = sendmail(server.smtp(), &["-h", "5", "hops@x"], COMPLETE);
    assert_eq!((ended.status, ended.output.as_str()), (Some(0), ""));
    assert_eq!(ended.errors, "facteur: the option -h 5 is ignored\n");
    assert_eq!(only(&server, "hops@x"), with_crlf(COMPLETE));
}

#[test]
fn an_unknown_recipient_is_67_and_the_others_get_the_message() {
    let server = Server::with(&format!(
        "[[accounts]]\naddress = \"bob@x\"\npassword = \"{}\"\n",
        crate::support::HASH
    ));
    let ended = sendmail(server.smtp(), &["nobody@x"], COMPLETE);
    refused(
        &ended,
        67,
        "the message was not sent: nobody@x is refused with \"550 5.1.1",
    );
    let ended = sendmail(server.smtp(), &["nobody@x", "bob@x", "c d@x"], COMPLETE);
    refused(
        &ended,
        67,
        "the message was sent, but not to these recipients: ",
    );
    for part in ["nobody@x is refused with", "\"c d@x\" is not an address"] {
        assert!(ended.errors.contains(part), "{}", ended.errors);
    }
    let mut client = server.pop3_client();
    client.say("USER bob@x");
    client.expect_prefix("+OK");
    client.say("PASS password");
    client.expect_prefix("+OK");
    assert_eq!(client.count(), 1);
}

/// SEC-12 ends such a session.
#[test]
fn too_many_unknown_recipients_are_67_too() {
    let server = Server::with(&format!(
        "[[accounts]]\naddress = \"bob@x\"\npassword = \"{}\"\n",
        crate::support::HASH
    ));
    let unknown: Vec<String> = (1..=12).map(|n| format!("nobody{n}@x")).collect();
    let ended = sendmail(server.smtp(), &["bob@x", &unknown.join(", ")], COMPLETE);
    refused(
        &ended,
        67,
        "the message was not sent: nobody1@x is refused with \"550 5.1.1",
    );
    assert!(ended.errors.ends_with("; and 1 more\n"), "{}", ended.errors);
}

/// Who tries again would send to those who have the message, too.
#[test]
fn a_message_that_somebody_has_is_not_to_be_sent_again() {
    let start = ["220 a\r\n", "250 a\r\n", "250 a\r\n", "250 a\r\n"];
    let sent = ["354 a\r\n", "250 a\r\n"];
    let cases: [(&[&str], &str); 5] = [
        (&["451 no\r\n", sent[0], sent[1]], "\"451 no\"\n"),
        // It is the first in the second transaction.
        (
            &["452 no\r\n", sent[0], sent[1], "250 a\r\n", "452 no\r\n"],
            "\"452 no\"\n",
        ),
        (
            &["452 no\r\n", sent[0], sent[1], "451 no\r\n"],
            "c@x: the daemon refuses MAIL with \"451 no\": try again later\n",
        ),
        (
            &["452 no\r\n", sent[0], sent[1], "250 a\r\n", "421 no\r\n"],
            "c@x: the daemon refuses RCPT with \"421 no\": try again later\n",
        ),
        (
            &[
                "452 no\r\n",
                sent[0],
                sent[1],
                "250 a\r\n",
                "250 a\r\n",
                sent[0],
            ],
            "c@x: the daemon may have accepted the message, but the connection was lost before its \
             reply: see its log, and then try again\n",
        ),
    ];
    for (lines, end) in cases {
        let (address, thread) = actor(&[&start, lines].concat());
        let ended = sendmail(address, &["b@x", "c@x"], COMPLETE);
        let text = "the message was sent, but not to these recipients: c@x";
        refused(&ended, 67, text);
        assert!(ended.errors.ends_with(end), "{}", ended.errors);
        thread.join().unwrap();
    }
}

#[test]
fn recipients_beyond_the_limit_get_the_message_too() {
    let server = Server::with("limits.recipients = 2\n");
    let users = ["a@x", "b@x", "c@x", "d@x", "e@x"];
    send(&server, &users, COMPLETE);
    for user in users {
        assert_eq!(only(&server, user), with_crlf(COMPLETE), "{user}");
    }
    // The rest of a larger message is not in memory.
    let large = format!("{COMPLETE}\n{}", "line\n".repeat(300_000));
    let ended = sendmail(server.smtp(), &["f@x", "g@x", "h@x"], &large);
    let text = "the message was sent, but not to these recipients: h@x is refused with \"452 ";
    refused(&ended, 67, text);
    assert!(only(&server, "g@x") == with_crlf(&large));
}

#[test]
fn without_a_daemon_the_message_can_be_sent_later() {
    // A port that nobody listens on while this test holds it.
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    drop(held);
    let ended = sendmail(address, &["b@x"], COMPLETE);
    refused(&ended, 75, &format!("{address}: no daemon answers ("));
    assert!(
        ended.errors.contains("start it with `facteur`"),
        "{}",
        ended.errors
    );
}

#[test]
fn mistakes_have_the_exit_codes_of_sysexits() {
    let server = Server::with("limits.message_octets = 100000\n");
    let own = tempfile::tempdir().unwrap();
    let wrong = own.path().join("wrong.toml");
    std::fs::write(&wrong, "smtp = 1.5\n").unwrap();
    let wrong = wrong.to_str().unwrap();
    let long = "To: a@x,\n".repeat(200_000);
    let many: Vec<String> = (0..10_001).map(|n| format!("To: a{n}@x\n")).collect();
    let many = many.concat();
    let large = format!("{COMPLETE}\n{}", "line\n".repeat(1_000_000));
    let medium = format!("{COMPLETE}\n{}", "line\n".repeat(30_000));
    let bare_cr = format!("{COMPLETE}\na\r\r\nb\n");
    let cases: [(&[&str], &str, i32, &str); 14] = [
        (&[], "", 64, "there are no recipients"),
        (&["-bs"], "", 64, "-bs is not supported"),
        (&["-bp"], "", 64, "-bp is not supported"),
        (&["-f"], "", 64, "-f needs a value"),
        (
            &["-f", "a b", "b@x"],
            "",
            64,
            "-f \"a b\" is not an address",
        ),
        (&["-C", wrong, "b@x"], "", 78, "wrong.toml:1"),
        (&["-C", "/no/such/file", "b@x"], "", 78, "/no/such/file"),
        (
            &["-t"],
            "Subject: 1\n\n",
            65,
            "the message has no recipients",
        ),
        (
            &["-t"],
            "To: Bob Builder\n\n",
            65,
            "\"Bob Builder\" is not an address",
        ),
        (&["-t"], &long, 65, "more than 1048576 octets"),
        (&["-t"], &many, 65, "more than 10000 recipients"),
        (&["b@x"], &large, 65, "at most 100000 octets"),
        (&["b@x"], &medium, 65, "the daemon refuses MAIL with \"552 "),
        (
            &["b@x"],
            &bare_cr,
            65,
            "the daemon refuses the message with \"5",
        ),
    ];
    for (arguments, input, status, part) in cases {
        refused(&sendmail(server.smtp(), arguments, input), status, part);
    }
    assert!(server.contents("b@x").is_empty());
    let facteur =
        |arguments: &[&str]| run_program(Path::new(env!("CARGO_BIN_EXE_facteur")), arguments, b"");
    let any_port = facteur(&["--smtp", "127.0.0.1:0", "sendmail", "b@x"]);
    refused(&any_port, 78, "port 0");
    let off = facteur(&["--smtp", "off", "sendmail", "b@x"]);
    refused(&off, 78, "off");
    let ignored = sendmail(server.smtp(), &["-G", "-h", "5", "b@x"], COMPLETE);
    assert_eq!(ignored.status, Some(0));
    assert_eq!(
        ignored.errors,
        "facteur: the option -G is ignored\nfacteur: the option -h 5 is ignored\n"
    );
}

/// A header section that exceeds the limit is refused wherever the first octets of it end: within
/// the name of a field, or within the empty line.
#[test]
fn a_header_section_is_not_judged_by_a_part_of_a_line() {
    const LIMIT: usize = 1024 * 1024;
    let server = Server::start();
    let head = format!("{COMPLETE}To: bob@x\r\nX: ");
    for (n_before, rest) in [
        (2, "Bcc: secret@x\nX: 1\n\nbody\n"),
        (4, "Bcc: secret@x\nX: 1\n\nbody\n"),
        (1, "\r\nbody\n"),
    ] {
        let padding = LIMIT - head.len() - n_before - "\n".len();
        let input = format!("{head}{}\n{rest}", "x".repeat(padding));
        assert!(input[LIMIT - n_before..].starts_with(rest));
        let ended = sendmail(server.smtp(), &["-t", "-i"], &input);
        refused(&ended, 65, "more than 1048576 octets");
    }
    assert!(server.contents("bob@x").is_empty());
}

#[test]
fn a_header_section_that_may_hide_a_bcc_field_is_refused() {
    let server = Server::start();
    let junk = format!("To: b@x\n{}Bcc: c@x\n", "junk\n".repeat(300_000));
    for (input, part) in [
        ("To: b@x\njunk\nbcc: c@x\n\n", "a Bcc field behind a line"),
        ("To: b@x\rBcc: c@x\n\n", "a CR without LF"),
        (&junk, "more than 1048576 octets"),
    ] {
        refused(&sendmail(server.smtp(), &["-t"], input), 65, part);
    }
    assert!(server.contents("b@x").is_empty());
    // Without -t, the header is only text.
    let input = format!("{COMPLETE}junk\nBcc: c@x\n");
    send(&server, &["d@x"], &input);
    assert!(only(&server, "d@x").ends_with("\r\n\r\njunk\r\nBcc: c@x\r\n"));
}

#[test]
fn a_closed_standard_input_is_not_an_empty_message() {
    let server = Server::start();
    let address = server.smtp().to_string();
    let run = |redirection: &str| {
        let script = format!("exec \"$@\" {redirection}");
        let facteur = env!("CARGO_BIN_EXE_facteur");
        let arguments = [
            "-c", &script, "sh", facteur, "--smtp", &address, "sendmail", "b@x",
        ];
        run_program(Path::new("sh"), &arguments, b"")
    };
    for redirection in ["<&-", "0>/dev/null", "<."] {
        let text = "cannot read the message from standard input: ";
        refused(&run(redirection), 74, text);
    }
    assert!(server.contents("b@x").is_empty());
    assert_eq!(run("</dev/null").status, Some(0));
    assert_eq!(server.contents("b@x").len(), 1);
}

/// A server that sends these lines: the first as its greeting, the others in reply to a line each.
/// After one with 354 it reads the whole content. After the last one, or at an empty one, it closes
/// the connection; it returns what it received.
fn actor(lines: &[&'static str]) -> (SocketAddr, thread::JoinHandle<String>) {
    let lines = lines.to_vec();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let play = move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut got = String::new();
        for line in lines {
            if line.is_empty() {
                break;
            }
            stream.write_all(line.as_bytes()).unwrap();
            while read_line(&mut stream, &mut got)
                && line.starts_with("354")
                && !got.ends_with("\r\n.\r\n")
            {}
        }
        got
    };
    let thread = thread::Builder::new().spawn(play).unwrap();
    (address, thread)
}

/// Reads a line; returns whether there was one.
fn read_line(stream: &mut TcpStream, got: &mut String) -> bool {
    let mut octet = [0];
    while stream.read(&mut octet).unwrap_or(0) > 0 {
        got.push(octet[0].into());
        if octet[0] == b'\n' {
            return true;
        }
    }
    false
}

#[test]
fn a_daemon_that_cannot_take_the_message_now_is_75() {
    let cases: [(&'static [&'static str], i32, &str); 9] = [
        (
            &["421 too busy\r\n"],
            75,
            "refuses the connection with \"421 too busy\"",
        ),
        (&["+OK ready\r\n"], 75, "it sends \"+OK ready\""),
        (&[""], 75, "the connection to the daemon was lost"),
        (
            &["220 a\r\n", ""],
            75,
            "the connection to the daemon was lost",
        ),
        (
            &["220 a\r\n", "250 a\r\n", "451 no\r\n"],
            75,
            "refuses MAIL with \"451 no\"",
        ),
        (
            &["220 a\r\n", "250 a\r\n", "530 no\r\n"],
            65,
            "refuses MAIL with \"530 no\"",
        ),
        (
            &["220 a\r\n", "250 a\r\n", "250 a\r\n", "421 a\r\n"],
            75,
            "refuses RCPT with \"421 a\"",
        ),
        (
            &[
                "220 a\r\n",
                "250 a\r\n",
                "250 a\r\n",
                "452 no\r\n",
                "221 a\r\n",
            ],
            75,
            "b@x is refused with \"452 no\"",
        ),
        (
            &[
                "220 a\r\n",
                "250 a\r\n",
                "250 a\r\n",
                "250 a\r\n",
                "452 no\r\n",
            ],
            75,
            "refuses DATA with \"452 no\"",
        ),
    ];
    for (lines, status, part) in cases {
        let (address, thread) = actor(lines);
        refused(&sendmail(address, &["b@x"], COMPLETE), status, part);
        thread.join().unwrap();
    }
    // Nothing is offered, so nothing is used, and an address that needs it is not sent.
    let (address, thread) = actor(&["220 a\r\n", "250 a\r\n", "250 a\r\n"]);
    let ended = sendmail(address, &["bé@x"], COMPLETE);
    refused(&ended, 65, "does not offer SMTPUTF8");
    thread.join().unwrap();
    let (address, thread) = actor(&["220 a\r\n", "250 a\r\n", "450 a\r\n"]);
    sendmail(address, &["-f", "", "b@x"], &format!("{COMPLETE}\né\n"));
    assert_eq!(thread.join().unwrap(), "EHLO localhost\r\nMAIL FROM:<>\r\n");
}

/// A reply with another first digit is not a success.
#[test]
fn only_the_expected_replies_count() {
    let start = ["220 a\r\n", "250 a\r\n", "250 a\r\n", "250 a\r\n"];
    let data = [&start[..], &["250 a\r\n"]].concat();
    let end = [&start[..], &["354 a\r\n"; 2]].concat();
    let cases: [(&[&str], i32, &str); 6] = [
        (&["354 a\r\n"], 65, "refuses the connection with \"354 a\""),
        (
            &["220 a\r\n", "354 a\r\n"],
            65,
            "refuses EHLO with \"354 a\"",
        ),
        (
            &["220 a\r\n", "250 a\r\n", "354 a\r\n"],
            65,
            "refuses MAIL with \"354 a\"",
        ),
        (
            &["220 a\r\n", "250 a\r\n", "250 a\r\n", "354 a\r\n"],
            67,
            "b@x is refused with \"354 a\"",
        ),
        (&data, 65, "refuses DATA with \"250 a\""),
        (&end, 65, "refuses the message with \"354 a\""),
    ];
    for (lines, status, part) in cases {
        let (address, thread) = actor(lines);
        refused(&sendmail(address, &["b@x"], COMPLETE), status, part);
        thread.join().unwrap();
    }
}

/// The daemon closes the connection only after the program has ended.
#[test]
fn nobody_waits_for_the_end_of_a_session() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (ended, end) = std::sync::mpsc::channel::<()>();
    let play = move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut got = String::new();
        for line in ["220 a", "250 a", "250 a", "250 a", "354 a"] {
            stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
            read_line(&mut stream, &mut got);
        }
        while !got.ends_with("\r\n.\r\n") && read_line(&mut stream, &mut got) {}
        stream.write_all(b"250 a\r\n").unwrap();
        // Half of the time that a reply can take.
        end.recv_timeout(DEADLINE / 2)
    };
    let thread = thread::Builder::new().spawn(play).unwrap();
    let sent = sendmail(address, &["b@x"], COMPLETE);
    assert_eq!(sent.status, Some(0), "{}", sent.errors);
    drop(ended);
    let closed = thread.join().unwrap();
    assert_eq!(closed, Err(std::sync::mpsc::RecvTimeoutError::Disconnected));
}

#[test]
fn a_connection_lost_after_the_message_may_mean_that_it_was_accepted() {
    const LINES: [&str; 6] = [
        "220 a\r\n",
        "250 a\r\n",
        "250 a\r\n",
        "250 a\r\n",
        "354 a\r\n",
        "",
    ];
    let (address, thread) = actor(&LINES);
    let ended = sendmail(address, &["b@x"], COMPLETE);
    refused(&ended, 75, "the daemon may have accepted the message");
    thread.join().unwrap();
}

#[test]
fn the_program_serves_the_message_that_it_was_given() {
    let own = tempfile::tempdir().unwrap();
    let program = Program::start(own.path());
    let configuration: PathBuf = own.path().join("client.toml");
    std::fs::write(&configuration, format!("smtp = [\"{}\"]\n", program.smtp)).unwrap();
    let facteur = Path::new(env!("CARGO_BIN_EXE_facteur"));
    let configuration = configuration.to_str().unwrap();
    let large = format!("{COMPLETE}\n{}", ".line é\n".repeat(400_000));
    let arguments = ["--config", configuration, "sendmail", "-oi", "b@x"];
    let ended = run_program(facteur, &arguments, large.as_bytes());
    assert_eq!(ended.status, Some(0), "{}", ended.errors);
    let contents = program.contents("b@x");
    assert!(contents == [with_crlf(&large)]);
    program.stop();
}
