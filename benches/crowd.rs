//! The cost of ten thousand clients, measured on a daemon process and its crowd of clients.
//!
//! `cargo bench --bench crowd` prints how soon the daemon serves and how much memory it then uses;
//! how many clients per second connect, are greeted and quit; what a crowd of idle sessions costs,
//! and how soon a newcomer is greeted beside it; how much 64 busy senders lose beside the crowd,
//! measured alternately with and without it; and what happens to clients over the cap. Clients and
//! daemon share the machine: look at ratios, and compare only figures from one run.
//!
//! `FACTEUR_BENCH_CROWD` sets the number of idle sessions (9,000), `FACTEUR_BENCH_SECONDS` the
//! length of each rate measurement (3), `FACTEUR_BENCH_DIR` the directory whose file system is used
//! (the system's temporary one). The limit of open files must leave room for two per session.
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark: it prints its table, reads the clock, and stops at the first fault"
)]

mod support;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use facteur::system::capacity::raise_descriptors;
use support::{Client, content, transaction};

const STARTS: usize = 20;
const CYCLE_CLIENTS: usize = 8;
const NEWCOMERS: usize = 200;
const SENDERS: usize = 64;
const CONTENT_OCTETS: usize = 1 << 10;
/// Measurements with and without the crowd, alternately.
const TURNS: usize = 3;
/// Buffer octets of a client that never reads much.
const LEAN: usize = 512;
/// Clients over the cap, which must be refused.
const TOO_MANY: usize = 500;
/// Memory is read once it has not changed for this long.
const SETTLED: Duration = Duration::from_secs(3);

fn main() {
    let seconds = Duration::from_secs(setting("FACTEUR_BENCH_SECONDS", 3) as u64);
    let n_idle = setting("FACTEUR_BENCH_CROWD", 9_000);
    raise_descriptors().unwrap();
    let parent = std::env::var_os("FACTEUR_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let directory = tempfile::tempdir_in(&parent).unwrap();

    starts(&parent);
    let server = Server::start(directory.path(), "");
    println!("memory after the start: {}", mebioctets(server.settled()));
    cycles(&server, seconds);

    // A second daemon: in the first, the cycles have left the memory of threads behind.
    drop(server);
    let server = Server::start(&directory.path().join("crowd"), "");
    busy_beside_a_crowd(&server, n_idle, seconds);

    drop(server);
    let cap = n_idle / 10;
    let config = format!("connections = {cap}\n");
    let server = Server::start(&directory.path().join("cap"), &config);
    beyond_the_cap(&server, cap);
}

fn setting(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap())
}

fn mebioctets(kibioctets: u64) -> String {
    format!("{:.1} MiB", kibioctets as f64 / 1024.0)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// The daemon as a process; it is killed when this is dropped.
struct Server {
    process: Child,
    smtp: SocketAddr,
    pop3: SocketAddr,
}

impl Server {
    /// Starts a daemon with `limits` in that section of its configuration.
    fn start(directory: &Path, limits: &str) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        let config = directory.join("facteur.toml");
        let text = format!("[limits]\nconnections_per_address = 0\n{limits}");
        std::fs::write(&config, text).unwrap();
        let log = std::fs::File::create(directory.join("log")).unwrap();
        let mut process = Command::new(env!("CARGO_BIN_EXE_facteur"))
            .args([
                "--smtp",
                "127.0.0.1:0",
                "--pop3",
                "127.0.0.1:0",
                "--http",
                "off",
            ])
            .arg("--mail")
            .arg(directory.join("mail"))
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut banner = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut address = |name: &str| -> SocketAddr {
            let mut lines = banner.by_ref().map(Result::unwrap);
            let found = lines.find_map(|line| line.strip_prefix(name).map(str::to_owned));
            found.unwrap().parse().unwrap()
        };
        let (smtp, pop3) = (address("SMTP "), address("POP3 "));
        // It may still have something to print.
        thread::spawn(move || banner.for_each(drop));
        Self {
            process,
            smtp,
            pop3,
        }
    }

    /// Resident memory in KiB.
    fn resident(&self) -> u64 {
        self.status("VmRSS:")
    }

    fn threads(&self) -> u64 {
        self.status("Threads:")
    }

    fn status(&self, name: &str) -> u64 {
        let path = PathBuf::from(format!("/proc/{}/status", self.process.id()));
        let status = std::fs::read_to_string(path).unwrap();
        let line = status.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }

    /// Resident memory in KiB, once it does not change any more.
    fn settled(&self) -> u64 {
        let (mut last, mut since) = (self.resident(), Instant::now());
        while since.elapsed() < SETTLED {
            thread::park_timeout(SETTLED / 10);
            let now = self.resident();
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        last
    }

    /// Messages per second from [`SENDERS`] clients.
    fn deliveries(&self, duration: Duration) -> f64 {
        let content = content(CONTENT_OCTETS);
        rate(SENDERS, duration, |sender| {
            let mut client = Client::connect_smtp(self.smtp);
            let commands = transaction(&format!("user{sender}@example.com"));
            let content = &content;
            move || client.deliver(&commands, content)
        })
    }
}

/// How often per second this many threads do what `prepare` makes for each of them.
fn rate<W: FnMut()>(
    threads: usize,
    duration: Duration,
    prepare: impl Fn(usize) -> W + Sync,
) -> f64 {
    let prepare = &prepare;
    let total: u64 = thread::scope(|scope| {
        let running: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn(move || {
                    let mut work = prepare(thread);
                    let (start, mut times) = (Instant::now(), 0);
                    while start.elapsed() < duration {
                        work();
                        times += 1;
                    }
                    times
                })
            })
            .collect();
        running.into_iter().map(|it| it.join().unwrap()).sum()
    });
    total as f64 / duration.as_secs_f64()
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// How soon a daemon with an empty store serves.
fn starts(parent: &Path) {
    let times = (0..STARTS).map(|_| {
        let directory = tempfile::tempdir_in(parent).unwrap();
        let begin = Instant::now();
        let server = Server::start(directory.path(), "");
        Client::connect(server.smtp, LEAN).line();
        begin.elapsed()
    });
    let first = median(times.collect());
    let directory = tempfile::tempdir_in(parent).unwrap();
    let times = (0..STARTS).map(|_| {
        let begin = Instant::now();
        let mut server = Server::start(directory.path(), "");
        Client::connect(server.smtp, LEAN).line();
        let time = begin.elapsed();
        let pid = rustix::process::Pid::from_child(&server.process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        assert!(server.process.wait().unwrap().success());
        time
    });
    let again = median(times.collect());
    println!("from the start to the first greeting: {first:.1?} with nothing, {again:.1?} again");
}

/// Clients that connect, read the greeting, send QUIT and read the reply.
fn cycles(server: &Server, duration: Duration) {
    let rate = rate(CYCLE_CLIENTS, duration, |_| {
        || {
            let mut client = Client::connect(server.smtp, LEAN);
            client.line();
            client.send(b"QUIT\r\n");
            client.line();
        }
    });
    println!("connect, greeting, QUIT: {rate:.0} a second by {CYCLE_CLIENTS} clients");
}

/// A silent crowd, half of it at each port; every client has been greeted.
fn gather(server: &Server, n_idle: usize) -> Vec<Client> {
    let ports = [server.smtp, server.pop3];
    let mut crowd: Vec<Client> = Vec::with_capacity(n_idle);
    for index in 0..n_idle {
        crowd.push(Client::connect(ports[index % 2], LEAN));
    }
    for client in &mut crowd {
        client.line();
    }
    crowd
}

fn busy_beside_a_crowd(server: &Server, n_idle: usize, seconds: Duration) {
    let before = server.settled();
    let crowd = gather(server, n_idle);
    let with = server.settled();
    println!(
        "{n_idle} idle sessions: {} in all, {:.1} KiB each beyond {}; {} threads",
        mebioctets(with),
        (with - before) as f64 / n_idle as f64,
        mebioctets(before),
        server.threads(),
    );
    newcomers(server, "beside the crowd");
    drop(crowd);
    newcomers(server, "alone");
    let mut ratios = Vec::new();
    for _ in 0..TURNS {
        while server.threads() > 100 {
            thread::park_timeout(SETTLED / 100);
        }
        let alone = server.deliveries(seconds);
        let mut crowd = gather(server, n_idle);
        let beside = server.deliveries(seconds);
        for client in &mut crowd {
            client.send(b"NOOP\r\n");
        }
        for client in &mut crowd {
            // POP3 has no NOOP before the login, and replies so.
            client.line();
        }
        ratios.push(beside / alone);
        println!(
            "{SENDERS} senders of 1 KiB: {alone:.0} messages/s alone, {beside:.0} beside \
             {n_idle} idle sessions, which all answer afterwards"
        );
    }
    ratios.sort_by(f64::total_cmp);
    println!("beside the crowd they keep {:.2} of it", ratios[TURNS / 2]);
}

/// How soon newcomers are greeted, one after another.
fn newcomers(server: &Server, what: &str) {
    let mut times: Vec<Duration> = (0..NEWCOMERS)
        .map(|_| {
            let begin = Instant::now();
            Client::connect(server.smtp, LEAN).line();
            begin.elapsed()
        })
        .collect();
    times.sort();
    println!(
        "a newcomer {what} is greeted in {:.2?} (median), {:.2?} (worst of {NEWCOMERS})",
        times[NEWCOMERS / 2],
        times[NEWCOMERS - 1],
    );
}

/// Every client over the cap is refused, and all others stay.
fn beyond_the_cap(server: &Server, cap: usize) {
    let mut crowd = gather(server, cap);
    let threads = server.threads();
    let begin = Instant::now();
    for _ in 0..TOO_MANY {
        let mut late = TcpStream::connect(server.smtp).unwrap();
        let mut told = String::new();
        late.read_to_string(&mut told).unwrap();
        assert!(told.starts_with("421 "), "{told:?}");
    }
    let rate = TOO_MANY as f64 / begin.elapsed().as_secs_f64();
    assert!(server.threads() <= threads, "a refusal needs no thread");
    for client in &mut crowd {
        client.send(b"QUIT\r\n");
        client.line();
    }
    println!("beyond a cap of {cap}: {TOO_MANY} refused temporarily, {rate:.0} a second");
    drop(std::io::stdout().flush());
}
