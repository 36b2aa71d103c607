//! The exchanges from AUTH to their final question.

use proptest::{collection::vec, prelude::*};

use super::*;
use crate::testing::scram as account;

fn password(user: &str, password: &str) -> Progress {
    Progress::CheckPassword(Credentials {
        user: user.to_owned(),
        password: Secret::new(password.to_owned()),
    })
}

fn plus() -> Tls {
    Tls::Active(ChannelBindings {
        exporter: Some(account::EXPORTER),
    })
}

fn local(tls: Tls) -> Link {
    Link {
        tls,
        is_local: true,
    }
}

fn start(mechanism: Mechanism, initial_response: Option<&str>) -> Result<Progress, Fault> {
    begin(mechanism, &local(plus()), initial_response)
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

/// Passes `message` to the exchange, in base64.
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
        ("=", None), // only an initial response can be that
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
        assert_eq!(start(Mechanism::Plain, Some(&base64)), expect);
        let exchange = challenged(start(Mechanism::Plain, None), "");
        assert_eq!(respond(exchange, message), expect);
    }
    assert_eq!(start(Mechanism::Plain, Some("=")), Err(Fault::Message));
}

#[test]
fn login_asks_for_the_name_and_then_for_the_password() {
    let after_name = || {
        let exchange = challenged(start(Mechanism::Login, None), "Username:");
        challenged(respond(exchange, "tim"), "Password:")
    };
    let initial = challenged(start(Mechanism::Login, Some("dGlt")), "Password:");
    assert_eq!(initial, after_name());
    let expect = Ok(password("tim", "tanstaaftanstaaf"));
    assert_eq!(respond(initial, "tanstaaftanstaaf"), expect);
    assert_eq!(
        respond(after_name(), "a b\u{7f}"),
        Ok(password("tim", "a b\u{7f}"))
    );
    assert_eq!(respond(after_name(), ""), Ok(password("tim", "")));
    let name = challenged(start(Mechanism::Login, None), "Username:");
    assert_eq!(respond(name, ""), Err(Fault::Message));
    for refused in ["\0", "a\nb", "a\r"] {
        let name = challenged(start(Mechanism::Login, None), "Username:");
        assert_eq!(respond(name, refused), Err(Fault::Message), "{refused:?}");
        let refusal = respond(after_name(), refused);
        assert_eq!(refusal, Err(Fault::Message), "{refused:?}");
    }
    assert_eq!(start(Mechanism::Login, Some("=")), Err(Fault::Message));
    // Base64 of what is not UTF-8.
    assert_eq!(start(Mechanism::Login, Some("/w==")), Err(Fault::Message));
    assert_eq!(after_name().respond(b"/w=="), Err(Fault::Message));
}

fn parameters() -> scram::Parameters {
    scram::Parameters {
        salt: account::SALT.to_vec(),
        iterations: account::ITERATIONS,
        nonce: account::NONCE.to_owned(),
    }
}

/// Plays a SCRAM exchange to its end, or to the fault that ends it.
fn scram(mechanism: Mechanism, link: &Link, first: &str, last: &str) -> Result<String, Fault> {
    let initial = STANDARD.encode(first);
    let Progress::BeginScram(client_first) = begin(mechanism, link, Some(&initial))? else {
        panic!("{first} is no beginning");
    };
    assert_eq!(client_first.user(), account::USER);
    let Progress::Challenge(exchange, challenge) = answer(client_first, &parameters())? else {
        panic!("no challenge");
    };
    let server_first = STANDARD.decode(challenge).unwrap();
    assert!(server_first.starts_with(b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj"));
    let Progress::CheckProof(attempt) = respond(exchange, last)? else {
        panic!("{last} is no end");
    };
    let signature = account::verify(&attempt.user, &attempt.auth_message, &attempt.proof);
    let Progress::Challenge(exchange, challenge) = confirm(attempt.user, &signature.unwrap())
    else {
        panic!("no challenge");
    };
    assert!(STANDARD.decode(challenge).unwrap().starts_with(b"v="));
    let Progress::Authenticated(user) = exchange.respond(b"")? else {
        panic!("no end");
    };
    Ok(user)
}

/// RFC 7677 §3, RFC 5802 §6: with and without binding, and with a man in the middle.
#[test]
fn scram_exchanges_are_played_to_their_end() {
    const NONCE: &str = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    let plain = format!("c=biws,r={NONCE},p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=");
    let bound = format!(
        "c=cD10bHMtZXhwb3J0ZXIsLFpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpaWlpa,r={NONCE},\
         p=9LQzCP2ADcYQ+gjK4uePaq6ChllCauXzd8Pi0yTtg50="
    );
    let (with_plus, without) = (local(plus()), local(Tls::NotOffered));
    let bare = "n=user,r=rOprNGfwEbeRWgbNEkqO";
    let scram_256 = |link, flag: &str, last| {
        scram(
            Mechanism::ScramSha256,
            link,
            &format!("{flag},,{bare}"),
            last,
        )
    };
    let user = || Ok("user".to_owned());
    assert_eq!(scram_256(&without, "n", &plain), user());
    assert_eq!(scram_256(&with_plus, "n", &plain), user());
    assert_eq!(scram_256(&with_plus, "y", &plain), Err(Fault::Downgrade));
    let first = format!("p=tls-exporter,,{bare}");
    let plus_256 = |link, last| scram(Mechanism::ScramSha256Plus, link, &first, last);
    assert_eq!(plus_256(&with_plus, &bound), user());
    assert_eq!(plus_256(&with_plus, &plain), Err(Fault::ChannelBinding));
    let relayed = local(Tls::Active(ChannelBindings {
        exporter: Some([1; 32]),
    }));
    assert_eq!(plus_256(&relayed, &bound), Err(Fault::ChannelBinding));
    assert_eq!(plus_256(&without, &bound), Err(Fault::ChannelBinding));
}

/// SEC-2, and RFC 5802 §6 for -PLUS.
#[test]
fn what_is_offered_depends_on_the_connection() {
    let off = |tls| Link {
        tls,
        is_local: false,
    };
    let unbound = || Tls::Active(ChannelBindings::default());
    for (link, without_keys, with_keys) in [
        (off(Tls::NotOffered), "", ""),
        (off(Tls::Offered), "", ""),
        (
            local(Tls::NotOffered),
            " PLAIN LOGIN",
            " SCRAM-SHA-256 PLAIN LOGIN",
        ),
        (
            local(Tls::Offered),
            " PLAIN LOGIN",
            " SCRAM-SHA-256 PLAIN LOGIN",
        ),
        (off(unbound()), " PLAIN LOGIN", " SCRAM-SHA-256 PLAIN LOGIN"),
        (
            off(plus()),
            " PLAIN LOGIN",
            " SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN",
        ),
    ] {
        assert_eq!(names(offered(&link, false)), without_keys, "{link:?}");
        assert_eq!(names(offered(&link, true)), with_keys, "{link:?}");
    }
}

#[test]
fn a_star_cancels_and_invalid_base64_ends_the_exchange() {
    for mechanism in Mechanism::ALL {
        let exchange = || match start(mechanism, None) {
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
        let mut progress = start(mechanism, None);
        for (line, encoded) in lines {
            let line = if encoded { STANDARD.encode(line).into_bytes() } else { line };
            progress = match progress {
                Ok(Progress::Challenge(exchange, challenge)) => {
                    prop_assert!(decode_base64(challenge.as_bytes()).is_some());
                    exchange.respond(&line)
                }
                Ok(Progress::BeginScram(first)) => answer(first, &parameters()),
                Ok(Progress::CheckPassword(Credentials { user, .. })) => {
                    prop_assert!(is_user_name(&user));
                    break;
                }
                Ok(Progress::CheckProof(_) | Progress::Authenticated(_)) | Err(_) => break,
            };
        }
    }
}
