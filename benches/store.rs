//! Only the store under load: durable deliveries per second, for each way to make them durable.
//!
//! `cargo bench --bench store` delivers to 64 mailboxes from several threads, for several sizes,
//! and prints messages per second and ratios to the direct way (`durability = "maildir"`), which is
//! measured in the same run, alternately with the others. The time includes a final sync of the
//! whole file system, so that nothing is left for later. Then the same is measured beside a program
//! that constantly writes to a large file, as a copy or a backup does.
//!
//! Then deliveries are measured beside a thousand threads that wait for mail, each for its own
//! mailbox or all for any mailbox, as a ratio to those beside none.
//!
//! `FACTEUR_BENCH_SECONDS` sets the length of each measurement (15), `FACTEUR_BENCH_DIR` the
//! directory whose file system is used (the system's temporary one), and `FACTEUR_BENCH_ONLY` which
//! rows to measure, for example `16x10` for 16 threads and 10 KiB, or `waits` for the last table
//! (all).
#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark: it prints its table, reads the clock, and stops at the first fault"
)]

use std::fs::File;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use facteur::clock::Clock;
use facteur::mail::MailboxName;
use facteur::store::{Durability, MessageStore, Settings};

const THREADS: [usize; 3] = [1, 16, 64];
const KIBIOCTETS: [usize; 3] = [1, 10, 100];
const MAILBOXES: usize = 64;

/// Octets that the other program writes before it starts again at the beginning of its file.
const BESIDE_OCTETS: u64 = 1 << 30;

fn main() {
    let variable = |name| std::env::var(name).ok();
    let seconds = variable("FACTEUR_BENCH_SECONDS").map_or(15, |text| text.parse().unwrap());
    let only = variable("FACTEUR_BENCH_ONLY");
    let parent = std::env::var_os("FACTEUR_BENCH_DIR").map_or_else(std::env::temp_dir, Into::into);
    let duration = Duration::from_secs(seconds);
    for beside in [false, true] {
        let run = Run {
            duration,
            beside,
            waits: Waits::None,
        };
        let title = if beside { "beside a writer" } else { "alone" };
        println!("| {title}: threads x KiB | maildir | journal | none |");
        println!("|---|---:|---:|---:|");
        for threads in THREADS {
            for kibioctets in KIBIOCTETS {
                let row = format!("{threads}x{kibioctets}");
                if only.as_ref().is_some_and(|only| *only != row) {
                    continue;
                }
                let rate = |durability| measure(&parent, durability, threads, kibioctets, run);
                let direct = rate(Durability::Maildir);
                let journal = rate(Durability::default());
                let none = rate(Durability::None);
                println!(
                    "| {row} | {direct:.0} | {journal:.0} (x{:.2}) | {none:.0} (x{:.2}) |",
                    journal / direct,
                    none / direct
                );
            }
        }
        println!();
    }
    if only.is_none_or(|only| only == "waits") {
        measure_waits(&parent, duration);
    }
}

/// How many threads wait for mail while it is delivered.
const WAITERS: usize = 1000;

/// After so long they look at their clients, as a server does.
const SLICE: Duration = Duration::from_secs(1);

/// Measurements of each kind, alternating.
const ROUNDS: usize = 5;

/// For what mail threads wait.
#[derive(Clone, Copy)]
enum Waits {
    /// There are none.
    None,
    /// Each for its own mailbox, to which nothing is delivered.
    ForOthers,
    /// Each for all mailboxes.
    ForAll,
}

fn measure_waits(parent: &Path, duration: Duration) {
    println!("| beside {WAITERS} waits: threads x KiB | none | for others | for all |");
    println!("|---|---:|---:|---:|");
    for (threads, kibioctets) in [(1, 1), (16, 1), (16, 10)] {
        let mut rates: [Vec<f64>; 3] = Default::default();
        for _ in 0..ROUNDS {
            for (rates, waits) in
                rates
                    .iter_mut()
                    .zip([Waits::None, Waits::ForOthers, Waits::ForAll])
            {
                let run = Run {
                    duration,
                    beside: false,
                    waits,
                };
                rates.push(measure(
                    parent,
                    Durability::default(),
                    threads,
                    kibioctets,
                    run,
                ));
            }
        }
        let [none, others, all] = rates.map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            rates.into_iter().nth(ROUNDS / 2).unwrap()
        });
        println!(
            "| {threads}x{kibioctets} | {none:.0} | {others:.0} (x{:.3}) | {all:.0} (x{:.3}) |",
            others / none,
            all / none
        );
    }
}

/// Waits for mail until the measurement is over.
fn wait(store: &MessageStore, of: Option<&MailboxName>, is_over: &AtomicBool) {
    let mut watch = store.watch(of, store.cursor()).unwrap();
    while !is_over.load(Ordering::Relaxed) {
        // A thread that is too far behind continues with what there is.
        watch.news(SLICE).unwrap_or_default();
    }
}

/// For how long, and whether beside a program that writes.
#[derive(Clone, Copy)]
struct Run {
    duration: Duration,
    beside: bool,
    waits: Waits,
}

/// Messages per second.
fn measure(
    parent: &Path,
    durability: Durability,
    threads: usize,
    kibioctets: usize,
    run: Run,
) -> f64 {
    let Run {
        duration,
        beside,
        waits,
    } = run;
    let directory = tempfile::tempdir_in(parent).unwrap();
    let settings = Settings {
        durability,
        ..Settings::new(directory.path().join("mail"), "localhost")
    };
    let store = MessageStore::open(settings, Clock::system()).unwrap();
    let content =
        b"The quick brown fox jumps over the lazy dog, once more.\n".repeat(kibioctets * 18);
    let mailboxes: Vec<MailboxName> = (0..MAILBOXES)
        .map(|number| MailboxName::from_canonical(&format!("u{number}"), "example.com").unwrap())
        .collect();
    // The mailboxes exist before the measurement.
    for mailbox in &mailboxes {
        deliver(&store, b"first\n", mailbox);
    }
    let (is_over, n_messages) = (AtomicBool::new(false), AtomicU64::new(0));
    let file_beside = directory.path().join("beside");
    thread::scope(|scope| {
        if beside {
            scope.spawn(|| write_beside(&file_beside, &is_over));
        }
        let n_waiters = match waits {
            Waits::None => 0,
            Waits::ForOthers | Waits::ForAll => WAITERS,
        };
        for number in 0..n_waiters {
            let of = MailboxName::from_canonical(&format!("w{number}"), "example.com");
            let of = of.filter(|_| matches!(waits, Waits::ForOthers));
            let (store, is_over) = (&store, &is_over);
            scope.spawn(move || wait(store, of.as_ref(), is_over));
        }
        let begin = Instant::now();
        let senders: Vec<_> = (0..threads)
            .map(|thread| {
                let (store, mailboxes, content) = (&store, &mailboxes, &content);
                let n_messages = &n_messages;
                scope.spawn(move || {
                    let mut next = mailboxes.iter().cycle().skip(thread);
                    while begin.elapsed() < duration {
                        deliver(store, content, next.next().unwrap());
                        n_messages.fetch_add(1, Ordering::Relaxed);
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.join().unwrap();
        }
        store.close().unwrap();
        let root = File::open(directory.path()).unwrap();
        rustix::fs::syncfs(root).unwrap();
        let elapsed = begin.elapsed();
        is_over.store(true, Ordering::Relaxed);
        n_messages.load(Ordering::Relaxed) as f64 / elapsed.as_secs_f64()
    })
}

fn deliver(store: &MessageStore, content: &[u8], mailbox: &MailboxName) {
    let mut delivery = store.begin_delivery(0).unwrap();
    delivery.append(content).unwrap();
    delivery.commit(std::slice::from_ref(mailbox)).unwrap();
}

/// Fills the system's memory with pages that must be written.
fn write_beside(path: &PathBuf, is_over: &AtomicBool) {
    let mut file = File::create(path).unwrap();
    let piece = vec![7; 1 << 20];
    let mut written = 0;
    while !is_over.load(Ordering::Relaxed) {
        if written >= BESIDE_OCTETS {
            file.rewind().unwrap();
            written = 0;
        }
        file.write_all(&piece).unwrap();
        written += piece.len() as u64;
    }
}
