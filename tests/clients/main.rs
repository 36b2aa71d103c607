//! Mail programs by other authors, each talking to the facteur program.
//!
//! These tests need the programs installed, so an ordinary run skips them. `.ci/run` installs the
//! programs and runs them:
//!
//! ```sh
//! cargo test --test clients -- --ignored
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "tests: a failed assumption is a failed test, and they make their own files"
)]

mod certificate;
mod curl;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, reason = "the integration tests use the rest")]
mod daemon;
mod dovecot;
mod fetchers;
mod manual;
mod mutt;
mod mutt_accounts;
mod outlines;
mod pages;
mod proxies;
mod python;
mod sandbox;
mod scan;
mod secure;
mod senders;
mod sendmail;
mod support;
mod terminals;
