//! Checks of a configuration as a whole, and the comparison of two configurations.

use std::net::SocketAddr;

use super::{
    endpoint::ENDPOINTS,
    error::{Error, Lack},
    keys::Config,
    values::Listen,
    variables::{Effect, VARIABLES},
};
use crate::mail::{Door, Service};

/// Checks that the values of `config` can be served together.
///
/// # Errors
/// [`Error::NoListener`], [`Error::Duplicate`], [`Error::NoCertificate`], [`Error::Exposed`].
pub fn check(config: &Config) -> Result<(), Error> {
    let mut open = ENDPOINTS
        .iter()
        .filter(|it| !(it.listens(config).is_empty() && it.sockets(config).is_empty()));
    // HTTP shows the mail that the others bring.
    if open
        .clone()
        .all(|endpoint| endpoint.service == Service::Http)
    {
        return Err(Error::NoListener);
    }
    check_duplicates(config)?;
    match open.find(|endpoint| endpoint.door == Door::Tls) {
        Some(endpoint) if config.tls.is_none() => {
            let key = config.name_of(endpoint.key);
            Err(Error::NoCertificate { key })
        }
        Some(_) | None => check_exposure(config),
    }
}

/// Finds addresses that are used twice: the system would report only that one is in use.
fn check_duplicates(config: &Config) -> Result<(), Error> {
    let mut seen: Vec<(&'static str, SocketAddr)> = Vec::new();
    for endpoint in &ENDPOINTS {
        for &Listen { address } in endpoint.listens(config) {
            let is_same = |(_, other): &&(&str, SocketAddr)| overlap(*other, address);
            if let Some((other, _)) = seen.iter().find(is_same) {
                let keys = [*other, endpoint.key].map(|key| config.name_of(key));
                return Err(Error::Duplicate { keys, address });
            }
            seen.push((endpoint.key, address));
        }
    }
    Ok(())
}

/// SEC-14: without accounts and TLS, only this machine may reach the mail, and without accounts the
/// networks of `open_to`.
fn check_exposure(config: &Config) -> Result<(), Error> {
    let lack = match (&config.table, &config.tls) {
        (Some(_), Some(_)) => return Ok(()),
        // Only clients of this machine and of these networks are served.
        (None, _) if !config.open_to.is_empty() => return Ok(()),
        (None, _) => Lack::Accounts,
        (Some(_), None) => Lack::Certificate,
    };
    for endpoint in &ENDPOINTS {
        let mut listens = endpoint.listens(config).iter();
        if let Some(&Listen { address }) = listens.find(|listen| !listen.is_loopback()) {
            let key = config.name_of(endpoint.key);
            return Err(Error::Exposed { key, address, lack });
        }
    }
    Ok(())
}

/// Whether two sockets cannot listen on these addresses at the same time. Port 0 is a different
/// free port each time.
fn overlap(one: SocketAddr, other: SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    let is_one_family = one.is_ipv4() == other.is_ipv4();
    one.port() != 0
        && one.port() == other.port()
        && (one.ip() == other.ip() || (is_any && is_one_family))
}

/// The keys whose values differ, except those that a running daemon reloads.
pub fn changes(one: &Config, other: &Config) -> Vec<&'static str> {
    let changed = VARIABLES
        .iter()
        .filter(|it| it.effect == Effect::Start && !(it.is_same)(one, other));
    changed.map(|it| it.key).collect()
}
