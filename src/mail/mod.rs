//! The vocabulary of mail: addresses, envelopes, trace headers, message summaries.
//!
//! Values and their syntax only. Nothing here does I/O, reads a clock, logs or starts a thread, so
//! every other room may use it, and every function can be tested with a table.

mod address;
mod closing;
mod credentials;
mod disclosure;
mod entry;
mod envelope;
mod foreign;
pub mod limits;
mod link;
mod mailbox;
mod message;
mod network;
pub mod proxy;
pub mod sasl;
mod service;
pub mod trace;

#[cfg(test)]
mod tests;

pub use address::{
    Address, AddressError, Charset, Domain, Dots, ForwardPath, Grammar, ReversePath,
    parse_forward_path, parse_reverse_path,
};
pub use closing::{Closing, Ending};
pub use credentials::{Credentials, Secret};
pub use disclosure::Disclosure;
pub use entry::EntryId;
pub use envelope::{BodyType, Envelope, Family, Protocol};
pub use foreign::Foreign;
pub use link::{ChannelBindings, Link, Tls};
pub use mailbox::{MailboxName, fold_local_part, local_part_forms};
pub use message::{MessageSummary, Summaries, UniqueId, added_octets};
pub use network::{Breadth, Network};
pub use service::{Door, Service};
