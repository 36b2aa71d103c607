//! One Maildir on disk: its paths, its entries, and the sizes of its messages as RETR sends them.
//!
//! It does not deal with sessions or durability.
//!
//! # Theory of operation
//! A Maildir is a directory with the subdirectories `tmp`, `new` and `cur`. A message arrives in
//! `new`. Any program that reads the Maildir may move it to `cur`, and rename it there when its
//! flags change; its identity (see `name/mod.rs`) stays the same. A reader can run at any moment of
//! such a rename, so:
//! - `new` is read before `cur`: a message that is being moved from `new` to `cur` is seen at least
//!   once;
//! - names with the same identity are the same message, and all of them are kept, because after a
//!   power cut in the middle of a rename both may really exist.
//!
//! One reading can still miss a message; `reading.rs` can tell when it has missed none.
//!
//! # Failures
//! A directory that is missing counts as empty.
//!
//! # Known limits
//! The sizes in the names of other programs are trusted.

use std::{
    collections::HashSet,
    ffi::{OsStr, OsString},
    io,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use crate::{
    clock::Clock,
    fs::{Entry, File, Fs, Kind, if_there},
    mail::MailboxName,
    store::{
        Error,
        limits::COUNT_OCTETS,
        name::{self, Identity},
        sent_size::SentSize,
    },
};

use super::{
    listing::{Listed, Listing, Names, Place, Side, Size},
    times,
};

/// The paths of one mailbox.
#[derive(Clone, Debug)]
pub(super) struct Maildir {
    /// The directory of the domain.
    pub(super) domain: PathBuf,
    /// The Maildir itself, inside it.
    pub(super) path: PathBuf,
}

/// Joins `names` to `directory`. Every delivery and every login makes many paths, so each path is
/// allocated once, at its final size.
pub(super) fn join<const N: usize>(
    directory: &Path,
    names: [&(impl AsRef<OsStr> + ?Sized); N],
) -> PathBuf {
    let names = names.map(AsRef::as_ref);
    let octets = names.iter().fold(directory.as_os_str().len(), |sum, name| {
        sum.saturating_add(1).saturating_add(name.len())
    });
    let mut path = PathBuf::with_capacity(octets);
    path.push(directory);
    path.extend(names);
    path
}

impl Maildir {
    /// The Maildir of `mailbox` in the store at `root`; `None` when its name is too long.
    pub(super) fn of(root: &Path, mailbox: &MailboxName) -> Option<Self> {
        let domain = join(root, [&name::encode_directory(mailbox.domain())?]);
        let path = join(&domain, [&name::encode_directory(mailbox.local_part())?]);
        Some(Self { domain, path })
    }

    /// All its directories, parents first. `new` comes last: a Maildir that can receive messages is
    /// complete.
    pub(super) fn directories(&self) -> [PathBuf; 5] {
        let [tmp, cur, new] = ["tmp", "cur", "new"].map(|name| join(&self.path, [name]));
        [self.domain.clone(), self.path.clone(), tmp, cur, new]
    }

    /// One of the two message directories.
    pub(super) fn side(&self, side: Side) -> PathBuf {
        join(&self.path, [side.name()])
    }

    /// The path of the file at `place`.
    pub(super) fn file(&self, place: Place<'_>) -> PathBuf {
        join(&self.path, [place.side.name().as_ref(), place.file_name])
    }

    /// The path of the message `file_name` where it is delivered.
    pub(super) fn in_new(&self, file_name: &str) -> PathBuf {
        self.file(Place {
            side: Side::New,
            file_name: file_name.as_ref(),
        })
    }

    /// The messages that one reading finds, in order of arrival, with the sizes from their names.
    ///
    /// # Errors
    /// Any error of the file system, except for a missing directory; and [`Error::ListingTooLarge`]
    /// when the listing needs more memory than `listed` can have.
    pub(super) fn list(&self, fs: &dyn Fs, listed: &mut Listed) -> Result<Listing, Error> {
        let too_large = || Error::ListingTooLarge {
            path: self.path.clone(),
        };
        let mut names = Names::default();
        let mut has_room = true;
        for side in [Side::New, Side::Cur] {
            self.visit(fs, side, &mut |Entry { name, kind, inode }| {
                if has_room && kind == Kind::File && !name.as_bytes().starts_with(b".") {
                    names.add(side, name, inode);
                    has_room = listed.covers_reading(&names);
                }
            })?;
            if !has_room {
                return Err(too_large());
            }
        }
        let listing = names.sort();
        if !listed.covers(&listing) {
            return Err(too_large());
        }
        Ok(listing)
    }

    /// The names of those of `wanted` that one reading of both directories finds.
    ///
    /// # Errors
    /// Any error of the file system, except for a missing directory.
    pub(super) fn visit_wanted(
        &self,
        fs: &dyn Fs,
        wanted: &HashSet<Identity<'_>>,
    ) -> Result<Vec<Moved>, Error> {
        let mut found = Vec::new();
        for side in [Side::New, Side::Cur] {
            self.visit(fs, side, &mut |entry| {
                if wanted.contains(&Identity::of(entry.name.as_bytes())) {
                    let file_name = entry.name.to_owned();
                    found.push(Moved { side, file_name });
                }
            })?;
        }
        Ok(found)
    }

    /// Calls `visit` for each entry of one of the two directories.
    ///
    /// # Errors
    /// Any error of the file system, except for a missing directory.
    pub(super) fn visit(
        &self,
        fs: &dyn Fs,
        side: Side,
        visit: &mut dyn FnMut(Entry<&OsStr>),
    ) -> Result<(), Error> {
        let directory = self.side(side);
        let visited = if_there(fs.visit_dir(&directory, visit));
        visited.map(drop).map_err(Error::io("read", &directory))
    }

    /// Counts what RETR will send of the file at `place`.
    ///
    /// # Errors
    /// Any error of the file system, unless the file is missing or unavailable.
    pub(super) fn count(
        &self,
        fs: &dyn Fs,
        place: Place<'_>,
        counting: &mut Counting,
    ) -> Result<Counted, Error> {
        let path = &self.file(place);
        let mut file = match fs.open(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Counted::Gone),
            Err(error) if is_unavailable(&error) => return Ok(Counted::Unavailable),
            other => other.map_err(Error::io("open", path))?,
        };
        let mut size = SentSize::default();
        loop {
            let n_read = file
                .read(&mut counting.buffer)
                .map_err(Error::io("read", path))?;
            match counting.buffer.get(..n_read) {
                None | Some([]) => break,
                Some(octets) => size.add(octets),
            }
        }
        Ok(Counted::Size(Size {
            sent_octets: size.octets(),
            stored_octets: size.stored_octets(),
            inode: counting.settled_inode(&*file).unwrap_or_default(),
        }))
    }
}

/// The current place of a message that is not where it was listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moved {
    side: Side,
    file_name: OsString,
}

impl Moved {
    /// The same place in the form that a listing uses.
    pub(super) fn place(&self) -> Place<'_> {
        Place {
            side: self.side,
            file_name: &self.file_name,
        }
    }

    /// The identity of the message.
    pub(super) fn identity(&self) -> Identity<'_> {
        Identity::of(self.file_name.as_bytes())
    }
}

/// The counting of files, one after another.
#[derive(Debug)]
pub(super) struct Counting {
    /// Making it anew for each file would take as long as reading a small one.
    buffer: Vec<u8>,
    /// When the counting began.
    unix_time: Duration,
    /// Whether all files so far had been left alone for a while, so that their sizes are final.
    pub(super) is_final: bool,
}

impl Counting {
    /// Begins it, at the time of `clock`.
    pub(super) fn new(clock: &Clock) -> Self {
        Self {
            buffer: vec![0; COUNT_OCTETS],
            unix_time: clock.unix_time(),
            is_final: true,
        }
    }

    /// The inode of `file`, unless another program may still be writing it.
    fn settled_inode(&mut self, file: &dyn File) -> Option<u64> {
        let stamp = file.stamp_when_opened();
        let settled = stamp.filter(|stamp| times::is_quiet(stamp.modified, self.unix_time));
        self.is_final &= settled.is_some();
        settled.map(|stamp| stamp.identity.inode)
    }
}

/// The result of counting a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// Its size.
    Size(Size),
    /// No file has this name.
    Gone,
    /// It is not a file, or cannot be read.
    Unavailable,
}

/// Whether a file is unavailable: something else has its name, or it belongs to another user.
fn is_unavailable(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput | io::ErrorKind::PermissionDenied
    )
}

/// The name of a directory as text; `None` when it is not UTF-8 and therefore not ours.
pub(super) fn decoded(directory: &OsStr) -> Option<String> {
    directory.to_str().and_then(name::decode_directory)
}
