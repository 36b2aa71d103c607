//! The message store: what was acknowledged is in its mailbox, and stays there, after any crash.
//!
//! [`MessageStore`] hands out four things: a [`Delivery`] takes one message in, a [`Maildrop`]
//! gives the messages of one mailbox out and removes them, a [`Look`] only reads them, and a
//! [`Watch`] tells what comes and goes. All own what they need and may outlive the call, move to
//! another thread, and be dropped at any moment. The room knows nothing of protocols, passwords or
//! which mailboxes ought to exist.
//!
//! The messages lie in Maildirs behind a journal (`maildir/`), which no caller needs to know.
//!
//! # Promises
//! Whatever keeps the messages keeps these. Each has tests that fail when it is broken.
//!
//! - I1: what was acknowledged is in every recipient's mailbox, octet for octet, after any crash
//!   and restart, until it is deleted.
//! - I2: after `+OK` to a QUIT with deletions they never come back.
//! - I3: without QUIT nothing is deleted.
//! - I4: nothing is visible over POP3 before it is durable and whole.
//! - I5: of what was not acknowledged there is no copy or one whole copy in a mailbox, never a
//!   part.
//! - I6: a unique-id never changes and is never reused.
//! - I7: a part of the journal is written over only when a successful sync covers all that it says,
//!   and a durable batch says so.
//! - I8: to replay the journal is the same as to replay it twice, or half and then all of it.
//! - I9: no acknowledgement rests on data whose sync failed, or is not known to save anything, or
//!   that no start would find; no sync is repeated.
//! - I10: when disk, descriptors, threads or memory run out, clients get 4yz or `-ERR`, nothing is
//!   lost, and the service resumes by itself. What is wrong with one mailbox harms it alone.
//! - I11: two daemons never serve one store, also when its lock file was removed.
//! - I12: no path made from the network leaves the store.
//!
//! # Failures
//! Every method returns [`Error`]; none panics, and none leaves the store unusable. What nobody
//! asked for goes to an [`Observer`].

mod error;
mod event;
mod hub;
pub mod limits;
mod maildir;
mod room;
mod settings;
mod sync;

#[cfg(test)]
mod tests;

use std::{path::Path, sync::Arc, time::Duration};

use crate::{
    clock::Clock,
    counters::Report,
    fs::{Fs, RealFs},
    mail::{MailboxName, Summaries},
};

pub use error::Error;
pub use event::{Event, Observer, Severity};
pub use hub::{Change, Missed, News, Watch};
pub use maildir::{lock_of, make_root};
pub use room::Room;
pub use settings::{Durability, Memory, Settings};

use maildir::MaildirStore;

/// All mailboxes of this host. To be shared in an [`Arc`].
///
/// Dropping it closes it like [`close`](Self::close), and has nobody to tell of a failure.
#[derive(Debug)]
pub struct MessageStore {
    maildirs: MaildirStore,
}

impl MessageStore {
    /// Opens the store on the file system of this machine.
    ///
    /// # Errors
    /// As [`open_on`](Self::open_on).
    pub fn open(settings: Settings, clock: Clock) -> Result<Self, Error> {
        Self::open_on(Arc::new(RealFs), settings, clock)
    }

    /// The number of the process that serves the store in `root`, if one does and could be found.
    pub fn process_that_serves(root: &Path) -> Option<u32> {
        maildir::process_that_serves(root)
    }

    /// Opens the store on `fs`: makes and checks its directories, takes the lock, removes what a
    /// crash left of unfinished deliveries, and brings back what was acknowledged.
    ///
    /// # Errors
    /// [`Error::StoreInUse`] when another daemon has it open, [`Error::Unsafe`] when others could
    /// change it, [`Error::Io`] or [`Error::Full`]: do not start; the text says what to do.
    pub fn open_on(fs: Arc<dyn Fs>, settings: Settings, clock: Clock) -> Result<Self, Error> {
        let maildirs = MaildirStore::open(fs, settings, clock)?;
        Ok(Self { maildirs })
    }

    /// Waits for what is being made durable, and makes a start that follows have nothing to do. No
    /// delivery can be committed any more; maildrops can still be read.
    ///
    /// # Errors
    /// [`Error`]: nothing is lost, and the next start does what is left.
    pub fn close(&self) -> Result<(), Error> {
        self.maildirs.close()
    }

    /// Puts what was counted since the store was opened into `report`, and whether all is well.
    pub fn report(&self, report: &mut Report) {
        self.maildirs.report(report);
    }

    /// Whether `mailbox` can be stored at all, and takes mail as far as that can be seen. If it did
    /// not and does again, what waited for it is delivered.
    ///
    /// # Errors
    /// [`Error::NameTooLong`]: refuse the recipient for good. Any other: refuse it for now, and
    /// no other one; the observer was told why.
    pub fn check_recipient(&self, mailbox: &MailboxName) -> Result<(), Error> {
        self.maildirs.check_recipient(mailbox)
    }

    /// Whether `mailbox` exists.
    ///
    /// # Errors
    /// [`Error::NameTooLong`]; [`Error::Unsafe`] or [`Error::Io`] when that cannot be told now.
    pub fn has_mailbox(&self, mailbox: &MailboxName) -> Result<bool, Error> {
        self.maildirs.has_mailbox(mailbox)
    }

    /// Up to two of the mailboxes with this local part, in any domain: none, the one, or not the
    /// only one.
    ///
    /// # Errors
    /// [`Error::Unsafe`] or [`Error::Io`] when that cannot be told now.
    pub fn mailboxes_with_local_part(&self, local_part: &str) -> Result<Vec<MailboxName>, Error> {
        self.maildirs.mailboxes_with_local_part(local_part)
    }

    /// Gives each mailbox to `visit`, in no order. A domain that cannot be read is left out; the
    /// answer is false then.
    ///
    /// # Errors
    /// [`Error::Io`] when the mailboxes cannot be listed now.
    pub fn each_mailbox(&self, visit: &mut dyn FnMut(MailboxName)) -> Result<bool, Error> {
        self.maildirs.each_mailbox(visit)
    }

    /// The messages of `mailbox` now, for somebody who only reads: beside the session of its
    /// maildrop, if there is one, and beside others who look. A mailbox that does not exist has
    /// none; looking makes nothing.
    ///
    /// # Errors
    /// [`Error::NameTooLong`]; [`Error::ListingTooLarge`], [`Error::Unsafe`] or [`Error::Io`] when
    /// it cannot be read for now.
    pub fn look(&self, mailbox: &MailboxName) -> Result<Look, Error> {
        self.maildirs.look(mailbox).map(Look)
    }

    /// Begins to watch what comes and goes in all mailboxes.
    pub fn watch(&self) -> Watch {
        self.maildirs.watch()
    }

    /// Begins a delivery of `declared_octets`, 0 when that is not known.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`]: refuse the message for now.
    pub fn begin_delivery(&self, declared_octets: u64) -> Result<Delivery, Error> {
        self.maildirs.begin_delivery(declared_octets).map(Delivery)
    }

    /// How much room there is for messages.
    ///
    /// # Errors
    /// [`Error::Io`] when the system does not say.
    pub fn room(&self) -> Result<Room, Error> {
        self.maildirs.room()
    }

    /// Opens the maildrop of `mailbox` for one session (RFC 1939 §4). A mailbox that does not exist
    /// has an empty one; looking makes nothing.
    ///
    /// # Errors
    /// [`Error::InUse`] when another session has it open. [`Error::NameTooLong`];
    /// [`Error::Unsafe`], [`Error::Io`] or [`Error::Full`] when it cannot be read for now.
    pub fn open_maildrop(&self, mailbox: &MailboxName) -> Result<Maildrop, Error> {
        let opened = self.maildirs.open_maildrop(mailbox, Duration::ZERO);
        opened.map(Maildrop)
    }

    /// The same, but waits a moment for another session to end that has it open: the client may
    /// have left that one, and its end be under way.
    ///
    /// # Errors
    /// As [`open_maildrop`](Self::open_maildrop).
    pub fn open_maildrop_patiently(&self, mailbox: &MailboxName) -> Result<Maildrop, Error> {
        let patience = limits::CLAIM_PATIENCE;
        self.maildirs.open_maildrop(mailbox, patience).map(Maildrop)
    }
}

/// A message being received. Dropping it gives it up and removes what was written.
#[derive(Debug)]
pub struct Delivery(maildir::Delivery);

impl Delivery {
    /// The name of the message for trace headers and the log: letters, digits and `_`, never given
    /// twice.
    pub fn name(&self) -> &str {
        self.0.name()
    }

    /// Adds `octets` to the content, lines ended by LF. Each call may be one write: give large
    /// pieces.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`]: drop the delivery and refuse the message for now.
    pub fn append(&mut self, octets: &[u8]) -> Result<(), Error> {
        self.0.append(octets)
    }

    /// Octets taken so far, as they are stored.
    pub fn octets(&self) -> u64 {
        self.0.octets()
    }

    /// Puts the message into the mailboxes of `recipients`, made where they are missing; one that
    /// is named twice gets it once. Without recipients the delivery is given up.
    ///
    /// `Ok` says that the message survives a power cut in every one of them.
    ///
    /// # Errors
    /// [`Error::NameTooLong`], [`Error::Full`], [`Error::Io`] or [`Error::Unsafe`]: refuse the
    /// message; what was put into a mailbox is taken back.
    pub fn commit(self, recipients: &[MailboxName]) -> Result<(), Error> {
        self.0.commit(recipients)
    }
}

/// The messages of one mailbox, fixed for one session. Dropping it ends the exclusive access.
#[derive(Debug)]
pub struct Maildrop(maildir::Maildrop);

impl Maildrop {
    /// The messages in the order of their arrival.
    pub fn messages(&self) -> Arc<dyn Summaries> {
        self.0.view.messages()
    }

    /// Opens the message at `index` of [`messages`](Self::messages).
    ///
    /// # Errors
    /// [`Error::MessageGone`] when another program removed it, or there is no such index: say so.
    /// [`Error::Unsafe`] or [`Error::Io`]: it cannot be read for now.
    pub fn open_message(&self, index: usize) -> Result<Message, Error> {
        self.0.view.open_message(index).map(Message)
    }

    /// Removes the messages at `indexes` of [`messages`](Self::messages); one that is already gone
    /// counts as removed. `Ok` says that they never come back, not even after a power cut.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Full`]: some may be removed, but tell the client that it failed
    /// (RFC 1939 §6). They are listed in the next session if they are still there.
    pub fn remove(&self, indexes: &[usize]) -> Result<(), Error> {
        self.0.remove(indexes)
    }
}

/// The messages of one mailbox as they were at one moment. Nobody is kept from anything by it.
#[derive(Debug)]
pub struct Look(maildir::Look);

impl Look {
    /// The messages in the order of their arrival.
    pub fn messages(&self) -> Arc<dyn Summaries> {
        self.0.view.messages()
    }

    /// Opens the message at `index` of [`messages`](Self::messages).
    ///
    /// # Errors
    /// As [`Maildrop::open_message`].
    pub fn open_message(&self, index: usize) -> Result<Message, Error> {
        self.0.view.open_message(index).map(Message)
    }
}

/// A message open for reading. It stays readable when somebody removes it.
#[derive(Debug)]
pub struct Message(maildir::Message);

impl Message {
    /// The octets that RETR sends, before dot-stuffing, when that is not what the listing says:
    /// another program has edited the message.
    pub fn edited_octets(&self) -> Option<u64> {
        self.0.edited_octets()
    }

    /// Reads the next octets as they are stored, lines ended by LF unless another program delivered
    /// them otherwise; 0 at the end.
    ///
    /// # Errors
    /// [`Error::Io`]: the rest cannot be read.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.0.read(buffer)
    }
}
