//! Reading a mail for display, and writing one (RFC 2045 to RFC 2049, RFC 2231, RFC 2183).
//!
//! A [`Walk`] goes once through a message, in pieces of any size, and ends with an [`Outline`]:
//! where each part is, and what it says about itself. A [`Summary`] and the fields of the header
//! section come from the outline. Bodies are read by their offsets: a [`Decoder`] undoes the
//! transfer encoding, and [`to_text`] the charset. [`extract`] finds links and codes in the result.
//! A [`Draft`] becomes a message, from which the same comes out.
//!
//! ```text
//! message ──► Walk ──► Outline ──► Summary, Field
//!                         │ offsets
//! message ──► Decoder ──► to_text ──► extract::links, extract::codes
//! ```
//!
//! This room does no I/O, reads no clock and writes no log. Receiving, storing and returning mail
//! do not use it (SEC-10).
//!
//! # Invariants
//!
//! - No input is refused, except by the walk as too complex: what breaks the rules is read in some
//!   way. No input causes a panic here, and one in `mail-parser` is caught.
//! - Time is linear in the length of the input, memory has a limit, and nothing recurses.
//! - The crate `mail-parser` is given one field or one text, and never a message: see `guarded.rs`.
//!
//! # Known limits
//!
//! Parts of type message/partial and message/external-body are attachments. Encrypted and signed
//! messages are shown as what they are, multiparts; no signature is checked.

mod charset;
mod compose;
pub mod extract;
mod guarded;
mod header;
mod html;
pub mod limits;
mod outline;
mod parameters;
mod part;
mod person;
mod summary;
mod transfer;
mod walk;
mod words;

#[cfg(test)]
mod tests;

pub use charset::to_text;
pub use compose::{Attachment, Draft};
pub use header::Field;
pub use html::html_to_text;
pub use outline::Outline;
pub use part::{Disposition, Extent, Part};
pub use person::Person;
pub use summary::Summary;
pub use transfer::{Decoder, Encoding, decode};
pub use walk::{TooComplex, Walk};
