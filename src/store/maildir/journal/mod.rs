//! The redo journal: makes messages durable before they are acknowledged, many with one sync.
//!
//! The journal knows records and batches, not Maildirs: `replay.rs` replays at the next start what
//! is in the journal and not yet durable elsewhere.
//!
//! # Theory of operation
//! *Group commit.* A thread that has a record appends it to the batch that is being filled
//! ([`Journal::submit`]). Then ([`Journal::wait`]) the first thread that finds no leader becomes
//! the leader. It takes the batch, so that the next one can be filled meanwhile, writes it with one
//! call, syncs it with another, and wakes every thread whose record was in it. So the more clients
//! there are, the more messages share one sync, and a single client waits for only one sync. If
//! there are several clients, the leader first waits for a fraction of the time of a sync, so that
//! those just woken can come back and share it.
//!
//! *Floor.* Each batch has a number. The owner of a record reports when it is applied to the
//! Maildirs ([`Journal::applied`]); all batches below the first one with an open record can be
//! checkpointed (`checkpoint.rs`). Every later batch records which batches are checkpointed.
//!
//! # Invariants
//! - Nothing is acknowledged until a check after the sync has shown that a start would find it: the
//!   store's directory, the id and the segment must be the ones that this process holds open.
//! - L2: the Mutex covers the copying of one record at most; writing and syncing happen outside.
//! - I7: no segment is overwritten until all of it is checkpointed and a durable batch says so.
//! - I9: if a batch cannot be written or synced, all its records fail, nothing is retried, and the
//!   segment is not written to again.
//! - The batch that is being filled never holds more than [`Shape::batch_octets_max`].
//!
//! # Failures
//! All records of a batch get the same [`Error`]. After two failures in a row the journal is out of
//! order: [`Journal::check`] refuses new work, but lets some through from time to time to find out
//! whether the journal works again.

mod format;
mod id_file;
mod reader;
mod ring;
mod shape;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use crate::{
    clock::Clock,
    fs::Fs,
    store::{
        Error,
        limits::{GATHER_SHARE, JOURNAL_FAILURES_MAX, JOURNAL_RETRY},
        sync::{
            Condvar, Mutex, MutexGuard,
            thread::{self, Thread},
        },
    },
};

#[cfg(test)]
pub(super) use format::{BATCH_ALIGNMENT, JournalId, Seal};
pub(super) use format::{
    HEADER_OCTETS, Record, delivery_octets, push_delivery, push_removal, removal_octets,
};
pub(super) use reader::Journaled;
pub(super) use shape::Shape;

use ring::{Load, Ring, Written};

/// The journal of an open store.
#[derive(Debug)]
pub(super) struct Journal {
    shape: Shape,
    /// Where it is.
    pub(super) directory: PathBuf,
    clock: Clock,
    /// How long a leader waits for others, at most.
    gather_max: Duration,
    inner: Mutex<Inner>,
    /// A leader is ready, or a record was applied.
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Inner {
    /// `None` while a leader has it.
    ring: Option<Ring>,
    filling: Filling,
    /// The threads that wait for the batch that is being written.
    waiting: Vec<Thread>,
    /// The memory of the last batch, for reuse.
    spare: Vec<u8>,
    /// The last durable batch.
    durable: u64,
    /// The last durable batch that has records.
    durable_with_records: u64,
    /// How many records of durable batches are not yet applied.
    open: BTreeMap<u64, u32>,
    /// All batches up to this one are durable in the Maildirs.
    checkpointed: u64,
    /// The same, as recorded in the journal itself.
    settled: u64,
    last_commit: Option<Instant>,
    /// No unsettled batch was written before this time.
    unsettled_since: Option<Instant>,
    /// When the last checkpoint began.
    checkpoint_begun: Option<Instant>,
    pace: Pace,
    health: Health,
    is_closed: bool,
}

/// What the last batch was like.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    n_records: u32,
    /// How long it took to be written and synced.
    took: Duration,
    /// How many records a leader is waiting for now.
    wanted: Option<u32>,
}

/// The batch that is being filled.
#[derive(Debug, Default)]
struct Filling {
    octets: Vec<u8>,
    load: Load,
    fate: Arc<Fate>,
    /// The threads that wait for it. The first of them leads it.
    waiting: Vec<Thread>,
}

/// The outcome of a batch, shared by all that have a record in it.
#[derive(Debug, Default)]
struct Fate(OnceLock<Result<u64, Error>>);

/// Whether the journal works.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Health {
    /// Batches that have failed since the last success.
    n_failures: u32,
    failed_at: Option<Instant>,
}

/// The right to learn the outcome of a record.
#[derive(Debug)]
#[must_use]
pub(super) struct Ticket(Arc<Fate>);

/// What a checkpoint needs to know about the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Progress {
    /// All batches up to this one are applied.
    pub(super) applied: u64,
    /// All batches up to this one are checkpointed.
    pub(super) checkpointed: u64,
    /// The same, as recorded in the journal itself.
    pub(super) settled: u64,
    /// The last durable batch.
    pub(super) durable: u64,
    /// Whether a crash now would replay batches with records.
    pub(super) is_due: bool,
    /// When the last batch was written.
    pub(super) last_commit: Option<Instant>,
    /// When the first batch was written that a crash would replay.
    pub(super) unsettled_since: Option<Instant>,
}

/// What the owner of a record has to do once it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Apply {
    /// Apply it, and report that.
    Later,
    /// Nothing: it has already been applied.
    Done,
}

/// What needs to be checkpointed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// The first batch since everything was settled: soon.
    InUse,
    /// A whole segment: now.
    SegmentFull,
}

/// What a leader needs from the rest of the store.
pub(super) trait Helper {
    /// Makes sure that no other daemon can be in the place where this one is about to write.
    fn check_lock(&self) -> Result<(), Error>;

    /// Causes a checkpoint of all batches up to `needed`, so that a segment becomes free.
    fn make_room(&self, needed: u64);

    /// Makes sure that what was written is checkpointed in time.
    fn wake(&self, why: Wake);

    /// Called when a batch of `n_records` is durable; `took` is how long that took.
    fn batch_committed(&self, n_records: u32, took: Duration);

    /// Called when a batch failed (`Some`), and when the first one after a failure succeeded.
    fn journal_changed(&self, failure: Option<&Error>, is_out_of_order: bool);
}

impl Filling {
    fn new(mut octets: Vec<u8>) -> Self {
        octets.clear();
        octets.resize(HEADER_OCTETS, 0);
        Self {
            octets,
            ..Self::default()
        }
    }

    fn add(&mut self, apply: Apply, push: impl FnOnce(&mut Vec<u8>)) -> Ticket {
        push(&mut self.octets);
        let load = &mut self.load;
        load.n_records = load.n_records.saturating_add(1);
        if apply == Apply::Later {
            load.n_messages = load.n_messages.saturating_add(1);
        }
        Ticket(Arc::clone(&self.fate))
    }
}

impl Journal {
    /// Opens an empty journal in `directory`: anything that was there has been replayed.
    ///
    /// # Errors
    /// [`Error`] if it cannot be begun.
    pub(super) fn open(
        fs: Arc<dyn Fs>,
        directory: PathBuf,
        shape: Shape,
        clock: Clock,
        gather_max: Duration,
    ) -> Result<Self, Error> {
        let ring = Ring::open(fs, directory.clone(), shape, clock.clone())?;
        Ok(Self {
            shape,
            directory,
            clock,
            gather_max,
            inner: Mutex::new(Inner {
                ring: Some(ring),
                filling: Filling::new(Vec::new()),
                ..Inner::default()
            }),
            changed: Condvar::new(),
        })
    }

    /// Whether its lock is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.inner.is_locked()
    }

    /// Most octets of one record.
    pub(super) fn record_octets_max(&self) -> usize {
        self.shape.batch_octets_max().saturating_sub(HEADER_OCTETS)
    }

    /// Checks that new work may be begun.
    ///
    /// # Errors
    /// [`Error::OutOfOrder`].
    pub(super) fn check(&self) -> Result<(), Error> {
        let now = self.clock.now();
        let health = self.inner.lock().health;
        if health.is_out_of_order() && !health.is_to_be_tried(now) {
            return Err(Error::OutOfOrder {
                path: self.directory.clone(),
            });
        }
        Ok(())
    }

    /// Whether no batch is being written.
    #[cfg(test)]
    pub(super) fn is_free(&self) -> bool {
        self.inner.lock().ring.is_some()
    }

    /// Whether it fails, and accepts no mail for the time being.
    pub(super) fn is_out_of_order(&self) -> bool {
        self.inner.lock().health.is_out_of_order()
    }

    /// Puts a record of `octets` into the batch that is being filled.
    ///
    /// # Errors
    /// [`Error::Io`] if the journal is closed.
    pub(super) fn submit(
        &self,
        octets: usize,
        apply: Apply,
        push: impl FnOnce(&mut Vec<u8>),
        helper: &dyn Helper,
    ) -> Result<Ticket, Error> {
        let octets_max = self.shape.batch_octets_max();
        let mut inner = self.inner.lock();
        while inner.filling.octets.len().saturating_add(octets) > octets_max
            && inner.filling.load.n_records > 0
        {
            if inner.ring.is_some() {
                self.lead(inner, helper);
                inner = self.inner.lock();
            } else {
                self.changed.wait(&mut inner);
            }
        }
        if inner.is_closed {
            return Err(self.error("the store is closed"));
        }
        let ticket = inner.filling.add(apply, push);
        let is_awaited = inner.is_gathered();
        drop(inner);
        if is_awaited {
            self.changed.notify_all();
        }
        Ok(ticket)
    }

    /// Waits a little for the clients whose records were in the last batch: they were woken a
    /// moment ago, and many come back immediately. Without this wait, two halves of the clients
    /// would take turns, each with its own sync.
    fn gather(&self, inner: &mut MutexGuard<'_, Inner>) {
        let Pace {
            n_records, took, ..
        } = inner.pace;
        let time = took
            .checked_div(GATHER_SHARE)
            .unwrap_or_default()
            .min(self.gather_max);
        let present = inner.filling.load.n_records;
        if n_records < 2 || present == 0 || time.is_zero() {
            return;
        }
        inner.pace.wanted = Some(present.saturating_add(n_records));
        let begin = self.clock.now();
        while !inner.is_gathered() {
            let left = time.saturating_sub(self.clock.now().saturating_duration_since(begin));
            if left.is_zero() {
                break;
            }
            self.changed.wait_for(inner, left);
        }
        inner.pace.wanted = None;
    }

    /// Waits until the record is durable, leading the batch if nobody else does; returns the number
    /// of its batch.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Full`]: the record must not be relied on, and must not be applied.
    pub(super) fn wait(&self, ticket: &Ticket, helper: &dyn Helper) -> Result<u64, Error> {
        let Ticket(fate) = ticket;
        loop {
            let mut inner = self.inner.lock();
            if let Some(outcome) = fate.0.get() {
                return outcome.clone();
            }
            if inner.ring.is_some() {
                self.lead(inner, helper);
            } else {
                planted!(FollowersAreMissed, MutexGuard::unlocked(&mut inner, || ()));
                inner.register(fate);
                drop(inner);
                thread::park();
            }
            // A thread that is woken because its batch is decided does not need the lock.
            if let Some(outcome) = fate.0.get() {
                return outcome.clone();
            }
        }
    }

    /// Writes a batch without records, which says what is checkpointed.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub(super) fn write_floor(&self, helper: &dyn Helper) -> Result<(), Error> {
        let fate = Arc::clone(&self.inner.lock().filling.fate);
        self.wait(&Ticket(fate), helper).map(drop)
    }

    /// Writes the batch that is being filled, and wakes the threads that wait for it.
    fn lead(&self, mut inner: MutexGuard<'_, Inner>, helper: &dyn Helper) {
        let Some(mut ring) = inner.ring.take() else {
            return;
        };
        self.gather(&mut inner);
        let octets = inner.filling.octets.len();
        if let Some(needed) = ring.needs(octets, inner.filling.load.n_records, inner.checkpointed) {
            // Records may still come in meanwhile. If this fails there is no room, and all of them
            // fail.
            let make_room = AssertUnwindSafe(|| helper.make_room(needed));
            MutexGuard::unlocked(&mut inner, || catch_unwind(make_room)).unwrap_or_default();
        }
        let mut batch = inner.take_batch();
        let checkpointed = inner.checkpointed;
        drop(inner);
        let begin = self.clock.now();
        // A bug must not leave all others waiting for this leader (SEC-17).
        let written = catch_unwind(AssertUnwindSafe(|| {
            // Nothing may be written where another daemon may be.
            helper.check_lock()?;
            ring.write(&mut batch.octets, batch.load, checkpointed)
        }));
        let written = written.unwrap_or_else(|_panic| {
            ring.retire();
            Err(self.error("a bug in facteur"))
        });
        let now = self.clock.now();
        let mut inner = self.inner.lock();
        let had_failed = inner.health.n_failures > 0;
        let took = now.saturating_duration_since(begin);
        inner.settle(ring.settled());
        // Otherwise nothing could be checkpointed up to a batch that only says what is
        // checkpointed.
        inner.durable = inner.durable.max(ring.last());
        let wake = inner.note(&written, &batch, took, now);
        let is_out_of_order = inner.health.is_out_of_order();
        inner.ring = Some(ring);
        inner.spare = batch.octets;
        let outcome = written.as_ref().map(|written| written.number);
        let decided = batch.fate.0.set(outcome.map_err(Error::clone));
        debug_assert!(decided.is_ok(), "one leader decides about a batch");
        let waiting = std::mem::take(&mut inner.waiting);
        let next_leader = inner.filling.waiting.first().cloned();
        drop(inner);
        // The next leader first: the disk is idle until it starts.
        next_leader.iter().chain(&waiting).for_each(Thread::unpark);
        self.changed.notify_all();
        if written.is_ok() {
            helper.batch_committed(batch.load.n_records, took);
        }
        if let Some(why) = wake {
            helper.wake(why);
        }
        if written.is_err() || had_failed {
            helper.journal_changed(written.as_ref().err(), is_out_of_order);
        }
    }

    /// Notes that a record of batch `number` is in its Maildirs.
    pub(super) fn applied(&self, number: u64) {
        let is_whole_batch = self.inner.lock().close_record(number);
        if is_whole_batch {
            self.changed.notify_all();
        }
    }

    /// What a checkpoint needs to know.
    pub(super) fn progress(&self) -> Progress {
        let inner = self.inner.lock();
        Progress {
            applied: inner.applied(),
            checkpointed: inner.checkpointed,
            settled: inner.settled,
            durable: inner.durable,
            is_due: inner.is_due(),
            last_commit: inner.last_commit,
            unsettled_since: inner.unsettled_since,
        }
    }

    /// Waits until more than `applied` is applied, for `patience` at most.
    pub(super) fn wait_for_progress(&self, applied: u64, patience: Duration) {
        let mut inner = self.inner.lock();
        if inner.applied() == applied && !patience.is_zero() {
            self.changed.wait_for(&mut inner, patience);
        }
    }

    /// Notes that all batches up to `number`, none of which was written after `begun`, are durable
    /// in the Maildirs.
    pub(super) fn checkpointed(&self, number: u64, begun: Instant) {
        let mut inner = self.inner.lock();
        inner.checkpointed = inner.checkpointed.max(number);
        inner.checkpoint_begun = Some(begun);
    }

    /// Whether a crash now would replay deliveries.
    pub(super) fn would_be_replayed(&self) -> bool {
        let inner = self.inner.lock();
        inner.durable_with_records > inner.settled || inner.ring.is_none()
    }

    /// Accepts no more records, and waits until there is no leader.
    pub(super) fn close(&self) {
        let mut inner = self.inner.lock();
        inner.is_closed = true;
        while inner.ring.is_none() {
            self.changed.wait(&mut inner);
        }
    }

    /// Ends the journal after [`close`](Self::close) if all of it is checkpointed; otherwise the
    /// next start replays it.
    ///
    /// # Errors
    /// [`Error::Io`]: the next start replays it in this case too, which does no harm.
    pub(super) fn end(&self) -> Result<(), Error> {
        let mut inner = self.inner.lock();
        // A thread that came before the close may just have written a batch.
        if inner.durable_with_records > inner.checkpointed {
            return Ok(());
        }
        let Some(mut ring) = inner.ring.take() else {
            return Ok(());
        };
        // The lock is not held while the file is removed (L1).
        drop(inner);
        let ended = ring.end();
        let mut inner = self.inner.lock();
        if ended.is_ok() {
            // If not, a removal of a message must not count on it now (I2).
            let durable = inner.durable;
            inner.settle(durable);
        }
        inner.ring = Some(ring);
        let next_leader = inner.filling.waiting.first().cloned();
        drop(inner);
        next_leader.iter().for_each(Thread::unpark);
        self.changed.notify_all();
        ended
    }

    /// Ends the journal that was read from `directory`: nothing in it is replayed any more.
    ///
    /// # Errors
    /// [`Error::Io`]: the next start replays it again.
    pub(super) fn forget(fs: &dyn Fs, directory: &Path) -> Result<(), Error> {
        id_file::remove(fs, directory)
    }

    fn error(&self, reason: &'static str) -> Error {
        Error::other("write", &self.directory, reason)
    }
}

impl Inner {
    /// Takes the batch that is being filled, and starts an empty one.
    fn take_batch(&mut self) -> Filling {
        let next = Filling::new(std::mem::take(&mut self.spare));
        let mut batch = std::mem::replace(&mut self.filling, next);
        self.waiting = std::mem::take(&mut batch.waiting);
        batch
    }

    /// Registers the current thread to be woken when the batch of `fate` is decided, or needs a
    /// leader.
    fn register(&mut self, fate: &Arc<Fate>) {
        let is_filling = Arc::ptr_eq(fate, &self.filling.fate);
        let waiting = if is_filling {
            &mut self.filling.waiting
        } else {
            &mut self.waiting
        };
        waiting.push(thread::current());
    }

    /// Notes that the journal itself says that all batches up to `number` are in the Maildirs.
    fn settle(&mut self, number: u64) {
        if number > self.settled {
            self.settled = number;
            let is_any_left = self.durable_with_records > number;
            // The rest was written after the checkpoint had begun.
            let since = self.unsettled_since.max(self.checkpoint_begun);
            self.unsettled_since = since.filter(|_| is_any_left);
        }
    }

    /// Whether a crash now would replay batches with records.
    fn is_due(&self) -> bool {
        planted!(
            CheckpointsMakeNothingDue,
            return self.durable_with_records > self.checkpointed
        );
        self.durable_with_records > self.settled
    }

    /// Notes the outcome of a batch; returns what needs to be checkpointed now.
    fn note(
        &mut self,
        written: &Result<Written, Error>,
        batch: &Filling,
        took: Duration,
        now: Instant,
    ) -> Option<Wake> {
        let written = match written {
            Ok(written) => written,
            // A full disk is not a failure of the journal, and ends when there is room.
            Err(Error::Full { .. }) => return None,
            // What was applied must be made durable without the journal.
            Err(Error::Replaced { .. }) => return Some(Wake::SegmentFull),
            Err(_) => {
                self.health.fail(now);
                return None;
            }
        };
        let is_first_use = self.durable_with_records <= self.settled;
        self.durable = written.number;
        self.health = Health::default();
        self.pace = Pace {
            n_records: batch.load.n_records,
            took,
            wanted: None,
        };
        if batch.load.n_messages > 0 {
            self.open.insert(written.number, batch.load.n_messages);
        }
        if batch.load.n_records > 0 {
            self.durable_with_records = written.number;
            self.last_commit = Some(now);
            self.unsettled_since.get_or_insert(now);
        }
        if written.is_first {
            Some(Wake::SegmentFull)
        } else {
            (batch.load.n_records > 0 && is_first_use).then_some(Wake::InUse)
        }
    }

    /// Whether all records that a leader waits for have come.
    fn is_gathered(&self) -> bool {
        let wanted = self.pace.wanted;
        wanted.is_some_and(|wanted| wanted <= self.filling.load.n_records)
    }

    /// Counts a record of batch `number` as applied; true if it was the last one.
    fn close_record(&mut self, number: u64) -> bool {
        let Some(n_open) = self.open.get_mut(&number) else {
            return false;
        };
        *n_open = n_open.saturating_sub(1);
        let is_last = *n_open == 0;
        if is_last {
            self.open.remove(&number);
        }
        is_last
    }

    /// All batches up to this one are applied.
    fn applied(&self) -> u64 {
        planted!(CheckpointsCountTheUnapplied, return self.durable);
        let first_open = self.open.first_key_value();
        first_open.map_or(self.durable, |(number, _)| number.saturating_sub(1))
    }
}

impl Health {
    fn fail(&mut self, now: Instant) {
        self.n_failures = self.n_failures.saturating_add(1);
        self.failed_at = Some(now);
    }

    fn is_out_of_order(self) -> bool {
        self.n_failures >= JOURNAL_FAILURES_MAX
    }

    /// Whether it is time to try whether it works again.
    fn is_to_be_tried(self, now: Instant) -> bool {
        let elapsed = self
            .failed_at
            .map(|failed_at| now.saturating_duration_since(failed_at));
        elapsed.is_none_or(|elapsed| elapsed >= JOURNAL_RETRY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    /// A leader that waits for as many records as were in the last batch continues when the last of
    /// them has come, without waiting for its time to run out.
    #[test]
    fn a_leader_has_gathered_all_with_the_last_record_it_waits_for() {
        let directory = tempfile::tempdir().unwrap();
        let shape = Shape {
            segment_octets: 1024 * 1024,
            segments: 2,
        };
        let (place, clock) = (directory.path().join("journal"), Clock::system());
        let journal = Journal::open(Arc::new(RealFs), place, shape, clock, Duration::ZERO);
        let journal = journal.unwrap();
        let is_gathered = |wanted, n_records| {
            let mut inner = journal.inner.lock();
            inner.pace.wanted = wanted;
            inner.filling.load.n_records = n_records;
            inner.is_gathered()
        };
        assert!(!is_gathered(None, 3), "nobody waits");
        for (n_records, expected) in [(0, false), (2, false), (3, true), (4, true)] {
            assert_eq!(is_gathered(Some(3), n_records), expected, "{n_records}");
        }
    }
}
