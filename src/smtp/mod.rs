//! SMTP without the socket: RFC 5321, the server's side, final delivery.
//!
//! A [`Session`] is told what happened as an [`Outcome`] and answers with a [`Step`]: at most one
//! [`Reply`], then exactly one [`Action`] that the driver is to perform. It never sees a socket, a
//! file, a clock or the log, so a test can play every dialogue by calling two functions.
//!
//! Service extensions: PIPELINING (RFC 2920), SIZE (RFC 1870), 8BITMIME (RFC 6152), SMTPUTF8
//! (RFC 6531), ENHANCEDSTATUSCODES (RFC 2034), CHUNKING (RFC 3030, without BINARYMIME), LIMITS
//! (RFC 9422), AUTH (RFC 4954: PLAIN and LOGIN), STARTTLS (RFC 3207) where the driver offers it,
//! and HELP.

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
pub use reply::Reply;
pub use session::Session;
pub use step::{Action, Framing, Settings, Step, Submission, Tls};
