//! Why a message was not sent, with the exit codes of sysexits.h that senders of mail know.

use std::{fmt, io, net::SocketAddr, path::PathBuf};

use ipnet::IpNet;

use crate::{config, system::exit};

use super::{
    address_list::{Fault, quoted},
    arguments::UsageError,
    dialogue::Failure,
    limits,
};

/// Why a message was not sent, or not to all its recipients.
#[derive(Debug)]
pub struct Error {
    /// What happened.
    pub(super) reason: Box<Reason>,
    /// Where the daemon is, when that is known.
    pub(super) daemon: Option<Box<Daemon>>,
}

/// The daemon that the message is for.
#[derive(Clone, Debug)]
pub(super) struct Daemon {
    pub(super) address: SocketAddr,
    /// Its configuration file.
    pub(super) config: Option<PathBuf>,
    /// The addresses from which it expects proxies.
    pub(super) proxies: Vec<IpNet>,
}

/// What happened.
#[derive(Debug)]
pub(super) enum Reason {
    /// The command line is wrong.
    Usage(UsageError),
    /// The sender is not one address.
    Sender(String),
    /// The command line has no recipients, and `-t` was not given.
    NobodyNamed,
    /// The configuration is wrong.
    Config(config::Error),
    /// The configuration has no listener for SMTP.
    NoListener,
    /// The listener has any free port.
    AnyPort,
    /// Standard input cannot be read.
    Input(io::Error),
    /// Standard output cannot be written to.
    Output(io::Error),
    /// The header section does not end within the limit.
    HeaderTooLong,
    /// The header section, which is searched for recipients, has a CR that ends no line.
    BareCr,
    /// There is a Bcc field behind a line that is not a field.
    HiddenBcc,
    /// There is no recipient at all, or none that is an address.
    NoRecipient(Option<Fault>),
    /// There are too many recipients.
    TooManyRecipients,
    /// An address needs SMTPUTF8, which the daemon does not offer.
    NoSmtpUtf8,
    /// The message is larger than the daemon accepts.
    TooLarge(u64),
    /// The connection cannot be opened.
    Away(io::Error),
    /// The dialogue failed.
    Dialogue(Failure),
    /// Some recipients did not get the message.
    Recipients {
        /// Each with the reason.
        refused: Vec<Refused>,
        /// How many got it.
        accepted: usize,
    },
}

/// A recipient who does not get the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refused {
    /// The reason, beginning with the recipient.
    pub(super) reason: String,
    /// Whether another attempt might succeed.
    pub(super) is_transient: bool,
}

impl Error {
    /// The exit code.
    pub(in crate::commands) fn exit_code(&self) -> u8 {
        match &*self.reason {
            Reason::Usage(_) | Reason::Sender(_) | Reason::NobodyNamed => exit::COMMAND_LINE,
            Reason::Config(_) | Reason::NoListener | Reason::AnyPort => exit::CONFIGURATION,
            Reason::Input(_) | Reason::Output(_) => exit::INPUT_OUTPUT,
            Reason::Away(_) => exit::TRY_LATER,
            Reason::Dialogue(failure) if failure.is_transient() => exit::TRY_LATER,
            Reason::Dialogue(_)
            | Reason::HeaderTooLong
            | Reason::BareCr
            | Reason::HiddenBcc
            | Reason::NoRecipient(_)
            | Reason::TooManyRecipients
            | Reason::NoSmtpUtf8
            | Reason::TooLarge(_) => exit::DATA,
            // Whoever tries again sends to all, so this is only for a message that nobody has.
            Reason::Recipients { refused, accepted } => {
                if *accepted == 0 && refused.iter().all(|it| it.is_transient) {
                    exit::TRY_LATER
                } else {
                    exit::NO_USER
                }
            }
        }
    }

    /// Whether nothing was tried because the command line or the configuration is wrong.
    pub(in crate::commands) fn is_usage(&self) -> bool {
        [exit::COMMAND_LINE, exit::CONFIGURATION].contains(&self.exit_code())
    }
}

impl From<Reason> for Error {
    fn from(reason: Reason) -> Self {
        Self {
            reason: Box::new(reason),
            daemon: None,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(daemon) = &self.daemon {
            write!(f, "{}: ", daemon.address)?;
        }
        match &*self.reason {
            Reason::Usage(error) => error.fmt(f),
            Reason::Sender(text) => write!(
                f,
                "-f \"{}\" is not an address: write -f alice@example.com, or -f \"\" if no report \
                 of a failure is wanted",
                quoted(text)
            ),
            Reason::NobodyNamed => f.write_str(
                "there are no recipients: put them at the end of the command line, or use -t to \
                 read them from the message (see --help)",
            ),
            Reason::Config(error) => error.fmt(f),
            Reason::NoListener => f.write_str(
                "smtp: \"off\" in the configuration, so a message cannot be sent: name the \
                 configuration of the daemon with -C FILE",
            ),
            Reason::AnyPort => f.write_str(
                "smtp: port 0 means any free port, and only the daemon knows which one: configure \
                 a fixed port",
            ),
            Reason::Input(_) => f.write_str("cannot read the message from standard input"),
            Reason::Output(_) => f.write_str("cannot write to standard output"),
            Reason::HeaderTooLong => write!(
                f,
                "the header section of the message has more than {} octets: shorten it",
                limits::BEGINNING_OCTETS_MAX
            ),
            Reason::BareCr => f.write_str(
                "the header section of the message has a CR without LF, so its recipients are not \
                 certain: end lines with LF or CRLF",
            ),
            Reason::HiddenBcc => f.write_str(
                "the message has a Bcc field behind a line that is not a field, so everybody would \
                 see it: correct that line, or put an empty line before the body",
            ),
            Reason::NoRecipient(None) => f.write_str(
                "the message has no recipients: there is no address in To, Cc or Bcc, and none on \
                 the command line",
            ),
            Reason::NoRecipient(Some(fault)) => {
                write!(f, "the message has no valid recipient: {fault}")
            }
            Reason::TooManyRecipients => write!(
                f,
                "the message has more than {} recipients: send it in parts",
                limits::RECIPIENTS_MAX
            ),
            Reason::NoSmtpUtf8 => f.write_str(
                "an address has characters outside ASCII, and the server does not offer SMTPUTF8",
            ),
            Reason::TooLarge(octets) => write!(
                f,
                "the message was not sent: the daemon accepts at most {octets} octets \
                 (limits.message_octets)"
            ),
            Reason::Away(source) => {
                let config = self.daemon.as_ref().and_then(|it| it.config.as_ref());
                write!(f, "no daemon answers ({source}): start it with `facteur")?;
                if let Some(config) = config {
                    write!(f, " --config {}", config.display())?;
                }
                f.write_str("`, or name its configuration with -C FILE")
            }
            Reason::Dialogue(failure) => failure.fmt(f),
            Reason::Recipients { refused, accepted } => write_refused(f, refused, *accepted),
        }
    }
}

fn write_refused(f: &mut fmt::Formatter<'_>, refused: &[Refused], accepted: usize) -> fmt::Result {
    f.write_str(match accepted {
        0 => "the message was not sent: ",
        _ => "the message was sent, but not to these recipients: ",
    })?;
    let named = refused.iter().take(limits::NAMED_RECIPIENTS_MAX);
    let named: Vec<&str> = named.map(|it| it.reason.as_str()).collect();
    f.write_str(&named.join("; "))?;
    match refused.len().saturating_sub(named.len()) {
        0 => Ok(()),
        more => write!(f, "; and {more} more"),
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.reason {
            Reason::Config(error) => error.source(),
            Reason::Input(source) | Reason::Output(source) => Some(source),
            Reason::Dialogue(failure) => failure.source(),
            Reason::Usage(_)
            | Reason::Sender(_)
            | Reason::NobodyNamed
            | Reason::NoListener
            | Reason::AnyPort
            | Reason::HeaderTooLong
            | Reason::BareCr
            | Reason::HiddenBcc
            | Reason::NoRecipient(_)
            | Reason::TooManyRecipients
            | Reason::NoSmtpUtf8
            | Reason::TooLarge(_)
            | Reason::Away(_)
            | Reason::Recipients { .. } => None,
        }
    }
}
