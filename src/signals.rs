//! Signals: what the system or the person at the terminal asks of the daemon.
//!
//! SIGTERM and SIGINT stop it; while it finishes what is under way, a second one ends it at once.
//! SIGHUP asks for accounts and certificates to be read anew; a terminal that closes sends it too,
//! and does not end the daemon. SIGUSR1 asks for a report of what was counted.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

/// By convention a process that a signal ended has the signal's number plus this as its status.
const SIGNAL_STATUS: i32 = 128;

/// The signals of this process, from the moment it is made.
#[derive(Debug)]
pub struct Receiver {
    signals: Signals,
}

impl Receiver {
    /// Begins to receive signals.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub fn new() -> io::Result<Self> {
        let stopping = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: the first signal sets the flag, the second finds it set.
            let status = SIGNAL_STATUS.saturating_add(signal);
            signal_hook::flag::register_conditional_shutdown(
                signal,
                status,
                Arc::clone(&stopping),
            )?;
            signal_hook::flag::register(signal, Arc::clone(&stopping))?;
        }
        Ok(Self {
            signals: Signals::new([SIGHUP, SIGINT, SIGTERM, SIGUSR1])?,
        })
    }

    /// Waits until the daemon is asked to stop; gives the name of the signal. Calls `renew` for
    /// each SIGHUP and `report` for each SIGUSR1 until then.
    pub fn wait_for_stop(&mut self, renew: impl Fn(), report: impl Fn()) -> &'static str {
        for signal in self.signals.forever() {
            match signal {
                SIGINT => return "SIGINT",
                SIGTERM => return "SIGTERM",
                SIGUSR1 => report(),
                _ => renew(),
            }
        }
        "the end of all signals"
    }
}
