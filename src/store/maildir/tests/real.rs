//! The store on the real file system: the files on disk, other programs, other users, several
//! threads.

#![expect(
    clippy::disallowed_methods,
    reason = "the tests play the other programs"
)]

use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::{Path, PathBuf},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, UNIX_EPOCH},
};

use tempfile::TempDir;

use crate::{
    clock::{Clock, Hands},
    fs::{Fs as _, RealFs},
    mail::MailboxName,
    store::{
        Change, Error, Maildrop, MessageStore, Settings, connect_control, limits::CLAIM_PATIENCE,
        maildir::Patience,
    },
    testing::model::{read, summaries},
};

use super::mailbox;

/// A store in a directory of its own.
struct Place {
    directory: TempDir,
    store: MessageStore,
}

impl Place {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let store = open(&directory.path().join("mail")).unwrap();
        Self { directory, store }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("mail")
    }

    /// Acts like another program that makes a mailbox.
    fn make_maildir(&self, directory: &str) -> PathBuf {
        let path = self.root().join(directory);
        for inner in ["tmp", "new", "cur"] {
            fs::create_dir_all(path.join(inner)).unwrap();
        }
        path
    }

    fn deliver(&self, content: &[u8], recipients: &[MailboxName]) -> String {
        let mut delivery = self.store.begin_delivery(0).unwrap();
        delivery.append(content).unwrap();
        let name = delivery.name().to_owned();
        delivery.commit(recipients).unwrap();
        name
    }

    fn open(&self, address: &str) -> Maildrop {
        self.store.open_maildrop(&mailbox(address)).unwrap()
    }
}

fn open(root: &Path) -> Result<MessageStore, Error> {
    let settings = Settings::new(root, "host.example");
    MessageStore::open(settings, Clock::system())
}

/// The names in a directory, sorted.
fn names(directory: impl AsRef<Path>) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn contents(maildrop: &Maildrop) -> Vec<Vec<u8>> {
    (0..maildrop.messages().len())
        .map(|index| read(maildrop, index).unwrap())
        .collect()
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}

#[test]
fn a_message_comes_back_octet_for_octet_and_is_named_as_documented() {
    let place = Place::new();
    for content in [
        &b"From: a\n\nb\n"[..],
        b"",
        b"no ending",
        b"\0\xff\n",
        &vec![b'x'; 100_000],
    ] {
        let serial = place.deliver(content, &[mailbox("bob@example.org")]);
        let new = place.root().join("example.org/bob/new");
        let maildrop = place.open("bob@example.org");
        assert_eq!(contents(&maildrop), [content]);
        let n_lines = memchr::memchr_iter(b'\n', content).count();
        let ending = if content.is_empty() || content.ends_with(b"\n") {
            0
        } else {
            2
        };
        let sent = content.len() + n_lines + ending;
        let summary = summaries(&*maildrop.messages())[0].clone();
        assert_eq!(summary.octets, u64::try_from(sent).unwrap());
        let unique_id = summary.unique_id.as_str().to_owned();
        let (secs, rest) = unique_id.split_once('.').unwrap();
        assert!(secs.parse::<u64>().unwrap() > 1_700_000_000);
        assert_eq!(rest, serial);
        let name = format!("{unique_id}.host.example,S={},W={sent}", content.len());
        assert_eq!(names(&new), [name.as_str()]);
        assert_eq!(mode(new.join(name)), 0o600);
        maildrop.remove(&[0]).unwrap();
        assert!(names(&new).is_empty());
    }
    for directory in [
        "",
        ".facteur",
        ".facteur/tmp",
        "example.org",
        "example.org/bob/cur",
    ] {
        assert_eq!(mode(place.root().join(directory)), 0o700, "{directory}");
    }
    assert_eq!(mode(place.root().join(".facteur/store.lock")), 0o600);
    assert!(names(place.root().join(".facteur/tmp")).is_empty());
}

#[test]
fn messages_are_listed_in_the_order_of_their_arrival() {
    let place = Place::new();
    let sent: Vec<Vec<u8>> = (0..300)
        .map(|n| format!("message {n}\n").into_bytes())
        .collect();
    for content in &sent {
        place.deliver(content, &[mailbox("bob@example.org")]);
    }
    assert_eq!(contents(&place.open("bob@example.org")), sent);
}

#[test]
fn a_thousand_recipients_share_one_file() {
    let place = Place::new();
    let recipients: Vec<MailboxName> = (0..1000)
        .map(|n| mailbox(&format!("user{n}@example.org")))
        .collect();
    place.deliver(b"content\n", &recipients);
    let mut inodes = BTreeMap::new();
    for recipient in &recipients {
        let new = place
            .root()
            .join("example.org")
            .join(recipient.local_part())
            .join("new");
        let [name] = &names(&new)[..] else {
            panic!("not exactly one message")
        };
        *inodes
            .entry(fs::metadata(new.join(name)).unwrap().ino())
            .or_insert(0) += 1;
    }
    assert_eq!(inodes.into_values().collect::<Vec<_>>(), [1000]);
    assert!(names(place.root().join(".facteur/tmp")).is_empty());
}

/// Sessions that deliver at the same time would wait for each other at the spool's lock.
#[test]
fn a_message_from_memory_has_no_name_in_the_spool() {
    let place = Place::new();
    let spool = place.root().join(".facteur/tmp");
    if !RealFs.file_system(&spool).unwrap().trust().whole_sync {
        return;
    }
    let changed = || RealFs.metadata(&spool).unwrap().stamp;
    let before = changed();
    place.deliver(
        b"content\n",
        &["ann@example.org", "bob@example.org"].map(mailbox),
    );
    place.deliver(b"content\n", &[mailbox("bob@example.org")]);
    assert_eq!(changed(), before);
    assert_eq!(contents(&place.open("bob@example.org")).len(), 2);
}

#[test]
fn a_recipient_named_twice_gets_one_copy() {
    let place = Place::new();
    let [ann, bob] = ["ann@example.org", "bob@example.org"].map(mailbox);
    place.deliver(b"content\n", &[bob.clone(), ann.clone(), bob.clone(), ann]);
    assert_eq!(contents(&place.open("bob@example.org")), [b"content\n"]);
    assert_eq!(contents(&place.open("ann@example.org")), [b"content\n"]);
}

#[test]
fn a_delivery_given_up_leaves_nothing() {
    let place = Place::new();
    let mut delivery = place.store.begin_delivery(0).unwrap();
    delivery.append(b"content\n").unwrap();
    assert_eq!(delivery.octets(), 8);
    // A little content is not written to disk.
    assert!(names(place.root().join(".facteur/tmp")).is_empty());
    delivery.append(&b"content\n".repeat(20_000)).unwrap();
    assert_eq!(names(place.root().join(".facteur/tmp")), [delivery.name()]);
    drop(delivery);
    let delivery = place.store.begin_delivery(0).unwrap();
    delivery.commit(&[]).unwrap();
    assert!(names(place.root().join(".facteur/tmp")).is_empty());
    assert_eq!(names(place.root()), [".facteur"]);
}

#[test]
fn only_the_spool_is_cleaned_at_the_start() {
    let place = Place::new();
    place.deliver(b"content\n", &[mailbox("bob@example.org")]);
    let stale = place.root().join(".facteur/tmp/stale");
    fs::write(&stale, "x").unwrap();
    let Place { directory, store } = place;
    drop(store);
    let place = Place {
        store: open(&directory.path().join("mail")).unwrap(),
        directory,
    };
    assert!(!stale.exists());
    assert_eq!(contents(&place.open("bob@example.org")), [b"content\n"]);
}

#[test]
fn a_second_daemon_is_refused_until_the_first_is_gone() {
    let place = Place::new();
    let refused = open(&place.root()).unwrap_err();
    assert!(matches!(refused, Error::StoreInUse { .. }), "{refused:?}");
    // A delivery or a maildrop that a session still has counts as the first daemon.
    let Place { directory, store } = place;
    let delivery = store.begin_delivery(0).unwrap();
    drop(store);
    let root = directory.path().join("mail");
    assert!(matches!(open(&root), Err(Error::StoreInUse { .. })));
    drop(delivery);
    open(&root).unwrap();
}

/// A client that returns before its previous session has ended waits for that end, but not
/// indefinitely.
#[test]
fn a_login_waits_briefly_for_the_previous_session_to_end() {
    let directory = tempfile::tempdir().unwrap();
    let hands = Arc::new(Hands::new());
    let clock = Clock::turned_by(Arc::clone(&hands));
    let settings = Settings::new(directory.path().join("mail"), "host.example");
    // Without its own thread, which also looks at the clock.
    let opened =
        MessageStore::open_quietly(Arc::new(RealFs), settings, clock, Patience::WITH_OTHERS);
    let store = opened.unwrap();
    let bob = mailbox("bob@example.org");
    for is_left in [true, false] {
        let first = store.open_maildrop(&bob).unwrap();
        let second = thread::scope(|scope| {
            let waiting = scope.spawn(|| store.open_maildrop_patiently(&bob));
            assert!(hands.is_looked_at(1, || waiting.is_finished()));
            if is_left {
                drop(first);
            } else {
                hands.pass_until(CLAIM_PATIENCE, || waiting.is_finished());
            }
            waiting.join().unwrap()
        });
        assert_eq!(second.is_ok(), is_left, "{second:?}");
    }
}

#[test]
fn a_maildrop_is_open_once_and_free_again_when_it_is_dropped() {
    let place = Place::new();
    let bob = mailbox("bob@example.org");
    let first = place.open("bob@example.org");
    let second = place.store.open_maildrop(&bob);
    assert!(matches!(second, Err(Error::InUse { .. })), "{second:?}");
    place.open("ann@example.org");
    drop(first);
    place.open("bob@example.org");
}

#[test]
fn looking_creates_nothing() {
    let place = Place::new();
    assert!(place.open("bob@example.org").messages().is_empty());
    assert!(
        !place
            .store
            .has_mailbox(&mailbox("bob@example.org"))
            .unwrap()
    );
    let found = place.store.mailbox_with_local_part("bob").unwrap();
    assert_eq!(found, None);
    assert_eq!(names(place.root()), [".facteur"]);
}

#[test]
fn a_listing_stays_as_it_was_when_the_session_began() {
    let place = Place::new();
    let bob = mailbox("bob@example.org");
    place.deliver(b"one\n", std::slice::from_ref(&bob));
    let maildrop = place.open("bob@example.org");
    place.deliver(b"two\n", &[bob]);
    assert_eq!(contents(&maildrop), [b"one\n"]);
    drop(maildrop);
    assert_eq!(
        contents(&place.open("bob@example.org")),
        [b"one\n", b"two\n"]
    );
}

#[test]
fn a_mailbox_is_found_by_its_local_part_if_there_is_one() {
    let place = Place::new();
    for address in [
        "bob@a.example",
        "ann@a.example",
        "bob@[127.0.0.1]",
        "..@b.example",
    ] {
        place.deliver(b"content\n", &[mailbox(address)]);
    }
    place.make_maildir("%61.example/ann");
    fs::write(place.root().join("file.example"), "").unwrap();
    let find = |local_part: &str| place.store.mailbox_with_local_part(local_part).unwrap();
    assert_eq!(find("ANN"), Some(mailbox("ann@a.example")));
    assert_eq!(find("bob"), None, "there are two");
    assert_eq!(find(".."), Some(mailbox("..@b.example")));
    // In whatever form of Unicode: the one that is written first.
    for (stored, typed) in [("z\u{e9}", "Ze\u{301}"), ("ye\u{301}", "y\u{e9}")] {
        let stored = MailboxName::from_canonical(stored, "u.example").unwrap();
        place.deliver(b"content\n", std::slice::from_ref(&stored));
        assert_eq!(find(typed), Some(stored));
    }
    for nobody in [
        "",
        ".",
        "new",
        "tmp",
        "a/ann",
        "../a.example/ann",
        &"x".repeat(300),
    ] {
        assert_eq!(find(nobody), None, "{nobody}");
    }
}

#[test]
fn hostile_addresses_stay_inside_the_store() {
    let place = Place::new();
    let hostile = [
        "..",
        ".",
        "../../etc",
        "a/b",
        "~",
        ".facteur",
        "%2e",
        "a..b",
        "a\\b",
        "-r",
    ];
    for local_part in hostile {
        let name = MailboxName::from_canonical(local_part, "example.org").unwrap();
        place.deliver(local_part.as_bytes(), std::slice::from_ref(&name));
        assert_eq!(
            contents(&place.store.open_maildrop(&name).unwrap()),
            [local_part.as_bytes()],
            "{local_part:?}"
        );
    }
    assert_eq!(names(place.directory.path()), ["mail"]);
    assert_eq!(names(place.root()), [".facteur", "example.org"]);
    assert_eq!(names(place.root().join("example.org")).len(), hostile.len());
}

#[test]
fn an_address_too_long_for_a_directory_is_refused_before_anything_is_made() {
    let place = Place::new();
    let long = mailbox(&format!("{}@example.org", "x".repeat(241)));
    let error = place.store.check_recipient(&long).unwrap_err();
    assert!(matches!(error, Error::NameTooLong { .. }), "{error:?}");
    place
        .store
        .check_recipient(&mailbox(&format!("{}@example.org", "x".repeat(240))))
        .unwrap();
    let delivery = place.store.begin_delivery(0).unwrap();
    let result = delivery.commit(&[mailbox("bob@example.org"), long]);
    assert!(
        matches!(result, Err(Error::NameTooLong { .. })),
        "{result:?}"
    );
    assert_eq!(names(place.root()), [".facteur"]);
    assert!(names(place.root().join(".facteur/tmp")).is_empty());
}

#[test]
fn files_of_other_programs_are_served() {
    let place = Place::new();
    let maildir = place.make_maildir("example.org/bob");
    for (name, content) in [
        ("new/1.b.host", "bare\nbare\n"),
        ("cur/2.c.host:2,S", "crlf\r\ncrlf\r\n"),
        ("cur/3.d.host,S=5,W=7:2,FS", "12345"),
        ("cur/4.e.host,S=3:2,", "abc"),
        ("new/10.f.host", ""),
        ("new/none", "no time\n"),
        ("new/.hidden", "hidden"),
        // The name that FUSE gives to a file that is removed while open.
        ("cur/.fuse_hidden0000000100000001", "removed\n"),
        ("new/.fuse_hidden0000000100000002", "removed\n"),
        ("tmp/5.t.host", "in delivery"),
    ] {
        fs::write(maildir.join(name), content).unwrap();
    }
    fs::create_dir(maildir.join("new/7.directory")).unwrap();
    symlink("/etc/passwd", maildir.join("cur/8.link")).unwrap();
    let mode = rustix::fs::Mode::RUSR;
    let fifo = maildir.join("new/9.fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();

    let maildrop = place.open("bob@example.org");
    let messages = summaries(&*maildrop.messages());
    let listed: Vec<(&str, u64)> = messages
        .iter()
        .map(|it| (it.unique_id.as_str(), it.octets))
        .collect();
    let expect = [
        ("none", 9),
        ("1.b.host", 12),
        ("2.c.host", 12),
        ("3.d.host,S=5,W=7", 7),
        ("4.e.host,S=3", 5),
        ("10.f.host", 0),
    ];
    assert_eq!(listed, expect);
    assert_eq!(contents(&maildrop)[2], b"crlf\r\ncrlf\r\n");
    maildrop.remove(&[0, 1, 2, 3, 4, 5]).unwrap();
    let hidden = ".fuse_hidden0000000100000002";
    assert_eq!(
        names(maildir.join("new")),
        [hidden, ".hidden", "7.directory", "9.fifo"]
    );
    let hidden = ".fuse_hidden0000000100000001";
    assert_eq!(names(maildir.join("cur")), [hidden, "8.link"]);
}

#[test]
fn a_message_that_another_program_renames_is_still_the_same() {
    let place = Place::new();
    let bob = mailbox("bob@example.org");
    let maildir = place.root().join("example.org/bob");
    for content in [b"one\n", b"two\n"] {
        place.deliver(content, std::slice::from_ref(&bob));
    }
    let maildrop = place.open("bob@example.org");
    let before = summaries(&*maildrop.messages());
    for name in names(maildir.join("new")) {
        let flagged = maildir.join("cur").join(format!("{name}:2,"));
        fs::rename(maildir.join("new").join(&name), &flagged).unwrap();
        fs::rename(flagged, maildir.join("cur").join(format!("{name}:2,S"))).unwrap();
    }
    assert_eq!(contents(&maildrop), [b"one\n", b"two\n"]);
    drop(maildrop);
    let maildrop = place.open("bob@example.org");
    assert_eq!(summaries(&*maildrop.messages()), before);
    for name in names(maildir.join("cur")) {
        fs::rename(
            maildir.join("cur").join(&name),
            maildir.join("cur").join(name + "T"),
        )
        .unwrap();
    }
    maildrop.remove(&[1]).unwrap();
    drop(maildrop);
    let maildrop = place.open("bob@example.org");
    assert_eq!(contents(&maildrop), [b"one\n"]);
    assert_eq!(summaries(&*maildrop.messages()), before[..1]);
}

#[test]
fn a_message_that_another_program_removes_is_gone() {
    let place = Place::new();
    place.deliver(b"content\n", &[mailbox("bob@example.org")]);
    let maildrop = place.open("bob@example.org");
    let mut message = maildrop.open_message(0).unwrap();
    let new = place.root().join("example.org/bob/new");
    fs::remove_file(new.join(&names(&new)[0])).unwrap();
    let mut buffer = [0; 20];
    assert_eq!(
        message.read(&mut buffer).unwrap(),
        8,
        "an open message stays readable"
    );
    for index in [0, 1] {
        let error = maildrop.open_message(index).unwrap_err();
        assert!(matches!(error, Error::MessageGone { .. }), "{error:?}");
    }
    maildrop.remove(&[0]).unwrap();
    fs::remove_dir_all(place.root().join("example.org")).unwrap();
    maildrop.remove(&[0]).unwrap();
}

#[test]
fn a_message_with_two_names_is_listed_once_and_removed_completely() {
    let place = Place::new();
    let maildir = place.make_maildir("example.org/bob");
    for name in [
        "new/1.x.host",
        "cur/1.x.host:2,S",
        "cur/1.x.host:2,FS",
        "new/1.y.host",
    ] {
        fs::write(maildir.join(name), "content\n").unwrap();
    }
    let maildrop = place.open("bob@example.org");
    assert_eq!(maildrop.messages().len(), 2);
    maildrop.remove(&[0]).unwrap();
    assert!(names(maildir.join("cur")).is_empty());
    assert_eq!(names(maildir.join("new")), ["1.y.host"]);
}

#[test]
fn a_mailbox_that_somebody_removed_is_made_again() {
    let place = Place::new();
    let bob = [mailbox("bob@example.org")];
    for removed in ["example.org/bob/new", "example.org/bob", "example.org"] {
        place.deliver(b"content\n", &bob);
        fs::remove_dir_all(place.root().join(removed)).unwrap();
        assert!(place.open("bob@example.org").messages().is_empty());
        place.deliver(b"again\n", &bob);
        assert_eq!(
            contents(&place.open("bob@example.org")),
            [b"again\n"],
            "{removed}"
        );
        assert_eq!(
            names(place.root().join("example.org/bob")),
            ["cur", "new", "tmp"]
        );
        fs::remove_dir_all(place.root().join("example.org/bob")).unwrap();
    }
}

/// Opens a store after `spoil` has changed its directory. Returns the reason for the refusal.
fn refusal(spoil: impl FnOnce(&Path)) -> Option<String> {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("mail");
    spoil(&root);
    match open(&root) {
        Err(error @ Error::Unsafe { .. }) => Some(error.to_string()),
        Ok(_) => None,
        Err(other) => panic!("{other:?}"),
    }
}

fn make_with_mode(path: &Path, mode: u32) {
    fs::create_dir(path).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_store_that_others_could_change_is_refused() {
    for (mode, is_refused) in [
        (0o700, false),
        (0o755, false),
        (0o775, true),
        (0o702, true),
        (0o1777, true),
    ] {
        let reason = refusal(|root| make_with_mode(root, mode));
        assert_eq!(reason.is_some(), is_refused, "{mode:o}");
        assert!(reason.is_none_or(|reason| reason.contains("chmod go-w")));
        let reason = refusal(|root| {
            make_with_mode(root, 0o700);
            make_with_mode(&root.join(".facteur"), mode);
        });
        assert_eq!(reason.is_some(), is_refused, ".facteur {mode:o}");
    }
}

#[test]
fn a_store_of_another_user_is_refused() {
    for inner in [
        "",
        ".facteur",
        ".facteur/journal",
        ".facteur/journal/id",
        ".facteur/waiting",
    ] {
        let mut is_root = false;
        let reason = refusal(|root| {
            for directory in [root, &root.join(".facteur"), &root.join(".facteur/journal")] {
                make_with_mode(directory, 0o700);
            }
            make_with_mode(&root.join(".facteur/waiting"), 0o700);
            fs::write(root.join(".facteur/journal/id"), "").unwrap();
            is_root = chown(root.join(inner), Some(12_345), None).is_ok();
        });
        // Only the superuser can give a directory away.
        assert_eq!(
            reason.is_some_and(|reason| reason.contains("chown")),
            is_root,
            "{inner}"
        );
    }
}

#[test]
fn a_store_that_is_a_link_or_a_file_is_refused() {
    let elsewhere = TempDir::new().unwrap();
    assert!(refusal(|root| symlink(elsewhere.path(), root).unwrap()).is_some());
    assert!(refusal(|root| fs::write(root, "").unwrap()).is_some());
    for inner in [
        ".facteur",
        ".facteur/tmp",
        ".facteur/journal",
        ".facteur/waiting",
    ] {
        let reason = refusal(|root| {
            fs::create_dir_all(root.join(inner).parent().unwrap()).unwrap();
            symlink(elsewhere.path(), root.join(inner)).unwrap();
        });
        assert!(reason.is_some(), "{inner}");
    }
    assert!(names(elsewhere.path()).is_empty());
}

#[test]
fn a_file_of_another_program_is_an_entry_of_its_own_in_each_mailbox() {
    let place = Place::new();
    let (bob, ann) = (mailbox("bob@example.org"), mailbox("ann@example.org"));
    let directories = ["example.org/bob", "example.org/ann"].map(|it| place.make_maildir(it));
    for directory in &directories {
        fs::write(directory.join("new/1.other"), "one\n").unwrap();
    }
    let [id, other] = [&bob, &ann].map(|it| place.store.look(it).unwrap().id(0).unwrap());
    assert_ne!(id, other);
    assert!(id.to_string().starts_with("f-"), "{id}");
    let file = fs::File::open(directories[0].join("new/1.other")).unwrap();
    file.set_modified(UNIX_EPOCH + Duration::from_secs(1_234_567))
        .unwrap();
    let before = place.store.look(&bob).unwrap();
    let stamp = place.store.stamp(&bob).unwrap();
    fs::rename(
        directories[0].join("new/1.other"),
        directories[0].join("cur/1.other:2,S"),
    )
    .unwrap();
    assert_ne!(place.store.stamp(&bob).unwrap(), stamp);
    let after = place.store.look(&bob).unwrap();
    for look in [before, after] {
        assert_eq!(look.id(0), Some(id));
        assert_eq!(look.arrived_secs(0).unwrap(), 1_234_567);
    }
    let cursor = place.store.cursor();
    place.open("bob@example.org").remove(&[0]).unwrap();
    let news = place
        .store
        .watch(None, cursor)
        .unwrap()
        .news(Duration::ZERO)
        .unwrap();
    assert_eq!((news[0].change, news[0].id), (Change::Removed, id));
}

/// Long enough for any machine.
const CONNECT_TIME: Duration = Duration::from_mins(1);

#[test]
fn the_control_socket_is_private_and_exists_while_the_store_is_open() {
    let directory = TempDir::new().unwrap();
    // Longer than the name of a socket may be.
    let root = directory.path().join("m".repeat(140));
    let socket = root.join(".facteur/control");
    let missing = connect_control(&root, CONNECT_TIME).unwrap_err();
    assert_eq!(missing.kind(), std::io::ErrorKind::NotFound);
    for _ in 0..2 {
        let store = open(&root).unwrap();
        let listener = store.control().unwrap();
        assert_eq!(mode(&socket), 0o600);
        let mut client = connect_control(&root, CONNECT_TIME).unwrap();
        client.write_all(b"x").unwrap();
        let mut octet = [0];
        listener.accept().unwrap().0.read_exact(&mut octet).unwrap();
        assert_eq!(&octet, b"x");
        // Like after a crash: nobody listens at this name.
        drop(listener);
        let refused = connect_control(&root, CONNECT_TIME).unwrap_err();
        assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
        let listener = store.control().unwrap();
        connect_control(&root, CONNECT_TIME).unwrap();
        store.close().unwrap();
        assert!(!socket.exists());
        drop(listener);
    }
}

#[test]
fn the_control_socket_replaces_and_removes_nothing_else() {
    let place = Place::new();
    let path = place.root().join(".facteur/control");
    fs::write(&path, "kept").unwrap();
    let error = place.store.control().unwrap_err();
    assert!(error.to_string().contains("move it away"), "{error}");
    fs::remove_file(&path).unwrap();
    symlink("elsewhere", &path).unwrap();
    place.store.control().unwrap_err();
    assert!(!place.root().join(".facteur/elsewhere").exists());
    fs::remove_file(&path).unwrap();
    drop(place.store.control().unwrap());
    // Another file has its name when the store is closed.
    fs::remove_file(&path).unwrap();
    fs::write(&path, "kept").unwrap();
    place.store.close().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"kept");
    // A link in place of the directory is not followed.
    let elsewhere = TempDir::new().unwrap();
    symlink(
        place.root().join(".facteur"),
        elsewhere.path().join(".facteur"),
    )
    .unwrap();
    connect_control(elsewhere.path(), CONNECT_TIME).unwrap_err();
}

#[test]
fn a_lock_that_is_a_link_is_not_followed() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("mail");
    fs::create_dir_all(root.join(".facteur")).unwrap();
    symlink("../../elsewhere", root.join(".facteur/store.lock")).unwrap();
    let error = open(&root).unwrap_err();
    assert!(matches!(error, Error::CannotLock { .. }), "{error:?}");
    assert!(error.to_string().contains("move it away"), "{error}");
    assert!(!directory.path().join("elsewhere").exists());
}

#[test]
fn the_parent_directory_of_the_store_can_be_a_link_but_must_exist() {
    let directory = TempDir::new().unwrap();
    fs::create_dir(directory.path().join("real")).unwrap();
    symlink("real", directory.path().join("link")).unwrap();
    open(&directory.path().join("link/mail/")).unwrap();
    assert!(directory.path().join("real/mail/.facteur").is_dir());
    let error = open(&directory.path().join("none/mail")).unwrap_err();
    assert!(error.to_string().contains("must exist"), "{error}");
}

#[test]
fn links_in_place_of_mailboxes_are_not_followed() {
    for link in [
        "example.org",
        "example.org/bob",
        "example.org/bob/new",
        "example.org/bob/cur",
    ] {
        let place = Place::new();
        let elsewhere = TempDir::new().unwrap();
        for inner in ["bob/new", "bob/cur", "new", "cur"] {
            fs::create_dir_all(elsewhere.path().join(inner)).unwrap();
        }
        let link = place.root().join(link);
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(elsewhere.path(), &link).unwrap();

        let bob = mailbox("bob@example.org");
        let opened = place.store.open_maildrop(&bob);
        assert!(
            matches!(opened, Err(Error::Unsafe { .. })),
            "{link:?}: {opened:?}"
        );
        let delivered = place
            .store
            .begin_delivery(0)
            .unwrap()
            .commit(std::slice::from_ref(&bob));
        assert!(
            matches!(delivered, Err(Error::Unsafe { .. })),
            "{link:?}: {delivered:?}"
        );
        for inner in ["bob/new", "new", "cur"] {
            assert!(names(elsewhere.path().join(inner)).is_empty(), "{link:?}");
        }
        fs::remove_file(&link).unwrap();
        place.deliver(b"content\n", &[bob]);
    }
}

#[test]
fn a_message_replaced_by_a_link_is_not_followed() {
    let place = Place::new();
    place.deliver(b"content\n", &[mailbox("bob@example.org")]);
    let maildrop = place.open("bob@example.org");
    let new = place.root().join("example.org/bob/new");
    let path = new.join(&names(&new)[0]);
    fs::remove_file(&path).unwrap();
    symlink("/etc/passwd", &path).unwrap();
    let error = maildrop.open_message(0).unwrap_err();
    assert!(matches!(error, Error::Unsafe { .. }), "{error:?}");
}

#[test]
fn many_threads_deliver_and_read_and_every_message_is_there_once() {
    const N_THREADS: usize = 8;
    const N_MESSAGES: usize = 40;
    let place = Place::new();
    let open = [mailbox("all@example.org"), mailbox("all@example.net")];
    let barrier = Arc::new(Barrier::new(N_THREADS));
    thread::scope(|scope| {
        for writer in 0..N_THREADS {
            let (place, open, barrier) = (&place, &open, Arc::clone(&barrier));
            let own = mailbox(&format!("user{writer}@example.org"));
            let work = move || {
                barrier.wait();
                for n in 0..N_MESSAGES {
                    let content = format!("{writer}/{n}\n").repeat(100);
                    let recipients = [&open[..], std::slice::from_ref(&own)].concat();
                    place.deliver(content.as_bytes(), &recipients);
                    for name in &recipients {
                        match place.store.open_maildrop(name) {
                            Ok(maildrop) => {
                                let found = contents(&maildrop);
                                assert!(
                                    found.iter().all(|it| it.len() >= 400),
                                    "only whole messages"
                                );
                            }
                            Err(Error::InUse { .. }) => {}
                            Err(error) => panic!("{error:?}"),
                        }
                    }
                }
            };
            thread::Builder::new()
                .name(format!("writer-{writer}"))
                .spawn_scoped(scope, work)
                .unwrap();
        }
    });
    for (name, n_expected) in [
        ("all@example.org", N_THREADS * N_MESSAGES),
        ("all@example.net", N_THREADS * N_MESSAGES),
        ("user0@example.org", N_MESSAGES),
    ] {
        let maildrop = place.open(name);
        let mut found = contents(&maildrop);
        assert_eq!(found.len(), n_expected, "{name}");
        found.sort();
        found.dedup();
        assert_eq!(found.len(), n_expected, "{name}");
    }
}
