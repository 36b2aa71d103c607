//! The store's own directories: created durably, and checked to be private enough for mail (SEC-6).

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{
    fs::{Fs, Kind, Metadata, RealFs, if_there, unless_there},
    store::Error,
};

use super::times;

/// The store's own directory in the mail directory.
pub(super) const OWN_DIRECTORY: &str = ".facteur";

/// The directory in that one for content on its way into a mailbox.
pub(super) const SPOOL_DIRECTORY: &str = "tmp";

/// Creates the directory of all mail and its missing parents, durably, and checks that each is
/// private enough (SEC-6). Opening the store creates only the directory itself, and needs its
/// parent, to which the daemon may have given up access by then.
///
/// # Errors
/// [`Error::NoDirectory`], [`Error::Unsafe`], [`Error::Io`]: as for opening the store.
pub fn make_root(root: &Path) -> Result<(), Error> {
    // As when the store is opened.
    let root: PathBuf = root.components().collect();
    let missing = root.ancestors().skip(1).take_while(|path| {
        let found = RealFs.metadata(path);
        found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    });
    let missing: Vec<&Path> = missing
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    for path in missing.into_iter().rev() {
        prepare(&RealFs, path, path.parent().unwrap_or(path))?;
    }
    prepare_root(&RealFs, &root)
}

/// Like [`prepare`], for the directory of all mail.
///
/// A container often gets an empty volume, or a directory of the machine, that others may write to,
/// even if nobody else is there. facteur cannot know that, so it refuses the directory, and the
/// error names a directory in it that would do. facteur does not make that one unasked: other
/// programs would not look for mail there, and if the permissions of an old store have changed, all
/// its mail would seem to be lost.
pub(super) fn prepare_root(fs: &dyn Fs, root: &Path) -> Result<(), Error> {
    let mut prepared = prepare(fs, root, root.parent().unwrap_or(root));
    if let Err(Error::Unsafe { path, instead, .. }) = &mut prepared {
        let found = fs.metadata(path).ok();
        let is_shared = |it: &Metadata| it.kind == Kind::Directory && is_for_others(it);
        *instead = found.filter(is_shared).map(|_| path.join("mail"));
    }
    prepared
}

/// Whether anybody but the owner can write to it.
fn is_for_others(metadata: &Metadata) -> bool {
    metadata.mode & 0o022 != 0
}

/// Creates the directory `path` in `parent` if it is missing, durably, and checks that it is
/// private enough for mail (SEC-6).
pub(super) fn prepare(fs: &dyn Fs, path: &Path, parent: &Path) -> Result<(), Error> {
    let created = unless_there(fs.create_dir(path)).map_err(|source| Error::NoDirectory {
        path: path.to_owned(),
        source: Arc::new(source),
    })?;
    let was_there = created.is_none();
    let metadata = fs.metadata(path).map_err(Error::io("look at", path))?;
    let reason = if metadata.kind != Kind::Directory {
        "is not a directory: name a directory, not a symbolic link to one"
    } else if !was_there && (metadata.owner != fs.user() || is_for_others(&metadata)) {
        // The next start should not mistake it for somebody else's.
        fs.remove_dir(path).unwrap_or_default();
        "would be open to others, because its file system does not keep the owner and the \
         permissions that facteur gives it: choose a directory on another file system, or mount \
         this one for the user who runs facteur (uid=, umask=077)"
    } else if metadata.owner != fs.user() {
        "belongs to another user: run as that user, or give it to your user with chown"
    } else if is_for_others(&metadata) {
        "can be written by others: run chmod go-w on it"
    } else {
        return sync_parent(fs, parent, was_there).inspect_err(|_| {
            if !was_there {
                // The disk may have lost it although it is still visible, and the next sync would
                // not report that (I9). If this fails too, nothing more can be done.
                fs.remove_dir(path).unwrap_or_default();
            }
        });
    };
    Err(Error::not_safe(path, reason))
}

/// Checks that the directory `path`, if it exists, and its entries can be used: a start that fails
/// later could not say what to do.
pub(super) fn check_own(fs: &dyn Fs, path: &Path) -> Result<(), Error> {
    let check = |path: PathBuf, may_be_file: bool| {
        let Some(found) = times::metadata_at(fs, &path)? else {
            return Ok(());
        };
        let is_expected = match found.kind {
            Kind::Directory => true,
            Kind::File => may_be_file,
            Kind::Other => false,
        };
        let reason = if !is_expected {
            "was not created by facteur: move it away"
        } else if found.owner != fs.user() {
            "belongs to another user: give it to the user who runs facteur with chown"
        } else {
            return Ok(());
        };
        Err(Error::not_safe(path, reason))
    };
    check(path.to_owned(), false)?;
    let entries = if_there(fs.read_dir(path)).map_err(Error::io("read", path))?;
    let mut entries = entries.into_iter().flatten();
    entries.try_for_each(|entry| check(path.join(entry.name), true))
}

/// Makes the entry of a directory in `parent` durable, even if it already existed: whoever created
/// it may not have got that far.
fn sync_parent(fs: &dyn Fs, parent: &Path, was_there: bool) -> Result<(), Error> {
    // The parent of the store may be a symbolic link; with the dot, it is not the last component.
    match fs.sync_dir(&parent.join(".")) {
        // Then this process did not create the entry.
        Err(error) if was_there && error.kind() == io::ErrorKind::PermissionDenied => Ok(()),
        other => other.map_err(Error::io("sync", parent)),
    }
}
