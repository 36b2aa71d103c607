//! Assembly: from a configuration and a store to the listener threads of SMTP and POP3.
//!
//! `life.rs` has the order of start and stop; [`Daemon::stop`] is the part of it that ends the
//! listeners and the sessions. Beyond that this module has no logic of its own.

mod confinement;
mod error;
mod expiry;
mod inheritance;
mod life;
mod shared;

#[cfg(test)]
mod tests;

use std::{
    fmt, io,
    net::{SocketAddr, TcpListener},
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use ipnet::IpNet;
use socket2::Socket;

use crate::{
    accounts::{self, Accounts, Table},
    clock::Clock,
    config::{
        self, Config, Durability, ENDPOINTS, Endpoint, InFlightOctets, Listen, PerAddress, TlsFiles,
    },
    fs, http, inbox,
    mail::{Door, Service},
    server::{
        self, Caps, Current, Handshakes, Identity, Listener, Logins, Reach, Registry, Sessions,
        Spares, Timeouts, WithSources, limits,
    },
    store::{self, MessageStore},
    system::{
        capacity::{Own, System, Threads},
        ipv6,
    },
};

pub use confinement::{Confinement, Reachable};
pub use error::Error;
pub use inheritance::Inherited;
pub use life::{Failure, run};

use expiry::Watch;
use shared::Shared;

/// The warning that programs which worked without a certificate may now fail.
const STARTTLS_UNTRUSTED: &str = "programs that see STARTTLS or STLS and verify certificates (with \
    the libraries of Node.js, PHP, Ruby, Go and others) fail without the CA: facteur cert shows \
    how to make them trust it; starttls = \"off\" leaves TLS to smtps, pop3s and submission";

/// The sockets of all listeners, not yet served, and everything else that can be read from the
/// system only before the daemon enters its sandbox.
#[derive(Debug)]
pub struct Sockets {
    open: Vec<(&'static Endpoint, TcpListener)>,
    /// Those in the file system, with their paths.
    named: Vec<(&'static Endpoint, PathBuf, Socket)>,
    /// Endpoints whose sockets in the file system are not yet made.
    unnamed: Vec<&'static Endpoint>,
    /// Addresses that are not listened on because there is no IPv6.
    left_out: Vec<(&'static Endpoint, SocketAddr)>,
    /// Optional addresses that are in use.
    in_use: Vec<(&'static Endpoint, SocketAddr)>,
    system: System,
    threads: Arc<Threads>,
}

impl Sockets {
    /// Opens every socket of the configuration. Missing IPv6 is noted, but is no error as long as
    /// the endpoint has another address. Nor is a port in use that nobody has asked for.
    ///
    /// # Errors
    /// [`Error::Bind`].
    pub fn open(config: &Config) -> Result<Self, Error> {
        let mut sockets = Self::open_beside(Inherited::default(), config)?;
        sockets.make_named(config)?;
        Ok(sockets)
    }

    /// Takes the sockets of `inherited`, which are already in the configuration, and opens all
    /// others but those in the file system ([`make_named`](Self::make_named)).
    ///
    /// # Errors
    /// [`Error::Bind`].
    pub fn open_beside(mut inherited: Inherited, config: &Config) -> Result<Self, Error> {
        let system = System::read(own(config));
        let mut sockets = Self {
            open: Vec::new(),
            named: Vec::new(),
            unnamed: Vec::new(),
            left_out: Vec::new(),
            in_use: Vec::new(),
            threads: Arc::new(Threads::of(&system)),
            system,
        };
        for endpoint in &ENDPOINTS {
            let inherited = inherited.take_all(endpoint.key);
            if inherited.is_empty() {
                let bound = sockets.bind(endpoint, config);
                bound.map_err(|error| error.named(&config.mail))?;
                sockets.unnamed.push(endpoint);
            } else {
                let inherited = inherited.into_iter().map(|socket| (endpoint, socket));
                sockets.open.extend(inherited);
            }
        }
        Ok(sockets)
    }

    /// Makes the sockets in the file system, as the user that will serve them: they belong to that
    /// user, and only what that user may change is changed for them.
    ///
    /// # Errors
    /// [`Error::Socket`].
    pub fn make_named(&mut self, config: &Config) -> Result<(), Error> {
        let unnamed = std::mem::take(&mut self.unnamed);
        let mut unnamed = unnamed.into_iter();
        unnamed.try_for_each(|endpoint| self.bind_named(endpoint, config))
    }

    fn bind(&mut self, endpoint: &'static Endpoint, config: &Config) -> Result<(), Error> {
        let (listens, is_optional) = (endpoint.listens(config), endpoint.is_optional(config));
        for &Listen { address } in listens {
            match server::bind(address) {
                Ok(socket) => self.open.push((endpoint, socket)),
                Err(error) if ipv6::is_missing(address, &error) && listens.len() > 1 => {
                    self.left_out.push((endpoint, address));
                }
                Err(error) if is_optional && error.kind() == io::ErrorKind::AddrInUse => {
                    self.in_use.push((endpoint, address));
                }
                Err(source) => {
                    return Err(Error::Bind {
                        endpoint,
                        address,
                        process: None,
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    fn bind_named(&mut self, endpoint: &'static Endpoint, config: &Config) -> Result<(), Error> {
        for path in endpoint.sockets(config) {
            let path = path.clone();
            match fs::bind_shared(&path, limits::BACKLOG) {
                Ok(socket) => self.named.push((endpoint, path, socket)),
                Err(source) => {
                    return Err(Error::Socket {
                        path,
                        endpoint,
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    /// How much the system can support.
    pub fn system(&self) -> &System {
        &self.system
    }

    /// Logs which addresses are not listened on.
    fn log_missing(&self) {
        for (endpoint, address) in &self.left_out {
            log::info!(
                "no IPv6 here: {} does not listen on {address}",
                endpoint.key
            );
        }
        for (endpoint, address) in &self.in_use {
            let Endpoint { title, key, .. } = endpoint;
            log::warn!(
                "{title} is off on {address}: the port is in use (is another facteur running? The \
                 key {key} chooses another port)"
            );
        }
    }

    fn addresses(&self) -> Vec<(&'static Endpoint, SocketAddr)> {
        let open = self.open.iter();
        open.filter_map(|(endpoint, socket)| Some((*endpoint, socket.local_addr().ok()?)))
            .collect()
    }
}

/// What SIGHUP reads again.
#[derive(Debug)]
pub struct Renewable {
    /// `None` in open mode.
    table: Option<Table>,
    /// Who is served in open mode.
    open_to: Vec<IpNet>,
    identity: Option<Identity>,
    /// Warnings about them for the user.
    warnings: Vec<String>,
}

impl Renewable {
    /// Takes the accounts, which were read with the configuration, and reads the certificate.
    ///
    /// # Errors
    /// [`config::Error`]: do not start, or keep the old accounts and certificate.
    pub fn load(config: &Config) -> Result<Self, config::Error> {
        let identity = config.identity()?;
        let mut warnings = config.warnings.clone();
        warnings.extend(config.tls.as_ref().and_then(TlsFiles::exposed_key));
        warnings.extend(config::exposure(config));
        #[cfg(feature = "postgres")]
        warnings.extend(config.store.exposed_secrets());
        Ok(Self {
            table: config.table.clone(),
            open_to: config.open_to.clone(),
            identity,
            warnings,
        })
    }

    /// Puts the warnings into the log.
    pub fn warn(&self) {
        for warning in &self.warnings {
            log::warn!("{warning}");
        }
    }
}

/// A daemon that serves.
#[derive(Debug)]
pub struct Daemon {
    registry: Arc<Registry>,
    threads: Arc<Threads>,
    spares: Arc<Spares>,
    clock: Clock,
    system: System,
    /// What listens where, in the order of the configuration.
    addresses: Vec<(&'static Endpoint, SocketAddr)>,
    /// The sockets in the file system, by their paths.
    named: Vec<(&'static Endpoint, PathBuf)>,
    /// The proxies that name their clients.
    proxies: Vec<IpNet>,
    accounts: Arc<Accounts>,
    identity: Option<Arc<Current<Identity>>>,
    /// `Some` if there is a certificate.
    expiry: Option<Watch>,
    listeners: Vec<(io::PipeWriter, JoinHandle<()>)>,
}

impl Daemon {
    /// Starts the listener threads on `store`.
    ///
    /// # Errors
    /// [`Error::Start`].
    pub fn start(
        config: &Config,
        renewable: Renewable,
        sockets: Sockets,
        store: &Arc<MessageStore>,
        clock: &Clock,
    ) -> Result<Self, Error> {
        renewable.warn();
        sockets.log_missing();
        let system = &sockets.system;
        let verifications_max = system.verifications_max();
        let accounts = Arc::new(accounts(config, renewable.table, verifications_max));
        log_memory(config, system);
        if accounts.is_open() && config.starttls.0 && renewable.identity.is_some() {
            log::warn!("{STARTTLS_UNTRUSTED}");
        }
        let caps = caps(config, system);
        let registry = Registry::new(caps, in_flight(config, system).of_sessions());
        let registry = Arc::new(registry);
        registry.set_reach(reach(&accounts, renewable.open_to));
        let session = config.limits.session_seconds.0.map(Duration::from_secs);
        let identity = renewable.identity.map(|it| Arc::new(Current::new(it)));
        let handshakes = identity.clone().map(|identity| {
            let handshakes = Handshakes::start(identity, system.workers());
            handshakes.map(Arc::new).map_err(Error::Start)
        });
        let handshakes = handshakes.transpose()?;
        let first_delay = Duration::from_secs(config.limits.refused_login_seconds.0.unwrap_or(0));
        let logins = Logins::new(Arc::clone(&accounts), first_delay, clock.clone());
        let addresses = sockets.addresses();
        let shared = Shared {
            paths: Arc::default(),
            config,
            store,
            clock,
            accounts: &accounts,
            logins: Arc::new(logins),
            handshakes,
            addresses: &addresses,
            inbox: memory_of_inbox(system),
        };
        let (of_smtp, of_pop3) = (shared.smtp(), shared.pop3());
        let of_http = shared.http(caps.total);
        let mut daemon = Self {
            registry,
            threads: Arc::clone(&sockets.threads),
            spares: Spares::new(),
            clock: clock.clone(),
            system: sockets.system,
            addresses: sockets.addresses(),
            named: Vec::new(),
            proxies: config.proxy_from.clone(),
            accounts,
            expiry: identity
                .clone()
                .map(|identity| Watch::start(identity, clock.clone()))
                .transpose()
                .map_err(Error::Start)?,
            identity,
            listeners: Vec::new(),
        };
        let named = sockets.named.iter();
        let named = named.map(|(endpoint, path, _)| (*endpoint, path.clone()));
        daemon.named = named.collect();
        let [smtp, pop3, mut http] = by_service(sockets.open, sockets.named);
        http.extend(control(store));
        let idle = config.limits.smtp_idle_seconds.as_seconds();
        daemon.listen(smtp, of_smtp, Timeouts { idle, session })?;
        let idle = config.limits.pop3_idle_seconds.as_seconds();
        daemon.listen(pop3, of_pop3, Timeouts { idle, session })?;
        let idle = http::limits::IDLE_TIMEOUT;
        daemon.listen(http, of_http, Timeouts { idle, session })?;
        Ok(daemon)
    }

    fn listen(
        &mut self,
        sockets: Vec<(Socket, Door)>,
        sessions: Sessions,
        timeouts: Timeouts,
    ) -> Result<(), Error> {
        if sockets.is_empty() {
            return Ok(());
        }
        let (stopped, stop) = io::pipe().map_err(Error::Start)?;
        let registry = Arc::clone(&self.registry);
        let threads = Arc::clone(&self.threads);
        let spares = Arc::clone(&self.spares);
        let clock = self.clock.clone();
        let listener = Listener {
            sessions,
            timeouts,
            proxies: self.proxies.clone(),
            registry,
            threads,
            spares,
            clock,
        };
        let thread = listener.start(sockets, stopped).map_err(Error::Start)?;
        self.listeners.push((stop, thread));
        Ok(())
    }

    /// Replaces the accounts and the certificate.
    pub fn renew(&self, renewable: Renewable) {
        renewable.warn();
        let reach = reach(&self.accounts, renewable.open_to);
        self.registry.set_reach(reach);
        match (self.accounts.is_open(), renewable.table) {
            (true, None) => {}
            (true, Some(_)) => log::warn!("a restart is needed to start using accounts"),
            (false, None) => log::warn!("a restart is needed to stop using accounts"),
            (false, Some(table)) => {
                let n_accounts = table.accounts().len();
                let octets = table.verification_octets();
                let system = self.system.with_verification_octets(octets);
                // It fails only in open mode.
                let replaced = self.accounts.replace(table, system.verifications_max());
                replaced.unwrap_or_default();
                // Logged only now that it is true.
                log::info!("closed to all but {}", counted(n_accounts));
            }
        }
        match (&self.identity, renewable.identity) {
            (Some(current), Some(identity)) => {
                current.set(identity);
                if let Some(expiry) = &self.expiry {
                    expiry.renewed();
                }
            }
            (None, None) => {}
            (None, Some(_)) => log::warn!("a restart is needed to offer TLS"),
            (Some(_), None) => log::warn!("a restart is needed to stop offering TLS"),
        }
    }

    /// Serves only this machine, if there are no accounts: the configuration names no network any
    /// more. True if there are none.
    pub fn close_to_others(&self) -> bool {
        let is_open = self.accounts.is_open();
        if is_open {
            self.registry.set_reach(Reach::Near(Vec::new()));
        }
        is_open
    }

    /// The registry of the sessions, with their counters.
    pub fn sessions(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    /// Whether every listener still listens.
    pub fn is_serving(&self) -> bool {
        let mut threads = self.listeners.iter().map(|(_, thread)| thread);
        threads.all(|thread| !thread.is_finished())
    }

    /// Where SMTP listens without TLS, with the real ports.
    pub fn smtp(&self) -> Vec<SocketAddr> {
        self.addresses(Service::Smtp, Door::Plain)
    }

    /// Where POP3 listens without TLS, with the real ports.
    pub fn pop3(&self) -> Vec<SocketAddr> {
        self.addresses(Service::Pop3, Door::Plain)
    }

    /// Where a protocol listens through one door, with the real ports.
    pub fn addresses(&self, service: Service, door: Door) -> Vec<SocketAddr> {
        let listens = self.addresses.iter();
        let wanted = listens.filter(|(it, _)| (it.service, it.door) == (service, door));
        wanted.map(|(_, address)| *address).collect()
    }

    /// Stops: no more clients are accepted, and the sessions have some seconds to finish. Returns
    /// the number of sessions that did not.
    pub fn stop(mut self) -> usize {
        for (stop, thread) in std::mem::take(&mut self.listeners) {
            drop(stop);
            if thread.join().is_err() {
                log::error!("a listener had panicked");
            }
        }
        self.registry.stop();
        let (registry, clock) = (&self.registry, &self.clock);
        if registry.wait_until_empty(limits::DRAIN_TIMEOUT, clock) > 0 {
            registry.stop_all();
        }
        registry.wait_until_empty(limits::FAREWELL_TIMEOUT, clock)
    }
}

/// The sockets of SMTP, POP3 and HTTP, with their doors.
fn by_service(
    open: Vec<(&'static Endpoint, TcpListener)>,
    named: Vec<(&'static Endpoint, PathBuf, Socket)>,
) -> [Vec<(Socket, Door)>; 3] {
    let (mut smtp, mut pop3, mut http) = (Vec::new(), Vec::new(), Vec::new());
    let open = open.into_iter().map(|(it, socket)| (it, socket.into()));
    let named = named.into_iter().map(|(it, _, socket)| (it, socket));
    for (endpoint, socket) in open.chain(named) {
        let sockets = match endpoint.service {
            Service::Smtp => &mut smtp,
            Service::Pop3 => &mut pop3,
            Service::Http => &mut http,
        };
        sockets.push((socket, endpoint.door));
    }
    [smtp, pop3, http]
}

/// The control socket, if the file system has sockets.
fn control(store: &MessageStore) -> Vec<(Socket, Door)> {
    let made = store.control();
    match &made {
        Ok(_) => {}
        Err(error) => log::warn!(
            "no control socket: facteur list, show, wait, remove and cursor do not reach this \
             daemon: {}",
            WithSources(error)
        ),
    }
    made.into_iter()
        .map(|socket| (socket.into(), Door::Control))
        .collect()
}

/// Makes the accounts: who receives mail and who may log in.
fn accounts(config: &Config, table: Option<Table>, verifications_max: NonZeroUsize) -> Accounts {
    let domains = config.domains.iter().map(|domain| domain.0.clone());
    let settings = accounts::Settings {
        hostname: config.hostname.0.clone(),
        domains: domains.collect(),
        subaddress: config.subaddress.0,
    };
    match table {
        None => Accounts::open(&settings),
        Some(table) => {
            log::info!("closed to all but {}", counted(table.accounts().len()));
            Accounts::closed(&settings, table, verifications_max)
        }
    }
}

/// Who is served: everybody if there are accounts. Logs what `open_to` means for that.
fn reach(accounts: &Accounts, open_to: Vec<IpNet>) -> Reach {
    warn_of_openness(accounts.is_open(), &open_to);
    if accounts.is_open() {
        Reach::Near(open_to)
    } else {
        Reach::Everybody
    }
}

/// Logs what the key `open_to` means for a daemon that has accounts, or none.
fn warn_of_openness(is_open: bool, open_to: &[IpNet]) {
    if open_to.is_empty() {
        return;
    }
    if !is_open {
        log::warn!("open_to is ignored, because there are accounts");
        return;
    }
    let networks: Vec<String> = open_to.iter().map(IpNet::to_string).collect();
    log::warn!(
        "open_to: without accounts, every client in {} can read, send and remove all mail",
        networks.join(", ")
    );
}

/// The number of accounts, in words.
fn counted(accounts: usize) -> String {
    match accounts {
        1 => "1 account".to_owned(),
        _ => format!("{accounts} accounts"),
    }
}

/// What the daemon uses of the system regardless of its clients.
fn own(config: &Config) -> Own {
    let store = store::Memory::default();
    let InFlightOctets(in_flight) = config.limits.in_flight_octets;
    let inbox = inbox::Memory::default().octets();
    let shared_octets = [
        store.listed,
        store.remembered,
        store.looked,
        inbox,
        in_flight,
    ];
    let cores = std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN);
    Own {
        verification_octets: config.table.as_ref().map_or(0, Table::verification_octets),
        shared_octets: shared_octets.into_iter().fold(0, u64::saturating_add),
        stack_octets: u64::try_from(limits::STACK_OCTETS).unwrap_or(u64::MAX),
        cores,
        workers: match config.tls {
            Some(_) => cores.get().min(limits::HANDSHAKE_WORKERS_MAX),
            None => 0,
        },
    }
}

/// The most octets in flight: as configured, but less in a small control group.
fn in_flight(config: &Config, system: &System) -> InFlightOctets {
    let configured = config.limits.in_flight_octets;
    system.division().map_or(configured, |division| {
        configured.min(InFlightOctets::or_the_fewest(division.in_flight))
    })
}

/// Logs how much memory a small control group leaves for messages.
fn log_memory(config: &Config, system: &System) {
    let octets = in_flight(config, system);
    if octets < config.limits.in_flight_octets {
        let (octets, listed) = (octets.0, memory_of_store(config, system).listed);
        log::info!(
            "at most {octets} octets in flight and {listed} for listings of open maildrops, \
             bounded by {}",
            system.memory_name()
        );
    }
}

/// How much memory the store may use.
fn memory_of_store(config: &Config, system: &System) -> store::Memory {
    let usual = store::Memory::default();
    let division = system.division();
    store::Memory {
        held: in_flight(config, system).of_deliveries(),
        listed: division.map_or(usual.listed, |it| it.listed.min(usual.listed)),
        remembered: division.map_or(usual.remembered, |it| it.remembered.min(usual.remembered)),
        looked: division.map_or(usual.looked, |it| it.looked.min(usual.looked)),
    }
}

/// How much memory the inbox may use.
fn memory_of_inbox(system: &System) -> inbox::Memory {
    let usual = inbox::Memory::default();
    system.division().map_or(usual, |it| usual.within(it.inbox))
}

/// The settings of the store, with its events going to the log.
pub fn store_settings(config: &Config, system: &System) -> store::Settings {
    store::Settings {
        root: config.mail.clone(),
        hostname: config.hostname.0.as_str().to_owned(),
        durability: match config.durability {
            Durability::Journal => store::Durability::Journal {
                segment_octets: config.journal.segment_octets.0,
                segments: config.journal.segments.0,
            },
            Durability::Maildir => store::Durability::Maildir,
            Durability::None => store::Durability::None,
        },
        observer: store::Observer::new(log_store_event),
        memory: memory_of_store(config, system),
        // The files of its secrets were read before the sandbox.
        #[cfg(feature = "postgres")]
        database: None,
    }
}

/// Logs an event of the store.
fn log_store_event(event: &store::Event<'_>) {
    let level = match event.severity() {
        store::Severity::Notice => log::Level::Info,
        store::Severity::Warning => log::Level::Warn,
        store::Severity::Alarm => log::Level::Error,
    };
    let error = event.error().map(|error| WithSources(error));
    match (error, event.cure()) {
        (Some(error), Some(cure)) => log::log!(level, "store: {event}: {error}. {cure}"),
        (Some(error), None) => log::log!(level, "store: {event}: {error}"),
        (None, _) => log::log!(level, "store: {event}"),
    }
}

/// The most sessions: as configured, but never more than the system can support (NET-4), so that a
/// client over the limit gets a reply and not a failure.
fn caps(config: &Config, system: &System) -> Caps {
    let (system, bound) = system.sessions_max();
    let total = match usize::try_from(config.limits.connections) {
        Ok(configured) if configured != 0 && configured <= system => configured,
        Ok(_) | Err(_) => system,
    };
    if total == system {
        log::info!("at most {total} sessions at once, bounded by {bound}");
    } else {
        log::info!("at most {total} sessions at once, as configured");
    }
    let per_address = match config.limits.connections_per_address {
        PerAddress::Auto => server::PerAddress::Scaled,
        PerAddress::Off => server::PerAddress::Unlimited,
        PerAddress::AtMost(count) => {
            server::PerAddress::AtMost(usize::try_from(count).unwrap_or(usize::MAX))
        }
    };
    let caps = Caps { total, per_address };
    if let Some(shares) = caps.summary() {
        log::info!("{shares}");
    }
    caps
}

/// What the daemon prints at its start, for a person at a terminal.
#[derive(Debug)]
pub struct Banner<'a> {
    /// The daemon.
    pub daemon: &'a Daemon,
    /// Where the mail is.
    pub mail: &'a str,
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "facteur {}", env!("CARGO_PKG_VERSION"))?;
        for endpoint in &ENDPOINTS {
            let addresses = self.daemon.addresses(endpoint.service, endpoint.door);
            let mut places: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
            let named = self.daemon.named.iter();
            let named = named.filter(|(other, _)| other.key == endpoint.key);
            places.extend(named.map(|(_, path)| path.display().to_string()));
            if !places.is_empty() {
                writeln!(f, "{} {}", endpoint.title, places.join(", "))?;
            } else if endpoint.is_usual() {
                writeln!(f, "{} off", endpoint.title)?;
            }
        }
        writeln!(f, "mail {}", self.mail)?;
        // In closed mode curl asks for the password.
        let table = self.daemon.accounts.table();
        let first = table.as_ref().and_then(|table| table.accounts().first());
        let domain = self.daemon.accounts.domains().first();
        let domain = domain.map_or("example.com", String::as_str);
        let recipient = first.map_or_else(
            || format!("bob@{domain}"),
            |account| account.mailbox.to_string(),
        );
        let password = if first.is_some() { "" } else { ":any" };
        if let Some(address) = self.daemon.smtp().first() {
            let commands =
                format!("HELO me, MAIL FROM:<a@b>, RCPT TO:<{recipient}>, DATA, a dot, QUIT");
            writeln!(
                f,
                "send:  nc {} {}   ({commands})",
                address.ip(),
                address.port()
            )?;
        }
        if let Some(address) = self.daemon.pop3().first() {
            writeln!(f, "fetch: curl -u {recipient}{password} pop3://{address}/1")?;
        }
        Ok(())
    }
}
