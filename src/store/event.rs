//! Events that the store reports to the operator, apart from the errors that it returns to its
//! callers.
//!
//! The store does not log. It passes events to an [`Observer`], which comes with the settings.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::mail::MailboxName;

/// Something that no caller asked about, or that takes long.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Mail in the journal cannot be made durable in the Maildirs. It stays in the journal and is
    /// tried again; mail is accepted while there is room.
    CheckpointFailed {
        /// Why.
        error: &'a super::Error,
    },
    /// The Maildirs can be made durable again.
    CheckpointRestored,
    /// No mail can be put into one mailbox. Others are not affected, and acknowledged messages wait
    /// for it.
    MailboxAiling {
        /// Which one.
        mailbox: &'a MailboxName,
        /// How many messages wait for it.
        waiting: usize,
        /// Why.
        error: &'a super::Error,
    },
    /// The inbox cannot show everything that is there. It is told once for each mailbox, until that
    /// can be shown again.
    MailHidden {
        /// Which mailbox; `None` if whole domains are missing.
        mailbox: Option<&'a MailboxName>,
        /// Why; `None` if there are too many messages.
        error: Option<&'a super::Error>,
    },
    /// Mail can be put into it again, and the messages that waited for it are there.
    MailboxCured {
        /// Which one.
        mailbox: &'a MailboxName,
        /// How many messages waited for it.
        delivered: usize,
    },
    /// A batch of the journal could not be written; its senders got an error.
    JournalFailed {
        /// Why.
        error: &'a super::Error,
        /// Whether no more mail is accepted for the time being.
        is_out_of_order: bool,
    },
    /// The journal can be written again.
    JournalRestored,
    /// An acknowledged message can neither be put into its mailboxes nor be set aside for them. It
    /// stays in the journal and is tried again; no mail is accepted until that succeeds.
    NotDelivered {
        /// Why.
        error: &'a super::Error,
    },
    /// The journal has lost batches: the disk did not keep what it had confirmed. The segments are
    /// set aside.
    JournalDamaged {
        /// How many batches are missing.
        missing: u64,
        /// Where the segments are now.
        kept_in: PathBuf,
    },
    /// The file system is not known to save data when it is synced as a whole.
    FileByFile {
        /// Where the mail is.
        root: &'a Path,
    },
    /// Something that the store needs was replaced while it was open: no mail is accepted until a
    /// restart.
    Replaced {
        /// What was replaced.
        error: &'a super::Error,
    },
    /// Blocks of a segment of the journal cannot be read.
    JournalUnreadable {
        /// The segment.
        path: &'a Path,
        /// How many; `None` if the file cannot even be opened.
        blocks: Option<u64>,
        /// The system's error.
        reason: &'a io::Error,
        /// Where the segments are now, if something that counts may have been in those blocks.
        kept_in: Option<&'a Path>,
    },
    /// The database cannot be used: sessions end, and soon no mail is accepted.
    #[cfg(feature = "postgres")]
    DatabaseLost {
        /// Why.
        error: &'a super::Error,
    },
    /// The database can be used again.
    #[cfg(feature = "postgres")]
    DatabaseFound,
    /// A server waits for fewer standbys than it names. If it lives on unnoticed after another has
    /// taken over, with one of them, mail that it acknowledges is lost.
    #[cfg(feature = "postgres")]
    StandbysDiffer {
        /// What `synchronous_standby_names` says.
        names: &'a str,
    },
    /// A start after a crash is replaying the journal.
    Replaying {
        /// Records used so far.
        done: u64,
        /// Records in all.
        total: u64,
    },
    /// A start after a crash has replayed the journal.
    Replayed {
        /// Messages put into mailboxes.
        messages: u64,
        /// Messages not brought back because they were removed.
        removed: u64,
        /// How long it took.
        took: Duration,
    },
}

/// How much an event matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// Nothing needs to be done.
    Notice,
    /// Something is wrong.
    Warning,
    /// Somebody should look at it.
    Alarm,
}

impl Event<'_> {
    /// How much it matters.
    pub fn severity(&self) -> Severity {
        match self {
            Self::CheckpointRestored
            | Self::FileByFile { .. }
            | Self::JournalRestored
            | Self::MailboxCured { .. }
            | Self::Replaying { .. }
            | Self::Replayed { .. } => Severity::Notice,
            #[cfg(feature = "postgres")]
            Self::DatabaseFound => Severity::Notice,
            #[cfg(feature = "postgres")]
            Self::StandbysDiffer { .. } => Severity::Warning,
            #[cfg(feature = "postgres")]
            Self::DatabaseLost { .. } => Severity::Alarm,
            Self::MailHidden { .. }
            | Self::MailboxAiling { .. }
            | Self::NotDelivered { .. }
            | Self::JournalFailed {
                is_out_of_order: false,
                ..
            }
            | Self::JournalUnreadable { kept_in: None, .. } => Severity::Warning,
            Self::CheckpointFailed { .. }
            | Self::JournalDamaged { .. }
            | Self::JournalFailed {
                is_out_of_order: true,
                ..
            }
            | Self::JournalUnreadable {
                kept_in: Some(_), ..
            }
            | Self::Replaced { .. } => Severity::Alarm,
        }
    }

    /// The error behind it, where there is one.
    pub fn error(&self) -> Option<&super::Error> {
        #[cfg(feature = "postgres")]
        if let Self::DatabaseLost { error } = self {
            return Some(error);
        }
        if let Self::MailHidden { error, .. } = self {
            return *error;
        }
        let (Self::CheckpointFailed { error }
        | Self::JournalFailed { error, .. }
        | Self::MailboxAiling { error, .. }
        | Self::NotDelivered { error }
        | Self::Replaced { error }) = self
        else {
            return None;
        };
        Some(error)
    }

    /// What can be done about it, as a sentence, if that is known.
    pub fn cure(&self) -> Option<&'static str> {
        let (Self::MailboxAiling { error, .. }
        | Self::MailHidden {
            error: Some(error), ..
        }) = self
        else {
            return None;
        };
        Some(error.cure()).filter(|cure| !cure.is_empty())
    }

    /// Writes what is not shown.
    fn say_hidden(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::MailHidden { mailbox, error } = self else {
            return Ok(());
        };
        let Some(mailbox) = mailbox else {
            return f.write_str("the inbox cannot show all mailboxes");
        };
        if error.is_some() {
            return write!(
                f,
                "the inbox cannot show all messages of the mailbox {mailbox}"
            );
        }
        write!(
            f,
            "the inbox does not show the mailbox {mailbox}: there are too many messages for its \
             memory"
        )
    }

    /// Writes what a start has replayed.
    fn say_replayed(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Replayed {
            messages,
            removed,
            took,
        } = self
        else {
            return Ok(());
        };
        let plural = if *messages == 1 { "" } else { "s" };
        let secs = took.as_secs_f64();
        write!(
            f,
            "the last run did not end cleanly: replayed {messages} message{plural} from the \
             journal, skipped {removed} that had been removed, in {secs:.1} s"
        )
    }

    /// Writes what is to be known of the database.
    #[cfg(feature = "postgres")]
    fn say_of_database(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::StandbysDiffer { names } = self {
            return write!(
                f,
                "the database names more standbys than it waits for ({names}): if another server \
                 takes over while the old one lives on unnoticed, mail is lost. Name one, or wait \
                 for all",
            );
        }
        f.write_str(if matches!(self, Self::DatabaseFound) {
            "the database can be used again"
        } else {
            "the database cannot be used"
        })
    }

    /// Writes that blocks of a segment cannot be read, and whether that matters.
    fn say_unreadable(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::JournalUnreadable {
            path,
            blocks,
            reason,
            kept_in,
        } = self
        else {
            return Ok(());
        };
        let path = path.display();
        match blocks {
            None => write!(f, "cannot open {path} ({reason}); ")?,
            Some(1) => write!(f, "the disk cannot read 1 block of {path} ({reason}); ")?,
            Some(n) => write!(f, "the disk cannot read {n} blocks of {path} ({reason}); ")?,
        }
        match kept_in {
            None => f.write_str("nothing there is still needed"),
            Some(kept_in) => write!(
                f,
                "something needed may have been there, so acknowledged messages may be missing. \
                 The segments are in {}",
                kept_in.display()
            ),
        }
    }
}

impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CheckpointFailed { .. } => f.write_str(
                "mail in the journal cannot be made durable in the Maildirs; it stays in the \
                 journal",
            ),
            Self::CheckpointRestored => f.write_str("the Maildirs can be made durable again"),
            Self::MailboxAiling {
                mailbox, waiting, ..
            } => {
                write!(f, "no mail can be put into the mailbox {mailbox}")?;
                match waiting {
                    0 => f.write_str("; its senders are asked to try again later"),
                    1 => f.write_str("; 1 message waits for it"),
                    _ => write!(f, "; {waiting} messages wait for it"),
                }
            }
            Self::MailHidden { .. } => self.say_hidden(f),
            Self::MailboxCured { mailbox, delivered } => {
                write!(f, "mail can be put into the mailbox {mailbox} again")?;
                match delivered {
                    0 => Ok(()),
                    1 => f.write_str("; 1 message that waited was delivered"),
                    _ => write!(f, "; {delivered} messages that waited were delivered"),
                }
            }
            Self::JournalFailed {
                is_out_of_order: false,
                ..
            } => f.write_str("the journal failed; the next message goes to another segment"),
            Self::JournalFailed {
                is_out_of_order: true,
                ..
            } => f.write_str("the journal failed again; no mail is accepted until it works"),
            Self::JournalRestored => f.write_str("the journal works again"),
            Self::NotDelivered { .. } => f.write_str(
                "a message can neither be put into its mailbox nor be set aside; it stays in the \
                 journal, and no mail is accepted until it is delivered",
            ),
            Self::FileByFile { root } => write!(
                f,
                "the file system of {} is not known to save data when it is synced as a whole: \
                 mail is synced file by file, which is slower",
                root.display()
            ),
            Self::Replaced { .. } => f.write_str("no mail is accepted"),
            Self::JournalUnreadable { .. } => self.say_unreadable(f),
            Self::JournalDamaged { missing, kept_in } => write!(
                f,
                "the journal has lost {missing} {} that the disk had confirmed; acknowledged \
                 messages may be missing. The rest was used, and the segments are in {}",
                if *missing == 1 { "batch" } else { "batches" },
                kept_in.display()
            ),
            #[cfg(feature = "postgres")]
            Self::DatabaseLost { .. } | Self::DatabaseFound | Self::StandbysDiffer { .. } => {
                self.say_of_database(f)
            }
            Self::Replaying { done, total } => {
                write!(f, "replaying the journal: {done} of {total} records")
            }
            Self::Replayed { .. } => self.say_replayed(f),
        }
    }
}

/// The function that is called with each event.
#[derive(Clone)]
pub struct Observer(Arc<dyn Fn(&Event<'_>) + Send + Sync>);

impl Observer {
    /// Calls `tell` with each event, from any thread and never with a lock of the store held.
    pub fn new(tell: impl Fn(&Event<'_>) + Send + Sync + 'static) -> Self {
        Self(Arc::new(tell))
    }

    pub(super) fn tell(&self, event: &Event<'_>) {
        (self.0)(event);
    }
}

impl Default for Observer {
    /// Ignores all events.
    fn default() -> Self {
        Self::new(|_| ())
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
