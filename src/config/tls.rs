//! The files of the certificate, read and checked.
//!
//! They are read at the start and on SIGHUP; nothing of them is kept but the [`Identity`].

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use serde::de;
use toml::Spanned;

use crate::server::Identity;

use super::{
    error::{Error, OneLine},
    text::{line_at, read_octets},
    values::file,
};

/// The table `[tls]`: where the certificate is. A relative path starts at the configuration file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate and those between it and its authority, PEM.
    #[serde(deserialize_with = "file")]
    pub certificate: PathBuf,
    /// The private key, PEM.
    #[serde(deserialize_with = "file")]
    pub key: PathBuf,
    /// On which lines of the configuration they are named; 0 is unknown.
    #[serde(skip)]
    pub lines: [usize; 2],
}

/// Where `[tls]` names its files.
#[derive(serde::Deserialize)]
pub(super) struct TlsPlaces {
    tls: TlsPlacesOfFiles,
}

#[derive(serde::Deserialize)]
pub(super) struct TlsPlacesOfFiles {
    certificate: Spanned<de::IgnoredAny>,
    key: Spanned<de::IgnoredAny>,
}

/// The lines of the two files in `text`.
pub(super) fn tls_lines(text: &str) -> [usize; 2] {
    toml::from_str::<TlsPlaces>(text).map_or([0, 0], |places| {
        let TlsPlacesOfFiles { certificate, key } = places.tls;
        [certificate.span(), key.span()].map(|place| line_at(text, place.start))
    })
}

impl TlsFiles {
    /// Reads the two files.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Tls`].
    pub(super) fn identity(&self) -> Result<Identity, Error> {
        let certificate = read(&self.certificate)?;
        let key = read(&self.key)?;
        Identity::from_pem(&certificate, &key).map_err(|error| Error::Tls {
            certificate: self.certificate.clone(),
            key: self.key.clone(),
            error,
        })
    }

    /// What is to be said when other users of this machine may read the private key.
    pub fn exposed_key(&self) -> Option<String> {
        let metadata = fs::metadata(&self.key).ok()?;
        let is_exposed = metadata.permissions().mode() & 0o004 != 0;
        let key = OneLine(&self.key);
        is_exposed.then(|| {
            format!("every user of this machine can read the private key: run chmod o-r {key}")
        })
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    read_octets(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}
