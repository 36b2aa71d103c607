//! Tables of awkward mail, and what a naive reader of whole lines would say.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow in a test fails the test"
)]

mod bodies;
mod compose;
mod extract;
mod headers;
mod outline;
mod summary;
mod walk;

use crate::mime::{Outline, TooComplex, Walk};

/// The outline of `message`, which is the same for all ways to cut it.
fn outline(message: &[u8]) -> Outline {
    let whole = walked(&[message]).unwrap();
    let octets: Vec<&[u8]> = message.chunks(1).take(10_000).collect();
    if octets.len() == message.len() {
        assert_eq!(walked(&octets).unwrap(), whole);
    }
    if message.len() < 500 {
        for at in 0..=message.len() {
            let (first, second) = message.split_at(at);
            assert_eq!(walked(&[first, &[], second]).unwrap(), whole, "cut at {at}");
        }
    }
    whole
}

fn walked(pieces: &[&[u8]]) -> Result<Outline, TooComplex> {
    let mut walk = Walk::new();
    for piece in pieces {
        walk.push(piece);
        assert!(walk.held_octets() <= crate::mime::limits::WALK_OCTETS_MAX);
    }
    walk.finish()
}
