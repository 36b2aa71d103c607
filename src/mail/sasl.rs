//! The messages of SASL: base64 and the PLAIN mechanism.
//!
//! Turns what a client sends after AUTH into [`Credentials`]. It does not check them and does not
//! know when which message is due: that is the business of the session and of whoever knows the
//! passwords.
//!
//! # Failures
//! A malformed message is `None`, without a reason: the reply says no more than that it is
//! malformed, and a reason could hold a part of a password.

use std::str;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{Credentials, Secret};

/// Decodes `text` by RFC 4648 §4, strictly: the alphabet with `+` and `/`, padding required, no
/// line endings or spaces, unused bits zero.
///
/// `=` alone stands for the empty message, as RFC 4954 §4 and RFC 5034 §4 have it for an initial
/// response; an empty text is empty too. `None`: answer that the exchange is malformed (RFC 4954
/// §4: `501 5.5.2`).
pub fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    if text == b"=" {
        return Some(Vec::new());
    }
    STANDARD.decode(text).ok()
}

/// Takes the decoded message of the PLAIN mechanism apart: `[authzid] NUL authcid NUL passwd`, all
/// UTF-8, user name and password not empty (RFC 4616 §2).
///
/// The identity to act as has to be left out or be the user itself: nobody acts for others here.
/// `None`: answer that the authentication failed.
pub fn parse_plain(message: &[u8]) -> Option<Credentials> {
    let mut parts = message.split(|octet| *octet == 0);
    let (authorization_id, user, password) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || user.is_empty() || password.is_empty() {
        return None;
    }
    if !authorization_id.is_empty() && authorization_id != user {
        return None;
    }
    Some(Credentials {
        user: str::from_utf8(user).ok()?.to_owned(),
        password: Secret::new(str::from_utf8(password).ok()?.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn base64_is_strict() {
        for (text, expect) in [
            ("", Some("")),
            ("=", Some("")),
            ("Zg==", Some("f")),
            ("Zm8=", Some("fo")),
            ("Zm9v", Some("foo")),
            ("Zm9vYmFy", Some("foobar")),
            ("AGJvYgBzZXNhbWU=", Some("\0bob\0sesame")),
            ("Zg", None),         // padding missing
            ("Zg=", None),        // padding cut
            ("Zh==", None),       // unused bits set
            ("Zg==Zg==", None),   // text after the padding
            ("==", None),         // padding of nothing
            ("Zm9v\r\n", None),   // the line ending belongs to the line, not to the text
            (" Zm9v", None),      // a space
            ("Zm9v_-==", None),   // the alphabet of URLs
            ("*", None),          // the sign to cancel, which the session looks for before
            ("Zm9v\u{e9}", None), // not ASCII
        ] {
            let expect = expect.map(|text| text.as_bytes().to_vec());
            assert_eq!(decode_base64(text.as_bytes()), expect, "{text:?}");
        }
    }

    #[test]
    fn plain_has_three_parts_and_one_identity() {
        for (message, expect) in [
            // RFC 4616 §4, first example.
            (
                &b"\0tim\0tanstaaftanstaaf"[..],
                Some(("tim", "tanstaaftanstaaf")),
            ),
            (b"tim\0tim\0secret", Some(("tim", "secret"))),
            (
                b"\0bob@example.com\0with space",
                Some(("bob@example.com", "with space")),
            ),
            (
                "\0zo\u{eb}\0p\u{e4}ss".as_bytes(),
                Some(("zo\u{eb}", "p\u{e4}ss")),
            ),
            // RFC 4616 §4, second example: Kurt acts as Ursel.
            (b"Ursel\0Kurt\0xipj3plmq", None),
            (b"Tim\0tim\0secret", None),
            (b"", None),
            (b"tim", None),
            (b"\0tim", None),
            (b"\0\0secret", None),
            (b"\0tim\0", None),
            (b"\0tim\0secret\0", None),
            (b"\0tim\0sec\0ret", None),
            (b"\0tim\0\xff", None),
            (b"\0\xff\0secret", None),
            (b"\xff\0tim\0secret", None),
        ] {
            let found = parse_plain(message);
            let shown = found
                .as_ref()
                .map(|c| (c.user.as_str(), c.password.expose()));
            assert_eq!(shown, expect, "{message:?}");
        }
    }

    proptest! {
        #[test]
        fn no_message_panics(octets in vec(any::<u8>(), 0..64)) {
            if let Some(credentials) = parse_plain(&octets) {
                prop_assert!(!credentials.user.is_empty() && !credentials.user.contains('\0'));
            }
            prop_assert_eq!(decode_base64(STANDARD.encode(&octets).as_bytes()), Some(octets));
        }
    }
}
