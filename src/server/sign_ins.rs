//! Browsers that have logged in with a form.
//!
//! Each has a token of random octets in a cookie, which stands for its password. Only the hash of a
//! token is kept, and only in memory: nothing that is kept here logs anybody in, and a restart ends
//! all of them. Whether the account still has the password is asked each time.
//!
//! # Failures
//! None: if there are too many, the one that began first ends, first of all among those of the same
//! mailbox, so that no account can end the logins of others.

use std::collections::HashMap;
use std::time::Instant;

use parking_lot::Mutex;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::accounts::{Accounts, Login};
use crate::clock::Clock;
use crate::http::{Token, limits::TOKEN_OCTETS};

use super::limits;

/// See the module.
#[derive(Debug)]
pub struct SignIns {
    logins: Mutex<HashMap<Hash, Entry>>,
    clock: Clock,
}

/// The hash of a token, which has so many random bits that it needs no salt.
type Hash = [u8; SHA256_OUTPUT_LEN];

#[derive(Debug)]
struct Entry {
    login: Login,
    /// When it ends.
    end: Instant,
}

impl SignIns {
    /// Nobody has logged in yet.
    pub fn none(clock: Clock) -> Self {
        Self {
            logins: Mutex::default(),
            clock,
        }
    }

    /// Begins a login; `None` if the system has no random numbers.
    pub(super) fn begin(&self, login: &Login) -> Option<Token> {
        let mut octets = [0; TOKEN_OCTETS];
        SystemRandom::new().fill(&mut octets).ok()?;
        let token = Token::new(octets);
        let hash = hash(&token)?;
        let now = self.clock.now();
        let entry = Entry {
            login: login.clone(),
            end: now.checked_add(limits::SIGN_IN_TIME).unwrap_or(now),
        };
        let mut logins = self.logins.lock();
        logins.retain(|_, entry| now < entry.end);
        let is_same = |entry: &Entry| entry.login.mailbox() == login.mailbox();
        let n_same = logins.values().filter(|entry| is_same(entry)).count();
        if n_same >= limits::SIGN_INS_PER_ACCOUNT_MAX {
            end_oldest(&mut logins, is_same);
        }
        if logins.len() >= limits::SIGN_INS_MAX {
            end_oldest(&mut logins, |_| true);
        }
        logins.insert(hash, entry);
        drop(logins);
        Some(token)
    }

    /// The login that this token stands for, if it has not ended and `accounts` still has it.
    pub(super) fn find(&self, token: &Token, accounts: &Accounts) -> Option<Login> {
        let now = self.clock.now();
        let hash = hash(token)?;
        let mut logins = self.logins.lock();
        let entry = logins.get_mut(&hash)?;
        if now < entry.end && accounts.still_holds(&mut entry.login) {
            return Some(entry.login.clone());
        }
        logins.remove(&hash);
        None
    }

    /// Ends the login of this token, if there is one.
    pub(super) fn end(&self, token: &Token) {
        if let Some(hash) = hash(token) {
            self.logins.lock().remove(&hash);
        }
    }
}

/// Ends the login that began first, of those that are `wanted`.
fn end_oldest(logins: &mut HashMap<Hash, Entry>, wanted: impl Fn(&Entry) -> bool) {
    let wanted = logins.iter().filter(|(_, entry)| wanted(entry));
    let oldest = wanted.min_by_key(|(_, entry)| entry.end);
    if let Some(oldest) = oldest.map(|(hash, _)| *hash) {
        logins.remove(&oldest);
    }
}

fn hash(token: &Token) -> Option<Hash> {
    digest(&SHA256, token.expose()).as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;
    use std::sync::Arc;
    use std::time::Duration;

    use crate::accounts::{Account, SendAs, Settings, Standing, StoredPassword, Table, Verdict};
    use crate::clock::Hands;
    use crate::mail::{Address, Charset, Credentials, Domain, MailboxName, Secret};

    use super::*;

    /// The hash of "password", and another one.
    const HASHES: [&str; 2] = [
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGj/4",
    ];

    const MOMENT: Duration = Duration::from_millis(1);

    struct Case {
        accounts: Accounts,
        sign_ins: SignIns,
        hands: Arc<Hands>,
    }

    impl Case {
        /// The accounts "ann" and "bob".
        fn new() -> Self {
            let settings = Settings {
                hostname: Domain::localhost(),
                domains: Vec::new(),
                subaddress: None,
            };
            let hands = Arc::new(Hands::new());
            Self {
                accounts: Accounts::closed(&settings, table(HASHES[0]), NonZeroUsize::MIN),
                sign_ins: SignIns::none(Clock::turned_by(Arc::clone(&hands))),
                hands,
            }
        }

        fn login(&self, user: &str) -> Login {
            let credentials = Credentials {
                user: format!("{user}@example.com"),
                password: Secret::new("password".to_owned()),
            };
            let peer = [127, 0, 0, 1].into();
            let verdict = self
                .accounts
                .verify(&credentials, (peer, Standing::Known), || true);
            let Verdict::Accepted(login) = verdict else {
                panic!("{verdict:?}");
            };
            login
        }

        fn begin(&self, login: &Login) -> Token {
            self.hands.pass(MOMENT);
            self.sign_ins.begin(login).unwrap()
        }

        fn finds(&self, token: &Token) -> bool {
            self.sign_ins.find(token, &self.accounts).is_some()
        }

        /// An end that is later than all others.
        fn late_end(&self, at: usize) -> Instant {
            let later = MOMENT.saturating_mul(u32::try_from(at).unwrap());
            let later = limits::SIGN_IN_TIME.saturating_add(later);
            self.sign_ins.clock.now().checked_add(later).unwrap()
        }

        fn replace(&self, hash: &str) {
            let replaced = self.accounts.replace(table(hash), NonZeroUsize::MIN);
            replaced.unwrap();
        }
    }

    fn table(hash: &str) -> Table {
        let mut table = Table::default();
        for name in ["ann", "bob"] {
            let address = Address::parse(&format!("{name}@example.com"), Charset::Ascii).unwrap();
            let added = table.add(Account {
                mailbox: MailboxName::from_address(&address).unwrap(),
                password: StoredPassword::parse(&[hash]).unwrap(),
                send_as: SendAs::default(),
            });
            added.unwrap();
        }
        table
    }

    #[test]
    fn a_token_stands_for_its_login_until_it_ends() {
        let case = Case::new();
        let (ann, bob) = (case.login("ann"), case.login("bob"));
        let tokens = [case.begin(&ann), case.begin(&bob), case.begin(&bob)];
        let found = case.sign_ins.find(&tokens[0], &case.accounts);
        assert_eq!(found, Some(ann));
        assert!(tokens[1] != tokens[2] && case.finds(&tokens[1]) && case.finds(&tokens[2]));
        assert!(!case.finds(&Token::new([0; TOKEN_OCTETS])));
        case.sign_ins.end(&tokens[1]);
        let found = tokens.each_ref().map(|token| case.finds(token));
        assert_eq!(found, [true, false, true]);
        case.hands
            .pass(limits::SIGN_IN_TIME.saturating_sub(2 * MOMENT));
        assert!(!case.finds(&tokens[0]) && case.finds(&tokens[2]));
        case.hands.pass(2 * MOMENT);
        assert!(!case.finds(&tokens[2]));
        assert!(case.sign_ins.logins.lock().is_empty());
    }

    #[test]
    fn a_changed_password_ends_it_for_good() {
        let case = Case::new();
        let token = case.begin(&case.login("ann"));
        case.replace(HASHES[0]);
        assert!(case.finds(&token), "the same accounts again");
        case.replace(HASHES[1]);
        assert!(!case.finds(&token));
        case.replace(HASHES[0]);
        assert!(!case.finds(&token), "it has ended");
    }

    /// SEC-8.
    #[test]
    fn an_account_with_too_many_ends_its_own_first_one() {
        let case = Case::new();
        let (ann, bob) = (case.login("ann"), case.login("bob"));
        let of_ann = case.begin(&ann);
        let of_bob: Vec<Token> = (0..=limits::SIGN_INS_PER_ACCOUNT_MAX)
            .map(|_| case.begin(&bob))
            .collect();
        let found = of_bob.iter().map(|token| case.finds(token));
        assert!(found.eq((0..of_bob.len()).map(|at| at > 0)));
        assert!(case.finds(&of_ann));
        // Those of other accounts, of which there are not enough here.
        let other = |at: usize| Entry {
            login: Login::Anyone,
            end: case.late_end(at),
        };
        let mut logins = case.sign_ins.logins.lock();
        for at in logins.len()..limits::SIGN_INS_MAX {
            let [low, high] = [at % 256, at / 256].map(|it| u8::try_from(it).unwrap());
            let mut hash = [0; SHA256_OUTPUT_LEN];
            hash[..2].copy_from_slice(&[low, high]);
            logins.insert(hash, other(at));
        }
        drop(logins);
        let last = case.begin(&ann);
        assert!(case.finds(&last) && !case.finds(&of_ann));
        assert_eq!(case.sign_ins.logins.lock().len(), limits::SIGN_INS_MAX);
    }

    /// SEC-7.
    #[test]
    fn debug_shows_no_token() {
        let case = Case::new();
        let token = case.begin(&case.login("ann"));
        let shown = format!("{:?}", case.sign_ins);
        let octets = format!("{:?}", token.expose());
        assert!(!shown.contains(&octets) && !shown.contains("argon2"));
    }
}
