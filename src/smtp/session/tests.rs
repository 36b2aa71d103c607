//! The session without a driver: what no transcript can show.

use std::sync::Arc;

use super::{Action, ContentEnd, Domain, Outcome, RecipientVerdict, Session, Settings, Step, Tls};
use crate::mail::{Charset, MailboxName};

fn settings() -> Settings {
    Settings {
        hostname: Domain::localhost(),
        message_octets_max: Some(1_000),
        recipients_max: Some(1_000),
        errors_max: Some(10),
        tls: Tls::NotOffered,
        authentication: true,
    }
}

/// A session that has greeted.
fn session(settings: Settings) -> Session {
    let mut session = Session::new(Arc::new(settings));
    session.greet();
    session
}

/// The reply of a step as it is sent.
fn reply(session: &Session, step: &Step) -> String {
    let mut out = Vec::new();
    if let Some(reply) = &step.reply {
        reply.render(session.is_extended(), &mut out);
    }
    String::from_utf8(out).expect("ASCII")
}

fn accepted() -> Outcome<'static> {
    let mailbox = MailboxName::from_canonical("bob", "example.com");
    Outcome::Recipient(RecipientVerdict::Accepted(mailbox.expect("canonical")))
}

/// A session after EHLO and these lines; look-ups and deliveries succeed. Gives the last step too.
fn after(lines: &[&str]) -> (Session, Step) {
    let mut session = session(settings());
    let mut step = session.resume(Outcome::Line(b"EHLO client.example"));
    for line in lines {
        step = session.resume(Outcome::Line(line.as_bytes()));
        if let Action::LookUpRecipient(_) = step.action {
            step = session.resume(accepted());
        }
        if let Action::BeginDelivery(_) = step.action {
            step = session.resume(Outcome::DeliveryBegun);
        }
    }
    (session, step)
}

#[test]
fn a_chunk_that_is_not_the_last_delivers_nothing() {
    let (mut session, _) = after(&["MAIL FROM:<>", "RCPT TO:<bob>", "BDAT 4"]);
    let step = session.resume(Outcome::Content(ContentEnd::Delivered));
    assert_eq!(step.action, Action::Close);
    assert_eq!(
        reply(&session, &step),
        "421 4.3.0 Internal error, closing\r\n"
    );
}

#[test]
fn replies_name_the_host_in_ascii() {
    let hostname = Domain::parse("bücher.example", Charset::Utf8).expect("a domain");
    let mut session = Session::new(Arc::new(Settings {
        hostname,
        ..settings()
    }));
    let step = session.greet();
    assert_eq!(
        reply(&session, &step),
        "220 xn--bcher-kva.example ESMTP facteur\r\n"
    );
    let step = session.resume(Outcome::Line(b"EHLO client.example"));
    assert!(reply(&session, &step).starts_with("250-xn--bcher-kva.example Ok\r\n"));
}
