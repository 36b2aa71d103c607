//! The end of the daemon: work in progress is finished, and waiting clients are told.

use crate::support::{Client, Server, Service, dot_stuffed, own_address};

/// A daemon whose ports nobody takes after it has released them.
fn alone() -> Server {
    let address = own_address();
    Server::with(&format!(
        "smtp = [\"{address}:0\"]\npop3 = [\"{address}:0\"]\n"
    ))
}

#[test]
fn waiting_sessions_get_a_reply_and_are_closed() {
    let mut server = Server::start();
    let mut smtp = server.smtp_client();
    let mut pop3 = server.pop3_client();
    let mut logged_in = server.maildrop("bob@example.com");
    assert_eq!(server.stop(), 0);
    smtp.expect_prefix("421 ");
    smtp.expect_end();
    for client in [&mut pop3, &mut logged_in] {
        client.expect_prefix("-ERR [SYS/TEMP]");
        client.expect_end();
    }
}

#[test]
fn a_content_in_progress_is_finished_and_kept() {
    let mut server = alone();
    let mut client = server.smtp_client();
    client.say("HELO test");
    client.expect("250 Ok");
    client.begin_content(&["bob@example.com"]);
    client.send(b"Subject: in time\r\n");
    let finisher = std::thread::Builder::new()
        .spawn(move || {
            // Stopping closes the listening sockets first: when a connection fails, it has begun.
            while let Ok(stream) = std::net::TcpStream::connect(client.peer()) {
                drop(stream);
            }
            client.send(dot_stuffed("\r\nbody\r\n").as_bytes());
            client.expect("250 OK");
            client.expect_prefix("421 ");
            client.expect_end();
        })
        .unwrap();
    let mail = server.mail();
    assert_eq!(server.stop(), 0, "all sessions ended in time");
    finisher.join().unwrap();
    let new = mail.join("example.com/bob/new");
    assert_eq!(std::fs::read_dir(new).unwrap().count(), 1);
}

#[test]
fn no_connection_is_accepted_after_the_stop() {
    let mut server = alone();
    server.stop();
    assert!(std::net::TcpStream::connect(server.smtp).is_err());
    assert!(std::net::TcpStream::connect(server.pop3).is_err());
}

#[test]
fn the_store_can_be_served_again_after_the_stop() {
    let mut server = Server::start();
    server.deliver("bob@example.com", "one\r\n");
    server.restart();
    server.deliver("bob@example.com", "two\r\n");
    let mut contents = server.contents("bob@example.com");
    // Within one second the order between two daemons is not kept.
    contents.sort();
    assert_eq!(contents, ["one\r\n", "two\r\n"]);
}

#[test]
fn a_session_that_quits_is_closed_by_the_server() {
    let server = Server::start();
    let mut client = Client::connect(server.smtp);
    client.send(b"QUIT\r\nNOOP\r\n");
    client.try_send(&b"NOOP\r\n".repeat(100_000));
    client.expect("220 localhost ESMTP facteur");
    client.expect("221 Fermeture connexion");
    client.expect_end();
}

/// People delete all mail by removing its directory, even under a running daemon.
#[test]
fn a_removed_mail_directory_is_created_again() {
    let server = Server::start();
    for content in ["one\r\n", "two\r\n"] {
        server.deliver("bob@example.com", content);
        assert_eq!(server.contents("bob@example.com"), [content]);
        std::fs::remove_dir_all(server.mail()).unwrap();
        assert_eq!(server.contents("bob@example.com"), [""; 0]);
    }
    // The store still belongs only to us (I11).
    server.deliver("bob@example.com", "three\r\n");
    let second = crate::support::program::run_on("127.0.0.1:0", &server.mail());
    assert_eq!(second.status, Some(75));
}
