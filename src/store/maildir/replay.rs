//! Replay: what the journal says is done to the Maildirs once more.
//!
//! # Theory of operation
//! *At a start* that finds a journal, the last run did not end in order, and nobody knows which of
//! its unsynced files and names the disk has. So every delivery that the journal has and that is
//! not known to be checkpointed is done again: a file that is there is replaced by a new one, since
//! it may have its name and not its octets, or be shown by a system that has failed to write it; a
//! file that is not there is made. A delivery whose removal is in the journal too is left out, and
//! what has its name and no octets is removed: there is a file system that gives back a name,
//! without octets, that was removed durably. One with octets was put back by somebody, and stays.
//! Then everything is synced and the journal ended. Every step may be cut short and repeated. Where
//! the disk has no room for that, a file that has all its octets is left as it is.
//!
//! Other programs rename messages during a start, too. A message that was there when its mailbox
//! was read, and is not where it was, is looked for again (`reading.rs`), and when it is gone
//! somebody has removed it.
//!
//! Where a sync of the whole file system is not to be relied on (`trust.rs`), the messages are
//! synced one by one, and the directories that they are in.
//!
//! *While the store serves*, after a sync that failed, the same is done but for one thing: a
//! message that is not there at first was removed by somebody, too, and stays away.
//!
//! # Invariants
//! - I8: to replay twice, or half and then all of it, is the same as once.
//! - I2: what the journal says was removed is not brought back.
//! - I6: a message that is replayed has the name it had.
//!
//! # Failures
//! [`Error`]: the journal stays as it was, and the same can be tried again.
//!
//! # Known limits
//! A message that another program deleted within the last ten seconds or so before a crash, or
//! before the start after it, may come back, since the journal does not know of it: a message that
//! is missing then may as well be one that the disk has lost. On a file system that a program
//! serves (FUSE) it may come back without its octets, unless whoever deleted it synced the file
//! after that.

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
    },
};

use super::{
    apply, aside,
    disk::Disk,
    journal::{Journal, Journaled, Record},
    letter::{Spooled, Step},
    listing::{Place, Side},
    mailboxes::{self, Made, Target},
    name::{Identity, OwnName, Serial},
    open::OpenStore,
    piecemeal,
    place::{self, Former},
    reading::{Readings, Verdict, keeps_changing},
    touched::Applied,
    waiting::Purpose,
};

/// Where the messages of one life of the daemon are in one mailbox.
type Places = HashMap<Serial, Vec<PathBuf>>;

/// When a replay happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before anybody is served.
    Start,
    /// While the store serves.
    Service,
    /// While the store serves, and the message may not have been in its mailbox yet.
    Cure,
}

/// One replay.
#[derive(Debug)]
pub(super) struct Replay<'a> {
    store: &'a OpenStore,
    pub(super) moment: Moment,
    /// What was removed from which mailbox.
    removed: HashSet<(MailboxName, Serial)>,
    /// Where the messages of the journal's life are that were found.
    places: HashMap<MailboxName, Places>,
    n_messages: u64,
    n_removed: u64,
    /// What was put into mailboxes and is to be synced one by one.
    unsynced: Unsynced,
}

/// Messages that are to be synced one by one, where that is the only way.
#[derive(Debug, Default)]
struct Unsynced {
    messages: Vec<Applied>,
    n_names: usize,
}

impl Unsynced {
    /// Adds the message that is called so in `mailboxes`; syncs all of them when there are many.
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

    /// Syncs them, and both directories of each of their mailboxes: a message may be in both.
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

/// Replays the journal in `directory` that the last run has left, if it has left one, and ends
/// it.
///
/// # Errors
/// See the module. Do not start.
pub(super) fn recover(store: &OpenStore, directory: &Path) -> Result<(), Error> {
    let Some(journaled) = Journaled::read(&*store.disk.fs, directory)? else {
        // That it has ended need not be on disk yet.
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

/// Writes anew what the journal has, because the system may have lost it although it shows it.
///
/// # Errors
/// See the module.
pub(super) fn write_anew(store: &OpenStore, journal: &Journal) -> Result<(), Error> {
    planted!(FailedCheckpointsAreRepeated, return Ok(()));
    let progress = journal.progress();
    let Some(journaled) = Journaled::read(&*store.disk.fs, &journal.directory)? else {
        return Ok(());
    };
    // What cannot be read would be taken for durable.
    journaled.check(&journal.directory, progress.checkpointed, progress.durable)?;
    let begin = store.disk.clock.now();
    replay(store, &journaled, Moment::Service, begin).map(drop)
}

/// Makes durable, one by one, all that the journal has and that was put into Maildirs.
///
/// # Errors
/// As for any sync; everything is in doubt then.
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

/// Gives how many messages were replayed, and how many left out.
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

/// Moves the segments of a damaged journal out of the way, for whoever wants to look at them.
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

/// What the journal says was removed from which mailbox.
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
        // Not the name under which a delivery of this message may be at work.
        let again = format!("{}.again", serial.render());
        let spool_path = self.store.disk.spool.join(again);
        match apply::spool(self.store, &spool_path, content) {
            Ok(file) => drop(file),
            // There is nothing better to be had, and it serves those who make room.
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

    /// Sees to it that the message is synced, at a start that has to do that one by one. Later is
    /// the business of the checkpoint.
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

    /// Removes what has the name of a message that the journal says was removed, and no octets:
    /// that was durable before the journal said so.
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
                // The same.
                let synced = self.store.disk.sync_directory(&maildir.side(side));
                synced.unwrap_or_default();
            }
        }
    }

    /// Removes what is left of the message from `mailbox`; says whether anything was.
    ///
    /// One that has its octets stays: somebody has put it back. It had been moved away, perhaps,
    /// when the client that removed it was told that it is gone.
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

    /// Delivers the message or, when one mailbox cannot take it, sets it aside for that.
    fn deliver_or_keep(
        &mut self,
        mailbox: &MailboxName,
        serial: Serial,
        spooled: Spooled<'_>,
    ) -> Result<(), Error> {
        let target = Target::of(&self.store.disk, mailbox)?;
        self.deliver_to(&target, serial, spooled).or_else(|error| {
            let purpose = match self.moment {
                Moment::Start | Moment::Cure => Purpose::Delivery,
                Moment::Service => Purpose::Anew,
            };
            // If the store as a whole is in order it can be set aside, whatever the reason is.
            aside::keep_waiting(self.store, &target, spooled, purpose, &error)
                .map_err(|_not_even_there| error)
        })
    }

    /// Puts the message into the mailbox of `target`, or in the place of what is there of it.
    pub(super) fn deliver_to(
        &mut self,
        target: &Target<'_>,
        serial: Serial,
        spooled: Spooled<'_>,
    ) -> Result<(), Error> {
        let places = self.places(target, serial)?;
        planted!(
            ReplaysTrustNames,
            if !places.is_empty() {
                return Ok(());
            }
        );
        if self.moment == Moment::Service || !places.is_empty() {
            return self.write_anew(target, serial, places, spooled);
        }
        let store = self.store;
        let mut made = Made::nothing(&store.disk);
        mailboxes::make_mailboxes(store, std::slice::from_ref(target), &mut made)
            .and_then(|()| Ok(apply::place(store, spooled, target, Step::Link, &mut made)?))
            .inspect_err(|_| mailboxes::undo(&store.disk, &made))
            .map(drop)
    }

    /// Puts new files in the place of those at `places`, and of those that were moved from there
    /// meanwhile, until there is a new one wherever the message is.
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
            // None when somebody has removed it.
            places = found.collect();
        }
        Err(keeps_changing(&target.maildir))
    }

    /// Whether every mailbox that has to have the message has all octets of it.
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

    /// Whether the file at `place` can be read and has just this content.
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

    /// The messages of the life with this nonce in the mailbox of `target`.
    fn find(&self, target: &Target<'_>, nonce: u64) -> Result<Places, Error> {
        let mut readings = Readings::of(&self.store.disk, &target.maildir);
        let mut earlier: Option<Places> = None;
        let mut ever = Places::new();
        loop {
            match readings.begin() {
                // A start waits for nobody. What all of them have missed gets a second file.
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

    /// What one reading finds of them.
    fn visit(&self, target: &Target<'_>, nonce: u64) -> Result<Places, Error> {
        let mut found = Places::new();
        for side in [Side::New, Side::Cur] {
            let fs = &*self.store.disk.fs;
            target.maildir.visit(fs, side, &mut |file_name, _| {
                let serial = Identity::of(file_name.as_encoded_bytes()).serial();
                if let Some(serial) = serial.filter(|serial| serial.nonce == nonce) {
                    let path = target.maildir.file(Place { side, file_name });
                    found.entry(serial).or_default().push(path);
                }
            })?;
        }
        Ok(found)
    }

    /// Puts the spooled file in the place of the one at `place`, under the same name; false when
    /// that is not there any more.
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
            if place::takes_a_copy(&error) {
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
        // Exchanged, since a rename would bring back what is renamed or removed in this moment.
        let replaced = place::exchange(&self.store.disk, &twin, place);
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
            Err(error) if place::takes_a_copy(&error) => {
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
        match place::copy(disk, spool_path, place, maildir, Former::Exchanged) {
            Err(error) if error.is_not_found() => return Ok(false),
            other => other?,
        }
        self.remove_again(target, serial, place).map(|()| true)
    }

    /// Removes what was removed over POP3 in this moment: where two names cannot be exchanged, it
    /// may just have been put back.
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
