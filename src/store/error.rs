//! What can go wrong in the store: one enum for the room.
//!
//! The text is for the log and for whoever starts the daemon, never for a mail client: it names
//! paths. It does not repeat what `source` says.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::mail::MailboxName;

/// Why the store could not do what it was asked for. It can be cloned, because one failure may be
/// that of many: of all who have a message in the same batch of the journal.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The disk or the quota is full, or the reserve would be touched. Refuse the delivery for now
    /// (RFC 5321 §4.2.3, 452).
    Full {
        /// What was being done, as an infinitive.
        operation: &'static str,
        /// The file or directory it was done to.
        path: PathBuf,
        /// What the system said; none when the store refused beforehand.
        source: Option<Arc<io::Error>>,
    },
    /// The maildrop is open in another session (RFC 1939 §4, RFC 2449 §8.1.1). Ask again later.
    InUse {
        /// The mailbox it belongs to.
        mailbox: MailboxName,
    },
    /// The file system failed. Nothing was promised; ask again later.
    Io {
        /// What was being done, as an infinitive.
        operation: &'static str,
        /// The file or directory it was done to.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The listing of the maildrop finds no room beside those of others (SEC-9). Ask again later.
    ListingTooLarge {
        /// The Maildir.
        path: PathBuf,
    },
    /// Another program removed the message since the maildrop was opened.
    MessageGone {
        /// Where the message was.
        path: PathBuf,
    },
    /// The address has no directory name that the file system takes. Refuse the recipient.
    NameTooLong {
        /// The mailbox that cannot be.
        mailbox: MailboxName,
    },
    /// The directory of the store cannot be made at the start. Make the one it is to lie in, or
    /// name another.
    NoDirectory {
        /// The directory that is missing.
        path: PathBuf,
        /// What the system said.
        source: Arc<io::Error>,
    },
    /// The journal could not be written several times in a row. Nothing was promised; ask again
    /// later.
    OutOfOrder {
        /// Where the journal lies.
        path: PathBuf,
    },
    /// Another daemon serves this store (I11).
    StoreInUse {
        /// The lock that it holds.
        path: PathBuf,
    },
    /// Something is not as private or not of the kind that it has to be (SEC-6).
    Unsafe {
        /// The file or directory in question.
        path: PathBuf,
        /// What is wrong and what to do about it, as the end of a sentence.
        reason: &'static str,
    },
}

impl Error {
    /// Whether the same call may succeed later without anything changed in it: the transient
    /// failures of RFC 5321 §4.2.1.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Full { .. }
            | Self::InUse { .. }
            | Self::Io { .. }
            | Self::ListingTooLarge { .. }
            | Self::NoDirectory { .. }
            | Self::OutOfOrder { .. }
            | Self::StoreInUse { .. }
            // It takes an operator, but mail need not bounce until he comes.
            | Self::Unsafe { .. } => true,
            Self::MessageGone { .. } | Self::NameTooLong { .. } => false,
        }
    }

    /// Makes the function that turns what the system said into an error of the store.
    pub(super) fn io(
        operation: &'static str,
        path: impl AsRef<Path>,
    ) -> impl FnOnce(io::Error) -> Self {
        move |source| {
            let source = Arc::new(source);
            let path = path.as_ref().to_owned();
            let full = matches!(
                source.kind(),
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
            );
            if full {
                Self::Full {
                    operation,
                    path,
                    source: Some(source),
                }
            } else {
                Self::Io {
                    operation,
                    path,
                    source,
                }
            }
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full {
                operation,
                path,
                source: Some(_),
            }
            | Self::Io {
                operation, path, ..
            } => {
                write!(f, "cannot {operation} {}", path.display())
            }
            Self::Full {
                operation,
                path,
                source: None,
            } => {
                write!(
                    f,
                    "cannot {operation} {}: too little free space",
                    path.display()
                )
            }
            Self::InUse { mailbox } => {
                write!(f, "the maildrop of {mailbox} is open in another session")
            }
            Self::ListingTooLarge { path } => write!(
                f,
                "cannot list {}: open maildrops take as much memory as they may",
                path.display()
            ),
            Self::MessageGone { path } => {
                write!(f, "another program removed {}", path.display())
            }
            Self::NameTooLong { mailbox } => {
                write!(f, "the address {mailbox} is too long for a directory name")
            }
            Self::NoDirectory { path, .. } => write!(
                f,
                "cannot make the mail directory {}: the directory it lies in has to exist and be \
                 writable (if it was removed while facteur ran, start facteur again)",
                path.display()
            ),
            Self::OutOfOrder { path } => write!(
                f,
                "the journal in {} cannot be written: no mail is taken until it works again",
                path.display()
            ),
            Self::StoreInUse { path } => write!(
                f,
                "another facteur serves this mail directory (it holds {}): stop it, or choose \
                 another directory",
                path.display()
            ),
            Self::Unsafe { path, reason } => write!(f, "{} {reason}", path.display()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. }
            | Self::NoDirectory { source, .. }
            | Self::Full {
                source: Some(source),
                ..
            } => Some(&**source),
            Self::Full { source: None, .. }
            | Self::InUse { .. }
            | Self::ListingTooLarge { .. }
            | Self::MessageGone { .. }
            | Self::NameTooLong { .. }
            | Self::OutOfOrder { .. }
            | Self::StoreInUse { .. }
            | Self::Unsafe { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_full_quota_are_told_from_other_failures() {
        for (kind, full) in [
            (io::ErrorKind::StorageFull, true),
            (io::ErrorKind::QuotaExceeded, true),
            (io::ErrorKind::PermissionDenied, false),
            (io::ErrorKind::Other, false),
        ] {
            let error = Error::io("write", "a/b")(kind.into());
            assert_eq!(matches!(error, Error::Full { .. }), full, "{kind}");
            assert_eq!(error.to_string(), "cannot write a/b");
            assert!(error.is_transient());
        }
    }

    #[test]
    fn a_message_gone_or_an_address_too_long_stays_so() {
        let mailbox = MailboxName::from_canonical("bob", "example.org").unwrap();
        assert!(!Error::NameTooLong { mailbox }.is_transient());
        assert!(
            !Error::MessageGone {
                path: PathBuf::from("a")
            }
            .is_transient()
        );
    }
}
