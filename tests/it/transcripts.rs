//! Replays every transcript against the pure session, cut at every place, and over TCP with and
//! without TLS.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use facteur::mail::{Charset, Domain};
use facteur::mail::{Door, Service as Protocol};
use facteur::smtp::Dialect;

use crate::replay;
use crate::support::{Client, Server, Service, place};

#[path = "../transcripts/facts.rs"]
pub(crate) mod facts;

#[path = "../transcripts/format.rs"]
mod format;

#[path = "../transcripts/scram.rs"]
pub(crate) mod scram;

pub(crate) use format::Transcript;
use format::{Message, Step};

/// A dialogue longer than this is cut at some places only: all within its first octets, then one
/// place in this many.
const CUT_EVERYWHERE_OCTETS_MAX: usize = 1_000;
const CUT_DISTANCE: usize = 499;

/// A session in memory.
trait Replay {
    fn feed(&mut self, octets: &[u8]);
    fn end(&mut self);
    fn is_closed(&self) -> bool;
    fn output(&self) -> &[u8];
}

macro_rules! forward {
    ($name:ty) => {
        impl Replay for $name {
            fn feed(&mut self, octets: &[u8]) {
                self.feed(octets);
            }
            fn end(&mut self) {
                self.end();
            }
            fn is_closed(&self) -> bool {
                self.is_closed()
            }
            fn output(&self) -> &[u8] {
                &self.output
            }
        }
    };
}
forward!(replay::smtp::Replay);
forward!(replay::pop3::Replay);

fn transcripts(protocol: &str) -> Vec<(PathBuf, Transcript)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/transcripts")
        .join(protocol);
    let mut paths: Vec<PathBuf> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let transcript = Transcript::parse(&text);
        let transcript = transcript.unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        (path, transcript)
    };
    paths.into_iter().map(read).collect()
}

/// What the server must send, line by line.
struct Expectation<'a> {
    lines: std::iter::Peekable<std::str::SplitInclusive<'a, char>>,
    place: String,
}

impl Expectation<'_> {
    fn next(&mut self) -> String {
        let line = self
            .lines
            .next()
            .unwrap_or_else(|| panic!("{}: nothing comes", self.place));
        line.strip_suffix("\r\n").unwrap().to_owned()
    }
}

/// Checks one line or reply of the server, from `next` on.
fn check(step: &Step, place: &str, mut next: impl FnMut() -> String) {
    match step {
        Step::Line(expected) => assert_eq!(&next(), expected, "{place}"),
        Step::LineStart(start) => {
            let line = next();
            assert!(line.starts_with(start), "{place}: {line:?}");
        }
        Step::Reply(code) => loop {
            let line = next();
            assert!(line.starts_with(code), "{place}: {line:?}");
            if line[code.len()..].starts_with(' ') {
                return;
            }
        },
        Step::Send(_) | Step::ServerCloses | Step::ClientEnds => {}
    }
}

/// Feeds the client's octets in pieces that end at `cuts`, and checks the output.
fn replay_cut(
    path: &Path,
    transcript: &Transcript,
    cuts: &BTreeSet<usize>,
    session: &mut dyn Replay,
) {
    let mut piece = Vec::new();
    let mut position = 0;
    for (_, step) in &transcript.steps {
        if let Step::Send(octets) = step {
            for octet in octets {
                piece.push(*octet);
                position += 1;
                if cuts.contains(&position) {
                    session.feed(&std::mem::take(&mut piece));
                }
            }
        }
    }
    session.feed(&piece);
    let closes = transcript
        .steps
        .iter()
        .any(|(_, step)| matches!(step, Step::ServerCloses));
    assert_eq!(
        session.is_closed(),
        closes,
        "{}: closed by the server",
        path.display()
    );
    session.end();
    let output = str::from_utf8(session.output()).unwrap().to_owned();
    let place = format!("{} cut at {:?}", path.display(), cuts.iter().take(3));
    let mut expectation = Expectation {
        lines: output.split_inclusive('\n').peekable(),
        place,
    };
    for (number, step) in &transcript.steps {
        check(step, &format!("{}:{number}", path.display()), || {
            expectation.next()
        });
    }
    let more = expectation.lines.next();
    assert_eq!(more, None, "{}: more than was expected", expectation.place);
}

/// The sets of places at which a dialogue is cut: none, each single place, all.
fn all_cuts(transcript: &Transcript) -> Vec<BTreeSet<usize>> {
    let octets: usize = transcript
        .steps
        .iter()
        .map(|(_, step)| {
            if let Step::Send(octets) = step {
                octets.len()
            } else {
                0
            }
        })
        .sum();
    let everywhere = octets.min(CUT_EVERYWHERE_OCTETS_MAX);
    let single = (1..everywhere).chain((everywhere..octets).step_by(CUT_DISTANCE));
    let mut cuts: Vec<BTreeSet<usize>> = single.map(|place| BTreeSet::from([place])).collect();
    cuts.push(BTreeSet::new());
    cuts.push((1..octets).collect());
    cuts
}

fn contents_of<'a>(messages: &'a [Message], mailbox: &str) -> Vec<&'a [u8]> {
    let of_mailbox = messages.iter().filter(|message| message.mailbox == mailbox);
    of_mailbox
        .map(|message| message.content.as_slice())
        .collect()
}

/// The mailboxes that a transcript checks at its end.
fn judged_mailboxes(transcript: &Transcript) -> BTreeSet<&str> {
    let delivered = transcript
        .after
        .iter()
        .map(|message| message.mailbox.as_str());
    delivered
        .chain(transcript.nothing_more.iter().map(String::as_str))
        .collect()
}

fn limit(transcript: &Transcript, key: &str, default: u64) -> Option<u64> {
    let configured = transcript.limits.iter().find(|(name, _)| name == key);
    let value = configured.map_or(default, |(_, value)| *value);
    (value != 0).then_some(value)
}

#[test]
fn smtp_transcripts_hold_wherever_the_octets_are_cut() {
    let transcripts = transcripts("smtp");
    assert!(transcripts.len() >= 90, "{} files", transcripts.len());
    hold_wherever_the_octets_are_cut(transcripts, Dialect::Smtp);
}

#[test]
fn lmtp_transcripts_hold_wherever_the_octets_are_cut() {
    let transcripts = transcripts("lmtp");
    assert!(transcripts.len() >= 8, "{} files", transcripts.len());
    hold_wherever_the_octets_are_cut(transcripts, Dialect::Lmtp);
}

fn hold_wherever_the_octets_are_cut(transcripts: Vec<(PathBuf, Transcript)>, dialect: Dialect) {
    for (path, transcript) in transcripts {
        let limits = replay::smtp::Limits {
            dialect,
            message_octets: limit(&transcript, "message_octets", 50 * 1024 * 1024),
            recipients: limit(&transcript, "recipients", 1_000).map(|n| n.try_into().unwrap()),
            errors: limit(&transcript, "errors", 10).map(|n| n.try_into().unwrap()),
            domains: transcript.domains.clone(),
        };
        for cuts in all_cuts(&transcript) {
            let mut session = replay::smtp::Replay::new(&limits, &transcript);
            replay_cut(&path, &transcript, &cuts, &mut session);
            for mailbox in judged_mailboxes(&transcript) {
                let none = Vec::new();
                let stored = session.mailboxes.get(mailbox).unwrap_or(&none);
                let expected = contents_of(&transcript.after, mailbox);
                assert_eq!(
                    stored,
                    &expected,
                    "{}: {mailbox} cut {cuts:?}",
                    path.display()
                );
            }
        }
    }
}

#[test]
fn pop3_transcripts_hold_wherever_the_octets_are_cut() {
    let transcripts = transcripts("pop3");
    assert!(transcripts.len() >= 60, "{} files", transcripts.len());
    for (path, transcript) in transcripts {
        let messages: Vec<(String, Vec<u8>)> = transcript
            .before
            .iter()
            .map(|message| (message.mailbox.clone(), message.content.clone()))
            .collect();
        for cuts in all_cuts(&transcript) {
            let mut session = replay::pop3::Replay::new(messages.clone(), &transcript);
            replay_cut(&path, &transcript, &cuts, &mut session);
        }
    }
}

fn a_label(domain: &str) -> String {
    Domain::parse(domain, Charset::Utf8)
        .unwrap()
        .to_a_label()
        .unwrap()
}

/// The configuration that a transcript requires.
fn configuration(transcript: &Transcript) -> String {
    // None of this is about power cuts: no time is spent waiting for the disk.
    let durability = "durability = \"none\"";
    let bare_lf = if transcript.strict {
        "refuse"
    } else {
        "accept"
    };
    let domains = &transcript.domains;
    let mut text =
        format!("{durability}\nbare_lf = {bare_lf:?}\ndomains = {domains:?}\n[limits]\n");
    for (key, value) in &transcript.limits {
        text += &format!("{key} = {value}\n");
    }
    text
}

fn replay_over_tcp(path: &Path, steps: &[(usize, Step)], client: &mut Client) {
    let mut waiting = Vec::new();
    for (number, step) in steps {
        let place = format!("{}:{number}", path.display());
        if let Step::Send(octets) = step {
            // What stands between two lines of the server is sent in one write.
            waiting.extend_from_slice(octets);
            continue;
        }
        if !waiting.is_empty() {
            client.try_send(&std::mem::take(&mut waiting));
        }
        match step {
            Step::Line(_) | Step::LineStart(_) | Step::Reply(_) => {
                check(step, &place, || client.line());
            }
            Step::ServerCloses => client.expect_end(),
            Step::ClientEnds => client.half_close(),
            Step::Send(_) => {}
        }
    }
    client.try_send(&waiting);
}

/// How a client's connection gets to the point where a transcript begins.
#[derive(Clone, Copy, Debug)]
enum Way {
    Clear,
    /// With immediate TLS.
    Tls,
    /// Without TLS at first; then TLS begins, and everything is as on a new connection except the
    /// greeting.
    StartTls,
}

impl Way {
    /// The transcripts of a protocol that apply in this case.
    fn transcripts(self, protocol: &str) -> Vec<(PathBuf, Transcript)> {
        let mut transcripts = transcripts(protocol);
        let is_clear = matches!(self, Self::Clear);
        transcripts.retain(|(_, transcript)| {
            transcript.facts.is_empty() && (is_clear || !transcript.clear)
        });
        transcripts
    }

    fn server(self, transcript: &Transcript) -> Server {
        match self {
            Self::Clear => Server::with(&configuration(transcript)),
            Self::Tls | Self::StartTls => Server::with_tls(&configuration(transcript)),
        }
    }

    fn connect(self, server: &Server, protocol: Protocol) -> Client {
        let plain = server.address(protocol, Door::Plain);
        match (self, protocol) {
            (Self::Clear, _) => Client::connect(plain),
            (Self::Tls, _) => Client::connect(server.address(protocol, Door::Tls)).begin_tls(),
            (Self::StartTls, Protocol::Smtp) => {
                let mut client = Client::connect(plain);
                client.expect_prefix("220 ");
                client.say("EHLO before");
                client.reply();
                client.say("STARTTLS");
                client.expect_prefix("220 2.0.0 ");
                client.begin_tls()
            }
            (Self::StartTls, Protocol::Pop3) => {
                let mut client = Client::connect(plain);
                client.expect_prefix("+OK");
                client.say("STLS");
                client.expect_prefix("+OK");
                client.begin_tls()
            }
            (Self::StartTls, Protocol::Http) => panic!("HTTP begins with TLS or has none"),
        }
    }

    /// The steps of a transcript that apply in this case.
    fn steps(self, transcript: &Transcript) -> &[(usize, Step)] {
        match (self, transcript.steps.as_slice()) {
            (Self::StartTls, [_greeting, steps @ ..]) => steps,
            (_, steps) => steps,
        }
    }
}

fn smtp_transcripts_hold(way: Way) {
    for (path, transcript) in way.transcripts("smtp") {
        let server = way.server(&transcript);
        let mut client = way.connect(&server, Protocol::Smtp);
        replay_over_tcp(&path, way.steps(&transcript), &mut client);
        drop(client);
        check_mailboxes(&path, &transcript, &server);
    }
}

#[test]
fn lmtp_transcripts_hold_over_tcp() {
    for (path, transcript) in Way::Clear.transcripts("lmtp") {
        let listener = "lmtp = [\"127.0.0.1:0\"]\n";
        let server = Server::with(&(listener.to_owned() + &configuration(&transcript)));
        let mut client = Client::connect(server.address(Protocol::Smtp, Door::Lmtp));
        replay_over_tcp(&path, &transcript.steps, &mut client);
        drop(client);
        check_mailboxes(&path, &transcript, &server);
    }
}

fn check_mailboxes(path: &Path, transcript: &Transcript, server: &Server) {
    for mailbox in judged_mailboxes(transcript) {
        let as_stored = |content: &Vec<u8>| {
            let lines = content.split_inclusive(|octet| *octet == b'\n');
            let lines = lines.map(|line| match line.strip_suffix(b"\r\n") {
                Some(text) => [text, b"\n"].concat(),
                None => line.to_vec(),
            });
            lines.collect::<Vec<_>>().concat()
        };
        let (local_part, domain) = mailbox.split_once('@').unwrap();
        let domains = &transcript.domains;
        let is_local = domains.is_empty() || domains.iter().any(|local| a_label(local) == domain);
        if !is_local && local_part != "postmaster" {
            // Nobody can log in there, and nothing was created.
            let directory = server.mail().join(domain);
            assert!(!directory.exists(), "{}: {mailbox}", path.display());
            continue;
        }
        let contents = server.contents_octets(mailbox);
        let stored: Vec<Vec<u8>> = contents.iter().map(as_stored).collect();
        let expected = contents_of(&transcript.after, mailbox);
        assert_eq!(stored, expected, "{}: {mailbox}", path.display());
    }
}

fn pop3_transcripts_hold(way: Way) {
    for (path, transcript) in way.transcripts("pop3") {
        let server = way.server(&transcript);
        for (number, message) in transcript.before.iter().enumerate() {
            place(
                &server.mail(),
                &message.mailbox,
                number + 1,
                &message.content,
            );
        }
        let mut client = way.connect(&server, Protocol::Pop3);
        replay_over_tcp(&path, way.steps(&transcript), &mut client);
    }
}

#[test]
fn smtp_transcripts_hold_over_tcp() {
    smtp_transcripts_hold(Way::Clear);
}

#[test]
fn smtp_transcripts_hold_over_tls() {
    smtp_transcripts_hold(Way::Tls);
}

#[test]
fn smtp_transcripts_hold_after_starttls() {
    smtp_transcripts_hold(Way::StartTls);
}

#[test]
fn pop3_transcripts_hold_over_tcp() {
    pop3_transcripts_hold(Way::Clear);
}

#[test]
fn pop3_transcripts_hold_over_tls() {
    pop3_transcripts_hold(Way::Tls);
}

#[test]
fn pop3_transcripts_hold_after_stls() {
    pop3_transcripts_hold(Way::StartTls);
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
        ("D: a@b\n|a", Err("line 2: no space after |: \"|a\"")),
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
    assert!(matches!(step, Step::Send(octets) if octets == b"\n\n\nA"));
}
