//! The transparency dots: removed from received content, added to sent content.
//!
//! [`DotDecoder`] reads content as a mail client sends it (RFC 5321 §4.5.2), and finds the line
//! with a single dot that ends it. [`DotEncoder`] writes content as a multi-line response
//! (RFC 1939 §3). Neither limits the length of a line or of a message, and neither stores any
//! content: it uses only the caller's buffers.
//!
//! # Theory of operation
//! The decoder's states, CRLF mode on the left and LF mode on the right. Any other octet leads to
//! *in line*:
//!
//! ```text
//! line start   --"."--> after dot              line start --"."--> after dot
//! in line      --CR---> after CR               in line    --LF---> line start
//! after CR     --LF---> line start             after dot  --LF---> ended
//! after dot    --CR---> after dot CR
//! after dot CR --LF---> ended
//!
//! in line      --LF---> bare LF
//! after CR     --other> in line, with a bare CR
//! bare LF      --"."--> bare LF and dot
//! ```
//!
//! Only CRLF.CRLF ends a message in CRLF mode, and only LF.LF in LF mode (SEC-1); at the start of
//! the content, the terminating line is enough. *Ended* and *faulted* are final.
//!
//! *Bare octets in CRLF mode.* A bare LF ends a line of the content and a bare CR is part of it.
//! The decoder continues to CRLF.CRLF, where client and server agree again on what comes next, and
//! the bare octets decide only whether the content is [refused](Progress::Refused) there. With
//! [`BareOctets::Accept`] it is not, unless a bare CR precedes CRLF: that could not be given back.
//! A lone dot in its line is an immediate fault if the line before it or the dot itself has another
//! ending: some programs take it for the end and others do not, which is how mail is smuggled. In
//! LF mode any CR is a fault.
//!
//! *Dots behind a bare LF.* Some clients double every dot that begins a line, others only one
//! behind CRLF. So one of two dots is removed, and a single one stays.
//!
//! Two loops that stay *in line* from one line to the next handle almost all octets, with one
//! search and at most one copy per line. The other states are for the dots and for the places where
//! the input was cut.

use memchr::{memchr, memchr2};

use super::{BareOctets, LineEnding, LineEndingFault};

/// The progress of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The content continues: read more.
    More,
    /// The end of the content was found; what follows is not content.
    End,
    /// The end was found, but the content has wrong line endings: keep nothing of it.
    Refused(LineEndingFault),
    /// The client mixes line endings, so that the end of the content is ambiguous: close the
    /// connection. Every further call returns the same.
    Fault(LineEndingFault),
}

/// A state of [`DotDecoder`]; see the theory of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    LineStart,
    InLine,
    AfterCr,
    /// The CR before it was bare.
    AfterCrs,
    AfterDot,
    AfterDotCr,
    AfterLf,
    AfterLfDot,
    AfterLfDotCr,
    Ended,
    Faulted(LineEndingFault),
}

/// Removes the dots from the content of one message and finds its end.
#[derive(Clone, Debug)]
pub struct DotDecoder {
    ending: LineEnding,
    bare_octets: BareOctets,
    state: State,
    /// Why the content will be refused at its end.
    fault: Option<LineEndingFault>,
    has_bare_lf: bool,
}

impl DotDecoder {
    /// A decoder at the start of the content, for a session of the given mode.
    pub fn new(ending: LineEnding, bare_octets: BareOctets) -> Self {
        Self {
            ending,
            bare_octets,
            state: State::LineStart,
            fault: None,
            has_bare_lf: false,
        }
    }

    /// Why the content will be refused at its end, as soon as that is known: nothing of it need be
    /// kept.
    pub fn fault(&self) -> Option<LineEndingFault> {
        self.fault
    }

    /// Whether a bare LF ended a line in CRLF mode.
    pub fn has_bare_lf(&self) -> bool {
        self.has_bare_lf
    }

    /// Decodes `input` up to the end of the content and appends the content to `out`, with LF as
    /// the ending of every line.
    ///
    /// Returns how many octets of `input` were used: all with [`Progress::More`], all before the
    /// offending one with [`Progress::Fault`]. `out` grows by at most the length of `input` plus
    /// two octets, which an earlier call might have held back.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> (usize, Progress) {
        out.reserve(input.len());
        let mut rest = input;
        let progress = loop {
            let Some(octet) = rest.first() else {
                break self.progress();
            };
            let (state, used) = match (self.state, octet) {
                (State::InLine, _) => match self.ending {
                    LineEnding::CrLf => copy_crlf_lines(rest, out),
                    LineEnding::Lf => copy_lf_lines(rest, out),
                },
                (State::LineStart, b'.') => (State::AfterDot, 1),
                (State::AfterLf, b'.') => (State::AfterLfDot, 1),
                (State::AfterCr, b'\n') => {
                    out.push(b'\n');
                    (State::LineStart, 1)
                }
                (State::AfterCrs, b'\n') => {
                    // When stored, the bare CR and the LF would look like CRLF.
                    self.fault.get_or_insert(LineEndingFault::BareCr);
                    out.push(b'\n');
                    (State::LineStart, 1)
                }
                (State::AfterCr | State::AfterCrs, _) => {
                    self.refuse_unless_accepted(LineEndingFault::BareCr);
                    out.push(b'\r');
                    let is_cr = *octet == b'\r';
                    if is_cr {
                        (State::AfterCrs, 1)
                    } else {
                        (State::InLine, 0)
                    }
                }
                (State::AfterDot, b'\r') if self.ending == LineEnding::CrLf => {
                    (State::AfterDotCr, 1)
                }
                (State::AfterDot, b'\n') if self.ending == LineEnding::Lf => (State::Ended, 1),
                (State::AfterDotCr, b'\n') => (State::Ended, 1),
                (State::AfterDot | State::AfterLfDot | State::AfterLfDotCr, b'\n') => {
                    (State::Faulted(LineEndingFault::BareLf), 0)
                }
                (State::AfterDotCr | State::AfterLfDotCr, _) => {
                    (State::Faulted(LineEndingFault::BareCr), 0)
                }
                (State::AfterLfDot, b'\r') => (State::AfterLfDotCr, 1),
                (State::AfterLfDot, _) => {
                    out.push(b'.');
                    (State::InLine, usize::from(*octet == b'.'))
                }
                // A wrong line ending is recognised within the line.
                (State::LineStart | State::AfterLf | State::AfterDot, _) => (State::InLine, 0),
                (State::Ended | State::Faulted(_), _) => break self.progress(),
            };
            if state == State::AfterLf {
                self.has_bare_lf = true;
                self.refuse_unless_accepted(LineEndingFault::BareLf);
            }
            self.state = state;
            rest = rest.get(used..).unwrap_or_default();
        };
        (input.len().saturating_sub(rest.len()), progress)
    }

    fn progress(&self) -> Progress {
        match self.state {
            State::Ended => self.fault.map_or(Progress::End, Progress::Refused),
            State::Faulted(fault) => Progress::Fault(fault),
            State::LineStart
            | State::InLine
            | State::AfterCr
            | State::AfterCrs
            | State::AfterDot
            | State::AfterDotCr
            | State::AfterLf
            | State::AfterLfDot
            | State::AfterLfDotCr => Progress::More,
        }
    }

    fn refuse_unless_accepted(&mut self, fault: LineEndingFault) {
        if self.bare_octets == BareOctets::Refuse {
            self.fault.get_or_insert(fault);
        }
    }
}

/// Copies lines in CRLF mode, up to a line that begins with a dot or ends differently; `input`
/// begins inside a line.
///
/// Returns the next state and how many octets were used.
fn copy_crlf_lines(input: &[u8], out: &mut Vec<u8>) -> (State, usize) {
    let mut copied: usize = 0;
    let mut searched: usize = 0;
    loop {
        let unsearched = input.get(searched..).unwrap_or_default();
        let Some(offset) = memchr2(b'\r', b'\n', unsearched) else {
            out.extend_from_slice(input.get(copied..).unwrap_or_default());
            return (State::InLine, input.len());
        };
        let found = searched.saturating_add(offset);
        out.extend_from_slice(input.get(copied..found).unwrap_or_default());
        match input.get(found..).unwrap_or_default() {
            [b'\r', b'\n', b'.', ..] => {
                out.push(b'\n');
                return (State::AfterDot, found.saturating_add(3));
            }
            [b'\r', b'\n'] => {
                out.push(b'\n');
                return (State::LineStart, found.saturating_add(2));
            }
            // The LF is copied to `out` with the next line, so that each line is one copy.
            [b'\r', b'\n', ..] => {
                copied = found.saturating_add(1);
                searched = found.saturating_add(2);
            }
            [b'\r', ..] => return (State::AfterCr, found.saturating_add(1)),
            _ => {
                out.push(b'\n');
                return (State::AfterLf, found.saturating_add(1));
            }
        }
    }
}

/// Copies lines in LF mode, up to a line that begins with a dot; `input` begins inside a line.
///
/// Returns the next state and how many octets were used. All lines are one copy.
fn copy_lf_lines(input: &[u8], out: &mut Vec<u8>) -> (State, usize) {
    let mut searched: usize = 0;
    let (state, copied, used) = loop {
        let unsearched = input.get(searched..).unwrap_or_default();
        let Some(offset) = memchr2(b'\r', b'\n', unsearched) else {
            break (State::InLine, input.len(), input.len());
        };
        let found = searched.saturating_add(offset);
        let line_end = found.saturating_add(1);
        match input.get(found..).unwrap_or_default() {
            [b'\r', ..] => {
                break (State::Faulted(LineEndingFault::UnexpectedCr), found, found);
            }
            [_, b'.', ..] => break (State::AfterDot, line_end, line_end.saturating_add(1)),
            [_, _, ..] => searched = line_end,
            _ => break (State::LineStart, line_end, line_end),
        }
    };
    out.extend_from_slice(input.get(..copied).unwrap_or_default());
    (state, used)
}

/// The position of [`DotEncoder`] in the line it is writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// At its start.
    Start,
    /// After some text.
    Text,
    /// After a CR, which might belong to the ending.
    Cr,
}

/// Turns a stored message into the content of a multi-line response.
#[derive(Clone, Debug)]
pub struct DotEncoder {
    position: Position,
}

impl DotEncoder {
    /// An encoder at the start of a message.
    pub fn new() -> Self {
        Self {
            position: Position::Start,
        }
    }

    /// Encodes the next octets of a stored message and appends the result to `out`.
    ///
    /// An LF becomes CRLF unless a CR precedes it, because other programs might have stored CRLF. A
    /// bare CR, which only they can have stored, stays. `out` grows by at most twice the length of
    /// `input` plus one octet.
    pub fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) {
        // One more octet per line: this is enough for lines of 16 octets on average.
        out.reserve(input.len().saturating_add(input.len() / 16));
        let mut rest = input;
        while let Some(first) = rest.first() {
            if self.position == Position::Start && *first == b'.' {
                out.push(b'.');
            }
            let text_end = memchr(b'\n', rest);
            let text = rest
                .get(..text_end.unwrap_or(rest.len()))
                .unwrap_or_default();
            out.extend_from_slice(text);
            match text.last() {
                Some(b'\r') => self.position = Position::Cr,
                Some(_) => self.position = Position::Text,
                None => {}
            }
            let Some(text_end) = text_end else { return };
            let ending: &[u8] = if self.position == Position::Cr {
                b"\n"
            } else {
                b"\r\n"
            };
            out.extend_from_slice(ending);
            self.position = Position::Start;
            rest = rest.get(text_end.saturating_add(1)..).unwrap_or_default();
        }
    }

    /// Ends the message: appends CRLF if the last line has no ending, then the terminating line.
    ///
    /// The encoder is then at the start of a new message.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.position != Position::Start {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
        self.position = Position::Start;
    }
}

impl Default for DotEncoder {
    fn default() -> Self {
        Self::new()
    }
}
