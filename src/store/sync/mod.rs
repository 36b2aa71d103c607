//! Locks, condition variables, threads, atomic numbers and random numbers, in one place.
//!
//! The whole store uses them from here. They come from `parking_lot`, the standard library and
//! `ring`. When tests are built with `--cfg shuttle` they come from the crate `shuttle`, which
//! decides at each of them which thread runs next (`tests/interleavings`).

#[cfg(shuttle)]
#[cfg(test)]
mod explored;

#[cfg(not(all(test, shuttle)))]
use std::io;

#[cfg(not(all(test, shuttle)))]
use ring::{
    error::Unspecified,
    rand::{SecureRandom as _, SystemRandom},
};

#[cfg(not(all(test, shuttle)))]
pub(super) use {
    parking_lot::{Condvar, Mutex, MutexGuard},
    std::{sync::atomic, thread},
};

#[cfg(all(test, shuttle))]
pub(super) use explored::{
    Condvar, Mutex, MutexGuard, atomic, fill_random, n_held, set_hands, take_nested, thread,
};

/// Fills `octets` with random numbers that nobody can guess.
///
/// # Errors
/// When the system has none.
#[cfg(not(all(test, shuttle)))]
pub(super) fn fill_random(octets: &mut [u8]) -> io::Result<()> {
    let drawn = SystemRandom::new().fill(octets);
    drawn.map_err(|Unspecified| io::Error::other("the system has no random numbers"))
}
