//! What a driver reports to its session: the result of an action, or an event instead of it.
//!
//! Failures of sockets and disks arrive here in protocol terms.

use std::fmt;

use crate::mail::sasl::scram;
use crate::mail::{ChannelBindings, Ending, Foreign, MailboxName};

/// What happened: the result of an action, or an event instead of it. Its [`Debug`](fmt::Debug)
/// form shows only its name and nothing of the line, which might contain a password.
#[derive(PartialEq, Eq)]
pub enum Outcome<'a> {
    /// A line, without its ending.
    Line(&'a [u8]),
    /// A line longer than allowed; it was read to its end.
    LineTooLong,
    /// A command's line ending that is not the session's own: what was found.
    LineEndingFault(&'static str),
    /// The first octet of the connection is not a letter: this is what the client speaks.
    ForeignProtocol(Foreign),
    /// The session has to end.
    Ended(Ending),
    /// The result of the look-up.
    Recipient(RecipientVerdict),
    /// The password is right.
    PasswordAccepted,
    /// The password or the proof is wrong, or the user is unknown.
    PasswordRefused,
    /// The password, the proof or the sender could not be verified.
    CheckFailed,
    /// What SCRAM needs to know of the user.
    ScramBegun(scram::Parameters),
    /// The proof is right.
    ProofAccepted {
        /// The server's signature over the same auth message.
        signature: [u8; 32],
    },
    /// The address belongs to the user.
    SenderPermitted,
    /// The address does not belong to the user.
    SenderNotPermitted,
    /// A delivery is open.
    DeliveryBegun,
    /// A delivery could not be opened.
    DeliveryFailed(DeliveryFailure),
    /// The result of receiving the content.
    Content(ContentEnd),
    /// The transaction has been dropped.
    TransactionAbandoned,
    /// The chunk has been read and discarded.
    ChunkDiscarded,
    /// There was nothing to do.
    Continued,
    /// The handshake is complete; octets that were buffered before it are gone.
    TlsStarted(ChannelBindings),
}

impl fmt::Debug for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line(_) => "Line",
            Self::LineTooLong => "LineTooLong",
            Self::LineEndingFault(_) => "LineEndingFault",
            Self::ForeignProtocol(_) => "ForeignProtocol",
            Self::Ended(_) => "Ended",
            Self::Recipient(_) => "Recipient",
            Self::PasswordAccepted => "PasswordAccepted",
            Self::PasswordRefused => "PasswordRefused",
            Self::CheckFailed => "CheckFailed",
            Self::ScramBegun(_) => "ScramBegun",
            Self::ProofAccepted { .. } => "ProofAccepted",
            Self::SenderPermitted => "SenderPermitted",
            Self::SenderNotPermitted => "SenderNotPermitted",
            Self::DeliveryBegun => "DeliveryBegun",
            Self::DeliveryFailed(_) => "DeliveryFailed",
            Self::Content(_) => "Content",
            Self::TransactionAbandoned => "TransactionAbandoned",
            Self::ChunkDiscarded => "ChunkDiscarded",
            Self::Continued => "Continued",
            Self::TlsStarted(_) => "TlsStarted",
        })
    }
}

/// The result of receiving a content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContentEnd {
    /// The message is durable in every recipient's mailbox.
    Delivered,
    /// The same, except for some mailboxes: for each recipient, in the order of their RCPT
    /// commands, why it is not in that mailbox. Only over LMTP.
    DeliveredToSome(Vec<Option<MailboxFailure>>),
    /// A chunk that is not the last was received.
    ChunkReceived,
    /// It could not be stored; it has been read to its end.
    Failed(DeliveryFailure),
    /// It was larger than the limit; it has been read to its end.
    TooLarge,
    /// It was larger than the limit, and did not end within that amount again.
    Overrun,
    /// It has a line ending that is not the session's own: what was found. It has been read to its
    /// end, and nothing of it is kept.
    WrongLineEnding(&'static str),
    /// The same, but its end is ambiguous: nothing more may be read.
    LineEndingFault(&'static str),
}

/// The result of looking up a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientVerdict {
    /// The address leads to this mailbox.
    Accepted(MailboxName),
    /// There is no such mailbox.
    Unknown,
    /// The domain is not one of ours.
    NotLocal,
    /// The name is too long for a mailbox.
    NameTooLong,
    /// There is currently no memory for more recipients of one transaction.
    TooMany,
    /// The look-up failed.
    Failed,
    /// The mailbox is full.
    Full,
    /// The mailbox currently cannot be written.
    Unavailable,
}

/// Why a message is not in one of the mailboxes, though it is in others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailboxFailure {
    /// The mailbox is full.
    Full,
    /// The mailbox currently cannot be written.
    Unavailable,
}

/// Why a message could not be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryFailure {
    /// There is not enough space.
    Full,
    /// There is no memory for it: too much mail is arriving at the same time.
    Busy,
    /// Any other reason; the log has the details.
    Transient,
}
