//! The transparency dots: content between lines that begin with a dot and the dot that ends it.
//!
//! [`DotDecoder`] takes content as a mail client sends it (RFC 5321 §4.5.2), [`DotEncoder`] gives
//! it as a multi-line response (RFC 1939 §3). Neither limits the length of a line or of a message,
//! and neither keeps any of the content: the memory used is that of the caller's buffers.
//!
//! # Theory of operation
//! The decoder's states, CRLF mode left and LF mode right; any octet not named leads to *in line*:
//!
//! ```text
//! line start   --"."--> after dot              line start --"."--> after dot
//! in line      --CR---> after CR               in line    --LF---> line start
//! after CR     --LF---> line start             after dot  --LF---> ended
//! after dot    --CR---> after dot and CR
//! after dot CR --LF---> ended
//! ```
//!
//! In CRLF mode an LF anywhere else, and anything but LF after a CR, is a fault; in LF mode any CR
//! is. So nothing but CRLF.CRLF ends a message in CRLF mode and nothing but LF.LF in LF mode
//! (SEC-1); in front of all content the terminating line stands alone. *Ended* and *faulted* are
//! final.
//!
//! Almost all octets are seen by the two loops that stay *in line* from one line to the next, with
//! one search and at most one copy per line; the other states are for the dots and for the places
//! where the input was cut.

use memchr::{memchr, memchr2};

use super::{LineEnding, LineEndingFault};

/// How far a decoder has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The content goes on: read on.
    More,
    /// The end of the content was found; what follows it is not content.
    End,
    /// The peer mixes line endings: close the connection. Every further call says the same.
    Fault(LineEndingFault),
}

/// A state of [`DotDecoder`]; see the theory of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    LineStart,
    InLine,
    AfterCr,
    AfterDot,
    AfterDotCr,
    Ended,
    Faulted(LineEndingFault),
}

/// Takes the dots out of the content of one message and finds its end.
#[derive(Clone, Debug)]
pub struct DotDecoder {
    ending: LineEnding,
    state: State,
}

impl DotDecoder {
    /// A decoder at the start of the content, for a session of the given mode.
    pub fn new(ending: LineEnding) -> Self {
        Self {
            ending,
            state: State::LineStart,
        }
    }

    /// Decodes `input` up to the end of the content and appends the content to `out`, every line
    /// with its ending as LF.
    ///
    /// Gives how many octets of `input` were used: all with [`Progress::More`], all before the
    /// offending one with [`Progress::Fault`]. `out` grows by no more than the length of `input`.
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
                (State::AfterCr, b'\n') => {
                    out.push(b'\n');
                    (State::LineStart, 1)
                }
                (State::AfterDot, b'\r') if self.ending == LineEnding::CrLf => {
                    (State::AfterDotCr, 1)
                }
                (State::AfterDot, b'\n') if self.ending == LineEnding::Lf => (State::Ended, 1),
                (State::AfterDotCr, b'\n') => (State::Ended, 1),
                // What looks like the wrong line ending after a dot is found out in the line.
                (State::LineStart | State::AfterDot, _) => (State::InLine, 0),
                (State::AfterCr | State::AfterDotCr, _) => {
                    (State::Faulted(LineEndingFault::BareCr), 0)
                }
                (State::Ended | State::Faulted(_), _) => break self.progress(),
            };
            self.state = state;
            rest = rest.get(used..).unwrap_or_default();
        };
        (input.len().saturating_sub(rest.len()), progress)
    }

    fn progress(&self) -> Progress {
        match self.state {
            State::Ended => Progress::End,
            State::Faulted(fault) => Progress::Fault(fault),
            State::LineStart
            | State::InLine
            | State::AfterCr
            | State::AfterDot
            | State::AfterDotCr => Progress::More,
        }
    }
}

/// Copies lines in CRLF mode, up to a line that begins with a dot; `input` begins inside a line.
///
/// Gives the next state and how many octets were used.
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
            // The LF goes into `out` with the next line, so that each line is one copy.
            [b'\r', b'\n', ..] => {
                copied = found.saturating_add(1);
                searched = found.saturating_add(2);
            }
            [b'\r'] => return (State::AfterCr, found.saturating_add(1)),
            [b'\r', ..] => return (State::Faulted(LineEndingFault::BareCr), found),
            _ => return (State::Faulted(LineEndingFault::BareLf), found),
        }
    }
}

/// Copies lines in LF mode, up to a line that begins with a dot; `input` begins inside a line.
///
/// Gives the next state and how many octets were used. All lines are one copy.
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

/// Where [`DotEncoder`] stands in the line it is writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    /// At its start.
    Start,
    /// After some text.
    Text,
    /// After a CR, which may belong to the ending.
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
    /// An LF becomes CRLF unless a CR precedes it, because other programs may have stored CRLF; a
    /// bare CR, which only they can have stored, stays. `out` grows by at most twice the length of
    /// `input` plus one octet.
    pub fn encode(&mut self, input: &[u8], out: &mut Vec<u8>) {
        // One octet more per line: this is enough for lines of 16 octets on average.
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

    /// Ends the message: appends CRLF if its last line lacks an ending, then the terminating line.
    ///
    /// The encoder stands at the start of a message again.
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
