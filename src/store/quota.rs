//! Memory that is shared by many users, with an upper bound on the total (SEC-9).
//!
//! # Invariants
//! - The sum of the shares never exceeds the bound, and dropping a share returns it.
//! - Taking a share and returning it are each one atomic operation.

use std::sync::Arc;

use crate::store::sync::atomic::{AtomicU64, Ordering};

/// The octets that all shares can have together.
#[derive(Debug)]
pub(super) struct Quota {
    octets_max: u64,
    octets: AtomicU64,
}

impl Quota {
    /// A quota of `octets_max`, none of it taken.
    pub(super) fn new(octets_max: u64) -> Arc<Self> {
        Arc::new(Self {
            octets_max,
            octets: AtomicU64::new(0),
        })
    }

    /// How much is taken.
    pub(super) fn octets(&self) -> u64 {
        self.octets.load(Ordering::Relaxed)
    }
}

/// One share of a quota. Dropping it returns it.
#[derive(Debug)]
pub(super) struct Taken {
    quota: Arc<Quota>,
    octets: u64,
}

impl Taken {
    /// A share of zero octets.
    pub(super) fn nothing(quota: &Arc<Quota>) -> Self {
        Self {
            quota: Arc::clone(quota),
            octets: 0,
        }
    }

    /// The size of the share.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// Changes the share to `octets`. Returns false when that is too much, and the share then stays
    /// the same.
    pub(super) fn set(&mut self, octets: u64) -> bool {
        let before = self.octets;
        let changed = self
            .quota
            .octets
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |all| {
                let all = all.saturating_sub(before).saturating_add(octets);
                (all <= self.quota.octets_max || octets <= before).then_some(all)
            });
        if changed.is_ok() {
            self.octets = octets;
        }
        changed.is_ok()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.quota.octets.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-9.
    #[test]
    fn the_sum_of_the_shares_never_exceeds_the_quota() {
        let quota = Quota::new(10);
        let [mut one, mut other] = [Taken::nothing(&quota), Taken::nothing(&quota)];
        assert!(one.set(7) && other.set(3));
        assert!(!other.set(4));
        assert_eq!((one.octets(), other.octets(), quota.octets()), (7, 3, 10));
        assert!(one.set(6) && other.set(4));
        drop(one);
        assert_eq!(quota.octets(), 4);
        assert!(other.set(10) && other.set(0));
        assert_eq!(quota.octets(), 0);
    }
}
