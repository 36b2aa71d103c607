//! Messages are returned octet for octet, whatever their size and shape, and memory use stays
//! small.

use crate::support::{Server, Service, dot_stuffed};

const BOB: &str = "bob@example.com";

#[test]
fn contents_of_every_shape_come_back_as_they_were() {
    let server = Server::start();
    let contents = [
        "\r\n".to_owned(),
        ".\r\n".to_owned(),
        "..\r\n...\r\n".to_owned(),
        "no header at all\r\n".to_owned(),
        "Subject: x\r\n\r\n\r\n\r\n.\r\n\r\n".to_owned(),
        format!("{}\r\n", "a".repeat(1_000_000)),
        ".\r\n".repeat(50_000),
        "line\r\n".repeat(50_000),
        "Subject: caf\u{e9}\r\n\r\n\u{1F4EF} \u{0}\u{7}\t\r\n".to_owned(),
    ];
    let mut client = server.smtp_client();
    client.say("HELO test");
    client.expect("250 Ok");
    for content in &contents {
        client.transaction(&[BOB], content);
    }
    assert_eq!(server.contents(BOB), contents);
}

/// Some carriers assign addresses that are not in the grammar of RFC 5321; facteur writes the
/// quoted form.
#[test]
fn an_address_with_dots_anywhere_equals_its_quoted_form() {
    const SENDER: &str = "al..ice.@example.com";
    let server = Server::start();
    let (written, quoted) = (".b..ob.@example.com", "\".b..ob.\"@example.com");
    for recipient in [written, quoted] {
        let mut client = server.smtp_client();
        client.say("HELO test");
        client.expect("250 Ok");
        client.say(&format!("MAIL FROM:<{SENDER}>"));
        client.expect("250 Sender OK");
        client.say(&format!("RCPT TO:<{recipient}>"));
        client.expect("250 Recipient OK");
        client.say("DATA");
        client.expect("354 Envoyez votre mail");
        client.send(b"Hello\r\n.\r\n");
        client.expect("250 OK");
    }
    let maildir = server.mail().join("example.com/%2eb.%2eob.");
    assert_eq!(std::fs::read_dir(maildir.join("new")).unwrap().count(), 2);

    for user in [written, quoted, ".b..ob."] {
        let mut client = server.maildrop(user);
        assert_eq!(client.count(), 2, "{user}");
        let message = client.retrieve(1);
        let begin = "Return-Path: <\"al..ice.\"@example.com>\r\nReceived: ";
        assert!(message.starts_with(begin), "{message}");
        assert!(message.contains(&format!("for <{quoted}>;")), "{message}");
        client.say("QUIT");
        client.expect_prefix("+OK");
    }
}

/// Fifty mebioctets in one line, in and out, while the process hardly grows.
#[test]
fn a_message_of_one_fifty_mebioctet_line_streams_through() {
    const PIECE: usize = 1024 * 1024;
    const PIECES: usize = 49;
    let directory = tempfile::tempdir().unwrap();
    let program = crate::support::program::Program::start(directory.path());
    // Warm up: buffers and threads that every session needs.
    program.deliver(BOB, &"line\r\n".repeat(100_000));
    let before = program.resident_octets();

    let mut client = program.smtp_client();
    client.say("HELO test");
    client.expect("250 Ok");
    client.begin_content(&["carol@example.com"]);
    for number in 0..PIECES {
        client.send(&vec![b'a' + u8::try_from(number % 26).unwrap(); PIECE]);
    }
    client.send(b"\r\n.\r\n");
    client.expect("250 OK");

    let mut client = program.maildrop("carol@example.com");
    client.say("RETR 1");
    client.expect_prefix("+OK");
    let message = client.multi_line();
    let content = crate::support::without_trace(&message).as_bytes();
    assert_eq!(content.len(), PIECE * PIECES + 2);
    let (line, end) = content.split_at(PIECE * PIECES);
    assert_eq!(end, b"\r\n");
    for (number, piece) in line.chunks(PIECE).enumerate() {
        let expected = b'a' + u8::try_from(number % 26).unwrap();
        assert!(
            piece.iter().all(|octet| *octet == expected),
            "piece {number}"
        );
    }

    let grown = program.resident_octets().saturating_sub(before);
    assert!(
        grown < 4 * 1024 * 1024,
        "the process grew by {grown} octets"
    );
}

#[test]
fn top_gives_the_header_and_the_first_lines() {
    let server = Server::start();
    server.deliver(BOB, "Subject: x\r\n\r\n.one\r\ntwo\r\nthree\r\n");
    let mut client = server.maildrop(BOB);
    client.say("TOP 1 2");
    client.expect_prefix("+OK");
    let top = client.multi_line();
    assert_eq!(
        crate::support::without_trace(&top),
        "Subject: x\r\n\r\n.one\r\ntwo\r\n"
    );
    client.say("TOP 1 0");
    client.expect_prefix("+OK");
    let top = client.multi_line();
    assert_eq!(crate::support::without_trace(&top), "Subject: x\r\n\r\n");
}

#[test]
fn pipelined_retrievals_are_answered_in_order() {
    let server = Server::start();
    for number in 0..20 {
        server.deliver(
            BOB,
            &format!("Subject: {number}\r\n\r\n{}", ".x\r\n".repeat(number)),
        );
    }
    let mut client = server.maildrop(BOB);
    let mut commands = String::new();
    for number in 1..=20 {
        commands += &format!("RETR {number}\r\nDELE {number}\r\n");
    }
    commands.push_str("QUIT\r\n");
    client.send(commands.as_bytes());
    for number in 0..20 {
        client.expect_prefix("+OK");
        let message = client.multi_line();
        let expected = format!("Subject: {number}\r\n\r\n{}", ".x\r\n".repeat(number));
        assert_eq!(crate::support::without_trace(&message), expected);
        client.expect_prefix("+OK");
    }
    client.expect_prefix("+OK");
    client.expect_end();
    assert_eq!(server.contents(BOB), [""; 0]);
}

#[test]
fn files_of_other_programs_are_served() {
    let server = Server::start();
    server.deliver(BOB, "ours\r\n");
    let maildir = server.mail().join("example.com/bob");
    for (file, content) in [
        ("new/1000000000.M1P1.other", "Subject: lf\n\n.dot\nno end"),
        (
            "cur/1000000001.M1P1.other:2,S",
            "Subject: crlf\r\n\r\nbody\r\n",
        ),
        ("cur/1000000002.M1P1.other,S=10,W=11:2,RS", "Subject: x"),
        ("new/.hidden", "not a message"),
    ] {
        std::fs::write(maildir.join(file), content).unwrap();
    }
    let mut client = server.maildrop(BOB);
    assert_eq!(client.count(), 4);
    assert_eq!(client.retrieve(1), "Subject: lf\r\n\r\n.dot\r\nno end\r\n");
    assert_eq!(client.retrieve(2), "Subject: crlf\r\n\r\nbody\r\n");
    client.say("UIDL 2");
    client.expect("+OK 2 1000000001.M1P1.other");
}

#[test]
fn a_message_that_was_seen_by_another_program_keeps_its_unique_id() {
    let server = Server::start();
    server.deliver(BOB, "Subject: x\r\n\r\n");
    let unique_id = |client: &mut crate::support::Client| {
        client.say("UIDL 1");
        client.expect_prefix("+OK 1 ")
    };
    let mut client = server.maildrop(BOB);
    let before = unique_id(&mut client);
    let maildir = server.mail().join("example.com/bob");
    let file = std::fs::read_dir(maildir.join("new"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let name = file.file_name().into_string().unwrap();
    std::fs::rename(file.path(), maildir.join(format!("cur/{name}:2,S"))).unwrap();
    // The open session finds it again, and the next one knows it.
    assert!(client.retrieve(1).ends_with("Subject: x\r\n\r\n"));
    client.say("QUIT");
    client.expect_prefix("+OK");
    client.expect_end();
    let mut client = server.maildrop(BOB);
    assert_eq!(unique_id(&mut client), before);
    client.say("DELE 1");
    client.expect_prefix("+OK");
    client.say("QUIT");
    client.expect_prefix("+OK");
    assert_eq!(std::fs::read_dir(maildir.join("cur")).unwrap().count(), 0);
}

/// A POP3 response is content in CRLF form, so SMTP content is unchanged in it.
#[test]
fn lf_sessions_and_crlf_sessions_store_the_same() {
    let server = Server::start();
    server.deliver(BOB, "Subject: same\r\n\r\n.body\r\n");
    let mut client = server.smtp_client();
    client.send(b"HELO test\nMAIL FROM:<a@b.example>\nRCPT TO:<bob@example.com>\nDATA\n");
    for expected in [
        "250 Ok",
        "250 Sender OK",
        "250 Recipient OK",
        "354 Envoyez votre mail",
    ] {
        client.expect(expected);
    }
    let lf = dot_stuffed("Subject: same\r\n\r\n.body\r\n").replace("\r\n", "\n");
    client.send(lf.as_bytes());
    client.expect("250 OK");
    let contents = server.contents(BOB);
    assert_eq!(contents[0], contents[1]);
}

/// A composed and a decomposed letter name the same mailbox; an existing mailbox in another form is
/// found.
#[test]
fn composed_and_decomposed_letters_name_one_mailbox() {
    const COMPOSED: &str = "zo\u{eb}@example.com";
    const DECOMPOSED: &str = "zoe\u{308}@example.com";
    let server = Server::start();
    let send = |to: &str, text: &str| {
        let mut smtp = server.extended_client();
        smtp.say("MAIL FROM:<alice@example.com> SMTPUTF8");
        smtp.expect_prefix("250 ");
        smtp.say(&format!("RCPT TO:<{to}>"));
        smtp.expect_prefix("250 ");
        smtp.say("DATA");
        smtp.expect_prefix("354 ");
        smtp.say(&format!("{text}\r\n."));
        smtp.expect_prefix("250 ");
    };
    let count = |user: &str| {
        let mut pop3 = server.pop3_client();
        pop3.say(&format!("USER {user}"));
        pop3.expect_prefix("+OK");
        pop3.say("PASS any");
        pop3.expect_prefix("+OK");
        let count = pop3.count();
        pop3.say("QUIT");
        pop3.expect_prefix("+OK");
        pop3.expect_end();
        count
    };
    send(COMPOSED, "Subject: one");
    send(DECOMPOSED, "Subject: two");
    let names = [
        COMPOSED,
        DECOMPOSED,
        "zo\u{eb}",
        "zoe\u{308}",
        "Zoe\u{308}@EXAMPLE.com",
    ];
    for user in names {
        assert_eq!(count(user), 2, "{user:?}");
    }
    // As it was created when the two were different.
    let domain = server.mail().join("example.com");
    std::fs::rename(domain.join("zo%c3%ab"), domain.join("zoe%cc%88")).unwrap();
    send(COMPOSED, "Subject: three");
    for user in names {
        assert_eq!(count(user), 3, "{user:?}");
    }
    assert!(!domain.join("zo%c3%ab").exists());
}
