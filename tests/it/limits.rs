//! Limits of time and size, configured to values that a test can reach.

use facteur::mail::{Door, Service as Protocol};

use crate::support::{Client, Server, Service, await_some, await_that, dot_stuffed, place_lines};

const BOB: &str = "bob@example.com";

#[test]
fn a_command_has_one_deadline_however_slowly_it_arrives() {
    let server = Server::with("[limits]\nsmtp_idle_seconds = 1\npop3_idle_seconds = 1\n");
    let mut smtp = server.smtp_client();
    // An octet now and then does not move the deadline: the writer continues until it is cut off.
    let socket = smtp.socket().try_clone().unwrap();
    let writer = std::thread::Builder::new()
        .spawn(move || {
            use std::io::Write;
            let (_keep, never) = std::sync::mpsc::channel::<()>();
            while (&socket).write_all(b"x").is_ok() {
                // The pace of a slow typist.
                let pause = std::time::Duration::from_millis(50);
                assert!(never.recv_timeout(pause).is_err());
            }
        })
        .unwrap();
    smtp.expect_prefix("421 ");
    smtp.expect_end();
    drop(smtp);
    writer.join().unwrap();
    let mut pop3 = server.pop3_client();
    // RFC 1939 §3: the autologout closes without a response and without removing anything.
    pop3.expect_end();
}

/// NET-1: while a client is silent for longer than a second, it has no buffer.
#[test]
fn a_client_that_was_silent_for_a_while_is_heard() {
    let mut server = Server::with_tls("[limits]\npop3_idle_seconds = 2\n");
    let smtps = server.address(Protocol::Smtp, Door::Tls);
    let mut half = server.smtp_client();
    half.send(b"NO");
    let mut content = server.smtp_client();
    content.say("HELO test");
    content.expect("250 Ok");
    content.begin_content(&[BOB]);
    let mut clients = [
        server.smtp_client(),
        Client::connect(smtps).begin_tls(),
        server.smtp_client(),
    ];
    clients[1].expect_prefix("220 ");
    // The time until this client's timeout passes for the others too.
    server.pop3_client().expect_end();
    half.say("OP");
    half.expect("250 Ok");
    content.send(b"x\r\n.\r\n");
    content.expect("250 OK");
    for client in &mut clients[..2] {
        client.say("NOOP");
        client.expect("250 Ok");
    }
    // One of them has had a reply since then, the other has not; a stop wakes both.
    assert_eq!(server.stop(), 0);
    for client in &mut clients {
        client.expect_prefix("421 ");
        client.expect_end();
    }
}

#[test]
fn an_autologout_removes_nothing_and_frees_the_maildrop() {
    let mut server = Server::with("[limits]\npop3_idle_seconds = 1\n");
    server.deliver(BOB, "one\r\n");
    let commands = format!("USER {BOB}\r\nPASS any\r\nDELE 1\r\n");
    let mark = || {
        let mut client = Client::connect(server.pop3);
        client.try_send(commands.as_bytes());
        client.read_to_end()
    };
    // If the test has to wait for its turn, the logout can come before the commands.
    while mark().matches("+OK").count() < 4 {}
    await_that("the maildrop is free again", || {
        logs_in(&mut Client::connect(server.pop3))
    });
    server.restart();
    assert_eq!(server.contents(BOB), ["one\r\n"]);
}

#[test]
fn a_session_ends_when_it_has_lasted_long_enough() {
    let server = Server::with("[limits]\nsession_seconds = 1\n");
    let mut client = server.smtp_client();
    let end = loop {
        client.say("NOOP");
        let line = client.line();
        if line != "250 Ok" {
            break line;
        }
    };
    assert!(end.starts_with("421 "), "{end}");
    client.expect_end();
}

#[test]
fn a_message_of_exactly_the_limit_is_accepted_and_one_octet_more_is_not() {
    let server = Server::with("[limits]\nmessage_octets = 1000\n");
    let mut client = server.smtp_client();
    client.say("HELO test");
    client.expect("250 Ok");
    let fits = format!("{}\r\n", "x".repeat(998));
    client.transaction(&[BOB], &fits);
    client.begin_content(&[BOB]);
    client.send(dot_stuffed(&format!("{}\r\n", "x".repeat(999))).as_bytes());
    client.expect_prefix("552 ");
    // Dots added for transparency do not count.
    client.transaction(&[BOB], &".\r\n".repeat(333));
    assert_eq!(server.contents(BOB).len(), 2);
}

#[test]
fn a_content_twice_the_limit_ends_the_session() {
    let server = Server::with("[limits]\nmessage_octets = 1000\n");
    let mut client = server.smtp_client();
    client.say("HELO test");
    client.expect("250 Ok");
    client.begin_content(&[BOB]);
    client.try_send(&b"0123456789abcdef0123456789abcdef\r\n".repeat(1_000));
    client.expect_prefix("552 ");
    client.expect_end();
    assert_eq!(server.contents(BOB), [""; 0]);
}

#[test]
fn a_thousand_recipients_are_accepted_and_the_next_must_wait() {
    let server = Server::start();
    let mut client = server.extended_client();
    let mut commands = String::from("MAIL FROM:<>\r\n");
    for number in 0..1_001 {
        commands += &format!("RCPT TO:<user{number}@example.com>\r\n");
    }
    commands.push_str("DATA\r\n");
    client.send(commands.as_bytes());
    client.expect("250 2.1.0 Sender OK");
    for _ in 0..1_000 {
        client.expect("250 2.1.5 Recipient OK");
    }
    client.expect_prefix("452 4.5.3");
    client.expect("354 Envoyez votre mail");
    client.send(b"Subject: all\r\n\r\nbody\r\n.\r\n");
    client.expect("250 2.0.0 OK");
    for number in [0, 1, 500, 999] {
        let contents = server.contents(&format!("user{number}@example.com"));
        assert_eq!(contents, ["Subject: all\r\n\r\nbody\r\n"], "{number}");
    }
    assert_eq!(server.contents("user1000@example.com"), [""; 0]);
}

#[test]
fn a_client_that_does_not_read_loses_its_session_and_frees_the_maildrop() {
    let server = Server::with("[limits]\nsession_seconds = 2\n");
    // Written directly, as by another program: a session would have to deliver it quickly.
    place_lines(&server.mail(), BOB, "a line of content\n", 1_000_000);
    // If the test has to wait for its turn, a session can end before it has begun.
    let lazy = await_some("the message is being sent", || {
        let mut client = Client::connect(server.pop3);
        client.try_send(format!("USER {BOB}\r\nPASS any\r\nRETR 1\r\n").as_bytes());
        let responses = (0..4).map(|_| client.try_line());
        let is_sent = responses.filter(|it| starts_well(it.as_ref())).count() == 4;
        is_sent.then_some(client)
    });
    await_that("the maildrop is free again", || {
        logs_in(&mut Client::connect(server.pop3))
    });
    drop(lazy);
}

fn starts_well(response: Option<&String>) -> bool {
    response.is_some_and(|response| response.starts_with("+OK"))
}

/// Whether a client gets the maildrop before its time is over.
fn logs_in(client: &mut Client) -> bool {
    client.try_send(format!("USER {BOB}\r\nPASS any\r\n").as_bytes());
    let said: Vec<String> = std::iter::from_fn(|| client.try_line()).take(3).collect();
    let last = said.last();
    let is_in_use = last.is_some_and(|response| response.starts_with("-ERR [IN-USE]"));
    assert!(said.len() < 3 || is_in_use || starts_well(last), "{said:?}");
    said.len() == 3 && starts_well(last)
}
