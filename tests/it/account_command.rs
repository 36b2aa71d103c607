//! `facteur account` beside a running daemon.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::program::{Ended, Program, run_with};
use crate::support::{Service, plain};

/// Runs `facteur account` for the daemon in `directory`, with this standard input.
fn account(directory: &Path, arguments: &[&str], input: &str) -> Ended {
    let configuration = directory.join("facteur.toml");
    let mail = directory.join("mail");
    let mut all = vec!["--mail", mail.to_str().unwrap(), "account"];
    all.extend(arguments);
    all.extend(["--config", configuration.to_str().unwrap()]);
    run_with(&all, input)
}

/// The POP3 response to a password.
fn login(program: &Program, user: &str, password: &str) -> String {
    let mut client = program.pop3_client();
    client.say(&format!("USER {user}"));
    client.expect_prefix("+OK");
    client.say(&format!("PASS {password}"));
    client.line()
}

#[test]
fn a_running_daemon_reloads_its_accounts() {
    let own = tempfile::tempdir().unwrap();
    let made = account(own.path(), &["add", "bob@example.com"], "hunter2\n");
    assert_eq!(made.status, Some(0), "{}", made.errors);
    assert!(
        made.output
            .contains("Restart facteur: while it has no accounts"),
        "{}",
        made.output
    );
    let program = Program::start(own.path());
    assert!(login(&program, "bob", "hunter2").starts_with("+OK"));
    assert!(login(&program, "alice", "hunter3").starts_with("-ERR [AUTH]"));

    let added = account(own.path(), &["add", "alice@example.com"], "hunter3\n");
    assert_eq!(added.status, Some(0), "{}", added.errors);
    let told = format!(
        "asked the daemon (process {}) to reload its accounts",
        program.proc().file_name().unwrap().display()
    );
    assert!(added.output.contains(&told), "{}", added.output);
    let file = std::fs::metadata(own.path().join("accounts.toml")).unwrap();
    assert_eq!(file.permissions().mode() & 0o777, 0o600);
    program.expect_log("closed to all but 2 accounts");
    program.expect_log("accounts and certificate have been reloaded");
    assert!(login(&program, "alice", "hunter3").starts_with("+OK"));

    let changed = account(own.path(), &["password", "alice@example.com"], "hunter4\n");
    assert!(changed.output.contains(&told), "{}", changed.output);
    program.expect_log("accounts and certificate have been reloaded");
    assert!(login(&program, "alice", "hunter3").starts_with("-ERR [AUTH]"));
    assert!(login(&program, "alice", "hunter4").starts_with("+OK"));

    let removed = account(own.path(), &["remove", "alice@example.com"], "");
    assert!(removed.output.contains(&told), "{}", removed.output);
    program.expect_log("accounts and certificate have been reloaded");
    assert!(login(&program, "alice", "hunter4").starts_with("-ERR [AUTH]"));
    let listed = account(own.path(), &["list"], "");
    assert_eq!(listed.output, "bob@example.com\n");
    drop(program);
    let changed = account(
        own.path(),
        &["password", "bob@example.com", "--generate"],
        "",
    );
    assert!(
        changed.output.contains("no daemon serves"),
        "{}",
        changed.output
    );
}

/// A user who lost the account must not stay logged in; other users stay, and transactions in
/// progress are finished.
#[test]
fn sessions_of_an_account_that_changed_end_at_their_next_command() {
    let own = tempfile::tempdir().unwrap();
    for (user, password) in [
        ("bob", "hunter2\n"),
        ("alice", "hunter3\n"),
        ("eve", "hunter4\n"),
    ] {
        let made = account(
            own.path(),
            &["add", &format!("{user}@example.com")],
            password,
        );
        assert_eq!(made.status, Some(0), "{}", made.errors);
    }
    let program = Program::start(own.path());
    let users = [("bob", "hunter2"), ("alice", "hunter3"), ("eve", "hunter4")];
    let mut smtp = users.map(|(user, password)| {
        let mut client = program.extended_client();
        client.say(&format!("AUTH PLAIN {}", plain(user, password)));
        client.expect_prefix("235 2.7.0 ");
        client
    });
    for client in &mut smtp {
        client.say("MAIL FROM:<>");
        client.expect_prefix("250 ");
        client.say("RCPT TO:<eve@example.com>");
        client.expect_prefix("250 ");
        client.say("DATA");
        client.expect_prefix("354 ");
    }
    let mut pop3 = users.map(|(user, password)| {
        let mut client = program.pop3_client();
        client.say(&format!("USER {user}"));
        client.expect_prefix("+OK");
        client.say(&format!("PASS {password}"));
        client.expect_prefix("+OK");
        client
    });

    let changed = account(
        own.path(),
        &["password", "bob@example.com", "--generate"],
        "",
    );
    assert_eq!(changed.status, Some(0), "{}", changed.errors);
    program.expect_log("accounts and certificate have been reloaded");
    let removed = account(own.path(), &["remove", "alice@example.com"], "");
    assert_eq!(removed.status, Some(0), "{}", removed.errors);
    program.expect_log("accounts and certificate have been reloaded");

    for (user, client) in users.iter().zip(&mut smtp) {
        let stays = user.0 == "eve";
        client.say("Subject: under way\r\n\r\n.");
        client.expect_prefix("250 2.0.0 OK");
        client.say("MAIL FROM:<>");
        if stays {
            client.expect_prefix("250 ");
        } else {
            client.expect_prefix("421 4.7.0 ");
            client.expect_end();
        }
    }
    for (user, client) in users.iter().zip(&mut pop3) {
        client.say("STAT");
        if user.0 == "eve" {
            client.expect_prefix("+OK 0 ");
        } else {
            client.expect_prefix("-ERR [AUTH] ");
            client.expect_end();
            program.expect_log(&format!("login revoked mailbox=\"{}@example.com\"", user.0));
        }
    }
}

/// A daemon that has read no configuration has no accounts, and SIGHUP would stop it.
#[test]
fn a_daemon_without_a_configuration_is_left_alone() {
    let own = tempfile::tempdir().unwrap();
    let program = Program::start(own.path());
    let first = account(own.path(), &["add", "bob@example.com"], "hunter2\n");
    assert_eq!(first.status, Some(0), "{}", first.errors);
    let second = account(own.path(), &["add", "alice@example.com"], "hunter3\n");
    assert!(
        second.output.contains("send SIGHUP to the daemon"),
        "{}",
        second.output
    );
    // A signal would be in the log before the next session.
    assert!(login(&program, "alice", "any").starts_with("-ERR"));
    let lines = program.stop();
    assert!(
        !lines.iter().any(|line| line.contains("SIGHUP")),
        "{lines:?}"
    );
}

/// Every user of the machine could read a password on a command line.
#[test]
fn a_password_is_never_an_argument() {
    let own = tempfile::tempdir().unwrap();
    for arguments in [
        &["add", "bob@example.com", "hunter2"][..],
        &["add", "bob@example.com", "--password", "hunter2"],
    ] {
        let ended = account(own.path(), arguments, "");
        assert_eq!(ended.status, Some(2), "{}", ended.output);
        assert!(!own.path().join("facteur.toml").exists());
    }
}
