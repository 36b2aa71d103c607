//! Keeps a flood of refused clients from being a flood of log lines.

use std::time::Instant;

use super::limits;

/// Says which of many lines of one kind are written.
#[derive(Debug, Default)]
pub(super) struct Muffler {
    since: Option<Instant>,
    told: u32,
    untold: u64,
}

impl Muffler {
    /// Whether one more line is written: `Some` with the number of those that were not since the
    /// last one that was. The counters know all of them.
    pub(super) fn lets_through(&mut self, now: Instant) -> Option<u64> {
        let period = self.since.map(|since| now.duration_since(since));
        if period.is_none_or(|period| period >= limits::REFUSALS_PERIOD) {
            self.since = Some(now);
            self.told = 0;
        }
        if self.told == limits::REFUSALS_TOLD_MAX {
            self.untold = self.untold.saturating_add(1);
            return None;
        }
        self.told = self.told.saturating_add(1);
        Some(std::mem::take(&mut self.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_flood_is_told_in_a_few_lines_and_a_number() {
        let mut muffler = Muffler::default();
        let begin = Clock::system().now();
        let mut flood = |n: u64, second: u32| -> Vec<u64> {
            let now = begin.checked_add(limits::REFUSALS_PERIOD * second).unwrap();
            (0..n).filter_map(|_| muffler.lets_through(now)).collect()
        };
        assert_eq!(flood(10, 0), [0; 10]);
        assert_eq!(flood(1_000, 0), [0; 0]);
        assert_eq!(flood(1, 1), [1_000], "the next one tells of those");
        assert_eq!(flood(10, 1), [0; 9]);
        assert_eq!(flood(2, 2), [1, 0]);
    }
}
