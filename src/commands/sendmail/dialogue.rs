//! The client's side of SMTP (RFC 5321 §3), as far as a message for a daemon on this machine needs
//! it: one command at a time, no TLS, no login.
//!
//! # Failures
//! [`Failure`]. The connection cannot be used any more, and closing it before the end of the
//! content discards the message: the daemon accepts nothing that is not complete. After that end
//! only its reply tells whether it has the message.

use std::{
    fmt,
    io::{self, Read as _, Write},
    net::TcpStream,
    time::Duration,
};

use crate::clock::Clock;

use super::{address_list::quoted, limits};

/// Why a dialogue failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection broke, or no reply came in time.
    Lost(io::Error),
    /// The same after the whole message was sent: the daemon may have accepted it.
    Unconfirmed(io::Error),
    /// The server does not speak SMTP.
    Strange(String),
    /// The daemon refused a command or the message.
    Refused {
        /// The command, or what it is for.
        command: &'static str,
        /// The reply.
        reply: Reply,
    },
}

impl Failure {
    /// Whether another attempt might succeed.
    pub(super) fn is_transient(&self) -> bool {
        match self {
            Self::Lost(_) | Self::Unconfirmed(_) | Self::Strange(_) => true,
            Self::Refused { reply, .. } => reply.is_transient(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost(_) => f.write_str(
                "the message was not sent, because the connection to the daemon was lost: try \
                 again, and see its log",
            ),
            Self::Unconfirmed(_) => f.write_str(
                "the daemon may have accepted the message, but the connection was lost before its \
                 reply: see its log, and then try again",
            ),
            Self::Strange(line) => write!(
                f,
                "this is not a mail server: it sends \"{}\"; check the address, or name the \
                 configuration of the daemon with -C FILE",
                quoted(line)
            ),
            Self::Refused { command, reply } => {
                let what_to_do = if reply.is_transient() {
                    "try again later"
                } else {
                    "see the log of the daemon"
                };
                write!(f, "the daemon refuses {command} with {reply}: {what_to_do}")
            }
        }
    }
}

impl std::error::Error for Failure {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Lost(source) | Self::Unconfirmed(source) => Some(source),
            Self::Strange(_) | Self::Refused { .. } => None,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Lost(error)
    }
}

/// A reply (RFC 5321 §4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    code: u16,
    /// The text of each line.
    lines: Vec<String>,
}

impl Reply {
    /// Parses a reply at the start of `octets`; `None` if it is not complete.
    fn parse(octets: &[u8]) -> Option<Result<Self, Failure>> {
        let mut lines = Vec::new();
        for line in octets.split_inclusive(|&octet| octet == b'\n') {
            let line = line.strip_suffix(b"\n")?;
            let line = String::from_utf8_lossy(line);
            let line = line.trim_end_matches('\r');
            let strange = || Some(Err(Failure::Strange(line.to_owned())));
            let Some((digits, rest)) = line.split_at_checked(3) else {
                return strange();
            };
            let code = digits.parse().ok().filter(|code| (200..600).contains(code));
            let Some(code) = code.filter(|_| digits.bytes().all(|it| it.is_ascii_digit())) else {
                return strange();
            };
            let text = rest.get(1..).unwrap_or_default().to_owned();
            lines.push(text);
            match rest.chars().next() {
                Some('-') => {}
                Some(' ') | None => return Some(Ok(Self { code, lines })),
                Some(_) => return strange(),
            }
        }
        None
    }

    pub(super) fn is_transient(&self) -> bool {
        (400..500).contains(&self.code)
    }

    /// Whether no more recipients fit into the transaction, as far as the code says.
    pub(super) fn is_full(&self) -> bool {
        self.code == 452
    }

    /// Whether a command succeeded, or the message is accepted (RFC 5321 §4.2.1).
    fn is_success(&self) -> bool {
        self.code < 300
    }
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{} {}\"", self.code, quoted(&self.lines.join(" ")))
    }
}

/// What the daemon offers after EHLO.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offered {
    /// SIZE (RFC 1870): whether it is offered, and the limit; 0 is none.
    pub(super) size: Option<u64>,
    /// 8BITMIME (RFC 6152).
    pub(super) eight_bit_mime: bool,
    /// SMTPUTF8 (RFC 6531).
    pub(super) smtp_utf8: bool,
}

impl Offered {
    fn of(reply: &Reply) -> Self {
        let mut offered = Self::default();
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split(' ');
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "SIZE" => {
                    let limit = words.next().and_then(|limit| limit.parse().ok());
                    offered.size = Some(limit.unwrap_or(0));
                }
                "8BITMIME" => offered.eight_bit_mime = true,
                "SMTPUTF8" => offered.smtp_utf8 = true,
                _ => {}
            }
        }
        offered
    }
}

/// A connection to the daemon.
pub(super) struct Dialogue<'a> {
    stream: TcpStream,
    clock: &'a Clock,
    /// Received octets that are not part of a complete reply yet.
    received: Vec<u8>,
    /// Where the dialogue is shown, with `-v`.
    screen: Option<&'a mut dyn Write>,
}

impl fmt::Debug for Dialogue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialogue")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}

impl<'a> Dialogue<'a> {
    /// Begins on a new connection.
    pub(super) fn on(
        stream: TcpStream,
        clock: &'a Clock,
        screen: Option<&'a mut dyn Write>,
    ) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(limits::REPLY_TIMEOUT))?;
        Ok(Self {
            stream,
            clock,
            received: Vec::new(),
            screen,
        })
    }

    /// Waits for the greeting, and introduces this host.
    pub(super) fn greet(&mut self, host: &str) -> Result<Offered, Failure> {
        let greeting = self.reply(limits::REPLY_TIMEOUT)?;
        if !greeting.is_success() {
            return Err(Failure::Refused {
                command: "the connection",
                reply: greeting,
            });
        }
        let reply = self.must("EHLO", &format!(" {host}"))?;
        Ok(Offered::of(&reply))
    }

    /// Asks for the start of the content.
    pub(super) fn data(&mut self) -> Result<(), Failure> {
        let (command, reply) = ("DATA", self.command("DATA")?);
        if reply.code == 354 {
            Ok(())
        } else {
            Err(Failure::Refused { command, reply })
        }
    }

    /// Sends a command that must succeed.
    pub(super) fn must(
        &mut self,
        command: &'static str,
        parameters: &str,
    ) -> Result<Reply, Failure> {
        let reply = self.command(&format!("{command}{parameters}"))?;
        if reply.is_success() {
            Ok(reply)
        } else {
            Err(Failure::Refused { command, reply })
        }
    }

    /// Names a recipient: returns the reply if it is refused.
    pub(super) fn recipient(&mut self, path: &str) -> Result<Option<Reply>, Failure> {
        let reply = self.command(&format!("RCPT TO:<{path}>"))?;
        // The daemon is about to close the connection.
        if reply.code == 421 {
            let command = "RCPT";
            return Err(Failure::Refused { command, reply });
        }
        Ok(Some(reply).filter(|reply| !reply.is_success()))
    }

    /// Sends a part of the content, with its dots.
    pub(super) fn content(&mut self, octets: &[u8]) -> Result<(), Failure> {
        self.stream
            .write_all(octets)
            .map_err(|error| self.final_word(error))
    }

    /// Waits for the reply to the whole content.
    pub(super) fn end_content(&mut self) -> Result<(), Failure> {
        let reply = match self.reply(limits::MESSAGE_TIMEOUT) {
            Err(Failure::Lost(error)) => return Err(Failure::Unconfirmed(error)),
            reply => reply?,
        };
        if reply.is_success() {
            return Ok(());
        }
        let command = "the message";
        Err(Failure::Refused { command, reply })
    }

    /// Ends the session; the reply does not matter any more, and is only shown if it comes soon.
    pub(super) fn quit(&mut self) {
        self.show(">>> ", "QUIT");
        let begin = self.stream.set_write_timeout(Some(limits::QUIT_TIMEOUT));
        let sent = begin.and_then(|()| self.stream.write_all(b"QUIT\r\n"));
        if sent.is_ok() {
            drop(self.reply(limits::QUIT_TIMEOUT));
        }
    }

    /// Why the daemon stopped reading: its last reply may say so.
    fn final_word(&mut self, error: io::Error) -> Failure {
        match Reply::parse(&self.received)
            .or_else(|| self.reply(limits::CONNECT_TIMEOUT).ok().map(Ok))
        {
            Some(Ok(reply)) if !reply.is_success() => {
                let command = "the message";
                Failure::Refused { command, reply }
            }
            _ => Failure::Lost(timed_out(error)),
        }
    }

    fn command(&mut self, line: &str) -> Result<Reply, Failure> {
        self.show(">>> ", line);
        self.stream
            .write_all(format!("{line}\r\n").as_bytes())
            .map_err(|error| self.final_word(error))?;
        self.reply(limits::REPLY_TIMEOUT)
    }

    fn reply(&mut self, timeout: Duration) -> Result<Reply, Failure> {
        let began = self.clock.now();
        let mut buffer = [0; 1024];
        loop {
            if let Some(reply) = Reply::parse(&self.received) {
                // One command at a time: what follows a reply belongs to no command.
                self.received.clear();
                let reply = reply?;
                for line in &reply.lines {
                    self.show("", &format!("{} {line}", reply.code));
                }
                return Ok(reply);
            }
            if self.received.len() > limits::REPLY_OCTETS_MAX {
                let all = String::from_utf8_lossy(&self.received);
                return Err(Failure::Strange(all.into_owned()));
            }
            let waited = self.clock.now().saturating_duration_since(began);
            let left = timeout.saturating_sub(waited);
            if left.is_zero() {
                return Err(Failure::Lost(io::ErrorKind::TimedOut.into()));
            }
            self.stream.set_read_timeout(Some(left))?;
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(Failure::Lost(io::ErrorKind::UnexpectedEof.into())),
                Ok(n_read) => self.received.extend(buffer.iter().take(n_read)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::Lost(timed_out(error))),
            }
        }
    }

    /// Shows a line with `-v`. A closed standard output does not keep the message from being sent.
    fn show(&mut self, mark: &str, line: &str) {
        if let Some(screen) = &mut self.screen {
            drop(writeln!(screen, "{mark}{}", line.escape_debug()));
        }
    }
}

/// The error of a wait that has ended, by its name.
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        io::ErrorKind::TimedOut.into()
    } else {
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(octets: &str) -> Option<(u16, Vec<String>)> {
        let reply = Reply::parse(octets.as_bytes())?.unwrap();
        Some((reply.code, reply.lines))
    }

    #[test]
    fn a_reply_has_one_line_or_several() {
        let one = |code, line: &str| Some((code, vec![line.to_owned()]));
        assert_eq!(parsed("250 Ok\r\n"), one(250, "Ok"));
        assert_eq!(parsed("250\r\n"), one(250, ""));
        assert_eq!(parsed("550 5.1.1 Né\n"), one(550, "5.1.1 Né"));
        let lines = vec!["a".to_owned(), "SIZE 10".to_owned()];
        assert_eq!(parsed("250-a\r\n250 SIZE 10\r\n"), Some((250, lines)));
        for incomplete in ["", "250", "250 Ok\r", "250-a\r\n", "250-a\r\n250 b"] {
            assert_eq!(parsed(incomplete), None, "{incomplete:?}");
        }
        for strange in [
            "\n", "+OK\r\n", "99 a\r\n", "+25 a\n", "2500\n", "é\n", "700 a\n",
        ] {
            let reply = Reply::parse(strange.as_bytes()).unwrap();
            assert!(matches!(reply, Err(Failure::Strange(_))), "{strange:?}");
        }
    }

    #[test]
    fn the_offers_are_in_the_reply_to_ehlo() {
        let reply = |text: &str| Reply::parse(text.as_bytes()).unwrap().unwrap();
        let all = reply("250-SIZE\n250-size 100\n250-8BITMIME\n250-X\n250 SMTPUTF8\n");
        let expect = Offered {
            size: Some(100),
            eight_bit_mime: true,
            smtp_utf8: true,
        };
        assert_eq!(Offered::of(&all), expect);
        assert_eq!(Offered::of(&reply("250-h\n250 SIZE\n")).size, Some(0));
        assert_eq!(Offered::of(&reply("250 8BITMIME\n")), Offered::default());
    }

    proptest::proptest! {
        #[test]
        fn no_octets_make_it_panic(octets in "[2-5][0-9]{2}[- ]?[a-z\r\n]{0,9}|[\u{0}-é]{0,9}\n") {
            drop(Reply::parse(octets.as_bytes()));
        }
    }
}
