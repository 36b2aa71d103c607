//! A message file in a place that no name of the spool can be given: it is copied.
//!
//! A link or a rename gives a file its name, and takes one file system, and more than that: a
//! mailbox may be a mount point, a subvolume, or have a project id of its own for a quota, and
//! `.facteur/tmp` may be a mount point, too. The numbers of the devices do not tell which of these
//! is so; the error of the call does. There are also file systems without links.
//!
//! # Theory of operation
//! The copy grows in the `tmp` of the Maildir, as in other programs, or, where that cannot be used,
//! beside its place under a name with a dot, which readers of Maildirs pass over. It is synced,
//! renamed to its place, and the directory is synced, or the file again where that does more
//! (`trust.rs`): nothing of it can be left to a checkpoint, which syncs the file system of the
//! store only.
//!
//! # Invariants
//! - I4, I5: no reader sees a part of it, and what has its name is durable when this is `Ok`.
//!
//! # Failures
//! [`Error`]: nothing has the name but what had it before. A crash may leave the copy where it
//! grew.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use crate::store::{Error, limits::COUNT_OCTETS};

use super::{disk::Disk, layout::Maildir};

/// What becomes of a file that has the name already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Former {
    /// It is the same message, and goes.
    Replaced,
    /// It goes, and it is an error when there is none: somebody removed or moved it.
    Exchanged,
}

/// Whether the file can have the name only as a copy.
pub(super) fn takes_a_copy(error: &io::Error) -> bool {
    // EPERM is what link says on a file system without links; it has other reasons, which are met
    // again then.
    matches!(
        Errno::from_io_error(error),
        Some(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS)
    )
}

/// Where a copy for `place` in a Maildir, or in a directory of the store's own, can grow.
fn scratches(maildir: Option<&Maildir>, place: &Path) -> Vec<PathBuf> {
    let Some(file_name) = place.file_name() else {
        return Vec::new();
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(file_name);
    let in_tmp = maildir.map(|maildir| maildir.path.join("tmp").join(file_name));
    in_tmp
        .into_iter()
        .chain([place.with_file_name(hidden)])
        .collect()
}

/// Gives a copy of the file `from` the name `place` in `maildir`, or in a directory of the store's
/// own, durably; it grows where that can be done.
///
/// # Errors
/// See the module.
pub(super) fn copy(
    disk: &Disk,
    from: &Path,
    place: &Path,
    maildir: Option<&Maildir>,
    former: Former,
) -> Result<(), Error> {
    let mut result = Err(Error::io("deliver to", place)(Errno::XDEV.into()));
    for scratch in &scratches(maildir, place) {
        if let Err(error) = write_copy(disk, from, scratch) {
            // What is wrong with the place is told rather than with a `tmp`.
            result = Err(error);
            continue;
        }
        let named = match former {
            Former::Replaced => disk.fs.rename(scratch, place).map(|()| former),
            Former::Exchanged => exchange(disk, scratch, place),
        };
        if !matches!(&named, Ok(Former::Replaced)) {
            // What stays is passed over by every reader, and written over by the next attempt.
            disk.fs.unlink(scratch).unwrap_or_default();
        }
        match named {
            Ok(_) => {
                let directory = place.parent().unwrap_or(place);
                return disk
                    .sync_directory(directory)
                    .and_then(|()| disk.sync_name(place))
                    .inspect_err(|_| disk.fs.unlink(place).unwrap_or_default());
            }
            Err(error) => {
                let is_elsewhere = Errno::from_io_error(&error) == Some(Errno::XDEV);
                result = Err(Error::io("deliver to", place)(error));
                if !is_elsewhere {
                    return result;
                }
            }
        }
    }
    result
}

/// Gives the file `new` the name `place` of another one, and that the name `new`, or none where
/// names cannot be exchanged; says which.
///
/// # Errors
/// `NotFound` when nothing has the name any more. Where names cannot be exchanged that is found
/// out a moment before, so that what another program renames in this moment has two names then.
pub(super) fn exchange(disk: &Disk, new: &Path, place: &Path) -> io::Result<Former> {
    match disk.fs.exchange(new, place) {
        Err(error) if cannot_exchange(&error) => {
            disk.fs.metadata(place)?;
            disk.fs.rename(new, place).map(|()| Former::Replaced)
        }
        other => other.map(|()| Former::Exchanged),
    }
}

/// Writes a copy of `from` to `to`, in the place of one that an earlier attempt left, and syncs
/// it.
fn write_copy(disk: &Disk, from: &Path, to: &Path) -> Result<(), Error> {
    let mut source = disk.fs.open(from).map_err(Error::io("open", from))?;
    let mut copy = disk.create_anew(to)?;
    let mut buffer = vec![0; COUNT_OCTETS];
    let written = loop {
        let n_read = match source.read(&mut buffer) {
            Ok(n_read) => n_read,
            Err(error) => break Err(Error::io("read", from)(error)),
        };
        let Some(octets) = buffer.get(..n_read).filter(|octets| !octets.is_empty()) else {
            break Ok(());
        };
        if let Err(error) = copy.append(octets) {
            break Err(Error::io("write", to)(error));
        }
    };
    planted!(CopiesAreLeftToCheckpoints, return written);
    let synced = written.and_then(|()| {
        if disk.syncs {
            copy.sync().map_err(Error::io("make durable", to))
        } else {
            Ok(())
        }
    });
    synced.inspect_err(|_| disk.fs.unlink(to).unwrap_or_default())
}

/// Whether two names can never be exchanged there.
fn cannot_exchange(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
    )
}
