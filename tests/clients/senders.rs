//! swaks and msmtp: programs that send.

use std::process::Command;

use crate::daemon::Service;
use crate::pages;
use crate::support::{Facteur, command, letter, run, with_lf};

/// swaks, sending `content` to bob. It ends the content with an additional line ending.
fn swaks(facteur: &Facteur, content: &str) -> Command {
    let data = facteur.write("content", content.strip_suffix("\r\n").unwrap());
    let server = facteur.smtp().to_string();
    let mut swaks = command("swaks", ["--server", &server, "--data"]);
    swaks.arg(format!("@{}", data.display()));
    swaks.args(["--from", "alice@example.com", "--to", "bob@example.com"]);
    swaks
}

#[test]
#[ignore = "needs swaks installed; .ci/run installs it"]
fn swaks_sends_in_each_of_its_modes() {
    let login = ["--auth-user", "alice@example.com", "--auth-password", "any"];
    for (options, protocol) in [
        (["--protocol", "SMTP"].as_slice(), " with SMTP id "),
        (&["--protocol", "ESMTP"], " with ESMTP id "),
        (&["--pipeline"], " with ESMTP id "),
        (
            &[&["--auth", "PLAIN"], login.as_slice()].concat(),
            " with ESMTPA id ",
        ),
        (
            &[&["--auth", "LOGIN"], login.as_slice()].concat(),
            " with ESMTPA id ",
        ),
        (
            &[&["--pipeline", "--auth", "PLAIN"], login.as_slice()].concat(),
            " with ESMTPA id ",
        ),
    ] {
        let facteur = Facteur::start();
        run(swaks(&facteur, &letter()).args(options), "").succeeded();
        facteur.expect_only("bob@example.com", &letter());
        let message = facteur.message("bob@example.com");
        assert!(message.contains(protocol), "{options:?}: {message}");
        facteur.stop();
    }
}

#[test]
#[ignore = "needs swaks installed; .ci/run installs it"]
fn swaks_sends_to_many_recipients() {
    let facteur = Facteur::start();
    let recipients: Vec<String> = (1..=50).map(|n| format!("user{n}@example.com")).collect();
    run(
        swaks(&facteur, &letter()).args(["--pipeline", "--to", &recipients.join(",")]),
        "",
    )
    .succeeded();
    for recipient in &recipients {
        facteur.expect_only(recipient, &letter());
    }
    facteur.stop();
}

/// msmtp with the configuration from the guide and these lines.
fn msmtp(facteur: &Facteur, lines: &str) -> Command {
    let port = facteur.smtp().port().to_string();
    let configuration = pages::file("msmtprc").replace("65434", &port);
    let file = facteur.write("msmtprc", &(configuration + lines));
    let mut msmtp = command("msmtp", ["-C"]);
    msmtp
        .arg(file)
        .args(["--", "bob@example.com", "eve@example.com"]);
    msmtp
}

#[test]
#[ignore = "needs msmtp installed; .ci/run installs it"]
fn msmtp_sends_with_and_without_a_login() {
    let login = "user alice@example.com\npassword any\n";
    for (lines, protocol) in [
        (String::new(), " with ESMTP id "),
        (pages::file("msmtprc with a login"), " with ESMTPA id "),
        (format!("{login}auth login"), " with ESMTPA id "),
    ] {
        let facteur = Facteur::start();
        run(&mut msmtp(&facteur, &lines), &with_lf(&letter())).succeeded();
        for user in ["bob@example.com", "eve@example.com"] {
            facteur.expect_only(user, &letter());
        }
        let message = facteur.message("bob@example.com");
        assert!(message.contains(protocol), "{lines:?}: {message}");
        facteur.stop();
    }
}
