//! NET-4: the announced number of clients finds a place, wherever each of them stops, and the
//! process uses no more for them than was calculated.

use facteur::system::capacity::{MAPPINGS_PER_CORE, MAPPINGS_PER_THREAD, raise_descriptors};

use crate::support::{Client, HASH, Service, await_that, program::Program, tls};

const BOB: &str = "bob@example.com";

/// More than a delivery keeps in memory.
const CONTENT_OCTETS: usize = 300 * 1_024;

/// The beginning of a `ClientHello` (RFC 8446 §4.1.2) in a longer record.
const HALF_A_HELLO: [u8; 11] = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];

/// Lines of a configuration with TLS on every listener and an account.
fn configuration(directory: &std::path::Path) -> String {
    let account = format!("[[accounts]]\naddress = \"{BOB}\"\npassword = \"{HASH}\"\n");
    std::fs::write(directory.join("accounts.toml"), account).unwrap();
    let tls = tls::configure(directory);
    format!("{tls}accounts = \"accounts.toml\"\n[limits]\nconnections_per_address = \"off\"\n")
}

/// The ways to begin a session and then stop. Those that end by themselves after half a minute come
/// last.
const PHASES: &[fn(&Program) -> Client] = &[
    Program::smtp_client,
    Program::pop3_client,
    |program| {
        let mut client = program.extended_client();
        client.say("AUTH PLAIN");
        client.expect_prefix("334");
        client
    },
    |program| {
        let mut client = program.pop3_client();
        client.say("AUTH PLAIN");
        client.expect_prefix("+");
        client
    },
    |program| {
        let mut client = program.smtp_client();
        client.say("HELO test");
        client.expect("250 Ok");
        client.begin_content(&[BOB]);
        let line = "0123456789".repeat(9) + "\r\n";
        client.send(line.repeat(CONTENT_OCTETS / line.len()).as_bytes());
        client
    },
    |program| {
        let mut client = Client::connect(program.smtps()).begin_tls();
        client.expect_prefix("220 ");
        client
    },
    |program| {
        let mut client = stls(program).begin_tls();
        client.say("CAPA");
        client.expect_prefix("+OK");
        client
    },
    starttls,
    |program| half_a_hello(starttls(program)),
    |program| {
        let mut client = Client::connect(program.submission());
        client.expect_prefix("220 ");
        client.say("EHLO test");
        client.reply();
        client.say("STARTTLS");
        client.expect_prefix("220 ");
        client
    },
    stls,
    |program| half_a_hello(stls(program)),
    |program| half_a_hello(Client::connect(program.smtps())),
    |program| half_a_hello(Client::connect(program.pop3s())),
    |program| Client::connect(program.smtps()),
    |program| Client::connect(program.pop3s()),
];

fn half_a_hello(mut client: Client) -> Client {
    client.send(&HALF_A_HELLO);
    client
}

fn starttls(program: &Program) -> Client {
    let mut client = program.extended_client();
    client.say("STARTTLS");
    client.expect_prefix("220 ");
    client
}

fn stls(program: &Program) -> Client {
    let mut client = program.pop3_client();
    client.say("STLS");
    client.expect_prefix("+OK");
    client
}

/// Several threads have the same name.
fn n_threads(program: &Program) -> usize {
    std::fs::read_dir(program.proc().join("task"))
        .unwrap()
        .count()
}

fn all_sleep(program: &Program) -> bool {
    std::fs::read_dir(program.proc().join("task"))
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("stat")).ok())
        // The state follows the name, which is in parentheses and may contain some.
        .all(|stat| stat.rsplit(')').next().unwrap().starts_with(" S "))
}

fn n_mappings(program: &Program) -> usize {
    let maps = std::fs::read_to_string(program.proc().join("maps")).unwrap();
    maps.lines().count()
}

/// The resources of an idle program.
struct Idle {
    threads: usize,
    mappings: usize,
}

impl Idle {
    fn of(program: &Program) -> Self {
        // A thread exists before it has its signal stack.
        await_that("the program is idle", || all_sleep(program));
        Self {
            threads: n_threads(program),
            mappings: n_mappings(program),
        }
    }

    /// Takes all `places`, and releases them; returns the most descriptors that were open.
    fn take_all_places(&self, program: &Program, places: usize) -> usize {
        let n_threads = || n_threads(program);
        let begin = |number: usize| PHASES[number * PHASES.len() / places](program);
        let clients: Vec<Client> = (0..places).map(begin).collect();
        let threads = self.threads + places;
        // Some clients are not told when they have their place.
        await_that("all places are taken", || n_threads() >= threads);
        let mut late = Client::connect(program.smtp);
        late.expect_prefix("421 ");
        let mut late = Client::connect(program.pop3);
        late.expect_prefix("-ERR [SYS/TEMP] Too many connections");
        Client::connect(program.smtps()).expect_end();

        assert_eq!(n_threads(), threads, "one each");
        let cores = std::thread::available_parallelism().unwrap().get();
        let each = usize::try_from(MAPPINGS_PER_THREAD).unwrap();
        let once = cores * usize::try_from(MAPPINGS_PER_CORE).unwrap();
        let counted = self.mappings + each * places + once;
        let there = n_mappings(program);
        assert!(there <= counted, "{there} mappings, {counted} were counted");
        let descriptors = program.descriptors().len();

        drop(clients);
        await_that("all threads end", || n_threads() <= self.threads);
        program.smtp_client();
        program.pop3_client();
        Client::connect(program.pop3s())
            .begin_tls()
            .expect_prefix("+OK");
        await_that("all threads end", || n_threads() <= self.threads);
        descriptors
    }
}

#[test]
fn clients_that_stop_anywhere_use_no_more_than_their_places() {
    const PLACES: usize = 240;
    raise_descriptors().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let configuration = configuration(directory.path());
    let configuration = format!("{configuration}connections = {PLACES}\n");
    let program = Program::start_with(directory.path(), &configuration);
    program.expect_log("at most 240 sessions at once, as configured");
    let idle = Idle::of(&program);
    idle.take_all_places(&program, PLACES);
    // The second time it is no more.
    idle.take_all_places(&program, PLACES);
    program.stop();
}

#[test]
fn there_are_places_for_as_many_clients_as_descriptors_allow() {
    const DESCRIPTORS: usize = 600;
    let directory = tempfile::tempdir().unwrap();
    let configuration = configuration(directory.path());
    std::fs::write(directory.path().join("facteur.toml"), configuration).unwrap();
    let program = Program::start_under(directory.path(), &format!("ulimit -n {DESCRIPTORS}"));
    program.expect_log("at most 172 sessions at once, bounded by the limit of open files");
    program.expect_log("ready");
    let most = Idle::of(&program).take_all_places(&program, 172);
    assert!(most < DESCRIPTORS, "{most}");
    program.signal("USR1");
    let counts = crate::support::program::report(&program);
    assert_eq!(counts["sessions_accept_failed"], 0);
    program.stop();
}
