//! Daemons, and mail sent to them and fetched from them, as fast as it goes.

use std::io::Read;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use facteur::clock::Clock;
use facteur::config::Config;
use facteur::daemon::{Daemon, Renewable, Sockets};
use facteur::store::{MessageStore, Settings};

use crate::support::{BUFFER_OCTETS, Client, content, transaction};

/// Octets that one mailbox gets before it is drained, so that the disk does not fill.
const MAILBOX_OCTETS_MAX: u64 = 256 << 20;

/// A daemon in this process.
pub(crate) struct Server {
    pub(crate) daemon: Daemon,
    pub(crate) smtp: SocketAddr,
    pub(crate) pop3: SocketAddr,
}

impl Server {
    /// Starts one with its mail in `directory`, after `set` has changed the settings of its store.
    pub(crate) fn start(directory: &Path, set: impl FnOnce(&mut Settings)) -> Self {
        let text = "smtp = [\"127.0.0.1:0\"]\npop3 = [\"127.0.0.1:0\"]\nhttp = \"off\"\n";
        let mut config = Config::parse(Path::new("bench.toml"), text).unwrap();
        config.mail = directory.join("mail");
        let clock = Clock::system();
        let sockets = Sockets::open(&config).unwrap();
        let mut settings = Settings::new(&config.mail, "localhost");
        set(&mut settings);
        let store = Arc::new(MessageStore::open(settings, clock.clone()).unwrap());
        let renewable = Renewable::load(&config).unwrap();
        let daemon = Daemon::start(&config, renewable, sockets, &store, &clock).unwrap();
        let (smtp, pop3) = (daemon.smtp()[0], daemon.pop3()[0]);
        Self { daemon, smtp, pop3 }
    }
}

/// How much was moved in how much time.
pub(crate) struct Rate {
    pub(crate) messages: u64,
    pub(crate) octets: u64,
    pub(crate) elapsed: Duration,
}

impl Rate {
    /// Messages in a second.
    pub(crate) fn messages_per_second(&self) -> f64 {
        self.messages as f64 / self.elapsed.as_secs_f64()
    }
}

impl std::fmt::Display for Rate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let megabytes = self.octets as f64 / self.elapsed.as_secs_f64() / 1e6;
        write!(f, "{:.0} | {megabytes:.1}", self.messages_per_second())
    }
}

/// Delivers for `duration` over `connections`, each to its own mailbox, to the servers in turn.
pub(crate) fn deliver(
    servers: &[SocketAddr],
    connections: usize,
    octets: usize,
    duration: Duration,
) -> Rate {
    let content = Arc::new(content(octets));
    let servers = servers.to_vec();
    in_parallel(connections, move |connection, begin| {
        let mut client = Client::connect_smtp(servers[connection % servers.len()]);
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

/// Fetches and deletes every message, one session per mailbox, from the servers in turn.
pub(crate) fn drain(servers: &[SocketAddr], connections: usize) -> Rate {
    let servers = servers.to_vec();
    in_parallel(connections, move |connection, begin| {
        let mut client = Client::connect(servers[connection % servers.len()], BUFFER_OCTETS);
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

/// Runs `work` on this many threads; returns the sums and the time of the slowest thread.
pub(crate) fn in_parallel(
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
