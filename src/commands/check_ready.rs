//! `facteur check-ready`: whether the daemon with this configuration greets its clients.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::net::UnixStream,
    path::Path,
    time::Duration,
};

use crate::{
    cli::Arguments,
    clock::Clock,
    config::{Config, ENDPOINTS},
    fs, store,
    system::ipv6,
};

use super::{
    error::{Error, NotReady},
    local::{connect, local},
};

/// Time for the whole check: long for a daemon on this machine, and shorter than the timeout of
/// container health checks.
const TIMEOUT: Duration = Duration::from_secs(5);

/// How the answer of a daemon that is ready begins.
const STATUS: &[u8; 12] = b"HTTP/1.1 200";

/// Octets of a greeting that are read.
const GREETING_OCTETS_MAX: usize = 512;

pub(super) fn run(
    arguments: &Arguments,
    clock: &Clock,
    output: &mut dyn Write,
) -> Result<(), Error> {
    let config = arguments.configuration()?;
    let began = clock.now();
    let left = || TIMEOUT.saturating_sub(clock.now().saturating_duration_since(began));
    let mut names = Vec::new();
    for endpoint in &ENDPOINTS {
        let (key, listens) = (endpoint.key, endpoint.listens(&config));
        let mut n_greeted: usize = 0;
        for listen in listens {
            let address = local(listen.address);
            match greeted(address, endpoint.greeting, &config, &left) {
                Ok(()) => n_greeted = n_greeted.saturating_add(1),
                // The daemon skips such an address if it has another one.
                Err(error) if ipv6::is_missing(address, &error) && listens.len() > 1 => {}
                // The daemon does without it if its port is in use.
                Err(_) if endpoint.is_optional(&config) => {}
                Err(source) => {
                    return Err(Error::NotReady(NotReady {
                        key,
                        place: address.to_string(),
                        source,
                    }));
                }
            }
        }
        for path in endpoint.sockets(&config) {
            let greeted = in_time(&left).and_then(|left| {
                let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
                    return Err(io::ErrorKind::InvalidInput.into());
                };
                fs::connect(directory, &name.to_string_lossy(), left)
            });
            let greeted = greeted.and_then(|mut stream| {
                let wait = |stream: &UnixStream, time| stream.set_read_timeout(Some(time));
                hear(&mut stream, wait, endpoint.greeting, &left)
            });
            greeted.map_err(|source| {
                Error::NotReady(NotReady {
                    key,
                    place: path.display().to_string(),
                    source,
                })
            })?;
            n_greeted = n_greeted.saturating_add(1);
        }
        if n_greeted > 0 {
            names.push(key);
        }
    }
    if !config.store.postgres.is_empty() {
        can_store(&config.mail, &left).map_err(Error::NotStoring)?;
    }
    writeln!(output, "ready: {}", names.join(", "))?;
    Ok(())
}

/// Asks the daemon that serves this mail directory whether its database stores messages.
fn can_store(root: &Path, left: &dyn Fn() -> Duration) -> io::Result<()> {
    let mut stream = store::connect_control(root, left())?;
    stream.set_read_timeout(Some(left().max(Duration::from_millis(1))))?;
    let request = b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request)?;
    let mut octets = [0; STATUS.len()];
    match stream.read_exact(&mut octets) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(io::ErrorKind::TimedOut.into())
        }
        Err(error) => Err(error),
        Ok(()) if octets == *STATUS => Ok(()),
        Ok(()) => Err(io::Error::other("the log of the daemon says why")),
    }
}

/// Connects, and waits for the greeting.
fn greeted(
    address: SocketAddr,
    greeting: Option<&str>,
    config: &Config,
    left: &dyn Fn() -> Duration,
) -> io::Result<()> {
    if address.port() == 0 {
        let reason = "port 0 means any free port, and only the daemon knows which one";
        return Err(io::Error::other(reason));
    }
    let mut stream = connect(address, in_time(left)?, &config.proxy_from)?;
    let wait = |stream: &TcpStream, time| stream.set_read_timeout(Some(time));
    hear(&mut stream, wait, greeting, left)
}

fn in_time(left: &dyn Fn() -> Duration) -> io::Result<Duration> {
    match left() {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

/// Waits for the greeting; `wait` sets how long a read may take.
fn hear<S: Read + Write>(
    stream: &mut S,
    wait: impl Fn(&S, Duration) -> io::Result<()>,
    greeting: Option<&str>,
    left: &dyn Fn() -> Duration,
) -> io::Result<()> {
    let Some(greeting) = greeting else {
        return Ok(());
    };
    let mut octets = Vec::new();
    let mut buffer = [0; 128];
    while !octets.contains(&b'\n') && octets.len() < GREETING_OCTETS_MAX {
        wait(stream, in_time(left)?)?;
        let n_read = match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n_read) => n_read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                return Err(io::ErrorKind::TimedOut.into());
            }
            Err(error) => return Err(error),
        };
        octets.extend(buffer.iter().take(n_read));
    }
    if !octets.starts_with(greeting.as_bytes()) {
        let line = octets.split(|&octet| octet == b'\n').next();
        let line = String::from_utf8_lossy(line.unwrap_or_default());
        let line = line.trim_end().escape_debug();
        return Err(io::Error::other(format!("it sends \"{line}\"")));
    }
    // A courtesy to the daemon's log; whether it arrives does not matter here.
    drop(stream.write_all(b"QUIT\r\n"));
    Ok(())
}
