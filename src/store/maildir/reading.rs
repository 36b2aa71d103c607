//! Reads a Maildir, repeatedly if needed, until it is certain that no message was missed.
//!
//! # Theory of operation
//! Other programs may rename the entries of a directory while it is being read: they move a message
//! from `new` to `cur`, or change its flags. The system then guarantees only to return the entries
//! that do not change. A renamed entry may be visited under either name, under both, or not at all.
//! So a message that one reading does not find may still be there.
//!
//! The times of the directories settle this. If they are the same before and after a reading, and
//! every change would have shown (`index.rs`), nothing was renamed and nothing was missed. Times
//! advance in ticks, so a change in the same tick as the one before it does not show. A reading
//! that begins after the end of that tick does not have this problem, so each reading waits for it.
//!
//! Where times are not precise enough there is a weaker check. If a second reading has all the
//! names of the first, none of the messages seen was renamed in between. Then only a message that
//! was renamed during both readings could have been missed. This check is accepted
//! - for `new`, while the times of `cur` show that nothing was moved into or out of it: mail
//!   arrives all the time, but few programs ever rename a message in `new`, and those do it once;
//! - for both directories where the times say nothing: on file systems whose times are not from
//!   this machine's kernel or have a resolution of seconds, and after the clock was set back.
//!
//! # Failures
//! [`Error::Io`] when nothing is certain after [`READINGS_MAX`] readings: try again later.

use std::collections::HashSet;

use crate::store::{
    Error,
    limits::{FIND_ATTEMPTS_MAX, READING_PAUSE, READING_TICK_MAX, READINGS_MAX},
    name::Identity,
};

use super::{
    disk::Disk,
    index::Sight,
    layout::{Maildir, Moved},
    listing::{Fingerprints, Listed, Listing, Side},
    times::Shows,
};

/// Repeated readings of one Maildir.
#[derive(Debug)]
pub(super) struct Readings<'a> {
    disk: &'a Disk,
    maildir: &'a Maildir,
    trusts_times: bool,
    n_begun: usize,
    /// The state before this reading, and the state before the previous one.
    before: Option<Sight>,
    earlier: Option<Sight>,
}

/// What a reading has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It missed nothing.
    Complete,
    /// It missed nothing if it has everything that the previous one has.
    CompleteIfAgreed,
    /// It may have missed something.
    Doubtful,
}

impl<'a> Readings<'a> {
    /// Starts with the state of `maildir` as it is now.
    pub(super) fn of(disk: &'a Disk, maildir: &'a Maildir) -> Self {
        Self::from(disk, maildir, Sight::of(maildir, &*disk.fs, &disk.clock))
    }

    /// Starts with the state `sight` of `maildir`.
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
        // A reading that began in this tick would prove nothing.
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
            // Unchanged over both readings.
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

    /// All messages in order of arrival, with the sizes that their names give. Also the state
    /// before they were read, if the times can be trusted.
    ///
    /// See the module and [`Maildir::list`].
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

    /// Names of some of the `wanted` messages, as soon as any is found; empty when all of them are
    /// gone.
    ///
    /// # Errors
    /// See the module; also any error of the file system.
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
                // Neither reading has found any.
                Verdict::CompleteIfAgreed if is_second => return Ok(found),
                Verdict::CompleteIfAgreed | Verdict::Doubtful => is_second = true,
            }
        }
    }
}

/// The error for a Maildir in which another program renames messages too fast to list or find them.
pub(super) fn keeps_changing(maildir: &Maildir) -> Error {
    let reason = "another program keeps renaming the messages";
    Error::other("list all messages of", &maildir.path, reason)
}

/// Removes the `missing` messages, which are not where they were, from `maildir`. Each one is
/// either unlinked and then passed to `noted`, or known not to exist.
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
            // If it is not there, it was renamed again just now.
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
