//! Handshakes: what a client can do in the middle of one, and which thread computes them.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::Shutdown;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;

use rustls::{ClientConfig, ClientConnection};
use socket2::Socket;

use super::super::session::Interruption;
use super::super::{Handshakes, Identity};
use super::{Ends, time, timeouts};

fn client_of(config: &Arc<ClientConfig>) -> ClientConnection {
    ClientConnection::new(Arc::clone(config), "localhost".try_into().unwrap()).unwrap()
}

/// The whole first flight of a client.
fn hello(tls: &mut ClientConnection) -> Vec<u8> {
    let mut octets = Vec::new();
    while tls.wants_write() {
        tls.write_tls(&mut octets).unwrap();
    }
    octets
}

/// Performs a handshake with a well-behaved client.
fn is_served(handshakes: &Handshakes, config: &Arc<ClientConfig>) -> bool {
    let mut ends = Ends::new("127.0.0.1", timeouts());
    ends.begin_tls_by(handshakes, config);
    ends.connection.tunnel().is_some()
}

/// Writes until the socket accepts no more; returns how many octets it accepted.
fn fill(mut socket: &Socket) -> usize {
    socket.set_nonblocking(true).unwrap();
    let mut octets = 0;
    loop {
        match socket.write(&[b'x'; 4_096]) {
            Ok(taken) => octets = taken.saturating_add(octets),
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => panic!("{error}"),
        }
    }
    socket.set_nonblocking(false).unwrap();
    octets
}

/// NET-4: a client that sends only part of a handshake, or reads nothing of the answer, keeps no
/// worker from the others. Here there is only one worker.
#[test]
fn a_client_that_stops_during_its_handshake_holds_up_no_other() {
    let (handshakes, config) = time::handshakes();
    let mut silent = Ends::new("127.0.0.1", timeouts());
    let mut half = Ends::new("127.0.0.1", timeouts());
    let mut not_reading = Ends::new("127.0.0.1", timeouts());
    let mut tls = client_of(&config);
    let octets = hello(&mut tls);
    half.client.write_all(&octets[..octets.len() / 2]).unwrap();
    let in_the_way = fill(&not_reading.socket);
    not_reading.client.write_all(&octets).unwrap();
    let sockets = [&silent, &half].map(|ends| Arc::clone(&ends.socket));
    let (waiting, mut slow_reader) = (&mut not_reading.connection, &not_reading.client);
    thread::scope(|scope| {
        let stopped = [&mut silent.connection, &mut half.connection].map(|connection| {
            let start = || connection.start_tls(&handshakes);
            thread::Builder::new().spawn_scoped(scope, start).unwrap()
        });
        let not_reading = thread::Builder::new()
            .spawn_scoped(scope, || waiting.start_tls(&handshakes))
            .unwrap();
        assert!(is_served(&handshakes, &config));
        // The answer comes after the octets that filled the socket.
        slow_reader.read_exact(&mut vec![0; in_the_way]).unwrap();
        while tls.is_handshaking() {
            tls.complete_io(&mut slow_reader).unwrap();
        }
        not_reading.join().unwrap().unwrap();
        for socket in sockets {
            socket.shutdown(Shutdown::Read).unwrap();
        }
        for session in stopped {
            let ended = session.join().unwrap();
            let is_its = matches!(ended, Err(Interruption::Lost(_) | Interruption::Tls(_)));
            assert!(is_its, "{ended:?}");
        }
    });
}

/// SEC-17: a panic in a worker ends the session, and the worker continues.
#[test]
fn a_panic_in_a_handshake_ends_only_its_session() {
    let (handshakes, config) = time::handshakes();
    let good = handshakes.identity().get();
    handshakes.identity().set(Identity::that_panics());
    let mut ends = Ends::new("127.0.0.1", timeouts());
    let octets = hello(&mut client_of(&config));
    ends.client.write_all(&octets).unwrap();
    let start = || ends.connection.start_tls(&handshakes);
    assert!(catch_unwind(AssertUnwindSafe(start)).is_err());
    assert!(
        ends.connection.tunnel().is_some(),
        "nothing is sent unencrypted"
    );
    handshakes.identity().set((*good).clone());
    assert!(is_served(&handshakes, &config));
}
