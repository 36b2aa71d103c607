//! A message on its way into the store.
//!
//! The content is written once, whatever the number of recipients, and nothing of it can be seen in
//! a mailbox before all of it is durable. No header is added here and no line ending changed.
//!
//! # Theory of operation
//! A delivery is in one of these states, and what is on disk follows from it:
//!
//! | state | on disk |
//! |---|---|
//! | begun | a file in `.facteur/tmp`, of mode 0600, growing |
//! | synced | the same file, all of it durable |
//! | linked | that file also in `new` of some mailboxes, hidden from this daemon's maildrops |
//! | committed | in `new` of every mailbox, durable there, gone from `.facteur/tmp` |
//! | aborted, failed | nothing; what a crash leaves in `.facteur/tmp` goes at the next start |
//!
//! The content waits in `.facteur/tmp` and not in the `tmp` of a mailbox, as in other programs: so
//! a delivery that is given up has made no mailbox, and the start has one directory to clean.
//!
//! The file is synced before the first link, because a name without its data would be an empty
//! message after a power cut. It is linked into the mailboxes of all recipients but the last and
//! renamed into that of the last, so one recipient, the common case, costs one rename. Then each
//! `new` is synced, because a rename alone does not survive a power cut. Only then is the delivery
//! `Ok`.
//!
//! # Invariants
//! - `Ok` from [`Delivery::commit`] means: exactly these octets in the mailbox of every recipient,
//!   also after a power cut (I1). `Err` means: each recipient has none or one whole copy (I5), and
//!   no maildrop of this daemon shows it before a restart (I4).
//! - A sync that failed is never repeated (I9).
//!
//! # Failures
//! Every error leaves the store as it was, but for the copies that I5 allows. After a failed
//! [`Delivery::append`] the delivery can only be dropped.
//!
//! # Known limits
//! All mailboxes lie on one file system that has hard links. The space that several deliveries were
//! promised at the same time is not added up: a write may still find the disk full.

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use crate::mail::MailboxName;

use super::{
    error::Error,
    fs::File,
    limits::FREE_OCTETS_RESERVE,
    mailboxes::{Made, Target},
    maildir::{SentSize, Side},
    name::{OwnName, Serial},
    shared::Shared,
};

/// A message being received. Dropping it gives it up and removes what was written.
#[derive(Debug)]
pub struct Delivery {
    shared: Arc<Shared>,
    serial: Serial,
    name: String,
    spool_path: PathBuf,
    /// `None` once a write has failed or the content is complete.
    file: Option<Box<dyn File>>,
    /// Whether `spool_path` is still there to be removed.
    is_spooled: bool,
    size: SentSize,
}

/// How the content gets into a mailbox.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// By a further name: other recipients come behind.
    Link,
    /// By giving up the name in the spool.
    Rename,
}

impl Delivery {
    /// Begins a delivery of `declared_octets`, 0 when that is not known.
    pub(super) fn begin(shared: &Arc<Shared>, declared_octets: u64) -> Result<Self, Error> {
        match Self::begin_in_spool(shared, declared_octets) {
            Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                shared.settle_anew()?;
                Self::begin_in_spool(shared, declared_octets)
            }
            begun => begun,
        }
    }

    fn begin_in_spool(shared: &Arc<Shared>, declared_octets: u64) -> Result<Self, Error> {
        let free = shared
            .fs
            .free_octets(&shared.spool)
            .map_err(Error::io("look at", &shared.spool))?;
        if free < FREE_OCTETS_RESERVE.saturating_add(declared_octets) {
            let path = shared.root.clone();
            return Err(Error::Full {
                operation: "begin a delivery in",
                path,
                source: None,
            });
        }
        let serial = shared.next_serial();
        let name = serial.render();
        let spool_path = shared.spool.join(&name);
        let file = shared
            .fs
            .create_new(&spool_path)
            .map_err(Error::io("make", &spool_path))?;
        Ok(Self {
            shared: Arc::clone(shared),
            serial,
            name,
            spool_path,
            file: Some(file),
            is_spooled: true,
            size: SentSize::default(),
        })
    }

    /// The name of the message for trace headers and the log: letters, digits and `_`, never given
    /// twice.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Adds `octets` to the content, lines ended by LF. Each call is one write: give large pieces.
    ///
    /// # Errors
    /// [`Error::Full`] or [`Error::Io`]: drop the delivery and refuse the message for now.
    pub fn append(&mut self, octets: &[u8]) -> Result<(), Error> {
        let path = &self.spool_path;
        let mut file = self.file.take().ok_or_else(|| Self::given_up(path))?;
        file.append(octets).map_err(Error::io("write", path))?;
        // Only now: after a failed write nobody knows what is in the file.
        self.file = Some(file);
        self.size.add(octets);
        Ok(())
    }

    /// Octets taken so far, as they are on disk.
    pub fn octets(&self) -> u64 {
        self.size.stored_octets()
    }

    /// Puts the message into the mailboxes of `recipients`, made where they are missing; one that
    /// is named twice gets it once. Without recipients the delivery is given up.
    ///
    /// `Ok` says that the message survives a power cut in every one of them.
    ///
    /// # Errors
    /// [`Error::NameTooLong`], [`Error::Full`], [`Error::Io`] or [`Error::Unsafe`]: refuse the
    /// message; what was put into a mailbox is taken back.
    pub fn commit(mut self, recipients: &[MailboxName]) -> Result<(), Error> {
        let mut targets: Vec<Target<'_>> = Vec::with_capacity(recipients.len());
        let mut seen = HashSet::with_capacity(recipients.len());
        for mailbox in recipients.iter().filter(|mailbox| seen.insert(*mailbox)) {
            targets.push(Target {
                mailbox,
                maildir: self.shared.maildir(mailbox)?,
            });
        }
        let mut file = self
            .file
            .take()
            .ok_or_else(|| Self::given_up(&self.spool_path))?;
        if targets.is_empty() {
            return Ok(());
        }
        file.sync()
            .map_err(Error::io("make durable", &self.spool_path))?;
        drop(file);
        self.publish(&targets)
    }

    /// Puts the durable file into every mailbox, or into none.
    fn publish(&mut self, targets: &[Target<'_>]) -> Result<(), Error> {
        let file_name = OwnName {
            secs: self.shared.clock.unix_time().as_secs(),
            serial: self.serial,
            host: &self.shared.host,
            stored_octets: self.size.stored_octets(),
            sent_octets: self.size.octets(),
        }
        .render();
        let mut made = Made::default();
        let mut linked = Vec::with_capacity(targets.len());
        let mark = self.shared.sync_mark();
        self.shared.hide(self.serial);
        let result = self
            .shared
            .make_mailboxes(targets, &mut made)
            .and_then(|()| self.link_into_all(targets, &file_name, &mut linked, &mut made))
            .and_then(|()| self.shared.check_syncs(mark));
        if result.is_ok() {
            self.shared
                .remember(targets.iter().map(|target| target.mailbox));
            self.shared.show(self.serial);
        } else {
            self.withdraw(&linked);
            if self.shared.has_failed_since(mark) {
                for target in targets {
                    self.shared.forget(target.mailbox);
                }
            }
            self.shared.undo(&made, mark);
        }
        result
    }

    /// Gives the file its names in the mailboxes, noted in `linked`, and makes them durable.
    fn link_into_all(
        &mut self,
        targets: &[Target<'_>],
        file_name: &str,
        linked: &mut Vec<PathBuf>,
        made: &mut Made,
    ) -> Result<(), Error> {
        for (n_before, target) in targets.iter().enumerate() {
            let is_last = n_before.saturating_add(1) == targets.len();
            let step = if is_last { Step::Rename } else { Step::Link };
            let path = target.maildir.side(Side::New).join(file_name);
            // Noted first: who knows what a failed call did.
            linked.push(path.clone());
            match self.link_into(&path, step) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    // Somebody removed the mailbox since we met it.
                    self.shared.forget(target.mailbox);
                    self.shared
                        .make_mailboxes(std::slice::from_ref(target), made)?;
                    self.link_into(&path, step)
                }
                other => other,
            }
            .map_err(Error::io("deliver to", &path))?;
        }
        targets
            .iter()
            .try_for_each(|target| self.shared.sync_directory(&target.maildir.side(Side::New)))
    }

    /// Gives the file the name `path`.
    fn link_into(&mut self, path: &Path, step: Step) -> io::Result<()> {
        match step {
            Step::Link => self.shared.fs.hard_link(&self.spool_path, path),
            Step::Rename => {
                self.shared.fs.rename(&self.spool_path, path)?;
                self.is_spooled = false;
                Ok(())
            }
        }
    }

    /// Takes the file out of the mailboxes again.
    fn withdraw(&self, linked: &[PathBuf]) {
        let mut is_stuck = false;
        for path in linked {
            let unlinked = self.shared.fs.unlink(path);
            is_stuck |= unlinked.is_err_and(|error| error.kind() != io::ErrorKind::NotFound);
        }
        self.shared.withdraw(self.serial, is_stuck);
    }

    /// The error of a delivery that cannot go on after an earlier one.
    fn given_up(path: &Path) -> Error {
        Error::io("write", path)(io::Error::other("an earlier write failed"))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if self.is_spooled {
            // Nobody is left to tell; what stays is removed at the next start.
            self.shared.fs.unlink(&self.spool_path).unwrap_or_default();
        }
    }
}
