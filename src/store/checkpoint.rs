//! Checkpoints: what the journal holds is made durable in the Maildirs, so that its segments can
//! be used again.
//!
//! # Theory of operation
//! One sync of the whole file system makes durable all that was applied before it began, however
//! many files that are, and off the path of any acknowledgement. A checkpoint is made when a
//! segment is full, some seconds after the last message, when a leader finds no room, and at the
//! end.
//!
//! When that sync fails, or the sync of any directory failed since the last good checkpoint, the
//! system may have forgotten what it could not write, while it still shows it. Another sync would
//! succeed and prove nothing (I9). So every message that the journal still has is written anew,
//! to a new file that takes the place of the old one (`replay.rs`), and then all is synced again.
//!
//! # Invariants
//! - I7: a batch counts as checkpointed only when a successful sync covers all that it says, and
//!   nothing that it rests on was in doubt.
//! - One checkpoint is made at a time.
//!
//! # Failures
//! [`Error`]: nothing is checkpointed, and nothing is lost, since it stays in the journal. Mail is
//! taken until the journal is full.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::{
    error::Error,
    event::Event,
    fs::Volume,
    journal::{Helper, Journal, Wake},
    limits::{CHECKPOINT_ATTEMPTS_MAX, CHECKPOINT_IDLE},
    shared::{Shared, SyncMark},
};

/// What the checkpoints of a store share.
#[derive(Debug)]
pub(super) struct Checkpoints {
    volume: Box<dyn Volume>,
    /// With whoever makes a checkpoint.
    turn: Mutex<Option<Turn>>,
    free: Condvar,
    wanted: Mutex<Wanted>,
    is_wanted: Condvar,
}

/// What one checkpoint hands to the next.
#[derive(Clone, Copy, Debug)]
struct Turn {
    /// How often syncs of directories had failed when nothing was in doubt.
    trusted: SyncMark,
    /// The last batch that may be affected by a sync that failed.
    doubtful: Option<u64>,
    has_failed: bool,
}

/// The turn in the hands of one; given back when this is dropped, whatever happened.
struct Taken<'a> {
    checkpoints: &'a Checkpoints,
    turn: Turn,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.checkpoints.turn.lock() = Some(self.turn);
        self.checkpoints.free.notify_one();
    }
}

/// What the thread is waited for.
#[derive(Clone, Copy, Debug, Default)]
struct Wanted {
    is_end: bool,
    is_segment_full: bool,
    is_in_use: bool,
}

impl Checkpoints {
    pub(super) fn new(volume: Box<dyn Volume>, trusted: SyncMark) -> Self {
        let turn = Turn {
            trusted,
            doubtful: None,
            has_failed: false,
        };
        Self {
            volume,
            turn: Mutex::new(Some(turn)),
            free: Condvar::new(),
            wanted: Mutex::default(),
            is_wanted: Condvar::new(),
        }
    }

    /// Syncs the whole file system.
    pub(super) fn sync(&self, shared: &Shared) -> Result<(), Error> {
        self.volume
            .sync()
            .and_then(|()| shared.fs.confirm(&shared.own))
            .inspect_err(|_| shared.count_failed_sync())
            .map_err(Error::io("make durable", &shared.root))
    }

    /// Whether a lock of this file is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.turn.is_locked() || self.wanted.is_locked()
    }

    fn take_turn(&self) -> Taken<'_> {
        let mut free = self.turn.lock();
        let turn = loop {
            match free.take() {
                Some(turn) => break turn,
                None => self.free.wait(&mut free),
            }
        };
        drop(free);
        Taken {
            checkpoints: self,
            turn,
        }
    }

    fn want(&self, want: impl FnOnce(&mut Wanted)) {
        want(&mut self.wanted.lock());
        self.is_wanted.notify_one();
    }

    /// Ends the thread.
    pub(super) fn end(&self) {
        self.want(|wanted| wanted.is_end = true);
    }
}

impl Shared {
    /// Makes durable in the Maildirs all that is applied by now.
    ///
    /// # Errors
    /// See the module.
    pub(super) fn checkpoint(&self) -> Result<(), Error> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let mut taken = self.checkpoints.take_turn();
        let (begin, before) = (self.clock.now(), journal.progress().checkpointed);
        let result = self.checkpoint_in_turn(journal, &mut taken.turn);
        let had_failed = std::mem::replace(&mut taken.turn.has_failed, result.is_err());
        drop(taken);
        // Not when there was nothing to do.
        if result.is_err() || journal.progress().checkpointed > before {
            let took = self.clock.now().saturating_duration_since(begin);
            self.counters.checkpointed(result.is_ok(), took);
        }
        match &result {
            Ok(()) if had_failed => self.observer.tell(&Event::CheckpointRestored),
            Err(error) if !had_failed => self.observer.tell(&Event::CheckpointFailed { error }),
            Ok(()) | Err(_) => {}
        }
        result
    }

    fn checkpoint_in_turn(&self, journal: &Journal, turn: &mut Turn) -> Result<(), Error> {
        let mut result = Ok(());
        for _ in 0..CHECKPOINT_ATTEMPTS_MAX {
            let progress = journal.progress();
            if progress.applied <= progress.checkpointed {
                return Ok(());
            }
            let mark = self.sync_mark();
            if turn.trusted != mark {
                // Batches that come later are applied after the failure.
                turn.doubtful = Some(progress.durable);
                turn.trusted = mark;
            }
            if let Some(doubtful) = turn.doubtful {
                if progress.applied < doubtful {
                    // What is being applied may be affected and cannot be written anew yet.
                    let reason = "a sync has failed, and messages are still on their way";
                    let error = io::Error::other(reason);
                    return Err(Error::io("make durable", &self.root)(error));
                }
                self.write_anew(journal)?;
            }
            result = self
                .checkpoints
                .sync(self)
                .and_then(|()| self.check_syncs(mark));
            if result.is_ok() {
                turn.doubtful = None;
                journal.checkpointed(progress.applied);
                return Ok(());
            }
        }
        result
    }

    /// How long until the store has been idle for long enough; `None` when nothing is due.
    fn until_idle(&self) -> Option<Duration> {
        let progress = self.journal.as_ref()?.progress();
        let since = self
            .clock
            .now()
            .saturating_duration_since(progress.last_commit?);
        progress
            .is_due
            .then(|| CHECKPOINT_IDLE.saturating_sub(since))
    }

    /// Makes a checkpoint of an idle store, and says so in the journal: a crash from now on has
    /// nothing to replay.
    ///
    /// # Errors
    /// As [`checkpoint`](Self::checkpoint).
    pub(super) fn checkpoint_when_idle(&self) -> Result<(), Error> {
        self.retry_kept()?;
        self.checkpoint()?;
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        let progress = journal.progress();
        if progress.checkpointed > progress.settled {
            journal.write_floor(self)?;
        }
        Ok(())
    }

    /// Ends the journal: all of it is in the Maildirs, durably, and nothing more comes.
    ///
    /// # Errors
    /// What is not there yet is replayed at the next start.
    pub(super) fn close(&self) -> Result<(), Error> {
        let Some(journal) = &self.journal else {
            return Ok(());
        };
        journal.close();
        self.retry_kept()?;
        self.checkpoint()?;
        journal.end()
    }
}

impl Helper for Shared {
    fn make_room(&self, needed: u64) {
        let Some(journal) = &self.journal else { return };
        let begin = self.clock.now();
        // What is kept keeps a segment from being used again; who began it was told.
        self.retry_kept().unwrap_or_default();
        loop {
            let before = journal.progress();
            // Who needs the room is told when there is none.
            if self.checkpoint().is_err() || journal.progress().checkpointed >= needed {
                return;
            }
            let waited = self.clock.now().saturating_duration_since(begin);
            let left = self.room_timeout.saturating_sub(waited);
            if left.is_zero() {
                return;
            }
            journal.wait_for_progress(before.applied, left);
        }
    }

    fn wake(&self, why: Wake) {
        self.checkpoints.want(|wanted| match why {
            Wake::InUse => wanted.is_in_use = true,
            Wake::SegmentFull => (wanted.is_segment_full, wanted.is_in_use) = (true, true),
        });
    }

    fn batch_committed(&self, n_records: u32, took: Duration) {
        self.counters.committed(n_records, took);
    }

    fn journal_changed(&self, failure: Option<&Error>, is_out_of_order: bool) {
        if failure.is_some() {
            self.counters.commit_failures.increment();
        }
        self.observer.tell(&match failure {
            Some(error) => Event::JournalFailed {
                error,
                is_out_of_order,
            },
            None => Event::JournalRestored,
        });
    }
}

/// Starts the thread that makes checkpoints.
///
/// # Errors
/// [`Error::Io`] when the system gives no thread.
pub(super) fn start(shared: &Arc<Shared>) -> Result<JoinHandle<()>, Error> {
    let for_thread = Arc::clone(shared);
    thread::Builder::new()
        .name("checkpoint".to_owned())
        .spawn(move || run(&for_thread))
        .map_err(Error::io("start the checkpoints of", &shared.root))
}

fn run(shared: &Shared) {
    let checkpoints = &shared.checkpoints;
    let mut wanted = checkpoints.wanted.lock();
    while !wanted.is_end {
        if std::mem::take(&mut wanted.is_segment_full) {
            // A failure is told to the observer, and what it leaves is still due.
            MutexGuard::unlocked(&mut wanted, || shared.checkpoint()).unwrap_or_default();
        } else if wanted.is_in_use {
            // Before it is looked: what comes then sets it again.
            wanted.is_in_use = false;
            let left = MutexGuard::unlocked(&mut wanted, || {
                let is_idle = shared.until_idle() == Some(Duration::ZERO);
                if is_idle {
                    // A failure is told to the observer.
                    shared.checkpoint_when_idle().unwrap_or_default();
                }
                let left = shared.until_idle();
                // What is still due then is tried again after a while.
                left.map(|left| if is_idle { CHECKPOINT_IDLE } else { left })
            });
            if let Some(left) = left {
                wanted.is_in_use = true;
                if !wanted.is_end && !wanted.is_segment_full {
                    checkpoints.is_wanted.wait_for(&mut wanted, left);
                }
            }
        } else {
            checkpoints.is_wanted.wait(&mut wanted);
        }
    }
}
