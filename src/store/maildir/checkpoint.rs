//! Checkpoints make the messages of the journal durable in the Maildirs, so that its segments can
//! be reused.
//!
//! # Theory of operation
//! One sync of the whole file system makes everything durable that was applied before it began, no
//! matter how many files, and normally no acknowledgement waits for it. A checkpoint is made when a
//! segment is full, some seconds after the last message, a longer time after the first message that
//! a crash would replay, when a leader finds no room, and at the end. It counts once the journal
//! records it: in the next batch or, if none comes, in one without records.
//!
//! That sync also waits for everything that other programs have written, and keeps the disk busy
//! with it. So if it took long, the following checkpoints go *piece by piece* (`piecemeal.rs`): the
//! files that the journal's messages have touched are known (`touched.rs`), and are synced one by
//! one. Both ways are timed. The whole file system is synced again after a while, to find out
//! whether it still takes long; whenever there are so many pieces that they would take longer; if a
//! piece cannot be found; and if anything is in doubt.
//!
//! If a sync of the whole file system cannot be relied on (`trust.rs`), all checkpoints go piece by
//! piece, including those at a start and at a clean stop. If the record of what was touched is
//! incomplete, or anything is in doubt, the journal itself says which messages there are.
//!
//! If a sync fails, or the sync of any directory has failed since the last good checkpoint, the
//! system may have forgotten what it could not write while it still shows it. Another sync would
//! succeed and prove nothing (I9). So every message that the journal still has is written anew, to
//! a new file that replaces the old one (`replay.rs`), and then everything is synced again.
//!
//! # Invariants
//! - I7: a batch counts as checkpointed only if a successful sync covers everything that it
//!   records, and nothing that it relies on was in doubt.
//! - Only one checkpoint is made at a time.
//!
//! # Failures
//! [`Error`]: nothing is checkpointed, and nothing is lost, because it stays in the journal. Mail
//! is accepted until the journal is full.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::store::{
    Error, Event,
    limits::{CHECKPOINT_AGE_MAX, CHECKPOINT_ATTEMPTS_MAX, CHECKPOINT_IDLE},
    sync::{
        MutexGuard,
        thread::{self, JoinHandle},
    },
};

use super::{
    apply, cure,
    disk::{Disk, Synced},
    journal::{Helper, Journal, Progress, Wake},
    open::OpenStore,
    pace::{Measured, Turn},
    piecemeal, replay,
    touched::Applied,
};

/// Makes everything durable in the Maildirs that is applied by now.
///
/// # Errors
/// See the module.
pub(super) fn checkpoint(store: &OpenStore) -> Result<(), Error> {
    let Some(journal) = &store.journal else {
        return Ok(());
    };
    let mut taken = store.checkpoints.take_turn();
    let (begin, before) = (store.disk.clock.now(), journal.progress().checkpointed);
    let result = checkpoint_in_turn(store, journal, &mut taken.turn);
    let had_failed = std::mem::replace(&mut taken.turn.has_failed, result.is_err());
    drop(taken);
    // Not if there was nothing to do.
    if result.is_err() || journal.progress().checkpointed > before {
        let took = store.disk.clock.now().saturating_duration_since(begin);
        store.counters.checkpointed(result.is_ok(), took);
    }
    match &result {
        Ok(()) if had_failed => store.observer.tell(&Event::CheckpointRestored),
        Err(error) if !had_failed => store.observer.tell(&Event::CheckpointFailed { error }),
        Ok(()) | Err(_) => {}
    }
    result
}

fn checkpoint_in_turn(store: &OpenStore, journal: &Journal, turn: &mut Turn) -> Result<(), Error> {
    let mut result = Ok(());
    for _ in 0..CHECKPOINT_ATTEMPTS_MAX {
        let begun = store.disk.clock.now();
        let progress = journal.progress();
        if progress.applied <= progress.checkpointed {
            return Ok(());
        }
        let mark = store.disk.sync_mark();
        if turn.trusted != mark {
            // Later batches are applied after the failure.
            turn.doubtful = Some(progress.durable);
            turn.trusted = mark;
        }
        if let Some(doubtful) = turn.doubtful {
            if progress.applied < doubtful {
                // Messages that are being applied may be affected, and cannot be written anew yet.
                let reason = "a sync has failed, and messages are still being delivered";
                return Err(Error::other("sync", &store.disk.root, reason));
            }
            replay::write_anew(store, journal)?;
        }
        result = sync_applied(store, journal, progress, turn)
            .and_then(|()| store.disk.check_syncs(mark));
        if result.is_ok() {
            turn.doubtful = None;
            journal.checkpointed(progress.applied, begun);
            store.touched.settle();
            return Ok(());
        }
    }
    result
}

/// Makes everything durable in the Maildirs that is applied according to `progress`: piece by piece
/// if that is faster, otherwise with the whole file system.
fn sync_applied(
    store: &OpenStore,
    journal: &Journal,
    progress: Progress,
    turn: &mut Turn,
) -> Result<(), Error> {
    let touched = store.touched.take(progress.applied, progress.checkpointed);
    if !store.disk.trusts_whole_sync() {
        return match touched.filter(|_| turn.doubtful.is_none()) {
            Some(messages) => piecemeal::sync_piecemeal(store, &messages).map(drop),
            None => replay::sync_journaled(store, journal),
        };
    }
    let begin = store.disk.clock.now();
    if turn.doubtful.is_none()
        && let Some(messages) = touched
        && turn.pace.prefers_pieces(count_names(&messages), begin)
        && sync_pieces(store, &messages, turn)? == Synced::All
    {
        return Ok(());
    }
    let begin = store.disk.clock.now();
    store.checkpoints.sync(&store.disk)?;
    turn.pace.whole = Some(measure(&store.disk, begin, 1));
    turn.pace.doubt_pieces();
    let is_slow = turn.pace.slow(store.disk.clock.now()).is_some();
    store.touched.set_in_use(is_slow);
    Ok(())
}

/// Makes `messages` durable in the Maildirs, and measures how long that takes.
fn sync_pieces(store: &OpenStore, messages: &[Applied], turn: &mut Turn) -> Result<Synced, Error> {
    let begin = store.disk.clock.now();
    let synced = piecemeal::sync_piecemeal(store, messages)?;
    if synced == Synced::All {
        turn.pace.piece = Some(measure(&store.disk, begin, count_names(messages)));
    }
    Ok(synced)
}

/// How long each of `n` items took since `begin`.
fn measure(disk: &Disk, begin: Instant, n: u32) -> Measured {
    let at = disk.clock.now();
    let all = at.saturating_duration_since(begin);
    let took = all.checked_div(n).unwrap_or_default();
    Measured { took, at }
}

/// How long until a checkpoint is due, because the store has been idle for long enough or a batch
/// that a crash would replay is too old; `None` if a crash would replay nothing.
fn until_due(store: &OpenStore) -> Option<Duration> {
    let progress = store.journal.as_ref()?.progress();
    let now = store.disk.clock.now();
    let until = |since, bound: Duration| bound.saturating_sub(now.duration_since(since));
    let idle = until(progress.last_commit?, CHECKPOINT_IDLE);
    let age = until(progress.unsettled_since?, CHECKPOINT_AGE_MAX);
    progress.is_due.then_some(idle.min(age))
}

/// Makes a checkpoint if one is due; returns the time until the next call, if one is needed.
pub(super) fn checkpoint_if_due(store: &OpenStore) -> Option<Duration> {
    let is_due = until_due(store) == Some(Duration::ZERO);
    if is_due {
        // A failure is reported to the observer.
        checkpoint_when_idle(store).unwrap_or_default();
    }
    // If it is still due, it is tried again after a while.
    let left = until_due(store);
    left.map(|left| if is_due { CHECKPOINT_IDLE } else { left })
}

/// Makes a checkpoint of an idle store and records it in the journal, so that a crash from now on
/// has nothing to replay.
///
/// # Errors
/// As for [`checkpoint`].
pub(super) fn checkpoint_when_idle(store: &OpenStore) -> Result<(), Error> {
    apply::retry_kept(store)?;
    checkpoint(store)?;
    let Some(journal) = &store.journal else {
        return Ok(());
    };
    let progress = journal.progress();
    planted!(FloorsAreNotWritten, return Ok(()));
    if progress.checkpointed > progress.settled {
        journal.write_floor(store)?;
    }
    Ok(())
}

/// Ends the journal: all of it is made durable in the Maildirs, and no more is accepted.
///
/// # Errors
/// The next start replays what is not there yet.
pub(super) fn close(store: &OpenStore) -> Result<(), Error> {
    let Some(journal) = &store.journal else {
        return Ok(());
    };
    journal.close();
    apply::retry_kept(store)?;
    checkpoint(store)?;
    // If something else is in the place of the journal now, it must not be ended.
    store.place.standing(&store.disk)?;
    journal.end()
}

impl Helper for OpenStore {
    fn check_lock(&self) -> Result<(), Error> {
        self.place.check_lock(&self.disk)
    }

    fn make_room(&self, needed: u64) {
        let Some(journal) = &self.journal else { return };
        let begin = self.disk.clock.now();
        // Kept messages prevent a segment from being reused. Their failure was already reported.
        apply::retry_kept(self).unwrap_or_default();
        loop {
            let before = journal.progress();
            // If there is no room, whoever needs it gets an error.
            if checkpoint(self).is_err() || journal.progress().checkpointed >= needed {
                return;
            }
            let waited = self.disk.clock.now().saturating_duration_since(begin);
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

/// The number of mailboxes of all `messages`, added up.
fn count_names(messages: &[Applied]) -> u32 {
    let n_names: usize = messages.iter().map(|it| it.mailboxes.len()).sum();
    u32::try_from(n_names).unwrap_or(u32::MAX)
}

/// Starts the thread that makes checkpoints.
///
/// # Errors
/// [`Error::Io`] if the system cannot start a thread.
pub(super) fn start(store: &Arc<OpenStore>) -> Result<JoinHandle<()>, Error> {
    let for_thread = Arc::clone(store);
    thread::Builder::new()
        .name("checkpoint".to_owned())
        .spawn(move || run(&for_thread))
        .map_err(Error::io("start the checkpoints of", &store.disk.root))
}

fn run(store: &OpenStore) {
    let checkpoints = &store.checkpoints;
    let mut wanted = checkpoints.wanted.lock();
    while !wanted.is_end {
        // If something begins to wait after this, it sets `is_in_use`.
        let due = MutexGuard::unlocked(&mut wanted, || {
            store.waiting.until_due(store.disk.clock.now())
        });
        if due == Some(Duration::ZERO) {
            MutexGuard::unlocked(&mut wanted, || cure::cure_all(store));
        } else if std::mem::take(&mut wanted.is_urgent) {
            // A failure is reported to the observer, and leaves the checkpoint due.
            MutexGuard::unlocked(&mut wanted, || checkpoint(store)).unwrap_or_default();
        } else if wanted.is_in_use {
            // Before the check: whatever comes later sets it again.
            wanted.is_in_use = false;
            let left = MutexGuard::unlocked(&mut wanted, || checkpoint_if_due(store));
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
