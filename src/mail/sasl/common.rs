//! What the messages of all mechanisms have in common.

use crate::mail::limits::USER_NAME_OCTETS_MAX;

/// Why an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The response is not base64.
    Base64,
    /// The client has sent `*`.
    Cancelled,
    /// The client's proof is for another connection, or has a binding that is not available.
    ChannelBinding,
    /// The client believes that SCRAM-SHA-256-PLUS is not offered, and it is (RFC 5802 §6).
    Downgrade,
    /// The response is not a message of the mechanism.
    Message,
    /// The client wants to act for another user.
    OtherIdentity,
    /// The stored data of the user cannot be used.
    Unavailable,
}

/// Whether `text` can be a user name: it is not empty, no longer than an address, and has no
/// control characters.
pub(super) fn is_user_name(text: &str) -> bool {
    (1..=USER_NAME_OCTETS_MAX).contains(&text.len()) && !text.chars().any(char::is_control)
}
