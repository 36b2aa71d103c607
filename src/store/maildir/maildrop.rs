//! A maildrop: the messages of one mailbox as they were when its session began.
//!
//! Exclusive while it lives (RFC 1939 §4). It reads files and, asked by [`Maildrop::remove`],
//! unlinks them; it never renames one and never changes a flag. Numbers, marks and what a client is
//! told are the session's business.
//!
//! # Theory of operation
//! Other programs may move a message from `new` to `cur`, change its flags or remove it at any
//! moment. So a message that is not where it was is looked for by the part of its name that never
//! changes, and it is gone only when the directories are known not to have it (`reading.rs`): for
//! a reader, for whoever counts its size, and for who removes it.
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
//! cut, and the caller must not say that they are removed. While another program renames messages
//! faster than they can be listed or found, all three say so: ask again later.
//!
//! # Known limits
//! When another program gives a message a second name after the listing was made, and keeps both,
//! only the listed one is removed. A disk that fails to save a rename of another program may show
//! the old name again after a power cut, although the message was removed under the new one. When
//! another program edits a message in its place the listing has the size that the name says;
//! whoever opens the message is told the right one, if the file has another length.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use crate::{
    fs::File,
    mail::{MailboxName, Summaries},
    store::{
        Error,
        limits::{FIND_ATTEMPTS_MAX, REMOVAL_MESSAGES_MAX},
    },
};

use super::{
    apply, aside,
    claim::Claim,
    cure,
    disk::Disk,
    index::{Remembered, Sight},
    journal::{self, Apply, Journal, Ticket},
    layout::{Counted, Maildir, Moved},
    listing::{Listed, Listing, Place, Side},
    mailboxes::{self, Presence},
    name::{self, Identity},
    open::OpenStore,
    reading::{self, Readings, keeps_changing},
};

/// The messages of one mailbox, fixed for one session.
#[derive(Debug)]
pub(in crate::store) struct Maildrop {
    claim: Claim,
    maildir: Maildir,
    listing: Arc<Listing>,
    /// The memory of the listing.
    _listed: Listed,
}

/// A message open for reading.
#[derive(Debug)]
pub(in crate::store) struct Message {
    path: PathBuf,
    file: Box<dyn File>,
    octets: Option<u64>,
}

impl Maildrop {
    /// Opens the maildrop of `mailbox`; waits for another session that has it for `patience` at
    /// most.
    pub(super) fn open(
        store: &Arc<OpenStore>,
        mailbox: &MailboxName,
        patience: Duration,
    ) -> Result<Self, Error> {
        let maildir = store.disk.maildir(mailbox)?;
        // A directory that was removed has no messages.
        store.place.standing(&store.disk)?;
        // What still cannot be put into its mailbox comes to a later session; until then at least
        // messages can be removed, which may be what makes room for it.
        apply::retry_kept(store).unwrap_or_default();
        // As does what waits for this mailbox alone.
        cure::cure(store, mailbox).unwrap_or_default();
        let claim = Claim::take(store, mailbox, patience)?;
        let mut listed = Listed::nothing(&store.listed);
        let listing = match mailboxes::meet_mailbox(store, mailbox, &maildir)? {
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

    pub(in crate::store) fn messages(&self) -> Arc<dyn Summaries> {
        self.listing.clone()
    }

    pub(in crate::store) fn open_message(&self, index: usize) -> Result<Message, Error> {
        let gone = || Error::MessageGone {
            path: self.maildir.path.clone(),
        };
        let message = self.listing.get(index).ok_or_else(gone)?;
        for place in message.places() {
            if let Some(message) = self.open_at(place)? {
                return Ok(message);
            }
        }
        let wanted = HashSet::from([message.identity()]);
        for _ in 0..FIND_ATTEMPTS_MAX {
            let found = self.find(&wanted)?;
            for moved in &found {
                if let Some(message) = self.open_at(moved.place())? {
                    return Ok(message);
                }
            }
            if found.is_empty() {
                return Err(Error::MessageGone {
                    path: self.maildir.file(message.place()),
                });
            }
        }
        Err(keeps_changing(&self.maildir))
    }

    /// Opens the file at `place`; `None` when it is not there.
    fn open_at(&self, place: Place<'_>) -> Result<Option<Message>, Error> {
        let path = self.maildir.file(place);
        match self.store().disk.fs.open(&path) {
            Ok(file) => {
                let octets = self.true_octets(place, &*file)?;
                Ok(Some(Message { path, file, octets }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Err(Error::Unsafe {
                path,
                reason: "is not a regular file any more",
                instead: None,
            }),
            Err(error) => Err(Error::io("open", &path)(error)),
        }
    }

    /// What RETR sends of the open file at `place` if its name says something else, because another
    /// program has edited it: then it is not as long as the name says.
    fn true_octets(&self, place: Place<'_>, file: &dyn File) -> Result<Option<u64>, Error> {
        let told = name::stored_octets(place.file_name.as_bytes());
        let is_edited = told.zip(file.octets_when_opened());
        if is_edited.is_none_or(|(told, octets)| told == octets) {
            return Ok(None);
        }
        Ok(match self.maildir.count(&*self.store().disk.fs, place)? {
            Counted::Octets(octets) => Some(octets),
            Counted::Gone | Counted::Unavailable => None,
        })
    }

    pub(in crate::store) fn remove(&self, indexes: &[usize]) -> Result<(), Error> {
        if indexes.is_empty() {
            return Ok(());
        }
        // It will not hold any more, whatever becomes of this; and nobody can enter another while
        // this maildrop is open.
        drop(self.store().visibility.take_listing(self.claim.mailbox()));
        let counters = self.counters(indexes);
        if !counters.is_empty() {
            // Before they are gone: who writes them anew shall not put them back.
            let touched = &self.store().touched;
            touched.announce_removal(self.claim.mailbox(), &counters);
        }
        #[cfg(test)]
        if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::AnnouncedRemovalsAreDurable)
        {
            let touched = &self.store().touched;
            touched.note_removal(self.claim.mailbox(), &counters);
        }
        let mark = self.store().disk.sync_mark();
        let mut missing = HashSet::new();
        let messages = &*self.listing;
        for message in indexes.iter().filter_map(|&index| messages.get(index)) {
            // One of several names that is not there may have been renamed, too.
            let mut is_removed = true;
            for place in message.places() {
                is_removed &= self.unlink(place)?;
            }
            if is_removed {
                self.note_unlinked(message.identity());
            } else {
                missing.insert(message.identity());
            }
        }
        if !missing.is_empty() {
            let noted = |moved: Identity<'_>| self.note_unlinked(moved);
            reading::remove_moved(&self.store().disk, &self.maildir, missing, noted)?;
        }
        #[cfg(test)]
        if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::ClaimsEndBeforeRemovals) {
            self.claim.give_back();
        }
        // Both, wherever they were: another program may have moved them from `new` to `cur`, or
        // back, and need not have made durable that they left the one.
        for side in [Side::Cur, Side::New] {
            let directory = self.maildir.side(side);
            match self.store().disk.sync_directory(&directory) {
                // A mailbox that somebody removed as a whole has no messages that could come back.
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        self.store().disk.check_syncs(mark)?;
        let messages = indexes.iter().filter_map(|&index| messages.get(index));
        let removed: HashSet<Identity<'_>> = messages.map(|it| it.identity()).collect();
        aside::remove_waiting(self.store(), self.claim.mailbox(), &self.maildir, &removed)?;
        self.note_removal(&counters)
    }

    /// Those of the messages at `indexes` that the journal may have, by their counters.
    fn counters(&self, indexes: &[usize]) -> Vec<u64> {
        let store = self.store();
        let journal = store.journal.as_ref();
        if !journal.is_some_and(Journal::would_be_replayed) {
            return Vec::new();
        }
        let messages = indexes.iter().filter_map(|&index| self.listing.get(index));
        let counters = messages.filter_map(|message| self.counter(message.identity()));
        counters.collect()
    }

    /// That of a message of this life of the daemon: the journal has no other.
    fn counter(&self, message: Identity<'_>) -> Option<u64> {
        let serial = message.serial()?;
        (serial.nonce == self.store().nonce).then_some(serial.counter)
    }

    /// Tells a checkpoint that misses the message why: it has been unlinked, and that is made
    /// durable.
    fn note_unlinked(&self, message: Identity<'_>) {
        if self.store().journal.is_some()
            && let Some(counter) = self.counter(message)
        {
            let touched = &self.store().touched;
            touched.note_removal(self.claim.mailbox(), &[counter]);
        }
    }

    /// Says in the journal that messages are removed: without it a crash would bring back those
    /// whose delivery is still there to be replayed.
    fn note_removal(&self, counters: &[u64]) -> Result<(), Error> {
        #[cfg(test)]
        if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::RemovalsAreNotJournaled) {
            return Ok(());
        }
        let store = self.store();
        store.place.check_place(&store.disk)?;
        let journal = store.journal.as_ref();
        let Some(journal) = journal.filter(|journal| journal.would_be_replayed()) else {
            return Ok(());
        };
        let mailbox = self.claim.mailbox();
        let tickets = counters.chunks(REMOVAL_MESSAGES_MAX).map(|counters| {
            let push =
                |batch: &mut Vec<u8>| journal::push_removal(batch, mailbox, store.nonce, counters);
            let octets = journal::removal_octets(mailbox, counters.len());
            journal.submit(octets, Apply::Done, push, store)
        });
        let tickets: Vec<Ticket> = tickets.collect::<Result<_, _>>()?;
        for ticket in &tickets {
            journal.wait(ticket, store)?;
        }
        Ok(())
    }

    /// Unlinks the file at `place`; whether it was there.
    fn unlink(&self, place: Place<'_>) -> Result<bool, Error> {
        self.store().disk.unlink(&self.maildir.file(place))
    }

    /// Where some of the `wanted` messages are now; none when all of them are gone.
    fn find(&self, wanted: &HashSet<Identity<'_>>) -> Result<Vec<Moved>, Error> {
        Readings::of(&self.store().disk, &self.maildir).find(wanted)
    }

    fn store(&self) -> &OpenStore {
        self.claim.store()
    }
}

/// The messages of the mailbox of `claim`, which has been met: as remembered if that still holds,
/// else as they are on disk.
fn list(claim: &Claim, maildir: &Maildir, listed: &mut Listed) -> Result<Arc<Listing>, Error> {
    let (store, mailbox) = (claim.store(), claim.mailbox());
    let remembered = store.visibility.take_listing(mailbox);
    // Before the directories are read: what changes while they are read has to show.
    let sight = Sight::of(maildir, &*store.disk.fs, &store.disk.clock);
    if let Some(sight) = &sight
        && store
            .known
            .forget_replaced(mailbox, &sight.stamp(Side::New))
    {
        mailboxes::meet_mailbox(store, mailbox, maildir)?;
    }
    if let (Some(remembered), Some(sight)) = (remembered, &sight)
        && let Some(listing) = remembered.still_holds(sight)
    {
        store.visibility.enter_listing(mailbox, remembered);
        if !listed.covers(&listing) {
            let path = maildir.path.clone();
            return Err(Error::ListingTooLarge { path });
        }
        return Ok(listing);
    }
    let read = Readings::from(&store.disk, maildir, sight).list(listed)?;
    let (mut listing, sight) = (read.listing, read.sight);
    let n_found = listing.len();
    // Asked after the directories were read: what was read before it was durable and has been
    // withdrawn since is still hidden.
    listing.retain(store.visibility.filter());
    let is_counted = count_sizes(&store.disk, maildir, &mut listing)?;
    let is_whole = listing.len() == n_found;
    let listing = Arc::new(listing);
    if is_whole
        && !is_counted
        && let Some(remembered) = sight.and_then(|sight| Remembered::new(&listing, sight))
    {
        store.visibility.enter_listing(mailbox, remembered);
    }
    Ok(listing)
}

/// Counts the sizes that are not told by names, and leaves out messages that are gone or may not be
/// read; says whether any size had to be counted.
///
/// # Errors
/// What the file system says otherwise, and when another program renames messages too fast.
pub(super) fn count_sizes(
    disk: &Disk,
    maildir: &Maildir,
    listing: &mut Listing,
) -> Result<bool, Error> {
    let uncounted = listing.uncounted();
    let is_counted = !uncounted.is_empty();
    let (mut left_out, mut missing) = (BTreeSet::new(), BTreeSet::new());
    for position in uncounted {
        let Some(message) = listing.get(position) else {
            continue;
        };
        let mut counted = Counted::Gone;
        for place in message.places() {
            if counted == Counted::Gone {
                counted = maildir.count(&*disk.fs, place)?;
            }
        }
        match counted {
            Counted::Octets(octets) => listing.set_octets(position, octets),
            Counted::Unavailable => drop(left_out.insert(position)),
            Counted::Gone => drop(missing.insert(position)),
        }
    }
    #[cfg(test)]
    if crate::testing::bugs::is_planted(crate::testing::bugs::Bug::SkippedEntriesAreGone) {
        left_out.append(&mut missing);
    }
    for _ in 0..FIND_ATTEMPTS_MAX {
        if missing.is_empty() {
            break;
        }
        let counted = count_moved(disk, maildir, listing, &missing)?;
        if counted.is_empty() {
            // They are gone.
            left_out.append(&mut missing);
        }
        for (position, counted) in counted {
            match counted {
                Counted::Octets(octets) => listing.set_octets(position, octets),
                Counted::Unavailable => drop(left_out.insert(position)),
                // Renamed once more in this moment.
                Counted::Gone => continue,
            }
            missing.remove(&position);
        }
    }
    if !missing.is_empty() {
        return Err(keeps_changing(maildir));
    }
    listing.leave_out(&left_out);
    Ok(is_counted)
}

/// Looks for the messages at the positions in `missing`, and counts what is found; nothing when
/// all of them are gone.
fn count_moved(
    disk: &Disk,
    maildir: &Maildir,
    listing: &Listing,
    missing: &BTreeSet<usize>,
) -> Result<Vec<(usize, Counted)>, Error> {
    let positions = missing.iter().filter_map(|&position| {
        let identity = listing.get(position)?.identity();
        Some((identity, position))
    });
    let positions: HashMap<Identity<'_>, usize> = positions.collect();
    let wanted = positions.keys().copied().collect();
    let mut counted = Vec::new();
    for moved in &Readings::of(disk, maildir).find(&wanted)? {
        if let Some(&position) = positions.get(&moved.identity()) {
            counted.push((position, maildir.count(&*disk.fs, moved.place())?));
        }
    }
    Ok(counted)
}

impl Message {
    pub(in crate::store) fn edited_octets(&self) -> Option<u64> {
        self.octets
    }

    pub(in crate::store) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        self.file
            .read(buffer)
            .map_err(Error::io("read", &self.path))
    }
}
