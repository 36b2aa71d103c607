//! Whole connections without a driver.

use std::borrow::Cow;
use std::sync::Arc;

use proptest::{collection::vec, prelude::*, sample::select};

use crate::http::limits::{BODY_OCTETS_MAX, HEAD_OCTETS_MAX, REQUESTS_MAX};
use crate::http::{
    Action, Body, Client, Distance, Kind, Method, Name, Origin, Outcome, Patience, Refusal,
    Request, Response, Rules, Scope, Sending, Session, Status, Step, Way,
};
use crate::mail::{Closing, Ending, Foreign};

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

const NEAR: Client = Client {
    way: Way::Plain,
    distance: Distance::Near,
};

fn rules() -> Rules {
    Rules {
        http_origins: vec![Origin::parse("http://localhost:5173").unwrap()],
        ..Rules::default()
    }
}

/// One connection: what was sent to the client, which requests were handed out, and how it ended.
struct Play {
    session: Session,
    sent: String,
    requests: Vec<Request>,
    action: Option<Action>,
    held_octets_max: usize,
}

impl Play {
    fn new(client: Client) -> Self {
        let mut session = Session::new(Arc::new(rules()), client);
        let first = session.greet();
        let mut play = Self {
            session,
            sent: String::new(),
            requests: Vec::new(),
            action: None,
            held_octets_max: 0,
        };
        play.perform(first);
        play
    }

    /// Performs steps until octets are needed or the connection is closed.
    fn perform(&mut self, step: Step) {
        let mut step = step;
        loop {
            let mut out = Vec::new();
            if let Some(reply) = &step.reply {
                reply.render(DATE, &mut out);
            }
            let outcome = match step.action {
                Action::Answer(request) => {
                    let response = answer(&request);
                    self.requests.push(*request);
                    Outcome::Response(Box::new(response))
                }
                Action::SendBody(sending) => {
                    if matches!(
                        sending,
                        Sending::Octets(3) | Sending::Chunks | Sending::UntilClose
                    ) {
                        sending.frame(b"abc", &mut out);
                        sending.end(&mut out);
                    }
                    Outcome::BodySent
                }
                action @ (Action::ReadHead { .. } | Action::ReadBody { .. } | Action::Close(_)) => {
                    self.sent += str::from_utf8(&out).unwrap();
                    self.action = Some(action);
                    return;
                }
            };
            self.sent += str::from_utf8(&out).unwrap();
            step = self.session.resume(outcome);
        }
    }

    /// The client sends `octets`, of which the driver reads at most `piece` at a time.
    fn hear(&mut self, octets: &[u8], piece: usize) {
        let mut rest = octets;
        while let (Some(octets_max), false) = (self.octets_max(), rest.is_empty()) {
            let length = octets_max.min(piece).min(rest.len());
            let (now, later) = rest.split_at(length);
            rest = later;
            let step = self.session.resume(Outcome::Octets(now));
            self.perform(step);
            self.held_octets_max = self.held_octets_max.max(self.session.held_octets());
        }
    }

    /// How many octets the session wants.
    fn octets_max(&self) -> Option<usize> {
        match self.action {
            Some(Action::ReadHead { octets_max, .. } | Action::ReadBody { octets_max, .. }) => {
                assert!(octets_max > 0);
                Some(octets_max)
            }
            _ => None,
        }
    }

    fn resume(&mut self, outcome: Outcome<'_>) {
        let step = self.session.resume(outcome);
        self.perform(step);
    }

    fn closing(&self) -> Option<Closing> {
        match self.action {
            Some(Action::Close(closing)) => Some(closing),
            _ => None,
        }
    }

    /// The codes of all responses.
    fn codes(&self) -> Vec<&str> {
        let begins = self.sent.split("HTTP/1.1 ").filter_map(|it| it.get(..3));
        begins.filter(|code| code.parse::<u16>().is_ok()).collect()
    }
}

/// What a driver answers to each path.
fn answer(request: &Request) -> Response {
    match request.target.path() {
        "/stream" => {
            let body = Body::Stream { octets: 3 };
            Response::with_body(Status::Ok, Kind::Attachment, "message/rfc822", body)
        }
        "/events" => Response::with_body(Status::Ok, Kind::Events, "text/event-stream", Body::Open),
        "/none" => Response::new(Status::NoContent),
        "/login" => Refusal::login_required().into(),
        "/close" => Response::text(Status::Ok, "ok").and_close(),
        _ => {
            let body = Body::Octets(Cow::Owned(request.body.clone()));
            Response::with_body(Status::Ok, Kind::Api, "text/plain", body)
        }
    }
}

/// A connection on which the client has sent `lines`, with LF instead of CRLF.
fn played(lines: &str) -> Play {
    let mut play = Play::new(NEAR);
    play.hear(lines.replace('\n', "\r\n").as_bytes(), usize::MAX);
    play
}

#[test]
fn requests_are_answered_one_after_another() {
    let play = played(
        "GET /a HTTP/1.1\nHost: a\n\nPOST /b HTTP/1.1\nHost: a\nContent-Length: 4\n\nabcd\
         DELETE /c HTTP/1.1\nHost: a\nContent-Length: 2\n\n{}HEAD /stream HTTP/1.1\nHost: a\n\n\
         GET /stream HTTP/1.1\nHost: a\n\nGET /none HTTP/1.1\nHost: a\n\n",
    );
    let shown: Vec<_> = play
        .requests
        .iter()
        .map(|it| (it.method, it.body.as_slice()))
        .collect();
    assert_eq!(
        shown,
        [
            (Method::Get, &b""[..]),
            (Method::Post, b"abcd"),
            (Method::Delete, b"{}"),
            (Method::Head, b""),
            (Method::Get, b""),
            (Method::Get, b""),
        ]
    );
    assert_eq!(play.codes(), ["200", "200", "200", "200", "200", "204"]);
    assert!(!play.sent.contains("Connection:"), "{}", play.sent);
    assert_eq!(play.sent.matches("abc").count(), 2);
    let idle = matches!(
        play.action,
        Some(Action::ReadHead {
            patience: Patience::Idle,
            ..
        })
    );
    assert!(idle, "{:?}", play.action);
    assert_eq!(play.session.held_octets(), 0);
}

#[test]
fn a_connection_is_kept_or_closed_as_both_sides_want() {
    for (lines, closing) in [
        ("GET / HTTP/1.1\nHost: a\n\n", None),
        (
            "GET / HTTP/1.1\nHost: a\nConnection: close\n\n",
            Some(Closing::Quit),
        ),
        ("GET / HTTP/1.0\n\n", Some(Closing::Quit)),
        ("GET / HTTP/1.0\nConnection: keep-alive\n\n", None),
        ("GET /events HTTP/1.1\nHost: a\n\n", None),
        (
            "GET /events HTTP/1.0\nConnection: keep-alive\n\n",
            Some(Closing::Quit),
        ),
        ("GET /close HTTP/1.1\nHost: a\n\n", Some(Closing::Quit)),
        ("GET /login HTTP/1.1\nHost: a\n\n", None),
        // What has no known end is answered, and nothing after it is read.
        (
            "BREW / HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\nHost: a\n\n",
            Some(Closing::Refused),
        ),
        (
            "GET / HTTP/1.1\n\nGET / HTTP/1.1\nHost: a\n\n",
            Some(Closing::Refused),
        ),
        // Not admitted: without a body the connection can stay open.
        ("GET / HTTP/1.1\nHost: evil.example\n\n", None),
        (
            "POST / HTTP/1.1\nHost: evil.example\nContent-Length: 1\n\na",
            Some(Closing::Quit),
        ),
        ("OPTIONS / HTTP/1.1\nHost: a\n\n", None),
        (
            "OPTIONS / HTTP/1.1\nHost: a\nContent-Length: 1\n\na",
            Some(Closing::Quit),
        ),
    ] {
        let play = played(lines);
        assert_eq!(play.closing(), closing, "{lines}");
        assert_eq!(play.codes().len(), 1, "{lines}");
        let says_so = play.sent.contains("\r\nConnection: close\r\n");
        assert_eq!(says_so, closing.is_some(), "{}", play.sent);
    }
}

#[test]
fn a_request_that_is_not_admitted_is_not_handed_out() {
    for lines in [
        "DELETE /api HTTP/1.1\nHost: evil.example\n\n",
        "DELETE /api HTTP/1.1\nHost: a\nOrigin: http://b\n\n",
        "POST /api HTTP/1.1\nHost: a\nOrigin: http://b\nContent-Length: 2\n\n{}",
        "OPTIONS /api HTTP/1.1\nHost: a\n\n",
    ] {
        let play = played(lines);
        assert!(
            play.requests.is_empty() && play.codes().len() == 1,
            "{lines}"
        );
    }
    let link = played(
        "GET /m HTTP/1.1\nHost: a\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\n\
         Sec-Fetch-Dest: document\n\n",
    );
    assert_eq!(link.requests[0].scope, Scope::Pages);
    let mut control = Play::new(Client {
        way: Way::Control,
        ..NEAR
    });
    control.hear(
        b"DELETE / HTTP/1.1\r\nHost: control.example\r\n\r\n",
        usize::MAX,
    );
    assert_eq!((control.requests.len(), control.codes()), (1, vec!["200"]));
}

#[test]
fn pages_of_configured_origins_may_read_the_response() {
    let play = played(
        "OPTIONS /a HTTP/1.1\nHost: a\nOrigin: http://localhost:5173\n\
         Access-Control-Request-Method: DELETE\n\n\
         DELETE /a HTTP/1.1\nHost: a\nOrigin: http://localhost:5173\n\n\
         DELETE /a HTTP/1.1\nHost: a\n\n",
    );
    let origin = "\r\nAccess-Control-Allow-Origin: http://localhost:5173\r\nVary: Origin\r\n";
    assert_eq!(play.codes(), ["204", "200", "200"]);
    assert_eq!(play.sent.matches(origin).count(), 2, "{}", play.sent);
    assert_eq!(play.sent.matches("Access-Control-Allow-Methods").count(), 1);
    assert!(!play.sent.contains("Credentials"), "{}", play.sent);
    // Without the key there is none of these fields.
    let play = played("GET /a HTTP/1.1\nHost: a\nOrigin: http://a\n\n");
    assert!(!play.sent.contains("Access-Control"), "{}", play.sent);
}

#[test]
fn the_client_is_told_to_continue_before_its_body_is_read() {
    let head = "PUT / HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 3\n\n";
    let mut play = played(head);
    assert_eq!(play.sent, "HTTP/1.1 100 Continue\r\n\r\n");
    let expect = Action::ReadBody {
        octets_max: 3,
        octets: 3,
    };
    assert_eq!(play.action, Some(expect));
    play.hear(b"abc", 1);
    assert_eq!(play.codes(), ["100", "200"]);
    for (lines, codes) in [
        (head.replace("HTTP/1.1", "HTTP/1.0") + "abc", &["200"][..]),
        (head.replace(": 3", ": 0"), &["200"]),
        (head.replace("100-continue", "x"), &["417"]),
        (head.replace(": 3", ": 1048577"), &["413"]),
        (head.replace("Host: a", "Host: evil.example"), &["421"]),
    ] {
        assert_eq!(played(&lines).codes(), codes, "{lines}");
    }
}

/// SEC-8.
#[test]
fn a_connection_has_a_hundred_requests() {
    let requests = usize::try_from(REQUESTS_MAX).unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut play = Play::new(NEAR);
    play.hear(&request.repeat(requests + 5), 100);
    assert_eq!(play.requests.len(), requests);
    assert_eq!(play.sent.matches("Connection: close").count(), 1);
    assert_eq!(play.closing(), Some(Closing::Quit));
    assert!(play.held_octets_max <= 2 * HEAD_OCTETS_MAX);
}

/// SEC-9: a length that is only announced costs nothing.
#[test]
fn a_body_takes_the_memory_of_what_has_arrived() {
    let head = format!("POST / HTTP/1.1\nHost: a\nContent-Length: {BODY_OCTETS_MAX}\n\n");
    let mut play = played(&head);
    assert_eq!(play.session.held_octets(), 0);
    play.hear(&vec![b'a'; 1_000], 100);
    assert!(play.session.held_octets() <= 2_000);
    play.hear(&vec![b'a'; 1_024 * 1_024], 64 * 1_024);
    assert!(play.held_octets_max <= 1_024 * 1_024);
    assert_eq!(play.requests[0].body.len(), 1_024 * 1_024);
    // What came with the body waits in the kernel.
    assert!(matches!(play.action, Some(Action::ReadHead { .. })));

    let mut play = played(&head);
    play.resume(Outcome::NoMemory);
    assert_eq!(
        (play.codes(), play.closing()),
        (vec!["503"], Some(Closing::Quit))
    );
    assert!(play.sent.contains("Retry-After: "), "{}", play.sent);
}

#[test]
fn a_session_that_has_to_end_says_why_if_somebody_waits() {
    let part = "POST / HTTP/1.1\nHost: a\n";
    let body = "POST / HTTP/1.1\nHost: a\nContent-Length: 5\n\nabc";
    for (lines, ending, code) in [
        ("", Ending::IdleTimeout, None),
        ("\n", Ending::IdleTimeout, None),
        ("GET / HTTP/1.1\nHost: a\n\n", Ending::ShuttingDown, None),
        ("G", Ending::IdleTimeout, Some("408")),
        (part, Ending::IdleTimeout, Some("408")),
        (body, Ending::TooSlow, Some("408")),
        (body, Ending::SessionTimeout, Some("408")),
        (part, Ending::ShuttingDown, Some("503")),
        (body, Ending::Displaced, Some("503")),
        (part, Ending::NotOpen, Some("403")),
        (part, Ending::Revoked, Some("401")),
    ] {
        let mut play = played(lines);
        play.sent.clear();
        play.resume(Outcome::Ended(ending));
        let expect = code.map_or(Closing::Quit, |_| Closing::Refused);
        assert_eq!(play.closing(), Some(expect), "{lines:?} {ending:?}");
        assert_eq!(play.codes(), Vec::from_iter(code), "{lines:?} {ending:?}");
        assert_eq!(
            play.sent.matches("Connection: close").count(),
            play.codes().len()
        );
    }
}

#[test]
fn the_patience_for_a_head_begins_with_its_first_octet() {
    let mut play = Play::new(NEAR);
    for (octets, expect) in [
        (&b""[..], Patience::Idle),
        (b"\r\n", Patience::Idle),
        (b"G", Patience::Head),
        (b"ET / HTTP/1.1\r\nHost: a\r\n\r\n", Patience::Idle),
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\nG", Patience::Head),
    ] {
        play.hear(octets, usize::MAX);
        let Some(Action::ReadHead { patience, .. }) = play.action else {
            panic!("{:?}", play.action);
        };
        assert_eq!(patience, expect, "{octets:?}");
    }
    assert_eq!(Patience::Head.timeout().as_secs(), 10);
    assert_eq!(Patience::Idle.timeout().as_secs(), 30);
}

#[test]
fn a_draining_session_answers_one_request_more() {
    let request = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut play = Play::new(NEAR);
    play.session.drain();
    play.hear(request.repeat(2).as_bytes(), usize::MAX);
    assert_eq!(
        (play.codes(), play.closing()),
        (vec!["200"], Some(Closing::Quit))
    );
    assert!(play.sent.contains("Connection: close"));
    // A connection that is idle when it is asked ends at once.
    let mut session = Session::new(Arc::new(rules()), NEAR);
    session.drain();
    assert_eq!(session.greet().action, Action::Close(Closing::Quit));
}

#[test]
fn tls_on_a_port_without_it_gets_a_text() {
    let mut play = Play::new(NEAR);
    play.hear(b"\x16\x03\x01\x02\x00", 1);
    assert_eq!(play.codes(), ["400"]);
    assert!(play.sent.contains("use http://"), "{}", play.sent);
    assert_eq!(play.closing(), Some(Closing::Foreign(Foreign::Tls)));
    let mut play = Play::new(Client {
        way: Way::Tls,
        ..NEAR
    });
    play.hear(b"\x16\x03", 1);
    assert_eq!(
        (play.codes(), play.closing()),
        (vec!["400"], Some(Closing::Refused))
    );
    // Other protocols are refused at their first octet, or at their first line.
    for foreign in [&b"\x80"[..], b"\0", b" ", b"EHLO a\r\n\r\n", b"EHLO a\n"] {
        let mut play = Play::new(NEAR);
        play.hear(foreign, 1);
        assert_eq!(
            (play.codes(), play.closing()),
            (vec!["400"], Some(Closing::Refused))
        );
    }
}

#[test]
fn a_body_that_fails_half_way_closes_the_connection() {
    let mut session = Session::new(Arc::new(rules()), NEAR);
    session.greet();
    let step = session.resume(Outcome::Octets(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
    assert!(matches!(step.action, Action::Answer(_)));
    let response = Response::with_body(Status::Ok, Kind::Events, "text/event-stream", Body::Open);
    let step = session.resume(Outcome::Response(Box::new(response)));
    assert_eq!(step.action, Action::SendBody(Sending::Chunks));
    let step = session.resume(Outcome::BodyFailed);
    assert_eq!(
        (step.reply, step.action),
        (None, Action::Close(Closing::Refused))
    );
}

#[test]
fn a_response_to_head_has_no_body_even_if_the_session_ends() {
    let mut session = Session::new(Arc::new(rules()), NEAR);
    session.greet();
    session.resume(Outcome::Octets(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"));
    let step = session.resume(Outcome::Ended(Ending::ShuttingDown));
    let mut out = Vec::new();
    step.reply.unwrap().render(DATE, &mut out);
    assert!(out.starts_with(b"HTTP/1.1 503 ") && out.ends_with(b"\r\n\r\n"));
}

/// SEC-7.
#[test]
fn debug_shows_nothing_of_a_request_but_its_path() {
    let request =
        b"POST /login HTTP/1.1\r\nHost: a\r\nCookie: hunter2\r\nContent-Length: 7\r\n\r\n\
                    hunter2";
    let mut session = Session::new(Arc::new(rules()), NEAR);
    session.greet();
    assert_eq!(format!("{:?}", Outcome::Octets(request)), "Octets");
    let step = session.resume(Outcome::Octets(request));
    let shown = format!("{step:?} {session:?}");
    assert!(
        shown.contains("/login") && !shown.contains("hunter2"),
        "{shown}"
    );
}

fn requests() -> impl Strategy<Value = Vec<u8>> {
    let piece = select(vec![
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "HEAD /events HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /events HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\nabcde",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30\r\n\r\n\
         GET / HTTP/1.1\r\nHost: a\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: b.example\r\nContent-Length: 1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: b.example\r\n\r\n",
        "GET /close HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n",
        "\r",
        "\n",
        "Content-Length: 7\r\n",
        "Transfer-Encoding: chunked\r\n",
        "GET /",
        "\u{16}",
        "x",
    ]);
    vec(piece, 0..10).prop_map(|pieces| pieces.concat().into_bytes())
}

proptest! {
    #[test]
    fn a_connection_is_the_same_at_every_split(octets in requests(), piece in 1..40_usize) {
        let mut whole = Play::new(NEAR);
        whole.hear(&octets, usize::MAX);
        let mut split = Play::new(NEAR);
        split.hear(&octets, piece);
        prop_assert_eq!(&whole.sent, &split.sent);
        prop_assert_eq!(&whole.requests, &split.requests);
        prop_assert_eq!(whole.closing(), split.closing());
    }

    #[test]
    fn no_octets_make_a_session_answer_with_what_it_was_sent(octets in vec(any::<u8>(), 0..300)) {
        let mut play = Play::new(NEAR);
        play.hear(&octets, 50);
        prop_assert!(play.codes().len() <= 1);
        prop_assert!(play.held_octets_max <= 2 * HEAD_OCTETS_MAX);
    }

    #[test]
    fn no_order_of_outcomes_panics(outcomes in vec(0..7_u8, 0..20)) {
        let mut session = Session::new(Arc::new(rules()), NEAR);
        let mut step = session.greet();
        for outcome in outcomes {
            if matches!(step.action, Action::Close(_)) {
                break;
            }
            let response = || Response::new(Status::Ok).field(Name::Allow, "GET");
            step = session.resume(match outcome {
                0 => Outcome::Octets(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
                1 => Outcome::Octets(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\n\r\n"),
                2 => Outcome::NoMemory,
                3 => Outcome::Response(Box::new(response())),
                4 => Outcome::BodySent,
                5 => Outcome::BodyFailed,
                _ => Outcome::Ended(Ending::SessionTimeout),
            });
            prop_assert!(session.held_octets() <= 2 * HEAD_OCTETS_MAX);
        }
    }
}
