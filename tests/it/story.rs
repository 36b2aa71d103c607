//! What the log says about a session: refusals, the dialogue, and never a secret.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::json::{Json, parse};
use crate::support::program::{Program, report};
use crate::support::{Client, HASH, Service, plain};

/// Log lines about this session, without time and level.
fn of_session(log: &[String], session: &str) -> Vec<String> {
    let session = format!("{session} ");
    let told = log.iter().filter_map(|line| {
        let (_, told) = line.split_once("] ")?;
        let is_its = told.starts_with(&session);
        is_its.then(|| told.trim_end().to_owned())
    });
    told.collect()
}

/// Sends each line, and checks the reply.
fn ask(client: &mut Client, asked: &[(&str, &str)]) {
    for (line, answer) in asked {
        client.say(line);
        client.expect_prefix(answer);
    }
}

/// The log lines about the refused commands of this session.
fn refused(log: &[String], session: &str) -> Vec<String> {
    let lines = of_session(log, session).into_iter();
    let begin = format!("{session} refused command=");
    lines
        .filter_map(|line| line.strip_prefix(&begin).map(str::to_owned))
        .collect()
}

/// The dialogue of this session in the log.
fn said(log: &[String], session: &str) -> Vec<String> {
    let said = of_session(log, session).into_iter().filter_map(|line| {
        let said = line.strip_prefix(session)?.trim_start();
        said.starts_with(['<', '>']).then(|| said.to_owned())
    });
    said.collect()
}

const ACCOUNT: &str = "limits.refused_login_seconds = 0\n[[accounts]]\n\
                       address = \"bob@example.com\"\n";

fn with_account(before: &str) -> String {
    format!("{before}{ACCOUNT}password = \"{HASH}\"\n")
}

#[test]
fn every_refused_command_of_smtp_is_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = with_account("limits.message_octets = 1000\n");
    let program = Program::start_with(directory.path(), &configuration);
    let mut client = program.extended_client();
    ask(
        &mut client,
        &[
            ("MAIL FROM:<a@b> SIZE=5000", "552"),
            ("MAIL FROM:<bob@example.com>", "250"),
            ("RCPT TO:<nobody@example.com>", "550"),
            ("RCPT TO:<b\u{f6}b@example.com>", "553"),
            ("RCPT TO:<bob@example.com>", "250"),
            ("DATA", "354"),
            ("a\rb\r\n.", "550"),
            ("DATA now", "501"),
            ("XYZZY hunter2", "500"),
            ("XCLIENT NAME=x ADDR=192.0.2.1", "500"),
            ("AUTH CRAM-MD5", "504"),
            ("BDAT 5\r\nabc", "503"),
            (&format!("NOOP {}", "x".repeat(5_000)), "500"),
            ("QUIT", "221"),
        ],
    );
    let log = program.stop();
    let local = "client=127.0.0.1";
    assert_eq!(
        refused(&log, "smtp-1"),
        [
            format!(
                "\"MAIL FROM:<a@b> SIZE=5000\" code=552 {local}: Message is larger than the limit"
            ),
            format!("\"RCPT TO:<nobody@example.com>\" code=550 {local}: No such mailbox here"),
            format!(
                "\"RCPT TO:<b\\u{{f6}}b@example.com>\" code=553 {local}: A non-ASCII address needs \
                 SMTPUTF8 in MAIL"
            ),
            format!(
                "\"DATA\" code=550 {local}: The content has a carriage return without a line \
                 feed (bare CR); nothing stored, end every line with CRLF"
            ),
            format!("\"DATA ***\" code=501 {local}: This command takes no such argument"),
            format!("\"***\" code=500 {local}: Unknown command; HELP shows the commands"),
            format!(
                "\"XCLIENT ***\" code=500 {local}: XCLIENT is not accepted here; switch it off in \
                 the proxy (nginx: xclient off)"
            ),
            format!(
                "\"AUTH CRAM-MD5\" code=504 {local}: This mechanism is not offered; EHLO lists \
                 those that are"
            ),
            format!(
                "\"BDAT 5\" code=503 {local}: Name the sender first: MAIL FROM:<alice@example.com>"
            ),
            format!("\"<a line that is too long>\" code=500 {local}: Line too long"),
        ]
    );
}

#[test]
fn every_refused_command_of_pop3_is_a_line() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), &with_account("pop3_utf8 = true\n"));
    let mut client = program.extended_client();
    ask(
        &mut client,
        &[
            ("MAIL FROM:<bob@example.com> SMTPUTF8", "250"),
            ("RCPT TO:<bob@example.com>", "250"),
            ("DATA", "354"),
            ("Subject: h\u{e9}\r\n\r\nx\r\n.", "250"),
            ("QUIT", "221"),
        ],
    );
    let mut client = program.pop3_client();
    ask(
        &mut client,
        &[
            ("USER bob@example.com", "+OK"),
            ("PASS password", "+OK"),
            ("RETR 1", "-ERR [UTF8]"),
            ("TOP 1 0", "-ERR [UTF8]"),
            ("DELE 2", "-ERR"),
            ("LIST 1 2 3", "-ERR"),
            ("QUIT", "+OK"),
        ],
    );
    let log = program.stop();
    let local = "client=127.0.0.1";
    let utf8 = "[UTF8] Message needs UTF-8 mode; send UTF8 before you log in";
    assert_eq!(
        refused(&log, "pop3-2"),
        [
            format!("\"RETR 1\" code=-ERR {local}: {utf8}"),
            format!("\"TOP 1 0\" code=-ERR {local}: {utf8}"),
            format!("\"DELE 2\" code=-ERR {local}: No such message, only 1 message in maildrop"),
            format!("\"LIST 1 2 3\" code=-ERR {local}: Usage: LIST, or LIST message-number"),
        ]
    );
}

/// The log names the account that sent a message, whatever sender address it used.
#[test]
fn a_login_by_smtp_is_a_line_and_its_messages_name_the_account() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = with_account("") + "send_as = [\"*\"]\n";
    let program = Program::start_with(directory.path(), &configuration);
    let right = plain("bob@example.com", "password");
    let mut client = program.extended_client();
    ask(
        &mut client,
        &[
            (&format!("AUTH PLAIN {right}"), "235"),
            ("MAIL FROM:<eve@example.net>", "250"),
            ("RCPT TO:<bob@example.com>", "250"),
            ("DATA", "354"),
            (".", "250"),
            ("QUIT", "221"),
        ],
    );
    let log = program.stop();
    let lines = of_session(&log, "smtp-1");
    assert_eq!(lines.len(), 3, "{lines:#?}");
    let login = "smtp-1 login mailbox=\"bob@example.com\" client=127.0.0.1 mechanism=PLAIN";
    assert_eq!(lines[0], login);
    let sent = " account=\"bob@example.com\" client=127.0.0.1";
    assert!(lines[1].contains("from=\"<eve@example.net>\"") && lines[1].ends_with(sent));
}

#[test]
fn a_login_by_smtp_that_fails_or_is_cancelled_is_a_line_with_its_mechanism_and_account() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), &with_account(""));
    let bob = STANDARD.encode("bob@example.com");
    let wrong = plain("bob@example.com", "hunter2");
    let mut client = program.extended_client();
    ask(
        &mut client,
        &[
            ("AUTH PLAIN", "334"),
            ("*", "501"),
            ("AUTH LOGIN", "334"),
            (&bob, "334"),
            ("*", "501"),
            (&format!("AUTH LOGIN {bob}"), "334"),
            ("hunter2!", "501"),
            (&format!("AUTH PLAIN {wrong}"), "535"),
            ("AUTH PLAIN hunter2!", "501"),
            ("QUIT", "221"),
        ],
    );
    let log = program.stop();
    let local = "client=127.0.0.1";
    let user = "user=\"bob@example.com\"";
    assert_eq!(
        of_session(&log, "smtp-1"),
        [
            format!(
                "smtp-1 login refused user=\"\" {local} mechanism=PLAIN: 501 Authentication \
                 cancelled"
            ),
            format!(
                "smtp-1 login refused {user} {local} mechanism=LOGIN: 501 Authentication cancelled"
            ),
            format!(
                "smtp-1 login refused {user} {local} mechanism=LOGIN: 501 The response is not \
                 valid base64"
            ),
            format!(
                "smtp-1 login refused {user} {local} mechanism=PLAIN: wrong user name or password"
            ),
            format!(
                "smtp-1 refused command=\"AUTH PLAIN ***\" code=501 {local}: The response is not \
                 valid base64"
            ),
            format!("smtp-1 ended {local}: quit"),
        ]
    );
}

#[test]
fn a_login_by_pop3_that_fails_or_is_cancelled_is_a_line_with_its_mechanism_and_account() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), &with_account(""));
    let scram = STANDARD.encode("n,,n=bob@example.com,r=abc");
    let mut client = program.pop3_client();
    ask(
        &mut client,
        &[
            (&format!("AUTH SCRAM-SHA-256 {scram}"), "-ERR"),
            ("AUTH PLAIN", "+"),
            ("*", "-ERR"),
            ("USER bob@example.com", "+OK"),
            ("PASS hunter2", "-ERR"),
            ("AUTH LOGIN", "+"),
        ],
    );
    client.half_close();
    client.expect_end();
    let log = program.stop();
    let local = "client=127.0.0.1";
    let user = "user=\"bob@example.com\"";
    let pop3 = of_session(&log, "pop3-1");
    assert!(pop3[0].starts_with("pop3-1 refused command=\"AUTH SCRAM-SHA-256 ***\" code=-ERR"));
    assert!(pop3[1].starts_with(&format!(
        "pop3-1 login refused user=\"\" {local} mechanism=PLAIN"
    )));
    assert_eq!(
        pop3[2..],
        [
            format!(
                "pop3-1 login refused {user} {local} mechanism=USER: wrong user name or password"
            ),
            format!(
                "pop3-1 login refused user=\"\" {local} mechanism=LOGIN: client closed the \
                 connection"
            ),
            format!("pop3-1 ended {local}: client closed the connection"),
        ]
    );
}

#[test]
fn at_debug_the_log_has_the_dialogue_of_smtp() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), &with_account("log_level = \"debug\"\n"));
    let right = plain("bob@example.com", "password");
    let mut client = program.smtp_client();
    // All in one write: pipelined commands are logged in their order.
    client.send(
        format!(
            "HELO it's\u{1b}\r\nEHLO \\it's\r\nAUTH PLAIN\r\n{right}\r\n\
             MAIL FROM:<bob@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\n\
             Subject: x\r\n\r\n..\r\n.\r\nQUIT\r\n"
        )
        .as_bytes(),
    );
    client.read_to_end();
    let log = program.stop();
    let smtp = said(&log, "smtp-1");
    let extensions = smtp
        .iter()
        .filter(|line| line.starts_with("< 250-"))
        .count();
    assert!(extensions > 5, "{smtp:#?}");
    let smtp: Vec<&str> = smtp
        .iter()
        .map(String::as_str)
        .filter(|line| !line.starts_with("< 250-"))
        .collect();
    assert_eq!(
        smtp,
        [
            "< 220 localhost ESMTP facteur",
            "> HELO it's\\u{1b}",
            "< 501 Control characters are not allowed in a command",
            "> EHLO \\\\it's",
            "< 250 HELP",
            "> AUTH PLAIN",
            "< 334",
            "> ***",
            "< 235 2.7.0 Authentication succeeded",
            "> MAIL FROM:<bob@example.com>",
            "< 250 2.1.0 Sender OK",
            "> RCPT TO:<bob@example.com>",
            "< 250 2.1.5 Recipient OK",
            "> DATA",
            "< 354 Envoyez votre mail",
            "> <21 octets>",
            "< 250 2.0.0 OK",
            "> QUIT",
            "< 221 2.0.0 Fermeture connexion",
        ]
    );
}

#[test]
fn at_debug_the_log_has_the_dialogue_of_pop3() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), &with_account("log_level = \"debug\"\n"));
    program.deliver("bob@example.com", "Subject: x\r\n\r\n.\r\n");
    let mut client = program.pop3_client();
    ask(
        &mut client,
        &[("USER bob@example.com", "+OK"), ("PASS password", "+OK")],
    );
    client.say("RETR 1");
    client.expect_prefix("+OK");
    client.multi_line();
    client.say("UIDL");
    client.expect_prefix("+OK");
    client.multi_line();
    ask(&mut client, &[("QUIT", "+OK")]);
    let log = program.stop();
    let pop3 = said(&log, "pop3-2");
    let begin = ["< +OK facteur POP3 server ready", "> USER bob@example.com"];
    assert_eq!(pop3[..2], begin);
    assert_eq!(pop3[3], "> PASS ***");
    assert!(
        pop3[4].starts_with("< +OK Maildrop has 1 message"),
        "{pop3:#?}"
    );
    assert_eq!(pop3[5], "> RETR 1");
    assert!(
        pop3[7].starts_with("< <") && pop3[7].ends_with(" octets>"),
        "{pop3:#?}"
    );
    assert_eq!(pop3[8..10], ["> UIDL", "< +OK Unique-id listing follows"]);
    assert!(pop3[10].starts_with("< 1 "), "{pop3:#?}");
    assert_eq!(pop3[11..13], ["< .", "> QUIT"]);
}

/// Lines with a secret, or with something meant as one, in either protocol.
fn secret_lines() -> Vec<Vec<u8>> {
    let encoded = [
        plain("bob@example.com", "hunter2"),
        STANDARD.encode("hunter2"),
        STANDARD.encode("n,,n=bob@example.com,r=hunter2"),
    ];
    let mut lines: Vec<Vec<u8>> = [
        "PASS hunter2",
        "pass hunter2",
        "PASSWORD hunter2",
        "PASS\thunter2",
        " PASS hunter2",
        "PASS:hunter2",
        "PASS \u{1}hunter2",
        "PAS hunter2",
        "USER bob hunter2",
        "APOP bob hunter2",
        "AUTH hunter2",
        "AUTH PLAIN=hunter2",
        "AUTH PLAIN hunter2 hunter2",
        "AUTH  PLAIN  hunter2",
        "auth login hunter2",
        "AUTH XOAUTH2 hunter2",
        "AUTHPLAIN hunter2",
        "AUTH\tPLAIN\thunter2",
        "LOGIN bob hunter2",
        "a1 LOGIN bob hunter2",
        "hunter2",
        "NOOP hunter2",
        "HELP hunter2",
        "DATA hunter2",
        "QUITE hunter2",
        "XCLIENT LOGIN=hunter2",
        "MAIL hunter2",
        "RCPT hunter2",
        "CAPA hunter2",
        "STLS hunter2",
    ]
    .into_iter()
    .map(|line| line.as_bytes().to_vec())
    .collect();
    lines.push(b"PASS \xff hunter2 \xfe".to_vec());
    lines.push([b"PASS ".as_slice(), &b"hunter2".repeat(1_000)].concat());
    lines.push([b"AUTH PLAIN ".as_slice(), &b"hunter2".repeat(1_000)].concat());
    for response in &encoded {
        for mechanism in [
            "PLAIN",
            "SCRAM-SHA-256",
            "SCRAM-SHA-256-PLUS",
            "CRAM-MD5",
            "XOAUTH2",
        ] {
            lines.push(format!("AUTH {mechanism} {response}").into_bytes());
            lines.push(format!("AUTH {mechanism}\r\n{response}\r\n{response}").into_bytes());
        }
        let bob = STANDARD.encode("bob");
        lines.push(format!("AUTH LOGIN {bob}\r\n{response}").into_bytes());
        lines.push(format!("AUTH LOGIN\r\n{bob}\r\n{response}\r\n{response}").into_bytes());
    }
    lines
}

/// SEC-7: neither at the most detailed level nor in the other format.
#[test]
fn no_secret_reaches_the_log() {
    for format in ["text", "json"] {
        let directory = tempfile::tempdir().unwrap();
        let configuration = format!(
            "log_format = \"{format}\"\nlog_level = \"trace\"\nlimits.errors = 0\n\
             limits.refused_login_seconds = 0\n"
        );
        let configuration = configuration
            + "[[accounts]]\naddress = \"bob@example.com\"\npassword = \""
            + HASH
            + "\"\n";
        let program = Program::start_with(directory.path(), &configuration);
        let sessions = secret_lines().into_iter().map(|line| {
            // Both when no response is expected, and after a command that expects another one.
            let smtp = [b"EHLO x\r\n".as_slice(), &line, b"\r\n*\r\nQUIT\r\n"].concat();
            let pop3 = [b"USER bob\r\n".as_slice(), &line, b"\r\n*\r\nQUIT\r\n"].concat();
            [(program.smtp, smtp), (program.pop3, pop3)]
        });
        let mut n_sessions = 0;
        for (address, octets) in sessions.flatten() {
            let mut client = Client::connect(address);
            client.send(&octets);
            client.half_close();
            client.read_to_end();
            n_sessions += 1;
        }
        let log = program.stop();
        let began = log.iter().filter(|line| line.contains("begins"));
        assert_eq!(began.count(), n_sessions, "the log is complete");
        let hidden = [
            "hunter2",
            "aHVudGVyMg",
            "aHVudGVyMj",
            "h1bnRlcj",
            "odW50ZXIy",
        ];
        for line in &log {
            // The placeholder is not a user name either.
            let found = hidden.iter().find(|secret| line.contains(**secret));
            assert_eq!(found, None, "{line}");
        }
    }
}

#[test]
fn an_object_of_a_refusal_and_of_a_line_has_its_fields() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = "log_format = \"json\"\nlog_level = \"debug\"\n";
    let program = Program::start_with(directory.path(), configuration);
    let mut client = program.smtp_client();
    ask(&mut client, &[("HELO \"x\u{e9}", "250"), ("DATA", "503")]);
    ask(
        &mut client,
        &[
            ("MAIL FROM:<>", "250"),
            ("RCPT TO:<bob@example.com>", "250"),
        ],
    );
    ask(
        &mut client,
        &[("DATA", "354"), ("x\r\n.", "250"), ("QUIT", "221")],
    );
    let log = program.stop();
    let objects: Vec<Vec<(String, Json)>> = log
        .iter()
        .map(|line| {
            parse(line.trim_end())
                .unwrap()
                .into_iter()
                .skip(2)
                .collect()
        })
        .collect();
    let text = |text: &str| Json::Text(text.to_owned());
    let with = |fields: &[(&str, Json)]| {
        let fields: Vec<(String, Json)> = fields
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()))
            .collect();
        assert!(
            objects.contains(&fields),
            "{fields:?} is not in {objects:#?}"
        );
    };
    with(&[
        ("session", text("smtp-1")),
        ("event", text("refused")),
        ("command", text("DATA")),
        ("code", text("503")),
        ("client", text("127.0.0.1")),
        (
            "reason",
            text("Name the sender first: MAIL FROM:<alice@example.com>"),
        ),
    ]);
    for (by, line) in [
        ("client", "HELO \"x\u{e9}"),
        ("server", "250 Ok"),
        ("client", "QUIT"),
    ] {
        with(&[
            ("session", text("smtp-1")),
            ("event", text("said")),
            ("by", text(by)),
            ("line", text(line)),
        ]);
    }
    with(&[
        ("session", text("smtp-1")),
        ("event", text("said")),
        ("by", text("client")),
        ("octets", Json::Number(6)),
    ]);
}

/// A client that only checks whether somebody listens is not logged, with TLS or without.
#[test]
fn clients_that_connect_and_leave_silently_are_not_logged() {
    const N: u64 = 50;
    let directory = tempfile::tempdir().unwrap();
    let tls = crate::support::tls::configure(directory.path());
    let program = Program::start_with(directory.path(), &tls);
    for _ in 0..N {
        for address in [program.smtp, program.pop3, program.smtps(), program.pop3s()] {
            drop(Client::connect(address));
        }
        let mut checked = Client::connect(program.smtps()).begin_tls();
        checked.expect_prefix("220 ");
        drop(checked);
    }
    loop {
        program.signal("USR1");
        let counts = report(&program);
        if counts["sessions_now"] == 0 && counts["ended_lost"] == 5 * N {
            break;
        }
    }
    let log = program.stop();
    let told: Vec<&String> = log.iter().filter(|line| line.contains("client=")).collect();
    assert!(told.is_empty(), "{told:#?}");
}

/// Whatever one client floods the log with becomes some lines and a number, and every line about
/// another client is there.
#[test]
fn a_flood_of_one_client_hides_no_line_of_another() {
    const FLOOD: usize = 400;
    let directory = tempfile::tempdir().unwrap();
    let configuration = with_account("limits.errors = 0\n");
    let begin = std::time::Instant::now();
    let program = Program::start_with(directory.path(), &configuration);
    let wrong = plain("bob@example.com", "hunter2");
    let attack = |n: usize| {
        for _ in 0..n {
            let mut client = Client::connect_from([127, 0, 0, 7], program.smtp);
            client.send(
                format!("EHLO x\r\nRCPT TO:<x@y>\r\nAUTH PLAIN {wrong}\r\nQUIT\r\n").as_bytes(),
            );
            client.read_to_end();
        }
    };
    attack(FLOOD / 2);
    for _ in 0..10 {
        let mut other = Client::connect_from([127, 0, 0, 8], program.smtp);
        other.expect_prefix("220");
        ask(&mut other, &[("EHLO x", "250-")]);
        other.reply();
        ask(
            &mut other,
            &[
                ("RCPT TO:<y@z>", "503"),
                (&format!("AUTH PLAIN {wrong}"), "535"),
            ],
        );
        ask(&mut other, &[("QUIT", "221")]);
        other.expect_end();
    }
    attack(FLOOD / 2);
    let log = program.stop();
    // A hundred immediately, and ten more for each second that the test takes.
    let told_max = 100 + 10 * (usize::try_from(begin.elapsed().as_secs()).unwrap() + 1);
    for kind in [" refused command=", " login refused ", " ended "] {
        let of = |client: &str| -> Vec<&String> {
            let client = format!("client={client}");
            let lines = log.iter().filter(|line| line.contains(kind));
            lines.filter(|line| line.contains(&client)).collect()
        };
        assert_eq!(of("127.0.0.8").len(), 10, "{kind}");
        let flood = of("127.0.0.7");
        assert!(
            (100..=told_max.min(FLOOD)).contains(&flood.len()),
            "{kind} {}",
            flood.len()
        );
    }
}
