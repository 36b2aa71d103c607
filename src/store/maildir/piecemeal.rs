//! Makes applied messages durable file by file and directory by directory, for checkpoints that
//! must not wait for the writes of other programs.
//!
//! # Theory of operation
//! `touched.rs` records each message with its mailboxes and its name there. First the system is
//! asked to start writing all the files, so that the disk has many of them to work on. Then each
//! file is opened again and synced. Each sync waits for the disk, so several threads do this if
//! there are many files: on a journaled file system the first sync writes the changes of all files,
//! and the others find little left to do. Then the directories that contain the names are synced.
//!
//! A file that is no longer in `new` was removed or moved. If it was unlinked over POP3,
//! `touched.rs` knows that. Both directories are synced then, because the removal may not have
//! synced them yet. If another program has moved it to `cur`, or has changed its flags or fields,
//! it is searched for and synced where it is, and `cur` is synced before the directory that it
//! left. A file that is not found this way can be anywhere, and only a sync of the whole file
//! system covers it.
//!
//! Where such a sync cannot be relied on (`trust.rs`), this is the only way. Then a message that is
//! in neither directory is also searched for in the folders of its mailbox, and counts as removed
//! if it is in none of them. If a mailbox is not known to survive a power cut, the directories that
//! contain it are synced as well.
//!
//! # Invariants
//! - [`Synced::All`] means: each message is durable in each of its mailboxes, or was removed. A
//!   removal over POP3, or from where another program had put it, is durable.
//! - Where the whole file system cannot be synced, the result is [`Synced::All`] or an error.
//! - I9: a sync that failed is counted, so that everything is in doubt, and is not repeated.
//!
//! # Failures
//! [`Error`] when a sync failed. Other problems, such as a lack of descriptors, are not errors
//! where the whole file system can still be synced: the result is then [`Synced::Some`].
//!
//! # Known limits
//! Opening a file reveals a failure to write it, including an earlier one. But it does not if
//! another program synced the same file and received the error first, or if the system needed the
//! memory and dropped the file after it was written or given up. A sync of the whole file system
//! does not have this gap, because it uses a handle that was open all the time. Handles for all the
//! files would close the gap, but are too many. The gap lies between the moment when the system
//! starts to write a file, usually because it is asked to here, and the sync of the file: some
//! tenths of a second. The disk would have to fail in that time while the journal on it continues
//! to work.
//!
//! Where this is the only way, a message is not found if another program moves it out of its
//! mailbox before it is synced, or moves it together with the directory of its mailbox. Whether it
//! survives a power cut then depends on that program.

use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ffi::OsString,
    path::{Path, PathBuf},
};

use crate::{
    fs::{Entry, Kind},
    mail::MailboxName,
    store::{
        Error,
        limits::{
            FIND_ATTEMPTS_MAX, FOLDER_DEPTH_MAX, FOLDERS_MAX, SYNC_THREAD_NAMES_MIN,
            SYNC_THREADS_MAX,
        },
        name::Identity,
    },
};

use super::{
    disk::{Disk, Synced, is_unopened},
    layout::Maildir,
    listing::Side,
    open::OpenStore,
    shares::{Split, in_shares},
    touched::Applied,
};

/// How syncs are split between threads.
const SPLIT: Split = Split {
    name: "sync",
    threads_max: SYNC_THREADS_MAX,
    items_min: SYNC_THREAD_NAMES_MIN,
};

/// A message in one of its mailboxes.
#[derive(Clone, Copy, Debug)]
struct Name<'a> {
    message: &'a Applied,
    mailbox: &'a MailboxName,
}

/// Makes `messages` durable in their mailboxes.
///
/// # Errors
/// See the module; everything is in doubt then.
pub(super) fn sync_piecemeal(store: &OpenStore, messages: &[Applied]) -> Result<Synced, Error> {
    let names = messages.iter().flat_map(|message| {
        let mailboxes = message.mailboxes.iter();
        mailboxes.map(move |mailbox| Name { message, mailbox })
    });
    #[cfg(test)]
    let names = names.skip(usize::from(crate::testing::bugs::is_planted(
        crate::testing::bugs::Bug::TouchedFilesAreMissed,
    )));
    let names: Vec<Name<'_>> = names.collect();
    let (mut new, mut cur) = (BTreeSet::new(), BTreeSet::new());
    let mut parents = BTreeSet::new();
    for mailbox in names.iter().map(|name| name.mailbox) {
        let maildir = store.disk.maildir(mailbox)?;
        if new.insert(maildir.side(Side::New))
            && !store.known.is_still_known(&store.disk, mailbox, &maildir)
        {
            // The directories that contain these have to be synced too.
            if store.disk.trusts_whole_sync() {
                return Ok(Synced::Some);
            }
            parents.extend([maildir.path, maildir.domain, store.disk.root.clone()]);
        }
    }
    if names.len() > 1 {
        in_shares(&names, SPLIT, |share| begin_syncs(&store.disk, share));
    }
    let mut missing: BTreeMap<&MailboxName, Vec<Name<'_>>> = BTreeMap::new();
    for result in in_shares(&names, SPLIT, |share| sync_files(&store.disk, share)) {
        for name in result? {
            missing.entry(name.mailbox).or_default().push(name);
        }
    }
    for (mailbox, names) in &missing {
        let maildir = store.disk.maildir(mailbox)?;
        if sync_moved(store, &maildir, names, &mut cur)? == Synced::Some {
            return Ok(Synced::Some);
        }
    }
    // `cur` first: an old name must not durably disappear before the new name is durable.
    for directories in [cur, new, parents] {
        let directories: Vec<PathBuf> = directories.into_iter().collect();
        for result in in_shares(&directories, SPLIT, |share| {
            sync_directories(&store.disk, share)
        }) {
            if result? == Synced::Some {
                return Ok(Synced::Some);
            }
        }
    }
    Ok(Synced::All)
}

fn new_path(disk: &Disk, name: &Name<'_>) -> Result<PathBuf, Error> {
    let maildir = disk.maildir(name.mailbox)?;
    Ok(maildir.in_new(&name.message.file_name))
}

/// Asks the system to start writing the files.
fn begin_syncs(disk: &Disk, names: &[Name<'_>]) {
    for name in names {
        let opened = new_path(disk, name).map(|path| disk.fs.open(&path));
        // If this fails, the sync fails in the same way.
        if let Ok(Ok(mut file)) = opened {
            file.begin_sync(0);
        }
    }
}

/// Syncs the files. Returns those that cannot be opened under their original names.
fn sync_files<'a>(disk: &Disk, names: &[Name<'a>]) -> Result<Vec<Name<'a>>, Error> {
    let mut missing = Vec::new();
    for name in names {
        if disk.sync_file(&new_path(disk, name)?)? == Synced::Some {
            missing.push(*name);
        }
    }
    Ok(missing)
}

/// Syncs those of `names`, all in one mailbox, that were moved to `cur`, and adds `cur` to
/// `directories`.
fn sync_moved(
    store: &OpenStore,
    maildir: &Maildir,
    names: &[Name<'_>],
    directories: &mut BTreeSet<PathBuf>,
) -> Result<Synced, Error> {
    let mut missing = HashSet::new();
    for name in names {
        let Name { message, mailbox } = name;
        if store.touched.was_removed(mailbox, message.counter) {
            // The removal may have been from either directory. Without this sync the name could
            // come back.
            directories.insert(maildir.side(Side::Cur));
        } else {
            missing.insert(Identity::of(message.file_name.as_bytes()));
        }
    }
    planted!(MovedFilesAreMissed, return Ok(Synced::All));
    let disk = &store.disk;
    for _ in 0..FIND_ATTEMPTS_MAX {
        if missing.is_empty() {
            return Ok(Synced::All);
        }
        let mut found: Vec<(PathBuf, OsString)> = Vec::new();
        for side in [Side::New, Side::Cur] {
            let directory = maildir.side(side);
            let visited = disk.fs.visit_dir(&directory, &mut |entry| {
                if missing.contains(&Identity::of(entry.name.as_encoded_bytes())) {
                    found.push((directory.clone(), entry.name.to_owned()));
                }
            });
            if let Err(error) = visited
                && disk.not_all(error, "read", &directory)? == Synced::Some
                && disk.trusts_whole_sync()
            {
                return Ok(Synced::Some);
            }
        }
        for (directory, file_name) in found {
            // A file that is not there was renamed again just now.
            if disk.sync_file(&directory.join(&file_name))? == Synced::All {
                let synced = Identity::of(file_name.as_encoded_bytes());
                missing.retain(|it| *it != synced);
                directories.insert(directory);
            }
        }
    }
    if missing.is_empty() {
        return Ok(Synced::All);
    }
    if disk.trusts_whole_sync() {
        return Ok(Synced::Some);
    }
    sync_in_folders(disk, &maildir.path, &mut missing, directories)?;
    // The rest was removed.
    Ok(Synced::All)
}

/// Syncs those of the `missing` messages that are in folders of a mailbox, removes them from
/// `missing`, and adds the directories on the way to them to `directories`.
fn sync_in_folders(
    disk: &Disk,
    mailbox: &Path,
    missing: &mut HashSet<Identity<'_>>,
    directories: &mut BTreeSet<PathBuf>,
) -> Result<(), Error> {
    let mut folders = vec![(mailbox.to_owned(), 0)];
    let mut n_folders = 0_usize;
    while let Some((folder, depth)) = folders.pop() {
        let mut found: Vec<OsString> = Vec::new();
        let visited = disk.fs.visit_dir(&folder, &mut |Entry { name, kind, .. }| {
            if kind == Kind::Directory {
                n_folders = n_folders.saturating_add(1);
                if depth < FOLDER_DEPTH_MAX && n_folders <= FOLDERS_MAX {
                    folders.push((folder.join(name), depth.saturating_add(1)));
                }
            } else if missing.contains(&Identity::of(name.as_encoded_bytes())) {
                found.push(name.to_owned());
            }
        });
        if let Err(error) = visited {
            disk.not_all(error, "read", &folder)?;
        }
        for file_name in found {
            if disk.sync_file(&folder.join(&file_name))? == Synced::All {
                let synced = Identity::of(file_name.as_encoded_bytes());
                missing.retain(|it| *it != synced);
                let ways = folder.ancestors();
                let ways = ways.take_while(|way| way.starts_with(mailbox));
                directories.extend(ways.map(Path::to_owned));
            }
        }
        if missing.is_empty() {
            break;
        }
    }
    Ok(())
}

fn sync_directories(disk: &Disk, directories: &[PathBuf]) -> Result<Synced, Error> {
    planted!(TouchedDirectoriesAreMissed, return Ok(Synced::All));
    for directory in directories {
        match disk.sync_directory(directory) {
            Err(Error::Io { source, .. }) if is_unopened(&source) && disk.trusts_whole_sync() => {
                return Ok(Synced::Some);
            }
            // Whoever removed it also removed everything in it.
            Err(error) if error.is_not_found() => {}
            other => other?,
        }
    }
    Ok(Synced::All)
}
