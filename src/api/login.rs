//! Logging in with a form, and out again: what the browser gets. The driver checks the password.
//!
//! Only over TLS in closed mode. Elsewhere there is HTTP Basic alone, or nothing to log in to.

use crate::{
    http::{
        Body, Kind, Login, Method, Name, Pairs, Reader, Refusal, Request, Response, Status, Target,
        Token, Way,
    },
    mail::Credentials,
    page::LoginForm,
};

use super::{answer::Answer, call::Call, failure::Failure, pages::HTML};

/// The path of the form, without its slash.
const LOGIN: &str = "login";

/// The name and the password of a form that logs in.
///
/// # Errors
/// The body is no form, or lacks one of them.
pub fn credentials(request: &Request) -> Result<Credentials, Refusal> {
    let form = request.form()?;
    Login::of_form(&form).ok_or_else(|| {
        let text = "Type the address and the password of your account";
        Refusal::new(Status::BadRequest, text)
    })
}

/// What somebody gets whose login is missing or wrong: over TLS a person gets the form, and a
/// script nothing for which its browser would ask for a password.
pub fn turned_away(request: &Request, refusal: Refusal) -> Response {
    if request.way != Way::Tls {
        return refusal.into();
    }
    let form = match request.reader() {
        _ if is_form(request) => form_again(request, &refusal),
        Reader::Person => form_first(request, &refusal),
        Reader::Script => return refusal.for_form().into(),
        Reader::Program => return refusal.into(),
    };
    let refusal = refusal.for_form();
    let body = Body::Octets(form.view().as_str().to_owned().into_bytes().into());
    let mut response = Response::with_body(refusal.status, Kind::Page, HTML, body);
    for (name, value) in refusal.fields {
        response = response.field(name, value);
    }
    response
}

/// Whether the request is a form that was sent.
fn is_form(request: &Request) -> bool {
    request.method == Method::Post && request.target.segments() == [LOGIN]
}

/// The form at the address that needs the login.
fn form_first(request: &Request, refusal: &Refusal) -> LoginForm {
    let target = request.target.as_str().strip_prefix('/');
    let to = target.filter(|it| *it != LOGIN).unwrap_or_default();
    LoginForm {
        depth: request.target.segments().len().saturating_sub(1),
        to: to.to_owned(),
        user: String::new(),
        // Whoever comes for the first time sees what to do.
        note: note(refusal, ""),
    }
}

/// The form once more, with what was typed except for the password.
fn form_again(request: &Request, refusal: &Refusal) -> LoginForm {
    let form = request.form().unwrap_or_default();
    let value = |name| form.first(name).unwrap_or_default().to_owned();
    LoginForm {
        depth: 0,
        to: value("to"),
        user: value("user"),
        note: note(refusal, "The address or the password is wrong."),
    }
}

/// What the form says about a refusal; `unauthorized` for 401.
fn note(refusal: &Refusal, unauthorized: &str) -> String {
    if refusal.status == Status::Unauthorized {
        unauthorized.to_owned()
    } else {
        refusal.text.clone().into_owned()
    }
}

/// What a browser gets whose password was right: the token, and the way to where it wanted to go.
pub fn logged_in(request: &Request, token: &Token) -> Response {
    let form = request.form().unwrap_or_default();
    go(&place(&form)).field(Name::SetCookie, token.to_cookie())
}

/// What a browser gets that has logged out.
pub fn logged_out() -> Response {
    go("./").field(Name::SetCookie, Token::forgotten())
}

/// Where the form leads to. Whatever it says, it is a path below ours: what begins with a dot and a
/// slash names no other host (RFC 3986 §4.2).
fn place(form: &Pairs) -> String {
    let to = form.first("to").unwrap_or_default();
    let is_target = Target::parse(&["/", to].concat()).is_ok();
    ["./", if is_target { to } else { "" }].concat()
}

/// Leads to another page.
fn go(place: &str) -> Response {
    Response::new(Status::SeeOther)
        .field(Name::Location, place.to_owned())
        .field(Name::CacheControl, "no-store")
}

/// The page of the form, for those who need none or have logged in.
#[expect(clippy::unnecessary_wraps, reason = "all calls return the same")]
pub(super) fn page(_: &Call<'_>) -> Result<Answer, Failure> {
    Ok(Answer::Response(Box::new(go("./"))))
}

/// Logging in or out where no form does it.
pub(super) fn no_form(_: &Call<'_>) -> Result<Answer, Failure> {
    let text = "A form logs in or out only over https, and only with accounts; over http, send \
                the password with each request (HTTP Basic)";
    Err(Refusal::new(Status::Forbidden, text).into())
}
