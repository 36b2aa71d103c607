//! Trace headers: their form, and that nobody can inject anything into them.

use std::net::IpAddr;

use proptest::{prelude::*, string::string_regex};

use crate::mail::{
    Charset, Domain, Family, ForwardPath, Protocol, ReversePath, parse_forward_path,
    parse_reverse_path,
    trace::{HEAD_OCTETS, Received, is_internationalized, needs_utf8, render},
};

const DATE: &str = "Mon, 23 Nov 2026 06:27:42 +0000";

const ESMTP: Protocol = Protocol {
    family: Family::Smtp,
    extended: true,
    tls: false,
    authenticated: false,
    utf8: false,
};

const UTF8SMTP: Protocol = Protocol {
    family: Family::Smtp,
    extended: true,
    tls: false,
    authenticated: false,
    utf8: true,
};

fn reverse_path(text: &str) -> ReversePath {
    let domain = Domain::parse("mail.example", Charset::Ascii).expect("a domain");
    parse_reverse_path(text, Charset::Utf8, &domain)
        .expect("a path")
        .0
}

fn forward_path(text: &str) -> ForwardPath {
    let domain = Domain::parse("mail.example", Charset::Ascii).expect("a domain");
    parse_forward_path(text, Charset::Utf8, &domain)
        .expect("a path")
        .0
}

fn received(client_name: &str) -> Received<'_> {
    Received {
        client_name,
        client_address: IpAddr::from([127, 0, 0, 1]),
        hostname: "mail.example",
        protocol: ESMTP,
        id: "1794033662.b1946ac92492d234_1f",
        forward_path: None,
        date: DATE,
    }
}

fn rendered(reverse_path: &ReversePath, received: &Received<'_>) -> String {
    let mut out = Vec::new();
    render(reverse_path, received, &mut out);
    String::from_utf8(out).expect("UTF-8")
}

/// Checks properties of every output and returns the unfolded `Received` field.
fn check_form(header: &str) -> String {
    assert!(
        header.ends_with('\n') && !header.contains('\r'),
        "{header:?}"
    );
    let mut fields = Vec::new();
    for line in header.lines() {
        assert!(line.len() <= 998 && !line.trim().is_empty(), "{header:?}");
        assert!(
            !line.chars().any(|c| c.is_control() && c != '\t'),
            "{header:?}"
        );
        match line.strip_prefix('\t') {
            Some(folded) => {
                let field: &mut String = fields.last_mut().expect("a field to go on with");
                field.push(' ');
                field.push_str(folded);
            }
            None => fields.push(line.to_owned()),
        }
    }
    assert_eq!(fields.len(), 2, "{header:?}");
    assert!(
        fields[0].starts_with("Return-Path: <") && fields[0].ends_with('>'),
        "{header:?}"
    );
    assert!(fields[1].starts_with("Received: from "), "{header:?}");
    fields.remove(1)
}

#[test]
fn the_usual_header() {
    let bob = forward_path("<bob@example.com>");
    let alice = reverse_path("<alice@example.com>");
    let header = rendered(
        &alice,
        &Received {
            forward_path: Some(&bob),
            ..received("client.example")
        },
    );
    assert_eq!(
        header,
        "Return-Path: <alice@example.com>\n\
         Received: from client.example ([127.0.0.1])\n\
         \tby mail.example (facteur) with ESMTP id 1794033662.b1946ac92492d234_1f\n\
         \tfor <bob@example.com>; Mon, 23 Nov 2026 06:27:42 +0000\n"
    );
}

#[test]
fn without_a_single_recipient_there_is_no_for_clause() {
    let header = rendered(&ReversePath::Null, &received("[192.0.2.1]"));
    assert_eq!(
        header,
        "Return-Path: <>\n\
         Received: from [192.0.2.1] ([127.0.0.1])\n\
         \tby mail.example (facteur) with ESMTP id 1794033662.b1946ac92492d234_1f;\n\
         \tMon, 23 Nov 2026 06:27:42 +0000\n"
    );
}

#[test]
fn client_addresses_are_literals() {
    for (address, expect) in [
        ("127.0.0.1", "([127.0.0.1])"),
        ("::1", "([IPv6:::1])"),
        ("2001:db8::1", "([IPv6:2001:db8::1])"),
        ("::ffff:192.0.2.1", "([192.0.2.1])"),
    ] {
        let client_address = address.parse().expect("an address");
        let header = rendered(
            &ReversePath::Null,
            &Received {
                client_address,
                ..received("c.example")
            },
        );
        let field = check_form(&header);
        assert!(
            field.contains(&format!("from c.example {expect} by ")),
            "{field}"
        );
    }
}

/// SEC-7.
#[test]
fn client_names_are_made_harmless() {
    let long = "x".repeat(300);
    let long_utf8 = "\u{eb}".repeat(300);
    for (protocol, name, expect) in [
        (ESMTP, "client.example", "client.example"),
        (ESMTP, "my_host", "my_host"),
        (ESMTP, "[192.0.2.1]", "[192.0.2.1]"),
        (ESMTP, "[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]"),
        (ESMTP, "", "unknown"),
        (ESMTP, "a b", "a?b"),
        (ESMTP, "a\r\nBcc: x", "a??Bcc??x"),
        (ESMTP, "a\0\t\x7f", "a???"),
        (
            ESMTP,
            "x (facteur) with UTF8SMTP",
            "x??facteur??with?UTF8SMTP",
        ),
        (ESMTP, "(a)", "?a?"),
        (ESMTP, "<a>;\"\\,@:", "?a???????"),
        (ESMTP, "[a", "?a"),
        (ESMTP, "a]", "a?"),
        (ESMTP, "[", "?"),
        (ESMTP, "[[a](b)]", "[?a??b?]"),
        (ESMTP, "[a;b\n]", "[a?b?]"),
        (ESMTP, "zo\u{eb}.example", "zo?.example"),
        (UTF8SMTP, "zo\u{eb}.example", "zo\u{eb}.example"),
        (UTF8SMTP, "a\u{a0}b\u{2028}c\u{85}d\u{3000}e", "a?b?c?d?e"),
        (ESMTP, &long, &"x".repeat(255)),
        (UTF8SMTP, &long_utf8, &"\u{eb}".repeat(127)),
    ] {
        let header = rendered(
            &ReversePath::Null,
            &Received {
                protocol,
                ..received(name)
            },
        );
        let field = check_form(&header);
        assert!(
            field.contains(&format!(": from {expect} ([")),
            "{name:?}: {field}"
        );
    }
}

#[test]
fn only_a_long_word_makes_a_line_longer_than_78() {
    let (local_part, domain) = ("\"".repeat(256), ["x".repeat(63).as_str(); 4].join("."));
    let longest = format!("<\"{}\"@{domain}>", local_part.replace('"', "\\\""));
    for path in [
        "<bob@example.com>",
        "<\"a b\"@[IPv6:2001:db8::1]>",
        &longest,
    ] {
        for name in [
            "c",
            "client.example",
            &"x".repeat(60),
            &"x".repeat(78),
            &"x".repeat(400),
        ] {
            let forward_path = forward_path(path);
            let header = rendered(
                &reverse_path(path),
                &Received {
                    forward_path: Some(&forward_path),
                    id: name,
                    ..received(name)
                },
            );
            check_form(&header);
            for line in header.lines().skip(1).filter(|line| line.len() > 78) {
                assert_eq!(line.trim().split(' ').count(), 1, "{line:?}");
            }
        }
    }
}

#[test]
fn smtputf8_is_read_back_from_our_own_header_only() {
    let own = |protocol, name, path: &str| {
        let forward_path = forward_path(path);
        rendered(
            &reverse_path("<\"(facteur) with UTF8SMTP \"@example.com>"),
            &Received {
                protocol,
                forward_path: Some(&forward_path),
                ..received(name)
            },
        )
    };
    let long_name = "x".repeat(400);
    let secured = Protocol {
        tls: true,
        authenticated: true,
        ..UTF8SMTP
    };
    let trap = "<\"(facteur) with UTF8SMTP \"@example.com>";
    for (head, expect) in [
        (own(UTF8SMTP, "c.example", "<bob@x>"), true),
        (own(secured, "c.example", "<bob@x>"), true),
        (own(UTF8SMTP, "with", "<bob@x>"), true),
        (own(UTF8SMTP, &long_name, trap), true),
        (own(ESMTP, "c.example", "<bob@x>"), false),
        (own(ESMTP, "c.example", trap), false),
        (own(ESMTP, "(facteur) with UTF8SMTP", "<bob@x>"), false),
        (own(ESMTP, &long_name, trap), false),
        (String::new(), false),
        ("Return-Path: <>\n".to_owned(), false),
        ("Subject: (facteur) with UTF8SMTP\n\n".to_owned(), false),
        // The first field of our header ends if the second line is not folded.
        (
            own(ESMTP, "c", "<b@x>") + "Received: from a\n\t(facteur) with UTF8SMTP\n",
            false,
        ),
        (
            "Return-Path: <>\nSubject: (facteur) with UTF8SMTP\n".to_owned(),
            false,
        ),
        (
            "Return-Path: <>\nReceived: from a\nX: (facteur) with UTF8SMTP\n".to_owned(),
            false,
        ),
        (
            "Received: from a by b (facteur) with UTF8SMTP id c; d\n".to_owned(),
            false,
        ),
    ] {
        let crlf = head.replace('\n', "\r\n");
        let message = format!("{head}Subject: x\n\n(facteur) with UTF8SMTP\n");
        for head in [&head, &crlf, &message] {
            assert_eq!(is_internationalized(head.as_bytes()), expect, "{head:?}");
        }
    }
}

#[test]
fn the_head_is_long_enough_for_the_longest_header() {
    let (local_part, domain) = ("\\\"".repeat(256), ["x".repeat(63).as_str(); 4].join("."));
    let path = reverse_path(&format!("<\"{local_part}\"@{domain}>"));
    let name = "x".repeat(400);
    let header = rendered(
        &path,
        &Received {
            protocol: UTF8SMTP,
            hostname: &name,
            id: &name,
            ..received(&name)
        },
    );
    let end = header.find("UTF8SMTP").expect("the keyword");
    assert!(end + "UTF8SMTPSA".len() <= HEAD_OCTETS, "{end}");
    assert!(is_internationalized(
        &header.as_bytes()[..header.len().min(HEAD_OCTETS)]
    ));
}

/// A line of nothing else would follow a long word.
#[test]
fn a_blank_value_adds_no_line() {
    let long = "x".repeat(200);
    let bob = forward_path("<bob@example.com>");
    for (id, date) in [("", ""), (&*long, "  \t "), ("", " "), (&*long, "")] {
        let header = rendered(
            &ReversePath::Null,
            &Received {
                hostname: &long,
                id,
                date,
                forward_path: Some(&bob),
                ..received("client.example")
            },
        );
        check_form(&header);
    }
}

fn ascii_text() -> impl Strategy<Value = String> {
    string_regex("[\\x00-\\x7f]{0,300}").expect("a regex")
}

proptest! {
    #[test]
    fn there_are_two_fields_whatever_the_client_sends(
        name in prop_oneof![any::<String>(), ascii_text()],
        utf8: bool,
        id in any::<String>(),
        date in any::<String>(),
    ) {
        let bob = forward_path("<bob@example.com>");
        let protocol = Protocol { utf8, ..ESMTP };
        let of_client = Received { protocol, forward_path: Some(&bob), ..received(&name) };
        let header = rendered(&ReversePath::Null, &of_client);
        let field = check_form(&header);
        let (before, after) = field.split_once(" ([127.0.0.1]) by ").expect("the name's end");
        prop_assert_eq!(before.split(' ').count(), 3);
        let expect = if utf8 { "UTF8SMTP" } else { "ESMTP" };
        let clauses = format!("mail.example (facteur) with {expect} id ");
        prop_assert!(after.starts_with(&clauses));
        prop_assert!(utf8 || field.is_ascii());
        prop_assert_eq!(is_internationalized(header.as_bytes()), utf8);

        // Not from the network, but it must be just as safe.
        check_form(&rendered(
            &ReversePath::Null,
            &Received { id: &id, date: &date, hostname: &name, ..of_client },
        ));
    }

    #[test]
    fn no_head_panics_or_needs_utf8_without_saying_so(head in any::<Vec<u8>>()) {
        prop_assert!(!needs_utf8(&head) || is_internationalized(&head));
    }
}

#[test]
fn utf8_is_needed_if_it_was_declared_and_is_in_the_header() {
    let declared = "Return-Path: <>\nReceived: from x ([127.0.0.1])\n\tby localhost (facteur) with \
                    UTF8SMTP id 1;\n\tMon, 23 Nov 2026 06:27:42 +0000\n";
    let undeclared = declared.replace("UTF8SMTP", "ESMTP");
    for (head, expect) in [
        (format!("{declared}Subject: d\u{e9}j\u{e0}\n\nvu\n"), true),
        (
            format!("{declared}Subject: again\n\nd\u{e9}j\u{e0} vu\n"),
            false,
        ),
        (
            format!("{declared}Subject: again\r\n\r\nd\u{e9}j\u{e0} vu\r\n"),
            false,
        ),
        (
            format!("{undeclared}Subject: d\u{e9}j\u{e0}\n\nvu\n"),
            false,
        ),
    ] {
        assert_eq!(needs_utf8(head.as_bytes()), expect, "{head:?}");
    }
}
