//! `facteur hash-password` with a person at a terminal, and with a script.

use std::io;

use clap::Parser as _;

use crate::{
    accounts::HashingError,
    cli::HashPasswordArguments,
    commands::hash_password,
    mail::{Address, Charset},
    system::terminal::Input,
};

use super::*;

/// The lines that a person types or a script sends.
pub(super) struct Fed {
    pub(super) is_terminal: bool,
    pub(super) rest: Vec<&'static [u8]>,
    pub(super) prompts: Vec<String>,
}

impl Input for Fed {
    fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    fn line(&mut self, prompt: &str) -> io::Result<Vec<u8>> {
        self.prompts.push(prompt.to_owned());
        if self.rest.is_empty() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        Ok(self.rest.remove(0).to_vec())
    }
}

/// The output, and how often a password was asked for.
fn hash(
    is_terminal: bool,
    lines: &[&'static [u8]],
    no_scram: bool,
) -> (Result<String, Error>, usize) {
    let asked = HashPasswordArguments {
        address: None,
        no_scram,
    };
    answer(&asked, is_terminal, lines)
}

/// The same for any arguments.
fn answer(
    asked: &HashPasswordArguments,
    is_terminal: bool,
    lines: &[&'static [u8]],
) -> (Result<String, Error>, usize) {
    let mut input = Fed {
        is_terminal,
        rest: lines.to_vec(),
        prompts: Vec::new(),
    };
    let mut output = Vec::new();
    let result = hash_password::run(asked, &mut input, &mut output);
    let printed = result.map(|()| String::from_utf8(output).unwrap());
    (printed, input.prompts.len())
}

#[test]
fn one_line_is_printed_and_the_password_is_not_in_it() {
    let (typed, n_asked) = hash(true, &[b"hunter2", b"hunter2"], false);
    assert_eq!(n_asked, 2);
    let (piped, n_asked) = hash(false, &[b"hunter2", b"other"], true);
    assert_eq!(n_asked, 1);
    let (typed, piped) = (typed.unwrap(), piped.unwrap());
    for line in [&typed, &piped] {
        assert_eq!(line.lines().count(), 1, "{line}");
        assert!(line.starts_with("password = "), "{line}");
        assert!(line.contains("$argon2id$"), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
        toml::from_str::<toml::Table>(line).unwrap();
    }
    assert!(typed.contains("SCRAM-SHA-256"), "{typed}");
    assert!(!piped.contains("SCRAM-SHA-256"), "{piped}");
}

/// The output can be pasted into the file as it is.
#[test]
fn with_an_address_the_whole_account_is_printed() {
    for address in ["bob@example.com", "\"b\\\"b\"@example.com"] {
        let asked = HashPasswordArguments {
            address: Some(Address::parse(address, Charset::Utf8).unwrap()),
            no_scram: true,
        };
        let (printed, _) = answer(&asked, false, &[b"hunter2"]);
        let printed = printed.unwrap();
        let file: toml::Table = toml::from_str(&printed).unwrap();
        let account = &file["accounts"][0];
        assert_eq!(account["address"].as_str(), Some(address), "{printed}");
        let password = account["password"].as_str().unwrap();
        assert!(password.starts_with("$argon2id$"), "{printed}");
    }
}

#[test]
fn two_passwords_that_differ_are_refused() {
    let (result, _) = hash(true, &[b"hunter2", b"hunter3"], false);
    assert!(matches!(result, Err(Error::PasswordsDiffer)), "{result:?}");
}

#[test]
fn invalid_passwords_are_refused() {
    for (line, expected) in [
        (&b""[..], HashingError::Empty),
        (b"hunter2\r", HashingError::Control),
        (b"hun\0ter", HashingError::Control),
        ("h\u{fc}nter".as_bytes(), HashingError::NotAscii),
    ] {
        let (result, _) = hash(false, &[line], false);
        let Err(Error::Password(found)) = result else {
            panic!("{line:?}: {result:?}");
        };
        assert_eq!(found, expected, "{line:?}");
    }
    let (result, _) = hash(false, &[b"\xff"], false);
    assert!(matches!(result, Err(Error::PasswordNotUtf8)), "{result:?}");
    let (result, _) = hash(true, &[b"hunter2"], false);
    assert!(matches!(result, Err(Error::Input(_))), "{result:?}");
    assert!(hash(false, &["h\u{fc}nter".as_bytes()], true).0.is_ok());
}

#[test]
fn a_password_on_the_command_line_is_refused() {
    let arguments = ["facteur", "hash-password", "hunter2"];
    assert!(Arguments::try_parse_from(arguments).is_err());
}
