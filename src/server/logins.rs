//! Logins of both protocols: verifies them, logs them, and delays the refusals.
//!
//! A refusal is delayed longer the more refusals its networks or the account have recently had
//! (SEC-11); a wrong guess and a misspelt name are delayed alike. A correct login is not delayed.
//! While too many refusals of a network are being delayed, its logins are not checked. Unknown
//! recipients are counted here too, because their refusals are also delayed (SEC-12). The numbers
//! and the rules are in [`Failures`].

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::accounts::{Accounts, Failures, Key, Login, Standing, Verdict};
use crate::clock::Clock;
use crate::mail::Credentials;
use crate::mail::sasl::scram::{Attempt, Parameters};

use super::connection::Connection;
use super::dialogue;
use super::limits;
use super::maillog::{self, Attempt as Attempted};
use super::session::{Interruption, SessionId};

/// Verifies logins.
#[derive(Debug)]
pub struct Logins {
    accounts: Arc<Accounts>,
    first_delay: Duration,
    failures: Mutex<Failures>,
    clock: Clock,
}

/// The result of a SCRAM proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// It is correct: the server's signature, and the login.
    Accepted(Key, Login),
    /// It is wrong, or there is no such user.
    Refused,
    /// It was not checked.
    Busy,
}

/// A refusal that is being delayed, as long as this exists.
struct Delayed<'a> {
    failures: &'a Mutex<Failures>,
    peer: IpAddr,
}

impl Drop for Delayed<'_> {
    fn drop(&mut self) {
        self.failures.lock().told(self.peer);
    }
}

impl Logins {
    /// Makes logins that ask `accounts`. The first refusal of an address is delayed by
    /// `first_delay`; zero switches all delays off.
    pub fn new(accounts: Arc<Accounts>, first_delay: Duration, clock: Clock) -> Self {
        Self {
            accounts,
            first_delay,
            failures: Mutex::new(Failures::new(first_delay)),
            clock,
        }
    }

    /// Verifies a password, and delays a refusal.
    ///
    /// # Errors
    /// [`Interruption`]: the session, or the daemon, must end during the delay.
    pub(super) fn check_password(
        &self,
        connection: &Connection,
        (id, mechanism): (SessionId, &'static str),
        credentials: &Credentials,
    ) -> Result<Verdict, Interruption> {
        let (peer, user) = (connection.peer(), &credentials.user);
        let attempted = Attempted {
            id,
            mechanism,
            user,
        };
        let Some(standing) = self.admit(connection, attempted)? else {
            return Ok(Verdict::Busy);
        };
        // Other logins may have been refused while this one waited for its turn.
        let mut why = maillog::BUSY;
        let may_go = || {
            let may_go = self.failures.lock().may_try(peer, standing);
            if !may_go {
                why = maillog::TOO_MANY_DELAYED;
            }
            may_go
        };
        let verdict = self.accounts.verify(credentials, (peer, standing), may_go);
        match &verdict {
            Verdict::Accepted(login) => self.accept(connection, user, login),
            Verdict::Refused => self.refuse(connection, attempted)?,
            Verdict::Busy => self.put_off(connection, attempted, why)?,
        }
        Ok(verdict)
    }

    /// What a SCRAM client needs for its proof; `None` if the system has no random numbers.
    pub(super) fn begin_scram(&self, user: &str) -> Option<Parameters> {
        let mut nonce = [0; limits::SCRAM_NONCE_OCTETS];
        SystemRandom::new().fill(&mut nonce).ok()?;
        let (salt, iterations) = self.accounts.scram_parameters(user);
        Some(Parameters {
            salt,
            iterations,
            nonce: STANDARD.encode(nonce),
        })
    }

    /// Checks a SCRAM proof, and delays a refusal.
    ///
    /// # Errors
    /// [`Interruption`]: the session, or the daemon, must end during the delay.
    pub(super) fn check_proof(
        &self,
        connection: &Connection,
        (id, mechanism): (SessionId, &'static str),
        attempt: &Attempt,
    ) -> Result<Proof, Interruption> {
        let user = &attempt.user;
        let attempted = Attempted {
            id,
            mechanism,
            user,
        };
        if self.admit(connection, attempted)?.is_none() {
            return Ok(Proof::Busy);
        }
        let message = attempt.auth_message.as_bytes();
        let proven = self.accounts.verify_proof(user, message, &attempt.proof);
        Ok(if let Some((signature, login)) = proven {
            self.accept(connection, user, &login);
            Proof::Accepted(signature, login)
        } else {
            self.refuse(connection, attempted)?;
            Proof::Refused
        })
    }

    /// Counts a recipient that does not exist, and returns how long to delay the reply. In open
    /// mode there are no names to be collected.
    pub(super) fn unknown_recipient(&self, peer: IpAddr) -> Duration {
        if self.accounts.is_open() {
            return Duration::ZERO;
        }
        let now = self.clock.now();
        self.failures.lock().unknown_recipient(peer, now)
    }

    /// Returns the client's standing with the account, or, after a delay, `None`: do not check the
    /// login.
    fn admit(
        &self,
        connection: &Connection,
        attempted: Attempted<'_>,
    ) -> Result<Option<Standing>, Interruption> {
        let peer = connection.peer();
        let failures = self.failures.lock();
        let standing = failures.standing(peer, attempted.user);
        let may_try = failures.may_try(peer, standing);
        drop(failures);
        if may_try {
            return Ok(Some(standing));
        }
        self.put_off(connection, attempted, maillog::TOO_MANY_DELAYED)?;
        Ok(None)
    }

    /// A login was not checked. Delays the client, which would otherwise retry immediately.
    fn put_off(
        &self,
        connection: &Connection,
        attempted: Attempted<'_>,
        why: &str,
    ) -> Result<(), Interruption> {
        let service = attempted.id.service;
        connection.counters().logins(service).busy.increment();
        dialogue::login_refused(connection, attempted, &why);
        connection.pause(self.first_delay)
    }

    fn accept(&self, connection: &Connection, user: &str, login: &Login) {
        connection.logged_in();
        match login {
            Login::Account(grant) => {
                let (peer, now) = (connection.peer(), self.clock.now());
                self.failures
                    .lock()
                    .accept(peer, user, grant.mailbox(), now);
            }
            // In open mode, no login is refused.
            Login::Anyone => {}
        }
    }

    fn refuse(
        &self,
        connection: &Connection,
        attempted: Attempted<'_>,
    ) -> Result<(), Interruption> {
        let (peer, user) = (connection.peer(), attempted.user);
        let service = attempted.id.service;
        connection.counters().logins(service).refused.increment();
        dialogue::login_refused(connection, attempted, &maillog::WRONG_PASSWORD);
        let delay = self.failures.lock().refuse(peer, user, self.clock.now());
        let delayed = Delayed {
            failures: &self.failures,
            peer,
        };
        let paused = connection.pause(delay);
        drop(delayed);
        paused
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::num::NonZeroUsize;

    use crate::accounts::{Account, SendAs, Settings, StoredPassword, Table};
    use crate::mail::{Address, Charset, Domain, MailboxName, Secret, Service};

    use super::super::deadlines::Timeouts;
    use super::super::registry::Registry;
    use super::super::shares::{Caps, PerAddress};
    use super::*;

    const FIRST_DELAY: Duration = Duration::from_millis(1);

    const ID: (SessionId, &str) = (
        SessionId {
            service: Service::Smtp,
            number: 1,
        },
        "PLAIN",
    );

    /// One account, "user", whose password is "password", and "pencil" for SCRAM as in RFC 7677 §3.
    fn logins() -> Logins {
        let password = StoredPassword::parse(&[
            "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
            "SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
             WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
             wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=",
        ]);
        let address = Address::parse("user@example.com", Charset::Ascii).unwrap();
        let mut table = Table::default();
        let added = table.add(Account {
            mailbox: MailboxName::from_address(&address).unwrap(),
            password: password.unwrap(),
            send_as: SendAs::default(),
        });
        added.unwrap();
        let settings = Settings {
            hostname: Domain::localhost(),
            domains: Vec::new(),
            subaddress: None,
        };
        let accounts = Accounts::closed(&settings, table, NonZeroUsize::MIN);
        Logins::new(Arc::new(accounts), FIRST_DELAY, Clock::system())
    }

    fn connection() -> Connection {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = Arc::new(stream.into());
        let caps = Caps {
            total: 1,
            per_address: PerAddress::Scaled,
        };
        let registry = Arc::new(Registry::new(caps, limits::IN_FLIGHT_OCTETS));
        let peer = [127, 0, 0, 1].into();
        let ticket = registry.admit(peer, &stream).unwrap();
        let timeouts = Timeouts {
            idle: Duration::from_mins(1),
            session: None,
        };
        Connection::new(stream, peer, ticket, Clock::system(), timeouts).unwrap()
    }

    /// SEC-11: each refusal is delayed longer than the previous one until a login is correct, with
    /// both ways to log in.
    #[test]
    fn refusals_are_remembered_until_a_login_is_right() {
        let (logins, connection) = (logins(), connection());
        let next_delay = || {
            let now = logins.clock.now();
            let mut failures = logins.failures.lock();
            let delay = failures.refuse(connection.peer(), "user", now);
            failures.told(connection.peer());
            delay
        };
        let password = |password: &str| {
            let credentials = Credentials {
                user: "user".to_owned(),
                password: Secret::new(password.to_owned()),
            };
            let verdict = logins.check_password(&connection, ID, &credentials);
            matches!(verdict.unwrap(), Verdict::Accepted(_))
        };
        let proof = |auth_message: &str| {
            let proof = STANDARD.decode("dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
            let attempt = Attempt {
                user: "user".to_owned(),
                auth_message: auth_message.to_owned(),
                proof: proof.unwrap().try_into().unwrap(),
            };
            let proven = logins.check_proof(&connection, ID, &attempt);
            matches!(proven.unwrap(), Proof::Accepted(..))
        };
        let message = "n=user,r=rOprNGfwEbeRWgbNEkqO,\
                       r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                       s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096,\
                       c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
        assert!(!password("wrong"));
        assert!(!proof("another message"));
        assert_eq!(next_delay(), 4 * FIRST_DELAY);
        assert!(password("password"));
        assert_eq!(next_delay(), FIRST_DELAY);
        assert!(!password("wrong"));
        assert!(proof(message));
        assert_eq!(next_delay(), FIRST_DELAY);
        // The owner of one account cannot clear the failures of another.
        let of_another = || {
            let now = logins.clock.now();
            let mut failures = logins.failures.lock();
            let delay = failures.refuse(connection.peer(), "another", now);
            failures.told(connection.peer());
            delay
        };
        assert!(password("password"));
        assert_eq!(of_another(), FIRST_DELAY);
        assert!(password("password"));
        assert_eq!(of_another(), 2 * FIRST_DELAY);
        assert!(proof(message));
        assert_eq!(of_another(), 4 * FIRST_DELAY);
    }
    /// SEC-11: while too many refusals are being delayed, neither kind of login is checked; but a
    /// client that has logged in before is not affected.
    #[test]
    fn a_network_with_many_delayed_refusals_is_put_off() {
        let (logins, connection) = (logins(), connection());
        let password = || {
            let credentials = Credentials {
                user: "user".to_owned(),
                password: Secret::new("password".to_owned()),
            };
            logins
                .check_password(&connection, ID, &credentials)
                .unwrap()
        };
        let proof = || {
            let attempt = Attempt {
                user: "user".to_owned(),
                auth_message: String::new(),
                proof: [0; 32],
            };
            logins.check_proof(&connection, ID, &attempt).unwrap()
        };
        let now = logins.clock.now();
        for _ in 0..16 {
            let mut failures = logins.failures.lock();
            failures.refuse(connection.peer(), "user", now);
        }
        assert_eq!(password(), Verdict::Busy);
        assert_eq!(proof(), Proof::Busy);
        logins.failures.lock().told(connection.peer());
        assert!(matches!(password(), Verdict::Accepted(_)));
        logins
            .failures
            .lock()
            .refuse(connection.peer(), "user", now);
        assert!(matches!(password(), Verdict::Accepted(_)));
        assert_eq!(proof(), Proof::Refused);
    }
}
