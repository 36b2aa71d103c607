//! The table `[store]`: a database that has the mail instead of the mail directory.

use std::path::PathBuf;
#[cfg(feature = "postgres")]
use std::{fs, io, os::unix::fs::PermissionsExt as _, path::Path};

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

    /// The database, if there is one. Reads the files, and resolves the names of servers. `name_of`
    /// says how a key is named to the user.
    ///
    /// # Errors
    /// [`Error::NamedBy`], [`Error::Variable`]: do not start.
    #[cfg(feature = "postgres")]
    pub(super) fn database(
        &self,
        name_of: &dyn Fn(&'static str) -> &'static str,
    ) -> Result<Option<Database>, Error> {
        fn read<T>(
            path: &Path,
            name: &'static str,
            read: fn(&Path) -> io::Result<T>,
        ) -> Result<Option<T>, Error> {
            if path.as_os_str().is_empty() {
                return Ok(None);
            }
            let path = path.to_owned();
            read(&path).map(Some).map_err(|source| Error::NamedBy {
                name,
                error: Box::new(Error::Read { path, source }),
            })
        }
        if self.postgres.is_empty() {
            return Ok(None);
        }
        let password_key = name_of("store.password_file");
        let password = read(&self.password_file, password_key, read_text)?;
        let ca = read(&self.ca, name_of("store.ca"), read_octets)?;
        let certificate = read(&self.certificate, name_of("store.certificate"), read_octets)?;
        let key = read(&self.key, name_of("store.key"), read_octets)?;
        let alone = match (&certificate, &key) {
            (Some(_), None) => Some(("store.certificate", "store.key")),
            (None, Some(_)) => Some(("store.key", "store.certificate")),
            (Some(_), Some(_)) | (None, None) => None,
        };
        if let Some((name, missing)) = alone {
            return Err(Error::Variable {
                name: name_of(name).to_owned(),
                reason: format!("{} is needed with it", name_of(missing)),
            });
        }
        let secrets = Secrets {
            password: password
                .as_ref()
                .map(|text| text.trim_end_matches(['\r', '\n'])),
            authorities: ca.as_deref(),
            identity: certificate.as_deref().zip(key.as_deref()),
        };
        let access = Access::parse(&self.postgres, secrets).map_err(|error| Error::Variable {
            name: name_of("store.postgres").to_owned(),
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
