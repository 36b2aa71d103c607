//! The pure sessions with a driver that lives in memory: octets in, octets out, no socket.
//!
//! It is what `server` is, without threads, clocks and files, and it never blocks: where more
//! octets are needed it stops and goes on when they are fed. So a dialogue can be cut anywhere.

pub(crate) mod pop3;
pub(crate) mod smtp;

use facteur::mail::{ChannelBindings, Link, Tls};
use facteur::wire::LineBuffer;

use crate::transcripts::{Transcript, scram};

/// Puts `octets` into `buffer` as if one read had brought them.
fn fill(buffer: &mut LineBuffer, octets: &[u8]) {
    if !octets.is_empty() {
        buffer.space(octets.len())[..octets.len()].copy_from_slice(octets);
        buffer.filled(octets.len());
    }
}

/// What an encrypted connection of a transcript is bound to.
fn bindings() -> ChannelBindings {
    ChannelBindings {
        exporter: Some(scram::EXPORTER),
    }
}

/// The connection of a transcript.
fn link(transcript: &Transcript) -> Link {
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
