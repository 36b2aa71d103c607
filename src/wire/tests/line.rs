//! The line buffer: lines, modes, limits, memory.

use proptest::{collection::vec, prelude::*};

use super::{every_cut, joined, lines, wire_octets};
use crate::wire::{LfPolicy, LineBuffer, LineEnding, LineEndingFault, Scan};

use LfPolicy::{Accept, Refuse};
use LineEndingFault::{BareCr, BareLf, UnexpectedCr};

/// The results of a buffer, one for each scan that was not incomplete.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Event {
    Line(Vec<u8>),
    TooLong,
    Fault(LineEndingFault),
}

fn line(text: &str) -> Event {
    Event::Line(text.as_bytes().to_vec())
}

fn receive(buffer: &mut LineBuffer, octets: &[u8]) {
    let space = buffer.space(octets.len());
    space[..octets.len()].copy_from_slice(octets);
    buffer.filled(octets.len());
}

/// Scans until more input is needed; stops at a fault.
fn scan_all(buffer: &mut LineBuffer, events: &mut Vec<Event>) {
    loop {
        match buffer.scan() {
            Scan::Line => events.push(Event::Line(buffer.line().to_vec())),
            Scan::TooLong => events.push(Event::TooLong),
            Scan::Incomplete => return,
            Scan::Fault(fault) => {
                assert_eq!(buffer.scan(), Scan::Fault(fault), "a fault is final");
                assert_eq!(buffer.line(), b"");
                events.push(Event::Fault(fault));
                return;
            }
        }
    }
}

fn events_of(pieces: &[&[u8]], max: usize, policy: LfPolicy) -> (Vec<Event>, Option<LineEnding>) {
    let mut buffer = LineBuffer::new(max, policy);
    let mut events = Vec::new();
    for piece in pieces {
        receive(&mut buffer, piece);
        scan_all(&mut buffer, &mut events);
        let largest = pieces
            .iter()
            .map(|piece| piece.len())
            .max()
            .unwrap_or_default();
        assert!(
            buffer.capacity() <= max + largest,
            "{} octets held",
            buffer.capacity()
        );
        if let Some(Event::Fault(_)) = events.last() {
            break;
        }
    }
    (events, buffer.ending())
}

/// The model: looks at the whole input octet by octet.
fn naive(input: &[u8], max: usize, policy: LfPolicy) -> (Vec<Event>, Option<LineEnding>) {
    let mut events = Vec::new();
    let mut mode = None;
    let mut text = Vec::new();
    let mut octets = input.iter().copied().peekable();
    while let Some(octet) = octets.next() {
        let ending = match (octet, mode) {
            (b'\r', Some(LineEnding::Lf)) => {
                events.push(Event::Fault(UnexpectedCr));
                return (events, mode);
            }
            (b'\r', _) => match octets.next() {
                Some(b'\n') => LineEnding::CrLf,
                Some(_) => {
                    events.push(Event::Fault(BareCr));
                    return (events, mode);
                }
                None => return (events, mode),
            },
            (b'\n', Some(LineEnding::Lf)) => LineEnding::Lf,
            (b'\n', None) if policy == Accept => LineEnding::Lf,
            (b'\n', _) => {
                events.push(Event::Fault(BareLf));
                return (events, mode);
            }
            _ => {
                text.push(octet);
                continue;
            }
        };
        mode = Some(ending);
        let octets = text.len() + if ending == LineEnding::CrLf { 2 } else { 1 };
        events.push(if octets > max {
            Event::TooLong
        } else {
            Event::Line(text.clone())
        });
        text.clear();
    }
    (events, mode)
}

fn check(input: &str, policy: LfPolicy, expect: &[Event]) {
    for pieces in every_cut(input.as_bytes()) {
        let (events, _) = events_of(&pieces, 8, policy);
        assert_eq!(events, expect, "{input:?} as {pieces:?}");
    }
    assert_eq!(
        naive(input.as_bytes(), 8, policy).0,
        expect,
        "the model on {input:?}"
    );
}

#[test]
fn the_first_line_fixes_the_mode() {
    for (input, policy, expect) in [
        ("", Accept, &[][..]),
        ("a", Accept, &[]),
        ("a\r", Accept, &[]),
        ("a\r\n", Accept, &[line("a")]),
        ("a\r\n", Refuse, &[line("a")]),
        ("\r\n\r\n", Refuse, &[line(""), line("")]),
        ("a\n", Accept, &[line("a")]),
        ("\n\n", Accept, &[line(""), line("")]),
        ("a\n", Refuse, &[Event::Fault(BareLf)]),
        ("a\rb", Accept, &[Event::Fault(BareCr)]),
        ("a\r\r\n", Accept, &[Event::Fault(BareCr)]),
        ("a\rb\n", Refuse, &[Event::Fault(BareCr)]),
        // CRLF mode is strict.
        ("a\r\nb\r\n", Accept, &[line("a"), line("b")]),
        ("a\r\nb\n", Accept, &[line("a"), Event::Fault(BareLf)]),
        ("a\r\n\n", Accept, &[line("a"), Event::Fault(BareLf)]),
        ("a\r\nb\rc\r\n", Accept, &[line("a"), Event::Fault(BareCr)]),
        ("a\r\n\r\r\n", Accept, &[line("a"), Event::Fault(BareCr)]),
        // LF mode is strict.
        ("a\nb\n", Accept, &[line("a"), line("b")]),
        ("a\nb\r\n", Accept, &[line("a"), Event::Fault(UnexpectedCr)]),
        ("a\nb\r", Accept, &[line("a"), Event::Fault(UnexpectedCr)]),
        (
            "a\nb\rc\n",
            Accept,
            &[line("a"), Event::Fault(UnexpectedCr)],
        ),
        ("a\n\r", Accept, &[line("a"), Event::Fault(UnexpectedCr)]),
    ] {
        check(input, policy, expect);
    }
}

#[test]
fn a_line_over_the_limit_is_reported_once_and_the_next_is_found() {
    for (input, expect) in [
        ("123456\r\nb\r\n", &[line("123456"), line("b")][..]), // 8 octets with CRLF
        ("1234567\r\nb\r\n", &[Event::TooLong, line("b")]),
        ("1234567\nb\n", &[line("1234567"), line("b")]), // 8 octets with LF
        ("12345678\nb\n", &[Event::TooLong, line("b")]),
        (
            "12345678901234567890\r\nb\r\n",
            &[Event::TooLong, line("b")],
        ),
        ("12345678901234567890\nb\n", &[Event::TooLong, line("b")]),
        ("12345678901234567890", &[]),
        ("12345678901234567890\r", &[]),
        // The mode also applies inside an overlong line, and such a line fixes the mode.
        ("12345678901234567890\rx", &[Event::Fault(BareCr)]),
        (
            "a\r\n12345678901234567890\nb",
            &[line("a"), Event::Fault(BareLf)],
        ),
        (
            "a\n12345678901234567890\rb",
            &[line("a"), Event::Fault(UnexpectedCr)],
        ),
        (
            "12345678901234567890\r\nb\n",
            &[Event::TooLong, Event::Fault(BareLf)],
        ),
        (
            "12345678901234567890\nb\r\n",
            &[Event::TooLong, Event::Fault(UnexpectedCr)],
        ),
        (
            "123456789\r\n123456789\r\nb\r\n",
            &[Event::TooLong, Event::TooLong, line("b")],
        ),
    ] {
        check(input, Accept, expect);
    }
}

#[test]
fn the_limit_can_be_changed_between_lines() {
    let mut buffer = LineBuffer::new(4, Refuse);
    receive(&mut buffer, b"ab\r\nabc\r\nabcdefgh\r\nab\r\nabc\r\n");
    assert_eq!((buffer.scan(), buffer.line()), (Scan::Line, &b"ab"[..]));
    assert_eq!((buffer.scan(), buffer.line()), (Scan::TooLong, &b""[..]));
    buffer.set_line_octets_max(10);
    assert_eq!(
        (buffer.scan(), buffer.line()),
        (Scan::Line, &b"abcdefgh"[..])
    );
    buffer.set_line_octets_max(4);
    assert_eq!((buffer.scan(), buffer.line()), (Scan::Line, &b"ab"[..]));
    assert_eq!(buffer.scan(), Scan::TooLong);
    assert_eq!(
        (buffer.scan(), buffer.unread()),
        (Scan::Incomplete, &b""[..])
    );
}

#[test]
fn a_line_of_50_mib_needs_the_memory_of_the_limit_and_one_read() {
    const READ: usize = 16 * 1024;
    const MAX: usize = 4096;
    for ending in [&b"\r\n"[..], b"\n"] {
        let mut buffer = LineBuffer::new(MAX, Accept);
        for _ in 0..50 * 1024 * 1024 / READ {
            let space = buffer.space(READ);
            assert!(space.len() >= READ);
            let octets = space.len();
            space.fill(b'x');
            buffer.filled(octets);
            assert_eq!(buffer.scan(), Scan::Incomplete);
            assert!(buffer.capacity() <= MAX + READ && buffer.unread().len() < MAX);
        }
        receive(&mut buffer, ending);
        assert_eq!(buffer.scan(), Scan::TooLong);
        receive(&mut buffer, b"NOOP");
        receive(&mut buffer, ending);
        assert_eq!((buffer.scan(), buffer.line()), (Scan::Line, &b"NOOP"[..]));
    }
}

#[test]
fn no_memory_is_held_before_the_first_octet_and_after_release() {
    let mut buffer = LineBuffer::new(4096, Accept);
    assert_eq!((buffer.capacity(), buffer.scan()), (0, Scan::Incomplete));
    receive(&mut buffer, b"first\nsec");
    assert_eq!(buffer.scan(), Scan::Line);
    buffer.release();
    assert_eq!(buffer.unread(), b"sec", "what is unread is kept");
    assert_eq!(buffer.capacity(), 3, "and nothing else");
    receive(&mut buffer, b"ond\n");
    assert_eq!((buffer.scan(), buffer.line()), (Scan::Line, &b"second"[..]));
    buffer.release();
    assert_eq!((buffer.capacity(), buffer.line()), (0, &b""[..]));
    assert_eq!(buffer.ending(), Some(LineEnding::Lf), "the mode stays");
    receive(&mut buffer, b"third\r\n");
    assert_eq!(buffer.scan(), Scan::Fault(UnexpectedCr));
}

#[test]
fn content_bypasses_the_line_search() {
    let mut buffer = LineBuffer::new(16, Refuse);
    receive(
        &mut buffer,
        b"DATA\r\nbare \n and \r pass here\r\nQUIT\r\nre",
    );
    assert_eq!((buffer.scan(), buffer.line()), (Scan::Line, &b"DATA"[..]));
    let content = b"bare \n and \r pass here\r\n";
    assert!(buffer.unread().starts_with(content));
    buffer.consume(content.len());
    assert_eq!(buffer.line(), b"DATA", "the line is still there");
    assert_eq!((buffer.scan(), buffer.line()), (Scan::Line, &b"QUIT"[..]));
    assert_eq!(
        (buffer.scan(), buffer.unread()),
        (Scan::Incomplete, &b"re"[..])
    );
    buffer.consume(1);
    receive(&mut buffer, b"st\r\n");
    assert_eq!((buffer.scan(), buffer.line()), (Scan::Line, &b"est"[..]));
    buffer.consume(usize::MAX);
    assert_eq!(
        (buffer.scan(), buffer.unread()),
        (Scan::Incomplete, &b""[..])
    );
    buffer.filled(usize::MAX);
    assert!(buffer.unread().len() <= buffer.capacity());
}

#[test]
fn space_is_at_least_as_long_as_requested_and_keeps_the_unread_octets() {
    let mut buffer = LineBuffer::new(64, Refuse);
    receive(&mut buffer, b"abc");
    assert_eq!(buffer.scan(), Scan::Incomplete);
    for octets in [1, 10, 100, 1000, 1] {
        assert!(buffer.space(octets).len() >= octets);
        assert_eq!(buffer.unread(), b"abc");
    }
    receive(&mut buffer, b"\r\n");
    assert_eq!((buffer.scan(), buffer.line()), (Scan::Line, &b"abc"[..]));
}

#[test]
fn debug_shows_no_octet_of_the_input() {
    let mut buffer = LineBuffer::new(64, Refuse);
    receive(&mut buffer, b"PASS hunter2\r\n");
    assert_eq!(buffer.scan(), Scan::Line);
    let shown = format!("{buffer:?}");
    assert!(
        !shown.contains("hunter2") && !shown.contains("104, 117"),
        "{shown}"
    );
}

/// Some input with faults.
const TEXT: &[u8] = b"a line\na\r\n.\r\nanother line with more text";

proptest! {
    #[test]
    fn the_buffer_agrees_with_the_model_however_the_input_is_cut(
        input in wire_octets(),
        max in 1_usize..24,
        accept: bool,
    ) {
        let policy = if accept { Accept } else { Refuse };
        let expect = naive(&input, max, policy);
        for pieces in every_cut(&input) {
            prop_assert_eq!(&events_of(&pieces, max, policy), &expect, "{:?}", pieces);
        }
    }

    #[test]
    fn lines_come_out_as_they_went_in(lines in lines(), lf: bool) {
        let input = joined(&lines, if lf { b"\n" } else { b"\r\n" });
        let (events, ending) = events_of(&[&input], 64, Accept);
        let expect: Vec<Event> = lines.iter().cloned().map(Event::Line).collect();
        prop_assert_eq!(events, expect);
        let mode = if lf { LineEnding::Lf } else { LineEnding::CrLf };
        prop_assert_eq!(ending, (!lines.is_empty()).then_some(mode));
    }

    #[test]
    fn no_order_of_calls_panics(calls in vec((0_u8..6, 0_usize..40), 0..60)) {
        let mut buffer = LineBuffer::new(16, Accept);
        let mut mode = None;
        for (call, octets) in calls {
            match call {
                0 => buffer.filled(octets),
                1 => buffer.consume(octets),
                2 => buffer.release(),
                3 => buffer.set_line_octets_max(octets),
                4 => receive(&mut buffer, &TEXT[..octets]),
                _ => {
                    prop_assert!(buffer.space(octets).len() >= octets);
                }
            }
            let scan = buffer.scan();
            prop_assert!(scan == Scan::Line || buffer.line().is_empty());
            prop_assert!(mode.is_none() || mode == buffer.ending(), "the mode changed");
            mode = buffer.ending();
        }
    }
}
