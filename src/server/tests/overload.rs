//! Tests of what sessions do when the memory for data in flight is used up (SEC-9).

use std::{
    io::{BufRead, PipeWriter, Read, Write},
    net::{SocketAddr, TcpListener},
    sync::Arc,
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::net::{RecvFlags, recv};
use rustls::StreamOwned;
use socket2::Socket;

use crate::{
    accounts::{self, Accounts},
    clock::{Clock, Hands},
    mail::{BodyType, Domain, Door, Envelope, MailboxName, Protocol, ReversePath},
    store::{self, MessageStore},
    system::capacity::Threads,
};

use super::{
    super::{
        Caps, Listener, Logins, PerAddress, Registry, Sessions, Spares, Timeouts,
        budget::{Recipients, Share},
        intake::Intake,
        limits, pop3,
    },
    Ends,
    client::Client,
    smtp_sessions, timeouts,
};

/// Longest wait of a test: only a hang reaches it.
const DEADLINE: Duration = Duration::from_mins(5);

/// The memory of all sessions in these tests.
const OCTETS: u64 = limits::IN_FLIGHT_OCTETS_MIN / 2;

/// Both services, with little memory and a clock that does not advance.
pub(super) struct House {
    registry: Arc<Registry>,
    pub(super) hands: Arc<Hands>,
    pub(super) store: Arc<MessageStore>,
    smtp: SocketAddr,
    pub(super) pop3: SocketAddr,
    /// The listeners run until these are dropped.
    _stops: [PipeWriter; 2],
    _threads: [JoinHandle<()>; 2],
    _directory: tempfile::TempDir,
}

impl House {
    fn open() -> Self {
        Self::open_with(|_| ())
    }

    /// The same, with other settings of the store.
    pub(super) fn open_with(set: impl FnOnce(&mut store::Settings)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let hands = Arc::new(Hands::new());
        // Late enough that no wait ends by itself.
        hands.pass(Duration::from_hours(1));
        let clock = Clock::turned_by(Arc::clone(&hands));
        let mut settings = store::Settings::new(directory.path().join("mail"), "localhost");
        set(&mut settings);
        let store = Arc::new(MessageStore::open(settings, clock.clone()).unwrap());
        let accounts = Arc::new(Accounts::open(&accounts::Settings {
            hostname: Domain::localhost(),
            domains: Vec::new(),
            subaddress: None,
        }));
        let caps = Caps {
            total: 100,
            per_address: PerAddress::Unlimited,
        };
        let registry = Arc::new(Registry::new(caps, OCTETS));
        let logins = Logins::new(Arc::clone(&accounts), Duration::ZERO, clock.clone());
        let logins = Arc::new(logins);
        let sessions = smtp_sessions(&store, &accounts, Arc::clone(&logins), &clock);
        let smtp = Sessions::Smtp(sessions);
        let pop3 = Sessions::Pop3(pop3::Environment {
            store: Arc::clone(&store),
            accounts,
            logins,
            handshakes: None,
            starttls: true,
            settings: crate::pop3::Settings {
                hostname: "localhost".to_owned(),
                errors_max: Some(10),
                scram: false,
                utf8: false,
                http_port: None,
            },
        });
        let [smtp, pop3] = [smtp, pop3].map(|it| listen(it, &registry, &clock));
        Self {
            registry,
            hands,
            store,
            smtp: smtp.0,
            pop3: pop3.0,
            _stops: [smtp.1, pop3.1],
            _threads: [smtp.2, pop3.2],
            _directory: directory,
        }
    }

    /// Takes all memory except `octets`.
    fn leave(&self, octets: u64) -> Share {
        Share::all_but(self.registry.budget(), octets)
    }

    /// One counter of the report.
    fn counted(&self, name: &str) -> u64 {
        counted(&self.registry, name)
    }

    /// Waits until a counter of the report satisfies `is_so`.
    fn until(&self, name: &str, is_so: impl Fn(u64) -> bool) {
        let begin = Clock::system().now();
        while !is_so(self.counted(name)) {
            assert!(begin.elapsed() < DEADLINE, "{name} {}", self.counted(name));
            crate::clock::look_again();
        }
    }

    /// An SMTP client that has named its recipient.
    fn sender(&self) -> Client {
        let mut client = Client::connect(self.smtp, "220 ");
        client.ask("EHLO test", "250-");
        while client.line().starts_with("250-") {}
        client.name_recipient();
        client
    }

    /// How many messages there are.
    fn n_messages(&self) -> usize {
        let bob = MailboxName::from_canonical("bob", "example.com").unwrap();
        self.store.open_maildrop(&bob).unwrap().messages().len()
    }
}

fn listen(
    sessions: Sessions,
    registry: &Arc<Registry>,
    clock: &Clock,
) -> (SocketAddr, PipeWriter, JoinHandle<()>) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    socket.set_nonblocking(true).unwrap();
    let address = socket.local_addr().unwrap();
    let listener = Listener {
        sessions,
        timeouts: Timeouts {
            idle: Duration::from_mins(5),
            session: None,
        },
        proxies: Vec::new(),
        registry: Arc::clone(registry),
        threads: Arc::new(Threads::uncounted()),
        spares: Spares::new(),
        clock: clock.clone(),
    };
    let (stop, stopped) = {
        let (reader, writer) = std::io::pipe().unwrap();
        (writer, reader)
    };
    let thread = listener.start(vec![(socket.into(), Door::Plain)], stopped);
    (address, stop, thread.unwrap())
}

/// One counter of a registry's report.
fn counted(registry: &Registry, name: &str) -> u64 {
    let values = registry.budget().values();
    values.into_iter().find(|(it, _)| *it == name).unwrap().1
}

/// A whole message.
fn send_message(client: &mut Client) {
    client.name_recipient();
    client.ask("DATA", "354 ");
    client.ask("x\r\n.", "250 ");
}

/// This many octets of content.
fn lines(octets: usize) -> Vec<u8> {
    b"0123456789abcdef0123456789abcd\r\n".repeat(octets / 32)
}

/// SEC-9.
#[test]
fn data_waits_for_memory_and_continues_when_some_is_given_back() {
    let house = House::open();
    let taken = house.leave(limits::CONTENT_ROOM_OCTETS - 1);
    let mut client = house.sender();
    client.send(b"DATA\r\n");
    house.until("waits", |waits| waits == 1);
    drop(taken);
    client.expect("354 ");
    client.ask("x\r\n.", "250 ");
    // What is left is enough for one message.
    let _taken = house.leave(limits::CONTENT_ROOM_OCTETS);
    send_message(&mut client);
    assert_eq!((house.counted("waits"), house.counted("refused")), (1, 0));
    assert_eq!(house.n_messages(), 2);
}

/// SEC-9.
#[test]
fn data_is_refused_when_no_memory_is_given_back_in_time() {
    let house = House::open();
    let taken = house.leave(0);
    let mut data = house.sender();
    data.send(b"DATA\r\n");
    let mut chunk = house.sender();
    chunk.send(b"BDAT 6 LAST\r\nQUIT\r\nNOOP\r\n");
    house.until("waits", |waits| waits == 2);
    assert_eq!(house.counted("refused"), 0);
    house.hands.pass(limits::ADMISSION_TIMEOUT);
    house.registry.budget().wake();
    for client in [&mut data, &mut chunk] {
        client.expect("452 4.3.1 Too much mail");
    }
    // The chunk was not treated as commands.
    chunk.expect("250 2.0.0 Ok");
    assert_eq!((house.counted("refused"), house.n_messages()), (2, 0));
    drop(taken);
    for client in [&mut data, &mut chunk] {
        send_message(client);
    }
    assert_eq!(house.n_messages(), 2);
}

/// SEC-9: the wait does not delay the end of the daemon.
#[test]
fn a_stop_ends_sessions_that_wait_for_memory() {
    let house = House::open();
    let _taken = house.leave(0);
    let mut clients = [house.sender(), house.sender()];
    for client in &mut clients {
        client.send(b"DATA\r\n");
    }
    house.until("waits", |waits| waits == 2);
    house.registry.stop();
    for client in &mut clients {
        client.expect("421 4.3.2 ");
    }
    drop(clients);
    let left = house.registry.wait_until_empty(DEADLINE, &Clock::system());
    assert_eq!(left, 0);
}

/// SEC-9: without memory, a message that was admitted is received more slowly, but correctly.
#[test]
fn a_message_continues_when_the_memory_is_used_up() {
    let house = House::open();
    let mut client = house.sender();
    client.ask("DATA", "354 ");
    let taken = house.leave(0);
    client.send(&lines(1_000_000));
    client.ask(".", "250 ");
    assert!(house.counted("denied") > 0, "it would have taken some");
    assert_eq!(house.counted("octets_now"), OCTETS);
    drop(taken);
    client.name_recipient();
    client.ask("BDAT 0", "250 ");
    let taken = house.leave(0);
    client.send(b"BDAT 1000000\r\n");
    client.send(&lines(1_000_000));
    client.expect("250 ");
    client.ask("BDAT 0 LAST", "250 ");
    assert_eq!(house.counted("octets_now"), OCTETS);
    // A retrieval does not need it either.
    let mut reader = Client::connect(house.pop3, "+OK");
    reader.ask("USER bob@example.com", "+OK");
    reader.ask("PASS any", "+OK");
    for number in 1..=2 {
        reader.ask(&format!("RETR {number}"), "+OK");
        let mut message = Vec::new();
        while !message.ends_with(b"\r\n.\r\n") {
            reader.0.read_until(b'\n', &mut message).unwrap();
        }
        let content = message.strip_suffix(b".\r\n").unwrap();
        assert!(content.ends_with(&lines(1_000_000)), "{number}");
    }
    assert_eq!(house.counted("octets_peak"), OCTETS);
    drop(taken);
    assert_eq!(house.counted("octets_now"), 0);
}

/// SEC-9: memory to collect content for one write is asked for, and given back.
#[test]
fn a_content_is_collected_in_memory_that_was_granted() {
    let house = House::open();
    let share = || Share::of(house.registry.budget());
    let envelope = Envelope {
        reverse_path: ReversePath::Null,
        first_forward_path: None,
        recipients: Vec::new(),
        body: BodyType::default(),
        protocol: Protocol::default(),
        declared_octets: None,
    };
    let delivery = house.store.begin_delivery(0).unwrap();
    let recipients = Recipients::none(share());
    let mut intake = Intake::new(delivery, envelope, recipients, Vec::new(), share());
    let (free, max) = (limits::CONTENT_OCTETS_FREE, limits::CONTENT_OCTETS_MAX);
    let taken = house.leave(0);
    assert_eq!(intake.keep_pace(max), free);
    drop(taken);
    assert_eq!(intake.keep_pace(free), free);
    assert_eq!(house.counted("octets_now"), 0);
    assert_eq!(intake.keep_pace(10 * max), max);
    let held = u64::try_from(2 * max).unwrap();
    assert_eq!(house.counted("octets_now"), held);
    assert_eq!(intake.keep_pace(free + 1), max, "it keeps its memory");
    assert_eq!(intake.keep_pace(free), free, "until the client is slow");
    assert_eq!(house.counted("octets_now"), 0);
    intake.keep_pace(max);
    drop(intake);
    assert_eq!(house.counted("octets_now"), 0);
}

/// SEC-9: a client that sends nothing keeps no memory.
#[test]
fn a_silent_content_gives_its_memory_back() {
    let house = House::open();
    let mut client = house.sender();
    client.ask("DATA", "354 ");
    client.send(&lines(1_000_000));
    house.until("octets_peak", |octets| octets > 0);
    house.until("octets_now", |octets| octets == 0);
    client.send(&lines(1_000_000));
    client.ask(".", "250 ");
    // Also between two chunks, and in the middle of a command.
    client.name_recipient();
    let mut chunk = b"BDAT 1000000\r\n".to_vec();
    chunk.extend(lines(1_000_000));
    client.send(&chunk);
    client.expect("250 ");
    client.send("NOOP\r\n".repeat(10_000).as_bytes());
    client.send(b"BDAT 0 ");
    for _ in 0..10_000 {
        client.expect("250 ");
    }
    house.until("octets_now", |octets| octets == 0);
    client.ask("LAST", "250 ");
    assert_eq!(house.n_messages(), 2);
}

/// SEC-9: a client that is silent within a chunk keeps no memory either.
#[test]
fn a_silent_chunk_gives_its_memory_back() {
    let house = House::open();
    let mut client = house.sender();
    client.send(b"BDAT 2000000 LAST\r\n");
    client.send(&lines(1_000_000));
    house.until("octets_peak", |octets| octets > 0);
    house.until("octets_now", |octets| octets == 0);
    client.send(&lines(1_000_000));
    client.expect("250 ");
    assert_eq!(house.n_messages(), 1);
}

/// SEC-9: a client that does not read cannot keep mail from being received.
#[test]
fn a_retrieval_that_is_not_read_leaves_room_for_mail() {
    let house = House::open();
    let mut client = house.sender();
    client.ask("DATA", "354 ");
    client.send(&lines(16_000_000));
    client.ask(".", "250 ");
    let mut reader = Client::connect(house.pop3, "+OK");
    reader.ask("USER bob@example.com", "+OK");
    reader.ask("PASS any", "+OK");
    house.until("octets_now", |octets| octets == 0);
    reader.send(b"RETR 1\r\n");
    house.until("octets_now", |octets| octets > 0);
    assert!(house.counted("octets_now") <= OCTETS / 2);
    send_message(&mut client);
    assert_eq!(house.counted("waits"), 0);
    let mut rest = Vec::new();
    reader.send(b"QUIT\r\n");
    reader.0.read_to_end(&mut rest).unwrap();
    assert!(rest.len() > 16_000_000);
    house.until("octets_now", |octets| octets == 0);
}

/// SEC-9: memory for output that waits is asked for, and given back.
#[test]
fn output_is_collected_in_memory_that_was_granted() {
    let mut ends = Ends::new("127.0.0.1", timeouts());
    let connection = &mut ends.connection;
    let (free, max) = (limits::WRITE_OCTETS_FREE, limits::WRITE_OCTETS_MAX);
    let mut others = Share::all_but(ends.registry.budget(), 0);
    for _ in 0..2 {
        connection.output().resize(free, b'x');
        connection.flush_when_full().unwrap();
        assert!(connection.output().is_empty(), "it is sent");
    }
    let piece = connection.allowance_mut().ask_to_send(max);
    assert_eq!(piece, limits::RETRIEVED_OCTETS_FREE);
    assert_eq!(connection.allowance().output_octets_max(), free);
    others.give_back();
    connection.output().resize(free, b'x');
    connection.flush_when_full().unwrap();
    assert_eq!(connection.output().len(), free, "it waits for more");
    assert_eq!(connection.allowance().output_octets_max(), max);
    let held = |times: u64| times * u64::try_from(max).unwrap();
    assert_eq!(counted(&ends.registry, "octets_now"), held(2));
    assert_eq!(connection.allowance_mut().ask_to_send(max), max);
    assert_eq!(counted(&ends.registry, "octets_now"), held(4));
    ends.client.write_all(b"NOOP\r\n").unwrap();
    connection.read_line(100).unwrap();
    assert_eq!(counted(&ends.registry, "octets_now"), 0);
}

/// SEC-9: a large message is sent in large pieces, in exactly the memory that was granted for them.
#[test]
fn a_large_message_is_collected_in_memory_that_was_granted() {
    let mut ends = Ends::new("127.0.0.1", timeouts());
    let connection = &mut ends.connection;
    let piece = limits::CONTENT_OCTETS_MAX;
    assert_eq!(connection.allowance_mut().ask_to_send(piece), piece);
    let output = limits::CONTENT_WRITE_OCTETS;
    connection.content_output(piece).resize(output - 1, b'.');
    connection.flush_content(piece).unwrap();
    assert_eq!(connection.output().len(), output - 1, "it waits for more");
    // The next part may consist of dots in lines of their own.
    let dots = 2 * limits::CONTENT_ENCODED_OCTETS;
    connection
        .content_output(piece)
        .resize(output - 1 + dots, b'.');
    let granted = counted(&ends.registry, "octets_now");
    let held = connection.output().capacity() + piece;
    assert!(u64::try_from(held).unwrap() <= granted, "{held} {granted}");
    let sent = connection.output().len();
    thread::scope(|scope| {
        let reader = thread::Builder::new().spawn_scoped(scope, || {
            let mut got = vec![0; sent];
            (&ends.client).read_exact(&mut got).unwrap();
        });
        connection.flush_content(piece).unwrap();
        reader.unwrap().join().unwrap();
    });
    assert!(connection.output().is_empty(), "it is sent");
}

/// SEC-9: with TLS, input and output exist twice, and twice the memory is asked for.
#[test]
fn memory_is_asked_for_twice_with_tls() {
    let mut ends = Ends::new("127.0.0.1", timeouts());
    let tls = ends.begin_tls();
    let connection = &mut ends.connection;
    let mut client = StreamOwned::new(tls, &ends.client);
    let now = || counted(&ends.registry, "octets_now");
    // One record: it is read in pieces of 4 KiB, of 8, and of at most 16.
    let record = 16 * 1_024;
    client.write_all(&vec![b'x'; record]).unwrap();
    until_there(&ends.socket, record);
    let mut rate = connection.content_rate();
    for _ in 0..3 {
        assert_eq!(now(), 0);
        connection.read_content(&mut rate, || ()).unwrap();
        connection.consume(connection.unread().len());
    }
    assert_eq!(now(), u64::try_from(2 * record).unwrap());
    let max = limits::WRITE_OCTETS_MAX;
    // The piece itself exists once.
    assert_eq!(connection.allowance_mut().ask_to_send(max), max);
    let sending = 2 * (max + 2 * max) + max;
    assert_eq!(now(), u64::try_from(2 * record + sending).unwrap());
}

/// Ends whose client has sent a command.
fn begun() -> Ends {
    let mut ends = Ends::new("127.0.0.1", timeouts());
    ends.client.write_all(b"NOOP\r\n").unwrap();
    ends.connection.read_line(100).unwrap();
    ends
}

/// Waits until this many octets have arrived.
fn until_there(socket: &Socket, octets: usize) {
    let mut there = vec![0; octets];
    while recv(socket, &mut there, RecvFlags::PEEK).unwrap().1 < octets {
        crate::clock::look_again();
    }
}

/// Reads octets that have all arrived beforehand, and returns the size of the largest read.
fn read_much(ends: &mut Ends) -> usize {
    const OCTETS: usize = 32 * 1_024;
    ends.client.write_all(&lines(OCTETS)).unwrap();
    until_there(&ends.socket, OCTETS);
    let mut rate = ends.connection.content_rate();
    let (mut left, mut largest) = (OCTETS, 0);
    while left > 0 {
        ends.connection.read_content(&mut rate, || ()).unwrap();
        let octets = ends.connection.unread().len();
        ends.connection.consume(octets);
        left = left.saturating_sub(octets);
        largest = largest.max(octets);
    }
    largest
}

/// SEC-9: memory for a large read is asked for, and given back as soon as the client is slower.
#[test]
fn a_content_is_read_into_memory_that_was_granted() {
    let mut ends = begun();
    let mut others = Share::all_but(ends.registry.budget(), 0);
    assert_eq!(read_much(&mut ends), limits::READ_OCTETS_FREE);
    others.give_back();
    let largest = read_much(&mut ends);
    assert!(largest > limits::READ_OCTETS_FREE);
    let held = counted(&ends.registry, "octets_now");
    assert!(held >= u64::try_from(largest).unwrap());
    ends.client.write_all(b"x").unwrap();
    let mut rate = ends.connection.content_rate();
    ends.connection.read_content(&mut rate, || ()).unwrap();
    assert_eq!(counted(&ends.registry, "octets_now"), 0);
}

/// SEC-9: a client that waits for memory holds none meanwhile.
#[test]
fn a_client_that_waits_for_memory_gives_back_its_own() {
    let mut ends = begun();
    read_much(&mut ends);
    let taken = limits::IN_FLIGHT_OCTETS - limits::CONTENT_ROOM_OCTETS;
    let _others = Share::all_but(ends.registry.budget(), limits::CONTENT_ROOM_OCTETS);
    let now = || counted(&ends.registry, "octets_now");
    assert!(now() > taken);
    // This keeps the wait short, if there is one.
    ends.registry.stop();
    assert!(ends.connection.wait_for_memory().is_err());
    assert_eq!((now(), counted(&ends.registry, "refused")), (taken, 0));
}
