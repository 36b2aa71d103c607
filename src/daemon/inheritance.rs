//! Sockets that were opened for this process: systemd's socket activation (`sd_listen_fds(3)`). So
//! facteur need not open any port, and no port is closed during a restart.
//!
//! # Theory of operation
//! Each socket comes with a name, which is the key of a listener. A socket without a name of its
//! own (systemd then uses the name of its unit) is identified by its port: the configuration may
//! have that port for a listener, or it may be a standard port of a protocol. Of the remaining
//! ports, the first is for SMTP, the second for POP3 and the third for HTTP; sockets with the same
//! port count once. The sockets of a key replace the addresses in the configuration, and the
//! configuration must then be valid as a whole: such a socket, too, is served only if others cannot
//! reach it, with accounts and TLS, or with `open_to` (SEC-14).
//!
//! # Failures
//! A socket whose key cannot be found, or that does not listen for TCP, is an error: whoever opened
//! it expects it to be served.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::io::FdFlags;
use rustix::net::{SocketType, sockopt};

use super::error::Error;
use crate::config::{Config, ENDPOINTS, Endpoint, Listen};

/// The sockets that have not been taken yet.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(String, TcpListener)>,
}

impl Inherited {
    /// Takes the sockets that the environment describes. This works only once.
    ///
    /// # Errors
    /// [`Error::Inherited`].
    pub fn from_environment() -> Result<Self, Error> {
        let taken = sd_listen_fds::get().map_err(|error| Error::Inherited {
            name: String::new(),
            source: io::Error::other(error),
        })?;
        let mut sockets = Vec::new();
        for (name, descriptor) in taken {
            let name = name.unwrap_or_default();
            match listener(descriptor.into()) {
                Ok(socket) => sockets.push((name, socket)),
                Err(source) => return Err(Error::Inherited { name, source }),
            }
        }
        Ok(Self { sockets })
    }

    /// Replaces the addresses in the configuration with those of the sockets.
    ///
    /// # Errors
    /// [`Error::Inherited`] for a name that is not the key of a listener.
    pub fn put_into(&mut self, config: &mut Config) -> Result<(), Error> {
        self.name_all(config)?;
        for (name, _) in &self.sockets {
            let fault = |source| Error::Inherited {
                name: name.clone(),
                source,
            };
            let Some(endpoint) = Endpoint::of_key(name) else {
                let reason = format!("FileDescriptorName= must be {}", Endpoint::keys());
                return Err(fault(io::Error::other(reason)));
            };
            let same = self.sockets.iter().filter(|(other, _)| other == name);
            let addresses: io::Result<Vec<SocketAddr>> =
                same.map(|(_, socket)| socket.local_addr()).collect();
            let addresses = addresses.map_err(fault)?.into_iter();
            config.variables.remove(endpoint.key);
            *endpoint.listens_mut(config) = addresses.map(|address| Listen { address }).collect();
        }
        Ok(())
    }

    /// Names the sockets that have no name.
    fn name_all(&mut self, config: &Config) -> Result<(), Error> {
        // The ports that identify no listener, in order.
        let mut others: Vec<u16> = Vec::new();
        for (name, socket) in &mut self.sockets {
            if !is_unnamed(name) {
                continue;
            }
            let fault = |source| Error::Inherited {
                name: name.clone(),
                source,
            };
            let port = socket.local_addr().map_err(fault)?.port();
            let key = key_of_port(port, config).or_else(|| {
                if !others.contains(&port) {
                    others.push(port);
                }
                let position = others.iter().position(|other| *other == port)?;
                let mut by_default = ENDPOINTS.iter().filter(|it| it.is_usual());
                Some(by_default.nth(position)?.key)
            });
            let Some(key) = key else {
                let reason = format!(
                    "nothing says what port {port} is for: set FileDescriptorName= to {}",
                    Endpoint::keys()
                );
                return Err(fault(io::Error::other(reason)));
            };
            key.clone_into(name);
        }
        Ok(())
    }

    /// The sockets of this name.
    pub(super) fn take_all(&mut self, name: &str) -> Vec<TcpListener> {
        let taken = self.sockets.extract_if(.., |(other, _)| other == name);
        taken.map(|(_, socket)| socket).collect()
    }
}

/// Whether a socket has only a default name: that of its unit, or the word for none.
fn is_unnamed(name: &str) -> bool {
    matches!(name, "" | "unknown") || name.ends_with(".socket")
}

/// The key of the listener that has this port, by the configuration or by convention.
fn key_of_port(port: u16, config: &Config) -> Option<&'static str> {
    let is_there = |listen: &Listen| listen.address.port() == port;
    let configured = ENDPOINTS
        .iter()
        .find(|endpoint| endpoint.listens(config).iter().any(is_there));
    let by_custom = ENDPOINTS
        .iter()
        .find(|endpoint| endpoint.usual_ports.contains(&port));
    Some(configured.or(by_custom)?.key)
}

/// Prepares `socket` like those that facteur opens.
fn listener(socket: TcpListener) -> io::Result<TcpListener> {
    let is_stream = sockopt::socket_type(&socket)? == SocketType::STREAM;
    // A socket of another family has no address of this type.
    if !is_stream || !sockopt::socket_acceptconn(&socket)? || socket.local_addr().is_err() {
        return Err(io::Error::other(
            "it does not listen for TCP (ListenStream=)",
        ));
    }
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
