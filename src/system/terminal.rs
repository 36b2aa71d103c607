//! The terminal at which a person types a password and reads the output.
//!
//! # Theory of operation
//! While a hidden line is read, the terminal shows nothing and sends no signals, and Ctrl-C ends a
//! line like the Enter key. So an interruption arrives as an octet in the input, and the terminal
//! is restored before the program ends. The prompt goes to standard error, since standard output
//! may be redirected to a file.
//!
//! # Failures
//! The error from the system; `Interrupted` after Ctrl-C, `InvalidData` for a line that is too
//! long.
//!
//! # Known limits
//! A signal from elsewhere that ends the program leaves the terminal without echo; `stty sane`
//! restores it.

use std::{
    io::{self, BufRead, IsTerminal as _, Write},
    os::fd::{AsFd as _, BorrowedFd},
};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcgetwinsize, tcsetattr,
};

/// Octets of one line. No program sends longer passwords; SMTP and POP3 would not accept them.
const LINE_OCTETS_MAX: usize = 1024;

/// The width of a terminal that does not say: that of most.
const COLUMNS: usize = 80;

/// What Ctrl-C sends.
const CONTROL_C: u8 = 0x03;

/// Where the output goes.
pub trait Output: Write {
    /// The width of the terminal that shows it; `None` if a program or a file gets it.
    fn columns(&self) -> Option<usize>;
}

impl Output for io::Stdout {
    fn columns(&self) -> Option<usize> {
        let size = tcgetwinsize(self).ok()?;
        let columns = usize::from(size.ws_col);
        // Some terminals do not know it.
        Some(if columns > 0 { columns } else { COLUMNS })
    }
}

/// Output that is kept.
impl Output for Vec<u8> {
    fn columns(&self) -> Option<usize> {
        None
    }
}

/// Where passwords come from.
pub trait Input {
    /// Whether somebody types them, and can make a mistake without seeing it.
    fn is_terminal(&self) -> bool;

    /// Reads a line, without its line ending; `prompt` is shown to a person who types it. The last
    /// line may lack its line ending.
    ///
    /// # Errors
    /// See the module.
    fn line(&mut self, prompt: &str) -> io::Result<Vec<u8>>;
}

/// Standard input.
#[derive(Clone, Copy, Debug, Default)]
pub struct StandardInput;

impl Input for StandardInput {
    fn is_terminal(&self) -> bool {
        io::stdin().is_terminal()
    }

    fn line(&mut self, prompt: &str) -> io::Result<Vec<u8>> {
        let stdin = io::stdin();
        if !self.is_terminal() {
            return read_line(&mut stdin.lock(), None);
        }
        // Hidden before the prompt: somebody may type immediately.
        let hidden = Hidden::begin(stdin.as_fd())?;
        let mut screen = io::stderr();
        write!(screen, "{prompt}: ")?;
        let line = read_line(&mut stdin.lock(), Some(CONTROL_C));
        drop(hidden);
        writeln!(screen)?;
        line
    }
}

/// A terminal with its echo off; dropping this restores it.
struct Hidden<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Hidden<'a> {
    fn begin(terminal: BorrowedFd<'a>) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden
            .local_modes
            .remove(LocalModes::ECHO | LocalModes::ISIG);
        hidden.special_codes[SpecialCodeIndex::VEOL] = CONTROL_C;
        tcsetattr(terminal, OptionalActions::Flush, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Hidden<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing.
        tcsetattr(self.terminal, OptionalActions::Now, &self.before).unwrap_or_default();
    }
}

/// Reads a line up to its line ending or the end of the input. `interruption` is the octet that
/// cancels.
fn read_line(input: &mut dyn BufRead, interruption: Option<u8>) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    loop {
        let octets = match input.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        let is_end = |octet: &u8| *octet == b'\n' || Some(*octet) == interruption;
        let end = octets.iter().position(is_end);
        let (taken, rest) = octets.split_at(end.unwrap_or(octets.len()));
        line.extend_from_slice(taken);
        let (last, is_over) = (rest.first().copied(), octets.is_empty() || end.is_some());
        let n_taken = taken.len().saturating_add(usize::from(last.is_some()));
        input.consume(n_taken);
        if last.is_some() && last == interruption {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "interrupted"));
        }
        if line.len() > LINE_OCTETS_MAX {
            let reason = format!("the line is longer than {LINE_OCTETS_MAX} octets");
            return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
        }
        if is_over {
            return Ok(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use std::io::BufReader;

    /// Reads one line, with input arriving in pieces of every size.
    fn line(text: &str, interruption: Option<u8>) -> Result<String, io::ErrorKind> {
        let mut lines: Vec<_> = (1..=text.len().max(1))
            .map(|octets| {
                let mut input = BufReader::with_capacity(octets, text.as_bytes());
                let line = read_line(&mut input, interruption);
                line.map(|line| String::from_utf8(line).unwrap())
                    .map_err(|error| error.kind())
            })
            .collect();
        lines.dedup();
        assert_eq!(lines.len(), 1, "{lines:?}");
        lines.remove(0)
    }

    #[test]
    fn a_line_ends_with_its_line_ending_or_with_the_input() {
        for (text, expected) in [
            ("secret\n", "secret"),
            ("secret", "secret"),
            ("two words\nmore\n", "two words"),
            ("\r\n", "\r"),
            ("\n", ""),
            ("", ""),
            ("a\u{3}b\n", "a\u{3}b"),
        ] {
            assert_eq!(line(text, None).as_deref(), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn lines_are_read_one_after_another() {
        let mut input = BufReader::new(&b"first\nsecond\n"[..]);
        assert_eq!(read_line(&mut input, None).unwrap(), b"first");
        assert_eq!(read_line(&mut input, None).unwrap(), b"second");
    }

    #[test]
    fn control_c_is_an_interruption_at_a_terminal() {
        for text in ["\u{3}", "sec\u{3}", "sec\u{3}ret\n"] {
            let found = line(text, Some(CONTROL_C));
            assert_eq!(found, Err(io::ErrorKind::Interrupted), "{text:?}");
        }
        assert_eq!(line("x\n\u{3}", Some(CONTROL_C)).as_deref(), Ok("x"));
    }

    /// SEC-8.
    #[test]
    fn an_endless_line_is_refused() {
        let longest = "x".repeat(LINE_OCTETS_MAX);
        let mut input = BufReader::new(longest.as_bytes());
        assert_eq!(read_line(&mut input, None).unwrap().len(), LINE_OCTETS_MAX);
        let mut input = BufReader::new(io::repeat(b'x'));
        let error = read_line(&mut input, None).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}
