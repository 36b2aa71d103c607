//! The command line: its options and commands, and how they override the configuration.
//!
//! An option overrides the environment variable of its key, which overrides the configuration file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::certificate::Name;
use crate::config::{self, Config, Durability, Environment, Listen, LogLevel};
use crate::mail::{Address, AddressError, Charset, Grammar};

const AFTER_HELP: &str = "\
Without a command, facteur serves mail. By default SMTP listens on 127.0.0.1:65434 and [::1]:65434,
POP3 listens on 127.0.0.1:65433 and [::1]:65433, and mail is stored in ./mail.

Environment: FACTEUR_CONFIG names the configuration file, and every key of it that is not a table
can be set by a variable: FACTEUR_SMTP=2525, FACTEUR_DOMAINS=example.com,example.org,
FACTEUR_LIMITS_MESSAGE_OCTETS=\"1 MiB\". Options override variables, and variables override the
file.

Exit codes: 0 stopped on request, 1 failure, 2 wrong usage or configuration, 75 another facteur
uses the mail directory, 130 or 143 a second SIGINT or SIGTERM.

Signals: SIGTERM and SIGINT finish work in progress and stop; a second one stops immediately. SIGHUP
reloads the accounts, the certificate and open_to; SIGUSR1 logs the counters.";

/// facteur, a mail daemon for one machine: SMTP in, Maildir on disk, POP3 out.
#[derive(Clone, Debug, Default, Parser)]
#[command(
    name = "facteur",
    version,
    about,
    after_help = AFTER_HELP
)]
pub struct Arguments {
    /// Address and port for SMTP, for example 127.0.0.1:65434; a port without an address means this
    /// machine only; port 0 means any free port; "off" turns SMTP off; can be given several times
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub smtp: Vec<ListenOrOff>,

    /// Address and port for POP3, in the same form
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub pop3: Vec<ListenOrOff>,

    /// Directory for the mail; it is created if it is missing
    #[arg(long, value_name = "DIR")]
    pub mail: Option<PathBuf>,

    /// How to make messages survive a power cut: journal (many at a time, in a journal), maildir
    /// (each in its Maildir) or none (not at all, for disposable test servers)
    #[arg(long, value_name = "HOW")]
    pub durability: Option<Durability>,

    /// Configuration file; config.example.toml lists every key
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// Check the configuration and exit
    #[arg(long)]
    pub check: bool,

    /// How much to log: off, error, warn, info, debug or trace
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<LogLevel>,

    /// What to do instead of serving.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// The environment variables that override the configuration file.
    #[arg(skip)]
    pub environment: Environment,
}

/// The commands that facteur can run instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Add, change, remove and list accounts
    Account(AccountArguments),
    /// Create a TLS certificate for this machine, and the CA that mail programs must trust
    Cert(CertArguments),
    /// Check that a daemon with this configuration is ready for clients
    #[command(after_help = CHECK_READY_AFTER_HELP)]
    CheckReady,
    /// Print the configuration line for an account's password, or the whole account
    HashPassword(HashPasswordArguments),
    /// Send the message on standard input to the daemon, as programs expect of sendmail
    Sendmail(SendmailArguments),
    /// Print an address's settings for a mail program
    Settings(SettingsArguments),
}

const ACCOUNT_AFTER_HELP: &str = "\
--config FILE names the configuration of the daemon. This command changes the file that FILE names
in accounts = \"…\", or FILE itself if it contains [[accounts]]. It keeps comments and order, and
never writes accounts that facteur could not start with. If a daemon serves the same mail directory,
this command asks it to reload its accounts; if the daemon was started with --mail DIR, put --mail
DIR before `account`.

If FILE names no accounts, `add` creates accounts.toml beside FILE, and FILE itself if it is
missing. If FACTEUR_ACCOUNTS names a file, this command changes that file and needs no FILE.";

/// The arguments of `facteur account`.
#[derive(Args, Clone, Debug)]
#[command(after_help = ACCOUNT_AFTER_HELP)]
pub struct AccountArguments {
    /// The action.
    #[command(subcommand)]
    pub action: AccountAction,
}

/// The actions of `facteur account`.
#[derive(Clone, Debug, Subcommand)]
pub enum AccountAction {
    /// Create an account, and print its settings for a mail program
    Add(AddAccountArguments),
    /// Remove an account; its mail is kept
    Remove(RemoveAccountArguments),
    /// Change the password of an account
    Password(AccountPasswordArguments),
    /// Print the addresses of all accounts, each with its aliases
    List,
}

/// How a new password is chosen.
#[derive(Args, Clone, Copy, Debug)]
pub struct NewPassword {
    /// Generate a random password and print it; without this option, type the password twice at a
    /// terminal, where it is not shown, or put it on the first line of standard input
    #[arg(long)]
    pub generate: bool,

    /// Do not store a secret for SCRAM-SHA-256; passwords that are not ASCII need this option
    #[arg(long)]
    pub no_scram: bool,
}

/// The arguments of `facteur account add`.
#[derive(Args, Clone, Debug)]
#[command(after_help = ACCOUNT_AFTER_HELP)]
pub struct AddAccountArguments {
    /// Address of the account; it is also the user name and the mailbox
    #[arg(value_name = "ADDRESS", value_parser = parse_address)]
    pub address: Address,

    /// Another address whose mail is delivered to this account; can be given several times
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    pub alias: Vec<Address>,

    /// Its password.
    #[command(flatten)]
    pub password: NewPassword,
}

/// The arguments of `facteur account remove`.
#[derive(Args, Clone, Debug)]
pub struct RemoveAccountArguments {
    /// Address of the account
    #[arg(value_name = "ADDRESS", value_parser = parse_address)]
    pub address: Address,
}

/// The arguments of `facteur account password`.
#[derive(Args, Clone, Debug)]
pub struct AccountPasswordArguments {
    /// Address of the account
    #[arg(value_name = "ADDRESS", value_parser = parse_address)]
    pub address: Address,

    /// Its new password.
    #[command(flatten)]
    pub password: NewPassword,
}

const CERT_AFTER_HELP: &str = "\
The certificate is for localhost, 127.0.0.1, ::1, the hostname of the configuration, and each NAME.
No file is replaced, except an expired certificate: a second run creates only what is missing, and
prints the instructions again.

With --config FILE, the two lines that facteur needs are added to FILE if they are missing.";

/// The arguments of `facteur cert`.
#[derive(Args, Clone, Debug)]
#[command(after_help = CERT_AFTER_HELP)]
pub struct CertArguments {
    /// Other names and addresses by which mail programs reach facteur
    #[arg(value_name = "NAME")]
    pub names: Vec<Name>,

    /// Directory for the certificates and keys; it is created if it is missing
    #[arg(long, value_name = "DIR", default_value = "./tls")]
    pub dir: PathBuf,

    /// Replace the certificate even if it has not expired; the keys and the CA are kept
    #[arg(long)]
    pub renew: bool,
}

const CHECK_READY_AFTER_HELP: &str = "\
This command connects to each listener from this machine, and waits for its greeting where TLS does
not come first. Put the options of the daemon before the command, as in
facteur --smtp 127.0.0.1:2525 check-ready.

Exit codes: 0 every listener answers, 1 a listener does not.";

const HASH_PASSWORD_AFTER_HELP: &str = "\
Type the password twice at a terminal, where it is not shown, or put it on the first line of
standard input. Without ADDRESS, put the printed line below the address of the account. `facteur
account` does all of this, and also changes the file.";

/// The arguments of `facteur hash-password`.
#[derive(Args, Clone, Debug)]
#[command(after_help = HASH_PASSWORD_AFTER_HELP)]
pub struct HashPasswordArguments {
    /// Address of the account; with it, the whole account is printed
    #[arg(value_name = "ADDRESS", value_parser = parse_address)]
    pub address: Option<Address>,

    /// Do not print a secret for SCRAM-SHA-256; passwords that are not ASCII need this option
    #[arg(long)]
    pub no_scram: bool,
}

const SENDMAIL_AFTER_HELP: &str = "\
A link named sendmail that points to facteur does the same.

Options end at the first recipient, or at --. A value can be part of its option, as in -fbob@x.
  -t              send to the addresses in To, Cc and Bcc too, and remove Bcc
  -i, -oi         a line with a single dot does not end the message
  -f ADDR, -r ADDR
                  reverse-path; \"\" or <> means none
  -F NAME         full name in the From field that is added if there is none
  -B 7BIT|8BITMIME
                  body type, instead of what the message needs
  -C FILE         configuration of the daemon, of which hostname and smtp are used
  -v              show the dialogue with the daemon
  --help          print this help; -h is another option, which is ignored with its value
  -bm, -m, -U, -N, -R, -V, -o…
                  accepted, and without effect (-N, -R and -V take a value)
Other options are ignored with a warning. Other modes, such as -bs, -bp and -q, are refused.

An address without a domain gets the hostname of the configuration. Missing From, Date and
Message-ID fields are added. There is no queue.

Exit codes: 0 sent, 64 wrong usage, 65 no valid recipient, or the message was refused, 67 a
recipient was refused (the others have the message, unless the error says that it was not sent), 74
the message cannot be read, 75 try again later (no daemon answers, or it cannot take the message for
anybody now), 78 wrong configuration.";

/// The arguments of `facteur sendmail`, which are parsed by its own rules.
#[derive(Args, Clone, Debug)]
#[command(after_help = SENDMAIL_AFTER_HELP, disable_help_flag = true)]
pub struct SendmailArguments {
    /// Options of sendmail and recipients
    #[arg(
        value_name = "OPTION|RECIPIENT",
        trailing_var_arg = true,
        allow_hyphen_values = true
    )]
    pub arguments: Vec<OsString>,
}

/// The help of `facteur sendmail`.
pub fn sendmail_help() -> String {
    let mut command = Arguments::command();
    command.build();
    let sendmail = command.find_subcommand_mut(SENDMAIL);
    sendmail.map_or_else(String::new, |it| it.render_help().to_string())
}

/// The name of the command, and of the program that it stands for.
const SENDMAIL: &str = "sendmail";

/// The command line as clap needs it, from that of the process.
///
/// A program with the name `sendmail` runs the command. All that follows the command is for its own
/// rules, in which `-h` and `--` have other meanings than in those of clap: a `--` hides it.
pub fn typed(words: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.into_iter().collect();
    let program = words.first().map(Path::new).and_then(Path::file_name);
    if program.is_some_and(|name| name == SENDMAIL) {
        words.splice(..1, ["facteur", SENDMAIL, "--"].map(OsString::from));
        return words;
    }
    let at = command_position(&words);
    if let Some(at) = at.filter(|&at| words.get(at).is_some_and(|word| word == SENDMAIL)) {
        words.insert(at.saturating_add(1), OsString::from("--"));
    }
    words
}

/// Where the command is: the first word that is neither an option nor the value of one.
fn command_position(words: &[OsString]) -> Option<usize> {
    let arguments = Arguments::command();
    let has_value = |name: &str| {
        let mut options = arguments.get_arguments();
        options.any(|it| it.get_long() == Some(name) && it.get_action().takes_values())
    };
    let mut rest = words.iter().enumerate().skip(1);
    while let Some((at, word)) = rest.next() {
        let word = word.to_string_lossy();
        match word.strip_prefix("--") {
            None if word.starts_with('-') => {}
            None => return Some(at),
            Some("") => return None,
            Some(name) if has_value(name) => {
                rest.next();
            }
            Some(_) => {}
        }
    }
    None
}

const SETTINGS_AFTER_HELP: &str = "\
The settings depend on the options of the daemon: put them before the command, as in
facteur --smtp 127.0.0.1:2525 settings bob@example.com.";

/// The arguments of `facteur settings`.
#[derive(Args, Clone, Debug)]
#[command(after_help = SETTINGS_AFTER_HELP)]
pub struct SettingsArguments {
    /// Address whose mail the program fetches and sends
    #[arg(value_name = "ADDRESS", value_parser = parse_mailbox)]
    pub address: Address,

    /// Print the settings as a file that mail programs download (Thunderbird's autoconfig)
    #[arg(long)]
    pub autoconfig: bool,
}

fn parse_address(text: &str) -> Result<Address, AddressError> {
    Address::parse(text, Charset::Utf8)
}

/// An address in any form that facteur accepts without accounts.
fn parse_mailbox(text: &str) -> Result<Address, AddressError> {
    Address::parse(text, Grammar::WIDEST)
}

/// The value of `--smtp` and `--pop3`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenOrOff {
    /// Listen at one address, or at both loopback addresses if only a port was given.
    Listen(Vec<Listen>),
    /// Do not listen.
    Off,
}

fn parse_listen(text: &str) -> Result<ListenOrOff, String> {
    if text == "off" {
        return Ok(ListenOrOff::Off);
    }
    Listen::parse(text).map(ListenOrOff::Listen)
}

impl Arguments {
    /// The same arguments with this environment, whose variables the options override.
    #[must_use]
    pub fn with_environment(mut self, mut environment: Environment) -> Self {
        match environment.file() {
            Some(file) if self.config.is_none() => self.config = Some(file.to_owned()),
            Some(_) | None => environment.forget_file(),
        }
        self.environment = environment;
        self
    }

    /// The configuration: the file or the defaults, overridden by the environment variables, and
    /// these by the command-line options. With `--check`, an unknown variable is an error.
    ///
    /// # Errors
    /// [`config::Error`]: report it and do not start.
    pub fn configuration(&self) -> Result<Config, config::Error> {
        let config = self.checked_configuration();
        let mut errors = if self.check {
            self.environment.unknown()
        } else {
            Vec::new()
        };
        if errors.is_empty() {
            return config;
        }
        errors.extend(config.err());
        Err(config::Error::all(errors))
    }

    fn checked_configuration(&self) -> Result<Config, config::Error> {
        let config = self.unchecked_configuration()?;
        let is_variable = |name: &str| config.variables.values().any(|other| *other == name);
        match (config::check(&config), &self.config) {
            (Ok(()), _) => Ok(config),
            (Err(error), None) => Err(error),
            // A variable has set this key, so the file is not to blame.
            (
                Err(
                    error @ (config::Error::Exposed { key, .. }
                    | config::Error::NoCertificate { key }),
                ),
                _,
            ) if is_variable(key) => Err(error),
            (Err(error), Some(path)) => Err(config::Error::Whole {
                path: path.clone(),
                error: Box::new(error),
            }),
        }
    }

    /// The same without the final checks: a listener might still need a certificate that the
    /// command is about to create.
    ///
    /// # Errors
    /// [`config::Error`]: report it.
    pub fn unchecked_configuration(&self) -> Result<Config, config::Error> {
        let mut config = self.environment.configuration(self.config.as_deref())?;
        for (key, is_typed) in [
            ("smtp", !self.smtp.is_empty()),
            ("pop3", !self.pop3.is_empty()),
            ("mail", self.mail.is_some()),
            ("durability", self.durability.is_some()),
            ("log_level", self.log_level.is_some()),
        ] {
            if is_typed {
                config.variables.remove(key);
            }
        }
        override_listeners("--smtp", &mut config.smtp, &self.smtp)?;
        override_listeners("--pop3", &mut config.pop3, &self.pop3)?;
        if let Some(mail) = &self.mail {
            config.mail.clone_from(mail);
        }
        if let Some(durability) = self.durability {
            config.durability = durability;
        }
        if let Some(log_level) = self.log_level {
            config.log_level = log_level;
        }
        Ok(config)
    }
}

/// Listeners from the command line replace those of the configuration file.
fn override_listeners(
    flag: &'static str,
    listeners: &mut Vec<Listen>,
    typed: &[ListenOrOff],
) -> Result<(), config::Error> {
    match typed {
        [] => {}
        [ListenOrOff::Off] => listeners.clear(),
        several => {
            listeners.clear();
            for value in several {
                match value {
                    ListenOrOff::Listen(listens) => listeners.extend(listens),
                    ListenOrOff::Off => return Err(config::Error::OffAndOn { flag }),
                }
            }
        }
    }
    Ok(())
}

/// The reason for rejecting a command line, in one line.
pub fn usage_error(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim);
    // The first paragraph is the reason; the rest repeats the usage, except for a suggestion.
    let first: Vec<&str> = lines.take_while(|line| !line.is_empty()).collect();
    let reason = first.join(" ");
    let reason = reason.strip_prefix("error: ").unwrap_or(&reason);
    let kinds = [
        ContextKind::SuggestedArg,
        ContextKind::SuggestedSubcommand,
        ContextKind::SuggestedValue,
    ];
    let suggested = kinds.into_iter().find_map(|kind| {
        let value = error.get(kind)?;
        if let ContextValue::String(text) = value {
            Some(text)
        } else if let ContextValue::Strings(texts) = value {
            texts.first()
        } else {
            None
        }
    });
    match suggested {
        Some(meant) => format!("{reason}; did you mean {meant}? (see --help)"),
        None => format!("{reason} (see --help)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(arguments: &[&str]) -> Config {
        let arguments = std::iter::once(&"facteur").chain(arguments);
        Arguments::try_parse_from(arguments)
            .unwrap()
            .configuration()
            .unwrap()
    }

    #[test]
    fn sendmail_gets_its_arguments_as_they_were_typed() {
        for (words, expect) in [
            ("sendmail -t -i", Some("-t -i")),
            ("/usr/sbin/sendmail -- -t", Some("-- -t")),
            ("sendmail --config f b@x", Some("--config f b@x")),
            (
                "facteur sendmail -oi -f a@x -- b@x",
                Some("-oi -f a@x -- b@x"),
            ),
            ("facteur sendmail -- -t", Some("-- -t")),
            ("facteur --smtp 2525 sendmail -- -- b@x", Some("-- -- b@x")),
            (
                "facteur sendmail -bs --check -V x",
                Some("-bs --check -V x"),
            ),
            ("facteur --config f sendmail -ti", Some("-ti")),
            ("facteur sendmail -h 5 b@x", Some("-h 5 b@x")),
            ("facteur sendmail --help", Some("--help")),
            ("facteur sendmail --config f", Some("--config f")),
            (
                "facteur sendmail -F sendmail -- b@x",
                Some("-F sendmail -- b@x"),
            ),
            (
                "facteur --config sendmail sendmail sendmail --",
                Some("sendmail --"),
            ),
            ("facteur --config=f --check sendmail -i", Some("-i")),
            ("facteur --mail sendmail sendmail -- b@x", Some("-- b@x")),
            ("facteur settings --autoconfig -- sendmail@x", None),
            ("facteur --mail sendmail", None),
            ("facteur check-ready", None),
        ] {
            let words = typed(words.split(' ').map(OsString::from));
            let parsed = Arguments::try_parse_from(words).unwrap();
            let arguments = match parsed.command {
                Some(Command::Sendmail(asked)) => Some(asked.arguments),
                _ => None,
            };
            let expect = expect.map(|it| it.split(' ').map(OsString::from).collect());
            assert_eq!(arguments, expect);
        }
    }

    #[test]
    fn no_arguments_mean_the_defaults() {
        assert_eq!(configuration(&[]), Config::default());
    }

    #[test]
    fn listeners_on_the_command_line_replace_those_of_the_configuration() {
        let typed = configuration(&[
            "--smtp",
            "127.0.0.1:0",
            "--smtp",
            "[::1]:25",
            "--pop3",
            "off",
        ]);
        let addresses: Vec<String> = typed
            .smtp
            .iter()
            .map(|listen| listen.address.to_string())
            .collect();
        assert_eq!(addresses, ["127.0.0.1:0", "[::1]:25"]);
        assert!(typed.pop3.is_empty());
    }

    /// SEC-14.
    #[test]
    fn an_address_that_others_can_reach_is_refused() {
        for address in [
            "0.0.0.0:25",
            "[::]:25",
            "192.0.2.1:25",
            "[::ffff:192.0.2.1]:25",
        ] {
            let arguments = ["facteur", "--smtp", address];
            let arguments = Arguments::try_parse_from(arguments).unwrap();
            let error = arguments.configuration().unwrap_err();
            assert!(matches!(error, config::Error::Exposed { .. }), "{error}");
        }
    }

    #[test]
    fn invalid_addresses_are_refused() {
        for address in [
            "x:1",
            "127.0.0.1",
            "",
            ":",
            "localhost",
            "localhost:x",
            "65536",
            "-1",
        ] {
            let arguments = ["facteur", "--smtp", address];
            assert!(Arguments::try_parse_from(arguments).is_err(), "{address}");
        }
    }

    #[test]
    fn a_port_without_an_address_means_this_machine() {
        for typed in ["2525", ":2525", "localhost:2525"] {
            let found = configuration(&["--smtp", typed, "--pop3", "off"]).smtp;
            let found: Vec<String> = found.iter().map(|it| it.address.to_string()).collect();
            assert_eq!(found, ["127.0.0.1:2525", "[::1]:2525"], "{typed}");
        }
    }

    #[test]
    fn a_usage_error_suggests_what_was_meant() {
        for (arguments, meant) in [
            (&["--smpt", "off"][..], "did you mean --smtp?"),
            (&["hash-pasword"], "did you mean hash-password?"),
            (&["acount", "list"], "did you mean account?"),
            (&["account", "ad", "bob@example.com"], "did you mean add?"),
            (&["--log-level", "inof"], "did you mean \"info\"?"),
            (&["--durability", "jurnal"], "did you mean \"journal\"?"),
        ] {
            let all = std::iter::once(&"facteur").chain(arguments);
            let error = Arguments::try_parse_from(all).unwrap_err();
            let text = usage_error(&error);
            assert!(text.contains(meant), "{text}");
            assert_eq!(text.lines().count(), 1, "{text}");
        }
    }

    #[test]
    fn off_and_an_address_contradict_each_other() {
        for typed in [
            ["off", "127.0.0.1:0"],
            ["127.0.0.1:0", "off"],
            ["off", "off"],
        ] {
            let arguments = ["facteur", "--smtp", typed[0], "--smtp", typed[1]];
            let arguments = Arguments::try_parse_from(arguments).unwrap();
            let error = arguments.configuration().unwrap_err();
            assert!(
                matches!(error, config::Error::OffAndOn { flag: "--smtp" }),
                "{error}"
            );
        }
    }

    #[test]
    fn a_usage_error_is_one_line() {
        for arguments in [
            &["facteur", "--smtp", "0.0.0.0"][..],
            &["facteur", "--bogus"],
            &["facteur", "--smpt", "off"],
            &["facteur", "--log-level", "loud"],
            &["facteur", "--mail"],
            &["facteur", "surplus"],
            &["facteur", "cert", "*.example.com"],
            &["facteur", "cert", "--bogus"],
            &["facteur", "settings", "bob"],
        ] {
            let error = Arguments::try_parse_from(arguments).unwrap_err();
            let text = usage_error(&error);
            assert_eq!(text.lines().count(), 1, "{text}");
            let value = arguments.last().unwrap().trim_start_matches("--");
            assert!(text.contains(value) || text.contains("--smpt"), "{text}");
            assert!(!text.starts_with("error"), "{text}");
        }
    }

    #[test]
    fn the_configuration_can_be_named_before_and_after_a_command() {
        for arguments in [
            ["facteur", "--config", "x.toml", "cert", "a.example"],
            ["facteur", "cert", "--config", "x.toml", "a.example"],
            ["facteur", "cert", "a.example", "--config", "x.toml"],
        ] {
            let arguments = Arguments::try_parse_from(arguments).unwrap();
            assert_eq!(arguments.config, Some(PathBuf::from("x.toml")));
            let Some(Command::Cert(cert)) = arguments.command else {
                panic!("{arguments:?}");
            };
            assert_eq!(cert.names, ["a.example".parse().unwrap()]);
            assert_eq!(cert.dir, PathBuf::from("./tls"));
            assert!(!cert.renew);
        }
    }

    #[test]
    fn all_listeners_off_is_an_error() {
        let arguments = ["facteur", "--smtp", "off", "--pop3", "off"];
        let arguments = Arguments::try_parse_from(arguments).unwrap();
        assert!(matches!(
            arguments.configuration(),
            Err(config::Error::NoListener)
        ));
    }
}
