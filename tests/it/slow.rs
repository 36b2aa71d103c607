//! Clients of HTTP that are slow in every way, as many as there can be: mail goes on beside them.

use std::net::SocketAddr;
use std::path::Path;

use facteur::system::capacity;

use crate::support::program::{Program, report};
use crate::support::{Client, Service, await_that, place_lines, tls};

const BOB: &str = "bob@example.com";

/// Places for all sessions, and many more clients than that.
const LIMITS: &str = "limits.connections = 200\n";
const CROWD: usize = 600;

/// The ways of being slow: what each client sends. It reads nothing.
const WAYS: [&[u8]; 6] = [
    // Nothing at all, and a head that stops within a field or before its last line.
    b"",
    b"GET / HTTP/1.1\r\nHost: loc",
    b"GET / HTTP/1.1\r\nHost: localhost\r\n",
    // A body that does not come.
    b"DELETE /api/v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
    // A message that is not read.
    b"GET /api/v1/message/latest/raw HTTP/1.1\r\nHost: localhost\r\n\r\n",
    // A stream of events that is not read.
    b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n",
];

/// Fills the places of HTTP at this address. Clients that get none are refused or displaced, which
/// they do not notice because they do not read.
fn crowd(address: SocketAddr, ways: &[&[u8]]) -> Vec<Client> {
    let client = |number: usize| {
        let mut client = Client::connect(address);
        // One that is refused may be closed before this arrives.
        client.try_send(ways[number % ways.len()]);
        client
    };
    (0..CROWD).map(client).collect()
}

/// Mail is received and fetched as if nobody else were there.
fn serves(program: &Program, user: &str) {
    program.deliver(user, "beside those who are slow\r\n");
    let contents = program.contents(user);
    assert_eq!(contents, ["beside those who are slow\r\n"]);
}

fn start(directory: &Path) -> Program {
    capacity::raise_descriptors().unwrap();
    let listeners = "http = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:0\"]\n";
    Program::start_with(
        directory,
        &format!("{LIMITS}{listeners}{}", tls::configure(directory)),
    )
}

/// NET-5: HTTP has a share of the places of this machine, and whatever its clients do in it, it
/// takes none of SMTP and POP3.
#[test]
fn slow_clients_of_http_delay_no_mail() {
    let directory = tempfile::tempdir().unwrap();
    let program = start(directory.path());
    let mail = directory.path().join("mail");
    // More than the sockets of a few clients can buffer.
    place_lines(&mail, BOB, "a line that nobody reads\n", 500_000);
    let mut inside = program.smtp_client();
    let slow = crowd(program.http(), &WAYS);
    serves(&program, "one@example.com");
    // A handshake that stops, and one octet of it at a time.
    let half = [&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01][..], &[0x16]];
    let mut slow_in_tls = crowd(program.https(), &half);
    for octet in [0x03, 0x01, 0x00] {
        for client in slow_in_tls.iter_mut().skip(1).step_by(2) {
            client.try_send(&[octet]);
        }
        serves(&program, &format!("{octet}@example.com"));
    }
    inside.say("NOOP");
    inside.expect("250 Ok");
    program.signal("USR1");
    let counts = report(&program);
    assert!(counts["sessions_now"] > 50, "{counts:?}");
    drop((slow, slow_in_tls));
    await_that("slow clients keep their places", || {
        program.signal("USR1");
        report(&program)["sessions_now"] == 1
    });
    serves(&program, "last@example.com");
}
