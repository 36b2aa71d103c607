//! Many concurrent clients: every message arrives once, octet for octet.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use crate::support::{Server, Service, without_trace};

const SENDERS: usize = 32;
const READERS: usize = 8;
const MESSAGES: usize = 10;

/// The content of message `number` of sender `sender`: its lines would show any mixing.
fn content(sender: usize, number: usize) -> String {
    let mut content = format!("Subject: {sender}-{number}\r\n\r\n");
    for line in 0..(sender * 7 + number * 13) % 60 {
        content += &format!(".{sender} {number} {line} {}\r\n", "x".repeat(line));
    }
    content
}

fn send_all(server: &Arc<Server>, recipient: impl Fn(usize) -> String) -> BTreeSet<String> {
    let barrier = Arc::new(Barrier::new(SENDERS));
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let (server, barrier) = (Arc::clone(server), Arc::clone(&barrier));
            let recipient = recipient(sender);
            thread::Builder::new()
                .spawn(move || {
                    let mut client = server.smtp_client();
                    client.say("HELO test");
                    client.expect("250 Ok");
                    barrier.wait();
                    for number in 0..MESSAGES {
                        client.transaction(&[&recipient], &content(sender, number));
                    }
                })
                .unwrap()
        })
        .collect();
    for sender in senders {
        sender.join().unwrap();
    }
    (0..SENDERS)
        .flat_map(|s| (0..MESSAGES).map(move |n| content(s, n)))
        .collect()
}

#[test]
fn thirty_two_senders_fill_one_mailbox() {
    let server = Arc::new(Server::start());
    let sent = send_all(&server, |_| "bob@example.com".to_owned());
    let got = server.contents("bob@example.com");
    assert_eq!(got.len(), SENDERS * MESSAGES);
    assert_eq!(got.into_iter().collect::<BTreeSet<_>>(), sent);
}

#[test]
fn thirty_two_senders_fill_their_own_mailboxes() {
    let server = Arc::new(Server::start());
    send_all(&server, |sender| format!("user{sender}@example.com"));
    for sender in 0..SENDERS {
        let got = server.contents(&format!("user{sender}@example.com"));
        let sent: Vec<String> = (0..MESSAGES)
            .map(|number| content(sender, number))
            .collect();
        assert_eq!(got, sent, "one sender's messages keep their order");
    }
}

/// Fetches and deletes all messages, session after session, until `done`.
fn drain(server: &Server, user: &str, done: &AtomicBool) -> Vec<String> {
    let mut got = Vec::new();
    while !done.load(Ordering::SeqCst) {
        let mut client = server.maildrop(user);
        for number in 1..=client.count() {
            got.push(without_trace(&client.retrieve(number)).to_owned());
            client.say(&format!("DELE {number}"));
            client.expect_prefix("+OK");
        }
        client.say("QUIT");
        client.expect_prefix("+OK");
        client.expect_end();
    }
    got
}

#[test]
fn eight_readers_drain_while_thirty_two_senders_deliver() {
    let server = Arc::new(Server::start());
    let mailbox = |index: usize| format!("reader{}@example.com", index % READERS);
    let done = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..READERS)
        .map(|reader| {
            let (server, done) = (Arc::clone(&server), Arc::clone(&done));
            thread::Builder::new()
                .spawn(move || drain(&server, &mailbox(reader), &done))
                .unwrap()
        })
        .collect();
    let sent = send_all(&server, mailbox);
    done.store(true, Ordering::SeqCst);
    let mut got = Vec::new();
    for reader in readers {
        got.extend(reader.join().unwrap());
    }
    for reader in 0..READERS {
        got.extend(server.contents(&mailbox(reader)));
    }
    assert_eq!(got.len(), sent.len(), "every message once");
    assert_eq!(got.into_iter().collect::<BTreeSet<_>>(), sent);
}

#[test]
fn one_maildrop_has_one_session_at_a_time() {
    let server = Server::start();
    server.deliver("bob@example.com", "Subject: hi\r\n\r\nbody\r\n");
    let mut first = server.maildrop("bob@example.com");
    let mut second = server.pop3_client();
    second.say("USER bob@example.com");
    second.expect_prefix("+OK");
    second.say("PASS any");
    second.expect_prefix("-ERR [IN-USE]");
    first.say("QUIT");
    first.expect_prefix("+OK");
    first.expect_end();
    assert_eq!(server.contents("bob@example.com").len(), 1);
}

#[test]
fn a_session_does_not_see_mail_that_arrives_after_its_login() {
    let server = Server::start();
    server.deliver("bob@example.com", "Subject: one\r\n\r\n");
    let mut client = server.maildrop("bob@example.com");
    server.deliver("bob@example.com", "Subject: two\r\n\r\n");
    assert_eq!(client.count(), 1);
    client.say("DELE 1");
    client.expect_prefix("+OK");
    client.say("QUIT");
    client.expect_prefix("+OK");
    client.expect_end();
    assert_eq!(server.contents("bob@example.com"), ["Subject: two\r\n\r\n"]);
}
