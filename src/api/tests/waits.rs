//! Waits, against a naive model: whatever comes before, during and after a call, each message that
//! it waits for counts once, and it ends as soon as there are enough.

#![expect(clippy::arithmetic_side_effects, reason = "tests count small things")]

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::Value;

use crate::{
    accounts::{Accounts, Settings as AccountSettings},
    api::{Answer, Api, Asker, Failure, Turn, Wait, answer, wait::Since},
    fs::Fs,
    http::{Body, Fields, Method, Request, Response, Scope, Status, Target, Way},
    inbox::Memory,
    mail::{Domain, EntryId, MailboxName},
    store::{MessageStore, Settings},
    testing::{
        disk::{SimFs, Times},
        rng::Rng,
    },
};

use super::mailbox;

/// The number of scripts in the ordinary test run, which `FACTEUR_PATIENCE` multiplies, and the
/// length of each.
const N_SCRIPTS: u64 = 500;
const N_STEPS: usize = 40;

/// Long enough for every wait to look at what other programs have done, and for their messages to
/// have another time.
const LONG: Duration = Duration::from_secs(5);

pub(super) fn mailboxes() -> [MailboxName; 2] {
    ["ann@example.org", "bob@example.org"].map(mailbox)
}

pub(super) fn open(fs: &SimFs) -> (Arc<MessageStore>, Api) {
    let settings = Settings::new("/mail", "host.example");
    let store = MessageStore::open_on(Arc::new(fs.clone()), settings, fs.clock());
    let store = Arc::new(store.unwrap());
    let api = Api::new(
        Arc::clone(&store),
        accounts(),
        fs.clock(),
        Memory::default(),
    );
    (store, api)
}

/// A message in the mailboxes that have it.
#[derive(Clone, Debug)]
struct Known {
    subject: char,
    mailboxes: Vec<MailboxName>,
    /// The mailboxes that have it or had it, each with the number of the step in which it was first
    /// seen there: a copy can come later.
    steps: BTreeMap<MailboxName, usize>,
    arrived: u64,
}

/// A wait that goes on, and what the model needs to know of it.
#[derive(Debug)]
struct Waiting {
    wait: Wait,
    to: Option<MailboxName>,
    subject: Option<char>,
    count: Option<usize>,
    /// Only what was seen in this step or later counts, or what arrived at this time or later.
    from: From,
}

#[derive(Clone, Copy, Debug)]
enum From {
    Step(usize),
    Time { seconds: u64, step: usize },
}

struct World {
    fs: SimFs,
    store: Arc<MessageStore>,
    api: Api,
    step: usize,
    known: BTreeMap<EntryId, Known>,
    /// Each with the number of the first step behind it.
    cursors: Vec<(String, usize)>,
    waits: Vec<Waiting>,
    n_ended: usize,
    n_foreign: usize,
}

impl World {
    fn new() -> Self {
        let fs = SimFs::new();
        fs.set_times(Times::Fine);
        let (store, api) = open(&fs);
        Self {
            fs,
            store,
            api,
            step: 0,
            known: BTreeMap::new(),
            cursors: Vec::new(),
            waits: Vec::new(),
            n_ended: 0,
            n_foreign: 0,
        }
    }

    /// Compares what is known with what the mailboxes have.
    fn observe(&mut self) {
        let before = std::mem::take(&mut self.known);
        for mailbox in mailboxes() {
            let look = self.store.look(&mailbox).unwrap();
            for index in 0..look.messages().len() {
                let id = look.id(index).unwrap();
                let earlier = before.get(&id).map(|it| it.steps.clone());
                let known = self.known.entry(id).or_insert_with(|| {
                    let message = look.open_message(index).unwrap();
                    let mut text = [0; 10];
                    message.read_at(0, &mut text).unwrap();
                    Known {
                        subject: char::from(text[9]),
                        mailboxes: Vec::new(),
                        steps: earlier.unwrap_or_default(),
                        arrived: look.arrived_secs(index).unwrap(),
                    }
                });
                known.mailboxes.push(mailbox.clone());
                known.steps.entry(mailbox.clone()).or_insert(self.step);
            }
        }
    }

    fn deliver(&self, rng: &mut Rng) {
        let mut recipients = mailboxes().to_vec();
        recipients.retain(|_| rng.chance(60));
        let mut delivery = self.store.begin_delivery(0).unwrap();
        delivery.append(content(rng).as_bytes()).unwrap();
        // It is refused if no mailbox accepts it.
        delivery.commit(&recipients).unwrap_or_default();
    }

    /// Another program delivers into a mailbox that exists.
    fn deliver_foreign(&mut self, rng: &mut Rng) {
        let mailbox = &mailboxes()[rng.below(2)];
        let directory = directory_of(mailbox);
        let name = format!(
            "{}.{}.other",
            self.fs.clock().unix_time().as_secs(),
            self.step
        );
        let (from, to) = (
            directory.join("tmp").join(&name),
            directory.join("new").join(&name),
        );
        let Ok(mut file) = self.fs.create_new(&from) else {
            return;
        };
        file.append(content(rng).as_bytes()).unwrap();
        drop(file);
        if self.fs.rename(&from, &to).is_ok() {
            self.n_foreign += 1;
        }
    }

    /// A mailbox stops accepting mail, which then waits for it; or all accept it again.
    fn refuse(&self, rng: &mut Rng) {
        if rng.chance(60) {
            self.fs.accept_entries();
            self.fs.hands().pass(LONG);
            for mailbox in mailboxes() {
                // The store's own thread may have begun to try it before.
                self.store.check_recipient(&mailbox).unwrap_or_default();
            }
        } else {
            let new = directory_of(&mailboxes()[rng.below(2)]).join("new");
            self.fs.refuse_entries(&new, true);
        }
    }

    fn remove(&self, rng: &mut Rng) {
        let maildrop = self.store.open_maildrop(&mailboxes()[rng.below(2)]);
        let maildrop = maildrop.unwrap();
        let indexes: Vec<usize> = (0..maildrop.messages().len())
            .filter(|_| rng.chance(30))
            .collect();
        maildrop.remove(&indexes).unwrap_or_default();
    }

    fn take_cursor(&mut self) {
        // A message of another program counts by its second, so no other is in the same one.
        self.fs.hands().pass(LONG);
        self.observe();
        let cursor = Since::now(&self.api).to_string();
        self.cursors.push((cursor, self.step + 1));
        self.fs.hands().pass(LONG);
    }

    fn begin(&mut self, rng: &mut Rng) {
        let to = Some(mailboxes()[rng.below(2)].clone()).filter(|_| rng.chance(60));
        let subject = Some(['a', 'b'][rng.below(2)]).filter(|_| rng.chance(40));
        let count = Some(rng.below(3) + 1).filter(|_| rng.chance(50));
        let at = rng.below(1_000).checked_rem(self.cursors.len());
        let (since, from) = if let Some(at) = at.filter(|_| rng.chance(60)) {
            let (cursor, step) = self.cursors[at].clone();
            (cursor, From::Step(step))
        } else {
            let age = rng.below(30);
            let seconds = self.fs.clock().unix_time().as_secs();
            let seconds = seconds.saturating_sub(u64::try_from(age).unwrap());
            let step = self.step + 1;
            (format!("{age}s"), From::Time { seconds, step })
        };
        let mut query = format!("/api/wait?since={since}&timeout=60s");
        for (name, value) in [
            ("to", to.as_ref().map(ToString::to_string)),
            ("subject", subject.map(|it| it.to_string())),
            ("count", count.map(|it| it.to_string())),
        ] {
            if let Some(value) = value {
                query.extend(["&", name, "=", &value]);
            }
        }
        let answer = answer(&self.api, &get(&query), &Asker::Everybody).unwrap();
        let Answer::Wait(wait) = answer else {
            panic!("{answer:?}")
        };
        self.waits.push(Waiting {
            wait: *wait,
            to,
            subject,
            count,
            from,
        });
    }

    /// The messages that a wait should have found by now.
    fn wanted<'a>(
        &'a self,
        waiting: &'a Waiting,
    ) -> impl Iterator<Item = (&'a EntryId, &'a Known)> {
        self.known.iter().filter(|(_, known)| {
            let to = waiting.to.as_ref();
            let is_there = to.is_none_or(|to| known.mailboxes.contains(to));
            let mut copies = known.steps.iter();
            let counts = copies.any(|(mailbox, seen)| {
                let is_new = match waiting.from {
                    From::Step(step) => step <= *seen,
                    From::Time { seconds, step } => seconds <= known.arrived || step <= *seen,
                };
                is_new && to.is_none_or(|to| to == mailbox)
            });
            is_there && counts && waiting.subject.is_none_or(|it| it == known.subject)
        })
    }

    /// Gives each wait a turn, and checks that it ends if and only if it should.
    fn take_turns(&mut self) {
        self.fs.hands().pass(Duration::from_secs(1));
        let mut waits = std::mem::take(&mut self.waits);
        waits.retain_mut(|waiting| {
            let turn = waiting.wait.turn(&self.api, Duration::ZERO);
            self.observe();
            let wanted: BTreeMap<_, _> = self.wanted(waiting).collect();
            let enough = waiting.count.unwrap_or(1);
            let ended = match turn {
                Turn::Again => None,
                Turn::Done(answer) => Some(response_of(answer)),
            };
            let is_answered = |it: &Response| it.status() != Status::NoContent;
            let Some(response) = ended.as_ref().filter(|it| is_answered(it)) else {
                assert!(wanted.len() < enough, "missed: {wanted:?} {waiting:?}");
                return ended.is_none();
            };
            let found = found(response, waiting.count);
            let expected = waiting.count.map_or(1, |_| wanted.len());
            assert_eq!(found.len(), expected, "{wanted:?} {waiting:?}");
            assert!(found.len() >= enough, "{waiting:?}");
            let newest = wanted.values().map(|known| known.arrived).max();
            for id in &found {
                let known = wanted
                    .get(id)
                    .unwrap_or_else(|| panic!("not wanted: {id:?} {:?} {waiting:?}", self.known));
                assert!(
                    waiting.count.is_some() || Some(known.arrived) == newest,
                    "{waiting:?}"
                );
            }
            let mut each = found.clone();
            each.sort();
            each.dedup();
            assert_eq!(each.len(), found.len(), "twice: {found:?}");
            self.n_ended += 1;
            false
        });
        self.waits = waits;
    }

    /// Stops the daemon and starts it again, after which no cursor is known.
    fn restart(self) -> Self {
        let Self { fs, store, api, .. } = self;
        drop((self.waits, api));
        store.close().unwrap();
        drop(store);
        let (store, api) = open(&fs);
        for (cursor, _) in self.cursors {
            let request = get(&format!("/api/wait?since={cursor}"));
            let Err(Failure::Refused(refusal)) = answer(&api, &request, &Asker::Everybody) else {
                panic!("{cursor} is of an earlier run")
            };
            assert_eq!(refusal.status, Status::Gone);
        }
        Self {
            fs,
            store,
            api,
            cursors: Vec::new(),
            waits: Vec::new(),
            ..self
        }
    }

    fn step(mut self, rng: &mut Rng) -> Self {
        self.step += 1;
        match rng.below(20) {
            0..6 => self.deliver(rng),
            6..8 => self.deliver_foreign(rng),
            8..10 => self.remove(rng),
            10..12 => self.refuse(rng),
            12..14 => self.take_cursor(),
            14..17 => self.begin(rng),
            17..19 => self.take_turns(),
            _ if rng.chance(20) => self = self.restart(),
            _ => self.fs.hands().pass(LONG),
        }
        self.observe();
        self
    }
}

pub(super) fn directory_of(mailbox: &MailboxName) -> PathBuf {
    let parts = [mailbox.domain(), mailbox.local_part()];
    Path::new("/mail").join(parts.iter().collect::<PathBuf>())
}

pub(super) fn content(rng: &mut Rng) -> String {
    let subject = ['a', 'b'][rng.below(2)];
    format!("Subject: {subject}\n\n{:016x}\n", rng.next())
}

/// No accounts: everybody who asks sees all mail.
pub(super) fn accounts() -> Arc<Accounts> {
    Arc::new(Accounts::open(&AccountSettings {
        hostname: Domain::localhost(),
        domains: Vec::new(),
        subaddress: Some('+'),
    }))
}

/// A GET of this target.
pub(super) fn get(target: &str) -> Request {
    Request {
        method: Method::Get,
        target: Target::parse(target).unwrap(),
        fields: Fields::default(),
        body: Vec::new(),
        scope: Scope::Everything,
        way: Way::Plain,
    }
}

/// The response that the client of a wait gets.
pub(super) fn response_of(answer: Result<Response, Failure>) -> Response {
    answer.unwrap_or_else(|failure| failure.into_refusal().into())
}

/// The JSON in a response.
pub(super) fn json_of(response: &Response) -> Value {
    match response.body() {
        Body::Octets(octets) => serde_json::from_slice(octets).unwrap(),
        body @ (Body::Stream { .. } | Body::Open) => panic!("{body:?}"),
    }
}

/// The IDs in an answer.
fn found(response: &Response, count: Option<usize>) -> Vec<EntryId> {
    let body = json_of(response);
    let id = |message: &Value| EntryId::parse(message["ID"].as_str().unwrap()).unwrap();
    match count {
        None => vec![id(&body)],
        Some(_) => body["messages"]
            .as_array()
            .unwrap()
            .iter()
            .map(id)
            .collect(),
    }
}

#[test]
fn no_message_is_missed_and_none_counts_twice() {
    let (mut n_ended, mut n_foreign) = (0, 0);
    let factor: u64 = std::env::var("FACTEUR_PATIENCE").map_or(1, |factor| factor.parse().unwrap());
    for seed in 0..N_SCRIPTS * factor {
        let mut rng = Rng::new(seed);
        let mut world = World::new();
        for _ in 0..N_STEPS {
            world = world.step(&mut rng);
        }
        world.take_turns();
        n_ended += world.n_ended;
        n_foreign += world.n_foreign;
    }
    println!("{n_ended} waits ended; other programs delivered {n_foreign} messages");
    assert!(
        n_ended > 1_000 && n_foreign > 1_000,
        "{n_ended} {n_foreign}"
    );
}
