//! One mailbox that does not accept mail, or is on another device: it affects no other mailbox, and
//! none of its mail is lost, duplicated or brought back. Power cuts at arbitrary moments are tested
//! in `crash.rs`.

use std::{
    path::Path,
    sync::{Arc, mpsc::channel},
    time::Duration,
};

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::{
    fs::Fs as _,
    mail::MailboxName,
    store::{
        Durability, Error, Event, MessageStore, Observer, Settings,
        limits::{AILING_REMINDER, CURE_PACE},
        maildir::{Patience, checkpoint, cure},
    },
    testing::{
        disk::{Fault, SimFs},
        model::{read, summaries},
    },
};

use super::{
    journal::{contents, deliver, deliver_to, maildrop},
    mailbox,
};

const NEW: &str = "/mail/example.org/bob/new";
const CUR: &str = "/mail/example.org/bob/cur";
const WAITING: &str = "/mail/.facteur/waiting/example.org/bob";

/// Far longer than anything here needs, so that only a hang reaches it.
const DEADLINE: Duration = Duration::from_secs(30);

/// Too large for the journal.
const LARGE: usize = 600_000;

/// A store, and the events that it reported.
struct Observed {
    store: MessageStore,
    events: Arc<Mutex<Vec<String>>>,
}

impl Observed {
    fn open(fs: &SimFs) -> Self {
        Self::open_with(fs, Durability::default())
    }

    fn open_with(fs: &SimFs, durability: Durability) -> Self {
        let events: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&events);
        let settings = Settings {
            durability,
            observer: Observer::new(move |event| {
                let cure = event.cure().unwrap_or_default();
                noted.lock().push(format!("{event}. {cure}"));
            }),
            ..Settings::new("/mail", "host.example")
        };
        let (fs, clock) = (Arc::new(fs.clone()), fs.clock());
        let store = MessageStore::open_quietly(fs, settings, clock, Patience::default());
        let store = store.unwrap();
        Self { store, events }
    }

    /// The events reported since the last call.
    fn events(&self) -> Vec<String> {
        std::mem::take(&mut *self.events.lock())
    }

    fn contents_of(&self, address: &str) -> Vec<String> {
        let maildrop = self.store.open_maildrop(&mailbox(address)).unwrap();
        let messages = maildrop.messages();
        (0..messages.len())
            .map(|index| String::from_utf8(read(&maildrop, index).unwrap()).unwrap())
            .collect()
    }

    fn is_settled(&self) -> bool {
        let progress = self
            .store
            .maildirs()
            .open
            .journal
            .as_ref()
            .unwrap()
            .progress();
        progress.settled >= progress.durable.saturating_sub(1)
    }
}

fn timeless() -> SimFs {
    let fs = SimFs::new();
    fs.make_timeless();
    fs
}

fn both() -> [MailboxName; 2] {
    [mailbox("bob@example.org"), mailbox("ann@example.org")]
}

fn refuse(fs: &SimFs, path: &str) {
    assert!(fs.refuse_entries(Path::new(path), true), "{path}");
}

fn n_entries(fs: &SimFs, path: &str) -> usize {
    fs.read_dir(Path::new(path)).map_or(0, |found| found.len())
}

/// A store where bob's mailbox breaks while a message to him and ann is on its way.
fn with_one_waiting(fs: &SimFs) -> Observed {
    let observed = Observed::open(fs);
    deliver(&observed.store, "one\n").unwrap();
    refuse(fs, NEW);
    deliver_to(&observed.store, "two\n", &both()).unwrap();
    observed
}

#[test]
fn mail_that_one_mailbox_cannot_accept_waits_and_holds_up_nobody() {
    let fs = timeless();
    let observed = with_one_waiting(&fs);
    let [bob, ann] = both();
    assert_eq!(observed.contents_of("ann@example.org"), ["two\n"]);
    assert_eq!(contents(&observed.store), ["one\n"]);
    let refused = observed.store.check_recipient(&bob).unwrap_err();
    assert!(refused.needs_operator(), "{refused:?}");
    observed.store.check_recipient(&ann).unwrap();
    deliver_to(&observed.store, "three\n", &[ann]).unwrap();
    // The journal is not held up either.
    checkpoint::checkpoint_when_idle(&observed.store.maildirs().open).unwrap();
    assert!(observed.is_settled());
    let events = observed.events();
    assert_eq!(events.len(), 1, "it is reported once: {events:?}");
    assert!(
        events[0].contains("bob@example.org; 1 message waits for it"),
        "{events:?}"
    );
    assert!(events[0].contains("chown"), "{events:?}");

    fs.accept_entries();
    observed.store.check_recipient(&bob).unwrap();
    assert_eq!(contents(&observed.store), ["one\n", "two\n"]);
    assert_eq!(n_entries(&fs, WAITING), 0);
    let events = observed.events();
    assert!(
        events[0].contains("1 message that waited was delivered"),
        "{events:?}"
    );
    observed.store.abandon();
    let observed = Observed::open(&fs.power_cut(0));
    assert_eq!(contents(&observed.store), ["one\n", "two\n"]);
    assert_eq!(
        observed.contents_of("ann@example.org"),
        ["two\n", "three\n"],
        "in order"
    );
}

#[test]
fn a_message_that_is_too_large_for_the_journal_waits_too() {
    for durability in [Durability::default(), Durability::Maildir] {
        let fs = timeless();
        let observed = Observed::open_with(&fs, durability);
        deliver(&observed.store, "one\n").unwrap();
        refuse(&fs, NEW);
        let large = "a line\n".repeat(LARGE / 7);
        deliver_to(&observed.store, &large, &both()).unwrap();
        assert_eq!(observed.contents_of("ann@example.org"), [large.as_str()]);
        assert_eq!(n_entries(&fs, "/mail/.facteur/tmp"), 0);
        observed.store.abandon();
        let fs = fs.power_cut(0);
        let observed = Observed::open_with(&fs, durability);
        assert_eq!(observed.contents_of("ann@example.org"), [large.as_str()]);
        fs.accept_entries();
        assert_eq!(contents(&observed.store), [large.as_str(), "one\n"]);
    }
}

/// Refusing it harms nobody, and the sender is informed.
#[test]
fn a_message_only_for_the_broken_mailbox_is_refused() {
    for content in ["two\n", &"a line\n".repeat(LARGE / 7)] {
        let fs = timeless();
        let observed = with_one_waiting(&fs);
        let refused = deliver(&observed.store, content).unwrap_err();
        assert!(matches!(refused, Error::Io { .. }), "{refused:?}");
        assert_eq!(n_entries(&fs, WAITING), 1);
        fs.accept_entries();
        assert_eq!(contents(&observed.store), ["one\n", "two\n"]);
    }
}

/// When a message to several recipients fails, it is refused for all of them only once. After that
/// the broken mailbox is known.
#[test]
fn a_domain_that_cannot_be_written_affects_no_other() {
    let fs = timeless();
    let observed = Observed::open(&fs);
    deliver(&observed.store, "one\n").unwrap();
    refuse(&fs, "/mail/example.org");
    let [_, ann] = both();
    let cid = mailbox("cid@example.net");
    let refused = observed.store.check_recipient(&ann).unwrap_err();
    assert!(
        refused.to_string().contains("/mail/example.org"),
        "{refused}"
    );
    deliver_to(&observed.store, "two\n", &[ann, cid]).unwrap();
    assert_eq!(observed.contents_of("cid@example.net"), ["two\n"]);
    deliver(&observed.store, "three\n").unwrap();
    fs.accept_entries();
    assert_eq!(observed.contents_of("ann@example.org"), ["two\n"]);
    assert_eq!(contents(&observed.store), ["one\n", "three\n"]);
}

/// Whoever sends the message again to those that are left out must not find it there twice.
#[test]
fn a_broken_mailbox_can_be_left_out() {
    let large = &"a line\n".repeat(LARGE / 7);
    let [bob, ann] = both();
    let cid = mailbox("cid@example.net");
    for (broken, left_out, recipients, content) in [
        (
            "/mail/example.org",
            &ann,
            [ann.clone(), cid.clone()],
            "two\n",
        ),
        ("/mail/example.org", &ann, [cid.clone(), ann.clone()], large),
        (NEW, &bob, [bob.clone(), cid.clone()], large),
    ] {
        let fs = timeless();
        let observed = Observed::open(&fs);
        deliver(&observed.store, "one\n").unwrap();
        refuse(&fs, broken);
        let mut delivery = observed.store.begin_delivery(0).unwrap();
        delivery.append(content.as_bytes()).unwrap();
        let returned = delivery.commit_where_possible(&recipients).unwrap();
        let returned: Vec<&MailboxName> = returned.iter().map(|(mailbox, _)| mailbox).collect();
        assert_eq!(returned, [left_out]);
        assert_eq!(observed.contents_of("cid@example.net"), [content]);
        assert_eq!(n_entries(&fs, "/mail/.facteur/waiting"), 0);
        assert_eq!(n_entries(&fs, "/mail/.facteur/tmp"), 0);
        let refused = observed.store.check_recipient(left_out).unwrap_err();
        assert!(refused.needs_operator(), "{refused:?}");
        fs.accept_entries();
        observed.store.check_recipient(left_out).unwrap();
        observed.store.abandon();
        let observed = Observed::open(&fs.power_cut(0));
        assert_eq!(observed.contents_of("cid@example.net"), [content]);
        assert_eq!(observed.contents_of("ann@example.org"), [""; 0]);
        assert_eq!(contents(&observed.store), ["one\n"]);
    }
}

/// A replay finds them one by one, and reports the first immediately.
#[test]
fn a_start_reports_the_total_of_waiting_messages() {
    let fs = timeless();
    let observed = Observed::open(&fs);
    for content in ["one\n", "two\n", "three\n"] {
        deliver_to(&observed.store, content, &both()).unwrap();
    }
    refuse(&fs, NEW);
    observed.store.abandon();
    // All of them are durable only in the journal.
    let fs = fs.power_cut(3);
    let n_left = n_entries(&fs, NEW);
    let observed = Observed::open(&fs);
    let events = observed.events();
    let expected = format!("; {} messages wait for it", 3 - n_left);
    assert!(
        events.iter().any(|event| event.contains(&expected)),
        "{n_left}: {events:?}"
    );
}

#[test]
fn a_start_serves_all_other_mailboxes_and_reports_what_waits() {
    for seed in 0..8 {
        let fs = timeless();
        let observed = Observed::open(&fs);
        deliver_to(&observed.store, "one\n", &both()).unwrap();
        refuse(&fs, NEW);
        observed.store.abandon();
        // The journal has the message; the mailbox may not have it.
        let fs = fs.power_cut(seed);
        let observed = Observed::open(&fs);
        let events = observed.events();
        let ailing = events.iter().filter(|event| event.contains("bob@"));
        assert_eq!(ailing.count(), 1, "{events:?}");
        assert_eq!(observed.contents_of("ann@example.org"), ["one\n"]);
        deliver_to(&observed.store, "two\n", &both()[1..]).unwrap();
        // Again, with an empty journal.
        observed.store.close().unwrap();
        drop(observed);
        let fs = fs.kill();
        let observed = Observed::open(&fs);
        let events = observed.events();
        assert!(events[0].contains("1 message waits for it"), "{events:?}");
        fs.accept_entries();
        assert_eq!(contents(&observed.store), ["one\n"]);
        assert_eq!(n_entries(&fs, WAITING), 0);
    }
}

/// `cur` may hide whether the message is already there.
#[test]
fn messages_moved_to_cur_are_not_delivered_again() {
    let fs = timeless();
    let observed = with_one_waiting(&fs);
    let unique_id = |observed: &Observed| {
        let messages = maildrop(&observed.store).messages();
        let summaries = summaries(&*messages);
        (summaries.len(), summaries.last().unwrap().unique_id.clone())
    };
    // It is delivered, but cannot be removed from the waiting place.
    fs.accept_entries();
    refuse(&fs, WAITING);
    let (n_messages, first) = unique_id(&observed);
    assert_eq!((n_messages, n_entries(&fs, WAITING)), (2, 1));
    let mut names = fs.read_dir(Path::new(NEW)).unwrap();
    names.sort_by(|left, right| left.name.cmp(&right.name));
    let file_name = names.pop().unwrap().name;
    let mut flagged = file_name.clone();
    flagged.push(":2,S");
    let moved = Path::new(CUR).join(flagged);
    fs.rename(&Path::new(NEW).join(file_name), &moved).unwrap();
    fs.accept_entries();
    assert_eq!(
        unique_id(&observed),
        (2, first),
        "the same message, only once"
    );
    assert_eq!(n_entries(&fs, WAITING), 0);
    assert_eq!((n_entries(&fs, NEW), n_entries(&fs, CUR)), (1, 1));
}

/// I2.
#[test]
fn a_waiting_message_that_is_removed_does_not_come_back() {
    let fs = timeless();
    let observed = with_one_waiting(&fs);
    fs.accept_entries();
    refuse(&fs, WAITING);
    let maildrop = maildrop(&observed.store);
    assert_eq!((maildrop.messages().len(), n_entries(&fs, WAITING)), (2, 1));
    maildrop.remove(&[1]).unwrap_err();
    fs.accept_entries();
    maildrop.remove(&[0, 1]).unwrap();
    drop(maildrop);
    assert!(contents(&observed.store).is_empty());
    observed.store.abandon();
    assert!(contents(&Observed::open(&fs.power_cut(0)).store).is_empty());
}

#[test]
fn a_mailbox_that_nobody_uses_is_retried_after_a_while_and_reported_again() {
    let fs = timeless();
    let observed = with_one_waiting(&fs);
    observed.events();
    let waiting = &observed.store.maildirs().open.waiting;
    let until_due = || waiting.until_due(fs.clock().now());
    assert_eq!(until_due(), Some(CURE_PACE));
    fs.hands().pass(CURE_PACE);
    assert_eq!(until_due(), Some(Duration::ZERO));
    cure::cure_all(&observed.store.maildirs().open);
    assert_eq!(until_due(), Some(CURE_PACE));
    assert!(observed.events().is_empty());
    fs.hands().pass(AILING_REMINDER);
    cure::cure_all(&observed.store.maildirs().open);
    assert_eq!(observed.events().len(), 1);
    fs.accept_entries();
    cure::cure_all(&observed.store.maildirs().open);
    assert_eq!(until_due(), None);
    assert_eq!(n_entries(&fs, NEW), 2);
}

/// With the thread that a daemon has.
#[test]
fn a_broken_mailbox_is_retried_although_nobody_uses_it() {
    for durability in [Durability::default(), Durability::Maildir] {
        let fs = timeless();
        let (cured_out, cured_in) = channel();
        let settings = Settings {
            durability,
            observer: Observer::new(move |event| {
                if let Event::MailboxCured { delivered, .. } = event {
                    cured_out.send(*delivered).unwrap();
                }
            }),
            ..Settings::new("/mail", "host.example")
        };
        let store = MessageStore::open_on(Arc::new(fs.clone()), settings, fs.clock()).unwrap();
        deliver(&store, "one\n").unwrap();
        refuse(&fs, NEW);
        deliver_to(&store, "two\n", &both()).unwrap();
        fs.accept_entries();
        // Starting now, if the thread has not looked at it yet.
        store.maildirs().open.waiting.until_due(fs.clock().now());
        fs.hands().pass(CURE_PACE);
        // The thread waits by a clock that the test cannot move.
        store.maildirs().open.checkpoints.notice();
        assert_eq!(cured_in.recv_timeout(DEADLINE), Ok(1));
        assert_eq!(n_entries(&fs, NEW), 2);
    }
}

/// A store in which a sync failed, so that everything in the journal has to be rewritten, and one
/// mailbox cannot be.
fn with_one_not_written_anew(fs: &SimFs) -> Observed {
    let observed = Observed::open(fs);
    deliver_to(&observed.store, "one\n", &both()).unwrap();
    refuse(fs, NEW);
    // The sync of the whole file system comes first.
    fs.fail(Fault {
        at: fs.n_operations().saturating_add(1),
        errno: Errno::IO,
        is_done: false,
    });
    checkpoint::checkpoint_when_idle(&observed.store.maildirs().open).unwrap();
    observed
}

#[test]
fn a_mailbox_that_cannot_be_rewritten_does_not_hold_up_checkpoints() {
    for is_gone in [false, true] {
        let fs = timeless();
        let observed = with_one_not_written_anew(&fs);
        assert!(observed.is_settled());
        fs.accept_entries();
        if is_gone {
            for entry in fs.read_dir(Path::new(NEW)).unwrap() {
                fs.unlink(&Path::new(NEW).join(entry.name)).unwrap();
            }
        }
        cure::cure_all(&observed.store.maildirs().open);
        assert_eq!(n_entries(&fs, WAITING), 0);
        observed.store.abandon();
        let found = contents(&Observed::open(&fs.power_cut(0)).store);
        assert_eq!(found.is_empty(), is_gone, "{found:?}");
    }
}

/// The power is cut before that mailbox is repaired, so its message may be missing.
#[test]
fn a_message_waiting_to_be_rewritten_is_delivered_if_the_disk_lost_it() {
    let fs = timeless();
    with_one_not_written_anew(&fs).store.abandon();
    let found = fs.power_cut(0);
    let observed = Observed::open(&found);
    assert_eq!(contents(&observed.store), [""; 0]);
    found.accept_entries();
    assert_eq!(contents(&observed.store), ["one\n"]);
    assert_eq!(n_entries(&found, WAITING), 0);
}

/// A sync of the store's file system does not cover the mailbox.
#[test]
fn a_mailbox_on_another_device_is_durable_when_it_is_acknowledged() {
    for part in ["bob", "bob/new", "bob/tmp", ""] {
        let fs = timeless();
        fs.split_at(&Path::new("/mail/example.org").join(part));
        let observed = Observed::open(&fs);
        let large = "a line\n".repeat(LARGE / 7);
        deliver_to(&observed.store, "one\n", &both()).unwrap();
        deliver_to(&observed.store, &large, &both()).unwrap();
        checkpoint::checkpoint_when_idle(&observed.store.maildirs().open).unwrap();
        assert!(observed.is_settled());
        assert_eq!(n_entries(&fs, "/mail/.facteur/tmp"), 0, "{part}");
        assert_eq!(n_entries(&fs, "/mail/example.org/bob/tmp"), 0, "{part}");
        observed.store.abandon();
        let observed = Observed::open(&fs.power_cut(0));
        for address in ["ann@example.org", "bob@example.org"] {
            let mut found = observed.contents_of(address);
            found.sort();
            assert_eq!(found, [large.as_str(), "one\n"], "{part}");
        }
    }
}

/// Messages in transit, and those that wait, are on another device than the mailboxes.
#[test]
fn a_spool_on_another_device_is_copied_from() {
    let fs = timeless();
    fs.split_at(Path::new("/mail/.facteur/tmp"));
    let observed = with_one_waiting(&fs);
    assert_eq!(observed.contents_of("ann@example.org"), ["two\n"]);
    observed.store.abandon();
    let fs = fs.power_cut(0);
    let observed = Observed::open(&fs);
    fs.accept_entries();
    assert_eq!(contents(&observed.store), ["one\n", "two\n"]);
}

#[test]
fn files_are_rewritten_even_where_names_cannot_be_exchanged() {
    let fs = timeless();
    fs.refuse_exchange();
    let observed = Observed::open(&fs);
    deliver(&observed.store, "one\n").unwrap();
    deliver(&observed.store, "two\n").unwrap();
    maildrop(&observed.store).remove(&[0]).unwrap();
    fs.fail(Fault {
        at: fs.n_operations().saturating_add(1),
        errno: Errno::IO,
        is_done: false,
    });
    checkpoint::checkpoint_when_idle(&observed.store.maildirs().open).unwrap();
    assert!(observed.is_settled());
    observed.store.abandon();
    assert_eq!(contents(&Observed::open(&fs.power_cut(0)).store), ["two\n"]);
}
