//! What a driver tells its session: the result of an action, or what came instead of it.
//!
//! The accidents of sockets and disks arrive here in the words of the protocol.

use std::fmt;

use crate::mail::sasl::scram;
use crate::mail::{ChannelBindings, Ending, Foreign, MailboxName};

/// What happened: the result of an action, or what came instead of it. Its [`Debug`](fmt::Debug)
/// form names it and shows nothing of the line, which may hold a password.
#[derive(PartialEq, Eq)]
pub enum Outcome<'a> {
    /// A line, without its ending.
    Line(&'a [u8]),
    /// A line longer than it may be; it has been read to its end.
    LineTooLong,
    /// A command's line ending that is not the session's own: what was found.
    LineEndingFault(&'static str),
    /// The first octet of the connection is not a letter: what the client speaks instead.
    ForeignProtocol(Foreign),
    /// The session has to end.
    Ended(Ending),
    /// What became of the look-up.
    Recipient(RecipientVerdict),
    /// The password is right.
    PasswordAccepted,
    /// The password or the proof is wrong, or the user unknown.
    PasswordRefused,
    /// The password, the proof or the sender could not be verified.
    CheckFailed,
    /// What SCRAM needs to know of the user.
    ScramBegun(scram::Parameters),
    /// The proof is right.
    ProofAccepted {
        /// The server's own, over the same auth message.
        signature: [u8; 32],
    },
    /// The address is one of the user's.
    SenderPermitted,
    /// It is not.
    SenderNotPermitted,
    /// A delivery is open.
    DeliveryBegun,
    /// A delivery could not be opened.
    DeliveryFailed(DeliveryFailure),
    /// What became of the content.
    Content(ContentEnd),
    /// Nothing of the transaction is left.
    TransactionAbandoned,
    /// The chunk has been read and thrown away.
    ChunkDiscarded,
    /// The handshake is done; what was buffered before it is gone.
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
            Self::TlsStarted(_) => "TlsStarted",
        })
    }
}

/// What became of a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ContentEnd {
    /// The message is durable in every recipient's mailbox.
    Delivered,
    /// A chunk that is not the last has been taken.
    ChunkReceived,
    /// It could not be stored; it has been read to its end.
    Failed(DeliveryFailure),
    /// It was larger than the limit; it has been read to its end.
    TooLarge,
    /// It was larger than the limit, and its end did not come for as much again.
    Overrun,
    /// It has a line ending that is not the session's own: what was found. It has been read to its
    /// end, and nothing of it is kept.
    WrongLineEnding(&'static str),
    /// The same where nobody can say where it ends: nothing more may be read.
    LineEndingFault(&'static str),
}

/// What became of a recipient's look-up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RecipientVerdict {
    /// It leads to this mailbox.
    Accepted(MailboxName),
    /// There is no such mailbox.
    Unknown,
    /// The domain is not one of ours.
    NotLocal,
    /// The mailbox cannot have so long a name.
    NameTooLong,
    /// There is no memory for more recipients of one transaction now.
    TooMany,
    /// It could not be found out now.
    Failed,
    /// The mailbox is full.
    Full,
    /// The mailbox cannot be written for now.
    Unavailable,
}

/// Why a message could not be stored now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeliveryFailure {
    /// There is not enough space.
    Full,
    /// There is no memory for it: too much comes in at once.
    Busy,
    /// Anything else; the log has the detail.
    Transient,
}
