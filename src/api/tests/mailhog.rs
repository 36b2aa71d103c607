//! The API of `MailHog`.

use serde_json::{Value, json};

use super::{LETTER, World};
use crate::{
    api::{Asker, limits::LISTED_OCTETS_MAX},
    http::{Fields, Method, Request, Scope, Target, Way},
};

fn ids(list: &Value) -> Vec<&str> {
    let items = list["items"].as_array().unwrap();
    items.iter().map(|it| it["ID"].as_str().unwrap()).collect()
}

#[test]
fn a_message_has_the_shape_of_mailhog() {
    let world = World::new();
    let content = format!("Return-Path: <sender@x.example>\n{LETTER}");
    let id = world.deliver(&content, &["bob@a.example"]);
    let list = world.get("/api/v2/messages").json();
    let (total, count, start) = (&list["total"], &list["count"], &list["start"]);
    assert_eq!((total, count, start), (&json!(1), &json!(1), &json!(0)));
    let message = world.get(&format!("/api/v1/messages/{id}")).json();
    assert_eq!(list["items"][0], message);
    let path = |mailbox: &str, domain: &str| {
        let (relays, params) = (Value::Null, "");
        json!({"Relays": relays, "Mailbox": mailbox, "Domain": domain, "Params": params})
    };
    assert_eq!(message["ID"], json!(id));
    assert_eq!(message["From"], path("sender", "x.example"));
    assert_eq!(message["To"], json!([path("bob", "a.example")]));
    let raw = json!({"From": "sender@x.example", "To": ["bob@a.example"], "Helo": ""});
    assert_eq!(message["Raw"], raw);
    let subject = &message["Content"]["Headers"]["Subject"];
    assert_eq!(*subject, json!(["Your =?utf-8?q?caf=C3=A9?= is open"]));
    let body = message["Content"]["Body"].as_str().unwrap();
    let (_, expected) = LETTER.split_once("\n\n").unwrap();
    assert_eq!(body, expected.replace('\n', "\r\n"));
    let parts = message["MIME"]["Parts"].as_array().unwrap();
    let part = |index: usize| {
        let part = &parts[index];
        (
            part["Headers"]["Content-Type"][0].as_str().unwrap(),
            part["Body"].as_str().unwrap(),
        )
    };
    assert_eq!(parts.len(), 4);
    assert_eq!(
        part(0),
        ("text/plain; charset=utf-8", "The code is 4711=2E")
    );
    assert_eq!(part(3), ("application/x-evil", "AAECAw=="));
    assert_eq!(parts[3]["MIME"], Value::Null);
    // Nobody has read it: the programs of MailHog know no marks.
    assert_eq!(world.get("/api/v1/info").json()["Unread"], 1);
}

#[test]
fn a_message_without_parts_has_none() {
    let world = World::new();
    world.deliver(
        "From: a@x.example\nSubject: b\n\nOne\n\u{e4}\n",
        &["bob@a.example"],
    );
    let list = world.get("/api/v2/messages").json();
    let message = &list["items"][0];
    assert_eq!(message["MIME"], Value::Null);
    assert_eq!(message["Content"]["Body"], "One\r\n\u{e4}\r\n");
    assert_eq!(message["Content"]["Size"], 7);
    assert_eq!(message["Raw"]["From"], "a@x.example");
}

#[test]
fn a_search_is_of_one_kind() {
    let world = World::new();
    let letter = world.deliver(LETTER, &["bob@a.example", "eve@c.example"]);
    let other = world.deliver("From: bob@a.example\n\nHello\n", &["ann@a.example"]);
    for (kind, query, found) in [
        ("from", "ann@a", Some(&letter)),
        ("from", "bob@a", Some(&other)),
        ("to", "carl%2Bnews", Some(&letter)),
        ("to", "eve@c.example", Some(&letter)),
        ("to", "ann@a.example", Some(&other)),
        ("containing", "hello", Some(&other)),
        ("containing", "%22code+is%22", Some(&letter)),
        ("containing", "code+4711", None),
    ] {
        let list = world
            .get(&format!("/api/v2/search?kind={kind}&query={query}"))
            .json();
        let found: Vec<&str> = found.into_iter().map(String::as_str).collect();
        assert_eq!(ids(&list), found, "{kind} {query}");
        assert_eq!(list["total"], json!(found.len()));
    }
    for (query, advice) in [
        ("?kind=from", "query is empty"),
        ("?kind=from&query=%22", "query is empty"),
        ("?kind=subject&query=x", "kind is not"),
        ("?query=x", "kind is not"),
        ("?kind=from&query=x&limit=0", "limit is 0"),
    ] {
        world
            .get(&format!("/api/v2/search{query}"))
            .refused(400, advice);
    }
}

#[test]
fn a_list_ends_where_its_bodies_would_be_too_long() {
    let world = World::new();
    let large = format!("Subject: x\n\n{}\n", "x".repeat(LISTED_OCTETS_MAX * 2 / 3));
    let huge = format!("Subject: x\n\n{}\n", "x".repeat(LISTED_OCTETS_MAX * 2));
    world.deliver(&large, &["bob@a.example"]);
    world.deliver(&large, &["bob@a.example"]);
    let list = world.get("/api/v2/messages").json();
    assert_eq!((&list["total"], &list["count"]), (&json!(2), &json!(1)));
    let list = world.get("/api/v2/messages?start=1").json();
    assert_eq!((&list["total"], &list["count"]), (&json!(2), &json!(1)));
    let id = world.deliver(&huge, &["bob@a.example"]);
    let message = world.get(&format!("/api/v1/messages/{id}")).json();
    let body = message["Content"]["Body"].as_str().unwrap();
    assert_eq!(body.len(), LISTED_OCTETS_MAX);
}

#[test]
fn messages_are_removed() {
    let world = World::new();
    let [a, _] = ["a", "b"].map(|it| world.deliver_subject(it, &["bob@a.example"]));
    let path = format!("/api/v1/messages/{a}");
    let nothing = world.delete(&path, "");
    assert_eq!((nothing.code, nothing.text.as_str()), (200, ""));
    assert_eq!(world.subjects(), ["b"]);
    world.delete(&path, "").refused(404, "no message");
    world
        .delete("/api/v1/messages/x", "")
        .refused(404, "no message");
    world
        .ask(Method::Post, &format!("{path}/release"), "{}")
        .refused(501, "no release");
    // Its client for Node accepts nothing.
    let request = Request {
        method: Method::Delete,
        target: Target::parse("/api/v1/messages").unwrap(),
        fields: Fields::default(),
        body: Vec::new(),
        scope: Scope::Everything,
        way: Way::Plain,
    };
    assert_eq!(world.answer(&request, &Asker::Everybody), nothing);
    assert_eq!(world.subjects(), Vec::<String>::new());
}

/// SEC-9.
#[test]
fn the_headers_of_parts_have_a_limit_together() {
    let world = World::new();
    let part = format!("--b\nX-Long: {}\n\nbody\n", "x".repeat(60_000));
    let content = format!(
        "Content-Type: multipart/mixed; boundary=b\n\n{}",
        part.repeat(100)
    );
    let id = world.deliver(&content, &["bob@a.example"]);
    let reply = world.get(&format!("/api/v1/messages/{id}"));
    let parts = reply.json();
    let parts = parts["MIME"]["Parts"].as_array().unwrap();
    assert_eq!(parts.len(), 100);
    assert!(
        reply.text.len() < 2 * LISTED_OCTETS_MAX,
        "{}",
        reply.text.len()
    );
}
