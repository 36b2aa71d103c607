//! The POP3 driver: performs what a POP3 session asks for and reports the outcome to it.
//!
//! One loop, one `match`. No syntax is parsed and no file is touched here: the store returns
//! octets, `wire` turns them into a response, and the session makes every decision.

use std::borrow::Cow;
use std::sync::Arc;

use crate::accounts::{self, Accounts, Login, Resolution, UserName, Verdict};
use crate::mail::sasl::scram;
use crate::mail::{Closing, Credentials, Ending, ForwardPath, MailboxName, trace};
use crate::pop3::{Action, Extent, MessageNumber, Outcome, Response, Session, Settings};
use crate::store::{self, Maildrop, Message, MessageStore};
use crate::wire::{DotEncoder, TopCut};

use super::connection::{Connection, LineRead};
use super::dialogue::{self, Dialogue};
use super::handshakes::Handshakes;
use super::limits;
use super::logins::{Logins, Proof};
use super::maillog::{self, Attempt};
use super::session::{Interruption, SessionEnd, SessionId, Unfit, Visit};
use super::start_tls::start_tls;
use super::tally;

/// What all POP3 sessions share.
#[derive(Debug)]
pub struct Environment {
    /// Where messages come from.
    pub store: Arc<MessageStore>,
    /// Who may log in.
    pub accounts: Arc<Accounts>,
    /// Verifies passwords.
    pub logins: Arc<Logins>,
    /// How TLS begins, if there is a certificate.
    pub handshakes: Option<Arc<Handshakes>>,
    /// Whether the listeners that begin without TLS offer it.
    pub starttls: bool,
    /// What the sessions need to know.
    pub settings: Settings,
}

/// Serves one client until its session ends. Not inlined: its frame is on the stack of an idle
/// session, where the frame of the other protocol should not be too (NET-1).
#[inline(never)]
pub(super) fn serve(
    connection: &mut Connection,
    visit: Visit,
    environment: &Environment,
) -> SessionEnd {
    let mut session = new_session(connection, environment);
    let mut driver = Driver {
        connection,
        id: visit.id,
        environment,
        login: None,
        mailbox: None,
        maildrop: None,
        open: None,
        dialogue: Dialogue::new(visit.id),
        mechanism: "",
    };
    let mut step = session.greet();
    let mut why = None;
    loop {
        let last = step.response.as_ref().map_or("", Response::status);
        let said = driver.say(step.response, &step.action);
        let done = match (said, step.action) {
            (Err(interruption), _) => Err(interruption),
            (Ok(()), Action::ReadLine { octets_max }) => driver.read_line(octets_max, &session),
            (Ok(()), Action::Close(closing)) => {
                // The maildrop is free before the client learns that its session is over.
                driver.maildrop = None;
                driver.connection.close(closing);
                return SessionEnd::closed(closing, last, why);
            }
            (Ok(()), action) => driver.perform(action),
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
fn new_session(connection: &Connection, environment: &Environment) -> Box<Session> {
    let mut settings = environment.settings.clone();
    settings.scram = environment.accounts.offers_scram();
    let link = connection.link(environment.starttls && environment.handshakes.is_some());
    Box::new(Session::new(settings, link))
}

struct Driver<'a> {
    connection: &'a mut Connection,
    id: SessionId,
    environment: &'a Environment,
    /// The login, with its kind of password.
    login: Option<Login>,
    /// The mailbox that the password opens.
    mailbox: Option<MailboxName>,
    /// Boxed, because they are large and would need space on the stack of every session.
    maildrop: Option<Box<Maildrop>>,
    open: Option<Box<OpenMessage>>,
    dialogue: Dialogue,
    /// How the client logs in.
    mechanism: &'static str,
}

/// A message that is open, with its first octets already read.
struct OpenMessage {
    message: Message,
    buffer: Vec<u8>,
    filled: usize,
}

impl Driver<'_> {
    /// Performs every action except reading a line. Not inlined, for the same reason as `serve`.
    #[inline(never)]
    fn perform(&mut self, action: Action) -> Result<Outcome<'static>, Interruption> {
        match action {
            Action::CheckPassword {
                mechanism,
                credentials,
            } => self.check_password(mechanism, &credentials),
            Action::BeginScram { user } => Ok(self.begin_scram(&user)),
            Action::CheckProof { mechanism, attempt } => self.check_proof(mechanism, &attempt),
            Action::OpenMaildrop => self.open_maildrop(),
            Action::OpenMessage(number) => Ok(self.open_message(number)),
            Action::SendContent(extent) => self.send_content(extent),
            Action::RemoveMarked(numbers) => self.remove(&numbers),
            Action::StartTls => self.start_tls(),
            // The loop handles these two.
            Action::ReadLine { .. } | Action::Close(_) => Err(Interruption::Lost(None)),
        }
    }

    /// Sends the response of a step, if there is one, and logs it.
    fn say(&mut self, response: Option<Response>, action: &Action) -> Result<(), Interruption> {
        let Some(response) = response else {
            return Ok(());
        };
        if matches!(action, Action::Close(Closing::Foreign(_))) {
            // The log line of the session's end says what it was.
            self.dialogue.logged();
        }
        self.log_refusal(&response);
        self.send(response)
    }

    /// Logs a response that refuses something. Not inlined, to keep as little as possible on the
    /// stack of a waiting session (NET-1).
    #[inline(never)]
    fn log_refusal(&mut self, response: &Response) {
        let text = response.refusal().map(|(code, text)| match code {
            Some(code) => Cow::Owned(format!("{code} {text}")),
            None => Cow::Borrowed(text),
        });
        let refusal = text.as_deref().map(|text| (response.status(), text));
        self.dialogue.answered(self.connection, refusal);
    }

    /// Appends a response to the output; a long one is sent in pieces.
    fn send(&mut self, mut response: Response) -> Result<(), Interruption> {
        let is_challenge = response.is_challenge();
        let mut is_first = true;
        loop {
            let octets_max = self.connection.allowance().output_octets_max();
            let output = self.connection.output();
            let before = output.len();
            let is_complete = response.render(output, octets_max);
            let said = output.get(before..).unwrap_or_default();
            if std::mem::take(&mut is_first) {
                self.dialogue.said(said, is_challenge);
            } else {
                self.dialogue.said_content(said.len());
            }
            if is_complete {
                return Ok(());
            }
            self.connection.flush()?;
            self.connection
                .allowance_mut()
                .ask_to_send(limits::WRITE_OCTETS_MAX);
        }
    }

    fn read_line(
        &mut self,
        octets_max: usize,
        session: &Session,
    ) -> Result<Outcome<'_>, Interruption> {
        self.open = None;
        self.connection.flush_when_full()?;
        let read = self.connection.read_line(octets_max)?;
        let disclose = |line| session.disclose(line);
        self.dialogue
            .heard(self.connection, &read, disclose, session.login());
        let (accounts, login) = (&self.environment.accounts, self.login.as_mut());
        if login.is_some_and(|login| !accounts.still_holds(login)) {
            maillog::revoked(self.id, self.connection.peer(), self.mailbox.as_ref());
            return Ok(Outcome::Ended(Ending::Revoked));
        }
        let maildrop = self.maildrop.as_ref();
        if let Some(Err(error)) = maildrop.map(|maildrop| maildrop.check_is_ours()) {
            self.store_failed(&error);
            return Ok(Outcome::Ended(Ending::MaildropLost));
        }
        Ok(match read {
            LineRead::Line => Outcome::Line(self.connection.line()),
            LineRead::TooLong => Outcome::LineTooLong,
            LineRead::Fault(found) => {
                self.connection.counters().unfit(Unfit::LineEnding);
                Outcome::LineEndingFault(found)
            }
            LineRead::Foreign => {
                self.connection.counters().unfit(Unfit::OtherProtocol);
                Outcome::ForeignProtocol(self.connection.foreign())
            }
        })
    }

    fn check_password(
        &mut self,
        mechanism: &'static str,
        credentials: &Credentials,
    ) -> Result<Outcome<'static>, Interruption> {
        self.mechanism = mechanism;
        let logins = &self.environment.logins;
        let verdict = logins.check_password(self.connection, (self.id, mechanism), credentials)?;
        Ok(match verdict {
            Verdict::Accepted(login) => match self.find_mailbox(login, &credentials.user) {
                Ok(()) => Outcome::PasswordAccepted,
                Err(refusal) => refusal,
            },
            Verdict::Refused => self.dialogue.already_logged(Outcome::PasswordRefused),
            Verdict::Busy => self.dialogue.already_logged(Outcome::CheckFailed),
        })
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
        self.mechanism = mechanism;
        let logins = &self.environment.logins;
        let proven = logins.check_proof(self.connection, (self.id, mechanism), attempt)?;
        Ok(match proven {
            Proof::Accepted(signature, login) => match self.find_mailbox(login, &attempt.user) {
                Ok(()) => Outcome::ProofAccepted { signature },
                Err(refusal) => refusal,
            },
            Proof::Refused => self.dialogue.already_logged(Outcome::PasswordRefused),
            Proof::Busy => self.dialogue.already_logged(Outcome::CheckFailed),
        })
    }

    /// Logs that a login is refused although the password is right.
    fn login_refused(&mut self, user: &str, why: &'static str) {
        let attempt = Attempt {
            id: self.id,
            mechanism: self.mechanism,
            user,
        };
        dialogue::login_refused(self.connection, attempt, &why);
        self.dialogue.logged();
    }

    /// Remembers the mailbox of the login, or returns the outcome for the session.
    fn find_mailbox(&mut self, login: Login, user: &str) -> Result<(), Outcome<'static>> {
        let found = match &login {
            Login::Account(grant) => {
                let exists = |mailbox: &MailboxName| self.environment.store.has_mailbox(mailbox);
                accounts::as_it_is(grant.mailbox(), "", exists).map(Found::Mailbox)
            }
            Login::Anyone => self.mailbox_of_user(user),
        };
        match found {
            Ok(Found::Mailbox(mailbox)) => {
                self.mailbox = Some(mailbox);
                self.login = Some(login);
                Ok(())
            }
            Ok(Found::Nobody) => {
                self.logins().refused.increment();
                self.login_refused(user, "no such user");
                Err(Outcome::PasswordRefused)
            }
            Ok(Found::Ambiguous) => {
                self.logins().refused.increment();
                self.login_refused(user, "no mailbox, or more than one, has this local part");
                Err(Outcome::MailboxAmbiguous)
            }
            Err(error) => {
                self.store_failed(&error);
                Err(Outcome::CheckFailed)
            }
        }
    }

    fn store_failed(&self, error: &store::Error) {
        dialogue::store_failed(self.connection, self.id, error);
    }

    fn logins(&self) -> &tally::Logins {
        self.connection.counters().logins(self.id.service)
    }

    /// In open mode the user name is not checked.
    fn mailbox_of_user(&self, user: &str) -> Result<Found, store::Error> {
        match self.environment.accounts.user(user) {
            UserName::Address(path) => self.mailbox_of(&path),
            UserName::LocalPart(local_part) => self.only_mailbox_with(&local_part),
            UserName::Unknown => Ok(Found::Nobody),
        }
    }

    fn mailbox_of(&self, path: &ForwardPath) -> Result<Found, store::Error> {
        let accounts = &self.environment.accounts;
        let exists = |mailbox: &MailboxName| self.environment.store.has_mailbox(mailbox);
        Ok(match accounts.resolve(path, exists)? {
            Resolution::Mailbox(mailbox) => Found::Mailbox(mailbox),
            Resolution::NotLocal | Resolution::Unknown => Found::Nobody,
        })
    }

    fn only_mailbox_with(&self, local_part: &str) -> Result<Found, store::Error> {
        let only = self.environment.store.mailbox_with_local_part(local_part)?;
        Ok(only.map_or(Found::Ambiguous, Found::Mailbox))
    }

    fn start_tls(&mut self) -> Result<Outcome<'static>, Interruption> {
        let handshakes = self.environment.handshakes.as_deref();
        let bindings = start_tls(self.connection, handshakes, self.id)?;
        self.login = None;
        Ok(Outcome::TlsStarted(bindings))
    }

    fn open_maildrop(&mut self) -> Result<Outcome<'static>, Interruption> {
        // Earlier responses must not wait for another session to end.
        self.connection.flush()?;
        let Some(mailbox) = &self.mailbox else {
            return Ok(Outcome::MaildropFailed { transient: false });
        };
        let opened = self.environment.store.open_maildrop_patiently(mailbox);
        Ok(match opened {
            Ok(maildrop) => {
                self.connection.achieved();
                let messages = maildrop.messages();
                self.logins().accepted.increment();
                maillog::logged_in(self.id, self.connection.peer(), mailbox, messages.len());
                self.maildrop = Some(Box::new(maildrop));
                Outcome::MaildropOpened(messages)
            }
            Err(store::Error::InUse { .. }) => {
                self.logins().busy.increment();
                let user = mailbox.to_string();
                self.login_refused(&user, "the maildrop is in use");
                Outcome::MaildropInUse
            }
            Err(error) => {
                self.store_failed(&error);
                Outcome::MaildropFailed {
                    transient: error.is_transient() && !error.needs_operator(),
                }
            }
        })
    }

    /// Opens a message and reads its beginning, so that most failures happen before `+OK` is sent.
    fn open_message(&mut self, number: MessageNumber) -> Outcome<'static> {
        let Some(maildrop) = &self.maildrop else {
            return Outcome::MessageFailed { transient: false };
        };
        match OpenMessage::open(maildrop, number, self.connection) {
            Ok(open) => {
                let head = open.buffer.get(..open.filled).unwrap_or_default();
                let internationalized = trace::needs_utf8(head);
                let edited_octets = open.message.edited_octets();
                self.open = Some(Box::new(open));
                Outcome::MessageOpened {
                    internationalized,
                    edited_octets,
                }
            }
            Err(store::Error::MessageGone { .. }) => Outcome::MessageGone,
            Err(error) => {
                self.store_failed(&error);
                Outcome::MessageFailed {
                    transient: error.is_transient(),
                }
            }
        }
    }

    fn send_content(&mut self, extent: Extent) -> Result<Outcome<'static>, Interruption> {
        // The session asks for content only after a message was opened.
        let Some(mut open) = self.open.take() else {
            return Err(Interruption::Lost(None));
        };
        let mut cut = match extent {
            Extent::Whole => None,
            Extent::Top { lines } => Some(TopCut::new(lines)),
        };
        let mut encoder = DotEncoder::new();
        let piece_octets = open.buffer.len();
        let mut octets = 0_usize;
        while open.filled > 0 {
            let piece = open.buffer.get(..open.filled).unwrap_or_default();
            let wanted = cut.as_mut().map_or(piece.len(), |cut| cut.cut(piece));
            let piece = piece.get(..wanted).unwrap_or(piece);
            for part in piece.chunks(limits::CONTENT_ENCODED_OCTETS) {
                let output = self.connection.content_output(piece_octets);
                octets = octets.saturating_add(added(output, |out| encoder.encode(part, out)));
                self.connection.flush_content(piece_octets)?;
            }
            if cut.as_ref().is_some_and(TopCut::is_complete) {
                break;
            }
            open.filled = open.message.read(&mut open.buffer).map_err(|error| {
                // Half of the message is sent; only closing the connection can show the failure.
                self.store_failed(&error);
                Interruption::Unreadable
            })?;
        }
        let output = self.connection.output();
        octets = octets.saturating_add(added(output, |out| encoder.finish(out)));
        self.dialogue.said_content(octets);
        let is_whole = extent == Extent::Whole;
        self.connection.counters().fetched(is_whole, octets);
        Ok(Outcome::ContentSent)
    }

    /// Removes messages, after all earlier responses have been sent: a client that pipelines RETR,
    /// DELE and QUIT and then crashes must not lose what it never received.
    fn remove(&mut self, numbers: &[MessageNumber]) -> Result<Outcome<'static>, Interruption> {
        self.connection.flush()?;
        let Some(maildrop) = &self.maildrop else {
            return Ok(Outcome::RemoveFailed);
        };
        let positions: Vec<usize> = numbers.iter().map(|number| number.position()).collect();
        Ok(match maildrop.remove(&positions) {
            Ok(()) => {
                self.connection.counters().removed(positions.len());
                maillog::removed(self.id, self.connection.peer(), positions.len());
                Outcome::Removed
            }
            Err(error) => {
                self.store_failed(&error);
                Outcome::RemoveFailed
            }
        })
    }
}

impl OpenMessage {
    fn open(
        maildrop: &Maildrop,
        number: MessageNumber,
        connection: &mut Connection,
    ) -> Result<Self, store::Error> {
        let mut message = maildrop.open_message(number.position())?;
        let messages = maildrop.messages();
        let octets = messages.octets(number.position()).unwrap_or_default();
        // One octet more than a small message has: the read that returns all of it also sees its
        // end.
        let room = usize::try_from(octets.saturating_add(1)).unwrap_or(usize::MAX);
        let room = connection
            .allowance_mut()
            .ask_to_send(room.clamp(1, limits::CONTENT_OCTETS_MAX));
        let mut buffer = vec![0; room];
        let filled = message.read(&mut buffer)?;
        Ok(Self {
            message,
            buffer,
            filled,
        })
    }
}

/// How many octets `append` adds to `out`.
fn added(out: &mut Vec<u8>, append: impl FnOnce(&mut Vec<u8>)) -> usize {
    let before = out.len();
    append(out);
    out.len().saturating_sub(before)
}

/// The mailbox that a user name refers to.
enum Found {
    Mailbox(MailboxName),
    Nobody,
    Ambiguous,
}
