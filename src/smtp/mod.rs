//! SMTP without the socket: RFC 5321, the server's side, final delivery.
//!
//! A [`Session`] receives what happened as an [`Outcome`] and answers with a [`Step`]: at most one
//! [`Reply`], then exactly one [`Action`] for the driver. It never sees a socket, a file, a clock
//! or the log, so a test can play every dialogue by calling two functions.
//!
//! Service extensions: PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8
//! (RFC 6531), ENHANCEDSTATUSCODES (RFC 2034), CHUNKING (RFC 3030, without BINARYMIME), LIMITS
//! (RFC 9422), AUTH (RFC 4954, with the mechanisms of [`mail::sasl`]), STARTTLS (RFC 3207) where
//! the driver offers it, and HELP. Message submission (RFC 6409): the setting [`Senders`]
//! determines what a listener requires of its clients. LMTP (RFC 2033): the setting [`Dialect`].
//!
//! [`mail::sasl`]: crate::mail::sasl
//!
//! # Deviations
//!
//! - RFC 5321 §3.8 lets a server close only after QUIT, after 421 or on a timeout. We also close
//!   after 500, 501, 550 and 552 if it is no longer known whether the next octets are commands or
//!   content (SEC-1, SEC-13).
//! - RFC 5321 §2.3.8 knows only lines that end in CRLF. A client on this machine, or in a network
//!   of `open_to`, may end all of its lines in LF instead, because people use this port with
//!   programs that do.
//! - RFC 5321 §4.2 begins 220, 221 and 421 with the name of the host. Our 221 is a fixed text, and
//!   our 421 says what happened.
//! - RFC 2034 §4 requires enhanced status codes in every reply. They begin with EHLO, which
//!   announces them: a client that sends HELO gets the plain texts.
//! - RFC 5321 §4.1.1.1 requires a domain or a literal after HELO and EHLO. Any single word is
//!   accepted.

mod command;
pub mod limits;
mod outcome;
mod reply;
mod session;
mod step;
#[cfg(test)]
mod tests;

pub use command::{Command, Context, MailParameters, SyntaxError};
pub use outcome::{ContentEnd, DeliveryFailure, MailboxFailure, Outcome, RecipientVerdict};
pub use reply::{Reason, Reply};
pub use session::Session;
pub use step::{Action, Dialect, Framing, Senders, Settings, Step, Submission};
