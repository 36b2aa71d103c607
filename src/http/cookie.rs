//! The cookie of those who have logged in with a form (RFC 6265).
//!
//! Browsers send a cookie to every port of a host, so one that was set over `http` would also go to
//! the programs under test on this machine. With the prefix `__Host-` and `Secure`, it goes to
//! servers with TLS under the same name only, and only they can set it. So [`Request::login`] looks
//! for it over TLS alone.
//!
//! [`Request::login`]: super::Request::login

use std::fmt;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

use super::fields::Fields;
use super::limits::TOKEN_OCTETS;

/// The name of the cookie.
const NAME: &str = "__Host-facteur";

/// No script reads it, and no request of another site has it, except for links: `Strict` would ask
/// somebody who follows a link to a message to log in again. What such a request may do is decided
/// by [`admit`](super::admit()).
const ATTRIBUTES: &str = "; Path=/; Secure; HttpOnly; SameSite=Lax";

/// What a browser shows instead of a password: random octets, which are a secret. Its
/// [`Debug`](fmt::Debug) form does not show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Token([u8; TOKEN_OCTETS]);

impl Token {
    /// A token of these octets.
    pub fn new(octets: [u8; TOKEN_OCTETS]) -> Self {
        Self(octets)
    }

    /// The octets; never log or print them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The value of Set-Cookie that gives it to a browser, which forgets it when it ends.
    pub fn to_cookie(&self) -> String {
        let text = URL_SAFE_NO_PAD.encode(self.0);
        [NAME, "=", &text, ATTRIBUTES].concat()
    }

    /// The value of Set-Cookie that makes a browser forget it (RFC 6265 §5.2.2).
    pub fn forgotten() -> String {
        [NAME, "=", ATTRIBUTES, "; Max-Age=0"].concat()
    }

    /// The token of a request with these fields; `None` also if there are two, or it is malformed.
    pub(super) fn of(fields: &Fields) -> Option<Self> {
        let pairs = fields
            .all("cookie")
            .flat_map(|value| value.split(|octet| *octet == b';'));
        let mut values = pairs.filter_map(|pair| {
            let rest = pair.trim_ascii().strip_prefix(NAME.as_bytes())?;
            rest.strip_prefix(b"=")
        });
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        let octets = URL_SAFE_NO_PAD.decode(value).ok()?;
        Some(Self(octets.try_into().ok()?))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(\u{2026})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(values: &[&str]) -> Option<Token> {
        let mut fields = Fields::default();
        for value in values {
            fields.push("Cookie", value.as_bytes());
        }
        Token::of(&fields)
    }

    #[test]
    fn a_token_comes_back_among_other_cookies() {
        let sent = Token::new([0xfb; TOKEN_OCTETS]);
        let cookie = sent.to_cookie();
        let (pair, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax");
        let text = pair.strip_prefix("__Host-facteur=").unwrap();
        let mut short = pair.to_owned();
        short.pop();
        for (values, is_found) in [
            (vec![pair.to_owned()], true),
            (vec![format!("a=b; {pair};c=d")], true),
            (vec!["a=b".to_owned(), pair.to_owned()], true),
            (vec![format!("{pair}; {pair}")], false),
            (vec![pair.to_owned(), pair.to_owned()], false),
            (vec![format!("facteur={text}")], false),
            (vec![format!("__host-facteur={text}")], false),
            (vec![format!("x__Host-facteur={text}")], false),
            (vec![format!("__Host-facteur2={text}")], false),
            (vec![format!("__Host-facteur=\"{text}\"")], false),
            (vec![format!("{pair}A")], false),
            (vec![short], false),
            (vec!["__Host-facteur=".to_owned()], false),
            (vec!["__Host-facteur".to_owned()], false),
            (vec![String::new()], false),
            (vec![], false),
        ] {
            let values: Vec<&str> = values.iter().map(String::as_str).collect();
            let expect = is_found.then(|| sent.clone());
            assert_eq!(token(&values), expect, "{values:?}");
        }
        let forgotten = Token::forgotten();
        assert!(forgotten.starts_with("__Host-facteur=; Path=/; Secure; "));
        assert!(forgotten.ends_with("; Max-Age=0"), "{forgotten}");
    }

    /// SEC-7.
    #[test]
    fn debug_shows_no_token() {
        let shown = format!("{:?}", Token::new([7; TOKEN_OCTETS]));
        assert_eq!(shown, "Token(\u{2026})");
    }
}
