//! `facteur account`: adds, changes, removes and lists accounts, and reloads a running daemon.

use std::{io::Write, path::Path};

use crate::{
    accounts,
    cli::{AccountAction, AccountArguments, Arguments, NewPassword},
    client_settings::Settings,
    config::{self, Book, BookError, Config},
    fs::Fs,
    mail::Address,
    system::terminal::Input,
};

use super::{Error, hash_password, reload, settings};

pub(super) fn run(
    asked: &AccountArguments,
    arguments: &Arguments,
    (fs, input): (&dyn Fs, &mut dyn Input),
    output: &mut dyn Write,
) -> Result<(), Error> {
    let named = arguments.environment.accounts().map_err(Error::Config)?;
    // The file that has the accounts, or leads to them.
    let file = named.as_deref().or(arguments.config.as_deref());
    let file = file.ok_or(Error::NoConfiguration)?;
    let open = || match &named {
        Some(file) => Book::open_file(file).map(|book| book.within(&arguments.environment)),
        None => Book::open(file).map(|book| book.within(&arguments.environment)),
    };
    match &asked.action {
        AccountAction::Add(add) => {
            let mut book = open()?;
            let (line, generated) = new_password(add.password, input)?;
            book.add(&add.address, &line, &add.alias)?;
            let made = book.changed_configuration().map(Path::to_owned);
            book.write(fs)?;
            writeln!(output, "added {} to {}", add.address, book.path().display())?;
            if let Some(file) = &made {
                writeln!(output, "{} now refers to that file", file.display())?;
            }
            print_password(generated, output)?;
            let config = arguments.unchecked_configuration()?;
            if made.is_some() && !config.user.is_empty() {
                let (user, path) = (&config.user, book.path().display());
                writeln!(
                    output,
                    "the user {user} must be able to read it: chown {user} {path}"
                )?;
            }
            if made.is_some() {
                writeln!(
                    output,
                    "Restart facteur: while it has no accounts, it accepts any password."
                )?;
            } else {
                reload::ask_daemon(&config, output)?;
            }
            print_settings(&config, &add.address, output)
        }
        AccountAction::Password(change) => {
            let mut book = open()?;
            // A wrong name should be reported before the user types a password twice.
            book.known(&change.address)?;
            let (line, generated) = new_password(change.password, input)?;
            book.set_password(&change.address, &line)?;
            book.write(fs)?;
            writeln!(output, "changed the password of {}", change.address)?;
            print_password(generated, output)?;
            reload::ask_daemon(&arguments.unchecked_configuration()?, output)
        }
        AccountAction::Remove(removal) => {
            let mut book = open()?;
            book.remove(&removal.address)?;
            book.write(fs)?;
            writeln!(output, "removed {}; its mail is kept", removal.address)?;
            reload::ask_daemon(&arguments.unchecked_configuration()?, output)
        }
        AccountAction::List => list(&arguments.unchecked_configuration()?, file, output),
    }
}

/// The configuration line of a password, and the password itself if it was generated.
fn new_password(
    asked: NewPassword,
    input: &mut dyn Input,
) -> Result<(String, Option<String>), Error> {
    let (password, generated) = if asked.generate {
        let password = accounts::generate_password().map_err(Error::Password)?;
        let text = password.expose().to_owned();
        (password, Some(text))
    } else {
        (hash_password::password(input)?, None)
    };
    let line = hash_password::line_of(&password, asked.no_scram)?;
    Ok((line, generated))
}

fn print_password(generated: Option<String>, output: &mut dyn Write) -> Result<(), Error> {
    if let Some(password) = generated {
        writeln!(output, "password: {password}")?;
    }
    Ok(())
}

/// Prints the settings for the new user, or why the daemon cannot start yet.
fn print_settings(config: &Config, address: &Address, output: &mut dyn Write) -> Result<(), Error> {
    let settings = Settings::new(&settings::host(config), address.clone());
    write!(output, "\n{settings}")?;
    if let Err(error) = config::check(config) {
        writeln!(output, "\nfacteur cannot start yet: {error}")?;
    }
    Ok(())
}

fn list(config: &Config, file: &Path, output: &mut dyn Write) -> Result<(), Error> {
    let Some(table) = &config.table else {
        let configuration = file.to_owned();
        return Err(Error::Accounts(BookError::NoAccounts { configuration }));
    };
    for account in table.accounts() {
        write!(output, "{}", account.mailbox)?;
        for alias in table.aliases(account) {
            write!(output, " {alias}")?;
        }
        writeln!(output)?;
    }
    Ok(())
}
