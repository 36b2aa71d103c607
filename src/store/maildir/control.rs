//! The control socket: where the programs of this user reach the daemon that serves the store.
//!
//! It is in the store's own directory, which only its owner can enter, so whoever can connect may
//! see and remove all mail anyway. It exists while the store is open. A crash leaves its name; the
//! store that has the lock knows that nobody listens there, and replaces it.
//!
//! # Failures
//! Some file systems have no sockets, and a sandbox may forbid them. The store works without.

use std::{
    io,
    os::unix::net::{UnixListener, UnixStream},
    path::Path,
    time::Duration,
};

use crate::{
    fs::{self, Identity, Kind, if_there},
    store::{Error, sync::Mutex},
};

use super::{disk::Disk, private::OWN_DIRECTORY, times};

/// Its name in the store's own directory.
const NAME: &str = "control";

/// The socket of an open store, if there is one.
#[derive(Debug, Default)]
pub(super) struct Control(Mutex<Option<Identity>>);

impl Control {
    /// Makes the socket, and listens on it. The store must hold its lock.
    ///
    /// # Errors
    /// [`Error::Unsafe`] if something else has its name, [`Error::Io`].
    pub(super) fn listen(&self, disk: &Disk) -> Result<UnixListener, Error> {
        let path = disk.own.join(NAME);
        let bound = disk.fs.bind_socket(&disk.own, NAME);
        let listener = bound.map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                Error::not_safe(&path, "is not a socket: move it away")
            } else {
                Error::io("make the control socket", &path)(error)
            }
        })?;
        let identity = times::identity_at(&*disk.fs, &path)?;
        *self.0.lock() = identity;
        Ok(listener)
    }

    /// Removes the socket if it is still the one that was made.
    pub(super) fn end(&self, disk: &Disk) {
        let made = self.0.lock().take();
        let path = disk.own.join(NAME);
        let found = times::metadata_at(&*disk.fs, &path).ok().flatten();
        // The number of a socket that was removed may be that of a file by now.
        let found = found.filter(|found| found.kind == Kind::Other);
        let found = found.map(|found| found.stamp.identity);
        if made.is_some() && found == made {
            // If it stays, the next start replaces it.
            if_there(disk.fs.unlink(&path)).unwrap_or_default();
        }
    }

    /// Whether the lock is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.0.is_locked()
    }
}

/// Connects to the daemon that serves the store in `root`, within this time.
///
/// # Errors
/// `NotFound` if there is no socket, `ConnectionRefused` if nobody listens there any more,
/// `TimedOut` if the daemon accepts nobody; others of the system.
pub fn connect_control(root: &Path, time: Duration) -> io::Result<UnixStream> {
    fs::connect(&root.join(OWN_DIRECTORY), NAME, time)
}
