//! SMTP without the socket: RFC 5321, the server's side, final delivery.
//!
//! A [`Session`] is told what happened as an [`Outcome`] and answers with a [`Step`]: at most one
//! [`Reply`], then exactly one [`Action`] that the driver is to perform. It never sees a socket, a
//! file, a clock or the log, so a test can play every dialogue by calling two functions.
//!
//! Service extensions: PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8
//! (RFC 6531), ENHANCEDSTATUSCODES (RFC 2034), CHUNKING (RFC 3030, without BINARYMIME), LIMITS
//! (RFC 9422), AUTH (RFC 4954, with the mechanisms of [`mail::sasl`]), STARTTLS (RFC 3207) where
//! the driver offers it, and HELP. Message submission (RFC 6409): what a listener asks of its
//! clients is a setting, [`Senders`].
//!
//! [`mail::sasl`]: crate::mail::sasl
//!
//! # Deviations
//!
//! - RFC 5321 §3.8 lets a server close only after QUIT, after 421 or on a timeout. We also close
//!   after 500, 501, 550 and 552 where it is not known any more what the next octets are: commands
//!   or content (SEC-1, SEC-13).
//! - RFC 5321 §2.3.8 knows lines that end in CRLF only. A client on this machine may end all of its
//!   lines in LF instead, because people type at this port with programs that do.
//! - RFC 5321 §4.2 begins 220, 221 and 421 with the name of the host. Our 221 is what it always
//!   was, and 421 says what happened.
//! - RFC 2034 §4 wants enhanced status codes in every reply. They begin with EHLO, which announces
//!   them: who says HELO gets the plain texts.
//! - RFC 5321 §4.1.1.1 wants a domain or a literal after HELO and EHLO. Any one word will do.

mod command;
pub mod limits;
mod outcome;
mod reply;
mod session;
mod step;
#[cfg(test)]
mod tests;

pub use command::{Command, Context, MailParameters, SyntaxError};
pub use outcome::{ContentEnd, DeliveryFailure, Outcome, RecipientVerdict};
pub use reply::{Reason, Reply};
pub use session::Session;
pub use step::{Action, Framing, Senders, Settings, Step, Submission};
