//! A maildrop: the messages of one mailbox as they were when its session began.
//!
//! Exclusive while it lives (RFC 1939 §4). It reads files and, asked by [`Maildrop::remove`],
//! unlinks them; it never renames one and never changes a flag. Numbers, marks and what a client is
//! told are the session's business.
//!
//! # Theory of operation
//! Other programs may move a message from `new` to `cur`, change its flags or remove it at any
//! moment. So a message that is not where it was is looked for by the part of its name that never
//! changes, and only if the directories do not have it is it gone.
//!
//! The listing of an earlier session is used again when nothing changed since (`index.rs`).
//!
//! # Invariants
//! - The listing does not change while the maildrop lives, whatever is delivered or removed.
//! - Everything listed is whole and durable (I4), and nothing is removed but by `remove` (I3).
//! - When `remove` is `Ok` the messages stay removed, also after a power cut (I2).
//!
//! # Failures
//! A failed `remove` may have removed some of the messages; none of them comes back but by a power
//! cut, and the caller must not say that they are removed.
//!
//! # Known limits
//! When another program gives a message a second name after the listing was made, and keeps both,
//! only the listed one is removed. A disk that fails to save a rename of another program may show
//! the old name again after a power cut, although the message was removed under the new one.

use std::{collections::HashSet, io, path::PathBuf, sync::Arc};

use crate::mail::{MailboxName, Summaries};

use super::{
    error::Error,
    fs::File,
    index::{Remembered, Sight},
    journal::{self, Apply, Journal, Ticket},
    limits::{FIND_ATTEMPTS_MAX, REMOVAL_MESSAGES_MAX},
    listing::{Found, Listed, Listing, Place},
    mailboxes::Presence,
    maildir::{Maildir, Side},
    name::Identity,
    shared::{Claim, Shared},
};

/// The messages of one mailbox, fixed for one session. Dropping it ends the exclusive access.
#[derive(Debug)]
pub struct Maildrop {
    claim: Claim,
    maildir: Maildir,
    listing: Arc<Listing>,
    /// The memory of the listing.
    _listed: Listed,
}

/// A message open for reading. It stays readable when somebody removes it.
#[derive(Debug)]
pub struct Message {
    path: PathBuf,
    file: Box<dyn File>,
}

/// The directories out of which a removed message could come back.
#[derive(Debug, Default)]
struct Touched {
    cur: bool,
    new: bool,
}

impl Touched {
    fn mark(&mut self, side: Side) {
        match side {
            // Whoever moved the message here need not have made it durable that it left `new`.
            Side::Cur => (self.cur, self.new) = (true, true),
            Side::New => self.new = true,
        }
    }

    fn sides(&self) -> impl Iterator<Item = Side> {
        [(self.new, Side::New), (self.cur, Side::Cur)]
            .into_iter()
            .filter_map(|(is_touched, side)| is_touched.then_some(side))
    }
}

impl Maildrop {
    /// Opens the maildrop of `mailbox`.
    pub(super) fn open(shared: &Arc<Shared>, mailbox: &MailboxName) -> Result<Self, Error> {
        let maildir = shared.maildir(mailbox)?;
        // What still cannot be put into its mailbox comes to a later session; until then at least
        // messages can be removed, which may be what makes room for it.
        shared.retry_kept().unwrap_or_default();
        // As does what waits for this mailbox alone.
        shared.cure(mailbox).unwrap_or_default();
        let claim = Claim::take(shared, mailbox)?;
        let mut listed = Listed::nothing(&shared.listed);
        let listing = match shared.meet_mailbox(mailbox, &maildir)? {
            Presence::Missing => Arc::default(),
            Presence::Present => list(&claim, &maildir, &mut listed)?,
        };
        Ok(Self {
            claim,
            maildir,
            listing,
            _listed: listed,
        })
    }

    /// The messages in the order of their arrival.
    pub fn messages(&self) -> Arc<dyn Summaries> {
        self.listing.clone()
    }

    /// Opens the message at `index` of [`messages`](Self::messages).
    ///
    /// # Errors
    /// [`Error::MessageGone`] when another program removed it, or there is no such index: say so.
    /// [`Error::Unsafe`] or [`Error::Io`]: it cannot be read for now.
    pub fn open_message(&self, index: usize) -> Result<Message, Error> {
        let gone = || Error::MessageGone {
            path: self.maildir.path.clone(),
        };
        let message = self.listing.get(index).ok_or_else(gone)?;
        for place in message.places() {
            if let Some(message) = self.open_at(place)? {
                return Ok(message);
            }
        }
        for _ in 0..FIND_ATTEMPTS_MAX {
            let found = self.find_again(&[message])?;
            for place in found.iter().flat_map(|found| found.places()) {
                if let Some(message) = self.open_at(place)? {
                    return Ok(message);
                }
            }
            if found.is_empty() {
                break;
            }
        }
        Err(Error::MessageGone {
            path: self.maildir.file(message.place()),
        })
    }

    /// Opens the file at `place`; `None` when it is not there.
    fn open_at(&self, place: Place<'_>) -> Result<Option<Message>, Error> {
        let path = self.maildir.file(place);
        match self.shared().fs.open(&path) {
            Ok(file) => Ok(Some(Message { path, file })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(Error::Unsafe {
                path,
                reason: "is not a regular file any more",
            }),
            Err(error) => Err(Error::io("open", &path)(error)),
        }
    }

    /// Removes the messages at `indexes` of [`messages`](Self::messages); one that is already gone
    /// counts as removed. `Ok` says that they never come back, not even after a power cut.
    ///
    /// # Errors
    /// [`Error::Io`] or [`Error::Full`]: some may be removed, but tell the client that it failed
    /// (RFC 1939 §6). They are listed in the next session if they are still there.
    pub fn remove(&self, indexes: &[usize]) -> Result<(), Error> {
        if indexes.is_empty() {
            return Ok(());
        }
        // It will not hold any more, whatever becomes of this; and nobody can enter another while
        // this maildrop is open.
        drop(self.shared().take_listing(self.claim.mailbox()));
        let counters = self.counters(indexes);
        if !counters.is_empty() {
            // Before they are gone: a checkpoint that misses them shall know why.
            self.shared()
                .touched
                .note_removal(self.claim.mailbox(), &counters);
        }
        let mark = self.shared().sync_mark();
        let mut touched = Touched::default();
        let mut missing = Vec::new();
        let messages = &*self.listing;
        for message in indexes.iter().filter_map(|&index| messages.get(index)) {
            let mut is_removed = false;
            for place in message.places() {
                is_removed |= self.unlink(place)?;
                touched.mark(place.side);
            }
            if !is_removed {
                missing.push(message);
            }
        }
        if !missing.is_empty() {
            self.remove_moved(&missing)?;
            // Whoever moved or removed them need not have made that durable.
            touched = Touched {
                cur: true,
                new: true,
            };
        }
        #[cfg(test)]
        if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::ClaimsEndBeforeRemovals) {
            self.claim.give_back();
        }
        for side in touched.sides() {
            let directory = self.maildir.side(side);
            match self.shared().sync_directory(&directory) {
                // A mailbox that somebody removed as a whole has no messages that could come back.
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        self.shared().check_syncs(mark)?;
        let messages = indexes.iter().filter_map(|&index| messages.get(index));
        let bases: HashSet<&[u8]> = messages.map(|message| message.base()).collect();
        self.shared()
            .remove_waiting(self.claim.mailbox(), &self.maildir, &bases)?;
        self.note_removal(&counters)
    }

    /// Those of the messages at `indexes` that the journal may have, by their counters.
    fn counters(&self, indexes: &[usize]) -> Vec<u64> {
        let shared = self.shared();
        let journal = shared.journal.as_ref();
        if !journal.is_some_and(Journal::would_be_replayed) {
            return Vec::new();
        }
        let messages = indexes.iter().filter_map(|&index| self.listing.get(index));
        let serials = messages.filter_map(|message| {
            let serial = message.identity().serial()?;
            // The journal has only what this life of the daemon took.
            (serial.nonce == shared.nonce).then_some(serial.counter)
        });
        serials.collect()
    }

    /// Says in the journal that messages are removed: without it a crash would bring back those
    /// whose delivery is still there to be replayed.
    fn note_removal(&self, counters: &[u64]) -> Result<(), Error> {
        #[cfg(test)]
        if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::RemovalsAreNotJournaled) {
            return Ok(());
        }
        let shared = self.shared();
        let journal = shared.journal.as_ref();
        let Some(journal) = journal.filter(|journal| journal.would_be_replayed()) else {
            return Ok(());
        };
        let mailbox = self.claim.mailbox();
        let tickets = counters.chunks(REMOVAL_MESSAGES_MAX).map(|counters| {
            let push =
                |batch: &mut Vec<u8>| journal::push_removal(batch, mailbox, shared.nonce, counters);
            let octets = journal::removal_octets(mailbox, counters.len());
            journal.submit(octets, Apply::Done, push, shared)
        });
        let tickets: Vec<Ticket> = tickets.collect::<Result<_, _>>()?;
        for ticket in &tickets {
            journal.wait(ticket, shared)?;
        }
        Ok(())
    }

    /// Removes messages that were not where they were listed.
    fn remove_moved(&self, missing: &[Found<'_>]) -> Result<(), Error> {
        for _ in 0..FIND_ATTEMPTS_MAX {
            let mut is_settled = true;
            for message in self.find_again(missing)?.iter() {
                for place in message.places() {
                    // Not there: it was renamed once more in this moment.
                    is_settled &= self.unlink(place)?;
                }
            }
            if is_settled {
                return Ok(());
            }
        }
        let reason = "another program keeps renaming the messages";
        Err(Error::io("remove messages of", &self.maildir.path)(
            io::Error::other(reason),
        ))
    }

    /// Unlinks the file at `place`; whether it was there.
    fn unlink(&self, place: Place<'_>) -> Result<bool, Error> {
        let path = self.maildir.file(place);
        match self.shared().fs.unlink(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(Error::io("remove", &path)(error)),
        }
    }

    /// Where those of `messages` that still exist are now.
    fn find_again(&self, messages: &[Found<'_>]) -> Result<Listing, Error> {
        let wanted: HashSet<Identity<'_>> = messages.iter().map(Found::identity).collect();
        let mut listed = Listed::nothing(&self.shared().listed);
        let mut found = self.maildir.list(&*self.shared().fs, &mut listed)?;
        found.retain(|identity| wanted.contains(&identity));
        Ok(found)
    }

    fn shared(&self) -> &Shared {
        self.claim.shared()
    }
}

/// The messages of the mailbox of `claim`, which has been met: as remembered if that still holds,
/// else as they are on disk.
fn list(claim: &Claim, maildir: &Maildir, listed: &mut Listed) -> Result<Arc<Listing>, Error> {
    let (shared, mailbox) = (claim.shared(), claim.mailbox());
    let remembered = shared.take_listing(mailbox);
    // Before the directories are read: what changes while they are read has to show.
    let sight = shared
        .trusts_times()
        .then(|| Sight::of(maildir, &*shared.fs, &shared.clock))
        .flatten();
    if let (Some(remembered), Some(sight)) = (remembered, &sight)
        && let Some(listing) = remembered.still_holds(sight)
    {
        shared.enter_listing(mailbox, remembered);
        if !listed.covers(&listing) {
            let path = maildir.path.clone();
            return Err(Error::ListingTooLarge { path });
        }
        return Ok(listing);
    }
    let mut listing = maildir.list(&*shared.fs, listed)?;
    let n_found = listing.len();
    // Asked after the directories were read: what was read before it was durable and has been
    // withdrawn since is still hidden.
    listing.retain(shared.visibility());
    let is_counted = maildir.count_sizes(&*shared.fs, &mut listing)?;
    let is_whole = listing.len() == n_found;
    let listing = Arc::new(listing);
    if is_whole
        && !is_counted
        && let Some(remembered) = sight.and_then(|sight| Remembered::new(&listing, sight))
    {
        shared.enter_listing(mailbox, remembered);
    }
    Ok(listing)
}

impl Message {
    /// Reads the next octets as they are stored, lines ended by LF unless another program delivered
    /// them otherwise; 0 at the end.
    ///
    /// # Errors
    /// [`Error::Io`]: the rest cannot be read.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.file
            .read(buffer)
            .map_err(Error::io("read", &self.path))
    }
}
