//! Keeps a flood of clients, or of what one client does, from being a flood of log lines.
//!
//! Lines that a client can cause at will are counted for each address and for each of the networks
//! around it, and for each kind of line by itself. A network has so many lines at once, and one
//! more whenever the time of one has passed; a wider one has more of both. So an address that
//! floods has used up its own lines long before those of the network that others share with it.
//!
//! What is not written is a number in the next line of the same kind that the address gets. The
//! counters know all of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::mail::{Breadth, Network};

use super::limits;

/// What a line tells of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A client that got no session.
    TurnedAway,
    /// A command that was refused.
    Refused,
    /// A login that was refused.
    Login,
    /// Something that the store could not do.
    Store,
    /// The end of a session in which nothing was done.
    Ended,
}

/// Says which of many lines are written.
#[derive(Debug, Default)]
pub(super) struct Muffler {
    told: HashMap<(Network, Kind), Told>,
    pruned: Option<Instant>,
}

/// What a network has been told of.
#[derive(Clone, Copy, Debug)]
struct Told {
    /// When the time of all its lines will have passed.
    until: Instant,
    /// Lines that were not written since the last one that was.
    untold: u64,
}

impl Muffler {
    /// Whether one more line is written: `Some` with the number of those of the same address and
    /// kind that were not since the last one that was.
    pub(super) fn lets_through(&mut self, peer: IpAddr, kind: Kind, now: Instant) -> Option<u64> {
        self.prune(now);
        let address = Network::of(peer);
        let mut networks = address.and_wider();
        if networks.all(|network| self.has_room(network, kind, now)) {
            for network in address.and_wider() {
                self.tell(network, kind, now);
            }
            let told = self.told.get_mut(&(address, kind));
            return Some(told.map_or(0, |told| std::mem::take(&mut told.untold)));
        }
        if let Some(told) = self.entry(address, kind, now) {
            told.untold = told.untold.saturating_add(1);
        }
        None
    }

    fn has_room(&self, network: Network, kind: Kind, now: Instant) -> bool {
        let until = self.told.get(&(network, kind)).map(|told| told.until);
        let ahead = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        ahead.saturating_add(time_of_a_line(network)) <= limits::TOLD_AHEAD_MAX
    }

    fn tell(&mut self, network: Network, kind: Kind, now: Instant) {
        if let Some(told) = self.entry(network, kind, now) {
            let until = told.until.max(now);
            told.until = until
                .checked_add(time_of_a_line(network))
                .unwrap_or(told.until);
        }
    }

    /// What is known of the network; `None` when too many others are known.
    fn entry(&mut self, network: Network, kind: Kind, now: Instant) -> Option<&mut Told> {
        let is_everything = network == Network::EVERYTHING;
        let has_place = self.told.len() < limits::TOLD_NETWORKS_MAX || is_everything;
        if !has_place && !self.told.contains_key(&(network, kind)) {
            return None;
        }
        let nothing = Told {
            until: now,
            untold: 0,
        };
        Some(self.told.entry((network, kind)).or_insert(nothing))
    }

    /// Forgets the networks the time of whose lines has passed, when there are many and not too
    /// often.
    fn prune(&mut self, now: Instant) {
        let is_full = self.told.len() >= limits::TOLD_NETWORKS_MAX;
        let since = self.pruned.map(|pruned| now.duration_since(pruned));
        if is_full && since.is_none_or(|since| since >= limits::TOLD_PRUNE_PERIOD) {
            self.told.retain(|_, told| told.until > now);
            self.pruned = Some(now);
        }
    }
}

/// The time that a network has to wait for one more line when it has had as many as it may have at
/// once.
fn time_of_a_line(network: Network) -> Duration {
    let part = match network.breadth() {
        Breadth::Address | Breadth::Customer => 1,
        Breadth::Site => 2,
        Breadth::Organisation => 4,
        Breadth::Block | Breadth::Loopback => 8,
        Breadth::Everything => 16,
    };
    limits::TOLD_PERIOD
        .checked_div(part)
        .unwrap_or(limits::TOLD_PERIOD)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;

    use super::*;
    use crate::clock::Clock;

    struct Flood {
        muffler: Muffler,
        begin: Instant,
    }

    impl Flood {
        fn new() -> Self {
            Self {
                muffler: Muffler::default(),
                begin: Clock::system().now(),
            }
        }

        /// What `n` lines of an address come to in a second: the numbers of those untold before
        /// each that is written.
        fn lines(&mut self, peer: &str, kind: Kind, n: u32, second: u64) -> Vec<u64> {
            let passed = Duration::from_secs(second);
            let now = self.begin.checked_add(passed).unwrap();
            let peer = peer.parse().unwrap();
            (0..n)
                .filter_map(|_| self.muffler.lets_through(peer, kind, now))
                .collect()
        }
    }

    #[test]
    fn a_flood_is_told_in_some_lines_and_a_number() {
        let mut flood = Flood::new();
        assert_eq!(flood.lines("192.0.2.1", Kind::Ended, 1_100, 0), [0; 100]);
        // Ten a second, and the next one tells of those that were not written.
        let next = flood.lines("192.0.2.1", Kind::Ended, 1_000, 1);
        assert_eq!(next, [[1_000].as_slice(), &[0; 9]].concat());
        let last = flood.lines("192.0.2.1", Kind::Ended, 1, 60);
        assert_eq!(last, [990]);
    }

    #[test]
    fn a_flood_of_one_hides_neither_others_nor_other_kinds() {
        let mut flood = Flood::new();
        for peer in ["192.0.2.1", "127.0.0.1", "2001:db8::1"] {
            assert_eq!(flood.lines(peer, Kind::Refused, 10_000, 0).len(), 100);
        }
        for peer in [
            "192.0.2.2",
            "127.0.0.2",
            "::1",
            "2001:db8:0:1::1",
            "198.51.100.1",
        ] {
            assert_eq!(flood.lines(peer, Kind::Refused, 100, 0), [0; 100], "{peer}");
        }
        for kind in [Kind::TurnedAway, Kind::Login, Kind::Store, Kind::Ended] {
            assert_eq!(flood.lines("192.0.2.1", kind, 100, 0), [0; 100], "{kind:?}");
        }
    }

    #[test]
    fn a_network_has_few_lines_whatever_its_addresses() {
        let mut flood = Flood::new();
        let mut written = Vec::new();
        for n in 0..10_000 {
            let peer = [0x2001, 0xdb8, 0, n, 0, 0, 0, 1].map(u16::to_be_bytes);
            let peer = Ipv6Addr::from(<[u8; 16]>::try_from(peer.as_flattened()).unwrap());
            written.extend(flood.lines(&peer.to_string(), Kind::Login, 10, 0));
        }
        assert_eq!(written.len(), 400, "as many as a /48 may have");
        assert!(flood.muffler.told.len() <= limits::TOLD_NETWORKS_MAX.saturating_add(1));
        assert_eq!(flood.lines("192.0.2.1", Kind::Login, 100, 0), [0; 100]);
    }
}
