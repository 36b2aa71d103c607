//! Passwords that were right a moment ago.
//!
//! A client of HTTP sends its password with every request, and each verification costs some
//! milliseconds and megabytes by design (argon2id). So a password that was right is remembered for
//! some minutes, as its HMAC under a key that exists only in this process: neither the password nor
//! anything that helps to guess it is kept. What is remembered is only that it was right; whether
//! the account still has it is asked each time.
//!
//! Wrong passwords are not remembered, so guesses cost what they cost at the other protocols
//! (SEC-11).

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;
use ring::digest::SHA256_OUTPUT_LEN;
use ring::hmac;
use ring::rand::SystemRandom;

use crate::accounts::{Accounts, Login};
use crate::clock::Clock;
use crate::mail::Credentials;

use super::limits;

/// See the module.
#[derive(Debug)]
pub struct Remembered {
    /// `None` if the system has no random numbers; then nothing is remembered.
    key: Option<hmac::Key>,
    logins: Mutex<HashMap<Proof, Entry>>,
    clock: Clock,
}

/// The HMAC of a user name and a password.
type Proof = [u8; SHA256_OUTPUT_LEN];

#[derive(Debug)]
struct Entry {
    login: Login,
    /// When it is forgotten.
    end: Instant,
}

impl Remembered {
    /// Remembers nothing yet.
    pub fn nothing(clock: Clock) -> Self {
        let key = hmac::Key::generate(hmac::HMAC_SHA256, &SystemRandom::new());
        Self {
            key: key.ok(),
            logins: Mutex::default(),
            clock,
        }
    }

    /// The login that these credentials had, if that is not long ago and `accounts` still has it.
    pub(super) fn find(&self, credentials: &Credentials, accounts: &Accounts) -> Option<Login> {
        let now = self.clock.now();
        let proof = self.proof(credentials)?;
        let mut logins = self.logins.lock();
        let entry = logins.get_mut(&proof)?;
        if now < entry.end && accounts.still_holds(&mut entry.login) {
            return Some(entry.login.clone());
        }
        logins.remove(&proof);
        None
    }

    /// Remembers that these credentials were right. If too many are remembered, the oldest one is
    /// forgotten.
    pub(super) fn add(&self, credentials: &Credentials, login: &Login) {
        let now = self.clock.now();
        let Some(proof) = self.proof(credentials) else {
            return;
        };
        let entry = Entry {
            login: login.clone(),
            end: now.checked_add(limits::REMEMBERED_TIME).unwrap_or(now),
        };
        let mut logins = self.logins.lock();
        if logins.len() >= limits::REMEMBERED_MAX {
            logins.retain(|_, entry| now < entry.end);
        }
        if logins.len() >= limits::REMEMBERED_MAX {
            let oldest = logins.iter().min_by_key(|(_, entry)| entry.end);
            if let Some(oldest) = oldest.map(|(proof, _)| *proof) {
                logins.remove(&oldest);
            }
        }
        logins.insert(proof, entry);
    }

    fn proof(&self, credentials: &Credentials) -> Option<Proof> {
        let mut context = hmac::Context::with_key(self.key.as_ref()?);
        context.update(credentials.user.as_bytes());
        // No user name has it, so no other user and password have the same octets.
        context.update(&[0]);
        context.update(credentials.password.expose().as_bytes());
        context.sign().as_ref().try_into().ok()
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::num::NonZeroUsize;
    use std::sync::Arc;
    use std::time::Duration;

    use crate::accounts::{Account, SendAs, Settings, Standing, StoredPassword, Table, Verdict};
    use crate::clock::Hands;
    use crate::mail::{Address, Charset, Domain, MailboxName, Secret};

    use super::*;

    /// The hash of "password", and another one.
    const HASHES: [&str; 2] = [
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGj/4",
    ];

    const PEER: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

    const MOMENT: Duration = Duration::from_millis(1);

    struct Case {
        accounts: Accounts,
        remembered: Remembered,
        hands: Arc<Hands>,
        login: Login,
    }

    impl Case {
        /// The account "user", which has logged in.
        fn new() -> Self {
            let settings = Settings {
                hostname: Domain::localhost(),
                domains: Vec::new(),
                subaddress: None,
            };
            let accounts = Accounts::closed(&settings, table(HASHES[0]), NonZeroUsize::MIN);
            let verdict =
                accounts.verify(&credentials("password"), (PEER, Standing::Known), || true);
            let Verdict::Accepted(login) = verdict else {
                panic!("{verdict:?}");
            };
            let hands = Arc::new(Hands::new());
            Self {
                accounts,
                remembered: Remembered::nothing(Clock::turned_by(Arc::clone(&hands))),
                hands,
                login,
            }
        }

        fn add(&self, password: &str) {
            self.remembered.add(&credentials(password), &self.login);
        }

        fn finds(&self, password: &str) -> bool {
            let found = self.remembered.find(&credentials(password), &self.accounts);
            assert!(found.as_ref().is_none_or(|found| *found == self.login));
            found.is_some()
        }

        fn replace(&self, hash: &str) {
            let replaced = self.accounts.replace(table(hash), NonZeroUsize::MIN);
            replaced.unwrap();
        }
    }

    fn table(hash: &str) -> Table {
        let address = Address::parse("user@example.com", Charset::Ascii).unwrap();
        let mut table = Table::default();
        let added = table.add(Account {
            mailbox: MailboxName::from_address(&address).unwrap(),
            password: StoredPassword::parse(&[hash]).unwrap(),
            send_as: SendAs::default(),
        });
        added.unwrap();
        table
    }

    fn credentials(password: &str) -> Credentials {
        Credentials {
            user: "user@example.com".to_owned(),
            password: Secret::new(password.to_owned()),
        }
    }

    #[test]
    fn only_the_same_user_and_password_are_found_and_only_for_a_while() {
        let case = Case::new();
        assert!(!case.finds("password"));
        case.add("password");
        assert!(case.finds("password"));
        for wrong in ["Password", "", "passwor", "password "] {
            assert!(!case.finds(wrong), "{wrong}");
        }
        let another = Credentials {
            user: "user@example.co".to_owned(),
            ..credentials("mpassword")
        };
        assert_eq!(case.remembered.find(&another, &case.accounts), None);
        let before = limits::REMEMBERED_TIME.saturating_sub(MOMENT);
        case.hands.pass(before);
        assert!(case.finds("password"));
        case.hands.pass(MOMENT);
        assert!(!case.finds("password"));
        assert!(case.remembered.logins.lock().is_empty());
    }

    #[test]
    fn a_password_that_was_changed_is_not_found() {
        let case = Case::new();
        case.add("password");
        case.replace(HASHES[0]);
        let found = case
            .remembered
            .find(&credentials("password"), &case.accounts);
        assert!(found.is_some(), "the same accounts again");
        case.replace(HASHES[1]);
        assert!(!case.finds("password"));
        case.replace(HASHES[0]);
        assert!(!case.finds("password"), "it was forgotten");
    }

    /// SEC-8.
    #[test]
    fn the_oldest_is_forgotten_when_there_are_too_many() {
        let case = Case::new();
        for password in 0..=limits::REMEMBERED_MAX {
            case.add(&password.to_string());
            case.hands.pass(MOMENT);
        }
        let last = limits::REMEMBERED_MAX.to_string();
        assert!(!case.finds("0") && case.finds("1") && case.finds(&last));
        assert_eq!(case.remembered.logins.lock().len(), limits::REMEMBERED_MAX);
        // Those whose time is over go first, and all of them.
        case.hands.pass(limits::REMEMBERED_TIME);
        case.add("password");
        assert_eq!(case.remembered.logins.lock().len(), 1);
    }

    /// SEC-7.
    #[test]
    fn debug_shows_no_password() {
        let case = Case::new();
        case.add("password");
        let shown = format!("{:?}", case.remembered);
        assert!(
            !shown.contains("argon2") && !shown.contains("\"password"),
            "{shown}"
        );
    }
}
