//! The POP3 session in memory.

use std::sync::Arc;

use facteur::mail::{Foreign, MessageSummary, UniqueId, trace};
use facteur::pop3::{Action, Extent, Outcome, Session, Settings, Step, limits};
use facteur::wire::{DotEncoder, LfPolicy, LineBuffer, Scan, TopCut};

use super::fill;
use crate::transcripts::{Transcript, facts};

pub(crate) struct Replay {
    session: Session,
    input: LineBuffer,
    line_octets_max: usize,
    at_first_octet: bool,
    closed: bool,
    /// All messages, as mailbox and stored octets.
    messages: Vec<(String, Vec<u8>)>,
    /// The messages of the mailbox that logged in.
    maildrop: Vec<Vec<u8>>,
    open: usize,
    /// Everything that was sent.
    pub(crate) output: Vec<u8>,
}

impl Replay {
    pub(crate) fn new(messages: Vec<(String, Vec<u8>)>, transcript: &Transcript) -> Self {
        let settings = Settings {
            hostname: "localhost".to_owned(),
            errors_max: Some(limits::ERRORS_MAX),
            scram: transcript.has("scram"),
            utf8: transcript.has("utf8"),
            http_port: None,
        };
        let session = Session::new(settings, super::link(transcript));
        let mut replay = Self {
            session,
            input: LineBuffer::new(4_096, LfPolicy::Accept),
            line_octets_max: 0,
            at_first_octet: true,
            closed: false,
            messages,
            maildrop: Vec::new(),
            open: 0,
            output: Vec::new(),
        };
        let step = replay.session.greet();
        replay.perform(step);
        replay
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed
    }

    /// Octets arrive from the client.
    pub(crate) fn feed(&mut self, octets: &[u8]) {
        fill(&mut self.input, octets);
        while !self.closed
            && let Some(step) = self.advance()
        {
            self.perform(step);
        }
    }

    /// The client closes its side.
    pub(crate) fn end(&mut self) {
        self.closed = true;
    }

    fn advance(&mut self) -> Option<Step> {
        self.input.set_line_octets_max(self.line_octets_max);
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
            Scan::Incomplete => return None,
        })
    }

    fn perform(&mut self, mut step: Step) {
        loop {
            if let Some(response) = &mut step.response {
                while !response.render(&mut self.output, 0) {}
            }
            let outcome = match step.action {
                Action::ReadLine { octets_max } => return self.line_octets_max = octets_max,
                Action::Close(_) => return self.closed = true,
                Action::CheckPassword { credentials, .. } => self.find_mailbox(&credentials.user),
                Action::BeginScram { .. } => Outcome::ScramBegun(facts::scram_parameters()),
                Action::CheckProof { attempt, .. } => match facts::verify(&attempt) {
                    Some(signature) => {
                        drop(self.find_mailbox(&attempt.user));
                        Outcome::ProofAccepted { signature }
                    }
                    None => Outcome::PasswordRefused,
                },
                Action::OpenMaildrop => Outcome::MaildropOpened(Arc::new(self.summaries())),
                Action::OpenMessage(number) => {
                    self.open = number.position();
                    let internationalized = trace::needs_utf8(&self.maildrop[self.open]);
                    Outcome::MessageOpened {
                        internationalized,
                        edited_octets: None,
                    }
                }
                Action::SendContent(extent) => self.send_content(extent),
                Action::RemoveMarked(_) => Outcome::Removed,
                Action::StartTls => {
                    self.at_first_octet = true;
                    Outcome::TlsStarted(super::bindings())
                }
            };
            step = self.session.resume(outcome);
        }
    }

    fn find_mailbox(&mut self, user: &str) -> Outcome<'static> {
        let mut names: Vec<&str> = self
            .messages
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        names.sort_unstable();
        names.dedup();
        names.retain(|name| name.split('@').next() == Some(user));
        let name = match names.as_slice() {
            _ if user.contains('@') => user.to_owned(),
            [name] => (*name).to_owned(),
            _ => return Outcome::MailboxAmbiguous,
        };
        let mine = self
            .messages
            .iter()
            .filter(|(mailbox, _)| mailbox.eq_ignore_ascii_case(&name));
        self.maildrop = mine.map(|(_, message)| message.clone()).collect();
        Outcome::PasswordAccepted
    }

    fn summaries(&self) -> Vec<MessageSummary> {
        let summary = |(position, message): (usize, &Vec<u8>)| {
            let lines = message.iter().filter(|octet| **octet == b'\n').count();
            MessageSummary {
                octets: u64::try_from(message.len() + lines).unwrap(),
                unique_id: UniqueId::parse(format!("{}", position + 1)).unwrap(),
            }
        };
        self.maildrop.iter().enumerate().map(summary).collect()
    }

    fn send_content(&mut self, extent: Extent) -> Outcome<'static> {
        let message = &self.maildrop[self.open];
        let wanted = match extent {
            Extent::Whole => message.len(),
            Extent::Top { lines } => TopCut::new(lines).cut(message),
        };
        let mut encoder = DotEncoder::new();
        encoder.encode(&message[..wanted], &mut self.output);
        encoder.finish(&mut self.output);
        Outcome::ContentSent
    }
}
