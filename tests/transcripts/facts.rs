//! The facts that SCRAM uses in transcripts.
//!
//! One file for the driver of transcripts and for the tests of the sessions.

use facteur::mail::sasl::scram::{Attempt, Parameters};

use super::scram;

/// SCRAM's facts about any user: nobody learns from them which users exist.
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
