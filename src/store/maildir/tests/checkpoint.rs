//! Checkpoints: how they sync, and whether each way covers what it must. Power cuts at
//! arbitrary moments are tested in `crash.rs`.

#![expect(clippy::arithmetic_side_effects, reason = "tests count small things")]

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::io::Errno;

use crate::{
    fs::Fs as _,
    mail::MailboxName,
    store::{
        MessageStore,
        limits::{
            CHECKPOINT_AGE_MAX, CHECKPOINT_IDLE, SYNC_PACE_KEPT, SYNC_SLOW, TOUCHED_NAMES_MAX,
        },
        maildir::{checkpoint, touched::Applied},
    },
    testing::disk::{Fault, SimFs},
};

use super::{
    journal::{contents, deliver, deliver_to, maildrop, open_simulated},
    mailbox,
};

/// The way of a checkpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Pieces,
    Whole,
}

/// A store next to programs that write a lot, after a slow checkpoint.
struct Busy {
    fs: SimFs,
    store: MessageStore,
}

impl Busy {
    fn new() -> Self {
        let fs = SimFs::new();
        fs.make_timeless();
        fs.slow_syncs(SYNC_SLOW, Duration::ZERO);
        let store = open_simulated(&fs);
        let busy = Self { fs, store };
        assert_eq!(busy.checkpoint("first\n"), Way::Whole);
        busy
    }

    /// Delivers a message and makes a checkpoint of it.
    fn checkpoint(&self, content: &str) -> Way {
        deliver(&self.store, content).unwrap();
        self.checkpoint_only()
    }

    fn checkpoint_only(&self) -> Way {
        let before = self.fs.n_whole_syncs();
        checkpoint::checkpoint_when_idle(&self.store.maildirs().open).unwrap();
        let progress = self
            .store
            .maildirs()
            .open
            .journal
            .as_ref()
            .unwrap()
            .progress();
        assert_eq!(
            progress.settled,
            progress.durable - 1,
            "the floor is behind"
        );
        match self.fs.n_whole_syncs() - before {
            0 => Way::Pieces,
            _ => Way::Whole,
        }
    }

    /// The directory for new messages.
    fn new_directory() -> PathBuf {
        PathBuf::from("/mail/example.org/bob/new")
    }

    /// The file names in that directory.
    fn file_names(&self) -> Vec<OsString> {
        // It is made with the first message.
        let entries = self.fs.read_dir(&Self::new_directory());
        entries
            .unwrap_or_default()
            .into_iter()
            .map(|entry| entry.name)
            .collect()
    }

    /// Delivers a message and returns its file.
    fn deliver(&self, content: &str) -> PathBuf {
        let before = self.file_names();
        deliver(&self.store, content).unwrap();
        let after = self.file_names();
        let new = after.iter().find(|name| !before.contains(name)).unwrap();
        Self::new_directory().join(new)
    }

    /// What is left after a power cut that keeps only what was synced.
    fn after_power_cut(self) -> Vec<String> {
        self.store.abandon();
        contents(&open_simulated(&self.fs.power_cut(0)))
    }
}

#[test]
fn checkpoints_go_file_by_file_after_a_slow_one() {
    let busy = Busy::new();
    assert_eq!(busy.checkpoint("two\n"), Way::Pieces);
    assert_eq!(busy.checkpoint("three\n"), Way::Pieces);
    assert_eq!(busy.after_power_cut(), ["first\n", "three\n", "two\n"]);
}

#[test]
fn checkpoints_always_go_file_by_file_where_a_whole_sync_saves_nothing() {
    let fs = SimFs::new();
    fs.make_timeless();
    fs.be_fuse();
    let store = open_simulated(&fs);
    let busy = Busy { fs, store };
    assert_eq!(busy.checkpoint("one\n"), Way::Pieces);
    assert_eq!(busy.checkpoint("two\n"), Way::Pieces);
    assert_eq!(busy.after_power_cut(), ["one\n", "two\n"]);
}

/// A store on a file system where a sync of the whole saves nothing.
fn on_fuse() -> Busy {
    let fs = SimFs::new();
    fs.make_timeless();
    fs.be_fuse();
    let store = open_simulated(&fs);
    Busy { fs, store }
}

#[test]
fn on_fuse_the_journal_supplies_what_is_not_remembered() {
    let busy = on_fuse();
    deliver(&busy.store, "one\n").unwrap();
    deliver(&busy.store, "two\n").unwrap();
    maildrop(&busy.store).remove(&[0]).unwrap();
    let number = {
        let journal = busy.store.maildirs().open.journal.as_ref();
        journal.unwrap().progress().durable
    };
    busy.store.maildirs().open.touched.note(Applied {
        number,
        counter: 0,
        file_name: "too much".to_owned(),
        mailboxes: vec![mailbox("bob@example.org"); TOUCHED_NAMES_MAX],
    });
    assert_eq!(busy.checkpoint_only(), Way::Pieces);
    assert_eq!(busy.checkpoint("three\n"), Way::Pieces);
    assert_eq!(busy.after_power_cut(), ["three\n", "two\n"]);
}

#[test]
fn on_fuse_a_message_that_was_moved_to_a_folder_is_synced_there() {
    let busy = on_fuse();
    busy.checkpoint("one\n");
    let file = busy.deliver("two\n");
    let trash = Path::new("/mail/example.org/bob/.Trash");
    busy.fs.create_dir(trash).unwrap();
    let cur = trash.join("cur");
    busy.fs.create_dir(&cur).unwrap();
    let mut flagged = OsString::from(file.file_name().unwrap());
    flagged.push(":2,T");
    let moved = cur.join(flagged);
    busy.fs.rename(&file, &moved).unwrap();
    assert_eq!(busy.checkpoint_only(), Way::Pieces);
    let after = busy.fs.power_cut(0);
    let mut content = [0; 8];
    let n_read = after.open(&moved).unwrap().read(&mut content).unwrap();
    assert_eq!(&content[..n_read], b"two\n");
    assert_eq!(busy.after_power_cut(), ["one\n"]);
}

#[test]
fn on_fuse_a_message_that_another_program_removed_stays_removed() {
    let busy = on_fuse();
    let file = busy.deliver("one\n");
    busy.fs.unlink(&file).unwrap();
    assert_eq!(busy.checkpoint_only(), Way::Pieces);
    assert_eq!(busy.checkpoint("two\n"), Way::Pieces);
    assert_eq!(busy.after_power_cut(), ["two\n"]);
}

#[test]
fn on_fuse_an_orderly_stop_and_a_start_make_everything_durable() {
    let busy = on_fuse();
    busy.deliver("one\n");
    busy.store.close().unwrap();
    assert_eq!(contents(&open_simulated(&busy.fs.power_cut(0))), ["one\n"]);
    let busy = on_fuse();
    busy.deliver("one\n");
    busy.store.abandon();
    let found = busy.fs.power_cut(0);
    let store = open_simulated(&found);
    assert_eq!(contents(&store), ["one\n"]);
    store.abandon();
    assert_eq!(contents(&open_simulated(&found.power_cut(0))), ["one\n"]);
}

/// I9.
#[test]
fn on_fuse_an_error_anywhere_in_a_checkpoint_loses_nothing() {
    fail_everywhere(&["one\n", "two\n"], || {
        let busy = on_fuse();
        busy.deliver("one\n");
        let moved = busy.deliver("two\n");
        (busy, moved)
    });
}

/// Reports an error at every operation of a checkpoint in turn. Each time, `begin` delivers the
/// messages that are `expected` at the end, and returns the file that another program moves before
/// the checkpoint.
fn fail_everywhere(expected: &[&str], begin: impl Fn() -> (Busy, PathBuf)) {
    for errno in [Errno::IO, Errno::MFILE] {
        for is_done in [false, true] {
            for at in 1.. {
                let (busy, moved) = begin();
                let cur = Path::new("/mail/example.org/bob/cur");
                let cur = cur.join(moved.file_name().unwrap());
                busy.fs.rename(&moved, &cur).unwrap();
                let before = busy.fs.n_operations();
                busy.fs.fail(Fault {
                    at: before + at,
                    errno,
                    is_done,
                });
                checkpoint::checkpoint(&busy.store.maildirs().open).unwrap();
                let n_operations = busy.fs.n_operations() - before;
                busy.fs.heal();
                checkpoint::checkpoint_when_idle(&busy.store.maildirs().open).unwrap();
                assert_eq!(busy.after_power_cut(), expected, "{errno} at {at}");
                if n_operations < at {
                    break;
                }
            }
        }
    }
}

/// A store whose clock stands still unless the test moves it.
fn timeless() -> Busy {
    let fs = SimFs::new();
    fs.make_timeless();
    let store = open_simulated(&fs);
    Busy { fs, store }
}

/// A deleted message must not come back, even if its mailbox is never idle.
#[test]
fn a_trickle_of_mail_is_checkpointed_within_seconds() {
    let busy = timeless();
    let mut deleted = None;
    let mut passed = Duration::ZERO;
    let step = CHECKPOINT_IDLE * 4 / 5;
    while passed <= CHECKPOINT_AGE_MAX {
        let file = busy.deliver(&format!("{passed:?}\n"));
        if deleted.is_none() {
            busy.fs.unlink(&file).unwrap();
            busy.fs.sync_dir(&Busy::new_directory()).unwrap();
            deleted = Some(format!("{passed:?}\n"));
        }
        busy.fs.hands().pass(step);
        passed += step;
        checkpoint::checkpoint_if_due(&busy.store.maildirs().open);
    }
    let found = busy.after_power_cut();
    assert!(!found.contains(&deleted.unwrap()), "{found:?}");
    assert!(!found.is_empty());
}

#[test]
fn a_busy_store_makes_no_checkpoint_for_each_message() {
    let busy = timeless();
    for _ in 0..20 {
        deliver(&busy.store, "one\n").unwrap();
        busy.fs.hands().pass(CHECKPOINT_AGE_MAX / 20);
        checkpoint::checkpoint_if_due(&busy.store.maildirs().open);
    }
    assert_eq!(busy.fs.n_whole_syncs(), 1);
}

#[test]
fn a_checkpoint_that_covered_the_last_message_is_put_into_the_journal_too() {
    let busy = timeless();
    deliver(&busy.store, "one\n").unwrap();
    checkpoint::checkpoint(&busy.store.maildirs().open).unwrap();
    let journal = busy.store.maildirs().open.journal.as_ref().unwrap();
    assert_eq!(journal.progress().settled, 0);
    busy.fs.hands().pass(CHECKPOINT_IDLE);
    assert_eq!(
        checkpoint::checkpoint_if_due(&busy.store.maildirs().open),
        None
    );
    assert_eq!(journal.progress().settled, 1);
}

#[test]
fn a_checkpoint_that_could_not_be_put_into_the_journal_is_tried_again() {
    for at in 1.. {
        let busy = timeless();
        deliver(&busy.store, "one\n").unwrap();
        busy.fs.hands().pass(CHECKPOINT_IDLE);
        let before = busy.fs.n_operations();
        busy.fs.fail(Fault {
            at: before + at,
            errno: Errno::IO,
            is_done: false,
        });
        checkpoint::checkpoint_if_due(&busy.store.maildirs().open);
        let n_operations = busy.fs.n_operations() - before;
        busy.fs.heal();
        if let Some(left) = {
            busy.fs.hands().pass(CHECKPOINT_IDLE);
            checkpoint::checkpoint_if_due(&busy.store.maildirs().open)
        } {
            panic!("still due in {left:?}, after an error at {at}");
        }
        let journal = busy.store.maildirs().open.journal.as_ref().unwrap();
        assert!(journal.progress().settled >= 1, "after an error at {at}");
        if n_operations < at {
            break;
        }
    }
}

#[test]
fn a_fast_checkpoint_is_followed_by_others_of_its_kind() {
    let fs = SimFs::new();
    fs.make_timeless();
    fs.slow_syncs(SYNC_SLOW / 2, Duration::ZERO);
    let store = open_simulated(&fs);
    let busy = Busy { fs, store };
    assert_eq!(busy.checkpoint("one\n"), Way::Whole);
    assert_eq!(busy.checkpoint("two\n"), Way::Whole);
}

#[test]
fn a_whole_sync_that_was_slow_is_tried_again_after_a_while() {
    let busy = Busy::new();
    assert_eq!(busy.checkpoint("two\n"), Way::Pieces);
    busy.fs.hands().pass(SYNC_PACE_KEPT);
    assert_eq!(busy.checkpoint("three\n"), Way::Whole);
    assert_eq!(busy.checkpoint("four\n"), Way::Pieces, "still slow");
    busy.fs.hands().pass(SYNC_PACE_KEPT);
    busy.fs.slow_syncs(SYNC_SLOW / 2, Duration::ZERO);
    assert_eq!(busy.checkpoint("five\n"), Way::Whole);
    assert_eq!(busy.checkpoint("six\n"), Way::Whole, "fast again");
}

#[test]
fn a_whole_sync_is_used_when_pieces_would_take_longer() {
    let busy = Busy::new();
    busy.fs.slow_syncs(SYNC_SLOW, SYNC_SLOW * 2 / 3);
    assert_eq!(
        busy.checkpoint("one\n"),
        Way::Pieces,
        "nothing is known yet"
    );
    assert_eq!(busy.checkpoint("one\n"), Way::Pieces);
    deliver(&busy.store, "two\n").unwrap();
    assert_eq!(busy.checkpoint("three\n"), Way::Whole, "two messages");
    let mut n_whole = 0;
    let retried = loop {
        deliver(&busy.store, "four\n").unwrap();
        match busy.checkpoint("five\n") {
            Way::Whole => n_whole += 1,
            Way::Pieces => break n_whole,
        }
    };
    assert_eq!(retried, 2, "it is tried again, but not immediately");
}

#[test]
fn a_checkpoint_is_made_before_there_is_too_much_to_remember() {
    let busy = Busy::new();
    let to_half = TOUCHED_NAMES_MAX / 2 - 1;
    let filling = Applied {
        number: 2,
        counter: 0,
        file_name: "much".to_owned(),
        mailboxes: vec![mailbox("bob@example.org"); to_half],
    };
    busy.store.maildirs().open.touched.note(filling);
    assert!(!busy.store.maildirs().open.checkpoints.is_urgent());
    deliver(&busy.store, "two\n").unwrap();
    assert!(busy.store.maildirs().open.checkpoints.is_urgent());
}

#[test]
fn messages_that_are_not_remembered_lead_to_a_sync_of_everything() {
    let busy = Busy::new();
    deliver(&busy.store, "two\n").unwrap();
    let number = busy
        .store
        .maildirs()
        .open
        .journal
        .as_ref()
        .unwrap()
        .progress()
        .durable;
    busy.store.maildirs().open.touched.note(Applied {
        number,
        counter: 0,
        file_name: "too much".to_owned(),
        mailboxes: vec![mailbox("bob@example.org"); TOUCHED_NAMES_MAX],
    });
    assert_eq!(busy.checkpoint_only(), Way::Whole);
    assert_eq!(busy.checkpoint("three\n"), Way::Pieces);
    assert_eq!(busy.after_power_cut(), ["first\n", "three\n", "two\n"]);
}

#[test]
fn a_message_removed_over_pop3_is_not_missed() {
    let busy = Busy::new();
    deliver(&busy.store, "two\n").unwrap();
    deliver(&busy.store, "three\n").unwrap();
    maildrop(&busy.store).remove(&[1]).unwrap();
    assert_eq!(busy.checkpoint_only(), Way::Pieces);
    assert_eq!(busy.after_power_cut(), ["first\n", "three\n"]);
}

/// Removed, or moved out of the Maildir: only a sync of everything covers that.
#[test]
fn a_message_that_another_program_took_away_leads_to_a_sync_of_everything() {
    let busy = Busy::new();
    let file = busy.deliver("two\n");
    busy.fs.unlink(&file).unwrap();
    assert_eq!(busy.checkpoint_only(), Way::Whole);
    assert_eq!(busy.checkpoint("three\n"), Way::Pieces);
    let file = busy.deliver("four\n");
    let folder = Path::new("/mail/example.org/bob/.Trash");
    busy.fs.create_dir(folder).unwrap();
    let moved = folder.join(file.file_name().unwrap());
    busy.fs.rename(&file, &moved).unwrap();
    assert_eq!(busy.checkpoint_only(), Way::Whole);
    let after = busy.fs.power_cut(0);
    assert!(after.open(&moved).is_ok(), "it is where it was moved to");
    assert_eq!(busy.after_power_cut(), ["first\n", "three\n"]);
}

#[test]
fn a_message_that_another_program_marked_as_seen_is_synced_where_it_is() {
    let busy = Busy::new();
    let file = busy.deliver("two\n");
    let mut flagged = OsString::from(file.file_name().unwrap());
    flagged.push(":2,S");
    let moved = Path::new("/mail/example.org/bob/cur").join(flagged);
    // None of this is synced.
    busy.fs.rename(&file, &moved).unwrap();
    deliver(&busy.store, "three\n").unwrap();
    assert_eq!(busy.checkpoint_only(), Way::Pieces);
    let after = busy.fs.power_cut(0);
    assert!(after.open(&moved).is_ok(), "under its new name");
    assert!(after.open(&file).is_err(), "and only there");
    assert_eq!(busy.after_power_cut(), ["first\n", "three\n", "two\n"]);
}

#[test]
fn a_removed_mailbox_leads_to_a_sync_of_everything() {
    let busy = Busy::new();
    let alone = mailbox("ann@example.org");
    deliver_to(&busy.store, "two\n", &[alone]).unwrap();
    let ann = Path::new("/mail/example.org/ann");
    let new = ann.join("new");
    for entry in busy.fs.read_dir(&new).unwrap() {
        busy.fs.unlink(&new.join(entry.name)).unwrap();
    }
    for name in ["new", "cur", "tmp", ""] {
        busy.fs.remove_dir(&ann.join(name)).unwrap();
    }
    assert_eq!(busy.checkpoint_only(), Way::Whole);
}

/// Several threads sync them.
#[test]
fn every_one_of_many_files_is_synced() {
    let busy = Busy::new();
    let recipients: Vec<MailboxName> = (0..700)
        .map(|number| mailbox(&format!("user{number}@example.org")))
        .collect();
    deliver_to(&busy.store, "two\n", &recipients).unwrap();
    assert_eq!(busy.checkpoint_only(), Way::Pieces);
    busy.store.abandon();
    let store = open_simulated(&busy.fs.power_cut(0));
    for recipient in &recipients {
        let maildrop = store.open_maildrop(recipient).unwrap();
        assert_eq!(maildrop.messages().len(), 1, "{recipient}");
    }
}

/// I9: a failure at any point either puts everything in doubt or does no harm, and nothing relies
/// on it.
#[test]
fn an_error_anywhere_in_a_checkpoint_by_pieces_loses_nothing() {
    fail_everywhere(&["first\n", "three\n", "two\n"], || {
        let busy = Busy::new();
        let moved = busy.deliver("two\n");
        deliver(&busy.store, "three\n").unwrap();
        (busy, moved)
    });
}

/// Whatever failed, everything is rewritten and the next sync covers everything.
#[test]
fn a_failed_sync_of_one_file_puts_everything_in_doubt() {
    let busy = Busy::new();
    let file = busy.deliver("two\n");
    let inode = |file: &Path| busy.fs.metadata(file).unwrap().stamp.identity.inode;
    let before = inode(&file);
    // The directory is examined, the file is opened, and its sync fails.
    busy.fs.fail(Fault {
        at: busy.fs.n_operations() + 3,
        errno: Errno::IO,
        is_done: false,
    });
    assert_eq!(busy.checkpoint_only(), Way::Whole);
    assert_ne!(inode(&file), before, "it was rewritten");
    assert_eq!(busy.after_power_cut(), ["first\n", "two\n"]);
}
