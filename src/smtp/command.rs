//! SMTP commands: turns one line of octets into one [`Command`] (RFC 5321 §4.1.1).
//!
//! It does not know which command is allowed when: the session does. Verbs and keywords are
//! recognised in any case, several spaces count as one where a space is allowed, and white space at
//! the end is ignored (RFC 5321 §4.1.1 asks servers to tolerate it). No argument can contain a
//! control character or octets that are not UTF-8.

use std::fmt;

use crate::mail::sasl;
use crate::mail::{
    AddressError, BodyType, Charset, Disclosure, Domain, Dots, ForwardPath, Grammar, ReversePath,
    Secret, parse_forward_path, parse_reverse_path,
};

use super::limits::CLIENT_NAME_OCTETS_MAX;

/// The context that the meaning of a command depends on.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Appended to a path without a domain.
    pub default_domain: &'a Domain,
    /// The open transaction was declared SMTPUTF8, so a forward-path can contain UTF-8.
    pub charset: Charset,
    /// Where dots are allowed in the local part of a path.
    pub dots: Dots,
}

/// One command. Secrets are wrapped, so its [`Debug`] form may be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// `EHLO` and the client's name.
    Ehlo(&'a str),
    /// `HELO` and the client's name.
    Helo(&'a str),
    /// `LHLO` and the client's name (RFC 2033).
    Lhlo(&'a str),
    /// `MAIL FROM:<reverse-path>` with its parameters.
    Mail(ReversePath, MailParameters),
    /// `RCPT TO:<forward-path>`.
    Rcpt(ForwardPath),
    /// `DATA`.
    Data,
    /// `BDAT octets [LAST]` (RFC 3030).
    Bdat {
        /// Octets that follow the command line.
        octets: u64,
        /// Whether the chunk ends the message.
        last: bool,
    },
    /// `RSET`.
    Rset,
    /// `VRFY string`.
    Vrfy,
    /// `EXPN string`.
    Expn,
    /// `HELP`, with any argument.
    Help,
    /// `NOOP`, with any argument.
    Noop,
    /// `QUIT`.
    Quit,
    /// `STARTTLS` (RFC 3207).
    StartTls,
    /// `AUTH mechanism [initial-response]` (RFC 4954).
    Auth {
        /// The SASL mechanism as it was written.
        mechanism: &'a str,
        /// The initial response, still in base64.
        initial_response: Option<Secret>,
    },
}

/// The parameters of MAIL (RFC 1870, 4954, 6152, 6531).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MailParameters {
    /// `SIZE=`: octets of the content with CRLF line endings.
    pub declared_octets: Option<u64>,
    /// `BODY=`.
    pub body: BodyType,
    /// `SMTPUTF8` was given.
    pub utf8: bool,
    /// `AUTH=` was given (RFC 4954 §5): the original submitter of the message. Nothing here trusts
    /// it or passes it on, so it is not kept.
    pub auth: bool,
}

/// Why a line is not a valid command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SyntaxError {
    /// The argument contains a control character.
    ControlCharacter,
    /// The argument is not UTF-8.
    NotUtf8,
    /// The line is empty.
    Empty,
    /// The verb is not an SMTP verb.
    UnknownVerb,
    /// The verb with which a proxy names its client (Postfix's XCLIENT, which nginx sends). The
    /// server could not verify that name.
    XClient,
    /// The command needs an argument; this is its syntax.
    ArgumentMissing(&'static str),
    /// The command takes no argument.
    ArgumentUnexpected,
    /// The argument of HELO or EHLO is not a name.
    ClientName,
    /// The reverse-path is wrong.
    ReversePath(AddressError),
    /// The forward-path is wrong.
    ForwardPath(AddressError),
    /// The reverse-path is not ASCII and SMTPUTF8 was not declared.
    ReversePathNotAscii,
    /// The forward-path is not ASCII and SMTPUTF8 was not declared at MAIL.
    ForwardPathNotAscii,
    /// Text follows the path without a space.
    AfterPath,
    /// A parameter of MAIL or RCPT is unknown.
    ParameterUnknown,
    /// A parameter of MAIL has an invalid value, or is given twice.
    ParameterValue(&'static str),
    /// The argument of BDAT is invalid: how many octets follow is unknown.
    ChunkSize,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ControlCharacter => f.write_str("control character in a command"),
            Self::NotUtf8 => f.write_str("command is not UTF-8"),
            Self::Empty => f.write_str("empty command"),
            Self::UnknownVerb => f.write_str("unknown command"),
            Self::XClient => f.write_str("XCLIENT from a proxy"),
            Self::ArgumentMissing(form) => write!(f, "argument missing in {form}"),
            Self::ArgumentUnexpected => f.write_str("unexpected argument"),
            Self::ClientName => f.write_str("bad client name"),
            Self::ReversePath(error) => write!(f, "bad reverse-path: {error}"),
            Self::ForwardPath(error) => write!(f, "bad forward-path: {error}"),
            Self::ReversePathNotAscii => f.write_str("non-ASCII reverse-path without SMTPUTF8"),
            Self::ForwardPathNotAscii => f.write_str("non-ASCII forward-path without SMTPUTF8"),
            Self::AfterPath => f.write_str("text directly after the path"),
            Self::ParameterUnknown => f.write_str("unknown parameter"),
            Self::ParameterValue(keyword) => write!(f, "bad value of {keyword}"),
            Self::ChunkSize => f.write_str("bad chunk size"),
        }
    }
}

impl std::error::Error for SyntaxError {}

impl<'a> Command<'a> {
    /// Parses one line, without its ending.
    ///
    /// # Errors
    /// [`SyntaxError`]: answer with its reply and count it as an error of the session.
    pub fn parse(line: &'a [u8], context: &Context<'_>) -> Result<Self, SyntaxError> {
        let line = line.trim_ascii_end();
        let (name, argument) = split_verb(line);
        let verb = Verb::recognise(name)?;
        match text(argument) {
            Ok(argument) => verb.with_argument(argument.trim_start_matches(' '), context),
            // Whatever the error is: the session has to know that a chunk follows.
            Err(_) if matches!(verb, Verb::Bdat) => Err(SyntaxError::ChunkSize),
            Err(error) => Err(error),
        }
    }
}

/// The part of a line that may be shown where a command is expected: nothing that could be a
/// secret, or a line of a content that came at the wrong moment.
pub(super) fn disclose(line: &[u8]) -> Disclosure<'_> {
    let line = line.trim_ascii_end();
    let (name, argument) = split_verb(line);
    let Ok(verb) = Verb::recognise(name) else {
        return Disclosure::of_unknown(line);
    };
    let argument = argument.trim_ascii_start();
    let begins_with = |keyword: &str| {
        let start = argument.get(..keyword.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(keyword.as_bytes()))
    };
    let is_an_argument = match verb {
        Verb::Auth => return sasl::disclose_command(line, name.len()),
        Verb::Mail => begins_with("FROM:"),
        Verb::Rcpt => begins_with("TO:"),
        Verb::Ehlo | Verb::Helo | Verb::Lhlo | Verb::Bdat | Verb::Vrfy | Verb::Expn => true,
        Verb::Data | Verb::Rset | Verb::Help | Verb::Noop | Verb::Quit | Verb::StartTls => false,
    };
    if is_an_argument {
        Disclosure::whole(line)
    } else {
        Disclosure::beginning(line, name.len())
    }
}

/// The octets up to the first space, and the rest.
fn split_verb(line: &[u8]) -> (&[u8], &[u8]) {
    let name = line.split(|&octet| octet == b' ').next();
    let name = name.unwrap_or_default();
    (name, line.get(name.len()..).unwrap_or_default())
}

/// The verbs of RFC 5321 §4.1.1 and of the extensions, in that order.
#[derive(Clone, Copy)]
enum Verb {
    Ehlo,
    Helo,
    Lhlo,
    Mail,
    Rcpt,
    Data,
    Bdat,
    Rset,
    Vrfy,
    Expn,
    Help,
    Noop,
    Quit,
    StartTls,
    Auth,
}

const VERBS: [(&str, Verb); 15] = [
    ("EHLO", Verb::Ehlo),
    ("HELO", Verb::Helo),
    ("LHLO", Verb::Lhlo),
    ("MAIL", Verb::Mail),
    ("RCPT", Verb::Rcpt),
    ("DATA", Verb::Data),
    ("BDAT", Verb::Bdat),
    ("RSET", Verb::Rset),
    ("VRFY", Verb::Vrfy),
    ("EXPN", Verb::Expn),
    ("HELP", Verb::Help),
    ("NOOP", Verb::Noop),
    ("QUIT", Verb::Quit),
    ("STARTTLS", Verb::StartTls),
    ("AUTH", Verb::Auth),
];

impl Verb {
    fn recognise(text: &[u8]) -> Result<Self, SyntaxError> {
        if text.is_empty() {
            return Err(SyntaxError::Empty);
        }
        let known = VERBS
            .iter()
            .find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(text));
        known.map(|&(_, verb)| verb).ok_or_else(|| {
            if text.eq_ignore_ascii_case(b"XCLIENT") {
                SyntaxError::XClient
            } else {
                SyntaxError::UnknownVerb
            }
        })
    }

    fn with_argument<'a>(
        self,
        argument: &'a str,
        context: &Context<'_>,
    ) -> Result<Command<'a>, SyntaxError> {
        match self {
            Self::Ehlo => client_name(argument, "EHLO <your host name>").map(Command::Ehlo),
            Self::Helo => client_name(argument, "HELO <your host name>").map(Command::Helo),
            Self::Lhlo => client_name(argument, "LHLO <your host name>").map(Command::Lhlo),
            Self::Mail => mail(argument, context),
            Self::Rcpt => rcpt(argument, context),
            Self::Data => alone(argument, Command::Data),
            Self::Bdat => bdat(argument),
            Self::Rset => alone(argument, Command::Rset),
            Self::Vrfy => present(argument, "VRFY <address>").map(|_| Command::Vrfy),
            Self::Expn => present(argument, "EXPN <list>").map(|_| Command::Expn),
            Self::Help => Ok(Command::Help),
            Self::Noop => Ok(Command::Noop),
            Self::Quit => alone(argument, Command::Quit),
            Self::StartTls => alone(argument, Command::StartTls),
            Self::Auth => auth(argument),
        }
    }
}

/// The argument as text. Invalid characters get 501, unless the verb is unknown and so the reason
/// is another (RFC 5321 §4.1.2).
fn text(octets: &[u8]) -> Result<&str, SyntaxError> {
    if octets.iter().any(u8::is_ascii_control) {
        return Err(SyntaxError::ControlCharacter);
    }
    str::from_utf8(octets).map_err(|_not_utf8| SyntaxError::NotUtf8)
}

/// The text up to the first space, and the text after the spaces.
fn split_word(text: &str) -> (&str, &str) {
    match text.split_once(' ') {
        Some((word, rest)) => (word, rest.trim_start_matches(' ')),
        None => (text, ""),
    }
}

fn alone<'a>(argument: &str, command: Command<'a>) -> Result<Command<'a>, SyntaxError> {
    if argument.is_empty() {
        Ok(command)
    } else {
        Err(SyntaxError::ArgumentUnexpected)
    }
}

fn present<'a>(argument: &'a str, form: &'static str) -> Result<&'a str, SyntaxError> {
    if argument.is_empty() {
        Err(SyntaxError::ArgumentMissing(form))
    } else {
        Ok(argument)
    }
}

/// RFC 5321 §4.1.1.1 requires a domain or an address literal, and §4.1.4 forbids refusing a client
/// because the name is not its own. Any single word is accepted, because clients send all kinds of
/// names.
fn client_name<'a>(argument: &'a str, form: &'static str) -> Result<&'a str, SyntaxError> {
    let name = present(argument, form)?;
    let word = !name.contains(' ') && name.len() <= CLIENT_NAME_OCTETS_MAX;
    if word {
        Ok(name)
    } else {
        Err(SyntaxError::ClientName)
    }
}

/// The text after `keyword` (`FROM:`, `TO:`) at the start of `argument`, in any case.
fn after_keyword<'a>(argument: &'a str, keyword: &str) -> Option<&'a str> {
    let (start, rest) = argument.split_at_checked(keyword.len())?;
    start.eq_ignore_ascii_case(keyword).then_some(rest)
}

fn mail<'a>(argument: &str, context: &Context<'_>) -> Result<Command<'a>, SyntaxError> {
    const FORM: &str = "MAIL FROM:<alice@example.com>";
    let path = after_keyword(argument, "FROM:").ok_or(SyntaxError::ArgumentMissing(FORM))?;
    // A parameter after the path decides whether UTF-8 is allowed in it.
    let grammar = Grammar {
        charset: Charset::Utf8,
        dots: context.dots,
    };
    let (reverse_path, rest) = parse_reverse_path(path, grammar, context.default_domain)
        .map_err(SyntaxError::ReversePath)?;
    let parameters = MailParameters::parse(rest)?;
    if !path.is_ascii() && !parameters.utf8 {
        return Err(SyntaxError::ReversePathNotAscii);
    }
    Ok(Command::Mail(reverse_path, parameters))
}

fn rcpt<'a>(argument: &str, context: &Context<'_>) -> Result<Command<'a>, SyntaxError> {
    const FORM: &str = "RCPT TO:<bob@example.com>";
    let path = after_keyword(argument, "TO:").ok_or(SyntaxError::ArgumentMissing(FORM))?;
    let grammar = Grammar {
        charset: context.charset,
        dots: context.dots,
    };
    let (forward_path, rest) =
        parse_forward_path(path, grammar, context.default_domain).map_err(|error| {
            let undeclared = error == AddressError::NonAscii;
            if undeclared {
                SyntaxError::ForwardPathNotAscii
            } else {
                SyntaxError::ForwardPath(error)
            }
        })?;
    // No extension that adds a parameter to RCPT is offered.
    match parameters(rest)?.next() {
        None => Ok(Command::Rcpt(forward_path)),
        Some(_) => Err(SyntaxError::ParameterUnknown),
    }
}

fn bdat<'a>(argument: &str) -> Result<Command<'a>, SyntaxError> {
    let (size, marker) = split_word(argument);
    let last = marker.eq_ignore_ascii_case("LAST");
    let digits = !size.is_empty() && size.bytes().all(|octet| octet.is_ascii_digit());
    match size.parse() {
        Ok(octets) if digits && (last || marker.is_empty()) => Ok(Command::Bdat { octets, last }),
        Ok(_) | Err(_) => Err(SyntaxError::ChunkSize),
    }
}

fn auth(argument: &str) -> Result<Command<'_>, SyntaxError> {
    let argument = present(argument, "AUTH <mechanism>")?;
    let (mechanism, response) = split_word(argument);
    if response.contains(' ') {
        return Err(SyntaxError::ArgumentUnexpected);
    }
    let initial_response = (!response.is_empty()).then(|| Secret::new(response.to_owned()));
    Ok(Command::Auth {
        mechanism,
        initial_response,
    })
}

/// Whether a non-empty text is encoded as in RFC 3461 §4: printable ASCII, where `+` precedes two
/// hexadecimal digits. `<>`, which means nobody, has that form too.
fn is_xtext(text: &str) -> bool {
    let is_digit = |octet: &u8| matches!(octet, b'0'..=b'9' | b'A'..=b'F');
    let encoded = text.split('+').skip(1).all(|piece| {
        let digits = piece.as_bytes().first_chunk::<2>();
        digits.is_some_and(|digits| digits.iter().all(is_digit))
    });
    let printable = |octet: u8| octet.is_ascii_graphic() && octet != b'=';
    !text.is_empty() && encoded && text.bytes().all(printable)
}

/// The parameters after a path, as keyword and value (RFC 5321 §4.1.2, esmtp-param).
fn parameters(rest: &str) -> Result<impl Iterator<Item = (&str, Option<&str>)>, SyntaxError> {
    if !(rest.is_empty() || rest.starts_with(' ')) {
        return Err(SyntaxError::AfterPath);
    }
    Ok(rest
        .split(' ')
        .filter(|word| !word.is_empty())
        .map(|word| match word.split_once('=') {
            Some((keyword, value)) => (keyword, Some(value)),
            None => (word, None),
        }))
}

impl MailParameters {
    fn parse(rest: &str) -> Result<Self, SyntaxError> {
        let mut parsed = Self::default();
        let mut given = Vec::new();
        for (keyword, value) in parameters(rest)? {
            let known = ["SIZE", "BODY", "SMTPUTF8", "AUTH"];
            let name = known
                .into_iter()
                .find(|name| name.eq_ignore_ascii_case(keyword));
            let name = name.ok_or(SyntaxError::ParameterUnknown)?;
            if given.contains(&name) || !parsed.set(name, value) {
                return Err(SyntaxError::ParameterValue(name));
            }
            given.push(name);
        }
        Ok(parsed)
    }

    /// Sets one parameter; false if it cannot have this value.
    fn set(&mut self, name: &str, value: Option<&str>) -> bool {
        match (name, value) {
            ("SIZE", Some(digits)) => {
                // RFC 1870 §5: one to twenty digits. A number beyond u64 is also beyond every
                // limit.
                let valid = (1..=20).contains(&digits.len())
                    && digits.bytes().all(|octet| octet.is_ascii_digit());
                self.declared_octets = Some(digits.parse().unwrap_or(u64::MAX));
                valid
            }
            ("BODY", Some(body)) if body.eq_ignore_ascii_case("7BIT") => {
                self.body = BodyType::SevenBit;
                true
            }
            ("BODY", Some(body)) if body.eq_ignore_ascii_case("8BITMIME") => {
                self.body = BodyType::EightBitMime;
                true
            }
            ("SMTPUTF8", None) => {
                self.utf8 = true;
                true
            }
            ("AUTH", Some(submitter)) => {
                self.auth = true;
                is_xtext(submitter)
            }
            _ => false,
        }
    }
}
