//! LMTP: an answer for each mailbox, and a socket in the file system. Dialogues are in
//! `tests/transcripts/lmtp`.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

use facteur::mail::{Door, Service};

use crate::support::{
    Client, DEADLINE, Server, Service as _,
    program::{Program, run},
};

/// Sends a message to these, and does something before its end. Returns the last replies.
fn deliver(client: &mut Client, recipients: &[&str], before_the_end: impl FnOnce()) -> Vec<String> {
    client.say("MAIL FROM:<alice@example.com>");
    client.expect("250 2.1.0 Sender OK");
    for recipient in recipients {
        client.say(&format!("RCPT TO:<{recipient}>"));
        client.expect("250 2.1.5 Recipient OK");
    }
    client.say("DATA");
    client.expect("354 Envoyez votre mail");
    client.send(b"Subject: hello\r\n\r\nhello\r\n");
    before_the_end();
    client.say(".");
    recipients.iter().map(|_| client.line()).collect()
}

fn lmtp_client(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    client.expect("220 localhost LMTP facteur");
    client.say("LHLO mx.example.com");
    client.reply();
    client
}

/// I5, I10: the sender keeps the message for the mailbox that cannot take it, and sends it again.
#[test]
fn a_broken_mailbox_does_not_hold_up_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), "lmtp = [\"127.0.0.1:0\"]\n");
    let mut client = lmtp_client(program.lmtp());
    let recipients = [
        "ann@example.org",
        "bob@example.com",
        "ann@example.org",
        "cid@example.com",
    ];
    let in_the_way = directory.path().join("mail/example.org");
    let replies = deliver(&mut client, &recipients, || {
        fs::write(&in_the_way, "a file").unwrap();
    });
    let unavailable = "451 4.2.0 The mailbox cannot accept mail at the moment; try again later";
    let delivered = "250 2.0.0 OK";
    assert_eq!(replies, [unavailable, delivered, unavailable, delivered]);
    // Now it is known.
    client.say("MAIL FROM:<alice@example.com>");
    client.expect("250 2.1.0 Sender OK");
    client.say("RCPT TO:<ann@example.org>");
    client.expect(unavailable);
    client.say("RSET");
    client.expect("250 2.0.0 Ok");
    let accepted = program.log_line(" accepted id=");
    assert!(
        accepted.contains(" to=\"<bob@example.com>\" and 1 more "),
        "{accepted}"
    );
    fs::remove_file(&in_the_way).unwrap();
    assert_eq!(
        deliver(&mut client, &["ann@example.org"], || ()),
        [delivered]
    );
    for mailbox in ["ann@example.org", "bob@example.com", "cid@example.com"] {
        assert_eq!(
            program.contents(mailbox),
            ["Subject: hello\r\n\r\nhello\r\n"],
            "{mailbox}"
        );
    }
}

/// A thousand replies are more than is collected before something is sent.
#[test]
fn as_many_replies_are_sent_as_there_are_recipients() {
    let server = Server::with("lmtp = [\"127.0.0.1:0\"]\ndurability = \"none\"\n");
    let mut client = lmtp_client(server.address(Service::Smtp, Door::Lmtp));
    let recipients: Vec<String> = (0..1_000).map(|n| format!("box{n}@example.com")).collect();
    let recipients: Vec<&str> = recipients.iter().map(String::as_str).collect();
    let replies = deliver(&mut client, &recipients, || ());
    assert_eq!(replies, vec!["250 2.0.0 OK"; 1_000]);
    client.say("NOOP");
    client.expect("250 2.0.0 Ok");
}

/// SEC-14.
#[test]
fn other_machines_are_not_served_without_accounts_and_tls() {
    let refused = run(&["--lmtp", "0.0.0.0:0", "--check"]);
    assert_eq!(refused.status, Some(2), "{}", refused.errors);
    assert!(refused.errors.contains("lmtp"), "{}", refused.errors);
}

/// Sends a message over the socket.
fn hand_in(path: &str) {
    let stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut replies = BufReader::new(stream.try_clone().unwrap()).lines();
    let mut expect = |prefix: &str| loop {
        let line = replies.next().unwrap().unwrap();
        if line.as_bytes()[3] == b' ' {
            assert!(line.starts_with(prefix), "{line}");
            break;
        }
    };
    expect("220 localhost LMTP");
    for (line, reply) in [
        ("LHLO mx.example.com", "250"),
        ("MAIL FROM:<>", "250"),
        ("RCPT TO:<bob@example.com>", "250"),
        ("DATA", "354"),
        ("hello\r\n.", "250 2.0.0 OK"),
        ("QUIT", "221"),
    ] {
        (&stream)
            .write_all(format!("{line}\r\n").as_bytes())
            .unwrap();
        expect(reply);
    }
}

#[test]
fn a_socket_in_the_file_system_is_served_also_after_a_crash() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("lmtp.sock");
    let path = path.to_str().unwrap();
    let configuration = format!("lmtp = [{path:?}]\n");
    for n_before in 0..2 {
        let mut program = Program::start_with(directory.path(), &configuration);
        let banner = format!("LMTP {path}");
        assert!(program.banner.contains(&banner), "{:?}", program.banner);
        let mode = fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        hand_in(path);
        assert_eq!(program.contents("bob@example.com").len(), n_before + 1);
        let ready = run(&[
            "--smtp",
            "off",
            "--pop3",
            "off",
            "--http",
            "off",
            "--lmtp",
            path,
            "check-ready",
        ]);
        assert_eq!(ready.output, "ready: lmtp\n", "{}", ready.errors);
        let second = run(&["--smtp", "0", "--pop3", "0", "--http", "0", "--lmtp", path]);
        assert_eq!(second.status, Some(1), "{}", second.errors);
        let expected = format!("cannot listen on {path} for lmtp (is another facteur running?");
        assert!(second.errors.contains(&expected), "{}", second.errors);
        // The name of the socket stays.
        program.kill();
    }
    let message = fs::read_dir(directory.path().join("mail/example.com/bob/new")).unwrap();
    for entry in message {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        assert!(
            text.contains("([127.0.0.1])\n\tby localhost (facteur) with LMTP id "),
            "{text}"
        );
    }
}
