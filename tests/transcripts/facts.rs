//! What the facts of `@with` bring about: the connection of a transcript, and what SCRAM knows.
//!
//! One file for all drivers of transcripts, those in the rooms and those outside the crate.

use facteur::mail::sasl::scram::{Attempt, Parameters};
use facteur::mail::{ChannelBindings, Link, Tls};

use super::format::Transcript;
use super::scram;

/// What an encrypted connection of a transcript is bound to.
pub(crate) fn bindings() -> ChannelBindings {
    ChannelBindings {
        exporter: Some(scram::EXPORTER),
        server_end_point: Some(scram::SERVER_END_POINT.to_vec()),
    }
}

/// The connection of a transcript.
pub(crate) fn link(transcript: &Transcript) -> Link {
    let tls = if transcript.has("tls") {
        Tls::Active(bindings())
    } else if transcript.has("starttls") {
        Tls::Offered
    } else {
        Tls::NotOffered
    };
    Link {
        tls,
        is_local: !transcript.has("remote"),
    }
}

/// What SCRAM needs to know of any user: nobody learns so who there is.
pub(crate) fn scram_parameters() -> Parameters {
    Parameters {
        salt: scram::SALT.to_vec(),
        iterations: scram::ITERATIONS,
        nonce: scram::NONCE.to_owned(),
    }
}

/// The signature, if the proof is right.
pub(crate) fn verify(attempt: &Attempt) -> Option<[u8; 32]> {
    scram::verify(&attempt.user, &attempt.auth_message, &attempt.proof)
}
