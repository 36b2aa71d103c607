//! The daemon's sandbox: one for the whole process, and a narrower one for all threads that serve
//! clients (SEC-16).
//!
//! The process can access the mail directory, and can read the directories of the configuration's
//! files: SIGHUP reads those files again, even if an editor has replaced one. The threads that
//! serve clients can access only the mail directory, or the servers of the database that has the
//! mail; they cannot even read the private key.
//!
//! # Invariants
//! The process enters the sandbox before it starts another thread.
//!
//! # Known limits
//! A mail directory that is removed and created again is a different one, outside the sandbox. So
//! is a directory that the configuration names for the first time at a SIGHUP.

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

/// A sandbox that has been entered.
#[derive(Debug)]
pub struct Confinement {
    mail: PathBuf,
    database: Reachable,
    /// Whether the daemon must not start without the sandbox.
    is_required: bool,
    /// `None` if the sandbox is off.
    state: Option<State>,
}

/// Where a database can be reached.
#[derive(Clone, Debug, Default)]
pub struct Reachable {
    /// The ports of its servers.
    pub ports: Vec<u16>,
    /// The directories of their sockets.
    pub directories: Vec<PathBuf>,
    /// Whether names of servers have to be resolved again and again.
    pub has_names: bool,
}

/// What the C library reads to resolve a name.
const RESOLVER: [&str; 5] = [
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
];

impl Reachable {
    /// Enters a sandbox in which also `readable` can be read, and `mail` written.
    fn enter_sandbox(&self, mail: &Path, readable: &[PathBuf]) -> State {
        let resolver = RESOLVER.iter().filter(|_| self.has_names).map(Path::new);
        let readable = readable.iter().map(PathBuf::as_path).chain(resolver);
        let sockets: Vec<&Path> = self.directories.iter().map(PathBuf::as_path).collect();
        sandbox::enter(&Rules {
            writable: mail,
            readable: &readable.collect::<Vec<_>>(),
            connects: &self.ports,
            sockets: &sockets,
        })
    }
}

impl Confinement {
    /// Puts the calling thread, which must be the only one, and all later threads into the sandbox.
    /// The mail directory must exist. `file` is the configuration file.
    ///
    /// # Errors
    /// [`Error::Sandbox`] if the sandbox is required and is incomplete.
    pub fn enter(config: &Config, file: Option<&Path>, database: Reachable) -> Result<Self, Error> {
        let mail = config.mail.clone();
        let is_required = config.sandbox == config::Sandbox::Required;
        if config.sandbox == config::Sandbox::Off {
            return Ok(Self {
                mail,
                database,
                is_required,
                state: None,
            });
        }
        let directories: Vec<PathBuf> = config
            .files(file)
            .iter()
            .flat_map(|file| directories(file))
            .collect();
        let state = database.enter_sandbox(&mail, &directories);
        if is_required && !state.is_whole() {
            return Err(Error::Sandbox(state));
        }
        Ok(Self {
            mail,
            database,
            is_required,
            state: Some(state),
        })
    }

    /// Logs the state of the sandbox.
    pub fn log_state(&self) {
        match &self.state {
            None => log::info!("sandbox: off, as configured"),
            Some(state @ State::Enforced { .. }) => log::info!("sandbox: {state}"),
            Some(State::Missing(why)) => log::warn!("sandbox: {why}; continuing without it"),
        }
    }

    /// Calls `start` in a thread that can access only the mail, and so do all threads that it
    /// starts.
    ///
    /// # Errors
    /// [`Error::Start`] if the system cannot start a thread; [`Error::Sandbox`] if the kernel
    /// enforces less than before, and the sandbox is required.
    pub fn start_within<T: Send>(&self, start: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let run = || {
            if let Some(outer) = &self.state {
                let inner = self.database.enter_sandbox(&self.mail, &[]);
                if inner != *outer && self.is_required {
                    return Err(Error::Sandbox(inner));
                }
                if inner != *outer {
                    log::warn!(
                        "sandbox: {inner}; sessions run in the sandbox of the whole process"
                    );
                }
            }
            Ok(start())
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().name("start".to_owned());
            let thread = thread.spawn_scoped(scope, run).map_err(Error::Start)?;
            let ended = thread.join();
            ended.unwrap_or_else(|_logged| {
                Err(Error::Start(io::Error::other("its thread panicked")))
            })
        })
    }
}

/// The directories in which `file` can be replaced: its own, and, if it is a symbolic link, that of
/// its target.
fn directories(file: &Path) -> impl Iterator<Item = PathBuf> {
    let target = file.canonicalize().ok();
    let files = std::iter::once(file.to_owned()).chain(target);
    files.filter_map(|file| {
        let directory = file.parent()?;
        // A bare file name is in the working directory.
        let is_empty = directory.as_os_str().is_empty();
        Some(if is_empty { Path::new(".") } else { directory }.to_owned())
    })
}
