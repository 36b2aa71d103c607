//! What the times of a directory reveal about its entries.
//!
//! Where the file system is trusted with that (`trust.rs`), every change to the entries of a
//! directory changes its times, and so does moving the directory itself. But these times are those
//! of the last tick of the system's clock, so two changes within one tick look like one. Before
//! remembered entries are used because the times are still the same, check that the tick was over
//! when they were read.

use std::{path::Path, time::Duration};

use crate::{
    fs::{Fs, Identity, Metadata, Stamp, if_there},
    store::{
        Error,
        limits::{INDEX_QUIET, READING_TICK_MAX},
    },
};

/// The identity and times of what has the name `path` now; `None` when nothing has it.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn stamp_at(fs: &dyn Fs, path: &Path) -> Result<Option<Stamp>, Error> {
    Ok(metadata_at(fs, path)?.map(|metadata| metadata.stamp))
}

/// The identity of the file or directory at `path` now; `None` when there is none.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn identity_at(fs: &dyn Fs, path: &Path) -> Result<Option<Identity>, Error> {
    Ok(stamp_at(fs, path)?.map(|stamp| stamp.identity))
}

/// The metadata of what has the name `path` now; `None` when nothing has it.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn metadata_at(fs: &dyn Fs, path: &Path) -> Result<Option<Metadata>, Error> {
    if_there(fs.metadata(path)).map_err(Error::io("look at", path))
}

/// Whether the changes of a directory show in its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// All changes: if the times are the same, so are the entries.
    All,
    /// Changes from the next tick on. A change that is made now may get the same time as the last
    /// one.
    AtNextTick,
    /// It is unknown which.
    Unknown,
}

/// Whether the last change was so long before `now` that every later one has another time, even if
/// times are coarse.
pub(super) fn is_quiet(changed: i128, now: Duration) -> bool {
    let quiet_since = now.checked_sub(INDEX_QUIET);
    let quiet_since = quiet_since.and_then(|time| i128::try_from(time.as_nanos()).ok());
    quiet_since.is_some_and(|quiet_since| changed < quiet_since)
}

/// Times in whole milliseconds do not come directly from the clock.
const NANOS_OF_MILLISECOND: i128 = 1_000_000;

/// Whether every later change to `directory` shows in its times. `file_time` is the time when
/// `directory` was examined, or earlier.
pub(super) fn shows_changes(directory: &Stamp, file_time: Duration) -> Shows {
    // Only this time is used: programs can set the other one.
    let changed = directory.changed;
    let nanos = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
    let (now, tick) = (nanos(file_time), nanos(READING_TICK_MAX));
    if changed % NANOS_OF_MILLISECOND == 0 {
        // These times advance in larger steps than the clock.
        let is_over = changed.saturating_add(nanos(INDEX_QUIET)) < now;
        if is_over { Shows::All } else { Shows::Unknown }
    } else if changed < now {
        Shows::All
    } else if changed.saturating_sub(now) <= tick {
        Shows::AtNextTick
    } else {
        // The clock was set back, or these times come from another clock.
        Shows::Unknown
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::{Clock, look_again},
        fs::RealFs,
    };

    /// On every file system where the tests run, moving a directory changes its times, although its
    /// entries stay the same.
    #[test]
    fn moving_a_directory_changes_its_times() {
        let place = tempfile::tempdir().unwrap();
        let (old, new) = (place.path().join("a"), place.path().join("b"));
        RealFs.create_dir(&old).unwrap();
        let stamp = |path: &Path| stamp_at(&RealFs, path).unwrap().unwrap();
        let clock = Clock::system();
        while shows_changes(&stamp(&old), clock.file_time()) != Shows::All {
            look_again();
        }
        let before = stamp(&old);
        RealFs.rename(&old, &new).unwrap();
        let after = stamp(&new);
        assert_eq!(before.identity, after.identity);
        assert_ne!(before, after);
        assert_eq!(stamp_at(&RealFs, &old).unwrap(), None);
    }
}
