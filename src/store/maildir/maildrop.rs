//! A maildrop: the messages of one mailbox as they were when its session began.
//!
//! Access is exclusive while it exists (RFC 1939 §4). It has a view of its mailbox (`view.rs`), and
//! [`Maildrop::remove`] unlinks files. It never renames a file and never changes a flag. The
//! numbers of messages, their deletion marks and the replies to the client are up to the session.
//!
//! # Invariants
//! - Only `remove` removes messages (I3). It finds them wherever another program has moved them.
//! - When `remove` is `Ok`, the messages stay removed, even after a power cut (I2).
//!
//! # Failures
//! A failed `remove` may have removed some of the messages. These come back only after a power cut,
//! and the caller must not say that they are removed. If another program renames messages faster
//! than they can be found, the error says so. The caller should try again later.
//!
//! # Known limits
//! If another program gives a message a second name after the listing was made, and keeps both,
//! only the listed name is removed. A disk that fails to save another program's rename may show the
//! old name again after a power cut, although the message was removed under the new one. So may
//! any disk, if the clock was set back and the rename got exactly the time of an earlier change.

use std::{collections::HashSet, sync::Arc, time::Duration};

use crate::{
    fs::Stamp,
    mail::{EntryId, MailboxName, Summaries as _},
    store::{
        Change, Error,
        limits::{REMOVAL_MESSAGES_MAX, REMOVAL_SHARE_MIN, REMOVAL_THREADS_MAX},
        name::Identity,
        quota::Taken,
    },
};

use super::{
    aside,
    claim::Claim,
    disk::SyncMark,
    index::Access,
    journal::{self, Apply, Journal, Ticket},
    listing::Side,
    mailboxes::Target,
    open::OpenStore,
    reading,
    shares::{Split, in_shares},
    times::{self, Shows},
    view::{self, View},
};

/// How the unlinking of many messages is split between threads.
const SPLIT: Split = Split {
    name: "remove",
    threads_max: REMOVAL_THREADS_MAX,
    items_min: REMOVAL_SHARE_MIN,
};

/// The messages of one mailbox, fixed for one session.
#[derive(Debug)]
pub(in crate::store) struct Maildrop {
    claim: Claim,
    /// The messages, as they were when it was opened.
    pub(in crate::store) view: View,
}

impl Maildrop {
    /// Opens the maildrop of `mailbox`. If another session has it, waits at most `patience`.
    pub(super) fn open(
        store: &Arc<OpenStore>,
        mailbox: &MailboxName,
        patience: Duration,
    ) -> Result<Self, Error> {
        view::prepare(store, mailbox)?;
        Self::of(store, Claim::take(store, mailbox, patience)?)
    }

    /// The maildrop that was claimed.
    pub(super) fn of(store: &Arc<OpenStore>, claim: Claim) -> Result<Self, Error> {
        let target = Target::of(&store.disk, &claim.mailbox)?;
        let view = View::of(store, target, Access::Exclusive, &store.listed)?;
        Ok(Self { claim, view })
    }

    /// The indexes of the messages with one of `ids`.
    pub(super) fn indexes(&self, ids: &HashSet<EntryId>) -> Vec<usize> {
        let (listing, mailbox) = (&self.view.listing, &self.claim.mailbox);
        let is_wanted = |&index: &usize| {
            let message = listing.get(index);
            message.is_some_and(|it| ids.contains(&it.identity().entry_id(mailbox)))
        };
        (0..listing.len()).filter(is_wanted).collect()
    }

    pub(in crate::store) fn remove(&self, indexes: &[usize]) -> Result<(), Error> {
        if indexes.is_empty() {
            return Ok(());
        }
        let (store, mailbox, maildir) = (self.store(), &self.claim.mailbox, &self.view.maildir);
        let counters = self.counters(indexes);
        if !counters.is_empty() {
            // Before they are gone, so that a repair that rewrites messages does not put them back.
            store.touched.announce_removal(mailbox, &counters);
        }
        planted!(
            AnnouncedRemovalsAreDurable,
            store.touched.note_removal(mailbox, &counters)
        );
        let mark = store.disk.sync_mark();
        let (help, split) = self.find_help(indexes.len());
        let unlinked = self.unlink(indexes, split);
        // Whatever the result: then nobody has to rely on the times of the directory.
        store.visibility.forget_listing(mailbox);
        unlinked?;
        planted!(ClaimsEndBeforeRemovals, self.claim.give_back());
        self.sync_sides(mark, split)?;
        drop(help);
        let listing = &self.view.listing;
        let messages = indexes.iter().filter_map(|&index| listing.get(index));
        let removed: HashSet<Identity<'_>> = messages.map(|it| it.identity()).collect();
        aside::remove_waiting(store, mailbox, maildir, &removed)?;
        self.note_removal(&counters)?;
        for message in indexes.iter().filter_map(|&index| listing.get(index)) {
            store.tell(Change::Removed, mailbox, || message.identity());
        }
        Ok(())
    }

    /// Makes it durable that messages were unlinked, with which no sync may have failed since
    /// `mark`.
    ///
    /// Both directories count, wherever the messages were: another program may have moved them from
    /// `new` to `cur`, or back, without making their departure from the first directory durable.
    /// But most mailboxes have a `cur` that has not changed since it was last synced here.
    fn sync_sides(&self, mark: SyncMark, split: Split) -> Result<(), Error> {
        let (store, mailbox, maildir) = (self.store(), &self.claim.mailbox, &self.view.maildir);
        let cur = self.quiet_cur();
        let sides: &[Side] = match &cur {
            Some(cur) if store.known.is_cur_synced(mailbox, cur) => &[Side::New],
            Some(_) | None => &[Side::Cur, Side::New],
        };
        let sync = |side: &Side| store.disk.sync_directory_if_there(&maildir.side(*side));
        // A disk saves both at once.
        let split = Split {
            items_min: 1,
            ..split
        };
        let synced = in_shares(sides, split, |sides| sides.iter().try_for_each(sync));
        synced.into_iter().collect::<Result<(), Error>>()?;
        store.disk.check_syncs(mark)?;
        if let Some(cur) = cur {
            store.known.note_synced_cur(mailbox, &cur);
        }
        Ok(())
    }

    /// The state of `cur`, if every later change will show.
    fn quiet_cur(&self) -> Option<Stamp> {
        let (disk, cur) = (&self.store().disk, self.view.maildir.side(Side::Cur));
        let file_time = disk.clock.file_time();
        let stamp = times::stamp_at(&*disk.fs, &cur).ok()??;
        let is_trusted = disk.trusts_directory_syncs()
            && disk.trusts_times(&cur, Some(stamp.identity.device))
            && times::shows_changes(&stamp, file_time) == Shows::All;
        is_trusted.then_some(stamp)
    }

    /// The thread that helps with a removal of so many messages, until the share is dropped, and
    /// how to split the work with it.
    fn find_help(&self, n_messages: usize) -> (Taken, Split) {
        let mut help = Taken::nothing(&self.store().helpers);
        let are_many = n_messages / SPLIT.items_min > 1;
        let split = if are_many && help.set(1) {
            SPLIT
        } else {
            Split::NONE
        };
        (help, split)
    }

    /// Unlinks the messages at `indexes`, wherever they are now.
    ///
    /// Most of the time goes into freeing the space of the files, which file systems do for several
    /// at once. So two threads share the work if there is a lot of it.
    fn unlink(&self, indexes: &[usize], split: Split) -> Result<(), Error> {
        let mut missing = HashSet::new();
        for of_share in in_shares(indexes, split, |share| self.unlink_share(share)) {
            missing.extend(of_share?);
            planted!(SharesOfHelpersAreTrusted, break);
        }
        if missing.is_empty() {
            return Ok(());
        }
        let noted = |moved: Identity<'_>| self.note_unlinked(moved);
        reading::remove_moved(&self.store().disk, &self.view.maildir, missing, noted)
    }

    /// The part of [`unlink`](Self::unlink) that one thread does, from where the messages were
    /// listed. Returns those that are not there.
    fn unlink_share(&self, indexes: &[usize]) -> Result<Vec<Identity<'_>>, Error> {
        let (disk, maildir, listing) = (&self.store().disk, &self.view.maildir, &self.view.listing);
        let mut missing = Vec::new();
        for message in indexes.iter().filter_map(|&index| listing.get(index)) {
            // If a message has several names, one that is not found may have been renamed too.
            let mut is_removed = true;
            for place in message.places() {
                is_removed &= disk.unlink(&maildir.file(place))?;
            }
            if is_removed {
                self.note_unlinked(message.identity());
            } else {
                missing.push(message.identity());
            }
        }
        Ok(missing)
    }

    /// The counters of those messages at `indexes` that may be in the journal.
    fn counters(&self, indexes: &[usize]) -> Vec<u64> {
        let store = self.store();
        let journal = store.journal.as_ref();
        if !journal.is_some_and(Journal::would_be_replayed) {
            return Vec::new();
        }
        let listing = &self.view.listing;
        let messages = indexes.iter().filter_map(|&index| listing.get(index));
        let counters = messages.filter_map(|message| self.counter(message.identity()));
        counters.collect()
    }

    /// The counter of a message of this run of the daemon; the journal has no others.
    fn counter(&self, message: Identity<'_>) -> Option<u64> {
        let serial = message.serial()?;
        (serial.nonce == self.store().nonce).then_some(serial.counter)
    }

    /// Explains to a checkpoint why the message is missing: it has been unlinked, and the removal
    /// is being made durable.
    fn note_unlinked(&self, message: Identity<'_>) {
        if self.store().journal.is_some()
            && let Some(counter) = self.counter(message)
        {
            let touched = &self.store().touched;
            touched.note_removal(&self.claim.mailbox, &[counter]);
        }
    }

    /// Records the removal in the journal. Otherwise a crash would bring back messages whose
    /// delivery can still be replayed.
    fn note_removal(&self, counters: &[u64]) -> Result<(), Error> {
        planted!(RemovalsAreNotJournaled, return Ok(()));
        let store = self.store();
        store.place.check_place(&store.disk)?;
        let journal = store.journal.as_ref();
        let Some(journal) = journal.filter(|journal| journal.would_be_replayed()) else {
            return Ok(());
        };
        let mailbox = &self.claim.mailbox;
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

    fn store(&self) -> &OpenStore {
        &self.view.store
    }
}
