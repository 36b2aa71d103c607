//! Who gets a form, what it says, and where it leads to.

use super::{World, mailbox};
use crate::{
    api::{Asker, Entry, Route, credentials, entry, logged_in, logged_out, routes, turned_away},
    http::limits::TOKEN_OCTETS,
    http::{Body, Fields, Method, Name, Refusal, Request, Response, Scope, Target, Token, Way},
};

const NAVIGATION: (&str, &str) = ("Sec-Fetch-Mode", "navigate");
const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

fn request(method: Method, target: &str, way: Way, fields: &[(&str, &str)]) -> Request {
    let mut request = Request {
        method,
        target: Target::parse(target).unwrap(),
        fields: Fields::default(),
        body: Vec::new(),
        scope: Scope::Everything,
        way,
    };
    for (name, value) in fields {
        request.fields.push(name, value.as_bytes());
    }
    request
}

/// A form that was sent.
fn sent(body: &str) -> Request {
    let mut request = request(Method::Post, "/login", Way::Tls, &[NAVIGATION, FORM]);
    request.body = body.as_bytes().to_vec();
    request
}

fn text(response: &Response) -> String {
    let Body::Octets(octets) = response.body() else {
        panic!("{response:?}")
    };
    String::from_utf8(octets.to_vec()).unwrap()
}

fn first(response: &Response, name: Name) -> String {
    let mut values = response.values(name);
    let value = values.next().unwrap_or_default().to_owned();
    assert_eq!(values.next(), None, "{response:?}");
    value
}

#[test]
fn only_people_over_tls_get_the_form() {
    for (way, fields, is_form, challenge) in [
        (Way::Tls, vec![NAVIGATION], true, "Form"),
        (Way::Tls, vec![("Accept", "text/html")], true, "Form"),
        // Its browser would ask for a password.
        (Way::Tls, vec![("Sec-Fetch-Mode", "cors")], false, "Form"),
        (Way::Tls, vec![("Accept", "*/*")], false, "Basic"),
        (Way::Tls, vec![], false, "Basic"),
        (Way::Plain, vec![NAVIGATION], false, "Basic"),
    ] {
        let request = request(Method::Get, "/", way, &fields);
        let response = turned_away(&request, Refusal::login_required());
        assert_eq!(response.status().code(), 401);
        let challenges = first(&response, Name::WwwAuthenticate);
        assert!(
            challenges.starts_with(challenge),
            "{fields:?}: {challenges}"
        );
        assert_eq!(text(&response).contains("<form"), is_form, "{fields:?}");
        assert_eq!(first(&response, Name::SetCookie), "");
        let policy = first(&response, Name::ContentSecurityPolicy);
        let is_page = policy.contains("form-action 'self'; frame-ancestors 'none'");
        assert_eq!(is_page, is_form, "{fields:?}: {policy}");
    }
}

#[test]
fn the_form_remembers_where_somebody_wanted_to_go() {
    for (target, base, to) in [
        ("/", "", ""),
        ("/login", "", ""),
        (
            "/?mailbox=bob%40a.example&q=a+b",
            "",
            "?mailbox=bob%40a.example&amp;q=a+b",
        ),
        ("/m/1-2", "../", "m/1-2"),
        ("/m/1-2/raw", "../../", "m/1-2/raw"),
        (
            "/%22%3E%3Cscript%3E?\"><script>",
            "",
            "%22%3E%3Cscript%3E?&quot;&gt;&lt;script&gt;",
        ),
    ] {
        let request = request(Method::Get, target, Way::Tls, &[NAVIGATION]);
        let page = text(&turned_away(&request, Refusal::login_required()));
        let action = format!("action=\"{base}login\"");
        let hidden = format!("name=\"to\" value=\"{to}\"");
        let style = format!("href=\"{base}assets/style.css\"");
        for part in [action, hidden, style] {
            assert_eq!(page.matches(&part).count(), 1, "{target} {part}: {page}");
        }
        assert!(
            !page.contains("<script") && !page.contains("alert"),
            "{page}"
        );
    }
}

#[test]
fn a_wrong_password_shows_the_form_again_without_it() {
    let form = sent("user=%3Cb%3Ebob&password=hunter2&to=m%2F1-2");
    for (refusal, note) in [
        (
            Refusal::login_required(),
            "The address or the password is wrong.",
        ),
        (Refusal::busy("Try again later"), "Try again later"),
    ] {
        let status = refusal.status;
        let response = turned_away(&form, refusal);
        assert_eq!(response.status(), status);
        let page = text(&response);
        for part in [
            &format!("<p role=\"alert\">{note}</p>"),
            "value=\"&lt;b&gt;bob\"",
            "value=\"m/1-2\"",
            "action=\"login\"",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("hunter2"), "{page}");
    }
}

#[test]
fn a_form_lacks_nothing() {
    let found = credentials(&sent("user=bob&password=x")).unwrap();
    assert_eq!((&*found.user, found.password.expose()), ("bob", "x"));
    for body in ["user=bob", "password=x", "", "user=&password=x"] {
        let refusal = credentials(&sent(body)).unwrap_err();
        assert_eq!(refusal.status.code(), 400, "{body}");
        let page = text(&turned_away(&sent(body), refusal));
        assert!(page.contains("Type the address and the password"), "{page}");
    }
    let mut other = sent("user=bob&password=x");
    other.fields = Fields::default();
    assert_eq!(credentials(&other).unwrap_err().status.code(), 415);
}

/// Whatever the form says, nobody is led elsewhere, and the response has no other field.
#[test]
fn a_login_leads_to_our_own_pages_only() {
    let token = Token::new([7; TOKEN_OCTETS]);
    for (to, place) in [
        ("", "./"),
        ("m/1-2", "./m/1-2"),
        ("%3Fq%3Da%2520b", "./?q=a%20b"),
        ("%2Fevil.example", ".//evil.example"),
        ("%2F%2Fevil.example", ".///evil.example"),
        ("https%3A%2F%2Fevil.example", "./https://evil.example"),
        ("%5C%5Cevil.example", "./\\\\evil.example"),
        ("javascript%3Aalert(1)", "./javascript:alert(1)"),
        ("m%0D%0ASet-Cookie%3A%20a", "./"),
        ("..%2F..%2Fevil", "./"),
        ("m%2F%C3%A9", "./"),
        ("m#x", "./"),
    ] {
        let response = logged_in(&sent(&format!("to={to}&user=a&password=b")), &token);
        assert_eq!(response.status().code(), 303);
        assert_eq!(first(&response, Name::Location), place, "{to}");
        assert_eq!(first(&response, Name::SetCookie), token.to_cookie());
        assert_eq!(first(&response, Name::CacheControl), "no-store");
    }
    let response = logged_out();
    assert_eq!(first(&response, Name::Location), "./");
    assert_eq!(first(&response, Name::SetCookie), Token::forgotten());
}

/// What needs no login says nothing of mail: whoever adds a path here looks at its answer.
#[test]
fn few_paths_need_no_login() {
    let with = |wanted| {
        let routes = routes().iter().filter(move |it| it.entry == wanted);
        let name = |it: &Route| format!("{:?} {}", it.verb, it.path);
        routes.map(name).collect::<Vec<_>>()
    };
    assert_eq!(
        with(Entry::Anybody),
        ["Get /assets/{name}", "Get /livez", "Get /readyz"]
    );
    assert_eq!(with(Entry::LogIn), ["Post /login"]);
    assert_eq!(with(Entry::LogOut), ["Post /logout"]);
    for (method, target, expect) in [
        (Method::Get, "/livez", Entry::Anybody),
        (Method::Head, "/readyz?a=b", Entry::Anybody),
        (Method::Get, "/assets/style.css", Entry::Anybody),
        (Method::Post, "/livez", Entry::Login),
        (Method::Get, "/livez/", Entry::Login),
        (Method::Get, "/assets/", Entry::Login),
        (Method::Get, "/no/such/path", Entry::Login),
        (Method::Get, "/login", Entry::Login),
        (Method::Post, "/login", Entry::LogIn),
        (Method::Post, "/logout", Entry::LogOut),
        (Method::Get, "/logout", Entry::Login),
        (Method::Get, "/", Entry::Login),
    ] {
        let found = entry(&request(method, target, Way::Tls, &[]));
        assert_eq!(found, expect, "{method:?} {target}");
    }
}

#[test]
fn a_page_offers_to_log_out_whoever_has_logged_in_with_a_form() {
    let world = World::new();
    let cookie = Token::new([7; TOKEN_OCTETS]).to_cookie();
    let cookie = ("Cookie", cookie.split(';').next().unwrap());
    let basic = ("Authorization", "Basic QTpi");
    let ann = Asker::Owner(mailbox("ann@a.example"));
    for (asker, way, fields, is_offered) in [
        (&ann, Way::Tls, vec![cookie], true),
        (&ann, Way::Tls, vec![cookie, basic], false),
        (&ann, Way::Tls, vec![basic], false),
        (&ann, Way::Plain, vec![cookie], false),
        (&Asker::Everybody, Way::Tls, vec![cookie], false),
    ] {
        for target in ["/", "/m/0000000000000000-00000000"] {
            let reply = world.answer(&request(Method::Get, target, way, &fields), asker);
            let is_there = reply.text.contains("logout\"><button>Log out</button>");
            assert_eq!(is_there, is_offered, "{asker:?} {fields:?}");
        }
    }
}

#[test]
fn where_no_form_logs_in_its_paths_say_so() {
    let world = World::new();
    for target in ["/login", "/logout"] {
        world
            .ask(Method::Post, target, "")
            .refused(403, "HTTP Basic");
    }
    assert_eq!(world.get("/login").code, 303);
    world.ask(Method::Get, "/logout", "").refused(405, "POST");
}
