//! The header of the PROXY protocol: each beginning of a header asks for more, and what follows a
//! header changes nothing.

use facteur::mail::proxy::{NotProxyHeader, ProxyHeader, parse};

/// Parses octets, all of their beginnings, and them with more behind.
pub fn run(data: &[u8]) {
    match parse(data) {
        Ok(ProxyHeader::Whole { octets, client }) => {
            assert!(octets <= data.len());
            for cut in 0..octets {
                assert_eq!(parse(&data[..cut]), Ok(ProxyHeader::Begun));
            }
            let whole = Ok(ProxyHeader::Whole { octets, client });
            assert_eq!(parse(&data[..octets]), whole);
            assert_eq!(parse(&[data, b"\n"].concat()), whole);
        }
        Ok(ProxyHeader::Begun) => {
            assert!(data.len() < facteur::mail::limits::PROXY_V2_OCTETS_MAX);
        }
        Err(NotProxyHeader) => {
            assert_eq!(parse(&[data, b"\n"].concat()), Err(NotProxyHeader));
        }
    }
}
