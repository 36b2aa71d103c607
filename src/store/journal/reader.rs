//! Reading the journal back: which batches there are, and which of them count.
//!
//! Only reads. What the records mean is the caller's business.
//!
//! # Theory of operation
//! Every multiple of [`BATCH_ALIGNMENT`] in every segment is looked at, except inside a batch that
//! is whole: what looks like a batch there is somebody's message. Of the batches that are whole and
//! of this journal the one with the highest number is the end. From there each names the one
//! before, down to what the end says is checkpointed. A batch that is skipped by this chain was
//! never acknowledged: its sync had failed.
//!
//! A batch at the end that is torn is not whole, so the chain ends before it; nobody was told that
//! it is there. A batch that is missing inside the chain is a loss: the disk did not keep what it
//! said it had. Then everything that is whole is used, and the caller is told.
//!
//! # Failures
//! [`Error::Io`] when a segment cannot be read.

use std::{
    collections::BTreeMap,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::{
    super::{
        error::Error,
        fs::{Fs, Kind, Segment},
    },
    format::{BATCH_ALIGNMENT, HEADER_OCTETS, Header, JournalId, Record, records},
    id_file,
};

/// A journal as it was found.
#[derive(Debug)]
pub(in crate::store) struct Journaled {
    segments: Vec<Box<dyn Segment>>,
    paths: Vec<PathBuf>,
    /// The batches that count, in their order.
    batches: Vec<Batch>,
    /// How many batches the chain names and the disk does not have.
    n_missing: u64,
}

#[derive(Clone, Copy, Debug)]
struct Batch {
    segment: usize,
    offset: u64,
    header: Header,
}

impl Journaled {
    /// Reads the journal that is to be replayed from `directory`; `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(in crate::store) fn read(fs: &dyn Fs, directory: &Path) -> Result<Option<Self>, Error> {
        let Some(id) = id_file::read(fs, directory)? else {
            return Ok(None);
        };
        let mut found = BTreeMap::new();
        let (mut segments, mut paths) = (Vec::new(), Vec::new());
        let entries = fs
            .read_dir(directory)
            .map_err(Error::io("read", directory))?;
        for entry in entries {
            if entry.kind != Kind::File || !entry.name.as_bytes().ends_with(b".seg") {
                continue;
            }
            let path = directory.join(&entry.name);
            let segment = fs.open_segment(&path).map_err(Error::io("open", &path))?;
            scan(&*segment, segments.len(), id, &mut found).map_err(Error::io("read", &path))?;
            segments.push(segment);
            paths.push(path);
        }
        let (batches, n_missing) = chain(&found);
        Ok(Some(Self {
            segments,
            paths,
            batches,
            n_missing,
        }))
    }

    /// How many records count.
    pub(in crate::store) fn n_records(&self) -> u64 {
        let counts = self
            .batches
            .iter()
            .map(|batch| u64::from(batch.header.n_records));
        counts.fold(0, u64::saturating_add)
    }

    /// The files of the segments.
    pub(in crate::store) fn paths(&self) -> &[PathBuf] {
        &self.paths
    }

    /// How many batches the disk has lost although they were durable.
    pub(in crate::store) fn n_missing(&self) -> u64 {
        self.n_missing
    }

    /// Gives every record to `use_record`, in the order in which they were written.
    ///
    /// # Errors
    /// [`Error::Io`] when one cannot be read, and what `use_record` says.
    pub(in crate::store) fn each(
        &self,
        mut use_record: impl FnMut(Record<'_>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for batch in &self.batches {
            let found = self
                .segments
                .get(batch.segment)
                .zip(self.paths.get(batch.segment));
            let Some((segment, path)) = found else {
                continue;
            };
            let octets = read_batch(&**segment, batch.offset, &batch.header)
                .map_err(Error::io("read", path))?;
            // While the store serves, a segment may have been used again since it was scanned.
            if !batch.header.fits(&octets) {
                let error = io::Error::other("it was overwritten meanwhile");
                return Err(Error::io("read", path)(error));
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
) -> io::Result<()> {
    let octets = segment.octets()?;
    let mut offset = 0;
    let mut start = [0; HEADER_OCTETS];
    while offset < octets {
        let mut length = BATCH_ALIGNMENT;
        if segment.read_at(&mut start, offset)? == HEADER_OCTETS
            && let Some(header) = Header::parse(&start, id)
            && u64::from(header.octets) <= octets.saturating_sub(offset)
        {
            let batch = read_batch(segment, offset, &header)?;
            if header.fits(&batch) {
                length = batch.len().next_multiple_of(BATCH_ALIGNMENT);
                let batch = Batch {
                    segment: index,
                    offset,
                    header,
                };
                found.insert(header.number, batch);
            }
        }
        offset = offset.saturating_add(u64::try_from(length).unwrap_or(u64::MAX));
    }
    Ok(())
}

/// Reads a batch without what fills it up; shorter when the segment ends before.
fn read_batch(segment: &dyn Segment, offset: u64, header: &Header) -> io::Result<Vec<u8>> {
    let records = usize::try_from(header.octets).unwrap_or(usize::MAX);
    let mut batch = vec![0; HEADER_OCTETS.saturating_add(records)];
    let n_read = segment.read_at(&mut batch, offset)?;
    batch.truncate(n_read);
    Ok(batch)
}

/// The batches that count, in their order, and how many are missing.
fn chain(found: &BTreeMap<u64, Batch>) -> (Vec<Batch>, u64) {
    let Some((&last, end)) = found.last_key_value() else {
        return (Vec::new(), 0);
    };
    let floor = end.header.checkpointed;
    let (mut batches, mut n_missing) = (Vec::new(), 0_u64);
    let mut number = last;
    while number > floor {
        let next = if let Some(batch) = found.get(&number) {
            batches.push(*batch);
            batch.header.previous
        } else {
            // What is whole below it counts: to replay too much does no harm.
            n_missing = n_missing.saturating_add(1);
            let below = found.range(..number).next_back();
            below.map_or(0, |(&number, _)| number)
        };
        // A chain only goes down.
        number = next.min(number.saturating_sub(1));
    }
    batches.reverse();
    (batches, n_missing)
}
