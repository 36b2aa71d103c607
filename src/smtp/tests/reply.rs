//! Replies: properties of all of them.

use crate::mail::sasl::Fault;
use crate::mail::{AddressError, MailboxName};
use crate::smtp::reply::{self, Reply};
use crate::smtp::{DeliveryFailure, RecipientVerdict, SyntaxError};

/// Every constant of the room.
const FIXED: [Reply; 55] = [
    reply::HELO_OK,
    reply::SENDER_OK,
    reply::RECIPIENT_OK,
    reply::SEND_CONTENT,
    reply::DELIVERED,
    reply::GOODBYE,
    reply::RESET,
    reply::NOOP,
    reply::HELP,
    reply::LMTP_HELP,
    reply::LHLO_FIRST,
    reply::LHLO_ONLY,
    reply::NOT_LMTP,
    reply::NO_LMTP_RECIPIENT,
    reply::CANNOT_VERIFY,
    reply::NO_LISTS,
    reply::READY_FOR_TLS,
    reply::NO_TLS,
    reply::TLS_ALREADY,
    reply::HELO_FIRST,
    reply::MAIL_FIRST,
    reply::SENDER_NOT_PERMITTED,
    reply::SENDER_UNCHECKED,
    reply::MAIL_ALREADY,
    reply::NO_RECIPIENT,
    reply::RECIPIENT_TOO_LATE,
    reply::CHUNKS_BEGUN,
    reply::CHUNKS_FAILED,
    reply::TOO_MANY_RECIPIENTS,
    reply::TOO_LARGE,
    reply::NOT_ENOUGH_SPACE,
    reply::AUTHENTICATED,
    reply::AUTH_REFUSED,
    reply::AUTH_UNAVAILABLE,
    reply::AUTH_LINE_TOO_LONG,
    reply::AUTH_MECHANISM,
    reply::AUTH_ALREADY,
    reply::AUTH_IN_TRANSACTION,
    reply::AUTH_REQUIRED,
    reply::TLS_AND_AUTH_REQUIRED,
    reply::AUTH_NEEDS_TLS,
    reply::AUTH_NOT_OFFERED,
    reply::AUTH_FAILED_TOO_OFTEN,
    reply::LINE_TOO_LONG,
    reply::TOO_MANY_ERRORS,
    reply::TOO_MANY_UNKNOWN,
    reply::NOT_SMTP,
    reply::IDLE_TIMEOUT,
    reply::TOO_SLOW,
    reply::SESSION_TIMEOUT,
    reply::SHUTTING_DOWN,
    reply::DISPLACED,
    reply::NOT_OPEN,
    reply::REVOKED,
    reply::OUT_OF_STEP,
];

const ADDRESS_ERRORS: [AddressError; 8] = [
    AddressError::Domain,
    AddressError::Literal,
    AddressError::LocalPart,
    AddressError::NoBrackets,
    AddressError::NonAscii,
    AddressError::NullForwardPath,
    AddressError::Path,
    AddressError::TooLong,
];

/// The replies of every error, verdict and failure.
fn derived() -> Vec<Reply> {
    let mut replies: Vec<Reply> = [
        SyntaxError::ControlCharacter,
        SyntaxError::NotUtf8,
        SyntaxError::Empty,
        SyntaxError::UnknownVerb,
        SyntaxError::ArgumentMissing("MAIL FROM:<alice@example.com>"),
        SyntaxError::ArgumentUnexpected,
        SyntaxError::ClientName,
        SyntaxError::ReversePathNotAscii,
        SyntaxError::ForwardPathNotAscii,
        SyntaxError::AfterPath,
        SyntaxError::ParameterUnknown,
        SyntaxError::ParameterValue("SMTPUTF8"),
        SyntaxError::ChunkSize,
    ]
    .map(Reply::from)
    .into();
    for error in ADDRESS_ERRORS {
        replies.push(SyntaxError::ReversePath(error).into());
        replies.push(SyntaxError::ForwardPath(error).into());
    }
    let mailbox = MailboxName::from_canonical("bob", "example.com").expect("canonical");
    replies.extend(
        [
            RecipientVerdict::Accepted(mailbox),
            RecipientVerdict::Unknown,
            RecipientVerdict::NotLocal,
            RecipientVerdict::NameTooLong,
            RecipientVerdict::TooMany,
            RecipientVerdict::Failed,
            RecipientVerdict::Full,
            RecipientVerdict::Unavailable,
        ]
        .map(|verdict| verdict.reply()),
    );
    replies.extend(
        [
            Fault::Base64,
            Fault::Cancelled,
            Fault::ChannelBinding,
            Fault::Downgrade,
            Fault::Message,
            Fault::OtherIdentity,
            Fault::Unavailable,
        ]
        .map(Reply::from),
    );
    replies.extend(
        [
            DeliveryFailure::Full,
            DeliveryFailure::Busy,
            DeliveryFailure::Transient,
        ]
        .map(Reply::from),
    );
    replies
}

/// The replies with parts from the configuration or from the client.
fn variable() -> Vec<Reply> {
    // The longest domain, which must leave room for the reply's own text.
    let longest_name = format!("localhost.{}", [&*"x".repeat(60); 4].join("."));
    let keyword = "AUTH PLAIN LOGIN".to_owned();
    let found = "a carriage return where lines end in bare LF";
    vec![
        Reply::greeting(&longest_name, "ESMTP"),
        Reply::ehlo(&longest_name, &[]),
        Reply::ehlo("localhost", &[keyword.clone().into(), keyword.into()]),
        Reply::challenge(String::new()),
        Reply::challenge("VXNlcm5hbWU6".to_owned()),
        Reply::chunk_received(u64::MAX),
        Reply::content_line_ending(found),
        Reply::command_line_ending(found),
        Reply::unavailable("Too many connections; try again later"),
    ]
}

fn render(reply: &Reply, extended: bool) -> String {
    let mut out = b"before".to_vec();
    let mut reply = reply.clone();
    if !extended {
        reply.drop_enhanced_code();
    }
    reply.render(&mut out);
    let text = String::from_utf8(out).expect("UTF-8");
    text.strip_prefix("before").expect("appended").to_owned()
}

#[test]
fn the_list_of_fixed_replies_is_complete() {
    let source = include_str!("../reply.rs");
    assert_eq!(source.matches(": Reply =").count(), FIXED.len());
}

#[test]
fn the_texts_of_the_first_dialogue_are_fixed() {
    for (reply, plain, extended) in [
        (reply::HELO_OK, "250 Ok\r\n", "250 Ok\r\n"),
        (
            reply::SENDER_OK,
            "250 Sender OK\r\n",
            "250 2.1.0 Sender OK\r\n",
        ),
        (
            reply::RECIPIENT_OK,
            "250 Recipient OK\r\n",
            "250 2.1.5 Recipient OK\r\n",
        ),
        (
            reply::SEND_CONTENT,
            "354 Envoyez votre mail\r\n",
            "354 Envoyez votre mail\r\n",
        ),
        (reply::DELIVERED, "250 OK\r\n", "250 2.0.0 OK\r\n"),
        (
            reply::GOODBYE,
            "221 Fermeture connexion\r\n",
            "221 2.0.0 Fermeture connexion\r\n",
        ),
    ] {
        assert_eq!(render(&reply, false), plain);
        assert_eq!(render(&reply, true), extended);
    }
}

/// RFC 5321 §4.2, §4.5.3.1.5: every line has the code and at most 512 octets; all but the last have
/// a hyphen after the code.
#[test]
fn every_line_has_the_form_of_a_reply() {
    for reply in FIXED.into_iter().chain(derived()).chain(variable()) {
        for extended in [false, true] {
            let text = render(&reply, extended);
            let lines: Vec<&str> = text.split_inclusive("\r\n").collect();
            for (position, line) in lines.iter().enumerate() {
                let last = position.saturating_add(1) == lines.len();
                let mark = if last { ' ' } else { '-' };
                assert!(
                    line.starts_with(&format!("{}{mark}", reply.code())),
                    "{text:?}"
                );
                assert!(line.len() <= 512, "{text:?}");
                let content = line.strip_suffix("\r\n").expect("CRLF");
                let graphic = |octet: u8| octet == b' ' || octet.is_ascii_graphic();
                assert!(content.bytes().all(graphic), "{text:?}");
            }
        }
    }
}

/// RFC 2034 §4: the first digits are equal, and every line of a reply has a code. There is none in
/// 3yz, the greeting, HELO and EHLO, nor in the replies of a driver without a session.
#[test]
fn enhanced_codes_match_their_codes() {
    let is_number = |text: &str| {
        (1..=3).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit())
    };
    let greetings = [
        "220 localhost",
        "250 localhost",
        "250-localhost",
        "250 Ok",
        "421 Too many connections; try",
    ];
    for reply in FIXED.into_iter().chain(derived()).chain(variable()) {
        let (plain, extended) = (render(&reply, false), render(&reply, true));
        if plain == extended {
            let greets = greetings.iter().any(|text| plain.starts_with(text));
            assert!(plain.starts_with('3') || greets, "{plain:?}");
            continue;
        }
        for (plain, extended) in plain.lines().zip(extended.lines()) {
            let (code, text) = plain.split_at(4);
            let enhanced = extended.strip_prefix(code).expect("the same code");
            let enhanced = enhanced.strip_suffix(text).expect("the same text");
            let enhanced = enhanced.strip_suffix(' ').expect("a space after it");
            let [class, subject, detail] = enhanced.split('.').collect::<Vec<_>>()[..] else {
                panic!("{enhanced} is not an enhanced code");
            };
            assert!(code.starts_with(class), "{extended:?}");
            assert!(matches!(class, "2" | "4" | "5"), "{extended:?}");
            assert!(is_number(subject) && is_number(detail), "{extended:?}");
        }
    }
}

/// RFC 5321 §4.2.3, RFC 3207 §4, RFC 4954 §4 and §6: only codes that exist are used.
#[test]
fn codes_are_those_of_the_rfcs() {
    let known = [
        "214", "220", "221", "235", "250", "252", "334", "354", "421", "451", "452", "454", "500",
        "501", "502", "503", "504", "530", "535", "538", "550", "552", "553", "554", "555",
    ];
    for reply in FIXED.into_iter().chain(derived()).chain(variable()) {
        assert!(known.contains(&reply.code()), "{reply:?}");
    }
}

#[test]
fn replies_to_errors_have_the_codes_of_their_clauses() {
    let path = AddressError::LocalPart;
    let long = AddressError::TooLong;
    for (error, expect) in [
        // RFC 5321 §4.1.2.
        (SyntaxError::ControlCharacter, "501 5.5.2"),
        (SyntaxError::NotUtf8, "501 5.5.2"),
        // RFC 5321 §4.2.4.
        (SyntaxError::UnknownVerb, "500 5.5.1"),
        (SyntaxError::Empty, "500 5.5.2"),
        // RFC 5321 §4.2.2, §4.3.2.
        (SyntaxError::ArgumentMissing("VRFY <address>"), "501 5.5.4"),
        (SyntaxError::ArgumentUnexpected, "501 5.5.4"),
        (SyntaxError::ClientName, "501 5.5.4"),
        (SyntaxError::AfterPath, "501 5.5.4"),
        (SyntaxError::ParameterValue("SIZE"), "501 5.5.4"),
        (SyntaxError::ChunkSize, "501 5.5.4"),
        (SyntaxError::ReversePath(path), "501 5.1.7"),
        (SyntaxError::ForwardPath(path), "501 5.1.3"),
        (SyntaxError::ReversePath(long), "553 5.1.7"),
        (SyntaxError::ForwardPath(long), "553 5.1.3"),
        // RFC 5321 §4.1.1.11.
        (SyntaxError::ParameterUnknown, "555 5.5.4"),
        // RFC 6531 §3.5.
        (SyntaxError::ReversePathNotAscii, "550 5.6.7"),
        (SyntaxError::ForwardPathNotAscii, "553 5.6.7"),
    ] {
        let text = render(&error.into(), true);
        assert!(
            text.starts_with(&format!("{expect} ")),
            "{error:?}: {text:?}"
        );
        assert!(!error.to_string().is_empty(), "{error:?}");
    }
}
