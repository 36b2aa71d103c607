//! How a session ends, and how it closes its connection.

use std::fmt;

use super::foreign::Foreign;

/// Why a session has to end while it can still say so, whatever it was doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// No complete line came in time.
    IdleTimeout,
    /// The content came too slowly.
    TooSlow,
    /// The session has reached its longest duration.
    SessionTimeout,
    /// The daemon is stopping.
    ShuttingDown,
    /// A network that had no place got that of this session.
    Displaced,
    /// There are no accounts, and the client's network is not open any more.
    NotOpen,
    /// A command has come, and the account of the client was removed, or has another password,
    /// since it logged in.
    Revoked,
    /// A command has come, and another session may have the maildrop by now.
    MaildropLost,
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::IdleTimeout => "no whole command in time",
            Self::TooSlow => "the content came too slowly",
            Self::SessionTimeout => "the session lasted too long",
            Self::ShuttingDown => "the daemon is stopping",
            Self::Displaced => "its place went to a network with fewer sessions",
            Self::NotOpen => "its network is not in open_to any more",
            Self::Revoked => "its account has changed",
            Self::MaildropLost => "another session may have its maildrop",
        })
    }
}

/// Why a session closes its connection, which determines how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The client has sent QUIT.
    Quit,
    /// The session cannot continue; the last reply, if there was one, gives the reason.
    Refused,
    /// The client speaks this instead of the protocol of its port.
    Foreign(Foreign),
}
