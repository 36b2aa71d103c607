//! The time limits of a connection.

use std::time::{Duration, Instant};

use crate::clock::Clock;

use crate::mail::Ending;

use super::limits;
use super::session::Interruption;

/// How long a client may take.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For one whole command.
    pub idle: Duration,
    /// For the whole session; `None` is no limit.
    pub session: Option<Duration>,
}

/// The clock of a connection, and its deadlines.
#[derive(Debug)]
pub(super) struct Deadlines {
    clock: Clock,
    idle_timeout: Duration,
    /// When the session must end.
    session: Option<Instant>,
}

impl Deadlines {
    /// The deadlines of a session that begins now.
    pub(super) fn new(clock: Clock, timeouts: Timeouts) -> Self {
        let begin = clock.now();
        Self {
            clock,
            idle_timeout: timeouts.idle,
            session: timeouts
                .session
                .and_then(|session| begin.checked_add(session)),
        }
    }

    /// The clock for the deadlines.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The deadline of a command that is awaited from now on.
    pub(super) fn of_command(&self) -> Option<Instant> {
        self.of_what_takes(self.idle_timeout)
    }

    /// The deadline of something that may take `timeout`, but no longer than a command.
    pub(super) fn of_what_takes(&self, timeout: Duration) -> Option<Instant> {
        self.now().checked_add(self.idle_timeout.min(timeout))
    }

    /// `deadline`, or the session's end if that comes first.
    pub(super) fn or_session(&self, deadline: Option<Instant>) -> Option<Instant> {
        deadline.into_iter().chain(self.session).min()
    }

    /// Whether the session may continue.
    ///
    /// # Errors
    /// [`Ending::SessionTimeout`].
    pub(super) fn check_session(&self, now: Instant) -> Result<(), Interruption> {
        match self.session {
            Some(deadline) if deadline <= now => Err(Interruption::Ended(Ending::SessionTimeout)),
            Some(_) | None => Ok(()),
        }
    }

    /// How long to wait before the clock is checked again: at most until `deadline` and the
    /// session's end, neither of which has passed.
    ///
    /// # Errors
    /// [`Interruption`]: one of them has passed.
    pub(super) fn time_left(&self, deadline: Option<Instant>) -> Result<Duration, Interruption> {
        let now = self.now();
        self.check_session(now)?;
        if deadline.is_some_and(|deadline| deadline <= now) {
            return Err(Interruption::Ended(Ending::IdleTimeout));
        }
        let until = self.or_session(deadline);
        let left = until.map_or(limits::WAIT_SLICE, |until| until.duration_since(now));
        Ok(left.min(limits::WAIT_SLICE))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::clock::Hands;

    use super::*;

    #[test]
    fn the_first_deadline_ends_a_wait_and_a_slice_interrupts_it() {
        let hands = Arc::new(Hands::new());
        let timeouts = Timeouts {
            idle: Duration::from_secs(90),
            session: Some(Duration::from_secs(100)),
        };
        let deadlines = Deadlines::new(Clock::turned_by(Arc::clone(&hands)), timeouts);
        let command = deadlines.of_command();
        let shorter = deadlines.of_what_takes(Duration::from_secs(5));
        let left = |deadline| deadlines.time_left(deadline).unwrap().as_secs();
        assert_eq!((left(command), left(shorter), left(None)), (60, 5, 60));
        hands.pass(Duration::from_secs(50));
        assert_eq!((left(command), left(None)), (40, 50));
        let idle = deadlines.time_left(shorter).unwrap_err();
        assert!(
            matches!(idle, Interruption::Ended(Ending::IdleTimeout)),
            "{idle}"
        );
        assert_eq!(
            deadlines.or_session(deadlines.of_command()),
            deadlines.or_session(None)
        );
        hands.pass(Duration::from_secs(50));
        let over = deadlines.time_left(command).unwrap_err();
        assert!(
            matches!(over, Interruption::Ended(Ending::SessionTimeout)),
            "{over}"
        );
    }
}
