//! HTTP over TCP: who is answered, who has to log in, and what is no request.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::net::UnixStream;
use std::path::Path;

use base64::{Engine, engine::general_purpose::STANDARD};
use facteur::system::capacity;

use crate::support::program::{Program, report, run, run_with};
use crate::support::{Client, HASH, Service, not_tested, own_address, tls};

/// Lines that make HTTP listen on any free port.
const LISTENER: &str = "http = [\"127.0.0.1:0\"]\n";

const CURSOR: &str = "GET /api/cursor HTTP/1.1\r\nHost: localhost\r\n";

/// A response.
#[derive(Debug)]
struct Answer {
    status: u16,
    /// The lines of its fields, in lower case.
    fields: Vec<String>,
    /// The line that sets a cookie, as it was sent.
    cookie: Option<String>,
    body: String,
}

impl Answer {
    /// The value of a field, which is there once.
    fn field(&self, name: &str) -> Option<&str> {
        let mut values = self.fields.iter().filter_map(|line| {
            let value = line.strip_prefix(name)?.strip_prefix(": ")?;
            Some(value)
        });
        let value = values.next();
        assert_eq!(values.next(), None, "{name}: {self:?}");
        value
    }
}

/// Reads a response; that to HEAD has no body.
fn answer(client: &mut Client, is_head: bool) -> Answer {
    let line = client.expect_prefix("HTTP/1.1 ");
    let mut answer = Answer {
        status: line.split(' ').nth(1).unwrap().parse().unwrap(),
        fields: Vec::new(),
        cookie: None,
        body: String::new(),
    };
    loop {
        let line = client.line();
        if line.is_empty() {
            break;
        }
        answer.fields.push(line.to_lowercase());
        if let Some(cookie) = line.strip_prefix("Set-Cookie: ") {
            answer.cookie = Some(cookie.to_owned());
        }
    }
    let octets = answer.field("content-length").unwrap_or("0").parse();
    if !is_head {
        answer.body = String::from_utf8(client.octets(octets.unwrap())).unwrap();
    }
    answer
}

/// Sends a request without its last CRLF on a connection; returns the response.
fn ask(client: &mut Client, head: &str) -> Answer {
    client.say(head);
    answer(client, head.starts_with("HEAD "))
}

/// The response to one request on a connection of its own.
fn ask_once(address: SocketAddr, head: &str) -> Answer {
    ask(&mut Client::connect(address), head)
}

/// Gives bob@example.com the password "changed", and lets the program notice.
fn change_password(directory: &Path, program: &Program) {
    let hashed = run_with(&["hash-password"], "changed\n").output;
    let accounts = format!("[[accounts]]\naddress = \"bob@example.com\"\n{hashed}");
    std::fs::write(directory.join("accounts.toml"), accounts).unwrap();
    program.signal("HUP");
    program.expect_log("accounts and certificate have been reloaded");
}

/// A daemon with HTTP and these lines as its configuration.
fn program(directory: &Path, lines: &str) -> Program {
    Program::start_with(directory, &format!("{LISTENER}{lines}"))
}

/// A search comes when the sandbox hides the files of the zones.
#[test]
fn days_in_searches_are_those_of_the_local_zone() {
    for (zone, hours) in [("Etc/GMT-14", 14), ("Etc/GMT+12", -12)] {
        if !Path::new("/usr/share/zoneinfo").join(zone).exists() {
            not_tested("there are no time zones");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("facteur.toml"), LISTENER).unwrap();
        let program = Program::start_in(directory.path(), &[("TZ", zone)]);
        let mut smtp = Client::connect(program.smtp());
        smtp.expect_prefix("220 ");
        smtp.say("HELO localhost");
        smtp.expect_prefix("250 ");
        smtp.transaction(&["bob@example.com"], "Subject: now\r\n\r\n");
        let get = |target: &str| {
            let head = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n");
            let body = ask_once(program.http(), &head).body;
            serde_json::from_str::<serde_json::Value>(&body).unwrap()
        };
        let list = get("/api/v1/messages");
        let created = list["messages"][0]["Created"].as_str().unwrap();
        let created: jiff::Timestamp = created.parse().unwrap();
        let zone = jiff::tz::TimeZone::fixed(jiff::tz::offset(hours));
        let today = created.to_zoned(zone).date();
        for (day, found) in [(today, 1), (today.tomorrow().unwrap(), 0)] {
            let list = get(&format!("/api/v1/search?query=after:{day}"));
            assert_eq!(list["messages_count"], found, "after {day} at {created}");
        }
    }
}

#[test]
fn a_connection_has_many_requests_one_after_the_other_or_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path(), "");
    let mut client = Client::connect(program.http());
    let first = ask(&mut client, CURSOR);
    assert_eq!(first.status, 200, "{first:?}");
    assert!(first.body.starts_with("{\"cursor\":\""), "{first:?}");
    let head = ask(&mut client, &CURSOR.replace("GET", "HEAD"));
    assert_eq!((head.status, &*head.body), (200, ""));
    let length = first.body.len().to_string();
    assert_eq!(head.field("content-length"), Some(&*length));
    // Pipelined; the last one closes.
    let missing = "GET /no/such/path HTTP/1.1\r\nHost: localhost\r\n\r\n";
    client.send(format!("{CURSOR}\r\n{missing}{CURSOR}Connection: close\r\n\r\n").as_bytes());
    let statuses = [(); 3].map(|()| answer(&mut client, false).status);
    assert_eq!(statuses, [200, 404, 200]);
    client.expect_end();
    // What the others bring is seen here.
    program.deliver("bob@example.com", "Subject: to be seen\r\n\r\nx\r\n");
    let wait = "GET /api/wait?to=bob@example.com&timeout=0s HTTP/1.1\r\nHost: localhost\r\n";
    let found = ask_once(program.http(), wait);
    assert!(
        found.body.contains("\"Subject\":\"to be seen\""),
        "{found:?}"
    );
}

/// A page of a name that leads to this machine must not read mail ("DNS rebinding").
#[test]
fn only_our_own_names_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let lines = "hostname = \"mail.example.com\"\nhttp_names = [\"Inbox.example.org\"]\n";
    let program = program(directory.path(), lines);
    for (host, status) in [
        ("127.0.0.1", 200),
        ("localhost:65480", 200),
        ("mailpit:8025", 200),
        ("mail.example.com", 200),
        ("inbox.example.org:8443", 200),
        ("evil.example", 421),
        ("example.org", 421),
        ("inbox.example.org.evil.example", 421),
        ("", 400),
    ] {
        let head = CURSOR.replace("localhost", host);
        let answer = ask_once(program.http(), &head);
        assert_eq!(answer.status, status, "{host}: {answer:?}");
        let names_the_key = answer.body.contains("http_names");
        assert_eq!(names_the_key, status == 421, "{answer:?}");
    }
    program.expect_log(" refused command=\"\" code=421 client=127.0.0.1: The name in Host");
}

#[test]
fn only_our_own_pages_and_those_of_http_origins_are_answered() {
    let directory = tempfile::tempdir().unwrap();
    let lines = "http_origins = [\"http://localhost:3000\"]\n";
    let program = program(directory.path(), lines);
    let own = program.http().to_string();
    let allowed = Some("http://localhost:3000");
    for (fields, status, origin) in [
        (format!("Origin: http://{own}"), 200, None),
        ("Sec-Fetch-Site: none".to_owned(), 200, None),
        ("Origin: http://localhost:3000".to_owned(), 200, allowed),
        ("Origin: http://localhost:3001".to_owned(), 403, None),
        ("Origin: null".to_owned(), 403, None),
        ("Sec-Fetch-Site: cross-site".to_owned(), 403, None),
    ] {
        let head = CURSOR.replace("localhost", &own);
        let answer = ask_once(program.http(), &format!("{head}{fields}\r\n"));
        assert_eq!(answer.status, status, "{fields}: {answer:?}");
        let told = answer.field("access-control-allow-origin");
        assert_eq!(told, origin, "{fields}: {answer:?}");
        let names_the_key = answer.body.contains("http_origins");
        assert_eq!(names_the_key, status == 403, "{answer:?}");
    }
    let preflight = |origin: &str| {
        let head = CURSOR.replace("GET", "OPTIONS");
        let fields = "Access-Control-Request-Method: DELETE\r\n";
        ask_once(
            program.http(),
            &format!("{head}Origin: {origin}\r\n{fields}"),
        )
    };
    let answer = preflight("http://localhost:3000");
    assert_eq!(answer.status, 204, "{answer:?}");
    let methods = answer.field("access-control-allow-methods").unwrap();
    assert!(methods.contains("delete"), "{answer:?}");
    assert_eq!(answer.field("access-control-allow-origin"), allowed);
    assert_eq!(preflight("http://localhost:3001").status, 403);
}

/// Where one request ends and the next begins must not be a matter of opinion (RFC 9112 §11.2).
#[test]
fn what_is_no_clear_request_ends_the_connection() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path(), "");
    let begin = "POST /api/cursor HTTP/1.1\r\nHost: localhost\r\n";
    for (fields, status) in [
        ("Content-Length: 4\r\nContent-Length: 5\r\n", 400),
        ("Content-Length: 4, 4\r\n", 400),
        ("Content-Length: +4\r\n", 400),
        ("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", 400),
        ("Transfer-Encoding: chunked\r\n", 501),
        ("Transfer-Encoding : chunked\r\n", 400),
        ("Host: localhost\r\n", 400),
        ("X: 1\r\n folded\r\n", 400),
        ("X: 1\nY: 2\r\n", 400),
        ("X: \0\r\n", 400),
        ("Content-Length: 99999999\r\n", 413),
    ] {
        let mut client = Client::connect(program.http());
        // What looks like another request behind it is not read.
        client.send(format!("{begin}{fields}\r\n{CURSOR}\r\n").as_bytes());
        let answer = answer(&mut client, false);
        assert_eq!(answer.status, status, "{fields:?}: {answer:?}");
        assert_eq!(answer.field("connection"), Some("close"), "{fields:?}");
        client.expect_end();
    }
}

fn account(name: &str, hash: &str) -> String {
    format!("[[accounts]]\naddress = \"{name}@example.com\"\npassword = [{hash:?}]\n")
}

/// The field with a user and a password.
fn basic(user: &str, password: &str) -> String {
    let token = STANDARD.encode(format!("{user}:{password}"));
    format!("Authorization: Basic {token}\r\n")
}

/// A daemon with the accounts bob and alice, both with the password "password".
fn closed(directory: &Path, lines: &str) -> Program {
    let accounts = account("bob", HASH) + &account("alice", HASH);
    std::fs::write(directory.join("accounts.toml"), accounts).unwrap();
    let lines = format!("accounts = \"accounts.toml\"\n{lines}limits.refused_login_seconds = 0\n");
    program(directory, &lines)
}

#[test]
fn with_accounts_a_client_logs_in_and_sees_its_own_mail() {
    let directory = tempfile::tempdir().unwrap();
    let program = closed(directory.path(), "");
    let http = program.http();
    let asked = ask_once(http, CURSOR);
    assert_eq!(asked.status, 401, "{asked:?}");
    let challenge = asked.field("www-authenticate");
    assert_eq!(
        challenge,
        Some("basic realm=\"facteur\", charset=\"utf-8\"")
    );
    let bob = basic("bob@example.com", "password");
    let mut client = Client::connect(http);
    for (login, status) in [
        (basic("bob@example.com", "wrong"), 401),
        (basic("nobody@example.com", "password"), 401),
        ("Authorization: Bearer x\r\n".to_owned(), 401),
        (bob.clone(), 200),
        (bob.clone(), 200),
        (basic("alice@example.com", "password"), 200),
        (basic("bob@example.com", "wrong"), 401),
    ] {
        let answer = ask(&mut client, &format!("{CURSOR}{login}"));
        assert_eq!(answer.status, status, "{login}");
    }
    program.expect_log("login refused user=\"bob@example.com\" client=127.0.0.1 mechanism=BASIC");
    // The second one was remembered.
    program.signal("USR1");
    let counts = report(&program);
    assert_eq!(counts["logins_http_accepted"], 2);
    assert_eq!(counts["logins_http_refused"], 3);

    program.deliver("bob@example.com", "Subject: for bob\r\n\r\nx\r\n");
    program.deliver("alice@example.com", "Subject: for alice\r\n\r\nx\r\n");
    let wait = |user: &str, query: &str| {
        let login = basic(&format!("{user}@example.com"), "password");
        let target = format!("/api/wait?timeout=0s{query}");
        let head = CURSOR.replace("/api/cursor", &target);
        ask_once(http, &format!("{head}{login}"))
    };
    for (user, other) in [("bob", "alice"), ("alice", "bob")] {
        let all = wait(user, "&count=1");
        assert!(all.body.contains(&format!("for {user}")), "{all:?}");
        assert!(!all.body.contains(&format!("for {other}")), "{all:?}");
        assert_eq!(wait(user, "&count=2").status, 204);
        let of_other = wait(user, &format!("&to={other}@example.com"));
        assert!(
            of_other.status == 404 || of_other.status == 204,
            "{of_other:?}"
        );
    }
}

/// SEC-2.
#[test]
fn passwords_from_other_machines_need_tls() {
    let directory = tempfile::tempdir().unwrap();
    let tls = tls::configure(directory.path());
    let accounts = account("bob", HASH);
    std::fs::write(directory.path().join("accounts.toml"), accounts).unwrap();
    let listeners = "http = [\"0.0.0.0:0\"]\nhttps = [\"0.0.0.0:0\"]\n";
    let lines = format!("accounts = \"accounts.toml\"\n{listeners}{tls}");
    let program = Program::start_with(directory.path(), &lines);
    // The address of this machine towards others; nothing is sent.
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    if socket.connect("192.0.2.1:9").is_err() {
        not_tested("this machine has no address that others can reach");
        return;
    }
    let here = socket.local_addr().unwrap().ip();
    let bob = basic("bob@example.com", "password");
    let head = format!("{CURSOR}{bob}");
    let refused = ask_once((here, program.http().port()).into(), &head);
    assert_eq!(refused.status, 403, "{refused:?}");
    assert!(refused.body.contains("use https"), "{refused:?}");
    let mut client = Client::connect((here, program.https().port()).into()).begin_tls();
    assert_eq!(ask(&mut client, &head).status, 200);
}

#[test]
fn a_login_ends_when_its_account_changes() {
    let directory = tempfile::tempdir().unwrap();
    let program = closed(directory.path(), "");
    let bob = basic("bob@example.com", "password");
    let mut client = Client::connect(program.http());
    assert_eq!(ask(&mut client, &format!("{CURSOR}{bob}")).status, 200);
    let mut waiting = Client::connect(program.http());
    let wait = CURSOR.replace("/api/cursor", "/api/wait?timeout=60s");
    waiting.say(&format!("{wait}{bob}"));
    change_password(directory.path(), &program);
    assert_eq!(ask(&mut client, &format!("{CURSOR}{bob}")).status, 401);
    let changed = basic("bob@example.com", "changed");
    assert_eq!(ask(&mut client, &format!("{CURSOR}{changed}")).status, 200);
    assert_eq!(answer(&mut waiting, false).status, 401);
}

#[test]
fn https_begins_with_tls() {
    let directory = tempfile::tempdir().unwrap();
    let lines = tls::configure(directory.path()) + "https = [\"127.0.0.1:0\"]\n";
    let program = closed(directory.path(), &lines);
    let bob = basic("bob@example.com", "password");
    let mut client = Client::connect(program.https()).begin_tls();
    assert_eq!(ask(&mut client, &format!("{CURSOR}{bob}")).status, 200);
    // A page that came without TLS is another one.
    let origin = format!("Origin: http://{}\r\n", program.https());
    let host = CURSOR.replace("localhost", &program.https().to_string());
    let answer = ask(&mut client, &format!("{host}{bob}{origin}"));
    assert_eq!(answer.status, 403, "{answer:?}");
    // TLS at the other port gets an answer that says so.
    let mut client = Client::connect(program.http());
    client.send(b"\x16\x03\x01\x02\x00\x01");
    client.expect("HTTP/1.1 400 Bad Request");
}

/// A form with a name and a password, sent at `host`.
fn form(host: &str, user: &str, password: &str) -> String {
    let body = format!("user={user}&password={password}&to=m/1-2");
    format!(
        "POST /login HTTP/1.1\r\nHost: {host}\r\nOrigin: https://{host}\r\n\
         Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Sends a whole request; returns the response.
fn send(client: &mut Client, request: &str) -> Answer {
    client.send(request.as_bytes());
    answer(client, false)
}

/// The field with the cookie that a response sets, which nobody else gets to see.
fn cookie(answer: &Answer) -> String {
    let line = answer.cookie.as_ref().unwrap();
    let (pair, attributes) = line.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax");
    format!("Cookie: {pair}\r\n")
}

#[test]
fn a_browser_logs_in_with_a_form_over_tls_and_out_again() {
    let directory = tempfile::tempdir().unwrap();
    let lines = tls::configure(directory.path()) + "https = [\"127.0.0.1:0\"]\n";
    let program = closed(directory.path(), &lines);
    program.deliver("bob@example.com", "Subject: for bob\r\n\r\nx\r\n");
    program.deliver("alice@example.com", "Subject: for alice\r\n\r\nx\r\n");
    let host = program.https().to_string();
    let mut client = Client::connect(program.https()).begin_tls();
    let page = "GET / HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Mode: navigate\r\n";
    let first = ask(&mut client, page);
    assert_eq!((first.status, first.field("set-cookie")), (401, None));
    assert!(
        first
            .body
            .contains("<form method=\"post\" action=\"login\">")
    );
    assert_eq!(
        first.field("www-authenticate"),
        Some("form realm=\"facteur\"")
    );
    let style = "GET /assets/style.css HTTP/1.1\r\nHost: localhost\r\n";
    assert_eq!(ask(&mut client, style).status, 200);

    let wrong = send(&mut client, &form(&host, "bob@example.com", "wrong"));
    assert_eq!((wrong.status, wrong.field("set-cookie")), (401, None));
    assert!(wrong.body.contains("The address or the password is wrong."));
    program.expect_log("login refused user=\"bob@example.com\" client=127.0.0.1 mechanism=FORM");
    // Pages of other sites send no form. Its body is not read, so the connection ends.
    let own = form(&host, "bob@example.com", "password");
    for (here, elsewhere) in [("same-origin", "cross-site"), ("https://", "https://evil.")] {
        let mut client = Client::connect(program.https()).begin_tls();
        let refused = send(&mut client, &own.replace(here, elsewhere));
        assert_eq!((refused.status, refused.field("set-cookie")), (403, None));
    }

    let right = send(&mut client, &own);
    assert_eq!(right.status, 303, "{right:?}");
    assert_eq!(right.field("location"), Some("./m/1-2"));
    let bob = cookie(&right);
    let list = "GET /api/v1/messages HTTP/1.1\r\nHost: localhost\r\n";
    let mail = ask(&mut client, &format!("{list}{bob}"));
    assert!(mail.body.contains("for bob") && !mail.body.contains("for alice"));
    let shown = ask(&mut client, &format!("{page}{bob}"));
    assert!(shown.body.contains("action=\"logout\""), "{shown:?}");
    assert_eq!(shown.field("set-cookie"), None);
    // Another site's page has the cookie, and may not use it.
    let other = format!("{list}{bob}Sec-Fetch-Site: cross-site\r\n");
    assert_eq!(ask(&mut client, &other).status, 403);
    // Another login is another token.
    let again = cookie(&send(&mut client, &own));
    assert_ne!(bob, again);
    let altered = bob.replace("facteur=", "facteur=A");
    assert_eq!(ask(&mut client, &format!("{list}{altered}")).status, 401);

    let mut waiting = Client::connect(program.https()).begin_tls();
    let wait = CURSOR.replace("/api/cursor", "/api/wait?timeout=60s&count=9");
    waiting.say(&format!("{wait}{bob}"));
    let out = format!("POST /logout HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{bob}");
    let gone = ask(&mut client, &out);
    assert_eq!((gone.status, gone.field("location")), (303, Some("./")));
    let forgotten = gone.field("set-cookie").unwrap();
    assert!(forgotten.contains("=; path=/;") && forgotten.ends_with("; max-age=0"));
    assert_eq!(answer(&mut waiting, false).status, 401);
    assert_eq!(ask(&mut client, &format!("{list}{bob}")).status, 401);
    assert_eq!(ask(&mut client, &format!("{list}{again}")).status, 200);
}

#[test]
fn a_cookie_ends_with_its_password_and_is_nothing_without_tls() {
    let directory = tempfile::tempdir().unwrap();
    let lines = tls::configure(directory.path()) + "https = [\"127.0.0.1:0\"]\n";
    let program = closed(directory.path(), &lines);
    let host = program.https().to_string();
    let mut client = Client::connect(program.https()).begin_tls();
    let bob = cookie(&send(
        &mut client,
        &form(&host, "bob@example.com", "password"),
    ));
    assert_eq!(ask(&mut client, &format!("{CURSOR}{bob}")).status, 200);

    let plain = ask_once(program.http(), &format!("{CURSOR}{bob}"));
    assert_eq!(plain.status, 401, "{plain:?}");
    let page = "GET / HTTP/1.1\r\nHost: localhost\r\nSec-Fetch-Mode: navigate\r\n";
    let plain = ask_once(program.http(), page);
    let challenge = plain.field("www-authenticate").unwrap();
    assert!(challenge.starts_with("basic ") && !plain.body.contains("<form"));
    let host = program.http().to_string();
    let sent = form(&host, "bob@example.com", "password").replace("https://", "http://");
    let refused = send(&mut Client::connect(program.http()), &sent);
    assert_eq!((refused.status, refused.field("set-cookie")), (401, None));
    let basic = basic("bob@example.com", "password");
    let sent = sent.replace("Content-Type", &format!("{basic}Content-Type"));
    let refused = send(&mut Client::connect(program.http()), &sent);
    assert_eq!((refused.status, refused.field("set-cookie")), (403, None));

    change_password(directory.path(), &program);
    assert_eq!(ask(&mut client, &format!("{CURSOR}{bob}")).status, 401);
}

/// Probes of containers cannot log in.
#[test]
fn probes_need_no_login() {
    let directory = tempfile::tempdir().unwrap();
    let program = closed(directory.path(), "");
    for path in ["/livez", "/readyz"] {
        let head = CURSOR.replace("/api/cursor", path);
        let answer = ask_once(program.http(), &head);
        assert_eq!((answer.status, &*answer.body), (200, "ok"), "{path}");
    }
    for path in ["/", "/login", "/api/v1/info", "/livez/", "/view/livez.txt"] {
        let head = CURSOR.replace("/api/cursor", path);
        assert_eq!(ask_once(program.http(), &head).status, 401, "{path}");
    }
}

#[test]
fn the_other_ports_name_the_port_of_http() {
    let directory = tempfile::tempdir().unwrap();
    let program = program(directory.path(), "");
    let port = program.http().port();
    for (address, greeting, answer) in [
        (
            program.smtp,
            "220 ",
            format!("421 This port speaks SMTP; HTTP is at port {port}, closing"),
        ),
        (
            program.pop3,
            "+OK ",
            format!("-ERR This port speaks POP3; HTTP is at port {port}; closing connection"),
        ),
    ] {
        let mut client = Client::connect(address);
        client.expect_prefix(greeting);
        client.say("GET / HTTP/1.1");
        client.expect(&answer);
        client.expect_end();
    }
}

#[test]
fn http_can_be_off() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), "http = \"off\"\n");
    assert_eq!(program.banner[3], "HTTP off");
}

#[test]
fn http_alone_is_not_served() {
    let alone = ["--smtp", "off", "--pop3", "off", "--http", "127.0.0.1:0"];
    let ended = run(&alone);
    assert_eq!(ended.status, Some(2), "{}", ended.errors);
    assert!(
        ended.errors.contains("set smtp or pop3"),
        "{}",
        ended.errors
    );
}

/// Nobody has asked for it, so it does not keep mail away.
#[test]
fn the_default_port_can_be_in_use_but_no_other() {
    // If this fails, it is already in use.
    let _held = TcpListener::bind("127.0.0.1:65480");
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--smtp", "127.0.0.1:0", "--pop3", "127.0.0.1:0"];
    let program = Program::start_bare(directory.path(), &[], &arguments);
    program.expect_log("HTTP is off on 127.0.0.1:65480: the port is in use");
    program.deliver("bob@example.com", "x\r\n");
    let (smtp, pop3) = (program.smtp.to_string(), program.pop3.to_string());
    let ready = run(&["--smtp", &smtp, "--pop3", &pop3, "check-ready"]);
    assert!(
        ready.output.starts_with("ready: smtp, pop3"),
        "{}",
        ready.errors
    );

    let held = TcpListener::bind(format!("{}:0", own_address())).unwrap();
    let address = held.local_addr().unwrap().to_string();
    let mail = directory.path().join("other");
    let arguments = [&arguments[..], &["--http", &address, "--mail"]].concat();
    let ended = run(&[&arguments[..], &[mail.to_str().unwrap()]].concat());
    assert_eq!(ended.status, Some(1), "{}", ended.errors);
    let complaint = format!("cannot listen on {address} for http (is another facteur running?");
    assert!(ended.errors.contains(&complaint), "{}", ended.errors);
}

/// NET-5: those who wait for mail at the control socket have a share of their own, and fill it.
#[test]
fn whoever_waits_at_the_control_socket_takes_no_place_of_smtp() {
    const ENOUGH: usize = 3_000;
    capacity::raise_descriptors().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start(directory.path());
    let control = directory.path().join("mail/.facteur/control");
    let wait = b"GET /api/wait?timeout=60s HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut waiting = Vec::new();
    loop {
        let mut stream = UnixStream::connect(&control).unwrap();
        // One that is refused may be closed before this arrives.
        stream.write_all(wait).unwrap_or_default();
        waiting.push(stream);
        let refused = waiting.iter().filter(|stream| has_answer(stream)).count();
        if refused > 0 {
            break;
        }
        assert!(waiting.len() < ENOUGH, "nobody is refused");
    }
    assert!(waiting.len() > 20, "{}", waiting.len());
    program.deliver("bob@example.com", "beside those who wait\r\n");
    assert_eq!(
        program.contents("bob@example.com"),
        ["beside those who wait\r\n"]
    );
    program.expect_log("Too many ");
}

/// Whether something has arrived, or the connection has ended.
fn has_answer(stream: &UnixStream) -> bool {
    stream.set_nonblocking(true).unwrap();
    let mut stream = stream;
    stream.read(&mut [0]).is_ok()
}
