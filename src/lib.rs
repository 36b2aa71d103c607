//! facteur, the postman: a mail daemon for one machine.
//!
//! Mail comes in over SMTP, lies in plain Maildirs, and goes out over POP3. One operating system
//! thread serves one client. facteur answers `250` only when the message will survive a power cut,
//! gives back exactly the octets that it was given, and starts with nothing configured.
//!
//! It is a message store, not a relay: it never opens a connection to another host, never starts a
//! program, never parses MIME, and never changes a message beyond the two trace headers that
//! RFC 5321 §4.4 asks for. There is no async runtime and no `unsafe`.
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
//! The two ports, the two loops and the two protocols are separate; the store is all they share.
//! All of it runs in a sandbox, so that threads can touch the mail directory alone.
//!
//! # The rooms
//!
//! Each module is a room, and "uses" names every other room that it may use. A test fails where
//! the source differs from this list, and on any circle of files.
//! - [`mail`]: addresses, envelopes, trace headers, links, SASL. No I/O, no log.
//! - [`wire`]: lines, line endings, dot-stuffing, the cut of TOP. No verbs.
//! - [`clock`]: the only reader of system time.
//! - [`counters`]: numbers that are added up. No locks.
//! - [`fs`]: files, and what each file system is relied on for. No decisions.
//! - [`system::capacity`]: how much the system can carry.
//! - [`system::exit`]: what the process ends with.
//! - [`system::ipv6`]: whether this machine has it.
//! - [`system::privileges`]: root, given up before there is a second thread.
//! - [`system::sandbox`]: what threads may still do.
//! - [`system::signals`]: signals as values.
//! - [`system::supervisor`]: what the service manager is told.
//! - [`system::terminal`]: a password that is typed, and not shown.
//! - [`smtp`]: commands, replies, the session. No socket, file, clock or log. Uses `mail`.
//! - [`pop3`]: commands, responses, the session. The same. Uses `mail`.
//! - [`accounts`]: who receives, who may log in. No secret is logged or shown. Uses `mail`.
//! - [`client_settings`]: what to type into a mail program. No I/O. Uses `mail`.
//! - [`store`]: mailboxes. No protocol, no log. Uses `clock`, `counters`, `fs`, `mail`.
//! - [`certificate`]: a CA, certificates, their expiry. No key is overwritten. Uses `fs`, `mail`.
//! - [`server`]: sockets, threads, the mail log. No syntax, no files. Uses `accounts`, `clock`,
//!   `counters`, `mail`, `pop3`, `smtp`, `store`, `system::capacity`, `wire`.
//! - [`config`]: TOML to settings. Uses `accounts`, `fs`, `mail`, `server`, `smtp`, `store`,
//!   `wire`.
//! - [`logging`]: the log's queue and thread. Nobody waits for it. Uses `clock`.
//! - [`daemon`]: start, reload and stop, in their order. Uses `accounts`, `certificate`, `clock`,
//!   `config`, `counters`, `logging`, `mail`, `pop3`, `server`, `smtp`, `store`, `system`.
//! - [`cli`]: the command line. Uses `certificate`, `config`, `mail`.
//! - [`commands`]: what is done instead of serving. Uses `accounts`, `certificate`, `cli`,
//!   `client_settings`, `clock`, `config`, `fs`, `mail`, `store`, `system`.
//!
//! # The seam
//!
//! A session is a value with two functions. It gives a step: at most one reply, then exactly one
//! action. The driver in [`server`] sends the one, performs the other and hands back one outcome.
//! So all of a protocol's decisions can be tested without a socket, and all of the socket's
//! accidents reach the protocol as words: a session knows `ShuttingDown`, not `EAGAIN`.
//!
//! # The promises
//!
//! Each has tests that name it. I1 to I12 are those of the [`store`].
//!
//! | Id | Promise | Where |
//! |---|---|---|
//! | SEC-1 | line endings are strict, and no other sequence ends a content | [`wire`] |
//! | SEC-2 | no password in clear off loopback; TLS makes a session forget | [`mail::Link`] |
//! | SEC-3 | TLS 1.2 and 1.3, nothing older | [`server`] |
//! | SEC-4, SEC-10 | no program is started, no MIME parsed | all rooms |
//! | SEC-5 | names from the network are encoded before they are part of a path | [`store`] |
//! | SEC-6 | the store is private; what others could change is warned of | [`config`] |
//! | SEC-7 | nothing from the network is logged unescaped, no secret at all | [`server`] |
//! | SEC-8 | every buffer, count and wait has a limit, named with its reason | each `limits` |
//! | SEC-9 | memory is bounded for each session and for all of them | [`system::capacity`] |
//! | SEC-11 | passwords are argon2id hashes; guessing is slow and tells nothing | [`accounts`] |
//! | SEC-12 | unknown recipients get one text, few of them, and late | [`accounts`] |
//! | SEC-13 | a client that does not begin with a command is turned away | [`server`] |
//! | SEC-14 | without accounts and TLS only loopback is listened on | [`config`] |
//! | SEC-16 | threads that meet clients can open nothing but the store | [`system::sandbox`] |
//! | SEC-17 | a panic ends one session only | [`server`] |
//! | SEC-18 | few dependencies, each with its reason | `Cargo.toml` |
//! | SEC-19 | whatever takes octets from outside is fuzzed | `tests/fuzz` |
//! | SEC-20 | content that looks like a batch of the journal is never taken for one | [`store`] |
//! | NET-1 | a session's thread has a small stack, and no buffer while it waits | [`server`] |
//! | NET-2 | ten thousand idle sessions fit, and a newcomer is served at once | [`server`] |
//! | NET-3 | bursts wait to be accepted; one descriptor a session | [`server`] |
//! | NET-4 | no more sessions than the system can carry | [`system::capacity`] |
//! | NET-5 | each address and network has its share of the sessions | [`server`] |
//! | NET-6 | no error of `accept` ends a listener or makes it spin | [`server`] |
//! | NET-7 | no lock is held while octets are moved | [`server`] |

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

/// Files that the tests here share with those outside name the crate alike.
#[cfg(test)]
extern crate self as facteur;
#[cfg(test)]
mod testing;
