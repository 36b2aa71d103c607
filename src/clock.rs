//! The only reader of system time.
//!
//! A [`Clock`] is created once, at the start, and passed to everything that needs the time. Nothing
//! else in the crate asks the system (the lint `disallowed_methods` enforces this). So tests can
//! control every use of time, and the pure rooms get times as values.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jiff::{Timestamp, Zoned, tz::TimeZone};

#[cfg(test)]
pub(crate) use hands::{Hands, look_again};

/// Reads monotonic and wall-clock time.
#[derive(Clone, Debug)]
pub struct Clock {
    zone: TimeZone,
    /// What moves this clock; `None` for the system's clock.
    #[cfg(test)]
    hands: Option<std::sync::Arc<Hands>>,
}

impl Clock {
    /// A clock of this system, in its local time zone (UTC if none is set).
    pub fn system() -> Self {
        Self {
            zone: TimeZone::try_system().unwrap_or(TimeZone::UTC),
            #[cfg(test)]
            hands: None,
        }
    }

    /// A clock that stands still until its hands are moved.
    #[cfg(test)]
    pub(crate) fn turned_by(hands: std::sync::Arc<Hands>) -> Self {
        Self {
            zone: TimeZone::UTC,
            hands: Some(hands),
        }
    }

    /// The current instant: for deadlines and durations, never for dates.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    pub fn now(&self) -> Instant {
        #[cfg(test)]
        if let Some(hands) = &self.hands {
            return hands.now();
        }
        Instant::now()
    }

    /// The time since 1970-01-01 00:00 UTC; zero if the system's clock is set to an earlier time.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the clock"
    )]
    pub fn unix_time(&self) -> Duration {
        #[cfg(test)]
        if let Some(hands) = &self.hands {
            return hands.unix_time();
        }
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or(Duration::ZERO)
    }

    /// The time that a file system of this machine records for a change made now: that of the last
    /// tick of the system's clock. (A later change in the same tick can have the same time.)
    pub fn file_time(&self) -> Duration {
        #[cfg(test)]
        if let Some(hands) = &self.hands {
            return hands.file_time();
        }
        let time = rustix::time::clock_gettime(rustix::time::ClockId::RealtimeCoarse);
        let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
        Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
    }

    /// Waits for this time or slightly less, for an event that no thread of this process can
    /// signal.
    pub fn pause(&self, time: Duration) {
        #[cfg(test)]
        if let Some(hands) = &self.hands {
            return hands.pass(time);
        }
        std::thread::park_timeout(time);
    }

    /// The current date and time in UTC in the form of RFC 3339, with milliseconds:
    /// `2026-11-23T06:27:42.123Z`.
    pub fn timestamp(&self) -> String {
        let millis = i64::try_from(self.unix_time().as_millis()).unwrap_or(i64::MAX);
        let timestamp = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
        format!("{timestamp:.3}")
    }

    /// The current date and time in the form of RFC 5322 §3.3, with the local offset: `Mon, 23 Nov
    /// 2026 06:27:42 +0000`.
    pub fn date(&self) -> String {
        let seconds = i64::try_from(self.unix_time().as_secs()).unwrap_or(i64::MAX);
        let timestamp = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
        timestamp
            .to_zoned(self.zone.clone())
            .strftime("%a, %d %b %Y %H:%M:%S %z")
            .to_string()
    }

    /// The local time zone, as it was at the start: the sandbox hides the files of the zones.
    pub fn zone(&self) -> TimeZone {
        self.zone.clone()
    }

    /// The moment `text`, in the form of RFC 3339, in the local time zone; `None` if it is none.
    pub fn local(&self, text: &str) -> Option<Zoned> {
        let moment: Timestamp = text.parse().ok()?;
        Some(moment.to_zoned(self.zone.clone()))
    }
}

/// A clock that a test controls.
#[cfg(test)]
mod hands {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::{Duration, Instant};

    use parking_lot::Mutex;

    /// Pauses before a test checks a condition again, so that what it waits for gets the processor.
    pub(crate) fn look_again() {
        std::thread::park_timeout(Duration::from_millis(1));
    }

    /// File times advance 250 times a second.
    const TICK_NANOS: u32 = 4_000_000;

    /// The hands of a clock: time passes when a test says so.
    #[derive(Debug)]
    pub(crate) struct Hands {
        times: Mutex<(Instant, Duration)>,
        looks: AtomicU64,
    }

    impl Hands {
        /// A day in 2023.
        pub(crate) fn new() -> Self {
            let start = super::Clock::system().now();
            Self {
                times: Mutex::new((start, Duration::from_secs(1_700_000_000))),
                looks: AtomicU64::new(0),
            }
        }

        /// Waits until the clock was read `times` more; false if that does not happen, or if
        /// `is_over`. So a test knows that another thread is waiting, and on this clock.
        pub(crate) fn is_looked_at(&self, times: u64, is_over: impl Fn() -> bool) -> bool {
            let seen = || self.looks.load(Ordering::SeqCst);
            let enough = seen().saturating_add(times);
            let system = super::Clock::system();
            let begin = system.now();
            while seen() < enough {
                let waited = system.now().duration_since(begin);
                if is_over() || waited > Duration::from_mins(5) {
                    return false;
                }
                look_again();
            }
            true
        }

        /// Lets `time` pass each time the clock is read, until `is_over`.
        pub(crate) fn pass_until(&self, time: Duration, is_over: impl Fn() -> bool) {
            while self.is_looked_at(1, &is_over) {
                self.pass(time);
            }
            assert!(is_over(), "nothing reads the clock");
        }

        /// Lets time pass.
        pub(crate) fn pass(&self, time: Duration) {
            let (instant, unix_time) = &mut *self.times.lock();
            *instant = instant.checked_add(time).unwrap();
            *unix_time = unix_time.saturating_add(time);
        }

        /// Sets the wall clock, as an administrator can; no time passes.
        pub(crate) fn set(&self, unix_time: Duration) {
            self.times.lock().1 = unix_time;
        }

        /// Sets the wall clock back.
        pub(crate) fn set_back(&self, by: Duration) {
            self.set(self.unix_time().saturating_sub(by));
        }

        /// Sets the wall clock forward.
        pub(crate) fn set_forward(&self, by: Duration) {
            self.set(self.unix_time().saturating_add(by));
        }

        pub(super) fn now(&self) -> Instant {
            self.looks.fetch_add(1, Ordering::SeqCst);
            self.times.lock().0
        }

        /// The time that a file system with fine resolution records: that of the last tick, which
        /// is almost never a round number.
        pub(crate) fn file_time(&self) -> Duration {
            let time = self.unix_time();
            let into_tick = time.subsec_nanos() % TICK_NANOS;
            time.saturating_sub(Duration::from_nanos(into_tick.into()))
                .saturating_add(Duration::from_nanos(123_457))
        }

        /// The time of the wall clock.
        pub(crate) fn unix_time(&self) -> Duration {
            self.times.lock().1
        }
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
