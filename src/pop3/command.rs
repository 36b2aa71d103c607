//! The command parser: one line without its line ending becomes one [`Command`].
//!
//! Syntax only: whether a command may come now is the session's business, and whether a message
//! exists is the listing's. Deviations from the grammar of RFC 2449 §3, each for the sake of people
//! at a terminal and of clients in the field: several spaces may stand between arguments and after
//! them; the argument of PASS is the rest of the line, spaces included (RFC 1939 §7); so is that of
//! USER, without the spaces around it, for a quoted local part may hold one.
//!
//! What fails: a line that is not UTF-8, or has a control character, is no command at all; neither
//! ever reaches an argument.

use super::listing::{MessageNumber, parse_decimal};
use crate::mail::{Disclosure, Secret, sasl};

/// The keyword of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// RFC 1939 §7; known, so that it can be refused in its own words.
    Apop,
    /// RFC 5034 §4.
    Auth,
    /// RFC 2449 §5.
    Capa,
    /// RFC 1939 §5.
    Dele,
    /// Of no RFC: for people who type.
    Help,
    /// RFC 6856 §3.
    Lang,
    /// RFC 1939 §5.
    List,
    /// RFC 1939 §5.
    Noop,
    /// RFC 1939 §7.
    Pass,
    /// RFC 1939 §4 and §6.
    Quit,
    /// RFC 1939 §5.
    Retr,
    /// RFC 1939 §5.
    Rset,
    /// RFC 1939 §5.
    Stat,
    /// RFC 2595 §4.
    Stls,
    /// RFC 1939 §7.
    Top,
    /// RFC 1939 §7.
    Uidl,
    /// RFC 1939 §7.
    User,
    /// RFC 6856 §2.1.
    Utf8,
}

impl Verb {
    const ALL: [(&str, Self); 18] = [
        ("APOP", Self::Apop),
        ("AUTH", Self::Auth),
        ("CAPA", Self::Capa),
        ("DELE", Self::Dele),
        ("HELP", Self::Help),
        ("LANG", Self::Lang),
        ("LIST", Self::List),
        ("NOOP", Self::Noop),
        ("PASS", Self::Pass),
        ("QUIT", Self::Quit),
        ("RETR", Self::Retr),
        ("RSET", Self::Rset),
        ("STAT", Self::Stat),
        ("STLS", Self::Stls),
        ("TOP", Self::Top),
        ("UIDL", Self::Uidl),
        ("USER", Self::User),
        ("UTF8", Self::Utf8),
    ];

    fn parse(keyword: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(keyword))
            .map(|(_, verb)| *verb)
    }

    /// How the command is to be written, as a response shows it to a person.
    pub(super) fn usage(self) -> &'static str {
        match self {
            Self::Apop => "Usage: APOP name digest",
            Self::Auth => "Usage: AUTH mechanism, or AUTH mechanism initial-response",
            Self::Capa => "Usage: CAPA",
            Self::Dele => "Usage: DELE message-number",
            Self::Help => "Usage: HELP",
            Self::Lang => "Usage: LANG, or LANG language",
            Self::List => "Usage: LIST, or LIST message-number",
            Self::Noop => "Usage: NOOP",
            Self::Pass => "Usage: PASS password",
            Self::Quit => "Usage: QUIT",
            Self::Retr => "Usage: RETR message-number",
            Self::Rset => "Usage: RSET",
            Self::Stat => "Usage: STAT",
            Self::Stls => "Usage: STLS",
            Self::Top => "Usage: TOP message-number lines",
            Self::Uidl => "Usage: UIDL, or UIDL message-number",
            Self::User => "Usage: USER name",
            Self::Utf8 => "Usage: UTF8",
        }
    }
}

/// Why a line is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyntaxError {
    /// An argument is missing, or there are too many.
    Arguments(Verb),
    /// The line has a control character.
    ControlCharacter,
    /// The line is empty.
    Empty,
    /// The line is not UTF-8.
    Encoding,
    /// TOP with a number of lines that is not decimal.
    LineCount,
    /// The line is longer than allowed.
    LineTooLong,
    /// A message-number that is not decimal, or zero.
    MessageNumber,
    /// The first word is not a keyword.
    UnknownCommand,
}

/// A command of the client. Secrets are wrapped, so its [`Debug`] form may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Log in with a digest; its arguments are not looked at, for it is refused.
    Apop,
    /// Log in by a SASL exchange.
    Auth {
        /// How: the SASL mechanism as it was written.
        mechanism: String,
        /// The first response, in base64, `=` for an empty one (RFC 5034 §4).
        initial_response: Option<Secret>,
    },
    /// List the capabilities.
    Capa,
    /// Mark a message as deleted.
    Dele(MessageNumber),
    /// Show what can be said.
    Help,
    /// Choose a language by its range, or list the languages.
    Lang(Option<String>),
    /// Show the scan listing of one message or of all.
    List(Option<MessageNumber>),
    /// Do nothing.
    Noop,
    /// Log in with the name that USER gave.
    Pass(Secret),
    /// End the session.
    Quit,
    /// Send a message.
    Retr(MessageNumber),
    /// Take all marks away.
    Rset,
    /// Show the drop listing.
    Stat,
    /// Begin TLS.
    Stls,
    /// Send the header section of a message and the first lines of its body.
    Top {
        /// Which message.
        message: MessageNumber,
        /// How many lines of the body; a number too large for the machine is the largest one.
        lines: u64,
    },
    /// Show the unique-id listing of one message or of all.
    Uidl(Option<MessageNumber>),
    /// Name the mailbox: not empty, without spaces around it, any UTF-8 without controls.
    User(String),
    /// Switch to UTF-8 mode.
    Utf8,
}

impl Command {
    /// Parses `line`, which comes without its line ending.
    ///
    /// # Errors
    /// [`SyntaxError`]: tell the client; the line had no effect.
    pub fn parse(line: &[u8]) -> Result<Self, SyntaxError> {
        let line = str::from_utf8(line).ok().ok_or(SyntaxError::Encoding)?;
        if line.chars().any(char::is_control) {
            return Err(SyntaxError::ControlCharacter);
        }
        if line.is_empty() {
            return Err(SyntaxError::Empty);
        }
        let split = line.split_once(' ');
        let (keyword, rest) = split.unwrap_or((line, ""));
        let verb = Verb::parse(keyword).ok_or(SyntaxError::UnknownCommand)?;
        // One space ends the keyword; all that follows belongs to the password, which may be empty.
        if verb == Verb::Pass && split.is_some() {
            return Ok(Self::Pass(Secret::new(rest.to_owned())));
        }
        Self::parse_arguments(verb, rest)
    }

    fn parse_arguments(verb: Verb, rest: &str) -> Result<Self, SyntaxError> {
        let mut words = rest.split(' ').filter(|word| !word.is_empty());
        match (verb, words.next(), words.next(), words.next()) {
            (Verb::Apop, ..) => Ok(Self::Apop),
            (Verb::Auth, Some(mechanism), initial_response, None) => Ok(Self::Auth {
                mechanism: mechanism.to_owned(),
                initial_response: initial_response.map(|text| Secret::new(text.to_owned())),
            }),
            (Verb::Capa, None, ..) => Ok(Self::Capa),
            (Verb::Dele, Some(number), None, _) => Ok(Self::Dele(message_number(number)?)),
            (Verb::Help, ..) => Ok(Self::Help),
            (Verb::Lang, range, None, _) => Ok(Self::Lang(range.map(str::to_owned))),
            (Verb::List, number, None, _) => {
                Ok(Self::List(number.map(message_number).transpose()?))
            }
            (Verb::Noop, None, ..) => Ok(Self::Noop),
            (Verb::Quit, None, ..) => Ok(Self::Quit),
            (Verb::Retr, Some(number), None, _) => Ok(Self::Retr(message_number(number)?)),
            (Verb::Rset, None, ..) => Ok(Self::Rset),
            (Verb::Stat, None, ..) => Ok(Self::Stat),
            (Verb::Stls, None, ..) => Ok(Self::Stls),
            (Verb::Top, Some(number), Some(lines), None) => Ok(Self::Top {
                message: message_number(number)?,
                lines: parse_decimal(lines).ok_or(SyntaxError::LineCount)?,
            }),
            (Verb::Uidl, number, None, _) => {
                Ok(Self::Uidl(number.map(message_number).transpose()?))
            }
            (Verb::User, Some(_), ..) => Ok(Self::User(rest.trim_matches(' ').to_owned())),
            (Verb::Utf8, None, ..) => Ok(Self::Utf8),
            (verb, ..) => Err(SyntaxError::Arguments(verb)),
        }
    }
}

/// What may be shown of a line that comes where a command is expected: nothing that could be a
/// secret.
pub(super) fn disclose(line: &[u8]) -> Disclosure<'_> {
    let name = line.split(|octet| *octet == b' ').next();
    let name = name.unwrap_or_default();
    let verb = str::from_utf8(name).ok().and_then(Verb::parse);
    let shown = match verb {
        None => return Disclosure::of_unknown(line),
        Some(Verb::Auth) => return sasl::disclose_command(line, name.len()),
        Some(Verb::Dele | Verb::Lang | Verb::List | Verb::Retr | Verb::Top | Verb::Uidl) => {
            line.len()
        }
        // A word behind the name may be a password.
        Some(Verb::User) => user_octets(line, name.len()),
        Some(
            Verb::Apop
            | Verb::Capa
            | Verb::Help
            | Verb::Noop
            | Verb::Pass
            | Verb::Quit
            | Verb::Rset
            | Verb::Stat
            | Verb::Stls
            | Verb::Utf8,
        ) => name.len(),
    };
    Disclosure::beginning(line, shown)
}

/// How many octets of a USER command, whose keyword has `keyword_octets`, are the keyword and a
/// name: one word, or all of it where the name is in quotes.
fn user_octets(line: &[u8], keyword_octets: usize) -> usize {
    let rest = line.get(keyword_octets..).unwrap_or_default();
    let name = rest.trim_ascii_start();
    if name.starts_with(b"\"") {
        return line.len();
    }
    let word = name.split(|octet| *octet == b' ').next();
    let behind_word = name.len().saturating_sub(word.unwrap_or_default().len());
    line.len().saturating_sub(behind_word)
}

fn message_number(text: &str) -> Result<MessageNumber, SyntaxError> {
    MessageNumber::parse(text).ok_or(SyntaxError::MessageNumber)
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn check(line: &[u8], expected: &Result<Command, SyntaxError>) {
        assert_eq!(&Command::parse(line), expected, "{}", line.escape_ascii());
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn commands_are_parsed_in_any_case_with_any_number_of_spaces() {
        let first = MessageNumber::at(0);
        for (line, command) in [
            ("APOP mrose c4c9334bac560ecc979e58001b3e22fb", Command::Apop),
            ("APOP", Command::Apop),
            ("CAPA", Command::Capa),
            ("capa", Command::Capa),
            ("CaPa  ", Command::Capa),
            ("help", Command::Help),
            ("HELP RETR", Command::Help),
            ("DELE 1", Command::Dele(first)),
            ("dele   1  ", Command::Dele(first)),
            ("LANG", Command::Lang(None)),
            ("LANG *", Command::Lang(Some("*".to_owned()))),
            ("LIST", Command::List(None)),
            ("LIST ", Command::List(None)),
            ("LIST 1", Command::List(Some(first))),
            ("LIST 01", Command::List(Some(first))),
            ("NOOP", Command::Noop),
            ("QUIT", Command::Quit),
            ("RETR 1", Command::Retr(first)),
            ("RSET", Command::Rset),
            ("STAT", Command::Stat),
            ("STLS", Command::Stls),
            (
                "TOP 1 0",
                Command::Top {
                    message: first,
                    lines: 0,
                },
            ),
            (
                "TOP  1  10 ",
                Command::Top {
                    message: first,
                    lines: 10,
                },
            ),
            (
                "TOP 1 99999999999999999999",
                Command::Top {
                    message: first,
                    lines: u64::MAX,
                },
            ),
            ("UIDL", Command::Uidl(None)),
            ("UIDL 1", Command::Uidl(Some(first))),
            ("UTF8", Command::Utf8),
        ] {
            check(line.as_bytes(), &Ok(command));
        }
    }

    #[test]
    fn a_user_name_is_the_line_without_the_spaces_around_it() {
        for (line, name) in [
            ("USER bob", "bob"),
            ("USER   bob@example.com  ", "bob@example.com"),
            ("USER \"john doe\"@example.com", "\"john doe\"@example.com"),
            ("USER björn@exämple.com", "björn@exämple.com"),
        ] {
            check(line.as_bytes(), &Ok(Command::User(name.to_owned())));
        }
        check(b"USER", &Err(SyntaxError::Arguments(Verb::User)));
        check(b"USER   ", &Err(SyntaxError::Arguments(Verb::User)));
    }

    #[test]
    fn a_password_is_the_rest_of_the_line_with_all_its_spaces() {
        for (line, password) in [
            ("PASS secret", "secret"),
            ("PASS two words", "two words"),
            ("PASS  leading and trailing ", " leading and trailing "),
            ("PASS  ", " "),
            ("PASS ", ""),
            ("PASS pässword", "pässword"),
        ] {
            check(line.as_bytes(), &Ok(Command::Pass(secret(password))));
        }
        check(b"PASS", &Err(SyntaxError::Arguments(Verb::Pass)));
    }

    #[test]
    fn auth_names_a_mechanism_and_may_bring_a_response() {
        let auth = |mechanism: &str, initial_response: Option<&str>| {
            Ok(Command::Auth {
                mechanism: mechanism.to_owned(),
                initial_response: initial_response.map(secret),
            })
        };
        check(b"AUTH PLAIN", &auth("PLAIN", None));
        check(b"auth plain AGJvYgB4", &auth("plain", Some("AGJvYgB4")));
        check(b"AUTH PLAIN =", &auth("PLAIN", Some("=")));
        check(b"AUTH Login", &auth("Login", None));
        check(b"AUTH LOGIN Ym9i", &auth("LOGIN", Some("Ym9i")));
        check(b"AUTH", &Err(SyntaxError::Arguments(Verb::Auth)));
        check(b"AUTH PLAIN a b", &Err(SyntaxError::Arguments(Verb::Auth)));
        check(b"AUTH CRAM-MD5", &auth("CRAM-MD5", None));
    }

    #[test]
    fn what_is_not_a_command_is_refused() {
        for (line, error) in [
            (&b""[..], SyntaxError::Empty),
            (b" ", SyntaxError::UnknownCommand),
            (b" NOOP", SyntaxError::UnknownCommand),
            (b"NOOPS", SyntaxError::UnknownCommand),
            (b"XTND XMIT", SyntaxError::UnknownCommand),
            (b"N\xc3\xb6\xc3\xb6p", SyntaxError::UnknownCommand),
            (b"NOOP\t", SyntaxError::ControlCharacter),
            (b"USER a\0b", SyntaxError::ControlCharacter),
            (b"PASS a\x7fb", SyntaxError::ControlCharacter),
            (b"USER a\xc2\x85b", SyntaxError::ControlCharacter),
            (b"USER \xff", SyntaxError::Encoding),
            (b"PASS \xc0\x80", SyntaxError::Encoding),
            (b"\x16\x03\x01\xff", SyntaxError::Encoding),
            (b"NOOP 1", SyntaxError::Arguments(Verb::Noop)),
            (b"QUIT now", SyntaxError::Arguments(Verb::Quit)),
            (b"LIST 1 2", SyntaxError::Arguments(Verb::List)),
            (b"RETR", SyntaxError::Arguments(Verb::Retr)),
            (b"RETR 1 2", SyntaxError::Arguments(Verb::Retr)),
            (b"DELE", SyntaxError::Arguments(Verb::Dele)),
            (b"TOP 1", SyntaxError::Arguments(Verb::Top)),
            (b"TOP 1 2 3", SyntaxError::Arguments(Verb::Top)),
            (b"LIST 0", SyntaxError::MessageNumber),
            (b"LIST -1", SyntaxError::MessageNumber),
            (b"RETR one", SyntaxError::MessageNumber),
            (b"UIDL +1", SyntaxError::MessageNumber),
            (b"TOP 1 -1", SyntaxError::LineCount),
            (b"TOP x 1", SyntaxError::MessageNumber),
        ] {
            check(line, &Err(error));
        }
    }

    /// Writes a command as a client would.
    fn render(command: &Command) -> String {
        let optional = |verb: &str, argument: Option<String>| match argument {
            Some(argument) => format!("{verb} {argument}"),
            None => verb.to_owned(),
        };
        match command {
            Command::Apop => "APOP name digest".to_owned(),
            Command::Auth {
                mechanism,
                initial_response,
            } => optional(
                &format!("AUTH {mechanism}"),
                initial_response
                    .as_ref()
                    .map(|secret| secret.expose().to_owned()),
            ),
            Command::Capa => "CAPA".to_owned(),
            Command::Dele(number) => format!("DELE {number}"),
            Command::Help => "HELP".to_owned(),
            Command::Lang(range) => optional("LANG", range.clone()),
            Command::List(number) => optional("LIST", number.map(|number| number.to_string())),
            Command::Noop => "NOOP".to_owned(),
            Command::Pass(password) => format!("PASS {}", password.expose()),
            Command::Quit => "QUIT".to_owned(),
            Command::Retr(number) => format!("RETR {number}"),
            Command::Rset => "RSET".to_owned(),
            Command::Stat => "STAT".to_owned(),
            Command::Stls => "STLS".to_owned(),
            Command::Top { message, lines } => format!("TOP {message} {lines}"),
            Command::Uidl(number) => optional("UIDL", number.map(|number| number.to_string())),
            Command::User(name) => format!("USER {name}"),
            Command::Utf8 => "UTF8".to_owned(),
        }
    }

    fn any_command() -> impl Strategy<Value = Command> {
        let number = || any::<usize>().prop_map(|n| MessageNumber::at(n.saturating_sub(1)));
        prop_oneof![
            prop_oneof![
                Just(Command::Apop),
                Just(Command::Capa),
                Just(Command::Help),
                Just(Command::Noop),
                Just(Command::Quit),
                Just(Command::Rset),
                Just(Command::Stat),
                Just(Command::Stls),
                Just(Command::Utf8),
            ],
            (
                "[A-Z0-9_-]{1,20}",
                proptest::option::of("[A-Za-z0-9+/]{1,40}=?")
            )
                .prop_map(|(mechanism, response)| Command::Auth {
                    mechanism,
                    initial_response: response.map(Secret::new),
                }),
            number().prop_map(Command::Dele),
            proptest::option::of("[a-z*-]{1,10}").prop_map(Command::Lang),
            proptest::option::of(number()).prop_map(Command::List),
            "[^\\p{Cc}]{1,30}".prop_map(|password| Command::Pass(Secret::new(password))),
            number().prop_map(Command::Retr),
            (number(), any::<u64>()).prop_map(|(message, lines)| Command::Top { message, lines }),
            proptest::option::of(number()).prop_map(Command::Uidl),
            "[^\\p{Cc} ]([^\\p{Cc}]{0,20}[^\\p{Cc} ])?".prop_map(Command::User),
        ]
    }

    /// The commands of the maildrop, read the slow way: words, and a list of what they may be.
    fn naive_command(line: &str) -> Option<Command> {
        if line.starts_with(' ') {
            return None;
        }
        let upper = line.to_ascii_uppercase();
        let words: Vec<&str> = upper.split(' ').filter(|word| !word.is_empty()).collect();
        let number = |text: &str| {
            let digits = text.chars().all(|c| c.is_ascii_digit());
            let number: usize = text.parse().ok().filter(|_| digits)?;
            number.checked_sub(1).map(MessageNumber::at)
        };
        let lines = |text: &str| text.parse().ok().filter(|_| !text.starts_with('+'));
        Some(match words.as_slice() {
            ["STAT"] => Command::Stat,
            ["NOOP"] => Command::Noop,
            ["RSET"] => Command::Rset,
            ["QUIT"] => Command::Quit,
            ["CAPA"] => Command::Capa,
            ["LIST"] => Command::List(None),
            ["UIDL"] => Command::Uidl(None),
            ["LIST", n] => Command::List(Some(number(n)?)),
            ["UIDL", n] => Command::Uidl(Some(number(n)?)),
            ["RETR", n] => Command::Retr(number(n)?),
            ["DELE", n] => Command::Dele(number(n)?),
            ["TOP", n, l] => Command::Top {
                message: number(n)?,
                lines: lines(l)?,
            },
            _ => return None,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn commands_of_the_maildrop_are_read_as_words(
            words in vec(
                select(vec![
                    "STAT", "stat", "NOOP", "RSET", "Quit", "CAPA", "LIST", "list", "UIDL", "RETR",
                    "DELE", "TOP", "top", "0", "1", "12", "+1", "-1", "x", "XYZZY", "",
                ]),
                0..5,
            ),
            blanks in select(vec![" ", "  "]),
        ) {
            let line = words.join(blanks);
            let parsed = Command::parse(line.as_bytes()).ok();
            prop_assert_eq!(parsed, naive_command(&line), "{:?}", line);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        #[test]
        fn a_rendered_command_is_parsed_to_itself(command in any_command()) {
            let line = render(&command);
            prop_assert_eq!(Command::parse(line.as_bytes()), Ok(command.clone()));
            let keyword = line.split(' ').next().unwrap_or_default();
            let lower = line.replacen(keyword, &keyword.to_ascii_lowercase(), 1);
            prop_assert_eq!(Command::parse(lower.as_bytes()), Ok(command));
        }

        #[test]
        fn no_line_panics(line in vec(any::<u8>(), 0..60), verb in 0_usize..17) {
            let with_verb = [Verb::ALL[verb].0.as_bytes(), b" ", &line].concat();
            for line in [line, with_verb] {
                if let Ok(Command::User(name)) = Command::parse(&line) {
                    prop_assert!(!name.is_empty() && !name.chars().any(char::is_control));
                }
            }
        }
    }
}
