//! Certificates: a CA for this machine, a server certificate signed by it, and expiry dates.
//!
//! [`make`] does the work of `facteur cert`. The daemon uses only [`expiry`]: it reads its
//! certificate like one from any other source, and starting it never changes a file.
//!
//! # Theory of operation
//! The directory has four files, which are made in this order: `ca.key`, `ca.pem`, `key.pem`,
//! `certificate.pem`. Each is durable before the next is started (`files.rs`), and existing files
//! are kept. So whenever a crash happens, the existing files fit together, and the next run makes
//! the rest. A renewal replaces only `certificate.pem`, in one step, and keeps the key. Two files
//! cannot be replaced in one step, and a daemon that found a new key beside the old certificate
//! could not start. To get a new key, remove both files.
//!
//! `ca.key` is needed only to sign: it can be kept elsewhere and put back for a renewal.
//!
//! `authority.rs` documents what the CA may sign for. `names.rs` has the names, `der.rs` reads
//! certificates, `pem.rs` reads and writes their text form, and `report.rs` writes the instructions
//! for the user.
//!
//! # Invariants
//! No private key and no CA is ever overwritten. No private key appears in an error, in output or
//! in a `Debug` form. `certificate.pem` always fits `key.pem` and `ca.pem`; one that does not is
//! reported and left as it is.
//!
//! # Failures
//! [`Error`], for the person who ran the command.

mod authority;
mod der;
mod error;
mod files;
pub mod limits;
mod names;
mod pem;
mod report;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use rcgen::KeyPair;

use crate::fs::Fs;

pub use der::expiry;
pub use error::Error;
pub use names::{Name, NotAName};
pub use report::{Instructions, configuration_lines};

use der::Certificate;
use files::{FileName, Files};

/// What to make.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// The directory of the files. It is created if it is missing; its parent is not.
    pub directory: &'a Path,
    /// The names that the certificate must have.
    pub names: &'a [Name],
    /// Whether to replace a certificate that is still valid.
    pub renew: bool,
    /// Seconds since 1970.
    pub now: u64,
}

/// The state of the directory after [`make`].
#[derive(Clone, Debug)]
pub struct Made {
    /// The file of the CA's certificate.
    pub authority: PathBuf,
    /// The file of the server's certificate.
    pub certificate: PathBuf,
    /// The file of the server's private key.
    pub key: PathBuf,
    /// SHA-256 of the CA's certificate, as programs show it.
    pub fingerprint: String,
    /// Whether the CA existed before.
    pub authority_was_there: bool,
    /// What happened to the server's certificate.
    pub change: Change,
    /// The last second in which the certificate is valid, since 1970.
    pub not_after: u64,
    /// The names that the certificate is for.
    pub names: Vec<Name>,
    /// Requested names that the certificate is not for.
    pub lacking: Vec<Name>,
}

/// What happened to the server's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It existed and is unchanged.
    Kept,
    /// It did not exist.
    Made,
    /// It replaces another one, with the same key.
    Renewed,
}

/// Makes the missing files of a directory, and renews the server's certificate if that is requested
/// or it has expired. A renewed certificate keeps the names of the old one.
///
/// # Errors
/// Any [`Error`]: report it. Running the command again is always safe.
pub fn make(fs: &dyn Fs, request: &Request<'_>) -> Result<Made, Error> {
    let files = Files::open(fs, request.directory)?;
    let authority = read(&files, FileName::Authority, pem::CERTIFICATE)?;
    let old = read(&files, FileName::Certificate, pem::CERTIFICATE)?;
    let mut names = Vec::new();
    names::add(&mut names, request.names);
    if let Some(old) = &old {
        let foreign = || Error::Foreign {
            path: files.path(FileName::Certificate),
        };
        let authority = authority.as_deref().ok_or_else(foreign)?;
        let old = Certificate::parse(old).ok_or_else(foreign)?;
        let old_names = check_old(&files, authority, &old)?;
        if !request.renew && old.not_after >= request.now {
            let lacking = |name: &&Name| !old_names.contains(name);
            let lacking: Vec<Name> = names.iter().filter(lacking).cloned().collect();
            let permitted = parse_authority(&files, authority)?.permitted();
            let permitted = permitted.unwrap_or_default();
            let is_forbidden = |name: &&Name| !permitted.iter().any(|part| part.covers(name));
            if let Some(name) = lacking.iter().find(is_forbidden) {
                return Err(Error::NotPermitted {
                    name: name.clone(),
                    authority: files.path(FileName::Authority),
                });
            }
            let made = Issued {
                authority,
                authority_was_there: true,
                change: Change::Kept,
                not_after: old.not_after,
                names: old_names,
            };
            return Ok(made.in_files(&files, lacking));
        }
        let wanted = std::mem::replace(&mut names, old_names);
        names::add(&mut names, &wanted);
    }
    issue(&files, request.now, authority, names, old.is_some())
}

/// Checks that a server's certificate was signed by this CA and fits the key; returns its names.
fn check_old(
    files: &Files<'_>,
    authority: &[u8],
    old: &Certificate<'_>,
) -> Result<Vec<Name>, Error> {
    let path = files.path(FileName::Certificate);
    let authority = parse_authority(files, authority)?;
    if old.issuer != authority.subject {
        return Err(Error::OtherAuthority {
            certificate: path,
            authority: files.path(FileName::Authority),
        });
    }
    let foreign = || Error::Foreign { path: path.clone() };
    let names = old.names().ok_or_else(foreign)?;
    match read_key(files, FileName::Key)? {
        Some(key) if authority::public_key(&key) == old.public_key => Ok(names),
        Some(_) | None => Err(Error::Mismatch {
            certificate: path,
            key: files.path(FileName::Key),
        }),
    }
}

/// Signs a server's certificate, with the existing CA and keys or new ones.
fn issue(
    files: &Files<'_>,
    now: u64,
    authority: Option<Vec<u8>>,
    names: Vec<Name>,
    is_renewal: bool,
) -> Result<Made, Error> {
    let authority_was_there = authority.is_some();
    let (authority, authority_key) = match authority {
        Some(authority) => (authority, existing_authority_key(files)?),
        None => make_authority(files, &names, now)?,
    };
    let parsed = parse_authority(files, &authority)?;
    check_authority(files, &parsed, &authority_key, now)?;
    let permitted = parsed.permitted().unwrap_or_default();
    let is_forbidden = |name: &&Name| !permitted.iter().any(|part| part.covers(name));
    if let Some(name) = names.iter().find(is_forbidden) {
        return Err(Error::NotPermitted {
            name: name.clone(),
            authority: files.path(FileName::Authority),
        });
    }
    let key = match read_key(files, FileName::Key)? {
        Some(key) => key,
        None => make_key(files, FileName::Key)?,
    };
    let der = authority::certificate(&authority_key, parsed.not_after, &key, &names, now)?;
    let not_after = expiry(&der).ok_or(Error::Clock)?;
    files.replace(FileName::Certificate, &pem::encode(pem::CERTIFICATE, &der))?;
    let issued = Issued {
        authority: &authority,
        authority_was_there,
        change: if is_renewal {
            Change::Renewed
        } else {
            Change::Made
        },
        not_after,
        names,
    };
    Ok(issued.in_files(files, Vec::new()))
}

/// Makes a CA, with the key that a crash may have left without one; returns its certificate and
/// key.
fn make_authority(
    files: &Files<'_>,
    names: &[Name],
    now: u64,
) -> Result<(Vec<u8>, KeyPair), Error> {
    let key = if files.read(FileName::AuthorityKey)?.is_some() {
        existing_authority_key(files)?
    } else {
        make_key(files, FileName::AuthorityKey)?
    };
    let der = authority::authority(&key, names, now)?;
    files.create(FileName::Authority, &pem::encode(pem::CERTIFICATE, &der))?;
    Ok((der, key))
}

fn existing_authority_key(files: &Files<'_>) -> Result<KeyPair, Error> {
    let path = files.path(FileName::AuthorityKey);
    let key = read_key(files, FileName::AuthorityKey)?.ok_or(Error::NoAuthorityKey { path })?;
    files.check_private(FileName::AuthorityKey)?;
    Ok(key)
}

fn make_key(files: &Files<'_>, name: FileName) -> Result<KeyPair, Error> {
    let key = authority::generate_key()?;
    let text = pem::encode(pem::PRIVATE_KEY, key.serialized_der());
    files.create(name, &text)?;
    Ok(key)
}

/// Checks that the CA's certificate and key belong together and that it has not expired.
fn check_authority(
    files: &Files<'_>,
    authority: &Certificate<'_>,
    key: &KeyPair,
    now: u64,
) -> Result<(), Error> {
    if authority::public_key(key) != authority.public_key {
        return Err(Error::Mismatch {
            certificate: files.path(FileName::Authority),
            key: files.path(FileName::AuthorityKey),
        });
    }
    if authority.not_after < now {
        return Err(Error::AuthorityExpired {
            path: files.path(FileName::Authority),
        });
    }
    Ok(())
}

fn parse_authority<'a>(files: &Files<'_>, der: &'a [u8]) -> Result<Certificate<'a>, Error> {
    Certificate::parse(der).ok_or_else(|| Error::Foreign {
        path: files.path(FileName::Authority),
    })
}

/// The DER form of a file's content; `None` if there is no file.
fn read(files: &Files<'_>, name: FileName, label: &str) -> Result<Option<Vec<u8>>, Error> {
    let Some(text) = files.read(name)? else {
        return Ok(None);
    };
    let path = files.path(name);
    let der = pem::decode(label, &text).ok_or(Error::Foreign { path })?;
    Ok(Some(der))
}

fn read_key(files: &Files<'_>, name: FileName) -> Result<Option<KeyPair>, Error> {
    let Some(der) = read(files, name, pem::PRIVATE_KEY)? else {
        return Ok(None);
    };
    let path = files.path(name);
    let key = authority::read_key(der).map_err(|_not_ours| Error::Foreign { path })?;
    Ok(Some(key))
}

/// A certificate and the CA that signed it.
#[derive(Debug)]
struct Issued<'a> {
    authority: &'a [u8],
    authority_was_there: bool,
    change: Change,
    not_after: u64,
    names: Vec<Name>,
}

impl Issued<'_> {
    fn in_files(self, files: &Files<'_>, lacking: Vec<Name>) -> Made {
        Made {
            authority: files.path(FileName::Authority),
            certificate: files.path(FileName::Certificate),
            key: files.path(FileName::Key),
            fingerprint: authority::fingerprint(self.authority),
            authority_was_there: self.authority_was_there,
            change: self.change,
            not_after: self.not_after,
            names: self.names,
            lacking,
        }
    }
}
