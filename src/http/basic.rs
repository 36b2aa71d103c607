//! HTTP Basic: a user name and a password in the field Authorization (RFC 7617). A form has the
//! same, and the same rules.

use base64::{Engine, engine::general_purpose::STANDARD};

use crate::mail::limits::USER_NAME_OCTETS_MAX;
use crate::mail::{Credentials, Secret};

use super::cookie::Token;
use super::fields::Fields;
use super::target::Pairs;

/// What a request says about who has sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Login {
    /// Nothing.
    Absent,
    /// A name and a password, which are not verified.
    Basic(Credentials),
    /// What the browser got for them after an earlier login.
    Token(Token),
    /// Something that is not understood: refuse it like a wrong password.
    Malformed,
}

impl Login {
    /// The login of a request with these fields. The name is UTF-8, not empty, at most
    /// [`USER_NAME_OCTETS_MAX`] octets long, and has no control characters and no colon.
    pub fn of(fields: &Fields) -> Self {
        match fields.single("authorization") {
            Ok(None) => Self::Absent,
            Ok(Some(value)) => parse(value).map_or(Self::Malformed, Self::Basic),
            Err(_) => Self::Malformed,
        }
    }

    /// The name and the password of a form, in its fields `user` and `password`; `None` if the
    /// password is missing, or the name is none (see [`of`](Self::of)), though it may have a colon.
    pub fn of_form(form: &Pairs) -> Option<Credentials> {
        credentials(form.first("user")?.trim(), form.first("password")?)
    }
}

/// Parses `Basic` and base64 of `user:password`.
fn parse(value: &[u8]) -> Option<Credentials> {
    let at = value.iter().position(|octet| *octet == b' ')?;
    let (scheme, token) = value.split_at_checked(at)?;
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return None;
    }
    let octets = STANDARD.decode(token.trim_ascii()).ok()?;
    let text = String::from_utf8(octets).ok()?;
    let (user, password) = text.split_once(':')?;
    credentials(user, password)
}

fn credentials(user: &str, password: &str) -> Option<Credentials> {
    let is_long = user.len() > USER_NAME_OCTETS_MAX;
    let mut characters = user.chars().chain(password.chars());
    if user.is_empty() || is_long || characters.any(char::is_control) {
        return None;
    }
    Some(Credentials {
        user: user.to_owned(),
        password: Secret::new(password.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn login(values: &[&[u8]]) -> Login {
        let mut fields = Fields::default();
        for value in values {
            fields.push("Authorization", value);
        }
        Login::of(&fields)
    }

    #[test]
    fn basic_has_a_user_and_a_password() {
        for (value, expect) in [
            // RFC 7617 §2 and §2.1.
            (
                "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
                Some(("Aladdin", "open sesame")),
            ),
            ("Basic dGVzdDoxMjPCow==", Some(("test", "123\u{a3}"))),
            ("bAsIc   QTpi", Some(("A", "b"))),
            ("Basic QTo=", Some(("A", ""))),
            ("Basic QTpiOmM=", Some(("A", "b:c"))),
            ("Basic", None),
            ("Basic ", None),
            ("Basic QQ==", None),
            // ":b", "A:b" without padding, "A:\x07", "A\n:b", "A:\xff".
            ("Basic OmI=", None),
            ("Basic QTpi=", None),
            ("Basic QToH", None),
            ("Basic QQo6Yg==", None),
            ("Basic QTr/", None),
            ("Basic QTpi QTpi", None),
            ("Bearer QTpi", None),
            ("BasicQTpi", None),
            ("", None),
        ] {
            let found = login(&[value.as_bytes()]);
            match (&found, expect) {
                (Login::Basic(found), Some((user, password))) => {
                    assert_eq!(found.user, user, "{value}");
                    assert_eq!(found.password.expose(), password, "{value}");
                }
                (Login::Malformed, None) => {}
                _ => panic!("{value}: {found:?}"),
            }
        }
        assert_eq!(login(&[]), Login::Absent);
        assert_eq!(login(&[b"Basic QTpi", b"Basic QTpi"]), Login::Malformed);
    }

    #[test]
    fn a_form_has_a_user_and_a_password() {
        for (form, expect) in [
            (
                "user=bob%40a.example&password=a+b%26",
                Some(("bob@a.example", "a b&")),
            ),
            ("password=&to=m%2F1&user=+bob+", Some(("bob", ""))),
            ("user=a:b&password=%C2%A3", Some(("a:b", "\u{a3}"))),
            ("user=bob", None),
            ("password=x", None),
            ("user=&password=x", None),
            ("user=+&password=x", None),
            ("user=bob&password=a%0Ab", None),
            ("user=b%07ob&password=a", None),
            ("", None),
        ] {
            let found = Login::of_form(&Pairs::parse(form.as_bytes()).unwrap());
            let found = found.as_ref().map(|it| (&*it.user, it.password.expose()));
            assert_eq!(found, expect, "{form}");
        }
    }

    #[test]
    fn a_user_name_is_no_longer_than_an_address() {
        let value = |octets| format!("Basic {}", STANDARD.encode("u".repeat(octets) + ":x"));
        let accepts = |octets| matches!(login(&[value(octets).as_bytes()]), Login::Basic(_));
        assert!(accepts(USER_NAME_OCTETS_MAX) && !accepts(USER_NAME_OCTETS_MAX + 1));
    }

    /// SEC-7.
    #[test]
    fn debug_shows_no_password() {
        let found = format!("{:?}", login(&[b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="]));
        assert!(
            found.contains("Aladdin") && !found.contains("sesame"),
            "{found}"
        );
        let mut fields = Fields::default();
        fields.push("Authorization", b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        assert_eq!(format!("{fields:?}"), "[\"authorization\"]");
    }
}
