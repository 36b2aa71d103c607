//! facteur, the postman: a mail daemon for one machine.
//!
//! Mail comes in over SMTP, lies in plain Maildirs, and goes out over POP3. One operating system
//! thread serves one client. These pages are the description of the architecture; the README tells
//! how to use the program.
//!
//! # What it is for, and what it is not
//!
//! facteur answers `250` only when the message will survive a power cut, gives back exactly the
//! octets that it was given, and starts with nothing configured.
//!
//! It is a message store, not a relay: it never opens a connection to another host, never starts a
//! program, never parses MIME, never changes a message beyond the two trace headers that RFC 5321
//! §4.4 asks for. There is no async runtime and no `unsafe`.
//!
//! # The shape
//!
//! ```text
//!             main: configuration, one MessageStore, signals
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
//! All of it goes on in a sandbox: the kernel keeps the process to the mail directory and to
//! reading its configuration, and every thread below `main` to the mail directory alone.
//!
//! The two ports, the two loops and the two protocols are separate; the store is all they share.
//!
//! # The rooms
//!
//! Each module is a room. "May use" names every other room that it may use; a test reads every
//! path of the source and enforces it.
//!
//! | Room | Lives there | May use | Must never |
//! |---|---|---|---|
//! | [`mail`] | addresses, envelopes, trace headers, links, SASL | – | do I/O, read a clock, log |
//! | [`wire`] | lines, line endings, dot-stuffing, the cut of TOP | – | know a verb |
//! | [`clock`] | the only reader of system time | – | be global |
//! | [`counters`] | numbers that are added up | – | take a lock |
//! | [`fs`] | files and directories, and what each file system is relied on for | – | decide |
//! | [`smtp`] | commands, replies, the session | `mail` | see a socket, a file, a clock, the log |
//! | [`pop3`] | commands, responses, the session | `mail` | the same; and never `smtp` |
//! | [`accounts`] | who receives, who may log in | `mail` | log or show a secret |
//! | [`store`] | Maildirs, journal | `mail`, `clock`, `counters`, `fs` | speak a protocol, log |
//! | [`certificate`] | a CA, certificates, their expiry | `mail`, `fs` | overwrite a key |
//! | [`server`] | sockets, threads, mail log | all above, `capacity` | parse syntax, touch files |
//! | [`config`] | TOML to settings | all above | be kept in a session |
//! | [`daemon`], [`system::signals`], [`cli`] | assembly, start, stop | all above | hold logic |
//! | [`client_settings`] | what to type into a mail program | `mail` | do I/O |
//! | [`commands`] | what is done instead of serving | all above | hold logic |
//! | [`system::terminal`] | a password that is typed | – | show it |
//! | [`system::capacity`] | how much the system can carry | – | be asked twice |
//! | [`system::privileges`] | root, given up | – | be used by a second thread |
//! | [`system::sandbox`] | what threads may still do | – | know why |
//! | [`system::supervisor`] | what the service manager is told | – | wait for it |
//! | [`logging`] | the log's queue and thread | `clock` | hold anybody up |
//!
//! # The seam
//!
//! A session is a value with two functions. It gives a `Step`: at most one reply, then exactly one
//! `Action`; the driver in [`server`] sends the one, performs the other and hands back one
//! `Outcome`. So all of a protocol's decisions can be tested without a socket, and all of the
//! socket's accidents reach the protocol as words: a session knows `ShuttingDown` and
//! `ContentTooSlow`, not `EAGAIN`.
//!
//! *A delivery, straight through:* accept → thread → octets → [`wire::LineBuffer`] →
//! [`smtp::Command`] → [`smtp::Session`] → [`smtp::Reply`]; MAIL opens a transaction; RCPT is one
//! look-up; DATA begins a [`store::Delivery`], 354 is said, the trace headers and then the content
//! go through [`wire::DotDecoder`] into it; at the final dot `commit` makes it durable, and only
//! then is 250 said.
//!
//! *A retrieval, straight through:* PASS → [`accounts`] → [`store::MessageStore::open_maildrop`]
//! (lock, snapshot); STAT, LIST, UIDL, DELE, RSET are answered from the snapshot; RETR and TOP open
//! the file, say `+OK`, and send it through [`wire::DotEncoder`]; QUIT removes what is marked with
//! one call, and `+OK` is said when that is durable.
//!
//! # The store on disk
//!
//! ```text
//! mail/                                   0700, ours alone
//!   .facteur/store.lock                   locked by the one daemon that serves this store, as is
//!                                         the directory itself
//!   .facteur/journal/id                   there as long as the journal is to be replayed
//!   .facteur/journal/{0,1,2,3}.seg        the journal: batches of messages
//!   .facteur/tmp/                         messages on their way into mailboxes; emptied at start
//!   .facteur/waiting/example.com/bob/     messages for a mailbox that takes none, durable
//!   example.com/bob/{tmp,new,cur}/        a Maildir for each mailbox
//!     new/1732345678.9f…_00000001.localhost,S=1042,W=1071
//! ```
//!
//! Lines on disk end in LF, as Maildir readers expect. Turning LF into CRLF gives back the octets
//! that came: a bare LF is refused or accepted as a CRLF, and a CR is stored only where no line
//! ends behind it.
//!
//! *Why there is a journal.* A file that was written is not safe: for a while it is only in the
//! memory of the system, and so is its name in the directory. A program can wait until both are on
//! the disk (a sync), but that takes milliseconds, and a Maildir needs two for each message. A
//! journal is one file to which everything that comes is appended. Ten sessions whose messages come
//! at the same time append ten records, and one of them syncs for all: one wait instead of twenty.
//! The message also gets its file in the Maildir at once, where everybody can read it, but for that
//! nobody waits.
//!
//! *The life of a message*, and what a power cut would leave of it at each point:
//!
//! 1. It is coming in: in memory, or in `.facteur/tmp` when it is large. A power cut leaves
//!    nothing, or a file there that the next start removes. Nothing was promised.
//! 2. Its record is being written to the journal. A power cut leaves a batch that is torn, which
//!    its checksum tells, or one that happens to be whole. The message is gone, or it is there and
//!    its sender does not know: both are allowed.
//! 3. Its batch is synced. From here on the message cannot be lost: the next start reads the
//!    journal and delivers it.
//! 4. Its file is written to `.facteur/tmp` and renamed into `new/`, linked for further recipients,
//!    nothing synced. It can be read, and `250` is said. A power cut may leave the name without the
//!    file, the file without its octets, all of it, or nothing: the next start writes it anew
//!    whatever it finds.
//! 5. A checkpoint has synced the whole file system or, where that takes long because other
//!    programs write much, or is not known to save anything (FUSE, network file systems), just the
//!    file and its directory. Both are safe, and the next batch says so, within some ten seconds: a
//!    start has no need of the record, and its segment may be written over.
//!
//! *The removal of a message*: the file is unlinked and its directory synced; then, if the record
//! of its delivery could still be replayed, a record of the removal is put into the journal and
//! synced; then `+OK` is said. A power cut before that may bring it back, and none after it. One
//! file system (btrfs) has been seen to give back the name alone; a start that finds the record
//! removes what has that name.
//!
//! *The life of the journal.* It begins with the first message, or with the start of a store that
//! has had one: a random id is written to the file `id` and synced, and every batch carries it. It
//! ends when the daemon stops in order: the Maildirs are synced, and `id` is removed. So a start
//! that finds no `id` has nothing to do, whatever lies in the segments; and one that finds it
//! replays the batches of that id, syncs everything, removes it, and is then where an orderly stop
//! would have left it. It may be cut short at any point and begin again. Batches of another id are
//! not looked at, so nobody can smuggle one in by mail.
//!
//! *The place.* Before a batch is written, the leader checks that the mail directory and the lock
//! are still those that are held open. Between the sync of the batch and the acknowledgement, it
//! checks the same of the id and the segment. Where directory times can be trusted, one look at the
//! directory of these files is enough. People restore backups under a running daemon; then nothing
//! is acknowledged until a restart.
//!
//! *The directory of a mailbox* is made and synced before the first message for it goes into the
//! journal.
//!
//! *Large messages*, beyond 128 KiB, would be written twice for nothing. They are synced in
//! `.facteur/tmp`, renamed or linked into every `new/`, and every `new/` is synced, before `250` is
//! said. Every state that a power cut can leave is one of: nothing; a file in `.facteur/tmp`; the
//! whole file in some or all of the mailboxes of a message that was not acknowledged; the whole
//! file in all of them. With `durability = "maildir"` all messages go this way.
//!
//! *A mailbox that takes no mail*, because of its owner, its permissions, its quota or something
//! else in its place, is found out when it is named as a recipient, as far as one look can tell,
//! and its senders get 451 while those of others are served. What was acknowledged before is put
//! into `.facteur/waiting`, durably, so that neither a batch of the journal nor a start is held up
//! by it, and is delivered when the mailbox is mended: with the next message, login, start, or
//! minute. A mailbox to which nothing can be linked or renamed (another file system, a subvolume,
//! a project id) gets copies, synced one by one.
//!
//! *Other programs* may rename messages at any moment: move them to `cur`, change their flags,
//! append fields to their names. A message that one reading of its Maildir does not find is gone
//! only when the times of the directories, or a second reading, show that nothing was missed; a
//! program that renames without a pause makes the store say that it cannot answer now, and never
//! leave a message out. An own message is known by its serial whatever fields follow it.
//!
//! What a login read of a Maildir is remembered, within a bound, and used again as long as the
//! times of its directories prove that nothing has changed.
//!
//! # Invariants
//!
//! Each has tests that fail when it is broken.
//!
//! - I1: what was acknowledged is in every recipient's mailbox, octet for octet, after any crash
//!   and restart, until it is deleted.
//! - I2: after `+OK` to a QUIT with deletions they never come back.
//! - I3: without QUIT nothing is deleted.
//! - I4: nothing is visible over POP3 before it is durable and whole.
//! - I5: of what was not acknowledged there is no copy or one whole copy in a mailbox, never a
//!   part.
//! - I6: a unique-id never changes and is never reused.
//! - I7: a part of the journal is written over only when a successful sync covers all that it says,
//!   and a durable batch says so.
//! - I8: to replay the journal is the same as to replay it twice, or half and then all of it.
//! - I9: no acknowledgement rests on data whose sync failed, or is not known to save anything, or
//!   that no start would find; no sync is repeated.
//! - I10: when disk, descriptors, threads or memory run out, clients get 4yz or `-ERR`, nothing is
//!   lost, and the service resumes by itself. What is wrong with one mailbox harms it alone.
//! - I11: two daemons never serve one store, also when its lock file was removed.
//! - I12: no path made from the network leaves the store.
//!
//! # Security
//!
//! - SEC-1: line endings are strict; the first line fixes CRLF or (from this machine only) LF, and
//!   no other sequence ends a content: see [`wire`].
//! - SEC-2: no password is taken in clear off loopback, and TLS makes a session forget what came
//!   before; octets behind the command that begins it close the connection: see [`mail::Link`] and
//!   [`server`].
//! - SEC-3: TLS 1.2 and 1.3, by STARTTLS and STLS or from the first octet on, and nothing older.
//! - SEC-4: no program is ever started. SEC-10: there is no MIME parser.
//! - SEC-5: names from the network are encoded before they are part of a path: see [`store`].
//! - SEC-6: the store is ours alone, and no symbolic link in it is followed. Where others could
//!   change the configuration, the accounts or the key, or rename what the mail lies in, the log
//!   warns: see [`config`].
//! - SEC-7: nothing from the network reaches the log or a trace header unescaped, and nothing that
//!   could be a secret reaches the log at any level. What clients can have written at will is
//!   bounded for each of them, so that none fills the log or hides what others did.
//! - SEC-8: every buffer, count and wait has a limit, named with its reason:
//!   [`smtp::limits`], [`pop3::limits`], [`accounts::limits`], [`server::limits`],
//!   [`store::limits`].
//! - SEC-9: a session holds 64 KiB, with TLS 96 KiB, and what its client does not read is hardly
//!   more than 64 KiB in the kernel. What all of them hold beyond that, what deliveries hold, and
//!   what open maildrops list, is bounded for all of them together, and by the memory of the
//!   control group: see [`server`], [`store`] and [`system::capacity`].
//! - SEC-11: passwords are argon2id hashes; a user who does not exist gets the same answers after
//!   the same work, no more passwords are verified at once than there are cores and memory for, and
//!   the networks of those who wait take turns. Refusals come late, by address, by network and by
//!   account, and a network has only so many that wait to be told. A login holds as long as the
//!   account and its password: see [`accounts`].
//! - SEC-12: unknown recipients get one fixed text, a session only a few of them, and a network
//!   that has named many gets that text late.
//! - SEC-13: a client that begins with something else than a command is turned away.
//! - SEC-14: without accounts and TLS only loopback addresses are listened on: see [`config`].
//! - SEC-16: threads that meet clients can open nothing but the store, connect nowhere and execute
//!   nothing, where the kernel has Landlock: see [`system::sandbox`].
//! - SEC-17: a panic ends one session only.
//! - SEC-18: few dependencies, each with its reason, all of them in `Cargo.lock`.
//! - SEC-19: whatever takes octets from outside is fuzzed: see `tests/fuzz`.
//! - SEC-20: content that looks like a batch of the journal is never taken for one.
//!
//! # Threads
//!
//! - NET-1: a session's thread has a name and a small stack, and while it waits no buffer. It does
//!   not compute handshakes of TLS: a few threads do that for all.
//! - NET-2: ten thousand idle sessions fit, and a newcomer beside them is served at once.
//! - NET-3: a burst of clients waits to be accepted, replies leave at once, and a session has one
//!   descriptor.
//! - NET-4: there are no more sessions than the system can carry, in whatever phase their clients
//!   stop, and a session has one thread. Who is too many is told so without one: see [`system::capacity`].
//! - NET-5: an address has its share of them, and so has each of the networks around it and this
//!   machine, for which a part is kept. A network that has none gets one even when all are taken,
//!   as long as another holds several: one session of the largest is ended for it.
//! - NET-6: no error of `accept` and no lack of threads ends a listener or makes it spin.
//! - NET-7: no lock is held while octets are moved.

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
