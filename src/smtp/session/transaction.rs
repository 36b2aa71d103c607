//! The mail transaction: MAIL, RCPT, DATA, BDAT (RFC 5321 §3.3, RFC 3030).

use std::sync::Arc;

use crate::mail::{Charset, Envelope, ForwardPath, ReversePath};
use crate::smtp::command::{MailParameters, SyntaxError};
use crate::smtp::limits::{OVERRUN_FACTOR, UNKNOWN_RECIPIENTS_MAX};
use crate::smtp::outcome::{ContentEnd, MailboxFailure, Outcome, RecipientVerdict};
use crate::smtp::reply::{self, Reply};
use crate::smtp::step::{Action, Dialect, Framing, Settings, Submission};

use super::client::Client;
use super::turn::{Rejection, Replies, Turn, Waiting};

/// The mail transaction.
#[derive(Debug)]
pub(super) struct Transaction {
    settings: Arc<Settings>,
    pub(super) phase: Phase,
    /// How many recipients of the last transaction were accepted, with repetitions.
    n_accepted: usize,
    /// How many unknown recipients the session has named.
    unknown_recipients: u32,
}

/// The progress of the transaction: see the theory of operation of the session.
#[derive(Debug)]
pub(super) enum Phase {
    Idle,
    MailRefused,
    Envelope(Envelope),
    Content,
    Chunks { octets: u64 },
    ChunksFailed,
}

impl Transaction {
    /// No open transaction.
    pub(super) fn new(settings: Arc<Settings>) -> Self {
        Self {
            settings,
            phase: Phase::Idle,
            n_accepted: 0,
            unknown_recipients: 0,
        }
    }

    /// Whether there is a transaction that RSET would end.
    pub(super) fn is_open(&self) -> bool {
        !matches!(self.phase, Phase::Idle | Phase::MailRefused)
    }

    /// The characters that are allowed in the addresses of the next command.
    pub(super) fn charset(&self) -> Charset {
        match &self.phase {
            Phase::Envelope(envelope) if envelope.protocol.utf8 => Charset::Utf8,
            Phase::Idle
            | Phase::MailRefused
            | Phase::Envelope(_)
            | Phase::Content
            | Phase::Chunks { .. }
            | Phase::ChunksFailed => Charset::Ascii,
        }
    }

    /// Ends the transaction without a reply: the driver drops its part by itself.
    pub(super) fn end(&mut self) {
        self.phase = Phase::Idle;
    }

    /// Ends the transaction, and sends `reply` once the driver has dropped its part.
    pub(super) fn abandon(&mut self, reply: Reply) -> Turn {
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Envelope(_) | Phase::Content | Phase::Chunks { .. } => {
                Turn::ask(Action::AbandonTransaction, Waiting::Abandoned(reply))
            }
            Phase::Idle | Phase::MailRefused | Phase::ChunksFailed => Turn::Say(reply),
        }
    }

    // Not inlined: see `answered`.
    #[inline(never)]
    pub(super) fn mail(
        &mut self,
        client: &Client,
        reverse_path: ReversePath,
        parameters: MailParameters,
    ) -> Turn {
        if client.name().is_none() {
            return Turn::Refuse(match self.settings.dialect {
                Dialect::Smtp => reply::HELO_FIRST,
                Dialect::Lmtp => reply::LHLO_FIRST,
            });
        }
        match self.phase {
            Phase::Idle | Phase::MailRefused => {}
            Phase::ChunksFailed => return Turn::Refuse(reply::CHUNKS_FAILED),
            Phase::Envelope(_) | Phase::Content | Phase::Chunks { .. } => {
                return Turn::Refuse(reply::MAIL_ALREADY);
            }
        }
        // The parameter belongs to an extension that EHLO announces.
        if parameters.auth && !client.is_extended() {
            return Turn::Refuse(SyntaxError::ParameterUnknown.into());
        }
        if let Some(refusal) = client.missing_authentication(self.settings.senders) {
            self.phase = Phase::MailRefused;
            return Turn::Refuse(refusal);
        }
        if self.is_too_large(parameters.declared_octets.unwrap_or(0)) {
            self.phase = Phase::MailRefused;
            return Turn::Say(reply::TOO_LARGE);
        }
        let envelope = Envelope {
            reverse_path,
            first_forward_path: None,
            recipients: Vec::new(),
            body: parameters.body,
            protocol: client.protocol(self.settings.dialect, parameters.utf8),
            declared_octets: parameters.declared_octets,
        };
        match &envelope.reverse_path {
            // A client that has logged in submits mail, on any port (RFC 6409 §6.1, RFC 8314 §3.3):
            // others might trust the sender address.
            ReversePath::Address(address) if client.is_authenticated => Turn::ask(
                Action::CheckSender(address.clone()),
                Waiting::Sender(Box::new(envelope)),
            ),
            // The null path is for reports, and belongs to nobody.
            ReversePath::Address(_) | ReversePath::Null => self.open(envelope),
        }
    }

    fn open(&mut self, envelope: Envelope) -> Turn {
        self.phase = Phase::Envelope(envelope);
        self.n_accepted = 0;
        Turn::Say(reply::SENDER_OK)
    }

    pub(super) fn sender_checked(&mut self, envelope: Envelope, verdict: &Outcome<'_>) -> Turn {
        if *verdict == Outcome::SenderPermitted {
            return self.open(envelope);
        }
        self.phase = Phase::MailRefused;
        Turn::Say(if *verdict == Outcome::SenderNotPermitted {
            reply::SENDER_NOT_PERMITTED
        } else {
            reply::SENDER_UNCHECKED
        })
    }

    /// The reply to a command that needs MAIL before it.
    fn mail_first(&self, client: &Client) -> Reply {
        client
            .missing_authentication(self.settings.senders)
            .unwrap_or(reply::MAIL_FIRST)
    }

    // Not inlined: see `answered`.
    #[inline(never)]
    pub(super) fn rcpt(&mut self, client: &Client, forward_path: ForwardPath) -> Turn {
        match &self.phase {
            Phase::Envelope(envelope) => {
                if !self.has_room_for_more(envelope) {
                    return Turn::Say(reply::TOO_MANY_RECIPIENTS);
                }
                let waiting = Waiting::Recipient(forward_path.clone());
                Turn::ask(Action::LookUpRecipient(forward_path), waiting)
            }
            Phase::Idle | Phase::Content => Turn::Refuse(self.mail_first(client)),
            Phase::MailRefused => Turn::Say(self.mail_first(client)),
            Phase::Chunks { .. } => Turn::Refuse(reply::RECIPIENT_TOO_LATE),
            Phase::ChunksFailed => Turn::Refuse(reply::CHUNKS_FAILED),
        }
    }

    fn has_room_for_more(&self, envelope: &Envelope) -> bool {
        let recipients = u32::try_from(envelope.recipients.len()).unwrap_or(u32::MAX);
        let recipients_max = self.settings.recipients_max;
        recipients_max.is_none_or(|recipients_max| recipients < recipients_max)
    }

    pub(super) fn recipient_looked_up(
        &mut self,
        forward_path: ForwardPath,
        verdict: RecipientVerdict,
    ) -> Turn {
        let reply = verdict.reply();
        if verdict == RecipientVerdict::Unknown {
            // SEC-12: a client that collects addresses has to reconnect for every few of them.
            self.unknown_recipients = self.unknown_recipients.saturating_add(1);
            if self.unknown_recipients > UNKNOWN_RECIPIENTS_MAX {
                return Turn::give_up(reply::TOO_MANY_UNKNOWN);
            }
        }
        if let (Phase::Envelope(envelope), RecipientVerdict::Accepted(mailbox)) =
            (&mut self.phase, verdict)
        {
            envelope.first_forward_path.get_or_insert(forward_path);
            envelope.recipients.push(mailbox);
            self.n_accepted = envelope.recipients.len();
        }
        Turn::Say(reply)
    }

    // Not inlined: see `answered`.
    #[inline(never)]
    pub(super) fn data(&mut self, client: &Client) -> Turn {
        match &self.phase {
            Phase::Idle | Phase::Content => Turn::Refuse(self.mail_first(client)),
            Phase::MailRefused => Turn::Say(self.mail_first(client)),
            Phase::Chunks { .. } => Turn::Refuse(reply::CHUNKS_BEGUN),
            Phase::ChunksFailed => Turn::Refuse(reply::CHUNKS_FAILED),
            // A DATA that is pipelined after recipients that were all refused is not the client's
            // error.
            Phase::Envelope(envelope) if envelope.recipients.is_empty() => {
                Turn::Say(self.no_recipient())
            }
            Phase::Envelope(_) => {
                let octets_max = self.settings.message_octets_max;
                self.begin_delivery(client, Framing::Dot { octets_max })
            }
        }
    }

    /// The chunk follows its command even if the command is refused, so each refusal reads it first
    /// (RFC 3030 §2).
    // Not inlined: see `answered`.
    #[inline(never)]
    pub(super) fn bdat(&mut self, client: &Client, octets: u64, last: bool) -> Turn {
        let framing = Framing::Chunk { octets, last };
        let refusal = match &self.phase {
            Phase::Idle | Phase::Content => Rejection::Error(self.mail_first(client)),
            Phase::MailRefused => Rejection::NoError(self.mail_first(client)),
            // The client might have sent the chunk before it knew that the earlier one failed.
            Phase::ChunksFailed => Rejection::NoError(reply::CHUNKS_FAILED),
            Phase::Envelope(envelope) if envelope.recipients.is_empty() => {
                Rejection::NoError(self.no_recipient())
            }
            Phase::Envelope(_) if !self.is_too_large(octets) => {
                return self.begin_delivery(client, framing);
            }
            Phase::Chunks { octets: before }
                if !self.is_too_large(before.saturating_add(octets)) =>
            {
                return Self::delivery_begun(framing);
            }
            Phase::Envelope(_) | Phase::Chunks { .. } => Rejection::NoError(reply::TOO_LARGE),
        };
        self.discard_chunk(octets, last, refusal)
    }

    /// Reads and discards a chunk, then sends `refusal`; an excessively large chunk closes instead.
    fn discard_chunk(&mut self, octets: u64, last: bool, refusal: Rejection) -> Turn {
        let overrun = self
            .settings
            .message_octets_max
            .is_some_and(|octets_max| octets > octets_max.saturating_mul(OVERRUN_FACTOR));
        if overrun {
            return Turn::give_up(reply::TOO_LARGE);
        }
        let refusal = match (&self.phase, refusal) {
            (Phase::Idle | Phase::MailRefused | Phase::Content, refusal) => refusal,
            (Phase::Envelope(_) | Phase::Chunks { .. } | Phase::ChunksFailed, refusal) => {
                self.phase = Phase::after_failed_chunk(last);
                match refusal {
                    Rejection::NoError(reply) if last => Rejection::OfMessage(self.to_each(reply)),
                    Rejection::Error(_) | Rejection::NoError(_) | Rejection::OfMessage(_) => {
                        refusal
                    }
                }
            }
        };
        Turn::ask(Action::DiscardChunk { octets }, Waiting::Discard(refusal))
    }

    fn begin_delivery(&mut self, client: &Client, framing: Framing) -> Turn {
        let phase = match framing {
            Framing::Dot { .. } => Phase::Content,
            Framing::Chunk { .. } => Phase::Chunks { octets: 0 },
        };
        let client_name = client.name().unwrap_or_default().to_owned();
        match std::mem::replace(&mut self.phase, phase) {
            Phase::Envelope(envelope) => {
                let submission = Box::new(Submission {
                    envelope,
                    client_name,
                });
                let action = Action::BeginDelivery(submission);
                Turn::ask(action, Waiting::Delivery(framing))
            }
            Phase::Idle
            | Phase::MailRefused
            | Phase::Content
            | Phase::Chunks { .. }
            | Phase::ChunksFailed => Turn::give_up(reply::OUT_OF_STEP),
        }
    }

    pub(super) fn delivery_begun(framing: Framing) -> Turn {
        let reply = match framing {
            Framing::Dot { .. } => Some(reply::SEND_CONTENT),
            Framing::Chunk { .. } => None,
        };
        let action = Action::ReceiveContent(framing);
        Turn::Ask(reply, action, Waiting::Content(framing))
    }

    pub(super) fn delivery_refused(&mut self, framing: Framing, refusal: Reply) -> Turn {
        match framing {
            Framing::Dot { .. } => {
                self.phase = Phase::Idle;
                Turn::Say(refusal)
            }
            Framing::Chunk { octets, last } => {
                self.discard_chunk(octets, last, Rejection::NoError(refusal))
            }
        }
    }

    pub(super) fn content_ended(&mut self, framing: Framing, end: ContentEnd) -> Turn {
        match end {
            ContentEnd::Delivered => {
                let replies = self.to_each(reply::DELIVERED);
                self.delivered(framing, replies)
            }
            ContentEnd::DeliveredToSome(failures) => self.delivered_to_some(framing, failures),
            ContentEnd::ChunkReceived => self.chunk_received(framing),
            ContentEnd::Failed(failure) => self.content_failed(framing, failure.into()),
            ContentEnd::TooLarge => self.content_failed(framing, reply::TOO_LARGE),
            ContentEnd::Overrun => self.content_endless(reply::TOO_LARGE),
            ContentEnd::WrongLineEnding(found) => {
                self.content_failed(framing, Reply::wrong_line_ending(found))
            }
            // What follows could be content or commands: nothing more is read (SEC-1).
            ContentEnd::LineEndingFault(found) => {
                self.content_endless(Reply::content_line_ending(found))
            }
        }
    }

    /// The replies to the end of a message.
    fn to_each(&self, reply: Reply) -> Replies {
        let recipients = match self.settings.dialect {
            Dialect::Smtp => 1,
            Dialect::Lmtp => self.n_accepted,
        };
        Replies::all(reply, recipients)
    }

    /// The refusal of a message without recipients.
    fn no_recipient(&self) -> Reply {
        match self.settings.dialect {
            Dialect::Smtp => reply::NO_RECIPIENT,
            Dialect::Lmtp => reply::NO_LMTP_RECIPIENT,
        }
    }

    fn delivered_to_some(
        &mut self,
        framing: Framing,
        failures: Vec<Option<MailboxFailure>>,
    ) -> Turn {
        if self.settings.dialect != Dialect::Lmtp || failures.len() != self.n_accepted {
            return Turn::give_up(reply::OUT_OF_STEP);
        }
        self.delivered(framing, Replies::each(reply::DELIVERED, failures))
    }

    fn delivered(&mut self, framing: Framing, replies: Replies) -> Turn {
        match framing {
            Framing::Dot { .. } | Framing::Chunk { last: true, .. } => {
                self.phase = Phase::Idle;
                Turn::SayEach(replies)
            }
            Framing::Chunk { last: false, .. } => Turn::give_up(reply::OUT_OF_STEP),
        }
    }

    fn chunk_received(&mut self, framing: Framing) -> Turn {
        match (&mut self.phase, framing) {
            (
                Phase::Chunks { octets: received },
                Framing::Chunk {
                    octets,
                    last: false,
                },
            ) => {
                *received = received.saturating_add(octets);
                Turn::Say(Reply::chunk_received(octets))
            }
            _ => Turn::give_up(reply::OUT_OF_STEP),
        }
    }

    /// The content was read to its end, and nothing of it is kept.
    fn content_failed(&mut self, framing: Framing, reply: Reply) -> Turn {
        match framing {
            Framing::Dot { .. } | Framing::Chunk { last: true, .. } => {
                self.phase = Phase::Idle;
                Turn::SayEach(self.to_each(reply))
            }
            Framing::Chunk { last: false, .. } => {
                self.phase = Phase::ChunksFailed;
                Turn::Say(reply)
            }
        }
    }

    /// The content was not read to its end, and nothing of it is kept.
    fn content_endless(&self, reply: Reply) -> Turn {
        Turn::SayEach(self.to_each(reply).at_end())
    }

    fn is_too_large(&self, octets: u64) -> bool {
        self.settings
            .message_octets_max
            .is_some_and(|octets_max| octets > octets_max)
    }
}

impl Phase {
    /// After the last chunk, the pipeline has nothing more of this message: the client may begin
    /// another without RSET.
    fn after_failed_chunk(last: bool) -> Self {
        if last { Self::Idle } else { Self::ChunksFailed }
    }
}
