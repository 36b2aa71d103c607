//! Detects first lines that no mail program sends.
//!
//! A browser can be made to send a request, with a body of someone else's choosing, to any port of
//! this machine. Nothing after such a first line may be taken for commands (SEC-13).

use super::proxy::SIGNATURE;

/// The methods of HTTP, and the beginning of HTTP/2.
const HTTP_METHODS: [&str; 10] = [
    "CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PRI", "PUT", "TRACE",
];

/// What a client speaks if not the protocol of its port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foreign {
    /// TLS, or SSL.
    Tls,
    /// HTTP.
    Http,
    /// The PROXY protocol, which a proxy speaks before the client does.
    Proxy,
    /// A text protocol, without TLS.
    Text,
    /// Something else.
    Other,
}

impl Foreign {
    /// What the first line of a connection, without its ending, shows that the client speaks, if it
    /// is not a mail command. HTTP has a method first or its version last, as every request since
    /// 1.0 does; a proxy names its client with the PROXY protocol (version 1); and a command always
    /// begins with a letter.
    pub fn of_line(first_line: &[u8]) -> Option<Self> {
        let mut words = first_line.split(|octet| *octet == b' ');
        let first = words.next().unwrap_or_default();
        let is_method = |method: &&str| first.eq_ignore_ascii_case(method.as_bytes());
        let version = words.next_back().unwrap_or_default();
        let is_version = version
            .get(..5)
            .is_some_and(|name| name.eq_ignore_ascii_case(b"HTTP/"));
        if HTTP_METHODS.iter().any(is_method) || is_version {
            Some(Self::Http)
        } else if first == b"PROXY" {
            Some(Self::Proxy)
        } else if first.first().is_some_and(u8::is_ascii_alphabetic) {
            None
        } else {
            Some(Self::of_octets(first_line))
        }
    }

    /// What the first octets of a connection, as far as they have arrived, show that the client
    /// speaks.
    pub fn of_octets(first: &[u8]) -> Self {
        let is_signature = first.len() > 2 && {
            let octets = first.len().min(SIGNATURE.len());
            first.get(..octets) == SIGNATURE.get(..octets)
        };
        let line = first.split(|octet| *octet == b'\n').next();
        let line = line.unwrap_or_default().trim_ascii_end();
        match first {
            _ if is_signature => Self::Proxy,
            // A handshake record of TLS or SSL 3, or a greeting of SSL 2, which can offer later
            // versions.
            [0x16, 0x03, ..] | [0x80..=0xff, _, 0x01, 0x00..=0x03, ..] => Self::Tls,
            [b'a'..=b'z' | b'A'..=b'Z', ..] => Self::of_line(line).unwrap_or(Self::Text),
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_line_reveals_the_protocol() {
        for (line, foreign) in [
            ("HELO localhost", None),
            ("user bob@example.com", None),
            ("GETTING started", None),
            ("NOOP HTTP", None),
            ("", Some(Foreign::Other)),
            (" HELO localhost", Some(Foreign::Other)),
            ("\u{16}\u{3}\u{1}", Some(Foreign::Tls)),
            ("250 Ok", Some(Foreign::Other)),
            ("GET / HTTP/1.1", Some(Foreign::Http)),
            ("get /", Some(Foreign::Http)),
            ("PRI * HTTP/2.0", Some(Foreign::Http)),
            ("PROPFIND / HTTP/1.1", Some(Foreign::Http)),
            ("propfind / http/1.1", Some(Foreign::Http)),
            (
                "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443",
                Some(Foreign::Proxy),
            ),
            ("PROXY UNKNOWN", Some(Foreign::Proxy)),
            ("PROXYING", None),
        ] {
            assert_eq!(Foreign::of_line(line.as_bytes()), foreign, "{line:?}");
        }
    }

    #[test]
    fn first_octets_reveal_the_protocol() {
        for (octets, foreign) in [
            (&b""[..], Foreign::Other),
            (b"\x16\x03\x01\x02\x00\x01", Foreign::Tls),
            (b"\x16\x03", Foreign::Tls),
            (b"\x80\x2e\x01\x03\x01", Foreign::Tls),
            (b"\x80\x2e\x02", Foreign::Other),
            (SIGNATURE, Foreign::Proxy),
            (b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", Foreign::Proxy),
            (b"\r\n\r", Foreign::Proxy),
            (b"\r\n", Foreign::Other),
            (
                b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nEHLO x\r\n",
                Foreign::Proxy,
            ),
            (b"GET / HTTP/1.1\r\nHost: x\r\n", Foreign::Http),
            (b"EHLO client\r\n", Foreign::Text),
            (b"QU", Foreign::Text),
            (b"\x05\x01\x00", Foreign::Other),
        ] {
            assert_eq!(
                Foreign::of_octets(octets),
                foreign,
                "{}",
                octets.escape_ascii()
            );
        }
    }
}
