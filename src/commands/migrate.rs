//! `facteur migrate`: moves all mailboxes between Maildirs and the database of the configuration.
//!
//! Progress goes to standard error: one line that changes at a terminal, and a few lines elsewhere.

use std::{
    fmt,
    io::{self, IsTerminal as _, Write},
    time::{Duration, Instant},
};

use crate::{
    cli::{Arguments, MigrateArguments},
    clock::Clock,
    store::{Direction, Move, Moved, Settings},
};

use super::Error;

/// How often a line at a terminal changes.
const TERMINAL_PACE: Duration = Duration::from_millis(200);

/// How often a line is written elsewhere.
const LINE_PACE: Duration = Duration::from_secs(10);

pub(super) fn run(
    asked: &MigrateArguments,
    arguments: &Arguments,
    clock: &Clock,
    output: &mut dyn Write,
) -> Result<(), Error> {
    let config = arguments.configuration()?;
    let database = config.database()?.ok_or(Error::NoDatabase)?;
    let settings = Settings::new(&config.mail, config.hostname.0.as_str());
    let direction = match (&asked.from, &asked.to) {
        (Some(from), _) => Direction::In(from.clone()),
        (None, Some(to)) => Direction::Out(to.clone()),
        // The command line does not allow it.
        (None, None) => return Err(Error::NoDatabase),
    };
    let mut progress = Progress::begin(clock, io::stderr().is_terminal());
    let moving = Move::open(&settings, &database, &direction, clock).map_err(Error::Store)?;
    let moved = moving.run(&mut |moved| progress.show(moved, &mut io::stderr()));
    progress.end(&mut io::stderr());
    let moved = moved.map_err(Error::Store)?;
    write!(output, "{}", Summary(&moved))?;
    Ok(())
}

/// What is shown while messages are moved.
#[derive(Debug)]
struct Progress<'a> {
    clock: &'a Clock,
    begin: Instant,
    shown: Instant,
    is_terminal: bool,
    /// Whether the line at the terminal has not ended.
    is_open: bool,
}

impl<'a> Progress<'a> {
    fn begin(clock: &'a Clock, is_terminal: bool) -> Self {
        let now = clock.now();
        Self {
            clock,
            begin: now,
            shown: now,
            is_terminal,
            is_open: false,
        }
    }

    fn show(&mut self, moved: &Moved, screen: &mut dyn Write) {
        let now = self.clock.now();
        let pace = if self.is_terminal {
            TERMINAL_PACE
        } else {
            LINE_PACE
        };
        if now.saturating_duration_since(self.shown) < pace {
            return;
        }
        self.shown = now;
        let line = Line {
            moved,
            time: now.saturating_duration_since(self.begin),
        };
        // A closed standard error is no reason to stop.
        if self.is_terminal {
            write!(screen, "\r{line}\x1b[K").unwrap_or_default();
            self.is_open = true;
        } else {
            writeln!(screen, "{line}").unwrap_or_default();
        }
    }

    fn end(&mut self, screen: &mut dyn Write) {
        if std::mem::take(&mut self.is_open) {
            writeln!(screen).unwrap_or_default();
        }
    }
}

/// How far it has come.
struct Line<'a> {
    moved: &'a Moved,
    time: Duration,
}

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { moved, time } = self;
        let messages = moved.messages.saturating_add(moved.were_there);
        let rate = messages.checked_div(time.as_secs().max(1)).unwrap_or(0);
        write!(
            f,
            "{} of {} mailboxes, {messages} messages, {}, {rate} messages/s",
            moved.mailboxes,
            moved.of_mailboxes,
            Octets(moved.octets)
        )
    }
}

/// What was done.
struct Summary<'a>(&'a Moved);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moved = self.0;
        let octets = Octets(moved.octets);
        writeln!(
            f,
            "{} mailboxes: {} messages moved, {} were there already; {octets}, all compared",
            moved.mailboxes, moved.messages, moved.were_there
        )?;
        if moved.left > 0 {
            writeln!(
                f,
                "{} files in these mailboxes are no messages that facteur serves, and were left",
                moved.left
            )?;
        }
        Ok(())
    }
}

/// A number of octets in units that people use.
struct Octets(u64);

impl fmt::Display for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kibioctets = self.0 >> 10;
        match kibioctets >> 10 {
            0..10 => write!(f, "{kibioctets} KiB"),
            mebioctets => write!(f, "{mebioctets} MiB"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::Hands;

    fn moved(messages: u64) -> Moved {
        Moved {
            mailboxes: 2,
            of_mailboxes: 3,
            messages,
            octets: 20 * 1_024 * 1_024,
            were_there: 5,
            left: 0,
        }
    }

    #[test]
    fn progress_is_one_line_at_a_terminal_and_sparse_elsewhere() {
        let hands = Arc::new(Hands::new());
        let clock = Clock::turned_by(Arc::clone(&hands));
        for (is_terminal, expect) in [
            (
                true,
                "\r2 of 3 mailboxes, 15 messages, 20 MiB, 3 messages/s\x1b[K\n",
            ),
            (false, ""),
        ] {
            let mut progress = Progress::begin(&clock, is_terminal);
            let mut screen = Vec::new();
            progress.show(&moved(1), &mut screen);
            hands.pass(Duration::from_secs(5));
            progress.show(&moved(10), &mut screen);
            progress.show(&moved(11), &mut screen);
            progress.end(&mut screen);
            assert_eq!(String::from_utf8(screen).unwrap(), expect);
        }
        let mut progress = Progress::begin(&clock, false);
        let mut screen = Vec::new();
        hands.pass(LINE_PACE);
        progress.show(&moved(10), &mut screen);
        progress.end(&mut screen);
        let line = "2 of 3 mailboxes, 15 messages, 20 MiB, 1 messages/s\n";
        assert_eq!(String::from_utf8(screen).unwrap(), line);
    }

    #[test]
    fn the_summary_says_what_was_left() {
        let mut moved = moved(10);
        let text = "2 mailboxes: 10 messages moved, 5 were there already; 20 MiB, all compared\n";
        assert_eq!(Summary(&moved).to_string(), text);
        moved.left = 3;
        assert!(Summary(&moved).to_string().ends_with("and were left\n"));
    }
}
