//! TLS: how it begins, what is forgotten then, and what can go wrong.

use std::sync::Arc;

use facteur::mail::{Door, Service as Protocol};

use crate::support::program::Program;
use crate::support::{Client, Server, Service, await_some, tls::Pki};

/// SEC-3: TLS begins with STARTTLS, and the rest is as without.
#[test]
fn a_message_is_accepted_after_starttls() {
    let server = Server::with_tls("");
    let mut client = server.smtp_client();
    client.say("EHLO before");
    let keywords = client.reply();
    assert!(keywords.contains(&"STARTTLS".to_owned()), "{keywords:?}");
    client.say("STARTTLS");
    client.expect_prefix("220 2.0.0 ");
    let mut client = client.begin_tls();
    client.say("EHLO after");
    let keywords = client.reply();
    assert!(!keywords.contains(&"STARTTLS".to_owned()), "{keywords:?}");
    client.say("MAIL FROM:<alice@example.com>");
    client.expect("250 2.1.0 Sender OK");
    client.say("RCPT TO:<bob@example.com>");
    client.expect("250 2.1.5 Recipient OK");
    client.say("DATA");
    client.expect("354 Envoyez votre mail");
    client.send(b"Subject: sealed\r\n\r\nHello.\r\n.\r\n");
    client.expect_prefix("250 2.0.0 OK");
    client.say("QUIT");
    client.expect("221 2.0.0 Fermeture connexion");
    client.expect_end();

    let mut client = server.pop3_client();
    client.say("STLS");
    client.expect_prefix("+OK");
    let mut client = client.begin_tls();
    client.log_in("bob@example.com");
    let message = client.retrieve(1);
    // RFC 3848.
    assert!(message.contains("from after ([127.0.0.1])"), "{message}");
    assert!(message.contains(" with ESMTPS id "), "{message}");
    assert!(message.ends_with("\r\n\r\nHello.\r\n"), "{message}");
}

/// SEC-3.
#[test]
fn tls_can_begin_with_the_first_octet() {
    let server = Server::with_tls("");
    let smtps = server.address(Protocol::Smtp, Door::Tls);
    let mut client = Client::connect(smtps).begin_tls();
    client.expect("220 localhost ESMTP facteur");
    client.say("STARTTLS");
    client.expect_prefix("503 ");
    client.say("HELO test");
    client.expect("250 Ok");
    client.transaction(&["bob@example.com"], "Subject: x\r\n\r\n..\r\nHello\r\n");
    client.say("QUIT");
    client.expect("221 Fermeture connexion");
    client.expect_end();

    let pop3s = server.address(Protocol::Pop3, Door::Tls);
    let mut client = Client::connect(pop3s).begin_tls();
    client.expect_prefix("+OK");
    client.say("STLS");
    client.expect_prefix("-ERR");
    client.log_in("bob@example.com");
    assert!(client.retrieve(1).ends_with("\r\n..\r\nHello\r\n"));
    client.say("QUIT");
    client.expect_prefix("+OK");
    client.expect_end();
}

/// SEC-3: a large message goes both ways, in many records.
#[test]
fn a_large_message_goes_both_ways() {
    let server = Server::with_tls("");
    let line = "0123456789".repeat(97) + "\r\n";
    let content = format!("Subject: large\r\n\r\n{}", line.repeat(3_000));
    let smtps = server.address(Protocol::Smtp, Door::Tls);
    let mut client = Client::connect(smtps).begin_tls();
    client.expect_prefix("220 ");
    client.say("HELO test");
    client.expect("250 Ok");
    client.transaction(&["bob@example.com"], &content);
    let pop3s = server.address(Protocol::Pop3, Door::Tls);
    let mut client = Client::connect(pop3s).begin_tls();
    client.expect_prefix("+OK");
    client.log_in("bob@example.com");
    assert!(client.retrieve(1).ends_with(&content));
}

/// A client that announces early that it will send nothing more still gets everything that it
/// requested. The announcement must not stay unread in a socket that is closed: the connection
/// would be reset.
#[test]
fn a_client_that_closes_its_side_early_gets_the_whole_answer() {
    let server = Server::with_tls("");
    let line = "0123456789".repeat(97) + "\r\n";
    let content = format!("Subject: large\r\n\r\n{}", line.repeat(1_000));
    server.deliver("bob@example.com", &content);
    let pop3s = server.address(Protocol::Pop3, Door::Tls);
    let mut client = Client::connect(pop3s).begin_tls();
    // Most of the message must wait on the server's side.
    let socket = socket2::SockRef::from(client.socket());
    socket.set_recv_buffer_size(16_384).unwrap();
    client.expect_prefix("+OK");
    client.log_in("bob@example.com");
    client.send(b"RETR 1\r\nDELE 1\r\nQUIT\r\n");
    client.expect_prefix("+OK");
    client.half_close();
    let said = client.read_to_end();
    let message_and_end = format!("\r\n\r\n{}.\r\n+OK ", line.repeat(1_000));
    assert!(said.contains(&message_and_end), "{} octets", said.len());
    assert!(said.ends_with("(maildrop empty)\r\n"));
}

/// SEC-2: plain-text commands after the one that begins TLS are not executed.
#[test]
fn octets_behind_starttls_close_the_connection() {
    let server = Server::with_tls("");
    let mut client = server.smtp_client();
    client.send(b"EHLO test\r\nSTARTTLS\r\nMAIL FROM:<evil@example.com>\r\n");
    let said = client.read_to_end();
    assert!(
        !said.contains("220 2.0.0") && !said.contains("Sender OK"),
        "{said}"
    );

    let mut client = server.pop3_client();
    client.send(b"STLS\r\nUSER bob@example.com\r\n");
    let said = client.read_to_end();
    assert!(
        !said.contains("+OK Begin TLS") && !said.contains("PASS"),
        "{said}"
    );
}

/// SEC-2: the same for those that arrive after the answer, where TLS must begin.
#[test]
fn commands_in_clear_after_starttls_end_the_session() {
    let server = Server::with_tls("");
    let mut client = server.extended_client();
    client.say("STARTTLS");
    client.expect_prefix("220 ");
    client.send(b"MAIL FROM:<evil@example.com>\r\n");
    let mut alert = Vec::new();
    client.read_octets_to_end(&mut alert);
    // The content type of an alert (RFC 8446 §5.1), and no plain text.
    assert_eq!(alert.first(), Some(&21), "{}", alert.escape_ascii());
}

/// SEC-2 (RFC 3207 §4.2): the name that the client gave is forgotten.
#[test]
fn the_session_before_tls_is_forgotten() {
    let server = Server::with_tls("");
    let mut client = server.extended_client();
    client.say("STARTTLS");
    client.expect_prefix("220 ");
    let mut client = client.begin_tls();
    client.say("MAIL FROM:<alice@example.com>");
    client.expect_prefix("503 ");

    let mut client = server.pop3_client();
    client.say("USER bob@example.com");
    client.expect_prefix("+OK");
    client.say("STLS");
    client.expect_prefix("+OK");
    let mut client = client.begin_tls();
    client.say("PASS any");
    client.expect_prefix("-ERR");
}

/// SEC-3: both versions, and no other (the scan in `tests/clients` checks the versions that this
/// client does not have).
#[test]
fn versions_1_2_and_1_3_are_spoken() {
    let server = Server::with_tls("");
    let smtps = server.address(Protocol::Smtp, Door::Tls);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(Pki::shared().client(&[version]));
        let mut client = Client::connect(smtps).begin_tls_of(&config);
        client.expect_prefix("220 ");
        client.say("QUIT");
        client.expect_prefix("221 ");
    }
}

/// A client that does not trust the certificate only ends its own session.
#[test]
fn a_client_that_does_not_trust_the_certificate_harms_no_other() {
    let server = Server::with_tls("");
    let smtps = server.address(Protocol::Smtp, Door::Tls);
    let stranger = Arc::new(Pki::new().client(rustls::ALL_VERSIONS));
    let mut client = Client::connect(smtps).begin_tls_of(&stranger);
    assert!(client.fails(), "the certificate is not from its authority");
    let mut client = Client::connect(smtps).begin_tls();
    client.expect_prefix("220 ");
}

/// The second visit of a client is shorter: it resumes the session that it kept.
#[test]
fn a_session_of_tls_is_resumed() {
    let server = Server::with_tls("");
    let smtps = server.address(Protocol::Smtp, Door::Tls);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(Pki::shared().client(&[version]));
        let kinds = [(); 2].map(|()| {
            let mut client = Client::connect(smtps).begin_tls_of(&config);
            client.expect_prefix("220 ");
            client.say("QUIT");
            client.expect_prefix("221 ");
            client.expect_end();
            client.handshake_kind()
        });
        let expected = [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed];
        assert_eq!(kinds, expected, "{version:?}");
    }
}

/// An incomplete handshake holds a session no longer than a command would, whichever way TLS
/// begins.
#[test]
fn a_handshake_has_a_deadline() {
    let server = Server::with_tls("limits = { smtp_idle_seconds = 1, pop3_idle_seconds = 1 }\n");
    let mut smtps = Client::connect(server.address(Protocol::Smtp, Door::Tls));
    let mut pop3s = Client::connect(server.address(Protocol::Pop3, Door::Tls));
    // The beginning of a long record.
    let begin = [0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01];
    smtps.try_send(&begin);
    // If the test has to wait for its turn, the time can be over before the commands arrive.
    let mut upgraded = await_some("TLS may begin", || {
        let mut client = Client::connect(server.smtp);
        client.try_send(b"EHLO test\r\nSTARTTLS\r\n");
        let mut lines = std::iter::from_fn(|| client.try_line());
        let is_ready = lines.any(|line| line.starts_with("220 2.0.0 "));
        is_ready.then_some(client)
    });
    upgraded.try_send(&begin);
    for client in [&mut smtps, &mut pop3s, &mut upgraded] {
        let mut said = Vec::new();
        client.read_octets_to_end(&mut said);
        // An alert at most (RFC 8446 §5.1), and no plain text.
        assert!(
            matches!(said.first(), None | Some(21)),
            "{}",
            said.escape_ascii()
        );
    }
}

/// A stop does not wait for a client that never begins its handshake.
#[test]
fn a_stop_ends_a_handshake_that_never_begins() {
    let mut server = Server::with_tls("");
    let smtps = server.address(Protocol::Smtp, Door::Tls);
    let mut silent = Client::connect(smtps);
    let mut other = server.smtp_client();
    other.say("NOOP");
    other.expect_prefix("250 ");
    assert_eq!(server.stop(), 0);
    silent.expect_end();
}

/// Without a certificate nothing mentions TLS.
#[test]
fn tls_is_not_offered_without_a_certificate() {
    let server = Server::start();
    let mut client = server.smtp_client();
    client.say("EHLO test");
    let keywords = client.reply();
    assert!(!keywords.contains(&"STARTTLS".to_owned()), "{keywords:?}");
    client.say("STARTTLS");
    client.expect_prefix("502 ");
}

const FILES: &str = "tls = { certificate = \"certificate.pem\", key = \"key.pem\" }\n";

/// A session after STARTTLS, with a client that trusts only the authority of `pki`.
fn visit(program: &Program, pki: &Pki) -> Option<Client> {
    let mut client = program.extended_client();
    client.say("STARTTLS");
    client.expect_prefix("220 ");
    let config = Arc::new(pki.client(rustls::ALL_VERSIONS));
    let mut client = client.begin_tls_of(&config);
    if !client.try_send(b"NOOP\r\n") {
        return None;
    }
    client.expect_prefix("250 ");
    Some(client)
}

#[test]
fn sighup_reloads_the_certificate_and_keeps_the_old_one_if_the_new_one_is_bad() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (Pki::new(), Pki::new());
    first.write(directory.path());
    let program = Program::start_with(directory.path(), FILES);
    let mut through = visit(&program, &first).unwrap();

    second.write(directory.path());
    program.signal("HUP");
    program.expect_log("accounts and certificate have been reloaded");
    assert!(visit(&program, &first).is_none());
    program.expect_log("the client does not trust the authority that signed the certificate");
    visit(&program, &second).unwrap();

    let certificate = directory.path().join("certificate.pem");
    for (text, complaint) in [
        (
            first.certificate.as_str(),
            "the key does not belong to the certificate",
        ),
        ("", "certificate.pem: it contains no certificate"),
        (
            "-----BEGIN CERTIFICATE-----\nAA",
            "certificate.pem: the certificate is not a valid PEM",
        ),
    ] {
        std::fs::write(&certificate, text).unwrap();
        program.signal("HUP");
        program.expect_log(complaint);
        visit(&program, &second).unwrap();
    }
    std::fs::remove_file(&certificate).unwrap();
    program.signal("HUP");
    program.expect_log("certificate.pem: No such file");
    visit(&program, &second).unwrap();

    // Sessions with the first certificate were never disturbed.
    through.say("NOOP");
    through.expect_prefix("250 ");
}

#[test]
fn a_certificate_that_cannot_be_used_is_an_error_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let (first, second) = (Pki::new(), Pki::new());
    first.write(directory.path());
    std::fs::write(directory.path().join("key.pem"), &second.key).unwrap();
    let file = directory.path().join("facteur.toml");
    std::fs::write(&file, FILES).unwrap();
    for arguments in [&["--check", "--config"][..], &["--config"]] {
        let arguments = [arguments, &[file.to_str().unwrap()]].concat();
        let ended = crate::support::program::run(&arguments);
        assert_eq!(ended.status, Some(2), "{}", ended.errors);
        let complaint = "key.pem: the key does not belong to the certificate";
        assert!(ended.errors.contains(complaint), "{}", ended.errors);
    }
}

#[test]
fn an_expired_certificate_is_logged_at_the_start_and_after_sighup() {
    let directory = tempfile::tempdir().unwrap();
    let ended = Pki::with(|params| params.not_after = rcgen::date_time_ymd(2020, 1, 1));
    ended.write(directory.path());
    let program = Program::start_with(directory.path(), FILES);
    program.expect_log("the certificate has expired");
    program.signal("HUP");
    program.expect_log("the certificate has expired");
    drop(program);

    Pki::new().write(directory.path());
    let mut program = Program::start_with(directory.path(), FILES);
    ended.write(directory.path());
    program.signal("HUP");
    program.expect_log("the certificate has expired");
    program.signal("TERM");
    assert_eq!(program.wait(), Some(0));
}
