//! Tests of the room as a whole: on a disk that fails, and on the real one.

mod checkpoint;
mod crash;
mod index;
#[cfg(shuttle)]
mod interleavings;
mod journal;
mod real;
mod renames;
mod waiting;

use crate::mail::MailboxName;

/// The mailbox of an address in canonical form.
fn mailbox(address: &str) -> MailboxName {
    let (local_part, domain) = address.split_once('@').unwrap();
    MailboxName::from_canonical(local_part, domain).unwrap()
}
