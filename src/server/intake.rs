//! The content of one message on its way from the decoder to the store.
//!
//! Octets are collected until there are enough for one write: more if they arrive faster, as long
//! as there is memory (SEC-9). Once the content is refused (it is too large, or the store failed),
//! the delivery is dropped and the rest is only counted: the client is read to the end of its
//! content, and nothing of it is kept.

use crate::mail::{EntryId, Envelope, Family, MailboxName};
use crate::smtp::MailboxFailure;
use crate::store::{self, Delivery};

use super::budget::{Purpose, Recipients, Share};
use super::limits;

/// A message that is being received.
#[derive(Debug)]
pub(super) struct Intake {
    envelope: Envelope,
    /// `None` once the content is refused.
    delivery: Option<Delivery>,
    /// Octets that have not gone to the store yet.
    pending: Vec<u8>,
    /// How many octets are collected.
    room: usize,
    /// The share of the common memory for the octets.
    share: Share,
    /// The share for the envelope.
    recipients: Recipients,
    octets: u64,
    refusal: Option<NotKept>,
}

/// Why nothing of the content is kept.
#[derive(Debug)]
pub(super) enum NotKept {
    /// It is larger than the limit, or was abandoned.
    TooLarge,
    /// The store failed.
    Store(store::Error),
}

/// What the mail log reports about a message.
#[derive(Debug)]
pub(super) struct Delivered {
    /// Its id in the inbox.
    pub(super) id: EntryId,
    pub(super) name: String,
    pub(super) octets: u64,
    /// With the recipients that have it.
    pub(super) envelope: Envelope,
    /// Why recipients do not have it: for each in the order of their RCPT commands, or empty if all
    /// have it.
    pub(super) failures: Vec<Option<MailboxFailure>>,
}

impl Intake {
    /// A message whose stored form begins with `head`, the trace headers. `recipients` is the
    /// memory of its envelope.
    pub(super) fn new(
        delivery: Delivery,
        envelope: Envelope,
        recipients: Recipients,
        head: Vec<u8>,
        share: Share,
    ) -> Self {
        Self {
            envelope,
            delivery: Some(delivery),
            pending: head,
            room: limits::CONTENT_OCTETS_FREE,
            share,
            recipients,
            octets: 0,
            refusal: None,
        }
    }

    /// The name of the message; empty once the content is refused.
    pub(super) fn name(&self) -> &str {
        self.delivery.as_ref().map_or("", Delivery::name)
    }

    /// Collects about as much as the client sends at a time, which is `octets`. Returns how much of
    /// it may be decoded at a time.
    pub(super) fn keep_pace(&mut self, octets: usize) -> usize {
        if octets <= limits::CONTENT_OCTETS_FREE {
            if self.room > limits::CONTENT_OCTETS_FREE {
                self.put_away();
            }
        } else if octets > self.room {
            let room = octets.min(limits::CONTENT_OCTETS_MAX);
            // However much is collected, everything that is decoded at a time can be added to it.
            let wanted = room.saturating_mul(2);
            if self.share.grow_to(wanted, Purpose::Receiving) {
                self.room = room;
            }
        }
        self.room
    }

    /// Passes everything to the store and keeps only a small buffer.
    pub(super) fn put_away(&mut self) {
        self.spill();
        self.pending = Vec::new();
        self.room = limits::CONTENT_OCTETS_FREE;
        self.share.give_back();
    }

    /// Lets `decode` append content, counts it against `octets_max` and passes it to the store when
    /// there is enough of it.
    pub(super) fn take<T>(
        &mut self,
        octets_max: Option<u64>,
        decode: impl FnOnce(&mut Vec<u8>) -> T,
    ) -> T {
        let before = self.pending.len();
        let decoded = decode(&mut self.pending);
        let added = self.pending.get(before..).unwrap_or_default();
        let continues_a_field = self.octets == 0 && matches!(added.first(), Some(b' ' | b'\t'));
        self.octets = self.octets.saturating_add(crlf_octets(added));
        if continues_a_field {
            // It would continue facteur's own last field (RFC 5322 §2.2.3). No header section
            // begins like this: the client sent a body, and an empty line marks it as one.
            self.pending.insert(before, b'\n');
        }
        if octets_max.is_some_and(|octets_max| self.octets > octets_max) {
            self.refuse(NotKept::TooLarge);
        }
        if self.delivery.is_none() {
            self.pending.clear();
        } else if self.pending.len() >= self.room {
            self.spill();
        }
        decoded
    }

    /// Content octets so far, with CRLF line endings (RFC 1870 §5).
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// Whether nothing of the content is kept.
    pub(super) fn is_refused(&self) -> bool {
        self.delivery.is_none()
    }

    /// Passes the pending octets to the store.
    fn spill(&mut self) {
        let Some(delivery) = &mut self.delivery else {
            return;
        };
        if self.pending.is_empty() {
            return;
        }
        let appended = delivery.append(&self.pending);
        self.pending.clear();
        if let Err(error) = appended {
            self.refuse(NotKept::Store(error));
        }
    }

    /// Keeps nothing of the content. The caller knows the reason.
    pub(super) fn abandon(&mut self) {
        self.delivery = None;
    }

    fn refuse(&mut self, refusal: NotKept) {
        self.delivery = None;
        self.refusal.get_or_insert(refusal);
    }

    /// The id of the message, and the sub-addresses to which it is sent, if it has several
    /// recipients: the trace header names a single one.
    pub(super) fn take_subaddresses(&mut self) -> Option<(EntryId, Vec<MailboxName>)> {
        let subaddresses = self.recipients.take_subaddresses();
        let has_several = self.envelope.recipients.len() > 1 && !subaddresses.is_empty();
        let delivery = self.delivery.as_ref().filter(|_| has_several)?;
        Some((delivery.id(), subaddresses))
    }

    /// Makes the message durable in the mailbox of every recipient. Over LMTP, mailboxes that
    /// cannot take it are left out: the client keeps it for them.
    ///
    /// # Errors
    /// Why the message is not stored: report it to the client.
    pub(super) fn commit(mut self) -> Result<Delivered, NotKept> {
        self.spill();
        let Some(delivery) = self.delivery else {
            return Err(self.refusal.unwrap_or(NotKept::TooLarge));
        };
        let (id, name) = (delivery.id(), delivery.name().to_owned());
        let octets = delivery.octets();
        let envelope = &mut self.envelope;
        let failures = match envelope.protocol.family {
            Family::Smtp | Family::Http => {
                delivery.commit(&envelope.recipients).map(|()| Vec::new())
            }
            Family::Lmtp => delivery
                .commit_where_possible(&envelope.recipients)
                .map(|left_out| leave_out(envelope, &left_out)),
        };
        let failures = failures.map_err(NotKept::Store)?;
        self.recipients.clear();
        Ok(Delivered {
            id,
            name,
            octets,
            envelope: self.envelope,
            failures,
        })
    }
}

/// Removes from the recipients those whose mailbox was left out. Returns for each recipient why it
/// was, or nothing if none was.
fn leave_out(
    envelope: &mut Envelope,
    left_out: &[(MailboxName, store::Error)],
) -> Vec<Option<MailboxFailure>> {
    if left_out.is_empty() {
        return Vec::new();
    }
    let failure = |recipient: &MailboxName| {
        let found = left_out.iter().find(|(mailbox, _)| mailbox == recipient);
        found.map(|(_, error)| {
            if matches!(error, store::Error::Full { .. }) {
                MailboxFailure::Full
            } else {
                MailboxFailure::Unavailable
            }
        })
    };
    let failures: Vec<_> = envelope.recipients.iter().map(failure).collect();
    if failures.first().is_some_and(Option::is_some) {
        envelope.first_forward_path = None;
    }
    let mut of_recipients = failures.iter();
    let has_it = |_: &MailboxName| of_recipients.next().is_none_or(Option::is_none);
    envelope.recipients.retain(has_it);
    failures
}

/// How many octets `lines`, which end in LF, have with CRLF line endings.
fn crlf_octets(lines: &[u8]) -> u64 {
    let octets = lines
        .len()
        .saturating_add(memchr::memchr_iter(b'\n', lines).count());
    u64::try_from(octets).unwrap_or(u64::MAX)
}
