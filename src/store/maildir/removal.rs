//! Removes messages from several mailboxes at once.
//!
//! # Theory of operation
//! All mailboxes are claimed before anything is removed, always in the same order, so two removals
//! never wait for each other. Then each mailbox is treated as by a session of its own: its messages
//! are removed, durably, and its claim ends.
//!
//! # Failures
//! If a mailbox is in use, nothing is removed. A power cut, or a failure of the disk, may leave any
//! of the messages.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

use crate::{
    mail::{EntryId, MailboxName},
    store::Error,
};

use super::{claim::Claim, maildrop::Maildrop, open::OpenStore, view};

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
        wanted.entry(mailbox).or_default().insert(*id);
    }
    for mailbox in wanted.keys() {
        store.disk.maildir(mailbox)?;
        view::prepare(store, mailbox)?;
    }
    let claims = claim_all(store, wanted.keys().copied(), patience)?;
    for (claim, ids) in claims.into_iter().zip(wanted.values()) {
        let maildrop = Maildrop::of(store, claim)?;
        maildrop.remove(&maildrop.indexes(ids))?;
    }
    Ok(())
}

/// Claims all of `mailboxes`, or none.
fn claim_all<'a>(
    store: &Arc<OpenStore>,
    mailboxes: impl Iterator<Item = &'a MailboxName>,
    patience: Duration,
) -> Result<Vec<Claim>, Error> {
    let clock = &store.disk.clock;
    let begin = clock.now();
    let (mut claims, mut busy) = (Vec::new(), Vec::new());
    for mailbox in mailboxes {
        let waited = clock.now().saturating_duration_since(begin);
        match Claim::take(store, mailbox, patience.saturating_sub(waited)) {
            Ok(claim) => claims.push(claim),
            // The others are tried too, so that the error names all.
            Err(Error::InUse { mailbox }) => busy.push(mailbox),
            Err(error) => return Err(error),
        }
    }
    if busy.is_empty() {
        Ok(claims)
    } else {
        Err(Error::Busy { mailboxes: busy })
    }
}
