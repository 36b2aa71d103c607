//! The command line of sendmail(8), which clap cannot parse: values can be part of
//! an option (`-fbob@example.com`) or follow it, and options can be combined (`-ti`).
//!
//! The rules are those of getopt(3) without permutation: options end at `--` or at the first
//! argument that is not one. So text that a program appends as a recipient is never taken for an
//! option if `--` precedes it.

use std::{ffi::OsString, fmt, path::PathBuf};

use crate::mail::BodyType;

/// What the caller asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// The help.
    Help,
    /// To send a message.
    Send(Box<Request>),
}

/// How to send a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Request {
    /// `-f`, `-r`: the reverse-path, as it was typed.
    pub(super) reverse_path: Option<String>,
    /// `-F`: the name in a From field that is added.
    pub(super) full_name: Option<String>,
    /// `-t`: the recipients are also those of the header.
    pub(super) reads_header: bool,
    /// `-i`, `-oi`: a line with a single dot does not end the message.
    pub(super) keeps_lone_dots: bool,
    /// `-B`: the body type, instead of what the message needs.
    pub(super) body: Option<BodyType>,
    /// `-v`: show the dialogue.
    pub(super) is_verbose: bool,
    /// `-C`, `--config`: the configuration of the daemon.
    pub(super) config: Option<PathBuf>,
    /// The recipients, each an address list.
    pub(super) recipients: Vec<String>,
    /// Ignored options: they have a meaning only in other programs.
    pub(super) ignored: Vec<String>,
}

/// Why a command line was refused. The `Display` form is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum UsageError {
    /// An argument is not UTF-8.
    NotUtf8(String),
    /// An option lacks its value.
    NoValue(String),
    /// `-B` with another value.
    Body(String),
    /// A mode of sendmail other than sending a message.
    Mode(String),
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8(argument) => write!(f, "the argument {argument:?} is not UTF-8"),
            Self::NoValue(option) => write!(f, "the option {option} needs a value (see --help)"),
            Self::Body(value) => {
                write!(
                    f,
                    "-B {}: the value must be 7BIT or 8BITMIME",
                    value.escape_debug()
                )
            }
            Self::Mode(mode) => write!(
                f,
                "{} is not supported: facteur sendmail only sends a message (-bm; with -t, to the \
                 recipients in it), and has no queue, no aliases and no SMTP on standard input",
                mode.escape_debug()
            ),
        }
    }
}

/// Options that have a value: those of Sendmail and Postfix.
const WITH_VALUE: &str = "ABCDFLNORVXbefhopr";

/// Parses the arguments after the program's name.
pub(super) fn parse(arguments: &[OsString]) -> Result<Asked, UsageError> {
    let mut request = Request::default();
    let mut rest = arguments.iter();
    let mut text_of = || -> Result<Option<&str>, UsageError> {
        let Some(argument) = rest.next() else {
            return Ok(None);
        };
        let text = argument.to_str();
        let text = text.ok_or_else(|| UsageError::NotUtf8(argument.display().to_string()))?;
        Ok(Some(text))
    };
    while let Some(argument) = text_of()? {
        if argument == "--" {
            break;
        }
        if let Some(long) = argument.strip_prefix("--") {
            let (name, value) = match long.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (long, None),
            };
            match name {
                "help" => return Ok(Asked::Help),
                "config" => {
                    let value = match value {
                        Some(value) => Some(value),
                        None => text_of()?,
                    };
                    let value = value.ok_or_else(|| UsageError::NoValue("--config".to_owned()))?;
                    request.config = Some(value.into());
                }
                _ => request.ignored.push(argument.to_owned()),
            }
            continue;
        }
        let Some(letters) = argument
            .strip_prefix('-')
            .filter(|letters| !letters.is_empty())
        else {
            request.recipients.push(argument.to_owned());
            break;
        };
        let mut letters = letters.chars();
        while let Some(letter) = letters.next() {
            if !WITH_VALUE.contains(letter) {
                if flag(letter, letters.as_str(), &mut request)? == Rest::IsValue {
                    break;
                }
                continue;
            }
            let value = match letters.as_str() {
                "" => text_of()?,
                glued => Some(glued),
            };
            let value = value.ok_or_else(|| UsageError::NoValue(format!("-{letter}")))?;
            set(letter, value, &mut request)?;
            break;
        }
    }
    while let Some(recipient) = text_of()? {
        request.recipients.push(recipient.to_owned());
    }
    Ok(Asked::Send(Box::new(request)))
}

/// What follows an option in the same argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// More options.
    IsOptions,
    /// The optional value of this one.
    IsValue,
}

/// Sets an option without a value, or with an optional one in the same argument.
fn flag(letter: char, rest: &str, request: &mut Request) -> Result<Rest, UsageError> {
    match letter {
        't' => request.reads_header = true,
        'i' => request.keeps_lone_dots = true,
        'v' => request.is_verbose = true,
        // The message comes from a user, and the sender can be a recipient: both are always true.
        'U' | 'm' => {}
        // The queue, and the database of aliases.
        'q' | 'I' => return Err(UsageError::Mode(format!("-{letter}{rest}"))),
        'd' => {
            request.ignored.push(format!("-{letter}{rest}"));
            return Ok(Rest::IsValue);
        }
        _ => request.ignored.push(format!("-{letter}")),
    }
    Ok(Rest::IsOptions)
}

/// Sets an option with a value.
fn set(letter: char, value: &str, request: &mut Request) -> Result<(), UsageError> {
    match letter {
        'f' | 'r' => request.reverse_path = Some(value.to_owned()),
        'F' => request.full_name = Some(value.to_owned()),
        'C' => request.config = Some(value.into()),
        'o' if value == "i" => request.keeps_lone_dots = true,
        // How to report errors, and delivery status notifications: a program gets an exit code, and
        // the daemon accepts a message or refuses it.
        'o' | 'N' | 'R' | 'V' => {}
        'b' if value == "m" => {}
        'b' => return Err(UsageError::Mode(format!("-b{value}"))),
        'B' if value.eq_ignore_ascii_case("7BIT") => request.body = Some(BodyType::SevenBit),
        'B' if value.eq_ignore_ascii_case("8BITMIME") => {
            request.body = Some(BodyType::EightBitMime);
        }
        'B' => return Err(UsageError::Body(value.to_owned())),
        _ => request.ignored.push(format!("-{letter} {value}")),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn parsed(arguments: &[&str]) -> Result<Asked, UsageError> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        parse(&arguments)
    }

    /// Parses a line of words, and compares the result with a request.
    fn check(arguments: &str, expect: Request) {
        let words: Vec<&str> = arguments.split(' ').filter(|it| !it.is_empty()).collect();
        let expect = Ok(Asked::Send(Box::new(expect)));
        assert_eq!(parsed(&words), expect, "{arguments}");
    }

    fn to(recipients: &[&str]) -> Request {
        Request {
            recipients: recipients.iter().map(|&it| it.to_owned()).collect(),
            ..Request::default()
        }
    }

    fn from(reverse_path: &str) -> Request {
        Request {
            reverse_path: Some(reverse_path.to_owned()),
            ..to(&["b@x"])
        }
    }

    #[test]
    fn options_are_glued_separate_or_combined() {
        check("", to(&[]));
        check("b@x", to(&["b@x"]));
        for line in [
            "-fa@x b@x",
            "-f a@x b@x",
            "-ra@x b@x",
            "-r a@x b@x",
            "-f a@x -- b@x",
        ] {
            check(line, from("a@x"));
        }
        check("-f <> b@x", from("<>"));
        let dots = Request {
            keeps_lone_dots: true,
            ..to(&["b@x"])
        };
        for line in [
            "-i b@x",
            "-oi b@x",
            "-o i b@x",
            "-oem -oi b@x",
            "-Ui -- b@x",
        ] {
            check(line, dots.clone());
        }
        let both = Request {
            reads_header: true,
            keeps_lone_dots: true,
            ..to(&[])
        };
        for line in ["-ti", "-it", "-t -i", "-t -oi", "-oi -t", "-bm -ti", "-toi"] {
            check(line, both.clone());
        }
        let with_sender = Request {
            reverse_path: Some("a@x".to_owned()),
            ..both
        };
        check("-tifa@x", with_sender.clone());
        check("-tif a@x", with_sender);
    }

    #[test]
    fn what_programs_type_is_understood() {
        // cron, PHP, mutt, git send-email, s-nail.
        let cron = Request {
            full_name: Some("CronDaemon".to_owned()),
            keeps_lone_dots: true,
            body: Some(BodyType::EightBitMime),
            ..to(&["root"])
        };
        check("-FCronDaemon -i -B8BITMIME -oem root", cron);
        let php = Request {
            reads_header: true,
            keeps_lone_dots: true,
            ..to(&[])
        };
        check("-t -i", php);
        let mutt = Request {
            keeps_lone_dots: true,
            reverse_path: Some("a@x".to_owned()),
            ..to(&["b@x", "c@x"])
        };
        check("-oem -oi -f a@x -- b@x c@x", mutt);
        let nail = Request {
            keeps_lone_dots: true,
            ..to(&["b@x"])
        };
        check("-i -m -- b@x", nail);
        let more = Request {
            is_verbose: true,
            ..to(&["b@x"])
        };
        check("-v -N failure,delay -R hdrs -V id -U b@x", more);
        let seven = Request {
            body: Some(BodyType::SevenBit),
            config: Some("/etc/f.toml".into()),
            ..to(&["b@x"])
        };
        check("-C /etc/f.toml -B 7bit b@x", seven.clone());
        check("--config /etc/f.toml -B7BIT b@x", seven.clone());
        check("--config=/etc/f.toml -B7BIT b@x", seven);
    }

    #[test]
    fn nothing_after_the_first_recipient_is_an_option() {
        check("-- -t", to(&["-t"]));
        check("b@x -fa@x", to(&["b@x", "-fa@x"]));
        check("b@x -- c@x", to(&["b@x", "--", "c@x"]));
        check("-", to(&["-"]));
    }

    #[test]
    fn other_options_are_ignored_and_named() {
        for (line, ignored) in [
            ("-G b@x", "-G"),
            ("-h 5 b@x", "-h 5"),
            ("-X/tmp/log b@x", "-X /tmp/log"),
            ("-O Timeout=1m b@x", "-O Timeout=1m"),
            ("-d0-99.1 b@x", "-d0-99.1"),
            ("--fast b@x", "--fast"),
            ("-é b@x", "-é"),
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            let Ok(Asked::Send(request)) = parsed(&words) else {
                panic!("{line}");
            };
            assert_eq!(request.ignored, [ignored], "{line}");
            assert_eq!(request.recipients, ["b@x"], "{line}");
        }
    }

    #[test]
    fn other_modes_and_mistakes_are_refused() {
        let mode = |text: &str| UsageError::Mode(text.to_owned());
        for (line, expect) in [
            ("-bs", mode("-bs")),
            ("-bd -q30m", mode("-bd")),
            ("-b p", mode("-bp")),
            ("-bi", mode("-bi")),
            ("-q", mode("-q")),
            ("-q30m", mode("-q30m")),
            ("-I", mode("-I")),
            ("-f", UsageError::NoValue("-f".to_owned())),
            ("-tiF", UsageError::NoValue("-F".to_owned())),
            ("--config", UsageError::NoValue("--config".to_owned())),
            (
                "-B BINARYMIME b@x",
                UsageError::Body("BINARYMIME".to_owned()),
            ),
        ] {
            let words: Vec<&str> = line.split(' ').collect();
            assert_eq!(parsed(&words), Err(expect), "{line}");
        }
        assert_eq!(parsed(&["-t", "--help"]), Ok(Asked::Help));
        let latin_1 = OsString::from_vec(b"b\xe9@x".to_vec());
        assert!(matches!(parse(&[latin_1]), Err(UsageError::NotUtf8(_))));
        assert_eq!(
            parsed(&["-f", "", "b@x"]),
            Ok(Asked::Send(Box::new(from(""))))
        );
    }

    proptest::proptest! {
        #[test]
        fn no_command_line_makes_it_panic(
            words in proptest::collection::vec("[-a-zA-Zé@= .\u{0}]{0,6}", 0..6),
        ) {
            let words: Vec<OsString> = words.into_iter().map(OsString::from).collect();
            let result = parse(&words);
            if let Err(error) = result {
                assert_eq!(error.to_string().lines().count(), 1);
            }
        }
    }
}
