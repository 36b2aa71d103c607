//! Work on many files, split between several threads.

use std::panic::resume_unwind;

use crate::store::sync::thread;

/// How some work is split.
#[derive(Clone, Copy, Debug)]
pub(super) struct Split {
    /// The name of the threads.
    pub(super) name: &'static str,
    /// How many threads share it at most, the caller's included.
    pub(super) threads_max: usize,
    /// How many items make it worthwhile to start another thread.
    pub(super) items_min: usize,
}

impl Split {
    /// The caller does everything.
    pub(super) const NONE: Self = Self {
        name: "",
        threads_max: 1,
        items_min: usize::MAX,
    };
}

/// Runs `work` on all of `items`, split between several threads if there are many.
pub(super) fn in_shares<T: Sync, R: Send>(
    items: &[T],
    split: Split,
    work: impl Fn(&[T]) -> R + Sync,
) -> Vec<R> {
    let n_threads = items.len().checked_div(split.items_min).unwrap_or(1);
    let n_threads = n_threads.min(split.threads_max).max(1);
    let mut shares = items.chunks(items.len().div_ceil(n_threads).max(1));
    let Some(own) = shares.next() else {
        return Vec::new();
    };
    let work = &work;
    thread::scope(|scope| {
        let others: Vec<_> = shares
            .map(|share| {
                let thread = thread::Builder::new().name(split.name.to_owned());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_in_one_share_and_the_results_are_in_order() {
        for n_items in [0, 1, 2, 3, 10, 101] {
            let items: Vec<usize> = (0..n_items).collect();
            for (threads_max, items_min) in [(1, 1), (2, 1), (2, 5), (4, 3), (3, 1_000)] {
                let split = Split {
                    name: "share",
                    threads_max,
                    items_min,
                };
                let shares = in_shares(&items, split, <[usize]>::to_vec);
                assert_eq!(shares.concat(), items);
                let n_worthwhile = threads_max.min((n_items / items_min).max(1));
                assert!(shares.len() <= n_worthwhile, "{n_items} {split:?}");
                assert!(shares.len() > 1 || n_worthwhile == 1 || n_items < 2);
            }
            assert!(in_shares(&items, Split::NONE, <[usize]>::to_vec).len() <= 1);
        }
    }
}
