//! The files of the pages, the views without scripts, and hostile mails.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    reason = "an overflow or a wrong index in a test fails the test"
)]

mod assets;
mod document;
mod plain;
