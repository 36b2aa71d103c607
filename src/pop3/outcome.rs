//! What a driver reports to its session: the result of an action, or an event instead of it.
//!
//! Failures of sockets and disks arrive here in protocol terms.

use std::fmt;
use std::sync::Arc;

use crate::mail::sasl::scram;
use crate::mail::{ChannelBindings, Ending, Foreign, Summaries};

/// What happened: the result of an action, or an event instead of it. Its [`Debug`](fmt::Debug)
/// form shows only its name and nothing of the line, which might contain a password.
#[derive(Clone)]
pub enum Outcome<'a> {
    /// A line, without its line ending.
    Line(&'a [u8]),
    /// A line longer than allowed; it was read to its end.
    LineTooLong,
    /// A bare CR or LF: what was found.
    LineEndingFault(&'static str),
    /// The first octet of the connection is not a letter: this is what the client speaks.
    ForeignProtocol(Foreign),
    /// The session has to end.
    Ended(Ending),
    /// The password opens a mailbox.
    PasswordAccepted,
    /// It does not, or there is no such user: the session does not reveal which.
    PasswordRefused,
    /// The user name has no domain and there is not exactly one mailbox with that local part.
    MailboxAmbiguous,
    /// The password or the proof cannot be verified now.
    CheckFailed,
    /// What SCRAM needs to know of the user.
    ScramBegun(scram::Parameters),
    /// The proof opens a mailbox.
    ProofAccepted {
        /// The server's signature over the same auth message.
        signature: [u8; 32],
    },
    /// The maildrop is locked; these are its messages.
    MaildropOpened(Arc<dyn Summaries>),
    /// Another session has the maildrop.
    MaildropInUse,
    /// The maildrop cannot be read.
    MaildropFailed {
        /// Whether trying again later might help.
        transient: bool,
    },
    /// The message is open.
    MessageOpened {
        /// Whether only a client in UTF-8 mode may get it (RFC 6856 §2.1).
        internationalized: bool,
        /// How much RETR sends if that differs from the listing, because another program has edited
        /// the message.
        edited_octets: Option<u64>,
    },
    /// The message is no longer there: another program has removed it.
    MessageGone,
    /// The message cannot be read.
    MessageFailed {
        /// Whether trying again later might help.
        transient: bool,
    },
    /// The content and the final dot are sent.
    ContentSent,
    /// The messages are removed, durably.
    Removed,
    /// Some or all of the messages might still be there.
    RemoveFailed,
    /// The connection is encrypted.
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
            Self::PasswordAccepted => "PasswordAccepted",
            Self::PasswordRefused => "PasswordRefused",
            Self::MailboxAmbiguous => "MailboxAmbiguous",
            Self::CheckFailed => "CheckFailed",
            Self::ScramBegun(_) => "ScramBegun",
            Self::ProofAccepted { .. } => "ProofAccepted",
            Self::MaildropOpened(_) => "MaildropOpened",
            Self::MaildropInUse => "MaildropInUse",
            Self::MaildropFailed { .. } => "MaildropFailed",
            Self::MessageOpened { .. } => "MessageOpened",
            Self::MessageGone => "MessageGone",
            Self::MessageFailed { .. } => "MessageFailed",
            Self::ContentSent => "ContentSent",
            Self::Removed => "Removed",
            Self::RemoveFailed => "RemoveFailed",
            Self::TlsStarted(_) => "TlsStarted",
        })
    }
}
