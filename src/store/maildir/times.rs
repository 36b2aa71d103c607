//! What the times of a directory tell of its entries.
//!
//! Every change of an entry changes the times of its directory, where the file system is trusted
//! with that (`trust.rs`), and so does a move of the directory itself. But these times are those of
//! the last tick of the system's clock, so two changes within one tick look like one. Whoever
//! remembers what was read, and later takes the same times for the same entries, has to ask first
//! whether the tick was over.

use std::{path::Path, time::Duration};

use crate::{
    fs::{Fs, Identity, Metadata, Stamp, if_there},
    store::{
        Error,
        limits::{INDEX_QUIET, READING_TICK_MAX},
    },
};

/// What has the name `path` now, and when it was changed; `None` when nothing has.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn stamp_at(fs: &dyn Fs, path: &Path) -> Result<Option<Stamp>, Error> {
    Ok(metadata_at(fs, path)?.map(|metadata| metadata.stamp))
}

/// Which file or directory has the name `path` now; `None` when nothing has.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn identity_at(fs: &dyn Fs, path: &Path) -> Result<Option<Identity>, Error> {
    Ok(stamp_at(fs, path)?.map(|stamp| stamp.identity))
}

/// What is known of what has the name `path` now; `None` when nothing has.
///
/// # Errors
/// [`Error::Io`].
pub(super) fn metadata_at(fs: &dyn Fs, path: &Path) -> Result<Option<Metadata>, Error> {
    if_there(fs.metadata(path)).map_err(Error::io("look at", path))
}

/// Whether the changes of a directory show in its times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shows {
    /// Every one: when the times are the same, so are the entries.
    All,
    /// Those from the next tick on; one that is made now may have the same time as the last.
    AtNextTick,
    /// Nobody knows which.
    Unknown,
}

/// Times that are whole milliseconds are not those of the clock.
const NANOS_OF_MILLISECOND: i128 = 1_000_000;

/// Whether every change to `directory` shows in its times that is made after it was looked
/// at, at `file_time` or later.
pub(super) fn shows_changes(directory: &Stamp, file_time: Duration) -> Shows {
    // A program can set the other time.
    let changed = directory.changed;
    let nanos = |time: Duration| i128::try_from(time.as_nanos()).unwrap_or(i128::MAX);
    let (now, tick) = (nanos(file_time), nanos(READING_TICK_MAX));
    if changed % NANOS_OF_MILLISECOND == 0 {
        // These times go on in larger steps than the clock does.
        let is_over = changed.saturating_add(nanos(INDEX_QUIET)) < now;
        if is_over { Shows::All } else { Shows::Unknown }
    } else if changed < now {
        Shows::All
    } else if changed.saturating_sub(now) <= tick {
        Shows::AtNextTick
    } else {
        // The clock was set back, or is not the one that these times come from.
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

    /// On whatever file system the tests run: a directory that is moved has other times, though its
    /// entries are the same.
    #[test]
    fn a_directory_that_is_moved_has_other_times() {
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
