//! Tests of connections over real sockets, with a clock that the test controls.

pub(crate) mod client;
mod handshakes;
mod http;
#[cfg(feature = "postgres")]
mod leases;
mod overload;
mod proxied;
mod recipients;
mod time;

use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use rustls::{ClientConfig, ClientConnection};
use socket2::Socket;

use crate::accounts::Accounts;
use crate::clock::{Clock, Hands};
use crate::mail::Domain;
use crate::store::MessageStore;
use crate::wire::BareOctets;

use super::connection::Connection;
use super::limits;
use super::listener::prepare;
use super::registry::Registry;
use super::shares::{Caps, PerAddress};
use super::{Handshakes, Logins, Timeouts, smtp};

/// The two ends of a connection, and the hands of its clock.
pub(super) struct Ends {
    pub(super) connection: Connection,
    /// The server's end, which `connection` reads from and writes to.
    pub(super) socket: Arc<Socket>,
    pub(super) client: TcpStream,
    pub(super) hands: Arc<Hands>,
    pub(super) registry: Arc<Registry>,
}

impl Ends {
    /// A connection that believes its client to be at `peer`.
    pub(super) fn new(peer: &str, timeouts: Timeouts) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        prepare(&listener).unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        client.set_nodelay(true).unwrap();
        let socket = Arc::new(Socket::from(listener.accept().unwrap().0));
        let hands = Arc::new(Hands::new());
        let clock = Clock::turned_by(Arc::clone(&hands));
        let caps = Caps {
            total: 1,
            per_address: PerAddress::Scaled,
        };
        let registry = Arc::new(Registry::new(caps, limits::IN_FLIGHT_OCTETS));
        let peer = peer.parse().unwrap();
        let ticket = registry.admit(peer, &socket).unwrap();
        let connection = Connection::new(Arc::clone(&socket), peer, ticket, clock, timeouts);
        Self {
            connection: connection.unwrap(),
            socket,
            client,
            hands,
            registry,
        }
    }
}

impl Ends {
    /// Begins TLS at both ends; returns the client's side of it.
    pub(super) fn begin_tls(&mut self) -> ClientConnection {
        let (handshakes, config) = time::handshakes();
        self.begin_tls_by(&handshakes, &config)
    }

    /// The same with these handshakes, for a client that trusts their certificate.
    pub(super) fn begin_tls_by(
        &mut self,
        handshakes: &Handshakes,
        config: &Arc<ClientConfig>,
    ) -> ClientConnection {
        let config = Arc::clone(config);
        let mut tls = ClientConnection::new(config, "localhost".try_into().unwrap()).unwrap();
        let (connection, mut client) = (&mut self.connection, &self.client);
        thread::scope(|scope| {
            let begun = thread::Builder::new()
                .spawn_scoped(scope, || connection.start_tls(handshakes))
                .unwrap();
            while tls.is_handshaking() {
                tls.complete_io(&mut client).unwrap();
            }
            begun.join().unwrap().unwrap();
        });
        tls
    }
}

/// What SMTP sessions need with the default configuration, except for the accounts.
pub(super) fn smtp_sessions(
    store: &Arc<MessageStore>,
    accounts: &Arc<Accounts>,
    logins: Arc<Logins>,
    clock: &Clock,
) -> smtp::Environment {
    smtp::Environment {
        store: Arc::clone(store),
        accounts: Arc::clone(accounts),
        clock: clock.clone(),
        logins,
        handshakes: None,
        starttls: true,
        settings: Arc::new(smtp_settings()),
        paths: Arc::default(),
        bare_octets: BareOctets::Refuse,
    }
}

/// Settings without limits.
pub(super) fn smtp_settings() -> crate::smtp::Settings {
    crate::smtp::Settings {
        hostname: Domain::localhost(),
        message_octets_max: None,
        recipients_max: None,
        errors_max: None,
        scram: false,
        senders: crate::smtp::Senders::Anybody,
        local_dots: crate::mail::Dots::BetweenAtoms,
        dialect: crate::smtp::Dialect::Smtp,
        http_port: None,
    }
}

/// Five minutes for a command and an hour in total, as by default.
pub(super) fn timeouts() -> Timeouts {
    Timeouts {
        idle: Duration::from_mins(5),
        session: Some(Duration::from_hours(1)),
    }
}
