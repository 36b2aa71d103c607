//! Whether anything has come to a mailbox, or gone, without reading its directories.

use std::time::Instant;

use crate::{fs, store::Error};

use super::{
    disk::Disk,
    layout::Maildir,
    listing::Side,
    times::{self, Shows},
};

/// The state of the directories of a mailbox at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::store) struct Stamp {
    /// `None` for a directory that is missing.
    sides: [Option<fs::Stamp>; 2],
    /// When it was taken, if a later change may leave the directories with the same times: then it
    /// equals no other.
    doubtful_at: Option<Instant>,
}

impl Stamp {
    /// The state of `maildir` now.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub(super) fn of(disk: &Disk, maildir: &Maildir) -> Result<Self, Error> {
        let (file_time, now) = (disk.clock.file_time(), disk.clock.now());
        let mut sides = [None; 2];
        let mut is_certain = true;
        for (stamp, side) in sides.iter_mut().zip([Side::New, Side::Cur]) {
            let path = maildir.side(side);
            *stamp = times::stamp_at(&*disk.fs, &path)?;
            is_certain &= stamp.is_none_or(|stamp| {
                times::shows_changes(&stamp, file_time) == Shows::All
                    && disk.trusts_times(&path, Some(stamp.identity.device))
            });
        }
        Ok(Self {
            sides,
            doubtful_at: (!is_certain).then_some(now),
        })
    }
}
