//! This node, and whether the others know that it is there.
//!
//! The database has a lease for each node, by the clock of the server. The mailboxes that a node
//! has claimed are its own while the lease is valid. Here only monotonic time counts: that of the
//! last renewal, from before it was sent. A node that could not renew its lease for
//! [`LEASE_TRUSTED`] ends its sessions, because another may have claimed their mailboxes since. (A
//! removal does not rely on this: it names its claim.)

use std::time::{Duration, Instant};

use crate::{clock::Clock, store::sync::Mutex};

use super::{
    connection::UUID_OCTETS,
    limits::{AWAY_TIMEOUT, LEASE_TRUSTED},
};

/// See the module.
#[derive(Debug)]
pub(super) struct Lease {
    /// Random, one for each run.
    pub(super) node: [u8; UUID_OCTETS],
    /// For people who look into the database.
    pub(super) name: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    renewed: Instant,
    /// How often it was lost.
    epoch: u64,
}

impl Lease {
    pub(super) fn new(node: [u8; UUID_OCTETS], name: &str, renewed: Instant) -> Self {
        Self {
            node,
            name: name.to_owned(),
            state: Mutex::new(State { renewed, epoch: 0 }),
        }
    }

    /// Notes that it was renewed by a statement that was sent after `begin`.
    pub(super) fn renewed(&self, begin: Instant) {
        let mut state = self.state.lock();
        if begin.saturating_duration_since(state.renewed) > LEASE_TRUSTED {
            state.epoch = state.epoch.saturating_add(1);
        }
        state.renewed = begin;
    }

    fn age(&self, clock: &Clock) -> (Duration, u64) {
        let now = clock.now();
        let state = self.state.lock();
        (now.saturating_duration_since(state.renewed), state.epoch)
    }

    /// How often it was lost; `None` if it is lost now.
    pub(super) fn epoch(&self, clock: &Clock) -> Option<u64> {
        let (age, epoch) = self.age(clock);
        (age <= LEASE_TRUSTED).then_some(epoch)
    }

    /// Whether the database has been away for so long that nobody should wait for it.
    pub(super) fn is_long_lost(&self, clock: &Clock) -> bool {
        self.age(clock).0 > AWAY_TIMEOUT
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Hands;

    #[test]
    fn a_session_ends_when_the_lease_was_lost_for_a_moment() {
        let hands = Arc::new(Hands::new());
        let clock = Clock::turned_by(Arc::clone(&hands));
        let lease = Lease::new([0; UUID_OCTETS], "node", clock.now());
        let epoch = lease.epoch(&clock);
        assert!(epoch.is_some());
        hands.pass(LEASE_TRUSTED);
        assert_eq!(lease.epoch(&clock), epoch);
        lease.renewed(clock.now());
        assert_eq!(lease.epoch(&clock), epoch);
        hands.pass(LEASE_TRUSTED + Duration::from_millis(1));
        assert_eq!(lease.epoch(&clock), None);
        lease.renewed(clock.now());
        let later = lease.epoch(&clock);
        assert!(later.is_some() && later != epoch);
        assert!(!lease.is_long_lost(&clock));
        hands.pass(AWAY_TIMEOUT + Duration::from_millis(1));
        assert!(lease.is_long_lost(&clock));
    }
}
