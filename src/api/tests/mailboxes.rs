//! Requests about one mailbox.

use serde_json::json;

use super::{World, mailbox, subjects};
use crate::{api::Asker, http::Method};

const ANN: &str = "ann@a.example";
const BOB: &str = "bob@a.example";

/// A message for both, and some for each of them; another address contains the one of Bob.
fn world() -> World {
    let world = World::new();
    world.deliver_subject("both", &[ANN, BOB]);
    world.deliver_subject("one", &[BOB]);
    world.deliver_subject("two", &[BOB]);
    world.deliver_subject("ann's", &[ANN]);
    world.deliver_subject("other", &["notbob@a.example"]);
    world
}

#[test]
fn lists_and_searches_are_limited_to_exactly_this_mailbox() {
    let world = world();
    for (path, found) in [
        ("messages?mailbox=bob@a.example", "bothonetwo"),
        ("messages?mailbox=BOB%2Brun@A.example", "bothonetwo"),
        ("messages?mailbox=bob", "bothonetwo"),
        ("messages?mailbox=nobody@a.example", ""),
        ("search?mailbox=bob@a.example&query=", "bothonetwo"),
        ("search?mailbox=bob@a.example&query=o", "bothonetwo"),
        ("search?mailbox=bob@a.example&query=t", "bothtwo"),
        ("search?mailbox=ann@a.example&query=t", "both"),
        ("search?mailbox=ann@a.example&query=mailbox:bob", "both"),
    ] {
        let list = world.get(&format!("/api/v1/{path}")).json();
        assert_eq!(subjects(&list).concat(), found, "{path}");
        assert_eq!(list["messages_count"], subjects(&list).len(), "{path}");
        assert_eq!(list["total"], 5, "{path}");
    }
    let list = world.get("/api/v1/messages?mailbox=bob&limit=1&start=2");
    let list = list.json();
    assert_eq!((&list["count"], &list["start"]), (&json!(1), &json!(2)));
    assert_eq!(list["messages"][0]["Mailboxes"], json!([ANN, BOB]));
}

#[test]
fn a_mailbox_that_cannot_be_is_refused() {
    let world = world();
    for (mailbox, code, advice) in [
        ("", 400, "mailbox is empty"),
        ("nobody", 404, "No mailbox receives mail for this address"),
        ("a..@", 404, "No mailbox receives mail for this address"),
    ] {
        for (method, path) in [
            (Method::Get, "messages?query=o"),
            (Method::Get, "search?query=o"),
            (Method::Delete, "search?query=o"),
        ] {
            let target = format!("/api/v1/{path}&mailbox={mailbox}");
            world.ask(method, &target, "").refused(code, advice);
        }
        if !mailbox.is_empty() {
            let path = format!("/api/mailboxes/{mailbox}");
            world.delete(&path, "").refused(code, advice);
        }
    }
    for (method, target, advice) in [
        (Method::Get, "/api/wait?to=&timeout=0s", "to is empty"),
        (
            Method::Get,
            "/api/wait?too=bob@a.example&timeout=0s",
            "other than to, subject",
        ),
        (
            Method::Delete,
            "/api/v1/search?query=o&mailbx=bob@a.example",
            "other than query, tz, mailbox",
        ),
        (
            Method::Delete,
            "/api/mailboxes/bob@a.example?query=o",
            "has no parameters",
        ),
    ] {
        world.ask(method, target, "").refused(400, advice);
    }
    assert_eq!(world.subjects().len(), 5);
}

#[test]
fn copies_are_removed_from_this_mailbox_alone() {
    let world = world();
    let left = |name: &str| {
        let list = world.get(&format!("/api/mailboxes/{name}")).json();
        subjects(&list).join(" ")
    };
    let search = "/api/v1/search?mailbox=bob@a.example&query=";
    world.delete(search, "").refused(400, "query is empty");
    assert_eq!(world.delete(&format!("{search}t"), "").text, "ok");
    assert_eq!(
        (left("bob").as_str(), left("ann").as_str()),
        ("one", "ann's both")
    );
    assert_eq!(left("notbob"), "other");
    for _ in 0..2 {
        assert_eq!(world.delete("/api/mailboxes/bob@a.example", "").text, "ok");
        assert_eq!(
            (left("bob").as_str(), left("ann").as_str()),
            ("", "ann's both")
        );
    }
    assert_eq!(
        world.delete("/api/mailboxes/nobody@a.example", "").text,
        "ok"
    );
    // Who cleans up a sub-address does not mean the mail of the others.
    for target in [
        "/api/mailboxes/ann%2Bx@a.example",
        "/api/v1/search?query=o&mailbox=ann%2Bx@a.example",
    ] {
        world
            .delete(target, "")
            .refused(400, "is a sub-address of ann@a.example");
    }
    assert_eq!(left("ann"), "ann's both");
    assert_eq!(world.delete("/api/mailboxes/ann@a.example", "").text, "ok");
    assert_eq!(world.subjects(), ["other"]);
}

#[test]
fn a_mailbox_in_use_keeps_all_its_messages() {
    let world = world();
    let session = world.store.open_maildrop(&mailbox(BOB)).unwrap();
    for path in ["/api/mailboxes/bob", "/api/v1/search?mailbox=bob&query=o"] {
        let reply = world.delete(path, "");
        reply.refused(409, "Nothing was removed");
        assert!(reply.text.ends_with(": bob@a.example"), "{reply:?}");
    }
    assert_eq!(world.subjects().len(), 5);
    // The session of another mailbox that has a copy does not hinder.
    assert_eq!(world.delete("/api/mailboxes/ann", "").text, "ok");
    drop(session);
    assert_eq!(world.delete("/api/mailboxes/bob", "").text, "ok");
    assert_eq!(world.subjects(), ["other"]);
}

#[test]
fn with_accounts_only_the_own_mailbox_exists() {
    let world = world();
    let bob = Asker::Owner(mailbox(BOB));
    let ask = |method, target: &str| world.ask_as(&bob, (method, target), "");
    let own = ask(Method::Get, "/api/v1/messages?mailbox=bob@a.example");
    assert_eq!(subjects(&own.json()), ["both", "one", "two"]);
    // What others have is as what nobody has.
    for (method, path) in [
        (Method::Get, "/api/v1/messages?mailbox="),
        (Method::Get, "/api/v1/search?query=o&mailbox="),
        (Method::Delete, "/api/v1/search?query=o&mailbox="),
        (Method::Delete, "/api/mailboxes/"),
    ] {
        let replies = [ANN, "nobody@a.example"].map(|it| ask(method, &format!("{path}{it}")));
        replies[0].refused(404, "No mailbox receives mail for this address");
        assert_eq!(replies[0], replies[1], "{path}");
    }
    assert_eq!(ask(Method::Delete, "/api/mailboxes/bob").text, "ok");
    let list = world.get("/api/v1/messages").json();
    assert_eq!(subjects(&list), ["ann's", "both", "other"]);
}
