//! The walk through a message: one pass that finds its parts (RFC 2046 §5.1).
//!
//! # Theory of operation
//!
//! The walk sees the message as lines, which end in LF or CRLF. The *path* leads from the message
//! to the innermost part that has not ended. Each multipart on it that has not seen its last
//! delimiter is *open*. The place of the next line is one of four:
//!
//! - *header*: in the header section of the innermost part. A blank line ends it, and so does a
//!   line that cannot be in one, which is then the first of the body.
//! - *body*: in the body of the innermost part.
//! - *outside*: in a preamble or an epilogue, which belongs to no part.
//! - *delimited*: directly behind a delimiter of the innermost open multipart. The next line begins
//!   a part, except for another delimiter of the same multipart: RFC 2046 has no part there.
//!
//! A line that is a delimiter of an open multipart ends everything within that multipart, in every
//! place; that is how a message without its last delimiters is read, too. A delimiter is a whole
//! line: RFC 2046 §5.1.1 would accept any line that begins like one, but then the boundaries `a`
//! and `ab` of two multiparts could not be told apart. If the boundary of a multipart is open
//! already, its delimiters belong to the outer multipart.
//!
//! A `message/rfc822` is a leaf: what is in it is its body.
//!
//! # Invariants
//!
//! - The time is linear in the length of the message. An octet is searched once for a line ending;
//!   a line that begins with two hyphens and has at most [`limits::DELIMITER_OCTETS_MAX`] octets is
//!   compared with at most [`limits::DEPTH_MAX`] boundaries, first by length. Each part's header
//!   section is parsed once, in time linear in what is kept of it.
//! - No call recurses, so a small stack suffices for every message.
//! - The memory held is at most [`limits::WALK_OCTETS_MAX`].
//! - The result is the same for all ways to cut a message into pieces.
//!
//! # Failures
//!
//! [`TooComplex`]: more than [`limits::PARTS_MAX`] parts, or deeper than [`limits::DEPTH_MAX`].
//! Everything else is read in some way.

use std::{error::Error, fmt};

use super::{
    limits,
    outline::{Lead, Outline},
    part::{Extent, Part},
};

/// The message has too many parts, or they are nested too deeply: offer it for download only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooComplex;

impl fmt::Display for TooComplex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("too complex to show: download it")
    }
}

impl Error for TooComplex {}

/// Where the next line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Body,
    Delimited,
    Header,
    Outside,
}

/// A multipart whose delimiters are looked for.
#[derive(Debug)]
struct Open {
    /// Its place in the path.
    depth: usize,
    boundary: Vec<u8>,
    /// How many parts of it have begun.
    n_parts: usize,
}

/// What a delimiter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delimiter {
    /// A part follows.
    Next,
    /// No part follows.
    Last,
}

/// A line, without its ending.
#[derive(Clone, Copy)]
struct Line<'a> {
    /// Its beginning.
    text: &'a [u8],
    /// The length of all of it.
    octets: u64,
    /// The length of its ending: 0 to 2.
    ending: u64,
}

/// A line that has begun in an earlier piece.
#[derive(Debug, Default)]
struct Begun {
    text: Vec<u8>,
    octets: u64,
    ends_in_cr: bool,
}

impl Begun {
    /// Appends `text` and keeps at most `octets_max` octets of the line.
    fn extend(&mut self, text: &[u8], octets_max: usize) {
        let free = octets_max.saturating_sub(self.text.len());
        let kept = text.get(..free).unwrap_or(text);
        self.text.extend_from_slice(kept);
        self.octets = self.octets.saturating_add(length(text));
        if let Some(last) = text.last() {
            self.ends_in_cr = *last == b'\r';
        }
    }

    /// The line, now that an ending follows or, without an LF, the message has ended.
    fn line(&self, has_lf: bool) -> Line<'_> {
        let has_cr = self.ends_in_cr && has_lf;
        let octets = self.octets.saturating_sub(u64::from(has_cr));
        let kept = usize::try_from(octets).unwrap_or(usize::MAX);
        Line {
            text: self.text.get(..kept).unwrap_or(&self.text),
            octets,
            ending: u64::from(has_lf).saturating_add(u64::from(has_cr)),
        }
    }
}

/// A walk through one message.
#[derive(Debug)]
pub struct Walk {
    parts: Vec<Part>,
    /// From the message to the innermost part that has not ended, as indices.
    path: Vec<usize>,
    open: Vec<Open>,
    place: Place,
    /// The header section that is being read, with LF line endings, and how long all of it is.
    header: Vec<u8>,
    /// The header section of the message.
    root_header: Vec<u8>,
    leads: Vec<Lead>,
    begun: Begun,
    /// The octets before the current line.
    offset: u64,
    /// The lines before the current line.
    n_lines: u64,
    /// The length of the ending of the line before.
    ending: u64,
    /// Whether the line before was blank.
    after_blank: bool,
    is_too_complex: bool,
}

impl Default for Walk {
    fn default() -> Self {
        Self::new()
    }
}

impl Walk {
    /// A walk at the beginning of a message.
    pub fn new() -> Self {
        let message = Part {
            id: "0".to_owned(),
            ..Part::default()
        };
        Self {
            parts: vec![message],
            path: vec![0],
            open: Vec::new(),
            place: Place::Header,
            header: Vec::new(),
            root_header: Vec::new(),
            leads: Vec::new(),
            begun: Begun::default(),
            offset: 0,
            n_lines: 0,
            ending: 0,
            after_blank: false,
            is_too_complex: false,
        }
    }

    /// Walks on through `octets`, the next of the message.
    pub fn push(&mut self, octets: &[u8]) {
        let mut rest = octets;
        while !self.is_too_complex {
            let Some(end) = memchr::memchr(b'\n', rest) else {
                self.begun.extend(rest, self.kept_octets_max());
                return;
            };
            let (text, after) = rest.split_at(end);
            rest = after.get(1..).unwrap_or_default();
            if self.begun.octets == 0 {
                let (text, ending) = match text.strip_suffix(b"\r") {
                    Some(text) => (text, 2),
                    None => (text, 1),
                };
                self.line(Line {
                    text: text.get(..self.kept_octets_max()).unwrap_or(text),
                    octets: length(text),
                    ending,
                });
            } else {
                let mut begun = std::mem::take(&mut self.begun);
                begun.extend(text, self.kept_octets_max());
                self.line(begun.line(true));
            }
        }
    }

    /// Ends the message.
    ///
    /// # Errors
    /// [`TooComplex`] if the message exceeds a limit: offer it for download.
    pub fn finish(mut self) -> Result<Outline, TooComplex> {
        let begun = std::mem::take(&mut self.begun);
        if begun.octets > 0 && !self.is_too_complex {
            self.line(begun.line(false));
        }
        if self.place == Place::Delimited {
            self.begin_part();
        }
        if self.place == Place::Header {
            self.end_header(self.offset);
        }
        if self.is_too_complex {
            return Err(TooComplex);
        }
        // The last line ending counts to the delimiter that is missing.
        self.end_parts(1, self.offset.saturating_sub(self.ending));
        self.end_parts(0, self.offset);
        Ok(Outline::new(self.parts, self.root_header, self.leads))
    }

    /// Whether the limits are exceeded already: the rest of the message need not be read.
    pub fn is_too_complex(&self) -> bool {
        self.is_too_complex
    }

    /// The octets of memory that are held.
    pub fn held_octets(&self) -> usize {
        let parts = self.parts.iter().map(Part::held_octets);
        let open = self.open.iter().map(|it| it.boundary.capacity());
        let leads = self.leads.iter().map(|it| it.octets.capacity());
        let texts = [&self.header, &self.root_header, &self.begun.text];
        let texts = texts.into_iter().map(Vec::capacity);
        let all = parts.chain(open).chain(leads).chain(texts);
        all.fold(size_of::<Self>(), usize::saturating_add)
    }

    /// How much of a line is needed.
    fn kept_octets_max(&self) -> usize {
        match self.place {
            Place::Header | Place::Delimited => limits::HEADER_OCTETS_MAX,
            Place::Body | Place::Outside => limits::LEAD_OCTETS_MAX,
        }
    }

    /// Takes the next line.
    fn line(&mut self, line: Line<'_>) {
        if let Some((level, delimiter)) = self.delimiter(line) {
            self.delimit(level, delimiter);
        } else {
            if self.place == Place::Delimited {
                self.begin_part();
            }
            if self.place == Place::Header {
                self.header_line(line);
            } else if self.place == Place::Body {
                self.body_line(line);
            }
        }
        self.offset = self.offset_after(line);
        self.n_lines = self.n_lines.saturating_add(1);
        self.ending = line.ending;
        self.after_blank = line.octets == 0;
    }

    /// The open multipart that `line` delimits, the innermost if there are several.
    fn delimiter(&self, line: Line<'_>) -> Option<(usize, Delimiter)> {
        let text = line.text.strip_prefix(b"--")?;
        if line.octets > length(&[0; limits::DELIMITER_OCTETS_MAX]) {
            return None;
        }
        // RFC 2046 §5.1.1: transport padding.
        let is_padding = |octet: &u8| matches!(octet, b' ' | b'\t' | b'\r');
        let end = text.iter().rposition(|octet| !is_padding(octet))?;
        let text = text.get(..=end)?;
        let shortened = text.strip_suffix(b"--");
        self.open.iter().enumerate().rev().find_map(|(level, it)| {
            if it.boundary == text {
                return Some((level, Delimiter::Next));
            }
            (Some(&*it.boundary) == shortened).then_some((level, Delimiter::Last))
        })
    }

    /// Ends what is within an open multipart.
    fn delimit(&mut self, level: usize, delimiter: Delimiter) {
        let is_innermost = level.saturating_add(1) == self.open.len();
        if self.place == Place::Delimited && !is_innermost {
            self.begin_part();
        }
        if self.place == Place::Header {
            // The delimiter took the place of the blank line.
            self.end_header(self.offset);
        }
        let depth = self.open.get(level).map_or(0, |it| it.depth);
        self.end_parts(
            depth.saturating_add(1),
            self.offset.saturating_sub(self.ending),
        );
        if delimiter == Delimiter::Next {
            self.open.truncate(level.saturating_add(1));
            self.place = Place::Delimited;
        } else {
            self.open.truncate(level);
            self.place = Place::Outside;
        }
    }

    /// Begins the next part of the innermost open multipart.
    fn begin_part(&mut self) {
        if self.parts.len() >= limits::PARTS_MAX {
            self.is_too_complex = true;
            return;
        }
        let Some(open) = self.open.last_mut() else {
            return;
        };
        open.n_parts = open.n_parts.saturating_add(1);
        let parent = self.path.get(open.depth).copied().unwrap_or_default();
        let id = match self.parts.get(parent) {
            Some(part) if parent > 0 => {
                let id = part.id.strip_suffix(".0").unwrap_or(&part.id);
                format!("{id}.{}", open.n_parts)
            }
            _ => open.n_parts.to_string(),
        };
        self.path.truncate(open.depth.saturating_add(1));
        self.path.push(self.parts.len());
        self.parts.push(Part {
            id,
            parent: Some(parent),
            depth: open.depth.saturating_add(1),
            header: at(self.offset),
            ..Part::default()
        });
        self.place = Place::Header;
    }

    fn header_line(&mut self, line: Line<'_>) {
        if line.octets == 0 {
            self.end_header(self.offset_after(line));
            self.after_header(1);
        } else if is_header_line(line.text) || self.is_envelope(line) {
            let free = limits::HEADER_OCTETS_MAX.saturating_sub(self.header.len());
            if free > line.text.len() {
                self.header.extend_from_slice(line.text);
                self.header.push(b'\n');
            } else if free > 0 {
                // The rest would belong to other fields than its beginning.
                self.header.resize(limits::HEADER_OCTETS_MAX, b'\n');
            }
        } else {
            self.end_header(self.offset);
            self.after_header(0);
            if self.place == Place::Body {
                self.body_line(line);
            }
        }
    }

    /// Whether `line` is the line that separates messages in a mailbox file.
    fn is_envelope(&self, line: Line<'_>) -> bool {
        self.offset == 0 && line.text.starts_with(b"From ")
    }

    /// Ends the header section of the innermost part, whose body begins at `body`.
    fn end_header(&mut self, body: u64) {
        let mut section = std::mem::take(&mut self.header);
        let index = self.path.last().copied().unwrap_or_default();
        let parent = self.parts.get(index).and_then(|part| part.parent);
        let parent = parent.and_then(|parent| self.parts.get(parent));
        let default = match parent {
            // RFC 2046 §5.1.5
            Some(parent) if parent.content_type == "multipart/digest" => "message/rfc822",
            _ => "text/plain",
        };
        let Some(part) = self.parts.get_mut(index) else {
            return;
        };
        let boundary = part.describe(&section, default);
        part.header.octets = self.offset.saturating_sub(part.header.offset);
        part.body = at(body);
        part.lines = self.n_lines;
        self.place = Place::Body;
        if part.is_multipart() {
            self.place = Place::Outside;
        }
        if boundary.is_some() && index > 0 {
            part.id.push_str(".0");
        }
        if index == 0 {
            section.shrink_to_fit();
            self.root_header = section;
        } else {
            section.clear();
            self.header = section;
        }
        let is_new = |it: &Vec<u8>| self.open.iter().all(|open| open.boundary != *it);
        if let Some(boundary) = boundary.filter(is_new) {
            self.is_too_complex |= self.open.len() >= limits::DEPTH_MAX;
            self.open.push(Open {
                depth: self.path.len().saturating_sub(1),
                boundary,
                n_parts: 0,
            });
        }
    }

    /// Counts `blank_lines` to the header section that has just ended.
    fn after_header(&mut self, blank_lines: u64) {
        let index = self.path.last().copied().unwrap_or_default();
        if let Some(part) = self.parts.get_mut(index) {
            part.lines = part.lines.saturating_add(blank_lines);
        }
    }

    fn body_line(&mut self, line: Line<'_>) {
        let index = self.path.last().copied().unwrap_or_default();
        let last = self.leads.last().map(|lead| lead.part);
        if last != Some(index) {
            let is_body = self.parts.get(index).is_some_and(Part::is_body);
            if !is_body || self.leads.len() >= limits::LEADS_MAX {
                return;
            }
            self.leads.push(Lead {
                part: index,
                octets: Vec::new(),
            });
        }
        if let Some(lead) = self.leads.last_mut() {
            let free = limits::LEAD_OCTETS_MAX.saturating_sub(lead.octets.len());
            lead.octets.extend(line.text.iter().chain(b"\n").take(free));
        }
    }

    /// Ends the parts of the path from `depth` on. Their bodies end at `end`.
    fn end_parts(&mut self, depth: usize, end: u64) {
        let ended = self.path.split_off(depth.min(self.path.len()));
        let mut end = end;
        for index in ended.into_iter().rev() {
            let Some(part) = self.parts.get_mut(index) else {
                continue;
            };
            // An empty body begins behind the line ending that is taken off, and a multipart does
            // not end before its parts.
            end = end.max(part.body.offset);
            part.body.octets = end.saturating_sub(part.body.offset);
            let n_lines = self.n_lines.saturating_sub(part.lines);
            // The delimiter has the ending of the last line. If nothing precedes it, there is none.
            let is_blank = self.after_blank && end < self.offset;
            part.lines = n_lines.saturating_sub(u64::from(is_blank));
        }
    }

    fn offset_after(&self, line: Line<'_>) -> u64 {
        let end = self.offset.saturating_add(line.octets);
        end.saturating_add(line.ending)
    }
}

/// Whether a header section can contain a line that begins like this (RFC 5322 §2.2).
fn is_header_line(text: &[u8]) -> bool {
    if matches!(text, [b' ' | b'\t', ..]) {
        return true;
    }
    let end = text
        .iter()
        .position(|octet| !octet.is_ascii_graphic() || *octet == b':');
    end.and_then(|end| text.get(end)) == Some(&b':')
}

/// An extent that begins at `offset`.
fn at(offset: u64) -> Extent {
    Extent { offset, octets: 0 }
}

fn length(octets: &[u8]) -> u64 {
    u64::try_from(octets.len()).unwrap_or(u64::MAX)
}
