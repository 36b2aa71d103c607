//! The file that says which journal must be replayed.
//!
//! `<store>/.facteur/journal/id` holds the id as 32 hexadecimal digits. While it exists, the next
//! start must replay the batches with this id; without it the journal is empty, whatever the
//! segments contain. So a whole journal begins when this one name appears and ends when it is
//! removed.
//!
//! # Failures
//! [`Error`]. The file may then be there after a crash or not, and both are right: nothing was
//! written to a journal that could not begin, and everything is in the Maildirs when a journal
//! ends.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use crate::{
    fs::{Fs, Identity, Segment, if_there},
    store::Error,
};

use super::{super::times::identity_at, format::JournalId};

const NAME: &str = "id";

/// The length of its content: 32 digits and a line feed.
const TEXT_OCTETS: usize = 33;

/// Its name while it is written.
const NEW_NAME: &str = "id.new";

/// The file as it was written, held open.
#[derive(Debug)]
pub(super) struct HeldId {
    /// The id that it contains.
    pub(super) id: JournalId,
    text: String,
    path: PathBuf,
    file: Box<dyn Segment>,
    identity: Identity,
}

impl HeldId {
    /// Makes sure that the file is still there, with the same content.
    ///
    /// # Errors
    /// [`Error::Replaced`]; [`Error::Io`] if this cannot be determined.
    pub(super) fn check(&self, fs: &dyn Fs) -> Result<(), Error> {
        self.check_name(fs)?;
        self.check_text()
    }

    /// Makes sure that its name still refers to this file. Errors as for [`check`](Self::check).
    pub(super) fn check_name(&self, fs: &dyn Fs) -> Result<(), Error> {
        let path = &self.path;
        let found = identity_at(fs, path)?;
        self.check_that(found == Some(self.identity))
    }

    /// Makes sure that nobody has overwritten it. Errors as for [`check`](Self::check).
    pub(super) fn check_text(&self) -> Result<(), Error> {
        // Only as much as was written: to read more would take another call to find the end.
        let mut text = [0; TEXT_OCTETS];
        let n_read = self.file.read_at(&mut text, 0);
        let n_read = n_read.map_err(Error::io("read", &self.path))?;
        self.check_that(text.get(..n_read) == Some(self.text.as_bytes()))
    }

    fn check_that(&self, is_so: bool) -> Result<(), Error> {
        is_so
            .then_some(())
            .ok_or_else(|| Error::replaced(&self.path))
    }
}

/// Makes `id` the journal to be replayed, durably.
pub(super) fn write(fs: &dyn Fs, directory: &Path, id: JournalId) -> Result<HeldId, Error> {
    let (path, new_path) = (directory.join(NAME), directory.join(NEW_NAME));
    // Left by a crash or an earlier attempt, if it exists.
    fs.unlink(&new_path).unwrap_or_default();
    let text = format!("{:032x}\n", u128::from_be_bytes(id.0));
    let written = fs.create_new(&new_path).and_then(|mut file| {
        file.append(text.as_bytes())?;
        file.sync()?;
        fs.rename(&new_path, &path)?;
        // Once more under its name: some file systems in user space do not pass on the sync of a
        // directory, but when a file is synced, the file system below also records its name.
        file.sync()
    });
    written.map_err(Error::io("write", &path))?;
    fs.sync_dir(directory)
        .and_then(|()| fs.confirm(&path))
        .map_err(Error::io("sync", directory))?;
    let file = fs.open_segment(&path).map_err(Error::io("open", &path))?;
    let identity = file.identity().map_err(Error::io("look at", &path))?;
    Ok(HeldId {
        id,
        text,
        path,
        file,
        identity,
    })
}

/// Removes the id, durably, so that nothing is replayed.
pub(super) fn remove(fs: &dyn Fs, directory: &Path) -> Result<(), Error> {
    let path = directory.join(NAME);
    // Synced as in `write`. If it cannot be opened, the sync of the directory has to be enough.
    let held = fs.open(&path);
    let unlinked = if_there(fs.unlink(&path)).map_err(Error::io("remove", &path))?;
    if unlinked.is_none() {
        // Somebody removed everything.
        return Ok(());
    }
    let synced = held.map_or(Ok(()), |mut file| file.sync());
    synced
        .and_then(|()| fs.sync_dir(directory))
        .map_err(Error::io("sync", directory))
}

/// Whether somebody has removed it.
pub(super) fn is_gone(fs: &dyn Fs, directory: &Path) -> bool {
    let found = fs.metadata(&directory.join(NAME));
    found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// The id of the journal to be replayed; `None` if there is none.
///
/// # Errors
/// [`Error::Io`] if it cannot be read, or is not an id.
pub(super) fn read(fs: &dyn Fs, directory: &Path) -> Result<Option<JournalId>, Error> {
    let path = directory.join(NAME);
    let opened = if_there(fs.open(&path)).map_err(with_cure);
    let Some(mut file) = opened.map_err(Error::io("open", &path))? else {
        return Ok(None);
    };
    let mut text = [0; 64];
    let n_read = file.read(&mut text);
    let n_read = n_read
        .map_err(with_cure)
        .map_err(Error::io("read", &path))?;
    let id = text.get(..n_read).and_then(parse);
    id.map(Some).ok_or_else(|| {
        let reason = format!("32 hexadecimal digits were expected; {CURE}");
        Error::io("understand", &path)(io::Error::new(io::ErrorKind::InvalidData, reason))
    })
}

/// Adds to a disk fault what to do about it. Without the id, nobody can tell which batches count,
/// and to use an id found in a batch would be to trust what came by mail (SEC-20). So the decision
/// is left to the operator.
fn with_cure(error: io::Error) -> io::Error {
    if is_of_disk(&error) {
        io::Error::new(error.kind(), format!("{error}; {CURE}"))
    } else {
        error
    }
}

const CURE: &str = "move the file away to start without the journal, which loses what was not yet \
                    in the Maildirs";

fn parse(text: &[u8]) -> Option<JournalId> {
    let digits = std::str::from_utf8(text.strip_suffix(b"\n")?).ok()?;
    let is_id = digits.len() == 32 && digits.bytes().all(|octet| octet.is_ascii_hexdigit());
    let id = u128::from_str_radix(digits, 16).ok().filter(|_| is_id)?;
    Some(JournalId(id.to_be_bytes()))
}

/// Whether the error is a disk fault or damaged data, not one of permissions or of too many open
/// files.
pub(super) fn is_of_disk(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::IO | Errno::UCLEAN | Errno::BADMSG | Errno::NODATA | Errno::REMOTEIO)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::RealFs;

    const ID: JournalId = JournalId([0xa5; 16]);

    #[test]
    fn what_is_written_is_there_until_it_is_removed() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path();
        assert_eq!(read(&RealFs, path).unwrap(), None);
        assert!(is_gone(&RealFs, path));
        write(&RealFs, path, ID).unwrap();
        assert_eq!(read(&RealFs, path).unwrap(), Some(ID));
        assert!(!is_gone(&RealFs, path));
        remove(&RealFs, path).unwrap();
        assert_eq!(read(&RealFs, path).unwrap(), None);
        assert!(is_gone(&RealFs, path));
    }

    /// Removing the mail directory also removes the journal: ending it is then not a failure.
    #[test]
    fn a_missing_file_needs_no_removal() {
        let directory = tempfile::tempdir().unwrap();
        remove(&RealFs, directory.path()).unwrap();
        remove(&RealFs, &directory.path().join("missing")).unwrap();
    }

    /// A journal that still exists would be replayed.
    #[test]
    fn a_removal_that_fails_is_reported() {
        let directory = tempfile::tempdir().unwrap();
        RealFs.create_dir(&directory.path().join(NAME)).unwrap();
        assert!(remove(&RealFs, directory.path()).is_err());
    }
}
