//! Refused logins by the address of the client, and how long the next refusal is held back
//! (SEC-11).
//!
//! The first refusal is told after a second, each further one after twice the time of the one
//! before, up to a bound. Some minutes without a refusal, or a login that is right, and the address
//! begins anew. This only computes: whoever tells the refusal waits.
//!
//! # Invariants
//! No more addresses are held than the limit; the one that was refused longest ago makes room.
//!
//! # Known limits
//! A client may have a whole /64 of IPv6, so these count as one address. A guess that comes from
//! another address each time is not delayed here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::mail::Network;

use super::limits;

/// Who was refused of late.
#[derive(Debug)]
pub struct Failures {
    first_delay: Duration,
    places: HashMap<Network, Failure>,
}

#[derive(Clone, Copy, Debug)]
struct Failure {
    delay: Duration,
    at: Instant,
}

impl Failures {
    /// Nobody was refused yet. A `first_delay` of zero switches all delays off.
    pub fn new(first_delay: Duration) -> Self {
        Self {
            first_delay,
            places: HashMap::new(),
        }
    }

    /// A login from `address` is refused at `now`: gives how long to wait before saying so.
    pub fn record(&mut self, address: IpAddr, now: Instant) -> Duration {
        if self.first_delay.is_zero() {
            return Duration::ZERO;
        }
        let place = Network::of_customer(address);
        let fresh =
            |failure: &Failure| now.saturating_duration_since(failure.at) < limits::FAILURE_MEMORY;
        let delay = match self.places.get(&place).filter(|failure| fresh(failure)) {
            Some(failure) => failure.delay.saturating_mul(2),
            None => self.first_delay,
        };
        let delay = delay.min(limits::FAILURE_DELAY_MAX);
        self.make_room(place);
        self.places.insert(place, Failure { delay, at: now });
        delay
    }

    /// A login from `address` is right: what was refused before is forgotten.
    pub fn forget(&mut self, address: IpAddr) {
        self.places.remove(&Network::of_customer(address));
    }

    /// Looks at every place, but only when all are taken, and beside the work of a verification.
    fn make_room(&mut self, for_place: Network) {
        if self.places.len() < limits::FAILURE_ADDRESSES_MAX || self.places.contains_key(&for_place)
        {
            return;
        }
        let oldest = self.places.iter().min_by_key(|(_, failure)| failure.at);
        if let Some(place) = oldest.map(|(place, _)| *place) {
            self.places.remove(&place);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to begin with"
    )]

    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// SEC-11.
    #[test]
    fn the_delay_doubles_up_to_its_bound() {
        let mut failures = Failures::new(SECOND);
        let begin = Instant::now();
        let delays = (0..7).map(|n| failures.record(address("192.0.2.1"), begin + n * SECOND));
        let delays: Vec<u64> = delays.map(|delay| delay.as_secs()).collect();
        assert_eq!(delays, [1, 2, 4, 8, 15, 15, 15]);
    }

    #[test]
    fn time_and_a_right_login_make_it_begin_anew() {
        let mut failures = Failures::new(SECOND);
        let (bob, begin) = (address("192.0.2.1"), Instant::now());
        assert_eq!(failures.record(bob, begin), SECOND);
        let almost = begin + limits::FAILURE_MEMORY.saturating_sub(Duration::from_nanos(1));
        assert_eq!(failures.record(bob, almost), 2 * SECOND);
        assert_eq!(
            failures.record(bob, almost + limits::FAILURE_MEMORY),
            SECOND
        );
        failures.forget(bob);
        assert_eq!(
            failures.record(bob, almost + limits::FAILURE_MEMORY),
            SECOND
        );
    }

    #[test]
    fn a_network_of_ipv6_and_a_mapped_address_are_one_address() {
        let mut failures = Failures::new(SECOND);
        let now = Instant::now();
        for (text, seconds) in [
            ("2001:db8::1", 1),
            ("2001:db8::ffff:ffff:ffff:ffff", 2),
            ("2001:db8:0:1::1", 1),
            ("192.0.2.1", 1),
            ("192.0.2.2", 1),
            ("::ffff:192.0.2.1", 2),
        ] {
            assert_eq!(
                failures.record(address(text), now),
                seconds * SECOND,
                "{text}"
            );
        }
    }

    #[test]
    fn no_more_addresses_are_held_than_the_limit_and_the_oldest_makes_room() {
        let mut failures = Failures::new(SECOND);
        let begin = Instant::now();
        let most = u32::try_from(limits::FAILURE_ADDRESSES_MAX).unwrap();
        let place = |n: u32| IpAddr::V4(Ipv4Addr::from(n));
        for n in 0..most {
            failures.record(place(n), begin + n * Duration::from_millis(1));
        }
        let later = begin + most * Duration::from_millis(1);
        assert_eq!(failures.record(place(0), later), 2 * SECOND);
        failures.record(IpAddr::V6(Ipv6Addr::LOCALHOST), later);
        assert_eq!(failures.places.len(), limits::FAILURE_ADDRESSES_MAX);
        assert_eq!(failures.record(place(2), later), 2 * SECOND);
        assert_eq!(failures.record(place(0), later), 4 * SECOND);
        assert_eq!(
            failures.record(place(1), later),
            SECOND,
            "it was the oldest"
        );
    }

    #[test]
    fn delays_can_be_switched_off() {
        let mut failures = Failures::new(Duration::ZERO);
        for _ in 0..5 {
            let delay = failures.record(address("192.0.2.1"), Instant::now());
            assert_eq!(delay, Duration::ZERO);
        }
        assert!(failures.places.is_empty());
    }
}
