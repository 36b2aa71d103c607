//! What the service manager, and whoever else asks, is told about the program.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;

use crate::support::program::{Program, run};
use crate::support::{DEADLINE, Service, ShortWay, own_address};

/// What the manager is told next.
fn news(manager: &UnixDatagram) -> String {
    let mut octets = [0; 256];
    let n_read = manager.recv(&mut octets).unwrap();
    String::from_utf8(octets[..n_read].to_vec()).unwrap()
}

/// A life, told to a manager behind either kind of socket. In the sandbox, since the kernel lets
/// nobody reach an abstract socket from there that was not connected before.
#[test]
fn the_manager_is_told_of_ready_reloading_and_stopping() {
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
    // Before all signs: they would fill the queue of a manager that does not read yet.
    assert_eq!(news(&manager), "READY=1\n");
    for _ in 0..4 {
        assert_eq!(news(&manager), "WATCHDOG=1\n");
    }
    program.signal("TERM");
    // The thread that gives them holds nothing up.
    assert_eq!(program.wait(), Some(0));
}

#[test]
fn a_manager_that_is_not_there_is_no_reason_not_to_serve() {
    let directory = tempfile::tempdir().unwrap();
    let missing = directory.path().join("missing");
    let environment = [("NOTIFY_SOCKET", missing.to_str().unwrap())];
    let program = Program::start_in(directory.path(), &environment);
    program.expect_log("NOTIFY_SOCKET");
    program.deliver("bob@example.com", "one\r\n");
}

/// What `check-ready` says to these listeners.
fn check_ready(smtp: &str, pop3: &str) -> (Option<i32>, String) {
    let ended = run(&["--smtp", smtp, "--pop3", pop3, "check-ready"]);
    let text = ended.output + &ended.errors;
    assert_eq!(text.lines().count(), 1, "{text}");
    (ended.status, text)
}

#[test]
fn check_ready_is_told_by_a_daemon_that_greets() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = Program::start_at(directory.path(), &own_address());
    let (smtp, pop3) = (program.smtp.to_string(), program.pop3.to_string());
    assert_eq!(
        check_ready(&smtp, &pop3),
        (Some(0), "ready: smtp, pop3\n".to_owned())
    );
    // Ports that were mixed up.
    let (status, text) = check_ready(&pop3, &smtp);
    assert_eq!(status, Some(1), "{text}");
    assert!(text.starts_with("facteur: not ready: smtp "), "{text}");
    assert!(text.contains("it says \"+OK facteur"), "{text}");
    program.kill();
    let (status, text) = check_ready(&smtp, "off");
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains(&smtp) && text.contains("refused"), "{text}");
}

#[test]
fn check_ready_asks_where_the_configuration_says() {
    let file = Path::new("/no/such/file.toml");
    let ended = run(&["check-ready", "--config", file.to_str().unwrap()]);
    assert_eq!(ended.status, Some(2), "{}", ended.errors);
    let (status, text) = check_ready("127.0.0.1:0", "off");
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("any free port"), "{text}");
}
