//! The SMTP driver: performs what an SMTP session asks for and reports the outcome to it.
//!
//! One loop, one `match`. No syntax is parsed and no file is touched here: octets go through `wire`
//! into the store, and the session makes every decision.

use std::sync::Arc;

use crate::accounts::{Accounts, Login, Verdict};
use crate::clock::Clock;
use crate::inbox::Paths;
use crate::mail::sasl::scram;
use crate::mail::{Address, Closing, Credentials, Door, Ending, ForwardPath, MailboxName};
use crate::smtp::limits::OVERRUN_FACTOR;
use crate::smtp::{
    Action, ContentEnd, DeliveryFailure, Dialect, Framing, Outcome, Senders, Session, Settings,
    Step, Submission,
};
use crate::store::MessageStore;
use crate::wire::{BareOctets, ChunkDecoder, DotDecoder, Progress};

use super::budget::Recipients;
use super::connection::{Connection, LineRead};
use super::content_rate::ContentRate;
use super::dialogue::Dialogue;
use super::handshakes::Handshakes;
use super::intake::Intake;
use super::logins::{Logins, Proof};
use super::maillog;
use super::reception::{NotReceived, Reception};
use super::session::{Interruption, SessionEnd, SessionId, Visit};
use super::start_tls::start_tls;
use super::tally;

/// What all SMTP sessions share.
#[derive(Debug)]
pub struct Environment {
    /// Where messages go.
    pub store: Arc<MessageStore>,
    /// Who receives mail.
    pub accounts: Arc<Accounts>,
    /// The time.
    pub clock: Clock,
    /// Verifies passwords.
    pub logins: Arc<Logins>,
    /// How TLS begins, if there is a certificate.
    pub handshakes: Option<Arc<Handshakes>>,
    /// What the sessions need to know.
    pub settings: Arc<Settings>,
    /// Whether listeners that begin without TLS offer it; the listener for submission always does.
    pub starttls: bool,
    /// Keeps the sub-addresses of messages, for those who wait for them.
    pub paths: Arc<Paths>,
    /// What a bare CR or LF means in a message from a client of this machine, in open mode; from
    /// all other clients it is refused.
    pub bare_octets: BareOctets,
}

impl Environment {
    /// The settings of a session that begins now. Common settings are shared, not copied.
    fn settings_at(&self, door: Door) -> Arc<Settings> {
        let mut settings = Arc::clone(&self.settings);
        let scram = self.accounts.offers_scram();
        let senders = match door {
            Door::Submission => Senders::Authenticated,
            Door::Plain | Door::Tls | Door::Lmtp | Door::Control => settings.senders,
        };
        let dialect = match door {
            Door::Lmtp => Dialect::Lmtp,
            Door::Plain | Door::Tls | Door::Submission | Door::Control => Dialect::Smtp,
        };
        let wanted = (scram, senders, dialect);
        if (settings.scram, settings.senders, settings.dialect) != wanted {
            let settings = Arc::make_mut(&mut settings);
            (settings.scram, settings.senders, settings.dialect) = wanted;
        }
        settings
    }
}

/// Serves one client until its session ends. Not inlined: its frame is on the stack of an idle
/// session, where the frame of the other protocol should not be too (NET-1).
#[inline(never)]
pub(super) fn serve(
    connection: &mut Connection,
    visit: Visit,
    environment: &Environment,
) -> SessionEnd {
    let mut session = new_session(connection, visit.door, environment);
    let rate = connection.content_rate();
    let recipients = Recipients::none(connection.allowance().share());
    let mut driver = Driver {
        connection,
        id: visit.id,
        environment,
        login: None,
        recipients,
        intake: None,
        chunks: None,
        rate,
        warned_of_bare_lf: false,
        dialogue: Dialogue::new(visit.id),
    };
    let mut step = session.greet();
    let mut why = None;
    loop {
        let last = driver.say(&step);
        let done = if let Action::ReadLine { octets_max } = step.action {
            driver.read_line(octets_max, &session)
        } else if let Action::Close(closing) = step.action {
            driver.abandon();
            driver.connection.close(closing);
            return SessionEnd::closed(closing, last, why);
        } else {
            driver.perform(step.action)
        };
        step = match done {
            Ok(outcome) => session.resume(outcome),
            Err(interruption) => {
                let login = session.login();
                driver
                    .dialogue
                    .interrupted(driver.connection, login, &interruption);
                let Interruption::Ended(ending) = interruption else {
                    return SessionEnd::Broken(interruption);
                };
                why = Some(interruption);
                session.resume(Outcome::Ended(ending))
            }
        };
    }
}

/// Makes a boxed session. Not inlined: its parts would stay on the stack of an idle session
/// (NET-1).
#[inline(never)]
fn new_session(connection: &Connection, door: Door, environment: &Environment) -> Box<Session> {
    let is_offered = environment.starttls || door == Door::Submission;
    let link = connection.link(is_offered && environment.handshakes.is_some());
    Box::new(Session::new(environment.settings_at(door), link))
}

struct Driver<'a> {
    connection: &'a mut Connection,
    id: SessionId,
    environment: &'a Environment,
    /// The login, with its kind of password.
    login: Option<Login>,
    /// The memory of the transaction's recipients, until a message takes it over.
    recipients: Recipients,
    /// The message that is being received, also between the chunks of BDAT. Boxed, because most of
    /// the time there is none, and it is large.
    intake: Option<Box<Intake>>,
    /// Begins with the first chunk of a message and continues with the next: a line ending may be
    /// split between two.
    chunks: Option<ChunkDecoder>,
    /// Measures a whole message, not each of its chunks.
    rate: ContentRate,
    warned_of_bare_lf: bool,
    dialogue: Dialogue,
}

impl<'a> Driver<'a> {
    /// Performs every action except reading a line. Not inlined, for the same reason as `serve`.
    #[inline(never)]
    fn perform(&mut self, action: Action) -> Result<Outcome<'static>, Interruption> {
        match action {
            Action::LookUpRecipient(path) => self.look_up(&path),
            Action::CheckPassword {
                mechanism,
                credentials,
            } => self.check_password(mechanism, &credentials),
            Action::BeginScram { user } => Ok(self.begin_scram(&user)),
            Action::CheckProof { mechanism, attempt } => self.check_proof(mechanism, &attempt),
            Action::CheckSender(address) => Ok(self.check_sender(&address)),
            Action::BeginDelivery(submission) => self.begin_delivery(*submission),
            Action::ReceiveContent(framing) => self.receive(framing),
            Action::AbandonTransaction => Ok(self.abandon()),
            Action::Continue => self.say_more(),
            Action::DiscardChunk { octets } => self.discard(octets),
            Action::StartTls => self.start_tls(),
            // The loop handles these two.
            Action::ReadLine { .. } | Action::Close(_) => Err(Interruption::Lost(None)),
        }
    }

    fn read_line(
        &mut self,
        octets_max: usize,
        session: &Session,
    ) -> Result<Outcome<'_>, Interruption> {
        self.connection.flush_when_full()?;
        let read = self.connection.read_line(octets_max)?;
        let disclose = |line| session.disclose(line);
        self.dialogue
            .heard(self.connection, &read, disclose, session.login());
        let (accounts, login) = (&self.environment.accounts, self.login.as_mut());
        if let Some(login) = login
            && !accounts.still_holds(login)
        {
            maillog::revoked(self.id, self.connection.peer(), login.mailbox());
            return Ok(Outcome::Ended(Ending::Revoked));
        }
        Ok(match read {
            LineRead::Line => Outcome::Line(self.connection.line()),
            LineRead::TooLong => Outcome::LineTooLong,
            LineRead::Fault(found) => Outcome::LineEndingFault(found),
            LineRead::Foreign => Outcome::ForeignProtocol(self.connection.foreign()),
        })
    }

    /// Sends the reply of a step, if there is one, counts and logs it, and returns its code. Not
    /// inlined, to keep as little as possible on the stack of a waiting session (NET-1).
    #[inline(never)]
    fn say(&mut self, step: &Step) -> &'static str {
        let Some(reply) = &step.reply else {
            return "";
        };
        if let Some(reason) = reply.reason() {
            self.connection.counters().refused(reason);
        }
        if matches!(step.action, Action::Close(Closing::Foreign(_))) {
            // The log line of the session's end says what it was.
            self.dialogue.logged();
        }
        self.dialogue.content_ended();
        if reply.is_final() {
            self.dialogue.answered(self.connection, reply.refusal());
        }
        let output = self.connection.output();
        let before = output.len();
        reply.render(output);
        let said = output.get(before..).unwrap_or_default();
        self.dialogue.said(said, reply.is_challenge());
        reply.code()
    }

    /// Another reply follows, and there can be a thousand.
    fn say_more(&mut self) -> Result<Outcome<'static>, Interruption> {
        self.connection.flush_when_full()?;
        Ok(Outcome::Continued)
    }

    /// Drops everything that belongs to a transaction.
    fn abandon(&mut self) -> Outcome<'static> {
        self.intake = None;
        self.recipients.clear();
        Outcome::TransactionAbandoned
    }

    fn reception(&self) -> Reception<'a> {
        let environment = self.environment;
        Reception {
            store: &environment.store,
            accounts: &environment.accounts,
            logins: &environment.logins,
            paths: &environment.paths,
            clock: &environment.clock,
            hostname: environment.settings.hostname.as_str(),
            id: self.id,
        }
    }

    fn look_up(&mut self, path: &ForwardPath) -> Result<Outcome<'static>, Interruption> {
        let reception = self.reception();
        let verdict = reception.look_up(self.connection, path, &mut self.recipients)?;
        Ok(Outcome::Recipient(verdict))
    }

    fn check_password(
        &mut self,
        mechanism: &'static str,
        credentials: &Credentials,
    ) -> Result<Outcome<'static>, Interruption> {
        let logins = &self.environment.logins;
        let verdict = logins.check_password(self.connection, (self.id, mechanism), credentials)?;
        Ok(match verdict {
            Verdict::Accepted(login) => {
                self.login = Some(login);
                self.logged_in(mechanism);
                Outcome::PasswordAccepted
            }
            Verdict::Refused => self.dialogue.already_logged(Outcome::PasswordRefused),
            Verdict::Busy => self.dialogue.already_logged(Outcome::CheckFailed),
        })
    }

    fn logins(&self) -> &tally::Logins {
        self.connection.counters().logins(self.id.service)
    }

    fn begin_scram(&self, user: &str) -> Outcome<'static> {
        let parameters = self.environment.logins.begin_scram(user);
        parameters.map_or(Outcome::CheckFailed, Outcome::ScramBegun)
    }

    fn check_proof(
        &mut self,
        mechanism: &'static str,
        attempt: &scram::Attempt,
    ) -> Result<Outcome<'static>, Interruption> {
        let logins = &self.environment.logins;
        let proven = logins.check_proof(self.connection, (self.id, mechanism), attempt)?;
        Ok(match proven {
            Proof::Accepted(signature, login) => {
                self.login = Some(login);
                self.logged_in(mechanism);
                Outcome::ProofAccepted { signature }
            }
            Proof::Refused => self.dialogue.already_logged(Outcome::PasswordRefused),
            Proof::Busy => self.dialogue.already_logged(Outcome::CheckFailed),
        })
    }

    fn logged_in(&mut self, mechanism: &'static str) {
        self.connection.achieved();
        self.logins().accepted.increment();
        maillog::may_send(self.id, self.connection.peer(), mechanism, self.account());
    }

    /// The mailbox of the account that the client is logged in to.
    fn account(&self) -> Option<&MailboxName> {
        self.login.as_ref().and_then(Login::mailbox)
    }

    fn start_tls(&mut self) -> Result<Outcome<'static>, Interruption> {
        self.abandon();
        let handshakes = self.environment.handshakes.as_deref();
        let bindings = start_tls(self.connection, handshakes, self.id)?;
        self.login = None;
        Ok(Outcome::TlsStarted(bindings))
    }

    fn check_sender(&self, address: &Address) -> Outcome<'static> {
        let accounts = &self.environment.accounts;
        let login = self.login.as_ref();
        if login.is_some_and(|login| accounts.may_send_as(login, address)) {
            Outcome::SenderPermitted
        } else {
            Outcome::SenderNotPermitted
        }
    }

    fn begin_delivery(&mut self, submission: Submission) -> Result<Outcome<'static>, Interruption> {
        // The session has handed over the envelope, which is lost if this fails.
        let recipients = self.recipients.take();
        if !self.connection.wait_for_memory()? {
            return Ok(Outcome::DeliveryFailed(DeliveryFailure::Busy));
        }
        let Submission {
            envelope,
            client_name,
        } = submission;
        let reception = self.reception();
        let begun = reception.begin(self.connection, (envelope, recipients), &client_name);
        let intake = match begun {
            Ok(intake) => intake,
            Err(failure) => return Ok(Outcome::DeliveryFailed(failure)),
        };
        self.intake = Some(Box::new(intake));
        self.chunks = None;
        self.rate = self.connection.content_rate();
        Ok(Outcome::DeliveryBegun)
    }

    fn receive(&mut self, framing: Framing) -> Result<Outcome<'static>, Interruption> {
        match (self.intake.take(), framing) {
            (Some(intake), Framing::Dot { octets_max }) => self.receive_lines(intake, octets_max),
            (Some(intake), Framing::Chunk { octets, last }) => {
                self.receive_chunk(intake, octets, last)
            }
            // The session asks for content only after a delivery has begun.
            (None, _) => Ok(Outcome::Content(ContentEnd::Failed(
                DeliveryFailure::Transient,
            ))),
        }
    }

    /// A server that strangers can reach must not accept as a line what another server treats as
    /// part of one (SEC-1). A server for a developer's own programs should accept what they send.
    fn bare_octets(&self) -> BareOctets {
        if self.connection.is_local() && self.environment.accounts.is_open() {
            self.environment.bare_octets
        } else {
            BareOctets::Refuse
        }
    }

    /// Warns once per session that other servers will refuse what this one accepted.
    fn warn_of_bare_lf(&mut self) {
        if !std::mem::replace(&mut self.warned_of_bare_lf, true) {
            maillog::bare_line_feeds(self.id, self.connection.peer());
        }
    }

    /// Receives the content of DATA to its end.
    fn receive_lines(
        &mut self,
        mut intake: Box<Intake>,
        octets_max: Option<u64>,
    ) -> Result<Outcome<'static>, Interruption> {
        let overrun = octets_max.map(|octets| octets.saturating_mul(OVERRUN_FACTOR));
        let mut decoder = DotDecoder::new(self.connection.line_ending(), self.bare_octets());
        loop {
            if self.connection.unread().is_empty() {
                let put_away = || intake.put_away();
                self.connection.read_content(&mut self.rate, put_away)?;
            }
            let room = intake.keep_pace(self.connection.allowance().read_octets());
            let unread = self.connection.unread();
            let input = unread.get(..room).unwrap_or(unread);
            let (consumed, progress) = intake.take(octets_max, |out| decoder.decode(input, out));
            self.connection.consume(consumed);
            self.dialogue.heard_content(consumed);
            if decoder.fault().is_some() {
                intake.abandon();
            }
            match progress {
                Progress::End => {
                    if decoder.has_bare_lf() {
                        self.warn_of_bare_lf();
                    }
                    return Ok(Outcome::Content(self.commit(*intake)));
                }
                Progress::Refused(fault) => {
                    return Ok(Outcome::Content(ContentEnd::WrongLineEnding(fault.found())));
                }
                Progress::Fault(fault) => {
                    return Ok(Outcome::Content(ContentEnd::LineEndingFault(fault.found())));
                }
                Progress::More if overrun.is_some_and(|overrun| intake.octets() > overrun) => {
                    return Ok(Outcome::Content(ContentEnd::Overrun));
                }
                Progress::More => {}
            }
        }
    }

    /// Receives one chunk to its end; the rest of a faulty one is read and discarded.
    fn receive_chunk(
        &mut self,
        mut intake: Box<Intake>,
        octets: u64,
        last: bool,
    ) -> Result<Outcome<'static>, Interruption> {
        let (line_ending, bare_octets) = (self.connection.line_ending(), self.bare_octets());
        let mut decoder = self
            .chunks
            .take()
            .unwrap_or_else(|| ChunkDecoder::new(line_ending, bare_octets));
        let mut fault = None;
        self.read_chunk(octets, Some(&mut intake), |intake, input| {
            if let (None, Some(intake)) = (&fault, intake) {
                fault = intake.take(None, |out| decoder.decode(input, out)).err();
            }
        })?;
        if last && fault.is_none() {
            fault = intake.take(None, |out| decoder.finish(out)).err();
        }
        if last && fault.is_none() && decoder.has_bare_lf() {
            self.warn_of_bare_lf();
        }
        Ok(Outcome::Content(match fault {
            Some(fault) => ContentEnd::WrongLineEnding(fault.found()),
            // The rest of a refused message is not awaited: its commit gives the reason.
            None if last || intake.is_refused() => self.commit(*intake),
            None => {
                // The next one may take a long time to arrive.
                intake.keep_pace(0);
                self.intake = Some(intake);
                self.chunks = Some(decoder);
                ContentEnd::ChunkReceived
            }
        }))
    }

    fn discard(&mut self, octets: u64) -> Result<Outcome<'static>, Interruption> {
        self.abandon();
        // It belongs to no message whose rate could be measured.
        self.rate = self.connection.content_rate();
        self.read_chunk(octets, None, |_, _| ())?;
        Ok(Outcome::ChunkDiscarded)
    }

    /// Passes the next `octets` octets to `take`, piece by piece, with their message.
    fn read_chunk(
        &mut self,
        octets: u64,
        mut intake: Option<&mut Intake>,
        mut take: impl FnMut(Option<&mut Intake>, &[u8]),
    ) -> Result<(), Interruption> {
        let mut left = octets;
        while left > 0 {
            if self.connection.unread().is_empty() {
                let put_away = || {
                    if let Some(intake) = &mut intake {
                        intake.put_away();
                    }
                };
                self.connection.read_content(&mut self.rate, put_away)?;
            }
            let pace = self.connection.allowance().read_octets();
            let room = intake.as_mut().map(|intake| intake.keep_pace(pace));
            let unread = self.connection.unread();
            let left_here = usize::try_from(left).unwrap_or(usize::MAX);
            let room = room.unwrap_or(left_here).min(left_here);
            let piece = unread.get(..room).unwrap_or(unread);
            take(intake.as_deref_mut(), piece);
            let taken = piece.len();
            self.connection.consume(taken);
            self.dialogue.heard_content(taken);
            left = left.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    fn commit(&mut self, intake: Intake) -> ContentEnd {
        let reception = self.reception();
        let account = self.login.as_ref().and_then(Login::mailbox);
        match reception.commit(self.connection, account, intake) {
            Ok(delivered) if delivered.failures.is_empty() => ContentEnd::Delivered,
            Ok(delivered) => ContentEnd::DeliveredToSome(delivered.failures),
            Err(NotReceived::TooLarge) => ContentEnd::TooLarge,
            Err(NotReceived::Failed(failure)) => ContentEnd::Failed(failure),
        }
    }
}
