//! The walk: where parts are, its limits, its memory.

use std::{fmt::Write as _, thread};

use proptest::{collection::vec, prelude::*};

use super::{outline, walked};
use crate::mime::{TooComplex, Walk, limits};

/// One line for each part: its id, its type, the lines of its body, and its body.
fn shown(message: &str) -> String {
    let outline = outline(message.as_bytes());
    let mut shown = String::new();
    for part in outline.parts() {
        let begin = usize::try_from(part.body.offset).unwrap();
        let end = begin + usize::try_from(part.body.octets).unwrap();
        let body = message.get(begin..end).unwrap();
        let (id, kind, lines) = (&part.id, &part.content_type, part.lines);
        if part.is_multipart() {
            writeln!(shown, "{id} {kind}").unwrap();
        } else {
            writeln!(shown, "{id} {kind} {lines} {body:?}").unwrap();
        }
        let end = part.header.offset + part.header.octets;
        assert!(end <= part.body.offset, "{part:?}");
    }
    shown
}

/// Checks a message with LF line endings, and then with CRLF.
fn check(message: &str, expected: &str) {
    assert_eq!(shown(message), expected, "of {message:?}");
    let with_crlf = expected.replace("\\n", "\\r\\n");
    assert_eq!(shown(&message.replace('\n', "\r\n")), with_crlf);
}

const MIXED: &str = "Content-Type: multipart/mixed; boundary=a\n\n";

/// A message of one multipart with the boundary `a`.
fn check_mixed(body: &str, expected: &str) {
    let expected = format!("0 multipart/mixed\n{expected}");
    check(&[MIXED, body].concat(), &expected);
}

#[test]
fn a_message_without_parts_is_one() {
    check("", "0 text/plain 0 \"\"\n");
    check("\n", "0 text/plain 0 \"\"\n");
    check("a: b", "0 text/plain 0 \"\"\n");
    check("a: b\n", "0 text/plain 0 \"\"\n");
    check("a: b\n\n", "0 text/plain 0 \"\"\n");
    check("a: b\n\nx\ny\n", "0 text/plain 2 \"x\\ny\\n\"\n");
    check("a: b\n\nx\ny", "0 text/plain 2 \"x\\ny\"\n");
    check("a: b\n\n\n", "0 text/plain 1 \"\\n\"\n");
    check("Content-Type: image/PNG\n\nx", "0 image/png 1 \"x\"\n");
    check("Content-Type: none\n\nx", "0 text/plain 1 \"x\"\n");
}

#[test]
fn a_line_that_is_no_field_begins_the_body() {
    check(
        "a: b\nno field\n: x\n",
        "0 text/plain 2 \"no field\\n: x\\n\"\n",
    );
    check(
        "no field: x\n\ny",
        "0 text/plain 3 \"no field: x\\n\\ny\"\n",
    );
    check("From x\na: b\n\ny", "0 text/plain 1 \"y\"\n");
    check("a: b\nFrom x\n\ny", "0 text/plain 3 \"From x\\n\\ny\"\n");
    check(" a\n\nx", "0 text/plain 1 \"x\"\n");
    check("a: b\n \t\n\nx", "0 text/plain 1 \"x\"\n");
    check_mixed("--a\nno field\n--a--\n", "1 text/plain 1 \"no field\"\n");
}

#[test]
fn delimiters_separate_parts() {
    check_mixed(
        "preamble\n--a\n\none\n--a\nb: c\n\ntwo\nlines\n--a--\nepilogue\n",
        "1 text/plain 1 \"one\"\n2 text/plain 2 \"two\\nlines\"\n",
    );
    // The line ending before a delimiter belongs to it.
    check_mixed("--a\n\none\n\n--a--", "1 text/plain 1 \"one\\n\"\n");
    check_mixed("--a\n\n\n--a--", "1 text/plain 0 \"\"\n");
    check_mixed("--a\n\n--a--", "1 text/plain 0 \"\"\n");
    check_mixed("--a\nb: c\n--a--", "1 text/plain 0 \"\"\n");
    // White space behind a delimiter, but nothing else.
    check_mixed("--a \t\n\none\n--a-- \nx", "1 text/plain 1 \"one\"\n");
    check_mixed(
        "--a\n\n --a\n--ax\n--a-\n--a--x\n--\n-- \n--a--",
        "1 text/plain 6 \" --a\\n--ax\\n--a-\\n--a--x\\n--\\n-- \"\n",
    );
}

#[test]
fn broken_multiparts_are_read_as_far_as_possible() {
    check_mixed("", "");
    check_mixed("only a preamble\n", "");
    check_mixed("--a--\n--a\n\nnothing\n", "");
    check_mixed("--a\n\nno end\n", "1 text/plain 1 \"no end\"\n");
    check_mixed("--a", "1 text/plain 0 \"\"\n");
    check_mixed("--a\n--a\n\none\n--a\n--a--", "1 text/plain 1 \"one\"\n");
    check(
        "Content-Type: multipart/mixed\n\n--a\n",
        "0 multipart/mixed\n",
    );
    check(
        "Content-Type: multipart/mixed; boundary=\"\"\n\n--\n",
        "0 multipart/mixed\n",
    );
    check(
        "Content-Type: text/plain; boundary=a\n\n--a",
        "0 text/plain 1 \"--a\"\n",
    );
}

#[test]
fn multiparts_are_nested() {
    let inner = "--a\nContent-Type: multipart/alternative; boundary=\"ab\"\n\n";
    check_mixed(
        &format!("{inner}--ab\n\none\n--ab\n\ntwo\n--ab--\n\n--a\n\nthree\n--a--"),
        "1.0 multipart/alternative\n\
         1.1 text/plain 1 \"one\"\n1.2 text/plain 1 \"two\"\n2 text/plain 1 \"three\"\n",
    );
    // The outer delimiter ends the inner multipart.
    check_mixed(
        &format!("{inner}--ab\n\none\n--a\n\nthree\n--ab\n--a--"),
        "1.0 multipart/alternative\n\
         1.1 text/plain 1 \"one\"\n2 text/plain 2 \"three\\n--ab\"\n",
    );
    check_mixed(
        &format!("{inner}--ab\n--a\n\nthree\n"),
        "1.0 multipart/alternative\n1.1 text/plain 0 \"\"\n2 text/plain 1 \"three\"\n",
    );
    // A boundary that is open already is the outer one.
    check_mixed(
        "--a\nContent-Type: multipart/mixed; boundary=a\n\n--a\n\none\n--a--\n",
        "1.0 multipart/mixed\n2 text/plain 1 \"one\"\n",
    );
    let digest = "Content-Type: multipart/digest; boundary=a\n\n--a\n\na: b\n\nx\n--a--\n";
    check(
        digest,
        "0 multipart/digest\n1 message/rfc822 3 \"a: b\\n\\nx\"\n",
    );
}

#[test]
fn messages_are_not_walked_into() {
    check_mixed(
        "--a\nContent-Type: message/rfc822\n\n\
         Content-Type: multipart/mixed; boundary=b\n\n--b\n\nx\n--b--\n--a--\n",
        "1 message/rfc822 6 \"Content-Type: multipart/mixed; boundary=b\\n\\n--b\\n\\nx\\n--b--\"
",
    );
}

#[test]
fn long_lines_and_header_sections_are_cut() {
    let padded = format!(
        "--a{}\n\nx\n--a--",
        " ".repeat(limits::DELIMITER_OCTETS_MAX - 3)
    );
    check_mixed(&padded, "1 text/plain 1 \"x\"\n");
    check_mixed(&padded.replacen("--a", "--a ", 1), "");
    let long = format!(
        "Subject: {}\nb: c\n\nx",
        "x".repeat(3 * limits::HEADER_OCTETS_MAX)
    );
    for piece in [1_000, long.len()] {
        let pieces: Vec<&[u8]> = long.as_bytes().chunks(piece).collect();
        let outline = walked(&pieces).unwrap();
        assert_eq!(outline.parts()[0].body.octets, 1);
        assert!(outline.fields().is_empty());
    }
    let many = format!("Content-Type: text/html\n{}\nx", "a: b\n".repeat(20_000));
    let outline = walked(&[many.as_bytes()]).unwrap();
    assert_eq!(outline.parts()[0].content_type, "text/html");
    assert!((13_000..20_000).contains(&outline.fields().len()));
}

#[test]
fn text_of_the_refusal() {
    assert_eq!(TooComplex.to_string(), "too complex to show: download it");
}

/// Runs `test` where a session would: on a small stack.
fn on_a_small_stack(test: impl FnOnce() + Send + 'static) {
    let thread = thread::Builder::new().stack_size(256 * 1_024).spawn(test);
    thread.unwrap().join().unwrap();
}

/// Pushes a message in pieces of 64 KiB, and checks the memory after each.
fn pushed(mut next: impl FnMut() -> Option<Vec<u8>>) -> Walk {
    let (mut walk, mut buffer) = (Walk::new(), Vec::new());
    loop {
        let piece = next();
        let is_end = piece.is_none();
        buffer.extend(piece.unwrap_or_default());
        if is_end || buffer.len() >= 64 * 1_024 {
            walk.push(&buffer);
            buffer.clear();
            assert!(walk.held_octets() <= limits::WALK_OCTETS_MAX);
        }
        if is_end {
            return walk;
        }
    }
}

#[test]
fn a_million_nested_parts_are_too_complex() {
    on_a_small_stack(|| {
        let mut numbers = 0..1_000_000;
        let walk = pushed(|| {
            let n = numbers.next()?;
            let begin = format!("Content-Type: multipart/mixed; boundary={n}\n\n--{n}\n");
            Some(begin.into_bytes())
        });
        assert!(walk.is_too_complex());
        assert_eq!(walk.finish(), Err(TooComplex));
    });
}

#[test]
fn parts_and_depth_have_limits() {
    let nested = |depth: usize| {
        let mut message = String::new();
        for n in 0..depth {
            write!(
                message,
                "Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n"
            )
            .unwrap();
        }
        walked(&[message.as_bytes()]).map(|outline| outline.parts().len())
    };
    assert_eq!(nested(limits::DEPTH_MAX), Ok(limits::DEPTH_MAX + 1));
    assert_eq!(nested(limits::DEPTH_MAX + 1), Err(TooComplex));
    let flat = |n_parts: usize| {
        let message = [MIXED, &"--a\n\n".repeat(n_parts)].concat();
        walked(&[message.as_bytes()]).map(|outline| outline.parts().len())
    };
    assert_eq!(flat(limits::PARTS_MAX - 1), Ok(limits::PARTS_MAX));
    assert_eq!(flat(limits::PARTS_MAX), Err(TooComplex));
    on_a_small_stack(move || assert_eq!(flat(10_000), Err(TooComplex)));
}

#[test]
fn nested_messages_are_one_part() {
    on_a_small_stack(|| {
        let message = "Content-Type: message/rfc822\r\n\r\n".repeat(121_000 / 32);
        let outline = walked(&[message.as_bytes()]).unwrap();
        assert_eq!(outline.parts().len(), 1);
        assert_eq!(outline.attachments().len(), 1);
    });
}

#[test]
fn a_large_body_takes_no_memory() {
    for (line, n_pieces) in [(&b"x"[..], 512), (b"--b49 \n", 64)] {
        on_a_small_stack(move || {
            let mut begin = (0..limits::DEPTH_MAX - 1).map(|n| {
                format!("Content-Type: multipart/mixed; boundary=b{n:02}\n\n--b{n:02}\n")
                    .into_bytes()
            });
            let mut left = n_pieces + 1;
            let body = line.repeat(64 * 1_024 / line.len());
            let walk = pushed(|| {
                begin.next().or_else(|| {
                    left -= 1;
                    (left > 0).then(|| body.clone())
                })
            });
            let outline = walk.finish().unwrap();
            assert_eq!(outline.parts().len(), limits::DEPTH_MAX);
        });
    }
}

#[test]
fn long_descriptions_of_many_parts_fit_into_the_memory() {
    let long = "x".repeat(10_000);
    let part = format!(
        "--a\nContent-Type: text/{long}; charset={long}; name=\"{long}\"\nContent-ID: <{long}>\n\n"
    );
    let mut left = limits::PARTS_MAX;
    let mut begin = Some(MIXED.as_bytes().to_vec());
    let walk = pushed(|| {
        begin.take().or_else(|| {
            left -= 1;
            (left > 0).then(|| part.clone().into_bytes())
        })
    });
    let outline = walk.finish().unwrap();
    assert_eq!(outline.parts().len(), limits::PARTS_MAX);
    let name = outline.parts()[1].file_name.as_ref().unwrap();
    assert_eq!(name.len(), limits::FILE_NAME_OCTETS_MAX);
}

/// Failed once: the multipart ended before the empty body of its part began.
#[test]
fn a_multipart_contains_its_empty_last_part() {
    let begin = "--a\nContent-Type: multipart/x; boundary=b\n\n--b\nc: d\n\n";
    for end in ["", "--a--"] {
        let outline = outline([MIXED, begin, end].concat().as_bytes());
        let [_, parent, part] = outline.parts() else {
            panic!("{outline:?}");
        };
        assert_eq!(part.body.octets, 0);
        let parent_end = parent.body.offset + parent.body.octets;
        assert_eq!(part.body.offset, parent_end);
    }
}

/// Lines that matter to the walk.
fn lines() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => Just(&b"--a"[..]),
        2 => Just(&b"--ab"[..]),
        1 => Just(&b"--a--"[..]),
        1 => Just(&b"--ab--"[..]),
        3 => Just(&b""[..]),
        2 => Just(&b"text"[..]),
        1 => Just(&b"-"[..]),
        1 => Just(&b"\r"[..]),
        2 => Just(&b"Content-Type: multipart/mixed; boundary=a"[..]),
        2 => Just(&b"Content-Type: multipart/mixed;\n boundary=\"ab\""[..]),
        1 => Just(&b"Content-Type: text/html; charset=utf-16"[..]),
        1 => Just(&b"Content-Disposition: attachment; filename*0*=a'b'%ff"[..]),
        1 => Just(&b" \xff"[..]),
    ];
    let ending = prop_oneof![3 => Just(&b"\n"[..]), 3 => Just(&b"\r\n"[..]), 1 => Just(&b""[..])];
    vec((line, ending), 0..30).prop_map(|lines| {
        lines
            .iter()
            .flat_map(|(line, end)| [*line, *end].concat())
            .collect()
    })
}

proptest! {
    /// Cutting changes nothing, and parts are within their multiparts and do not overlap.
    #[test]
    fn parts_are_in_order(message in lines()) {
        let outline = outline(&message);
        let length = u64::try_from(message.len()).unwrap();
        let mut leaf_end = 0;
        for (index, part) in outline.parts().iter().enumerate() {
            let end = part.body.offset + part.body.octets;
            prop_assert!(part.header.offset + part.header.octets <= part.body.offset);
            prop_assert!(end <= length && part.header.offset >= leaf_end);
            prop_assert!(part.lines <= part.body.octets);
            if let Some(parent) = part.parent {
                prop_assert!(parent < index);
                let parent = &outline.parts()[parent];
                prop_assert_eq!(parent.depth + 1, part.depth);
                prop_assert!(part.header.offset >= parent.body.offset);
                prop_assert!(end <= parent.body.offset + parent.body.octets);
            }
            if !part.is_multipart() {
                leaf_end = end;
            }
        }
    }
}
