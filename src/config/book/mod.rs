//! Changes the accounts of a configuration, for `facteur account`.
//!
//! # Theory of operation
//! A book is opened for a configuration file, whose accounts are in the file that it names, or in
//! the configuration itself. If it has no accounts yet, a file is created beside it and named
//! there; a missing configuration is created too. A change is made to the text in memory. The
//! result is read as at a start, and only then written: to a new file in the same directory, which
//! is synced and replaces the old one. So a crash leaves the old accounts or the new ones.
//!
//! # Invariants
//! - Nothing is written that facteur would refuse at its start.
//! - Nobody's change is lost: the file is locked during the change, and a file that another program
//!   has changed or replaced is not overwritten.
//! - The new file has the owner, the group and at most the mode 0640 of the old one, as far as the
//!   system allows; see [`Fs::take_after`].
//!
//! # Failures
//! [`Error`]: nothing was changed, unless it says otherwise.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

use crate::{
    fs::{Fs, Held},
    mail::{Address, MailboxName},
};

use super::{
    accounts::Accounts,
    environment::Environment,
    error::{self, OneLine},
    keys::Config,
    text::{beside, directory_of, key_at, line_at, read_text, value_error},
};

mod edit;

/// The accounts file that is created if none is named.
const NEW_FILE: &str = "accounts.toml";

/// Why accounts cannot be changed.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An account already has this name.
    Exists(MailboxName),
    /// No account has this name.
    Missing(MailboxName),
    /// The configuration has no accounts, but the file that would be created for them exists.
    NotNamed {
        /// The configuration.
        configuration: PathBuf,
        /// The file.
        file: PathBuf,
    },
    /// The configuration has no accounts that could be changed or removed.
    NoAccounts {
        /// The configuration.
        configuration: PathBuf,
    },
    /// Another program is changing the file: try again.
    Busy(PathBuf),
    /// The result could not be used, or the current configuration cannot be read.
    Config(error::Error),
    /// A file cannot be read or written.
    Io {
        /// What was attempted.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The error from the system.
        source: io::Error,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists(name) => write!(
                f,
                "there is already an account {name}: `facteur account password` changes its \
                 password"
            ),
            Self::Missing(name) => {
                write!(
                    f,
                    "there is no account {name}: `facteur account list` shows all accounts"
                )
            }
            Self::NotNamed {
                configuration,
                file,
            } => write!(
                f,
                "{} has no accounts, but {} exists: add the line accounts = \"{NEW_FILE}\", or \
                 move that file away",
                OneLine(configuration),
                OneLine(file)
            ),
            Self::NoAccounts { configuration } => write!(
                f,
                "{} has no accounts: `facteur account add` adds one",
                OneLine(configuration)
            ),
            Self::Busy(path) => write!(
                f,
                "another program is changing {}: try again",
                OneLine(path)
            ),
            Self::Config(error) => write!(f, "nothing was changed: {error}"),
            Self::Io { action, path, .. } => write!(f, "cannot {action} {}", OneLine(path)),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => error.source(),
            Self::Io { source, .. } => Some(source),
            Self::Exists(_)
            | Self::Missing(_)
            | Self::NotNamed { .. }
            | Self::NoAccounts { .. }
            | Self::Busy(_) => None,
        }
    }
}

impl Error {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}

/// The accounts of a configuration.
#[derive(Debug)]
pub struct Book {
    configuration: Source,
    /// The accounts file, if the accounts are not in the configuration.
    file: Option<Source>,
    /// The variables that override the configuration.
    environment: Environment,
}

/// A file and its changed text.
#[derive(Debug)]
struct Source {
    /// Its path, as given.
    path: PathBuf,
    /// Its path with all links followed.
    target: PathBuf,
    /// Its content when it was read; `None` if it is to be created.
    before: Option<String>,
    after: String,
    /// Held while it is being changed.
    lock: Option<Box<dyn Held>>,
}

impl Source {
    fn read(path: &Path) -> Result<Self, Error> {
        let before = match read_text(path) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("read", path)(error)),
        };
        let target = match path.canonicalize() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => path.to_owned(),
            other => other.map_err(Error::io("find", path))?,
        };
        Ok(Self {
            path: path.to_owned(),
            target,
            after: before.clone().unwrap_or_default(),
            before,
            lock: None,
        })
    }

    fn text(&self) -> Result<edit::Text, Error> {
        edit::Text::parse(&self.after).map_err(|error| {
            let position = error.span().map_or(0, |place| place.start);
            Error::Config(error::Error::Value {
                path: self.path.clone(),
                line: line_at(&self.after, position),
                key: key_at(&self.after, position),
                reason: error.message().replace('\n', " "),
            })
        })
    }

    fn is_changed(&self) -> bool {
        self.before.as_ref() != Some(&self.after)
    }

    /// Locks the file, and checks that it has not changed since it was read.
    fn lock(&mut self, fs: &dyn Fs) -> Result<(), Error> {
        let Some(before) = &self.before else {
            return Ok(());
        };
        let lock = fs
            .lock(&self.target)
            .map_err(Error::io("lock", &self.target))?;
        let lock = lock.ok_or_else(|| Error::Busy(self.path.clone()))?;
        let held = lock
            .identity()
            .map_err(Error::io("inspect", &self.target))?;
        let found = fs
            .metadata(&self.target)
            .map_err(Error::io("inspect", &self.target))?;
        let text = read_text(&self.target).map_err(Error::io("read", &self.path))?;
        if found.stamp.identity != held || text != *before {
            return Err(Error::Busy(self.path.clone()));
        }
        self.lock = Some(lock);
        Ok(())
    }

    /// Writes the changed text; a file that is created gets the owner and group of `model`.
    fn write(&self, fs: &dyn Fs, model: &Path) -> Result<(), Error> {
        let target = &self.target;
        let name = target.file_name().unwrap_or_default().to_string_lossy();
        let temporary = target.with_file_name(format!(".{name}.new"));
        match fs.unlink(&temporary) {
            // A crash has left it.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Error::io("remove", &temporary)(error)),
        }
        let model = if self.before.is_some() { target } else { model };
        let written = self.write_to(fs, &temporary, model).and_then(|()| {
            if self.before.is_some() {
                return fs
                    .rename(&temporary, target)
                    .map_err(Error::io("replace", target));
            }
            // A rename would replace a file that another program has just created.
            let linked = fs.hard_link(&temporary, target);
            linked.map_err(|error| {
                // The other program has created the file, or has removed our temporary file as the
                // remains of a crash.
                let is_raced = error.kind() == io::ErrorKind::AlreadyExists
                    || error.kind() == io::ErrorKind::NotFound;
                if is_raced {
                    Error::Busy(self.path.clone())
                } else {
                    Error::io("create", target)(error)
                }
            })
        });
        if written.is_err() || self.before.is_none() {
            fs.unlink(&temporary).unwrap_or_default();
        }
        written?;
        let directory = directory_of(target);
        fs.sync_dir(&directory.join("."))
            .map_err(Error::io("sync", directory))
    }

    fn write_to(&self, fs: &dyn Fs, path: &Path, model: &Path) -> Result<(), Error> {
        let mut file = fs.create_new(path).map_err(|error| {
            if error.kind() == io::ErrorKind::AlreadyExists {
                Error::Busy(self.path.clone())
            } else {
                Error::io("create", path)(error)
            }
        })?;
        fs.take_after(path, model)
            .map_err(Error::io("change the owner of", path))?;
        file.append(self.after.as_bytes())
            .and_then(|()| file.sync())
            .map_err(Error::io("write", path))
    }
}

impl Book {
    /// The same, to be written only if it is valid together with these variables.
    #[must_use]
    pub fn within(self, environment: &Environment) -> Self {
        Self {
            environment: environment.clone(),
            ..self
        }
    }

    /// Opens the accounts of the configuration file `path`.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        let configuration = Source::read(path)?;
        let config = toml::from_str::<Config>(&configuration.after);
        let config = config.map_err(|error| {
            // A wrong list of accounts is reported like a wrong accounts file.
            Error::Config(value_error(path, &configuration.after, &error))
        })?;
        let file = match &config.accounts {
            Accounts::List(_) => None,
            Accounts::File(file) => {
                let file = beside(path, file.get_ref());
                Some(Source::read(&file)?)
            }
            Accounts::Off => {
                let file = beside(path, Path::new(NEW_FILE));
                Some(Source::read(&file)?)
            }
        };
        let mut book = Self {
            configuration,
            file,
            environment: Environment::default(),
        };
        if config.accounts == Accounts::Off {
            let mut text = book.configuration.text()?;
            text.name_file(NEW_FILE);
            book.configuration.after = text.to_string();
        }
        Ok(book)
    }

    /// Opens the accounts file `path`, which no configuration file names.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open_file(path: &Path) -> Result<Self, Error> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let text = format!("accounts = {}\n", toml_edit::Value::from(&*name));
        Ok(Self {
            // It stands for a file beside the accounts that names them, and is never written.
            configuration: Source {
                path: path.to_owned(),
                target: directory_of(path).to_owned(),
                before: Some(text.clone()),
                after: text,
                lock: None,
            },
            file: Some(Source::read(path)?),
            environment: Environment::default(),
        })
    }

    /// The file that has the accounts, or will have them.
    pub fn path(&self) -> &Path {
        &self.accounts().path
    }

    /// The configuration, if it is changed too, to name the accounts file.
    pub fn changed_configuration(&self) -> Option<&Path> {
        let is_own = self.file.is_none();
        let configuration = &self.configuration;
        (!is_own && configuration.is_changed()).then_some(&*configuration.path)
    }

    /// Adds an account with the password from a line `password = …`, and with aliases.
    ///
    /// # Errors
    /// [`Error::Exists`], [`Error::NotNamed`], [`Error::Config`].
    pub fn add(
        &mut self,
        address: &Address,
        password_line: &str,
        aliases: &[Address],
    ) -> Result<(), Error> {
        if self.changed_configuration().is_some() && self.accounts().before.is_some() {
            return Err(Error::NotNamed {
                configuration: self.configuration.path.clone(),
                file: self.path().to_owned(),
            });
        }
        let name = self.name(address)?;
        let mut text = self.accounts().text()?;
        if text.has(&name) {
            return Err(Error::Exists(name));
        }
        let aliases: Vec<String> = aliases.iter().map(Address::to_string).collect();
        text.add(
            &address.to_string(),
            self.password(password_line)?,
            &aliases,
        );
        self.accounts_mut().after = text.to_string();
        Ok(())
    }

    /// Changes the password of an account.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::NoAccounts`], [`Error::Config`].
    pub fn set_password(&mut self, address: &Address, password_line: &str) -> Result<(), Error> {
        let name = self.known(address)?;
        let mut text = self.accounts().text()?;
        if !text.set_password(&name, self.password(password_line)?) {
            return Err(Error::Missing(name));
        }
        self.accounts_mut().after = text.to_string();
        Ok(())
    }

    /// Removes an account. Its mail stays.
    ///
    /// # Errors
    /// As [`set_password`](Self::set_password).
    pub fn remove(&mut self, address: &Address) -> Result<(), Error> {
        let name = self.known(address)?;
        let mut text = self.accounts().text()?;
        if !text.remove(&name) {
            return Err(Error::Missing(name));
        }
        self.accounts_mut().after = text.to_string();
        Ok(())
    }

    /// Checks that there is an account with this name.
    ///
    /// # Errors
    /// As [`set_password`](Self::set_password).
    pub fn known(&self, address: &Address) -> Result<MailboxName, Error> {
        if self.changed_configuration().is_some() {
            return Err(Error::NoAccounts {
                configuration: self.configuration.path.clone(),
            });
        }
        let name = self.name(address)?;
        if self.accounts().text()?.has(&name) {
            Ok(name)
        } else {
            Err(Error::Missing(name))
        }
    }

    /// Checks that facteur would accept the result at its start, and writes it.
    ///
    /// # Errors
    /// [`Error::Config`], [`Error::Busy`], [`Error::Io`].
    pub fn write(&mut self, fs: &dyn Fs) -> Result<(), Error> {
        self.check().map_err(Error::Config)?;
        let model = self.configuration.target.clone();
        if let Some(file) = &mut self.file
            && file.is_changed()
        {
            file.lock(fs)?;
            let directory = directory_of(&model);
            let has_model = self.configuration.before.is_some();
            file.write(fs, if has_model { &model } else { directory })?;
        }
        if self.configuration.is_changed() {
            self.configuration.lock(fs)?;
            let directory = directory_of(&model).to_owned();
            self.configuration.write(fs, &directory)?;
        }
        Ok(())
    }

    /// Reads the result as facteur does at its start.
    fn check(&self) -> Result<(), error::Error> {
        let Source { path, after, .. } = &self.configuration;
        let accounts = |path: &Path| match &self.file {
            Some(file) if file.path == path => Ok(file.after.clone()),
            Some(_) | None => read_text(path),
        };
        let over = |config: &mut Config| self.environment.override_other_keys(config);
        Config::parse_with(path, after, &accounts, &over).map(|_valid| ())
    }

    fn accounts(&self) -> &Source {
        self.file.as_ref().unwrap_or(&self.configuration)
    }

    fn accounts_mut(&mut self) -> &mut Source {
        self.file.as_mut().unwrap_or(&mut self.configuration)
    }

    fn name(&self, address: &Address) -> Result<MailboxName, Error> {
        MailboxName::from_address(address)
            .map_err(|error| self.wrong("accounts.address", error.to_string()))
    }

    fn password(&self, line: &str) -> Result<toml_edit::Value, Error> {
        edit::password_value(line)
            .map_err(|error| self.wrong("accounts.password", error.message().to_owned()))
    }

    /// The error for a value that cannot be written.
    fn wrong(&self, key: &str, reason: String) -> Error {
        Error::Config(error::Error::Value {
            path: self.path().to_owned(),
            line: 1,
            key: Some(key.to_owned()),
            reason,
        })
    }
}
