//! Retries mailboxes that accept no mail, and delivers the messages that waited for them: see
//! `waiting.rs`.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::{
    fs::if_there,
    mail::MailboxName,
    store::{
        Change, Error, Event,
        name::{Identity, OwnName},
    },
};

use super::{
    aside::{self, ANEW, DIRECTORY},
    disk::Disk,
    layout::{self, Maildir},
    letter::Spooled,
    listing::Side,
    mailboxes::{self, Presence, Target},
    open::OpenStore,
    replay::{Moment, Replay},
    waiting::AtWork,
};

/// Checks that a message for `mailbox` can be stored, as far as that is known beforehand.
///
/// # Errors
/// [`Error::NameTooLong`]: it never can. Any other: it cannot now; the observer was told why.
pub(super) fn check_recipient(store: &OpenStore, mailbox: &MailboxName) -> Result<(), Error> {
    let target = Target::of(&store.disk, mailbox)?;
    if let Some(ailment) = store.waiting.ailment(mailbox) {
        // Whoever is working on it will find out.
        let turn = store.waiting.try_take(mailbox).ok_or(ailment)?;
        return cure_in_turn(store, &turn, &target);
    }
    if store.known.was_taking_lately(&store.disk.clock, mailbox) {
        return Ok(());
    }
    aside::look_for_entries(&store.disk, &target.maildir)
        .inspect(|()| store.known.note_taking(&store.disk.clock, mailbox))
        .inspect_err(|error| aside::note_ailing(store, mailbox, error, None))
}

/// Delivers the messages that wait for `mailbox`, if it accepts mail again.
///
/// # Errors
/// Why it does not.
pub(super) fn cure(store: &OpenStore, mailbox: &MailboxName) -> Result<(), Error> {
    if store.waiting.ailment(mailbox).is_none() {
        return Ok(());
    }
    let target = Target::of(&store.disk, mailbox)?;
    let turn = store.waiting.take(mailbox);
    cure_in_turn(store, &turn, &target)
}

/// Tries all mailboxes that accept no mail.
pub(super) fn cure_all(store: &OpenStore) {
    store.waiting.table.lock().tried_at = Some(store.disk.clock.now());
    for mailbox in store.waiting.mailboxes() {
        // If it is still broken, that is reported from time to time.
        cure(store, &mailbox).unwrap_or_default();
    }
}

fn cure_in_turn(store: &OpenStore, turn: &AtWork<'_>, target: &Target<'_>) -> Result<(), Error> {
    let mailbox = turn.mailbox;
    let before = store.waiting.table.lock().count_for(mailbox);
    let cured = deliver_waiting(store, target);
    match &cured {
        Ok(()) => {
            let was_ailing = store.waiting.table.lock().note_cure(mailbox);
            if was_ailing {
                store.observer.tell(&Event::MailboxCured {
                    mailbox,
                    delivered: before,
                });
            }
        }
        Err(error) => note_failed_cure(store, target, error, before),
    }
    cured
}

/// Notes that not all of the `before` messages that waited could be delivered.
fn note_failed_cure(store: &OpenStore, target: &Target<'_>, error: &Error, before: usize) {
    let left = aside::waiting_names(&store.disk, &target.maildir).map(|names| names.len());
    aside::note_ailing(store, target.mailbox, error, Some(left.unwrap_or(before)));
}

/// Delivers all messages that wait for the mailbox of `target`.
fn deliver_waiting(store: &OpenStore, target: &Target<'_>) -> Result<(), Error> {
    let (mailbox, maildir) = (target.mailbox, &target.maildir);
    for directory in maildir.directories() {
        if mailboxes::look_at_directory(&store.disk, &directory)? == Presence::Missing {
            let parent = directory.parent().unwrap_or(&directory);
            let checked = if_there(store.disk.fs.check_entries(parent));
            checked.map_err(Error::io("create a directory in", parent))?;
        }
    }
    aside::look_for_entries(&store.disk, maildir)?;
    let directory = aside::waiting_place(&store.disk, maildir)?;
    let names = aside::waiting_names(&store.disk, maildir)?;
    if names.is_empty() {
        return Ok(());
    }
    let mark = store.disk.sync_mark();
    let mut delivered = Vec::with_capacity(names.len());
    let mut result = Ok(());
    let mut lives: BTreeMap<u64, Replay<'_>> = BTreeMap::new();
    for file_name in names {
        let path = directory.join(&file_name);
        let (own, moment) = match file_name.strip_prefix(ANEW) {
            Some(own) => (own, Moment::Service),
            None => (&*file_name, Moment::Cure),
        };
        let Some(name) = OwnName::parse(own.as_bytes()) else {
            continue;
        };
        let life = lives.entry(name.serial.nonce);
        let replay = life.or_insert_with(|| Replay::of(store, moment));
        replay.moment = moment;
        let spooled = Spooled {
            path: &path,
            file_name: own,
        };
        match replay.deliver_to(target, name.serial, spooled) {
            // It can be seen, and the next attempt, if this one fails, finds it there.
            Ok(true) => store.tell(Change::Arrived, mailbox, || Identity::of(own.as_bytes())),
            Ok(false) => {}
            Err(error) => {
                result = Err(error);
                break;
            }
        }
        delivered.push(path);
    }
    settle_waiting(&store.disk, maildir, &directory, &delivered)
        .and_then(|()| store.disk.check_syncs(mark))
        .and(result)?;
    store.known.remember(&store.disk, [mailbox]);
    Ok(())
}

/// Makes the delivered messages durable, and only then removes the waiting ones.
fn settle_waiting(
    disk: &Disk,
    maildir: &Maildir,
    directory: &Path,
    delivered: &[PathBuf],
) -> Result<(), Error> {
    if delivered.is_empty() {
        return Ok(());
    }
    let mark = disk.sync_mark();
    planted!(
        WaitingMessagesAreLetGoEarly,
        return let_go(disk, directory, delivered)
    );
    for side in [Side::Cur, Side::New] {
        disk.sync_directory_if_there(&maildir.side(side))?;
    }
    for path in delivered {
        // It is the same file as the delivered one, unless that is a copy.
        disk.sync_name(path)?;
    }
    disk.check_syncs(mark)?;
    let_go(disk, directory, delivered)
}

/// Removes the delivered messages from the place where they waited, durably.
fn let_go(disk: &Disk, directory: &Path, delivered: &[PathBuf]) -> Result<(), Error> {
    for path in delivered {
        disk.unlink(path)?;
    }
    disk.sync_directory(directory)?;
    aside::tidy_waiting(disk, directory);
    Ok(())
}

/// Finds the messages that an earlier run has left waiting, and delivers those that it can.
///
/// # Errors
/// [`Error`] if the store's own directories cannot be read.
pub(super) fn recover_waiting(store: &OpenStore) -> Result<(), Error> {
    let all = store.disk.own.join(DIRECTORY);
    for domain in aside::directories_in(&store.disk, &all)? {
        for local_part in aside::directories_in(&store.disk, &all.join(&domain))? {
            let decoded = layout::decoded(&local_part).zip(layout::decoded(&domain));
            let mailbox = decoded
                .and_then(|(local_part, domain)| MailboxName::from_canonical(&local_part, &domain));
            let Some(mailbox) = mailbox else { continue };
            let target = Target::of(&store.disk, &mailbox)?;
            let maildir = &target.maildir;
            let mut names = aside::waiting_names(&store.disk, maildir)?;
            remove_what_came_back(&store.disk, maildir, &mut names)?;
            have_delivered(&store.disk, maildir, &mut names)?;
            if names.is_empty() {
                aside::tidy_waiting(&store.disk, &aside::waiting_place(&store.disk, maildir)?);
                continue;
            }
            let turn = store.waiting.take(&mailbox);
            // Usually they can be delivered, because the mailbox has been repaired.
            let delivered = names.len();
            match deliver_waiting(store, &target) {
                Ok(()) => store.observer.tell(&Event::MailboxCured {
                    mailbox: &mailbox,
                    delivered,
                }),
                Err(error) => note_failed_cure(store, &target, &error, delivered),
            }
            drop(turn);
        }
    }
    Ok(())
}

/// Reports how many messages wait for each mailbox, if that differs from the last report: a replay
/// finds them one after the other.
pub(super) fn tell_all_that_waits(store: &OpenStore) {
    let unreported = store.waiting.table.lock().unreported();
    for (mailbox, waiting, error) in unreported {
        store.observer.tell(&Event::MailboxAiling {
            mailbox: &mailbox,
            waiting,
            error: &error,
        });
    }
}

/// Removes those of the messages `names` that were removed before and came back without their
/// octets, as names do on some file systems. A message that really waits has all its octets before
/// it has its name.
fn remove_what_came_back(
    disk: &Disk,
    maildir: &Maildir,
    names: &mut Vec<String>,
) -> Result<(), Error> {
    planted!(ReturnedNamesAreLeft, return Ok(()));
    let directory = aside::waiting_place(disk, maildir)?;
    let has_come_back = |name: &String| {
        let own = name.strip_prefix(ANEW).unwrap_or(name);
        aside::has_lost_its_octets(disk, &directory.join(name), own.as_bytes())
    };
    let returned: Vec<String> = names.extract_if(.., |name| has_come_back(name)).collect();
    for name in &returned {
        disk.unlink(&directory.join(name))?;
    }
    if returned.is_empty() {
        Ok(())
    } else {
        disk.sync_directory(&directory)
    }
}

/// Makes those of the messages `names` that were meant to replace files wait for delivery instead.
fn have_delivered(disk: &Disk, maildir: &Maildir, names: &mut [String]) -> Result<(), Error> {
    let directory = aside::waiting_place(disk, maildir)?;
    for name in names {
        let Some(own) = name.strip_prefix(ANEW) else {
            continue;
        };
        let anew = directory.join(&*name);
        aside::hold(disk, &anew, &directory.join(own), &directory)?;
        // The sync that follows the removal of the other name also makes this durable.
        disk.unlink(&anew)?;
        *name = own.to_owned();
    }
    Ok(())
}
