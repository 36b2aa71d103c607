//! What a session asks of its driver: to send a response, and to perform an action.
//!
//! Values only. Each action lists the outcomes that can follow it; the outcomes that end the
//! session can follow any action.

use crate::mail::sasl::scram;
use crate::mail::{Closing, Credentials};

use super::listing::MessageNumber;
use super::response::Response;

/// The parts of the configuration that a session needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this host, shown when the session ends.
    pub hostname: String,
    /// Most commands of one session with wrong syntax or at the wrong time; `None` means no limit.
    pub errors_max: Option<u32>,
    /// Whether SCRAM is offered: there are keys to verify proofs with.
    pub scram: bool,
    /// Whether UTF8 is announced, and its rules apply (RFC 6856). Otherwise the server is one of
    /// RFC 1939, which sends every message as it is.
    pub utf8: bool,
    /// The port of HTTP, if there is one, for clients on this machine that look for it here.
    pub http_port: Option<u16>,
}

/// A response, if there is one, and the action after it.
#[derive(Debug)]
pub struct Step {
    /// Sent before the action is performed. While more input is waiting it can stay in a buffer
    /// (RFC 2449 §6.6).
    pub response: Option<Response>,
    /// Performed next; its result is the next outcome.
    pub action: Action,
}

/// What the driver is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Close the message that is open, if any, and read one line: `Line` and the other outcomes of
    /// reading.
    ReadLine {
        /// Its maximum length, including its ending.
        octets_max: usize,
    },
    /// Verify a password and find the mailbox: `PasswordAccepted`, `PasswordRefused`,
    /// `MailboxAmbiguous`, `CheckFailed`.
    CheckPassword {
        /// The mechanism that the client used.
        mechanism: &'static str,
        /// The password and its user.
        credentials: Credentials,
    },
    /// Find what SCRAM needs to know of a user, or invent it if there is no such user:
    /// `ScramBegun`, `CheckFailed`.
    BeginScram {
        /// The name, as the client sent it.
        user: String,
    },
    /// Verify a proof and find the mailbox: `ProofAccepted`, `PasswordRefused`,
    /// `MailboxAmbiguous`, `CheckFailed`.
    CheckProof {
        /// The mechanism that the client used.
        mechanism: &'static str,
        /// The proof and its user.
        attempt: scram::Attempt,
    },
    /// Lock and list the maildrop of the mailbox that was just found: `MaildropOpened`,
    /// `MaildropInUse`, `MaildropFailed`.
    OpenMaildrop,
    /// Open a message, so that only the connection can fail after `+OK`: `MessageOpened`,
    /// `MessageGone`, `MessageFailed`.
    OpenMessage(MessageNumber),
    /// Send the open message, dot-stuffed, and the final dot: `ContentSent`. If reading fails
    /// half-way, no response is possible any more: end the connection.
    SendContent(Extent),
    /// Remove these messages, in ascending order, and no others: `Removed` if the removal is
    /// durable, otherwise `RemoveFailed`.
    RemoveMarked(Vec<MessageNumber>),
    /// Begin TLS: `TlsStarted`. The connection is closed if octets came with the STLS line (SEC-2),
    /// or if TLS cannot begin.
    StartTls,
    /// Release the maildrop, send what is waiting and close; no outcome is expected.
    Close(Closing),
}

/// How much of a message is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// All of it: RETR.
    Whole,
    /// The header section, the empty line, and the first lines of the body: TOP.
    Top {
        /// How many lines of the body, at most.
        lines: u64,
    },
}
