//! A whole request, as a session hands it out.

use std::fmt;

use super::admission::Scope;
use super::basic::Login;
use super::fields::Fields;
use super::head::Method;
use super::target::Target;

/// A request that was read to its end and may be answered. Its [`Debug`](fmt::Debug) form shows
/// neither the values of the fields nor the body, which may contain passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    /// What to do; never [`Method::Options`], which the session answers. The response to
    /// [`Method::Head`] is the one to [`Method::Get`]: the session leaves out its body.
    pub method: Method,
    /// With what: the path and the query.
    pub target: Target,
    /// The fields.
    pub fields: Fields,
    /// The body, which any method can have.
    pub body: Vec<u8>,
    /// What it may ask for.
    pub scope: Scope,
}

impl Request {
    /// What the request says about who has sent it.
    pub fn login(&self) -> Login {
        Login::of(&self.fields)
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.target.path())
            .field("fields", &self.fields)
            .field("body", &self.body.len())
            .field("scope", &self.scope)
            .finish()
    }
}
