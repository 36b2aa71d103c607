//! The only reader of system time.
//!
//! A [`Clock`] is made once in `main` and handed to whoever needs the time; nothing else in the
//! crate asks the system (the lint `disallowed_methods` sees to it). So a test can see every place
//! where time enters, and the pure rooms get times as values.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, tz::TimeZone};

/// Reads monotonic and wall-clock time.
#[derive(Clone, Debug)]
pub struct Clock {
    zone: TimeZone,
}

impl Clock {
    /// A clock of this system, in its local time zone (UTC where none is set).
    pub fn system() -> Self {
        Self {
            zone: TimeZone::try_system().unwrap_or(TimeZone::UTC),
        }
    }

    /// The current instant: for deadlines and durations, never for a date.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    pub fn now(&self) -> Instant {
        Instant::now()
    }

    /// The time since 1970-01-01 00:00 UTC; zero when the system's clock stands before it.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    pub fn unix_time(&self) -> Duration {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
    }

    /// The current date and time as RFC 5322 §3.3 writes it, with the local offset:
    /// `Mon, 23 Nov 2026 06:27:42 +0000`.
    pub fn date(&self) -> String {
        let seconds = i64::try_from(self.unix_time().as_secs()).unwrap_or(i64::MAX);
        let timestamp = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        timestamp
            .to_zoned(self.zone.clone())
            .strftime("%a, %d %b %Y %H:%M:%S %z")
            .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_date_has_the_form_of_rfc_5322() {
        let date = Clock::system().date();
        assert!(jiff::fmt::rfc2822::parse(&date).is_ok(), "{date}");
        assert_eq!(
            date.len(),
            "Mon, 23 Nov 2026 06:27:42 +0000".len(),
            "{date}"
        );
    }
}
