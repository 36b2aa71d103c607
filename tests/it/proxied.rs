//! Clients behind a proxy that names them with the PROXY protocol.

use std::net::SocketAddr;

use crate::support::{
    Client, HASH,
    program::{Program, run_in},
};

/// The address of the proxy, and one that is not a proxy's.
const PROXY: [u8; 4] = [127, 0, 0, 9];
const OTHER: [u8; 4] = [127, 0, 0, 1];

const V1: &str = "PROXY TCP4 192.0.2.7 192.0.2.1 56324 25\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\xdc\x04\x00\x19";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// A program with bob's account behind a proxy.
fn program(directory: &std::path::Path, more: &str) -> Program {
    let tls = crate::support::tls::configure(directory);
    let configuration = format!(
        "{tls}proxy_from = [\"127.0.0.9\"]\nlimits.refused_login_seconds = 0\n{more}\
         [[accounts]]\naddress = \"bob@example.com\"\npassword = {HASH:?}\n"
    );
    Program::start_with(directory, &configuration)
}

/// A client of the proxy, which begins with these octets.
fn behind(address: SocketAddr, header: &[u8]) -> Client {
    let mut client = Client::connect_from(PROXY, address);
    client.send(header);
    client
}

#[test]
fn the_client_is_where_the_proxy_says() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path(), "");
    for (header, address) in [
        (V1.as_bytes(), "192.0.2.7"),
        (V2, "192.0.2.7"),
        (LOCAL, "127.0.0.9"),
    ] {
        let mut client = behind(program.smtp, header);
        client.expect("220 localhost ESMTP facteur");
        client.say("EHLO client.example");
        let keywords = client.reply();
        let offers_passwords = keywords.iter().any(|line| line.starts_with("AUTH "));
        // SEC-2: not in clear, except on this machine.
        assert_eq!(
            offers_passwords,
            address.starts_with("127."),
            "{keywords:?}"
        );
        client.say("MAIL FROM:<alice@example.org>");
        client.expect_prefix("250 ");
        client.say("RCPT TO:<bob@example.com>");
        client.expect_prefix("250 ");
        client.say("DATA");
        client.expect_prefix("354 ");
        client.send(b"hello\r\n.\r\n");
        client.expect_prefix("250 ");
        let accepted = program.log_line(" accepted id=");
        assert!(
            accepted.contains(&format!(" client={address}")),
            "{accepted}"
        );
    }
    let new = directory.path().join("mail/example.com/bob/new");
    let traces = std::fs::read_dir(new).unwrap().map(|entry| {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        text.contains("([192.0.2.7])")
    });
    assert_eq!(traces.filter(|is_named| *is_named).count(), 2);
}

#[test]
fn tls_begins_behind_the_header() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path(), "");
    for header in [V1.as_bytes(), V2] {
        let mut client = behind(program.smtps(), header).begin_tls();
        client.expect_prefix("220 ");
        let mut client = behind(program.pop3s(), header).begin_tls();
        client.expect_prefix("+OK");
        client.say("USER bob@example.com");
        client.expect_prefix("+OK");
        client.say("PASS wrong");
        client.expect_prefix("-ERR");
        let refused = program.log_line(" login refused ");
        assert!(refused.contains("client=192.0.2.7"), "{refused}");
    }
}

#[test]
fn a_proxy_must_name_its_client() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path(), "http = [\"127.0.0.1:0\"]\n");
    let bad: [&[u8]; 3] = [b"EHLO client\r\n", b"PROXY TCP4 x\r\n", &[b'x'; 700]];
    for octets in bad {
        for (address, expect) in [
            (
                program.smtp,
                "421 Your address must begin with a header of the PROXY protocol",
            ),
            (program.pop3, "-ERR "),
            (program.http(), "HTTP/1.1 "),
        ] {
            let mut client = behind(address, octets);
            client.expect_prefix(expect);
        }
        let ended = program.log_line("is no header of the PROXY protocol");
        assert!(
            ended.contains(" WARN ") && ended.contains("client=127.0.0.9"),
            "{ended}"
        );
    }
    // With TLS there is no answer.
    let mut octets = Vec::new();
    behind(program.smtps(), b"EHLO client\r\n").read_octets_to_end(&mut octets);
    assert_eq!(octets, b"");
}

/// A probe on the proxy's own machine, and a program there that sends mail.
#[test]
fn the_commands_name_themselves_to_a_daemon_that_expects_a_proxy() {
    let directory = tempfile::tempdir().unwrap();
    let proxies = [("FACTEUR_PROXY_FROM", "127.0.0.0/8,::1")];
    let program = Program::start_in(directory.path(), &proxies);
    let (smtp, pop3) = (program.smtp.to_string(), program.pop3.to_string());
    let ports = ["--smtp", &smtp, "--pop3", &pop3, "--http", "off"];
    let ready = run_in(&proxies, &[&ports[..], &["check-ready"]].concat());
    assert_eq!(ready.output, "ready: smtp, pop3\n", "{}", ready.errors);
    let bob = ["sendmail", "bob@example.com"];
    let sent = run_in(&proxies, &[&ports[..], &bob].concat());
    assert_eq!(sent.status, Some(0), "{}", sent.errors);
    let accepted = program.log_line(" accepted id=");
    assert!(accepted.contains(" client=127.0.0.1"), "{accepted}");
    let ready = run_in(&[], &[&ports[..], &["check-ready"]].concat());
    assert_eq!(ready.status, Some(1), "{}", ready.output);
}

/// Connections without a header hold up no other client, and no stop.
#[test]
fn proxies_that_say_nothing_hold_up_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path(), "http = [\"127.0.0.1:0\"]\n");
    let silent: Vec<Client> = (0..100).map(|_| behind(program.smtp, b"PROXY ")).collect();
    let mut client = behind(program.smtp, V2);
    client.expect_prefix("220 ");
    let mut client = behind(program.http(), V2);
    client.send(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client.expect_prefix("HTTP/1.1 200 ");
    let log = program.stop();
    assert!(log.iter().any(|line| line.contains("stopped")), "{log:?}");
    drop(silent);
}

/// SEC-13: nothing is executed.
#[test]
fn a_header_from_anybody_else_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path(), "");
    for header in [V1.as_bytes(), V2, LOCAL] {
        for (address, greeting, refusal) in [
            (program.smtp, "220", "421 "),
            (program.pop3, "+OK", "-ERR "),
        ] {
            let mut client = Client::connect_from(OTHER, address);
            client.expect_prefix(greeting);
            client.send(&[header, b"NOOP\r\n"].concat());
            client.expect_prefix(refusal);
            client.expect_end();
            program.expect_log("its address is not in proxy_from");
        }
    }
}

/// NET-5: and connections without a header hold up nobody.
#[test]
fn shares_are_those_of_the_clients() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path(), "limits.connections_per_address = 2\n");
    let header = |client: &str| format!("PROXY TCP4 {client} 192.0.2.1 1 25\r\n");
    let silent = behind(program.smtp, b"PROXY ");
    let clients = ["192.0.2.7", "192.0.2.7", "192.0.2.8", "192.0.2.9"].map(|address| {
        let mut client = behind(program.smtp, header(address).as_bytes());
        client.expect_prefix("220 ");
        client
    });
    let mut client = behind(program.smtp, header("192.0.2.7").as_bytes());
    client.expect("421 Too many connections from your address, try again later");
    let away = program.log_line(" turned away ");
    assert!(away.contains("client=192.0.2.7"), "{away}");
    drop((silent, clients));
}
