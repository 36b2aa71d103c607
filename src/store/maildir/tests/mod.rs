//! Tests of the whole module, on a simulated disk that fails and on the real one.

mod checkpoint;
mod crash;
mod index;
#[cfg(shuttle)]
mod interleavings;
mod journal;
mod real;
mod removals;
mod renames;
mod waiting;
mod watches;

use std::sync::Arc;

use crate::{
    clock::Clock,
    fs::Fs,
    mail::MailboxName,
    store::{Error, Kind, MessageStore, Settings},
};

use super::{MaildirStore, Patience};

impl MessageStore {
    /// Opens the store without its own thread.
    fn open_quietly(
        fs: Arc<dyn Fs>,
        settings: Settings,
        clock: Clock,
        patience: Patience,
    ) -> Result<Self, Error> {
        let maildirs = MaildirStore::open_quietly(fs, settings, clock, patience)?;
        Ok(Self {
            kind: Kind::Maildir(maildirs),
        })
    }

    /// Leaves the journal as it is when the store is dropped, as a crash would.
    fn abandon(&self) {
        self.maildirs().abandon();
    }

    /// Whether any lock of the store is held right now (L1, L2).
    fn is_locked(&self) -> bool {
        self.maildirs().is_locked()
    }
}

/// The mailbox of an address in canonical form.
fn mailbox(address: &str) -> MailboxName {
    let (local_part, domain) = address.split_once('@').unwrap();
    MailboxName::from_canonical(local_part, domain).unwrap()
}
