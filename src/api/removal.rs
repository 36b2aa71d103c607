//! Removes messages, each from the mailboxes in which the asker sees it.
//!
//! A mailbox that is open in a POP3 session, or into which a message is just being delivered, is in
//! use. Messages that are named are removed all or not at all; where all messages are meant, those
//! of mailboxes that are not in use are removed.

use std::collections::BTreeSet;

use crate::{
    http::{Refusal, Status},
    inbox::Item,
    mail::{EntryId, MailboxName},
    store::Error,
};

use super::{
    asker::Asker,
    call::Call,
    failure::Failure,
    limits::{NAMED_MAX, REMOVAL_ATTEMPTS},
};

/// Removes all of these messages.
///
/// # Errors
/// 409 names the mailboxes that are in use; then nothing was removed.
pub(super) fn remove(call: &Call<'_>, items: &[Item]) -> Result<(), Failure> {
    match call.api.store.remove_everywhere(&copies(items)) {
        Err(Error::Busy { mailboxes }) => {
            let text = format!(
                "Nothing was removed, because other sessions have these mailboxes open; try again \
                 later: {}",
                names(&mailboxes.into_iter().collect())
            );
            Err(Refusal::new(Status::Conflict, text).into())
        }
        removed => Ok(removed?),
    }
}

/// Removes the copies of all of these messages in this mailbox. Those in others stay.
///
/// # Errors
/// As [`remove`].
pub(super) fn remove_from(
    call: &Call<'_>,
    mailbox: &MailboxName,
    items: &[Item],
) -> Result<(), Failure> {
    let owner = Asker::Owner(mailbox.clone());
    let copies: Vec<Item> = items.iter().filter_map(|item| owner.view(item)).collect();
    remove(call, &copies)
}

/// Removes those of these messages that are in no mailbox that is in use.
///
/// # Errors
/// 409 names the mailboxes that are in use; their messages are still there.
pub(super) fn remove_where_free(call: &Call<'_>, items: &[Item]) -> Result<(), Failure> {
    let mut copies = copies(items);
    let mut busy = BTreeSet::new();
    for _ in 0..REMOVAL_ATTEMPTS {
        match call.api.store.remove_everywhere(&copies) {
            Err(Error::Busy { mailboxes }) => {
                copies.retain(|(mailbox, _)| !mailboxes.contains(mailbox));
                busy.extend(mailboxes);
            }
            removed => {
                removed?;
                copies.clear();
                break;
            }
        }
    }
    busy.extend(copies.into_iter().map(|(mailbox, _)| mailbox));
    if busy.is_empty() {
        return Ok(());
    }
    let text = format!(
        "The messages of these mailboxes are still there, because other sessions have them open; \
         try again later: {}",
        names(&busy)
    );
    Err(Refusal::new(Status::Conflict, text).into())
}

/// Says that not all was done, if the list of what to remove was partial.
pub(super) fn check_whole(is_partial: bool) -> Result<(), Refusal> {
    if is_partial {
        return Err(Refusal::busy(
            "Some messages could not be looked at, and may still be there; send the request again",
        ));
    }
    Ok(())
}

/// Each copy of each message.
fn copies(items: &[Item]) -> Vec<(MailboxName, EntryId)> {
    let copies = items.iter().flat_map(|item| {
        let mailboxes = item.mailboxes.iter().cloned();
        mailboxes.map(|mailbox| (mailbox, item.seen.id))
    });
    copies.collect()
}

/// The mailboxes as a list.
fn names(mailboxes: &BTreeSet<MailboxName>) -> String {
    let names = mailboxes.iter().take(NAMED_MAX).map(ToString::to_string);
    let names: Vec<String> = names.collect();
    let names = names.join(", ");
    match mailboxes.len().saturating_sub(NAMED_MAX) {
        0 => names,
        more => format!("{names} and {more} more"),
    }
}
