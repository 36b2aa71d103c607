//! Content that comes in chunks of announced length (RFC 3030), without transparency dots.
//!
//! The length of a chunk is the caller's business: it passes exactly the octets of the chunks. The
//! line endings are held to the session's mode like those of all other content (SEC-1), although
//! nothing in a chunk could be taken for its end: what is stored is LF-ended text, and a bare CR or
//! LF could not be given back as it was. (RFC 3030 §2 demands CRLF of text in chunks too; octets
//! without line structure would need BINARYMIME, which is not offered.)
//!
//! # Theory of operation
//! At the *line start*, *in line*, *after CR* (CRLF mode only, an LF must follow), or *faulted*,
//! which is final. A chunk may end anywhere, also between CR and LF.

use memchr::memchr2;

use super::{LineEnding, LineEndingFault};

/// A state of [`ChunkDecoder`]; see the theory of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    LineStart,
    InLine,
    AfterCr,
    Faulted(LineEndingFault),
}

/// Checks and converts the line endings of one message that comes in chunks.
#[derive(Clone, Debug)]
pub struct ChunkDecoder {
    ending: LineEnding,
    state: State,
}

impl ChunkDecoder {
    /// A decoder at the start of a message, for a session of the given mode.
    pub fn new(ending: LineEnding) -> Self {
        Self {
            ending,
            state: State::LineStart,
        }
    }

    /// Decodes the next octets of the content and appends them to `out`, every line with its
    /// ending as LF. `out` grows by no more than the length of `input`.
    ///
    /// # Errors
    /// [`LineEndingFault`] when the peer mixes line endings: refuse the message. Every further call
    /// gives the same. The end of the chunk is known all the same, so the connection may stay.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), LineEndingFault> {
        out.reserve(input.len());
        let mut rest = input;
        match (self.state, rest) {
            (State::Faulted(fault), _) => return Err(fault),
            (_, []) | (State::LineStart | State::InLine, _) => {}
            (State::AfterCr, [b'\n', after @ ..]) => {
                out.push(b'\n');
                self.state = State::LineStart;
                rest = after;
            }
            (State::AfterCr, _) => return Err(self.fault(LineEndingFault::BareCr)),
        }
        while let Some(offset) = memchr2(b'\r', b'\n', rest) {
            let (text, found) = rest.split_at_checked(offset).unwrap_or_default();
            out.extend_from_slice(text);
            rest = match (self.ending, found) {
                (LineEnding::CrLf, [b'\r', b'\n', after @ ..])
                | (LineEnding::Lf, [b'\n', after @ ..]) => after,
                (LineEnding::CrLf, [b'\r']) => {
                    self.state = State::AfterCr;
                    return Ok(());
                }
                (LineEnding::CrLf, [b'\r', ..]) => {
                    return Err(self.fault(LineEndingFault::BareCr));
                }
                (LineEnding::CrLf, _) => return Err(self.fault(LineEndingFault::BareLf)),
                (LineEnding::Lf, _) => return Err(self.fault(LineEndingFault::UnexpectedCr)),
            };
            out.push(b'\n');
            self.state = State::LineStart;
        }
        if !rest.is_empty() {
            out.extend_from_slice(rest);
            self.state = State::InLine;
        }
        Ok(())
    }

    /// Ends the message after its last chunk.
    ///
    /// If the last line lacks its ending, LF is appended to `out`: a multi-line response ends every
    /// line with CRLF (RFC 1939 §3), so a message without the last one could not be given back, and
    /// its size in the listing would be wrong by two octets. An empty message stays empty.
    ///
    /// # Errors
    /// [`LineEndingFault`] as [`decode`](Self::decode), and [`LineEndingFault::BareCr`] when the
    /// last octet of all was a CR: refuse the message.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), LineEndingFault> {
        match self.state {
            State::LineStart => {}
            State::InLine => {
                out.push(b'\n');
                self.state = State::LineStart;
            }
            State::AfterCr => return Err(self.fault(LineEndingFault::BareCr)),
            State::Faulted(fault) => return Err(fault),
        }
        Ok(())
    }

    /// Remembers and gives the fault.
    fn fault(&mut self, fault: LineEndingFault) -> LineEndingFault {
        self.state = State::Faulted(fault);
        fault
    }
}
