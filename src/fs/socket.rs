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

/// Makes a socket at `path` with mode 0660, for programs of other users in its group, and listens
/// on it. A socket that nobody listens on any more is replaced.
///
/// # Errors
/// Those of the system calls; `AddrInUse` if somebody listens there, `AlreadyExists` if something
/// else has the name, and `PermissionDenied` if others can write to the directory: they could put a
/// socket of their own there.
pub fn bind_shared(path: &Path, backlog: i32) -> io::Result<Socket> {
    let no_name = || io::Error::from(io::ErrorKind::InvalidInput);
    let name = path.file_name().ok_or_else(no_name)?;
    let directory = open(path.parent().ok_or_else(no_name)?)?;
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&directory)?.st_mode);
    if mode.contains(Mode::WOTH) {
        let reason = "others can write to its directory: run chmod o-w on it";
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    let short = format!("/proc/self/fd/{}", directory.as_raw_fd());
    let address = SockAddr::unix(Path::new(&short).join(name))?;
    if let Ok(found) = rustix::fs::statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        if FileType::from_raw_mode(found.st_mode) != FileType::Socket {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let client = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        client.set_nonblocking(true)?;
        match client.connect(&address) {
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
            // Its backlog is full.
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(error),
            Ok(()) | Err(_) => return Err(io::ErrorKind::AddrInUse.into()),
        }
        rustix::fs::unlinkat(&directory, name, AtFlags::empty())?;
    }
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.bind(&address)?;
    // Nobody can connect before it listens.
    let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP | Mode::WGRP;
    rustix::fs::chmodat(&directory, name, mode, AtFlags::empty())?;
    socket.listen(backlog)?;
    Ok(socket)
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
#[expect(clippy::disallowed_methods, reason = "the test plays another program")]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// The name of the caller's socket, and the kind of the error.
    fn refusal(path: &Path) -> io::ErrorKind {
        bind_shared(path, 1).unwrap_err().kind()
    }

    #[test]
    fn a_shared_socket_replaces_only_one_that_nobody_listens_on() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let socket = bind_shared(&path, 1).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        UnixStream::connect(&path).unwrap();
        assert_eq!(refusal(&path), io::ErrorKind::AddrInUse);
        drop(socket);
        let socket = bind_shared(&path, 1).unwrap();
        UnixStream::connect(&path).unwrap();
        drop(socket);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(refusal(&path), io::ErrorKind::AlreadyExists);
    }

    /// SEC-6.
    #[test]
    fn a_shared_socket_is_not_made_where_others_can_write() {
        let directory = tempfile::tempdir().unwrap();
        let permissions = std::fs::Permissions::from_mode(0o1777);
        std::fs::set_permissions(directory.path(), permissions).unwrap();
        let kind = refusal(&directory.path().join("s"));
        assert_eq!(kind, io::ErrorKind::PermissionDenied);
        let missing = refusal(&directory.path().join("no/s"));
        assert_eq!(missing, io::ErrorKind::NotFound);
    }

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
