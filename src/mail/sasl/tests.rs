//! The exchanges from AUTH to the question that they end in.

use proptest::{collection::vec, prelude::*};

use super::*;

fn password(user: &str, password: &str) -> Progress {
    Progress::CheckPassword(Credentials {
        user: user.to_owned(),
        password: Secret::new(password.to_owned()),
    })
}

/// The exchange that the challenge of `progress` begins.
#[track_caller]
fn challenged(progress: Result<Progress, Fault>, words: &str) -> Exchange {
    let Ok(Progress::Challenge(exchange, challenge)) = progress else {
        panic!("{progress:?} is no challenge");
    };
    assert_eq!(challenge, STANDARD.encode(words));
    exchange
}

/// Gives `message` to the exchange, in base64.
fn respond(exchange: Exchange, message: &str) -> Result<Progress, Fault> {
    exchange.respond(STANDARD.encode(message).as_bytes())
}

#[test]
fn mechanisms_are_known_by_name_in_any_case() {
    for mechanism in Mechanism::ALL {
        let name = mechanism.name();
        assert_eq!(Mechanism::parse(name), Some(mechanism));
        assert_eq!(Mechanism::parse(&name.to_lowercase()), Some(mechanism));
        assert_eq!(Mechanism::parse(&format!("{name} ")), None);
    }
    assert_eq!(Mechanism::parse("CRAM-MD5"), None);
    assert_eq!(Mechanism::parse(""), None);
}

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
        ("*", None),          // the sign to cancel, which is looked for before
        ("Zm9v\u{e9}", None), // not ASCII
    ] {
        let expect = expect.map(|text| text.as_bytes().to_vec());
        assert_eq!(decode_base64(text.as_bytes()), expect, "{text:?}");
    }
}

#[test]
fn plain_is_one_message() {
    for (message, expect) in [
        (
            "\0tim\0tanstaaftanstaaf",
            Ok(password("tim", "tanstaaftanstaaf")),
        ),
        ("test\0test\0test", Ok(password("test", "test"))),
        ("", Err(Fault::Message)),
        ("Ursel\0Kurt\0xipj3plmq", Err(Fault::OtherIdentity)),
    ] {
        let base64 = STANDARD.encode(message);
        assert_eq!(begin(Mechanism::Plain, Some(&base64)), expect);
        let exchange = challenged(begin(Mechanism::Plain, None), "");
        assert_eq!(respond(exchange, message), expect);
    }
    assert_eq!(begin(Mechanism::Plain, Some("=")), Err(Fault::Message));
}

#[test]
fn login_asks_for_the_name_and_then_for_the_password() {
    let after_name = || {
        let exchange = challenged(begin(Mechanism::Login, None), "Username:");
        challenged(respond(exchange, "tim"), "Password:")
    };
    let initial = challenged(begin(Mechanism::Login, Some("dGlt")), "Password:");
    assert_eq!(initial, after_name());
    let expect = Ok(password("tim", "tanstaaftanstaaf"));
    assert_eq!(respond(initial, "tanstaaftanstaaf"), expect);
    assert_eq!(
        respond(after_name(), "a b\u{7f}"),
        Ok(password("tim", "a b\u{7f}"))
    );
    for refused in ["", "\0", "a\nb", "a\r"] {
        let name = challenged(begin(Mechanism::Login, None), "Username:");
        assert_eq!(respond(name, refused), Err(Fault::Message), "{refused:?}");
        let refusal = respond(after_name(), refused);
        assert_eq!(refusal, Err(Fault::Message), "{refused:?}");
    }
    assert_eq!(begin(Mechanism::Login, Some("=")), Err(Fault::Message));
    // Base64 of what is not UTF-8.
    assert_eq!(begin(Mechanism::Login, Some("/w==")), Err(Fault::Message));
    assert_eq!(after_name().respond(b"/w=="), Err(Fault::Message));
}

#[test]
fn a_star_cancels_and_what_is_not_base64_ends_the_exchange() {
    for mechanism in Mechanism::ALL {
        let exchange = || match begin(mechanism, None) {
            Ok(Progress::Challenge(exchange, _)) => exchange,
            other => panic!("{other:?} is no challenge"),
        };
        assert_eq!(exchange().respond(b"*"), Err(Fault::Cancelled));
        for line in [&b"=="[..], b"dGlt=", b"dGl!", b"dGlt ", b"dGlu\xff", b"**"] {
            let shown = line.escape_ascii();
            assert_eq!(exchange().respond(line), Err(Fault::Base64), "{shown}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn no_response_panics(
        lines in vec((vec(any::<u8>(), 0..50), any::<bool>()), 1..5),
        mechanism in prop::sample::select(Mechanism::ALL.to_vec()),
    ) {
        let mut progress = begin(mechanism, None);
        for (line, encoded) in lines {
            let line = if encoded { STANDARD.encode(line).into_bytes() } else { line };
            progress = match progress {
                Ok(Progress::Challenge(exchange, challenge)) => {
                    prop_assert!(decode_base64(challenge.as_bytes()).is_some());
                    exchange.respond(&line)
                }
                Ok(Progress::CheckPassword(credentials)) => {
                    prop_assert!(is_user_name(&credentials.user));
                    break;
                }
                Err(_) => break,
            };
        }
    }
}
