//! The decoder of DATA against a naive one that works on whole lines (SEC-1). They agree on where
//! the content ends, what is in it, and what is wrong with it; encoded content decodes to itself.

use facteur::wire::{BareOctets, DotDecoder, DotEncoder, LineEnding, Progress};

/// The result of decoding a content.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// It ended after this many octets.
    End(usize),
    /// It continues.
    More,
    /// It ended after this many octets, and a line ending is wrong.
    Refused(usize, &'static str),
    /// A line ending is wrong, and the end of the content cannot be known.
    Fault(&'static str),
}

const BARE_LF: &str = "a line feed without a carriage return (bare LF)";
const BARE_CR: &str = "a carriage return without a line feed (bare CR)";

/// Decodes one content: one octet that chooses the line ending, then the content.
pub fn run(data: &[u8]) {
    let Some((bits, octets)) = data.split_first() else {
        return;
    };
    let ending = if bits & 1 == 0 {
        LineEnding::CrLf
    } else {
        LineEnding::Lf
    };
    let bare_octets = if bits & 2 == 0 {
        BareOctets::Refuse
    } else {
        BareOctets::Accept
    };
    let (lines, expected) = naive(octets, ending, bare_octets);
    for pieces in crate::cuts(octets) {
        let (output, end) = decode(&pieces, ending, bare_octets);
        assert_eq!(end, expected);
        assert!(output.starts_with(&lines));
        if matches!(end, End::End(_)) {
            assert!(output == lines);
        }
    }
    if matches!(expected, End::End(_)) {
        round_trip(&lines);
    }
}

fn decode(pieces: &[&[u8]], ending: LineEnding, bare_octets: BareOctets) -> (Vec<u8>, End) {
    let mut decoder = DotDecoder::new(ending, bare_octets);
    let mut output = Vec::new();
    let mut consumed = 0;
    for piece in pieces {
        let (octets, progress) = decoder.decode(piece, &mut output);
        consumed += octets;
        match progress {
            Progress::End => return (output, End::End(consumed)),
            Progress::Refused(fault) => return (output, End::Refused(consumed, fault.found())),
            Progress::Fault(fault) => return (output, End::Fault(fault.found())),
            Progress::More => assert_eq!(octets, piece.len()),
        }
    }
    (output, End::More)
}

/// The whole lines of `octets` with LF endings and without stuffed dots, and what follows them.
fn naive(octets: &[u8], ending: LineEnding, bare_octets: BareOctets) -> (Vec<u8>, End) {
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    let (mut position, mut before, mut fault) = (0, ending, None);
    let is_strict = bare_octets == BareOctets::Refuse;
    while position < octets.len() {
        let octet = octets[position];
        position += 1;
        let end = match (ending, octet) {
            (LineEnding::CrLf, b'\r') => match octets.get(position) {
                Some(b'\n') => {
                    position += 1;
                    LineEnding::CrLf
                }
                Some(_) if line == b"." => return (lines, End::Fault(BARE_CR)),
                Some(_) => {
                    fault = fault.or(is_strict.then_some(BARE_CR));
                    line.push(octet);
                    continue;
                }
                None => return (lines, End::More),
            },
            (LineEnding::Lf, b'\r') => {
                let found = "a carriage return where lines end in bare LF";
                return (lines, End::Fault(found));
            }
            (_, b'\n') => LineEnding::Lf,
            _ => {
                line.push(octet);
                continue;
            }
        };
        if line == b"." {
            let end = match fault {
                _ if before != ending || end != ending => End::Fault(BARE_LF),
                Some(found) => End::Refused(position, found),
                None => End::End(position),
            };
            return (lines, end);
        }
        if end == LineEnding::CrLf && line.ends_with(b"\r") {
            fault = fault.or(Some(BARE_CR));
        }
        if end != ending {
            fault = fault.or(is_strict.then_some(BARE_LF));
        }
        let is_stuffed = before == ending || line.starts_with(b"..");
        let text = line.strip_prefix(b".").filter(|_| is_stuffed);
        lines.extend_from_slice(text.unwrap_or(&line));
        lines.push(b'\n');
        line.clear();
        before = end;
    }
    (lines, End::More)
}

/// Sends `lines` as RETR does and receives them as DATA does.
fn round_trip(lines: &[u8]) {
    let mut encoder = DotEncoder::new();
    let mut wire = Vec::new();
    encoder.encode(lines, &mut wire);
    encoder.finish(&mut wire);
    let (output, end) = decode(&[&wire], LineEnding::CrLf, BareOctets::Accept);
    assert_eq!(end, End::End(wire.len()));
    assert!(output == lines);
}
