//! The networks that contain an address; clients are counted by them.
//!
//! A client that owns a network can use another of its addresses each time, so clients are also
//! counted by network, at several sizes. An address lies in a chain of networks, each contained in
//! the next wider one:
//!
//! | | IPv4 | IPv6 | this machine |
//! |---|---|---|---|
//! | [`Breadth::Address`] | /32 | /128 | /32, /128 |
//! | [`Breadth::Customer`] | – | /64 | – |
//! | [`Breadth::Site`] | /24 | /56 | – |
//! | [`Breadth::Organisation`] | /16 | /48 | – |
//! | [`Breadth::Block`] | /8 | /32 | – |
//! | [`Breadth::Loopback`] | – | – | 127.0.0.0/8 and `::1` |
//!
//! An IPv4 address mapped into IPv6 counts as the IPv4 address.

use std::fmt;
use std::iter;
use std::net::IpAddr;

/// The IPv6 bits before a mapped IPv4 address.
const MAPPED_BITS: u8 = 96;

/// The octets before a mapped IPv4 address.
const MAPPED: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];

/// A network of IPv4 or IPv6, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Network {
    /// As IPv6; the octets after the prefix are zero.
    octets: [u8; 16],
    /// How many bits of `octets` all its addresses have in common.
    prefix_bits: u8,
    /// Whether it is one address that counts as an address of this machine.
    is_near: bool,
}

/// How wide a network is: see the table of this module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Breadth {
    /// One address.
    Address,
    /// The smallest network that an IPv6 customer has.
    Customer,
    /// The network of a company or a household with IPv6.
    Site,
    /// The network of a large company or a small provider.
    Organisation,
    /// The network that a registry assigns as one block.
    Block,
    /// This machine.
    Loopback,
    /// All addresses.
    Everything,
}

impl Network {
    /// All addresses.
    pub const EVERYTHING: Self = Self {
        octets: [0; 16],
        prefix_bits: 0,
        is_near: false,
    };

    /// The addresses of this machine: 127.0.0.0/8, and `::1`.
    pub const LOOPBACK: Self = Self {
        octets: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 127, 0, 0, 0],
        prefix_bits: 104,
        is_near: false,
    };

    /// Sorts after every other network.
    pub const LAST: Self = Self {
        octets: [u8::MAX; 16],
        prefix_bits: u8::MAX,
        is_near: false,
    };

    /// The network that contains only this address.
    pub fn of(address: IpAddr) -> Self {
        let octets = match address.to_canonical() {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        };
        Self {
            octets,
            prefix_bits: 128,
            is_near: false,
        }
    }

    /// The same for an address that counts as one of this machine.
    pub fn of_near(address: IpAddr) -> Self {
        Self {
            is_near: true,
            ..Self::of(address)
        }
    }

    /// The network of the customer who has this address: the address itself, or its IPv6 /64.
    pub fn of_customer(address: IpAddr) -> Self {
        let networks = Self::of(address).and_wider();
        let customers =
            networks.take_while(|it| matches!(it.breadth(), Breadth::Address | Breadth::Customer));
        customers.last().unwrap_or(Self::EVERYTHING)
    }

    /// The network and all wider ones, [`Self::EVERYTHING`] last.
    pub fn and_wider(self) -> impl Iterator<Item = Self> {
        iter::successors(Some(self), |network| network.wider())
    }

    /// The smallest network that contains this one.
    pub fn wider(self) -> Option<Self> {
        let sizes: &[u8] = match self.breadth() {
            Breadth::Everything => return None,
            Breadth::Loopback | Breadth::Block => return Some(Self::EVERYTHING),
            Breadth::Address if self.is_loopback() => return Some(Self::LOOPBACK),
            Breadth::Address | Breadth::Customer | Breadth::Site | Breadth::Organisation => {
                if self.is_v4() {
                    &[120, 112, 104]
                } else {
                    &[64, 56, 48, 32]
                }
            }
        };
        let size = sizes.iter().find(|size| **size < self.prefix_bits);
        Some(size.map_or(Self::EVERYTHING, |size| self.cut(*size)))
    }

    /// How wide the network is.
    pub fn breadth(self) -> Breadth {
        match self.prefix_bits {
            0 => Breadth::Everything,
            128 => Breadth::Address,
            _ if self == Self::LOOPBACK => Breadth::Loopback,
            64 => Breadth::Customer,
            56 | 120 => Breadth::Site,
            48 | 112 => Breadth::Organisation,
            _ => Breadth::Block,
        }
    }

    /// Whether it is an IPv4 network.
    pub fn is_v4(self) -> bool {
        self.prefix_bits >= MAPPED_BITS && self.octets.starts_with(&MAPPED)
    }

    /// Whether it is this machine, or one of its addresses.
    pub fn is_loopback(self) -> bool {
        self.is_near
            || self == Self::LOOPBACK
            || (self.prefix_bits == 128
                && (self.cut(Self::LOOPBACK.prefix_bits) == Self::LOOPBACK
                    || self.octets == std::net::Ipv6Addr::LOCALHOST.octets()))
    }

    /// The network of its first `bits`, which are a multiple of eight.
    fn cut(self, bits: u8) -> Self {
        let mut octets = self.octets;
        let behind = octets.iter_mut().skip(usize::from(bits / 8));
        behind.for_each(|octet| *octet = 0);
        Self {
            octets,
            prefix_bits: bits,
            is_near: false,
        }
    }
}

/// The usual notation: `192.0.2.0/24`, `2001:db8::/32`; a single address has no size.
impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = IpAddr::from(self.octets).to_canonical();
        let bits = if self.is_v4() {
            self.prefix_bits.saturating_sub(MAPPED_BITS)
        } else {
            self.prefix_bits
        };
        match self.breadth() {
            Breadth::Address => write!(f, "{address}"),
            Breadth::Customer
            | Breadth::Site
            | Breadth::Organisation
            | Breadth::Block
            | Breadth::Loopback
            | Breadth::Everything => write!(f, "{address}/{bits}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn network(text: &str) -> Network {
        Network::of(text.parse().unwrap())
    }

    /// NET-5, SEC-11.
    #[test]
    fn an_address_lies_in_a_chain_of_networks() {
        for (address, chain) in [
            (
                "192.0.2.77",
                "192.0.2.77 192.0.2.0/24 192.0.0.0/16 192.0.0.0/8 ::/0",
            ),
            (
                "::ffff:192.0.2.77",
                "192.0.2.77 192.0.2.0/24 192.0.0.0/16 192.0.0.0/8 ::/0",
            ),
            (
                "2001:db8:1:2345:6:7:8:9",
                "2001:db8:1:2345:6:7:8:9 2001:db8:1:2345::/64 2001:db8:1:2300::/56 \
                 2001:db8:1::/48 2001:db8::/32 ::/0",
            ),
            ("127.0.0.1", "127.0.0.1 127.0.0.0/8 ::/0"),
            ("127.200.3.4", "127.200.3.4 127.0.0.0/8 ::/0"),
            ("::ffff:127.0.0.1", "127.0.0.1 127.0.0.0/8 ::/0"),
            ("::1", "::1 127.0.0.0/8 ::/0"),
            ("::2", "::2 ::/64 ::/56 ::/48 ::/32 ::/0"),
            (
                "128.0.0.1",
                "128.0.0.1 128.0.0.0/24 128.0.0.0/16 128.0.0.0/8 ::/0",
            ),
            ("0.0.0.0", "0.0.0.0 0.0.0.0/24 0.0.0.0/16 0.0.0.0/8 ::/0"),
        ] {
            let networks = network(address).and_wider();
            let networks: Vec<String> = networks.map(|network| network.to_string()).collect();
            assert_eq!(networks.join(" "), chain, "{address}");
        }
    }

    proptest! {
        #[test]
        fn two_addresses_with_the_same_prefix_share_a_network(
            one: u128, other_bits: u128, shared in 0_u8..=128,
        ) {
            let mask = u128::MAX.checked_shr(u32::from(shared)).unwrap_or(0);
            let other = (one & !mask) | (other_bits & mask);
            let chain = |bits: u128| {
                let address = IpAddr::from(bits.to_be_bytes());
                Network::of(address).and_wider().collect::<Vec<_>>()
            };
            let common = u8::try_from((one ^ other).leading_zeros()).unwrap();
            for network in chain(one) {
                let is_plain = !network.is_v4() && !network.is_loopback();
                if is_plain {
                    let shares = chain(other).contains(&network);
                    prop_assert_eq!(shares, network.prefix_bits <= common, "{}", network);
                }
            }
        }
    }
}
