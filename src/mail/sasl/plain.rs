//! The message of the PLAIN mechanism (RFC 4616).

use super::{Credentials, Fault, Secret, is_user_name};

/// Splits the decoded message: `[authzid] NUL authcid NUL passwd`, all UTF-8, the user name not
/// empty. RFC 4616 §2 also requires a password that is not empty; an empty one is passed on,
/// because verifying it gives a better answer than a syntax error: it is wrong, or any password is
/// right.
///
/// # Errors
/// [`Fault::OtherIdentity`] if the identity to act as is neither omitted nor the user; otherwise
/// [`Fault::Message`].
pub(super) fn parse(message: &[u8]) -> Result<Credentials, Fault> {
    let message = str::from_utf8(message).ok().ok_or(Fault::Message)?;
    let mut parts = message.split('\0');
    let (Some(authorization_id), Some(user), Some(password), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Fault::Message);
    };
    if !is_user_name(user) {
        return Err(Fault::Message);
    }
    if !authorization_id.is_empty() && authorization_id != user {
        return Err(Fault::OtherIdentity);
    }
    Ok(Credentials {
        user: user.to_owned(),
        password: Secret::new(password.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    #[test]
    fn plain_has_three_parts_and_one_identity() {
        for (message, expect) in [
            // RFC 4616 §4, first example.
            (
                &b"\0tim\0tanstaaftanstaaf"[..],
                Ok(("tim", "tanstaaftanstaaf")),
            ),
            (b"tim\0tim\0secret", Ok(("tim", "secret"))),
            (b"\0tim\0", Ok(("tim", ""))),
            (
                b"\0bob@example.com\0with space",
                Ok(("bob@example.com", "with space")),
            ),
            (
                "\0zo\u{eb}\0p\u{e4}ss\u{1}".as_bytes(),
                Ok(("zo\u{eb}", "p\u{e4}ss\u{1}")),
            ),
            // RFC 4616 §4, second example: Kurt acts as Ursel.
            (b"Ursel\0Kurt\0xipj3plmq", Err(Fault::OtherIdentity)),
            (b"Tim\0tim\0secret", Err(Fault::OtherIdentity)),
            (b"", Err(Fault::Message)),
            (b"tim", Err(Fault::Message)),
            (b"\0tim", Err(Fault::Message)),
            (b"\0\0secret", Err(Fault::Message)),
            (b"\0t\x07m\0secret", Err(Fault::Message)),
            (b"\0tim\0secret\0", Err(Fault::Message)),
            (b"\0tim\0sec\0ret", Err(Fault::Message)),
            (b"\0tim\0\xff", Err(Fault::Message)),
            (b"\0\xff\0secret", Err(Fault::Message)),
            (b"\xff\0tim\0secret", Err(Fault::Message)),
        ] {
            let found = parse(message);
            let shown = found.as_ref().map_err(|fault| *fault);
            let shown = shown.map(|c| (c.user.as_str(), c.password.expose()));
            assert_eq!(shown, expect, "{message:?}");
        }
    }

    #[test]
    fn a_user_name_is_no_longer_than_an_address() {
        let message = |octets: usize| format!("\0{}\0x", "u".repeat(octets));
        assert!(parse(message(512).as_bytes()).is_ok());
        assert_eq!(parse(message(513).as_bytes()), Err(Fault::Message));
    }

    proptest! {
        #[test]
        fn no_message_panics(octets in vec(any::<u8>(), 0..64)) {
            if let Ok(credentials) = parse(&octets) {
                prop_assert!(!credentials.user.is_empty() && !credentials.user.contains('\0'));
            }
        }
    }
}
