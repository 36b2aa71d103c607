//! The promises of every store, however it keeps its messages. Each test runs on every kind of
//! store.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{
        Barrier,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tempfile::TempDir;

use super::{Change, Durability, Error, Message, MessageStore, News, Settings};
use crate::{
    clock::{Clock, look_again},
    mail::{EntryId, MailboxName},
    testing::{
        model::{Fate, Model, Start},
        rng::Rng,
    },
};

/// Opens a store of one kind in a directory that may already have one.
type Open = fn(&Path) -> MessageStore;

fn open(place: &Path, durability: Durability) -> MessageStore {
    let mut settings = Settings::new(place.join("mail"), "host.example");
    settings.durability = durability;
    open_with(&settings)
}

/// Opens a store. A process that another test is starting has the descriptors of this one for a
/// moment, and with them the lock of a store that was just closed.
pub(super) fn open_with(settings: &Settings) -> MessageStore {
    loop {
        match MessageStore::open(settings.clone(), Clock::system()) {
            Err(Error::StoreInUse { .. }) => look_again(),
            opened => return opened.unwrap(),
        }
    }
}

/// All kinds of stores. Add a line here for a new one.
const KINDS: &[(&str, Open)] = &[
    ("journal", |place| open(place, Durability::default())),
    ("maildir", |place| open(place, Durability::Maildir)),
    ("none", |place| open(place, Durability::None)),
    #[cfg(feature = "postgres")]
    ("postgres", open_database),
];

/// Opens a store in a database that belongs to `place`, and keeps its name there.
#[cfg(feature = "postgres")]
fn open_database(place: &Path) -> MessageStore {
    use crate::testing::postgres::shared;

    let cluster = shared();
    let mark = place.join("database");
    let known = std::fs::read_link(&mark).ok();
    let known = known.map(|name| name.into_os_string().into_string().unwrap());
    let database = known.unwrap_or_else(|| {
        let database = cluster.new_database();
        std::os::unix::fs::symlink(&database, &mark).unwrap();
        database
    });
    let access = super::Access::parse(&cluster.access(&database), super::Secrets::default());
    let mut settings = Settings::new(place.join("mail"), "host.example");
    settings.database = Some(super::Database {
        access: access.unwrap(),
        is_single: true,
    });
    open_with(&settings)
}

fn mailbox(address: &str) -> MailboxName {
    let (local_part, domain) = address.split_once('@').unwrap();
    MailboxName::from_canonical(local_part, domain).unwrap()
}

fn mailboxes() -> [MailboxName; 3] {
    ["ann@a.example", "bob@a.example", "ann@b.example"].map(mailbox)
}

fn deliver(store: &MessageStore, content: &[u8], recipients: &[MailboxName]) -> Result<(), Error> {
    let mut delivery = store.begin_delivery(0)?;
    delivery.append(content)?;
    delivery.commit(recipients)
}

fn read(mut message: Message) -> Vec<u8> {
    let (mut content, mut buffer) = (Vec::new(), [0; 100]);
    loop {
        match message.read(&mut buffer).unwrap() {
            0 => return content,
            n_read => content.extend_from_slice(&buffer[..n_read]),
        }
    }
}

/// The ids of the messages in a mailbox.
fn ids(store: &MessageStore, mailbox: &MailboxName) -> BTreeSet<EntryId> {
    let look = store.look(mailbox).unwrap();
    let ids = (0..look.messages().len()).map(|index| look.id(index).unwrap());
    ids.collect()
}

/// Runs one script of deliveries, removals and restarts, and compares the store with the naive
/// model.
fn play(open: Open, seed: u64) -> Result<(), String> {
    let place = TempDir::new().unwrap();
    let mut store = open(place.path());
    let (mut model, mut rng) = (Model::default(), Rng::new(seed));
    let mailboxes = mailboxes();
    for step in 0..40 {
        match rng.below(10) {
            0..5 => {
                let content = format!("{step}\n")
                    .repeat(rng.below(60).max(1))
                    .into_bytes();
                let first = rng.below(mailboxes.len());
                let recipients = &mailboxes[first..];
                deliver(&store, &content, recipients).unwrap();
                for recipient in recipients {
                    model.note(recipient, &content, Fate::Accepted);
                }
            }
            5 => {
                let mut given_up = store.begin_delivery(0).unwrap();
                given_up.append(b"given up\n").unwrap();
            }
            6..8 => {
                let mailbox = &mailboxes[rng.below(mailboxes.len())];
                let maildrop = store.open_maildrop(mailbox).unwrap();
                let n_messages = maildrop.messages().len();
                let removed: Vec<usize> = (0..n_messages).filter(|_| rng.below(3) == 0).collect();
                for &index in &removed {
                    let content = read(maildrop.open_message(index).unwrap());
                    model.note(mailbox, &content, Fate::Gone);
                }
                maildrop.remove(&removed).unwrap();
            }
            8 => {
                drop(store);
                store = open(place.path());
            }
            _ => model.check(&store, Start::Same)?,
        }
    }
    model.check(&store, Start::Same)
}

/// I1, I2, I3 and I6, except for what needs a crash.
#[test]
fn every_store_behaves_like_the_model() {
    for &(kind, open) in KINDS {
        for seed in 0..6 {
            play(open, seed).unwrap_or_else(|fault| panic!("{kind}, seed {seed}: {fault}"));
        }
    }
}

#[test]
fn a_look_blocks_nobody_and_sees_what_was_there() {
    for &(kind, open) in KINDS {
        let place = TempDir::new().unwrap();
        let store = open(place.path());
        let [ann, bob, _] = mailboxes();
        assert!(store.look(&ann).unwrap().messages().is_empty(), "{kind}");
        assert!(
            !store.has_mailbox(&ann).unwrap(),
            "{kind}: looking creates nothing"
        );
        deliver(&store, b"one\n", &[ann.clone(), bob.clone()]).unwrap();
        let maildrop = store.open_maildrop(&ann).unwrap();
        // Twice: the second listing may come from memory.
        let looks = [store.look(&ann).unwrap(), store.look(&ann).unwrap()];
        deliver(&store, b"two\n", std::slice::from_ref(&ann)).unwrap();
        maildrop.remove(&[0]).unwrap();
        drop(maildrop);
        for look in &looks {
            assert_eq!(look.messages().len(), 1, "{kind}");
        }
        let gone = looks[0].open_message(0).unwrap_err();
        assert!(matches!(gone, Error::MessageGone { .. }), "{kind}: {gone}");
        let after = store.look(&ann).unwrap();
        assert_eq!(after.messages().len(), 1, "{kind}");
        assert_eq!(read(after.open_message(0).unwrap()), b"two\n", "{kind}");
        assert_eq!(ids(&store, &bob).len(), 1, "{kind}");
    }
}

#[test]
fn copies_of_a_message_have_one_id_and_the_time_of_its_delivery() {
    for &(kind, open) in KINDS {
        let place = TempDir::new().unwrap();
        let store = open(place.path());
        let [ann, bob, other] = mailboxes();
        let before = Clock::system().unix_time().as_secs();
        deliver(&store, b"one\n", &[ann.clone(), bob.clone()]).unwrap();
        deliver(&store, b"two\n", std::slice::from_ref(&other)).unwrap();
        let after = Clock::system().unix_time().as_secs();
        assert_eq!(ids(&store, &ann), ids(&store, &bob), "{kind}");
        assert_ne!(ids(&store, &ann), ids(&store, &other), "{kind}");
        let look = store.look(&ann).unwrap();
        let arrived = look.arrived_secs(0).unwrap();
        assert!((before..=after).contains(&arrived), "{kind}");
        let id = look.id(0).unwrap();
        assert_eq!(EntryId::parse(&id.to_string()), Some(id), "{kind}");
        assert_eq!(look.id(1), None, "{kind}");
        let gone = look.arrived_secs(1).unwrap_err();
        assert!(matches!(gone, Error::MessageGone { .. }), "{kind}");
        let kept = ids(&store, &bob);
        drop(look);
        drop(store);
        assert_eq!(ids(&open(place.path()), &bob), kept, "{kind}");
    }
}

/// Stamps of the same state become equal, and those of different states never are.
#[test]
fn a_stamp_differs_after_every_change() {
    for &(kind, open) in KINDS {
        let place = TempDir::new().unwrap();
        let store = open(place.path());
        let [ann, bob, _] = mailboxes();
        let stamp = || store.stamp(&ann).unwrap();
        assert_eq!(stamp(), stamp(), "{kind}: there is no mailbox");
        let mut earlier = vec![stamp()];
        for number in 0..10 {
            if number % 3 == 2 {
                store.open_maildrop(&ann).unwrap().remove(&[0]).unwrap();
            } else {
                deliver(&store, b"one\n", &[ann.clone(), bob.clone()]).unwrap();
            }
            let now = stamp();
            assert!(!earlier.contains(&now), "{kind}, {number}");
            earlier.push(now);
        }
        while stamp() != stamp() {
            thread::yield_now();
        }
    }
}

#[test]
fn any_part_of_a_message_can_be_read_in_any_order() {
    for &(kind, open) in KINDS {
        let place = TempDir::new().unwrap();
        let store = open(place.path());
        let [ann, ..] = mailboxes();
        let content: Vec<u8> = (0..=255)
            .cycle()
            .filter(|it| *it != b'\r')
            .take(9_000)
            .collect();
        deliver(&store, &content, std::slice::from_ref(&ann)).unwrap();
        let mut message = store.look(&ann).unwrap().open_message(0).unwrap();
        let octets = message.octets_on_disk().unwrap();
        assert_eq!(octets, u64::try_from(content.len()).unwrap(), "{kind}");
        let check = |message: &Message, offset: usize, wanted: usize| {
            let mut buffer = vec![0; wanted];
            let n_read = message
                .read_at(offset.try_into().unwrap(), &mut buffer)
                .unwrap();
            let rest = content.get(offset..).unwrap_or_default();
            assert_eq!(
                buffer[..n_read],
                rest[..rest.len().min(wanted)],
                "{kind} {offset}"
            );
        };
        let mut rng = Rng::new(1);
        for _ in 0..200 {
            check(&message, rng.below(10_000), rng.below(6_000));
        }
        for (offset, wanted) in [(0, 0), (0, 9_000), (0, 9_001), (8_999, 2), (9_000, 1)] {
            check(&message, offset, wanted);
        }
        // Reading from the start to the end is not disturbed.
        let mut first = [0; 10];
        assert_eq!(message.read(&mut first).unwrap(), 10, "{kind}");
        check(&message, 5_000, 10);
        assert_eq!(read(message), content[10..], "{kind}");
        let message = store.look(&ann).unwrap().open_message(0).unwrap();
        assert_eq!(
            message.read_at(u64::MAX, &mut first).unwrap_or(0),
            0,
            "{kind}"
        );
    }
}

#[test]
fn every_mailbox_is_listed_once() {
    for &(kind, open) in KINDS {
        let place = TempDir::new().unwrap();
        let store = open(place.path());
        let listed = || {
            let mut listed = Vec::new();
            let hidden = store
                .each_mailbox(&mut |mailbox| listed.push(mailbox))
                .unwrap();
            assert!(hidden.is_none(), "{kind}");
            listed.sort();
            listed
        };
        assert_eq!(listed(), [], "{kind}");
        let mut mailboxes = mailboxes();
        deliver(&store, b"one\n", &mailboxes).unwrap();
        mailboxes.sort();
        assert_eq!(listed(), mailboxes, "{kind}");
    }
}

#[test]
fn a_watch_reports_each_message_once_in_each_of_its_mailboxes() {
    for &(kind, open) in KINDS {
        let place = TempDir::new().unwrap();
        let store = open(place.path());
        let [ann, bob, _] = mailboxes();
        deliver(&store, b"before\n", std::slice::from_ref(&ann)).unwrap();
        let mut watch = store.watch(None, store.cursor()).unwrap();
        let mut reported = || watch.news(Duration::ZERO).unwrap();
        assert_eq!(reported(), [], "{kind}");
        deliver(&store, b"one\n", &[ann.clone(), bob.clone()]).unwrap();
        // Too large to be held in memory, so it is delivered another way.
        deliver(
            &store,
            &b"large\n".repeat(100_000),
            std::slice::from_ref(&bob),
        )
        .unwrap();
        let news = reported();
        let of = |news: &[News], mailbox: &MailboxName| -> BTreeSet<EntryId> {
            let of = news.iter().filter(|news| news.mailbox == *mailbox);
            of.map(|news| news.id).collect()
        };
        assert_eq!(news.len(), 3, "{kind}");
        assert!(news.iter().all(|it| it.change == Change::Arrived), "{kind}");
        assert_eq!(of(&news, &bob), ids(&store, &bob), "{kind}");
        assert!(of(&news, &ann).is_subset(&ids(&store, &ann)), "{kind}");
        let before = ids(&store, &ann);
        store.open_maildrop(&ann).unwrap().remove(&[0, 1]).unwrap();
        let news = reported();
        assert!(news.iter().all(|it| it.change == Change::Removed), "{kind}");
        assert_eq!(of(&news, &ann), before, "{kind}");
        assert_eq!(reported(), [], "{kind}");
    }
}

/// Taking a cursor, listing, and then watching misses nothing, whatever is delivered meanwhile.
#[test]
fn messages_missing_from_a_list_are_reported_by_a_watch_from_a_cursor_before_it() {
    const MESSAGES: usize = 60;
    for &(kind, open) in KINDS {
        let place = TempDir::new().unwrap();
        let store = open(place.path());
        let [ann, bob, _] = mailboxes();
        let (both, is_over) = (Barrier::new(3), AtomicBool::new(false));
        thread::scope(|scope| {
            let deliveries = [1, 2].map(|sender| {
                let (store, both, ann) = (&store, &both, &ann);
                scope.spawn(move || {
                    both.wait();
                    for number in 0..MESSAGES {
                        let content = format!("{sender} {number}\n").into_bytes();
                        deliver(store, &content, std::slice::from_ref(ann)).unwrap();
                    }
                })
            });
            let (store, both, ann, is_over) = (&store, &both, &ann, &is_over);
            let watcher = scope.spawn(move || {
                both.wait();
                let mut rounds = Vec::new();
                while rounds.len() < 3 {
                    let cursor = store.cursor();
                    let seen = ids(store, ann);
                    rounds.push((store.watch(Some(ann), cursor).unwrap(), seen));
                }
                while !is_over.load(Ordering::Acquire) {
                    thread::yield_now();
                }
                for (mut watch, mut seen) in rounds {
                    let news = watch.news(Duration::ZERO).unwrap();
                    seen.extend(news.into_iter().map(|news| news.id));
                    assert_eq!(seen, ids(store, ann), "{kind}");
                }
            });
            for delivery in deliveries {
                delivery.join().unwrap();
            }
            is_over.store(true, Ordering::Release);
            watcher.join().unwrap();
        });
        assert_eq!(ids(&store, &ann).len(), 2 * MESSAGES, "{kind}");
        assert!(ids(&store, &bob).is_empty(), "{kind}");
    }
}
