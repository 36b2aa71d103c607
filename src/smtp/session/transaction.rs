//! The mail transaction: MAIL, RCPT, DATA, BDAT (RFC 5321 §3.3, RFC 3030).

use crate::mail::{Envelope, ForwardPath, ReversePath, Tls};
use crate::smtp::command::{MailParameters, SyntaxError};
use crate::smtp::limits::{OVERRUN_FACTOR, UNKNOWN_RECIPIENTS_MAX};
use crate::smtp::outcome::{ContentEnd, Outcome, RecipientVerdict};
use crate::smtp::reply::{self, Reply};
use crate::smtp::step::{Action, Framing, Senders, Step, Submission};

use super::{Phase, Refusal, Session, Waiting};

impl Session {
    // Not inlined: see `answered`.
    #[inline(never)]
    pub(super) fn mail(&mut self, reverse_path: ReversePath, parameters: MailParameters) -> Step {
        if self.client_name().is_none() {
            return self.refuse(reply::HELO_FIRST);
        }
        match self.phase {
            Phase::Idle | Phase::MailRefused => {}
            Phase::ChunksFailed => return self.refuse(reply::CHUNKS_FAILED),
            Phase::Envelope(_) | Phase::Content | Phase::Chunks { .. } => {
                return self.refuse(reply::MAIL_ALREADY);
            }
        }
        // The parameter belongs to an extension, which EHLO has to ask for.
        if parameters.auth && !self.is_extended() {
            return self.refuse(SyntaxError::ParameterUnknown.into());
        }
        if let Some(refusal) = self.missing_authentication() {
            self.phase = Phase::MailRefused;
            return self.refuse(refusal);
        }
        if self.is_too_large(parameters.declared_octets.unwrap_or(0)) {
            self.phase = Phase::MailRefused;
            return self.say(reply::TOO_LARGE);
        }
        let envelope = Envelope {
            reverse_path,
            first_forward_path: None,
            recipients: Vec::new(),
            body: parameters.body,
            protocol: self.protocol(parameters.utf8),
            declared_octets: parameters.declared_octets,
        };
        match (&self.user, &envelope.reverse_path) {
            // Whoever has logged in submits mail, on whatever port (RFC 6409 §6.1, RFC 8314 §3.3):
            // others may believe that the sender is who it says.
            (Some(_), ReversePath::Address(address)) => {
                let action = Action::CheckSender(address.clone());
                self.waiting = Waiting::Sender(Box::new(envelope));
                Step {
                    reply: None,
                    action,
                }
            }
            // The null path is for reports, and nobody's.
            (Some(_), ReversePath::Null) | (None, _) => self.open_transaction(envelope),
        }
    }

    /// RFC 4954 §6: mail is taken after AUTH only, and there was none.
    fn missing_authentication(&self) -> Option<Reply> {
        match (self.settings.senders, &self.user) {
            (Senders::Anybody, _) | (_, Some(_)) => None,
            (Senders::Authenticated, None) => Some(match self.link.tls {
                Tls::Offered if !self.link.is_private() => reply::TLS_AND_AUTH_REQUIRED,
                Tls::NotOffered | Tls::Offered | Tls::Active(_) => reply::AUTH_REQUIRED,
            }),
        }
    }

    fn open_transaction(&mut self, envelope: Envelope) -> Step {
        self.phase = Phase::Envelope(envelope);
        self.say(reply::SENDER_OK)
    }

    pub(super) fn sender_checked(&mut self, envelope: Envelope, verdict: &Outcome<'_>) -> Step {
        if *verdict == Outcome::SenderPermitted {
            return self.open_transaction(envelope);
        }
        self.phase = Phase::MailRefused;
        self.say(if *verdict == Outcome::SenderNotPermitted {
            reply::SENDER_NOT_PERMITTED
        } else {
            reply::SENDER_UNCHECKED
        })
    }

    /// What is said to a command that comes before MAIL: what is to come first.
    fn mail_first(&self) -> Reply {
        self.missing_authentication().unwrap_or(reply::MAIL_FIRST)
    }

    // Not inlined: see `answered`.
    #[inline(never)]
    pub(super) fn rcpt(&mut self, forward_path: ForwardPath) -> Step {
        match &self.phase {
            Phase::Envelope(envelope) => {
                let recipients_max = self.settings.recipients_max.unwrap_or(usize::MAX);
                if envelope.recipients.len() >= recipients_max {
                    return self.say(reply::TOO_MANY_RECIPIENTS);
                }
                self.waiting = Waiting::Recipient(forward_path.clone());
                Step {
                    reply: None,
                    action: Action::LookUpRecipient(forward_path),
                }
            }
            Phase::Idle | Phase::Content => self.refuse(self.mail_first()),
            Phase::MailRefused => self.say(self.mail_first()),
            Phase::Chunks { .. } => self.refuse(reply::RECIPIENT_TOO_LATE),
            Phase::ChunksFailed => self.refuse(reply::CHUNKS_FAILED),
        }
    }

    pub(super) fn recipient_looked_up(
        &mut self,
        forward_path: ForwardPath,
        verdict: RecipientVerdict,
    ) -> Step {
        let reply = verdict.reply();
        if verdict == RecipientVerdict::Unknown {
            // SEC-12: whoever collects addresses has to connect again for every few of them.
            self.unknown_recipients = self.unknown_recipients.saturating_add(1);
            if self.unknown_recipients > UNKNOWN_RECIPIENTS_MAX {
                return self.close(reply::TOO_MANY_UNKNOWN);
            }
        }
        if let (Phase::Envelope(envelope), RecipientVerdict::Accepted(mailbox)) =
            (&mut self.phase, verdict)
        {
            envelope.first_forward_path.get_or_insert(forward_path);
            envelope.recipients.push(mailbox);
        }
        self.say(reply)
    }

    // Not inlined: see `answered`.
    #[inline(never)]
    pub(super) fn data(&mut self) -> Step {
        match &self.phase {
            Phase::Idle | Phase::Content => self.refuse(self.mail_first()),
            Phase::MailRefused => self.say(self.mail_first()),
            Phase::Chunks { .. } => self.refuse(reply::CHUNKS_BEGUN),
            Phase::ChunksFailed => self.refuse(reply::CHUNKS_FAILED),
            // Pipelined behind recipients that were all refused, DATA is no error of the client's.
            Phase::Envelope(envelope) if envelope.recipients.is_empty() => {
                self.say(reply::NO_RECIPIENT)
            }
            Phase::Envelope(_) => {
                let octets_max = self.settings.message_octets_max;
                self.begin_delivery(Framing::Dot { octets_max })
            }
        }
    }

    /// The chunk follows its command whether or not the command is accepted, so each refusal reads
    /// it first (RFC 3030 §2).
    // Not inlined: see `answered`.
    #[inline(never)]
    pub(super) fn bdat(&mut self, octets: u64, last: bool) -> Step {
        let framing = Framing::Chunk { octets, last };
        let refusal = match &self.phase {
            Phase::Idle | Phase::Content => Refusal::Error(self.mail_first()),
            Phase::MailRefused => Refusal::NoError(self.mail_first()),
            // The chunk may have been under way when the earlier one failed.
            Phase::ChunksFailed => Refusal::NoError(reply::CHUNKS_FAILED),
            Phase::Envelope(envelope) if envelope.recipients.is_empty() => {
                Refusal::NoError(reply::NO_RECIPIENT)
            }
            Phase::Envelope(_) if !self.is_too_large(octets) => {
                return self.begin_delivery(framing);
            }
            Phase::Chunks { octets: before }
                if !self.is_too_large(before.saturating_add(octets)) =>
            {
                return self.receive(framing);
            }
            Phase::Envelope(_) | Phase::Chunks { .. } => Refusal::NoError(reply::TOO_LARGE),
        };
        self.discard_chunk(octets, last, refusal)
    }

    /// Reads a chunk for nothing and then says `refusal`; a chunk without measure closes instead.
    fn discard_chunk(&mut self, octets: u64, last: bool, refusal: Refusal) -> Step {
        let overrun = self
            .settings
            .message_octets_max
            .is_some_and(|octets_max| octets > octets_max.saturating_mul(OVERRUN_FACTOR));
        if overrun {
            return self.close(reply::TOO_LARGE);
        }
        match self.phase {
            Phase::Idle | Phase::MailRefused | Phase::Content => {}
            Phase::Envelope(_) | Phase::Chunks { .. } | Phase::ChunksFailed => {
                self.phase = Phase::after_failed_chunk(last);
            }
        }
        self.waiting = Waiting::Discard(refusal);
        Step {
            reply: None,
            action: Action::DiscardChunk { octets },
        }
    }

    fn begin_delivery(&mut self, framing: Framing) -> Step {
        let phase = match framing {
            Framing::Dot { .. } => Phase::Content,
            Framing::Chunk { .. } => Phase::Chunks { octets: 0 },
        };
        let client_name = self.client_name().unwrap_or_default().to_owned();
        match std::mem::replace(&mut self.phase, phase) {
            Phase::Envelope(envelope) => {
                self.waiting = Waiting::Delivery(framing);
                let submission = Box::new(Submission {
                    envelope,
                    client_name,
                });
                Step {
                    reply: None,
                    action: Action::BeginDelivery(submission),
                }
            }
            Phase::Idle
            | Phase::MailRefused
            | Phase::Content
            | Phase::Chunks { .. }
            | Phase::ChunksFailed => self.close(reply::OUT_OF_STEP),
        }
    }

    pub(super) fn delivery_begun(&mut self, framing: Framing) -> Step {
        let receive = self.receive(framing);
        match framing {
            Framing::Dot { .. } => Step {
                reply: Some(reply::SEND_CONTENT),
                ..receive
            },
            Framing::Chunk { .. } => receive,
        }
    }

    pub(super) fn delivery_refused(&mut self, framing: Framing, refusal: Reply) -> Step {
        match framing {
            Framing::Dot { .. } => {
                self.phase = Phase::Idle;
                self.say(refusal)
            }
            Framing::Chunk { octets, last } => {
                self.discard_chunk(octets, last, Refusal::NoError(refusal))
            }
        }
    }

    fn receive(&mut self, framing: Framing) -> Step {
        self.waiting = Waiting::Content(framing);
        Step {
            reply: None,
            action: Action::ReceiveContent(framing),
        }
    }

    pub(super) fn content_ended(&mut self, framing: Framing, end: ContentEnd) -> Step {
        match end {
            ContentEnd::Delivered => self.delivered(framing),
            ContentEnd::ChunkReceived => self.chunk_received(framing),
            ContentEnd::Failed(failure) => self.content_failed(framing, failure.into()),
            ContentEnd::TooLarge => self.content_failed(framing, reply::TOO_LARGE),
            ContentEnd::Overrun => self.close(reply::TOO_LARGE),
            ContentEnd::WrongLineEnding(found) => {
                self.content_failed(framing, Reply::wrong_line_ending(found))
            }
            // What follows may be content or commands: nothing more is read (SEC-1).
            ContentEnd::LineEndingFault(found) => self.close(Reply::content_line_ending(found)),
        }
    }

    fn delivered(&mut self, framing: Framing) -> Step {
        match framing {
            Framing::Dot { .. } | Framing::Chunk { last: true, .. } => {
                self.phase = Phase::Idle;
                self.say(reply::DELIVERED)
            }
            Framing::Chunk { last: false, .. } => self.close(reply::OUT_OF_STEP),
        }
    }

    fn chunk_received(&mut self, framing: Framing) -> Step {
        match (&mut self.phase, framing) {
            (
                Phase::Chunks { octets: received },
                Framing::Chunk {
                    octets,
                    last: false,
                },
            ) => {
                *received = received.saturating_add(octets);
                self.say(Reply::chunk_received(octets))
            }
            _ => self.close(reply::OUT_OF_STEP),
        }
    }

    /// The end of the content has been read and nothing of it is kept.
    fn content_failed(&mut self, framing: Framing, reply: Reply) -> Step {
        self.phase = match framing {
            Framing::Dot { .. } => Phase::Idle,
            Framing::Chunk { last, .. } => Phase::after_failed_chunk(last),
        };
        self.say(reply)
    }

    fn is_too_large(&self, octets: u64) -> bool {
        self.settings
            .message_octets_max
            .is_some_and(|octets_max| octets > octets_max)
    }
}

impl Phase {
    /// After the last chunk nothing is in the pipeline that belongs to this message: the client may
    /// begin another without RSET.
    fn after_failed_chunk(last: bool) -> Self {
        if last { Self::Idle } else { Self::ChunksFailed }
    }
}
