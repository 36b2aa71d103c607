//! Whoever takes a cursor, lists, and then watches is told of every change once, in whatever way a
//! message comes into its mailbox. The changes are what two listings differ in.

#![expect(clippy::arithmetic_side_effects, reason = "tests count small things")]

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use crate::{
    mail::{EntryId, MailboxName},
    store::{
        Change, Cursor, Durability, MessageStore, Missed, News, Settings, Watch,
        maildir::{Patience, checkpoint},
    },
    testing::{disk::SimFs, rng::Rng},
};

use super::{journal::deliver_to, mailbox};

/// The number of scripts in the ordinary test run, and the length of each.
const N_SCRIPTS: u64 = 200;
const N_STEPS: usize = 60;

/// One change, by what a listing shows.
type Seen = (Change, MailboxName, EntryId);

fn seen(news: News) -> Seen {
    (news.change, news.mailbox, news.id)
}

fn mailboxes() -> [MailboxName; 3] {
    ["ann@example.org", "bob@example.org", "ann@example.net"].map(mailbox)
}

fn open(fs: &SimFs, durability: Durability) -> MessageStore {
    let settings = Settings {
        durability,
        ..Settings::new("/mail", "host.example")
    };
    let (fs, clock) = (Arc::new(fs.clone()), fs.clock());
    MessageStore::open_quietly(fs, settings, clock, Patience::default()).unwrap()
}

/// A store, and all changes since it was opened.
struct World {
    fs: SimFs,
    store: MessageStore,
    durability: Durability,
    listed: BTreeSet<(MailboxName, EntryId)>,
    changes: Vec<Seen>,
    /// Each with the number of changes before it.
    cursors: Vec<(Cursor, usize)>,
    watches: Vec<(Watch, Option<MailboxName>, usize)>,
    n_arrivals_after_repairs: usize,
    n_reported: usize,
}

impl World {
    fn new(durability: Durability) -> Self {
        let fs = SimFs::new();
        Self {
            store: open(&fs, durability),
            fs,
            durability,
            listed: BTreeSet::new(),
            changes: Vec::new(),
            cursors: Vec::new(),
            watches: Vec::new(),
            n_arrivals_after_repairs: 0,
            n_reported: 0,
        }
    }

    fn list(&self) -> BTreeSet<(MailboxName, EntryId)> {
        let mut listed = BTreeSet::new();
        for mailbox in mailboxes() {
            let look = self.store.look(&mailbox).unwrap();
            let ids = (0..look.messages().len()).map(|index| look.id(index).unwrap());
            listed.extend(ids.map(|id| (mailbox.clone(), id)));
        }
        listed
    }

    /// Notes what has changed since the last call. Looking may itself deliver what waits.
    fn observe(&mut self) -> usize {
        let n_before = self.changes.len();
        loop {
            let listed = self.list();
            if listed == self.listed {
                return self.changes.len() - n_before;
            }
            let arrived = listed.difference(&self.listed).cloned();
            let removed = self.listed.difference(&listed).cloned();
            let changes = arrived
                .map(|(mailbox, id)| (Change::Arrived, mailbox, id))
                .chain(removed.map(|(mailbox, id)| (Change::Removed, mailbox, id)));
            self.changes.extend(changes);
            self.listed = listed;
        }
    }

    fn deliver(&self, rng: &mut Rng) {
        let mut recipients = mailboxes().to_vec();
        recipients.retain(|_| rng.chance(50));
        let n_lines = [1, 10, 30_000][rng.below(3)];
        let content = format!("{:016x}\n", rng.next()).repeat(n_lines);
        // It is refused if no mailbox accepts it, or if one breaks at this moment.
        deliver_to(&self.store, &content, &recipients).unwrap_or_default();
    }

    fn refuse(&self, rng: &mut Rng) {
        let mailbox = &mailboxes()[rng.below(3)];
        let parts = [mailbox.domain(), mailbox.local_part(), "new"];
        let path: PathBuf = std::iter::once("/mail").chain(parts).collect();
        self.fs.refuse_entries(&path, true);
    }

    fn repair(&mut self, rng: &mut Rng) {
        self.observe();
        self.fs.accept_entries();
        self.fs.hands().pass(Duration::from_secs(1));
        let checked = self.store.check_recipient(&mailboxes()[rng.below(3)]);
        checked.unwrap();
        self.n_arrivals_after_repairs += self.observe();
    }

    fn remove(&self, rng: &mut Rng) {
        let maildrop = self
            .store
            .open_maildrop(&mailboxes()[rng.below(3)])
            .unwrap();
        let indexes: Vec<usize> = (0..maildrop.messages().len())
            .filter(|_| rng.chance(40))
            .collect();
        // It fails if the directory refuses; some may be removed then, in a crash for example.
        maildrop.remove(&indexes).unwrap_or_default();
    }

    fn watch(&mut self, rng: &mut Rng) {
        let of = Some(mailboxes()[rng.below(3)].clone()).filter(|_| rng.chance(60));
        let Some(at) = rng.below(1000).checked_rem(self.cursors.len()) else {
            return;
        };
        let (cursor, n_before) = self.cursors[at];
        let parsed = Cursor::parse(&cursor.to_string()).unwrap();
        let watch = self.store.watch(of.as_ref(), parsed).unwrap();
        self.watches.push((watch, of, n_before));
    }

    fn read(&mut self, rng: &mut Rng) {
        let Some(at) = rng.below(1000).checked_rem(self.watches.len()) else {
            return;
        };
        let (watch, of, n_before) = &mut self.watches[at];
        let patience = Duration::from_millis(0);
        let mut news: Vec<Seen> = watch
            .news(patience)
            .unwrap()
            .into_iter()
            .map(seen)
            .collect();
        let changes = self.changes.iter().skip(*n_before);
        let changes = changes.filter(|(_, mailbox, _)| of.as_ref().is_none_or(|of| of == mailbox));
        let mut wanted: Vec<Seen> = changes.cloned().collect();
        self.n_reported += news.len();
        news.sort();
        wanted.sort();
        assert_eq!(news, wanted);
        *n_before = self.changes.len();
        self.cursors.push((watch.cursor(), *n_before));
        if rng.chance(20) {
            drop(self.watches.swap_remove(at));
        }
    }

    fn restart(self, rng: &mut Rng) -> Self {
        let Self { store, fs, .. } = self;
        drop(self.watches);
        if rng.chance(50) {
            store.abandon();
        }
        drop(store);
        let store = open(&fs, self.durability);
        for (cursor, _) in self.cursors {
            assert_eq!(store.watch(None, cursor).err(), Some(Missed));
        }
        let mut world = Self {
            store,
            fs,
            durability: self.durability,
            listed: BTreeSet::new(),
            changes: Vec::new(),
            cursors: Vec::new(),
            watches: Vec::new(),
            n_arrivals_after_repairs: self.n_arrivals_after_repairs,
            n_reported: self.n_reported,
        };
        // What was there before no cursor is behind.
        world.observe();
        world
    }

    fn step(mut self, rng: &mut Rng) -> Self {
        match rng.below(20) {
            0..6 => self.deliver(rng),
            6..8 => self.remove(rng),
            8..10 => self.refuse(rng),
            10..12 => self.repair(rng),
            12..14 => self.cursors.push((self.store.cursor(), self.changes.len())),
            14..16 => self.watch(rng),
            16..18 => self.read(rng),
            18 => checkpoint::checkpoint(&self.store.maildirs().open).unwrap_or_default(),
            _ if rng.chance(30) => self = self.restart(rng),
            _ => {}
        }
        self.observe();
        self
    }
}

#[test]
fn no_change_is_missed_and_none_is_reported_twice() {
    let (mut n_late, mut n_reported) = (0, 0);
    for seed in 0..N_SCRIPTS {
        let durability = [Durability::default(), Durability::Maildir][usize::from(seed % 3 == 0)];
        let mut rng = Rng::new(seed);
        let mut world = World::new(durability);
        for _ in 0..N_STEPS {
            world = world.step(&mut rng);
        }
        n_late += world.n_arrivals_after_repairs;
        n_reported += world.n_reported;
    }
    println!("{n_reported} changes reported; {n_late} messages came after a repair");
    assert!(n_late > 100 && n_reported > 1_000);
}
