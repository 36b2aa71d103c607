//! The commands that facteur can run instead of serving, one file for each.
//!
//! A command reads its arguments, lets another room do the work, and writes to `output` what the
//! user should read. It has no other logic.
//!
//! # Failures
//! [`Error`]: it is reported in one line. Its exit code is the daemon's for the same mistake;
//! `sendmail` has those of sysexits.h, and `wait` has that of timeout(1).

mod account;
mod cert;
mod check_ready;
mod error;
mod hash_password;
mod inbox;
mod local;
#[cfg(feature = "postgres")]
mod migrate;
mod reload;
mod sendmail;
mod settings;

#[cfg(test)]
mod tests;

use crate::{
    cli::{Arguments, Command},
    clock::Clock,
    fs::RealFs,
    system::terminal::{Output, StandardInput},
};

pub use error::{Error, NotReady};
pub use inbox::Error as InboxError;
pub use sendmail::Error as SendmailError;

/// Runs a command.
///
/// # Errors
/// Any [`Error`]: report it and exit.
pub fn run(
    command: &Command,
    arguments: &Arguments,
    clock: &Clock,
    output: &mut dyn Output,
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
        Command::Cursor => Ok(inbox::cursor(arguments, clock, output)?),
        Command::HashPassword(asked) => hash_password::run(asked, &mut StandardInput, output),
        Command::List(asked) => Ok(inbox::list(asked, arguments, clock, output)?),
        #[cfg(feature = "postgres")]
        Command::Migrate(asked) => migrate::run(asked, arguments, clock, output),
        #[cfg(not(feature = "postgres"))]
        Command::Migrate(_) => Err(Error::NoPostgres),
        Command::Remove(asked) => Ok(inbox::remove(asked, arguments, clock, output)?),
        Command::Sendmail(asked) => Ok(sendmail::run(asked, arguments, clock, output)?),
        Command::Settings(asked) => settings::run(asked, arguments, output),
        Command::Show(asked) => Ok(inbox::show(asked, arguments, clock, output)?),
        Command::Wait(asked) => Ok(inbox::wait(asked, arguments, clock, output)?),
    }
}
