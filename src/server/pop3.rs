//! The POP3 driver: performs what a POP3 session asks for and tells it what came of it.
//!
//! One loop, one `match`. No syntax is parsed and no file touched here: the store gives octets,
//! `wire` makes a response of them, and every decision is the session's.

use std::sync::Arc;

use crate::accounts::{Accounts, Login, Resolution, UserName, Verdict};
use crate::mail::{Credentials, ForwardPath, MailboxName, trace};
use crate::pop3::{Action, Extent, MessageNumber, Outcome, Response, Session, Settings};
use crate::store::{self, Maildrop, Message, MessageStore};
use crate::wire::{DotEncoder, TopCut};

use super::connection::{Connection, Interruption, LineRead};
use super::limits;
use super::maillog::{self, SessionEnd, SessionId};

/// What all POP3 sessions share.
#[derive(Debug)]
pub struct Shared {
    /// Where messages come from.
    pub store: Arc<MessageStore>,
    /// Who may log in.
    pub accounts: Arc<Accounts>,
    /// What the sessions need to know.
    pub settings: Settings,
}

/// Serves one client until its session ends.
pub(super) fn serve(connection: &mut Connection, id: SessionId, shared: &Shared) -> SessionEnd {
    let mut session = Session::new(shared.settings.clone());
    let mut driver = Driver {
        connection,
        id,
        shared,
        mailbox: None,
        maildrop: None,
        open: None,
    };
    let mut step = session.greet();
    let mut why = None;
    loop {
        let response_was = step.response.as_ref().map(Response::is_positive);
        let sent = match step.response {
            Some(response) => driver.send(response),
            None => Ok(()),
        };
        let done = sent.and_then(|()| match step.action {
            Action::ReadLine => driver.read_line(session.line_octets_max()).map(Some),
            Action::CheckPassword(credentials) => Ok(Some(driver.check_password(&credentials))),
            Action::OpenMaildrop => Ok(Some(driver.open_maildrop())),
            Action::OpenMessage(number) => Ok(Some(driver.open_message(number))),
            Action::SendContent(extent) => driver.send_content(extent).map(Some),
            Action::RemoveMarked(numbers) => driver.remove(&numbers).map(Some),
            // No certificate can be configured, so no session offers TLS and none comes here.
            Action::StartTls => Ok(Some(Outcome::TlsUnavailable)),
            Action::Close => Ok(None),
        });
        step = match done {
            Ok(Some(outcome)) => session.resume(outcome),
            Ok(None) => {
                // The maildrop is free before the client knows that its session is over.
                driver.maildrop = None;
                return driver.close(response_was, why);
            }
            Err(interruption) => {
                let outcome = match interruption {
                    Interruption::IdleTimeout | Interruption::TooSlow => Outcome::IdleTimeout,
                    Interruption::SessionTimeout => Outcome::SessionTimeout,
                    Interruption::ShuttingDown => Outcome::ShuttingDown,
                    Interruption::Lost(_) | Interruption::NotReading | Interruption::Unreadable => {
                        return SessionEnd::Broken(interruption);
                    }
                };
                why = Some(interruption);
                session.resume(outcome)
            }
        };
    }
}

struct Driver<'a> {
    connection: &'a mut Connection,
    id: SessionId,
    shared: &'a Shared,
    /// Whose maildrop the password opens.
    mailbox: Option<MailboxName>,
    maildrop: Option<Maildrop>,
    open: Option<OpenMessage>,
}

/// A message that is open, with its first octets already read.
struct OpenMessage {
    message: Message,
    buffer: Vec<u8>,
    filled: usize,
}

impl Driver<'_> {
    /// Ends the connection after a response that was positive, or negative, or was not given.
    fn close(&mut self, positive: Option<bool>, why: Option<Interruption>) -> SessionEnd {
        let last = match positive {
            Some(true) => {
                self.connection.close();
                return SessionEnd::Quit;
            }
            Some(false) => "-ERR",
            None => "",
        };
        self.connection.close_lingering();
        SessionEnd::Closed { last, why }
    }

    /// Appends a response to the output; a long one leaves in pieces.
    fn send(&mut self, mut response: Response) -> Result<(), Interruption> {
        while !response.render(self.connection.output(), limits::WRITE_OCTETS_MAX) {
            self.connection.flush()?;
        }
        Ok(())
    }

    fn read_line(&mut self, octets_max: usize) -> Result<Outcome<'_>, Interruption> {
        self.open = None;
        self.connection.flush_when_full()?;
        Ok(match self.connection.read_line(octets_max)? {
            LineRead::Line => Outcome::Line(self.connection.line()),
            LineRead::TooLong => Outcome::LineTooLong,
            LineRead::Fault(_) => Outcome::LineEndingFault,
            LineRead::Foreign => Outcome::ForeignProtocol,
        })
    }

    fn check_password(&mut self, credentials: &Credentials) -> Outcome<'static> {
        let refused = |why| {
            let peer = self.connection.peer();
            maillog::login_refused(self.id, peer, &credentials.user, why);
        };
        let found = match self.shared.accounts.verify(credentials) {
            Verdict::Accepted(Login::Account(mailbox)) => Ok(Found::Mailbox(mailbox)),
            Verdict::Accepted(Login::Anyone) => self.mailbox_of_user(&credentials.user),
            Verdict::Refused => {
                refused(maillog::WRONG_PASSWORD);
                return Outcome::PasswordRefused;
            }
            Verdict::Busy => {
                refused(maillog::BUSY);
                return Outcome::CheckFailed;
            }
        };
        match found {
            Ok(Found::Mailbox(mailbox)) => {
                self.mailbox = Some(mailbox);
                Outcome::PasswordAccepted
            }
            Ok(Found::Nobody) => {
                refused("no such user");
                Outcome::PasswordRefused
            }
            Ok(Found::Ambiguous) => {
                refused("not one mailbox has this local part");
                Outcome::MailboxAmbiguous
            }
            Err(error) => {
                maillog::store_failed(self.id, &error);
                Outcome::CheckFailed
            }
        }
    }

    /// In open mode the user is whoever it says it is.
    fn mailbox_of_user(&self, user: &str) -> Result<Found, store::Error> {
        match self.shared.accounts.user(user) {
            UserName::Address(path) => self.mailbox_of(&path),
            UserName::LocalPart(local_part) => self.only_mailbox_with(&local_part),
            UserName::Unknown => Ok(Found::Nobody),
        }
    }

    fn mailbox_of(&self, path: &ForwardPath) -> Result<Found, store::Error> {
        let accounts = &self.shared.accounts;
        let exists = |mailbox: &MailboxName| super::exists(&self.shared.store, mailbox);
        Ok(match accounts.resolve(path, exists)? {
            Resolution::Mailbox(mailbox) => Found::Mailbox(mailbox),
            Resolution::NotLocal | Resolution::Unknown => Found::Nobody,
        })
    }

    fn only_mailbox_with(&self, local_part: &str) -> Result<Found, store::Error> {
        let mut mailboxes = self.shared.store.mailboxes_with_local_part(local_part)?;
        Ok(match (mailboxes.pop(), mailboxes.is_empty()) {
            (Some(only), true) => Found::Mailbox(only),
            (Some(_), false) | (None, _) => Found::Ambiguous,
        })
    }

    fn open_maildrop(&mut self) -> Outcome<'static> {
        let Some(mailbox) = &self.mailbox else {
            return Outcome::MaildropFailed { transient: false };
        };
        match self.shared.store.open_maildrop(mailbox) {
            Ok(maildrop) => {
                let messages = maildrop.messages();
                maillog::logged_in(self.id, self.connection.peer(), mailbox, messages.len());
                self.maildrop = Some(maildrop);
                Outcome::MaildropOpened(messages)
            }
            Err(store::Error::InUse { .. }) => {
                let (peer, user) = (self.connection.peer(), mailbox.to_string());
                maillog::login_refused(self.id, peer, &user, "the maildrop is in use");
                Outcome::MaildropInUse
            }
            Err(error) => {
                maillog::store_failed(self.id, &error);
                Outcome::MaildropFailed {
                    transient: error.is_transient(),
                }
            }
        }
    }

    /// Opens a message and reads its beginning: what can fail has failed before `+OK` is said.
    fn open_message(&mut self, number: MessageNumber) -> Outcome<'static> {
        let Some(maildrop) = &self.maildrop else {
            return Outcome::MessageFailed { transient: false };
        };
        match OpenMessage::open(maildrop, number) {
            Ok(open) => {
                let head = open.buffer.get(..open.filled).unwrap_or_default();
                let internationalized = trace::needs_utf8(head);
                self.open = Some(open);
                Outcome::MessageOpened { internationalized }
            }
            Err(store::Error::MessageGone { .. }) => Outcome::MessageGone,
            Err(error) => {
                maillog::store_failed(self.id, &error);
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
        while open.filled > 0 {
            let piece = open.buffer.get(..open.filled).unwrap_or_default();
            let wanted = cut.as_mut().map_or(piece.len(), |cut| cut.cut(piece));
            let piece = piece.get(..wanted).unwrap_or(piece);
            encoder.encode(piece, self.connection.output());
            self.connection.flush_when_full()?;
            if cut.as_ref().is_some_and(TopCut::is_complete) {
                break;
            }
            open.filled = open.message.read(&mut open.buffer).map_err(|error| {
                // Half of the message is with the client; nothing but the end can tell it so.
                maillog::store_failed(self.id, &error);
                Interruption::Unreadable
            })?;
        }
        encoder.finish(self.connection.output());
        Ok(Outcome::ContentSent)
    }

    /// Removes messages, after all that was asked for before is on its way: a client that pipelines
    /// RETR, DELE and QUIT and breaks down must not lose what it never got.
    fn remove(&mut self, numbers: &[MessageNumber]) -> Result<Outcome<'static>, Interruption> {
        self.connection.flush()?;
        let Some(maildrop) = &self.maildrop else {
            return Ok(Outcome::RemoveFailed);
        };
        let positions: Vec<usize> = numbers.iter().map(|number| number.position()).collect();
        Ok(match maildrop.remove(&positions) {
            Ok(()) => {
                maillog::removed(self.id, self.connection.peer(), positions.len());
                Outcome::Removed
            }
            Err(error) => {
                maillog::store_failed(self.id, &error);
                Outcome::RemoveFailed
            }
        })
    }
}

impl OpenMessage {
    fn open(maildrop: &Maildrop, number: MessageNumber) -> Result<Self, store::Error> {
        let mut message = maildrop.open_message(number.position())?;
        let messages = maildrop.messages();
        let octets = messages.octets(number.position()).unwrap_or_default();
        // One octet more than a small message has: the read that takes all of it also sees its end.
        let room = usize::try_from(octets.saturating_add(1)).unwrap_or(usize::MAX);
        let mut buffer = vec![0; room.clamp(1, limits::CONTENT_OCTETS_MAX)];
        let filled = message.read(&mut buffer)?;
        Ok(Self {
            message,
            buffer,
            filled,
        })
    }
}

/// What a user name leads to.
enum Found {
    Mailbox(MailboxName),
    Nobody,
    Ambiguous,
}
