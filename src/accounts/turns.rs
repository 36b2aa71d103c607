//! Whose turn it is: networks wait in a ring, and so do the networks and addresses within each.
//!
//! The widest networks take turns, however many clients wait in each. A turn of a network goes
//! round among the networks within it, down to single addresses; within an address, the first to
//! come is first. Known clients go before all strangers.
//!
//! # Invariants
//! No more clients wait than the limit. When one more comes, one has to leave: the last one of the
//! network with the most waiting strangers.

use std::collections::HashMap;

use crate::mail::Network;

use super::limits;

/// Whether a client's network is known for the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The network has logged in to the account recently.
    Known,
    /// It has not.
    Stranger,
}

/// The waiting clients.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// In the order in which they came.
    waiting: Vec<Waiter>,
    /// The place, in the ring around it, of each network that has a waiting client.
    places: HashMap<Network, u64>,
    /// A number behind the last place of every ring.
    end: u64,
}

#[derive(Debug)]
struct Waiter {
    id: u64,
    standing: Standing,
    /// The networks of its address, the widest first.
    chain: Vec<Network>,
}

impl Turns {
    /// A client from `address` waits. Returns who has to leave because of that, if anybody; it can
    /// be the same client.
    pub(super) fn join(&mut self, id: u64, address: Network, standing: Standing) -> Option<u64> {
        let mut chain: Vec<Network> = address.and_wider().collect();
        chain.reverse();
        for network in &chain {
            self.end = self.end.saturating_add(1);
            self.places.entry(*network).or_insert(self.end);
        }
        self.waiting.push(Waiter {
            id,
            standing,
            chain,
        });
        let leaves = (self.waiting.len() > limits::TURNS_WAITING_MAX).then(|| self.last())??;
        self.leave(leaves);
        Some(leaves)
    }

    /// The client stops waiting.
    pub(super) fn leave(&mut self, id: u64) {
        let position = self.waiting.iter().position(|waiter| waiter.id == id);
        let Some(position) = position else {
            return;
        };
        let gone = self.waiting.remove(position);
        for network in gone.chain {
            let mut others = self.waiting.iter();
            if !others.any(|waiter| waiter.chain.contains(&network)) {
                self.places.remove(&network);
            }
        }
    }

    /// Whose turn it is; that client stops waiting.
    pub(super) fn next(&mut self) -> Option<u64> {
        let is_known = |waiter: &&Waiter| waiter.standing == Standing::Known;
        let has_known = self.waiting.iter().any(|waiter| is_known(&waiter));
        let mut left: Vec<&Waiter> = self.waiting.iter().collect();
        left.retain(|waiter| !has_known || is_known(waiter));
        let deepest = left.iter().map(|waiter| waiter.chain.len()).max()?;
        for depth in 0..deepest {
            let place = |waiter: &&Waiter| {
                let network = waiter.chain.get(depth)?;
                self.places.get(network).copied()
            };
            let first = left.iter().map(place).min()?;
            left.retain(|waiter| place(waiter) == first);
        }
        let next = left.first()?;
        let (id, chain) = (next.id, next.chain.clone());
        for network in chain {
            self.end = self.end.saturating_add(1);
            self.places.insert(network, self.end);
        }
        self.leave(id);
        Some(id)
    }

    /// Who has to leave when too many wait.
    fn last(&self) -> Option<u64> {
        let is_stranger = |waiter: &&Waiter| waiter.standing == Standing::Stranger;
        let has_strangers = self.waiting.iter().any(|waiter| is_stranger(&waiter));
        let mut left: Vec<&Waiter> = self.waiting.iter().collect();
        left.retain(|waiter| !has_strangers || is_stranger(waiter));
        let deepest = left.iter().map(|waiter| waiter.chain.len()).max()?;
        for depth in 0..deepest {
            let mut counts: HashMap<Option<&Network>, usize> = HashMap::new();
            for waiter in &left {
                let count = counts.entry(waiter.chain.get(depth)).or_default();
                *count = count.saturating_add(1);
            }
            let most = counts.values().max().copied();
            let largest = left
                .iter()
                .rev()
                .map(|waiter| waiter.chain.get(depth))
                .find(|network| counts.get(network).copied() == most);
            left.retain(|waiter| Some(waiter.chain.get(depth)) == largest);
        }
        left.last().map(|waiter| waiter.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Network {
        Network::of(text.parse().unwrap())
    }

    fn join(turns: &mut Turns, waiters: &[(u64, &str)]) {
        for (id, text) in waiters {
            assert_eq!(turns.join(*id, address(text), Standing::Stranger), None);
        }
    }

    fn all(turns: &mut Turns) -> Vec<u64> {
        std::iter::from_fn(|| turns.next()).collect()
    }

    /// SEC-11.
    #[test]
    fn networks_take_turns_and_so_do_those_within() {
        let mut turns = Turns::default();
        join(
            &mut turns,
            &[
                (1, "10.0.0.1"),
                (2, "10.0.0.1"),
                (3, "10.0.0.2"),
                (4, "10.1.0.1"),
                (5, "192.0.2.1"),
                (6, "192.0.2.1"),
                (7, "2001:db8::1"),
            ],
        );
        // By blocks: 10, 192, 2001:db8; within 10 by /16, and within 10.0.0.0/24 by address.
        assert_eq!(all(&mut turns), [1, 5, 7, 4, 6, 3, 2]);
        assert!(turns.places.is_empty());
        assert_eq!(turns.next(), None);
    }

    /// SEC-11: next to a /48 with as many waiting as the limit, on a clock that only these turns
    /// move: each takes as long as the verification of a password.
    #[test]
    fn next_to_a_network_at_full_speed_a_stranger_waits_for_one_turn() {
        const VERIFICATION_MS: u64 = 20;
        let mut turns = Turns::default();
        let mut now_ms = 0;
        let attackers = u64::try_from(limits::TURNS_WAITING_MAX).unwrap();
        let attacker = |n: u64| address(&format!("2001:db8:0:{:x}::1", n % 0xffff));
        for n in 0..attackers {
            assert_eq!(turns.join(n, attacker(n), Standing::Stranger), None);
        }
        let mut next_attacker = attackers;
        for round in 0..100 {
            let user = 1_000_000 + round;
            // The largest crowd makes room.
            let gone = turns.join(user, address("192.0.2.1"), Standing::Stranger);
            assert!(gone.is_some_and(|gone| gone < 1_000_000));
            let begin_ms = now_ms;
            while turns.next() != Some(user) {
                now_ms += VERIFICATION_MS;
                // A refused client immediately returns, from another /64.
                turns.join(next_attacker, attacker(next_attacker), Standing::Stranger);
                next_attacker += 1;
            }
            assert!(now_ms - begin_ms <= VERIFICATION_MS, "{round}");
            turns.join(next_attacker, attacker(next_attacker), Standing::Stranger);
            next_attacker += 1;
        }
    }

    #[test]
    fn known_clients_go_before_all_strangers_and_do_not_have_to_leave() {
        let mut turns = Turns::default();
        for n in 0..limits::TURNS_WAITING_MAX {
            let stranger = address(&format!("{}.0.0.1", 1 + n % 100));
            turns.join(u64::try_from(n).unwrap(), stranger, Standing::Stranger);
        }
        for id in [10_000, 10_001] {
            let gone = turns.join(id, address("1.0.0.1"), Standing::Known);
            assert!(gone.is_some_and(|gone| gone < 10_000));
        }
        let first: Vec<u64> = (0..3).filter_map(|_| turns.next()).collect();
        // Their network has had its turns.
        assert_eq!(first, [10_000, 10_001, 1]);
    }

    #[test]
    fn when_too_many_wait_the_last_of_the_largest_network_leaves() {
        let mut turns = Turns::default();
        join(&mut turns, &[(1, "192.0.2.1"), (2, "192.0.2.1")]);
        for n in 2..limits::TURNS_WAITING_MAX {
            let stranger = address(&format!("10.{}.0.1", n % 2));
            let id = u64::try_from(n).unwrap() + 1;
            assert_eq!(turns.join(id, stranger, Standing::Stranger), None);
        }
        let last = u64::try_from(limits::TURNS_WAITING_MAX).unwrap();
        // A client of the largest network has to leave itself.
        let more = last + 1;
        assert_eq!(
            turns.join(more, address("10.0.0.1"), Standing::Stranger),
            Some(more)
        );
        let gone = turns.join(more, address("198.51.100.1"), Standing::Stranger);
        assert_eq!(gone, Some(last));
        assert_eq!(turns.waiting.len(), limits::TURNS_WAITING_MAX);
        turns.leave(1);
        turns.leave(1);
        assert_eq!(turns.waiting.len(), limits::TURNS_WAITING_MAX - 1);
    }

    /// A client that waits alone gets its turn although other clients return again and again.
    #[test]
    fn clients_that_return_starve_nobody() {
        let mut turns = Turns::default();
        join(&mut turns, &[(1, "10.0.0.1"), (2, "10.0.0.1")]);
        let busy = |id: u64| address(&format!("{}.0.0.1", 20 + id % 50));
        for id in 100..150 {
            turns.join(id, busy(id), Standing::Stranger);
        }
        let mut order = Vec::new();
        while let Some(next) = turns.next() {
            order.push(next);
            if (100..1_000).contains(&next) {
                turns.join(next + 50, busy(next), Standing::Stranger);
            }
        }
        let position = |id| order.iter().position(|next| *next == id);
        assert_eq!(position(1), Some(0));
        assert_eq!(position(2), Some(51));
    }
}
