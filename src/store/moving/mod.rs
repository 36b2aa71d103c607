//! Moves all mailboxes between a store of Maildirs and a database, in either direction.
//!
//! # Theory of operation
//! Mailbox by mailbox, messages whose unique-id the target does not have are added under the names
//! that keep it (`label.rs`). Then every message of the source is read again and compared with the
//! one that the target lists under its unique-id, octet for octet. The source is only read. So a
//! move that was interrupted at any point is run again: what is there is compared, and nothing is
//! there twice.
//!
//! # Invariants
//! - Nothing in the target is changed or replaced. A message that has the same unique-id and other
//!   content ends the move.
//! - Both stores are held alone: Maildirs by their lock, a database while no other node serves it.
//!
//! # Known limits
//! A message that was fetched from a database and removed, and that a later run still finds in the
//! Maildirs, comes back: serve the target only when a run has come to its end.

#[cfg(test)]
mod tests;

use std::{collections::HashMap, path::PathBuf, sync::Arc};

use crate::{
    clock::Clock,
    fs::{Fs, RealFs},
    mail::MailboxName,
};

use super::{
    Database, Durability, Error, Kind, Look, Message, MessageStore, Settings,
    label::{Label, Source},
    limits::COUNT_OCTETS,
    maildir::{self, MaildirStore},
    postgres::{self, PostgresStore},
};

/// Which way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the Maildirs in this directory to the database.
    In(PathBuf),
    /// From the database to Maildirs in this directory.
    Out(PathBuf),
}

/// What was moved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Mailboxes, of so many.
    pub mailboxes: u64,
    /// All mailboxes of the source.
    pub of_mailboxes: u64,
    /// Messages that were added to the target.
    pub messages: u64,
    /// Their octets, and those of the messages that were there.
    pub octets: u64,
    /// Messages that the target had already, with the same content.
    pub were_there: u64,
    /// Files in the Maildirs that facteur does not serve: they stay behind.
    pub left: u64,
}

/// A move that is about to begin.
#[derive(Debug)]
pub struct Move {
    from: MessageStore,
    to: MessageStore,
}

/// What a mailbox has been moved to: messages are added, and then made durable.
enum Intake {
    Maildir(maildir::Intake),
    Postgres(postgres::Intake),
}

impl Move {
    /// Opens both stores. `settings` are those of the database and of this host; their mail
    /// directory is not used.
    ///
    /// # Errors
    /// [`Error::StoreInUse`] if a daemon serves the Maildirs. Any other: nothing was moved.
    pub fn open(
        settings: &Settings,
        database: &Database,
        direction: &Direction,
        clock: &Clock,
    ) -> Result<Self, Error> {
        let fs: Arc<dyn Fs> = Arc::new(RealFs);
        let (Direction::In(root) | Direction::Out(root)) = direction;
        let mut of_maildirs = settings.clone();
        of_maildirs.root.clone_from(root);
        of_maildirs.durability = Durability::Maildir;
        of_maildirs.database = None;
        if matches!(direction, Direction::In(_)) && !maildir::lock_of(root).exists() {
            let reason = "it is not the mail directory of a facteur: it has no .facteur/store.lock";
            return Err(Error::other("move messages from", root, reason));
        }
        let maildirs = MaildirStore::open(Arc::clone(&fs), of_maildirs, clock.clone())?;
        maildirs.settle()?;
        let postgres = PostgresStore::open_alone(settings.clone(), database, clock.clone())?;
        let maildirs = MessageStore {
            kind: Kind::Maildir(maildirs),
        };
        let postgres = MessageStore {
            kind: Kind::Postgres(postgres),
        };
        let (from, to) = match direction {
            Direction::In(_) => (maildirs, postgres),
            Direction::Out(_) => (postgres, maildirs),
        };
        Ok(Self { from, to })
    }

    /// Moves everything. Calls `note` after each message.
    ///
    /// # Errors
    /// Any [`Error`]: run it again when its cause is gone.
    pub fn run(&self, note: &mut dyn FnMut(&Moved)) -> Result<Moved, Error> {
        let mut mailboxes = Vec::new();
        if let Some(error) = self.from.each_mailbox(&mut |it| mailboxes.push(it))? {
            return Err(error);
        }
        mailboxes.sort_unstable();
        let mut moved = Moved {
            of_mailboxes: u64::try_from(mailboxes.len()).unwrap_or(u64::MAX),
            ..Moved::default()
        };
        self.check_target()?;
        for mailbox in &mailboxes {
            self.move_mailbox(mailbox, &mut moved, note)?;
            moved.mailboxes = moved.mailboxes.saturating_add(1);
            note(&moved);
        }
        Ok(moved)
    }

    /// Checks that Maildirs have nothing that the database has not: that would come back.
    fn check_target(&self) -> Result<(), Error> {
        if matches!(self.to.kind, Kind::Postgres(_)) {
            return Ok(());
        }
        let mut mailboxes = Vec::new();
        self.to.each_mailbox(&mut |it| mailboxes.push(it))?;
        for mailbox in &mailboxes {
            let known = unique_ids(&self.from.look(mailbox)?);
            let there = unique_ids(&self.to.look(mailbox)?);
            if let Some(strange) = there.keys().find(|id| !known.contains_key(*id)) {
                let path = self.place(mailbox).join(strange);
                let reason = "the database does not have it, and it would come back: choose an \
                              empty directory";
                return Err(Error::other("move messages beside", path, reason));
            }
        }
        Ok(())
    }

    fn move_mailbox(
        &self,
        mailbox: &MailboxName,
        moved: &mut Moved,
        note: &mut dyn FnMut(&Moved),
    ) -> Result<(), Error> {
        let source = self.from.look(mailbox)?;
        let there = unique_ids(&self.to.look(mailbox)?);
        let ids = unique_ids(&source);
        let mut intake = self.intake(mailbox)?;
        for index in 0..source.messages().len() {
            let is_there = id_at(&source, index).is_some_and(|id| there.contains_key(&id));
            if is_there {
                continue;
            }
            let message = source.open_message(index)?;
            let label = label(&source, index, &message, &intake)?;
            match &mut intake {
                Intake::Maildir(it) => it.add(&label, &message)?,
                Intake::Postgres(it) => it.add(&label, &message)?,
            }
        }
        match intake {
            Intake::Maildir(it) => it.finish()?,
            Intake::Postgres(it) => it.finish()?,
        }
        if let Kind::Maildir(look) = &source.0 {
            moved.left = moved.left.saturating_add(look.n_unlisted()?);
        }
        let target = self.to.look(mailbox)?;
        let places = unique_ids(&target);
        for (id, index) in ids {
            let message = source.open_message(index)?;
            let found = places.get(&id).map(|&place| target.open_message(place));
            let octets = match found.transpose()? {
                Some(found) => compare(&message, &found)?,
                None => None,
            };
            let octets = octets.ok_or_else(|| self.differs(mailbox, &id))?;
            moved.octets = moved.octets.saturating_add(octets);
            let count = if there.contains_key(&id) {
                &mut moved.were_there
            } else {
                &mut moved.messages
            };
            *count = count.saturating_add(1);
            note(moved);
        }
        Ok(())
    }

    fn intake(&self, mailbox: &MailboxName) -> Result<Intake, Error> {
        Ok(match &self.to.kind {
            Kind::Maildir(it) => Intake::Maildir(it.intake(mailbox)?),
            Kind::Postgres(it) => Intake::Postgres(it.intake(mailbox)?),
        })
    }

    /// What a mailbox of the target is called in errors.
    fn place(&self, mailbox: &MailboxName) -> PathBuf {
        let target = match &self.to.kind {
            Kind::Maildir(_) => "the Maildirs",
            Kind::Postgres(_) => "the database",
        };
        PathBuf::from(target).join(mailbox.to_string())
    }

    /// The error that a message of the target is not that of the source.
    fn differs(&self, mailbox: &MailboxName, id: &str) -> Error {
        let path = self.place(mailbox).join(id);
        let reason = "the target has another content under this unique-id, or has lost it";
        Error::other("move a message to", path, reason)
    }
}

impl Source for Message {
    fn octets(&self) -> Option<u64> {
        self.octets_on_disk()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        Self::read_at(self, offset, buffer)
    }

    fn cut_short(&self) -> Error {
        Self::cut_short(self)
    }
}

/// The unique-ids of a mailbox, each with its index.
fn unique_ids(look: &Look) -> HashMap<String, usize> {
    let indexes = 0..look.messages().len();
    let ids = indexes.filter_map(|index| Some((id_at(look, index)?, index)));
    ids.collect()
}

fn id_at(look: &Look, index: usize) -> Option<String> {
    Some(look.messages().unique_id(index)?.to_string())
}

/// What a message of the source is called.
fn label(look: &Look, index: usize, message: &Message, intake: &Intake) -> Result<Label, Error> {
    match (&look.0, intake) {
        (Kind::Maildir(look), _) => look.label(index),
        (Kind::Postgres(look), Intake::Maildir(intake)) => {
            let stored = message.octets_on_disk().unwrap_or(0);
            let sent = look.messages().octets(index).unwrap_or(0);
            let label = look.label(index, |name| intake.label(name, stored, sent));
            label.ok_or_else(|| message.cut_short())
        }
        (Kind::Postgres(_), Intake::Postgres(_)) => Err(message.cut_short()),
    }
}

/// How many octets two messages have; `None` if they differ.
fn compare(left: &Message, right: &Message) -> Result<Option<u64>, Error> {
    let (mut of_left, mut of_right) = (vec![0; COUNT_OCTETS], vec![0; COUNT_OCTETS]);
    let mut offset = 0_u64;
    loop {
        let n_left = left.read_at(offset, &mut of_left)?;
        let n_right = right.read_at(offset, &mut of_right)?;
        if of_left.get(..n_left) != of_right.get(..n_right) {
            return Ok(None);
        }
        if n_left == 0 {
            return Ok(Some(offset));
        }
        offset = offset.saturating_add(u64::try_from(n_left).unwrap_or(u64::MAX));
    }
}
