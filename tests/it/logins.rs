//! Logins: delayed answers, accounts that change, storms of guesses.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::program::Program;
use crate::support::{self, Client, HASH, Service, tls};

/// Writes an accounts file with these names, all with the password "password".
fn write_accounts(directory: &Path, names: &[&str]) {
    let mut text = String::new();
    for name in names {
        writeln!(
            text,
            "[[accounts]]\naddress = \"{name}@example.com\"\npassword = \"{HASH}\""
        )
        .unwrap();
    }
    std::fs::write(directory.join("accounts.toml"), text).unwrap();
}

/// The program with an account for bob, and other lines of configuration.
fn closed(directory: &Path, configuration: &str) -> Program {
    write_accounts(directory, &["bob"]);
    let configuration = format!("accounts = \"accounts.toml\"\n{configuration}");
    Program::start_with(directory, &configuration)
}

/// Where a program listens, for threads other than the test's.
#[derive(Clone, Copy)]
struct Ports {
    smtp: SocketAddr,
    pop3: SocketAddr,
}

impl Ports {
    fn of(program: &Program) -> Self {
        let (smtp, pop3) = (program.smtp, program.pop3);
        Self { smtp, pop3 }
    }
}

impl Service for Ports {
    fn smtp(&self) -> SocketAddr {
        self.smtp
    }

    fn pop3(&self) -> SocketAddr {
        self.pop3
    }
}

/// Sends a login over POP3, and does not wait for the answer.
fn begin_login(address: SocketAddr, user: &str, password: &str) -> Client {
    let mut client = Client::connect(address);
    client.expect_prefix("+OK");
    client.say(&format!("USER {user}@example.com"));
    client.expect_prefix("+OK");
    client.say(&format!("PASS {password}"));
    client
}

/// The answer to a login over POP3; the maildrop is free again after it.
fn login(address: SocketAddr, user: &str, password: &str) -> String {
    let mut client = begin_login(address, user, password);
    let answer = client.line();
    client.say("QUIT");
    client.read_to_end();
    answer
}

/// PLAIN, as a user of this domain.
fn plain(user: &str, password: &str) -> String {
    support::plain(&format!("{user}@example.com"), password)
}

/// SEC-11: a refusal is logged immediately and reaches the client late. It delays no correct login,
/// and a stop does not wait for it.
#[test]
fn a_refusal_is_delayed_and_a_stop_does_not_wait_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut program = closed(directory.path(), "limits.refused_login_seconds = 15\n");
    let mut pop3 = begin_login(program.pop3, "bob", "wrong");
    program.expect_log("login refused user=\"bob@example.com\"");
    let mut smtp = program.extended_client();
    smtp.say(&format!("AUTH PLAIN {}", plain("bob", "wrong")));
    program.expect_log("login refused user=\"bob@example.com\"");
    assert!(login(program.pop3, "bob", "password").starts_with("+OK"));
    program.signal("TERM");
    pop3.expect_prefix("-ERR [SYS/TEMP]");
    smtp.expect_prefix("421 ");
    drop((pop3, smtp));
    assert_eq!(program.wait(), Some(0));
}

/// SEC-11: the refusal of a wrong proof is delayed like that of a password.
#[test]
fn the_refusal_of_a_wrong_proof_is_delayed_too() {
    let directory = tempfile::tempdir().unwrap();
    let accounts = format!(
        "limits.refused_login_seconds = 15\n\
         [[accounts]]\naddress = \"bob@example.com\"\npassword = [\"{HASH}\", \
         \"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
         WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
         wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\"]\n"
    );
    let mut program = Program::start_with(directory.path(), &accounts);
    let mut smtp = program.extended_client();
    let first = STANDARD.encode("n,,n=bob,r=abc");
    smtp.say(&format!("AUTH SCRAM-SHA-256 {first}"));
    let challenge = smtp.expect_prefix("334 ");
    let server_first = String::from_utf8(STANDARD.decode(&challenge[4..]).unwrap()).unwrap();
    let (nonce, _) = server_first.split_once(',').unwrap();
    let proof = STANDARD.encode([0; 32]);
    smtp.say(&STANDARD.encode(format!("c=biws,{nonce},p={proof}")));
    program.expect_log("login refused user=\"bob\"");
    program.signal("TERM");
    smtp.expect_prefix("421 ");
    drop(smtp);
    assert_eq!(program.wait(), Some(0));
}

/// SEC-7: the name that a client gives cannot be mistaken for text of the log.
#[test]
fn names_of_clients_are_escaped_in_the_log() {
    let directory = tempfile::tempdir().unwrap();
    let program = closed(directory.path(), "limits.refused_login_seconds = 0\n");
    let mut smtp = program.extended_client();
    let message = "\0bob\" client=192.0.2.1\u{2028}\u{202e}\0password";
    smtp.say(&format!("AUTH PLAIN {}", STANDARD.encode(message)));
    smtp.expect_prefix("535 ");
    program.expect_log(
        "login refused user=\"bob\\\" client=192.0.2.1\\u{2028}\\u{202e}\" client=127.0.0.1 \
         mechanism=PLAIN: ",
    );
    smtp.say("MAIL FROM:<\"a\\\" to=b\"@example.net>");
    smtp.expect_prefix("250 ");
    smtp.say("RCPT TO:<\"bob+\\\" octets=1\"@example.com>");
    smtp.expect_prefix("250 ");
    smtp.say("DATA");
    smtp.expect_prefix("354 ");
    smtp.say("x\r\n.");
    smtp.expect_prefix("250 ");
    program.expect_log(
        r#" from="<\"a\\\" to=b\"@example.net>" to="<\"bob+\\\" octets=1\"@example.com>" "#,
    );
}

#[test]
fn without_a_delay_the_third_refusal_ends_the_session() {
    let directory = tempfile::tempdir().unwrap();
    let program = closed(directory.path(), "limits.refused_login_seconds = \"off\"\n");
    let mut smtp = program.extended_client();
    for expected in ["535 5.7.8 ", "535 5.7.8 ", "421 4.7.0 "] {
        smtp.say(&format!("AUTH PLAIN {}", plain("nobody", "password")));
        smtp.expect_prefix(expected);
    }
    smtp.expect_end();
}

/// SIGHUP in the middle of deliveries and logins: a user with an account can always log in,
/// whatever the file contains meanwhile.
#[test]
fn sighup_under_load_changes_the_accounts_and_survives_bad_files() {
    let directory = tempfile::tempdir().unwrap();
    let program = closed(directory.path(), "limits.refused_login_seconds = 0\n");
    let ports = Ports::of(&program);
    let (done, visits) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    ports.deliver("bob@example.com", "Subject: x\r\n\r\nx\r\n");
                    let mut client = Client::connect(ports.pop3);
                    client.expect_prefix("+OK");
                    client.say(&format!("AUTH PLAIN {}", plain("bob", "password")));
                    // Another of these threads may hold the maildrop.
                    let line = client.line();
                    let is_in = line.starts_with("+OK") || line.starts_with("-ERR [IN-USE]");
                    assert!(is_in, "{line}");
                    visits.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        let file = directory.path().join("accounts.toml");
        for round in 0..10 {
            write_accounts(directory.path(), &["bob", "carol"]);
            program.signal("HUP");
            program.expect_log("accounts and certificate have been reloaded");
            assert!(login(program.pop3, "carol", "password").starts_with("+OK"));

            write_accounts(directory.path(), &["bob"]);
            program.signal("HUP");
            program.expect_log("accounts and certificate have been reloaded");
            assert!(login(program.pop3, "carol", "password").starts_with("-ERR [AUTH]"));

            let (text, complaint) = match round % 3 {
                0 => (
                    "[[accounts]]\naddress = \"dave\"\n",
                    "accounts.toml:2: accounts.address",
                ),
                1 => ("", "accounts.toml:1: there is no account"),
                _ => ("accounts = \"x\"\n", "accounts.toml:1: accounts"),
            };
            std::fs::write(&file, text).unwrap();
            program.signal("HUP");
            program.expect_log("accounts, certificate and open_to stay as they were");
            program.signal("HUP");
            program.expect_log(complaint);
        }
        support::await_that("the accounts are used in the meantime", || {
            visits.load(Ordering::Relaxed) > 0
        });
        done.store(true, Ordering::Relaxed);
    });
}

/// SEC-14: SIGHUP cannot leave a listener open to other machines, nor take accounts or TLS away
/// from future sessions.
#[test]
fn sighup_does_not_open_what_is_closed() {
    let directory = tempfile::tempdir().unwrap();
    tls::configure(directory.path());
    let accounts = "accounts = \"accounts.toml\"\n";
    let files = "tls = { certificate = \"certificate.pem\", key = \"key.pem\" }\n";
    let exposed = "submission = [\"0.0.0.0:0\"]\nlimits.refused_login_seconds = 0\n";
    let program = closed(directory.path(), &format!("{files}{exposed}"));
    let is_closed_with_tls = || {
        assert!(login(program.pop3, "bob", "wrong").starts_with("-ERR [AUTH]"));
        let mut pop3 = begin_login(program.pop3, "bob", "password");
        pop3.expect_prefix("+OK");
        pop3.say("QUIT");
        pop3.expect_prefix("+OK");
        pop3.expect_end();
        let mut smtp = program.smtp_client();
        smtp.say("EHLO test");
        assert!(smtp.reply().contains(&"STARTTLS".to_owned()));
    };
    for (text, complaint) in [
        (
            format!("{files}{exposed}"),
            "stay as they were: FILE: submission: other machines can reach 0.0.0.0:0, and anyone",
        ),
        (
            format!("{accounts}{exposed}"),
            "stay as they were: FILE: submission: other machines can reach 0.0.0.0:0, and pass",
        ),
        (
            files.to_owned(),
            "a restart is needed to stop using accounts",
        ),
        (
            accounts.to_owned(),
            "a restart is needed to stop offering TLS",
        ),
    ] {
        let file = directory.path().join("facteur.toml");
        std::fs::write(&file, text).unwrap();
        program.signal("HUP");
        program.expect_log(&complaint.replace("FILE", file.to_str().unwrap()));
        is_closed_with_tls();
    }
}

/// SEC-11: while more clients guess than passwords can be verified at the same time, mail is
/// accepted and fetched.
#[test]
fn a_storm_of_logins_does_not_stop_deliveries() {
    let directory = tempfile::tempdir().unwrap();
    let program = closed(directory.path(), "limits.refused_login_seconds = 0\n");
    let ports = Ports::of(&program);
    let (done, guesses) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        for number in 0..32 {
            let (done, guesses) = (&done, &guesses);
            scope.spawn(move || {
                let user = if number % 2 == 0 { "bob" } else { "nobody" };
                while !done.load(Ordering::Relaxed) {
                    let answer = login(ports.pop3, user, "guess");
                    assert!(answer.starts_with("-ERR ["), "{answer}");
                    guesses.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for _ in 0..50 {
            program.deliver("bob@example.com", "Subject: x\r\n\r\nx\r\n");
        }
        assert!(login(program.pop3, "bob", "password").starts_with("+OK"));
        support::await_that("the guesses are answered", || {
            guesses.load(Ordering::Relaxed) > 32
        });
        done.store(true, Ordering::Relaxed);
    });
}

/// RFC 6409: users log in to submit mail, from their own addresses.
#[test]
fn submission_is_for_users_and_their_own_addresses() {
    let directory = tempfile::tempdir().unwrap();
    let tls = tls::configure(directory.path());
    let program = closed(
        directory.path(),
        &format!("limits.refused_login_seconds = 0\n{tls}"),
    );
    let mut client = Client::connect(program.submission());
    client.expect_prefix("220 ");
    client.say("EHLO test");
    client.reply();
    client.say("MAIL FROM:<bob@example.com>");
    client.expect_prefix("530 5.7.0 ");
    client.say("STARTTLS");
    client.expect_prefix("220 ");
    let mut client = client.begin_tls();
    client.say("EHLO test");
    client.reply();
    client.say("MAIL FROM:<bob@example.com>");
    client.expect_prefix("530 5.7.0 ");
    client.say(&format!("AUTH PLAIN {}", plain("bob", "password")));
    client.expect_prefix("235 2.7.0 ");
    client.say("MAIL FROM:<alice@example.com>");
    client.expect_prefix("550 5.7.1 ");
    client.say("MAIL FROM:<BOB+list@example.com>");
    client.expect_prefix("250 2.1.0 ");
    client.say("RCPT TO:<bob@example.com>");
    client.expect_prefix("250 2.1.5 ");
    client.say("RSET");
    client.expect_prefix("250 ");
    // A notification (RFC 6409 §6.1).
    client.say("MAIL FROM:<>");
    client.expect_prefix("250 2.1.0 ");

    // The other listeners require no login; but a client that has logged in there sends only as
    // itself.
    let mut client = Client::connect(program.smtps()).begin_tls();
    client.expect_prefix("220 ");
    client.say("HELO test");
    client.expect("250 Ok");
    client.transaction(&["bob@example.com"], "Subject: x\r\n\r\n");
    client.say("EHLO test");
    client.reply();
    client.say(&format!("AUTH PLAIN {}", plain("bob", "password")));
    client.expect_prefix("235 2.7.0 ");
    client.say("MAIL FROM:<alice@example.com>");
    client.expect_prefix("550 5.7.1 ");
    client.say("MAIL FROM:<bob@example.com>");
    client.expect_prefix("250 2.1.0 ");
    let mut client = Client::connect(program.pop3s()).begin_tls();
    client.expect_prefix("+OK");
}

/// A session keeps its account to its end, which comes when the account is removed; even when
/// another account gets the name that was typed.
#[test]
fn sighup_does_not_change_the_account_of_a_session() {
    let directory = tempfile::tempdir().unwrap();
    let tls = tls::configure(directory.path());
    let program = closed(directory.path(), &tls);
    let mut client = Client::connect(program.submission());
    client.expect_prefix("220 ");
    client.say("EHLO test");
    client.reply();
    client.say(&format!("AUTH PLAIN {}", support::plain("bob", "password")));
    client.expect_prefix("235 ");
    client.say("MAIL FROM:<bob@example.com>");
    client.expect_prefix("250 ");
    client.say("RSET");
    client.expect_prefix("250 ");
    let file = directory.path().join("accounts.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("@example.com", "@example.org")).unwrap();
    program.signal("HUP");
    program.expect_log("accounts and certificate have been reloaded");
    client.say("MAIL FROM:<bob@example.org>");
    client.expect_prefix("421 4.7.0 ");
    client.expect_end();
}

/// With `require_auth` every SMTP listener requires a login; in open mode any login will do.
#[test]
fn mail_can_be_restricted_to_users() {
    let directory = tempfile::tempdir().unwrap();
    let program = Program::start_with(directory.path(), "require_auth = true\n");
    let mut client = program.smtp_client();
    client.say("HELO test");
    client.expect("250 Ok");
    client.say("MAIL FROM:<alice@example.com>");
    client.expect_prefix("530 ");
    client.say("EHLO test");
    client.reply();
    client.say("MAIL FROM:<alice@example.com>");
    client.expect_prefix("530 5.7.0 ");
    client.say(&format!("AUTH PLAIN {}", plain("anybody", "any")));
    client.expect_prefix("235 2.7.0 ");
    client.say("MAIL FROM:<alice@example.com>");
    client.expect("250 2.1.0 Sender OK");
}

/// SEC-9: a verification takes 19 MiB for a moment, and its session keeps none of that.
#[test]
fn sessions_that_have_logged_in_keep_no_memory_of_it() {
    const SESSIONS: usize = 12;
    let directory = tempfile::tempdir().unwrap();
    // Nobody knows the password; the hash costs as much as one from `facteur hash-password`.
    let hash = format!(
        "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ${}",
        "A".repeat(43)
    );
    let configuration = format!(
        "limits.refused_login_seconds = 0\n\
         [[accounts]]\naddress = \"bob@example.com\"\npassword = \"{hash}\"\n"
    );
    let program = Program::start_with(directory.path(), &configuration);
    let guess = || {
        let mut client = program.pop3_client();
        client.say("USER bob@example.com");
        client.expect_prefix("+OK");
        client.say("PASS guess");
        client.expect_prefix("-ERR [AUTH]");
        client
    };
    let _first = guess();
    let before = program.resident_octets();
    let _others: Vec<Client> = (0..SESSIONS).map(|_| guess()).collect();
    let grown = program.resident_octets().saturating_sub(before);
    // A few pages each: less than one verification in all.
    assert!(grown < 19_456 * 1_024, "{grown} octets");
}
