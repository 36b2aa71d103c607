//! How long those who read the mail for people rest, so that the deliveries do not wait for them.

use std::time::Duration;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// For each message that has come or gone while they rested before and read.
    pub each_change: Duration,
    /// At most so many times as long as they have read.
    pub times: u32,
    /// At most.
    pub longest: Duration,
}

impl Rest {
    /// How long to rest after reading for so long, if so many messages have come or gone.
    pub fn after(&self, reading: Duration, changes: u64) -> Duration {
        let changes = u32::try_from(changes).unwrap_or(u32::MAX);
        let for_changes = self.each_change.saturating_mul(changes);
        let for_reading = reading.saturating_mul(self.times);
        for_changes.min(for_reading).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::super::limits::REST;

    use super::*;

    #[test]
    fn a_rest_is_for_the_mail_that_arrives_and_as_long_as_was_read() {
        let ms = Duration::from_millis;
        for (listing, changes, rest) in [
            (ms(20), 0, ms(0)),
            (ms(20), 1, ms(1)),
            (ms(20), 200, ms(200)),
            (ms(20), 8_000, ms(780)),
            (ms(60), 8_000, ms(2_000)),
            (Duration::MAX, u64::MAX, ms(2_000)),
        ] {
            assert_eq!(REST.after(listing, changes), rest, "{listing:?} {changes}");
        }
    }
}
