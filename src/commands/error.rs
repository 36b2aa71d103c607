//! Why a command failed.

use std::{fmt, io, path::PathBuf};

use crate::{
    accounts::HashingError, certificate, client_settings::NoAutoconfig, config, mail::Address,
    system::exit,
};

#[cfg(feature = "postgres")]
use crate::store;

use super::{inbox, sendmail};

/// Why a command failed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The accounts cannot be changed as requested.
    Accounts(config::BookError),
    /// The certificate cannot be created.
    Certificate(certificate::Error),
    /// `--check` was given with a command: remove one of the two.
    CheckAndCommand,
    /// The configuration is wrong.
    Config(config::Error),
    /// The host name of the configuration cannot be in a certificate.
    HostName(certificate::NotAName),
    /// A command for messages failed.
    Inbox(inbox::Error),
    /// The password cannot be read.
    Input(io::Error),
    /// The command needs the configuration that has the accounts, and none was given.
    NoConfiguration,
    /// There are accounts, but none has this address.
    NoAccount(Address),
    /// This configuration allows no autoconfig file.
    NoAutoconfig(NoAutoconfig),
    /// The configuration names no database.
    #[cfg(feature = "postgres")]
    NoDatabase,
    /// This program cannot use a database.
    #[cfg(not(feature = "postgres"))]
    NoPostgres,
    /// The daemon does not greet: it is not running, is still starting, or is failing.
    NotReady(NotReady),
    /// The daemon greets, but its database does not store messages.
    NotStoring(io::Error),
    /// A path cannot be written into a configuration, which is UTF-8.
    NotUtf8 {
        /// The path.
        path: PathBuf,
    },
    /// Standard output cannot be written to.
    Output(io::Error),
    /// The password is not allowed, or cannot be hashed.
    Password(HashingError),
    /// The password is not UTF-8, which is what clients send.
    PasswordNotUtf8,
    /// The second password differs from the first.
    PasswordsDiffer,
    /// A message was not sent, or not to all its recipients.
    Sendmail(sendmail::Error),
    /// Mailboxes cannot be moved.
    #[cfg(feature = "postgres")]
    Store(store::Error),
}

impl Error {
    /// The exit code: 2 for a usage error, otherwise 1; for `sendmail` those of sysexits.h, and
    /// for the commands for messages also 75 and 124.
    pub fn exit_code(&self) -> u8 {
        #[cfg(feature = "postgres")]
        if self.is_in_use() {
            return exit::STORE_IN_USE;
        }
        if let Self::Sendmail(error) = self {
            error.exit_code()
        } else if let Self::Inbox(error) = self {
            error.exit_code()
        } else if self.is_usage() {
            exit::USAGE
        } else {
            exit::FAILURE
        }
    }

    /// Whether a daemon serves what the command needs for itself.
    #[cfg(feature = "postgres")]
    fn is_in_use(&self) -> bool {
        matches!(
            self,
            Self::Store(store::Error::StoreInUse { .. } | store::Error::Served { .. })
        )
    }

    /// Whether the command line or the configuration is wrong, so that nothing was tried.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Accounts(error) => !matches!(error, config::BookError::Io { .. }),
            Self::Inbox(error) => error.is_usage(),
            Self::Sendmail(error) => error.is_usage(),
            #[cfg(feature = "postgres")]
            Self::NoDatabase => true,
            #[cfg(feature = "postgres")]
            Self::Store(_) => false,
            #[cfg(not(feature = "postgres"))]
            Self::NoPostgres => true,
            Self::CheckAndCommand
            | Self::NoConfiguration
            | Self::Config(_)
            | Self::HostName(_)
            | Self::NoAccount(_)
            | Self::NoAutoconfig(_)
            | Self::NotUtf8 { .. } => true,
            Self::Certificate(_)
            | Self::Input(_)
            | Self::NotReady(_)
            | Self::NotStoring(_)
            | Self::Output(_)
            | Self::Password(_)
            | Self::PasswordNotUtf8
            | Self::PasswordsDiffer => false,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accounts(error) => error.fmt(f),
            Self::Certificate(error) => error.fmt(f),
            Self::NoConfiguration => f.write_str(
                "--config FILE is missing: specify the configuration of the daemon; `facteur \
                 account add` creates the file if it does not exist",
            ),
            Self::CheckAndCommand => {
                f.write_str("--check was given with a command: remove one of the two")
            }
            Self::Config(error) => error.fmt(f),
            Self::HostName(error) => write!(f, "hostname: {error}"),
            Self::Inbox(error) => error.fmt(f),
            Self::Input(_) => f.write_str("cannot read the password"),
            Self::NoAccount(address) => write!(
                f,
                "there is no account {address}; log in with the address of an account, not \
                 with an alias"
            ),
            Self::NoAutoconfig(reason) => reason.fmt(f),
            #[cfg(feature = "postgres")]
            Self::NoDatabase => f.write_str(
                "the configuration names no database: set postgres in the table [store], and name \
                 the file with --config FILE",
            ),
            #[cfg(not(feature = "postgres"))]
            Self::NoPostgres => f.write_str(
                "this facteur was built without PostgreSQL: build it with cargo build --features \
                 postgres",
            ),
            Self::NotReady(error) => error.fmt(f),
            Self::NotStoring(_) => f.write_str("not ready: the database does not store messages"),
            Self::NotUtf8 { path } => write!(
                f,
                "{} is not UTF-8, so the configuration cannot name it: choose another directory \
                 with --dir",
                path.display()
            ),
            Self::Output(_) => f.write_str("cannot write to standard output"),
            Self::Password(HashingError::NotAscii) => {
                write!(f, "{} with --no-scram", HashingError::NotAscii)
            }
            Self::Password(error) => error.fmt(f),
            Self::PasswordNotUtf8 => f.write_str("the password is not UTF-8"),
            Self::PasswordsDiffer => f.write_str("the two passwords differ"),
            Self::Sendmail(error) => error.fmt(f),
            #[cfg(feature = "postgres")]
            Self::Store(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Accounts(error) => error.source(),
            Self::Certificate(error) => error.source(),
            Self::Config(error) => error.source(),
            Self::Inbox(error) => error.source(),
            Self::Sendmail(error) => error.source(),
            #[cfg(feature = "postgres")]
            Self::Store(error) => error.source(),
            #[cfg(feature = "postgres")]
            Self::NoDatabase => None,
            #[cfg(not(feature = "postgres"))]
            Self::NoPostgres => None,
            Self::Input(source)
            | Self::NotReady(NotReady { source, .. })
            | Self::NotStoring(source)
            | Self::Output(source) => Some(source),
            Self::CheckAndCommand
            | Self::NoConfiguration
            | Self::HostName(_)
            | Self::NoAccount(_)
            | Self::NoAutoconfig(_)
            | Self::NotUtf8 { .. }
            | Self::Password(_)
            | Self::PasswordNotUtf8
            | Self::PasswordsDiffer => None,
        }
    }
}

impl From<config::Error> for Error {
    fn from(error: config::Error) -> Self {
        Self::Config(error)
    }
}

impl From<config::BookError> for Error {
    fn from(error: config::BookError) -> Self {
        Self::Accounts(error)
    }
}

impl From<inbox::Error> for Error {
    fn from(error: inbox::Error) -> Self {
        Self::Inbox(error)
    }
}

impl From<sendmail::Error> for Error {
    fn from(error: sendmail::Error) -> Self {
        Self::Sendmail(error)
    }
}

impl From<certificate::Error> for Error {
    fn from(error: certificate::Error) -> Self {
        Self::Certificate(error)
    }
}

impl From<io::Error> for Error {
    /// Every `io::Error` here comes from writing to standard output.
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

/// A listener that does not greet.
#[derive(Debug)]
pub struct NotReady {
    /// The configuration key of the listener.
    pub(super) key: &'static str,
    /// Where it listens.
    pub(super) place: String,
    /// The reason.
    pub(super) source: io::Error,
}

impl fmt::Display for NotReady {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "not ready: {} does not greet at {}",
            self.key, self.place
        )
    }
}
