//! Python's smtplib, poplib and mailbox. The scripts check the results.

use std::process::Command;

use crate::daemon::Service;
use crate::support::{Facteur, command, letter, run};

/// Python with a script and the two ports as the script's first arguments.
fn python(facteur: &Facteur, script: &str) -> Command {
    let mut python = command("python3", ["-X", "utf8", "-c", script]);
    python
        .arg(facteur.smtp().port().to_string())
        .arg(facteur.pop3().port().to_string());
    python
}

#[test]
#[ignore = "needs python3 installed; .ci/run installs it"]
fn smtplib_sends_and_poplib_fetches() {
    let facteur = Facteur::start();
    let script = include_str!("python/send_and_fetch.py");
    run(&mut python(&facteur, script), &letter()).succeeded();
    facteur.expect_only("bob@example.com", &letter());
    facteur.stop();
}

#[test]
#[ignore = "needs python3 installed; .ci/run installs it"]
fn smtplib_and_poplib_speak_utf8() {
    let facteur = Facteur::start();
    let script = include_str!("python/internationalised.py");
    run(&mut python(&facteur, script), "").succeeded();
    facteur.stop();
}

#[test]
#[ignore = "needs python3 installed; .ci/run installs it"]
fn smtplib_sends_many_messages_in_one_session() {
    let facteur = Facteur::start();
    let script = include_str!("python/many.py");
    run(&mut python(&facteur, script), "").succeeded();
    assert_eq!(facteur.contents("bob@example.com").len(), 200);
    facteur.stop();
}

#[test]
#[ignore = "needs python3 installed; .ci/run installs it"]
fn mailbox_reads_the_maildir_and_what_it_adds_is_served() {
    let facteur = Facteur::start();
    facteur.deliver("bob@example.com", &letter());
    let script = include_str!("python/maildir.py");
    let mut python = python(&facteur, script);
    run(
        python.arg(facteur.maildir("bob")),
        &facteur.message("bob@example.com"),
    )
    .succeeded();
    let contents = facteur.maildrop("bob@example.com").count();
    assert_eq!(contents, 2);
    facteur.stop();
}
