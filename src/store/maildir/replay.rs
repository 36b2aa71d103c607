//! Replay: repeats on the Maildirs what the journal records.
//!
//! # Theory of operation
//! *At a start* that finds a journal, the last run did not end cleanly, and nobody knows which of
//! its unsynced files and names are on the disk. So every delivery in the journal that is not known
//! to be checkpointed is repeated. An existing file is replaced by a new one, since it may have its
//! name but not its octets, or the system may show it although it failed to write it; a missing
//! file is created. A delivery whose removal is also in the journal is skipped, and a file with its
//! name but no octets is removed: one file system brings back a name, without octets, that was
//! durably removed. A file with octets was put back by somebody, and stays. Then everything is
//! synced and the journal is ended. Every step can be interrupted and repeated. If the disk has no
//! room for this, a file that has all its octets is left as it is.
//!
//! Other programs rename messages during a start too. A message that was found when its mailbox was
//! read, and is no longer at its place, is looked for again (`reading.rs`); if it is gone, somebody
//! has removed it.
//!
//! If a sync of the whole file system cannot be relied on (`trust.rs`), the messages and their
//! directories are synced one by one.
//!
//! *In a running store*, after a failed sync, the same is done with one difference: a message that
//! is already missing at first was removed by somebody, and is not created again.
//!
//! # Invariants
//! - I8: replaying twice, or half and then all of it, has the same result as replaying once.
//! - I2: a message whose removal is in the journal is not brought back.
//! - I6: a replayed message has the name that it had before.
//!
//! # Failures
//! [`Error`]: the journal stays as it was, and the replay can be tried again.
//!
//! # Known limits
//! A message that another program deleted within the last ten seconds or so before a crash, or
//! before the start after it, may come back, since the journal does not know about the deletion: a
//! missing message could also be one that the disk has lost. On a file system that a program serves
//! (FUSE) it may come back without its octets, unless whoever deleted it synced the file after
//! that.

use std::{
    collections::{HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    time::Instant,
};

use crate::{
    fs::{if_there, unless_there},
    mail::MailboxName,
    store::{
        Error, Event,
        limits::{COUNT_OCTETS, FIND_ATTEMPTS_MAX, REPLAY_PROGRESS, SYNC_NAMES},
        name::{Identity, OwnName, Serial},
    },
};

use super::{
    apply, aside,
    copying::{self, Former},
    disk::Disk,
    journal::{Journal, Journaled, Record},
    letter::{Spooled, Step},
    listing::{Place, Side},
    mailboxes::{self, Made, Target},
    open::OpenStore,
    piecemeal,
    reading::{Readings, Verdict, keeps_changing},
    touched::Applied,
    waiting::Purpose,
};

/// Where in a mailbox the messages of one run of the daemon are.
type Places = HashMap<Serial, Vec<PathBuf>>;

/// When a replay happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// At a start, before anybody is served.
    Start,
    /// In a running store.
    Service,
    /// In a running store, for a message that may never have been in its mailbox.
    Cure,
}

/// One replay.
#[derive(Debug)]
pub(super) struct Replay<'a> {
    store: &'a OpenStore,
    pub(super) moment: Moment,
    /// Which messages were removed from which mailbox.
    removed: HashSet<(MailboxName, Serial)>,
    /// Where messages of the run that wrote the journal were found.
    places: HashMap<MailboxName, Places>,
    n_messages: u64,
    n_removed: u64,
    /// Messages that were put into mailboxes and must be synced one by one.
    unsynced: Unsynced,
}

/// Messages that must be synced one by one, where that is the only way.
#[derive(Debug, Default)]
struct Unsynced {
    messages: Vec<Applied>,
    n_names: usize,
}

impl Unsynced {
    /// Adds the message with this file name in `mailboxes`; syncs all of them once there are many.
    fn add(
        &mut self,
        store: &OpenStore,
        file_name: &str,
        mailboxes: Vec<MailboxName>,
    ) -> Result<(), Error> {
        let Some(serial) = OwnName::parse(file_name.as_bytes()).map(|name| name.serial) else {
            return Ok(());
        };
        self.n_names = self.n_names.saturating_add(mailboxes.len());
        self.messages.push(Applied {
            number: 0,
            counter: serial.counter,
            file_name: file_name.to_owned(),
            mailboxes,
        });
        if self.n_names >= SYNC_NAMES {
            self.sync(store)?;
        }
        Ok(())
    }

    /// Syncs them, and both directories of each of their mailboxes: a message may be in either.
    fn sync(&mut self, store: &OpenStore) -> Result<(), Error> {
        let Self { messages, .. } = std::mem::take(self);
        piecemeal::sync_piecemeal(store, &messages)?;
        let mailboxes = messages.iter().flat_map(|message| &message.mailboxes);
        for mailbox in mailboxes.collect::<HashSet<_>>() {
            let cur = store.disk.maildir(mailbox)?.side(Side::Cur);
            store.disk.sync_directory_if_there(&cur)?;
        }
        Ok(())
    }
}

/// Replays the journal that the last run has left in `directory`, if there is one, and ends it.
///
/// # Errors
/// See the module. Do not start.
pub(super) fn recover(store: &OpenStore, directory: &Path) -> Result<(), Error> {
    let Some(journaled) = Journaled::read(&*store.disk.fs, directory)? else {
        // The end of the journal may not be on disk yet.
        return store.disk.sync_directory_if_there(directory);
    };
    let begin = store.disk.clock.now();
    let mark = store.disk.sync_mark();
    planted!(
        JournalsEndBeforeTheSync,
        Journal::forget(&*store.disk.fs, directory)?
    );
    let (n_messages, n_removed) = replay(store, &journaled, Moment::Start, begin)?;
    if store.disk.trusts_whole_sync() {
        store.checkpoints.sync(&store.disk)?;
    }
    store.disk.check_syncs(mark)?;
    let unreadable = &journaled.unreadable;
    let may_matter = unreadable.iter().any(|it| it.may_matter);
    let is_damaged = may_matter || journaled.n_missing() > 0;
    let damaged = is_damaged.then(|| set_aside(&store.disk, directory, &journaled));
    let kept_in = damaged.transpose()?;
    Journal::forget(&*store.disk.fs, directory)?;
    for segment in unreadable {
        store.observer.tell(&Event::JournalUnreadable {
            path: &segment.path,
            blocks: segment.n_blocks,
            reason: &segment.error,
            kept_in: kept_in.as_deref(),
        });
    }
    if let Some(kept_in) = kept_in.filter(|_| journaled.n_missing() > 0) {
        store.observer.tell(&Event::JournalDamaged {
            missing: journaled.n_missing(),
            kept_in,
        });
    }
    store.observer.tell(&Event::Replayed {
        messages: n_messages,
        removed: n_removed,
        took: store.disk.clock.now().saturating_duration_since(begin),
    });
    Ok(())
}

/// Writes the messages of the journal anew, because the system may have lost them although it shows
/// them.
///
/// # Errors
/// See the module.
pub(super) fn write_anew(store: &OpenStore, journal: &Journal) -> Result<(), Error> {
    planted!(FailedCheckpointsAreRepeated, return Ok(()));
    let progress = journal.progress();
    let Some(journaled) = Journaled::read(&*store.disk.fs, &journal.directory)? else {
        return Ok(());
    };
    // Otherwise batches that cannot be read would be taken for durable.
    journaled.check(&journal.directory, progress.checkpointed, progress.durable)?;
    let begin = store.disk.clock.now();
    replay(store, &journaled, Moment::Service, begin).map(drop)
}

/// Syncs, one by one, all messages of the journal that were put into Maildirs.
///
/// # Errors
/// As for any sync; everything is then in doubt.
pub(super) fn sync_journaled(store: &OpenStore, journal: &Journal) -> Result<(), Error> {
    let progress = journal.progress();
    let Some(journaled) = Journaled::read(&*store.disk.fs, &journal.directory)? else {
        return Ok(());
    };
    journaled.check(&journal.directory, progress.checkpointed, progress.applied)?;
    let removed = removed(&journaled)?;
    let mut unsynced = Unsynced::default();
    journaled.each(|record| {
        let Record::Delivery {
            file_name,
            mut mailboxes,
            ..
        } = record
        else {
            return Ok(());
        };
        let serial = OwnName::parse(file_name.as_bytes()).map(|name| name.serial);
        mailboxes.retain(|mailbox| {
            serial.is_some_and(|serial| !removed.contains(&(mailbox.clone(), serial)))
        });
        unsynced.add(store, file_name, mailboxes)
    })?;
    unsynced.sync(store)
}

/// Returns how many messages were replayed, and how many were skipped.
fn replay(
    store: &OpenStore,
    journaled: &Journaled,
    moment: Moment,
    begin: Instant,
) -> Result<(u64, u64), Error> {
    let mut replay = Replay::of(store, moment);
    replay.removed = removed(journaled)?;
    let (mut done, total) = (0_u64, journaled.n_records());
    let mut told = begin;
    journaled.each(|record| {
        if let Record::Delivery {
            file_name,
            mailboxes,
            content,
        } = record
        {
            replay.deliver(file_name, &mailboxes, content)?;
        }
        done = done.saturating_add(1);
        let now = store.disk.clock.now();
        if now.saturating_duration_since(told) >= REPLAY_PROGRESS && moment == Moment::Start {
            store.observer.tell(&Event::Replaying { done, total });
            told = now;
        }
        Ok(())
    })?;
    replay.unsynced.sync(store)?;
    if moment == Moment::Start {
        replay.remove_what_came_back();
    }
    Ok((replay.n_messages, replay.n_removed))
}

/// Moves the segments of a damaged journal aside, for anybody who wants to examine them.
fn set_aside(disk: &Disk, directory: &Path, journaled: &Journaled) -> Result<PathBuf, Error> {
    let seconds = disk.clock.unix_time().as_secs();
    let own = directory.parent().unwrap_or(directory);
    let kept_in = own.join(format!("damaged-journal-{seconds}"));
    unless_there(disk.fs.create_dir(&kept_in)).map_err(Error::io("make", &kept_in))?;
    for path in &journaled.paths {
        let Some(file_name) = path.file_name() else {
            continue;
        };
        disk.fs
            .rename(path, &kept_in.join(file_name))
            .map_err(Error::io("set aside", path))?;
    }
    for changed in [&kept_in, own, directory] {
        disk.sync_directory(changed)?;
    }
    Ok(kept_in)
}

/// Which messages were removed from which mailbox, according to the journal.
fn removed(journaled: &Journaled) -> Result<HashSet<(MailboxName, Serial)>, Error> {
    let mut removed = HashSet::new();
    journaled.each(|record| {
        if let Record::Removal { mailbox, serials } = record {
            removed.extend(serials.into_iter().map(|serial| (mailbox.clone(), serial)));
        }
        Ok(())
    })?;
    Ok(removed)
}

impl<'a> Replay<'a> {
    pub(super) fn of(store: &'a OpenStore, moment: Moment) -> Self {
        Self {
            store,
            moment,
            removed: HashSet::new(),
            places: HashMap::new(),
            n_messages: 0,
            n_removed: 0,
            unsynced: Unsynced::default(),
        }
    }

    fn deliver(
        &mut self,
        file_name: &str,
        mailboxes: &[MailboxName],
        content: &[u8],
    ) -> Result<(), Error> {
        let Some(OwnName { serial, .. }) = OwnName::parse_exactly(file_name) else {
            return Ok(());
        };
        // Not the name that a delivery of this message may be using now.
        let again = format!("{}.again", serial.render());
        let spool_path = self.store.disk.spool.join(again);
        match apply::spool(self.store, &spool_path, content) {
            Ok(file) => drop(file),
            // Nothing better is possible, and it lets users remove messages to make room.
            Err(Error::Full { .. })
                if self.moment == Moment::Start && self.is_whole(mailboxes, serial, content)? =>
            {
                self.n_messages = self.n_messages.saturating_add(1);
                return self.sync_later(file_name, mailboxes, serial);
            }
            Err(error) => return Err(error),
        }
        let spooled = Spooled {
            path: &spool_path,
            file_name,
        };
        let mut result = Ok(());
        for mailbox in mailboxes {
            if self.removed.contains(&(mailbox.clone(), serial)) {
                self.n_removed = self.n_removed.saturating_add(1);
            } else {
                result = self.deliver_or_keep(mailbox, serial, spooled);
                if result.is_err() {
                    break;
                }
                self.n_messages = self.n_messages.saturating_add(1);
            }
        }
        let unlinked = self.store.disk.fs.unlink(&spool_path);
        result.and(unlinked.map_err(Error::io("remove", &spool_path)))?;
        self.sync_later(file_name, mailboxes, serial)
    }

    /// Makes sure that the message is synced, at a start that has to sync messages one by one. In a
    /// running store the checkpoint does that.
    fn sync_later(
        &mut self,
        file_name: &str,
        mailboxes: &[MailboxName],
        serial: Serial,
    ) -> Result<(), Error> {
        if self.store.disk.trusts_whole_sync() || self.moment == Moment::Service {
            return Ok(());
        }
        let is_left = |mailbox: &&MailboxName| {
            let removed = ((*mailbox).clone(), serial);
            !self.removed.contains(&removed)
        };
        let mailboxes = mailboxes.iter().filter(is_left).cloned().collect();
        self.unsynced.add(self.store, file_name, mailboxes)
    }

    /// Removes files that have the name of a removed message but no octets. The removal was durable
    /// before the journal recorded it.
    fn remove_what_came_back(&mut self) {
        planted!(ReturnedNamesAreLeft, return);
        let removed: Vec<_> = self.removed.iter().cloned().collect();
        let mut changed = HashSet::new();
        for (mailbox, serial) in removed {
            // A mailbox that cannot be read or written must not hold up a start.
            let is_changed = self.remove_came_back(&mailbox, serial).unwrap_or_default();
            if is_changed {
                changed.insert(mailbox);
            }
        }
        if self.store.disk.trusts_whole_sync() {
            return;
        }
        for mailbox in changed {
            let Ok(maildir) = self.store.disk.maildir(&mailbox) else {
                continue;
            };
            for side in [Side::New, Side::Cur] {
                // Must not hold up a start either.
                let synced = self.store.disk.sync_directory(&maildir.side(side));
                synced.unwrap_or_default();
            }
        }
    }

    /// Removes what is left of the message from `mailbox`; returns whether there was anything.
    ///
    /// A file that has its octets stays: somebody has put it back. Perhaps it had been moved away
    /// when the client's removal reported it as gone.
    fn remove_came_back(&mut self, mailbox: &MailboxName, serial: Serial) -> Result<bool, Error> {
        let target = Target::of(&self.store.disk, mailbox)?;
        let mut is_changed = false;
        for place in self.places(&target, serial)? {
            let file_name = place.file_name().unwrap_or_default();
            let is_back =
                aside::has_lost_its_octets(&self.store.disk, &place, file_name.as_encoded_bytes());
            if is_back {
                is_changed |= self.store.disk.unlink(&place)?;
            }
        }
        Ok(is_changed)
    }

    /// Delivers the message or, if the mailbox cannot accept it, sets it aside for that mailbox.
    fn deliver_or_keep(
        &mut self,
        mailbox: &MailboxName,
        serial: Serial,
        spooled: Spooled<'_>,
    ) -> Result<(), Error> {
        let target = Target::of(&self.store.disk, mailbox)?;
        let delivered = self.deliver_to(&target, serial, spooled);
        delivered.map(drop).or_else(|error| {
            let purpose = match self.moment {
                Moment::Start | Moment::Cure => Purpose::Delivery,
                Moment::Service => Purpose::Anew,
            };
            // Whatever the reason is, it can be set aside if the store as a whole works.
            aside::keep_waiting(self.store, &target, spooled, purpose, &error)
                .map_err(|_not_even_there| error)
        })
    }

    /// Puts the message into the mailbox of `target`, replacing the files that it already has
    /// there. Returns whether it had none.
    pub(super) fn deliver_to(
        &mut self,
        target: &Target<'_>,
        serial: Serial,
        spooled: Spooled<'_>,
    ) -> Result<bool, Error> {
        let places = self.places(target, serial)?;
        planted!(
            ReplaysTrustNames,
            if !places.is_empty() {
                return Ok(false);
            }
        );
        if self.moment == Moment::Service || !places.is_empty() {
            let written = self.write_anew(target, serial, places, spooled);
            return written.map(|()| false);
        }
        let store = self.store;
        let mut made = Made::nothing(&store.disk);
        mailboxes::make_mailboxes(store, std::slice::from_ref(target), &mut made)
            .and_then(|()| Ok(apply::place(store, spooled, target, Step::Link, &mut made)?))
            .inspect_err(|_| mailboxes::undo(&store.disk, &made))
            .map(|_placed| true)
    }

    /// Replaces the files at `places`, and those that were moved from there meanwhile, until every
    /// file of the message is a new one.
    fn write_anew(
        &self,
        target: &Target<'_>,
        serial: Serial,
        mut places: Vec<PathBuf>,
        spooled: Spooled<'_>,
    ) -> Result<(), Error> {
        let wanted = HashSet::from([Identity::of(spooled.file_name.as_bytes())]);
        for _ in 0..FIND_ATTEMPTS_MAX {
            let mut is_done = true;
            for place in &places {
                is_done &= self.replace(target, serial, place, spooled.path)?;
            }
            if is_done {
                return Ok(());
            }
            let found = Readings::of(&self.store.disk, &target.maildir).find(&wanted)?;
            let found = found.iter().map(|moved| target.maildir.file(moved.place()));
            // Empty if somebody has removed it.
            places = found.collect();
        }
        Err(keeps_changing(&target.maildir))
    }

    /// Whether every mailbox that must have the message has all its octets.
    fn is_whole(
        &mut self,
        mailboxes: &[MailboxName],
        serial: Serial,
        content: &[u8],
    ) -> Result<bool, Error> {
        for mailbox in mailboxes {
            if self.removed.contains(&(mailbox.clone(), serial)) {
                continue;
            }
            let target = Target::of(&self.store.disk, mailbox)?;
            let places = self.places(&target, serial)?;
            let has_it = |place: &PathBuf| self.holds(place, content);
            if places.is_empty() || !places.iter().all(has_it) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether the file at `place` can be read and has exactly this content.
    fn holds(&self, place: &Path, content: &[u8]) -> bool {
        let Ok(mut file) = self.store.disk.fs.open(place) else {
            return false;
        };
        let (mut rest, mut buffer) = (content, vec![0; COUNT_OCTETS]);
        loop {
            let read = file.read(&mut buffer);
            let octets = read.ok().and_then(|n_read| buffer.get(..n_read));
            match octets {
                Some([]) => return rest.is_empty(),
                Some(octets) => match rest.strip_prefix(octets) {
                    Some(behind) => rest = behind,
                    None => return false,
                },
                None => return false,
            }
        }
    }

    /// The files of the message in the mailbox of `target`.
    fn places(&mut self, target: &Target<'_>, serial: Serial) -> Result<Vec<PathBuf>, Error> {
        if !self.places.contains_key(target.mailbox) {
            let found = self.find(target, serial.nonce)?;
            self.places.insert(target.mailbox.clone(), found);
        }
        let found = self.places.get(target.mailbox);
        let found = found.and_then(|found| found.get(&serial));
        Ok(found.cloned().unwrap_or_default())
    }

    /// The messages of the run with this nonce in the mailbox of `target`.
    fn find(&self, target: &Target<'_>, nonce: u64) -> Result<Places, Error> {
        let mut readings = Readings::of(&self.store.disk, &target.maildir);
        let mut earlier: Option<Places> = None;
        let mut ever = Places::new();
        loop {
            match readings.begin() {
                // A start waits for nobody. A message that all readings have missed gets a second
                // file.
                Err(_) if self.moment == Moment::Start => return Ok(ever),
                other => other?,
            }
            let found = self.visit(target, nonce)?;
            for (serial, paths) in &found {
                let known: &mut Vec<PathBuf> = ever.entry(*serial).or_default();
                let new = paths.iter().filter(|path| !known.contains(path));
                let new: Vec<PathBuf> = new.cloned().collect();
                known.extend(new);
            }
            let verdict = readings.end();
            let has = |(serial, paths): (&Serial, &Vec<PathBuf>)| {
                let found = found.get(serial);
                found.is_some_and(|found| paths.iter().all(|path| found.contains(path)))
            };
            let agrees = earlier.is_some_and(|earlier| earlier.iter().all(has));
            if verdict == Verdict::Complete || (verdict == Verdict::CompleteIfAgreed && agrees) {
                return Ok(found);
            }
            earlier = Some(found);
        }
    }

    /// The messages that one reading finds.
    fn visit(&self, target: &Target<'_>, nonce: u64) -> Result<Places, Error> {
        let mut found = Places::new();
        for side in [Side::New, Side::Cur] {
            let fs = &*self.store.disk.fs;
            target.maildir.visit(fs, side, &mut |entry| {
                let file_name = entry.name;
                let serial = Identity::of(file_name.as_encoded_bytes()).serial();
                if let Some(serial) = serial.filter(|serial| serial.nonce == nonce) {
                    let path = target.maildir.file(Place { side, file_name });
                    found.entry(serial).or_default().push(path);
                }
            })?;
        }
        Ok(found)
    }

    /// Replaces the file at `place` with the spooled one, under the same name; false if it is no
    /// longer there.
    fn replace(
        &self,
        target: &Target<'_>,
        serial: Serial,
        place: &Path,
        spool_path: &Path,
    ) -> Result<bool, Error> {
        let fs = &self.store.disk.fs;
        let twin = format!("{}.twin", serial.render());
        let twin = self.store.disk.spool.join(twin);
        fs.unlink(&twin).unwrap_or_default();
        if let Err(error) = fs.hard_link(spool_path, &twin) {
            if copying::is_needed(&error) {
                return self.replace_by_copy(target, serial, place, spool_path);
            }
            return Err(Error::io("make", &twin)(error));
        }
        planted!(
            StartsBringNamesBack,
            if self.moment == Moment::Start {
                let renamed = fs.rename(&twin, place);
                return renamed.map(|()| true).map_err(Error::io("replace", place));
            }
        );
        // Exchanged, since a rename would bring back a file that is renamed or removed at this
        // moment.
        let replaced = copying::exchange(&self.store.disk, &twin, place);
        let unlinked = if_there(fs.unlink(&twin)).map_err(Error::io("remove", &twin));
        match replaced {
            Ok(Former::Exchanged) => unlinked.map(|_| true),
            Ok(Former::Replaced) => unlinked
                .and_then(|_| self.remove_again(target, serial, place))
                .map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                planted!(NotFoundAtExchangeIsRemoved, return unlinked.map(|_| true));
                unlinked.map(|_| false)
            }
            Err(error) if copying::is_needed(&error) => {
                self.replace_by_copy(target, serial, place, spool_path)
            }
            Err(error) => Err(Error::io("replace", place)(error)),
        }
    }

    fn replace_by_copy(
        &self,
        target: &Target<'_>,
        serial: Serial,
        place: &Path,
        spool_path: &Path,
    ) -> Result<bool, Error> {
        let (disk, maildir) = (&self.store.disk, Some(&target.maildir));
        match copying::copy(disk, spool_path, place, maildir, Former::Exchanged) {
            Err(error) if error.is_not_found() => return Ok(false),
            other => other?,
        }
        self.remove_again(target, serial, place).map(|()| true)
    }

    /// Removes the file again if the message is being removed over POP3 at this moment: where two
    /// names cannot be exchanged, the replacement may have just put it back.
    fn remove_again(&self, target: &Target<'_>, serial: Serial, place: &Path) -> Result<(), Error> {
        let store = self.store;
        let (touched, counter) = (&store.touched, serial.counter);
        if serial.nonce != store.nonce || !touched.is_being_removed(target.mailbox, counter) {
            return Ok(());
        }
        store.disk.unlink(place)?;
        store.disk.sync_directory(place.parent().unwrap_or(place))
    }
}
