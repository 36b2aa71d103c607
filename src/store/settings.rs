//! The settings with which the store is opened.

use std::path::PathBuf;

#[cfg(feature = "postgres")]
use super::postgres::Access;
use super::{event::Observer, limits};

/// The settings of the store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory of all mail; it is created if it is missing, but its parent is not.
    pub root: PathBuf,
    /// The name of this host, for the names of message files.
    pub hostname: String,
    /// How messages are made durable.
    pub durability: Durability,
    /// The observer of events that no caller asked about.
    pub observer: Observer,
    /// How much memory the store may use.
    pub memory: Memory,
    /// The database that has the mail instead of `root`, if there is one.
    #[cfg(feature = "postgres")]
    pub database: Option<Database>,
}

impl Settings {
    /// The settings of a store at `root` on the host with this name; events are ignored.
    pub fn new(root: impl Into<PathBuf>, hostname: &str) -> Self {
        Self {
            root: root.into(),
            hostname: hostname.to_owned(),
            durability: Durability::default(),
            observer: Observer::default(),
            memory: Memory::default(),
            #[cfg(feature = "postgres")]
            database: None,
        }
    }
}

/// A database with all mailboxes.
#[cfg(feature = "postgres")]
#[derive(Clone, Debug)]
pub struct Database {
    /// How it is reached.
    pub access: Access,
    /// Whether it may have one server only: then mail that was acknowledged is lost with it.
    pub is_single: bool,
}

/// The most memory that the store may use, in octets, each for all sessions together (SEC-9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// For content that deliveries hold. Beyond it, content goes to a file immediately, whatever
    /// its size, and bypasses the journal.
    pub held: u64,
    /// For listings of open maildrops. Beyond it, no maildrop can be opened for now.
    pub listed: u64,
    /// For listings of maildrops that were open. Beyond it, the least recently used one is
    /// forgotten.
    pub remembered: u64,
    /// For listings of all that only look. Beyond it, nobody can look at a mailbox for now.
    pub looked: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            held: limits::HELD_OCTETS_MAX,
            listed: limits::LISTED_OCTETS_MAX,
            remembered: limits::INDEX_OCTETS_MAX,
            looked: limits::LOOKED_OCTETS_MAX,
        }
    }
}

/// How acknowledged messages are made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In a journal in front of the Maildirs: one sync for many messages.
    Journal {
        /// Octets of one segment: a multiple of 4,096, and at least three times that.
        segment_octets: u64,
        /// How many segments there are: at least 2.
        segments: usize,
    },
    /// In the Maildirs, each message with its own syncs.
    Maildir,
    /// Not at all: a power cut loses acknowledged messages.
    None,
}

impl Default for Durability {
    fn default() -> Self {
        Self::Journal {
            segment_octets: limits::SEGMENT_OCTETS,
            segments: limits::SEGMENTS,
        }
    }
}
