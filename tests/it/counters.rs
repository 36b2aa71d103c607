//! The counters of the program: reported on SIGUSR1 and when it ends.

use std::path::Path;

use crate::support::program::{Program, report};
use crate::support::{Client, HASH, Service, plain, tls};

fn start(directory: &Path) -> Program {
    let accounts = ["bob", "alice", "carol"].map(|name| {
        format!("[[accounts]]\naddress = \"{name}@example.com\"\npassword = \"{HASH}\"\n")
    });
    let configuration = tls::configure(directory)
        + "limits.message_octets = 1000\n\
           limits.recipients = 2\n\
           limits.refused_login_seconds = 0\n"
        + &accounts.concat();
    Program::start_with(directory, &configuration)
}

fn ask(client: &mut Client, dialogue: &[(&str, &str)]) {
    for (command, reply) in dialogue {
        client.say(command);
        client.expect_prefix(reply);
    }
}

/// One message to two recipients, one that is refused, refused recipients, and mistakes. Returns
/// the octets of the accepted message, as logged.
fn send_mail(program: &Program) -> u64 {
    let mut client = program.extended_client();
    let login = plain("bob@example.com", "password");
    ask(
        &mut client,
        &[
            (&format!("AUTH PLAIN {login}"), "235 "),
            ("MAIL FROM:<a@example.org> SIZE=2000", "552 "),
            ("MAIL FROM:<bob@example.com>", "250 "),
            ("RCPT TO:<nobody@example.com>", "550 5.1.1"),
            ("RCPT TO:<bob@elsewhere.example>", "550 5.7.1"),
            ("RCPT TO:<bob@example.com>", "250 "),
            ("RCPT TO:<alice@example.com>", "250 "),
            ("RCPT TO:<carol@example.com>", "452 "),
            ("DATA", "354 "),
            ("Subject: x\r\n\r\n..\r\n.", "250 "),
            ("QUIT", "221 "),
        ],
    );
    program.expect_log(": quit");
    let mut mixed = program.extended_client();
    mixed.send(b"NOOP\n");
    mixed.expect_prefix("500 ");
    mixed.half_close();
    let mut foreign = program.smtp_client();
    foreign.send(b"\x16\x03\x01");
    foreign.expect_prefix("421 ");
    foreign.half_close();
    for _ in 0..2 {
        program.expect_log(": closed with ");
    }
    let accepted = program.log_line(" accepted ");
    let (_, octets) = accepted.split_once(" octets=").unwrap();
    octets.split(' ').next().unwrap().parse().unwrap()
}

/// A refused login, and one that fetches and removes a message; returns the octets that were
/// fetched.
fn fetch_mail(program: &Program) -> u64 {
    let mut client = program.pop3_client();
    ask(
        &mut client,
        &[
            ("USER bob@example.com", "+OK"),
            ("PASS wrong", "-ERR"),
            ("STLS", "+OK"),
        ],
    );
    let mut client = client.begin_tls();
    ask(
        &mut client,
        &[("USER bob@example.com", "+OK"), ("PASS password", "+OK")],
    );
    // Including the second dot of the line with one dot, and the final line.
    let octets = client.retrieve(1).len() + 1 + ".\r\n".len();
    client.say("TOP 1 0");
    client.expect_prefix("+OK");
    let top = client.multi_line().len() + ".\r\n".len();
    ask(&mut client, &[("DELE 1", "+OK"), ("QUIT", "+OK")]);
    program.expect_log(": quit");
    u64::try_from(octets + top).unwrap()
}

/// The counters of ended sessions, without the numbers that vary between runs.
fn expected(came: u64, went: u64) -> Vec<(&'static str, u64)> {
    vec![
        ("sessions_smtp", 3),
        ("sessions_pop3", 2),
        ("sessions_too_many", 0),
        ("ended_quit", 2),
        ("ended_closed", 2),
        ("ended_lost", 1),
        ("ended_timed_out", 0),
        ("accepted_messages", 1),
        ("accepted_octets", came),
        ("accepted_recipients", 2),
        ("refused_unknown_recipient", 1),
        ("refused_not_local", 1),
        ("refused_too_many_recipients", 1),
        ("refused_too_large", 1),
        ("refused_line_ending", 1),
        ("refused_other_protocol", 1),
        ("refused_too_many_errors", 0),
        ("refused_no_space", 0),
        ("refused_busy", 0),
        ("memory_refused", 0),
        ("sent_messages", 1),
        ("sent_tops", 1),
        ("sent_octets", went),
        ("sent_removed", 1),
        ("logins_smtp_accepted", 1),
        ("logins_smtp_refused", 0),
        ("logins_pop3_accepted", 1),
        ("logins_pop3_refused", 1),
        ("logins_pop3_busy", 0),
        ("tls_done", 1),
        ("tls_failed", 1),
        ("store_failures", 0),
        ("store_degraded", 0),
        ("store_kept", 0),
        ("store_waiting", 0),
        ("store_journaled", 1),
        ("store_direct", 0),
        ("commits_failures", 0),
        ("batches_of_2_to_3", 0),
        ("checkpoints_failures", 0),
    ]
}

#[test]
fn the_counters_match_what_was_done() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = start(directory.path());
    let came = send_mail(&program);
    let went = fetch_mail(&program);
    let mut no_tls = Client::connect(program.pop3s());
    no_tls.send(b"CAPA\r\n");
    no_tls.half_close();
    program.expect_log("the client sent plain text to a TLS port: set the client to TLS");
    let counts = loop {
        program.signal("USR1");
        let counts = report(&program);
        // A session logs its end, and then releases its place.
        if counts["sessions_now"] == 0 {
            break counts;
        }
    };
    for (name, value) in expected(came, went) {
        assert_eq!(counts.get(name), Some(&value), "{name} of {counts:#?}");
    }
    // The message, and perhaps the removal, each in its own batch; the journal may have written
    // more for itself.
    assert!(matches!(counts["batches_of_1"], 1 | 2), "{counts:#?}");
    assert!(counts["commits_count"] >= counts["batches_of_1"]);
    assert!(counts["commits_longest_us"] >= counts["commits_mean_us"]);
    assert!(counts["commits_mean_us"] > 0, "{counts:#?}");

    let mut idle = program.smtp_client();
    idle.say("NOOP");
    idle.expect_prefix("250 ");
    program.signal("USR1");
    assert_eq!(report(&program)["sessions_now"], 1);
    drop(idle);
    program.expect_log("client closed the connection");
    program.signal("TERM");
    program.expect_log(" stopped");
    let counts = report(&program);
    assert_eq!((counts["sessions_now"], counts["sessions_smtp"]), (0, 4));
    assert_eq!(counts["accepted_octets"], came);
    assert!(counts["checkpoints_count"] >= 1, "stopping makes one");
    assert_eq!(program.wait(), Some(0));
}

#[test]
fn a_flood_of_refusals_is_a_few_lines_and_a_number() {
    const FLOOD: u64 = 300;
    let directory = tempfile::tempdir().unwrap();
    let configuration = "limits.connections_per_address = 1\n";
    let begin = std::time::Instant::now();
    let program = Program::start_with(directory.path(), configuration);
    let _first = program.smtp_client();
    for _ in 0..FLOOD {
        let mut client = Client::connect(program.smtp);
        client.expect_prefix("421 ");
    }
    program.signal("USR1");
    let counts = report(&program);
    assert_eq!(counts["sessions_too_many_from_address"], FLOOD);
    // A hundred immediately, and ten more each second; a slow machine may take several seconds.
    let told_max = 100 + 10 * (begin.elapsed().as_secs() + 1);
    let log = program.stop();
    let told = log.iter().filter(|line| line.contains("turned away"));
    let told = u64::try_from(told.count()).unwrap();
    assert!((1..=told_max).contains(&told), "{log:#?}");
}
