//! Chunks: line endings across their boundaries.

use proptest::prelude::*;

use super::{every_cut, joined, lines, wire_octets};
use crate::wire::{BareOctets, ChunkDecoder, LineEnding, LineEndingFault};

use BareOctets::{Accept, Refuse};
use LineEnding::{CrLf, Lf};
use LineEndingFault::{BareCr, BareLf, UnexpectedCr};

fn decoded(ending: LineEnding, pieces: &[&[u8]]) -> Result<Vec<u8>, LineEndingFault> {
    decoded_with(ending, Refuse, pieces)
}

fn decoded_with(
    ending: LineEnding,
    bare_octets: BareOctets,
    pieces: &[&[u8]],
) -> Result<Vec<u8>, LineEndingFault> {
    let mut decoder = ChunkDecoder::new(ending, bare_octets);
    let mut out = Vec::new();
    let mut result = Ok(());
    for piece in pieces {
        let before = out.len();
        result = result.and(decoder.decode(piece, &mut out));
        assert!(out.len() - before <= piece.len() + 1);
    }
    let finished = decoder.finish(&mut out);
    assert!(result.is_ok() || result == finished, "a fault is final");
    result.and(finished)?;
    Ok(out)
}

/// The model: replaces CRLF and looks for the remaining bare octets.
fn naive(ending: LineEnding, input: &[u8]) -> Result<Vec<u8>, LineEndingFault> {
    let mut out = Vec::new();
    let mut octets = input.iter().copied();
    while let Some(octet) = octets.next() {
        match (ending, octet) {
            (CrLf, b'\r') if octets.next() == Some(b'\n') => out.push(b'\n'),
            (CrLf, b'\r') => return Err(BareCr),
            (CrLf, b'\n') => return Err(BareLf),
            (Lf, b'\r') => return Err(UnexpectedCr),
            (CrLf | Lf, octet) => out.push(octet),
        }
    }
    if out.last().is_some_and(|octet| *octet != b'\n') {
        out.push(b'\n');
    }
    Ok(out)
}

fn check(ending: LineEnding, input: &str, expect: Result<&str, LineEndingFault>) {
    let expect = expect.map(|content| content.as_bytes().to_vec());
    assert_eq!(
        naive(ending, input.as_bytes()),
        expect,
        "the model on {input:?}"
    );
    for pieces in every_cut(input.as_bytes()) {
        assert_eq!(decoded(ending, &pieces), expect, "{input:?} as {pieces:?}");
    }
}

#[test]
fn chunks_in_crlf_mode() {
    for (input, expect) in [
        ("", Ok("")),
        ("a\r\n", Ok("a\n")),
        ("a", Ok("a\n")), // the missing ending of the last line
        ("a\r\nb", Ok("a\nb\n")),
        ("\r\n", Ok("\n")),
        ("\r\n\r\n", Ok("\n\n")),
        (".\r\n", Ok(".\n")), // no transparency
        ("a\r\n.\r\nb\r\n", Ok("a\n.\nb\n")),
        ("..\r\n", Ok("..\n")),
        ("a\r", Err(BareCr)),
        ("\r", Err(BareCr)),
        ("a\rb", Err(BareCr)),
        ("a\r\r\n", Err(BareCr)),
        ("a\n", Err(BareLf)),
        ("a\r\n\n", Err(BareLf)),
        ("\n", Err(BareLf)),
    ] {
        check(CrLf, input, expect);
    }
}

#[test]
fn accepted_bare_octets() {
    for (input, expect) in [
        ("a\nb\n\nc\r\n", Ok("a\nb\n\nc\n")),
        ("a\n", Ok("a\n")),
        (".\n.\r\n", Ok(".\n.\n")),
        ("a\rb\r\rc", Ok("a\rb\r\rc\n")),
        ("\ra\n", Ok("\ra\n")),
        ("a\r", Err(BareCr)),
        ("a\r\r", Err(BareCr)),
        ("a\r\r\n", Err(BareCr)),
    ] {
        let expect = expect.map(|content| content.as_bytes().to_vec());
        for pieces in every_cut(input.as_bytes()) {
            let found = decoded_with(CrLf, Accept, &pieces);
            assert_eq!(found, expect, "{input:?} as {pieces:?}");
        }
    }
}

#[test]
fn chunks_in_lf_mode() {
    for (input, expect) in [
        ("", Ok("")),
        ("a\n", Ok("a\n")),
        ("a", Ok("a\n")),
        ("\n\n", Ok("\n\n")),
        ("a\n.\nb\n", Ok("a\n.\nb\n")),
        ("\r", Err(UnexpectedCr)),
        ("a\r\n", Err(UnexpectedCr)),
        ("a\nb\rc", Err(UnexpectedCr)),
    ] {
        check(Lf, input, expect);
    }
}

proptest! {
    #[test]
    fn the_decoder_agrees_with_the_model_however_the_input_is_cut(input in wire_octets()) {
        for ending in [CrLf, Lf] {
            let expect = naive(ending, &input);
            for pieces in every_cut(&input) {
                prop_assert_eq!(&decoded(ending, &pieces), &expect, "{:?}", pieces);
            }
        }
    }

    #[test]
    fn lines_are_stored_identically_in_both_modes(lines in lines()) {
        let stored = joined(&lines, b"\n");
        prop_assert_eq!(decoded(CrLf, &[&joined(&lines, b"\r\n")]), Ok(stored.clone()));
        prop_assert_eq!(decoded(Lf, &[&stored]), Ok(stored));
    }
}
