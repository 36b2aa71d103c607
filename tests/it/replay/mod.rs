//! A driver in memory for the pure sessions: octets in, octets out, no socket.
//!
//! It does the work of `server`, without threads, clocks and files, and it never blocks: when more
//! octets are needed it stops, and continues when they are fed. So a dialogue can be cut anywhere.

pub(crate) mod pop3;
pub(crate) mod smtp;

use facteur::mail::{ChannelBindings, Link, Tls};
use facteur::wire::LineBuffer;

use crate::transcripts::{Transcript, scram};

/// Puts `octets` into `buffer` as if one read had returned them.
fn fill(buffer: &mut LineBuffer, octets: &[u8]) {
    if !octets.is_empty() {
        buffer.space(octets.len())[..octets.len()].copy_from_slice(octets);
        buffer.filled(octets.len());
    }
}

/// The channel binding of an encrypted connection in a transcript.
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
