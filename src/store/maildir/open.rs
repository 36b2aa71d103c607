//! The state that the deliveries, maildrops and checkpoints of an open store share.
//!
//! Private to the backend. Each part has its own lock, which its methods take and release; none of
//! them returns a guard.

use std::{sync::Arc, time::Duration};

use crate::{
    counters::Report,
    mail::MailboxName,
    store::{
        Change, Error, Observer,
        hub::Hub,
        name::{Identity, Serial},
        quota::Quota,
        sync::atomic::{AtomicU64, Ordering},
    },
};

use super::{
    control::Control, disk::Disk, journal::Journal, known::KnownMailboxes, letter::Kept,
    pace::Checkpoints, standing::Place, statistics::Statistics, touched::Touched,
    visibility::Visibility, waiting::Waiting,
};

/// The inside of a [`MessageStore`](crate::store::MessageStore), its deliveries and its maildrops.
#[derive(Debug)]
pub(super) struct OpenStore {
    pub(super) disk: Disk,
    /// Keeps other daemons out while any part of this store is alive (I11).
    pub(super) place: Place,
    /// The journal in front of the Maildirs, if one is configured.
    pub(super) journal: Option<Journal>,
    pub(super) checkpoints: Checkpoints,
    /// What was put into Maildirs but not yet synced.
    pub(super) touched: Touched,
    pub(super) known: KnownMailboxes,
    pub(super) visibility: Visibility,
    /// Messages that are durable but could not be applied.
    pub(super) kept: Kept,
    /// Mailboxes that accept no mail, and the messages that wait for them.
    pub(super) waiting: Waiting,
    /// The host name as it appears in file names.
    pub(super) host: String,
    pub(super) nonce: u64,
    pub(super) n_deliveries: AtomicU64,
    /// The free space below which no delivery is begun.
    pub(super) reserve: u64,
    /// Memory of the content that deliveries hold.
    pub(super) held: Arc<Quota>,
    /// Memory of the listings of open maildrops.
    pub(super) listed: Arc<Quota>,
    /// Memory of the listings of those that only look.
    pub(super) looked: Arc<Quota>,
    /// Threads that help a session to remove messages: the quota counts threads, not octets.
    pub(super) helpers: Arc<Quota>,
    /// Passes on to watches which messages come and go.
    pub(super) hub: Arc<Hub>,
    /// The socket on which the daemon can be reached.
    pub(super) control: Control,
    /// How long a full journal waits for sessions that are applying its records.
    pub(super) room_timeout: Duration,
    pub(super) observer: Observer,
    pub(super) counters: Statistics,
}

impl OpenStore {
    /// A serial that no message has ever had.
    pub(super) fn next_serial(&self) -> Serial {
        let counter = self.n_deliveries.fetch_add(1, Ordering::Relaxed);
        Serial {
            nonce: self.nonce,
            counter,
        }
    }

    /// Creates the directories again if somebody removed them while the daemon was running.
    ///
    /// # Errors
    /// As [`Place::settle_anew`].
    pub(super) fn settle_anew(&self) -> Result<(), Error> {
        if self.place.settle_anew(&self.disk)? {
            // The mailboxes that were known to be durable are gone with the directories.
            self.known.forget_all();
        }
        Ok(())
    }

    /// Tells all watches that a message of `mailbox` came or went.
    pub(super) fn tell<'a>(
        &self,
        change: Change,
        mailbox: &MailboxName,
        identity: impl FnOnce() -> Identity<'a>,
    ) {
        if self.hub.is_recording() {
            let id = identity().entry_id(mailbox);
            self.hub.tell(change, mailbox, id);
        }
    }

    /// Adds all counters and the current state to `report`.
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
