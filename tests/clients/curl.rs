//! curl: sends with smtp://, lists, fetches and deletes with pop3://.

use crate::daemon::Service;
use crate::support::{Ended, Facteur, command, file_names, letter, run, with_lf};

/// Sends `content` with curl.
fn send(facteur: &Facteur, arguments: &[&str], content: &str) -> Ended {
    let mut curl = command(
        "curl",
        ["-sS", "--mail-from", "alice@example.com", "-T", "-"],
    );
    curl.args(arguments)
        .arg(format!("smtp://{}/client.example.com", facteur.smtp()));
    run(&mut curl, content)
}

/// Requests `path` of bob's maildrop with curl.
fn fetch(facteur: &Facteur, arguments: &[&str], path: &str) -> Ended {
    let mut curl = command("curl", ["-sS", "-u", "bob@example.com:any"]);
    curl.args(arguments)
        .arg(format!("pop3://{}/{path}", facteur.pop3()));
    run(&mut curl, "")
}

#[test]
#[ignore = "needs curl installed; .ci/run installs it"]
fn a_letter_goes_to_each_recipient_and_comes_back_octet_for_octet() {
    let facteur = Facteur::start();
    let to = [
        "--mail-rcpt",
        "bob@example.com",
        "--mail-rcpt",
        "Eve@EXAMPLE.com",
    ];
    send(&facteur, &to, &letter()).succeeded();
    facteur.expect_only("eve@example.com", &letter());
    let fetched = fetch(&facteur, &[], "1").succeeded();
    assert_eq!(fetched, facteur.message("bob@example.com"));
    assert!(fetched.ends_with(&letter()), "{fetched}");
    facteur.stop();
}

#[test]
#[ignore = "needs curl installed; .ci/run installs it"]
fn a_file_with_lf_is_sent_with_the_option_crlf() {
    let facteur = Facteur::start();
    let to = ["--mail-rcpt", "bob@example.com", "--crlf"];
    send(&facteur, &to, &with_lf(&letter())).succeeded();
    facteur.expect_only("bob@example.com", &letter());
    facteur.stop();
}

#[test]
#[ignore = "needs curl installed; .ci/run installs it"]
fn a_file_with_lf_is_accepted_from_this_machine_without_it() {
    let facteur = Facteur::start();
    let to = ["--mail-rcpt", "bob@example.com"];
    // curl does not double a dot after a bare LF, and sends a CRLF before the last dot if a file
    // does not end in one.
    let received = "Subject: x\r\n\r\n.x\r\n\r\nx\r\n\r\n";
    send(&facteur, &to, "Subject: x\n\n.x\n\nx\n").succeeded();
    facteur.expect_only("bob@example.com", received);
    // The octets that some servers mistake for the end of the message.
    let ended = send(&facteur, &to, "Subject: x\n\n.\nx\n");
    assert_ne!(ended.status, Some(0));
    facteur.expect_only("bob@example.com", received);
    facteur.stop();
}

#[test]
#[ignore = "needs curl installed; .ci/run installs it"]
fn curl_logs_in_to_send() {
    let facteur = Facteur::start();
    for mechanism in ["PLAIN", "LOGIN"] {
        let to = format!("{}@example.com", mechanism.to_ascii_lowercase());
        let option = format!("AUTH={mechanism}");
        let arguments = [
            "-u",
            "alice@example.com:any",
            "--login-options",
            &option,
            "--mail-rcpt",
            &to,
        ];
        send(&facteur, &arguments, &letter()).succeeded();
        let message = facteur.message(&to);
        assert!(message.contains(" with ESMTPA id "), "{message}");
        facteur.expect_only(&to, &letter());
    }
    facteur.stop();
}

#[test]
#[ignore = "needs curl installed; .ci/run installs it"]
fn an_address_in_utf8_becomes_a_directory_in_ascii() {
    let facteur = Facteur::start();
    send(&facteur, &["--mail-rcpt", "josé@bücher.example"], &letter()).succeeded();
    let maildir = facteur
        .path("mail")
        .join("xn--bcher-kva.example")
        .join("jos%c3%a9");
    assert_eq!(file_names(&maildir.join("new")).len(), 1);
    facteur.stop();
}

#[test]
#[ignore = "needs curl installed; .ci/run installs it"]
fn curl_lists_reads_and_deletes() {
    let facteur = Facteur::start();
    facteur.deliver("bob@example.com", &letter());
    facteur.deliver("bob@example.com", "Subject: second\r\n\r\nbody\r\n");
    let ids = facteur.unique_ids("bob@example.com");
    let octets = facteur.message("bob@example.com").len();

    let listing = fetch(&facteur, &[], "").succeeded();
    assert!(
        listing.starts_with(&format!("1 {octets}\r\n2 ")),
        "{listing}"
    );
    let unique_ids = fetch(&facteur, &["-X", "UIDL"], "").succeeded();
    assert_eq!(unique_ids, format!("1 {}\r\n2 {}\r\n", ids[0], ids[1]));
    let top = fetch(&facteur, &["-X", "TOP 2 0"], "").succeeded();
    assert!(top.ends_with("Subject: second\r\n\r\n"), "{top}");
    fetch(&facteur, &["-I", "-X", "DELE"], "1").succeeded();
    assert_eq!(facteur.unique_ids("bob@example.com"), ids[1..]);
    assert_ne!(
        fetch(&facteur, &[], "2").status,
        Some(0),
        "message 2 is gone"
    );
    facteur.stop();
}

#[test]
#[ignore = "needs curl installed; .ci/run installs it"]
fn a_large_letter_streams_through() {
    let facteur = Facteur::start();
    let mut content = letter();
    while content.len() < 20 * 1_024 * 1_024 {
        content.push_str(".this line is stuffed and unstuffed on its way\r\n");
    }
    send(&facteur, &["--mail-rcpt", "bob@example.com"], &content).succeeded();
    let fetched = fetch(&facteur, &[], "1").succeeded();
    // Not assert_eq: the difference would be unreadable.
    assert!(fetched.ends_with(&content));
    facteur.stop();
}
