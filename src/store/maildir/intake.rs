//! Messages that are moved here from a database, with the names that they have or had in a Maildir.
//!
//! Each is written to `.facteur/tmp` and synced, and gets its name then; the directories are synced
//! at the end, once for all. So a crash leaves whole messages, and a second run adds what is
//! missing.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, sync::Arc};

use crate::{
    fs::if_there,
    mail::MailboxName,
    store::{
        Error,
        label::{Label, Source},
        limits::COUNT_OCTETS,
        name::OwnName,
    },
};

use super::{
    layout::join,
    listing::{Place, Side},
    mailboxes::{self, Made, Target},
    open::OpenStore,
};

/// Messages on their way into one mailbox.
#[derive(Debug)]
pub(in crate::store) struct Intake {
    store: Arc<OpenStore>,
    mailbox: MailboxName,
    /// Whether any of them got a name.
    is_changed: bool,
}

impl Intake {
    /// Makes the mailbox, and begins.
    ///
    /// # Errors
    /// [`Error::NameTooLong`], or those of the file system.
    pub(super) fn begin(store: &Arc<OpenStore>, mailbox: &MailboxName) -> Result<Self, Error> {
        let target = Target::of(&store.disk, mailbox)?;
        let mut made = Made::nothing(&store.disk);
        mailboxes::make_mailboxes(store, &[target], &mut made)?;
        Ok(Self {
            store: Arc::clone(store),
            mailbox: mailbox.clone(),
            is_changed: false,
        })
    }

    /// Adds a message, with the name of its file, or as if it had been delivered here.
    ///
    /// # Errors
    /// Those of the file system, or of reading `message`; some of the messages may have been moved.
    pub(in crate::store) fn add(
        &mut self,
        label: &Label,
        message: &dyn Source,
    ) -> Result<(), Error> {
        let disk = &self.store.disk;
        let maildir = disk.maildir(&self.mailbox)?;
        let side = if label.is_seen { Side::Cur } else { Side::New };
        let file_name = OsStr::from_bytes(&label.file_name);
        // Names come from a database that others can write to (I12).
        if file_name.is_empty() || label.file_name.contains(&b'/') || file_name == ".." {
            return Err(Error::other("make", maildir.path, "a message has no name"));
        }
        let spooled = join(&disk.spool, ["moved"]);
        let mut file = disk.create_anew(&spooled)?;
        let (mut octets, mut offset) = (vec![0; COUNT_OCTETS], 0_u64);
        loop {
            let n_read = message.read_at(offset, &mut octets)?;
            let read = octets.get(..n_read).filter(|read| !read.is_empty());
            let Some(read) = read else { break };
            file.append(read).map_err(Error::io("write", &spooled))?;
            offset = offset.saturating_add(u64::try_from(n_read).unwrap_or(u64::MAX));
        }
        let dated = disk.fs.set_modified(&spooled, label.arrived_secs);
        dated.map_err(Error::io("set the time of", &spooled))?;
        file.sync().map_err(Error::io("sync", &spooled))?;
        drop(file);
        interruption!();
        let path = maildir.file(Place { side, file_name });
        let there = if_there(disk.fs.metadata(&path)).map_err(Error::io("look at", &path))?;
        if there.is_some() {
            return Err(Error::other("make", path, "it is there already"));
        }
        let renamed = disk.fs.rename(&spooled, &path);
        renamed.map_err(Error::io("make", &path))?;
        disk.sync_name(&path)?;
        self.is_changed = true;
        interruption!();
        Ok(())
    }

    /// Makes everything durable.
    ///
    /// # Errors
    /// Those of the syncs.
    pub(in crate::store) fn finish(self) -> Result<(), Error> {
        let disk = &self.store.disk;
        let maildir = disk.maildir(&self.mailbox)?;
        for side in [Side::Cur, Side::New] {
            if self.is_changed {
                disk.sync_directory(&maildir.side(side))?;
            }
        }
        Ok(())
    }

    /// The label of a message of a delivery, as it would be called here.
    pub(in crate::store) fn label(&self, name: &str, stored: u64, sent: u64) -> Option<Label> {
        let text = format!("{name}.{},S={stored},W={sent}", self.store.host);
        OwnName::parse_exactly(&text).map(|own| Label::of_own(&own))
    }
}
