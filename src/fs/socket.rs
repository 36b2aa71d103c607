//! Sockets that have a name in a directory.
//!
//! The name of a socket has 107 octets at most, far less than a path may have. So the directory is
//! opened, and the socket is reached through that descriptor, whatever the length of its path. The
//! directory is not followed if it is a symbolic link (SEC-6).
//!
//! # Known limits
//! This needs `/proc`.

use std::{
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use socket2::{Domain, SockAddr, Socket, Type};

/// A directory that is open only to reach what is in it.
fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(rustix::fs::openat(CWD, path, flags, Mode::empty())?)
}

/// A short path of `name` in an open directory.
fn within(directory: &OwnedFd, name: &str) -> PathBuf {
    format!("/proc/self/fd/{}/{name}", directory.as_raw_fd()).into()
}

/// Makes the socket `name` in `directory`, with mode 0600, and listens on it. A socket that has
/// that name already is removed: the caller knows that nobody listens there.
///
/// # Errors
/// Those of the system calls; `AlreadyExists` if something else has the name.
pub(super) fn bind(directory: &Path, name: &str) -> io::Result<UnixListener> {
    let directory = open(directory)?;
    if let Ok(found) = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)
        && FileType::from_raw_mode(found.st_mode) == FileType::Socket
    {
        rustix::fs::unlinkat(&directory, name, AtFlags::empty())?;
    }
    // Until its mode is set, the directory keeps others out.
    let bound = UnixListener::bind(within(&directory, name));
    if let Err(error) = &bound
        && error.kind() == io::ErrorKind::AddrInUse
    {
        return Err(io::ErrorKind::AlreadyExists.into());
    }
    let listener = bound?;
    let mode = Mode::RUSR | Mode::WUSR;
    rustix::fs::chmodat(&directory, name, mode, AtFlags::empty())?;
    Ok(listener)
}

/// Connects to the socket `name` in `directory`, within this time: whoever listens there may accept
/// nobody, and then clients wait as soon as its backlog is full.
///
/// # Errors
/// Those of the system calls; `TimedOut`.
pub fn connect(directory: &Path, name: &str, time: Duration) -> io::Result<UnixStream> {
    let directory = open(directory)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // The time to send is also the time to connect (unix(7), socket(7)).
    socket.set_write_timeout(Some(time))?;
    match socket.connect(&SockAddr::unix(within(&directory, name))?) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            return Err(io::ErrorKind::TimedOut.into());
        }
        connected => connected?,
    }
    socket.set_write_timeout(None)?;
    Ok(OwnedFd::from(socket).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn connecting_ends_at_a_socket_that_accepts_nobody() {
        let directory = tempfile::tempdir().unwrap();
        let listener = bind(directory.path(), "s").unwrap();
        // The backlog gets a fixed small size.
        rustix::net::listen(&listener, 0).unwrap();
        let connect = |time| connect(directory.path(), "s", time);
        let mut connected = Vec::new();
        let error = loop {
            match connect(Duration::from_millis(10)) {
                Ok(stream) => connected.push(stream),
                Err(error) => break error,
            }
            assert!(connected.len() < 100, "everybody is connected");
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        listener.accept().unwrap();
        let stream = connect(Duration::from_mins(1)).unwrap();
        assert_eq!(stream.write_timeout().unwrap(), None);
    }
}
