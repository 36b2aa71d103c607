//! Maildirs on disk, written so that acknowledged messages survive a power cut.
//!
//! # On disk
//!
//! ```text
//! mail/                                   0700, only ours
//!   .facteur/store.lock                   locked by the one daemon that serves this store, as is
//!                                         the directory itself
//!   .facteur/control                      the socket on which this daemon can be reached
//!   .facteur/journal/id                   there while the journal is to be replayed
//!   .facteur/journal/{0,1,2,3}.seg        the journal: batches of messages
//!   .facteur/tmp/                         messages on their way into mailboxes; emptied at start
//!   .facteur/waiting/example.com/bob/     messages for a mailbox that accepts none, durable
//!   example.com/bob/{tmp,new,cur}/        a Maildir for each mailbox
//!     new/1732345678.9f…_00000001.localhost,S=1042,W=1071
//! ```
//!
//! Lines on disk end in LF, as Maildir readers expect. Turning LF into CRLF restores the original
//! octets: a bare LF is refused or accepted as a CRLF, and a CR is stored only if no LF follows it.
//!
//! *Why there is a journal.* A file that was just written is not safe: for a while it is only in
//! the memory of the system, and so is its name in the directory. A program can wait until both are
//! on the disk (a sync), but that takes milliseconds, and a Maildir needs two syncs for each
//! message. A journal is one file to which all new messages are appended. Ten sessions whose
//! messages come at the same time append ten records, and one of them syncs for all: one wait
//! instead of twenty. The message also gets its file in the Maildir immediately, where everybody
//! can read it, but nobody waits for a sync of that file.
//!
//! *The life of a message*, and what a power cut would leave of it at each point:
//!
//! 1. It is coming in, and is in memory, or in `.facteur/tmp` if it is large. A power cut leaves
//!    nothing, or a file there that the next start removes. Nothing was promised.
//! 2. Its record is being written to the journal. A power cut leaves a torn batch, which its
//!    checksum reveals, or one that happens to be whole. The message is gone, or it is there
//!    without its sender knowing: both are allowed.
//! 3. Its batch is synced. From here on the message cannot be lost: the next start reads the
//!    journal and delivers it.
//! 4. Its file is written, without a name or in `.facteur/tmp`, and linked or renamed into `new/`
//!    of each recipient, without any sync. It can be read, and `250` is sent. A power cut may leave
//!    the name without the file, the file without its octets, all of it, or nothing: the next start
//!    writes it anew in each case.
//! 5. A checkpoint has synced the whole file system; or, where that takes long because other
//!    programs write a lot, or is not known to save anything (FUSE, network file systems), just the
//!    file and its directory. Both are now safe, and the next batch says so, within some
//!    ten seconds: a start does not need the record any more, and its segment may be overwritten.
//!
//! *The removal of a message*: the file is unlinked and its directory synced; then, if the record
//! of its delivery could still be replayed, a record of the removal is put into the journal and
//! synced; then `+OK` is sent. A power cut before that may bring the message back; one after it
//! cannot. One file system (btrfs) has been seen to bring back only the name; a start that finds
//! the record of the removal removes that name.
//!
//! *The life of the journal.* It begins with the first message, or with the start of a store that
//! has had a journal before: a random id is written to the file `id` and synced, and every batch
//! carries it. It ends when the daemon stops cleanly: the Maildirs are synced, and `id` is removed.
//! So a start that finds no `id` has nothing to do, whatever the segments contain. A start that
//! finds it replays the batches with that id, syncs everything, and removes it, which leaves the
//! store as a clean stop would have. A replay can be interrupted at any point and repeated. Batches
//! with another id are ignored, so nobody can smuggle one in by mail.
//!
//! *The place.* Before a batch is written, the leader checks that the mail directory and the lock
//! are still the ones held open. Between the sync of the batch and the acknowledgement, it checks
//! the id and the segment in the same way. Where directory times can be trusted, one look at the
//! directory of these files is enough. People restore backups while the daemon is running; then
//! nothing is acknowledged until a restart.
//!
//! *The directory of a mailbox* is created and synced before the first message for it goes into the
//! journal.
//!
//! *Large messages*, beyond 128 KiB, would be written twice for nothing. They are synced in
//! `.facteur/tmp`, renamed or linked into every `new/`, and every `new/` is synced, before `250` is
//! sent. A power cut can leave one of these states: nothing; a file in `.facteur/tmp`; the whole
//! file in some or all mailboxes, if the message was not acknowledged; the whole file in all of
//! them. With `durability = "maildir"` all messages are stored in this way.
//!
//! *A mailbox that accepts no mail*, because of its owner, its permissions, its quota or something
//! else in its place, is detected when it is named as a recipient, as far as one look can tell, and
//! its senders get 451 while those of others are served. Messages that were acknowledged before are
//! stored durably in `.facteur/waiting`, so that they hold up neither a batch of the journal nor a
//! start, and are delivered when the mailbox is repaired: at the next message, login or start, or
//! within a minute. A mailbox to which nothing can be linked or renamed (another file system, a
//! subvolume, a project id) gets copies, synced one by one.
//!
//! *Other programs* can rename messages at any moment: move them to `cur`, change their flags,
//! append fields to their names. A message that one reading of its Maildir does not find counts as
//! gone only if the times of the directories, or a second reading, show that nothing was missed. If
//! a program renames messages without a pause, the store reports that it cannot answer now; it
//! never omits a message. Messages delivered by facteur are recognised by their serial, whatever
//! fields follow it.
//!
//! What a login reads of a Maildir is remembered, within a limit, and reused while the times of its
//! directories prove that nothing has changed. The sizes of files that had to be counted are reused
//! as long as the same files are there.
//!
//! # Theory of operation
//! The parts share an `OpenStore` (`open.rs`): the disk and the doubts that a failed sync leaves
//! (`disk.rs`), the mailboxes that are known to be durable (`known.rs`), and which messages may be
//! shown (`visibility.rs`), each with its own lock.
//!
//! A message is first made durable in a journal, many messages with one sync (`journal/mod.rs`);
//! then it is put into the Maildirs without a sync (`apply.rs`), and only then acknowledged. So
//! maildrops and other programs read plain Maildirs and never the journal. From time to time the
//! Maildirs are made durable as a whole, or file by file if that takes long (`touched.rs`,
//! `piecemeal.rs`), so that the journal can be reused (`checkpoint.rs`). A start after a crash
//! repeats what the journal records (`replay.rs`). Messages that are too large for the journal are
//! synced in the Maildirs themselves (`delivery.rs`), as are all messages of a store without a
//! journal. A thread that syncs a directory learns of the failures of others that sync it at the
//! same time (`syncing.rs`). Messages that a mailbox cannot accept wait for it (`waiting.rs`), and
//! those that cannot be linked or renamed into a mailbox (EXDEV and the like) are copied there
//! (`copying.rs`). A removal unlinks the files, syncs the directories, is recorded in the journal
//! if a replay could undo it, and is then acknowledged (`maildrop.rs`). Syncs and removals of many
//! files are split between threads (`shares.rs`).
//!
//! Other programs rename messages all the time. So a message that one reading of a Maildir does not
//! find is not believed to be gone until it is known that the reading missed nothing
//! (`reading.rs`).
//!
//! Sessions and callers that only look have the same view of a mailbox (`view.rs`). Watches learn
//! of each message when it is permanently in its mailbox, and when it is removed (`../hub.rs`).
//!
//! Listings of unchanged maildrops are kept in memory (`index.rs`). The truth is on disk, and a
//! listing is used only if the directories show that it is still correct.
//!
//! # Invariants
//! I1 to I12 are the promises of every store.
//!
//! Locks: L1 no system call while a Mutex is held · L2 the Mutex of the journal covers the copying
//! of one record at most · L3 no path holds two locks · no public method returns a guard.
//!
//! # Known limits
//! The file system must keep its promises: mail is lost if a sync of a file returns before the data
//! is safe. (`trust.rs` lists what else is relied on, and where.) A file system without its own
//! journal that fails to write a directory may lose entries that it still shows; messages are then
//! written anew, directories are not. Writing messages anew in a running store needs a file system
//! that can exchange two names; on others, a message that another program removes at that moment
//! may come back. A start on a full disk fails if the file of an acknowledged message had found no
//! room before. Beside a program that writes all the time, the first checkpoint, and one every few
//! minutes, waits for everything that this program has written. A checkpoint that goes file by file
//! may miss a disk failure that was reported to somebody else, or that the system has since
//! forgotten (`piecemeal.rs`). The lock between daemons is only as reliable as `flock` is on that
//! file system (network file systems). Messages that another program deletes within some ten
//! seconds before a crash, or between a crash and the next start, may come back at that start.

mod apply;
mod aside;
mod checkpoint;
mod claim;
mod control;
mod copying;
#[cfg(feature = "postgres")]
mod corner;
mod cure;
mod delivery;
mod disk;
mod index;
#[cfg(feature = "postgres")]
mod intake;
mod journal;
mod known;
mod layout;
mod letter;
mod listing;
mod mailboxes;
mod maildrop;
mod open;
mod pace;
mod piecemeal;
mod private;
mod reading;
mod removal;
mod replay;
mod reserve;
mod shares;
mod stamp;
mod standing;
mod statistics;
mod syncing;
mod times;
mod touched;
mod view;
mod visibility;
mod waiting;

#[cfg(test)]
mod tests;

use std::{
    io,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use crate::{
    clock::Clock,
    counters::Report,
    fs::{Fs, Kind, if_there},
    mail::{EntryId, MailboxName},
    store::{
        Cursor, Durability, Error, Event, Missed, Observer, Room, Settings, Watch,
        hub::Hub,
        limits, name,
        quota::Quota,
        sync::{Mutex, atomic::AtomicU64, fill_random, thread::JoinHandle},
    },
};

pub use control::connect_control;
#[cfg(feature = "postgres")]
pub(super) use corner::Corner;
pub(super) use delivery::Delivery;
#[cfg(feature = "postgres")]
pub(super) use intake::Intake;
pub(super) use maildrop::Maildrop;
pub use private::make_root;
pub(super) use stamp::Stamp;
pub use standing::lock_of;
pub(super) use standing::process_that_serves;
pub(super) use view::{Look, Message};

use control::Control;
use disk::Disk;
use journal::{Journal, Shape};
use known::KnownMailboxes;
use letter::Kept;
use mailboxes::Presence;
use open::OpenStore;
use pace::Checkpoints;
use private::check_own;
use standing::Place;
use statistics::Statistics;
use touched::Touched;
use visibility::Visibility;
use waiting::Waiting;

/// How long a thread waits for other threads.
#[derive(Clone, Copy, Debug, Default)]
struct Patience {
    /// To make room in the journal.
    room: Duration,
    /// To submit their records, at most.
    gather: Duration,
}

impl Patience {
    /// If there are other threads. (By default there are none, and nothing is waited for.)
    const WITH_OTHERS: Self = Self {
        room: limits::ROOM_TIMEOUT,
        gather: limits::GATHER_MAX,
    };
}

/// A [`MessageStore`](super::MessageStore) of Maildirs; see there for what its methods promise.
#[derive(Debug)]
pub(super) struct MaildirStore {
    open: Arc<OpenStore>,
    /// The thread that makes checkpoints and retries mailboxes that accept no mail, until the store
    /// is closed.
    checkpoints: Mutex<Option<JoinHandle<()>>>,
    /// Whether dropping it leaves everything as it is.
    #[cfg(test)]
    is_abandoned: std::sync::atomic::AtomicBool,
}

impl MaildirStore {
    /// Opens the store on `fs`: creates and checks its directories, takes the lock, removes what a
    /// crash left of unfinished deliveries, and replays what it left in the journal.
    pub(super) fn open(fs: Arc<dyn Fs>, settings: Settings, clock: Clock) -> Result<Self, Error> {
        let store = Self::open_quietly(fs, settings, clock, Patience::WITH_OTHERS)?;
        *store.checkpoints.lock() = Some(checkpoint::start(&store.open)?);
        Ok(store)
    }

    /// Opens the store without its own thread: whoever needs a checkpoint makes it.
    fn open_quietly(
        fs: Arc<dyn Fs>,
        settings: Settings,
        clock: Clock,
        patience: Patience,
    ) -> Result<Self, Error> {
        // Without a trailing slash, which would follow a symbolic link.
        let root: PathBuf = settings.root.components().collect();
        let (durability, memory) = (settings.durability, settings.memory);
        let held = standing::settle(&*fs, &root)?;
        // Opened before anything is written: it reports the failures since then.
        let volume = fs.volume(&root).map_err(Error::io("open", &root))?;
        let file_system = fs.file_system(&root).map_err(Error::io("look at", &root))?;
        let disk = Disk::of(fs, clock, root, (held.device(), file_system.trust()));
        let reserve = reserve::reserve_on(&disk)?;
        clean(&disk)?;
        let nonce = new_nonce();
        let nonce = nonce.map_err(Error::io("get a random number for names in", &disk.root))?;
        let hub = Hub::new(nonce, disk.clock.clone());
        let mut store = OpenStore {
            place: Place::of(held, &disk.root),
            disk,
            journal: None,
            checkpoints: Checkpoints::new(volume),
            touched: Touched::default(),
            known: KnownMailboxes::default(),
            visibility: Visibility::remembering(memory.remembered, nonce),
            kept: Kept::default(),
            waiting: Waiting::default(),
            host: name::escape_host(&settings.hostname),
            nonce,
            n_deliveries: AtomicU64::new(0),
            reserve,
            held: Quota::new(memory.held),
            listed: Quota::new(memory.listed),
            looked: Quota::new(memory.looked),
            helpers: Quota::new(limits::REMOVAL_HELPERS_MAX),
            hub: Arc::new(hub),
            control: Control::default(),
            room_timeout: patience.room,
            observer: settings.observer,
            counters: Statistics::default(),
        };
        // Without such syncs, checkpoints rely on the record of what was touched.
        store.touched.set_in_use(!store.disk.trusts_whole_sync());
        if !store.disk.trusts_whole_sync() && matches!(durability, Durability::Journal { .. }) {
            let root = &store.disk.root;
            store.observer.tell(&Event::FileByFile { root });
        }
        let directory = store.disk.own.join("journal");
        recover(&store, &directory)?;
        match durability {
            Durability::Journal {
                segment_octets,
                segments,
            } => {
                let total = store.disk.fs.total_octets(&store.disk.own);
                let shape = Shape {
                    segment_octets,
                    segments,
                }
                .on(total.map_err(Error::io("look at", &store.disk.own))?);
                let (fs, clock) = (Arc::clone(&store.disk.fs), store.disk.clock.clone());
                let gather = patience.gather;
                store.journal = Some(Journal::open(fs, directory, shape, clock, gather)?);
            }
            Durability::Maildir => {}
            Durability::None => store.disk.syncs = false,
        }
        Ok(Self {
            open: Arc::new(store),
            checkpoints: Mutex::default(),
            #[cfg(test)]
            is_abandoned: false.into(),
        })
    }

    /// Leaves the journal as it is when the store is dropped, like a crash.
    #[cfg(test)]
    pub(super) fn abandon(&self) {
        self.end_thread();
        self.is_abandoned
            .store(true, std::sync::atomic::Ordering::Relaxed);
    }

    /// Whether any lock of the store is held at this moment (L1, L2).
    #[cfg(test)]
    fn is_locked(&self) -> bool {
        let store = &self.open;
        let journal = store.journal.as_ref();
        store.disk.is_locked()
            || store.known.is_locked()
            || store.visibility.is_locked()
            || store.kept.is_locked()
            || store.waiting.is_locked()
            || store.touched.is_locked()
            || store.place.is_locked()
            || store.checkpoints.is_locked()
            || store.hub.is_locked()
            || store.control.is_locked()
            || journal.is_some_and(Journal::is_locked)
    }

    /// Ends the journal: waits for the batch under way, and makes everything durable in the
    /// Maildirs.
    pub(super) fn close(&self) -> Result<(), Error> {
        self.end_thread();
        self.open.control.end(&self.open.disk);
        checkpoint::close(&self.open)
    }

    pub(super) fn report(&self, report: &mut Report) {
        self.open.report(report);
    }

    /// Ends the journal, so that the Maildirs have all messages, and checks that none waits for its
    /// mailbox elsewhere.
    #[cfg(feature = "postgres")]
    pub(super) fn settle(&self) -> Result<(), Error> {
        self.close()?;
        let Some(mailbox) = self.open.waiting.mailboxes().into_iter().next() else {
            return Ok(());
        };
        let path = self.open.disk.maildir(&mailbox)?.path;
        let reason = "messages wait for this mailbox, because it accepts none: repair it first";
        Err(Error::other("read all messages of", path, reason))
    }

    /// Begins to move messages to `mailbox`.
    #[cfg(feature = "postgres")]
    pub(super) fn intake(&self, mailbox: &MailboxName) -> Result<Intake, Error> {
        Intake::begin(&self.open, mailbox)
    }

    /// Ends the thread that makes checkpoints.
    fn end_thread(&self) {
        let thread = self.checkpoints.lock().take();
        if let Some(thread) = thread {
            self.open.checkpoints.end();
            // Its panic is in the log, and others do what it left undone.
            drop(thread.join());
        }
    }

    pub(super) fn check_recipient(&self, mailbox: &MailboxName) -> Result<(), Error> {
        cure::check_recipient(&self.open, mailbox)
    }

    pub(super) fn has_mailbox(&self, mailbox: &MailboxName) -> Result<bool, Error> {
        let maildir = self.open.disk.maildir(mailbox)?;
        for directory in [&maildir.domain, &maildir.path] {
            if mailboxes::look_at_directory(&self.open.disk, directory)? == Presence::Missing {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The mailboxes with this local part, two at most, of the domains in their directory.
    pub(super) fn mailboxes_with_local_part(
        &self,
        local_part: &str,
    ) -> Result<Vec<MailboxName>, Error> {
        let local_part = local_part.to_ascii_lowercase();
        let Disk { fs, root, .. } = &self.open.disk;
        let entries = fs.read_dir(root).map_err(Error::io("read", root))?;
        let mut mailboxes = Vec::new();
        let mut unknown = None;
        for entry in entries.iter().filter(|entry| entry.kind == Kind::Directory) {
            let Some(mailbox) = layout::decoded(&entry.name)
                .and_then(|domain| MailboxName::from_canonical(&local_part, &domain))
            else {
                continue;
            };
            match self.has_mailbox(&mailbox) {
                Ok(true) => mailboxes.push(mailbox),
                Ok(false) | Err(Error::NameTooLong { .. }) => {}
                // A broken domain does not keep users of other domains from their mailboxes.
                Err(error) if error.needs_operator() => {
                    aside::note_ailing(&self.open, &mailbox, &error, None);
                    unknown = Some(error);
                }
                Err(error) => return Err(error),
            }
            if mailboxes.len() == 2 {
                break;
            }
        }
        match unknown {
            Some(error) if mailboxes.is_empty() => Err(error),
            _ => Ok(mailboxes),
        }
    }

    pub(super) fn observer(&self) -> &Observer {
        &self.open.observer
    }

    pub(super) fn each_mailbox(
        &self,
        visit: &mut dyn FnMut(MailboxName),
    ) -> Result<Option<Error>, Error> {
        let disk = &self.open.disk;
        let mut failed = None;
        for domain in aside::directories_in(disk, &disk.root)? {
            let Some(decoded) = layout::decoded(&domain) else {
                continue;
            };
            let path = disk.root.join(&domain);
            let local_parts = match aside::directories_in(disk, &path) {
                Ok(local_parts) => local_parts,
                // A broken domain does not hide the others.
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            let local_parts = local_parts.iter().filter_map(|name| layout::decoded(name));
            let mailboxes = local_parts
                .filter_map(|local_part| MailboxName::from_canonical(&local_part, &decoded));
            mailboxes.for_each(&mut *visit);
        }
        Ok(failed)
    }

    pub(super) fn look(&self, mailbox: &MailboxName) -> Result<Look, Error> {
        Look::of(&self.open, mailbox)
    }

    /// Removes messages from several mailboxes; waits for `patience` at most for other sessions
    /// that have them open.
    pub(super) fn remove_everywhere(
        &self,
        messages: &[(MailboxName, EntryId)],
        patience: Duration,
    ) -> Result<(), Error> {
        removal::remove_everywhere(&self.open, messages, patience)
    }

    pub(super) fn control(&self) -> Result<UnixListener, Error> {
        self.open.control.listen(&self.open.disk)
    }

    pub(super) fn stamp(&self, mailbox: &MailboxName) -> Result<Stamp, Error> {
        let maildir = self.open.disk.maildir(mailbox)?;
        Stamp::of(&self.open.disk, &maildir)
    }

    pub(super) fn cursor(&self) -> Cursor {
        self.open.hub.cursor()
    }

    pub(super) fn watch(&self, of: Option<&MailboxName>, since: Cursor) -> Result<Watch, Missed> {
        self.open.hub.watch(of, since)
    }

    pub(super) fn begin_delivery(&self, declared_octets: u64) -> Result<Delivery, Error> {
        Delivery::begin(&self.open, declared_octets)
    }

    pub(super) fn room(&self) -> Result<Room, Error> {
        reserve::room(&self.open)
    }

    /// Opens the maildrop of `mailbox`; waits for `patience` at most for another session that has
    /// it open.
    pub(super) fn open_maildrop(
        &self,
        mailbox: &MailboxName,
        patience: Duration,
    ) -> Result<Maildrop, Error> {
        Maildrop::open(&self.open, mailbox, patience)
    }
}

impl Drop for MaildirStore {
    fn drop(&mut self) {
        #[cfg(test)]
        if *self.is_abandoned.get_mut() {
            return;
        }
        // If the journal could not be ended, the next start replays it.
        self.close().unwrap_or_default();
    }
}

/// Restores what an earlier run has left in the journal in `directory`, and in `waiting` for
/// mailboxes.
fn recover(store: &OpenStore, directory: &Path) -> Result<(), Error> {
    check_own(&*store.disk.fs, directory)?;
    check_own(&*store.disk.fs, &store.disk.own.join(aside::DIRECTORY))?;
    replay::recover(store, directory)?;
    cure::recover_waiting(store)?;
    cure::tell_all_that_waits(store);
    Ok(())
}

/// Draws the random number that distinguishes the message names of this run from those of all
/// others.
fn new_nonce() -> io::Result<u64> {
    let mut octets = [0; 8];
    fill_random(&mut octets)?;
    Ok(u64::from_ne_bytes(octets))
}

/// Removes the content of unfinished deliveries.
fn clean(disk: &Disk) -> Result<(), Error> {
    let (fs, spool) = (&*disk.fs, &*disk.spool);
    for entry in fs.read_dir(spool).map_err(Error::io("read", spool))? {
        let path = spool.join(&entry.name);
        if entry.kind != Kind::Directory {
            // FUSE itself removes the files that it has hidden, once the last run that had them
            // open is gone.
            if_there(fs.unlink(&path)).map_err(Error::io("remove", &path))?;
        }
    }
    Ok(())
}
