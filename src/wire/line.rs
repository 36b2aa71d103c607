//! The input buffer of a session: it finds the lines in what the network delivers.
//!
//! It is filled by whoever reads the socket and does not read itself. Lines are found in place,
//! without a copy; content that is not made of commands is taken past the line search with
//! [`LineBuffer::unread`] and [`LineBuffer::consume`].
//!
//! # Theory of operation
//! The storage is initialised memory in which the offsets `start <= searched <= end` move:
//!
//! ```text
//! 0      start        searched     end           len
//! | used | no ending in here | unknown | free space |
//! ```
//!
//! `searched` keeps the cost linear: no octet is looked at twice for a line ending, but for a CR
//! that stood last and waits for its LF. The line ending mode has three states:
//!
//! - *open* (`ending` is `None`): until the first line ends. CRLF leads to *CRLF*; a bare LF leads
//!   to *LF* if the policy accepts that and else to a fault.
//! - *CRLF*: a line ends in CRLF. A bare CR or a bare LF is a fault.
//! - *LF*: a line ends in LF. A CR anywhere is a fault.
//!
//! No transition leads from *CRLF* or *LF* to another mode, and a fault is forever (SEC-1).
//!
//! A line over the limit is *overlong*: what is known to belong to it is dropped at each scan until
//! its ending has come; then [`Scan::TooLong`] is said once. Its octets are held to the mode too.
//!
//! # Invariants
//! - If every [`LineBuffer::space`] follows a scan that was [`Scan::Incomplete`], no more memory is
//!   held than the limit plus the largest space asked for.
//! - `Debug` shows no octet of the input: it may hold a password.

use std::{error::Error, fmt, ops::Range};

use memchr::memchr2;

/// How the lines of a session end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEnding {
    /// CR LF, as every RFC demands.
    CrLf,
    /// LF alone, as `nc` sends it.
    Lf,
}

/// A violation of the session's line ending mode: close the connection (SEC-1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineEndingFault {
    /// A CR that no LF follows, in CRLF mode.
    BareCr,
    /// An LF that no CR precedes, in CRLF mode or where LF mode is not accepted.
    BareLf,
    /// Any CR in LF mode.
    UnexpectedCr,
}

impl LineEndingFault {
    /// What was found, in words that end a sentence such as "the line has …".
    pub fn found(self) -> &'static str {
        match self {
            Self::BareCr => "a carriage return without a line feed (bare CR)",
            Self::BareLf => "a line feed without a carriage return (bare LF)",
            Self::UnexpectedCr => "a carriage return where lines end in a line feed alone",
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
    /// It may, and so chooses LF mode: for peers on this machine.
    Accept,
    /// It is a fault: for peers elsewhere.
    Refuse,
}

/// What a bare CR or a bare LF in the content means, in a session whose lines end in CRLF. Neither
/// ever ends a content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareOctets {
    /// The content is refused, as RFC 5321 §2.3.8 demands.
    Refuse,
    /// A bare LF ends a line, and a bare CR is an octet like others: for peers on this machine that
    /// hand in their mail by a library which does not mend line endings.
    Accept,
}

/// What [`LineBuffer::scan`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scan {
    /// A line: [`LineBuffer::line`] gives it.
    Line,
    /// No line ending yet: read on.
    Incomplete,
    /// A line longer than the limit has ended; it is gone.
    TooLong,
    /// The peer mixes line endings; every further scan says the same.
    Fault(LineEndingFault),
}

/// What a search for the next line ending came to.
enum Search {
    /// The text of the line ends at this offset, and this ending follows.
    Found(usize, LineEnding),
    /// There is none yet.
    Nothing,
    Fault(LineEndingFault),
}

/// Octets that were received and not yet used up.
pub struct LineBuffer {
    octets: Vec<u8>,
    /// First unread octet.
    start: usize,
    /// No line ends between `start` and here.
    searched: usize,
    /// End of what was received; free space follows.
    end: usize,
    /// The line found last, without its ending.
    line: Range<usize>,
    line_octets_max: usize,
    lf_policy: LfPolicy,
    ending: Option<LineEnding>,
    fault: Option<LineEndingFault>,
    /// The line at `start` is over the limit and a part of it was dropped.
    overlong: bool,
}

impl LineBuffer {
    /// An empty buffer for lines of up to `line_octets_max` octets, their ending included.
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

    /// How the lines of this session end; `None` until the first line has.
    pub fn ending(&self) -> Option<LineEnding> {
        self.ending
    }

    /// Sets the limit for the lines that follow, in octets with their ending.
    pub fn set_line_octets_max(&mut self, octets: usize) {
        self.line_octets_max = octets;
    }

    /// The free space to read into: at least `octets` long, often longer.
    ///
    /// It holds stale octets, not zeros. Say with [`filled`](Self::filled) how many were written.
    /// The line found last is forgotten.
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

    /// Takes the first `octets` octets of [`space`](Self::space) for received.
    pub fn filled(&mut self, octets: usize) {
        self.end = self.end.saturating_add(octets).min(self.octets.len());
    }

    /// Looks for the next line and takes it out of what is unread.
    ///
    /// Call it until it is [`Scan::Incomplete`], then read on.
    pub fn scan(&mut self) -> Scan {
        self.line = 0..0;
        if let Some(fault) = self.fault {
            return Scan::Fault(fault);
        }
        match self.search() {
            Search::Found(text_end, ending) => self.take_line(text_end, ending),
            Search::Nothing => {
                // The ending is still to come, so a line that reaches the limit will be over it.
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
    /// Empty unless the last call was a scan that said [`Scan::Line`], or calls of
    /// [`unread`](Self::unread) and [`consume`](Self::consume) since.
    pub fn line(&self) -> &[u8] {
        self.octets.get(self.line.clone()).unwrap_or_default()
    }

    /// What was received and is neither in a line taken nor consumed.
    pub fn unread(&self) -> &[u8] {
        self.octets.get(self.start..self.end).unwrap_or_default()
    }

    /// Takes the first `octets` octets, or all if there are fewer, out of what is unread.
    pub fn consume(&mut self, octets: usize) {
        self.start = self.start.saturating_add(octets).min(self.end);
        self.searched = self.searched.max(self.start);
    }

    /// Gives the memory back but for what is unread: for a session that waits.
    ///
    /// The line found last is forgotten; the mode and the limit stay.
    pub fn release(&mut self) {
        self.compact();
        let unread = self.octets.get(..self.end).unwrap_or_default();
        self.octets = unread.to_vec();
    }

    /// How many octets of memory are held.
    pub fn capacity(&self) -> usize {
        self.octets.capacity()
    }

    /// Moves what is unread to the front.
    fn compact(&mut self) {
        self.line = 0..0;
        self.octets.copy_within(self.start..self.end, 0);
        self.searched = self.searched.saturating_sub(self.start);
        self.end = self.end.saturating_sub(self.start);
        self.start = 0;
    }

    /// Looks for a line ending in what was not searched yet.
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

    /// Takes the line whose text ends at `text_end`; the first one fixes the mode.
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
