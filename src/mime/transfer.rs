//! Transfer encodings (RFC 2045 §6), decoded in pieces of any size.
//!
//! Decoding never fails: what is no valid encoding is kept as it is (quoted-printable) or skipped
//! (base64), because a reader wants to see whatever there is.

use super::limits;

/// How the body of a part is encoded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// 7bit, 8bit, binary, and any unknown encoding: as it is.
    #[default]
    Identity,
    /// RFC 2045 §6.8.
    Base64,
    /// RFC 2045 §6.7.
    QuotedPrintable,
}

impl Encoding {
    /// The encoding that a Content-Transfer-Encoding names, in any case.
    pub(super) fn parse(name: &[u8]) -> Self {
        let name = name.trim_ascii();
        if name.eq_ignore_ascii_case(b"base64") {
            Self::Base64
        } else if name.eq_ignore_ascii_case(b"quoted-printable") {
            Self::QuotedPrintable
        } else {
            Self::Identity
        }
    }
}

/// The decoder of one body. It holds at most [`limits::BLANKS_OCTETS_MAX`] octets.
#[derive(Clone, Debug)]
pub struct Decoder {
    state: State,
}

#[derive(Clone, Debug)]
enum State {
    Identity,
    Base64(Quantum),
    QuotedPrintable(Line),
}

impl Decoder {
    /// A decoder at the beginning of a body.
    pub fn new(encoding: Encoding) -> Self {
        let state = match encoding {
            Encoding::Identity => State::Identity,
            Encoding::Base64 => State::Base64(Quantum::default()),
            Encoding::QuotedPrintable => State::QuotedPrintable(Line::default()),
        };
        Self { state }
    }

    /// Decodes the next octets and appends the result to `output`.
    pub fn decode(&mut self, octets: &[u8], output: &mut Vec<u8>) {
        match &mut self.state {
            State::Identity => output.extend_from_slice(octets),
            State::Base64(quantum) => {
                for octet in octets {
                    quantum.push(*octet, output);
                }
            }
            State::QuotedPrintable(line) => {
                for octet in octets {
                    line.push(*octet, output);
                }
            }
        }
    }

    /// Appends what the end of the body completes.
    pub fn finish(mut self, output: &mut Vec<u8>) {
        match &mut self.state {
            State::Identity => {}
            State::Base64(quantum) => quantum.end(output),
            State::QuotedPrintable(line) => line.end(output),
        }
    }
}

/// A whole body, decoded.
pub fn decode(octets: &[u8], encoding: Encoding) -> Vec<u8> {
    let mut output = Vec::new();
    let mut decoder = Decoder::new(encoding);
    decoder.decode(octets, &mut output);
    decoder.finish(&mut output);
    output
}

/// Up to three characters of base64, six bits each.
#[derive(Clone, Debug, Default)]
struct Quantum {
    bits: u32,
    characters: u32,
}

impl Quantum {
    fn push(&mut self, octet: u8, output: &mut Vec<u8>) {
        let value = match octet {
            b'A'..=b'Z' => octet.wrapping_sub(b'A'),
            b'a'..=b'z' => octet.wrapping_sub(b'a').wrapping_add(26),
            b'0'..=b'9' => octet.wrapping_sub(b'0').wrapping_add(52),
            b'+' => 62,
            b'/' => 63,
            b'=' => return self.end(output),
            _ => return,
        };
        self.bits = (self.bits << 6) | u32::from(value);
        self.characters = self.characters.saturating_add(1);
        if self.characters == 4 {
            self.end(output);
        }
    }

    /// Appends the octets that are complete: a character less than there are.
    fn end(&mut self, output: &mut Vec<u8>) {
        let missing = 4_u32.saturating_sub(self.characters);
        let [_, octets @ ..] = (self.bits << missing.saturating_mul(6)).to_be_bytes();
        let whole = usize::try_from(self.characters.saturating_sub(1)).unwrap_or(0);
        output.extend(octets.iter().take(whole));
        *self = Self::default();
    }
}

/// The place in a line of quoted-printable.
#[derive(Clone, Debug, Default)]
struct Line {
    /// White space that is removed if the line ends; or `=` and what follows it.
    held: Vec<u8>,
}

impl Line {
    fn push(&mut self, octet: u8, output: &mut Vec<u8>) {
        match (self.held.as_slice(), octet) {
            ([b'=', ..], b'\n') => self.held.clear(),
            ([.., b'\r'], b'\n') => {
                output.extend_from_slice(b"\r\n");
                self.held.clear();
            }
            (_, b'\n') => {
                output.push(b'\n');
                self.held.clear();
            }
            ([b'=', high], low) if high.is_ascii_hexdigit() => {
                let (high, digits) = (*high, hex(&[*high, low]));
                self.held.clear();
                if let Some(octet) = digits {
                    output.push(octet);
                } else {
                    output.extend_from_slice(&[b'=', high]);
                    self.push_text(low, output);
                }
            }
            ([b'='], _) if octet.is_ascii_hexdigit() => self.held.push(octet),
            (_, b' ' | b'\t' | b'\r') => self.hold(octet, output),
            _ => {
                output.append(&mut self.held);
                self.push_text(octet, output);
            }
        }
    }

    /// Pushes an octet with nothing held before it that is no line ending.
    fn push_text(&mut self, octet: u8, output: &mut Vec<u8>) {
        match octet {
            b'=' | b' ' | b'\t' | b'\r' => self.held.push(octet),
            _ => output.push(octet),
        }
    }

    fn hold(&mut self, octet: u8, output: &mut Vec<u8>) {
        if self.held.len() >= limits::BLANKS_OCTETS_MAX {
            output.append(&mut self.held);
        }
        self.held.push(octet);
    }

    /// At the end of a body white space is removed, and so is a soft line break.
    fn end(&mut self, output: &mut Vec<u8>) {
        if let [b'=', digit] = self.held.as_slice()
            && digit.is_ascii_hexdigit()
        {
            output.append(&mut self.held);
        }
    }
}

/// The octet that two hexadecimal digits stand for.
pub(super) fn hex(digits: &[u8]) -> Option<u8> {
    let is_hex = digits.len() == 2 && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = str::from_utf8(digits).ok().filter(|_| is_hex)?;
    u8::from_str_radix(digits, 16).ok()
}
