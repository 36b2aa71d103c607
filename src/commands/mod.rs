//! What facteur can do instead of serving: one file for each command.
//!
//! A command reads what it was told, lets another room do the work, and writes what a person
//! should read to `output`; it holds no logic of its own beyond that.
//!
//! # Failures
//! [`Error`]: it is told in one line, and its exit code is that of the daemon for the same mistake.

mod account;
mod cert;
mod check_ready;
mod error;
mod hash_password;
mod reload;
mod settings;

#[cfg(test)]
mod tests;

use std::io;

use crate::{
    cli::{Arguments, Command},
    clock::Clock,
    fs::RealFs,
    system::terminal::StandardInput,
};

pub use error::{Error, NotReady};

/// Runs a command.
///
/// # Errors
/// Any [`Error`]: tell the person and end.
pub fn run(
    command: &Command,
    arguments: &Arguments,
    clock: &Clock,
    output: &mut dyn io::Write,
) -> Result<(), Error> {
    if arguments.check {
        return Err(Error::CheckAndCommand);
    }
    match command {
        Command::Account(asked) => {
            account::run(asked, arguments, (&RealFs, &mut StandardInput), output)
        }
        Command::Cert(asked) => cert::run(asked, arguments, (&RealFs, clock), output),
        Command::CheckReady => check_ready::run(arguments, clock, output),
        Command::HashPassword(asked) => hash_password::run(asked, &mut StandardInput, output),
        Command::Settings(asked) => settings::run(asked, arguments, output),
    }
}
