//! Who may ask: the table of all cases.

use crate::http::{Admission, Distance, Head, Origin, Progress, Rules, Scope, Way, admit};

fn rules() -> Rules {
    Rules {
        hostname: "mail.example.com".to_owned(),
        http_names: vec!["inbox.example.org".to_owned()],
        http_origins: vec![Origin::parse("http://localhost:5173").unwrap()],
        ports: vec![65_480],
    }
}

fn head(request: &str) -> Head {
    let octets = request.replace('\n', "\r\n") + "\r\n\r\n";
    match Head::parse(octets.as_bytes(), Distance::Near) {
        Ok(Progress::Complete { head, .. }) => *head,
        other => panic!("{request}: {other:?}"),
    }
}

/// The scope and whether an origin is allowed, or the status.
type Verdict = Result<(Scope, bool), u16>;

fn admitted(request: &str, way: Way) -> Verdict {
    match admit(&head(request), &rules(), way) {
        Ok(Admission { scope, origin }) => Ok((scope, origin.is_some())),
        Err(refusal) => {
            assert!(!refusal.closes, "{request}");
            Err(refusal.status.code())
        }
    }
}

const ALL: Verdict = Ok((Scope::Everything, false));

#[test]
fn only_names_that_cannot_be_bought_are_answered() {
    for (host, expect) in [
        ("127.0.0.1:65480", ALL),
        ("192.0.2.7", ALL),
        ("[::1]:65480", ALL),
        ("localhost", ALL),
        ("localhost.", ALL),
        ("LOCALHOST:1", ALL),
        ("inbox.localhost", ALL),
        ("mailpit:8025", ALL),
        ("my_mail", ALL),
        ("mail.svc.internal", ALL),
        ("mail.test", ALL),
        ("mail.test.:80", ALL),
        ("mail.example.com", ALL),
        ("Mail.Example.COM:443", ALL),
        ("inbox.example.org", ALL),
        ("example.com", Err(421)),
        ("evil.example", Err(421)),
        ("a.mail.example.com", Err(421)),
        ("localhost.evil.example", Err(421)),
        ("127.0.0.1.evil.example", Err(421)),
        ("evillocalhost.example", Err(421)),
        ("a.eviltest", Err(421)),
        ("a.notinternal", Err(421)),
        ("127.1", Err(421)),
    ] {
        let request = format!("GET / HTTP/1.1\nHost: {host}");
        assert_eq!(admitted(&request, Way::Plain), expect, "{host}");
        assert_eq!(admitted(&request, Way::Control), ALL, "{host}");
    }
    let request = "GET / HTTP/1.1\nHost: evil.example";
    let refusal = admit(&head(request), &rules(), Way::Tls).unwrap_err();
    assert!(
        refusal.text.contains("http_names") && !refusal.text.contains("evil"),
        "{refusal:?}"
    );
    assert_eq!(admitted("GET / HTTP/1.0", Way::Plain), ALL);
}

const PAGES: Verdict = Ok((Scope::Pages, false));
const ALLOWED: Verdict = Ok((Scope::Everything, true));
const NO: Verdict = Err(403);

const OWN: &str = "Origin: http://localhost:65480";
const OTHER: &str = "Origin: http://localhost:3000";
const NULL: &str = "Origin: null";
const DEV: &str = "Origin: http://localhost:5173";
const NAVIGATE: &str = "Sec-Fetch-Mode: navigate";
const DOCUMENT: &str = "Sec-Fetch-Dest: document";
const CORS: &str = "Sec-Fetch-Mode: cors";

/// The method, Sec-Fetch-Site, the other fields, and the verdict.
type Case = (&'static str, &'static str, &'static [&'static str], Verdict);

const CASES: &[Case] = &[
    // Programs, and old browsers.
    ("GET", "", &[], ALL),
    ("DELETE", "", &[], ALL),
    ("POST", "", &[OWN], ALL),
    ("POST", "", &[OTHER], NO),
    ("GET", "", &[OTHER], NO),
    ("POST", "", &[NULL], NO),
    ("POST", "", &["Origin: "], NO),
    ("POST", "", &["Origin: x"], NO),
    ("POST", "", &["Origin: file://"], NO),
    ("POST", "", &["Origin: http://127.0.0.1:65480"], NO),
    ("POST", "", &["Origin: http://localhost:65480 x"], NO),
    ("POST", "", &[OWN, NULL], NO),
    ("POST", "", &[OWN, OWN], NO),
    // Our own pages, and the user.
    ("GET", "same-origin", &[], ALL),
    ("POST", "same-origin", &[OWN], ALL),
    ("POST", "same-origin", &[NULL], ALL),
    ("GET", "none", &[NAVIGATE, DOCUMENT], ALL),
    ("POST", "same-origin", &[OTHER], NO),
    // A link from elsewhere.
    ("GET", "cross-site", &[NAVIGATE, DOCUMENT], PAGES),
    ("GET", "same-site", &[NAVIGATE, DOCUMENT], PAGES),
    ("POST", "cross-site", &[NAVIGATE, DOCUMENT], NO),
    ("HEAD", "cross-site", &[NAVIGATE, DOCUMENT], NO),
    ("DELETE", "same-site", &[NAVIGATE, DOCUMENT], NO),
    (
        "GET",
        "cross-site",
        &[NAVIGATE, "Sec-Fetch-Dest: iframe"],
        NO,
    ),
    ("GET", "cross-site", &[NAVIGATE], NO),
    ("GET", "cross-site", &[DOCUMENT], NO),
    ("GET", "cross-site", &[NAVIGATE, DOCUMENT, OTHER], NO),
    ("GET", "cross-site", &[NAVIGATE, DOCUMENT, DOCUMENT], NO),
    // Everything else from elsewhere: fetch, img, script, EventSource.
    ("GET", "cross-site", &[], NO),
    ("GET", "same-site", &[], NO),
    ("GET", "cross-site", &[CORS], NO),
    ("GET", "cross-site", &["Sec-Fetch-Mode: no-cors"], NO),
    ("GET", "same-site", &[CORS, OTHER], NO),
    ("POST", "cross-site", &[OWN], NO),
    ("POST", "cross-site", &[NULL], NO),
    ("OPTIONS", "same-site", &[OTHER], NO),
    ("GET", "other", &[], NO),
    ("GET", "none", &["Sec-Fetch-Site: none"], NO),
    // An origin of the configuration.
    ("GET", "", &[DEV], ALLOWED),
    ("GET", "same-site", &[CORS, DEV], ALLOWED),
    ("DELETE", "cross-site", &[DEV], ALLOWED),
    ("OPTIONS", "cross-site", &[DEV], ALLOWED),
    ("GET", "", &["Origin: https://localhost:5173"], NO),
    ("GET", "", &["Origin: http://localhost:51730"], NO),
    ("GET", "", &[DEV, DEV], NO),
];

#[test]
fn pages_of_other_origins_are_refused() {
    for (method, site, fields, expect) in CASES {
        let mut lines = vec![format!("{method} / HTTP/1.1\nHost: localhost:65480")];
        if !site.is_empty() {
            lines.push(format!("Sec-Fetch-Site: {site}"));
        }
        lines.extend(fields.iter().map(|field| (*field).to_owned()));
        let request = lines.join("\n");
        assert_eq!(admitted(&request, Way::Plain), *expect, "{request}");
        assert_eq!(admitted(&request, Way::Control), ALL, "{request}");
    }
}

#[test]
fn an_origin_is_compared_with_the_host_of_the_request() {
    for (host, origin, way, expect) in [
        // A container's port is another one outside.
        (
            "Host: localhost:8025",
            "http://localhost:8025",
            Way::Plain,
            ALL,
        ),
        // A proxy has added TLS and passes on the host.
        ("Host: mail.test", "https://mail.test", Way::Plain, ALL),
        ("Host: mail.test", "https://mail.test", Way::Tls, ALL),
        ("Host: mail.test", "http://mail.test", Way::Tls, Err(403)),
        (
            "Host: mail.test:443",
            "http://mail.test:443",
            Way::Tls,
            Err(403),
        ),
        (
            "Host: mail.test",
            "https://mail.test:8443",
            Way::Tls,
            Err(403),
        ),
        // HTTP/1.0 without Host.
        ("X: y", "http://localhost:65480", Way::Plain, ALL),
        ("X: y", "http://localhost:3000", Way::Plain, Err(403)),
        ("X: y", "http://evil.example:65480", Way::Plain, Err(403)),
    ] {
        let request = format!("POST / HTTP/1.0\n{host}\nOrigin: {origin}");
        assert_eq!(admitted(&request, way), expect, "{request} {way:?}");
    }
}

#[test]
fn a_name_of_the_configuration_is_one_name_in_lower_case() {
    for (text, is_name) in [
        ("inbox.example.org", true),
        ("inbox", true),
        ("Inbox.example.org", false),
        ("inbox.example.org.", false),
        ("inbox.example.org:80", false),
        ("*.example.org", false),
        ("http://inbox.example.org", false),
        ("127.0.0.1", false),
        ("", false),
    ] {
        assert_eq!(Rules::is_name(text), is_name, "{text}");
    }
}
