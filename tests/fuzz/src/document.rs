//! The HTML of a mail as a document: nothing is taken away but addresses of pictures, and in what a
//! browser reads, no frame has an address.

use facteur::{
    mime::to_text,
    page::{Document, Picture, Piece},
};

/// What the first octet chooses from. An empty name stands for none.
const CHARSETS: [&str; 8] = [
    "",
    "utf-8",
    "us-ascii",
    "iso-8859-2",
    "utf-16",
    "utf-7",
    "iso-2022-jp",
    "gb18030",
];

/// Makes a document.
pub fn run(data: &[u8]) {
    let Some((first, html)) = data.split_first() else {
        return;
    };
    let charset = CHARSETS[usize::from(*first) % CHARSETS.len()];
    let pictures = [("a", "image/png"), ("a@b", "image/gif")];
    let pictures = pictures.map(|(id, kind)| Picture::of(id, kind, 3).expect("a picture"));
    let document = Document::of(html, Some(charset), &pictures);
    let mut octets = Vec::new();
    for piece in &document.pieces {
        match piece {
            Piece::Octets(piece) => octets.extend_from_slice(piece),
            Piece::Picture(index) => octets.extend_from_slice([&b"AAEC"[..], b"R0lG"][*index]),
        }
    }
    let name = document.media_type.strip_prefix("text/html; charset=");
    let text = to_text(&octets, name);
    frames_have_no_address(&text);
    if name != Some("utf-8") {
        restored(html, &octets);
    }
}

/// Whether each frame begins with the empty attributes.
fn frames_have_no_address(text: &str) {
    let text = text.to_ascii_lowercase();
    for (at, _) in text.match_indices('<') {
        let tag = &text[at + 1..];
        let frame = tag
            .strip_prefix("iframe")
            .or_else(|| tag.strip_prefix("frame"));
        let ends = ['\t', '\n', '\r', '\x0c', ' ', '/', '>'];
        if let Some(rest) = frame.filter(|rest| rest.starts_with(ends)) {
            assert!(rest.starts_with(" src=\"\" srcdoc=\"\""), "{text}");
        }
    }
}

/// Whether only tags were put in: one for the links, and no other.
fn restored(html: &[u8], octets: &[u8]) {
    let n_tags = |octets: &[u8]| octets.split(|octet| *octet == b'<').count();
    assert_eq!(n_tags(octets), n_tags(html) + 1);
}
