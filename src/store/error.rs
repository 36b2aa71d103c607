//! What can go wrong in the store, as one enum for the whole room.
//!
//! The text is for the log and for the operator, never for a mail client, because it names paths.
//! It does not repeat the text of `source`.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustix::io::Errno;

use crate::mail::MailboxName;

use super::room::Room;

/// Why the store could not do what it was asked to do. It can be cloned, because all who have a
/// message in the same batch of the journal share one failure.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Error {
    /// The file system does not grant a lock. Do not start; the text says what to do.
    CannotLock {
        /// What was to be locked.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// Some of several maildrops that are needed at the same time are open in other sessions.
    /// Nothing was done; try again later.
    Busy {
        /// The mailboxes that they belong to, in order.
        mailboxes: Vec<MailboxName>,
    },
    /// The disk or the quota is full, or the reserve would be used. Refuse the delivery for now
    /// (RFC 5321 §4.2.3, 452).
    Full {
        /// What was being done, as an infinitive.
        operation: &'static str,
        /// The file or directory it was done to.
        path: PathBuf,
        /// How much is free; `None` if the system refused.
        room: Option<Room>,
        /// The system's error; `None` if the store refused beforehand.
        source: Option<Arc<io::Error>>,
    },
    /// The maildrop is open in another session (RFC 1939 §4, RFC 2449 §8.1.2). Try again later.
    InUse {
        /// The mailbox it belongs to.
        mailbox: MailboxName,
    },
    /// The file system failed. Nothing was promised; try again later.
    Io {
        /// What was being done, as an infinitive.
        operation: &'static str,
        /// The file or directory it was done to.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// There is no memory for the listing of the maildrop beside those of others (SEC-9). Try again
    /// later.
    ListingTooLarge {
        /// The Maildir.
        path: PathBuf,
    },
    /// Another program removed the message since the maildrop was opened.
    MessageGone {
        /// Where the message was.
        path: PathBuf,
    },
    /// The address has no directory name that the file system accepts. Refuse the recipient.
    NameTooLong {
        /// The mailbox that cannot exist.
        mailbox: MailboxName,
    },
    /// The directory of the store cannot be created at the start. Create its parent, or name
    /// another directory.
    NoDirectory {
        /// The directory that is missing.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// Writing the journal failed several times in a row. Nothing was promised; try again later.
    OutOfOrder {
        /// Where the journal is.
        path: PathBuf,
    },
    /// The mail directory, or what the store keeps in it, is no longer what was opened: somebody
    /// moved or replaced it while the daemon was running. Nothing was promised; only a restart
    /// helps.
    Replaced {
        /// What was replaced.
        path: PathBuf,
    },
    /// Another node serves the database, which is needed alone.
    Served {
        /// The database.
        path: PathBuf,
    },
    /// Another daemon serves this store (I11).
    StoreInUse {
        /// The lock that it holds.
        path: PathBuf,
        /// The number of its process, if that could be found.
        process: Option<u32>,
    },
    /// Something is not private enough, or not of the right kind (SEC-6).
    Unsafe {
        /// The file or directory in question.
        path: PathBuf,
        /// What is wrong and what to do about it, as the end of a sentence.
        reason: &'static str,
        /// A directory that could be the mail directory instead, if there is one.
        instead: Option<PathBuf>,
    },
}

impl Error {
    /// Whether the same call, unchanged, may succeed later: the transient failures of RFC 5321
    /// §4.2.1.
    pub fn is_transient(&self) -> bool {
        // `Unsafe` needs an operator, but mail need not bounce until one comes.
        !matches!(self, Self::MessageGone { .. } | Self::NameTooLong { .. })
    }

    /// Whether it stays until somebody repairs what is on disk: its owner, its permissions, its
    /// kind.
    pub fn needs_operator(&self) -> bool {
        if let Self::Io { source, .. } = self {
            return is_of_place(source);
        }
        matches!(self, Self::Unsafe { .. })
    }

    /// Whether nothing had that name.
    pub(super) fn is_not_found(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the cause is the file or directory in question, and not the system, the disk or the
    /// daemon as a whole.
    pub(super) fn is_of_place(&self) -> bool {
        if let Self::Full { source, .. } = self {
            let kind = source.as_ref().map(|source| source.kind());
            return kind == Some(io::ErrorKind::QuotaExceeded);
        }
        self.needs_operator()
    }

    /// What the operator can do about it, as a sentence; empty if nothing is known to help.
    pub fn cure(&self) -> &'static str {
        // The text of `Unsafe` says it.
        let (Self::Io { source, .. }
        | Self::Full {
            source: Some(source),
            ..
        }) = self
        else {
            return "";
        };
        let errno = Errno::from_io_error(source);
        let is = |kind| source.kind() == kind;
        if errno == Some(Errno::PERM) {
            "The directory may be immutable or append-only: check with lsattr, and clear that \
             with chattr -i -a"
        } else if errno == Some(Errno::LOOP) {
            "A symbolic link is where a directory should be: remove it"
        } else if errno == Some(Errno::UCLEAN) {
            "The file system is damaged: check it with fsck"
        } else if is(io::ErrorKind::PermissionDenied) {
            "Use chown -R to give the directory to the user that runs facteur, and chmod u+rwx to \
             let that user write there"
        } else if is(io::ErrorKind::NotADirectory) || is(io::ErrorKind::IsADirectory) {
            "A file is where a directory should be: remove it"
        } else if is(io::ErrorKind::ReadOnlyFilesystem) {
            "Mount the file system for writing"
        } else if is(io::ErrorKind::StorageFull) || is(io::ErrorKind::QuotaExceeded) {
            "Make room there, or raise the quota"
        } else {
            ""
        }
    }

    /// Makes the function that turns a system error into an error of the store.
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
                    room: None,
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

    /// The error that `operation` is not possible at `path`, for a reason that is not a system
    /// error.
    pub(super) fn other(
        operation: &'static str,
        path: impl AsRef<Path>,
        reason: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::io(operation, path)(io::Error::other(reason))
    }

    /// The error that `path` is no longer what was opened.
    pub(super) fn replaced(path: impl Into<PathBuf>) -> Self {
        Self::Replaced { path: path.into() }
    }

    /// The error that `path` is not as it has to be, with no directory to suggest instead.
    pub(super) fn not_safe(path: impl Into<PathBuf>, reason: &'static str) -> Self {
        Self::Unsafe {
            path: path.into(),
            reason,
            instead: None,
        }
    }
}

/// Text that says that there is too little room, and how much is free if that is known.
fn lack(room: Option<Room>) -> String {
    let room = room.map_or_else(String::new, |room| format!(" ({room})"));
    format!(": too little free space{room}")
}

/// Whether a system error concerns only one file or directory.
fn is_of_place(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::IsADirectory
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::InvalidFilename
            | io::ErrorKind::StaleNetworkFileHandle
            | io::ErrorKind::CrossesDevices
            | io::ErrorKind::TooManyLinks
    ) || matches!(
        Errno::from_io_error(error),
        Some(Errno::LOOP | Errno::UCLEAN)
    )
}

/// What to do about a file that could not be locked.
fn cure_of_lock(error: &io::Error) -> &'static str {
    if error.kind() == io::ErrorKind::PermissionDenied {
        "use chown to give it to the user that runs facteur; or, if it was made while facteur was \
         running, restart facteur"
    } else if error.kind() == io::ErrorKind::IsADirectory
        || Errno::from_io_error(error) == Some(Errno::LOOP)
    {
        "something else has this name: move it away"
    } else {
        "the file system of the mail directory must support flock (on NFS, start its lock service, \
         or mount it with local_lock=flock if no other machine uses the directory)"
    }
}

/// Text that says who serves a store.
fn in_use(path: &Path, process: Option<u32>) -> String {
    let process = process.map_or_else(|| "it".to_owned(), |it| format!("process {it}"));
    let path = path.display();
    format!(
        "another facteur serves this mail directory ({process} holds {path}): stop it, or choose \
         another directory"
    )
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CannotLock { path, source } => {
                let cure = cure_of_lock(source);
                write!(f, "cannot lock {}: {cure}", path.display())
            }
            Self::Io {
                operation, path, ..
            } => write!(f, "cannot {operation} {}", path.display()),
            Self::Full {
                operation,
                path,
                room,
                source,
            } => {
                let lack = source
                    .as_ref()
                    .map_or_else(|| lack(*room), |_| String::new());
                write!(f, "cannot {operation} {}{lack}", path.display())
            }
            Self::Busy { mailboxes } => {
                f.write_str("maildrops are open in other sessions:")?;
                mailboxes.iter().try_for_each(|it| write!(f, " {it}"))
            }
            Self::InUse { mailbox } => {
                write!(f, "the maildrop of {mailbox} is open in another session")
            }
            Self::ListingTooLarge { path } => write!(
                f,
                "cannot list {}: the open maildrops already use all the memory allowed for them",
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
                "cannot create the mail directory {}: the directory above it must exist and be \
                 writable (if it was removed while facteur was running, restart facteur)",
                path.display()
            ),
            Self::OutOfOrder { path } => write!(
                f,
                "the journal in {} cannot be written: no mail is accepted until it works again",
                path.display()
            ),
            Self::Replaced { path } => write!(
                f,
                "{} was moved or replaced while facteur was running, for example when a backup \
                 was restored: restart facteur; until then it neither accepts nor serves \
                 mail",
                path.display()
            ),
            Self::Served { path } => write!(
                f,
                "a facteur or another migrate uses {}: stop it on all machines (one that was \
                 killed counts for another 10 seconds)",
                path.display()
            ),
            Self::StoreInUse { path, process } => f.write_str(&in_use(path, *process)),
            Self::Unsafe {
                path,
                reason,
                instead,
            } => f.write_str(&refusal(path, reason, instead.as_deref())),
        }
    }
}

/// Text that says what is wrong with `path` and what to do, including a directory to use instead if
/// there is one.
fn refusal(path: &Path, reason: &str, instead: Option<&Path>) -> String {
    let mut text = format!("{} {reason}", path.display());
    if let Some(instead) = instead {
        text += "; or let facteur make a directory in it that is private: --mail ";
        text += &instead.display().to_string();
    }
    text
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let (Self::CannotLock { source, .. }
        | Self::Io { source, .. }
        | Self::NoDirectory { source, .. }
        | Self::Full {
            source: Some(source),
            ..
        }) = self
        else {
            return None;
        };
        Some(&**source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_full_quota_differ_from_other_failures() {
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
    fn a_missing_message_and_a_long_address_are_permanent_failures() {
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
