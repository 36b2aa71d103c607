//! Which clients are served without accounts, and which count as clients of this machine.
//!
//! Without accounts any password opens any mailbox, so only this machine is served, and the
//! networks that the configuration opens: those of containers, whose clients come from the address
//! of a bridge. Such a client is *near*, and treated like a client of this machine: the same share
//! of the sessions, LF line endings, no minimum pace, and passwords in clear. With accounts
//! everybody is served, and only this machine is near.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::mail::Network;

/// Which clients are served, and which are near.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// There are accounts: everybody is served.
    Everybody,
    /// There are no accounts: this machine and these networks are served.
    Near(Vec<IpNet>),
}

impl Reach {
    /// Whether a client at `peer` is served.
    pub(super) fn serves(&self, peer: IpAddr) -> bool {
        *self == Self::Everybody || self.is_near(peer)
    }

    /// Whether a client at `peer` counts as one of this machine.
    pub(super) fn is_near(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        match self {
            _ if peer.is_loopback() => true,
            Self::Everybody => false,
            Self::Near(networks) => networks.iter().any(|network| network.contains(&peer)),
        }
    }

    /// The network that the sessions of a client at `peer` are counted by.
    pub(super) fn network_of(&self, peer: IpAddr) -> Network {
        if self.is_near(peer) {
            Network::of_near(peer)
        } else {
            Network::of(peer)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SEC-14.
    #[test]
    fn without_accounts_only_near_clients_are_served() {
        let near = Reach::Near(vec![
            "172.16.0.0/12".parse().unwrap(),
            "fd00::/8".parse().unwrap(),
        ]);
        for (peer, is_near) in [
            ("127.0.0.1", true),
            ("127.255.0.9", true),
            ("::1", true),
            ("::ffff:127.0.0.1", true),
            ("172.16.0.0", true),
            ("172.31.255.255", true),
            ("::ffff:172.17.0.1", true),
            ("fd12::1", true),
            ("172.15.255.255", false),
            ("172.32.0.0", false),
            ("fc00::1", false),
            ("192.0.2.1", false),
            ("2001:db8::1", false),
        ] {
            let peer: IpAddr = peer.parse().unwrap();
            assert_eq!(near.is_near(peer), is_near, "{peer}");
            assert_eq!(near.serves(peer), is_near, "{peer}");
            assert_eq!(near.network_of(peer).is_loopback(), is_near, "{peer}");
            let is_loopback = peer.to_canonical().is_loopback();
            assert_eq!(Reach::Near(Vec::new()).serves(peer), is_loopback, "{peer}");
            assert_eq!(Reach::Everybody.is_near(peer), is_loopback, "{peer}");
            assert!(Reach::Everybody.serves(peer), "{peer}");
        }
    }
}
