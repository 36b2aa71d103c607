//! How long a closing connection still reads from its client.

use std::time::Instant;

use super::limits;

/// How much may still be read from a client before its socket is closed.
#[derive(Debug)]
pub(super) struct Linger {
    octets_left: usize,
    deadline: Option<Instant>,
}

impl Linger {
    pub(super) fn begin(now: Instant) -> Self {
        Self {
            octets_left: limits::LINGER_OCTETS_MAX,
            deadline: now.checked_add(limits::LINGER_TIMEOUT),
        }
    }

    /// Whether to continue after a read of `octets` octets: not at the end of the input, after the
    /// time limit, or over the octet limit. The clock is checked last.
    pub(super) fn goes_on(&mut self, octets: usize, now: impl FnOnce() -> Instant) -> bool {
        self.octets_left = self.octets_left.saturating_sub(octets);
        octets > 0 && self.octets_left > 0 && self.deadline.is_none_or(|deadline| now() < deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use crate::clock::Clock;

    use super::*;

    #[test]
    fn it_ends_with_the_client_in_time_and_after_a_limit_of_octets() {
        let begin = Clock::system().now();
        let late = begin + limits::LINGER_TIMEOUT;
        let before = late.checked_sub(Duration::from_millis(1)).unwrap();
        let goes_on = |octets, now| Linger::begin(begin).goes_on(octets, || now);
        assert!(goes_on(1, before));
        assert!(!goes_on(1, late));
        assert!(!goes_on(0, begin));
        assert!(!goes_on(limits::LINGER_OCTETS_MAX, begin));
        let mut linger = Linger::begin(begin);
        assert!(linger.goes_on(limits::LINGER_OCTETS_MAX - 1, || begin));
        assert!(!linger.goes_on(1, || begin));
    }
}
