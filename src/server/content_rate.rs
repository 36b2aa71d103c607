//! How fast the content of a message arrives.

use std::time::Instant;

use super::limits;

/// The octets of a message within the current slice of time. Clients on this machine are exempt
/// from the minimum: a person who types a message at a terminal is slower than any network.
#[derive(Debug)]
pub(super) struct ContentRate {
    since: Instant,
    octets: u64,
}

impl ContentRate {
    /// The first slice of time begins now.
    pub(super) fn begin(now: Instant) -> Self {
        Self {
            since: now,
            octets: 0,
        }
    }

    /// Records that `octets` more have arrived by `now`. False if a slice of time ends now and had
    /// too few octets. The next slice then begins.
    pub(super) fn keeps_pace(&mut self, octets: u64, now: Instant) -> bool {
        self.octets = self.octets.saturating_add(octets);
        let elapsed = now.duration_since(self.since);
        if elapsed < limits::WAIT_SLICE {
            return true;
        }
        let seconds = elapsed.as_secs();
        let enough = seconds.saturating_mul(limits::CONTENT_OCTETS_PER_SECOND_MIN);
        let keeps_pace = self.octets >= enough;
        *self = Self::begin(now);
        keeps_pace
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::clock::Clock;

    use super::*;

    /// Arrivals as seconds since the beginning and octets, and when they are found too slow.
    fn check(arrivals: &[(u64, u64)], expect: Option<u64>) {
        let begin = Clock::system().now();
        let mut rate = ContentRate::begin(begin);
        let slow = arrivals.iter().find(|(second, octets)| {
            let now = begin.checked_add(Duration::from_secs(*second)).unwrap();
            !rate.keeps_pace(*octets, now)
        });
        assert_eq!(slow.map(|(second, _)| *second), expect, "{arrivals:?}");
    }

    #[test]
    fn a_message_must_bring_500_octets_a_second_averaged_over_a_minute() {
        check(&[(59, 0)], None);
        check(&[(60, 0)], Some(60));
        check(&[(1, 29_999), (60, 0)], Some(60));
        check(&[(1, 30_000), (60, 0)], None);
        check(&[(1, 30_000), (60, 0), (61, 1), (120, 29_998)], Some(120));
        check(&[(1, 30_000), (60, 0), (61, 1), (120, 29_999)], None);
        // A fast first minute does not make up for a second one without octets.
        check(&[(1, 1_000_000), (60, 0), (120, 0)], Some(120));
        check(&[(90, 44_999)], Some(90));
        check(&[(90, 45_000)], None);
    }
}
