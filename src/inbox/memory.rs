//! How much memory an inbox may use (SEC-9).

use super::limits::{INDEX_OCTETS_MAX, SUMMARIES_OCTETS_MAX};

/// The most memory of an inbox, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// For the names of all messages. A mailbox that does not fit is left out of the list.
    pub index: u64,
    /// For summaries of messages. Beyond it, those that were not used for longest are forgotten.
    pub summaries: u64,
}

impl Memory {
    /// The sum.
    pub fn octets(self) -> u64 {
        self.index.saturating_add(self.summaries)
    }

    /// The same, but no more than `octets` in all: two thirds of them are for the names.
    #[must_use]
    pub fn within(self, octets: u64) -> Self {
        let third = octets / 3;
        Self {
            index: self.index.min(octets.saturating_sub(third)),
            summaries: self.summaries.min(third),
        }
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self {
            index: INDEX_OCTETS_MAX,
            summaries: SUMMARIES_OCTETS_MAX,
        }
    }
}
