//! What a session tells its driver: a response, and what to do next.
//!
//! Values only. Which outcomes may follow an action is said at each action; those that end the
//! session may follow any of them.

use crate::mail::sasl::scram;
use crate::mail::{Closing, Credentials};

use super::listing::MessageNumber;
use super::response::Response;

/// What a session needs to know of the daemon's configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this host, shown when the session ends.
    pub hostname: String,
    /// Most commands of one session with wrong syntax or at the wrong time; `None` is no limit.
    pub errors_max: Option<u32>,
    /// Whether SCRAM is offered: there are keys to verify proofs with.
    pub scram: bool,
    /// Whether UTF8 is announced, and its rules hold (RFC 6856). Without it the server is one of
    /// RFC 1939, which sends every message as it is.
    pub utf8: bool,
}

/// A response, if there is one, and what to do after it.
#[derive(Debug)]
pub struct Step {
    /// To be sent before the action is performed. While more input is waiting it may stay in a
    /// buffer (RFC 2449 §6.6).
    pub response: Option<Response>,
    /// To be performed; its result is the next outcome.
    pub action: Action,
}

/// What the driver is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Close the message that is open, if there is one, and read one line: `Line` and the other
    /// outcomes of reading.
    ReadLine {
        /// Its longest length, its ending included.
        octets_max: usize,
    },
    /// Verify a password and find the mailbox: `PasswordAccepted`, `PasswordRefused`,
    /// `MailboxAmbiguous`, `CheckFailed`.
    CheckPassword {
        /// How the client sent it.
        mechanism: &'static str,
        /// The password and whose it is.
        credentials: Credentials,
    },
    /// Find what SCRAM needs to know of a user, or make it up where there is no such user:
    /// `ScramBegun`, `CheckFailed`.
    BeginScram {
        /// The name, as the client sent it.
        user: String,
    },
    /// Verify a proof and find the mailbox: `ProofAccepted`, `PasswordRefused`,
    /// `MailboxAmbiguous`, `CheckFailed`.
    CheckProof {
        /// How the client sent it.
        mechanism: &'static str,
        /// The proof and whose it is.
        attempt: scram::Attempt,
    },
    /// Lock and list the maildrop of the mailbox that was just found: `MaildropOpened`,
    /// `MaildropInUse`, `MaildropFailed`.
    OpenMaildrop,
    /// Open a message, so that nothing but the connection can fail once `+OK` is said:
    /// `MessageOpened`, `MessageGone`, `MessageFailed`.
    OpenMessage(MessageNumber),
    /// Send the open message, dot-stuffed, and the final dot: `ContentSent`. When reading fails
    /// half-way there is nothing left to say: end the connection.
    SendContent(Extent),
    /// Remove these messages, in ascending order, and no others: `Removed` when the removal is
    /// durable, else `RemoveFailed`.
    RemoveMarked(Vec<MessageNumber>),
    /// Begin TLS: `TlsStarted`. Octets that came with the STLS line close the connection (SEC-2),
    /// as does TLS that cannot begin.
    StartTls,
    /// Release the maildrop, send what is waiting and close; no outcome is expected.
    Close(Closing),
}

/// How much of a message is to be sent.
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
