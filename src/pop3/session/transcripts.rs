//! Replays `tests/transcripts/pop3/*.txt` against the session, without a socket.
//!
//! Their form is described in `tests/transcripts/format.rs`.
//!
//! Any password opens a mailbox; a user name without a domain stands for the one mailbox with that
//! local part.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "the numbers of a test are small"
)]

use std::{collections::VecDeque, fs, path::Path, sync::Arc};

use super::{Action, Extent, Outcome, Session, Settings, Step};
use crate::{
    mail::{MessageSummary, UniqueId, sasl::scram, trace},
    pop3::limits::{ERRORS_MAX, PASSWORD_FAILURES_MAX},
    testing::{
        facts,
        format::{self, Message, Transcript},
    },
};

/// The lines of a message, without their endings.
fn lines_of(message: &Message) -> Vec<Vec<u8>> {
    let content = message
        .content
        .strip_suffix(b"\n")
        .unwrap_or(&message.content);
    content
        .split(|octet| *octet == b'\n')
        .map(<[u8]>::to_vec)
        .collect()
}

/// A naive driver: line reader, mailboxes and socket in one.
struct Driver {
    session: Session,
    mail: Vec<(String, Vec<Vec<u8>>)>,
    /// The messages of the maildrop that is being opened or is open.
    maildrop: Vec<Vec<Vec<u8>>>,
    open_message: usize,
    ending: Option<&'static str>,
    at_first_octet: bool,
    input: Vec<u8>,
    output: VecDeque<u8>,
    closed: bool,
}

enum Input {
    Line(Vec<u8>),
    TooLong,
    EndingFault,
    Foreign,
}

impl Driver {
    fn new(transcript: &Transcript) -> Self {
        let mail = transcript.before.iter();
        let mail = mail.map(|message| (message.mailbox.clone(), lines_of(message)));
        let settings = Settings {
            hostname: "localhost".to_owned(),
            errors_max: ERRORS_MAX,
            scram: transcript.has("scram"),
            utf8: transcript.has("utf8"),
            password_failures_max: PASSWORD_FAILURES_MAX,
        };
        let mut driver = Self {
            session: Session::new(settings, facts::link(transcript)),
            mail: mail.collect(),
            maildrop: Vec::new(),
            open_message: 0,
            ending: None,
            at_first_octet: true,
            input: Vec::new(),
            output: VecDeque::new(),
            closed: false,
        };
        let step = driver.session.greet();
        driver.perform(step);
        driver
    }

    fn receive(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        while !self.closed
            && let Some(input) = self.next_input()
        {
            let step = self.session.resume(match &input {
                Input::Line(line) => Outcome::Line(line),
                Input::TooLong => Outcome::LineTooLong,
                Input::EndingFault => Outcome::LineEndingFault,
                Input::Foreign => Outcome::ForeignProtocol,
            });
            self.perform(step);
        }
    }

    /// Performs actions until the session wants input or is over.
    fn perform(&mut self, mut step: Step) {
        loop {
            if let Some(response) = &mut step.response {
                let mut sent = Vec::new();
                while !response.render(&mut sent, 0) {}
                self.output.extend(sent);
            }
            let outcome = match step.action {
                Action::ReadLine => return,
                Action::Close => {
                    self.closed = true;
                    return;
                }
                Action::CheckPassword(credentials) => self.find_mailbox(&credentials.user),
                Action::BeginScram { .. } => Outcome::ScramBegun(facts::scram_parameters()),
                Action::CheckProof(attempt) => {
                    drop(self.find_mailbox(&attempt.user));
                    check_proof(&attempt)
                }
                Action::OpenMaildrop => Outcome::MaildropOpened(Arc::new(self.summaries())),
                Action::OpenMessage(number) => {
                    self.open_message = number.position();
                    let head = self.maildrop[self.open_message].join(&b'\n');
                    Outcome::MessageOpened {
                        internationalized: trace::needs_utf8(&head),
                        edited_octets: None,
                    }
                }
                Action::SendContent(extent) => self.send_content(extent),
                Action::RemoveMarked(_) => Outcome::Removed,
                Action::StartTls => {
                    self.at_first_octet = true;
                    Outcome::TlsStarted(facts::bindings())
                }
            };
            step = self.session.resume(outcome);
        }
    }

    fn find_mailbox(&mut self, user: &str) -> Outcome<'static> {
        let mut names: Vec<&str> = self.mail.iter().map(|(name, _)| name.as_str()).collect();
        names.dedup();
        names.retain(|name| name.split('@').next() == Some(user));
        let name = match names.as_slice() {
            _ if user.contains('@') => user.to_owned(),
            [name] => (*name).to_owned(),
            _ => return Outcome::MailboxAmbiguous,
        };
        let of_user = self
            .mail
            .iter()
            .filter(|(mailbox, _)| mailbox.eq_ignore_ascii_case(&name));
        self.maildrop = of_user.map(|(_, content)| content.clone()).collect();
        Outcome::PasswordAccepted
    }

    /// What LIST and UIDL say of the maildrop.
    fn summaries(&self) -> Vec<MessageSummary> {
        let octets_of = |line: &Vec<u8>| u64::try_from(line.len()).unwrap() + 2;
        let summary = |(number, lines): (u64, &Vec<Vec<u8>>)| MessageSummary {
            octets: lines.iter().map(octets_of).sum(),
            unique_id: UniqueId::parse(number.to_string()).unwrap(),
        };
        (1..).zip(&self.maildrop).map(summary).collect()
    }

    fn send_content(&mut self, extent: Extent) -> Outcome<'static> {
        let lines = &self.maildrop[self.open_message];
        let header = lines.iter().take_while(|line| !line.is_empty()).count() + 1;
        let sent = match extent {
            Extent::Whole => lines.len(),
            Extent::Top { lines: body } => header.saturating_add(body.try_into().unwrap()),
        };
        for line in lines.iter().take(sent) {
            self.output.extend(line.starts_with(b".").then_some(b'.'));
            self.output.extend(line);
            self.output.extend(b"\r\n");
        }
        self.output.extend(b".\r\n");
        Outcome::ContentSent
    }

    fn next_input(&mut self) -> Option<Input> {
        let first = *self.input.first()?;
        if std::mem::take(&mut self.at_first_octet) && !first.is_ascii_alphabetic() {
            return Some(Input::Foreign);
        }
        let end = self
            .input
            .iter()
            .position(|octet| matches!(octet, b'\r' | b'\n'))?;
        let ending = match (self.input[end], self.input.get(end + 1)) {
            (b'\n', _) => "\n",
            (_, Some(b'\n')) => "\r\n",
            (_, Some(_)) => return Some(Input::EndingFault),
            (_, None) => return None,
        };
        if *self.ending.get_or_insert(ending) != ending {
            return Some(Input::EndingFault);
        }
        let octets = end + ending.len();
        let line = self.input.drain(..octets).take(end).collect();
        if octets > self.session.line_octets_max() {
            return Some(Input::TooLong);
        }
        Some(Input::Line(line))
    }

    fn next_output_line(&mut self) -> Option<String> {
        let end = self.output.iter().position(|octet| *octet == b'\n')?;
        let line = self.output.drain(..=end).collect();
        let line = String::from_utf8(line).expect("a line that is not UTF-8");
        Some(
            line.strip_suffix("\r\n")
                .expect("a line without CRLF")
                .to_owned(),
        )
    }
}

fn check_proof(attempt: &scram::Attempt) -> Outcome<'static> {
    match facts::verify(attempt) {
        Some(signature) => Outcome::ProofAccepted { signature },
        None => Outcome::PasswordRefused,
    }
}

fn replay(path: &Path) {
    let transcript = Transcript::parse(&fs::read_to_string(path).unwrap());
    let transcript = transcript.unwrap_or_else(|why| panic!("{}: {why}", path.display()));
    let mut driver = Driver::new(&transcript);
    for (number, step) in transcript.steps {
        let place = format!("{}:{number}", path.display());
        match step {
            format::Step::Line(line) => {
                assert_eq!(driver.next_output_line(), Some(line), "{place}");
            }
            format::Step::LineStart(start) | format::Step::Reply(start) => {
                let line = driver.next_output_line();
                let begins_so = line.as_deref().is_some_and(|line| line.starts_with(&start));
                assert!(begins_so, "{place}: {line:?}");
            }
            format::Step::Send(octets) => driver.receive(&octets),
            format::Step::ServerCloses => assert!(driver.closed, "{place}: not closed"),
            format::Step::ClientEnds => {
                if !driver.closed {
                    let step = driver.session.resume(Outcome::ConnectionLost);
                    assert_eq!(step.action, Action::Close, "{place}");
                    assert!(step.response.is_none(), "{place}");
                    driver.closed = true;
                }
            }
        }
    }
    let place = path.display();
    assert_eq!(
        driver.next_output_line(),
        None,
        "{place}: more than was expected"
    );
    assert!(driver.closed, "{place}: the connection is left open");
}

#[test]
fn every_transcript_is_replayed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/pop3");
    let mut paths: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 60, "{} transcripts only", paths.len());
    for path in paths {
        assert_eq!(path.extension().and_then(|name| name.to_str()), Some("txt"));
        replay(&path);
    }
}
