//! Commands: valid and invalid lines, and properties of every line.

use std::fmt::Write;

use proptest::{collection::vec, option, prelude::*, sample::select, string::string_regex};

use crate::mail::{
    Address, AddressError, BodyType, Charset, Domain, Dots, ForwardPath, ReversePath, Secret,
};
use crate::smtp::{Command, Context, MailParameters, SyntaxError};

use SyntaxError::{
    AfterPath, ArgumentMissing, ArgumentUnexpected, ChunkSize, ClientName, ControlCharacter, Empty,
    ForwardPathNotAscii, NotUtf8, ParameterUnknown, ParameterValue, ReversePathNotAscii,
    UnknownVerb,
};

fn parse_as(charset: Charset, line: &[u8]) -> Result<Command<'_>, SyntaxError> {
    let context = Context {
        default_domain: &Domain::localhost(),
        charset,
        dots: Dots::BetweenAtoms,
    };
    Command::parse(line, &context)
}

fn check(table: &[(&str, Result<Command<'_>, SyntaxError>)]) {
    for (line, expect) in table {
        let found = parse_as(Charset::Ascii, line.as_bytes());
        assert_eq!(found, *expect, "{line:?}");
    }
}

fn address(text: &str) -> Address {
    Address::parse(text, Charset::Utf8).expect("an address")
}

fn mail(reverse_path: &str, parameters: MailParameters) -> Command<'static> {
    let reverse_path = match reverse_path {
        "" => ReversePath::Null,
        _ => ReversePath::Address(address(reverse_path)),
    };
    Command::Mail(reverse_path, parameters)
}

fn rcpt(forward_path: &str) -> Command<'static> {
    Command::Rcpt(ForwardPath::Address(address(forward_path)))
}

#[test]
fn verbs_are_whole_words_at_the_start_of_the_line() {
    check(&[
        ("DATA", Ok(Command::Data)),
        ("data", Ok(Command::Data)),
        ("dAtA  ", Ok(Command::Data)),
        ("DATA\t", Ok(Command::Data)),
        ("DATA \t \t", Ok(Command::Data)),
        ("DATA now", Err(ArgumentUnexpected)),
        ("RSET", Ok(Command::Rset)),
        ("RSET x", Err(ArgumentUnexpected)),
        ("QUIT", Ok(Command::Quit)),
        ("QUIT x", Err(ArgumentUnexpected)),
        ("STARTTLS", Ok(Command::StartTls)),
        ("STARTTLS x", Err(ArgumentUnexpected)),
        ("NOOP", Ok(Command::Noop)),
        ("NOOP x y z", Ok(Command::Noop)),
        ("HELP", Ok(Command::Help)),
        ("HELP me", Ok(Command::Help)),
        ("VRFY bob", Ok(Command::Vrfy)),
        ("VRFY bob SMTPUTF8", Ok(Command::Vrfy)),
        ("VRFY", Err(ArgumentMissing("VRFY <address>"))),
        ("EXPN list", Ok(Command::Expn)),
        ("EXPN", Err(ArgumentMissing("EXPN <list>"))),
        ("", Err(Empty)),
        ("   ", Err(Empty)),
        ("\t", Err(Empty)),
        (" DATA", Err(Empty)),
        ("DAT", Err(UnknownVerb)),
        ("DATAA", Err(UnknownVerb)),
        ("DATA\tnow", Err(UnknownVerb)),
        ("DÄTA", Err(UnknownVerb)),
        ("TURN", Err(UnknownVerb)),
        ("MAILFROM:<>", Err(UnknownVerb)),
    ]);
}

#[test]
fn invalid_characters_are_reported_if_the_verb_is_known() {
    for (line, expect) in [
        (&b"NOOP \x00"[..], ControlCharacter),
        (b"NOOP a\tb", ControlCharacter),
        (b"NOOP \x1b[0m", ControlCharacter),
        (b"NOOP \x7f", ControlCharacter),
        (b"NOOP \xff", NotUtf8),
        (b"NOOP \xc3", NotUtf8),
        (b"NOOP \xc3(", NotUtf8),
        (b"NOOP \xff\x00", ControlCharacter),
        (b"NOOP\x00", UnknownVerb),
        (b"\x16\x03\x01", UnknownVerb),
        (b"\xff\xfe", UnknownVerb),
        // A chunk follows, whatever the error is: the session has to close.
        (b"BDAT 5 \x00", ChunkSize),
        (b"BDAT 5 \xff", ChunkSize),
    ] {
        assert_eq!(parse_as(Charset::Utf8, line), Err(expect), "{line:?}");
    }
}

#[test]
fn hello_needs_one_word() {
    let longest = "x".repeat(255);
    let too_long = format!("EHLO {longest}x");
    let missing = |form| Err(ArgumentMissing(form));
    check(&[
        ("HELO client.example", Ok(Command::Helo("client.example"))),
        ("EHLO client.example", Ok(Command::Ehlo("client.example"))),
        (
            "EHLO   client.example  ",
            Ok(Command::Ehlo("client.example")),
        ),
        ("EHLO [127.0.0.1]", Ok(Command::Ehlo("[127.0.0.1]"))),
        ("EHLO [IPv6:::1]", Ok(Command::Ehlo("[IPv6:::1]"))),
        ("EHLO my_laptop", Ok(Command::Ehlo("my_laptop"))),
        (&format!("EHLO {longest}"), Ok(Command::Ehlo(&longest))),
        (&too_long, Err(ClientName)),
        ("HELO two words", Err(ClientName)),
        ("HELO", missing("HELO <your host name>")),
        ("EHLO ", missing("EHLO <your host name>")),
    ]);
}

#[test]
fn mail_has_a_reverse_path_and_parameters() {
    let plain = MailParameters::default();
    let size = |octets| MailParameters {
        declared_octets: Some(octets),
        ..plain
    };
    let all = MailParameters {
        declared_octets: Some(1_000),
        body: BodyType::EightBitMime,
        utf8: true,
        auth: true,
    };
    let auth = MailParameters {
        auth: true,
        ..plain
    };
    check(&[
        ("MAIL FROM:<>", Ok(mail("", plain))),
        ("mail from:<a@b.example>", Ok(mail("a@b.example", plain))),
        ("MAIL FROM: <a@b.example>", Ok(mail("a@b.example", plain))),
        ("MAIL FROM:<a>", Ok(mail("a@localhost", plain))),
        ("MAIL FROM:<@x,@y:a@b>", Ok(mail("a@b", plain))),
        ("MAIL FROM:<a@b> SIZE=0", Ok(mail("a@b", size(0)))),
        ("MAIL FROM:<> size=007  ", Ok(mail("", size(7)))),
        (
            "MAIL FROM:<> SIZE=99999999999999999999",
            Ok(mail("", size(u64::MAX))),
        ),
        ("MAIL FROM:<> BODY=7bit", Ok(mail("", plain))),
        ("MAIL FROM:<> AUTH=<>", Ok(mail("", auth))),
        ("MAIL FROM:<> AUTH=e+3Dmc2@example.com", Ok(mail("", auth))),
        ("MAIL FROM:<> auth=a+2B", Ok(mail("", auth))),
        (
            "MAIL FROM:<> SMTPUTF8 BODY=8BITMIME SIZE=1000 AUTH=a",
            Ok(mail("", all)),
        ),
        (
            "MAIL FROM:<é@b> SMTPUTF8",
            Ok(mail(
                "é@b",
                MailParameters {
                    utf8: true,
                    ..plain
                },
            )),
        ),
    ]);
}

#[test]
fn malformed_mail_is_refused() {
    let form = Err(ArgumentMissing("MAIL FROM:<alice@example.com>"));
    check(&[
        ("MAIL", form.clone()),
        ("MAIL FROM", form.clone()),
        ("MAIL FROM <a@b>", form.clone()),
        ("MAIL <a@b>", form.clone()),
        ("MAIL TO:<a@b>", form),
        (
            "MAIL FROM:",
            Err(SyntaxError::ReversePath(AddressError::NoBrackets)),
        ),
        (
            "MAIL FROM:a@b",
            Err(SyntaxError::ReversePath(AddressError::NoBrackets)),
        ),
        (
            "MAIL FROM:<a@b",
            Err(SyntaxError::ReversePath(AddressError::Path)),
        ),
        (
            "MAIL FROM:<a b@c>",
            Err(SyntaxError::ReversePath(AddressError::LocalPart)),
        ),
        ("MAIL FROM:<>SIZE=1", Err(AfterPath)),
        ("MAIL FROM:<> SIZE", Err(ParameterValue("SIZE"))),
        ("MAIL FROM:<> SIZE=", Err(ParameterValue("SIZE"))),
        ("MAIL FROM:<> SIZE=+1", Err(ParameterValue("SIZE"))),
        (
            "MAIL FROM:<> SIZE=100000000000000000000",
            Err(ParameterValue("SIZE")),
        ),
        ("MAIL FROM:<> SIZE=1 size=1", Err(ParameterValue("SIZE"))),
        ("MAIL FROM:<> BODY=BINARYMIME", Err(ParameterValue("BODY"))),
        ("MAIL FROM:<> BODY=", Err(ParameterValue("BODY"))),
        ("MAIL FROM:<> BODY", Err(ParameterValue("BODY"))),
        ("MAIL FROM:<> SMTPUTF8=", Err(ParameterValue("SMTPUTF8"))),
        ("MAIL FROM:<> AUTH", Err(ParameterValue("AUTH"))),
        ("MAIL FROM:<> AUTH=", Err(ParameterValue("AUTH"))),
        ("MAIL FROM:<> AUTH=a=b", Err(ParameterValue("AUTH"))),
        ("MAIL FROM:<> AUTH=a+", Err(ParameterValue("AUTH"))),
        ("MAIL FROM:<> AUTH=a+2", Err(ParameterValue("AUTH"))),
        ("MAIL FROM:<> AUTH=a+2b", Err(ParameterValue("AUTH"))),
        ("MAIL FROM:<> AUTH=a+3é", Err(ParameterValue("AUTH"))),
        ("MAIL FROM:<> AUTH=é", Err(ParameterValue("AUTH"))),
        ("MAIL FROM:<> AUTH=a AUTH=a", Err(ParameterValue("AUTH"))),
        ("MAIL FROM:<> RET=HDRS", Err(ParameterUnknown)),
        ("MAIL FROM:<> =1", Err(ParameterUnknown)),
        ("MAIL FROM:<é@b>", Err(ReversePathNotAscii)),
        ("MAIL FROM:<a@é.example> SIZE=1", Err(ReversePathNotAscii)),
    ]);
}

#[test]
fn rcpt_has_a_forward_path_and_no_parameters() {
    let form = Err(ArgumentMissing("RCPT TO:<bob@example.com>"));
    let bad = |error| Err(SyntaxError::ForwardPath(error));
    check(&[
        ("RCPT TO:<bob@example.com>", Ok(rcpt("bob@example.com"))),
        ("rcpt to:  <bob@example.com>  ", Ok(rcpt("bob@example.com"))),
        ("RCPT TO:<bob>", Ok(rcpt("bob@localhost"))),
        (
            "RCPT TO:<\"b b\"@example.com>",
            Ok(rcpt("\"b b\"@example.com")),
        ),
        (
            "RCPT TO:<PostMaster>",
            Ok(Command::Rcpt(ForwardPath::Postmaster)),
        ),
        ("RCPT TO:<postmaster@x>", Ok(rcpt("postmaster@x"))),
        ("RCPT", form.clone()),
        ("RCPT FROM:<a@b>", form.clone()),
        ("RCPT TO<a@b>", form),
        ("RCPT TO:", bad(AddressError::NoBrackets)),
        ("RCPT TO:<>", bad(AddressError::NullForwardPath)),
        ("RCPT TO:<@b>", bad(AddressError::Path)),
        ("RCPT TO:<a@[1.2.3]>", bad(AddressError::Literal)),
        ("RCPT TO:<a@b>x", Err(AfterPath)),
        ("RCPT TO:<a@b> NOTIFY=NEVER", Err(ParameterUnknown)),
        ("RCPT TO:<a@b> SIZE=1", Err(ParameterUnknown)),
        ("RCPT TO:<é@b>", Err(ForwardPathNotAscii)),
        ("RCPT TO:<a@é.example>", Err(ForwardPathNotAscii)),
    ]);
    let found = parse_as(Charset::Utf8, "RCPT TO:<é@b>".as_bytes());
    assert_eq!(found, Ok(rcpt("é@b")));
}

#[test]
fn bdat_has_a_size_and_optionally_last() {
    let chunk = |octets, last| Ok(Command::Bdat { octets, last });
    check(&[
        ("BDAT 0", chunk(0, false)),
        ("bdat 0 last", chunk(0, true)),
        ("BDAT  86  LAST ", chunk(86, true)),
        ("BDAT 0086", chunk(86, false)),
        ("BDAT 18446744073709551615", chunk(u64::MAX, false)),
        ("BDAT 18446744073709551616", Err(ChunkSize)),
        ("BDAT", Err(ChunkSize)),
        ("BDAT LAST", Err(ChunkSize)),
        ("BDAT -1", Err(ChunkSize)),
        ("BDAT +1", Err(ChunkSize)),
        ("BDAT 1k", Err(ChunkSize)),
        ("BDAT 0x10", Err(ChunkSize)),
        ("BDAT 1 2", Err(ChunkSize)),
        ("BDAT 1 LAST LAST", Err(ChunkSize)),
        ("BDAT 1 LASTLY", Err(ChunkSize)),
        ("BDAT ٣", Err(ChunkSize)),
    ]);
}

fn secret(text: &str) -> Secret {
    Secret::new(text.to_owned())
}

#[test]
fn a_command_shows_no_secret() {
    let command = parse_as(Charset::Ascii, b"AUTH PLAIN hunter2");
    let shown = format!("{command:?}");
    assert!(
        shown.contains("PLAIN") && !shown.contains("hunter2"),
        "{shown}"
    );
}

#[test]
fn auth_has_a_mechanism_and_optionally_a_response() {
    let auth = |mechanism, initial_response: Option<&str>| {
        Ok(Command::Auth {
            mechanism,
            initial_response: initial_response.map(secret),
        })
    };
    check(&[
        ("AUTH PLAIN", auth("PLAIN", None)),
        ("auth  login  ", auth("login", None)),
        ("AUTH PLAIN AGEAYg==", auth("PLAIN", Some("AGEAYg=="))),
        ("AUTH PLAIN =", auth("PLAIN", Some("="))),
        ("AUTH", Err(ArgumentMissing("AUTH <mechanism>"))),
        ("AUTH PLAIN a b", Err(ArgumentUnexpected)),
    ]);
}

/// Writes a command in the form of its RFC.
fn render(command: &Command<'_>) -> String {
    match command {
        Command::Ehlo(name) => format!("EHLO {name}"),
        Command::Helo(name) => format!("HELO {name}"),
        Command::Lhlo(name) => format!("LHLO {name}"),
        Command::Mail(reverse_path, parameters) => {
            let mut line = format!("MAIL FROM:{reverse_path}");
            if let Some(octets) = parameters.declared_octets {
                write!(line, " SIZE={octets}").expect("writing to a String cannot fail");
            }
            if parameters.body == BodyType::EightBitMime {
                line.push_str(" BODY=8BITMIME");
            }
            if parameters.utf8 {
                line.push_str(" SMTPUTF8");
            }
            if parameters.auth {
                line.push_str(" AUTH=e+3Dmc2@example.com");
            }
            line
        }
        Command::Rcpt(forward_path) => format!("RCPT TO:{forward_path}"),
        Command::Data => "DATA".to_owned(),
        Command::Bdat {
            octets,
            last: false,
        } => format!("BDAT {octets}"),
        Command::Bdat { octets, last: true } => format!("BDAT {octets} LAST"),
        Command::Rset => "RSET".to_owned(),
        Command::Vrfy => "VRFY bob".to_owned(),
        Command::Expn => "EXPN list".to_owned(),
        Command::Help => "HELP".to_owned(),
        Command::Noop => "NOOP".to_owned(),
        Command::Quit => "QUIT".to_owned(),
        Command::StartTls => "STARTTLS".to_owned(),
        Command::Auth {
            mechanism,
            initial_response: None,
        } => format!("AUTH {mechanism}"),
        Command::Auth {
            mechanism,
            initial_response: Some(response),
        } => format!("AUTH {mechanism} {}", response.expose()),
    }
}

fn matching(regex: &str) -> impl Strategy<Value = String> + use<> {
    string_regex(regex).expect("a regular expression")
}

/// Addresses whose local part can be anything that fits into a quoted string.
fn addresses() -> impl Strategy<Value = Address> {
    let local_part = matching("[ -~]{1,20}|[a-z.+]{1,20}|[é世a\" ]{1,8}");
    let domain =
        matching("[a-z]{1,8}(\\.[a-z0-9]{1,5}){0,3}|\\[127\\.0\\.0\\.[1-9]\\]|bücher\\.de");
    (local_part, domain).prop_map(|(local_part, domain)| {
        let domain = Domain::parse(&domain, Charset::Utf8).expect("a domain");
        Address::from_parts(local_part, domain)
    })
}

/// Well-formed commands. They borrow from a few fixed texts.
fn commands() -> impl Strategy<Value = Command<'static>> {
    let names = select(vec![
        "a",
        "client.example",
        "[127.0.0.1]",
        "[IPv6:::1]",
        "my_laptop",
    ]);
    let mechanisms = select(vec!["PLAIN", "LOGIN", "SCRAM-SHA-256"]);
    let responses = option::of(select(vec!["=", "AGEAYg==", "aGVsbG8"]));
    let reverse_paths = option::of(addresses())
        .prop_map(|address| address.map_or(ReversePath::Null, ReversePath::Address));
    let forward_paths = option::weighted(0.9, addresses())
        .prop_map(|address| address.map_or(ForwardPath::Postmaster, ForwardPath::Address));
    let mail = (reverse_paths, option::of(any::<u64>()), any::<[bool; 3]>()).prop_map(
        |(reverse_path, declared_octets, [eight_bit, utf8, auth])| {
            let body = if eight_bit {
                BodyType::EightBitMime
            } else {
                BodyType::SevenBit
            };
            let utf8 = utf8 || !reverse_path.to_string().is_ascii();
            let parameters = MailParameters {
                declared_octets,
                body,
                utf8,
                auth,
            };
            Command::Mail(reverse_path, parameters)
        },
    );
    let auth = (mechanisms, responses).prop_map(|(mechanism, response)| Command::Auth {
        mechanism,
        initial_response: response.map(secret),
    });
    prop_oneof![
        1 => names.clone().prop_map(Command::Ehlo),
        1 => names.prop_map(Command::Helo),
        4 => mail,
        4 => forward_paths.prop_map(Command::Rcpt),
        2 => (any::<u64>(), any::<bool>())
            .prop_map(|(octets, last)| Command::Bdat { octets, last }),
        2 => auth,
        2 => select(vec![
            Command::Data, Command::Rset, Command::Vrfy, Command::Expn, Command::Help,
            Command::Noop, Command::Quit, Command::StartTls,
        ]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_line_panics(line in vec(any::<u8>(), 0..100)) {
        let _parsed_or_not = parse_as(Charset::Utf8, &line);
    }

    #[test]
    fn no_argument_panics(
        verb in matching("(?i:mail from:<|rcpt to:<|mail from:<a@b> |bdat |auth |ehlo |vrfy )"),
        argument in matching("[ -~é\u{2028}世]{0,60}"),
    ) {
        let line = format!("{verb}{argument}");
        let _parsed_or_not = parse_as(Charset::Utf8, line.as_bytes());
    }

    #[test]
    fn a_written_command_is_parsed_to_itself(
        command in commands(),
        lowercase in any::<bool>(),
        blank in matching("[ \t]{0,3}"),
    ) {
        let mut line = render(&command) + &blank;
        if lowercase {
            let verb = line.split(' ').next().unwrap_or_default().to_ascii_lowercase();
            line.replace_range(..verb.len(), &verb);
        }
        prop_assert_eq!(parse_as(Charset::Utf8, line.as_bytes()), Ok(command), "{:?}", line);
    }

    #[test]
    fn ascii_commands_need_no_smtputf8(command in commands()) {
        let line = render(&command);
        let refused = matches!(command, Command::Rcpt(_)) && !line.is_ascii();
        let expect = if refused { Err(ForwardPathNotAscii) } else { Ok(command) };
        prop_assert_eq!(parse_as(Charset::Ascii, line.as_bytes()), expect, "{:?}", line);
    }
}

/// The commands without paths, parsed the slow way: words, and a list of their allowed values.
fn naive_command(line: &str) -> Option<Command<'_>> {
    if line.starts_with(' ') {
        return None;
    }
    let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    let upper: Vec<String> = words.iter().map(|word| word.to_ascii_uppercase()).collect();
    let upper: Vec<&str> = upper.iter().map(String::as_str).collect();
    Some(match upper.as_slice() {
        ["DATA"] => Command::Data,
        ["RSET"] => Command::Rset,
        ["QUIT"] => Command::Quit,
        ["STARTTLS"] => Command::StartTls,
        ["NOOP", ..] => Command::Noop,
        ["HELP", ..] => Command::Help,
        ["VRFY", _, ..] => Command::Vrfy,
        ["EXPN", _, ..] => Command::Expn,
        ["HELO", _] => Command::Helo(words[1]),
        ["EHLO", _] => Command::Ehlo(words[1]),
        ["BDAT", octets, rest @ ..] => Command::Bdat {
            octets: octets.parse().ok().filter(|_| !octets.starts_with('+'))?,
            last: match rest {
                [] => false,
                ["LAST"] => true,
                _ => return None,
            },
        },
        ["AUTH", _] => Command::Auth {
            mechanism: words[1],
            initial_response: None,
        },
        ["AUTH", _, _] => Command::Auth {
            mechanism: words[1],
            initial_response: Some(secret(words[2])),
        },
        _ => return None,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn commands_without_paths_are_parsed_as_words(
        words in vec(
            select(vec![
                "DATA", "data", "RSET", "Quit", "STARTTLS", "NOOP", "help", "VRFY", "EXPN", "HELO",
                "ehlo", "BDAT", "bdat", "LAST", "last", "AUTH", "PLAIN", "0", "12", "+1", "-1",
                "99999999999999999999", "x.example", "XYZZY", "DATAA", "",
            ]),
            0..4,
        ),
        blanks in select(vec![" ", "  "]),
    ) {
        let line = words.join(blanks);
        let parsed = parse_as(Charset::Ascii, line.as_bytes()).ok();
        prop_assert_eq!(parsed, naive_command(&line), "{:?}", line);
    }
}
