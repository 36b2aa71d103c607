//! The pure sessions with a driver that lives in memory: octets in, octets out, no socket.
//!
//! It is what `server` is, without threads, clocks and files, and it never blocks: where more
//! octets are needed it stops and goes on when they are fed. So a dialogue can be cut anywhere.

pub(crate) mod pop3;
pub(crate) mod smtp;

use facteur::wire::LineBuffer;

/// Puts `octets` into `buffer` as if one read had brought them.
fn fill(buffer: &mut LineBuffer, octets: &[u8]) {
    if !octets.is_empty() {
        buffer.space(octets.len())[..octets.len()].copy_from_slice(octets);
        buffer.filled(octets.len());
    }
}
