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

#[test]
fn a_move_needs_a_database_and_one_direction() {
    let error = run_with(&["migrate", "--from", "mail"]).unwrap_err();
    #[cfg(feature = "postgres")]
    assert!(matches!(error, Error::NoDatabase), "{error}");
    #[cfg(not(feature = "postgres"))]
    assert!(matches!(error, Error::NoPostgres), "{error}");
    assert!(error.is_usage());
    for wrong in [
        &["facteur", "migrate"][..],
        &["facteur", "migrate", "--from", "a", "--to", "b"],
    ] {
        assert!(Arguments::try_parse_from(wrong).is_err(), "{wrong:?}");
    }
}
