//! Syncs of directories in progress. A thread that syncs a directory learns of failures in other
//! threads.
//!
//! # Theory of operation
//! When two threads sync the same directory at the same time and the disk fails, the system reports
//! the failure to one of them and forgets the entries of both. The sync of the other thread finds
//! nothing left to save, and succeeds. That thread learns of the failure from the failure count
//! (`disk.rs`), but only if the first thread has already counted it. So a thread that has synced a
//! directory waits for all other syncs of it that are still in progress: each counts its failure
//! before it ends here. They end at about the same time.
//!
//! A failed sync of the whole file system does not need this: the system also reports it to threads
//! that sync a directory that has lost entries.
//!
//! # Invariants
//! - A thread that waits has ended its own sync, so no two threads wait for each other.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use crate::store::sync::{
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
    /// By number, in the order in which they began.
    running: BTreeMap<u64, (PathBuf, ThreadId)>,
}

impl Table {
    /// Whether another thread has a sync of `directory` in progress with a number below `end`.
    fn has_other(&self, directory: &Path, end: u64) -> bool {
        let me = thread::current().id();
        let mut earlier = self.running.range(..end).map(|(_, running)| running);
        earlier.any(|(path, thread)| path == directory && *thread != me)
    }
}

/// A sync in progress, until this is dropped.
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
    /// Calls `sync`, which syncs `directory` and counts a failure. Returns when all threads that
    /// were syncing it at the same time have counted theirs.
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
