//! The service manager, where one has started this process and wants to be told how it is.
//!
//! Speaks the protocol of systemd's `sd_notify(3)`, which others know too: datagrams of lines such
//! as `READY=1` to the socket that `NOTIFY_SOCKET` names, and, when `WATCHDOG_USEC` asks for it, a
//! sign of life twice in each such time.
//!
//! # Theory of operation
//! The socket is connected when this is made: later, in the sandbox, it could not be. Nothing waits
//! for the manager: what it does not take at once is lost.
//!
//! # Failures
//! A manager that cannot be reached is no reason not to serve; the log is told.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, Scope};
use std::time::Duration;

/// Signs of life in each time that the manager waits: one may be late, or lost.
const SIGNS_IN_TIME: u32 = 2;

/// What the manager is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Clients may come; also when a reload is over.
    Ready,
    /// Accounts and certificate are being reloaded.
    Reloading,
    /// No more clients.
    Stopping,
    /// All is well.
    Alive,
}

impl News {
    fn as_line(self) -> &'static str {
        match self {
            Self::Ready => "READY=1\n",
            Self::Reloading => "RELOADING=1\n",
            Self::Stopping => "STOPPING=1\n",
            Self::Alive => "WATCHDOG=1\n",
        }
    }
}

/// The service manager; nobody where there is none.
#[derive(Debug)]
pub struct Supervisor {
    socket: Option<io::Result<UnixDatagram>>,
    patience: Option<Duration>,
}

impl Supervisor {
    /// The one that the environment names.
    pub fn from_environment() -> Self {
        let variable = |name| env::var(name).ok();
        Self {
            socket: env::var_os("NOTIFY_SOCKET").map(|name| connect(&name)),
            patience: patience(
                variable("WATCHDOG_USEC").as_deref(),
                variable("WATCHDOG_PID").as_deref(),
                std::process::id(),
            ),
        }
    }

    /// Whether there is one.
    pub fn is_there(&self) -> bool {
        self.socket.is_some()
    }

    /// Tells the log when the manager cannot be told anything.
    pub fn warn(&self) {
        if let Some(Err(error)) = &self.socket {
            log::warn!(
                "the service manager cannot be told how it is here (NOTIFY_SOCKET): {error}"
            );
        }
    }

    /// Tells the manager.
    pub fn tell(&self, news: News) {
        if let Some(Ok(socket)) = &self.socket
            && let Err(error) = socket.send(news.as_line().as_bytes())
        {
            log::debug!("the service manager was not told {news:?}: {error}");
        }
    }

    /// Starts to give signs of life, where they are asked for, as long as `is_well` and until what
    /// this gives back is dropped.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn give_signs<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        is_well: impl Fn() -> bool + Send + 'scope,
    ) -> io::Result<Option<Sender<()>>> {
        let (Some(patience), Some(Ok(_))) = (self.patience, &self.socket) else {
            return Ok(None);
        };
        let (until, end) = channel();
        let interval = patience.checked_div(SIGNS_IN_TIME).unwrap_or(patience);
        let thread = thread::Builder::new().name("watchdog".to_owned());
        thread.spawn_scoped(scope, move || {
            while is_well() {
                self.tell(News::Alive);
                match end.recv_timeout(interval) {
                    Err(RecvTimeoutError::Timeout) => {}
                    Ok(()) | Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            log::error!("no more signs of life for the service manager: a listener has ended");
        })?;
        Ok(Some(until))
    }
}

/// Connects to the socket of this name: a path, or with `@` in front an abstract one.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().split_first() {
        Some((b'@', abstract_name)) => SocketAddr::from_abstract_name(abstract_name)?,
        Some((b'/', _)) => SocketAddr::from_pathname(name)?,
        Some(_) | None => return Err(io::Error::other("it is neither a path nor begins with @")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// How long the manager waits for a sign of life, from the variables that say so, if this process
/// is the one that they mean.
fn patience(microseconds: Option<&str>, process: Option<&str>, this: u32) -> Option<Duration> {
    if process.is_some_and(|process| process.parse() != Ok(this)) {
        return None;
    }
    let microseconds: u64 = microseconds?.parse().ok()?;
    (microseconds > 0).then(|| Duration::from_micros(microseconds))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd as _;

    use super::*;

    #[test]
    fn signs_of_life_are_given_where_this_process_is_asked_for_them() {
        let second = Some(Duration::from_secs(1));
        for (microseconds, process, expect) in [
            (Some("1000000"), None, second),
            (Some("1000000"), Some("7"), second),
            (Some("1000000"), Some("8"), None),
            (Some("1000000"), Some("x"), None),
            (Some("0"), None, None),
            (Some("-1"), None, None),
            (Some("soon"), None, None),
            (None, Some("7"), None),
        ] {
            assert_eq!(
                patience(microseconds, process, 7),
                expect,
                "{microseconds:?} {process:?}"
            );
        }
    }

    #[test]
    fn a_name_that_is_no_socket_is_an_error() {
        for name in ["", "relative", "vsock:2:1", "/no/such/socket"] {
            assert!(connect(OsStr::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn who_is_not_well_gives_no_signs() {
        let directory = tempfile::tempdir().unwrap();
        // The address of a socket has at most 107 octets, which a temporary directory may exceed.
        let opened = std::fs::File::open(directory.path()).unwrap();
        let path = format!("/proc/self/fd/{}/notify", opened.as_raw_fd());
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let supervisor = Supervisor {
            socket: Some(connect(OsStr::new(&path))),
            patience: Some(Duration::from_mins(1)),
        };
        // The scope ends when the thread does.
        let mut until = thread::scope(|scope| supervisor.give_signs(scope, || false).unwrap());
        assert!(until.take().is_some());
        let mut news = [0; 64];
        assert!(manager.recv(&mut news).is_err());
    }
}
