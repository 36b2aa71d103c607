//! Why a configuration cannot be used.

use std::{
    fmt::{self, Write as _},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::server::IdentityError;

/// What is missing for a listener that other machines can reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lack {
    /// Accounts. Without them, any password opens any mailbox.
    Accounts,
    /// A certificate. Without it, passwords would cross the network in clear.
    Certificate,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Accounts => {
                "anyone there could read all mail, because any password opens any mailbox: listen \
                 on 127.0.0.1 or [::1] instead, configure accounts (facteur account add) and TLS \
                 (facteur cert), or for containers name their networks in open_to"
            }
            Self::Certificate => {
                "passwords would cross the network unencrypted: name a certificate in [tls] \
                 (facteur cert makes one), listen on 127.0.0.1 or [::1] instead, or remove the \
                 listener"
            }
        })
    }
}

/// What is wrong with a configuration.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file cannot be read: name another file, or fix its permissions.
    Read {
        /// The file.
        path: PathBuf,
        /// The error from the system.
        source: io::Error,
    },
    /// A line of the file is wrong.
    Value {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The key, if there is one.
        key: Option<String>,
        /// What is wrong, and what would be valid.
        reason: String,
    },
    /// A file that the configuration names cannot be used.
    Named {
        /// The configuration.
        path: PathBuf,
        /// The line, from 1; 0 if it is unknown.
        line: usize,
        /// The key that names it.
        key: &'static str,
        /// What is wrong.
        error: Box<Self>,
    },
    /// An environment variable is wrong.
    Variable {
        /// The variable.
        name: String,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// A file that an environment variable, or a key, names cannot be used.
    NamedBy {
        /// The variable, or the key.
        name: &'static str,
        /// What is wrong.
        error: Box<Self>,
    },
    /// Several lines or variables are wrong.
    Several(Vec<Self>),
    /// The certificate and its key cannot be used.
    Tls {
        /// The certificate file.
        certificate: PathBuf,
        /// The key file.
        key: PathBuf,
        /// The reason.
        error: IdentityError,
    },
    /// No listener is configured.
    NoListener,
    /// Two listeners have the same address.
    Duplicate {
        /// The keys.
        keys: [&'static str; 2],
        /// The address of the second.
        address: SocketAddr,
    },
    /// A listener needs TLS, but there is no certificate.
    NoCertificate {
        /// The key of the listener.
        key: &'static str,
    },
    /// Other machines could reach a listener, but nothing would keep strangers out.
    Exposed {
        /// The key of the listener.
        key: &'static str,
        /// Its address.
        address: SocketAddr,
        /// The first thing that is missing.
        lack: Lack,
    },
    /// The values of a file, as overridden by the command line, contradict each other.
    Whole {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        error: Box<Self>,
    },
    /// A flag was given both as `off` and with an address: remove one of the two.
    OffAndOn {
        /// The flag.
        flag: &'static str,
    },
}

/// A path for display: a line break in it must not split an error into two lines.
pub(super) struct OneLine<'a>(pub(super) &'a Path);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for char in self.0.to_string_lossy().chars() {
            if char.is_control() {
                write!(f, "{}", char.escape_default())?;
            } else {
                f.write_char(char)?;
            }
        }
        Ok(())
    }
}

impl Error {
    /// Whether the only mistake is that `open_to` is empty while there are no accounts, although
    /// other machines can reach a listener.
    pub fn is_open_to_nobody(&self) -> bool {
        if let Self::Whole { error, .. } = self {
            return error.is_open_to_nobody();
        }
        let lack = Lack::Accounts;
        matches!(self, Self::Exposed { lack: found, .. } if *found == lack)
    }

    /// One error that stands for all of `errors`, of which there is at least one.
    pub(crate) fn all(mut errors: Vec<Self>) -> Self {
        match errors.pop() {
            Some(only) if errors.is_empty() => only,
            last => {
                errors.extend(last);
                Self::Several(errors)
            }
        }
    }
}

fn each_on_a_line(errors: &[Error], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for (position, error) in errors.iter().enumerate() {
        let separator = if position == 0 { "" } else { "\n" };
        write!(f, "{separator}{error}")?;
    }
    Ok(())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { path, .. } => write!(f, "cannot read {}", OneLine(path)),
            Self::Value {
                path,
                line,
                key: Some(key),
                reason,
            } => {
                write!(f, "{}:{line}: {key}: {reason}", OneLine(path))
            }
            Self::Value {
                path,
                line,
                key: None,
                reason,
            } => {
                write!(f, "{}:{line}: {reason}", OneLine(path))
            }
            Self::Named {
                path,
                line,
                key,
                error,
            } => write!(f, "{}:{line}: {key}: {error}", OneLine(path)),
            Self::Variable { name, reason } => {
                write!(f, "{}: {reason}", OneLine(Path::new(name)))
            }
            Self::NamedBy { name, error } => write!(f, "{name}: {error}"),
            Self::Several(errors) => each_on_a_line(errors, f),
            Self::Exposed { key, address, lack } => {
                write!(f, "{key}: other machines can reach {address}, and {lack}")
            }
            Self::Whole { path, error } => write!(f, "{}: {error}", OneLine(path)),
            Self::OffAndOn { flag } => {
                write!(
                    f,
                    "{flag} off was given with another {flag}: remove one of the two"
                )
            }
            Self::Duplicate {
                keys: [one, other],
                address,
            } if one == other => write!(f, "{one} names {address} twice: remove one of the two"),
            Self::Duplicate {
                keys: [one, other],
                address,
            } => write!(
                f,
                "{one} and {other} would both listen on {address}: give one of them another port"
            ),
            Self::NoListener => f.write_str("SMTP and POP3 are off: set smtp or pop3"),
            Self::Tls {
                certificate,
                key,
                error,
            } => {
                let (certificate, key) = (OneLine(certificate), OneLine(key));
                match error {
                    IdentityError::Certificate(_) => write!(f, "{certificate}: {error}"),
                    IdentityError::Key(_) => write!(f, "{key}: {error}"),
                    IdentityError::Pair(_) => write!(f, "{certificate} and {key}: {error}"),
                }
            }
            Self::NoCertificate { key } => write!(
                f,
                "{key} needs a certificate: name one in [tls] (facteur cert), or remove {key}"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Named { error, .. } | Self::NamedBy { error, .. } => error.source(),
            Self::Value { .. }
            | Self::Variable { .. }
            | Self::Several(_)
            | Self::Tls { .. }
            | Self::NoListener
            | Self::Duplicate { .. }
            | Self::NoCertificate { .. }
            | Self::Exposed { .. }
            | Self::Whole { .. }
            | Self::OffAndOn { .. } => None,
        }
    }
}
