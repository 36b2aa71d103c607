//! The segments of the journal, and where in them the next batch goes.
//!
//! The leader of a commit owns the ring: one batch is written at a time. The ring knows what may be
//! overwritten, not what the batches contain.
//!
//! # Theory of operation
//! The segments are used in a ring, each from its start to its end. So the oldest batches are
//! always overwritten first, and what remains is the end of the journal, without a gap. A segment
//! may be entered when every batch in it is *settled*: durable in the Maildirs, and recorded as
//! such by a durable batch. The last block of each segment is kept for an empty batch that says
//! exactly that. If it cannot be written, because a write failed in that segment, a new
//! file that begins with such a batch replaces the segment to be entered.
//!
//! A segment grows while it is filled for the first time: zeros are written and synced well ahead
//! of the batches, so that the blocks of a batch are already allocated and only its own octets have
//! to be synced. A segment that was filled once keeps its full size. Batches with messages leave
//! some space allocated after them, if need be in the next segment: on a full disk removals can
//! still be recorded there, and removals make room.
//!
//! The journal begins with its first batch: a random id is drawn and made durable (`id_file.rs`).
//!
//! # Invariants
//! - I7: a batch never overwrites anything unsettled.
//! - I9: a segment in which a write or a sync failed is never written again. When its batches are
//!   settled, a new file replaces it.
//!
//! # Failures
//! An [`Error`] for this one batch; the next attempt goes to a place that is not in doubt.
//!
//! # Known limits
//! If somebody removes the files of the journal while the daemon runs, the journal begins anew, and
//! messages that were acknowledged but not yet settled are only in the Maildirs. If somebody
//! overwrites the files, the next batch notices that.

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
    /// The paths of the segments, which each batch needs several times.
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
    /// All batches up to this one are checkpointed, and a durable batch says so.
    settled: u64,
    /// The last batch that is durable.
    mark: Option<Mark>,
    /// The segment and the directory's times when that segment and the id were last found there.
    found: Option<(usize, Stamp)>,
}

/// Where a batch was written, and its header.
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
    /// The identity of that file.
    identity: Option<Identity>,
    /// How many of its octets are allocated and durable.
    prepared: u64,
    /// The last durable batch in it; 0 if there is none. One without records counts too, because
    /// the next batch names it.
    last: u64,
    /// Whether a write or a sync failed in it.
    is_retired: bool,
}

/// How much is in a batch.
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
    /// Whether it is the first in its segment, so that the segment before it can be settled.
    pub(super) is_first: bool,
}

impl Ring {
    /// Opens the segments in `directory`, whatever they contain.
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
        // A journal that was ended here before may not have ended on disk: the system may have
        // failed to write that. A new id makes sure. A full disk must not prevent removals, which
        // make room.
        if ring.fs.metadata(&ring.directory).is_ok() {
            match ring.begin() {
                Ok(()) | Err(Error::Full { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(ring)
    }

    /// All batches up to this one are in the Maildirs, and will not be replayed.
    pub(super) fn settled(&self) -> u64 {
        self.settled
    }

    /// The last durable batch of this journal, even if it only records what is checkpointed and the
    /// batch after it failed.
    pub(super) fn last(&self) -> u64 {
        self.previous
    }

    /// The batch up to which everything has to be checkpointed before there is a place for a batch
    /// of `octets`; `None` if `checkpointed` is already enough.
    pub(super) fn needs(&self, octets: usize, n_records: u32, checkpointed: u64) -> Option<u64> {
        let last = self.last_in_next();
        let fits = self.fits_with(octets, n_records) || last <= checkpointed;
        (!fits).then_some(last)
    }

    /// Whether a batch of `octets` fits in the active segment: one without records may use the last
    /// block.
    fn fits_with(&self, octets: usize, n_records: u32) -> bool {
        self.fits(octets) || (n_records == 0 && self.fits_at_all(octets))
    }

    /// Whether a batch of `octets` fits in the active segment before its last block.
    fn fits(&self, octets: usize) -> bool {
        // The last block is reserved for a batch without records.
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

    /// Writes a batch, whose records follow the space for its header, and makes it durable. The
    /// batch says that all batches up to `checkpointed` are in the Maildirs.
    ///
    /// # Errors
    /// The batch may or may not be found after a crash: nothing may rely on it.
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
                // The former segment could not record it: its last block is used, or a write failed
                // there.
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

    /// Makes sure that the next segment may be overwritten. A durable batch has to say that its
    /// contents are settled; otherwise a crash in the middle of overwriting would look like a loss.
    fn settle(&mut self, checkpointed: u64) -> Result<(), Error> {
        let last = self.last_in_next();
        if last > checkpointed {
            let reason = "its messages are not yet in the Maildirs";
            return Err(Error::other("find room in", &self.directory, reason));
        }
        if last > self.settled && self.fits_at_all(HEADER_OCTETS) {
            self.write_here(&mut vec![0; HEADER_OCTETS], Load::default(), checkpointed)?;
        }
        Ok(())
    }

    /// Moves on to the next segment, with a new file if the old one is retired.
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

    /// Forgets the last batch if it is in a segment that is being entered, and so will be
    /// overwritten.
    fn forget_mark_in(&mut self, index: usize) {
        self.mark = self.mark.filter(|mark| mark.slot != index);
    }

    /// Replaces the next segment with a new file and moves on to it. The file begins with a batch
    /// that says what is settled, and that batch is durable before the old segment is gone.
    fn replace_next(&mut self, checkpointed: u64) -> Result<(), Error> {
        let index = self.next_index();
        let (path, new_path) = (self.path(index), self.path(index).with_extension("new.seg"));
        // Left by an earlier attempt, whose number no batch names, if it exists.
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
            .map_err(Error::io("sync", &self.directory))?;
        if let Some(next) = self.slots.get_mut(index) {
            *next = slot;
        }
        self.forget_mark_in(index);
        (self.active, self.offset) = (index, BLOCK);
        (self.previous, self.settled) = (self.number, checkpointed);
        Ok(())
    }

    /// Writes a batch into the active segment; returns its number.
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
                // The removals in the same batch make room.
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

    /// Marks the active segment as one that is not written to again.
    pub(super) fn retire(&mut self) {
        if let Some(slot) = self.slots.get_mut(self.active) {
            slot.is_retired = true;
        }
    }

    /// Allocates more than a batch that ends at `end` needs, in this segment or the next. The step
    /// grows with the segment: each step waits for a commit of the file system, but a store that is
    /// hardly used should stay small.
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

    /// Begins the journal: draws a random id and makes it durable.
    fn begin(&mut self) -> Result<(), Error> {
        let own = self.directory.parent().unwrap_or(&self.directory);
        prepare(&*self.fs, &self.directory, own)?;
        let mut id = [0; 16];
        sync::fill_random(&mut id)
            .map_err(Error::io("get a random number for", &self.directory))?;
        let held = id_file::write(&*self.fs, &self.directory, JournalId(id))?;
        self.id = Some(held);
        self.found = None;
        // The next batch is the first of its chain; numbers and `settled` continue.
        self.previous = 0;
        Ok(())
    }

    /// Ends the journal, all of which is durable in the Maildirs: nothing is replayed any more.
    ///
    /// # Errors
    /// [`Error::Io`]: it may be replayed, which does no harm.
    pub(super) fn end(&mut self) -> Result<(), Error> {
        match self.id.take() {
            Some(held) => {
                // If it is not our file, we must not remove it.
                if !id_file::is_gone(&*self.fs, &self.directory) {
                    held.check(&*self.fs)?;
                }
                id_file::remove(&*self.fs, &self.directory)
            }
            None => Ok(()),
        }
    }

    /// Makes sure that a start would find what was written: that the id and the segment on disk are
    /// the ones held open here, and that nobody has overwritten them.
    ///
    /// # Errors
    /// [`Error::Replaced`]; [`Error::Io`] if this cannot be determined.
    fn check_files(&mut self, header: [u8; HEADER_OCTETS], offset: u64) -> Result<(), Error> {
        let path = self.path(self.active);
        let replaced = || Error::replaced(&*path);
        self.check_names()?;
        let held = self.id.as_ref().ok_or_else(replaced)?;
        held.check_text()?;
        let slot = |index: usize| self.slots.get(index);
        // Whatever overwrites the files truncates them first, or reaches the older batches first.
        if let Some(mark) = self.mark
            && let Some(former) = slot(mark.slot).and_then(|slot| slot.file.as_deref())
        {
            let mut found = [0; HEADER_OCTETS];
            let n_read = former.read_at(&mut found, mark.offset);
            if n_read.map_err(Error::io("read", &path))? != HEADER_OCTETS || found != mark.header {
                // Left as it is, so that the next start finds the damage.
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

    /// Makes sure that the names of the id and of the active segment still refer to the files held
    /// open. If the times of their directory show every change since the last check, those are
    /// enough.
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

    /// Begins anew if somebody has removed the files, as people do to delete all mail: what is
    /// written to a file without a name is lost with the process.
    fn notice_removal(&mut self) {
        let file = self.slots.get(self.active).and_then(|it| it.file.as_ref());
        let is_gone = match file {
            Some(file) => file.is_linked().is_ok_and(|is_linked| !is_linked),
            // Not used since the start: then the id shows whether the journal is still there.
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
    /// Opens the file, creating it if missing, and makes its name durable.
    fn open(&mut self, fs: &dyn Fs, path: &Path) -> Result<(), Error> {
        let file = fs.open_segment(path).map_err(Error::io("open", path))?;
        let octets = file.octets().map_err(Error::io("look at", path))?;
        let identity = file.identity().map_err(Error::io("look at", path))?;
        let directory = path.parent().unwrap_or(path);
        if let Err(error) = fs.sync_dir(directory).and_then(|()| fs.confirm(path)) {
            // The disk may have lost the name although it is still visible (I9). If this fails too,
            // the next attempt opens the file again, and a different sync covers its name.
            fs.unlink(path).unwrap_or_default();
            return Err(Error::io("sync", directory)(error));
        }
        self.prepared = octets;
        self.identity = Some(identity);
        self.file = Some(file);
        Ok(())
    }

    /// Allocates the octets up to `end`, in a file that is created if missing. A full disk leaves
    /// the segment as it was.
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
            return Err(Error::io("sync", path)(error));
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

/// The file name of the segment at this place in the ring.
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

    /// How much is allocated after a first batch with this load, beyond the batch itself.
    fn allocated_ahead(load: Load) -> u64 {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("journal");
        let mut ring = Ring::open(Arc::new(RealFs), place, SHAPE, Clock::system()).unwrap();
        ring.write(&mut vec![0; HEADER_OCTETS], load, 0).unwrap();
        let prepared = ring.slots.first().unwrap().prepared;
        prepared.checked_sub(ring.offset).unwrap()
    }

    /// On a full disk, removals and checkpoints can be recorded in that space.
    #[test]
    fn messages_allocate_space_after_them_and_other_batches_do_not() {
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
