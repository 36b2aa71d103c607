//! Tests of what the SMTP driver makes of recipients who do not exist, on a clock that stands.

use std::io::{BufRead as _, BufReader, Write as _};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crate::accounts::{self, Accounts, Table};
use crate::clock::Clock;
use crate::mail::{Charset, Domain, Door, Service};
use crate::store::{self, MessageStore};

use super::super::session::{SessionId, Visit};
use super::super::{Logins, smtp};
use super::{Ends, smtp_sessions, timeouts};

/// The delay of the first recipient that is told late; the kernel waits no longer than that.
const TICK: Duration = Duration::from_millis(5);

/// What a session of a client needs, with accounts, none of which is there.
fn shared(directory: &std::path::Path, clock: &Clock) -> smtp::Environment {
    let settings = store::Settings::new(directory.join("mail"), "localhost");
    let settings_of_accounts = accounts::Settings {
        hostname: Domain::localhost(),
        domains: vec![Domain::parse("example.com", Charset::Ascii).unwrap()],
        subaddress: None,
    };
    let accounts = Accounts::closed(&settings_of_accounts, Table::default(), NonZeroUsize::MIN);
    let accounts = Arc::new(accounts);
    let store = Arc::new(MessageStore::open(settings, clock.clone()).unwrap());
    let logins = Arc::new(Logins::new(Arc::clone(&accounts), TICK, clock.clone()));
    smtp_sessions(&store, &accounts, logins, clock)
}

/// How many of seven recipients who do not exist are told to a client at `peer` only when their
/// time has come.
fn told_late(peer: &str) -> usize {
    let directory = tempfile::tempdir().unwrap();
    let mut ends = Ends::new(peer, timeouts());
    let clock = Clock::turned_by(Arc::clone(&ends.hands));
    let shared = shared(directory.path(), &clock);
    let (connection, hands) = (&mut ends.connection, &ends.hands);
    let mut client = &ends.client;
    client
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    let visit = Visit {
        id: SessionId {
            service: Service::Smtp,
            number: 1,
        },
        door: Door::Plain,
    };
    thread::scope(|scope| {
        let served = thread::Builder::new()
            .spawn_scoped(scope, || smtp::serve(connection, visit, &shared))
            .unwrap();
        let mut replies = BufReader::new(client).lines();
        let mut expect = |code: &str| {
            let reply = replies.next().unwrap().unwrap();
            assert!(reply.starts_with(code), "{reply}");
        };
        client.write_all(b"HELO x\r\nMAIL FROM:<>\r\n").unwrap();
        for code in ["220 ", "250 ", "250 "] {
            expect(code);
        }
        let held_back = (0..7).filter(|_| {
            client.write_all(b"RCPT TO:<x@example.com>\r\n").unwrap();
            // Whoever is held back looks at the clock again and again, and nobody else does.
            let is_told = || client.peek(&mut [0]).is_ok();
            client.set_nonblocking(true).unwrap();
            let is_held_back = hands.is_looked_at(50, is_told);
            client.set_nonblocking(false).unwrap();
            if is_held_back {
                hands.pass(Duration::from_secs(1));
            }
            expect("550 ");
            is_held_back
        });
        let held_back = held_back.count();
        client.write_all(b"QUIT\r\n").unwrap();
        expect("221 ");
        drop(served.join().unwrap());
        held_back
    })
}

/// SEC-12: the first few are told at once, for anybody may mistype; this machine's own programs are
/// not held up at all.
#[test]
fn unknown_recipients_are_held_back_for_other_machines_when_they_are_many() {
    assert_eq!(told_late("192.0.2.1"), 2);
    assert_eq!(told_late("127.0.0.1"), 0);
}
