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
            Verdict::Accepted(_) => self.failures.lock().forget(connection.peer()),
            Verdict::Refused => self.refuse(connection, id, &credentials.user)?,
            Verdict::Busy => {
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
            Some(_) => self.failures.lock().forget(connection.peer()),
            None => self.refuse(connection, id, &attempt.user)?,
        }
        Ok(accepted)
    }

    fn refuse(
        &self,
        connection: &Connection,
        id: SessionId,
        user: &str,
    ) -> Result<(), Interruption> {
        let peer = connection.peer();
        maillog::login_refused(id, peer, user, maillog::WRONG_PASSWORD);
        let delay = self.failures.lock().record(peer, self.clock.now());
        connection.pause(delay)
    }
}
