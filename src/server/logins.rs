//! Logins of both protocols: verified, told to the log, and answered late when they were wrong.
//!
//! A refusal waits the longer the more of them its address has had of late (SEC-11); who has
//! guessed wrong and who has misspelt a name wait alike. A login that is right does not wait.

use std::sync::Arc;
use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use parking_lot::Mutex;
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::accounts::{Accounts, Failures, Key, Login, Verdict};
use crate::clock::Clock;
use crate::mail::Credentials;
use crate::mail::sasl::scram::{Attempt, Parameters};

use super::connection::{Connection, Interruption};
use super::limits;
use super::maillog::{self, SessionId};

/// Verifies who logs in.
#[derive(Debug)]
pub struct Logins {
    accounts: Arc<Accounts>,
    failures: Mutex<Failures>,
    clock: Clock,
}

impl Logins {
    /// Asks `accounts`. The first refusal of an address is told after `first_delay`; zero switches
    /// all delays off.
    pub fn new(accounts: Arc<Accounts>, first_delay: Duration, clock: Clock) -> Self {
        Self {
            accounts,
            failures: Mutex::new(Failures::new(first_delay)),
            clock,
        }
    }

    /// Verifies a password, and waits before a refusal.
    ///
    /// # Errors
    /// [`Interruption`]: the session, or the daemon, is to end meanwhile.
    pub(super) fn check_password(
        &self,
        connection: &Connection,
        id: SessionId,
        credentials: &Credentials,
    ) -> Result<Verdict, Interruption> {
        let verdict = self.accounts.verify(credentials);
        match &verdict {
            Verdict::Accepted(_) => self.accept(connection),
            Verdict::Refused => self.refuse(connection, id, &credentials.user)?,
            Verdict::Busy => {
                connection.counters().logins(id.service).busy.increment();
                maillog::login_refused(id, connection.peer(), &credentials.user, maillog::BUSY);
            }
        }
        Ok(verdict)
    }

    /// What a client of SCRAM needs for its proof; `None` when the system has no random numbers.
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

    /// Checks a proof of SCRAM: gives the server's signature, and who has logged in. Waits before a
    /// refusal, which is `None`.
    ///
    /// # Errors
    /// [`Interruption`]: the session, or the daemon, is to end meanwhile.
    pub(super) fn check_proof(
        &self,
        connection: &Connection,
        id: SessionId,
        attempt: &Attempt,
    ) -> Result<Option<(Key, Login)>, Interruption> {
        let message = attempt.auth_message.as_bytes();
        let accepted = self
            .accounts
            .verify_proof(&attempt.user, message, &attempt.proof);
        match &accepted {
            Some(_) => self.accept(connection),
            None => self.refuse(connection, id, &attempt.user)?,
        }
        Ok(accepted)
    }

    fn accept(&self, connection: &Connection) {
        connection.logged_in();
        self.failures.lock().forget(connection.peer());
    }

    fn refuse(
        &self,
        connection: &Connection,
        id: SessionId,
        user: &str,
    ) -> Result<(), Interruption> {
        let peer = connection.peer();
        connection.counters().logins(id.service).refused.increment();
        maillog::login_refused(id, peer, user, maillog::WRONG_PASSWORD);
        let delay = self.failures.lock().record(peer, self.clock.now());
        connection.pause(delay)
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::num::NonZeroUsize;

    use crate::accounts::{Account, SendAs, Settings, StoredPassword, Table};
    use crate::mail::{Address, Charset, Domain, MailboxName, Secret};

    use super::super::connection::Timeouts;
    use super::super::maillog::Service;
    use super::super::registry::Registry;
    use super::super::shares::{Caps, PerAddress};
    use super::*;

    const FIRST_DELAY: Duration = Duration::from_millis(1);

    const ID: SessionId = SessionId {
        service: Service::Smtp,
        number: 1,
    };

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
        let stream = Arc::new(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
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

    /// SEC-11: each refusal is held back longer than the one before until a login is right, by
    /// either way to log in.
    #[test]
    fn refusals_are_remembered_until_a_login_is_right() {
        let (logins, connection) = (logins(), connection());
        let next_delay = || {
            let now = logins.clock.now();
            logins.failures.lock().record(connection.peer(), now)
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
            let accepted = logins.check_proof(&connection, ID, &attempt);
            accepted.unwrap().is_some()
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
    }
}
