//! Reads the accounts, from the configuration itself or from a file of their own.
//!
//! Both have the same keys: `[[accounts]]`, `postmaster`, `abuse` and `catch_all`. They are added
//! to a [`Table`] step by step, so that every error names its file, its line and its account.
//!
//! # Invariants
//! No error or warning contains a value of `password`: it could be the password itself.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use toml::Spanned;

use super::{
    error::{Error, OneLine},
    text::{self, Read},
    values::{HostName, ListOrOff},
};
use crate::accounts::{
    self, CatchAll, ScramSecret, SendAs, StoredPassword, Table, TableError, limits,
};
use crate::mail::{Address, Charset, MailboxName};

/// The value of `accounts`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Accounts {
    /// `"off"`: open mode.
    #[default]
    Off,
    /// The path of an accounts file, as written.
    File(Spanned<PathBuf>),
    /// The accounts.
    List(List),
}

/// A list of accounts: at least one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List(Vec<Entry>);

/// The table `[[accounts]]`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// The name of the account, and its mailbox.
    address: Spanned<Name>,
    /// What a client needs to open it.
    password: Password,
    /// Other addresses whose mail is delivered to it.
    #[serde(default, deserialize_with = "aliases")]
    aliases: Vec<Spanned<Name>>,
    /// Other addresses that it may send from.
    #[serde(default, deserialize_with = "senders")]
    send_as: Vec<Sender>,
}

/// The address of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Name(pub(in crate::config) MailboxName);

/// An address, or `"*"` for any.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
enum Sender {
    Address(MailboxName),
    Anyone,
}

/// The value of `postmaster` and `abuse`.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub enum Role {
    /// `"auto"`: the first account for `postmaster`, the postmaster's account for `abuse`.
    Auto,
    /// This account.
    Account(Name),
}

impl Role {
    /// The default.
    pub(super) fn auto() -> Spanned<Self> {
        Spanned::new(0..0, Self::Auto)
    }
}

/// The value of `catch_all`: accounts by domain, or `"*"` for all domains.
pub type CatchAlls = BTreeMap<String, Spanned<Name>>;

/// An accounts file.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    accounts: Option<List>,
    #[serde(default = "Role::auto")]
    postmaster: Spanned<Role>,
    #[serde(default = "Role::auto")]
    abuse: Spanned<Role>,
    #[serde(default)]
    catch_all: CatchAlls,
}

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let address = Address::parse(&text, Charset::Utf8);
        let name = address.and_then(|address| MailboxName::from_address(&address));
        name.map(Self)
            .map_err(|error| format!("{text:?} is not an address such as bob@example.com: {error}"))
    }
}

impl TryFrom<String> for Sender {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "*" => Ok(Self::Anyone),
            _ => Name::try_from(text).map(|name| Self::Address(name.0)),
        }
    }
}

impl TryFrom<String> for Role {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            _ => Name::try_from(text).map(Self::Account),
        }
    }
}

const EXPECTED: &str = "the path of an accounts file, a list of [[accounts]], or \"off\"";

impl<'de> Deserialize<'de> for Accounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // Only a path needs its place, but whether it is one is known only once it is read.
        let value = Spanned::<PathOrList>::deserialize(deserializer)?;
        let place = value.span();
        Ok(match value.into_inner() {
            PathOrList::Path(path) if path == "off" => Self::Off,
            PathOrList::Path(path) => Self::File(Spanned::new(place, PathBuf::from(path))),
            PathOrList::List(list) => Self::List(list),
        })
    }
}

enum PathOrList {
    Path(String),
    List(List),
}

impl<'de> Deserialize<'de> for PathOrList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PathOrListVisitor)
    }
}

struct PathOrListVisitor;

impl<'de> Visitor<'de> for PathOrListVisitor {
    type Value = PathOrList;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        if value.is_empty() {
            return Err(E::invalid_value(de::Unexpected::Str(value), &self));
        }
        Ok(PathOrList::Path(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, elements: A) -> Result<Self::Value, A::Error> {
        let list = de::value::SeqAccessDeserializer::new(elements);
        List::deserialize(list).map(PathOrList::List)
    }
}

impl<'de> Deserialize<'de> for List {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries: Vec<Entry> = deserializer.deserialize_any(ListOrOff {
            expected: "a list of [[accounts]]",
            off: None,
            element: PhantomData,
        })?;
        if entries.is_empty() {
            return Err(de::Error::custom(NO_ACCOUNT));
        }
        Ok(Self(entries))
    }
}

const NO_ACCOUNT: &str = "there is no account: add [[accounts]] with an address and a password, or \
                          remove accounts = … from the configuration to let anyone on this machine \
                          log in";

/// Reads the aliases of an account.
fn aliases<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Spanned<Name>>, D::Error> {
    deserializer.deserialize_any(ListOrOff {
        expected: "a list of addresses such as [\"robert@example.com\"]",
        off: None,
        element: PhantomData,
    })
}

/// Reads the sender addresses of an account.
fn senders<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Sender>, D::Error> {
    deserializer.deserialize_any(ListOrOff {
        expected: "a list of addresses such as [\"list@example.com\"], or [\"*\"]",
        off: None,
        element: PhantomData,
    })
}

/// The value of `password`: a string, or a list of strings.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Password(StoredPassword);

impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let texts = PasswordTexts { in_list: false }.deserialize(deserializer)?;
        let stored = StoredPassword::parse(&texts).map_err(de::Error::custom)?;
        Ok(Self(stored))
    }
}

/// Reads strings; the error for any other value does not show the value.
struct PasswordTexts {
    in_list: bool,
}

impl PasswordTexts {
    fn no_text<E: de::Error>() -> E {
        E::custom("not a string in quotes, as `facteur hash-password` prints it")
    }
}

impl<'de> DeserializeSeed<'de> for PasswordTexts {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for PasswordTexts {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an argon2id hash in quotes, or a list of such a hash and a SCRAM secret")
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(vec![value.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
        if self.in_list {
            return Err(Self::no_text());
        }
        let mut texts = Vec::new();
        while let Some(element) = elements.next_element_seed(Self { in_list: true })? {
            texts.extend(element);
        }
        Ok(texts)
    }

    fn visit_bool<E: de::Error>(self, _: bool) -> Result<Self::Value, E> {
        Err(Self::no_text())
    }

    fn visit_i64<E: de::Error>(self, _: i64) -> Result<Self::Value, E> {
        Err(Self::no_text())
    }

    fn visit_u64<E: de::Error>(self, _: u64) -> Result<Self::Value, E> {
        Err(Self::no_text())
    }

    fn visit_i128<E: de::Error>(self, _: i128) -> Result<Self::Value, E> {
        Err(Self::no_text())
    }

    fn visit_f64<E: de::Error>(self, _: f64) -> Result<Self::Value, E> {
        Err(Self::no_text())
    }

    fn visit_map<A: de::MapAccess<'de>>(self, _: A) -> Result<Self::Value, A::Error> {
        Err(Self::no_text())
    }
}

/// The parts of a table, and the text that contains them.
struct Source<'a> {
    path: &'a Path,
    text: &'a str,
    accounts: &'a [Entry],
    postmaster: &'a Spanned<Role>,
    abuse: &'a Spanned<Role>,
    catch_all: &'a CatchAlls,
}

/// The keys of a configuration that are about accounts.
#[derive(Clone, Copy)]
pub(super) struct Keys<'a> {
    pub(super) accounts: &'a Accounts,
    pub(super) postmaster: &'a Spanned<Role>,
    pub(super) abuse: &'a Spanned<Role>,
    pub(super) catch_all: &'a CatchAlls,
}

/// Makes the table from `keys`, which were read from `text`, the content of the file at `path`;
/// also returns warnings for the user. `read_text` reads the accounts file, if there is one.
pub(super) fn table(
    keys: Keys<'_>,
    (path, text): (&Path, &str),
    read_text: &Read<'_>,
) -> Result<Option<(Table, Vec<String>)>, Error> {
    let source = Source {
        path,
        text,
        accounts: &[],
        postmaster: keys.postmaster,
        abuse: keys.abuse,
        catch_all: keys.catch_all,
    };
    match keys.accounts {
        Accounts::Off => {
            source.check_unset("it needs accounts, and there are none")?;
            Ok(None)
        }
        Accounts::List(List(accounts)) => Source { accounts, ..source }.table().map(Some),
        Accounts::File(file) => {
            let file_path = file.get_ref();
            let reason = format!("it belongs in the file {}", OneLine(file_path));
            source.check_unset(&reason)?;
            let path = path.parent().unwrap_or(path).join(file_path);
            let text = read_text(&path).map_err(|error| {
                let reason = format!("cannot read {}: {error}", OneLine(&path));
                source.error(file.span().start, "accounts".to_owned(), reason)
            })?;
            read(&path, &text).map(Some)
        }
    }
}

/// Makes a table from `text`, the content of the accounts file at `path`.
fn read(path: &Path, text: &str) -> Result<(Table, Vec<String>), Error> {
    let file: File =
        toml::from_str(text).map_err(|error| text::mistakes::<File>(path, text, error))?;
    let List(accounts) = file.accounts.ok_or_else(|| Error::Value {
        path: path.to_owned(),
        line: 1,
        key: None,
        reason: NO_ACCOUNT.to_owned(),
    })?;
    let source = Source {
        path,
        text,
        accounts: &accounts,
        postmaster: &file.postmaster,
        abuse: &file.abuse,
        catch_all: &file.catch_all,
    };
    source.table()
}

impl Source<'_> {
    fn table(&self) -> Result<(Table, Vec<String>), Error> {
        let mut table = Table::default();
        for entry in self.accounts {
            let added = table.add(entry.account());
            self.check(added, &entry.address, || "accounts.address".to_owned())?;
        }
        for entry in self.accounts {
            let Name(account) = entry.address.get_ref();
            for alias in &entry.aliases {
                let added = table.add_alias(&alias.get_ref().0, account);
                self.check(added, alias, || format!("accounts.aliases of {account}"))?;
            }
        }
        if let Role::Account(Name(account)) = self.postmaster.get_ref() {
            let set = table.set_postmaster(account);
            self.check(set, self.postmaster, || "postmaster".to_owned())?;
        }
        if let Role::Account(Name(account)) = self.abuse.get_ref() {
            let set = table.set_abuse(account);
            self.check(set, self.abuse, || "abuse".to_owned())?;
        }
        for (domain, account) in self.catch_all {
            let key = || format!("catch_all.{domain}");
            let which = if domain == "*" {
                CatchAll::AllDomains
            } else {
                let host = HostName::try_from(domain.clone());
                let host =
                    host.map_err(|reason| self.error(account.span().start, key(), reason))?;
                CatchAll::Domain(host.0.as_str().to_ascii_lowercase())
            };
            let set = table.set_catch_all(which, &account.get_ref().0);
            self.check(set, account, key)?;
        }
        let warnings = self.warnings(&table);
        Ok((table, warnings))
    }

    /// Warnings about accounts that can be used.
    fn warnings(&self, table: &Table) -> Vec<String> {
        let path = self.path.display();
        let mut warnings = Vec::new();
        if let Ok(metadata) = std::fs::metadata(self.path) {
            let mode = metadata.mode() & 0o777;
            // Packages let the daemon's group read a file that belongs to root.
            let is_for_group = metadata.uid() == 0 && metadata.gid() != 0;
            let others = if is_for_group { 0o007 } else { 0o077 };
            if mode & others != 0 {
                warnings.push(format!(
                    "{path} contains password hashes, and other users can read it (mode \
                     {mode:o}): run chmod 600 {path}"
                ));
            }
        }
        let work = |account: &accounts::Account| account.password.hash.cost().work();
        let accounts = || table.accounts().iter();
        if let Some(weak) = accounts().find(|account| work(account) < limits::HASH_WORK_WEAK) {
            warnings.push(format!(
                "{path}: the password hash of {} has a low cost and is easy to guess: run \
                 `facteur hash-password` again",
                weak.mailbox
            ));
        }
        if let Some(slow) = accounts().find(|account| work(account) > limits::HASH_WORK_SLOW) {
            warnings.push(format!(
                "{path}: the password hash of {} takes more than a second to verify, and every \
                 refused login takes as long, whatever the user name: run `facteur hash-password` \
                 again",
                slow.mailbox
            ));
        }
        let strongest = accounts().map(work).max();
        if let Some(other) = accounts().find(|account| Some(work(account)) != strongest) {
            warnings.push(format!(
                "{path}: the password hash of {} has a lower cost than others: the time that a \
                 refused login takes reveals that this account exists",
                other.mailbox
            ));
        }
        let form = |account: &accounts::Account| {
            let scram = account.password.scram.as_ref();
            scram
                .map(ScramSecret::parameters)
                .map(|(salt, iterations)| (salt.len(), iterations))
        };
        let most = limits::SCRAM_ITERATIONS_CYRUS_MAX;
        let is_refused =
            |account: &&accounts::Account| form(account).is_some_and(|(_, times)| times > most);
        if let Some(dear) = accounts().find(is_refused) {
            warnings.push(format!(
                "{path}: the SCRAM secret of {} has more than {most} iterations, so clients that \
                 use Cyrus SASL, such as Postfix, cannot log in: run `facteur hash-password` \
                 again",
                dear.mailbox
            ));
        }
        let first = accounts().find_map(form);
        let is_other =
            |account: &&accounts::Account| form(account).is_some_and(|form| Some(form) != first);
        if let Some(other) = accounts().find(is_other) {
            warnings.push(format!(
                "{path}: the SCRAM secret of {} has a different number of iterations or length \
                 of salt than others, which reveals that this account exists: run `facteur \
                 hash-password` again",
                other.mailbox
            ));
        }
        warnings
    }

    /// Checks that no other key about accounts is set: there are no accounts, or they have a file.
    fn check_unset(&self, reason: &str) -> Result<(), Error> {
        let is_set = |role: &Spanned<Role>| *role.get_ref() != Role::Auto;
        let (place, key) = if is_set(self.postmaster) {
            (self.postmaster.span(), "postmaster")
        } else if is_set(self.abuse) {
            (self.abuse.span(), "abuse")
        } else if let Some(account) = self.catch_all.values().next() {
            (account.span(), "catch_all")
        } else {
            return Ok(());
        };
        Err(self.error(place.start, key.to_owned(), reason.to_owned()))
    }

    fn check<T>(
        &self,
        step: Result<(), TableError>,
        place: &Spanned<T>,
        key: impl FnOnce() -> String,
    ) -> Result<(), Error> {
        step.map_err(|error| self.error(place.span().start, key(), error.to_string()))
    }

    fn error(&self, position: usize, key: String, reason: String) -> Error {
        Error::Value {
            path: self.path.to_owned(),
            line: text::line_at(self.text, position),
            key: Some(key),
            reason,
        }
    }
}

impl Entry {
    fn account(&self) -> accounts::Account {
        let addresses = self.send_as.iter().map(|sender| match sender {
            Sender::Address(name) => Some(name.clone()),
            Sender::Anyone => None,
        });
        let addresses: Option<Vec<MailboxName>> = addresses.collect();
        accounts::Account {
            mailbox: self.address.get_ref().0.clone(),
            password: self.password.0.clone(),
            send_as: addresses.map_or(SendAs::Anyone, SendAs::Addresses),
        }
    }
}

#[cfg(test)]
mod tests;
