//! The stages of a session as types: how its client comes in, what interrupts it, and how it ends.
//!
//! The counters, the mail log and the code that serves clients use these types; this file needs
//! none of them.

use std::fmt;
use std::io;

use crate::mail::{Closing, Door, Ending, Foreign, Service};

use super::shares::Full;

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

/// A session, and the door through which its client came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Visit {
    pub(super) id: SessionId,
    pub(super) door: Door,
    /// Whether a proxy of the configuration has connected, and names the client first.
    pub(super) is_proxied: bool,
}

/// Input that cannot be a line of a session, whatever its protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It has a line ending that is not the session's own.
    LineEnding,
    /// The first octet of the connection is not a letter.
    OtherProtocol,
}

/// Why a client gets no session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoPlace {
    /// A network has used up its share, or there is no place at all.
    TooMany(Full),
    /// There are no accounts, and the client's network is not open.
    NotOpen,
    /// The daemon is stopping.
    ShuttingDown,
}

/// What prevented a line or more content from arriving, or a reply from being sent.
#[derive(Debug)]
pub(super) enum Interruption {
    /// The client closed its side, or the connection broke with this error.
    Lost(Option<io::Error>),
    /// TLS failed, or could not begin.
    Tls(io::Error),
    /// The TLS handshake did not end in time.
    HandshakeTimeout {
        /// Whether any octets arrived.
        begun: bool,
    },
    /// A proxy did not name its client with the PROXY protocol.
    NoProxyHeader {
        /// Whether it took too long.
        is_late: bool,
    },
    /// The client does not read what it asked for.
    NotReading,
    /// The session must end, and can still send a reply.
    Ended(Ending),
    /// The store cannot return the rest of a message whose beginning has been sent.
    Unreadable,
    /// Octets followed the command that begins TLS, before its answer (SEC-2).
    OctetsBehindStartTls,
    /// There is no certificate to begin TLS with.
    NoCertificate,
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lost(Some(error)) => return write!(f, "connection lost: {error}"),
            Self::Lost(None) => "client closed the connection",
            Self::Tls(error) => return write!(f, "{error}"),
            Self::HandshakeTimeout { begun: true } => {
                "TLS: the client did not finish its handshake in time"
            }
            Self::HandshakeTimeout { begun: false } => {
                "TLS: the client did not start its handshake in time; a client that waits for a \
                 greeting here is set to no TLS, STARTTLS or STLS, which are for the other ports"
            }
            Self::NoProxyHeader { is_late: true } => {
                "no header of the PROXY protocol arrived in time from this address, which is in \
                 proxy_from: switch it on in the proxy (HAProxy: send-proxy-v2)"
            }
            Self::NoProxyHeader { is_late: false } => {
                "what arrived from this address, which is in proxy_from, is no header of the PROXY \
                 protocol: switch it on in the proxy (HAProxy: send-proxy-v2)"
            }
            Self::NotReading => "the client does not read",
            Self::Ended(ending) => return write!(f, "{ending}"),
            Self::Unreadable => "a message could not be read to its end",
            Self::OctetsBehindStartTls => {
                "the client sent more octets right after the command that begins TLS"
            }
            Self::NoCertificate => "there is no certificate",
        })
    }
}

/// How a session ended.
#[derive(Debug)]
pub(super) enum SessionEnd {
    /// The client sent QUIT.
    Quit,
    /// The session closed the connection.
    Closed {
        /// The code or status indicator of the last reply; empty if there was none.
        last: &'static str,
        /// What made it close, if that was not a line from the client.
        why: Option<Interruption>,
    },
    /// The session closed the connection because the client speaks another protocol.
    Foreign {
        /// As above.
        last: &'static str,
        /// What it speaks.
        what: Foreign,
    },
    /// The session could not continue.
    Broken(Interruption),
    /// A bug in the program: the thread panicked.
    Panicked,
}

impl SessionEnd {
    /// The session closed the connection: how, its last reply, and what made it do so, if that was
    /// not a line from the client.
    pub(super) fn closed(closing: Closing, last: &'static str, why: Option<Interruption>) -> Self {
        match closing {
            Closing::Quit => Self::Quit,
            Closing::Foreign(what) => Self::Foreign { last, what },
            Closing::Refused => Self::Closed { last, why },
        }
    }
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
            Self::Foreign { last, what } => write!(f, "closed with {last}: {}", advice(*what)),
            Self::Broken(why) => write!(f, "{why}"),
            Self::Panicked => f.write_str("internal error"),
        }
    }
}

/// What is wrong with a client that speaks another protocol on a plain-text port.
fn advice(what: Foreign) -> &'static str {
    match what {
        Foreign::Tls => {
            "the client started TLS on a plain-text port: set the client to STARTTLS (for POP3: \
             STLS), or to a port of smtps or pop3s"
        }
        Foreign::Http => {
            "the client speaks HTTP: it is a browser, or a program with the wrong port"
        }
        Foreign::Proxy => {
            "a proxy sent a PROXY protocol header, but its address is not in proxy_from: name it \
             there, or switch the header off in the proxy (HAProxy: no send-proxy or \
             check-send-proxy; nginx: proxy_protocol off); without it all clients of a proxy on \
             this machine count as clients of this machine: see \"Behind a proxy\" in the guide"
        }
        Foreign::Text | Foreign::Other => {
            "the client did not begin with a command: it has the wrong port, or speaks another \
             protocol"
        }
    }
}
