//! POP3: the command parser, the responses and the session, without a socket.
//!
//! The input is lines of octets without their line ending. The output is [`Step`]s: at most one
//! [`Response`], then exactly one [`Action`]. A driver performs the action and returns one
//! [`Outcome`]. So a test can replay every dialogue, at any split of the input, without a network.
//!
//! Implemented: RFC 1939 (without APOP), RFC 2449 (CAPA, response codes), RFC 2595 §4 (STLS),
//! RFC 3206 (SYS and AUTH response codes), RFC 5034 (AUTH, with the mechanisms of [`mail::sasl`]),
//! RFC 6856 (UTF8, LANG).
//!
//! [`mail::sasl`]: crate::mail::sasl
//!
//! This room opens no socket and no file, reads no clock, and writes no log. It does not know how
//! messages are stored, how passwords are verified or how long a session can last; all of that
//! arrives as an [`Outcome`].
//!
//! Invariants:
//! - Only QUIT leads to [`Action::RemoveMarked`], and only for messages that DELE has marked
//!   (RFC 1939 §6, I3).
//! - A message is open before RETR or TOP gets `+OK`.
//! - No response line is longer than [`limits::RESPONSE_LINE_OCTETS_MAX`], and none contains an
//!   octet that the client sent, except for the nonce that SCRAM has to repeat, in base64.
//! - No input and no order of outcomes causes a panic.
//!
//! Known limits: texts are English only. There is no APOP, because it needs passwords in clear on
//! disk. User names and passwords are not prepared with `SASLprep`, so `UTF8` is announced without
//! its `USER` argument (RFC 6856 §2.2), although UTF-8 is accepted in both.

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
