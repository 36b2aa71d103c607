//! What the store is told when it is opened.

use std::path::PathBuf;

use super::{event::Observer, limits};

/// What the store has to be told.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The directory of all mail; it is made when it is missing, but not the one it lies in.
    pub root: PathBuf,
    /// The name of this host, for the names of message files.
    pub hostname: String,
    /// How messages are made durable.
    pub durability: Durability,
    /// Who is told what nobody asked for.
    pub observer: Observer,
    /// How much memory it may take.
    pub memory: Memory,
}

impl Settings {
    /// The store at `root` on the host with this name, and nobody to be told of events.
    pub fn new(root: impl Into<PathBuf>, hostname: &str) -> Self {
        Self {
            root: root.into(),
            hostname: hostname.to_owned(),
            durability: Durability::default(),
            observer: Observer::default(),
            memory: Memory::default(),
        }
    }
}

/// Octets of memory that the store may take at most, each for all together (SEC-9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Content that deliveries hold. Beyond it content goes to a file at once, whatever its size,
    /// and takes the direct way.
    pub held: u64,
    /// Listings of open maildrops. Beyond it a maildrop cannot be opened for now.
    pub listed: u64,
    /// Listings of maildrops that were open. Beyond it the one used longest ago is forgotten.
    pub remembered: u64,
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            held: limits::HELD_OCTETS_MAX,
            listed: limits::LISTED_OCTETS_MAX,
            remembered: limits::INDEX_OCTETS_MAX,
        }
    }
}

/// How what is acknowledged is made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// In a journal in front of the Maildirs, many messages with one sync.
    Journal {
        /// Octets of one segment: a multiple of 4,096, and at least three times that.
        segment_octets: u64,
        /// How many segments there are: at least 2.
        segments: usize,
    },
    /// In the Maildirs, each message with syncs of its own.
    Maildir,
    /// Not at all: a power cut loses what was acknowledged.
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
