//! The log on standard error, written by a thread of its own.
//!
//! Whoever logs only puts a line into a queue. So a terminal that is paused, or a pipe that nobody
//! reads, never holds up a delivery or a stop. When the queue is full, lines are lost and counted,
//! and the count is logged as soon as there is room. Lines that wait together leave in one write.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use log::LevelFilter;

/// Lines that may wait: a burst of every session's end at a stop, at some hundred octets a line.
const LINES_MAX: usize = 16 * 1_024;

/// Octets that leave in one write, where so many wait.
const WRITE_OCTETS_MAX: usize = 64 * 1_024;

/// How long the thread rests between two writes: to be woken for every line would cost a busy
/// server a tenth of its time, and a person who reads along does not see the difference.
const REST: Duration = Duration::from_millis(5);

/// How long the end of the program waits for the lines that are left.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The running log.
#[derive(Debug)]
pub struct Log {
    queue: SyncSender<Entry>,
}

/// What waits in the queue.
#[derive(Debug)]
enum Entry {
    /// A line with its ending.
    Line(Vec<u8>),
    /// Somebody waits until all lines before this are written.
    Flush(SyncSender<()>),
}

/// The end of the queue that lines are put into.
struct Queue {
    entries: SyncSender<Entry>,
    n_lost: Arc<AtomicU64>,
}

impl Log {
    /// Starts the log; from now on the macros of the crate `log` write to it.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(level: LevelFilter) -> io::Result<Self> {
        let (entries, waiting) = sync_channel(LINES_MAX);
        let n_lost = Arc::new(AtomicU64::new(0));
        let queue = Queue {
            entries: entries.clone(),
            n_lost: Arc::clone(&n_lost),
        };
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || write_all(&waiting, &n_lost, &mut io::stderr()))?;
        env_logger::Builder::new()
            .filter_level(level)
            .format_target(false)
            .target(env_logger::Target::Pipe(Box::new(queue)))
            .init();
        Ok(Self { queue: entries })
    }

    /// Waits until what was logged is written, or until it is clear that nobody reads it.
    pub fn flush(&self) {
        let (done, written) = sync_channel(1);
        if self.queue.try_send(Entry::Flush(done)).is_ok() {
            // Either way the program goes on to its end.
            written.recv_timeout(FLUSH_TIMEOUT).unwrap_or_default();
        }
    }
}

impl Write for Queue {
    /// Takes one line; it is given whole.
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

/// Writes entries to `out` until no sender is left.
fn write_all(waiting: &Receiver<Entry>, n_lost: &AtomicU64, out: &mut impl Write) {
    let mut octets = Vec::new();
    while let Ok(entry) = waiting.recv() {
        // What comes meanwhile leaves with it. To be woken early does no harm.
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
        let lost = n_lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            octets.extend_from_slice(format!("{lost} lines of the log were lost\n").as_bytes());
        }
        // There is no better place to tell that the log cannot be written.
        drop(out.write_all(&octets));
        octets.clear();
        octets.shrink_to(WRITE_OCTETS_MAX);
        for done in flushed {
            // Who does not wait any more need not hear it.
            done.send(()).unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A log of `room` lines whose writer has not begun.
    fn stalled(room: usize) -> (Queue, Receiver<Entry>) {
        let (entries, waiting) = sync_channel(room);
        let n_lost = Arc::new(AtomicU64::new(0));
        (Queue { entries, n_lost }, waiting)
    }

    fn written(queue: Queue, waiting: &Receiver<Entry>) -> String {
        let n_lost = Arc::clone(&queue.n_lost);
        drop(queue);
        let mut out = Vec::new();
        write_all(waiting, &n_lost, &mut out);
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
            "one\ntwo\n2 lines of the log were lost\n"
        );
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
