//! Responses: what is written, and that nobody can write more.

use std::borrow::Cow;

use proptest::{collection::vec, prelude::*, sample::select};

use crate::http::response::Circumstances;
use crate::http::{
    Body, EntityTag, Kind, Name, Refusal, Response, Sending, Status, Version, attachment,
};

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

const GET: Circumstances = Circumstances {
    version: Version::V1_1,
    is_head: false,
    persists: true,
};
const HEAD: Circumstances = Circumstances {
    is_head: true,
    ..GET
};
const OLD: Circumstances = Circumstances {
    version: Version::V1_0,
    ..GET
};
const LAST: Circumstances = Circumstances {
    persists: false,
    ..GET
};

fn rendered(response: &Response, circumstances: Circumstances) -> String {
    let mut out = Vec::new();
    response.render(circumstances, DATE, &mut out);
    String::from_utf8(out).unwrap()
}

fn octets(text: &'static str) -> Body {
    Body::Octets(Cow::Borrowed(text.as_bytes()))
}

/// A response with this body and no fields of its own.
fn plain(status: Status, body: Body) -> Response {
    let response = Response::with_body(status, Kind::Asset, "text/css", body);
    assert_eq!(
        response.values(Name::ContentType).collect::<Vec<_>>(),
        ["text/css"]
    );
    response
}

#[test]
fn a_response_is_written_as_the_rfc_says() {
    let response = Response::new(Status::Ok).field(Name::Allow, "GET");
    let expect =
        format!("HTTP/1.1 200 OK\r\nDate: {DATE}\r\nContent-Length: 0\r\nAllow: GET\r\n\r\n");
    assert_eq!(rendered(&response, GET), expect);
}

/// A response with a body of this kind.
fn of_kind(kind: &str) -> Response {
    let stream = || Body::Stream { octets: 7 };
    match kind {
        "octets" => plain(Status::Ok, octets("abc")),
        "empty" => plain(Status::Ok, octets("")),
        "stream" => plain(Status::Ok, stream()),
        "open" => plain(Status::Ok, Body::Open),
        "204" => plain(Status::NoContent, octets("abc")),
        "304" => plain(Status::NotModified, stream()),
        _ => plain(Status::NotModified, Body::Open),
    }
}

#[test]
fn the_head_says_how_long_the_body_is_and_what_becomes_of_the_connection() {
    for (kind, circumstances, has, sending) in [
        ("octets", GET, "Content-Length: 3", Sending::InReply),
        ("octets", HEAD, "Content-Length: 3", Sending::InReply),
        ("octets", LAST, "Content-Length: 3", Sending::InReply),
        ("octets", OLD, "Content-Length: 3", Sending::InReply),
        ("empty", GET, "Content-Length: 0", Sending::InReply),
        ("stream", GET, "Content-Length: 7", Sending::Octets(7)),
        ("stream", HEAD, "Content-Length: 7", Sending::InReply),
        ("open", GET, "Transfer-Encoding: c", Sending::Chunks),
        ("open", HEAD, "", Sending::InReply),
        ("open", OLD, "", Sending::UntilClose),
        ("204", GET, "", Sending::InReply),
        ("304", GET, "", Sending::InReply),
        ("304, open", OLD, "", Sending::InReply),
    ] {
        let response = of_kind(kind);
        let found = rendered(&response, circumstances);
        let has_body = kind == "octets" && !circumstances.is_head;
        let end = if has_body { "\r\n\r\nabc" } else { "\r\n\r\n" };
        assert!(found.ends_with(end), "{found}");
        let count = |name: &str| found.matches(name).count();
        let lengths = [count("Content-Length:"), count("Transfer-Encoding:")];
        let expect = usize::from(!has.is_empty());
        assert_eq!(lengths.iter().sum::<usize>(), expect, "{found}");
        assert!(found.contains(has), "{found}");
        assert_eq!(response.sending(circumstances), sending, "{found}");
        let connection = match (circumstances, sending) {
            (_, Sending::UntilClose) | (LAST, _) => "Connection: close\r\n",
            (OLD, _) => "Connection: keep-alive\r\n",
            _ => "",
        };
        let expect = usize::from(!connection.is_empty());
        assert_eq!(count("Connection:"), expect, "{found}");
        assert!(found.contains(connection), "{found}");
        let persists = response.persists(circumstances);
        assert_eq!(persists, !found.contains("Connection: close"), "{found}");
    }
    assert!(!Response::new(Status::Ok).and_close().persists(GET));
}

#[test]
fn a_refusal_is_a_line_of_text() {
    let refusal = Refusal::method_not_allowed("GET, HEAD");
    let response = Response::from(refusal);
    assert_eq!(
        response.values(Name::Allow).collect::<Vec<_>>(),
        ["GET, HEAD"]
    );
    assert_eq!(
        response
            .values(Name::XContentTypeOptions)
            .collect::<Vec<_>>(),
        ["nosniff"]
    );
    let found = rendered(&response, GET);
    assert!(found.ends_with("\r\n\r\nThis method is not for this address; use GET, HEAD\n"));
    assert!(found.contains("\r\nContent-Type: text/plain; charset=utf-8\r\n"));
    let challenge = Response::from(Refusal::login_required());
    let challenge = challenge
        .values(Name::WwwAuthenticate)
        .collect::<Vec<_>>()
        .join("");
    assert_eq!(challenge, "Basic realm=\"facteur\", charset=\"UTF-8\"");
    let busy = Response::from(Refusal::busy("x").and_close());
    assert_eq!(busy.values(Name::RetryAfter).count(), 1);
    assert!(!busy.persists(GET));
}

#[test]
fn an_asset_that_the_browser_has_is_not_sent_again() {
    let tag = EntityTag::new(1);
    let fresh = plain(Status::Ok, octets("abc")).tagged(&tag, false);
    let held = plain(Status::Ok, octets("abc")).tagged(&tag, true);
    assert!(rendered(&fresh, GET).ends_with("\r\nETag: \"0000000000000001\"\r\n\r\nabc"));
    assert!(rendered(&held, GET).starts_with("HTTP/1.1 304 Not Modified\r\n"));
    assert!(rendered(&held, GET).ends_with("\r\nETag: \"0000000000000001\"\r\n\r\n"));
}

#[test]
fn chunks_are_framed_and_ended() {
    for (sending, expect) in [
        (
            Sending::Chunks,
            "3\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n",
        ),
        (Sending::UntilClose, "abc0123456789abcdef"),
        (Sending::Octets(19), "abc0123456789abcdef"),
    ] {
        let mut out = Vec::new();
        for piece in ["abc", "", "0123456789abcdef"] {
            sending.frame(piece.as_bytes(), &mut out);
        }
        sending.end(&mut out);
        assert_eq!(String::from_utf8(out).unwrap(), expect, "{sending:?}");
    }
}

#[test]
fn names_are_tokens_and_say_nothing_of_the_end() {
    for name in Name::ALL {
        let text = name.as_str();
        assert!(
            text.bytes()
                .all(|octet| octet.is_ascii_alphanumeric() || octet == b'-')
        );
        for own in [
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "Date",
            "Trailer",
        ] {
            assert!(!text.eq_ignore_ascii_case(own));
        }
    }
}

#[test]
fn a_body_is_not_shown_by_debug() {
    let shown = format!("{:?}", Response::text(Status::Ok, "hunter2"));
    assert!(
        !shown.contains("hunter2") && shown.contains("Octets(7)"),
        "{shown}"
    );
}

proptest! {
    #[test]
    fn no_value_injects_a_field(
        values in vec((select(Name::ALL), any::<String>()), 0..5), name: String,
    ) {
        let mut response = Response::new(Status::Ok);
        for (name, value) in &values {
            response = response.field(*name, value.clone());
        }
        response = response.field(Name::ContentDisposition, attachment(&name));
        let found = rendered(&response, GET);
        let head = found.strip_suffix("\r\n\r\n").unwrap();
        prop_assert!(!head.contains("\r\n\r\n"));
        // The status line, Date and Content-Length come first.
        let lines: Vec<&str> = head.split("\r\n").collect();
        prop_assert_eq!(lines.iter().skip(3).count(), values.len().saturating_add(1));
        for (line, (name, value)) in lines.iter().skip(3).zip(&values) {
            let begin = format!("{}: ", name.as_str());
            prop_assert!(line.starts_with(&begin), "{}", line);
            let printable = line.bytes().all(|octet| (b' '..=b'~').contains(&octet));
            prop_assert!(printable);
            let written = line.strip_prefix(&begin).unwrap_or_default();
            prop_assert_eq!(written.len(), value.chars().count());
        }
    }
}
