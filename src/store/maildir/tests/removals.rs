//! Removals from several mailboxes at once, cut off at every operation.

use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};

use rustix::io::Errno;

use crate::{
    fs::Fs as _,
    mail::{EntryId, MailboxName},
    store::{Error, Maildrop, MessageStore, limits::REMOVAL_SHARE_MIN, quota::Taken},
    testing::{
        bugs::{self, Bug},
        disk::{Fault, SimFs, Times},
    },
};

use super::{
    crash::{JOURNALS, open},
    journal::deliver_to,
    mailbox,
};

fn both() -> [MailboxName; 2] {
    ["ann@example.org", "bob@example.net"].map(mailbox)
}

/// A message in a mailbox.
type Copy = (MailboxName, EntryId);

/// All messages of both mailboxes.
fn list(store: &MessageStore) -> BTreeSet<Copy> {
    let mut listed = BTreeSet::new();
    for mailbox in both() {
        let look = store.look(&mailbox).unwrap();
        let ids = (0..look.messages().len()).map(|index| look.id(index).unwrap());
        listed.extend(ids.map(|id| (mailbox.clone(), id)));
    }
    listed
}

/// A store with a message in both mailboxes, and one more in each. Returns those that are to be
/// removed, which are all but the last.
fn filled(store: &MessageStore) -> (Vec<Copy>, BTreeSet<Copy>) {
    let [ann, bob] = both();
    deliver_to(store, "one\n", &both()).unwrap();
    deliver_to(store, "two\n", std::slice::from_ref(&ann)).unwrap();
    let wanted: Vec<_> = list(store).into_iter().collect();
    deliver_to(store, "three\n", &[bob]).unwrap();
    let kept = list(store)
        .into_iter()
        .filter(|it| !wanted.contains(it))
        .collect();
    (wanted, kept)
}

/// I2, I3: whatever is left after a power cut, it is a part of what was there; nothing comes back
/// after `Ok`, and nothing else is removed.
#[test]
fn a_power_cut_between_two_mailboxes_leaves_a_part_and_nothing_comes_back() {
    let mut parts = BTreeSet::new();
    for durability in JOURNALS {
        for seed in 0..3 {
            for after in 1.. {
                let fs = SimFs::new();
                let store = open(&fs, durability).unwrap();
                let (wanted, kept) = filled(&store);
                fs.cut_at(fs.n_operations().checked_add(after).unwrap());
                let removed = store.remove_everywhere(&wanted);
                store.abandon();
                let fs = fs.power_cut(seed);
                for _ in 0..2 {
                    let store = open(&fs, durability).unwrap();
                    let left = list(&store);
                    assert!(kept.is_subset(&left), "{after}: lost");
                    let left: Vec<_> = left.difference(&kept).cloned().collect();
                    assert!(left.iter().all(|it| wanted.contains(it)), "{after}");
                    assert!(left.is_empty() || removed.is_err(), "{after}: came back");
                    parts.insert(left.len());
                    store.abandon();
                }
                if removed.is_ok() {
                    break;
                }
            }
        }
    }
    assert!(parts.contains(&0) && parts.contains(&3), "{parts:?}");
    assert!(parts.contains(&1) || parts.contains(&2), "{parts:?}");
}

#[test]
fn nothing_is_removed_while_another_session_has_one_of_the_mailboxes() {
    let fs = SimFs::new();
    let store = open(&fs, JOURNALS[0]).unwrap();
    let (wanted, kept) = filled(&store);
    let before = list(&store);
    let [ann, bob] = both();
    let remove = || store.maildirs().remove_everywhere(&wanted, Duration::ZERO);
    let is_busy = |expect: &[&MailboxName]| match remove() {
        Err(Error::Busy { mailboxes }) => mailboxes.iter().collect::<Vec<_>>() == expect,
        _ => false,
    };
    let of_bob = store.open_maildrop(&bob).unwrap();
    assert!(is_busy(&[&bob]));
    let of_ann = store.open_maildrop(&ann).unwrap();
    assert!(is_busy(&[&ann, &bob]));
    drop(of_bob);
    assert!(is_busy(&[&ann]));
    drop(of_ann);
    assert_eq!(list(&store), before);
    drop(store.open_maildrop(&bob).unwrap());
    let cursor = store.cursor();
    remove().unwrap();
    assert_eq!(list(&store), kept);
    let news = store.watch(None, cursor).unwrap().news(Duration::ZERO);
    let removed: Vec<_> = news
        .unwrap()
        .into_iter()
        .map(|it| (it.mailbox, it.id))
        .collect();
    assert_eq!(removed, wanted);
    // They are gone already, and the claims are free.
    remove().unwrap();
    store.remove_everywhere(&[]).unwrap();
    store.open_maildrop(&ann).unwrap();
}

/// Two removals of the same mailboxes, named in different orders, never wait for each other for
/// ever.
#[test]
fn removals_at_the_same_time_take_turns() {
    let fs = SimFs::new();
    let store = Arc::new(open(&fs, JOURNALS[2]).unwrap());
    let (wanted, kept) = filled(&store);
    let reversed: Vec<_> = wanted.iter().rev().cloned().collect();
    std::thread::scope(|scope| {
        for messages in [&wanted, &reversed, &wanted, &reversed] {
            let store = &store;
            scope.spawn(move || {
                let patience = Duration::from_hours(1);
                store
                    .maildirs()
                    .remove_everywhere(messages, patience)
                    .unwrap();
            });
        }
    });
    assert_eq!(list(&store), kept);
}

/// So many messages that two threads remove them.
const MANY: usize = 2 * REMOVAL_SHARE_MIN + 7;

/// The last of them, which is never removed.
const KEPT: usize = MANY - 1;

/// A store on `fs` with [`MANY`] messages of another program in bob's mailbox, and his session. Of
/// every fifty messages that program has moved one since.
fn filled_with_many(fs: &SimFs) -> (MessageStore, Maildrop) {
    fs.set_times(Times::Fine);
    let store = open(fs, JOURNALS[2]).unwrap();
    let [_, bob] = both();
    deliver_to(&store, "one\n", std::slice::from_ref(&bob)).unwrap();
    store.open_maildrop(&bob).unwrap().remove(&[0]).unwrap();
    let maildir = Path::new("/mail/example.net/bob");
    let name = |number: usize| format!("1.M{number:03}.foreign,S=1,W=2");
    for number in 0..MANY {
        fs.create_new(&maildir.join("new").join(name(number)))
            .unwrap();
    }
    fs.sync_dir(&maildir.join("new")).unwrap();
    let maildrop = store.open_maildrop(&bob).unwrap();
    assert_eq!(maildrop.messages().len(), MANY);
    for number in (25..KEPT).step_by(50) {
        let moved = maildir.join("cur").join(format!("{}:2,S", name(number)));
        fs.rename(&maildir.join("new").join(name(number)), &moved)
            .unwrap();
    }
    (store, maildrop)
}

/// How many messages bob has after a power cut, once the kept one was found.
fn left_after_power_cut(fs: &SimFs, seed: u64) -> usize {
    let store = open(&fs.power_cut(seed), JOURNALS[2]).unwrap();
    let [_, bob] = both();
    let look = store.look(&bob).unwrap();
    let messages = look.messages();
    let last = messages.len().checked_sub(1).unwrap();
    let last = messages.unique_id(last).unwrap();
    let is_kept = last.as_str().contains(&format!("M{KEPT}"));
    assert!(is_kept, "I3: another message was removed");
    store.abandon();
    messages.len()
}

/// Removes all but one message, and returns how many there are after a power cut.
fn remove_many(is_helped: bool) -> usize {
    let fs = SimFs::new();
    let (store, maildrop) = filled_with_many(&fs);
    let mut help = Taken::nothing(&store.maildirs().open.helpers);
    // As if another session had the helper.
    assert!(is_helped || help.set(1));
    maildrop.remove(&(0..KEPT).collect::<Vec<_>>()).unwrap();
    drop(help);
    assert_eq!(store.maildirs().open.helpers.octets(), 0);
    store.abandon();
    left_after_power_cut(&fs, 0)
}

/// I2, I3, also for those messages that another program has moved, whichever thread misses them.
#[test]
fn two_threads_remove_many_messages_and_no_other() {
    assert_eq!(remove_many(true), 1);
    assert_eq!(remove_many(false), 1);
    bugs::plant(Some(Bug::SharesOfHelpersAreTrusted));
    let left = remove_many(true);
    bugs::plant(None);
    assert!(left > 1, "the bug is not found");
}

/// I2, I3: wherever the power fails while two threads remove messages.
#[test]
fn a_power_cut_during_a_shared_removal_leaves_a_part() {
    for seed in 0..2 {
        for after in (1..).step_by(11) {
            let fs = SimFs::new();
            let (store, maildrop) = filled_with_many(&fs);
            fs.cut_at(fs.n_operations().checked_add(after).unwrap());
            let removed = maildrop.remove(&(0..KEPT).collect::<Vec<_>>());
            store.abandon();
            let left = left_after_power_cut(&fs, seed);
            assert!(left == 1 || removed.is_err(), "{after}: came back");
            if removed.is_ok() {
                break;
            }
        }
    }
}

/// I2, I9: whatever fails while two threads remove messages and sync the directories.
#[test]
fn an_error_during_a_shared_removal_is_reported_or_harmless() {
    let all: Vec<usize> = (0..KEPT).collect();
    let remove = |after: Option<u64>| {
        let fs = SimFs::new();
        let (store, maildrop) = filled_with_many(&fs);
        let before = fs.n_operations();
        if let Some(after) = after {
            let at = before.checked_add(after).unwrap();
            fs.fail(Fault {
                at,
                errno: Errno::IO,
                is_done: false,
            });
        }
        let removed = maildrop.remove(&all);
        let n_operations = fs.n_operations().checked_sub(before).unwrap();
        store.abandon();
        let left = left_after_power_cut(&fs, 1);
        assert!(left == 1 || removed.is_err(), "{after:?}: came back");
        (removed.is_ok(), n_operations)
    };
    let (is_ok, n_operations) = remove(None);
    assert!(is_ok);
    let syncs = n_operations.checked_sub(8).unwrap()..=n_operations;
    let n_failed = (1..n_operations)
        .step_by(13)
        .chain(syncs)
        .filter(|after| !remove(Some(*after)).0)
        .count();
    assert!(n_failed > 4);
}
