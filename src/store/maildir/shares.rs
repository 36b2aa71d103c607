//! Work on many files, split between several threads.

use std::panic::resume_unwind;

use crate::store::{
    limits::{SYNC_THREAD_NAMES_MIN, SYNC_THREADS_MAX},
    sync::thread,
};

/// Runs `work` on all of `items`, split between several threads if there are many.
pub(super) fn in_shares<T: Sync, R: Send>(items: &[T], work: impl Fn(&[T]) -> R + Sync) -> Vec<R> {
    let n_threads = items.len() / SYNC_THREAD_NAMES_MIN;
    let n_threads = n_threads.clamp(1, SYNC_THREADS_MAX);
    let mut shares = items.chunks(items.len().div_ceil(n_threads).max(1));
    let Some(own) = shares.next() else {
        return Vec::new();
    };
    let work = &work;
    thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|share| {
                let thread = thread::Builder::new().name("sync".to_owned());
                (share, thread.spawn_scoped(scope, move || work(share)))
            })
            .collect();
        let mut results = vec![work(own)];
        for (share, thread) in others {
            results.push(match thread.map(thread::ScopedJoinHandle::join) {
                Ok(Ok(result)) => result,
                Ok(Err(panic)) => resume_unwind(panic),
                // The system has no more threads: the work is done in this thread.
                Err(_) => work(share),
            });
        }
        results
    })
}
