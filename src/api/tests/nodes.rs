//! Waits and events on a node whose database other nodes use too, and that may end at any time.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tempfile::TempDir;

use crate::{
    api::{Answer, Api, Asker, Failure, Turn, Wait, answer, limits::FOREIGN_SLACK_SECONDS},
    clock::{Clock, Hands, look_again},
    http::Fields,
    inbox::Memory,
    store::{Access, Database, MessageStore, Secrets, Settings},
    testing::postgres::shared,
};

use super::{
    mailbox,
    waits::{accounts, get, json_of, response_of},
};

const ANN: &str = "ann@example.org";

/// The ID of a message of a node that is gone.
const ID: &str = "0000000000000001-00000001";

/// Long enough for a node to tell of its message, and for another look.
const LONG: Duration = Duration::from_secs(FOREIGN_SLACK_SECONDS + 2);

/// A node whose API is asked, and others that deliver.
struct World {
    database: String,
    hands: Arc<Hands>,
    store: Arc<MessageStore>,
    api: Api,
    /// Removed at the end.
    directory: TempDir,
}

impl World {
    fn new() -> Self {
        let (database, hands) = (shared().new_database(), Arc::new(Hands::new()));
        let directory = TempDir::new().unwrap();
        let store = open(&database, &directory, "node", &hands);
        let clock = Clock::turned_by(Arc::clone(&hands));
        let api = Api::new(Arc::clone(&store), accounts(), clock, Memory::default());
        Self {
            database,
            hands,
            store,
            api,
            directory,
        }
    }

    /// Delivers as a node that ends before it tells of it.
    fn deliver_untold(&self) {
        let seconds = Clock::turned_by(Arc::clone(&self.hands)).unix_time();
        let name = format!("{}.0000000000000001_00000001", seconds.as_secs());
        let text = format!(
            "insert into mailbox (domain, local) values ('example.org', 'ann');
            insert into content (name, octets, wire_octets, complete, body)
                values ('{name}', 12, 15, true, 'Subject: a\n\n');
            insert into message select id, '{name}' from mailbox"
        );
        shared().sql(&self.database, &text);
    }

    /// Delivers as a node that tells of it, and waits until this one has heard that.
    fn deliver_told(&self) {
        let mut watch = self.store.watch(None, self.store.cursor()).unwrap();
        let other = open(&self.database, &self.directory, "other", &self.hands);
        let mut delivery = other.begin_delivery(0).unwrap();
        delivery.append(b"Subject: a\n\n").unwrap();
        delivery.commit(&[mailbox(ANN)]).unwrap();
        while watch.news(Duration::ZERO).unwrap().is_empty() {
            look_again();
        }
        other.close().unwrap();
    }

    fn json(&self, target: &str) -> Value {
        let answer = answer(&self.api, &get(target), &Asker::Everybody).unwrap();
        let Answer::Response(response) = answer else {
            panic!("{answer:?}")
        };
        json_of(&response)
    }

    fn cursor(&self) -> String {
        self.json("/api/cursor")["cursor"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    fn wait(&self, query: &str) -> Wait {
        let request = get(&format!("/api/wait?{query}"));
        match answer(&self.api, &request, &Asker::Everybody) {
            Ok(Answer::Wait(wait)) => *wait,
            other => panic!("{other:?}"),
        }
    }

    /// What the wait finds now, after so much time.
    fn found(&self, wait: &mut Wait, after: Duration) -> Option<Value> {
        self.hands.pass(after);
        match wait.turn(&self.api, Duration::ZERO) {
            Turn::Again => None,
            Turn::Done(answer) => Some(json_of(&response_of(answer))),
        }
    }
}

fn open(database: &str, directory: &TempDir, name: &str, hands: &Arc<Hands>) -> Arc<MessageStore> {
    let mut settings = Settings::new(directory.path().join(name), "host.example");
    settings.database = Some(Database {
        access: Access::parse(&shared().access(database), Secrets::default()).unwrap(),
        is_single: true,
    });
    let clock = Clock::turned_by(Arc::clone(hands));
    Arc::new(MessageStore::open(settings, clock).unwrap())
}

#[test]
fn a_wait_finds_mail_of_which_its_node_did_not_tell() {
    for to in ["", "&to=ann@example.org"] {
        let world = World::new();
        let cursor = world.cursor();
        let mut early = world.wait(&format!("since={cursor}{to}"));
        assert_eq!(world.found(&mut early, Duration::ZERO), None);
        world.deliver_untold();
        // The node may still tell of it.
        assert_eq!(world.found(&mut early, Duration::from_secs(1)), None);
        assert_eq!(world.found(&mut early, LONG).unwrap()["ID"], ID);
        let mut late = world.wait(&format!("since={cursor}&count=1{to}"));
        let several = world.found(&mut late, Duration::ZERO).unwrap();
        assert_eq!(several["messages"][0]["ID"], ID);
        // Behind the cursor of that answer it does not count again.
        let next = several["cursor"].as_str().unwrap();
        let mut next = world.wait(&format!("since={next}{to}"));
        assert_eq!(world.found(&mut next, Duration::ZERO), None);
        assert_eq!(world.found(&mut next, LONG), None);
    }
}

#[test]
fn mail_of_another_node_that_was_there_before_does_not_count() {
    for to in ["", "&to=ann@example.org"] {
        let world = World::new();
        let first = world.cursor();
        world.deliver_told();
        let cursor = world.cursor();
        let mut wait = world.wait(&format!("since={cursor}&timeout=60s{to}"));
        for _ in 0..3 {
            assert_eq!(world.found(&mut wait, LONG), None);
        }
        let mut wait = world.wait(&format!("since={first}{to}"));
        assert!(world.found(&mut wait, Duration::ZERO).is_some());
    }
}

#[test]
fn events_are_reset_for_mail_of_which_its_node_did_not_tell() {
    let world = World::new();
    let request = crate::http::Request {
        fields: Fields::default(),
        ..get("/api/events")
    };
    let answer = answer(&world.api, &request, &Asker::Everybody);
    let Ok::<_, Failure>(Answer::Events { mut events, .. }) = answer else {
        panic!("{answer:?}")
    };
    let mut turns = || {
        let mut out = Vec::new();
        for _ in 0..5 {
            world.hands.pass(Duration::from_secs(1));
            events.turn(&world.api, Duration::ZERO, &mut out).unwrap();
        }
        String::from_utf8(out).unwrap()
    };
    assert!(!turns().contains("reset"));
    world.deliver_untold();
    assert!(turns().contains("reset"));
    assert!(!turns().contains("reset"));
}
