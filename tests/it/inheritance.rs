//! Sockets that a service manager opened for the program.
//!
//! A shell stands in for the manager: its standard input becomes descriptor 3, and the program
//! replaces it, keeping its process number.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::support::program::{facteur, forget_variables};
use crate::support::{Client, ShortWay};

const MANAGER: &str = "LISTEN_PID=$$ LISTEN_FDS=1; export LISTEN_PID LISTEN_FDS\n\
                       exec \"$@\" 3<&0 </dev/null";

/// Starts the program with a socket with this name.
fn start(directory: &Path, socket: OwnedFd, name: &str, arguments: &[&str]) -> Child {
    forget_variables(&mut Command::new("sh"))
        .args(["-c", MANAGER, "manager", env!("CARGO_BIN_EXE_facteur")])
        .args(arguments)
        .args(["--http", "off", "--mail"])
        .arg(directory.join("mail"))
        .env("LISTEN_FDNAMES", name)
        .stdin(Stdio::from(socket))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// The error and the status of a program that must refuse to start.
fn refusal(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors.lines().count(), 1, "{errors}");
    (output.status.code(), errors)
}

#[test]
fn a_socket_replaces_the_configured_ones() {
    let directory = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    // A client that connects before the program runs is served by it.
    let early = TcpStream::connect(address).unwrap();
    let arguments = ["--pop3", "127.0.0.1:0", "--smtp", "127.0.0.1:0"];
    let mut child = start(directory.path(), socket.into(), "smtp", &arguments);
    let output = BufReader::new(child.stdout.take().unwrap());
    let banner: Vec<String> = output.lines().take(3).map(Result::unwrap).collect();
    assert_eq!(banner[1], format!("SMTP {address}"));
    assert!(banner[2].starts_with("POP3 127.0.0.1:"), "{banner:?}");
    let mut client = Client::connect(address);
    client.expect("220 localhost ESMTP facteur");
    client.say("HELO test");
    client.expect("250 Ok");
    client.transaction(&["bob@example.com"], "x\r\n");
    let mut early_lines = BufReader::new(early.try_clone().unwrap()).lines();
    assert_eq!(
        early_lines.next().unwrap().unwrap(),
        "220 localhost ESMTP facteur"
    );
    (&early).write_all(b"QUIT\r\n").unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

/// systemd gives the name of the unit to a socket without a name, and other managers give none.
#[test]
fn a_socket_without_a_name_is_known_by_its_port_or_its_position() {
    for name in ["", "unknown", "facteur.socket"] {
        let directory = tempfile::tempdir().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        // The configuration uses this port for POP3.
        let file = directory.path().join("facteur.toml");
        let port = address.port();
        std::fs::write(&file, format!("pop3 = [\"127.0.0.1:{port}\"]\n")).unwrap();
        let arguments = ["--config", file.to_str().unwrap(), "--smtp", "127.0.0.1:0"];
        let mut child = start(directory.path(), socket.into(), name, &arguments);
        let mut client = Client::connect(address);
        client.expect_prefix("+OK facteur POP3");
        child.kill().unwrap();
        child.wait().unwrap();

        // The name says nothing.
        let directory = tempfile::tempdir().unwrap();
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let mut child = start(directory.path(), socket.into(), name, &["--pop3", "off"]);
        let mut client = Client::connect(address);
        client.expect("220 localhost ESMTP facteur");
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

/// SEC-14: even if another program has opened it.
#[test]
fn a_socket_that_others_can_reach_is_refused_without_accounts() {
    let directory = tempfile::tempdir().unwrap();
    let socket = TcpListener::bind("0.0.0.0:0").unwrap();
    let child = start(directory.path(), socket.into(), "smtp", &["--pop3", "off"]);
    let (status, errors) = refusal(child);
    assert_eq!(status, Some(2), "{errors}");
    assert!(
        errors.contains("other machines can reach 0.0.0.0:"),
        "{errors}"
    );
}

#[test]
fn a_socket_that_cannot_be_served_is_one_clear_line() {
    let directory = tempfile::tempdir().unwrap();
    let arguments = ["--smtp", "127.0.0.1:0", "--pop3", "off"];
    let listener = || OwnedFd::from(TcpListener::bind("127.0.0.1:0").unwrap());
    let way = ShortWay::into(directory.path());
    let unix = std::os::unix::net::UnixListener::bind(way.to("socket")).unwrap();
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let file = tempfile::tempfile().unwrap();
    for (socket, name, reason) in [
        (listener(), "imap", "\"imap\""),
        (listener(), "smpt", "FileDescriptorName="),
        (unix.into(), "smtp", "ListenStream="),
        (datagrams.into(), "smtp", "ListenStream="),
        (file.into(), "smtp", "\"smtp\""),
    ] {
        let (status, errors) = refusal(start(directory.path(), socket, name, &arguments));
        assert_eq!(status, Some(1), "{errors}");
        assert!(errors.contains("socket activation"), "{errors}");
        assert!(errors.contains(reason), "{errors}");
    }
}

/// Sockets that are meant for another process are not ours.
#[test]
fn a_socket_for_another_process_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let mut child = facteur()
        .args([
            "--smtp",
            "127.0.0.1:0",
            "--pop3",
            "off",
            "--http",
            "off",
            "--mail",
        ])
        .arg(directory.path().join("mail"))
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDS", "1")
        .env("LISTEN_FDNAMES", "smtp")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert!(line.starts_with("facteur "), "{line}");
    child.kill().unwrap();
    child.wait().unwrap();
    output.read_to_string(&mut line).unwrap();
}
