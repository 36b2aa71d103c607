//! Checkpoints: what the journal holds is made durable in the Maildirs, so that its segments can
//! be used again.
//!
//! # Theory of operation
//! One sync of the whole file system makes durable all that was applied before it began, however
//! many files that are, and off the path of any acknowledgement. A checkpoint is made when a
//! segment is full, some seconds after the last message, some more after the first one that a crash
//! would replay, when a leader finds no room, and at the end. It counts when the journal says so:
//! the next batch does, and where none comes, one without records.
//!
//! That sync also waits for all that other programs have written, and makes the disk busy with it.
//! So when it took long, those that follow go *piece by piece* (`piecemeal.rs`): what the journal's
//! messages have touched is known (`touched.rs`), and is synced file by file. Both ways are timed.
//! The whole file system is synced again after a while, to see whether it still takes long, and
//! whenever the pieces are so many that they would take longer; also when something has to be in
//! the pieces that cannot be found, and when anything is in doubt.
//!
//! Where a sync of the whole file system is not to be relied on (`trust.rs`) all checkpoints go
//! piece by piece, a start and an orderly stop too. When the record of what was touched is not
//! complete, or anything is in doubt, the journal itself says which messages there are.
//!
//! When a sync fails, or the sync of any directory failed since the last good checkpoint, the
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
    time::{Duration, Instant},
};

use crate::{
    fs::Volume,
    store::{
        Error, Event,
        limits::{
            CHECKPOINT_AGE_MAX, CHECKPOINT_ATTEMPTS_MAX, CHECKPOINT_IDLE, SYNC_PACE_KEPT, SYNC_SLOW,
        },
    },
};

use super::{
    journal::{Helper, Journal, Progress, Wake},
    open::{OpenStore, SyncMark},
    piecemeal::Synced,
    sync::{
        Condvar, Mutex, MutexGuard,
        thread::{self, JoinHandle},
    },
    touched::Applied,
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
    pace: Pace,
}

/// How long syncs took of late.
#[derive(Clone, Copy, Debug, Default)]
struct Pace {
    /// Of the whole file system.
    whole: Option<Measured>,
    /// Piece by piece, for each name.
    piece: Option<Measured>,
}

/// How long something took.
#[derive(Clone, Copy, Debug)]
struct Measured {
    took: Duration,
    at: Instant,
}

impl Pace {
    /// How long a sync of the whole file system takes, if that is long.
    fn slow(&self, now: Instant) -> Option<Duration> {
        let took = self.whole.and_then(|whole| whole.at(now));
        took.filter(|took| *took >= SYNC_SLOW)
    }

    /// Whether `n_names` are synced sooner than the whole file system, which takes long.
    fn prefers_pieces(&self, n_names: u32, now: Instant) -> bool {
        let piece = self.piece.and_then(|piece| piece.at(now));
        let pieces = piece.unwrap_or_default().saturating_mul(n_names);
        self.slow(now).is_some_and(|whole| pieces <= whole)
    }

    /// Believes a little less that pieces take so long: it may have been chance, and the sooner it
    /// is tried again the nearer the two are.
    fn doubt_pieces(&mut self) {
        if let Some(piece) = &mut self.piece {
            let eighth = piece.took.checked_div(8).unwrap_or_default();
            piece.took = piece.took.saturating_sub(eighth);
        }
    }
}

impl Measured {
    /// How long it took, unless that says nothing any more.
    fn at(self, now: Instant) -> Option<Duration> {
        let age = now.saturating_duration_since(self.at);
        (age < SYNC_PACE_KEPT).then_some(self.took)
    }
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
    /// Now: a segment is full, or so is the record of what was touched.
    is_urgent: bool,
    is_in_use: bool,
}

impl Checkpoints {
    pub(super) fn new(volume: Box<dyn Volume>, trusted: SyncMark) -> Self {
        let turn = Turn {
            trusted,
            doubtful: None,
            has_failed: false,
            pace: Pace::default(),
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
    pub(super) fn sync(&self, store: &OpenStore) -> Result<(), Error> {
        self.volume
            .sync_whole()
            .and_then(|()| match store.fs.confirm(&store.own) {
                // Somebody removed or moved it, and nothing will be acknowledged there.
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                other => other,
            })
            .inspect_err(|_| store.count_failed_sync())
            .map_err(Error::io("make durable", &store.root))
    }

    /// Whether a checkpoint is wanted now.
    #[cfg(test)]
    pub(super) fn is_urgent(&self) -> bool {
        self.wanted.lock().is_urgent
    }

    /// Whether nobody makes a checkpoint.
    #[cfg(test)]
    pub(super) fn is_free(&self) -> bool {
        self.turn.lock().is_some()
    }

    /// Whether a checkpoint was wanted; then it is not any more.
    #[cfg(test)]
    pub(super) fn take_urgent(&self) -> bool {
        std::mem::take(&mut self.wanted.lock().is_urgent)
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

    /// Brings on a checkpoint.
    pub(super) fn hurry(&self) {
        self.want(|wanted| (wanted.is_urgent, wanted.is_in_use) = (true, true));
    }

    /// Lets the thread look how long it may wait.
    pub(super) fn notice(&self) {
        self.want(|wanted| wanted.is_in_use = true);
    }

    /// Ends the thread.
    pub(super) fn end(&self) {
        self.want(|wanted| wanted.is_end = true);
    }
}

impl OpenStore {
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
            let begun = self.clock.now();
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
                .sync_applied(journal, progress, turn)
                .and_then(|()| self.check_syncs(mark));
            if result.is_ok() {
                turn.doubtful = None;
                journal.checkpointed(progress.applied, begun);
                self.touched.settle();
                return Ok(());
            }
        }
        result
    }

    /// Makes durable in the Maildirs all that is applied as `progress` says: in the way that takes
    /// less time, or all of the file system.
    fn sync_applied(
        &self,
        journal: &Journal,
        progress: Progress,
        turn: &mut Turn,
    ) -> Result<(), Error> {
        let touched = self.touched.take(progress.applied, progress.checkpointed);
        if !self.trusts_whole_sync() {
            return match touched.filter(|_| turn.doubtful.is_none()) {
                Some(messages) => self.sync_piecemeal(&messages).map(drop),
                None => self.sync_journaled(journal),
            };
        }
        let begin = self.clock.now();
        if turn.doubtful.is_none()
            && let Some(messages) = touched
            && turn.pace.prefers_pieces(count_names(&messages), begin)
            && self.sync_pieces(&messages, turn)? == Synced::All
        {
            return Ok(());
        }
        let begin = self.clock.now();
        self.checkpoints.sync(self)?;
        turn.pace.whole = Some(self.measure(begin, 1));
        turn.pace.doubt_pieces();
        let is_slow = turn.pace.slow(self.clock.now()).is_some();
        self.touched.set_in_use(is_slow);
        Ok(())
    }

    /// Makes `messages` durable in the Maildirs, and notes how long that takes.
    fn sync_pieces(&self, messages: &[Applied], turn: &mut Turn) -> Result<Synced, Error> {
        let begin = self.clock.now();
        let synced = self.sync_piecemeal(messages)?;
        if synced == Synced::All {
            turn.pace.piece = Some(self.measure(begin, count_names(messages)));
        }
        Ok(synced)
    }

    /// How long each of `n` things took since `begin`.
    fn measure(&self, begin: Instant, n: u32) -> Measured {
        let at = self.clock.now();
        let all = at.saturating_duration_since(begin);
        let took = all.checked_div(n).unwrap_or_default();
        Measured { took, at }
    }

    /// How long until a checkpoint is due, because the store has been idle for long enough or what
    /// a crash would replay is too old; `None` when it would replay nothing.
    fn until_due(&self) -> Option<Duration> {
        let progress = self.journal.as_ref()?.progress();
        let now = self.clock.now();
        let until = |since, bound: Duration| bound.saturating_sub(now.duration_since(since));
        let idle = until(progress.last_commit?, CHECKPOINT_IDLE);
        let age = until(progress.unsettled_since?, CHECKPOINT_AGE_MAX);
        progress.is_due.then_some(idle.min(age))
    }

    /// Makes a checkpoint if one is due; gives how long until it is to be asked again, if ever.
    pub(super) fn checkpoint_if_due(&self) -> Option<Duration> {
        let is_due = self.until_due() == Some(Duration::ZERO);
        if is_due {
            // A failure is told to the observer.
            self.checkpoint_when_idle().unwrap_or_default();
        }
        // What is still due then is tried again after a while.
        let left = self.until_due();
        left.map(|left| if is_due { CHECKPOINT_IDLE } else { left })
    }

    /// Makes a checkpoint of a store that has no need of the time, and says so in the journal: a
    /// crash from now on has nothing to replay.
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
        #[cfg(test)]
        if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::FloorsAreNotWritten) {
            return Ok(());
        }
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
        // What is in the place of the journal now is not to be ended.
        self.standing()?;
        journal.end()
    }
}

impl Helper for OpenStore {
    fn check_lock(&self) -> Result<(), Error> {
        Self::check_lock(self)
    }

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
            Wake::SegmentFull => (wanted.is_urgent, wanted.is_in_use) = (true, true),
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
            Some(error @ Error::Replaced { .. }) => Event::Replaced { error },
            Some(error) => Event::JournalFailed {
                error,
                is_out_of_order,
            },
            None => Event::JournalRestored,
        });
    }
}

/// In how many mailboxes `messages` are, all together.
fn count_names(messages: &[Applied]) -> u32 {
    let n_names: usize = messages.iter().map(|it| it.mailboxes.len()).sum();
    u32::try_from(n_names).unwrap_or(u32::MAX)
}

/// Starts the thread that makes checkpoints.
///
/// # Errors
/// [`Error::Io`] when the system gives no thread.
pub(super) fn start(store: &Arc<OpenStore>) -> Result<JoinHandle<()>, Error> {
    let for_thread = Arc::clone(store);
    thread::Builder::new()
        .name("checkpoint".to_owned())
        .spawn(move || run(&for_thread))
        .map_err(Error::io("start the checkpoints of", &store.root))
}

fn run(store: &OpenStore) {
    let checkpoints = &store.checkpoints;
    let mut wanted = checkpoints.wanted.lock();
    while !wanted.is_end {
        // What comes to wait from here on sets `is_in_use`.
        let due = MutexGuard::unlocked(&mut wanted, || store.waiting.until_due(store.clock.now()));
        if due == Some(Duration::ZERO) {
            MutexGuard::unlocked(&mut wanted, || store.cure_all());
        } else if std::mem::take(&mut wanted.is_urgent) {
            // A failure is told to the observer, and what it leaves is still due.
            MutexGuard::unlocked(&mut wanted, || store.checkpoint()).unwrap_or_default();
        } else if wanted.is_in_use {
            // Before it is looked: what comes then sets it again.
            wanted.is_in_use = false;
            let left = MutexGuard::unlocked(&mut wanted, || store.checkpoint_if_due());
            if let Some(left) = left {
                wanted.is_in_use = true;
                if !wanted.is_end && !wanted.is_urgent {
                    checkpoints.is_wanted.wait_for(&mut wanted, left);
                }
            }
        } else if wanted.is_end {
            break;
        } else if let Some(due) = due {
            checkpoints.is_wanted.wait_for(&mut wanted, due);
        } else {
            checkpoints.is_wanted.wait(&mut wanted);
        }
    }
    drop(wanted);
}
