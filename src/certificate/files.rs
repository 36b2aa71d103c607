//! The directory of the certificates: four files, written so that after a crash each is complete or
//! missing.
//!
//! # Theory of operation
//! A file is written under a temporary name and synced, then it gets its own name, and the
//! directory is synced. A file that must never be overwritten gets its name with a link, which
//! fails if the name is taken; only the server's certificate is replaced, with a rename. A lock
//! keeps a second `facteur cert` out, so a file with a temporary name was left by a crash and is
//! removed.
//!
//! [`super::make`] says in which order the files are made.
//!
//! # Invariants
//! New files have mode 0600 and a new directory 0700. Symbolic links are not followed. A directory
//! that others can write to is refused (SEC-6).

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::fs::{Fs, Held, Kind};

use super::{error::Error, limits::FILE_OCTETS_MAX};

/// The name of the lock.
const LOCK: &str = ".lock";

/// A file in the directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileName {
    /// The CA's certificate, which clients import.
    Authority,
    /// The CA's private key.
    AuthorityKey,
    /// The server's certificate.
    Certificate,
    /// The server's private key.
    Key,
}

impl FileName {
    const ALL: [Self; 4] = [
        Self::Authority,
        Self::AuthorityKey,
        Self::Certificate,
        Self::Key,
    ];

    /// The name of the file.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Authority => "ca.pem",
            Self::AuthorityKey => "ca.key",
            Self::Certificate => "certificate.pem",
            Self::Key => "key.pem",
        }
    }

    /// The name under which the file is written at first.
    fn temporary(self) -> String {
        format!(".{}.new", self.as_str())
    }
}

/// The directory, locked against other processes.
#[derive(Debug)]
pub(super) struct Files<'a> {
    fs: &'a dyn Fs,
    directory: &'a Path,
    _lock: Box<dyn Held>,
}

impl<'a> Files<'a> {
    /// Locks the directory, creates it if it is missing, and removes what a crash left there.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Unsafe`], [`Error::Io`].
    pub(super) fn open(fs: &'a dyn Fs, directory: &'a Path) -> Result<Self, Error> {
        prepare(fs, directory)?;
        let path = directory.join(LOCK);
        let lock = fs.lock(&path).map_err(Error::io("lock", &path))?;
        let files = Self {
            fs,
            directory,
            _lock: lock.ok_or(Error::Busy { path })?,
        };
        for name in FileName::ALL {
            let path = directory.join(name.temporary());
            match fs.unlink(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(Error::io("remove", &path)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        // From here on, the files that are found are durable, even if the process that wrote them
        // died.
        files.sync()?;
        Ok(files)
    }

    /// Where a file is.
    pub(super) fn path(&self, name: FileName) -> PathBuf {
        self.directory.join(name.as_str())
    }

    /// The content of a file; `None` if there is none.
    ///
    /// # Errors
    /// [`Error::Unsafe`], [`Error::Io`].
    pub(super) fn read(&self, name: FileName) -> Result<Option<Vec<u8>>, Error> {
        let path = self.path(name);
        let opened = match self.fs.open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                return Err(Error::Unsafe {
                    path,
                    reason: "is not a regular file: put the file itself there, not a link to one",
                });
            }
            other => other,
        };
        let mut file = opened.map_err(Error::io("read", &path))?;
        let mut content = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let n_read = file.read(&mut buffer).map_err(Error::io("read", &path))?;
            if n_read == 0 {
                return Ok(Some(content));
            }
            content.extend(buffer.iter().take(n_read));
            if content.len() > FILE_OCTETS_MAX {
                return Err(Error::Foreign { path });
            }
        }
    }

    /// Refuses a private key that others can read.
    ///
    /// # Errors
    /// [`Error::Unsafe`], [`Error::Io`].
    pub(super) fn check_private(&self, name: FileName) -> Result<(), Error> {
        let path = self.path(name);
        let metadata = self.fs.metadata(&path);
        let others = metadata.map_err(Error::io("look at", &path))?.mode & 0o077;
        if others == 0 {
            return Ok(());
        }
        Err(Error::Unsafe {
            path,
            reason: "can be read by others: run chmod 600 on it, and consider whether somebody has",
        })
    }

    /// Makes a new file. It is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Io`]; `AlreadyExists` when there is already something with this name.
    pub(super) fn create(&self, name: FileName, text: &str) -> Result<(), Error> {
        let path = self.path(name);
        let temporary = self.write(name, text)?;
        let linked = self.fs.hard_link(&temporary, &path);
        let unlinked = self.fs.unlink(&temporary);
        linked.map_err(Error::io("make", &path))?;
        unlinked.map_err(Error::io("remove", &temporary))?;
        self.sync()
    }

    /// Replaces a file with `text`, or makes it. It is durable when this returns.
    ///
    /// # Errors
    /// [`Error::Io`]; then either the old file is there or the new one.
    pub(super) fn replace(&self, name: FileName, text: &str) -> Result<(), Error> {
        let path = self.path(name);
        let temporary = self.write(name, text)?;
        self.fs
            .rename(&temporary, &path)
            .map_err(Error::io("make", &path))?;
        self.sync()
    }

    /// Writes a file durably under its temporary name.
    fn write(&self, name: FileName, text: &str) -> Result<PathBuf, Error> {
        let path = self.directory.join(name.temporary());
        let created = self.fs.create_new(&path);
        let mut file = created.map_err(Error::io("make", &path))?;
        file.append(text.as_bytes())
            .and_then(|()| file.sync())
            .map_err(Error::io("write", &path))?;
        Ok(path)
    }

    fn sync(&self) -> Result<(), Error> {
        self.fs
            .sync_dir(self.directory)
            .map_err(Error::io("sync", self.directory))
    }
}

/// Makes the directory durably if it is missing, and checks that only its owner can write to it.
fn prepare(fs: &dyn Fs, path: &Path) -> Result<(), Error> {
    match fs.create_dir(path) {
        Ok(()) => {
            let parent = path.parent().unwrap_or(path);
            // The parent may be a symbolic link; with the dot, it is not the last component.
            fs.sync_dir(&parent.join("."))
                .map_err(Error::io("sync", parent))?;
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io("make the directory", path)(error)),
    }
    let metadata = fs.metadata(path).map_err(Error::io("look at", path))?;
    let reason = if metadata.kind != Kind::Directory {
        "is not a directory: name a directory, not a symbolic link to one"
    } else if metadata.owner != fs.user() {
        "belongs to another user: run as that user, or name another directory"
    } else if metadata.mode & 0o022 != 0 {
        "can be written by others: run chmod go-w on it, or name another directory"
    } else {
        return Ok(());
    };
    Err(Error::Unsafe {
        path: path.to_owned(),
        reason,
    })
}
