//! Daemons that keep their mailboxes in a PostgreSQL database, beside one with a journal.
//!
//! `cargo bench --features postgres --bench cluster` prints tables: messages delivered per second
//! for several sizes and numbers of connections, messages fetched and deleted, and logins; for the
//! journal, and for one and for two daemons (in this process) on a database. The databases are made
//! beforehand, and must be empty: `FACTEUR_BENCH_POSTGRES` says how the one with a synchronous
//! standby is reached, in the form of the key `postgres`, and `FACTEUR_BENCH_POSTGRES_SINGLE` the
//! same for one without; either may be missing. What is measured is measured in turns, so compare
//! the columns of a row.
//!
//! `FACTEUR_BENCH_SECONDS` sets the length of each measurement (2), `FACTEUR_BENCH_DIR` the
//! directory whose file system the journal uses (the system's temporary one). The figures are also
//! written to the file that `FACTEUR_BENCH_FIGURES` names, for `benches/draw.py`.
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

#[path = "support/load.rs"]
mod load;
mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use facteur::store::{Access, Database, Secrets};

use load::{Rate, Server, deliver, drain, in_parallel};
use support::Client;

const SIZES: [(&str, usize); 3] = [
    ("1 KiB", 1 << 10),
    ("10 KiB", 10 << 10),
    ("100 KiB", 100 << 10),
];
const CONNECTIONS: [usize; 3] = [1, 16, 64];

/// How often each figure is measured; the median counts.
const ROUNDS: usize = 3;

/// Daemons with one set of mailboxes.
struct Kind {
    name: &'static str,
    nodes: Vec<Node>,
}

struct Node {
    server: Server,
    _mail: tempfile::TempDir,
}

impl Node {
    fn start(parent: &Path, database: Option<&Database>) -> Self {
        let mail = tempfile::tempdir_in(parent).unwrap();
        let server = Server::start(mail.path(), |it| it.database = database.cloned());
        Self {
            server,
            _mail: mail,
        }
    }
}

impl Kind {
    fn start(name: &'static str, count: usize, parent: &Path, database: Option<&Database>) -> Self {
        let nodes = (0..count).map(|_| Node::start(parent, database)).collect();
        Self { name, nodes }
    }

    fn smtp(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.server.smtp).collect()
    }

    fn pop3(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.server.pop3).collect()
    }
}

/// The figures of each kind, by the number of connections.
type Lines = BTreeMap<&'static str, Vec<(usize, f64)>>;

/// The database that a variable names.
fn database(variable: &str, is_single: bool) -> Option<Database> {
    let text = std::env::var(variable).ok()?;
    let access = Access::parse(&text, Secrets::default()).unwrap();
    Some(Database { access, is_single })
}

/// Logs in, asks for STAT and quits, again and again.
fn log_in(servers: &[SocketAddr], connections: usize, duration: Duration) -> Rate {
    let servers = servers.to_vec();
    in_parallel(connections, move |connection, begin| {
        let server = servers[connection % servers.len()];
        begin.wait();
        let start = Instant::now();
        let mut sessions = 0;
        while start.elapsed() < duration {
            let mut client = Client::connect(server, 1 << 10);
            let user = format!("USER user{connection}@example.com\r\n");
            for command in ["", &user, "PASS x\r\n", "STAT\r\n", "QUIT\r\n"] {
                client.send(command.as_bytes());
                assert!(client.line().starts_with("+OK"));
            }
            sessions += 1;
        }
        (sessions, 0)
    })
}

/// The median of what is measured in turns, for each kind.
fn in_turns(kinds: &[Kind], mut measure: impl FnMut(&Kind) -> [f64; 2]) -> Vec<[f64; 2]> {
    let mut all = vec![[Vec::new(), Vec::new()]; kinds.len()];
    for _ in 0..ROUNDS {
        for (kind, found) in kinds.iter().zip(&mut all) {
            let measured = measure(kind);
            for (one, found) in measured.into_iter().zip(found) {
                found.push(one);
            }
        }
    }
    let median = |mut found: Vec<f64>| {
        found.sort_by(f64::total_cmp);
        found[found.len() / 2]
    };
    all.into_iter().map(|found| found.map(median)).collect()
}

fn main() {
    let seconds = std::env::var("FACTEUR_BENCH_SECONDS").ok();
    let seconds = Duration::from_secs(seconds.map_or(2, |text| text.parse().unwrap()));
    let parent = std::env::var_os("FACTEUR_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let mut kinds = vec![Kind::start("journal", 1, &parent, None)];
    for (variable, is_single, names) in [
        (
            "FACTEUR_BENCH_POSTGRES",
            false,
            &["one node", "two nodes"][..],
        ),
        ("FACTEUR_BENCH_POSTGRES_SINGLE", true, &["no standby"]),
    ] {
        if let Some(database) = database(variable, is_single) {
            for (count, name) in (1..).zip(names) {
                kinds.push(Kind::start(name, count, &parent, Some(&database)));
            }
        }
    }
    let names: Vec<_> = kinds.iter().map(|kind| kind.name).collect();
    let (head, line) = (names.join(" | "), "---:|".repeat(names.len()));
    let mut panels: BTreeMap<String, Lines> = BTreeMap::new();
    println!("| messages per second | connections | {head} |\n|---|---:|{line}");
    for (size, octets) in SIZES {
        for connections in CONNECTIONS {
            let rates = in_turns(&kinds, |kind| {
                let sent = deliver(&kind.smtp(), connections, octets, seconds);
                let fetched = drain(&kind.pop3(), connections);
                [sent, fetched].map(|rate| rate.messages_per_second())
            });
            for (which, what) in ["Delivered", "Fetched and deleted"].iter().enumerate() {
                let row: Vec<_> = rates
                    .iter()
                    .map(|rate| format!("{:.0}", rate[which]))
                    .collect();
                println!("| {what}, {size} | {connections} | {} |", row.join(" | "));
                let panel = panels.entry(format!("{what}, {size}")).or_default();
                for (name, rate) in names.iter().zip(&rates) {
                    let line = panel.entry(name).or_default();
                    line.push((connections, rate[which].round()));
                }
            }
        }
    }
    let rates = in_turns(&kinds, |kind| {
        let rate = log_in(&kind.pop3(), CONNECTIONS[1], seconds);
        [rate.messages_per_second(), 0.0]
    });
    let row: Vec<_> = rates.iter().map(|rate| format!("{:.0}", rate[0])).collect();
    println!("| Logins | {} | {} |", CONNECTIONS[1], row.join(" | "));
    if let Some(file) = std::env::var_os("FACTEUR_BENCH_FIGURES") {
        let figures = serde_json::json!({
            "title": "Messages and connections, with a journal and with a database",
            "unit": "/s",
            "panels": panels,
        });
        std::fs::write(file, figures.to_string()).unwrap();
    }
    for node in kinds.into_iter().flat_map(|kind| kind.nodes) {
        node.server.daemon.stop();
    }
}
