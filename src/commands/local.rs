//! Where the daemon can be reached from this machine.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The address at which a client on this machine reaches a daemon that listens at `address`.
pub(super) fn local(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::LOCALHOST),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_listens_everywhere_is_checked_on_this_machine() {
        for (address, expect) in [
            ("0.0.0.0:25", "127.0.0.1:25"),
            ("[::]:25", "[::1]:25"),
            ("192.0.2.1:25", "192.0.2.1:25"),
        ] {
            assert_eq!(local(address.parse().unwrap()), expect.parse().unwrap());
        }
    }
}
