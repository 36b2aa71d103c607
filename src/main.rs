//! The facteur program: runs a command, or reads the configuration, opens the store, starts the
//! listeners and waits for a signal.
//!
//! Exit codes: 0 stopped as asked, 1 failure, 2 usage or configuration, 75 store in use.

use std::{
    error::Error as StdError,
    io::{self, Write},
    path::Path,
    process::ExitCode,
    sync::Arc,
    thread,
};

use clap::Parser;
use facteur::{
    cli::{Arguments, usage_error},
    clock::Clock,
    commands,
    config::{self, Config, LogFormat},
    counters::Report,
    daemon::{self, Banner, Confinement, Daemon, Inherited, Renewable, Sockets},
    logging::{self, Log},
    server::{Registry, WithSources},
    store::{self, MessageStore},
    system::{
        privileges,
        signals::{self, Hangup},
        supervisor::{News, Supervisor},
    },
};

fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(wrong) if wrong.use_stderr() => {
            complain(&usage_error(&wrong));
            return ExitCode::from(2);
        }
        // --help and --version.
        Err(answer) => {
            return answer
                .print()
                .map_or(ExitCode::FAILURE, |()| ExitCode::SUCCESS);
        }
    };
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            complain(&WithSources(failure.error()).to_string());
            failure.code()
        }
    }
}

/// Says why the program ends. When standard error is closed, the exit code has to say enough.
fn complain(reason: &str) {
    for line in reason.lines() {
        drop(writeln!(io::stderr(), "facteur: {line}"));
    }
}

fn run(arguments: &Arguments) -> Result<(), Failure> {
    if let Some(command) = &arguments.command {
        let done = commands::run(command, arguments, &Clock::system(), &mut io::stdout());
        return done.map_err(Failure::Command);
    }
    let mut config = arguments.configuration().map_err(Failure::Config)?;
    let format = match config.log_format {
        LogFormat::Text => logging::Format::Text,
        LogFormat::Json => logging::Format::Json,
    };
    // The time zone is read now and never again.
    let clock = Clock::system();
    let prepared = if arguments.check {
        None
    } else {
        Some(Prepared::new(arguments, &mut config)?)
    };
    let log = Log::start(config.log_level.0, format, &clock)?;
    let done = match prepared {
        None => check(&config),
        Some(prepared) => serve(arguments, &config, prepared, &clock),
    };
    log.flush();
    done
}

/// Reads what the configuration names too; what is to be warned of is told as at a start.
fn check(config: &Config) -> Result<(), Failure> {
    Renewable::load(config).map_err(Failure::Config)?.warn();
    if !config.user.is_empty() {
        privileges::check(&config.user).map_err(Failure::Privileges)?;
    }
    Ok(writeln!(io::stdout(), "the configuration is valid")?)
}

/// What is to be had before the sandbox is entered and there is a second thread, so without a log.
struct Prepared {
    renewable: Renewable,
    sockets: Sockets,
    supervisor: Supervisor,
    hangup: Hangup,
    confinement: Confinement,
}

impl Prepared {
    fn new(arguments: &Arguments, config: &mut Config) -> Result<Self, Failure> {
        let mut inherited = Inherited::from_environment().map_err(Failure::Daemon)?;
        inherited.put_into(config).map_err(Failure::Daemon)?;
        config.check().map_err(Failure::Config)?;
        let sockets = Sockets::open_beside(inherited, config).map_err(Failure::Daemon)?;
        if !config.user.is_empty() {
            privileges::go_on_as(&config.user).map_err(Failure::Privileges)?;
            // What that user cannot read would be missing at the first SIGHUP only.
            arguments.configuration().map_err(Failure::Config)?;
        }
        let renewable = Renewable::load(config).map_err(Failure::Config)?;
        store::make_root(&config.mail).map_err(Failure::Store)?;
        let file = arguments.config.as_deref();
        let supervisor = Supervisor::from_environment();
        Ok(Self {
            renewable,
            sockets,
            // A manager that is told of the end of a reload may ask for one.
            hangup: Hangup::for_daemon(file.is_some() || supervisor.is_there()),
            supervisor,
            confinement: Confinement::enter(config, file).map_err(Failure::Daemon)?,
        })
    }
}

/// Serves until a signal asks for the end.
fn serve(
    arguments: &Arguments,
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
    } = prepared;
    let mut signals = signals::Receiver::new(hangup)?;
    tell_source(arguments);
    confinement.tell();
    supervisor.warn();
    if privileges::is_root() {
        log::warn!("serving as root: start as another user, or name one with the key user");
    }
    if config.durability == config::Durability::None {
        log::warn!("durability is \"none\": a power cut loses mail that was acknowledged");
    }
    let started = confinement.start_within(|| {
        let settings = daemon::store_settings(config, sockets.system());
        let store = MessageStore::open(settings, clock.clone()).map_err(Failure::Store)?;
        let store = Arc::new(store);
        let daemon = Daemon::start(config, renewable, sockets, &store, clock);
        Ok::<_, Failure>((daemon.map_err(Failure::Daemon)?, store))
    });
    let (daemon, store) = started.map_err(Failure::Daemon)??;
    tell_room(&store);
    let mail = std::path::absolute(&config.mail)?;
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
        // Signs of life could fill the queue of a manager that is slow to read, and this be lost.
        supervisor.tell(News::Ready);
        let _signs = supervisor.give_signs(scope, || daemon.is_serving())?;
        let renew = || {
            supervisor.tell(News::Reloading);
            renew(arguments, config, &daemon);
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

/// Says which configuration is in force.
fn tell_source(arguments: &Arguments) {
    const USUAL: &str = "facteur.toml";
    match &arguments.config {
        Some(path) => {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
            log::info!("configuration: {}", path.display());
        }
        None if Path::new(USUAL).exists() => log::warn!(
            "configuration: none; to use the {USUAL} in this directory, give --config {USUAL}"
        ),
        None => log::info!("configuration: none; using the defaults"),
    }
}

/// Logs how much room there is for messages, where the system says so.
fn tell_room(store: &MessageStore) {
    match store.room() {
        Ok(room) if room.free == u64::MAX => {}
        Ok(room) if room.is_enough() => {
            log::info!("disk space: {room}");
        }
        Ok(room) => log::warn!("no mail is accepted until there is more disk space: {room}"),
        Err(error) => log::error!("{}", WithSources(&error)),
    }
}

/// Puts what was counted since the start into the log.
fn report(sessions: &Registry, store: &MessageStore) {
    let mut report = Report::default();
    sessions.report(&mut report);
    store.report(&mut report);
    report.log();
}

/// Reloads accounts and certificate. If they cannot be used, the old ones stay in place. The log
/// names what else has changed since the start.
fn renew(arguments: &Arguments, current: &Config, daemon: &Daemon) {
    let read = arguments.configuration();
    let loaded = read.and_then(|config| Ok((Renewable::load(&config)?, config)));
    match loaded {
        Ok((renewable, config)) => {
            daemon.renew(renewable);
            log::info!("SIGHUP: accounts and certificate have been reloaded");
            let changes = current.changes(&config);
            if !changes.is_empty() {
                let changes = changes.join(", ");
                log::warn!("SIGHUP: these other changes need a restart: {changes}");
            }
        }
        Err(error) => log::error!(
            "SIGHUP: accounts and certificate stay as they were: {}",
            WithSources(&error).to_string().replace('\n', "; ")
        ),
    }
}

/// Why the program ends with a failure.
#[derive(Debug)]
enum Failure {
    Command(commands::Error),
    Config(config::Error),
    Daemon(daemon::Error),
    Privileges(privileges::Error),
    Store(store::Error),
    Io(io::Error),
}

impl Failure {
    fn code(&self) -> ExitCode {
        match self {
            Self::Command(error) if error.is_usage() => ExitCode::from(2),
            Self::Config(_)
            | Self::Privileges(
                privileges::Error::Unknown { .. } | privileges::Error::StillRoot { .. },
            ) => ExitCode::from(2),
            Self::Store(store::Error::StoreInUse { .. }) => ExitCode::from(75),
            Self::Command(_)
            | Self::Daemon(_)
            | Self::Privileges(_)
            | Self::Store(_)
            | Self::Io(_) => ExitCode::FAILURE,
        }
    }

    fn error(&self) -> &(dyn StdError + 'static) {
        match self {
            Self::Command(error) => error,
            Self::Config(error) => error,
            Self::Daemon(error) => error,
            Self::Privileges(error) => error,
            Self::Store(error) => error,
            Self::Io(error) => error,
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}
