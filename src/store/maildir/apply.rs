//! Messages that are durable in the journal on their way into the Maildirs.
//!
//! # Theory of operation
//! Whoever delivered a message applies it, right after its batch is durable and before it is
//! acknowledged: the content is written to `.facteur/tmp`, linked into the mailboxes and renamed
//! into the last one. Nothing is synced; a crash undoes any part of it and the journal does it
//! again. So a message is in its mailboxes, for maildrops and other programs, when its sender
//! hears of it, and what other clients wait for is never this.
//!
//! A message that one mailbox cannot take is set aside for it (`waiting.rs`), and is applied.
//!
//! A message that cannot be applied (the disk has no room for files, descriptors are short) is
//! acknowledged all the same: it is durable. It is *kept* in memory and tried again by every
//! delivery that begins, every login and every checkpoint. As long as one is kept no delivery
//! begins, so there are never more of them than there were sessions.
//!
//! # Invariants
//! - I4: nothing is applied before it is durable, and no reader sees a part of it.
//! - A mailbox gets each message once, however often it is tried: what was done is remembered,
//!   since the message may be removed again meanwhile.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    path::Path,
};

use crate::{
    fs::File,
    mail::MailboxName,
    store::{Change, Error, Event},
};

use super::{
    aside,
    disk::Disk,
    letter::{Letter, Misplaced, Placed, Spooled, Step},
    mailboxes::{self, Made, Target},
    name,
    open::OpenStore,
    place::{self, Former},
    touched::Applied,
    waiting::Purpose,
};

/// Puts the message of batch `number` into its mailboxes, or keeps it.
pub(super) fn apply_or_keep(store: &OpenStore, mut letter: Letter, number: u64) {
    // A fault of the program must not lose a durable message either (SEC-17).
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

/// Tries again what is kept.
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
        // After a fault of the program it is kept like after any other.
        let applied = catch_unwind(AssertUnwindSafe(|| apply(store, &mut letter)));
        match applied {
            Ok(Ok(())) => note_applied(store, letter, number),
            Ok(Err(error)) => {
                result = Err(error);
                left.push((number, letter));
            }
            Err(_panic) => {
                let reason = "a fault of the program";
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
    // Before the batch counts as applied: who makes a checkpoint of it has to know.
    if store.touched.note(message) {
        store.checkpoints.hurry();
    }
    journal.applied(number);
}

fn apply(store: &OpenStore, letter: &mut Letter) -> Result<(), Error> {
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
            let unique_id = || name::unique_id_of(&letter.file_name);
            store.tell(Change::Arrived, &mailbox, unique_id);
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
        // What stays is removed at the next start.
        store.disk.fs.unlink(&spool_path).unwrap_or_default();
    }
    if result.is_err() {
        mailboxes::undo(&store.disk, &made);
    }
    result
}

/// Puts the message into a mailbox or, when that cannot be done or is known to be `broken`,
/// sets it aside for it: `None`.
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
        // If the store as a whole is in order it can be set aside, whatever the reason is.
        Err(Misplaced { error, .. }) => {
            aside::keep_waiting(store, &target, spooled, Purpose::Delivery, &error)
                .map(|()| None)
                .map_err(|_not_even_there| error)
        }
    }
}

/// Writes a file into the spool, in the place of one that an earlier attempt left.
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
    // What stays is removed at the next start.
    written
        .inspect_err(|_| store.disk.fs.unlink(path).unwrap_or_default())
        .map_err(Error::io("write", path))?;
    Ok(file)
}

/// Gives the file its name in the mailbox of `target`, which is made again if somebody removed
/// it. A name that is there already is that of this message.
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
            // Somebody removed the mailbox since we met it.
            store.known.forget(target.mailbox);
            let mark = store.disk.sync_mark();
            mailboxes::make_mailboxes(store, std::slice::from_ref(target), made)?;
            store.disk.check_syncs(mark)?;
            give_name()
        }
        other => other,
    };
    // Whatever came of it: nobody need believe the times of the directory.
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
        Err(error) if place::takes_a_copy(&error) => {
            let (disk, maildir) = (&store.disk, Some(&target.maildir));
            let copied = place::copy(disk, spooled.path, &path, maildir, Former::Replaced);
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

/// Whether the file has its name `path`, although the call that gave it has failed: to repeat
/// it would bring back what somebody moves or removes from now on.
fn is_renamed(disk: &Disk, spooled: Spooled<'_>, path: &Path) -> bool {
    let spool = disk.fs.metadata(spooled.path);
    let is_given_up = spool.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    is_given_up && disk.fs.metadata(path).is_ok()
}
