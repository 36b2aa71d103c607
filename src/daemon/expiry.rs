//! The end of the certificate, told in the log in time.
//!
//! A thread of its own looks at the certificate at the start, when it was read anew, and every
//! day. It sleeps otherwise, and ends when its [`Watch`] is dropped.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::certificate;
use crate::clock::Clock;
use crate::server::{Current, Identity};

/// How often the thread looks: the warning is to be there within a day.
const INTERVAL: Duration = Duration::from_hours(24);

/// The thread; dropping this ends it.
#[derive(Debug)]
pub(super) struct Watch {
    /// `None` once it is to end.
    renewed: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Starts to look at `identity`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(super) fn start(identity: Arc<Current<Identity>>, clock: Clock) -> io::Result<Self> {
        let (renewed, renewals) = mpsc::channel();
        let look = move || {
            let expiry = certificate::expiry(identity.get().certificate());
            tell(expiry, clock.unix_time().as_secs());
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

    /// Has it look again: there is another certificate.
    pub(super) fn renewed(&self) {
        if let Some(renewed) = &self.renewed {
            // It is there as long as this is.
            renewed.send(()).unwrap_or_default();
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.renewed = None;
        if let Some(thread) = self.thread.take() {
            // What it says when it panics is in the log.
            drop(thread.join());
        }
    }
}

/// Puts into the log what is to be said of a certificate that ends at `expiry`, both in seconds
/// since 1970.
fn tell(expiry: Option<u64>, now: u64) {
    match left(expiry, now) {
        Left::Enough => {}
        Left::Unknown => log::warn!("it cannot be read when the certificate ends"),
        Left::Days(days) => log::warn!(
            "the certificate ends in {days} days: renew it (facteur cert --renew), then send SIGHUP"
        ),
        Left::Nothing => log::error!(
            "the certificate has ended, and clients refuse it: renew it (facteur cert --renew), \
             then send SIGHUP"
        ),
    }
}

/// How long a certificate is still valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    Enough,
    /// So many whole days.
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
    fn the_end_is_told_fourteen_days_ahead() {
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
