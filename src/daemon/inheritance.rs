//! Sockets that whoever started this process has opened for it: systemd's socket activation
//! (`sd_listen_fds(3)`), so that no port has to be opened by us, and none is closed in a restart.
//!
//! # Theory of operation
//! Each socket comes with a name, which is the key of a listener. Sockets of one key take the place
//! of what the configuration says there, and then the configuration has to hold as a whole: also
//! such a socket is served only where others cannot reach it, or with accounts and TLS (SEC-14).
//!
//! # Failures
//! A socket that has no known name, or does not listen for TCP, is an error: whoever opened it
//! waits for it to be served.

use std::io;
use std::net::{SocketAddr, TcpListener};

use rustix::io::FdFlags;
use rustix::net::{SocketType, sockopt};

use super::Error;
use crate::config::{Config, Listen};

/// The sockets, as long as none has taken them.
#[derive(Debug, Default)]
pub struct Inherited {
    sockets: Vec<(String, TcpListener)>,
}

impl Inherited {
    /// Takes the sockets that the environment tells of, once and for all.
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

    /// Puts the addresses of the sockets into the configuration, in the place of what is there.
    ///
    /// # Errors
    /// [`Error::Inherited`], for a name that is not the key of a listener.
    pub fn put_into(&self, config: &mut Config) -> Result<(), Error> {
        for (name, _) in &self.sockets {
            let fault = |source| Error::Inherited {
                name: name.clone(),
                source,
            };
            let listens = match name.as_str() {
                "smtp" => &mut config.smtp,
                "smtps" => &mut config.smtps,
                "submission" => &mut config.submission,
                "pop3" => &mut config.pop3,
                "pop3s" => &mut config.pop3s,
                _ => {
                    let reason = "FileDescriptorName= has to be smtp, smtps, submission, pop3 or \
                                  pop3s";
                    return Err(fault(io::Error::other(reason)));
                }
            };
            let same = self.sockets.iter().filter(|(other, _)| other == name);
            let addresses: io::Result<Vec<SocketAddr>> =
                same.map(|(_, socket)| socket.local_addr()).collect();
            let addresses = addresses.map_err(fault)?.into_iter();
            *listens = addresses.map(|address| Listen { address }).collect();
        }
        Ok(())
    }

    /// The sockets of this name.
    pub(super) fn take_all(&mut self, name: &str) -> Vec<TcpListener> {
        let taken = self.sockets.extract_if(.., |(other, _)| other == name);
        taken.map(|(_, socket)| socket).collect()
    }
}

/// Makes `socket` one of ours, as those that we open.
fn listener(socket: TcpListener) -> io::Result<TcpListener> {
    let is_stream = sockopt::socket_type(&socket)? == SocketType::STREAM;
    // Of another family it has no such address.
    if !is_stream || !sockopt::socket_acceptconn(&socket)? || socket.local_addr().is_err() {
        return Err(io::Error::other(
            "it does not listen for TCP (ListenStream=)",
        ));
    }
    rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}
