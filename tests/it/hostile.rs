//! Hostile and clumsy clients: each gets a reply or is cut off, and nothing from them is stored.

use std::fmt::Write as _;
use std::net::Shutdown;

use crate::support::{Client, Server, Service, await_that, dot_stuffed};

const BOB: &str = "bob@example.com";

/// A client in the content phase of a message to [`BOB`].
fn in_content(server: &Server) -> Client {
    let mut client = server.smtp_client();
    client.say("HELO test");
    client.expect("250 Ok");
    client.begin_content(&[BOB]);
    client
}

/// SEC-13.
#[test]
fn an_http_request_is_turned_away_at_both_ports() {
    let server = Server::start();
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nMAIL FROM:<a@b>\r\n\r\n";
    let mut smtp = server.smtp_client();
    smtp.send(request);
    smtp.expect_prefix("421 ");
    smtp.expect_end();
    let mut pop3 = server.pop3_client();
    pop3.send(request);
    pop3.expect_prefix("-ERR ");
    pop3.expect_end();
}

/// RFC 5322 §2.2.3: nothing that a client sends extends the trace fields, and the content is
/// returned unchanged.
#[test]
fn content_that_begins_with_a_space_is_no_part_of_our_fields() {
    let server = Server::start();
    let content = [
        " with ESMTPSA id 1; Mon, 1 Jan 2001 00:00:00 +0000\r\n",
        "\t\r\nb\r\n",
    ];
    for content in content {
        let mut client = server.smtp_client();
        client.say("HELO test");
        client.expect("250 Ok");
        client.transaction(&[BOB], content);
    }
    let mut client = server.extended_client();
    client.say("MAIL FROM:<>");
    client.expect_prefix("250 ");
    client.say(&format!("RCPT TO:<{BOB}>"));
    client.expect_prefix("250 ");
    // Nothing, then a space and the rest.
    client.send(b"BDAT 0\r\nBDAT 4 LAST\r\n x\r\n");
    client.expect_prefix("250 ");
    client.expect_prefix("250 ");
    let mut pop3 = server.pop3_client();
    pop3.log_in(BOB);
    for (number, sent) in (1..).zip([content[0], content[1], " x\r\n"]) {
        let message = pop3.retrieve(number);
        let (head, body) = message.split_once("\r\n\r\n").unwrap();
        assert_eq!(body, sent, "{message}");
        let fields = head.lines().filter(|line| !line.starts_with('\t'));
        assert_eq!(fields.count(), 2, "{message}");
        assert!(!head.contains("ESMTPSA"), "{message}");
    }
}

/// SEC-13.
#[test]
fn a_tls_hello_is_turned_away_before_its_line_ends() {
    let server = Server::start();
    let hello = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01];
    let mut smtp = server.smtp_client();
    smtp.send(&hello);
    smtp.expect_prefix("421 ");
    smtp.expect_end();
    let mut pop3 = server.pop3_client();
    pop3.send(&hello);
    pop3.expect_prefix("-ERR ");
    pop3.expect_end();
}

#[test]
fn a_client_that_trickles_octet_by_octet_is_served() {
    let server = Server::start();
    let mut client = server.smtp_client();
    let content = dot_stuffed("Subject: slow\r\n\r\n..\r\n.x\r\n");
    let dialogue =
        format!("HELO test\r\nMAIL FROM:<>\r\nRCPT TO:<{BOB}>\r\nDATA\r\n{content}QUIT\r\n");
    for octet in dialogue.bytes() {
        client.send(&[octet]);
    }
    let replies = client.read_to_end();
    let codes: Vec<&str> = replies.lines().map(|line| &line[..3]).collect();
    assert_eq!(codes, ["250", "250", "250", "354", "250", "221"]);
    assert_eq!(server.contents(BOB), ["Subject: slow\r\n\r\n..\r\n.x\r\n"]);
}

#[test]
fn a_client_that_half_closes_after_its_last_command_gets_every_reply() {
    let server = Server::start();
    let mut client = server.smtp_client();
    client.send(b"HELO test\nMAIL FROM:<a@b.example>\nRCPT TO:<bob@example.com>\nDATA\nhi\n.\n");
    client.half_close();
    let replies = client.read_to_end();
    let lines: Vec<&str> = replies.lines().collect();
    assert_eq!(
        lines,
        [
            "250 Ok",
            "250 Sender OK",
            "250 Recipient OK",
            "354 Envoyez votre mail",
            "250 OK"
        ]
    );
    assert_eq!(server.contents(BOB), ["hi\r\n"]);
}

#[test]
fn a_content_cut_off_with_the_connection_is_not_stored() {
    let server = Server::start();
    for reset in [false, true] {
        let mut client = in_content(&server);
        client.send(
            "Subject: half\r\n\r\nhalf a message\r\n"
                .repeat(5_000)
                .as_bytes(),
        );
        if reset {
            socket2::SockRef::from(client.socket())
                .set_linger(Some(std::time::Duration::ZERO))
                .unwrap();
            drop(client);
        } else {
            client.socket().shutdown(Shutdown::Write).unwrap();
            client.expect_end();
        }
    }
    assert_eq!(server.contents(BOB), [""; 0]);
}

#[test]
fn a_reset_in_every_phase_leaves_the_server_serving() {
    let server = Server::start();
    let phases: [&[u8]; 5] = [
        b"",
        b"EHLO x\r\n",
        b"HELO x\r\nMAIL FROM:<>\r\n",
        b"NOOP",
        b"AUTH LOGIN\r\n",
    ];
    for phase in phases {
        let mut client = server.smtp_client();
        client.send(phase);
        socket2::SockRef::from(client.socket())
            .set_linger(Some(std::time::Duration::ZERO))
            .unwrap();
    }
    server.deliver(BOB, "still\r\n");
    assert_eq!(server.contents(BOB), ["still\r\n"]);
}

#[test]
fn a_bare_line_feed_in_content_ends_the_session_and_stores_nothing() {
    let server = Server::start();
    let mut client = in_content(&server);
    client.send(b"Subject: x\r\n\r\nsmuggled\n.\nMAIL FROM:<evil@example.com>\r\n");
    client.expect_prefix("550 ");
    client.expect_end();
    assert_eq!(server.contents(BOB), [""; 0]);
}

/// SEC-1: whatever surrounds a lone dot, there is never a second message.
#[test]
fn no_mix_of_line_endings_around_a_dot_makes_two_messages() {
    let server = Server::start();
    for mix in 0..16 {
        let part = |bit: u32, octet: &'static str| if mix & (1 << bit) == 0 { "" } else { octet };
        let dot = format!(
            "{}{}.{}{}",
            part(0, "\r"),
            part(1, "\n"),
            part(2, "\r"),
            part(3, "\n")
        );
        let mut client = in_content(&server);
        let smuggled =
            "MAIL FROM:<evil@example.com>\r\nRCPT TO:<bob@example.com>\r\nDATA\r\nevil\r\n.\r\n";
        client.try_send(format!("first{dot}{smuggled}QUIT\r\n").as_bytes());
        client.half_close();
        let replies = client.read_to_end();
        let delivered = replies.lines().filter(|line| *line == "250 OK").count();
        let contents = server.contents(BOB);
        // CRLF.CRLF is the end of data: commands follow it, as the sender intended.
        let legal = dot == "\r\n.\r\n";
        assert_eq!(
            delivered,
            if legal {
                2
            } else {
                usize::from(!replies.contains("550"))
            },
            "{dot:?}"
        );
        assert_eq!(contents.len(), delivered, "{dot:?}: {contents:?}");
        drain(&server);
    }
}

fn drain(server: &Server) {
    let mut client = server.maildrop(BOB);
    for number in 1..=client.count() {
        client.say(&format!("DELE {number}"));
        client.expect_prefix("+OK");
    }
    client.say("QUIT");
    client.expect_prefix("+OK");
    client.expect_end();
}

/// SEC-8.
#[test]
fn a_command_line_of_fifty_mebioctets_is_refused_and_discarded() {
    let server = Server::start();
    let mut client = server.smtp_client();
    client.say("HELO test");
    client.expect("250 Ok");
    let piece = vec![b'x'; 1024 * 1024];
    for _ in 0..50 {
        client.send(&piece);
    }
    client.send(b"\r\n");
    client.expect("500 Line too long");
    client.say("NOOP");
    client.expect("250 Ok");
}

/// SEC-8.
#[test]
fn errors_are_counted_and_end_the_session() {
    let server = Server::with("[limits]\nerrors = 3\n");
    let mut client = server.smtp_client();
    for _ in 0..3 {
        client.say("XYZZY");
        client.expect_prefix("500 ");
    }
    client.say("XYZZY");
    client.expect_prefix("421 ");
    client.expect_end();
}

/// SEC-5, I12.
#[test]
fn names_from_hell_stay_within_the_store() {
    let server = Server::start();
    let mut client = server.extended_client();
    let names = [
        "../../unquoted",
        ".unquoted",
        "..un..quoted..",
        "\"../../escape\"",
        "\"/etc/passwd\"",
        "\".hidden\"",
        "\"a/b\"",
        "\"..\"",
        "\"con\\\\\"",
    ];
    for name in names {
        client.say("MAIL FROM:<>");
        client.expect("250 2.1.0 Sender OK");
        client.say(&format!("RCPT TO:<{name}@example.com>"));
        client.expect("250 2.1.5 Recipient OK");
        client.say("DATA");
        client.expect("354 Envoyez votre mail");
        client.send(b"x\r\n.\r\n");
        client.expect("250 2.0.0 OK");
    }
    let domain = server.mail().join("example.com");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(domain).unwrap() {
        let entry = entry.unwrap();
        assert!(entry.file_type().unwrap().is_dir());
        found.push(entry.file_name().into_string().unwrap());
    }
    assert_eq!(found.len(), names.len());
    assert!(
        found
            .iter()
            .all(|name| !name.starts_with('.') && !name.contains("..")),
        "{found:?}"
    );
    let outside: Vec<_> = std::fs::read_dir(server.mail().parent().unwrap())
        .unwrap()
        .collect();
    assert_eq!(outside.len(), 1, "nothing outside the store: {outside:?}");
}

/// SEC-8, NET-5.
#[test]
fn a_crowd_from_one_address_is_refused_temporarily() {
    let server = Server::with("[limits]\nconnections_per_address = 3\n");
    let crowd: Vec<Client> = (0..3).map(|_| server.smtp_client()).collect();
    let mut late = Client::connect(server.smtp);
    late.expect_prefix("421 ");
    late.expect_end();
    let mut late = Client::connect(server.pop3);
    late.expect_prefix("-ERR [SYS/TEMP]");
    late.expect_end();
    drop(crowd);
    // The places are released as the sessions notice that their clients are gone.
    await_that("a place is released", || {
        let mut client = Client::connect(server.smtp);
        client.line().starts_with("220 ")
    });
}

#[test]
fn a_flood_of_pipelined_commands_is_answered_in_full() {
    let server = Server::start();
    let mut client = server.smtp_client();
    let commands = 20_000;
    let reader = client.socket().try_clone().unwrap();
    let writer = std::thread::Builder::new()
        .spawn(move || {
            let mut flood = String::new();
            for _ in 0..commands {
                writeln!(flood, "NOOP\r").unwrap();
            }
            flood.push_str("QUIT\r\n");
            std::io::Write::write_all(&mut &reader, flood.as_bytes()).unwrap();
        })
        .unwrap();
    for _ in 0..commands {
        client.expect("250 Ok");
    }
    client.expect("221 Fermeture connexion");
    client.expect_end();
    writer.join().unwrap();
}
