//! Sets messages aside for a mailbox that cannot take them; see `waiting.rs`.

use std::{
    collections::HashSet,
    ffi::OsString,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use crate::{
    fs::{Kind, if_there, unless_there},
    mail::MailboxName,
    store::{
        Error, Event,
        name::{self, Identity, OwnName},
    },
};

use super::{
    copying::{self, Former},
    disk::{Disk, Synced},
    layout::Maildir,
    letter::Spooled,
    mailboxes::Target,
    open::OpenStore,
    waiting::Purpose,
};

/// Prefix of the name of a message that is only to replace the existing file.
pub(super) const ANEW: &str = "anew-";

/// Where all of them wait, inside the store's own directory.
pub(super) const DIRECTORY: &str = "waiting";

/// Checks whether `new`, or else the directory that it would be made in, accepts entries.
pub(super) fn look_for_entries(disk: &Disk, maildir: &Maildir) -> Result<(), Error> {
    let [domain, path, .., new] = &maildir.directories();
    for directory in [new, path, domain, &disk.root] {
        match disk.fs.check_entries(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other.map_err(Error::io("deliver into", directory)),
        }
    }
    Ok(())
}

/// Remembers that `mailbox` does not accept mail, and reports it.
pub(super) fn note_ailing(
    store: &OpenStore,
    mailbox: &MailboxName,
    error: &Error,
    n_messages: Option<usize>,
) {
    // What is known of its directories may be wrong.
    store.known.forget(mailbox);
    let now = store.disk.clock.now();
    let mut table = store.waiting.table.lock();
    let to_report = table.note(mailbox, error, n_messages, now);
    drop(table);
    if let Some(waiting) = to_report {
        store.observer.tell(&Event::MailboxAiling {
            mailbox,
            waiting,
            error,
        });
        // The checkpoint thread has to check the time from now on.
        store.checkpoints.notice();
    }
}

/// Sets the spooled message aside for `target`, which cannot take it because of `why`.
///
/// # Errors
/// [`Error`]: the message is not set aside.
pub(super) fn keep_waiting(
    store: &OpenStore,
    target: &Target<'_>,
    spooled: Spooled<'_>,
    purpose: Purpose,
    why: &Error,
) -> Result<(), Error> {
    let mailbox = target.mailbox;
    let turn = store.waiting.take(mailbox);
    let directory = waiting_place(&store.disk, &target.maildir)?;
    if !store.waiting.table.lock().has_room(mailbox) {
        let reason = "too many mailboxes do not accept mail";
        return Err(Error::other("set a message aside in", &directory, reason));
    }
    let file_name = match purpose {
        Purpose::Delivery => spooled.file_name.to_owned(),
        Purpose::Anew => format!("{ANEW}{}", spooled.file_name),
    };
    let path = directory.join(file_name);
    let was_there = store.disk.fs.metadata(&path).is_ok();
    hold(&store.disk, spooled.path, &path, &directory)
        // A file that is not reliably durable must not be found either.
        .inspect_err(|_| store.disk.fs.unlink(&path).unwrap_or_default())?;
    let n_before = store.waiting.table.lock().count_for(mailbox);
    let n_messages = n_before.saturating_add(usize::from(!was_there));
    note_ailing(store, mailbox, why, Some(n_messages));
    drop(turn);
    Ok(())
}

/// Gives the file `from` the name `path` in `directory`, durably.
pub(super) fn hold(disk: &Disk, from: &Path, path: &Path, directory: &Path) -> Result<(), Error> {
    let mark = disk.sync_mark();
    let of_domain = directory.parent().unwrap_or(directory);
    let all = of_domain.parent().unwrap_or(of_domain);
    for made in [all, of_domain, directory] {
        unless_there(disk.fs.create_dir(made)).map_err(Error::io("make", made))?;
    }
    // Before it has its name: a start assumes that a file with a name is whole.
    if disk.syncs && disk.sync_file(from)? == Synced::Some {
        return Err(Error::other("sync", from, "it cannot be opened"));
    }
    match disk.fs.hard_link(from, path) {
        // From a start that was interrupted.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) if copying::is_needed(&error) => {
            copying::copy(disk, from, path, None, Former::Replaced)?;
        }
        other => other.map_err(Error::io("set aside", path))?,
    }
    for changed in [directory, of_domain, all, &disk.own] {
        disk.sync_directory(changed)?;
    }
    disk.sync_name(path)?;
    disk.check_syncs(mark)
}

/// Removes the directory for one mailbox, and the one for its domain, if they are empty.
pub(super) fn tidy_waiting(disk: &Disk, directory: &Path) {
    let is_removed = disk.fs.remove_dir(directory).is_ok();
    if let Some(of_domain) = directory.parent().filter(|_| is_removed) {
        disk.fs.remove_dir(of_domain).unwrap_or_default();
    }
}

/// Durably removes those of the messages `removed` that are waiting for `mailbox`, because they are
/// being removed from it.
///
/// # Errors
/// [`Error`]: they may be delivered again.
pub(super) fn remove_waiting(
    store: &OpenStore,
    mailbox: &MailboxName,
    maildir: &Maildir,
    removed: &HashSet<Identity<'_>>,
) -> Result<(), Error> {
    if !store.waiting.concerns(mailbox) {
        return Ok(());
    }
    let turn = store.waiting.take(mailbox);
    let directory = waiting_place(&store.disk, maildir)?;
    let mut is_changed = false;
    for file_name in waiting_names(&store.disk, maildir)? {
        let own = file_name.strip_prefix(ANEW).unwrap_or(&file_name);
        if removed.contains(&Identity::of(own.as_bytes())) {
            let path = directory.join(&file_name);
            store.disk.unlink(&path)?;
            is_changed = true;
        }
    }
    if is_changed {
        store.disk.sync_directory(&directory)?;
    }
    drop(turn);
    Ok(())
}

/// Whether the file at `path` is empty although its name gives a size.
pub(super) fn has_lost_its_octets(disk: &Disk, path: &Path, file_name: &[u8]) -> bool {
    let file = disk.fs.open(path);
    let octets = file.ok().and_then(|file| file.octets_when_opened());
    let named = name::stored_octets(file_name);
    octets == Some(0) && named.is_some_and(|named| named > 0)
}

/// The names of the directories in `path`; empty when it is missing.
pub(super) fn directories_in(disk: &Disk, path: &Path) -> Result<Vec<OsString>, Error> {
    let entries = if_there(disk.fs.read_dir(path)).map_err(Error::io("read", path))?;
    let directories = entries.into_iter().flatten();
    let directories = directories.filter(|entry| entry.kind == Kind::Directory);
    Ok(directories.map(|entry| entry.name).collect())
}

/// Where messages wait for the mailbox of `maildir`.
pub(super) fn waiting_place(disk: &Disk, maildir: &Maildir) -> Result<PathBuf, Error> {
    let relative = maildir.path.strip_prefix(&disk.root);
    let relative =
        relative.map_err(|outside| Error::other("deliver into", &maildir.path, outside))?;
    Ok(disk.own.join(DIRECTORY).join(relative))
}

/// The names of the messages that are waiting for the mailbox of `maildir`, in order of arrival.
pub(super) fn waiting_names(disk: &Disk, maildir: &Maildir) -> Result<Vec<String>, Error> {
    let directory = waiting_place(disk, maildir)?;
    let entries = if_there(disk.fs.read_dir(&directory)).map_err(Error::io("read", &directory))?;
    let mut names: Vec<String> = entries
        .into_iter()
        .flatten()
        .filter(|entry| entry.kind == Kind::File && is_message(entry.name.as_bytes()))
        .filter_map(|entry| entry.name.into_string().ok())
        .collect();
    names.sort_unstable();
    Ok(names)
}

/// Whether a file with this name is a waiting message, and not an unfinished copy left by a crash.
fn is_message(file_name: &[u8]) -> bool {
    let own = file_name.strip_prefix(ANEW.as_bytes()).unwrap_or(file_name);
    std::str::from_utf8(own).is_ok_and(|own| OwnName::parse_exactly(own).is_some())
}
