//! Warnings in the log before the certificate expires.
//!
//! A thread of its own checks the certificate at the start, after each reload, and every day. It
//! sleeps in between, and ends when its [`Watch`] is dropped.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::certificate;
use crate::clock::Clock;
use crate::server::{Current, Identity};

/// How often the thread checks: the warning appears within a day.
const INTERVAL: Duration = Duration::from_hours(24);

/// The thread; dropping this ends it.
#[derive(Debug)]
pub(super) struct Watch {
    /// `None` when the thread must end.
    renewed: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts watching `identity`.
    ///
    /// # Errors
    /// If the system cannot start a thread.
    pub(super) fn start(identity: Arc<Current<Identity>>, clock: Clock) -> io::Result<Self> {
        let (renewed, renewals) = mpsc::channel();
        let look = move || {
            let expiry = certificate::expiry(identity.get().certificate());
            log_expiry(expiry, clock.unix_time().as_secs());
        };
        let run = move || {
            look();
            while let Ok(()) | Err(RecvTimeoutError::Timeout) = renewals.recv_timeout(INTERVAL) {
                look();
            }
        };
        let thread = thread::Builder::new()
            .name("certificate".to_owned())
            .spawn(run)?;
        Ok(Self {
            renewed: Some(renewed),
            thread: Some(thread),
        })
    }

    /// Makes the thread check again: there is a new certificate.
    pub(super) fn renewed(&self) {
        if let Some(renewed) = &self.renewed {
            // The thread runs as long as `self` exists.
            renewed.send(()).unwrap_or_default();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.renewed = None;
        if let Some(thread) = self.thread.take() {
            // If it panicked, the reason is in the log.
            drop(thread.join());
        }
    }
}

/// Logs a warning, if needed, for a certificate that expires at `expiry`. Both are in seconds since
/// 1970.
fn log_expiry(expiry: Option<u64>, now: u64) {
    match left(expiry, now) {
        Left::Enough => {}
        Left::Unknown => log::warn!("cannot read when the certificate expires"),
        Left::Days(days) => log::warn!(
            "the certificate expires in {days} days: renew it (facteur cert --renew), then send \
             SIGHUP"
        ),
        Left::Nothing => log::error!(
            "the certificate has expired, and clients refuse it: renew it (facteur cert --renew), \
             then send SIGHUP"
        ),
    }
}

/// How long a certificate is still valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Enough,
    /// This many whole days.
    Days(u64),
    Nothing,
    Unknown,
}

fn left(expiry: Option<u64>, now: u64) -> Left {
    const DAY: u64 = 24 * 60 * 60;
    let Some(expiry) = expiry else {
        return Left::Unknown;
    };
    let Some(seconds) = expiry.checked_sub(now) else {
        return Left::Nothing;
    };
    if seconds > certificate::limits::EXPIRY_WARNING.as_secs() {
        Left::Enough
    } else {
        Left::Days(seconds / DAY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_warning_comes_fourteen_days_ahead() {
        const DAY: u64 = 86_400;
        let now = 1_800_000_000;
        for (expiry, expected) in [
            (Some(now + 400 * DAY), Left::Enough),
            (Some(now + 14 * DAY + 1), Left::Enough),
            (Some(now + 14 * DAY), Left::Days(14)),
            (Some(now + DAY), Left::Days(1)),
            (Some(now + 5), Left::Days(0)),
            (Some(now), Left::Days(0)),
            (Some(now - 1), Left::Nothing),
            (Some(0), Left::Nothing),
            (None, Left::Unknown),
        ] {
            assert_eq!(left(expiry, now), expected, "{expiry:?}");
        }
    }
}
