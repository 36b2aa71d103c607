//! Tables, properties and naive models of the codecs.
//!
//! Every codec is run over whole inputs, over inputs cut in two at every place, and octet by octet.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "an overflow in a test fails the test"
)]

mod chunk;
mod dot;
mod line;
mod top;

use proptest::{collection::vec, prelude::*};

/// Ways to cut `input` into pieces: not at all, in two at every place, with an empty piece between,
/// octet by octet.
fn every_cut(input: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut cuts = vec![vec![input], input.chunks(1).collect()];
    for at in 0..=input.len() {
        let (first, second) = input.split_at(at);
        cuts.push(vec![first, &[], second]);
    }
    cuts
}

/// Input made mostly of the octets that matter to the codecs, mostly in a valid order.
fn wire_octets() -> impl Strategy<Value = Vec<u8>> {
    let token = prop_oneof![
        4 => Just(&b"\r\n"[..]),
        4 => Just(&b"\n"[..]),
        1 => Just(&b"\r"[..]),
        4 => Just(&b"."[..]),
        2 => Just(&b"a"[..]),
        2 => Just(&b"text of a line"[..]),
        1 => Just(&b"\r\n.\r\n"[..]),
        1 => Just(&b"\0"[..]),
        1 => Just(&b"\xff"[..]),
    ];
    vec(token, 0..24).prop_map(|tokens| tokens.concat())
}

/// Lines without CR or LF, many of them beginning with dots.
fn lines() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let octet = prop_oneof![
        2 => Just(b'.'),
        1 => any::<u8>().prop_filter("line endings", |octet| !matches!(octet, b'\r' | b'\n')),
        3 => b'a'..=b'z',
    ];
    vec(vec(octet, 0..12), 0..12)
}

/// Lines as octets, each followed by `ending`.
fn joined(lines: &[Vec<u8>], ending: &[u8]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| [line.as_slice(), ending].concat())
        .collect()
}
