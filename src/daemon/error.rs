//! Why the daemon cannot start.

use std::{
    fmt, io,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use crate::{config::Endpoint, store::MessageStore, system::sandbox};

/// Only root and processes with a privilege can use ports below this one.
const PRIVILEGED_PORTS: u16 = 1_024;

/// Why the daemon cannot start.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An address cannot be listened on: free it or configure another.
    Bind {
        /// What would listen there.
        endpoint: &'static Endpoint,
        /// Where.
        address: SocketAddr,
        /// The process that already serves the mail directory, if there is one.
        process: Option<u32>,
        /// The system's error.
        source: io::Error,
    },
    /// A socket cannot be made in the file system: correct its path or its directory.
    Socket {
        /// Its path.
        path: PathBuf,
        /// What would listen there.
        endpoint: &'static Endpoint,
        /// The system's error.
        source: io::Error,
    },
    /// A socket that was opened for facteur cannot be served: correct the unit that opens it.
    Inherited {
        /// Its name.
        name: String,
        /// Why not.
        source: io::Error,
    },
    /// The system cannot provide a thread or a pipe for a listener.
    Start(io::Error),
    /// The sandbox is required but unavailable: require less in the configuration, or use another
    /// kernel.
    Sandbox(sandbox::State),
}

impl Error {
    /// If the port is in use, adds the process that serves the mail directory.
    pub(super) fn named(mut self, mail: &Path) -> Self {
        if let Self::Bind {
            process, source, ..
        } = &mut self
            && source.kind() == io::ErrorKind::AddrInUse
        {
            *process = MessageStore::process_that_serves(mail);
        }
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind {
                endpoint,
                address,
                process,
                source,
            } => {
                let key = endpoint.key;
                write!(f, "cannot listen on {address} for {key}")?;
                match (process, endpoint.flag) {
                    _ if source.kind() != io::ErrorKind::AddrInUse => Ok(()),
                    (Some(process), _) => write!(
                        f,
                        " (facteur already serves this mail directory, as process {process})"
                    ),
                    (None, Some(flag)) => write!(
                        f,
                        " (is another facteur running? {flag} ADDR chooses another port)"
                    ),
                    (None, None) => write!(
                        f,
                        " (is another facteur running? The key {key} chooses another port)"
                    ),
                }?;
                let is_refused = source.kind() == io::ErrorKind::PermissionDenied;
                if is_refused && address.port() < PRIVILEGED_PORTS {
                    f.write_str(
                        " (ports below 1024 need a privilege: run setcap \
                         cap_net_bind_service=+ep on the program, start it from systemd with \
                         AmbientCapabilities or a socket, or as root with the key user; or use a \
                         port above 1023)",
                    )?;
                }
                Ok(())
            }
            Self::Socket {
                path,
                endpoint,
                source,
            } => {
                let (path, key) = (path.display(), endpoint.key);
                write!(f, "cannot listen on {path} for {key}")?;
                let is = |kind| source.kind() == kind;
                f.write_str(if is(io::ErrorKind::AddrInUse) {
                    " (is another facteur running? Another program listens there)"
                } else if is(io::ErrorKind::AlreadyExists) {
                    " (something that is not a socket has this name: move it away)"
                } else if is(io::ErrorKind::NotFound) {
                    " (its directory is missing: create it)"
                } else {
                    ""
                })
            }
            Self::Inherited { name, .. } => {
                write!(f, "cannot serve the socket {name:?} from socket activation")
            }
            Self::Start(_) => f.write_str("cannot start a listener"),
            Self::Sandbox(state) => write!(
                f,
                "sandbox: this system cannot keep facteur from other files and the network \
                 ({state}): use Linux 6.7 or newer, or set sandbox = \"on\" to use what there is"
            ),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Bind { source, .. }
            | Self::Socket { source, .. }
            | Self::Inherited { source, .. }
            | Self::Start(source) => Some(source),
            Self::Sandbox(_) => None,
        }
    }
}
