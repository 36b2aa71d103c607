//! The life of the daemon: the order of its start, its service until a signal, and its end.
//!
//! *Start:* the configuration; the sockets, while the process is still privileged (a port in use is
//! reported before anything is created); dropping privileges; the accounts and the certificate; the
//! mail directory; the sandbox; then, on threads inside it, the store and the listeners.
//!
//! *End:* no more clients are accepted and the sessions finish what they are doing
//! ([`Daemon::stop`]); then the store closes.

use std::{
    error::Error as StdError,
    io::{self, Write as _},
    path::Path,
    sync::Arc,
    thread,
};

use crate::{
    clock::Clock,
    config::{self, Config, Environment, LogFormat},
    counters::Report,
    logging::{self, Log},
    server::{Registry, WithSources},
    store::{self, MessageStore},
    system::{
        exit, privileges,
        signals::{self, Hangup},
        supervisor::{News, Supervisor},
    },
};

use super::{
    Banner, Confinement, Daemon, Inherited, Reachable, Renewable, Sockets, store_settings,
    warn_of_openness,
};

/// Where the configuration comes from.
struct Source<'a> {
    /// The file, if there is one.
    file: Option<&'a Path>,
    /// The variables that override it.
    environment: &'a Environment,
    /// Reads it, together with the variables and the command-line options; also for a reload.
    read: &'a dyn Fn() -> Result<Config, config::Error>,
}

/// Serves until a signal asks it to stop, or only checks the configuration. `read` reads it, also
/// for a reload; `file` is the configuration file, if there is one, and `environment` has the
/// variables that override it.
///
/// # Errors
/// [`Failure`].
pub fn run(
    file: Option<&Path>,
    environment: &Environment,
    read: &dyn Fn() -> Result<Config, config::Error>,
    is_check: bool,
) -> Result<(), Failure> {
    let source = &Source {
        file,
        environment,
        read,
    };
    let mut config = (source.read)()?;
    let format = match config.log_format {
        LogFormat::Text => logging::Format::Text,
        LogFormat::Json => logging::Format::Json,
    };
    // The time zone is read now and never again.
    let clock = Clock::system();
    let prepared = if is_check {
        None
    } else {
        Some(Prepared::new(source, &mut config)?)
    };
    let log = Log::start(config.log_level.0, format, &clock)?;
    let done = match prepared {
        None => check(&config),
        Some(prepared) => serve(source, &config, prepared, &clock),
    };
    log.flush();
    done
}

/// Also reads the files that the configuration names, and logs the same warnings as at a start.
fn check(config: &Config) -> Result<(), Failure> {
    Renewable::load(config)?.warn();
    warn_of_openness(config.table.is_none(), &config.open_to);
    if !config.user.is_empty() {
        privileges::check(&config.user)?;
    }
    #[cfg(feature = "postgres")]
    if let Some(database) = config.database()? {
        warn_of_unresolved(&database);
    }
    Ok(writeln!(io::stdout(), "the configuration is valid")?)
}

/// What is prepared before the sandbox and before a second thread, so without a log.
struct Prepared {
    renewable: Renewable,
    sockets: Sockets,
    supervisor: Supervisor,
    hangup: Hangup,
    confinement: Confinement,
    #[cfg(feature = "postgres")]
    database: Option<store::Database>,
}

impl Prepared {
    fn new(source: &Source<'_>, config: &mut Config) -> Result<Self, Failure> {
        let mut inherited = Inherited::from_environment()?;
        inherited.put_into(config)?;
        config::check(config)?;
        let mut sockets = Sockets::open_beside(inherited, config)?;
        if !config.user.is_empty() {
            privileges::go_on_as(&config.user)?;
            // Otherwise files that the new user cannot read would fail only at the first SIGHUP.
            (source.read)()?;
        }
        sockets.make_named(config)?;
        let renewable = Renewable::load(config)?;
        #[cfg(feature = "postgres")]
        let database = config.database()?;
        #[cfg(feature = "postgres")]
        let reachable = database
            .as_ref()
            .map_or_else(Reachable::default, |database| Reachable {
                ports: database.access.ports().to_vec(),
                directories: database.access.directories().to_vec(),
                has_names: database.access.has_names(),
            });
        #[cfg(not(feature = "postgres"))]
        let reachable = Reachable::default();
        store::make_root(&config.mail)?;
        let file = source.file;
        let has_files = file.is_some() || source.environment.names_files();
        let supervisor = Supervisor::from_environment();
        Ok(Self {
            renewable,
            sockets,
            // A manager that is notified of the end of a reload may ask for a reload.
            hangup: Hangup::for_daemon(has_files || supervisor.is_there()),
            supervisor,
            confinement: Confinement::enter(config, file, reachable)?,
            #[cfg(feature = "postgres")]
            database,
        })
    }
}

/// Serves until a signal asks it to stop.
fn serve(
    source: &Source<'_>,
    config: &Config,
    prepared: Prepared,
    clock: &Clock,
) -> Result<(), Failure> {
    let Prepared {
        renewable,
        sockets,
        supervisor,
        hangup,
        confinement,
        #[cfg(feature = "postgres")]
        database,
    } = prepared;
    let mut signals = signals::Receiver::new(hangup)?;
    log_source(source.file);
    log_environment(source.environment, config);
    confinement.log_state();
    supervisor.warn();
    if privileges::is_root() {
        log::warn!("serving as root: start as another user, or name one with the key user");
    }
    if config.durability == config::Durability::None {
        log::warn!("durability is \"none\": a power cut loses mail that was acknowledged");
    }
    #[cfg(feature = "postgres")]
    let name = database.as_ref().map(|it| it.access.database().to_owned());
    #[cfg(not(feature = "postgres"))]
    let name: Option<String> = None;
    let started = confinement.start_within(|| {
        let settings = store_settings(config, sockets.system());
        #[cfg(feature = "postgres")]
        let settings = in_database(settings, database);
        let store = MessageStore::open(settings, clock.clone())?;
        let store = Arc::new(store);
        let daemon = Daemon::start(config, renewable, sockets, &store, clock)?;
        Ok::<_, Failure>((daemon, store))
    });
    let (daemon, store) = started??;
    log_disk_space(&store);
    let mail = match name {
        Some(name) => format!("in the database {name}"),
        None => std::path::absolute(&config.mail)?.display().to_string(),
    };
    let banner = Banner {
        daemon: &daemon,
        mail: &mail,
    };
    if let Err(error) = write!(io::stdout(), "{banner}") {
        log::warn!("cannot print where the daemon listens: {error}");
    }
    log::info!("ready");
    let sessions = daemon.sessions();
    let signal = thread::scope(|scope| {
        // Watchdog messages could fill the queue of a manager that reads slowly, and this one be
        // lost.
        supervisor.tell(News::Ready);
        let _signs = supervisor.give_signs(scope, || daemon.is_serving())?;
        let renew = || {
            supervisor.tell(News::Reloading);
            renew(source, config, &daemon);
            supervisor.tell(News::Ready);
        };
        Ok::<_, io::Error>(signals.wait_for_stop(renew, || report(&sessions, &store)))
    })?;
    log::info!("{signal}: stopping");
    supervisor.tell(News::Stopping);
    match daemon.stop() {
        0 => log::info!("stopped"),
        sessions => log::warn!("stopped with {sessions} sessions that did not end in time"),
    }
    if let Err(error) = store.close() {
        let error = WithSources(&error);
        log::error!("{error}; the next start replays what is left in the journal");
    }
    report(&sessions, &store);
    Ok(())
}

/// The settings of a store in `database`, if there is one, and else in the mail directory.
#[cfg(feature = "postgres")]
fn in_database(settings: store::Settings, database: Option<store::Database>) -> store::Settings {
    if let Some(database) = &database {
        let name = database.access.database();
        log::info!("mail is in the database {name}");
        warn_of_unresolved(database);
    }
    store::Settings {
        database,
        ..settings
    }
}

/// Logs which servers have no address yet.
#[cfg(feature = "postgres")]
fn warn_of_unresolved(database: &store::Database) {
    for server in database.access.unresolved() {
        log::warn!("store.postgres: {server}; a running facteur tries again every 10 seconds");
    }
}

/// Logs which configuration is in force.
fn log_source(file: Option<&Path>) {
    const USUAL: &str = "facteur.toml";
    match file {
        Some(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            log::info!("configuration: {}", path.display());
        }
        None if Path::new(USUAL).exists() => log::warn!(
            "configuration: none; to use the {USUAL} in this directory, give --config {USUAL}"
        ),
        None => log::info!("configuration: none; using the defaults"),
    }
}

/// Logs which environment variables are in force, and which have no effect.
fn log_environment(environment: &Environment, config: &Config) {
    let names = environment.names(config);
    if !names.is_empty() {
        log::info!("environment: {}", names.join(", "));
    }
    for unknown in environment.unknown() {
        log::warn!("environment: {unknown}");
    }
}

/// Logs how much disk space there is for messages, if the system reports it.
fn log_disk_space(store: &MessageStore) {
    match store.room() {
        Ok(room) if room.free == u64::MAX => {}
        Ok(room) if room.is_enough() => {
            log::info!("disk space: {room}");
        }
        Ok(room) => log::warn!("no mail is accepted until there is more disk space: {room}"),
        Err(error) => log::error!("{}", WithSources(&error)),
    }
}

/// Logs the counters since the start.
fn report(sessions: &Registry, store: &MessageStore) {
    let mut report = Report::default();
    sessions.report(&mut report);
    store.report(&mut report);
    report.log();
}

/// Reloads accounts and certificate. If they cannot be used, the old ones stay in place. The log
/// names what else has changed since the start.
fn renew(source: &Source<'_>, current: &Config, daemon: &Daemon) {
    let read = (source.read)();
    let loaded = read.and_then(|config| Ok((Renewable::load(&config)?, config)));
    match loaded {
        Ok((renewable, config)) => {
            daemon.renew(renewable);
            log::info!("SIGHUP: accounts and certificate have been reloaded");
            let changes = config::changes(current, &config);
            if !changes.is_empty() {
                let changes = changes.join(", ");
                log::warn!("SIGHUP: these other changes need a restart: {changes}");
            }
        }
        Err(error) => {
            log::error!(
                "SIGHUP: accounts, certificate and open_to stay as they were: {}",
                WithSources(&error).to_string().replace('\n', "; ")
            );
            // Closing the listeners needs a restart, but serving only this machine does not.
            if error.is_open_to_nobody() && daemon.close_to_others() {
                log::warn!("SIGHUP: open_to is empty, so only this machine is served from now on");
            }
        }
    }
}

/// Why the daemon ends with a failure.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure {
    /// The configuration cannot be used.
    Config(config::Error),
    /// The daemon cannot be started.
    Start(super::Error),
    /// The process cannot continue as another user.
    Privileges(privileges::Error),
    /// The store cannot be opened.
    Store(store::Error),
    /// Another operation of the system failed.
    Io(io::Error),
}

impl Failure {
    /// The exit code of the process: 2 for a mistake in the configuration, 75 if another daemon
    /// serves the store, otherwise 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_)
            | Self::Privileges(
                privileges::Error::Unknown { .. } | privileges::Error::StillRoot { .. },
            ) => exit::USAGE,
            Self::Store(store::Error::StoreInUse { .. }) => exit::STORE_IN_USE,
            Self::Start(_) | Self::Privileges(_) | Self::Store(_) | Self::Io(_) => exit::FAILURE,
        }
    }

    /// The underlying error.
    pub fn error(&self) -> &(dyn StdError + 'static) {
        match self {
            Self::Config(error) => error,
            Self::Start(error) => error,
            Self::Privileges(error) => error,
            Self::Store(error) => error,
            Self::Io(error) => error,
        }
    }
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        Self::Config(error)
    }
}

impl From<super::Error> for Failure {
    fn from(error: super::Error) -> Self {
        Self::Start(error)
    }
}

impl From<privileges::Error> for Failure {
    fn from(error: privileges::Error) -> Self {
        Self::Privileges(error)
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
