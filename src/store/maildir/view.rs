//! A snapshot of the messages of one mailbox, each of which can be opened for reading.
//!
//! A POP3 session and a reader without a session (a [`Look`]) can have views of the same mailbox at
//! the same time.
//!
//! # Theory of operation
//! Other programs may move a message from `new` to `cur`, change its flags or remove it at any
//! moment. So a message that is not where it was listed is searched for by the part of its name
//! that never changes. It is gone only when the directories are known not to contain it
//! (`reading.rs`).
//!
//! The listing of an earlier reader is reused if nothing has changed since (`index.rs`). If
//! something has changed, the sizes that were counted then are used again, and only the others are
//! counted.
//!
//! # Invariants
//! - The listing does not change while the view lives, whatever is delivered or removed.
//! - Everything listed is whole and durable (I4). A message whose delivery failed stays hidden as
//!   long as any reader could have seen it.
//!
//! # Failures
//! If another program renames messages faster than they can be listed or found, the error says so.
//! The caller should try again later.
//!
//! # Known limits
//! If another program edits a message in place, the listing still has the size from its name, or
//! the one that was counted before. Opening the message gives the true size if the length of the
//! file has changed.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    io,
    os::unix::ffi::OsStrExt as _,
    path::PathBuf,
    sync::Arc,
};

use crate::{
    fs::File,
    mail::{EntryId, MailboxName, Summaries},
    store::{
        Error,
        limits::FIND_ATTEMPTS_MAX,
        name::{self, Identity},
        quota::Quota,
    },
};
#[cfg(feature = "postgres")]
use crate::{fs::Kind, store::label::Label};

use super::{
    apply,
    claim::Reader,
    cure,
    disk::Disk,
    index::{Access, Remembered, Sight},
    layout::{Counted, Counting, Maildir, Moved},
    listing::{Found, Listed, Listing, Place, Side},
    mailboxes::{self, Presence, Target},
    open::OpenStore,
    reading::{Readings, keeps_changing},
    times,
};

/// The messages of one mailbox.
#[derive(Debug)]
pub(in crate::store) struct View {
    pub(super) store: Arc<OpenStore>,
    mailbox: MailboxName,
    pub(super) maildir: Maildir,
    pub(super) listing: Arc<Listing>,
    /// The listing's share of the memory for listings.
    _listed: Listed,
}

/// A message open for reading.
#[derive(Debug)]
pub(in crate::store) struct Message {
    path: PathBuf,
    file: Box<dyn File>,
    octets: Option<u64>,
}

/// Retries what could not be put into the mailbox earlier. Call this before reading it.
pub(super) fn prepare(store: &OpenStore, mailbox: &MailboxName) -> Result<(), Error> {
    // A directory that was removed has no messages.
    store.place.standing(&store.disk)?;
    // Mail that still cannot be put into its mailbox appears in a later session. Until then
    // messages can at least be removed, which may make room for it.
    apply::retry_kept(store).unwrap_or_default();
    // The same is true of mail that waits only for this mailbox.
    cure::cure(store, mailbox).unwrap_or_default();
    Ok(())
}

impl View {
    /// The messages of the mailbox of `target`. The memory for their listing counts against
    /// `quota`.
    ///
    /// # Errors
    /// [`Error::ListingTooLarge`], or any error of the file system.
    pub(super) fn of(
        store: &Arc<OpenStore>,
        target: Target<'_>,
        access: Access,
        quota: &Arc<Quota>,
    ) -> Result<Self, Error> {
        let mut listed = Listed::nothing(quota);
        let listing = match mailboxes::meet_mailbox(store, &target)? {
            Presence::Missing => Arc::default(),
            Presence::Present => list(store, &target, access, &mut listed)?,
        };
        Ok(Self {
            store: Arc::clone(store),
            mailbox: target.mailbox.clone(),
            maildir: target.maildir,
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
            if let Some(message) = self.open_at(message, place)? {
                return Ok(message);
            }
        }
        let wanted = HashSet::from([message.identity()]);
        for _ in 0..FIND_ATTEMPTS_MAX {
            let found = self.find(&wanted)?;
            for moved in &found {
                if let Some(message) = self.open_at(message, moved.place())? {
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

    /// When the message at `index` came, in seconds since 1970: what its name says if it is our
    /// own, or else when its file was last changed.
    fn arrived_secs(&self, index: usize) -> Result<u64, Error> {
        let gone = || Error::MessageGone {
            path: self.maildir.path.clone(),
        };
        let message = self.listing.get(index).ok_or_else(gone)?;
        if let Some(secs) = message.identity().delivered_secs() {
            return Ok(secs);
        }
        let disk = &self.store.disk;
        for place in message.places() {
            if let Some(stamp) = times::stamp_at(&*disk.fs, &self.maildir.file(place))? {
                return Ok(whole_seconds(stamp.modified));
            }
        }
        let wanted = HashSet::from([message.identity()]);
        for moved in self.find(&wanted)? {
            let path = self.maildir.file(moved.place());
            if let Some(stamp) = times::stamp_at(&*disk.fs, &path)? {
                return Ok(whole_seconds(stamp.modified));
            }
        }
        Err(gone())
    }

    /// Opens the file of `message` at `place`; `None` when it is not there.
    fn open_at(&self, message: Found<'_>, place: Place<'_>) -> Result<Option<Message>, Error> {
        let path = self.maildir.file(place);
        match self.store.disk.fs.open(&path) {
            Ok(file) => {
                let octets = self.true_octets(message, place, &*file)?;
                Ok(Some(Message { path, file, octets }))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(Error::not_safe(path, "is not a regular file any more"))
            }
            Err(error) => Err(Error::io("open", &path)(error)),
        }
    }

    /// The octets that RETR sends of the open file of `message` at `place`, if another program has
    /// edited it: the file then has another length than was counted, or than its name says.
    fn true_octets(
        &self,
        message: Found<'_>,
        place: Place<'_>,
        file: &dyn File,
    ) -> Result<Option<u64>, Error> {
        let counted = message.counted().map(|size| size.stored_octets);
        let known = counted.or_else(|| name::stored_octets(place.file_name.as_bytes()));
        let lengths = known.zip(file.octets_when_opened());
        if lengths.is_none_or(|(known, octets)| known == octets) {
            return Ok(None);
        }
        if counted.is_some() {
            // So that it is counted again for the next listing.
            self.store.visibility.forget_sizes(&self.mailbox);
        }
        let disk = &self.store.disk;
        let counting = &mut Counting::new(&disk.clock);
        Ok(match self.maildir.count(&*disk.fs, place, counting)? {
            Counted::Size(size) => Some(size.sent_octets),
            Counted::Gone | Counted::Unavailable => None,
        })
    }

    /// Where some of the `wanted` messages are now; empty when all of them are gone.
    pub(super) fn find(&self, wanted: &HashSet<Identity<'_>>) -> Result<Vec<Moved>, Error> {
        Readings::of(&self.store.disk, &self.maildir).find(wanted)
    }
}

/// A time in nanoseconds since 1970 as whole seconds; zero if it is earlier.
fn whole_seconds(nanoseconds: i128) -> u64 {
    const NANOS_OF_SECOND: i128 = 1_000_000_000;
    u64::try_from(nanoseconds.div_euclid(NANOS_OF_SECOND)).unwrap_or(0)
}

/// The messages of the mailbox, which has been met: the remembered listing if it is still valid, or
/// else a new one from disk.
fn list(
    store: &OpenStore,
    target: &Target<'_>,
    access: Access,
    listed: &mut Listed,
) -> Result<Arc<Listing>, Error> {
    let (mailbox, maildir) = (target.mailbox, &target.maildir);
    let (remembered, mark) = store.visibility.recall(mailbox);
    // Before the directories are read, so that changes made during the reading show.
    let sight = Sight::of(maildir, &*store.disk.fs, &store.disk.clock);
    if let Some(sight) = &sight
        && store
            .known
            .forget_replaced(mailbox, &sight.stamp(Side::New))
    {
        mailboxes::meet_mailbox(store, target)?;
    }
    if let (Some(remembered), Some(sight)) = (&remembered, &sight)
        && let Some(listing) = remembered.still_holds(sight)
    {
        store.visibility.use_listing(mailbox, access);
        return covered(listing, maildir, listed);
    }
    if remembered.is_some() {
        store.visibility.outdate_listing(mailbox);
    }
    let (mut listing, sight) = Readings::from(&store.disk, maildir, sight).list(listed)?;
    let n_found = listing.len();
    // Called after the directories were read. A message that was read before it was durable, and
    // has been withdrawn since, is still hidden then.
    listing.retain(store.visibility.filter());
    let earlier = remembered.as_ref().map(Remembered::earlier);
    let is_final = count_sizes(&store.disk, maildir, &mut listing, earlier)?;
    let is_whole = is_final && listing.len() == n_found;
    let listing = Arc::new(listing);
    let remembered = Remembered::new(&listing, sight.filter(|_| is_whole));
    store
        .visibility
        .enter_listing(mailbox, remembered, access, mark);
    Ok(listing)
}

/// The remembered listing, if the quota has room for it.
fn covered(
    listing: Arc<Listing>,
    maildir: &Maildir,
    listed: &mut Listed,
) -> Result<Arc<Listing>, Error> {
    if !listed.covers(&listing) {
        let path = maildir.path.clone();
        return Err(Error::ListingTooLarge { path });
    }
    Ok(listing)
}

/// Counts the sizes that are missing from names, except those that `earlier` already has, and
/// leaves out messages that are gone or cannot be read. Returns whether all sizes are final.
///
/// # Errors
/// Any other error of the file system; also when another program renames messages too fast.
pub(super) fn count_sizes(
    disk: &Disk,
    maildir: &Maildir,
    listing: &mut Listing,
    earlier: Option<&Listing>,
) -> Result<bool, Error> {
    let uncounted = listing.take_sizes(earlier.unwrap_or(&Listing::default()));
    if uncounted.is_empty() {
        return Ok(true);
    }
    let counting = &mut Counting::new(&disk.clock);
    let (mut left_out, mut missing) = (BTreeSet::new(), BTreeSet::new());
    for position in uncounted {
        let Some(message) = listing.get(position) else {
            continue;
        };
        let mut counted = Counted::Gone;
        for place in message.places() {
            if counted == Counted::Gone {
                counted = maildir.count(&*disk.fs, place, counting)?;
            }
        }
        match counted {
            Counted::Size(size) => listing.set_size(position, size),
            Counted::Unavailable => drop(left_out.insert(position)),
            Counted::Gone => drop(missing.insert(position)),
        }
    }
    planted!(SkippedEntriesAreGone, left_out.append(&mut missing));
    for _ in 0..FIND_ATTEMPTS_MAX {
        if missing.is_empty() {
            break;
        }
        let counted = count_moved(disk, maildir, listing, &missing, counting)?;
        if counted.is_empty() {
            // All of them are gone.
            left_out.append(&mut missing);
        }
        for (position, counted) in counted {
            match counted {
                Counted::Size(size) => listing.set_size(position, size),
                Counted::Unavailable => drop(left_out.insert(position)),
                // Renamed again just now.
                Counted::Gone => continue,
            }
            missing.remove(&position);
        }
    }
    if !missing.is_empty() {
        return Err(keeps_changing(maildir));
    }
    listing.leave_out(&left_out);
    Ok(counting.is_final)
}

/// Searches for the messages at the positions in `missing`, and counts those that it finds. Empty
/// when all of them are gone.
fn count_moved(
    disk: &Disk,
    maildir: &Maildir,
    listing: &Listing,
    missing: &BTreeSet<usize>,
    counting: &mut Counting,
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
            let of_moved = maildir.count(&*disk.fs, moved.place(), counting)?;
            counted.push((position, of_moved));
        }
    }
    Ok(counted)
}

/// A view for a reader that has no session.
#[derive(Debug)]
pub(in crate::store) struct Look {
    /// The messages.
    pub(in crate::store) view: View,
    reader: Reader,
}

impl Look {
    /// Opens a view of `mailbox`.
    ///
    /// # Errors
    /// See [`View::of`].
    pub(super) fn of(store: &Arc<OpenStore>, mailbox: &MailboxName) -> Result<Self, Error> {
        let target = Target::of(&store.disk, mailbox)?;
        prepare(store, mailbox)?;
        // Must come before the directories are read.
        let reader = Reader::begin(store, mailbox);
        let view = View::of(store, target, Access::Shared, &store.looked)?;
        Ok(Self { view, reader })
    }

    pub(in crate::store) fn id(&self, index: usize) -> Option<EntryId> {
        let message = self.view.listing.get(index)?;
        Some(message.identity().entry_id(&self.reader.mailbox))
    }

    pub(in crate::store) fn arrived_secs(&self, index: usize) -> Result<u64, Error> {
        self.view.arrived_secs(index)
    }

    /// What the file of a message is called.
    #[cfg(feature = "postgres")]
    pub(in crate::store) fn label(&self, index: usize) -> Result<Label, Error> {
        let arrived_secs = self.view.arrived_secs(index)?;
        let gone = || Error::MessageGone {
            path: self.view.maildir.path.clone(),
        };
        let place = self.view.listing.get(index).ok_or_else(gone)?.place();
        Ok(Label {
            is_seen: place.side == Side::Cur,
            arrived_secs,
            file_name: place.file_name.as_bytes().to_vec(),
        })
    }

    /// How many files are not listed, because they cannot be read or are no messages.
    ///
    /// # Errors
    /// Those of reading the directories.
    #[cfg(feature = "postgres")]
    pub(in crate::store) fn n_unlisted(&self) -> Result<u64, Error> {
        let View {
            store,
            maildir,
            listing,
            ..
        } = &self.view;
        let mut n_files = 0_u64;
        for side in [Side::New, Side::Cur] {
            maildir.visit(&*store.disk.fs, side, &mut |entry| {
                if entry.kind != Kind::Directory {
                    n_files = n_files.saturating_add(1);
                }
            })?;
        }
        let listed = (0..listing.len()).filter_map(|position| listing.get(position));
        let n_listed = listed.map(|found| found.places().count()).sum::<usize>();
        Ok(n_files.saturating_sub(u64::try_from(n_listed).unwrap_or(u64::MAX)))
    }
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

    pub(in crate::store) fn cut_short(&self) -> Error {
        let shorter = io::Error::new(
            io::ErrorKind::UnexpectedEof,
            "another program has made the file shorter",
        );
        Error::io("read", &self.path)(shorter)
    }

    pub(in crate::store) fn octets_on_disk(&self) -> Option<u64> {
        self.file.octets_when_opened()
    }

    pub(in crate::store) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.file
            .read_at(buffer, offset)
            .map_err(Error::io("read", &self.path))
    }
}
