//! A whole daemon whose clock the test controls, to test time limits without waiting for them.

use std::path::Path;

use crate::clock::Hands;
use crate::server::tests::client::Client;

use super::*;

/// SEC-11.
#[test]
fn no_more_passwords_are_verified_at_once_than_there_are_cores() {
    let nowhere = Config {
        smtp: Vec::new(),
        pop3: Vec::new(),
        http: Vec::new(),
        ..Config::default()
    };
    let cores = Sockets::open(&nowhere).unwrap().system.own.cores;
    assert_eq!(cores, std::thread::available_parallelism().unwrap());
    let accounts = accounts(&nowhere, Some(Table::default()), cores);
    let shown = format!("{accounts:?}");
    assert!(shown.contains(&format!("inside_max: {cores},")), "{shown}");
}

const MIB: u64 = 1_024 * 1_024;

/// Memory of a control group that leaves 32 MiB after the daemon's own needs.
const SMALL: u64 = 53 * MIB;

/// SEC-9: what is configured for a large machine does not kill the daemon in a small container.
#[test]
fn a_small_control_group_has_less_in_flight_than_what_is_configured() {
    let mut config = Config::default();
    let memory = |octets, config: &Config| {
        let system = System {
            memory: octets,
            machine_memory: None,
            ..System::read(own(config))
        };
        let store = store_settings(config, &system).memory;
        let sessions = in_flight(config, &system).of_sessions();
        [sessions, store.held, store.listed, store.remembered]
    };
    assert_eq!(memory(None, &config), [128, 128, 256, 64].map(|n| n * MIB));
    let plenty = Some(u64::MAX);
    assert_eq!(memory(plenty, &config), memory(None, &config));
    assert_eq!(memory(Some(SMALL), &config), [4, 4, 4, 1].map(|n| n * MIB));
    // Memory for one verification comes first.
    let table = Table::default();
    let verification_octets = table.verification_octets();
    assert!(verification_octets > 16 * MIB);
    config.table = Some(table);
    let as_much = memory(Some(SMALL + verification_octets), &config);
    assert_eq!(as_much, [4, 4, 4, 1].map(|n| n * MIB));
    // The least with which a message is accepted.
    let fewest = limits::IN_FLIGHT_OCTETS_MIN / 2;
    assert_eq!(memory(Some(1), &config)[..2], [fewest; 2]);
    config.limits.in_flight_octets = InFlightOctets(2 * MIB);
    assert_eq!(memory(plenty, &config)[..2], [MIB; 2]);
}

/// SEC-9, NET-4, SEC-11: all of it is applied when the daemon starts.
#[test]
fn a_daemon_in_a_small_control_group_keeps_to_it() {
    let open = Turned::within(Some(SMALL), None, |_| ());
    let shown = format!("{:?}", open.daemon.registry);
    let budget = format!("octets_max: {},", 4 * MIB);
    assert!(shown.contains(&budget), "{shown}");
    assert!(shown.contains("total: 85,"), "{shown}");
    let table = Table::default();
    let enough = SMALL + table.verification_octets();
    let closed = Turned::within(Some(enough), Some(table), |_| ());
    let shown = format!("{:?}", closed.daemon.registry);
    assert!(shown.contains("total: 85,"), "{shown}");
    let shown = format!("{:?}", closed.daemon.accounts);
    assert!(shown.contains("inside_max: 1,"), "{shown}");
}

/// A daemon with the default limits, and the hands of its clock. The store uses the system's time,
/// because its threads have work of their own.
struct Turned {
    daemon: Daemon,
    hands: Arc<Hands>,
    _directory: tempfile::TempDir,
}

impl Turned {
    /// `prepare` can create files in the mail directory.
    fn new(prepare: impl FnOnce(&Path)) -> Self {
        Self::within(None, None, prepare)
    }

    /// Like `new`, in a control group with this much memory, and with accounts.
    fn within(memory: Option<u64>, table: Option<Table>, prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut config = Config {
            mail: directory.path().join("mail"),
            http: Vec::new(),
            table,
            ..Config::default()
        };
        for listens in [&mut config.smtp, &mut config.pop3] {
            listens.truncate(1);
            listens[0].address.set_port(0);
        }
        store::make_root(&config.mail).unwrap();
        prepare(&config.mail);
        let renewable = Renewable::load(&config).unwrap();
        let mut sockets = Sockets::open(&config).unwrap();
        sockets.system.memory = memory;
        sockets.system.machine_memory = None;
        sockets.system.own.cores = NonZeroUsize::new(4).unwrap();
        let store =
            MessageStore::open(store_settings(&config, sockets.system()), Clock::system()).unwrap();
        let hands = Arc::new(Hands::new());
        let clock = Clock::turned_by(Arc::clone(&hands));
        let daemon = Daemon::start(&config, renewable, sockets, &Arc::new(store), &clock);
        Self {
            daemon: daemon.unwrap(),
            hands,
            _directory: directory,
        }
    }

    fn smtp_client(&self) -> Client {
        Client::connect(self.daemon.smtp()[0], "220 ")
    }

    /// A client that is logged in to Bob's maildrop.
    fn maildrop(&self) -> Client {
        let mut client = Client::connect(self.daemon.pop3()[0], "+OK");
        client.ask("USER bob@example.com", "+OK");
        client.ask("PASS any", "+OK");
        client
    }

    /// Lets time pass, once every session waits for a command and measures its time.
    fn pass(&self, seconds: u64) {
        self.daemon.registry.until_everyone_waits();
        self.hands.pass(Duration::from_secs(seconds));
    }

    /// Stops the daemon, and lets time pass at each look at the clock. Returns the number of
    /// sessions that are left.
    fn stop(self) -> usize {
        let Self { daemon, hands, .. } = self;
        let stopping = stop(daemon);
        hands.pass_until(limits::DRAIN_TIMEOUT, || stopping.is_finished());
        stopping.join().unwrap()
    }
}

/// Stops the daemon in a thread of its own.
fn stop(daemon: Daemon) -> JoinHandle<usize> {
    let stopping = std::thread::Builder::new().spawn(move || daemon.stop());
    stopping.unwrap()
}

/// The number of sessions that are left after a stop, which must end soon.
fn n_left(stopping: JoinHandle<usize>) -> usize {
    let begin = Clock::system().now();
    while !stopping.is_finished() {
        assert!(begin.elapsed() < Duration::from_mins(5), "it does not stop");
        crate::clock::look_again();
    }
    stopping.join().unwrap()
}

fn begin_content(client: &mut Client) {
    client.ask("HELO test", "250 ");
    client.name_recipient();
    client.ask("DATA", "354 ");
}

/// SEC-8, RFC 5321 §4.5.3.2.7: over SMTP the reply gives the reason; POP3 ends without a reply.
#[test]
fn an_idle_client_gets_the_reason_over_smtp() {
    let turned = Turned::new(|_| ());
    let mut smtp = turned.smtp_client();
    turned.pass(299);
    smtp.ask("NOOP", "250 ");
    turned.pass(301);
    // Whatever the client sends now is too late; it only makes the session look at its clock.
    smtp.send(b"N");
    smtp.expect("421 ");
    smtp.expect_end();
    assert_eq!(turned.stop(), 0);
}

/// SEC-8, I3: RFC 1939 §3: the autologout sends nothing and removes nothing.
#[test]
fn an_autologout_sends_nothing_and_removes_nothing() {
    let turned = Turned::new(|mail| place(mail, 1));
    let mut pop3 = turned.maildrop();
    pop3.ask("DELE 1", "+OK");
    turned.pass(599);
    pop3.ask("NOOP", "+OK");
    turned.pass(601);
    pop3.send(b"N");
    pop3.expect_end();
    turned.maildrop().ask("STAT", "+OK 1 ");
    assert_eq!(turned.stop(), 0);
}

/// Puts a message with this many lines into Bob's maildrop, as another program would.
#[expect(
    clippy::disallowed_methods,
    reason = "this is another program, not the daemon"
)]
fn place(mail: &Path, lines: usize) {
    let maildir = mail.join("example.com/bob");
    for directory in ["tmp", "new", "cur"] {
        std::fs::create_dir_all(maildir.join(directory)).unwrap();
    }
    let content = "a line\n".repeat(lines);
    // The name contains its sizes, so a login need not read the file.
    let (octets, with_cr) = (content.len(), content.len().saturating_add(lines));
    let name = format!("new/1.M1.test,S={octets},W={with_cr}");
    std::fs::write(maildir.join(name), content).unwrap();
}

/// The stop waits for messages that are being received, but only for a limited time.
#[test]
fn a_message_that_does_not_end_is_cut_off_when_the_stop_can_wait_no_longer() {
    let turned = Turned::new(|_| ());
    let [mut endless, mut ends] = [turned.smtp_client(), turned.smtp_client()];
    begin_content(&mut endless);
    begin_content(&mut ends);
    let mut waiting = turned.smtp_client();
    let Turned { daemon, hands, .. } = turned;
    let stopping = stop(daemon);
    waiting.expect("421 ");
    waiting.expect_end();
    ends.send(b"Subject: in time\r\n\r\n.\r\n");
    ends.expect("250 ");
    ends.expect("421 ");
    ends.expect_end();
    assert!(!stopping.is_finished(), "one message is being received");
    // Only the stop checks the clock repeatedly. If the time passed twice, the farewell time would
    // be over too.
    hands.is_looked_at(2, || stopping.is_finished());
    hands.pass(limits::DRAIN_TIMEOUT);
    assert_eq!(n_left(stopping), 0, "every session has ended");
    endless.expect("421 ");
    endless.expect_end();
}

/// The stop waits for a session that is working, but not for a client that does not read.
#[test]
fn a_client_that_does_not_read_does_not_hold_up_the_stop() {
    // More than the buffers of two sockets can hold.
    let turned = Turned::new(|mail| place(mail, 3_000_000));
    let mut lazy = turned.maildrop();
    lazy.ask("RETR 1", "+OK");
    // The clock does not advance, so the stop could wait for ever.
    assert_eq!(n_left(stop(turned.daemon)), 0);
}

#[test]
fn the_error_for_a_privileged_port_lists_the_ways_to_get_the_privilege() {
    let told = |key, port, kind: io::ErrorKind| {
        let address = ([127, 0, 0, 1], port).into();
        let source = kind.into();
        let endpoint = Endpoint::of_key(key).unwrap();
        Error::Bind {
            endpoint,
            address,
            process: None,
            source,
        }
        .to_string()
    };
    for part in [
        "setcap cap_net_bind_service=+ep",
        "systemd",
        "key user",
        "above 1023",
    ] {
        let text = told("smtp", 25, io::ErrorKind::PermissionDenied);
        assert!(text.contains(part), "{text}");
    }
    assert!(!told("smtp", 2_525, io::ErrorKind::PermissionDenied).contains("setcap"));
    let in_use = |key| told(key, 25, io::ErrorKind::AddrInUse);
    assert!(in_use("smtp").contains("for smtp (is another facteur running? --smtp ADDR "));
    assert!(in_use("smtps").contains("for smtps (is another facteur running? The key smtps "));
}
