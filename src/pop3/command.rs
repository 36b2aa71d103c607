//! The command parser: it turns one line without its line ending into one [`Command`].
//!
//! It checks only syntax. The session decides whether a command is allowed now, and the listing
//! whether a message exists. Deviations from the grammar of RFC 2449 §3, for people at a terminal
//! and for real clients: several spaces are allowed between and after arguments; the argument of
//! PASS is the rest of the line, including spaces (RFC 1939 §7); so is that of USER, without the
//! spaces around it, because a quoted local part can contain one.
//!
//! A line that is not UTF-8 or contains a control character is not a command, so neither ever
//! reaches an argument.
//!
//! A command is a row of [`VERBS`], a variant of the enum for the state in which it is allowed, and
//! the arm in the session that answers it.

use super::listing::{MessageNumber, parse_decimal};
use crate::mail::{Disclosure, Secret, sasl};

/// A command of the client, by the state in which it is allowed. Secrets are wrapped, so its
/// [`Debug`] form may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// In both states.
    Always(Always),
    /// Before login: part of a login.
    LogIn(LogIn),
    /// Before login: it changes the connection.
    Prepare(Prepare),
    /// After login.
    Maildrop(Maildrop),
}

/// A command that is allowed in both states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Always {
    /// List the capabilities.
    Capa,
    /// Show the commands.
    Help,
    /// Choose a language by its range, or list the languages.
    Lang(Option<String>),
    /// End the session.
    Quit,
}

/// A command that is part of a login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogIn {
    /// Log in with a digest; its arguments are ignored, because it is refused.
    Apop,
    /// Log in by a SASL exchange.
    Auth {
        /// The SASL mechanism as it was written.
        mechanism: String,
        /// The first response, in base64, `=` for an empty one (RFC 5034 §4).
        initial_response: Option<Secret>,
    },
    /// Log in with the name from USER.
    Pass(Secret),
    /// Name the mailbox: not empty, no spaces around it, any UTF-8 without control characters.
    User(String),
}

/// A command that changes the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prepare {
    /// Begin TLS.
    Stls,
    /// Switch to UTF-8 mode.
    Utf8,
}

/// A command on the maildrop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maildrop {
    /// Mark a message as deleted.
    Dele(MessageNumber),
    /// Show the scan listing of one message or of all.
    List(Option<MessageNumber>),
    /// Do nothing.
    Noop,
    /// Send a message.
    Retr(MessageNumber),
    /// Remove all marks.
    Rset,
    /// Show the drop listing.
    Stat,
    /// Send the header section of a message and the first lines of its body.
    Top {
        /// Which message.
        message: MessageNumber,
        /// How many lines of the body; a number that is too large becomes the largest possible one.
        lines: u64,
    },
    /// Show the unique-id listing of one message or of all.
    Uidl(Option<MessageNumber>),
}

impl From<Always> for Command {
    fn from(command: Always) -> Self {
        Self::Always(command)
    }
}

impl From<LogIn> for Command {
    fn from(command: LogIn) -> Self {
        Self::LogIn(command)
    }
}

impl From<Prepare> for Command {
    fn from(command: Prepare) -> Self {
        Self::Prepare(command)
    }
}

impl From<Maildrop> for Command {
    fn from(command: Maildrop) -> Self {
        Self::Maildrop(command)
    }
}

/// Why a line is not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyntaxError {
    /// An argument is missing, or there are too many.
    Arguments {
        /// The syntax of the command, as a response shows it.
        usage: &'static str,
    },
    /// The line contains a control character.
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

/// Everything about a command.
struct Verb {
    /// Its keyword.
    name: &'static str,
    /// Its syntax.
    usage: &'static str,
    /// The part of its line that may be shown: nothing that could be a secret. The second argument
    /// is the length of the keyword.
    disclose: fn(&[u8], usize) -> Disclosure<'_>,
    parse: fn(&Arguments<'_>) -> Result<Command, SyntaxError>,
}

/// All commands, with the RFC of each. The enum that a row parses to determines the states in which
/// it is allowed.
const VERBS: [Verb; 18] = [
    // RFC 1939 §7. It is known only so that its refusal can say what to use instead.
    Verb {
        name: "APOP",
        usage: "Usage: APOP name digest",
        disclose: keyword,
        parse: |_| Ok(LogIn::Apop.into()),
    },
    // RFC 5034 §4.
    Verb {
        name: "AUTH",
        usage: "Usage: AUTH mechanism, or AUTH mechanism initial-response",
        disclose: sasl::disclose_command,
        parse: |arguments| match arguments.words() {
            [Some(mechanism), initial_response, None] => Ok(Command::LogIn(LogIn::Auth {
                mechanism: mechanism.to_owned(),
                initial_response: initial_response.map(|text| Secret::new(text.to_owned())),
            })),
            _ => arguments.refuse(),
        },
    },
    // RFC 2449 §5.
    Verb {
        name: "CAPA",
        usage: "Usage: CAPA",
        disclose: keyword,
        parse: |arguments| arguments.none(Always::Capa),
    },
    // RFC 1939 §5.
    Verb {
        name: "DELE",
        usage: "Usage: DELE message-number",
        disclose: whole,
        parse: |arguments| Ok(Maildrop::Dele(arguments.message_number()?).into()),
    },
    // Not from an RFC: for people who type.
    Verb {
        name: "HELP",
        usage: "Usage: HELP",
        disclose: keyword,
        parse: |_| Ok(Always::Help.into()),
    },
    // RFC 6856 §3.
    Verb {
        name: "LANG",
        usage: "Usage: LANG, or LANG language",
        disclose: whole,
        parse: |arguments| {
            let range = arguments.at_most_one()?;
            Ok(Always::Lang(range.map(str::to_owned)).into())
        },
    },
    // RFC 1939 §5.
    Verb {
        name: "LIST",
        usage: "Usage: LIST, or LIST message-number",
        disclose: whole,
        parse: |arguments| Ok(Maildrop::List(arguments.message_number_if_any()?).into()),
    },
    // RFC 1939 §5.
    Verb {
        name: "NOOP",
        usage: "Usage: NOOP",
        disclose: keyword,
        parse: |arguments| arguments.none(Maildrop::Noop),
    },
    // RFC 1939 §7: one space ends the keyword; everything after it belongs to the password, which
    // can be empty.
    Verb {
        name: "PASS",
        usage: "Usage: PASS password",
        disclose: keyword,
        parse: |arguments| match arguments.text {
            Some(password) => Ok(LogIn::Pass(Secret::new(password.to_owned())).into()),
            None => arguments.refuse(),
        },
    },
    // RFC 1939 §4 and §6.
    Verb {
        name: "QUIT",
        usage: "Usage: QUIT",
        disclose: keyword,
        parse: |arguments| arguments.none(Always::Quit),
    },
    // RFC 1939 §5.
    Verb {
        name: "RETR",
        usage: "Usage: RETR message-number",
        disclose: whole,
        parse: |arguments| Ok(Maildrop::Retr(arguments.message_number()?).into()),
    },
    // RFC 1939 §5.
    Verb {
        name: "RSET",
        usage: "Usage: RSET",
        disclose: keyword,
        parse: |arguments| arguments.none(Maildrop::Rset),
    },
    // RFC 1939 §5.
    Verb {
        name: "STAT",
        usage: "Usage: STAT",
        disclose: keyword,
        parse: |arguments| arguments.none(Maildrop::Stat),
    },
    // RFC 2595 §4.
    Verb {
        name: "STLS",
        usage: "Usage: STLS",
        disclose: keyword,
        parse: |arguments| arguments.none(Prepare::Stls),
    },
    // RFC 1939 §7.
    Verb {
        name: "TOP",
        usage: "Usage: TOP message-number lines",
        disclose: whole,
        parse: |arguments| match arguments.words() {
            [Some(number), Some(lines), None] => Ok(Command::Maildrop(Maildrop::Top {
                message: message_number(number)?,
                lines: parse_decimal(lines).ok_or(SyntaxError::LineCount)?,
            })),
            _ => arguments.refuse(),
        },
    },
    // RFC 1939 §7.
    Verb {
        name: "UIDL",
        usage: "Usage: UIDL, or UIDL message-number",
        disclose: whole,
        parse: |arguments| Ok(Maildrop::Uidl(arguments.message_number_if_any()?).into()),
    },
    // RFC 1939 §7.
    Verb {
        name: "USER",
        usage: "Usage: USER name",
        disclose: user,
        parse: |arguments| match arguments.text.unwrap_or_default().trim_matches(' ') {
            "" => arguments.refuse(),
            name => Ok(LogIn::User(name.to_owned()).into()),
        },
    },
    // RFC 6856 §2.1.
    Verb {
        name: "UTF8",
        usage: "Usage: UTF8",
        disclose: keyword,
        parse: |arguments| arguments.none(Prepare::Utf8),
    },
];

impl Verb {
    fn named(keyword: &str) -> Option<&'static Self> {
        const { &VERBS }
            .iter()
            .find(|verb| verb.name.eq_ignore_ascii_case(keyword))
    }
}

/// The text after the keyword.
struct Arguments<'a> {
    /// `None` if not even a space follows.
    text: Option<&'a str>,
    usage: &'static str,
}

impl<'a> Arguments<'a> {
    /// The first three words.
    fn words(&self) -> [Option<&'a str>; 3] {
        let mut words = self.text.unwrap_or_default().split(' ');
        let mut next = || words.find(|word| !word.is_empty());
        [next(), next(), next()]
    }

    fn refuse<T>(&self) -> Result<T, SyntaxError> {
        Err(SyntaxError::Arguments { usage: self.usage })
    }

    /// `command`, if there are no arguments.
    fn none(&self, command: impl Into<Command>) -> Result<Command, SyntaxError> {
        match self.words() {
            [None, ..] => Ok(command.into()),
            _ => self.refuse(),
        }
    }

    fn at_most_one(&self) -> Result<Option<&'a str>, SyntaxError> {
        match self.words() {
            [word, None, _] => Ok(word),
            _ => self.refuse(),
        }
    }

    fn message_number(&self) -> Result<MessageNumber, SyntaxError> {
        self.at_most_one()?
            .map_or_else(|| self.refuse(), message_number)
    }

    fn message_number_if_any(&self) -> Result<Option<MessageNumber>, SyntaxError> {
        self.at_most_one()?.map(message_number).transpose()
    }
}

fn message_number(text: &str) -> Result<MessageNumber, SyntaxError> {
    MessageNumber::parse(text).ok_or(SyntaxError::MessageNumber)
}

impl Command {
    /// Parses `line`, which comes without its line ending.
    ///
    /// # Errors
    /// [`SyntaxError`]: report it to the client; the line had no effect.
    pub fn parse(line: &[u8]) -> Result<Self, SyntaxError> {
        let line = str::from_utf8(line).ok().ok_or(SyntaxError::Encoding)?;
        if line.chars().any(char::is_control) {
            return Err(SyntaxError::ControlCharacter);
        }
        if line.is_empty() {
            return Err(SyntaxError::Empty);
        }
        let (keyword, text) = match line.split_once(' ') {
            Some((keyword, text)) => (keyword, Some(text)),
            None => (line, None),
        };
        let verb = Verb::named(keyword).ok_or(SyntaxError::UnknownCommand)?;
        let usage = verb.usage;
        (verb.parse)(&Arguments { text, usage })
    }
}

/// The part of a line that may be shown where a command is expected: nothing that could be a
/// secret.
pub(super) fn disclose(line: &[u8]) -> Disclosure<'_> {
    let name = line.split(|octet| *octet == b' ').next();
    let name = name.unwrap_or_default();
    match str::from_utf8(name).ok().and_then(Verb::named) {
        Some(verb) => (verb.disclose)(line, name.len()),
        None => Disclosure::of_unknown(line),
    }
}

fn keyword(line: &[u8], keyword_octets: usize) -> Disclosure<'_> {
    Disclosure::beginning(line, keyword_octets)
}

fn whole(line: &[u8], _: usize) -> Disclosure<'_> {
    Disclosure::beginning(line, line.len())
}

/// A word after the name might be a password.
fn user(line: &[u8], keyword_octets: usize) -> Disclosure<'_> {
    Disclosure::beginning(line, user_octets(line, keyword_octets))
}

/// How many octets of a USER command, with a keyword of `keyword_octets`, are the keyword and a
/// name: one word, or everything if the name is in quotes.
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

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};

    use super::*;

    fn check(line: &[u8], expected: &Result<Command, SyntaxError>) {
        assert_eq!(&Command::parse(line), expected, "{}", line.escape_ascii());
    }

    fn usage(name: &str) -> SyntaxError {
        let usage = Verb::named(name).unwrap().usage;
        SyntaxError::Arguments { usage }
    }

    fn secret(text: &str) -> Secret {
        Secret::new(text.to_owned())
    }

    #[test]
    fn commands_are_parsed_in_any_case_with_any_number_of_spaces() {
        let first = MessageNumber::at(0);
        for (line, command) in [
            (
                "APOP mrose c4c9334bac560ecc979e58001b3e22fb",
                Command::LogIn(LogIn::Apop),
            ),
            ("APOP", Command::LogIn(LogIn::Apop)),
            ("CAPA", Command::Always(Always::Capa)),
            ("capa", Command::Always(Always::Capa)),
            ("CaPa  ", Command::Always(Always::Capa)),
            ("help", Command::Always(Always::Help)),
            ("HELP RETR", Command::Always(Always::Help)),
            ("DELE 1", Command::Maildrop(Maildrop::Dele(first))),
            ("dele   1  ", Command::Maildrop(Maildrop::Dele(first))),
            ("LANG", Command::Always(Always::Lang(None))),
            (
                "LANG *",
                Command::Always(Always::Lang(Some("*".to_owned()))),
            ),
            ("LIST", Command::Maildrop(Maildrop::List(None))),
            ("LIST ", Command::Maildrop(Maildrop::List(None))),
            ("LIST 1", Command::Maildrop(Maildrop::List(Some(first)))),
            ("LIST 01", Command::Maildrop(Maildrop::List(Some(first)))),
            ("NOOP", Command::Maildrop(Maildrop::Noop)),
            ("QUIT", Command::Always(Always::Quit)),
            ("RETR 1", Command::Maildrop(Maildrop::Retr(first))),
            ("RSET", Command::Maildrop(Maildrop::Rset)),
            ("STAT", Command::Maildrop(Maildrop::Stat)),
            ("STLS", Command::Prepare(Prepare::Stls)),
            (
                "TOP 1 0",
                Command::Maildrop(Maildrop::Top {
                    message: first,
                    lines: 0,
                }),
            ),
            (
                "TOP  1  10 ",
                Command::Maildrop(Maildrop::Top {
                    message: first,
                    lines: 10,
                }),
            ),
            (
                "TOP 1 99999999999999999999",
                Command::Maildrop(Maildrop::Top {
                    message: first,
                    lines: u64::MAX,
                }),
            ),
            ("UIDL", Command::Maildrop(Maildrop::Uidl(None))),
            ("UIDL 1", Command::Maildrop(Maildrop::Uidl(Some(first)))),
            ("UTF8", Command::Prepare(Prepare::Utf8)),
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
            check(
                line.as_bytes(),
                &Ok(Command::LogIn(LogIn::User(name.to_owned()))),
            );
        }
        check(b"USER", &Err(usage("USER")));
        check(b"USER   ", &Err(usage("USER")));
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
            check(
                line.as_bytes(),
                &Ok(Command::LogIn(LogIn::Pass(secret(password)))),
            );
        }
        check(b"PASS", &Err(usage("PASS")));
    }

    #[test]
    fn auth_has_a_mechanism_and_can_have_a_response() {
        let auth = |mechanism: &str, initial_response: Option<&str>| {
            Ok(Command::LogIn(LogIn::Auth {
                mechanism: mechanism.to_owned(),
                initial_response: initial_response.map(secret),
            }))
        };
        check(b"AUTH PLAIN", &auth("PLAIN", None));
        check(b"auth plain AGJvYgB4", &auth("plain", Some("AGJvYgB4")));
        check(b"AUTH PLAIN =", &auth("PLAIN", Some("=")));
        check(b"AUTH Login", &auth("Login", None));
        check(b"AUTH LOGIN Ym9i", &auth("LOGIN", Some("Ym9i")));
        check(b"AUTH", &Err(usage("AUTH")));
        check(b"AUTH PLAIN a b", &Err(usage("AUTH")));
        check(b"AUTH CRAM-MD5", &auth("CRAM-MD5", None));
    }

    #[test]
    fn lines_that_are_not_commands_are_refused() {
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
            (b"NOOP 1", usage("NOOP")),
            (b"QUIT now", usage("QUIT")),
            (b"LIST 1 2", usage("LIST")),
            (b"RETR", usage("RETR")),
            (b"RETR 1 2", usage("RETR")),
            (b"DELE", usage("DELE")),
            (b"TOP 1", usage("TOP")),
            (b"TOP 1 2 3", usage("TOP")),
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
            Command::LogIn(LogIn::Apop) => "APOP name digest".to_owned(),
            Command::LogIn(LogIn::Auth {
                mechanism,
                initial_response,
            }) => optional(
                &format!("AUTH {mechanism}"),
                initial_response
                    .as_ref()
                    .map(|secret| secret.expose().to_owned()),
            ),
            Command::Always(Always::Capa) => "CAPA".to_owned(),
            Command::Maildrop(Maildrop::Dele(number)) => format!("DELE {number}"),
            Command::Always(Always::Help) => "HELP".to_owned(),
            Command::Always(Always::Lang(range)) => optional("LANG", range.clone()),
            Command::Maildrop(Maildrop::List(number)) => {
                optional("LIST", number.map(|number| number.to_string()))
            }
            Command::Maildrop(Maildrop::Noop) => "NOOP".to_owned(),
            Command::LogIn(LogIn::Pass(password)) => format!("PASS {}", password.expose()),
            Command::Always(Always::Quit) => "QUIT".to_owned(),
            Command::Maildrop(Maildrop::Retr(number)) => format!("RETR {number}"),
            Command::Maildrop(Maildrop::Rset) => "RSET".to_owned(),
            Command::Maildrop(Maildrop::Stat) => "STAT".to_owned(),
            Command::Prepare(Prepare::Stls) => "STLS".to_owned(),
            Command::Maildrop(Maildrop::Top { message, lines }) => format!("TOP {message} {lines}"),
            Command::Maildrop(Maildrop::Uidl(number)) => {
                optional("UIDL", number.map(|number| number.to_string()))
            }
            Command::LogIn(LogIn::User(name)) => format!("USER {name}"),
            Command::Prepare(Prepare::Utf8) => "UTF8".to_owned(),
        }
    }

    fn any_command() -> impl Strategy<Value = Command> {
        let number = || any::<usize>().prop_map(|n| MessageNumber::at(n.saturating_sub(1)));
        prop_oneof![
            prop_oneof![
                Just(Command::LogIn(LogIn::Apop)),
                Just(Command::Always(Always::Capa)),
                Just(Command::Always(Always::Help)),
                Just(Command::Maildrop(Maildrop::Noop)),
                Just(Command::Always(Always::Quit)),
                Just(Command::Maildrop(Maildrop::Rset)),
                Just(Command::Maildrop(Maildrop::Stat)),
                Just(Command::Prepare(Prepare::Stls)),
                Just(Command::Prepare(Prepare::Utf8)),
            ],
            (
                "[A-Z0-9_-]{1,20}",
                proptest::option::of("[A-Za-z0-9+/]{1,40}=?")
            )
                .prop_map(|(mechanism, response)| Command::LogIn(LogIn::Auth {
                    mechanism,
                    initial_response: response.map(Secret::new),
                })),
            number().prop_map(|it| Maildrop::Dele(it).into()),
            proptest::option::of("[a-z*-]{1,10}").prop_map(|it| Always::Lang(it).into()),
            proptest::option::of(number()).prop_map(|it| Maildrop::List(it).into()),
            "[^\\p{Cc}]{1,30}"
                .prop_map(|password| Command::LogIn(LogIn::Pass(Secret::new(password)))),
            number().prop_map(|it| Maildrop::Retr(it).into()),
            (number(), any::<u64>())
                .prop_map(|(message, lines)| Command::Maildrop(Maildrop::Top { message, lines })),
            proptest::option::of(number()).prop_map(|it| Maildrop::Uidl(it).into()),
            "[^\\p{Cc} ]([^\\p{Cc}]{0,20}[^\\p{Cc} ])?".prop_map(|it| LogIn::User(it).into()),
        ]
    }

    /// The commands on the maildrop, parsed the slow way: words, and a list of their allowed
    /// values.
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
            ["STAT"] => Command::Maildrop(Maildrop::Stat),
            ["NOOP"] => Command::Maildrop(Maildrop::Noop),
            ["RSET"] => Command::Maildrop(Maildrop::Rset),
            ["QUIT"] => Command::Always(Always::Quit),
            ["CAPA"] => Command::Always(Always::Capa),
            ["LIST"] => Command::Maildrop(Maildrop::List(None)),
            ["UIDL"] => Command::Maildrop(Maildrop::Uidl(None)),
            ["LIST", n] => Command::Maildrop(Maildrop::List(Some(number(n)?))),
            ["UIDL", n] => Command::Maildrop(Maildrop::Uidl(Some(number(n)?))),
            ["RETR", n] => Command::Maildrop(Maildrop::Retr(number(n)?)),
            ["DELE", n] => Command::Maildrop(Maildrop::Dele(number(n)?)),
            ["TOP", n, l] => Command::Maildrop(Maildrop::Top {
                message: number(n)?,
                lines: lines(l)?,
            }),
            _ => return None,
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn commands_on_the_maildrop_are_parsed_as_words(
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
        fn no_line_panics(
            line in vec(any::<u8>(), 0..60),
            verb in select(VERBS.map(|verb| verb.name).to_vec()),
        ) {
            let with_verb = [verb.as_bytes(), b" ", &line].concat();
            for line in [line, with_verb] {
                if let Ok(Command::LogIn(LogIn::User(name))) = Command::parse(&line) {
                    prop_assert!(!name.is_empty() && !name.chars().any(char::is_control));
                }
            }
        }
    }
}
