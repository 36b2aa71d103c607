//! A person or a list in a header section: a name and an address.

/// What one entry of From, To and the like says (RFC 5322 §3.4). Either may be empty, not both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Person {
    /// The display name, decoded.
    pub name: String,
    /// The address as it was written, without brackets; it need not be valid.
    pub address: String,
}
