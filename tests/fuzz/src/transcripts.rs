//! The format of a transcript, for seeds and settings, and the account that SCRAM knows.

#[path = "../../transcripts/facts.rs"]
pub(crate) mod facts;

#[path = "../../transcripts/format.rs"]
#[expect(dead_code, reason = "what follows a dialogue is not used")]
mod format;

#[path = "../../transcripts/scram.rs"]
pub(crate) mod scram;

pub(crate) use format::{Step, Transcript};
