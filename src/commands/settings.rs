//! `facteur settings`: prints what to type into a mail program.

use std::io::Write;

use crate::{
    cli::{Arguments, SettingsArguments},
    client_settings::{Host, Listener, Passwords, Settings},
    config::{Config, ENDPOINTS, Endpoint},
    mail::{Address, MailboxName},
};

use super::Error;

pub(super) fn run(
    asked: &SettingsArguments,
    arguments: &Arguments,
    output: &mut dyn Write,
) -> Result<(), Error> {
    let config = arguments.configuration()?;
    if !has_account(&config, &asked.address) {
        return Err(Error::NoAccount(asked.address.clone()));
    }
    let settings = Settings::new(&host(&config), asked.address.clone());
    if asked.autoconfig {
        let file = settings.autoconfig().map_err(Error::NoAutoconfig)?;
        output.write_all(file.as_bytes())?;
    } else {
        write!(output, "{settings}")?;
    }
    Ok(())
}

/// Whether an account has this address, or there are no accounts. An alias cannot log in.
fn has_account(config: &Config, address: &Address) -> bool {
    let Some(table) = &config.table else {
        return true;
    };
    let name = MailboxName::from_address(address);
    name.is_ok_and(|name| table.accounts().iter().any(|it| it.mailbox == name))
}

/// What a mail program has to know about the daemon.
pub(super) fn host(config: &Config) -> Host {
    let listener = |endpoint: &Endpoint| Listener {
        service: endpoint.service,
        door: endpoint.door,
        addresses: endpoint
            .listens(config)
            .iter()
            .map(|listen| listen.address)
            .collect(),
    };
    Host {
        name: config.hostname.0.as_str().to_owned(),
        listeners: ENDPOINTS.iter().map(listener).collect(),
        has_certificate: config.tls.is_some(),
        starttls: config.starttls.0,
        passwords: if config.table.is_some() {
            Passwords::OfTheAccount
        } else {
            Passwords::Any
        },
    }
}
