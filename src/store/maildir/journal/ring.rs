//! The segments of the journal and the place of the next batch in them.
//!
//! Belongs to whoever leads a commit: one batch is written at a time. Knows what is safe to write
//! over, not what the batches say.
//!
//! # Theory of operation
//! The segments are used in a ring, each from its start to its end. So what is overwritten first is
//! always the oldest, and what is left of the journal is its end without a gap. A segment may be
//! entered when every batch in it is *settled*: in the Maildirs, durably, and said to be so by a
//! durable batch. The last block of each segment is kept for a batch without records that says
//! just that. Where it cannot be written, because a write failed in that segment, a new file says
//! so at its beginning before it takes the place of the segment to be entered.
//!
//! A segment grows while it is filled for the first time: zeros are written and synced a good piece
//! ahead of the batches, so that a batch finds its blocks allocated and needs no more than its own
//! octets synced. A segment that was filled once has its full size ever after. Messages leave a
//! piece free behind them, be it in the next segment: on a full disk what is removed can still be
//! noted there, and that is what makes room.
//!
//! The journal begins with its first batch: an id is drawn and made durable (`id_file.rs`).
//!
//! # Invariants
//! - I7: a batch is written only where nothing unsettled lies.
//! - I9: a segment in which a write or a sync failed is never written again. When its batches are
//!   settled another file takes its place.
//!
//! # Failures
//! An [`Error`] for this one batch; the next attempt finds a place that is not in doubt.
//!
//! # Known limits
//! When the files of the journal are removed by somebody while the daemon runs, it begins anew, and
//! what was acknowledged but not yet settled has its file in the Maildirs only. When they are
//! written over, that is noticed at the next batch.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    clock::Clock,
    fs::{Fs, Identity, Segment, Stamp, if_there},
    store::{
        Error,
        limits::{SEGMENT_STEP_OCTETS, SEGMENT_STEP_OCTETS_MAX},
        sync,
    },
};

use super::{
    super::{
        private::prepare,
        times::{self, Shows, identity_at, stamp_at},
    },
    format::{BATCH_ALIGNMENT, HEADER_OCTETS, JournalId, Seal},
    id_file::{self, HeldId},
    shape::{BLOCK, Shape},
};

/// The segments. See the module.
#[derive(Debug)]
pub(super) struct Ring {
    fs: Arc<dyn Fs>,
    clock: Clock,
    directory: PathBuf,
    /// Where the segments are: asked for several times for each batch.
    paths: Vec<Arc<Path>>,
    shape: Shape,
    /// `None` while the journal is empty.
    id: Option<HeldId>,
    slots: Vec<Slot>,
    active: usize,
    /// Where the next batch of the active segment begins.
    offset: u64,
    /// The number of the last batch that was tried.
    number: u64,
    /// The last durable batch of this journal.
    previous: u64,
    /// What a durable batch says of itself to be checkpointed.
    settled: u64,
    /// The last batch that is durable.
    mark: Option<Mark>,
    /// The directory when the id and the segment of this place in the ring were last found in it.
    found: Option<(usize, Stamp)>,
}

/// Where a batch was written, and how it began.
#[derive(Clone, Copy, Debug)]
struct Mark {
    slot: usize,
    offset: u64,
    header: [u8; HEADER_OCTETS],
}

/// The place of one segment in the ring.
#[derive(Debug, Default)]
struct Slot {
    /// `None` before it is used for the first time.
    file: Option<Box<dyn Segment>>,
    /// Which file that is.
    identity: Option<Identity>,
    /// Its octets that are allocated and durable.
    prepared: u64,
    /// The last durable batch in it; 0 when there is none. One without records counts, too: the
    /// batch behind it names it.
    last: u64,
    /// Whether a write or a sync failed in it.
    is_retired: bool,
}

/// What is in a batch.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Load {
    pub(super) n_records: u32,
    /// How many of them are messages.
    pub(super) n_messages: u32,
}

/// A batch that is durable.
#[derive(Clone, Copy, Debug)]
pub(super) struct Written {
    /// Its number.
    pub(super) number: u64,
    /// Whether it is the first in its segment, so that the one before could be settled.
    pub(super) is_first: bool,
}

impl Ring {
    /// The segments in `directory`, whatever is in them.
    pub(super) fn open(
        fs: Arc<dyn Fs>,
        directory: PathBuf,
        shape: Shape,
        clock: Clock,
    ) -> Result<Self, Error> {
        let paths = (0..shape.segments).map(|index| directory.join(segment_name(index)).into());
        let mut ring = Self {
            fs,
            clock,
            paths: paths.collect(),
            directory,
            shape,
            id: None,
            slots: (0..shape.segments).map(|_| Slot::default()).collect(),
            active: 0,
            offset: 0,
            number: 0,
            previous: 0,
            settled: 0,
            mark: None,
            found: None,
        };
        // A journal that ended here before need not have ended on disk too: the system may have
        // failed to write that. A new id settles it; a full disk must not keep anybody from making
        // room.
        if ring.fs.metadata(&ring.directory).is_ok() {
            match ring.begin() {
                Ok(()) | Err(Error::Full { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ring)
    }

    /// All batches up to this one are in the Maildirs and will not be replayed.
    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// The last durable batch of this journal; also one that only says what is checkpointed, before
    /// one that failed.
    pub(super) fn last(&self) -> u64 {
        self.previous
    }

    /// Up to which batch all has to be checkpointed before a batch of `octets` has a place; `None`
    /// when it has one with what is `checkpointed`.
    pub(super) fn needs(&self, octets: usize, n_records: u32, checkpointed: u64) -> Option<u64> {
        let last = self.last_in_next();
        let fits = self.fits_with(octets, n_records) || last <= checkpointed;
        (!fits).then_some(last)
    }

    /// Whether the active segment takes a batch of `octets`: one without records may use the last
    /// block.
    fn fits_with(&self, octets: usize, n_records: u32) -> bool {
        self.fits(octets) || (n_records == 0 && self.fits_at_all(octets))
    }

    /// Whether the active segment takes a batch of `octets`.
    fn fits(&self, octets: usize) -> bool {
        // The last block is for a batch without records.
        self.is_usable() && self.end_of(octets) <= self.shape.segment_octets.saturating_sub(BLOCK)
    }

    fn is_usable(&self) -> bool {
        let active = self.slots.get(self.active);
        active.is_some_and(|slot| !slot.is_retired)
    }

    fn end_of(&self, octets: usize) -> u64 {
        let octets = octets.next_multiple_of(BATCH_ALIGNMENT);
        let octets = u64::try_from(octets).unwrap_or(u64::MAX);
        self.offset.saturating_add(octets)
    }

    fn next_index(&self) -> usize {
        let next = self.active.saturating_add(1);
        if next < self.slots.len() { next } else { 0 }
    }

    fn last_in_next(&self) -> u64 {
        planted!(SegmentsAreReusedEarly, return 0);
        let next = self.slots.get(self.next_index());
        next.map_or(0, |slot| slot.last)
    }

    fn path(&self, index: usize) -> Arc<Path> {
        let path = self.paths.get(index).cloned();
        path.unwrap_or_else(|| self.directory.join(segment_name(index)).into())
    }

    /// Writes a batch, whose records stand behind the place for its header, and makes it durable.
    /// It says that all batches up to `checkpointed` are in the Maildirs.
    ///
    /// # Errors
    /// The batch may or may not be found after a crash: nothing may rest on it.
    pub(super) fn write(
        &mut self,
        batch: &mut Vec<u8>,
        load: Load,
        checkpointed: u64,
    ) -> Result<Written, Error> {
        self.begin_if_gone()?;
        let fits = self.fits_with(batch.len(), load.n_records);
        if !fits {
            self.settle(checkpointed)?;
            if self.last_in_next() > self.settled {
                // The former segment could not say so: its last block is used up, or it failed.
                self.replace_next(checkpointed)?;
            } else {
                self.enter_next()?;
            }
            self.begin_if_gone()?;
        }
        let number = self.write_here(batch, load, checkpointed)?;
        Ok(Written {
            number,
            is_first: !fits,
        })
    }

    /// Begins the journal unless it has begun and its files are still there.
    fn begin_if_gone(&mut self) -> Result<(), Error> {
        self.notice_removal();
        if self.id.is_none() {
            self.begin()?;
        }
        Ok(())
    }

    fn fits_at_all(&self, octets: usize) -> bool {
        self.is_usable() && self.end_of(octets) <= self.shape.segment_octets
    }

    /// Makes sure that the next segment may be overwritten. A durable batch has to say that what
    /// lies in it is settled; else a crash in the middle of overwriting would look like a loss.
    fn settle(&mut self, checkpointed: u64) -> Result<(), Error> {
        let last = self.last_in_next();
        if last > checkpointed {
            let reason = "what lies in it is not yet in the Maildirs";
            return Err(Error::other("find room in", &self.directory, reason));
        }
        if last > self.settled && self.fits_at_all(HEADER_OCTETS) {
            self.write_here(&mut vec![0; HEADER_OCTETS], Load::default(), checkpointed)?;
        }
        Ok(())
    }

    /// Goes on to the next segment, with a new file when the old one is retired.
    fn enter_next(&mut self) -> Result<(), Error> {
        self.active = self.next_index();
        self.offset = 0;
        self.forget_mark_in(self.active);
        let path = self.path(self.active);
        if let Some(slot) = self.slots.get_mut(self.active)
            && slot.is_retired
        {
            if_there(self.fs.unlink(&path)).map_err(Error::io("remove", &path))?;
            *slot = Slot::default();
        }
        Ok(())
    }

    /// Forgets the last batch if it is in a segment that is entered, and so written over.
    fn forget_mark_in(&mut self, index: usize) {
        self.mark = self.mark.filter(|mark| mark.slot != index);
    }

    /// Puts a new file into the place of the next segment and goes on to it. It begins with a batch
    /// that says what is settled, durably before what it says it of is gone.
    fn replace_next(&mut self, checkpointed: u64) -> Result<(), Error> {
        let index = self.next_index();
        let (path, new_path) = (self.path(index), self.path(index).with_extension("new.seg"));
        // Left by an earlier attempt, whose number nobody names, or not there.
        if_there(self.fs.unlink(&new_path)).map_err(Error::io("remove", &new_path))?;
        self.number = self.number.saturating_add(1);
        let no_id = || Error::io("write", &new_path)(io::ErrorKind::Other.into());
        let seal = Seal {
            id: self.id.as_ref().ok_or_else(no_id)?.id,
            number: self.number,
            previous: self.previous,
            checkpointed,
            n_records: 0,
        };
        let mut batch = vec![0; HEADER_OCTETS];
        seal.close(&mut batch);
        let mut slot = Slot::default();
        slot.prepare(&*self.fs, &new_path, BLOCK)?;
        slot.write(&batch, 0)
            .map_err(Error::io("write", &new_path))?;
        slot.last = self.number;
        self.fs
            .rename(&new_path, &path)
            .map_err(Error::io("replace", &path))?;
        self.fs
            .sync_dir(&self.directory)
            .and_then(|()| self.fs.confirm(&path))
            .map_err(Error::io("make durable", &self.directory))?;
        if let Some(next) = self.slots.get_mut(index) {
            *next = slot;
        }
        self.forget_mark_in(index);
        (self.active, self.offset) = (index, BLOCK);
        (self.previous, self.settled) = (self.number, checkpointed);
        Ok(())
    }

    /// Writes a batch into the active segment; gives its number.
    fn write_here(
        &mut self,
        batch: &mut Vec<u8>,
        load: Load,
        checkpointed: u64,
    ) -> Result<u64, Error> {
        self.number = self.number.saturating_add(1);
        let (number, previous, offset) = (self.number, self.previous, self.offset);
        let end = self.end_of(batch.len());
        let path = self.path(self.active);
        let no_id = || Error::io("write", &path)(io::ErrorKind::Other.into());
        let seal = Seal {
            id: self.id.as_ref().ok_or_else(no_id)?.id,
            number,
            previous,
            checkpointed,
            n_records: load.n_records,
        };
        seal.close(batch);
        if load.n_messages > 0 {
            match self.keep_ahead(end) {
                // What is removed together with these messages makes room.
                Err(Error::Full { .. }) if load.n_records > load.n_messages => {}
                kept => kept?,
            }
        }
        let slot = self.slots.get_mut(self.active).ok_or_else(no_id)?;
        if slot.is_retired {
            return Err(Error::other("write", &path, "an earlier write failed"));
        }
        slot.prepare(&*self.fs, &path, end)?;
        slot.write(batch, offset)
            .map_err(Error::io("write", &path))?;
        slot.last = number;
        (self.offset, self.previous, self.settled) = (end, number, checkpointed);
        let header = batch.first_chunk().copied();
        self.check_files(header.unwrap_or([0; HEADER_OCTETS]), offset)?;
        Ok(number)
    }

    /// Leaves the active segment alone from now on.
    pub(super) fn retire(&mut self) {
        if let Some(slot) = self.slots.get_mut(self.active) {
            slot.is_retired = true;
        }
    }

    /// Allocates more than a batch that ends at `end` needs, in this segment or the next. How much
    /// grows with the segment: each step waits for a commit of the file system, and a store that is
    /// hardly used shall stay small.
    fn keep_ahead(&mut self, end: u64) -> Result<(), Error> {
        let wanted = end.saturating_add(SEGMENT_STEP_OCTETS);
        let segment_octets = self.shape.segment_octets;
        let (active, next) = (self.active, self.next_index());
        let places = [
            (active, wanted.min(segment_octets)),
            (next, wanted.saturating_sub(segment_octets)),
        ];
        for (index, octets) in places {
            let path = self.path(index);
            if let Some(slot) = self.slots.get_mut(index)
                && !slot.is_retired
                && slot.prepared < octets
            {
                let step = slot
                    .prepared
                    .clamp(SEGMENT_STEP_OCTETS, SEGMENT_STEP_OCTETS_MAX);
                let octets = octets.max(slot.prepared.saturating_add(step));
                slot.prepare(&*self.fs, &path, octets.min(segment_octets))?;
            }
        }
        Ok(())
    }

    /// Begins the journal: draws an id and makes it durable.
    fn begin(&mut self) -> Result<(), Error> {
        let own = self.directory.parent().unwrap_or(&self.directory);
        prepare(&*self.fs, &self.directory, own)?;
        let mut id = [0; 16];
        sync::fill_random(&mut id)
            .map_err(Error::io("draw a random number for", &self.directory))?;
        let held = id_file::write(&*self.fs, &self.directory, JournalId(id))?;
        self.id = Some(held);
        self.found = None;
        // The first of its chain; numbers go on, and so does what is settled.
        self.previous = 0;
        Ok(())
    }

    /// Ends the journal, all of which is in the Maildirs, durably: nothing is replayed any more.
    ///
    /// # Errors
    /// [`Error::Io`]: it may be replayed, which does no harm.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        match self.id.take() {
            Some(held) => {
                // Another one is not ours to be removed.
                if !id_file::is_gone(&*self.fs, &self.directory) {
                    held.check(&*self.fs)?;
                }
                id_file::remove(&*self.fs, &self.directory)
            }
            None => Ok(()),
        }
    }

    /// Makes sure that a start would find what was written: that the id and the segment in which it
    /// is are those that are held, and that nobody wrote over them.
    ///
    /// # Errors
    /// [`Error::Replaced`]; [`Error::Io`] when that cannot be told.
    fn check_files(&mut self, header: [u8; HEADER_OCTETS], offset: u64) -> Result<(), Error> {
        let path = self.path(self.active);
        let replaced = || Error::replaced(&*path);
        self.check_names()?;
        let held = self.id.as_ref().ok_or_else(replaced)?;
        held.check_text()?;
        let slot = |index: usize| self.slots.get(index);
        // Who writes over the files truncates them first, or comes to the older batches first.
        if let Some(mark) = self.mark
            && let Some(former) = slot(mark.slot).and_then(|slot| slot.file.as_deref())
        {
            let mut found = [0; HEADER_OCTETS];
            let n_read = former.read_at(&mut found, mark.offset);
            if n_read.map_err(Error::io("read", &path))? != HEADER_OCTETS || found != mark.header {
                // Left as it is: the next start has to find that it is damaged.
                return Err(replaced());
            }
        }
        self.mark = Some(Mark {
            slot: self.active,
            offset,
            header,
        });
        Ok(())
    }

    /// Makes sure that the id and the active segment are what their names stand for: by the times
    /// of their directory, if those tell of every change since they were last looked at.
    fn check_names(&mut self) -> Result<(), Error> {
        let file_time = self.clock.file_time();
        let Some(directory) = stamp_at(&*self.fs, &self.directory)? else {
            return Err(Error::replaced(&self.directory));
        };
        let found = (self.active, directory);
        if self.found == Some(found) {
            return Ok(());
        }
        self.found = None;
        let path = self.path(self.active);
        let identity = self.slots.get(self.active).and_then(|slot| slot.identity);
        let identity_now = identity_at(&*self.fs, &path)?;
        if identity.is_none() || identity_now != identity {
            return Err(Error::replaced(&*path));
        }
        if let Some(held) = &self.id {
            held.check_name(&*self.fs)?;
        }
        let shows_all = times::shows_changes(&directory, file_time) == Shows::All;
        let file_system = || self.fs.file_system(&self.directory);
        if shows_all && file_system().is_ok_and(|it| it.trust().times) {
            self.found = Some(found);
        }
        Ok(())
    }

    /// Begins anew when somebody has removed the files, as people do who want all mail gone: what
    /// is written to a file without a name is lost with the process.
    fn notice_removal(&mut self) {
        let file = self.slots.get(self.active).and_then(|it| it.file.as_ref());
        let is_gone = match file {
            Some(file) => file.is_linked().is_ok_and(|is_linked| !is_linked),
            // Not used in this life: then the id says whether the journal is still there.
            None => self.id.is_some() && id_file::is_gone(&*self.fs, &self.directory),
        };
        if is_gone {
            self.mark = None;
            for slot in &mut self.slots {
                *slot = Slot::default();
            }
            (self.id, self.active, self.offset) = (None, 0, 0);
        }
    }
}

impl Slot {
    /// Opens the file, made if missing, and makes its name durable.
    fn open(&mut self, fs: &dyn Fs, path: &Path) -> Result<(), Error> {
        let file = fs.open_segment(path).map_err(Error::io("open", path))?;
        let octets = file.octets().map_err(Error::io("look at", path))?;
        let identity = file.identity().map_err(Error::io("look at", path))?;
        let directory = path.parent().unwrap_or(path);
        if let Err(error) = fs.sync_dir(directory).and_then(|()| fs.confirm(path)) {
            // The disk may have lost the name although it can be seen (I9). When this fails too,
            // the next attempt opens it again, and a sync that was not ours has its name.
            fs.unlink(path).unwrap_or_default();
            return Err(Error::io("make durable", directory)(error));
        }
        self.prepared = octets;
        self.identity = Some(identity);
        self.file = Some(file);
        Ok(())
    }

    /// Allocates the octets up to `end`, in a file that is made if missing. A full disk leaves the
    /// segment as it was.
    fn prepare(&mut self, fs: &dyn Fs, path: &Path, end: u64) -> Result<(), Error> {
        if self.file.is_none() {
            self.open(fs, path)?;
        }
        if self.prepared >= end {
            return Ok(());
        }
        let no_file = || Error::io("enlarge", path)(io::ErrorKind::NotFound.into());
        let file = self.file.as_deref().ok_or_else(no_file)?;
        let mut written = self.prepared;
        while written < end {
            let octets = end.saturating_sub(written).min(SEGMENT_STEP_OCTETS);
            let zeros = vec![0; usize::try_from(octets).unwrap_or(0)];
            file.write_at(&zeros, written)
                .map_err(Error::io("enlarge", path))?;
            written = written.saturating_add(octets);
        }
        let synced = file.sync_data().and_then(|()| fs.confirm(path));
        if let Err(error) = synced {
            self.is_retired = true;
            return Err(Error::io("make durable", path)(error));
        }
        self.prepared = end;
        Ok(())
    }

    /// Writes a batch and makes it durable.
    fn write(&mut self, batch: &[u8], offset: u64) -> io::Result<()> {
        let file = self.file.as_deref().ok_or(io::ErrorKind::NotFound)?;
        let written = file.write_at(batch, offset);
        let written = written.and_then(|()| file.sync_data());
        planted!(
            FailedSyncsAreRepeated,
            return written.or_else(|_| file.sync_data())
        );
        written.inspect_err(|_| self.is_retired = true)
    }
}

/// The file name of the segment with this place in the ring.
fn segment_name(index: usize) -> String {
    format!("{index}.seg")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    const SHAPE: Shape = Shape {
        segment_octets: 4 * 1_024 * 1_024,
        segments: 2,
    };

    /// How much is allocated when a batch like this is the first one, beyond the batch itself.
    fn allocated_ahead(load: Load) -> u64 {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("journal");
        let mut ring = Ring::open(Arc::new(RealFs), place, SHAPE, Clock::system()).unwrap();
        ring.write(&mut vec![0; HEADER_OCTETS], load, 0).unwrap();
        let prepared = ring.slots.first().unwrap().prepared;
        prepared.checked_sub(ring.offset).unwrap()
    }

    /// On a full disk what is removed, and what is checkpointed, can be noted there.
    #[test]
    fn messages_leave_a_piece_free_behind_them_and_nothing_else_needs_one() {
        for (n_records, n_messages, is_ahead) in
            [(0, 0, false), (1, 0, false), (1, 1, true), (2, 1, true)]
        {
            let load = Load {
                n_records,
                n_messages,
            };
            let ahead = allocated_ahead(load);
            assert_eq!(ahead >= SEGMENT_STEP_OCTETS, is_ahead, "{load:?}: {ahead}");
            assert_eq!(ahead == 0, !is_ahead, "{load:?}: {ahead}");
        }
    }
}
