//! Sockets and threads: what stands between the clients and the pure sessions.
//!
//! Each protocol has its listener thread ([`Listener`]), each client its own thread, and each
//! session a driver that performs the session's actions: it reads lines, asks the accounts, moves
//! octets between socket and store, and hands the outcome back. No syntax is parsed here and no
//! file is touched. What sessions hold in memory is bounded, for each and for all (`budget.rs`).
//!
//! # Straight through
//! *A delivery:* accept → thread → octets → `wire::LineBuffer` → `smtp::Command` →
//! `smtp::Session` → `smtp::Reply`. MAIL opens a transaction; RCPT is one look-up; DATA begins a
//! `store::Delivery`, 354 is said, and the trace headers and the content go through
//! `wire::DotDecoder` into it. At the final dot `commit` makes it durable, and then 250 is said.
//!
//! *A retrieval:* PASS → `accounts` → `store::MessageStore::open_maildrop`. STAT, LIST, UIDL, DELE
//! and RSET are answered from that snapshot; RETR and TOP send a file through `wire::DotEncoder`;
//! QUIT removes what is marked, and `+OK` is said when that is durable.

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
pub use shares::{Caps, PerAddress};
pub use tls::{Identity, IdentityError};
pub use with_sources::WithSources;
