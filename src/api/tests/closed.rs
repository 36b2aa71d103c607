//! With accounts, other mailboxes do not exist for their owners.

use serde_json::{Value, json};

use super::{LETTER, Reply, World, mailbox, subjects};
use crate::{api::Asker, http::Method};

/// One message for both, and one for each of them.
struct Closed {
    world: World,
    both: String,
    anns: String,
}

const ANN: &str = "ann@a.example";
const BOB: &str = "bob@a.example";

impl Closed {
    fn new() -> Self {
        let world = World::new();
        let letter = LETTER.replace(ANN, "author@x.example");
        Self {
            both: world.deliver(&letter, &[ANN, BOB]),
            anns: world.deliver_subject("ann's", &[ANN]),
            world,
        }
    }

    fn ask(&self, method: Method, target: &str, body: &str) -> Reply {
        let bob = Asker::Owner(mailbox(BOB));
        self.world.ask_as(&bob, (method, target), body)
    }

    fn get(&self, target: &str) -> Reply {
        self.ask(Method::Get, target, "")
    }

    /// The mailboxes that have each message, by the subjects.
    fn all(&self) -> Value {
        let list = self.world.get("/api/v1/messages").json();
        let messages = list["messages"].as_array().unwrap().iter();
        let mut all: Vec<(String, Value)> = messages
            .map(|it| {
                (
                    it["Subject"].as_str().unwrap().to_owned(),
                    it["Mailboxes"].clone(),
                )
            })
            .collect();
        all.sort_by(|one, other| one.0.cmp(&other.0));
        json!(all)
    }
}

#[test]
fn an_owner_sees_the_own_copies_only() {
    let closed = Closed::new();
    let list = closed.get("/api/v1/messages").json();
    assert_eq!(subjects(&list), ["Your caf\u{e9} is open"]);
    assert_eq!((&list["total"], &list["unread"]), (&json!(1), &json!(1)));
    let info = closed.get("/api/v1/info").json();
    assert_eq!((&info["Messages"], &info["Unread"]), (&json!(1), &json!(1)));
    assert_eq!(closed.get("/api/v2/messages").json()["total"], 1);
    let both = &closed.both;
    for path in [
        "/api/v1/messages".to_owned(),
        "/api/v1/search?query=is:unread".to_owned(),
        format!("/api/v1/message/{both}"),
        "/api/v1/message/latest".to_owned(),
        "/api/v2/messages".to_owned(),
        "/api/v2/search?kind=containing&query=code".to_owned(),
        format!("/api/v1/messages/{both}"),
        "/api/v1/mailbox/bob".to_owned(),
        "/api/v1/mailbox/bob/latest".to_owned(),
    ] {
        let reply = closed.get(&path);
        assert_eq!(reply.code, 200, "{path}");
        let text = &reply.text;
        assert!(text.contains("caf"), "{path}: {text}");
        assert!(
            !text.contains("ann@") && !text.contains("ann's"),
            "{path}: {text}"
        );
    }
}

#[test]
fn an_owner_finds_nothing_in_other_mailboxes() {
    let closed = Closed::new();
    for (query, n_found) in [
        ("", 1),
        ("code", 1),
        ("mailbox:bob", 1),
        ("mailbox:ann", 0),
        ("bcc:ann", 0),
        ("subject:ann", 0),
    ] {
        let list = closed.get(&format!("/api/v1/search?query={query}")).json();
        assert_eq!(list["messages_count"], n_found, "{query}");
    }
    let to_ann = closed
        .get("/api/v2/search?kind=to&query=ann@a.example")
        .json();
    assert_eq!(to_ann["total"], 0);
    let anns = &closed.anns;
    for path in [
        format!("/api/v1/message/{anns}"),
        format!("/api/v1/message/{anns}/headers"),
        format!("/api/v1/message/{anns}/raw"),
        format!("/api/v1/message/{anns}/part/0"),
        format!("/api/v1/messages/{anns}"),
        format!("/api/v1/mailbox/ann/{anns}"),
        format!("/api/v1/mailbox/bob/{anns}"),
        format!("/api/v1/mailbox/bob/{anns}/source"),
        "/api/v1/mailbox/ann/latest".to_owned(),
        format!("/api/v1/mailbox/ann/{}/source", closed.both),
    ] {
        // As if it had never been there.
        let never = closed.get("/api/v1/message/0000000000000000-00000000");
        assert_eq!(closed.get(&path), never, "{path}");
    }
    assert_eq!(closed.get("/api/v1/mailbox/ann").json(), json!([]));
}

#[test]
fn an_owner_removes_the_own_copy_only() {
    let letter = "Your caf\u{e9} is open";
    for (path, body) in [
        ("/api/v1/messages", String::new()),
        (
            "/api/v1/messages",
            "{\"IDs\":[\"both\",\"anns\"]}".to_owned(),
        ),
        ("/api/v1/search?query=is:unread", String::new()),
        ("/api/v1/messages/both", String::new()),
        ("/api/v1/mailbox/bob", String::new()),
        ("/api/v1/mailbox/bob/both", String::new()),
    ] {
        let closed = Closed::new();
        let named = |text: &str| {
            text.replace("both", &closed.both)
                .replace("anns", &closed.anns)
        };
        let reply = closed.ask(Method::Delete, &named(path), &named(&body));
        assert_eq!(reply.code, 200, "{path} {body}: {reply:?}");
        assert_eq!(
            closed.all(),
            json!([[letter, [ANN]], ["ann's", [ANN]]]),
            "{path} {body}"
        );
    }
}

#[test]
fn an_owner_removes_nothing_of_others() {
    let closed = Closed::new();
    let before = closed.all();
    for path in [
        "messages/anns",
        "mailbox/ann/anns",
        "mailbox/ann/both",
        "mailbox/bob/anns",
    ] {
        let path = path
            .replace("both", &closed.both)
            .replace("anns", &closed.anns);
        let reply = closed.ask(Method::Delete, &format!("/api/v1/{path}"), "");
        reply.refused(404, "no message");
    }
    let ids = format!("{{\"IDs\":[\"{}\"]}}", closed.anns);
    for (path, body) in [
        ("/api/v1/messages", ids.as_str()),
        ("/api/v1/search?query=subject:ann", ""),
        ("/api/v1/mailbox/ann", ""),
    ] {
        assert_eq!(closed.ask(Method::Delete, path, body).code, 200, "{path}");
    }
    assert_eq!(closed.all(), before);
}

#[test]
fn sessions_of_others_do_not_hinder_an_owner() {
    let closed = Closed::new();
    let session = closed.world.store.open_maildrop(&mailbox(ANN)).unwrap();
    assert_eq!(closed.ask(Method::Delete, "/api/v1/messages", "").code, 200);
    drop(session);
    let session = closed.world.store.open_maildrop(&mailbox(BOB)).unwrap();
    closed.world.deliver_subject("more", &[ANN, BOB]);
    let reply = closed.ask(Method::Delete, "/api/v1/messages", "");
    reply.refused(409, "are still there");
    assert!(reply.text.ends_with(": bob@a.example"), "{reply:?}");
    drop(session);
}

#[test]
fn nobody_learns_what_others_have_read() {
    let closed = Closed::new();
    closed.get(&format!("/api/v1/message/{}", closed.both));
    assert_eq!(closed.get("/api/v1/messages").json()["unread"], 0);
    assert_eq!(closed.get("/api/v1/mailbox/bob").json()[0]["seen"], true);
    assert_eq!(
        closed.get("/api/v1/search?query=is:unread").json()["messages_count"],
        0
    );
    let ann = Asker::Owner(mailbox(ANN));
    let list = closed
        .world
        .ask_as(&ann, (Method::Get, "/api/v1/messages"), "");
    assert_eq!(list.json()["unread"], 2);
    assert_eq!(closed.world.get("/api/v1/messages").json()["unread"], 2);
    // Only the own ones are marked.
    let everything = "{\"Read\":true}";
    assert_eq!(
        closed.ask(Method::Put, "/api/v1/messages", everything).code,
        200
    );
    let list = closed
        .world
        .ask_as(&ann, (Method::Get, "/api/v1/messages"), "");
    assert_eq!(list.json()["unread"], 2);
}
