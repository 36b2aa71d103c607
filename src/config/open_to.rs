//! Networks in the configuration: those that are served without accounts, and those of proxies.

use std::{fmt, net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// The networks of private and link-local addresses (RFC 1918, RFC 3927, RFC 4193, RFC 4291
/// §2.5.6).
const PRIVATE: [&str; 6] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
    "169.254.0.0/16",
    "fe80::/10",
];

/// Addresses that the customers of one provider share (RFC 6598); the word does not include them.
const SHARED: &str = "100.64.0.0/10";

/// The word for the networks of [`PRIVATE`].
const WORD: &str = "private";

/// One element of `open_to`: the networks that it stands for.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub(super) struct OpenTo(pub(super) Vec<IpNet>);

/// Reads an address with or without the length of a prefix. The standard library reads the address:
/// it refuses leading zeros, which some programs take for octal numbers.
fn parse(text: &str) -> Option<IpNet> {
    let Some((address, length)) = text.split_once('/') else {
        return text.parse::<IpAddr>().ok().map(IpNet::from);
    };
    let is_number = length.bytes().all(|octet| octet.is_ascii_digit());
    let length = length.parse().ok().filter(|_| is_number)?;
    IpNet::new(address.parse().ok()?, length).ok()
}

/// The network, if it is not an address within one.
fn whole(text: &str, network: IpNet) -> Result<IpNet, String> {
    if network != network.trunc() {
        return Err(format!(
            "{text:?} is an address within a network; did you mean \"{}\"?",
            network.trunc()
        ));
    }
    Ok(network)
}

/// One element of `proxy_from`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub(super) struct ProxyFrom(pub(super) IpNet);

impl TryFrom<String> for ProxyFrom {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let no_network =
            || format!("{text:?} is not a network such as \"10.0.0.0/8\", nor an address");
        let network = whole(&text, parse(&text).ok_or_else(no_network)?)?;
        if network.prefix_len() == 0 {
            return Err(format!(
                "{text:?} is everybody: every client could claim to be at any address. Name the \
                 addresses of the proxies"
            ));
        }
        Ok(Self(network))
    }
}

fn private() -> impl Iterator<Item = IpNet> {
    PRIVATE.iter().filter_map(|text| text.parse().ok())
}

impl FromStr for OpenTo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == WORD {
            return Ok(Self(private().collect()));
        }
        let no_network = || {
            format!(
                "{text:?} is not a network such as \"172.16.0.0/12\", nor an address, nor \
                 {WORD:?}"
            )
        };
        let network = whole(text, parse(text).ok_or_else(no_network)?)?;
        let mut allowed = private().chain(SHARED.parse());
        if !allowed.any(|it| it.contains(&network)) {
            return Err(format!(
                "{text:?} is not a private network: without accounts every client there could \
                 read, send and remove all mail. The private networks are {PrivateNetworks} and \
                 {SHARED}; for other networks configure accounts and TLS"
            ));
        }
        Ok(Self(vec![network]))
    }
}

impl TryFrom<String> for OpenTo {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// [`PRIVATE`], in words.
struct PrivateNetworks;

impl fmt::Display for PrivateNetworks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&PRIVATE.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(text: &str) -> String {
        match text.parse::<OpenTo>() {
            Ok(OpenTo(networks)) => {
                let networks: Vec<String> = networks.iter().map(IpNet::to_string).collect();
                networks.join(" ")
            }
            Err(error) => error,
        }
    }

    /// Public ones too: the proxy may be at such an address.
    #[test]
    fn networks_of_proxies_are_read() {
        let read = |text: &str| match ProxyFrom::try_from(text.to_owned()) {
            Ok(ProxyFrom(network)) => network.to_string(),
            Err(error) => error,
        };
        for (text, expected) in [
            ("127.0.0.1", "127.0.0.1/32"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("192.0.2.0/24", "192.0.2.0/24"),
            ("2001:db8::/32", "2001:db8::/32"),
        ] {
            assert_eq!(read(text), expected);
        }
        for (text, part) in [
            ("10.0.0.1/8", "did you mean \"10.0.0.0/8\"?"),
            ("0.0.0.0/0", "is everybody"),
            ("::/0", "is everybody"),
            ("private", "is not a network such as"),
            ("proxy.example.com", "is not a network such as"),
        ] {
            assert!(read(text).contains(part), "{text}: {}", read(text));
        }
    }

    #[test]
    fn private_networks_are_read() {
        for (text, expected) in [
            ("172.16.0.0/12", "172.16.0.0/12"),
            ("172.17.0.1", "172.17.0.1/32"),
            ("10.1.2.0/24", "10.1.2.0/24"),
            ("100.64.0.0/10", "100.64.0.0/10"),
            ("fd00:1::/64", "fd00:1::/64"),
            ("fe80::1", "fe80::1/128"),
        ] {
            assert_eq!(networks(text), expected);
        }
        assert_eq!(networks("private"), PRIVATE.join(" "));
    }

    /// SEC-14.
    #[test]
    fn public_networks_are_refused() {
        for text in [
            "0.0.0.0/0",
            "::/0",
            "8.8.8.8",
            "172.0.0.0/8",
            "172.32.0.0/16",
            "192.0.2.0/24",
            "2001:db8::/32",
            "100.0.0.0/8",
            "fc00::/6",
            "::ffff:10.0.0.1",
        ] {
            let error = networks(text);
            assert!(
                error.contains("is not a private network"),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn a_network_with_a_typing_mistake_is_refused_with_what_is_right() {
        for (text, part) in [
            ("172.17.0.1/16", "did you mean \"172.17.0.0/16\"?"),
            ("172.16.0.0/33", "is not a network such as"),
            ("Private", "is not a network such as"),
            ("", "is not a network such as"),
            ("docker0", "is not a network such as"),
            ("010.0.0.0/8", "is not a network such as"),
            ("10.0.0.0/+8", "is not a network such as"),
            (" 10.0.0.0/8", "is not a network such as"),
        ] {
            let error = networks(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
