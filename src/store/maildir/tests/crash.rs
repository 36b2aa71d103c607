//! The store on a disk that loses its power, fails, or is full, at every operation in turn.
//!
//! A script is a list of client actions, generated from a seed. It runs on the simulated disk with
//! the power cut (or the process killed, or an error reported) at operation 1, 2, 3, … until it
//! reaches its end. Each time the store is opened again on what is left, and compared with the
//! naive model. The journals here are tiny, so that their segments are filled and reused.

#![expect(clippy::arithmetic_side_effects, reason = "tests count small things")]

use std::{
    cell::Cell,
    collections::BTreeMap,
    io,
    ops::Range,
    path::Path,
    sync::{
        Arc, OnceLock, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::{
    fs::Fs as _,
    mail::MailboxName,
    store::{
        Delivery, Durability, Error, Event, Maildrop, MessageStore, Observer, Settings,
        limits::{CHECKPOINT_AGE_MAX, CHECKPOINT_IDLE, FREE_OCTETS_RESERVE, SYNC_SLOW},
        maildir::{
            Patience, checkpoint,
            delivery::{Ailing, Commit},
            open::OpenStore,
        },
    },
    testing::{
        bugs::{self, Bug},
        disk::{Defect, Fault, SimFs, Times},
        model::{Fate, Model, Start, read},
        rng::Rng,
    },
};

use super::mailbox;

pub(super) const ROOT: &str = "/mail";

/// The journal sizes that scripts run with: the smaller the segments, the more often a new one is
/// entered.
pub(super) const JOURNALS: [Durability; 3] = [journal(12, 2), journal(32, 3), journal(96, 3)];

const fn journal(kibioctets: u64, segments: usize) -> Durability {
    Durability::Journal {
        segment_octets: kibioctets * 1024,
        segments,
    }
}

/// The crash states that each script is given per operation.
const SEEDS_PER_CRASH: u64 = 5;

/// The number of scripts in the ordinary test run, and the length of each.
const N_SCRIPTS: u64 = 32;
const N_ACTIONS: usize = 34;

/// The minimum number of crash states in the ordinary test run.
const N_STATES_MIN: u64 = 20_000;

/// One action of a client. Deliveries and mailboxes are given by number.
#[derive(Clone, Debug)]
enum Action {
    Begin {
        delivery: usize,
        declared: u64,
    },
    Append {
        delivery: usize,
        octets: Vec<u8>,
    },
    Commit {
        delivery: usize,
        recipients: Vec<usize>,
    },
    /// Like `Commit`, up to where it waits for others.
    Submit {
        delivery: usize,
        recipients: Vec<usize>,
    },
    /// The rest of `Commit`.
    Finish {
        delivery: usize,
    },
    /// The store was idle for a while.
    Idle,
    /// Some seconds pass, several times, each time perhaps with a new message.
    Wait {
        is_idle: bool,
    },
    Abort {
        delivery: usize,
    },
    Open {
        mailbox: usize,
    },
    Read {
        mailbox: usize,
        choice: usize,
    },
    Remove {
        mailbox: usize,
        choices: Vec<usize>,
        /// The number of one of its operations, and what happens before it.
        meddling: Option<(usize, Meddling)>,
    },
    Close {
        mailbox: usize,
    },
    /// Another program marks a message as seen.
    Move {
        mailbox: usize,
        choice: usize,
    },
    /// Somebody removes write permission from a part of a mailbox.
    Break {
        mailbox: usize,
        part: usize,
    },
    /// Somebody restores it.
    Mend {
        mailbox: usize,
        part: usize,
    },
    /// Something happens during the next actions: before the operation that is `after` operations
    /// away.
    Meddle {
        after: usize,
        meddling: Meddling,
    },
    /// Another program deletes a message.
    Delete {
        mailbox: usize,
        choice: usize,
    },
}

/// Something that happens while the store works.
#[derive(Clone, Copy, Debug)]
enum Meddling {
    /// Another program renames a message.
    Rename {
        mailbox: usize,
        choice: usize,
        renaming: Renaming,
    },
    /// Another thread of the store makes a checkpoint.
    Checkpoint,
}

/// How other programs rename messages.
#[derive(Clone, Copy, Debug)]
enum Renaming {
    /// Mark a message in `new` as seen.
    Seen,
    /// Move it back to `new`.
    Unseen,
    /// Set a flag in `cur`.
    Flag,
    /// Append a field, wherever the message is.
    Field,
}

impl Renaming {
    const ALL: [Self; 4] = [Self::Seen, Self::Unseen, Self::Flag, Self::Field];

    fn from(self) -> &'static str {
        match self {
            Self::Seen => "new",
            Self::Unseen | Self::Flag | Self::Field => "cur",
        }
    }

    /// The new place of the file `name`.
    fn to(self, name: &str) -> (&'static str, String) {
        let (base, flags) = name.split_once(":2,").unwrap_or((name, ""));
        match self {
            Self::Seen => ("cur", format!("{base}:2,S{flags}")),
            Self::Unseen => ("new", base.to_owned()),
            Self::Flag => ("cur", format!("{base}:2,F{flags}")),
            Self::Field => ("cur", format!("{base},U=1:2,{flags}")),
        }
    }
}

/// Other programs and threads that work at the same time as the store.
#[derive(Debug)]
struct Meddlers {
    fs: SimFs,
    store: OnceLock<Weak<OpenStore>>,
    armed: Mutex<Vec<(usize, Meddling)>>,
    is_at_work: AtomicBool,
}

impl Meddlers {
    /// Meddlers with nothing to do yet, and the file system for the store that they disturb.
    fn beside(fs: &SimFs) -> (Arc<Self>, SimFs) {
        let meddlers = Arc::new(Self {
            fs: fs.clone(),
            store: OnceLock::new(),
            armed: Mutex::default(),
            is_at_work: AtomicBool::new(false),
        });
        let weak = Arc::downgrade(&meddlers);
        let watched = fs.watched(move || {
            if let Some(meddlers) = weak.upgrade() {
                meddlers.an_operation_begins();
            }
        });
        (meddlers, watched)
    }

    fn arm(&self, after: usize, meddling: Meddling) {
        self.armed.lock().push((after, meddling));
    }

    fn an_operation_begins(&self) {
        if self.is_at_work.swap(true, Ordering::Relaxed) {
            return;
        }
        let mut armed = self.armed.lock();
        for (left, _) in &mut *armed {
            *left = left.saturating_sub(1);
        }
        let now: Vec<_> = armed.extract_if(.., |(left, _)| *left == 0).collect();
        drop(armed);
        for (_, meddling) in now {
            self.act(meddling);
        }
        self.is_at_work.store(false, Ordering::Relaxed);
    }

    fn act(&self, meddling: Meddling) {
        match meddling {
            Meddling::Rename {
                mailbox,
                choice,
                renaming,
            } => {
                // If it fails, it leaves the message where it was.
                rename(&self.fs, mailbox, choice, renaming).unwrap_or_default();
            }
            Meddling::Checkpoint => {
                let store = self.store.get().and_then(Weak::upgrade);
                // A checkpoint or a batch in progress cannot be waited for.
                if let Some(store) = store.filter(|it| it.checkpoints.is_free())
                    && let Some(journal) = store.journal.as_ref().filter(|it| it.is_free())
                    // A failure changes nothing.
                    && checkpoint::checkpoint(&store).is_ok()
                    && journal.progress().checkpointed > journal.progress().settled
                {
                    journal.write_floor(&*store).unwrap_or_default();
                }
            }
        }
    }
}

/// Acts like a program that is careful not to lose a message, but may leave it with one or two
/// names after a power cut.
fn rename(fs: &SimFs, mailbox: usize, choice: usize, renaming: Renaming) -> io::Result<()> {
    let name = &mailboxes()[mailbox];
    let maildir = Path::new(ROOT).join(name.domain()).join(name.local_part());
    let from = maildir.join(renaming.from());
    let entries = fs.read_dir(&from)?;
    let Some(index) = choice.checked_rem(entries.len()) else {
        return Ok(());
    };
    let name = entries[index].name.to_str().unwrap();
    let (side, renamed) = renaming.to(name);
    let (from, to) = (from.join(name), maildir.join(side).join(renamed));
    if fs.metadata(&to).is_ok() {
        // Both exist since a kill, and nobody knows which of them is durable.
        return Ok(());
    }
    let moved = fs.hard_link(&from, &to).and_then(|()| {
        if fs.is_fuse() {
            fs.open(&to)?.sync()
        } else {
            fs.sync_dir(&maildir.join(side))
        }
    });
    let surplus = if moved.is_ok() { &from } else { &to };
    fs.unlink(surplus).or_else(|_| fs.unlink(surplus))
}

pub(super) fn mailboxes() -> Vec<MailboxName> {
    ["ann@example.org", "bob@example.org", "ann@example.net"]
        .map(mailbox)
        .to_vec()
}

/// The actions of clients, and the kind of store that they use.
#[derive(Clone, Debug)]
struct Script {
    durability: Durability,
    /// Whether other programs write a lot, so that syncs of the whole file system are slow.
    is_busy: bool,
    /// Whether one of the mailboxes is on another device.
    is_split: bool,
    times: Times,
    /// Whether the file system is served by a user-space program, so that such a sync saves
    /// nothing.
    is_fuse: bool,
    actions: Vec<Action>,
}

impl Script {
    /// An empty disk for this script.
    fn disk(&self) -> SimFs {
        let fs = SimFs::new();
        fs.set_times(self.times);
        if self.is_busy {
            fs.slow_syncs(SYNC_SLOW, Duration::ZERO);
        }
        if self.is_split {
            fs.split_at(&Path::new(ROOT).join("example.net"));
        }
        if self.is_fuse {
            fs.be_fuse();
        }
        fs
    }
}

/// A script of about `n_actions`. Two of three scripts use a journal.
fn script(seed: u64, n_actions: usize) -> Script {
    let kinds = [
        JOURNALS[0],
        Durability::Maildir,
        JOURNALS[1],
        JOURNALS[0],
        Durability::Maildir,
        JOURNALS[2],
    ];
    let kind = usize::try_from(seed % 6).unwrap();
    let mut actions = actions(seed, n_actions);
    if seed % 5 < 2 {
        break_mailboxes(&mut actions, seed);
    }
    Script {
        durability: kinds[kind],
        is_busy: seed % 4 < 2,
        is_split: seed % 7 < 3,
        is_fuse: seed % 5 == 3,
        times: [Times::Fine, Times::Coarse, Times::Still][usize::try_from(seed % 5 % 3).unwrap()],
        actions,
    }
}

/// Breaks and repairs mailboxes somewhere in the script.
fn break_mailboxes(actions: &mut Vec<Action>, seed: u64) {
    let mut rng = Rng::new(!seed);
    for _ in 0..3 {
        let (mailbox, part) = (rng.below(3), rng.below(3));
        let at = rng.below(actions.len());
        actions.insert(at, Action::Break { mailbox, part });
        let until = at + rng.below(actions.len() - at);
        actions.insert(until + 1, Action::Mend { mailbox, part });
    }
}

/// About `n_actions`, with four deliveries to three sessions, in any order.
fn actions(seed: u64, n_actions: usize) -> Vec<Action> {
    let mut rng = Rng::new(seed);
    let mut actions = Vec::new();
    let mut sequence = 0;
    while actions.len() < n_actions {
        let delivery = rng.below(4);
        let mailbox = rng.below(3);
        match rng.below(15) {
            0..=4 => {
                sequence += 1;
                let mut octets = format!("{seed}/{sequence}\n").into_bytes();
                let n_lines = if rng.chance(15) { 300 } else { rng.below(6) };
                for line in 0..n_lines {
                    octets.extend(format!("line {line} {}\n", rng.next()).bytes());
                }
                if rng.chance(20) {
                    octets.extend(b"no line ending");
                }
                let at = rng.below(octets.len());
                let tail = octets.split_off(at);
                let recipients = (0..=rng.below(4)).map(|_| rng.below(3)).collect();
                actions.push(Action::Begin {
                    delivery,
                    declared: rng.next() >> 40,
                });
                actions.push(Action::Append { delivery, octets });
                actions.push(Action::Append {
                    delivery,
                    octets: tail,
                });
                match rng.below(20) {
                    0..=2 => actions.push(Action::Abort { delivery }),
                    3..=10 => actions.push(Action::Commit {
                        delivery,
                        recipients,
                    }),
                    _ => actions.extend([
                        Action::Submit {
                            delivery,
                            recipients,
                        },
                        Action::Finish { delivery },
                    ]),
                }
            }
            5..=6 => actions.push(Action::Open { mailbox }),
            7 => actions.push(Action::Read {
                mailbox,
                choice: rng.below(20),
            }),
            8 => actions.push(any_removal(mailbox, &mut rng)),
            9 => actions.push(Action::Close { mailbox }),
            10 => actions.push(Action::Idle),
            11 => actions.push(Action::Delete {
                mailbox,
                choice: rng.below(20),
            }),
            12 => actions.push(Action::Wait {
                is_idle: rng.chance(50),
            }),
            13 => actions.push(Action::Move {
                mailbox,
                choice: rng.below(20),
            }),
            _ => actions.push(Action::Meddle {
                after: 1 + rng.below(12),
                meddling: any_meddling(&mut rng),
            }),
        }
    }
    interleave(actions, &mut rng)
}

fn any_removal(mailbox: usize, rng: &mut Rng) -> Action {
    let choices = (0..=rng.below(3)).map(|_| rng.below(20)).collect();
    let meddling = (1 + rng.below(12), any_meddling(rng));
    Action::Remove {
        mailbox,
        choices,
        meddling: rng.chance(50).then_some(meddling),
    }
}

fn any_meddling(rng: &mut Rng) -> Meddling {
    if rng.chance(25) {
        return Meddling::Checkpoint;
    }
    any_renaming(rng)
}

fn any_renaming(rng: &mut Rng) -> Meddling {
    Meddling::Rename {
        mailbox: rng.below(3),
        choice: rng.below(20),
        renaming: Renaming::ALL[rng.below(4)],
    }
}

/// Two clients share a batch, and the store makes a checkpoint when only one of them has put its
/// message into the mailbox. Random scripts would take long to find this order.
fn overtaking() -> Script {
    let mut actions = Vec::new();
    for delivery in 0..2 {
        let octets = format!("overtaking {delivery}\n").into_bytes();
        actions.extend([
            Action::Begin {
                delivery,
                declared: 0,
            },
            Action::Append { delivery, octets },
            Action::Submit {
                delivery,
                recipients: vec![0],
            },
        ]);
    }
    actions.extend([
        Action::Finish { delivery: 1 },
        Action::Idle,
        Action::Finish { delivery: 0 },
        Action::Open { mailbox: 0 },
    ]);
    Script {
        durability: JOURNALS[2],
        is_busy: false,
        is_split: false,
        times: Times::Coarse,
        is_fuse: false,
        actions,
    }
}

/// Another program marks a message as seen before a file-by-file checkpoint that has to make it
/// durable. Random scripts would take long to find this too.
fn moving() -> Script {
    let mut actions = Vec::from(deliver("moving", 0));
    actions.push(Action::Idle);
    actions.extend(deliver("moving", 1));
    actions.extend([
        Action::Move {
            mailbox: 0,
            choice: 1,
        },
        Action::Idle,
        Action::Open { mailbox: 0 },
    ]);
    busy(actions)
}

/// Another program marks a message as seen, and a client removes it. While it is being searched
/// for, a file-by-file checkpoint is made, `after` operations after the start of the removal.
fn removing(after: usize) -> Script {
    let mut actions = Vec::from(deliver("removing", 0));
    actions.push(Action::Idle);
    for number in 1..4 {
        actions.extend(deliver("removing", number));
    }
    actions.extend([
        Action::Open { mailbox: 0 },
        Action::Move {
            mailbox: 0,
            choice: 1,
        },
        Action::Move {
            mailbox: 0,
            choice: 1,
        },
        Action::Remove {
            mailbox: 0,
            choices: vec![1, 2, 3],
            meddling: Some((after, Meddling::Checkpoint)),
        },
    ]);
    busy(actions)
}

/// A client removes messages that a crash would replay, and more mail arrives afterwards.
fn taking_back() -> Script {
    let mut actions = Vec::new();
    for number in 0..3 {
        actions.extend(deliver("taking back", number));
    }
    actions.extend([
        Action::Open { mailbox: 0 },
        Action::Remove {
            mailbox: 0,
            choices: vec![0, 2],
            meddling: None,
        },
        Action::Close { mailbox: 0 },
    ]);
    actions.extend(deliver("taking back", 3));
    Script {
        is_busy: false,
        ..busy(actions)
    }
}

/// The actions that deliver a message to the first mailbox.
fn deliver(name: &str, delivery: usize) -> [Action; 3] {
    let octets = format!("{name} {delivery}\n").into_bytes();
    let recipients = vec![0];
    [
        Action::Begin {
            delivery,
            declared: 0,
        },
        Action::Append { delivery, octets },
        Action::Commit {
            delivery,
            recipients,
        },
    ]
}

/// A script next to programs that write a lot.
fn busy(actions: Vec<Action>) -> Script {
    Script {
        durability: JOURNALS[2],
        is_busy: true,
        is_split: false,
        times: Times::Fine,
        is_fuse: false,
        actions,
    }
}

/// The scripts that are not random.
fn written() -> impl Iterator<Item = Script> {
    let removing = [2, 5, 8, 11].map(removing);
    [overtaking(), moving(), forgetting(), taking_back()]
        .into_iter()
        .chain(removing)
}

/// Swaps neighbours that belong to different clients, so that their work overlaps.
fn interleave(mut actions: Vec<Action>, rng: &mut Rng) -> Vec<Action> {
    let client = |action: &Action| match action {
        Action::Begin { delivery, .. }
        | Action::Append { delivery, .. }
        | Action::Commit { delivery, .. }
        | Action::Submit { delivery, .. }
        | Action::Finish { delivery }
        | Action::Abort { delivery } => *delivery,
        Action::Open { mailbox }
        | Action::Read { mailbox, .. }
        | Action::Remove { mailbox, .. }
        | Action::Close { mailbox } => 10 + mailbox,
        Action::Move { .. } | Action::Delete { .. } | Action::Meddle { .. } => 20,
        Action::Idle | Action::Wait { .. } => 30,
        Action::Break { .. } | Action::Mend { .. } => 40,
    };
    for _ in 0..actions.len() * 2 {
        let at = rng.below(actions.len().saturating_sub(1));
        if client(&actions[at]) != client(&actions[at + 1]) {
            actions.swap(at, at + 1);
        }
    }
    actions
}

thread_local! {
    /// Whether a start in this thread found that the disk had lost a part of the journal.
    static ALARM: Cell<bool> = const { Cell::new(false) };
}

pub(super) fn open(fs: &SimFs, durability: Durability) -> Result<MessageStore, Error> {
    ALARM.set(false);
    let settings = Settings {
        durability,
        observer: Observer::new(|event| {
            if matches!(event, Event::JournalDamaged { .. }) {
                ALARM.set(true);
            }
        }),
        ..Settings::new(ROOT, "host.example")
    };
    MessageStore::open_quietly(
        Arc::new(fs.clone()),
        settings,
        fs.clock(),
        Patience::default(),
    )
}

/// The clients of one store.
struct Clients<'a> {
    fs: &'a SimFs,
    meddlers: Arc<Meddlers>,
    durability: Durability,
    store: MessageStore,
    model: Model,
    deliveries: BTreeMap<usize, (Delivery, Vec<u8>)>,
    /// Deliveries that wait for their batch, with their contents and recipients.
    submitted: BTreeMap<usize, (Commit, Vec<u8>, Vec<MailboxName>)>,
    maildrops: BTreeMap<usize, Maildrop>,
    /// Messages that another program has durably deleted.
    deleted: Vec<(usize, Vec<u8>)>,
    n_trickled: usize,
}

impl<'a> Clients<'a> {
    /// Opens the store.
    fn open(fs: &'a SimFs, durability: Durability) -> Result<Self, Error> {
        let (meddlers, watched) = Meddlers::beside(fs);
        let store = open(&watched, durability)?;
        let open = Arc::downgrade(&store.maildirs().open);
        meddlers.store.set(open).unwrap();
        Ok(Self {
            fs,
            meddlers,
            durability,
            store,
            model: Model::default(),
            deliveries: BTreeMap::new(),
            submitted: BTreeMap::new(),
            maildrops: BTreeMap::new(),
            deleted: Vec::new(),
            n_trickled: 0,
        })
    }

    fn perform_all(&mut self, actions: &[Action]) -> Result<(), String> {
        actions.iter().try_for_each(|action| self.perform(action))?;
        while let Some((&delivery, _)) = self.submitted.first_key_value() {
            self.finish(delivery);
        }
        self.deliveries.clear();
        self.maildrops.clear();
        Ok(())
    }

    fn perform(&mut self, action: &Action) -> Result<(), String> {
        match action {
            Action::Begin { delivery, declared } => {
                if let Ok(begun) = self.store.begin_delivery(*declared) {
                    self.deliveries.insert(*delivery, (begun, Vec::new()));
                }
            }
            Action::Append { delivery, octets } => {
                if let Some((delivery, content)) = self.deliveries.get_mut(delivery) {
                    if delivery.append(octets).is_err() {
                        // Then the commit must fail too. The check will notice if it does not.
                        content.extend(b"what was not written");
                    }
                    content.extend(octets);
                }
            }
            Action::Commit {
                delivery,
                recipients,
            } => {
                self.submit(*delivery, recipients);
                self.finish(*delivery);
            }
            Action::Submit {
                delivery,
                recipients,
            } => self.submit(*delivery, recipients),
            Action::Finish { delivery } => self.finish(*delivery),
            // A failure changes nothing.
            Action::Idle => {
                self.fs.hands().pass(CHECKPOINT_IDLE);
                self.play_thread();
            }
            Action::Wait { is_idle } => self.wait(*is_idle),
            Action::Abort { delivery } => drop(self.deliveries.remove(delivery)),
            Action::Open { mailbox } => self.open_maildrop(*mailbox)?,
            Action::Read { mailbox, choice } => {
                if let Some((maildrop, index)) = self.choose(*mailbox, *choice)
                    && let Ok(content) = read(maildrop, index)
                {
                    let unique_id = maildrop.messages().unique_id(index).unwrap().into_owned();
                    self.model
                        .see(&mailboxes()[*mailbox], &content, &unique_id)?;
                }
            }
            Action::Remove {
                mailbox,
                choices,
                meddling,
            } => self.remove(*mailbox, choices, *meddling),
            Action::Close { mailbox } => drop(self.maildrops.remove(mailbox)),
            Action::Break { mailbox, part } => self.refuse(*mailbox, *part, true),
            Action::Mend { mailbox, part } => self.refuse(*mailbox, *part, false),
            Action::Move { mailbox, choice } => {
                // If it fails, it leaves the message where it was.
                rename(self.fs, *mailbox, *choice, Renaming::Seen).unwrap_or_default();
            }
            Action::Meddle { after, meddling } => self.meddlers.arm(*after, *meddling),
            Action::Delete { mailbox, choice } => {
                // Likewise.
                self.delete(*mailbox, *choice).unwrap_or_default();
            }
        }
        Ok(())
    }

    /// Acts like somebody changing the permissions of a part of a mailbox, if it is there.
    fn refuse(&self, mailbox: usize, part: usize, refuses: bool) {
        let name = &mailboxes()[mailbox];
        let domain = Path::new(ROOT).join(name.domain());
        let maildir = domain.join(name.local_part());
        let part = [maildir.join("new"), maildir.join("cur"), domain][part].clone();
        self.fs.refuse_entries(&part, refuses);
    }

    /// Acts like a program that durably deletes a message.
    fn delete(&mut self, mailbox: usize, choice: usize) -> io::Result<()> {
        let name = &mailboxes()[mailbox];
        let maildir = Path::new(ROOT).join(name.domain()).join(name.local_part());
        let directory = maildir.join(["new", "cur"][choice % 2]);
        let entries = self.fs.read_dir(&directory)?;
        let Some(index) = choice.checked_rem(entries.len()) else {
            return Ok(());
        };
        let path = directory.join(&entries[index].name);
        let mut content = vec![0; 64 * 1024];
        let mut file = self.fs.open(&path)?;
        let n_read = file.read(&mut content)?;
        content.truncate(n_read);
        self.model.note(name, &content, Fate::RemovalAttempted);
        self.fs.unlink(&path)?;
        if self.fs.is_fuse() {
            file.sync()?;
        }
        for side in ["cur", "new"] {
            self.fs.sync_dir(&maildir.join(side))?;
        }
        if !self.fs.is_fuse() {
            self.deleted.push((mailbox, content));
        }
        Ok(())
    }

    /// Lets enough time pass for messages that another program has deleted to stay deleted.
    fn wait(&mut self, is_idle: bool) {
        // A message that is not in its mailboxes yet may be delivered and then deleted.
        let is_waited_for = !self.submitted.is_empty();
        let deleted = std::mem::take(&mut self.deleted);
        for _ in 0..5 {
            self.fs.hands().pass(CHECKPOINT_AGE_MAX / 3);
            if !is_idle {
                self.trickle();
            }
            self.play_thread();
        }
        if !is_waited_for && self.fs.is_well() {
            for (mailbox, content) in deleted {
                self.model.note(&mailboxes()[mailbox], &content, Fate::Gone);
            }
        }
    }

    /// Does the work of the checkpoint thread. A failure changes nothing.
    fn play_thread(&self) {
        let open = &self.store.maildirs().open;
        if open.checkpoints.take_urgent() {
            checkpoint::checkpoint(open).unwrap_or_default();
        }
        checkpoint::checkpoint_if_due(open);
    }

    /// Delivers a message.
    fn trickle(&mut self) {
        const NUMBER: usize = 1_000;
        self.n_trickled += 1;
        let content = format!("trickle {}\n", self.n_trickled).into_bytes();
        if let Ok(mut delivery) = self.store.begin_delivery(0)
            && delivery.append(&content).is_ok()
        {
            self.deliveries.insert(NUMBER, (delivery, content));
            self.submit(NUMBER, &[1]);
            self.finish(NUMBER);
        }
    }

    /// Starts to commit a delivery, after finishing the last one with the same number.
    fn submit(&mut self, number: usize, recipients: &[usize]) {
        self.finish(number);
        let Some((delivery, content)) = self.deliveries.remove(&number) else {
            return;
        };
        let recipients = recipients.iter().map(|&it| mailboxes()[it].clone());
        let recipients: Vec<MailboxName> = recipients.collect();
        self.note(&content, &recipients, Fate::Attempted);
        let ailing = if number.is_multiple_of(2) {
            Ailing::SetAside
        } else {
            Ailing::LeftOut
        };
        match delivery.into_maildir().begin_commit(&recipients, ailing) {
            Ok(commit) => {
                let submitted = (commit, content, recipients);
                self.submitted.insert(number, submitted);
            }
            Err(_) => self.note(&content, &recipients, Fate::Refused),
        }
    }

    fn finish(&mut self, number: usize) {
        if let Some((commit, content, recipients)) = self.submitted.remove(&number) {
            let finished = commit.finish();
            for mailbox in &recipients {
                let is_left_out = |(left_out, _): &(MailboxName, _)| left_out == mailbox;
                let fate = match &finished {
                    Ok(left_out) if !left_out.iter().any(is_left_out) => Fate::Accepted,
                    Ok(_) | Err(_) => Fate::Refused,
                };
                // Another program may have deleted it in the meantime.
                self.model.settle(mailbox, &content, fate);
            }
        }
    }

    fn note(&mut self, content: &[u8], recipients: &[MailboxName], fate: Fate) {
        for mailbox in recipients {
            self.model.note(mailbox, content, fate);
        }
    }

    /// Opens a maildrop and checks that everything listed is durable now (I4).
    fn open_maildrop(&mut self, mailbox: usize) -> Result<(), String> {
        let name = &mailboxes()[mailbox];
        match self.store.open_maildrop(name) {
            Err(_) => {}
            Ok(_) if self.maildrops.contains_key(&mailbox) => {
                return Err(format!("{name}: opened twice"));
            }
            Ok(maildrop) => {
                check_durable(self.fs, self.durability, name, &maildrop)?;
                self.maildrops.insert(mailbox, maildrop);
            }
        }
        Ok(())
    }

    /// An open maildrop and one of its messages.
    fn choose(&self, mailbox: usize, choice: usize) -> Option<(&Maildrop, usize)> {
        let maildrop = self.maildrops.get(&mailbox)?;
        Some((maildrop, choice.checked_rem(maildrop.messages().len())?))
    }

    fn remove(&mut self, mailbox: usize, choices: &[usize], meddling: Option<(usize, Meddling)>) {
        let mut chosen: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for &choice in choices {
            // The model knows messages by content, so one that cannot be read is not chosen.
            if let Some((maildrop, index)) = self.choose(mailbox, choice)
                && let Ok(content) = read(maildrop, index)
            {
                chosen.insert(index, content);
            }
        }
        let name = &mailboxes()[mailbox];
        let Some(maildrop) = self.maildrops.get(&mailbox) else {
            return;
        };
        for content in chosen.values() {
            self.model.note(name, content, Fate::RemovalAttempted);
        }
        let indexes: Vec<usize> = chosen.keys().copied().collect();
        if let Some((after, meddling)) = meddling {
            self.meddlers.arm(after, meddling);
        }
        if maildrop.remove(&indexes).is_ok() {
            for content in chosen.values() {
                self.model.note(name, content, Fate::Gone);
            }
        }
    }
}

/// Checks that everything listed would be there if the power failed now (I4).
fn check_durable(
    fs: &SimFs,
    durability: Durability,
    name: &MailboxName,
    maildrop: &Maildrop,
) -> Result<(), String> {
    let n_messages = maildrop.messages().len();
    let contents: Vec<Vec<u8>> = (0..n_messages)
        .filter_map(|index| read(maildrop, index).ok())
        .collect();
    if contents.is_empty() {
        return Ok(());
    }
    let failed = |error: Error| format!("I4: {name}: {error:?}");
    let cut = fs.power_cut(0);
    let found = open(&cut, durability).map_err(failed)?;
    cut.accept_entries();
    let durable = found.open_maildrop(name).map_err(failed)?;
    let n_durable = durable.messages().len();
    let durable: Vec<Vec<u8>> = (0..n_durable)
        .map(|index| read(&durable, index).map_err(failed))
        .collect::<Result<_, _>>()?;
    if contents.iter().all(|content| durable.contains(content)) {
        return Ok(());
    }
    Err(format!("I4: {name}: listed but not durable"))
}

/// Runs `script` on `fs`. Returns the model of what has to be there. The store may fail to open.
fn run(fs: &SimFs, script: &Script) -> Result<Model, String> {
    let Ok(mut clients) = Clients::open(fs, script.durability) else {
        return Ok(Model::default());
    };
    clients.perform_all(&script.actions)?;
    Ok(clients.model)
}

/// Opens the store on `fs`, which must succeed, and checks it.
pub(super) fn check_found(
    fs: &SimFs,
    durability: Durability,
    model: &mut Model,
    start: Start,
) -> Result<MessageStore, String> {
    let mut rng = Rng::new(fs.seed());
    let (meddlers, watched) = Meddlers::beside(fs);
    // Other programs do not wait for the end of the start. The store is not responsible for what
    // they remove.
    if !fs.has(Defect::RemovedNamesComeBackEmpty) {
        for _ in 0..3 {
            let meddling = any_renaming(&mut rng);
            meddlers.arm(1 + rng.below(40), meddling);
        }
    }
    let before = files(fs);
    let opened = open(&watched, durability);
    let store = opened.map_err(|error| format!("I10: does not open: {error:?}"))?;
    if ALARM.get() {
        return Err("I7: a part of the journal that was needed was written over".to_owned());
    }
    // Mail that waits for a broken mailbox appears when the mailbox is repaired, without a restart.
    fs.accept_entries();
    model.check(&store, start)?;
    let n_before = |message| before.get(message).copied().unwrap_or_default();
    let after = files(fs);
    let doubled = after
        .iter()
        .find(|(message, count)| **count > n_before(message).max(1));
    doubled.map_or(Ok(store), |doubled| {
        Err(format!("I8: a start has made a second file: {doubled:?}"))
    })
}

/// The number of files of each message, by its mailbox and the part of its name that does not
/// change.
fn files(fs: &SimFs) -> BTreeMap<(usize, String), usize> {
    let mut files = BTreeMap::new();
    for (number, mailbox) in mailboxes().iter().enumerate() {
        let path = Path::new(ROOT).join(mailbox.domain());
        for side in ["new", "cur"] {
            let directory = path.join(mailbox.local_part()).join(side);
            for entry in fs.read_dir(&directory).unwrap_or_default() {
                let name = entry.name.to_str().unwrap();
                let (message, _) = name.split_once(',').unwrap();
                *files.entry((number, message.to_owned())).or_default() += 1;
            }
        }
    }
    files
}

/// Like [`check_found`]; then checks that the store still accepts mail, and that this mail survives
/// too.
pub(super) fn check_reopened(
    fs: &SimFs,
    durability: Durability,
    mut model: Model,
    start: Start,
) -> Result<(), String> {
    let store = check_found(fs, durability, &mut model, start)?;
    check_serves(&store, &mut model)?;
    store.abandon();
    let found = fs.power_cut(0);
    check_found(&found, durability, &mut model, Start::PowerCut).map(drop)
}

/// Makes the messages of [`check_serves`] different from each other.
static N_CHECKS: AtomicU64 = AtomicU64::new(0);

/// Delivers one message, which must succeed, and checks everything.
pub(super) fn check_serves(store: &MessageStore, model: &mut Model) -> Result<(), String> {
    let to = mailboxes();
    let content = format!("still here {}\n", N_CHECKS.fetch_add(1, Ordering::Relaxed));
    let deliver = || {
        let mut delivery = store.begin_delivery(0)?;
        delivery.append(content.as_bytes())?;
        delivery.commit(&to)
    };
    deliver().map_err(|error: Error| format!("I10: no service: {error:?}"))?;
    for mailbox in &to {
        model.note(mailbox, content.as_bytes(), Fate::Accepted);
    }
    model.check(store, Start::Same)
}

/// Cuts the power at every operation of a script and checks what is left, several times each.
/// Returns the number of crash states.
fn crash_everywhere(script: &Script, defect: Option<Defect>) -> Result<u64, String> {
    for at in 1.. {
        let fs = script.disk();
        defect.inspect(|&defect| fs.plant(defect));
        if defect == Some(Defect::RemovedNamesComeBackEmpty) {
            // Syncs of the whole file system are never slow, so nothing is synced file by file.
            fs.make_timeless();
        }
        fs.cut_at(at);
        let model = run(&fs, script)?;
        for n in 0..SEEDS_PER_CRASH {
            let seed = if n < 2 { n } else { n + at * SEEDS_PER_CRASH };
            let found = fs.power_cut(seed);
            // A store with another configuration has to find the same.
            let durability = match seed % 7 {
                3 => Durability::Maildir,
                4 => JOURNALS[1],
                _ => script.durability,
            };
            if n == at % SEEDS_PER_CRASH {
                check_reopened(&found, durability, model.clone(), Start::PowerCut)
            } else {
                check_found(&found, durability, &mut model.clone(), Start::PowerCut).map(drop)
            }
            .map_err(|error| format!("power cut at {at}, seed {seed}: {error}"))?;
        }
        if fs.n_operations() < at {
            return Ok(at * SEEDS_PER_CRASH);
        }
    }
    Ok(0)
}

/// Reports an error at every operation of a script, then continues, and checks what is there.
fn fail_everywhere(
    script: &Script,
    errno: Errno,
    is_done: bool,
    defect: Option<Defect>,
) -> Result<(), String> {
    let durability = script.durability;
    for at in 1.. {
        let fs = script.disk();
        defect.inspect(|&defect| fs.plant(defect));
        fs.fail(Fault { at, errno, is_done });
        let context = |error: String| format!("{errno} at {at}: {error}");
        if let Ok(mut clients) = Clients::open(&fs, durability) {
            clients.perform_all(&script.actions).map_err(context)?;
            let Clients {
                store, mut model, ..
            } = clients;
            if fs.n_operations() < at {
                return Ok(());
            }
            fs.accept_entries();
            model.check(&store, Start::Same).map_err(context)?;
            check_serves(&store, &mut model).map_err(context)?;
            if at % 3 == 0 {
                // This also tests what a checkpoint after the failure relies on.
                checkpoint::checkpoint_when_idle(&store.maildirs().open)
                    .map_err(|error| context(format!("I10: no checkpoint: {error:?}")))?;
            }
            store.abandon();
            for seed in [0, 1, at + 2] {
                let found = fs.power_cut(seed);
                check_reopened(&found, durability, model.clone(), Start::PowerCut)
                    .map_err(context)?;
            }
        } else {
            check_reopened(&fs.kill(), durability, Model::default(), Start::Kill)
                .map_err(context)?;
        }
    }
    Ok(())
}

/// A checkpoint of a full segment covers the last message, and another program deletes a message.
fn forgetting() -> Script {
    let mut script = filling();
    script.actions.truncate(10);
    script.actions.extend([
        Action::Delete {
            mailbox: 0,
            choice: 2,
        },
        Action::Wait { is_idle: true },
        Action::Open { mailbox: 0 },
    ]);
    script
        .actions
        .retain(|action| !matches!(action, Action::Idle));
    script
}

/// Clients deliver more than fits into the segments of a small journal, with occasional
/// checkpoints.
fn filling() -> Script {
    let mut actions = Vec::new();
    for delivery in 0..9 {
        actions.extend(deliver("filling", delivery));
        if delivery % 4 == 2 {
            actions.push(Action::Idle);
        }
    }
    Script {
        durability: JOURNALS[0],
        is_busy: false,
        ..busy(actions)
    }
}

/// Reports an error at each operation in a part of a script, and cuts the power at each operation
/// that follows.
fn fail_and_crash(script: &Script, operations: Range<u64>) -> Result<(), String> {
    const N_FOLLOWING: u64 = 24;
    for at in operations {
        for cut_at in at + 1..=at + N_FOLLOWING {
            let fs = script.disk();
            fs.fail(Fault {
                at,
                errno: Errno::IO,
                is_done: false,
            });
            fs.cut_at(cut_at);
            let model = run(&fs, script)?;
            for seed in 2..6 {
                let found = fs.power_cut(seed + cut_at * SEEDS_PER_CRASH);
                check_found(
                    &found,
                    script.durability,
                    &mut model.clone(),
                    Start::PowerCut,
                )
                .map_err(|error| format!("error at {at}, power cut at {cut_at}: {error}"))?;
            }
            if fs.n_operations() < cut_at {
                break;
            }
        }
    }
    Ok(())
}

/// Even after a segment has failed, nothing is overwritten that a start would look for.
#[test]
fn a_power_cut_soon_after_an_error_loses_nothing_acknowledged() {
    let whole = filling().disk();
    run(&whole, &filling()).unwrap();
    let last = whole.n_operations();
    // Here the segments have been filled once.
    let operations = last / 3..last / 2;
    fail_and_crash(&filling(), operations).unwrap();
}

/// How many times the ordinary number of scripts to run: `FACTEUR_PATIENCE`, for long runs.
pub(super) fn patience() -> u64 {
    std::env::var("FACTEUR_PATIENCE").map_or(1, |factor| factor.parse().unwrap())
}

#[test]
fn a_power_cut_at_any_operation_loses_nothing_acknowledged() {
    let mut n_states = 0;
    let scripts = (0..N_SCRIPTS * patience()).map(|seed| script(seed, N_ACTIONS));
    for (number, script) in scripts.chain(written()).enumerate() {
        n_states += crash_everywhere(&script, None)
            .unwrap_or_else(|error| panic!("script {number}: {error}\n{script:?}"));
    }
    println!("{n_states} crash states");
    assert!(n_states >= N_STATES_MIN * patience(), "{n_states}");
}

#[test]
fn a_process_killed_at_any_operation_loses_nothing_acknowledged() {
    for seed in 1_000_000..1_000_000 + 4 * patience() {
        let script = script(seed, N_ACTIONS);
        for at in 1.. {
            let fs = script.disk();
            fs.cut_at(at);
            let model = run(&fs, &script).unwrap();
            let is_over = fs.n_operations() < at;
            check_reopened(&fs.kill(), script.durability, model, Start::Kill)
                .unwrap_or_else(|error| panic!("script {seed}, killed at {at}: {error}"));
            if is_over {
                break;
            }
        }
    }
}

/// I8.
#[test]
fn a_second_power_cut_during_the_start_loses_nothing() {
    for seed in 3_000_000..3_000_000 + 4 * patience() {
        crash_twice(seed).unwrap_or_else(|error| panic!("script {seed}: {error}"));
    }
}

/// Cuts the power near the end of a script, when there is much to replay, and again at every
/// operation of the start that follows.
fn crash_twice(seed: u64) -> Result<(), String> {
    let script = script(seed, N_ACTIONS);
    let whole = script.disk();
    run(&whole, &script)?;
    let fs = script.disk();
    fs.cut_at(whole.n_operations() * 2 / 3 + seed % 50);
    let model = run(&fs, &script)?;
    for seed in 0..4 {
        for at in 1.. {
            let found = fs.power_cut(seed);
            found.cut_at(at);
            let opened = open(&found, script.durability);
            let is_open = opened.is_ok();
            if let Ok(store) = opened {
                store.abandon();
            }
            let found = found.power_cut(seed + at);
            check_reopened(&found, script.durability, model.clone(), Start::PowerCut)
                .map_err(|error| format!("{seed}, second cut at {at}: {error}"))?;
            if is_open {
                break;
            }
        }
    }
    Ok(())
}

#[test]
fn an_error_at_any_operation_loses_nothing_and_service_continues() {
    let errors = [Errno::IO, Errno::NOSPC, Errno::MFILE];
    for (n, errno) in (0..6 * patience()).zip(errors.iter().cycle()) {
        let seed = 2_000_000 + n;
        let script = without_moves(seed);
        fail_everywhere(&script, *errno, n % 2 == 1, None)
            .unwrap_or_else(|error| panic!("script {seed}: {error}\n{script:?}"));
    }
}

/// A failing disk may forget what other programs did. The store is not responsible for that.
fn without_moves(seed: u64) -> Script {
    let mut script = script(seed, N_ACTIONS);
    script.actions.retain(|action| {
        let is_of_others = matches!(
            action,
            Action::Move { .. } | Action::Delete { .. } | Action::Meddle { .. }
        );
        !is_of_others
    });
    script
}

/// I2, even where a file system brings back the name of a durably removed file, but not its
/// content: the journal records the removal.
#[test]
fn a_removed_message_that_comes_back_empty_is_removed_at_the_start() {
    let defect = Some(Defect::RemovedNamesComeBackEmpty);
    for (number, script) in scripts_of_removals().enumerate() {
        crash_everywhere(&script, defect)
            .unwrap_or_else(|error| panic!("script {number}: {error}\n{script:?}"));
    }
}

/// Scripts in which only POP3 removes anything, on one disk where syncs of the whole are trusted.
fn scripts_of_removals() -> impl Iterator<Item = Script> {
    let any = (4_000_000..4_000_000 + 6 * patience()).map(|seed| Script {
        is_busy: false,
        is_split: false,
        is_fuse: false,
        times: Times::Fine,
        durability: JOURNALS[usize::try_from(seed % 3).unwrap()],
        actions: without_moves(seed).actions,
    });
    [taking_back()].into_iter().chain(any)
}

#[test]
fn every_planted_defect_is_found() {
    for defect in [
        Defect::FilesAreNotSynced,
        Defect::FilesAreSyncedLate,
        Defect::LastBlockIsNotSynced,
        Defect::DirectoriesAreNotSynced,
        Defect::ParentsAreNotSynced,
        Defect::RemovalsAreNotSynced,
        Defect::SegmentsAreNotSynced,
        Defect::VolumeIsNotSynced,
    ] {
        let is_found = (0..N_SCRIPTS)
            .any(|seed| crash_everywhere(&script(seed, N_ACTIONS), Some(defect)).is_err());
        assert!(is_found, "{defect:?}");
    }
    let defect = Defect::RemovedNamesComeBackEmpty;
    bugs::plant(Some(Bug::ReturnedNamesAreLeft));
    let is_found =
        scripts_of_removals().any(|script| crash_everywhere(&script, Some(defect)).is_err());
    bugs::plant(None);
    assert!(is_found, "{defect:?}");
    let defect = Defect::FailedSyncsPass;
    let is_found = (2_000_000..2_000_006).any(|seed| {
        let script = without_moves(seed);
        fail_everywhere(&script, Errno::IO, false, Some(defect)).is_err()
    });
    assert!(is_found, "{defect:?}");
}

/// I1 to I9 with planted bugs, for example a part of the journal that is overwritten too early
/// (I7).
#[test]
fn every_planted_bug_is_found() {
    for bug in [
        Bug::AnnouncedRemovalsAreDurable,
        Bug::CheckpointsCountTheUnapplied,
        Bug::CheckpointsMakeNothingDue,
        Bug::FloorsAreNotWritten,
        Bug::CopiesAreLeftToCheckpoints,
        Bug::MovedFilesAreMissed,
        Bug::RemovalsAreNotJournaled,
        Bug::ReplaysTrustNames,
        Bug::SegmentsAreReusedEarly,
        Bug::TornBatchesAreTrusted,
        Bug::TouchedDirectoriesAreMissed,
        Bug::TouchedFilesAreMissed,
        Bug::DirectorySyncsAreTrusted,
        Bug::WholeSyncsAreTrusted,
        Bug::WaitingMessagesAreLetGoEarly,
    ] {
        bugs::plant(Some(bug));
        let is_found = written()
            .chain((0..N_SCRIPTS).map(|seed| script(seed, N_ACTIONS)))
            .any(|script| crash_everywhere(&script, None).is_err());
        assert!(is_found, "{bug:?}");
    }
    let bug = Bug::JournalsEndBeforeTheSync;
    bugs::plant(Some(bug));
    let is_found = (3_000_000..3_000_012).any(|seed| crash_twice(seed).is_err());
    assert!(is_found, "{bug:?}");
    for bug in [
        Bug::FailedCheckpointsAreRepeated,
        Bug::FailedFileSyncsAreTrusted,
        Bug::FailedSyncsAreRepeated,
        Bug::UnnamedFilesAreNamedEarly,
    ] {
        bugs::plant(Some(bug));
        let is_found = (2_000_000..2_000_012).any(|seed| {
            let script = without_moves(seed);
            fail_everywhere(&script, Errno::IO, false, None).is_err()
        });
        assert!(is_found, "{bug:?}");
    }
    let bug = Bug::LeftOutFilesStay;
    bugs::plant(Some(bug));
    let is_found = (2_000_000..2_000_012).any(|seed| {
        let script = without_moves(seed);
        fail_everywhere(&script, Errno::MFILE, true, None).is_err()
    });
    assert!(is_found, "{bug:?}");
    bugs::plant(None);
}

/// Delivers a message to two mailboxes while a session looks at both before every operation.
/// Returns the number of operations, including those of the sessions.
fn look_during_commit(durability: Durability, fault: Option<Fault>) -> u64 {
    let fs = SimFs::new();
    let store: Arc<OnceLock<Weak<MessageStore>>> = Arc::default();
    let is_off = Arc::new(AtomicBool::new(true));
    let watched = {
        let (fs, store, is_off) = (fs.clone(), Arc::clone(&store), Arc::clone(&is_off));
        fs.clone().watched(move || {
            if let Some(store) = store.get().and_then(Weak::upgrade) {
                assert!(!store.is_locked(), "L1, L2: locked during a system call");
                if !is_off.swap(true, Ordering::Relaxed) {
                    look(&fs, durability, &store);
                    is_off.store(false, Ordering::Relaxed);
                }
            }
        })
    };
    let opened = Arc::new(open(&watched, durability).unwrap());
    store.set(Arc::downgrade(&opened)).unwrap();
    let mut delivery = opened.begin_delivery(0).unwrap();
    delivery.append(b"content\n").unwrap();
    let n_before = fs.n_operations();
    if let Some(fault) = fault {
        fs.fail(Fault {
            at: n_before + fault.at,
            ..fault
        });
    }
    is_off.store(false, Ordering::Relaxed);
    let committed = delivery.commit(&mailboxes()[..2]);
    is_off.store(true, Ordering::Relaxed);
    let n_operations = fs.n_operations() - n_before;
    fs.heal();
    look(&fs, durability, &opened);
    let n_listed = mailboxes()
        .into_iter()
        .filter_map(|it| opened.open_maildrop(&it).ok());
    let n_listed: usize = n_listed.map(|maildrop| maildrop.messages().len()).sum();
    assert_eq!(n_listed, if committed.is_ok() { 2 } else { 0 });
    n_operations
}

/// Opens every maildrop and checks that everything listed is durable.
fn look(fs: &SimFs, durability: Durability, store: &MessageStore) {
    for name in mailboxes() {
        if let Ok(maildrop) = store.open_maildrop(&name) {
            check_durable(fs, durability, &name, &maildrop).unwrap();
        }
    }
}

#[test]
fn a_message_is_not_listed_before_it_is_durable() {
    look_during_commit(Durability::Maildir, None);
    look_during_commit(JOURNALS[2], None);
}

#[test]
fn a_message_whose_delivery_fails_at_any_operation_is_never_listed() {
    for durability in [Durability::Maildir, JOURNALS[2]] {
        for is_done in [false, true] {
            for at in 1.. {
                let fault = Fault {
                    at,
                    errno: Errno::IO,
                    is_done,
                };
                if look_during_commit(durability, Some(fault)) < at {
                    break;
                }
            }
        }
    }
}

#[test]
fn a_message_that_cannot_be_taken_back_stays_hidden() {
    let fs = SimFs::new();
    let store = open(&fs, Durability::Maildir).unwrap();
    let bob = &mailboxes()[..1];
    store.begin_delivery(0).unwrap().commit(bob).unwrap();
    let mut delivery = store.begin_delivery(0).unwrap();
    delivery.append(b"content\n").unwrap();
    // The operations are: make, write and sync the file, examine the directory, rename, sync the
    // directory, unlink. The last two fail.
    let n_before = fs.n_operations();
    for at in [n_before + 6, n_before + 7] {
        fs.fail(Fault {
            at,
            errno: Errno::IO,
            is_done: false,
        });
    }
    let result = delivery.commit(bob);
    assert!(
        matches!(
            result,
            Err(Error::Io {
                operation: "sync",
                ..
            })
        ),
        "{result:?}"
    );
    assert_eq!(store.open_maildrop(&bob[0]).unwrap().messages().len(), 1);
    drop(store);
    let store = open(&fs, Durability::Maildir).unwrap();
    assert_eq!(store.open_maildrop(&bob[0]).unwrap().messages().len(), 2);
}

/// I10: a directory that was in use when it should have been undone after a disk failure accepts
/// mail again as soon as nobody uses it.
#[test]
fn a_directory_in_doubt_accepts_mail_again_when_it_is_empty() {
    let used = Path::new("/mail/example.org/used");
    let mut n_refused = 0;
    for at in 1..20 {
        let disk = SimFs::new();
        let left = Arc::new(AtomicU64::new(0));
        let fs = {
            let (other, left) = (disk.clone(), Arc::clone(&left));
            disk.watched(move || {
                if left.load(Ordering::Relaxed) > 0 && left.fetch_sub(1, Ordering::Relaxed) == 1 {
                    other.create_dir(used).unwrap_or_default();
                }
            })
        };
        let store = open(&fs, JOURNALS[2]).unwrap();
        let deliver = || {
            let mut delivery = store.begin_delivery(0)?;
            delivery.append(b"content\n")?;
            delivery.commit(&mailboxes()[..1])
        };
        // The directory is made before this operation, which fails.
        left.store(at, Ordering::Relaxed);
        disk.fail(Fault {
            at: disk.n_operations() + at + 1,
            errno: Errno::IO,
            is_done: false,
        });
        n_refused += u64::from(deliver().is_err());
        left.store(0, Ordering::Relaxed);
        disk.heal();
        disk.remove_dir(used).unwrap_or_default();
        deliver().unwrap_or_else(|error: Error| panic!("{at}: {error:?}"));
        store.abandon();
        let found = open(&disk.power_cut(0), JOURNALS[2]).unwrap();
        let maildrop = found.open_maildrop(&mailboxes()[0]).unwrap();
        assert_ne!(maildrop.messages().len(), 0, "{at}");
    }
    assert!(n_refused > 5, "{n_refused}");
}

/// I1: a delivery that finds a directory which another delivery is making must not rely on it once
/// a sync has failed, even if the other delivery has not undone it yet.
#[test]
fn directories_being_made_when_a_sync_fails_become_doubtful_immediately() {
    let store = open(&SimFs::new(), JOURNALS[2]).unwrap();
    let open = &store.maildirs().open;
    let directories = [Path::new("/mail/example.org").to_owned()];
    let begin = || {
        let (maker, mark) = open.disk.new_maker();
        open.disk.begin_making(&directories[0], maker);
        (maker, mark)
    };
    let is_doubtful = || open.disk.find_doubtful(&directories).is_some();
    let (maker, _) = begin();
    open.disk.count_failed_sync();
    assert!(is_doubtful());
    open.disk.end_making(&directories, maker);
    open.disk.no_longer_doubtful(&directories[0]);
    // Another thread found it durable earlier.
    let (maker, mark) = begin();
    open.disk.confirm(&directories, mark);
    open.disk.count_failed_sync();
    assert!(!is_doubtful());
    open.disk.end_making(&directories, maker);
    // Or believes so, after a failure.
    let (_, mark) = begin();
    open.disk.count_failed_sync();
    open.disk.no_longer_doubtful(&directories[0]);
    open.disk.confirm(&directories, mark);
    open.disk.count_failed_sync();
    assert!(is_doubtful());
}

/// I10: a directory also accepts mail again if others have made a mailbox in it, as long as that
/// mailbox is empty.
#[test]
fn a_doubtful_directory_accepts_mail_again_when_its_mailboxes_are_empty() {
    let fs = SimFs::new();
    let store = open(&fs, JOURNALS[2]).unwrap();
    let domain = Path::new("/mail/example.org");
    let (maker, _) = store.maildirs().open.disk.new_maker();
    store.maildirs().open.disk.begin_making(domain, maker);
    for made in ["", "ann", "ann/tmp", "ann/cur", "ann/new"] {
        fs.create_dir(&domain.join(made)).unwrap();
    }
    store.maildirs().open.disk.count_failed_sync();
    store
        .maildirs()
        .open
        .disk
        .end_making(&[domain.to_owned()], maker);
    let mut delivery = store.begin_delivery(0).unwrap();
    delivery.append(b"content\n").unwrap();
    delivery.commit(&mailboxes()[..1]).unwrap();
    store.abandon();
    let found = open(&fs.power_cut(0), JOURNALS[2]).unwrap();
    let maildrop = found.open_maildrop(&mailboxes()[0]).unwrap();
    assert_eq!(maildrop.messages().len(), 1);
}

#[test]
fn a_delivery_is_refused_beforehand_when_the_reserve_would_be_touched() {
    let fs = SimFs::new();
    let store = open(&fs, Durability::Maildir).unwrap();
    for (free, declared, is_refused) in [
        (FREE_OCTETS_RESERVE, 0, false),
        (FREE_OCTETS_RESERVE - 1, 0, true),
        (FREE_OCTETS_RESERVE + 10, 10, false),
        (FREE_OCTETS_RESERVE + 10, 11, true),
        (u64::MAX, u64::MAX, false),
        (u64::MAX - 1, u64::MAX, true),
    ] {
        fs.set_free_octets(free);
        let result = store.begin_delivery(declared);
        let refused = matches!(result, Err(Error::Full { source: None, .. }));
        assert_eq!(refused, is_refused, "{free} {declared}: {result:?}");
    }
}

/// A small file system has room too, and a refusal says how much is missing.
#[test]
fn an_empty_small_disk_accepts_mail() {
    const MIB: u64 = 1_024 * 1_024;
    let fs = SimFs::new();
    fs.set_total_octets(24 * MIB);
    fs.set_free_octets(20 * MIB);
    let store = open(&fs, Durability::Maildir).unwrap();
    store.begin_delivery(17 * MIB).unwrap();
    let error = store.begin_delivery(18 * MIB).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("too little free space (20 MiB free, at least 21 MiB needed)"),
        "{error}"
    );
}

#[test]
fn a_full_disk_is_distinguished_from_a_failing_disk() {
    for (errno, is_full) in [
        (Errno::NOSPC, true),
        (Errno::DQUOT, true),
        (Errno::IO, false),
    ] {
        let fs = SimFs::new();
        let store = open(&fs, Durability::Maildir).unwrap();
        let mut delivery = store.begin_delivery(0).unwrap();
        // Too much to be held in memory. The first operation makes the file, and the second writes.
        let content = b"content\n".repeat(20_000);
        fs.fail(Fault {
            at: fs.n_operations() + 2,
            errno,
            is_done: false,
        });
        let error = delivery.append(&content).unwrap_err();
        assert_eq!(matches!(error, Error::Full { .. }), is_full, "{error:?}");
        assert!(
            delivery.append(b"more\n").is_err(),
            "the content has a hole"
        );
        assert!(
            delivery.commit(&mailboxes()).is_err(),
            "the content has a hole"
        );
    }
}
