//! Octets on their way in and out: lines, line endings, transparency dots, the top of a message.
//!
//! Every codec here is incremental: it accepts its input in pieces of any length, with the same
//! result as for the whole. None of them does I/O, reads a clock, or knows a verb of any protocol.
//! The caller decides what a line means and how much of a message is too much.
//!
//! # Line endings
//! A session uses CRLF, as the protocols require, or bare LF, as people at a terminal do. Its first
//! line decides (see [`LineBuffer`]), and everything after it must have the same [`LineEnding`]. If
//! a server that accepts `LF.CRLF` as the end of a message stands behind one that does not, it can
//! be made to see two messages where there was one ("SMTP smuggling"). Here only the terminator of
//! the session's mode ends a message, and everything that could be mistaken for another one is a
//! [`LineEndingFault`] (SEC-1). Other bare CRs and LFs in a content are refused or accepted, as the
//! caller chooses ([`BareOctets`]).
//!
//! # Stored form
//! The decoders return content with LF line endings, as Maildirs store it. [`DotEncoder`] restores
//! the octets exactly, except that an accepted bare LF comes back as CRLF.

mod chunk;
mod dot;
mod line;
mod top;

#[cfg(test)]
mod tests;

pub use chunk::ChunkDecoder;
pub use dot::{DotDecoder, DotEncoder, Progress};
pub use line::{BareOctets, LfPolicy, LineBuffer, LineEnding, LineEndingFault, Scan};
pub use top::TopCut;
