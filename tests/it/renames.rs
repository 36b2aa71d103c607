//! Other programs that rename messages while the store lists, counts and removes them.
//!
//! In each round another thread renames a number of messages at full speed while the store works.
//! The store may report that it cannot answer now; it must never give a wrong answer.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use facteur::clock::Clock;
use facteur::mail::MailboxName;
use facteur::store::{Maildrop, MessageStore, Settings};
use tempfile::TempDir;

/// More than one directory read returns, so that names change behind it and ahead of it.
const MANY: usize = 2_000;
const FEW: usize = 30;

/// How names change.
#[derive(Clone, Copy, Debug)]
enum Change {
    /// A flag is set or removed.
    Flag,
    /// A field is appended to the base name or removed, as by programs that keep numbers there.
    Field,
    /// The message moves to the other directory.
    Move,
}

fn changed(path: &Path, change: Change) -> PathBuf {
    let name = path.file_name().unwrap().to_str().unwrap();
    let (base, flags) = name.split_once(":2,").unwrap();
    let directory = path.parent().unwrap();
    match change {
        Change::Flag if flags.contains('F') => directory.join(format!("{base}:2,S")),
        Change::Flag => directory.join(format!("{base}:2,FS")),
        Change::Field => match base.split_once(",U=") {
            Some((base, _)) => directory.join(format!("{base}:2,{flags}")),
            None => directory.join(format!("{base},U=7:2,{flags}")),
        },
        Change::Move => {
            let other = if directory.ends_with("cur") {
                "new"
            } else {
                "cur"
            };
            directory.parent().unwrap().join(other).join(name)
        }
    }
}

/// A program that renames messages, in rounds.
struct Renamer {
    rounds: SyncSender<usize>,
    done: Receiver<()>,
    thread: JoinHandle<()>,
}

impl Renamer {
    /// Renames these files, one after another, again and again.
    fn of(mut paths: Vec<PathBuf>, change: Change) -> Self {
        let (rounds, wanted) = sync_channel::<usize>(1);
        let (tell, done) = sync_channel(1);
        let work = move || {
            let mut next = 0;
            for n_renames in wanted {
                for _ in 0..n_renames {
                    // A step that has no factor in common with the number of messages.
                    next = (next + 7) % paths.len();
                    let to = changed(&paths[next], change);
                    // A message that the store has removed no longer exists.
                    if fs::rename(&paths[next], &to).is_ok() {
                        paths[next] = to;
                    }
                }
                tell.send(()).unwrap();
            }
        };
        let thread = thread::Builder::new().spawn(work).unwrap();
        Self {
            rounds,
            done,
            thread,
        }
    }

    /// Has this many messages renamed while `work` runs.
    fn beside<T>(&self, n_renames: usize, work: impl FnOnce() -> T) -> T {
        self.rounds.send(n_renames).unwrap();
        let result = work();
        self.done.recv().unwrap();
        result
    }

    fn end(self) {
        drop(self.rounds);
        self.thread.join().unwrap();
    }
}

struct Place {
    directory: TempDir,
    store: MessageStore,
    bob: MailboxName,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let root = directory.path().join("mail");
        let store = MessageStore::open(Settings::new(root, "localhost"), Clock::system()).unwrap();
        let bob = MailboxName::from_canonical("bob", "example.com").unwrap();
        let place = Self {
            directory,
            store,
            bob,
        };
        for side in ["tmp", "new", "cur"] {
            fs::create_dir_all(place.maildir().join(side)).unwrap();
        }
        place
    }

    fn maildir(&self) -> PathBuf {
        self.directory.path().join("mail/example.com/bob")
    }

    /// Adds messages whose names contain no more than `sizes`.
    fn fill(&self, n_messages: usize, sizes: &str) {
        for number in 0..n_messages {
            let name = format!("1700000000.M{number}P7.host{sizes}:2,S");
            let path = self.maildir().join("cur").join(name);
            fs::write(path, format!("message {number:06}\n")).unwrap();
        }
    }

    /// The unique-ids in a new session; `None` if they cannot be listed now.
    fn unique_ids(&self) -> Option<BTreeSet<String>> {
        match self.store.open_maildrop(&self.bob) {
            Ok(maildrop) => Some(unique_ids(&maildrop).into_iter().collect()),
            Err(error) => {
                assert!(error.is_transient(), "{error:?}");
                None
            }
        }
    }
}

fn unique_ids(maildrop: &Maildrop) -> Vec<String> {
    let messages = maildrop.messages();
    (0..messages.len())
        .map(|position| messages.unique_id(position).unwrap().as_str().to_owned())
        .collect()
}

fn files(maildir: &Path) -> Vec<PathBuf> {
    let entries = |side| fs::read_dir(maildir.join(side)).unwrap();
    let entries = ["new", "cur"].into_iter().flat_map(entries);
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Logs in `n_rounds` times while messages are renamed; returns how many logins succeeded.
fn log_in_beside(place: &Place, change: Change, n_rounds: usize, n_renames_max: usize) -> usize {
    let expect = place.unique_ids().unwrap();
    let renamer = Renamer::of(files(&place.maildir()), change);
    let mut n_answers = 0;
    for round in 0..n_rounds {
        let n_renames = (round * 37) % n_renames_max;
        let found = renamer.beside(n_renames, || place.unique_ids());
        if let Some(found) = found {
            let missing: Vec<_> = expect.difference(&found).collect();
            assert!(missing.is_empty(), "round {round}: missing {missing:?}");
            let strange: Vec<_> = found.difference(&expect).collect();
            assert!(strange.is_empty(), "round {round}: new ids {strange:?}");
            n_answers += 1;
        }
    }
    renamer.end();
    assert_eq!(place.unique_ids(), Some(expect));
    n_answers
}

#[test]
fn no_login_misses_a_message_whose_flags_are_changed() {
    let place = Place::new();
    place.fill(MANY, ",S=15,W=16");
    assert!(log_in_beside(&place, Change::Flag, 400, 60) > 0);
}

#[test]
fn no_login_misses_a_message_that_is_moved_back_and_forth() {
    let place = Place::new();
    place.fill(FEW, ",S=15,W=16");
    assert!(log_in_beside(&place, Change::Move, 1_000, 60) > 0);
}

#[test]
fn no_login_misses_a_message_whose_size_has_to_be_counted() {
    let place = Place::new();
    place.fill(FEW, "");
    assert!(log_in_beside(&place, Change::Flag, 1_000, 60) > 0);
}

/// facteur's own messages, which get a number in their names.
#[test]
fn no_unique_id_changes_when_a_field_is_appended() {
    let place = Place::new();
    for number in 0..FEW {
        let mut delivery = place.store.begin_delivery(0).unwrap();
        delivery
            .append(format!("message {number}\n").as_bytes())
            .unwrap();
        delivery.commit(std::slice::from_ref(&place.bob)).unwrap();
    }
    for file in files(&place.maildir()) {
        let name = file.file_name().unwrap().to_str().unwrap();
        let seen = place.maildir().join("cur").join(format!("{name}:2,S"));
        fs::rename(&file, seen).unwrap();
    }
    assert!(log_in_beside(&place, Change::Field, 500, 60) > 0);
}

/// I2: after `Ok` the message is gone, whatever its name was.
#[test]
fn no_removal_is_acknowledged_while_the_message_is_there() {
    const ROUNDS: usize = 80;
    let place = Place::new();
    place.fill(MANY, ",S=15,W=16");
    let mut left = place.unique_ids().unwrap();
    let mut n_removed = 0;
    for round in 0..ROUNDS {
        let Ok(maildrop) = place.store.open_maildrop(&place.bob) else {
            continue;
        };
        let listed = unique_ids(&maildrop);
        assert_eq!(listed.iter().cloned().collect::<BTreeSet<_>>(), left);
        let victim = (round * 601) % listed.len();
        let base = &listed[victim];
        // It is no longer where it was listed, and keeps moving.
        let path = place.maildir().join(format!("cur/{base}:2,S"));
        let moved = changed(&path, Change::Flag);
        fs::rename(&path, &moved).unwrap();
        let renamer = Renamer::of(vec![moved.clone()], Change::Flag);
        let removed = renamer.beside(50 + round * 7, || maildrop.remove(&[victim]));
        renamer.end();
        let is_there = [path, moved].iter().any(|path| path.exists());
        match removed {
            Ok(()) => assert!(!is_there, "round {round}: {base} is still there"),
            Err(error) => assert!(error.is_transient(), "{error:?}"),
        }
        if !is_there {
            left.remove(base);
            n_removed += 1;
        }
    }
    assert!(n_removed > 0);
    assert_eq!(
        files(&place.maildir()).len(),
        MANY - n_removed,
        "and no others"
    );
}
