//! `facteur sendmail`: hands a message to the daemon for a program that knows sendmail(8).
//!
//! The message comes on standard input and goes to the first SMTP listener of the configuration.
//! There is no queue: the exit code says whether the daemon has accepted the message, and for whom.
//!
//! # Theory of operation
//! [`arguments`] and [`header`] decide, without I/O, who gets what. The beginning of the message,
//! which contains the header section, is in memory; the rest goes from [`input`] to [`dialogue`] in
//! pieces. Only the recipients that the daemon accepts count: the others are reported at the end.
//! More transactions follow if there are more recipients than the daemon takes in one.
//!
//! # Failures
//! [`Error`], with the exit codes of sysexits.h.

mod address_list;
mod arguments;
mod dialogue;
mod error;
mod header;
mod input;
mod limits;
mod user;

use std::{
    collections::HashSet,
    io::{self, Read, Write},
    net::SocketAddr,
    path::PathBuf,
};

use crate::{
    cli::{self, Arguments, SendmailArguments},
    clock::Clock,
    mail::{Address, BodyType, Domain, ReversePath},
    wire::DotEncoder,
};

use super::local::{connect, local};

use address_list::Fault;
use arguments::{Asked, Request};
use dialogue::{Dialogue, Failure, Offered};
use error::{Daemon, Reason, Refused};
use header::{Additions, Header};
use input::Input;
use user::User;

pub use error::Error;

pub(super) fn run<'a>(
    asked: &SendmailArguments,
    arguments: &Arguments,
    clock: &'a Clock,
    output: &'a mut dyn Write,
) -> Result<(), Error> {
    let request = match arguments::parse(&asked.arguments).map_err(Reason::Usage)? {
        Asked::Help => {
            let help = cli::sendmail_help();
            output.write_all(help.as_bytes()).map_err(Reason::Output)?;
            return Ok(());
        }
        Asked::Send(request) => request,
    };
    for option in &request.ignored {
        // A closed standard error is no reason not to send the message.
        let option = option.escape_debug();
        drop(writeln!(
            io::stderr(),
            "facteur: the option {option} is ignored"
        ));
    }
    let (daemon, host) = daemon(&request, arguments)?;
    let envelope = Envelope::of(&request, &host)?;
    let source = input::standard().map_err(Reason::Input)?;
    let mut input = Input::new(source, request.keeps_lone_dots);
    let message = Message::read(&mut input, &request, envelope, clock)?;
    let screen: Option<&mut dyn Write> = if request.is_verbose {
        Some(output)
    } else {
        None
    };
    let connected = connect(daemon.address, limits::CONNECT_TIMEOUT, &daemon.proxies);
    let sent = match connected.and_then(|stream| Dialogue::on(stream, clock, screen)) {
        Ok(dialogue) => message.send(dialogue, &mut input),
        Err(error) => Err(Reason::Away(error)),
    };
    sent.map_err(|reason| Error {
        reason: Box::new(reason),
        daemon: Some(Box::new(daemon)),
    })
}

/// Where the daemon is, and the name of this host.
fn daemon(request: &Request, arguments: &Arguments) -> Result<(Daemon, Domain), Reason> {
    let mut arguments = arguments.clone();
    if let Some(config) = &request.config {
        arguments.config = Some(config.clone());
    }
    // Only three keys are used, so the final checks do not matter here.
    let config = arguments.unchecked_configuration();
    let config = config.map_err(Reason::Config)?;
    let listen = config.smtp.first().ok_or(Reason::NoListener)?;
    let address: SocketAddr = local(listen.address);
    if address.port() == 0 {
        return Err(Reason::AnyPort);
    }
    let config_file: Option<PathBuf> = arguments.config;
    let daemon = Daemon {
        address,
        config: config_file,
        proxies: config.proxy_from,
    };
    Ok((daemon, config.hostname.0))
}

/// Who sends, and to whom, according to the command line.
#[derive(Debug)]
struct Envelope {
    host: Domain,
    user: User,
    reverse_path: ReversePath,
    recipients: Vec<Result<Address, Fault>>,
}

impl Envelope {
    fn of(request: &Request, host: &Domain) -> Result<Self, Reason> {
        if request.recipients.is_empty() && !request.reads_header {
            return Err(Reason::NobodyNamed);
        }
        let user = User::current();
        let reverse_path = match request.reverse_path.as_deref() {
            None => {
                let login = Address::from_parts(user.login.clone(), host.clone());
                ReversePath::Address(login)
            }
            Some(text) if ["", "<>"].contains(&text.trim()) => ReversePath::Null,
            Some(text) => {
                let mut addresses = address_list::parse(text, host).into_iter();
                match (addresses.next(), addresses.next()) {
                    (Some(Ok(address)), None) => ReversePath::Address(address),
                    _ => return Err(Reason::Sender(text.to_owned())),
                }
            }
        };
        let mut recipients = Vec::new();
        for list in &request.recipients {
            if list.starts_with('-') {
                recipients.push(Err(Fault {
                    text: list.clone(),
                    reason: address_list::Reason::Option,
                }));
            } else {
                recipients.extend(address_list::parse(list, host));
            }
        }
        Ok(Self {
            host: host.clone(),
            user,
            reverse_path,
            recipients,
        })
    }
}

/// A message, ready to be sent.
#[derive(Debug)]
struct Message {
    host: Domain,
    reverse_path: ReversePath,
    recipients: Vec<Address>,
    /// Recipients that are not addresses.
    faults: Vec<Fault>,
    /// The beginning of the content, with the header section as it is sent.
    beginning: Vec<u8>,
    /// Whether that is the whole content.
    is_whole: bool,
    /// Whether the header section is valid UTF-8 that needs SMTPUTF8.
    has_utf8_header: bool,
    body: Option<BodyType>,
}

impl Message {
    /// Reads the beginning of a message, and finds its recipients.
    fn read(
        input: &mut Input<impl Read>,
        request: &Request,
        envelope: Envelope,
        clock: &Clock,
    ) -> Result<Self, Reason> {
        let mut text = Vec::new();
        while !input.is_ended() && text.len() < limits::BEGINNING_OCTETS_MAX {
            input.read(&mut text).map_err(Reason::Input)?;
        }
        let header = Header::parse(&text);
        if !input.is_ended() {
            let judged = Header::parse(judged(&text));
            if !judged.is_ended() || (request.reads_header && !judged.has_empty_line()) {
                return Err(Reason::HeaderTooLong);
            }
        }
        if request.reads_header && header.has_bare_cr() {
            return Err(Reason::BareCr);
        }
        if request.reads_header && header.hides_bcc() {
            return Err(Reason::HiddenBcc);
        }
        let Envelope {
            host,
            user,
            reverse_path,
            recipients: mut all,
        } = envelope;
        if request.reads_header {
            all.extend(header.recipients(&host));
        }
        if all.len() > limits::RECIPIENTS_MAX {
            return Err(Reason::TooManyRecipients);
        }
        let (mut recipients, mut faults, mut known) = (Vec::new(), Vec::new(), HashSet::new());
        for recipient in all {
            match recipient {
                Ok(address) if known.insert(address.clone()) => recipients.push(address),
                Ok(_) => {}
                Err(fault) => faults.push(fault),
            }
        }
        if recipients.is_empty() {
            return Err(Reason::NoRecipient(faults.into_iter().next()));
        }
        let address = match &reverse_path {
            ReversePath::Address(address) => address.clone(),
            ReversePath::Null => Address::from_parts(user.login, host.clone()),
        };
        let additions = Additions {
            address,
            name: request.full_name.clone().or(user.full_name),
            date: clock.date(),
            message_id: message_id(clock, &host),
        };
        let beginning = header.rewritten(request.reads_header, &additions);
        let section = beginning.get(..Header::parse(&beginning).octets());
        let section = section.unwrap_or_default();
        let has_utf8_header = !section.is_ascii() && str::from_utf8(section).is_ok();
        Ok(Self {
            host,
            reverse_path,
            recipients,
            faults,
            has_utf8_header,
            beginning,
            is_whole: input.is_ended(),
            body: request.body,
        })
    }

    /// Sends the message, the rest of which is in `input`.
    fn send(self, mut dialogue: Dialogue<'_>, input: &mut Input<impl Read>) -> Result<(), Reason> {
        let host = self.host.to_a_label();
        let host = host.unwrap_or_else(|_| self.host.as_str().to_owned());
        let offered = dialogue.greet(&host).map_err(Reason::Dialogue)?;
        let parameters = self.parameters(offered)?;
        let mail = format!(" FROM:{}{parameters}", self.reverse_path);
        let limit = offered.size.filter(|&limit| limit > 0);
        let mut outcome = Outcome::default();
        for fault in &self.faults {
            outcome.refused.push(Refused {
                reason: fault.to_string(),
                is_transient: false,
            });
        }
        let mut rest = self.recipients.as_slice();
        while !rest.is_empty() {
            if let Err(failure) = dialogue.must("MAIL", &mail) {
                return Err(outcome.failed(failure, rest));
            }
            let (named, others) = self.name(&mut dialogue, rest, &mut outcome)?;
            if !named.is_empty() {
                let beginning = self.beginning.clone();
                let sent = dialogue.data().map_err(Reason::Dialogue);
                match sent.and_then(|()| content(&mut dialogue, beginning, input, limit)) {
                    Ok(()) => {}
                    Err(Reason::Dialogue(failure)) => {
                        let waiting = named.into_iter().chain(others);
                        return Err(outcome.failed(failure, waiting));
                    }
                    Err(other) => return Err(other),
                }
            }
            outcome.accepted = outcome.accepted.saturating_add(named.len());
            rest = others;
        }
        dialogue.quit();
        if outcome.refused.is_empty() {
            return Ok(());
        }
        Err(outcome.into())
    }

    /// Names recipients for one transaction: returns those that the daemon accepts, and those that
    /// have to wait for the next one, because it takes no more in this one (RFC 5321 §4.5.3.1.10).
    /// Only a message that is in memory can be sent again.
    fn name<'a>(
        &self,
        dialogue: &mut Dialogue<'_>,
        rest: &'a [Address],
        outcome: &mut Outcome,
    ) -> Result<(Vec<&'a Address>, &'a [Address]), Reason> {
        let mut named = Vec::new();
        for (at, recipient) in rest.iter().enumerate() {
            let (_, waiting) = rest.split_at_checked(at).unwrap_or((rest, &[]));
            let path = recipient.to_string();
            match dialogue.recipient(&path) {
                Ok(None) => named.push(recipient),
                Ok(Some(reply)) if reply.is_full() && self.is_whole && !named.is_empty() => {
                    return Ok((named, waiting));
                }
                Ok(Some(reply)) => outcome.refused.push(Refused {
                    reason: format!("{path} is refused with {reply}"),
                    is_transient: reply.is_transient(),
                }),
                // The daemon ends a session that names too many unknown recipients: report those.
                Err(failure) if outcome.accepted == 0 && !outcome.refused.is_empty() => {
                    let mut outcome = std::mem::take(outcome);
                    outcome.add(&failure, [recipient]);
                    return Err(outcome.into());
                }
                Err(failure) => {
                    let waiting = named.into_iter().chain(waiting);
                    return Err(std::mem::take(outcome).failed(failure, waiting));
                }
            }
        }
        Ok((named, &[]))
    }

    /// The parameters of MAIL: those that the message needs, if they are offered.
    fn parameters(&self, offered: Offered) -> Result<String, Reason> {
        let mut parameters = String::new();
        if offered.size.is_some() && self.is_whole {
            parameters = format!(" SIZE={}", header::size(&self.beginning));
        }
        let body = self.body.unwrap_or({
            // Unless the whole message was read, the rest can have any octets.
            if self.beginning.is_ascii() && self.is_whole {
                BodyType::SevenBit
            } else {
                BodyType::EightBitMime
            }
        });
        if offered.eight_bit_mime && body == BodyType::EightBitMime {
            parameters.push_str(" BODY=8BITMIME");
        }
        let is_ascii = |address: &Address| address.to_string().is_ascii();
        let has_utf8_address =
            !self.reverse_path.to_string().is_ascii() || !self.recipients.iter().all(is_ascii);
        if has_utf8_address && !offered.smtp_utf8 {
            return Err(Reason::NoSmtpUtf8);
        }
        if offered.smtp_utf8 && (has_utf8_address || self.has_utf8_header) {
            parameters.push_str(" SMTPUTF8");
        }
        Ok(parameters)
    }
}

/// The complete lines within the limit, of a text that goes on: what the last line is can depend on
/// octets that are not read yet.
fn judged(text: &[u8]) -> &[u8] {
    let within = text.get(..limits::BEGINNING_OCTETS_MAX).unwrap_or(text);
    let octets = memchr::memrchr(b'\n', within).map_or(0, |at| at.saturating_add(1));
    within.get(..octets).unwrap_or_default()
}

/// What became of the recipients.
#[derive(Debug, Default)]
struct Outcome {
    /// How many have the message.
    accepted: usize,
    refused: Vec<Refused>,
}

impl Outcome {
    /// The end after a failure in the dialogue: if the message was sent to some recipients before,
    /// those that still wait are reported, and else the failure.
    fn failed<'a>(
        mut self,
        failure: Failure,
        waiting: impl IntoIterator<Item = &'a Address>,
    ) -> Reason {
        if self.accepted == 0 {
            return Reason::Dialogue(failure);
        }
        self.add(&failure, waiting);
        self.into()
    }

    fn add<'a>(&mut self, failure: &Failure, waiting: impl IntoIterator<Item = &'a Address>) {
        self.refused
            .extend(waiting.into_iter().map(|recipient| Refused {
                reason: format!("{recipient}: {failure}"),
                is_transient: failure.is_transient(),
            }));
    }
}

impl From<Outcome> for Reason {
    fn from(outcome: Outcome) -> Self {
        Self::Recipients {
            refused: outcome.refused,
            accepted: outcome.accepted,
        }
    }
}

/// Sends the content: the beginning, and the rest of the input. An error leaves the content without
/// its end, so the daemon discards it.
fn content(
    dialogue: &mut Dialogue<'_>,
    mut piece: Vec<u8>,
    input: &mut Input<impl Read>,
    limit: Option<u64>,
) -> Result<(), Reason> {
    let mut encoder = DotEncoder::new();
    let mut stuffed = Vec::new();
    let mut octets: u64 = 0;
    loop {
        octets = octets.saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
        if let Some(limit) = limit.filter(|&limit| octets > limit) {
            return Err(Reason::TooLarge(limit));
        }
        stuffed.clear();
        encoder.encode(&piece, &mut stuffed);
        if input.is_ended() {
            encoder.finish(&mut stuffed);
        }
        dialogue.content(&stuffed).map_err(Reason::Dialogue)?;
        if input.is_ended() {
            return dialogue.end_content().map_err(Reason::Dialogue);
        }
        piece.clear();
        input.read(&mut piece).map_err(Reason::Input)?;
    }
}

/// A Message-ID: two processes of this host do not have the same number at the same time.
fn message_id(clock: &Clock, host: &Domain) -> String {
    let host = host.to_a_label();
    let host = host.unwrap_or_else(|_| Domain::localhost().to_string());
    let nanos = clock.unix_time().as_nanos();
    format!("{nanos:x}.{}@{host}", std::process::id())
}
