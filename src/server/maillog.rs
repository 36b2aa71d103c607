//! The mail log: one function for each event, so that every line of a kind looks alike.
//!
//! Each line begins with the protocol and the number of the session (`smtp-17`); what follows is
//! `key=value`. Text from the network is escaped and cut (SEC-7); a secret never comes here.

use std::fmt::{self, Write};
use std::net::IpAddr;

use crate::mail::{Envelope, MailboxName};

use super::connection::Interruption;
use super::intake::Delivered;

/// Longest text of a client in the log, in octets (SEC-7).
const TEXT_OCTETS_MAX: usize = 256;

/// Why a login was refused: there is no more to say (SEC-11).
pub(super) const WRONG_PASSWORD: &str = "wrong user name or password";

/// Why a login was refused that could not be verified.
pub(super) const BUSY: &str = "too many passwords are verified at once, or there is no memory";

/// Which protocol a session speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Mail comes in.
    Smtp,
    /// Mail goes out.
    Pop3,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smtp => "smtp",
            Self::Pop3 => "pop3",
        })
    }
}

/// How a session ended.
#[derive(Debug)]
pub(super) enum SessionEnd {
    /// The client said QUIT.
    Quit,
    /// The session closed it.
    Closed {
        /// The code or status indicator of what was said last; empty when nothing was.
        last: &'static str,
        /// What made it close, where that was no line of the client.
        why: Option<Interruption>,
    },
    /// It could not go on.
    Broken(Interruption),
    /// A fault of the program: the thread panicked.
    Panicked,
}

impl fmt::Display for SessionEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Quit => f.write_str("quit"),
            Self::Closed {
                last: "",
                why: None,
            } => f.write_str("closed"),
            Self::Closed { last, why: None } => write!(f, "closed with {last}"),
            Self::Closed {
                last: "",
                why: Some(why),
            } => write!(f, "closed: {why}"),
            Self::Closed {
                last,
                why: Some(why),
            } => write!(f, "closed with {last}: {why}"),
            Self::Broken(why) => write!(f, "{why}"),
            Self::Panicked => f.write_str("internal error"),
        }
    }
}

/// The name of a session in the log.
#[derive(Clone, Copy, Debug)]
pub(super) struct SessionId {
    pub(super) service: Service,
    pub(super) number: u64,
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.service, self.number)
    }
}

/// Text of a client, safe to print: control characters, quotes, backslashes and what is not ASCII
/// are escaped, and what is longer than the limit is cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = TEXT_OCTETS_MAX;
        f.write_char('"')?;
        for character in self.0.chars() {
            let escaped = character.escape_default();
            let Some(left) = room.checked_sub(escaped.len()) else {
                return f.write_str("\"…");
            };
            room = left;
            write!(f, "{escaped}")?;
        }
        f.write_char('"')
    }
}

/// A session begins.
pub(super) fn session_began(id: SessionId, peer: IpAddr) {
    log::debug!("{id} begins client={peer}");
}

/// A session has ended.
pub(super) fn session_ended(id: SessionId, peer: IpAddr, end: &SessionEnd) {
    match end {
        SessionEnd::Panicked => log::error!("{id} ended client={peer}: {end}"),
        SessionEnd::Quit | SessionEnd::Closed { .. } | SessionEnd::Broken(_) => {
            log::info!("{id} ended client={peer}: {end}");
        }
    }
}

/// A message is durable in every recipient's mailbox.
pub(super) fn accepted(id: SessionId, peer: IpAddr, message: &Delivered) {
    log::info!(
        "{id} accepted id={} from={} {} octets={} client={peer}",
        message.name,
        Escaped(&message.envelope.reverse_path.to_string()),
        Recipients(&message.envelope),
        message.octets,
    );
}

/// The recipients: the first, and how many more.
struct Recipients<'a>(&'a Envelope);

impl fmt::Display for Recipients<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(first) = &self.0.first_forward_path {
            write!(f, "to={}", Escaped(&first.to_string()))?;
        }
        match self.0.recipients.len().saturating_sub(1) {
            0 => Ok(()),
            others => write!(f, " and {others} more"),
        }
    }
}

/// The store could not do what was asked; the client got a transient failure.
pub(super) fn store_failed(id: SessionId, error: &crate::store::Error) {
    log::error!("{id} store: {}", WithSources(error));
}

/// A maildrop is open.
pub(super) fn logged_in(id: SessionId, peer: IpAddr, mailbox: &MailboxName, messages: usize) {
    let mailbox = mailbox.to_string();
    log::info!(
        "{id} login mailbox={} messages={messages} client={peer}",
        Escaped(&mailbox)
    );
}

/// Messages were removed at the end of a session.
pub(super) fn removed(id: SessionId, peer: IpAddr, messages: usize) {
    log::info!("{id} removed messages={messages} client={peer}");
}

/// A login was refused.
pub(super) fn login_refused(id: SessionId, peer: IpAddr, user: &str, why: &str) {
    log::warn!(
        "{id} login refused user={} client={peer}: {why}",
        Escaped(user)
    );
}

/// A client was turned away before it had a session.
pub(super) fn turned_away(service: Service, peer: IpAddr, why: &str) {
    log::warn!("{service} client={peer} turned away: {why}");
}

/// A listener could not take a client, and pauses.
pub(super) fn accept_failed(service: Service, error: &std::io::Error) {
    log::error!("{service} cannot accept a connection, pausing: {error}");
}

/// A client could get no thread.
pub(super) fn no_thread(id: SessionId, error: &std::io::Error) {
    log::error!("{id} no thread for the session: {error}");
}

/// An error and all its sources, on one line.
#[derive(Debug)]
pub struct WithSources<'a>(pub &'a (dyn std::error::Error + 'static));

impl fmt::Display for WithSources<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-7.
    #[test]
    fn text_of_a_client_is_escaped_and_cut() {
        for (text, expected) in [
            ("bob", "\"bob\"".to_owned()),
            (
                "a\r\nsmtp-1 accepted",
                "\"a\\r\\nsmtp-1 accepted\"".to_owned(),
            ),
            ("\u{1b}[2J\"\\é", "\"\\u{1b}[2J\\\"\\\\\\u{e9}\"".to_owned()),
            (&"x".repeat(300), format!("\"{}\"…", "x".repeat(256))),
        ] {
            assert_eq!(Escaped(text).to_string(), expected);
        }
    }
}
