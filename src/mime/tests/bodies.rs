//! Transfer encodings and charsets.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::{collection::vec, prelude::*};

use crate::mime::{Decoder, Encoding, decode, to_text};

use Encoding::{Base64, Identity, QuotedPrintable};

/// Checks the decoded form of `input`, whole and in all ways to cut it in two or into octets.
fn check(encoding: Encoding, input: &[u8], expected: &[u8]) {
    assert_eq!(decode(input, encoding), expected, "of {input:?}");
    let mut cuts: Vec<Vec<&[u8]>> = vec![input.chunks(1).collect()];
    cuts.extend((0..=input.len()).map(|at| {
        let (first, second) = input.split_at(at);
        vec![first, second]
    }));
    for pieces in cuts {
        let (mut decoder, mut output) = (Decoder::new(encoding), Vec::new());
        for piece in pieces {
            decoder.decode(piece, &mut output);
        }
        decoder.finish(&mut output);
        assert_eq!(output, expected, "of {input:?}");
    }
}

#[test]
fn base64_is_decoded_whatever_is_between() {
    check(Base64, b"", b"");
    check(Base64, b"YQ==", b"a");
    check(Base64, b"YWI=\r\n", b"ab");
    check(Base64, b"YW\r\nJj\r\n", b"abc");
    check(Base64, b"YWI", b"ab");
    check(Base64, b"YWJjZ", b"abc");
    check(Base64, b"Y!W I*=", b"ab");
    check(Base64, b"YQ==YmM=", b"abc");
    check(Base64, b"+/+/", b"\xfb\xff\xbf");
}

#[test]
fn quoted_printable_is_decoded_and_what_is_none_is_kept() {
    check(QuotedPrintable, b"a=3Db=c3=BC\r\nc", b"a=b\xc3\xbc\r\nc");
    check(
        QuotedPrintable,
        b"soft=\r\nbreak=\n!= \t\r\n?",
        b"softbreak!?",
    );
    check(
        QuotedPrintable,
        b"blanks \t\r\nand \nat the end ",
        b"blanks\r\nand\nat the end",
    );
    check(QuotedPrintable, b"a  b\tc", b"a  b\tc");
    check(QuotedPrintable, b"=XY =4G ==3D =4", b"=XY =4G == =4");
    check(QuotedPrintable, b"=4", b"=4");
    check(QuotedPrintable, b"= x\rx\r\r\n", b"= x\rx\r\n");
    check(QuotedPrintable, b"=20 \n=", b" \n");
    let long = [b' '; 1_000];
    check(
        QuotedPrintable,
        &[&long[..], b"x"].concat(),
        &[&long[..], b"x"].concat(),
    );
    check(Identity, b"=3D\xff", b"=3D\xff");
}

#[test]
fn charsets_are_decoded() {
    let check = |octets: &[u8], charset: Option<&str>, expected: &str| {
        assert_eq!(to_text(octets, charset), expected, "{charset:?}");
    };
    for charset in [
        None,
        Some(""),
        Some("us-ascii"),
        Some("unknown-8bit"),
        Some("x-none"),
    ] {
        check("\u{fc}".as_bytes(), charset, "\u{fc}");
        check(b"\xfc\x80", charset, "\u{fc}\u{20ac}");
    }
    check(b"a\xffb", Some("UTF-8"), "a\u{fffd}b");
    check(b"\xfc", Some(" ISO-8859-1 "), "\u{fc}");
    check(b"\xa4", Some("iso-8859-15"), "\u{20ac}");
    check(b"\xff\xfea\0", Some("utf-16"), "a");
    check(b"\0a", Some("UTF-16BE"), "a");
    check(b"\xc4\xe3\xba\xc3", Some("gb2312"), "\u{4f60}\u{597d}");
    check(b"\x82\xa0", Some("Shift_JIS"), "\u{3042}");
    check(b"\x1b$B$\"\x1b(B", Some("iso-2022-jp"), "\u{3042}");
}

proptest! {
    /// What an encoder makes of any octets is decoded to the same.
    #[test]
    fn encoded_octets_come_back(octets in vec(any::<u8>(), 0..40)) {
        let quoted = octets.iter().fold(String::new(), |quoted, octet| {
            quoted + &format!("={octet:02X}")
        });
        check(QuotedPrintable, quoted.as_bytes(), &octets);
        check(Base64, STANDARD.encode(&octets).as_bytes(), &octets);
    }

    #[test]
    fn no_octets_are_refused(octets in vec(any::<u8>(), 0..60), name in "[a-z0-9-]{0,12}") {
        const CHARSETS: [&str; 9] = [
            "utf-8", "utf-7", "utf-16", "gb2312", "big5", "iso-2022-jp", "euc-kr", "shift_jis",
            "windows-1258",
        ];
        for charset in CHARSETS.into_iter().chain([name.as_str()]) {
            to_text(&octets, Some(charset));
        }
        for encoding in [Base64, QuotedPrintable, Identity] {
            let output = decode(&octets, encoding);
            prop_assert!(output.len() <= octets.len());
            check(encoding, &octets, &output);
        }
    }
}
