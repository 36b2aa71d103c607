//! What a driver reports to its session: the result of an action, or an event instead of it.
//!
//! Failures of sockets and disks arrive here in protocol terms.

use std::fmt;

use crate::mail::Ending;

use super::response::Response;

/// What happened: the result of an action, or an event instead of it. Its [`Debug`](fmt::Debug)
/// form shows only its name and nothing of the octets, which might contain a password.
#[derive(PartialEq, Eq)]
pub enum Outcome<'a> {
    /// Octets: at least one, and no more than were asked for.
    Octets(&'a [u8]),
    /// There is no memory for the body of the request now.
    NoMemory,
    /// The response to the request.
    Response(Box<Response>),
    /// The body of the response was sent to its end.
    BodySent,
    /// The body of the response could not be sent to its end.
    BodyFailed,
    /// The session has to end.
    Ended(Ending),
}

impl fmt::Debug for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Octets(_) => "Octets",
            Self::NoMemory => "NoMemory",
            Self::Response(_) => "Response",
            Self::BodySent => "BodySent",
            Self::BodyFailed => "BodyFailed",
            Self::Ended(_) => "Ended",
        })
    }
}
