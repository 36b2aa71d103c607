//! Other programs rename messages during a login, a retrieval, a removal or a checkpoint, at every
//! possible moment in turn.

#![expect(clippy::arithmetic_side_effects, reason = "tests count small things")]

use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::{
    fs::Fs as _,
    mail::MailboxName,
    store::{
        Durability, Error, Maildrop, MessageStore, Settings,
        maildir::{Patience, checkpoint},
    },
    testing::{
        bugs::{self, Bug},
        disk::{Defect, Fault, SimFs, Times},
        model::{read, summaries},
    },
};

use super::{
    journal::{contents, deliver, maildrop},
    mailbox,
};

const TIMES: [Times; 3] = [Times::Fine, Times::Coarse, Times::Still];

/// What another program does in the middle.
type Act = Box<dyn FnOnce(&SimFs) + Send>;

/// Another program that does one thing in the middle of an operation of the store.
#[derive(Clone, Default)]
struct Meanwhile(Arc<Mutex<Option<(usize, Act)>>>);

impl fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl Meanwhile {
    /// The file system as the store sees it.
    fn beside(&self, fs: &SimFs) -> SimFs {
        let (open, others) = (Arc::clone(&self.0), fs.clone());
        fs.watched(move || {
            let mut waiting = open.lock();
            let is_now = match &mut *waiting {
                Some((left, _)) => {
                    *left -= 1;
                    *left == 0
                }
                None => false,
            };
            let act = waiting.take_if(|_| is_now);
            drop(waiting);
            if let Some((_, act)) = act {
                act(&others);
            }
        })
    }

    /// Schedules `act` before the `at`-th operation from now, counted from 1.
    fn arm(&self, at: usize, act: impl FnOnce(&SimFs) + Send + 'static) {
        *self.0.lock() = Some((at, Box::new(act)));
    }

    /// Whether `act` has run. If not, it never will.
    fn was_done(&self) -> bool {
        self.0.lock().take().is_none()
    }
}

/// How a message is renamed.
#[derive(Clone, Copy, Debug)]
enum Renaming {
    /// It moves to the other directory.
    Move,
    /// A flag is set or removed.
    Flag,
    /// A field is appended or removed.
    Field,
}

const RENAMINGS: [Renaming; 3] = [Renaming::Move, Renaming::Flag, Renaming::Field];

/// A mailbox on a simulated disk.
struct Place {
    fs: SimFs,
    meanwhile: Meanwhile,
    store: MessageStore,
    bob: MailboxName,
}

fn side(name: &str) -> PathBuf {
    Path::new("/mail/example.org/bob").join(name)
}

/// The files of the mailbox, in order of their names.
fn files(fs: &SimFs) -> Vec<(&'static str, String)> {
    let names = |side_name| {
        let entries = fs.read_dir(&side(side_name)).unwrap();
        let names = entries.into_iter().map(|it| it.name.into_string().unwrap());
        names.map(move |name| (side_name, name))
    };
    let mut files: Vec<_> = ["new", "cur"].into_iter().flat_map(names).collect();
    files.sort_by(|left, right| left.1.cmp(&right.1));
    files
}

/// Renames the message whose file name starts with `start`.
fn rename(fs: &SimFs, start: &str, renaming: Renaming) {
    let files = files(fs);
    let Some((from, name)) = files.iter().find(|(_, name)| name.starts_with(start)) else {
        return;
    };
    let (base, flags) = name.split_once(":2,").unwrap_or((name, ""));
    let is_own = base.contains(",W=");
    let (to, renamed) = match renaming {
        Renaming::Move if *from == "new" => ("cur", format!("{base}:2,S")),
        Renaming::Move => ("new", base.to_owned()),
        // The base of another program's message does not change.
        Renaming::Field if is_own => match base.split_once(",U=") {
            Some((base, _)) => (*from, format!("{base}:2,{flags}")),
            None => (*from, format!("{base},U=1:2,{flags}")),
        },
        Renaming::Field | Renaming::Flag if flags.contains('F') => (*from, format!("{base}:2,")),
        Renaming::Field | Renaming::Flag => (*from, format!("{base}:2,FS")),
    };
    // Like a careful program, so that no power cut undoes the rename.
    let (from, to_path) = (side(from).join(name), side(to).join(renamed));
    fs.hard_link(&from, &to_path).unwrap();
    // This sync may report what a sync of the store has lost.
    fs.sync_dir(&side(to)).unwrap_or_default();
    fs.unlink(&from).unwrap();
}

fn unique_ids(maildrop: &Maildrop) -> Vec<String> {
    let messages = summaries(&*maildrop.messages());
    messages
        .iter()
        .map(|it| it.unique_id.as_str().to_owned())
        .collect()
}

/// Starts the store while another program does something in the middle.
fn start(fs: &SimFs, meanwhile: &Meanwhile) -> Result<MessageStore, Error> {
    let settings = Settings {
        durability: Durability::Journal {
            segment_octets: 64 * 1024,
            segments: 3,
        },
        ..Settings::new("/mail", "host.example")
    };
    let watched = Arc::new(meanwhile.beside(fs));
    MessageStore::open_quietly(watched, settings, fs.clock(), Patience::default())
}

impl Place {
    fn new(times: Times) -> Self {
        Self::on(SimFs::new(), times)
    }

    fn on(fs: SimFs, times: Times) -> Self {
        fs.set_times(times);
        let meanwhile = Meanwhile::default();
        let store = start(&fs, &meanwhile).unwrap();
        let place = Self {
            fs,
            meanwhile,
            store,
            bob: mailbox("bob@example.org"),
        };
        deliver(&place.store, "first\n").unwrap();
        place
    }

    /// Messages in both directories: ours and those of other programs, with and without sizes in
    /// their names.
    fn filled(times: Times) -> Self {
        let place = Self::new(times);
        for number in 0..6 {
            deliver(&place.store, &format!("message {number}\n")).unwrap();
            let name = format!("1.M{number}.foreign");
            let mut file = place.fs.create_new(&side("new").join(name)).unwrap();
            file.append(b"content\n").unwrap();
        }
        for (_, name) in files(&place.fs).iter().step_by(2) {
            rename(&place.fs, name, Renaming::Move);
        }
        place
    }

    fn open(&self) -> Maildrop {
        self.store.open_maildrop(&self.bob).unwrap()
    }

    /// The identities of the messages that are there, from a reading of directories that do not
    /// change.
    fn there(&self) -> BTreeSet<String> {
        let id = |(_, name): (&str, String)| {
            let mut parts = name.splitn(3, '.');
            let (secs, serial) = (parts.next().unwrap(), parts.next().unwrap());
            let rest = parts.next().unwrap();
            if serial.starts_with('M') {
                let rest = rest.split_once(":2,").map_or(rest, |(base, _)| base);
                format!("{secs}.{serial}.{rest}")
            } else {
                format!("{secs}.{serial}")
            }
        };
        files(&self.fs).into_iter().map(id).collect()
    }
}

/// Logs in while any one message is renamed, at any moment.
fn log_in_beside_renames() -> Result<(), String> {
    for times in TIMES {
        let place = Place::filled(times);
        let expect = place.there();
        assert_eq!(expect.len(), 13);
        for message in &expect {
            for renaming in RENAMINGS {
                for at in 1.. {
                    let start = message.clone();
                    place
                        .meanwhile
                        .arm(at, move |fs| rename(fs, &start, renaming));
                    let maildrop = place.open();
                    let found: BTreeSet<String> = unique_ids(&maildrop).into_iter().collect();
                    if found != expect {
                        let missing: Vec<_> = expect.difference(&found).collect();
                        return Err(format!("{times:?}, {renaming:?} at {at}: {missing:?}"));
                    }
                    let octets = |position| maildrop.messages().octets(position).unwrap();
                    assert!(
                        (0..found.len()).all(|it| octets(it) > 6),
                        "sizes are counted"
                    );
                    if !place.meanwhile.was_done() {
                        break;
                    }
                }
            }
        }
    }
    Ok(())
}

#[test]
fn a_login_misses_no_message_that_is_renamed_during_it() {
    log_in_beside_renames().unwrap();
    bugs::plant(Some(Bug::SkippedEntriesAreGone));
    assert!(log_in_beside_renames().is_err());
    bugs::plant(None);
}

/// Removes a message that was moved and is renamed while it is being searched for.
fn remove_beside_renames() -> Result<(), String> {
    // Messages of other programs come first, and have the same names each time.
    for (position, times) in [0, 2, 5, 8].into_iter().zip(TIMES.iter().cycle()) {
        for renaming in RENAMINGS {
            for at in 1.. {
                let place = Place::filled(*times);
                let maildrop = place.open();
                let victim = unique_ids(&maildrop).swap_remove(position);
                rename(&place.fs, &victim, Renaming::Move);
                let start = victim.clone();
                place
                    .meanwhile
                    .arm(at, move |fs| rename(fs, &start, renaming));
                let mut left = place.there();
                maildrop.remove(&[position]).unwrap();
                let was_done = place.meanwhile.was_done();
                left.remove(&victim);
                if place.there() != left {
                    return Err(format!(
                        "I2: {times:?}, {renaming:?} at {at}: the message is still there"
                    ));
                }
                if !was_done {
                    break;
                }
            }
        }
    }
    Ok(())
}

#[test]
fn no_removal_is_acknowledged_while_the_message_is_there() {
    remove_beside_renames().unwrap();
    bugs::plant(Some(Bug::SkippedEntriesAreGone));
    assert!(remove_beside_renames().is_err());
    bugs::plant(None);
}

#[test]
fn a_message_that_is_renamed_during_retrieval_is_retrieved() {
    for times in TIMES {
        let place = Place::filled(times);
        let maildrop = place.open();
        let ids = unique_ids(&maildrop);
        for (index, id) in ids.iter().enumerate() {
            for renaming in RENAMINGS {
                for at in 1.. {
                    rename(&place.fs, id, Renaming::Move);
                    let start = id.clone();
                    place
                        .meanwhile
                        .arm(at, move |fs| rename(fs, &start, renaming));
                    read(&maildrop, index).unwrap();
                    if !place.meanwhile.was_done() {
                        break;
                    }
                }
            }
        }
    }
}

/// A program renames a message each time the store looks. No answer is better than a wrong one, and
/// the error comes after a bounded time.
#[test]
fn a_message_that_keeps_moving_is_not_reported_as_gone() {
    let place = Place::filled(Times::Fine);
    let maildrop = place.open();
    let id = unique_ids(&maildrop).swap_remove(8);
    let (fs, start) = (place.fs.clone(), id.clone());
    let restless = place
        .fs
        .watched(move || rename(&fs, &start, Renaming::Flag));
    let settings = Settings::new("/mail", "host.example");
    drop(maildrop);
    let Place { store, fs, .. } = place;
    store.close().unwrap();
    drop(store);
    let clock = fs.clock();
    let store =
        MessageStore::open_quietly(Arc::new(restless), settings, clock, Patience::default());
    let store = store.unwrap();
    let bob = mailbox("bob@example.org");
    let mut n_listed = 0;
    for _ in 0..50 {
        match store.open_maildrop(&bob) {
            Ok(maildrop) => {
                assert!(unique_ids(&maildrop).contains(&id));
                n_listed += 1;
            }
            Err(error) => assert!(error.is_transient(), "{error:?}"),
        }
    }
    assert!(n_listed < 50, "the program interfered");
}

/// Rewrites everything after a failed sync, while another program renames a message.
fn write_anew_beside_renames() -> Result<(), String> {
    for renaming in RENAMINGS {
        // The first operation is the one that fails.
        for at in 2.. {
            let place = Place::new(Times::Fine);
            deliver(&place.store, "two\n").unwrap();
            let start = unique_ids(&place.open()).swap_remove(0);
            place
                .meanwhile
                .arm(at, move |fs| rename(fs, &start, renaming));
            // The sync of the whole file system, which comes first.
            place.fs.fail(Fault {
                at: place.fs.n_operations() + 1,
                errno: Errno::IO,
                is_done: false,
            });
            checkpoint::checkpoint(&place.store.maildirs().open).unwrap_or_default();
            checkpoint::checkpoint_when_idle(&place.store.maildirs().open).unwrap();
            let was_done = place.meanwhile.was_done();
            place.store.abandon();
            let found = super::journal::open_simulated(&place.fs.power_cut(0));
            let found = contents(&found);
            if found != ["first\n", "two\n"] {
                return Err(format!("I1: {renaming:?} at {at}: {found:?}"));
            }
            if !was_done {
                break;
            }
        }
    }
    Ok(())
}

#[test]
fn rewriting_finds_messages_wherever_they_are_moved() {
    write_anew_beside_renames().unwrap();
    bugs::plant(Some(Bug::NotFoundAtExchangeIsRemoved));
    assert!(write_anew_beside_renames().is_err());
    bugs::plant(None);
}

/// Starts after a power cut while another program renames a message. The mailbox is on the device
/// of the store, or on another one, where files are copied.
fn start_beside_renames(is_split: bool) -> Result<(), String> {
    for (renaming, seed) in RENAMINGS
        .into_iter()
        .zip([1, 5, 9])
        .chain([(Renaming::Move, 0)])
    {
        for at in 1.. {
            let fs = SimFs::new();
            if is_split {
                fs.split_at(Path::new("/mail/example.org"));
            }
            let place = Place::on(fs, Times::Fine);
            deliver(&place.store, "two\n").unwrap();
            let start = unique_ids(&place.open()).swap_remove(0);
            place.store.abandon();
            let fs = place.fs.power_cut(seed);
            let meanwhile = Meanwhile::default();
            meanwhile.arm(at, move |fs| rename(fs, &start, renaming));
            let found = super::journal::open_simulated(&meanwhile.beside(&fs));
            let was_done = meanwhile.was_done();
            let context = format!("split: {is_split}, {renaming:?} at {at}, seed {seed}");
            let (contents, files) = (contents(&found), files(&fs));
            if contents != ["first\n", "two\n"] || files.len() != 2 {
                return Err(format!("I5: {context}: {contents:?} {files:?}"));
            }
            found.abandon();
            let found = super::journal::open_simulated(&fs.power_cut(0));
            let contents = self::contents(&found);
            if contents != ["first\n", "two\n"] {
                return Err(format!("I1: {context}: {contents:?}"));
            }
            if !was_done {
                break;
            }
        }
    }
    Ok(())
}

#[test]
fn a_start_duplicates_no_message_that_is_renamed_during_it() {
    start_beside_renames(false).unwrap();
    start_beside_renames(true).unwrap();
    bugs::plant(Some(Bug::StartsBringNamesBack));
    assert!(start_beside_renames(false).is_err());
    bugs::plant(None);
}

/// The same with a program that never stops: messages that cannot be found wait, and none is
/// duplicated.
#[test]
fn a_start_beside_a_program_that_never_stops_duplicates_nothing() {
    for renaming in RENAMINGS {
        let place = Place::new(Times::Fine);
        deliver(&place.store, "two\n").unwrap();
        let start = unique_ids(&place.open()).swap_remove(0);
        place.store.abandon();
        let fs = place.fs.power_cut(1);
        let others = fs.clone();
        let restless = fs.watched(move || rename(&others, &start, renaming));
        super::journal::open_simulated(&restless).abandon();
        let found = super::journal::open_simulated(&fs.power_cut(1));
        assert_eq!(contents(&found), ["first\n", "two\n"], "{renaming:?}");
        assert_eq!(files(&fs).len(), 2, "{renaming:?}");
    }
}

/// On a disk whose times stand still although they are trusted.
#[test]
fn a_message_delivered_during_a_login_is_listed_by_the_next() {
    for at in 1.. {
        let place = Place::new(Times::Coarse);
        place.fs.plant(Defect::TimesStandStill);
        let Place {
            fs,
            meanwhile,
            store,
            bob,
        } = place;
        let store = Arc::new(store);
        let delivering = Arc::clone(&store);
        let recipient = bob.clone();
        meanwhile.arm(at, move |_| {
            let mut delivery = delivering.begin_delivery(0).unwrap();
            delivery.append(b"second\n").unwrap();
            delivery.commit(&[recipient]).unwrap();
        });
        drop(store.open_maildrop(&bob).unwrap());
        let was_done = meanwhile.was_done();
        let n_listed = store.open_maildrop(&bob).unwrap().messages().len();
        assert_eq!(n_listed, if was_done { 2 } else { 1 }, "at {at}");
        drop(fs);
        if !was_done {
            break;
        }
    }
}

/// Acts like somebody restoring a mailbox from a backup: all its directories are new, and none of
/// them is durable.
fn replace_mailbox(fs: &SimFs) {
    fs.rename(&side(""), Path::new("/mail/example.org/bob.old"))
        .unwrap();
    for name in ["", "tmp", "cur", "new"] {
        fs.create_dir(&side(name)).unwrap();
    }
}

#[test]
fn a_mailbox_that_was_replaced_is_made_durable_again() {
    for durability in [
        Durability::Maildir,
        Durability::Journal {
            segment_octets: 64 * 1024,
            segments: 3,
        },
    ] {
        for logs_in in [false, true] {
            let fs = SimFs::new();
            fs.make_timeless();
            // So that checkpoints go file by file.
            fs.slow_syncs(crate::store::limits::SYNC_SLOW, Duration::ZERO);
            let settings = Settings {
                durability,
                ..Settings::new("/mail", "host.example")
            };
            let disk = Arc::new(fs.clone());
            let store = MessageStore::open_quietly(disk, settings, fs.clock(), Patience::default());
            let store = store.unwrap();
            deliver(&store, "first\n").unwrap();
            checkpoint::checkpoint_when_idle(&store.maildirs().open).unwrap();
            replace_mailbox(&fs);
            if logs_in {
                drop(maildrop(&store));
            }
            deliver(&store, "second\n").unwrap();
            checkpoint::checkpoint_when_idle(&store.maildirs().open).unwrap();
            store.abandon();
            let found = super::journal::open_simulated(&fs.power_cut(0));
            assert_eq!(contents(&found), ["second\n"], "{durability:?} {logs_in}");
        }
    }
}

/// FUSE gives a hidden name to a file that is removed while it is open. The hidden file disappears
/// with the daemon that had it open, which may be during the next start.
#[test]
fn a_start_tolerates_files_that_disappear_from_its_spool() {
    for at in 1.. {
        let Place {
            fs,
            meanwhile,
            store,
            ..
        } = Place::new(Times::Fine);
        drop(store);
        let hidden = Path::new("/mail/.facteur/tmp/.fuse_hidden0000000100000001");
        drop(fs.create_new(hidden).unwrap());
        meanwhile.arm(at, move |fs| fs.unlink(hidden).unwrap_or_default());
        let store = start(&fs, &meanwhile).unwrap();
        assert_eq!(maildrop(&store).messages().len(), 1);
        assert!(fs.read_dir(hidden.parent().unwrap()).unwrap().is_empty());
        if !meanwhile.was_done() {
            return;
        }
    }
}

/// The message counts as removed while it is elsewhere, and then somebody puts it back. The start
/// after a kill leaves it alone.
#[test]
fn a_message_moved_away_during_its_removal_and_then_back_survives_a_kill() {
    for (back, flags) in [("new", ""), ("cur", ":2,S")] {
        let Place { fs, store, bob, .. } = Place::new(Times::Fine);
        let maildrop = store.open_maildrop(&bob).unwrap();
        let (_, name) = files(&fs).swap_remove(0);
        let elsewhere = Path::new("/mail/example.org/bob/elsewhere");
        fs.rename(&side("new").join(&name), elsewhere).unwrap();
        maildrop.remove(&[0]).unwrap();
        drop(maildrop);
        let put_back = side(back).join(format!("{name}{flags}"));
        fs.rename(elsewhere, &put_back).unwrap();
        store.abandon();
        drop(store);
        let store = super::journal::open_simulated(&fs);
        assert_eq!(contents(&store), ["first\n"]);
    }
}

/// A removal must be durable even if another program's earlier moves were not.
#[test]
fn a_message_moved_to_cur_and_back_stays_removed() {
    let Place { fs, store, bob, .. } = Place::new(Times::Fine);
    // From here on the journal does not contain it.
    checkpoint::checkpoint_when_idle(&store.maildirs().open).unwrap();
    rename(&fs, "", Renaming::Move);
    rename(&fs, "", Renaming::Move);
    let maildrop = store.open_maildrop(&bob).unwrap();
    maildrop.remove(&[0]).unwrap();
    store.abandon();
    let found = super::journal::open_simulated(&fs.power_cut(0));
    assert_eq!(contents(&found), [""; 0]);
}

/// Whether a message stays removed after a power cut that another program moved to `cur` and back,
/// after an earlier session had removed messages and synced both directories.
fn remove_after_a_removal(times: Times, is_moved: bool) -> (bool, u64) {
    let Place { fs, store, bob, .. } = Place::new(times);
    for _ in 0..2 {
        deliver(&store, "second\n").unwrap();
        checkpoint::checkpoint_when_idle(&store.maildirs().open).unwrap();
        // Until later changes of the directories show.
        fs.hands().pass(Duration::from_mins(1));
        store.open_maildrop(&bob).unwrap().remove(&[1]).unwrap();
    }
    if is_moved {
        rename(&fs, "", Renaming::Move);
        rename(&fs, "", Renaming::Move);
    }
    let maildrop = store.open_maildrop(&bob).unwrap();
    let before = fs.n_directory_syncs();
    maildrop.remove(&[0]).unwrap();
    let n_syncs = fs.n_directory_syncs() - before;
    store.abandon();
    let found = super::journal::open_simulated(&fs.power_cut(0));
    (contents(&found).is_empty(), n_syncs)
}

/// `cur` is synced again only after it has changed, or where its times say nothing.
#[test]
fn a_message_moved_to_cur_and_back_stays_removed_although_cur_was_synced_before() {
    for times in [Times::Fine, Times::Coarse] {
        assert_eq!(remove_after_a_removal(times, false), (true, 1), "{times:?}");
        assert_eq!(remove_after_a_removal(times, true), (true, 2), "{times:?}");
        bugs::plant(Some(Bug::SyncedDirectoriesStaySynced));
        let found = remove_after_a_removal(times, true);
        bugs::plant(None);
        assert_eq!(found, (false, 1), "{times:?}: the bug is not found");
    }
    assert_eq!(remove_after_a_removal(Times::Still, false), (true, 2));
}

/// A store without a journal, while another program does something in the middle.
fn start_without_journal(fs: &SimFs, meanwhile: &Meanwhile) -> MessageStore {
    let settings = Settings {
        durability: Durability::Maildir,
        ..Settings::new("/mail", "host.example")
    };
    let watched = Arc::new(meanwhile.beside(fs));
    MessageStore::open_quietly(watched, settings, fs.clock(), Patience::default()).unwrap()
}

/// Delivers a message with a failure at every operation in turn. Before the failure another program
/// moves the message, if it is there. Returns how often the message was moved and refused, or what
/// is wrong.
fn refuse_what_is_moved() -> Result<usize, String> {
    let mut n_refused = 0;
    for at in 1..30 {
        let (fs, meanwhile) = (SimFs::new(), Meanwhile::default());
        let store = start_without_journal(&fs, &meanwhile);
        deliver(&store, "first\n").unwrap();
        rename(&fs, "", Renaming::Move);
        meanwhile.arm(at, move |fs| {
            let found = files(fs).into_iter().find(|(side, _)| *side == "new");
            if let Some((_, name)) = found {
                rename(fs, &name, Renaming::Move);
            }
            // The next operation of the store fails.
            fs.fail(Fault {
                at: fs.n_operations() + 1,
                errno: Errno::IO,
                is_done: false,
            });
        });
        let result = deliver(&store, "second\n");
        fs.heal();
        let is_moved = files(&fs).iter().all(|(side, _)| *side == "cur");
        n_refused += usize::from(result.is_err() && meanwhile.was_done() && is_moved);
        drop(store);
        let found = contents(&start_without_journal(&fs, &Meanwhile::default()));
        if result.is_err() && found.len() != 1 {
            return Err(format!("{at}: {found:?}"));
        }
    }
    Ok(n_refused)
}

#[test]
fn a_refused_message_is_taken_back_from_where_it_was_moved() {
    assert_ne!(refuse_what_is_moved(), Ok(0));
    refuse_what_is_moved().unwrap();
    bugs::plant(Some(Bug::MovedFilesAreNotTakenBack));
    refuse_what_is_moved().unwrap_err();
    bugs::plant(None);
}

/// A call that fails may still have done its work, as on a network file system. It is not repeated.
#[test]
fn a_delivery_that_succeeded_despite_an_error_is_not_repeated() {
    for at in 1..40 {
        let Place { fs, store, .. } = Place::new(Times::Fine);
        rename(&fs, "", Renaming::Move);
        fs.fail(Fault {
            at: fs.n_operations() + at,
            errno: Errno::IO,
            is_done: true,
        });
        let is_accepted = deliver(&store, "second\n").is_ok();
        fs.heal();
        if let Some((_, name)) = files(&fs).iter().find(|(side, _)| *side == "new") {
            rename(&fs, name, Renaming::Move);
        }
        let expected = if is_accepted {
            vec!["first\n", "second\n"]
        } else {
            vec!["first\n"]
        };
        assert_eq!(contents(&store), expected, "{at}");
        assert_eq!(files(&fs).len(), expected.len(), "{at}: {:?}", files(&fs));
    }
}
