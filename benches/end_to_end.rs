//! The whole daemon under load: SMTP in over real sockets, durable in Maildirs, POP3 out.
//!
//! `cargo bench --bench end_to_end` starts a daemon in this process with its own directory and
//! prints a table: messages and megabytes per second for several sizes and numbers of connections,
//! and how much faster mail comes in than the direct way (`durability = "maildir"`), which is
//! measured alternately. Every message is acknowledged only when it is durable, so the figures
//! depend on the disk as much as on facteur: compare them only with others from the same machine
//! and hour.
//!
//! `FACTEUR_BENCH_SECONDS` sets the length of each measurement (2), `FACTEUR_BENCH_DIR` the
//! directory whose file system is used (the system's temporary one).
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

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use facteur::clock::Clock;
use facteur::config::Config;
use facteur::daemon::{Daemon, Renewable, Sockets};
use facteur::store::{Durability, MessageStore, Settings};

use support::{BUFFER_OCTETS, Client, content, transaction};

const SIZES: [(&str, usize); 4] = [
    ("1 KiB", 1 << 10),
    ("10 KiB", 10 << 10),
    ("100 KiB", 100 << 10),
    ("10 MiB", 10 << 20),
];
const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// Octets that one mailbox gets before it is drained, so that the disk does not fill.
const MAILBOX_OCTETS_MAX: u64 = 256 << 20;

fn main() {
    let seconds = std::env::var("FACTEUR_BENCH_SECONDS").ok();
    let seconds = Duration::from_secs(seconds.map_or(2, |text| text.parse().unwrap()));
    let parent = std::env::var_os("FACTEUR_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    println!(
        "| content | connections | in: messages/s | MB/s | times direct | out: messages/s | MB/s |"
    );
    println!("|---|---:|---:|---:|---:|---:|---:|");
    for (name, octets) in SIZES {
        for connections in CONNECTIONS {
            let [direct, journal] =
                [Durability::Maildir, Durability::default()].map(|durability| {
                    let directory = tempfile::tempdir_in(&parent).unwrap();
                    let server = Server::start(directory.path(), durability);
                    let sent = server.deliver(connections, octets, seconds);
                    let fetched = server.drain(connections);
                    server.daemon.stop();
                    (sent, fetched)
                });
            let (sent, fetched) = journal;
            let ratio = sent.messages_per_second() / direct.0.messages_per_second();
            println!("| {name} | {connections} | {sent} | {ratio:.1} | {fetched} |");
        }
    }
}

struct Server {
    daemon: Daemon,
    smtp: SocketAddr,
    pop3: SocketAddr,
}

/// How much was moved in how much time.
struct Rate {
    messages: u64,
    octets: u64,
    elapsed: Duration,
}

impl Rate {
    fn messages_per_second(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let megabytes = self.octets as f64 / self.elapsed.as_secs_f64() / 1e6;
        write!(f, "{:.0} | {megabytes:.1}", self.messages_per_second())
    }
}

impl Server {
    fn start(directory: &Path, durability: Durability) -> Self {
        let text = "smtp = [\"127.0.0.1:0\"]\npop3 = [\"127.0.0.1:0\"]\nhttp = \"off\"\n";
        let mut config = Config::parse(Path::new("bench.toml"), text).unwrap();
        config.mail = directory.join("mail");
        let clock = Clock::system();
        let sockets = Sockets::open(&config).unwrap();
        let settings = Settings {
            durability,
            ..Settings::new(&config.mail, "localhost")
        };
        let store = Arc::new(MessageStore::open(settings, clock.clone()).unwrap());
        let renewable = Renewable::load(&config).unwrap();
        let daemon = Daemon::start(&config, renewable, sockets, &store, &clock).unwrap();
        let (smtp, pop3) = (daemon.smtp()[0], daemon.pop3()[0]);
        Self { daemon, smtp, pop3 }
    }

    /// Delivers for `duration` over `connections`, each to its own mailbox.
    fn deliver(&self, connections: usize, octets: usize, duration: Duration) -> Rate {
        let content = Arc::new(content(octets));
        let smtp = self.smtp;
        in_parallel(connections, move |connection, begin| {
            let mut client = Client::connect_smtp(smtp);
            let commands = transaction(&format!("user{connection}@example.com"));
            begin.wait();
            let start = Instant::now();
            let (mut messages, mut sent) = (0, 0);
            while start.elapsed() < duration && sent < MAILBOX_OCTETS_MAX {
                client.deliver(&commands, &content);
                messages += 1;
                sent += content.len() as u64;
            }
            (messages, sent)
        })
    }

    /// Fetches and deletes every message, one session per mailbox, with pipelined commands.
    fn drain(&self, connections: usize) -> Rate {
        let pop3 = self.pop3;
        in_parallel(connections, move |connection, begin| {
            let mut client = Client::connect(pop3, BUFFER_OCTETS);
            client.line();
            client.send(format!("USER user{connection}@example.com\r\nPASS x\r\n").as_bytes());
            client.line();
            client.line();
            begin.wait();
            client.send(b"STAT\r\n");
            let count: u64 = client.line().split(' ').nth(1).unwrap().parse().unwrap();
            let mut octets = 0;
            for number in 1..=count {
                client.send(format!("RETR {number}\r\n").as_bytes());
                let announced = client.line();
                let size: u64 = announced.split(' ').nth(1).unwrap().parse().unwrap();
                skip_content(&mut client, size);
                client.send(format!("DELE {number}\r\n").as_bytes());
                client.line();
                octets += size;
            }
            client.send(b"QUIT\r\n");
            assert!(client.line().starts_with("+OK"));
            (count, octets)
        })
    }
}

/// Runs `work` on this many threads; returns the sums and the time of the slowest thread.
fn in_parallel(
    threads: usize,
    work: impl Fn(usize, &Barrier) -> (u64, u64) + Send + Sync + 'static,
) -> Rate {
    let work = Arc::new(work);
    let begin = Arc::new(Barrier::new(threads + 1));
    let running: Vec<_> = (0..threads)
        .map(|index| {
            let (work, begin) = (Arc::clone(&work), Arc::clone(&begin));
            thread::Builder::new()
                .spawn(move || work(index, &begin))
                .unwrap()
        })
        .collect();
    begin.wait();
    let start = Instant::now();
    let mut rate = Rate {
        messages: 0,
        octets: 0,
        elapsed: Duration::ZERO,
    };
    for thread in running {
        let (messages, octets) = thread.join().unwrap();
        rate.messages += messages;
        rate.octets += octets;
    }
    rate.elapsed = start.elapsed();
    rate
}

/// Reads a message of `octets` octets, no line of which begins with a dot, and its end.
fn skip_content(client: &mut Client, octets: u64) {
    let content = octets + ".\r\n".len() as u64;
    let read = std::io::copy(
        &mut (&mut client.stream).take(content),
        &mut std::io::sink(),
    );
    assert_eq!(read.unwrap(), content);
}
