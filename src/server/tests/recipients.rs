//! Tests of how the SMTP driver treats recipients that do not exist, with a clock that does not
//! advance.

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

/// The delay of the first delayed recipient; the kernel waits no longer than that.
const TICK: Duration = Duration::from_millis(5);

/// What a session of a client needs, in closed mode but with an empty table of accounts.
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

/// How many of seven unknown recipients are reported to a client at `peer` only after a delay.
fn n_delayed(peer: &str) -> usize {
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
        is_proxied: false,
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
            // A session that delays its reply checks the clock repeatedly; others do not.
            let is_answered = || client.peek(&mut [0]).is_ok();
            client.set_nonblocking(true).unwrap();
            let is_held_back = hands.is_looked_at(50, is_answered);
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

/// SEC-12: the first few are reported immediately, because anybody may mistype; programs on this
/// machine are not delayed at all.
#[test]
fn unknown_recipients_are_held_back_for_other_machines_when_they_are_many() {
    assert_eq!(n_delayed("192.0.2.1"), 2);
    assert_eq!(n_delayed("127.0.0.1"), 0);
}
