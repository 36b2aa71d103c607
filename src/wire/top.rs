//! The top of a message: its header section, the blank line and the first lines of its body.
//!
//! It works on stored octets, before any encoding, with LF or CRLF line endings. It does not parse
//! the header, which ends with the first blank line or with the message.
//!
//! # Theory of operation
//! *In the header* until a line is blank; then *in the body* until the requested lines have ended;
//! then *complete*, which is final. If no body lines are requested, the blank line completes the
//! top.

use memchr::memchr;

/// The part of the message in which the cut is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Header,
    Body,
    Complete,
}

/// The current line so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Empty,
    /// One CR: a blank line if LF follows.
    Cr,
    Text,
}

impl Line {
    /// The line with `text` appended.
    fn with(self, text: &[u8]) -> Self {
        match (self, text) {
            (line, []) => line,
            (Self::Empty, [b'\r']) => Self::Cr,
            (Self::Empty | Self::Cr | Self::Text, _) => Self::Text,
        }
    }
}

/// Finds the end of the top of one message (RFC 1939 §7).
#[derive(Clone, Debug)]
pub struct TopCut {
    part: Part,
    line: Line,
    /// The number of body lines still to come.
    lines: u64,
}

impl TopCut {
    /// A cut at the start of a message, after `lines` lines of its body.
    pub fn new(lines: u64) -> Self {
        Self {
            part: Part::Header,
            line: Line::Empty,
            lines,
        }
    }

    /// Returns how many octets of `input`, the next of the message, belong to its top: all of them
    /// until the top is complete, and none after that.
    pub fn cut(&mut self, input: &[u8]) -> usize {
        let mut rest = input;
        while self.part != Part::Complete {
            let Some(text_end) = memchr(b'\n', rest) else {
                self.line = self.line.with(rest);
                return input.len();
            };
            let line = self.line.with(rest.get(..text_end).unwrap_or_default());
            self.end_line(line);
            rest = rest.get(text_end.saturating_add(1)..).unwrap_or_default();
        }
        input.len().saturating_sub(rest.len())
    }

    /// Whether the whole top was seen: the rest of the message need not be read.
    ///
    /// It stays false for a message that has no more lines than requested, or only a header.
    pub fn is_complete(&self) -> bool {
        self.part == Part::Complete
    }

    fn end_line(&mut self, line: Line) {
        self.line = Line::Empty;
        match self.part {
            Part::Header if line != Line::Text => self.part = Part::Body,
            Part::Header | Part::Complete => {}
            Part::Body => self.lines = self.lines.saturating_sub(1),
        }
        if self.part == Part::Body && self.lines == 0 {
            self.part = Part::Complete;
        }
    }
}
