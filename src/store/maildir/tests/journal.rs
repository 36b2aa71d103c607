//! The journal: what a start finds in it, what it leaves, and what happens when it cannot be
//! written. Power cuts are tested in `crash.rs`.

#![expect(
    clippy::disallowed_methods,
    reason = "the tests play the other programs"
)]
#![expect(clippy::arithmetic_side_effects, reason = "tests count small things")]

use std::{
    fs,
    os::unix::fs::{FileExt as _, MetadataExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use rustix::io::Errno;
use tempfile::TempDir;

use crate::{
    clock::Clock,
    fs::{Fs as _, RealFs},
    mail::MailboxName,
    store::{
        Durability, Error, Maildrop, MessageStore, Observer, Settings,
        limits::{HELD_OCTETS_MAX, INDEX_QUIET, JOURNAL_RETRY},
        maildir::{
            Patience, checkpoint,
            delivery::Ailing,
            journal::{BATCH_ALIGNMENT, HEADER_OCTETS, JournalId, Seal, push_delivery},
        },
        quota::Taken,
    },
    testing::{
        bugs::{self, Bug},
        disk::{Fault, SimFs, Times},
        model::read,
    },
};

use super::mailbox;

/// A store on the real disk, with a record of its events.
struct Place {
    directory: TempDir,
    events: Arc<Mutex<Vec<String>>>,
}

impl Place {
    fn new() -> Self {
        Self {
            directory: TempDir::new().unwrap(),
            events: Arc::default(),
        }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("mail")
    }

    fn journal(&self, name: &str) -> PathBuf {
        self.root().join(".facteur/journal").join(name)
    }

    fn settings(&self) -> Settings {
        let events = Arc::clone(&self.events);
        Settings {
            durability: Durability::Journal {
                segment_octets: 1024 * 1024,
                segments: 2,
            },
            observer: Observer::new(move |event| events.lock().push(event.to_string())),
            ..Settings::new(self.root(), "host.example")
        }
    }

    fn open(&self) -> MessageStore {
        self.open_with(self.settings().durability)
    }

    fn open_with(&self, durability: Durability) -> MessageStore {
        let settings = Settings {
            durability,
            ..self.settings()
        };
        let fs = Arc::new(RealFs);
        MessageStore::open_quietly(fs, settings, Clock::system(), Patience::default()).unwrap()
    }

    /// Acts like a power cut that leaves bob's mailbox without its files.
    fn lose_files(&self) {
        for file in fs::read_dir(self.root().join("example.org/bob/new")).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    }

    /// The events reported since the last call.
    fn events(&self) -> Vec<String> {
        std::mem::take(&mut *self.events.lock())
    }
}

pub(super) fn deliver(store: &MessageStore, content: &str) -> Result<(), Error> {
    deliver_to(store, content, &[mailbox("bob@example.org")])
}

pub(super) fn deliver_to(
    store: &MessageStore,
    content: &str,
    recipients: &[MailboxName],
) -> Result<(), Error> {
    let mut delivery = store.begin_delivery(0)?;
    delivery.append(content.as_bytes())?;
    delivery.commit(recipients)
}

pub(super) fn maildrop(store: &MessageStore) -> Maildrop {
    store.open_maildrop(&mailbox("bob@example.org")).unwrap()
}

pub(super) fn contents(store: &MessageStore) -> Vec<String> {
    let maildrop = maildrop(store);
    let indexes = 0..maildrop.messages().len();
    let mut contents: Vec<String> = indexes
        .map(|index| String::from_utf8_lossy(&read(&maildrop, index).unwrap()).into_owned())
        .collect();
    contents.sort();
    contents
}

/// Acts like a crash.
fn crash(store: MessageStore) {
    store.abandon();
    drop(store);
}

fn segment(path: &Path) -> fs::File {
    fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap()
}

#[test]
fn a_store_that_is_closed_leaves_an_empty_journal() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, "one\n").unwrap();
    assert!(place.journal("id").exists());
    store.close().unwrap();
    assert!(!place.journal("id").exists());
    assert!(deliver(&store, "two\n").is_err(), "the store is closed");
    assert_eq!(contents(&store), ["one\n"], "mail can still be read");
    drop(store);
    let store = place.open();
    assert_eq!(contents(&store), ["one\n"]);
    assert_eq!(place.events(), [""; 0], "nothing was replayed");
}

#[test]
fn a_store_that_was_killed_replays_what_the_maildirs_lost_and_says_so() {
    let place = Place::new();
    let store = place.open();
    for content in ["one\n", "two\n", "three\n"] {
        deliver(&store, content).unwrap();
    }
    maildrop(&store).remove(&[0]).unwrap();
    let before = contents(&store);
    crash(store);
    // What a power cut can do to files that were not synced.
    let new = place.root().join("example.org/bob/new");
    let mut files: Vec<PathBuf> = fs::read_dir(&new)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    fs::File::create(&files[0]).unwrap();
    fs::remove_file(&files[1]).unwrap();
    // Whatever its configuration, a store finds what was acknowledged.
    let store = place.open_with(Durability::Maildir);
    assert_eq!(contents(&store), before);
    let events = place.events();
    assert_eq!(events.len(), 1, "{events:?}");
    let expected = "the last run did not end cleanly: replayed 2 messages from the journal, \
                    skipped 1 that had been removed, in ";
    assert!(events[0].starts_with(expected), "{events:?}");
    drop(store);
    assert_eq!(contents(&place.open()), before);
    assert_eq!(place.events(), [""; 0], "it is replayed once");
}

/// On a full disk, messages that are whole stay as they are, so that the store can be opened and
/// messages removed. A damaged message is an error at the start.
#[test]
fn a_store_with_nothing_missing_opens_on_a_full_disk() {
    let fs = SimFs::new();
    fs.make_timeless();
    let store = open_simulated(&fs);
    deliver(&store, "one\n").unwrap();
    deliver(&store, "two\n").unwrap();
    store.abandon();
    let opened = open_on_a_full_disk(&fs.kill()).unwrap();
    assert_eq!(contents(&opened), ["one\n", "two\n"]);
    maildrop(&opened).remove(&[0]).unwrap();
    opened.abandon();
    // And a message that a power cut left only in the journal.
    let fs = SimFs::new();
    let store = open_simulated(&fs);
    deliver(&store, "one\n").unwrap();
    store.abandon();
    let error = open_on_a_full_disk(&fs.power_cut(0)).unwrap_err();
    assert!(matches!(error, Error::Full { .. }), "{error:?}");
}

/// Opens a store on a disk where no file can be created.
fn open_on_a_full_disk(fs: &SimFs) -> Result<MessageStore, Error> {
    fs.refuse_files(true);
    let opened = try_open_simulated(fs);
    fs.refuse_files(false);
    opened
}

/// A message that another program has seen is replayed where that program put it.
#[test]
fn a_message_that_was_moved_is_replayed_where_it_is() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, "one\n").unwrap();
    crash(store);
    let maildir = place.root().join("example.org/bob");
    let name = fs::read_dir(maildir.join("new"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .file_name()
        .into_string()
        .unwrap();
    let moved = maildir.join("cur").join(format!("{name}:2,S"));
    fs::rename(maildir.join("new").join(name), &moved).unwrap();
    fs::File::create(&moved).unwrap();
    let store = place.open();
    assert_eq!(contents(&store), ["one\n"]);
    assert_eq!(fs::read(&moved).unwrap(), b"one\n");
}

#[test]
fn messages_deleted_by_others_stay_deleted_once_the_store_was_idle() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, "one\n").unwrap();
    checkpoint::checkpoint_when_idle(&store.maildirs().open).unwrap();
    let new = place.root().join("example.org/bob/new");
    let file = fs::read_dir(&new).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(file).unwrap();
    crash(store);
    assert_eq!(contents(&place.open()), [""; 0]);
}

/// There is one body for all recipients, in the journal and in the Maildirs.
#[test]
fn a_thousand_recipients_cost_one_body() {
    let place = Place::new();
    let store = place.open();
    let recipients: Vec<MailboxName> = (0..1_000)
        .map(|number| mailbox(&format!("user{number}@example.org")))
        .collect();
    let content = "x\n".repeat(30_000);
    deliver_to(&store, &content, &recipients).unwrap();
    let new = place.root().join("example.org/user999/new");
    let file = fs::read_dir(new).unwrap().next().unwrap().unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 1_000);
    let batch_octets = segment(&place.journal("0.seg")).metadata().unwrap().len();
    assert!(batch_octets <= 1024 * 1024, "{batch_octets}");
    crash(store);
    let store = place.open();
    for recipient in [&recipients[0], &recipients[999]] {
        let maildrop = store.open_maildrop(recipient).unwrap();
        assert_eq!(maildrop.messages().len(), 1);
        assert_eq!(read(&maildrop, 0).unwrap(), content.as_bytes());
    }
}

/// A record counts its mailboxes in two octets. A message with more mailboxes bypasses the journal,
/// even if it would fit.
#[test]
fn more_recipients_than_a_record_can_count_all_get_the_message() {
    let fs = SimFs::new();
    fs.make_timeless();
    let settings = Settings {
        durability: Durability::Journal {
            segment_octets: 8 * 1024 * 1024,
            segments: 2,
        },
        ..Settings::new("/mail", "host.example")
    };
    let open = |fs: &SimFs| {
        let disk = Arc::new(fs.clone());
        MessageStore::open_quietly(disk, settings.clone(), fs.clock(), Patience::default()).unwrap()
    };
    let store = open(&fs);
    let n_recipients = usize::from(u16::MAX) + 1;
    let recipients: Vec<MailboxName> = (0..n_recipients)
        .map(|number| mailbox(&format!("{number}@a.example")))
        .collect();
    deliver_to(&store, "one\n", &recipients).unwrap();
    store.abandon();
    let store = open(&fs.power_cut(0));
    for recipient in [&recipients[0], &recipients[n_recipients - 1]] {
        let maildrop = store.open_maildrop(recipient).unwrap();
        assert_eq!(maildrop.messages().len(), 1, "{recipient}");
    }
}

/// Many sessions reuse the segments many times, with the checkpoint thread running.
#[test]
fn many_sessions_share_a_small_journal() {
    let place = Place::new();
    let settings = place.settings();
    let store = Arc::new(MessageStore::open(settings, Clock::system()).unwrap());
    thread::scope(|scope| {
        for session in 0..8 {
            let store = &store;
            thread::Builder::new()
                .spawn_scoped(scope, move || {
                    for number in 0..60 {
                        let content = format!("{session} {number}\n{}", "x\n".repeat(5_000));
                        deliver(store, &content).unwrap();
                    }
                })
                .unwrap();
        }
    });
    let before = contents(&store);
    assert_eq!(before.len(), 480);
    crash(Arc::into_inner(store).unwrap());
    assert_eq!(contents(&place.open()), before);
    let events = place.events();
    assert!(!events.iter().any(|it| it.contains("failed")), "{events:?}");
}

#[test]
fn a_journal_that_is_removed_from_under_the_store_starts_again() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, "one\n").unwrap();
    fs::remove_dir_all(place.root().join(".facteur/journal")).unwrap();
    deliver(&store, "two\n").unwrap();
    crash(store);
    place.lose_files();
    assert_eq!(contents(&place.open()), ["two\n"]);
}

/// The same at a start that finds a journal, before anything was written to it.
#[test]
fn a_journal_that_is_removed_before_its_first_use_starts_again() {
    for removed in [".facteur/journal", ".facteur/journal/id", ".facteur", ""] {
        let place = Place::new();
        let store = place.open();
        deliver(&store, "one\n").unwrap();
        drop(store);
        let store = place.open();
        let path = place.root().join(removed);
        if path.is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
        deliver(&store, "two\n").unwrap();
        crash(store);
        place.lose_files();
        assert_eq!(contents(&place.open()), ["two\n"], "{removed}");
    }
}

/// Copies a file or a directory, with everything in it, on the simulated disk.
fn copy(fs: &SimFs, from: &Path, to: &Path) {
    if let Ok(entries) = fs.read_dir(from) {
        fs.create_dir(to).unwrap();
        for entry in entries {
            copy(fs, &from.join(&entry.name), &to.join(&entry.name));
        }
        fs.sync_dir(to).unwrap();
    } else {
        let (mut file, mut octets) = (fs.open(from).unwrap(), vec![0; 1 << 20]);
        let n_read = file.read(&mut octets).unwrap();
        let mut copied = fs.create_new(to).unwrap();
        copied.append(&octets[..n_read]).unwrap();
        copied.sync().unwrap();
    }
}

type Replacement = fn(&SimFs);

/// Ways to replace something that the store holds.
const REPLACEMENTS: [(&str, Replacement); 7] = [
    ("the directory", |fs| {
        fs.rename(Path::new("/mail"), Path::new("/moved")).unwrap();
        copy(fs, Path::new("/moved"), Path::new("/mail"));
    }),
    ("the directory, with an empty one", |fs| {
        fs.rename(Path::new("/mail"), Path::new("/moved")).unwrap();
        fs.create_dir(Path::new("/mail")).unwrap();
    }),
    ("the directory, with nothing", |fs| {
        fs.rename(Path::new("/mail"), Path::new("/moved")).unwrap();
    }),
    ("the lock", |fs| {
        let lock = Path::new("/mail/.facteur/store.lock");
        fs.unlink(lock).unwrap();
        drop(fs.create_new(lock).unwrap());
    }),
    ("the directory, except the store's own", |fs| {
        fs.rename(Path::new("/mail"), Path::new("/moved")).unwrap();
        fs.create_dir(Path::new("/mail")).unwrap();
        let own = Path::new("/mail/.facteur");
        fs.rename(Path::new("/moved/.facteur"), own).unwrap();
    }),
    ("the id", |fs| {
        let id = Path::new("/mail/.facteur/journal/id");
        let moved = Path::new("/mail/.facteur/journal/old");
        fs.rename(id, moved).unwrap();
        copy(fs, moved, id);
    }),
    ("a segment", |fs| {
        let segment = Path::new("/mail/.facteur/journal/0.seg");
        let moved = Path::new("/mail/.facteur/journal/0.old");
        fs.rename(segment, moved).unwrap();
        copy(fs, moved, segment);
    }),
];

#[test]
fn nothing_is_acknowledged_in_a_place_that_was_replaced() {
    // With times that do not show every change yet, and with times that do.
    let moments = [Duration::ZERO, 2 * INDEX_QUIET];
    let ways = moments
        .iter()
        .flat_map(|quiet| REPLACEMENTS.map(|way| (quiet, way)));
    for (quiet, (what, replace)) in ways {
        let fs = SimFs::new();
        fs.make_timeless();
        fs.set_times(Times::Fine);
        let store = open_simulated(&fs);
        deliver(&store, "one\n").unwrap();
        for _ in 0..2 {
            fs.hands().pass(*quiet);
            deliver(&store, "one more\n").unwrap();
        }
        let before = maildrop(&store);
        replace(&fs);
        for _ in 0..3 {
            let refused = deliver(&store, "two\n");
            let is_replaced = matches!(refused, Err(Error::Replaced { .. }));
            assert!(is_replaced, "{what}: {refused:?}");
        }
        assert!(before.remove(&[0]).is_err(), "{what}");
        drop(before);
        // All mail is durable where it was put, and the id is removed if it is ours.
        let stopped = store.close();
        assert_eq!(stopped.is_ok(), what == "a segment", "{what}: {stopped:?}");
    }
}

/// Shows that the test above can fail: nothing else notices a replaced lock.
#[test]
fn a_store_that_trusts_a_replaced_place_is_found() {
    let (what, replace) = REPLACEMENTS[3];
    assert_eq!(what, "the lock");
    let fs = SimFs::new();
    let store = open_simulated(&fs);
    deliver(&store, "one\n").unwrap();
    replace(&fs);
    bugs::plant(Some(Bug::ReplacedPlacesAreTrusted));
    let taken = deliver(&store, "two\n");
    bugs::plant(None);
    assert!(taken.is_ok(), "{taken:?}");
}

/// POP3 reads and removals are refused in the same cases as mail.
#[test]
fn a_maildrop_is_not_opened_in_a_place_that_was_replaced() {
    let bob = mailbox("bob@example.org");
    for (what, replace) in &REPLACEMENTS[..5] {
        let fs = SimFs::new();
        let store = open_simulated(&fs);
        deliver(&store, "one\n").unwrap();
        replace(&fs);
        let refused = store.open_maildrop(&bob);
        let is_replaced = matches!(refused, Err(Error::Replaced { .. }));
        assert!(is_replaced, "{what}: {refused:?}");
        store.abandon();
    }
}

/// The same without a journal.
#[test]
fn nothing_is_acknowledged_in_a_place_that_was_replaced_while_a_message_came_in() {
    for (what, replace) in &REPLACEMENTS[..5] {
        let fs = SimFs::new();
        let settings = Settings {
            durability: Durability::Maildir,
            ..Settings::new("/mail", "host.example")
        };
        let patience = Patience::default();
        let open = Arc::new(fs.clone());
        let store = MessageStore::open_quietly(open, settings, fs.clock(), patience).unwrap();
        deliver(&store, "one\n").unwrap();
        let mut delivery = store.begin_delivery(0).unwrap();
        delivery.append(b"two\n").unwrap();
        replace(&fs);
        let refused = delivery.commit(&[mailbox("bob@example.org")]);
        assert!(refused.is_err(), "{what}");
    }
}

/// A program that copies a backup over the files writes into them: they stay the same files.
#[test]
fn overwritten_files_of_the_journal_are_noticed() {
    let over_id: Replacement = |fs| {
        let id = fs.open_segment(Path::new("/mail/.facteur/journal/id"));
        id.unwrap().write_at(&[b'0'; 32], 0).unwrap();
    };
    let over_segment: Replacement = |fs| {
        let segment = fs.open_segment(Path::new("/mail/.facteur/journal/0.seg"));
        segment.unwrap().write_at(&vec![0; 64 * 1024], 0).unwrap();
    };
    for (what, write_over) in [("id", over_id), ("segment", over_segment)] {
        let fs = SimFs::new();
        let store = open_simulated(&fs);
        deliver(&store, "one\n").unwrap();
        write_over(&fs);
        for _ in 0..3 {
            let refused = deliver(&store, "two\n");
            let is_replaced = matches!(refused, Err(Error::Replaced { .. }));
            assert!(is_replaced, "{what}: {refused:?}");
        }
        // What was acknowledged no longer needs the journal.
        assert!(store.maildirs().open.checkpoints.is_urgent(), "{what}");
        checkpoint::checkpoint(&store.maildirs().open).unwrap();
        store.abandon();
        let found = contents(&open_simulated(&fs.power_cut(0)));
        assert!(found.contains(&"one\n".to_owned()), "{what}: {found:?}");
    }
}

/// The directory is replaced before each operation of a delivery in turn. A delivery that is
/// acknowledged is in the directory that was moved away.
#[test]
fn a_delivery_during_which_the_place_is_replaced_is_refused_or_was_moved_with_it() {
    for (what, replace) in &REPLACEMENTS[..3] {
        for at in 1.. {
            let fs = SimFs::new();
            let (n_left, is_done) = (Arc::new(AtomicU64::new(u64::MAX)), Arc::default());
            let watched = {
                let (fs, n_left, is_done) = (fs.clone(), Arc::clone(&n_left), Arc::clone(&is_done));
                fs.clone().watched(move || {
                    let left = n_left.load(Ordering::Relaxed);
                    n_left.store(left.saturating_sub(1), Ordering::Relaxed);
                    if left == 1 {
                        replace(&fs);
                        AtomicBool::store(&is_done, true, Ordering::Relaxed);
                    }
                })
            };
            let store = open_simulated(&watched);
            deliver(&store, "one\n").unwrap();
            n_left.store(at, Ordering::Relaxed);
            let delivered = deliver(&store, "two\n");
            if !is_done.load(Ordering::Relaxed) {
                break;
            }
            store.abandon();
            fs.sync_dir(Path::new("/")).unwrap();
            let found = fs.power_cut(0);
            if found.read_dir(Path::new("/mail")).is_ok() {
                found
                    .rename(Path::new("/mail"), Path::new("/copy"))
                    .unwrap();
            }
            found
                .rename(Path::new("/moved"), Path::new("/mail"))
                .unwrap();
            let contents = contents(&open_simulated(&found));
            assert!(
                contents.contains(&"one\n".to_owned()),
                "{what} at {at}: {contents:?}"
            );
            if delivered.is_ok() {
                assert!(
                    contents.contains(&"two\n".to_owned()),
                    "{what} at {at}: {contents:?}"
                );
            }
        }
    }
}

/// On a disk with bad blocks, a start uses what can be read and reports what cannot.
#[test]
fn an_unreadable_block_of_the_journal_does_not_stop_a_start() {
    let segment = Path::new("/mail/.facteur/journal/0.seg");
    let all = ["one\n", "three\n", "two\n"];
    let (mut n_lost, mut n_harmless) = (0, 0);
    for is_settled in [false, true] {
        for block in 0..16 {
            let fs = SimFs::new();
            let store = open_simulated(&fs);
            for content in ["one\n", "two\n", "three\n"] {
                deliver(&store, content).unwrap();
            }
            if is_settled {
                checkpoint::checkpoint_when_idle(&store.maildirs().open).unwrap();
            }
            store.abandon();
            let found = fs.power_cut(0);
            found.spoil(segment, block);
            let events: Arc<Mutex<Vec<String>>> = Arc::default();
            let noted = Arc::clone(&events);
            let observer = Observer::new(move |event| noted.lock().push(event.to_string()));
            let store = try_open_told(&found, observer).unwrap();
            let contents = contents(&store);
            let events = events.lock().join("\n");
            assert!(events.contains("cannot read 1 block of"), "{events}");
            if contents != all {
                assert!(
                    !is_settled && events.contains("may be missing"),
                    "{block}: {events}"
                );
                n_lost += 1;
            }
            n_harmless += u32::from(events.contains("nothing there is still needed"));
            // It continues, with another segment if necessary.
            while deliver(&store, "four\n").is_err() {
                found.hands().pass(JOURNAL_RETRY);
            }
        }
    }
    // Blocks in the chain, blocks that may be its end, and blocks that may come after it.
    assert_eq!((n_lost, n_harmless), (3, 26));
}

/// The same for a segment that cannot even be opened.
#[test]
fn a_segment_that_cannot_be_opened_does_not_stop_a_start() {
    let mut n_lost = 0;
    for name in ["0.seg", "1.seg", "2.seg"] {
        let fs = SimFs::new();
        let store = open_simulated(&fs);
        for number in 0..30 {
            deliver(&store, &format!("{number}\n")).unwrap();
        }
        store.abandon();
        let found = fs.power_cut(0);
        let path = Path::new("/mail/.facteur/journal").join(name);
        if found.metadata(&path).is_err() {
            continue;
        }
        found.spoil_file(&path);
        let events: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&events);
        let observer = Observer::new(move |event| noted.lock().push(event.to_string()));
        let store = try_open_told(&found, observer).unwrap();
        let events = events.lock().join("\n");
        assert!(events.contains("cannot open"), "{events}");
        assert!(events.contains("may be missing"), "{events}");
        n_lost += 30 - contents(&store).len();
        deliver(&store, "still here\n").unwrap();
    }
    assert!(
        n_lost > 0 && n_lost <= 30,
        "{n_lost} lost, each in one of them"
    );
}

/// The error names the file and says what to do.
#[test]
fn an_unreadable_journal_id_is_reported_with_its_path_and_a_remedy() {
    let id = Path::new("/mail/.facteur/journal/id");
    for is_opened in [false, true] {
        let fs = SimFs::new();
        let store = open_simulated(&fs);
        deliver(&store, "one\n").unwrap();
        store.abandon();
        let found = fs.power_cut(1);
        if is_opened {
            found.spoil(id, 0);
        } else {
            found.spoil_file(id);
        }
        let error = try_open_simulated(&found).unwrap_err();
        let source = std::error::Error::source(&error).unwrap();
        let text = format!("{error}: {source}");
        assert!(text.contains("/mail/.facteur/journal/id: "), "{text}");
        assert!(text.contains("move the file away"), "{text}");
        found.rename(id, Path::new("/id.bad")).unwrap();
        assert_eq!(contents(&open_simulated(&found)), ["one\n"]);
    }
}

/// While the store serves, unreadable parts of the journal are not considered durable.
#[test]
fn a_checkpoint_fails_when_it_cannot_read_what_it_needs_of_the_journal() {
    let fs = SimFs::new();
    let store = open_simulated(&fs);
    for content in ["one\n", "two\n", "three\n"] {
        deliver(&store, content).unwrap();
    }
    // The sync of the whole file system.
    fs.fail(Fault {
        at: fs.n_operations() + 1,
        errno: Errno::IO,
        is_done: false,
    });
    fs.spoil(Path::new("/mail/.facteur/journal/0.seg"), 1);
    assert!(checkpoint::checkpoint(&store.maildirs().open).is_err());
    assert!(
        store
            .maildirs()
            .open
            .journal
            .as_ref()
            .unwrap()
            .progress()
            .is_due
    );
}

/// Only the spool is made again; the lock is still ours.
#[test]
fn a_spool_that_is_removed_is_made_again() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, "one\n").unwrap();
    fs::remove_dir(place.root().join(".facteur/tmp")).unwrap();
    deliver(&store, "two\n").unwrap();
    assert_eq!(contents(&store), ["one\n", "two\n"]);
}

/// After a failed sync, messages that were being applied at the time are not considered durable.
#[test]
fn a_checkpoint_waits_for_what_a_failed_sync_may_have_lost() {
    let fs = SimFs::new();
    fs.make_timeless();
    let store = open_simulated(&fs);
    deliver(&store, "one\n").unwrap();
    // Its batch is durable, led by the next message, and it still has to be applied.
    let mut delivery = store.begin_delivery(0).unwrap();
    delivery.append(b"two\n").unwrap();
    let bob = [mailbox("bob@example.org")];
    let overtaken = delivery
        .into_maildir()
        .begin_commit(&bob, Ailing::SetAside)
        .unwrap();
    deliver(&store, "three\n").unwrap();
    let at = fs.n_operations() + 1;
    fs.fail(Fault {
        at,
        errno: Errno::IO,
        is_done: false,
    });
    assert!(
        checkpoint::checkpoint(&store.maildirs().open).is_err(),
        "a message is still being applied"
    );
    assert!(
        checkpoint::checkpoint(&store.maildirs().open).is_err(),
        "and it still is"
    );
    overtaken.finish().unwrap();
    checkpoint::checkpoint(&store.maildirs().open).unwrap();
    checkpoint::checkpoint_when_idle(&store.maildirs().open).unwrap();
    assert!(
        !store
            .maildirs()
            .open
            .journal
            .as_ref()
            .unwrap()
            .progress()
            .is_due
    );
    store.abandon();
    assert_eq!(
        contents(&open_simulated(&fs.power_cut(0))),
        ["one\n", "three\n", "two\n"]
    );
}

/// A client that waits for a batch when the store is closed gets an error, and its message is not
/// lost.
#[test]
fn a_message_in_transit_when_the_store_is_closed_is_not_lost() {
    let fs = SimFs::new();
    let store = open_simulated(&fs);
    deliver(&store, "one\n").unwrap();
    let mut delivery = store.begin_delivery(0).unwrap();
    delivery.append(b"two\n").unwrap();
    let late = delivery
        .into_maildir()
        .begin_commit(&[mailbox("bob@example.org")], Ailing::SetAside)
        .unwrap();
    store.close().unwrap();
    if late.finish().is_ok() {
        store.abandon();
        let found = contents(&open_simulated(&fs.power_cut(0)));
        assert_eq!(found, ["one\n", "two\n"]);
    }
}

/// A batch in the middle is lost: the rest is used, and the loss is reported.
#[test]
fn a_damaged_journal_is_used_as_far_as_possible_and_set_aside() {
    let place = Place::new();
    let store = place.open();
    for content in ["one\n", "two\n", "three\n"] {
        deliver(&store, content).unwrap();
    }
    crash(store);
    fs::remove_dir_all(place.root().join("example.org")).unwrap();
    let damaged = segment(&place.journal("0.seg"));
    damaged.write_all_at(b"damaged", 4_096 + 70).unwrap();
    let store = place.open();
    assert_eq!(contents(&store), ["one\n", "three\n"]);
    let events = place.events();
    assert!(
        events[0].starts_with("the journal has lost 1 batch that"),
        "{events:?}"
    );
    let (_, kept_in) = events[0].rsplit_once(' ').unwrap();
    assert!(Path::new(kept_in).join("0.seg").exists());
    deliver(&store, "four\n").unwrap();
    crash(store);
    assert_eq!(contents(&place.open()), ["four\n", "one\n", "three\n"]);
}

#[test]
fn a_torn_end_is_silent() {
    let place = Place::new();
    let store = place.open();
    deliver(&store, "one\n").unwrap();
    deliver(&store, "torn\n").unwrap();
    crash(store);
    fs::remove_dir_all(place.root().join("example.org")).unwrap();
    let torn = segment(&place.journal("0.seg"));
    torn.write_all_at(&[0; 512], 4_096).unwrap();
    assert_eq!(contents(&place.open()), ["one\n"]);
    let events = place.events();
    assert_eq!(events.len(), 1);
    assert!(events[0].contains("replayed 1 message from"), "{events:?}");
}

/// A batch as an attacker would forge it to make it look like ours.
fn forged(id: JournalId, number: u64) -> Vec<u8> {
    let name = "1.00000000deadbeef_00000001.host,S=7,W=8";
    batch(id, (0, number), name, b"forged\n")
}

/// A batch with one message for bob at example.org. Its numbers are that of the previous batch and
/// its own.
fn batch(id: JournalId, (previous, number): (u64, u64), name: &str, content: &[u8]) -> Vec<u8> {
    let mut batch = vec![0; HEADER_OCTETS];
    push_delivery(&mut batch, name, &[mailbox("bob@example.org")], content);
    let seal = Seal {
        id,
        number,
        previous,
        checkpointed: 0,
        n_records: 1,
    };
    seal.close(&mut batch);
    batch
}

/// SEC-20: content that looks like a batch is never mistaken for one, whether the batch around it
/// is whole or torn.
#[test]
fn a_forged_batch_in_a_message_is_not_replayed() {
    for is_torn in [false, true] {
        let place = Place::new();
        let store = place.open();
        deliver(&store, "one\n").unwrap();
        crash(store);
        let (id, file) = (
            fs::read_to_string(place.journal("id")).unwrap(),
            segment(&place.journal("0.seg")),
        );
        let id = u128::from_str_radix(id.trim(), 16).unwrap();
        // Inside a whole batch even the right id does not help. In a torn batch only the id
        // protects, and it is a secret.
        let guess = JournalId(if is_torn { id ^ 1 } else { id }.to_be_bytes());
        let inner = forged(guess, 900);
        let name = "1.00000000deadbeef_00000002.host,S=9,W=9";
        let mut content = vec![b'x'; BATCH_ALIGNMENT];
        let mut probe = Vec::new();
        let bob = [mailbox("bob@example.org")];
        push_delivery(&mut probe, name, &bob, b"");
        content.truncate(BATCH_ALIGNMENT - HEADER_OCTETS - probe.len());
        content.extend(inner);
        let mut outer = batch(JournalId(id.to_be_bytes()), (1, 2), name, &content);
        if is_torn {
            outer[100] ^= 1;
        }
        file.write_all_at(&outer, 4_096).unwrap();
        let store = place.open();
        let found = contents(&store);
        assert!(!found.contains(&"forged\n".to_owned()), "{is_torn}");
        assert_eq!(found.len(), if is_torn { 1 } else { 2 });
    }
}

pub(super) fn open_simulated(fs: &SimFs) -> MessageStore {
    try_open_simulated(fs).unwrap()
}

fn try_open_simulated(fs: &SimFs) -> Result<MessageStore, Error> {
    try_open_told(fs, Observer::default())
}

fn try_open_told(fs: &SimFs, observer: Observer) -> Result<MessageStore, Error> {
    let settings = Settings {
        observer,
        durability: Durability::Journal {
            segment_octets: 64 * 1024,
            segments: 3,
        },
        ..Settings::new("/mail", "host.example")
    };
    MessageStore::open_quietly(
        Arc::new(fs.clone()),
        settings,
        fs.clock(),
        Patience::default(),
    )
}

/// The number of operations for delivering `n_messages` at the same time to a busy store.
fn operations_of(n_messages: usize) -> u64 {
    let fs = SimFs::new();
    fs.make_timeless();
    fs.set_times(Times::Fine);
    let store = open_simulated(&fs);
    deliver(&store, "the first makes the mailbox and the segment\n").unwrap();
    fs.hands().pass(INDEX_QUIET);
    deliver(
        &store,
        "the second finds everything in place and the directories at rest\n",
    )
    .unwrap();
    let bob = [mailbox("bob@example.org")];
    let before = fs.n_operations();
    let commits: Vec<_> = (0..n_messages)
        .map(|number| {
            let mut delivery = store.begin_delivery(0).unwrap();
            delivery.append(format!("{number}\n").as_bytes()).unwrap();
            delivery
                .into_maildir()
                .begin_commit(&bob, Ailing::SetAside)
                .unwrap()
        })
        .collect();
    for commit in commits {
        commit.finish().unwrap();
    }
    fs.n_operations() - before
}

#[test]
fn messages_that_arrive_together_share_a_write_and_a_sync() {
    let (one, ten) = (operations_of(1), operations_of(10));
    // Each message takes four operations: check the free space, make a file, write it, rename it.
    // Once for all of them a batch is written and synced. Before that, the store's own directory is
    // checked (and the segment, which is not counted), and after it the directory of the journal,
    // the id and the previous batch.
    assert_eq!((one, ten), (4 + 6, 40 + 6));
}

#[test]
fn a_journal_that_failed_twice_is_tried_again_after_a_while() {
    let fs = SimFs::new();
    fs.make_timeless();
    let store = open_simulated(&fs);
    deliver(&store, "one\n").unwrap();
    for _ in 0..2 {
        let mut delivery = store.begin_delivery(0).unwrap();
        delivery.append(b"refused\n").unwrap();
        let at = fs.n_operations() + 1;
        fs.fail(Fault {
            at,
            errno: Errno::IO,
            is_done: false,
        });
        assert!(delivery.commit(&[mailbox("bob@example.org")]).is_err());
    }
    let refused = deliver(&store, "refused\n").unwrap_err();
    assert!(matches!(refused, Error::OutOfOrder { .. }), "{refused:?}");
    assert!(refused.is_transient());
    assert!(
        maildrop(&store).messages().len() == 1,
        "reading still works"
    );
    fs.hands().pass(JOURNAL_RETRY);
    deliver(&store, "two\n").unwrap();
    deliver(&store, "three\n").unwrap();
    assert_eq!(contents(&store).len(), 3);
}

/// SEC-9.
#[test]
fn content_goes_straight_to_a_file_when_memory_is_used_up() {
    let place = Place::new();
    let store = place.open();
    let held = &store.maildirs().open.held;
    let mut others = Taken::nothing(held);
    assert!(others.set(HELD_OCTETS_MAX));
    let mut delivery = store.begin_delivery(0).unwrap();
    delivery.append(b"one\n").unwrap();
    let spool = place.root().join(".facteur/tmp");
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 1);
    delivery.commit(&[mailbox("bob@example.org")]).unwrap();
    assert!(others.set(0));
    let mut delivery = store.begin_delivery(0).unwrap();
    delivery.append(b"two\n").unwrap();
    assert_eq!(held.octets(), 4);
    assert_eq!(fs::read_dir(&spool).unwrap().count(), 0);
    drop(delivery);
    assert_eq!(held.octets(), 0);
    assert_eq!(contents(&store), ["one\n"]);
}

/// I12: a batch that is ours in every other way does not lead out of its mailbox, and does not keep
/// a store from opening.
#[test]
fn a_file_name_in_the_journal_that_leads_elsewhere_is_not_used() {
    for host in ["../../../../out", "x\0", "a:b", "\u{fc}", &"h".repeat(300)] {
        let place = Place::new();
        let store = place.open();
        deliver(&store, "one\n").unwrap();
        crash(store);
        let id = fs::read_to_string(place.journal("id")).unwrap();
        let id = u128::from_str_radix(id.trim(), 16).unwrap();
        let name = format!("1.00000000deadbeef_00000002.{host},S=4,W=5");
        let batch = batch(JournalId(id.to_be_bytes()), (1, 2), &name, b"out\n");
        let file = segment(&place.journal("0.seg"));
        file.write_all_at(&batch, 4_096).unwrap();
        let store = place.open();
        assert_eq!(contents(&store), ["one\n"], "{host:?}");
        assert!(
            !fs::read_dir(place.root())
                .unwrap()
                .any(|entry| { entry.unwrap().file_name().to_string_lossy().contains("out") })
        );
    }
}
