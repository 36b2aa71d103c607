//! The dot codec: transparency, the end of content, smuggling.

use proptest::{collection::vec, prelude::*};

use super::{every_cut, joined, lines, wire_octets};
use crate::wire::{BareOctets, DotDecoder, DotEncoder, LineEnding, LineEndingFault, Progress};

use BareOctets::{Accept, Refuse};
use LineEnding::{CrLf, Lf};
use LineEndingFault::{BareCr, BareLf, UnexpectedCr};
use Progress::{End, Fault, More, Refused};

/// The content, how many octets of the input were used, and how it ended.
type Decoded = (Vec<u8>, usize, Progress);

fn decoded(ending: LineEnding, pieces: &[&[u8]]) -> Decoded {
    decoded_with(ending, Refuse, pieces)
}

fn decoded_with(ending: LineEnding, bare_octets: BareOctets, pieces: &[&[u8]]) -> Decoded {
    let mut decoder = DotDecoder::new(ending, bare_octets);
    let (mut out, mut used, mut progress) = (Vec::new(), 0, More);
    for piece in pieces {
        let before = out.len();
        let (octets, now) = decoder.decode(piece, &mut out);
        assert!(octets <= piece.len() && out.len() - before <= piece.len() + 2);
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
    if let Refused(fault) = progress {
        assert_eq!(decoder.fault(), Some(fault));
    }
    (out, used, progress)
}

/// The model: finds the line endings first, then looks at whole lines.
fn naive(ending: LineEnding, bare_octets: BareOctets, input: &[u8]) -> Decoded {
    let (mut content, mut line, mut at) = (Vec::new(), Vec::new(), 0);
    // The ending of the line before.
    let mut before = ending;
    let mut fault = None;
    let note = |fault: &mut Option<LineEndingFault>, found| {
        if bare_octets == Refuse {
            fault.get_or_insert(found);
        }
    };
    while at < input.len() {
        let next = input.get(at + 1).copied();
        let (end, octets) = match (ending, input[at], next) {
            (CrLf, b'\r', Some(b'\n')) => (CrLf, 2),
            // It might be the first octet of CRLF.
            (CrLf, b'\r', None) => break,
            (CrLf, b'\r', Some(_)) if line == b"." => return (content, at, Fault(BareCr)),
            (CrLf, b'\r', Some(_)) => {
                note(&mut fault, BareCr);
                line.push(b'\r');
                at += 1;
                continue;
            }
            (Lf, b'\r', _) => {
                return (
                    content_with(content, before, ending, &line),
                    at,
                    Fault(UnexpectedCr),
                );
            }
            (_, b'\n', _) => (Lf, 1),
            (_, octet, _) => {
                line.push(octet);
                at += 1;
                continue;
            }
        };
        if line == b"." {
            return match (before == ending && end == ending, fault) {
                (true, None) => (content, at + octets, End),
                (true, Some(fault)) => (content, at + octets, Refused(fault)),
                (false, _) => (content, at, Fault(BareLf)),
            };
        }
        if end == CrLf && line.last() == Some(&b'\r') {
            fault.get_or_insert(BareCr);
        }
        if end != ending {
            note(&mut fault, BareLf);
        }
        at += octets;
        content = content_with(content, before, ending, &line);
        content.push(b'\n');
        line.clear();
        before = end;
    }
    // A lone dot might still be the end.
    if line == b"." {
        line.clear();
    }
    (
        content_with(content, before, ending, &line),
        input.len(),
        More,
    )
}

/// Appends a line, whole or not, without its transparency dot.
fn content_with(
    mut content: Vec<u8>,
    before: LineEnding,
    ending: LineEnding,
    line: &[u8],
) -> Vec<u8> {
    let is_stuffed = before == ending || line.starts_with(b"..");
    let text = line.strip_prefix(b".").filter(|_| is_stuffed);
    content.extend_from_slice(text.unwrap_or(line));
    content
}

fn check(ending: LineEnding, input: &str, content: &str, rest: &str, progress: Progress) {
    check_with((ending, Refuse), input, content, rest, progress);
}

fn check_with(
    (ending, bare_octets): (LineEnding, BareOctets),
    input: &str,
    content: &str,
    rest: &str,
    progress: Progress,
) {
    for pieces in every_cut(input.as_bytes()) {
        let (found, used, end) = decoded_with(ending, bare_octets, &pieces);
        let shown = (String::from_utf8_lossy(&found), end);
        // Refused content is not kept.
        let expected = if matches!(progress, Refused(_)) {
            shown.0.clone()
        } else {
            content.into()
        };
        assert_eq!(shown, (expected, progress), "{input:?} as {pieces:?}");
        // The position of a fault does not matter, but a CR that waits counts as used.
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
        (".a\r\n.\r\n", "a\n", "", End), // RFC 5321 §4.5.2: the first dot is removed
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
        ("a\rb\r\n.\r\nQUIT", "", "QUIT", Refused(BareCr)),
        ("a\r\r\n.\r\n", "", "", Refused(BareCr)),
        ("a\nb\r\n.\r\nQUIT", "", "QUIT", Refused(BareLf)),
        ("\n\rb\r\n.\r\n", "", "", Refused(BareLf)),
        ("a\n.b\r\n.\r\n", "", "", Refused(BareLf)),
        (".\n", "", "", Fault(BareLf)),
        (".\rx", "", "", Fault(BareCr)),
        (".\r\r\n", "", "", Fault(BareCr)),
        ("a\r\n.\n", "a\n", "", Fault(BareLf)),
        ("a\r\n.\rb\r\n", "a\n", "", Fault(BareCr)),
        ("a\n.\r\n", "a\n", "", Fault(BareLf)),
        ("a\n.\n", "a\n", "", Fault(BareLf)),
        ("a\n.\rb", "a\n", "", Fault(BareCr)),
    ] {
        check(CrLf, input, content, rest, progress);
    }
}

#[test]
fn accepted_bare_octets() {
    for (input, content, rest, progress) in [
        ("a\nb\n\nc\r\n.\r\nQUIT", "a\nb\n\nc\n", "QUIT", End),
        ("\n\r\n\n.\r\n", "\n\n\n", "", Fault(BareLf)),
        ("\n\r\n.\r\n", "\n\n", "", End),
        // A dot behind a bare LF means a dot, doubled or not.
        ("a\n..\nb\r\n.\r\n", "a\n.\nb\n", "", End),
        ("a\n.b\n..c\n...d\r\n.\r\n", "a\n.b\n.c\n..d\n", "", End),
        ("a\r\n.b\n.c\r\n.d\r\n.\r\n", "a\nb\n.c\nd\n", "", End),
        ("a\n.\rb", "a\n", "", Fault(BareCr)),
        ("a\n.\r\n", "a\n", "", Fault(BareLf)),
        ("a\n.\n", "a\n", "", Fault(BareLf)),
        ("a\r\n.\n", "a\n", "", Fault(BareLf)),
        // A bare CR stays if it can be given back.
        ("a\rb\r\rc\r\n.\r\n", "a\rb\r\rc\n", "", End),
        ("\ra\r\n.\r\n", "\ra\n", "", End),
        ("a\n\rb\r\n.\r\n", "a\n\rb\n", "", End),
        ("a\r.\r\n.\r\n", "a\r.\n", "", End),
        ("a\r\r\n.\r\nQUIT", "", "QUIT", Refused(BareCr)),
        ("\r\r\n.\r\n", "", "", Refused(BareCr)),
        ("a\n", "a\n", "", More),
        ("a\n.", "a\n", "", More),
        ("a\n.\r", "a\n", "", More),
        ("a\r", "a", "", More),
        ("a\r\r", "a\r", "", More),
    ] {
        check_with((CrLf, Accept), input, content, rest, progress);
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
            ("\r\n", "\r\n") => ("a\n", "b\r\n.\r\n", End), // the valid terminator
            ("", "") => ("a.b\n", "", End),
            ("\r\n", "") => ("a\nb\n", "", End),
            ("", "\r\n") => ("a.\nb\n", "", End),
            ("\r", _) | ("", "\r") => ("", "", Refused(BareCr)),
            ("\n", "") | ("", "\n") => ("", "", Refused(BareLf)),
            ("\r\n" | "\n", "\r") => ("a\n", "", Fault(BareCr)),
            ("\r\n" | "\n", _) => ("a\n", "", Fault(BareLf)),
            other => panic!("not in the table: {other:?}"),
        };
        check(CrLf, &format!("{inside}\r\n.\r\n"), content, rest, progress);

        // Where bare octets are accepted it is one message, or it is refused in the same places.
        let (content, rest, progress) = match (&*before, &*after) {
            ("\r\n", "\r\n") => ("a\n", "b\r\n.\r\n", End), // the valid terminator
            ("", "") => ("a.b\n", "", End),
            ("\r\n", "") => ("a\nb\n", "", End),
            ("", "\r\n" | "\n") => ("a.\nb\n", "", End),
            ("", "\r") => ("a.\rb\n", "", End),
            ("\r", "") => ("a\r.b\n", "", End),
            ("\r", "\r") => ("a\r.\rb\n", "", End),
            ("\r", _) => ("a\r.\nb\n", "", End),
            ("\n", "") => ("a\n.b\n", "", End),
            ("\r\n" | "\n", "\r") => ("a\n", "", Fault(BareCr)),
            ("\r\n" | "\n", _) => ("a\n", "", Fault(BareLf)),
            other => panic!("not in the table: {other:?}"),
        };
        let whole = format!("{inside}\r\n.\r\n");
        check_with((CrLf, Accept), &whole, content, rest, progress);

        let (content, rest, progress) = match (&*before, &*after) {
            ("\n", "\n") => ("a\n", "b\n.\n", End), // the valid terminator
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

/// The model: splits the message at its LFs.
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
        // What other programs might have stored.
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
fn an_encoder_starts_over_after_the_end() {
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
        for (ending, bare_octets) in [(CrLf, Refuse), (CrLf, Accept), (Lf, Refuse)] {
            let (content, used, progress) = naive(ending, bare_octets, &input);
            for pieces in every_cut(&input) {
                let found = decoded_with(ending, bare_octets, &pieces);
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
    fn received_content_is_sent_as_it_came(lines in lines()) {
        let sent = encoded(&[&joined(&lines, b"\n")]);
        let (stored, ..) = decoded(CrLf, &[&sent]);
        prop_assert_eq!(encoded(&[&stored]), sent);
    }

    /// Except for a bare LF, which comes back as CRLF.
    #[test]
    fn accepted_content_comes_back(input in wire_octets()) {
        let input = [input.as_slice(), b"\r\n.\r\n"].concat();
        let (stored, used, progress) = decoded_with(CrLf, Accept, &[&input]);
        let taken = &input[..used];
        let is_exact = !taken.windows(2).any(|pair| pair[1] == b'\n' && pair[0] != b'\r')
            && !taken.starts_with(b"\n");
        // A single dot that begins a line is removed and not restored.
        let lines = taken.split(|octet| *octet == b'\n');
        let is_stuffed = lines.into_iter().all(|line| !line.starts_with(b".")
            || line.starts_with(b"..") || line == b".\r");
        if progress == End && is_exact && is_stuffed {
            prop_assert_eq!(encoded(&[&stored]), taken);
        }
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
    fn arbitrary_octets_do_not_panic_and_are_stored_without_a_cr(
        input in vec(any::<u8>(), 0..200),
    ) {
        for ending in [CrLf, Lf] {
            let (content, _, progress) = decoded(ending, &[&input]);
            prop_assert!(progress != End || !content.contains(&b'\r'));
            prop_assert_eq!((content, progress), {
                let (content, _, progress) = naive(ending, Refuse, &input);
                (content, progress)
            });
        }
        prop_assert_eq!(encoded(&[&input]), naive_encoded(&input));
    }
}
