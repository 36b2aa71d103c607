//! Clients that connect to the wrong port, or whose TLS fails: what the log says about each.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;

use rustls::ClientConnection;

use crate::support::program::Program;
use crate::support::tls::{Pki, configure};
use crate::support::{Client, DEADLINE, Service};

/// Sends octets and reads until the server closes.
fn visit(address: SocketAddr, octets: &[u8]) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(octets).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    // The answer does not matter here, nor does a reset.
    drop(stream.read_to_end(&mut Vec::new()));
}

/// The signature of version 2 of the PROXY protocol, and a header without addresses.
const PROXY_2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0";

/// A TLS `ClientHello` (RFC 5246 §7.4.1.2) for `version`, with these cipher suites and extensions.
fn client_hello(version: [u8; 2], suites: &[u8], extensions: &[u8]) -> Vec<u8> {
    let with_length = |octets: &[u8]| {
        let length = u16::try_from(octets.len()).unwrap().to_be_bytes();
        [&length, octets].concat()
    };
    let body = [
        version.as_slice(),
        &[7; 32],
        &[0],
        &with_length(suites),
        &[1, 0],
        &with_length(extensions),
    ]
    .concat();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[1], &length[1..], &body].concat();
    [&[0x16, 3, 1], with_length(&message).as_slice()].concat()
}

/// `signature_algorithms` with PSS and PKCS #1 of RSA, and `supported_groups` with X25519 and
/// P-256.
const RSA_ONLY: &[u8] = &[
    0, 13, 0, 6, 0, 4, 0x08, 0x04, 0x04, 0x01, 0, 10, 0, 6, 0, 4, 0, 29, 0, 23,
];

/// The same with ECDSA of P-256.
const ECDSA: &[u8] = &[
    0, 13, 0, 4, 0, 2, 0x04, 0x03, 0, 10, 0, 6, 0, 4, 0, 29, 0, 23,
];

fn program(directory: &std::path::Path) -> Program {
    let tls = configure(directory);
    Program::start_with(directory, &tls)
}

#[test]
fn other_protocols_at_a_plain_port_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path());
    let hello = client_hello([3, 3], &[0xc0, 0x2b], ECDSA);
    let proxy = b"PROXY TCP4 192.0.2.1 192.0.2.2 56324 25\r\nEHLO x\r\n";
    for (octets, cause) in [
        (
            hello.as_slice(),
            "the client started TLS on a plain-text port: set the client to STARTTLS",
        ),
        (
            b"\x80\x2e\x01\x03\x01\x00\x15",
            "the client started TLS on a plain-text port",
        ),
        (
            proxy,
            "a proxy sent a PROXY protocol header, but its address is not in proxy_from",
        ),
        (
            PROXY_2,
            "a proxy sent a PROXY protocol header, but its address is not in proxy_from",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            "the client speaks HTTP",
        ),
        (b"\x05\x01\x00", "the client did not begin with a command"),
    ] {
        for (address, last) in [(program.smtp, "421"), (program.pop3, "-ERR")] {
            visit(address, octets);
            let line = program.log_line(" ended ");
            let expected = format!(" ended client=127.0.0.1: closed with {last}: {cause}");
            assert!(line.contains(&expected), "{line}");
        }
    }
    let log = program.stop();
    let twice = log.iter().filter(|line| line.contains(" refused command="));
    assert_eq!(twice.collect::<Vec<_>>(), [""; 0]);
}

#[test]
fn other_protocols_at_a_tls_port_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path());
    for (octets, cause) in [
        (
            &b"EHLO client\r\n"[..],
            "the client sent plain text to a TLS port: set the client to TLS",
        ),
        (b"CAPA\r\n", "the client sent plain text to a TLS port"),
        (b"GET / HTTP/1.1\r\n\r\n", "the client speaks HTTP"),
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 5 25\r\n",
            "a proxy sent a PROXY protocol header",
        ),
        (PROXY_2, "a proxy sent a PROXY protocol header"),
        (b"\x05\x01\x00\x00\x00\x00", "does the client speak TLS?"),
    ] {
        for address in [program.smtps(), program.pop3s()] {
            visit(address, octets);
            let line = program.log_line(" ended ");
            assert!(line.contains(" ended client=127.0.0.1: TLS: "), "{line}");
            assert!(line.contains(cause), "{line} instead of {cause}");
        }
    }
}

/// A client without TLS waits for a greeting, and sends nothing.
#[test]
fn a_client_that_waits_for_a_greeting_at_a_tls_port_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let tls = configure(directory.path()) + "limits.smtp_idle_seconds = 1\n";
    let program = Program::start_with(directory.path(), &tls);
    let mut client = Client::connect(program.smtps());
    client.expect_end();
    program.expect_log(
        "the client did not start its handshake in time; a client that waits for a greeting here",
    );
}

#[test]
fn clients_whose_tls_has_nothing_in_common_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path());
    let suites = [0xc0, 0x2b, 0xc0, 0x2f];
    let old = "the client offers only TLS 1.1 or older, and this server requires 1.2 or newer";
    let no_cipher = "the client has no cipher suite in common with this server for an \
                     elliptic-curve key: update the client, or give [tls] a certificate with an \
                     RSA key";
    // Only versions 1.0 and 1.1, in the extension for versions.
    let versions = [ECDSA, &[0, 43, 0, 5, 4, 3, 2, 3, 1]].concat();
    for (octets, cause) in [
        (client_hello([3, 1], &suites, ECDSA), old),
        (client_hello([3, 2], &suites, &[]), old),
        (client_hello([3, 3], &suites, &versions), old),
        (client_hello([3, 3], &[0xc0, 0x2f], RSA_ONLY), no_cipher),
        (client_hello([3, 3], &[0xc0, 0x2b], RSA_ONLY), no_cipher),
        (client_hello([3, 3], &[0x00, 0x2f], ECDSA), no_cipher),
    ] {
        visit(program.smtps(), &octets);
        let line = program.log_line(" ended ");
        assert!(line.contains(cause), "{line} instead of {cause}");
    }
    visit(program.smtps(), &client_hello([3, 3], &[0xc0, 0x2b], ECDSA));
    let line = program.log_line(" ended ");
    assert!(
        line.contains("the client closed the connection during its handshake"),
        "{line}"
    );
    assert!(line.contains(CURE), "{line}");
    // It has not seen a certificate.
    visit(
        program.smtps(),
        &client_hello([3, 3], &[0xc0, 0x2b], ECDSA)[..3],
    );
    let line = program.log_line(" ended ");
    assert!(
        line.contains("closed the connection during its first TLS message"),
        "{line}"
    );
}

/// What a client that does not know the authority needs.
const CURE: &str = "give it that authority's own certificate (ca.pem of facteur cert)";

/// A fatal alert with this number.
fn alert(number: u8) -> Vec<u8> {
    vec![0x15, 3, 3, 0, 2, 2, number]
}

/// Begins TLS as a client that wants `name` and trusts the authority of `pki`; returns its error.
fn shake_hands(address: SocketAddr, pki: &Pki, name: &'static str) -> Result<(), std::io::Error> {
    let config = Arc::new(pki.client(rustls::ALL_VERSIONS));
    let mut tls = ClientConnection::new(config, name.try_into().unwrap()).unwrap();
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    while tls.is_handshaking() {
        if let Err(error) = tls.complete_io(&mut stream) {
            // The alert.
            while tls.wants_write() {
                tls.write_tls(&mut stream).unwrap();
            }
            return Err(error);
        }
    }
    Ok(())
}

#[test]
fn the_reason_why_a_client_rejects_the_certificate_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path());
    let (ours, others) = (Pki::shared(), Pki::new());
    let wrong_name = "the client asked for \"mail.example.com\" and rejected the certificate, \
                      which is not for that name";
    for (pki, name, cause) in [
        (ours, "mail.example.com", wrong_name),
        (
            ours,
            "127.0.0.9",
            "it named no host, so it may have connected to an address",
        ),
        (
            &others,
            "localhost",
            "the client does not trust the authority that signed the certificate",
        ),
    ] {
        shake_hands(program.smtps(), pki, name).unwrap_err();
        let line = program.log_line(" ended ");
        assert!(line.contains(cause), "{line} instead of {cause}");
    }
    // Go says nothing more about an unknown authority.
    let name = [&[0, 0, 0, 14, 0, 12, 0, 0, 9], b"localhost".as_slice()].concat();
    let hello = client_hello([3, 3], &[0xc0, 0x2b], &[ECDSA, &name].concat());
    visit(program.smtps(), &[hello, alert(42)].concat());
    let line = program.log_line(" ended ");
    assert!(
        line.contains("it may not trust the authority that signed it"),
        "{line}"
    );
    assert!(line.contains(CURE), "{line}");
    // Some clients use another alert (RFC 5246 §7.2.2): fatal, and its number.
    let hello = client_hello([3, 3], &[0xc0, 0x2b], ECDSA);
    for (number, cause) in [
        (42, "it named no host"),
        (45, "the client considers the certificate expired"),
        (46, "it named no host"),
        (48, "the client does not trust the authority"),
        (70, "the client accepts neither TLS 1.2 nor TLS 1.3"),
        (
            40,
            "the client rejected the cipher suite that was negotiated",
        ),
    ] {
        visit(program.smtps(), &[hello.clone(), alert(number)].concat());
        let line = program.log_line(" ended ");
        assert!(line.contains(cause), "{line} instead of {cause}");
        let is_doubtful = [42, 46, 48].contains(&number);
        assert_eq!(line.contains(CURE), is_doubtful, "{line}");
    }
    shake_hands(program.smtps(), ours, "localhost").unwrap();
    let mut client = program.smtp_client();
    client.say("QUIT");
    client.expect_prefix("221 ");
}
