//! Whether this machine has IPv6.

use std::{io, net::SocketAddr};

use rustix::io::Errno;

/// Whether `error`, from binding or connecting to `address`, says that this machine has no IPv6.
pub fn is_missing(address: SocketAddr, error: &io::Error) -> bool {
    let missing = [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL, Errno::NETUNREACH];
    let mut missing = missing.iter().map(|errno| Some(errno.raw_os_error()));
    address.is_ipv6() && missing.any(|errno| errno == error.raw_os_error())
}
