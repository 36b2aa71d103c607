//! Logins to maildrops of 100,000 messages, compared with just reading their directory; and how
//! long it takes to read and to remove a thousand small ones, compared with just doing that to
//! files.
//!
//! One maildrop has the messages of facteur, the other those of a program that does not say the
//! sizes in the names of its files. Run with `cargo bench --bench maildrop`. What is done to
//! directories and files alone is the cost of the file system; read the other figures as multiples
//! of it.
#![expect(
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "a benchmark: it plays another program, and stops at the first fault"
)]

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use divan::Bencher;
use facteur::{
    clock::Clock,
    mail::MailboxName,
    store::{Maildrop, MessageStore, Settings},
};
use tempfile::TempDir;

const N_MESSAGES: usize = 100_000;

/// The mailbox with names that give the sizes, and the one without.
const MAILBOXES: [&str; 2] = [OWN, FOREIGN];
const OWN: &str = "own";
const FOREIGN: &str = "foreign";

/// A store with two large maildrops.
static PLACE: LazyLock<TempDir> = LazyLock::new(|| {
    let place = TempDir::new().expect("a temporary directory");
    let store = open(place.path());
    let begun = store.begin_delivery(0).expect("room on the disk");
    begun
        .commit(&MAILBOXES.map(mailbox))
        .expect("room on the disk");
    // Files that were modified just now would be counted again.
    let day = Duration::from_hours(24);
    let yesterday = SystemTime::now().checked_sub(day).expect("a clock");
    // A directory returns them in arbitrary order.
    for number in 0..N_MESSAGES {
        let secs = 1_700_000_000_usize.saturating_add(number / 7);
        let name = format!("{secs}.0123456789abcdef_{number:08x}.localhost,S=1024,W=1050");
        File::create_new(new(place.path(), OWN).join(name)).expect("room on the disk");
        let name = new(place.path(), FOREIGN).join(format!("{secs}.M{number}.other.host"));
        let mut file = File::create_new(name).expect("room on the disk");
        file.write_all(&CONTENT).expect("room on the disk");
        file.set_modified(yesterday).expect("a file of our own");
    }
    place
});

/// 1 KiB in lines.
static CONTENT: LazyLock<Vec<u8>> = LazyLock::new(|| b"0123456789abcde\n".repeat(64));

fn main() {
    divan::main();
}

fn mailbox(name: &str) -> MailboxName {
    MailboxName::from_canonical(name, "example.org").expect("canonical")
}

/// The directory with the messages of a mailbox.
fn new(place: &Path, mailbox: &str) -> PathBuf {
    place.join("mail/example.org").join(mailbox).join("new")
}

fn open(place: &Path) -> MessageStore {
    let settings = Settings::new(place.join("mail"), "localhost");
    MessageStore::open(settings, Clock::system()).expect("a store")
}

/// How long the file system takes to list the files.
#[divan::bench(sample_count = 20, sample_size = 1, args = MAILBOXES)]
fn directory_alone(bencher: Bencher<'_, '_>, name: &str) {
    let new = new(PLACE.path(), name);
    bencher.bench(|| fs::read_dir(&new).expect("a directory").count());
}

/// How long the file system takes to open and read the files whose sizes have to be counted.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn files_alone(bencher: Bencher<'_, '_>) {
    let new = new(PLACE.path(), FOREIGN);
    let entries = fs::read_dir(&new).expect("a directory");
    let paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let mut buffer = CONTENT.clone();
    bencher.bench_local(|| {
        for path in &paths {
            let mut file = File::open(path).expect("a file");
            // The message that made the mailbox is empty.
            file.read_exact(&mut buffer).unwrap_or_default();
        }
    });
}

/// The first login after the start of the daemon.
#[divan::bench(sample_count = 20, sample_size = 1, args = MAILBOXES)]
fn first_login(bencher: Bencher<'_, '_>, name: &str) {
    bencher
        .with_inputs(|| open(PLACE.path()))
        .bench_local_values(|store| {
            // The store is dropped here, so that the next sample can open it.
            log_in(&store, name)
        });
}

/// A login after another program has changed something in the mailbox.
#[divan::bench(sample_count = 20, sample_size = 1, args = MAILBOXES)]
fn login_after_a_change(bencher: Bencher<'_, '_>, name: &str) {
    let store = open(PLACE.path());
    log_in(&store, name);
    let file = new(PLACE.path(), name).join("1.other.host");
    bencher
        .with_inputs(|| {
            File::create_new(&file).expect("room on the disk");
            fs::remove_file(&file).expect("the file just made");
        })
        .bench_local_values(|()| log_in(&store, name));
}

/// A login when nothing changed since the last one.
#[divan::bench(sample_count = 1_000, sample_size = 1, args = MAILBOXES)]
fn login_when_nothing_changed(bencher: Bencher<'_, '_>, name: &str) {
    let (store, clock) = (open(PLACE.path()), Clock::system());
    // Until the directory has been unchanged long enough for its listing to be remembered.
    let start = clock.now();
    while clock.now().duration_since(start) < Duration::from_secs(5) {
        log_in(&store, name);
    }
    bencher.bench_local(|| log_in(&store, name));
}

fn log_in(store: &MessageStore, name: &str) -> usize {
    let maildrop = store.open_maildrop(&mailbox(name)).expect("a maildrop");
    let n_messages = maildrop.messages().len();
    assert!(n_messages > N_MESSAGES);
    n_messages
}

/// Messages of the small maildrop.
const N_SMALL: usize = 1_000;

/// The octets of each of them.
const SMALL_OCTETS: usize = 1_024;

/// Fills the small maildrop in `place` with files; returns their paths.
fn fill(place: &Path) -> Vec<PathBuf> {
    let maildir = place.join("mail/example.org/bob");
    for side in ["tmp", "cur", "new"] {
        fs::create_dir_all(maildir.join(side)).expect("room on the disk");
    }
    let path = |number: usize| {
        let name = format!("1700000000.0123456789abcdef_{number:08x}.localhost,S=1024,W=1056");
        maildir.join("new").join(name)
    };
    let paths: Vec<PathBuf> = (0..N_SMALL).map(path).collect();
    let content = format!("{:>31}\n", "line").repeat(SMALL_OCTETS / 32);
    for path in &paths {
        fs::write(path, &content).expect("room on the disk");
    }
    File::open(maildir.join("new"))
        .and_then(|new| new.sync_all())
        .expect("a directory");
    paths
}

/// Opens, reads and closes a thousand files.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn files_read_alone(bencher: Bencher<'_, '_>) {
    let place = TempDir::new().expect("a temporary directory");
    let mut buffer = vec![0; SMALL_OCTETS];
    bencher
        .with_inputs(|| fill(place.path()))
        .bench_local_values(|paths| {
            for path in &paths {
                let read = File::open(path).and_then(|mut file| file.read(&mut buffer));
                assert_eq!(read.expect("a file"), SMALL_OCTETS);
            }
        });
}

/// The same for a session that retrieves them for the first time.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn messages_read(bencher: Bencher<'_, '_>) {
    let place = TempDir::new().expect("a temporary directory");
    let store = open(place.path());
    let mut buffer = vec![0; SMALL_OCTETS];
    bencher
        .with_inputs(|| log_in_to_small(&store, place.path()))
        .bench_local_values(|maildrop| {
            for index in 0..N_SMALL {
                let mut message = maildrop.open_message(index).expect("a message");
                assert_eq!(message.read(&mut buffer).expect("octets"), SMALL_OCTETS);
            }
        });
}

/// Unlinks a thousand files that were read, and syncs their directory.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn files_unlinked_alone(bencher: Bencher<'_, '_>) {
    let place = TempDir::new().expect("a temporary directory");
    bencher
        .with_inputs(|| fill(place.path()))
        .bench_local_values(|paths| {
            for path in &paths {
                fs::remove_file(path).expect("a file");
            }
            let new = File::open(place.path().join("mail/example.org/bob/new"));
            new.and_then(|new| new.sync_all()).expect("a directory");
        });
}

/// The same for a session.
#[divan::bench(sample_count = 20, sample_size = 1)]
fn messages_removed(bencher: Bencher<'_, '_>) {
    let place = TempDir::new().expect("a temporary directory");
    let store = open(place.path());
    let all: Vec<usize> = (0..N_SMALL).collect();
    bencher
        .with_inputs(|| log_in_to_small(&store, place.path()))
        .bench_local_values(|maildrop| maildrop.remove(&all).expect("the files are there"));
}

fn log_in_to_small(store: &MessageStore, place: &Path) -> Maildrop {
    fill(place);
    let maildrop = store.open_maildrop(&mailbox(OWN)).expect("a maildrop");
    assert_eq!(maildrop.messages().len(), N_SMALL);
    maildrop
}
