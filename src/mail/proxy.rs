//! The PROXY protocol, versions 1 and 2: the header in which a proxy names its client.
//!
//! [`parse`] reads the first octets of a connection. It does no I/O; the server reads as many
//! octets as the header has, and none of what follows.
//!
//! The specification is `proxy-protocol.txt` of `HAProxy`. Only connections of TCP over IPv4 and
//! IPv6 have an address here. Every other form that the specification allows keeps the address
//! of the proxy: `LOCAL`, with which a proxy checks whether the server lives, and addresses of
//! families that the proxy does not know or that are not of the Internet. The fields behind the
//! addresses of version 2 are skipped, and their checksum is not verified: TCP has one.

use std::net::IpAddr;

use super::limits::{PROXY_V1_OCTETS_MAX, PROXY_V2_OCTETS_MAX};

/// How a header of version 2 begins: no text protocol has such a line.
pub const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header that names no other client.
pub const LOCAL: &[u8; 16] = b"\r\n\r\n\0\r\nQUIT\n\x20\x00\x00\x00";

/// How a header of version 1 begins.
const WORD: &[u8] = b"PROXY ";

/// The octets of a header of version 2 up to its length.
const HEAD_OCTETS: usize = 16;

/// What the first octets of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// The beginning of a header: all of them belong to it, and more do.
    Begun,
    /// A whole header.
    Whole {
        /// How many octets it has.
        octets: usize,
        /// The address of the client; `None` if it is that of the proxy.
        client: Option<IpAddr>,
    },
}

/// They are not the beginning of a header that is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotProxyHeader;

/// Reads a header at the beginning of `octets`.
///
/// # Errors
/// [`NotProxyHeader`]: whatever follows, this is none.
pub fn parse(octets: &[u8]) -> Result<ProxyHeader, NotProxyHeader> {
    if begins_like(octets, SIGNATURE) {
        binary(octets)
    } else if begins_like(octets, WORD) {
        text(octets)
    } else {
        Err(NotProxyHeader)
    }
}

/// Whether `octets` and `pattern` are the same as far as both go.
fn begins_like(octets: &[u8], pattern: &[u8]) -> bool {
    octets.iter().zip(pattern).all(|(one, other)| one == other)
}

/// Version 1: a line.
fn text(octets: &[u8]) -> Result<ProxyHeader, NotProxyHeader> {
    let seen = octets.get(..PROXY_V1_OCTETS_MAX).unwrap_or(octets);
    let Some(end) = memchr::memchr(b'\n', seen) else {
        return if seen.len() < PROXY_V1_OCTETS_MAX {
            Ok(ProxyHeader::Begun)
        } else {
            Err(NotProxyHeader)
        };
    };
    let line = seen.get(..end).and_then(|line| line.strip_suffix(b"\r"));
    let line = line.and_then(|line| line.strip_prefix(WORD));
    let line = line.ok_or(NotProxyHeader)?;
    let octets = end.saturating_add(1);
    // Whatever follows the word is ignored.
    let is_unknown = line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ");
    let client = if is_unknown {
        None
    } else {
        Some(addresses(line).ok_or(NotProxyHeader)?)
    };
    Ok(ProxyHeader::Whole { octets, client })
}

/// The client's address of `TCP4 client server port port`, and the same for IPv6.
fn addresses(line: &[u8]) -> Option<IpAddr> {
    let mut words = str::from_utf8(line).ok()?.split(' ');
    let is_of_family: fn(&IpAddr) -> bool = match words.next()? {
        "TCP4" => IpAddr::is_ipv4,
        "TCP6" => IpAddr::is_ipv6,
        _ => return None,
    };
    let client: IpAddr = words.next()?.parse().ok().filter(is_of_family)?;
    let _server: IpAddr = words.next()?.parse().ok().filter(is_of_family)?;
    for _ in 0..2 {
        let word = words.next()?;
        let port: u16 = word.parse().ok()?;
        // Neither a sign nor leading zeros.
        if port.to_string() != word {
            return None;
        }
    }
    words.next().is_none().then_some(client.to_canonical())
}

/// Version 2.
fn binary(octets: &[u8]) -> Result<ProxyHeader, NotProxyHeader> {
    let Some((head, rest)) = octets.split_first_chunk::<HEAD_OCTETS>() else {
        return Ok(ProxyHeader::Begun);
    };
    let [.., command, family, high, low] = *head;
    let length = usize::from(u16::from_be_bytes([high, low]));
    // The octets that the addresses need.
    let least = match (command, family) {
        (0x20, _) | (0x21, 0x00) => 0,
        (0x21, 0x11) => 12,
        (0x21, 0x21) => 36,
        (0x21, 0x31) => 216,
        _ => return Err(NotProxyHeader),
    };
    let octets = HEAD_OCTETS.saturating_add(length);
    if length < least || octets > PROXY_V2_OCTETS_MAX {
        return Err(NotProxyHeader);
    }
    let Some(fields) = rest.get(..length) else {
        return Ok(ProxyHeader::Begun);
    };
    let client = match (command, family) {
        (0x21, 0x11) => fields.first_chunk::<4>().copied().map(IpAddr::from),
        (0x21, 0x21) => fields.first_chunk::<16>().copied().map(IpAddr::from),
        _ => None,
    };
    let client = client.map(|client| client.to_canonical());
    Ok(ProxyHeader::Whole { octets, client })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn v2(command: u8, family: u8, fields: &[u8]) -> Vec<u8> {
        let length = u16::try_from(fields.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family][..], &length, fields].concat()
    }

    /// A header for this client, in both versions.
    fn headers(client: IpAddr, port: u16) -> [Vec<u8>; 2] {
        match client {
            IpAddr::V4(it) => [
                format!("PROXY TCP4 {it} 192.0.2.1 {port} 25\r\n").into_bytes(),
                v2(
                    0x21,
                    0x11,
                    &[&it.octets()[..], &[192, 0, 2, 1, 9, 9, 0, 25]].concat(),
                ),
            ],
            IpAddr::V6(it) => [
                format!("PROXY TCP6 {it} 2001:db8::1 {port} 25\r\n").into_bytes(),
                v2(0x21, 0x21, &[&it.octets()[..], &[7; 20]].concat()),
            ],
        }
    }

    fn whole(octets: usize, client: Option<&str>) -> ProxyHeader {
        let client = client.map(|text| text.parse().unwrap());
        ProxyHeader::Whole { octets, client }
    }

    #[test]
    fn the_own_header_names_no_client() {
        assert_eq!(parse(LOCAL), Ok(whole(LOCAL.len(), None)));
    }

    #[test]
    fn a_line_of_version_1_names_the_client() {
        for (line, client) in [
            ("PROXY TCP4 192.0.2.7 192.0.2.1 56324 25", Some("192.0.2.7")),
            (
                "PROXY TCP4 255.255.255.255 0.0.0.0 65535 0",
                Some("255.255.255.255"),
            ),
            ("PROXY TCP6 2001:db8::7 ::1 1 2", Some("2001:db8::7")),
            ("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2", Some("192.0.2.7")),
            ("PROXY UNKNOWN", None),
            ("PROXY UNKNOWN ffff:f...f:ffff any thing", None),
        ] {
            let octets = format!("{line}\r\nEHLO client\r\n");
            assert_eq!(
                parse(octets.as_bytes()),
                Ok(whole(line.len() + 2, client)),
                "{line}"
            );
        }
    }

    #[test]
    fn other_lines_are_no_headers() {
        for line in [
            "PROXY TCP4 192.0.2.7 192.0.2.1 56324\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 56324 25 \r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 56324 25 1\r\n",
            "PROXY TCP4  192.0.2.7 192.0.2.1 56324 25\r\n",
            "PROXY TCP4 192.0.2.07 192.0.2.1 56324 25\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 065 25\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 +65 25\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 65536 25\r\n",
            "PROXY TCP4 ::1 ::1 1 25\r\n",
            "PROXY TCP6 192.0.2.7 192.0.2.1 1 25\r\n",
            "PROXY TCP6 fe80::1%1 ::1 1 25\r\n",
            "PROXY UDP4 192.0.2.7 192.0.2.1 1 25\r\n",
            "PROXY tcp4 192.0.2.7 192.0.2.1 1 25\r\n",
            "PROXY TCP4 192.0.2.7 192.0.2.1 1 25\n",
            "PROXY UNKNOWNS\r\n",
            "PROXY \r\n",
            "PROXY UNKNOWN\n",
            "PROXYING",
            "proxy UNKNOWN\r\n",
            "EHLO client\r\n",
            "\r\n\r\nQUIT",
            "\x16\x03\x01",
        ] {
            assert_eq!(parse(line.as_bytes()), Err(NotProxyHeader), "{line:?}");
        }
    }

    #[test]
    fn a_header_of_version_2_names_the_client_or_keeps_the_address_of_the_proxy() {
        let of_v4 = [192, 0, 2, 7, 192, 0, 2, 1, 1, 2, 0, 25];
        for (octets, client) in [
            (v2(0x21, 0x11, &of_v4), Some("192.0.2.7")),
            // With fields of other kinds behind the addresses.
            (
                v2(0x21, 0x11, &[&of_v4[..], &[4, 0, 1, 0]].concat()),
                Some("192.0.2.7"),
            ),
            (v2(0x20, 0x11, &of_v4), None),
            (v2(0x20, 0x00, &[]), None),
            (v2(0x21, 0x00, &[]), None),
            (v2(0x21, 0x31, &[b'/'; 216]), None),
        ] {
            let expected = Ok(whole(octets.len(), client));
            let more = [&octets[..], b"EHLO client\r\n"].concat();
            assert_eq!(parse(&more), expected, "{}", octets.escape_ascii());
        }
    }

    #[test]
    fn other_octets_are_no_headers() {
        for octets in [
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x21, &[0; 35]),
            v2(0x21, 0x31, &[0; 215]),
            v2(0x21, 0x12, &[0; 12]),
            v2(0x21, 0x10, &[0; 12]),
            v2(0x21, 0x41, &[0; 12]),
        ] {
            assert_eq!(
                parse(&octets),
                Err(NotProxyHeader),
                "{}",
                octets.escape_ascii()
            );
        }
    }

    /// SEC-8.
    #[test]
    fn a_header_has_at_most_as_many_octets_as_the_specification_needs() {
        let longest = "PROXY UNKNOWN ".to_owned() + &"x".repeat(PROXY_V1_OCTETS_MAX - 16);
        let whole_line = longest.clone() + "\r\n";
        assert_eq!(
            parse(whole_line.as_bytes()),
            Ok(whole(PROXY_V1_OCTETS_MAX, None))
        );
        assert_eq!(parse(longest.as_bytes()), Ok(ProxyHeader::Begun));
        assert_eq!(parse((longest + "x\r\n").as_bytes()), Err(NotProxyHeader));
        let room = PROXY_V2_OCTETS_MAX - HEAD_OCTETS;
        let most = v2(0x20, 0, &vec![0; room]);
        assert_eq!(parse(&most), Ok(whole(PROXY_V2_OCTETS_MAX, None)));
        let more = v2(0x20, 0, &vec![0; room + 1]);
        assert_eq!(parse(&more[..HEAD_OCTETS]), Err(NotProxyHeader));
    }

    proptest! {
        /// Wherever it is cut, and whatever follows.
        #[test]
        fn a_header_is_read_when_it_is_whole_and_not_before(
            v4: [u8; 4],
            v6: [u8; 16],
            port: u16,
            behind in vec(any::<u8>(), 0..20),
        ) {
            for client in [IpAddr::from(v4), IpAddr::from(v6)] {
                for header in headers(client, port) {
                    for cut in 0..header.len() {
                        prop_assert_eq!(parse(&header[..cut]), Ok(ProxyHeader::Begun));
                    }
                    let client = Some(client.to_canonical());
                    let octets = header.len();
                    let expected = Ok(ProxyHeader::Whole { octets, client });
                    prop_assert_eq!(parse(&[&header[..], &behind].concat()), expected);
                }
            }
        }

        /// What is accepted as version 1 is what a proxy would write for those values.
        #[test]
        fn an_accepted_line_is_the_only_form_of_its_values(
            address in "[0-9]{1,3}(\\.[0-9]{1,3}){3}",
            ports in "[0-9+ ]{1,6} [0-9]{1,5}",
        ) {
            let line = format!("PROXY TCP4 {address} 192.0.2.1 {ports}\r\n");
            let words: Vec<&str> = line.trim_ascii_end().split(' ').collect();
            let is_plain = |word: &&str| {
                word.parse::<u16>().is_ok_and(|number| number.to_string() == **word)
            };
            let is_address = words[2].split('.').all(|it| {
                it.parse::<u8>().is_ok_and(|number| number.to_string() == it)
            });
            let expected = words.len() == 6 && is_address && words[4..].iter().all(is_plain);
            prop_assert_eq!(parse(line.as_bytes()).is_ok(), expected, "{}", line);
        }

        /// SEC-9: nothing is asked for without end.
        #[test]
        fn no_octets_are_too_strange(
            kind in 0_usize..3,
            octets in vec(any::<u8>(), 0..1_000),
        ) {
            let start: &[u8] = [&b""[..], WORD, SIGNATURE][kind];
            let all = [start, &octets].concat();
            match parse(&all) {
                Ok(ProxyHeader::Begun) => prop_assert!(all.len() < PROXY_V2_OCTETS_MAX),
                Ok(ProxyHeader::Whole { octets, .. }) => {
                    prop_assert!(octets <= all.len() && octets <= PROXY_V2_OCTETS_MAX);
                }
                Err(NotProxyHeader) => {}
            }
        }
    }
}
