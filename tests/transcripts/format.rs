//! The format of a transcript: a dialogue, and the mailboxes before and after it.
//!
//! Parses the text of one file; it does not replay it. Each file shows one behaviour and is named
//! after it. One line is one directive, identified by its first two characters; one space may
//! follow them, and the rest is taken literally, including spaces at its end.
//!
//! ```text
//! # RFC 5321 §3.3: a comment; empty lines are comments too
//! @strict                      bare CRs and LFs in contents are refused: `bare_lf = "refuse"`
//! @clear                       holds only where TLS is neither active nor offered
//! @lf                          C: lines are sent with LF; without this, with CRLF
//! @limit message_octets=1000   a key of `[limits]` in the configuration; may stand several times
//! @domains example.com         the local domains of the configuration, separated by spaces
//! @with remote starttls        facts of the session that the defaults do not have: see below
//! M: bob@example.com           this mailbox holds this message before the dialogue, as RETR
//! | ..dot                      would send it: dot-stuffed
//! S: 250 Ok                    the server sends exactly this line
//! S~ 550 The content           the server sends a line that begins with this
//! S* 250                       the server sends one whole reply with this code, of any length
//! C: DATA                      the client sends this line; content is dot-stuffed by the author
//! R: 4e 4f 4f 50 78*9 0d 0a    the client sends these octets; 78*9 is nine times 78
//! X:                           the server closes the connection
//! E:                           the client closes its sending side
//! D: bob@example.com           after the dialogue this mailbox holds this message, and only those
//! | .dot                       that a D: names, in this order; as stored, lines ending in LF,
//! |: ff 00*3 0a                without the trace headers; |: gives octets, as R: does
//! N: bob@example.com           this mailbox has no message but those of D:
//! ```
//!
//! `@` and `M:` come before the dialogue, `D:` and `N:` after it. What the client sends between two
//! lines of the server can go out in one write.
//!
//! The facts of `@with` are: `remote`, the client is on another machine; `starttls`, STARTTLS or
//! STLS is offered; `tls`, the connection begins encrypted; `scram`, there are keys for the account
//! of `scram.rs`; `authentication-required`, mail is accepted only after AUTH; `own-senders`, the
//! same, and only with the user's own address as sender; `utf8`, POP3 announces UTF8. They exist
//! only in memory: a transcript that has any is not replayed over TCP.
//!
//! # Failures
//! Any other line, or a line in the wrong place, is an error that names the line.

/// The facts that `@with` can name.
const FACTS: [&str; 7] = [
    "authentication-required",
    "own-senders",
    "remote",
    "scram",
    "starttls",
    "tls",
    "utf8",
];

/// One transcript.
#[derive(Debug, Default)]
pub(crate) struct Transcript {
    /// `@clear`: not replayed where there is TLS.
    pub(crate) clear: bool,
    /// `@strict`: bare CRs and LFs in contents are refused.
    pub(crate) strict: bool,
    /// `@lf`: the client's lines end in LF.
    pub(crate) lf: bool,
    /// `@limit`: keys of the configuration's table `[limits]` and their values.
    pub(crate) limits: Vec<(String, u64)>,
    /// `@domains`; empty means all.
    pub(crate) domains: Vec<String>,
    /// `@with`.
    pub(crate) facts: Vec<String>,
    /// `M:`: the messages before the dialogue.
    pub(crate) before: Vec<Message>,
    /// The dialogue, each step with the number of its line.
    pub(crate) steps: Vec<(usize, Step)>,
    /// `D:`: the messages after the dialogue.
    pub(crate) after: Vec<Message>,
    /// `N:`: mailboxes without any message except those of `after`.
    pub(crate) nothing_more: Vec<String>,
}

/// A message in a mailbox.
#[derive(Debug)]
pub(crate) struct Message {
    /// The mailbox, as an address.
    pub(crate) mailbox: String,
    /// The content as stored: not dot-stuffed, lines ending in LF, no trace headers.
    pub(crate) content: Vec<u8>,
}

/// One step of a dialogue.
#[derive(Debug)]
pub(crate) enum Step {
    /// `S:`: this line comes, without its CRLF.
    Line(String),
    /// `S~`: a line comes that begins with this.
    LineStart(String),
    /// `S*`: lines come that begin with this code, the last with a space after it.
    Reply(String),
    /// `C:` and `R:`: these octets are sent.
    Send(Vec<u8>),
    /// `X:`: the server closes the connection.
    ServerCloses,
    /// `E:`: the client closes its sending side.
    ClientEnds,
}

/// The parser's state: what `|` adds to, and what may still follow.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    Settings,
    Before,
    Dialogue,
    After,
}

impl Transcript {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// What is wrong and in which line: fix the file.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut transcript = Self::default();
        let mut part = Part::Settings;
        for (number, line) in (1..).zip(text.lines()) {
            transcript
                .line(number, line, &mut part)
                .map_err(|reason| format!("line {number}: {reason}: {line:?}"))?;
        }
        Ok(transcript)
    }

    /// Whether `@with` names this fact.
    pub(crate) fn has(&self, fact: &str) -> bool {
        self.facts.iter().any(|named| named == fact)
    }

    fn line(&mut self, number: usize, line: &str, part: &mut Part) -> Result<(), &'static str> {
        if line.is_empty() || line.starts_with('#') {
            return Ok(());
        }
        if let Some(setting) = line.strip_prefix('@') {
            return self.setting(setting, *part);
        }
        if line.starts_with('|') {
            return self.content(line, *part);
        }
        let (mark, rest) = line.split_at_checked(2).ok_or("not a directive")?;
        let rest = rest.strip_prefix(' ').unwrap_or(rest);
        let next = match mark {
            "M:" => Part::Before,
            "D:" | "N:" => Part::After,
            _ => Part::Dialogue,
        };
        if next < *part {
            return Err("in the wrong place");
        }
        *part = next;
        match mark {
            "M:" => self.before.push(Message::empty(rest)),
            "D:" => self.after.push(Message::empty(rest)),
            "N:" => self.nothing_more.push(rest.to_owned()),
            _ => {
                let step = self.step(mark, rest)?;
                self.steps.push((number, step));
            }
        }
        Ok(())
    }

    fn setting(&mut self, setting: &str, part: Part) -> Result<(), &'static str> {
        if part != Part::Settings {
            return Err("in the wrong place");
        }
        match setting.split_once(' ') {
            None if setting == "clear" => self.clear = true,
            None if setting == "lf" => self.lf = true,
            None if setting == "strict" => self.strict = true,
            Some(("limit", limit)) => {
                let (key, value) = limit.split_once('=').ok_or("a limit without a value")?;
                let value = value.parse().ok().ok_or("a limit that is no number")?;
                self.limits.push((key.to_owned(), value));
            }
            Some(("domains", domains)) => {
                self.domains.extend(domains.split(' ').map(str::to_owned));
            }
            Some(("with", facts)) => {
                self.facts.extend(facts.split(' ').map(str::to_owned));
                if !self.facts.iter().all(|fact| FACTS.contains(&fact.as_str())) {
                    return Err("not a fact");
                }
            }
            Some(_) | None => return Err("not a setting"),
        }
        Ok(())
    }

    fn content(&mut self, line: &str, part: Part) -> Result<(), &'static str> {
        let message = match part {
            Part::Before => self.before.last_mut(),
            Part::After => self.after.last_mut(),
            Part::Settings | Part::Dialogue => None,
        };
        let message = message.ok_or("content without a mailbox")?;
        if let Some(octets) = line.strip_prefix("|:") {
            message.content.extend(octets_of(octets)?);
            return Ok(());
        }
        let text = match line.strip_prefix("| ") {
            Some(text) if part == Part::Before => text.strip_prefix('.').unwrap_or(text),
            Some(text) => text,
            None if line == "|" => "",
            None => return Err("no space after |"),
        };
        message.content.extend_from_slice(text.as_bytes());
        message.content.push(b'\n');
        Ok(())
    }

    fn step(&self, mark: &str, rest: &str) -> Result<Step, &'static str> {
        let ending = if self.lf { "\n" } else { "\r\n" };
        Ok(match mark {
            "S:" => Step::Line(rest.to_owned()),
            "S~" => Step::LineStart(rest.to_owned()),
            "S*" => Step::Reply(rest.to_owned()),
            "C:" => Step::Send(format!("{rest}{ending}").into_bytes()),
            "R:" => Step::Send(octets_of(rest)?),
            "X:" if rest.is_empty() => Step::ServerCloses,
            "E:" if rest.is_empty() => Step::ClientEnds,
            _ => return Err("not a directive"),
        })
    }
}

impl Message {
    fn empty(mailbox: &str) -> Self {
        Self {
            mailbox: mailbox.to_owned(),
            content: Vec::new(),
        }
    }
}

/// Reads octets in hexadecimal, separated by spaces, each with `*` and a count if it repeats.
fn octets_of(text: &str) -> Result<Vec<u8>, &'static str> {
    let mut octets = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let (octet, count) = word.split_once('*').unwrap_or((word, "1"));
        let octet = u8::from_str_radix(octet, 16).ok();
        let octet = octet.ok_or("not an octet in hexadecimal")?;
        let count: usize = count.parse().ok().ok_or("not a count")?;
        octets.extend(std::iter::repeat_n(octet, count));
    }
    Ok(octets)
}
