//! Closed mode: a daemon with accounts, over both protocols.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::support::program::{Program, run};
use crate::support::{Client, HASH, Server, Service, plain};

/// The accounts of these tests.
fn accounts() -> String {
    format!(
        "abuse = \"alice@example.com\"\n\
         catch_all = {{ \"example.org\" = \"alice@example.com\" }}\n\
         [[accounts]]\n\
         address = \"bob@example.com\"\n\
         password = \"{HASH}\"\n\
         aliases = [\"robert@example.com\"]\n\
         [[accounts]]\n\
         address = \"alice@example.com\"\n\
         password = \"{HASH}\"\n"
    )
}

/// A daemon whose accounts are in a separate file.
fn closed() -> Server {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("accounts.toml");
    std::fs::write(&file, accounts()).unwrap();
    Server::with(&format!(
        "accounts = \"{}\"\nlimits.refused_login_seconds = 0\n",
        file.display()
    ))
}

/// A POP3 client that is logged in with the right password.
fn log_in(server: &impl Service, user: &str) -> Client {
    let mut client = server.pop3_client();
    client.say(&format!("USER {user}"));
    client.expect_prefix("+OK");
    client.say("PASS password");
    client.expect_prefix("+OK");
    client
}

#[test]
fn only_accounts_receive_mail() {
    let server = closed();
    let mut smtp = server.extended_client();
    smtp.say("MAIL FROM:<eve@example.net>");
    smtp.expect("250 2.1.0 Sender OK");
    let mut of_bob = 0;
    for (recipient, expected) in [
        ("bob@example.com", "bob"),
        ("BOB+news@Example.com", "bob"),
        ("robert@example.com", "bob"),
        ("robert+news@example.com", "bob"),
        ("postmaster", "bob"),
        ("Postmaster@example.org", "bob"),
        ("abuse@example.com", "alice"),
        ("alice@example.com", "alice"),
        ("anybody@example.org", "alice"),
        ("nobody@example.com", "550 5.1.1 No such mailbox here"),
        ("bobby@example.com", "550 5.1.1 No such mailbox here"),
        ("nobody+bob@example.com", "550 5.1.1 No such mailbox here"),
        ("bob@example.net", "550 5.7.1"),
        ("bob@localhost", "550 5.7.1"),
        ("bob", "550 5.7.1"),
    ] {
        smtp.say(&format!("RCPT TO:<{recipient}>"));
        let reply = smtp.line();
        if expected.starts_with('5') {
            assert!(reply.starts_with(expected), "{recipient}: {reply}");
        } else {
            assert_eq!(reply, "250 2.1.5 Recipient OK", "{recipient}");
            smtp.say("DATA");
            smtp.expect("354 Envoyez votre mail");
            smtp.say(&format!("{recipient}\r\n."));
            smtp.expect_prefix("250 2.0.0 OK");
            let mut pop3 = log_in(&server, expected);
            let count = pop3.count();
            assert!(
                pop3.retrieve(count)
                    .ends_with(&format!("\r\n{recipient}\r\n"))
            );
            of_bob += usize::from(expected == "bob");
            pop3.say("QUIT");
            pop3.expect_prefix("+OK");
            pop3.expect_end();
            smtp.say("MAIL FROM:<eve@example.net>");
            smtp.expect("250 2.1.0 Sender OK");
        }
    }
    assert_eq!(log_in(&server, "bob@example.com").count(), of_bob);
    // An alias does not have its own mailbox.
    let mailboxes = std::fs::read_dir(server.mail().join("example.com")).unwrap();
    let mut names: Vec<_> = mailboxes.map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["alice", "bob"]);
    assert!(!server.mail().join("example.org").exists());
}

/// With accounts, facteur accepts only what other servers accept.
#[test]
fn with_accounts_dots_are_accepted_only_between_atoms() {
    let server = closed();
    let mut smtp = server.extended_client();
    smtp.say("MAIL FROM:<eve.@example.net>");
    smtp.expect_prefix("501 5.1.7 ");
    smtp.say("MAIL FROM:<eve@example.net>");
    smtp.expect("250 2.1.0 Sender OK");
    for recipient in ["b..ob@example.org", ".bob@example.org", "bob.@example.org"] {
        smtp.say(&format!("RCPT TO:<{recipient}>"));
        smtp.expect_prefix("501 5.1.3 ");
    }
    smtp.say("RCPT TO:<\"b..ob\"@example.org>");
    smtp.expect("250 2.1.5 Recipient OK");
}

/// SEC-11: the same text, whether the user exists or not.
#[test]
fn a_wrong_password_and_an_unknown_user_look_the_same() {
    let server = closed();
    let mut smtp_texts = std::collections::BTreeSet::new();
    let mut pop3_texts = std::collections::BTreeSet::new();
    for (user, password) in [
        ("bob@example.com", "Password"),
        ("bob", "any"),
        ("nobody@example.com", "password"),
        ("nobody", "password"),
        ("robert@example.com", "password"),
        ("bob@@", "password"),
    ] {
        let mut smtp = server.extended_client();
        smtp.say(&format!("AUTH PLAIN {}", plain(user, password)));
        smtp_texts.insert(smtp.line());
        smtp.say("AUTH LOGIN");
        smtp.expect_prefix("334 ");
        smtp.say(&STANDARD.encode(user));
        smtp.expect_prefix("334 ");
        smtp.say(&STANDARD.encode(password));
        smtp_texts.insert(smtp.line());
        let mut pop3 = server.pop3_client();
        pop3.say(&format!("USER {user}"));
        pop3.expect("+OK Send your password with PASS");
        pop3.say(&format!("PASS {password}"));
        pop3_texts.insert(pop3.line());
        pop3.say(&format!("AUTH PLAIN {}", plain(user, password)));
        pop3_texts.insert(pop3.line());
    }
    assert_eq!(smtp_texts.len(), 1, "{smtp_texts:?}");
    assert!(
        smtp_texts.first().unwrap().starts_with("535 5.7.8 "),
        "{smtp_texts:?}"
    );
    assert_eq!(pop3_texts.len(), 1, "{pop3_texts:?}");
    assert!(
        pop3_texts.first().unwrap().starts_with("-ERR [AUTH] "),
        "{pop3_texts:?}"
    );
}

#[test]
fn the_right_password_opens_the_account() {
    let server = closed();
    for user in ["bob@example.com", "Bob@EXAMPLE.com", "bob", "BOB"] {
        let mut smtp = server.extended_client();
        smtp.say(&format!("AUTH PLAIN {}", plain(user, "password")));
        smtp.expect_prefix("235 2.7.0 ");
        let mut pop3 = server.pop3_client();
        pop3.say(&format!("AUTH PLAIN {}", plain(user, "password")));
        pop3.expect_prefix("+OK Maildrop has ");
        // It is the same maildrop under every name.
        let mut second = server.pop3_client();
        second.say("USER bob@example.com");
        second.expect_prefix("+OK");
        second.say("PASS password");
        second.expect_prefix("-ERR [IN-USE]");
        pop3.say("QUIT");
        pop3.expect_prefix("+OK");
        pop3.expect_end();
    }
}

#[test]
fn the_program_is_closed_by_a_file_beside_its_configuration() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("accounts.toml");
    std::fs::write(&file, accounts()).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let configuration = directory.path().join("facteur.toml");
    std::fs::write(&configuration, "accounts = \"accounts.toml\"\n").unwrap();
    let checked = run(&["--check", "--config", configuration.to_str().unwrap()]);
    let warning = "accounts.toml contains password hashes, and other users can read it";
    assert_eq!(checked.status, Some(0), "{}", checked.errors);
    assert!(checked.errors.contains(warning), "{}", checked.errors);
    let mut program = Program::start_unready(directory.path());
    program.expect_log("accounts.toml contains password hashes, and other users can read it");
    program.expect_log("closed to all but 2 accounts");
    program.expect_log("ready");
    assert!(
        program.banner[5].contains("RCPT TO:<bob@example.com>"),
        "{:?}",
        program.banner
    );
    assert!(
        program.banner[6].contains("-u bob@example.com pop3:"),
        "{:?}",
        program.banner
    );
    let mut pop3 = program.pop3_client();
    pop3.say("USER bob");
    pop3.expect_prefix("+OK");
    pop3.say("PASS any");
    pop3.expect_prefix("-ERR [AUTH]");
    program.expect_log(
        "login refused user=\"bob\" client=127.0.0.1 mechanism=USER: wrong user name or password",
    );
    drop(log_in(&program, "bob"));
    program.kill();
    // A mistake in the file is reported with its place, and nothing is served.
    std::fs::write(&file, accounts().replace(HASH, "hunter2")).unwrap();
    for flag in ["--check", "--log-level=info"] {
        let ended = run(&[flag, "--config", configuration.to_str().unwrap()]);
        assert_eq!(ended.status, Some(2), "{}", ended.errors);
        let place = format!(
            "{}:5: accounts.password of bob@example.com: ",
            file.display()
        );
        assert!(ended.errors.contains(&place), "{}", ended.errors);
        assert!(!ended.errors.contains("hunter2"), "{}", ended.errors);
    }
}
