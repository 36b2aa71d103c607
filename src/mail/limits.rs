//! Every limit of the vocabulary's exchanges, each with its reason.
//!
//! The limits of an address are those of RFC 5321 §4.5.3.1 and stand where addresses are parsed.

/// Longest user name in a SASL message: the longest address that there can be. A session keeps the
/// name for as long as it lasts, so a message of 12 KiB must not fill it.
pub const USER_NAME_OCTETS_MAX: usize = 512;
