//! SEC-9: the memory of the program is bounded, whatever is sent.

use crate::support::program::Program;
use crate::support::{Client, Server, Service, await_that, dot_stuffed};

const BOB: &str = "bob@example.com";

/// The smallest value that can be configured.
const TINY: &str = "[limits]\nin_flight_octets = 1048576\nrecipients = 100000\n";

/// Names recipients until one is refused, or up to `n_max`; returns how many were accepted.
fn name_recipients(client: &mut Client, n_max: usize) -> usize {
    for n_taken in 0..n_max {
        client.say(&format!("RCPT TO:<{BOB}>"));
        let reply = client.line();
        if reply != "250 2.1.5 Recipient OK" {
            assert!(reply.starts_with("452 4.5.3 "), "{reply}");
            return n_taken;
        }
    }
    n_max
}

/// Waits until ended and idle sessions hold no memory.
fn until_given_back(server: &Server) {
    await_that("some memory is still held", || {
        server.counted("memory_octets_now") == 0
    });
}

/// SEC-9.
#[test]
fn recipients_without_memory_are_refused_and_the_others_get_their_mail() {
    let server = Server::with(TINY);
    let mut first = server.extended_client();
    first.say("MAIL FROM:<>");
    first.expect("250 2.1.0 Sender OK");
    let n_first = name_recipients(&mut first, 100_000);
    assert!((500..5_000).contains(&n_first), "{n_first}");
    assert!(server.counted("memory_octets_now") <= 524_288 / 2);
    // A second client has its own minimum, which is enough for usual mail.
    let mut second = server.extended_client();
    second.say("MAIL FROM:<>");
    second.expect("250 2.1.0 Sender OK");
    let n_second = name_recipients(&mut second, 100_000);
    assert!((40..100).contains(&n_second), "{n_second}");
    for client in [&mut first, &mut second] {
        client.say("DATA");
        client.expect("354 Envoyez votre mail");
        client.send(b"to all\r\n.\r\n");
        client.expect("250 2.0.0 OK");
    }
    assert_eq!(server.contents(BOB), ["to all\r\n"; 2]);
    until_given_back(&server);
    // RSET releases memory too, and so does the end of a session.
    for ending in ["RSET", "QUIT"] {
        second.say("MAIL FROM:<>");
        second.expect("250 2.1.0 Sender OK");
        let n_taken = name_recipients(&mut second, 100_000);
        assert_eq!(n_taken, n_first, "before {ending}");
        second.say(ending);
        second.expect_prefix("2");
    }
    second.expect_end();
    first.say("MAIL FROM:<>");
    first.expect("250 2.1.0 Sender OK");
    until_given_back(&server);
    assert_eq!(name_recipients(&mut first, 100_000), n_first);
}

/// SEC-9: contents that arrive at the same time share the little memory that there is.
#[test]
fn many_contents_in_little_memory_all_arrive_unchanged() {
    const CLIENTS: usize = 24;
    let server = Server::with(TINY);
    let content = |number: usize| {
        let line = format!("{number} of the content of this message, which is long\r\n");
        line.repeat(20_000)
    };
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (server, content) = (&server, content(number));
            let send = move || {
                let mut client = server.extended_client();
                // Some are refused temporarily, and try again like a client with a queue.
                loop {
                    client.say("MAIL FROM:<>");
                    client.expect("250 2.1.0 Sender OK");
                    client.say(&format!("RCPT TO:<user{number}@example.com>"));
                    client.expect("250 2.1.5 Recipient OK");
                    client.say("DATA");
                    let reply = client.line();
                    if reply.starts_with("354 ") {
                        break;
                    }
                    assert!(reply.starts_with("452 4.3.1 "), "{reply}");
                }
                client.send(dot_stuffed(&content).as_bytes());
                client.expect("250 2.0.0 OK");
            };
            std::thread::Builder::new()
                .spawn_scoped(scope, send)
                .unwrap();
        }
    });
    assert!(server.counted("memory_octets_peak") <= 524_288);
    until_given_back(&server);
    for number in 0..CLIENTS {
        let contents = server.contents(&format!("user{number}@example.com"));
        assert!(contents == [content(number)], "{number}");
    }
}

/// SEC-9: the formula itself. Sessions that send without end, or that do not read what they
/// requested, hold their own minimum and share the rest.
#[test]
fn memory_is_bounded_by_the_number_of_sessions_whatever_they_send() {
    const SESSIONS: u64 = 200;
    const OCTETS: usize = 1_000_000;
    const IN_FLIGHT: u64 = 1_048_576;
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), TINY);
    let message = "one of many lines of a message\r\n".repeat(OCTETS / 32);
    let base = program.resident_octets();
    for user in 0..SESSIONS / 4 {
        program.deliver(&format!("user{user}@example.com"), &message);
    }
    let mut streams: Vec<Client> = (0..SESSIONS * 3 / 4)
        .map(|_| program.extended_client())
        .collect();
    for client in &mut streams {
        client.say("MAIL FROM:<>");
        client.expect("250 2.1.0 Sender OK");
        client.say(&format!("RCPT TO:<{BOB}>"));
        client.expect("250 2.1.5 Recipient OK");
        client.say("DATA");
        client.expect("354 Envoyez votre mail");
    }
    // The overhead of the system's allocator is only estimated.
    let bound = base + SESSIONS * 64 * 1_024 + IN_FLIGHT + 4 * 1_024 * 1_024;
    let mut readers: Vec<Client> = (0..SESSIONS / 4)
        .map(|user| program.maildrop(&format!("user{user}@example.com")))
        .collect();
    for reader in &mut readers {
        reader.say("RETR 1");
    }
    // Each continues a little, all at the same time.
    for piece in message.as_bytes().chunks(50_000) {
        for client in &mut streams {
            client.send(piece);
        }
        for _ in 0..20 {
            let octets = program.resident_octets();
            assert!(octets <= bound, "{octets} octets are more than {bound}");
            std::thread::yield_now();
        }
    }
    drop(readers);
    drop(streams);
    program.stop();
}
