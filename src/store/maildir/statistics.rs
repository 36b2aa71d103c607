//! The counters of a store since it was opened.

use std::time::Duration;

use crate::{
    counters::{Counter, Sizes, Times},
    store::sync::atomic::{AtomicBool, Ordering},
};

/// All counters of a store.
#[derive(Debug, Default)]
pub(super) struct Statistics {
    /// Messages that went through the journal.
    pub(super) journaled: Counter,
    /// Messages that were made durable in the Maildirs directly.
    pub(super) direct: Counter,
    /// Records of each batch of the journal.
    pub(super) batches: Sizes,
    /// How long each batch took to be written and synced.
    pub(super) commits: Times,
    pub(super) commit_failures: Counter,
    pub(super) checkpoints: Times,
    pub(super) checkpoint_failures: Counter,
    /// Whether the last one failed.
    pub(super) is_checkpoint_failing: AtomicBool,
}

impl Statistics {
    /// Counts a batch of the journal that is durable.
    pub(super) fn committed(&self, n_records: u32, took: Duration) {
        self.batches.note(n_records);
        self.commits.note(took);
    }

    /// Counts a checkpoint that was made, or failed.
    pub(super) fn checkpointed(&self, is_made: bool, took: Duration) {
        self.is_checkpoint_failing
            .store(!is_made, Ordering::Relaxed);
        if is_made {
            self.checkpoints.note(took);
        } else {
            self.checkpoint_failures.increment();
        }
    }
}
