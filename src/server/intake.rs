//! The content of one message on its way from the decoder to the store.
//!
//! Octets are collected until there are enough for one write: the more of them, the faster they
//! come, and as far as there is memory (SEC-9). Once the content is refused (too
//! large, or the store failed) the delivery is dropped and what still comes is only counted: the
//! client is heard to the end of its content, and nothing of it is kept.

use crate::mail::Envelope;
use crate::store::{self, Delivery};

use super::budget::{Purpose, Recipients, Share};
use super::limits;

/// A message that is being received.
#[derive(Debug)]
pub(super) struct Intake {
    envelope: Envelope,
    /// `None` once the content is refused.
    delivery: Option<Delivery>,
    /// Octets that are not yet with the store.
    pending: Vec<u8>,
    /// How many of them are collected.
    room: usize,
    /// What these have of the memory that is for all.
    share: Share,
    /// What the envelope has of it.
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

/// What the mail log tells about a message.
#[derive(Debug)]
pub(super) struct Delivered {
    pub(super) name: String,
    pub(super) octets: u64,
    pub(super) envelope: Envelope,
}

impl Intake {
    /// A message whose stored form begins with `head`, the trace headers, and whose `recipients`
    /// have the memory of its envelope.
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

    /// Collects about as much as the client sends at once, which is `octets`. Gives what of it may
    /// be decoded at once.
    pub(super) fn keep_pace(&mut self, octets: usize) -> usize {
        if octets <= limits::CONTENT_OCTETS_FREE {
            if self.room > limits::CONTENT_OCTETS_FREE {
                self.put_away();
            }
        } else if octets > self.room {
            let room = octets.min(limits::CONTENT_OCTETS_MAX);
            // Whatever it has collected, all that is decoded at once may come on top.
            let wanted = room.saturating_mul(2);
            if self.share.grow_to(wanted, Purpose::Receiving) {
                self.room = room;
            }
        }
        self.room
    }

    /// Hands everything to the store and holds nothing more than a little.
    pub(super) fn put_away(&mut self) {
        self.spill();
        self.pending = Vec::new();
        self.room = limits::CONTENT_OCTETS_FREE;
        self.share.give_back();
    }

    /// Lets `decode` append content, counts it against `octets_max` and hands it on to the store
    /// when there is enough of it.
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
            // It would be a part of our own last field (RFC 5322 §2.2.3). No header section begins
            // so: what the client sent is a body, and an empty line says so.
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

    /// Hands what is pending to the store.
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

    /// Keeps nothing of the content: whoever takes it knows why.
    pub(super) fn abandon(&mut self) {
        self.delivery = None;
    }

    fn refuse(&mut self, refusal: NotKept) {
        self.delivery = None;
        self.refusal.get_or_insert(refusal);
    }

    /// Makes the message durable in the mailbox of every recipient.
    ///
    /// # Errors
    /// Why it is not there: tell the client.
    pub(super) fn commit(mut self) -> Result<Delivered, NotKept> {
        self.spill();
        let Some(delivery) = self.delivery else {
            return Err(self.refusal.unwrap_or(NotKept::TooLarge));
        };
        let name = delivery.name().to_owned();
        let octets = delivery.octets();
        delivery
            .commit(&self.envelope.recipients)
            .map_err(NotKept::Store)?;
        self.recipients.clear();
        Ok(Delivered {
            name,
            octets,
            envelope: self.envelope,
        })
    }
}

/// How many octets `lines`, which end in LF, have with CRLF line endings.
fn crlf_octets(lines: &[u8]) -> u64 {
    let octets = lines
        .len()
        .saturating_add(memchr::memchr_iter(b'\n', lines).count());
    u64::try_from(octets).unwrap_or(u64::MAX)
}
