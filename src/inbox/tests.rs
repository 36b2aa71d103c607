//! The inbox over a real store.

use std::{fs, sync::Arc};

use tempfile::TempDir;

use super::{
    Inbox, List,
    index::{Index, Seen},
    limits,
    marks::Marks,
    summaries::Summaries,
};
use crate::{
    clock::Clock,
    mail::{EntryId, MailboxName},
    mime::Summary,
    store::{MessageStore, Settings},
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
        let inbox = Inbox::of(Arc::clone(&store), Clock::system());
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
fn the_newest_come_first_and_copies_are_one() {
    let mut index = Index::default();
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
fn a_mailbox_that_does_not_fit_is_left_out() {
    let mut index = Index::default();
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
    marks.set(id(0), true);
    marks.set(id(1), true);
    // Marked again, it counts as new.
    marks.set(id(0), true);
    for number in (2..).take(limits::READ_MARKS_MAX - 1) {
        marks.set(id(number), true);
    }
    assert_eq!(
        [0, 1, 2].map(|number| marks.is_read(id(number))),
        [true, false, true]
    );
    marks.set(id(0), false);
    assert!(!marks.is_read(id(0)));
}

#[test]
fn the_summaries_that_were_not_used_for_longest_are_forgotten() {
    let mut summaries = Summaries::default();
    let large = Arc::new(Summary {
        snippet: "x".repeat(limits::SUMMARIES_OCTETS_MAX / 4),
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
