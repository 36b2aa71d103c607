//! What all calls share.

use std::{net::SocketAddr, sync::Arc};

use crate::{
    accounts::{Accounts, Resolution, UserName},
    clock::Clock,
    inbox::{Inbox, Memory, Paths},
    mail::MailboxName,
    store::MessageStore,
};

use super::{failure::Failure, makers::Makers};

/// What all calls share.
#[derive(Debug)]
pub struct Api {
    pub(super) inbox: Inbox,
    pub(super) store: Arc<MessageStore>,
    pub(super) accounts: Arc<Accounts>,
    pub(super) clock: Clock,
    /// Who makes answers with whole messages.
    pub(super) makers: Makers,
    /// To which sub-addresses messages were sent.
    pub(super) paths: Arc<Paths>,
    /// Where mail can be sent to, for people and tests that ask.
    pub(super) receiving_at: Vec<SocketAddr>,
}

impl Api {
    /// The API of the mailboxes of `store`, whose inbox uses at most this much memory.
    pub fn new(
        store: Arc<MessageStore>,
        accounts: Arc<Accounts>,
        clock: Clock,
        memory: Memory,
    ) -> Self {
        Self {
            inbox: Inbox::of(Arc::clone(&store), clock.clone(), memory),
            store,
            accounts,
            clock,
            makers: Makers::default(),
            paths: Arc::default(),
            receiving_at: Vec::new(),
        }
    }

    /// The same API, which knows of the sub-addresses that are kept in `paths`.
    #[must_use]
    pub fn knowing(self, paths: Arc<Paths>) -> Self {
        Self { paths, ..self }
    }

    /// The same API, which tells those who ask that mail can be sent to `addresses`.
    #[must_use]
    pub fn receiving_at(self, addresses: Vec<SocketAddr>) -> Self {
        Self {
            receiving_at: addresses,
            ..self
        }
    }

    /// The mailbox that receives mail to this address, if there is or could be one. A name without
    /// a domain is the mailbox with this local part, if there is exactly one.
    pub(super) fn mailbox_of(&self, name: &str) -> Result<Option<MailboxName>, Failure> {
        let path = match self.accounts.user(name) {
            UserName::Address(path) => path,
            UserName::LocalPart(local_part) => {
                return Ok(self.store.mailbox_with_local_part(&local_part)?);
            }
            UserName::Unknown => return Ok(None),
        };
        let exists = |mailbox: &MailboxName| self.store.has_mailbox(mailbox);
        Ok(match self.accounts.resolve(&path, exists)? {
            Resolution::Mailbox(mailbox) => Some(mailbox),
            Resolution::NotLocal | Resolution::Unknown => None,
        })
    }
}
