//! The inbox over a real store.

use std::{fs, sync::Arc};

use jiff::tz::TimeZone;
use parking_lot::Mutex;
use tempfile::TempDir;

use super::{
    Content, Inbox, List, Memory,
    index::{Index, Seen},
    limits,
    marks::Marks,
    summaries::Summaries,
    words::{Present, Words},
};
use crate::{
    clock::Clock,
    mail::{EntryId, MailboxName},
    mime::Summary,
    store::{MessageStore, Observer, Settings},
};

struct World {
    directory: TempDir,
    store: Arc<MessageStore>,
    inbox: Inbox,
}

impl World {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let settings = Settings::new(directory.path().join("mail"), "host.example");
        let store = Arc::new(MessageStore::open(settings, Clock::system()).unwrap());
        let inbox = Inbox::of(Arc::clone(&store), Clock::system(), Memory::default());
        Self {
            directory,
            store,
            inbox,
        }
    }

    fn deliver(&self, content: &str, recipients: &[&str]) {
        let mut delivery = self.store.begin_delivery(0).unwrap();
        delivery.append(content.as_bytes()).unwrap();
        let recipients: Vec<_> = recipients.iter().map(|it| mailbox(it)).collect();
        delivery.commit(&recipients).unwrap();
    }

    /// The subjects and mailboxes, newest first.
    fn shown(&self) -> Vec<String> {
        let list = self.inbox.list().unwrap();
        assert!(!list.is_partial);
        self.shown_of(&list)
    }

    fn shown_of(&self, list: &List) -> Vec<String> {
        let items = list.items.iter();
        items
            .map(|item| {
                let mailboxes: Vec<_> = item.mailboxes.iter().map(ToString::to_string).collect();
                let summary = self.inbox.summary(item).unwrap();
                let subject = summary.map_or_else(|| "gone".to_owned(), |it| it.subject.clone());
                format!("{subject}: {}", mailboxes.join(" "))
            })
            .collect()
    }
}

fn mailbox(address: &str) -> MailboxName {
    let (local_part, domain) = address.split_once('@').unwrap();
    MailboxName::from_canonical(local_part, domain).unwrap()
}

fn id(number: u64) -> EntryId {
    EntryId::parse(&format!("{number:016x}-00000000")).unwrap()
}

fn seen(number: u64, arrived: u64) -> Seen {
    Seen {
        id: id(number),
        arrived,
        octets: 1,
    }
}

/// What the observer is told is in the log: whoever sees a partial list finds out why.
#[expect(clippy::disallowed_methods, reason = "another program does this")]
#[test]
fn what_cannot_be_shown_is_told_once_until_it_can() {
    let directory = TempDir::new().unwrap();
    let root = directory.path().join("mail");
    let told = Arc::new(Mutex::new(Vec::new()));
    let mut settings = Settings::new(&root, "host.example");
    let of_observer = Arc::clone(&told);
    settings.observer = Observer::new(move |event| {
        let error = event.error().map(ToString::to_string);
        of_observer.lock().push(format!("{event}: {error:?}"));
    });
    let store = Arc::new(MessageStore::open(settings, Clock::system()).unwrap());
    let inbox = Inbox::of(Arc::clone(&store), Clock::system(), Memory::default());
    let world = World {
        directory,
        store,
        inbox,
    };
    world.deliver("Subject: one\n\n", &["ann@a.example", "bob@b.example"]);
    assert_eq!(world.shown().len(), 1);
    let told = || std::mem::take(&mut *told.lock());
    told();
    let (broken, away) = (root.join("a.example/ann/new"), root.join("a.example/away"));
    fs::rename(&broken, &away).unwrap();
    fs::write(&broken, "").unwrap();
    for _ in 0..2 {
        world.inbox.scan.lock().looked = None;
        assert!(world.inbox.list().unwrap().is_partial);
    }
    let told_once = told();
    assert_eq!(told_once.len(), 1, "{told_once:?}");
    assert!(told_once[0].contains("all messages of the mailbox ann@a.example"));
    assert!(told_once[0].contains("cannot read"), "{told_once:?}");
    let both = ["ann@a.example", "bob@b.example"].map(mailbox);
    let order = world.inbox.readable_first(both.clone().into());
    assert_eq!(order, [both[1].clone(), both[0].clone()]);
    fs::remove_file(&broken).unwrap();
    fs::rename(&away, &broken).unwrap();
    world.inbox.scan.lock().looked = None;
    assert_eq!(world.shown().len(), 1);
    assert_eq!(told().len(), 0);
}

#[test]
fn own_deliveries_and_removals_are_seen_at_once() {
    let world = World::new();
    assert_eq!(world.shown(), Vec::<String>::new());
    world.deliver("Subject: one\n\n", &["ann@a.example"]);
    assert_eq!(world.shown(), ["one: ann@a.example"]);
    world.deliver("Subject: two\n\n", &["bob@a.example", "ann@a.example"]);
    let shown = world.shown();
    assert!(
        shown.contains(&"two: ann@a.example bob@a.example".to_owned()),
        "{shown:?}"
    );
    assert_eq!(shown.len(), 2);
    let before = world.inbox.list().unwrap();
    let maildrop = world
        .store
        .open_maildrop(&mailbox("ann@a.example"))
        .unwrap();
    maildrop.remove(&[0, 1]).unwrap();
    assert_eq!(world.shown(), ["two: bob@a.example"]);
    // Whoever still has the older list sees that one is gone, and can open the other.
    let gone = before
        .items
        .iter()
        .map(|item| world.inbox.open(item).unwrap().is_none());
    assert_eq!(gone.filter(|is_gone| *is_gone).count(), 1);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "another program does this")]
fn what_other_programs_do_is_seen_when_the_mailboxes_are_looked_at_again() {
    let world = World::new();
    world.deliver("Subject: one\n\n", &["ann@a.example"]);
    assert_eq!(world.shown(), ["one: ann@a.example"]);
    let new = world.directory.path().join("mail/a.example/ann/new");
    fs::write(new.join("1.2.elsewhere"), "Subject: two\n\n").unwrap();
    world.inbox.scan.lock().looked = None;
    let mut shown = world.shown();
    shown.sort();
    assert_eq!(shown, ["one: ann@a.example", "two: ann@a.example"]);
    fs::remove_dir_all(world.directory.path().join("mail/a.example/ann")).unwrap();
    world.inbox.scan.lock().looked = None;
    assert_eq!(world.shown(), Vec::<String>::new());
}

#[test]
#[expect(clippy::disallowed_methods, reason = "another program does this")]
fn a_message_that_a_wait_has_found_is_found_by_its_id() {
    let world = World::new();
    world.deliver("Subject: one\n\n", &["ann@a.example"]);
    assert_eq!(world.shown(), ["one: ann@a.example"]);
    let new = world.directory.path().join("mail/a.example/ann/new");
    fs::write(new.join("1.2.elsewhere"), "Subject: two\n\n").unwrap();
    let look = world.store.look(&mailbox("ann@a.example")).unwrap();
    let ids: Vec<_> = (0..look.messages().len()).map(|at| look.id(at)).collect();
    drop(look);
    assert_eq!(ids.len(), 2);
    for id in ids {
        let found = world.inbox.item(id.unwrap()).unwrap();
        assert!(
            found.is_some(),
            "{id:?} without a look at all mailboxes before"
        );
    }
}

#[test]
fn the_newest_come_first_and_copies_are_one() {
    let mut index = Index::within(limits::INDEX_OCTETS_MAX);
    assert!(index.put(
        mailbox("a@x.example"),
        vec![seen(1, 5), seen(2, 7), seen(3, 7)]
    ));
    assert!(index.put(mailbox("b@x.example"), vec![seen(4, 6), seen(2, 7)]));
    let shown = |index: &mut Index| -> Vec<_> {
        let items = index.items();
        items
            .iter()
            .map(|it| (it.seen.id, it.mailboxes.len()))
            .collect()
    };
    let expected = [(id(3), 1), (id(2), 2), (id(4), 1), (id(1), 1)];
    assert_eq!(shown(&mut index), expected);
    index.remove(&mailbox("a@x.example"));
    assert_eq!(shown(&mut index), [(id(2), 1), (id(4), 1)]);
}

#[test]
fn within_a_second_the_last_delivery_comes_first() {
    let mut index = Index::within(limits::INDEX_OCTETS_MAX);
    let own = |counter| EntryId::own(9, counter);
    let all = |ids: &[EntryId]| {
        ids.iter()
            .map(|id| Seen {
                id: *id,
                ..seen(0, 7)
            })
            .collect()
    };
    let foreign = EntryId::foreign(8);
    let (ann, bob) = (mailbox("ann@x.example"), mailbox("bob@x.example"));
    assert!(index.put(ann, all(&[foreign, own(1), own(4)])));
    assert!(index.put(bob, all(&[own(0), own(2), own(3), own(4)])));
    let shown: Vec<_> = index.items().iter().map(|item| item.seen.id).collect();
    assert_eq!(shown, [own(4), own(3), own(2), own(1), own(0), foreign]);
}

#[test]
fn a_mailbox_that_does_not_fit_is_left_out() {
    let mut index = Index::within(limits::INDEX_OCTETS_MAX);
    let many = limits::INDEX_OCTETS_MAX / limits::INDEX_MESSAGE_OCTETS;
    let many: Vec<_> = (0..many).map(|number| seen(number, 1)).collect();
    assert!(!index.put(mailbox("a@x.example"), many.clone()));
    assert!(index.put(mailbox("a@x.example"), many[..many.len() - 4].to_vec()));
    assert!(!index.put(mailbox("b@x.example"), many[..4].to_vec()));
    index.remove(&mailbox("a@x.example"));
    assert!(index.put(mailbox("b@x.example"), many[..4].to_vec()));
    assert_eq!(index.items().len(), 4);
}

#[test]
fn the_oldest_marks_are_forgotten() {
    let mut marks = Marks::default();
    marks.set(None, id(0), true);
    marks.set(None, id(1), true);
    // Marked again, it counts as new.
    marks.set(None, id(0), true);
    for number in (2..).take(limits::READ_MARKS_MAX - 1) {
        marks.set(None, id(number), true);
    }
    assert_eq!(
        [0, 1, 2].map(|number| marks.is_read(None, id(number))),
        [true, false, true]
    );
    marks.set(None, id(0), false);
    assert!(!marks.is_read(None, id(0)));
}

#[test]
fn each_owner_has_marks_of_its_own() {
    let mut marks = Marks::default();
    let (ann, bob) = (mailbox("ann@a.example"), mailbox("bob@a.example"));
    let read =
        |marks: &Marks| [None, Some(&ann), Some(&bob)].map(|reader| marks.is_read(reader, id(0)));
    marks.set(Some(&ann), id(0), true);
    assert_eq!(read(&marks), [false, true, false]);
    marks.set(None, id(0), true);
    marks.set(Some(&bob), id(0), false);
    assert_eq!(read(&marks), [true, true, false]);
    marks.set(Some(&ann), id(0), false);
    assert_eq!(read(&marks), [true, false, false]);
}

#[test]
fn the_summaries_that_were_not_used_for_longest_are_forgotten() {
    let mut summaries = Summaries::within(limits::SUMMARIES_OCTETS_MAX);
    let large = Arc::new(Summary {
        snippet: "x".repeat(usize::try_from(limits::SUMMARIES_OCTETS_MAX / 4).unwrap()),
        ..Summary::default()
    });
    for number in 0..3 {
        summaries.put(id(number), Arc::clone(&large));
    }
    assert!(summaries.get(id(0)).is_some());
    summaries.put(id(3), Arc::clone(&large));
    let kept = [0, 1, 2, 3].map(|number| summaries.get(id(number)).is_some());
    assert_eq!(kept, [true, false, true, true]);
}

const LETTER: &str = "\
From: Ann <ann@a.example>
To: Bob <Bob@A.example>
Subject: Your =?utf-8?q?caf=C3=A9?=
Message-ID: <1@A.example>
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: multipart/alternative; boundary=c

--c
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: quoted-printable

The code is 4711=2E
--c
Content-Type: text/html

<p>The <b>code</b> is 4711.
--c--
--b
Content-Disposition: attachment; filename=a.bin
Content-Transfer-Encoding: base64

AAEC
Aw==
--b
Content-Type: text/plain

The end: \u{e4}.
--b--
";

#[test]
fn a_message_is_found_by_its_id() {
    let world = World::new();
    for number in 0..5 {
        world.deliver(&format!("Subject: {number}\n\n"), &["ann@a.example"]);
    }
    for item in world.inbox.list().unwrap().items.iter() {
        let found = world.inbox.item(item.seen.id).unwrap();
        assert_eq!(found.as_ref(), Some(item));
    }
    assert_eq!(world.inbox.item(id(1)).unwrap(), None);
}

#[test]
fn the_texts_of_a_message_are_decoded_and_cut_between_characters() {
    let world = World::new();
    let fitting = "\u{20ac}".repeat(limits::BODY_OCTETS_MAX / 3);
    let euros = fitting.clone() + "\u{20ac}";
    for (content, text, html, readable, is_cut) in [
        (
            LETTER,
            "The code is 4711.\n--\nThe end: \u{e4}.",
            "<p>The <b>code</b> is 4711.",
            "The code is 4711.\n--\nThe end: \u{e4}.",
            false,
        ),
        (
            "Content-Type: text/html; charset=latin1\n\n<p>\u{e4}<p>b\n",
            "",
            "<p>\u{c3}\u{a4}<p>b\n",
            "\u{c3}\u{a4}\nb",
            false,
        ),
        ("\n", "", "", "", false),
        (&format!("\n{euros}"), &fitting, "", &fitting, true),
    ] {
        world.deliver(content, &["ann@a.example"]);
        let list = world.inbox.list().unwrap();
        let opened = world.inbox.open(&list.items[0]).unwrap().unwrap();
        let bodies = world.inbox.body(&opened).unwrap();
        // Not by assert_eq, because the last text is long.
        assert!(bodies.text == text, "{:.300}", bodies.text);
        assert_eq!((bodies.html.as_str(), bodies.is_cut), (html, is_cut));
        assert!(
            bodies.readable().trim_end() == readable,
            "{:.300}",
            bodies.readable()
        );
    }
}

#[test]
fn parts_are_as_long_as_they_are_downloaded() {
    let world = World::new();
    world.deliver(LETTER, &["ann@a.example"]);
    let list = world.inbox.list().unwrap();
    let opened = world.inbox.open(&list.items[0]).unwrap().unwrap();
    let outline = opened.outline.as_ref().unwrap();
    let parts = ["1.1", "2", "3"].map(|id| outline.part(id).unwrap());
    let octets = world.inbox.part_octets(&opened, &parts).unwrap();
    assert_eq!(octets, [17, 4, 12]);
    for (part, octets) in parts.into_iter().zip(octets) {
        let message = world.inbox.message(&list.items[0]).unwrap().unwrap();
        let mut content = Content::part(message, part);
        let mut out = Vec::new();
        while content.next(&mut out).unwrap() {}
        assert_eq!(u64::try_from(out.len()).unwrap(), octets, "{}", part.id);
    }
}

#[test]
fn a_search_finds_what_its_words_say() {
    let world = World::new();
    world.deliver(LETTER, &["bob@a.example", "carl@a.example"]);
    let item = world.inbox.list().unwrap().items[0].clone();
    let hidden = |_: &_, _: &_| vec![mailbox("carl@a.example")];
    let finds = |words: &str| {
        let present = Present {
            unix_seconds: i64::try_from(item.seen.arrived).unwrap(),
            zone: TimeZone::UTC,
        };
        let words = Words::parse(words, &present).unwrap();
        world
            .inbox
            .reading()
            .matches((&item, None), &words, &hidden)
            .unwrap()
            .unwrap()
    };
    for (words, is_found) in [
        ("", true),
        ("CAF\u{c9}", true),
        ("4711 \"code is\"", true),
        ("4712", false),
        ("filename", false),
        ("from:ann from:a.example", true),
        ("from:bob", false),
        ("to:bob@a", true),
        ("cc:bob", false),
        ("bcc:carl", true),
        ("bcc:bob", false),
        ("addressed:carl", true),
        ("subject:your", true),
        ("subject:4711", false),
        ("message-id:<1@a.example>", true),
        ("message-id:2@", false),
        ("mailbox:carl@", true),
        ("mailbox:ann@", false),
        ("has:attachment", true),
        ("is:read", false),
        ("larger:100 smaller:2k", true),
        ("after:1h", true),
        ("before:1h", false),
    ] {
        assert_eq!(finds(words), is_found, "{words}");
    }
    world.inbox.mark(None, item.seen.id, true);
    assert!(finds("is:read"));
    let one = std::slice::from_ref(&item);
    assert_eq!(world.inbox.n_unread(None, one), 0);
}

#[test]
fn one_reading_finds_the_messages_of_many_mailboxes_in_any_order() {
    let world = World::new();
    let n_mailboxes = limits::LOOKS_MAX + 2;
    for number in 0..3 {
        let recipients: Vec<String> = (0..n_mailboxes)
            .map(|n| format!("b{n}@a.example"))
            .collect();
        for recipient in &recipients {
            world.deliver(&format!("Subject: {number} {recipient}\n\n"), &[recipient]);
        }
    }
    let list = world.inbox.list().unwrap();
    let reading = world.inbox.reading();
    let (ahead, back) = (list.items.iter(), list.items.iter().rev());
    for item in ahead.chain(back).chain(list.items.iter().step_by(7)) {
        let opened = reading.open(item).unwrap().unwrap();
        let subject = Summary::of(&opened.outline.unwrap()).subject;
        assert!(
            subject.ends_with(&item.mailboxes[0].to_string()),
            "{subject}"
        );
    }
    // What came later is not in the looks.
    world.deliver("\n", &["b0@a.example"]);
    let list = world.inbox.list().unwrap();
    let gone = list
        .items
        .iter()
        .filter(|item| reading.open(item).unwrap().is_none());
    assert!(gone.count() <= 1);
    let there = list
        .items
        .iter()
        .filter(|item| world.inbox.open(item).unwrap().is_some());
    assert_eq!(there.count(), 3 * n_mailboxes + 1);
}

/// Whoever gets half of a message must not take it for a whole one.
#[test]
#[expect(clippy::disallowed_methods, reason = "another program does this")]
fn a_file_that_becomes_shorter_while_it_is_read_is_an_error() {
    let world = World::new();
    world.deliver("Subject: one\n\n", &["ann@a.example"]);
    let path = world
        .directory
        .path()
        .join("mail/a.example/ann/new/1.2.elsewhere");
    let text = "Content-Type: image/png\n\n".to_owned() + &"x".repeat(1_000);
    for (length, is_cut) in [
        (text.len(), false),
        (text.len() - 1, true),
        (30, true),
        (0, true),
    ] {
        fs::write(&path, &text).unwrap();
        world.inbox.scan.lock().looked = None;
        let list = world.inbox.list().unwrap();
        let item = list.items.iter().find(|it| it.seen.octets > 100).unwrap();
        let opened = world.inbox.open(item).unwrap().unwrap();
        let part = opened.outline.as_ref().unwrap().parts()[0].clone();
        let whole = world.inbox.message(item).unwrap().unwrap();
        let contents = [Content::whole(whole), Content::part(opened.message, &part)];
        fs::File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(u64::try_from(length).unwrap())
            .unwrap();
        for mut content in contents {
            content.limit(100);
            let mut octets = Vec::new();
            let end = loop {
                match content.next(&mut octets) {
                    Ok(true) => {}
                    Ok(false) => break None,
                    Err(error) => break Some(error.to_string()),
                }
            };
            assert_eq!(end.is_some(), is_cut, "{length}: {end:?}");
            assert!(end.is_none_or(|it| it.contains("1.2.elsewhere")));
            assert!(octets.len() <= length + 100, "{}", octets.len());
        }
    }
}
