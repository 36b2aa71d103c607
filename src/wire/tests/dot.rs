//! The dot codec: transparency, the end of content, smuggling.

use proptest::{collection::vec, prelude::*};

use super::{every_cut, joined, lines, wire_octets};
use crate::wire::{DotDecoder, DotEncoder, LineEnding, LineEndingFault, Progress};

use LineEnding::{CrLf, Lf};
use LineEndingFault::{BareCr, BareLf, UnexpectedCr};
use Progress::{End, Fault, More};

/// Content, how many octets of the input were used, and how it ended.
type Decoded = (Vec<u8>, usize, Progress);

fn decoded(ending: LineEnding, pieces: &[&[u8]]) -> Decoded {
    let mut decoder = DotDecoder::new(ending);
    let (mut out, mut used, mut progress) = (Vec::new(), 0, More);
    for piece in pieces {
        let before = out.len();
        let (octets, now) = decoder.decode(piece, &mut out);
        assert!(octets <= piece.len() && out.len() - before <= piece.len());
        used += octets;
        progress = now;
        if now != More {
            break;
        }
        assert_eq!(octets, piece.len(), "more is wanted, so all was used");
    }
    let length = out.len();
    if progress != More {
        assert_eq!(
            decoder.decode(b"a\r\n.\r\n", &mut out),
            (0, progress),
            "the end is final"
        );
        assert_eq!(out.len(), length);
    }
    assert_eq!(decoder.decode(b"", &mut out), (0, progress));
    (out, used, progress)
}

/// The model: splits the whole input into lines first.
fn naive(ending: LineEnding, input: &[u8]) -> Decoded {
    let (mut content, mut line, mut at) = (Vec::new(), Vec::new(), 0);
    while at < input.len() {
        let next = input.get(at + 1).copied();
        let ending_octets = match (ending, input[at], next) {
            (CrLf, b'\r', Some(b'\n')) => 2,
            (CrLf, b'\r', None) => break,
            (CrLf, b'\r', Some(_)) => return (content_with(content, &line), at, Fault(BareCr)),
            (CrLf, b'\n', _) => return (content_with(content, &line), at, Fault(BareLf)),
            (Lf, b'\r', _) => return (content_with(content, &line), at, Fault(UnexpectedCr)),
            (Lf, b'\n', _) => 1,
            (_, octet, _) => {
                line.push(octet);
                at += 1;
                continue;
            }
        };
        at += ending_octets;
        if line == b"." {
            return (content, at, End);
        }
        content = content_with(content, &line);
        content.push(b'\n');
        line.clear();
    }
    (content_with(content, &line), input.len(), More)
}

/// Appends a line, whole or not, without its transparency dot.
fn content_with(mut content: Vec<u8>, line: &[u8]) -> Vec<u8> {
    content.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    content
}

fn check(ending: LineEnding, input: &str, content: &str, rest: &str, progress: Progress) {
    for pieces in every_cut(input.as_bytes()) {
        let (found, used, end) = decoded(ending, &pieces);
        let shown = (String::from_utf8_lossy(&found), end);
        assert_eq!(shown, (content.into(), progress), "{input:?} as {pieces:?}");
        // The position of a fault is of no use, but a CR that waits counts as used.
        if !matches!(end, Fault(_)) {
            assert_eq!(
                &input.as_bytes()[used..],
                rest.as_bytes(),
                "{input:?} as {pieces:?}"
            );
        }
    }
}

#[test]
fn content_in_crlf_mode() {
    for (input, content, rest, progress) in [
        (".\r\n", "", "", End),
        (".\r\nQUIT\r\n", "", "QUIT\r\n", End),
        ("a\r\n.\r\n", "a\n", "", End),
        ("a\r\n.\r\n.\r\n", "a\n", ".\r\n", End),
        ("\r\n.\r\n", "\n", "", End),
        ("\r\n\r\n.\r\n", "\n\n", "", End),
        ("a\r\n..\r\n.\r\n", "a\n.\n", "", End),
        ("..\r\n...\r\n....\r\n.\r\n", ".\n..\n...\n", "", End),
        ("..a\r\n.\r\n", ".a\n", "", End),
        (".a\r\n.\r\n", "a\n", "", End), // RFC 5321 §4.5.2: the first dot goes, whatever follows
        ("a.\r\n.\r\n", "a.\n", "", End),
        ("a\r\n. \r\n.\r\n", "a\n \n", "", End),
        ("\0\u{e9}\r\n.\r\n", "\0\u{e9}\n", "", End),
        ("", "", "", More),
        (".", "", "", More),
        (".\r", "", "", More),
        ("a", "a", "", More),
        ("a\r", "a", "", More),
        ("a\r\n", "a\n", "", More),
        ("a\r\n.", "a\n", "", More),
        ("a\r\n.\r", "a\n", "", More),
        ("a\rb", "a", "", Fault(BareCr)),
        ("a\r\r\n", "a", "", Fault(BareCr)),
        ("a\nb", "a", "", Fault(BareLf)),
        ("\n", "", "", Fault(BareLf)),
        (".\n", "", "", Fault(BareLf)),
        (".\rx", "", "", Fault(BareCr)),
        (".\r\r\n", "", "", Fault(BareCr)),
        ("..\n", ".", "", Fault(BareLf)),
        ("a\r\n.\n", "a\n", "", Fault(BareLf)),
        ("a\r\n.\rb\r\n", "a\n", "", Fault(BareCr)),
    ] {
        check(CrLf, input, content, rest, progress);
    }
}

#[test]
fn content_in_lf_mode() {
    for (input, content, rest, progress) in [
        (".\n", "", "", End),
        (".\nQUIT\n", "", "QUIT\n", End),
        ("a\n.\n", "a\n", "", End),
        ("\n.\n", "\n", "", End),
        ("\n\n\n.\n.\n", "\n\n\n", ".\n", End),
        ("a\n..\n.\n", "a\n.\n", "", End),
        (".a\n.\n", "a\n", "", End),
        ("a.\nb\n.\n", "a.\nb\n", "", End),
        ("", "", "", More),
        (".", "", "", More),
        ("a", "a", "", More),
        ("a\n", "a\n", "", More),
        ("a\n.", "a\n", "", More),
        ("\r", "", "", Fault(UnexpectedCr)),
        ("a\r\n", "a", "", Fault(UnexpectedCr)),
        ("a\nb\rc\n", "a\nb", "", Fault(UnexpectedCr)),
        (".\r\n", "", "", Fault(UnexpectedCr)),
        ("a\n.\r\n", "a\n", "", Fault(UnexpectedCr)),
        ("a\n\r", "a\n", "", Fault(UnexpectedCr)),
    ] {
        check(Lf, input, content, rest, progress);
    }
}

/// SEC-1: all 16 combinations of (CR?)(LF?).(CR?)(LF?) inside a message.
#[test]
fn no_mixed_terminator_ends_a_message() {
    for combination in 0..16_u8 {
        let octet = |bit: u8, octet: &'static str| {
            if combination & (1 << bit) == 0 {
                ""
            } else {
                octet
            }
        };
        let before = [octet(0, "\r"), octet(1, "\n")].concat();
        let after = [octet(2, "\r"), octet(3, "\n")].concat();
        let inside = format!("a{before}.{after}b");

        let (content, rest, progress) = match (&*before, &*after) {
            ("\r\n", "\r\n") => ("a\n", "b\r\n.\r\n", End), // the legal one
            ("", "") => ("a.b\n", "", End),
            ("\r\n", "") => ("a\nb\n", "", End),
            ("", "\r\n") => ("a.\nb\n", "", End),
            ("\r", _) => ("a", "", Fault(BareCr)),
            ("\n", _) => ("a", "", Fault(BareLf)),
            ("", "\r") => ("a.", "", Fault(BareCr)),
            ("", "\n") => ("a.", "", Fault(BareLf)),
            ("\r\n", "\r") => ("a\n", "", Fault(BareCr)),
            ("\r\n", "\n") => ("a\n", "", Fault(BareLf)),
            other => panic!("not in the table: {other:?}"),
        };
        check(CrLf, &format!("{inside}\r\n.\r\n"), content, rest, progress);

        let (content, rest, progress) = match (&*before, &*after) {
            ("\n", "\n") => ("a\n", "b\n.\n", End), // the legal one
            ("", "") => ("a.b\n", "", End),
            ("\n", "") => ("a\nb\n", "", End),
            ("", "\n") => ("a.\nb\n", "", End),
            ("\r" | "\r\n", _) => ("a", "", Fault(UnexpectedCr)),
            ("", _) => ("a.", "", Fault(UnexpectedCr)),
            (_, _) => ("a\n", "", Fault(UnexpectedCr)),
        };
        check(Lf, &format!("{inside}\n.\n"), content, rest, progress);
    }
}

fn encoded(pieces: &[&[u8]]) -> Vec<u8> {
    let mut encoder = DotEncoder::new();
    let mut out = Vec::new();
    for piece in pieces {
        let before = out.len();
        encoder.encode(piece, &mut out);
        assert!(out.len() - before <= 2 * piece.len() + 1);
    }
    encoder.finish(&mut out);
    out
}

/// The model: takes the message apart at its LFs.
fn naive_encoded(stored: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut lines: Vec<&[u8]> = stored.split(|octet| *octet == b'\n').collect();
    let unended = lines.pop().filter(|line| !line.is_empty());
    for line in lines
        .iter()
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .chain(unended)
    {
        if line.starts_with(b".") {
            out.push(b'.');
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}

#[test]
fn stored_messages_are_sent_with_crlf_and_dots() {
    for (stored, expect) in [
        ("", ".\r\n"),
        ("a\n", "a\r\n.\r\n"),
        ("a", "a\r\n.\r\n"),
        ("\n", "\r\n.\r\n"),
        ("\n\n", "\r\n\r\n.\r\n"),
        (".", "..\r\n.\r\n"),
        (".\n", "..\r\n.\r\n"),
        ("..\n.a\na.\n", "...\r\n..a\r\na.\r\n.\r\n"),
        ("a\n.\nb", "a\r\n..\r\nb\r\n.\r\n"),
        // What other programs may have stored.
        ("a\r\nb\r\n", "a\r\nb\r\n.\r\n"),
        (".\r\n\r\n.\r\n", "..\r\n\r\n..\r\n.\r\n"),
        ("a\rb\n", "a\rb\r\n.\r\n"),
        ("a\r\r\n", "a\r\r\n.\r\n"),
        ("\r.\n", "\r.\r\n.\r\n"),
        ("a\r", "a\r\r\n.\r\n"),
        ("\r", "\r\r\n.\r\n"),
    ] {
        assert_eq!(
            naive_encoded(stored.as_bytes()),
            expect.as_bytes(),
            "the model on {stored:?}"
        );
        for pieces in every_cut(stored.as_bytes()) {
            assert_eq!(
                encoded(&pieces),
                expect.as_bytes(),
                "{stored:?} as {pieces:?}"
            );
        }
    }
}

#[test]
fn an_encoder_starts_anew_after_the_end() {
    let mut encoder = DotEncoder::default();
    let mut out = Vec::new();
    for message in [&b".a"[..], b"", b".\n"] {
        encoder.encode(message, &mut out);
        encoder.finish(&mut out);
    }
    assert_eq!(out, b"..a\r\n.\r\n.\r\n..\r\n.\r\n");
}

proptest! {
    #[test]
    fn the_decoder_agrees_with_the_model_however_the_input_is_cut(input in wire_octets()) {
        for ending in [CrLf, Lf] {
            let (content, used, progress) = naive(ending, &input);
            for pieces in every_cut(&input) {
                let found = decoded(ending, &pieces);
                prop_assert_eq!((&found.0, found.2), (&content, progress), "{:?}", pieces);
                prop_assert!(found.1 == used || matches!(progress, Fault(_)));
            }
        }
    }

    #[test]
    fn the_encoder_agrees_with_the_model_however_the_input_is_cut(stored in wire_octets()) {
        let expect = naive_encoded(&stored);
        for pieces in every_cut(&stored) {
            prop_assert_eq!(&encoded(&pieces), &expect, "{:?}", pieces);
        }
    }

    #[test]
    fn decoding_gives_back_what_was_encoded(lines in lines(), after in wire_octets()) {
        let stored = joined(&lines, b"\n");
        let sent = encoded(&[&stored]);
        let input = [sent.as_slice(), &after].concat();
        prop_assert_eq!(decoded(CrLf, &[&input]), (stored, sent.len(), End));
    }

    #[test]
    fn what_was_received_is_sent_as_it_came(lines in lines()) {
        let sent = encoded(&[&joined(&lines, b"\n")]);
        let (stored, ..) = decoded(CrLf, &[&sent]);
        prop_assert_eq!(encoded(&[&stored]), sent);
    }

    #[test]
    fn both_modes_store_the_same(lines in lines()) {
        let sent = encoded(&[&joined(&lines, b"\n")]);
        let with_lf: Vec<u8> = sent.iter().copied().filter(|octet| *octet != b'\r').collect();
        let (in_crlf, _, crlf_end) = decoded(CrLf, &[&sent]);
        let (in_lf, _, lf_end) = decoded(Lf, &[&with_lf]);
        prop_assert_eq!((in_crlf, crlf_end), (in_lf, lf_end));
    }

    #[test]
    fn arbitrary_octets_do_not_panic_and_never_store_a_cr(input in vec(any::<u8>(), 0..200)) {
        for ending in [CrLf, Lf] {
            let (content, _, progress) = decoded(ending, &[&input]);
            prop_assert!(!content.contains(&b'\r'));
            prop_assert_eq!((content, progress), {
                let (content, _, progress) = naive(ending, &input);
                (content, progress)
            });
        }
        prop_assert_eq!(encoded(&[&input]), naive_encoded(&input));
    }
}
