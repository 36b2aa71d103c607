//! Reads the journal back: finds its batches, and decides which of them count.
//!
//! It only reads; the caller knows what the records mean.
//!
//! # Theory of operation
//! Every multiple of [`BATCH_ALIGNMENT`] in every segment is examined, except inside a whole batch:
//! something there that looks like a batch is part of a message. Of the whole batches of this
//! journal, the one with the highest number is the end. Starting there, each batch names the one
//! before it, down to the number that the end says is checkpointed. A batch that this chain skips
//! was never acknowledged: its sync had failed.
//!
//! A torn batch at the end is not whole, so the chain ends before it; it was never acknowledged. A
//! batch missing inside the chain is a loss: the disk did not keep what it had confirmed. Then
//! every whole batch is used, and the loss is reported to the caller.
//!
//! A block that the disk cannot read is treated as having no batch, like a torn one: the chain
//! shows whether a batch is missing. But if that block is where the next batch after the end would
//! begin, nobody knows whether there was one, and this is reported to the caller too. A segment
//! that cannot even be opened is treated as one in which no block can be read.
//!
//! # Failures
//! [`Error::Io`] if a segment cannot be opened for a reason other than a disk fault, or if a batch
//! cannot be read a second time.

use std::{
    collections::BTreeMap,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use crate::{
    fs::{Fs, Kind, Segment},
    store::Error,
};

use super::{
    format::{BATCH_ALIGNMENT, HEADER_OCTETS, Header, JournalId, Record, records},
    id_file,
};

/// A journal as it was found.
#[derive(Debug)]
pub(in crate::store) struct Journaled {
    /// `None` for a segment that cannot be opened.
    segments: Vec<Option<Box<dyn Segment>>>,
    /// The files of the segments.
    pub(in crate::store) paths: Vec<PathBuf>,
    /// The batches that count, in order.
    batches: Vec<Batch>,
    /// The numbers of batches that the chain names but that are not on the disk.
    missing: Vec<u64>,
    /// The segments with blocks that cannot be read.
    pub(in crate::store) unreadable: Vec<Unreadable>,
}

/// Blocks of a segment that the disk cannot read.
#[derive(Debug)]
pub(in crate::store) struct Unreadable {
    /// Its file.
    pub(in crate::store) path: PathBuf,
    /// How many such blocks there are, including those in which an unreadable batch begins; `None`
    /// if that is unknown, because the file cannot be opened.
    pub(in crate::store) n_blocks: Option<u64>,
    /// The system's error for the first one.
    pub(in crate::store) error: io::Error,
    /// Whether they may have held a batch that counts but that the chain does not name.
    pub(in crate::store) may_matter: bool,
}

/// What a scan of a segment cannot read.
#[derive(Debug, Default)]
struct Scan {
    /// Offsets of blocks that cannot be read.
    blocks: Vec<u64>,
    /// Numbers of unreadable batches whose first block can be read.
    numbers: Vec<u64>,
    /// Whether nothing can be read, because the file cannot be opened.
    is_closed: bool,
    error: Option<io::Error>,
}

impl Scan {
    /// The scan of a segment that cannot be opened.
    fn closed(error: io::Error) -> Self {
        Self {
            is_closed: true,
            error: Some(error),
            ..Self::default()
        }
    }

    fn n_blocks(&self) -> Option<u64> {
        let n_blocks = self.blocks.len().saturating_add(self.numbers.len());
        (!self.is_closed).then(|| u64::try_from(n_blocks).unwrap_or(u64::MAX))
    }

    /// Whether a batch after `end` may have been in the part that cannot be read. The next batch
    /// begins right after it, or at the start of another segment.
    fn may_matter(&self, index: usize, end: Option<&Batch>) -> bool {
        let Some(end) = end else {
            return self.error.is_some();
        };
        let next = if end.segment == index {
            end.offset.saturating_add(end.octets())
        } else {
            0
        };
        let is_behind = |number: &u64| *number > end.header.number;
        self.is_closed || self.blocks.contains(&next) || self.numbers.iter().any(is_behind)
    }
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    segment: usize,
    offset: u64,
    header: Header,
}

impl Batch {
    /// The space that it occupies in its segment.
    fn octets(&self) -> u64 {
        let header = u64::try_from(HEADER_OCTETS).unwrap_or_default();
        let alignment = u64::try_from(BATCH_ALIGNMENT).unwrap_or(1);
        let octets = header.saturating_add(self.header.octets.into());
        octets.next_multiple_of(alignment)
    }
}

impl Journaled {
    /// Reads the journal to be replayed from `directory`; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(in crate::store) fn read(fs: &dyn Fs, directory: &Path) -> Result<Option<Self>, Error> {
        let Some(id) = id_file::read(fs, directory)? else {
            return Ok(None);
        };
        let mut found = BTreeMap::new();
        let (mut segments, mut paths, mut scans) = (Vec::new(), Vec::new(), Vec::new());
        let entries = fs
            .read_dir(directory)
            .map_err(Error::io("read", directory))?;
        for entry in entries {
            if entry.kind != Kind::File || !entry.name.as_bytes().ends_with(b".seg") {
                continue;
            }
            let path = directory.join(&entry.name);
            let opened = fs.open_segment(&path).and_then(|segment| {
                let scan = scan(&*segment, segments.len(), id, &mut found)?;
                Ok((scan, segment))
            });
            let (scan, segment) = match opened {
                Ok((scan, segment)) => (scan, Some(segment)),
                Err(error) if id_file::is_of_disk(&error) => (Scan::closed(error), None),
                Err(error) => return Err(Error::io("open", &path)(error)),
            };
            scans.push(scan);
            segments.push(segment);
            paths.push(path);
        }
        let (batches, missing) = chain(&found);
        let end = found.last_key_value().map(|(_, end)| end);
        let mut unreadable = Vec::new();
        for (index, (scan, path)) in scans.into_iter().zip(&paths).enumerate() {
            let may_matter = scan.may_matter(index, end);
            let n_blocks = scan.n_blocks();
            if let Some(error) = scan.error {
                unreadable.push(Unreadable {
                    path: path.clone(),
                    n_blocks,
                    error,
                    may_matter,
                });
            }
        }
        Ok(Some(Self {
            segments,
            paths,
            batches,
            missing,
            unreadable,
        }))
    }

    /// Makes sure that the batches after number `behind` up to `last` were found, when the running
    /// store knows that they are durable.
    ///
    /// # Errors
    /// [`Error::Io`] if some of them cannot be read.
    pub(in crate::store) fn check(
        &self,
        directory: &Path,
        behind: u64,
        last: u64,
    ) -> Result<(), Error> {
        let end = self.batches.last().map_or(0, |end| end.header.number);
        let is_needed = |number: &u64| (behind.saturating_add(1)..=last).contains(number);
        if (behind >= last || end >= last) && !self.missing.iter().any(is_needed) {
            return Ok(());
        }
        let reason =
            "part of it cannot be read; after a restart facteur continues without that part";
        Err(Error::other("read the journal in", directory, reason))
    }

    /// The number of records that count.
    pub(in crate::store) fn n_records(&self) -> u64 {
        let counts = self
            .batches
            .iter()
            .map(|batch| u64::from(batch.header.n_records));
        counts.fold(0, u64::saturating_add)
    }

    /// How many batches the disk has lost although it had confirmed them.
    pub(in crate::store) fn n_missing(&self) -> u64 {
        u64::try_from(self.missing.len()).unwrap_or(u64::MAX)
    }

    /// Passes every record to `use_record`, in the order in which they were written.
    ///
    /// # Errors
    /// [`Error::Io`] if one cannot be read, and the errors of `use_record`.
    pub(in crate::store) fn each(
        &self,
        mut use_record: impl FnMut(Record<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for batch in &self.batches {
            let segment = self.segments.get(batch.segment).and_then(Option::as_deref);
            let Some((segment, path)) = segment.zip(self.paths.get(batch.segment)) else {
                continue;
            };
            let octets = read_batch(segment, batch.offset, &batch.header)
                .map_err(Error::io("read", path))?;
            // In a running store, a segment may have been reused since it was scanned.
            if !batch.header.fits(&octets) {
                return Err(Error::other("read", path, "it was overwritten meanwhile"));
            }
            for record in records(octets.get(HEADER_OCTETS..).unwrap_or_default()) {
                use_record(record)?;
            }
        }
        Ok(())
    }
}

/// Finds the whole batches of a segment.
fn scan(
    segment: &dyn Segment,
    index: usize,
    id: JournalId,
    found: &mut BTreeMap<u64, Batch>,
) -> io::Result<Scan> {
    let octets = segment.octets()?;
    let mut scan = Scan::default();
    let mut offset = 0;
    let mut start = [0; HEADER_OCTETS];
    while offset < octets {
        let mut length = BATCH_ALIGNMENT;
        let n_read = segment.read_at(&mut start, offset);
        let header = match n_read {
            Ok(n_read) => (n_read == HEADER_OCTETS)
                .then(|| Header::parse(&start, id))
                .flatten(),
            Err(error) => {
                scan.blocks.push(offset);
                scan.error.get_or_insert(error);
                None
            }
        };
        if let Some(header) = header
            && u64::from(header.octets) <= octets.saturating_sub(offset)
        {
            match read_batch(segment, offset, &header) {
                Ok(batch) if header.fits(&batch) => {
                    length = batch.len().next_multiple_of(BATCH_ALIGNMENT);
                    let batch = Batch {
                        segment: index,
                        offset,
                        header,
                    };
                    found.insert(header.number, batch);
                }
                Ok(_) => {}
                Err(error) => {
                    scan.numbers.push(header.number);
                    scan.error.get_or_insert(error);
                }
            }
        }
        offset = offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }
    Ok(scan)
}

/// Reads a batch without its padding; shorter if the segment ends earlier.
fn read_batch(segment: &dyn Segment, offset: u64, header: &Header) -> io::Result<Vec<u8>> {
    let records = usize::try_from(header.octets).unwrap_or(usize::MAX);
    let mut batch = vec![0; HEADER_OCTETS.saturating_add(records)];
    let n_read = segment.read_at(&mut batch, offset)?;
    batch.truncate(n_read);
    Ok(batch)
}

/// The batches that count, in order, and the numbers of those that are missing.
fn chain(found: &BTreeMap<u64, Batch>) -> (Vec<Batch>, Vec<u64>) {
    let Some((&last, end)) = found.last_key_value() else {
        return (Vec::new(), Vec::new());
    };
    let floor = end.header.checkpointed;
    let (mut batches, mut missing) = (Vec::new(), Vec::new());
    let mut number = last;
    while number > floor {
        let next = if let Some(batch) = found.get(&number) {
            batches.push(*batch);
            batch.header.previous
        } else {
            // Every whole batch below it counts: replaying too much does no harm.
            missing.push(number);
            let below = found.range(..number).next_back();
            below.map_or(0, |(&number, _)| number)
        };
        // A chain only goes down.
        number = next.min(number.saturating_sub(1));
    }
    batches.reverse();
    (batches, missing)
}
