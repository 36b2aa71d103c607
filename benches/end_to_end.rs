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

#[path = "support/load.rs"]
mod load;
mod support;

use std::time::Duration;

use facteur::store::Durability;

use load::{Server, deliver, drain};

const SIZES: [(&str, usize); 4] = [
    ("1 KiB", 1 << 10),
    ("10 KiB", 10 << 10),
    ("100 KiB", 100 << 10),
    ("10 MiB", 10 << 20),
];
const CONNECTIONS: [usize; 3] = [1, 16, 64];

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
                    let server = Server::start(directory.path(), |it| it.durability = durability);
                    let sent = deliver(&[server.smtp], connections, octets, seconds);
                    let fetched = drain(&[server.pop3], connections);
                    server.daemon.stop();
                    (sent, fetched)
                });
            let (sent, fetched) = journal;
            let ratio = sent.messages_per_second() / direct.0.messages_per_second();
            println!("| {name} | {connections} | {sent} | {ratio:.1} | {fetched} |");
        }
    }
}
