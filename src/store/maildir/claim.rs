//! The right to the only session of a maildrop, and the right to read alongside it.

use std::{sync::Arc, time::Duration};

use crate::{mail::MailboxName, store::Error};

use super::open::OpenStore;

/// The right to the only session of a maildrop (RFC 1939 §4). Dropping it ends the session.
#[derive(Debug)]
pub(super) struct Claim {
    store: Arc<OpenStore>,
    /// The mailbox of the maildrop.
    pub(super) mailbox: MailboxName,
}

impl Claim {
    /// Takes the maildrop of `mailbox`. If another session has it, waits at most `patience` for
    /// that session to end.
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

/// A reader without a claim, until this is dropped. While there is any such reader, the list of
/// withdrawn messages is kept.
#[derive(Debug)]
pub(super) struct Reader {
    store: Arc<OpenStore>,
    /// The mailbox that is read.
    pub(super) mailbox: MailboxName,
}

impl Reader {
    /// Starts reading `mailbox`.
    pub(super) fn begin(store: &Arc<OpenStore>, mailbox: &MailboxName) -> Self {
        store.visibility.begin_reading(mailbox);
        Self {
            store: Arc::clone(store),
            mailbox: mailbox.clone(),
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.store.visibility.end_reading(&self.mailbox);
    }
}
