//! Content in chunks of announced length (RFC 3030), without transparency dots.
//!
//! The caller counts the length of a chunk and passes exactly its octets. The line endings must
//! follow the session's mode like those of all other content (SEC-1), although nothing in a chunk
//! could be mistaken for its end: stored content is LF-ended text, and a bare LF could not be given
//! back as it was. (RFC 3030 §2 requires CRLF of text in chunks too; octets without line structure
//! would need BINARYMIME, which is not offered.) With [`BareOctets::Accept`] a bare LF ends a line,
//! and a bare CR stays, unless it precedes CRLF or comes last.
//!
//! # Theory of operation
//! The states are *line start*, *in line*, *after CR*, *after CRs* (CRLF mode only; the CR before
//! is bare) and *faulted*, which is final. A chunk can end anywhere, also between CR and LF.

use memchr::memchr2;

use super::{BareOctets, LineEnding, LineEndingFault};

/// A state of [`ChunkDecoder`]; see the theory of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    LineStart,
    InLine,
    AfterCr,
    AfterCrs,
    Faulted(LineEndingFault),
}

/// Checks and converts the line endings of one message that arrives in chunks.
#[derive(Clone, Debug)]
pub struct ChunkDecoder {
    ending: LineEnding,
    bare_octets: BareOctets,
    state: State,
    has_bare_lf: bool,
}

impl ChunkDecoder {
    /// A decoder at the start of a message, for a session of the given mode.
    pub fn new(ending: LineEnding, bare_octets: BareOctets) -> Self {
        Self {
            ending,
            bare_octets,
            state: State::LineStart,
            has_bare_lf: false,
        }
    }

    /// Whether a bare LF ended a line in CRLF mode.
    pub fn has_bare_lf(&self) -> bool {
        self.has_bare_lf
    }

    /// Decodes the next octets of the content and appends them to `out`, with LF as the ending of
    /// every line. `out` grows by at most the length of `input` plus one octet, which an earlier
    /// call might have held back.
    ///
    /// # Errors
    /// [`LineEndingFault`] if the client mixes line endings: refuse the message. Every further call
    /// returns the same. The end of the chunk is still known, so the connection can stay open.
    pub fn decode(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<(), LineEndingFault> {
        out.reserve(input.len());
        let mut rest = input;
        loop {
            rest = match (self.state, rest) {
                (State::Faulted(fault), _) => return Err(fault),
                (_, []) => return Ok(()),
                (State::AfterCr, [b'\n', after @ ..]) => {
                    out.push(b'\n');
                    self.state = State::LineStart;
                    after
                }
                // When stored, the bare CR and the LF would look like CRLF.
                (State::AfterCrs, [b'\n', ..]) => return Err(self.fault(LineEndingFault::BareCr)),
                (State::AfterCr | State::AfterCrs, [octet, after @ ..]) => {
                    self.check_bare(LineEndingFault::BareCr)?;
                    out.push(b'\r');
                    let is_cr = *octet == b'\r';
                    self.state = if is_cr {
                        State::AfterCrs
                    } else {
                        State::InLine
                    };
                    if is_cr { after } else { rest }
                }
                (State::LineStart | State::InLine, _) => self.take_lines(rest, out)?,
            };
        }
    }

    /// Copies lines up to a CR that is not known to be followed by LF, or to the end of `rest`;
    /// returns the remaining octets.
    fn take_lines<'a>(
        &mut self,
        mut rest: &'a [u8],
        out: &mut Vec<u8>,
    ) -> Result<&'a [u8], LineEndingFault> {
        while let Some(offset) = memchr2(b'\r', b'\n', rest) {
            let (text, found) = rest.split_at_checked(offset).unwrap_or_default();
            out.extend_from_slice(text);
            rest = match (self.ending, found) {
                (LineEnding::CrLf, [b'\r', b'\n', after @ ..])
                | (LineEnding::Lf, [b'\n', after @ ..]) => after,
                (LineEnding::CrLf, [b'\r', after @ ..]) => {
                    self.state = State::AfterCr;
                    return Ok(after);
                }
                (LineEnding::CrLf, [_, after @ ..]) => {
                    self.check_bare(LineEndingFault::BareLf)?;
                    self.has_bare_lf = true;
                    after
                }
                (LineEnding::Lf | LineEnding::CrLf, _) => {
                    return Err(self.fault(LineEndingFault::UnexpectedCr));
                }
            };
            out.push(b'\n');
            self.state = State::LineStart;
        }
        if !rest.is_empty() {
            out.extend_from_slice(rest);
            self.state = State::InLine;
        }
        Ok(&[])
    }

    fn check_bare(&mut self, fault: LineEndingFault) -> Result<(), LineEndingFault> {
        match self.bare_octets {
            BareOctets::Accept => Ok(()),
            BareOctets::Refuse => Err(self.fault(fault)),
        }
    }

    /// Ends the message after its last chunk.
    ///
    /// If the last line has no ending, LF is appended to `out`: a multi-line response ends every
    /// line with CRLF (RFC 1939 §3), so a message without the last one could not be given back, and
    /// its size in the listing would be wrong by two octets. An empty message stays empty.
    ///
    /// # Errors
    /// [`LineEndingFault`] as in [`decode`](Self::decode), and [`LineEndingFault::BareCr`] if the
    /// last octet of all was a CR: refuse the message.
    pub fn finish(&mut self, out: &mut Vec<u8>) -> Result<(), LineEndingFault> {
        match self.state {
            State::LineStart => {}
            State::InLine => {
                out.push(b'\n');
                self.state = State::LineStart;
            }
            State::AfterCr | State::AfterCrs => return Err(self.fault(LineEndingFault::BareCr)),
            State::Faulted(fault) => return Err(fault),
        }
        Ok(())
    }

    /// Remembers and returns the fault.
    fn fault(&mut self, fault: LineEndingFault) -> LineEndingFault {
        self.state = State::Faulted(fault);
        fault
    }
}
