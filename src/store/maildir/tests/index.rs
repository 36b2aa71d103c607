//! Compares remembered listings with new readings, whatever deliveries, sessions, other programs
//! and the clock do between two logins.

#![expect(clippy::arithmetic_side_effects, reason = "tests count small things")]

use std::{
    ffi::OsString,
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use proptest::prelude::*;

use crate::{
    fs::{Fs as _, Kind},
    mail::{MailboxName, Summaries as _},
    store::{
        Error, Maildrop, Memory, MessageStore, Settings,
        limits::{INDEX_CLOCK_TOLERANCE, INDEX_QUIET, LISTED_OCTETS_MAX},
        maildir::{Patience, listing::Listed, name::OwnName, quota::Taken, view::count_sizes},
    },
    testing::{
        disk::{Defect, SimFs, Times},
        model::{read, summaries},
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
        2 => prop_oneof![9 => Just(true), 1 => Just(false)]
            .prop_map(|is_sized| Event::Add { is_sized }),
        1 => (0..20_usize).prop_map(Event::Rewrite),
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
    store: MessageStore,
    bob: MailboxName,
    n_added: usize,
    n_hits: usize,
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
            store: store.unwrap(),
            bob: mailbox("bob@example.org"),
            n_added: 0,
            n_hits: 0,
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
        let maildir = self.store.maildirs.open.disk.maildir(&self.bob).unwrap();
        let mut listed = Listed::nothing(&self.store.maildirs.open.listed);
        let mut expect = maildir.list(&self.fs, &mut listed).unwrap();
        count_sizes(&self.store.maildirs.open.disk, &maildir, &mut expect).unwrap();
        assert_eq!(summaries(&*maildrop.messages()), summaries(&expect));
        for index in 0..expect.len() {
            read(&maildrop, index).unwrap();
        }
        maildrop
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

#[test]
fn a_message_rewritten_in_place_is_counted_again() {
    let mut place = settled();
    place.perform(&Event::Add { is_sized: false });
    for expect in [3, 3 + 6, 3 + 12] {
        place.pass(INDEX_QUIET * 2);
        let messages = summaries(&*place.check().messages());
        let octets: Vec<u64> = messages.iter().map(|it| it.octets).collect();
        assert!(octets.contains(&expect), "{expect} {octets:?}");
        // The message with the low number comes first.
        place.perform(&Event::Rewrite(1));
    }
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
    let open = Arc::clone(&place.store.maildirs.open);
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
    let open = &place.store.maildirs.open;
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
    let listed = Arc::clone(&place.store.maildirs.open.listed);
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
    let listed = Arc::clone(&place.store.maildirs.open.listed);
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
    let held = Arc::clone(&place.store.maildirs.open.held);
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
