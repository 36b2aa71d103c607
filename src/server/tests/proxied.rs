//! Connections of proxies that name their clients with the PROXY protocol.

use std::io::Write as _;
use std::net::IpAddr;
use std::thread;

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use super::super::connection::{Connection, LineRead};
use super::super::limits;
use super::super::session::Interruption;
use super::time::meanwhile;
use super::{Ends, timeouts};
use crate::mail::limits::PROXY_V2_OCTETS_MAX;

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 192.0.2.1 56324 25\r\n";
const V2: &[u8] =
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\xc0\x00\x02\x01\xdc\x04\x00\x19";
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Waits until the server has taken everything that has arrived.
fn until_taken(ends: &socket2::Socket) {
    while recv(ends, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT) != Err(Errno::AGAIN) {
        crate::clock::look_again();
    }
}

/// And what follows it is left for the session, also if it comes in the same packet.
#[test]
fn a_header_may_arrive_in_any_two_pieces() {
    for (header, client) in [(V1, "192.0.2.7"), (V2, "192.0.2.7"), (LOCAL, "127.0.0.1")] {
        for cut in 0..header.len() {
            let Ends {
                mut connection,
                socket,
                client: mut proxy,
                ..
            } = Ends::new("127.0.0.1", timeouts());
            let found = thread::scope(|scope| {
                let reading = thread::Builder::new()
                    .spawn_scoped(scope, || connection.read_proxy_header())
                    .unwrap();
                proxy.write_all(&header[..cut]).unwrap();
                until_taken(&socket);
                proxy
                    .write_all(&[&header[cut..], b"NOOP\r\n"].concat())
                    .unwrap();
                reading.join().unwrap()
            });
            assert_eq!(found.unwrap(), address(client), "{cut}");
            assert!(connection.unread().is_empty());
            assert_eq!(connection.read_line(100).unwrap(), LineRead::Line);
            assert_eq!(connection.line(), b"NOOP");
        }
    }
}

#[test]
fn anything_but_a_header_is_refused() {
    let endless = [&V2[..14], &[0xff, 0xff], &[0; PROXY_V2_OCTETS_MAX][..]].concat();
    let octets: [&[u8]; 5] = [
        b"EHLO client\r\n",
        b"\x16\x03\x01",
        b"PROXY\r\n",
        &[b'x'; 600],
        &endless,
    ];
    for octets in octets {
        let mut ends = Ends::new("127.0.0.1", timeouts());
        ends.client.write_all(octets).unwrap();
        let found = ends.connection.read_proxy_header();
        let is_refused = matches!(found, Err(Interruption::NoProxyHeader { is_late: false }));
        assert!(is_refused, "{found:?}");
    }
    let ends = Ends::new("127.0.0.1", timeouts());
    let Ends {
        mut connection,
        client,
        ..
    } = ends;
    drop(client);
    let found = connection.read_proxy_header();
    assert!(matches!(found, Err(Interruption::Lost(None))), "{found:?}");
}

/// SEC-8: octets that keep coming do not move the deadline.
#[test]
fn a_header_has_one_deadline() {
    let ends = Ends::new("127.0.0.1", timeouts());
    let (found, ()) = meanwhile(ends, Connection::read_proxy_header, |meeting, _| {
        meeting.trickle_beyond(limits::PROXY_HEADER_TIMEOUT, *b"PR");
    });
    let is_late = matches!(found, Err(Interruption::NoProxyHeader { is_late: true }));
    assert!(is_late, "{found:?}");
}

/// SEC-1, SEC-2: what counts is the address that the proxy names.
#[test]
fn a_client_of_a_proxy_on_this_machine_is_not_of_this_machine() {
    let mut ends = Ends::new("127.0.0.1", timeouts());
    assert!(ends.connection.link(false).is_private());
    let client = address("192.0.2.7");
    ends.connection.move_to(client, client).unwrap();
    assert_eq!(ends.connection.peer(), client);
    assert!(!ends.connection.link(false).is_private());
    ends.client.write_all(b"NOOP\n").unwrap();
    let read = ends.connection.read_line(100).unwrap();
    assert!(matches!(read, LineRead::Fault(_)), "{read:?}");
}
