//! HTTP sessions: their time limits, and waits whose client leaves or whose daemon stops.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::accounts::{Accounts, Settings};
use crate::api::Api;
use crate::clock::Clock;
use crate::http::{Rules, limits::HEAD_TIMEOUT, limits::IDLE_TIMEOUT};
use crate::inbox::Memory;
use crate::mail::{Domain, Door, Service};
use crate::server::http::{Environment, serve};
use crate::server::session::{Interruption, SessionEnd, SessionId, Visit};
use crate::server::{Logins, Remembered, SignIns, Waiters};
use crate::store::MessageStore;

use super::time::meanwhile;
use super::{Connection, Ends, Timeouts, smtp_settings};

const SECOND: Duration = Duration::from_secs(1);

/// A client on this machine.
fn ends() -> Ends {
    let timeouts = Timeouts {
        idle: IDLE_TIMEOUT,
        session: None,
    };
    Ends::new("127.0.0.1", timeouts)
}

/// What the sessions of a store in this directory need, with these waiters.
fn environment(directory: &Path, waiters: Arc<Waiters>) -> Environment {
    let clock = Clock::system();
    let settings = crate::store::Settings::new(directory.join("mail"), "localhost");
    let store = Arc::new(MessageStore::open(settings, clock.clone()).unwrap());
    let accounts = Arc::new(Accounts::open(&Settings {
        hostname: Domain::localhost(),
        domains: Vec::new(),
        subaddress: Some('+'),
    }));
    Environment {
        api: Arc::new(Api::new(
            Arc::clone(&store),
            Arc::clone(&accounts),
            clock.clone(),
            Memory::default(),
        )),
        store,
        logins: Arc::new(Logins::new(Arc::clone(&accounts), Duration::ZERO, clock)),
        accounts,
        handshakes: None,
        remembered: Arc::new(Remembered::nothing(Clock::system())),
        sign_ins: Arc::new(SignIns::none(Clock::system())),
        rules: Arc::new(Rules::default()),
        waiters,
        smtp: Arc::new(smtp_settings()),
        paths: Arc::default(),
        clock: Clock::system(),
    }
}

fn serve_plain(connection: &mut Connection, environment: &Environment) -> SessionEnd {
    let id = SessionId {
        service: Service::Http,
        number: 1,
    };
    let visit = Visit {
        id,
        door: Door::Plain,
        is_proxied: false,
    };
    let end = serve(connection, visit, environment);
    // As when the connection is dropped.
    connection.shut();
    end
}

/// Everything that the server sends until it closes.
fn rest(mut client: &TcpStream) -> String {
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    rest
}

/// A request that waits for mail.
const WAIT: &[u8] = b"GET /api/wait?timeout=60s HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Waits until this many sessions wait for mail.
fn until_waiting(waiters: &Waiters, n_waiting: usize) {
    while waiters.n_waiting() != n_waiting {
        crate::clock::look_again();
    }
}

/// SEC-8: octets that keep coming do not move the deadline of the head.
#[test]
fn a_head_has_one_deadline_from_its_first_octet() {
    let directory = tempfile::tempdir().unwrap();
    let environment = environment(directory.path(), Waiters::of(100));
    let (end, said) = meanwhile(
        ends(),
        |connection| serve_plain(connection, &environment),
        |meeting, served| {
            let mut client = meeting.client;
            meeting.registry.until_everyone_waits();
            meeting.hands.pass(IDLE_TIMEOUT.saturating_sub(SECOND));
            client.write_all(b"G").unwrap();
            meeting.pass_once_looked_at(3, served, HEAD_TIMEOUT.saturating_sub(SECOND));
            client.write_all(b"E").unwrap();
            meeting.pass_once_looked_at(3, served, SECOND);
            rest(client)
        },
    );
    assert!(
        said.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
        "{said}"
    );
    assert!(matches!(end, SessionEnd::Closed { .. }), "{end:?}");
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let directory = tempfile::tempdir().unwrap();
    let environment = environment(directory.path(), Waiters::of(100));
    let (end, said) = meanwhile(
        ends(),
        |connection| serve_plain(connection, &environment),
        |meeting, served| {
            meeting.pass_once_looked_at(2, served, IDLE_TIMEOUT);
            rest(meeting.client)
        },
    );
    assert_eq!(said, "");
    assert!(matches!(end, SessionEnd::Quit), "{end:?}");
}

/// A client that has left does not keep its place.
#[test]
fn a_wait_ends_with_its_client() {
    let directory = tempfile::tempdir().unwrap();
    let waiters = Waiters::of(100);
    let environment = environment(directory.path(), Arc::clone(&waiters));
    let (end, ()) = meanwhile(
        ends(),
        |connection| serve_plain(connection, &environment),
        |meeting, _| {
            let mut client = meeting.client;
            client.write_all(WAIT).unwrap();
            until_waiting(&waiters, 1);
            client.shutdown(Shutdown::Both).unwrap();
        },
    );
    assert!(
        matches!(end, SessionEnd::Broken(Interruption::Lost(None))),
        "{end:?}"
    );
    assert_eq!(waiters.n_waiting(), 0);
}

#[test]
fn a_wait_ends_when_the_daemon_stops() {
    let directory = tempfile::tempdir().unwrap();
    let waiters = Waiters::of(100);
    let environment = environment(directory.path(), Arc::clone(&waiters));
    let (_, said) = meanwhile(
        ends(),
        |connection| serve_plain(connection, &environment),
        |meeting, _| {
            let mut client = meeting.client;
            client.write_all(WAIT).unwrap();
            until_waiting(&waiters, 1);
            meeting.registry.stop();
            rest(client)
        },
    );
    assert!(
        said.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{said}"
    );
    assert!(
        said.ends_with("The service is shutting down; try again later\n"),
        "{said}"
    );
}

#[test]
fn a_wait_without_a_place_is_refused_and_the_connection_stays_open() {
    let directory = tempfile::tempdir().unwrap();
    let waiters = Waiters::of(1);
    let _other = waiters.begin(Some([192, 0, 2, 1].into())).unwrap();
    let environment = environment(directory.path(), Arc::clone(&waiters));
    let (end, said) = meanwhile(
        ends(),
        |connection| serve_plain(connection, &environment),
        |meeting, _| {
            let mut client = meeting.client;
            let next = b"GET /api/cursor HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
            client.write_all(&[WAIT, next].concat()).unwrap();
            rest(client)
        },
    );
    assert!(
        said.starts_with("HTTP/1.1 503 Service Unavailable\r\n"),
        "{said}"
    );
    assert!(said.contains("Retry-After: 1\r\n"), "{said}");
    assert!(said.contains("HTTP/1.1 200 OK\r\n"), "{said}");
    assert!(matches!(end, SessionEnd::Quit), "{end:?}");
}

/// SEC-9: the memory for a body is granted before the body is read.
#[test]
fn a_body_for_which_there_is_no_memory_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let environment = environment(directory.path(), Waiters::of(100));
    let ends = ends();
    let _taken = super::super::budget::Share::all_but(ends.registry.budget(), 1_024);
    let (end, said) = meanwhile(
        ends,
        |connection| serve_plain(connection, &environment),
        |meeting, _| {
            let mut client = meeting.client;
            let head = b"DELETE /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n\
                Content-Length: 1048576\r\nExpect: 100-continue\r\n\r\n";
            client.write_all(head).unwrap();
            rest(client)
        },
    );
    assert!(
        said.contains("HTTP/1.1 503 Service Unavailable\r\n"),
        "{said}"
    );
    assert!(
        matches!(end, SessionEnd::Quit | SessionEnd::Closed { .. }),
        "{end:?}"
    );
}
