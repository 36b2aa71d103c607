//! The HTTP driver: performs what an HTTP session asks for and reports the outcome to it.
//!
//! One loop, one `match`, as for the other protocols. What a path means is decided by the
//! [`Api`]; the driver finds out who asks, moves octets, and takes the turns of those who wait.
//!
//! A session here lets other threads go first where the processors are busy: a search reads
//! thousands of messages, and SMTP and POP3 should not notice.

use std::sync::Arc;
use std::time::Instant;

use crate::accounts::{self, Accounts, Login as Granted, Verdict};
use crate::api::{self, Answer, Api, Asker, Entry, Events, Failure, Letter, Turn, Wait};
use crate::clock::Clock;
use crate::counters::Report;
use crate::http::{
    self, Action, Body, Client, Distance, Login, Outcome, Patience, Refusal, Reply, Request,
    Response, Rules, Sending, Session, Status, Token, Way, date,
};
use crate::inbox::{Content, Paths};
use crate::mail::{Credentials, Door, Ending, MailboxName};
use crate::smtp;
use crate::store::{self, MessageStore};

use super::budget::{Purpose, Share};
use super::connection::Connection;
use super::content_rate::ContentRate;
use super::dialogue;
use super::exposition::{MEDIA_TYPE, exposition};
use super::handshakes::Handshakes;
use super::limits;
use super::logins::Logins;
use super::maillog::{self, Refused, Said, Speaker};
use super::muffler::Kind;
use super::reception::Reception;
use super::remembered::Remembered;
use super::sending::{Sender, Unsent};
use super::session::{Interruption, SessionEnd, SessionId, Visit};
use super::sign_ins::SignIns;
use super::waiters::{Waiter, Waiters};

/// What all HTTP sessions share.
#[derive(Debug)]
pub struct Environment {
    /// What the paths mean.
    pub api: Arc<Api>,
    /// Where messages come from.
    pub store: Arc<MessageStore>,
    /// Who may log in.
    pub accounts: Arc<Accounts>,
    /// Verifies passwords.
    pub logins: Arc<Logins>,
    /// The passwords that were right a moment ago.
    pub remembered: Arc<Remembered>,
    /// The browsers that have logged in with a form.
    pub sign_ins: Arc<SignIns>,
    /// How TLS begins, if there is a certificate.
    pub handshakes: Option<Arc<Handshakes>>,
    /// Whose requests are answered.
    pub rules: Arc<Rules>,
    /// Who waits for mail.
    pub waiters: Arc<Waiters>,
    /// What SMTP sessions need to know: messages that are sent over HTTP follow the same rules.
    pub smtp: Arc<smtp::Settings>,
    /// Keeps the sub-addresses of messages, for those who wait for them.
    pub paths: Arc<Paths>,
    /// The time.
    pub clock: Clock,
}

/// Serves one client until its session ends. Not inlined: its frame is on the stack of an idle
/// session, where the frames of the other protocols should not be too (NET-1).
#[inline(never)]
pub(super) fn serve(
    connection: &mut Connection,
    visit: Visit,
    environment: &Environment,
) -> SessionEnd {
    step_back();
    let way = match visit.door {
        Door::Control => Way::Control,
        Door::Tls => Way::Tls,
        Door::Plain | Door::Submission | Door::Lmtp => Way::Plain,
    };
    let mut session = new_session(connection, environment, way);
    let mut driver = Driver {
        body: connection.allowance().share(),
        connection,
        id: visit.id,
        way,
        environment,
        deadline: None,
        rate: None,
        asked: String::new(),
        taken: 0,
        source: None,
        login: None,
        token: None,
    };
    let mut step = session.greet();
    let mut last = "";
    let mut why = None;
    loop {
        if let Some(reply) = &step.reply {
            last = reply.status();
            let date = date(driver.connection.unix_seconds());
            reply.render(&date, driver.connection.output());
            driver.answered(reply);
        }
        let done = match step.action {
            Action::Close(closing) => {
                driver.connection.close(closing);
                return SessionEnd::closed(closing, last, why);
            }
            Action::ReadHead {
                octets_max,
                patience,
            } => driver.read_head(octets_max, patience),
            action @ (Action::ReadBody { .. } | Action::Answer(_) | Action::SendBody(_)) => {
                driver.perform(action)
            }
        };
        step = match done {
            Ok(outcome) => session.resume(outcome),
            Err(Interruption::Ended(ending)) => {
                why = Some(Interruption::Ended(ending));
                if ending == Ending::ShuttingDown {
                    session.drain();
                }
                session.resume(Outcome::Ended(ending))
            }
            Err(interruption) => return SessionEnd::Broken(interruption),
        };
    }
}

/// Lets the threads of other sessions go first from now on. On Linux, nice(2) concerns the calling
/// thread alone.
fn step_back() {
    if let Err(error) = rustix::process::nice(limits::HTTP_NICE) {
        log::debug!("the thread of an HTTP session keeps its priority: {error}");
    }
}

/// Makes a session. Not inlined: its parts would stay on the stack of an idle session (NET-1).
#[inline(never)]
fn new_session(connection: &Connection, environment: &Environment, way: Way) -> Session {
    let distance = if connection.is_local() {
        Distance::Near
    } else {
        Distance::Far
    };
    let client = Client { way, distance };
    Session::new(Arc::clone(&environment.rules), client)
}

struct Driver<'a> {
    connection: &'a mut Connection,
    id: SessionId,
    way: Way,
    environment: &'a Environment,
    /// The end of the time for the head that is arriving.
    deadline: Option<Instant>,
    /// The rate of the body that is arriving.
    rate: Option<ContentRate>,
    /// The memory for the bodies of the request and of its response.
    body: Share,
    /// The request, for the log.
    asked: String,
    /// How much of the input the session has taken.
    taken: usize,
    /// What the body of the response is made of.
    source: Option<Source>,
    /// Whose password came with the request, in closed mode.
    login: Option<Granted>,
    /// The token that came instead of a password.
    token: Option<Token>,
}

/// What is known about who asks.
enum Gate {
    /// Whose mail the request may see.
    Open(Asker),
    /// The answer is the same for everybody.
    Public,
    /// The request is answered already.
    Answered(Result<Response, Failure>),
}

impl From<Refusal> for Gate {
    fn from(refusal: Refusal) -> Self {
        Self::Answered(Err(refusal.into()))
    }
}

/// What the body of a response is made of, if the response does not have it.
enum Source {
    Content(Box<Content>),
    /// With the place of a session that waits.
    Events(Box<Events>, Waiter),
}

impl Driver<'_> {
    fn read_head(
        &mut self,
        octets_max: usize,
        patience: Patience,
    ) -> Result<Outcome<'_>, Interruption> {
        self.connection.flush_when_full()?;
        let timeout = patience.timeout();
        let deadline = match (patience, self.deadline) {
            (Patience::Head, Some(deadline)) => Some(deadline),
            _ => self.connection.deadline_of(timeout),
        };
        self.deadline = deadline.filter(|_| patience == Patience::Head);
        if patience == Patience::Idle {
            self.body.give_back();
            self.asked = String::new();
            self.login = None;
            self.token = None;
        }
        self.connection.consume(self.taken);
        self.taken = 0;
        self.connection.read_some(deadline)?;
        Ok(self.take(octets_max))
    }

    /// Some of the octets that have arrived.
    fn take(&mut self, octets_max: usize) -> Outcome<'_> {
        let unread = self.connection.unread();
        self.taken = unread.len().min(octets_max);
        Outcome::Octets(unread.get(..self.taken).unwrap_or_default())
    }

    /// Performs every action except reading a head. Not inlined, for the same reason as `serve`.
    #[inline(never)]
    fn perform(&mut self, action: Action) -> Result<Outcome<'_>, Interruption> {
        match action {
            Action::ReadBody { octets_max, octets } => self.read_body(octets_max, octets),
            Action::Answer(request) => self.answer(&request),
            Action::SendBody(sending) => self.send_body(sending),
            // The loop handles these two.
            Action::ReadHead { .. } | Action::Close(_) => Err(Interruption::Lost(None)),
        }
    }

    fn read_body(&mut self, octets_max: usize, octets: u64) -> Result<Outcome<'_>, Interruption> {
        let room = usize::try_from(octets).unwrap_or(usize::MAX);
        if !self.body.grow_to(room, Purpose::Keeping) {
            return Ok(Outcome::NoMemory);
        }
        self.connection.consume(self.taken);
        self.taken = 0;
        if self.connection.unread().is_empty() {
            let begin = || self.connection.content_rate();
            let mut rate = self.rate.take().unwrap_or_else(begin);
            self.connection.read_content(&mut rate, || {})?;
            self.rate = Some(rate);
        }
        Ok(self.take(octets_max))
    }

    fn answer(&mut self, request: &Request) -> Result<Outcome<'static>, Interruption> {
        self.rate = None;
        self.hear(request);
        let asker = match self.gate(request)? {
            Gate::Open(asker) => {
                self.connection.achieved();
                asker
            }
            Gate::Public => Asker::Everybody,
            Gate::Answered(Err(Failure::Refused(refusal))) => {
                let response = api::turned_away(request, *refusal);
                return Ok(self.outcome(Ok(Answer::Response(Box::new(response)))));
            }
            Gate::Answered(answer) => {
                return Ok(self.outcome(answer.map(|it| Answer::Response(Box::new(it)))));
            }
        };
        let answer = api::answer(&self.environment.api, request, &asker);
        match answer {
            Ok(Answer::Wait(wait)) => self.wait(*wait),
            Ok(Answer::Letter(letter)) => self.send(&letter, request.body.len()),
            Ok(Answer::Counters) => Ok(self.count()),
            other => Ok(self.outcome(other)),
        }
    }

    /// Who asks, or what is answered to somebody who does not see any mail.
    fn gate(&mut self, request: &Request) -> Result<Gate, Interruption> {
        self.login = None;
        self.token = None;
        if self.way == Way::Control || self.environment.accounts.is_open() {
            return Ok(Gate::Open(Asker::Everybody));
        }
        let entry = api::entry(request);
        if entry == Entry::Anybody {
            return Ok(Gate::Public);
        }
        if !self.connection.link(false).is_private() {
            let text = "Passwords are accepted only over TLS from other machines: use https";
            return Ok(Refusal::new(Status::Forbidden, text).into());
        }
        match (entry, self.way) {
            (Entry::LogIn, Way::Tls) => self.begin_login(request),
            (Entry::LogOut, Way::Tls) => Ok(self.end_login(request)),
            (Entry::Anybody | Entry::Login | Entry::LogIn | Entry::LogOut, _) => {
                self.asker(request)
            }
        }
    }

    /// Who asks, according to the password or the token of the request.
    fn asker(&mut self, request: &Request) -> Result<Gate, Interruption> {
        let granted = match request.login() {
            Login::Basic(credentials) => self.log_in(&credentials, "BASIC")?,
            Login::Token(token) => self.resume_login(token),
            Login::Absent | Login::Malformed => Err(Refusal::login_required()),
        };
        Ok(match granted.map(|login| self.owner(login)) {
            Ok(Ok(asker)) => Gate::Open(asker),
            Ok(Err(failure)) => Gate::Answered(Err(failure)),
            Err(refusal) => refusal.into(),
        })
    }

    /// The login that a token stands for, or why there is none.
    fn resume_login(&mut self, token: Token) -> Result<Granted, Refusal> {
        let environment = self.environment;
        let found = environment.sign_ins.find(&token, &environment.accounts);
        let login = found.ok_or_else(Refusal::login_required)?;
        self.connection.logged_in();
        self.token = Some(token);
        Ok(login)
    }

    /// A form with a password has come.
    fn begin_login(&mut self, request: &Request) -> Result<Gate, Interruption> {
        let credentials = match api::credentials(request) {
            Ok(credentials) => credentials,
            Err(refusal) => return Ok(refusal.into()),
        };
        let login = match self.log_in(&credentials, "FORM")? {
            Ok(login) => login,
            Err(refusal) => return Ok(refusal.into()),
        };
        Ok(match self.environment.sign_ins.begin(&login) {
            Some(token) => Gate::Answered(Ok(api::logged_in(request, &token))),
            None => Refusal::busy("The system has no random numbers now; try again later").into(),
        })
    }

    /// A browser wants to forget its login, which then no other request can use either.
    fn end_login(&mut self, request: &Request) -> Gate {
        if let Login::Token(token) = request.login() {
            self.environment.sign_ins.end(&token);
        }
        Gate::Answered(Ok(api::logged_out()))
    }

    /// The login of these credentials, or why there is none.
    fn log_in(
        &mut self,
        credentials: &Credentials,
        mechanism: &'static str,
    ) -> Result<Result<Granted, Refusal>, Interruption> {
        let environment = self.environment;
        let (remembered, accounts) = (&environment.remembered, &environment.accounts);
        if let Some(login) = remembered.find(credentials, accounts) {
            self.connection.logged_in();
            return Ok(Ok(login));
        }
        // The result may come late.
        self.connection.flush()?;
        let logins = &environment.logins;
        let verdict = logins.check_password(self.connection, (self.id, mechanism), credentials)?;
        Ok(match verdict {
            Verdict::Accepted(login) => {
                let counters = self.connection.counters();
                counters.logins(self.id.service).accepted.increment();
                remembered.add(credentials, &login);
                Ok(login)
            }
            Verdict::Refused => Err(Refusal::login_required()),
            Verdict::Busy => Err(Refusal::busy(
                "Too many passwords are being verified; try again later",
            )),
        })
    }

    /// Who asks, according to a login.
    fn owner(&mut self, login: Granted) -> Result<Asker, Failure> {
        let asker = match &login {
            Granted::Anyone => Asker::Everybody,
            Granted::Account(grant) => {
                let store = &self.environment.store;
                let exists = |mailbox: &MailboxName| store.has_mailbox(mailbox);
                Asker::Owner(accounts::as_it_is(grant.mailbox(), "", exists)?)
            }
        };
        self.login = Some(login);
        Ok(asker)
    }

    /// Checks that the login still holds, when the answer takes long.
    fn check_login(&mut self) -> Result<(), Interruption> {
        let (accounts, sign_ins) = (&self.environment.accounts, &self.environment.sign_ins);
        let Some(login) = self.login.as_mut() else {
            return Ok(());
        };
        let holds = match &self.token {
            Some(token) => sign_ins.find(token, accounts).is_some(),
            None => accounts.still_holds(login),
        };
        if holds {
            return Ok(());
        }
        maillog::revoked(self.id, self.connection.peer(), login.mailbox());
        Err(Interruption::Ended(Ending::Revoked))
    }

    /// A place of a session that waits, or why there is none.
    fn waiter(&self) -> Result<Waiter, Outcome<'static>> {
        let peer = (self.way != Way::Control).then(|| self.connection.peer());
        self.environment.waiters.begin(peer).ok_or_else(|| {
            let text = "Too many requests are waiting for mail; try again later";
            response(Refusal::busy(text).into())
        })
    }

    /// Delivers a letter.
    fn send(
        &mut self,
        letter: &Letter,
        body_octets: usize,
    ) -> Result<Outcome<'static>, Interruption> {
        let environment = self.environment;
        let sender = Sender {
            reception: Reception {
                store: &environment.store,
                accounts: &environment.accounts,
                logins: &environment.logins,
                paths: &environment.paths,
                clock: &environment.clock,
                hostname: environment.smtp.hostname.as_str(),
                id: self.id,
            },
            settings: &environment.smtp,
            login: self.login.as_ref(),
            is_encrypted: self.way == Way::Tls,
            body_octets,
        };
        match sender.send(self.connection, letter, &mut self.body) {
            Ok(response) => Ok(self.outcome(Ok(Answer::Response(Box::new(response))))),
            Err(Unsent::Refused(refusal)) => Ok(self.outcome(Err(refusal.into()))),
            Err(Unsent::Interrupted(interruption)) => Err(interruption),
        }
    }

    /// The counters of this server.
    fn count(&mut self) -> Outcome<'static> {
        let mut report = Report::default();
        self.connection.report(&mut report);
        self.environment.store.report(&mut report);
        let body = Body::Octets(exposition(&report).into_bytes().into());
        let response = Response::with_body(Status::Ok, http::Kind::Api, MEDIA_TYPE, body);
        self.outcome(Ok(Answer::Response(Box::new(response))))
    }

    /// Takes turns until there is an answer.
    fn wait(&mut self, mut wait: Wait) -> Result<Outcome<'static>, Interruption> {
        let _waiter = match self.waiter() {
            Ok(waiter) => waiter,
            Err(outcome) => return Ok(outcome),
        };
        self.connection.flush()?;
        let api = &self.environment.api;
        loop {
            let turn = self
                .connection
                .while_waiting(|| wait.turn(api, limits::WAIT_TURN));
            self.check_login()?;
            // Also a client that will send no more gets an answer that is there.
            if let Turn::Done(answer) = turn {
                return Ok(self.outcome(answer.map(|it| Answer::Response(Box::new(it)))));
            }
            self.connection.check_client()?;
        }
    }

    /// What the session is told about an answer.
    fn outcome(&mut self, answer: Result<Answer, Failure>) -> Outcome<'static> {
        let answer = match answer {
            Ok(Answer::Response(it)) => *it,
            Ok(Answer::Content {
                response,
                mut content,
            }) => {
                let allowance = self.connection.allowance_mut();
                content.limit(allowance.ask_to_send(limits::WRITE_OCTETS_MAX));
                self.source = Some(Source::Content(content));
                *response
            }
            Ok(Answer::Events { response, events }) => match self.waiter() {
                Ok(waiter) => {
                    self.source = Some(Source::Events(events, waiter));
                    *response
                }
                Err(outcome) => return outcome,
            },
            // These end with a response.
            Ok(Answer::Wait(_) | Answer::Letter(_) | Answer::Counters) => {
                Refusal::new(Status::InternalServerError, "Internal error").into()
            }
            Err(failure) => {
                if let Failure::Store(error) = &failure {
                    self.store_failed(error);
                }
                failure.into_refusal().into()
            }
        };
        if self.body.grow_to(answer.held_octets(), Purpose::Keeping) {
            response(answer)
        } else {
            let text = "There is no memory for this answer now; try again later";
            response(Refusal::busy(text).into())
        }
    }

    fn store_failed(&self, error: &store::Error) {
        dialogue::store_failed(self.connection, self.id, error);
    }

    /// Sends what the response has beside its head.
    fn send_body(&mut self, sending: Sending) -> Result<Outcome<'static>, Interruption> {
        match (sending, self.source.take()) {
            // The client has asked for the head only.
            (Sending::InReply, _) => {
                self.connection.flush_when_full()?;
                Ok(Outcome::BodySent)
            }
            (_, None) => Ok(Outcome::BodyFailed),
            (_, Some(Source::Content(content))) => self.send_content(sending, *content),
            (_, Some(Source::Events(events, _waiter))) => self.send_events(sending, *events),
        }
    }

    /// Sends events until the client leaves, or the session has to end.
    fn send_events(
        &mut self,
        sending: Sending,
        mut events: Events,
    ) -> Result<Outcome<'static>, Interruption> {
        let api = &self.environment.api;
        let mut piece = Vec::new();
        loop {
            piece.clear();
            let turn = self
                .connection
                .while_waiting(|| events.turn(api, limits::WAIT_TURN, &mut piece));
            self.connection.check_client()?;
            self.check_login()?;
            if let Err(Failure::Store(error)) = &turn {
                self.store_failed(error);
            }
            if turn.is_err() {
                return Ok(Outcome::BodyFailed);
            }
            sending.frame(&piece, self.connection.output());
            self.connection.flush()?;
        }
    }

    fn send_content(
        &mut self,
        sending: Sending,
        mut content: Content,
    ) -> Result<Outcome<'static>, Interruption> {
        let mut left = match sending {
            Sending::Octets(octets) => octets,
            Sending::InReply | Sending::Chunks | Sending::UntilClose => u64::MAX,
        };
        let mut piece = Vec::new();
        loop {
            piece.clear();
            let goes_on = content.next(&mut piece).map_err(|error| {
                // Half of the message is sent; only closing the connection can show the failure.
                self.store_failed(&error);
                Interruption::Unreadable
            })?;
            let octets = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            let Some(rest) = left.checked_sub(octets) else {
                return Ok(Outcome::BodyFailed);
            };
            left = rest;
            sending.frame(&piece, self.connection.output());
            self.connection.flush_when_full()?;
            if !goes_on {
                break;
            }
        }
        if matches!(sending, Sending::Octets(_)) && left > 0 {
            return Ok(Outcome::BodyFailed);
        }
        sending.end(self.connection.output());
        Ok(Outcome::BodySent)
    }

    /// Notes what is asked, for the log.
    fn hear(&mut self, request: &Request) {
        if !maillog::wants_refusals() && !maillog::wants_dialogues() {
            return;
        }
        let (method, path) = (request.method.as_str(), request.target.path());
        let asked = format_args!("{method} {path}");
        maillog::keep_bounded(&asked, &mut self.asked);
        if maillog::wants_dialogues() {
            maillog::said(self.id, Speaker::Client, Said::line(&asked));
        }
    }

    /// Logs the status of a response, and a refusal.
    fn answered(&mut self, reply: &Reply) {
        if maillog::wants_dialogues() {
            maillog::said(self.id, Speaker::Server, Said::line(&reply.status()));
        }
        let Some(text) = reply.refusal() else {
            return;
        };
        if let Some(unlogged) = self.connection.lets_through(Kind::Refused) {
            let refused = Refused {
                command: &self.asked,
                code: reply.status().get(..3).unwrap_or_default(),
                text,
            };
            maillog::refused(self.id, self.connection.peer(), unlogged, refused);
        }
    }
}

fn response(response: Response) -> Outcome<'static> {
    Outcome::Response(Box::new(response))
}
