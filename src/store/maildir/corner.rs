//! The mail directory of a daemon whose mail is elsewhere: its lock, and its control socket.

use std::{
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::{clock::Clock, fs::Fs, store::Error};

use super::{
    control::Control,
    disk::Disk,
    standing::{self, HeldPlace},
};

/// See the module.
#[derive(Debug)]
pub(in crate::store) struct Corner {
    disk: Disk,
    control: Control,
    /// Released at the end.
    _held: HeldPlace,
}

impl Corner {
    /// Makes and checks the store's own directory in `root`, and takes its locks.
    ///
    /// # Errors
    /// As for a store of Maildirs there.
    pub(in crate::store) fn open(
        fs: Arc<dyn Fs>,
        root: &Path,
        clock: &Clock,
    ) -> Result<Self, Error> {
        // Without a trailing slash, which would follow a symbolic link.
        let root: PathBuf = root.components().collect();
        let held = standing::settle(&*fs, &root)?;
        let file_system = fs.file_system(&root).map_err(Error::io("look at", &root))?;
        let disk = Disk::of(
            fs,
            clock.clone(),
            root,
            (held.device(), file_system.trust()),
        );
        Ok(Self {
            disk,
            control: Control::default(),
            _held: held,
        })
    }

    /// Makes the control socket, and listens on it.
    ///
    /// # Errors
    /// As for a store of Maildirs there.
    pub(in crate::store) fn control(&self) -> Result<UnixListener, Error> {
        self.control.listen(&self.disk)
    }

    /// Removes the control socket.
    pub(in crate::store) fn close(&self) {
        self.control.end(&self.disk);
    }
}
