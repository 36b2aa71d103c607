//! The messages of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): only their syntax,
//! not the cryptography.
//!
//! # Theory of operation
//!
//! The client never sends its password. Each side sends a nonce, and then proves that it knows a
//! key derived from the password:
//!
//! ```text
//! C: n,,n=user,r=NONCE                    ClientFirst: who, and bound to which connection
//! S: r=NONCE+OURS,s=SALT,i=ITERATIONS     ClientFirst::answer, from Parameters
//! C: c=BINDING,r=NONCE+OURS,p=PROOF       Expected::parse, which gives an Attempt
//! S: v=SIGNATURE                          server_final, when the proof was right
//! ```
//!
//! The proof covers the *auth message*: everything that was sent except the proof itself. The owner
//! of the keys verifies the [`Attempt`] and signs the same message, which shows the client that
//! this is the right server.
//!
//! # Attacks handled here
//!
//! - A man in the middle who relays the proof: with -PLUS, `c=` has to contain data that is unique
//!   to this connection, and he has a different one.
//! - A man in the middle who hides -PLUS from the client: the client sends `y` ("I would have used
//!   it"), which is a [`Fault::Downgrade`] if -PLUS is offered. `c=` repeats the flag, and the
//!   proof covers it.
//! - A recorded exchange that is replayed: our part of the nonce is new each time, and the client
//!   has to repeat all of it.
//!
//! # Deviations
//! RFC 5802 §6.1 asks for `tls-unique`. TLS 1.3 does not have it (RFC 9266 §1), and with TLS 1.2 it
//! is not safe by itself (RFC 7677 §1), so `tls-exporter` is used instead. Names are not prepared
//! with `SASLprep`; see the parent module.

use std::{fmt, str::Split};

use super::common::{Fault, is_user_name};
use crate::mail::ChannelBindings;
use crate::mail::limits::{SCRAM_FIRST_OCTETS_MAX, SCRAM_ITERATIONS_MIN, SCRAM_NONCE_OCTETS_MAX};

use base64::{Engine, engine::general_purpose::STANDARD};

/// The data stored for a user, or invented for one who does not exist, and the new nonce.
#[derive(Clone, PartialEq, Eq)]
pub struct Parameters {
    /// The salt of the user's keys: at most 32 octets.
    pub salt: Vec<u8>,
    /// How often the password was hashed: at least [`SCRAM_ITERATIONS_MIN`].
    pub iterations: u32,
    /// Random, new for each exchange: printable ASCII without comma, at most 32 octets.
    pub nonce: String,
}

impl fmt::Debug for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parameters(\u{2026})")
    }
}

/// A proof to verify. Its [`Debug`](fmt::Debug) form shows only the user: to somebody with the
/// keys, proof and message together are as good as the password.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The user who would be authenticated.
    pub user: String,
    /// The text that the proof and the server's signature cover (RFC 5802 §3).
    pub auth_message: String,
    /// The client's proof.
    pub proof: [u8; 32],
}

impl fmt::Debug for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attempt")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// The parsed first message of the client.
#[derive(PartialEq, Eq)]
pub struct ClientFirst {
    user: String,
    nonce: String,
    /// The message without its GS2 header.
    bare: String,
    /// What the client has to repeat in `c=`: the GS2 header and the data of the channel binding.
    binding: Vec<u8>,
}

impl fmt::Debug for ClientFirst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientFirst")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// What the last message of the client has to match.
#[derive(PartialEq, Eq)]
pub(super) struct Expected {
    user: String,
    /// Both parts.
    nonce: String,
    /// The auth message up to the client's last message.
    messages: String,
    binding: Vec<u8>,
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Expected")
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

impl ClientFirst {
    /// Parses the client's first message. `plus`: the mechanism is SCRAM-SHA-256-PLUS.
    ///
    /// # Errors
    /// [`Fault`]: the exchange is over.
    pub(super) fn parse(
        message: &[u8],
        plus: bool,
        bindings: &ChannelBindings,
    ) -> Result<Self, Fault> {
        let message = str::from_utf8(message).ok().ok_or(Fault::Message)?;
        let (flag, rest) = message.split_once(',').ok_or(Fault::Message)?;
        let (identity, bare) = rest.split_once(',').ok_or(Fault::Message)?;
        let header = message.strip_suffix(bare).ok_or(Fault::Message)?;
        let data = match flag.strip_prefix("p=") {
            Some(name) if plus => bindings.data(name).ok_or(Fault::ChannelBinding)?,
            None if flag == "n" && !plus => &[],
            None if flag == "y" && !plus && bindings.is_empty() => &[],
            None if flag == "y" && !plus => return Err(Fault::Downgrade),
            // RFC 5801 §5: -PLUS and `p` come together or not at all.
            Some(_) | None => return Err(Fault::Message),
        };
        // A mandatory extension, which is not supported, would come first: `m=`.
        let mut attributes = bare.split(',');
        let user = attribute(attributes.next(), 'n').and_then(name)?;
        let nonce = attribute(attributes.next(), 'r')?;
        check_extensions(attributes)?;
        if !is_nonce(nonce) || nonce.len() > SCRAM_NONCE_OCTETS_MAX {
            return Err(Fault::Message);
        }
        if !identity.is_empty() && attribute(Some(identity), 'a').and_then(name)? != user {
            return Err(Fault::OtherIdentity);
        }
        Ok(Self {
            user,
            nonce: nonce.to_owned(),
            bare: bare.to_owned(),
            binding: [header.as_bytes(), data].concat(),
        })
    }

    /// The user who would be authenticated.
    pub fn user(&self) -> &str {
        &self.user
    }

    /// Continues with the data of the user.
    ///
    /// # Errors
    /// [`Fault::Unavailable`] if a server must not send these `parameters`.
    pub(super) fn answer(self, parameters: &Parameters) -> Result<(Expected, String), Fault> {
        let Parameters {
            salt,
            iterations,
            nonce,
        } = parameters;
        let both = format!("{}{nonce}", self.nonce);
        let salt = STANDARD.encode(salt);
        let server_first = format!("r={both},s={salt},i={iterations}");
        let sound = is_nonce(nonce) && !salt.is_empty() && *iterations >= SCRAM_ITERATIONS_MIN;
        if !sound || server_first.len() > SCRAM_FIRST_OCTETS_MAX {
            return Err(Fault::Unavailable);
        }
        let expected = Expected {
            user: self.user,
            nonce: both,
            messages: format!("{},{server_first}", self.bare),
            binding: self.binding,
        };
        Ok((expected, server_first))
    }
}

impl Expected {
    /// The user of the proof.
    pub(super) fn user(&self) -> &str {
        &self.user
    }

    /// Parses the client's last message and compares it with the earlier ones.
    ///
    /// # Errors
    /// [`Fault`]: the exchange is over.
    pub(super) fn parse(self, message: &[u8]) -> Result<Attempt, Fault> {
        let message = str::from_utf8(message).ok().ok_or(Fault::Message)?;
        let (without_proof, proof) = message.rsplit_once(',').ok_or(Fault::Message)?;
        let proof = attribute(Some(proof), 'p').and_then(octets)?;
        let proof = <[u8; 32]>::try_from(proof).ok().ok_or(Fault::Message)?;
        let mut attributes = without_proof.split(',');
        let binding = attribute(attributes.next(), 'c').and_then(octets)?;
        let nonce = attribute(attributes.next(), 'r')?;
        check_extensions(attributes)?;
        if nonce != self.nonce {
            return Err(Fault::Message);
        }
        if binding != self.binding {
            return Err(Fault::ChannelBinding);
        }
        Ok(Attempt {
            user: self.user,
            auth_message: format!("{},{without_proof}", self.messages),
            proof,
        })
    }
}

/// The last message of the server: its signature.
pub(super) fn server_final(signature: &[u8; 32]) -> String {
    format!("v={}", STANDARD.encode(signature))
}

/// The value of an attribute that must be present under this name.
fn attribute(text: Option<&str>, name: char) -> Result<&str, Fault> {
    text.and_then(|text| text.strip_prefix(name))
        .and_then(|text| text.strip_prefix('='))
        .filter(|value| !value.is_empty() && !value.contains('\0'))
        .ok_or(Fault::Message)
}

/// RFC 5802 §5.1: further attributes are ignored if they are valid. A name with a defined meaning
/// cannot be an extension.
fn check_extensions(attributes: Split<'_, char>) -> Result<(), Fault> {
    for text in attributes {
        let letter = text.chars().next().filter(char::is_ascii_alphabetic);
        let letter = letter.filter(|letter| !"anmrcsipve".contains(*letter));
        attribute(Some(text), letter.ok_or(Fault::Message)?)?;
    }
    Ok(())
}

/// Decodes a `saslname`, where `=2C` means a comma and `=3D` means `=` itself.
fn name(text: &str) -> Result<String, Fault> {
    let mut pieces = text.split('=');
    let mut decoded = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (character, rest) = if let Some(rest) = piece.strip_prefix("2C") {
            (',', rest)
        } else if let Some(rest) = piece.strip_prefix("3D") {
            ('=', rest)
        } else {
            return Err(Fault::Message);
        };
        decoded.push(character);
        decoded.push_str(rest);
    }
    if is_user_name(&decoded) {
        Ok(decoded)
    } else {
        Err(Fault::Message)
    }
}

fn octets(base64: &str) -> Result<Vec<u8>, Fault> {
    STANDARD.decode(base64).ok().ok_or(Fault::Message)
}

/// Printable ASCII without comma, not empty.
fn is_nonce(text: &str) -> bool {
    let printable = |octet: u8| octet.is_ascii_graphic() && octet != b',';
    !text.is_empty() && text.bytes().all(printable)
}

#[cfg(test)]
mod tests;
