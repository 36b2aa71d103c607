//! Each command, run as `main` runs it, with its output in memory.

mod account;
mod cert;
mod hash_password;
mod inbox;
mod settings;

use clap::Parser as _;

use super::*;

/// Runs `facteur` with these arguments, which include a command, and returns what it printed.
fn run_with(arguments: &[&str]) -> Result<String, Error> {
    let all = std::iter::once(&"facteur").chain(arguments);
    let arguments = Arguments::try_parse_from(all).unwrap();
    let command = arguments.command.clone().unwrap();
    let mut output = Vec::new();
    run(&command, &arguments, &Clock::system(), &mut output)?;
    Ok(String::from_utf8(output).unwrap())
}

#[test]
fn check_is_not_for_commands() {
    let error = run_with(&["--check", "cert"]).unwrap_err();
    assert!(matches!(error, Error::CheckAndCommand), "{error}");
    assert!(error.is_usage());
}
