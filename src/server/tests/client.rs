//! A client that sends lines and waits for answers, with a deadline that only a hang reaches.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest wait: far beyond what any step takes.
const DEADLINE: Duration = Duration::from_mins(5);

/// A client of either protocol. Its reader is accessible to tests that read more than lines.
pub(crate) struct Client(pub(crate) BufReader<TcpStream>);

impl Client {
    /// Connects to `address`, where the first line must begin with `greeting`.
    pub(crate) fn connect(address: SocketAddr, greeting: &str) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        let mut client = Self(BufReader::new(stream));
        client.expect(greeting);
        client
    }

    /// Sends all of `octets`.
    pub(crate) fn send(&mut self, octets: &[u8]) {
        self.0.get_mut().write_all(octets).unwrap();
    }

    /// The next line, with its ending.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line
    }

    /// Expects the next line to begin with `prefix`.
    pub(crate) fn expect(&mut self, prefix: &str) {
        let line = self.line();
        assert!(line.starts_with(prefix), "{line:?}, not {prefix:?}");
    }

    /// Sends `command`, whose answer must begin with `reply`.
    pub(crate) fn ask(&mut self, command: &str, reply: &str) {
        self.send(format!("{command}\r\n").as_bytes());
        self.expect(reply);
    }

    /// Begins a transaction for Bob.
    pub(crate) fn name_recipient(&mut self) {
        self.ask("MAIL FROM:<>", "250 ");
        self.ask("RCPT TO:<bob@example.com>", "250 ");
    }

    /// Expects the end of the connection, and nothing before it.
    pub(crate) fn expect_end(mut self) {
        let mut rest = String::new();
        self.0.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "");
    }
}
