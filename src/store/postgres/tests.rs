//! The store in a database: its rules, one by one, on real servers. Where a rule protects mail, the
//! test also shows that it would notice if the rule were broken.

use std::{
    io::{self, Read as _, Write as _},
    net::Shutdown,
    os::unix::net::{UnixListener, UnixStream},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    thread::{self, ScopedJoinHandle},
    time::Duration,
};

use parking_lot::{Mutex, MutexGuard};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tempfile::TempDir;

use crate::{
    clock::{Clock, Hands, look_again},
    mail::MailboxName,
    store::{Access, Change, Database, Error, Kind, Maildrop, MessageStore, Secrets, Settings},
    testing::{
        bugs::{self, Bug},
        model::read,
        postgres::{Cluster, STANDBY, shared},
        rng::Rng,
    },
};

use super::{
    PostgresStore,
    lanes::Purpose,
    limits::{DELIVERY_TIMEOUT, DOUBT_INTERVAL, RENEW_INTERVAL, WRITERS},
};

/// A daemon's store.
struct Node {
    store: MessageStore,
    hands: Arc<Hands>,
    _directory: TempDir,
}

/// What a store is opened with.
#[derive(Clone, Copy)]
struct Place<'a> {
    cluster: &'a Cluster,
    database: &'a str,
    is_single: bool,
}

impl<'a> Place<'a> {
    /// A new database.
    fn new(cluster: &'a Cluster, database: &'a str) -> Self {
        Self {
            cluster,
            database,
            is_single: false,
        }
    }

    fn single(self) -> Self {
        Self {
            is_single: true,
            ..self
        }
    }

    fn try_open(self, clock: Clock) -> Result<(MessageStore, TempDir), Error> {
        let access = self.cluster.access(self.database);
        let directory = TempDir::new().unwrap();
        let mut settings = Settings::new(directory.path().join("mail"), "host.example");
        settings.database = Some(Database {
            access: Access::parse(&access, Secrets::default()).unwrap(),
            is_single: self.is_single,
        });
        MessageStore::open(settings, clock).map(|store| (store, directory))
    }

    /// Opens the store with the clock of the system.
    fn open(self) -> Node {
        self.open_with(Clock::system(), Arc::new(Hands::new()))
    }

    /// Opens the store with a clock that stands still. Pauses take no time.
    fn open_in_still_time(self) -> Node {
        let hands = Arc::new(Hands::new());
        self.open_with(Clock::turned_by(Arc::clone(&hands)), hands)
    }

    fn open_with(self, clock: Clock, hands: Arc<Hands>) -> Node {
        let (store, directory) = self.try_open(clock).unwrap();
        Node {
            store,
            hands,
            _directory: directory,
        }
    }

    fn sql(self, text: &str) -> String {
        self.cluster.sql(self.database, text)
    }

    /// Waits until a statement has this result.
    fn await_that(self, text: &str, result: &str) {
        while self.sql(text) != result {
            look_again();
        }
    }

    /// Calls a function of the server for each backend that waits for a standby.
    fn to_waiting(self, function: &str) {
        let waiting = "from pg_stat_activity where wait_event = 'SyncRep'";
        self.sql(&format!("select {function}(pid) {waiting}"));
    }

    /// Waits until so many backends wait for a standby.
    fn await_waiting(self, count: &str) {
        self.await_that(WAITING, count);
    }
}

/// How many backends wait for a standby.
const WAITING: &str = "select count(*) from pg_stat_activity
    where wait_event = 'SyncRep' and datname = current_database()";

/// A part of a transaction: goes on when another backend waits for a lock of it.
const UNTIL_BLOCKED: &str = "do $$ begin
    while not exists (select from pg_stat_activity
        where wait_event_type = 'Lock' and datname = current_database())
    loop perform pg_sleep(0.005); perform pg_stat_clear_snapshot(); end loop;
    end $$";

impl Node {
    fn postgres(&self) -> &PostgresStore {
        match &self.store.kind {
            Kind::Postgres(store) => store,
            Kind::Maildir(_) => panic!("no database"),
        }
    }

    fn deliver(&self, content: &[u8], mailbox: &MailboxName) -> Result<(), Error> {
        let mut delivery = self.store.begin_delivery(0)?;
        delivery.append(content)?;
        delivery.commit(std::slice::from_ref(mailbox))
    }

    fn contents(&self, mailbox: &MailboxName) -> Vec<Vec<u8>> {
        contents(&self.open_maildrop(mailbox))
    }

    /// Opens a maildrop, when this node has a lease and no other has the maildrop.
    fn open_maildrop(&self, mailbox: &MailboxName) -> Maildrop {
        loop {
            match self.store.open_maildrop(mailbox) {
                Ok(maildrop) => return maildrop,
                Err(Error::InUse { .. } | Error::Io { .. }) => look_again(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// How often a batch was sent again.
    fn n_repeats(&self) -> u64 {
        self.postgres().open.counters.repeats.value()
    }
}

fn contents(maildrop: &Maildrop) -> Vec<Vec<u8>> {
    let indexes = 0..maildrop.messages().len();
    indexes
        .map(|index| read(maildrop, index).unwrap())
        .collect()
}

fn ann() -> MailboxName {
    MailboxName::from_canonical("ann", "a.example").unwrap()
}

/// A primary with a standby, for one test at a time. Whatever the test does to them is undone.
struct Pair(MutexGuard<'static, Cluster>);

impl Pair {
    fn take() -> Self {
        static PAIR: OnceLock<Mutex<Cluster>> = OnceLock::new();
        Self(
            PAIR.get_or_init(|| Mutex::new(Cluster::with_standby()))
                .lock(),
        )
    }

    /// Puts everything in order.
    fn mend(&self) {
        self.0.start_standby_if_down();
        self.0.set_names(STANDBY);
        self.0.await_that(
            "select count(*) from pg_stat_replication where sync_state = 'sync'",
            "1",
        );
    }
}

/// Checks that `scenario` succeeds, and fails with each of the planted `bugs`.
fn check(bugs: &[Bug], scenario: impl Fn() -> Result<(), String>) {
    scenario().unwrap_or_else(|fault| panic!("without a bug: {fault}"));
    for &bug in bugs {
        bugs::plant(Some(bug));
        let found = scenario();
        bugs::plant(None);
        assert!(found.is_err(), "{bug:?} is not noticed");
    }
}

/// The same on a new database of the pair, which is in order each time.
fn check_pair(bugs: &[Bug], scenario: impl Fn(&Pair, Place<'_>) -> Result<(), String>) {
    let pair = Pair::take();
    check(bugs, || {
        pair.mend();
        let database = pair.0.new_database();
        scenario(&pair, Place::new(&pair.0, &database))
    });
    pair.mend();
}

/// An error with this text, unless `is_true`.
fn must(is_true: bool, text: impl AsRef<str>) -> Result<(), String> {
    is_true
        .then_some(())
        .ok_or_else(|| text.as_ref().to_owned())
}

/// Waits for a delivery, letting its time pass.
fn let_time_pass<T>(node: &Node, thread: ScopedJoinHandle<'_, T>) -> T {
    while !thread.is_finished() {
        node.hands.pass(DELIVERY_TIMEOUT);
        look_again();
    }
    thread.join().unwrap()
}

/// I1: while the only standby is away nothing is acknowledged, and neither is it when somebody
/// takes the standby from the names, which lets what waits commit without a warning.
#[test]
fn a_commit_that_was_let_go_is_not_acknowledged() {
    check_pair(&[Bug::ChangesAreNotProved], |pair, place| {
        let node = place.open_in_still_time();
        node.deliver(b"with\n", &ann()).unwrap();
        pair.0.kill_standby();
        let result = thread::scope(|scope| {
            let thread = scope.spawn(|| node.deliver(b"without\n", &ann()));
            place.await_waiting("1");
            pair.0.set_names("");
            place.await_waiting("0");
            let_time_pass(&node, thread)
        });
        must(result.is_err(), "it was acknowledged")
    });
}

/// The statement itself reads the names: nothing is written when there are none.
#[test]
fn nothing_is_written_while_no_standby_is_named() {
    check_pair(&[Bug::StandbysAreReadBefore], |pair, place| {
        let node = place.open_in_still_time();
        pair.0.set_names("");
        must(node.deliver(b"a\n", &ann()).is_err(), "it was acknowledged")?;
        must(
            place.sql("select count(*) from content") == "0",
            "it was written",
        )
    });
}

/// A commit whose wait was cancelled succeeds, with a warning. It is sent again.
#[test]
fn a_commit_with_a_warning_counts_as_unknown() {
    check_pair(&[Bug::WarningsAreIgnored], |pair, place| {
        let node = place.open_in_still_time();
        node.deliver(b"with\n", &ann()).unwrap();
        pair.0.kill_standby();
        thread::scope(|scope| {
            let thread = scope.spawn(|| node.deliver(b"without\n", &ann()));
            place.await_waiting("1");
            place.to_waiting("pg_cancel_backend");
            place.await_waiting("0");
            must(let_time_pass(&node, thread).is_err(), "it was acknowledged")
        })?;
        must(node.n_repeats() == 1, "it was not sent again")
    });
}

/// I5: the outcome of a commit is not known if its server is ended in the wait. The same statement
/// with the same names finds out.
#[test]
fn a_repeated_delivery_makes_no_second_copy() {
    check_pair(&[Bug::RepeatsGetNewNames], |pair, place| {
        let node = place.open();
        node.deliver(b"first\n", &ann()).unwrap();
        pair.0.kill_standby();
        thread::scope(|scope| {
            let thread = scope.spawn(|| node.deliver(b"second\n", &ann()));
            place.await_waiting("1");
            place.to_waiting("pg_terminate_backend");
            pair.mend();
            must(thread.join().unwrap().is_ok(), "it was not acknowledged")
        })?;
        let n_copies = node.contents(&ann()).len();
        must(n_copies == 2, format!("{n_copies} messages"))
    });
}

/// I2: a message that was delivered, fetched and removed while its sender waits does not come back
/// when the delivery is sent again.
#[test]
fn a_repeated_delivery_does_not_bring_back_what_was_removed() {
    check_pair(&[Bug::DeliveriesAreRepeated], |pair, place| {
        let node = place.open();
        node.deliver(b"first\n", &ann()).unwrap();
        pair.0.kill_standby();
        thread::scope(|scope| {
            let thread = scope.spawn(|| node.deliver(b"second\n", &ann()));
            place.await_waiting("1");
            // It waits for the commit, and the delivery that is sent again waits for it.
            let remove = scope.spawn(|| {
                place.sql(
                    "begin; set local synchronous_commit = local; lock table content in share \
                     mode; delete from message; commit",
                )
            });
            place.await_that(
                "select count(*) from pg_locks where not granted and mode = 'ShareLock'
                    and relation = 'content'::regclass",
                "1",
            );
            place.to_waiting("pg_terminate_backend");
            remove.join().unwrap();
            pair.mend();
            must(thread.join().unwrap().is_ok(), "it was not acknowledged")
        })?;
        must(node.contents(&ann()).is_empty(), "it came back")
    });
}

/// I4: what is visible on a server, but on no standby, is not shown.
#[test]
fn a_message_that_may_vanish_is_not_shown() {
    check_pair(&[Bug::ListingsAreNotProved], |pair, place| {
        let node = place.open_in_still_time();
        // The time of the node passes with each of its attempts.
        let other = place.open();
        node.deliver(b"with\n", &ann()).unwrap();
        pair.0.kill_standby();
        thread::scope(|scope| {
            let thread = scope.spawn(|| node.deliver(b"without\n", &ann()));
            place.await_waiting("1");
            place.to_waiting("pg_cancel_backend");
            place.await_that("select count(*) from message", "2");
            let looked = other.store.look(&ann());
            must(looked.is_err(), "it is shown")?;
            must(let_time_pass(&node, thread).is_err(), "it was acknowledged")
        })
    });
}

/// A primary without its standby, which it has not missed yet, shows its mailboxes only until a
/// node has renewed its lease there: nobody confirms that record.
#[test]
fn a_look_is_hardly_older_than_the_last_renewal() {
    check_pair(&[Bug::ListingsAreNotProved], |pair, place| {
        let node = place.open_in_still_time();
        node.deliver(b"a\n", &ann()).unwrap();
        node.store.look(&ann()).unwrap();
        pair.0.signal_receiver("-STOP");
        let end = place.sql("select pg_current_wal_flush_lsn()");
        node.hands.pass(RENEW_INTERVAL);
        place.await_that(&format!("select pg_current_wal_flush_lsn() > '{end}'"), "t");
        let looked = node.store.look(&ann());
        pair.0.signal_receiver("-CONT");
        must(looked.is_err(), "it may be old")?;
        while node.store.look(&ann()).is_err() {
            look_again();
        }
        Ok(())
    });
}

/// Two nodes want the mailbox of a dead one at the same time: the second sees that the first has
/// it, although its lease is newer than the statement that waits.
#[test]
fn a_claim_sees_the_lease_of_the_one_it_has_waited_for() {
    let database = shared().new_database();
    check(&[Bug::ClaimsAreOneStatement], || {
        let place = Place::new(shared(), &database).single();
        let node = place.open();
        node.deliver(b"a\n", &ann()).unwrap();
        let claim = format!(
            "begin; with n as (insert into node values (gen_random_uuid(), 'other',
                clock_timestamp() + interval '9 seconds') returning id)
            update mailbox set token = token + 1, holder = n.id from n; {UNTIL_BLOCKED}; commit"
        );
        let opened = thread::scope(|scope| {
            let other = scope.spawn(|| place.sql(&claim));
            // Until the row is locked, the maildrop can be opened.
            place.await_that(
                "select count(*) from pg_locks where mode = 'RowExclusiveLock' and granted
                    and relation = 'mailbox'::regclass",
                "1",
            );
            let opened = node.store.open_maildrop(&ann());
            other.join().unwrap();
            opened.map(drop)
        });
        must(
            matches!(opened, Err(Error::InUse { .. })),
            format!("both have it: {opened:?}"),
        )
    });
}

/// Somebody who works with the tables has locked a mailbox: its messages fail soon, and no others.
#[test]
fn a_locked_mailbox_holds_up_its_own_messages_only() {
    const LOCK: &str = "begin; select from mailbox where local = 'ann' for update;
        do $$ begin while exists (select from gate) loop perform pg_sleep(0.01); end loop; end $$;
        commit";
    let database = shared().new_database();
    let place = Place::new(shared(), &database).single();
    let node = place.open();
    let bob = MailboxName::from_canonical("bob", "example.com").unwrap();
    for mailbox in [&ann(), &bob] {
        node.deliver(b"first\n", mailbox).unwrap();
    }
    place.sql("create table gate as select 1");
    let delivered = thread::scope(|scope| {
        scope.spawn(|| place.sql(LOCK));
        place.await_that(
            "select count(*) from pg_locks where mode = 'RowShareLock' and granted
                and relation = 'mailbox'::regclass",
            "1",
        );
        let large = b"large\n".repeat(100_000);
        let deliver = |number: usize| {
            let content = if number < 2 { &*large } else { b"small\n" };
            let is_locked = number.is_multiple_of(2);
            let mailbox = if is_locked { ann() } else { bob.clone() };
            let node = &node;
            let content = content.to_vec();
            scope.spawn(move || (is_locked, node.deliver(&content, &mailbox)))
        };
        let deliveries: Vec<_> = (0..12).map(deliver).collect();
        let delivered = deliveries.into_iter().map(|it| it.join().unwrap());
        let delivered: Vec<_> = delivered.collect();
        place.sql("delete from gate");
        delivered
    });
    for (is_locked, delivered) in delivered {
        assert_eq!(delivered.is_err(), is_locked, "{delivered:?}");
    }
    node.deliver(b"last\n", &ann()).unwrap();
}

/// A lease counts by the clock of the server, whatever time it is here.
#[test]
fn a_lease_goes_by_the_clock_of_the_server() {
    let database = shared().new_database();
    check(&[Bug::LeasesGoByTheNodesClock], || {
        let place = Place::new(shared(), &database).single();
        let (one, other) = (place.open(), place.open_in_still_time());
        one.deliver(b"a\n", &ann()).unwrap();
        let held = one.store.open_maildrop(&ann()).unwrap();
        let opened = other.store.open_maildrop(&ann()).map(drop);
        must(
            matches!(opened, Err(Error::InUse { .. })),
            format!("both have it: {opened:?}"),
        )?;
        drop(held);
        // The claim ends a moment after the session.
        while other.store.open_maildrop(&ann()).is_err() {
            look_again();
        }
        Ok(())
    });
}

/// I3: a session that has lost its mailbox removes nothing. A server that takes over may give out
/// the same token again.
#[test]
fn only_the_session_that_has_the_mailbox_removes() {
    let database = shared().new_database();
    check(&[Bug::SessionsAreNotChecked], || {
        let place = Place::new(shared(), &database).single();
        let node = place.open();
        node.deliver(b"a\n", &ann()).unwrap();
        let n_before = place.sql("select count(*) from message");
        let maildrop = node.store.open_maildrop(&ann()).unwrap();
        place.sql("update mailbox set session = session + 1");
        must(maildrop.remove(&[0]).is_err(), "it was acknowledged")?;
        must(
            place.sql("select count(*) from message") == n_before,
            "it was removed",
        )
    });
}

/// I10: while the only standby is away, open sessions read on, and nothing else hangs for longer
/// than its deadline. When it is back, everything goes on.
#[test]
fn sessions_read_on_while_the_standby_is_away() {
    let pair = Pair::take();
    pair.mend();
    let database = pair.0.new_database();
    let place = Place::new(&pair.0, &database);
    let node = place.open_in_still_time();
    node.deliver(b"a\n", &ann()).unwrap();
    let maildrop = node.store.open_maildrop(&ann()).unwrap();
    pair.0.kill_standby();
    thread::scope(|scope| {
        let quit = scope.spawn(|| maildrop.remove(&[0]));
        place.await_waiting("1");
        let deliveries = ["2", "3", "4"].map(|count| {
            let thread = scope.spawn(|| node.deliver(b"b\n", &ann()));
            place.await_waiting(count);
            thread
        });
        assert_eq!(contents(&maildrop), [b"a\n"]);
        assert!(let_time_pass(&node, quit).is_err());
        for delivery in deliveries {
            assert!(let_time_pass(&node, delivery).is_err());
        }
    });
    drop(maildrop);
    // All connections for changes wait: new mail is refused at once.
    while node.store.begin_delivery(0).is_ok() {
        look_again();
    }
    pair.mend();
    while node.deliver(b"c\n", &ann()).is_err() {
        look_again();
    }
    // The removal was not acknowledged, nor were the deliveries, and all have happened.
    let mut found = node.contents(&ann());
    found.sort();
    assert_eq!(found, [b"b\n", b"b\n", b"b\n", b"c\n"]);
    pair.mend();
}

/// A claim whose commit comes only after its session was refused does not keep other nodes out.
#[test]
fn a_claim_that_comes_late_is_ended() {
    let pair = Pair::take();
    pair.mend();
    let database = pair.0.new_database();
    let place = Place::new(&pair.0, &database);
    let (one, other) = (place.open_in_still_time(), place.open());
    one.deliver(b"a\n", &ann()).unwrap();
    pair.0.kill_standby();
    thread::scope(|scope| {
        let thread = scope.spawn(|| one.store.open_maildrop(&ann()).map(drop));
        place.await_waiting("1");
        assert!(let_time_pass(&one, thread).is_err());
    });
    pair.mend();
    assert_eq!(other.contents(&ann()), [b"a\n"]);
    pair.mend();
}

/// A node that was frozen for longer than its lease finds that another has the mailbox.
#[test]
fn a_late_removal_removes_nothing() {
    let database = shared().new_database();
    let place = Place::new(shared(), &database).single();
    let (one, other) = (place.open(), place.open());
    one.deliver(b"a\n", &ann()).unwrap();
    let frozen = one.store.open_maildrop(&ann()).unwrap();
    place.sql("update node set lease_until = clock_timestamp() - interval '1 second'");
    let taken = other.store.open_maildrop(&ann()).unwrap();
    assert!(frozen.remove(&[0]).is_err());
    assert_eq!(one.postgres().open.counters.fences.value(), 1);
    assert_eq!(contents(&taken), [b"a\n"]);
    taken.remove(&[0]).unwrap();
    drop((taken, frozen));
    assert!(other.contents(&ann()).is_empty());
}

/// A session ends when its node has lost its lease, even for a moment.
#[test]
fn a_session_ends_with_the_lease_of_its_node() {
    let database = shared().new_database();
    let place = Place::new(shared(), &database).single();
    let node = place.open_in_still_time();
    node.deliver(b"a\n", &ann()).unwrap();
    let maildrop = node.store.open_maildrop(&ann()).unwrap();
    assert_eq!(contents(&maildrop).len(), 1);
    node.hands.pass(Duration::from_secs(8));
    assert!(maildrop.open_message(0).is_err());
    assert!(maildrop.remove(&[0]).is_err());
    drop(maildrop);
    // The housekeeping renews it, for later sessions.
    while node.store.open_maildrop(&ann()).is_err() {
        look_again();
    }
    assert_eq!(node.contents(&ann()).len(), 1);
}

/// A session that has lost its lease keeps nobody out, although its client stays, and does not end
/// the session after it.
#[test]
fn a_session_without_a_lease_keeps_nobody_out() {
    let database = shared().new_database();
    let place = Place::new(shared(), &database).single();
    let (one, other) = (place.open_in_still_time(), place.open());
    one.deliver(b"a\n", &ann()).unwrap();
    let first = one.store.open_maildrop(&ann()).unwrap();
    one.hands.pass(Duration::from_secs(8));
    assert_eq!(other.contents(&ann()), [b"a\n"]);
    let second = one.open_maildrop(&ann());
    assert!(first.check_is_ours().is_err());
    drop(first);
    assert!(matches!(
        one.store.open_maildrop(&ann()),
        Err(Error::InUse { .. })
    ));
    second.check_is_ours().unwrap();
    second.remove(&[0]).unwrap();
}

/// A claim that this node does not know, such as one whose release was lost with a server, is ended
/// with the next renewal. Those of its sessions stay.
#[test]
fn a_claim_without_a_session_is_ended() {
    let database = shared().new_database();
    let place = Place::new(shared(), &database).single();
    let node = place.open_in_still_time();
    let bob = MailboxName::from_canonical("bob", "a.example").unwrap();
    for mailbox in [&ann(), &bob] {
        node.deliver(b"a\n", mailbox).unwrap();
    }
    let open = node.store.open_maildrop(&bob).unwrap();
    place.sql("update mailbox set holder = node.id, session = 1 from node where local = 'ann'");
    node.hands.pass(Duration::from_secs(4));
    place.await_that(
        "select string_agg(local, ' ') from mailbox where holder is not null",
        "bob",
    );
    open.check_is_ours().unwrap();
    open.remove(&[0]).unwrap();
}

/// Parts of a message that are missing are noticed before it is shown to anybody.
#[test]
fn a_message_in_parts_is_whole_or_not_there() {
    let database = shared().new_database();
    let place = Place::new(shared(), &database).single();
    let node = place.open_in_still_time();
    let line = [b'x'; 1023];
    let content: Vec<u8> = [&line[..], b"\n"].concat().repeat(9 * 1024 + 77);
    node.deliver(&content, &ann()).unwrap();
    assert_eq!(node.contents(&ann()), [&content[..]]);
    let mut delivery = node.store.begin_delivery(0).unwrap();
    delivery.append(&content).unwrap();
    place.sql(
        "delete from part using content c where part.name = c.name and not c.complete and n = 3",
    );
    assert!(delivery.commit(&[ann()]).is_err());
    assert_eq!(node.contents(&ann()).len(), 1);
    // The same message twice, as after an unknown outcome.
    assert_eq!(
        place.sql("select count(*) from content where complete"),
        "1"
    );
}

#[test]
fn watches_hear_of_the_changes_of_other_nodes() {
    let database = shared().new_database();
    let place = Place::new(shared(), &database).single();
    let (one, other) = (place.open(), place.open());
    let mut watch = other.store.watch(None, other.store.cursor()).unwrap();
    let mut hear = || loop {
        let news = watch.news(Duration::from_millis(10)).unwrap();
        if let Some(first) = news.first() {
            break first.change;
        }
    };
    one.deliver(b"a\n", &ann()).unwrap();
    assert_eq!(hear(), Change::Arrived);
    one.store
        .open_maildrop(&ann())
        .unwrap()
        .remove(&[0])
        .unwrap();
    assert_eq!(hear(), Change::Removed);
}

/// What happens to a delivery that waits for the standby.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Nothing, until its time is over.
    Waits,
    /// The server commits it, and says that it does not know.
    Ended,
    /// The server is lost, until the time is over.
    Lost,
}

/// What comes although its sender was told that it had failed is told to watches, and only once.
#[test]
fn watches_hear_once_of_what_comes_late() {
    let pair = Pair::take();
    let large = b"large\n".repeat(100_000);
    for (fate, content) in [
        (Fate::Waits, &b"b\n"[..]),
        (Fate::Waits, &large),
        (Fate::Ended, b"b\n"),
        (Fate::Lost, b"b\n"),
        (Fate::Lost, &large),
    ] {
        pair.mend();
        let database = pair.0.new_database();
        let place = Place::new(&pair.0, &database);
        let node = place.open_in_still_time();
        node.deliver(b"a\n", &ann()).unwrap();
        let mut watch = node.store.watch(None, node.store.cursor()).unwrap();
        pair.0.kill_standby();
        let late = thread::scope(|scope| {
            let thread = scope.spawn(|| node.deliver(content, &ann()));
            place.await_waiting("1");
            match fate {
                Fate::Waits => {}
                Fate::Ended => place.to_waiting("pg_terminate_backend"),
                Fate::Lost => pair.0.kill_first(),
            }
            let_time_pass(&node, thread)
        });
        assert!(late.is_err(), "{fate:?}");
        if fate == Fate::Lost {
            pair.0.start_first();
            // Watches begin again when the connection that listens is back.
            while watch.news(Duration::ZERO).is_ok() {
                look_again();
            }
        }
        pair.mend();
        let mut ids = Vec::new();
        let mut has_next = false;
        while ids.len() < 2 {
            node.hands.pass(DOUBT_INTERVAL);
            look_again();
            let news = watch.news(Duration::ZERO).unwrap();
            ids.extend(news.iter().map(|news| (news.change, news.id)));
            if !ids.is_empty() && !has_next {
                has_next = node.deliver(b"c\n", &ann()).is_ok();
            }
        }
        let look = node.store.look(&ann()).unwrap();
        let arrived = [1, 2].map(|index| (Change::Arrived, look.id(index).unwrap()));
        assert_eq!(ids, arrived, "{fate:?}");
        assert!(node.postgres().open.doubts.take().is_empty());
    }
    drop(pair);
}

/// I1: what was acknowledged is there when the standby has taken over, and the store goes on there.
#[test]
fn a_failover_loses_nothing() {
    let cluster = Cluster::with_standby();
    let database = cluster.new_database();
    let place = Place::new(&cluster, &database).single();
    let node = place.open();
    let deliver = |number: usize| node.deliver(format!("{number}\n").as_bytes(), &ann());
    for number in 0..20 {
        deliver(number).unwrap();
    }
    let maildrop = node.open_maildrop(&ann());
    cluster.kill_first();
    cluster.promote();
    for number in 20..40 {
        deliver(number).unwrap();
    }
    assert!(maildrop.messages().len() == 20);
    drop(maildrop);
    let maildrop = node.open_maildrop(&ann());
    let mut found = contents(&maildrop);
    found.sort();
    let mut expected: Vec<Vec<u8>> = (0..40).map(|it| format!("{it}\n").into_bytes()).collect();
    expected.sort();
    assert_eq!(found, expected);
    let indexes: Vec<usize> = (0..40).collect();
    maildrop.remove(&indexes).unwrap();
    // The connection that listens finds the new primary too.
    while node.postgres().open.counters.failovers.value() == 0 {
        look_again();
    }
}

#[test]
fn a_database_that_promises_too_little_is_refused() {
    let cluster = shared();
    let database = cluster.new_database();
    let place = Place::new(cluster, &database);
    let refused = |place: Place<'_>| match place.try_open(Clock::system()) {
        Err(Error::Unsafe { reason, .. }) => reason,
        other => panic!("{:?}", other.map(drop)),
    };
    assert!(refused(place).contains("no synchronous standby"));
    drop(place.single().open());
    place.sql("insert into facteur_schema values (1000)");
    assert!(refused(place.single()).contains("newer facteur"));
}

/// A server that accepts connections and says nothing, as a frozen one does, is tried once, and the
/// others are found behind it.
#[test]
fn a_silent_server_hides_no_other() {
    let (cluster, database) = (shared(), shared().new_database());
    let directory = TempDir::new().unwrap();
    let path = directory.path().join(".s.PGSQL.5432");
    // Nobody takes the connections.
    let _silent = UnixListener::bind(path).unwrap();
    let behind = cluster.access(&database);
    let text = format!(
        "host={},{}",
        directory.path().display(),
        behind.strip_prefix("host=").unwrap()
    );
    let access = Access::parse(&text, Secrets::default()).unwrap();
    let clock = Clock::system();
    // Less than the lease of a node.
    for seconds in [6, 1] {
        let deadline = super::after(&clock, Duration::from_secs(seconds));
        super::connection::Connection::open(&access, &clock, deadline).unwrap();
    }
}

/// A start that fails says why, and not only that its time is over.
#[test]
fn a_database_that_is_missing_is_named() {
    let place = Place::new(shared(), "nowhere").single();
    let error = place.try_open(Clock::system()).map(drop).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("nowhere does not exist: create it"), "{text}");
}

/// A server that cannot be used is named: one that is a standby, and one that is not there.
#[test]
fn a_server_that_cannot_be_used_is_named() {
    let pair = Pair::take();
    pair.mend();
    let servers = pair.0.access("postgres");
    let host = servers.split(',').next().unwrap();
    let clock = Clock::system();
    for (port, reason) in [("5433", "it is a standby"), ("5439", "No such file")] {
        let text = format!("{host} port={port} dbname=postgres user=postgres");
        let access = Access::parse(&text, Secrets::default()).unwrap();
        let deadline = super::after(&clock, Duration::from_mins(1));
        let failure = super::connection::Connection::open(&access, &clock, deadline).unwrap_err();
        let said = failure.to_string();
        let server = host.strip_prefix("host=").unwrap();
        assert!(said.contains(server) && said.contains(reason), "{said}");
    }
    drop(pair);
}

/// A database whose user may not make the tables says what to do about it.
#[test]
fn a_database_that_its_user_cannot_use_says_what_to_do() {
    let cluster = shared();
    let database = cluster.new_database();
    let user = format!("weak_{database}");
    cluster.sql("postgres", &format!("create role {user} login"));
    cluster.sql(
        "postgres",
        &format!("grant pg_read_all_stats to {user}; alter database {database} owner to {user}"),
    );
    cluster.sql(
        &database,
        "revoke create on schema public from pg_database_owner, public",
    );
    let access = cluster.access(&database);
    let access = access.replace("user=postgres", &format!("user={user}"));
    for (setting, remedy) in [
        ("", "make that user the owner"),
        ("search_path = nowhere", "name it in search_path"),
        (
            "default_transaction_read_only = on",
            "set default_transaction_read_only to off",
        ),
    ] {
        if !setting.is_empty() {
            cluster.sql("postgres", &format!("alter role {user} set {setting}"));
        }
        let directory = TempDir::new().unwrap();
        let mut settings = Settings::new(directory.path().join("mail"), "host.example");
        settings.database = Some(Database {
            access: Access::parse(&access, Secrets::default()).unwrap(),
            is_single: true,
        });
        let error = MessageStore::open(settings, Clock::system()).map(drop);
        let text = error.unwrap_err().to_string();
        assert!(text.contains(remedy), "{text}");
    }
}

/// A message that comes late to a batch has its whole time, and not that of the oldest.
#[test]
fn each_message_of_a_batch_has_its_time() {
    let database = shared().new_database();
    let node = Place::new(shared(), &database)
        .single()
        .open_in_still_time();
    let open = &node.postgres().open;
    let await_letters = |count: usize| {
        while open.outbox.len() < count {
            look_again();
        }
    };
    thread::scope(|scope| {
        // Every writer is busy, so that both messages become one batch.
        let busy = Arc::new(Mutex::new(()));
        let held = busy.lock();
        for _ in 0..WRITERS {
            let busy = Arc::clone(&busy);
            let wait = move |_: &mut _| drop(busy.lock());
            open.lanes.submit(Purpose::Write, wait).unwrap();
        }
        let older = scope.spawn(|| node.deliver(b"a\n", &ann()));
        await_letters(1);
        node.hands.pass(DELIVERY_TIMEOUT);
        let newer = scope.spawn(|| node.deliver(b"b\n", &ann()));
        await_letters(2);
        drop(held);
        newer.join().unwrap().unwrap();
        // Its sender may have given it up.
        older.join().unwrap().unwrap_or_default();
    });
}

/// The last counters do not say that something was wrong.
#[test]
fn a_store_that_was_closed_is_not_degraded() {
    let database = shared().new_database();
    let node = Place::new(shared(), &database).single().open();
    node.store.close().unwrap();
    assert!(!node.postgres().open.is_degraded());
}

/// Mail goes on when a server was started again.
#[test]
fn connections_that_were_lost_are_made_again() {
    let cluster = Cluster::alone();
    let database = cluster.new_database();
    let place = Place::new(&cluster, &database).single();
    let node = place.open();
    for number in 0..3 {
        let content = format!("{number}\n");
        node.deliver(content.as_bytes(), &ann()).unwrap();
        cluster.kill_first();
        cluster.start_first();
    }
    assert_eq!(place.sql("select count(*) from message"), "3");
}

/// Content is removed an hour after the last mailbox has lost it, and never while one has it.
#[test]
fn content_goes_when_no_mailbox_has_it() {
    let database = shared().new_database();
    let place = Place::new(shared(), &database).single();
    let node = place.open_in_still_time();
    let bob = MailboxName::from_canonical("bob", "a.example").unwrap();
    let mut delivery = node.store.begin_delivery(0).unwrap();
    delivery.append(&b"large\n".repeat(100_000)).unwrap();
    delivery.commit(&[ann(), bob.clone()]).unwrap();
    node.open_maildrop(&ann()).remove(&[0]).unwrap();
    let age = "update content set orphan_since = orphan_since - interval '2 hours'";
    place.sql(age);
    place.sql("insert into content values ('7.a', 1, 1, true, now() - interval '2 hours', 'x')");
    node.hands.pass(Duration::from_mins(11));
    place.await_that("select count(*) from content", "1");
    assert_eq!(node.contents(&bob).len(), 1);
    node.open_maildrop(&bob).remove(&[0]).unwrap();
    place.sql(age);
    node.hands.pass(Duration::from_mins(11));
    place.await_that(
        "select (select count(*) from content) + (select count(*) from part)",
        "0",
    );
}

/// A socket in front of a server that breaks connections when they have passed on so many octets of
/// the server.
struct Cutter {
    directory: TempDir,
    /// How many are left.
    fuse: Arc<AtomicUsize>,
}

impl Cutter {
    fn before(cluster: &Cluster) -> Self {
        let directory = TempDir::new().unwrap();
        let listener = UnixListener::bind(directory.path().join(".s.PGSQL.5432")).unwrap();
        let fuse = Arc::new(AtomicUsize::new(usize::MAX));
        let (server, shared) = (cluster.directory().join(".s.PGSQL.5432"), Arc::clone(&fuse));
        let accept = move || {
            for client in listener.incoming() {
                let (client, fuse) = (client.unwrap(), Arc::clone(&shared));
                let server = UnixStream::connect(&server).unwrap();
                let pass = Self::pass(client, server, fuse);
                thread::Builder::new().spawn(pass).unwrap();
            }
        };
        thread::Builder::new().spawn(accept).unwrap();
        Self { directory, fuse }
    }

    /// Passes on what both sides say.
    fn pass(client: UnixStream, server: UnixStream, fuse: Arc<AtomicUsize>) -> impl FnOnce() {
        move || {
            let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            let there = thread::Builder::new().spawn(move || {
                io::copy(&mut from, &mut to).unwrap_or_default();
                to.shutdown(Shutdown::Both).unwrap_or_default();
            });
            let mut buffer = [0; 64];
            loop {
                let n_read = (&server).read(&mut buffer).unwrap_or_default();
                let left = fuse.load(Ordering::SeqCst);
                let is_cut = n_read == 0 || left < n_read;
                if is_cut || (&client).write_all(&buffer[..n_read]).is_err() {
                    break;
                }
                if left < usize::MAX {
                    fuse.store(left.saturating_sub(n_read), Ordering::SeqCst);
                }
            }
            for stream in [client, server] {
                stream.shutdown(Shutdown::Both).unwrap_or_default();
            }
            // Lit again by the next cut only.
            fuse.store(usize::MAX, Ordering::SeqCst);
            there.unwrap().join().unwrap();
        }
    }
}

/// I5, and I1: wherever a connection breaks, each message is there once.
#[test]
fn a_connection_that_breaks_anywhere_makes_no_second_copy() {
    let (cluster, database) = (shared(), shared().new_database());
    let cutter = Cutter::before(cluster);
    let text = format!(
        "host={} dbname={database} user=postgres",
        cutter.directory.path().display()
    );
    let directory = TempDir::new().unwrap();
    let mut settings = Settings::new(directory.path().join("mail"), "host.example");
    settings.database = Some(Database {
        access: Access::parse(&text, Secrets::default()).unwrap(),
        is_single: true,
    });
    let store = MessageStore::open(settings, Clock::system()).unwrap();
    let mut rng = Rng::new(1);
    let mut expected = Vec::new();
    for number in 0..200 {
        let content = format!("{number}\n").into_bytes();
        let mut delivery = store.begin_delivery(0).unwrap();
        delivery.append(&content).unwrap();
        cutter.fuse.store(rng.below(400), Ordering::SeqCst);
        delivery.commit(&[ann()]).unwrap();
        expected.push(content);
    }
    cutter.fuse.store(usize::MAX, Ordering::SeqCst);
    let Kind::Postgres(open) = &store.kind else {
        panic!("no database");
    };
    assert!(open.open.counters.repeats.value() > 20, "nothing was cut");
    let maildrop = loop {
        match store.open_maildrop(&ann()) {
            Ok(maildrop) => break maildrop,
            Err(_) => look_again(),
        }
    };
    let mut found = contents(&maildrop);
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

/// Over TCP, a server is spoken to only if its certificate is that of an authority that is known,
/// and has its name; and only one that knows the password, too.
#[test]
fn a_server_has_to_show_who_it_is() {
    let [authority, other] = [(); 2].map(|()| {
        let key = KeyPair::generate().unwrap();
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = parameters.self_signed(&key).unwrap().pem();
        (pem, Issuer::new(parameters, key))
    });
    let key = KeyPair::generate().unwrap();
    let parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, &authority.1).unwrap().pem();
    let Some((cluster, port)) = Cluster::with_tls(&certificate, &key.serialize_pem()) else {
        // Unlike what `eprintln!` writes, this is shown.
        writeln!(io::stderr(), "SKIPPED: this PostgreSQL has no TLS").unwrap();
        return;
    };
    cluster.sql(
        "postgres",
        "create role mail login superuser password 'sesame'",
    );
    let database = cluster.new_database();
    let open = |host: &str, ca: &str, password: &str| {
        let text =
            format!("host={host} port={port} dbname={database} user=mail sslmode=verify-full");
        let secrets = Secrets {
            password: Some(password),
            authorities: Some(ca.as_bytes()),
            identity: None,
        };
        let access = Access::parse(&text, secrets).unwrap();
        let clock = Clock::system();
        let deadline = super::after(&clock, Duration::from_mins(1));
        super::connection::Connection::open(&access, &clock, deadline)
    };
    let good = open("localhost", &authority.0, "sesame").map(|mut connection| {
        let clock = Clock::system();
        let deadline = super::after(&clock, Duration::from_mins(1));
        let text = "select count(*)::text from pg_stat_ssl where ssl and pid = pg_backend_pid()";
        let answer = connection.query(text, deadline).unwrap();
        answer.row(0).and_then(|row| row.text(0).map(str::to_owned))
    });
    assert_eq!(good.unwrap().as_deref(), Some("1"));
    for (host, ca, password) in [
        ("127.0.0.1", &authority.0, "sesame"),
        ("localhost", &other.0, "sesame"),
        ("localhost", &authority.0, "open"),
    ] {
        let refused = open(host, ca, password).map(drop);
        assert!(refused.is_err(), "{host} {password}");
    }
}
