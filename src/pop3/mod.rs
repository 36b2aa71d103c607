//! POP3: the command parser, the responses and the session, without a socket.
//!
//! Lines go in as octets without their line ending, [`Step`]s come out: at most one [`Response`],
//! then exactly one [`Action`]. A driver performs the action and hands back one [`Outcome`]. So
//! every dialogue can be replayed in a test, at any split of the input, without a network.
//!
//! Implemented: RFC 1939 (without APOP), RFC 2449 (CAPA, response codes), RFC 2595 §4 (STLS),
//! RFC 3206 (SYS and AUTH response codes), RFC 5034 (AUTH, with the mechanisms of [`mail::sasl`]),
//! RFC 6856 (UTF8, LANG).
//!
//! [`mail::sasl`]: crate::mail::sasl
//!
//! What this room does not do: it opens no socket and no file, reads no clock, writes no log. It
//! does not know how messages are stored, how passwords are verified or how long a session may
//! last; all that arrives as an [`Outcome`].
//!
//! Invariants:
//! - Only QUIT leads to [`Action::RemoveMarked`], and only for messages that DELE has marked
//!   (RFC 1939 §6, I3).
//! - A message is open before `+OK` is said to RETR or TOP.
//! - No response line is longer than [`limits::RESPONSE_LINE_OCTETS_MAX`]; none holds an octet
//!   that the client sent, but for the nonce that SCRAM has to repeat, in base64.
//! - No input and no order of outcomes panics.
//!
//! Known limits: texts are English only; there is no APOP, for it needs passwords in clear on
//! disk; user names and passwords are not prepared with `SASLprep`, so `UTF8` is announced without
//! its `USER` argument (RFC 6856 §2.2), though UTF-8 is accepted in both.

mod command;
pub mod limits;
mod listing;
mod outcome;
mod response;
mod session;
mod step;

pub use command::{Command, SyntaxError};
pub use listing::MessageNumber;
pub use outcome::Outcome;
pub use response::Response;
pub use session::Session;
pub use step::{Action, Extent, Settings, Step};
