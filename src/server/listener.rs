//! The two listener threads: accept clients in a loop, give each a thread of its own.
//!
//! A listener serves one protocol on all of its addresses. An error of `accept` never ends the
//! loop (NET-6): where the system is out of descriptors or memory the loop pauses, a client that
//! went away before it was accepted is nothing, and a client that can have no thread is told so.
//! A panic ends the session it happens in and nothing else (SEC-17).

use std::{
    io::{self, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use log::Level;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt},
};
use socket2::SockRef;

use crate::{
    clock::Clock,
    mail::{Breadth, Door, Network, Service},
    system::capacity::Threads,
};

use super::{
    connection::Connection,
    deadlines::Timeouts,
    dialogue,
    handshakes::Handshakes,
    limits, maillog,
    muffler::Kind,
    pop3,
    registry::{Registry, Ticket},
    session::{Interruption, NoPlace, SessionEnd, SessionId, Visit},
    shares::Full,
    smtp,
    start_tls::start_tls,
};

/// Opens a socket that listens on `address`.
///
/// # Errors
/// What the system says: the address is in use, not of this machine, or not allowed.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    if address.is_ipv6() {
        // Each address is configured for itself; [::] must not take 0.0.0.0's port away.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // A restart must not wait for the old connections' TIME-WAIT to end.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, limits::BACKLOG)?;
    Ok(socket.into())
}

/// Bounds what the kernel keeps to be sent, for each client that is accepted at the socket (SEC-9):
/// it goes on with what the socket was told.
fn bound_unsent(socket: &TcpListener) -> io::Result<()> {
    SockRef::from(socket).set_tcp_notsent_lowat(limits::UNSENT_OCTETS_MAX)
}

/// What the sessions of a listener need.
#[derive(Debug)]
pub enum Sessions {
    /// SMTP.
    Smtp(smtp::Environment),
    /// POP3.
    Pop3(pop3::Environment),
}

impl Sessions {
    /// How TLS begins, where there is a certificate.
    fn handshakes(&self) -> Option<&Handshakes> {
        match self {
            Self::Smtp(environment) => environment.handshakes.as_deref(),
            Self::Pop3(environment) => environment.handshakes.as_deref(),
        }
    }

    /// Appends what a client is told that gets no session, or whose session broke.
    fn render_unavailable(&self, why: &'static str, out: &mut Vec<u8>) {
        match self {
            Self::Smtp(_) => crate::smtp::Reply::unavailable(why).render(out),
            Self::Pop3(_) => {
                // One line is never rendered in part.
                crate::pop3::Response::unavailable(why).render(out, usize::MAX);
            }
        }
    }
}

/// Why a client got no session.
#[derive(Debug)]
struct TurnedAway {
    /// What it was told.
    why: &'static str,
    /// What the system said, where it had no thread to give.
    error: Option<io::Error>,
}

impl TurnedAway {
    /// Puts it into the log, with the number of those of its address before that were not.
    fn log(&self, service: Service, peer: IpAddr, untold: u64) {
        match &self.error {
            None => maillog::turned_away(service, peer, untold, &self.why),
            Some(error) => {
                let why = format_args!("{}: {error}", self.why);
                maillog::turned_away(service, peer, untold, &why);
            }
        }
    }
}

/// One protocol's listener.
#[derive(Debug)]
pub struct Listener {
    /// What the sessions need.
    pub sessions: Sessions,
    /// How long clients may take.
    pub timeouts: Timeouts,
    /// Who is connected.
    pub registry: Arc<Registry>,
    /// The threads that there are.
    pub threads: Arc<Threads>,
    /// The time.
    pub clock: Clock,
}

impl Listener {
    /// Starts the listener's thread on `sockets`, each from [`bind`] with its door; it ends, and
    /// the sockets are closed, when the other end of `stop` is closed.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        self,
        sockets: Vec<(TcpListener, Door)>,
        stop: io::PipeReader,
    ) -> io::Result<thread::JoinHandle<()>> {
        for (socket, _) in &sockets {
            bound_unsent(socket)?;
        }
        let name = format!("{}-listener", self.service());
        let listener = Arc::new(self);
        thread::Builder::new()
            .name(name)
            .spawn(move || listener.run(&sockets, &stop))
    }

    fn service(&self) -> Service {
        match self.sessions {
            Sessions::Smtp(_) => Service::Smtp,
            Sessions::Pop3(_) => Service::Pop3,
        }
    }

    /// Whether the log has one more line of this kind about a client.
    fn lets_through(&self, peer: IpAddr, kind: Kind) -> Option<u64> {
        self.registry.lets_through(peer, kind, self.clock.now())
    }

    fn run(self: &Arc<Self>, sockets: &[(TcpListener, Door)], stop: &io::PipeReader) {
        let (shortest, longest) = limits::BACK_OFF;
        let mut pause = shortest;
        loop {
            match self.accept_ready(sockets, stop) {
                Ok(true) => pause = shortest,
                Ok(false) => return,
                Err(error) => {
                    self.registry.counters().sessions.accept_failed.increment();
                    maillog::accept_failed(self.service(), &error);
                    if stopped_within(stop, pause) {
                        return;
                    }
                    pause = pause.saturating_mul(2).min(longest);
                }
            }
        }
    }

    /// Waits for clients and accepts all that are there; false when the listener is to stop.
    fn accept_ready(
        self: &Arc<Self>,
        sockets: &[(TcpListener, Door)],
        stop: &io::PipeReader,
    ) -> io::Result<bool> {
        let readable = |socket| PollFd::from_borrowed_fd(socket, PollFlags::IN);
        let mut waiting: Vec<PollFd<'_>> = sockets
            .iter()
            .map(|(socket, _)| readable(socket.as_fd()))
            .collect();
        waiting.push(readable(stop.as_fd()));
        match poll(&mut waiting, None) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
        if waiting.last().is_none_or(|stop| !stop.revents().is_empty()) {
            return Ok(false);
        }
        for ((socket, door), polled) in sockets.iter().zip(&waiting) {
            if !polled.revents().is_empty() {
                self.accept_all(socket, *door)?;
            }
        }
        Ok(true)
    }

    /// Accepts who waits at the socket. Those who come while it does so may have to wait for the
    /// next round: a flood must not keep the listener from its other sockets, and from a stop.
    fn accept_all(self: &Arc<Self>, socket: &TcpListener, door: Door) -> io::Result<()> {
        for _ in 0..limits::ACCEPTS_MAX {
            match socket.accept() {
                Ok((stream, peer)) => {
                    let stream = Arc::new(stream);
                    if let Err(refused) = self.admit(&stream, peer, door) {
                        self.turn_away(&stream, door, refused.why);
                        if let Some(untold) = self.lets_through(peer.ip(), Kind::TurnedAway) {
                            refused.log(self.service(), peer.ip(), untold);
                        }
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if is_passing(error.kind()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Gives the client a thread, or the reason why it has none.
    fn admit(
        self: &Arc<Self>,
        stream: &Arc<TcpStream>,
        peer: SocketAddr,
        door: Door,
    ) -> Result<(), TurnedAway> {
        let admitted = if self.threads.are_spent() {
            // Some are left of sessions that have ended.
            Err(NoPlace::TooMany(Full(Network::EVERYTHING)))
        } else {
            self.registry.admit(peer.ip(), stream)
        };
        let ticket = match admitted {
            Ok(ticket) => ticket,
            Err(refusal) => {
                self.registry.counters().turned_away(refusal);
                let why = reason(refusal);
                return Err(TurnedAway { why, error: None });
            }
        };
        let id = SessionId {
            service: self.service(),
            number: ticket.id(),
        };
        let listener = Arc::clone(self);
        let socket = Arc::clone(stream);
        let spawned = thread::Builder::new()
            .name(id.to_string())
            .stack_size(limits::STACK_OCTETS)
            .spawn(move || listener.serve(socket, peer, ticket, Visit { id, door }));
        spawned.map(drop).map_err(|error| {
            self.registry.counters().sessions.no_thread.increment();
            TurnedAway {
                why: "No thread to serve you, try again later",
                error: Some(error),
            }
        })
    }

    /// Says `why` and closes. The socket does not wait: what does not fit at once is lost. A client
    /// that begins with TLS is not told: it would not take words for what they are.
    fn turn_away(&self, mut stream: &TcpStream, door: Door, why: &'static str) {
        if door == Door::Tls {
            return;
        }
        let mut reply = Vec::new();
        self.sessions.render_unavailable(why, &mut reply);
        // The client is turned away either way; whether it hears why is its own luck.
        stream.set_nonblocking(true).ok();
        drop(stream.write(&reply));
    }

    /// The life of a session's thread.
    fn serve(&self, stream: Arc<TcpStream>, peer: SocketAddr, ticket: Ticket, visit: Visit) {
        let id = visit.id;
        self.registry.counters().began(id.service);
        maillog::session_began(id, peer.ip());
        let clock = self.clock.clone();
        match connect(stream, peer.ip(), ticket, clock, self.timeouts) {
            Ok(mut connection) => {
                let end = self.serve_guarded(&mut connection, visit);
                self.registry.counters().ended(&end);
                // While the connection holds the session's place: a stop waits for this line.
                dialogue::session_ended(&connection, id, &end);
            }
            Err(error) => {
                let end = SessionEnd::Broken(Interruption::Lost(Some(error)));
                self.registry.counters().ended(&end);
                if let Some(untold) = self.lets_through(peer.ip(), Kind::Ended) {
                    maillog::session_ended(Level::Info, id, peer.ip(), untold, &end);
                }
            }
        }
    }

    /// A panic is a broken invariant of ours: the session that met it is told and ends, all others
    /// go on. What the session shared with others is behind locks that do not poison and are not
    /// held while its code runs.
    fn serve_guarded(&self, connection: &mut Connection, visit: Visit) -> SessionEnd {
        let served = catch_unwind(AssertUnwindSafe(|| {
            if visit.door == Door::Tls
                && let Err(interruption) =
                    start_tls(connection, self.sessions.handshakes(), visit.id)
            {
                return SessionEnd::Broken(interruption);
            }
            match &self.sessions {
                Sessions::Smtp(environment) => smtp::serve(connection, visit, environment),
                Sessions::Pop3(environment) => pop3::serve(connection, visit, environment),
            }
        }));
        served.unwrap_or_else(|_| {
            let why = "Internal error, closing";
            let output = connection.output();
            output.clear();
            self.sessions.render_unavailable(why, output);
            connection.close_lingering();
            SessionEnd::Panicked
        })
    }
}

/// What a client is told that gets no session: also which share has no place left.
fn reason(refusal: NoPlace) -> &'static str {
    let NoPlace::TooMany(Full(network)) = refusal else {
        return "The service is shutting down, try again later";
    };
    match (network.breadth(), network.is_v4()) {
        (Breadth::Everything, _) => "Too many connections, try again later",
        (Breadth::Address, _) => "Too many connections from your address, try again later",
        (Breadth::Customer, _) => "Too many connections from your network (/64), try again later",
        (Breadth::Site, true) => "Too many connections from your network (/24), try again later",
        (Breadth::Site, false) => "Too many connections from your network (/56), try again later",
        (Breadth::Organisation, true) => {
            "Too many connections from your network (/16), try again later"
        }
        (Breadth::Organisation, false) => {
            "Too many connections from your network (/48), try again later"
        }
        (Breadth::Block, true) => "Too many connections from your network (/8), try again later",
        (Breadth::Block, false) => "Too many connections from your network (/32), try again later",
        (Breadth::Loopback, _) => "Too many connections from this machine, try again later",
    }
}

/// Prepares a fresh socket. In a box and not inlined: as little as possible lies on the stack of a
/// session that waits (NET-1).
#[inline(never)]
fn connect(
    stream: Arc<TcpStream>,
    peer: IpAddr,
    ticket: Ticket,
    clock: Clock,
    timeouts: Timeouts,
) -> io::Result<Box<Connection>> {
    Connection::new(stream, peer, ticket, clock, timeouts).map(Box::new)
}

/// Whether `accept` failed for one client only: it is gone already, or a signal came.
fn is_passing(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Waits for `pause`; true when the listener is to stop.
fn stopped_within(stop: &io::PipeReader, pause: Duration) -> bool {
    let mut waiting = [PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN)];
    let timeout = Timespec::try_from(pause).ok();
    poll(&mut waiting, timeout.as_ref()).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-9: without the bound it is some megabytes.
    #[test]
    fn the_kernel_keeps_little_for_a_client_that_does_not_read() {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        bound_unsent(&listener).unwrap();
        let _client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (mut stream, _) = listener.accept().unwrap();
        // The client's side of it grows only while it reads.
        stream
            .set_write_timeout(Some(Duration::from_millis(50)))
            .unwrap();
        let piece = vec![b'x'; 64 * 1_024];
        let mut octets = 0;
        let error = loop {
            match stream.write(&piece) {
                Ok(written) => octets += written,
                Err(error) => break error,
            }
            assert!(octets < 1_024 * 1_024, "{octets}");
        };
        assert!(crate::server::tls::is_pause(error.kind()), "{error}");
        assert!(octets >= piece.len());
    }
}
