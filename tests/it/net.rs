//! Threads, memory and descriptors of the program itself: what a session costs, and what happens to
//! clients when there are no resources left for them.

use std::{
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use facteur::{server::limits, system::capacity::raise_descriptors};
use rustix::process::{Resource, Rlimit};

use crate::support::{
    Client, DEADLINE, Service, await_some, await_that, place_lines,
    program::{OWN_THREADS, Program, report},
    tls,
};

const BOB: &str = "bob@example.com";

/// Any number of sessions from this machine.
const CROWDS: &str = "[limits]\nconnections_per_address = \"off\"\n";

/// A crowd whose connections all wait in the listener's backlog.
const CROWD: usize = 1_000;

/// The size in octets of the mapping that contains the stack of each of these waiting threads.
fn stacks(program: &Program, wanted: impl Fn(&str) -> bool) -> Vec<u64> {
    let process = program.proc();
    let maps = std::fs::read_to_string(process.join("maps")).unwrap();
    let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
    let mappings = maps.lines().map(|line| {
        let (begin, rest) = line.split_once('-').unwrap();
        (number(begin), number(rest.split_once(' ').unwrap().0))
    });
    let mappings: Vec<(u64, u64)> = mappings.collect();
    let tasks = std::fs::read_dir(process.join("task")).unwrap();
    let of_task = |task: std::io::Result<std::fs::DirEntry>| {
        let task = task.ok()?.path();
        let name = std::fs::read_to_string(task.join("comm")).ok()?;
        if !wanted(name.trim()) {
            return None;
        }
        // For a thread that waits in the kernel: the number of the call, its arguments, the stack
        // pointer and the instruction. For a running thread: one word.
        let call = std::fs::read_to_string(task.join("syscall")).ok()?;
        let pointer = call.split_whitespace().rev().nth(1)?;
        let pointer = number(pointer.strip_prefix("0x").unwrap());
        let mut around = mappings.iter();
        let (begin, end) = around.find(|(begin, end)| (*begin..*end).contains(&pointer))?;
        Some(end - begin)
    };
    tasks.filter_map(of_task).collect()
}

/// NET-1.
#[test]
fn each_session_has_a_thread_of_its_name_with_a_small_stack() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start(directory.path());
    // Threads of the start have ended, and some sessions get their larger stacks.
    let _first: Vec<Client> = (0..8).map(|_| program.smtp_client()).collect();
    let _clients = [
        program.smtp_client(),
        program.pop3_client(),
        program.smtp_client(),
    ];
    let sessions = ["smtp-9", "pop3-10", "smtp-11"];
    program.threads_with(&[&sessions[..], &["smtp-listener", "pop3-listener"]].concat());
    // A thread that has just greeted may not be waiting yet.
    let stacks = await_some("every session waits", || {
        let stacks = stacks(&program, |name| sessions.contains(&name));
        (stacks.len() == sessions.len()).then_some(stacks)
    });
    let most = u64::try_from(limits::STACK_OCTETS).unwrap() + 64 * 1024;
    assert!(stacks.iter().all(|octets| *octets <= most), "{stacks:?}");
}

/// A client that comes soon after another gets the thread of that one, under its own name. A thread
/// for which no client comes ends.
#[test]
fn a_thread_serves_one_client_after_another() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start(directory.path());
    let without_clients = program.threads_with(&OWN_THREADS).len();
    let mut numbers = Vec::new();
    // The next client may come before the thread of the last one waits for it.
    let is_shared = (1..1_000).any(|session| {
        let mut client = program.smtp_client();
        let name = format!("smtp-{session}");
        let threads = program.threads_with(&[&name]);
        let mut of_client = threads.iter().filter(|(it, _)| *it == name);
        let (_, status) = of_client.next().unwrap();
        let number = status.lines().find(|line| line.starts_with("Pid:"));
        let number = number.unwrap().to_owned();
        client.say("QUIT");
        client.expect_prefix("221 ");
        client.expect_end();
        let is_known = numbers.contains(&number);
        numbers.push(number);
        is_known
    });
    assert!(is_shared, "each client has a new thread");
    await_that("all threads end", || {
        program.threads().len() == without_clients
    });
}

/// NET-1: more would be buffers that nobody needs. Without optimisation, frames are larger.
#[test]
fn a_session_that_waits_takes_little_memory() {
    const SESSIONS: usize = 400;
    const EACH_MAX: u64 = if cfg!(debug_assertions) { 28 } else { 14 };
    raise_descriptors().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), CROWDS);
    // Memory that the first sessions allocate for all.
    let mut first: Vec<Client> = (0..20).map(|_| program.smtp_client()).collect();
    let before = program.resident_octets();
    let mut clients: Vec<Client> = (0..SESSIONS).map(|_| program.smtp_client()).collect();
    for client in first.iter_mut().chain(&mut clients) {
        client.say("NOOP");
        client.expect("250 Ok");
    }
    let each = || {
        let more = program.resident_octets().saturating_sub(before);
        more / 1024 / u64::try_from(SESSIONS).unwrap()
    };
    // The buffers are released when the clients have been silent for a while.
    await_that("a session uses too much", || each() <= EACH_MAX);
}

/// NET-2, NET-3: each session has one descriptor, which is released at its end, and no client is
/// forgotten.
#[test]
fn a_thousand_idle_sessions_leave_room_for_one_more() {
    raise_descriptors().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), CROWDS);
    let threads = program.threads_with(&OWN_THREADS).len();
    let (descriptors, sockets) = (program.descriptors().len(), program.sockets());
    let mut idle: Vec<Client> = (0..CROWD).map(|_| program.smtp_client()).collect();
    await_that("each session has one descriptor", || {
        program.descriptors().len() == descriptors + CROWD
    });
    await_that("each session has one thread", || {
        program.threads().len() == threads + CROWD
    });
    program.deliver(BOB, "beside a crowd\r\n");
    assert_eq!(program.contents(BOB), ["beside a crowd\r\n"]);
    for client in &mut idle {
        client.say("NOOP");
        client.expect("250 Ok");
    }
    drop(idle);
    await_that("all threads end", || program.threads().len() == threads);
    // The store has opened its journal meanwhile.
    await_that("all sockets are released", || program.sockets() == sockets);
    program.signal("USR1");
    assert_eq!(report(&program)["sessions_now"], 0);
}

/// NET-3: a burst of clients waits instead of being refused.
#[test]
fn clients_that_connect_while_nobody_accepts_are_served_later() {
    raise_descriptors().unwrap();
    let somaxconn = std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap();
    let burst = CROWD.min(somaxconn.trim().parse().unwrap());
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), CROWDS);
    program.signal("STOP");
    let connect = |_| TcpStream::connect_timeout(&program.smtp, DEADLINE).unwrap();
    let waiting: Vec<TcpStream> = (0..burst).map(connect).collect();
    program.signal("CONT");
    for stream in waiting {
        Client::over(stream).expect("220 localhost ESMTP facteur");
    }
}

/// NET-4: the limit of descriptors determines how many sessions are possible, and the log says so.
#[test]
fn the_cap_is_computed_from_the_system_and_logged() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_under(directory.path(), "ulimit -n 64");
    program.expect_log("at most 16 sessions at once, bounded by the limit of open files");
    let directory = tempfile::tempdir().unwrap();
    // Raised to the hard limit, minus the reserve.
    let program = Program::start_under(directory.path(), "ulimit -S -n 64; ulimit -H -n 1024");
    program.expect_log("at most 384 sessions at once, bounded by the limit of open files");
    let limits = std::fs::read_to_string(program.proc().join("limits")).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open"));
    let words: Vec<&str> = line.unwrap().split_whitespace().collect();
    assert_eq!(words[3..5], ["1024", "1024"]);
}

/// Lets the program map a little more memory than it has, but no stack of another thread.
fn take_stacks(program: &Program) -> Rlimit {
    let little = u64::try_from(limits::STACK_OCTETS / 2).unwrap();
    program.limit(Resource::As, program.mapped_octets() + little)
}

/// NET-4: a client over the cap is refused without starting a thread.
#[test]
fn a_client_over_the_cap_is_refused_without_a_thread() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = "[limits]\nconnections = 3\n";
    let program = Program::start_with(directory.path(), configuration);
    program.expect_log("at most 3 sessions at once, as configured");
    let mut places: Vec<Client> = (0..3).map(|_| program.smtp_client()).collect();
    let threads =
        program.threads_with(&[&OWN_THREADS[..], &["smtp-1", "smtp-2", "smtp-3"]].concat());
    let descriptors = program.descriptors();
    take_stacks(&program);
    for _ in 0..10 {
        let mut late = Client::connect(program.smtp);
        late.expect_prefix("421 ");
        late.expect_end();
        let mut late = Client::connect(program.pop3);
        late.expect_prefix("-ERR [SYS/TEMP] Too many connections");
        late.expect_end();
    }
    let n_threads = program.threads().len();
    assert!(n_threads <= threads.len(), "{n_threads}");
    // A client sees the end of its connection just before the descriptor is released.
    await_that("descriptors are released", || {
        program.descriptors() == descriptors
    });
    for client in &mut places {
        client.say("NOOP");
        client.expect("250 Ok");
    }
    program.signal("USR1");
    let counts = report(&program);
    assert_eq!(counts["sessions_too_many"], 20);
    assert_eq!(counts["sessions_no_thread"], 0, "none was started");
}

/// NET-5: each address of this machine has its own share, and all together have one. When that is
/// taken, another address still gets in, and a session of the largest crowd is ended.
#[test]
fn an_address_without_a_session_gets_one_beside_a_crowd() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = "[limits]\nconnections = 32\n";
    let program = Program::start_with(directory.path(), configuration);
    program.expect_log(
        "at most 2 of them from one address or /64, 4 from a /24 or /56, 8 from a /16 or /48, 16 \
         from a /8 or /32; from this machine 24 (1 kept for it), and 16 from one loopback address",
    );
    let mut crowd: Vec<Client> = Vec::new();
    for (host, count) in [(2, 16), (3, 8)] {
        for number in 0..count {
            let smtp = number % 2 == 0;
            let port = if smtp { program.smtp } else { program.pop3 };
            let mut client = Client::connect_from([127, 0, 0, host], port);
            client.expect_prefix(if smtp { "220 " } else { "+OK" });
            crowd.push(client);
        }
    }
    let mut late = Client::connect_from([127, 0, 0, 2], program.smtp);
    late.expect("421 Too many connections from your address, try again later");
    let mut late = Client::connect_from([127, 0, 0, 3], program.pop3);
    late.expect("-ERR [SYS/TEMP] Too many connections from this machine, try again later");
    program.expect_log("turned away client=127.0.0.3: Too many connections from this machine");

    let mut newcomer = program.smtp_client();
    crowd[0].expect_prefix("421 Too many connections from your network, closing this one");
    crowd[0].expect_end();
    program.expect_log("closed with 421: its place went to a network with fewer sessions");
    let mut newcomer_too = program.pop3_client();
    crowd[1].expect_prefix("-ERR [SYS/TEMP] Too many connections from your network; nothing");
    crowd[1].expect_end();
    // It is counted before this line, and its client can see the end before that.
    program.expect_log("its place went to a network with fewer sessions");
    for (client, expect) in [(&mut newcomer, "250 "), (&mut newcomer_too, "-ERR")] {
        client.say("NOOP");
        client.expect_prefix(expect);
    }
    program.signal("USR1");
    let counts = report(&program);
    assert_eq!(counts["sessions_too_many_from_address"], 1);
    assert_eq!(counts["sessions_too_many_from_loopback"], 1);
    assert_eq!(counts["ended_displaced"], 2);
}

/// How often an accept loop that backs off can have failed in this time.
fn failures_max(elapsed: Duration) -> u64 {
    let (mut pause, longest) = limits::BACK_OFF;
    let (mut failures, mut passed) = (1, Duration::ZERO);
    while passed <= elapsed {
        passed += pause;
        pause = (pause * 2).min(longest);
        failures += 1;
    }
    failures
}

/// NET-6: without a descriptor for the next client the loop pauses, and continues when there is
/// one.
#[test]
fn an_accept_loop_without_descriptors_backs_off_and_recovers() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start(directory.path());
    let mut inside = program.smtp_client();
    program.threads_with(&OWN_THREADS);
    let taken = program.descriptors();
    let free = (0..1_000).find(|number| !taken.contains(number)).unwrap();
    let limit = program.limit(Resource::Nofile, free);
    let begin = Instant::now();
    let mut waiting = Client::connect(program.smtp);
    for _ in 0..5 {
        program.expect_log("cannot accept a connection, pausing");
    }
    inside.say("NOOP");
    inside.expect("250 Ok");
    program.signal("USR1");
    let failed = report(&program)["sessions_accept_failed"];
    let most = failures_max(begin.elapsed());
    assert!((5..=most).contains(&failed), "{failed}, at most {most}");
    program.limit(Resource::Nofile, limit.current.unwrap());
    waiting.expect("220 localhost ESMTP facteur");
    program.smtp_client();
}

/// NET-6: a client for which no thread can be started gets a reply, and the next one is served
/// again.
#[test]
fn a_client_without_a_thread_gets_a_reply() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start(directory.path());
    let mut inside = program.smtp_client();
    let descriptors = program.descriptors();
    let limit = take_stacks(&program);
    for _ in 0..3 {
        let mut unlucky = Client::connect(program.smtp);
        unlucky.expect("421 No thread to serve you, try again later");
        unlucky.expect_end();
        let mut unlucky = Client::connect(program.pop3);
        unlucky.expect("-ERR [SYS/TEMP] No thread to serve you, try again later");
        unlucky.expect_end();
    }
    program.expect_log("No thread to serve you");
    await_that("descriptors are released", || {
        program.descriptors() == descriptors
    });
    inside.say("NOOP");
    inside.expect("250 Ok");
    program.restore(Resource::As, limit);
    program.deliver(BOB, "again\r\n");
    program.signal("USR1");
    let counts = report(&program);
    assert_eq!(counts["sessions_no_thread"], 6);
    assert_eq!(counts["sessions_now"], 1, "no place is lost");
}

/// Connects and resets the connection immediately.
fn connect_and_reset(address: SocketAddr) {
    let stream = TcpStream::connect(address).unwrap();
    let socket = socket2::SockRef::from(&stream);
    socket.set_linger(Some(Duration::ZERO)).unwrap();
}

/// NET-6: clients that are gone before they are accepted are no reason to pause.
#[test]
fn clients_that_are_gone_before_they_are_accepted_delay_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start(directory.path());
    program.signal("STOP");
    for _ in 0..50 {
        connect_and_reset(program.smtp);
    }
    let mut behind = Client::connect(program.smtp);
    program.signal("CONT");
    behind.expect("220 localhost ESMTP facteur");
    program.signal("USR1");
    assert_eq!(report(&program)["sessions_accept_failed"], 0);
}

/// NET-7: stuck clients delay nobody: no lock is held while waiting for one of them.
#[test]
fn stuck_clients_delay_nobody() {
    let directory = tempfile::tempdir().unwrap();
    let configuration = tls::configure(directory.path());
    let program = Program::start_with(directory.path(), &configuration);
    // More than two sockets can buffer.
    place_lines(
        &directory.path().join("mail"),
        BOB,
        "a line of content\n",
        1_000_000,
    );
    let mut unread = program.maildrop(BOB);
    unread.say("RETR 1");
    unread.expect_prefix("+OK");
    let mut content = program.smtp_client();
    content.say("HELO test");
    content.expect("250 Ok");
    content.begin_content(&[BOB]);
    content.send(b"Subject: half of\r\n");
    let mut hello = Client::connect(program.smtps());
    hello.send(&[0x16, 0x03, 0x01]);
    program.threads_with(&["smtp-3"]);

    let mut waiting = program.smtp_client();
    program.deliver(BOB, "beside them\r\n");
    program.deliver("alice@example.com", "to another\r\n");
    assert_eq!(program.contents("alice@example.com"), ["to another\r\n"]);
    Client::connect(program.smtps())
        .begin_tls()
        .expect("220 localhost ESMTP facteur");
    let mut second = program.pop3_client();
    second.say(&format!("USER {BOB}"));
    second.expect_prefix("+OK");
    second.say("PASS any");
    second.expect_prefix("-ERR [IN-USE]");
    program.signal("USR1");
    assert!(report(&program)["sessions_now"] >= 4);
    program.signal("HUP");
    program.expect_log("SIGHUP: accounts and certificate have been reloaded");
    program.signal("TERM");
    // The stop reaches waiting clients while the others are still stuck.
    waiting.expect_prefix("421 ");
    waiting.expect_end();
    content.send(b"a message\r\n.\r\n");
    content.expect("250 OK");
    drop(unread);
    let mut program = program;
    assert_eq!(program.wait(), Some(0));
}
