//! Sockets and threads: everything between the clients and the pure sessions.
//!
//! Each protocol has its listener thread ([`Listener`]), each client has its own thread
//! ([`Spares`]), and each session has a driver that performs its actions: it reads lines, asks the
//! accounts, moves octets between socket and store, and hands the outcome back. No syntax is parsed
//! here and no file is touched. The memory of sessions is limited, for each session and for all
//! together (`budget.rs`).
//!
//! # The main path
//! *Delivering:* accept → thread → octets → `wire::LineBuffer` → `smtp::Command` → `smtp::Session`
//! → `smtp::Reply`. MAIL begins a transaction; RCPT is one look-up; DATA begins a `store::Delivery`
//! and sends 354; the trace headers, and the content through `wire::DotDecoder`, go into it. At the
//! final dot `commit` makes the message durable, and then 250 is sent.
//!
//! *Retrieving:* PASS → `accounts` → `store::MessageStore::open_maildrop`. STAT, LIST, UIDL, DELE
//! and RSET are answered from that snapshot; RETR and TOP send a file through `wire::DotEncoder`;
//! QUIT removes the marked messages, and sends `+OK` when that is durable.

mod allowance;
mod budget;
mod connection;
mod content_rate;
mod current;
mod deadlines;
mod dialogue;
mod exposition;
mod handshakes;
pub mod http;
mod intake;
pub mod limits;
mod linger;
mod listener;
mod logins;
mod maillog;
mod muffler;
pub mod pop3;
mod reach;
mod reception;
mod registry;
mod remembered;
mod sending;
mod session;
mod shares;
mod sign_ins;
pub mod smtp;
mod spares;
mod start_tls;
mod tally;
mod tls;
mod waiters;
mod with_sources;

#[cfg(test)]
pub(crate) mod tests;

pub use current::Current;
pub use deadlines::Timeouts;
pub use handshakes::Handshakes;
pub use listener::{Listener, Sessions, bind};
pub use logins::Logins;
pub use reach::Reach;
pub use registry::Registry;
pub use remembered::Remembered;
pub use shares::{Caps, PerAddress};
pub use sign_ins::SignIns;
pub use spares::Spares;
pub use tls::{Identity, IdentityError};
pub use waiters::Waiters;
pub use with_sources::WithSources;
