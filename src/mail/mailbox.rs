//! The name of a mailbox: the canonical form of an address.
//!
//! It does not say whether the mailbox exists, or where it is on disk.
//!
//! # Invariants
//! - Two addresses that lead to the same mailbox have the same name: ASCII letters are in lower
//!   case, an internationalised domain is in A-label form, and a local part is in normalisation
//!   form C (RFC 6532 §3.1): `é` is one letter, whether it was typed as one character or as two.
//! - Neither part is empty, and neither contains a control character.
//!
//! # Known limits
//! Letters outside ASCII keep their case in local parts: no rule about them is common to all hosts.
//! A mailbox on disk can have another normalisation form, from before names were normalised.

use std::fmt;

use unicode_normalization::UnicodeNormalization as _;

use super::address::{self, Address, AddressError, Charset, Domain};

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
    /// [`AddressError::LocalPart`] if the local part is empty (`""@example.com` is an address, but
    /// names no mailbox here) or contains a control character; [`AddressError::Domain`] if an
    /// internationalised domain has no A-label form. Refuse the address.
    pub fn from_address(address: &Address) -> Result<Self, AddressError> {
        let local_part = fold_local_part(address.local_part());
        if !is_local_part(&local_part) {
            return Err(AddressError::LocalPart);
        }
        Ok(Self {
            local_part,
            domain: address.domain().to_a_label()?,
        })
    }

    /// The other mailboxes that the address could have named before local parts were normalised: in
    /// the written form, and decomposed. Empty if they are the mailbox that it names now.
    pub fn other_forms(&self, written: &str) -> Vec<Self> {
        let mut forms = Vec::new();
        if self.local_part.is_ascii() {
            return forms;
        }
        let decomposed = self.local_part.nfd().collect();
        for local_part in [written.to_ascii_lowercase(), decomposed] {
            let form = self.with_written(local_part);
            if form != *self && !forms.contains(&form) {
                forms.push(form);
            }
        }
        forms
    }

    fn with_written(&self, local_part: String) -> Self {
        Self {
            local_part,
            domain: self.domain.clone(),
        }
    }

    /// The mailbox with the given parts, the local part unquoted, as found on disk: `None` if one
    /// of them is not in canonical form, so that every mailbox is found under only one name.
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

    /// The mailbox with `local_part` in the same domain; the same mailbox if `local_part` is not
    /// valid, such as the part before the separator in `+news`.
    #[must_use]
    pub fn with_local_part(&self, local_part: &str) -> Self {
        if !is_local_part(local_part) {
            return self.clone();
        }
        self.with_written(fold_local_part(local_part))
    }

    /// Whether this is a sub-address of `mailbox`, or begins like one, and not another name for it.
    pub fn is_below(&self, mailbox: &Self) -> bool {
        let rest = self.local_part.strip_prefix(&mailbox.local_part);
        self.domain == mailbox.domain && rest.is_some_and(|rest| !rest.is_empty())
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
    /// Writes the address in RFC 5321 form, with the local part quoted if necessary.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        address::write_local_part(f, &self.local_part)?;
        write!(f, "@{}", self.domain)
    }
}

/// The common form of all local parts that lead to one mailbox.
pub fn fold_local_part(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    // Composed first: a letter with its accent is not ASCII, and keeps its case. Then again,
    // because some pairs compose into one letter only in lower case.
    let mut composed: String = text.nfc().collect();
    composed.make_ascii_lowercase();
    composed.nfc().collect()
}

/// The forms in which a mailbox with this local part might be found: folded, and decomposed.
pub fn local_part_forms(text: &str) -> Vec<String> {
    let folded = fold_local_part(text);
    let decomposed: String = folded.nfd().collect();
    let mut forms = vec![folded, decomposed];
    forms.dedup();
    forms
}

/// Whether `text` can be the local part of a mailbox.
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
            ("Zoe\u{308}@example.com", Ok("zo\u{eb}@example.com")),
            ("E\u{301}@example.com", Ok("\u{c9}@example.com")),
            ("\u{c9}@example.com", Ok("\u{c9}@example.com")),
            ("H\u{331}@example.com", Ok("\u{1e96}@example.com")),
            ("\u{212a}@example.com", Ok("k@example.com")), // the sign of the unit
            ("bob@[IPv6:2001:DB8::1]", Ok("bob@[ipv6:2001:db8::1]")),
            ("\"\"@example.com", Err(AddressError::LocalPart)),
        ] {
            assert_eq!(name(address), expect.map(str::to_owned), "{address}");
        }
    }

    #[test]
    fn the_other_forms_are_known() {
        for (address, expect) in [
            ("bob@example.com", &[][..]),
            ("Zo\u{eb}@example.com", &["zoe\u{308}@example.com"]),
            ("Zoe\u{308}@example.com", &["zoe\u{308}@example.com"]),
            // Two marks whose order is neither form's.
            (
                "a\u{302}\u{323}@example.com",
                &["a\u{302}\u{323}@example.com", "a\u{323}\u{302}@example.com"],
            ),
        ] {
            let address = Address::parse(address, Charset::Utf8).unwrap();
            let name = MailboxName::from_address(&address).unwrap();
            let forms = name.other_forms(address.local_part());
            let forms: Vec<String> = forms.iter().map(MailboxName::to_string).collect();
            assert_eq!(forms, expect, "{address}");
        }
    }

    #[test]
    fn only_canonical_parts_are_accepted_from_disk() {
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
