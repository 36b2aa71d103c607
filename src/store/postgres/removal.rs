//! Removes messages from several mailboxes at once: all are claimed first, in the same order by
//! everybody, and then each is treated as by a session of its own.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    mail::{EntryId, MailboxName},
    store::Error,
};

use super::{
    lanes::after,
    maildrop::Maildrop,
    open::{OpenStore, check_name},
};

/// Removes each of `messages` from its mailbox. Waits for `patience` at most until all mailboxes
/// are free.
///
/// # Errors
/// [`Error::Busy`], [`Error::NameTooLong`]: nothing was removed. Any other: some may be.
pub(super) fn remove_everywhere(
    store: &Arc<OpenStore>,
    messages: &[(MailboxName, EntryId)],
    patience: Duration,
) -> Result<(), Error> {
    let mut wanted: BTreeMap<&MailboxName, HashSet<EntryId>> = BTreeMap::new();
    for (mailbox, id) in messages {
        check_name(mailbox)?;
        wanted.entry(mailbox).or_default().insert(*id);
    }
    let end = after(&store.clock, patience);
    let (mut maildrops, mut busy) = (Vec::new(), Vec::new());
    for (mailbox, ids) in wanted {
        let left = end.saturating_duration_since(store.clock.now());
        match Maildrop::open(store, mailbox, left) {
            Ok(maildrop) => maildrops.push((maildrop, ids)),
            // The others are tried too, so that the error names all.
            Err(Error::InUse { mailbox }) => busy.push(mailbox),
            Err(error) => return Err(error),
        }
    }
    if !busy.is_empty() {
        return Err(Error::Busy { mailboxes: busy });
    }
    for (maildrop, ids) in &maildrops {
        maildrop.remove(&maildrop.indexes(ids))?;
    }
    Ok(())
}
