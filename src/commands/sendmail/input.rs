//! The message on standard input, up to its end or to a line with a single dot.

use std::{
    fs::File,
    io::{self, Read, Write as _},
    os::{fd::AsFd as _, unix::fs::MetadataExt as _},
};

use memchr::memchr;

use super::limits;

/// A position in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Position {
    Start,
    Text,
    /// After a dot at the start of a line.
    Dot,
    /// After such a dot and a CR.
    DotCr,
    /// After the line with a single dot.
    Ended,
}

/// Finds the line with a single dot that ends a message unless `-i` was given.
#[derive(Clone, Debug)]
struct LoneDot(Position);

impl LoneDot {
    /// Appends the next octets of the message to `out`, without the line with a single dot and what
    /// follows it.
    fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        while let Some(octet) = rest.first() {
            let (position, used, held): (_, usize, &[u8]) = match (self.0, octet) {
                (Position::Start, b'.') => (Position::Dot, 1, b""),
                (Position::Dot, b'\r') => (Position::DotCr, 1, b""),
                (Position::Dot | Position::DotCr, b'\n') => (Position::Ended, 1, b""),
                (Position::Dot, _) => (Position::Text, 0, b"."),
                (Position::DotCr, _) => (Position::Text, 0, b".\r"),
                (Position::Start | Position::Text, _) => match memchr(b'\n', rest) {
                    Some(at) => (Position::Start, at.saturating_add(1), b""),
                    None => (Position::Text, rest.len(), b""),
                },
                (Position::Ended, _) => return,
            };
            out.extend(held);
            let (taken, after) = rest.split_at_checked(used).unwrap_or((rest, b""));
            if matches!(self.0, Position::Start | Position::Text) && position != Position::Dot {
                out.extend(taken);
            }
            self.0 = position;
            rest = after;
        }
    }
}

/// Standard input, without the rule of [`io::stdin`] that one that cannot be read is empty.
///
/// # Errors
/// [`io::Error`]: it is closed. Before `main`, Rust opens `/dev/null` in place of a closed standard
/// input, for reading and writing; nobody means such a file as a message.
pub(super) fn standard() -> io::Result<File> {
    let mut file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
    let null = std::fs::metadata("/dev/null");
    let is_null = null.is_ok_and(|null| file.metadata().is_ok_and(|it| it.rdev() == null.rdev()));
    // Without octets, this only asks whether the file is open for writing.
    if is_null && file.write(&[]).is_ok() {
        return Err(io::Error::other("it is closed"));
    }
    Ok(file)
}

/// Reads a message.
#[derive(Debug)]
pub(super) struct Input<R> {
    source: R,
    /// `None` if a line with a single dot is part of the message.
    lone_dot: Option<LoneDot>,
    is_ended: bool,
}

impl<R: Read> Input<R> {
    pub(super) fn new(source: R, keeps_lone_dots: bool) -> Self {
        Self {
            source,
            lone_dot: (!keeps_lone_dots).then_some(LoneDot(Position::Start)),
            is_ended: false,
        }
    }

    /// Whether the whole message was read.
    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Appends the next piece of the message to `out`.
    pub(super) fn read(&mut self, out: &mut Vec<u8>) -> io::Result<()> {
        let mut buffer = vec![0; limits::PIECE_OCTETS];
        let n_read = loop {
            match self.source.read(&mut buffer) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => break done?,
            }
        };
        let piece = buffer.get(..n_read).unwrap_or_default();
        self.is_ended = n_read == 0;
        match &mut self.lone_dot {
            Some(lone_dot) => {
                lone_dot.push(piece, out);
                // A dot without a line ending at the end of the input is dropped too.
                self.is_ended |= lone_dot.0 == Position::Ended;
            }
            None => out.extend(piece),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read, with every way to cut the input in two.
    fn check(input: &str, keeps_lone_dots: bool, expect: &str) {
        for cut in 0..=input.len() {
            let (first, second) = input.as_bytes().split_at(cut);
            let mut reader = Input::new(first.chain(second), keeps_lone_dots);
            let mut out = Vec::new();
            while !reader.is_ended() {
                reader.read(&mut out).unwrap();
            }
            assert_eq!(str::from_utf8(&out), Ok(expect), "{input:?} at {cut}");
        }
    }

    #[test]
    fn a_line_with_a_single_dot_ends_the_message_unless_it_is_kept() {
        for (input, expect) in [
            ("", ""),
            ("a\nb", "a\nb"),
            ("a\n.\nb\n", "a\n"),
            ("a\r\n.\r\nb\r\n", "a\r\n"),
            (".\n", ""),
            ("a\n.", "a\n"),
            ("a\n..\n.b\n. \na.\n", "a\n..\n.b\n. \na.\n"),
            ("a\n.\rb\n.\r\r\n", "a\n.\rb\n.\r\r\n"),
            ("\n\n.\n.\n", "\n\n"),
        ] {
            check(input, false, expect);
            check(input, true, input);
        }
    }
}
