//! Signals: requests to the daemon from the system or from the person at the terminal.
//!
//! SIGTERM and SIGINT stop the daemon; a second one, while it finishes current work, ends it
//! immediately. SIGHUP asks the daemon to reload accounts and certificates. A terminal that closes
//! also sends it: if the daemon has nothing to reload, it was started there by hand, and SIGHUP
//! stops it, unless it was started with the signal ignored. SIGUSR1 asks for a report of the
//! counters.

use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

/// By convention the exit status of a process that a signal ended is the signal's number plus this.
const SIGNAL_STATUS: i32 = 128;

/// What SIGHUP asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hangup {
    /// Reload accounts and certificate.
    Renew,
    /// Stop.
    Stop,
    /// Nothing: it stays ignored, as nohup(1) sets it.
    Nothing,
}

impl Hangup {
    /// What SIGHUP asks of a daemon; `renews` says whether it has something to reload. Call this
    /// before a [`Receiver`] exists.
    pub fn for_daemon(renews: bool) -> Self {
        if renews {
            Self::Renew
        } else if is_hangup_ignored() {
            Self::Nothing
        } else {
            Self::Stop
        }
    }
}

/// Whether this process was started with SIGHUP ignored. If the system does not say, it was not.
fn is_hangup_ignored() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    // Signal number 1 is the lowest bit.
    ignored.is_some_and(|mask| mask & 1 == 1)
}

/// The signals of this process, from the moment this is created.
#[derive(Debug)]
pub struct Receiver {
    signals: Signals,
    hangup: Hangup,
}

impl Receiver {
    /// Starts to receive signals.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn new(hangup: Hangup) -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal sets the flag, the second one finds it set.
            let status = SIGNAL_STATUS.saturating_add(signal);
            signal_hook::flag::register_conditional_shutdown(
                signal,
                status,
                Arc::clone(&stopping),
            )?;
            signal_hook::flag::register(signal, Arc::clone(&stopping))?;
        }
        let signals = Signals::new([SIGINT, SIGTERM, SIGUSR1])?;
        if hangup != Hangup::Nothing {
            signals.add_signal(SIGHUP)?;
        }
        Ok(Self { signals, hangup })
    }

    /// Waits until the daemon is asked to stop; returns the name of the signal. Until then, calls
    /// `renew` for each SIGHUP that asks for a reload, and `report` for each SIGUSR1.
    pub fn wait_for_stop(&mut self, renew: impl Fn(), report: impl Fn()) -> &'static str {
        for signal in self.signals.forever() {
            match signal {
                SIGINT => return "SIGINT",
                SIGTERM => return "SIGTERM",
                SIGUSR1 => report(),
                SIGHUP if self.hangup == Hangup::Stop => return "SIGHUP",
                _ => renew(),
            }
        }
        "the end of all signals"
    }
}
