//! What is fuzzed (SEC-19): ten functions that accept any octets and must never panic, hang or
//! violate their documentation.
//!
//! Each module has one `run`, for libFuzzer, and states its property. The sessions run in memory,
//! with the drivers of the integration tests.

#[path = "../../it/replay/mod.rs"]
pub(crate) mod replay;
pub(crate) mod transcripts;

pub mod address;
pub mod config;
pub mod content;
pub mod document;
pub mod http;
pub mod journal;
pub mod mime;
pub mod names;
pub mod pop3;
pub mod proxy;
pub mod seeds;
pub mod smtp;
mod store;

/// The ways to cut a dialogue: not at all, after every octet, and in pieces that depend on its
/// content.
pub(crate) fn cuts(octets: &[u8]) -> [Vec<&[u8]>; 3] {
    let mut pieces = Vec::new();
    let mut rest = octets;
    while !rest.is_empty() {
        let length = usize::from(rest[0] % 13) + 1;
        let (piece, more) = rest.split_at(length.min(rest.len()));
        pieces.push(piece);
        rest = more;
    }
    [vec![octets], octets.chunks(1).collect(), pieces]
}

/// The configuration for a dialogue: one setting per bit of the first octet.
pub(crate) fn transcript(bits: u8) -> transcripts::Transcript {
    const FACTS: [&str; 7] = [
        "authentication-required",
        "own-senders",
        "remote",
        "scram",
        "starttls",
        "tls",
        "utf8",
    ];
    let set = FACTS
        .iter()
        .enumerate()
        .filter(|(bit, _)| bits & (1 << bit) != 0);
    transcripts::Transcript {
        strict: bits & (1 << FACTS.len()) != 0,
        facts: set.map(|(_, fact)| (*fact).to_owned()).collect(),
        ..transcripts::Transcript::default()
    }
}
