//! The looks at mailboxes of one call, each of which is taken once.
//!
//! A look at a mailbox reads its directories. A list or a search opens many messages of a mailbox,
//! newest first, so the look stays for the next one, and what is looked for is next to what was
//! found last. A message that came after the look is not in it.

use std::{cell::RefCell, collections::HashMap};

use crate::{
    mail::{EntryId, MailboxName},
    store::{Error, Look, Message, MessageStore},
};

use super::limits::LOOKS_MAX;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Looks(RefCell<HashMap<MailboxName, Kept>>);

#[derive(Debug)]
struct Kept {
    look: Look,
    /// Where the last message was found, as an index.
    last: usize,
}

impl Looks {
    /// Opens a message of a mailbox; `None` if the mailbox has no such message.
    ///
    /// # Errors
    /// Those of [`MessageStore::look`] and [`Look::open_message`].
    pub(super) fn message(
        &self,
        store: &MessageStore,
        mailbox: &MailboxName,
        id: EntryId,
    ) -> Result<Option<Message>, Error> {
        let mut kept = self.0.borrow_mut();
        if !kept.contains_key(mailbox) {
            if kept.len() >= LOOKS_MAX {
                kept.clear();
            }
            let look = match store.look(mailbox) {
                // The looks of this call may take what is missing.
                Err(Error::ListingTooLarge { .. }) if !kept.is_empty() => {
                    kept.clear();
                    store.look(mailbox)?
                }
                look => look?,
            };
            let last = look.messages().len();
            kept.insert(mailbox.clone(), Kept { look, last });
        }
        let Some(Kept { look, last }) = kept.get_mut(mailbox) else {
            return Ok(None);
        };
        let count = look.messages().len();
        let older = (0..count.min(last.saturating_add(1))).rev();
        let mut indexes = older.chain(last.saturating_add(1)..count);
        let Some(index) = indexes.find(|&index| look.id(index) == Some(id)) else {
            return Ok(None);
        };
        *last = index;
        look.open_message(index).map(Some)
    }
}
