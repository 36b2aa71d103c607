//! Octets on their way in and out: lines, line endings, transparency dots, the first lines of a
//! message.
//!
//! Every codec here is incremental: it may be given its input in pieces of any length and gives the
//! same result as for the whole. None does I/O, reads a clock, or knows a verb of any protocol; who
//! calls decides what a line means and how much of a message is too much.
//!
//! # Line endings
//! A session speaks with CRLF, as the protocols demand, or with bare LF, as people at a terminal
//! do; its first line decides (see [`LineBuffer`]) and everything after it is held to the same
//! [`LineEnding`]. A server that takes `LF.CRLF` for the end of a message behind one that does not
//! can be made to see two messages where there was one ("SMTP smuggling"); here nothing but the one
//! terminator of the session's mode ends a message, and everything that could be taken for another
//! is a [`LineEndingFault`] (SEC-1). Other bare CRs and LFs in a content are refused or accepted,
//! as the caller wants ([`BareOctets`]).
//!
//! # Stored form
//! The decoders give content with LF line endings, which is how Maildirs keep it. [`DotEncoder`]
//! gives the octets back exactly, but for a bare LF that was accepted: it comes back as CRLF.

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
