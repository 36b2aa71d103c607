//! The timing of checkpoints: whose turn it is, when one is wanted, and how long syncs take.

use std::time::{Duration, Instant};

use crate::{
    fs::{Volume, if_there},
    store::{
        Error,
        limits::{SYNC_PACE_KEPT, SYNC_SLOW},
        sync::{Condvar, Mutex},
    },
};

use super::disk::{Disk, SyncMark};

/// What the checkpoints of a store share.
#[derive(Debug)]
pub(super) struct Checkpoints {
    volume: Box<dyn Volume>,
    /// `None` while somebody makes a checkpoint.
    pub(super) turn: Mutex<Option<Turn>>,
    free: Condvar,
    pub(super) wanted: Mutex<Wanted>,
    pub(super) is_wanted: Condvar,
}

/// What one checkpoint passes to the next.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Turn {
    /// The number of failed directory syncs when nothing was in doubt.
    pub(super) trusted: SyncMark,
    /// The last batch that may be affected by a failed sync.
    pub(super) doubtful: Option<u64>,
    pub(super) has_failed: bool,
    pub(super) pace: Pace,
}

/// How long recent syncs took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    /// Of the whole file system.
    pub(super) whole: Option<Measured>,
    /// Piece by piece, for each name.
    pub(super) piece: Option<Measured>,
}

/// How long something took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Measured {
    pub(super) took: Duration,
    pub(super) at: Instant,
}

impl Pace {
    /// How long a sync of the whole file system takes, if that is long.
    pub(super) fn slow(&self, now: Instant) -> Option<Duration> {
        let took = self.whole.and_then(|whole| whole.at(now));
        took.filter(|took| *took >= SYNC_SLOW)
    }

    /// Whether the whole file system takes long, and syncing `n_names` one by one is faster.
    pub(super) fn prefers_pieces(&self, n_names: u32, now: Instant) -> bool {
        let piece = self.piece.and_then(|piece| piece.at(now));
        let pieces = piece.unwrap_or_default().saturating_mul(n_names);
        self.slow(now).is_some_and(|whole| pieces <= whole)
    }

    /// Lowers the measured time of pieces a little: it may have been a coincidence. The closer the
    /// two times are, the sooner pieces are tried again.
    pub(super) fn doubt_pieces(&mut self) {
        if let Some(piece) = &mut self.piece {
            let eighth = piece.took.checked_div(8).unwrap_or_default();
            piece.took = piece.took.saturating_sub(eighth);
        }
    }
}

impl Measured {
    /// How long it took, unless the measurement is too old.
    fn at(self, now: Instant) -> Option<Duration> {
        let age = now.saturating_duration_since(self.at);
        (age < SYNC_PACE_KEPT).then_some(self.took)
    }
}

/// The turn of one checkpoint; given back when this is dropped, whatever happened.
pub(super) struct TakenTurn<'a> {
    checkpoints: &'a Checkpoints,
    pub(super) turn: Turn,
}

impl Drop for TakenTurn<'_> {
    fn drop(&mut self) {
        *self.checkpoints.turn.lock() = Some(self.turn);
        self.checkpoints.free.notify_one();
    }
}

/// What is wanted from the thread.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted {
    pub(super) is_end: bool,
    /// Now: a segment is full, or so is the record of what was touched.
    pub(super) is_urgent: bool,
    pub(super) is_in_use: bool,
}

impl Checkpoints {
    pub(super) fn new(volume: Box<dyn Volume>) -> Self {
        Self {
            volume,
            turn: Mutex::new(Some(Turn::default())),
            free: Condvar::new(),
            wanted: Mutex::default(),
            is_wanted: Condvar::new(),
        }
    }

    /// Syncs the whole file system.
    pub(super) fn sync(&self, disk: &Disk) -> Result<(), Error> {
        self.volume
            .sync_whole()
            // Somebody may have removed or moved the directory; nothing will be acknowledged there.
            .and_then(|()| if_there(disk.fs.confirm(&disk.own)))
            .map(drop)
            .inspect_err(|_| disk.count_failed_sync())
            .map_err(Error::io("sync", &disk.root))
    }

    /// Whether a checkpoint is wanted now.
    #[cfg(test)]
    pub(super) fn is_urgent(&self) -> bool {
        self.wanted.lock().is_urgent
    }

    /// Whether no checkpoint is being made.
    #[cfg(test)]
    pub(super) fn is_free(&self) -> bool {
        self.turn.lock().is_some()
    }

    /// Whether a checkpoint was wanted; resets that.
    #[cfg(test)]
    pub(super) fn take_urgent(&self) -> bool {
        std::mem::take(&mut self.wanted.lock().is_urgent)
    }

    /// Whether a lock of this file is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.turn.is_locked() || self.wanted.is_locked()
    }

    pub(super) fn take_turn(&self) -> TakenTurn<'_> {
        let mut free = self.turn.lock();
        let turn = loop {
            match free.take() {
                Some(turn) => break turn,
                None => self.free.wait(&mut free),
            }
        };
        drop(free);
        TakenTurn {
            checkpoints: self,
            turn,
        }
    }

    pub(super) fn want(&self, want: impl FnOnce(&mut Wanted)) {
        want(&mut self.wanted.lock());
        self.is_wanted.notify_one();
    }

    /// Requests a checkpoint now.
    pub(super) fn hurry(&self) {
        self.want(|wanted| (wanted.is_urgent, wanted.is_in_use) = (true, true));
    }

    /// Makes the thread check again how long it can wait.
    pub(super) fn notice(&self) {
        self.want(|wanted| wanted.is_in_use = true);
    }

    /// Ends the thread.
    pub(super) fn end(&self) {
        self.want(|wanted| wanted.is_end = true);
    }
}
