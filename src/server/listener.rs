//! The two listener threads: they accept clients in a loop, and each is served by a thread.
//!
//! A listener serves one protocol on all of its addresses. An error of `accept` never ends the loop
//! (NET-6): if the system is out of descriptors or memory, the loop pauses; a client that left
//! before it was accepted is ignored; a client that cannot have a thread gets an error reply. A
//! panic ends only the session it happens in (SEC-17).

use std::{
    ffi::CString,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
    os::fd::AsFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    thread,
    time::Duration,
};

use ipnet::IpNet;
use log::Level;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    net::{self, AddressFamily, SocketFlags, SocketType, ipproto, sockopt},
};
use socket2::{SockAddr, SockRef, Socket};

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
    http, limits, maillog,
    muffler::Kind,
    pop3,
    registry::{Registry, Ticket},
    session::{Interruption, NoPlace, SessionEnd, SessionId, Visit},
    shares::Full,
    smtp,
    spares::{Spares, name_thread},
    start_tls::start_tls,
};

/// Opens a socket that listens on `address`.
///
/// # Errors
/// The system's error: the address is in use, not on this machine, or not allowed.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() {
        AddressFamily::INET6
    } else {
        AddressFamily::INET
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    if address.is_ipv6() {
        // Each address is configured separately; [::] must not take the port of 0.0.0.0.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    // A restart must not wait for the old connections' TIME-WAIT to end.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    net::bind(&socket, &address)?;
    net::listen(&socket, limits::BACKLOG)?;
    Ok(socket.into())
}

/// Sets what each client accepted from the socket inherits: nothing waits to share a packet with
/// what comes later, and the kernel buffers little for sending (SEC-9).
pub(super) fn prepare(socket: &impl AsFd) -> io::Result<()> {
    let socket = SockRef::from(socket);
    socket.set_tcp_nodelay(true)?;
    socket.set_tcp_notsent_lowat(limits::UNSENT_OCTETS_MAX)
}

/// What the sessions of a listener need.
#[derive(Debug)]
pub enum Sessions {
    /// SMTP.
    Smtp(smtp::Environment),
    /// POP3.
    Pop3(pop3::Environment),
    /// HTTP.
    Http(http::Environment),
}

impl Sessions {
    /// How TLS begins, if there is a certificate.
    fn handshakes(&self) -> Option<&Handshakes> {
        match self {
            Self::Smtp(environment) => environment.handshakes.as_deref(),
            Self::Pop3(environment) => environment.handshakes.as_deref(),
            Self::Http(environment) => environment.handshakes.as_deref(),
        }
    }

    /// Appends the reply to a client that gets no session, or whose session broke; `is_lasting` if
    /// trying again later does not help.
    fn render_unavailable(
        &self,
        why: &'static str,
        is_lasting: bool,
        clock: &Clock,
        out: &mut Vec<u8>,
    ) {
        match self {
            Self::Smtp(_) => crate::smtp::Reply::unavailable(why).render(out),
            Self::Pop3(_) => {
                // A single line is never split.
                crate::pop3::Response::unavailable(why, is_lasting).render(out, usize::MAX);
            }
            Self::Http(_) => {
                let date = crate::http::date(clock.unix_time().as_secs());
                crate::http::Reply::unavailable(why, is_lasting).render(&date, out);
            }
        }
    }
}

/// Why a client got no session.
#[derive(Debug)]
struct TurnedAway {
    /// What the client was told.
    why: &'static str,
    /// Whether trying again later does not help.
    is_lasting: bool,
    /// The system's error, if it could not start a thread.
    error: Option<io::Error>,
}

impl From<NoPlace> for TurnedAway {
    fn from(refusal: NoPlace) -> Self {
        Self {
            why: reason(refusal),
            is_lasting: refusal == NoPlace::NotOpen,
            error: None,
        }
    }
}

impl TurnedAway {
    /// Logs it, with the number of refusals from the address that were not logged before.
    fn log(&self, service: Service, peer: IpAddr, unlogged: u64) {
        match &self.error {
            None => maillog::turned_away(service, peer, unlogged, &self.why),
            Some(error) => {
                let why = format_args!("{}: {error}", self.why);
                maillog::turned_away(service, peer, unlogged, &why);
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
    /// The proxies that name their clients: the networks of their addresses.
    pub proxies: Vec<IpNet>,
    /// The sessions that are open.
    pub registry: Arc<Registry>,
    /// The threads that are running.
    pub threads: Arc<Threads>,
    /// Those of them that wait for another client.
    pub spares: Arc<Spares>,
    /// The time.
    pub clock: Clock,
}

impl Listener {
    /// Starts the listener's thread on `sockets`, each with its door. It ends, and the sockets are
    /// closed, when the other end of `stop` is closed.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub fn start(
        self,
        sockets: Vec<(Socket, Door)>,
        stop: io::PipeReader,
    ) -> io::Result<thread::JoinHandle<()>> {
        for (socket, _) in &sockets {
            // A client that leaves between poll and accept must not stop the loop.
            socket.set_nonblocking(true)?;
            if !socket.local_addr()?.is_unix() {
                prepare(socket)?;
            }
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
            Sessions::Http(_) => Service::Http,
        }
    }

    /// Whether another line of this kind may be logged about a client.
    fn lets_through(&self, peer: IpAddr, kind: Kind) -> Option<u64> {
        self.registry.lets_through(peer, kind, self.clock.now())
    }

    fn run(self: &Arc<Self>, sockets: &[(Socket, Door)], stop: &io::PipeReader) {
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

    /// Waits for clients and accepts all that are waiting; false if the listener must stop.
    fn accept_ready(
        self: &Arc<Self>,
        sockets: &[(Socket, Door)],
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

    /// Accepts the clients that wait at the socket. Those that arrive meanwhile may have to wait
    /// for the next round: a flood must not keep the listener from its other sockets, or from a
    /// stop.
    fn accept_all(self: &Arc<Self>, socket: &Socket, door: Door) -> io::Result<()> {
        for _ in 0..limits::ACCEPTS_MAX {
            match socket.accept() {
                Ok((stream, address)) => {
                    let (stream, peer) = (Arc::new(stream), peer_of(&address));
                    let is_proxied = self.is_proxy(&address);
                    if let Err(refused) = self.admit(&stream, peer, (door, is_proxied)) {
                        self.turn_away(&stream, door, &refused);
                        if let Some(unlogged) = self.lets_through(peer, Kind::TurnedAway) {
                            refused.log(self.service(), peer, unlogged);
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

    /// Whether a proxy is there. A Unix socket has no address, and so no proxy.
    fn is_proxy(&self, address: &SockAddr) -> bool {
        let address = address.as_socket().map(|it| it.ip().to_canonical());
        let is_of = |network: &IpNet| address.is_some_and(|address| network.contains(&address));
        self.proxies.iter().any(is_of)
    }

    /// The address whose share a client uses. On this machine, clients of HTTP have shares of their
    /// own: browsers and those who wait for mail must not take the places of SMTP and POP3.
    fn counted_as(&self, peer: IpAddr, door: Door) -> IpAddr {
        match (self.service(), door) {
            (_, Door::Control) => limits::CONTROL_ADDRESS,
            (Service::Http, _) if peer.to_canonical().is_loopback() => limits::HTTP_ADDRESS,
            _ => peer,
        }
    }

    /// Starts a thread for the client, or returns the reason why it has none.
    fn admit(
        self: &Arc<Self>,
        stream: &Arc<Socket>,
        peer: IpAddr,
        (door, is_proxied): (Door, bool),
    ) -> Result<(), TurnedAway> {
        let admitted = if !self.spares.has_any() && self.threads.are_spent() {
            // The threads of ended sessions have not all exited yet.
            Err(NoPlace::TooMany(Full(Network::EVERYTHING)))
        } else if is_proxied {
            self.registry.admit_proxy(peer, stream)
        } else {
            self.registry.admit(self.counted_as(peer, door), stream)
        };
        let ticket = match admitted {
            Ok(ticket) => ticket,
            Err(refusal) => {
                self.registry.counters().turned_away(refusal);
                return Err(refusal.into());
            }
        };
        let id = SessionId {
            service: self.service(),
            number: ticket.id(),
        };
        let listener = Arc::clone(self);
        let socket = Arc::clone(stream);
        let visit = Visit {
            id,
            door,
            is_proxied,
        };
        let work = move || listener.serve(socket, peer, ticket, visit);
        let begun = self.spares.begin(Box::new(work));
        begun.map_err(|error| {
            self.registry.counters().sessions.no_thread.increment();
            TurnedAway {
                why: "No thread to serve you, try again later",
                is_lasting: false,
                error: Some(error),
            }
        })
    }

    /// Sends why it is `refused` and closes. The socket does not block: what cannot be sent
    /// immediately is lost. A client that begins with TLS gets no reply: it could not understand
    /// plain text.
    fn turn_away(&self, mut stream: &Socket, door: Door, refused: &TurnedAway) {
        if door == Door::Tls {
            return;
        }
        let mut reply = Vec::new();
        let TurnedAway {
            why, is_lasting, ..
        } = *refused;
        self.sessions
            .render_unavailable(why, is_lasting, &self.clock, &mut reply);
        // The client is turned away either way; whether the reply reaches it does not matter.
        stream.set_nonblocking(true).ok();
        drop(stream.write(&reply));
    }

    /// Serves one client. Returns whether the thread can serve another: not after a panic, and not
    /// if it gave way to other threads, which lasts.
    fn serve(&self, stream: Arc<Socket>, peer: IpAddr, ticket: Ticket, visit: Visit) -> bool {
        let id = visit.id;
        name_after(id);
        self.registry.counters().began(id.service);
        maillog::session_began(id, peer);
        let clock = self.clock.clone();
        match connect(stream, peer, ticket, clock, self.timeouts) {
            Ok(mut connection) => {
                let end = self.serve_guarded(&mut connection, visit);
                self.registry.counters().ended(&end);
                // The connection still holds the session's place, so a stop waits for this line.
                dialogue::session_ended(&connection, id, &end);
                !matches!(end, SessionEnd::Panicked) && id.service != Service::Http
            }
            Err(error) => {
                let end = SessionEnd::Broken(Interruption::Lost(Some(error)));
                self.registry.counters().ended(&end);
                if let Some(unlogged) = self.lets_through(peer, Kind::Ended) {
                    maillog::session_ended(Level::Info, id, peer, unlogged, &end);
                }
                true
            }
        }
    }

    /// Lets a proxy name the client, and counts the session by that client's address from then on.
    /// Not inlined, for the same reason as [`connect`].
    #[inline(never)]
    fn learn_client(&self, connection: &mut Connection, visit: Visit) -> Result<(), SessionEnd> {
        let proxy = connection.peer();
        let client = match connection.read_proxy_header() {
            Ok(client) => client,
            Err(interruption) => {
                if matches!(interruption, Interruption::NoProxyHeader { .. }) {
                    self.dismiss(connection, visit.door, HEADER_REQUIRED, true);
                }
                return Err(SessionEnd::Broken(interruption));
            }
        };
        let counted_as = self.counted_as(client, visit.door);
        match connection.move_to(client, counted_as) {
            Ok(()) => {
                maillog::proxied(visit.id, proxy, client);
                Ok(())
            }
            Err(refusal) => {
                self.registry.counters().turned_away(refusal);
                let refused = TurnedAway::from(refusal);
                self.dismiss(connection, visit.door, refused.why, refused.is_lasting);
                if let Some(unlogged) = self.lets_through(client, Kind::TurnedAway) {
                    refused.log(self.service(), client, unlogged);
                }
                Err(SessionEnd::Broken(Interruption::Lost(None)))
            }
        }
    }

    /// Tells a client that has no session yet why it gets none, unless it begins with TLS.
    fn dismiss(&self, connection: &mut Connection, door: Door, why: &'static str, lasts: bool) {
        if door != Door::Tls {
            let output = connection.output();
            self.sessions
                .render_unavailable(why, lasts, &self.clock, output);
        }
        connection.close_lingering();
    }

    /// A panic means a broken invariant in facteur. The session is told and ends; all others
    /// continue. What the session shared with others is behind locks that do not poison and are not
    /// held while its code runs.
    fn serve_guarded(&self, connection: &mut Connection, visit: Visit) -> SessionEnd {
        let served = catch_unwind(AssertUnwindSafe(|| {
            if visit.is_proxied
                && let Err(end) = self.learn_client(connection, visit)
            {
                return end;
            }
            if visit.door == Door::Tls
                && let Err(interruption) =
                    start_tls(connection, self.sessions.handshakes(), visit.id)
            {
                return SessionEnd::Broken(interruption);
            }
            match &self.sessions {
                Sessions::Smtp(environment) => smtp::serve(connection, visit, environment),
                Sessions::Pop3(environment) => pop3::serve(connection, visit, environment),
                Sessions::Http(environment) => http::serve(connection, visit, environment),
            }
        }));
        served.unwrap_or_else(|_| {
            let why = "Internal error, closing";
            let output = connection.output();
            output.clear();
            self.sessions
                .render_unavailable(why, false, &self.clock, output);
            connection.close_lingering();
            SessionEnd::Panicked
        })
    }
}

/// What a proxy is told that does not name its client.
const HEADER_REQUIRED: &str = "Your address must begin with a header of the PROXY protocol";

/// The reply to a client that gets no session; it includes which share is full.
fn reason(refusal: NoPlace) -> &'static str {
    let network = match refusal {
        NoPlace::TooMany(Full(network)) => network,
        NoPlace::NotOpen => {
            return "This server has no accounts, and serves only loopback addresses and the \
                    networks in open_to";
        }
        NoPlace::ShuttingDown => return "The service is shutting down, try again later",
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

/// Prepares a new socket. Boxed and not inlined, to keep as little as possible on the stack of a
/// waiting session (NET-1).
#[inline(never)]
fn connect(
    stream: Arc<Socket>,
    peer: IpAddr,
    ticket: Ticket,
    clock: Clock,
    timeouts: Timeouts,
) -> io::Result<Box<Connection>> {
    Connection::new(stream, peer, ticket, clock, timeouts).map(Box::new)
}

/// Gives the thread the name of its session. Not inlined, for the same reason.
#[inline(never)]
fn name_after(id: SessionId) {
    if let Ok(name) = CString::new(id.to_string()) {
        name_thread(&name);
    }
}

/// Where the client is: a Unix socket reaches only this machine.
fn peer_of(address: &SockAddr) -> IpAddr {
    let address = address.as_socket();
    address.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |address| address.ip())
}

/// Whether `accept` failed for one client only: it has already left, or there was a signal.
fn is_passing(kind: io::ErrorKind) -> bool {
    matches!(
        kind,
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// Waits for `pause`; true if the listener must stop.
fn stopped_within(stop: &io::PipeReader, pause: Duration) -> bool {
    let mut waiting = [PollFd::from_borrowed_fd(stop.as_fd(), PollFlags::IN)];
    let timeout = Timespec::try_from(pause).ok();
    poll(&mut waiting, timeout.as_ref()).is_ok_and(|ready| ready > 0)
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    /// A listener, a client of it, and the server's end of their connection.
    fn ends() -> (TcpListener, TcpStream, TcpStream) {
        let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        prepare(&listener).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        listener.set_nonblocking(false).unwrap();
        let (stream, _) = listener.accept().unwrap();
        (listener, client, stream)
    }

    /// NET-3: a reply does not wait for the acknowledgement of the previous one.
    #[test]
    fn small_replies_are_sent_immediately() {
        let (_listener, _client, stream) = ends();
        assert!(stream.nodelay().unwrap());
    }

    /// SEC-9: without the limit it would be some megabytes.
    #[test]
    fn the_kernel_keeps_little_for_a_client_that_does_not_read() {
        let (_listener, _client, mut stream) = ends();
        // The client's buffer grows only while the client reads.
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
