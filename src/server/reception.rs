//! Receiving a message: what SMTP and HTTP do in the same way.
//!
//! Both look up whom it is for, begin a delivery with our trace headers, and make it durable; only
//! the way on which the content arrives differs.

use crate::accounts::{Accounts, Resolution};
use crate::clock::Clock;
use crate::inbox::Paths;
use crate::mail::{Envelope, ForwardPath, MailboxName, trace};
use crate::smtp::{DeliveryFailure, RecipientVerdict};
use crate::store::{self, MessageStore};

use super::budget::Recipients;
use super::connection::Connection;
use super::dialogue;
use super::intake::{Delivered, Intake, NotKept};
use super::logins::Logins;
use super::maillog;
use super::session::{Interruption, SessionId};

/// What a session needs to receive messages.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reception<'a> {
    /// Where messages go.
    pub(super) store: &'a MessageStore,
    /// Who receives mail.
    pub(super) accounts: &'a Accounts,
    /// Counts unknown recipients.
    pub(super) logins: &'a Logins,
    /// Keeps the sub-addresses of messages.
    pub(super) paths: &'a Paths,
    /// The time.
    pub(super) clock: &'a Clock,
    /// The name of this host.
    pub(super) hostname: &'a str,
    /// The session.
    pub(super) id: SessionId,
}

/// Why a message is not received.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotReceived {
    /// It is larger than the limit.
    TooLarge,
    /// The store failed.
    Failed(DeliveryFailure),
}

impl Reception<'_> {
    /// Whether a message may go to this recipient, who is then one of `recipients`.
    pub(super) fn look_up(
        &self,
        connection: &mut Connection,
        path: &ForwardPath,
        recipients: &mut Recipients,
    ) -> Result<RecipientVerdict, Interruption> {
        let exists = |mailbox: &MailboxName| self.store.has_mailbox(mailbox);
        Ok(match self.accounts.resolve(path, exists) {
            Ok(Resolution::Mailbox(mailbox)) => match self.store.check_recipient(&mailbox) {
                Ok(()) if recipients.add(&mailbox) => {
                    if let Some(subaddress) = subaddress(path, &mailbox) {
                        recipients.add_subaddress(subaddress);
                    }
                    RecipientVerdict::Accepted(mailbox)
                }
                Ok(()) => RecipientVerdict::TooMany,
                Err(store::Error::NameTooLong { .. }) => RecipientVerdict::NameTooLong,
                // The store has logged it, once and not for every sender.
                Err(store::Error::Full { .. }) => RecipientVerdict::Full,
                Err(_) => RecipientVerdict::Unavailable,
            },
            Ok(Resolution::NotLocal) => RecipientVerdict::NotLocal,
            Ok(Resolution::Unknown) => {
                self.hold_back(connection)?;
                RecipientVerdict::Unknown
            }
            Err(error) => {
                self.store_failed(connection, &error);
                RecipientVerdict::Failed
            }
        })
    }

    /// SEC-12: delays the reply that a recipient is unknown, if the client's network has named many
    /// unknown ones.
    fn hold_back(&self, connection: &mut Connection) -> Result<(), Interruption> {
        let delay = self.logins.unknown_recipient(connection.peer());
        if delay.is_zero() {
            return Ok(());
        }
        // Earlier replies must not be delayed too.
        connection.flush()?;
        connection.pause(delay)
    }

    /// Begins a delivery, whose first lines are our trace headers. `client_name` is what the client
    /// calls itself.
    pub(super) fn begin(
        &self,
        connection: &Connection,
        (envelope, recipients): (Envelope, Recipients),
        client_name: &str,
    ) -> Result<Intake, DeliveryFailure> {
        let declared_octets = envelope.declared_octets.unwrap_or(0);
        let delivery = self.store.begin_delivery(declared_octets);
        let delivery = delivery.map_err(|error| self.store_failed(connection, &error))?;
        let is_only = envelope.recipients.len() == 1;
        let first_forward_path = envelope.first_forward_path.as_ref();
        let received = trace::Received {
            client_name,
            client_address: connection.peer(),
            hostname: self.hostname,
            protocol: envelope.protocol,
            id: delivery.name(),
            forward_path: first_forward_path.filter(|_| is_only),
            date: &self.clock.date(),
        };
        let mut head = Vec::with_capacity(trace::FIELDS_OCTETS);
        trace::render(&envelope.reverse_path, &received, &mut head);
        let share = connection.allowance().share();
        Ok(Intake::new(delivery, envelope, recipients, head, share))
    }

    /// Makes a message durable; `account` is that of the client.
    pub(super) fn commit(
        &self,
        connection: &mut Connection,
        account: Option<&MailboxName>,
        mut intake: Intake,
    ) -> Result<Delivered, NotReceived> {
        // Before the message is in a mailbox: somebody may wait for it.
        if let Some((id, subaddresses)) = intake.take_subaddresses() {
            self.paths.keep(id, subaddresses);
        }
        match intake.commit() {
            Ok(delivered) => {
                let recipients = delivered.envelope.recipients.len();
                connection.achieved();
                let counters = connection.counters();
                counters.accepted(delivered.octets, recipients);
                maillog::accepted(self.id, connection.peer(), account, &delivered);
                Ok(delivered)
            }
            Err(NotKept::TooLarge) => Err(NotReceived::TooLarge),
            Err(NotKept::Store(error)) => {
                Err(NotReceived::Failed(self.store_failed(connection, &error)))
            }
        }
    }

    /// Logs a failure of the store, and returns it in the terms of the protocol.
    fn store_failed(&self, connection: &Connection, error: &store::Error) -> DeliveryFailure {
        dialogue::store_failed(connection, self.id, error);
        if matches!(error, store::Error::Full { .. }) {
            DeliveryFailure::Full
        } else {
            DeliveryFailure::Transient
        }
    }
}

/// The path of a recipient, if it is a sub-address of the mailbox.
fn subaddress(path: &ForwardPath, mailbox: &MailboxName) -> Option<MailboxName> {
    let ForwardPath::Address(address) = path else {
        return None;
    };
    // Most have none, and this costs nothing.
    if address.local_part().len() <= mailbox.local_part().len() {
        return None;
    }
    let name = MailboxName::from_address(address).ok()?;
    name.is_below(mailbox).then_some(name)
}
