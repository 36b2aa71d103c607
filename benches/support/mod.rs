//! Shared by the benchmarks over sockets.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};

/// Lines of ordinary length, ready to send, with the final dot.
pub(crate) fn content(octets: usize) -> Vec<u8> {
    let mut content = b"Subject: bench\r\n\r\n".to_vec();
    while content.len() < octets {
        content.extend_from_slice(
            b"The quick brown fox jumps over the lazy dog, again and again.\r\n",
        );
    }
    content.extend_from_slice(b".\r\n");
    content
}

/// The commands of a transaction with one recipient.
pub(crate) fn transaction(recipient: &str) -> Vec<u8> {
    format!("MAIL FROM:<a@example.com>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n").into_bytes()
}

/// The buffer of a client that reads much, in octets.
pub(crate) const BUFFER_OCTETS: usize = 64 << 10;

/// A client that stops at the first fault.
pub(crate) struct Client {
    pub(crate) stream: BufReader<TcpStream>,
}

impl Client {
    /// A client whose greeting is not yet read, with a buffer of `octets`.
    pub(crate) fn connect(address: SocketAddr, octets: usize) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream: BufReader::with_capacity(octets, stream),
        }
    }

    /// An SMTP client that has sent EHLO.
    pub(crate) fn connect_smtp(address: SocketAddr) -> Self {
        let mut client = Self::connect(address, BUFFER_OCTETS);
        client.line();
        client.send(b"EHLO bench\r\n");
        while client.line().starts_with("250-") {}
        client
    }

    /// Sends all of `octets`.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.stream.get_mut().write_all(octets).unwrap();
    }

    /// The next line, with its ending.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stream.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the server closed the connection");
        line
    }

    /// Sends one message by SMTP, with `commands` up to DATA in one packet.
    pub(crate) fn deliver(&mut self, commands: &[u8], content: &[u8]) {
        self.send(commands);
        for expected in ["250", "250", "354"] {
            assert!(self.line().starts_with(expected));
        }
        self.send(content);
        assert!(self.line().starts_with("250"));
    }
}
