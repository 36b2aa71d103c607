//! A message being received and committed to its mailboxes.
//!
//! The content is written once, whatever the number of recipients, and no part of it is visible in
//! a mailbox before all of it is durable. No header is added here, and no line ending is changed.
//!
//! # Theory of operation
//! Content is held in memory while it is small, and goes to a file in `.facteur/tmp` when it no
//! longer is. There are two ways to commit it.
//!
//! *Through the journal*, for content in memory: missing mailboxes are created, one record is put
//! into the journal, with those of other sessions (`journal/mod.rs`), and when it is durable the
//! message is applied to the Maildirs (`apply.rs`).
//!
//! *Directly*, for content in a file, and for everything if there is no journal. The state of the
//! delivery determines what is on disk:
//!
//! | state | on disk |
//! |---|---|
//! | begun | nothing, or a file in `.facteur/tmp`, of mode 0600, growing |
//! | synced | that file, all of it durable |
//! | linked | that file also in `new` of some mailboxes, hidden from this daemon's maildrops |
//! | committed | in `new` of every mailbox, durable there, gone from `.facteur/tmp` |
//! | aborted, failed | nothing; the next start removes what a crash leaves in `.facteur/tmp` |
//!
//! The content waits in `.facteur/tmp`, and not in the `tmp` of a mailbox as in other programs. So
//! an abandoned delivery has created no mailbox, and a start has only one directory to clean.
//!
//! The file is synced before the first link, because a name without its data would be an empty
//! message after a power cut. It is linked into the mailboxes of all recipients except the last,
//! and renamed into the mailbox of the last, so a single recipient, the common case, costs one
//! rename. Then each `new` is synced, because a rename that is not synced may be lost in a power
//! cut. Only then is the delivery `Ok`.
//!
//! # Invariants
//! - `Ok` from [`Delivery::commit`] means that exactly these octets are in the mailbox of every
//!   recipient, even after a power cut (I1). `Err` means that each recipient has either no copy or
//!   one complete copy (I5), and no maildrop of this daemon shows it before a restart (I4).
//! - A sync that failed is never repeated (I9).
//! - All deliveries together hold no more content in memory than is configured (SEC-9).
//!
//! # Failures
//! Every error leaves the store as it was, except for the copies that I5 allows. After a failed
//! [`Delivery::append`] the delivery can only be dropped.
//!
//! # Known limits
//! If a mailbox is on another file system, or on one without hard links, each message is copied and
//! synced (`copying.rs`). The space promised to several deliveries at the same time is not added
//! up: a write may still find the disk full.

use std::{collections::HashSet, io, path::PathBuf, sync::Arc};

use crate::{
    fs::File,
    mail::{EntryId, MailboxName},
    store::{
        Change, Error,
        limits::BEGIN_SYNC_OCTETS,
        name::{Identity, OwnName, Serial},
        sent_size::SentSize,
    },
};

use super::{
    apply, aside, cure,
    journal::{self, Apply, Ticket},
    layout::join,
    letter::{Held, Letter, Placed, Spooled, Step},
    listing::Side,
    mailboxes::{self, Made, Target},
    open::OpenStore,
    reading, reserve,
    standing::Standing,
    waiting::Purpose,
};

/// A message being received.
#[derive(Debug)]
pub(in crate::store) struct Delivery {
    store: Arc<OpenStore>,
    serial: Serial,
    name: String,
    content: Content,
    size: SentSize,
}

/// Where the content is.
#[derive(Debug)]
enum Content {
    /// In memory.
    Held(Held),
    /// In a file in the spool.
    Spooled(Spool),
    /// Unusable: a write has failed.
    Lost,
    /// Handed over to the mailboxes or the journal.
    Committed,
}

/// A file that grows in the spool.
#[derive(Debug)]
struct Spool {
    file: Box<dyn File>,
    octets: u64,
    /// The system has been asked to write the file up to here.
    begun: u64,
}

impl Spool {
    fn append(&mut self, octets: &[u8]) -> io::Result<()> {
        self.file.append(octets)?;
        let added = u64::try_from(octets.len()).unwrap_or(u64::MAX);
        self.octets = self.octets.saturating_add(added);
        if self.octets.saturating_sub(self.begun) >= BEGIN_SYNC_OCTETS {
            self.file.begin_sync(self.begun);
            self.begun = self.octets;
        }
        Ok(())
    }
}

/// A message in the journal whose batch is not yet durable.
#[derive(Debug)]
pub(super) struct Submitted {
    store: Arc<OpenStore>,
    ticket: Ticket,
    letter: Letter,
    made: Made,
    left_out: LeftOut,
}

/// Where the file of a delivery was put.
#[derive(Debug, Default)]
struct Places<'a> {
    /// The mailboxes in which it has got a name.
    linked: Vec<&'a Target<'a>>,
    /// The mailboxes that cannot have it, and why.
    broken: Vec<(&'a Target<'a>, Error)>,
    /// Those of them into which it was to be put: a failed call may have done something.
    tried: Vec<&'a Target<'a>>,
    /// The broken mailboxes for which it was set aside.
    aside: Vec<&'a Target<'a>>,
    /// Whether its name in the spool was given up.
    is_renamed: bool,
}

impl Places<'_> {
    /// Whether the mailbox of `target` cannot have the file.
    fn lacks(&self, target: &Target<'_>) -> bool {
        let mut broken = self.broken.iter();
        broken.any(|(broken, _)| broken.mailbox == target.mailbox)
    }
}

/// What becomes of a message for a mailbox that cannot take it, if others can.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ailing {
    /// It is set aside, and counts as delivered.
    SetAside,
    /// The mailbox is left out: the caller reports it, and somebody sends the message again.
    LeftOut,
}

/// The mailboxes that were left out, and why.
pub(super) type LeftOut = Vec<(MailboxName, Error)>;

/// The state of a delivery whose commit has begun.
#[derive(Debug)]
pub(super) enum Commit {
    /// It is durable.
    Done(LeftOut),
    /// It waits for its batch.
    Submitted(Box<Submitted>),
}

impl Delivery {
    /// Begins a delivery of `declared_octets`, 0 if the size is not known.
    pub(super) fn begin(store: &Arc<OpenStore>, declared_octets: u64) -> Result<Self, Error> {
        // Durable messages that wait for room go first.
        apply::retry_kept(store)?;
        if let Some(journal) = &store.journal {
            journal.check()?;
        }
        if store.place.standing_lately(&store.disk)? == Standing::Removed {
            store.settle_anew()?;
        }
        match reserve::check_free(store, declared_octets) {
            Err(error) if error.is_not_found() => {
                store.settle_anew()?;
                reserve::check_free(store, declared_octets)?;
            }
            checked => checked?,
        }
        let serial = store.next_serial();
        Ok(Self {
            store: Arc::clone(store),
            serial,
            name: serial.render(),
            content: Content::Held(Held::within(&store.held)),
            size: SentSize::default(),
        })
    }

    pub(in crate::store) fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::store) fn id(&self) -> EntryId {
        EntryId::own(self.serial.nonce, self.serial.counter)
    }

    pub(in crate::store) fn append(&mut self, octets: &[u8]) -> Result<(), Error> {
        // Lost until everything has succeeded: after a failed write nobody knows what is in the
        // file.
        self.content = match std::mem::replace(&mut self.content, Content::Lost) {
            Content::Held(mut held) => {
                if held.take(octets) {
                    Content::Held(held)
                } else {
                    let spooled = self.spool(held.octets()).and_then(|file| {
                        let mut spool = Spool {
                            file,
                            octets: self.size.stored_octets(),
                            begun: 0,
                        };
                        let appended = spool.append(octets);
                        appended.map_err(Error::io("write", self.spool_path()))?;
                        Ok(spool)
                    });
                    Content::Spooled(spooled.inspect_err(|_| self.unspool())?)
                }
            }
            Content::Spooled(mut spool) => {
                let appended = spool.append(octets);
                if let Err(error) = appended {
                    self.unspool();
                    return Err(Error::io("write", self.spool_path())(error));
                }
                Content::Spooled(spool)
            }
            Content::Lost | Content::Committed => return Err(self.given_up()),
        };
        self.size.add(octets);
        Ok(())
    }

    pub(in crate::store) fn octets(&self) -> u64 {
        self.size.stored_octets()
    }

    pub(in crate::store) fn commit(self, recipients: &[MailboxName]) -> Result<(), Error> {
        self.begin_commit(recipients, Ailing::SetAside)?
            .finish()
            .map(|_none| ())
    }

    /// See `Delivery` of the room.
    ///
    /// It is one commit, which leaves out mailboxes before anything is durable for them, and not a
    /// commit for each mailbox: if a commit fails, its message may still come back at the next
    /// start, and another commit of the same content would then be a second copy (I5).
    pub(in crate::store) fn commit_where_possible(
        self,
        recipients: &[MailboxName],
    ) -> Result<LeftOut, Error> {
        self.begin_commit(recipients, Ailing::LeftOut)?.finish()
    }

    /// Does the part of [`commit`](Self::commit) that comes before waiting for others.
    pub(super) fn begin_commit(
        mut self,
        recipients: &[MailboxName],
        ailing: Ailing,
    ) -> Result<Commit, Error> {
        let mut targets: Vec<Target<'_>> = Vec::with_capacity(recipients.len());
        let mut seen = HashSet::with_capacity(recipients.len());
        for mailbox in recipients.iter().filter(|mailbox| seen.insert(*mailbox)) {
            targets.push(Target::of(&self.store.disk, mailbox)?);
        }
        if targets.is_empty() {
            return match self.content {
                Content::Lost | Content::Committed => Err(self.given_up()),
                Content::Held(_) | Content::Spooled(_) => Ok(Commit::Done(Vec::new())),
            };
        }
        let mut file = match std::mem::replace(&mut self.content, Content::Committed) {
            Content::Held(held) => match self.submit(&targets, held, ailing)? {
                Ok(submitted) => return Ok(Commit::Submitted(Box::new(submitted))),
                Err(held) => self.spool(held.octets())?,
            },
            Content::Spooled(spool) => spool.file,
            Content::Lost | Content::Committed => return Err(self.given_up()),
        };
        let published = self
            .sync(&mut *file)
            .and_then(|()| self.publish(&targets, &mut *file, ailing));
        // After a success it has been renamed into the last mailbox.
        let left_out = published.inspect_err(|_| self.unspool())?;
        self.store.counters.direct.increment();
        Ok(Commit::Done(left_out))
    }

    /// Puts the message into the journal; returns the content if the journal cannot accept it.
    fn submit(
        &self,
        targets: &[Target<'_>],
        content: Held,
        ailing: Ailing,
    ) -> Result<Result<Submitted, Held>, Error> {
        let Some(journal) = &self.store.journal else {
            return Ok(Err(content));
        };
        let mailboxes: Vec<MailboxName> = targets
            .iter()
            .map(|target| target.mailbox.clone())
            .collect();
        let mut letter = Letter {
            serial: self.serial,
            file_name: self.file_name(),
            mailboxes,
            content,
            n_applied: 0,
            broken: Vec::new(),
            settled: Vec::new(),
        };
        let octets = journal::delivery_octets(
            &letter.file_name,
            &letter.mailboxes,
            letter.content.octets().len(),
        );
        let is_countable = u16::try_from(letter.mailboxes.len()).is_ok();
        if octets > journal.record_octets_max() || !is_countable {
            return Ok(Err(letter.content));
        }
        let store = &self.store;
        let mut made = Made::nothing(&store.disk);
        let mut left_out = Vec::new();
        let submitted = make_sound_mailboxes(store, targets, &mut made).and_then(|broken| {
            let broken = of_mailboxes(broken);
            match ailing {
                Ailing::SetAside => letter.broken = broken,
                Ailing::LeftOut => {
                    let is_left_out = |it: &MailboxName| broken.iter().any(|(one, _)| one == it);
                    letter.mailboxes.retain(|it| !is_left_out(it));
                    left_out = broken;
                }
            }
            let (mailboxes, content) = (&letter.mailboxes, letter.content.octets());
            let octets = journal::delivery_octets(&letter.file_name, mailboxes, content.len());
            let push = |batch: &mut Vec<u8>| {
                journal::push_delivery(batch, &letter.file_name, mailboxes, content);
            };
            journal.submit(octets, Apply::Later, push, &**store)
        });
        let ticket = submitted.inspect_err(|_| mailboxes::undo(&store.disk, &made))?;
        Ok(Ok(Submitted {
            store: Arc::clone(store),
            ticket,
            letter,
            made,
            left_out,
        }))
    }

    fn file_name(&self) -> String {
        OwnName {
            secs: self.store.disk.clock.unix_time().as_secs(),
            serial: self.serial,
            host: &self.store.host,
            stored_octets: Some(self.size.stored_octets()),
            sent_octets: Some(self.size.octets()),
        }
        .render()
    }

    /// Makes the spooled file durable.
    fn sync(&self, file: &mut dyn File) -> Result<(), Error> {
        if !self.store.disk.syncs {
            return Ok(());
        }
        file.sync().map_err(Error::io("sync", self.spool_path()))
    }

    /// Puts the durable file into every mailbox that is not left out, or into none.
    fn publish<'a>(
        &self,
        targets: &'a [Target<'a>],
        file: &mut dyn File,
        ailing: Ailing,
    ) -> Result<LeftOut, Error> {
        let file_name = self.file_name();
        let store = &*self.store;
        let mut made = Made::nothing(&store.disk);
        let mut places = Places::default();
        store.visibility.hide(self.serial);
        for target in targets {
            // It is looked at again if it was replaced.
            let (mailbox, maildir) = (target.mailbox, &target.maildir);
            store.known.is_still_known(&store.disk, mailbox, maildir);
        }
        let result = make_sound_mailboxes(store, targets, &mut made)
            .and_then(|broken| {
                places.broken = broken;
                self.link_into_all(targets, &file_name, &mut places, &mut made)?;
                self.provide_for_others(&file_name, &mut places, ailing)
            })
            .and_then(|()| self.sync_names(file))
            .and_then(|()| store.disk.check_syncs(made.mark))
            .and_then(|()| store.place.check_place(&store.disk));
        if result.is_ok() {
            let sound = targets.iter().filter(|target| !places.lacks(target));
            let sound = sound.map(|target| target.mailbox);
            store.known.remember(&store.disk, sound.clone());
            store.visibility.show(self.serial);
            for mailbox in sound {
                let identity = || Identity::of(file_name.as_bytes());
                store.tell(Change::Arrived, mailbox, identity);
            }
        } else {
            self.withdraw(&places, &file_name);
            if store.disk.has_failed_since(made.mark) {
                for target in targets {
                    store.known.forget(target.mailbox);
                }
            }
            mailboxes::undo(&store.disk, &made);
        }
        result?;
        Ok(match ailing {
            Ailing::SetAside => Vec::new(),
            Ailing::LeftOut => of_mailboxes(places.broken),
        })
    }

    /// Makes the names of the file durable, if the syncs of their directories may save nothing.
    fn sync_names(&self, file: &mut dyn File) -> Result<(), Error> {
        if self.store.disk.trusts_directory_syncs() {
            return Ok(());
        }
        self.sync(file)
    }

    /// Gives the file its names in the mailboxes, recorded in `places`, and makes them durable.
    /// Mailboxes that cannot have it are recorded too, if others can.
    fn link_into_all<'a>(
        &self,
        targets: &'a [Target<'a>],
        file_name: &str,
        places: &mut Places<'a>,
        made: &mut Made,
    ) -> Result<(), Error> {
        let path = &self.spool_path();
        let spooled = Spooled { path, file_name };
        for (n_before, target) in targets.iter().enumerate() {
            if places.lacks(target) {
                continue;
            }
            let is_last = n_before.saturating_add(1) == targets.len();
            let step = if is_last && places.broken.is_empty() {
                Step::Rename
            } else {
                Step::Link
            };
            // Recorded first: a failed call may have done something.
            places.linked.push(target);
            match apply::place(&self.store, spooled, target, step, made) {
                Ok(how) => places.is_renamed = how == Placed::Renamed,
                Err(misplaced) if misplaced.is_of_mailbox() && targets.len() > 1 => {
                    places.tried.extend(places.linked.pop());
                    places.broken.push((target, misplaced.error));
                }
                Err(misplaced) => {
                    if misplaced.error.needs_operator() {
                        let mailbox = target.mailbox;
                        aside::note_ailing(&self.store, mailbox, &misplaced.error, None);
                    }
                    return Err(misplaced.error);
                }
            }
        }
        if let (true, Some((_, error))) = (places.linked.is_empty(), places.broken.first()) {
            return Err(error.clone());
        }
        for target in targets.iter().filter(|target| !places.lacks(target)) {
            let new = target.maildir.side(Side::New);
            self.store.disk.sync_directory(&new)?;
        }
        Ok(())
    }

    /// Sets the file aside for the mailboxes that cannot have it, unless they are left out, and
    /// removes it from the spool.
    fn provide_for_others(
        &self,
        file_name: &str,
        places: &mut Places<'_>,
        ailing: Ailing,
    ) -> Result<(), Error> {
        let path = &self.spool_path();
        let spooled = Spooled { path, file_name };
        if ailing == Ailing::LeftOut {
            for target in &places.tried {
                planted!(LeftOutFilesStay, continue);
                self.take_back_if_there(target, file_name)?;
            }
        }
        for (target, error) in &places.broken {
            match ailing {
                Ailing::SetAside => {
                    places.aside.push(target);
                    let purpose = Purpose::Delivery;
                    aside::keep_waiting(&self.store, target, spooled, purpose, error)?;
                }
                Ailing::LeftOut => aside::note_ailing(&self.store, target.mailbox, error, None),
            }
        }
        if !places.is_renamed {
            self.unspool();
        }
        Ok(())
    }

    /// Removes the file from the mailboxes again.
    fn withdraw(&self, places: &Places<'_>, file_name: &str) {
        let mut is_stuck = false;
        for target in &places.linked {
            is_stuck |= self.take_back(target, file_name).is_err();
        }
        for target in &places.tried {
            is_stuck |= self.take_back_if_there(target, file_name).is_err();
        }
        let bases = HashSet::from([Identity::of(file_name.as_bytes())]);
        for target in &places.aside {
            let (mailbox, maildir) = (target.mailbox, &target.maildir);
            let removed = aside::remove_waiting(&self.store, mailbox, maildir, &bases);
            is_stuck |= removed.is_err();
        }
        self.store.visibility.withdraw(self.serial, is_stuck);
    }

    /// Removes the file from one mailbox, even if another program has moved it there meanwhile.
    fn take_back(&self, target: &Target<'_>, file_name: &str) -> Result<(), Error> {
        if self.store.disk.unlink(&target.maildir.in_new(file_name))? {
            return Ok(());
        }
        planted!(MovedFilesAreNotTakenBack, return Ok(()));
        let missing = HashSet::from([Identity::of(file_name.as_bytes())]);
        reading::remove_moved(&self.store.disk, &target.maildir, missing, |_| {})
    }

    /// The same for a mailbox that is broken, so that it is probably not there.
    fn take_back_if_there(&self, target: &Target<'_>, file_name: &str) -> Result<(), Error> {
        let path = target.maildir.in_new(file_name);
        match self.take_back(target, file_name) {
            Err(error) if error.is_of_place() && self.store.disk.fs.metadata(&path).is_err() => {
                Ok(())
            }
            other => other,
        }
    }

    fn spool_path(&self) -> PathBuf {
        join(&self.store.disk.spool, [&self.name])
    }

    /// Creates a file in the spool that begins with `held`.
    fn spool(&self, held: &[u8]) -> Result<Box<dyn File>, Error> {
        apply::spool(&self.store, &self.spool_path(), held)
    }

    /// Removes the file from the spool. A failure is not reported: the next start removes the file.
    fn unspool(&self) {
        let unlinked = self.store.disk.fs.unlink(&self.spool_path());
        unlinked.unwrap_or_default();
    }

    /// The error of a delivery that cannot continue after an earlier error.
    fn given_up(&self) -> Error {
        let reason = "an earlier write failed";
        Error::other("write", self.spool_path(), reason)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.content, Content::Lost) {
            Content::Spooled(_) => self.unspool(),
            Content::Held(_) | Content::Lost | Content::Committed => {}
        }
    }
}

impl Commit {
    /// Waits until the message is durable, and puts it into the mailboxes. Returns those that were
    /// left out.
    pub(super) fn finish(self) -> Result<LeftOut, Error> {
        let submitted = match self {
            Self::Done(left_out) => return Ok(left_out),
            Self::Submitted(submitted) => submitted,
        };
        let Submitted {
            store,
            ticket,
            letter,
            made,
            left_out,
        } = *submitted;
        let Some(journal) = &store.journal else {
            return Ok(left_out);
        };
        let number = journal.wait(&ticket, &*store);
        let number = number.inspect_err(|_| mailboxes::undo(&store.disk, &made))?;
        store.counters.journaled.increment();
        let is_sound = |mailbox: &&MailboxName| letter.broken.iter().all(|(it, _)| it != *mailbox);
        let sound = letter.mailboxes.iter().filter(is_sound);
        store.known.remember(&store.disk, sound);
        apply::apply_or_keep(&store, letter, number);
        Ok(left_out)
    }
}

/// Broken mailboxes by their names.
fn of_mailboxes(broken: Vec<(&Target<'_>, Error)>) -> LeftOut {
    let broken = broken.into_iter();
    broken
        .map(|(target, error)| (target.mailbox.clone(), error))
        .collect()
}

/// Creates the mailboxes of `targets` like [`mailboxes::make_mailboxes`], but tolerates some broken
/// ones and returns them with their errors.
///
/// # Errors
/// All mailboxes are broken, or the fault is not in single mailboxes.
pub(super) fn make_sound_mailboxes<'a>(
    store: &OpenStore,
    targets: &'a [Target<'a>],
    made: &mut Made,
) -> Result<Vec<(&'a Target<'a>, Error)>, Error> {
    let mark = made.mark;
    let ailing = targets
        .iter()
        .any(|target| store.waiting.ailment(target.mailbox).is_some());
    if !ailing {
        match mailboxes::make_mailboxes(store, targets, made) {
            Err(error) if error.is_of_place() && !store.disk.has_failed_since(mark) => {}
            other => {
                other?;
                store.disk.check_syncs(mark)?;
                return Ok(Vec::new());
            }
        }
    }
    let mut broken = Vec::new();
    for target in targets {
        // It may have been repaired since.
        if let Err(error) = cure::cure(store, target.mailbox) {
            broken.push((target, error));
            continue;
        }
        let result = mailboxes::make_mailboxes(store, std::slice::from_ref(target), made);
        store.disk.check_syncs(mark)?;
        match result {
            Err(error) if error.is_of_place() => {
                aside::note_ailing(store, target.mailbox, &error, None);
                broken.push((target, error));
            }
            other => other?,
        }
    }
    match broken.first() {
        Some((_, error)) if broken.len() == targets.len() => Err(error.clone()),
        _ => Ok(broken),
    }
}
