//! Who receives mail here, and who may fetch it.
//!
//! Today there is one mode, the *open* one: every address of every local domain is a mailbox, and
//! any password opens it. It is for loopback only; the configuration refuses other listeners. The
//! questions are asked in the form that a list of accounts will answer too, so a session never
//! knows which mode it serves.
//!
//! Nothing here logs, and no password is kept or shown.

use crate::mail::{Address, Charset, Credentials, Domain, ForwardPath, MailboxName};

/// The local part that every mail server must take mail for (RFC 5321 §4.5.1).
const POSTMASTER: &str = "postmaster";

/// What the configuration says of addresses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domain of `<postmaster>` and of names without a domain.
    pub hostname: Domain,
    /// The local domains; empty means all.
    pub domains: Vec<Domain>,
    /// What separates a mailbox from its sub-address, where that is wanted.
    pub subaddress: Option<char>,
}

/// Answers who receives and who may log in.
#[derive(Debug)]
pub struct Accounts {
    hostname: String,
    /// In A-label form.
    domains: Vec<String>,
    subaddress: Option<char>,
}

/// Where a recipient's address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// To this mailbox.
    Mailbox(MailboxName),
    /// To a domain that is not local.
    NotLocal,
    /// Nowhere: the domain cannot exist.
    Unknown,
}

/// What a POP3 or AUTH user name means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserName {
    /// An address.
    Address(ForwardPath),
    /// A local part alone: the one mailbox that has it.
    LocalPart(String),
    /// Nothing that could be a user.
    Unknown,
}

/// Whether a password opens a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does.
    Accepted,
    /// It does not, or there is no such user: the two look the same.
    Refused,
}

impl Accounts {
    /// Accounts in open mode.
    ///
    /// A domain without an A-label form cannot be local; the configuration refuses it before.
    pub fn open(settings: &Settings) -> Self {
        let a_label = |domain: &Domain| domain.to_a_label().ok();
        Self {
            hostname: a_label(&settings.hostname).unwrap_or_default(),
            domains: settings.domains.iter().filter_map(a_label).collect(),
            subaddress: settings.subaddress,
        }
    }

    /// Finds the mailbox that `path` leads to. `exists` is asked whether a mailbox of the literal
    /// name is there, and only where the name could also be read as a sub-address.
    ///
    /// # Errors
    /// Whatever `exists` gives.
    pub fn resolve<E>(
        &self,
        path: &ForwardPath,
        exists: impl FnOnce(&MailboxName) -> Result<bool, E>,
    ) -> Result<Resolution, E> {
        let literal = match path {
            ForwardPath::Postmaster => MailboxName::from_canonical(POSTMASTER, &self.hostname),
            ForwardPath::Address(address) => MailboxName::from_address(address).ok(),
        };
        let Some(literal) = literal else {
            return Ok(Resolution::Unknown);
        };
        if !self.is_local(&literal) {
            return Ok(Resolution::NotLocal);
        }
        match self.without_subaddress(&literal) {
            Some(base) if !exists(&literal)? => Ok(Resolution::Mailbox(base)),
            Some(_) | None => Ok(Resolution::Mailbox(literal)),
        }
    }

    /// Reads a user name as the client sent it.
    pub fn user(&self, name: &str) -> UserName {
        if !name.contains('@') {
            return UserName::LocalPart(name.to_ascii_lowercase());
        }
        match Address::parse(name, Charset::Utf8) {
            Ok(address) => UserName::Address(ForwardPath::Address(address)),
            Err(_) => UserName::Unknown,
        }
    }

    /// Verifies a password. In open mode every password opens every mailbox.
    pub fn verify(&self, _credentials: &Credentials) -> Verdict {
        Verdict::Accepted
    }

    /// RFC 5321 §4.5.1: postmaster of any local name is taken, and mail for this host is local.
    fn is_local(&self, mailbox: &MailboxName) -> bool {
        let domain = mailbox.domain();
        self.domains.is_empty()
            || self.domains.iter().any(|local| local == domain)
            || (mailbox.local_part() == POSTMASTER && domain == self.hostname)
    }

    fn without_subaddress(&self, mailbox: &MailboxName) -> Option<MailboxName> {
        let (base, _) = mailbox.local_part().split_once(self.subaddress?)?;
        (!base.is_empty()).then(|| mailbox.with_local_part(base))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(domains: &[&str]) -> Accounts {
        let domain = |text: &str| Domain::parse(text, Charset::Utf8).unwrap();
        Accounts::open(&Settings {
            hostname: domain("localhost"),
            domains: domains.iter().map(|text| domain(text)).collect(),
            subaddress: Some('+'),
        })
    }

    fn resolve(accounts: &Accounts, address: &str, existing: &[&str]) -> String {
        let path = match address {
            "postmaster" => ForwardPath::Postmaster,
            _ => ForwardPath::Address(Address::parse(address, Charset::Utf8).unwrap()),
        };
        let exists =
            |mailbox: &MailboxName| Ok::<_, ()>(existing.contains(&mailbox.to_string().as_str()));
        match accounts.resolve(&path, exists).unwrap() {
            Resolution::Mailbox(mailbox) => mailbox.to_string(),
            Resolution::NotLocal => "not local".to_owned(),
            Resolution::Unknown => "unknown".to_owned(),
        }
    }

    #[test]
    fn an_address_leads_to_its_canonical_mailbox() {
        let open = accounts(&[]);
        for (address, expected) in [
            ("Bob@Example.COM", "bob@example.com"),
            ("bob@bücher.example", "bob@xn--bcher-kva.example"),
            ("postmaster", "postmaster@localhost"),
            ("bob+news@example.com", "bob@example.com"),
            ("bob+a+b@example.com", "bob@example.com"),
            ("+news@example.com", "+news@example.com"),
        ] {
            assert_eq!(resolve(&open, address, &[]), expected, "{address}");
        }
    }

    #[test]
    fn a_mailbox_with_the_literal_name_wins_over_the_sub_address() {
        let open = accounts(&[]);
        let existing = ["bob+news@example.com"];
        assert_eq!(
            resolve(&open, "bob+news@example.com", &existing),
            "bob+news@example.com"
        );
        assert_eq!(
            resolve(&open, "bob+other@example.com", &existing),
            "bob@example.com"
        );
    }

    #[test]
    fn only_local_domains_and_the_postmaster_are_taken_when_domains_are_listed() {
        let listed = accounts(&["example.com", "bücher.example"]);
        for (address, expected) in [
            ("bob@EXAMPLE.com", "bob@example.com"),
            ("bob@xn--bcher-kva.example", "bob@xn--bcher-kva.example"),
            ("bob@example.net", "not local"),
            ("bob@localhost", "not local"),
            ("postmaster", "postmaster@localhost"),
            ("Postmaster@localhost", "postmaster@localhost"),
        ] {
            assert_eq!(resolve(&listed, address, &[]), expected, "{address}");
        }
    }

    #[test]
    fn a_user_name_is_an_address_or_a_local_part() {
        let open = accounts(&[]);
        assert_eq!(open.user("Bob"), UserName::LocalPart("bob".to_owned()));
        assert!(matches!(open.user("bob@example.com"), UserName::Address(_)));
        assert_eq!(open.user("bob@@example.com"), UserName::Unknown);
    }
}
