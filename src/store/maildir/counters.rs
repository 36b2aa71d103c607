//! What the store has counted since it was opened.

use std::time::Duration;

use crate::counters::{Counter, Report, Sizes, Times};

use super::journal::Journal;
use super::open::OpenStore;
use super::sync::atomic::{AtomicBool, Ordering};

/// All numbers of a store.
#[derive(Debug, Default)]
pub(super) struct Counters {
    /// Messages that went through the journal.
    pub(super) journaled: Counter,
    /// Messages that were made durable in the Maildirs themselves.
    pub(super) direct: Counter,
    /// Records of each batch of the journal.
    batches: Sizes,
    /// How long each batch took to be written and synced.
    commits: Times,
    pub(super) commit_failures: Counter,
    checkpoints: Times,
    checkpoint_failures: Counter,
    /// Whether the last one failed.
    is_checkpoint_failing: AtomicBool,
}

impl Counters {
    /// A batch of the journal is durable.
    pub(super) fn committed(&self, n_records: u32, took: Duration) {
        self.batches.note(n_records);
        self.commits.note(took);
    }

    /// A checkpoint was made, or failed.
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

impl OpenStore {
    /// Puts all that was counted into `report`, and how matters stand now.
    pub(super) fn report(&self, report: &mut Report) {
        let counters = &self.counters;
        let journal = self.journal.as_ref();
        let kept = u64::try_from(self.kept.count()).unwrap_or(u64::MAX);
        let is_out_of_order = journal.is_some_and(Journal::is_out_of_order);
        let is_checkpoint_failing = counters.is_checkpoint_failing.load(Ordering::Relaxed);
        let waiting = u64::try_from(self.waiting.count()).unwrap_or(u64::MAX);
        let is_degraded = kept > 0 || waiting > 0 || is_out_of_order || is_checkpoint_failing;
        report.add(
            "store",
            [
                ("degraded", u64::from(is_degraded)),
                ("kept", kept),
                ("waiting", waiting),
                ("journaled", counters.journaled.value()),
                ("direct", counters.direct.value()),
            ],
        );
        if journal.is_none() {
            return;
        }
        let failures = [("failures", counters.commit_failures.value())];
        let commits = counters.commits.values().into_iter().chain(failures);
        report.add("commits", commits);
        report.add("batches", counters.batches.values());
        let failures = [("failures", counters.checkpoint_failures.value())];
        let checkpoints = counters.checkpoints.values().into_iter().chain(failures);
        report.add("checkpoints", checkpoints);
    }
}
