//! SCRAM messages: the examples of the RFCs, and errors in every place.

use proptest::{collection::vec, option, prelude::*};

use super::*;
use crate::mail::sasl::{self, Awaited, Exchange, Progress, confirm};
use crate::testing::scram as account;

const CLIENT_FIRST: &str = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
const NONCE: &str = "rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const PROOF: &str = "dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";

fn parameters() -> Parameters {
    Parameters {
        salt: account::SALT.to_vec(),
        iterations: account::ITERATIONS,
        nonce: account::NONCE.to_owned(),
    }
}

fn no_bindings() -> ChannelBindings {
    ChannelBindings::default()
}

fn bindings() -> ChannelBindings {
    ChannelBindings {
        exporter: Some(account::EXPORTER),
    }
}

/// The first message of a client without channel binding.
fn first(message: &str) -> Result<ClientFirst, Fault> {
    ClientFirst::parse(message.as_bytes(), false, &no_bindings())
}

/// The answer to it, as the text of the server.
#[track_caller]
fn answered(first: ClientFirst, parameters: &Parameters) -> (Expected, String) {
    match sasl::answer(first, parameters) {
        Ok(Progress::Challenge(Exchange(Awaited::ScramFinal(expected)), challenge)) => {
            let message = STANDARD.decode(challenge).unwrap();
            (expected, String::from_utf8(message).unwrap())
        }
        other => panic!("{other:?} is no challenge"),
    }
}

fn expected() -> Expected {
    answered(first(CLIENT_FIRST).unwrap(), &parameters()).0
}

#[test]
fn the_example_of_rfc_7677() {
    let client_first = first(CLIENT_FIRST).unwrap();
    assert_eq!(client_first.user(), "user");
    let (expected, server_first) = answered(client_first, &parameters());
    assert_eq!(
        server_first,
        format!("r={NONCE},s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096")
    );
    let client_final = format!("c=biws,r={NONCE},p={PROOF}");
    let attempt = expected.parse(client_final.as_bytes()).unwrap();
    assert_eq!(attempt.user, "user");
    assert_eq!(
        attempt.auth_message,
        format!("n=user,r=rOprNGfwEbeRWgbNEkqO,{server_first},c=biws,r={NONCE}")
    );
    let signature = account::verify(&attempt.user, &attempt.auth_message, &attempt.proof);
    assert_eq!(
        server_final(&signature.unwrap()),
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    );
}

/// The messages are those of SCRAM-SHA-1, so only the length of the proof is wrong.
#[test]
fn the_example_of_rfc_5802() {
    let parameters = Parameters {
        salt: STANDARD.decode("QSXCR+Q6sek8bf92").unwrap(),
        iterations: 4_096,
        nonce: "3rfcNHYJY1ZVvWVs7j".to_owned(),
    };
    let expected = || {
        let client_first = first("n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL").unwrap();
        answered(client_first, &parameters)
    };
    let (after_first, server_first) = expected();
    assert_eq!(
        server_first,
        "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096"
    );
    let without_proof = "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j";
    let sha_1 = format!("{without_proof},p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=");
    assert_eq!(after_first.parse(sha_1.as_bytes()), Err(Fault::Message));
    let sha_256 = format!("{without_proof},p={PROOF}");
    let attempt = expected().0.parse(sha_256.as_bytes()).unwrap();
    assert_eq!(
        attempt.auth_message,
        format!("n=user,r=fyko+d2lbbFgONRv9qkxdawL,{server_first},{without_proof}")
    );
}

#[test]
fn a_proof_can_be_bound_to_the_connection() {
    let name = "tls-exporter";
    let message = format!("p={name},,n=user,r=rOprNGfwEbeRWgbNEkqO");
    let parse = |bindings: &ChannelBindings| {
        let first = ClientFirst::parse(message.as_bytes(), true, bindings).unwrap();
        answered(first, &parameters()).0
    };
    let data = bindings().data(name).unwrap().to_vec();
    let binding = [format!("p={name},,").into_bytes(), data].concat();
    let client_final = format!("c={},r={NONCE},p={PROOF}", STANDARD.encode(binding));
    let client_final = client_final.as_bytes();
    let attempt = parse(&bindings()).parse(client_final).unwrap();
    let end = format!("i=4096,{}", client_final.escape_ascii());
    let end = end.strip_suffix(&format!(",p={PROOF}")).unwrap();
    assert!(attempt.auth_message.ends_with(end));
    // The same message on another connection.
    let other = ChannelBindings {
        exporter: Some([1; 32]),
    };
    let refusal = parse(&other).parse(client_final);
    assert_eq!(refusal, Err(Fault::ChannelBinding));
    // And without the data.
    let without = format!("p={name},,");
    let without = format!("c={},r={NONCE},p={PROOF}", STANDARD.encode(without));
    let refusal = parse(&bindings()).parse(without.as_bytes());
    assert_eq!(refusal, Err(Fault::ChannelBinding));
}

/// RFC 5802 §6: the flags that are allowed with each mechanism and connection.
#[test]
fn flags_agree_with_the_mechanism_and_the_connection() {
    for (flag, plus, bindings, expect) in [
        ("n", false, no_bindings(), None),
        ("n", false, bindings(), None),
        ("y", false, no_bindings(), None),
        ("y", false, bindings(), Some(Fault::Downgrade)),
        ("p=tls-exporter", true, bindings(), None),
        (
            "p=tls-server-end-point",
            true,
            bindings(),
            Some(Fault::ChannelBinding),
        ),
        (
            "p=tls-unique",
            true,
            bindings(),
            Some(Fault::ChannelBinding),
        ),
        ("p=", true, bindings(), Some(Fault::ChannelBinding)),
        (
            "p=TLS-EXPORTER",
            true,
            bindings(),
            Some(Fault::ChannelBinding),
        ),
        ("n", true, bindings(), Some(Fault::Message)),
        ("y", true, bindings(), Some(Fault::Message)),
        ("p=tls-exporter", false, bindings(), Some(Fault::Message)),
        ("p", true, bindings(), Some(Fault::Message)),
        ("N", false, no_bindings(), Some(Fault::Message)),
        ("", false, no_bindings(), Some(Fault::Message)),
        ("F,n", false, no_bindings(), Some(Fault::Message)),
    ] {
        let message = format!("{flag},,n=user,r=x");
        let found = ClientFirst::parse(message.as_bytes(), plus, &bindings).err();
        assert_eq!(found, expect, "{flag} {plus} {bindings:?}");
    }
}

/// The last message reveals a man in the middle who changes the flag.
#[test]
fn the_last_message_repeats_the_flag() {
    let after_y = answered(
        first("y,,n=user,r=rOprNGfwEbeRWgbNEkqO").unwrap(),
        &parameters(),
    )
    .0;
    let message = format!("c=biws,r={NONCE},p={PROOF}");
    assert_eq!(
        after_y.parse(message.as_bytes()),
        Err(Fault::ChannelBinding)
    );
    let message = format!("c=eSws,r={NONCE},p={PROOF}");
    assert_eq!(
        expected().parse(message.as_bytes()),
        Err(Fault::ChannelBinding)
    );
}

#[test]
fn first_messages_right_and_wrong() {
    for (message, expect) in [
        ("n,,n=user,r=x", Ok("user")),
        ("n,a=user,n=user,r=x", Ok("user")),
        ("n,,n=a=2Cb=3Dc,r=x", Ok("a,b=c")),
        ("n,a=a=2Cb,n=a=2Cb,r=x", Ok("a,b")),
        ("n,,n=zo\u{eb}@example.com,r=x", Ok("zo\u{eb}@example.com")),
        ("n,,n=user,r=x,x=ignored,y=1=2", Ok("user")),
        ("n,,n=user,r=!~", Ok("user")),
        ("n,a=other,n=user,r=x", Err(Fault::OtherIdentity)),
        ("n,a=User,n=user,r=x", Err(Fault::OtherIdentity)),
        ("n,a=,n=user,r=x", Err(Fault::Message)),
        ("n,user,n=user,r=x", Err(Fault::Message)),
        // A mandatory extension.
        ("n,,m=x,n=user,r=x", Err(Fault::Message)),
        ("n,,n=user,r=x,m=x", Err(Fault::Message)),
        // A second user name or nonce.
        ("n,,n=user,r=x,n=other", Err(Fault::Message)),
        ("n,,n=user,r=x,r=y", Err(Fault::Message)),
        ("n,,n=user,r=x,", Err(Fault::Message)),
        ("n,,n=user,r=x,1=x", Err(Fault::Message)),
        ("n,,n=user,r=x,x", Err(Fault::Message)),
        ("n,,n=user,r=x,x=", Err(Fault::Message)),
        ("n,,n=user,r=x,x=\0", Err(Fault::Message)),
        // Invalid names.
        ("n,,n=,r=x", Err(Fault::Message)),
        ("n,,n=a=b,r=x", Err(Fault::Message)),
        ("n,,n=a=2cb,r=x", Err(Fault::Message)),
        ("n,,n=a=2,r=x", Err(Fault::Message)),
        ("n,,n=a=,r=x", Err(Fault::Message)),
        ("n,,n=a\u{7}b,r=x", Err(Fault::Message)),
        ("n,,n=a\0b,r=x", Err(Fault::Message)),
        ("n,,N=user,r=x", Err(Fault::Message)),
        // Invalid nonces.
        ("n,,n=user,r=", Err(Fault::Message)),
        ("n,,n=user,r=a b", Err(Fault::Message)),
        ("n,,n=user,r=\u{e9}", Err(Fault::Message)),
        ("n,,n=user,r=\u{7f}", Err(Fault::Message)),
        ("n,,n=user", Err(Fault::Message)),
        ("n,,r=x,n=user", Err(Fault::Message)),
        ("n,n=user,r=x", Err(Fault::Message)),
        ("n=user,r=x", Err(Fault::Message)),
        ("n,,", Err(Fault::Message)),
        ("", Err(Fault::Message)),
    ] {
        let found = first(message).map(|first| first.user);
        assert_eq!(found, expect.map(str::to_owned), "{message:?}");
    }
    let not_utf8 = ClientFirst::parse(b"n,,n=\xff,r=x", false, &no_bindings());
    assert_eq!(not_utf8, Err(Fault::Message));
    let nonce = |octets| format!("n,,n=user,r={}", "x".repeat(octets));
    assert!(first(&nonce(SCRAM_NONCE_OCTETS_MAX)).is_ok());
    assert!(first(&nonce(SCRAM_NONCE_OCTETS_MAX + 1)).is_err());
}

#[test]
fn last_messages_right_and_wrong() {
    let good = format!("c=biws,r={NONCE},p={PROOF}");
    for (message, expect) in [
        (good.clone(), None),
        (format!("c=biws,r={NONCE},x=y,p={PROOF}"), None),
        // Half of the nonce, more than all of it, a different one.
        (
            format!("c=biws,r=rOprNGfwEbeRWgbNEkqO,p={PROOF}"),
            Some(Fault::Message),
        ),
        (format!("c=biws,r={NONCE}x,p={PROOF}"), Some(Fault::Message)),
        (
            format!("c=biws,r={},p={PROOF}", NONCE.to_lowercase()),
            Some(Fault::Message),
        ),
        // `n,,` with an identity; nothing; not base64.
        (
            format!("c=bixhPXVzZXIs,r={NONCE},p={PROOF}"),
            Some(Fault::ChannelBinding),
        ),
        (format!("c=,r={NONCE},p={PROOF}"), Some(Fault::Message)),
        (format!("c==,r={NONCE},p={PROOF}"), Some(Fault::Message)),
        (format!("c=biw,r={NONCE},p={PROOF}"), Some(Fault::Message)),
        // 31 octets, 33, none; not base64; not the last.
        (
            format!("c=biws,r={NONCE},p={}", STANDARD.encode([0; 31])),
            Some(Fault::Message),
        ),
        (
            format!("c=biws,r={NONCE},p={}", STANDARD.encode([0; 33])),
            Some(Fault::Message),
        ),
        (format!("c=biws,r={NONCE},p="), Some(Fault::Message)),
        (format!("c=biws,r={NONCE},p={PROOF}="), Some(Fault::Message)),
        (format!("{good},x=y"), Some(Fault::Message)),
        (format!("{good},p={PROOF}"), Some(Fault::Message)),
        (format!("c=biws,r={NONCE}"), Some(Fault::Message)),
        (format!("r={NONCE},c=biws,p={PROOF}"), Some(Fault::Message)),
        (
            format!("c=biws,r={NONCE},m=x,p={PROOF}"),
            Some(Fault::Message),
        ),
        (
            format!("c=biws,r={NONCE},r={NONCE},p={PROOF}"),
            Some(Fault::Message),
        ),
        (format!("p={PROOF}"), Some(Fault::Message)),
        (String::new(), Some(Fault::Message)),
    ] {
        let found = expected().parse(message.as_bytes()).err();
        assert_eq!(found, expect, "{message:?}");
    }
    assert_eq!(expected().parse(b"\xff"), Err(Fault::Message));
}

#[test]
fn parameters_that_a_server_must_not_send_are_not_sent() {
    for (change, sound) in [
        (parameters(), true),
        (
            Parameters {
                salt: Vec::new(),
                ..parameters()
            },
            false,
        ),
        (
            Parameters {
                iterations: SCRAM_ITERATIONS_MIN - 1,
                ..parameters()
            },
            false,
        ),
        (
            Parameters {
                iterations: u32::MAX,
                ..parameters()
            },
            true,
        ),
        (
            Parameters {
                nonce: String::new(),
                ..parameters()
            },
            false,
        ),
        (
            Parameters {
                nonce: "a,b".to_owned(),
                ..parameters()
            },
            false,
        ),
        (
            Parameters {
                salt: vec![0; 400],
                ..parameters()
            },
            false,
        ),
    ] {
        let answer = sasl::answer(first(CLIENT_FIRST).unwrap(), &change);
        assert_eq!(answer.is_ok(), sound);
        assert!(sound || answer == Err(Fault::Unavailable));
    }
}

/// The longest first message of the server fits into a line of either protocol.
#[test]
fn the_longest_answer_fits_a_line() {
    let message = format!("n,,n=user,r={}", "x".repeat(SCRAM_NONCE_OCTETS_MAX));
    let longest = Parameters {
        salt: vec![0; 32],
        iterations: u32::MAX,
        nonce: "y".repeat(32),
    };
    let Ok(Progress::Challenge(_, challenge)) = sasl::answer(first(&message).unwrap(), &longest)
    else {
        panic!("no challenge");
    };
    assert!(format!("334 {challenge}\r\n").len() <= 512);
}

#[test]
fn debug_forms_show_only_the_user() {
    let client_first = first(CLIENT_FIRST).unwrap();
    let first_shown = format!("{client_first:?}{:?}", parameters());
    let after_first = answered(client_first, &parameters()).0;
    let after_shown = format!("{after_first:?}");
    let message = format!("c=biws,r={NONCE},p={PROOF}");
    let attempt = after_first.parse(message.as_bytes()).unwrap();
    let attempt = Progress::CheckProof(attempt);
    let shown = format!("{first_shown}{after_shown}{attempt:?}");
    assert!(shown.contains("user"), "{shown}");
    for secret in ["rOpr", "91", "116", "W22Z", "dHzb", "4096"] {
        assert!(!shown.contains(secret), "{secret}: {shown}");
    }
    let confirmed = confirm("user".to_owned(), &[7; 32]);
    assert!(matches!(confirmed, Progress::Challenge(_, text) if text.starts_with("dj1C")));
}

/// Writes a name with the escapes that a client must use.
fn escaped(name: &str) -> String {
    name.replace('=', "=3D").replace(',', "=2C")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn messages_that_a_client_writes_are_parsed(
        user in "[^\\p{Cc}]{1,40}",
        with_identity in any::<bool>(),
        nonce in "[!-+\\--~]{1,64}",
        extension in option::of(",[bdf-hj-loqt-uw-z]=[a-z0-9=]{1,9}"),
        proof in any::<[u8; 32]>(),
        bound in any::<bool>(),
    ) {
        let extension = extension.unwrap_or_default();
        let identity = if with_identity { format!("a={}", escaped(&user)) } else { String::new() };
        let flag = if bound { "p=tls-exporter" } else { "n" };
        let header = format!("{flag},{identity},");
        let bare = format!("n={},r={nonce}{extension}", escaped(&user));
        let message = format!("{header}{bare}");
        let first = ClientFirst::parse(message.as_bytes(), bound, &bindings()).unwrap();
        prop_assert_eq!(first.user(), &user);
        let (expected, server_first) = answered(first, &parameters());
        let data = if bound { account::EXPORTER.to_vec() } else { Vec::new() };
        let binding = STANDARD.encode([header.into_bytes(), data].concat());
        let without_proof = format!("c={binding},r={nonce}{}{extension}", account::NONCE);
        let message = format!("{without_proof},p={}", STANDARD.encode(proof));
        let attempt = expected.parse(message.as_bytes()).unwrap();
        prop_assert_eq!(&attempt.user, &user);
        prop_assert_eq!(attempt.proof, proof);
        let auth_message = format!("{bare},{server_first},{without_proof}");
        prop_assert_eq!(attempt.auth_message, auth_message);
    }

    #[test]
    fn no_message_panics(
        octets in vec(any::<u8>(), 0..60),
        text in "[nyp]=?[a-z-]{0,3},(a=)?[,=23CDa-c]{0,6},[mn]=[=23CDa]{0,5},r=[!-~]{0,9}",
        last in "c=[a-zA-Z+/=]{0,8},r=[!-~]{0,8}(,[a-z]=.{0,3})?,p=[a-zA-Z+/=]{0,44}",
        plus in any::<bool>(),
    ) {
        for message in [octets.as_slice(), text.as_bytes(), last.as_bytes()] {
            for bindings in [bindings(), no_bindings()] {
                if let Ok(first) = ClientFirst::parse(message, plus, &bindings) {
                    prop_assert!(is_user_name(first.user()));
                    prop_assert!(sasl::answer(first, &parameters()).is_ok());
                }
            }
            if let Ok(attempt) = expected().parse(message) {
                prop_assert!(attempt.auth_message.contains(NONCE));
            }
        }
    }
}
