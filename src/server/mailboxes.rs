//! What both drivers ask the store about mailboxes.

use crate::mail::MailboxName;
use crate::store::{Error, MessageStore};

/// Whether there is a mailbox with that name. A name too long for a directory has none.
pub(super) fn exists(store: &MessageStore, mailbox: &MailboxName) -> Result<bool, Error> {
    match store.has_mailbox(mailbox) {
        Err(Error::NameTooLong { .. }) => Ok(false),
        found => found,
    }
}
