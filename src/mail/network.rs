//! Whom an address counts as, where clients are counted by their addresses.
//!
//! An address of IPv4 counts for itself. One customer of IPv6 has a whole /64, and could come from
//! another address each time; so of IPv6 the /64 counts. An IPv4 address that is mapped into IPv6
//! is the IPv4 address.

use std::net::IpAddr;

/// An IPv4 address, or the /64 of an IPv6 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Network {
    /// The address.
    V4([u8; 4]),
    /// The first half of the address.
    V6(u64),
}

impl From<IpAddr> for Network {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::V4(address.octets()),
            IpAddr::V6(address) => {
                let network = address.to_bits() >> 64;
                Self::V6(u64::try_from(network).unwrap_or_default())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// NET-5, SEC-11.
    #[test]
    fn a_network_of_ipv6_and_a_mapped_address_count_as_one() {
        let network = |text: &str| Network::from(text.parse::<IpAddr>().unwrap());
        for (one, other, alike) in [
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("192.0.2.1", "::ffff:192.0.2.1", true),
            ("192.0.2.1", "192.0.2.2", false),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
        ] {
            assert_eq!(network(one) == network(other), alike, "{one} and {other}");
        }
    }
}
