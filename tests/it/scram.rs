//! SCRAM-SHA-256 and -PLUS (RFC 5802, RFC 7677), with a client written for these tests.

use std::num::NonZeroU32;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use facteur::mail::{Door, Service as Protocol};
use ring::{digest, hmac, pbkdf2};

use crate::support::{Client, Server};

/// An account with the password "pencil" for SCRAM (the keys of RFC 7677 §3) and "password"
/// otherwise.
const ACCOUNTS: &str = "scram_plus = true\n\
    limits.refused_login_seconds = 0\n\
    [[accounts]]\n\
    address = \"user@example.com\"\n\
    password = [\"$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$\
    nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4\", \
    \"SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$\
    WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=:\
    wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=\"]\n";

/// How a protocol frames an exchange.
trait Framing {
    /// What the server sends after the mechanism's name and the initial response.
    const CHALLENGE: &'static str;
    const SUCCESS: &'static str;
    const REFUSAL: &'static str;
}

struct Smtp;
impl Framing for Smtp {
    const CHALLENGE: &'static str = "334 ";
    const SUCCESS: &'static str = "235 2.7.0 ";
    const REFUSAL: &'static str = "535 5.7.8 ";
}

struct Pop3;
impl Framing for Pop3 {
    const CHALLENGE: &'static str = "+ ";
    const SUCCESS: &'static str = "+OK ";
    const REFUSAL: &'static str = "-ERR [AUTH] ";
}

/// What a client sends for channel binding: its GS2 header and the data.
struct Binding {
    mechanism: &'static str,
    header: &'static str,
    data: Vec<u8>,
}

impl Binding {
    fn none() -> Self {
        Self {
            mechanism: "SCRAM-SHA-256",
            header: "n,,",
            data: Vec::new(),
        }
    }

    fn exporter(data: Vec<u8>) -> Self {
        Self {
            mechanism: "SCRAM-SHA-256-PLUS",
            header: "p=tls-exporter,,",
            data,
        }
    }
}

fn mac(key: &[u8], text: &[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    hmac::sign(&key, text).as_ref().to_vec()
}

/// The value of an attribute in a message of the server.
fn attribute<'a>(message: &'a str, name: &str) -> &'a str {
    let mut attributes = message.split(',');
    let value = attributes.find_map(|text| text.strip_prefix(name));
    value.unwrap()
}

/// Logs in by SCRAM, and checks the server's signature; returns its last line.
fn log_in<F: Framing>(
    client: &mut Client,
    user: &str,
    password: &str,
    binding: &Binding,
) -> Result<String, String> {
    let bare = format!("n={user},r=rOprNGfwEbeRWgbNEkqO");
    let first = STANDARD.encode(format!("{}{bare}", binding.header));
    client.say(&format!("AUTH {} {first}", binding.mechanism));
    let line = client.line();
    let challenge = line.strip_prefix(F::CHALLENGE).ok_or(line.clone())?;
    let server_first = String::from_utf8(STANDARD.decode(challenge).unwrap()).unwrap();
    let nonce = attribute(&server_first, "r=");
    assert!(nonce.starts_with("rOprNGfwEbeRWgbNEkqO"), "{server_first}");
    let salt = STANDARD.decode(attribute(&server_first, "s=")).unwrap();
    let iterations: NonZeroU32 = attribute(&server_first, "i=").parse().unwrap();
    let mut salted = [0; 32];
    let algorithm = pbkdf2::PBKDF2_HMAC_SHA256;
    pbkdf2::derive(
        algorithm,
        iterations,
        &salt,
        password.as_bytes(),
        &mut salted,
    );
    let client_key = mac(&salted, b"Client Key");
    let stored_key = digest::digest(&digest::SHA256, &client_key);
    let bound = [binding.header.as_bytes(), &binding.data].concat();
    let without_proof = format!("c={},r={nonce}", STANDARD.encode(bound));
    let auth_message = format!("{bare},{server_first},{without_proof}");
    let signature = mac(stored_key.as_ref(), auth_message.as_bytes());
    let proof: Vec<u8> = client_key
        .iter()
        .zip(&signature)
        .map(|(a, b)| a ^ b)
        .collect();
    let last = format!("{without_proof},p={}", STANDARD.encode(proof));
    client.say(&STANDARD.encode(last));
    let line = client.line();
    let challenge = line.strip_prefix(F::CHALLENGE).ok_or(line.clone())?;
    let server_last = STANDARD.decode(challenge).unwrap();
    let server_key = mac(&salted, b"Server Key");
    let expected = STANDARD.encode(mac(&server_key, auth_message.as_bytes()));
    assert_eq!(server_last, format!("v={expected}").as_bytes());
    client.say("");
    Ok(client.line())
}

/// A client of each protocol, with immediate TLS.
fn clients(server: &Server) -> (Client, Client) {
    let mut smtp = Client::connect(server.address(Protocol::Smtp, Door::Tls)).begin_tls();
    smtp.expect_prefix("220 ");
    smtp.say("EHLO test");
    let keywords = smtp.reply();
    let expected = "AUTH SCRAM-SHA-256-PLUS SCRAM-SHA-256 PLAIN LOGIN".to_owned();
    assert!(keywords.contains(&expected), "{keywords:?}");
    let mut pop3 = Client::connect(server.address(Protocol::Pop3, Door::Tls)).begin_tls();
    pop3.expect_prefix("+OK");
    (smtp, pop3)
}

#[track_caller]
fn expect<F: Framing>(said: Result<String, String>, success: bool) {
    let (expected, line) = match said {
        Ok(line) => (success.then_some(F::SUCCESS), line),
        Err(line) => ((!success).then_some(F::REFUSAL), line),
    };
    assert!(expected.is_some_and(|it| line.starts_with(it)), "{line}");
}

#[test]
fn a_user_logs_in_with_a_proof() {
    let server = Server::with_tls(ACCOUNTS);
    for plus in [false, true] {
        let (mut smtp, mut pop3) = clients(&server);
        let binding_of = |client: &Client| {
            if plus {
                Binding::exporter(client.exporter())
            } else {
                Binding::none()
            }
        };
        let bindings = (binding_of(&smtp), binding_of(&pop3));
        for user in ["user@example.com", "user"] {
            let refused = log_in::<Smtp>(&mut smtp, user, "pen", &bindings.0);
            expect::<Smtp>(refused, false);
            let refused = log_in::<Pop3>(&mut pop3, user, "pen", &bindings.1);
            expect::<Pop3>(refused, false);
        }
        let accepted = log_in::<Smtp>(&mut smtp, "user", "pencil", &bindings.0);
        expect::<Smtp>(accepted, true);
        let accepted = log_in::<Pop3>(&mut pop3, "user", "pencil", &bindings.1);
        expect::<Pop3>(accepted, true);
    }
}

/// SEC-11: an unknown user gets the same answers as a known one, and the same each time.
#[test]
fn an_unknown_user_gets_a_challenge_too() {
    let server = Server::with_tls(ACCOUNTS);
    let first = STANDARD.encode("n,,n=nobody@example.com,r=abc");
    let mut parameters = Vec::new();
    for _ in 0..2 {
        let (mut smtp, _) = clients(&server);
        smtp.say(&format!("AUTH SCRAM-SHA-256 {first}"));
        let challenge = smtp.expect_prefix("334 ");
        let message = STANDARD.decode(&challenge[4..]).unwrap();
        let message = String::from_utf8(message).unwrap();
        let (_, rest) = message.split_once(",s=").unwrap();
        assert!(
            rest.ends_with("==,i=4096") && rest.len() == 24 + 7,
            "{message}"
        );
        parameters.push(rest.to_owned());
        smtp.say("*");
        smtp.expect_prefix("501 ");
        let binding = Binding::none();
        let refused = log_in::<Smtp>(&mut smtp, "nobody@example.com", "x", &binding);
        expect::<Smtp>(refused, false);
    }
    assert_eq!(parameters[0], parameters[1]);
}

/// A proof that was made for another connection is worthless.
#[test]
fn a_proof_for_another_connection_is_refused() {
    let server = Server::with_tls(ACCOUNTS);
    let (mut smtp, pop3) = clients(&server);
    let elsewhere = Binding::exporter(pop3.exporter());
    let refused = log_in::<Smtp>(&mut smtp, "user", "pencil", &elsewhere);
    assert!(refused.is_err(), "{refused:?}");
    smtp.say("MAIL FROM:<user@example.com>");
    smtp.expect_prefix("250 ");
}

/// Clients of GNU SASL choose -PLUS whenever it is offered, and some of them fail with it.
#[test]
fn plus_is_not_offered_by_default() {
    let server = Server::with_tls(&ACCOUNTS.replace("scram_plus = true\n", ""));
    let mut smtp = Client::connect(server.address(Protocol::Smtp, Door::Tls)).begin_tls();
    smtp.expect_prefix("220 ");
    smtp.say("EHLO test");
    let keywords = smtp.reply();
    let expected = "AUTH SCRAM-SHA-256 PLAIN LOGIN".to_owned();
    assert!(keywords.contains(&expected), "{keywords:?}");
    // RFC 5802 §6: a client that could use channel binding, but was not offered it, says so.
    let binding = Binding {
        header: "y,,",
        ..Binding::none()
    };
    let accepted = log_in::<Smtp>(&mut smtp, "<user@example.com>", "pencil", &binding);
    expect::<Smtp>(accepted, true);
    let mut pop3 = Client::connect(server.address(Protocol::Pop3, Door::Tls)).begin_tls();
    pop3.expect_prefix("+OK");
    pop3.say("AUTH SCRAM-SHA-256-PLUS");
    pop3.expect_prefix("-ERR Mechanism is not offered");
}

/// SEC-11, SEC-12: without keys for every account SCRAM is not offered.
#[test]
fn scram_is_not_offered_without_keys() {
    let without = ACCOUNTS
        .replace("password = [", "password = ")
        .replace("\", \"SCRAM", "\"#");
    let server = Server::with_tls(&without);
    let mut smtp = Client::connect(server.address(Protocol::Smtp, Door::Tls)).begin_tls();
    smtp.expect_prefix("220 ");
    smtp.say("EHLO test");
    let keywords = smtp.reply();
    assert!(
        keywords.contains(&"AUTH PLAIN LOGIN".to_owned()),
        "{keywords:?}"
    );
    smtp.say("AUTH SCRAM-SHA-256");
    smtp.expect_prefix("504 ");
}
