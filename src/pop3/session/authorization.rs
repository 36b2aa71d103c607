//! AUTHORIZATION: who is it, and may he have the maildrop (RFC 1939 §4, RFC 5034).
//!
//! Commands of this state, and what comes of checking a password, opening the maildrop and starting
//! TLS. Nothing here sees a message.
//!
//! A refused login says `[AUTH]` and one fixed text, whether the user exists or not (SEC-11); a
//! failure of the system says `[SYS/...]`, so that a client does not ask its user for another
//! password (RFC 3206 §3).

use std::borrow::Cow;

use super::{Action, Session, State, Step};
use crate::{
    mail::{
        ChannelBindings, Credentials, Secret, Tls,
        sasl::{self, Fault, Mechanism, Progress},
    },
    pop3::{
        Command,
        response::{Code, Response},
    },
};

/// What CAPA lists whatever the connection is (RFC 2449 §6, RFC 3206 §6, RFC 6856 §2 and §3).
/// Capabilities of both states are listed in both: clients ask once (RFC 2449 §5). UTF8 comes
/// behind them where it is announced.
const CAPABILITIES: &[&str] = &[
    "TOP",
    "UIDL",
    "RESP-CODES",
    "AUTH-RESP-CODE",
    "PIPELINING",
    "EXPIRE NEVER",
    "LANG",
    "IMPLEMENTATION facteur",
];

/// What LANG lists: English, which is also what i-default means (RFC 6856 §3.2, RFC 2277 §4.5).
const LANGUAGES: &[&str] = &["en English", "i-default Default language"];

impl Session {
    // Not inlined: see `answered`.
    #[inline(never)]
    pub(super) fn authorization(&mut self, name: Option<String>, command: Command) -> Step {
        let again = State::Authorization { name: None };
        match command {
            Command::Auth { .. } | Command::Pass(_) | Command::User(_)
                if !self.link.is_private() =>
            {
                self.not_in_clear()
            }
            Command::Apop => self.fault(
                again,
                Response::err("APOP is not available, use USER and PASS or AUTH"),
            ),
            Command::Auth {
                mechanism,
                initial_response,
            } => self.begin_exchange(&mechanism, initial_response.as_ref()),
            Command::Capa => {
                let response = self.capabilities(self.stls_is_permitted());
                self.reply(again, response)
            }
            Command::Help => self.reply(
                again,
                Response::ok("USER name and PASS password, or AUTH mechanism; STLS, CAPA, QUIT"),
            ),
            Command::Lang(range) => self.lang(again, range.as_deref()),
            Command::Pass(password) => match name {
                Some(user) => {
                    self.mechanism = "USER";
                    self.check(Credentials { user, password })
                }
                None => self.fault(again, Response::err("Send USER right before PASS")),
            },
            Command::Quit => self.quit_without_login(),
            Command::Stls => self.stls(),
            Command::User(name) => self.reply(
                State::Authorization { name: Some(name) },
                Response::ok("Send your password with PASS"),
            ),
            Command::Utf8 if self.settings.utf8 => {
                self.utf8 = true;
                self.reply(again, Response::ok("UTF-8 mode enabled"))
            }
            Command::Utf8 => self.fault(
                again,
                Response::err("UTF8 is not offered, messages are sent as they came"),
            ),
            Command::Dele(_)
            | Command::List(_)
            | Command::Noop
            | Command::Retr(_)
            | Command::Rset
            | Command::Stat
            | Command::Top { .. }
            | Command::Uidl(_) => self.fault(
                again,
                Response::err("Log in first, with USER and PASS or AUTH"),
            ),
        }
    }

    fn quit_without_login(&self) -> Step {
        let text = format!("{} POP3 server signing off", self.settings.hostname);
        Self::close(Some(Response::ok(text)))
    }

    /// Lists the languages or chooses the only one there is.
    ///
    /// A range that names a region (`en-GB`) is answered with the language, as in the lookup of
    /// RFC 4647 §3.4: RFC 6856 §3.2 wants one language for a range.
    pub(super) fn lang(&mut self, state: State, range: Option<&str>) -> Step {
        let Some(range) = range else {
            return self.reply(
                state,
                Response::lines("Language listing follows", LANGUAGES.iter().copied()),
            );
        };
        let primary = range.split('-').next().unwrap_or(range);
        if range.eq_ignore_ascii_case("i-default") {
            self.reply(state, Response::ok("i-default Language is English"))
        } else if range == "*" || primary.eq_ignore_ascii_case("en") {
            self.reply(state, Response::ok("en Language is English"))
        } else {
            self.reply(
                state,
                Response::err("No such language, LANG shows what is available"),
            )
        }
    }

    /// SEC-2: no password in clear off loopback.
    fn not_in_clear(&mut self) -> Step {
        let text = match self.link.tls {
            Tls::Offered => "Encryption is required, send STLS first",
            Tls::NotOffered | Tls::Active(_) => "Passwords are not taken without encryption",
        };
        self.fault(State::Authorization { name: None }, Response::err(text))
    }

    fn stls_is_permitted(&self) -> bool {
        self.link.tls == Tls::Offered && !self.utf8
    }

    /// What CAPA is answered with, where STLS is permitted (RFC 2595 §4) or where it is not; USER
    /// and SASL (RFC 5034 §3) only where passwords are taken.
    pub(super) fn capabilities(&self, stls_is_permitted: bool) -> Response {
        let mut lines: Vec<Cow<'static, str>> = Vec::new();
        if stls_is_permitted {
            lines.push("STLS".into());
        }
        let mechanisms = self.mechanisms();
        if !mechanisms.is_empty() {
            lines.push("USER".into());
            // Without `format!`, which goes deeper into the stack than most sessions do (NET-1).
            lines.push(["SASL", &sasl::names(mechanisms)].concat().into());
        }
        lines.extend(CAPABILITIES.iter().copied().map(Cow::Borrowed));
        if self.settings.utf8 {
            lines.push("UTF8".into());
        }
        Response::lines("Capability list follows", lines)
    }

    fn stls(&mut self) -> Step {
        let refusal = match self.link.tls {
            Tls::Active(_) => "TLS is active already",
            Tls::NotOffered => "TLS is not available",
            // RFC 6856 §2.1.
            Tls::Offered if self.utf8 => "STLS is not permitted after UTF8",
            Tls::Offered => {
                let response = Response::ok("Begin TLS negotiation");
                return self.act(State::StartingTls, Some(response), Action::StartTls);
            }
        };
        self.fault(State::Authorization { name: None }, Response::err(refusal))
    }

    /// Goes on as if the client had just connected (RFC 2595 §4): what came before may have been
    /// put in by someone on the way. Only the counts stay, or TLS would be a way to reset them.
    pub(super) fn tls_started(&mut self, bindings: ChannelBindings) -> Step {
        self.link.tls = Tls::Active(bindings);
        self.utf8 = false;
        self.at_first_line = true;
        self.act(State::Authorization { name: None }, None, Action::ReadLine)
    }

    fn begin_exchange(&mut self, name: &str, initial_response: Option<&Secret>) -> Step {
        let offered = |mechanism: &Mechanism| self.mechanisms().contains(mechanism);
        let Some(mechanism) = Mechanism::parse(name).filter(offered) else {
            let response = Response::err("Mechanism is not offered, CAPA lists those that are");
            return self.fault(State::Authorization { name: None }, response);
        };
        self.mechanism = mechanism.name();
        let initial_response = initial_response.map(Secret::expose);
        self.advance(sasl::begin(mechanism, &self.link, initial_response))
    }

    /// What may be used at this moment, and so what CAPA lists.
    fn mechanisms(&self) -> &'static [Mechanism] {
        sasl::offered(&self.link, self.settings.scram)
    }

    /// Goes on with a SASL exchange that has come so far.
    pub(super) fn advance(&mut self, progress: Result<Progress, Fault>) -> Step {
        let again = State::Authorization { name: None };
        match progress {
            Ok(Progress::Challenge(exchange, challenge)) => {
                self.reply(State::Exchange(exchange), Response::challenge(challenge))
            }
            Ok(Progress::CheckPassword(credentials)) => self.check(credentials),
            Ok(Progress::BeginScram(first)) => {
                let user = first.user().to_owned();
                self.act(
                    State::BeginningScram(first),
                    None,
                    Action::BeginScram { user },
                )
            }
            Ok(Progress::CheckProof(attempt)) => {
                let user = attempt.user.clone();
                let state = State::CheckingProof { user };
                self.act(state, None, Action::CheckProof(attempt))
            }
            Ok(Progress::Authenticated(user)) => self.authenticated(user),
            // What fails here is none of the client's.
            Err(Fault::Unavailable) => self.check_failed(),
            // To change one's mind is no error.
            Err(fault @ Fault::Cancelled) => self.reply(again, fault.into()),
            Err(fault) => self.fault(again, fault.into()),
        }
    }

    fn check(&mut self, credentials: Credentials) -> Step {
        let user = credentials.user.clone();
        self.act(
            State::Checking { user },
            None,
            Action::CheckPassword(credentials),
        )
    }

    pub(super) fn authenticated(&mut self, user: String) -> Step {
        self.user = Some(user);
        self.act(State::Opening, None, Action::OpenMaildrop)
    }

    pub(super) fn password_refused(&mut self) -> Step {
        self.refuse_login("Wrong user name or password")
    }

    pub(super) fn mailbox_ambiguous(&mut self) -> Step {
        self.refuse_login("Use your full address as user name, such as name@example.com")
    }

    fn refuse_login(&mut self, text: &'static str) -> Step {
        let response = Response::err_with(Code::Auth, text);
        self.password_failures = self.password_failures.saturating_add(1);
        if self.password_failures >= self.settings.password_failures_max {
            return Self::close(Some(response));
        }
        self.reply(State::Authorization { name: None }, response)
    }

    pub(super) fn check_failed(&mut self) -> Step {
        self.reply(
            State::Authorization { name: None },
            Fault::Unavailable.into(),
        )
    }

    pub(super) fn maildrop_in_use(&mut self) -> Step {
        let text = "Maildrop is in use by another session, try again when it has ended";
        self.abandon_login(Response::err_with(Code::InUse, text))
    }

    pub(super) fn maildrop_failed(&mut self, transient: bool) -> Step {
        let text = if transient {
            "Maildrop cannot be opened now, try again later"
        } else {
            "Maildrop cannot be opened, ask the administrator of this server"
        };
        self.abandon_login(Response::err_with(Code::system(transient), text))
    }

    /// The password was right, but there is no maildrop to go with it (RFC 1939 §4).
    fn abandon_login(&mut self, response: Response) -> Step {
        self.user = None;
        self.reply(State::Authorization { name: None }, response)
    }
}
