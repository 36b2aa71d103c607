//! Why a request is refused: the status, and one line that says what happened and what to do.
//!
//! No text repeats what the client sent: a browser would show it as part of our page.

use std::borrow::Cow;

use super::limits::RETRY_SECONDS;
use super::name::Name;
use super::status::Status;

/// The methods of this server, as `Allow` lists them.
pub(super) const METHODS: &str = "GET, HEAD, POST, PUT, DELETE, OPTIONS";

/// The challenge of HTTP Basic (RFC 7617 §2, §2.1).
const CHALLENGE: &str = "Basic realm=\"facteur\", charset=\"UTF-8\"";

/// The challenge of a form. RFC 9110 §15.5.2 requires one; browsers do not know this scheme, so
/// they show the form instead of asking for a password themselves.
const FORM_CHALLENGE: &str = "Form realm=\"facteur\"";

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The kind of refusal.
    pub status: Status,
    /// What happened, and what to do: one line without its ending.
    pub text: Cow<'static, str>,
    /// Whether the connection has to be closed, because where the next request begins is not known.
    pub closes: bool,
    /// Further fields of the response.
    pub fields: Vec<(Name, Cow<'static, str>)>,
}

impl Refusal {
    /// Refuses a request; the connection can stay open.
    pub fn new(status: Status, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            status,
            text: text.into(),
            closes: false,
            fields: Vec::new(),
        }
    }

    /// Refuses a request that was not understood: where the next one begins is not known.
    pub fn closing(status: Status, text: impl Into<Cow<'static, str>>) -> Self {
        Self {
            closes: true,
            ..Self::new(status, text)
        }
    }

    /// 401, with the challenge that makes a browser ask for a name and a password (RFC 7617 §2).
    pub fn login_required() -> Self {
        Self::new(
            Status::Unauthorized,
            "Log in with the address and the password of your account",
        )
        .with(Name::WwwAuthenticate, CHALLENGE)
    }

    /// The same for a browser, which gets a form instead: it does not ask for a password itself.
    #[must_use]
    pub fn for_form(mut self) -> Self {
        for (name, value) in &mut self.fields {
            if *name == Name::WwwAuthenticate {
                *value = Cow::Borrowed(FORM_CHALLENGE);
            }
        }
        self
    }

    /// 403 for a link from elsewhere to what is not a page.
    pub fn pages_only() -> Self {
        Self::new(
            Status::Forbidden,
            "A link from another site can open only pages; open this one from here",
        )
    }

    /// 405, with the methods that the resource knows, such as `GET, HEAD`.
    pub fn method_not_allowed(methods: &'static str) -> Self {
        Self::new(
            Status::MethodNotAllowed,
            format!("This method is not for this address; use {methods}"),
        )
        .with(Name::Allow, methods)
    }

    /// 503, with the time after which to try again.
    pub fn busy(text: impl Into<Cow<'static, str>>) -> Self {
        Self::new(Status::ServiceUnavailable, text).with(Name::RetryAfter, RETRY_SECONDS)
    }

    /// The same refusal with one more field.
    #[must_use]
    pub fn with(mut self, name: Name, value: impl Into<Cow<'static, str>>) -> Self {
        self.fields.push((name, value.into()));
        self
    }

    /// The same refusal, after which the connection is closed.
    pub(super) fn and_close(self) -> Self {
        Self {
            closes: true,
            ..self
        }
    }
}
