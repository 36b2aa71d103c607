//! Sockets and threads: what stands between the clients and the pure sessions.
//!
//! Each protocol has its listener thread ([`Listener`]), each client its own thread, and each
//! session a driver that performs the session's actions: it reads lines, asks the accounts, moves
//! octets between socket and store, and hands the outcome back. No syntax is parsed here and no
//! file is touched. What sessions hold in memory is bounded, for each and for all (`budget.rs`).

mod budget;
mod connection;
mod counters;
mod current;
mod dialogue;
mod handshakes;
mod intake;
pub mod limits;
mod listener;
mod logins;
mod maillog;
mod muffler;
pub mod pop3;
mod registry;
mod shares;
pub mod smtp;
mod tls;

#[cfg(test)]
pub(crate) mod tests;

use crate::mail::MailboxName;
use crate::store::{Error, MessageStore};

pub use connection::Timeouts;
pub use current::Current;
pub use handshakes::Handshakes;
pub use listener::{Door, Listener, Sessions, bind};
pub use logins::Logins;
pub use maillog::{Service, WithSources};
pub use registry::Registry;
pub use shares::{Caps, PerAddress};
pub use tls::{Identity, IdentityError};

/// Whether there is a mailbox of that name. One whose name is too long for a directory is none.
fn exists(store: &MessageStore, mailbox: &MailboxName) -> Result<bool, Error> {
    match store.has_mailbox(mailbox) {
        Err(Error::NameTooLong { .. }) => Ok(false),
        found => found,
    }
}
