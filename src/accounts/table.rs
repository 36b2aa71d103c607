//! The table of the accounts: which address leads to which account, and what a user name means.
//!
//! Theory of operation: the code that reads the configuration fills a table step by step, so that
//! each error can be reported with its line. After that the table does not change.
//!
//! A recipient is looked up as it was written, then without its sub-address, then among the
//! addresses that every domain must have (RFC 5321 §4.5.1, RFC 2142). Otherwise it goes to the
//! catch-all of its domain, or to that of all domains.
//!
//! # Invariants
//! - No two accounts have a name or an alias in common.
//! - Aliases, roles and catch-alls lead to accounts of the table.
//! - For each question about a user who does not exist there is a dummy that takes as much work as
//!   a real user (SEC-11).

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

use super::password::{PasswordHash, StoredPassword};
use super::scram::ScramSecret;
use crate::mail::{Address, Charset, MailboxName, fold_local_part};

/// The local part for which every mail server must accept mail (RFC 5321 §4.5.1).
pub(super) const POSTMASTER: &str = "postmaster";

/// The local part for complaints (RFC 2142 §2).
pub(super) const ABUSE: &str = "abuse";

/// The accounts, and the addresses that lead to them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    accounts: Vec<Account>,
    /// Names and aliases of accounts, with the position of the account.
    addresses: HashMap<MailboxName, usize>,
    /// Local parts of account names; `None` if several accounts have it.
    local_parts: HashMap<String, Option<usize>>,
    /// The domains of all addresses and catch-alls, in A-label form.
    domains: BTreeSet<String>,
    /// Only those of account names.
    name_domains: BTreeSet<String>,
    /// Whether an account has no SCRAM secret.
    lacks_scram: bool,
    postmaster: Option<usize>,
    abuse: Option<usize>,
    /// By domain, in A-label form.
    catch_all: HashMap<String, usize>,
    catch_all_domains: Option<usize>,
    dummy: PasswordHash,
}

/// One account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name, which is also the mailbox of its mail.
    pub mailbox: MailboxName,
    /// The password that opens it.
    pub password: StoredPassword,
    /// The sender addresses that it may use besides its own.
    pub send_as: SendAs,
}

/// The sender addresses that an account may use besides its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SendAs {
    /// Only these.
    Addresses(Vec<MailboxName>),
    /// Any address.
    Anyone,
}

impl Default for SendAs {
    fn default() -> Self {
        Self::Addresses(Vec::new())
    }
}

/// Why a step of filling a table fails.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TableError {
    /// An account already has the name.
    Account(MailboxName),
    /// The name is already an alias of this account.
    AliasOf(MailboxName),
    /// No account has the name.
    NoAccount(MailboxName),
    /// The domain, which can be written in several ways, already has a catch-all.
    CatchAll(String),
}

impl fmt::Display for TableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account(name) => write!(f, "there is already an account {name}"),
            Self::AliasOf(name) => write!(f, "it is already an alias of {name}"),
            Self::NoAccount(name) => write!(f, "{name} is not the address of an account"),
            Self::CatchAll(domain) => write!(f, "{domain} already has a catch-all"),
        }
    }
}

impl std::error::Error for TableError {}

/// The domains that a catch-all is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CatchAll {
    /// This one, in A-label form.
    Domain(String),
    /// All local domains that have no catch-all of their own.
    AllDomains,
}

impl Default for Table {
    fn default() -> Self {
        Self {
            accounts: Vec::new(),
            addresses: HashMap::new(),
            local_parts: HashMap::new(),
            domains: BTreeSet::new(),
            name_domains: BTreeSet::new(),
            lacks_scram: false,
            postmaster: None,
            abuse: None,
            catch_all: HashMap::new(),
            catch_all_domains: None,
            dummy: PasswordHash::dummy(None),
        }
    }
}

impl Table {
    /// Adds an account.
    ///
    /// # Errors
    /// [`TableError::Account`], [`TableError::AliasOf`].
    pub fn add(&mut self, account: Account) -> Result<(), TableError> {
        let position = self.accounts.len();
        self.take(&account.mailbox, position)?;
        let local_part = account.mailbox.local_part().to_owned();
        let is_only = |only: &mut Option<usize>| *only = None;
        let place = self.local_parts.entry(local_part);
        place.and_modify(is_only).or_insert(Some(position));
        // As strong as the strongest of all.
        let hash = &account.password.hash;
        if self.accounts.is_empty() || hash.cost().work() > self.dummy.cost().work() {
            self.dummy = PasswordHash::dummy(Some(hash));
        }
        self.lacks_scram |= account.password.scram.is_none();
        self.name_domains
            .insert(account.mailbox.domain().to_owned());
        self.accounts.push(account);
        Ok(())
    }

    /// The most memory, in octets, that a verification needs.
    pub fn verification_octets(&self) -> u64 {
        let hashes = self.accounts.iter().map(|it| &it.password.hash);
        let kib = hashes.chain([&self.dummy]).map(|it| it.cost().memory_kib);
        u64::from(kib.max().unwrap_or(0)).saturating_mul(1_024)
    }

    /// Makes `alias` another address of `account`.
    ///
    /// # Errors
    /// Every [`TableError`].
    pub fn add_alias(
        &mut self,
        alias: &MailboxName,
        account: &MailboxName,
    ) -> Result<(), TableError> {
        let position = self.position(account)?;
        self.take(alias, position)
    }

    /// Delivers mail for the postmaster of every local domain to `account`, instead of the first
    /// account.
    ///
    /// # Errors
    /// [`TableError::NoAccount`].
    pub fn set_postmaster(&mut self, account: &MailboxName) -> Result<(), TableError> {
        self.postmaster = Some(self.position(account)?);
        Ok(())
    }

    /// Delivers mail for `abuse` of every local domain (RFC 2142 §2) to `account`, instead of the
    /// postmaster's.
    ///
    /// # Errors
    /// [`TableError::NoAccount`].
    pub fn set_abuse(&mut self, account: &MailboxName) -> Result<(), TableError> {
        self.abuse = Some(self.position(account)?);
        Ok(())
    }

    /// Delivers mail that no other address accepts to `account`.
    ///
    /// # Errors
    /// [`TableError::NoAccount`].
    pub fn set_catch_all(
        &mut self,
        which: CatchAll,
        account: &MailboxName,
    ) -> Result<(), TableError> {
        let position = self.position(account)?;
        match which {
            CatchAll::Domain(domain) => {
                self.domains.insert(domain.clone());
                match self.catch_all.entry(domain) {
                    Entry::Vacant(place) => {
                        place.insert(position);
                    }
                    Entry::Occupied(place) => {
                        return Err(TableError::CatchAll(place.key().clone()));
                    }
                }
            }
            CatchAll::AllDomains => self.catch_all_domains = Some(position),
        }
        Ok(())
    }

    /// The accounts, in the order in which they were added.
    pub fn accounts(&self) -> &[Account] {
        &self.accounts
    }

    /// The aliases of an account, sorted.
    pub fn aliases(&self, account: &Account) -> Vec<&MailboxName> {
        let is_alias = |name: &&MailboxName| **name != account.mailbox;
        let owner = |position: &usize| self.accounts.get(*position);
        let mut aliases: Vec<&MailboxName> = self
            .addresses
            .iter()
            .filter(|(_, position)| owner(position) == Some(account))
            .map(|(name, _)| name)
            .filter(is_alias)
            .collect();
        aliases.sort();
        aliases
    }

    /// Whether an address of the table is in `domain`, which is in A-label form.
    pub(super) fn has_domain(&self, domain: &str) -> bool {
        self.domains.contains(domain)
    }

    /// The account of a recipient in a local domain.
    pub(super) fn recipient(
        &self,
        literal: &MailboxName,
        base: Option<&MailboxName>,
    ) -> Option<&Account> {
        let own = self.owner(literal, base);
        let catch_all = || self.catch_all.get(literal.domain()).copied();
        let position = own.or_else(catch_all).or(self.catch_all_domains)?;
        self.accounts.get(position)
    }

    /// Whether `account` may use the address as its sender: mail for it is delivered to the
    /// account, other than by a catch-all, or the configuration allows it. The postmasters of
    /// domains that are not local belong to others.
    pub(super) fn may_send_as(
        &self,
        account: &Account,
        is_local: bool,
        literal: &MailboxName,
        base: Option<&MailboxName>,
    ) -> bool {
        let allowed = match &account.send_as {
            SendAs::Anyone => true,
            SendAs::Addresses(addresses) => addresses.iter().any(|address| {
                // Another account might have the name that looks like a sub-address.
                let is_taken = || self.addresses.contains_key(literal);
                address == literal || (Some(address) == base && !is_taken())
            }),
        };
        let owner = self.owner(literal, base).filter(|_| is_local);
        let owner = owner.and_then(|position| self.accounts.get(position));
        allowed || owner.is_some_and(|owner| owner.mailbox == account.mailbox)
    }

    /// The account that a user name means: its address, or only the local part if no other account
    /// has it.
    pub(super) fn user(&self, name: &str) -> Option<&Account> {
        let name = without_brackets(name);
        if !name.contains('@') {
            let position = (*self.local_parts.get(&fold_local_part(name))?)?;
            return self.accounts.get(position);
        }
        let address = Address::parse(name, Charset::Utf8).ok()?;
        self.account(&MailboxName::from_address(&address).ok()?)
    }

    /// The hash to verify for a user who does not exist.
    pub(super) fn dummy(&self) -> &PasswordHash {
        &self.dummy
    }

    /// Whether every account has a SCRAM secret.
    pub(super) fn has_scram(&self) -> bool {
        !self.accounts.is_empty() && !self.lacks_scram
    }

    /// The SCRAM secret of the user, with the account if there is one. A user who does not exist
    /// has one too. It is always the same, and nobody can tell that it is a dummy.
    ///
    /// The dummy is also computed for users who exist, so that both take the same time.
    pub(super) fn scram(&self, user: &str) -> Option<(ScramSecret, Option<&Account>)> {
        let user = without_brackets(user);
        let like = self
            .accounts
            .iter()
            .find_map(|a| a.password.scram.as_ref())?;
        let (account, name) = self.scram_user(user, like);
        let dummy = ScramSecret::dummy(like, &name);
        let secret = account.and_then(|account| account.password.scram.clone());
        Some(match secret {
            Some(secret) => (secret, account.filter(|_| self.user(user).is_some())),
            None => (dummy, None),
        })
    }

    /// The account and the canonical name of a SCRAM user.
    ///
    /// A local part by itself has the salt of the address that it means. So one that means none
    /// must have the salt of an address too, or a client could distinguish them by asking for both:
    /// it gets one of the domains, always the same.
    fn scram_user(&self, user: &str, like: &ScramSecret) -> (Option<&Account>, String) {
        let name = fold_local_part(user);
        let address = if name.contains('@') {
            name
        } else {
            // Also for one that means an address, so that both take the same time.
            let choice = like.choice(&name, self.name_domains.len());
            let domain = self.name_domains.iter().nth(choice);
            format!("{name}@{}", domain.map_or("", String::as_str))
        };
        if let Some(account) = self.user(user) {
            return (Some(account), account.mailbox.to_string());
        }
        let account = self.user(&address);
        let parsed = Address::parse(&address, Charset::Utf8);
        let canonical = parsed.and_then(|parsed| MailboxName::from_address(&parsed));
        (account, canonical.map_or(address, |name| name.to_string()))
    }

    pub(super) fn account(&self, name: &MailboxName) -> Option<&Account> {
        let position = self.position(name).ok()?;
        self.accounts.get(position)
    }

    /// The position of the account with exactly this name.
    fn position(&self, name: &MailboxName) -> Result<usize, TableError> {
        let position = self.addresses.get(name).copied();
        let is_name = |position: &usize| {
            let account = self.accounts.get(*position);
            account.is_some_and(|account| account.mailbox == *name)
        };
        position
            .filter(is_name)
            .ok_or_else(|| TableError::NoAccount(name.clone()))
    }

    /// Records that `name` leads to the account at `position`.
    fn take(&mut self, name: &MailboxName, position: usize) -> Result<(), TableError> {
        match self.addresses.entry(name.clone()) {
            Entry::Vacant(place) => {
                place.insert(position);
                self.domains.insert(name.domain().to_owned());
                Ok(())
            }
            Entry::Occupied(taken) => {
                let owner = self.accounts.get(*taken.get());
                Err(match owner.filter(|owner| owner.mailbox != *name) {
                    Some(owner) => TableError::AliasOf(owner.mailbox.clone()),
                    None => TableError::Account(name.clone()),
                })
            }
        }
    }

    /// The position of the account that has the address, other than by a catch-all.
    fn owner(&self, literal: &MailboxName, base: Option<&MailboxName>) -> Option<usize> {
        let address = self.addresses.get(literal);
        let address = address.or_else(|| self.addresses.get(base?));
        address.copied().or_else(|| self.role(literal))
    }

    /// The position of the account that gets mail for the postmaster or for abuse.
    fn role(&self, name: &MailboxName) -> Option<usize> {
        let postmaster = self.postmaster.unwrap_or_default();
        match name.local_part() {
            POSTMASTER => Some(postmaster),
            ABUSE => Some(self.abuse.unwrap_or(postmaster)),
            _ => None,
        }
    }
}

/// A user name without the brackets of a path, which some people type around an address.
pub(super) fn without_brackets(name: &str) -> &str {
    let bare = name.strip_prefix('<').and_then(|it| it.strip_suffix('>'));
    bare.unwrap_or(name)
}
