//! A store on the simulated disk, its clients, other programs, and a judge of them all.

use std::{
    cell::Cell,
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, AtomicUsize as PlainUsize, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rustix::io::Errno;
use shuttle::{
    rand::{RngCore as _, thread_rng},
    sync::atomic::{AtomicUsize, Ordering},
};

use crate::{
    fs::{Entry, Fs as _},
    mail::{EntryId, MailboxName},
    store::{
        Change, Durability, Error, Maildrop, Memory, MessageStore, Settings, Watch,
        limits::{HUB_PACE, SYNC_SLOW},
        sync::{n_held, set_hands, take_nested, thread},
    },
    testing::{
        disk::{Fault, SimFs},
        model::{Fate, Model, Start, read},
        rng::Rng,
    },
};

use super::super::crash::{JOURNALS, ROOT, check_found, check_reopened, check_serves, mailboxes};

/// The work of one thread.
pub(super) type Work = fn(&World, &mut Rng);

/// The maximum number of disk operations before a mishap, chosen from these. A test has a few
/// dozen.
const OPERATIONS_MAX: [usize; 3] = [12, 30, 90];

/// How often a client tries to log in while the mailbox is in use.
const LOGINS_MAX: usize = 3;

/// The one thing that goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mishap {
    Nothing,
    /// A disk operation fails, and everything continues.
    Fault,
    PowerCut,
    Kill,
}

thread_local! {
    /// In how many schedules the mishap came before the end.
    static N_STRUCK: Cell<u64> = const { Cell::new(0) };
}

/// In how many schedules of this test something went wrong since the last call.
pub(super) fn take_struck() -> u64 {
    N_STRUCK.take()
}

/// See the module. None of its locks is held while another thread can run.
pub(super) struct World {
    fs: SimFs,
    durability: Durability,
    pub(super) store: MessageStore,
    model: Mutex<Model>,
    /// The mailboxes with a session.
    sessions: Mutex<BTreeSet<MailboxName>>,
    complaints: Arc<Mutex<Vec<String>>>,
    /// What other programs renamed or removed. The disk may lose either name or both.
    at_risk: Mutex<Vec<(MailboxName, Vec<u8>)>>,
    mishap: Mishap,
    /// The number of the operation at which the mishap happens.
    mishap_at: OnceLock<u64>,
    /// How often the disk started or stopped being too full for files.
    n_refusals: AtomicU64,
    /// How many messages the first mailbox had before there were threads.
    n_prepared: PlainUsize,
    /// Those that have waited for mail.
    waiters: Mutex<Vec<Waiter>>,
}

/// Somebody who has listed a mailbox and waits for more.
struct Waiter {
    watch: Watch,
    mailbox: MailboxName,
    /// What was listed or reported.
    seen: BTreeSet<EntryId>,
    /// What was reported.
    told: BTreeSet<EntryId>,
}

impl Waiter {
    /// Reads what is reported. Each message is reported once.
    fn read(&mut self, patience: Duration) {
        for news in self.watch.news(patience).unwrap() {
            if news.mailbox == self.mailbox {
                assert_eq!(news.change, Change::Arrived);
                assert!(self.told.insert(news.id), "reported twice");
                self.seen.insert(news.id);
            }
        }
    }
}

/// The messages in a mailbox.
fn listed(store: &MessageStore, mailbox: &MailboxName) -> Result<BTreeSet<EntryId>, Error> {
    let look = store.look(mailbox)?;
    let ids = (0..look.messages().len()).map(|index| look.id(index).unwrap());
    Ok(ids.collect())
}

/// Runs `threads` on a store that `prepare` has filled, and judges what they see and leave. All
/// random choices are part of the schedule.
pub(super) fn play(prepare: Work, threads: &[(&str, Work)]) {
    let mut rng = Rng::new(thread_rng().next_u64());
    let world = Arc::new(World::new(&mut rng));
    prepare(&world, &mut rng);
    let n_prepared = world.messages(&mailboxes()[0], Fate::Accepted).len();
    world.n_prepared.store(n_prepared, Relaxed);
    world.plan_mishap(&mut rng);
    let threads: Vec<_> = threads
        .iter()
        .map(|&(name, work)| {
            let (world, mut rng) = (Arc::clone(&world), Rng::new(rng.next()));
            thread::Builder::new()
                .name(name.to_owned())
                .spawn(move || work(&world, &mut rng))
                .unwrap()
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    let n_operations = world.fs.n_operations();
    if world.mishap_at.get().is_some_and(|at| *at <= n_operations) {
        N_STRUCK.set(N_STRUCK.get() + 1);
    }
    let verdict = world.judge(&mut rng);
    let mishap = world.mishap;
    // Before a panic, which would close it while the thread unwinds.
    drop(world);
    set_hands(None);
    if let Err(complaint) = verdict {
        panic!("{complaint} (mishap: {mishap:?})");
    }
}

impl World {
    fn new(rng: &mut Rng) -> Self {
        let complaints: Arc<Mutex<Vec<String>>> = Arc::default();
        let noted = Arc::clone(&complaints);
        let n_operations = AtomicUsize::new(0);
        // Every operation is one step. Another thread can run before it.
        let fs = SimFs::new().watched(move || {
            n_operations.fetch_add(1, Ordering::SeqCst);
            if n_held() > 0 {
                noted.lock().push("L1: a lock is held".to_owned());
            }
        });
        if rng.chance(50) {
            fs.slow_syncs(SYNC_SLOW, Duration::ZERO);
        }
        set_hands(Some(fs.hands()));
        let durability = JOURNALS[rng.below(JOURNALS.len())];
        let mut settings = Settings {
            durability,
            ..Settings::new(ROOT, "host.example")
        };
        if rng.chance(25) {
            // So little that some messages bypass the journal.
            settings.memory = Memory {
                held: 100,
                ..Memory::default()
            };
        }
        let clock = fs.clock();
        let store = MessageStore::open_on(Arc::new(fs.clone()), settings, clock).unwrap();
        let mishap = match rng.below(10) {
            0..=2 => Mishap::Nothing,
            3..=4 => Mishap::Fault,
            5..=7 => Mishap::PowerCut,
            _ => Mishap::Kill,
        };
        Self {
            fs,
            durability,
            store,
            model: Mutex::default(),
            sessions: Mutex::default(),
            complaints,
            at_risk: Mutex::default(),
            mishap,
            mishap_at: OnceLock::new(),
            n_refusals: AtomicU64::new(0),
            n_prepared: PlainUsize::new(0),
            waiters: Mutex::default(),
        }
    }

    fn plan_mishap(&self, rng: &mut Rng) {
        let n_operations_max = OPERATIONS_MAX[rng.below(OPERATIONS_MAX.len())];
        let after = 1 + u64::try_from(rng.below(n_operations_max)).unwrap();
        let at = self.fs.n_operations() + after;
        match self.mishap {
            Mishap::Nothing => return,
            Mishap::Fault => self.fs.fail(Fault {
                at,
                errno: [Errno::IO, Errno::NOSPC, Errno::MFILE][rng.below(3)],
                is_done: rng.chance(50),
            }),
            Mishap::PowerCut | Mishap::Kill => self.fs.cut_at(at),
        }
        self.mishap_at.get_or_init(|| at);
    }

    fn complain(&self, complaint: impl Into<String>) {
        self.complaints.lock().push(complaint.into());
    }

    fn note(&self, mailbox: &MailboxName, content: &[u8], fate: Fate) {
        self.model.lock().note(mailbox, content, fate);
    }

    /// The messages of `mailbox` with this fate.
    fn messages(&self, mailbox: &MailboxName, fate: Fate) -> BTreeSet<Vec<u8>> {
        self.model.lock().messages(mailbox, fate).collect()
    }

    /// Delivers a message to some mailboxes, starting with `to`. Returns whether it was accepted.
    pub(super) fn deliver(&self, to: usize, rng: &mut Rng) -> bool {
        let all = mailboxes();
        let mut recipients = vec![all[to].clone()];
        recipients.extend(rng.chance(30).then(|| all[(to + 1) % all.len()].clone()));
        let mut content = format!("{:016x}\n", rng.next()).into_bytes();
        content.resize(content.len() + rng.below(4) * 900, b'x');
        for mailbox in &recipients {
            self.note(mailbox, &content, Fate::Attempted);
        }
        let delivered = self.store.begin_delivery(0).and_then(|mut delivery| {
            delivery.append(&content)?;
            delivery.commit(&recipients)
        });
        let fate = match delivered {
            Ok(()) => Fate::Accepted,
            Err(_) => Fate::Refused,
        };
        for mailbox in &recipients {
            // Others may have seen it, and removed it, before this thread learns of it.
            self.model.lock().settle(mailbox, &content, fate);
        }
        fate == Fate::Accepted
    }

    /// Delivers a message to a mailbox, again and again if it is refused although nothing is wrong.
    pub(super) fn insist(&self, to: usize, rng: &mut Rng) {
        while !self.deliver(to, rng) && self.mishap == Mishap::Nothing {}
    }

    /// Takes a cursor, lists a mailbox, and watches it, or all, from there; then waits until there
    /// is one message more than in the beginning.
    pub(super) fn wait_for_mail(&self, mailbox: usize, rng: &mut Rng) {
        let mailbox = mailboxes()[mailbox].clone();
        let (store, of) = (&self.store, Some(&mailbox).filter(|_| rng.chance(70)));
        let cursor = store.cursor();
        let Ok(seen) = listed(store, &mailbox) else {
            return;
        };
        let watch = store.watch(of, cursor).unwrap();
        let told = BTreeSet::new();
        let mut waiter = Waiter {
            watch,
            mailbox,
            seen,
            told,
        };
        let wanted = self.n_prepared.load(Relaxed) + 1;
        if self.mishap == Mishap::Nothing {
            while waiter.seen.len() < wanted {
                waiter.read(Duration::MAX);
            }
        } else {
            waiter.read(HUB_PACE);
        }
        self.waiters.lock().push(waiter);
    }

    /// Those that wait have seen all messages of their mailbox, and no others.
    fn judge_waiters(&self) {
        let waiters = std::mem::take(&mut *self.waiters.lock());
        for mut waiter in waiters {
            let Ok(listed) = listed(&self.store, &waiter.mailbox) else {
                continue;
            };
            waiter.read(Duration::ZERO);
            if waiter.seen != listed {
                self.complain(format!("seen: {:?}, listed: {listed:?}", waiter.seen));
            }
        }
    }

    /// Logs in to a mailbox and reads all of it.
    pub(super) fn log_in(&self, mailbox: usize, rng: &mut Rng) -> Option<Session<'_>> {
        let mailbox = mailboxes()[mailbox].clone();
        for _ in 0..LOGINS_MAX {
            let before = Before {
                n_operations: self.fs.n_operations(),
                n_refusals: self.n_refusals.load(Relaxed),
                accepted: self.messages(&mailbox, Fate::Accepted),
                gone: self.messages(&mailbox, Fate::Gone),
                refused: self.messages(&mailbox, Fate::Refused),
            };
            match self.store.open_maildrop(&mailbox) {
                Ok(maildrop) => {
                    // Everything listed has to be durable at this moment.
                    let snapshot = rng.chance(25).then(|| self.fs.power_cut(0));
                    if !self.sessions.lock().insert(mailbox.clone()) {
                        self.complain(format!("{mailbox}: two sessions at a time"));
                    }
                    let mut session = Session {
                        world: self,
                        mailbox,
                        maildrop,
                        contents: Vec::new(),
                    };
                    session.look(&before, snapshot);
                    return Some(session);
                }
                Err(Error::InUse { .. }) => shuttle::thread::yield_now(),
                Err(_) => return None,
            }
        }
        None
    }

    /// A program that moves a message from `new` to `cur` and takes care not to lose it in a power
    /// cut.
    pub(super) fn move_carefully(&self, mailbox: usize, rng: &mut Rng) {
        // If it fails, it leaves the message where it was.
        self.move_carefully_in(&mailboxes()[mailbox], rng)
            .unwrap_or_default();
    }

    fn move_carefully_in(&self, mailbox: &MailboxName, rng: &mut Rng) -> io::Result<()> {
        let [new, cur] = ["new", "cur"].map(|side| side_of(mailbox, side));
        let entries = self.fs.read_dir(&new)?;
        let Some(index) = rng.below(100).checked_rem(entries.len()) else {
            return Ok(());
        };
        let mut name = entries[index].name.clone();
        let from = new.join(&name);
        if self.mishap == Mishap::Fault {
            // If a sync of everything fails, the new name may be lost before this program syncs it.
            // The program would learn of that only if it had opened the directory before.
            let content = self.read(&from)?;
            self.at_risk.lock().push((mailbox.clone(), content));
        }
        name.push(":2,S");
        let to = cur.join(name);
        let moved = self
            .fs
            .hard_link(&from, &to)
            .and_then(|()| self.fs.sync_dir(&cur));
        let surplus = if moved.is_ok() { &from } else { &to };
        self.fs.unlink(surplus).or_else(|_| self.fs.unlink(surplus))
    }

    /// A program that moves a message from `new` to `cur`, sets a flag of one in `cur`, or removes
    /// one.
    pub(super) fn tidy_up(&self, mailbox: usize, rng: &mut Rng) {
        // If it fails, it leaves things as they are.
        self.tidy_up_in(&mailboxes()[mailbox], rng)
            .unwrap_or_default();
    }

    fn tidy_up_in(&self, mailbox: &MailboxName, rng: &mut Rng) -> io::Result<()> {
        let cur = side_of(mailbox, "cur");
        let directory = side_of(mailbox, ["new", "cur"][rng.below(2)]);
        let entries: Vec<Entry> = self.fs.read_dir(&directory)?;
        let Some(index) = rng.below(100).checked_rem(entries.len()) else {
            return Ok(());
        };
        let path = directory.join(&entries[index].name);
        let content = self.read(&path)?;
        let is_removal = rng.chance(30);
        if is_removal || matches!(self.mishap, Mishap::Fault | Mishap::PowerCut) {
            // It syncs nothing, so the disk may lose what it renames.
            self.model.lock().give_up(mailbox, &content);
        }
        self.at_risk.lock().push((mailbox.clone(), content));
        if is_removal {
            return self.fs.unlink(&path);
        }
        let mut name = entries[index].name.to_str().unwrap().to_owned();
        name.truncate(name.find(":2,").unwrap_or(name.len()));
        name += [":2,S", ":2,RS", ":2,FS"][rng.below(3)];
        let to = cur.join(name);
        if to == path {
            return Ok(());
        }
        self.fs.rename(&path, &to)
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let mut file = self.fs.open(path)?;
        let mut content = vec![0; 8192];
        let n_read = file.read(&mut content)?;
        content.truncate(n_read);
        Ok(content)
    }

    /// Makes the disk too full for files, or ends that.
    pub(super) fn refuse_files(&self, refuses: bool) {
        // Counts as one step.
        self.fs
            .free_octets(ROOT.as_ref())
            .map(drop)
            .unwrap_or_default();
        self.n_refusals.fetch_add(1, Relaxed);
        self.fs.refuse_files(refuses);
    }

    /// Whether everything is well, and stays so.
    fn judge(&self, rng: &mut Rng) -> Result<(), String> {
        if matches!(self.mishap, Mishap::Nothing | Mishap::Fault) {
            self.fs.heal();
            self.judge_waiters();
        }
        self.waiters.lock().clear();
        let mut model = std::mem::take(&mut *self.model.lock());
        let (fs, store, durability) = (&self.fs, &self.store, self.durability);
        let judged = match self.mishap {
            Mishap::Nothing => self.judge_at_rest(&mut model),
            Mishap::Fault => model.check(store, Start::Same).and_then(|()| {
                store.abandon();
                self.give_up_what_is_at_risk(&mut model);
                let found = fs.power_cut(rng.next());
                check_reopened(&found, durability, model, Start::PowerCut)
            }),
            Mishap::PowerCut => {
                store.abandon();
                let seed = [0, 1, rng.next()][rng.below(3)];
                check_reopened(&fs.power_cut(seed), durability, model, Start::PowerCut)
            }
            Mishap::Kill => {
                store.abandon();
                self.judge_after_kill(&mut model)
            }
        };
        store.abandon();
        if take_nested() {
            self.complain("L3: a thread held two locks");
        }
        match self.complaints.lock().first() {
            Some(complaint) => Err(complaint.clone()),
            None => judged,
        }
    }

    /// Other programs' changes can be seen, but are not durable.
    fn give_up_what_is_at_risk(&self, model: &mut Model) {
        let has_lost_removal = self.fs.has_lost_removal();
        for (mailbox, content) in &*self.at_risk.lock() {
            model.give_up(mailbox, content);
            if has_lost_removal {
                // Its old name may be there again, although it was removed under the new one.
                model.doubt_removal(mailbox, content);
            }
        }
    }

    fn judge_after_kill(&self, model: &mut Model) -> Result<(), String> {
        let fs = self.fs.kill();
        let store = check_found(&fs, self.durability, model, Start::Kill)?;
        check_serves(&store, model)?;
        store.abandon();
        self.give_up_what_is_at_risk(model);
        check_found(&fs.power_cut(0), self.durability, model, Start::PowerCut).map(drop)
    }

    fn judge_at_rest(&self, model: &mut Model) -> Result<(), String> {
        model.check(&self.store, Start::Same)?;
        self.store
            .close()
            .map_err(|error| format!("I10: it does not close: {error:?}"))?;
        model.check(&self.store, Start::Same)?;
        self.store.abandon();
        self.give_up_what_is_at_risk(model);
        let found = self.fs.power_cut(0);
        let found = check_found(&found, self.durability, model, Start::PowerCut)?;
        check_serves(&found, model)?;
        found.abandon();
        Ok(())
    }
}

/// A directory of `mailbox`.
fn side_of(mailbox: &MailboxName, side: &str) -> PathBuf {
    let domain = Path::new(ROOT).join(mailbox.domain());
    domain.join(mailbox.local_part()).join(side)
}

/// What was known of a mailbox before a login.
struct Before {
    n_operations: u64,
    n_refusals: u64,
    accepted: BTreeSet<Vec<u8>>,
    gone: BTreeSet<Vec<u8>>,
    refused: BTreeSet<Vec<u8>>,
}

/// A session of a maildrop.
pub(super) struct Session<'a> {
    world: &'a World,
    mailbox: MailboxName,
    maildrop: Maildrop,
    /// The contents of the messages that could be read, with their positions in the listing.
    contents: Vec<(usize, Vec<u8>)>,
}

impl Session<'_> {
    fn look(&mut self, before: &Before, snapshot: Option<SimFs>) {
        let messages = self.maildrop.messages();
        for index in 0..messages.len() {
            let Ok(content) = read(&self.maildrop, index) else {
                continue;
            };
            let unique_id = messages.unique_id(index).unwrap().into_owned();
            let mut model = self.world.model.lock();
            let seen = model.see(&self.mailbox, &content, &unique_id);
            drop(model);
            seen.unwrap_or_else(|complaint| self.world.complain(complaint));
            self.contents.push((index, content));
        }
        self.compare(before, self.contents.len() == messages.len());
        if let Some(snapshot) = snapshot {
            self.check_durable(&snapshot);
        }
    }

    fn compare(&self, before: &Before, are_all_read: bool) {
        let complain = |complaint: &str| {
            let mailbox = &self.mailbox;
            self.world.complain(format!("{mailbox}: {complaint}"));
        };
        let found: BTreeSet<&Vec<u8>> = self.contents.iter().map(|(_, content)| content).collect();
        if found.len() < self.contents.len() {
            complain("I5: a login lists a message twice");
        }
        if found.iter().any(|content| before.gone.contains(*content)) {
            complain("I2: a login lists a removed message");
        }
        if found
            .iter()
            .any(|content| before.refused.contains(*content))
        {
            complain("I4: a login lists a refused message");
        }
        // Another program may have removed some in the meantime.
        let still = self.world.messages(&self.mailbox, Fate::Accepted);
        let mut wanted = before.accepted.intersection(&still);
        if are_all_read
            && !self.was_disturbed(before)
            && wanted.any(|content| !found.contains(content))
        {
            complain("I1: a login misses a message");
        }
    }

    /// Whether the login may have failed to put durable mail into the mailbox.
    fn was_disturbed(&self, before: &Before) -> bool {
        let during = before.n_operations..=self.world.fs.n_operations();
        let mishap_at = self.world.mishap_at.get();
        mishap_at.is_some_and(|at| during.contains(at)) || before.n_refusals % 2 == 1
    }

    /// Checks that everything listed would be there after a power cut (I4).
    fn check_durable(&self, snapshot: &SimFs) {
        let failed = |error: Error| format!("I4: {}: {error:?}", self.mailbox);
        let check = || {
            let found = super::super::crash::open(snapshot, self.world.durability);
            let found = found.map_err(failed)?;
            let durable = found.open_maildrop(&self.mailbox).map_err(failed)?;
            let n_durable = durable.messages().len();
            let durable: Vec<Vec<u8>> = (0..n_durable)
                .map(|index| read(&durable, index).map_err(failed))
                .collect::<Result<_, _>>()?;
            let at_risk = self.world.at_risk.lock();
            let mut contents = self
                .contents
                .iter()
                .map(|(_, content)| content)
                .filter(|content| {
                    let mut at_risk = at_risk.iter();
                    !at_risk.any(|(mailbox, it)| *mailbox == self.mailbox && it == *content)
                });
            if contents.all(|content| durable.contains(content)) {
                Ok(())
            } else {
                Err(format!("I4: {}: listed but not durable", self.mailbox))
            }
        };
        check().unwrap_or_else(|complaint| self.world.complain(complaint));
    }

    /// Removes some of the messages, as QUIT does.
    pub(super) fn remove_some(&self, rng: &mut Rng) {
        let chosen = self.contents.iter().filter(|_| rng.chance(60));
        let (indexes, contents): (Vec<usize>, Vec<&Vec<u8>>) =
            chosen.map(|(index, content)| (*index, content)).unzip();
        let note = |fate| {
            for content in &contents {
                self.world.note(&self.mailbox, content, fate);
            }
        };
        note(Fate::RemovalAttempted);
        if self.maildrop.remove(&indexes).is_ok() {
            note(Fate::Gone);
        }
    }
}

impl Drop for Session<'_> {
    fn drop(&mut self) {
        self.world.sessions.lock().remove(&self.mailbox);
    }
}
