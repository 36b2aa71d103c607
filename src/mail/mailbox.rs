//! The name of a mailbox: the canonical form of an address.
//!
//! It does not say whether the mailbox exists, nor where it lies on disk.
//!
//! # Invariants
//! - Two addresses that lead to the same mailbox have the same name: ASCII letters are lowercased
//!   and an internationalised domain is in A-label form.
//! - Neither part is empty and neither holds a control character.
//!
//! # Known limits
//! Letters outside ASCII keep their case in local parts: no rule about them is common to all hosts.

use std::fmt;

use super::{Address, AddressError, Charset, Domain, address};

/// A mailbox of this host: local part and domain in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MailboxName {
    local_part: String,
    domain: String,
}

impl MailboxName {
    /// The mailbox that `address` names.
    ///
    /// # Errors
    /// [`AddressError::LocalPart`] when the local part is empty (`""@example.com` is an address,
    /// but names no mailbox here) or holds a control character; [`AddressError::Domain`] when an
    /// internationalised domain has no A-label form. Refuse the address.
    pub fn from_address(address: &Address) -> Result<Self, AddressError> {
        if !is_local_part(address.local_part()) {
            return Err(AddressError::LocalPart);
        }
        Ok(Self {
            local_part: address.local_part().to_ascii_lowercase(),
            domain: address.domain().to_a_label()?,
        })
    }

    /// The mailbox of the given parts, the local part unquoted, as found on disk: `None` when one
    /// of them is not in canonical form, so that every mailbox is found under one name only.
    pub fn from_canonical(local_part: &str, domain: &str) -> Option<Self> {
        let is_lowercase = |text: &str| !text.bytes().any(|octet| octet.is_ascii_uppercase());
        let is_canonical = is_local_part(local_part)
            && is_lowercase(local_part)
            && is_lowercase(domain)
            && Domain::parse(domain, Charset::Ascii).is_ok();
        is_canonical.then(|| Self {
            local_part: local_part.to_owned(),
            domain: domain.to_owned(),
        })
    }

    /// The mailbox of `local_part` in the same domain; the same mailbox when `local_part` cannot
    /// be one, as the part before the separator in `+news`.
    #[must_use]
    pub fn with_local_part(&self, local_part: &str) -> Self {
        if !is_local_part(local_part) {
            return self.clone();
        }
        Self {
            local_part: local_part.to_ascii_lowercase(),
            domain: self.domain.clone(),
        }
    }

    /// The local part, unquoted.
    pub fn local_part(&self) -> &str {
        &self.local_part
    }

    /// The domain, or an address literal in its brackets.
    pub fn domain(&self) -> &str {
        &self.domain
    }
}

impl fmt::Display for MailboxName {
    /// Writes the address in RFC 5321 form, the local part quoted where it has to be.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        address::write_local_part(f, &self.local_part)?;
        write!(f, "@{}", self.domain)
    }
}

/// Tells whether `text` can be the local part of a mailbox.
fn is_local_part(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(address::is_hazard)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(address: &str) -> Result<String, AddressError> {
        let address = Address::parse(address, Charset::Utf8)?;
        MailboxName::from_address(&address).map(|name| name.to_string())
    }

    #[test]
    fn addresses_of_one_mailbox_have_one_name() {
        for (address, expect) in [
            ("bob@example.com", Ok("bob@example.com")),
            ("Bob@EXAMPLE.com", Ok("bob@example.com")),
            ("\"Bob\"@example.com", Ok("bob@example.com")),
            ("\"b\\ob\"@example.com", Ok("bob@example.com")),
            ("\"Bob Smith\"@example.com", Ok("\"bob smith\"@example.com")),
            ("bob@b\u{fc}cher.example", Ok("bob@xn--bcher-kva.example")),
            ("bob@B\u{dc}CHER.example", Ok("bob@xn--bcher-kva.example")),
            ("bob@XN--BCHER-KVA.example", Ok("bob@xn--bcher-kva.example")),
            ("Zo\u{eb}@example.com", Ok("zo\u{eb}@example.com")),
            ("bob@[IPv6:2001:DB8::1]", Ok("bob@[ipv6:2001:db8::1]")),
            ("\"\"@example.com", Err(AddressError::LocalPart)),
        ] {
            assert_eq!(name(address), expect.map(str::to_owned), "{address}");
        }
    }

    #[test]
    fn only_canonical_parts_are_taken_from_disk() {
        for (local_part, domain, fits) in [
            ("bob", "example.com", true),
            ("bob smith", "localhost", true),
            ("a/../b", "example.com", true), // a valid quoted local part: the store encodes it
            ("zo\u{eb}", "example.com", true),
            ("bob", "[127.0.0.1]", true),
            ("bob", "xn--bcher-kva.example", true),
            ("Bob", "example.com", false),
            ("bob", "Example.com", false),
            ("bob", "b\u{fc}cher.example", false),
            ("", "example.com", false),
            ("bob", "", false),
            ("bob", "..", false),
            ("bob", ".facteur", false),
            ("bob", "exa mple", false),
            ("b\0b", "example.com", false),
            ("b\nb", "example.com", false),
        ] {
            let found = MailboxName::from_canonical(local_part, domain);
            assert_eq!(found.is_some(), fits, "{local_part:?} {domain:?}");
            if let Some(found) = found {
                assert_eq!((found.local_part(), found.domain()), (local_part, domain));
            }
        }
    }

    #[test]
    fn another_local_part_keeps_the_domain_and_is_never_empty() {
        let mailbox = MailboxName::from_canonical("bob+news", "example.com").expect("canonical");
        for (local_part, expect) in [
            ("bob", "bob@example.com"),
            ("BOB", "bob@example.com"),
            ("", "bob+news@example.com"),
            ("b\nb", "bob+news@example.com"),
        ] {
            assert_eq!(
                mailbox.with_local_part(local_part).to_string(),
                expect,
                "{local_part:?}"
            );
        }
    }
}
