//! facteur, French for postman: a mail daemon for one machine.
//!
//! Mail arrives over SMTP, is stored in plain Maildirs, and is fetched over POP3. Each client is
//! served by its own operating-system thread. facteur answers `250` only when the message will
//! survive a power cut, returns each message as it was sent, and starts without any configuration.
//!
//! It is a message store, not a relay: the daemon connects to no other host (but to its database,
//! where one is configured), starts no program, stores a message whatever its MIME says, and adds
//! only the trace headers of RFC 5321 §4.4.
//!
//! # Overview
//!
//! ```text
//!             daemon: configuration, one MessageStore, signals
//!      ┌────────┴──────────┬───────────────────┐
//!  smtp-listener       pop3-listener       http-listener       a thread each: accept in a loop
//!      │ │ │               │ │ │               │ │ │
//!   smtp-1 smtp-2 …     pop3-3 pop3-4 …     http-5 http-6 …    a thread for each client
//!      │                   │                   │
//!  ┌───┴──────────┐    ┌───┴──────────┐    ┌───┴──────────┐
//!  │ Connection   │    │ Connection   │    │ Connection   │    octets, lines, deadlines
//!  │ smtp::Session│    │ pop3::Session│    │ http::Session│    pure state machines
//!  └───┬──────────┘    └───┬──────────┘    └───┬──────────┘
//!      │ Delivery          │ Maildrop          │ Api: Look, Watch
//!      └───────┬───────────┴───────────────────┘
//!        MessageStore                      a journal in front of the Maildirs
//!              │      └── checkpoint         a thread that syncs the Maildirs
//!    mail/<domain>/<local part>/{tmp,new,cur}
//! ```
//!
//! The protocols do not know each other. Their sessions share the store, the accounts and the
//! limits. Threads that serve clients run in a sandbox in which they can open only mail.
//!
//! # The rooms
//!
//! Each module below is a room, and "Uses" lists every other room that it may use. A test fails if
//! the source differs from this list, or if source files depend on each other in a cycle.
//! - [`mail`]: addresses, envelopes, trace headers, the client's connection, SASL. No I/O, no log.
//! - [`wire`]: lines, line endings, dot-stuffing, truncation for TOP. Knows no commands.
//! - [`clock`]: the only reader of system time.
//! - [`counters`]: how counters are made and reported. Each room declares its own: `server/tally`.
//! - [`fs`]: files, and what each kind of file system is relied on for.
//! - [`system::capacity`]: how many sessions, and how much memory, the system can support.
//! - [`system::exit`]: the exit codes of the process.
//! - [`system::ipv6`]: whether this machine has IPv6.
//! - [`system::privileges`]: giving up root before a second thread starts.
//! - [`system::sandbox`]: restricts threads; `daemon/confinement` chooses to what.
//! - [`system::signals`]: SIGTERM, SIGINT, SIGHUP and SIGUSR1.
//! - [`system::supervisor`]: reports to the service manager.
//! - [`system::terminal`]: reading a password without showing it.
//! - [`smtp`]: commands, replies, the session. No socket, file, clock or log. Uses `mail`.
//! - [`pop3`]: commands, responses, the session. No socket, file, clock or log. Uses `mail`.
//! - [`http`]: requests, responses, the session. No socket, file, clock or log. Uses `mail`.
//! - [`mime`]: reads a mail for display, and writes one. No I/O, no clock, no log.
//! - [`accounts`]: who receives mail, and who may log in. No secret is logged. Uses `mail`.
//! - [`client_settings`]: what to type into a mail program. No I/O. Uses `mail`.
//! - [`store`]: mailboxes, in Maildirs (`store/maildir` has a map) or, with the feature `postgres`,
//!   in a database (`store/postgres` has one too). Uses `clock`, `counters`, `fs`, `mail`.
//! - [`inbox`]: lists, searches and reads the messages of all mailboxes. Uses `clock`, `mail`,
//!   `mime`, `store`.
//! - [`page`]: what pages say, and the HTML of a mail as a document. No I/O, no log. Uses `mime`.
//! - [`api`]: what the paths of HTTP mean. Uses `accounts`, `clock`, `http`, `inbox`, `mail`,
//!   `mime`, `page`, `store`.
//! - [`certificate`]: a CA, certificates, their expiry. No key is overwritten. Uses `fs`, `mail`.
//! - [`server`]: sockets, threads, client logs; `server/limits` has its numbers. Uses `accounts`,
//!   `api`, `clock`, `counters`, `http`, `inbox`, `mail`, `pop3`, `smtp`, `store`,
//!   `system::capacity`, `wire`.
//! - [`config`]: the TOML file, its variables, the listeners; `config/limits` has the defaults of
//!   all keys. Uses `accounts`, `fs`, `http`, `mail`, `server`, `smtp`, `store`, `wire`.
//! - [`logging`]: the log's queue and thread. Logging never blocks the caller. Uses `clock`.
//! - [`daemon`]: start and stop, ordered by `daemon/life`. Uses `accounts`, `api`, `certificate`,
//!   `clock`, `config`, `counters`, `fs`, `http`, `inbox`, `logging`, `mail`, `pop3`, `server`,
//!   `smtp`, `store`, `system`.
//! - [`cli`]: the command line, and `--help`. Uses `certificate`, `config`, `mail`.
//! - [`commands`]: the subcommands, such as `account` and `cert`. Uses `accounts`, `certificate`,
//!   `cli`, `client_settings`, `clock`, `config`, `fs`, `mail`, `mime`, `store`, `system`, `wire`.
//!
//! # Sessions and drivers
//!
//! A session is a state machine: its driver in [`server`] calls `greet` once, then `resume` with
//! each outcome. Both return a step: at most one reply to send, then exactly one action to perform.
//! So a protocol is tested without a socket, and a session sees `IdleTimeout`, never `EAGAIN`.
//!
//! # The promises
//!
//! Tests cite the id of the promise that they check. The [`store`] has I1 to I12. No SEC-15 exists.
//!
//! | Id | Promise | Where |
//! |---|---|---|
//! | SEC-1 | one line ending per session; only a dot on its own line ends a message | [`wire`] |
//! | SEC-2 | no cleartext password from afar; TLS discards what came before | [`mail::Link`] |
//! | SEC-3 | TLS 1.2 and 1.3, nothing older | [`server`] |
//! | SEC-4, SEC-10 | no program is started; SMTP, POP3 and the store parse no MIME | all rooms |
//! | SEC-5 | names from the network are encoded before they become part of a path | [`store`] |
//! | SEC-6 | the store is private; facteur warns of what others could change | [`store`] |
//! | SEC-7 | nothing from the network is logged unescaped, and no secret is logged | [`server`] |
//! | SEC-8 | every buffer, count and wait has a named limit, with its reason | each `limits` |
//! | SEC-9 | memory is bounded for each session and for all of them | [`system::capacity`] |
//! | SEC-11 | passwords are stored as hashes; guessing is slow and reveals nothing | [`accounts`] |
//! | SEC-12 | replies to unknown recipients are identical, delayed, and limited | [`accounts`] |
//! | SEC-13 | a client that does not begin with a command is disconnected | [`server`] |
//! | SEC-14 | without accounts only this machine and `open_to` are served | [`config`] |
//! | SEC-16 | threads that serve clients can reach only the store | [`system::sandbox`] |
//! | SEC-17 | a panic ends one session only | [`server`] |
//! | SEC-18 | few dependencies, each with its reason | `Cargo.toml` |
//! | SEC-19 | every parser of untrusted input is fuzzed | `tests/fuzz` |
//! | SEC-20 | content that looks like a batch of the journal is never read as one | [`store`] |
//! | NET-1 | a waiting session has a small stack and no buffers | [`server`] |
//! | NET-2 | ten thousand sessions can wait, and a new client is served immediately | [`server`] |
//! | NET-3 | bursts of connections wait in the backlog; one descriptor per session | [`server`] |
//! | NET-4 | no more sessions than the system can support | [`system::capacity`] |
//! | NET-5 | each address and network has its share of the sessions | [`server`] |
//! | NET-6 | no error of `accept` ends a listener or makes it busy-loop | [`server`] |
//! | NET-7 | no lock is held during I/O | [`server`] |

pub mod accounts;
pub mod api;
pub mod certificate;
pub mod cli;
pub mod client_settings;
pub mod clock;
pub mod commands;
pub mod config;
pub mod counters;
pub mod daemon;
pub mod fs;
pub mod http;
pub mod inbox;
pub mod logging;
pub mod mail;
pub mod mime;
pub mod page;
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
