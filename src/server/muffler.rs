//! Keeps a flood of clients, or of actions of one client, from becoming a flood of log lines.
//!
//! Lines that a client can cause at will are counted for each address and for each of the networks
//! around it, separately for each kind of line. A network may have a burst of lines, and another
//! one each time a period has passed; a wider network has more of both. So an address that floods
//! the log uses up its own lines long before those of the network that it shares with others.
//!
//! The number of lines that were not written is in the next line of the same kind for the address.
//! The counters include all of them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::mail::{Breadth, Network};

use super::limits;

/// What a line is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Kind {
    /// A client that got no session.
    TurnedAway,
    /// A command that was refused.
    Refused,
    /// A login that was refused.
    Login,
    /// A failure of the store.
    Store,
    /// The end of a session in which nothing was achieved.
    Ended,
}

/// Decides which of many lines are written.
#[derive(Debug, Default)]
pub(super) struct Muffler {
    lines: HashMap<(Network, Kind), Lines>,
    pruned: Option<Instant>,
}

/// The lines of a network.
#[derive(Clone, Copy, Debug)]
struct Lines {
    /// When the periods of all its lines will have passed.
    until: Instant,
    /// Lines that were not written since the last one that was.
    unlogged: u64,
}

impl Muffler {
    /// Whether another line may be written: `Some` with the number of lines of the same address and
    /// kind that were not written since the last one.
    pub(super) fn lets_through(&mut self, peer: IpAddr, kind: Kind, now: Instant) -> Option<u64> {
        self.prune(now);
        let address = Network::of(peer);
        let mut networks = address.and_wider();
        if networks.all(|network| self.has_room(network, kind, now)) {
            for network in address.and_wider() {
                self.count(network, kind, now);
            }
            let lines = self.lines.get_mut(&(address, kind));
            return Some(lines.map_or(0, |lines| std::mem::take(&mut lines.unlogged)));
        }
        if let Some(lines) = self.entry(address, kind, now) {
            lines.unlogged = lines.unlogged.saturating_add(1);
        }
        None
    }

    fn has_room(&self, network: Network, kind: Kind, now: Instant) -> bool {
        let until = self.lines.get(&(network, kind)).map(|lines| lines.until);
        let ahead = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        ahead.saturating_add(time_of_a_line(network)) <= limits::LOG_LINES_AHEAD_MAX
    }

    fn count(&mut self, network: Network, kind: Kind, now: Instant) {
        if let Some(lines) = self.entry(network, kind, now) {
            let until = lines.until.max(now);
            lines.until = until
                .checked_add(time_of_a_line(network))
                .unwrap_or(lines.until);
        }
    }

    /// What is known of the network; `None` if too many others are known.
    fn entry(&mut self, network: Network, kind: Kind, now: Instant) -> Option<&mut Lines> {
        let is_everything = network == Network::EVERYTHING;
        let has_place = self.lines.len() < limits::LOG_NETWORKS_MAX || is_everything;
        if !has_place && !self.lines.contains_key(&(network, kind)) {
            return None;
        }
        let nothing = Lines {
            until: now,
            unlogged: 0,
        };
        Some(self.lines.entry((network, kind)).or_insert(nothing))
    }

    /// If there are many networks, forgets those whose periods have all passed, but not too often.
    fn prune(&mut self, now: Instant) {
        let is_full = self.lines.len() >= limits::LOG_NETWORKS_MAX;
        let since = self.pruned.map(|pruned| now.duration_since(pruned));
        if is_full && since.is_none_or(|since| since >= limits::LOG_PRUNE_PERIOD) {
            self.lines.retain(|_, lines| lines.until > now);
            self.pruned = Some(now);
        }
    }
}

/// How long a network that has used up its burst waits for another line.
fn time_of_a_line(network: Network) -> Duration {
    let part = match network.breadth() {
        Breadth::Address | Breadth::Customer => 1,
        Breadth::Site => 2,
        Breadth::Organisation => 4,
        Breadth::Block | Breadth::Loopback => 8,
        Breadth::Everything => 16,
    };
    limits::LOG_LINE_PERIOD
        .checked_div(part)
        .unwrap_or(limits::LOG_LINE_PERIOD)
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

        /// Which of `n` lines of an address in one second are written, each as the number of lines
        /// before it that were not.
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
    fn a_flood_is_logged_as_some_lines_and_a_number() {
        let mut flood = Flood::new();
        assert_eq!(flood.lines("192.0.2.1", Kind::Ended, 1_100, 0), [0; 100]);
        // Ten a second, and the next one gives the number of those that were not written.
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
        assert!(flood.muffler.lines.len() <= limits::LOG_NETWORKS_MAX.saturating_add(1));
        assert_eq!(flood.lines("192.0.2.1", Kind::Login, 100, 0), [0; 100]);
    }
}
