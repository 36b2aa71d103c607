//! The right to the one session of a maildrop, and to read beside it.

use std::{sync::Arc, time::Duration};

use crate::{mail::MailboxName, store::Error};

use super::open::OpenStore;

/// The right to the one session of a maildrop (RFC 1939 §4); it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Claim {
    store: Arc<OpenStore>,
    /// The mailbox of the maildrop.
    pub(super) mailbox: MailboxName,
}

impl Claim {
    /// Takes the maildrop of `mailbox`; where another session has it, waits for `patience` at most
    /// until that ends.
    ///
    /// # Errors
    /// [`Error::InUse`].
    pub(super) fn take(
        store: &Arc<OpenStore>,
        mailbox: &MailboxName,
        patience: Duration,
    ) -> Result<Self, Error> {
        let is_ours = store.visibility.open(mailbox, patience, &store.disk.clock);
        if !is_ours {
            return Err(Error::InUse {
                mailbox: mailbox.clone(),
            });
        }
        Ok(Self {
            store: Arc::clone(store),
            mailbox: mailbox.clone(),
        })
    }

    /// Ends the session.
    pub(super) fn give_back(&self) {
        self.store.visibility.end(&self.mailbox);
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Somebody who reads without a claim, until this is dropped: as long as there is one, nobody
/// forgets which messages were withdrawn.
#[derive(Debug)]
pub(super) struct Reader(Arc<OpenStore>);

impl Reader {
    /// Begins to read.
    pub(super) fn begin(store: &Arc<OpenStore>) -> Self {
        store.visibility.begin_reading();
        Self(Arc::clone(store))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.0.visibility.end_reading();
    }
}
