//! The names that a certificate is for, and those that a CA may sign for.
//!
//! # Invariants
//! A DNS name is in A-label form and lower case, so names can be compared octet by octet.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::mail::{Charset, Domain};

/// Why a text is not the name of a host that a certificate could be for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAName {
    text: String,
}

impl NotAName {
    fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
        }
    }
}

impl fmt::Display for NotAName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { text } = self;
        write!(
            f,
            "{text:?} is neither a host name such as \"mail.example.com\" nor an IP address"
        )
    }
}

impl std::error::Error for NotAName {}

/// The name of a host in a certificate (RFC 5280 §4.2.1.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A domain name.
    Dns(String),
    /// An address.
    Ip(IpAddr),
}

impl Name {
    /// The names by which programs on this machine reach it.
    pub fn of_this_machine() -> [Self; 3] {
        [
            Self::Dns("localhost".to_owned()),
            Self::Ip(Ipv4Addr::LOCALHOST.into()),
            Self::Ip(Ipv6Addr::LOCALHOST.into()),
        ]
    }
}

impl TryFrom<&Domain> for Name {
    type Error = NotAName;

    /// Accepts a domain, or the address in an address literal (RFC 5321 §4.1.3).
    fn try_from(domain: &Domain) -> Result<Self, NotAName> {
        let text = domain.as_str();
        let in_brackets = text
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let untagged = in_brackets.and_then(|literal| literal.split_once(':'));
        let address = match untagged {
            Some((tag, address)) if tag.eq_ignore_ascii_case("IPv6") => address,
            _ => in_brackets.unwrap_or(text),
        };
        if let Ok(address) = address.parse() {
            return Ok(Self::Ip(address));
        }
        match domain.to_a_label() {
            Ok(name) if in_brackets.is_none() => Ok(Self::Dns(name)),
            Ok(_) | Err(_) => Err(NotAName::new(text)),
        }
    }
}

impl FromStr for Name {
    type Err = NotAName;

    fn from_str(text: &str) -> Result<Self, NotAName> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Ip(address));
        }
        match Domain::parse(text, Charset::Utf8) {
            Ok(domain) => Self::try_from(&domain),
            Err(_) => Err(NotAName::new(text)),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(address) => address.fmt(f),
        }
    }
}

/// Adds those of `more` to `names` that it does not have.
pub(super) fn add(names: &mut Vec<Name>, more: &[Name]) {
    for name in more {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
}

/// Writes names with commas between them.
#[derive(Debug)]
pub(super) struct NamesInWords<'a>(pub(super) &'a [Name]);

impl fmt::Display for NamesInWords<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, name) in self.0.iter().enumerate() {
            let separator = if position == 0 { "" } else { ", " };
            write!(f, "{separator}{name}")?;
        }
        Ok(())
    }
}

/// A set of names that a CA may sign for (RFC 5280 §4.2.1.10).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Permitted {
    /// A domain and everything below it.
    Dns(String),
    /// The addresses that match this one in the bits that the mask sets.
    Ip { address: IpAddr, mask: IpAddr },
}

impl Permitted {
    /// Whether the name is in this set.
    pub(super) fn covers(&self, name: &Name) -> bool {
        match (self, name) {
            (Self::Dns(domain), Name::Dns(name)) => {
                let above = name.strip_suffix(domain.as_str());
                above.is_some_and(|above| above.is_empty() || above.ends_with('.'))
            }
            (Self::Ip { address, mask }, Name::Ip(name)) => match (address, mask, name) {
                (IpAddr::V4(address), IpAddr::V4(mask), IpAddr::V4(name)) => {
                    name.to_bits() & mask.to_bits() == address.to_bits() & mask.to_bits()
                }
                (IpAddr::V6(address), IpAddr::V6(mask), IpAddr::V6(name)) => {
                    name.to_bits() & mask.to_bits() == address.to_bits() & mask.to_bits()
                }
                _ => false,
            },
            (Self::Dns(_) | Self::Ip { .. }, Name::Dns(_) | Name::Ip(_)) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    #[test]
    fn names_and_addresses_are_accepted() {
        for (text, expected) in [
            ("localhost", "localhost"),
            ("Mail.Example.COM", "mail.example.com"),
            ("poste.hôtel.example", "poste.xn--htel-vqa.example"),
            ("192.0.2.7", "192.0.2.7"),
            ("2001:DB8::1", "2001:db8::1"),
            ("[192.0.2.7]", "192.0.2.7"),
            ("[IPv6:2001:db8::1]", "2001:db8::1"),
        ] {
            assert_eq!(name(text).to_string(), expected);
        }
        for text in ["", "*.example.com", "a b", "bob@example.com", "-x", "x..y"] {
            let error = text.parse::<Name>().unwrap_err();
            assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
        }
    }

    #[test]
    fn a_permitted_set_covers_its_names() {
        let example = Permitted::Dns("example.com".to_owned());
        let loopback = Permitted::Ip {
            address: [127, 0, 0, 0].into(),
            mask: [255, 0, 0, 0].into(),
        };
        let one = Permitted::Ip {
            address: Ipv6Addr::LOCALHOST.into(),
            mask: [0xff; 16].into(),
        };
        for (part, text, expected) in [
            (&example, "example.com", true),
            (&example, "mail.example.com", true),
            (&example, "badexample.com", false),
            (&example, "com", false),
            (&example, "127.0.0.1", false),
            (&loopback, "127.0.0.1", true),
            (&loopback, "127.9.9.9", true),
            (&loopback, "128.0.0.1", false),
            (&loopback, "::1", false),
            (&loopback, "example.com", false),
            (&one, "::1", true),
            (&one, "::2", false),
        ] {
            assert_eq!(part.covers(&name(text)), expected, "{part:?} {text}");
        }
    }
}
