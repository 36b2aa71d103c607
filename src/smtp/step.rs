//! What a session asks of its driver: to send a reply, and to perform an action.
//!
//! Values only. Each action lists the outcomes that can follow it.

use crate::mail::sasl::scram;
use crate::mail::{Address, Closing, Credentials, Domain, Dots, Envelope, ForwardPath};

use super::reply::Reply;

/// The parts of the configuration that a session needs.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this host, in the greeting and replies, and the domain of paths without one.
    pub hostname: Domain,
    /// Largest message in octets with CRLF line endings; `None` means no limit.
    pub message_octets_max: Option<u64>,
    /// Most recipients of one transaction; `None` means no limit.
    pub recipients_max: Option<u32>,
    /// Most syntax and sequence errors of one session; `None` means no limit.
    pub errors_max: Option<u32>,
    /// Whether SCRAM is offered: there are keys to verify proofs with.
    pub scram: bool,
    /// Whose mail is accepted.
    pub senders: Senders,
    /// What is spoken.
    pub dialect: Dialect,
    /// Where clients on this machine may put dots in a local part that is not quoted; the grammar
    /// of RFC 5321 applies to other clients.
    pub local_dots: Dots,
    /// The port of HTTP, if there is one, for clients on this machine that look for it here.
    pub http_port: Option<u16>,
}

/// Whose mail is accepted: what a listener requires of a client before MAIL. In any case, a user
/// who has logged in can send only from the user's own addresses, or from the null path
/// (RFC 6409 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Senders {
    /// Anybody's, as required of a server that receives mail for its domains (RFC 5321).
    Anybody,
    /// Only that of users who have authenticated (RFC 6409 §4.3).
    Authenticated,
}

/// Which of two protocols a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// SMTP, for everybody.
    Smtp,
    /// LMTP (RFC 2033), for a mail server that has a queue: it begins with LHLO, and a message gets
    /// a reply for each of its recipients.
    Lmtp,
}

/// A reply, if there is one, and the action after it.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// Sent before the action is performed.
    pub reply: Option<Reply>,
    /// Performed next; its result is the next outcome.
    pub action: Action,
}

/// What the driver is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Read one line: `Line` and the other outcomes of reading.
    ReadLine {
        /// Its maximum length, including its ending.
        octets_max: usize,
    },
    /// Find the mailbox of a recipient: `Recipient`.
    LookUpRecipient(ForwardPath),
    /// Verify a password: `PasswordAccepted`, `PasswordRefused` or `CheckFailed`.
    CheckPassword {
        /// The mechanism that the client used.
        mechanism: &'static str,
        /// The password and its user.
        credentials: Credentials,
    },
    /// Find what SCRAM needs to know of a user, or invent it if there is no such user: `ScramBegun`
    /// or `CheckFailed`.
    BeginScram {
        /// The name, as the client sent it.
        user: String,
    },
    /// Verify a proof: `ProofAccepted`, `PasswordRefused` or `CheckFailed`.
    CheckProof {
        /// The mechanism that the client used.
        mechanism: &'static str,
        /// The proof and its user.
        attempt: scram::Attempt,
    },
    /// Find out whether a user may send with this reverse-path: `SenderPermitted`,
    /// `SenderNotPermitted` or `CheckFailed`.
    CheckSender(Address),
    /// Open a delivery: `DeliveryBegun` or `DeliveryFailed`.
    BeginDelivery(Box<Submission>),
    /// Write content to the open delivery, and commit it at the end of the message: `Content`.
    ReceiveContent(Framing),
    /// Drop the open delivery and forget the recipients: `TransactionAbandoned`.
    AbandonTransaction,
    /// Nothing, because another reply follows: `Continued`.
    Continue,
    /// The same, and read that many octets and discard them: `ChunkDiscarded`.
    DiscardChunk {
        /// The size of the chunk.
        octets: u64,
    },
    /// Drop the open delivery and forget the recipients, send what is waiting, then do the
    /// handshake: `TlsStarted`; or close the connection.
    StartTls,
    /// Drop the open delivery, send what is waiting and close; no outcome is expected.
    Close(Closing),
}

/// Everything that a delivery needs to know about the transaction.
#[derive(Debug, PartialEq, Eq)]
pub struct Submission {
    /// Sender and recipients.
    pub envelope: Envelope,
    /// The client's name from HELO or EHLO.
    pub client_name: String,
}

/// How the end of the content is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// DATA: until the line with a single dot.
    Dot {
        /// Largest content in octets with CRLF line endings; larger content is `TooLarge`.
        octets_max: Option<u64>,
    },
    /// BDAT: exactly this many octets.
    Chunk {
        /// The size of the chunk.
        octets: u64,
        /// Whether the message ends with it.
        last: bool,
    },
}
