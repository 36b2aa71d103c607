//! facteur, French for postman: a mail daemon for one machine.
//!
//! Mail arrives over SMTP, is stored in plain Maildirs, and is fetched over POP3. Each client has
//! its own operating system thread. facteur answers `250` only when the message will survive a
//! power cut, gives back exactly the octets it received, and starts without any configuration.
//!
//! It is a message store, not a relay: it never opens a connection to another host, never starts a
//! program, never parses MIME, and never changes a message except for the two trace headers that
//! RFC 5321 §4.4 requires. There is no async runtime and no `unsafe`.
//!
//! # The shape
//!
//! ```text
//!             daemon: configuration, one MessageStore, signals
//!               │
//!      ┌────────┴──────────┐
//!  smtp-listener       pop3-listener       a thread each: accept in a loop
//!      │ │ │               │ │ │
//!   smtp-1 smtp-2 …     pop3-3 pop3-4 …    a thread for each client
//!      │                   │
//!  ┌───┴──────────┐    ┌───┴──────────┐
//!  │ Connection   │    │ Connection   │    octets, lines, deadlines
//!  │ smtp::Session│    │ pop3::Session│    pure state machines
//!  └───┬──────────┘    └───┬──────────┘
//!      │ Delivery          │ Maildrop
//!      └───────┬───────────┘
//!        MessageStore                      a Mutex-guarded mailbox directory
//!              │      └── checkpoint         a thread that makes the Maildirs durable
//!    mail/<domain>/<local part>/{tmp,new,cur}
//! ```
//!
//! The two protocols share only the store. A sandbox restricts threads to the mail directory.
//!
//! # The rooms
//!
//! Each module is a room, and "uses" lists every other room that it may use. A test fails if the
//! source differs from this list, or if files use each other in a circle.
//! - [`mail`]: addresses, envelopes, trace headers, links, SASL. No I/O, no log.
//! - [`wire`]: lines, line endings, dot-stuffing, cutting for TOP. No verbs.
//! - [`clock`]: the only reader of system time.
//! - [`counters`]: sums of what has happened. No locks.
//! - [`fs`]: files, and the guarantees expected from file systems. No decisions.
//! - [`system::capacity`]: how much the system can support.
//! - [`system::exit`]: the exit codes of the process.
//! - [`system::ipv6`]: whether this machine has IPv6.
//! - [`system::privileges`]: giving up root before a second thread starts.
//! - [`system::sandbox`]: what threads are still allowed to do.
//! - [`system::signals`]: signals as values.
//! - [`system::supervisor`]: reports to the service manager.
//! - [`system::terminal`]: reading a password without showing it.
//! - [`smtp`]: commands, replies, the session. No socket, file, clock or log. Uses `mail`.
//! - [`pop3`]: commands, responses, the session. As for `smtp`. Uses `mail`.
//! - [`accounts`]: who receives, who may log in. No secret is logged or shown. Uses `mail`.
//! - [`client_settings`]: what to type into a mail program. No I/O. Uses `mail`.
//! - [`store`]: mailboxes. No protocol, no log. Uses `clock`, `counters`, `fs`, `mail`.
//! - [`certificate`]: a CA, certificates, their expiry. No key is overwritten. Uses `fs`, `mail`.
//! - [`server`]: sockets, threads, the mail log. No syntax, no files. Uses `accounts`, `clock`,
//!   `counters`, `mail`, `pop3`, `smtp`, `store`, `system::capacity`, `wire`.
//! - [`config`]: TOML to settings. Uses `accounts`, `fs`, `mail`, `server`, `smtp`, `store`,
//!   `wire`.
//! - [`logging`]: the log's queue and thread. No thread waits for it. Uses `clock`.
//! - [`daemon`]: start, reload and stop, in order. Uses `accounts`, `certificate`, `clock`,
//!   `config`, `counters`, `logging`, `mail`, `pop3`, `server`, `smtp`, `store`, `system`.
//! - [`cli`]: the command line. Uses `certificate`, `config`, `mail`.
//! - [`commands`]: what runs instead of the daemon. Uses `accounts`, `certificate`, `cli`,
//!   `client_settings`, `clock`, `config`, `fs`, `mail`, `store`, `system`.
//!
//! # The seam
//!
//! A session is a value with two functions. It returns a step: at most one reply, then exactly one
//! action. The driver in [`server`] sends the reply, performs the action and hands back an outcome.
//! So all decisions of a protocol can be tested without a socket, and what happens to a socket
//! reaches the protocol as a named event: a session knows `ShuttingDown`, not `EAGAIN`.
//!
//! # The promises
//!
//! Each has tests that name it. I1 to I12 are promises of the [`store`].
//!
//! | Id | Promise | Where |
//! |---|---|---|
//! | SEC-1 | line endings are strict, and no other sequence ends a message | [`wire`] |
//! | SEC-2 | no cleartext password off loopback; TLS makes a session forget | [`mail::Link`] |
//! | SEC-3 | TLS 1.2 and 1.3, nothing older | [`server`] |
//! | SEC-4, SEC-10 | no program is started, no MIME parsed | all rooms |
//! | SEC-5 | names from the network are encoded before they are part of a path | [`store`] |
//! | SEC-6 | the store is private; facteur warns of what others could change | [`config`] |
//! | SEC-7 | nothing from the network is logged unescaped, and no secret is logged | [`server`] |
//! | SEC-8 | every buffer, count and wait has a limit, named with its reason | each `limits` |
//! | SEC-9 | memory is bounded for each session and for all of them | [`system::capacity`] |
//! | SEC-11 | passwords are argon2id hashes; guessing is slow and reveals nothing | [`accounts`] |
//! | SEC-12 | replies to unknown recipients are alike, few, and delayed | [`accounts`] |
//! | SEC-13 | a client that does not begin with a command is turned away | [`server`] |
//! | SEC-14 | without accounts only this machine and `open_to` are served | [`config`] |
//! | SEC-16 | threads that serve clients can open only the store | [`system::sandbox`] |
//! | SEC-17 | a panic ends one session only | [`server`] |
//! | SEC-18 | few dependencies, each with its reason | `Cargo.toml` |
//! | SEC-19 | everything that reads octets from outside is fuzzed | `tests/fuzz` |
//! | SEC-20 | content that looks like a batch of the journal is never read as one | [`store`] |
//! | NET-1 | a session's thread has a small stack, and no buffer while it waits | [`server`] |
//! | NET-2 | ten thousand idle sessions fit, and a new client is served immediately | [`server`] |
//! | NET-3 | bursts wait to be accepted; one descriptor per session | [`server`] |
//! | NET-4 | no more sessions than the system can support | [`system::capacity`] |
//! | NET-5 | each address and network has its share of the sessions | [`server`] |
//! | NET-6 | no error of `accept` ends a listener or makes it spin | [`server`] |
//! | NET-7 | no lock is held during input and output | [`server`] |

pub mod accounts;
pub mod certificate;
pub mod cli;
pub mod client_settings;
pub mod clock;
pub mod commands;
pub mod config;
pub mod counters;
pub mod daemon;
pub mod fs;
pub mod logging;
pub mod mail;
pub mod pop3;
pub mod server;
pub mod smtp;
pub mod store;
pub mod system;
pub mod wire;

/// Lets files shared with the integration tests refer to the crate by the same name.
#[cfg(test)]
extern crate self as facteur;
#[cfg(test)]
mod testing;
