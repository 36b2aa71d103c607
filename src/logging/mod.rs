//! The log on standard error, written by its own thread.
//!
//! The caller only puts a line into a queue. So a paused terminal, or a pipe that nobody reads,
//! never delays a delivery or a stop. When the queue is full, lines are lost and counted, and the
//! count is logged as soon as there is room. Lines that wait together are written together.
//!
//! A line is text for people, or a JSON object for programs (`json.rs`). A record with fields
//! brings its own text, so both say the same.

mod json;

use std::io::{self, Write};
use std::panic;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use log::{Level, LevelFilter};

use crate::clock::Clock;

/// Lines that can wait: enough for every session's end at a stop, at some hundred octets a line.
const LINES_MAX: usize = 16 * 1_024;

/// Most octets in one write.
const WRITE_OCTETS_MAX: usize = 64 * 1_024;

/// How long the thread rests between two writes. Waking it for every line would cost a busy
/// server a tenth of its time, and a person who follows the log does not notice the delay.
const REST: Duration = Duration::from_millis(5);

/// How long the end of the program waits for the remaining lines.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The format of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text, with time and level in brackets.
    Text,
    /// An object of JSON.
    Json,
}

/// The running log.
#[derive(Debug)]
pub struct Log {
    queue: SyncSender<Entry>,
}

/// An entry of the queue.
#[derive(Debug)]
enum Entry {
    /// A line with its ending.
    Line(Vec<u8>),
    /// Another thread waits until all lines before this one are written.
    Flush(SyncSender<()>),
}

/// The end of the queue that accepts lines.
struct Queue {
    entries: SyncSender<Entry>,
    n_lost: Arc<AtomicU64>,
}

impl Log {
    /// Starts the log; from now on the macros of the crate `log` write to it.
    ///
    /// # Errors
    /// The system cannot start a thread.
    pub fn start(level: LevelFilter, format: Format, clock: &Clock) -> io::Result<Self> {
        let (entries, waiting) = sync_channel(LINES_MAX);
        let n_lost = Arc::new(AtomicU64::new(0));
        let queue = Queue {
            entries: entries.clone(),
            n_lost: Arc::clone(&n_lost),
        };
        let losses = Losses {
            n_lost,
            format,
            clock: clock.clone(),
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&waiting, &losses, &mut io::stderr()))?;
        let mut builder = env_logger::Builder::new();
        builder
            .filter_level(level)
            .format_target(false)
            .target(env_logger::Target::Pipe(Box::new(queue)));
        if format == Format::Json {
            let clock = clock.clone();
            builder.format(move |out, record| {
                writeln!(out, "{}", json::line(&clock.timestamp(), record))
            });
            // The default hook would write a text of several lines.
            panic::set_hook(Box::new(|panic| log::error!("{panic}")));
        }
        builder.init();
        Ok(Self { queue: entries })
    }

    /// Waits until all earlier lines are written, or until nobody seems to read the log.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Entry::Flush(done)).is_ok() {
            // In either case the program continues to its end.
            written.recv_timeout(FLUSH_TIMEOUT).unwrap_or_default();
        }
    }
}

impl Write for Queue {
    /// Accepts one line, which must be complete.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.entries.try_send(Entry::Line(line.to_vec())).is_err() {
            self.n_lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Counts the lines that found no room in the queue.
struct Losses {
    n_lost: Arc<AtomicU64>,
    format: Format,
    clock: Clock,
}

impl Losses {
    /// A line that reports the losses since the last report, if there are any.
    fn take(&self) -> Option<String> {
        let lost = self.n_lost.swap(0, Ordering::Relaxed);
        if lost == 0 {
            return None;
        }
        let line = format!("{lost} log lines were lost");
        Some(match self.format {
            Format::Text => line,
            Format::Json => json::message(&self.clock.timestamp(), Level::Error, &line),
        })
    }
}

/// Writes entries to `out` until all senders are gone.
fn write_all(waiting: &Receiver<Entry>, losses: &Losses, out: &mut impl Write) {
    let mut octets = Vec::new();
    while let Ok(entry) = waiting.recv() {
        // Lines that arrive meanwhile are written with it. Waking early does no harm.
        thread::park_timeout(REST);
        let mut entry = Some(entry);
        let mut flushed = Vec::new();
        while let Some(next) = entry {
            match next {
                Entry::Line(line) => octets.extend_from_slice(&line),
                Entry::Flush(done) => flushed.push(done),
            }
            let has_room = octets.len() < WRITE_OCTETS_MAX;
            entry = if has_room {
                waiting.try_recv().ok()
            } else {
                None
            };
        }
        if let Some(line) = losses.take() {
            octets.extend_from_slice(line.as_bytes());
            octets.push(b'\n');
        }
        // There is no better place to report that the log cannot be written.
        drop(out.write_all(&octets));
        octets.clear();
        octets.shrink_to(WRITE_OCTETS_MAX);
        for done in flushed {
            // A thread that has stopped waiting does not need the answer.
            done.send(()).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Hands;

    /// A log of `room` lines whose writer has not started.
    fn stalled(room: usize) -> (Queue, Receiver<Entry>) {
        let (entries, waiting) = sync_channel(room);
        let n_lost = Arc::new(AtomicU64::new(0));
        (Queue { entries, n_lost }, waiting)
    }

    fn written(queue: Queue, waiting: &Receiver<Entry>) -> String {
        written_as(Format::Text, queue, waiting)
    }

    fn written_as(format: Format, queue: Queue, waiting: &Receiver<Entry>) -> String {
        let losses = Losses {
            n_lost: Arc::clone(&queue.n_lost),
            format,
            clock: Clock::turned_by(Arc::new(Hands::new())),
        };
        drop(queue);
        let mut out = Vec::new();
        write_all(waiting, &losses, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_are_written_in_their_order() {
        let (mut queue, waiting) = stalled(10);
        for line in ["one\n", "two\n", "three\n"] {
            queue.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(written(queue, &waiting), "one\ntwo\nthree\n");
    }

    #[test]
    fn a_full_queue_loses_lines_and_counts_them_and_never_blocks() {
        let (mut queue, waiting) = stalled(2);
        for line in ["one\n", "two\n", "three\n", "four\n"] {
            queue.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(
            written(queue, &waiting),
            "one\ntwo\n2 log lines were lost\n"
        );
    }

    #[test]
    fn a_json_log_reports_its_losses_as_an_object() {
        let (mut queue, waiting) = stalled(0);
        queue.write_all(b"{}\n").unwrap();
        queue.n_lost.fetch_add(1, Ordering::Relaxed);
        let (done, _answered) = sync_channel(1);
        let entries = queue.entries.clone();
        let flush = thread::Builder::new()
            .spawn(move || entries.send(Entry::Flush(done)).unwrap())
            .unwrap();
        assert_eq!(
            written_as(Format::Json, queue, &waiting),
            "{\"time\":\"2023-11-14T22:13:20.000Z\",\"level\":\"error\",\
             \"message\":\"2 log lines were lost\"}\n"
        );
        flush.join().unwrap();
    }

    #[test]
    fn a_flush_is_answered_when_the_lines_before_it_are_written() {
        let (mut queue, waiting) = stalled(10);
        queue.write_all(b"one\n").unwrap();
        let (done, answered) = sync_channel(1);
        queue.entries.try_send(Entry::Flush(done)).unwrap();
        assert_eq!(written(queue, &waiting), "one\n");
        assert!(answered.try_recv().is_ok());
    }

    #[test]
    fn a_flush_of_a_stalled_log_gives_up() {
        let (queue, _waiting) = stalled(0);
        let log = Log {
            queue: queue.entries.clone(),
        };
        log.flush();
    }
}
