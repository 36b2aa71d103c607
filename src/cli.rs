//! The command line: its options and commands, and how they override the configuration.
//!
//! An option overrides the environment variable of its key, which overrides the configuration file.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::builder::NonEmptyStringValueParser;
use clap::error::{ContextKind, ContextValue};
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::certificate::Name;
use crate::config::{self, Config, Durability, Environment, Listen, LogLevel, Places};
use crate::mail::{Address, AddressError, Charset, Grammar};

const AFTER_HELP: &str = "\
Without a command, facteur serves mail. By default SMTP listens on 127.0.0.1:65434 and [::1]:65434,
POP3 listens on 127.0.0.1:65433 and [::1]:65433, HTTP listens on 127.0.0.1:65480 and [::1]:65480,
and mail is stored in ./mail.

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

    /// Address and port for HTTP, in the same form
    #[arg(long, value_name = "ADDR", value_parser = parse_listen)]
    pub http: Vec<ListenOrOff>,

    /// Address and port for LMTP, in the same form, or the absolute path of a socket
    #[arg(long, value_name = "ADDR", value_parser = parse_lmtp)]
    pub lmtp: Vec<ListenOrOff>,

    /// Directory for the mail; the daemon creates it if it is missing
    #[arg(long, value_name = "DIR", global = true)]
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
    /// Print a cursor for the present position, for `wait --since`
    #[command(after_help = CURSOR_AFTER_HELP)]
    Cursor,
    /// Print the configuration line for an account's password, or the whole account
    HashPassword(HashPasswordArguments),
    /// List the messages of all mailboxes, the newest first
    List(ListArguments),
    /// Move all mailboxes from a mail directory to the database of the configuration, or back
    Migrate(MigrateArguments),
    /// Remove messages from all mailboxes that have them
    Remove(RemoveArguments),
    /// Send the message on standard input to the daemon, as programs expect of sendmail
    Sendmail(SendmailArguments),
    /// Print an address's settings for a mail program
    Settings(SettingsArguments),
    /// Print a message, a part of it, or a link or a code in it
    Show(ShowArguments),
    /// Wait for a message, and print it as `show` does
    Wait(WaitArguments),
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
not come first. If a database has the mail, it also asks the daemon whether that stores messages.
Put the options of the daemon before the command, as in
facteur --smtp 127.0.0.1:2525 check-ready.

Exit codes: 0 every listener answers, 1 a listener does not, or the database stores no messages.";

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

/// The end of the help of all commands that ask a running daemon for messages.
macro_rules! with_the_daemon {
    ($text:literal) => {
        concat!(
            $text,
            "\n\nThe daemon is the one that serves the mail directory. If none is named and \
             nobody serves ./mail,\nhttp://127.0.0.1:65480 is asked."
        )
    };
}

const CURSOR_AFTER_HELP: &str = with_the_daemon!(
    "\
Take the cursor first, then do what sends the message, and then run facteur wait --since with it.
Earlier messages are then not mistaken for it. A restart of the daemon invalidates the cursor."
);

const LIST_AFTER_HELP: &str = with_the_daemon!(
    "\
A message is listed if all words apply to it: text in its sender, recipients, subject or content,
or from:X to:X cc:X subject:X mailbox:X after:2h before:2026-01-31 larger:1M has:attachment
is:unread. A - before a word negates it; put -- before the first word then."
);

/// The arguments of `facteur list`.
#[derive(Args, Clone, Debug)]
#[command(after_help = LIST_AFTER_HELP)]
pub struct ListArguments {
    /// Only messages to which all these words apply
    #[arg(value_name = "WORD")]
    pub words: Vec<String>,

    /// Only messages of this mailbox
    #[arg(long, value_name = "ADDRESS", value_parser = parse_mailbox)]
    pub mailbox: Option<Address>,

    /// At most this many messages
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = parse_limit)]
    pub limit: u32,

    /// Print the answer of the daemon, in the form of Mailpit
    #[arg(long)]
    pub json: bool,
}

const MIGRATE_AFTER_HELP: &str = "\
The database is [store] postgres of the configuration. Stop every daemon that serves one of the two,
and start none before this command has succeeded. Every message keeps its unique-id, so POP3 clients
download nothing again. Nothing is removed or replaced, and every message is compared afterwards; if
the command is interrupted, run it again.

Exit codes: 0 everything is there, 1 failure, 2 wrong usage or configuration, 75 a daemon serves the
mail directory or the database.";

/// The arguments of `facteur migrate`.
#[derive(Args, Clone, Debug)]
#[command(after_help = MIGRATE_AFTER_HELP)]
#[group(required = true, multiple = false)]
pub struct MigrateArguments {
    /// Mail directory whose messages are moved to the database
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,

    /// Mail directory to which the messages of the database are moved; it is created if it is
    /// missing, and must not have other messages
    #[arg(long, value_name = "DIR")]
    pub to: Option<PathBuf>,
}

const REMOVE_AFTER_HELP: &str = with_the_daemon!(
    "\
WORDS are those of `facteur list`. The messages never come back, not even after a power cut. If a
mail directory is named, no other daemon is asked than the one that serves it.

Exit codes: 0 removed, 1 failure, 2 wrong usage, 75 a session has one of the mailboxes open: nothing
is removed, or with --all only what is in other mailboxes."
);

/// The arguments of `facteur remove`.
#[derive(Args, Clone, Debug)]
#[command(after_help = REMOVE_AFTER_HELP)]
#[group(required = true, multiple = false)]
pub struct RemoveArguments {
    /// The messages, by their IDs; if one does not exist, none is removed
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,

    /// All messages
    #[arg(long)]
    pub all: bool,

    /// All messages to which all these words apply
    #[arg(long = "match", value_name = "WORDS")]
    pub words: Option<String>,

    /// All messages of this mailbox; other mailboxes keep their copies
    #[arg(long, value_name = "ADDRESS", value_parser = parse_mailbox)]
    pub mailbox: Option<Address>,
}

const SHOW_AFTER_HELP: &str = with_the_daemon!(
    "\
Without an option, this command prints the most important header fields, the text (that of the HTML
if there is no other), and the list of attachments.

Exit codes: 0 done, 1 failure, or the message has no such part, link or code, 2 wrong usage."
);

/// The arguments of `facteur show`.
#[derive(Args, Clone, Debug)]
#[command(after_help = SHOW_AFTER_HELP)]
pub struct ShowArguments {
    /// ID of the message, or latest
    #[arg(value_name = "ID")]
    pub id: String,

    /// What to print of it.
    #[command(flatten)]
    pub form: Form,
}

/// What is printed of a message: one of these, or an overview.
#[derive(Args, Clone, Debug, Default)]
#[group(multiple = false)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option, and only one can be given"
)]
pub struct Form {
    /// Print the answer of the daemon, in the form of Mailpit
    #[arg(long)]
    pub json: bool,

    /// Print the whole message, unchanged
    #[arg(long)]
    pub raw: bool,

    /// Print the text
    #[arg(long)]
    pub text: bool,

    /// Print the HTML
    #[arg(long)]
    pub html: bool,

    /// Print the header section
    #[arg(long)]
    pub headers: bool,

    /// Print the first http or https link that contains PART
    #[arg(
        long,
        value_name = "PART",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = ""
    )]
    pub link: Option<String>,

    /// Print the first code: N digits (4 to 8 if there is no N) that stand alone
    #[arg(
        long,
        value_name = "N",
        num_args = 0..=1,
        require_equals = true,
        value_parser = parse_digits
    )]
    pub code: Option<Option<usize>>,

    /// Write the attachments into this directory, which is created if it is missing; nothing in it
    /// is overwritten
    #[arg(long, value_name = "DIR")]
    pub save: Option<PathBuf>,
}

const WAIT_AFTER_HELP: &str = with_the_daemon!(
    "\
The newest message that fits counts, also if it came before this command, within the time of
--since. Use an address of its own for each test, or a cursor: see `facteur cursor --help`.

Exit codes: 0 the message came (with --none: none came), 1 failure, or the message has no such part,
link or code (with --none: a message came), 2 wrong usage, 124 the time is over."
);

/// The arguments of `facteur wait`.
#[derive(Args, Clone, Debug)]
#[command(after_help = WAIT_AFTER_HELP)]
pub struct WaitArguments {
    /// A message to this address; a sub-address such as bob+test7@example.com counts as written
    #[arg(long, value_name = "ADDRESS", value_parser = NonEmptyStringValueParser::new())]
    pub to: Option<String>,

    /// A message with this text in its subject
    #[arg(long, value_name = "TEXT")]
    pub subject: Option<String>,

    /// A message to which all these words apply, as in `facteur list`
    #[arg(long = "match", value_name = "WORDS")]
    pub words: Option<String>,

    /// Wait for this many messages, and print all of them, the oldest first
    #[arg(long, value_name = "N", value_parser = parse_count)]
    pub count: Option<u32>,

    /// Succeed if no message comes before the time is over
    #[arg(long, conflicts_with_all = ["count", "Form"])]
    pub none: bool,

    /// Only messages that came after this: a cursor, an age, or seconds since 1970
    #[arg(
        long,
        value_name = "CURSOR|AGE",
        default_value = "10m",
        value_parser = parse_since
    )]
    pub since: Since,

    /// How long to wait: for example 500ms, 10s or 2m; 0s means not at all
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = parse_time)]
    pub timeout: Duration,

    /// What to print of the message.
    #[command(flatten)]
    pub form: Form,
}

/// Where `facteur wait` begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Since {
    /// So long before now.
    Age(Duration),
    /// At a cursor, or at a time in seconds since 1970: as the daemon reads it.
    Place(String),
}

/// Messages in one answer of the daemon, at most.
const LIMIT_MAX: u32 = 1_000;

/// Messages that `wait` waits for, at most: the daemon returns all of them at once.
const COUNT_MAX: u32 = 100;

/// Octets of a cursor, at most: three numbers.
const CURSOR_OCTETS_MAX: usize = 80;

/// Digits of a code, at most: more than anybody types.
const DIGITS_MAX: usize = 32;

/// The longest age and the longest time to wait: a week.
const TIME_MAX: Duration = Duration::from_hours(7 * 24);

fn parse_limit(text: &str) -> Result<u32, String> {
    parse_number(text, LIMIT_MAX)
}

fn parse_count(text: &str) -> Result<u32, String> {
    parse_number(text, COUNT_MAX)
}

fn parse_number(text: &str, max: u32) -> Result<u32, String> {
    let number = text
        .parse()
        .ok()
        .filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| format!("write a number from 1 to {max}"))
}

fn parse_digits(text: &str) -> Result<usize, String> {
    let number = text.parse().ok();
    let number = number.filter(|number| (1..=DIGITS_MAX).contains(number));
    number.ok_or_else(|| format!("write a number of digits from 1 to {DIGITS_MAX}"))
}

fn parse_time(text: &str) -> Result<Duration, String> {
    time(text).ok_or_else(|| "write a time such as 500ms, 10s, 2m or 1h, up to 7d".to_owned())
}

fn parse_since(text: &str) -> Result<Since, String> {
    let is_place = |part: &str| !part.is_empty() && part.bytes().all(|it| it.is_ascii_hexdigit());
    if let Some(age) = time(text) {
        Ok(Since::Age(age))
    } else if text.split('-').all(is_place) && text.len() <= CURSOR_OCTETS_MAX {
        Ok(Since::Place(text.to_owned()))
    } else {
        Err("write an age such as 10m, or a cursor as `facteur cursor` prints it".to_owned())
    }
}

/// A number of milliseconds, seconds, minutes, hours or days.
fn time(text: &str) -> Option<Duration> {
    const UNITS: [(&str, Duration); 5] = [
        ("ms", Duration::from_millis(1)),
        ("s", Duration::from_secs(1)),
        ("m", Duration::from_mins(1)),
        ("h", Duration::from_hours(1)),
        ("d", Duration::from_hours(24)),
    ];
    let of = |(unit, time): (&str, Duration)| Some((text.strip_suffix(unit)?, time));
    let (digits, unit) = UNITS.into_iter().find_map(of)?;
    let time = unit.checked_mul(digits.parse().ok()?)?;
    (time <= TIME_MAX && digits.bytes().all(|it| it.is_ascii_digit())).then_some(time)
}

fn parse_address(text: &str) -> Result<Address, AddressError> {
    Address::parse(text, Charset::Utf8)
}

/// An address in any form that facteur accepts without accounts.
fn parse_mailbox(text: &str) -> Result<Address, AddressError> {
    Address::parse(text, Grammar::WIDEST)
}

/// The value of `--smtp`, `--pop3`, `--http` and `--lmtp`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenOrOff {
    /// Listen at one address, or at both loopback addresses if only a port was given, or, with
    /// `--lmtp`, at a socket.
    Listen(Places),
    /// Do not listen.
    Off,
}

fn parse_listen(text: &str) -> Result<ListenOrOff, String> {
    if text == "off" {
        return Ok(ListenOrOff::Off);
    }
    let addresses = Listen::parse(text)?;
    Ok(ListenOrOff::Listen(Places {
        addresses,
        ..Places::default()
    }))
}

fn parse_lmtp(text: &str) -> Result<ListenOrOff, String> {
    if text == "off" {
        return Ok(ListenOrOff::Off);
    }
    let mut places = Places::default();
    places.add(text)?;
    Ok(ListenOrOff::Listen(places))
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
            ("http", !self.http.is_empty()),
            ("lmtp", !self.lmtp.is_empty()),
            ("mail", self.mail.is_some()),
            ("durability", self.durability.is_some()),
            ("log_level", self.log_level.is_some()),
        ] {
            if is_typed {
                config.variables.remove(key);
            }
        }
        for (flag, listeners, typed) in [
            ("--smtp", &mut config.smtp, &self.smtp),
            ("--pop3", &mut config.pop3, &self.pop3),
            ("--http", &mut config.http, &self.http),
        ] {
            if let Some(places) = places(flag, typed)? {
                *listeners = places.addresses;
            }
        }
        if let Some(places) = places("--lmtp", &self.lmtp)? {
            config.lmtp = places;
        }
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

/// The listeners that were typed, if any were: they replace those of the configuration file.
fn places(flag: &'static str, typed: &[ListenOrOff]) -> Result<Option<Places>, config::Error> {
    let mut all = Places::default();
    match typed {
        [] => return Ok(None),
        [ListenOrOff::Off] => {}
        several => {
            for value in several {
                match value {
                    ListenOrOff::Listen(places) => {
                        all.addresses.extend(&places.addresses);
                        all.sockets.extend(places.sockets.iter().cloned());
                    }
                    ListenOrOff::Off => return Err(config::Error::OffAndOn { flag }),
                }
            }
        }
    }
    Ok(Some(all))
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
    let is_start = |word: &String| ["daemon", "run", "serve", "start"].contains(&word.as_str());
    if let Some(ContextValue::String(word)) = error.get(ContextKind::InvalidSubcommand)
        && is_start(word)
    {
        return format!("{reason}; without a command, facteur serves mail (see --help)");
    }
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
            (&["serve"], "without a command, facteur serves mail"),
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
    fn the_mail_directory_can_be_named_before_and_after_a_command() {
        for arguments in [
            &["facteur", "--mail", "x", "wait", "--to", "bob@example.com"][..],
            &["facteur", "wait", "--to", "bob@example.com", "--mail", "x"],
            &["facteur", "list", "--mail=x", "bob"],
            &["facteur", "account", "list", "--mail", "x"],
        ] {
            let arguments = Arguments::try_parse_from(arguments).unwrap();
            assert_eq!(arguments.mail, Some(PathBuf::from("x")), "{arguments:?}");
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
