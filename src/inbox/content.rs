//! The octets of a message, or of parts of it, in pieces.

use std::vec;

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::{
    mime::{Decoder, Extent, Part},
    store::{Error, Message},
};

use super::limits::READ_OCTETS;

/// Reads a message, or parts of it, to the end.
#[derive(Debug)]
pub struct Content {
    message: Message,
    now: Now,
    later: vec::IntoIter<Section>,
    /// How much is read at once.
    piece_octets: usize,
}

/// A section of a content that is put together.
#[derive(Clone, Debug)]
pub enum Section {
    /// These octets.
    Octets(Vec<u8>),
    /// The body of a part, in base64 on one line.
    Base64(Part),
}

/// The section that is being read.
#[derive(Debug)]
enum Now {
    Octets(vec::IntoIter<u8>),
    Pieces(Pieces),
    Base64 {
        pieces: Pieces,
        /// What is too short for four characters; `None` behind the end.
        rest: Option<Vec<u8>>,
    },
}

/// The place in a content.
#[derive(Debug)]
pub(super) struct Pieces {
    /// What has not been read yet; for ever more if nobody knows where it ends.
    rest: Extent,
    /// Whether the end is known: a file that ends before it has become shorter.
    has_end: bool,
    form: Form,
}

/// How the octets on the disk become those of the content.
#[derive(Debug)]
enum Form {
    /// Lines end with CRLF, as RETR sends them.
    Lines {
        /// The last octet, if there was one.
        last: Option<u8>,
    },
    /// Without the transfer encoding; `None` behind the end.
    Decoded(Option<Decoder>),
}

impl Content {
    /// A whole message, with CRLF at the end of each line.
    pub fn whole(message: Message) -> Self {
        let octets = message.octets_on_disk();
        let pieces = Pieces {
            rest: Extent {
                offset: 0,
                octets: octets.unwrap_or(u64::MAX),
            },
            has_end: octets.is_some(),
            form: Form::Lines { last: None },
        };
        Self::begin(message, Now::Pieces(pieces))
    }

    /// The body of a part, without its transfer encoding.
    pub fn part(message: Message, part: &Part) -> Self {
        Self::begin(message, Now::Pieces(Pieces::of(part)))
    }

    /// These sections, one after another.
    pub fn of(message: Message, sections: Vec<Section>) -> Self {
        let nothing = Now::Octets(Vec::new().into_iter());
        Self {
            later: sections.into_iter(),
            ..Self::begin(message, nothing)
        }
    }

    fn begin(message: Message, now: Now) -> Self {
        Self {
            message,
            now,
            later: Vec::new().into_iter(),
            piece_octets: READ_OCTETS,
        }
    }

    /// Reads at most `octets` at once from now on. A piece has up to twice as many.
    pub fn limit(&mut self, octets: usize) {
        self.piece_octets = octets.clamp(1, READ_OCTETS);
    }

    /// Appends the next piece to `out`; false at the end, when nothing more will come. A piece can
    /// be empty.
    ///
    /// # Errors
    /// [`Error::Io`]: the rest cannot be read, or is not there any more because another program has
    /// made the file shorter. What was read is then not all, and whoever gets it must learn that.
    pub fn next(&mut self, out: &mut Vec<u8>) -> Result<bool, Error> {
        if self.now.next((&self.message, self.piece_octets), out)? {
            return Ok(true);
        }
        let Some(section) = self.later.next() else {
            return Ok(false);
        };
        self.now = match section {
            Section::Octets(octets) => Now::Octets(octets.into_iter()),
            Section::Base64(part) => Now::Base64 {
                pieces: Pieces::of(&part),
                rest: Some(Vec::new()),
            },
        };
        Ok(true)
    }
}

impl Now {
    /// As [`Content::next`], from `message`, of which at most so many octets are read at once.
    fn next(
        &mut self,
        (message, piece_octets): (&Message, usize),
        out: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        match self {
            Self::Octets(octets) => {
                out.extend(octets.by_ref().take(piece_octets));
                Ok(octets.len() > 0)
            }
            Self::Pieces(pieces) => pieces.next((message, piece_octets), out),
            Self::Base64 { pieces, rest } => {
                let Some(mut octets) = rest.take() else {
                    return Ok(false);
                };
                let goes_on = pieces.next((message, piece_octets), &mut octets)?;
                let short = if goes_on { octets.len() % 3 } else { 0 };
                let whole = octets.len().saturating_sub(short);
                *rest = goes_on.then(|| octets.split_off(whole));
                out.extend_from_slice(STANDARD.encode(&octets).as_bytes());
                Ok(goes_on)
            }
        }
    }
}

impl Pieces {
    /// The body of a part, without its transfer encoding.
    pub(super) fn of(part: &Part) -> Self {
        Self {
            rest: part.body,
            has_end: true,
            form: Form::Decoded(Some(Decoder::new(part.encoding))),
        }
    }

    /// As [`Content::next`], from `message`, of which at most so many octets are read at once.
    pub(super) fn next(
        &mut self,
        (message, piece_octets): (&Message, usize),
        out: &mut Vec<u8>,
    ) -> Result<bool, Error> {
        let octets_max = usize::try_from(self.rest.octets).unwrap_or(usize::MAX);
        let mut buffer = vec![0; piece_octets.min(octets_max)];
        let octets = if buffer.is_empty() {
            0
        } else {
            message.read_at(self.rest.offset, &mut buffer)?
        };
        let read = buffer.get(..octets).unwrap_or_default();
        let n_read = u64::try_from(octets).unwrap_or(u64::MAX);
        self.rest.offset = self.rest.offset.saturating_add(n_read);
        self.rest.octets = self.rest.octets.saturating_sub(n_read);
        if read.is_empty() {
            if self.has_end && self.rest.octets > 0 {
                return Err(message.cut_short());
            }
            self.rest.octets = 0;
        }
        match &mut self.form {
            Form::Lines { last } => lines(read, last, out),
            Form::Decoded(decoder) if read.is_empty() => {
                if let Some(decoder) = decoder.take() {
                    decoder.finish(out);
                }
            }
            Form::Decoded(Some(decoder)) => decoder.decode(read, out),
            Form::Decoded(None) => {}
        }
        Ok(!read.is_empty())
    }
}

/// Ends each line with CRLF, and the last one too.
fn lines(read: &[u8], last: &mut Option<u8>, out: &mut Vec<u8>) {
    if read.is_empty() {
        if last.take().is_some_and(|last| last != b'\n') {
            out.extend_from_slice(b"\r\n");
        }
        return;
    }
    for piece in read.split_inclusive(|octet| *octet == b'\n') {
        let before = piece.split_last().and_then(|(_, before)| before.last());
        let has_cr = before.or(last.as_ref()) == Some(&b'\r');
        match piece.split_last() {
            Some((b'\n', text)) if !has_cr => {
                out.extend_from_slice(text);
                out.extend_from_slice(b"\r\n");
            }
            _ => out.extend_from_slice(piece),
        }
        *last = piece.last().copied();
    }
}
