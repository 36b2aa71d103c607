//! The commands of the program, as a person or a script uses them.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};

use facteur::fs::{Fs, RealFs};
use rustls::pki_types::{CertificateDer, ServerName, pem::PemObject};
use rustls::{ClientConfig, ClientConnection};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::support::DEADLINE;
use crate::support::program::{Ended, Program, facteur, run};
use crate::support::tls::client_of;

/// Runs `facteur cert` in a directory, with a configuration.
fn cert(directory: &Path, configuration: &str, more: &[&str]) -> Ended {
    let file = directory.join("facteur.toml");
    if !file.exists() {
        std::fs::write(&file, configuration).unwrap();
    }
    let tls = directory.join("tls");
    let mut arguments = vec!["cert", "--dir", tls.to_str().unwrap()];
    arguments.extend(["--config", file.to_str().unwrap()]);
    arguments.extend(more);
    run(&arguments)
}

/// The files of a directory with their names, permissions and contents.
fn files(directory: &Path) -> Vec<(String, u32, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        let mode = entry.metadata().unwrap().permissions().mode() & 0o7777;
        let content = std::fs::read(entry.path()).unwrap();
        files.push((entry.file_name().into_string().unwrap(), mode, content));
    }
    files.sort();
    files
}

/// Whether a client that trusts this authority accepts the server as `name`.
fn is_trusted(address: SocketAddr, client: &Arc<ClientConfig>, name: &'static str) -> bool {
    let name = ServerName::try_from(name).unwrap();
    let mut tls = ClientConnection::new(Arc::clone(client), name).unwrap();
    let mut socket = TcpStream::connect(address).unwrap();
    tls.complete_io(&mut socket).is_ok()
}

/// SEC-3, and SEC-6 for the files.
#[test]
fn a_certificate_is_made_once_and_clients_that_trust_the_ca_accept_it() {
    let own = tempfile::tempdir().unwrap();
    let configuration = "hostname = \"mail.example.com\"\nsmtps = [\"127.0.0.1:0\"]\n";
    let first = cert(own.path(), configuration, &["box.example.org"]);
    assert_eq!(first.status, Some(0), "{}", first.errors);
    assert_eq!(first.errors, "");
    assert!(first.output.starts_with("made the CA "), "{}", first.output);
    let tls = own.path().join("tls");
    let made = files(&tls);
    let names: Vec<&str> = made.iter().map(|(name, _, _)| name.as_str()).collect();
    let expected = [".lock", "ca.key", "ca.pem", "certificate.pem", "key.pem"];
    assert_eq!(names, expected);
    assert!(made.iter().all(|(_, mode, _)| *mode == 0o600), "{made:?}");
    let permissions = std::fs::metadata(&tls).unwrap().permissions();
    assert_eq!(permissions.mode() & 0o7777, 0o700);

    let second = cert(own.path(), "", &[]);
    assert_eq!(second.status, Some(0), "{}", second.errors);
    assert!(second.output.contains("Nothing was changed"));
    assert_eq!(files(&tls), made);

    let configuration = std::fs::read_to_string(own.path().join("facteur.toml")).unwrap();
    let mut program = Program::start_with(own.path(), &configuration);
    let smtps = program.smtps();
    let authority = CertificateDer::from_pem_file(tls.join("ca.pem")).unwrap();
    let client = Arc::new(client_of(authority, rustls::ALL_VERSIONS));
    for (name, is_expected) in [
        ("localhost", true),
        ("127.0.0.1", true),
        ("::1", true),
        ("mail.example.com", true),
        ("box.example.org", true),
        ("example.com", false),
        ("127.0.0.2", false),
    ] {
        assert_eq!(is_trusted(smtps, &client, name), is_expected, "{name}");
    }
    program.signal("TERM");
    assert_eq!(program.wait(), Some(0));
    assert_eq!(files(&tls), made);
}

#[test]
fn a_renewal_changes_only_the_certificate() {
    let own = tempfile::tempdir().unwrap();
    assert_eq!(cert(own.path(), "", &[]).status, Some(0));
    let tls = own.path().join("tls");
    let before = files(&tls);
    let renewed = cert(own.path(), "", &["--renew"]);
    assert_eq!(renewed.status, Some(0), "{}", renewed.errors);
    for (before, after) in before.iter().zip(files(&tls)) {
        assert_eq!(
            before == &after,
            after.0 != "certificate.pem",
            "{}",
            after.0
        );
    }
}

/// A person at a terminal in front of `facteur hash-password`.
struct Typist {
    keyboard: File,
    screen: Receiver<Vec<u8>>,
    terminal: OwnedFd,
    program: Child,
    /// What the terminal has shown so far.
    shown: String,
}

impl Typist {
    fn new() -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY;
        let controller = openpt(flags).unwrap();
        grantpt(&controller).unwrap();
        unlockpt(&controller).unwrap();
        let name = ptsname(&controller, Vec::new()).unwrap();
        let terminal = File::options()
            .read(true)
            .write(true)
            .open(name.to_str().unwrap())
            .unwrap();
        let program = facteur()
            .arg("hash-password")
            .stdin(terminal.try_clone().unwrap())
            .stderr(terminal.try_clone().unwrap())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let keyboard = File::from(controller);
        let mut output = keyboard.try_clone().unwrap();
        let (shown_out, screen) = channel();
        std::thread::Builder::new()
            .spawn(move || {
                let mut buffer = [0; 256];
                while let Ok(octets) = output.read(&mut buffer) {
                    if shown_out.send(buffer[..octets].to_vec()).is_err() {
                        break;
                    }
                }
            })
            .unwrap();
        Self {
            keyboard,
            screen,
            terminal: terminal.into(),
            program,
            shown: String::new(),
        }
    }

    /// Waits until the terminal shows this at the end.
    fn expect(&mut self, text: &str) {
        while !self.shown.ends_with(text) {
            let more = self.screen.recv_timeout(DEADLINE);
            let more = more.unwrap_or_else(|_| panic!("{text:?} is not in {:?}", self.shown));
            self.shown.push_str(&String::from_utf8(more).unwrap());
        }
    }

    fn type_in(&mut self, text: &str) {
        self.keyboard.write_all(text.as_bytes()).unwrap();
    }

    fn shows_what_is_typed(&self) -> bool {
        let modes = tcgetattr(&self.terminal).unwrap().local_modes;
        modes.contains(LocalModes::ECHO | LocalModes::ISIG)
    }

    /// Waits for the program to end; returns its status and its standard output.
    fn leave(&mut self) -> (Option<i32>, String) {
        let mut output = String::new();
        let mut stdout = self.program.stdout.take().unwrap();
        stdout.read_to_string(&mut output).unwrap();
        (self.program.wait().unwrap().code(), output)
    }
}

#[test]
fn a_password_is_typed_twice_and_never_shown() {
    let mut typist = Typist::new();
    typist.expect("Password: ");
    typist.type_in("hunter2\n");
    typist.expect("Password again: ");
    typist.type_in("hunter2\n");
    let (status, output) = typist.leave();
    assert_eq!(status, Some(0));
    assert_eq!(output.lines().count(), 1, "{output}");
    assert!(output.starts_with("password = "), "{output}");
    typist.expect("Password again: \r\n");
    assert_eq!(typist.shown, "Password: \r\nPassword again: \r\n");
    assert!(typist.shows_what_is_typed());
}

#[test]
fn control_c_leaves_the_terminal_as_it_was() {
    let mut typist = Typist::new();
    typist.expect("Password: ");
    typist.type_in("hunt\u{3}");
    let (status, output) = typist.leave();
    assert_eq!((status, output.as_str()), (Some(1), ""));
    typist.expect("interrupted\r\n");
    assert!(!typist.shown.contains("hunt"), "{}", typist.shown);
    assert!(typist.shows_what_is_typed());
}

#[test]
fn a_mistake_at_a_command_is_one_line() {
    let own = tempfile::tempdir().unwrap();
    let missing = own.path().join("missing/tls");
    let missing = missing.to_str().unwrap();
    for (arguments, status, part) in [
        (vec!["cert", "*.example.com"], 2, "*.example.com"),
        (vec!["cert", "--check"], 2, "--check"),
        (vec!["--check", "cert"], 2, "--check"),
        (vec!["cret"], 2, "cret"),
        (vec!["hash-password", "hunter2"], 2, "hunter2"),
        (vec!["hash-password"], 1, "empty"),
        (vec!["settings"], 2, "ADDRESS"),
        (vec!["settings", "bob"], 2, "bob"),
        (
            vec!["cert", "--config", "/no/such/file"],
            2,
            "/no/such/file",
        ),
        (vec!["cert", "--dir", missing], 1, missing),
    ] {
        let ended = run(&arguments);
        assert_eq!(
            ended.status,
            Some(status),
            "{arguments:?}: {}",
            ended.errors
        );
        assert_eq!(ended.errors.lines().count(), 1, "{}", ended.errors);
        assert!(ended.errors.starts_with("facteur: "), "{}", ended.errors);
        assert!(ended.errors.contains(part), "{}", ended.errors);
        assert_eq!(ended.output, "");
    }
}

/// A mail directory with a daemon that gives these answers, one after the other.
fn stub(mail: &Path, answers: &[&'static str]) {
    let own = mail.join(".facteur");
    std::fs::create_dir(&own).unwrap();
    let listener = RealFs.bind_socket(&own, "control").unwrap();
    let answers = answers.to_vec();
    let serve = move || {
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = BufReader::new(stream);
            let mut line = String::new();
            while line != "\r\n" {
                line.clear();
                assert!(stream.read_line(&mut line).unwrap() > 0);
            }
            stream.get_mut().write_all(answer.as_bytes()).unwrap();
        }
    };
    std::thread::Builder::new().spawn(serve).unwrap();
}

const NOTHING: &str = "HTTP/1.1 204 No Content\r\n\r\n";
const MESSAGE: &str = "HTTP/1.1 200 OK\r\n\r\n{\"ID\":\"1\",\"Text\":\"Your code is 123456.\"}";
const BUSY: &str = "HTTP/1.1 409 Conflict\r\n\r\nbob@example.com is open: try again later\n";

#[test]
fn the_commands_for_messages_tell_a_script_how_they_ended() {
    for (arguments, answers, status, output, errors) in [
        (&["wait", "--code"][..], &[MESSAGE][..], 0, "123456\n", ""),
        (
            &["wait", "--timeout", "0s", "--since", "00ab-7-1"],
            &[NOTHING, NOTHING],
            124,
            "",
            "facteur: the time is over, and no message came in 0s; no other message came either\n",
        ),
        (
            &["wait", "--none", "--timeout", "0s"],
            &[NOTHING],
            0,
            "",
            "",
        ),
        (
            &["remove", "--mailbox", "bob@example.com"],
            &["HTTP/1.1 200 OK\r\n\r\n{\"messages_count\":1}", BUSY],
            75,
            "",
            "facteur: bob@example.com is open: try again later\n",
        ),
    ] {
        let mail = tempfile::tempdir().unwrap();
        stub(mail.path(), answers);
        let before = ["--mail", mail.path().to_str().unwrap()];
        let ended = run(&[&before, arguments].concat());
        assert_eq!(
            (ended.output.as_str(), ended.errors.as_str()),
            (output, errors)
        );
        assert_eq!(ended.status, Some(status));
    }
}

#[test]
fn the_help_shows_the_commands() {
    let help = run(&["--help"]).output;
    for (command, flags) in [
        ("cert", &["--dir", "--renew", "--config", "NAME"][..]),
        ("hash-password", &["--no-scram"]),
        ("list", &["--mailbox", "--limit", "--json", "after:2h"]),
        ("remove", &["--all", "--match", "--mailbox"]),
        ("settings", &["--autoconfig", "--config", "ADDRESS"]),
        ("show", &["--link[=<PART>]", "--code[=<N>]", "--save <DIR>"]),
        ("wait", &["--to", "--since", "--timeout", "--none", "124"]),
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{help}");
        let help = run(&[command, "--help"]);
        assert_eq!(help.status, Some(0));
        for flag in flags {
            assert!(
                help.output.contains(flag),
                "{flag} is not in {}",
                help.output
            );
        }
    }
}
