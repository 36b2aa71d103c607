//! What all parts of an open store share: the disk, the names, and the Mutex.
//!
//! Private to the room. The state behind the Mutex is reached only through the methods here, each
//! of which takes it, looks, and gives it back.
//!
//! # Invariants
//! - No system call is made while the Mutex is held, and nothing else is locked meanwhile (L1, L3).
//!   No method returns a guard.
//! - A directory is synced only through [`OpenStore::sync_directory`], which counts the failures, also
//!   those of others who sync it at the same time (`syncing.rs`). What rests on several syncs
//!   compares that count before and after with [`OpenStore::check_syncs`]: the kernel tells a failure
//!   to one caller only, and forgets the entries of all (I9).

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    clock::Clock,
    fs::{self, Fs, Stamp, Trust},
    mail::MailboxName,
    store::{
        Error, Observer,
        limits::{KNOWN_MAILBOXES_MAX, PLACE_BELIEVED},
    },
};

use super::{
    apply::Kept,
    checkpoint::Checkpoints,
    counters::Counters,
    index::{Index, Remembered},
    journal::Journal,
    layout::{Maildir, Side},
    name::{Identity, Serial},
    quota::Quota,
    standing::Place,
    sync::{
        Condvar, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    syncing::Syncing,
    touched::Touched,
    waiting::Waiting,
};

/// The inside of a [`MaildirStore`](super::MaildirStore), its deliveries and its maildrops.
#[derive(Debug)]
pub(super) struct OpenStore {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) clock: Clock,
    pub(super) root: PathBuf,
    pub(super) spool: PathBuf,
    /// As it stands in file names.
    pub(super) host: String,
    pub(super) nonce: u64,
    pub(super) n_deliveries: AtomicU64,
    pub(super) state: Mutex<State>,
    /// Wakes who waits for a maildrop, with `state`.
    pub(super) claim_ended: Condvar,
    /// In front of the Maildirs, where it is configured.
    pub(super) journal: Option<Journal>,
    pub(super) checkpoints: Checkpoints,
    /// Messages that are durable and could not be applied.
    pub(super) kept: Kept,
    /// Mailboxes that take no mail, and what waits for them.
    pub(super) waiting: Waiting,
    /// Directories that are being synced.
    pub(super) syncing: Syncing,
    /// What was put into Maildirs and is not synced.
    pub(super) touched: Touched,
    /// What the file system is relied on for.
    pub(super) trust: Trust,
    /// Its number: as long as the checkpoints hold its volume no other one can have it.
    pub(super) device: u64,
    /// Free space below which no delivery is begun.
    pub(super) reserve: u64,
    /// Memory of the content that deliveries hold.
    pub(super) held: Arc<Quota>,
    /// Memory of the listings of open maildrops.
    pub(super) listed: Arc<Quota>,
    /// Whether anything is synced at all.
    pub(super) syncs: bool,
    /// How long a full journal waits for those who are applying what is in it.
    pub(super) room_timeout: Duration,
    pub(super) observer: Observer,
    pub(super) counters: Counters,
    /// The directory that is the store's own. Nobody minds its times.
    pub(super) own: PathBuf,
    /// The file in it that is locked.
    pub(super) lock: PathBuf,
    /// Keeps other daemons out as long as anything of this store is alive (I11).
    pub(super) place: Mutex<Place>,
}

/// What changes while the store is open.
#[derive(Debug)]
pub(super) struct State {
    /// Mailboxes whose maildrop is open, and whether a message was put into them since.
    open_maildrops: HashMap<MailboxName, bool>,
    /// Messages that may be found on disk and must not be shown, by their counter (I4).
    invisible: HashMap<u64, Invisible>,
    /// Mailboxes whose directories are known to survive a power cut.
    known_mailboxes: HashMap<MailboxName, Known>,
    /// Directories that the disk may have lost although they can be seen.
    doubtful: HashSet<PathBuf>,
    /// Directories that are being made, until somebody knows that they are durable, with the
    /// numbers of those who make them.
    in_making: HashMap<PathBuf, Vec<u64>>,
    n_makers: u64,
    /// Listings of earlier sessions.
    index: Index,
    /// How often a directory could not be synced.
    n_failed_syncs: u64,
}

impl State {
    /// Nothing is known yet; listings of earlier sessions may take `octets_max`.
    pub(super) fn remembering(octets_max: u64) -> Self {
        Self {
            open_maildrops: HashMap::default(),
            invisible: HashMap::default(),
            known_mailboxes: HashMap::default(),
            doubtful: HashSet::default(),
            in_making: HashMap::default(),
            n_makers: 0,
            index: Index::with_room(usize::try_from(octets_max).unwrap_or(usize::MAX)),
            n_failed_syncs: 0,
        }
    }
}

/// What is known of a mailbox.
#[derive(Clone, Copy, Debug)]
struct Known {
    /// Its `new`: it is known as long as that is this directory.
    new: fs::Identity,
    /// When that was last seen to take entries.
    taking_at: Instant,
}

/// Why a message must not be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Invisible {
    /// It is not durable yet.
    Committing,
    /// Its delivery failed and it could not be unlinked.
    Stuck,
    /// Its delivery failed and it was unlinked, perhaps after somebody read the directory.
    Withdrawn,
}

/// What a delivery found when it began to be committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SyncMark(u64);

/// The right to the one session of a maildrop (RFC 1939 §4); it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    store: Arc<OpenStore>,
    mailbox: MailboxName,
}

impl Claim {
    /// Takes the maildrop of `mailbox`; where another session has it, waits for `patience` at most
    /// until that ends.
    ///
    /// # Errors
    /// [`Error::InUse`].
    pub(super) fn take(
        store: &Arc<OpenStore>,
        mailbox: &MailboxName,
        patience: Duration,
    ) -> Result<Self, Error> {
        let mut since = None;
        let mut state = store.state.lock();
        while state.open_maildrops.contains_key(mailbox) {
            let now = store.clock.now();
            let waited = now.duration_since(*since.get_or_insert(now));
            let left = patience.saturating_sub(waited);
            if left.is_zero() {
                return Err(Error::InUse {
                    mailbox: mailbox.clone(),
                });
            }
            store.claim_ended.wait_for(&mut state, left);
        }
        state.open_maildrops.insert(mailbox.clone(), false);
        drop(state);
        Ok(Self {
            store: Arc::clone(store),
            mailbox: mailbox.clone(),
        })
    }

    /// The mailbox of the maildrop.
    pub(super) fn mailbox(&self) -> &MailboxName {
        &self.mailbox
    }

    /// The store of the maildrop.
    pub(super) fn store(&self) -> &OpenStore {
        &self.store
    }

    /// Ends the session.
    pub(super) fn give_back(&self) {
        let mut state = self.store.state.lock();
        state.open_maildrops.remove(&self.mailbox);
        if state.open_maildrops.is_empty() {
            // Nobody is reading a directory now, so nobody can have seen them.
            state
                .invisible
                .retain(|_, why| *why != Invisible::Withdrawn);
        }
        drop(state);
        // They may wait for different ones.
        self.store.claim_ended.notify_all();
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl State {
    fn count_failed_sync(&mut self) {
        self.n_failed_syncs = self.n_failed_syncs.wrapping_add(1);
        // At the same moment: whoever meets one of them after this failure must not take it for
        // durable, and whoever met it before asks whether a sync has failed since.
        self.doubtful.extend(self.in_making.keys().cloned());
    }

    fn new_maker(&mut self) -> (u64, SyncMark) {
        self.n_makers = self.n_makers.wrapping_add(1);
        (self.n_makers, SyncMark(self.n_failed_syncs))
    }

    fn begin_making(&mut self, directory: PathBuf, maker: u64) {
        self.in_making.entry(directory).or_default().push(maker);
    }

    fn end_making(&mut self, directories: &[PathBuf], maker: u64) {
        for directory in directories {
            if let Some(makers) = self.in_making.get_mut(directory) {
                makers.retain(|it| *it != maker);
                if makers.is_empty() {
                    self.in_making.remove(directory);
                }
            }
        }
    }

    fn confirm(&mut self, directories: &[PathBuf], mark: SyncMark) {
        if self.n_failed_syncs == mark.0 {
            for directory in directories {
                self.in_making.remove(directory);
            }
        }
    }
}

impl OpenStore {
    /// Whether the times of `directory`, which is on the file system with the number `device` if
    /// that is known, tell that it was changed. Where they do not, nothing that was read of it may
    /// be remembered. (A mailbox may lie on another file system than the store.)
    pub(super) fn trusts_times(&self, directory: &Path, device: Option<u64>) -> bool {
        if device == Some(self.device) {
            return self.trust.times;
        }
        let file_system = self.fs.file_system(directory);
        file_system.is_ok_and(|it| it.trust().times)
    }

    /// Whether a sync of the whole file system makes durable what was written. Where it does not,
    /// everything is synced file by file.
    pub(super) fn trusts_whole_sync(&self) -> bool {
        #[cfg(test)]
        if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::WholeSyncsAreTrusted) {
            return true;
        }
        self.trust.whole_sync
    }

    /// Whether a sync of a directory makes its entries durable. Where it does not, that of a file
    /// does it whose name was given or taken.
    pub(super) fn trusts_directory_syncs(&self) -> bool {
        #[cfg(test)]
        if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::DirectorySyncsAreTrusted) {
            return true;
        }
        self.trust.directory_sync
    }

    /// A serial that no message ever had.
    pub(super) fn next_serial(&self) -> Serial {
        let counter = self.n_deliveries.fetch_add(1, Ordering::Relaxed);
        Serial {
            nonce: self.nonce,
            counter,
        }
    }

    /// Where the Maildir of `mailbox` is.
    ///
    /// # Errors
    /// [`Error::NameTooLong`].
    pub(super) fn maildir(&self, mailbox: &MailboxName) -> Result<Maildir, Error> {
        Maildir::of(&self.root, mailbox).ok_or_else(|| Error::NameTooLong {
            mailbox: mailbox.clone(),
        })
    }

    /// Makes the entries of a directory durable.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Full`]; the call must not be repeated for the same entries.
    pub(super) fn sync_directory(&self, path: &Path) -> Result<(), Error> {
        if !self.syncs {
            return Ok(());
        }
        self.syncing
            .perform(path, || self.sync_directory_counted(path))
    }

    fn sync_directory_counted(&self, path: &Path) -> Result<(), Error> {
        let synced = self.fs.sync_dir(path);
        let synced = synced.and_then(|()| self.fs.confirm(&self.own));
        synced.map_err(|error| {
            // A directory that does not exist has no entries to lose. One that may not be opened
            // was not synced and has not forgotten any: it is one mailbox that is broken.
            let is_opened = !matches!(
                error.kind(),
                io::ErrorKind::NotFound
                    | io::ErrorKind::NotADirectory
                    | io::ErrorKind::PermissionDenied
            );
            if is_opened {
                self.count_failed_sync();
            }
            Error::io("make durable", path)(error)
        })
    }

    /// Notes that a sync has failed whose effects others may rest on.
    pub(super) fn count_failed_sync(&self) {
        self.state.lock().count_failed_sync();
    }

    /// The number of one who may make directories, and how matters stand before.
    pub(super) fn new_maker(&self) -> (u64, SyncMark) {
        self.state.lock().new_maker()
    }

    /// Notes that `maker` is about to make `directory`.
    pub(super) fn begin_making(&self, directory: &Path, maker: u64) {
        let directory = directory.to_owned();
        self.state.lock().begin_making(directory, maker);
    }

    /// Notes that `maker` has made `directories` durable, or has failed.
    pub(super) fn end_making(&self, directories: &[PathBuf], maker: u64) {
        self.state.lock().end_making(directories, maker);
    }

    /// Notes that `directories`, which were there after `mark`, are durable, whoever made them,
    /// unless a sync has failed since.
    pub(super) fn confirm(&self, directories: &[PathBuf], mark: SyncMark) {
        self.state.lock().confirm(directories, mark);
    }

    /// How matters stand before the first entry is made.
    pub(super) fn sync_mark(&self) -> SyncMark {
        SyncMark(self.state.lock().n_failed_syncs)
    }

    /// Whether a sync of any directory failed since `mark`.
    pub(super) fn has_failed_since(&self, mark: SyncMark) -> bool {
        self.state.lock().n_failed_syncs != mark.0
    }

    /// Makes sure that no sync of any directory failed since `mark`: it might have been ours.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn check_syncs(&self, mark: SyncMark) -> Result<(), Error> {
        if self.has_failed_since(mark) {
            let reason = "the disk failed for somebody else at the same time";
            return Err(Error::io("make durable", &self.root)(io::Error::other(
                reason,
            )));
        }
        Ok(())
    }

    /// Keeps the message out of every listing until it is shown or withdrawn.
    pub(super) fn hide(&self, serial: Serial) {
        self.state
            .lock()
            .invisible
            .insert(serial.counter, Invisible::Committing);
    }

    /// Lets the message, now durable, be seen.
    pub(super) fn show(&self, serial: Serial) {
        self.state.lock().invisible.remove(&serial.counter);
    }

    /// Forgets the message of a failed delivery, as far as that can be done.
    pub(super) fn withdraw(&self, serial: Serial, is_stuck: bool) {
        let mut state = self.state.lock();
        if is_stuck {
            state.invisible.insert(serial.counter, Invisible::Stuck);
        } else if state.open_maildrops.is_empty() {
            state.invisible.remove(&serial.counter);
        } else {
            state.invisible.insert(serial.counter, Invisible::Withdrawn);
        }
    }

    /// Makes the function that tells whether a message may be shown. To be asked about what was
    /// read from the disk before.
    pub(super) fn visibility(&self) -> impl Fn(Identity<'_>) -> bool + use<> {
        let invisible: BTreeSet<u64> = self.state.lock().invisible.keys().copied().collect();
        let nonce = self.nonce;
        move |identity| {
            invisible.is_empty()
                || !identity.serial().is_some_and(|serial| {
                    serial.nonce == nonce && invisible.contains(&serial.counter)
                })
        }
    }

    /// Takes out what the index remembers of `mailbox`, whose maildrop the caller has to itself.
    pub(super) fn take_listing(&self, mailbox: &MailboxName) -> Option<Remembered> {
        self.state.lock().index.take(mailbox)
    }

    /// Lets the index remember the listing of `mailbox`, whose maildrop is open, unless a message
    /// was put there since that was opened.
    pub(super) fn enter_listing(&self, mailbox: &MailboxName, remembered: Remembered) {
        let mut state = self.state.lock();
        let has_changed = state.open_maildrops.get(mailbox) == Some(&true);
        let gone = if has_changed {
            vec![remembered]
        } else {
            state.index.enter(mailbox, remembered)
        };
        drop(state);
        // Not before the lock is given back (L1).
        drop(gone);
    }

    /// Lets the index forget the listing of `mailbox`, because a message was put there: the times
    /// of the directory should tell, but on some disks they do not.
    pub(super) fn forget_listing(&self, mailbox: &MailboxName) {
        let mut state = self.state.lock();
        if let Some(has_changed) = state.open_maildrops.get_mut(mailbox) {
            *has_changed = true;
        }
        let gone = state.index.take(mailbox);
        drop(state);
        // Not before the lock is given back (L1).
        drop(gone);
    }

    /// Whether the directories of `mailbox` are known to survive a power cut.
    pub(super) fn is_known(&self, mailbox: &MailboxName) -> bool {
        self.state.lock().known_mailboxes.contains_key(mailbox)
    }

    /// Whether `mailbox` is known, and was seen a moment ago to take entries.
    pub(super) fn was_taking_lately(&self, mailbox: &MailboxName) -> bool {
        let known = self.state.lock().known_mailboxes.get(mailbox).copied();
        let age = known.map(|it| self.clock.now().saturating_duration_since(it.taking_at));
        age.is_some_and(|age| age < PLACE_BELIEVED)
    }

    /// Notes that `mailbox` takes entries, if it is known.
    pub(super) fn note_taking(&self, mailbox: &MailboxName) {
        let now = self.clock.now();
        if let Some(known) = self.state.lock().known_mailboxes.get_mut(mailbox) {
            known.taking_at = now;
        }
    }

    /// The same as [`is_known`](Self::is_known), and whether nothing at all is doubtful.
    pub(super) fn is_known_beyond_doubt(&self, mailbox: &MailboxName) -> bool {
        let state = self.state.lock();
        state.doubtful.is_empty() && state.known_mailboxes.contains_key(mailbox)
    }

    /// Remembers that the directories of `mailboxes` survive a power cut.
    pub(super) fn remember<'a>(&self, mailboxes: impl IntoIterator<Item = &'a MailboxName>) {
        for mailbox in mailboxes {
            if self.is_known(mailbox) {
                continue;
            }
            let new = self.maildir(mailbox).map(|maildir| maildir.side(Side::New));
            // What cannot be looked at is met once more.
            let Some(Ok(metadata)) = new.ok().map(|new| self.fs.metadata(&new)) else {
                continue;
            };
            let known = Known {
                new: metadata.stamp.identity(),
                taking_at: self.clock.now(),
            };
            let mut state = self.state.lock();
            if state.known_mailboxes.len() >= KNOWN_MAILBOXES_MAX {
                state.known_mailboxes.clear();
            }
            state.known_mailboxes.insert(mailbox.clone(), known);
        }
    }

    /// Forgets `mailbox` when `new` of it, as it is now, is not the directory that is known to
    /// survive a power cut: somebody has put another one in its place. Whether it did.
    pub(super) fn forget_replaced(&self, mailbox: &MailboxName, new: &Stamp) -> bool {
        let mut state = self.state.lock();
        let known = state.known_mailboxes.get(mailbox);
        let is_replaced = known.is_some_and(|known| known.new != new.identity());
        if is_replaced {
            state.known_mailboxes.remove(mailbox);
        }
        is_replaced
    }

    /// Whether `new` of `mailbox` is the directory that is known to survive a power cut.
    pub(super) fn is_still_known(&self, mailbox: &MailboxName, maildir: &Maildir) -> bool {
        let found = self.fs.metadata(&maildir.side(Side::New));
        found.is_ok_and(|found| !self.forget_replaced(mailbox, &found.stamp))
            && self.is_known(mailbox)
    }

    /// Forgets all mailboxes, because somebody removed everything.
    pub(super) fn forget_all(&self) {
        self.state.lock().known_mailboxes.clear();
    }

    /// Forgets `mailbox`, because somebody removed its directories.
    pub(super) fn forget(&self, mailbox: &MailboxName) {
        self.state.lock().known_mailboxes.remove(mailbox);
    }

    /// The first of `directories` that the disk may have lost.
    pub(super) fn find_doubtful<'a>(&self, directories: &'a [PathBuf]) -> Option<&'a PathBuf> {
        let doubtful = &self.state.lock().doubtful;
        directories.iter().find(|path| doubtful.contains(*path))
    }

    /// Takes the mark from a directory that is no longer there.
    pub(super) fn settle(&self, directory: &Path) {
        self.state.lock().doubtful.remove(directory);
    }
}
