//! The environment as a part of the configuration: its variables override the file.
//!
//! # Theory of operation
//! The variable of a key is `FACTEUR_`, the table if there is one, and the key, in capitals. Its
//! value is written as TOML and read by the code that reads files, so that both have the same rules
//! and the same errors. The result replaces the value of the file before the accounts are read.
//!
//! Container managers inject variables of their own: Kubernetes describes a service called
//! `facteur` as `FACTEUR_PORT=tcp://…`, `FACTEUR_SERVICE_HOST` and so on. These are ignored.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use super::{
    accounts::Accounts,
    error::Error,
    hints,
    keys::Config,
    limits::MISTAKES_MAX,
    variables::{PREFIX, VARIABLES, Variable},
};

/// The variable that names the configuration file.
const CONFIG: &str = "FACTEUR_CONFIG";

/// The variable that names the accounts file.
const ACCOUNTS: &str = "FACTEUR_ACCOUNTS";

/// The variables that name the certificate and its key, each with the other one.
const TLS: [[&str; 2]; 2] = [
    ["FACTEUR_TLS_CERTIFICATE", "FACTEUR_TLS_KEY"],
    ["FACTEUR_TLS_KEY", "FACTEUR_TLS_CERTIFICATE"],
];

/// The keys that only a file can set, because they are tables.
const ONLY_IN_FILES: [&str; 1] = ["catch_all"];

/// The variables of an environment that concern the configuration.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    file: Option<PathBuf>,
    /// In the order of [`VARIABLES`].
    values: Vec<(&'static Variable, OsString)>,
    /// Names that no key has, at most [`MISTAKES_MAX`].
    unknown: Vec<String>,
}

impl Environment {
    /// Picks the variables of facteur from those of a process. An empty value counts as not set.
    pub fn new(variables: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let mut this = Self::default();
        let mut values = Vec::new();
        for (name, value) in variables {
            if value.is_empty() || !name.as_bytes().starts_with(PREFIX.as_bytes()) {
                continue;
            }
            let name = name.to_string_lossy().into_owned();
            let position = VARIABLES.iter().position(|variable| variable.name == name);
            if name == CONFIG {
                this.file = Some(value.into());
            } else if let Some((position, variable)) =
                position.and_then(|position| Some((position, VARIABLES.get(position)?)))
            {
                values.push((position, (variable, value)));
            } else if !is_injected(&name, &value.to_string_lossy()) {
                this.unknown.push(name);
            }
        }
        values.sort_by_key(|(position, _)| *position);
        this.values = values.into_iter().map(|(_, value)| value).collect();
        this.unknown.sort_unstable();
        this.unknown.truncate(MISTAKES_MAX);
        this
    }

    /// The configuration file that `FACTEUR_CONFIG` names.
    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// Ignores `FACTEUR_CONFIG`: a flag has named another file.
    pub fn forget_file(&mut self) {
        self.file = None;
    }

    /// The configuration: `file` or the defaults, overridden by the variables.
    ///
    /// # Errors
    /// [`Error::Variable`], or an error of the file.
    pub fn configuration(&self, file: Option<&Path>) -> Result<Config, Error> {
        let (read, mut errors) = self.read(|_variable| true);
        let overridden = Config::read_with(file, &|config| put(&read, config));
        let overridden = overridden.map_err(|error| self.of_file(error));
        if errors.is_empty() {
            return overridden;
        }
        errors.extend(overridden.err());
        Err(Error::all(errors))
    }

    /// Overrides `config`, except its accounts.
    ///
    /// # Errors
    /// [`Error::Variable`].
    pub(super) fn override_other_keys(&self, config: &mut Config) -> Result<(), Error> {
        let (read, errors) = self.read(|variable| variable.name != ACCOUNTS);
        if errors.is_empty() {
            put(&read, config)
        } else {
            Err(Error::all(errors))
        }
    }

    /// Reads each wanted variable on its own: the values, and an error for each that is wrong.
    fn read(
        &self,
        is_wanted: impl Fn(&Variable) -> bool,
    ) -> (Vec<(&'static Variable, Config)>, Vec<Error>) {
        let (mut read, mut errors) = (Vec::new(), Vec::new());
        let wanted = self.values.iter().filter(|(it, _)| is_wanted(it));
        for (variable, value) in wanted {
            let value = value.to_str().ok_or("the value is not valid Unicode");
            match value
                .map_err(str::to_owned)
                .and_then(|text| variable.read(text))
            {
                Ok(config) => read.push((*variable, config)),
                Err(reason) => errors.push(Error::Variable {
                    name: variable.name.to_owned(),
                    reason,
                }),
            }
        }
        (read, errors)
    }

    /// The same error, about `FACTEUR_CONFIG` if it names a file that cannot be read.
    fn of_file(&self, error: Error) -> Error {
        if let Error::Read { path, .. } = &error
            && self.file.as_ref() == Some(path)
        {
            let error = Box::new(error);
            return Error::NamedBy {
                name: CONFIG,
                error,
            };
        }
        error
    }

    /// The names of the variables that `config` was made with.
    pub fn names(&self, config: &Config) -> Vec<&'static str> {
        let file = self.file.is_some().then_some(CONFIG);
        let others = config.variables.values().copied();
        file.into_iter().chain(others).collect()
    }

    /// What is wrong with each variable whose name no key has, and that is therefore ignored.
    pub fn unknown(&self) -> Vec<Error> {
        let errors = self.unknown.iter().map(|name| Error::Variable {
            name: name.clone(),
            reason: unknown_reason(name),
        });
        errors.collect()
    }

    /// The accounts file that a variable names.
    ///
    /// # Errors
    /// [`Error::Variable`] if it turns accounts off, or cannot be read.
    pub fn accounts(&self) -> Result<Option<PathBuf>, Error> {
        let mut values = self.values.iter();
        let Some((_, value)) = values.find(|(variable, _)| variable.name == ACCOUNTS) else {
            return Ok(None);
        };
        let wrong = |reason: &str| Error::Variable {
            name: ACCOUNTS.to_owned(),
            reason: reason.to_owned(),
        };
        match value.to_str() {
            Some("off") => Err(wrong(
                "\"off\" turns accounts off: unset it, or name the accounts file",
            )),
            Some(path) => Ok(Some(PathBuf::from(path))),
            None => Err(wrong("the value is not valid Unicode")),
        }
    }

    /// Whether the variables name a file that SIGHUP reloads: the configuration, the accounts or
    /// the certificate.
    pub fn names_files(&self) -> bool {
        let names_file = |(variable, value): &(&Variable, OsString)| {
            TLS.iter().any(|[name, _]| variable.name == *name)
                || (variable.name == ACCOUNTS && value != "off")
        };
        self.file.is_some() || self.values.iter().any(names_file)
    }
}

/// Overrides `config` with the values that were read from variables.
fn put(read: &[(&'static Variable, Config)], config: &mut Config) -> Result<(), Error> {
    let has_tls = config.tls.is_some();
    for (variable, read) in read {
        let mut read = read.clone();
        if let Accounts::File(path) = &mut read.accounts {
            // Not relative to the configuration file.
            let absolute = std::path::absolute(path.get_ref());
            *path.get_mut() = absolute.map_err(|error| Error::Variable {
                name: variable.name.to_owned(),
                reason: error.to_string(),
            })?;
        }
        (variable.put)(config, read);
        config.variables.insert(variable.key, variable.name);
    }
    let is_set = |name: &str| read.iter().any(|(variable, _)| variable.name == name);
    for [name, other] in TLS {
        if is_set(name) && !is_set(other) && !has_tls {
            return Err(Error::Variable {
                name: name.to_owned(),
                reason: format!("TLS needs a certificate and its key: set {other}, too"),
            });
        }
    }
    Ok(())
}

/// Whether Kubernetes sets this variable in each container, because of a service that is called
/// facteur or begins with that word.
fn is_injected(name: &str, value: &str) -> bool {
    let name = name.strip_prefix(PREFIX).unwrap_or(name);
    let is_url = || value.starts_with("tcp://") || value.starts_with("udp://");
    let has_number = |(_, rest): (&str, &str)| rest.starts_with(|c: char| c.is_ascii_digit());
    name == "PORT"
        || name.starts_with("PORT_")
        || name.contains("SERVICE_")
        // Those of a service such as facteur-smtp.
        || (name.ends_with("_PORT") && is_url())
        || name.split_once("_PORT_").is_some_and(has_number)
}

/// What is wrong with the name of a variable.
fn unknown_reason(name: &str) -> String {
    let key = name.strip_prefix(PREFIX).unwrap_or(name);
    let key = key.to_ascii_lowercase();
    if ONLY_IN_FILES.contains(&&*key) {
        return format!("{key} is a table: put it beside the accounts, in their file");
    }
    // A variable without the name of its table is probably meant to have it.
    let lacks_table = |variable: &&Variable| {
        let own = variable.key.split_once('.');
        own.is_some_and(|(_, own)| own == key)
    };
    let meant = VARIABLES
        .iter()
        .find(lacks_table)
        .map(|variable| variable.name);
    let meant = meant.or_else(|| {
        let keys: Vec<(String, &str)> = VARIABLES
            .iter()
            .map(|variable| (variable.key.replace('.', "_"), variable.name))
            .chain([("config".to_owned(), CONFIG)])
            .collect();
        let nearest = hints::nearest(&key, keys.iter().map(|(key, _)| key.as_str()))?;
        let mut keys = keys.iter();
        keys.find(|(key, _)| key == nearest).map(|(_, name)| *name)
    });
    match meant {
        Some(meant) => format!("unknown variable, did you mean `{meant}`?"),
        None => format!(
            "unknown variable: the name is {PREFIX}, the table and _ if there is one, and a key of \
             config.example.toml, in capitals, as in FACTEUR_LIMITS_ERRORS"
        ),
    }
}

#[cfg(test)]
mod tests;
