//! mutt and neomutt with an account, over TLS: on their own terminals they read its mail and send
//! as it, with the SASL mechanism that they choose themselves.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::daemon::program::{Program, run, run_with};
use crate::daemon::{Service, without_trace};
use crate::secure::write_private;
use crate::support::{self, Ended, Typist, command, letter, with_lf};

const PROGRAMS: [&str; 2] = ["mutt", "neomutt"];

/// With immediate TLS, and with STARTTLS.
const SCHEMES: [&str; 2] = ["smtps", "smtp"];

const BOB: &str = "bob@example.com";
const PASSWORD: &str = "sesame";

/// The message that the programs send, as a draft in a file.
const DRAFT: &str = "From: bob@example.com\nTo: bob@example.com\nSubject: A letter from Bob\n\n\
                     .a dot first\n.\nFrom here on\n\nbücher, 日本語\n";

/// The log line about a wrong password.
const REFUSED: &str = "login refused user=\"bob@example.com\"";

/// A facteur with an account and a certificate, both made as the guide describes.
struct Closed {
    directory: tempfile::TempDir,
    program: Program,
}

impl Closed {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("facteur.toml");
        let listeners = "smtps = [\"127.0.0.1:0\"]\npop3s = [\"127.0.0.1:0\"]\n\
                         limits.refused_login_seconds = 0\n";
        std::fs::write(&file, listeners).unwrap();
        let file = file.to_str().unwrap();
        let added = run_with(
            &["account", "add", BOB, "--config", file],
            &format!("{PASSWORD}\n"),
        );
        assert_eq!(added.status, Some(0), "{}", added.errors);
        make_certificate(&directory.path().join("tls"), &["--config", file]);
        let program = Program::start(directory.path());
        Self { directory, program }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// All of bob's messages, complete.
    fn messages(&self) -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(self.path("mail/example.com/bob/new")) else {
            return Vec::new();
        };
        let text = |entry: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(entry.unwrap().path()).unwrap()
        };
        entries.map(text).collect()
    }

    /// Makes a program send a draft, on a terminal; returns what it shows.
    fn send_at_terminal(&self, program: &str, scheme: &str) -> String {
        // The editor changes nothing; then the message is sent.
        let keys = "set editor=true\nset abort_unmodified=no\nset autoedit=yes\n\
                    set edit_headers=yes\nset fast_reply=yes\n\
                    send2-hook . \"push <send-message>\"";
        let file = self.configure(PASSWORD, &self.path("tls"), &self.server(scheme), keys);
        let draft = self.path("draft");
        std::fs::write(&draft, DRAFT).unwrap();
        let line = format!("{program} -n -F {} -H {}", file.display(), draft.display());
        let sender = self.at_terminal(&line);
        // If it cannot send, it shows the message again, and does not end.
        self.program.expect_log(" accepted ");
        sender.leave()
    }

    /// The server that these programs send to.
    fn server(&self, scheme: &str) -> String {
        let address = match scheme {
            "smtps" => self.program.smtps(),
            _ => self.program.smtp,
        };
        format!("{scheme}://bob%40example.com@localhost:{}", address.port())
    }

    /// Writes the configuration of these programs: the password, the CA in this directory, the
    /// server to send to, and `more`.
    fn configure(&self, password: &str, tls: &Path, url: &str, more: &str) -> PathBuf {
        let file = self.path("muttrc");
        let lines = format!(
            "set folder={home}\nset certificate_file={home}/seen\n\
             set ssl_ca_certificates_file={ca}\n\
             set ssl_force_tls=yes\nset from={BOB}\nset pop_pass={password}\n\
             set smtp_pass={password}\nset smtp_url={url}\nset copy=no\nset record=\n\
             set quit=yes\nset wait_key=no\nset pipe_decode=no\nset sleep_time=0\n{more}\n",
            home = self.path("").display(),
            ca = tls.join("ca.pem").display(),
        );
        write_private(&file, &lines);
        file
    }

    /// A program on its own terminal.
    fn at_terminal(&self, line: &str) -> Typist {
        let mut script = command("script", ["-qec", line, "/dev/null"]);
        Typist::at(self.in_home(&mut script))
    }

    fn in_home<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("TERM", "xterm").env("HOME", self.path(""))
    }

    /// A program that opens bob's maildrop and pipes the first message to `copy`.
    fn reader(&self, program: &str, password: &str) -> Typist {
        let copy = self.path("copy");
        let keys = format!(
            "push \"<pipe-message>cat >{}<enter><quit>\"",
            copy.display()
        );
        let file = self.configure(password, &self.path("tls"), "", &keys);
        let port = self.program.pop3s().port();
        let maildrop = format!("pops://bob%40example.com@localhost:{port}/");
        self.at_terminal(&format!("{program} -n -F {} -f {maildrop}", file.display()))
    }

    /// Makes a program send without a terminal, where it asks nothing.
    fn send_unasked(&self, program: &str, password: &str, tls: &Path, scheme: &str) -> Ended {
        let file = self.configure(password, tls, &self.server(scheme), "");
        let mut mutt = command(program, ["-n", "-F", file.to_str().unwrap()]);
        mutt.args(["-s", "A letter for Bob", BOB]);
        support::run(self.in_home(&mut mutt), "Hello Bob.\n")
    }
}

/// Each program with each scheme.
fn every_way() -> impl Iterator<Item = (&'static str, &'static str)> {
    PROGRAMS
        .into_iter()
        .flat_map(|program| SCHEMES.map(|scheme| (program, scheme)))
}

/// Makes a CA and a certificate in this directory.
fn make_certificate(directory: &Path, more: &[&str]) {
    let made = run(&[&["cert", "--dir", directory.to_str().unwrap()], more].concat());
    assert_eq!(made.status, Some(0), "{}", made.errors);
}

#[test]
#[ignore = "needs mutt and neomutt installed; .ci/run installs them"]
fn mutt_and_neomutt_read_the_mail_of_an_account() {
    for program in PROGRAMS {
        let closed = Closed::start();
        closed.program.deliver(BOB, &letter());
        let reader = closed.reader(program, PASSWORD);
        // If it cannot log in, it asks for another password, and does not end.
        let login = closed.program.log_line(" login mailbox=");
        assert!(login.contains("messages=1"), "{login}");
        let screen = reader.leave();
        let copy = std::fs::read_to_string(closed.path("copy"));
        let copy = copy.unwrap_or_else(|error| panic!("{program}: {error}: {screen}"));
        assert_eq!([copy.as_str()], *closed.messages(), "{program}");
        assert!(copy.ends_with(&with_lf(&letter())), "{program}: {copy}");
    }
}

#[test]
#[ignore = "needs mutt and neomutt installed; .ci/run installs them"]
fn mutt_and_neomutt_read_nothing_with_a_wrong_password() {
    for program in PROGRAMS {
        let closed = Closed::start();
        closed.program.deliver(BOB, &letter());
        let reader = closed.reader(program, "wrong");
        closed.program.expect_log(REFUSED);
        // It may ask for another password, and wait for it.
        drop(reader);
        assert!(!closed.path("copy").exists(), "{program}");
        let log = closed.program.stop();
        assert!(
            !log.iter().any(|line| line.contains(" login mailbox=")),
            "{log:?}"
        );
    }
}

#[test]
#[ignore = "needs mutt and neomutt installed; .ci/run installs them"]
fn mutt_and_neomutt_send_as_an_account() {
    for (program, scheme) in every_way() {
        let closed = Closed::start();
        let screen = closed.send_at_terminal(program, scheme);
        let messages = closed.messages();
        assert_eq!(messages.len(), 1, "{program}, {scheme}: {screen}");
        let message = messages[0].replace('\n', "\r\n");
        assert!(message.contains(" with ESMTPSA id "), "{message}");
        let content = with_lf(without_trace(&message));
        let (header, body) = content.split_once("\n\n").unwrap();
        assert!(header.contains("Subject: A letter from Bob"), "{header}");
        let sent = DRAFT.split_once("\n\n").unwrap().1;
        assert_eq!(body, sent, "{program}, {scheme}");
    }
}

#[test]
#[ignore = "needs mutt and neomutt installed; .ci/run installs them"]
fn mutt_and_neomutt_send_nothing_with_a_wrong_password_or_to_a_stranger() {
    let others = tempfile::tempdir().unwrap();
    make_certificate(others.path(), &[]);
    for (program, scheme) in every_way() {
        let closed = Closed::start();
        let own = closed.path("tls");
        let refused = closed.send_unasked(program, "wrong", &own, scheme);
        assert_eq!(refused.status, Some(1), "{program}: {}", refused.errors);
        closed.program.expect_log(REFUSED);
        let untrusted = closed.send_unasked(program, PASSWORD, others.path(), scheme);
        assert_eq!(untrusted.status, Some(1), "{program}: {}", untrusted.errors);
        assert_eq!(closed.messages(), [""; 0]);
        let sent = closed.send_unasked(program, PASSWORD, &own, scheme);
        assert_eq!(sent.status, Some(0), "{program}: {}", sent.errors);
        assert_eq!(closed.messages().len(), 1);
    }
}
