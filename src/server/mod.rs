//! Sockets and threads: what stands between the clients and the pure sessions.
//!
//! Each protocol has its listener thread ([`Listener`]), each client its own thread, and each
//! session a driver that performs the session's actions: it reads lines, asks the accounts, moves
//! octets between socket and store, and hands the outcome back. No syntax is parsed here and no
//! file is touched. What sessions hold in memory is bounded, for each and for all (`budget.rs`).

mod allowance;
mod budget;
mod connection;
mod content_rate;
mod current;
mod deadlines;
mod dialogue;
mod handshakes;
mod intake;
pub mod limits;
mod linger;
mod listener;
mod logins;
mod mailboxes;
mod maillog;
mod muffler;
pub mod pop3;
mod registry;
mod session;
mod shares;
pub mod smtp;
mod start_tls;
mod tally;
mod tls;
mod with_sources;

#[cfg(test)]
pub(crate) mod tests;

pub use current::Current;
pub use deadlines::Timeouts;
pub use handshakes::Handshakes;
pub use listener::{Listener, Sessions, bind};
pub use logins::Logins;
pub use registry::Registry;
pub use session::{Door, Service};
pub use shares::{Caps, PerAddress};
pub use tls::{Identity, IdentityError};
pub use with_sources::WithSources;
