//! What the store has to tell whoever runs the daemon, beside the errors of its callers.
//!
//! The store does not log. It tells an [`Observer`], which is given with the settings.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::mail::MailboxName;

/// Something that nobody asked for, or that takes long.
#[derive(Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// What was in the journal cannot be made durable in the Maildirs. It stays in the journal and
    /// is tried again; mail is taken as long as there is room.
    CheckpointFailed {
        /// Why.
        error: &'a super::Error,
    },
    /// It can again.
    CheckpointRestored,
    /// No mail can be put into one mailbox. Others are not affected, and what was acknowledged
    /// waits for it.
    MailboxAiling {
        /// Which one.
        mailbox: &'a MailboxName,
        /// How many messages wait for it.
        waiting: usize,
        /// Why.
        error: &'a super::Error,
    },
    /// It can again, and what waited for it is there.
    MailboxCured {
        /// Which one.
        mailbox: &'a MailboxName,
        /// How many messages waited for it.
        delivered: usize,
    },
    /// A batch of the journal could not be written: the senders were told.
    JournalFailed {
        /// Why.
        error: &'a super::Error,
        /// Whether no more mail is taken for the time being.
        is_out_of_order: bool,
    },
    /// The journal can be written again.
    JournalRestored,
    /// An acknowledged message can neither be put into its mailboxes nor be set aside for them. It
    /// stays in the journal and is tried again; no mail is taken until then.
    NotDelivered {
        /// Why.
        error: &'a super::Error,
    },
    /// The journal has lost batches: the disk did not keep what it said it had. The segments are
    /// set aside.
    JournalDamaged {
        /// How many batches are missing.
        missing: u64,
        /// Where the segments are now.
        kept_in: PathBuf,
    },
    /// The file system is not known to keep what a sync of the whole promises.
    FileByFile {
        /// Where the mail lies.
        root: &'a Path,
    },
    /// What the store needs was replaced under it: no mail is taken until a restart.
    Replaced {
        /// What was replaced.
        error: &'a super::Error,
    },
    /// Blocks of a segment of the journal cannot be read.
    JournalUnreadable {
        /// The segment.
        path: &'a Path,
        /// How many; none when the file cannot even be opened.
        blocks: Option<u64>,
        /// What the system said.
        reason: &'a io::Error,
        /// Where the segments are now, if there may have been something that counts.
        kept_in: Option<&'a Path>,
    },
    /// A start after a crash works on what the journal had.
    Replaying {
        /// Records used so far.
        done: u64,
        /// Records in all.
        total: u64,
    },
    /// A start after a crash is through with it.
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
    /// Nothing to be done.
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
            Self::MailboxAiling { .. }
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

    /// What may be done about it, as a sentence, where that is known.
    pub fn cure(&self) -> Option<&'static str> {
        let Self::MailboxAiling { error, .. } = self else {
            return None;
        };
        Some(error.cure()).filter(|cure| !cure.is_empty())
    }

    /// Says that blocks of a segment cannot be read, and whether that matters.
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
            None => write!(f, "the disk cannot open {path} ({reason}); ")?,
            Some(1) => write!(f, "the disk cannot read 1 block of {path} ({reason}); ")?,
            Some(n) => write!(f, "the disk cannot read {n} blocks of {path} ({reason}); ")?,
        }
        match kept_in {
            None => f.write_str("nothing needed was there"),
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
                "what is in the journal cannot be made durable in the Maildirs; it stays in the \
                 journal",
            ),
            Self::CheckpointRestored => f.write_str("the Maildirs can be made durable again"),
            Self::MailboxAiling {
                mailbox, waiting, ..
            } => {
                write!(f, "no mail can be put into the mailbox {mailbox}")?;
                match waiting {
                    0 => f.write_str("; its senders are asked to come again"),
                    1 => f.write_str("; 1 message waits for it"),
                    _ => write!(f, "; {waiting} messages wait for it"),
                }
            }
            Self::MailboxCured { mailbox, delivered } => {
                write!(f, "mail can be put into the mailbox {mailbox} again")?;
                match delivered {
                    0 => Ok(()),
                    1 => f.write_str("; 1 message that waited is there"),
                    _ => write!(f, "; {delivered} messages that waited are there"),
                }
            }
            Self::JournalFailed {
                is_out_of_order: false,
                ..
            } => f.write_str("the journal failed; the next message goes to another segment"),
            Self::JournalFailed {
                is_out_of_order: true,
                ..
            } => f.write_str("the journal failed again; no mail is taken until it works"),
            Self::JournalRestored => f.write_str("the journal works again"),
            Self::NotDelivered { .. } => f.write_str(
                "a message can neither be put into its mailbox nor be set aside; it stays in the \
                 journal, and no mail is taken until it can",
            ),
            Self::FileByFile { root } => write!(
                f,
                "the file system of {} is not known to save data when it is synced as a whole: \
                 mail is synced file by file, which is slower",
                root.display()
            ),
            Self::Replaced { .. } => f.write_str("a message was refused: restart facteur"),
            Self::JournalUnreadable { .. } => self.say_unreadable(f),
            Self::JournalDamaged { missing, kept_in } => write!(
                f,
                "the journal has lost {missing} batches that the disk had said it kept; \
                 acknowledged messages may be missing. What is left was used, and the segments \
                 are in {}",
                kept_in.display()
            ),
            Self::Replaying { done, total } => {
                write!(f, "replaying the journal: {done} of {total} records")
            }
            Self::Replayed {
                messages,
                removed,
                took,
            } => {
                let plural = if *messages == 1 { "" } else { "s" };
                let secs = took.as_secs_f64();
                write!(
                    f,
                    "the last run did not end in order: replayed {messages} message{plural} from \
                     the journal, left out {removed} that were removed, in {secs:.1} s"
                )
            }
        }
    }
}

/// Who is told of events.
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
    /// Nobody.
    fn default() -> Self {
        Self::new(|_| ())
    }
}

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}
