//! Hosts and origins: whom a request is meant for, and whose page has sent it (RFC 9110 §7.2,
//! RFC 6454).

use std::net::IpAddr;

use super::limits::HOST_OCTETS_MAX;

/// The host of a request, with its port if that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// The name or the address.
    pub name: HostName,
    /// The port; without one it is that of the scheme.
    pub port: Option<u16>,
}

/// The name of a host, or its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostName {
    /// An IP literal.
    Address(IpAddr),
    /// A name in lower case, without a last dot. It has letters, digits, hyphens, underscores and
    /// dots, and no empty label.
    Name(String),
}

/// The origin of a page: a scheme, a host and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The scheme.
    pub scheme: Scheme,
    /// The host.
    pub host: HostName,
    /// The port, also if it is that of the scheme and was left out.
    pub port: u16,
}

/// The scheme of a web page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Without TLS.
    Http,
    /// With TLS.
    Https,
}

impl Host {
    /// Parses `host[:port]`, as in the field Host. Names that a browser would not send, such as
    /// `127.1` or `%6d`, are not repaired.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > HOST_OCTETS_MAX {
            return None;
        }
        if let Some(literal) = text.strip_prefix('[') {
            let (address, rest) = literal.split_once(']')?;
            let address: IpAddr = address.parse().ok()?;
            if address.is_ipv4() {
                return None;
            }
            let port = match rest {
                "" => None,
                rest => Some(parse_port(rest.strip_prefix(':')?)?),
            };
            let name = HostName::Address(address);
            return Some(Self { name, port });
        }
        let (name, port) = match text.split_once(':') {
            Some((name, port)) => (name, Some(parse_port(port)?)),
            None => (text, None),
        };
        let name = HostName::parse_name(name)?;
        Some(Self { name, port })
    }
}

impl HostName {
    /// Parses a name or an IPv4 address, which have no colon.
    fn parse_name(text: &str) -> Option<Self> {
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        let is_label = |label: &str| !label.is_empty() && label.chars().all(is_part);
        let is_name = name.split('.').all(is_label);
        is_name.then(|| Self::Name(name.to_ascii_lowercase()))
    }
}

impl Origin {
    /// Parses `scheme://host[:port]`, as in the field Origin. The origin `null` of documents that
    /// have none, and origins that are not those of web pages, are `None`.
    pub fn parse(text: &str) -> Option<Self> {
        let (scheme, host) = text.split_once("://")?;
        let scheme = match scheme {
            "http" => Scheme::Http,
            "https" => Scheme::Https,
            _ => return None,
        };
        let host = Host::parse(host)?;
        Some(Self {
            scheme,
            host: host.name,
            port: host.port.unwrap_or(scheme.port()),
        })
    }

    /// Whether it is the origin of pages that were requested from `host`. A port that was left out
    /// is that of the origin's scheme: a proxy that has added TLS passes on the host as it was.
    pub fn is_of(&self, host: &Host) -> bool {
        self.host == host.name && self.port == host.port.unwrap_or(self.scheme.port())
    }
}

impl Scheme {
    /// The port that is left out.
    pub fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// Parses a port, which only has digits.
fn parse_port(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_digit());
    text.parse().ok().filter(|port| is_number && *port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_a_literal_with_a_port() {
        for (text, expect) in [
            ("localhost", Some(("localhost", None))),
            ("LocalHost:65480", Some(("localhost", Some(65_480)))),
            ("mail_pit:8025", Some(("mail_pit", Some(8_025)))),
            ("mail.example.com.", Some(("mail.example.com", None))),
            ("127.0.0.1:80", Some(("127.0.0.1", Some(80)))),
            ("[::1]", Some(("::1", None))),
            ("[::1]:80", Some(("::1", Some(80)))),
            (
                "[::ffff:127.0.0.1]:80",
                Some(("::ffff:127.0.0.1", Some(80))),
            ),
            // A name: browsers send an address in its usual form.
            ("127.1", Some(("127.1", None))),
            ("", None),
            (".", None),
            ("a..b", None),
            (".a", None),
            ("a..", None),
            ("::1", None),
            ("[::1", None),
            ("[::1]x", None),
            ("[127.0.0.1]", None),
            ("[fe80::1%25eth0]", None),
            ("a:", None),
            ("a:0", None),
            ("a:+80", None),
            ("a:65536", None),
            ("a:80:80", None),
            ("a b", None),
            ("a/b", None),
            ("bob@a", None),
            ("%61", None),
            ("a,b", None),
            ("b\u{fc}cher", None),
        ] {
            let found = Host::parse(text);
            let shown = found.map(|host| {
                let name = match host.name {
                    HostName::Address(address) => address.to_string(),
                    HostName::Name(name) => name,
                };
                (name, host.port)
            });
            let shown = shown.as_ref().map(|(name, port)| (name.as_str(), *port));
            assert_eq!(shown, expect, "{text}");
        }
        assert_eq!(Host::parse(&"a".repeat(HOST_OCTETS_MAX + 1)), None);
    }

    #[test]
    fn an_origin_belongs_to_its_host_and_port() {
        for (origin, host, is_of) in [
            ("http://localhost:65480", "localhost:65480", true),
            ("http://LOCALHOST:65480", "localhost:65480", true),
            ("http://localhost", "localhost", true),
            ("http://localhost:80", "localhost", true),
            ("https://localhost", "localhost:443", true),
            ("https://mail.test", "mail.test", true),
            ("http://localhost:3000", "localhost:65480", false),
            ("http://127.0.0.1:65480", "localhost:65480", false),
            ("http://localhost", "localhost:65480", false),
            ("http://localhost:65480", "localhost", false),
            (
                "http://localhost.evil.example:65480",
                "localhost:65480",
                false,
            ),
        ] {
            let (parsed, host) = (Origin::parse(origin).unwrap(), Host::parse(host).unwrap());
            assert_eq!(parsed.is_of(&host), is_of, "{origin} {host:?}");
        }
        for none in [
            "null",
            "",
            "localhost",
            "file://",
            "http://",
            "http://a/",
            "HTTP://a",
        ] {
            assert_eq!(Origin::parse(none), None, "{none}");
        }
        assert_eq!(Origin::parse("chrome-extension://abcdef"), None);
        assert_eq!(Origin::parse("http://a http://b"), None);
    }
}
