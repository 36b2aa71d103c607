//! How a session ends its connection.

use super::Foreign;

/// Why a session closes its connection, and so how it is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The client has said QUIT.
    Quit,
    /// The session does not go on; the last thing that was said, if anything was, tells why.
    Refused,
    /// The client speaks this instead of the protocol of its port.
    Foreign(Foreign),
}
