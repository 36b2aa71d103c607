//! The API of inbucket.

use serde_json::json;

use super::{LETTER, World};

#[test]
fn a_mailbox_is_listed_oldest_message_first() {
    let world = World::new();
    let id = world.deliver(LETTER, &["bob@a.example", "eve@c.example"]);
    for name in ["bob@a.example", "BOB@A.example", "bob", "Bob%2Bx@a.example"] {
        let list = world.get(&format!("/api/v1/mailbox/{name}")).json();
        let millis = list[0]["posix-millis"].as_i64().unwrap();
        assert!(millis > 1_700_000_000_000, "{millis}");
        let expected = json!([{
            "mailbox": "bob@a.example", "id": id, "from": "\"Ann\" <ann@a.example>",
            "to": ["\"Bob\" <Bob@A.example>", "<carl+news@a.example>"],
            "subject": "Your caf\u{e9} is open", "date": list[0]["date"],
            "posix-millis": millis, "size": LETTER.len() + LETTER.lines().count(),
            "seen": false,
        }]);
        assert_eq!(list, expected, "{name}");
    }
    // Nothing is said about what does not exist.
    for name in ["nobody@a.example", "nobody", "a..@", "@"] {
        assert_eq!(
            world.get(&format!("/api/v1/mailbox/{name}")).json(),
            json!([])
        );
    }
}

#[test]
fn a_message_is_shown_with_its_texts() {
    let world = World::new();
    let id = world.deliver(LETTER, &["bob@a.example"]);
    for name in [id.as_str(), "latest"] {
        let message = world.get(&format!("/api/v1/mailbox/bob/{name}")).json();
        assert_eq!(message["id"], json!(id));
        assert_eq!(message["body"]["text"], "The code is 4711.");
        assert_eq!(
            message["header"]["Subject"],
            json!(["Your caf\u{e9} is open"])
        );
        let link = format!("/api/v1/message/{id}/part/3");
        let attachments = json!([{
            "filename": "../a b.bin", "content-type": "application/x-evil",
            "download-link": link, "view-link": link,
        }]);
        assert_eq!(message["attachments"], attachments);
        let source = world.get(&format!("/api/v1/mailbox/bob/{name}/source"));
        assert_eq!(source.text, LETTER.replace('\n', "\r\n"));
    }
}

#[test]
fn only_the_copy_of_the_mailbox_is_removed() {
    let world = World::new();
    let both = ["ann@a.example", "bob@a.example"];
    let [a, _] = ["a", "b"].map(|it| world.deliver_subject(it, &both));
    let alone = world.deliver_subject("c", &["ann@a.example"]);
    for name in ["nobody", "bob@b.example", "@"] {
        world
            .get(&format!("/api/v1/mailbox/{name}/{a}"))
            .refused(404, "no message");
    }
    for id in [alone.as_str(), "x", "f-1"] {
        world
            .get(&format!("/api/v1/mailbox/bob/{id}"))
            .refused(404, "no message");
        world
            .delete(&format!("/api/v1/mailbox/bob/{id}"), "")
            .refused(404, "no message");
    }
    assert_eq!(
        world.delete(&format!("/api/v1/mailbox/bob/{a}"), "").json(),
        "OK"
    );
    assert_eq!(world.subjects().concat(), "abc");
    let left = |name: &str| {
        let list = world.get(&format!("/api/v1/mailbox/{name}")).json();
        list.as_array().unwrap().len()
    };
    assert_eq!((left("ann"), left("bob")), (3, 1));
    assert_eq!(world.delete("/api/v1/mailbox/bob", "").json(), "OK");
    assert_eq!((left("ann"), left("bob")), (3, 0));
    assert_eq!(world.delete("/api/v1/mailbox/nobody", "").json(), "OK");
    world
        .get("/api/v1/mailbox/bob/latest")
        .refused(404, "no message");
}
