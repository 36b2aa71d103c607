//! Takes the chunks of an answer apart (RFC 9112 §7.1). Only an answer in chunks, or one with a
//! length, shows when it was cut off.

use super::limits::CHUNK_LINE_OCTETS_MAX;

/// What comes next.
#[derive(Debug, Default)]
pub(super) enum Chunks {
    /// The first chunk, or the one behind another.
    #[default]
    Begin,
    /// The line with the size of a chunk, of which this has arrived.
    Size(Vec<u8>),
    /// So many octets of a chunk.
    Octets(u64),
    /// The end of the line behind a chunk.
    Behind(Vec<u8>),
    /// The lines behind the last chunk, of which this has arrived of the current one.
    Trailer(Vec<u8>),
    /// Nothing: the body is complete.
    End,
}

impl Chunks {
    /// Whether the body is complete.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self, Self::End)
    }

    /// Takes what has arrived, and appends the octets of the body to `out`. What is behind the body
    /// is left out.
    ///
    /// # Errors
    /// These are no chunks.
    pub(super) fn take(&mut self, arrived: &[u8], out: &mut Vec<u8>) -> Result<(), NoChunks> {
        let mut rest = arrived;
        while !rest.is_empty() && !self.is_complete() {
            rest = self.step(rest, out)?;
        }
        Ok(())
    }

    /// Takes some octets; returns the others.
    fn step<'a>(&mut self, rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], NoChunks> {
        *self = match std::mem::replace(self, Self::End) {
            Self::Begin => Self::Size(Vec::new()),
            Self::Octets(left) => {
                let fits = usize::try_from(left).unwrap_or(usize::MAX);
                let (now, later) = rest.split_at(rest.len().min(fits));
                out.extend_from_slice(now);
                let n_now = u64::try_from(now.len()).unwrap_or(u64::MAX);
                *self = match left.saturating_sub(n_now) {
                    0 => Self::Behind(Vec::new()),
                    left => Self::Octets(left),
                };
                return Ok(later);
            }
            Self::Size(line) => return self.line(line, rest, Self::Size, after_size),
            Self::Behind(line) => return self.line(line, rest, Self::Behind, after_chunk),
            Self::Trailer(line) => return self.line(line, rest, Self::Trailer, after_field),
            Self::End => Self::End,
        };
        Ok(rest)
    }

    /// Takes octets of a line, of which `line` has arrived; at its end `after` says what is next.
    fn line<'a>(
        &mut self,
        mut line: Vec<u8>,
        rest: &'a [u8],
        again: fn(Vec<u8>) -> Self,
        after: fn(&[u8]) -> Option<Self>,
    ) -> Result<&'a [u8], NoChunks> {
        let end = rest.iter().position(|octet| *octet == b'\n');
        let length = end.map_or(rest.len(), |end| end.saturating_add(1));
        let (now, later) = rest.split_at(length.min(rest.len()));
        line.extend_from_slice(now);
        if line.len() > CHUNK_LINE_OCTETS_MAX {
            return Err(NoChunks);
        }
        *self = if end.is_some() {
            let line = line.strip_suffix(b"\r\n").ok_or(NoChunks)?;
            after(line).ok_or(NoChunks)?
        } else {
            again(line)
        };
        Ok(later)
    }
}

/// Behind the line with a size, which may have extensions.
fn after_size(line: &[u8]) -> Option<Chunks> {
    let digits = line.split(|octet| *octet == b';').next()?.trim_ascii();
    let text = str::from_utf8(digits).ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|it| it.is_ascii_hexdigit());
    let size = u64::from_str_radix(text, 16).ok().filter(|_| is_number)?;
    Some(match size {
        0 => Chunks::Trailer(Vec::new()),
        size => Chunks::Octets(size),
    })
}

fn after_chunk(line: &[u8]) -> Option<Chunks> {
    line.is_empty().then_some(Chunks::Begin)
}

#[expect(clippy::unnecessary_wraps, reason = "as after the other lines")]
fn after_field(line: &[u8]) -> Option<Chunks> {
    Some(if line.is_empty() {
        Chunks::End
    } else {
        Chunks::Trailer(Vec::new())
    })
}

/// What has arrived is not in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NoChunks;

#[cfg(test)]
mod tests {
    use super::*;

    /// The body, and whether it is complete, however the octets arrive.
    fn check(sent: &[u8], expect: Result<(&str, bool), NoChunks>) {
        for step in [1, 2, 3, 7, sent.len().max(1)] {
            let (mut chunks, mut out) = (Chunks::default(), Vec::new());
            let mut pieces = sent.chunks(step);
            let taken = pieces.try_for_each(|piece| chunks.take(piece, &mut out));
            let found = taken.map(|()| (str::from_utf8(&out).unwrap(), chunks.is_complete()));
            assert_eq!(found, expect, "{step}: {}", sent.escape_ascii());
        }
    }

    #[test]
    fn chunks_end_with_the_one_that_is_empty() {
        for (sent, expect) in [
            ("0\r\n\r\n", Ok(("", true))),
            ("3\r\nabc\r\n0\r\n\r\n", Ok(("abc", true))),
            (
                "A;x=y\r\n0123456789\r\n1\r\nx\r\n0\r\nX: y\r\n\r\n",
                Ok(("0123456789x", true)),
            ),
            ("1\r\nx\r\n0\r\n\r\nbehind", Ok(("x", true))),
            ("2\r\n\r\n\r\n00\r\n\r\n", Ok(("\r\n", true))),
            ("", Ok(("", false))),
            ("3\r\nab", Ok(("ab", false))),
            ("3\r\nabc", Ok(("abc", false))),
            ("3\r\nabc\r\n", Ok(("abc", false))),
            ("3\r\nabc\r\n0\r\n", Ok(("abc", false))),
            ("3\r\nabc\r\n0\r\nX: y\r\n", Ok(("abc", false))),
            ("\r\n", Err(NoChunks)),
            ("x\r\n", Err(NoChunks)),
            ("-1\r\n", Err(NoChunks)),
            ("+1\r\n", Err(NoChunks)),
            ("3\nabc", Err(NoChunks)),
            ("3\r\nabcd\r\n", Err(NoChunks)),
            ("11111111111111111\r\n", Err(NoChunks)),
        ] {
            check(sent.as_bytes(), expect);
        }
        check(&[b'1'; 10_000], Err(NoChunks));
    }
}
