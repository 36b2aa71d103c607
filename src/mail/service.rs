//! What is served at a socket: one of the protocols, begun in one of several ways.

use std::fmt;

/// The protocol of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Mail comes in.
    Smtp,
    /// Mail goes out.
    Pop3,
    /// Mail is looked at.
    Http,
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Smtp => "smtp",
            Self::Pop3 => "pop3",
            Self::Http => "http",
        })
    }
}

/// How a connection begins, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// In clear; TLS may begin later.
    Plain,
    /// With TLS from the first octet on (RFC 8314).
    Tls,
    /// In clear, for clients that log in and submit mail (RFC 6409); TLS may begin later.
    Submission,
    /// In clear, for mail servers that hand in mail over LMTP (RFC 2033); TLS may begin later.
    Lmtp,
    /// In clear, over a socket that only the owner of the store can open.
    Control,
}
