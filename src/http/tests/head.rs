//! Heads: what is understood, what is refused, and that neither depends on how octets arrive.

use proptest::{collection::vec, prelude::*, sample::select};

use crate::http::limits::{BODY_OCTETS_MAX, FIELDS_MAX, HEAD_OCTETS_MAX, REQUEST_LINE_OCTETS_MAX};
use crate::http::{Distance, Head, Method, Progress, Refusal, Status, Version};

/// The head of `octets`, which must be complete, or the status with which it is refused.
fn parsed(octets: &[u8], distance: Distance) -> Result<Head, u16> {
    match Head::parse(octets, distance) {
        Ok(Progress::Complete { head, octets_used }) => {
            assert!(octets_used <= octets.len());
            Ok(*head)
        }
        Ok(Progress::NeedsMore) => panic!("incomplete: {:?}", String::from_utf8_lossy(octets)),
        Err(Refusal { status, closes, .. }) => {
            assert!(closes, "{:?}", String::from_utf8_lossy(octets));
            Err(status.code())
        }
    }
}

fn refused(octets: &[u8]) -> Option<u16> {
    parsed(octets, Distance::Near).err()
}

/// A request with these lines after the request line and Host.
fn with(lines: &str) -> Vec<u8> {
    format!("POST / HTTP/1.1\r\nHost: a\r\n{lines}\r\n").into_bytes()
}

#[test]
fn a_head_has_a_method_a_target_a_version_and_fields() {
    let octets = b"GET /a?b=c HTTP/1.1\r\nHost: localhost:1\r\nAccept:\ttext/html \r\nX-Empty:\r\n\
                   X-Latin: \xe4\r\n\r\nrest";
    let Ok(Progress::Complete { head, octets_used }) = Head::parse(octets, Distance::Far) else {
        panic!();
    };
    assert_eq!(octets_used, octets.len() - 4);
    assert_eq!(head.method, Method::Get);
    assert_eq!(head.target.path(), "/a");
    assert_eq!(head.target.query().first("b"), Some("c"));
    assert_eq!(head.version, Version::V1_1);
    assert_eq!(head.fields.text("accept"), Some("text/html"));
    assert_eq!(head.fields.single("x-empty"), Ok(Some(&b""[..])));
    assert_eq!(head.fields.single("x-latin"), Ok(Some(&b"\xe4"[..])));
    assert_eq!(head.fields.text("x-latin"), None);
    assert_eq!(head.fields.count(), 4);
    assert_eq!(head.body_octets, 0);
    assert!(head.persists && !head.expects_continue);
}

#[test]
fn only_known_methods_and_versions_are_served() {
    for (line, expect) in [
        ("GET / HTTP/1.1", None),
        ("HEAD / HTTP/1.1", None),
        ("POST / HTTP/1.1", None),
        ("PUT / HTTP/1.1", None),
        ("DELETE / HTTP/1.1", None),
        ("OPTIONS / HTTP/1.1", None),
        ("GET / HTTP/1.0", None),
        ("PATCH / HTTP/1.1", Some(501)),
        ("TRACE / HTTP/1.1", Some(501)),
        ("CONNECT a:80 HTTP/1.1", Some(501)),
        ("get / HTTP/1.1", Some(501)),
        ("BREW / HTTP/1.1", Some(501)),
        ("OPTIONS * HTTP/1.1", Some(400)),
        ("GET http://a/ HTTP/1.1", Some(400)),
        ("GET a HTTP/1.1", Some(400)),
        ("GET / HTTP/1.2", Some(505)),
        ("GET / HTTP/2.0", Some(505)),
        ("PRI * HTTP/2.0", Some(505)),
        ("GET / HTTP/0.9", Some(505)),
        ("GET / http/1.1", Some(400)),
        ("GET / HTTP/1.10", Some(400)),
        ("GET / HTTP/11", Some(400)),
        ("GET / HTTPS/1.1", Some(400)),
        ("GET /", Some(400)),
        ("GET", Some(400)),
        ("GET / HTTP/1.1 ", Some(400)),
        ("GET  / HTTP/1.1", Some(400)),
        ("GET /  HTTP/1.1", Some(400)),
        ("GET /a b HTTP/1.1", Some(400)),
        ("GET\t/ HTTP/1.1", Some(400)),
        ("GET /\t HTTP/1.1", Some(400)),
        ("GET /\0 HTTP/1.1", Some(400)),
        ("GET /\u{b} HTTP/1.1", Some(400)),
        ("GET /\u{7f} HTTP/1.1", Some(400)),
        ("GET /\u{e4} HTTP/1.1", Some(400)),
        ("GET /#a HTTP/1.1", Some(400)),
        ("G(T / HTTP/1.1", Some(400)),
        (" GET / HTTP/1.1", Some(400)),
        ("EHLO client.example", Some(400)),
        ("\u{16}\u{3}\u{1}", Some(400)),
    ] {
        let octets = format!("{line}\r\nHost: a\r\n\r\n");
        assert_eq!(refused(octets.as_bytes()), expect, "{line:?}");
    }
}

/// Request smuggling: each of these has a length for one program and another for the next.
#[test]
fn a_body_has_one_length_or_is_refused() {
    for (lines, expect) in [
        ("", Ok(0)),
        ("Content-Length: 0\r\n", Ok(0)),
        ("content-LENGTH: 5\r\n", Ok(5)),
        ("Content-Length:5\r\n", Ok(5)),
        ("Content-Length: 0005\r\n", Ok(5)),
        ("Content-Length: 1048576\r\n", Ok(BODY_OCTETS_MAX)),
        ("Content-Length: 1048577\r\n", Err(413)),
        ("Content-Length: 18446744073709551621\r\n", Err(413)),
        ("Content-Length: 5\r\nContent-Length: 5\r\n", Err(400)),
        ("Content-Length: 5\r\nContent-Length: 6\r\n", Err(400)),
        ("Content-Length: 5\r\ncontent-length: 0\r\n", Err(400)),
        ("Content-Length: 5, 5\r\n", Err(400)),
        ("Content-Length: +5\r\n", Err(400)),
        ("Content-Length: -5\r\n", Err(400)),
        ("Content-Length: 0x5\r\n", Err(400)),
        ("Content-Length: 5 6\r\n", Err(400)),
        ("Content-Length: 5;\r\n", Err(400)),
        ("Content-Length: \u{661}\r\n", Err(400)),
        ("Content-Length:\r\n", Err(400)),
        ("Content-Length : 5\r\n", Err(400)),
        ("Content-Length\t: 5\r\n", Err(400)),
        ("Content-Length: 5\r\n 6\r\n", Err(400)),
        ("Content-Length: 5\u{b}\r\n", Err(400)),
        ("Content-Length: 5\0\r\n", Err(400)),
        // CL.TE and TE.CL.
        (
            "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
            Err(400),
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
            Err(400),
        ),
        (
            "Transfer-Encoding: identity\r\nContent-Length: 5\r\n",
            Err(400),
        ),
        ("Transfer-Encoding:\r\nContent-Length: 5\r\n", Err(400)),
        // TE.TE: whatever another program reads from it, here it is refused.
        ("Transfer-Encoding: chunked\r\n", Err(501)),
        ("Transfer-Encoding: xchunked\r\n", Err(501)),
        ("Transfer-Encoding: chunked, identity\r\n", Err(501)),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
            Err(501),
        ),
        ("Transfer-Encoding: identity\r\n", Err(501)),
        ("Transfer-Encoding:\r\n", Err(501)),
        ("tRANSFER-eNCODING:\tchunked\r\n", Err(501)),
        ("Transfer-Encoding : chunked\r\n", Err(400)),
        (" Transfer-Encoding: chunked\r\n", Err(400)),
        ("X: y\r\n Transfer-Encoding: chunked\r\n", Err(400)),
        ("X: y\r\n\tTransfer-Encoding: chunked\r\n", Err(400)),
        ("X: y\rTransfer-Encoding: chunked\r\n", Err(400)),
        ("X: y\nTransfer-Encoding: chunked\r\n", Err(400)),
        ("Transfer-Encoding: \u{b}chunked\r\n", Err(400)),
        ("Transfer-Encoding: chunked\u{c}\r\n", Err(400)),
        ("Transfer-Encoding\0: chunked\r\n", Err(400)),
        ("Transfer\u{b}Encoding: chunked\r\n", Err(400)),
    ] {
        let found = parsed(&with(lines), Distance::Near).map(|head| head.body_octets);
        assert_eq!(found, expect, "{lines:?}");
    }
}

#[test]
fn only_crlf_ends_a_line() {
    for octets in [
        &b"GET / HTTP/1.1\nHost: a\n\n"[..],
        b"GET / HTTP/1.1\r\nHost: a\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\n\n",
        b"GET / HTTP/1.1\rHost: a\r\r",
        b"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\rb\r\n\r\n",
        b"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\n\r\n",
        b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\rGET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        assert_eq!(
            refused(octets),
            Some(400),
            "{:?}",
            String::from_utf8_lossy(octets)
        );
    }
    // A bare LF is refused when it arrives: the client may wait for the response.
    assert_eq!(refused(b"GET / HTTP/1.1\n"), Some(400));
    // RFC 9112 §2.2: old clients send an empty line after the body of a POST.
    assert_eq!(refused(b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n"), None);
}

#[test]
fn names_and_values_of_fields_have_only_their_characters() {
    for (line, expect) in [
        ("a: b", None),
        ("!#$%&'*+-.^_`|~09AZ: b", None),
        ("a:", None),
        ("a: \t b \t", None),
        ("a: b\tc", None),
        ("a: \u{e4}", None),
        (": b", Some(400)),
        ("a", Some(400)),
        ("a b: c", Some(400)),
        ("a : b", Some(400)),
        ("a(: b", Some(400)),
        ("a\u{e4}: b", Some(400)),
        ("\"a\": b", Some(400)),
        ("a: b\0", Some(400)),
        ("a: \u{1}", Some(400)),
        ("a: b\u{b}c", Some(400)),
        ("a: b\u{c}", Some(400)),
        ("a: \u{7f}", Some(400)),
    ] {
        assert_eq!(refused(&with(&format!("{line}\r\n"))), expect, "{line:?}");
    }
}

#[test]
fn there_is_one_host() {
    for (version, lines, distance, expect) in [
        ("1.1", "Host: a\r\n", Distance::Far, None),
        ("1.1", "", Distance::Near, Some(400)),
        ("1.0", "", Distance::Near, None),
        ("1.0", "", Distance::Far, Some(400)),
        ("1.0", "Host: a\r\n", Distance::Far, None),
        ("1.1", "Host: a\r\nHost: a\r\n", Distance::Near, Some(400)),
        ("1.0", "Host: a\r\nhost: b\r\n", Distance::Near, Some(400)),
        ("1.1", "Host:\r\n", Distance::Near, Some(400)),
        ("1.1", "Host: a b\r\n", Distance::Near, Some(400)),
        ("1.1", "Host: a, b\r\n", Distance::Near, Some(400)),
        ("1.1", "Host: bob@a\r\n", Distance::Near, Some(400)),
        ("1.1", "Host: a/b\r\n", Distance::Near, Some(400)),
        ("1.1", "Host: a:b\r\n", Distance::Near, Some(400)),
        ("1.1", "Host: \u{e4}\r\n", Distance::Near, Some(400)),
    ] {
        let octets = format!("GET / HTTP/{version}\r\n{lines}\r\n");
        let found = parsed(octets.as_bytes(), distance).err();
        assert_eq!(found, expect, "{octets:?} {distance:?}");
    }
}

#[test]
fn only_one_expectation_is_known() {
    for (version, value, expect) in [
        ("1.1", "100-continue", Ok(true)),
        ("1.1", "100-Continue", Ok(true)),
        ("1.1", "", Ok(false)),
        // RFC 9110 §10.1.1.
        ("1.0", "100-continue", Ok(false)),
        ("1.1", "200-ok", Err(417)),
        ("1.1", "100-continue, x", Err(417)),
        ("1.1", "100-continue=x", Err(417)),
    ] {
        let octets = format!("PUT / HTTP/{version}\r\nHost: a\r\nExpect: {value}\r\n\r\n");
        let found = parsed(octets.as_bytes(), Distance::Near);
        assert_eq!(
            found.map(|head| head.expects_continue),
            expect,
            "{octets:?}"
        );
    }
}

#[test]
fn the_version_and_the_options_determine_whether_a_connection_persists() {
    for (version, lines, persists) in [
        ("1.1", "", true),
        ("1.1", "Connection: keep-alive\r\n", true),
        ("1.1", "Connection: close\r\n", false),
        ("1.1", "Connection: Keep-Alive, Close\r\n", false),
        (
            "1.1",
            "Connection: upgrade\r\nConnection: x,close\r\n",
            false,
        ),
        ("1.1", "Connection: closed\r\n", true),
        ("1.0", "", false),
        ("1.0", "Connection: Keep-Alive\r\n", true),
        ("1.0", "Connection: keep-alive, close\r\n", false),
    ] {
        let octets = format!("GET / HTTP/{version}\r\nHost: a\r\n{lines}\r\n");
        let head = parsed(octets.as_bytes(), Distance::Near).unwrap();
        assert_eq!(head.persists, persists, "{octets:?}");
    }
}

/// SEC-8.
#[test]
fn a_head_has_limits() {
    let line = |octets: usize| {
        let begin = "GET /?a=";
        let end = " HTTP/1.1\r\n";
        let value = "&".repeat(octets - begin.len() - end.len());
        format!("{begin}{value}{end}Host: a\r\n\r\n")
    };
    assert_eq!(refused(line(REQUEST_LINE_OCTETS_MAX).as_bytes()), None);
    assert_eq!(
        refused(line(REQUEST_LINE_OCTETS_MAX + 1).as_bytes()),
        Some(414)
    );
    assert_eq!(refused(&vec![b'A'; REQUEST_LINE_OCTETS_MAX + 1]), Some(414));

    let head = |octets: usize| {
        let rest = octets - with("x: \r\n").len();
        with(&format!("x: {}\r\n", "y".repeat(rest)))
    };
    assert_eq!(refused(&head(HEAD_OCTETS_MAX)), None);
    assert_eq!(refused(&head(HEAD_OCTETS_MAX + 1)), Some(431));
    let endless = [&with("")[..17], &vec![b'x'; HEAD_OCTETS_MAX]].concat();
    assert_eq!(refused(&endless), Some(431));

    let fields = |fields: usize| with(&"x: y\r\n".repeat(fields - 1));
    assert_eq!(refused(&fields(FIELDS_MAX)), None);
    assert_eq!(refused(&fields(FIELDS_MAX + 1)), Some(431));
}

/// What is found in the shortest beginning of `octets` in which anything is found.
fn first_found(octets: &[u8]) -> Result<Progress, Refusal> {
    let mut found = Ok(Progress::NeedsMore);
    for length in 0..=octets.len() {
        found = Head::parse(&octets[..length], Distance::Near);
        if found != Ok(Progress::NeedsMore) {
            break;
        }
    }
    found
}

#[test]
fn long_heads_are_the_same_at_every_split() {
    for long in [
        "a".repeat(20_000),
        format!("GET / HTTP/1.1\r\n{}", "a".repeat(20_000)),
    ] {
        for ending in ["", "\r", "\n", "\r\n", "\r\r", "\r\n\r\n"] {
            let limits = [REQUEST_LINE_OCTETS_MAX, HEAD_OCTETS_MAX];
            let lengths = limits.iter().flat_map(|limit| limit - 4..limit + 4);
            for length in lengths {
                let octets = [&long.as_bytes()[..length], ending.as_bytes(), b"b"].concat();
                let whole = Head::parse(&octets, Distance::Near);
                let near = (length - 4..=octets.len())
                    .map(|length| Head::parse(&octets[..length], Distance::Near))
                    .find(|found| *found != Ok(Progress::NeedsMore));
                assert_eq!(
                    near.unwrap_or(Ok(Progress::NeedsMore)),
                    whole,
                    "{length} {ending:?}"
                );
            }
        }
    }
}

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = select(vec![
        "GET ",
        "POST ",
        "/",
        "/a?b=%41",
        "%",
        " HTTP/1.1",
        " HTTP/1.0",
        "\r\n",
        "\r",
        "\n",
        "Host: a",
        "Host:",
        "Content-Length: 5",
        "Content-Length: ",
        "Transfer-Encoding: chunked",
        "Expect: 100-continue",
        "Connection: close",
        ": ",
        ":",
        " ",
        "\t",
        "\0",
        "\u{b}",
        "x",
        "5",
    ]);
    vec(piece, 0..24).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn a_head_is_the_same_at_every_split(octets in pieces()) {
        let whole = Head::parse(&octets, Distance::Near);
        prop_assert_eq!(first_found(&octets), whole);
    }

    #[test]
    fn what_is_understood_is_what_a_naive_reader_sees(octets in pieces()) {
        let Ok(Progress::Complete { head, octets_used }) = Head::parse(&octets, Distance::Near)
        else {
            return Ok(());
        };
        let text = str::from_utf8(&octets[..octets_used]).unwrap();
        let text = text.strip_prefix("\r\n").unwrap_or(text).strip_suffix("\r\n\r\n").unwrap();
        let (line, rest) = text.split_once("\r\n").unwrap_or((text, ""));
        let words: Vec<&str> = line.split(' ').collect();
        prop_assert_eq!(words.len(), 3);
        let path = words[1].split('?').next().unwrap();
        prop_assert_eq!(head.target.path(), path);
        let lines = rest.split("\r\n").filter(|line| !line.is_empty());
        prop_assert_eq!(head.fields.count(), lines.clone().count());
        let lengths = lines.filter_map(|line| line.strip_prefix("Content-Length:"));
        let lengths: Vec<u64> = lengths.map(|value| value.trim().parse().unwrap()).collect();
        prop_assert!(lengths.len() <= 1 && !rest.contains("Transfer-Encoding:"));
        prop_assert_eq!(head.body_octets, lengths.first().copied().unwrap_or(0));
    }

    #[test]
    fn no_octets_panic(octets in vec(any::<u8>(), 0..200)) {
        let found = Head::parse(&octets, Distance::Far);
        if let Err(refusal) = found {
            prop_assert!(refusal.closes && refusal.status != Status::Ok);
        }
    }
}
