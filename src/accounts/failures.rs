//! Counts refused logins and unknown recipients, and decides how long the next refusal is delayed
//! (SEC-11, SEC-12).
//!
//! # Theory of operation
//! Refusals are counted for the client's address, for each of the wider networks that contain it,
//! and for the account that was tried. The first refusal of an address is sent after the configured
//! delay, and each further one after twice the time of the one before, up to a bound. A wider
//! network, or an account, has a number of free refusals, so that neighbours do not pay for one
//! user's mistake; after that the delay grows in the same way. The longest of these delays counts.
//! After some minutes without a refusal, counting starts over.
//!
//! A delay does not slow down a client that guesses over many connections in parallel. So the
//! number of delayed refusals of a network is limited; while it is at the limit, its further logins
//! are not checked, right or wrong, and the client is asked to try again later.
//!
//! A correct login cancels the refusals of the same address for the same account, and nothing else:
//! an account's owner cannot use it to cancel guesses for other accounts. From then on the network
//! is *known* for that account: it is never asked to try again later, and does not wait because of
//! others' wrong logins to its account.
//!
//! Users are counted by the names that they give, whether they exist or not, so the delays do not
//! reveal who exists.
//!
//! This module only computes the delay; the caller waits.
//!
//! # Invariants
//! The memory is bounded: see [`Sketch`]. A delayed refusal belongs to a session, and an account
//! has only its last few known networks. So a very active client does not cause others to be
//! forgotten.
//!
//! # Known limits
//! - Counts can be too high if very many logins are refused (some ten thousand in a few minutes):
//!   refusals are then delayed longer than they should be.
//! - Strangers in a network that guesses constantly are asked to try again later until it pauses.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::mail::{Address, Breadth, Charset, MailboxName, Network};

use super::limits;
use super::sketch::Sketch;
use super::turns::Standing;

/// The recent refusals, and the known networks.
#[derive(Debug)]
pub struct Failures {
    first_delay: Duration,
    logins: Sketch,
    recipients: Sketch,
    /// How many refusals of each network are being delayed.
    delayed: HashMap<Network, usize>,
    /// The networks that have logged in to an account, the latest one at the end.
    known: HashMap<String, VecDeque<Network>>,
}

/// The keys that refusals are counted by.
#[derive(Hash)]
enum Place<'a> {
    Network(Network),
    Account(&'a str),
    /// An account, tried from an address.
    Both(Network, &'a str),
}

/// How refusals of one kind are delayed.
struct Pace {
    /// The number of free refusals of a network of this kind.
    free: fn(Breadth) -> Option<u32>,
    delay_max: Duration,
}

const LOGINS: Pace = Pace {
    free: limits::refused_logins_free,
    delay_max: limits::FAILURE_DELAY_MAX,
};

const RECIPIENTS: Pace = Pace {
    free: limits::unknown_recipients_free,
    delay_max: limits::UNKNOWN_RECIPIENT_DELAY_MAX,
};

impl Failures {
    /// Without any refusals. A `first_delay` of zero turns all delays off.
    pub fn new(first_delay: Duration) -> Self {
        Self {
            first_delay,
            logins: Sketch::new(limits::FAILURE_MEMORY),
            recipients: Sketch::new(limits::FAILURE_MEMORY),
            delayed: HashMap::new(),
            known: HashMap::new(),
        }
    }

    /// Whether a client has logged in as `user` before.
    pub fn standing(&self, peer: IpAddr, user: &str) -> Standing {
        if self.known.is_empty() {
            // This is always so without accounts.
            return Standing::Stranger;
        }
        let networks = self.known.get(&account(user));
        if networks.is_some_and(|networks| networks.contains(&site(peer))) {
            Standing::Known
        } else {
            Standing::Stranger
        }
    }

    /// Whether a login of a client may be checked: false if too many refusals of its networks are
    /// being delayed. Then ask it to try again later.
    pub fn may_try(&self, peer: IpAddr, standing: Standing) -> bool {
        let has_room = |network: Network| {
            let delayed = self.delayed.get(&network).copied().unwrap_or(0);
            limits::delayed_refusals_max(network).is_none_or(|most| delayed < most)
        };
        standing == Standing::Known || customers_and_wider(peer).all(has_room)
    }

    /// Counts a login that is refused at `now`; returns the delay before the reply. The refusal is
    /// counted as delayed until [`Self::told`].
    pub fn refuse(&mut self, peer: IpAddr, user: &str, now: Instant) -> Duration {
        if self.first_delay.is_zero() {
            return Duration::ZERO;
        }
        for network in customers_and_wider(peer) {
            let delayed = self.delayed.entry(network).or_default();
            *delayed = delayed.saturating_add(1);
        }
        let standing = self.standing(peer, user);
        let account = account(user);
        let customer = Network::of_customer(peer);
        self.logins.add(&Place::Both(customer, &account), now);
        let of_account = self.logins.add(&Place::Account(&account), now);
        let of_networks = count(&mut self.logins, &LOGINS, peer, now);
        let beyond = of_account.saturating_sub(limits::ACCOUNT_FAILURES_FREE);
        let beyond = match standing {
            Standing::Known => of_networks,
            Standing::Stranger => of_networks.max(beyond),
        };
        self.delay(beyond, LOGINS.delay_max)
    }

    /// A refusal was sent, or its client is gone.
    pub fn told(&mut self, peer: IpAddr) {
        for network in customers_and_wider(peer) {
            if let Some(delayed) = self.delayed.get_mut(&network) {
                *delayed = delayed.saturating_sub(1);
                if *delayed == 0 {
                    self.delayed.remove(&network);
                }
            }
        }
    }

    /// A login as `user`, whose mailbox is `mailbox`, succeeded.
    pub fn accept(&mut self, peer: IpAddr, user: &str, mailbox: &MailboxName, now: Instant) {
        let mut names = [
            account(user),
            mailbox.to_string(),
            mailbox.local_part().to_owned(),
        ];
        names.sort_unstable();
        let customer = Network::of_customer(peer);
        for (position, name) in names.iter().enumerate() {
            if position > 0 && names.get(position.saturating_sub(1)) == Some(name) {
                continue;
            }
            let both = Place::Both(customer, name);
            let times = self.logins.count(&both, now);
            if times > 0 {
                self.logins.take_back(&both, times, now);
                self.logins.take_back(&Place::Account(name), times, now);
                for network in customers_and_wider(peer) {
                    let place = Place::Network(network);
                    self.logins.take_back(&place, times, now);
                }
            }
        }
        self.remember(peer, account(user));
        self.remember(peer, mailbox.to_string());
    }

    /// A recipient is unknown; returns the delay before the reply.
    pub fn unknown_recipient(&mut self, peer: IpAddr, now: Instant) -> Duration {
        if self.first_delay.is_zero() || Network::of(peer).is_loopback() {
            return Duration::ZERO;
        }
        let beyond = count(&mut self.recipients, &RECIPIENTS, peer, now);
        self.delay(beyond, RECIPIENTS.delay_max)
    }

    /// The delay after this many refusals beyond the free ones.
    fn delay(&self, beyond: u32, delay_max: Duration) -> Duration {
        let Some(doubled) = beyond.checked_sub(1) else {
            return Duration::ZERO;
        };
        let times = 2_u32.checked_pow(doubled).unwrap_or(u32::MAX);
        self.first_delay.saturating_mul(times).min(delay_max)
    }

    /// Remembers that a network has logged in to an account.
    fn remember(&mut self, peer: IpAddr, account: String) {
        let is_full = self.known.len() >= limits::KNOWN_ACCOUNTS_MAX;
        if is_full && !self.known.contains_key(&account) {
            return;
        }
        let site = site(peer);
        let networks = self.known.entry(account).or_default();
        if networks.back() == Some(&site) {
            return;
        }
        networks.retain(|network| *network != site);
        networks.push_back(site);
        if networks.len() > limits::KNOWN_NETWORKS_MAX {
            networks.pop_front();
        }
    }
}

/// Counts a refusal for each network of a client. Returns the highest number by which a network
/// exceeds its free refusals.
fn count(counts: &mut Sketch, pace: &Pace, peer: IpAddr, now: Instant) -> u32 {
    let beyond = customers_and_wider(peer).map(|network| {
        let times = counts.add(&Place::Network(network), now);
        let free = (pace.free)(network.breadth());
        free.map_or(0, |free| times.saturating_sub(free))
    });
    beyond.max().unwrap_or(0)
}

/// The networks of a client that refusals are counted by.
fn customers_and_wider(peer: IpAddr) -> impl Iterator<Item = Network> {
    let networks = Network::of_customer(peer).and_wider();
    networks.filter(|network| network.breadth() != Breadth::Everything)
}

/// The network that becomes known for an account: one that contains a telephone's next address,
/// too.
fn site(peer: IpAddr) -> Network {
    let mut networks = Network::of(peer).and_wider();
    let site = networks.find(|network| network.breadth() == Breadth::Site);
    // This machine has no site.
    site.unwrap_or_else(|| Network::of(peer))
}

/// The name that a user is counted by: the same for all its spellings, whether it exists or not.
fn account(user: &str) -> String {
    let address = Address::parse(user, Charset::Utf8);
    let mailbox = address.and_then(|address| MailboxName::from_address(&address));
    mailbox.map_or_else(|_| user.to_lowercase(), |mailbox| mailbox.to_string())
}

#[cfg(test)]
mod tests {
    #![expect(
        clippy::disallowed_methods,
        reason = "a test needs some instant to begin with"
    )]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const BOB: &str = "bob@example.com";

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn mailbox(text: &str) -> MailboxName {
        MailboxName::from_address(&Address::parse(text, Charset::Utf8).unwrap()).unwrap()
    }

    /// Failures, and the time.
    struct Guesses {
        failures: Failures,
        now: Instant,
    }

    impl Guesses {
        fn new() -> Self {
            Self {
                failures: Failures::new(SECOND),
                now: Instant::now(),
            }
        }

        /// The delay of a wrong login, in seconds.
        fn wrong(&mut self, peer: &str, user: &str) -> u64 {
            let delay = self.failures.refuse(address(peer), user, self.now);
            self.failures.told(address(peer));
            delay.as_secs()
        }

        fn right(&mut self, peer: &str, user: &str) {
            let mailbox = mailbox(user);
            self.failures
                .accept(address(peer), user, &mailbox, self.now);
        }

        fn may_try(&self, peer: &str, user: &str) -> bool {
            let standing = self.failures.standing(address(peer), user);
            self.failures.may_try(address(peer), standing)
        }

        fn unknown_recipient(&mut self, peer: &str) -> u64 {
            let delay = self.failures.unknown_recipient(address(peer), self.now);
            delay.as_secs()
        }
    }

    /// SEC-11.
    #[test]
    fn the_delay_doubles_up_to_its_bound() {
        let mut guesses = Guesses::new();
        let delays = (0..7).map(|_| {
            guesses.now += SECOND;
            guesses.wrong("192.0.2.1", BOB)
        });
        assert_eq!(delays.collect::<Vec<_>>(), [1, 2, 4, 8, 15, 15, 15]);
    }

    #[test]
    fn time_and_a_correct_login_reset_the_delay() {
        let mut guesses = Guesses::new();
        assert_eq!(guesses.wrong("192.0.2.1", BOB), 1);
        guesses.now += limits::FAILURE_MEMORY;
        assert_eq!(guesses.wrong("192.0.2.1", BOB), 2);
        guesses.now += 2 * limits::FAILURE_MEMORY;
        assert_eq!(guesses.wrong("192.0.2.1", BOB), 1);
        guesses.right("192.0.2.1", BOB);
        assert_eq!(guesses.wrong("192.0.2.1", BOB), 1);
    }

    /// SEC-11: mallory's own login does not cancel guesses for bob.
    #[test]
    fn a_correct_login_cancels_the_refusals_of_its_own_account() {
        let mut guesses = Guesses::new();
        for seconds in [1, 2, 4, 8, 15, 15] {
            assert_eq!(guesses.wrong("192.0.2.1", BOB), seconds);
            guesses.right("192.0.2.1", "mallory@example.com");
        }
        // However bob writes his name, and for all his mistakes.
        let mut guesses = Guesses::new();
        assert_eq!(guesses.wrong("192.0.2.1", "mallory"), 1);
        for name in ["bob", "BOB", "Bob@Example.com", "\"bob\"@example.com"] {
            guesses.wrong("192.0.2.1", name);
        }
        guesses.right("192.0.2.1", BOB);
        assert_eq!(guesses.wrong("192.0.2.1", BOB), 2, "mallory's is left");
    }

    /// A login does not cancel mistakes for the same account from another address.
    #[test]
    fn a_correct_login_cancels_no_refusals_of_another_address() {
        let mut guesses = Guesses::new();
        assert_eq!(guesses.wrong("198.51.100.1", BOB), 1);
        guesses.right("192.0.2.1", BOB);
        assert_eq!(guesses.wrong("198.51.100.1", BOB), 2);
    }

    #[test]
    fn a_network_of_ipv6_and_a_mapped_address_are_one_address() {
        let mut guesses = Guesses::new();
        for (peer, seconds) in [
            ("2001:db8::1", 1),
            ("2001:db8::ffff:ffff:ffff:ffff", 2),
            ("2001:db8:0:1::1", 1),
            ("192.0.2.1", 1),
            ("192.0.2.2", 1),
            ("::ffff:192.0.2.1", 2),
        ] {
            assert_eq!(guesses.wrong(peer, BOB), seconds, "{peer}");
        }
    }

    /// SEC-11: a new /64, or a new address, for each guess is delayed too. A client in another
    /// network is not, and a neighbour's mistakes do not matter.
    #[test]
    fn guesses_from_many_addresses_count_for_their_networks() {
        type Attacker = fn(u32) -> String;
        let attackers: [(Attacker, &str, u32); 6] = [
            (|n| format!("2001:db8:0:{n:x}::1"), "2001:db8:0:ff::1", 16),
            (|n| format!("192.0.2.{n}"), "192.0.2.255", 16),
            (
                |n| format!("2001:db8:0:{n:x}00::1"),
                "2001:db8:0:ff00::1",
                64,
            ),
            (|n| format!("192.0.{n}.1"), "192.0.255.1", 64),
            (|n| format!("2001:db8:{n:x}::1"), "2001:db8:ffff::1", 256),
            (
                |n| format!("192.{}.{}.1", n % 250, n / 250),
                "192.255.0.1",
                256,
            ),
        ];
        for (attacker, neighbour, free) in attackers {
            let mut guesses = Guesses::new();
            for n in 0..free - 1 {
                // Each for another account, because the account would be slowed down, too.
                let user = format!("user{n}@example.com");
                assert_eq!(guesses.wrong(&attacker(n), &user), 1, "{n}");
            }
            assert_eq!(guesses.wrong(neighbour, BOB), 1, "{neighbour}");
            let delays = (0..5).map(|n| guesses.wrong(&attacker(free + n), "x"));
            assert_eq!(delays.collect::<Vec<_>>(), [1, 2, 4, 8, 15], "{neighbour}");
            assert_eq!(guesses.wrong("198.51.100.1", BOB), 1);
        }
    }

    /// SEC-11: guesses for one account from everywhere are slowed down, whether it exists or not; a
    /// network that has logged in to it before does not wait because of them.
    #[test]
    fn an_account_under_attack_is_slow_for_strangers() {
        let mut guesses = Guesses::new();
        guesses.right("198.51.100.1", BOB);
        for n in 0..limits::ACCOUNT_FAILURES_FREE {
            assert_eq!(guesses.wrong(&format!("{}.0.0.1", n + 1), BOB), 1);
        }
        let delays =
            (0..5).map(|n| guesses.wrong(&format!("{}.0.0.1", n + 100), "BOB@example.com"));
        assert_eq!(delays.collect::<Vec<_>>(), [1, 2, 4, 8, 15]);
        assert_eq!(guesses.wrong("203.0.113.1", "alice@example.com"), 1);
        assert_eq!(guesses.wrong("198.51.100.77", BOB), 1, "a known network");
        assert_eq!(guesses.wrong("203.0.113.2", BOB), 15);
    }

    /// SEC-11: a network cannot guess faster over many connections.
    #[test]
    fn no_more_refusals_are_delayed_than_the_limit() {
        let mut guesses = Guesses::new();
        guesses.right("192.0.2.1", BOB);
        let now = guesses.now;
        let refuse = |guesses: &mut Guesses, peer: &str| {
            assert!(guesses.may_try(peer, BOB), "{peer}");
            guesses.failures.refuse(address(peer), BOB, now);
        };
        for _ in 0..4 {
            refuse(&mut guesses, "192.0.2.9");
        }
        assert!(!guesses.may_try("192.0.2.9", "alice"));
        for n in 10..22 {
            refuse(&mut guesses, &format!("192.0.2.{n}"));
        }
        // Sixteen of a /24: a known network is exempt.
        assert!(!guesses.may_try("192.0.2.200", "alice"));
        assert!(guesses.may_try("192.0.2.200", BOB));
        for n in 0..48 {
            refuse(&mut guesses, &format!("192.0.{}.1", 10 + n));
        }
        assert!(!guesses.may_try("192.0.200.1", "alice"), "64 of a /16");
        assert!(guesses.may_try("192.1.0.1", "alice"));
        guesses.failures.told(address("192.0.10.1"));
        assert!(guesses.may_try("192.0.200.1", "alice"));
        for n in 0..4 {
            guesses.failures.told(address("192.0.2.9"));
            assert!(guesses.may_try("192.0.2.9", "alice"), "{n}");
        }
        for n in 10..22 {
            guesses.failures.told(address(&format!("192.0.2.{n}")));
        }
        for n in 1..48 {
            guesses
                .failures
                .told(address(&format!("192.0.{}.1", 10 + n)));
        }
        assert!(guesses.failures.delayed.is_empty());
    }

    /// SEC-12: names cannot be collected over one connection after another; a client with one wrong
    /// recipient, or a few, does not notice.
    #[test]
    fn many_unknown_recipients_are_refused_late() {
        let mut guesses = Guesses::new();
        let delays = (0..12).map(|_| guesses.unknown_recipient("192.0.2.1"));
        let delays: Vec<u64> = delays.collect();
        assert_eq!(delays, [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(guesses.unknown_recipient("192.0.2.2"), 0);
        assert_eq!(guesses.wrong("192.0.2.1", BOB), 1, "no login was wrong");
        let of_network = |n: u32| format!("2001:db8:0:{n:x}::1");
        for n in 0..50 {
            assert_eq!(guesses.unknown_recipient(&of_network(n)), 0);
        }
        assert_eq!(guesses.unknown_recipient(&of_network(50)), 1);
        for _ in 0..100 {
            assert_eq!(guesses.unknown_recipient("127.0.0.1"), 0);
            assert_eq!(guesses.unknown_recipient("::1"), 0);
        }
    }

    #[test]
    fn only_the_last_few_networks_are_known() {
        let mut guesses = Guesses::new();
        let peer = |n: usize| format!("192.0.{n}.1");
        for n in 0..=limits::KNOWN_NETWORKS_MAX {
            guesses.right(&peer(n), BOB);
            guesses.right(&peer(1), BOB);
        }
        let known = |n: usize, user: &str| {
            guesses.failures.standing(address(&peer(n)), user) == Standing::Known
        };
        assert!(!known(0, BOB));
        assert!((1..=limits::KNOWN_NETWORKS_MAX).all(|n| known(n, BOB)));
        assert!(!known(1, "alice@example.com"));
        assert!(known(1, "Bob@example.com"));
        // Logins to one account from everywhere do not cause others to be forgotten.
        for n in 0..1_000_u32 {
            let from = format!("10.{}.{}.1", n / 250, n % 250);
            guesses.right(&from, "mallory@example.com");
        }
        assert_eq!(guesses.failures.known.len(), 2);
    }

    #[test]
    fn delays_can_be_turned_off() {
        let mut failures = Failures::new(Duration::ZERO);
        let (peer, now) = (address("192.0.2.1"), Instant::now());
        for _ in 0..100 {
            assert_eq!(failures.refuse(peer, BOB, now), Duration::ZERO);
            assert_eq!(failures.unknown_recipient(peer, now), Duration::ZERO);
            assert!(failures.may_try(peer, Standing::Stranger));
        }
    }
}
