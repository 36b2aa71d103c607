//! What transcripts cannot show: failures of the driver, TLS, actions and their order, and
//! properties of any dialogue.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "the numbers of a test are small"
)]

use proptest::{collection::vec, prelude::*};

use std::sync::Arc;

use super::*;
use crate::mail::sasl::scram;
use crate::mail::{
    ChannelBindings, Credentials, Ending, MessageSummary, Secret, Summaries, Tls, UniqueId,
};
use crate::pop3::limits::{ERRORS_MAX, RESPONSE_LINE_OCTETS_MAX};
use crate::pop3::{Extent, MessageNumber};
use crate::testing::facts;

const READ_COMMAND: Action = Action::ReadLine {
    octets_max: COMMAND_LINE_OCTETS_MAX,
};

const READ_RESPONSE: Action = Action::ReadLine {
    octets_max: AUTH_LINE_OCTETS_MAX,
};

const CLOSE: Action = Action::Close(Closing::Refused);

const QUIT: Action = Action::Close(Closing::Quit);

const REMOVE_FAILED: &str = "-ERR [SYS/TEMP] Some deleted messages were not \
    removed; connect again and delete them again\r\n";

fn settings() -> Settings {
    Settings {
        hostname: "localhost".to_owned(),
        errors_max: Some(ERRORS_MAX),
        scram: true,
        utf8: true,
        http_port: None,
    }
}

fn local(tls: Tls) -> Link {
    Link {
        tls,
        is_local: true,
    }
}

fn active() -> Tls {
    Tls::Active(ChannelBindings::default())
}

/// The messages of the client in RFC 7677 §3.
const SCRAM_FIRST: &str = "biwsbj11c2VyLHI9ck9wck5HZndFYmVSV2diTkVrcU8=";
const SCRAM_FINAL: &str = "Yz1iaXdzLHI9ck9wck5HZndFYmVSV2diTkVrcU8laHZZRHBXVWEyUmFUQ0FmdXhGSWxqK\
                           WhObEYkazAscD1kSHpiWmFwV0lrNGpVaE4rVXRlOXl0YWc5empmTUhnc3FtbWl6N0FuZF\
                           ZRPQ==";

fn scram_begun() -> Outcome<'static> {
    Outcome::ScramBegun(facts::scram_parameters())
}

fn proof_accepted() -> Outcome<'static> {
    Outcome::ProofAccepted { signature: [7; 32] }
}

fn messages(octets: &[u64]) -> Arc<dyn Summaries> {
    let summary = |(position, octets): (usize, &u64)| MessageSummary {
        octets: *octets,
        unique_id: UniqueId::parse(format!("u{position}")).unwrap(),
    };
    let messages: Vec<MessageSummary> = octets.iter().enumerate().map(summary).collect();
    Arc::new(messages)
}

fn rendered(response: Option<Response>) -> String {
    let mut sent = Vec::new();
    if let Some(mut response) = response {
        assert!(response.render(&mut sent, usize::MAX));
    }
    String::from_utf8(sent).unwrap()
}

/// A session, for tests that read like a dialogue.
struct Dialogue {
    session: Session,
}

impl Dialogue {
    fn new(settings: Settings, link: Link) -> Self {
        let mut session = Session::new(settings, link);
        let step = session.greet();
        assert_eq!(rendered(step.response), "+OK facteur POP3 server ready\r\n");
        assert_eq!(step.action, READ_COMMAND);
        Self { session }
    }

    /// A session with a client on this machine.
    fn local(tls: Tls) -> Self {
        Self::new(settings(), local(tls))
    }

    /// A session with a client on another machine.
    fn remote(tls: Tls) -> Self {
        let link = Link {
            tls,
            is_local: false,
        };
        Self::new(settings(), link)
    }

    fn plain() -> Self {
        Self::local(Tls::NotOffered)
    }

    /// A session after the login of bob, whose messages have 120 and 200 octets.
    fn logged_in() -> Self {
        let mut dialogue = Self::plain();
        dialogue.open();
        dialogue
    }

    fn open(&mut self) {
        self.login();
        self.check(Outcome::PasswordAccepted, "", &Action::OpenMaildrop);
        self.check(
            Outcome::MaildropOpened(messages(&[120, 200])),
            "+OK Maildrop has 2 messages (320 octets)\r\n",
            &READ_COMMAND,
        );
    }

    /// Sends USER and PASS, up to the check of the password.
    fn login(&mut self) {
        self.line("USER bob", "+OK Send your password with PASS\r\n");
        let credentials = Credentials {
            user: "bob".to_owned(),
            password: Secret::new("secret".to_owned()),
        };
        self.check(
            Outcome::Line(b"PASS secret"),
            "",
            &Action::CheckPassword {
                mechanism: "USER",
                credentials,
            },
        );
    }

    #[track_caller]
    fn check(&mut self, outcome: Outcome<'_>, response: &str, action: &Action) {
        let step = self.session.resume(outcome);
        assert_eq!(rendered(step.response), response);
        assert_eq!(&step.action, action);
    }

    /// Sends a line that is answered, and after which another line is read.
    #[track_caller]
    fn line(&mut self, line: &str, response: &str) {
        let step = self.session.resume(Outcome::Line(line.as_bytes()));
        assert_eq!(rendered(step.response), response);
        assert!(matches!(step.action, Action::ReadLine { .. }), "{line}");
    }
}

#[test]
fn login_checks_the_password_and_then_opens_the_maildrop() {
    let mut dialogue = Dialogue::plain();
    dialogue.login();
    dialogue.check(Outcome::PasswordAccepted, "", &Action::OpenMaildrop);
    dialogue.check(
        Outcome::MaildropOpened(messages(&[1])),
        "+OK Maildrop has 1 message (1 octet)\r\n",
        &READ_COMMAND,
    );
}

#[test]
fn refused_passwords_get_one_text_and_the_third_closes() {
    let refused = "-ERR [AUTH] Wrong user name or password\r\n";
    let mut dialogue = Dialogue::plain();
    for action in [READ_COMMAND, READ_COMMAND, CLOSE] {
        dialogue.login();
        dialogue.check(Outcome::PasswordRefused, refused, &action);
    }
}

#[test]
fn a_refused_password_needs_user_again() {
    let mut dialogue = Dialogue::plain();
    dialogue.login();
    let refused = "-ERR [AUTH] Wrong user name or password\r\n";
    dialogue.check(Outcome::PasswordRefused, refused, &READ_COMMAND);
    dialogue.line("PASS secret", "-ERR Send USER right before PASS\r\n");
    dialogue.open();
}

#[test]
fn a_login_that_the_system_fails_can_be_repeated() {
    for (outcome, response) in [
        (
            Outcome::MaildropInUse,
            "-ERR [IN-USE] Maildrop is in use by another session; try again when it has ended\r\n",
        ),
        (
            Outcome::MaildropFailed { transient: true },
            "-ERR [SYS/TEMP] Maildrop cannot be opened now, try again later\r\n",
        ),
        (
            Outcome::MaildropFailed { transient: false },
            "-ERR [SYS/PERM] Maildrop cannot be opened, ask the administrator of this server\r\n",
        ),
    ] {
        let mut dialogue = Dialogue::plain();
        // More often than a wrong password is allowed.
        for _ in 0..5 {
            dialogue.login();
            dialogue.check(
                Outcome::CheckFailed,
                "-ERR [SYS/TEMP] Password cannot be checked now, try again later\r\n",
                &READ_COMMAND,
            );
            dialogue.login();
            dialogue.check(Outcome::PasswordAccepted, "", &Action::OpenMaildrop);
            dialogue.check(outcome.clone(), response, &READ_COMMAND);
        }
        dialogue.open();
    }
}

/// RFC 7677 §3 and RFC 5034 §4: the server's proof is a challenge, answered with nothing.
#[test]
fn scram_opens_the_maildrop_when_the_client_has_seen_the_signature() {
    let mut dialogue = Dialogue::plain();
    let first = format!("AUTH SCRAM-SHA-256 {SCRAM_FIRST}");
    let user = "user".to_owned();
    let begin = Action::BeginScram { user };
    dialogue.check(Outcome::Line(first.as_bytes()), "", &begin);
    let challenge = "+ cj1yT3ByTkdmd0ViZVJXZ2JORWtxTyVodllEcFdVYTJSYVRDQWZ1eEZJbGopaE5sRiRrMCxzPV\
                     cyMlphSjBTTlk3c29Fc1VFamI2Z1E9PSxpPTQwOTY=\r\n";
    dialogue.check(scram_begun(), challenge, &READ_RESPONSE);
    let step = dialogue
        .session
        .resume(Outcome::Line(SCRAM_FINAL.as_bytes()));
    let Action::CheckProof { attempt, .. } = step.action else {
        panic!("{step:?}");
    };
    let signature = facts::verify(&attempt);
    let signature = signature.expect("the RFC's proof");
    dialogue.check(
        Outcome::ProofAccepted { signature },
        "+ dj02cnJpVFJCaTIzV3BSUi93dHVwK21NaFVaVW4vZEI1bkxUSlJzamw5NUc0PQ==\r\n",
        &READ_RESPONSE,
    );
    dialogue.check(Outcome::Line(b""), "", &Action::OpenMaildrop);
}

#[test]
fn an_incomplete_scram_exchange_opens_nothing() {
    let checking = || {
        let mut dialogue = Dialogue::plain();
        let first = format!("AUTH SCRAM-SHA-256 {SCRAM_FIRST}");
        drop(dialogue.session.resume(Outcome::Line(first.as_bytes())));
        drop(dialogue.session.resume(scram_begun()));
        drop(
            dialogue
                .session
                .resume(Outcome::Line(SCRAM_FINAL.as_bytes())),
        );
        dialogue
    };
    for (outcome, response) in [
        (
            Outcome::PasswordRefused,
            "-ERR [AUTH] Wrong user name or password\r\n",
        ),
        (
            Outcome::MailboxAmbiguous,
            "-ERR [AUTH] Use your full address as user name, such as name@example.com\r\n",
        ),
        (
            Outcome::CheckFailed,
            "-ERR [SYS/TEMP] Password cannot be checked now, try again later\r\n",
        ),
    ] {
        let mut dialogue = checking();
        dialogue.check(outcome, response, &READ_COMMAND);
        dialogue.open();
    }
    for (last, response) in [
        ("*", "-ERR Authentication cancelled\r\n"),
        ("QUIT", "-ERR Response is not valid for this mechanism\r\n"),
    ] {
        let mut dialogue = checking();
        drop(dialogue.session.resume(proof_accepted()));
        dialogue.line(last, response);
    }
    let mut dialogue = Dialogue::plain();
    let first = format!("AUTH SCRAM-SHA-256 {SCRAM_FIRST}");
    drop(dialogue.session.resume(Outcome::Line(first.as_bytes())));
    let unusable = Outcome::ScramBegun(scram::Parameters {
        salt: Vec::new(),
        iterations: 1,
        nonce: String::new(),
    });
    let response = "-ERR [SYS/TEMP] Password cannot be checked now, try again later\r\n";
    dialogue.check(unusable, response, &READ_COMMAND);
}

#[test]
fn a_message_is_open_before_ok_is_sent() {
    let mut dialogue = Dialogue::logged_in();
    let opened = Outcome::MessageOpened {
        internationalized: false,
        edited_octets: None,
    };
    for (line, response, extent) in [
        ("RETR 2", "+OK 200 octets\r\n", Extent::Whole),
        (
            "TOP 2 7",
            "+OK Top of message follows\r\n",
            Extent::Top { lines: 7 },
        ),
    ] {
        let open = Action::OpenMessage(MessageNumber::at(1));
        dialogue.check(Outcome::Line(line.as_bytes()), "", &open);
        dialogue.check(opened.clone(), response, &Action::SendContent(extent));
        dialogue.check(Outcome::ContentSent, "", &READ_COMMAND);
    }
}

#[test]
fn retr_reports_the_octets_of_an_edited_message() {
    let mut dialogue = Dialogue::logged_in();
    let open = Action::OpenMessage(MessageNumber::at(1));
    dialogue.check(Outcome::Line(b"RETR 2"), "", &open);
    let opened = Outcome::MessageOpened {
        internationalized: false,
        edited_octets: Some(7),
    };
    let send = Action::SendContent(Extent::Whole);
    dialogue.check(opened, "+OK 7 octets\r\n", &send);
    dialogue.check(Outcome::ContentSent, "", &READ_COMMAND);
    let line = Outcome::Line(b"LIST 2");
    dialogue.check(line, "+OK 2 200\r\n", &READ_COMMAND);
}

#[test]
fn a_message_that_cannot_be_opened_is_not_sent() {
    for (outcome, code) in [
        (Outcome::MessageGone, "[SYS/PERM]"),
        (Outcome::MessageFailed { transient: true }, "[SYS/TEMP]"),
        (Outcome::MessageFailed { transient: false }, "[SYS/PERM]"),
        (
            Outcome::MessageOpened {
                internationalized: true,
                edited_octets: None,
            },
            "[UTF8]",
        ),
    ] {
        let mut dialogue = Dialogue::logged_in();
        let open = Action::OpenMessage(MessageNumber::at(0));
        dialogue.check(Outcome::Line(b"RETR 1"), "", &open);
        let step = dialogue.session.resume(outcome);
        let response = rendered(step.response);
        assert!(response.starts_with(&format!("-ERR {code} ")), "{response}");
        assert_eq!(step.action, READ_COMMAND);
        dialogue.line("STAT", "+OK 2 320\r\n");
    }
}

#[test]
fn quit_answers_when_the_marked_messages_are_removed() {
    let marked = || {
        let mut dialogue = Dialogue::logged_in();
        dialogue.line("DELE 2", "+OK Message 2 marked as deleted\r\n");
        let remove = Action::RemoveMarked(vec![MessageNumber::at(1)]);
        dialogue.check(Outcome::Line(b"QUIT"), "", &remove);
        dialogue
    };
    marked().check(
        Outcome::Removed,
        "+OK localhost POP3 server signing off (1 message left)\r\n",
        &QUIT,
    );
    marked().check(Outcome::RemoveFailed, REMOVE_FAILED, &CLOSE);
}

/// Sessions in every state that waits for the driver, each with a mark if the state can have one.
fn in_every_state() -> Vec<(&'static str, Dialogue)> {
    let mut states = Vec::new();
    let mut add = |name, mut dialogue: Dialogue, lines: &[&str], outcomes: Vec<Outcome<'_>>| {
        for line in lines {
            drop(dialogue.session.resume(Outcome::Line(line.as_bytes())));
        }
        for outcome in outcomes {
            drop(dialogue.session.resume(outcome));
        }
        states.push((name, dialogue));
    };
    let accepted = || vec![Outcome::PasswordAccepted];
    let opened = || {
        vec![Outcome::MessageOpened {
            internationalized: false,
            edited_octets: None,
        }]
    };
    add("authorization", Dialogue::plain(), &[], vec![]);
    add("after user", Dialogue::plain(), &["USER bob"], vec![]);
    add(
        "exchange",
        Dialogue::plain(),
        &["AUTH LOGIN", "Ym9i"],
        vec![],
    );
    add(
        "checking",
        Dialogue::plain(),
        &["USER bob", "PASS x"],
        vec![],
    );
    let scram = format!("AUTH SCRAM-SHA-256 {SCRAM_FIRST}");
    add("beginning scram", Dialogue::plain(), &[&scram], vec![]);
    let mut begun = Dialogue::plain();
    drop(begun.session.resume(Outcome::Line(scram.as_bytes())));
    drop(begun.session.resume(scram_begun()));
    add("checking proof", begun, &[SCRAM_FINAL], vec![]);
    add(
        "opening",
        Dialogue::plain(),
        &["USER bob", "PASS x"],
        accepted(),
    );
    add(
        "starting tls",
        Dialogue::local(Tls::Offered),
        &["STLS"],
        vec![],
    );
    add("transaction", Dialogue::logged_in(), &["DELE 1"], vec![]);
    add(
        "retrieving",
        Dialogue::logged_in(),
        &["DELE 1", "RETR 2"],
        vec![],
    );
    add(
        "sending",
        Dialogue::logged_in(),
        &["DELE 1", "RETR 2"],
        opened(),
    );
    add("update", Dialogue::logged_in(), &["DELE 1", "QUIT"], vec![]);
    add(
        "closed",
        Dialogue::logged_in(),
        &["DELE 1"],
        vec![Outcome::Ended(Ending::ShuttingDown)],
    );
    states
}

#[test]
fn a_session_that_ends_without_quit_removes_nothing() {
    let endings = [
        (Outcome::Ended(Ending::IdleTimeout), ""),
        (
            Outcome::Ended(Ending::SessionTimeout),
            "-ERR [SYS/TEMP] Session has lasted too long; nothing was removed; connect again\r\n",
        ),
        (
            Outcome::Ended(Ending::ShuttingDown),
            "-ERR [SYS/TEMP] Server is shutting down; nothing was removed; connect again later\r\n",
        ),
        (
            Outcome::Ended(Ending::Displaced),
            "-ERR [SYS/TEMP] Too many connections from your network; nothing was removed; connect \
             again later\r\n",
        ),
        (
            Outcome::Ended(Ending::NotOpen),
            "-ERR [SYS/PERM] This server is no longer open to your network; nothing was \
             removed\r\n",
        ),
        (
            Outcome::Ended(Ending::Revoked),
            "-ERR [AUTH] The account was removed or its password changed; no mail was removed; log \
             in again\r\n",
        ),
        (
            Outcome::Ended(Ending::MaildropLost),
            "-ERR [SYS/TEMP] Another session may have the maildrop by now; nothing was removed; \
             log in again\r\n",
        ),
        (
            Outcome::LineEndingFault("a bare LF"),
            "-ERR Bare CR or bare LF; end every line with CRLF; closing connection\r\n",
        ),
        (
            Outcome::ForeignProtocol(Foreign::Other),
            "-ERR This is a POP3 server; closing connection\r\n",
        ),
    ];
    for (ending, response) in endings {
        for (name, mut dialogue) in in_every_state() {
            let response = match name {
                // Nothing may be sent in the middle of a content.
                "sending" | "closed" => "",
                // The driver might have removed some before it gave up.
                "update" if !response.is_empty() => REMOVE_FAILED,
                _ => response,
            };
            let step = dialogue.session.resume(ending.clone());
            assert_eq!(rendered(step.response), response, "{name} {ending:?}");
            assert!(matches!(step.action, Action::Close(_)), "{name} {ending:?}");
            dialogue.check(Outcome::Line(b"QUIT"), "", &CLOSE);
        }
    }
}

#[test]
fn an_unexpected_outcome_closes_and_removes_nothing() {
    let outcomes = [
        Outcome::Line(b"QUIT"),
        Outcome::LineTooLong,
        Outcome::PasswordAccepted,
        Outcome::PasswordRefused,
        Outcome::MailboxAmbiguous,
        Outcome::CheckFailed,
        scram_begun(),
        proof_accepted(),
        Outcome::MaildropOpened(messages(&[1])),
        Outcome::MaildropInUse,
        Outcome::MaildropFailed { transient: true },
        Outcome::MessageOpened {
            internationalized: false,
            edited_octets: None,
        },
        Outcome::MessageGone,
        Outcome::MessageFailed { transient: true },
        Outcome::ContentSent,
        Outcome::Removed,
        Outcome::RemoveFailed,
        Outcome::TlsStarted(ChannelBindings::default()),
    ];
    let asked_for = |name: &str, outcome: &Outcome<'_>| match name {
        "authorization" | "after user" | "exchange" | "transaction" => {
            matches!(outcome, Outcome::Line(_) | Outcome::LineTooLong)
        }
        "checking" => matches!(
            outcome,
            Outcome::PasswordAccepted
                | Outcome::PasswordRefused
                | Outcome::MailboxAmbiguous
                | Outcome::CheckFailed
        ),
        "beginning scram" => {
            matches!(outcome, Outcome::ScramBegun(_) | Outcome::CheckFailed)
        }
        "checking proof" => matches!(
            outcome,
            Outcome::ProofAccepted { .. }
                | Outcome::PasswordRefused
                | Outcome::MailboxAmbiguous
                | Outcome::CheckFailed
        ),
        "opening" => matches!(
            outcome,
            Outcome::MaildropOpened(_) | Outcome::MaildropInUse | Outcome::MaildropFailed { .. }
        ),
        "starting tls" => matches!(outcome, Outcome::TlsStarted(_)),
        "retrieving" => matches!(
            outcome,
            Outcome::MessageOpened { .. } | Outcome::MessageGone | Outcome::MessageFailed { .. }
        ),
        "sending" => matches!(outcome, Outcome::ContentSent),
        "update" => matches!(outcome, Outcome::Removed | Outcome::RemoveFailed),
        _ => false,
    };
    for outcome in outcomes {
        for (name, mut dialogue) in in_every_state() {
            if asked_for(name, &outcome) {
                continue;
            }
            let step = dialogue.session.resume(outcome.clone());
            assert_eq!(step.action, CLOSE, "{name} {outcome:?}");
        }
    }
}

#[test]
fn a_second_greeting_closes() {
    let mut dialogue = Dialogue::logged_in();
    assert_eq!(dialogue.session.greet().action, CLOSE);
}

#[test]
fn stls_is_listed_only_where_it_is_permitted() {
    let lists_stls = |dialogue: &mut Dialogue| {
        let step = dialogue.session.resume(Outcome::Line(b"CAPA"));
        let response = rendered(step.response);
        assert!(
            response.contains("\r\nTOP\r\n") && response.ends_with("\r\n.\r\n"),
            "{response}"
        );
        response.contains("\r\nSTLS\r\n")
    };
    for (tls, listed) in [
        (Tls::NotOffered, false),
        (Tls::Offered, true),
        (active(), false),
    ] {
        let mut dialogue = Dialogue::local(tls.clone());
        assert_eq!(lists_stls(&mut dialogue), listed, "{tls:?}");
        dialogue.open();
        assert!(!lists_stls(&mut dialogue), "{tls:?} after login");
    }
    let mut dialogue = Dialogue::local(Tls::Offered);
    dialogue.line("UTF8", "+OK UTF-8 mode enabled\r\n");
    assert!(!lists_stls(&mut dialogue), "after UTF8");
    dialogue.line("STLS", "-ERR STLS is not permitted after UTF8\r\n");
}

/// SEC-2: no password in clear off loopback.
#[test]
fn a_login_off_this_machine_needs_tls() {
    let login = [
        "USER bob",
        "PASS secret",
        "AUTH PLAIN",
        "AUTH LOGIN Ym9i",
        "AUTH X",
    ];
    let capabilities = |dialogue: &mut Dialogue| {
        let step = dialogue.session.resume(Outcome::Line(b"CAPA"));
        rendered(step.response)
    };
    let is_listed = |capabilities: &str| {
        let user = capabilities.contains("\r\nUSER\r\n");
        assert_eq!(user, capabilities.contains("SASL"), "{capabilities}");
        user
    };
    let mut dialogue = Dialogue::remote(Tls::Offered);
    for line in login {
        dialogue.line(line, "-ERR Encryption is required; send STLS first\r\n");
    }
    let before = capabilities(&mut dialogue);
    assert!(before.contains("\r\nSTLS\r\n") && !is_listed(&before));
    let begin = "+OK Begin TLS negotiation\r\n";
    dialogue.check(Outcome::Line(b"STLS"), begin, &Action::StartTls);
    let started = Outcome::TlsStarted(ChannelBindings::default());
    dialogue.check(started, "", &READ_COMMAND);
    let after = capabilities(&mut dialogue);
    assert!(!after.contains("STLS") && is_listed(&after));
    dialogue.open();

    let mut dialogue = Dialogue::remote(Tls::NotOffered);
    for line in login {
        dialogue.line(
            line,
            "-ERR Passwords are not accepted without encryption\r\n",
        );
    }
    assert!(!is_listed(&capabilities(&mut dialogue)));

    let mut dialogue = Dialogue::remote(active());
    assert!(is_listed(&capabilities(&mut dialogue)));
    dialogue.open();
}

#[test]
fn tls_makes_the_session_forget_what_came_before() {
    let mut dialogue = Dialogue::local(Tls::Offered);
    dialogue.line("USER bob", "+OK Send your password with PASS\r\n");
    let begin = "+OK Begin TLS negotiation\r\n";
    dialogue.check(Outcome::Line(b"STLS"), begin, &Action::StartTls);
    dialogue.check(
        Outcome::TlsStarted(ChannelBindings::default()),
        "",
        &READ_COMMAND,
    );
    dialogue.line("PASS secret", "-ERR Send USER right before PASS\r\n");
    dialogue.line("STLS", "-ERR TLS is already active\r\n");
    dialogue.open();
}

#[test]
fn tls_does_not_reset_the_count_of_refused_logins() {
    let mut dialogue = Dialogue::local(Tls::Offered);
    let refused = "-ERR [AUTH] Wrong user name or password\r\n";
    for _ in 0..2 {
        dialogue.login();
        dialogue.check(Outcome::PasswordRefused, refused, &READ_COMMAND);
    }
    drop(dialogue.session.resume(Outcome::Line(b"STLS")));
    dialogue.check(
        Outcome::TlsStarted(ChannelBindings::default()),
        "",
        &READ_COMMAND,
    );
    dialogue.login();
    dialogue.check(Outcome::PasswordRefused, refused, &CLOSE);
}

#[test]
fn a_first_line_of_another_protocol_is_the_last() {
    let response = "-ERR This is a POP3 server; closing connection\r\n";
    for line in [
        "GET / HTTP/1.1",
        "POST / HTTP/1.0",
        "PRI * HTTP/2.0",
        "",
        " QUIT",
        "\u{16}\u{3}",
    ] {
        let mut dialogue = Dialogue::plain();
        let close = Action::Close(Closing::Foreign(Foreign::of_line(line.as_bytes()).unwrap()));
        dialogue.check(Outcome::Line(line.as_bytes()), response, &close);
        dialogue.check(Outcome::Line(b"USER bob"), "", &CLOSE);
        // The same within TLS, where the client starts over.
        let mut dialogue = Dialogue::local(Tls::Offered);
        drop(dialogue.session.resume(Outcome::Line(b"STLS")));
        dialogue.check(
            Outcome::TlsStarted(ChannelBindings::default()),
            "",
            &READ_COMMAND,
        );
        dialogue.check(Outcome::Line(line.as_bytes()), response, &close);
    }
    let mut dialogue = Dialogue::plain();
    dialogue.check(
        Outcome::LineTooLong,
        "-ERR Line too long\r\n",
        &Action::Close(Closing::Foreign(Foreign::Other)),
    );
}

#[test]
fn errors_are_counted_unless_the_limit_is_off() {
    let unknown = "-ERR Unknown command, CAPA shows what is available\r\n";
    let too_many = "-ERR Too many errors; closing connection\r\n";
    let mut dialogue = Dialogue::new(
        Settings {
            errors_max: Some(3),
            ..settings()
        },
        local(Tls::NotOffered),
    );
    dialogue.line("XYZZY", unknown);
    dialogue.check(
        Outcome::LineTooLong,
        "-ERR Line too long\r\n",
        &READ_COMMAND,
    );
    dialogue.line("PASS x", "-ERR Send USER right before PASS\r\n");
    dialogue.check(Outcome::Line(b"XYZZY"), too_many, &CLOSE);
    let mut dialogue = Dialogue::new(
        Settings {
            errors_max: None,
            ..settings()
        },
        local(Tls::NotOffered),
    );
    for _ in 0..1_000 {
        dialogue.line("XYZZY", unknown);
    }
}

#[test]
fn a_line_can_be_longer_in_an_exchange() {
    let mut dialogue = Dialogue::plain();
    let auth = Outcome::Line(b"AUTH LOGIN");
    dialogue.check(auth, "+ VXNlcm5hbWU6\r\n", &READ_RESPONSE);
    let name = Outcome::Line(b"Ym9i");
    dialogue.check(name, "+ UGFzc3dvcmQ6\r\n", &READ_RESPONSE);
    dialogue.check(
        Outcome::LineTooLong,
        "-ERR Line too long\r\n",
        &READ_COMMAND,
    );
    dialogue.line("PASS x", "-ERR Send USER right before PASS\r\n");
}

#[test]
fn a_listing_that_is_being_sent_does_not_change() {
    let mut dialogue = Dialogue::logged_in();
    let step = dialogue.session.resume(Outcome::Line(b"LIST"));
    dialogue.line("DELE 1", "+OK Message 1 marked as deleted\r\n");
    let listing = "+OK 2 messages (320 octets)\r\n1 120\r\n2 200\r\n.\r\n";
    assert_eq!(rendered(step.response), listing);
    dialogue.line("LIST", "+OK 1 message (200 octets)\r\n2 200\r\n.\r\n");
}

#[test]
fn a_host_name_cannot_break_a_response() {
    let hostname = format!("exämple\r\n{}", "x".repeat(600));
    let mut dialogue = Dialogue::new(
        Settings {
            hostname,
            ..settings()
        },
        local(Tls::NotOffered),
    );
    let response = rendered(dialogue.session.resume(Outcome::Line(b"QUIT")).response);
    assert!(
        response.len() <= RESPONSE_LINE_OCTETS_MAX,
        "{}",
        response.len()
    );
    assert!(response.starts_with("+OK ex?mple??xxx"), "{response}");
}

#[test]
fn debug_forms_show_no_password() {
    let mut dialogue = Dialogue::plain();
    let mut shown = format!("{:?}", Outcome::Line(b"PASS hunter2"));
    for line in ["USER bob", "PASS hunter2"] {
        let step = dialogue.session.resume(Outcome::Line(line.as_bytes()));
        shown = format!("{shown}{step:?}{:?}", dialogue.session);
    }
    shown = format!("{shown}{:?}", Command::parse(b"PASS hunter2"));
    for outcome in [scram_begun(), proof_accepted()] {
        shown = format!("{shown}{outcome:?}");
    }
    shown = format!("{shown}{:?}", Command::parse(b"AUTH PLAIN hunter2"));
    assert!(!shown.contains("hunter2"), "{shown}");
}

/// The maildrop as a list of messages that can be marked; everything is counted from scratch each
/// time.
struct Model {
    octets: Vec<u64>,
    marked: Vec<bool>,
}

impl Model {
    fn visible(&self) -> impl Iterator<Item = usize> {
        (0..self.octets.len()).filter(|position| !self.marked[*position])
    }

    fn total(&self) -> u64 {
        self.visible().map(|position| self.octets[position]).sum()
    }

    /// The answer that the server must give, except for texts meant for people.
    fn answer(&mut self, verb: &str, number: Option<usize>) -> String {
        let column = |verb: &str, position: usize| match verb {
            "LIST" => format!("{} {}", position + 1, self.octets[position]),
            _ => format!("{} u{position}", position + 1),
        };
        let position = number.and_then(|number| number.checked_sub(1));
        let is_visible = position.is_some_and(|position| self.marked.get(position) == Some(&false));
        match (verb, number) {
            ("STAT", _) => format!("+OK {} {}", self.visible().count(), self.total()),
            ("RSET", _) => {
                self.marked.fill(false);
                "+OK".to_owned()
            }
            ("LIST" | "UIDL", None) => {
                let lines = self
                    .visible()
                    .map(|position| column(verb, position) + "\r\n");
                format!("+OK\r\n{}.", lines.collect::<String>())
            }
            (_, Some(_)) if !is_visible => "-ERR".to_owned(),
            ("DELE", _) => {
                self.marked[position.unwrap()] = true;
                "+OK".to_owned()
            }
            _ => format!("+OK {}", column(verb, position.unwrap())),
        }
    }
}

fn without_text(verb: &str, number: Option<usize>, response: &str) -> String {
    let response = response.strip_suffix("\r\n").unwrap();
    let (first, rest) = response.split_once("\r\n").unwrap_or((response, ""));
    let shows_a_listing = verb == "STAT" || (number.is_some() && verb != "DELE");
    if first.starts_with("+OK ") && shows_a_listing {
        return first.to_owned();
    }
    let status = first.split(' ').next().unwrap().to_owned();
    if rest.is_empty() {
        status
    } else {
        format!("{status}\r\n{rest}")
    }
}

fn any_line() -> impl Strategy<Value = Vec<u8>> {
    let verb = prop_oneof![
        "(?i)(apop|auth|capa|dele|lang|list|noop|pass|quit|retr|rset|stat)",
        "(?i)(stls|top|uidl|user|utf8|auth plain|auth login|user bob|pass x)",
    ];
    let argument = prop_oneof![
        Just(String::new()),
        (0_u64..6).prop_map(|number| format!(" {number}")),
        (0_u64..6, 0_u64..6).prop_map(|(number, lines)| format!(" {number} {lines}")),
        " [ -~]{0,12}",
    ];
    prop_oneof![
        8 => (verb, argument).prop_map(|(verb, argument)| (verb + &argument).into_bytes()),
        1 => vec(any::<u8>(), 0..40),
        1 => Just(b"AHgAeA==".to_vec()),
        1 => Just(format!("AUTH SCRAM-SHA-256 {SCRAM_FIRST}").into_bytes()),
        1 => Just(SCRAM_FINAL.as_bytes().to_vec()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn stat_list_uidl_and_dele_equal_the_model(
        octets in vec(0_u64..100_000, 0..12),
        commands in vec(
            ("STAT|RSET|LIST|UIDL|DELE|DELE|DELE", proptest::option::of(0_usize..14)),
            0..40,
        ),
    ) {
        let mut dialogue = Dialogue::plain();
        dialogue.login();
        dialogue.check(Outcome::PasswordAccepted, "", &Action::OpenMaildrop);
        drop(dialogue.session.resume(Outcome::MaildropOpened(messages(&octets))));
        // Number zero is a syntax error, and those are counted.
        dialogue.session.settings.errors_max = None;
        let mut model = Model { marked: vec![false; octets.len()], octets };
        for (verb, number) in commands {
            let number = match verb.as_str() {
                "STAT" | "RSET" => None,
                "DELE" => number.or(Some(1)),
                _ => number,
            };
            let line = number.map_or(verb.clone(), |number| format!("{verb} {number}"));
            let step = dialogue.session.resume(Outcome::Line(line.as_bytes()));
            prop_assert_eq!(step.action, READ_COMMAND);
            let response = without_text(&verb, number, &rendered(step.response));
            prop_assert_eq!(response, model.answer(&verb, number), "{}", line);
        }
        let marked: Vec<_> = (0..model.marked.len())
            .filter(|position| model.marked[*position])
            .map(MessageNumber::at)
            .collect();
        let left = model.visible().count();
        let step = dialogue.session.resume(Outcome::Line(b"QUIT"));
        if marked.is_empty() {
            prop_assert_eq!(step.action, QUIT);
        } else {
            prop_assert_eq!(step.action, Action::RemoveMarked(marked));
            let said = rendered(dialogue.session.resume(Outcome::Removed).response);
            prop_assert!(left == 0 || said.contains(&format!("({left} message")), "{}", said);
        }
    }

    /// A driver that answers every action at random, and a client that sends anything.
    #[test]
    fn no_dialogue_panics_breaks_a_line_or_removes_without_quit(
        inputs in vec((any_line(), 0_usize..40), 0..60),
        offered in any::<bool>(),
    ) {
        let tls = if offered { Tls::Offered } else { Tls::NotOffered };
        let mut session = Session::new(Settings { errors_max: None, ..settings() }, local(tls));
        let mut step = session.greet();
        for (line, chance) in inputs {
            let outcome = match (&step.action, chance) {
                (Action::Close(_), _) => break,
                (_, 39) => Outcome::Ended(Ending::ShuttingDown),
                (Action::ReadLine { .. }, 38) => Outcome::LineTooLong,
                (Action::ReadLine { .. }, _) => Outcome::Line(&line),
                (Action::CheckPassword { .. } | Action::CheckProof { .. }, 0..3) => {
                    Outcome::PasswordRefused
                }
                (Action::CheckPassword { .. } | Action::BeginScram { .. }, 3) => {
                    Outcome::CheckFailed
                }
                (Action::CheckPassword { .. }, _) => Outcome::PasswordAccepted,
                (Action::BeginScram { .. }, _) => scram_begun(),
                (Action::CheckProof { .. }, _) => proof_accepted(),
                (Action::OpenMaildrop, 0..5) => Outcome::MaildropInUse,
                (Action::OpenMaildrop, _) => Outcome::MaildropOpened(messages(&[1, 2, 3])),
                (Action::OpenMessage(_), 0..5) => Outcome::MessageGone,
                (Action::OpenMessage(_), chance) => {
                    Outcome::MessageOpened {
                        internationalized: chance % 2 == 0,
                        edited_octets: None,
                    }
                }
                (Action::SendContent(_), _) => Outcome::ContentSent,
                (Action::RemoveMarked(_), 0..5) => Outcome::RemoveFailed,
                (Action::RemoveMarked(_), _) => Outcome::Removed,
                (Action::StartTls, _) => Outcome::TlsStarted(ChannelBindings::default()),
            };
            let is_quit = matches!(
                &outcome,
                Outcome::Line(line) if line.trim_ascii_end().eq_ignore_ascii_case(b"QUIT")
            );
            step = session.resume(outcome);
            if let Action::RemoveMarked(marked) = &step.action {
                prop_assert!(is_quit && !marked.is_empty() && marked.len() <= 3);
            }
            let response = rendered(step.response.take());
            prop_assert!(response.is_empty() || response.ends_with("\r\n"));
            for line in response.split_terminator("\r\n") {
                prop_assert!(line.len() + 2 <= RESPONSE_LINE_OCTETS_MAX);
                prop_assert!(line.bytes().all(|octet| matches!(octet, b' '..=b'~')), "{}", line);
            }
        }
    }
}

/// SEC-7: only the session knows what a line is.
#[test]
fn only_the_command_is_shown_of_a_line_that_could_contain_a_secret() {
    let mut session = Session::new(settings(), local(Tls::NotOffered));
    session.greet();
    for (line, shown) in [
        ("CAPA", "CAPA"),
        ("USER bob", "USER bob"),
        ("USER  bob@example.com  ", "USER  bob@example.com"),
        ("USER bob hunter2", "USER bob ***"),
        (
            "USER \"john doe\"@example.com",
            "USER \"john doe\"@example.com",
        ),
        ("pass hunter2", "pass ***"),
        ("PASS ", "PASS"),
        ("APOP bob hunter2", "APOP ***"),
        ("AUTH PLAIN aHVudGVyMg==", "AUTH PLAIN ***"),
        ("AUTH aHVudGVyMg==", "AUTH ***"),
        ("TOP 1 0", "TOP 1 0"),
        ("STAT hunter2", "STAT ***"),
        ("EHLO client", "EHLO ***"),
        ("hunter2", "***"),
    ] {
        assert_eq!(session.disclose(line.as_bytes()).to_string(), shown);
    }
    session.resume(Outcome::Line(b"AUTH PLAIN"));
    let login = session.login().unwrap();
    assert_eq!((login.mechanism, login.user), ("PLAIN", None));
    assert_eq!(session.disclose(b"QUIT").to_string(), "***");
}
