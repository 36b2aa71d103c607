//! The seam between the session and its driver: what goes in, what comes out.
//!
//! Values only. The driver is one loop and one `match`: it sends the response of a [`Step`],
//! performs its [`Action`], and gives the [`Outcome`] to the session, which answers with the next
//! step. Which outcomes may follow which action is said at each action.

use std::{fmt, sync::Arc};

use crate::{
    mail::{ChannelBindings, Credentials, Summaries, sasl::scram},
    pop3::{MessageNumber, Response},
};

/// What a session needs to know of the daemon's configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The name of this host, shown when the session ends.
    pub hostname: String,
    /// So many commands with wrong syntax or at the wrong time are answered; the next closes the
    /// connection. 0 lets a client go on for ever.
    pub errors_max: u32,
    /// Whether SCRAM is offered: there are keys to verify proofs with.
    pub scram: bool,
    /// Whether UTF8 is announced, and its rules hold (RFC 6856). Without it the server is one of
    /// RFC 1939, which sends every message as it is.
    pub utf8: bool,
    /// The connection is closed at this many refused logins; 0 is taken as 1, for guessing without
    /// an end is never wanted.
    pub password_failures_max: u32,
}

/// What the driver is to do next.
#[derive(Debug)]
pub struct Step {
    /// What to send first. While more input is waiting it may stay in a buffer (RFC 2449 §6.6).
    pub response: Option<Response>,
    /// What to do then.
    pub action: Action,
}

/// One task of the driver.
///
/// Whatever the action, [`Outcome::ConnectionLost`], [`Outcome::IdleTimeout`],
/// [`Outcome::SessionTimeout`], [`Outcome::ShuttingDown`] and [`Outcome::Displaced`] may follow;
/// the named outcomes are the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Read a line, no longer than [`Session::line_octets_max`](super::Session::line_octets_max):
    /// `Line`, `LineTooLong`, `LineEndingFault`, `ForeignProtocol`. If a message was opened for
    /// [`OpenMessage`](Self::OpenMessage), close it: it is not to be sent.
    ReadLine,
    /// Verify a password and find the mailbox: `PasswordAccepted`, `PasswordRefused`,
    /// `MailboxAmbiguous`, `CheckFailed`.
    CheckPassword(Credentials),
    /// Find what SCRAM needs to know of a user, or make it up where there is no such user:
    /// `ScramBegun`, `CheckFailed`.
    BeginScram {
        /// The name, as the client sent it.
        user: String,
    },
    /// Verify a proof and find the mailbox: `ProofAccepted`, `PasswordRefused`,
    /// `MailboxAmbiguous`, `CheckFailed`.
    CheckProof(scram::Attempt),
    /// Lock and list the maildrop of the mailbox that was just found: `MaildropOpened`,
    /// `MaildropInUse`, `MaildropFailed`.
    OpenMaildrop,
    /// Open a message, so that nothing but the connection can fail once `+OK` is said:
    /// `MessageOpened`, `MessageGone`, `MessageFailed`.
    OpenMessage(MessageNumber),
    /// Send the open message, dot-stuffed, and the final dot: `ContentSent`. When reading fails
    /// half-way there is nothing left to say: close the connection and report `ConnectionLost`.
    SendContent(Extent),
    /// Remove these messages, in ascending order, and no others: `Removed` when the removal is
    /// durable, else `RemoveFailed`.
    RemoveMarked(Vec<MessageNumber>),
    /// Begin TLS: `TlsStarted`. Octets that came with the STLS line close the connection (SEC-2),
    /// as does TLS that cannot begin.
    StartTls,
    /// Send what is to be sent, close the connection and release the maildrop.
    Close,
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

/// What came of an [`Action`]. Its [`Debug`](fmt::Debug) form names it and shows nothing of the
/// line, which may hold a password.
#[derive(Clone)]
pub enum Outcome<'a> {
    /// A line, without its line ending.
    Line(&'a [u8]),
    /// A line longer than allowed; all of it has been read.
    LineTooLong,
    /// A bare CR or LF.
    LineEndingFault,
    /// The first octet of the connection is not a letter.
    ForeignProtocol,
    /// The client was silent for too long.
    IdleTimeout,
    /// The session has lasted too long.
    SessionTimeout,
    /// The daemon is about to end.
    ShuttingDown,
    /// The place of the session is needed for a network that has fewer.
    Displaced,
    /// A command has come, and the login of before does not hold any more: the account was removed
    /// or has another password.
    Revoked,
    /// The client is gone.
    ConnectionLost,
    /// The password opens a mailbox.
    PasswordAccepted,
    /// It does not, or there is no such user: the session does not tell which.
    PasswordRefused,
    /// The user name has no domain and there is not exactly one mailbox with that local part.
    MailboxAmbiguous,
    /// The password or the proof could not be verified now.
    CheckFailed,
    /// What SCRAM needs to know of the user.
    ScramBegun(scram::Parameters),
    /// The proof opens a mailbox.
    ProofAccepted {
        /// The server's own, over the same auth message.
        signature: [u8; 32],
    },
    /// The maildrop is locked; these are its messages.
    MaildropOpened(Arc<dyn Summaries>),
    /// Another session has the maildrop.
    MaildropInUse,
    /// The maildrop cannot be read.
    MaildropFailed {
        /// Whether trying again later may help.
        transient: bool,
    },
    /// The message is open.
    MessageOpened {
        /// Whether only a client in UTF-8 mode may get it (RFC 6856 §2.1).
        internationalized: bool,
        /// How much of it RETR sends if that is not what the listing says, because another program
        /// has edited it.
        edited_octets: Option<u64>,
    },
    /// The message is no longer there: another program has removed it.
    MessageGone,
    /// The message cannot be read.
    MessageFailed {
        /// Whether trying again later may help.
        transient: bool,
    },
    /// The content and the final dot are sent.
    ContentSent,
    /// The messages are removed, durably.
    Removed,
    /// Some of the messages, or all, may still be there.
    RemoveFailed,
    /// The connection is encrypted.
    TlsStarted(ChannelBindings),
}

impl fmt::Debug for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Line(_) => "Line",
            Self::LineTooLong => "LineTooLong",
            Self::LineEndingFault => "LineEndingFault",
            Self::ForeignProtocol => "ForeignProtocol",
            Self::IdleTimeout => "IdleTimeout",
            Self::SessionTimeout => "SessionTimeout",
            Self::ShuttingDown => "ShuttingDown",
            Self::Displaced => "Displaced",
            Self::Revoked => "Revoked",
            Self::ConnectionLost => "ConnectionLost",
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
