//! Replays `tests/transcripts/smtp/*.txt` against the session, without a socket.
//!
//! The driver here is as plain as can be: all input in one buffer that is looked at from its start
//! each time, all mail in memory. It shares no code with the real one, so that the transcripts
//! judge both. The form of the files is described in `format.rs` beside them.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "the numbers of a test are small"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
};

use crate::mail::sasl::scram;
use crate::mail::{Charset, Domain, ForwardPath, MailboxName};
use crate::smtp::limits::{ERRORS_MAX, MESSAGE_OCTETS_MAX, OVERRUN_FACTOR, RECIPIENTS_MAX};
use crate::smtp::{
    Action, ContentEnd, Framing, Outcome, RecipientVerdict, Senders, Session, Settings, Step,
    Submission,
};
use crate::testing::facts;
use crate::testing::format::{self, Transcript};

/// Messages without trace headers, by the name of their mailbox.
type Mailboxes = BTreeMap<String, Vec<Vec<u8>>>;

struct Driver {
    session: Session,
    /// The local domains in A-label form; empty is all.
    domains: Vec<String>,
    /// What the session waits for.
    action: Action,
    input: Vec<u8>,
    ending: Option<&'static str>,
    at_first_octet: bool,
    output: Vec<u8>,
    recipients: Vec<MailboxName>,
    /// The chunks of the message so far, as they came.
    chunks: Vec<u8>,
    mailboxes: Mailboxes,
}

impl Driver {
    fn new(transcript: &Transcript) -> Self {
        let mut settings = Settings {
            hostname: Domain::localhost(),
            message_octets_max: Some(MESSAGE_OCTETS_MAX),
            recipients_max: RECIPIENTS_MAX.try_into().ok(),
            errors_max: Some(ERRORS_MAX),
            authentication: true,
            scram: transcript.has("scram"),
            senders: if transcript.has("own-senders") {
                Senders::OwnAddresses
            } else if transcript.has("authentication-required") {
                Senders::Authenticated
            } else {
                Senders::Anybody
            },
        };
        for (key, value) in &transcript.limits {
            // 0 is no limit, as in the configuration.
            let value = Some(*value).filter(|&value| value != 0);
            match key.as_str() {
                "message_octets" => settings.message_octets_max = value,
                "recipients" => settings.recipients_max = value.map(|n| n.try_into().unwrap()),
                "errors" => settings.errors_max = value.map(|n| n.try_into().unwrap()),
                _ => panic!("{key} is no limit of a session"),
            }
        }
        let mut driver = Self {
            session: Session::new(Arc::new(settings), facts::link(transcript)),
            domains: transcript
                .domains
                .iter()
                .map(|domain| a_label(domain))
                .collect(),
            action: Action::Close,
            input: Vec::new(),
            ending: None,
            at_first_octet: true,
            output: Vec::new(),
            recipients: Vec::new(),
            chunks: Vec::new(),
            mailboxes: Mailboxes::new(),
        };
        let step = driver.session.greet();
        driver.take(step);
        driver
    }

    fn receive(&mut self, octets: &[u8]) {
        self.input.extend_from_slice(octets);
        while let Some(step) = self.perform() {
            self.take(step);
        }
    }

    fn take(&mut self, step: Step) {
        if let Some(reply) = &step.reply {
            reply.render(self.session.is_extended(), &mut self.output);
        }
        self.action = step.action;
    }

    /// Performs the action and gives what the session says to its outcome; `None` when the input
    /// does not suffice, or when the session is over.
    fn perform(&mut self) -> Option<Step> {
        let outcome = match &self.action {
            Action::ReadLine => return self.read_line(),
            Action::LookUpRecipient(path) => Outcome::Recipient(self.look_up(path)),
            Action::CheckPassword(_) => Outcome::PasswordAccepted,
            Action::BeginScram { .. } => Outcome::ScramBegun(facts::scram_parameters()),
            Action::CheckProof(attempt) => check_proof(attempt),
            Action::BeginDelivery(submission) => {
                let Submission { envelope, .. } = &**submission;
                self.recipients.clone_from(&envelope.recipients);
                self.chunks.clear();
                Outcome::DeliveryBegun
            }
            Action::ReceiveContent(Framing::Dot { octets_max }) => {
                Outcome::Content(self.receive_lines(*octets_max)?)
            }
            &Action::ReceiveContent(Framing::Chunk { octets, last }) => {
                let chunk = self.read_chunk(octets)?;
                self.chunks.extend(chunk);
                Outcome::Content(self.receive_chunks(last))
            }
            &Action::DiscardChunk { octets } => {
                self.read_chunk(octets)?;
                Outcome::ChunkDiscarded
            }
            Action::CheckSender(address) if self.session.user() == Some(&address.to_string()) => {
                Outcome::SenderPermitted
            }
            Action::CheckSender(_) => Outcome::SenderNotPermitted,
            Action::StartTls => {
                self.at_first_octet = true;
                Outcome::TlsStarted(facts::bindings())
            }
            Action::Close => return None,
        };
        Some(self.session.resume(outcome))
    }

    fn read_line(&mut self) -> Option<Step> {
        let first = self.input.first()?;
        if std::mem::take(&mut self.at_first_octet) && !first.is_ascii_alphabetic() {
            return Some(self.session.resume(Outcome::ForeignProtocol));
        }
        let input = std::mem::take(&mut self.input);
        let Some(line) = split_line(&input, self.ending) else {
            self.input = input;
            return None;
        };
        let Ok((line, ending)) = line else {
            return Some(self.session.resume(Outcome::LineEndingFault("a fault")));
        };
        self.ending = Some(ending);
        let octets = line.len() + ending.len();
        self.input = input[octets..].to_vec();
        Some(if octets > self.session.line_octets_max() {
            self.session.resume(Outcome::LineTooLong)
        } else {
            self.session.resume(Outcome::Line(line))
        })
    }

    /// Open mode, with `+` as the separator of sub-addresses.
    fn look_up(&self, path: &ForwardPath) -> RecipientVerdict {
        let name = match path {
            ForwardPath::Postmaster => {
                let domain = self.domains.first().map_or("localhost", String::as_str);
                MailboxName::from_canonical("postmaster", domain)
            }
            ForwardPath::Address(address) => MailboxName::from_address(address).ok(),
        };
        let Some(name) = name else {
            return RecipientVerdict::Unknown;
        };
        let is_listed = self.domains.iter().any(|domain| domain == name.domain());
        if !is_listed && !self.domains.is_empty() && name.to_string() != "postmaster@localhost" {
            return RecipientVerdict::NotLocal;
        }
        let exists = self.mailboxes.contains_key(&name.to_string());
        let base = name.local_part().split('+').next().unwrap_or_default();
        RecipientVerdict::Accepted(if exists || base.is_empty() {
            name
        } else {
            name.with_local_part(base)
        })
    }

    /// Takes the content of DATA when it has ended, or when it is clear how it will.
    fn receive_lines(&mut self, octets_max: Option<u64>) -> Option<ContentEnd> {
        let octets_max = octets_max.unwrap_or(u64::MAX);
        let mut content = Vec::new();
        let mut octets = 0;
        let mut used = 0;
        loop {
            match split_line(&self.input[used..], self.ending) {
                Some(Ok((line, ending))) => {
                    used += line.len() + ending.len();
                    if line == b"." {
                        break;
                    }
                    let line = line.strip_prefix(b".").unwrap_or(line);
                    content.extend_from_slice(line);
                    content.push(b'\n');
                    octets += u64::try_from(line.len() + 2).unwrap();
                }
                Some(Err(Fault)) => return Some(ContentEnd::LineEndingFault("a fault")),
                None if octets > octets_max.saturating_mul(OVERRUN_FACTOR) => {
                    return Some(ContentEnd::Overrun);
                }
                None => return None,
            }
        }
        self.input.drain(..used);
        if octets > octets_max {
            return Some(ContentEnd::TooLarge);
        }
        self.deliver(&content);
        Some(ContentEnd::Delivered)
    }

    fn read_chunk(&mut self, octets: u64) -> Option<Vec<u8>> {
        let octets = usize::try_from(octets).unwrap();
        (self.input.len() >= octets).then(|| self.input.drain(..octets).collect())
    }

    /// Judges all chunks so far, and delivers them when the last has come.
    fn receive_chunks(&mut self, last: bool) -> ContentEnd {
        let mut content = Vec::new();
        let mut rest = self.chunks.as_slice();
        while let Some(line) = split_line(rest, self.ending) {
            let Ok((line, ending)) = line else {
                return ContentEnd::LineEndingFault("a fault");
            };
            content.extend_from_slice(line);
            content.push(b'\n');
            rest = &rest[line.len() + ending.len()..];
        }
        if !last {
            return ContentEnd::ChunkReceived;
        }
        if rest.ends_with(b"\r") {
            return ContentEnd::LineEndingFault("a fault");
        }
        if !rest.is_empty() {
            content.extend_from_slice(rest);
            content.push(b'\n');
        }
        self.deliver(&content);
        ContentEnd::Delivered
    }

    /// Puts the message into each mailbox once.
    fn deliver(&mut self, content: &[u8]) {
        let names: BTreeSet<String> = self.recipients.iter().map(ToString::to_string).collect();
        for name in names {
            self.mailboxes
                .entry(name)
                .or_default()
                .push(content.to_owned());
        }
    }

    fn is_closed(&self) -> bool {
        self.action == Action::Close
    }

    /// The next line of the server without its CRLF.
    fn next_line(&mut self) -> Option<String> {
        let end = self.output.iter().position(|&octet| octet == b'\n')?;
        let line: Vec<u8> = self.output.drain(..=end).collect();
        assert!(line.len() <= 512 && line.is_ascii(), "{line:?}");
        let line = line.strip_suffix(b"\r\n").expect("CRLF");
        Some(String::from_utf8(line.to_vec()).expect("ASCII"))
    }

    /// Whether one whole reply comes, each of its lines with this code.
    fn next_reply_has(&mut self, code: &str) -> bool {
        loop {
            let line = self.next_line();
            let after_code = line.as_deref().and_then(|line| line.strip_prefix(code));
            match after_code.and_then(|text| text.chars().next()) {
                Some('-') => {}
                other => return other == Some(' '),
            }
        }
    }

    fn check(&mut self, step: &format::Step) -> bool {
        match step {
            format::Step::Line(expected) => self.next_line().as_ref() == Some(expected),
            format::Step::LineStart(expected) => self
                .next_line()
                .is_some_and(|line| line.starts_with(expected)),
            format::Step::Reply(code) => self.next_reply_has(code),
            format::Step::Send(octets) => {
                self.receive(octets);
                true
            }
            format::Step::ServerCloses => self.is_closed() && self.output.is_empty(),
            format::Step::ClientEnds => {
                let step = self.session.resume(Outcome::ConnectionLost);
                let silent = step.reply.is_none();
                self.take(step);
                silent && self.is_closed()
            }
        }
    }
}

fn check_proof(attempt: &scram::Attempt) -> Outcome<'static> {
    match facts::verify(attempt) {
        Some(signature) => Outcome::ProofAccepted { signature },
        None => Outcome::PasswordRefused,
    }
}

fn a_label(domain: &str) -> String {
    let domain = Domain::parse(domain, Charset::Utf8).expect("a domain");
    domain.to_a_label().expect("an A-label form")
}

/// What a line ends in that is not the session's own.
struct Fault;

/// Splits off the first line: its text and its ending. `None`: it has not ended. Where `ending` is
/// not fixed yet, CRLF and LF will do.
fn split_line<'a>(
    input: &'a [u8],
    ending: Option<&str>,
) -> Option<Result<(&'a [u8], &'static str), Fault>> {
    let end = input
        .iter()
        .position(|octet| matches!(octet, b'\r' | b'\n'))?;
    let found = match input[end..] {
        [b'\n', ..] => "\n",
        [b'\r', b'\n', ..] => "\r\n",
        [b'\r'] if ending != Some("\n") => return None,
        _ => return Some(Err(Fault)),
    };
    if ending.is_some_and(|ending| ending != found) {
        return Some(Err(Fault));
    }
    Some(Ok((&input[..end], found)))
}

/// Plays one transcript.
///
/// # Errors
/// What went another way, and in which line.
fn replay(path: &Path) -> Result<(), String> {
    let transcript = Transcript::parse(&fs::read_to_string(path).unwrap())?;
    let mut driver = Driver::new(&transcript);
    for (number, step) in &transcript.steps {
        let output = String::from_utf8_lossy(&driver.output).into_owned();
        if !driver.check(step) {
            return Err(format!("line {number}: {step:?}, but there is {output:?}"));
        }
    }
    if !driver.output.is_empty() {
        let output = String::from_utf8_lossy(&driver.output);
        return Err(format!("more than was expected: {output:?}"));
    }
    if !driver.is_closed() {
        return Err("the connection is left open".to_owned());
    }
    check_mailboxes(&transcript, &driver.mailboxes)
}

/// Every message that there is must be named by `D:`, and all that `D:` names must be there.
fn check_mailboxes(transcript: &Transcript, found: &Mailboxes) -> Result<(), String> {
    let mut expected = Mailboxes::new();
    for message in &transcript.after {
        let mailbox = expected.entry(message.mailbox.clone()).or_default();
        mailbox.push(message.content.clone());
    }
    if *found != expected {
        return Err(format!("{found:?} instead of {expected:?}"));
    }
    let says_nothing = transcript.after.is_empty() && transcript.nothing_more.is_empty();
    let has_content = transcript.steps.iter().any(
        |(_, step)| matches!(step, format::Step::Line(line) if line == "354 Envoyez votre mail"),
    );
    if says_nothing && has_content {
        return Err("D: or N: should say what became of the content".to_owned());
    }
    if !transcript.before.is_empty() {
        return Err("M: is for POP3, where mail is read".to_owned());
    }
    Ok(())
}

#[test]
fn every_transcript_is_replayed() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/transcripts/smtp");
    let mut paths: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    assert!(paths.len() >= 110, "{} transcripts only", paths.len());
    let mut failures = Vec::new();
    for path in paths {
        if let Err(reason) = replay(&path) {
            failures.push(format!("{}: {reason}", path.display()));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_malformed_transcript_is_an_error_that_names_the_line() {
    for (text, expect) in [
        ("# comment\n\nS: 250 Ok\nX:\n", Ok(2)),
        (
            "@lf\n@limit errors=2\n@domains a.example b.example\nE:",
            Ok(1),
        ),
        (
            "M: a@b\n| ..\nC: NOOP\nD: a@b\n|\n| ..\n|: 2e 0a*2\nN: c@d",
            Ok(1),
        ),
        ("S: 220\nfrob", Err("line 2: not a directive: \"frob\"")),
        ("X: now", Err("line 1: not a directive: \"X: now\"")),
        ("é", Err("line 1: not a directive: \"é\"")),
        (
            "@limit errors",
            Err("line 1: a limit without a value: \"@limit errors\""),
        ),
        (
            "@limit errors=x",
            Err("line 1: a limit that is no number: \"@limit errors=x\""),
        ),
        ("@with tls remote\nX:", Ok(1)),
        ("@with ssl", Err("line 1: not a fact: \"@with ssl\"")),
        ("@crlf", Err("line 1: not a setting: \"@crlf\"")),
        ("X:\n@lf", Err("line 2: in the wrong place: \"@lf\"")),
        ("X:\nM: a@b", Err("line 2: in the wrong place: \"M: a@b\"")),
        ("N: a@b\nX:", Err("line 2: in the wrong place: \"X:\"")),
        ("X:\n| a", Err("line 2: content without a mailbox: \"| a\"")),
        ("D: a@b\n|a", Err("line 2: no space behind |: \"|a\"")),
        ("R: 0", Ok(1)),
        (
            "R: 100",
            Err("line 1: not an octet in hexadecimal: \"R: 100\""),
        ),
        ("R: 0a*x", Err("line 1: not a count: \"R: 0a*x\"")),
    ] {
        let found = Transcript::parse(text).map(|transcript| transcript.steps.len());
        assert_eq!(found, expect.map_err(str::to_owned), "{text:?}");
    }
}

#[test]
fn content_is_dot_stuffed_before_the_dialogue_and_as_stored_after_it() {
    let text = "M: a@b\n| ..\n|\nR: 0a*3 41\nD: a@b\n| ..\n|\n|: 2e 0d*2";
    let transcript = Transcript::parse(text).unwrap();
    assert_eq!(transcript.before[0].content, b".\n\n");
    assert_eq!(transcript.after[0].content, b"..\n\n.\r\r");
    let (_, step) = &transcript.steps[0];
    assert!(matches!(step, format::Step::Send(octets) if octets == b"\n\n\nA"));
}
