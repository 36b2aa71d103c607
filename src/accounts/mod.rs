//! Accounts: who receives mail here, and who can fetch it.
//!
//! There are two modes. In *open* mode every address of every local domain is a mailbox, and any
//! password opens it; this mode is only for this
//! machine and the networks of `open_to`. In *closed* mode a [`Table`] of accounts
//! determines who receives mail, and passwords are verified. Both modes answer the same questions,
//! so a session never knows which mode it serves.
//!
//! # Invariants
//! - Nothing here logs, and no password and no stored form of one is ever shown.
//! - A user who does not exist causes as much work as one who does, and the answers are the same
//!   (SEC-11).
//! - Only as many passwords are verified at the same time as the constructor was given. A login
//!   that waits too long for its turn gets the answer that the service is busy, not that the
//!   password is wrong.
//!
//! # Known limits
//! - Accounts whose hashes differ in cost can be distinguished by the time that a refusal takes,
//!   and the cheaper ones also from users who do not exist. Accounts whose SCRAM secrets have a
//!   different number of iterations from the first one's can be distinguished by what the server
//!   sends.
//! - The SCRAM data of users who do not exist is derived from the secret of the first account. If
//!   that secret changes, it changes for all of them at the same time, but not for the other
//!   accounts; and a person who knows that account's password can compute it.

#[cfg(test)]
mod alike;
mod failures;
pub mod limits;
mod password;
mod scram;
mod secret;
mod sketch;
mod table;
mod turns;
mod turnstile;

use std::net::IpAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use ring::{
    error::Unspecified,
    rand::{SecureRandom as _, SystemRandom},
};

use crate::mail::{
    Address, Credentials, Domain, ForwardPath, Grammar, MailboxName, Network, Secret,
};

pub use failures::Failures;
pub use password::{Cost, OutOfMemory, PasswordHash, StoredPassword};
pub use scram::{KEY_OCTETS, Key, ScramSecret};
pub use secret::SecretError;
pub use table::{Account, CatchAll, SendAs, Table, TableError};
pub use turns::Standing;

use table::{POSTMASTER, without_brackets};
use turnstile::Turnstile;

/// What the configuration says about addresses.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The domain of `<postmaster>` and of names without a domain.
    pub hostname: Domain,
    /// The local domains. In open mode an empty list means all; in closed mode those of the
    /// accounts are also local.
    pub domains: Vec<Domain>,
    /// The character between a mailbox and its sub-address, if sub-addresses are wanted.
    pub subaddress: Option<char>,
}

/// Decides who receives mail and who can log in.
#[derive(Debug)]
pub struct Accounts {
    hostname: String,
    /// In A-label form.
    domains: Vec<String>,
    subaddress: Option<char>,
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Open,
    Closed {
        table: RwLock<Arc<Table>>,
        /// How many tables there were before; changed while the lock of the table is held.
        generation: AtomicU64,
        /// Boxed, because it is large and open mode has none.
        turnstile: Box<Turnstile>,
    },
}

/// Where a recipient's address leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// To this mailbox.
    Mailbox(MailboxName),
    /// To a domain that is not local.
    NotLocal,
    /// Nowhere: no account has it, or the domain cannot exist.
    Unknown,
}

/// The meaning of a POP3 or AUTH user name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum UserName {
    /// An address.
    Address(ForwardPath),
    /// Only a local part, as it was written: the one mailbox that has it.
    LocalPart(String),
    /// Nothing that could be a user.
    Unknown,
}

/// The user who has logged in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// In open mode: the user that the user name says.
    Anyone,
    /// In closed mode: an account. Boxed, because sessions without a login do not need it.
    Account(Box<Grant>),
}

impl Login {
    /// The mailbox of the account; `None` in open mode.
    pub fn mailbox(&self) -> Option<&MailboxName> {
        match self {
            Self::Anyone => None,
            Self::Account(grant) => Some(&grant.mailbox),
        }
    }
}

/// The basis of a login: the account, with the password that it had at that time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    mailbox: MailboxName,
    password: StoredPassword,
    /// The generation of the table in which they were found last.
    generation: u64,
}

impl Grant {
    fn of(account: &Account, generation: u64) -> Box<Self> {
        Box::new(Self {
            mailbox: account.mailbox.clone(),
            password: account.password.clone(),
            generation,
        })
    }

    /// The mailbox of the account.
    pub fn mailbox(&self) -> &MailboxName {
        &self.mailbox
    }
}

/// Whether a password is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The password is right.
    Accepted(Login),
    /// The password is wrong, or there is no such user: both look the same.
    Refused,
    /// The password was not verified: too many others wait, or there is no memory. Ask the client
    /// to try again later.
    Busy,
}

/// New accounts were given in open mode: changing the mode takes a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenMode;

impl Accounts {
    /// Accounts in open mode.
    ///
    /// A domain without an A-label form cannot be local; the configuration refuses it first.
    pub fn open(settings: &Settings) -> Self {
        Self::in_mode(settings, Mode::Open)
    }

    /// Accounts in closed mode: those of `table`, with at most `verifications_max` passwords
    /// verified at the same time.
    pub fn closed(settings: &Settings, table: Table, verifications_max: NonZeroUsize) -> Self {
        let mode = Mode::Closed {
            table: RwLock::new(Arc::new(table)),
            generation: AtomicU64::new(0),
            turnstile: Box::new(Turnstile::new(
                verifications_max,
                limits::VERIFICATION_PATIENCE,
            )),
        };
        Self::in_mode(settings, mode)
    }

    fn in_mode(settings: &Settings, mode: Mode) -> Self {
        let a_label = |domain: &Domain| domain.to_a_label().ok();
        Self {
            hostname: a_label(&settings.hostname).unwrap_or_default(),
            domains: settings.domains.iter().filter_map(a_label).collect(),
            subaddress: settings.subaddress,
            mode,
        }
    }

    /// The listed local domains, in A-label form.
    pub fn domains(&self) -> &[String] {
        &self.domains
    }

    /// Whether every password opens every mailbox.
    pub fn is_open(&self) -> bool {
        matches!(self.mode, Mode::Open)
    }

    /// Uses `table` from now on, with at most `verifications_max` passwords verified at the same
    /// time. Logins in progress finish with the old table; earlier logins are checked at their next
    /// command: see [`still_holds`](Self::still_holds).
    ///
    /// # Errors
    /// [`OpenMode`]: nothing was changed; report that this takes a restart.
    pub fn replace(&self, table: Table, verifications_max: NonZeroUsize) -> Result<(), OpenMode> {
        match &self.mode {
            Mode::Open => Err(OpenMode),
            Mode::Closed {
                table: current,
                generation,
                turnstile,
            } => {
                let mut new = Arc::new(table);
                let mut current = current.write();
                std::mem::swap(&mut *current, &mut new);
                generation.fetch_add(1, Ordering::Release);
                drop(current);
                turnstile.set_max(verifications_max);
                Ok(())
            }
        }
    }

    /// The table of closed mode, as it is now.
    pub fn table(&self) -> Option<Arc<Table>> {
        self.current().map(|(table, _)| table)
    }

    /// The table of closed mode with its generation.
    fn current(&self) -> Option<(Arc<Table>, u64)> {
        match &self.mode {
            Mode::Open => None,
            Mode::Closed {
                table, generation, ..
            } => {
                let table = table.read();
                // It cannot change while this lock is held.
                let generation = generation.load(Ordering::Acquire);
                Some((Arc::clone(&table), generation))
            }
        }
    }

    /// Whether an earlier login is still valid: the account exists, and its password is the same.
    /// Unless the accounts are replaced, this reads only one number.
    pub fn still_holds(&self, login: &mut Login) -> bool {
        let (Mode::Closed { generation, .. }, Login::Account(grant)) = (&self.mode, login) else {
            return true;
        };
        if generation.load(Ordering::Acquire) == grant.generation {
            return true;
        }
        let Some((table, generation)) = self.current() else {
            return true;
        };
        grant.generation = generation;
        let account = table.account(&grant.mailbox);
        account.is_some_and(|account| account.password == grant.password)
    }

    /// Finds the mailbox that `path` leads to. Mail for `<postmaster>` (RFC 5321 §4.5.1) goes to
    /// the first of the listed domains, or to the host name if none is listed. `exists` is asked
    /// whether a mailbox exists, if in open mode its name could also be read as a sub-address, or
    /// if it might exist in another normalisation form, from before names were normalised.
    ///
    /// # Errors
    /// Every error of `exists`.
    pub fn resolve<E>(
        &self,
        path: &ForwardPath,
        exists: impl Fn(&MailboxName) -> Result<bool, E>,
    ) -> Result<Resolution, E> {
        let literal = match path {
            ForwardPath::Postmaster => {
                let domain = self.domains.first().unwrap_or(&self.hostname);
                MailboxName::from_canonical(POSTMASTER, domain)
            }
            ForwardPath::Address(address) => MailboxName::from_address(address).ok(),
        };
        let Some(literal) = literal else {
            return Ok(Resolution::Unknown);
        };
        let table = self.table();
        if !self.is_local(&literal, table.as_deref()) {
            return Ok(Resolution::NotLocal);
        }
        let base = self.without_subaddress(&literal);
        if let Some(table) = table {
            return match table.recipient(&literal, base.as_ref()) {
                Some(account) => as_it_is(&account.mailbox, "", exists).map(Resolution::Mailbox),
                None => Ok(Resolution::Unknown),
            };
        }
        let written = match path {
            ForwardPath::Postmaster => POSTMASTER,
            ForwardPath::Address(address) => address.local_part(),
        };
        let mailbox = as_it_is(&literal, written, &exists)?;
        match base {
            Some(base) if !exists(&mailbox)? => {
                let (written, _) = self
                    .subaddress
                    .and_then(|it| written.split_once(it))
                    .unzip();
                as_it_is(&base, written.unwrap_or_default(), exists).map(Resolution::Mailbox)
            }
            Some(_) | None => Ok(Resolution::Mailbox(mailbox)),
        }
    }

    /// Parses a user name as the client sent it. Only open mode needs it: in closed mode a
    /// [`Login`] has the mailbox.
    pub fn user(&self, name: &str) -> UserName {
        let name = without_brackets(name);
        if !name.contains('@') {
            return UserName::LocalPart(name.to_owned());
        }
        // The owner of `a..b@example.com` logs in with it, from any machine: a user name is only
        // looked up, and POP3 has no grammar for it.
        match Address::parse(name, Grammar::WIDEST) {
            Ok(address) => UserName::Address(ForwardPath::Address(address)),
            Err(_) => UserName::Unknown,
        }
    }

    /// Verifies a password. In open mode every password opens every mailbox.
    ///
    /// The user is the address of an account, in any case of letters, or only its local part if no
    /// other account has it; an alias is not a user. Blocks the thread while too many others
    /// verify: the networks of those who wait take turns, and known users come first. When the turn
    /// has come, `may_go` is asked whether the password is still to be verified.
    pub fn verify(
        &self,
        credentials: &Credentials,
        (peer, standing): (IpAddr, Standing),
        may_go: impl FnOnce() -> bool,
    ) -> Verdict {
        let (Mode::Closed { turnstile, .. }, Some((table, generation))) =
            (&self.mode, self.current())
        else {
            return Verdict::Accepted(Login::Anyone);
        };
        let account = table.user(&credentials.user);
        let hash = account.map_or(table.dummy(), |account| &account.password.hash);
        let Some(_pass) = turnstile.enter(Network::of(peer), standing) else {
            return Verdict::Busy;
        };
        if !may_go() {
            return Verdict::Busy;
        }
        match (hash.verify(&credentials.password), account) {
            (Ok(true), Some(account)) => {
                Verdict::Accepted(Login::Account(Grant::of(account, generation)))
            }
            (Ok(_), _) => Verdict::Refused,
            (Err(OutOfMemory), _) => Verdict::Busy,
        }
    }

    /// Whether SCRAM-SHA-256 can be offered: in closed mode, if every account has a secret for it.
    pub fn offers_scram(&self) -> bool {
        self.table().is_some_and(|table| table.has_scram())
    }

    /// The salt and the number of iterations that a client needs for its proof (RFC 5802 §5.1).
    ///
    /// A user who does not exist has them too, always the same, even after a restart. They are
    /// empty if SCRAM is not offered.
    pub fn scram_parameters(&self, user: &str) -> (Vec<u8>, u32) {
        let table = self.table();
        let scram = table.as_ref().and_then(|table| table.scram(user));
        scram.map_or_else(Default::default, |(secret, _)| secret.parameters())
    }

    /// Checks a client's proof (RFC 5802 §3): returns the server's signature for its last message,
    /// and the login; `None` if the proof is wrong or there is no such user, which takes as much
    /// work.
    pub fn verify_proof(
        &self,
        user: &str,
        auth_message: &[u8],
        proof: &Key,
    ) -> Option<(Key, Login)> {
        let (table, generation) = self.current()?;
        let (secret, account) = table.scram(user)?;
        let (is_right, signature) = secret.check(auth_message, proof);
        let account = account.filter(|_| is_right)?;
        Some((signature, Login::Account(Grant::of(account, generation))))
    }

    /// Whether a user who has logged in may send mail from `address` (RFC 6409 §6.1): one that
    /// leads to the account other than by a catch-all, or that the configuration allows. In open
    /// mode everybody may send from every address.
    pub fn may_send_as(&self, login: &Login, address: &Address) -> bool {
        let Some(table) = self.table() else {
            return true;
        };
        let account = login.mailbox().and_then(|mailbox| table.account(mailbox));
        let (Some(account), Ok(literal)) = (account, MailboxName::from_address(address)) else {
            return false;
        };
        let base = self.without_subaddress(&literal);
        let is_local = self.is_local(&literal, Some(&table));
        table.may_send_as(account, is_local, &literal, base.as_ref())
    }

    /// RFC 5321 §4.5.1: postmaster of any local name is accepted, and mail for this host is local.
    fn is_local(&self, mailbox: &MailboxName, table: Option<&Table>) -> bool {
        let domain = mailbox.domain();
        let has_domain = |table: &Table| table.has_domain(domain);
        (self.domains.is_empty() && table.is_none())
            || self.domains.iter().any(|local| local == domain)
            || table.is_some_and(has_domain)
            || (mailbox.local_part() == POSTMASTER && domain == self.hostname)
    }

    fn without_subaddress(&self, mailbox: &MailboxName) -> Option<MailboxName> {
        let (base, _) = mailbox.local_part().split_once(self.subaddress?)?;
        (!base.is_empty()).then(|| mailbox.with_local_part(base))
    }
}

/// The form in which a mailbox exists, or is to be created: the `written` form of its address if
/// that exists, otherwise the form of its name, otherwise decomposed.
///
/// # Errors
/// Every error of `exists`.
pub fn as_it_is<E>(
    mailbox: &MailboxName,
    written: &str,
    exists: impl Fn(&MailboxName) -> Result<bool, E>,
) -> Result<MailboxName, E> {
    let forms = mailbox.other_forms(written);
    let (as_written, others): (Vec<_>, Vec<_>) = forms
        .into_iter()
        .partition(|form| form.local_part() == written.to_ascii_lowercase());
    for form in as_written {
        if exists(&form)? {
            return Ok(form);
        }
    }
    for form in others {
        if !exists(mailbox)? && exists(&form)? {
            return Ok(form);
        }
    }
    Ok(mailbox.clone())
}

/// The secrets that are derived from a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    /// An argon2id hash.
    Hash,
    /// Also a secret for SCRAM-SHA-256.
    HashAndScram,
}

/// Why a password cannot be hashed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HashingError {
    /// It is empty.
    Empty,
    /// It has control characters, which not every mechanism can send.
    Control,
    /// It is to be used with SCRAM, and is not ASCII: clients prepare it in different ways.
    NotAscii,
    /// The system provides no random numbers or no memory.
    System,
}

impl std::fmt::Display for HashingError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Empty => "the password is empty",
            Self::Control => "the password has control characters, which not every client can send",
            Self::NotAscii => {
                "the password has characters that are not ASCII, which clients prepare for SCRAM \
                 in different ways: choose another, or leave SCRAM out"
            }
            Self::System => "the system provides no random numbers or not enough memory",
        })
    }
}

impl std::error::Error for HashingError {}

/// The line `password = …` of an account's configuration.
///
/// # Errors
/// [`HashingError`].
pub fn hash_password(password: &Secret, secrets: Secrets) -> Result<String, HashingError> {
    line_of(password, secrets, Cost::default())
}

fn line_of(password: &Secret, secrets: Secrets, cost: Cost) -> Result<String, HashingError> {
    let text = password.expose();
    if text.is_empty() {
        return Err(HashingError::Empty);
    }
    if text.chars().any(char::is_control) {
        return Err(HashingError::Control);
    }
    let hash = PasswordHash::create(password, cost, &new_salt()?);
    let hash = hash.map_err(|OutOfMemory| HashingError::System)?;
    let hash = hash.to_text();
    match (secrets, NonZeroU32::new(limits::SCRAM_ITERATIONS)) {
        (Secrets::HashAndScram, Some(iterations)) => {
            if !text.is_ascii() {
                return Err(HashingError::NotAscii);
            }
            let scram = ScramSecret::create(password, iterations, &new_salt()?);
            Ok(format!("password = [\"{hash}\", \"{}\"]", scram.to_text()))
        }
        (Secrets::Hash, _) | (Secrets::HashAndScram, None) => Ok(format!("password = \"{hash}\"")),
    }
}

/// Generates a random password that nobody can guess.
///
/// # Errors
/// [`HashingError::System`].
pub fn generate_password() -> Result<Secret, HashingError> {
    // Each octet selects one of 32 characters, none of which looks like another.
    const CHARACTERS: &[u8; 32] = b"abcdefghijkmnopqrstuvwxyz2345678";
    let mut octets = [0; limits::GENERATED_CHARACTERS];
    let drawn = SystemRandom::new().fill(&mut octets);
    drawn.map_err(|Unspecified| HashingError::System)?;
    let mut text = String::new();
    for (position, octet) in octets.into_iter().enumerate() {
        if position > 0 && position.is_multiple_of(limits::GENERATED_GROUP) {
            text.push('-');
        }
        let character = CHARACTERS.get(usize::from(octet % 32));
        text.extend(character.copied().map(char::from));
    }
    Ok(Secret::new(text))
}

fn new_salt() -> Result<[u8; limits::SALT_OCTETS], HashingError> {
    let mut salt = [0; limits::SALT_OCTETS];
    let drawn = SystemRandom::new().fill(&mut salt);
    drawn.map_err(|Unspecified| HashingError::System)?;
    Ok(salt)
}

#[cfg(test)]
mod tests;
