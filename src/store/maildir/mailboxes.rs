//! Mailbox directories: checked, made, made durable, and removed again when that fails.
//!
//! A mailbox is *known* once its directories are certain to survive a power cut. A delivery to it
//! then does not look at them at all. Nothing here touches messages.
//!
//! # Theory of operation
//! A directory that can be seen is not necessarily durable: a daemon that was killed may have made
//! it a moment before. So every mailbox is *met* once in each run of the daemon. Its directories
//! are checked (SEC-6) and, for a delivery, made where they are missing; then the parent of each of
//! them is synced. Only a mailbox that was met without an error is relied on, and only as long as
//! its `new` is the same directory: restoring a mailbox from a backup replaces it. That is checked
//! where it costs nothing: by a login, by a checkpoint that goes file by file (one that syncs the
//! whole file system need not know), and by a delivery that syncs.
//!
//! When a sync fails, the kernel may forget the entries that it could not write while it still
//! shows them, and the next sync succeeds without them. So all directories that are being made at
//! that moment become *doubtful*, because other threads may already have met them. What was made is
//! removed again. A directory that cannot be removed, because it is already in use, accepts no mail
//! until a restart, or until it is empty: then it is removed and made again.
//!
//! # Failures
//! [`Error::Io`], [`Error::Full`], or [`Error::Unsafe`] for a symbolic link or a file where a
//! directory should be. Nothing is left behind that a later attempt could mistake for durable.
//!
//! # Known limits
//! If one delivery undoes a mailbox at the same moment as another makes it, the latter may fail
//! temporarily, or leave the mailbox without its `tmp`, which only other programs use.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use crate::{
    fs::{Kind, if_there, unless_there},
    mail::MailboxName,
    store::Error,
};

use super::{
    disk::{Disk, SyncMark},
    layout::Maildir,
    listing::Side,
    open::OpenStore,
    times::metadata_at,
};

/// One recipient of a delivery.
#[derive(Debug)]
pub(super) struct Target<'a> {
    pub(super) mailbox: &'a MailboxName,
    pub(super) maildir: Maildir,
}

impl<'a> Target<'a> {
    /// The mailbox and the path of its Maildir.
    ///
    /// # Errors
    /// [`Error::NameTooLong`].
    pub(super) fn of(disk: &Disk, mailbox: &'a MailboxName) -> Result<Self, Error> {
        let maildir = disk.maildir(mailbox)?;
        Ok(Self { mailbox, maildir })
    }
}

/// The directories that one delivery made, parents first.
#[derive(Debug)]
pub(super) struct Made {
    directories: Vec<PathBuf>,
    /// The sync failures up to the start.
    pub(super) mark: SyncMark,
}

impl Made {
    /// No directories yet.
    pub(super) fn nothing(disk: &Disk) -> Self {
        Self {
            directories: Vec::new(),
            mark: disk.sync_mark(),
        }
    }
}

/// The directories that one delivery is making, until this is dropped. A sync that fails in that
/// time makes them doubtful.
struct Making<'a> {
    disk: &'a Disk,
    maker: u64,
    /// The sync failures up to the start.
    mark: SyncMark,
    directories: Vec<PathBuf>,
}

impl<'a> Making<'a> {
    fn nothing(disk: &'a Disk) -> Self {
        let (maker, mark) = disk.new_maker();
        Self {
            disk,
            maker,
            mark,
            directories: Vec::new(),
        }
    }

    fn add(&mut self, directory: &Path) {
        self.disk.begin_making(directory, self.maker);
        self.directories.push(directory.to_owned());
    }
}

impl Drop for Making<'_> {
    fn drop(&mut self) {
        if !self.directories.is_empty() {
            self.disk.end_making(&self.directories, self.maker);
        }
    }
}

/// Whether a directory is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    /// Nothing has the name.
    Missing,
    /// It is a directory.
    Present,
}

/// Meets those mailboxes of `targets` that are not known, makes their missing directories and adds
/// these to `made`. When this is `Ok`, the directories of all of them are durable.
///
/// # Errors
/// See the module. The caller then has to call [`undo`].
pub(super) fn make_mailboxes(
    store: &OpenStore,
    targets: &[Target<'_>],
    made: &mut Made,
) -> Result<(), Error> {
    let mut parents = BTreeSet::new();
    // Not needed if all mailboxes are known, which is nearly always the case.
    let mut making = None;
    let mut met = Vec::new();
    for target in targets {
        if !store.disk.has_doubts() && store.known.is_known(target.mailbox) {
            continue;
        }
        let directories = target.maildir.directories();
        if store.disk.find_doubtful(&directories).is_some() {
            remove_doubtful(&store.disk, &directories);
            store.known.forget(target.mailbox);
            if let Some(doubtful) = store.disk.find_doubtful(&directories) {
                let reason = "the disk failed when this directory was made; restart to try again";
                return Err(Error::other("deliver into", doubtful, reason));
            }
        }
        if store.known.is_known(target.mailbox) {
            continue;
        }
        let making = making.get_or_insert_with(|| Making::nothing(&store.disk));
        for directory in &directories {
            if look_at_directory(&store.disk, directory)? == Presence::Present {
                continue;
            }
            making.add(directory);
            if make_directory(&store.disk, directory)? == Presence::Missing {
                made.directories.push(directory.clone());
            }
        }
        met.extend(directories);
        parents.insert(&target.maildir.path);
        parents.insert(&target.maildir.domain);
        parents.insert(&store.disk.root);
    }
    parents
        .into_iter()
        .try_for_each(|parent| store.disk.sync_directory(parent))?;
    if let Some(making) = making {
        store.disk.confirm(&met, making.mark);
    }
    Ok(())
}

/// Makes a directory unless it exists. Returns whether it did.
fn make_directory(disk: &Disk, path: &Path) -> Result<Presence, Error> {
    match unless_there(disk.fs.create_dir(path)).map_err(Error::io("make", path))? {
        Some(()) => Ok(Presence::Missing),
        None => look_at_directory(disk, path),
    }
}

/// Removes those of `directories` that are doubtful and no longer in use, with their contents, so
/// that they can be made again.
fn remove_doubtful(disk: &Disk, directories: &[PathBuf]) {
    let is_doubtful = |directory| {
        disk.find_doubtful(std::slice::from_ref(directory))
            .is_some()
    };
    let doubtful: Vec<&PathBuf> = directories.iter().filter(|it| is_doubtful(*it)).collect();
    for directory in directories.iter().rev() {
        if !doubtful.iter().any(|it| directory.starts_with(it)) {
            continue;
        }
        if if_there(disk.fs.remove_dir(directory)).is_err() {
            break;
        }
        disk.no_longer_doubtful(directory);
    }
}

/// Removes the directories that a failed delivery made.
pub(super) fn undo(disk: &Disk, made: &Made) {
    // Directories that were not durable when a sync failed are already doubtful.
    let in_doubt = disk.has_failed_since(made.mark);
    for directory in made.directories.iter().rev() {
        if disk.fs.remove_dir(directory).is_err() {
            // In use by now, and so are the directories that contain it.
            break;
        }
        if in_doubt {
            disk.no_longer_doubtful(directory);
        }
    }
}

/// Meets the mailbox of `target` without making anything. `Present` when it has a Maildir, whose
/// messages and directories are then durable.
///
/// # Errors
/// See the module.
pub(super) fn meet_mailbox(store: &OpenStore, target: &Target<'_>) -> Result<Presence, Error> {
    if store.known.is_known(target.mailbox) {
        return Ok(Presence::Present);
    }
    let [domain, path, inner @ ..] = target.maildir.directories();
    for directory in [&domain, &path] {
        if look_at_directory(&store.disk, directory)? == Presence::Missing {
            return Ok(Presence::Missing);
        }
    }
    let mut is_complete = true;
    for directory in &inner {
        is_complete &= look_at_directory(&store.disk, directory)? == Presence::Present;
    }
    let new = target.maildir.side(Side::New);
    if look_at_directory(&store.disk, &new)? == Presence::Present {
        store.disk.sync_directory(&new)?;
    }
    for directory in [&path, &domain, &store.disk.root] {
        store.disk.sync_directory(directory)?;
    }
    if is_complete {
        store.known.remember(&store.disk, [target.mailbox]);
    }
    Ok(Presence::Present)
}

/// Whether `path` is a directory; an error if it is anything else.
///
/// # Errors
/// [`Error::Unsafe`] when it is something else, [`Error::Io`] when the system does not say.
pub(super) fn look_at_directory(disk: &Disk, path: &Path) -> Result<Presence, Error> {
    match metadata_at(&*disk.fs, path)? {
        Some(metadata) if metadata.kind == Kind::Directory => Ok(Presence::Present),
        Some(_) => {
            let reason = "is not a directory; symbolic links are not followed here: remove it";
            Err(Error::not_safe(path, reason))
        }
        None => Ok(Presence::Missing),
    }
}
