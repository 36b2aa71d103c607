//! The message store: an acknowledged message is in its mailbox, and stays there, after any crash.
//!
//! [`MessageStore`] hands out four things: a [`Delivery`] accepts one message, a [`Maildrop`]
//! serves and removes the messages of one mailbox, a [`Look`] only reads them, and a [`Watch`]
//! reports which messages come and go. They own what they need, so they can outlive the call, move
//! to another thread, and be dropped at any moment. This room knows nothing of protocols, of
//! passwords, or of which mailboxes ought to exist.
//!
//! The messages are in Maildirs behind a journal (`maildir/`); callers need not know that.
//!
//! # Promises
//! Every implementation keeps these promises. Each has tests that fail when it is broken.
//!
//! - I1: an acknowledged message is in every recipient's mailbox, octet for octet, after any crash
//!   and restart, until it is deleted.
//! - I2: after `+OK` to a QUIT with deletions, the deleted messages never come back.
//! - I3: without QUIT nothing is deleted.
//! - I4: no message is visible over POP3 before it is durable and complete.
//! - I5: a message that was not acknowledged is in a mailbox either completely and once, or not at
//!   all; never in part.
//! - I6: a unique-id never changes and is never reused.
//! - I7: a part of the journal is overwritten only when a successful sync covers everything that it
//!   records, and a durable batch says so.
//! - I8: replaying the journal twice, or half of it and then all of it, has the same result as
//!   replaying it once.
//! - I9: no acknowledgement relies on data whose sync failed, on a sync that is not known to save
//!   anything, or on data that no start would find; no failed sync is repeated.
//! - I10: if disk space, descriptors, threads or memory run out, clients get 4yz or `-ERR`, nothing
//!   is lost, and the service resumes by itself. A fault of one mailbox affects only that mailbox.
//! - I11: two daemons never serve one store, even if its lock file was removed.
//! - I12: no path built from network input leaves the store.
//!
//! # Failures
//! Methods return [`Error`]; none panics, and none leaves the store unusable. Events that no caller
//! asked about go to an [`Observer`].

/// Runs the wrong code if a test has planted that bug; compiled only into tests.
macro_rules! planted {
    ($bug:ident, $wrong:expr) => {
        #[cfg(test)]
        if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::$bug) {
            $wrong;
        }
    };
}

/// Fails if a test interrupts the thread here; compiled only into tests.
#[cfg(feature = "postgres")]
macro_rules! interruption {
    () => {
        #[cfg(test)]
        if crate::testing::interruption::is_here() {
            return Err(Error::other("go on with", "a test", "it was interrupted"));
        }
    };
}

mod cursor;
mod error;
mod event;
mod hub;
#[cfg(feature = "postgres")]
mod label;
pub mod limits;
mod maildir;
#[cfg(feature = "postgres")]
mod moving;
mod name;
#[cfg(feature = "postgres")]
mod postgres;
mod quota;
mod room;
mod sent_size;
mod settings;
mod sync;

#[cfg(test)]
mod tests;

use std::{os::unix::net::UnixListener, path::Path, sync::Arc, time::Duration};

use crate::{
    clock::Clock,
    counters::Report,
    fs::{Fs, RealFs},
    mail::{EntryId, MailboxName, Summaries, local_part_forms},
};

pub use cursor::Cursor;
pub use error::Error;
pub use event::{Event, Observer, Severity};
pub use hub::{Change, Missed, News, Watch};
pub use maildir::{connect_control, lock_of, make_root};
pub use room::Room;
pub use settings::{Durability, Memory, Settings};

#[cfg(feature = "postgres")]
pub use moving::{Direction, Move, Moved};
#[cfg(feature = "postgres")]
pub use postgres::{Access, AccessError, Secrets};
#[cfg(feature = "postgres")]
pub use settings::Database;

use maildir::MaildirStore;
#[cfg(feature = "postgres")]
use postgres::PostgresStore;

/// Does the same with whichever kind it is.
macro_rules! on_kind {
    ($kind:expr, $it:ident => $does:expr) => {
        match $kind {
            Kind::Maildir($it) => $does,
            #[cfg(feature = "postgres")]
            Kind::Postgres($it) => $does,
        }
    };
}

/// Something of a store, by the kind of the store.
#[cfg(not(feature = "postgres"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind<M> {
    Maildir(M),
}

/// Something of a store, by the kind of the store.
#[cfg(feature = "postgres")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind<M, P> {
    Maildir(M),
    Postgres(P),
}

/// The store, and what it hands out, by the kind of the store.
macro_rules! kinds {
    ($($name:ident: $maildir:ty, $postgres:ty;)*) => {
        $(
            #[cfg(not(feature = "postgres"))]
            type $name = Kind<$maildir>;
            #[cfg(feature = "postgres")]
            type $name = Kind<$maildir, $postgres>;
        )*
    };
}

kinds! {
    StoreKind: MaildirStore, PostgresStore;
    DeliveryKind: maildir::Delivery, postgres::Delivery;
    MaildropKind: maildir::Maildrop, postgres::Maildrop;
    LookKind: maildir::Look, postgres::Look;
    StampKind: maildir::Stamp, postgres::Stamp;
    MessageKind: maildir::Message, postgres::Message;
}

/// All mailboxes of this host. Share it in an [`Arc`].
///
/// Dropping it closes it like [`close`](Self::close), but a failure is then not reported.
#[derive(Debug)]
pub struct MessageStore {
    kind: StoreKind,
}

impl MessageStore {
    /// Opens the store on the file system of this machine.
    ///
    /// # Errors
    /// As for [`open_on`](Self::open_on).
    pub fn open(settings: Settings, clock: Clock) -> Result<Self, Error> {
        Self::open_on(Arc::new(RealFs), settings, clock)
    }

    /// The store if it consists of Maildirs, as tests know.
    #[cfg(test)]
    fn maildirs(&self) -> &MaildirStore {
        match &self.kind {
            Kind::Maildir(it) => it,
            #[cfg(feature = "postgres")]
            Kind::Postgres(_) => panic!("this is a database"),
        }
    }

    /// The number of the process that serves the store in `root`, if there is one and it can be
    /// found.
    pub fn process_that_serves(root: &Path) -> Option<u32> {
        maildir::process_that_serves(root)
    }

    /// Opens the store on `fs`: creates and checks its directories, takes the lock, removes what a
    /// crash left of unfinished deliveries, and restores what was acknowledged.
    ///
    /// # Errors
    /// [`Error::StoreInUse`] if another daemon has it open, [`Error::Unsafe`] if others could
    /// change it, [`Error::Io`] or [`Error::Full`]: do not start; the text says what to do.
    pub fn open_on(fs: Arc<dyn Fs>, settings: Settings, clock: Clock) -> Result<Self, Error> {
        #[cfg(feature = "postgres")]
        if let Some(database) = settings.database.clone() {
            let store = PostgresStore::open(fs, settings, &database, clock)?;
            let kind = Kind::Postgres(store);
            return Ok(Self { kind });
        }
        let kind = Kind::Maildir(MaildirStore::open(fs, settings, clock)?);
        Ok(Self { kind })
    }

    /// Makes the control socket of this store, and listens on it: for the programs of its owner,
    /// which call [`connect_control`]. It is removed when the store is closed.
    ///
    /// # Errors
    /// [`Error::Unsafe`] if something else has its name; [`Error::Io`], also where there are no
    /// sockets: log it, and go on without.
    pub fn control(&self) -> Result<UnixListener, Error> {
        on_kind!(&self.kind, it => it.control())
    }

    /// Waits until everything is durable in the mailboxes, so that the next start has nothing to
    /// do. After that no delivery can be committed; maildrops can still be read.
    ///
    /// # Errors
    /// [`Error`]: nothing is lost, and the next start does the rest.
    pub fn close(&self) -> Result<(), Error> {
        match &self.kind {
            Kind::Maildir(it) => it.close(),
            #[cfg(feature = "postgres")]
            Kind::Postgres(it) => {
                it.close();
                Ok(())
            }
        }
    }

    /// Checks that messages can be stored now, as far as that shows without storing one. Only a
    /// database can be away while this program runs.
    ///
    /// # Errors
    /// [`Error::Io`] if the database cannot be reached, or its commits do not count.
    pub fn check_ready(&self) -> Result<(), Error> {
        match &self.kind {
            Kind::Maildir(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Kind::Postgres(it) => it.check_ready(),
        }
    }

    /// Adds to `report` what was counted since the store was opened, and whether all is well.
    pub fn report(&self, report: &mut Report) {
        on_kind!(&self.kind, it => it.report(report));
    }

    /// Checks that `mailbox` can exist at all, and accepts mail as far as that can be seen. If it
    /// had stopped and accepts mail again, the messages that waited for it are delivered.
    ///
    /// # Errors
    /// [`Error::NameTooLong`]: refuse the recipient permanently. Any other: refuse it for now, but
    /// no other recipient; the observer was told why.
    pub fn check_recipient(&self, mailbox: &MailboxName) -> Result<(), Error> {
        on_kind!(&self.kind, it => it.check_recipient(mailbox))
    }

    /// Whether `mailbox` exists. One whose name is too long for a directory does not.
    ///
    /// # Errors
    /// [`Error::Unsafe`] or [`Error::Io`] if this cannot be determined now.
    pub fn has_mailbox(&self, mailbox: &MailboxName) -> Result<bool, Error> {
        match on_kind!(&self.kind, it => it.has_mailbox(mailbox)) {
            Err(Error::NameTooLong { .. }) => Ok(false),
            found => found,
        }
    }

    /// The mailbox with this local part in whatever domain, if there is exactly one.
    ///
    /// # Errors
    /// As [`mailboxes_with_local_part`](Self::mailboxes_with_local_part).
    pub fn mailbox_with_local_part(&self, local_part: &str) -> Result<Option<MailboxName>, Error> {
        let mut mailboxes = self.mailboxes_with_local_part(local_part)?;
        Ok(mailboxes.pop().filter(|_| mailboxes.is_empty()))
    }

    /// The mailboxes with this local part. If none has it as it is written, the other forms of the
    /// same text count too ([`local_part_forms`]).
    ///
    /// # Errors
    /// [`Error::Unsafe`] or [`Error::Io`] if this cannot be determined now.
    pub fn mailboxes_with_local_part(&self, local_part: &str) -> Result<Vec<MailboxName>, Error> {
        let find = |text: &str| on_kind!(&self.kind, it => it.mailboxes_with_local_part(text));
        let mut mailboxes = find(local_part)?;
        for form in local_part_forms(local_part) {
            if mailboxes.is_empty() {
                mailboxes = find(&form)?;
            }
        }
        Ok(mailboxes)
    }

    /// Passes each mailbox to `visit`, in no particular order. Domains that cannot be read are left
    /// out, and then the result is the error of one of them.
    ///
    /// # Errors
    /// [`Error::Io`] if the mailboxes cannot be listed now.
    pub fn each_mailbox(&self, visit: &mut dyn FnMut(MailboxName)) -> Result<Option<Error>, Error> {
        on_kind!(&self.kind, it => it.each_mailbox(visit))
    }

    /// Tells the observer what somebody who looks at the mail does not see:
    /// [`Event::MailHidden`].
    pub fn tell_hidden(&self, mailbox: Option<&MailboxName>, error: Option<&Error>) {
        let event = Event::MailHidden { mailbox, error };
        on_kind!(&self.kind, it => it.observer().tell(&event));
    }

    /// The messages that `mailbox` has now, to be read only. This does not conflict with a session
    /// that has its maildrop open, or with others that look. A mailbox that does not exist has
    /// none; looking does not create it.
    ///
    /// # Errors
    /// [`Error::NameTooLong`]; [`Error::ListingTooLarge`], [`Error::Unsafe`] or [`Error::Io`] if it
    /// cannot be read now.
    pub fn look(&self, mailbox: &MailboxName) -> Result<Look, Error> {
        Ok(Look(match &self.kind {
            Kind::Maildir(it) => Kind::Maildir(it.look(mailbox)?),
            #[cfg(feature = "postgres")]
            Kind::Postgres(it) => Kind::Postgres(it.look(mailbox)?),
        }))
    }

    /// The state of the directories of `mailbox`. If two of them are equal, nothing has come or
    /// gone in between, whoever did it. It takes two system calls.
    ///
    /// # Errors
    /// [`Error::NameTooLong`]; [`Error::Io`] if this cannot be determined now.
    pub fn stamp(&self, mailbox: &MailboxName) -> Result<Stamp, Error> {
        Ok(Stamp(match &self.kind {
            Kind::Maildir(it) => Kind::Maildir(it.stamp(mailbox)?),
            #[cfg(feature = "postgres")]
            Kind::Postgres(it) => Kind::Postgres(it.stamp(mailbox)?),
        }))
    }

    /// Removes messages by their ids, each from the mailbox that is named with it, as a session of
    /// each mailbox would; one that is already gone counts as removed. First waits a moment until
    /// no other session has any of these mailboxes open. `Ok` means that the messages never come
    /// back, not even after a power cut.
    ///
    /// # Errors
    /// [`Error::Busy`] names the mailboxes that are still open in other sessions: nothing was
    /// removed. [`Error::NameTooLong`], likewise. Any other: some may be removed, and the caller
    /// must not say that they all are.
    pub fn remove_everywhere(&self, messages: &[(MailboxName, EntryId)]) -> Result<(), Error> {
        let patience = limits::REMOVAL_PATIENCE;
        on_kind!(&self.kind, it => it.remove_everywhere(messages, patience))
    }

    /// The place behind the newest change of this store. To miss nothing, take it before the
    /// mailboxes are listed, and then watch from there.
    pub fn cursor(&self) -> Cursor {
        on_kind!(&self.kind, it => it.cursor())
    }

    /// Begins to watch which messages come and go, in one mailbox or in all, from the cursor
    /// `since`. A mailbox that does not exist can be watched.
    ///
    /// # Errors
    /// [`Missed`] if `since` is not of this run of the daemon, or too much has happened since: list
    /// the mailboxes again, from a new cursor.
    pub fn watch(&self, of: Option<&MailboxName>, since: Cursor) -> Result<Watch, Missed> {
        on_kind!(&self.kind, it => it.watch(of, since))
    }

    /// Whether watches report every message with such an ID that comes. Otherwise others bring it:
    /// another program, or another node, which may end before it has told of it.
    pub fn reports(&self, id: EntryId) -> bool {
        match &self.kind {
            // A message of an earlier run was there before.
            Kind::Maildir(_) => id.is_own(),
            #[cfg(feature = "postgres")]
            Kind::Postgres(store) => store.reports(id),
        }
    }

    /// Begins a delivery of `declared_octets`, 0 if the size is not known.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`]: refuse the message for now.
    pub fn begin_delivery(&self, declared_octets: u64) -> Result<Delivery, Error> {
        Ok(Delivery(match &self.kind {
            Kind::Maildir(it) => Kind::Maildir(it.begin_delivery(declared_octets)?),
            #[cfg(feature = "postgres")]
            Kind::Postgres(it) => Kind::Postgres(it.begin_delivery()?),
        }))
    }

    /// How much room there is for messages.
    ///
    /// # Errors
    /// [`Error::Io`] if the system does not report it.
    pub fn room(&self) -> Result<Room, Error> {
        match &self.kind {
            Kind::Maildir(it) => it.room(),
            #[cfg(feature = "postgres")]
            Kind::Postgres(it) => Ok(it.room()),
        }
    }

    /// Opens the maildrop of `mailbox` for one session (RFC 1939 §4). A mailbox that does not exist
    /// has an empty maildrop; opening it does not create the mailbox.
    ///
    /// # Errors
    /// [`Error::InUse`] if another session has it open. [`Error::NameTooLong`]; [`Error::Unsafe`],
    /// [`Error::Io`] or [`Error::Full`] if it cannot be read now.
    pub fn open_maildrop(&self, mailbox: &MailboxName) -> Result<Maildrop, Error> {
        self.open_within(mailbox, Duration::ZERO)
    }

    /// The same, but if another session has it open, waits a moment for that session to end: the
    /// client may have left it already.
    ///
    /// # Errors
    /// As [`open_maildrop`](Self::open_maildrop).
    pub fn open_maildrop_patiently(&self, mailbox: &MailboxName) -> Result<Maildrop, Error> {
        self.open_within(mailbox, limits::CLAIM_PATIENCE)
    }

    fn open_within(&self, mailbox: &MailboxName, patience: Duration) -> Result<Maildrop, Error> {
        Ok(Maildrop(match &self.kind {
            Kind::Maildir(it) => Kind::Maildir(it.open_maildrop(mailbox, patience)?),
            #[cfg(feature = "postgres")]
            Kind::Postgres(it) => Kind::Postgres(it.open_maildrop(mailbox, patience)?),
        }))
    }
}

/// A message being received. Dropping it abandons the message and removes what was written.
#[derive(Debug)]
pub struct Delivery(DeliveryKind);

impl Delivery {
    /// The delivery to Maildirs, as tests know.
    #[cfg(test)]
    fn into_maildir(self) -> maildir::Delivery {
        match self.0 {
            Kind::Maildir(it) => it,
            #[cfg(feature = "postgres")]
            Kind::Postgres(_) => panic!("this is for a database"),
        }
    }

    /// The name of the message for trace headers and the log: letters, digits and `_`, never used
    /// twice.
    pub fn name(&self) -> &str {
        on_kind!(&self.0, it => it.name())
    }

    /// The id of the message in the inbox, once it is there.
    pub fn id(&self) -> EntryId {
        on_kind!(&self.0, it => it.id())
    }

    /// Adds `octets` to the content, with lines ended by LF. Each call may be one write, so pass
    /// large pieces.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`]: drop the delivery and refuse the message for now.
    pub fn append(&mut self, octets: &[u8]) -> Result<(), Error> {
        on_kind!(&mut self.0, it => it.append(octets))
    }

    /// The number of octets so far, as they are stored.
    pub fn octets(&self) -> u64 {
        on_kind!(&self.0, it => it.octets())
    }

    /// Puts the message into the mailboxes of `recipients`, creating those that are missing; one
    /// that is named twice gets it once. Without recipients the delivery is abandoned.
    ///
    /// `Ok` means that the message in each of them survives a power cut.
    ///
    /// # Errors
    /// [`Error::NameTooLong`], [`Error::Full`], [`Error::Io`] or [`Error::Unsafe`]: refuse the
    /// message; copies that were put into a mailbox are removed again.
    pub fn commit(self, recipients: &[MailboxName]) -> Result<(), Error> {
        on_kind!(self.0, it => it.commit(recipients))
    }

    /// Like [`commit`](Self::commit), but returns the mailboxes that cannot take the message, with
    /// the reason, if others can. `commit` would accept it for them too, and keep it until they
    /// can. Nothing of the message is kept for those that are returned.
    ///
    /// # Errors
    /// The same, if no mailbox has the message.
    pub fn commit_where_possible(
        self,
        recipients: &[MailboxName],
    ) -> Result<Vec<(MailboxName, Error)>, Error> {
        match self.0 {
            Kind::Maildir(it) => it.commit_where_possible(recipients),
            // All mailboxes are in the same place.
            #[cfg(feature = "postgres")]
            Kind::Postgres(it) => it.commit(recipients).map(|()| Vec::new()),
        }
    }
}

/// The messages of one mailbox, fixed for one session. Dropping it ends the exclusive access.
#[derive(Debug)]
pub struct Maildrop(MaildropKind);

impl Maildrop {
    /// The messages in the order of their arrival.
    pub fn messages(&self) -> Arc<dyn Summaries> {
        match &self.0 {
            Kind::Maildir(it) => it.view.messages(),
            #[cfg(feature = "postgres")]
            Kind::Postgres(it) => it.messages(),
        }
    }

    /// Checks, without asking anybody, that no other session may have the mailbox by now.
    ///
    /// # Errors
    /// [`Error::Io`] says why one may: nothing can be read or removed here any more, so the session
    /// should end.
    pub fn check_is_ours(&self) -> Result<(), Error> {
        match &self.0 {
            // The lock of the mailbox is on this machine.
            Kind::Maildir(_) => Ok(()),
            #[cfg(feature = "postgres")]
            Kind::Postgres(it) => it.check_is_ours(),
        }
    }

    /// Opens the message at `index` of [`messages`](Self::messages).
    ///
    /// # Errors
    /// [`Error::MessageGone`] if another program removed it, or there is no such index: tell the
    /// client. [`Error::Unsafe`] or [`Error::Io`]: it cannot be read now.
    pub fn open_message(&self, index: usize) -> Result<Message, Error> {
        Ok(Message(match &self.0 {
            Kind::Maildir(it) => Kind::Maildir(it.view.open_message(index)?),
            #[cfg(feature = "postgres")]
            Kind::Postgres(it) => Kind::Postgres(it.open_message(index)?),
        }))
    }

    /// Removes the messages at `indexes` of [`messages`](Self::messages); one that is already gone
    /// counts as removed. `Ok` means that they never come back, not even after a power cut.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Full`]: some may be removed, but tell the client that the command
    /// failed (RFC 1939 §6). The next session lists those that are still there.
    pub fn remove(&self, indexes: &[usize]) -> Result<(), Error> {
        on_kind!(&self.0, it => it.remove(indexes))
    }
}

/// The messages of one mailbox as they were at one moment. It does not lock anybody out.
#[derive(Debug)]
pub struct Look(LookKind);

impl Look {
    /// The messages in the order of their arrival.
    pub fn messages(&self) -> Arc<dyn Summaries> {
        match &self.0 {
            Kind::Maildir(it) => it.view.messages(),
            #[cfg(feature = "postgres")]
            Kind::Postgres(it) => it.messages(),
        }
    }

    /// The id in the inbox of the message at `index` of [`messages`](Self::messages); `None` if
    /// there is no such index.
    pub fn id(&self, index: usize) -> Option<EntryId> {
        on_kind!(&self.0, it => it.id(index))
    }

    /// When the message at `index` of [`messages`](Self::messages) came, in seconds since 1970:
    /// when this store delivered it, or else when its file was last changed.
    ///
    /// # Errors
    /// [`Error::MessageGone`] if another program removed it, or there is no such index.
    /// [`Error::Io`]: this is not known now.
    pub fn arrived_secs(&self, index: usize) -> Result<u64, Error> {
        on_kind!(&self.0, it => it.arrived_secs(index))
    }

    /// Opens the message at `index` of [`messages`](Self::messages).
    ///
    /// # Errors
    /// As for [`Maildrop::open_message`].
    pub fn open_message(&self, index: usize) -> Result<Message, Error> {
        Ok(Message(match &self.0 {
            Kind::Maildir(it) => Kind::Maildir(it.view.open_message(index)?),
            #[cfg(feature = "postgres")]
            Kind::Postgres(it) => Kind::Postgres(it.open_message(index)?),
        }))
    }
}

/// The state of a mailbox at one moment, to be compared with an earlier one.
///
/// One that was taken so shortly after a change that another change might not show is equal to no
/// other. Nor is any on a file system whose times are not reliable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp(StampKind);

/// A message open for reading. It stays readable if somebody removes it.
#[derive(Debug)]
pub struct Message(MessageKind);

impl Message {
    /// The number of octets that RETR sends, before dot-stuffing, if it differs from the listing
    /// because another program has edited the message.
    pub fn edited_octets(&self) -> Option<u64> {
        match &self.0 {
            Kind::Maildir(it) => it.edited_octets(),
            // Nobody can edit it there.
            #[cfg(feature = "postgres")]
            Kind::Postgres(_) => None,
        }
    }

    /// The number of octets as they are stored, when it was opened; `None` if that is not known.
    pub fn octets_on_disk(&self) -> Option<u64> {
        match &self.0 {
            Kind::Maildir(it) => it.octets_on_disk(),
            #[cfg(feature = "postgres")]
            Kind::Postgres(it) => Some(it.octets()),
        }
    }

    /// Reads the octets from `offset` on, as they are stored, independently of
    /// [`read`](Self::read). Fills `buffer` except at the end of the message.
    ///
    /// # Errors
    /// [`Error::Io`]: it cannot be read.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        on_kind!(&self.0, it => it.read_at(offset, buffer))
    }

    /// Why a message cannot be read to its end that has become shorter after it was opened.
    pub fn cut_short(&self) -> Error {
        on_kind!(&self.0, it => it.cut_short())
    }

    /// Reads the next octets as they are stored, with lines ended by LF unless another program
    /// delivered them differently; 0 at the end.
    ///
    /// # Errors
    /// [`Error::Io`]: the rest cannot be read.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        on_kind!(&mut self.0, it => it.read(buffer))
    }
}
