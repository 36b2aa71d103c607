//! Speed of the codecs in `wire`, on lines of about 70 octets and an occasional line with dots.
//!
//! Run with `cargo bench --bench codecs`; the figures are octets of input per second.

use std::hint::black_box;

use divan::{Bencher, counter::BytesCount};
use facteur::wire::{
    BareOctets, ChunkDecoder, DotDecoder, DotEncoder, LfPolicy, LineBuffer, LineEnding, Scan,
    TopCut,
};

/// Octets per call: a large read.
const READ_OCTETS: usize = 64 * 1024;

fn main() {
    divan::main();
}

/// Text of about [`READ_OCTETS`] octets, its lines ended by `ending`.
fn text(ending: &str) -> Vec<u8> {
    let mut text = Vec::new();
    for number in 0_usize.. {
        if text.len() >= READ_OCTETS {
            break;
        }
        let words = "the quick brown fox jumps over the lazy dog and runs through the wood";
        // Between 62 and 77 octets; one line in a hundred begins with dots.
        let line = words.get(..62).unwrap_or(words);
        let more = "0123456789abcdef".get(..number % 16).unwrap_or_default();
        let dots = if number % 100 == 99 { ".." } else { "" };
        text.extend_from_slice(format!("{dots}{line}{more}{ending}").as_bytes());
    }
    text
}

fn decode(bencher: Bencher<'_, '_>, ending: LineEnding, input: &[u8]) {
    let mut out = Vec::new();
    bencher
        .counter(BytesCount::of_slice(input))
        .bench_local(|| {
            out.clear();
            let mut decoder = DotDecoder::new(ending, BareOctets::Refuse);
            let progress = decoder.decode(black_box(input), &mut out);
            black_box(out.len());
            progress
        });
}

#[divan::bench]
fn dot_decoder_crlf(bencher: Bencher<'_, '_>) {
    decode(bencher, LineEnding::CrLf, &text("\r\n"));
}

#[divan::bench]
fn dot_decoder_lf(bencher: Bencher<'_, '_>) {
    decode(bencher, LineEnding::Lf, &text("\n"));
}

#[divan::bench]
fn chunk_decoder_crlf(bencher: Bencher<'_, '_>) {
    let input = text("\r\n");
    let mut out = Vec::new();
    bencher
        .counter(BytesCount::of_slice(&input))
        .bench_local(|| {
            out.clear();
            let result = ChunkDecoder::new(LineEnding::CrLf, BareOctets::Refuse)
                .decode(black_box(&input), &mut out);
            black_box(out.len());
            result
        });
}

#[divan::bench]
fn dot_encoder(bencher: Bencher<'_, '_>) {
    let input = text("\n");
    let mut out = Vec::new();
    bencher
        .counter(BytesCount::of_slice(&input))
        .bench_local(|| {
            out.clear();
            DotEncoder::new().encode(black_box(&input), &mut out);
            black_box(out.len())
        });
}

#[divan::bench]
fn top_cut(bencher: Bencher<'_, '_>) {
    let input = text("\n");
    bencher
        .counter(BytesCount::of_slice(&input))
        .bench_local(|| TopCut::new(u64::MAX).cut(black_box(&input)));
}

/// Includes the copy into the buffer, which in a real read the kernel makes.
#[divan::bench]
fn line_scan(bencher: Bencher<'_, '_>) {
    let input = text("\r\n");
    let mut buffer = LineBuffer::new(4096, LfPolicy::Refuse);
    bencher
        .counter(BytesCount::of_slice(&input))
        .bench_local(|| {
            for (from, to) in input.iter().zip(buffer.space(input.len())) {
                *to = *from;
            }
            buffer.filled(input.len());
            let mut octets: usize = 0;
            while buffer.scan() == Scan::Line {
                octets = octets.saturating_add(buffer.line().len());
            }
            octets
        });
}
