//! mpop and fetchmail: programs that fetch mail and deliver it elsewhere.

use std::path::Path;
use std::process::Command;

use crate::daemon::{Service, without_trace};
use crate::support::{Facteur, command, file_names, letter, run, with_lf};

/// mpop for bob, delivering into the Maildir `fetched`.
fn mpop(facteur: &Facteur, keep: &str, authentication: &str) -> Command {
    let address = facteur.pop3();
    let (host, port) = (address.ip(), address.port());
    let maildir = facteur.path("fetched");
    for directory in ["tmp", "new", "cur"] {
        std::fs::create_dir_all(maildir.join(directory)).unwrap();
    }
    let configuration = format!(
        "account default\nhost {host}\nport {port}\nuser bob@example.com\npassword any\ntls off\n\
         auth {authentication}\nkeep {keep}\nreceived_header off\nuidls_file {}\n\
         delivery maildir {}\n",
        facteur.path("uidls").display(),
        maildir.display()
    );
    let file = facteur.write("mpoprc", &configuration);
    let mut mpop = command("mpop", ["-C"]);
    mpop.arg(file);
    mpop
}

/// The contents of all files in a directory.
fn texts(directory: &Path) -> Vec<String> {
    let names = file_names(directory).into_iter();
    names
        .map(|name| std::fs::read_to_string(directory.join(name)).unwrap())
        .collect()
}

#[test]
#[ignore = "needs mpop installed; .ci/run installs it"]
fn mpop_fetches_each_message_once_and_keeps_it() {
    let facteur = Facteur::start();
    let new = facteur.path("fetched").join("new");
    let mut mpop = mpop(&facteur, "on", "plain");
    facteur.deliver("bob@example.com", &letter());
    run(&mut mpop, "").succeeded();
    assert_eq!(texts(&new), [with_lf(&facteur.message("bob@example.com"))]);
    facteur.deliver("bob@example.com", "Subject: second\r\n\r\n");
    run(&mut mpop, "").succeeded();
    run(&mut mpop, "").succeeded();
    assert_eq!(
        texts(&new).len(),
        2,
        "mpop recognises by the unique-ids what it has fetched"
    );
    assert_eq!(facteur.contents("bob@example.com").len(), 2);
    facteur.stop();
}

#[test]
#[ignore = "needs mpop installed; .ci/run installs it"]
fn mpop_removes_what_it_has_fetched() {
    for authentication in ["user", "plain", "login"] {
        let facteur = Facteur::start();
        facteur.deliver("bob@example.com", &letter());
        let message = facteur.message("bob@example.com");
        run(&mut mpop(&facteur, "off", authentication), "").succeeded();
        assert_eq!(
            texts(&facteur.path("fetched").join("new")),
            [with_lf(&message)]
        );
        assert!(facteur.contents("bob@example.com").is_empty());
        facteur.stop();
    }
}

/// fetchmail for bob with these options in its configuration.
fn fetchmail(facteur: &Facteur, options: &str) -> Command {
    let address = facteur.pop3();
    let (host, port) = (address.ip(), address.port());
    let configuration = format!(
        "set invisible\npoll {host} service {port} protocol pop3 uidl\n\
         username \"bob@example.com\" password \"any\" is \"carol@example.com\" here\n\
         sslproto '' no rewrite fetchall {options}\n"
    );
    let file = facteur.write("fetchmailrc", &configuration);
    let mut fetchmail = command("fetchmail", ["--nosyslog", "-f"]);
    fetchmail
        .arg(file)
        .arg("--idfile")
        .arg(facteur.path("fetchids"));
    fetchmail
        .arg("--pidfile")
        .arg(facteur.path("fetchmail.pid"));
    fetchmail.env("FETCHMAILHOME", facteur.path(""));
    fetchmail
}

#[test]
#[ignore = "needs fetchmail installed; .ci/run installs it"]
fn fetchmail_forwards_to_another_mailbox() {
    let facteur = Facteur::start();
    facteur.deliver("bob@example.com", &letter());
    let message = facteur.message("bob@example.com");
    let port = facteur.smtp().port();
    let mut fetchmail = fetchmail(&facteur, &format!("nokeep smtphost 127.0.0.1/{port}"));
    run(&mut fetchmail, "").succeeded();
    let forwarded = facteur.contents("carol@example.com");
    // The Return-Path becomes the envelope's sender; everything else is below the new trace
    // headers.
    let (_, below_return_path) = message.split_once("\r\n").unwrap();
    assert_eq!(forwarded, [below_return_path]);
    assert_eq!(without_trace(&message), letter());
    assert!(facteur.contents("bob@example.com").is_empty());
    facteur.stop();
}

#[test]
#[ignore = "needs fetchmail installed; .ci/run installs it"]
fn fetchmail_hands_over_and_keeps() {
    let facteur = Facteur::start();
    facteur.deliver("bob@example.com", &letter());
    let file = facteur.path("handed-over");
    let options = format!("keep mda \"cat > {}\"", file.display());
    run(&mut fetchmail(&facteur, &options), "").succeeded();
    let handed_over = std::fs::read_to_string(file).unwrap();
    assert!(handed_over.ends_with(&with_lf(&letter())), "{handed_over}");
    facteur.expect_only("bob@example.com", &letter());
    facteur.stop();
}
