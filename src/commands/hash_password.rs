//! `facteur hash-password`: prints the line that gives an account its password, or the whole
//! account.
//!
//! The password is typed twice, because it is not shown; or it is the first line of a standard
//! input that is not a terminal. It is never a command-line argument, which every user of the
//! machine could read.

use std::io::Write;

use crate::{
    accounts::{self, Secrets},
    cli::HashPasswordArguments,
    mail::Secret,
    system::terminal::Input,
};

use super::Error;

pub(super) fn run(
    asked: &HashPasswordArguments,
    input: &mut dyn Input,
    output: &mut dyn Write,
) -> Result<(), Error> {
    let line = line_of(&password(input)?, asked.no_scram)?;
    if let Some(address) = &asked.address {
        let address = toml_edit::Value::from(address.to_string());
        writeln!(output, "[[accounts]]\naddress = {address}")?;
    }
    Ok(writeln!(output, "{}", line.trim_end())?)
}

/// Asks for a new password.
pub(super) fn password(input: &mut dyn Input) -> Result<Secret, Error> {
    let password = secret(input, "Password")?;
    if input.is_terminal() && secret(input, "Password again")? != password {
        return Err(Error::PasswordsDiffer);
    }
    Ok(password)
}

/// The line `password = …` of an account.
pub(super) fn line_of(password: &Secret, no_scram: bool) -> Result<String, Error> {
    let secrets = if no_scram {
        Secrets::Hash
    } else {
        Secrets::HashAndScram
    };
    accounts::hash_password(password, secrets).map_err(Error::Password)
}

fn secret(input: &mut dyn Input, prompt: &str) -> Result<Secret, Error> {
    let line = input.line(prompt).map_err(Error::Input)?;
    let text = String::from_utf8(line).map_err(|_octets_are_secret| Error::PasswordNotUtf8)?;
    Ok(Secret::new(text))
}
