//! What the program reports to the service manager, and to `check-ready`.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use crate::support::program::{Program, run};
use crate::support::{DEADLINE, Service, ShortWay, own_address};

/// The next report to the manager.
fn news(manager: &UnixDatagram) -> String {
    let mut octets = [0; 256];
    let n_read = manager.recv(&mut octets).unwrap();
    String::from_utf8(octets[..n_read].to_vec()).unwrap()
}

/// Start, reload and stop, reported to both kinds of socket. In the sandbox, since from there the
/// kernel allows no abstract socket that was not connected before.
#[test]
fn ready_reloading_and_stopping_are_reported_to_the_manager() {
    for is_abstract in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let way = ShortWay::into(directory.path());
        let (address, name) = if is_abstract {
            let name = format!("facteur-test-{}", std::process::id());
            let address = SocketAddr::from_abstract_name(&name).unwrap();
            (address, format!("@{name}"))
        } else {
            let path = way.to("notify");
            let address = SocketAddr::from_pathname(&path).unwrap();
            (address, path.to_str().unwrap().to_owned())
        };
        let manager = UnixDatagram::bind_addr(&address).unwrap();
        manager.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut program = Program::start_in(directory.path(), &[("NOTIFY_SOCKET", &name)]);
        assert_eq!(news(&manager), "READY=1\n");
        program.deliver("bob@example.com", "one\r\n");
        program.signal("HUP");
        assert_eq!(news(&manager), "RELOADING=1\n");
        assert_eq!(news(&manager), "READY=1\n");
        program.signal("TERM");
        assert_eq!(news(&manager), "STOPPING=1\n");
        assert_eq!(program.wait(), Some(0));
    }
}

#[test]
fn signs_of_life_come_until_the_end() {
    let directory = tempfile::tempdir().unwrap();
    let way = ShortWay::into(directory.path());
    let path = way.to("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(DEADLINE)).unwrap();
    let environment = [
        ("NOTIFY_SOCKET", path.to_str().unwrap()),
        ("WATCHDOG_USEC", "20000"),
    ];
    let mut program = Program::start_in(directory.path(), &environment);
    // Before all signs of life, which would fill the queue of a manager that does not read yet.
    assert_eq!(news(&manager), "READY=1\n");
    for _ in 0..4 {
        assert_eq!(news(&manager), "WATCHDOG=1\n");
    }
    program.signal("TERM");
    // The thread that sends them delays nothing.
    assert_eq!(program.wait(), Some(0));
}

#[test]
fn the_program_serves_even_if_the_manager_cannot_be_reached() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let environment = [("NOTIFY_SOCKET", missing.to_str().unwrap())];
    let program = Program::start_in(directory.path(), &environment);
    program.expect_log("NOTIFY_SOCKET");
    program.deliver("bob@example.com", "one\r\n");
}

/// The output of `check-ready` for these listeners.
fn check_ready(smtp: &str, pop3: &str) -> (Option<i32>, String) {
    let ended = run(&[
        "--smtp",
        smtp,
        "--pop3",
        pop3,
        "--http",
        "off",
        "check-ready",
    ]);
    let text = ended.output + &ended.errors;
    assert_eq!(text.lines().count(), 1, "{text}");
    (ended.status, text)
}

#[test]
fn check_ready_succeeds_when_a_daemon_greets() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = Program::start_at(directory.path(), &own_address());
    let (smtp, pop3) = (program.smtp.to_string(), program.pop3.to_string());
    assert_eq!(
        check_ready(&smtp, &pop3),
        (Some(0), "ready: smtp, pop3\n".to_owned())
    );
    // The ports are mixed up.
    let (status, text) = check_ready(&pop3, &smtp);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.starts_with("facteur: not ready: smtp "), "{text}");
    assert!(text.contains("it sends \"+OK facteur"), "{text}");
    program.kill();
    let (status, text) = check_ready(&smtp, "off");
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains(&smtp) && text.contains("refused"), "{text}");
}

#[test]
fn check_ready_uses_the_ports_of_the_configuration() {
    let file = Path::new("/no/such/file.toml");
    let ended = run(&["check-ready", "--config", file.to_str().unwrap()]);
    assert_eq!(ended.status, Some(2), "{}", ended.errors);
    let (status, text) = check_ready("127.0.0.1:0", "off");
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("any free port"), "{text}");
}
