//! A whole request, as a session hands it out.

use std::fmt;

use super::admission::{Scope, Way};
use super::basic::Login;
use super::cookie::Token;
use super::fields::Fields;
use super::head::Method;
use super::refusal::Refusal;
use super::status::Status;
use super::target::{Pairs, Target};

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
    /// How it has come.
    pub way: Way,
}

/// Who reads the response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// A person: a browser shows it in a window or a frame.
    Person,
    /// A script of a page, in a browser.
    Script,
    /// A program other than a browser, as far as can be seen.
    Program,
}

impl Request {
    /// What the request says about who has sent it. A cookie counts over TLS only, and only if
    /// there is nothing else.
    pub fn login(&self) -> Login {
        match (Login::of(&self.fields), self.way) {
            (Login::Absent, Way::Tls) => {
                let token = Token::of(&self.fields);
                token.map_or(Login::Absent, Login::Token)
            }
            (login, _) => login,
        }
    }

    /// Who reads the response. Browsers say it since 2023 at the latest (Fetch Metadata); the older
    /// ones are known by what they accept.
    pub fn reader(&self) -> Reader {
        let reads = matches!(self.method, Method::Get | Method::Head);
        match self.fields.single("sec-fetch-mode") {
            Ok(Some(b"navigate")) => Reader::Person,
            Ok(None) if reads && self.accepts_html() => Reader::Person,
            Ok(None) | Err(_) => Reader::Program,
            Ok(Some(_)) => Reader::Script,
        }
    }

    fn accepts_html(&self) -> bool {
        let is_html = |range: &[u8]| range.starts_with(b"text/html");
        self.fields.list("accept").any(is_html)
    }

    /// The fields of the form in the body.
    ///
    /// # Errors
    /// The body is no form (415), or a malformed one (400, 414). The connection can stay open.
    pub fn form(&self) -> Result<Pairs, Refusal> {
        let media_type = self.fields.text("content-type").unwrap_or_default();
        let media_type = media_type.split(';').next().unwrap_or_default().trim();
        if !media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return Err(Refusal::new(
                Status::UnsupportedMediaType,
                "The body has to be a form, of the type application/x-www-form-urlencoded",
            ));
        }
        Pairs::parse(&self.body)
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
            .field("way", &self.way)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(method: Method, way: Way, fields: &[(&str, &str)]) -> Request {
        let mut request = Request {
            method,
            target: Target::parse("/").unwrap(),
            fields: Fields::default(),
            body: b"a=b".to_vec(),
            scope: Scope::Everything,
            way,
        };
        for (name, value) in fields {
            request.fields.push(name, value.as_bytes());
        }
        request
    }

    #[test]
    fn a_cookie_counts_over_tls_only_and_after_a_password() {
        let token = Token::new([1; super::super::limits::TOKEN_OCTETS]);
        let cookie = token.to_cookie();
        let cookie = ("cookie", cookie.split(';').next().unwrap());
        let login = |way, fields: &[_]| request(Method::Get, way, fields).login();
        assert_eq!(login(Way::Tls, &[cookie]), Login::Token(token));
        for way in [Way::Plain, Way::Control] {
            assert_eq!(login(way, &[cookie]), Login::Absent);
        }
        let basic = ("authorization", "Basic QTpi");
        assert!(matches!(login(Way::Tls, &[cookie, basic]), Login::Basic(_)));
        let wrong = ("authorization", "Bearer QTpi");
        assert_eq!(login(Way::Tls, &[cookie, wrong]), Login::Malformed);
        assert_eq!(login(Way::Tls, &[("cookie", "a=b")]), Login::Absent);
    }

    #[test]
    fn browsers_say_who_reads() {
        let html = ("accept", "text/html,application/xhtml+xml;q=0.9");
        let mode = |value| ("sec-fetch-mode", value);
        for (method, fields, expect) in [
            (Method::Get, vec![], Reader::Program),
            (Method::Get, vec![("accept", "*/*")], Reader::Program),
            (Method::Get, vec![html], Reader::Person),
            (Method::Head, vec![html], Reader::Person),
            (Method::Delete, vec![html], Reader::Program),
            (Method::Get, vec![mode("navigate")], Reader::Person),
            (Method::Post, vec![mode("navigate"), html], Reader::Person),
            (Method::Get, vec![mode("cors"), html], Reader::Script),
            (Method::Get, vec![mode("no-cors")], Reader::Script),
            (
                Method::Get,
                vec![mode("navigate"), mode("cors")],
                Reader::Program,
            ),
        ] {
            let request = request(method, Way::Tls, &fields);
            assert_eq!(request.reader(), expect, "{method:?} {fields:?}");
        }
    }

    #[test]
    fn only_a_form_is_read_as_one() {
        for (media_type, is_form) in [
            ("application/x-www-form-urlencoded", true),
            ("Application/X-WWW-Form-Urlencoded; charset=utf-8", true),
            ("text/plain", false),
            ("multipart/form-data", false),
            ("", false),
        ] {
            let request = request(Method::Post, Way::Tls, &[("content-type", media_type)]);
            let form = request.form();
            assert_eq!(form.is_ok(), is_form, "{media_type}");
            match form {
                Ok(form) => assert_eq!(form.first("a"), Some("b")),
                Err(refusal) => assert_eq!(refusal.status, Status::UnsupportedMediaType),
            }
        }
    }
}
