//! The files of the certificate, read and checked.
//!
//! They are read at the start and on SIGHUP; nothing of them is kept but the [`Identity`].

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use crate::server::{Identity, IdentityError};

use super::{Config, Error, OneLine, TlsFiles};

impl Config {
    /// Reads the certificate and its key, where there are any.
    ///
    /// # Errors
    /// [`Error::Read`] and [`Error::Tls`]: do not start, or go on with the identity that there is.
    pub fn identity(&self) -> Result<Option<Identity>, Error> {
        let identity = self.tls.as_ref().map(TlsFiles::identity).transpose();
        let identity = identity.map_err(|error| self.named(error))?;
        Ok(identity.map(|identity| identity.with_channel_binding(self.scram_plus)))
    }
}

impl Config {
    /// The same error, with the place in the configuration that names the file.
    fn named(&self, error: Error) -> Error {
        let (Some(path), Some(tls)) = (&self.path, &self.tls) else {
            return error;
        };
        let is_of_key = if let Error::Read { path, .. } = &error {
            *path == tls.key
        } else if let Error::Tls { error, .. } = &error {
            !matches!(error, IdentityError::Certificate(_))
        } else {
            return error;
        };
        let [certificate_line, key_line] = tls.lines;
        let (key, line) = if is_of_key {
            ("tls.key", key_line)
        } else {
            ("tls.certificate", certificate_line)
        };
        Error::Named {
            path: path.clone(),
            line,
            key,
            error: Box::new(error),
        }
    }
}

impl TlsFiles {
    /// Reads the two files.
    ///
    /// # Errors
    /// As [`Config::identity`].
    fn identity(&self) -> Result<Identity, Error> {
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
    super::read_octets(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })
}
