//! A connection to a server of the database, and what is known when something goes wrong with it.
//!
//! It is our own, on the messages of `postgres-protocol`, because three things matter here that
//! drivers hide: a deadline for each answer, also for that to a commit; the command tag and the
//! warnings; and what is known of a statement whose answer did not come ([`Failure`]).
//!
//! # Theory of operation
//! Statements are prepared once, by name, when the connection is made. [`Connection::send`] writes
//! groups of them with one call. A group is a transaction of its own: the server commits it at its
//! end, and only then says that it is ready. [`Connection::answer`] reads the answer to one group.
//! So a proof that follows a batch travels with it.
//!
//! If an answer does not come in time, the connection still owes it. It must not be used before
//! [`Connection::settle`] has read it, because a commit that waits for a standby goes on waiting,
//! whatever its client does.
//!
//! # Invariants
//! - A [`Failure`] never claims more than is known: once the first octet of a group was written,
//!   the group is [`Failure::Unknown`] unless the server says otherwise.
//! - A message, an answer and the notifications that wait have a maximum size (SEC-8).
//! - No password is written before the server has proved that it knows it too, except within TLS.

mod access;
mod failure;
mod link;
mod value;

use std::{
    collections::VecDeque,
    fmt::Display,
    io::{self, ErrorKind},
    sync::atomic::Ordering,
    time::Instant,
};

use bytes::BytesMut;
use fallible_iterator::FallibleIterator as _;
use postgres_protocol::{
    authentication::sasl::{ChannelBinding, SCRAM_SHA_256, ScramSha256},
    message::{
        backend::{self, ErrorFields, Message},
        frontend,
    },
};

use crate::clock::Clock;

use super::limits::{
    ANSWER_OCTETS_MAX, CONNECT_TIMEOUT, MESSAGE_OCTETS_MAX, NOTIFICATIONS_MAX,
    STATEMENTS_OF_GROUP_MAX,
};

pub use access::{Access, AccessError, Secrets};
pub(super) use failure::{Failure, Refusal};
pub(super) use value::{Row, UUID_OCTETS, Value};

use link::{Link, Until};

/// A statement that is prepared under a name.
#[derive(Debug)]
pub(super) struct Statement {
    /// Its name, different for each.
    pub(super) name: &'static str,
    /// Its text; parameters have their types in it.
    pub(super) text: &'static str,
}

/// A statement with its parameters.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ask<'a> {
    pub(super) statement: &'a Statement,
    pub(super) values: &'a [Value<'a>],
}

/// What one statement of a group has returned.
#[derive(Debug, Default)]
pub(super) struct Returned {
    /// The rows that were kept.
    pub(super) rows: Vec<Row>,
    /// The command tag, such as `SELECT 1`.
    pub(super) tag: String,
}

/// The answer to a group that was carried out, and committed.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// One for each statement.
    pub(super) returned: Vec<Returned>,
    /// The first warning that came with it. A commit that did not wait for a standby warns.
    pub(super) warning: Option<String>,
}

impl Answer {
    /// The only row of the statement with this index.
    pub(super) fn row(&self, statement: usize) -> Option<&Row> {
        match &*self.returned.get(statement)?.rows {
            [row] => Some(row),
            _ => None,
        }
    }
}

/// What another connection has told.
#[derive(Debug)]
pub(super) struct Notification {
    /// Its text.
    pub(super) text: String,
}

/// An open connection to a primary.
#[derive(Debug)]
pub(super) struct Connection {
    link: Link,
    /// The index of its server.
    server: usize,
    input: BytesMut,
    output: BytesMut,
    /// Groups that were sent and not answered.
    owed: usize,
    /// Why it cannot be used any more.
    broken: Option<String>,
    notifications: VecDeque<Notification>,
    /// Whether some had to be forgotten.
    has_forgotten: bool,
    /// Whether the server only follows another.
    is_standby: bool,
}

impl Connection {
    /// Connects to the server among those of `access` that is the primary.
    ///
    /// # Errors
    /// [`Failure::NotSent`], [`Failure::Refused`]: none is; the error is that of the last one.
    pub(super) fn open(access: &Access, clock: &Clock, deadline: Instant) -> Result<Self, Failure> {
        // Unless there is time to try a server.
        let mut failure = Failure::not_sent(ErrorKind::TimedOut.into());
        let first = access.first.load(Ordering::Relaxed);
        let first = first.checked_rem(access.servers.len()).unwrap_or(0);
        let servers = access.servers.iter().enumerate();
        for (index, server) in servers.cycle().skip(first).take(access.servers.len()) {
            // One that hangs must not keep the others from being tried.
            let now = clock.now();
            if now >= deadline {
                break;
            }
            let soon = now.checked_add(CONNECT_TIMEOUT).unwrap_or(now);
            let deadline = deadline.min(soon);
            let link = Link::open(server, access, clock, deadline);
            let at_server = |kind, reason: &dyn Display| {
                Failure::not_sent(io::Error::new(kind, format!("{server}: {reason}")))
            };
            match link.map_err(Failure::not_sent).and_then(|link| {
                let mut connection = Self::over(link, index);
                connection.start(access, deadline)?;
                Ok(connection)
            }) {
                Ok(connection) if connection.is_standby => {
                    failure = at_server(ErrorKind::Other, &"it is a standby");
                }
                Ok(connection) => {
                    access.first.store(index, Ordering::Relaxed);
                    access.primary.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                // Nothing was asked yet.
                Err(Failure::Unknown(reason)) => {
                    failure = at_server(ErrorKind::Other, &reason);
                }
                Err(Failure::Waiting) => {
                    let kind = ErrorKind::TimedOut;
                    failure = at_server(kind, &kind);
                }
                Err(Failure::NotSent(error)) => failure = at_server(error.kind(), &error),
                Err(refused @ Failure::Refused(_)) => failure = refused,
            }
            access
                .first
                .store(index.saturating_add(1), Ordering::Relaxed);
        }
        Err(failure)
    }

    fn over(link: Link, server: usize) -> Self {
        Self {
            link,
            server,
            input: BytesMut::new(),
            output: BytesMut::new(),
            owed: 0,
            broken: None,
            notifications: VecDeque::new(),
            has_forgotten: false,
            is_standby: false,
        }
    }

    /// Whether another server was found to be the primary since.
    pub(super) fn is_of_the_past(&self, access: &Access) -> bool {
        access.primary.load(Ordering::Relaxed) != self.server
    }

    /// Whether it cannot be used any more.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// Whether the server has not yet answered everything.
    pub(super) fn is_waiting(&self) -> bool {
        self.owed > 0
    }

    /// Logs in.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the protocol has many messages, and few matter here"
    )]
    fn start(&mut self, access: &Access, deadline: Instant) -> Result<(), Failure> {
        let parameters = [
            ("user", &*access.user),
            ("database", &*access.database),
            ("application_name", "facteur"),
            ("client_encoding", "UTF8"),
            // Over what the role or the database may have been given.
            ("client_min_messages", "warning"),
            ("synchronous_commit", "on"),
            ("default_transaction_isolation", "read committed"),
        ];
        let made = frontend::startup_message(parameters, &mut self.output);
        made.map_err(Failure::not_sent)?;
        self.flush(deadline)?;
        let mut scram: Option<ScramSha256> = None;
        loop {
            match self.next(Until::Deadline(deadline))? {
                Message::AuthenticationOk => break,
                Message::AuthenticationSasl(body) => {
                    let mut mechanisms = body.mechanisms();
                    let mut offers = false;
                    while let Ok(Some(mechanism)) = mechanisms.next() {
                        offers |= mechanism == SCRAM_SHA_256;
                    }
                    let Some(password) = access.password.as_ref().filter(|_| offers) else {
                        return Err(
                            self.breaks("the server asks for a password: set password_file")
                        );
                    };
                    let binding = ChannelBinding::unsupported();
                    let begun = ScramSha256::new(password.as_bytes(), binding);
                    let message = begun.message();
                    frontend::sasl_initial_response(SCRAM_SHA_256, message, &mut self.output)
                        .map_err(Failure::not_sent)?;
                    self.flush(deadline)?;
                    scram = Some(begun);
                }
                Message::AuthenticationSaslContinue(body) => {
                    let begun = scram.as_mut();
                    let updated = begun.map(|scram| scram.update(body.data()).map(|()| scram));
                    let Some(Ok(scram)) = updated else {
                        return Err(self.breaks("the server's SCRAM is wrong"));
                    };
                    frontend::sasl_response(scram.message(), &mut self.output)
                        .map_err(Failure::not_sent)?;
                    self.flush(deadline)?;
                }
                Message::AuthenticationSaslFinal(body) => {
                    let finished = scram.as_mut().map(|scram| scram.finish(body.data()));
                    if !matches!(finished, Some(Ok(()))) {
                        return Err(self.breaks("the server does not know the password"));
                    }
                }
                Message::ErrorResponse(body) => return Err(Failure::of(refusal(body.fields()))),
                _ => {
                    let reason = "the server wants a way to log in that is not supported: use \
                                  scram-sha-256 in pg_hba.conf";
                    return Err(self.breaks(reason));
                }
            }
        }
        self.owed = 1;
        self.answer(deadline)?;
        Ok(())
    }

    /// Prepares `statements`.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn prepare(
        &mut self,
        statements: &[&Statement],
        deadline: Instant,
    ) -> Result<(), Failure> {
        for Statement { name, text } in statements {
            let made = frontend::parse(name, text, [], &mut self.output);
            made.map_err(Failure::not_sent)?;
        }
        frontend::sync(&mut self.output);
        self.owed = 1;
        self.flush(deadline)?;
        self.answer(deadline)?;
        Ok(())
    }

    /// Carries out `text`, which has no parameters and may have several statements, as one
    /// transaction.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn query(&mut self, text: &str, deadline: Instant) -> Result<Answer, Failure> {
        self.check_free()?;
        frontend::query(text, &mut self.output).map_err(Failure::not_sent)?;
        self.owed = 1;
        self.flush(deadline)?;
        self.answer(deadline)
    }

    /// Carries out one statement.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn ask(
        &mut self,
        statement: &Statement,
        values: &[Value<'_>],
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        self.send(&[&[Ask { statement, values }]], deadline)?;
        self.answer(deadline)
    }

    /// Writes `groups` with one call. Each has to be answered.
    ///
    /// # Errors
    /// [`Failure`]; the first group may have been carried out if it is [`Failure::Unknown`].
    pub(super) fn send(&mut self, groups: &[&[Ask<'_>]], deadline: Instant) -> Result<(), Failure> {
        self.check_free()?;
        self.output.clear();
        for asks in groups {
            for Ask { statement, values } in *asks {
                let made = frontend::bind(
                    "",
                    statement.name,
                    [1],
                    values.iter().copied(),
                    Value::write,
                    [1],
                    &mut self.output,
                );
                let made = made.map_err(|error| match error {
                    frontend::BindError::Conversion(error) => io::Error::other(error),
                    frontend::BindError::Serialization(error) => error,
                });
                let made = made.and_then(|()| frontend::execute("", 0, &mut self.output));
                made.map_err(Failure::not_sent)?;
            }
            frontend::sync(&mut self.output);
        }
        self.owed = groups.len();
        self.flush(deadline)
    }

    /// The answer to the next group.
    ///
    /// # Errors
    /// [`Failure`]: of this group.
    pub(super) fn answer(&mut self, deadline: Instant) -> Result<Answer, Failure> {
        self.answer_with(deadline, &mut |_statement, _row| true)
    }

    /// The same, with only those rows that `keeps` wants; the others it has used already. It gets
    /// the index of the statement too.
    ///
    /// # Errors
    /// As for [`answer`](Self::answer).
    pub(super) fn answer_with(
        &mut self,
        deadline: Instant,
        keeps: &mut dyn FnMut(usize, &Row) -> bool,
    ) -> Result<Answer, Failure> {
        self.read_answer(Until::Deadline(deadline), keeps)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the protocol has many messages, and few matter here"
    )]
    fn read_answer(
        &mut self,
        until: Until,
        keeps: &mut dyn FnMut(usize, &Row) -> bool,
    ) -> Result<Answer, Failure> {
        let mut answer = Answer::default();
        let mut returned = Returned::default();
        let mut failure = None;
        let mut octets = 0_usize;
        loop {
            let message = match self.next(until) {
                Ok(message) => message,
                // The server has said why, and closed the connection.
                Err(Failure::Unknown(reason)) => {
                    return Err(failure.map_or(Failure::Unknown(reason), Failure::of));
                }
                Err(other) => return Err(other),
            };
            match message {
                Message::DataRow(body) => {
                    let Some(row) = Row::of(&body) else {
                        return Err(self.breaks("a row has a wrong form"));
                    };
                    if keeps(answer.returned.len(), &row) {
                        octets = octets.saturating_add(row.held_octets());
                        if octets > ANSWER_OCTETS_MAX {
                            return Err(self.breaks("the answer is too large"));
                        }
                        returned.rows.push(row);
                    }
                }
                Message::CommandComplete(body) => {
                    body.tag().unwrap_or_default().clone_into(&mut returned.tag);
                    answer.returned.push(std::mem::take(&mut returned));
                    if answer.returned.len() > STATEMENTS_OF_GROUP_MAX {
                        return Err(self.breaks("there are too many answers"));
                    }
                }
                Message::NoticeResponse(body) => {
                    let notice = notice(body.fields());
                    answer.warning = answer.warning.or(notice);
                }
                Message::ErrorResponse(body) => failure = Some(refusal(body.fields())),
                Message::ReadyForQuery(body) => {
                    self.owed = self.owed.saturating_sub(1);
                    if body.status() != b'I' {
                        return Err(self.breaks("a transaction was left open"));
                    }
                    return match failure {
                        Some(refusal) => Err(Failure::of(refusal)),
                        None => Ok(answer),
                    };
                }
                // What was prepared and bound, and how rows look, is known.
                _ => {}
            }
        }
    }

    /// Reads, and forgets, what the server still owes, waiting a moment for it. Returns whether
    /// that is everything.
    ///
    /// # Errors
    /// [`Failure`]: it cannot be used any more.
    pub(super) fn settle(&mut self) -> Result<bool, Failure> {
        while self.owed > 0 {
            match self.read_answer(Until::Slice, &mut |_statement, _row| false) {
                Ok(_) | Err(Failure::Refused(_)) => {}
                Err(Failure::Waiting) => return Ok(false),
                Err(Failure::Unknown(_)) if !self.is_broken() => {}
                Err(other @ (Failure::Unknown(_) | Failure::NotSent(_))) => return Err(other),
            }
        }
        Ok(true)
    }

    /// What other connections have told, waiting a moment for it. `None` if something was missed.
    ///
    /// # Errors
    /// [`Failure`].
    pub(super) fn notifications(&mut self) -> Result<Option<Vec<Notification>>, Failure> {
        self.check_free()?;
        if self.notifications.is_empty() {
            match self.read_more(Until::Slice) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => return Ok(Some(Vec::new())),
                Err(error) => return Err(self.breaks(&error.to_string())),
            }
            while let Some(message) = self.parse()? {
                if let Message::ErrorResponse(body) = message {
                    let reason = refusal(body.fields()).to_string();
                    return Err(self.breaks(&reason));
                }
            }
        }
        let told = self.notifications.drain(..).collect();
        let has_forgotten = std::mem::take(&mut self.has_forgotten);
        Ok((!has_forgotten).then_some(told))
    }

    fn check_free(&mut self) -> Result<(), Failure> {
        if let Some(reason) = &self.broken {
            return Err(Failure::not_sent(io::Error::other(reason.clone())));
        }
        if self.owed > 0 {
            let reason = "the connection waits for an answer";
            return Err(Failure::not_sent(io::Error::other(reason)));
        }
        Ok(())
    }

    /// Notes that the connection cannot be used any more.
    fn breaks(&mut self, reason: &str) -> Failure {
        self.broken = Some(reason.to_owned());
        Failure::unknown(reason)
    }

    /// Writes what was collected.
    fn flush(&mut self, deadline: Instant) -> Result<(), Failure> {
        let mut output = std::mem::take(&mut self.output);
        let written = self.link.write(&output, deadline);
        output.clear();
        self.output = output;
        // Part of it may have arrived.
        written.map_err(|error| self.breaks(&error.to_string()))
    }

    /// The next message that is not about the connection as a whole.
    fn next(&mut self, until: Until) -> Result<Message, Failure> {
        loop {
            if let Some(message) = self.parse()? {
                return Ok(message);
            }
            match self.read_more(until) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::TimedOut => return Err(Failure::Waiting),
                Err(error) => return Err(self.breaks(&error.to_string())),
            }
        }
    }

    fn read_more(&mut self, until: Until) -> io::Result<()> {
        self.link.read(&mut self.input, until)
    }

    /// The next message that was read; `None` if it is not there to its end. Notes what is about
    /// the connection as a whole.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the protocol has many messages, and few matter here"
    )]
    fn parse(&mut self) -> Result<Option<Message>, Failure> {
        loop {
            let header = backend::Header::parse(&self.input);
            let length = header.map(|header| header.map_or(0, backend::Header::len));
            let is_bearable =
                |length: i32| usize::try_from(length).is_ok_and(|it| it <= MESSAGE_OCTETS_MAX);
            if !length.is_ok_and(is_bearable) {
                return Err(self.breaks("the server sends a message that is too large"));
            }
            let message = match Message::parse(&mut self.input) {
                Ok(Some(message)) => message,
                Ok(None) => return Ok(None),
                Err(error) => return Err(self.breaks(&error.to_string())),
            };
            match message {
                Message::NotificationResponse(body) => {
                    let text = body.message().unwrap_or_default().to_owned();
                    if self.notifications.len() < NOTIFICATIONS_MAX {
                        self.notifications.push_back(Notification { text });
                    } else {
                        self.has_forgotten = true;
                    }
                }
                Message::ParameterStatus(body) => {
                    if body.name().is_ok_and(|name| name == "in_hot_standby") {
                        self.is_standby = body.value().is_ok_and(|value| value == "on");
                    }
                }
                other => return Ok(Some(other)),
            }
        }
    }
}

/// The severity, the code and the text in the fields of an error or a notice.
fn fields(mut fields: ErrorFields<'_>) -> (String, Refusal) {
    let (mut severity, mut code, mut message) = (String::new(), String::new(), String::new());
    while let Ok(Some(field)) = fields.next() {
        let value = || String::from_utf8_lossy(field.value_bytes()).into_owned();
        match field.type_() {
            b'V' => severity = value(),
            b'C' => code = value(),
            b'M' => message = value(),
            _ => {}
        }
    }
    (severity, Refusal::new(&code, &message))
}

fn refusal(of: ErrorFields<'_>) -> Refusal {
    fields(of).1
}

/// The text of a notice if it is a warning.
fn notice(of: ErrorFields<'_>) -> Option<String> {
    let (severity, refusal) = fields(of);
    let is_harmless = ["NOTICE", "INFO", "LOG", "DEBUG"].contains(&&*severity);
    (!is_harmless).then(|| refusal.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_that_comes_too_late_says_so() {
        let text = "host=127.0.0.1 dbname=a user=b sslmode=disable";
        let access = Access::parse(text, Secrets::default()).unwrap();
        let clock = Clock::system();
        let late = Connection::open(&access, &clock, clock.now()).unwrap_err();
        assert!(matches!(late, Failure::NotSent(error) if error.kind() == ErrorKind::TimedOut));
    }
}
