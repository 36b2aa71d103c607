//! Where the daemon can be reached from this machine.

use std::{
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

use ipnet::IpNet;

use crate::mail::proxy;

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

/// Connects within this time. A daemon that knows the own address as one of its `proxies` gets the
/// header that it requires from them.
pub(super) fn connect(
    address: SocketAddr,
    time: Duration,
    proxies: &[IpNet],
) -> io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, time)?;
    let own = stream.local_addr()?.ip().to_canonical();
    if proxies.iter().any(|network| network.contains(&own)) {
        stream.write_all(proxy::LOCAL)?;
    }
    Ok(stream)
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
