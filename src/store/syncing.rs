//! Syncs of directories that are being made: who has made one hears of those that failed meanwhile.
//!
//! # Theory of operation
//! When two threads sync the same directory at the same time and the disk fails, the system tells
//! one of them, and forgets the entries of both: to the other it says that there is nothing left to
//! be saved. That one finds the failure in the count (`shared.rs`), if it has been counted by then.
//! So whoever has synced a directory waits for all other syncs of it that are still being made:
//! each of them is counted, if it failed, before it ends here. They end at about the same time.
//!
//! A failed sync of the whole file system needs no such care: the system tells whoever syncs
//! a directory of which something was lost, too.
//!
//! # Invariants
//! - Who waits has ended its own sync, so nobody waits for each other.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use super::sync::{
    Condvar, Mutex,
    thread::{self, ThreadId},
};

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Syncing {
    table: Mutex<Table>,
    has_ended: Condvar,
}

#[derive(Debug, Default)]
struct Table {
    next_number: u64,
    /// In the order in which they began.
    running: BTreeMap<u64, (PathBuf, ThreadId)>,
}

impl Table {
    /// Whether another thread makes one of `directory` that began before that with the number
    /// `end`.
    fn has_other(&self, directory: &Path, end: u64) -> bool {
        let me = thread::current().id();
        let mut earlier = self.running.range(..end).map(|(_, running)| running);
        earlier.any(|(path, thread)| path == directory && *thread != me)
    }
}

/// One that is being made, until this is dropped.
struct Running<'a> {
    syncing: &'a Syncing,
    number: u64,
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.syncing.table.lock().running.remove(&self.number);
        self.syncing.has_ended.notify_all();
    }
}

impl Syncing {
    /// Lets `sync` sync `directory`, and count that it failed if it does. Returns when all others
    /// that were doing so at the same time have done that, too.
    pub(super) fn perform<T>(&self, directory: &Path, sync: impl FnOnce() -> T) -> T {
        let running = self.begin(directory);
        let done = sync();
        drop(running);
        let mut table = self.table.lock();
        let end = table.next_number;
        while table.has_other(directory, end) {
            self.has_ended.wait(&mut table);
        }
        drop(table);
        done
    }

    fn begin(&self, directory: &Path) -> Running<'_> {
        let running = (directory.to_owned(), thread::current().id());
        let mut table = self.table.lock();
        let number = table.next_number;
        table.next_number = number.wrapping_add(1);
        table.running.insert(number, running);
        drop(table);
        Running {
            syncing: self,
            number,
        }
    }

    /// Whether the lock is held.
    #[cfg(test)]
    pub(super) fn is_locked(&self) -> bool {
        self.table.is_locked()
    }
}
