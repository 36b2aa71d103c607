//! facteur: a thread-per-connection mail daemon.

pub mod accounts;
pub mod cli;
pub mod clock;
pub mod config;
pub mod mail;
pub mod pop3;
pub mod smtp;
pub mod store;
pub mod wire;
