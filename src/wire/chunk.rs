//! Content that comes in chunks of announced length (RFC 3030), without transparency dots.
//!
//! The length of a chunk is the caller's business: it passes exactly the octets of the chunks. The
//! line endings are held to the session's mode like those of all other content (SEC-1), although
//! nothing in a chunk could be taken for its end: what is stored is LF-ended text, and a bare LF
//! could not be given back as it was. (RFC 3030 §2 demands CRLF of text in chunks too; octets
//! without line structure would need BINARYMIME, which is not offered.) With [`BareOctets::Accept`]
//! a bare LF ends a line, and a bare CR stays, unless it stands before CRLF or at the end.
//!
//! # Theory of operation
//! At the *line start*, *in line*, *after CR* and *after CRs* (CRLF mode only; the one before it is
//! bare), or *faulted*, which is final. A chunk may end anywhere, also between CR and LF.

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

/// Checks and converts the line endings of one message that comes in chunks.
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

    /// Decodes the next octets of the content and appends them to `out`, every line with its
    /// ending as LF. `out` grows by no more than the length of `input` and one octet, which an
    /// earlier call may have held back.
    ///
    /// # Errors
    /// [`LineEndingFault`] when the peer mixes line endings: refuse the message. Every further call
    /// gives the same. The end of the chunk is known all the same, so the connection may stay.
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
                // Stored, the bare CR and the LF would be one CRLF.
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

    /// Takes lines up to a CR that no LF is known to follow, or to the end of `rest`; gives what
    /// comes then.
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
            State::AfterCr | State::AfterCrs => return Err(self.fault(LineEndingFault::BareCr)),
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
