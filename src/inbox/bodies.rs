//! What a person reads of a message: its text and its HTML, without encodings.

use crate::{
    mime::{Encoding, Outline, Part, html_to_text, to_text},
    store::{Error, Message},
};

use super::{content::Pieces, limits::READ_OCTETS};

/// What is between two texts of a message. Mailpit has the same.
const BETWEEN_TEXTS: &str = "\n--\n";

/// The texts of a message; empty if it has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bodies {
    /// Its parts that are plain text, joined.
    pub text: String,
    /// Its first part that is HTML.
    pub html: String,
    /// Whether there is more than was read.
    pub is_cut: bool,
}

impl Bodies {
    /// Reads at most `octets_max` octets of each text.
    ///
    /// # Errors
    /// [`Error::Io`]: the message cannot be read.
    pub(super) fn read(
        message: &Message,
        outline: &Outline,
        octets_max: usize,
    ) -> Result<Self, Error> {
        let mut bodies = Self::default();
        for (index, part) in outline.text().into_iter().enumerate() {
            if index > 0 {
                bodies.text.push_str(BETWEEN_TEXTS);
            }
            let room = octets_max.saturating_sub(bodies.text.len());
            let text = bodies.part(message, part, room)?;
            bodies.text.push_str(&text);
            if room == 0 {
                break;
            }
        }
        if let Some(part) = outline.html().first() {
            bodies.html = bodies.part(message, part, octets_max)?;
        }
        Ok(bodies)
    }

    /// The text, or what a person would read of the HTML if there is no text.
    pub fn readable(&self) -> String {
        if self.text.is_empty() {
            html_to_text(&self.html)
        } else {
            self.text.clone()
        }
    }

    /// The text of a part.
    fn part(&mut self, message: &Message, part: &Part, octets_max: usize) -> Result<String, Error> {
        let (octets, is_cut) = decoded(message, part, octets_max)?;
        self.is_cut |= is_cut;
        Ok(to_text(&octets, part.charset.as_deref()))
    }
}

/// At most `octets_max` octets of a part without its transfer encoding, and whether it has more.
///
/// # Errors
/// [`Error::Io`]: the message cannot be read.
pub(super) fn decoded(
    message: &Message,
    part: &Part,
    octets_max: usize,
) -> Result<(Vec<u8>, bool), Error> {
    let mut pieces = Pieces::of(part);
    let mut octets = Vec::new();
    while octets.len() <= octets_max && pieces.next((message, READ_OCTETS), &mut octets)? {}
    let is_cut = octets.len() > octets_max;
    if is_cut {
        octets.truncate(whole_characters(&octets, octets_max));
    }
    Ok((octets, is_cut))
}

/// The length of the beginning of `octets`, of at most `octets_max`, that does not end within a
/// character of UTF-8: text that is no valid UTF-8 would be read as Latin-1.
fn whole_characters(octets: &[u8], octets_max: usize) -> usize {
    let begin = octets.get(..octets_max).unwrap_or(octets);
    match str::from_utf8(begin) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        Ok(_) | Err(_) => begin.len(),
    }
}

/// The size of a part without its transfer encoding.
///
/// # Errors
/// [`Error::Io`]: the message cannot be read.
pub(super) fn decoded_octets(message: &Message, part: &Part) -> Result<u64, Error> {
    if part.encoding == Encoding::Identity {
        return Ok(part.body.octets);
    }
    let mut pieces = Pieces::of(part);
    let (mut piece, mut octets) = (Vec::new(), 0_u64);
    loop {
        let is_more = pieces.next((message, READ_OCTETS), &mut piece)?;
        octets = octets.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        piece.clear();
        if !is_more {
            return Ok(octets);
        }
    }
}
