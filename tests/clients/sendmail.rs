//! PHP, git, mutt and neomutt, with `facteur sendmail` as their sendmail.

use std::path::PathBuf;
use std::process::Command;

use crate::daemon::Service;
use crate::pages;
use crate::support::{Facteur, command, run, with_lf};

/// Lets a program find the program under test, and nothing of the user who runs the tests.
fn at_home<'a>(facteur: &Facteur, program: &'a mut Command) -> &'a mut Command {
    let tested = PathBuf::from(env!("CARGO_BIN_EXE_facteur"));
    let tested = tested.parent().unwrap().display();
    let path = format!("{tested}:{}", std::env::var("PATH").unwrap());
    let home = facteur.path("");
    program
        .env("PATH", path)
        .env("HOME", &home)
        .current_dir(home)
}

/// Lines of the guide that name the command, for this daemon.
fn lines(facteur: &Facteur, name: &str) -> String {
    let configuration = format!("smtp = [\"{}\"]\n", facteur.smtp());
    let file = facteur.write("client.toml", &configuration);
    let with_file = format!("facteur sendmail -C {}", file.display());
    let lines = pages::file(name);
    assert!(lines.contains("facteur sendmail"), "{lines}");
    lines.replace("facteur sendmail", &with_file)
}

#[test]
#[ignore = "needs php installed; .ci/run installs it"]
fn php_sends() {
    let facteur = Facteur::start();
    let ini = facteur.write("php.ini", &lines(&facteur, "php.ini"));
    let script = r#"
        $sent = mail("bob@example.com", "From PHP", "one\n.\nthree\n",
            ["From" => "Alice <alice@example.com>", "Bcc" => "eve@example.com"],
            "-falice@example.com");
        exit($sent ? 0 : 1);
    "#;
    let mut php = command("php", ["-c"]);
    php.arg(ini).args(["-r", script]);
    run(at_home(&facteur, &mut php), "").succeeded();
    let message = facteur.message("bob@example.com");
    assert!(
        message.starts_with("Return-Path: <alice@example.com>\r\n"),
        "{message}"
    );
    let message = with_lf(&message);
    assert!(
        message.contains("\nFrom: Alice <alice@example.com>\n"),
        "{message}"
    );
    assert!(message.contains("\n\none\n.\nthree\n"), "{message}");
    assert!(!message.contains("Bcc"), "{message}");
    assert_eq!(facteur.contents("eve@example.com").len(), 1);
    facteur.stop();
}

#[test]
#[ignore = "needs git send-email installed; .ci/run installs it"]
fn git_sends_a_patch() {
    let facteur = Facteur::start();
    let user = "[user]\n    name = Alice\n    email = alice@example.com\n";
    facteur.write(".gitconfig", &(lines(&facteur, "gitconfig") + user));
    let patch = "From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\n\
                 From: Alice <alice@example.com>\nDate: Thu, 1 Jan 2026 00:00:00 +0000\n\
                 Subject: [PATCH] Add a dot\n\n---\n dot | 1 +\n.\n";
    facteur.write("0001.patch", patch);
    let mut git = command("git", ["send-email", "--quiet", "--confirm=never"]);
    git.args([
        "--to",
        "Bob <bob@example.com>",
        "--suppress-cc=all",
        "0001.patch",
    ]);
    run(at_home(&facteur, &mut git), "").succeeded();
    let message = with_lf(&facteur.message("bob@example.com"));
    assert!(
        message.starts_with("Return-Path: <alice@example.com>\n"),
        "{message}"
    );
    assert!(
        message.contains("\nSubject: [PATCH] Add a dot\n"),
        "{message}"
    );
    assert!(message.ends_with("\n\n---\n dot | 1 +\n.\n"), "{message}");
    facteur.stop();
}

#[test]
#[ignore = "needs mutt and neomutt installed; .ci/run installs them"]
fn mutt_and_neomutt_send() {
    for program in ["mutt", "neomutt"] {
        let facteur = Facteur::start();
        let more = "set from=alice@example.com\nset use_envelope_from=yes\nset copy=no\n\
                    set send_charset=us-ascii:utf-8\n";
        let file = facteur.write("muttrc", &(lines(&facteur, "muttrc with sendmail") + more));
        let mut mutt = command(program, ["-n", "-F"]);
        mutt.arg(file)
            .args(["-s", "Bücher", "-b", "eve@example.com"]);
        mutt.args(["--", "bob@example.com"]);
        run(
            at_home(&facteur, &mut mutt).env("LC_ALL", "C.UTF-8"),
            "one\n.\nbücher\n",
        )
        .succeeded();
        let message = with_lf(&facteur.message("bob@example.com"));
        assert!(
            message.starts_with("Return-Path: <alice@example.com>\n"),
            "{message}"
        );
        assert!(message.ends_with("\n\none\n.\nbücher\n"), "{message}");
        assert_eq!(facteur.contents("eve@example.com").len(), 1, "{program}");
        facteur.stop();
    }
}
