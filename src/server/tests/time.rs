//! Every time limit of a connection.
//!
//! The clock advances only when a test turns it, and the tests wait only for other threads. Where a
//! limit is short, the kernel waits no longer than that, and the connection checks the clock
//! repeatedly.

use crate::mail::Ending;
use std::io::{Read, Write as _};
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::{self, ScopedJoinHandle};
use std::time::Duration;

use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::clock::Clock;

use super::super::connection::LineRead;
use super::super::session::Interruption;
use super::super::{Current, Handshakes, Identity, Reach, Timeouts, limits};
use super::{Connection, Ends, timeouts};

const LINE_OCTETS_MAX: usize = 100;

const SECOND: Duration = Duration::from_secs(1);

/// Longest wait for another thread: far beyond what any step takes.
const DEADLINE: Duration = Duration::from_mins(5);

/// A limit that the kernel reaches immediately, while the clock does not advance.
const TICK: Duration = Duration::from_millis(5);

/// An address of another machine.
const ELSEWHERE: &str = "192.0.2.1";

/// Calls `serve` with the connection, and at the same time `meet` with the rest; returns both
/// results.
pub(super) fn meanwhile<T: Send, U>(
    mut ends: Ends,
    serve: impl FnOnce(&mut Connection) -> T + Send,
    meet: impl FnOnce(&Meeting<'_>, &ScopedJoinHandle<'_, T>) -> U,
) -> (T, U) {
    let connection = &mut ends.connection;
    let meeting = Meeting {
        client: &ends.client,
        hands: &ends.hands,
        registry: &ends.registry,
    };
    thread::scope(|scope| {
        let served = thread::Builder::new()
            .spawn_scoped(scope, || serve(connection))
            .unwrap();
        let gained = meet(&meeting, &served);
        let clock = Clock::system();
        let begin = clock.now();
        while !served.is_finished() {
            if clock.now().duration_since(begin) > DEADLINE {
                // Nothing ended it that should have: the test then fails.
                ends.registry.stop();
                drop(ends.socket.shutdown(Shutdown::Both));
            }
            crate::clock::look_again();
        }
        (served.join().unwrap(), gained)
    })
}

/// The client's side of a connection that another thread serves.
pub(super) struct Meeting<'a> {
    pub(super) client: &'a TcpStream,
    pub(super) hands: &'a super::Hands,
    pub(super) registry: &'a super::Registry,
}

impl Meeting<'_> {
    /// Lets `time` pass once the connection has checked the clock this often, while it does not
    /// advance.
    pub(super) fn pass_once_looked_at<T>(
        &self,
        times: u64,
        served: &ScopedJoinHandle<'_, T>,
        time: Duration,
    ) {
        let is_over = || served.is_finished();
        assert!(
            self.hands.is_looked_at(times, is_over),
            "the connection waits"
        );
        self.hands.pass(time);
    }

    /// Sends an octet just before the end of `limit` and another after it, and then the end.
    pub(super) fn trickle_beyond(&self, limit: Duration, octets: [u8; 2]) {
        let mut client = self.client;
        // By then it has begun to measure its time.
        self.registry.until_everyone_waits();
        self.hands.pass(limit.saturating_sub(SECOND));
        client.write_all(&octets[..1]).unwrap();
        self.hands.pass(Duration::from_secs(2));
        // If nothing measures the time, this ends the wait.
        client.write_all(&octets[1..]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    }
}

/// SEC-8: octets that keep coming do not move the deadline of the command.
#[test]
fn a_whole_command_has_one_deadline() {
    let ends = Ends::new("127.0.0.1", timeouts());
    let (read, ()) = meanwhile(
        ends,
        |connection| connection.read_line(LINE_OCTETS_MAX),
        |meeting, _| meeting.trickle_beyond(timeouts().idle, *b"NO"),
    );
    assert!(
        matches!(read, Err(Interruption::Ended(Ending::IdleTimeout))),
        "{read:?}"
    );
}

/// SEC-8: the next command has its own time limit.
#[test]
fn a_command_that_came_in_time_restarts_the_time_limit() {
    let mut ends = Ends::new("127.0.0.1", timeouts());
    for _ in 0..3 {
        ends.hands.pass(timeouts().idle);
        ends.client.write_all(b"NOOP\r\n").unwrap();
        let read = ends.connection.read_line(LINE_OCTETS_MAX);
        assert_eq!(read.unwrap(), LineRead::Line);
    }
}

/// SEC-8.
#[test]
fn a_session_that_waits_ends_when_it_has_lasted_long_enough() {
    let timeouts = Timeouts {
        idle: Duration::from_hours(2),
        ..timeouts()
    };
    let ends = Ends::new("127.0.0.1", timeouts);
    let (read, ()) = meanwhile(
        ends,
        |connection| connection.read_line(LINE_OCTETS_MAX),
        |meeting, _| meeting.trickle_beyond(Duration::from_hours(1), *b"NO"),
    );
    assert!(
        matches!(read, Err(Interruption::Ended(Ending::SessionTimeout))),
        "{read:?}"
    );
}

/// SEC-8: commands that have already arrived are not answered once the session's time is over.
#[test]
fn a_pipelined_group_does_not_outlast_the_session() {
    let mut ends = Ends::new("127.0.0.1", timeouts());
    ends.client.write_all(&b"NOOP\r\n".repeat(3)).unwrap();
    for _ in 0..2 {
        let read = ends.connection.read_line(LINE_OCTETS_MAX);
        assert_eq!(read.unwrap(), LineRead::Line);
        ends.hands.pass(Duration::from_mins(30));
    }
    let read = ends.connection.read_line(LINE_OCTETS_MAX);
    assert!(
        matches!(read, Err(Interruption::Ended(Ending::SessionTimeout))),
        "{read:?}"
    );
}

/// The result for a message from `peer` that sends `octets` in its first minute, and then one more.
fn content_from(peer: &str, octets: usize) -> Result<(), Interruption> {
    let mut ends = Ends::new(peer, timeouts());
    let mut rate = ends.connection.content_rate();
    ends.client.write_all(&vec![b'x'; octets]).unwrap();
    let mut read = 0;
    while read < octets {
        ends.connection.read_content(&mut rate, || ())?;
        let unread = ends.connection.unread().len();
        ends.connection.consume(unread);
        read = read.saturating_add(unread);
    }
    ends.hands.pass(limits::WAIT_SLICE);
    ends.client.write_all(b"x").unwrap();
    ends.connection.read_content(&mut rate, || ())
}

/// SEC-8.
#[test]
fn a_content_that_trickles_is_cut_off_unless_it_comes_from_this_machine() {
    let enough = usize::try_from(limits::CONTENT_OCTETS_PER_SECOND_MIN * 60).unwrap();
    content_from(ELSEWHERE, enough - 1).expect("it keeps pace with the last octet");
    let slow = content_from(ELSEWHERE, enough - 2);
    assert!(
        matches!(slow, Err(Interruption::Ended(Ending::TooSlow))),
        "{slow:?}"
    );
    content_from("127.0.0.1", 1).expect("a person at a terminal may be slow");
}

/// SEC-8: a pause within a message may last as long as a command, for every client.
#[test]
fn a_content_that_pauses_for_too_long_is_cut_off() {
    let timeouts = Timeouts {
        idle: TICK,
        ..timeouts()
    };
    let ends = Ends::new("127.0.0.1", timeouts);
    let (read, ()) = meanwhile(
        ends,
        |connection| {
            let mut rate = connection.content_rate();
            connection.read_content(&mut rate, || ())
        },
        |meeting, served| {
            meeting.pass_once_looked_at(5, served, TICK);
        },
    );
    assert!(
        matches!(read, Err(Interruption::Ended(Ending::TooSlow))),
        "{read:?}"
    );
}

/// What the buffers of [`unread`] can hold.
const SOME: usize = 64 * 1024;

/// More than they can hold.
const MUCH: usize = 1024 * 1024;

/// Ends whose sockets hold little, and whose writes wait for the client only a tick.
fn unread() -> Ends {
    let ends = Ends::new("127.0.0.1", timeouts());
    let socket = socket2::SockRef::from(&*ends.socket);
    socket.set_send_buffer_size(SOME).unwrap();
    let client = socket2::SockRef::from(&ends.client);
    client.set_recv_buffer_size(SOME).unwrap();
    ends.socket.set_write_timeout(Some(TICK)).unwrap();
    ends
}

/// Octets that make the server wait when it sends them.
fn much() -> Vec<u8> {
    let octets = (0..MUCH).map(|n| u8::try_from(n % 251).unwrap());
    octets.collect()
}

fn send_much(connection: &mut Connection) -> Result<(), Interruption> {
    connection.output().extend(much());
    connection.flush()
}

/// SEC-8.
#[test]
fn a_client_that_never_reads_is_given_up() {
    let (sent, ()) = meanwhile(unread(), send_much, |meeting, served| {
        meeting.pass_once_looked_at(3, served, limits::WRITE_TIMEOUT);
    });
    assert!(matches!(sent, Err(Interruption::NotReading)), "{sent:?}");
}

/// SEC-8: what the client reads in the meantime does not move the deadline.
#[test]
fn a_client_that_reads_too_slowly_is_given_up() {
    let (sent, ()) = meanwhile(unread(), send_much, |meeting, served| {
        meeting.pass_once_looked_at(3, served, limits::WRITE_TIMEOUT.saturating_sub(SECOND));
        let mut client = meeting.client;
        client.read_exact(&mut vec![0; MUCH / 4]).unwrap();
        meeting.pass_once_looked_at(3, served, 2 * SECOND);
    });
    assert!(matches!(sent, Err(Interruption::NotReading)), "{sent:?}");
}

#[test]
fn a_client_that_reads_late_gets_all_of_it() {
    let (sent, got) = meanwhile(unread(), send_much, |meeting, served| {
        read_late(meeting.client, 5, meeting, served)
    });
    sent.unwrap();
    assert!(got == much(), "octet for octet");
}

/// Reads everything that is sent, once the clock was checked this often and the time to read is
/// almost over.
fn read_late<T>(
    mut client: impl Read,
    looks: u64,
    meeting: &Meeting<'_>,
    served: &ScopedJoinHandle<'_, T>,
) -> Vec<u8> {
    meeting.pass_once_looked_at(looks, served, limits::WRITE_TIMEOUT.saturating_sub(SECOND));
    let mut got = vec![0; MUCH];
    client.read_exact(&mut got).unwrap();
    got
}

/// SEC-8: the session's end comes before the client's time to read is over.
#[test]
fn a_client_that_never_reads_does_not_outlast_its_session() {
    let ends = unread();
    let almost = Duration::from_hours(1).saturating_sub(2 * SECOND);
    ends.hands.pass(almost);
    let (sent, ()) = meanwhile(ends, send_much, |meeting, served| {
        meeting.pass_once_looked_at(3, served, 2 * SECOND);
    });
    assert!(matches!(sent, Err(Interruption::NotReading)), "{sent:?}");
}

/// Handshakes with a certificate for localhost, and a client that trusts it.
pub(super) fn handshakes() -> (Handshakes, Arc<ClientConfig>) {
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let identity = Identity::from_pem(certificate.pem().as_bytes(), key.serialize_pem().as_bytes());
    let mut roots = RootCertStore::empty();
    let certificate: CertificateDer<'static> = certificate.der().clone();
    roots.add(certificate).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let client = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let identity = Arc::new(Current::new(identity.unwrap()));
    let handshakes = Handshakes::start(identity, NonZeroUsize::MIN).unwrap();
    (handshakes, Arc::new(client))
}

/// SEC-8: a handshake has one deadline, however it trickles.
#[test]
fn a_handshake_has_one_deadline() {
    let (handshakes, _) = handshakes();
    let ends = Ends::new("127.0.0.1", timeouts());
    let (begun, ()) = meanwhile(
        ends,
        |connection| connection.start_tls(&handshakes),
        // The beginning of a handshake record that never ends.
        |meeting, _| meeting.trickle_beyond(limits::HANDSHAKE_TIMEOUT, [0x16, 0x03]),
    );
    let is_late = matches!(begun, Err(Interruption::HandshakeTimeout { begun: true }));
    assert!(is_late, "{begun:?}");
}

#[test]
fn a_client_that_reads_late_gets_all_of_it_through_tls() {
    let (sent, got) = meanwhile_through_tls(unread(), |client, meeting, served| {
        read_late(client, 20, meeting, served)
    });
    sent.unwrap();
    assert!(got == much(), "octet for octet");
}

/// A stop leaves a client that does not read, and also one whose octets TLS holds.
#[test]
fn a_client_that_does_not_read_is_left_when_the_daemon_stops() {
    let stop = |meeting: &Meeting<'_>, served: &ScopedJoinHandle<'_, _>| {
        meeting.hands.is_looked_at(3, || served.is_finished());
        meeting.registry.stop();
    };
    let (sent, ()) = meanwhile(unread(), send_much, stop);
    assert!(matches!(sent, Err(Interruption::NotReading)), "{sent:?}");
    let (sent, ()) = meanwhile_through_tls(unread(), |client, meeting, served| {
        client.read_exact(&mut [0]).unwrap();
        stop(meeting, served);
    });
    assert!(matches!(sent, Err(Interruption::NotReading)), "{sent:?}");
}

/// Sends much through TLS, while the client calls `meet`.
fn meanwhile_through_tls<U>(
    mut ends: Ends,
    meet: impl FnOnce(
        &mut StreamOwned<ClientConnection, &TcpStream>,
        &Meeting<'_>,
        &ScopedJoinHandle<'_, Result<(), Interruption>>,
    ) -> U,
) -> (Result<(), Interruption>, U) {
    let tls = ends.begin_tls();
    meanwhile(ends, send_much, |meeting, served| {
        let mut client = StreamOwned::new(tls, meeting.client);
        meet(&mut client, meeting, served)
    })
}

/// SEC-14: a session that waits for a command, or for more of a message, ends when its network is
/// no longer open.
#[test]
fn a_session_ends_when_its_network_is_no_longer_open() {
    for waits_for_line in [true, false] {
        let ends = Ends::new(ELSEWHERE, timeouts());
        let registry = Arc::clone(&ends.registry);
        let read = |connection: &mut Connection| {
            if waits_for_line {
                connection.read_line(512).map(drop)
            } else {
                let mut rate = connection.content_rate();
                connection.read_content(&mut rate, || ()).map(drop)
            }
        };
        let (read, ()) = meanwhile(ends, read, |_, _| {
            registry.set_reach(Reach::Near(Vec::new()));
        });
        assert!(
            matches!(read, Err(Interruption::Ended(Ending::NotOpen))),
            "{read:?}"
        );
    }
}

/// SEC-11: a refusal is sent when its time has come on the clock, and not before.
#[test]
fn a_refusal_waits_for_the_clock() {
    let ends = Ends::new(ELSEWHERE, timeouts());
    let (paused, ()) = meanwhile(
        ends,
        |connection| connection.pause(TICK),
        |meeting, served| {
            meeting.pass_once_looked_at(5, served, TICK);
        },
    );
    paused.unwrap();
}

#[test]
fn a_refusal_waits_no_longer_than_the_session_or_the_daemon() {
    let session = Timeouts {
        session: Some(TICK),
        ..timeouts()
    };
    let long = Duration::from_mins(15);
    let (paused, ()) = meanwhile(
        Ends::new(ELSEWHERE, session),
        |connection| connection.pause(long),
        |meeting, served| {
            meeting.pass_once_looked_at(5, served, TICK);
        },
    );
    assert!(
        matches!(paused, Err(Interruption::Ended(Ending::SessionTimeout))),
        "{paused:?}"
    );
    let (paused, ()) = meanwhile(
        Ends::new(ELSEWHERE, timeouts()),
        |connection| connection.pause(long),
        |meeting, _| meeting.registry.stop(),
    );
    assert!(
        matches!(paused, Err(Interruption::Ended(Ending::ShuttingDown))),
        "{paused:?}"
    );
}
