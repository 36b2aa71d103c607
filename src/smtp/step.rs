//! What a session tells its driver: a reply, and what to do next.
//!
//! Values only. Which outcomes may follow an action is said at each action.

use crate::mail::sasl::scram;
use crate::mail::{Address, Closing, Credentials, Domain, Dots, Envelope, ForwardPath};

use super::reply::Reply;

/// What a session needs to know of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this host, in greeting and replies, and the domain of paths without one.
    pub hostname: Domain,
    /// Largest message in octets with CRLF line endings; `None` is no limit.
    pub message_octets_max: Option<u64>,
    /// Most recipients of one transaction; `None` is no limit.
    pub recipients_max: Option<u32>,
    /// Most syntax and sequence errors of one session; `None` is no limit.
    pub errors_max: Option<u32>,
    /// Whether SCRAM is offered: there are keys to verify proofs with.
    pub scram: bool,
    /// Whose mail is taken.
    pub senders: Senders,
    /// Where clients of this machine may put dots in a local part that is not quoted; others get
    /// the grammar of RFC 5321.
    pub local_dots: Dots,
}

/// Whose mail is taken: what a listener asks of a client before MAIL. Whatever that is, a user who
/// has authenticated sends from addresses of the user's own, or from null (RFC 6409 §6.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Senders {
    /// Anybody's, as a server must that receives mail for its domains (RFC 5321).
    Anybody,
    /// That of users who have authenticated (RFC 6409 §4.3).
    Authenticated,
}

/// A reply, if there is one, and what to do after it.
#[derive(Debug, PartialEq, Eq)]
pub struct Step {
    /// To be sent before the action is performed.
    pub reply: Option<Reply>,
    /// To be performed; its result is the next outcome.
    pub action: Action,
}

/// What the driver is to do next.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Read one line: `Line` and the other outcomes of reading.
    ReadLine {
        /// Its longest length, its ending included.
        octets_max: usize,
    },
    /// Find the mailbox of a recipient: `Recipient`.
    LookUpRecipient(ForwardPath),
    /// Verify a password: `PasswordAccepted`, `PasswordRefused` or `CheckFailed`.
    CheckPassword {
        /// How the client sent it.
        mechanism: &'static str,
        /// The password and whose it is.
        credentials: Credentials,
    },
    /// Find what SCRAM needs to know of a user, or make it up where there is no such user:
    /// `ScramBegun` or `CheckFailed`.
    BeginScram {
        /// The name, as the client sent it.
        user: String,
    },
    /// Verify a proof: `ProofAccepted`, `PasswordRefused` or `CheckFailed`.
    CheckProof {
        /// How the client sent it.
        mechanism: &'static str,
        /// The proof and whose it is.
        attempt: scram::Attempt,
    },
    /// Find out whether a user may send with this reverse-path: `SenderPermitted`,
    /// `SenderNotPermitted` or `CheckFailed`.
    CheckSender(Address),
    /// Open a delivery: `DeliveryBegun` or `DeliveryFailed`.
    BeginDelivery(Box<Submission>),
    /// Take content into the open delivery, and commit it at the end of the message: `Content`.
    ReceiveContent(Framing),
    /// Drop the open delivery and forget the recipients: `TransactionAbandoned`.
    AbandonTransaction,
    /// The same, and read that many octets and throw them away: `ChunkDiscarded`.
    DiscardChunk {
        /// The size of the chunk.
        octets: u64,
    },
    /// Drop the open delivery and forget the recipients, send what is waiting, then do the
    /// handshake: `TlsStarted`, or end the connection.
    StartTls,
    /// Drop the open delivery, send what is waiting and close; no outcome is expected.
    Close(Closing),
}

/// All that a delivery needs to know of the transaction.
#[derive(Debug, PartialEq, Eq)]
pub struct Submission {
    /// Sender and recipients.
    pub envelope: Envelope,
    /// What the client called itself in HELO or EHLO.
    pub client_name: String,
}

/// How the end of the content is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// DATA: until the line with a single dot.
    Dot {
        /// Largest content in octets with CRLF line endings; what is larger is `TooLarge`.
        octets_max: Option<u64>,
    },
    /// BDAT: exactly so many octets.
    Chunk {
        /// The size of the chunk.
        octets: u64,
        /// Whether the message ends with it.
        last: bool,
    },
}
