//! The integration tests: a daemon in this process, or the program itself, and real sockets.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::format_push_string,
    clippy::naive_bytecount,
    reason = "tests: a failed assumption is a failed test, and they make their own files"
)]

mod account_command;
mod accounts;
mod alone;
mod commands;
mod concurrency;
mod counters;
mod durability;
mod environment;
mod failing_disk;
mod full;
mod hostile;
mod hostile_mail;
mod house;
mod http;
mod inheritance;
mod life;
mod limits;
mod lmtp;
mod log_format;
mod logins;
mod memory;
mod metrics;
mod misdirected;
mod mistakes;
mod net;
mod place;
mod privileges;
mod program;
mod proxied;
mod reach;
mod renames;
mod replay;
mod retrieval;
mod sandbox;
mod scram;
mod sending;
mod sendmail;
mod slow;
mod story;
mod supervisor;
mod support;
mod tidy;
mod tls;
mod transcripts;
