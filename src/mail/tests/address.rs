//! Addresses and paths, valid and invalid.

use proptest::{collection::vec, prelude::*, string::string_regex};

use crate::mail::{
    Address, AddressError, Charset, Domain, Dots, ForwardPath, Grammar, MailboxName, ReversePath,
    parse_forward_path, parse_reverse_path,
};

use AddressError::{Literal, LocalPart, NoBrackets, NonAscii, NullForwardPath, Path, TooLong};
use Charset::{Ascii, Utf8};

fn default_domain() -> Domain {
    Domain::parse("mail.example", Ascii).expect("a domain")
}

fn check_domains(charset: Charset, table: &[(&str, Result<&str, AddressError>)]) {
    for (text, expect) in table {
        let found = Domain::parse(text, charset);
        match expect {
            Ok(canonical) => {
                let domain = found.unwrap_or_else(|error| panic!("{text:?}: {error}"));
                assert_eq!(domain.as_str(), *text);
                assert_eq!(domain.to_string(), *text);
                assert_eq!(domain.to_a_label().as_deref(), Ok(*canonical), "{text:?}");
            }
            Err(error) => assert_eq!(found, Err(*error), "{text:?}"),
        }
    }
}

#[test]
fn domain_names() {
    let label_63 = "x".repeat(63);
    let label_64 = "x".repeat(64);
    let total_255 = [&*label_63; 4].join(".");
    let total_256 = format!("{total_255}y");
    let bad = Err(AddressError::Domain);
    check_domains(
        Ascii,
        &[
            ("example.com", Ok("example.com")),
            ("Example.COM", Ok("example.com")),
            ("localhost", Ok("localhost")),
            ("a", Ok("a")),
            ("1", Ok("1")),
            ("1.2.3.4", Ok("1.2.3.4")),
            ("a-b.c--d.example", Ok("a-b.c--d.example")),
            ("my_host._sub.example", Ok("my_host._sub.example")),
            ("xn--bcher-kva.example", Ok("xn--bcher-kva.example")),
            (&label_63, Ok(&label_63)),
            (&label_64, bad),
            (&total_255, Ok(&total_255)),
            (&total_256, Err(TooLong)),
            ("", bad),
            (".", bad),
            ("..", bad),
            (".example.com", bad),
            ("example.com.", bad),
            ("example..com", bad),
            ("-example.com", bad),
            ("example-.com", bad),
            ("example.-com", bad),
            ("example.com-", bad),
            ("exa mple.com", bad),
            ("example.com ", bad),
            ("example/com", bad),
            ("example@com", bad),
            ("example\0com", bad),
            ("example\ncom", bad),
            ("example\x7fcom", bad),
            ("b\u{fc}cher.example", Err(NonAscii)),
        ],
    );
}

#[test]
fn internationalised_domain_names() {
    let bad = Err(AddressError::Domain);
    let longest = format!("{}.example", "\u{fc}".repeat(40));
    let too_long = format!("{}.example", "\u{fc}".repeat(100));
    assert!(Domain::parse(&longest, Utf8).is_ok());
    check_domains(
        Utf8,
        &[
            ("example.com", Ok("example.com")),
            ("b\u{fc}cher.example", Ok("xn--bcher-kva.example")),
            ("B\u{dc}CHER.Example", Ok("xn--bcher-kva.example")),
            (
                "\u{4f8b}\u{3048}.\u{30c6}\u{30b9}\u{30c8}",
                Ok("xn--r8jz45g.xn--zckzah"),
            ),
            ("fa\u{df}.example", Ok("xn--fa-hia.example")),
            (
                "b\u{fc}cher.my_host.example",
                Ok("xn--bcher-kva.my_host.example"),
            ),
            (&too_long, bad), // a label of more than 63 octets in A-label form
            ("\u{ad}", bad),  // a soft hyphen, which the mapping removes
            ("\u{ad}.example", bad), // ... leaving an empty label
            ("a.\u{3002}.example", bad), // an ideographic full stop is a dot
            ("\u{ff3b}127.0.0.1]", bad), // a full-width bracket
            ("a\u{ff20}b.example", bad), // a full-width commercial at
            ("a\u{ff0f}b.example", bad), // a full-width slash
            ("\u{fc}\u{85}.example", bad), // a C1 control character
            ("\u{fc}\u{2028}x", bad), // a line separator
            ("xn--zz\u{fc}.example", bad), // not an A-label and not a U-label
            ("\u{301}a.example", bad), // begins with a combining mark
            ("-b\u{fc}cher.example", bad),
            ("b\u{fc}cher..example", bad),
            ("b\u{fc} cher.example", bad),
            ("[\u{fc}:x]", Err(Literal)),
        ],
    );
}

#[test]
fn address_literals() {
    check_domains(
        Ascii,
        &[
            ("[123.255.37.2]", Ok("[123.255.37.2]")), // RFC 5321 §4.1.3
            ("[127.0.0.1]", Ok("[127.0.0.1]")),
            ("[0.0.0.0]", Ok("[0.0.0.0]")),
            ("[255.255.255.255]", Ok("[255.255.255.255]")),
            ("[001.002.003.004]", Ok("[001.002.003.004]")), // Snum is one to three digits
            ("[IPv6:2001:db8::1]", Ok("[ipv6:2001:db8::1]")),
            ("[ipv6:2001:DB8::1]", Ok("[ipv6:2001:db8::1]")),
            ("[IPv6:::1]", Ok("[ipv6:::1]")),
            ("[IPv6:::]", Ok("[ipv6:::]")),
            ("[IPv6:1:2:3:4:5:6:7:8]", Ok("[ipv6:1:2:3:4:5:6:7:8]")),
            (
                "[IPv6:1:2:3:4:5:6:1.2.3.4]",
                Ok("[ipv6:1:2:3:4:5:6:1.2.3.4]"),
            ),
            ("[IPv6:::ffff:1.2.3.4]", Ok("[ipv6:::ffff:1.2.3.4]")),
            ("[tag:content]", Ok("[tag:content]")),
            ("[X-400:c=de;>@,\"]", Ok("[x-400:c=de;>@,\"]")),
            ("[]", Err(Literal)),
            ("[", Err(Literal)),
            ("[127.0.0.1", Err(Literal)),
            ("[127.0.0.1]x", Err(Literal)),
            ("[[127.0.0.1]]", Err(Literal)),
            ("[127.0.0]", Err(Literal)),
            ("[127.0.0.1.1]", Err(Literal)),
            ("[127.0.0.256]", Err(Literal)),
            ("[127.0.0.0001]", Err(Literal)),
            ("[127.0..1]", Err(Literal)),
            ("[127.0.0.+1]", Err(Literal)),
            ("[127.0.0.1 ]", Err(Literal)),
            ("[example.com]", Err(Literal)),
            ("[::1]", Err(Literal)), // the tag is not optional
            ("[IPv6:]", Err(Literal)),
            ("[IPv6:2001:db8::1::2]", Err(Literal)),
            ("[IPv6:12345::]", Err(Literal)),
            ("[IPv6:fe80::1%eth0]", Err(Literal)),
            ("[IPv6:1:2:3:4:5:6:7:8:9]", Err(Literal)),
            ("[IPv6:g::1]", Err(Literal)),
            ("[tag:]", Err(Literal)),
            ("[tag-:x]", Err(Literal)),
            ("[ta g:x]", Err(Literal)),
            ("[tag:x y]", Err(Literal)),
            ("[tag:x[y]", Err(Literal)),
            ("[tag:x\\y]", Err(Literal)),
            ("[tag:x\ty]", Err(Literal)),
            ("[tag:\u{fc}]", Err(NonAscii)),
        ],
    );
}

#[test]
fn ascii_addresses() {
    let long = "x".repeat(256);
    let long_address = format!("{long}@example.com");
    let too_long_address = format!("x{long}@example.com");
    for (text, expect) in [
        // Local part and domain; then the invalid ones.
        ("Smith@bar.com", Ok(("Smith", "bar.com"))), // RFC 5321 appendix D.1
        ("userx@y.foo.org", Ok(("userx", "y.foo.org"))), // §3.6.1
        ("\"Joe\\,Smith\"@x.example", Ok(("Joe,Smith", "x.example"))), // §4.1.2
        ("a.b.c@x.example", Ok(("a.b.c", "x.example"))),
        ("bob+news@x.example", Ok(("bob+news", "x.example"))),
        (
            "!#$%&'*+-/=?^_`{|}~@x.example",
            Ok(("!#$%&'*+-/=?^_`{|}~", "x.example")),
        ),
        ("1@2", Ok(("1", "2"))),
        ("bob@[127.0.0.1]", Ok(("bob", "[127.0.0.1]"))),
        ("\"bob\"@x.example", Ok(("bob", "x.example"))),
        ("\"\"@x.example", Ok(("", "x.example"))),
        ("\" \"@x.example", Ok((" ", "x.example"))),
        ("\"a@b\"@x.example", Ok(("a@b", "x.example"))),
        ("\"a>b\"@x.example", Ok(("a>b", "x.example"))),
        ("\".a..b.\"@x.example", Ok((".a..b.", "x.example"))),
        (
            "\"a\\\"b\\\\c\\d\"@x.example",
            Ok(("a\"b\\cd", "x.example")),
        ),
        ("\"../../etc\"@x.example", Ok(("../../etc", "x.example"))),
        (&long_address, Ok((&long, "example.com"))),
        (&too_long_address, Err(TooLong)),
        ("", Err(LocalPart)),
        ("@", Err(LocalPart)),
        ("@x.example", Err(LocalPart)),
        ("bob", Err(AddressError::Domain)),
        ("bob@", Err(AddressError::Domain)),
        ("bob@@x.example", Err(AddressError::Domain)),
        ("bob@x@y", Err(AddressError::Domain)),
        ("bob@x.example ", Err(AddressError::Domain)),
        ("bob@x.example>", Err(AddressError::Domain)),
        (" bob@x.example", Err(LocalPart)),
        ("<bob@x.example>", Err(LocalPart)),
        ("bob smith@x.example", Err(LocalPart)),
        ("bob @x.example", Err(LocalPart)),
        (".bob@x.example", Err(LocalPart)),
        ("bob.@x.example", Err(LocalPart)),
        ("b..b@x.example", Err(LocalPart)),
        ("bob,x@x.example", Err(LocalPart)),
        ("bob(x)@x.example", Err(LocalPart)),
        ("bob:x@x.example", Err(LocalPart)),
        ("bob\\@x.example", Err(LocalPart)),
        ("b\"o\"b@x.example", Err(LocalPart)),
        ("\"bob@x.example", Err(LocalPart)),
        ("\"bob\\\"@x.example", Err(LocalPart)),
        ("\"bob\"x@x.example", Err(LocalPart)),
        ("\"bob\".x@x.example", Err(LocalPart)), // RFC 5322 allows words, RFC 5321 does not
        ("\"", Err(LocalPart)),
        ("\"\\", Err(LocalPart)),
        ("b\0b@x.example", Err(LocalPart)),
        ("b\tb@x.example", Err(LocalPart)),
        ("b\x7fb@x.example", Err(LocalPart)),
        ("\"b\0b\"@x.example", Err(LocalPart)),
        ("\"b\tb\"@x.example", Err(LocalPart)),
        ("\"b\\\rb\"@x.example", Err(LocalPart)),
        ("\"b\x7fb\"@x.example", Err(LocalPart)),
        ("zo\u{eb}@x.example", Err(NonAscii)),
        ("\u{eb}@x.example", Err(NonAscii)),
        ("\"zo\u{eb}\"@x.example", Err(NonAscii)),
        ("\"zoe\"\u{eb}@x.example", Err(NonAscii)),
        ("bob@\u{eb}.example", Err(NonAscii)),
    ] {
        check_address(text, Ascii, expect);
    }
}

fn check_address(text: &str, charset: Charset, expect: Result<(&str, &str), AddressError>) {
    let found = Address::parse(text, charset);
    let shown = found
        .as_ref()
        .map(|a| (a.local_part(), a.domain().as_str()))
        .map_err(|e| *e);
    assert_eq!(shown, expect, "{text:?}");
    if let Ok(address) = found {
        let rendered = address.to_string();
        assert_eq!(
            Address::parse(&rendered, charset),
            Ok(address),
            "{text:?} as {rendered:?}"
        );
    }
}

/// As some carriers assign them, and in the only form that others accept.
#[test]
fn dots_anywhere() {
    let default_domain = default_domain();
    for (text, local_part, shown) in [
        ("a..b@x.example", "a..b", "\"a..b\"@x.example"),
        ("a.@x.example", "a.", "\"a.\"@x.example"),
        (".a@x.example", ".a", "\".a\"@x.example"),
        ("A...B.@x.example", "A...B.", "\"A...B.\"@x.example"),
        ("..a..@x.example", "..a..", "\"..a..\"@x.example"),
        ("../a@x.example", "../a", "\"../a\"@x.example"),
        ("a.b@x.example", "a.b", "a.b@x.example"),
        ("\"a..b\"@x.example", "a..b", "\"a..b\"@x.example"),
    ] {
        let address = Address::parse(text, anywhere(Ascii)).expect("an address");
        assert_eq!(address.local_part(), local_part);
        assert_eq!(address.to_string(), shown);
        let strict = Address::parse(shown, Ascii).expect("what others may read");
        assert_eq!(strict, address);
        assert_eq!(
            MailboxName::from_address(&strict),
            MailboxName::from_address(&address)
        );
        let path = format!("<{text}> X");
        let forward = parse_forward_path(&path, anywhere(Ascii), &default_domain);
        assert_eq!(forward, Ok((ForwardPath::Address(address.clone()), " X")));
        let reverse = parse_reverse_path(&path, anywhere(Ascii), &default_domain);
        assert_eq!(reverse, Ok((ReversePath::Address(address), " X")));
        let is_strict = text == shown;
        assert_eq!(Address::parse(text, Ascii).is_ok(), is_strict, "{text}");
    }
    for (text, error) in [
        (".@x.example", LocalPart),
        ("..@x.example", LocalPart),
        ("@x.example", LocalPart),
        ("a..b", AddressError::Domain),
        ("a..b c@x.example", LocalPart),
        ("a..\"b\"@x.example", LocalPart),
        ("a..b@x..example", AddressError::Domain),
        ("a..b@x.example.", AddressError::Domain),
        ("a..\u{eb}@x.example", NonAscii),
    ] {
        assert_eq!(
            Address::parse(text, anywhere(Ascii)),
            Err(error),
            "{text:?}"
        );
    }
}

fn anywhere(charset: Charset) -> Grammar {
    Grammar {
        charset,
        dots: Dots::Anywhere,
    }
}

#[test]
fn internationalised_addresses() {
    for (text, expect) in [
        ("bob@x.example", Ok(("bob", "x.example"))),
        ("zo\u{eb}@x.example", Ok(("zo\u{eb}", "x.example"))),
        (
            "\u{6177}.\u{20ac}@b\u{fc}cher.example",
            Ok(("\u{6177}.\u{20ac}", "b\u{fc}cher.example")),
        ),
        ("\"zo\u{eb} x\"@x.example", Ok(("zo\u{eb} x", "x.example"))),
        ("\"zo\\\u{eb}\"@x.example", Err(LocalPart)), // a quoted pair is ASCII
        ("zo\u{85}@x.example", Err(LocalPart)),
        ("zo\u{9f}@x.example", Err(LocalPart)),
        ("zo\u{2028}@x.example", Err(LocalPart)),
        ("bob\u{202e}@x.example", Err(LocalPart)),
        ("bob\u{200b}@x.example", Err(LocalPart)),
        ("\u{2066}bob@x.example", Err(LocalPart)),
        ("bob\u{a0}@x.example", Err(LocalPart)),
        ("\"bob\u{feff}\"@x.example", Err(LocalPart)),
        ("bob@x.exam\u{200b}ple", Err(AddressError::Domain)),
        ("bob@x.exam\u{ad}ple", Err(AddressError::Domain)),
        ("\"zo\u{85}\"@x.example", Err(LocalPart)),
        ("\"zo\u{2029}\"@x.example", Err(LocalPart)),
        ("zo\u{eb}..x@x.example", Err(LocalPart)),
        ("bob@\u{ad}.example", Err(AddressError::Domain)),
    ] {
        check_address(text, Utf8, expect);
    }
}

#[test]
fn local_parts_are_quoted_only_where_needed() {
    for (local_part, expect) in [
        ("bob", "bob@mail.example"),
        ("a.b", "a.b@mail.example"),
        ("zo\u{eb}", "zo\u{eb}@mail.example"),
        ("", "\"\"@mail.example"),
        ("a b", "\"a b\"@mail.example"),
        (".a", "\".a\"@mail.example"),
        ("a.", "\"a.\"@mail.example"),
        ("a..b", "\"a..b\"@mail.example"),
        ("a\"b\\c", "\"a\\\"b\\\\c\"@mail.example"),
        ("a>b@c", "\"a>b@c\"@mail.example"),
        ("a\r\nBcc: x", "\"a??Bcc: x\"@mail.example"),
        ("a\u{85}b", "\"a?b\"@mail.example"),
    ] {
        let address = Address::from_parts(local_part.to_owned(), default_domain());
        assert_eq!(address.to_string(), expect, "{local_part:?}");
    }
}

/// Checks one text as both kinds of path; `expect` is the written path and the rest.
fn check_path(text: &str, charset: Charset, expect: Result<(&str, &str), AddressError>) {
    let domain = default_domain();
    let reverse = parse_reverse_path(text, charset, &domain);
    let forward = parse_forward_path(text, charset, &domain);
    let reverse = reverse.map(|(path, rest)| (path.to_string(), rest));
    let forward = forward.map(|(path, rest)| (path.to_string(), rest));
    let expect = expect.map(|(path, rest)| (path.to_owned(), rest));
    assert_eq!(reverse, expect, "{text:?} as a reverse-path");
    assert_eq!(forward, expect, "{text:?} as a forward-path");
}

#[test]
fn paths_and_what_follows_them() {
    for (text, expect) in [
        ("<Smith@bar.com>", Ok(("<Smith@bar.com>", ""))),
        ("<bob@x.example> SIZE=1", Ok(("<bob@x.example>", " SIZE=1"))),
        ("<bob@x.example>SIZE=1", Ok(("<bob@x.example>", "SIZE=1"))),
        ("  <bob@x.example>", Ok(("<bob@x.example>", ""))),
        ("<bob@x.example> \u{eb}", Ok(("<bob@x.example>", " \u{eb}"))),
        ("<bob@x.example>>", Ok(("<bob@x.example>", ">"))),
        ("<\"bob\"@x.example>", Ok(("<bob@x.example>", ""))),
        ("<\"a>b\"@x.example> X", Ok(("<\"a>b\"@x.example>", " X"))),
        ("<\"a@b\"@x.example>", Ok(("<\"a@b\"@x.example>", ""))),
        ("<bob@[127.0.0.1]>", Ok(("<bob@[127.0.0.1]>", ""))),
        ("<bob@[tag:a>b]>", Ok(("<bob@[tag:a>b]>", ""))),
        ("<bob>", Ok(("<bob@mail.example>", ""))),
        ("<\"b b\">", Ok(("<\"b b\"@mail.example>", ""))),
        // Source routes: RFC 5321 appendix C and F.2.
        (
            "<@hosta.int,@jkl.org:userc@d.bar.org>",
            Ok(("<userc@d.bar.org>", "")),
        ),
        ("<@a:bob@x.example>", Ok(("<bob@x.example>", ""))),
        (
            "<@[127.0.0.1],@[IPv6:::1]:bob@x.example>",
            Ok(("<bob@x.example>", "")),
        ),
        ("<@a:bob>", Ok(("<bob@mail.example>", ""))),
        ("<@a:\"b:b\"@x.example>", Ok(("<\"b:b\"@x.example>", ""))),
    ] {
        check_path(text, Ascii, expect);
    }
    for (text, expect) in [
        ("<zo\u{eb}@x.example>", Ok(("<zo\u{eb}@x.example>", ""))),
        (
            "<bob@b\u{fc}cher.example> X",
            Ok(("<bob@b\u{fc}cher.example>", " X")),
        ),
        (
            "<@b\u{fc}cher.example:bob@x.example>",
            Ok(("<bob@x.example>", "")),
        ),
        ("<bob@\u{ad}>", Err(AddressError::Domain)),
        ("<bob@\u{85}>", Err(AddressError::Domain)),
    ] {
        check_path(text, Utf8, expect);
    }
}

#[test]
fn broken_paths() {
    for (text, error) in [
        ("", NoBrackets),
        ("bob@x.example", NoBrackets),
        (" bob@x.example>", NoBrackets),
        ("\t<bob@x.example>", NoBrackets),
        ("Bob <bob@x.example>", NoBrackets),
        ("\"Bob\" <bob@x.example>", NoBrackets),
        (">", NoBrackets),
        ("<", LocalPart),
        ("<bob", Path),
        ("<bob@", AddressError::Domain),
        ("<bob@x.example", Path),
        ("<bob@[127.0.0.1]", Path),
        ("<bob@x.example SIZE=1", AddressError::Domain),
        ("<bob@x.example x>", AddressError::Domain),
        ("<bob@x@y>", AddressError::Domain),
        ("<bob@x.example.>", AddressError::Domain),
        ("<bob@.x.example>", AddressError::Domain),
        ("<bob@>", AddressError::Domain),
        ("<bob@x.example,carol@x.example>", AddressError::Domain),
        ("<bob@[127.0.0.1>", Literal),
        ("<bob@[127.0.0.1]x>", AddressError::Domain),
        ("< >", LocalPart),
        ("< bob@x.example>", LocalPart),
        ("<bob @x.example>", LocalPart),
        ("<<bob@x.example>>", LocalPart),
        ("<bob\0@x.example>", LocalPart),
        ("<bob@x\0.example>", AddressError::Domain),
        ("<bob\r\n@x.example>", LocalPart),
        ("<@", AddressError::Domain),
        ("<@>", AddressError::Domain),
        ("<@a", Path),
        ("<@a>", Path),
        ("<@a,b:bob@x.example>", Path),
        ("<@a, @b:bob@x.example>", Path),
        ("<@a,@b>", Path),
        ("<@a@b:bob@x.example>", Path),
        ("<@-a:bob@x.example>", AddressError::Domain),
        ("<@:bob@x.example>", AddressError::Domain),
        ("<@a:>", LocalPart),
        ("<@a:@b:bob@x.example>", LocalPart),
        ("<zo\u{eb}@x.example>", NonAscii),
        ("<bob@\u{eb}.example>", NonAscii),
        ("<bob@[tag:\u{eb}]>", NonAscii),
        ("<@\u{eb}:bob@x.example>", NonAscii),
        ("<\u{eb}", NonAscii),
    ] {
        check_path(text, Ascii, Err(error));
    }
}

#[test]
fn the_null_path_is_for_senders_only() {
    let domain = default_domain();
    for (text, rest) in [("<>", ""), (" <> BODY=7BIT", " BODY=7BIT")] {
        assert_eq!(
            parse_reverse_path(text, Ascii, &domain),
            Ok((ReversePath::Null, rest))
        );
        assert_eq!(
            parse_forward_path(text, Ascii, &domain),
            Err(NullForwardPath)
        );
    }
    // A quoted empty local part is an address, not the null path.
    let (path, _) = parse_reverse_path("<\"\">", Ascii, &domain).expect("a path");
    assert_eq!(path.to_string(), "<\"\"@mail.example>");
}

#[test]
fn postmaster_needs_no_domain() {
    let domain = default_domain();
    for (text, is_postmaster) in [
        ("<postmaster>", true),
        ("<Postmaster>", true),
        ("<POSTMASTER> NOTIFY=NEVER", true),
        ("<\"postmaster\">", true),
        ("<@a:postmaster>", true),
        ("<postmaster@x.example>", false),
        ("<postmaster@mail.example>", false),
        ("<postmasters>", false),
    ] {
        let (path, _) = parse_forward_path(text, Ascii, &domain).expect("a path");
        assert_eq!(path == ForwardPath::Postmaster, is_postmaster, "{text:?}");
    }
    let (path, _) = parse_reverse_path("<Postmaster>", Ascii, &domain).expect("a path");
    assert_eq!(path.to_string(), "<Postmaster@mail.example>");
}

#[test]
fn an_error_is_one_line_of_ascii_that_says_what_to_write() {
    for error in [
        AddressError::Domain,
        Literal,
        LocalPart,
        NoBrackets,
        NonAscii,
        NullForwardPath,
        Path,
        TooLong,
    ] {
        let text = error.to_string();
        assert!(
            text.bytes().all(|octet| matches!(octet, 0x20..=0x7e)),
            "{text}"
        );
        assert!(text.len() <= 80 && !text.ends_with('.'), "{text}");
    }
    assert!(NoBrackets.to_string().contains("<alice@example.com>"));
    assert!(NonAscii.to_string().contains("SMTPUTF8"));
}

/// A local part by its grammar, written the long way if it is quoted.
fn local_part() -> impl Strategy<Value = String> {
    let atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~\u{eb}\u{4f8b}-]{1,8}";
    let dot_string = string_regex(&format!("{atom}(\\.{atom}){{0,3}}")).expect("a regex");
    let quoted = string_regex("\"([ !#-\\[\\]-~\u{eb}]|\\\\[ -~]){0,12}\"").expect("a regex");
    prop_oneof![dot_string, quoted]
}

fn domain() -> impl Strategy<Value = String> {
    let name = string_regex("[a-zA-Z0-9_]([a-z0-9-]{0,8}[a-z0-9])?(\\.[a-z0-9]{1,8}){0,3}");
    prop_oneof![
        name.expect("a regex"),
        any::<[u8; 4]>().prop_map(|[a, b, c, d]| format!("[{a}.{b}.{c}.{d}]")),
        any::<u128>().prop_map(|bits| format!("[IPv6:{}]", std::net::Ipv6Addr::from(bits))),
        Just("b\u{fc}cher.example".to_owned()),
    ]
}

/// Text made of the characters that have a meaning here.
fn near_path() -> impl Strategy<Value = String> {
    vec(
        prop_oneof![
            Just('<'),
            Just('>'),
            Just('@'),
            Just('.'),
            Just('"'),
            Just('\\'),
            Just('['),
            Just(']'),
            Just(':'),
            Just(','),
            Just(' '),
            Just('a'),
            Just('-'),
            Just('\u{eb}'),
            any::<char>(),
        ],
        0..24,
    )
    .prop_map(|characters| characters.into_iter().collect())
}

proptest! {
    #[test]
    fn every_text_of_the_grammar_is_parsed(local_part in local_part(), domain in domain()) {
        let text = format!("{local_part}@{domain}");
        let address = Address::parse(&text, Utf8);
        prop_assert!(address.is_ok(), "{:?} {:?}", text, address);
        let address = address.expect("checked");
        prop_assert_eq!(address.domain().as_str(), &domain);
        let again = Address::parse(&address.to_string(), Utf8);
        prop_assert_eq!(again.as_ref(), Ok(&address));

        let path = format!("<{address}>, rest");
        let parsed = parse_forward_path(&path, Utf8, &default_domain());
        prop_assert_eq!(parsed, Ok((ForwardPath::Address(address), ", rest")));

        let in_ascii = Address::parse(&text, Ascii);
        prop_assert_eq!(in_ascii.is_ok(), text.is_ascii());
    }

    #[test]
    fn no_text_panics_and_a_parsed_path_is_safe_in_a_line(text in near_path()) {
        let default_domain = default_domain();
        for grammar in [Ascii.into(), Utf8.into(), anywhere(Ascii), anywhere(Utf8)] {
            let charset = grammar.charset;
            let paths = [
                parse_reverse_path(&text, grammar, &default_domain)
                    .map(|(path, rest)| (path.to_string(), rest)),
                parse_forward_path(&text, grammar, &default_domain)
                    .map(|(path, rest)| (path.to_string(), rest)),
                Address::parse(&text, grammar).map(|a| (format!("<{a}>"), "")),
            ];
            for (path, rest) in paths.into_iter().flatten() {
                prop_assert!(!path.chars().any(char::is_control), "{:?}", path);
                prop_assert!(charset == Utf8 || path.is_ascii());
                prop_assert!(text.ends_with(rest) && path.len() < 800);
                let again = parse_reverse_path(&path, charset, &default_domain);
                prop_assert_eq!(again.map(|(path, _)| path.to_string()), Ok(path));
            }
        }
    }

    #[test]
    fn a_parsed_domain_has_a_canonical_form_that_is_stable(text in near_path()) {
        if let Ok(domain) = Domain::parse(&text, Utf8) {
            let canonical = domain.to_a_label().expect("a parsed domain has one");
            let again = Domain::parse(&canonical, Ascii).expect("the canonical form is a domain");
            prop_assert_eq!(again.to_a_label(), Ok(canonical));
        }
    }
}

/// RFC 5321 §4.1.2 the slow way, for addresses without quotes and literals: the text on each side
/// of the only `@`, if it is valid.
fn naive_address(text: &str, dots: Dots) -> Option<(&str, &str)> {
    let parts: Vec<&str> = text.split('@').collect();
    let [local_part, domain] = parts.as_slice() else {
        return None;
    };
    let is_atom = |atom: &str| {
        !atom.is_empty()
            && atom
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "+-_!".contains(c))
    };
    let is_label = |label: &str| {
        let plain = label
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        !label.is_empty() && plain && !label.starts_with('-') && !label.ends_with('-')
    };
    let mut atoms = local_part.split('.');
    let is_local_part = match dots {
        Dots::BetweenAtoms => atoms.all(is_atom),
        Dots::Anywhere => is_atom(&local_part.replace('.', "")),
    };
    let valid = is_local_part && domain.split('.').all(is_label);
    valid.then_some((*local_part, *domain))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn plain_addresses_are_accepted_as_the_grammar_says(
        text in string_regex("[a1B@.+_! -]{0,12}|[a1.+-]{1,5}@[ab.-]{1,6}").expect("a regex"),
    ) {
        for grammar in [Ascii.into(), anywhere(Ascii)] {
            let parsed = Address::parse(&text, grammar).ok();
            let parsed = parsed.as_ref().map(|a| (a.local_part(), a.domain().as_str()));
            prop_assert_eq!(parsed, naive_address(&text, grammar.dots));
        }
    }
}
