//! Mailboxes that take no mail, and what waits for them: one that is broken harms nobody else.
//!
//! # Theory of operation
//! A mailbox is *ailing* when something that is its own stands in the way: its directories belong
//! to another user or may not be written, a file or a symbolic link is in their place, its quota or
//! the small file system that it lies on is full. That is found out
//!
//! - when it is named as a recipient ([`OpenStore::check_recipient`]): whether it is known to be
//!   ailing, and, unless it was seen a moment ago to take entries, a look at `new`, one system
//!   call. Its senders are asked to come again, and those of others are not;
//! - at the commit. A message that has no other recipient is refused. One that has is taken, and
//!   waits for this mailbox;
//! - behind the journal, or in a replay. There the message is acknowledged and waits.
//!
//! What waits is in a directory of the store's own for each mailbox,
//! `.facteur/waiting/<domain>/<local part>`, under the name that it will have, and durable there:
//! so its batch of the journal counts as applied. It is delivered when the mailbox is *cured*: that
//! is tried whenever somebody sends to it or logs in, at every start, and every
//! [`CURE_PACE`].
//!
//! What waits is put into the mailbox durably before it is gone from here, and one who removes it
//! over POP3 in between removes it here too, so a crash neither loses it nor brings it back. A name
//! that the mailbox has already, in `new` or moved to `cur`, is that of the same message.
//!
//! A message that is in its mailbox and would have to be written anew there (`replay.rs`) waits
//! under a name that begins with [`ANEW`]: it is put in the place of the one that is there, and of
//! none when somebody removed that. From the next start on it waits to be delivered like any other:
//! if the one in the mailbox is missing then, the disk may have lost it.
//!
//! # Bounds
//! Nothing is accepted for a mailbox that is ailing. So what waits for it was on its way when that
//! was found out: no more than there were sessions, or than the journal held at a start.
//!
//! # Invariants
//! - What is set aside is durable when [`OpenStore::keep_waiting`] is `Ok`.
//! - One at a time sets aside or delivers what waits for a mailbox.
//!
//! # Failures
//! When a message cannot be set aside either, that is a failure of the store as a whole.
//!
//! # Known limits
//! A message that another program removes in the moment between its delivery from here and its
//! removal from here comes back after a power cut.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ffi::OsString,
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use crate::{
    fs::Kind,
    mail::MailboxName,
    store::{
        Error, Event,
        limits::{AILING_MAILBOXES_MAX, AILING_REMINDER, CURE_PACE},
    },
};

use super::{
    apply::Spooled,
    layout::{self, Maildir},
    mailboxes::{Presence, Target},
    name::{self, Identity, OwnName},
    open::OpenStore,
    piecemeal::Synced,
    place::{self, Former},
    replay::{Moment, Replay},
    sync::{Condvar, Mutex},
};

/// What the name of a message begins with that is only to be put in the place of the one that is
/// there.
const ANEW: &str = "anew-";

/// Mailboxes that take no mail, and who is at work on which.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    table: Mutex<Table>,
    is_free: Condvar,
}

#[derive(Debug, Default)]
struct Table {
    ailing: HashMap<MailboxName, Ailing>,
    /// In the hands of one who sets aside or delivers.
    taken: HashSet<MailboxName>,
    n_messages: usize,
    tried_at: Option<Instant>,
}

/// A mailbox that takes no mail.
#[derive(Debug)]
struct Ailing {
    error: Error,
    /// How many messages wait for it.
    n_messages: usize,
    /// When that was told last.
    told_at: Option<Instant>,
    /// How many were told of then.
    n_told: usize,
}

/// One mailbox in the hands of one; given back when this is dropped.
#[derive(Debug)]
struct Turn<'a> {
    waiting: &'a Waiting,
    mailbox: &'a MailboxName,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.waiting.table.lock().taken.remove(self.mailbox);
        self.waiting.is_free.notify_all();
    }
}

/// Why a message waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is to be delivered.
    Delivery,
    /// It is to take the place of a file that the disk may have lost.
    Anew,
}

impl Table {
    fn has_room(&mut self, mailbox: &MailboxName) -> bool {
        if self.ailing.len() >= AILING_MAILBOXES_MAX {
            // Those for which nothing waits are found out again.
            self.ailing.retain(|_, found| found.n_messages > 0);
        }
        self.ailing.len() < AILING_MAILBOXES_MAX || self.ailing.contains_key(mailbox)
    }

    fn count_for(&self, mailbox: &MailboxName) -> usize {
        let ailing = self.ailing.get(mailbox);
        ailing.map_or(0, |found| found.n_messages)
    }

    /// Notes what is wrong with the mailbox and, where that is known, how many messages wait for
    /// it. Gives how many do when it is time to tell that.
    fn note(
        &mut self,
        mailbox: &MailboxName,
        error: &Error,
        n_messages: Option<usize>,
        now: Instant,
    ) -> Option<usize> {
        let before = self.count_for(mailbox);
        let after = n_messages.unwrap_or(before);
        if after == 0 && !self.has_room(mailbox) {
            return None;
        }
        let found = self
            .ailing
            .entry(mailbox.clone())
            .or_insert_with(|| Ailing {
                error: error.clone(),
                n_messages: 0,
                told_at: None,
                n_told: 0,
            });
        found.error = error.clone();
        found.n_messages = after;
        // That something waits for it is news.
        let is_news = before == 0 && after > 0;
        let is_to_be_told = is_news
            || found
                .told_at
                .is_none_or(|told_at| now.saturating_duration_since(told_at) >= AILING_REMINDER);
        if is_to_be_told {
            (found.told_at, found.n_told) = (Some(now), after);
        }
        self.n_messages = self.n_messages.saturating_sub(before).saturating_add(after);
        is_to_be_told.then_some(after)
    }

    /// Those for which another number of messages waits than was told; from now on it is.
    fn untold(&mut self) -> Vec<(MailboxName, usize, Error)> {
        let ailing = self.ailing.iter_mut();
        let untold = ailing.filter(|(_, found)| found.n_messages != found.n_told);
        untold
            .map(|(mailbox, found)| {
                found.n_told = found.n_messages;
                (mailbox.clone(), found.n_messages, found.error.clone())
            })
            .collect()
    }

    /// Forgets that the mailbox is ailing; whether it was.
    fn note_cure(&mut self, mailbox: &MailboxName) -> bool {
        let n_messages = self.count_for(mailbox);
        self.n_messages = self.n_messages.saturating_sub(n_messages);
        self.ailing.remove(mailbox).is_some()
    }
}

impl Waiting {
    /// Takes the mailbox, after whoever has it.
    fn take<'a>(&'a self, mailbox: &'a MailboxName) -> Turn<'a> {
        let mut table = self.table.lock();
        while !table.taken.insert(mailbox.clone()) {
            self.is_free.wait(&mut table);
        }
        drop(table);
        Turn {
            waiting: self,
            mailbox,
        }
    }

    /// Takes the mailbox, unless somebody has it.
    fn try_take<'a>(&'a self, mailbox: &'a MailboxName) -> Option<Turn<'a>> {
        let is_free = self.table.lock().taken.insert(mailbox.clone());
        is_free.then_some(Turn {
            waiting: self,
            mailbox,
        })
    }

    /// What is wrong with the mailbox, if that is known.
    pub(super) fn ailment(&self, mailbox: &MailboxName) -> Option<Error> {
        let table = self.table.lock();
        table.ailing.get(mailbox).map(|found| found.error.clone())
    }

    /// Whether something waits for the mailbox, or may do so in a moment.
    fn concerns(&self, mailbox: &MailboxName) -> bool {
        let table = self.table.lock();
        let ailing = table.ailing.get(mailbox);
        table.taken.contains(mailbox) || ailing.is_some_and(|found| found.n_messages > 0)
    }

    /// How many messages wait.
    pub(super) fn count(&self) -> usize {
        self.table.lock().n_messages
    }

    /// Whether more can wait for the mailbox.
    fn has_room(&self, mailbox: &MailboxName) -> bool {
        self.table.lock().has_room(mailbox)
    }

    fn mailboxes(&self) -> Vec<MailboxName> {
        self.table.lock().ailing.keys().cloned().collect()
    }

    /// How many messages wait for the mailbox.
    fn count_for(&self, mailbox: &MailboxName) -> usize {
        self.table.lock().count_for(mailbox)
    }

    /// How long until all are to be tried again; `None` when none is ailing.
    pub(super) fn until_due(&self, now: Instant) -> Option<Duration> {
        let mut table = self.table.lock();
        if table.ailing.is_empty() {
            table.tried_at = None;
            return None;
        }
        let tried_at = *table.tried_at.get_or_insert(now);
        drop(table);
        Some(CURE_PACE.saturating_sub(now.saturating_duration_since(tried_at)))
    }

    /// Whether the lock is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.table.is_locked()
    }
}

impl OpenStore {
    /// Makes sure that a message for `mailbox` can be stored, as far as that is known beforehand.
    ///
    /// # Errors
    /// [`Error::NameTooLong`]: never. Any other: not now; the observer was told why.
    pub(super) fn check_recipient(&self, mailbox: &MailboxName) -> Result<(), Error> {
        let maildir = self.maildir(mailbox)?;
        if let Some(ailment) = self.waiting.ailment(mailbox) {
            // Somebody who is at it will see.
            let turn = self.waiting.try_take(mailbox).ok_or(ailment)?;
            return self.cure_in_turn(&turn, &maildir);
        }
        if self.was_taking_lately(mailbox) {
            return Ok(());
        }
        self.look_for_entries(&maildir)
            .inspect(|()| self.note_taking(mailbox))
            .inspect_err(|error| self.note_ailing(mailbox, error, None))
    }

    /// Looks whether `new` takes entries, or else what it would be made in.
    fn look_for_entries(&self, maildir: &Maildir) -> Result<(), Error> {
        let [domain, path, .., new] = &maildir.directories();
        for directory in [new, path, domain, &self.root] {
            match self.fs.check_entries(directory) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => return other.map_err(Error::io("deliver into", directory)),
            }
        }
        Ok(())
    }

    /// Remembers that `mailbox` takes no mail, and tells it.
    pub(super) fn note_ailing(
        &self,
        mailbox: &MailboxName,
        error: &Error,
        n_messages: Option<usize>,
    ) {
        // What is known of its directories may be wrong.
        self.forget(mailbox);
        let now = self.clock.now();
        let mut table = self.waiting.table.lock();
        let to_be_told = table.note(mailbox, error, n_messages, now);
        drop(table);
        if let Some(waiting) = to_be_told {
            self.observer.tell(&Event::MailboxAiling {
                mailbox,
                waiting,
                error,
            });
            // Its thread has to look after the time from now on.
            self.checkpoints.notice();
        }
    }

    /// Sets the spooled message aside for `target`, which cannot take it because of `why`.
    ///
    /// # Errors
    /// [`Error`]: it is not set aside.
    pub(super) fn keep_waiting(
        &self,
        target: &Target<'_>,
        spooled: Spooled<'_>,
        purpose: Purpose,
        why: &Error,
    ) -> Result<(), Error> {
        let mailbox = target.mailbox;
        let turn = self.waiting.take(mailbox);
        let directory = self.waiting_place(&target.maildir)?;
        if !self.waiting.has_room(mailbox) {
            let reason = "too many mailboxes take no mail";
            return Err(Error::io("set a message aside in", &directory)(
                io::Error::other(reason),
            ));
        }
        let file_name = match purpose {
            Purpose::Delivery => spooled.file_name.to_owned(),
            Purpose::Anew => format!("{ANEW}{}", spooled.file_name),
        };
        let path = directory.join(file_name);
        let was_there = self.fs.metadata(&path).is_ok();
        self.hold(spooled.path, &path, &directory)
            // What cannot be counted on must not be found either.
            .inspect_err(|_| self.fs.unlink(&path).unwrap_or_default())?;
        let n_before = self.waiting.count_for(mailbox);
        let n_messages = n_before.saturating_add(usize::from(!was_there));
        self.note_ailing(mailbox, why, Some(n_messages));
        drop(turn);
        Ok(())
    }

    /// Gives the file `from` the name `path` in `directory`, durably.
    fn hold(&self, from: &Path, path: &Path, directory: &Path) -> Result<(), Error> {
        let mark = self.sync_mark();
        let of_domain = directory.parent().unwrap_or(directory);
        let all = of_domain.parent().unwrap_or(of_domain);
        for made in [all, of_domain, directory] {
            match self.fs.create_dir(made) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                other => other.map_err(Error::io("make", made))?,
            }
        }
        // Before it has its name: a start takes what has one for whole.
        if self.syncs && self.sync_file(from)? == Synced::Some {
            let error = io::Error::other("it cannot be opened");
            return Err(Error::io("make durable", from)(error));
        }
        match self.fs.hard_link(from, path) {
            // From a start that was cut short.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if place::takes_a_copy(&error) => {
                let scratches = place::scratches(None, path);
                self.copy(from, path, &scratches, Former::Replaced)?;
            }
            other => other.map_err(Error::io("set aside", path))?,
        }
        for changed in [directory, of_domain, all, &self.own] {
            self.sync_directory(changed)?;
        }
        self.sync_name(path)?;
        self.check_syncs(mark)
    }

    /// Delivers what waits for `mailbox`, if its mailbox takes mail again.
    ///
    /// # Errors
    /// Why it does not.
    pub(super) fn cure(&self, mailbox: &MailboxName) -> Result<(), Error> {
        if self.waiting.ailment(mailbox).is_none() {
            return Ok(());
        }
        let maildir = self.maildir(mailbox)?;
        let turn = self.waiting.take(mailbox);
        self.cure_in_turn(&turn, &maildir)
    }

    /// Tries all mailboxes that take no mail.
    pub(super) fn cure_all(&self) {
        self.waiting.table.lock().tried_at = Some(self.clock.now());
        for mailbox in self.waiting.mailboxes() {
            // What is still wrong is told from time to time.
            self.cure(&mailbox).unwrap_or_default();
        }
    }

    fn cure_in_turn(&self, turn: &Turn<'_>, maildir: &Maildir) -> Result<(), Error> {
        let mailbox = turn.mailbox;
        let before = self.waiting.count_for(mailbox);
        let cured = self.deliver_waiting(mailbox, maildir);
        match &cured {
            Ok(()) => {
                let was_ailing = self.waiting.table.lock().note_cure(mailbox);
                if was_ailing {
                    self.observer.tell(&Event::MailboxCured {
                        mailbox,
                        delivered: before,
                    });
                }
            }
            Err(error) => self.note_failed_cure(mailbox, maildir, error, before),
        }
        cured
    }

    /// Notes that not all of the messages that waited `before` could be delivered.
    fn note_failed_cure(
        &self,
        mailbox: &MailboxName,
        maildir: &Maildir,
        error: &Error,
        before: usize,
    ) {
        let left = self.waiting_names(maildir).map(|names| names.len());
        self.note_ailing(mailbox, error, Some(left.unwrap_or(before)));
    }

    /// Delivers all that waits for the mailbox of `maildir`.
    fn deliver_waiting(&self, mailbox: &MailboxName, maildir: &Maildir) -> Result<(), Error> {
        for directory in maildir.directories() {
            if self.look_at_directory(&directory)? == Presence::Missing {
                let parent = directory.parent().unwrap_or(&directory);
                match self.fs.check_entries(parent) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    other => other.map_err(Error::io("make a directory in", parent))?,
                }
            }
        }
        self.look_for_entries(maildir)?;
        let directory = self.waiting_place(maildir)?;
        let names = self.waiting_names(maildir)?;
        if names.is_empty() {
            return Ok(());
        }
        let target = Target {
            mailbox,
            maildir: maildir.clone(),
        };
        let mark = self.sync_mark();
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
            let replay = life.or_insert_with(|| Replay::of(self, moment));
            replay.moment = moment;
            let spooled = Spooled {
                path: &path,
                file_name: own,
            };
            result = replay.deliver_to(&target, name.serial, spooled);
            if result.is_err() {
                break;
            }
            delivered.push(path);
        }
        self.settle_waiting(maildir, &directory, &delivered)
            .and_then(|()| self.check_syncs(mark))
            .and(result)?;
        self.remember([mailbox]);
        Ok(())
    }

    /// Makes durable what was delivered, and only then lets go what waited.
    fn settle_waiting(
        &self,
        maildir: &Maildir,
        directory: &Path,
        delivered: &[PathBuf],
    ) -> Result<(), Error> {
        if delivered.is_empty() {
            return Ok(());
        }
        let mark = self.sync_mark();
        #[cfg(test)]
        if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::WaitingMessagesAreLetGoEarly)
        {
            return self.let_go(directory, delivered);
        }
        for side in [layout::Side::Cur, layout::Side::New] {
            match self.sync_directory(&maildir.side(side)) {
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        for path in delivered {
            // It has the same file as what was delivered, unless that is a copy.
            self.sync_name(path)?;
        }
        self.check_syncs(mark)?;
        self.let_go(directory, delivered)
    }

    /// Removes what was delivered from where it waited, durably.
    fn let_go(&self, directory: &Path, delivered: &[PathBuf]) -> Result<(), Error> {
        for path in delivered {
            self.unlink(path)?;
        }
        self.sync_directory(directory)?;
        self.tidy_waiting(directory);
        Ok(())
    }

    /// Removes the directory for one mailbox, and that of its domain, if nothing is left in them.
    fn tidy_waiting(&self, directory: &Path) {
        let is_removed = self.fs.remove_dir(directory).is_ok();
        if let Some(of_domain) = directory.parent().filter(|_| is_removed) {
            self.fs.remove_dir(of_domain).unwrap_or_default();
        }
    }

    /// Removes those of the messages `removed` that wait for `mailbox`, durably: they are being
    /// removed from it.
    ///
    /// # Errors
    /// [`Error`]: they may be delivered again.
    pub(super) fn remove_waiting(
        &self,
        mailbox: &MailboxName,
        maildir: &Maildir,
        removed: &HashSet<Identity<'_>>,
    ) -> Result<(), Error> {
        if !self.waiting.concerns(mailbox) {
            return Ok(());
        }
        let turn = self.waiting.take(mailbox);
        let directory = self.waiting_place(maildir)?;
        let mut is_changed = false;
        for file_name in self.waiting_names(maildir)? {
            let own = file_name.strip_prefix(ANEW).unwrap_or(&file_name);
            if removed.contains(&Identity::of(own.as_bytes())) {
                let path = directory.join(&file_name);
                self.unlink(&path)?;
                is_changed = true;
            }
        }
        if is_changed {
            self.sync_directory(&directory)?;
        }
        drop(turn);
        Ok(())
    }

    /// Finds what an earlier run has left waiting, and delivers what can be.
    ///
    /// # Errors
    /// [`Error`] when the store's own directories cannot be read.
    pub(super) fn recover_waiting(&self) -> Result<(), Error> {
        let all = self.own.join(DIRECTORY);
        for domain in self.directories_in(&all)? {
            for local_part in self.directories_in(&all.join(&domain))? {
                let decoded = layout::decoded(&local_part).zip(layout::decoded(&domain));
                let mailbox = decoded.and_then(|(local_part, domain)| {
                    MailboxName::from_canonical(&local_part, &domain)
                });
                let Some(mailbox) = mailbox else { continue };
                let maildir = self.maildir(&mailbox)?;
                let mut names = self.waiting_names(&maildir)?;
                self.remove_what_came_back(&maildir, &mut names)?;
                self.have_delivered(&maildir, &mut names)?;
                if names.is_empty() {
                    self.tidy_waiting(&self.waiting_place(&maildir)?);
                    continue;
                }
                let turn = self.waiting.take(&mailbox);
                // Most of them can be delivered, now that everything is in order again.
                let delivered = names.len();
                match self.deliver_waiting(&mailbox, &maildir) {
                    Ok(()) => self.observer.tell(&Event::MailboxCured {
                        mailbox: &mailbox,
                        delivered,
                    }),
                    Err(error) => self.note_failed_cure(turn.mailbox, &maildir, &error, delivered),
                }
            }
        }
        Ok(())
    }

    /// Tells how many messages wait for each mailbox, where more do than was told: a replay finds
    /// them one after the other.
    pub(super) fn tell_all_that_waits(&self) {
        let untold = self.waiting.table.lock().untold();
        for (mailbox, waiting, error) in untold {
            self.observer.tell(&Event::MailboxAiling {
                mailbox: &mailbox,
                waiting,
                error: &error,
            });
        }
    }

    /// Removes those of the messages `names` that were let go and came back, as names do on some
    /// file system, without their octets: what waits has all of them before it has its name.
    fn remove_what_came_back(
        &self,
        maildir: &Maildir,
        names: &mut Vec<String>,
    ) -> Result<(), Error> {
        #[cfg(test)]
        if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::ReturnedNamesAreLeft) {
            return Ok(());
        }
        let directory = self.waiting_place(maildir)?;
        let has_come_back = |name: &String| {
            let own = name.strip_prefix(ANEW).unwrap_or(name);
            self.has_lost_its_octets(&directory.join(name), own.as_bytes())
        };
        let returned: Vec<String> = names.extract_if(.., |name| has_come_back(name)).collect();
        for name in &returned {
            self.unlink(&directory.join(name))?;
        }
        if returned.is_empty() {
            Ok(())
        } else {
            self.sync_directory(&directory)
        }
    }

    /// From now on, those of the messages `names` that were to take the place of others wait to be
    /// delivered.
    fn have_delivered(&self, maildir: &Maildir, names: &mut [String]) -> Result<(), Error> {
        let directory = self.waiting_place(maildir)?;
        for name in names {
            let Some(own) = name.strip_prefix(ANEW) else {
                continue;
            };
            let anew = directory.join(&*name);
            self.hold(&anew, &directory.join(own), &directory)?;
            // The sync that follows the removal of the other name makes this durable, too.
            self.unlink(&anew)?;
            *name = own.to_owned();
        }
        Ok(())
    }

    /// Whether the file at `path` is empty, and should not be, as its name says.
    pub(super) fn has_lost_its_octets(&self, path: &Path, file_name: &[u8]) -> bool {
        let file = self.fs.open(path);
        let octets = file.ok().and_then(|file| file.octets_when_opened());
        let told = name::stored_octets(file_name);
        octets == Some(0) && told.is_some_and(|told| told > 0)
    }

    /// The names of the directories in `path`; none when it is missing.
    fn directories_in(&self, path: &Path) -> Result<Vec<OsString>, Error> {
        let entries = match self.fs.read_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(Error::io("read", path))?,
        };
        let directories = entries.into_iter();
        let directories = directories.filter(|entry| entry.kind == Kind::Directory);
        Ok(directories.map(|entry| entry.name).collect())
    }

    /// Where messages wait for the mailbox of `maildir`.
    fn waiting_place(&self, maildir: &Maildir) -> Result<PathBuf, Error> {
        let relative = maildir.path.strip_prefix(&self.root);
        let relative = relative.map_err(|outside| {
            Error::io("deliver into", &maildir.path)(io::Error::other(outside))
        })?;
        Ok(self.own.join(DIRECTORY).join(relative))
    }

    /// The names of the messages that wait for the mailbox of `maildir`, in the order of their
    /// arrival.
    fn waiting_names(&self, maildir: &Maildir) -> Result<Vec<String>, Error> {
        let directory = self.waiting_place(maildir)?;
        let entries = match self.fs.read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(Error::io("read", &directory))?,
        };
        let mut names: Vec<String> = entries
            .into_iter()
            .filter(|entry| entry.kind == Kind::File && is_message(entry.name.as_bytes()))
            .filter_map(|entry| entry.name.into_string().ok())
            .collect();
        names.sort_unstable();
        Ok(names)
    }
}

/// Whether a file with this name waits for its mailbox, and is not what a crash left of a copy.
fn is_message(file_name: &[u8]) -> bool {
    let own = file_name.strip_prefix(ANEW.as_bytes()).unwrap_or(file_name);
    std::str::from_utf8(own).is_ok_and(|own| OwnName::parse_exactly(own).is_some())
}

/// Where all wait, in the directory that is the store's own.
pub(super) const DIRECTORY: &str = "waiting";
