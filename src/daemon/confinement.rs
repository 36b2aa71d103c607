//! The sandbox of the daemon: around the whole process, and a narrower one around all threads that
//! meet clients (SEC-16).
//!
//! The process keeps the mail directory, and may read files beside those of the configuration: what
//! SIGHUP reads anew, also when an editor has put another file into the place. The threads that
//! serve keep the mail directory alone; not even the private key is there for them.
//!
//! # Invariants
//! The process goes in before it has any other thread.
//!
//! # Known limits
//! A mail directory that is removed and made anew is another one, outside the sandbox. So is a
//! directory that the configuration names for the first time at a SIGHUP.

use std::{
    io,
    path::{Path, PathBuf},
    thread,
};

use crate::{
    config::{self, Config},
    system::sandbox::{self, Rules, State},
};

use super::error::Error;

/// The sandbox, entered.
#[derive(Debug)]
pub struct Confinement {
    mail: PathBuf,
    /// Whether the daemon is not to start without.
    is_required: bool,
    /// `None` where none is wanted.
    state: Option<State>,
}

impl Confinement {
    /// Puts the calling thread, which must be the only one, and all that come, into the sandbox.
    /// The directory of the mail must be there. `file` is where the configuration came from.
    ///
    /// # Errors
    /// [`Error::Sandbox`] where it is required.
    pub fn enter(config: &Config, file: Option<&Path>) -> Result<Self, Error> {
        let mail = config.mail.clone();
        let is_required = config.sandbox == config::Sandbox::Required;
        if config.sandbox == config::Sandbox::Off {
            return Ok(Self {
                mail,
                is_required,
                state: None,
            });
        }
        let directories: Vec<PathBuf> = config
            .files(file)
            .iter()
            .flat_map(|file| directories(file))
            .collect();
        let readable: Vec<&Path> = directories.iter().map(PathBuf::as_path).collect();
        let state = sandbox::enter(&Rules {
            writable: &mail,
            readable: &readable,
        });
        if is_required && !state.is_whole() {
            return Err(Error::Sandbox(state));
        }
        Ok(Self {
            mail,
            is_required,
            state: Some(state),
        })
    }

    /// Tells the log.
    pub fn tell(&self) {
        match &self.state {
            None => log::info!("sandbox: off, as configured"),
            Some(state @ State::Enforced { .. }) => log::info!("sandbox: {state}"),
            Some(State::Missing(why)) => log::warn!("sandbox: {why}; going on without"),
        }
    }

    /// Calls `start` in a thread that keeps the mail alone, as will all threads that it starts.
    ///
    /// # Errors
    /// [`Error::Start`] when the system gives no thread; [`Error::Sandbox`] when the kernel gives
    /// less than before, and the sandbox is required.
    pub fn start_within<T: Send>(&self, start: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let run = || {
            if let Some(outer) = &self.state {
                let inner = sandbox::enter(&Rules {
                    writable: &self.mail,
                    readable: &[],
                });
                if inner != *outer && self.is_required {
                    return Err(Error::Sandbox(inner));
                }
                if inner != *outer {
                    log::warn!("sandbox: {inner}; sessions have that of the whole process");
                }
            }
            Ok(start())
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("start".to_owned());
            let thread = thread.spawn_scoped(scope, run).map_err(Error::Start)?;
            let ended = thread.join();
            ended.unwrap_or_else(|_told| Err(Error::Start(io::Error::other("it has panicked"))))
        })
    }
}

/// The directories in which `file` is replaced: the one of its name, and, where that is a symbolic
/// link, the one of its target.
fn directories(file: &Path) -> impl Iterator<Item = PathBuf> {
    let target = file.canonicalize().ok();
    let files = std::iter::once(file.to_owned()).chain(target);
    files.filter_map(|file| {
        let directory = file.parent()?;
        // A name alone is one in the directory where we are.
        let is_empty = directory.as_os_str().is_empty();
        Some(if is_empty { Path::new(".") } else { directory }.to_owned())
    })
}
