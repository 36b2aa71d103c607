//! Whose mail a request may see.

use std::sync::Arc;

use crate::{inbox::Item, mail::MailboxName};

/// Who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asker {
    /// Somebody who sees all mail: there are no accounts, or it is the owner of the store.
    Everybody,
    /// The owner of an account, for whom there is no other mailbox.
    Owner(MailboxName),
}

impl Asker {
    /// Whether this mailbox exists for the asker.
    pub fn sees(&self, mailbox: &MailboxName) -> bool {
        match self {
            Self::Everybody => true,
            Self::Owner(own) => own == mailbox,
        }
    }

    /// Whose marks of what was read count.
    pub(super) fn reader(&self) -> Option<&MailboxName> {
        match self {
            Self::Everybody => None,
            Self::Owner(own) => Some(own),
        }
    }

    /// The message as the asker sees it: without the mailboxes of others; `None` if no mailbox of
    /// the asker has it.
    pub fn view(&self, item: &Item) -> Option<Item> {
        let mailboxes = match self {
            Self::Everybody => Arc::clone(&item.mailboxes),
            Self::Owner(own) => {
                let own = item.mailboxes.iter().find(|it| *it == own)?;
                Arc::new([own.clone()])
            }
        };
        Some(Item {
            seen: item.seen,
            mailboxes,
        })
    }
}
