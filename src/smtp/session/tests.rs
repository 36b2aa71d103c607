//! The session without a driver: what transcripts cannot show.

use std::sync::Arc;

use proptest::{collection::vec, prelude::*, sample::select};

use super::Session;
use super::transaction::Phase;
use crate::mail::limits::AUTH_LINE_OCTETS_MAX;
use crate::mail::sasl::scram;
use crate::mail::{
    ChannelBindings, Charset, Closing, Domain, Dots, Ending, Foreign, Link, MailboxName, Tls,
};
use crate::smtp::{
    Action, ContentEnd, DeliveryFailure, Dialect, Framing, MailboxFailure, Outcome,
    RecipientVerdict, Senders, Settings, Step, Submission, limits,
};
use crate::testing::facts;

/// AUTH PLAIN for the user bob with the password sesame.
const AUTH_PLAIN: &str = "AUTH PLAIN AGJvYgBzZXNhbWU=";

/// The messages of the client in RFC 7677 §3.
const AUTH_SCRAM: &str = "AUTH SCRAM-SHA-256 biwsbj11c2VyLHI9ck9wck5HZndFYmVSV2diTkVrcU8=";
const SCRAM_FINAL: &str = "Yz1iaXdzLHI9ck9wck5HZndFYmVSV2diTkVrcU8laHZZRHBXVWEyUmFUQ0FmdXhGSWxqK\
                           WhObEYkazAscD1kSHpiWmFwV0lrNGpVaE4rVXRlOXl0YWc5empmTUhnc3FtbWl6N0FuZF\
                           ZRPQ==";

/// To read a command.
const READ_COMMAND: Action = Action::ReadLine {
    octets_max: limits::COMMAND_LINE_OCTETS_MAX,
};

const CLOSE: Action = Action::Close(Closing::Refused);

/// Whether the driver has a delivery open.
fn has_delivery(session: &Session) -> bool {
    matches!(
        session.transaction.phase,
        Phase::Content | Phase::Chunks { .. }
    )
}

/// Whether there are recipients, or can be, in a transaction whose content has not begun.
fn has_envelope(session: &Session) -> bool {
    matches!(session.transaction.phase, Phase::Envelope(_))
}

fn settings() -> Settings {
    Settings {
        hostname: Domain::localhost(),
        message_octets_max: Some(1_000),
        recipients_max: Some(1_000),
        errors_max: Some(10),
        scram: true,
        senders: Senders::Anybody,
        dialect: Dialect::Smtp,
        local_dots: Dots::Anywhere,
        http_port: None,
    }
}

/// A connection within this machine that offers TLS.
fn local() -> Link {
    Link {
        tls: Tls::Offered,
        is_local: true,
    }
}

/// A session that has greeted.
fn session(settings: Settings) -> Session {
    session_on(local(), settings)
}

/// A session on this connection that has greeted.
fn session_on(link: Link, settings: Settings) -> Session {
    let mut session = Session::new(Arc::new(settings), link);
    session.greet();
    session
}

/// A session after EHLO and these lines, in which every request succeeds.
fn after(lines: &[&str]) -> Session {
    let mut session = session(settings());
    say(&mut session, "EHLO client.example");
    for line in lines {
        say(&mut session, line);
    }
    session
}

/// The same on a submission listener.
fn submission(lines: &[&str]) -> Session {
    let mut session = session(Settings {
        senders: Senders::Authenticated,
        ..settings()
    });
    say(&mut session, "EHLO client.example");
    for line in lines {
        say(&mut session, line);
    }
    session
}

fn accepted() -> Outcome<'static> {
    let mailbox = MailboxName::from_canonical("bob", "example.com");
    Outcome::Recipient(RecipientVerdict::Accepted(mailbox.expect("canonical")))
}

fn scram_begun() -> Outcome<'static> {
    Outcome::ScramBegun(facts::scram_parameters())
}

fn proof_accepted() -> Outcome<'static> {
    Outcome::ProofAccepted { signature: [7; 32] }
}

fn line(session: &mut Session, line: &str) -> Step {
    session.resume(Outcome::Line(line.as_bytes()))
}

/// Sends a line, lets its request succeed, and returns the reply.
fn say(session: &mut Session, text: &str) -> String {
    let mut step = line(session, text);
    loop {
        let outcome = match step.action {
            Action::LookUpRecipient(_) => accepted(),
            Action::CheckPassword { .. } => Outcome::PasswordAccepted,
            Action::BeginScram { .. } => scram_begun(),
            Action::CheckProof { .. } => proof_accepted(),
            Action::CheckSender(_) => Outcome::SenderPermitted,
            Action::BeginDelivery(_) => Outcome::DeliveryBegun,
            Action::AbandonTransaction => Outcome::TransactionAbandoned,
            Action::Continue => Outcome::Continued,
            Action::DiscardChunk { .. } => Outcome::ChunkDiscarded,
            Action::StartTls => {
                session.resume(Outcome::TlsStarted(ChannelBindings::default()));
                return reply(&step);
            }
            Action::ReadLine { .. } | Action::ReceiveContent(_) | Action::Close(_) => {
                return reply(&step);
            }
        };
        step = session.resume(outcome);
    }
}

/// The reply of a step as sent.
fn reply(step: &Step) -> String {
    let mut out = Vec::new();
    if let Some(reply) = &step.reply {
        reply.render(&mut out);
    }
    String::from_utf8(out).expect("ASCII")
}

/// Sends lines and compares the beginnings of the replies.
fn check(session: &mut Session, dialogue: &[(&str, &str)]) {
    for (text, expect) in dialogue {
        let found = say(session, text);
        assert!(found.starts_with(expect), "{text}: {found}");
    }
}

#[test]
fn a_chunk_that_is_not_the_last_delivers_nothing() {
    let mut session = after(&["MAIL FROM:<>", "RCPT TO:<bob>", "BDAT 4"]);
    let step = session.resume(Outcome::Content(ContentEnd::Delivered));
    assert_eq!(step.action, CLOSE);
    let text = reply(&step);
    assert_eq!(text, "421 4.3.0 Internal error, closing\r\n");
}

/// An LMTP session after LHLO, whose message for these is on its way.
fn handing_in(recipients: usize) -> Session {
    let mut session = session(Settings {
        dialect: Dialect::Lmtp,
        ..settings()
    });
    say(&mut session, "LHLO mx.example");
    say(&mut session, "MAIL FROM:<>");
    for _ in 0..recipients {
        say(&mut session, "RCPT TO:<bob>");
    }
    say(&mut session, "DATA");
    session
}

/// RFC 2033 §4.2: in the order of the recipients.
#[test]
fn over_lmtp_each_recipient_has_a_reply() {
    let mut session = handing_in(3);
    let failures = vec![
        None,
        Some(MailboxFailure::Full),
        Some(MailboxFailure::Unavailable),
    ];
    let mut step = session.resume(Outcome::Content(ContentEnd::DeliveredToSome(failures)));
    for expect in [
        "250 2.0.0 OK\r\n",
        "452 4.2.2 The mailbox is full; try again later\r\n",
        "451 4.2.0 The mailbox cannot accept mail at the moment; try again later\r\n",
    ] {
        assert_eq!(reply(&step), expect);
        if step.action == Action::Continue {
            step = session.resume(Outcome::Continued);
        }
    }
    assert_eq!(step.action, READ_COMMAND);
    check(
        &mut session,
        &[
            ("DATA", "503 5.5.1 Name the sender"),
            ("MAIL FROM:<>", "250 "),
        ],
    );
}

/// An acknowledgement for a recipient whose mailbox was not reported would lose mail.
#[test]
fn over_lmtp_a_report_that_does_not_fit_ends_the_session() {
    for failures in [vec![None], vec![None; 3]] {
        let end = || Outcome::Content(ContentEnd::DeliveredToSome(failures.clone()));
        for mut session in [
            handing_in(2),
            after(&["MAIL FROM:<>", "RCPT TO:<bob>", "DATA"]),
        ] {
            let step = session.resume(end());
            assert_eq!(step.action, CLOSE);
            assert_eq!(reply(&step), "421 4.3.0 Internal error, closing\r\n");
        }
    }
}

#[test]
fn replies_name_the_host_in_ascii() {
    let hostname = Domain::parse("bücher.example", Charset::Utf8).expect("a domain");
    let settings = Settings {
        hostname,
        ..settings()
    };
    let mut session = Session::new(Arc::new(settings), local());
    let step = session.greet();
    let greeting = reply(&step);
    assert_eq!(greeting, "220 xn--bcher-kva.example ESMTP facteur\r\n");
    let ehlo = say(&mut session, "EHLO client.example");
    assert!(
        ehlo.starts_with("250-xn--bcher-kva.example Ok\r\n"),
        "{ehlo}"
    );
}

/// Creates an outcome: they cannot be cloned.
type Make = fn() -> Outcome<'static>;

/// Outcomes that are the result of an action, by name.
const RESULTS: [(&str, Make); 24] = [
    ("line", || Outcome::Line(b"NOOP")),
    ("long line", || Outcome::LineTooLong),
    ("line fault", || Outcome::LineEndingFault("a bare LF")),
    ("foreign", || Outcome::ForeignProtocol(Foreign::Other)),
    ("recipient", accepted),
    ("accepted", || Outcome::PasswordAccepted),
    ("refused", || Outcome::PasswordRefused),
    ("unchecked", || Outcome::CheckFailed),
    ("scram", scram_begun),
    ("proven", proof_accepted),
    ("permitted", || Outcome::SenderPermitted),
    ("not permitted", || Outcome::SenderNotPermitted),
    ("begun", || Outcome::DeliveryBegun),
    ("not begun", || {
        Outcome::DeliveryFailed(DeliveryFailure::Full)
    }),
    ("delivered", || Outcome::Content(ContentEnd::Delivered)),
    ("received", || Outcome::Content(ContentEnd::ChunkReceived)),
    ("failed", || {
        Outcome::Content(ContentEnd::Failed(DeliveryFailure::Full))
    }),
    ("too large", || Outcome::Content(ContentEnd::TooLarge)),
    ("overrun", || Outcome::Content(ContentEnd::Overrun)),
    ("content fault", || {
        Outcome::Content(ContentEnd::LineEndingFault("a bare LF"))
    }),
    ("abandoned", || Outcome::TransactionAbandoned),
    ("discarded", || Outcome::ChunkDiscarded),
    ("continued", || Outcome::Continued),
    ("tls", || Outcome::TlsStarted(ChannelBindings::default())),
];

/// The names of a line, and of what can come instead of a line.
const LINE_RESULTS: &[&str] = &["line", "long line", "line fault", "foreign"];

/// Sessions that wait for something, and the names of its results.
fn waiting_sessions() -> Vec<(Session, &'static [&'static str])> {
    let begun = |command| after(&["MAIL FROM:<>", "RCPT TO:<bob>", command]);
    let asked = |lines: &[&str], last| {
        let mut session = after(lines);
        line(&mut session, last);
        session
    };
    let mut sender = submission(&[AUTH_PLAIN]);
    line(&mut sender, "MAIL FROM:<bob@example.com>");
    vec![
        (after(&[]), LINE_RESULTS),
        (after(&["AUTH LOGIN"]), LINE_RESULTS),
        (asked(&["MAIL FROM:<>"], "RCPT TO:<bob>"), &["recipient"]),
        (
            asked(&[], AUTH_PLAIN),
            &["accepted", "refused", "unchecked"],
        ),
        (asked(&[], AUTH_SCRAM), &["scram", "unchecked"]),
        (sender, &["permitted", "not permitted", "unchecked"]),
        (
            asked(&[AUTH_SCRAM], SCRAM_FINAL),
            &["proven", "refused", "unchecked"],
        ),
        (after(&[AUTH_SCRAM, SCRAM_FINAL]), LINE_RESULTS),
        (
            asked(&["MAIL FROM:<>", "RCPT TO:<bob>"], "DATA"),
            &["begun", "not begun"],
        ),
        (
            asked(&["MAIL FROM:<>", "RCPT TO:<bob>"], "BDAT 4"),
            &["begun", "not begun"],
        ),
        (
            begun("DATA"),
            &[
                "delivered",
                "failed",
                "too large",
                "overrun",
                "content fault",
            ],
        ),
        (
            begun("BDAT 4"),
            &[
                "received",
                "failed",
                "too large",
                "overrun",
                "content fault",
            ],
        ),
        (
            begun("BDAT 4 LAST"),
            &[
                "delivered",
                "failed",
                "too large",
                "overrun",
                "content fault",
            ],
        ),
        (
            asked(&["MAIL FROM:<>", "RCPT TO:<bob>"], "RSET"),
            &["abandoned"],
        ),
        (asked(&[], "BDAT 4"), &["discarded"]),
        (asked(&[], "STARTTLS"), &["tls"]),
        (after(&["QUIT"]), &[]),
    ]
}

#[test]
fn a_result_of_another_action_closes() {
    for (name, outcome) in RESULTS {
        for (mut session, answers) in waiting_sessions() {
            let waiting = format!("{:?}", session.waiting);
            let step = session.resume(outcome());
            let out_of_step = reply(&step).contains("Internal error");
            assert_eq!(out_of_step, !answers.contains(&name), "{name}: {waiting}");
            if out_of_step {
                assert_eq!(step.action, CLOSE, "{name}: {waiting}");
                assert!(!has_delivery(&session), "{name}: {waiting}");
            }
        }
    }
}

#[test]
fn an_interruption_closes_in_every_state() {
    let table: [(Make, &str); 7] = [
        (
            || Outcome::Ended(Ending::NotOpen),
            "421 4.3.2 This server is no longer open",
        ),
        (
            || Outcome::Ended(Ending::IdleTimeout),
            "421 4.4.2 Timeout: no complete line",
        ),
        (
            || Outcome::Ended(Ending::TooSlow),
            "421 4.4.2 Timeout: the content",
        ),
        (
            || Outcome::Ended(Ending::SessionTimeout),
            "421 4.4.2 The session has lasted",
        ),
        (
            || Outcome::Ended(Ending::ShuttingDown),
            "421 4.3.2 The service is shutting",
        ),
        (
            || Outcome::Ended(Ending::Displaced),
            "421 4.3.2 Too many connections from",
        ),
        (
            || Outcome::Ended(Ending::Revoked),
            "421 4.7.0 The account was removed or its",
        ),
    ];
    for (outcome, expect) in table {
        for (mut session, _) in waiting_sessions() {
            let step = session.resume(outcome());
            let text = reply(&step);
            assert!(text.starts_with(expect), "{:?}: {text}", outcome());
            assert_eq!(step.action, CLOSE);
            assert!(!has_delivery(&session));
        }
    }
}

#[test]
fn a_submission_contains_what_the_client_sent() {
    let mut session = after(&[
        AUTH_PLAIN,
        "MAIL FROM:<alice@example.com> SIZE=900 BODY=8BITMIME SMTPUTF8",
        "RCPT TO:<bob@example.com>",
    ]);
    let step = line(&mut session, "RCPT TO:<Zoë@example.com>");
    assert!(matches!(step.action, Action::LookUpRecipient(_)));
    session.resume(accepted());
    let Action::BeginDelivery(submission) = line(&mut session, "DATA").action else {
        panic!("no delivery is begun");
    };
    let Submission {
        envelope,
        client_name,
    } = *submission;
    assert_eq!(client_name, "client.example");
    assert_eq!(envelope.reverse_path.to_string(), "<alice@example.com>");
    let first = envelope.first_forward_path.map(|path| path.to_string());
    assert_eq!(first.as_deref(), Some("<bob@example.com>"));
    assert_eq!(envelope.recipients.len(), 2);
    assert_eq!(envelope.declared_octets, Some(900));
    assert_eq!(format!("{:?}", envelope.body), "EightBitMime");
    assert_eq!(envelope.protocol.to_string(), "UTF8SMTPA");
}

#[test]
fn the_driver_keeps_a_delivery_from_its_beginning_to_its_end() {
    assert!(has_envelope(&after(&["MAIL FROM:<>", "RCPT TO:<bob>"])));
    for ending in ["RSET", "EHLO x", "DATA", "BDAT 4"] {
        let session = after(&["MAIL FROM:<>", "RCPT TO:<bob>", ending]);
        assert!(!has_envelope(&session), "{ending}");
    }
    for (lines, expect) in [
        (&["MAIL FROM:<>", "RCPT TO:<bob>"][..], false),
        (&["MAIL FROM:<>", "RCPT TO:<bob>", "DATA"], true),
        (&["MAIL FROM:<>", "RCPT TO:<bob>", "BDAT 4"], true),
        (&["MAIL FROM:<>", "BDAT 4"], false),
        (&["MAIL FROM:<>", "RCPT TO:<bob>", "BDAT 1001"], false),
    ] {
        assert_eq!(has_delivery(&after(lines)), expect, "{lines:?}");
    }
    for ending in ["RSET", "EHLO x", "HELO x", "QUIT", "BDAT 1001", "BDAT"] {
        let mut session = after(&["MAIL FROM:<>", "RCPT TO:<bob>", "BDAT 4"]);
        session.resume(Outcome::Content(ContentEnd::ChunkReceived));
        assert!(has_delivery(&session));
        let step = line(&mut session, ending);
        assert!(!has_delivery(&session), "{ending}");
        let drops_it = matches!(
            step.action,
            Action::AbandonTransaction | Action::DiscardChunk { .. } | Action::Close(_)
        );
        assert!(drops_it, "{ending}: {step:?}");
    }
    for passing in [
        "NOOP",
        "VRFY x",
        "DATA",
        "RCPT TO:<x>",
        "MAIL FROM:<>",
        "FROB",
    ] {
        let mut session = after(&["MAIL FROM:<>", "RCPT TO:<bob>", "BDAT 4"]);
        session.resume(Outcome::Content(ContentEnd::ChunkReceived));
        line(&mut session, passing);
        assert!(has_delivery(&session), "{passing}");
    }
}

#[test]
fn a_delivery_that_cannot_begin_or_end_is_refused_temporarily() {
    for (failure, expect) in [
        (DeliveryFailure::Full, "452 4.3.1 "),
        (DeliveryFailure::Busy, "452 4.3.1 "),
        (DeliveryFailure::Transient, "451 4.3.0 "),
    ] {
        let mut session = after(&["MAIL FROM:<>", "RCPT TO:<bob>"]);
        line(&mut session, "DATA");
        let step = session.resume(Outcome::DeliveryFailed(failure));
        assert!(reply(&step).starts_with(expect));
        assert_eq!(step.action, READ_COMMAND);
        check(
            &mut session,
            &[("DATA", "503 5.5.1 "), ("MAIL FROM:<>", "250 ")],
        );

        for command in ["DATA", "BDAT 4 LAST"] {
            let mut session = after(&["MAIL FROM:<>", "RCPT TO:<bob>", command]);
            let step = session.resume(Outcome::Content(ContentEnd::Failed(failure)));
            assert!(reply(&step).starts_with(expect), "{command}");
            check(
                &mut session,
                &[("DATA", "503 5.5.1 "), ("MAIL FROM:<>", "250 ")],
            );
        }
    }
}

/// RFC 3030 §2: the chunk is read before the reply, and RSET is needed afterwards.
#[test]
fn a_chunk_whose_delivery_cannot_begin_is_discarded() {
    let mut session = after(&["MAIL FROM:<>", "RCPT TO:<bob>"]);
    line(&mut session, "BDAT 4");
    let step = session.resume(Outcome::DeliveryFailed(DeliveryFailure::Full));
    assert_eq!(
        (&step.reply, &step.action),
        (&None, &Action::DiscardChunk { octets: 4 })
    );
    assert!(!has_delivery(&session));
    let step = session.resume(Outcome::ChunkDiscarded);
    assert!(reply(&step).starts_with("452 4.3.1 "));
    check(
        &mut session,
        &[
            ("MAIL FROM:<>", "503 5.5.1 An earlier chunk"),
            ("BDAT 4 LAST", "503 5.5.1 An earlier chunk"),
            ("MAIL FROM:<>", "250 2.1.0 "),
        ],
    );
}

#[test]
fn content_is_requested_with_the_limit() {
    let mut session = after(&["MAIL FROM:<>", "RCPT TO:<bob>"]);
    line(&mut session, "DATA");
    let step = session.resume(Outcome::DeliveryBegun);
    let octets_max = Some(1_000);
    assert_eq!(
        step.action,
        Action::ReceiveContent(Framing::Dot { octets_max })
    );

    let mut session = after(&["MAIL FROM:<>", "RCPT TO:<bob>"]);
    line(&mut session, "BDAT 1000 LAST");
    let step = session.resume(Outcome::DeliveryBegun);
    let chunk = Framing::Chunk {
        octets: 1_000,
        last: true,
    };
    assert_eq!(
        (step.reply, step.action),
        (None, Action::ReceiveContent(chunk))
    );
}

#[test]
fn every_verdict_on_a_recipient_has_its_reply() {
    for (verdict, expect) in [
        (RecipientVerdict::Unknown, "550 5.1.1 "),
        (RecipientVerdict::NotLocal, "550 5.7.1 "),
        (RecipientVerdict::NameTooLong, "553 5.1.3 "),
        (RecipientVerdict::TooMany, "452 4.5.3 "),
        (RecipientVerdict::Failed, "451 4.3.0 "),
    ] {
        let mut session = after(&["MAIL FROM:<>"]);
        line(&mut session, "RCPT TO:<bob>");
        let step = session.resume(Outcome::Recipient(verdict));
        assert!(reply(&step).starts_with(expect), "{expect}");
        check(&mut session, &[("DATA", "554 5.5.1 ")]);
    }
}

/// SEC-12: ten unknown recipients get one fixed text, the next one ends the session, and RSET does
/// not reset the count.
#[test]
fn the_eleventh_unknown_recipient_ends_the_session() {
    let mut session = after(&["MAIL FROM:<>"]);
    for number in 1..=11 {
        line(&mut session, &format!("RCPT TO:<user{number}@example.com>"));
        let step = session.resume(Outcome::Recipient(RecipientVerdict::Unknown));
        let said = reply(&step);
        if number > 10 {
            assert_eq!(said, "421 4.7.0 Too many unknown recipients, closing\r\n");
            assert_eq!(step.action, CLOSE);
        } else {
            assert_eq!(said, "550 5.1.1 No such mailbox here\r\n");
            say(&mut session, "RSET");
            say(&mut session, "MAIL FROM:<>");
        }
    }
}

/// RFC 5321 §4.5.3.1.8 asks for 100; here there are ten times as many.
#[test]
fn the_recipient_after_the_thousandth_is_refused_temporarily() {
    let mut session = after(&["MAIL FROM:<>"]);
    for number in 0..limits::RECIPIENTS_MAX {
        let text = format!("RCPT TO:<bob{number}@example.com>");
        check(&mut session, &[(&text, "250 2.1.5 ")]);
    }
    check(&mut session, &[("RCPT TO:<bob>", "452 4.5.3 ")]);
    let Action::BeginDelivery(submission) = line(&mut session, "DATA").action else {
        panic!("no delivery is begun");
    };
    let recipients_max = usize::try_from(limits::RECIPIENTS_MAX).unwrap();
    assert_eq!(submission.envelope.recipients.len(), recipients_max);
}

#[test]
fn limits_that_are_off_do_not_limit() {
    let mut session = session(Settings {
        message_octets_max: None,
        recipients_max: None,
        errors_max: None,
        ..settings()
    });
    let ehlo = say(&mut session, "EHLO client.example");
    assert!(
        ehlo.contains("250-SIZE 0\r\n") && !ehlo.contains("LIMITS"),
        "{ehlo}"
    );
    for _ in 0..100 {
        check(&mut session, &[("FROB", "500 5.5.1 ")]);
    }
    let size = format!("MAIL FROM:<> SIZE={}", u64::MAX);
    check(&mut session, &[(&size, "250 "), ("RCPT TO:<bob>", "250 ")]);
    let chunk = format!("BDAT {}", u64::MAX);
    for _ in 0..2 {
        say(&mut session, &chunk);
        let step = session.resume(Outcome::Content(ContentEnd::ChunkReceived));
        assert!(reply(&step).starts_with("250 2.0.0 18446744073709551615 octets"));
    }
}

#[test]
fn lines_of_an_auth_exchange_can_be_longer() {
    let mut session = after(&[]);
    assert_eq!(line(&mut session, "NOOP").action, READ_COMMAND);
    let octets_max = AUTH_LINE_OCTETS_MAX;
    let step = line(&mut session, "AUTH PLAIN");
    assert_eq!(step.action, Action::ReadLine { octets_max });
    let step = session.resume(Outcome::LineTooLong);
    assert!(reply(&step).starts_with("500 5.5.6 "));
    assert_eq!(step.action, READ_COMMAND);
}

#[test]
fn the_third_refused_password_closes() {
    let mut session = after(&[]);
    for expect in ["535 5.7.8 ", "535 5.7.8 ", "421 4.7.0 "] {
        let step = line(&mut session, AUTH_PLAIN);
        let Action::CheckPassword { credentials, .. } = &step.action else {
            panic!("{step:?}");
        };
        assert_eq!(credentials.user, "bob");
        assert_eq!(credentials.password.expose(), "sesame");
        let step = session.resume(Outcome::PasswordRefused);
        assert!(reply(&step).starts_with(expect));
    }
    assert_eq!(line(&mut session, "NOOP").action, CLOSE);
}

#[test]
fn debug_forms_show_no_password() {
    let mut session = after(&[]);
    let mut shown = format!("{:?}", Outcome::Line(AUTH_PLAIN.as_bytes()));
    for text in ["AUTH LOGIN", "Ym9i", "c2VzYW1l"] {
        let step = line(&mut session, text);
        shown = format!("{shown}{step:?}{session:?}");
    }
    let mut session = after(&[AUTH_SCRAM]);
    let step = line(&mut session, SCRAM_FINAL);
    shown = format!("{shown}{step:?}{session:?}");
    // The proof begins with 116, 124; the nonce with rOpr.
    for secret in ["AGJvYgBzZXNhbWU=", "c2VzYW1l", "sesame", "116", "rOpr"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[test]
fn the_user_is_known_after_the_right_password() {
    let mut session = after(&[]);
    line(&mut session, AUTH_PLAIN);
    assert!(!session.client.is_authenticated);
    session.resume(Outcome::PasswordRefused);
    assert!(!session.client.is_authenticated);
    check(&mut session, &[(AUTH_PLAIN, "235 ")]);
    assert!(session.client.is_authenticated);
    check(&mut session, &[("EHLO other.example", "250-")]);
    assert!(session.client.is_authenticated);
    check(&mut session, &[("STARTTLS", "220 ")]);
    assert!(!session.client.is_authenticated);
}

#[test]
fn a_password_that_cannot_be_checked_is_not_a_failure() {
    let mut session = after(&[]);
    for _ in 0..10 {
        line(&mut session, AUTH_PLAIN);
        let step = session.resume(Outcome::CheckFailed);
        assert!(reply(&step).starts_with("454 4.7.0 "));
    }
    check(&mut session, &[(AUTH_PLAIN, "235 2.7.0 ")]);
}

/// RFC 3207 §4.2: name, transaction and authentication are forgotten.
#[test]
fn starttls_forgets_everything() {
    let mut session = session(settings());
    assert!(say(&mut session, "EHLO client.example").contains("250-STARTTLS\r\n"));
    check(
        &mut session,
        &[
            (AUTH_PLAIN, "235 "),
            ("MAIL FROM:<>", "250 "),
            ("RCPT TO:<bob>", "250 "),
            ("STARTTLS now", "501 5.5.4 "),
        ],
    );
    let step = line(&mut session, "STARTTLS");
    assert_eq!(step.action, Action::StartTls);
    assert_eq!(reply(&step), "220 2.0.0 Ready to start TLS\r\n");
    let step = session.resume(Outcome::TlsStarted(ChannelBindings::default()));
    assert_eq!((step.reply, step.action), (None, READ_COMMAND));
    assert!(!session.client.is_extended());
    check(
        &mut session,
        &[
            ("MAIL FROM:<>", "503 Send HELO or EHLO first"),
            ("DATA", "503 Name the sender first"),
            ("STARTTLS", "503 TLS is already active"),
        ],
    );
    let ehlo = say(&mut session, "EHLO client.example");
    assert!(!ehlo.contains("STARTTLS"), "{ehlo}");
    assert!(
        ehlo.contains("250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"),
        "{ehlo}"
    );
    check(
        &mut session,
        &[("MAIL FROM:<>", "250 "), ("RCPT TO:<bob>", "250 ")],
    );
    let Action::BeginDelivery(submission) = line(&mut session, "DATA").action else {
        panic!("no delivery is begun");
    };
    assert_eq!(submission.envelope.protocol.to_string(), "ESMTPS");
}

#[test]
fn starttls_drops_the_chunks_of_an_open_message() {
    let mut session = after(&["MAIL FROM:<>", "RCPT TO:<bob>", "BDAT 4"]);
    session.resume(Outcome::Content(ContentEnd::ChunkReceived));
    line(&mut session, "STARTTLS");
    session.resume(Outcome::TlsStarted(ChannelBindings::default()));
    assert!(!has_delivery(&session));
}

#[test]
fn errors_are_counted_across_starttls() {
    let mut session = after(&["X1", "X2", "X3", "X4", "X5", "X6", "X7", "X8", "X9"]);
    check(
        &mut session,
        &[("STARTTLS", "220 "), ("X10", "500 "), ("X11", "421 ")],
    );
}

#[test]
fn starttls_without_certificate_is_502() {
    let link = Link {
        tls: Tls::NotOffered,
        is_local: true,
    };
    let mut session = session_on(link, settings());
    assert!(!say(&mut session, "EHLO client.example").contains("STARTTLS"));
    check(&mut session, &[("STARTTLS", "502 5.5.1 ")]);
}

#[test]
fn a_session_that_begins_with_tls_offers_none() {
    let link = Link {
        tls: Tls::Active(ChannelBindings::default()),
        is_local: false,
    };
    let mut session = session_on(link, settings());
    let ehlo = say(&mut session, "EHLO client.example");
    assert!(!ehlo.contains("STARTTLS"), "{ehlo}");
    assert!(
        ehlo.contains("250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"),
        "{ehlo}"
    );
    check(
        &mut session,
        &[
            ("STARTTLS", "503 5.5.1 "),
            ("STARTTLS now", "501 5.5.4 "),
            (AUTH_PLAIN, "235 "),
            ("MAIL FROM:<>", "250 "),
            ("RCPT TO:<bob>", "250 "),
        ],
    );
    let Action::BeginDelivery(submission) = line(&mut session, "DATA").action else {
        panic!("no delivery is begun");
    };
    assert_eq!(submission.envelope.protocol.to_string(), "ESMTPSA");
}

/// Sends the first two messages and returns the proof to verify.
fn attempt(session: &mut Session) -> scram::Attempt {
    let step = line(session, AUTH_SCRAM);
    let user = "user".to_owned();
    assert_eq!(
        (step.reply, step.action),
        (None, Action::BeginScram { user })
    );
    let step = session.resume(scram_begun());
    assert!(reply(&step).starts_with("334 cj1yT3By"));
    let Action::CheckProof { attempt, .. } = line(session, SCRAM_FINAL).action else {
        panic!("no proof is verified");
    };
    attempt
}

/// RFC 7677 §3 and RFC 4954 §4: the server's proof is a challenge, answered with nothing.
#[test]
fn scram_ends_when_the_client_has_seen_the_signature() {
    let mut session = after(&[]);
    let attempt = attempt(&mut session);
    let signature = facts::verify(&attempt);
    let signature = signature.expect("the RFC's proof");
    let step = session.resume(Outcome::ProofAccepted { signature });
    let challenge = "334 dj02cnJpVFJCaTIzV3BSUi93dHVwK21NaFVaVW4vZEI1bkxUSlJzamw5NUc0PQ==\r\n";
    assert_eq!(reply(&step), challenge);
    let octets_max = AUTH_LINE_OCTETS_MAX;
    assert_eq!(step.action, Action::ReadLine { octets_max });
    assert!(!session.client.is_authenticated);
    let step = line(&mut session, "");
    let text = reply(&step);
    assert_eq!(text, "235 2.7.0 Authentication succeeded\r\n");
    assert!(session.client.is_authenticated);
}

#[test]
fn an_incomplete_scram_exchange_authenticates_nobody() {
    for (last, expect) in [
        ("*", "501 5.7.0 "),
        ("QUIT", "501 5.5.2 "),
        ("eA==", "501 5.5.2 "),
    ] {
        let mut session = after(&[AUTH_SCRAM, SCRAM_FINAL]);
        check(&mut session, &[(last, expect)]);
        assert!(!session.client.is_authenticated, "{last}");
    }
    let mut session = after(&[]);
    for expect in ["535 5.7.8 ", "535 5.7.8 ", "421 4.7.0 "] {
        attempt(&mut session);
        let step = session.resume(Outcome::PasswordRefused);
        assert!(reply(&step).starts_with(expect));
    }
}

#[test]
fn a_scram_exchange_that_cannot_be_answered_is_not_a_failure() {
    let mut session = after(&[]);
    let unusable = || {
        Outcome::ScramBegun(scram::Parameters {
            salt: Vec::new(),
            iterations: 1,
            nonce: String::new(),
        })
    };
    for _ in 0..10 {
        for outcome in [Outcome::CheckFailed, unusable()] {
            line(&mut session, AUTH_SCRAM);
            let step = session.resume(outcome);
            assert!(reply(&step).starts_with("454 4.7.0 "));
        }
        attempt(&mut session);
        let step = session.resume(Outcome::CheckFailed);
        assert!(reply(&step).starts_with("454 4.7.0 "));
    }
    check(
        &mut session,
        &[(AUTH_SCRAM, "334 "), (SCRAM_FINAL, "334 "), ("", "235 ")],
    );
}

#[test]
fn scram_is_offered_only_with_keys_and_bound_only_with_a_binding() {
    let active = |exporter| Tls::Active(ChannelBindings { exporter });
    for (tls, scram, expect) in [
        (Tls::Offered, false, "250-AUTH PLAIN LOGIN\r\n"),
        (Tls::Offered, true, "250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"),
        (active(None), true, "250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"),
        (active(Some([7; 32])), false, "250-AUTH PLAIN LOGIN\r\n"),
        (
            active(Some([7; 32])),
            true,
            "250-AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN\r\n",
        ),
    ] {
        let link = Link {
            tls,
            is_local: true,
        };
        let mut session = session_on(
            link,
            Settings {
                scram,
                ..settings()
            },
        );
        let ehlo = say(&mut session, "EHLO client.example");
        assert!(ehlo.contains(expect), "{ehlo}");
        for mechanism in ["SCRAM-SHA-256-PLUS", "SCRAM-SHA-256", "PLAIN", "LOGIN"] {
            let listed = ehlo.contains(&format!(" {mechanism}"));
            let answer = say(&mut session, &format!("AUTH {mechanism}"));
            assert_eq!(answer.starts_with("334 "), listed, "{mechanism}: {answer}");
            assert!(listed || answer.starts_with("504 5.5.4 "), "{answer}");
            if listed {
                check(&mut session, &[("*", "501 5.7.0 ")]);
            }
        }
    }
}

/// RFC 4954 §6.
#[test]
fn mail_is_530_until_the_client_has_authenticated() {
    let mut session = session(Settings {
        senders: Senders::Authenticated,
        ..settings()
    });
    check(
        &mut session,
        &[
            ("MAIL FROM:<>", "503 Send HELO or EHLO first"),
            ("RCPT TO:<bob>", "530 Authentication required"),
            ("EHLO client.example", "250-"),
            // A group of commands in one write: one error, not four.
            ("MAIL FROM:<>", "530 5.7.0 "),
            ("RCPT TO:<bob>", "530 5.7.0 "),
            ("DATA", "530 5.7.0 "),
            ("BDAT 4 LAST", "530 5.7.0 "),
            ("NOOP", "250 "),
            ("RSET", "250 "),
            ("HELP", "214-"),
        ],
    );
    assert_eq!(session.errors, 3);
    check(
        &mut session,
        &[
            (AUTH_PLAIN, "235 "),
            ("RCPT TO:<bob>", "503 5.5.1 "),
            ("MAIL FROM:<>", "250 2.1.0 "),
            ("RCPT TO:<bob>", "250 2.1.5 "),
        ],
    );
    // After TLS the client must send again what the session has forgotten.
    check(
        &mut session,
        &[
            ("STARTTLS", "220 "),
            ("EHLO client.example", "250-"),
            ("MAIL FROM:<>", "530 5.7.0 "),
        ],
    );
}

#[test]
fn the_sender_of_a_user_who_has_logged_in_is_checked_on_every_listener() {
    for mut session in [submission(&[AUTH_PLAIN]), after(&[AUTH_PLAIN])] {
        check_senders(&mut session);
    }
}

fn check_senders(session: &mut Session) {
    for (outcome, expect) in [
        (Outcome::SenderNotPermitted, "550 5.7.1 "),
        (Outcome::CheckFailed, "451 4.3.0 "),
    ] {
        let errors = session.errors;
        let step = line(session, "MAIL FROM:<alice@example.com>");
        let Action::CheckSender(address) = step.action else {
            panic!("no sender is checked");
        };
        assert!(session.client.is_authenticated);
        assert_eq!(address.to_string(), "alice@example.com");
        let step = session.resume(outcome);
        assert!(reply(&step).starts_with(expect));
        check(
            session,
            &[("RCPT TO:<bob>", "503 5.5.1 "), ("DATA", "503 5.5.1 ")],
        );
        assert_eq!(session.errors, errors);
    }
    check(
        session,
        &[
            ("MAIL FROM:<bob@example.com> SMTPUTF8", "250 2.1.0 "),
            ("RCPT TO:<zoë@example.com>", "250 2.1.5 "),
            ("RSET", "250 "),
        ],
    );
    // RFC 6409 §6.1: the null path is for reports, and is not checked.
    let step = line(session, "MAIL FROM:<>");
    assert_eq!(reply(&step), "250 2.1.0 Sender OK\r\n");
}

#[test]
fn the_sender_of_a_stranger_is_not_checked() {
    let mut session = after(&[]);
    let step = line(&mut session, "MAIL FROM:<alice@example.com>");
    assert_eq!(reply(&step), "250 2.1.0 Sender OK\r\n");
}

/// SEC-2: no password in clear off loopback.
#[test]
fn auth_off_this_machine_needs_tls() {
    let remote = |tls| Link {
        tls,
        is_local: false,
    };
    let mut offered = session_on(remote(Tls::Offered), settings());
    assert!(!say(&mut offered, "EHLO client.example").contains("AUTH"));
    for text in [AUTH_PLAIN, "AUTH LOGIN", "AUTH SCRAM-SHA-256", "AUTH X"] {
        let step = line(&mut offered, text);
        assert_eq!(
            reply(&step),
            "538 5.7.11 Encryption required: send STARTTLS first, then AUTH\r\n"
        );
        assert_eq!(step.action, READ_COMMAND, "{text}");
    }
    check(&mut offered, &[("STARTTLS", "220 ")]);
    let ehlo = say(&mut offered, "EHLO client.example");
    assert!(
        ehlo.contains("250-AUTH SCRAM-SHA-256 PLAIN LOGIN\r\n"),
        "{ehlo}"
    );
    check(&mut offered, &[(AUTH_PLAIN, "235 ")]);

    let mut never = session_on(remote(Tls::NotOffered), settings());
    assert!(!say(&mut never, "EHLO client.example").contains("AUTH"));
    check(&mut never, &[(AUTH_PLAIN, "502 5.5.1 ")]);
    // Mail for mailboxes here is accepted without a password.
    check(&mut never, &[("MAIL FROM:<>", "250 ")]);
}

/// TLS is not a way to continue guessing.
#[test]
fn refused_passwords_are_counted_across_starttls() {
    let mut session = after(&[]);
    for expect in ["535 5.7.8 ", "535 5.7.8 "] {
        line(&mut session, AUTH_PLAIN);
        let step = session.resume(Outcome::PasswordRefused);
        assert!(reply(&step).starts_with(expect));
    }
    check(&mut session, &[("STARTTLS", "220 "), ("EHLO x", "250-")]);
    line(&mut session, AUTH_PLAIN);
    let step = session.resume(Outcome::PasswordRefused);
    assert_eq!(step.action, CLOSE);
}

#[test]
fn the_first_line_shows_a_foreign_protocol() {
    for (text, foreign) in [
        ("EHLO client.example", false),
        ("GETA", false),
        ("get / HTTP/1.1", true),
        ("POSTMASTER", false),
        ("GET / HTTP/1.1", true),
        ("HEAD", true),
        ("POST / HTTP/1.1", true),
        ("PUT / HTTP/1.1", true),
        ("DELETE / HTTP/1.1", true),
        ("CONNECT mail.example:25 HTTP/1.1", true),
        ("OPTIONS * HTTP/1.1", true),
        ("TRACE / HTTP/1.1", true),
        ("PATCH / HTTP/1.1", true),
        ("PRI * HTTP/2.0", true),
        ("", true),
        (" EHLO client.example", true),
        ("1", true),
        ("\u{16}\u{3}\u{1}", true),
        ("é", true),
    ] {
        let mut session = session(settings());
        let step = line(&mut session, text);
        let is_foreign = reply(&step).starts_with("421 This is an SMTP server");
        assert_eq!(is_foreign, foreign, "{text:?}");
        assert_eq!(matches!(step.action, Action::Close(_)), foreign, "{text:?}");
    }
}

#[test]
fn a_client_on_this_machine_that_speaks_http_learns_its_port() {
    for (is_local, text, tells) in [
        (true, "GET / HTTP/1.1", true),
        (false, "GET / HTTP/1.1", false),
        (true, "1", false),
    ] {
        let settings = Settings {
            http_port: Some(65_480),
            ..settings()
        };
        let link = Link {
            is_local,
            ..local()
        };
        let mut session = session_on(link, settings);
        let step = line(&mut session, text);
        assert_eq!(reply(&step).contains("HTTP is at port 65480"), tells);
        assert!(matches!(step.action, Action::Close(Closing::Foreign(_))));
    }
}

/// Lines that reach every command, valid and invalid.
fn lines() -> impl Strategy<Value = &'static str> {
    select(vec![
        "EHLO a",
        "HELO a",
        "LHLO a",
        "LHLO a",
        "EHLO",
        "MAIL FROM:<a@b>",
        "MAIL FROM:<> SIZE=2000",
        "MAIL FROM:<é@b>",
        "MAIL FROM:<é@b> SMTPUTF8",
        "RCPT TO:<bob>",
        "RCPT TO:<é@b>",
        "RCPT TO:<>",
        "DATA",
        "BDAT 0",
        "BDAT 9",
        "BDAT 900",
        "BDAT 2000",
        "BDAT 4 LAST",
        "BDAT 0 LAST",
        "BDAT 9999",
        "BDAT x",
        "RSET",
        "NOOP",
        "HELP",
        "VRFY a",
        "EXPN a",
        "QUIT",
        "STARTTLS",
        AUTH_PLAIN,
        "AUTH PLAIN",
        "AUTH LOGIN",
        "AUTH X",
        AUTH_SCRAM,
        AUTH_SCRAM,
        "AUTH SCRAM-SHA-256-PLUS",
        SCRAM_FINAL,
        SCRAM_FINAL,
        "AGJvYgBzZXNhbWU=",
        "Ym9i",
        "*",
        "FROB",
        "",
    ])
}

/// What happens in one step: in most cases, a result that fits what is waited for.
#[derive(Clone, Debug)]
struct Chance {
    line: &'static str,
    /// Selects one of the results that fit.
    pick: usize,
    /// Sometimes: any result at all.
    stray: Option<usize>,
}

fn chances() -> impl Strategy<Value = Vec<Chance>> {
    let stray = prop_oneof![60 => Just(None), 1 => (0..RESULTS.len()).prop_map(Some)];
    let chance =
        (lines(), 0_usize..6, stray).prop_map(|(line, pick, stray)| Chance { line, pick, stray });
    vec(chance, 1..80)
}

fn outcome_of(chance: &Chance, action: &Action) -> Outcome<'static> {
    let fitting: &[&str] = match action {
        _ if chance.stray.is_some() => &[],
        Action::ReadLine { .. } => return Outcome::Line(chance.line.as_bytes()),
        Action::LookUpRecipient(_) => &["recipient"],
        Action::CheckPassword { .. } => &["accepted", "refused", "unchecked"],
        Action::BeginScram { .. } => &["scram", "scram", "unchecked"],
        Action::CheckProof { .. } => &["proven", "proven", "refused", "unchecked"],
        Action::CheckSender(_) => &["permitted", "permitted", "not permitted", "unchecked"],
        Action::BeginDelivery(_) => &["begun", "begun", "begun", "not begun"],
        Action::ReceiveContent(Framing::Chunk { last: false, .. }) => &[
            "received",
            "received",
            "failed",
            "too large",
            "content fault",
        ],
        Action::ReceiveContent(_) => &[
            "delivered",
            "delivered",
            "failed",
            "too large",
            "content fault",
            "overrun",
        ],
        Action::DiscardChunk { .. } => &["discarded"],
        Action::StartTls => &["tls"],
        Action::AbandonTransaction => &["abandoned"],
        Action::Continue => &["continued"],
        Action::Close(_) => &["line"],
    };
    let name = fitting.get(chance.pick).or(fitting.first());
    let found = RESULTS.iter().find(|(known, _)| Some(known) == name);
    let stray = chance.stray.and_then(|stray| RESULTS.get(stray));
    found.or(stray).expect("a known name").1()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever happens: no panic, bounded errors, content only with a delivery, a delivery only
    /// with recipients, an acknowledgement only of what was delivered, and a final end.
    #[test]
    fn a_session_keeps_its_promises(
        chances in chances(),
        errors_max in 0_u32..20,
        senders in select(vec![
            Senders::Anybody,
            Senders::Anybody,
            Senders::Authenticated,
        ]),
        dialect in select(vec![Dialect::Smtp, Dialect::Lmtp]),
    ) {
        let settings = Settings {
            errors_max: Some(errors_max),
            senders,
            dialect,
            ..settings()
        };
        let mut session = Session::new(Arc::new(settings), local());
        let mut step = session.greet();
        let mut delivered = false;
        for chance in chances {
            let closed = matches!(step.action, Action::Close(_));
            let outcome = outcome_of(&chance, &step.action);
            delivered = outcome == Outcome::Content(ContentEnd::Delivered)
                || (delivered && outcome == Outcome::Continued);
            step = session.resume(outcome);
            let text = reply(&step);
            prop_assert!(!text.ends_with(" OK\r\n") || delivered || text.contains("Sender")
                || text.contains("Recipient"), "{}", text);
            prop_assert!(text.lines().all(|line| line.len() <= 510 && line.is_ascii()));
            prop_assert!(session.errors <= errors_max.saturating_add(1));
            if let Action::BeginDelivery(submission) = &step.action {
                prop_assert!(!submission.envelope.recipients.is_empty());
                let authenticated = submission.envelope.protocol.authenticated;
                prop_assert_eq!(authenticated, session.client.is_authenticated);
                prop_assert!(authenticated || senders == Senders::Anybody);
            }
            let receives = matches!(step.action, Action::ReceiveContent(_));
            let closes = matches!(step.action, Action::Close(_));
            prop_assert!(!receives || has_delivery(&session));
            prop_assert!(!closes || !has_delivery(&session));
            prop_assert!(!closed || closes);
        }
    }

    #[test]
    fn no_line_panics(octets in vec(vec(any::<u8>(), 0..60), 1..20), exchange in any::<bool>()) {
        let mut session = after(if exchange { &["AUTH LOGIN"] } else { &[] });
        for line in octets {
            let step = session.resume(Outcome::Line(&line));
            let reads = matches!(step.action, Action::ReadLine { .. });
            prop_assert!(step.reply.is_some() || !reads);
        }
    }
}

/// SEC-7: only the session knows what a line is.
#[test]
fn only_the_command_is_shown_of_a_line_that_could_contain_a_secret() {
    let mut session = after(&["EHLO client"]);
    for (line, shown) in [
        ("EHLO client", "EHLO client"),
        ("mail from:<a@b> SIZE=1", "mail from:<a@b> SIZE=1"),
        ("MAIL hunter2", "MAIL ***"),
        ("RCPT TO:<a@b>", "RCPT TO:<a@b>"),
        ("RCPT hunter2", "RCPT ***"),
        ("VRFY bob", "VRFY bob"),
        ("BDAT 7 LAST", "BDAT 7 LAST"),
        ("NOOP hunter2", "NOOP ***"),
        ("QUIT ", "QUIT"),
        ("AUTH", "AUTH"),
        ("AUTH PLAIN", "AUTH PLAIN"),
        (
            "AUTH  scram-sha-256  aHVudGVyMg==",
            "AUTH  scram-sha-256 ***",
        ),
        ("AUTH aHVudGVyMg==", "AUTH ***"),
        ("PASS hunter2", "PASS ***"),
        ("hunter2", "***"),
    ] {
        assert_eq!(session.disclose(line.as_bytes()).to_string(), shown);
    }
    assert_eq!(session.login(), None);
    session.resume(Outcome::Line(b"AUTH LOGIN"));
    let login = session.login().unwrap();
    assert_eq!((login.mechanism, login.user), ("LOGIN", None));
    // "bob" in base64.
    session.resume(Outcome::Line(b"Ym9i"));
    assert_eq!(session.login().unwrap().user, Some("bob"));
    for (line, shown) in [("MAIL FROM:<a@b>", "***"), ("*", "*"), ("", "")] {
        assert_eq!(session.disclose(line.as_bytes()).to_string(), shown);
    }
}
