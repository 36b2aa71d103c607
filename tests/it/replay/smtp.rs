//! The SMTP session in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use facteur::accounts::{self, Accounts, Resolution};
use facteur::mail::{Charset, Domain, Dots, Foreign};
use facteur::smtp::{
    Action, ContentEnd, Dialect, Framing, Outcome, RecipientVerdict, Senders, Session, Settings,
    Step, Submission,
};
use facteur::wire::{
    BareOctets, ChunkDecoder, DotDecoder, LfPolicy, LineBuffer, LineEnding, LineEndingFault,
    Progress, Scan,
};

use super::fill;
use crate::transcripts::{Transcript, facts};

/// The configuration of a replay.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    pub(crate) dialect: Dialect,
    pub(crate) message_octets: Option<u64>,
    pub(crate) recipients: Option<u32>,
    pub(crate) errors: Option<u32>,
    pub(crate) domains: Vec<String>,
}

/// What the driver is currently doing.
enum Task {
    Line { octets_max: usize },
    Lines(DotDecoder, Option<u64>),
    Chunk { left: u64, last: bool },
    Discard { left: u64 },
    Closed,
}

pub(crate) struct Replay {
    session: Session,
    accounts: Accounts,
    input: LineBuffer,
    task: Task,
    at_first_octet: bool,
    submission: Option<Submission>,
    content: Vec<u8>,
    chunks: Option<ChunkDecoder>,
    fault: Option<&'static str>,
    bare_octets: BareOctets,
    own_senders: bool,
    /// The last user that logged in.
    user: Option<String>,
    /// Everything that was sent.
    pub(crate) output: Vec<u8>,
    /// The content of each mailbox, in stored form without trace headers.
    pub(crate) mailboxes: BTreeMap<String, Vec<Vec<u8>>>,
}

impl Replay {
    pub(crate) fn new(limits: &Limits, transcript: &Transcript) -> Self {
        let domain = |text: &str| Domain::parse(text, Charset::Utf8).unwrap();
        let settings = Arc::new(Settings {
            hostname: domain("localhost"),
            message_octets_max: limits.message_octets,
            recipients_max: limits.recipients,
            errors_max: limits.errors,
            scram: transcript.has("scram"),
            senders: if ["own-senders", "authentication-required"]
                .iter()
                .any(|fact| transcript.has(fact))
            {
                Senders::Authenticated
            } else {
                Senders::Anybody
            },
            dialect: limits.dialect,
            local_dots: Dots::Anywhere,
            http_port: None,
        });
        let session = Session::new(settings, super::link(transcript));
        let accounts = Accounts::open(&accounts::Settings {
            hostname: domain("localhost"),
            domains: limits.domains.iter().map(|text| domain(text)).collect(),
            subaddress: Some('+'),
        });
        let mut replay = Self {
            session,
            accounts,
            input: LineBuffer::new(4_096, LfPolicy::Accept),
            task: Task::Closed,
            at_first_octet: true,
            submission: None,
            content: Vec::new(),
            chunks: None,
            fault: None,
            bare_octets: if transcript.strict || transcript.has("remote") {
                BareOctets::Refuse
            } else {
                BareOctets::Accept
            },
            own_senders: transcript.has("own-senders"),
            user: None,
            output: Vec::new(),
            mailboxes: BTreeMap::new(),
        };
        let step = replay.session.greet();
        replay.perform(step);
        replay
    }

    pub(crate) fn is_closed(&self) -> bool {
        matches!(self.task, Task::Closed)
    }

    /// Octets arrive from the client.
    pub(crate) fn feed(&mut self, octets: &[u8]) {
        fill(&mut self.input, octets);
        while let Some(step) = self.advance() {
            self.perform(step);
        }
    }

    /// The client closes its side.
    pub(crate) fn end(&mut self) {
        if !self.is_closed() {
            self.task = Task::Closed;
        }
    }

    /// Continues the task; `None` when it needs more octets.
    fn advance(&mut self) -> Option<Step> {
        match std::mem::replace(&mut self.task, Task::Closed) {
            Task::Closed => None,
            Task::Line { octets_max } => self.line(octets_max),
            Task::Lines(decoder, octets_max) => self.lines(decoder, octets_max),
            Task::Chunk { left, last } => self.chunk(left, last),
            Task::Discard { left } => {
                let left = self.take_octets(left, |_, _| ());
                if left == 0 {
                    return Some(self.session.resume(Outcome::ChunkDiscarded));
                }
                self.task = Task::Discard { left };
                None
            }
        }
    }

    fn line(&mut self, octets_max: usize) -> Option<Step> {
        self.input.set_line_octets_max(octets_max);
        if self.at_first_octet
            && let Some(first) = self.input.unread().first()
        {
            self.at_first_octet = false;
            if !first.is_ascii_alphabetic() {
                let foreign = Foreign::of_octets(self.input.unread());
                return Some(self.session.resume(Outcome::ForeignProtocol(foreign)));
            }
        }
        Some(match self.input.scan() {
            Scan::Line => self.session.resume(Outcome::Line(self.input.line())),
            Scan::TooLong => self.session.resume(Outcome::LineTooLong),
            Scan::Fault(fault) => self.session.resume(Outcome::LineEndingFault(fault.found())),
            Scan::Incomplete => {
                self.task = Task::Line { octets_max };
                return None;
            }
        })
    }

    fn lines(&mut self, mut decoder: DotDecoder, octets_max: Option<u64>) -> Option<Step> {
        let (consumed, progress) = decoder.decode(self.input.unread(), &mut self.content);
        self.input.consume(consumed);
        let octets = crlf_octets(&self.content);
        let end = match progress {
            Progress::End if octets_max.is_some_and(|most| octets > most) => ContentEnd::TooLarge,
            Progress::End => self.deliver(),
            Progress::Refused(fault) => ContentEnd::WrongLineEnding(fault.found()),
            Progress::Fault(fault) => ContentEnd::LineEndingFault(fault.found()),
            Progress::More if octets_max.is_some_and(|most| octets > 2 * most) => {
                ContentEnd::Overrun
            }
            Progress::More => {
                self.task = Task::Lines(decoder, octets_max);
                return None;
            }
        };
        Some(self.session.resume(Outcome::Content(end)))
    }

    fn chunk(&mut self, left: u64, last: bool) -> Option<Step> {
        let ending = self.input.ending().unwrap_or(LineEnding::CrLf);
        let mut chunks = self
            .chunks
            .take()
            .unwrap_or_else(|| ChunkDecoder::new(ending, self.bare_octets));
        let mut fault = self.fault;
        let left = self.take_octets(left, |octets, content| {
            if fault.is_none() {
                fault = chunks
                    .decode(octets, content)
                    .err()
                    .map(LineEndingFault::found);
            }
        });
        if left > 0 {
            (self.fault, self.chunks) = (fault, Some(chunks));
            self.task = Task::Chunk { left, last };
            return None;
        }
        if last && fault.is_none() {
            fault = chunks
                .finish(&mut self.content)
                .err()
                .map(LineEndingFault::found);
        }
        let end = match fault {
            Some(found) => ContentEnd::WrongLineEnding(found),
            None if last => self.deliver(),
            None => {
                self.chunks = Some(chunks);
                ContentEnd::ChunkReceived
            }
        };
        self.fault = None;
        Some(self.session.resume(Outcome::Content(end)))
    }

    /// Passes up to `left` octets to `take`; returns how many are still to come.
    fn take_octets(&mut self, left: u64, take: impl FnOnce(&[u8], &mut Vec<u8>)) -> u64 {
        let unread = self.input.unread();
        let room = usize::try_from(left).unwrap().min(unread.len());
        take(&unread[..room], &mut self.content);
        self.input.consume(room);
        left - u64::try_from(room).unwrap()
    }

    fn deliver(&mut self) -> ContentEnd {
        let submission = self.submission.take().unwrap();
        let mut names: Vec<String> = Vec::new();
        for mailbox in submission.envelope.recipients {
            let name = mailbox.to_string();
            if !names.contains(&name) {
                names.push(name);
            }
        }
        for name in names {
            self.mailboxes
                .entry(name)
                .or_default()
                .push(self.content.clone());
        }
        ContentEnd::Delivered
    }

    /// Sends the reply and performs what needs no octets.
    fn perform(&mut self, mut step: Step) {
        loop {
            if let Some(reply) = step.reply {
                reply.render(&mut self.output);
            }
            let outcome = match step.action {
                Action::ReadLine { octets_max } => return self.task = Task::Line { octets_max },
                Action::Close(_) => return self.task = Task::Closed,
                Action::Continue => Outcome::Continued,
                Action::AbandonTransaction => {
                    self.submission = None;
                    Outcome::TransactionAbandoned
                }
                Action::DiscardChunk { octets } => {
                    self.submission = None;
                    return self.task = Task::Discard { left: octets };
                }
                Action::ReceiveContent(Framing::Dot { octets_max }) => {
                    let ending = self.input.ending().unwrap_or(LineEnding::CrLf);
                    return self.task =
                        Task::Lines(DotDecoder::new(ending, self.bare_octets), octets_max);
                }
                Action::ReceiveContent(Framing::Chunk { octets, last }) => {
                    return self.task = Task::Chunk { left: octets, last };
                }
                Action::BeginDelivery(submission) => {
                    self.submission = Some(*submission);
                    self.content.clear();
                    self.chunks = None;
                    Outcome::DeliveryBegun
                }
                Action::LookUpRecipient(path) => {
                    let exists = |_: &_| Ok::<_, std::convert::Infallible>(false);
                    Outcome::Recipient(match self.accounts.resolve(&path, exists).unwrap() {
                        Resolution::Mailbox(mailbox) => RecipientVerdict::Accepted(mailbox),
                        Resolution::NotLocal => RecipientVerdict::NotLocal,
                        Resolution::Unknown => RecipientVerdict::Unknown,
                    })
                }
                Action::CheckPassword { credentials, .. } => {
                    self.user = Some(credentials.user);
                    Outcome::PasswordAccepted
                }
                Action::BeginScram { .. } => Outcome::ScramBegun(facts::scram_parameters()),
                Action::CheckProof { attempt, .. } => match facts::verify(&attempt) {
                    Some(signature) => {
                        self.user = Some(attempt.user);
                        Outcome::ProofAccepted { signature }
                    }
                    None => Outcome::PasswordRefused,
                },
                Action::CheckSender(address)
                    if !self.own_senders || self.user == Some(address.to_string()) =>
                {
                    Outcome::SenderPermitted
                }
                Action::CheckSender(_) => Outcome::SenderNotPermitted,
                Action::StartTls => {
                    self.at_first_octet = true;
                    Outcome::TlsStarted(super::bindings())
                }
            };
            step = self.session.resume(outcome);
        }
    }
}

fn crlf_octets(content: &[u8]) -> u64 {
    let lines = content.iter().filter(|octet| **octet == b'\n').count();
    u64::try_from(content.len() + lines).unwrap()
}
