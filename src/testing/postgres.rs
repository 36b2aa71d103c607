//! A real PostgreSQL for tests: its own servers, in a directory of memory, until the test ends.
//!
//! A shell holds each server, and kills it when its input ends: that is when this process has
//! ended, however it did. Where the tests run as root, the servers run as the user of the package.
//! The programs are those of the newest version below `/usr/lib/postgresql`, or those in the
//! directory that the variable `FACTEUR_TEST_POSTGRES` names.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use tempfile::TempDir;

use crate::clock::{Clock, look_again};

/// The variable with the directory of other programs.
const VARIABLE: &str = "FACTEUR_TEST_POSTGRES";

/// How long anything about a server may take.
const PATIENCE: Duration = Duration::from_mins(5);

/// Holds a server: its arguments are `pg_ctl`, the directory of its data, its options, and for how
/// many seconds it may start. Says whether it has started. Ends it at the end of the input; removes
/// everything if that comes without the word that it is needed. Signals to the group of the tests
/// do not keep it from that.
const HOLD: &str = r#"trap : TERM INT HUP
    data=$2; rm -f "$data.log"
    if "$1" -s -D "$data" -l "$data.log" -o "$3" -t "$4" start
    then echo started; else echo failed; fi
    read -r word; "$1" -s -D "$data" -m immediate stop
    [ "$word" = keep ] || rm -rf "${data%/*}""#;

/// What [`HOLD`] says when the server accepts connections.
const STARTED: &str = "started\n";

/// Where the programs are.
fn programs() -> PathBuf {
    if let Some(directory) = std::env::var_os(VARIABLE) {
        return directory.into();
    }
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    let directories = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let newest = directories.filter(|it| it.join("initdb").exists()).max();
    newest.unwrap_or_else(|| {
        panic!(
            "these tests need PostgreSQL: apt-get install postgresql-15, or name the directory of \
             its programs in {VARIABLE}"
        )
    })
}

/// A command that runs as a user who may run servers.
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let is_root = rustix::process::geteuid().is_root();
    let mut command = if is_root {
        let mut command = Command::new("setpriv");
        command.args([
            "--reuid=postgres",
            "--regid=postgres",
            "--clear-groups",
            "--",
        ]);
        command.arg(program);
        command
    } else {
        Command::new(program)
    };
    command.current_dir("/").env("LC_ALL", "C.UTF-8");
    command
}

/// Runs a command to its end, which must be a success.
fn run(command: &mut Command) -> String {
    let output = command.output();
    let output = output.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A server of PostgreSQL.
#[derive(Debug)]
struct Server {
    data: PathBuf,
    port: u16,
    held: Mutex<Option<Child>>,
}

impl Server {
    fn start(&self, settings: &[&str]) {
        assert!(self.starts(settings), "no port is free");
    }

    /// Starts the server. False if its port is in use.
    fn starts(&self, settings: &[&str]) -> bool {
        let sockets = self.data.parent().unwrap();
        // A shell reads the options.
        let settings: Vec<String> = settings.iter().map(|it| format!("-c '{it}'")).collect();
        let options = format!(
            "-p {} -c listen_addresses= -c unix_socket_directories={} {}",
            self.port,
            sockets.display(),
            settings.join(" ")
        );
        let mut shell = command("sh");
        shell.args(["-c", HOLD, "hold"]);
        shell.arg(programs().join("pg_ctl")).arg(&self.data);
        shell.args([options, PATIENCE.as_secs().to_string()]);
        shell.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut held = shell.spawn().unwrap();
        let mut said = String::new();
        let mut output = BufReader::new(held.stdout.take().unwrap());
        *self.held.lock() = Some(held);
        output.read_line(&mut said).unwrap();
        if said == STARTED {
            return true;
        }
        let log = self.log();
        assert!(
            log.contains("could not create any TCP/IP sockets"),
            "{shell:?}: the server does not start:\n{log}"
        );
        self.kill();
        false
    }

    /// What the server has logged.
    fn log(&self) -> String {
        let log = std::fs::read_to_string(self.data.with_extension("log"));
        log.unwrap_or_else(|error| format!("no log: {error}"))
    }

    /// Ends the server as if its machine had lost its power.
    fn kill(&self) {
        let held = self.held.lock().take();
        if let Some(mut held) = held {
            let mut input = held.stdin.take().unwrap();
            input.write_all(b"keep\n").unwrap();
            drop(input);
            held.wait().unwrap();
        }
    }

    fn try_sql(&self, database: &str, text: &str) -> Result<String, String> {
        let mut command = command(programs().join("psql"));
        command.args([
            "-X",
            "-q",
            "-t",
            "-A",
            "-v",
            "ON_ERROR_STOP=1",
            "-U",
            "postgres",
        ]);
        command.arg("-h").arg(self.data.parent().unwrap());
        command.args(["-p", &self.port.to_string(), "-d", database, "-c", text]);
        let output = command.output().unwrap();
        if output.status.success() {
            return Ok(String::from_utf8(output.stdout).unwrap().trim().to_owned());
        }
        Err(String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Waits until `text` has this result.
    fn await_that(&self, text: &str, result: &str) {
        let clock = Clock::system();
        let begin = clock.now();
        loop {
            let found = self.try_sql("postgres", text);
            if found.as_deref() == Ok(result) {
                return;
            }
            let waited = clock.now().saturating_duration_since(begin);
            assert!(waited < PATIENCE, "{text}: {found:?}\n{}", self.log());
            look_again();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The servers of one cluster. The primary is the first one until another is promoted.
#[derive(Debug)]
pub(crate) struct Cluster {
    first: Server,
    second: Option<Server>,
    directory: TempDir,
}

/// The name of the standby.
pub(crate) const STANDBY: &str = "standby";

/// Settings with which servers start quickly. Nothing here makes them less safe.
const SETTINGS: [&str; 6] = [
    "max_connections=200",
    "shared_buffers=32MB",
    "wal_level=replica",
    "max_wal_size=256MB",
    "autovacuum=off",
    "log_min_messages=log",
];

impl Cluster {
    /// One server.
    pub(crate) fn alone() -> Self {
        let memory = Path::new("/dev/shm");
        let place = if memory.is_dir() {
            memory.to_owned()
        } else {
            std::env::temp_dir()
        };
        let directory = tempfile::Builder::new()
            .prefix("facteur-pg")
            .tempdir_in(place)
            .unwrap();
        if rustix::process::geteuid().is_root() {
            run(Command::new("chown")
                .arg("postgres:postgres")
                .arg(directory.path()));
        }
        let server = |name: &str, port| Server {
            data: directory.path().join(name),
            port,
            held: Mutex::default(),
        };
        let first = server("first", 5432);
        let mut initdb = command(programs().join("initdb"));
        initdb.args([
            "-N",
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-locale",
            "-D",
        ]);
        run(initdb.arg(&first.data));
        first.start(&SETTINGS);
        Self {
            first,
            second: None,
            directory,
        }
    }

    /// One server that also listens on TCP, with this certificate and its key, where users need the
    /// password with which they were made. Returns its port too; nothing if other programs than
    /// those of the package are tested, and were built without TLS.
    pub(crate) fn with_tls(certificate: &str, key: &str) -> Option<(Self, u16)> {
        let Self {
            first, directory, ..
        } = Self::alone();
        let library = first.try_sql("postgres", "show ssl_library").unwrap();
        first.kill();
        if library.is_empty() {
            assert!(std::env::var_os(VARIABLE).is_some(), "no TLS");
            return None;
        }
        let data = first.data.clone();
        let rules = "local all postgres trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n";
        for (name, text) in [
            ("server.crt", certificate),
            ("server.key", key),
            ("pg_hba.conf", rules),
        ] {
            let mut write = command("sh");
            write.args(["-c", "umask 077; cat > \"$1\"", "write"]);
            let write = write.arg(data.join(name)).stdin(Stdio::piped());
            let mut write = write.spawn().unwrap();
            let mut input = write.stdin.take().unwrap();
            input.write_all(text.as_bytes()).unwrap();
            drop(input);
            assert!(write.wait().unwrap().success());
        }
        loop {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            let port = free.local_addr().unwrap().port();
            drop(free);
            let first = Server {
                data: data.clone(),
                port,
                held: Mutex::default(),
            };
            // Another process may have taken the port meanwhile.
            if first.starts(&[&SETTINGS[..], &["listen_addresses=127.0.0.1", "ssl=on"]].concat()) {
                let second = None;
                let cluster = Self {
                    first,
                    second,
                    directory,
                };
                return Some((cluster, port));
            }
        }
    }

    /// Where the sockets of its servers are.
    pub(crate) fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// A server and its synchronous standby.
    pub(crate) fn with_standby() -> Self {
        let mut cluster = Self::alone();
        let data = cluster.directory.path().join("second");
        let mut backup = command(programs().join("pg_basebackup"));
        backup.args([
            "-U", "postgres", "-p", "5432", "-c", "fast", "-N", "-R", "-X", "stream", "-h",
        ]);
        backup.arg(cluster.directory.path()).arg("-D").arg(&data);
        run(&mut backup);
        let second = Server {
            data,
            port: 5433,
            held: Mutex::default(),
        };
        second.start(&[&SETTINGS[..], &[&cluster.conninfo()]].concat());
        cluster.second = Some(second);
        cluster.set_names(STANDBY);
        let ready = "select count(*) from pg_stat_replication where sync_state = 'sync'";
        cluster.first.await_that(ready, "1");
        cluster
    }

    fn conninfo(&self) -> String {
        let place = self.directory.path().display();
        format!("primary_conninfo=host={place} port=5432 user=postgres application_name={STANDBY}")
    }

    /// How the primary is reached in a database, in the form of the configuration: the first
    /// server, and the second if there is one.
    pub(crate) fn access(&self, database: &str) -> String {
        let place = self.directory.path().display();
        match &self.second {
            None => format!("host={place} dbname={database} user=postgres"),
            Some(_) => {
                format!("host={place},{place} port=5432,5433 dbname={database} user=postgres")
            }
        }
    }

    /// Sets the names of the synchronous standbys.
    pub(crate) fn set_names(&self, names: &str) {
        self.sql(
            "postgres",
            &format!("alter system set synchronous_standby_names = '{names}'"),
        );
        self.sql("postgres", "select pg_reload_conf()");
        self.first
            .await_that("show synchronous_standby_names", names);
    }

    /// Makes a database with a name of its own.
    pub(crate) fn new_database(&self) -> String {
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let name = format!("test{}", COUNT.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("create database {name}"));
        name
    }

    /// The result of a statement on the first server.
    pub(crate) fn sql(&self, database: &str, text: &str) -> String {
        self.first.try_sql(database, text).unwrap()
    }

    /// Waits until a statement has this result on the first server.
    pub(crate) fn await_that(&self, text: &str, result: &str) {
        self.first.await_that(text, result);
    }

    /// Ends the standby.
    pub(crate) fn kill_standby(&self) {
        self.second.as_ref().unwrap().kill();
    }

    /// Sends a signal, such as `-STOP`, to the process of the standby that receives the log.
    pub(crate) fn signal_receiver(&self, signal: &str) {
        let second = self.second.as_ref().unwrap();
        let pid = second.try_sql("postgres", "select pid from pg_stat_wal_receiver");
        run(Command::new("kill").arg(signal).arg(pid.unwrap()));
    }

    /// Starts the standby again, if it has been ended.
    pub(crate) fn start_standby_if_down(&self) {
        let second = self.second.as_ref().unwrap();
        if second.held.lock().is_some() {
            return;
        }
        second.start(&[&SETTINGS[..], &[&self.conninfo()]].concat());
    }

    /// Ends the first server.
    pub(crate) fn kill_first(&self) {
        self.first.kill();
    }

    /// Starts the first server again.
    pub(crate) fn start_first(&self) {
        self.first.start(&SETTINGS);
    }

    /// Makes the standby the primary.
    pub(crate) fn promote(&self) {
        let second = self.second.as_ref().unwrap();
        second.try_sql("postgres", "select pg_promote()").unwrap();
        second.await_that("select pg_is_in_recovery()", "f");
        // It has no standby itself.
        let set = "alter system set synchronous_standby_names = ''";
        second.try_sql("postgres", set).unwrap();
        second
            .try_sql("postgres", "select pg_reload_conf()")
            .unwrap();
        second.await_that("show synchronous_standby_names", "");
    }
}

/// A server that all tests of a process share, each with a database of its own. It has no standby.
pub(crate) fn shared() -> &'static Cluster {
    static SHARED: OnceLock<Cluster> = OnceLock::new();
    SHARED.get_or_init(Cluster::alone)
}
