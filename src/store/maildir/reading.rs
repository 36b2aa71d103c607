//! Readings of a Maildir, repeated until it is known that nothing was missed.
//!
//! # Theory of operation
//! While a directory is read other programs may rename its entries: they move a message from `new`
//! to `cur`, or change its flags. The system promises nothing then but for the entries that stay
//! as they are: one that is renamed may be visited, under either name or both, or not at all. So a
//! message that one reading does not have may be there all the same.
//!
//! The times of the directories tell. When they are the same before and after a reading, and every
//! change would have shown (`index.rs`), nothing was renamed and nothing missed. Times go on in
//! ticks, so a change in the same tick as the one before it does not show; a reading that begins
//! when that tick is over is free of that, and for this the tick is waited for.
//!
//! Where times cannot tell that much there is something weaker. A second reading that has all the
//! names of the first shows that what was seen has not been renamed in between; then only
//! a message could have been missed that was renamed during both of them. That is believed
//! - of `new`, while the times of `cur` show that nothing was moved there or came from there: mail
//!   comes in all the time, and only few programs ever rename a message in `new`, and once;
//! - of both where the times do not tell anything: on file systems whose times are not those of
//!   this machine's kernel, or go on in seconds, and after the clock was set back.
//!
//! # Failures
//! [`Error::Io`] when nothing is known after [`READINGS_MAX`] readings: ask again later.

use std::collections::HashSet;

use crate::store::{
    Error,
    limits::{FIND_ATTEMPTS_MAX, READING_PAUSE, READING_TICK_MAX, READINGS_MAX},
};

use super::{
    disk::Disk,
    index::Sight,
    layout::{Maildir, Moved},
    listing::{Fingerprints, Listed, Listing, Side},
    name::Identity,
    times::Shows,
};

/// Readings of one Maildir.
#[derive(Debug)]
pub(super) struct Readings<'a> {
    disk: &'a Disk,
    maildir: &'a Maildir,
    trusts_times: bool,
    n_begun: usize,
    /// The moment before the reading, and that before the one before.
    before: Option<Sight>,
    earlier: Option<Sight>,
}

/// What is known after a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has missed nothing.
    Complete,
    /// It has missed nothing if it has all that the one before has.
    CompleteIfAgreed,
    /// It may have missed something.
    Doubtful,
}

impl<'a> Readings<'a> {
    /// Readings of `maildir` that begin now.
    pub(super) fn of(disk: &'a Disk, maildir: &'a Maildir) -> Self {
        Self::from(disk, maildir, Sight::of(maildir, &*disk.fs, &disk.clock))
    }

    /// Readings of `maildir` that begin at `sight`.
    pub(super) fn from(disk: &'a Disk, maildir: &'a Maildir, sight: Option<Sight>) -> Self {
        let device = sight
            .as_ref()
            .map(|sight| sight.stamp(Side::New).identity.device);
        Self {
            disk,
            maildir,
            trusts_times: disk.trusts_times(&maildir.side(Side::New), device),
            n_begun: 0,
            before: sight,
            earlier: None,
        }
    }

    /// Begins the next reading.
    ///
    /// # Errors
    /// See the module.
    pub(super) fn begin(&mut self) -> Result<(), Error> {
        if self.n_begun >= READINGS_MAX {
            return Err(keeps_changing(self.maildir));
        }
        if self.n_begun > 0 {
            self.earlier = self.before;
            self.before = self.look();
        }
        self.n_begun = self.n_begun.saturating_add(1);
        // Nothing could be known of a reading in this tick.
        let mut waited = READING_PAUSE;
        while self.trusts_times
            && waited <= READING_TICK_MAX
            && self.shows_changes(Side::Cur) == Some(Shows::AtNextTick)
        {
            self.disk.clock.pause(READING_PAUSE);
            waited = waited.saturating_add(READING_PAUSE);
            self.before = self.look();
        }
        Ok(())
    }

    /// Ends the reading.
    pub(super) fn end(&self) -> Verdict {
        planted!(SkippedEntriesAreGone, return Verdict::Complete);
        let after = self.look();
        let stamp = |sight: &Option<Sight>, side| sight.as_ref().map(|sight| sight.stamp(side));
        let is_same = |side| stamp(&self.before, side) == stamp(&after, side);
        let shows_all = |side| self.trusts_times && self.shows_changes(side) == Some(Shows::All);
        let is_proven = |side| is_same(side) && shows_all(side);
        match (is_proven(Side::New), is_proven(Side::Cur)) {
            (true, true) => Verdict::Complete,
            (false, true) => Verdict::CompleteIfAgreed,
            (_, false) if shows_all(Side::Cur) || !is_same(Side::Cur) => Verdict::Doubtful,
            // Over both readings.
            (_, false) if stamp(&self.earlier, Side::Cur) == stamp(&after, Side::Cur) => {
                Verdict::CompleteIfAgreed
            }
            (_, false) => Verdict::Doubtful,
        }
    }

    fn look(&self) -> Option<Sight> {
        Sight::of(self.maildir, &*self.disk.fs, &self.disk.clock)
    }

    fn shows_changes(&self, side: Side) -> Option<Shows> {
        self.before.as_ref().map(|sight| sight.shows_changes(side))
    }

    /// The messages in the order of their arrival, with the sizes that their names tell: none is
    /// missed. Beside them the moment before they were read, where the times can be trusted.
    ///
    /// # Errors
    /// See the module, and those of [`Maildir::list`].
    pub(super) fn list(mut self, listed: &mut Listed) -> Result<(Listing, Option<Sight>), Error> {
        let mut earlier: Option<Fingerprints> = None;
        loop {
            self.begin()?;
            let listing = self.maildir.list(&*self.disk.fs, listed)?;
            let verdict = self.end();
            if verdict != Verdict::Complete {
                let fingerprints = listing.fingerprints();
                let agrees = earlier.is_some_and(|earlier| earlier.are_all_in(&fingerprints));
                if verdict == Verdict::Doubtful || !agrees {
                    earlier = Some(fingerprints);
                    continue;
                }
            }
            let sight = self.before.filter(|_| self.trusts_times);
            return Ok((listing, sight));
        }
    }

    /// Names of some of the `wanted` messages, as soon as there is one; none when all of them are
    /// gone.
    ///
    /// # Errors
    /// See the module, and what the file system says.
    pub(super) fn find(mut self, wanted: &HashSet<Identity<'_>>) -> Result<Vec<Moved>, Error> {
        let mut is_second = false;
        loop {
            self.begin()?;
            let found = self.maildir.visit_wanted(&*self.disk.fs, wanted)?;
            if !found.is_empty() {
                return Ok(found);
            }
            match self.end() {
                Verdict::Complete => return Ok(found),
                // Neither of the two has found any.
                Verdict::CompleteIfAgreed if is_second => return Ok(found),
                Verdict::CompleteIfAgreed | Verdict::Doubtful => is_second = true,
            }
        }
    }
}

/// The error when other programs rename messages faster than they can be listed or found.
pub(super) fn keeps_changing(maildir: &Maildir) -> Error {
    let reason = "another program keeps renaming the messages";
    Error::other("list all messages of", &maildir.path, reason)
}

/// Removes the `missing` messages, which are not where they were, from `maildir`. Each is
/// unlinked in the end, and then given to `noted`, or is known not to be there.
///
/// # Errors
/// See the module.
pub(super) fn remove_moved(
    disk: &Disk,
    maildir: &Maildir,
    mut missing: HashSet<Identity<'_>>,
    noted: impl Fn(Identity<'_>),
) -> Result<(), Error> {
    for _ in 0..FIND_ATTEMPTS_MAX {
        let found = Readings::of(disk, maildir).find(&missing)?;
        if found.is_empty() {
            return Ok(());
        }
        for moved in &found {
            // Not there: it was renamed once more in this moment.
            if disk.unlink(&maildir.file(moved.place()))? {
                let identity = moved.identity();
                noted(identity);
                missing.retain(|it| *it != identity);
            }
        }
        if missing.is_empty() {
            return Ok(());
        }
    }
    Err(keeps_changing(maildir))
}
