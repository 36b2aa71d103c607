//! Mail for display: the walk finds the same parts however the message is cut, within its memory
//! and within the message, and nothing that reads a part panics.

use facteur::mime::{
    Decoder, Outline, Summary, TooComplex, Walk, extract, html_to_text, limits, to_text,
};

/// Reads one message.
pub fn run(data: &[u8]) {
    let [whole, octets, pieces] = crate::cuts(data).map(|pieces| walk(&pieces));
    assert_eq!(whole, octets);
    assert_eq!(whole, pieces);
    let Ok(outline) = whole else {
        return;
    };
    let summary = Summary::of(&outline);
    assert!(summary.snippet.chars().count() <= limits::SNIPPET_CHARACTERS_MAX);
    drop(outline.fields());
    let n_shown = [outline.text(), outline.html()].concat().len();
    assert!(n_shown <= outline.parts().len());
    for part in outline.parts() {
        let begin = usize::try_from(part.body.offset).expect("small");
        let end = begin + usize::try_from(part.body.octets).expect("small");
        let body = data.get(begin..end).expect("within the message");
        if !part.is_multipart() {
            read(body, part.encoding, part.charset.as_deref());
        }
    }
}

fn walk(pieces: &[&[u8]]) -> Result<Outline, TooComplex> {
    let mut walk = Walk::new();
    for piece in pieces {
        walk.push(piece);
        assert!(walk.held_octets() <= limits::WALK_OCTETS_MAX);
    }
    walk.finish()
}

/// Decodes a body, also cut, and looks for all that can be in it.
fn read(body: &[u8], encoding: facteur::mime::Encoding, charset: Option<&str>) {
    let [whole, octets, pieces] = crate::cuts(body).map(|pieces| {
        let (mut decoder, mut output) = (Decoder::new(encoding), Vec::new());
        for piece in pieces {
            decoder.decode(piece, &mut output);
        }
        decoder.finish(&mut output);
        output
    });
    assert!(whole == octets && whole == pieces);
    assert!(whole.len() <= body.len());
    let text = to_text(&whole, charset);
    drop(extract::links_in_html(&text));
    drop(extract::links(&html_to_text(&text)));
    for code in extract::codes(&text, None) {
        assert!((4..=8).contains(&code.len()));
    }
}
