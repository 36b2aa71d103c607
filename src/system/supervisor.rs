//! The service manager, if one has started this process and wants to know its state.
//!
//! Speaks the protocol of systemd's `sd_notify(3)`, which other managers know too: datagrams of
//! lines such as `READY=1` to the socket that `NOTIFY_SOCKET` names and, if `WATCHDOG_USEC` asks
//! for it, two signs of life in each such period.
//!
//! # Theory of operation
//! The socket is connected when this is created: later, in the sandbox, that would fail. Nothing
//! waits for the manager: a datagram that it does not accept immediately is lost.
//!
//! # Failures
//! If the manager cannot be reached, the daemon still serves, and the log says so.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, Scope};
use std::time::Duration;

/// Signs of life per period of the manager: one may be late, or lost.
const SIGNS_IN_TIME: u32 = 2;

/// What to report to the manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum News {
    /// Clients are served; also sent when a reload is over.
    Ready,
    /// Accounts and certificate are being reloaded.
    Reloading,
    /// No more clients are accepted.
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

/// The service manager, if there is one.
#[derive(Debug)]
pub struct Supervisor {
    socket: Option<io::Result<UnixDatagram>>,
    patience: Option<Duration>,
}

impl Supervisor {
    /// The manager that the environment names.
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

    /// Logs that nothing can be reported to the manager.
    pub fn warn(&self) {
        if let Some(Err(error)) = &self.socket {
            log::warn!("cannot report to the service manager (NOTIFY_SOCKET): {error}");
        }
    }

    /// Reports to the manager.
    pub fn tell(&self, news: News) {
        if let Some(Ok(socket)) = &self.socket
            && let Err(error) = socket.send(news.as_line().as_bytes())
        {
            log::debug!("could not report {news:?} to the service manager: {error}");
        }
    }

    /// Starts to send signs of life, if they are requested, for as long as `is_well` and until the
    /// returned value is dropped.
    ///
    /// # Errors
    /// When the system cannot start a thread.
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

/// Connects to the socket with this name: a path, or an abstract name after an `@`.
fn connect(name: &OsStr) -> io::Result<UnixDatagram> {
    let address = match name.as_bytes().split_first() {
        Some((b'@', abstract_name)) => SocketAddr::from_abstract_name(abstract_name)?,
        Some((b'/', _)) => SocketAddr::from_pathname(name)?,
        Some(_) | None => return Err(io::Error::other("it is neither a path nor an @ name")),
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// How long the manager waits for a sign of life, from the environment variables, if they mean this
/// process.
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
    fn signs_of_life_are_sent_if_this_process_is_asked_for_them() {
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
    fn a_name_that_is_not_a_socket_is_an_error() {
        for name in ["", "relative", "vsock:2:1", "/no/such/socket"] {
            assert!(connect(OsStr::new(name)).is_err(), "{name}");
        }
    }

    #[test]
    fn a_daemon_that_is_not_well_sends_no_signs_of_life() {
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
