//! The pages, and what belongs to them.

use crate::{
    api::{Answer, Asker, Audience, Failure, Verb, answer, routes},
    http::{Body, Fields, Kind, Method, Name, Refusal, Request, Scope, Target, Way},
};

use super::{LETTER, Reply, World, mailbox};

impl World {
    /// The response to a request with these fields that may ask for what `scope` says.
    fn browse(
        &self,
        target: &str,
        fields: &[(&str, &str)],
        scope: Scope,
    ) -> Result<Answer, Failure> {
        let mut sent = Fields::default();
        for (name, value) in fields {
            sent.push(name, value.as_bytes());
        }
        let request = Request {
            method: Method::Get,
            target: Target::parse(target).unwrap(),
            fields: sent,
            body: Vec::new(),
            scope,
            way: Way::Plain,
        };
        answer(&self.api, &request, &Asker::Everybody)
    }

    fn policy(&self, target: &str) -> String {
        let response = match self.browse(target, &[], Scope::Everything) {
            Ok(Answer::Response(response) | Answer::Content { response, .. }) => response,
            other => panic!("{other:?}"),
        };
        let mut values = response.values(Name::ContentSecurityPolicy);
        values.next().unwrap().to_owned()
    }
}

impl Reply {
    /// The view without scripts.
    fn plain(&self) -> &str {
        assert_eq!(self.fields.0, "text/html; charset=utf-8", "{self:?}");
        let (_, rest) = self.text.split_once("<noscript>").unwrap();
        rest.split_once("</noscript>").unwrap().0
    }

    #[track_caller]
    fn has(&self, texts: &[&str]) {
        for text in texts {
            assert!(self.text.contains(text), "{text}: {}", self.text);
        }
    }
}

fn policy_of(kind: Kind) -> &'static str {
    let mut fields = kind.fields().iter();
    let policy = fields.find(|(name, _)| *name == Name::ContentSecurityPolicy);
    policy.unwrap().1
}

#[test]
fn the_list_shows_messages_and_marks_none_as_read() {
    let world = World::new();
    let id = world.deliver(LETTER, &["bob@a.example"]);
    world.deliver_subject("<script>", &["carl@a.example"]);
    for _ in 0..2 {
        let reply = world.get("/");
        assert_eq!(reply.code, 200);
        reply.has(&[
            "href=\"assets/style.css\"",
            &format!("<tr class=\"unread\"><td><bdi>Ann</bdi><td><bdi><a href=\"m/{id}\">"),
            "Your caf\u{e9} is open</a>",
            "&lt;script&gt;</a>",
            "1 to 2 of 2.",
        ]);
        world.get(&format!("/m/{id}"));
        world.get(&format!("/m/{id}/html"));
    }
    assert_eq!(world.get("/api/v1/info").json()["Unread"], 2);
    assert_eq!(world.policy("/"), policy_of(Kind::Page));
}

#[test]
fn the_list_has_mailboxes_searches_and_pages() {
    let world = World::new();
    for number in 0..60 {
        world.deliver_subject(&format!("no {number}."), &["bob@a.example"]);
    }
    world.deliver_subject("other", &["carl@a.example"]);
    let has = |target: &str, texts: &[&str]| {
        let reply = world.get(target);
        assert_eq!(reply.code, 200, "{target}");
        reply.plain();
        reply.has(texts);
    };
    has("/", &["1 to 50 of 61.", "?start=50\">Older"]);
    has("/?start=50", &["51 to 61 of 61.", "?start=0\">Newest"]);
    has("/?start=999", &["No messages."]);
    has("/?mailbox=carl@a.example", &["other", "1 to 1 of 1."]);
    has("/?mailbox=carl@a.example&q=no&plain=1", &["No messages."]);
    has("/?mailbox=nobody@a.example", &["No messages."]);
    has(
        "/?q=subject:%22no%2041.%22&plain=1",
        &["1 to 1 of 1.", ">no 41.<"],
    );
    // The scripts search for themselves.
    has("/?q=no", &["value=\"no\"", "Press Search", "No messages."]);
    let wrong = world.get("/?q=tag:x%3Cb%3E");
    assert_eq!(wrong.code, 400);
    assert!(!wrong.plain().contains("<b>"), "{wrong:?}");
    world
        .get("/?start=x")
        .refused(400, "start is not a whole number");
}

#[test]
fn a_message_is_shown_without_scripts() {
    let world = World::new();
    let id = world.deliver(LETTER, &["bob@a.example", "eve@c.example"]);
    for name in [id.as_str(), "latest"] {
        let reply = world.get(&format!("/m/{name}?view=text&mailbox=x"));
        assert_eq!(reply.code, 200);
        reply.has(&[
            "href=\"../assets/style.css\"",
            "<h1><bdi>Your caf\u{e9} is open</bdi></h1>",
            "<td><bdi>Ann &lt;ann@a.example&gt;</bdi>",
            "<td><bdi>Bob &lt;Bob@A.example&gt;, carl+news@a.example</bdi>",
            "<td><bdi>bob@a.example, eve@c.example</bdi>",
            "The code is 4711.</pre>",
            &format!("<a href=\"{id}/html\">"),
            &format!("<a href=\"../api/v1/message/{id}/raw\">"),
            &format!("<a href=\"{id}/part/3\"><bdi>../a b.bin</bdi></a> application/x-evil, 4 B"),
        ]);
    }
    for name in ["9f-1", "x", "..."] {
        let reply = world.get(&format!("/m/{name}"));
        assert_eq!(reply.code, 404);
        reply.has(&["no longer here", "href=\"../assets/style.css\""]);
    }
}

#[test]
fn the_files_of_the_pages_are_kept_by_browsers() {
    let world = World::new();
    let reply = world.get("/assets/app.js");
    assert_eq!(reply.code, 200);
    assert_eq!(reply.fields.0, "text/javascript; charset=utf-8");
    let browse = |fields: &[(&str, &str)]| {
        let answer = world.browse("/assets/app.js", fields, Scope::Everything);
        let Ok(Answer::Response(response)) = answer else {
            panic!("{answer:?}");
        };
        response
    };
    let fresh = browse(&[]);
    let tag = fresh.values(Name::ETag).next().unwrap();
    let held = browse(&[("If-None-Match", tag)]);
    assert_eq!(held.status().code(), 304);
    assert_eq!(*held.body(), Body::Octets((&[]).into()));
    assert_eq!(held.values(Name::ETag).next(), Some(tag));
    let other = browse(&[("If-None-Match", "\"0\"")]);
    assert_eq!(other.status().code(), 200);
    for name in ["page.html", "x", "..%2fapp.js"] {
        world
            .get(&format!("/assets/{name}"))
            .refused(404, "no such file");
    }
}

#[test]
fn the_html_of_a_message_is_isolated() {
    let world = World::new();
    let id = world.deliver(LETTER, &["bob@a.example"]);
    let document = "<base target=\"_blank\"><p>The <b>code</b> is \
        <img src=data:image/png;base64,cG5n>.";
    for (target, kind) in [
        (format!("/m/{id}/html"), Kind::MailDocument),
        ("/m/latest/html?remote=0".to_owned(), Kind::MailDocument),
        (
            format!("/m/{id}/html?remote=1"),
            Kind::MailDocumentWithRemote,
        ),
        (format!("/view/{id}.html"), Kind::MailDocument),
        ("/view/latest.html?remote=1".to_owned(), Kind::MailDocument),
    ] {
        let reply = world.get(&target);
        assert_eq!((reply.code, &*reply.text), (200, document), "{target}");
        assert_eq!(reply.fields.0, "text/html; charset=utf-8");
        assert_eq!(world.policy(&target), policy_of(kind), "{target}");
    }
    let bare = world.deliver("Subject: x\n\ntext\n", &["bob@a.example"]);
    for target in [format!("/m/{bare}/html"), format!("/view/{bare}.html")] {
        world.get(&target).refused(404, "no HTML");
    }
    let nested = format!(
        "Content-Type: multipart/mixed; boundary=b\n\n{}",
        "--b\n\n".repeat(2_000)
    );
    let nested = world.deliver(&nested, &["bob@a.example"]);
    world
        .get(&format!("/m/{nested}/html"))
        .refused(501, "download");
    world.get(&format!("/m/{nested}")).has(&["too complex"]);
}

#[test]
fn a_document_has_the_charset_of_its_mail_and_large_pictures() {
    let world = World::new();
    let picture = "AAEC".repeat(40_000);
    let line = "AAEC".repeat(16) + "\n";
    let lines = line.repeat(40_000 / 16);
    let letter = format!(
        "Content-Type: multipart/related; boundary=b\n\n--b\n\
         Content-Type: text/html; charset=ISO-8859-2\nContent-Transfer-Encoding: quoted-printable\n\
         \n<iframe src=3Dhttp://x>=E6<img src=3D\"cid:p@x\"><img src=3D\"cid:p@x\">\
         <img src=3Dcid:s>\n\
         --b\nContent-Type: image/jpeg\nContent-ID: <p@x>\n\
         Content-Transfer-Encoding: base64\n\n{lines}\
         --b\nContent-Type: image/svg+xml\nContent-ID: <s>\n\n<svg/>\n--b--\n"
    );
    let id = world.deliver(&letter, &["bob@a.example"]);
    let target = format!("/m/{id}/html");
    let Ok(Answer::Content {
        response,
        mut content,
    }) = world.browse(&target, &[], Scope::Everything)
    else {
        panic!();
    };
    content.limit(100);
    let (mut octets, mut n_pieces) = (Vec::new(), 0);
    while content.next(&mut octets).unwrap() {
        n_pieces += 1;
    }
    let text: String = octets.iter().copied().map(char::from).collect();
    let image = format!("<img src=\"data:image/jpeg;base64,{picture}\">");
    assert_eq!(
        text,
        format!(
            "<base target=\"_blank\"><iframe src=\"\" srcdoc=\"\" src=http://x>\u{e6}{image}\
             {image}<img src=cid:s>"
        )
    );
    assert!(n_pieces > 1_000, "{n_pieces}");
    let media_type = response.values(Name::ContentType).next();
    assert_eq!(media_type, Some("text/html; charset=iso-8859-2"));
}

#[test]
fn messages_and_parts_are_saved() {
    let world = World::new();
    let id = world.deliver(LETTER, &["bob@a.example"]);
    let raw = world.get(&format!("/m/{id}/raw"));
    assert_eq!(raw.text, LETTER.replace('\n', "\r\n"));
    assert_eq!(raw.fields.0, "message/rfc822");
    assert_eq!(
        raw.fields.1,
        "attachment; filename=\"Your caf_ is open.eml\"; \
         filename*=UTF-8''Your%20caf%C3%A9%20is%20open.eml"
    );
    let bare = world.deliver("\n", &["bob@a.example"]);
    let raw = world.get(&format!("/m/{bare}/raw"));
    assert_eq!(raw.fields.1, format!("attachment; filename=\"{bare}.eml\""));
    let part = world.get(&format!("/m/{id}/part/3"));
    assert_eq!(part.text, "\0\u{1}\u{2}\u{3}");
    assert_eq!(
        part.fields,
        (
            "application/octet-stream".to_owned(),
            "attachment; filename=\"_a b.bin\"".to_owned()
        )
    );
    for target in [format!("/m/{id}/raw"), format!("/m/{id}/part/3")] {
        assert_eq!(world.policy(&target), policy_of(Kind::Attachment));
    }
    for part in ["1", "9", "0"] {
        let target = format!("/m/{id}/part/{part}");
        world.get(&target).refused(404, "no such part");
    }
    assert_eq!(
        world.get(&format!("/view/{id}.txt")).text,
        "The code is 4711."
    );
    assert_eq!(world.get("/view/latest.txt").text, "");
    // cypress-mailpit writes two.
    assert_eq!(world.get("//view/latest.txt").code, 200);
    world.get("///view/latest.txt").refused(404, "nothing");
    world
        .get(&format!("/view/{id}"))
        .refused(400, ".html or .txt");
    world.get("/view/x.txt").refused(404, "no message");
}

#[test]
fn a_link_from_elsewhere_opens_pages_alone() {
    let world = World::new();
    let id = world.deliver(LETTER, &["bob@a.example"]);
    let values = [("{id}", id.as_str()), ("{part}", "3"), ("{name}", "app.js")];
    let expected = Refusal::pages_only();
    let mut n_pages = 0;
    for route in routes().iter().filter(|it| it.verb == Verb::Get) {
        let path = values
            .iter()
            .fold(route.path.to_owned(), |path, (name, value)| {
                path.replace(name, value)
            });
        let path = path.replace(['{', '}'], "");
        match world.browse(&path, &[], Scope::Pages) {
            Ok(Answer::Response(_)) if route.audience == Audience::People => n_pages += 1,
            Err(Failure::Refused(refusal)) if route.audience != Audience::People => {
                assert_eq!(*refusal, expected, "{path}");
            }
            other => panic!("{path}: {other:?}"),
        }
    }
    assert_eq!(n_pages, 3);
}

#[test]
fn with_accounts_others_mail_does_not_exist() {
    let world = World::new();
    let id = world.deliver(LETTER, &["bob@a.example", "eve@c.example"]);
    let other = world.deliver_subject("secret", &["eve@c.example"]);
    let bob = Asker::Owner(mailbox("bob@a.example"));
    let get = |target: &str| world.ask_as(&bob, (Method::Get, target), "");
    let list = get("/");
    list.has(&["1 to 1 of 1.", "Your caf\u{e9} is open"]);
    assert!(!list.text.contains("secret"));
    get("/?mailbox=eve@c.example").has(&["No messages."]);
    let message = get(&format!("/m/{id}"));
    message.has(&["<td><bdi>bob@a.example</bdi>"]);
    assert!(!message.text.contains("eve@c.example"));
    for rest in ["/html", "/raw", "/part/1"] {
        get(&format!("/m/{other}{rest}")).refused(404, "no message");
    }
    assert_eq!(get(&format!("/m/{other}")).code, 404);
    get(&format!("/view/{other}.txt")).refused(404, "no message");
}
