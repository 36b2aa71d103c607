//! Which networks hold how many of the places for sessions, and who gets the next one (NET-5).
//!
//! # Theory of operation
//! Networks are nested: see [`Network`]. Each may hold a share of the total, the smallest for an
//! address and the largest for a wide network, so that no network can take every place. By default,
//! the shares follow from the total ([`Caps::share`]).
//!
//! A network without a place is never kept out by networks that have many:
//!
//! - An eighth of the places is kept for networks of the widest kind that hold none.
//! - A 32nd is the *floor* of this machine: others never get these places, and this machine is
//!   never displaced below it.
//! - When there is no place left, in the total or in the share of a network, a new client still
//!   gets one if its own part is small: with its new place it would hold at most half as much as
//!   the largest network beside it. Then one session of that largest network is *displaced*: it is
//!   told to end, and its place immediately belongs to the new client.
//!
//! A displaced session exists until it has ended. An eighth of the total is only for such sessions,
//! so that there are never more sessions than the total. While these places are taken, no other
//! session is displaced and new clients are refused. The eighth is split into pools, according to
//! the network that contains both ([`Pool`]), so that whoever has many networks within one cannot
//! use up the places for new clients from elsewhere.
//!
//! This module only counts: it knows sessions as numbers and opens or ends nothing. Its work for a
//! session is a few steps for each of the networks that contain the address.

use std::collections::{BTreeSet, HashMap};

use crate::mail::{Breadth, Network};

use super::limits;

/// The most simultaneous sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// In total.
    pub total: usize,
    /// From one address, which also determines the shares of networks.
    pub per_address: PerAddress,
}

/// The most simultaneous sessions from one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PerAddress {
    /// Computed from the total.
    Scaled,
    /// This many; networks have their default shares, but no less than this.
    AtMost(usize),
    /// Any number: there are no shares, and no session is displaced.
    Unlimited,
}

impl Caps {
    /// The most simultaneous sessions from a network.
    pub fn share(&self, network: Network) -> usize {
        let breadth = network.breadth();
        if breadth == Breadth::Everything {
            return self.total;
        }
        let most_of_address = if network.is_loopback() {
            limits::PER_LOOPBACK_ADDRESS
        } else {
            limits::PER_ADDRESS
        };
        let (parts, of) = match breadth {
            Breadth::Address if network.is_loopback() => limits::LOOPBACK_ADDRESS_SHARE,
            Breadth::Address | Breadth::Customer => limits::ADDRESS_SHARE,
            Breadth::Site => limits::SITE_SHARE,
            Breadth::Organisation => limits::ORGANISATION_SHARE,
            Breadth::Block => limits::BLOCK_SHARE,
            Breadth::Loopback | Breadth::Everything => limits::LOOPBACK_SHARE,
        };
        let scaled = self.total.saturating_mul(parts);
        let scaled = scaled.checked_div(of).unwrap_or(0).max(limits::SHARE_MIN);
        let is_small = self.total < limits::SHARED_TOTAL_MIN;
        let is_address = matches!(breadth, Breadth::Address | Breadth::Customer);
        match self.per_address {
            PerAddress::Unlimited => usize::MAX,
            PerAddress::AtMost(count) if is_address => count,
            PerAddress::Scaled | PerAddress::AtMost(_) if is_small => usize::MAX,
            PerAddress::AtMost(count) => scaled.max(count),
            PerAddress::Scaled if is_address => scaled.min(most_of_address),
            PerAddress::Scaled => scaled,
        }
    }

    /// The shares, for the log; `None` if there are no shares.
    pub fn summary(&self) -> Option<String> {
        if self.apart_min() == 0 {
            return None;
        }
        let share = |address: [u8; 4], breadth: Breadth| {
            let mut networks = Network::of(address.into()).and_wider();
            let network = networks.find(|network| network.breadth() == breadth);
            network.map_or(0, |network| self.share(network))
        };
        let (here, elsewhere) = ([127, 0, 0, 1], [192, 0, 2, 1]);
        Some(format!(
            "at most {} of them from one address or /64, {} from a /24 or /56, {} from a /16 or \
             /48, {} from a /8 or /32; from this machine {} ({} kept for it), and {} from one \
             loopback address",
            share(elsewhere, Breadth::Address),
            share(elsewhere, Breadth::Site),
            share(elsewhere, Breadth::Organisation),
            share(elsewhere, Breadth::Block),
            share(here, Breadth::Loopback),
            self.for_loopback(),
            share(here, Breadth::Address),
        ))
    }

    /// The part of the total for displaced sessions.
    fn for_displaced(&self, pool: Pool) -> usize {
        match pool {
            Pool::Blocks => self.apart(limits::DISPLACED_PART).max(self.apart_min()),
            Pool::Loopback | Pool::Neighbours => self.apart(limits::DISPLACED_BY_NEIGHBOURS_PART),
        }
    }

    /// The part of the total for networks that hold no place.
    fn for_newcomers(&self) -> usize {
        self.apart(limits::NEWCOMERS_PART).max(self.apart_min())
    }

    /// The part of the total that only this machine can use.
    fn for_loopback(&self) -> usize {
        self.apart(limits::LOOPBACK_PART).max(self.apart_min())
    }

    /// The part of the total for sessions that were not displaced.
    fn for_settled(&self) -> usize {
        let pools = [Pool::Blocks, Pool::Loopback, Pool::Neighbours];
        let apart = pools.iter().map(|pool| self.for_displaced(*pool)).sum();
        self.total.saturating_sub(apart)
    }

    /// The `part`th part of the total, or 0 if there are no shares.
    fn apart(&self, part: usize) -> usize {
        match self.per_address {
            PerAddress::Unlimited => 0,
            PerAddress::Scaled | PerAddress::AtMost(_) => self.total.checked_div(part).unwrap_or(0),
        }
    }

    /// The minimum of each part that is set apart, unless there are very few places.
    fn apart_min(&self) -> usize {
        self.apart(limits::SHARED_TOTAL_MIN).min(1)
    }
}

/// Where a session is displaced: the kind of network in which the new client's part and the larger
/// one lie side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pool {
    /// In the total.
    Blocks,
    /// In this machine.
    Loopback,
    /// In any other network.
    Neighbours,
}

impl Pool {
    fn of(around: Network) -> Self {
        match around.breadth() {
            Breadth::Everything => Self::Blocks,
            Breadth::Loopback => Self::Loopback,
            Breadth::Address
            | Breadth::Customer
            | Breadth::Site
            | Breadth::Organisation
            | Breadth::Block => Self::Neighbours,
        }
    }
}

/// The share that has no place left for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Full(pub(super) Network);

/// How much harm ending a session would do, the least harm first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Harm {
    /// It is waiting for a command, and no user has logged in.
    Little,
    /// It is working, and no user has logged in.
    Some,
    /// A user has logged in.
    Much,
}

/// Which sessions hold the places.
#[derive(Debug)]
pub(super) struct Shares {
    caps: Caps,
    /// How many sessions each network has, without those that were displaced.
    held: HashMap<Network, usize>,
    /// Each of these networks, after the network around it and its number of sessions.
    by_size: BTreeSet<(Network, usize, Network)>,
    /// Each session after its address, the oldest first.
    sessions: BTreeSet<(Network, u64)>,
    /// The sessions that were displaced and have not ended yet.
    displaced: HashMap<u64, Pool>,
    /// The number of displaced sessions of each pool.
    displaced_of: HashMap<Pool, usize>,
}

impl Shares {
    pub(super) fn new(caps: Caps) -> Self {
        Self {
            caps,
            held: HashMap::new(),
            by_size: BTreeSet::new(),
            sessions: BTreeSet::new(),
            displaced: HashMap::new(),
            displaced_of: HashMap::new(),
        }
    }

    /// Gives a place to the session `id` from `address`. Returns the session that must end for it,
    /// if any: it is chosen by the `harm` that ending it would do.
    ///
    /// # Errors
    /// [`Full`]: nothing has changed; turn the client away.
    pub(super) fn admit(
        &mut self,
        address: Network,
        id: u64,
        harm: impl Fn(u64) -> Harm,
    ) -> Result<Option<u64>, Full> {
        let chain: Vec<Network> = address.and_wider().collect();
        let full = chain
            .iter()
            .position(|network| self.is_full(*network, &chain));
        let displaced = match full {
            None => None,
            Some(narrowest) => Some(self.displace(&chain, narrowest, harm)?),
        };
        self.sessions.insert((address, id));
        for network in chain {
            self.set(network, |held| held.saturating_add(1));
        }
        Ok(displaced)
    }

    /// The session `id` from `address` has ended.
    pub(super) fn end(&mut self, address: Network, id: u64) {
        match self.displaced.remove(&id) {
            Some(pool) => {
                let displaced = self.displaced_of.entry(pool).or_default();
                *displaced = displaced.saturating_sub(1);
            }
            None => self.give_back(address, id),
        }
    }

    /// Takes the place away from the session `id`.
    fn give_back(&mut self, address: Network, id: u64) {
        if self.sessions.remove(&(address, id)) {
            for network in address.and_wider() {
                self.set(network, |held| held.saturating_sub(1));
            }
        }
    }

    /// Whether no trace of any session is left.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
            && self.by_size.is_empty()
            && self.sessions.is_empty()
            && self.displaced.is_empty()
    }

    fn held(&self, network: Network) -> usize {
        self.held.get(&network).copied().unwrap_or(0)
    }

    /// Whether a network in the `chain` of a new client has no place for it.
    fn is_full(&self, network: Network, chain: &[Network]) -> bool {
        let mut most = self.caps.share(network);
        if network == Network::EVERYTHING {
            most = self.caps.for_settled();
            let widest = chain.iter().rev().nth(1).copied();
            let widest = widest.unwrap_or(Network::EVERYTHING);
            let left_of_floor = self.left_of_floor();
            let is_newcomer = if widest == Network::LOOPBACK {
                left_of_floor > 0
            } else {
                most = most.saturating_sub(left_of_floor);
                self.held(widest) == 0
            };
            if !is_newcomer {
                most = most.saturating_sub(self.caps.for_newcomers());
            }
        }
        self.held(network) >= most
    }

    /// How many places are kept for this machine that it does not hold.
    fn left_of_floor(&self) -> usize {
        let held = self.held(Network::LOOPBACK);
        self.caps.for_loopback().saturating_sub(held)
    }

    /// Takes the place of another session for a new client: `narrowest` is the position in its
    /// chain of the narrowest full network. A session in that network, or in one within it, must
    /// end to make room in it and in all networks around it.
    fn displace(
        &mut self,
        chain: &[Network],
        narrowest: usize,
        harm: impl Fn(u64) -> Harm,
    ) -> Result<u64, Full> {
        let networks = chain.get(..=narrowest).unwrap_or_default();
        let full = Full(networks.last().copied().unwrap_or(Network::EVERYTHING));
        let mut pairs = networks.windows(2).rev();
        let found = pairs.find_map(|pair| {
            let [within, around] = pair else {
                return None;
            };
            let pool = Pool::of(*around);
            let (most, largest) = self.largest_in(*around)?;
            let would_hold = self.held(*within).saturating_add(1);
            let is_small = would_hold.saturating_mul(2) <= most;
            (is_small && self.has_room(pool)).then_some((pool, largest))
        });
        let (pool, largest) = found.ok_or(full)?;
        let (address, id) = self.least_harm_in(largest, harm).ok_or(full)?;
        self.give_back(address, id);
        self.displaced.insert(id, pool);
        let displaced = self.displaced_of.entry(pool).or_default();
        *displaced = displaced.saturating_add(1);
        Ok(id)
    }

    /// Whether another session may be displaced.
    fn has_room(&self, pool: Pool) -> bool {
        let displaced = self.displaced_of.get(&pool).copied().unwrap_or(0);
        displaced < self.caps.for_displaced(pool)
    }

    /// The largest network directly within another that may lose a session, and how many sessions
    /// it has.
    fn largest_in(&self, around: Network) -> Option<(usize, Network)> {
        let within = (around, 0, Network::EVERYTHING)..=(around, usize::MAX, Network::LAST);
        let floor = self.caps.for_loopback();
        let mut largest = self.by_size.range(within).rev();
        let found =
            largest.find(|(_, held, network)| *network != Network::LOOPBACK || *held > floor);
        let (_, held, network) = found?;
        Some((*held, *network))
    }

    /// The session that can be ended with the least harm. It belongs to the largest address of the
    /// largest network within `network`, and so on down.
    fn least_harm_in(
        &self,
        mut network: Network,
        harm: impl Fn(u64) -> Harm,
    ) -> Option<(Network, u64)> {
        while let Some((_, largest)) = self.largest_in(network) {
            network = largest;
        }
        let sessions = self.sessions.range((network, 0)..=(network, u64::MAX));
        let sessions = sessions.take(limits::DISPLACEMENT_LOOKS_MAX).copied();
        sessions.min_by_key(|(_, id)| (harm(*id), *id))
    }

    /// Changes the number of sessions of a network.
    fn set(&mut self, network: Network, change: impl Fn(usize) -> usize) {
        let before = self.held(network);
        let after = change(before);
        if after == 0 {
            self.held.remove(&network);
        } else {
            self.held.insert(network, after);
        }
        if let Some(around) = network.wider() {
            self.by_size.remove(&(around, before, network));
            if after > 0 {
                self.by_size.insert((around, after, network));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::arithmetic_side_effects,
        clippy::wildcard_enum_match_arm,
        reason = "the naive rules must be as plain as possible, and their numbers are small"
    )]

    use std::net::IpAddr;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> Network {
        Network::of(text.parse().unwrap())
    }

    fn scaled(total: usize) -> Caps {
        Caps {
            total,
            per_address: PerAddress::Scaled,
        }
    }

    /// Sessions that begin and do not end.
    struct Crowd {
        shares: Shares,
        next_id: u64,
        displaced: Vec<u64>,
    }

    impl Crowd {
        fn new(caps: Caps) -> Self {
            Self {
                shares: Shares::new(caps),
                next_id: 0,
                displaced: Vec::new(),
            }
        }

        fn come(&mut self, address: Network) -> Result<(), Full> {
            let displaced = self.shares.admit(address, self.next_id, |_| Harm::Little)?;
            self.next_id = self.next_id.saturating_add(1);
            self.displaced.extend(displaced);
            Ok(())
        }

        /// How many of `each` sessions from every address get a place.
        fn flood(&mut self, addresses: impl Iterator<Item = Network>, each: usize) -> usize {
            let sessions = addresses.flat_map(|address| std::iter::repeat_n(address, each));
            let came = sessions.filter(|address| self.come(*address).is_ok());
            came.count()
        }

        /// Ends all displaced sessions.
        fn settle(&mut self) {
            for id in self.displaced.drain(..) {
                self.shares.end(Network::EVERYTHING, id);
            }
        }

        fn held(&self) -> usize {
            self.shares.held(Network::EVERYTHING)
        }
    }

    /// NET-5: as the guide says.
    #[test]
    fn shares_follow_from_the_total() {
        let chain = |text: &str, caps: Caps| -> Vec<usize> {
            let networks = address(text).and_wider();
            networks.map(|network| caps.share(network)).collect()
        };
        for (total, v4, v6, here) in [
            (
                15_358,
                vec![20, 1_919, 3_839, 7_679, 15_358],
                vec![20, 20, 1_919, 3_839, 7_679, 15_358],
                vec![1_000, 11_518, 15_358],
            ),
            (
                768,
                vec![20, 96, 192, 384, 768],
                vec![20, 20, 96, 192, 384, 768],
                vec![384, 576, 768],
            ),
            (
                64,
                vec![4, 8, 16, 32, 64],
                vec![4, 4, 8, 16, 32, 64],
                vec![32, 48, 64],
            ),
            (
                10,
                vec![2, 2, 2, 5, 10],
                vec![2, 2, 2, 2, 5, 10],
                vec![5, 7, 10],
            ),
            (
                1,
                vec![usize::MAX, usize::MAX, usize::MAX, usize::MAX, 1],
                vec![
                    usize::MAX,
                    usize::MAX,
                    usize::MAX,
                    usize::MAX,
                    usize::MAX,
                    1,
                ],
                vec![usize::MAX, usize::MAX, 1],
            ),
        ] {
            let caps = scaled(total);
            assert_eq!(chain("192.0.2.1", caps), v4);
            assert_eq!(chain("2001:db8::1", caps), v6);
            assert_eq!(chain("127.0.0.1", caps), here);
            assert_eq!(chain("::1", caps), here);
        }
        let per_address = PerAddress::AtMost(100);
        let caps = Caps {
            per_address,
            ..scaled(768)
        };
        assert_eq!(chain("192.0.2.1", caps), [100, 100, 192, 384, 768]);
        assert_eq!(chain("127.0.0.1", caps), [100, 576, 768]);
    }

    /// NET-5: 15,500 silent connections from 768 /64s of one /48, on a system of the usual size.
    #[test]
    fn one_ipv6_network_gets_no_more_than_its_share() {
        let mut crowd = Crowd::new(scaled(15_358));
        let attackers = (0..768).map(|n| address(&format!("2001:db8:0:{n:x}::1")));
        crowd.flood(attackers, 21);
        assert_eq!(crowd.held(), 3_839);
        let before = crowd.displaced.len();
        let others = ["127.0.0.1", "::1", "192.0.2.1", "2001:db8:1::1", "2a00::1"];
        assert_eq!(crowd.flood(others.map(address).into_iter(), 20), 100);
        assert_eq!(crowd.displaced.len(), before, "there are enough places");
    }

    /// NET-5: a client with many addresses of this machine takes neither the places of other
    /// machines nor those of this machine's other addresses.
    #[test]
    fn addresses_of_this_machine_do_not_starve_each_other_or_anybody_else() {
        let mut crowd = Crowd::new(scaled(15_358));
        let many = (2..18).map(|n| address(&format!("127.0.0.{n}")));
        crowd.flood(many, 1_000);
        assert_eq!(crowd.held(), 11_518);
        assert_eq!(crowd.flood([address("192.0.2.1")].into_iter(), 20), 20);
        crowd.settle();
        for newcomer in ["127.0.0.1", "::1"] {
            assert_eq!(crowd.flood([address(newcomer)].into_iter(), 100), 100);
        }
        assert_eq!(crowd.displaced.len(), 200);
        assert_eq!(crowd.held(), 11_522);
    }

    /// NET-5: displacement within a network uses no places that are for new clients from elsewhere.
    #[test]
    fn displacing_neighbours_does_not_keep_others_out() {
        let mut crowd = Crowd::new(scaled(1_600));
        // Two blocks take all they can, and then many customers of one of them connect.
        for block in 1..3 {
            let customers = (0..100).map(|n| address(&format!("2001:{block:x}:0:{n:x}::1")));
            let customers = customers.chain((0..100).map(|n| {
                let organisation = n + 1;
                address(&format!("2001:{block:x}:{organisation:x}::1"))
            }));
            crowd.flood(customers, 20);
        }
        crowd.settle();
        let many = (0..1_000).map(|n| address(&format!("2001:1:{:x}::1", 1_000 + n)));
        crowd.flood(many, 1);
        let neighbours = crowd.displaced.len();
        assert_eq!(neighbours, 50, "a 32nd");
        let strangers = (0..300).map(|n| address(&format!("2a00:{n:x}::1")));
        assert_eq!(crowd.flood(strangers, 1), 300, "an eighth and a 16th");
        assert_eq!(crowd.displaced.len(), neighbours + 100);
    }

    /// NET-5: in a control group of 64 MiB there are 64 places.
    #[test]
    fn four_addresses_do_not_fill_a_small_system() {
        let mut crowd = Crowd::new(scaled(64));
        let four = (1..5).map(|n| address(&format!("192.0.{n}.1")));
        assert_eq!(crowd.flood(four, 20), 16);
        let others = (1..8).map(|n| address(&format!("{n}.0.0.1")));
        assert_eq!(crowd.flood(others, 4), 28);
        assert_eq!(crowd.displaced, [0_u64; 0]);
    }

    /// NET-5: when a thousand networks hold everything, one that holds nothing gets in, as long as
    /// the displaced sessions end.
    #[test]
    fn a_network_without_a_place_gets_one_when_all_are_taken() {
        let total = 2_000;
        let mut crowd = Crowd::new(scaled(total));
        let attackers = 0..1_000_u32;
        let attackers = attackers.map(|n| address(&format!("{}.{}.0.1", 1 + n % 100, 1 + n / 100)));
        crowd.flood(attackers, 20);
        // All except the places for new clients, of which the last networks got some, and for
        // displaced sessions.
        assert_eq!(crowd.held(), total - 250 - 125 - 62 - 62 - 62 + 28);
        for n in 0..1_560 {
            crowd.settle();
            crowd.come(address(&format!("2a00:{n:x}::1"))).unwrap();
            assert!(crowd.held() + crowd.displaced.len() <= total);
        }
        // The more of them there are, the fewer places each of the others has.
        let largest = crowd.shares.largest_in(Network::EVERYTHING);
        assert!(largest.is_some_and(|(held, _)| held <= 2), "{largest:?}");
    }

    /// NET-5: however many networks connect with one session each, this machine keeps its floor.
    #[test]
    fn thousands_of_networks_do_not_displace_this_machine() {
        let total = 2_000;
        let floor = scaled(total).for_loopback();
        let here = address("127.0.0.1");
        for n_before in [0, 3, floor, floor + 40] {
            let mut crowd = Crowd::new(scaled(total));
            assert_eq!(crowd.flood([here].into_iter(), n_before), n_before);
            for n in 0..3_000 {
                crowd.settle();
                // Refused once all of them have one.
                let _is_refused = crowd.come(address(&format!("2a00:{n:x}::1")));
            }
            let strangers = crowd.held() - crowd.shares.held(Network::LOOPBACK);
            assert_eq!(strangers, total - 125 - 62 - 62 - floor);
            let left = crowd.shares.held(Network::LOOPBACK);
            assert_eq!(left, n_before.min(floor));
            crowd.settle();
            assert_eq!(crowd.flood([here].into_iter(), floor), floor - left);
            assert_eq!(crowd.displaced, [0_u64; 0], "its places are free");
        }
    }

    /// NET-4: the places of displaced sessions are part of the total.
    #[test]
    fn new_clients_are_refused_while_many_displaced_sessions_have_not_ended() {
        let mut crowd = Crowd::new(scaled(160));
        let attackers = (1..7).map(|n| address(&format!("10.{n}.0.1")));
        let attackers = attackers.chain((1..7).map(|n| address(&format!("11.{n}.0.1"))));
        assert_eq!(crowd.flood(attackers, 10), 115);
        let newcomers = (0..100).map(|n| address(&format!("{}.0.0.1", n + 20)));
        // First the places that are kept, then one for each session that is displaced.
        assert_eq!(crowd.flood(newcomers, 1), 20 + 10);
        assert_eq!((crowd.held(), crowd.displaced.len()), (135, 10));
        let late = address("2a00::1");
        assert_eq!(crowd.come(late), Err(Full(Network::EVERYTHING)));
        crowd.settle();
        assert_eq!(crowd.come(late), Ok(()));
    }

    #[test]
    fn without_shares_one_address_may_have_everything() {
        let per_address = PerAddress::Unlimited;
        let caps = Caps {
            per_address,
            ..scaled(100)
        };
        let mut crowd = Crowd::new(caps);
        assert_eq!(crowd.flood([address("192.0.2.1")].into_iter(), 101), 100);
        assert_eq!(
            crowd.come(address("127.0.0.1")).unwrap_err(),
            Full(Network::EVERYTHING)
        );
    }

    /// The same rules without any index: all sessions are counted again for each question.
    struct Naive {
        caps: Caps,
        sessions: Vec<(Network, u64)>,
        displaced: Vec<(u64, Breadth)>,
    }

    impl Naive {
        /// The places that nobody else can take from this machine.
        fn floor(&self) -> usize {
            match self.caps.total {
                0..8 => 0,
                total => (total / 32).max(1),
            }
        }

        fn held(&self, network: Network) -> usize {
            let is_in = |address: Network| address.and_wider().any(|it| it == network);
            self.sessions.iter().filter(|it| is_in(it.0)).count()
        }

        /// The largest network directly within another; if several are equal, the last in order.
        fn largest_in(&self, around: Network) -> Option<Network> {
            let within = |address: Network| {
                address
                    .and_wider()
                    .find(|network| network.wider() == Some(around))
            };
            let networks = self.sessions.iter().filter_map(|it| within(it.0));
            let floor = self.floor();
            let networks = networks.filter(|it| *it != Network::LOOPBACK || self.held(*it) > floor);
            networks.max_by_key(|network| (self.held(*network), *network))
        }

        fn admit(
            &mut self,
            newcomer: Network,
            id: u64,
            harm: impl Fn(u64) -> Harm,
        ) -> Result<Option<u64>, Full> {
            let chain: Vec<Network> = newcomer.and_wider().collect();
            let [.., widest, _] = chain[..] else {
                panic!("no chain");
            };
            let total = self.caps.total;
            let [blocks, kept] = [16, 8].map(|part| match total {
                0..8 => 0,
                _ => total.checked_div(part).unwrap().max(1),
            });
            let within = total / 32;
            let (here, floor) = (self.held(Network::LOOPBACK), self.floor());
            let kept = match (widest, self.held(widest)) {
                (Network::LOOPBACK, _) if here < floor => 0,
                (Network::LOOPBACK, _) => kept,
                (_, 0) => floor.saturating_sub(here),
                _ => kept + floor.saturating_sub(here),
            };
            let has_room = |network: &Network| {
                let is_all = *network == Network::EVERYTHING;
                let apart = if is_all {
                    blocks + 2 * within + kept
                } else {
                    0
                };
                self.held(*network) + apart < self.caps.share(*network)
            };
            let mut given_up = None;
            if let Some(full) = chain.iter().position(|network| !has_room(network)) {
                let refused = Full(chain[full]);
                let found = (0..full).rev().find_map(|within_it| {
                    let around = chain[within_it + 1].breadth();
                    let kind = match around {
                        Breadth::Everything | Breadth::Loopback => around,
                        _ => Breadth::Block,
                    };
                    let most = if kind == Breadth::Everything {
                        blocks
                    } else {
                        within
                    };
                    let largest = self.largest_in(chain[within_it + 1])?;
                    let would_hold = self.held(chain[within_it]) + 1;
                    let same_kind = self.displaced.iter().filter(|it| it.1 == kind).count();
                    let is_found = 2 * would_hold <= self.held(largest) && same_kind < most;
                    is_found.then_some((kind, largest))
                });
                let (kind, mut largest) = found.ok_or(refused)?;
                while let Some(within) = self.largest_in(largest) {
                    largest = within;
                }
                let sessions = self.sessions.iter().filter(|it| it.0 == largest);
                let mut ids: Vec<u64> = sessions.map(|it| it.1).collect();
                ids.sort_unstable();
                ids.truncate(limits::DISPLACEMENT_LOOKS_MAX);
                ids.sort_by_key(|id| harm(*id));
                self.sessions.retain(|it| it.1 != ids[0]);
                self.displaced.push((ids[0], kind));
                given_up = Some(ids[0]);
            }
            self.sessions.push((newcomer, id));
            Ok(given_up)
        }
    }

    /// An address of a small world in which every network has neighbours.
    fn any_address() -> impl Strategy<Value = IpAddr> {
        let v4 = (10_u8..12, 0_u8..2, 0_u8..2, 0_u8..3).prop_map(|(a, b, c, d)| [a, b, c, d]);
        let v6 = (0_u16..2, 0_u16..2, 0_u16..512, 0_u16..2);
        let v6 = v6.prop_map(|(a, b, c, d)| IpAddr::from([0x2001, a, b, c & 0x101, 0, 0, 0, d]));
        prop_oneof![
            v4.prop_map(IpAddr::from),
            v6,
            (0_u8..3).prop_map(|d| IpAddr::from([127, 0, 0, d])),
            Just(IpAddr::from(std::net::Ipv6Addr::LOCALHOST)),
        ]
    }

    /// The next event: a client connects, or a session ends, whether or not it was displaced.
    #[derive(Clone, Debug)]
    enum Event {
        Comes(IpAddr),
        Ends(usize),
        EndsDisplaced,
    }

    fn any_event() -> impl Strategy<Value = Event> {
        prop_oneof![
            6 => any_address().prop_map(Event::Comes),
            1 => any::<usize>().prop_map(Event::Ends),
            1 => Just(Event::EndsDisplaced),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(40))]

        /// NET-4, NET-5.
        #[test]
        fn shares_are_assigned_as_by_the_naive_rules(
            total in prop_oneof![1_usize..40, 64_usize..80],
            per_address in prop_oneof![
                Just(PerAddress::Scaled), (1_usize..20).prop_map(PerAddress::AtMost),
            ],
            events in vec(any_event(), 0..150),
        ) {
            let caps = Caps { total, per_address };
            let mut shares = Shares::new(caps);
            let mut naive = Naive { caps, sessions: Vec::new(), displaced: Vec::new() };
            let harm = |id: u64| match id % 3 {
                0 => Harm::Some,
                1 => Harm::Much,
                _ => Harm::Little,
            };
            for (id, event) in (0_u64..).zip(events) {
                match event {
                    Event::Comes(peer) => {
                        let address = Network::of(peer);
                        let given = shares.admit(address, id, harm);
                        prop_assert_eq!(given, naive.admit(address, id, harm));
                        let here = naive.held(Network::LOOPBACK);
                        let is_below = address.is_loopback() && here < naive.floor();
                        prop_assert!(!is_below || given != Err(Full(Network::EVERYTHING)));
                        for network in address.and_wider() {
                            prop_assert_eq!(shares.held(network), naive.held(network));
                            prop_assert!(naive.held(network) <= caps.share(network));
                        }
                    }
                    Event::Ends(chance) => {
                        if let Some(position) = chance.checked_rem(naive.sessions.len()) {
                            let (address, id) = naive.sessions.swap_remove(position);
                            shares.end(address, id);
                        }
                    }
                    Event::EndsDisplaced => {
                        if let Some((id, _)) = naive.displaced.pop() {
                            shares.end(Network::EVERYTHING, id);
                        }
                    }
                }
                let there = naive.sessions.len();
                prop_assert_eq!(shares.held(Network::EVERYTHING), there);
                prop_assert!(there + naive.displaced.len() <= total);
            }
            for (address, id) in naive.sessions {
                shares.end(address, id);
            }
            for (id, _) in naive.displaced {
                shares.end(Network::EVERYTHING, id);
            }
            prop_assert!(shares.is_empty());
        }
    }
}
