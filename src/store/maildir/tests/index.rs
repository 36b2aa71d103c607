//! Compares remembered listings with new readings, whatever deliveries, sessions, other programs
//! and the clock do between two logins.

#![expect(clippy::arithmetic_side_effects, reason = "tests count small things")]

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::OsString,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use proptest::prelude::*;

use crate::{
    fs::{Fs as _, Kind},
    mail::{MailboxName, Summaries},
    store::{
        Error, Maildrop, Memory, MessageStore, Settings,
        limits::{INDEX_CLOCK_TOLERANCE, INDEX_QUIET, LISTED_OCTETS_MAX},
        maildir::{Patience, listing::Listed, view::count_sizes},
        name::OwnName,
        quota::Taken,
    },
    testing::{
        bugs::{self, Bug},
        disk::{Defect, SimFs, Times},
        model::{read, sent_octets, summaries},
    },
};

use super::mailbox;

const ROOT: &str = "/mail";

/// One event in the life of the mailbox.
#[derive(Clone, Debug)]
enum Event {
    Deliver,
    /// A client logs in, and removes some of the messages, or none.
    Login {
        removed: Vec<usize>,
    },
    /// Another program marks a message as seen, or changes its flags.
    Move(usize),
    /// Another program delivers a message, with or without its size in the name.
    Add {
        is_sized: bool,
    },
    /// Another program appends to a message.
    Rewrite(usize),
    /// Another program puts another file in the place of a message, by renaming it over the old one
    /// or by removing that first.
    Replace {
        choice: usize,
        is_atomic: bool,
    },
    /// Another program adds a message with the base of one that is there.
    AddTwin(usize),
    /// Somebody looks.
    Look,
    /// Another program removes a message.
    Unlink(usize),
    /// Somebody removes the mailbox.
    RemoveMailbox,
    Pass(Duration),
    SetBack(Duration),
    SetForward(Duration),
}

fn any_event() -> impl Strategy<Value = Event> {
    let millis = |range| Strategy::prop_map(range, Duration::from_millis);
    let removed = prop_oneof![
        4 => Just(Vec::new()),
        1 => proptest::collection::vec(0..20_usize, 0..3),
    ];
    prop_oneof![
        3 => Just(Event::Deliver),
        12 => removed.prop_map(|removed| Event::Login { removed }),
        1 => (0..20_usize).prop_map(Event::Move),
        3 => any::<bool>().prop_map(|is_sized| Event::Add { is_sized }),
        1 => (0..20_usize).prop_map(Event::Rewrite),
        1 => (0..20_usize, any::<bool>())
            .prop_map(|(choice, is_atomic)| Event::Replace { choice, is_atomic }),
        1 => (0..20_usize).prop_map(Event::AddTwin),
        4 => Just(Event::Look),
        1 => (0..20_usize).prop_map(Event::Unlink),
        1 => prop_oneof![9 => Just(Event::Pass(Duration::ZERO)), 1 => Just(Event::RemoveMailbox)],
        8 => millis(0..6_000_u64).prop_map(Event::Pass),
        1 => millis(0..600_u64).prop_map(Event::SetBack),
        1 => millis(0..9_000_u64).prop_map(Event::SetBack),
        // Too far to be undone by setting the clock back; see the known limits of the index.
        1 => millis(10_000_000..90_000_000_u64).prop_map(Event::SetForward),
    ]
}

/// A mailbox on a simulated disk.
struct Place {
    fs: SimFs,
    store: Arc<MessageStore>,
    bob: MailboxName,
    n_added: usize,
    n_hits: usize,
    /// The sizes that each file without one in its name had when it was listed, by its inode.
    sizes: BTreeMap<u64, BTreeSet<u64>>,
}

/// A directory of the mailbox.
fn directory(name: &str) -> PathBuf {
    Path::new(ROOT).join("example.org/bob").join(name)
}

impl Place {
    fn new() -> Self {
        Self::with_memory(Memory::default())
    }

    fn with_memory(memory: Memory) -> Self {
        Self::on(SimFs::new(), memory)
    }

    fn on(fs: SimFs, memory: Memory) -> Self {
        fs.make_timeless();
        let settings = Settings {
            memory,
            ..Settings::new(ROOT, "host.example")
        };
        let disk = Arc::new(fs.clone());
        // Without its thread, whose own operations must not be counted.
        let store = MessageStore::open_quietly(disk, settings, fs.clock(), Patience::default());
        Self {
            fs,
            store: Arc::new(store.unwrap()),
            bob: mailbox("bob@example.org"),
            n_added: 0,
            n_hits: 0,
            sizes: BTreeMap::new(),
        }
    }

    /// The files of the mailbox, sorted by their names.
    fn files(&self) -> Vec<(&'static str, OsString)> {
        let mut files = Vec::new();
        for side in ["new", "cur"] {
            let entries = self.fs.read_dir(&directory(side)).unwrap_or_default();
            files.extend(entries.into_iter().map(|entry| (side, entry.name)));
        }
        files.sort_by(|left, right| left.1.cmp(&right.1));
        files
    }

    fn choose(&self, choice: usize) -> Option<(&'static str, OsString)> {
        let files = self.files();
        files.get(choice.checked_rem(files.len())?).cloned()
    }

    fn write(&self, path: &Path, content: &[u8]) {
        let mut file = self
            .fs
            .create_new(path)
            .unwrap_or_else(|_| self.fs.open(path).unwrap());
        file.append(content).unwrap();
    }

    fn deliver(&mut self) {
        self.n_added += 1;
        let mut delivery = self.store.begin_delivery(0).unwrap();
        let content = format!("message {}\n", self.n_added);
        delivery.append(content.as_bytes()).unwrap();
        delivery.commit(std::slice::from_ref(&self.bob)).unwrap();
    }

    /// Logs in. Returns whether this read the directories.
    fn open(&self) -> (Maildrop, bool) {
        let n_before = self.fs.n_directories_read();
        let maildrop = self.store.open_maildrop(&self.bob).unwrap();
        (maildrop, self.fs.n_directories_read() > n_before)
    }

    /// Logs in and compares the listing with a new reading.
    fn check(&mut self) -> Maildrop {
        let (maildrop, is_read) = self.open();
        self.n_hits += usize::from(!is_read);
        self.compare(&*maildrop.messages());
        for (index, summary) in summaries(&*maildrop.messages()).iter().enumerate() {
            let announced = maildrop.open_message(index).unwrap().edited_octets();
            let content = read(&maildrop, index).unwrap();
            assert_eq!(announced.unwrap_or(summary.octets), sent_octets(&content));
        }
        maildrop
    }

    /// Looks, and compares the listing with a new reading.
    fn check_look(&mut self) {
        let look = self.store.look(&self.bob).unwrap();
        self.compare(&*look.messages());
    }

    /// Compares `messages` with a new reading. Only a file that was edited in place may have
    /// another size: one that was counted when the file had been left alone for a while.
    fn compare(&mut self, messages: &dyn Summaries) {
        let open = &self.store.maildirs().open;
        let maildir = open.disk.maildir(&self.bob).unwrap();
        let mut listed = Listed::nothing(&open.listed);
        let mut expect = maildir.list(&self.fs, &mut listed).unwrap();
        count_sizes(&open.disk, &maildir, &mut expect, None).unwrap();
        let mut found = summaries(messages);
        let now = i128::try_from(self.fs.hands().unix_time().as_nanos()).unwrap();
        let quiet = i128::try_from(INDEX_QUIET.as_nanos()).unwrap();
        for (found, message) in found.iter_mut().zip(expect.iter()) {
            let Some(size) = message.counted() else {
                continue;
            };
            let stamp = self
                .fs
                .metadata(&maildir.file(message.place()))
                .unwrap()
                .stamp;
            let known = self.sizes.entry(stamp.identity.inode).or_default();
            let is_right = found.octets == size.sent_octets || known.contains(&found.octets);
            assert!(is_right, "{found:?} {size:?} {known:?}");
            found.octets = size.sent_octets;
            if stamp.modified + quiet < now {
                known.insert(size.sent_octets);
            }
        }
        assert_eq!(found, summaries(&expect));
    }

    fn perform(&mut self, event: &Event) {
        match event {
            Event::Deliver => self.deliver(),
            Event::Login { removed } => {
                let maildrop = self.check();
                let n_listed = maildrop.messages().len();
                let removed: Vec<usize> = removed
                    .iter()
                    .copied()
                    .filter(|it| *it < n_listed)
                    .collect();
                maildrop.remove(&removed).unwrap();
            }
            Event::Move(choice) => {
                if let Some((side, name)) = self.choose(*choice) {
                    let mut moved = name.clone();
                    moved.push(if side == "new" { ":2," } else { "S" });
                    let to = directory("cur").join(moved);
                    self.fs.rename(&directory(side).join(name), &to).unwrap();
                }
            }
            Event::Add { is_sized } => {
                self.n_added += 1;
                let sizes = if *is_sized { ",S=2,W=3" } else { "" };
                let name = format!("{}.foreign.host{sizes}", self.n_added);
                if self.fs.metadata(&directory("new")).is_ok() {
                    self.write(&directory("new").join(name), b"x\n");
                }
            }
            Event::Rewrite(choice) => {
                if let Some((side, name)) = self.choose(*choice) {
                    self.write(&directory(side).join(name), b"more\n");
                }
            }
            Event::Replace { choice, is_atomic } => self.replace(*choice, *is_atomic),
            Event::AddTwin(choice) => {
                if let Some((_, name)) = self.choose(*choice) {
                    let name = name.into_string().unwrap();
                    let base = name.split_once(":2,").map_or(&*name, |(base, _)| base);
                    let path = directory("cur").join(format!("{base}:2,T"));
                    let content = self.new_content();
                    self.write(&path, &content);
                }
            }
            Event::Look => self.check_look(),
            Event::Unlink(choice) => {
                if let Some((side, name)) = self.choose(*choice) {
                    self.fs.unlink(&directory(side).join(name)).unwrap();
                }
            }
            Event::RemoveMailbox => self.remove_mailbox(),
            Event::Pass(time) => self.fs.hands().pass(*time),
            Event::SetBack(time) => self.fs.hands().set_back(*time),
            Event::SetForward(time) => self.fs.hands().set_forward(*time),
        }
    }

    /// Content of a length that no other file is likely to have.
    fn new_content(&mut self) -> Vec<u8> {
        self.n_added += 1;
        let mut content = vec![b'x'; 7 * self.n_added];
        content.push(b'\n');
        content
    }

    fn replace(&mut self, choice: usize, is_atomic: bool) {
        let Some((side, name)) = self.choose(choice) else {
            return;
        };
        let path = directory(side).join(name);
        let content = self.new_content();
        if is_atomic {
            let written = directory("tmp").join("written");
            self.write(&written, &content);
            self.fs.rename(&written, &path).unwrap();
        } else {
            self.fs.unlink(&path).unwrap();
            self.write(&path, &content);
        }
    }

    fn remove_mailbox(&self) {
        for (side, name) in self.files() {
            self.fs.unlink(&directory(side).join(name)).unwrap();
        }
        for name in ["new", "cur", "tmp", ""] {
            let path = directory(name);
            let is_there = self
                .fs
                .metadata(&path)
                .is_ok_and(|it| it.kind == Kind::Directory);
            assert!(!is_there || self.fs.remove_dir(&path).is_ok());
        }
    }

    fn pass(&self, time: Duration) {
        self.fs.hands().pass(time);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_listing_is_always_what_a_reading_gives(
        events in proptest::collection::vec(any_event(), 1..80)
    ) {
        let mut place = Place::new();
        for event in &events {
            place.perform(event);
        }
        place.check();
    }
}

/// A place with one message whose listing is remembered.
fn settled() -> Place {
    let mut place = Place::new();
    place.deliver();
    place.pass(INDEX_QUIET * 2);
    place.check();
    place.check();
    assert_eq!(place.n_hits, 1);
    place
}

#[test]
fn a_maildrop_that_has_not_changed_is_not_read_again() {
    let mut place = settled();
    place.pass(Duration::from_hours(24));
    let before = place.fs.n_operations();
    place.open();
    assert_eq!(
        place.fs.n_operations() - before,
        4,
        "one check of each directory, and of the place and the lock of the store"
    );
    place.check();
    assert_eq!(place.n_hits, 2);
}

#[test]
fn every_change_is_seen_at_the_next_login() {
    for event in [
        Event::Deliver,
        Event::Login { removed: vec![0] },
        Event::Move(0),
        Event::Add { is_sized: true },
        Event::Add { is_sized: false },
        Event::Replace {
            choice: 0,
            is_atomic: true,
        },
        Event::AddTwin(0),
        Event::Unlink(0),
        Event::RemoveMailbox,
    ] {
        let mut place = settled();
        place.perform(&event);
        let n_hits = place.n_hits;
        place.check();
        assert_eq!(place.n_hits, n_hits, "{event:?}");
    }
}

#[test]
fn a_change_in_the_same_tick_as_the_reading_is_seen() {
    let mut place = Place::new();
    place.deliver();
    place.check();
    // No time passes, so the directory keeps its time.
    place.deliver();
    assert_eq!(place.check().messages().len(), 2);
    place.perform(&Event::Unlink(0));
    assert_eq!(place.check().messages().len(), 1);
    assert_eq!(place.n_hits, 0);
}

#[test]
fn a_change_is_seen_after_the_clock_is_set_back_to_the_tick_of_an_earlier_change() {
    let mut place = settled();
    place.fs.hands().set_back(INDEX_QUIET * 2);
    place.deliver();
    place.pass(Duration::from_hours(1));
    assert_eq!(place.check().messages().len(), 2);
    // A step that is small enough to go unnoticed does not reach that far back.
    let mut place = Place::new();
    place.deliver();
    place.pass(INDEX_QUIET + Duration::from_secs(1));
    place.check();
    place.fs.hands().set_back(INDEX_CLOCK_TOLERANCE);
    place.deliver();
    assert_eq!(place.check().messages().len(), 2);
}

/// A place with one message whose listing is remembered, and some of another program, whose sizes
/// were counted.
fn counted(n_counted: usize) -> Place {
    let mut place = settled();
    for _ in 0..n_counted {
        place.perform(&Event::Add { is_sized: false });
    }
    place.pass(INDEX_QUIET * 2);
    assert_eq!(place.check().messages().len(), 1 + n_counted);
    place
}

/// The sizes that a login lists.
fn listed(place: &Place) -> Vec<u64> {
    let messages = summaries(&*place.open().0.messages());
    messages.iter().map(|it| it.octets).collect()
}

#[test]
fn a_maildrop_of_another_program_that_has_not_changed_is_not_read_again() {
    let mut place = counted(3);
    let before = place.fs.n_operations();
    place.open();
    assert_eq!(
        place.fs.n_operations() - before,
        4,
        "as with sizes in the names"
    );
    let n_hits = place.n_hits;
    place.check();
    assert_eq!(place.n_hits, n_hits + 1);
}

/// Whatever comes or goes, only the messages that are new are opened, also while the mailbox is
/// never quiet, and after a delivery of our own.
#[test]
fn sizes_are_counted_once() {
    let n_operations_after = |n_counted, event: &Event| {
        let mut place = counted(n_counted);
        let mut numbers = Vec::new();
        for is_a_look in [false, true, false] {
            place.perform(event);
            let before = place.fs.n_operations();
            if is_a_look {
                place.store.look(&place.bob).unwrap();
            } else {
                place.open();
            }
            numbers.push(place.fs.n_operations() - before);
        }
        numbers
    };
    for event in [
        Event::Deliver,
        Event::Login { removed: vec![0] },
        Event::Move(2),
        Event::Add { is_sized: true },
        Event::Add { is_sized: false },
        Event::Replace {
            choice: 1,
            is_atomic: true,
        },
        Event::Unlink(2),
    ] {
        let (few, many) = (
            n_operations_after(6, &event),
            n_operations_after(60, &event),
        );
        assert_eq!(few, many, "{event:?}");
    }
}

/// A look leaves its listing for others, as a session does.
#[test]
fn what_a_look_has_listed_is_remembered() {
    let mut place = settled();
    for _ in 0..3 {
        place.perform(&Event::Add { is_sized: false });
    }
    place.pass(INDEX_QUIET * 2);
    place.check_look();
    let before = place.fs.n_directories_read();
    place.store.look(&place.bob).unwrap();
    place.open();
    assert_eq!(place.fs.n_directories_read(), before);
}

/// A program that writes a message in its final place is waited for, although the directory does
/// not change any more.
#[test]
fn a_message_that_may_still_be_growing_is_counted_again() {
    let mut place = settled();
    place.perform(&Event::Add { is_sized: false });
    for expect in [3, 3 + 6, 3 + 12] {
        place.pass(INDEX_QUIET);
        for _ in 0..2 {
            place.check();
            assert_eq!(listed(&place), [expect, 11]);
        }
        // The message with the low number comes first.
        place.perform(&Event::Rewrite(1));
    }
    // The listing is used again when the message has been complete for a while.
    place.pass(INDEX_QUIET * 2);
    place.check();
    let n_hits = place.n_hits;
    place.check();
    assert_eq!(place.n_hits, n_hits + 1);
    assert_eq!(listed(&place), [3 + 18, 11]);
}

/// A file that was edited in place has its old size in listings, even when the directory has
/// changed, until it is opened, with its true size. Another file with the same name is counted.
#[test]
fn only_a_message_edited_in_place_keeps_its_old_size() {
    let mut place = counted(1);
    assert_eq!(listed(&place), [3, 11]);
    // The message with the low number comes first.
    let edited = |place: &Place| place.open().0.open_message(0).unwrap().edited_octets();
    let rewrite = Event::Rewrite(1);
    assert_eq!(place.choose(1).unwrap().1, "2.foreign.host");
    place.perform(&rewrite);
    for _ in 0..2 {
        assert_eq!(listed(&place), [3, 11]);
        place.perform(&Event::Move(1));
        place.pass(INDEX_QUIET * 2);
    }
    // Both lines have a CRLF.
    assert_eq!(edited(&place), Some(3 + 6));
    assert_eq!(listed(&place), [3 + 6, 11]);
    assert_eq!(edited(&place), None);
    for is_atomic in [true, false] {
        let replace = Event::Replace {
            choice: 1,
            is_atomic,
        };
        place.perform(&replace);
        let octets = u64::try_from(7 * place.n_added + 2).unwrap();
        assert_eq!(listed(&place), [octets, 11]);
        assert_eq!(edited(&place), None);
    }
    bugs::plant(Some(Bug::SizesOutliveFiles));
    let before = listed(&place);
    place.perform(&Event::Replace {
        choice: 1,
        is_atomic: true,
    });
    assert_eq!(listed(&place), before, "the bug is not found");
    bugs::plant(None);
}

/// Even where times that stand still are trusted, a look that reads the directories while a
/// message is delivered or removed does not leave a listing that lacks the change.
#[test]
fn a_listing_that_was_read_during_a_change_is_not_remembered() {
    for is_removal in [false, true] {
        let n_wrong = |bug| {
            bugs::plant(bug);
            let results = (1..).map_while(|at| change_during_a_look(at, is_removal));
            let n_wrong = results.filter(|is_right| !is_right).count();
            bugs::plant(None);
            n_wrong
        };
        assert_eq!(n_wrong(None), 0, "{is_removal}");
        let bug = Bug::ChangesWhileReadingAreMissed;
        assert!(n_wrong(Some(bug)) > 0, "the bug is not found: {is_removal}");
    }
}

/// Delivers a message or removes one before the `at`-th operation of a look. Returns whether the
/// next login knows, or `None` if the look had fewer operations.
fn change_during_a_look(at: usize, is_removal: bool) -> Option<bool> {
    type Act = Box<dyn FnOnce() + Send>;
    let armed: Arc<Mutex<Option<(usize, Act)>>> = Arc::default();
    let waiting = Arc::clone(&armed);
    let fs = SimFs::new().watched(move || {
        let mut waiting = waiting.lock();
        let act = waiting.take_if(|(left, _)| {
            *left -= 1;
            *left == 0
        });
        drop(waiting);
        if let Some((_, act)) = act {
            act();
        }
    });
    let mut place = Place::on(fs, Memory::default());
    place.fs.plant(Defect::TimesStandStill);
    place.deliver();
    let maildrop = place.check();
    // Nothing is remembered.
    place.deliver();
    place.pass(INDEX_QUIET * 2);
    let (store, bob) = (Arc::clone(&place.store), place.bob.clone());
    let act: Act = Box::new(move || {
        if is_removal {
            maildrop.remove(&[0]).unwrap();
        } else {
            let mut delivery = store.begin_delivery(0).unwrap();
            delivery.append(b"another\n").unwrap();
            delivery.commit(&[bob]).unwrap();
        }
    });
    *armed.lock() = Some((at, act));
    place.store.look(&place.bob).unwrap();
    let has_run = armed.lock().take().is_none();
    let expect = if is_removal { 1 } else { 3 };
    has_run.then(|| place.open().0.messages().len() == expect)
}

/// Opening an edited message whose name gives its size reports the edit.
#[test]
fn a_message_edited_in_place_is_opened_with_its_true_size() {
    let mut place = settled();
    let edited = |place: &Place| place.open().0.open_message(0).unwrap().edited_octets();
    assert_eq!(edited(&place), None);
    place.perform(&Event::Rewrite(0));
    // "message 1" and "more", each with its CRLF.
    assert_eq!(edited(&place), Some(11 + 6));
    place.perform(&Event::Move(0));
    assert_eq!(edited(&place), Some(11 + 6));
    place.perform(&Event::Add { is_sized: true });
    let octets = summaries(&*place.open().0.messages());
    assert!(
        octets.iter().any(|it| it.octets == 11),
        "the listing still has the old size"
    );
}

#[test]
fn a_directory_that_was_replaced_is_read_again() {
    let mut place = settled();
    let hands = place.fs.hands();
    let now = hands.unix_time();
    // Both directories get exactly the same times.
    hands.set(Duration::from_secs(1_700_000_000));
    place.remove_mailbox();
    place.deliver();
    hands.set(now);
    place.check();
}

#[test]
fn a_message_hidden_at_one_login_is_listed_at_the_next_in_the_same_directory() {
    let mut place = settled();
    place.deliver();
    let (_, name) = place.choose(1).unwrap();
    let serial = OwnName::parse(name.as_bytes()).unwrap().serial;
    let open = Arc::clone(&place.store.maildirs().open);
    // The state while its commit waits for a slow disk.
    open.visibility.hide(serial);
    place.pass(INDEX_QUIET * 2);
    for _ in 0..2 {
        assert_eq!(place.open().0.messages().len(), 1);
    }
    open.visibility.show(serial);
    assert_eq!(place.check().messages().len(), 2);
}

#[test]
fn removed_messages_are_not_listed_again_whatever_the_clock_says() {
    let place = settled();
    let hands = place.fs.hands();
    let now = hands.unix_time();
    let (maildrop, is_read) = place.open();
    assert!(!is_read);
    // First the time of the delivery, then the time as if nothing had happened.
    hands.set(Duration::from_secs(1_700_000_000));
    maildrop.remove(&[0]).unwrap();
    hands.set(now);
    drop(maildrop);
    assert_eq!(place.open().0.messages().len(), 0);
}

/// As on mergerfs with `func.getattr=ff`.
#[test]
fn nothing_is_remembered_where_times_stand_still() {
    let fs = SimFs::new();
    fs.set_times(Times::Still);
    let mut place = Place::on(fs, Memory::default());
    for event in [
        Event::Deliver,
        Event::Deliver,
        Event::Add { is_sized: true },
        Event::Move(0),
        Event::Unlink(0),
        Event::Login { removed: vec![0] },
    ] {
        place.perform(&event);
        place.pass(INDEX_QUIET * 2);
        place.check();
        place.check();
    }
    assert_eq!(place.n_hits, 0);
}

/// A device number other than the store's may belong to a file system that was mounted later.
#[test]
fn the_times_of_another_file_system_are_checked_each_time() {
    let place = Place::new();
    let open = &place.store.maildirs().open;
    let (own, other) = (open.disk.device, open.disk.device + 1);
    let trusts = |device| open.disk.trusts_times(&directory("new"), device);
    assert_eq!([Some(own), Some(other), None].map(trusts), [true; 3]);
    place.fs.set_times(Times::Still);
    assert_eq!(
        [Some(own), Some(other), None].map(trusts),
        [true, false, false]
    );
}

/// The tests here would notice times that advance in larger steps than assumed.
#[test]
fn a_listing_that_is_not_what_a_reading_gives_is_noticed() {
    let mut place = Place::new();
    place.fs.plant(Defect::TimesAreCoarse);
    place.deliver();
    place.pass(INDEX_QUIET * 2);
    place.check();
    place.perform(&Event::Add { is_sized: true });
    assert_eq!(place.files().len(), 2);
    assert_eq!(place.open().0.messages().len(), 1);
}

/// Even where such times are trusted, deliveries of this daemon are seen.
#[test]
fn own_deliveries_are_listed_whatever_the_times_say() {
    let mut place = settled();
    place.fs.plant(Defect::TimesStandStill);
    for n_listed in 1..4 {
        place.pass(INDEX_QUIET * 2);
        place.check();
        assert_eq!(place.check().messages().len(), n_listed);
        place.deliver();
    }
}

/// A session that has no room for another listing can still remove messages that were moved.
#[test]
fn a_message_that_was_moved_is_removed_without_another_listing() {
    let mut place = settled();
    for _ in 0..1_000 {
        place.perform(&Event::Add { is_sized: true });
    }
    place.pass(INDEX_QUIET * 2);
    let maildrop = place.check();
    let listed = Arc::clone(&place.store.maildirs().open.listed);
    let mut others = Taken::nothing(&listed);
    assert!(others.set(LISTED_OCTETS_MAX - listed.octets()));
    for choice in [3, 400, 900] {
        place.perform(&Event::Move(choice));
    }
    let all: Vec<usize> = (0..maildrop.messages().len()).collect();
    read(&maildrop, all.len() - 1).unwrap();
    maildrop.remove(&all).unwrap();
    assert_eq!(place.files(), []);
}

/// SEC-9: a maildrop whose listing does not fit, new or remembered, is refused temporarily.
#[test]
fn open_maildrops_together_use_no_more_memory_than_allowed() {
    let mut place = settled();
    let listed = Arc::clone(&place.store.maildirs().open.listed);
    let mut others = Taken::nothing(&listed);
    let now = || listed.octets();
    let error_of = |place: &Place| place.store.open_maildrop(&place.bob).unwrap_err();
    assert!(others.set(LISTED_OCTETS_MAX));
    drop(place.check());
    for _ in 0..1_000 {
        place.perform(&Event::Add { is_sized: true });
    }
    place.pass(INDEX_QUIET * 2);
    let error = error_of(&place);
    assert!(matches!(error, Error::ListingTooLarge { .. }), "{error:?}");
    assert!(error.is_transient());
    assert_eq!(now(), LISTED_OCTETS_MAX, "the attempt took nothing");
    assert!(others.set(0));
    let (maildrop, is_read) = place.open();
    assert!(is_read && maildrop.messages().len() == 1_001);
    let octets = now();
    assert!((50_000..100_000).contains(&octets), "{octets}");
    drop(maildrop);
    assert_eq!(now(), 0);
    assert!(others.set(LISTED_OCTETS_MAX - octets + 1));
    let error = error_of(&place);
    assert!(matches!(error, Error::ListingTooLarge { .. }), "{error:?}");
    assert!(others.set(LISTED_OCTETS_MAX - octets));
    let (maildrop, is_read) = place.open();
    assert!(!is_read && now() == LISTED_OCTETS_MAX);
    drop(maildrop);
    assert_eq!(now(), LISTED_OCTETS_MAX - octets);
}

/// SEC-9.
#[test]
fn a_store_uses_no_more_memory_than_configured() {
    let mut place = Place::with_memory(Memory {
        looked: u64::MAX,
        held: 5,
        listed: 0,
        remembered: 0,
    });
    let held = Arc::clone(&place.store.maildirs().open.held);
    let mut delivery = place.store.begin_delivery(0).unwrap();
    delivery.append(b"12345").unwrap();
    assert_eq!(held.octets(), 5);
    delivery.append(b"6").unwrap();
    assert_eq!(held.octets(), 0, "the content is in a file");
    drop(delivery);
    place.deliver();
    place.pass(INDEX_QUIET * 2);
    place.check();
    place.check();
    assert_eq!(place.n_hits, 0, "nothing is remembered");
    for _ in 0..1_000 {
        place.perform(&Event::Add { is_sized: true });
    }
    let error = place.store.open_maildrop(&place.bob).unwrap_err();
    assert!(matches!(error, Error::ListingTooLarge { .. }), "{error:?}");
}
