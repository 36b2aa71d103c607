//! The decoder of DATA against a naive one that looks at whole lines (SEC-1): they agree on where
//! the content ends, what is in it, and what is wrong with it; what is encoded comes back.

use facteur::wire::{DotDecoder, DotEncoder, LineEnding, Progress};

/// What became of a content.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// It ended after so many octets.
    End(usize),
    /// More has to come.
    More,
    /// A line ending is wrong.
    Fault(&'static str),
}

/// Decodes one content: an octet that chooses the line ending, then the octets.
pub fn run(data: &[u8]) {
    let Some((bits, octets)) = data.split_first() else {
        return;
    };
    let ending = if bits & 1 == 0 {
        LineEnding::CrLf
    } else {
        LineEnding::Lf
    };
    let (lines, expected) = naive(octets, ending);
    for pieces in crate::cuts(octets) {
        let (output, end) = decode(&pieces, ending);
        assert_eq!(end, expected);
        assert!(output.starts_with(&lines));
        if matches!(end, End::End(_)) {
            assert!(output == lines);
        }
    }
    round_trip(&lines);
}

fn decode(pieces: &[&[u8]], ending: LineEnding) -> (Vec<u8>, End) {
    let mut decoder = DotDecoder::new(ending);
    let mut output = Vec::new();
    let mut consumed = 0;
    for piece in pieces {
        let (octets, progress) = decoder.decode(piece, &mut output);
        consumed += octets;
        match progress {
            Progress::End => return (output, End::End(consumed)),
            Progress::Fault(fault) => return (output, End::Fault(fault.found())),
            Progress::More => assert_eq!(octets, piece.len()),
        }
    }
    (output, End::More)
}

/// The whole lines of `octets` with LF endings, dots removed, and what comes after them.
fn naive(octets: &[u8], ending: LineEnding) -> (Vec<u8>, End) {
    let (mut lines, mut line) = (Vec::new(), Vec::new());
    let mut position = 0;
    while position < octets.len() {
        let octet = octets[position];
        position += 1;
        match (ending, octet) {
            (LineEnding::CrLf, b'\n') => {
                let found = "a line feed without a carriage return (bare LF)";
                return (lines, End::Fault(found));
            }
            (LineEnding::CrLf, b'\r') => match octets.get(position) {
                Some(b'\n') => position += 1,
                Some(_) => {
                    let found = "a carriage return without a line feed (bare CR)";
                    return (lines, End::Fault(found));
                }
                None => return (lines, End::More),
            },
            (LineEnding::Lf, b'\r') => {
                let found = "a carriage return where lines end in a line feed alone";
                return (lines, End::Fault(found));
            }
            (LineEnding::Lf, b'\n') => {}
            _ => {
                line.push(octet);
                continue;
            }
        }
        if line == b"." {
            return (lines, End::End(position));
        }
        lines.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        lines.push(b'\n');
        line.clear();
    }
    (lines, End::More)
}

/// Sends `lines` as RETR does and takes them as DATA does.
fn round_trip(lines: &[u8]) {
    let mut encoder = DotEncoder::new();
    let mut wire = Vec::new();
    encoder.encode(lines, &mut wire);
    encoder.finish(&mut wire);
    let (output, end) = decode(&[&wire], LineEnding::CrLf);
    assert_eq!(end, End::End(wire.len()));
    assert!(output == lines);
}
