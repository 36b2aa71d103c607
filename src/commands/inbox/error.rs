//! Why a command for messages failed, with its exit code.

use std::{fmt, io, net::SocketAddr, path::PathBuf};

use crate::{config, system::exit};

use super::{limits, screen};

/// Why a command for messages failed.
#[derive(Debug)]
pub struct Error(Box<Reason>);

/// What happened.
#[derive(Debug)]
pub(super) enum Reason {
    /// The configuration is wrong.
    Config(config::Error),
    /// Standard output cannot be written to.
    Output(io::Error),
    /// No daemon was found.
    Away {
        /// The mail directory whose control socket was tried.
        root: PathBuf,
        control: io::Error,
        /// What else was tried.
        address: Option<(SocketAddr, io::Error)>,
    },
    /// The connection broke, or no answer came in time.
    Lost(io::Error),
    /// What answers is not a daemon like this program.
    Strange { place: String, what: &'static str },
    /// The message cannot be read, only downloaded.
    TooComplex(String),
    /// The answer exceeds a limit.
    TooLarge,
    /// Sessions have mailboxes open, so that nothing can be removed there: the daemon's text.
    Busy(String),
    /// The daemon refused a request.
    Refused {
        /// The HTTP status.
        status: u16,
        /// Its text, which says what to do.
        text: String,
    },
    /// No message has what was asked for.
    Without {
        /// What was asked for.
        what: String,
        /// Where it was looked for.
        looked_at: String,
    },
    /// A message came, and none should have.
    Came(String),
    /// No such message came in time.
    TimeOver {
        /// What was asked for.
        asked: String,
        /// What did come.
        meanwhile: String,
    },
    /// An attachment cannot be written.
    Save { path: PathBuf, source: io::Error },
}

impl Error {
    /// The exit code.
    pub(in crate::commands) fn exit_code(&self) -> u8 {
        match &*self.0 {
            Reason::Config(_) | Reason::Refused { status: 400, .. } => exit::USAGE,
            Reason::Busy(_) => exit::TRY_LATER,
            Reason::TimeOver { .. } => exit::TIME_OVER,
            Reason::Output(_)
            | Reason::Away { .. }
            | Reason::Lost(_)
            | Reason::Strange { .. }
            | Reason::TooComplex(_)
            | Reason::TooLarge
            | Reason::Refused { .. }
            | Reason::Without { .. }
            | Reason::Came(_)
            | Reason::Save { .. } => exit::FAILURE,
        }
    }

    /// Whether the command line or the configuration is wrong.
    pub(in crate::commands) fn is_usage(&self) -> bool {
        self.exit_code() == exit::USAGE
    }
}

impl From<Reason> for Error {
    fn from(reason: Reason) -> Self {
        Self(Box::new(reason))
    }
}

impl From<io::Error> for Reason {
    /// Every `io::Error` that is not named comes from writing to standard output.
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Reason::Config(error) => error.fmt(f),
            Reason::Output(_) => f.write_str("cannot write to standard output"),
            Reason::Away {
                root,
                control,
                address,
            } => {
                let root = root.display();
                write!(f, "no daemon serves {root} (its control socket: {control})")?;
                match address {
                    Some((address, error)) => write!(
                        f,
                        ", and none answers at http://{address} ({error}): start facteur, or name \
                         its mail directory with --mail DIR"
                    ),
                    None => f.write_str(": start facteur, or correct the mail directory"),
                }
            }
            Reason::Lost(_) => f.write_str(
                "the connection to the daemon was lost, or it did not answer in time: try again, \
                 and see its log",
            ),
            Reason::Strange { place, what } => write!(
                f,
                "what answers at {place} is not a facteur of this version: it {what}; name the \
                 mail directory of the daemon with --mail DIR"
            ),
            Reason::TooComplex(message) => write!(
                f,
                "the message {message} is too complex to read: print it with --raw"
            ),
            Reason::TooLarge => f.write_str(
                "the answer of the daemon is too large: ask for fewer messages, or download the \
                 message with --raw",
            ),
            Reason::Refused { status: 410, .. } => f.write_str(
                "the cursor is of an earlier run of the daemon, or too old: list the messages \
                 again, and take a new one with `facteur cursor`",
            ),
            Reason::Refused { status, text } if text.is_empty() => {
                write!(
                    f,
                    "the daemon refuses this with status {status}: see its log"
                )
            }
            Reason::Busy(text) | Reason::Refused { text, .. } => f.write_str(&quoted(text)),
            Reason::Without { what, looked_at } => write!(f, "no {what} in {looked_at}"),
            Reason::Came(message) => write!(f, "a message came: {message}"),
            Reason::TimeOver { asked, meanwhile } => {
                write!(f, "the time is over, and {asked}; {meanwhile}")
            }
            Reason::Save { path, .. } => {
                write!(
                    f,
                    "cannot write {}",
                    screen::printable(&path.to_string_lossy())
                )
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.0 {
            Reason::Config(error) => error.source(),
            Reason::Output(source) | Reason::Lost(source) | Reason::Save { source, .. } => {
                Some(source)
            }
            Reason::Away { .. }
            | Reason::Strange { .. }
            | Reason::TooComplex(_)
            | Reason::TooLarge
            | Reason::Busy(_)
            | Reason::Refused { .. }
            | Reason::Without { .. }
            | Reason::Came(_)
            | Reason::TimeOver { .. } => None,
        }
    }
}

/// A text by others in an error: in one line, and not too long.
pub(super) fn quoted(text: &str) -> String {
    let text = text.trim();
    let mut short: String = text.chars().take(limits::QUOTED_CHARACTERS_MAX).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    screen::printable(&short)
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    #[test]
    fn a_daemon_that_is_not_found_is_reported_with_all_that_was_tried() {
        let away = |address| {
            Error::from(Reason::Away {
                root: PathBuf::from("/srv/mail"),
                control: io::ErrorKind::NotFound.into(),
                address,
            })
        };
        let refused = io::ErrorKind::ConnectionRefused.into();
        let error = away(Some((limits::DEFAULT_ADDRESS, refused)));
        assert_eq!(
            error.to_string(),
            "no daemon serves /srv/mail (its control socket: entity not found), and none answers \
             at http://127.0.0.1:65480 (connection refused): start facteur, or name its mail \
             directory with --mail DIR"
        );
        assert_eq!(error.exit_code(), exit::FAILURE);
        assert!(error.source().is_none());
        assert!(
            away(None)
                .to_string()
                .ends_with("or correct the mail directory")
        );
    }

    #[test]
    fn a_text_by_others_is_short_and_in_one_line() {
        assert_eq!(quoted(" a\nb\u{7}\n"), "a\\nb\\u{7}");
        let long = quoted(&"\u{7}".repeat(1_000));
        assert_eq!(long.chars().count(), 200 * 5 + 1);
    }
}
