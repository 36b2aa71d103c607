//! The table `[store]`: a database that has the mail instead of the mail directory.

use std::path::PathBuf;
#[cfg(feature = "postgres")]
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use serde::{
    Deserialize as _,
    de::{self, Deserializer},
};

#[cfg(feature = "postgres")]
use super::{
    error::{Error, OneLine},
    text::{read_octets, read_text},
};
#[cfg(feature = "postgres")]
use crate::store::{Access, Database, Secrets};

/// The table `[store]`. A relative path starts at the directory of the configuration file.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Store {
    /// How the database is reached; empty means that the mail is in the mail directory.
    #[serde(deserialize_with = "postgres")]
    pub postgres: String,
    /// Whether one server is enough.
    pub single: bool,
    /// The file with the password; empty means none.
    pub password_file: PathBuf,
    /// The certificates of the authorities of the servers, PEM; empty means none.
    pub ca: PathBuf,
    /// The certificate that facteur presents, PEM; empty means none.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// Reads how the database is reached.
fn postgres<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(text);
    }
    #[cfg(feature = "postgres")]
    let checked = Access::check(&text);
    #[cfg(not(feature = "postgres"))]
    let checked = Err(
        "this facteur was built without PostgreSQL: build it with cargo build --features postgres",
    );
    checked.map_err(de::Error::custom)?;
    Ok(text)
}

impl Store {
    /// The files that it names.
    pub(super) fn files_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        let files = [
            &mut self.password_file,
            &mut self.ca,
            &mut self.certificate,
            &mut self.key,
        ];
        files
            .into_iter()
            .filter(|file| !file.as_os_str().is_empty())
    }

    /// The database, if there is one. Reads the files, and resolves the names of servers.
    ///
    /// # Errors
    /// [`Error::Read`], [`Error::Variable`]: do not start.
    #[cfg(feature = "postgres")]
    pub fn database(&self) -> Result<Option<Database>, Error> {
        if self.postgres.is_empty() {
            return Ok(None);
        }
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| Error::Read { path, source }
        };
        let octets = |path: &Path| {
            let is_named = !path.as_os_str().is_empty();
            let read = is_named.then(|| read_octets(path).map_err(failed(path)));
            read.transpose()
        };
        let password = if self.password_file.as_os_str().is_empty() {
            None
        } else {
            Some(read_text(&self.password_file).map_err(failed(&self.password_file))?)
        };
        let (ca, certificate) = (octets(&self.ca)?, octets(&self.certificate)?);
        let key = octets(&self.key)?;
        let secrets = Secrets {
            password: password
                .as_ref()
                .map(|text| text.trim_end_matches(['\r', '\n'])),
            authorities: ca.as_deref(),
            identity: certificate.as_deref().zip(key.as_deref()),
        };
        let access = Access::parse(&self.postgres, secrets).map_err(|error| Error::Variable {
            name: "store.postgres".to_owned(),
            reason: error.to_string(),
        })?;
        Ok(Some(Database {
            access,
            is_single: self.single,
        }))
    }

    /// The warnings if other users of this machine can read a secret.
    #[cfg(feature = "postgres")]
    pub fn exposed_secrets(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for secret in [&self.password_file, &self.key] {
            let mode = fs::metadata(secret).map_or(0, |metadata| metadata.permissions().mode());
            if mode & 0o004 != 0 {
                let secret = OneLine(secret);
                warnings.push(format!(
                    "every user of this machine can read the secret of the database: run chmod \
                     o-r {secret}"
                ));
            }
        }
        warnings
    }
}
