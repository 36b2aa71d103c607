//! The input buffer of a session: it finds the lines in the octets from the network.
//!
//! The code that reads the socket fills the buffer; the buffer does not read by itself. Lines are
//! found in place, without a copy. Content that does not consist of commands bypasses the line
//! search with [`LineBuffer::unread`] and [`LineBuffer::consume`].
//!
//! # Theory of operation
//! The storage is initialised memory with the offsets `start <= searched <= end`:
//!
//! ```text
//! 0      start        searched     end           len
//! | used | no ending in here | unknown | free space |
//! ```
//!
//! `searched` keeps the cost linear: no octet is searched twice for a line ending, except a CR at
//! the end that waits for its LF. The line ending mode has three states:
//!
//! - *open* (`ending` is `None`): until the first line ends. CRLF leads to *CRLF*. A bare LF leads
//!   to *LF* if the policy accepts that, otherwise to a fault.
//! - *CRLF*: a line ends in CRLF. A bare CR or a bare LF is a fault.
//! - *LF*: a line ends in LF. A CR anywhere is a fault.
//!
//! No transition leads from *CRLF* or *LF* to another mode, and a fault is final (SEC-1).
//!
//! A line over the limit is *overlong*: each scan drops the part that is known to belong to it
//! until its ending has arrived; then [`Scan::TooLong`] is returned once. Its octets must follow
//! the mode too.
//!
//! # Invariants
//! - If every [`LineBuffer::space`] follows a scan that was [`Scan::Incomplete`], no more memory is
//!   held than the limit plus the largest space asked for.
//! - `Debug` shows no octet of the input, which might contain a password.

use std::{error::Error, fmt, ops::Range};

use memchr::memchr2;

/// How the lines of a session end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnding {
    /// CR LF, as every RFC requires.
    CrLf,
    /// A bare LF, as `nc` sends it.
    Lf,
}

/// A violation of the session's line ending mode: close the connection (SEC-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEndingFault {
    /// A CR that is not followed by an LF, in CRLF mode.
    BareCr,
    /// An LF that is not preceded by a CR, in CRLF mode or where LF mode is not accepted.
    BareLf,
    /// Any CR in LF mode.
    UnexpectedCr,
}

impl LineEndingFault {
    /// What was found, in words that complete a sentence such as "the line has …".
    pub fn found(self) -> &'static str {
        match self {
            Self::BareCr => "a carriage return without a line feed (bare CR)",
            Self::BareLf => "a line feed without a carriage return (bare LF)",
            Self::UnexpectedCr => "a carriage return where lines end in bare LF",
        }
    }
}

impl fmt::Display for LineEndingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.found())
    }
}

impl Error for LineEndingFault {}

/// Whether the first line of a session may end in a bare LF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LfPolicy {
    /// It may, and this selects LF mode: for clients on this machine.
    Accept,
    /// It is a fault: for clients elsewhere.
    Refuse,
}

/// How a bare CR or a bare LF in the content is treated, in a session whose lines end in CRLF.
/// Neither ever ends a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareOctets {
    /// The content is refused, as RFC 5321 §2.3.8 requires.
    Refuse,
    /// A bare LF ends a line, and a bare CR is an ordinary octet: for clients on this machine whose
    /// mail library does not correct line endings.
    Accept,
}

/// What [`LineBuffer::scan`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// A line: see [`LineBuffer::line`].
    Line,
    /// No line ending yet: read more.
    Incomplete,
    /// A line longer than the limit has ended; it was dropped.
    TooLong,
    /// The client mixes line endings; every further scan returns the same.
    Fault(LineEndingFault),
}

/// The result of a search for the next line ending.
enum Search {
    /// The text of the line ends at this offset, and this ending follows.
    Found(usize, LineEnding),
    /// There is no line ending yet.
    Nothing,
    Fault(LineEndingFault),
}

/// Octets that were received and not yet consumed.
pub struct LineBuffer {
    octets: Vec<u8>,
    /// First unread octet.
    start: usize,
    /// There is no line ending between `start` and here.
    searched: usize,
    /// End of what was received; free space follows.
    end: usize,
    /// The last line found, without its ending.
    line: Range<usize>,
    line_octets_max: usize,
    lf_policy: LfPolicy,
    ending: Option<LineEnding>,
    fault: Option<LineEndingFault>,
    /// The line at `start` is over the limit and part of it was dropped.
    overlong: bool,
}

impl LineBuffer {
    /// An empty buffer for lines of up to `line_octets_max` octets, including their ending.
    ///
    /// It allocates nothing until [`space`](Self::space) is called.
    pub fn new(line_octets_max: usize, lf_policy: LfPolicy) -> Self {
        Self {
            octets: Vec::new(),
            start: 0,
            searched: 0,
            end: 0,
            line: 0..0,
            line_octets_max,
            lf_policy,
            ending: None,
            fault: None,
            overlong: false,
        }
    }

    /// How the lines of this session end; `None` until the first line has ended.
    pub fn ending(&self) -> Option<LineEnding> {
        self.ending
    }

    /// Sets the limit for the following lines, in octets including their ending.
    pub fn set_line_octets_max(&mut self, octets: usize) {
        self.line_octets_max = octets;
    }

    /// The free space to read into: at least `octets` long, often longer.
    ///
    /// It contains stale octets, not zeros. Report with [`filled`](Self::filled) how many were
    /// written. The last line found is forgotten.
    pub fn space(&mut self, octets: usize) -> &mut [u8] {
        self.line = 0..0;
        let free = self.octets.len().saturating_sub(self.end);
        if self.start == self.end || free < octets {
            self.compact();
        }
        let needed = self.end.saturating_add(octets);
        if self.octets.len() < needed {
            // Exactly, because the bound on memory counts; growth is rare and ends at the limit.
            self.octets
                .reserve_exact(needed.saturating_sub(self.octets.len()));
            self.octets.resize(needed, 0);
        }
        self.octets.get_mut(self.end..).unwrap_or_default()
    }

    /// Marks the first `octets` octets of [`space`](Self::space) as received.
    pub fn filled(&mut self, octets: usize) {
        self.end = self.end.saturating_add(octets).min(self.octets.len());
    }

    /// Finds the next line and removes it from the unread octets.
    ///
    /// Call it until it returns [`Scan::Incomplete`], then read more.
    pub fn scan(&mut self) -> Scan {
        self.line = 0..0;
        if let Some(fault) = self.fault {
            return Scan::Fault(fault);
        }
        match self.search() {
            Search::Found(text_end, ending) => self.take_line(text_end, ending),
            Search::Nothing => {
                // The ending is still missing, so a line that reaches the limit will exceed it.
                let octets = self.end.saturating_sub(self.start);
                self.overlong = self.overlong || octets >= self.line_octets_max;
                if self.overlong {
                    self.start = self.searched;
                }
                Scan::Incomplete
            }
            Search::Fault(fault) => {
                self.fault = Some(fault);
                Scan::Fault(fault)
            }
        }
    }

    /// The line that [`scan`](Self::scan) found last, without its ending.
    ///
    /// Empty unless the last call was a scan that returned [`Scan::Line`], possibly followed by
    /// calls of [`unread`](Self::unread) and [`consume`](Self::consume).
    pub fn line(&self) -> &[u8] {
        self.octets.get(self.line.clone()).unwrap_or_default()
    }

    /// The octets that were received but neither returned as a line nor consumed.
    pub fn unread(&self) -> &[u8] {
        self.octets.get(self.start..self.end).unwrap_or_default()
    }

    /// Removes the first `octets` unread octets, or all if there are fewer.
    pub fn consume(&mut self, octets: usize) {
        self.start = self.start.saturating_add(octets).min(self.end);
        self.searched = self.searched.max(self.start);
    }

    /// Frees the memory except for the unread octets: for a session that waits.
    ///
    /// The last line found is forgotten; the mode and the limit stay.
    pub fn release(&mut self) {
        self.compact();
        let unread = self.octets.get(..self.end).unwrap_or_default();
        self.octets = unread.to_vec();
    }

    /// The octets of memory that are held.
    pub fn capacity(&self) -> usize {
        self.octets.capacity()
    }

    /// Moves the unread octets to the front.
    fn compact(&mut self) {
        self.line = 0..0;
        self.octets.copy_within(self.start..self.end, 0);
        self.searched = self.searched.saturating_sub(self.start);
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
    }

    /// Looks for a line ending in the octets that were not searched yet.
    fn search(&mut self) -> Search {
        let unsearched = self.octets.get(self.searched..self.end).unwrap_or_default();
        let Some(offset) = memchr2(b'\r', b'\n', unsearched) else {
            self.searched = self.end;
            return Search::Nothing;
        };
        let found = unsearched.get(offset..).unwrap_or_default();
        self.searched = self.searched.saturating_add(offset);
        match (self.ending, found) {
            (Some(LineEnding::Lf), [b'\r', ..]) => Search::Fault(LineEndingFault::UnexpectedCr),
            (Some(LineEnding::Lf), _) => Search::Found(self.searched, LineEnding::Lf),
            (_, [b'\r', b'\n', ..]) => Search::Found(self.searched, LineEnding::CrLf),
            (_, [b'\r']) => Search::Nothing,
            (_, [b'\r', ..]) => Search::Fault(LineEndingFault::BareCr),
            (None, _) if self.lf_policy == LfPolicy::Accept => {
                Search::Found(self.searched, LineEnding::Lf)
            }
            (_, _) => Search::Fault(LineEndingFault::BareLf),
        }
    }

    /// Removes the line whose text ends at `text_end`; the first line fixes the mode.
    fn take_line(&mut self, text_end: usize, ending: LineEnding) -> Scan {
        let line_end = text_end.saturating_add(match ending {
            LineEnding::CrLf => 2,
            LineEnding::Lf => 1,
        });
        let octets = line_end.saturating_sub(self.start);
        let too_long = self.overlong || octets > self.line_octets_max;
        let text = self.start..text_end;
        self.ending = Some(ending);
        self.overlong = false;
        self.start = line_end;
        self.searched = line_end;
        if too_long {
            return Scan::TooLong;
        }
        self.line = text;
        Scan::Line
    }
}

impl fmt::Debug for LineBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LineBuffer")
            .field("unread", &self.unread().len())
            .field("capacity", &self.capacity())
            .field("line_octets_max", &self.line_octets_max)
            .field("ending", &self.ending)
            .field("fault", &self.fault)
            .field("overlong", &self.overlong)
            .finish_non_exhaustive()
    }
}
