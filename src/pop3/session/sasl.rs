//! The SASL exchange of AUTH (RFC 5034): PLAIN (RFC 4616) and LOGIN (draft-murchison-sasl-login).
//!
//! Turns base64 lines into [`Credentials`]; it does not verify them. Both mechanisms send the
//! password in clear, so whether they may be used on a connection is for the daemon to decide.
//!
//! Theory of operation: [`begin`] takes the AUTH command, [`Exchange::respond`] each line after
//! it; both end in a [`Progress`], which is either the next state with its challenge or the
//! credentials. `Plain` → credentials; `LoginName` → `LoginPassword` → credentials. Any error ends
//! the exchange.
//!
//! Known limits: names and passwords must be UTF-8; nobody acts for another user.

use crate::{
    mail::{
        Credentials, Secret,
        sasl::{decode_base64, parse_plain},
    },
    pop3::Mechanism,
};

/// An exchange that waits for a response of the client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// For the one message of PLAIN.
    Plain,
    /// For the user name of LOGIN.
    LoginName,
    /// For the password of LOGIN.
    LoginPassword {
        /// The name that was given.
        user: String,
    },
}

/// How far an exchange has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Send the challenge of the exchange and read a line.
    Challenge(Exchange),
    /// All is said.
    Complete(Credentials),
}

/// Why an exchange ended without credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SaslError {
    /// The response is not base64.
    Base64,
    /// The client has sent `*`.
    Cancelled,
    /// The response is no user name or no password.
    Login,
    /// The response is no message of PLAIN, or the client would act for another user.
    Plain,
}

/// Begins an exchange of `mechanism`; `initial_response` is in base64, `=` when it is empty.
///
/// # Errors
/// [`SaslError`]: tell the client; there is no exchange.
pub(super) fn begin(
    mechanism: Mechanism,
    initial_response: Option<&str>,
) -> Result<Progress, SaslError> {
    let exchange = match mechanism {
        Mechanism::Plain => Exchange::Plain,
        Mechanism::Login => Exchange::LoginName,
    };
    match initial_response {
        None => Ok(Progress::Challenge(exchange)),
        Some(response) => exchange.respond(response.as_bytes()),
    }
}

impl Exchange {
    /// The challenge that the client is to answer, in base64.
    pub(super) fn challenge(&self) -> &'static str {
        match self {
            Self::Plain => "",
            // "Username:" and "Password:", which a widely deployed client insists on (§2.2).
            Self::LoginName => "VXNlcm5hbWU6",
            Self::LoginPassword { .. } => "UGFzc3dvcmQ6",
        }
    }

    /// Takes the client's `line`, base64 or `*`.
    ///
    /// # Errors
    /// [`SaslError`]: tell the client; the exchange is over.
    pub(super) fn respond(self, line: &[u8]) -> Result<Progress, SaslError> {
        if line == b"*" {
            return Err(SaslError::Cancelled);
        }
        let response = decode_base64(line).ok_or(SaslError::Base64)?;
        match self {
            Self::Plain => {
                let credentials = parse_plain(&response).ok_or(SaslError::Plain)?;
                if !is_user_name(&credentials.user) {
                    return Err(SaslError::Plain);
                }
                Ok(Progress::Complete(credentials))
            }
            Self::LoginName => {
                let user = text(response).filter(|user| is_user_name(user));
                let user = user.ok_or(SaslError::Login)?;
                Ok(Progress::Challenge(Self::LoginPassword { user }))
            }
            Self::LoginPassword { user } => {
                // Anything but NUL, CR and LF (§2).
                let password = text(response)
                    .filter(|text| !text.is_empty() && !text.contains(['\0', '\r', '\n']))
                    .ok_or(SaslError::Login)?;
                let password = Secret::new(password);
                Ok(Progress::Complete(Credentials { user, password }))
            }
        }
    }
}

fn text(octets: Vec<u8>) -> Option<String> {
    String::from_utf8(octets).ok()
}

/// Whether USER would take `text` too: it is not empty and has no control characters.
fn is_user_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    use proptest::{collection::vec, prelude::*};

    use super::*;

    fn credentials(user: &str, password: &str) -> Progress {
        Progress::Complete(Credentials {
            user: user.to_owned(),
            password: Secret::new(password.to_owned()),
        })
    }

    #[track_caller]
    fn check_plain(message: &str, expected: &Result<Progress, SaslError>) {
        let base64 = STANDARD.encode(message);
        assert_eq!(
            &begin(Mechanism::Plain, Some(&base64)),
            expected,
            "{message:?}"
        );
        assert_eq!(
            &Exchange::Plain.respond(base64.as_bytes()),
            expected,
            "{message:?}"
        );
    }

    #[test]
    fn plain_is_one_message() {
        check_plain(
            "\0tim\0tanstaaftanstaaf",
            &Ok(credentials("tim", "tanstaaftanstaaf")),
        );
        check_plain("test\0test\0test", &Ok(credentials("test", "test")));
        check_plain(
            "\0björn\0pä ss\u{1}",
            &Ok(credentials("björn", "pä ss\u{1}")),
        );
        for refused in [
            "",
            "tim",
            "\0tim\0",
            "Ursel\0Kurt\0xipj3plmq",
            "\0t\x07m\0p",
        ] {
            check_plain(refused, &Err(SaslError::Plain));
        }
        assert_eq!(begin(Mechanism::Plain, Some("=")), Err(SaslError::Plain));
        let wait = Ok(Progress::Challenge(Exchange::Plain));
        assert_eq!(begin(Mechanism::Plain, None), wait);
    }

    #[test]
    fn login_asks_for_the_name_and_then_for_the_password() {
        let exchange = Exchange::LoginPassword {
            user: "tim".to_owned(),
        };
        let after_name = Ok(Progress::Challenge(exchange.clone()));
        assert_eq!(
            begin(Mechanism::Login, None),
            Ok(Progress::Challenge(Exchange::LoginName))
        );
        assert_eq!(begin(Mechanism::Login, Some("dGlt")), after_name);
        assert_eq!(Exchange::LoginName.respond(b"dGlt"), after_name);
        assert_eq!(
            exchange.clone().respond(b"dGFuc3RhYWZ0YW5zdGFhZg=="),
            Ok(credentials("tim", "tanstaaftanstaaf"))
        );
        for refused in ["", "\0", "a\nb", "a\r"] {
            let line = STANDARD.encode(refused);
            let refused = Err(SaslError::Login);
            assert_eq!(exchange.clone().respond(line.as_bytes()), refused, "{line}");
            assert_eq!(
                Exchange::LoginName.respond(line.as_bytes()),
                refused,
                "{line}"
            );
        }
        assert_eq!(begin(Mechanism::Login, Some("=")), Err(SaslError::Login));
    }

    #[test]
    fn challenges_are_the_words_that_clients_expect() {
        for (exchange, words) in [
            (Exchange::Plain, ""),
            (Exchange::LoginName, "Username:"),
            (
                Exchange::LoginPassword {
                    user: String::new(),
                },
                "Password:",
            ),
        ] {
            assert_eq!(STANDARD.encode(words), exchange.challenge());
        }
    }

    #[test]
    fn what_is_not_base64_ends_the_exchange() {
        for line in [
            &b"=="[..],
            b"dGlt=",
            b"dGl",
            b"dGl!",
            b"dGlt ",
            b"dGlu\xff",
            b"**",
        ] {
            let shown = line.escape_ascii();
            assert_eq!(
                Exchange::Plain.respond(line),
                Err(SaslError::Base64),
                "{shown}"
            );
        }
        // Base64 of what is not UTF-8.
        assert_eq!(Exchange::LoginName.respond(b"/w=="), Err(SaslError::Login));
        assert_eq!(Exchange::Plain.respond(b"*"), Err(SaslError::Cancelled));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        #[test]
        fn no_response_panics(line in vec(any::<u8>(), 0..50), message in vec(any::<u8>(), 0..50)) {
            for line in [line, STANDARD.encode(message).into_bytes()] {
                let password = Exchange::LoginPassword { user: "x".to_owned() };
                for exchange in [Exchange::Plain, Exchange::LoginName, password] {
                    if let Ok(Progress::Complete(credentials)) = exchange.respond(&line) {
                        prop_assert!(is_user_name(&credentials.user));
                    }
                }
            }
        }
    }
}
