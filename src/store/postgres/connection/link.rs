//! The socket to a server: octets with deadlines, in clear or within TLS.
//!
//! A wait consists of slices, so that the socket's own timeout is set once, and only a wait shorter
//! than a slice sets it again.

use std::{
    io::{self, ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use bytes::{BufMut as _, BytesMut};
use postgres_protocol::message::frontend;
use rustls::{ClientConnection, StreamOwned};
use socket2::{Domain, SockAddr, Socket, TcpKeepalive, Type};

use crate::clock::Clock;

use super::{
    super::limits::{
        CONNECT_TIMEOUT, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES, KEEPALIVE_TIME, READ_OCTETS,
        UNANSWERED_TIMEOUT, WAIT_SLICE,
    },
    access::{Access, Server},
};

/// How long to wait for octets.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    /// Until this moment.
    Deadline(Instant),
    /// For one slice.
    Slice,
}

/// An open socket.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    clock: Clock,
    /// The socket's timeout now.
    timeout: Duration,
    /// Where octets are read into.
    buffer: Vec<u8>,
}

#[derive(Debug)]
enum Stream {
    Plain(Socket),
    Tls(Box<StreamOwned<ClientConnection, Socket>>),
}

impl Link {
    /// Connects to `server`, in TLS if `access` demands it.
    pub(super) fn open(
        server: &Server,
        access: &Access,
        clock: &Clock,
        deadline: Instant,
    ) -> io::Result<Self> {
        let (socket, name) = match server {
            Server::Local(path) => {
                let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
                socket.connect(&SockAddr::unix(path)?)?;
                (socket, None)
            }
            Server::Tcp {
                name, addresses, ..
            } => {
                let addresses = addresses.lock().clone();
                let mut failure = io::Error::other("its name cannot be resolved");
                let connected = addresses.iter().find_map(|address| {
                    let left = deadline.saturating_duration_since(clock.now());
                    let time = left.min(CONNECT_TIMEOUT).max(WAIT_SLICE);
                    let connected = tcp(&SockAddr::from(*address), time);
                    connected.map_err(|error| failure = error).ok()
                });
                (connected.ok_or(failure)?, Some(name))
            }
        };
        socket.set_read_timeout(Some(WAIT_SLICE))?;
        socket.set_write_timeout(Some(WAIT_SLICE))?;
        let mut link = Self {
            stream: Stream::Plain(socket),
            clock: clock.clone(),
            timeout: WAIT_SLICE,
            buffer: vec![0; READ_OCTETS],
        };
        let (Some(tls), Some(name)) = (&access.tls, name) else {
            return Ok(link);
        };
        let mut request = BytesMut::new();
        frontend::ssl_request(&mut request);
        link.write(&request, deadline)?;
        // One octet and no more: what follows must come through TLS.
        let answer = link.read_octet(deadline)?;
        let Stream::Plain(socket) = link.stream else {
            return Err(io::Error::other("TLS within TLS"));
        };
        if answer != b'S' {
            return Err(io::Error::other("the server offers no TLS"));
        }
        let client = ClientConnection::new(tls.clone(), name.clone()).map_err(io::Error::other)?;
        let stream = Stream::Tls(Box::new(StreamOwned::new(client, socket)));
        Ok(Self { stream, ..link })
    }

    fn read_octet(&mut self, deadline: Instant) -> io::Result<u8> {
        let mut octet = [0];
        let until = Until::Deadline(deadline);
        self.wait_for(until, |stream| stream.reader().read(&mut octet))?;
        let [octet] = octet;
        Ok(octet)
    }

    /// Reads what is there, and at least one octet, into `into`.
    ///
    /// # Errors
    /// [`ErrorKind::TimedOut`] if there is none by then; the connection can still be used.
    pub(super) fn read(&mut self, into: &mut BytesMut, until: Until) -> io::Result<()> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let n_read = self.wait_for(until, |stream| stream.reader().read(&mut buffer));
        self.buffer = buffer;
        let read = self.buffer.get(..n_read?).unwrap_or_default();
        into.put_slice(read);
        Ok(())
    }

    /// Writes all of `octets`.
    pub(super) fn write(&mut self, octets: &[u8], deadline: Instant) -> io::Result<()> {
        let until = Until::Deadline(deadline);
        let mut rest = octets;
        while !rest.is_empty() {
            let n_written = self.wait_for(until, |stream| stream.writer().write(rest))?;
            rest = rest.get(n_written..).unwrap_or_default();
        }
        self.wait_for(until, |stream| stream.writer().flush().map(|()| 1))?;
        Ok(())
    }

    /// Calls `act` until it has moved an octet.
    fn wait_for(
        &mut self,
        until: Until,
        mut act: impl FnMut(&mut Stream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let mut n_slices = 0_u64;
        loop {
            let left = match until {
                Until::Deadline(deadline) => deadline.saturating_duration_since(self.clock.now()),
                Until::Slice if n_slices == 0 => WAIT_SLICE,
                Until::Slice => Duration::ZERO,
            };
            n_slices = n_slices.saturating_add(1);
            if left.is_zero() {
                return Err(ErrorKind::TimedOut.into());
            }
            self.set_timeout(left.min(WAIT_SLICE))?;
            match act(&mut self.stream) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(n_moved) => return Ok(n_moved),
                Err(error)
                    if matches!(
                        error.kind(),
                        ErrorKind::WouldBlock | ErrorKind::Interrupted | ErrorKind::TimedOut
                    ) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn set_timeout(&mut self, timeout: Duration) -> io::Result<()> {
        if timeout == self.timeout {
            return Ok(());
        }
        let socket = self.stream.socket();
        socket.set_read_timeout(Some(timeout))?;
        socket.set_write_timeout(Some(timeout))?;
        self.timeout = timeout;
        Ok(())
    }
}

impl Stream {
    fn socket(&self) -> &Socket {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref(),
        }
    }

    fn reader(&mut self) -> &mut dyn Read {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream,
        }
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream,
        }
    }
}

/// Connects to a server on TCP. A server that is gone is noticed within seconds.
fn tcp(address: &SockAddr, time: Duration) -> io::Result<Socket> {
    let socket = Socket::new(address.domain(), Type::STREAM, None)?;
    socket.connect_timeout(address, time)?;
    socket.set_tcp_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_TIME)
        .with_interval(KEEPALIVE_INTERVAL)
        .with_retries(KEEPALIVE_PROBES);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(UNANSWERED_TIMEOUT))?;
    Ok(socket)
}
