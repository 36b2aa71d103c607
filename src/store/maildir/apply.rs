//! Puts messages that are durable in the journal into the Maildirs.
//!
//! # Theory of operation
//! The thread that delivered a message applies it, right after its batch is durable and before it
//! is acknowledged: the content is written to a file without a name, which is then linked into the
//! mailboxes. Nothing is synced: if a crash undoes any part of it, the journal repeats it. So a
//! message is in its mailboxes, for maildrops and other programs, when its sender gets the reply,
//! and other clients never wait for this.
//!
//! *Why the file has no name at first.* A name in `.facteur/tmp` is added and removed under the
//! lock of that directory, and a rename between two directories takes a lock of the whole file
//! system. All sessions whose messages were in a batch do this at the same moment, and wait for
//! each other, longer than for the disk. A file without a name needs only the lock of its mailbox.
//! Also, nothing is left of it after a crash. Programs that watch `new` with inotify are told that
//! a file was created there, not moved there, as for messages with several recipients before; its
//! content is already complete.
//!
//! Where the file system has no such files, where a sync of the whole file system cannot be relied
//! on (little is known of such file systems), and where anything goes wrong, the file is made in
//! `.facteur/tmp`, linked into the mailboxes and renamed into the last one. The mailboxes that have
//! the message by then keep it.
//!
//! A message that one mailbox cannot accept is set aside for it (`waiting.rs`), and counts as
//! applied.
//!
//! A message that cannot be applied (the disk has no room for files, or descriptors are short) is
//! acknowledged anyway, because it is durable. It is *kept* in memory and tried again by every
//! delivery that begins, every login and every checkpoint. While one is kept, no delivery begins,
//! so there are never more of them than there were sessions.
//!
//! # Invariants
//! - I4: no message is applied before it is durable, and no reader sees part of one.
//! - A mailbox gets each message once, no matter how often it is tried: completed steps are
//!   remembered, since the message may be removed again meanwhile.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use crate::{
    fs::{File, unless_there},
    mail::MailboxName,
    store::{Change, Error, Event, name::Identity},
};

use super::{
    aside,
    copying::{self, Former},
    disk::Disk,
    letter::{Letter, Misplaced, Placed, Spooled, Step},
    mailboxes::{self, Made, Target},
    open::OpenStore,
    touched::Applied,
    waiting::Purpose,
};

/// Puts the message of batch `number` into its mailboxes, or keeps it.
pub(super) fn apply_or_keep(store: &OpenStore, mut letter: Letter, number: u64) {
    // A bug must not lose a durable message either (SEC-17).
    let applied = catch_unwind(AssertUnwindSafe(|| apply(store, &mut letter)));
    match applied {
        Ok(Ok(())) => note_applied(store, letter, number),
        Ok(Err(error)) => {
            store.kept.add(number, letter);
            store.observer.tell(&Event::NotDelivered { error: &error });
        }
        Err(panic) => {
            store.kept.add(number, letter);
            resume_unwind(panic);
        }
    }
}

/// Tries again to apply the kept messages.
///
/// # Errors
/// Why one of them still cannot be applied.
pub(super) fn retry_kept(store: &OpenStore) -> Result<(), Error> {
    let letters = store.kept.take();
    if letters.is_empty() {
        return Ok(());
    }
    let (mut left, mut result) = (Vec::new(), Ok(()));
    for (number, mut letter) in letters {
        // After a panic the message is kept, as after any other failure.
        let applied = catch_unwind(AssertUnwindSafe(|| apply(store, &mut letter)));
        match applied {
            Ok(Ok(())) => note_applied(store, letter, number),
            Ok(Err(error)) => {
                result = Err(error);
                left.push((number, letter));
            }
            Err(_panic) => {
                let reason = "a bug in facteur";
                result = Err(Error::other("deliver into", &store.disk.root, reason));
                left.push((number, letter));
            }
        }
    }
    store.kept.give_back(left);
    result
}

fn note_applied(store: &OpenStore, letter: Letter, number: u64) {
    let Some(journal) = &store.journal else {
        return;
    };
    let mut mailboxes = letter.mailboxes;
    mailboxes.retain(|mailbox| !letter.settled.contains(mailbox));
    let message = Applied {
        number,
        counter: letter.serial.counter,
        file_name: letter.file_name,
        mailboxes,
    };
    // Before the batch counts as applied: its checkpoint has to know.
    if store.touched.note(message) {
        store.checkpoints.hurry();
    }
    journal.applied(number);
}

/// Puts the message into its mailboxes with a file that has no name in the spool; returns whether
/// all of them have it. If something is unusual, the rest is left to the way with such a name.
fn apply_unnamed(store: &OpenStore, letter: &mut Letter) -> bool {
    if !store.disk.trusts_whole_sync() || !letter.broken.is_empty() {
        return false;
    }
    let Ok(mut file) = store.disk.fs.create_unnamed(&store.disk.spool) else {
        return false;
    };
    planted!(
        UnnamedFilesAreNamedEarly,
        if let Some(Ok(maildir)) = letter.mailboxes.first().map(|it| store.disk.maildir(it)) {
            drop(file.give_name(&maildir.in_new(&letter.file_name)));
        }
    );
    if file.append(letter.content.octets()).is_err() {
        return false;
    }
    while let Some(mailbox) = letter.mailboxes.get(letter.n_applied) {
        let Ok(maildir) = store.disk.maildir(mailbox) else {
            return false;
        };
        // A name that exists belongs to this message.
        let named = unless_there(file.give_name(&maildir.in_new(&letter.file_name)));
        store.visibility.forget_listing(mailbox);
        if named.is_err() {
            return false;
        }
        let identity = || Identity::of(letter.file_name.as_bytes());
        store.tell(Change::Arrived, mailbox, identity);
        letter.n_applied = letter.n_applied.saturating_add(1);
    }
    true
}

fn apply(store: &OpenStore, letter: &mut Letter) -> Result<(), Error> {
    if apply_unnamed(store, letter) {
        return Ok(());
    }
    let spool_path = store.disk.spool.join(letter.serial.render());
    drop(spool(store, &spool_path, letter.content.octets())?);
    let mut made = Made::nothing(&store.disk);
    let mut is_spooled = true;
    let mut result = Ok(());
    while let Some(mailbox) = letter.mailboxes.get(letter.n_applied).cloned() {
        let n_applied = letter.n_applied.saturating_add(1);
        let step = if n_applied == letter.mailboxes.len() {
            Step::Rename
        } else {
            Step::Link
        };
        let spooled = Spooled {
            path: &spool_path,
            file_name: &letter.file_name,
        };
        let broken = letter.broken.iter().find(|(broken, _)| *broken == mailbox);
        let broken = broken.map(|(_, error)| error);
        let placed = place_or_keep_waiting(store, spooled, (&mailbox, broken), step, &mut made);
        if let Ok(Some(_)) = placed {
            let identity = || Identity::of(letter.file_name.as_bytes());
            store.tell(Change::Arrived, &mailbox, identity);
        }
        match placed {
            Ok(Some(Placed::Linked)) => {}
            Ok(Some(Placed::Renamed)) => is_spooled = false,
            Ok(Some(Placed::Copied) | None) => letter.settled.push(mailbox),
            Err(error) => {
                result = Err(error);
                break;
            }
        }
        letter.n_applied = n_applied;
    }
    if is_spooled {
        // If this fails, the next start removes the file.
        store.disk.fs.unlink(&spool_path).unwrap_or_default();
    }
    if result.is_err() {
        mailboxes::undo(&store.disk, &made);
    }
    result
}

/// Puts the message into a mailbox. If that fails, or the mailbox is known to be `broken`, sets the
/// message aside for it and returns `None`.
fn place_or_keep_waiting(
    store: &OpenStore,
    spooled: Spooled<'_>,
    (mailbox, broken): (&MailboxName, Option<&Error>),
    step: Step,
    made: &mut Made,
) -> Result<Option<Placed>, Error> {
    let target = Target::of(&store.disk, mailbox)?;
    let placed = match broken {
        Some(error) => Err(error.clone().into()),
        None => place(store, spooled, &target, step, made),
    };
    match placed {
        Ok(placed) => Ok(Some(placed)),
        // Whatever the reason is, it can be set aside if the store as a whole works.
        Err(Misplaced { error, .. }) => {
            aside::keep_waiting(store, &target, spooled, Purpose::Delivery, &error)
                .map(|()| None)
                .map_err(|_not_even_there| error)
        }
    }
}

/// Writes a file into the spool, replacing one that an earlier attempt left.
pub(super) fn spool(
    store: &OpenStore,
    path: &Path,
    content: &[u8],
) -> Result<Box<dyn File>, Error> {
    let mut file = match store.disk.create_anew(path) {
        Err(error) if error.is_not_found() => {
            store.settle_anew()?;
            store.disk.create_anew(path)?
        }
        other => other?,
    };
    let written = file.append(content);
    // If this fails, the next start removes the file.
    written
        .inspect_err(|_| store.disk.fs.unlink(path).unwrap_or_default())
        .map_err(Error::io("write", path))?;
    Ok(file)
}

/// Gives the file its name in the mailbox of `target`, which is created again if somebody removed
/// it. If the name already exists, it belongs to this message.
pub(super) fn place(
    store: &OpenStore,
    spooled: Spooled<'_>,
    target: &Target<'_>,
    step: Step,
    made: &mut Made,
) -> Result<Placed, Misplaced> {
    let path = target.maildir.in_new(spooled.file_name);
    let give_name = || match step {
        Step::Link => store.disk.fs.hard_link(spooled.path, &path),
        Step::Rename => store.disk.fs.rename(spooled.path, &path),
    };
    let placed = match give_name() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // Somebody has removed the mailbox since it was last seen.
            store.known.forget(target.mailbox);
            let mark = store.disk.sync_mark();
            mailboxes::make_mailboxes(store, std::slice::from_ref(target), made)?;
            store.disk.check_syncs(mark)?;
            give_name()
        }
        other => other,
    };
    // Whatever the result: then nobody has to rely on the times of the directory.
    store.visibility.forget_listing(target.mailbox);
    match placed {
        Ok(()) => Ok(match step {
            Step::Link => Placed::Linked,
            Step::Rename => Placed::Renamed,
        }),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(Placed::Linked),
        Err(_) if matches!(step, Step::Rename) && is_renamed(&store.disk, spooled, &path) => {
            Ok(Placed::Renamed)
        }
        Err(error) if copying::is_needed(&error) => {
            let (disk, maildir) = (&store.disk, Some(&target.maildir));
            let copied = copying::copy(disk, spooled.path, &path, maildir, Former::Replaced);
            copied.map_err(|error| Misplaced {
                error,
                is_copy: true,
            })?;
            store.visibility.forget_listing(target.mailbox);
            Ok(Placed::Copied)
        }
        Err(error) => Err(Error::io("deliver to", &path)(error).into()),
    }
}

/// Whether the file has the name `path` although the rename reported a failure. Repeating the
/// rename would bring back a file that somebody moves or removes from now on.
fn is_renamed(disk: &Disk, spooled: Spooled<'_>, path: &Path) -> bool {
    let spool = disk.fs.metadata(spooled.path);
    let is_given_up = spool.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    is_given_up && disk.fs.metadata(path).is_ok()
}
