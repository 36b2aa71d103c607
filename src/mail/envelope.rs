//! The envelope: the sender and the recipients of a message, and how it came (RFC 5321 §2.3.1).
//!
//! Plain values: a session fills them in, and the store and the trace header read them. Nothing
//! here checks anything; paths are checked when they are parsed.

use std::fmt;

use super::{
    address::{ForwardPath, ReversePath},
    mailbox::MailboxName,
};

/// What the client declared about the octets of the content (RFC 6152).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyType {
    /// `BODY=7BIT`, or no declaration.
    #[default]
    SevenBit,
    /// `BODY=8BITMIME`.
    EightBitMime,
}

/// What a client speaks that hands in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Family {
    /// SMTP.
    #[default]
    Smtp,
    /// LMTP (RFC 2033).
    Lmtp,
    /// HTTP. No keyword is registered for that.
    Http,
}

/// How the message was received: its `Display` form is the keyword of the `with` clause of the
/// trace header (RFC 3848, RFC 6531 §4.3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "facts that are independent of each other"
)]
pub struct Protocol {
    /// What the client speaks.
    pub family: Family,
    /// The session began with EHLO.
    pub extended: bool,
    /// The connection is encrypted.
    pub tls: bool,
    /// The client has authenticated.
    pub authenticated: bool,
    /// The transaction was declared SMTPUTF8.
    pub utf8: bool,
}

impl fmt::Display for Protocol {
    /// Writes the registered keyword, such as `ESMTPSA`.
    ///
    /// After HELO it is `SMTP` even on an encrypted connection: no other keyword is registered for
    /// a session without EHLO.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match (self.family, self.utf8) {
            (Family::Http, utf8) => {
                f.write_str(if utf8 { "UTF8HTTP" } else { "HTTP" })?;
                return f.write_str(if self.tls { "S" } else { "" });
            }
            (Family::Smtp, false) if !self.extended => return f.write_str("SMTP"),
            (Family::Smtp, false) => "ESMTP",
            (Family::Smtp, true) => "UTF8SMTP",
            (Family::Lmtp, false) => "LMTP",
            (Family::Lmtp, true) => "UTF8LMTP",
        })?;
        f.write_str(if self.tls { "S" } else { "" })?;
        f.write_str(if self.authenticated { "A" } else { "" })
    }
}

/// The envelope of one mail transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// Where failure reports go.
    pub reverse_path: ReversePath,
    /// The path of the first accepted recipient as the client gave it; `None` once it is known that
    /// the message is only for others. The paths of the others are
    /// not needed, and a thousand of them would take memory.
    pub first_forward_path: Option<ForwardPath>,
    /// The mailboxes of the accepted recipients in the order of their RCPT commands, possibly with
    /// repetitions.
    pub recipients: Vec<MailboxName>,
    /// What the client declared about the content.
    pub body: BodyType,
    /// How the message is received.
    pub protocol: Protocol,
    /// The size declared with `SIZE=` (RFC 1870), in octets with CRLF line endings.
    pub declared_octets: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_protocol_is_written_as_its_registered_keyword() {
        // One letter per fact: extended, tls, authenticated, utf8, http, lmtp.
        for (facts, keyword) in [
            ("", "SMTP"),
            ("t", "SMTP"),
            ("e", "ESMTP"),
            ("et", "ESMTPS"),
            ("ea", "ESMTPA"),
            ("eta", "ESMTPSA"),
            ("eu", "UTF8SMTP"),
            ("etu", "UTF8SMTPS"),
            ("eau", "UTF8SMTPA"),
            ("etau", "UTF8SMTPSA"),
            ("h", "HTTP"),
            ("hta", "HTTPS"),
            ("hu", "UTF8HTTP"),
            ("le", "LMTP"),
            ("let", "LMTPS"),
            ("lea", "LMTPA"),
            ("leta", "LMTPSA"),
            ("leu", "UTF8LMTP"),
            ("letau", "UTF8LMTPSA"),
        ] {
            let protocol = Protocol {
                family: match facts.chars().next() {
                    Some('h') => Family::Http,
                    Some('l') => Family::Lmtp,
                    Some(_) | None => Family::Smtp,
                },
                extended: facts.contains('e'),
                tls: facts.contains('t'),
                authenticated: facts.contains('a'),
                utf8: facts.contains('u'),
            };
            assert_eq!(protocol.to_string(), keyword, "{facts}");
        }
    }
}
