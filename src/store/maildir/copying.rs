//! Copies a message file to a place where it cannot be linked or renamed, as with EXDEV.
//!
//! A link or a rename needs both names on one file system, and sometimes more: a mailbox may be a
//! mount point, a subvolume, or have a project id of its own for a quota, and `.facteur/tmp` may be
//! a mount point too. The device numbers do not show which of these is the case, but the error of
//! the call does. Some file systems have no links at all.
//!
//! # Theory of operation
//! The copy is written in the `tmp` of the Maildir, as other programs do it. Where that is not
//! possible, it is written next to its final place under a name that starts with a dot, which
//! Maildir readers ignore. It is synced and renamed to its place. Then the directory is synced, or
//! the file again where that is more effective (`trust.rs`). No part of this can be left to a
//! checkpoint, because a checkpoint syncs only the file system of the store.
//!
//! # Invariants
//! - I4, I5: no reader sees a part of it, and a file with the final name is durable when this is
//!   `Ok`.
//!
//! # Failures
//! [`Error`]: only the file that had the name before still has it. A crash may leave the unfinished
//! copy.

use std::{
    io,
    path::{Path, PathBuf},
};

use rustix::io::Errno;

use crate::store::{Error, limits::COUNT_OCTETS};

use super::{disk::Disk, layout::Maildir};

/// What happens to a file that already has the name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Former {
    /// It is the same message, and is replaced.
    Replaced,
    /// It is replaced. Its absence is an error: somebody removed or moved it.
    Exchanged,
}

/// Whether a link or rename that failed with `error` needs a copy instead.
pub(super) fn is_needed(error: &io::Error) -> bool {
    // EPERM means that the file system has no links. It can have other causes, but then the copy
    // fails with them too.
    matches!(
        Errno::from_io_error(error),
        Some(Errno::XDEV | Errno::MLINK | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS)
    )
}

/// Where a copy for `place`, in a Maildir or in the store's own directory, can be written.
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

/// Durably gives a copy of the file `from` the name `place`, in `maildir` or in the store's own
/// directory. It is written wherever that is possible.
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
            // Reports what is wrong with the place, not with a `tmp`.
            result = Err(error);
            continue;
        }
        let named = match former {
            Former::Replaced => disk.fs.rename(scratch, place).map(|()| former),
            Former::Exchanged => exchange(disk, scratch, place),
        };
        if !matches!(&named, Ok(Former::Replaced)) {
            // If it stays, readers ignore it and the next attempt overwrites it.
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

/// Gives the file `new` the name `place` of another file, and gives that file the name `new`, or no
/// name where names cannot be exchanged. Returns which of the two happened.
///
/// # Errors
/// `NotFound` when no file has the name any more. Where names cannot be exchanged, this is checked
/// a moment earlier, so a message that another program renames in that moment ends up with two
/// names.
pub(super) fn exchange(disk: &Disk, new: &Path, place: &Path) -> io::Result<Former> {
    match disk.fs.exchange(new, place) {
        Err(error) if cannot_exchange(&error) => {
            disk.fs.metadata(place)?;
            disk.fs.rename(new, place).map(|()| Former::Replaced)
        }
        other => other.map(|()| Former::Exchanged),
    }
}

/// Writes a copy of `from` to `to`, over one that an earlier attempt left, and syncs it.
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
            copy.sync().map_err(Error::io("sync", to))
        } else {
            Ok(())
        }
    });
    synced.inspect_err(|_| disk.fs.unlink(to).unwrap_or_default())
}

/// Whether names can never be exchanged there.
fn cannot_exchange(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP)
    )
}
