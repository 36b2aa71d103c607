//! The top of a message: header, blank line, body lines.

use proptest::prelude::*;

use super::{every_cut, wire_octets};
use crate::wire::TopCut;

fn cut(lines: u64, pieces: &[&[u8]]) -> (Vec<u8>, bool) {
    let mut top = TopCut::new(lines);
    let mut out = Vec::new();
    for piece in pieces {
        let was_complete = top.is_complete();
        let octets = top.cut(piece);
        assert!(octets == piece.len() || top.is_complete());
        assert!(
            octets == 0 || !was_complete,
            "nothing belongs to a complete top"
        );
        out.extend_from_slice(&piece[..octets]);
    }
    (out, top.is_complete())
}

/// The model: splits the message into whole lines.
fn naive(lines: u64, message: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::new();
    let mut body_lines = None;
    for line in message.split_inclusive(|octet| *octet == b'\n') {
        out.extend_from_slice(line);
        body_lines = match body_lines {
            None => (line == b"\n" || line == b"\r\n").then_some(0),
            Some(count) if line.ends_with(b"\n") => Some(count + 1),
            Some(count) => Some(count),
        };
        if body_lines == Some(lines) {
            return (out, true);
        }
    }
    (out, false)
}

#[test]
fn the_top_is_the_header_the_blank_line_and_some_lines() {
    for (lines, message, expect, complete) in [
        (0, "A: b\n\nc\nd\n", "A: b\n\n", true),
        (1, "A: b\n\nc\nd\n", "A: b\n\nc\n", true),
        (2, "A: b\n\nc\nd\n", "A: b\n\nc\nd\n", true),
        (3, "A: b\n\nc\nd\n", "A: b\n\nc\nd\n", false),
        (u64::MAX, "A: b\n\nc\nd\n", "A: b\n\nc\nd\n", false),
        (1, "A: b\n\n\n\nc\n", "A: b\n\n\n", true), // a blank line of the body is a line
        (1, "A: b\n\nc", "A: b\n\nc", false),       // ... and so is one without an ending
        (0, "A: b\r\n\r\nc\r\n", "A: b\r\n\r\n", true),
        (1, "A: b\r\n\r\nc\r\nd\r\n", "A: b\r\n\r\nc\r\n", true),
        (0, "\nc\n", "\n", true), // no header
        (1, "\nc\nd\n", "\nc\n", true),
        (0, "A: b\nC: d\n", "A: b\nC: d\n", false), // no body
        (5, "A: b\nC: d", "A: b\nC: d", false),
        (0, "A: b\n \n\nc\n", "A: b\n \n\n", true), // a line of spaces is not blank
        (0, "A: b\n\r\r\n\nc\n", "A: b\n\r\r\n\n", true),
        (0, "A: b\nx\r\n\nc\n", "A: b\nx\r\n\n", true),
        (0, "", "", false),
        (3, "\r", "\r", false),
    ] {
        let expect = (expect.as_bytes().to_vec(), complete);
        assert_eq!(
            naive(lines, message.as_bytes()),
            expect,
            "the model on {message:?}"
        );
        for pieces in every_cut(message.as_bytes()) {
            assert_eq!(
                cut(lines, &pieces),
                expect,
                "{lines} of {message:?} as {pieces:?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn the_cut_agrees_with_the_model_however_the_input_is_cut(
        message in wire_octets(),
        lines in 0_u64..6,
    ) {
        let expect = naive(lines, &message);
        for pieces in every_cut(&message) {
            prop_assert_eq!(&cut(lines, &pieces), &expect, "{:?}", pieces);
        }
    }
}
