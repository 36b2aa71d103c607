//! Sending over HTTP: a message of a request is delivered as one that SMTP receives.
//!
//! The same rules apply: who may send as whom, which recipients there are, the size of a message,
//! and the room for it. The difference is that a request is all or nothing: a recipient that SMTP
//! would refuse refuses it.

use std::net::IpAddr;

use crate::accounts::Login;
use crate::api::Letter;
use crate::http::{Body, Kind, Refusal, Response, Status};
use crate::mail::{BodyType, Envelope, Family, MailboxName, Protocol, ReversePath};
use crate::smtp::{DeliveryFailure, RecipientVerdict, Reply, Settings};

use super::budget::{Purpose, Recipients, Share};
use super::connection::Connection;
use super::limits;
use super::reception::{NotReceived, Reception};
use super::session::Interruption;

/// Why a message is not sent.
#[derive(Debug)]
pub(super) enum Unsent {
    /// The client is told.
    Refused(Refusal),
    /// The session ends.
    Interrupted(Interruption),
}

impl From<Refusal> for Unsent {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<Interruption> for Unsent {
    fn from(interruption: Interruption) -> Self {
        Self::Interrupted(interruption)
    }
}

/// Who sends, and by which rules.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sender<'a> {
    pub(super) reception: Reception<'a>,
    pub(super) settings: &'a Settings,
    /// The login of the client, in closed mode; the owner of the store has none.
    pub(super) login: Option<&'a Login>,
    /// Whether the connection is encrypted.
    pub(super) is_encrypted: bool,
    /// The length of the request.
    pub(super) body_octets: usize,
}

impl Sender<'_> {
    /// Delivers a letter, and answers with its ID in the shape of Mailpit. `share` gets the memory
    /// of the message.
    ///
    /// # Errors
    /// See [`Unsent`]. Nothing was delivered.
    pub(super) fn send(
        &self,
        connection: &mut Connection,
        letter: &Letter,
        share: &mut Share,
    ) -> Result<Response, Unsent> {
        self.check_sender(letter)?;
        let (envelope, recipients) = self.envelope(connection, letter)?;
        let octets = self.body_octets.saturating_mul(limits::LETTER_FACTOR);
        if !connection.wait_for_memory()? || !share.grow_to(octets, Purpose::Keeping) {
            return Err(failed(connection, DeliveryFailure::Busy).into());
        }
        let client_name = literal(connection.peer());
        let reception = self.reception;
        let begun = reception.begin(connection, (envelope, recipients), &client_name);
        let mut intake = begun.map_err(|failure| failed(connection, failure))?;
        let message_id = format!("{}@{}", intake.name(), reception.hostname);
        let content = letter.content(&reception.clock.date(), &message_id);
        let octets_max = self.settings.message_octets_max;
        for piece in content.chunks(limits::CONTENT_OCTETS_MAX) {
            intake.take(octets_max, |out| out.extend_from_slice(piece));
        }
        let account = self.login.and_then(Login::mailbox);
        match reception.commit(connection, account, intake) {
            Ok(delivered) => {
                let body = format!("{{\"ID\":\"{}\"}}", delivered.id);
                let body = Body::Octets(body.into_bytes().into());
                Ok(Response::with_body(
                    Status::Ok,
                    Kind::Api,
                    "application/json",
                    body,
                ))
            }
            Err(NotReceived::Failed(failure)) => Err(failed(connection, failure).into()),
            Err(NotReceived::TooLarge) => {
                let text = "The message is larger than this server accepts (limits.message_octets)";
                Err(Refusal::new(Status::ContentTooLarge, text).into())
            }
        }
    }

    /// A user who has logged in can send only from the own addresses (RFC 6409 §6.1).
    fn check_sender(&self, letter: &Letter) -> Result<(), Refusal> {
        let may_send = |login: &Login| self.reception.accounts.may_send_as(login, &letter.sender);
        if self.login.is_none_or(may_send) {
            return Ok(());
        }
        let text = "From.Email is not an address of your account, or one that it may send from";
        Err(Refusal::new(Status::Forbidden, text))
    }

    /// The envelope, if all recipients are accepted.
    fn envelope(
        &self,
        connection: &mut Connection,
        letter: &Letter,
    ) -> Result<(Envelope, Recipients), Unsent> {
        let recipients_max = self.settings.recipients_max.map(usize::try_from);
        if let Some(Ok(recipients_max)) = recipients_max
            && letter.recipients.len() > recipients_max
        {
            let text = format!(
                "To, Cc and Bcc name more than {recipients_max} recipients (limits.recipients)"
            );
            return Err(Refusal::new(Status::BadRequest, text).into());
        }
        let mut recipients = Recipients::none(connection.allowance().share());
        let mut mailboxes: Vec<MailboxName> = Vec::new();
        for recipient in &letter.recipients {
            let path = &recipient.path;
            match self.reception.look_up(connection, path, &mut recipients)? {
                RecipientVerdict::Accepted(mailbox) => mailboxes.push(mailbox),
                verdict @ (RecipientVerdict::Unknown
                | RecipientVerdict::NotLocal
                | RecipientVerdict::NameTooLong
                | RecipientVerdict::TooMany
                | RecipientVerdict::Failed
                | RecipientVerdict::Full
                | RecipientVerdict::Unavailable) => {
                    let refusal = refused(connection, &verdict.reply(), status(&verdict));
                    let text = format!("{}: {}", recipient.place, refusal.text);
                    return Err(Refusal {
                        text: text.into(),
                        ..refusal
                    }
                    .into());
                }
            }
        }
        let first = letter.recipients.first();
        let envelope = Envelope {
            reverse_path: ReversePath::Address(letter.sender.clone()),
            first_forward_path: first.map(|it| it.path.clone()),
            recipients: mailboxes,
            protocol: Protocol {
                family: Family::Http,
                tls: self.is_encrypted,
                authenticated: self.login.is_some(),
                utf8: letter.is_internationalized,
                ..Protocol::default()
            },
            body: BodyType::SevenBit,
            declared_octets: None,
        };
        Ok((envelope, recipients))
    }
}

/// What a client is called that has not said it: an address literal (RFC 5321 §4.1.3).
fn literal(peer: IpAddr) -> String {
    match peer.to_canonical() {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// The status for a recipient who is refused.
fn status(verdict: &RecipientVerdict) -> Status {
    match verdict {
        RecipientVerdict::Accepted(_) => Status::Ok,
        RecipientVerdict::Unknown | RecipientVerdict::NotLocal | RecipientVerdict::NameTooLong => {
            Status::BadRequest
        }
        RecipientVerdict::Full => Status::InsufficientStorage,
        RecipientVerdict::TooMany | RecipientVerdict::Failed | RecipientVerdict::Unavailable => {
            Status::ServiceUnavailable
        }
    }
}

/// The message could not be stored.
fn failed(connection: &Connection, failure: DeliveryFailure) -> Refusal {
    let status = match failure {
        DeliveryFailure::Full => Status::InsufficientStorage,
        DeliveryFailure::Busy | DeliveryFailure::Transient => Status::ServiceUnavailable,
    };
    refused(connection, &failure.into(), status)
}

/// Says what SMTP would say, and counts it there.
fn refused(connection: &Connection, reply: &Reply, status: Status) -> Refusal {
    if let Some(reason) = reply.reason() {
        connection.counters().refused(reason);
    }
    let text = reply.refusal().map_or("", |(_, text)| text).to_owned();
    if status == Status::ServiceUnavailable {
        Refusal::busy(text)
    } else {
        Refusal::new(status, text)
    }
}
