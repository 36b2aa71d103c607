//! SASL (RFC 4422): the exchange that AUTH begins, the same for SMTP (RFC 4954) and POP3
//! (RFC 5034).
//!
//! It turns what a client sends after AUTH into questions for the caller, such as whether a
//! password is right. It does not answer them, does not know when AUTH is allowed, and has no texts
//! for the client: each protocol has its own for a challenge, for success and for each [`Fault`].
//!
//! # Theory of operation
//!
//! [`begin`] handles the AUTH command and [`Exchange::respond`] each line after it. Both return a
//! [`Progress`]: send a challenge and read the next line, or answer a question.
//!
//! ```text
//! AUTH PLAIN ─▶ Plain ─message─▶ CheckPassword
//! AUTH LOGIN ─▶ LoginUser ─name─▶ LoginPassword ─password─▶ CheckPassword
//! AUTH SCRAM ─▶ ScramFirst ─message─▶ BeginScram
//!                 ClientFirst::answer ─▶ ScramFinal ─message─▶ CheckProof
//!                             confirm ─▶ ScramEnd ─nothing─▶ Authenticated
//! ```
//!
//! SCRAM asks twice and continues with the answers. Its last challenge is the server's own proof;
//! the client acknowledges it with an empty response (RFC 4954 §4, RFC 5034 §4), and only then is
//! it authenticated.
//!
//! An initial response takes the place of the first line. Any [`Fault`] ends the exchange.
//!
//! # Failures
//! A fault has a kind and no details, which could contain part of a password.
//!
//! # Known limits
//! Names and passwords are UTF-8 and are compared as they are: `SASLprep` (RFC 4013) is not
//! applied. It would not change ASCII; a user with any other name or password has to write it in
//! the same normal form each time. No user can act for another. There is no security layer.

mod common;
mod plain;
pub mod scram;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::{
    credentials::{Credentials, Secret},
    disclosure::Disclosure,
    link::{ChannelBindings, Link, Tls},
};

pub use common::Fault;

use common::is_user_name;
use scram::{Attempt, ClientFirst, Expected};

/// "Username:" and "Password:" in base64, which widely used clients require
/// (draft-murchison-sasl-login §2.2).
const USER_NAME_CHALLENGE: &str = "VXNlcm5hbWU6";
const PASSWORD_CHALLENGE: &str = "UGFzc3dvcmQ6";

/// How a client can prove its identity, in the order in which mechanisms are offered, best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// RFC 7677, bound to the encrypted connection.
    ScramSha256Plus,
    /// RFC 7677: a proof instead of the password.
    ScramSha256,
    /// RFC 4616: name and password in one message.
    Plain,
    /// draft-murchison-sasl-login: obsolete, but some clients know nothing else.
    Login,
}

impl Mechanism {
    const ALL: [Self; 4] = [
        Self::ScramSha256Plus,
        Self::ScramSha256,
        Self::Plain,
        Self::Login,
    ];

    /// Recognises a name, which may be written in any case (RFC 4422 §3.1).
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
    }

    /// The registered name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Plain => "PLAIN",
            Self::Login => "LOGIN",
        }
    }
}

/// Other mechanisms from the registry of RFC 4422, and some that are in no registry; none is
/// offered.
const OTHER_MECHANISMS: [&str; 15] = [
    "ANONYMOUS",
    "CRAM-MD5",
    "DIGEST-MD5",
    "EXTERNAL",
    "GS2-KRB5",
    "GSS-SPNEGO",
    "GSSAPI",
    "KERBEROS_V4",
    "NTLM",
    "OAUTHBEARER",
    "SCRAM-SHA-1",
    "SCRAM-SHA-1-PLUS",
    "SCRAM-SHA-512",
    "SCRAM-SHA-512-PLUS",
    "XOAUTH2",
];

/// The part of an AUTH command that may be shown; its verb has `verb_octets`. A word after the verb
/// that is not the name of a mechanism might be a response.
pub fn disclose_command(line: &[u8], verb_octets: usize) -> Disclosure<'_> {
    let rest = line.get(verb_octets..).unwrap_or_default();
    let rest = rest.trim_ascii_start();
    let name = rest.split(u8::is_ascii_whitespace).next();
    let name = name.unwrap_or_default();
    let ours = Mechanism::ALL.into_iter().map(Mechanism::name);
    let is_name = ours
        .chain(OTHER_MECHANISMS)
        .any(|known| known.as_bytes().eq_ignore_ascii_case(name));
    let octets = if is_name {
        let behind_name = rest.len().saturating_sub(name.len());
        line.len().saturating_sub(behind_name)
    } else {
        verb_octets
    };
    Disclosure::beginning(line, octets)
}

/// The part of a line within an exchange that may be shown: only that it cancels the exchange. A
/// SCRAM proof is enough to guess passwords offline.
pub fn disclose_response(line: &[u8]) -> Disclosure<'_> {
    match line {
        b"*" | b"" => Disclosure::whole(line),
        _ => Disclosure::NOTHING,
    }
}

/// A login whose exchange is in progress.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Login<'a> {
    /// The name of its mechanism.
    pub mechanism: &'static str,
    /// The user by the given name, once that is known; it has to be escaped before it is shown.
    pub user: Option<&'a str>,
}

/// An exchange that waits for a response of the client.
#[derive(Debug, PartialEq, Eq)]
pub struct Exchange(Awaited);

/// The response that is awaited.
#[derive(Debug, PartialEq, Eq)]
enum Awaited {
    /// The one message of PLAIN.
    Plain,
    /// The user name of LOGIN.
    LoginUser,
    /// The password of LOGIN, for this user.
    LoginPassword(String),
    /// The first message of SCRAM.
    ScramFirst {
        /// Whether the mechanism is the one with channel binding.
        plus: bool,
        /// What the proof can be bound to.
        bindings: ChannelBindings,
    },
    /// The last message of SCRAM.
    ScramFinal(Expected),
    /// Only the final acknowledgement, from this user.
    ScramEnd(String),
}

/// What an exchange needs next.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// Send the challenge, which is in base64 and can be empty, and pass the next line to the
    /// exchange.
    Challenge(Exchange, String),
    /// The exchange is over: verify the password.
    CheckPassword(Credentials),
    /// Look up what is stored for the user and pass it to [`answer`].
    BeginScram(ClientFirst),
    /// Verify the proof. If it is right, continue with [`confirm`]; otherwise the exchange is over.
    CheckProof(Attempt),
    /// The exchange is over: this user is authenticated.
    Authenticated(String),
}

/// The mechanisms that can be used on this connection in its present state: none where others could
/// read a secret (SEC-2), SCRAM only if there are keys to verify proofs with (`scram`), and -PLUS
/// only if there is something to bind to.
pub fn offered(link: &Link, scram: bool) -> &'static [Mechanism] {
    const PASSWORDS: &[Mechanism] = &[Mechanism::Plain, Mechanism::Login];
    const WITH_SCRAM: &[Mechanism] = &[Mechanism::ScramSha256, Mechanism::Plain, Mechanism::Login];
    const ALL: &[Mechanism] = &Mechanism::ALL;
    match &link.tls {
        _ if !link.is_private() => &[],
        _ if !scram => PASSWORDS,
        Tls::Active(bindings) if !bindings.is_empty() => ALL,
        Tls::NotOffered | Tls::Offered | Tls::Active(_) => WITH_SCRAM,
    }
}

/// The names of mechanisms, each with a space before it, as both protocols list them.
pub fn names(mechanisms: &[Mechanism]) -> String {
    mechanisms
        .iter()
        .flat_map(|mechanism| [" ", mechanism.name()])
        .collect()
}

/// Begins an exchange of `mechanism`, which is [`offered`] on this connection; `initial_response`
/// is in base64, or `=` if it is empty.
///
/// # Errors
/// [`Fault`]: report it to the client; there is no exchange.
pub fn begin(
    mechanism: Mechanism,
    link: &Link,
    initial_response: Option<&str>,
) -> Result<Progress, Fault> {
    let scram_first = |plus| Awaited::ScramFirst {
        plus,
        bindings: match &link.tls {
            Tls::Active(bindings) => bindings.clone(),
            Tls::NotOffered | Tls::Offered => ChannelBindings::default(),
        },
    };
    let (awaited, challenge) = match mechanism {
        Mechanism::ScramSha256Plus => (scram_first(true), ""),
        Mechanism::ScramSha256 => (scram_first(false), ""),
        Mechanism::Plain => (Awaited::Plain, ""),
        Mechanism::Login => (Awaited::LoginUser, USER_NAME_CHALLENGE),
    };
    match initial_response {
        None => Ok(Progress::challenge(awaited, challenge)),
        // RFC 4954 §4, RFC 5034 §4: an empty response, as opposed to none.
        Some("=") => Exchange(awaited).respond(b""),
        Some(response) => Exchange(awaited).respond(response.as_bytes()),
    }
}

/// Continues with what is stored for the user, or invented for a user who does not exist.
///
/// # Errors
/// [`Fault::Unavailable`] if a server must not send these `parameters`.
pub fn answer(first: ClientFirst, parameters: &scram::Parameters) -> Result<Progress, Fault> {
    let (expected, message) = first.answer(parameters)?;
    let awaited = Awaited::ScramFinal(expected);
    Ok(Progress::challenge(awaited, &STANDARD.encode(message)))
}

/// Continues if the proof of `user` was right, with the server's own over the same auth message.
pub fn confirm(user: String, signature: &[u8; 32]) -> Progress {
    let message = scram::server_final(signature);
    Progress::challenge(Awaited::ScramEnd(user), &STANDARD.encode(message))
}

impl Exchange {
    /// The user who wants to log in, once that is known.
    pub fn user(&self) -> Option<&str> {
        match &self.0 {
            Awaited::Plain | Awaited::LoginUser | Awaited::ScramFirst { .. } => None,
            Awaited::LoginPassword(user) | Awaited::ScramEnd(user) => Some(user),
            Awaited::ScramFinal(expected) => Some(expected.user()),
        }
    }

    /// Handles the client's `line`, base64 or `*`.
    ///
    /// # Errors
    /// [`Fault`]: report it to the client; the exchange is over.
    pub fn respond(self, line: &[u8]) -> Result<Progress, Fault> {
        if line == b"*" {
            return Err(Fault::Cancelled);
        }
        let message = decode_base64(line).ok_or(Fault::Base64)?;
        match self.0 {
            Awaited::Plain => plain::parse(&message).map(Progress::CheckPassword),
            Awaited::LoginUser => {
                let user = String::from_utf8(message)
                    .ok()
                    .filter(|user| is_user_name(user));
                let user = user.ok_or(Fault::Message)?;
                Ok(Progress::challenge(
                    Awaited::LoginPassword(user),
                    PASSWORD_CHALLENGE,
                ))
            }
            Awaited::LoginPassword(user) => {
                // draft-murchison-sasl-login §2: anything except NUL, CR and LF.
                let password = String::from_utf8(message)
                    .ok()
                    .filter(|text| !text.contains(['\0', '\r', '\n']))
                    .ok_or(Fault::Message)?;
                let password = Secret::new(password);
                Ok(Progress::CheckPassword(Credentials { user, password }))
            }
            Awaited::ScramFirst { plus, bindings } => {
                ClientFirst::parse(&message, plus, &bindings).map(Progress::BeginScram)
            }
            Awaited::ScramFinal(expected) => expected.parse(&message).map(Progress::CheckProof),
            Awaited::ScramEnd(user) if message.is_empty() => Ok(Progress::Authenticated(user)),
            Awaited::ScramEnd(_) => Err(Fault::Message),
        }
    }
}

impl Progress {
    fn challenge(awaited: Awaited, base64: &str) -> Self {
        Self::Challenge(Exchange(awaited), base64.to_owned())
    }
}

/// Decodes `text` strictly by RFC 4648 §4: the alphabet with `+` and `/`, padding required, no line
/// endings or spaces, unused bits zero. An empty text is valid.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

#[cfg(test)]
mod tests;
