//! facteur: a thread-per-connection mail daemon.

pub mod clock;
pub mod mail;
pub mod smtp;
