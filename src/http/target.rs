//! The target of a request: a path and a query (RFC 9112 §3.2.1, RFC 3986).
//!
//! The path is split at its slashes and then decoded, so that an encoded slash stays inside of its
//! segment: the address of a mailbox is one segment, whatever it contains. Nothing is repaired: a
//! wrong escape, a NUL, text that is not UTF-8, and segments that other programs resolve (`.` and
//! `..`), are refused. No segment is ever a part of a path in a file system.

use super::limits::{PAIR_TEXT_OCTETS_MAX, PAIRS_MAX, PATH_SEGMENT_OCTETS_MAX, PATH_SEGMENTS_MAX};
use super::refusal::Refusal;
use super::status::Status;

/// The target of a request, in origin form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    text: String,
    segments: Vec<String>,
    query: Pairs,
}

/// Names and values in the order in which they were sent: of a query, or of a form.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pairs(Vec<(String, String)>);

impl Target {
    /// Parses a request target, such as `/m/1-2/html?remote=1`.
    ///
    /// # Errors
    /// It is not in origin form, or a part of it is malformed (400) or too long (414). The
    /// connection can stay open.
    pub fn parse(target: &str) -> Result<Self, Refusal> {
        if !target.starts_with('/') {
            return Err(wrong(
                "The target of a request begins with a slash here: this is no proxy",
            ));
        }
        let is_wrong = |c: char| !c.is_ascii_graphic() || c == '#';
        if target.contains(is_wrong) {
            return Err(wrong(
                "The target has a character that has to be percent-encoded",
            ));
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut segments = Vec::new();
        for segment in path.split('/').skip(1) {
            if segments.len() == PATH_SEGMENTS_MAX {
                return Err(too_long("The path has too many segments"));
            }
            let segment = decode(segment.as_bytes(), Plus::Itself)?;
            if segment.len() > PATH_SEGMENT_OCTETS_MAX {
                return Err(too_long("A segment of the path is too long"));
            }
            if segment == "." || segment == ".." {
                return Err(wrong("The path has a segment that is . or .."));
            }
            segments.push(segment);
        }
        Ok(Self {
            text: target.to_owned(),
            segments,
            query: Pairs::parse(query.as_bytes())?,
        })
    }

    /// The path as it was sent: it begins with a slash and is printable ASCII.
    pub fn path(&self) -> &str {
        let text = &self.text;
        text.split_once('?').map_or(text, |(path, _)| path)
    }

    /// The path and the query as they were sent: they begin with a slash and are printable ASCII.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The decoded segments: none of `/` but one that is empty, and of `/a/` the second one.
    pub fn segments(&self) -> Vec<&str> {
        self.segments.iter().map(String::as_str).collect()
    }

    /// The decoded query.
    pub fn query(&self) -> &Pairs {
        &self.query
    }
}

impl Pairs {
    /// Parses `application/x-www-form-urlencoded` (URL §5.1): a query without its question mark, or
    /// the body of a form. A name without `=` has an empty value; empty pieces are left out.
    ///
    /// # Errors
    /// An escape is malformed, or the text is not UTF-8 or contains NUL (400); or there is too much
    /// of it (414). The connection can stay open.
    pub fn parse(octets: &[u8]) -> Result<Self, Refusal> {
        let mut pairs = Vec::new();
        let pieces = octets.split(|octet| *octet == b'&');
        for piece in pieces.filter(|piece| !piece.is_empty()) {
            if pairs.len() == PAIRS_MAX {
                return Err(too_long("There are too many parameters"));
            }
            let mut halves = piece.splitn(2, |octet| *octet == b'=');
            let mut half = || decode(halves.next().unwrap_or_default(), Plus::Space);
            let (name, value) = (half()?, half()?);
            if name.len().max(value.len()) > PAIR_TEXT_OCTETS_MAX {
                return Err(too_long("A parameter is too long"));
            }
            pairs.push((name, value));
        }
        Ok(Self(pairs))
    }

    /// The value of the first pair with this name.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.iter()
            .find(|(it, _)| *it == name)
            .map(|(_, value)| value)
    }

    /// The values of all pairs with this name, in their order.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let pairs = self.0.iter().filter(move |(it, _)| it == name);
        pairs.map(|(_, value)| value.as_str())
    }

    /// All pairs, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// What a plus sign means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plus {
    Itself,
    Space,
}

/// Decodes the escapes of one part of a target, which then has to be UTF-8 without NUL.
fn decode(text: &[u8], plus: Plus) -> Result<String, Refusal> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(octet) = rest.next() {
        octets.push(match octet {
            b'%' => {
                let (high, low) = (rest.next().and_then(digit), rest.next().and_then(digit));
                let (Some(high), Some(low)) = (high, low) else {
                    return Err(wrong(
                        "A percent sign is not followed by two hexadecimal digits",
                    ));
                };
                (high << 4) | low
            }
            b'+' if plus == Plus::Space => b' ',
            _ => octet,
        });
    }
    if octets.contains(&0) {
        return Err(wrong("The target or the form contains NUL"));
    }
    String::from_utf8(octets)
        .ok()
        .ok_or_else(|| wrong("The target or the form is not UTF-8"))
}

/// The value of a hexadecimal digit.
fn digit(octet: u8) -> Option<u8> {
    let digit = char::from(octet).to_digit(16)?;
    u8::try_from(digit).ok()
}

fn wrong(text: &'static str) -> Refusal {
    Refusal::new(Status::BadRequest, text)
}

fn too_long(text: &'static str) -> Refusal {
    Refusal::new(Status::UriTooLong, text)
}
