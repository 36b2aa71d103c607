//! Shared by the tests of several rooms: repeatable randomness, a disk that can lose its power, and
//! a model of the store so simple that it is obviously right.
//!
//! Compiled for tests only.

#![expect(clippy::arithmetic_side_effects, reason = "tests count small things")]

pub(crate) mod bugs;
pub(crate) mod disk;
#[path = "../../tests/transcripts/facts.rs"]
pub(crate) mod facts;
#[cfg(feature = "postgres")]
pub(crate) mod interruption;
pub(crate) mod model;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
pub(crate) mod rng;
#[path = "../../tests/transcripts/scram.rs"]
pub(crate) mod scram;
