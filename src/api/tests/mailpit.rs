//! The API of Mailpit.

use serde_json::{Value, json};

use super::{LETTER, World, mailbox, subjects};
use crate::{api::Asker, http::Method, mail::EntryId};

#[test]
fn an_empty_inbox_has_an_empty_list() {
    let world = World::new();
    let list = world.get("/api/v1/messages").json();
    let cursor = world.store.cursor().to_string();
    assert!(list["cursor"].as_str().unwrap().starts_with(&cursor));
    let expected = json!({
        "total": 0, "unread": 0, "count": 0, "messages_count": 0, "messages_unread": 0,
        "start": 0, "tags": [], "messages": [], "partial": false, "cursor": list["cursor"],
    });
    assert_eq!(list, expected);
}

#[test]
fn the_list_has_the_shape_of_mailpit() {
    let world = World::new();
    let id = world.deliver(
        LETTER,
        &["bob@a.example", "carl@a.example", "eve@c.example"],
    );
    let list = world.get("/api/v1/messages").json();
    let size = LETTER.len() + LETTER.lines().count();
    let message = &list["messages"][0];
    let created = message["Created"].as_str().unwrap();
    assert!(created.len() == 20 && created.ends_with('Z'), "{created}");
    let expected = json!({
        "ID": id, "MessageID": "1@A.example", "Read": false,
        "From": {"Name": "Ann", "Address": "ann@a.example"},
        "To": [
            {"Name": "Bob", "Address": "Bob@A.example"},
            {"Name": "", "Address": "carl+news@a.example"},
        ],
        "Cc": [{"Name": "", "Address": "dora@b.example"}],
        "Bcc": [{"Name": "", "Address": "eve@c.example"}],
        "ReplyTo": [{"Name": "", "Address": "reply@a.example"}],
        "Subject": "Your caf\u{e9} is open", "Created": created, "Username": "", "Tags": [],
        "Size": size, "Attachments": 1, "Snippet": "The code is 4711.",
        "Mailboxes": ["bob@a.example", "carl@a.example", "eve@c.example"],
    });
    assert_eq!(*message, expected);
}

#[test]
fn a_whole_message_has_the_shape_of_mailpit_and_is_read_then() {
    let world = World::new();
    let id = world.deliver(LETTER, &["bob@a.example", "eve@c.example"]);
    let listed = world.get("/api/v1/messages").json()["messages"][0].clone();
    assert_eq!(listed["Read"], false);
    let part = |id: &str, name: &str, (kind, content_id): (&str, &str), size: u64| {
        json!({
            "PartID": id, "FileName": name, "ContentType": kind, "ContentID": content_id,
            "Size": size,
        })
    };
    let mut expected = json!({
        "ReturnPath": "", "Date": "2026-11-30T09:00:00Z", "Read": true,
        "ListUnsubscribe": {
            "Header": "<mailto:a@x>, <https://x/1>, <https://x/2>",
            "Links": ["mailto:a@x", "https://x/1"], "Errors": "", "HeaderPost": "",
        },
        "Text": "The code is 4711.", "HTML": "<p>The <b>code</b> is <img src=cid:1>.",
        "Inline": [part("2", "a.png", ("image/png", "1"), 3)],
        "Attachments": [part("3", "../a b.bin", ("application/x-evil", ""), 4)],
        "TooComplex": false, "Truncated": false, "HasText": true,
    });
    for (name, value) in listed.as_object().unwrap() {
        if expected.get(name).is_none() && name != "Snippet" {
            expected[name] = value.clone();
        }
    }
    for name in [id.as_str(), "latest"] {
        let message = world.get(&format!("/api/v1/message/{name}")).json();
        assert_eq!(message, expected, "{name}");
    }
    assert_eq!(world.get("/api/v1/messages").json()["unread"], 0);
}

#[test]
fn a_message_with_nothing_in_it_is_shown() {
    let world = World::new();
    world.deliver("\n", &["bob@a.example"]);
    let message = world.get("/api/v1/message/latest").json();
    assert_eq!(message["From"], Value::Null);
    assert_eq!(message["Date"], message["Created"]);
    assert_eq!(message["Text"], "");
    assert_eq!(message["Bcc"][0]["Address"], "bob@a.example");
    let list = world.get("/api/v1/messages").json();
    assert_eq!(list["messages"][0]["From"], Value::Null);
    // One whose parts nobody can look at can be downloaded.
    let mut nested = String::new();
    for depth in 0..60 {
        let boundary = format!("b{depth}");
        nested += "Content-Type: multipart/mixed; boundary=";
        nested += &[&boundary, "\n\n--", &boundary, "\n"].concat();
    }
    let id = world.deliver(&nested, &["bob@a.example"]);
    let message = world.get(&format!("/api/v1/message/{id}")).json();
    assert_eq!(message["TooComplex"], true);
    world
        .get(&format!("/api/v1/message/{id}/headers"))
        .refused(501, "/raw");
    let raw = world.get(&format!("/api/v1/message/{id}/raw"));
    assert_eq!(raw.text, nested.replace('\n', "\r\n"));
}

#[test]
fn text_is_made_of_html_if_there_is_none() {
    let world = World::new();
    world.deliver(
        "Content-Type: text/html\n\n<p>One<p>two",
        &["bob@a.example"],
    );
    let message = world.get("/api/v1/message/latest").json();
    assert_eq!(message["Text"], "One\ntwo");
    assert_eq!(message["HTML"], "<p>One<p>two");
}

#[test]
fn fields_source_and_parts_are_sent_as_they_are() {
    let world = World::new();
    let id = world.deliver(LETTER, &["bob@a.example"]);
    let headers = world.get(&format!("/api/v1/message/{id}/headers")).json();
    assert_eq!(
        headers["Subject"],
        json!(["Your =?utf-8?q?caf=C3=A9?= is open"])
    );
    assert_eq!(headers["Message-Id"], json!(["<1@A.example>"]));
    assert_eq!(headers["Mime-Version"], json!(["1.0"]));
    let raw = world.get(&format!("/api/v1/message/{id}/raw"));
    assert_eq!(raw.text, LETTER.replace('\n', "\r\n"));
    assert_eq!(raw.fields.0, "text/plain; charset=utf-8");
    for (part, text, media_type, name) in [
        ("1.1", "The code is 4711.", "text/plain", "attachment"),
        ("2", "png", "image/png", "a.png"),
        (
            "3",
            "\0\x01\x02\x03",
            "application/octet-stream",
            "_a b.bin",
        ),
    ] {
        let reply = world.get(&format!("/api/v1/message/{id}/part/{part}"));
        assert_eq!(reply.text, text);
        assert_eq!(reply.fields.0, media_type);
        let disposition = format!("attachment; filename=\"{name}\"");
        assert_eq!(reply.fields.1, disposition);
    }
    for part in ["0", "1.0", "4", "x"] {
        let reply = world.get(&format!("/api/v1/message/{id}/part/{part}"));
        reply.refused(404, "no such part");
    }
}

#[test]
fn a_list_has_the_page_that_was_asked_for() {
    let world = World::new();
    for number in 0..5 {
        world.deliver_subject(&number.to_string(), &["bob@a.example"]);
    }
    for (query, start, count) in [
        ("", 0, 5),
        ("?limit=2", 0, 2),
        ("?start=4", 4, 1),
        ("?start=1&limit=3", 1, 3),
        ("?start=5", 5, 0),
        ("?start=18446744073709551615&limit=1000000", usize::MAX, 0),
        ("?start=&limit=", 0, 5),
    ] {
        let list = world.get(&format!("/api/v1/messages{query}")).json();
        assert_eq!(
            (&list["start"], &list["count"]),
            (&json!(start), &json!(count)),
            "{query}"
        );
        assert_eq!(
            (&list["total"], &list["messages_count"]),
            (&json!(5), &json!(5))
        );
        assert_eq!(list["messages"].as_array().unwrap().len(), count);
    }
    for (query, advice) in [
        ("?limit=0", "limit is 0"),
        ("?limit=-1", "limit is not a whole number"),
        ("?limit=many", "limit is not a whole number"),
        ("?start=-1", "start is not a whole number"),
        ("?start=1.5", "start is not a whole number"),
    ] {
        for path in ["messages", "search"] {
            let reply = world.get(&format!("/api/v1/{path}{query}"));
            reply.refused(400, advice);
        }
    }
}

/// It reads a mailbox at a time, and first the newest messages; the list does not show that.
#[test]
fn a_search_in_many_mailboxes_lists_the_newest_first() {
    let world = World::new();
    for number in 0..600 {
        let mailbox = ["bob@a.example", "ann@a.example", "eve@c.example"][number * number % 7 % 3];
        world.deliver_subject(&format!("number {number}."), &[mailbox]);
    }
    let listed = |path: &str| {
        let list = world.get(path).json();
        let messages = list["messages"].as_array().unwrap().iter();
        let subjects = messages.map(|it| it["Subject"].as_str().unwrap().to_owned());
        subjects.collect::<Vec<_>>()
    };
    let all = listed("/api/v1/messages?limit=600");
    for digits in ["1", "7.", "00", "number"] {
        let path = format!("/api/v1/search?query=subject:{digits}&limit=600");
        let found = listed(&path);
        let wanted = all.iter().filter(|subject| subject.contains(digits));
        assert!(found.iter().eq(wanted), "{digits}: {found:?}");
    }
}

#[test]
fn a_search_lists_what_it_finds() {
    let world = World::new();
    world.deliver(LETTER, &["bob@a.example", "eve@c.example"]);
    let id = world.deliver_subject("one", &["bob@a.example"]);
    world.deliver_subject("two", &["ann@a.example"]);
    world.get(&format!("/api/v1/message/{id}"));
    let all = ["Your caf\u{e9} is open", "one", "two"];
    for (query, found, unread) in [
        ("", &all[..], 2),
        ("4711", &all[..1], 1),
        ("bcc:eve@c.example", &all[..1], 1),
        ("addressed:carl%2Bnews", &all[..1], 1),
        ("mailbox:bob@a.example", &all[..2], 1),
        ("is:read", &all[1..2], 0),
        ("-is:read+-has:attachment", &all[2..], 1),
        ("%22is+open%22", &all[..1], 1),
        ("nothing", &[], 0),
    ] {
        let list = world.get(&format!("/api/v1/search?query={query}")).json();
        assert_eq!(subjects(&list), found, "{query}");
        let counts = ["total", "unread", "messages_count", "messages_unread"];
        let counts = counts.map(|name| list[name].as_u64().unwrap());
        let n_found = u64::try_from(found.len()).unwrap();
        assert_eq!(counts, [3, 2, n_found, unread], "{query}");
        assert_eq!(list["partial"], false);
    }
    world
        .get("/api/v1/search?query=tag:x")
        .refused(400, "no tags here");
    let list = world
        .get("/api/v1/search?query=is:unread&start=1&limit=1")
        .json();
    assert_eq!(
        (&list["count"], &list["messages_count"]),
        (&json!(1), &json!(2))
    );
}

#[test]
fn messages_are_marked() {
    let world = World::new();
    let ids = ["a", "b", "c"].map(|it| world.deliver_subject(it, &["bob@a.example"]));
    let read = |body: &str| {
        let reply = world.ask(Method::Put, "/api/v1/messages", body);
        assert_eq!((reply.code, reply.text.as_str()), (200, "ok"), "{body}");
        subjects(&world.get("/api/v1/search?query=is:read").json()).concat()
    };
    assert_eq!(
        read(&format!(r#"{{"IDs":["{}"],"Read":true}}"#, ids[1])),
        "b"
    );
    assert_eq!(read(r#"{"Search":"subject:c","Read":true}"#), "bc");
    assert_eq!(read(r#"{"IDs":[],"Search":"subject:b"}"#), "c");
    assert_eq!(read(r#"{"Read":true}"#), "abc");
    assert_eq!(read(""), "");
    for (body, advice) in [
        (r#"{"IDs":["x"]}"#, "no ID"),
        (r#"{"IDs":["latest"]}"#, "no ID"),
        (r#"{"IDs":"x"}"#, "unexpected value in line 1"),
        (r#"{"Read":1}"#, "unexpected value"),
        (r#"{"Raed":true}"#, "unexpected value"),
        (r#"{"Search":"tag:x"}"#, "no tags here"),
        ("{", "is not JSON"),
        ("Read=true", "is not JSON"),
    ] {
        world
            .ask(Method::Put, "/api/v1/messages", body)
            .refused(400, advice);
    }
    let both = format!(r#"{{"IDs":["{}"],"Search":"x"}}"#, ids[0]);
    world
        .ask(Method::Put, "/api/v1/messages", &both)
        .refused(400, "not both");
}

#[test]
fn messages_are_removed_from_all_their_mailboxes() {
    let world = World::new();
    let recipients = ["ann@a.example", "bob@a.example"];
    let [a, b, _, _, _] =
        ["a", "b", "c", "d", "e"].map(|it| world.deliver_subject(it, &recipients));
    let messages = "/api/v1/messages";
    for (body, advice) in [
        (r#"{"IDs":["x"]}"#, "no ID"),
        (r#"{"ID":["x"]}"#, "unexpected value"),
        (r#"["x"]"#, "has to be an object"),
        ("x", "is not JSON"),
    ] {
        world.delete(messages, body).refused(400, advice);
    }
    let left = |reply: &super::Reply| {
        assert_eq!((reply.code, reply.text.as_str()), (200, "ok"));
        world.subjects().concat()
    };
    let body = format!(r#"{{"IDs":["{a}","{b}"]}}"#);
    assert_eq!(left(&world.delete(messages, &body)), "cde");
    // Removed already.
    assert_eq!(left(&world.delete(messages, &body)), "cde");
    world
        .delete("/api/v1/search?query=", "")
        .refused(400, "query is empty");
    world
        .delete("/api/v1/search?query=%22%22", "")
        .refused(400, "query is empty");
    assert_eq!(
        left(&world.delete("/api/v1/search?query=subject:c", "")),
        "de"
    );
    assert_eq!(
        left(&world.delete("/api/v1/search?query=subject:c", "")),
        "de"
    );
    assert_eq!(left(&world.delete(messages, r#"{"IDs":null}"#)), "");
    world.deliver_subject("f", &recipients);
    assert_eq!(left(&world.delete(messages, "")), "");
    assert_eq!(left(&world.delete(messages, "{}")), "");
    let empty = world.store.look(&mailbox("ann@a.example")).unwrap();
    assert_eq!(empty.messages().len(), 0);
}

#[test]
fn mailboxes_in_use_are_named_and_keep_their_messages() {
    let world = World::new();
    let id = world.deliver_subject("both", &["ann@a.example", "bob@a.example"]);
    world.deliver_subject("bob's", &["bob@a.example"]);
    let session = world
        .store
        .open_maildrop(&mailbox("ann@a.example"))
        .unwrap();
    let messages = "/api/v1/messages";
    let body = format!(r#"{{"IDs":["{id}"]}}"#);
    let reply = world.delete(messages, &body);
    reply.refused(409, "Nothing was removed");
    assert!(reply.text.ends_with(": ann@a.example"), "{reply:?}");
    assert_eq!(world.subjects(), ["bob's", "both"]);
    // All that can be removed is removed, and nothing else.
    let reply = world.delete(messages, "");
    reply.refused(409, "are still there");
    assert!(reply.text.ends_with(": ann@a.example"), "{reply:?}");
    let list = world.get(messages).json();
    assert_eq!(subjects(&list), ["both"]);
    assert_eq!(list["messages"][0]["Mailboxes"], json!(["ann@a.example"]));
    drop(session);
    assert_eq!(world.delete(messages, "").code, 200);
    assert_eq!(world.subjects(), Vec::<String>::new());
}

#[test]
fn it_tells_what_there_is() {
    let world = World::new();
    world.deliver_subject("a", &["bob@a.example"]);
    let expected = json!({
        "Version": env!("CARGO_PKG_VERSION"), "Messages": 1, "Unread": 1, "Tags": {},
        "SmtpAddresses": ["127.0.0.1:65434"],
    });
    assert_eq!(world.get("/api/v1/info").json(), expected);
    for path in ["/livez", "/readyz"] {
        assert_eq!(world.get(path).text, "ok");
    }
}

#[test]
fn what_facteur_lacks_is_refused_with_a_text() {
    let world = World::new();
    let id = world.deliver_subject("a", &["bob@a.example"]);
    for (method, path, lack) in [
        (Method::Get, "webui", "settings"),
        (Method::Get, "tags", "tags"),
        (Method::Delete, "tags/a", "tags"),
        (Method::Put, "chaos", "chaos"),
        (Method::Post, "message/ID/release", "release"),
        (Method::Get, "message/ID/sa-check", "checks"),
        (Method::Get, "message/ID/part/1/thumb", "thumbnails"),
    ] {
        let path = format!("/api/v1/{}", path.replace("ID", &id));
        let advice = format!("facteur has no {lack}");
        world.ask(method, &path, "").refused(501, &advice);
    }
}

#[test]
fn what_is_not_there_is_refused_with_a_text() {
    let world = World::new();
    let id = world.deliver_subject("a", &["bob@a.example"]);
    for (method, path, code, advice) in [
        (Method::Get, "message/ID/else", 404, "nothing at this path"),
        (Method::Get, "message/", 404, "nothing at this path"),
        (Method::Get, "message/x", 404, "no message with this ID"),
        (Method::Get, "message/f-1/raw", 404, "no message"),
        (Method::Post, "messages", 405, "use GET, HEAD, PUT, DELETE"),
        (Method::Delete, "message/ID", 405, "use GET, HEAD"),
    ] {
        let path = format!("/api/v1/{}", path.replace("ID", &id));
        world.ask(method, &path, "").refused(code, advice);
    }
    world.delete("/api/v1/messages", "");
    let path = format!("/api/v1/message/{id}");
    world.get(&path).refused(404, "may have been removed");
    world
        .get("/api/v1/message/latest")
        .refused(404, "no message");
}

/// A list of IDs that is empty must not mean all messages.
#[test]
fn a_body_that_is_a_list_removes_nothing() {
    let world = World::new();
    world.deliver_subject("a", &["bob@a.example"]);
    for body in ["[]", " [[]]"] {
        let reply = world.delete("/api/v1/messages", body);
        reply.refused(400, "has to be an object");
    }
    assert_eq!(world.get("/api/v1/messages").json()["total"], 1);
}

/// The trace header of a message for one recipient has the sub-address.
#[test]
fn a_wait_for_a_subaddress_reads_the_trace_header() {
    let world = World::new();
    let traced = "Received: from x by y with SMTP id 1\n\tfor <bob+run2@a.example>;\n\tnow\n\n";
    world.deliver(traced, &["bob@a.example"]);
    let id = world.deliver("\n", &["ann@a.example", "bob@a.example"]);
    let subaddresses = vec![mailbox("bob+run4@a.example")];
    let id = EntryId::parse(&id).unwrap();
    world.api.paths.keep(id, subaddresses);
    for (to, code) in [
        ("bob%2Brun2", 200),
        ("bob", 200),
        ("bob%2Brun3", 204),
        ("bob%2Brun4", 200),
    ] {
        let reply = world.get(&format!("/api/wait?to={to}@a.example&since=0&timeout=0s"));
        assert_eq!(reply.code, code, "{to}");
    }
}

/// A test may begin to wait before its first message.
#[test]
fn a_wait_for_a_name_without_a_domain_may_begin_before_its_mailbox_exists() {
    let world = World::new();
    let wait = "/api/wait?to=Bob&since=0&timeout=0s";
    assert_eq!(world.get(wait).code, 204);
    world.deliver_subject("other", &["notbob@a.example"]);
    assert_eq!(world.get(wait).code, 204);
    world.deliver_subject("a", &["ann@a.example", "bob@a.example"]);
    assert_eq!(world.get(wait).json()["Subject"], "a");
    // Then it is not clear which one is meant.
    world.deliver_subject("b", &["bob@b.example"]);
    world.get(wait).refused(404, "give a whole address");
    let ann = Asker::Owner(mailbox("ann@a.example"));
    let wait = (Method::Get, "/api/wait?to=carl&timeout=0s");
    world
        .ask_as(&ann, wait, "")
        .refused(404, "Nobody receives mail");
}
