//! Programs that log in to an account over TLS: in each of their modes, and with a wrong password.

use std::path::Path;
use std::process::Command;

use crate::certificate::Certified;
use crate::daemon::program;
use crate::daemon::without_trace;
use crate::support::{Ended, ascii_letter, command, run, with_lf};

/// A facteur with TLS and bob's account, whose password is "sesame".
struct Closed {
    certified: Certified,
}

/// How a program begins TLS.
#[derive(Clone, Copy, Debug)]
enum Begin {
    /// Immediately.
    Tls,
    /// With STARTTLS or STLS.
    StartTls,
}

const BEGINS: [Begin; 2] = [Begin::Tls, Begin::StartTls];

impl Closed {
    fn start() -> Self {
        let hashed = program::run_with(&["hash-password"], "sesame\n");
        assert_eq!(hashed.status, Some(0), "{}", hashed.errors);
        let configuration = format!(
            "smtps = [\"127.0.0.1:0\"]\npop3s = [\"127.0.0.1:0\"]\nsubmission = [\"127.0.0.1:0\"]\n\
             limits.refused_login_seconds = 0\n\
             [[accounts]]\naddress = \"bob@example.com\"\n{}\n",
            hashed.output
        );
        let certified = Certified::start_with(&configuration);
        Self { certified }
    }

    fn smtp_port(&self, begin: Begin) -> u16 {
        let program = &self.certified.program;
        match begin {
            Begin::Tls => program.smtps().port(),
            Begin::StartTls => program.submission().port(),
        }
    }

    fn pop3_port(&self, begin: Begin) -> u16 {
        let program = &self.certified.program;
        match begin {
            Begin::Tls => program.pop3s().port(),
            Begin::StartTls => program.pop3.port(),
        }
    }

    /// The file of the CA.
    fn ca(&self) -> String {
        self.certified.path("ca.pem").display().to_string()
    }

    /// Bob's messages, each with its trace headers.
    fn messages(&self) -> Vec<String> {
        let new = self.certified.mail().join("example.com/bob/new");
        let Ok(entries) = std::fs::read_dir(new) else {
            return Vec::new();
        };
        let text = |entry: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(entry.unwrap().path()).unwrap()
        };
        entries.map(text).collect()
    }

    /// Asserts that bob has one message, the letter, with the right protocol in its Received field.
    fn expect_letter(&self, protocol: &str) {
        let messages = self.messages();
        assert_eq!(messages.len(), 1, "{messages:?}");
        let message = messages[0].replace('\n', "\r\n");
        assert_eq!(without_trace(&message), ascii_letter());
        assert!(
            message.contains(&format!(" with {protocol} id ")),
            "{message}"
        );
    }

    /// Delivers the letter.
    fn deliver(&self) {
        use crate::daemon::Service;
        self.certified
            .program
            .deliver("bob@example.com", &ascii_letter());
    }
}

/// Writes a file that only its owner can read: some programs insist on it.
pub(crate) fn write_private(path: &Path, content: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, content).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// Runs a program that must fail because of its password, and say so.
fn expect_refused(command: &mut Command, input: &str, words: &[&str]) {
    let ended = run(command, input);
    assert_ne!(ended.status, Some(0));
    let Ended { output, errors, .. } = ended;
    let said = output + &errors;
    assert!(words.iter().any(|word| said.contains(word)), "{said}");
}

fn curl(closed: &Closed, password: &str, begin: Begin, protocol: &str, port: u16) -> Command {
    let (scheme, option) = match begin {
        Begin::Tls => (format!("{protocol}s"), "--no-progress-meter"),
        Begin::StartTls => (protocol.to_owned(), "--ssl-reqd"),
    };
    let mut curl = command("curl", ["-sS", "--cacert", &closed.ca(), option]);
    curl.args(["-u", &format!("bob@example.com:{password}")]);
    curl.arg(format!("{scheme}://localhost:{port}/"));
    curl
}

#[test]
#[ignore = "needs curl installed; .ci/run installs it"]
fn curl_sends_and_fetches() {
    for begin in BEGINS {
        for options in [&[][..], &["--login-options", "AUTH=LOGIN"]] {
            let closed = Closed::start();
            let send = |password| {
                let port = closed.smtp_port(begin);
                let mut curl = curl(&closed, password, begin, "smtp", port);
                curl.args(["--mail-from", "bob@example.com", "-T", "-"]);
                curl.args(["--mail-rcpt", "bob@example.com"]).args(options);
                curl
            };
            expect_refused(&mut send("wrong"), &ascii_letter(), &["denied"]);
            run(&mut send("sesame"), &ascii_letter()).succeeded();
            closed.expect_letter("ESMTPSA");
            let fetch = |password| {
                let port = closed.pop3_port(begin);
                let mut curl = curl(&closed, password, begin, "pop3", port);
                curl.args(options);
                curl
            };
            expect_refused(&mut fetch("wrong"), "", &["denied"]);
            let listed = run(&mut fetch("sesame"), "").succeeded();
            assert_eq!(listed.lines().count(), 1, "{listed}");
        }
    }
}

#[test]
#[ignore = "needs swaks installed; .ci/run installs it"]
fn swaks_sends() {
    for begin in BEGINS {
        for mechanism in ["PLAIN", "LOGIN"] {
            let closed = Closed::start();
            let data = closed.certified.path("letter");
            let letter = ascii_letter();
            std::fs::write(&data, letter.strip_suffix("\r\n").unwrap()).unwrap();
            let send = |password| {
                let server = format!("localhost:{}", closed.smtp_port(begin));
                let mut swaks = command("swaks", ["--server", &server, "--data"]);
                swaks.arg(format!("@{}", data.display()));
                swaks.args(["--from", "bob@example.com", "--to", "bob@example.com"]);
                swaks.args(["--auth", mechanism, "--auth-user", "bob@example.com"]);
                swaks.args(["--auth-password", password, "--tls-verify"]);
                swaks.args(["--tls-ca-path", &closed.ca()]);
                swaks.arg(match begin {
                    Begin::Tls => "--tls-on-connect",
                    Begin::StartTls => "--tls",
                });
                swaks
            };
            expect_refused(&mut send("wrong"), "", &["535 5.7.8"]);
            run(&mut send("sesame"), "").succeeded();
            closed.expect_letter("ESMTPSA");
        }
    }
}

/// The lines about TLS that msmtp and mpop share.
fn tls_lines(closed: &Closed, begin: Begin) -> String {
    let starttls = match begin {
        Begin::Tls => "off",
        Begin::StartTls => "on",
    };
    format!(
        "tls on\ntls_starttls {starttls}\ntls_trust_file {}\nhost localhost\n\
         user bob@example.com\n",
        closed.ca()
    )
}

#[test]
#[ignore = "needs msmtp installed; .ci/run installs it"]
fn msmtp_sends_with_password_and_with_proof() {
    for begin in BEGINS {
        for mechanism in ["plain", "login", "scram-sha-256"] {
            let closed = Closed::start();
            let send = |password| {
                let file = closed.certified.path("msmtprc");
                let lines = format!(
                    "account default\n{}port {}\nfrom bob@example.com\nauth {mechanism}\n\
                     password {password}\n",
                    tls_lines(&closed, begin),
                    closed.smtp_port(begin),
                );
                write_private(&file, &lines);
                let mut msmtp = command("msmtp", ["-C"]);
                msmtp.arg(file).args(["--", "bob@example.com"]);
                msmtp
            };
            let letter = with_lf(&ascii_letter());
            expect_refused(&mut send("wrong"), &letter, &["535 5.7.8"]);
            run(&mut send("sesame"), &letter).succeeded();
            closed.expect_letter("ESMTPSA");
        }
    }
}

#[test]
#[ignore = "needs mpop installed; .ci/run installs it"]
fn mpop_fetches_with_password_and_with_proof() {
    for begin in BEGINS {
        for mechanism in ["user", "plain", "login", "scram-sha-256"] {
            let closed = Closed::start();
            closed.deliver();
            let maildir = closed.certified.path("fetched");
            for directory in ["tmp", "new", "cur"] {
                std::fs::create_dir_all(maildir.join(directory)).unwrap();
            }
            let fetch = |password| {
                let file = closed.certified.path("mpoprc");
                let lines = format!(
                    "account default\n{}port {}\nauth {mechanism}\npassword {password}\n\
                     keep off\nreceived_header off\nuidls_file {}\ndelivery maildir {}\n",
                    tls_lines(&closed, begin),
                    closed.pop3_port(begin),
                    closed.certified.path("uidls").display(),
                    maildir.display(),
                );
                write_private(&file, &lines);
                let mut mpop = command("mpop", ["-C"]);
                mpop.arg(file);
                mpop
            };
            expect_refused(
                &mut fetch("wrong"),
                "",
                &["[AUTH]", "authentication failed"],
            );
            run(&mut fetch("sesame"), "").succeeded();
            assert_eq!(closed.messages().len(), 0);
            assert_eq!(std::fs::read_dir(maildir.join("new")).unwrap().count(), 1);
        }
    }
}

#[test]
#[ignore = "needs fetchmail installed; .ci/run installs it"]
fn fetchmail_fetches() {
    for begin in BEGINS {
        let closed = Closed::start();
        closed.deliver();
        let fetched = closed.certified.path("fetched");
        let fetch = |password| {
            let ssl = match begin {
                Begin::Tls => "ssl sslproto 'TLS1.2+'",
                Begin::StartTls => "sslproto 'TLS1.2+'",
            };
            let lines = format!(
                "set invisible\npoll localhost service {} protocol pop3 uidl\n\
                 username \"bob@example.com\" password \"{password}\" {ssl} sslcertck \
                 sslcertfile \"{}\" nokeep fetchall mda \"cat >>{}\"\n",
                closed.pop3_port(begin),
                closed.ca(),
                fetched.display(),
            );
            let file = closed.certified.path("fetchmailrc");
            write_private(&file, &lines);
            let mut fetchmail = command("fetchmail", ["--nosyslog", "-f"]);
            fetchmail.arg(file);
            fetchmail.arg("--idfile").arg(closed.certified.path("ids"));
            fetchmail.arg("--pidfile").arg(closed.certified.path("pid"));
            fetchmail.env("FETCHMAILHOME", closed.certified.path(""));
            fetchmail
        };
        expect_refused(&mut fetch("wrong"), "", &["AUTH", "uthorization"]);
        run(&mut fetch("sesame"), "").succeeded();
        assert_eq!(closed.messages().len(), 0);
        let text = std::fs::read_to_string(fetched).unwrap();
        assert!(text.contains("Subject: A letter for Bob"), "{text}");
    }
}

const PYTHON: &str = r#"
import poplib, smtplib, ssl, sys
begin, smtp_port, pop3_port, ca, password = sys.argv[1:]
context = ssl.create_default_context(cafile=ca)
if begin == "Tls":
    smtp = smtplib.SMTP_SSL("localhost", int(smtp_port), context=context)
    pop3 = poplib.POP3_SSL("localhost", int(pop3_port), context=context)
else:
    smtp = smtplib.SMTP("localhost", int(smtp_port))
    smtp.starttls(context=context)
    pop3 = poplib.POP3("localhost", int(pop3_port))
    pop3.stls(context)
smtp.login("bob@example.com", password)
smtp.sendmail("bob@example.com", "bob@example.com", sys.stdin.buffer.read())
smtp.quit()
pop3.user("bob@example.com")
pop3.pass_(password)
print(pop3.stat()[0])
pop3.quit()
"#;

#[test]
#[ignore = "needs python3 installed; .ci/run installs it"]
fn python_sends_and_fetches() {
    for begin in BEGINS {
        let closed = Closed::start();
        let python = |password: &str| {
            let mut python = command("python3", ["-c", PYTHON, &format!("{begin:?}")]);
            python.arg(closed.smtp_port(begin).to_string());
            python.arg(closed.pop3_port(begin).to_string());
            python.args([&closed.ca(), password]);
            python
        };
        expect_refused(
            &mut python("wrong"),
            &ascii_letter(),
            &["SMTPAuthenticationError"],
        );
        let count = run(&mut python("sesame"), &ascii_letter()).succeeded();
        assert_eq!(count, "1\n");
        closed.expect_letter("ESMTPSA");
    }
}

#[test]
#[ignore = "needs openssl installed; .ci/run installs it"]
fn openssl_begins_tls_in_each_way() {
    let closed = Closed::start();
    for (begin, protocol) in [(Begin::Tls, "smtp"), (Begin::Tls, "pop3")]
        .into_iter()
        .chain([(Begin::StartTls, "smtp"), (Begin::StartTls, "pop3")])
    {
        let port = match protocol {
            "smtp" => closed.smtp_port(begin),
            _ => closed.pop3_port(begin),
        };
        let address = format!("localhost:{port}");
        let mut openssl = command("openssl", ["s_client", "-brief", "-verify_return_error"]);
        openssl.args([
            "-crlf",
            "-quiet",
            "-CAfile",
            &closed.ca(),
            "-connect",
            &address,
        ]);
        if matches!(begin, Begin::StartTls) {
            openssl.args(["-starttls", protocol]);
        }
        let said = run(&mut openssl, "NOOP\nQUIT\n").succeeded();
        assert!(said.contains("221 ") || said.contains("+OK"), "{said}");
    }
}
