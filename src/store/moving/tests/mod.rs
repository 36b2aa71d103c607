//! Moves between real Maildirs and a real database.

#![expect(
    clippy::disallowed_methods,
    reason = "these tests do what other programs do"
)]
#![expect(clippy::arithmetic_side_effects, reason = "tests count small things")]

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsStr,
    fs,
    hash::{DefaultHasher, Hasher as _},
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use tempfile::TempDir;

use super::*;
use crate::{
    clock::look_again,
    mail::EntryId,
    store::{Access, Secrets, tests::open_with},
    testing::{
        bugs::{self, Bug},
        interruption,
        postgres::shared,
    },
};

/// Everything that clients can learn of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    unique_id: String,
    octets: u64,
    id: EntryId,
    arrived_secs: u64,
    /// A hash, so that failures can be read.
    content: u64,
}

/// All messages of a store, in the order of each mailbox.
type Snapshot = BTreeMap<MailboxName, Vec<Seen>>;

fn snapshot(store: &MessageStore) -> Snapshot {
    let mut mailboxes = Vec::new();
    let hidden = store.each_mailbox(&mut |it| mailboxes.push(it)).unwrap();
    assert!(hidden.is_none());
    let of_mailbox = |mailbox: MailboxName| {
        let look = store.look(&mailbox).unwrap();
        let seen = (0..look.messages().len()).map(|index| {
            let mut message = look.open_message(index).unwrap();
            let listed = look.messages().octets(index).unwrap();
            let octets = message.edited_octets().unwrap_or(listed);
            let (mut hash, mut buffer) = (DefaultHasher::new(), vec![0; 5_000]);
            loop {
                match message.read(&mut buffer).unwrap() {
                    0 => break,
                    n_read => hash.write(&buffer[..n_read]),
                }
            }
            Seen {
                unique_id: id_at(&look, index).unwrap(),
                octets,
                id: look.id(index).unwrap(),
                arrived_secs: look.arrived_secs(index).unwrap(),
                content: hash.finish(),
            }
        });
        let seen = seen.collect();
        (mailbox, seen)
    };
    mailboxes.into_iter().map(of_mailbox).collect()
}

fn mailbox(address: &str) -> MailboxName {
    let (local_part, domain) = address.split_once('@').unwrap();
    MailboxName::from_canonical(local_part, domain).unwrap()
}

/// A directory for Maildirs, and a database.
struct Place {
    directory: TempDir,
    database: Database,
    /// The name of the database.
    name: String,
}

impl Place {
    fn new() -> Self {
        let cluster = shared();
        let name = cluster.new_database();
        let access = Access::parse(&cluster.access(&name), Secrets::default());
        Self {
            directory: TempDir::new().unwrap(),
            database: Database {
                access: access.unwrap(),
                is_single: true,
            },
            name,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn settings(&self, name: &str) -> Settings {
        Settings::new(self.path(name), "host.example")
    }

    fn maildirs(&self, name: &str) -> MessageStore {
        open_with(&self.settings(name))
    }

    /// The database, as a daemon opens it.
    fn served(&self) -> MessageStore {
        let mut settings = self.settings("node");
        settings.database = Some(self.database.clone());
        open_with(&settings)
    }

    /// Waits, as `open_with` does, for a process that has the lock for a moment.
    fn open(&self, direction: &Direction) -> Result<Move, Error> {
        loop {
            match self.try_open(direction) {
                Err(Error::StoreInUse { .. }) => look_again(),
                opened => return opened,
            }
        }
    }

    fn try_open(&self, direction: &Direction) -> Result<Move, Error> {
        let settings = self.settings("not used");
        Move::open(&settings, &self.database, direction, &Clock::system())
    }

    fn run(&self, direction: &Direction) -> Result<Moved, Error> {
        self.open(direction)?.run(&mut |_| {})
    }

    fn bring(&self) -> Result<Moved, Error> {
        self.run(&Direction::In(self.path("mail")))
    }

    fn take(&self) -> Result<Moved, Error> {
        self.run(&Direction::Out(self.path("back")))
    }

    /// Makes a store with messages of every kind.
    fn fill(&self) {
        let store = self.maildirs("mail");
        let [ann, bob] = ["ann@a.example", "bob smith@b.example"].map(mailbox);
        let empty = mailbox("empty@a.example");
        let deliver = |content: &[u8], recipients: &[MailboxName]| {
            let mut delivery = store.begin_delivery(0).unwrap();
            delivery.append(content).unwrap();
            delivery.commit(recipients).unwrap();
        };
        for number in 0..5 {
            let content = format!("Subject: {number}\n\n.\na\rb\n");
            deliver(content.as_bytes(), &[ann.clone(), bob.clone()]);
        }
        deliver(b"", std::slice::from_ref(&ann));
        // As a part, more than a part, and more than one transaction.
        for octets in [256 * 1024, 256 * 1024 + 1, 5_000_000] {
            let content: Vec<u8> = b"0123456789abcdef\n"
                .iter()
                .copied()
                .cycle()
                .take(octets)
                .collect();
            deliver(&content, &[ann.clone(), bob.clone()]);
        }
        deliver(b"removed\n", std::slice::from_ref(&empty));
        let maildrop = store.open_maildrop(&empty).unwrap();
        maildrop.remove(&[0]).unwrap();
        drop(maildrop);
        drop(store);
        self.change_files();
    }

    /// Does what other programs do.
    fn change_files(&self) {
        let ann = self.path("mail/a.example/ann");
        let mut names: Vec<_> = fs::read_dir(ann.join("new")).unwrap().collect();
        names.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
        let names: Vec<PathBuf> = names.into_iter().map(|it| it.unwrap().path()).collect();
        let read = |path: &Path, suffix: &str| {
            let mut name = path.file_name().unwrap().to_owned();
            name.push(suffix);
            fs::rename(path, ann.join("cur").join(name)).unwrap();
        };
        // Read, read by mbsync, and edited without changing the name, one of them to another size.
        read(&names[0], ":2,S");
        read(&names[1], ",U=17:2,RS");
        let content = fs::read_to_string(&names[2]).unwrap();
        // Copies are links to one file.
        fs::remove_file(&names[2]).unwrap();
        fs::write(&names[2], content.replace("Subject", "Reject!")).unwrap();
        fs::remove_file(&names[3]).unwrap();
        fs::write(&names[3], "edited\n").unwrap();
        let large = names
            .iter()
            .find(|it| it.to_str().unwrap().contains("S=5000000"));
        read(large.unwrap(), ":2,F");
        let large: Vec<u8> = b"x\r\n".repeat(200_000);
        let other: [(&str, &[u8], &[u8]); 11] = [
            ("new", b"1600000000.M1P2.host", b"lf\nlf\n"),
            ("new", b"1600000001.M1P2.host,S=9,W=9", b"crlf\r\nx\r\n"),
            (
                "cur",
                b"1600000002.M1P2.host:2,FS",
                b"mixed\n\r\nbare\rcr\n\n",
            ),
            ("cur", b"1600000003.M1P2.host:2,", b"no end"),
            ("new", b"no time", b"cr at the end\r"),
            ("new", b"\xff\xfe%2f percent", b"name is no text\n"),
            (
                "new",
                b"0123456789abcdef0123456789abcdef",
                b"looks like a hash\n",
            ),
            (
                "new",
                b"1700000000.0123456789abcdef_00000001",
                b"looks like ours\n",
            ),
            ("new", b"1600000004.large", &large),
            ("new", b"1600000005.empty", b""),
            ("cur", b"1600000006.W,W=7:2,S", b"sized\n"),
        ];
        for (number, (side, name, content)) in (1..).zip(other) {
            let path = ann.join(side).join(OsStr::from_bytes(name));
            fs::write(&path, content).unwrap();
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_500_000_000 + number);
            let file = fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(time).unwrap();
        }
        let bob = self.path("mail/b.example/bob%20smith/new");
        fs::write(bob.join("1600000000.M1P2.host"), "other than ann's\n").unwrap();
    }

    /// Runs a move that is interrupted after so many steps. Returns whether it was.
    fn is_interrupted(&self, direction: &Direction, n_steps: usize) -> bool {
        interruption::plan(Some(n_steps));
        let moved = self.run(direction);
        interruption::plan(None);
        let is_interrupted = moved.is_err();
        if let Err(error) = moved {
            assert!(error.to_string().contains("a test"), "{error}");
        }
        is_interrupted
    }
}

/// The files of all mailboxes, each with the time of its last change.
fn files(root: &Path) -> BTreeSet<(PathBuf, SystemTime)> {
    let mut files = BTreeSet::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            let path = entry.path();
            if entry.file_type().unwrap().is_file() {
                let modified = entry.metadata().unwrap().modified().unwrap();
                files.insert((path.strip_prefix(root).unwrap().to_owned(), modified));
            } else if entry.file_name() != ".facteur" {
                directories.push(path);
            }
        }
    }
    files
}

/// The names of files, and the times of those whose names do not give it.
fn names(root: &Path) -> BTreeSet<(PathBuf, Option<SystemTime>)> {
    let is_other = |path: &Path| path.parent().unwrap().ends_with("ann/new");
    let names = files(root).into_iter().map(|(path, time)| {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let is_other = is_other(&path) && !name.contains(",S=");
        (path, is_other.then_some(time))
    });
    names.collect()
}

/// I6, and what RETR sends is the same before and after.
#[test]
fn a_store_is_the_same_in_a_database_and_back_in_maildirs() {
    let place = Place::new();
    place.fill();
    let before = snapshot(&place.maildirs("mail"));
    assert_eq!(before.len(), 3);
    let n_messages: usize = before.values().map(Vec::len).sum();
    let n_messages = u64::try_from(n_messages).unwrap();
    let files_before = names(&place.path("mail"));
    let moved = place.bring().unwrap();
    assert_eq!((moved.mailboxes, moved.messages), (3, n_messages));
    assert_eq!((moved.were_there, moved.left), (0, 0));
    assert_eq!(names(&place.path("mail")), files_before, "only read");
    assert_eq!(snapshot(&place.served()), before);
    let again = place.bring().unwrap();
    assert_eq!((again.messages, again.were_there), (0, n_messages));
    assert_eq!(again.octets, moved.octets);
    let taken = place.take().unwrap();
    assert_eq!((taken.messages, taken.octets), (n_messages, moved.octets));
    assert_eq!(names(&place.path("back")), files_before);
    assert_eq!(snapshot(&place.maildirs("back")), before);
    let again = place.take().unwrap();
    assert_eq!((again.messages, again.were_there), (0, n_messages));
    // Copies of a delivery have one content, unless somebody has read or edited one of them.
    let shared = shared().sql(
        &place.name,
        "select octets from content where 2 = (select count(*) from message
            where message.name = content.name) order by octets",
    );
    assert_eq!(shared, "18\n262144\n262145");
}

/// Messages that were moved are removed like others, and new ones have other names.
#[test]
fn what_was_moved_is_served_like_any_other_mail() {
    let place = Place::new();
    place.fill();
    place.bring().unwrap();
    let store = place.served();
    let ann = mailbox("ann@a.example");
    let ids = |store: &MessageStore| -> Vec<String> {
        let seen = snapshot(store).remove(&ann).unwrap();
        seen.into_iter().map(|it| it.unique_id).collect()
    };
    let before = ids(&store);
    let mut delivery = store.begin_delivery(0).unwrap();
    delivery.append(b"new\n").unwrap();
    delivery.commit(std::slice::from_ref(&ann)).unwrap();
    let with_new = ids(&store);
    assert_eq!(with_new.len(), before.len() + 1);
    assert!(before.iter().all(|id| with_new.contains(id)));
    let maildrop = store.open_maildrop(&ann).unwrap();
    let removed: Vec<usize> = (0..maildrop.messages().len()).step_by(2).collect();
    maildrop.remove(&removed).unwrap();
    drop(maildrop);
    let mut expect: Vec<String> = with_new.into_iter().skip(1).step_by(2).collect();
    assert_eq!(ids(&store), expect);
    let first = snapshot(&store)[&ann][0].id;
    store.remove_everywhere(&[(ann.clone(), first)]).unwrap();
    expect.remove(0);
    assert_eq!(ids(&store), expect);
}

/// What was acknowledged is in the journal only when a daemon was killed.
#[test]
fn a_move_replays_the_journal() {
    let place = Place::new();
    let store = place.maildirs("mail");
    let ann = mailbox("ann@a.example");
    let mut delivery = store.begin_delivery(0).unwrap();
    delivery.append(b"one\n").unwrap();
    delivery.commit(std::slice::from_ref(&ann)).unwrap();
    let before = snapshot(&store);
    // As a power cut may leave it.
    store.maildirs().abandon();
    drop(store);
    let new = place.path("mail/a.example/ann/new");
    for entry in fs::read_dir(new).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    assert_eq!(place.bring().unwrap().messages, 1);
    assert_eq!(snapshot(&place.served()), before);
}

#[test]
fn a_move_that_was_interrupted_anywhere_is_completed_by_another() {
    let place = Place::new();
    place.fill();
    let before = snapshot(&place.maildirs("mail"));
    let sql = |text: &str| shared().sql(&place.name, text);
    let bring = Direction::In(place.path("mail"));
    let mut n_steps = 0;
    while place.is_interrupted(&bring, n_steps) {
        place.bring().unwrap();
        assert_eq!(snapshot(&place.served()), before, "{n_steps}");
        assert_eq!(sql("select count(*) from content where not complete"), "0");
        sql("truncate message, content, part, mailbox");
        n_steps += 1;
    }
    assert!(n_steps > 8, "{n_steps}");
    let files_before = names(&place.path("mail"));
    let mut n_steps = 0;
    loop {
        let root = place.path(&format!("back{n_steps}"));
        let take = Direction::Out(root.clone());
        if !place.is_interrupted(&take, n_steps) {
            break;
        }
        place.run(&take).unwrap();
        assert_eq!(names(&root), files_before, "{n_steps}");
        // Each message has two.
        n_steps += 11;
    }
    assert!(n_steps > 20, "{n_steps}");
}

/// The text of an error with that of its cause.
fn text(error: &Error) -> String {
    let source = std::error::Error::source(error).map(ToString::to_string);
    format!("{error}: {}", source.unwrap_or_default())
}

#[test]
fn other_content_is_neither_replaced_nor_overlooked() {
    let place = Place::new();
    place.fill();
    place.bring().unwrap();
    place.take().unwrap();
    // The file of another program, a small one, and a large one.
    for name in ["1600000000.M1P2.host", "1600000004.large"] {
        let path = place.path("mail/a.example/ann/new").join(name);
        let content = fs::read(&path).unwrap();
        let mut changed = content.clone();
        *changed.last_mut().unwrap() = b'!';
        fs::write(&path, &changed).unwrap();
        let error = text(&place.bring().unwrap_err());
        assert!(
            error.contains("another content") && error.contains(name),
            "{error}"
        );
        fs::write(&path, content).unwrap();
        let path = place.path("back/a.example/ann/new").join(name);
        let content = fs::read(&path).unwrap();
        fs::write(&path, changed).unwrap();
        let error = text(&place.take().unwrap_err());
        assert!(
            error.contains("another content") && error.contains(name),
            "{error}"
        );
        fs::write(&path, content).unwrap();
    }
    place.bring().unwrap();
    place.take().unwrap();
    // A copy that another program has edited has a content of its own, also a large one.
    let bob = place.path("mail/b.example/bob%20smith/new");
    let names = fs::read_dir(&bob).unwrap().map(|it| it.unwrap().path());
    let edited: Vec<PathBuf> = names
        .filter(|it| it.to_str().unwrap().contains("S=262145"))
        .collect();
    let [edited] = &edited[..] else {
        panic!("{edited:?}")
    };
    let mut content = fs::read(edited).unwrap();
    content[100] = b'!';
    fs::write(edited, content).unwrap();
    let other = Place {
        directory: place.directory,
        ..Place::new()
    };
    let before = snapshot(&other.maildirs("mail"));
    other.bring().unwrap();
    assert_eq!(snapshot(&other.served()), before);
}

/// The test above notices the planted bug.
#[test]
fn names_are_not_trusted() {
    let place = Place::new();
    place.fill();
    bugs::plant(Some(Bug::NamesAreTrusted));
    let moved = place.bring();
    bugs::plant(None);
    let error = text(&moved.unwrap_err());
    assert!(error.contains("another content"), "{error}");
}

#[test]
fn maildirs_with_messages_that_the_database_lacks_are_refused() {
    let place = Place::new();
    place.fill();
    place.bring().unwrap();
    let store = place.served();
    let ann = mailbox("ann@a.example");
    store.open_maildrop(&ann).unwrap().remove(&[3]).unwrap();
    drop(store);
    let error = place.run(&Direction::Out(place.path("mail"))).unwrap_err();
    assert!(text(&error).contains("would come back"), "{}", text(&error));
}

#[test]
fn a_store_that_is_served_is_refused() {
    let place = Place::new();
    place.fill();
    let store = place.maildirs("mail");
    let bring = Direction::In(place.path("mail"));
    let refused = place.try_open(&bring).map(drop);
    assert!(matches!(refused, Err(Error::StoreInUse { .. })));
    drop(store);
    let store = place.served();
    for moved in [place.bring(), place.take()] {
        assert!(matches!(moved, Err(Error::Served { .. })), "{moved:?}");
    }
    drop(store);
    place.bring().unwrap();
}

#[test]
fn a_directory_without_a_store_is_refused_and_not_made() {
    let place = Place::new();
    let error = text(&place.bring().unwrap_err());
    assert!(
        error.contains("not the mail directory of a facteur"),
        "{error}"
    );
    assert!(!place.path("mail").exists());
}

#[test]
fn files_that_are_not_served_are_counted() {
    let place = Place::new();
    place.fill();
    let new = place.path("mail/a.example/ann/new");
    fs::write(new.join(".hidden"), "x").unwrap();
    std::os::unix::fs::symlink("nowhere", new.join("link")).unwrap();
    assert_eq!(place.bring().unwrap().left, 2);
}
