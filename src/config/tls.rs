//! Reads and checks the files of the certificate and its key.
//!
//! They are read at the start and on SIGHUP; only the [`Identity`] is kept.

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

/// The table `[tls]`: where the certificate is. A relative path starts at the directory of the
/// configuration file.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The certificate and its intermediate certificates, PEM.
    #[serde(deserialize_with = "file")]
    pub certificate: PathBuf,
    /// The private key, PEM.
    #[serde(deserialize_with = "file")]
    pub key: PathBuf,
    /// The lines of the configuration that name them; 0 if unknown.
    #[serde(skip)]
    pub lines: [usize; 2],
}

/// The places where `[tls]` names its files.
#[derive(serde::Deserialize)]
pub(super) struct TlsPlaces {
    tls: TlsPlacesOfFiles,
}

#[derive(serde::Deserialize)]
pub(super) struct TlsPlacesOfFiles {
    certificate: Spanned<de::IgnoredAny>,
    key: Spanned<de::IgnoredAny>,
}

/// The lines of `text` that name the two files.
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

    /// The warning if other users of this machine can read the private key.
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
