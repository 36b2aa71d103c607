//! netcat and telnet: clients for people who want to see the protocol.

use std::process::Command;

use crate::daemon::{Service, dot_stuffed};
use crate::support::{Facteur, Typist, ascii_letter, command, letter, run, with_lf};

/// The first dialogue with the six fixed replies, as a HELO client sees it.
const DIALOGUE: &[(&str, &str)] = &[
    ("HELO example.com", "250 Ok"),
    ("MAIL FROM:<alice@example.com>", "250 Sender OK"),
    ("RCPT TO:<bob@example.com>", "250 Recipient OK"),
    ("DATA", "354 Envoyez votre mail"),
];

/// Everything that this client types, with LF.
fn typed(content: &str) -> String {
    let commands = DIALOGUE.iter().map(|(command, _)| format!("{command}\n"));
    commands.collect::<String>() + &with_lf(&dot_stuffed(content)) + "QUIT\n"
}

/// Everything that it reads.
fn answered() -> String {
    let mut lines = vec!["220 localhost ESMTP facteur"];
    lines.extend(DIALOGUE.iter().map(|(_, reply)| *reply));
    lines.extend(["250 OK", "221 Fermeture connexion"]);
    lines.join("\r\n") + "\r\n"
}

fn nc(options: &[&str], address: std::net::SocketAddr) -> Command {
    let mut nc = command("nc", options);
    nc.arg(address.ip().to_string())
        .arg(address.port().to_string());
    nc
}

#[test]
#[ignore = "needs nc installed; .ci/run installs it"]
fn nc_gets_the_six_replies_with_lf_and_with_crlf() {
    for options in [["-N"].as_slice(), &["-N", "-C"]] {
        let facteur = Facteur::start();
        let ended = run(&mut nc(options, facteur.smtp()), &typed(&letter()));
        assert_eq!(ended.succeeded(), answered(), "{options:?}");
        facteur.expect_only("bob@example.com", &letter());
        facteur.stop();
    }
}

#[test]
#[ignore = "needs nc installed; .ci/run installs it"]
fn nc_fetches_with_lf_and_with_crlf() {
    let facteur = Facteur::start();
    facteur.deliver("bob@example.com", &letter());
    let message = facteur.message("bob@example.com");
    let commands = "USER bob@example.com\nPASS any\nRETR 1\nQUIT\n";
    for options in [["-N"].as_slice(), &["-N", "-C"]] {
        let output = run(&mut nc(options, facteur.pop3()), commands).succeeded();
        assert!(output.starts_with("+OK facteur"), "{output}");
        assert!(
            output.contains(&format!("octets\r\n{}+OK", dot_stuffed(&message))),
            "{output}"
        );
    }
    facteur.stop();
}

/// Types the first dialogue, waiting for each reply. A terminal also shows what is typed.
fn converse(mut typist: Typist, shows_typing: bool) {
    let mut say = |line: &str, reply: Option<&str>| {
        typist.type_line(line);
        if shows_typing {
            typist.expect(line);
        }
        if let Some(reply) = reply {
            typist.expect(reply);
        }
    };
    for (command, reply) in DIALOGUE {
        say(command, Some(reply));
    }
    for line in dot_stuffed(&ascii_letter())
        .lines()
        .filter(|line| *line != ".")
    {
        say(line, None);
    }
    say(".", Some("250 OK"));
    say("QUIT", Some("221 Fermeture connexion"));
    typist.leave();
}

#[test]
#[ignore = "needs nc installed; .ci/run installs it"]
fn a_person_at_nc_gets_an_answer_to_every_line() {
    let facteur = Facteur::start();
    let mut typist = Typist::at(&mut nc(&[], facteur.smtp()));
    typist.expect("220 localhost ESMTP facteur");
    converse(typist, false);
    facteur.expect_only("bob@example.com", &ascii_letter());
    facteur.stop();
}

#[test]
#[ignore = "needs telnet installed; .ci/run installs it"]
fn telnet_gets_the_six_replies() {
    let facteur = Facteur::start();
    let port = facteur.smtp().port().to_string();
    let mut typist = Typist::at(&mut command("telnet", ["127.0.0.1", &port]));
    typist.expect_sometime("220 localhost ESMTP facteur");
    converse(typist, false);
    facteur.expect_only("bob@example.com", &ascii_letter());
    facteur.stop();
}

#[test]
#[ignore = "needs telnet installed; .ci/run installs it"]
fn a_person_at_telnet_on_a_terminal_sends_and_fetches() {
    let facteur = Facteur::start();
    let telnet = |address: std::net::SocketAddr| {
        let line = format!("telnet {} {}", address.ip(), address.port());
        Typist::at(&mut command("script", ["-qec", &line, "/dev/null"]))
    };
    let mut typist = telnet(facteur.smtp());
    typist.expect_sometime("220 localhost ESMTP facteur");
    for (command, reply) in DIALOGUE {
        typist.type_line(command);
        typist.expect_sometime(reply);
    }
    for line in ["Subject: typed", "", "Hello Bob"] {
        typist.type_line(line);
    }
    typist.type_line(".");
    typist.expect_sometime("250 OK");
    typist.type_line("QUIT");
    typist.expect_sometime("221 Fermeture connexion");
    typist.leave();
    facteur.expect_only("bob@example.com", "Subject: typed\r\n\r\nHello Bob\r\n");

    let mut typist = telnet(facteur.pop3());
    typist.expect_sometime("+OK facteur POP3 server ready");
    typist.type_line("USER bob@example.com");
    typist.type_line("PASS any");
    typist.type_line("RETR 1");
    typist.expect_sometime("Hello Bob");
    typist.expect(".");
    typist.type_line("DELE 1");
    typist.type_line("QUIT");
    typist.leave();
    assert!(facteur.contents("bob@example.com").is_empty());
    facteur.stop();
}
