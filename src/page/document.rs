//! The HTML of a mail as a document of its own.
//!
//! # Theory of operation
//! The document is sent under a policy that lets a browser run no script of it and load nothing.
//! Three things are changed, and nothing else, so that developers see what they have sent:
//!
//! - `cid:` with the Content-ID of a picture of the mail (RFC 2392) becomes a `data:` URL. Both
//!   begin where an address can begin, and neither has a character that ends one, whatever quotes
//!   there are.
//! - A frame gets an empty address and an empty content in front of its own. Browsers connect to
//!   the address of a frame in spite of the policy, also to that of a frame in a `srcdoc`, which
//!   can be written with references to characters. Of two attributes with the same name the first
//!   one counts (HTML §13.2.5.33), whatever follows, and however it is written.
//! - `<base target="_blank">` lets links open windows of their own. It stands behind the DOCTYPE,
//!   because a browser lays out a document in another way if a tag is in front of that.
//!
//! # Attacks handled here
//! A frame is found by its name alone: in comments, in scripts and in the values of attributes,
//! too. So there is no state in which a browser could see a frame and this file could not, and
//! nothing is ever taken away that could have hidden one. In what is put in, there is no `<`, and
//! nothing that could be a part of the name of a frame. The charset is a matter of `charset.rs`.

use std::collections::HashMap;

use super::{
    charset::for_browser,
    limits::{CID_OCTETS_MAX, PICTURE_OCTETS_MAX, PICTURES_OCTETS_MAX, PLACES_MAX},
};

/// Lets links open windows of their own.
const BASE: &[u8] = b"<base target=\"_blank\">";

/// What stands between the name of a frame and its attributes.
const NO_FRAME: &[u8] = b" src=\"\" srcdoc=\"\"";

/// The types of pictures that become part of a document, as the beginnings of their addresses.
/// Others have vectors, or are not known to all browsers.
const ADDRESSES: [&str; 4] = [
    "data:image/gif;base64,",
    "data:image/jpeg;base64,",
    "data:image/png;base64,",
    "data:image/webp;base64,",
];

/// The HTML of a mail, to be sent under a policy that isolates it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// Its media type, with the charset.
    pub media_type: &'static str,
    /// Its content.
    pub pieces: Vec<Piece>,
}

/// A piece of a document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These octets.
    Octets(Vec<u8>),
    /// The picture with this index, in base64.
    Picture(usize),
}

/// A picture of the mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture<'a> {
    content_id: &'a str,
    /// The beginning of its address.
    address: &'static str,
    octets: u64,
}

impl<'a> Picture<'a> {
    /// A part with this Content-ID and this type, if it can be a picture of a document. It has
    /// `octets` without its transfer encoding.
    pub fn of(content_id: &'a str, content_type: &str, octets: u64) -> Option<Self> {
        let address = ADDRESSES.into_iter().find(|address| {
            let begin = address.strip_prefix("data:");
            begin.and_then(|it| it.strip_suffix(";base64,")) == Some(content_type)
        })?;
        let may_be = octets <= PICTURE_OCTETS_MAX && !content_id.is_empty();
        may_be.then_some(Self {
            content_id,
            address,
            octets,
        })
    }
}

impl Document {
    /// The document of a text in HTML, which has this charset, if the mail says so, with these
    /// pictures. Of two pictures with the same Content-ID the first counts.
    pub fn of(html: &[u8], charset: Option<&str>, pictures: &[Picture<'_>]) -> Self {
        let (html, media_type) = for_browser(html, charset);
        let mut by_id = HashMap::new();
        for (index, picture) in pictures.iter().enumerate() {
            let id = picture.content_id.as_bytes();
            by_id.entry(id).or_insert((index, *picture));
        }
        let mut weaver = Weaver {
            by_id,
            pieces: Vec::new(),
            octets: Vec::with_capacity(html.len().saturating_add(BASE.len())),
            room: PICTURES_OCTETS_MAX,
        };
        let (before, after) = html.split_at(place_of_base(&html));
        weaver.weave(before);
        weaver.octets.extend_from_slice(BASE);
        weaver.weave(after);
        Self {
            media_type,
            pieces: weaver.finish(),
        }
    }
}

/// Puts a document together.
struct Weaver<'a> {
    by_id: HashMap<&'a [u8], (usize, Picture<'a>)>,
    pieces: Vec<Piece>,
    /// What follows the pieces.
    octets: Vec<u8>,
    /// How many octets of pictures there may still be.
    room: u64,
}

impl Weaver<'_> {
    /// Appends a part of the document.
    fn weave(&mut self, html: &[u8]) {
        // What is behind the last thing that was changed.
        let mut rest = html;
        while let Some(at) = self.next_place(rest) {
            let (before, mark) = rest.split_at(at);
            rest = match mark.split_first() {
                Some((b'<', after)) => {
                    let name = after.split_at(frame(after).unwrap_or(0)).0;
                    self.octets.extend_from_slice(before);
                    self.octets.push(b'<');
                    self.octets.extend_from_slice(name);
                    self.octets.extend_from_slice(NO_FRAME);
                    after.get(name.len()..).unwrap_or_default()
                }
                Some((_, after)) => {
                    let address = address(after);
                    let begin = before.len().saturating_sub(SCHEME.len());
                    self.octets.extend_from_slice(before.split_at(begin).0);
                    self.put_picture(address);
                    after.get(address.len()..).unwrap_or_default()
                }
                None => break,
            };
        }
        self.octets.extend_from_slice(rest);
    }

    /// Where the next thing to change begins in `html`: the `<` of a frame, or the colon of an
    /// address.
    fn next_place(&self, html: &[u8]) -> Option<usize> {
        memchr::memchr2_iter(b'<', b':', html).find(|at| {
            let (before, mark) = html.split_at(*at);
            match mark.split_first() {
                Some((b'<', after)) => frame(after).is_some(),
                Some((_, after)) => {
                    ends_in_scheme(before) && self.picture(address(after)).is_some()
                }
                None => false,
            }
        })
    }

    /// The picture with this address, without its scheme, and its index, if there is room for it.
    fn picture(&self, address: &[u8]) -> Option<(usize, Picture<'_>)> {
        let found = self.by_id.get(address).copied();
        let found = found.or_else(|| self.by_id.get(&*decoded(address)?).copied());
        let has_place = self.pieces.len() < PLACES_MAX.saturating_mul(2);
        found.filter(|(_, picture)| has_place && picture.octets <= self.room)
    }

    fn put_picture(&mut self, address: &[u8]) {
        let Some((
            index,
            Picture {
                address, octets, ..
            },
        )) = self.picture(address)
        else {
            return;
        };
        self.room = self.room.saturating_sub(octets);
        self.octets.extend_from_slice(address.as_bytes());
        let mut before = std::mem::take(&mut self.octets);
        before.shrink_to_fit();
        self.pieces.push(Piece::Octets(before));
        self.pieces.push(Piece::Picture(index));
    }

    fn finish(mut self) -> Vec<Piece> {
        self.pieces.push(Piece::Octets(self.octets));
        self.pieces
    }
}

/// The scheme of the address of a part, without its colon.
const SCHEME: &[u8] = b"cid";

/// Whether an address can begin with the end of `before`, which is its scheme.
fn ends_in_scheme(before: &[u8]) -> bool {
    let Some((rest, scheme)) = before.split_last_chunk() else {
        return false;
    };
    let scheme: &[u8; SCHEME.len()] = scheme;
    // Else it would be the end of another scheme (RFC 3986 §3.1).
    let is_longer = |last: &u8| last.is_ascii_alphanumeric() || b"+-.".contains(last);
    scheme.eq_ignore_ascii_case(SCHEME) && !rest.last().is_some_and(is_longer)
}

/// The address at the beginning of `html`, behind its scheme: all octets that do not end it in
/// HTML or in a style sheet, or begin its query.
fn address(html: &[u8]) -> &[u8] {
    let is_end = |octet: &u8| {
        octet.is_ascii_whitespace()
            || octet.is_ascii_control()
            || b"\"'()<>`\\:;,&?#".contains(octet)
    };
    let html = html.get(..CID_OCTETS_MAX).unwrap_or(html);
    let end = html.iter().position(is_end).unwrap_or(html.len());
    html.split_at(end).0
}

/// `address` without percent-encoding; `None` if it has none.
fn decoded(address: &[u8]) -> Option<Vec<u8>> {
    memchr::memchr(b'%', address)?;
    let mut decoded = Vec::with_capacity(address.len());
    let mut rest = address;
    while let Some((first, after)) = rest.split_first() {
        let digit = |at: usize| after.get(at).and_then(|it| char::from(*it).to_digit(16));
        let value = match (first, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => u8::try_from(high << 4 | low).ok(),
            _ => None,
        };
        decoded.push(value.unwrap_or(*first));
        rest = match value {
            Some(_) => after.get(2..).unwrap_or_default(),
            None => after,
        };
    }
    Some(decoded)
}

/// The length of the name of a frame at the beginning of `html`, which follows a `<`.
fn frame(html: &[u8]) -> Option<usize> {
    let is_it = |name: &&[u8]| {
        let begin = html.get(..name.len());
        // Any other octet would belong to the name (HTML §13.2.5.8). A carriage return becomes a
        // line feed before that.
        let is_end = |octet: &u8| matches!(octet, b'\t' | b'\n' | 0xc | b'\r' | b' ' | b'/' | b'>');
        begin.is_some_and(|it| it.eq_ignore_ascii_case(name))
            && html.get(name.len()).is_some_and(is_end)
    };
    let names: [&[u8]; 2] = [b"iframe", b"frame"];
    names.into_iter().find(is_it).map(<[u8]>::len)
}

/// Where a tag does not change how a browser lays out `html`: behind the DOCTYPE, if there is one
/// where it counts (HTML §13.2.6.4.1).
fn place_of_base(html: &[u8]) -> usize {
    let mut rest = html.strip_prefix(b"\xef\xbb\xbf").unwrap_or(html);
    loop {
        // Some browsers leave out NUL, and for the others the layout is settled by it.
        let is_space = |octet: &u8| octet.is_ascii_whitespace() || *octet == 0;
        let begin = rest.iter().position(|octet| !is_space(octet));
        rest = rest.split_at(begin.unwrap_or(rest.len())).1;
        let after = match rest {
            [b'<', b'!', b'-', b'-', comment @ ..] => behind_comment(comment),
            [b'<', b'!' | b'?', tag @ ..] => {
                let after =
                    memchr::memchr(b'>', tag).and_then(|end| tag.get(end.saturating_add(1)..));
                let name = tag.get(..b"doctype".len());
                if name.is_some_and(|it| it.eq_ignore_ascii_case(b"doctype")) {
                    rest = after.unwrap_or_default();
                    break;
                }
                after
            }
            _ => break,
        };
        rest = after.unwrap_or_default();
    }
    html.len().saturating_sub(rest.len())
}

/// What follows a comment whose content begins with `comment`; `None` if it has no end.
fn behind_comment(comment: &[u8]) -> Option<&[u8]> {
    for early in [&b">"[..], b"->"] {
        if let Some(after) = comment.strip_prefix(early) {
            return Some(after);
        }
    }
    memchr::memchr_iter(b'>', comment).find_map(|at| {
        let (before, after) = comment.split_at(at);
        let is_end = before.ends_with(b"--") || before.ends_with(b"--!");
        is_end.then(|| after.get(1..)).flatten()
    })
}
