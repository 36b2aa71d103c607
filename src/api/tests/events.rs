//! Events, against a naive model: a page that lists the messages when it is told to, and otherwise
//! follows the events one by one, shows what the mailboxes have.

#![expect(clippy::arithmetic_side_effects, reason = "tests count small things")]

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    api::{
        Answer, Api, Asker, Events, answer,
        limits::{EVENTS_BURST, EVENTS_REST},
    },
    fs::Fs,
    http::{Fields, Request},
    mail::{EntryId, MailboxName},
    store::MessageStore,
    testing::{
        disk::{SimFs, Times},
        rng::Rng,
    },
};

use super::{
    mailbox,
    waits::{content, directory_of, get, mailboxes, open},
};

/// The number of scripts, and the length of each.
const N_SCRIPTS: u64 = 120;
const N_STEPS: usize = 40;

type Shown = BTreeSet<(EntryId, MailboxName)>;

/// One event: its id, its name, and its data.
type Event = (String, String, Value);

/// A page, and the daemon that it looks at.
struct World {
    fs: SimFs,
    store: Arc<MessageStore>,
    api: Api,
    asker: Asker,
    stream: Events,
    shown: Shown,
    /// The id of the last event.
    last: Option<String>,
    step: usize,
    /// How often the messages were listed, and how many other events there were.
    n_lists: usize,
    n_events: usize,
}

fn begin(api: &Api, asker: &Asker, last: Option<&str>) -> Events {
    let mut fields = Fields::default();
    if let Some(last) = last {
        fields.push("Last-Event-ID", last.as_bytes());
    }
    let request = Request {
        fields,
        ..get("/api/events")
    };
    let answer = answer(api, &request, asker).unwrap();
    let Answer::Events { events, .. } = answer else {
        panic!("{answer:?}")
    };
    *events
}

/// The events of a stream, without the comments.
fn events(stream: &[u8]) -> Vec<Event> {
    let text = str::from_utf8(stream).unwrap();
    let blocks = text.split("\n\n").filter(|it| it.starts_with("id: "));
    blocks
        .map(|block| {
            let lines: Vec<_> = block
                .lines()
                .map(|it| it.split_once(": ").unwrap().1)
                .collect();
            let data = serde_json::from_str(lines[2]).unwrap_or_default();
            (lines[0].to_owned(), lines[1].to_owned(), data)
        })
        .collect()
}

impl World {
    fn new(asker: Asker) -> Self {
        let fs = SimFs::new();
        fs.set_times(Times::Fine);
        let (store, api) = open(&fs);
        let stream = begin(&api, &asker, None);
        Self {
            fs,
            store,
            api,
            asker,
            stream,
            shown: Shown::new(),
            last: None,
            step: 0,
            n_lists: 0,
            n_events: 0,
        }
    }

    /// The messages that the asker may see.
    fn present(&self) -> Shown {
        let mut all = Shown::new();
        for mailbox in mailboxes() {
            if matches!(&self.asker, Asker::Owner(own) if *own != mailbox) {
                continue;
            }
            let look = self.store.look(&mailbox).unwrap();
            let ids = (0..look.messages().len()).map(|index| look.id(index).unwrap());
            all.extend(ids.map(|id| (id, mailbox.clone())));
        }
        all
    }

    fn turn(&mut self) -> Vec<Event> {
        let mut out = Vec::new();
        self.stream
            .turn(&self.api, Duration::ZERO, &mut out)
            .unwrap();
        events(&out)
    }

    /// Follows what the stream has now.
    fn follow(&mut self) {
        for (id, event, data) in self.turn() {
            self.last = Some(id);
            if event == "reset" {
                self.n_lists += 1;
                self.shown = self.present();
                continue;
            }
            self.n_events += 1;
            let id = EntryId::parse(data["ID"].as_str().unwrap()).unwrap();
            let entry = (id, mailbox(data["Mailbox"].as_str().unwrap()));
            match event.as_str() {
                "arrived" => self.shown.insert(entry),
                "removed" => self.shown.remove(&entry),
                other => panic!("{other}"),
            };
        }
    }

    /// Checks that after some seconds the page shows what is there.
    fn settle(&mut self) {
        for _ in 0..4 {
            self.fs.hands().pass(Duration::from_secs(1));
            self.follow();
        }
        assert_eq!(self.shown, self.present(), "step {}", self.step);
        let before = self.n_lists;
        for _ in 0..4 {
            self.fs.hands().pass(Duration::from_secs(1));
            self.follow();
        }
        assert_eq!(
            self.n_lists, before,
            "step {}: nothing has happened since",
            self.step
        );
    }

    /// The stream ends, and the page begins another one where it ended.
    fn resume(&mut self) {
        self.stream = begin(&self.api, &self.asker, self.last.as_deref());
        if self.last.is_none() {
            self.shown = self.present();
        }
    }

    fn deliver(&self, content: &str, recipients: &[MailboxName]) {
        let mut delivery = self.store.begin_delivery(0).unwrap();
        delivery.append(content.as_bytes()).unwrap();
        delivery.commit(recipients).unwrap();
    }

    fn create(&self, path: &Path, content: &str) {
        if let Ok(mut file) = self.fs.create_new(path) {
            file.append(content.as_bytes()).unwrap();
        }
    }

    /// Another program delivers a message, removes one, or moves one to the other mailbox.
    fn meddle(&self, rng: &mut Rng) {
        let [one, other] = mailboxes().map(|it| directory_of(&it).join("new"));
        if rng.chance(40) {
            let seconds = self.fs.clock().unix_time().as_secs();
            let name = format!("{seconds}.{}.other", self.step);
            self.create(&one.join(name), &content(rng));
            return;
        }
        let Ok(names) = self.fs.read_dir(&one) else {
            return;
        };
        let Some(at) = rng.below(1_000).checked_rem(names.len()) else {
            return;
        };
        let name = &names[at].name;
        if rng.chance(50) {
            self.fs.unlink(&one.join(name)).unwrap();
        } else {
            self.fs
                .rename(&one.join(name), &other.join(name))
                .unwrap_or_default();
        }
    }

    fn step(&mut self, rng: &mut Rng) {
        self.step += 1;
        match rng.below(12) {
            0..4 => {
                let mut recipients = mailboxes().to_vec();
                recipients.retain(|_| rng.chance(70));
                if !recipients.is_empty() {
                    self.deliver(&content(rng), &recipients);
                }
            }
            4..6 => {
                let maildrop = self
                    .store
                    .open_maildrop(&mailboxes()[rng.below(2)])
                    .unwrap();
                let all = 0..maildrop.messages().len();
                let indexes: Vec<usize> = all.filter(|_| rng.chance(30)).collect();
                maildrop.remove(&indexes).unwrap();
            }
            6..8 => self.meddle(rng),
            8..10 => self.follow(),
            10 if rng.chance(30) => self.resume(),
            10 => self.settle(),
            _ => self.fs.hands().pass(Duration::from_millis(300)),
        }
    }
}

#[test]
fn a_page_that_follows_the_events_shows_what_is_there() {
    let [ann, _] = mailboxes();
    let (mut n_lists, mut n_events) = (0, 0);
    for seed in 0..N_SCRIPTS {
        let mut rng = Rng::new(seed);
        let asker = match seed % 2 {
            0 => Asker::Everybody,
            _ => Asker::Owner(ann.clone()),
        };
        let mut world = World::new(asker);
        for _ in 0..N_STEPS {
            world.step(&mut rng);
        }
        world.settle();
        n_lists += world.n_lists;
        n_events += world.n_events;
    }
    println!("{n_events} events; the messages were listed {n_lists} times");
    assert!(n_lists > 200 && n_events > 1_000, "{n_lists} {n_events}");
}

#[test]
fn what_others_do_amid_our_own_deliveries_is_noticed() {
    let mut world = World::new(Asker::Everybody);
    let [ann, _] = mailboxes();
    world.deliver("Subject: first\n\n", std::slice::from_ref(&ann));
    world.settle();
    let before = world.n_lists;
    for number in 0..20 {
        world.deliver("Subject: ours\n\n", std::slice::from_ref(&ann));
        if number == 10 {
            let name = directory_of(&ann).join("new/1.other");
            world.create(&name, "Subject: theirs\n\n");
        }
        world.fs.hands().pass(Duration::from_secs(1));
        world.follow();
    }
    assert_eq!(world.n_lists, before + 1);
    assert_eq!(world.shown, world.present());
}

#[test]
fn more_changes_than_anybody_follows_are_one_event_a_second() {
    let mut world = World::new(Asker::Everybody);
    let [ann, _] = mailboxes();
    world.follow();
    let flood = |world: &World, number| {
        for _ in 0..number {
            world.deliver("Subject: one of many\n\n", std::slice::from_ref(&ann));
        }
    };
    for _ in 0..2 {
        flood(&world, EVENTS_BURST + 12);
        world.fs.hands().pass(EVENTS_REST);
        let events = world.turn();
        assert!(
            matches!(&events[..], [(_, name, _)] if name == "reset"),
            "{events:?}"
        );
    }
    world.deliver("Subject: alone again\n\n", std::slice::from_ref(&ann));
    let mut events = world.turn();
    world.fs.hands().pass(EVENTS_REST);
    events.extend(world.turn());
    assert!(
        matches!(&events[..], [(_, name, _)] if name == "arrived"),
        "{events:?}"
    );
}
