//! The HTML of a mail.

use proptest::{collection::vec, prelude::*, sample::select};

use crate::page::{
    Document, Picture, Piece,
    limits::{PICTURE_OCTETS_MAX, PICTURES_OCTETS_MAX, PLACES_MAX},
};

const BASE: &str = "<base target=\"_blank\">";
const NO_FRAME: &str = " src=\"\" srcdoc=\"\"";

/// Two pictures, of which the ID of one begins with that of the other.
fn pictures() -> Vec<Picture<'static>> {
    let of = |id, kind| Picture::of(id, kind, 3).unwrap();
    vec![
        of("a", "image/png"),
        of("a@b", "image/gif"),
        of("x y", "image/jpeg"),
        of("a", "image/webp"),
    ]
}

/// The document of `html`, with `[0]` for the first picture.
fn document(html: &[u8], charset: Option<&str>) -> (String, &'static str) {
    let document = Document::of(html, charset, &pictures());
    let pieces = document.pieces.iter().map(|piece| match piece {
        Piece::Octets(octets) => octets.iter().copied().map(char::from).collect(),
        Piece::Picture(index) => format!("[{index}]"),
    });
    (pieces.collect(), document.media_type)
}

#[test]
fn frames_get_no_address_however_they_are_written() {
    for html in [
        "<iframe src=http://x>",
        "<IFRAME/src=http://x>",
        "<iFrame\tsrc=x",
        "<iframe\n\r\x0csrc = x>",
        "<frame src='x'>",
        "<frameset><FRAME/>",
        "<iframe srcdoc=\"&lt;iframe src=x>\">",
        "<iframe =x srcdoc=x>",
        "<iframe\rsrc=x>",
        "<iframe ",
        "<!-- <iframe src=x> -->",
        "<![CDATA[<iframe src=x>]]>",
        "<textarea><iframe src=x></textarea>",
        "<a title='<iframe src=\"' href=\"<iframe src=x>\">",
        "<iframe <iframe <iframe src=x>",
        "<svg><iframe/src=x>",
        "<<iframe src=x>",
        "<img src=cid:<iframe src=x>",
    ] {
        let (document, _) = document(html.as_bytes(), None);
        let lower = html.to_lowercase();
        let frames = lower.match_indices("frame").filter(|(at, _)| {
            let is_frame = lower[..*at].ends_with('<') || lower[..*at].ends_with("<i");
            is_frame && lower[at + 5..].starts_with(['\t', '\n', '\r', '\x0c', ' ', '/', '>'])
        });
        let n_frames = frames.count();
        assert!(n_frames > 0, "{html}");
        assert_eq!(document.matches(NO_FRAME).count(), n_frames, "{document}");
        assert_eq!(document.replace(NO_FRAME, "").replace(BASE, ""), html);
    }
}

#[test]
fn what_is_no_frame_stays_as_it_is() {
    for html in [
        "",
        "text",
        "<iframe",
        "<iframes src=x>",
        "<iframe\0 src=x>",
        "<i frame src=x>",
        "</iframe>",
        "<frameset rows=1>",
        "<img src=http://x>",
        "<a href=http://x target=_self>",
        "<script src=x></script>",
        "a:b cid: cid:c CID:c acid:a x-cid:a cid:a1 cid:a/ cid",
        "\u{fffd}",
    ] {
        let (document, media_type) = document(html.as_bytes(), None);
        let html: String = html.bytes().map(char::from).collect();
        assert_eq!(document, format!("{BASE}{html}"));
        assert_eq!(media_type, "text/html; charset=utf-8");
    }
}

#[test]
fn pictures_of_the_mail_are_put_in() {
    for (html, expected) in [
        ("<img src=cid:a>", "<img src=data:image/png;base64,[0]>"),
        (
            "<img src=\"CID:a@b\">",
            "<img src=\"data:image/gif;base64,[1]\">",
        ),
        ("url(cid:a%40b)", "url(data:image/gif;base64,[1])"),
        ("'cid:x%20y'", "'data:image/jpeg;base64,[2]'"),
        (
            "cid:a?b cid:a#c",
            "data:image/png;base64,[0]?b data:image/png;base64,[0]#c",
        ),
        (
            "cid:a;cid:a",
            "data:image/png;base64,[0];data:image/png;base64,[0]",
        ),
        ("cid:a%", "cid:a%"),
        ("cid:a%4", "cid:a%4"),
        ("cid:%61%", "cid:%61%"),
        ("cid:%61", "data:image/png;base64,[0]"),
    ] {
        let (document, _) = document(html.as_bytes(), None);
        assert_eq!(document, format!("{BASE}{expected}"));
    }
}

#[test]
fn pictures_have_limits() {
    assert!(Picture::of("a", "image/png", PICTURE_OCTETS_MAX).is_some());
    assert!(Picture::of("a", "image/png", PICTURE_OCTETS_MAX + 1).is_none());
    for kind in [
        "image/svg+xml",
        "text/html",
        "image/png;x",
        "",
        "IMAGE/PNG",
        "image/bmp",
    ] {
        assert!(Picture::of("a", kind, 1).is_none(), "{kind}");
    }
    assert!(Picture::of("", "image/png", 1).is_none());
    let n_shown = |octets: u64, n: usize| {
        let picture = Picture::of("a", "image/png", octets).unwrap();
        let document = Document::of("cid:a ".repeat(n).as_bytes(), None, &[picture]);
        let shown = document.pieces.iter();
        shown.filter(|it| matches!(it, Piece::Picture(_))).count()
    };
    let n_large = usize::try_from(PICTURES_OCTETS_MAX / PICTURE_OCTETS_MAX).unwrap();
    assert_eq!(n_shown(PICTURE_OCTETS_MAX, 100), n_large);
    assert_eq!(n_shown(0, 2 * PLACES_MAX), PLACES_MAX);
}

#[test]
fn the_base_does_not_change_the_layout() {
    for (before, after) in [
        ("", "<html>"),
        ("", "x<!DOCTYPE html>"),
        ("<!DOCTYPE html>", "<html>"),
        (
            "<!doctype HTML PUBLIC \"-//W3C//DTD\n HTML 4.01//EN\" 'x'>",
            "\n<p>",
        ),
        (" \r\n\t\x0c<!-- > --><!DocType html>", "<!-- x -->"),
        ("\0 <!DOCTYPE html>", "\0"),
        ("<!--><!DOCTYPE html>", "-->"),
        ("<!---><!DOCTYPE html>", "-->"),
        ("<!--x--!><!DOCTYPE html>", ""),
        ("<!----><!DOCTYPE html>", ""),
        ("<?xml version='1.0'?>\n<!DOCTYPE html>", "<html>"),
        ("<!x><!DOCTYPE html>", "<!DOCTYPE html>"),
        ("<!-- a -->", "</p><!DOCTYPE html>"),
        ("<!-- a -- > <!DOCTYPE html>", ""),
        ("<!DOCTYPE html", ""),
    ] {
        let (document, _) = document(format!("{before}{after}").as_bytes(), None);
        assert_eq!(document, format!("{before}{BASE}{after}"));
    }
    let (marked, media_type) = document(b"\xef\xbb\xbf<!DOCTYPE html>x", Some("iso-8859-1"));
    assert_eq!(marked, format!("\u{ef}\u{bb}\u{bf}<!DOCTYPE html>{BASE}x"));
    assert_eq!(media_type, "text/html; charset=utf-8");
}

#[test]
fn a_browser_cannot_read_another_charset_than_this_room() {
    let frame = format!("{BASE}<iframe{NO_FRAME} src=x>");
    let utf8 = "text/html; charset=utf-8";
    let wide = |text: &str, octets: fn(u16) -> [u8; 2]| -> Vec<u8> {
        text.encode_utf16().flat_map(octets).collect()
    };
    let big = wide("<iframe src=x>", u16::to_be_bytes);
    let little = wide("<iframe src=x>", u16::to_le_bytes);
    let marked_big = wide("\u{feff}<iframe src=x>", u16::to_be_bytes);
    let marked_little = wide("\u{feff}<iframe src=x>", u16::to_le_bytes);
    for (html, charset) in [
        (big.as_slice(), "utf-16be"),
        (little.as_slice(), "UTF-16LE"),
        (marked_big.as_slice(), "utf-8"),
        (marked_little.as_slice(), "windows-1252"),
        (marked_little.as_slice(), ""),
        (b"+ADw-iframe src=x>", "utf-7"),
        (b"<if\x1b(Brame src=x>", "ISO-2022-JP"),
        (b"<if\x1b(J\x72ame src=x>", " csiso2022jp "),
    ] {
        assert_eq!(
            document(html, Some(charset)),
            (frame.clone(), utf8),
            "{charset}"
        );
    }
    for (html, charset, expected) in [
        (&b"x"[..], None, "utf-8"),
        (b"\xc3\xa4", None, "utf-8"),
        (b"\xe4", None, "windows-1252"),
        (b"\xe4", Some("US-ASCII"), "windows-1252"),
        (b"\xe4", Some("utf8"), "utf-8"),
        (b"\xe4", Some("UTF-8"), "utf-8"),
        (b"\xe4", Some("ISO-8859-15"), "iso-8859-15"),
        (b"\x82\xa0", Some("Shift_JIS"), "shift_jis"),
        (b"x", Some("x-user-defined"), "utf-8"),
        (b"x", Some("utf-8; charset=utf-7"), "utf-8"),
    ] {
        let octets: String = html.iter().copied().map(char::from).collect();
        let media_type = format!("text/html; charset={expected}");
        let (document, found) = document(html, charset);
        assert_eq!((document, found), (format!("{BASE}{octets}"), &*media_type));
    }
}

/// What a reader says who looks at every octet by itself.
fn naive(html: &str) -> String {
    let mut out = String::new();
    let mut at = 0;
    while at < html.len() {
        let rest = &html[at..];
        let lower = rest.to_ascii_lowercase();
        let frame = ["<iframe", "<frame"].iter().find(|name| {
            let after = lower.strip_prefix(**name);
            after.is_some_and(|it| it.starts_with(['\t', '\n', '\r', '\x0c', ' ', '/', '>']))
        });
        let is_inside =
            html[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let picture = [("a@b", "gif", "[1]"), ("a", "png", "[0]")]
            .into_iter()
            .find(|(id, ..)| {
                let after = lower.strip_prefix("cid:").filter(|_| !is_inside);
                let after = after.and_then(|_| rest[4..].strip_prefix(id));
                after.is_some_and(|it| {
                    it.is_empty() || it.starts_with([' ', '\r', '"', '>', '<', ':', '\0'])
                })
            });
        if let Some(name) = frame {
            out += &rest[..name.len()];
            out += NO_FRAME;
            at += name.len();
        } else if let Some((id, kind, index)) = picture {
            out += &["data:image/", kind, ";base64,", index].concat();
            at += 4 + id.len();
        } else {
            out += &rest[..1];
            at += 1;
        }
    }
    out
}

proptest! {
    #[test]
    fn the_same_is_changed_as_by_a_naive_reader(
        pieces in vec(select(vec![
            "<", "i", "frame", "<iframe", "<FRAME", " ", "/", ">", "\r", "\0", "\"", "src=", "cid",
            "CID:", ":", "cid:a", "a", "@b", "cid:a@b", "<!--", "-->", "-",
        ]), 0..24),
    ) {
        // Text in front, so that the base has its place there.
        let html = pieces.concat();
        let (document, _) = document(format!(".{html}").as_bytes(), None);
        prop_assert_eq!(document, naive(&format!("{BASE}.{html}")));
    }

    /// Whatever octets there are, in whatever charset: each frame in the document is one without
    /// an address, and there is no tag that is not ours or the mail's.
    #[test]
    fn no_frame_keeps_its_address(
        mut html in vec(prop_oneof![
            Just(b"<iframe ".to_vec()),
            Just(b"<frame/".to_vec()),
            Just(b"<!DOCTYPE html>".to_vec()),
            Just(b"cid:a".to_vec()),
            Just(b"\x1b(B".to_vec()),
            vec(any::<u8>(), 0..4),
        ], 0..12).prop_map(|it| it.concat()),
        mark in select(vec![&b""[..], b"\xff\xfe", b"\xfe\xff", b"\xef\xbb\xbf"]),
        charset in select(vec![
            "", "utf-8", "utf-7", "utf-16", "iso-2022-jp", "gbk", "big5", "cp850", "unknown",
        ]),
    ) {
        html.splice(0..0, mark.iter().copied());
        let (document, media_type) = document(&html, Some(charset));
        prop_assert!(media_type.starts_with("text/html; charset="));
        for (at, _) in document.match_indices('<') {
            let lower = document[at..].to_ascii_lowercase();
            for name in ["<iframe", "<frame"] {
                let after = lower.strip_prefix(name);
                let is_frame = |it: &&str| {
                    it.starts_with(['\t', '\n', '\r', '\x0c', ' ', '/', '>'])
                };
                if let Some(after) = after.filter(is_frame) {
                    prop_assert!(after.starts_with(NO_FRAME), "{}", document);
                }
            }
        }
        prop_assert_eq!(document.matches(BASE).count(), 1);
        if media_type != "text/html; charset=utf-8" {
            let n_tags = html.split(|it| *it == b'<').count();
            prop_assert_eq!(document.matches('<').count(), n_tags);
        }
    }
}
